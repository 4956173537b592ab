"""Brackets of quantities for classes of any size."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax.certificate.barrier import total
from ssem_jax.certificate.brackets import EPS
from ssem_jax.certificate.certificate import QUANTITIES
from ssem_jax.certificate.class_blocks import (
    BRACKET_CLASS_LIMIT,
    ClassBlocks,
    Function,
    blocks_of,
    cells_of,
    class_loss,
    gram_functionals,
    instance_functionals,
    pair_of,
    stacked,
)
from ssem_jax.certificate.class_program import (
    PERTURBATION,
    ClassCell,
    dual_at,
    minimise,
    noise_of,
    relative_error,
    run_cells,
    solve_anew,
)
from ssem_jax.certificate.symmetry.programs import bracket_by_class, has_program
from ssem_jax.compute.kernels import Kernel, map_first
from ssem_jax.losses.base import GramLoss, loss_of
from ssem_jax.losses.terms import CLASSES
from ssem_jax.problem.arrays import AnyArray
from ssem_jax.problem.problem import Problem
from ssem_jax.problem.structure import ClassStructure

TILT_RANGE = (-34.0, 12.0)
"""Natural logarithms of the smallest and largest tilt t: from where f differs by less than its
rounding over the whole simplex, to beyond any slope of f at τ ≥ 1e-3."""
FIRST_TILT = -14.0
"""Where the search for the tilt begins: the best one for an excess of 1e-14 at unit curvature."""
TILTS = 8
"""Tilts tried for each bound at most."""
SETTLED = 0.1
"""Relative distance of a tilted minimiser from its level at which the tilt is settled: the bound
changes by its square."""


def _upper_bound(
    function: Function,
    level: Array,
    functional: ClassBlocks,
    cell: ClassCell,
    present: Array,
    relative: Array | float,
) -> Array:
    """An upper bound of a linear functional over the points where f is at most `level`."""
    weight = total(jnp.sum(jnp.abs(part)) for part in functional)
    shake = PERTURBATION * jnp.asarray(noise_of(1, present.shape)[0]) * present
    room = jnp.maximum(level - cell.value, cell.dual.rounding)

    class Search(NamedTuple):
        tilt: Array
        low: Array
        high: Array
        bound: Array
        points: Array
        left: Array

    def body(state: Search) -> Search:
        tilt = jnp.exp(state.tilt)

        def tilted(blocks: ClassBlocks) -> Array:
            return function(blocks) - tilt * pair_of(functional, blocks)

        points = minimise(tilted, state.points + shake, present)
        lower = dual_at(tilted, points, present, cell.terms + tilt * weight, relative).lower
        excess = level - function(blocks_of(points))
        # The bound is tightest where the tilted minimiser sits on the level. What a tilt lifts f
        # by grows like its square, which predicts that tilt; bisection guards the prediction.
        low = jnp.where(excess > 0, state.tilt, state.low)
        high = jnp.where(excess > 0, state.high, state.tilt)
        lifted = jnp.maximum(room - excess, EPS * room)
        guess = state.tilt + 0.5 * (jnp.log(room) - jnp.log(lifted))
        inside = (guess > low) & (guess < high)
        bound = jnp.fmin(state.bound, (level - lower) / tilt)
        settled = jnp.abs(excess) <= SETTLED * room
        left = jnp.where(settled, 0, state.left - 1)
        return Search(jnp.where(inside, guess, 0.5 * (low + high)), low, high, bound, points, left)

    first, least, most, bound = map(jnp.asarray, (FIRST_TILT, *TILT_RANGE, jnp.inf))
    start = Search(first, least, most, bound, cell.points, jnp.asarray(TILTS))
    return jax.lax.while_loop(lambda state: state.left > 0, body, start).bound


NEGLIGIBLE = 1e-10
"""Distance from a trivial bound below which no better one is searched."""


def _bracket_cell(
    loss: GramLoss,
    rows: Any,
    present: Array,
    level: Array,
    cell: ClassCell,
    functionals: ClassBlocks,
    trivial: tuple[Array, Array],
) -> tuple[Array, Array]:
    level = jnp.maximum(level, cell.value + cell.dual.rounding)

    def function(blocks: ClassBlocks) -> Array:
        return class_loss(loss, rows, blocks)

    def bound(functional: ClassBlocks) -> Array:
        relative = relative_error(loss, rows, len(present))
        return _upper_bound(function, level, functional, cell, present, relative)

    def upper(each: tuple[ClassBlocks, Array]) -> Array:
        functional, most = each
        return jax.lax.cond(
            pair_of(functional, cell.blocks) >= most - NEGLIGIBLE,
            lambda: most,
            lambda: jnp.fmin(most, bound(functional)),
        )

    least, most = trivial
    signed = jax.tree.map(lambda part: jnp.concatenate([-part, part]), functionals)
    bounds = jax.lax.map(upper, (signed, jnp.concatenate([-least, most])))
    return -bounds[: len(least)], bounds[len(least) :]


@Kernel
def _bracket_chunk(
    losses: GramLoss,
    rows: Any,
    present: Array,
    levels: Array,
    cells: ClassCell,
    functionals: ClassBlocks,
    trivial: tuple[Array, Array],
    count: Array,
) -> tuple[Array, Array]:
    def one(loss: GramLoss, level: Array, cell: ClassCell) -> tuple[Array, Array]:
        return _bracket_cell(loss, rows, present, level, cell, functionals, trivial)

    return map_first(count, one, losses, levels, cells)


def bracket_reduced(
    problem: Problem, level: Float[AnyArray, "*batch"] | float, functionals: ClassBlocks
) -> tuple[Float[np.ndarray, "*batch K"], Float[np.ndarray, "*batch K"]]:
    r"""Outer bounds of linear functionals over all embeddings of at most a given loss.

    .. math:: \ell(\theta, \delta^2, C)
              = \sum_k (\ell^\theta_k \theta_k + \ell^\delta_k \delta_k^2)
              + \sum_{kl} \ell^C_{kl} C_{kl}

    Args:
        problem: one cell, or a batch of B cells.
        level: the loss up to which embeddings count, for every cell; raised to the minimum.
        functionals: K functionals, with shapes (K, m), (K, m) and (K, m, m); see
            :func:`instance_functionals` and :func:`cosine_functionals`.

    Returns:
        (K,) or (B, K) lower and upper bounds.

    Raises:
        ValueError: what :func:`solve_reduced` raises, with `BRACKET_CLASS_LIMIT` classes at most.
    """
    losses, size = cells_of(problem, "bracketed", BRACKET_CLASS_LIMIT)
    levels = np.broadcast_to(np.asarray(level, float), (size,))
    low, high = _bracket(losses, problem.structure, levels, functionals)
    return (low[0], high[0]) if problem.batch_size is None else (low, high)


def bracket_classes(
    problem: Problem, level: Float[AnyArray, "*batch"] | float, products: bool = False
) -> tuple[Float[np.ndarray, "*batch K"], Float[np.ndarray, "*batch K"]]:
    """Outer bounds by class, over all embeddings of at most a given loss.

    By what symmetry leaves, where classes of equal size are one; of a loss that does not say its
    terms, one by one.

    Args:
        problem: one cell, or a batch of B cells, of classes of any size.
        level: the loss up to which embeddings count, for every cell; raised to the minimum.
        products: bound the inner products of class means k < l, in row order, instead of the m
            variances δ²_k.

    Raises:
        ValueError: a loss that is not convex and symmetric, or too many classes of different size.
    """
    loss, structure = loss_of(problem), problem.structure
    if not (loss.roles == CLASSES and has_program(loss, structure)):
        of = gram_functionals if products else instance_functionals
        return bracket_reduced(problem, level, of(structure.num_classes))
    losses, size = problem.cells()
    levels = np.broadcast_to(np.asarray(level, float), (size,))
    low, high = bracket_by_class(losses, structure, levels, products, problem.least)
    return (low[0], high[0]) if problem.batch_size is None else (low, high)


def bracket_quantities(
    losses: GramLoss, structure: ClassStructure, levels: Float[np.ndarray, " B"]
) -> tuple[Float[np.ndarray, "B 5"], Float[np.ndarray, "B 5"]]:
    """Outer bounds of `ssem_jax.certificate.QUANTITIES` for a batch of cells of any class sizes.

    Variances weigh every embedding alike. Similarities of unequal classes have no one number and
    stay in [-1, 1].

    Args:
        losses: the loss, with a batch axis on every leaf.
        structure: the class structure.
        levels: (B,) the loss up to which embeddings are bracketed.
    """
    m = structure.num_classes
    share = structure.class_shares
    nothing, no_gram = np.zeros(m), np.zeros((m, m))
    functionals = stacked(
        [
            ClassBlocks(share, nothing, no_gram),
            ClassBlocks(nothing, share, no_gram),
            ClassBlocks(nothing, nothing, np.outer(share, share)),
        ]
    )
    low = np.tile([0.0, 0.0, 0.0, -1.0, -1.0], (len(levels), 1))
    high = np.ones((len(levels), len(QUANTITIES)))
    if structure.num_views == 1:
        high[:, QUANTITIES.index("view_variance")] = 0
    low[:, :3], high[:, :3] = _bracket(losses, structure, levels, functionals)
    return low, high


def _bracket(
    losses: GramLoss, structure: ClassStructure, levels: np.ndarray, functionals: ClassBlocks
) -> tuple[np.ndarray, np.ndarray]:
    """Brackets of any functionals for a batch, within what every embedding satisfies."""
    p = structure.num_views
    gram = np.asarray(functionals.gram)
    diagonal = np.diagonal(gram, axis1=1, axis2=2)
    off = np.sum(np.abs(gram), axis=(1, 2)) - np.sum(np.abs(diagonal), axis=1)
    # |C_kl| ≤ 1, and every class shares out 1 among its mean, its instances and its views.
    shares = np.stack([diagonal, functionals.delta2] + [functionals.view] * (p > 1))
    least, most = shares.min(0).sum(1) - off, shares.max(0).sum(1) + off
    # A quadratic form c cᵀ is nonnegative.
    forms = np.linalg.eigvalsh(0.5 * (gram + gram.transpose(0, 2, 1)))[:, 0] >= -EPS
    variances = np.minimum(functionals.view, functionals.delta2).min(1) >= 0
    least = np.where(forms & variances, np.maximum(least, 0), least)
    functionals = jax.tree.map(jnp.asarray, functionals)
    trivial = (jnp.asarray(least), jnp.asarray(most))

    def kernel(chosen: GramLoss, rows: Any, present: Array, cells: np.ndarray, count: int) -> Any:
        some, cell = jnp.asarray(levels[cells]), solve_anew(chosen, rows, present, cells, count)
        return _bracket_chunk(chosen, rows, present, some, cell, functionals, trivial, count)

    return run_cells(losses, structure, len(levels), kernel)
