r"""Training with the supervised contrastive loss, and a monitor of what it does to the classes.

The loss is that of the theory, blockwise (:mod:`ssem_jax.losses.tiles`), of the embeddings that an
encoder makes of a batch. What the theory says of free embeddings it says of a batch: with its class
sizes, an optimal batch has a within-class variance that α and τ decide. So a training loop can
measure how its embeddings spread, average that over batches, and compare it with the prediction:

>>> import jax, ssem_jax as sx
>>>
>>> @jax.jit
... def step(params, state, images, labels, monitor):  # images (B, p, ...): p views of B instances
...     def objective(params):
...         views = encode(params, images)  # (B, p, d)
...         return sx.supcl_loss(views, labels, alpha=0.5, temperature=0.1), views
...     (loss, views), grads = jax.value_and_grad(objective, has_aux=True)(params)
...     updates, state = optimizer.update(grads, state)
...     monitor = monitor.update(sx.batch_variances(views, labels))
...     return optax.apply_updates(params, updates), state, loss, monitor
>>>
>>> monitor.average.within, sx.predict_batch(labels, 2, alpha=0.5, temperature=0.1).within

An encoder reaches the prediction only as far as it can place the embeddings of a batch freely, and
the dimension admits it; how far it does is what the monitor shows.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ssem_jax import theory
from ssem_jax.certificate.class_program import solve_reduced
from ssem_jax.compute.kernels import whole, without_mesh
from ssem_jax.geometry.metrics import Variances
from ssem_jax.geometry.sphere import normalize
from ssem_jax.losses.supcl import SupCL
from ssem_jax.losses.tiles import BLOCK_SIZE, blockwise_supcl, check_ids, group
from ssem_jax.problem.problem import Problem
from ssem_jax.problem.pytrees import pytree_dataclass
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import as_array, check_type, concrete, precision, shown

Scalar = Float[Array, ""]

DECAY = 0.99
"""Of the running average: it looks back over some 100 batches."""

REMEMBERED = 4096
"""Predictions kept for class sizes that come again."""


def supcl_loss(
    embeddings: Float[Array, "*rows d"],
    labels: Int[Array, " rows"],
    *,
    alpha: Scalar | float,
    temperature: Scalar | float,
    instance_ids: Int[Array, " rows"] | None = None,
    self_pairs: str = "include",
    mean: str = "pairs",
    axis_name: str | None = None,
    block_size: int = BLOCK_SIZE,
) -> Scalar:
    r"""The supervised contrastive loss of a training batch.

    .. math:: L = (1-\alpha) L_\mathrm{sup} + \alpha L_\mathrm{self}

    It is :class:`ssem_jax.SupCL` by :func:`ssem_jax.blockwise_supcl`: for float32, bfloat16 and
    float64, in O(N·d) memory, under jit, vmap and grad (reverse mode, first order).

    Args:
        embeddings: (B, p, d), p views of each of B instances, or (N, d) rows in any order. They are
            normalised first, whatever their length; zero rows stay zero. Without `axis_name`, a
            batch that is sharded over a mesh, explicit or automatic, counts as a whole.
        labels: (B,) or (N,) integers; classes of any sizes. A class of one instance has no positive
            in L_sup and contributes nothing to it.
        alpha: α in [0, 1], the weight of L_self.
        temperature: τ > 0.
        instance_ids: (B,) or (N,) integers, equal for rows of one instance; the same id in two
            classes names two instances. None: every entry of the first axis is an instance of its
            own.
        self_pairs: "include" or "exclude" the pairs (i, i).
        mean: over positive "pairs", or over "anchors".
        axis_name: the mesh axis over which the batch is sharded under `jax.shard_map` or
            `jax.pmap`; every device returns the loss of the whole batch
            (:func:`ssem_jax.blockwise_supcl` says how to differentiate it).
        block_size: rows of a tile of the Gram matrix.

    Returns:
        The loss, a scalar of at least 32 bits.

    Raises:
        ValueError: embeddings of another shape, labels that do not fit, L_self without any positive
            (one view, self pairs excluded, α > 0), and what :func:`ssem_jax.blockwise_supcl`
            raises.

    References:
        Lee, Oh, Lee and Sohn (AISTATS 2025, arXiv:2503.08203) for the combined loss; Khosla et al.
        (NeurIPS 2020) for supervised contrastive learning on stacked views.
    """
    rows, classes, instances = _rows(embeddings, labels, instance_ids, axis_name)
    if instance_ids is None:
        num_views = len(rows) // len(embeddings)
        SupCL(alpha, temperature, self_pairs, mean).check(ClassStructure((2, 2), num_views))
    hyper = (alpha, temperature, self_pairs, mean, block_size, axis_name)
    return blockwise_supcl(rows, classes, instances, *hyper)


def batch_variances(
    embeddings: Float[Array, "*rows d"],
    labels: Int[Array, " rows"],
    *,
    instance_ids: Int[Array, " rows"] | None = None,
    axis_name: str | None = None,
) -> Variances:
    r"""How the normalised embeddings of a batch spread: over views, within and between classes.

    The variances of :func:`ssem_jax.variances`, with labels that may be traced,

    .. math::
       \langle \|\nu - \mu_k\|^2 \rangle = \delta^2, \quad \langle \|u - \nu\|^2 \rangle, \quad
       \langle \|\mu_k - \mu\|^2 \rangle,

    where ν is the mean of an instance, μ_k of a class, μ of all, and every row counts alike.

    Args:
        embeddings: (B, p, d) or (N, d), as for :func:`supcl_loss`.
        labels: (B,) or (N,) integers.
        instance_ids: (B,) or (N,) integers, or None, as for :func:`supcl_loss`.
        axis_name: the mesh axis over which the batch is sharded; the variances are then those of
            the whole batch.

    Returns:
        Scalars total, between, within, delta2, view, mean_sq.

    Raises:
        ValueError: embeddings of another shape, or labels that do not fit.
    """
    rows, *ids = _rows(embeddings, labels, instance_ids, axis_name)
    unit = normalize(rows.astype(jnp.promote_types(rows.dtype, jnp.float32)))
    if axis_name is not None:
        unit, *ids = jax.lax.all_gather((unit, *ids), axis_name, tiled=True)
    classes, instances = ids
    of_class, of_instance = _means(unit, group(classes)), _means(unit, group(instances, classes))
    center = jnp.mean(unit, axis=0)

    def spread(deviation: Float[Array, "N d"]) -> Scalar:
        value = jnp.mean(jnp.sum(deviation * deviation, axis=1))
        return value if axis_name is None else jax.lax.pmean(value, axis_name)

    between, mean_sq = spread(of_class - center), spread(jnp.broadcast_to(center, unit.shape))
    delta2, view = spread(of_instance - of_class), spread(unit - of_instance)
    within = delta2 + view
    return Variances(between + within, between, within, delta2, view, mean_sq)


@pytree_dataclass
class BatchMonitor:
    r"""A running average of the variances of batches, as a pure state for jit and scan.

    .. math:: \bar v_t = \sum_{s \le t} \gamma^{t-s} v_s \Big/ \sum_{s \le t} \gamma^{t-s}

    Start with `BatchMonitor()`.

    Args:
        decay: γ in [0, 1); 0 looks at the last batch alone.
        weight: the denominator.
        sums: the numerators.

    Raises:
        ValueError: γ outside [0, 1).
    """

    decay: float = dataclasses.field(default=DECAY, metadata={"static": True})
    weight: Scalar = dataclasses.field(default_factory=lambda: jnp.zeros((), jnp.float32))
    sums: Variances = dataclasses.field(
        default_factory=lambda: Variances(*jnp.zeros((len(Variances._fields),), jnp.float32))
    )

    def __post_init__(self) -> None:
        decay = concrete(self.decay, "decay")
        if decay is None or decay.shape or not 0 <= decay < 1:
            raise ValueError(
                f"decay must lie in [0, 1); got {self.decay}. 0.99 looks back over 100 batches."
            )

    def update(self, variances: Variances) -> BatchMonitor:
        """The state after another batch."""
        check_type("variances", variances, Variances, "what batch_variances returns")
        batch = jax.tree.map(jax.lax.stop_gradient, (jnp.ones_like(self.weight), variances))
        weight, sums = jax.tree.map(
            lambda old, new: self.decay * old + new.astype(old.dtype),
            (self.weight, self.sums),
            batch,
        )
        return dataclasses.replace(self, weight=weight, sums=sums)

    @property
    def average(self) -> Variances:
        """The running average; NaN before the first batch."""
        return jax.tree.map(lambda total: total / self.weight, self.sums)


class BatchPrediction(NamedTuple):
    """What an optimal batch of free embeddings would have, by theory.

    Attributes:
        structure: class sizes in the sorted order of their labels, and views.
        variances: of the whole batch, to compare with :func:`batch_variances`.
        class_delta2: (m,) variance of the instance means of every class.
        class_view: (m,) variance of the views of every class.
    """

    structure: ClassStructure
    variances: Variances
    class_delta2: Float[np.ndarray, " m"]
    class_view: Float[np.ndarray, " m"]

    @property
    def within(self) -> float:
        """The within-class variance."""
        return self.variances.within


def predict_batch(
    labels: Int[Array, " B"],
    num_views: int = 1,
    *,
    alpha: float,
    temperature: float,
    self_pairs: str = "include",
    mean: str = "pairs",
) -> BatchPrediction:
    """The variances that the theory predicts for a batch of these labels, on the host.

    Balanced batches take the closed forms. Others take the reduced program that is left after
    averaging within classes, :func:`ssem_jax.solve_reduced`, whose answers are kept for sizes that
    come again. It computes in float64 whatever the mode of JAX is.

    Args:
        labels: (B,) one label for each instance of the batch.
        num_views: p.
        alpha: α in [0, 1].
        temperature: τ > 0.
        self_pairs: "include" or "exclude" the pairs (i, i).
        mean: over positive "pairs", or over "anchors".

    Returns:
        The prediction.

    Raises:
        ValueError: labels of one class only, or that are no vector; a batch without the positives
            that α asks for; and, for classes of different size, what
            :func:`ssem_jax.solve_reduced` raises.
    """
    for name, value in (("alpha", alpha), ("temperature", temperature)):
        number = concrete(value, name)
        if number is None or number.shape:
            raise ValueError(f"{name} must be one number on the host; got {shown(value)}.")
    structure, _ = ClassStructure.from_labels(np.asarray(labels))
    structure = ClassStructure(structure.sizes, num_views)
    order = np.argsort(structure.sizes, kind="stable")
    sizes = tuple(structure.sizes[place] for place in order)
    hyper = (float(alpha), float(temperature), self_pairs, mean)
    variances, *by_size = _predict(sizes, structure.num_views, *hyper)
    by_class = [part[np.argsort(order)] for part in by_size]
    return BatchPrediction(structure, variances, *by_class)


@functools.lru_cache(maxsize=REMEMBERED)
def _predict(
    sizes: tuple[int, ...], num_views: int, alpha: float, temperature: float, *convention: str
) -> tuple[Variances, np.ndarray, np.ndarray]:
    """Variances of the batch, and by class, for sorted sizes."""
    structure, loss = ClassStructure(sizes, num_views), SupCL(alpha, temperature, *convention)
    loss.check(structure)
    with precision(64), without_mesh():
        if structure.is_balanced:
            counts = (structure.num_classes, sizes[0], num_views)
            found = theory.variances(*counts, alpha, temperature, loss.self_pairs)
            view = np.full(len(sizes), float(found.view))
            delta2, mean_sq = float(found.within) - view, 0.0
        else:
            solution = solve_reduced(Problem(structure, len(sizes), loss))
            delta2, view = (
                np.asarray(part) for part in (solution.instance_variance, solution.view_variance)
            )
            mean_sq = float(1 - solution.total_variance)
    share = np.asarray(sizes) / structure.num_instances
    parts = (float(share @ delta2), float(share @ view))
    within, total = sum(parts), 1 - mean_sq
    return Variances(total, total - within, within, *parts, mean_sq), delta2, view


def _means(
    rows: Float[Array, "N d"], grouped: tuple[Int[Array, " N"], Int[Array, " N"]]
) -> Float[Array, "N d"]:
    """The mean of every row's group."""
    groups, sizes = grouped
    return jax.ops.segment_sum(rows, groups, len(rows))[groups] / sizes[:, None]


def _rows(
    embeddings: Float[Array, "*rows d"],
    labels: Int[Array, " rows"],
    instance_ids: Int[Array, " rows"] | None,
    axis_name: str | None,
) -> tuple[Float[Array, "N d"], Int[Array, " N"], Int[Array, " N"]]:
    """The rows of a batch with their class and instance, which no other device has by default."""
    embeddings, labels, instance_ids = map(
        whole, (jnp.asarray(as_array(embeddings, "embeddings")), labels, instance_ids)
    )
    if embeddings.ndim not in (2, 3) or not embeddings.size:
        raise ValueError(
            "embeddings must be (B, p, d), p views of each of B instances, or (N, d); got shape "
            f"{embeddings.shape}."
        )
    count, *views, dim = embeddings.shape
    if instance_ids is None:
        instance_ids = np.arange(count)
        if axis_name is not None:
            instance_ids = instance_ids + jax.lax.axis_index(axis_name) * count
    for name, ids in (("labels", labels), ("instance_ids", instance_ids)):
        if len(views) and np.shape(ids) == tuple(views) != (count,):
            raise ValueError(
                f"views are stacked along the second axis, (B, p, d); got shape "
                f"{embeddings.shape} with {views[0]} {name}. Use embeddings.swapaxes(0, 1)."
            )
        check_ids(name, ids, count)
    rows = embeddings.reshape(-1, dim)

    def repeated(ids: Int[Array, " rows"]) -> Int[Array, " N"]:
        array = jnp if isinstance(ids, jax.Array) else np
        return array.repeat(array.asarray(ids), len(rows) // count)

    return rows, repeated(labels), repeated(instance_ids)
