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

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

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
from ssem_jax.compute.kernels import Kernel
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
    if isinstance(loss, ClassContrast) and type(loss).of_blocks is ClassContrast.of_blocks:
        return _margin_of_contrast(loss, blocks)

    def margin(value: Array, slopes: Free) -> rounding.Scalar:
        magnitude = loss.magnitude(value, total(map(jnp.abs, slopes)))
        num_points = None if has_block_form(loss) else blocks.num_embeddings
        return rounding.block_other(num_points, magnitude, size)

    return margin


def _expand(loss: GramLoss, blocks: Any, simplex: VarianceSimplex) -> Callable[[Shares], Local]:
    """f with gradient and Hessian, at shares in `ORDER`."""
    similarity = jnp.asarray(simplex.similarity)
    # How the similarities change with each free share, from what they are at class shares of 1.
    along = [tuple(rates) for rates in (similarity[:, ORDER[FREE]] - similarity[:, ORDER[3:]]).T]
    at_rest: Free = tuple(simplex.offset + similarity[:, ORDER[3]])

    def of_similarities(view: Array, within: Array, between: Array) -> Array:
        return loss.of_blocks(Similarities(view, within, between), blocks)

    evaluate = jax.value_and_grad(of_similarities, argnums=(0, 1, 2))

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
        (value, slopes), change = jax.linearize(evaluate, *near)
        bends = [change(*ahead)[1] for ahead in along]
        slope = tuple(dot(ahead, slopes) for ahead in along)
        curvature = symmetric(lambda row, column: dot(along[column], bends[row]))
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


@Kernel
def _bound_lanes(
    losses: GramLoss,
    blocks: Any,
    simplex: VarianceSimplex,
    aims: Array,
    variances: Array,
    levels: Array,
) -> tuple[Float[Array, "..."], ...]:
    present: Shares = tuple(jnp.asarray(simplex.present)[ORDER] > 0)

    def centred(loss: GramLoss, variances: Array, level: Array) -> tuple[Any, ...]:
        expand = _expand(loss, blocks, simplex)
        start: Shares = tuple(simplex.point(variances)[ORDER])
        local = expand(start)
        slope = with_class(local.slope)
        eigenvalue = lowest(slope, present) - dot(slope, start)
        lower = local.value - shortfall(slope, start, present) - local.rounding
        level = jnp.maximum(level, local.value + local.rounding)
        centre = centre_of(expand, local, start, level + local.rounding, present)
        return (local.value, local.rounding, lower, eigenvalue), (loss, level, *centre)

    def end(
        aim: Free, loss: GramLoss, level: Array, centre: Any, there: Local, measure: Array
    ) -> Array:
        expand = _expand(loss, blocks, simplex)
        return upper_bound(expand, centre, there, measure, level, aim, present)

    found, centres = jax.vmap(centred)(losses, variances, levels)
    # Cells come last: loops over them are long, those over aims are not.
    ends = jax.vmap(lambda *aim: jax.vmap(partial(end, aim))(*centres))(*aims.T)
    return *found, ends


class Plan(NamedTuple):
    """What has to be searched for: quantity = base + factor · the searched one in its row."""

    aims: Float[np.ndarray, "searched 3"]
    base: Float[np.ndarray, " 5"]
    factor: Float[np.ndarray, " 5"]
    row: np.ndarray


def plan_of(simplex: VarianceSimplex) -> Plan:
    """The quantities without those that are constant, or multiples of one before."""
    rows = np.concatenate([np.eye(4)[[0, 1, 3]], simplex.similarity[1:]])
    base = np.concatenate([np.zeros(3), simplex.offset[1:]]) + rows[:, ORDER[3]]
    free = ORDER[FREE]
    rows = (rows[:, free] - rows[:, ORDER[3:]]) * np.asarray(simplex.present)[free]
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
    return Plan(np.array(aims), base, factor, row)


def bound_cells(
    losses: GramLoss,
    blocks: Any,
    simplex: VarianceSimplex,
    variances: Float[AnyArray, "B 4"],
    levels: Float[AnyArray, " B"],
    plan: Plan | None = None,
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
    """
    plan = plan or plan_of(simplex)
    aims = np.concatenate([plan.aims, -plan.aims])
    found = _bound_lanes(losses, blocks, simplex, aims, variances, levels)
    value, margin, lower, eigenvalue, ends = map(np.asarray, found)
    most, least = np.split(ends.T, [len(plan.aims)], axis=1)
    one, other = plan.factor * most[:, plan.row], -plan.factor * least[:, plan.row]
    low, high = plan.base + np.minimum(one, other), plan.base + np.maximum(one, other)
    return Reduced(value, margin, lower, eigenvalue, low, high)
