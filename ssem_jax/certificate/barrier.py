"""An interior method: how far a linear functional reaches where f ≤ c."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
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


# Below, a point is four numbers rather than an array of four, and so is everything made of it:
# under vmap each is an array over lanes, and the steps compile into plain loops over lanes.

Numbers = Sequence[Array]

ORDER = (0, 1, 3, 2)
"""View, instance and mean are free; the class share comes last and is what they leave of 1."""


class Local(NamedTuple):
    """f about a point, as a function of the three free shares."""

    value: Array
    slope: Numbers  # of the free shares, and 0 for the class share
    curvature: Sequence[Numbers]
    rounding: rounding.Scalar  # of a cut


class _Point(NamedTuple):
    """An interior point and its multipliers; also a step from one to another."""

    shares: Numbers
    slacks: Numbers
    room: Array  # the level minus f, as the method sees it
    weight: Array  # multiplier of f ≤ level


def total(terms: Iterable[Array]) -> Array:
    """The sum of some terms, one at least: of none `sum` would make no array."""
    return cast(Array, sum(terms))


def dot(left: Numbers, right: Numbers) -> Array:
    return total(a * b for a, b in zip(left, right, strict=True))


def shortfall(residual: Numbers, point: Numbers, present: Numbers) -> Array:
    """Σ θ_k (r_k - min r) over the present shares."""
    kept = [jnp.where(here, one, jnp.inf) for one, here in zip(residual, present, strict=True)]
    lowest = reduce(jnp.minimum, kept)
    return total(
        jnp.where(here, share * (one - lowest), 0)
        for one, share, here in zip(residual, point, present, strict=True)
    )


def _cut(
    local: Local, point: Numbers, level: Array, direction: Numbers, tilt: Array, present: Numbers
) -> Array:
    """The outer bound of ⟨direction, θ⟩ from the cut at a point."""
    residual = [slope - tilt * one for slope, one in zip(local.slope, direction, strict=True)]
    excess = level - local.value + shortfall(residual, point, present) + local.rounding
    excess = jnp.where(jnp.isfinite(local.value), excess, jnp.inf)
    end = rounding.block_end(reduce(jnp.maximum, map(jnp.abs, direction)))
    return dot(direction, point) + excess / tilt + end


def _best_cut(
    local: Local, point: _Point, level: Array, direction: Numbers, present: Numbers
) -> Array:
    """The outer bound of the best tilt at which two residuals are equal, one of the class.

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
    point: _Point, local: Local, level: Array, direction: Numbers, present: Numbers
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
            bent = [dot(row, before.shares[:3]) for row in local.curvature]
            square = size * size
            lag = [
                one - square * z * x
                for one, z, x in zip(lag, before.slacks, before.shares, strict=True)
            ]
            lag_room = lag_room - square * before.weight * before.room
            bend = excess + 0.5 * square * dot(before.shares[:3], bent)
            turn = [one + square * before.weight * h for one, h in zip(dual, bent, strict=True)]
        pull = (lag_room + weight * bend) / room
        right = [
            jnp.where(
                present[k], lag[k] / safe[k] - turn[k] - slope[k] * pull - lag[3] / safe[3], 0
            )
            for k in range(3)
        ]
        free = solve(right)
        along = dot(slope[:3], free)
        moved = [*free, -total(free)]
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
    return dot(point.slacks, point.shares) + point.weight * point.room


def centre_of(
    expand: Callable[[Numbers], Local],
    local: Local,
    start: Numbers,
    level: Array,
    present: Numbers,
) -> tuple[_Point, Array]:
    """The analytic centre of the sublevel set, and its duality measure."""
    count = total(here.astype(float) for here in present)
    slacks = [
        slope
        - reduce(
            jnp.minimum,
            [jnp.where(h, g, jnp.inf) for g, h in zip(local.slope, present, strict=True)],
        )
        for slope in local.slope
    ]
    missing = shortfall(local.slope, start, present)
    room = level - local.value
    measure = jnp.maximum(room / count, missing)
    bends = [local.curvature[k][k] for k in range(3)]
    bends.append(total(bends))
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
    rest, weight = 1 - total(lifted[:3]), total(lifted)
    enough = rest >= 0.5 * lifted[3]
    shares = [jnp.where(enough, x, x / weight) for x in lifted[:3]]
    shares.append(jnp.where(enough, rest, lifted[3] / weight))
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


def upper_bound(
    expand: Callable[[Numbers], Local],
    centre: _Point,
    measure: Array,
    level: Array,
    direction: Numbers,
    present: Numbers,
) -> Array:
    """An upper bound of ⟨direction, θ⟩ over {f ≤ level}."""
    number = total(here.astype(float) for here in present) + 1
    local = expand(centre.shares)
    goal = level + local.rounding
    solve = _steps(centre, local, goal, direction, present)[1]
    # The tilt that a step within the Dikin ellipsoid of the centre balances.
    scale = jnp.sqrt(
        jnp.maximum(dot(solve(direction[:3]), direction[:3]) / measure, jnp.finfo(float).tiny)
    )
    point = centre._replace(slacks=[scale * z for z in centre.slacks], weight=scale * centre.weight)

    def body(search: _Search) -> _Search:
        point = search.point
        local = expand(point.shares)
        best = jnp.fmin(search.best, _best_cut(local, point, level, direction, present))
        reached = dot(direction, point.shares)
        width = reached - dot(direction, centre.shares)
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
