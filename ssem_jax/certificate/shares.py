"""Variance shares of balanced classes, and the quantities in brackets."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax.geometry.similarities import Similarities
from ssem_jax.losses.base import GramLoss
from ssem_jax.problem.arrays import AnyArray
from ssem_jax.problem.structure import ClassStructure


class Shares(NamedTuple):
    """Which variance shares a structure has, and how similarities depend on them.

    Attributes:
        similarity: (3, 4) and `offset` (3,): similarities = offset + similarity @ shares.
        present: (4,) whether the share can be positive: views need p ≥ 2, instances n ≥ 2.
    """

    similarity: Float[np.ndarray, "3 4"]
    offset: Float[np.ndarray, " 3"]
    present: Float[np.ndarray, " 4"]


def shares_of(structure: ClassStructure) -> Shares:
    """The variance simplex of a balanced structure.

    Raises:
        ValueError: the classes differ in size.
    """
    m, n, p = structure.num_classes, structure.instances_per_class, structure.num_views
    similarity = np.array(
        [
            [-p / max(p - 1, 1), 0, 0, 0],
            [-1.0 * (n > 1), -n / max(n - 1, 1), 0, 0],
            [0, 0, -1 / (m - 1), 1],
        ]
    )
    return Shares(similarity, np.array([1.0, 1, 0]), np.array([p > 1, n > 1, True, True]))


def similarities_at(shares: Shares, theta: Float[AnyArray, " 4"]) -> Similarities:
    """The similarities that belong to variance shares."""
    return Similarities(*(shares.offset + shares.similarity @ theta))


def shares_at(shares: Shares, variances: Float[Array, " 4"]) -> Float[Array, " 4"]:
    """Measured variances (view, instance, class, mean) as a point of the simplex."""
    theta = jnp.maximum(variances, 0) * shares.present
    return theta / jnp.sum(theta)


def has_block_form(loss: GramLoss) -> bool:
    """Whether the loss writes itself as a function of three similarities."""
    return type(loss).of_blocks is not GramLoss.of_blocks


def shares_of_similarities(
    shares: Shares, similarities: Similarities
) -> Float[np.ndarray, "*batch 4"]:
    """The variance shares of a Gram matrix that is constant on blocks; negative if it has none."""
    view, within, between = (np.asarray(one, np.float64) for one in similarities)
    by_view, by_instance, by_class = -np.diag(shares.similarity)
    view = (1 - view) / by_view
    instance = (1 - view - within) / by_instance
    rest = 1 - view - instance
    mean = (between + by_class * rest) / (1 + by_class)
    return np.stack(np.broadcast_arrays(view, instance, rest - mean, mean), axis=-1)


QUANTITIES = (
    "view_variance",
    "delta2",
    "mean_squared",
    "within_similarity",
    "between_similarity",
)
"""What is bounded. The view similarity is 1 - p/(p-1) times the view variance."""
