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

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax import rounding
from ssem_jax.compute.kernels import Kernel
from ssem_jax.geometry.similarities import Similarities
from ssem_jax.losses.base import PROVEN, GramLoss, convexity_of
from ssem_jax.losses.contrast import ClassContrast
from ssem_jax.problem.structure import ClassStructure

EPS = float(np.finfo(np.float64).eps)

CENTRING_STEPS, SEARCH_STEPS = 40, 24
"""Newton steps at most. From a minimiser, one or two find the centre, and five to eight the end."""
TIGHTNESS = 1e-3
"""Part of its distance from the analytic centre by which an outer bound may miss the end that the
search has reached; and what a further step must improve it by."""
LAST_BARRIER = 5e-5
"""Duality measure, as a part of the same distance, that is not lowered further: from there plain
Newton steps remove the residuals quadratically."""
STAY_INSIDE = 0.95
"""Part of the way to the edge that a step goes at most."""


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


def similarities_at(shares: Shares, theta: Float[Array, " 4"]) -> Similarities:
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


# Below, a point is four numbers rather than an array of four, and so is everything made of it:
# under vmap each is an array over lanes, and the steps compile into plain loops over lanes.

Numbers = Sequence[Array]

ORDER = (0, 1, 3, 2)
"""View, instance and mean are free; the class share comes last and is what they leave of 1."""


class _Local(NamedTuple):
    """f about a point, as a function of the three free shares."""

    value: Array
    slope: Numbers  # of the free shares, and 0 for the class share
    curvature: Sequence[Numbers]
    rounding: Array  # of a cut


class _Point(NamedTuple):
    """An interior point and its multipliers; also a step from one to another."""

    shares: Numbers
    slacks: Numbers
    room: Array  # the level minus f, as the method sees it
    weight: Array  # multiplier of f ≤ level


def _dot(left: Numbers, right: Numbers) -> Array:
    return sum((a * b for a, b in zip(left, right, strict=True)), start=0.0)


def _margin(loss: GramLoss, blocks: Any, size: Array) -> Callable[[Array, Numbers], Array]:
    """The rounding of a cut, from its value and its slopes along the similarities.

    Rounded similarities do no harm: they are another point, whose cut is as good.

    Args:
        loss: the loss.
        blocks: what it prepared.
        size: of the terms that the gradient is summed from.
    """

    def of_contrast(value: Array, slopes: Numbers) -> Array:
        num_pairs = blocks.num_classes * blocks.num_instances * blocks.num_views
        of_sup, of_own = loss.shares(blocks)
        total = sum(map(jnp.abs, slopes))
        loose = jnp.where(blocks.self_pairs > 0, 0, 1 / loss.temperature)
        pulls = (of_sup + jnp.where(blocks.num_views > 1, 2 * of_own, 0)) / loss.temperature
        # Logarithm and pull have one sign, unless instances are decoupled.
        parts = jnp.abs(value) + (4 / loss.temperature if loss.decoupled else 0)
        of_value = rounding.block_value(num_pairs, parts)
        return of_value + rounding.block_slope(pulls, loose, total)

    def of_other(value: Array, slopes: Numbers) -> Array:
        magnitude = loss.magnitude(value, sum(map(jnp.abs, slopes)))
        num_points = None if has_block_form(loss) else blocks.num_embeddings
        return rounding.block_other(num_points, magnitude, size)

    contrast = isinstance(loss, ClassContrast) and (type(loss).of_blocks is ClassContrast.of_blocks)
    return of_contrast if contrast else of_other


def _expand(loss: GramLoss, blocks: Any, shares: Shares) -> Callable[[Numbers], _Local]:
    """f with gradient and Hessian, at shares in `ORDER`."""
    free, rest = ORDER[:3], ORDER[3]
    rates = [[row[k] - row[rest] for k in free] for row in shares.similarity]
    at_rest = [
        offset + row[rest] for offset, row in zip(shares.offset, shares.similarity, strict=True)
    ]

    def of_similarities(similarities: Numbers) -> Array:
        return loss.of_blocks(Similarities(*similarities), blocks)

    evaluate = jax.value_and_grad(of_similarities)

    def terms(value: float) -> Array:
        slopes = evaluate([jnp.asarray(value) + 0.0 * at_rest[0]] * 3)[1]
        return sum(map(jnp.abs, slopes))

    # The gradient cancels at an optimum; where all embeddings coincide, or none, it cannot.
    size = jnp.maximum(terms(1.0), terms(0.0))
    if convexity_of(loss) != PROVEN:  # it may be infinite there: then half way
        size = jnp.where(jnp.isfinite(size), size, terms(0.5))
    margin = _margin(loss, blocks, size)

    def expand(point: Numbers) -> _Local:
        similarities = [
            base + _dot(row, point[:3]) for base, row in zip(at_rest, rates, strict=True)
        ]
        columns = []
        for k in range(3):
            along = [jnp.broadcast_to(row[k], jnp.shape(size)) for row in rates]
            (value, slopes), (_, change) = jax.jvp(evaluate, (similarities,), (along,))
            columns.append(
                [
                    sum(row[j] * part for row, part in zip(rates, change, strict=True))
                    for j in range(3)
                ]
            )
        slope = [
            sum(row[k] * part for row, part in zip(rates, slopes, strict=True)) for k in range(3)
        ]
        return _Local(value, [*slope, jnp.zeros_like(value)], columns, margin(value, slopes))

    return expand


def _shortfall(residual: Numbers, point: Numbers, present: Numbers) -> Array:
    """Σ θ_k (r_k - min r) over the present shares."""
    kept = [jnp.where(here, one, jnp.inf) for one, here in zip(residual, present, strict=True)]
    lowest = reduce(jnp.minimum, kept)
    return sum(
        jnp.where(here, share * (one - lowest), 0)
        for one, share, here in zip(residual, point, present, strict=True)
    )


def _cut(
    local: _Local, point: Numbers, level: Array, direction: Numbers, tilt: Array, present: Numbers
) -> Array:
    """The outer bound of ⟨direction, θ⟩ from the cut at a point."""
    residual = [slope - tilt * one for slope, one in zip(local.slope, direction, strict=True)]
    excess = level - local.value + _shortfall(residual, point, present) + local.rounding
    excess = jnp.where(jnp.isfinite(local.value), excess, jnp.inf)
    end = rounding.block_end(reduce(jnp.maximum, map(jnp.abs, direction)))
    return _dot(direction, point) + excess / tilt + end


def _best_cut(
    local: _Local, point: _Point, level: Array, direction: Numbers, present: Numbers
) -> Array:
    """The same with the best of the tilts at which two residuals are equal, one of the class.

    The bound is piecewise linear in 1/t, so its minimum lies where residuals meet; and at a point
    on an edge of the simplex the tilt that levels both ends is free of the rounding of g.
    """
    own = 1 / point.weight
    bounds = [_cut(local, point.shares, level, direction, own, present)]
    for slope, one in zip(local.slope[:3], direction[:3], strict=True):
        tilt = slope / jnp.where(one == 0, 1, one)
        tilt = jnp.where((one != 0) & (tilt > 0), tilt, own)
        bounds.append(_cut(local, point.shares, level, direction, tilt, present))
    return reduce(jnp.fmin, bounds)


def _factor(rows: Sequence[Numbers]) -> Callable[[Numbers], Numbers]:
    """Solves with a symmetric positive definite 3 × 3 matrix, by its LDLᵀ factors."""
    (a, b, c), (_, d, e), (_, _, f) = rows
    below, under = b / a, c / a
    second, mixed = d - below * b, e - below * c
    last = mixed / second
    third = f - under * c - last * mixed

    def solve(right: Numbers) -> Numbers:
        x, y = right[0], right[1] - below * right[0]
        z = (right[2] - under * x - last * y) / third
        y = y / second - last * z
        return [x / a - below * y - under * z, y, z]

    return solve


def _steps(
    point: _Point, local: _Local, level: Array, direction: Numbers, present: Numbers
) -> tuple[Callable[..., _Point], Callable[[Numbers], Numbers]]:
    """Newton steps at a point for any complementarity that is asked for; and the system's solve.

    The conditions are, for free k, λ g_k - d_k - z_k + z_class = 0; f + room = level; and that
    every z_k θ_k, and λ · room, equal a common measure.
    """
    shares, slacks, room, weight = point
    slope, safe = (
        local.slope,
        [jnp.where(here, x, 1) for here, x in zip(present, shares, strict=True)],
    )
    ratio = [z / x for z, x in zip(slacks, safe, strict=True)]
    dual = [
        weight * g - d - z + slacks[3]
        for g, d, z in zip(slope[:3], direction[:3], slacks[:3], strict=True)
    ]
    excess = local.value + room - level

    def entry(k: int, j: int) -> Array:
        bent = weight * (local.curvature[k][j] + slope[k] * slope[j] / room) + ratio[3]
        # An absent share gets a unit row.
        return jnp.where(present[k] & present[j], bent + (ratio[k] if k == j else 0), float(k == j))

    solve = _factor([[entry(k, j) for j in range(3)] for k in range(3)])

    def step(measure: Array, before: _Point | None = None, size: Array | float = 0.0) -> _Point:
        """The step to a measure; with the second-order terms of a step `before` of that size."""
        lag = [measure - z * x for z, x in zip(slacks, shares, strict=True)]
        lag_room, bend, turn = measure - weight * room, excess, dual
        if before is not None:
            bent = [_dot(row, before.shares[:3]) for row in local.curvature]
            square = size * size
            lag = [
                one - square * z * x
                for one, z, x in zip(lag, before.slacks, before.shares, strict=True)
            ]
            lag_room = lag_room - square * before.weight * before.room
            bend = excess + 0.5 * square * _dot(before.shares[:3], bent)
            turn = [one + square * before.weight * h for one, h in zip(dual, bent, strict=True)]
        pull = (lag_room + weight * bend) / room
        right = [
            jnp.where(
                present[k], lag[k] / safe[k] - turn[k] - slope[k] * pull - lag[3] / safe[3], 0
            )
            for k in range(3)
        ]
        free = solve(right)
        along = _dot(slope[:3], free)
        moved = [*free, -sum(free)]
        released = [
            jnp.where(here, (one - z * x) / share, 0)
            for here, one, z, x, share in zip(present, lag, slacks, moved, safe, strict=True)
        ]
        return _Point(moved, released, -bend - along, pull + weight * along / room)

    return step, solve


def _moved(point: _Point, step: _Point, size: Array) -> _Point:
    return jax.tree.map(lambda old, change: old + size * change, point, step)


def _reach(point: _Point, step: _Point) -> Array:
    """How many steps lead to the edge, where a share, slack, the room or its weight vanishes."""
    pairs = zip(jax.tree.leaves(point), jax.tree.leaves(step), strict=True)
    return reduce(
        jnp.minimum, (jnp.where(change < 0, old / -change, jnp.inf) for old, change in pairs)
    )


def _product(point: _Point) -> Array:
    """Σ z_k θ_k + λ · room: what the bound of the point would miss by, were it feasible."""
    return _dot(point.slacks, point.shares) + point.weight * point.room


def _centre(
    expand: Callable[[Numbers], _Local],
    local: _Local,
    start: Numbers,
    level: Array,
    present: Numbers,
) -> tuple[_Point, Array]:
    """The analytic centre of the sublevel set, and its duality measure."""
    count = sum(here.astype(float) for here in present)
    slacks = [
        slope
        - reduce(
            jnp.minimum,
            [jnp.where(h, g, jnp.inf) for g, h in zip(local.slope, present, strict=True)],
        )
        for slope in local.slope
    ]
    missing = _shortfall(local.slope, start, present)
    room = level - local.value
    measure = jnp.maximum(room / count, missing)
    bends = [local.curvature[k][k] for k in range(3)]
    bends.append(sum(bends))
    # Where z_k + h θ_k is the slope of f along share k, the barrier keeps θ_k near measure/slope.
    lifted = [
        jnp.where(
            here,
            jnp.maximum(x, measure / (z + jnp.sqrt(jnp.maximum(h, 0) * measure) + 10 * measure)),
            0,
        )
        for here, x, z, h in zip(present, start, slacks, bends, strict=True)
    ]
    # The class share gives what the others take, unless it cannot.
    rest, total = 1 - sum(lifted[:3]), sum(lifted)
    enough = rest >= 0.5 * lifted[3]
    shares = [jnp.where(enough, x, x / total) for x in lifted[:3]]
    shares.append(jnp.where(enough, rest, lifted[3] / total))
    slacks = [
        jnp.where(here, measure / jnp.where(here, x, 1), 0)
        for here, x in zip(present, shares, strict=True)
    ]
    ahead = [jnp.zeros_like(measure)] * 4

    def body(state: tuple[_Point, Array, Array]) -> tuple[_Point, Array, Array]:
        point, steps, _ = state
        here = expand(point.shares)
        to, _ = _steps(point, here, level, ahead, present)
        step = to(measure)
        size = jnp.minimum(1, STAY_INSIDE * _reach(point, step))
        back = jax.tree.map(jnp.negative, step)
        near = jnp.minimum(_reach(point, step), _reach(point, back)) >= 2
        return _moved(point, step, size), steps + 1, near

    point = _Point(shares, slacks, jnp.maximum(room, measure), jnp.ones_like(measure))
    state = (point, jnp.asarray(0), jnp.asarray(False))
    point = jax.lax.while_loop(lambda s: ~s[2] & (s[1] < CENTRING_STEPS), body, state)[0]
    return point, measure


class _Search(NamedTuple):
    point: _Point
    best: Array
    steps: Array
    done: Array


def _upper_bound(
    expand: Callable[[Numbers], _Local],
    centre: _Point,
    measure: Array,
    level: Array,
    direction: Numbers,
    present: Numbers,
) -> Array:
    """An upper bound of ⟨direction, θ⟩ over {f ≤ level}."""
    number = sum(here.astype(float) for here in present) + 1
    local = expand(centre.shares)
    goal = level + local.rounding
    solve = _steps(centre, local, goal, direction, present)[1]
    # The tilt that a step within the Dikin ellipsoid of the centre balances.
    scale = jnp.sqrt(
        jnp.maximum(_dot(solve(direction[:3]), direction[:3]) / measure, jnp.finfo(float).tiny)
    )
    point = centre._replace(slacks=[scale * z for z in centre.slacks], weight=scale * centre.weight)

    def body(search: _Search) -> _Search:
        point = search.point
        local = expand(point.shares)
        best = jnp.fmin(search.best, _best_cut(local, point, level, direction, present))
        reached = _dot(direction, point.shares)
        width = reached - _dot(direction, centre.shares)
        measure = _product(point) / number
        last = LAST_BARRIER * jnp.maximum(width, 0)
        to, _ = _steps(point, local, level + local.rounding, direction, present)
        affine = to(jnp.zeros_like(measure))
        size = jnp.minimum(1, _reach(point, affine))
        shrunk = jnp.clip(_product(_moved(point, affine, size)) / number / measure, 0, 1)
        step = to(jnp.maximum(shrunk**3 * measure, last), affine, size)
        size = jnp.minimum(1, STAY_INSIDE * _reach(point, step))
        stalled = (measure <= 10 * last) & (search.best - best <= TIGHTNESS * width)
        done = (best - reached <= TIGHTNESS * width) | stalled
        return _Search(_moved(point, step, size), best, search.steps + 1, done)

    most = reduce(
        jnp.maximum, [jnp.where(h, d, -jnp.inf) for d, h in zip(direction, present, strict=True)]
    )
    flat = reduce(jnp.logical_and, [d == 0 for d in direction])
    search = _Search(point, most, jnp.asarray(0), flat)
    return jax.lax.while_loop(lambda s: ~s.done & (s.steps < SEARCH_STEPS), body, search).best


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

    value: Float[Array, "*batch"]
    rounding: Float[Array, "*batch"]
    lower: Float[Array, "*batch"]
    eigenvalue: Float[Array, "*batch"]
    low: Float[Array, "*batch 5"]
    high: Float[Array, "*batch 5"]


QUANTITIES = (
    "view_variance",
    "delta2",
    "mean_squared",
    "within_similarity",
    "between_similarity",
)
"""What is bounded. The view similarity is 1 - p/(p-1) times the view variance."""


def _bound_cell(
    loss: GramLoss, blocks: Any, shares: Shares, aims: Array, variances: Array, level: Array
) -> tuple[Array, ...]:
    expand = _expand(loss, blocks, shares)
    theta = shares_at(shares, variances)
    start, present = [theta[k] for k in ORDER], [shares.present[k] for k in ORDER]
    local = expand(start)
    mean = _dot(local.slope, start)
    slack = [
        jnp.where(here, slope, jnp.inf) for slope, here in zip(local.slope, present, strict=True)
    ]
    eigenvalue = reduce(jnp.minimum, slack) - mean
    lower = local.value - _shortfall(local.slope, start, present) - local.rounding
    level = jnp.maximum(level, local.value + local.rounding)
    centre, measure = _centre(expand, local, start, level + local.rounding, present)

    def ends(aim: Array) -> Array:
        direction = [aim[k] for k in range(3)] + [jnp.zeros(())]
        return _upper_bound(expand, centre, measure, level, direction, present)

    return local.value, local.rounding, lower, eigenvalue, jax.vmap(ends)(aims)


@Kernel
def _bound_lanes(
    losses: GramLoss, blocks: Any, shares: Shares, aims: Array, variances: Array, levels: Array
) -> tuple[Array, ...]:
    def cell(loss: GramLoss, variances: Array, level: Array) -> tuple[Array, ...]:
        return _bound_cell(loss, blocks, shares, aims, variances, level)

    return jax.vmap(cell)(losses, variances, levels)


class _Plan(NamedTuple):
    """What has to be searched for: quantity = base + factor · the searched one in its row."""

    aims: Float[np.ndarray, "searched 3"]
    base: Float[np.ndarray, " 5"]
    factor: Float[np.ndarray, " 5"]
    row: np.ndarray


def _plan(shares: Shares) -> _Plan:
    """The quantities without those that are constant, or multiples of one before."""
    rows = np.concatenate([np.eye(4)[[0, 1, 3]], shares.similarity[1:]])
    base = np.concatenate([np.zeros(3), shares.offset[1:]]) + rows[:, ORDER[3]]
    free = list(ORDER[:3])
    rows = (rows[:, free] - rows[:, ORDER[3:]]) * np.asarray(shares.present)[free]
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
    return _Plan(np.array(aims), base, factor, row)


def bound_cells(
    losses: GramLoss,
    blocks: Any,
    shares: Shares,
    variances: Float[Array, "B 4"],
    levels: Float[Array, " B"],
) -> Reduced:
    """Bounds of the reduced problem for a batch of cells of one balanced structure.

    Args:
        losses: the loss, with a batch axis on every leaf.
        blocks: what the loss prepared of the structure.
        shares: the variance simplex of the structure.
        variances: (B, 4) view, instance, class and squared-mean variances of symmetrised points.
        levels: (B,) the loss up to which near-optimal points are bracketed; raised to the loss of
            the symmetrised point where that is higher.
    """
    plan = _plan(shares)
    aims = np.concatenate([plan.aims, -plan.aims])
    found = _bound_lanes(losses, blocks, shares, aims, variances, levels)
    *values, ends = map(np.asarray, found)
    most, least = np.split(ends, [len(plan.aims)], axis=1)
    one, other = plan.factor * most[:, plan.row], -plan.factor * least[:, plan.row]
    return Reduced(*values, plan.base + np.minimum(one, other), plan.base + np.maximum(one, other))
