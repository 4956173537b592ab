r"""The least loss that any encoder can have on average over the batches of a data set.

The closed forms of :mod:`ssem_jax.theory` are about the embeddings of *one* batch. A data set of t
instances per class is met in many batches of n, each with fresh views, and no embedding of it is
optimal in all of them: the class means of a batch spread about those of the data set, so its global
mean is not zero. The mean loss is convex in the Gram matrix of the data set and symmetric, so it is
least at

.. math::
   s_\mathrm{view} = 1 - v, \quad s_\mathrm{within} = 1 - v - \tfrac{t}{t-1} q, \quad
   s_\mathrm{between} = -\tfrac{1 - v - q}{m-1},

with q, v ≥ 0 the variances of instance means and of views over the data set. Every batch sees the
same three similarities. At t = n and p = 1 this is the optimum of a batch; from there q falls as t
grows, by some 1/n of itself.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ssem_jax.geometry.shares import Variances, variances_of
from ssem_jax.geometry.similarities import Similarities
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.arrays import AnyArray
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import check_count, require_x64

BISECTIONS = 60
"""Halvings of [0, 1]: more than float64 has digits."""
SLOPE_ROUNDING = 1e-9
"""A slope that counts as not negative; it is a difference of numbers of order 1/τ."""


class DatasetOptimum(NamedTuple):
    """What batches look like, on average, at the least mean loss.

    Attributes:
        loss: the mean loss.
        variances: of a batch.
    """

    loss: Float[AnyArray, "*batch"]
    variances: Variances


def dataset_optimum(
    structure: ClassStructure,
    dataset_size: int,
    alpha: ArrayLike,
    temperature: ArrayLike,
    self_pairs: str = "include",
) -> DatasetOptimum:
    r"""The optimum of the mean loss over all batches of a data set.

    .. math:: \min_{q, v \ge 0} L\bigl(s_\mathrm{view}, s_\mathrm{within}, s_\mathrm{between}\bigr)

    A convex problem in two numbers. Each is tried alone, and the one where the slope of the other
    is not negative is the minimum.

    Args:
        structure: a batch: m classes of n instances with p ≥ 2 views.
        dataset_size: t ≥ n, instances of each class in the data set.
        alpha: α in [0, 1].
        temperature: τ > 0; broadcast with α.
        self_pairs: "include" or "exclude".

    Returns:
        Loss and variances, broadcast; NaN where both q and v are positive.

    Raises:
        ValueError: classes of different size, one view, a data set smaller than a batch, what
            :class:`ssem_jax.SupCL` raises; 64-bit mode is off.

    References:
        Derived here: averaging over relabellings does not raise a convex symmetric loss.
    """
    require_x64()
    check_structure(structure)
    n, p = structure.num_instances, structure.num_views
    if p < 2:
        raise ValueError(
            f"the expectation needs num_views of at least 2; got {p}. "
            "With one view, views and instances are the same."
        )
    t = check_count("dataset_size", dataset_size, max(n, 2))
    alpha, temperature = np.broadcast_arrays(
        np.asarray(alpha, float), np.asarray(temperature, float)
    )
    losses = SupCL(alpha, temperature, self_pairs)
    losses.check_structure(structure)
    found = _minima(jax.tree.map(np.ravel, losses), structure, t)
    return jax.tree.map(lambda column: np.asarray(column).reshape(alpha.shape), found)


@partial(jax.jit, static_argnums=(1, 2))
def _minima(losses: SupCL, structure: ClassStructure, t: int) -> DatasetOptimum:
    m, n, p = structure.counts
    blocks = losses.prepare_blocks(structure)

    def similarities(q: Array, v: Array) -> Similarities:
        return Similarities(1 - v, 1 - v - q * t / (t - 1), -(1 - v - q) / (m - 1))

    def cell(loss: SupCL) -> DatasetOptimum:
        def value(point: Array) -> Array:
            return loss.of_blocks(similarities(*point), blocks)

        slope = jax.grad(value)

        def alone(axis: int) -> Array:
            def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
                low, high = ends
                middle = (low + high) / 2
                falls = slope(jnp.zeros(2).at[axis].set(middle))[axis] < 0
                return jnp.where(falls, middle, low), jnp.where(falls, high, middle)

            low, high = jax.lax.fori_loop(0, BISECTIONS, halve, (jnp.zeros(()), jnp.ones(())))
            inside = slope(jnp.zeros(2))[axis] < 0
            return jnp.zeros(2).at[axis].set(jnp.where(inside, (low + high) / 2, 0))

        points = jnp.stack([alone(0), alone(1)])
        others = jnp.stack([slope(points[0])[1], slope(points[1])[0]])
        minimal = others >= -SLOPE_ROUNDING
        point = jnp.where(minimal[0], points[0], jnp.where(minimal[1], points[1], jnp.nan))
        return DatasetOptimum(value(point), variances_of(similarities(*point), m, n, p))

    return jax.vmap(cell)(losses)
