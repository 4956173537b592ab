"""SupCL of a batch of an encoder, sharded or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Integer, Shaped

from ssem_jax.compute.kernels import whole
from ssem_jax.losses.positives import check_ids
from ssem_jax.losses.supcl import SupCL
from ssem_jax.losses.tiles import blockwise_supcl
from ssem_jax.problem.arrays import AnyArray, Rows
from ssem_jax.problem.labels import as_labels, class_codes
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import as_array, shown

Scalar = Float[Array, ""]


def supcl_loss(
    embeddings: Float[AnyArray, "*rows d"] | Rows | Sequence[Rows],
    labels: Any,
    *,
    alpha: Scalar | float,
    temperature: Scalar | float,
    instance_ids: Any = None,
    self_pairs: str = "include",
    mean: str = "pairs",
    axis_name: str | None = None,
    block_size: int | None = None,
    class_weights: Any = None,
) -> Scalar:
    r"""The supervised contrastive loss of a training batch.

    .. math:: L = (1-\alpha) L_\mathrm{sup} + \alpha L_\mathrm{self}

    It is :class:`ssem_jax.SupCL` for float32, bfloat16 and float64, in O(N·d) memory, under jit,
    vmap and grad (reverse mode, first order); ids may be traced, so that batches of any composition
    compile once. Products are taken in full precision, on GPUs too.

    Args:
        embeddings: (B, p, d), p views of each of B instances, or (N, d) rows in any order. They are
            normalised first, whatever their length; zero rows stay zero. Without `axis_name`, a
            batch that is sharded over a mesh, explicit or automatic, counts as a whole.
        labels: (B,) or (N,) integers, or on the host labels of any kind that sorts; classes of any
            sizes. A class of one instance has no positive in L_sup and contributes nothing to it.
        alpha: α in [0, 1], the weight of L_self.
        temperature: τ > 0.
        instance_ids: (B,) or (N,) integers, equal for rows of one instance; the same id in two
            classes names two instances. None: every entry of the first axis is an instance of its
            own.
        self_pairs: "include" or "exclude" the pairs (i, i), or "decouple" instances.
        mean: over positive "pairs", over "anchors" that have one, or over "all" anchors.
        axis_name: the mesh axis over which the batch is sharded under `jax.shard_map` or
            `jax.pmap`; every device contrasts its rows with those of all and returns the loss of
            the whole batch. Differentiate as for any replicated loss: of parameters that are
            replicated, `shard_map` sums the gradient over devices itself; under `pmap`, or with
            `check_vma=False`, take `jax.lax.pmean` of it.
        block_size: rows of a tile of the Gram matrix; as many as suit the platform by default.
        class_weights: (m,) of the anchors of classes 0, 1, … (of other labels in sorted order), as
            :class:`ssem_jax.losses.WeightedSupCL` has them, against imbalance.

    Returns:
        The loss, a scalar of at least 32 bits.

    Raises:
        ValueError: embeddings of another shape, labels that do not fit, L_self without any positive
            (one view, self pairs not included, α > 0), fewer than two rows, α outside [0, 1], τ not
            positive and finite, either of them an array, an unknown convention, decoupling of a
            single instance, or a block size below 1.

    References:
        Lee, Oh, Lee and Sohn (AISTATS 2025, arXiv:2503.08203) for the combined loss; Khosla et al.
        (NeurIPS 2020) for supervised contrastive learning on stacked views.
    """
    rows, classes, instances = rows_of(embeddings, labels, instance_ids, axis_name)
    if instance_ids is None:
        num_views = len(rows) // len(embeddings)
        SupCL(alpha, temperature, self_pairs, mean).check_structure(
            ClassStructure((2, 2), num_views)
        )
    hyper = (alpha, temperature, self_pairs, mean, block_size, axis_name)
    if class_weights is None:
        return blockwise_supcl(rows, classes, instances, *hyper)
    weights = as_array(class_weights, "class_weights")
    check_nonnegative("class_weights", weights)
    if weights.ndim != 1 or not weights.size:
        raise ValueError(
            f"class_weights must be one number for each class; got shape {weights.shape}."
        )
    if isinstance(classes, np.ndarray) and not 0 <= classes.min() <= classes.max() < len(weights):
        raise ValueError(
            f"class_weights has {len(weights)} numbers, for labels 0 to {len(weights) - 1}; got "
            f"labels from {classes.min()} to {classes.max()}."
        )
    of_rows = jnp.asarray(weights, jnp.result_type(float))[classes]
    return blockwise_supcl(rows, classes, instances, *hyper, of_rows)


def check_nonnegative(name: str, weights: Any) -> None:
    """Raise a ValueError unless every concrete number is nonnegative and finite."""
    if not isinstance(weights, Tracer):
        values = np.asarray(weights, float)
        if not np.all((values >= 0) & np.isfinite(values)):
            raise ValueError(f"{name} must be nonnegative and finite; got {shown(weights)}.")


def rows_of(
    embeddings: Float[AnyArray, "*rows d"] | Rows | Sequence[Rows],
    labels: Any,
    instance_ids: Any,
    axis_name: str | None,
) -> tuple[Float[Array, "N d"], Integer[AnyArray, " N"], Integer[AnyArray, " N"]]:
    """The rows of a batch with their class and instance, which no other device has by default."""
    rows, labels, given = map(
        whole,
        (
            jnp.asarray(as_array(embeddings, "embeddings")),
            as_ids("labels", labels),
            None if instance_ids is None else as_ids("instance_ids", instance_ids),
        ),
    )
    if rows.ndim not in (2, 3) or not rows.size:
        raise ValueError(
            "embeddings must be (B, p, d), p views of each of B instances, or (N, d); got shape "
            f"{rows.shape}."
        )
    count, *views, dim = rows.shape
    instances: Any = given
    if given is None:
        instances = np.arange(count)
        if axis_name is not None:
            instances = instances + jax.lax.axis_index(axis_name) * count
    for name, ids in (("labels", labels), ("instance_ids", instances)):
        if len(views) and np.shape(ids) == tuple(views) != (count,):
            raise ValueError(
                f"views are stacked along the second axis, (B, p, d); got shape "
                f"{rows.shape} with {views[0]} {name}. Use embeddings.swapaxes(0, 1)."
            )
        check_ids(name, ids, count)
    rows = rows.reshape(-1, dim)

    def repeated(ids: Integer[AnyArray, " rows"]) -> Integer[AnyArray, " N"]:
        array = jnp if isinstance(ids, jax.Array) else np
        return array.repeat(array.asarray(ids), len(rows) // count)

    return rows, repeated(labels), repeated(instances)


def as_ids(name: str, given: Any) -> Shaped[AnyArray, "*rows"]:
    """Ids of a list, a column or an array on the host as integers; those on a device as they are.

    Raises:
        ValueError: what are no ids.
    """
    if isinstance(given, jax.Array) or (
        isinstance(given, np.ndarray) and np.issubdtype(given.dtype, np.integer)
    ):
        return given
    try:
        ids = as_labels(given)
    except ValueError as error:
        raise ValueError(str(error).replace("labels", name, 1)) from None
    return ids if np.issubdtype(ids.dtype, np.integer) else class_codes(ids)[1]
