"""Out of saddles: a direction of negative curvature that the dual names."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ssem_jax.geometry.sphere import normalize
from ssem_jax.solver.newton import DUAL_TOLERANCE, Point

RANK_TOLERANCE = 1e-6
"""Eigenvalue of UᵀU (of trace N) under which a dimension counts as unused."""
EIGH_LIMIT = 1024
"""Embeddings up to which a saddle's dual matrix is diagonalised; beyond it takes minutes."""
INVERSE_ITERATIONS = 24
"""Steps of the inverse iteration that stands in for it. The shift is within a factor of two of the
lowest eigenvalue, so that each halves what eigenvalues from zero upwards have in the basis."""


def _lowest(dual: Array, count: int) -> tuple[Array, Array]:
    """The lowest eigenvalues of a matrix that is not positive definite, and their eigenvectors."""
    size = dual.shape[0]
    if size <= EIGH_LIMIT:
        eigenvalues, eigenvectors = jnp.linalg.eigh(dual)
        return eigenvalues[:count], eigenvectors[:, :count]

    def shifted(shift: Array) -> tuple[Array, Array]:
        return shift, jnp.linalg.cholesky(dual + shift * jnp.eye(size))

    _, factor = jax.lax.while_loop(
        lambda state: jnp.isfinite(state[0]) & ~jnp.all(jnp.isfinite(state[1])),
        lambda state: shifted(2 * state[0]),
        shifted(jnp.asarray(DUAL_TOLERANCE / size)),
    )

    def iterate(_: int, basis: Array) -> Array:
        return jnp.linalg.qr(jax.scipy.linalg.cho_solve((factor, True), basis))[0]

    # All directions at once, as many as are asked for: a few alone would break the symmetry.
    basis = jax.random.normal(jax.random.key(0), (size, count), float)
    basis = jax.lax.fori_loop(0, INVERSE_ITERATIONS, iterate, basis)
    eigenvalues, mixing = jnp.linalg.eigh(basis.T @ dual @ basis)
    return eigenvalues, basis @ mixing


def dual_of(point: Point) -> Array:
    """The solver's own dual matrix."""
    return 0.5 * point.pull - jnp.diag(0.5 * point.multipliers[:, 0])


def is_semidefinite(dual: Array) -> Array:
    """Whether λ_min ≥ -DUAL_TOLERANCE/N, which a factorisation that succeeds proves at a tenth of
    the cost of an eigenvalue."""
    size = len(dual)
    factor = jnp.linalg.cholesky(dual + DUAL_TOLERANCE / size * jnp.eye(size))
    return jnp.all(jnp.isfinite(factor))


def leave_along(
    value: Callable[[Array], Array], point: Point, dual: Array
) -> tuple[Array, Array, Array]:
    """What :func:`leave_saddle` returns where the dual matrix is not semidefinite."""
    num_points, dim = point.embeddings.shape
    paired = min(num_points, dim)
    eigenvalues, eigenvectors = _lowest(dual, paired)
    usage, axes = jnp.linalg.eigh(point.embeddings.T @ point.embeddings)
    # The most negative directions meet the least used axes.
    taken = (eigenvalues < 0.1 * eigenvalues[0]) & (usage[:paired] < RANK_TOLERANCE)
    direction = (eigenvectors * taken[None, :]) @ axes[:, :paired].T

    def moved(size: Array) -> Array:
        return normalize(point.embeddings + size * direction)

    def loss(size: Array) -> Array:
        there = moved(size)
        return value(there @ there.T)

    sizes = 2.0 ** -jnp.arange(24)
    losses = jax.lax.map(loss, sizes)
    best = jnp.argmin(losses)
    lower = jnp.any(taken) & (losses[best] < point.value)
    embeddings = jnp.where(lower, moved(sizes[best]), point.embeddings)
    return embeddings, -num_points * jnp.minimum(eigenvalues[0], 0), lower


def stay(point: Point) -> tuple[Array, Array, Array]:
    """What :func:`leave_saddle` returns where the dual matrix is semidefinite."""
    return point.embeddings, jnp.zeros(()), jnp.asarray(False)


def leave_saddle(value: Callable[[Array], Array], point: Point) -> tuple[Array, Array, Array]:
    """Leave a saddle along every negative direction of the dual matrix at once.

    Returns:
        The embeddings beyond the saddle (or unchanged), the dual violation, and whether they
        moved.
    """
    dual = dual_of(point)
    return jax.lax.cond(
        is_semidefinite(dual), lambda: stay(point), lambda: leave_along(value, point, dual)
    )
