r"""The convex problem that is left after averaging over the symmetry of a balanced structure.

Averaging a Gram matrix over all permutations of classes, of instances within classes and of views
within instances raises no convex symmetric loss. What is left are three similarities, or better,
four **variance shares** that sum to 1,

.. math::
   \theta = (\theta_\mathrm{view}, \theta_\mathrm{instance}, \theta_\mathrm{class},
             \theta_\mathrm{mean}),

the variance of views about their instance mean, of instance means about their class mean (δ²), of
class means about the global mean, and the squared global mean: up to multiplicity the eigenvalues
of the averaged Gram matrix. It is positive semidefinite iff they are nonnegative, so the reduced
problem is a convex function f on a simplex of at most four vertices, and

.. math::
   s_\mathrm{view} = 1 - \tfrac{p}{p-1} \theta_\mathrm{view}, \quad
   s_\mathrm{within} = 1 - \theta_\mathrm{view} - \tfrac{n}{n-1} \theta_\mathrm{instance}, \quad
   s_\mathrm{between} = \theta_\mathrm{mean} - \tfrac{1}{m-1} \theta_\mathrm{class}.

**Bounds.** The gradient g of f at any point θ of the simplex cuts the sublevel set {f ≤ c}: a
point y of it has :math:`\langle g, y - \theta\rangle \le c - f(\theta)`. For a linear ℓ with
coefficients d and any tilt t > 0, weak duality of that linear program gives

.. math::
   \ell(y) \le \ell(\theta) + \frac{1}{t} \Bigl[c - f(\theta)
     + \sum_k \theta_k (r_k - \min_l r_l)\Bigr], \qquad r = g - t d,

an outer bound whatever θ and t are. It is tight where θ maximises ℓ over the sublevel set and 1/t
is the multiplier of f ≤ c; a primal-dual interior-point method finds both. It begins at the
analytic centre of the set, so nothing depends on the scale of the set, which may be 1 or 1e-14
wide, and five to eight Newton steps do. At t = 0 the same cut bounds f itself:
:math:`\min f \ge f(\theta) - \sum_k \theta_k (g_k - \min_l g_l)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax.certificate import rounding
from ssem_jax.certificate.barrier import (
    FREE,
    ORDER,
    Free,
    Local,
    Shares,
    centre_of,
    dot,
    lowest,
    shortfall,
    symmetric,
    total,
    upper_bound,
    with_class,
)
from ssem_jax.compute.kernels import Kernel, batched, each, map_first
from ssem_jax.compute.pieces import in_one_piece
from ssem_jax.geometry.shares import VarianceSimplex
from ssem_jax.geometry.similarities import Similarities
from ssem_jax.losses.base import PROVEN, GramLoss, convexity_of, has_block_form
from ssem_jax.losses.contrast import Blocks, ClassContrast
from ssem_jax.problem.arrays import AnyArray

EPS = float(np.finfo(np.float64).eps)


Margin = Callable[[Array, Free], rounding.Scalar]
"""The rounding of a cut, from its value and its slopes along the similarities.

Rounded similarities do no harm: they are another point, whose cut is as good."""


def _margin_of_contrast(loss: ClassContrast, blocks: Blocks) -> Margin:
    def margin(value: Array, slopes: Free) -> rounding.Scalar:
        num_pairs = blocks.num_classes * blocks.num_instances * blocks.num_views
        of_sup, of_own = loss.shares(blocks)
        steep = total(map(jnp.abs, slopes))
        loose = jnp.where(blocks.self_pairs > 0, 0, 1 / loss.temperature)
        views = jnp.where(blocks.self_pairs > 0, (blocks.num_views - 1) / blocks.num_views, 1)
        of_views = jnp.where(blocks.num_views > 1, views * of_own, 0)
        pulls = (of_sup + of_views) / loss.temperature
        # Logarithm and pull have one sign, unless instances are decoupled.
        parts = jnp.abs(value) + (4 / loss.temperature if loss.decoupled else 0)
        of_value = rounding.block_value(num_pairs, parts)
        return of_value + rounding.block_slope(pulls, loose, steep)

    return margin


def _margin(loss: GramLoss, blocks: Any, size: Array) -> Margin:
    """The margin of the cuts of a loss.

    Args:
        loss: the loss.
        blocks: what it prepared.
        size: of the terms that the gradient is summed from.
    """
    if _is_contrast(loss):
        return _margin_of_contrast(loss, blocks)

    def margin(value: Array, slopes: Free) -> rounding.Scalar:
        magnitude = loss.magnitude(value, total(map(jnp.abs, slopes)))
        num_points = None if has_block_form(loss) else blocks.num_embeddings
        return rounding.block_other(num_points, magnitude, size)

    return margin


def _is_contrast(loss: GramLoss) -> TypeGuard[ClassContrast]:
    """Whether the form of three similarities is that of a class contrast."""
    return isinstance(loss, ClassContrast) and type(loss).of_blocks is ClassContrast.of_blocks


def _derivatives_of_contrast(
    loss: ClassContrast, blocks: Blocks, along: list[Free]
) -> Callable[..., tuple[Array, Free, list[Free]]]:
    """As :func:`_derivatives`, where the Hessian is (Diag P - P Pᵀ)/τ² of the softmax P."""
    rate = 1 / loss.temperature

    def derivatives(*near: Array) -> tuple[Array, Free, list[Free]]:
        value, shares, weights = loss.softmax_of_blocks(Similarities(*near), blocks)
        shares = [share * rate for share in shares[1:]]
        slopes = tuple(
            share - weight * rate for share, weight in zip(shares, weights[1:], strict=True)
        )
        bends = []
        for ahead in along:
            mean = dot(ahead, shares)
            bends.append(
                tuple(share * (go * rate - mean) for share, go in zip(shares, ahead, strict=True))
            )
        return value, slopes, bends

    return derivatives


def _derivatives(
    loss: GramLoss, blocks: Any, along: list[Free]
) -> Callable[..., tuple[Array, Free, list[Free]]]:
    """f of three similarities, its slopes, and how these change along some directions."""

    def of_similarities(view: Array, within: Array, between: Array) -> Array:
        return loss.of_blocks(Similarities(view, within, between), blocks)

    evaluate = jax.value_and_grad(of_similarities, argnums=(0, 1, 2))

    def derivatives(*near: Array) -> tuple[Array, Free, list[Free]]:
        (value, slopes), change = jax.linearize(evaluate, *near)
        return value, slopes, [change(*ahead)[1] for ahead in along]

    return derivatives


def _expand(
    loss: GramLoss, blocks: Any, simplex: VarianceSimplex, order: Sequence[int] = tuple(ORDER)
) -> Callable[[Shares], Local]:
    """f with gradient and Hessian, at shares in an order: of `ORDER`, those that are present."""
    similarity, (*free, rest) = jnp.asarray(simplex.similarity), order
    # How the similarities change with each free share, from what they are at class shares of 1.
    along = [tuple(similarity[:, share] - similarity[:, rest]) for share in free]
    at_rest: Free = tuple(simplex.offset + similarity[:, rest])
    given = blocks, along
    evaluate = (
        _derivatives_of_contrast(loss, *given) if _is_contrast(loss) else _derivatives(loss, *given)
    )

    def terms(value: float) -> Array:
        return total(map(jnp.abs, evaluate(*[jnp.asarray(value)] * 3)[1]))

    # The gradient cancels at an optimum; where all embeddings coincide, or none, it cannot.
    size = jnp.maximum(terms(1.0), terms(0.0))
    if convexity_of(loss) != PROVEN:  # it may be infinite there: then half way
        size = jnp.where(jnp.isfinite(size), size, terms(0.5))
    margin = _margin(loss, blocks, size)

    def expand(point: Shares) -> Local:
        shifts = (dot(rates, point[FREE]) for rates in zip(*along, strict=True))
        near = [rest + shift for rest, shift in zip(at_rest, shifts, strict=True)]
        value, slopes, bends = evaluate(*near)
        slope = tuple(dot(ahead, slopes) for ahead in along)
        curvature = symmetric(len(free), lambda row, column: dot(along[column], bends[row]))
        return Local(value, slope, curvature, margin(value, slopes))

    return expand


class Reduced(NamedTuple):
    """The reduced problem bounded: its minimum, and where near-optimal points can lie.

    Attributes:
        value: f at the symmetrised point that was handed in.
        rounding: error that `value` may have.
        lower: a lower bound of min f.
        eigenvalue: the least eigenvalue, times N, of the dual matrix of the symmetrised point.
        low: (5,) and `high` (5,): outer bounds over the sublevel set, in the order of
            `QUANTITIES`.
    """

    value: Float[np.ndarray, "*batch"]
    rounding: Float[np.ndarray, "*batch"]
    lower: Float[np.ndarray, "*batch"]
    eigenvalue: Float[np.ndarray, "*batch"]
    low: Float[np.ndarray, "*batch 5"]
    high: Float[np.ndarray, "*batch 5"]


LANES = 32
"""Cells side by side: what they work with stays in a core's nearest cache, and they wait for the
slowest of few."""


@partial(Kernel, static_argnums=(3,), full_vectors=True)
def _bound_lanes(
    losses: GramLoss,
    blocks: Any,
    simplex: VarianceSimplex,
    order: tuple[int, ...],
    aims: Array,
    variances: Array,
    levels: Array,
    count: Array | int,
) -> tuple[Float[Array, "B ..."], ...]:
    """The first `count` cells, in groups of lanes; what is found of each, and its ends last."""

    def centred(loss: GramLoss, variances: Array, level: Array) -> tuple[Any, ...]:
        expand = _expand(loss, blocks, simplex, order)
        point = simplex.point(variances)
        start: Shares = tuple(point[share] for share in order)
        local = expand(start)
        slope = with_class(local.slope)
        eigenvalue = lowest(slope) - dot(slope, start)
        missing = shortfall(slope, start)
        lower = local.value - missing - local.rounding - rounding.block_excess(jnp.abs(missing))
        level = jnp.maximum(level, local.value + local.rounding)
        centre = centre_of(expand, local, start, level + local.rounding)
        return (local.value, local.rounding, lower, eigenvalue), (loss, level, *centre)

    def end(
        aim: Free, loss: GramLoss, level: Array, centre: Any, there: Local, measure: Array
    ) -> Array:
        expand = _expand(loss, blocks, simplex, order)
        return upper_bound(expand, centre, there, measure, level, aim)

    def lanes(losses: GramLoss, variances: Array, levels: Array) -> tuple[Array, ...]:
        found, centres = jax.vmap(centred)(losses, variances, levels)
        # One aim after another: a loop ends with its slowest cell, and some aims are quick.
        ends = each(lambda aim: jax.vmap(partial(end, aim))(*centres), tuple(aims.T))
        return *found, ends.T

    cells = (losses, variances, levels)
    if batched():
        return lanes(*cells)
    work = in_one_piece(lanes) if _is_contrast(losses) else lanes
    width = math.gcd(len(levels), LANES)
    groups = jax.tree.map(lambda leaf: leaf.reshape(-1, width, *leaf.shape[1:]), cells)
    results = map_first((count + width - 1) // width, work, *groups)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), results)


class Plan(NamedTuple):
    """What has to be searched for: quantity = base + factor · the searched one in its row.

    Attributes:
        order: of the shares that are present; the class share comes last.
        aims: directions along the others.
    """

    order: tuple[int, ...]
    aims: Float[np.ndarray, "searched free"]
    base: Float[np.ndarray, " 5"]
    factor: Float[np.ndarray, " 5"]
    row: np.ndarray


def plan_of(simplex: VarianceSimplex) -> Plan:
    """The quantities without those that are constant, or multiples of one before."""
    rows = np.concatenate([np.eye(4)[[0, 1, 3]], simplex.similarity[1:]])
    order = tuple(int(share) for share in ORDER if simplex.present[share])
    rest = order[-1]
    base = np.concatenate([np.zeros(3), simplex.offset[1:]]) + rows[:, rest]
    rows = rows[:, order[FREE]] - rows[:, [rest]]
    aims: list[np.ndarray] = []
    factor, row = np.zeros(len(rows)), np.zeros(len(rows), int)
    for number, aim in enumerate(rows):
        if not aim.any():
            continue
        for place, known in enumerate(aims):
            ratio = aim @ known / (known @ known)
            if np.array_equal(ratio * known, aim):
                factor[number], row[number] = ratio, place
                break
        else:
            factor[number], row[number] = 1, len(aims)
            aims.append(aim)
    return Plan(order, np.array(aims), base, factor, row)


def bound_cells(
    losses: GramLoss,
    blocks: Any,
    simplex: VarianceSimplex,
    variances: Float[AnyArray, "B 4"],
    levels: Float[AnyArray, " B"],
    plan: Plan | None = None,
    count: Array | int | None = None,
) -> Reduced:
    """Bounds of the reduced problem for a batch of cells of one balanced structure.

    Args:
        losses: the loss, with a batch axis on every leaf.
        blocks: what the loss prepared of the structure.
        simplex: of the variance shares of the structure.
        variances: (B, 4) of symmetrised points, in the order of :class:`geometry.Variances`.
        levels: (B,) the loss up to which near-optimal points are bracketed; raised to the loss of
            the symmetrised point where that is higher.
        plan: of the simplex, where it is at hand.
        count: of the cells that matter, if not all: the first ones.
    """
    plan = plan or plan_of(simplex)
    aims = np.concatenate([plan.aims, -plan.aims])
    cells = variances, levels, len(levels) if count is None else count
    found = _bound_lanes(losses, blocks, simplex, plan.order, aims, *cells)
    value, margin, lower, eigenvalue, ends = map(np.asarray, found)
    most, least = np.split(ends, [len(plan.aims)], axis=1)
    one, other = plan.factor * most[:, plan.row], -plan.factor * least[:, plan.row]
    low, high = plan.base + np.minimum(one, other), plan.base + np.maximum(one, other)
    return Reduced(value, margin, lower, eigenvalue, low, high)
