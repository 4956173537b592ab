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
...     monitor = monitor.update(sx.training.batch_variances(views, labels))
...     return optax.apply_updates(params, updates), state, loss, monitor
>>>
>>> monitor.average.within, sx.training.predict_batch(labels, 2, alpha=0.5, temperature=0.1).within

An encoder reaches the prediction only as far as it can place the embeddings of a batch freely, and
the dimension admits it; how far it does is what the monitor shows.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from ssem_jax import theory
from ssem_jax.certificate.reduced import solve_reduced
from ssem_jax.compute.kernels import without_mesh
from ssem_jax.geometry.shares import ClassVariances, Variances
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.problem import Problem
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import concrete, precision, shown

REMEMBERED = 4096
"""Predictions kept for class sizes that come again."""


class BatchPrediction(NamedTuple):
    """What an optimal batch of free embeddings would have, by theory.

    Attributes:
        structure: class sizes in the sorted order of their labels, and views.
        variances: of the whole batch, to compare with :func:`batch_variances`.
        class_variances: (m,) variances within every class.
    """

    structure: ClassStructure
    variances: Variances
    class_variances: ClassVariances

    @property
    def within(self) -> float:
        """The within-class variance."""
        return float(self.variances.within)


def predict_batch(
    labels: Any,
    num_views: int = 1,
    *,
    alpha: float,
    temperature: float,
    self_pairs: str = "include",
    mean: str = "pairs",
) -> BatchPrediction:
    """The variances that the theory predicts for a batch of these labels, on the host.

    Balanced batches take the closed forms. Others take the reduced program that is left after
    averaging within classes, :func:`ssem_jax.certificate.solve_reduced`, whose answers are kept for
    sizes that come again. It computes in float64 whatever the mode of JAX is.

    Args:
        labels: (B,) one label for each instance of the batch, of any kind.
        num_views: p.
        alpha: α in [0, 1].
        temperature: τ > 0.
        self_pairs: "include" or "exclude" the pairs (i, i).
        mean: over positive "pairs", over "anchors" that have one, or over "all" anchors.

    Returns:
        The prediction.

    Raises:
        ValueError: labels of one class only, or that are no vector; a batch without the positives
            that α asks for; and, for classes of different size, what
            :func:`ssem_jax.certificate.solve_reduced` raises.
    """
    for name, value in (("alpha", alpha), ("temperature", temperature)):
        number = concrete(value, name)
        if number is None or number.shape:
            raise ValueError(f"{name} must be one number on the host; got {shown(value)}.")
    structure, _ = ClassStructure.from_labels(labels)
    structure = ClassStructure(structure.sizes, num_views)
    order = np.argsort(structure.sizes, kind="stable")
    sizes = tuple(structure.sizes[place] for place in order)
    hyper = (float(alpha), float(temperature), self_pairs, mean)
    variances, by_size = _predict(sizes, structure.num_views, *hyper)
    by_class = ClassVariances(*(part[np.argsort(order)] for part in by_size))
    return BatchPrediction(structure, variances, by_class)


@functools.lru_cache(maxsize=REMEMBERED)
def _predict(
    sizes: tuple[int, ...], num_views: int, alpha: float, temperature: float, *convention: str
) -> tuple[Variances, ClassVariances]:
    """Variances of the batch, and by class, for sorted sizes."""
    structure, loss = ClassStructure(sizes, num_views), SupCL(alpha, temperature, *convention)
    loss.check_structure(structure)
    with precision(64), without_mesh():
        if structure.is_balanced:
            found = theory.variances(structure, loss)
            each = [np.full(len(sizes), float(part)) for part in (found.view, found.delta2)]
        else:
            solution = solve_reduced(Problem(structure, None, loss))
            found, each = solution.variances, map(np.asarray, solution.class_variances)
    return Variances(*map(float, found)), ClassVariances(*each)
