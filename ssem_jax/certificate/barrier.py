"""An interior method: how far a linear functional reaches where f ≤ c."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ssem_jax.certificate import rounding

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


# Shares are told one by one, as numbers and not as an array of four: cells are then worked through
# in plain loops over cells, which fill the registers of a processor.

ORDER = np.array([0, 1, 3, 2])
"""View, instance and mean are free; the class share comes last and is what they leave of 1. Of
those that a structure has not, views or instances, nothing is computed."""
FREE = slice(0, -1)

Free = tuple[Any, ...]
"""A number for each free share: three at most."""
Shares = tuple[Any, ...]
"""One more, for the class share."""
Matrix = tuple[Free, ...]
"""Symmetric, of the free shares."""


class Local(NamedTuple):
    """f about a point, as a function of the free shares."""

    value: Array
    slope: Free
    curvature: Matrix
    rounding: rounding.Scalar  # of a cut


class _Point(NamedTuple):
    """An interior point and its multipliers; also a step from one to another."""

    shares: Shares
    slacks: Shares
    room: Array  # the level minus f, as the method sees it
    weight: Array  # multiplier of f ≤ level


def total(terms: Iterable[Array]) -> Array:
    """The sum of some terms, one at least: of none `sum` would make no array."""
    return cast(Array, sum(terms))


def dot(left: Iterable[Any], right: Iterable[Any]) -> Array:
    """Σ l_k r_k."""
    return total(one * other for one, other in zip(left, right, strict=True))


def lowest(numbers: Shares) -> Array:
    """The least number."""
    return reduce(jnp.minimum, numbers)


def shortfall(residual: Shares, point: Shares) -> Array:
    """Σ θ_k (r_k - min r), where the class has what the others leave of 1: of shares that steps are
    added to, the sum drifts by a rounding a step."""
    least, (*free, _) = lowest(residual), point
    return dot((*free, 1 - total(free)), (number - least for number in residual))


def with_class(free: Free, of_class: Any = 0.0) -> Shares:
    """Numbers of the free shares and of the class share: slopes and directions have none there."""
    return (*free, of_class)


def _cut(local: Local, point: Shares, level: Array, direction: Free, tilt: Array) -> Array:
    """The outer bound of ⟨direction, θ⟩ from the cut at a point."""
    residual = with_class(tuple(g - tilt * d for g, d in zip(local.slope, direction, strict=True)))
    below, missing = level - local.value, shortfall(residual, point)
    margin = local.rounding + rounding.block_excess(jnp.abs(below) + jnp.abs(missing))
    excess = jnp.where(jnp.isfinite(local.value), below + missing + margin, jnp.inf)
    end = rounding.block_end(reduce(jnp.maximum, map(jnp.abs, direction)))
    return dot(direction, point[FREE]) + excess / tilt + end


def _best_cut(local: Local, point: _Point, level: Array, direction: Free) -> Array:
    """The outer bound of the best tilt at which two residuals are equal, one of the class.

    The bound is piecewise linear in 1/t, so its minimum lies where residuals meet; and at a point
    on an edge of the simplex the tilt that levels both ends is free of the rounding of g.
    """
    own = 1 / point.weight
    tilts = [own]
    for slope, aim in zip(local.slope, direction, strict=True):
        tilt = slope / jnp.where(aim == 0, 1, aim)
        tilts.append(jnp.where((aim != 0) & (tilt > 0), tilt, own))
    bounds = [_cut(local, point.shares, level, direction, tilt) for tilt in tilts]
    return reduce(jnp.fmin, bounds, jnp.asarray(jnp.inf))


def _factor(matrix: Matrix) -> Callable[[Free], Free]:
    """Solves with a symmetric positive definite matrix, by its LDLᵀ factors."""
    first, *others = matrix
    pivot = 1 / first[0]
    below = [entry * pivot for entry in first[1:]]
    if not others:
        return lambda right: (right[0] * pivot,)
    rest = _factor(
        symmetric(
            len(below), lambda row, column: others[row][column + 1] - below[row] * first[column + 1]
        )
    )

    def solve(right: Free) -> Free:
        later = rest(
            tuple(each - part * right[0] for each, part in zip(right[1:], below, strict=True))
        )
        return (right[0] * pivot - dot(below, later), *later)

    return solve


def _inverse(point: _Point) -> _Point:
    """The reciprocals of all that must stay positive: divisions are what a step costs most."""
    return jax.tree.map(jnp.reciprocal, point)


def _steps(
    point: _Point, inverse: _Point, local: Local, level: Array, direction: Free
) -> tuple[Callable[..., _Point], Callable[[Free], Free]]:
    """Newton steps at a point for any complementarity that is asked for; and the system's solve.

    The conditions are, for free k, λ g_k - d_k - z_k + z_class = 0; f + room = level; and that
    every z_k θ_k, and λ · room, equal a common measure.
    """
    _, slacks, room, weight = point
    slope, count = local.slope, len(direction)
    ratio = [slack * over for slack, over in zip(slacks, inverse.shares, strict=True)]
    dual = [weight * slope[k] - direction[k] - slacks[k] + slacks[-1] for k in range(count)]
    excess = local.value + room - level

    def entry(row: int, column: int) -> Array:
        bent = weight * (local.curvature[row][column] + slope[row] * slope[column] * inverse.room)
        return bent + ratio[-1] + (ratio[row] if row == column else 0)

    solve = _factor(symmetric(count, entry))

    def step(measure: Array, before: _Point | None = None, size: Array | float = 0.0) -> _Point:
        """The step to a measure; with the second-order terms of a step `before` of that size."""
        to_share, to_room, bend, turn = [measure] * (count + 1), measure, excess, dual
        if before is not None:
            to = before.shares[FREE]
            curved = [dot(row, to) for row in local.curvature]
            square = size * size
            twice = zip(before.slacks, before.shares, strict=True)
            to_share = [measure - square * dz * d for dz, d in twice]
            to_room = measure - square * before.weight * before.room
            bend = excess + 0.5 * square * dot(to, curved)
            turn = [dual[k] + square * before.weight * curved[k] for k in range(count)]
        pull = (to_room + weight * bend) * inverse.room - weight
        lag = [
            each * over - slack
            for each, over, slack in zip(to_share, inverse.shares, slacks, strict=True)
        ]
        free = solve(tuple(lag[k] - turn[k] - slope[k] * pull - lag[-1] for k in range(count)))
        along = dot(slope, free)
        moved = with_class(free, -total(free))
        released = tuple(
            part - each * change for part, each, change in zip(lag, ratio, moved, strict=True)
        )
        return _Point(moved, released, -bend - along, pull + weight * along * inverse.room)

    return step, solve


def symmetric(size: int, entry: Callable[[int, int], Array]) -> Matrix:
    """A symmetric matrix of its entries on and above the diagonal."""
    upper = {
        (row, column): entry(row, column) for row in range(size) for column in range(row, size)
    }
    return tuple(tuple(upper[min(i, j), max(i, j)] for j in range(size)) for i in range(size))


def _moved(point: _Point, step: _Point, size: Array) -> _Point:
    return jax.tree.map(lambda old, change: old + size * change, point, step)


def _part(inverse: _Point, step: _Point, most: float = 1.0) -> Array:
    """How much of a step is taken: all of it, or `most` of the way to the edge, where a share,
    slack, the room or its weight vanishes."""
    rates = jax.tree.leaves(jax.tree.map(lambda over, change: -change * over, inverse, step))
    return most / reduce(jnp.fmax, rates, jnp.asarray(most))


def _product(point: _Point) -> Array:
    """Σ z_k θ_k + λ · room: what the bound of the point would miss by, were it feasible."""
    return dot(point.slacks, point.shares) + point.weight * point.room


def centre_of(
    expand: Callable[[Shares], Local], local: Local, start: Shares, level: Array
) -> tuple[_Point, Local, Array]:
    """The analytic centre of the sublevel set, f about the point of the last step to it, and its
    duality measure."""
    slope, count = with_class(local.slope), len(start)
    bends = tuple(local.curvature[k][k] for k in range(count - 1))
    least, missing = lowest(slope), shortfall(slope, start)
    room = level - local.value
    measure = jnp.maximum(room / count, missing)
    # Where z_k + h θ_k is the slope of f along share k, the barrier keeps θ_k near measure/slope.
    lifted = [
        jnp.maximum(
            share,
            measure / (number - least + jnp.sqrt(jnp.maximum(bend, 0) * measure) + 10 * measure),
        )
        for share, number, bend in zip(start, slope, with_class(bends, total(bends)), strict=True)
    ]
    # The class share gives what the others take, unless it cannot.
    rest, whole = 1 - total(lifted[FREE]), total(lifted)
    shares = tuple(
        jnp.where(rest >= 0.5 * lifted[-1], one, other / whole)
        for one, other in zip((*lifted[FREE], rest), lifted, strict=True)
    )
    slacks = tuple(measure / share for share in shares)
    still: Free = (0.0,) * (count - 1)

    def body(state: tuple[_Point, Local, Array, Array]) -> tuple[_Point, Local, Array, Array]:
        point, local, steps, _ = state
        inverse = _inverse(point)
        to, _ = _steps(point, inverse, local, level, still)
        step = to(measure)
        moved = jax.tree.map(lambda over, change: jnp.abs(change * over), inverse, step)
        near = reduce(jnp.maximum, jax.tree.leaves(moved)) <= 0.5
        point = _moved(point, step, _part(inverse, step, STAY_INSIDE))
        # A small step may end beyond a wall of exponentials, from where searches come back by τ a
        # step: the centre lies in the set.
        local = expand(point.shares)
        return point, local, steps + 1, near & (local.value <= level)

    point = _Point(shares, slacks, jnp.maximum(room, measure), jnp.ones_like(measure))
    state = (point, expand(point.shares), jnp.asarray(0), jnp.asarray(False))
    state = jax.lax.while_loop(lambda s: ~s[3] & (s[2] < CENTRING_STEPS), body, state)
    return state[0], state[1], measure


class _Search(NamedTuple):
    point: _Point
    local: Local
    best: Array
    steps: Array
    done: Array


def upper_bound(
    expand: Callable[[Shares], Local],
    centre: _Point,
    there: Local,
    measure: Array,
    level: Array,
    direction: Free,
) -> Array:
    """An upper bound of ⟨direction, θ⟩ over {f ≤ level}.

    Args:
        expand: f about any point.
        centre: the analytic centre, `there` f about it, where the search begins, and `measure` its
            duality measure.
        level: up to which points count.
        direction: of which the class share has none.
    """
    number, middle = len(centre.shares) + 1, dot(direction, centre.shares[FREE])
    solve = _steps(centre, _inverse(centre), there, level + there.rounding, direction)[1]
    # The tilt that a step within the Dikin ellipsoid of the centre balances.
    pull = dot(solve(direction), direction) / measure
    scale = jnp.sqrt(jnp.maximum(pull, jnp.finfo(float).tiny))
    slacks = tuple(scale * slack for slack in centre.slacks)
    point = centre._replace(slacks=slacks, weight=scale * centre.weight)

    def last_measure(point: _Point) -> Array:
        return LAST_BARRIER * jnp.maximum(dot(direction, point.shares[FREE]) - middle, 0)

    def judged(point: _Point, local: Local, best: Array, steps: Array) -> _Search:
        before, best = best, jnp.fmin(best, _best_cut(local, point, level, direction))
        reached = dot(direction, point.shares[FREE])
        near, measure = TIGHTNESS * (reached - middle), _product(point) / number
        stalled = (measure <= 10 * last_measure(point)) & (before - best <= near)
        return _Search(point, local, best, steps, (best - reached <= near) | stalled)

    def body(search: _Search) -> _Search:
        point, local = search.point, search.local
        inverse, measure = _inverse(point), _product(point) / number
        to, _ = _steps(point, inverse, local, level + local.rounding, direction)
        affine = to(jnp.zeros_like(measure))
        size = _part(inverse, affine)
        shrunk = jnp.clip(_product(_moved(point, affine, size)) / number / measure, 0, 1)
        step = to(jnp.maximum(shrunk**3 * measure, last_measure(point)), affine, size)
        point = _moved(point, step, _part(inverse, step, STAY_INSIDE))
        return judged(point, expand(point.shares), search.best, search.steps + 1)

    most = reduce(jnp.maximum, with_class(direction))
    search = judged(point, there, most, jnp.asarray(1))
    return jax.lax.while_loop(lambda s: ~s.done & (s.steps < SEARCH_STEPS), body, search).best
