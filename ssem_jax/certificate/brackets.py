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
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax.certificate import rounding
from ssem_jax.certificate.barrier import (
    FREE,
    ORDER,
    Local,
    centre_of,
    dot,
    shortfall,
    upper_bound,
)
from ssem_jax.compute.kernels import Kernel
from ssem_jax.geometry.shares import VarianceSimplex
from ssem_jax.geometry.similarities import Similarities
from ssem_jax.losses.base import PROVEN, GramLoss, convexity_of, has_block_form
from ssem_jax.losses.contrast import Blocks, ClassContrast
from ssem_jax.problem.arrays import AnyArray

EPS = float(np.finfo(np.float64).eps)


Margin = Callable[[Array, Array], rounding.Scalar]
"""The rounding of a cut, from its value and its slopes along the similarities.

Rounded similarities do no harm: they are another point, whose cut is as good."""


def _margin_of_contrast(loss: ClassContrast, blocks: Blocks) -> Margin:
    def margin(value: Array, slopes: Array) -> rounding.Scalar:
        num_pairs = blocks.num_classes * blocks.num_instances * blocks.num_views
        of_sup, of_own = loss.shares(blocks)
        steep = jnp.sum(jnp.abs(slopes))
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

    def margin(value: Array, slopes: Array) -> rounding.Scalar:
        magnitude = loss.magnitude(value, jnp.sum(jnp.abs(slopes)))
        num_points = None if has_block_form(loss) else blocks.num_embeddings
        return rounding.block_other(num_points, magnitude, size)

    return margin


def _expand(loss: GramLoss, blocks: Any, simplex: VarianceSimplex) -> Callable[[Array], Local]:
    """f with gradient and Hessian, at shares in `ORDER`."""
    similarity = jnp.asarray(simplex.similarity)
    rates = similarity[:, ORDER[FREE]] - similarity[:, ORDER[3:]]  # (3, 3)
    at_rest = simplex.offset + similarity[:, ORDER[3]]

    def of_similarities(similarities: Array) -> Array:
        return loss.of_blocks(Similarities(*similarities), blocks)

    evaluate = jax.value_and_grad(of_similarities)

    def terms(value: float) -> Array:
        return jnp.sum(jnp.abs(evaluate(jnp.full(3, value))[1]))

    # The gradient cancels at an optimum; where all embeddings coincide, or none, it cannot.
    size = jnp.maximum(terms(1.0), terms(0.0))
    if convexity_of(loss) != PROVEN:  # it may be infinite there: then half way
        size = jnp.where(jnp.isfinite(size), size, terms(0.5))
    margin = _margin(loss, blocks, size)

    def expand(point: Array) -> Local:
        (value, slopes), change = jax.linearize(evaluate, at_rest + dot(rates, point[FREE]))
        bends = jax.vmap(lambda along: change(along)[1])(rates.T)  # of share k: (3,) slopes
        slope = dot(rates.T, slopes)
        curvature = jax.vmap(lambda bend: dot(rates.T, bend))(bends)
        return Local(value, jnp.append(slope, 0), curvature, margin(value, slopes))

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


def _bound_cell(
    loss: GramLoss,
    blocks: Any,
    simplex: VarianceSimplex,
    aims: Array,
    variances: Array,
    level: Array,
) -> tuple[rounding.Scalar | Float[Array, " aims"], ...]:
    expand = _expand(loss, blocks, simplex)
    start, present = simplex.point(variances)[ORDER], jnp.asarray(simplex.present)[ORDER] > 0
    local = expand(start)
    slack = jnp.where(present, local.slope, jnp.inf)
    eigenvalue = jnp.min(slack) - dot(local.slope, start)
    lower = local.value - shortfall(local.slope, start, present) - local.rounding
    level = jnp.maximum(level, local.value + local.rounding)
    centre, there, measure = centre_of(expand, local, start, level + local.rounding, present)

    def ends(aim: Array) -> Array:
        direction = jnp.append(aim, 0)
        return upper_bound(expand, centre, there, measure, level, direction, present)

    return local.value, local.rounding, lower, eigenvalue, jax.vmap(ends)(aims)


@Kernel
def _bound_lanes(
    losses: GramLoss,
    blocks: Any,
    simplex: VarianceSimplex,
    aims: Array,
    variances: Array,
    levels: Array,
) -> tuple[Float[Array, "B ..."], ...]:
    def cell(loss: GramLoss, variances: Array, level: Array) -> tuple[Any, ...]:
        return _bound_cell(loss, blocks, simplex, aims, variances, level)

    return cast(tuple[Array, ...], jax.vmap(cell)(losses, variances, levels))


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
    most, least = np.split(ends, [len(plan.aims)], axis=1)
    one, other = plan.factor * most[:, plan.row], -plan.factor * least[:, plan.row]
    low, high = plan.base + np.minimum(one, other), plan.base + np.maximum(one, other)
    return Reduced(value, margin, lower, eigenvalue, low, high)
