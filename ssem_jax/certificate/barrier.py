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
"""View, instance and mean are free; the class share comes last and is what they leave of 1."""
FREE = slice(0, 3)

Free = tuple[Any, ...]
"""Three numbers, one for each free share."""
Shares = tuple[Any, ...]
"""Four, the last one for the class share."""


class Local(NamedTuple):
    """f about a point, as a function of the three free shares."""

    value: Array
    slope: Free
    curvature: tuple[Free, Free, Free]
    rounding: rounding.Scalar  # of a cut


class _Point(NamedTuple):
    """An interior point and its multipliers; also a step from one to another."""

    shares: Shares
    slacks: Shares
    room: Array  # the level minus f, as the method sees it
    weight: Array  # multiplier of f ≤ level


def once(local: Local, number: Array) -> Local:
    """The same, computed once and not again by every loop that needs it.

    XLA repeats in each what it counts as cheap, and does not count divisions so; by 1, which it
    cannot know that 1 + 0x is, they change nothing.
    """
    return jax.tree.map(lambda leaf: leaf / (1 + 0 * number), local)


def total(terms: Iterable[Array]) -> Array:
    """The sum of some terms, one at least: of none `sum` would make no array."""
    return cast(Array, sum(terms))


def dot(left: Iterable[Any], right: Iterable[Any]) -> Array:
    """Σ l_k r_k."""
    return total(one * other for one, other in zip(left, right, strict=True))


def lowest(numbers: Shares, present: Shares) -> Array:
    """The least number of the present shares."""
    shown = (
        jnp.where(here, number, jnp.inf) for number, here in zip(numbers, present, strict=True)
    )
    return reduce(jnp.minimum, shown)


def shortfall(residual: Shares, point: Shares, present: Shares) -> Array:
    """Σ θ_k (r_k - min r) over the present shares."""
    least = lowest(residual, present)
    return total(
        jnp.where(here, share * (number - least), 0)
        for here, share, number in zip(present, point, residual, strict=True)
    )


def with_class(free: Free, of_class: Any = 0.0) -> Shares:
    """Numbers of the free shares and of the class share: slopes and directions have none there."""
    return (*free, of_class)


def _cut(
    local: Local, point: Shares, level: Array, direction: Free, tilt: Array, present: Shares
) -> Array:
    """The outer bound of ⟨direction, θ⟩ from the cut at a point."""
    residual = with_class(tuple(g - tilt * d for g, d in zip(local.slope, direction, strict=True)))
    excess = level - local.value + shortfall(residual, point, present) + local.rounding
    excess = jnp.where(jnp.isfinite(local.value), excess, jnp.inf)
    end = rounding.block_end(reduce(jnp.maximum, map(jnp.abs, direction)))
    return dot(direction, point[FREE]) + excess / tilt + end


def _best_cut(local: Local, point: _Point, level: Array, direction: Free, present: Shares) -> Array:
    """The outer bound of the best tilt at which two residuals are equal, one of the class.

    The bound is piecewise linear in 1/t, so its minimum lies where residuals meet; and at a point
    on an edge of the simplex the tilt that levels both ends is free of the rounding of g.
    """
    own = 1 / point.weight
    tilts = [own]
    for slope, aim in zip(local.slope, direction, strict=True):
        tilt = slope / jnp.where(aim == 0, 1, aim)
        tilts.append(jnp.where((aim != 0) & (tilt > 0), tilt, own))
    bounds = [_cut(local, point.shares, level, direction, tilt, present) for tilt in tilts]
    return reduce(jnp.fmin, bounds, jnp.asarray(jnp.inf))


def _factor(matrix: tuple[Free, Free, Free]) -> Callable[[Free], Free]:
    """Solves with a symmetric positive definite 3 × 3 matrix, by its LDLᵀ factors."""
    (a, b, c), (_, d, e), (_, _, f) = matrix
    below, under = b / a, c / a
    second, mixed = d - below * b, e - below * c
    last = mixed / second
    third = f - under * c - last * mixed

    def solve(right: Free) -> Free:
        x, y = right[0], right[1] - below * right[0]
        z = (right[2] - under * x - last * y) / third
        y = (y - mixed * z) / second
        return (x - b * y - c * z) / a, y, z

    return solve


def _steps(
    point: _Point, local: Local, level: Array, direction: Free, present: Shares
) -> tuple[Callable[..., _Point], Callable[[Free], Free]]:
    """Newton steps at a point for any complementarity that is asked for; and the system's solve.

    The conditions are, for free k, λ g_k - d_k - z_k + z_class = 0; f + room = level; and that
    every z_k θ_k, and λ · room, equal a common measure.
    """
    shares, slacks, room, weight = point
    slope = local.slope
    safe = [jnp.where(here, share, 1) for here, share in zip(present, shares, strict=True)]
    ratio = [slack / share for slack, share in zip(slacks, safe, strict=True)]
    dual = [weight * slope[k] - direction[k] - slacks[k] + slacks[3] for k in range(3)]
    excess = local.value + room - level

    def entry(row: int, column: int) -> Array:
        bent = (
            weight * (local.curvature[row][column] + slope[row] * slope[column] / room) + ratio[3]
        )
        # An absent share gets a unit row.
        return jnp.where(
            present[row] & present[column],
            bent + (ratio[row] if row == column else 0),
            float(row == column),
        )

    solve = _factor(symmetric(entry))

    def step(measure: Array, before: _Point | None = None, size: Array | float = 0.0) -> _Point:
        """The step to a measure; with the second-order terms of a step `before` of that size."""
        lag = [measure - slack * share for slack, share in zip(slacks, shares, strict=True)]
        lag_room, bend, turn = measure - weight * room, excess, dual
        if before is not None:
            to = before.shares[FREE]
            curved = [dot(row, to) for row in local.curvature]
            square = size * size
            lag = [lag[k] - square * before.slacks[k] * before.shares[k] for k in range(4)]
            lag_room = lag_room - square * before.weight * before.room
            bend = excess + 0.5 * square * dot(to, curved)
            turn = [dual[k] + square * before.weight * curved[k] for k in range(3)]
        pull = (lag_room + weight * bend) / room
        right = [lag[k] / safe[k] - turn[k] - slope[k] * pull - lag[3] / safe[3] for k in range(3)]
        free = solve(tuple(jnp.where(present[k], right[k], 0) for k in range(3)))
        along = dot(slope, free)
        moved = with_class(free, -total(free))
        released = tuple(
            jnp.where(present[k], (lag[k] - slacks[k] * moved[k]) / safe[k], 0) for k in range(4)
        )
        return _Point(moved, released, -bend - along, pull + weight * along / room)

    return step, solve


def symmetric(entry: Callable[[int, int], Array]) -> tuple[Free, Free, Free]:
    """The 3 × 3 matrix of its entries on and above the diagonal."""
    a, b, c = (entry(0, column) for column in range(3))
    d, e, f = entry(1, 1), entry(1, 2), entry(2, 2)
    return (a, b, c), (b, d, e), (c, e, f)


def _moved(point: _Point, step: _Point, size: Array) -> _Point:
    return jax.tree.map(lambda old, change: old + size * change, point, step)


def _part(point: _Point, step: _Point, most: float = 1.0) -> Array:
    """How much of a step is taken: all of it, or `most` of the way to the edge, where a share,
    slack, the room or its weight vanishes."""
    rates = jax.tree.leaves(jax.tree.map(lambda old, change: -change / old, point, step))
    # Of an absent share neither is anything.
    return 1 / reduce(jnp.fmax, [rate / most for rate in rates], jnp.asarray(1.0))


def _product(point: _Point) -> Array:
    """Σ z_k θ_k + λ · room: what the bound of the point would miss by, were it feasible."""
    return dot(point.slacks, point.shares) + point.weight * point.room


def centre_of(
    expand: Callable[[Shares], Local], local: Local, start: Shares, level: Array, present: Shares
) -> tuple[_Point, Local, Array]:
    """The analytic centre of the sublevel set, f about the point of the last step to it, and its
    duality measure."""
    slope, bends = with_class(local.slope), [local.curvature[k][k] for k in range(3)]
    least, missing = lowest(slope, present), shortfall(slope, start, present)
    room = level - local.value
    measure = jnp.maximum(room / total(jnp.asarray(here, float) for here in present), missing)
    # Where z_k + h θ_k is the slope of f along share k, the barrier keeps θ_k near measure/slope.
    lifted = [
        jnp.where(
            here,
            jnp.maximum(
                share,
                measure
                / (number - least + jnp.sqrt(jnp.maximum(bend, 0) * measure) + 10 * measure),
            ),
            0,
        )
        for here, share, number, bend in zip(
            present, start, slope, with_class(tuple(bends), total(bends)), strict=True
        )
    ]
    # The class share gives what the others take, unless it cannot.
    rest, whole = 1 - total(lifted[FREE]), total(lifted)
    taken = (*lifted[FREE], rest)
    shares = tuple(
        jnp.where(rest >= 0.5 * lifted[3], one, other / whole)
        for one, other in zip(taken, lifted, strict=True)
    )
    slacks = tuple(
        jnp.where(here, measure / jnp.where(here, share, 1), 0)
        for here, share in zip(present, shares, strict=True)
    )
    still: Free = (0.0, 0.0, 0.0)

    def body(state: tuple[_Point, Local, Array, Array]) -> tuple[_Point, Local, Array, Array]:
        point, _, steps, _ = state
        local = once(expand(point.shares), point.weight)
        to, _ = _steps(point, local, level, still, present)
        step = to(measure)
        size = _part(point, step, STAY_INSIDE)
        back = jax.tree.map(jnp.negative, step)
        near = jnp.minimum(_part(point, step, 0.5), _part(point, back, 0.5)) >= 1
        return _moved(point, step, size), local, steps + 1, near

    point = _Point(shares, slacks, jnp.maximum(room, measure), jnp.ones_like(measure))
    state = (point, local, jnp.asarray(0), jnp.asarray(False))
    state = jax.lax.while_loop(lambda s: ~s[3] & (s[2] < CENTRING_STEPS), body, state)
    return state[0], state[1], measure


class _Search(NamedTuple):
    point: _Point
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
    present: Shares,
) -> Array:
    """An upper bound of ⟨direction, θ⟩ over {f ≤ level}.

    Args:
        expand: f about any point.
        centre: the analytic centre, `there` f about it or nearby, which says where the search
            begins, and `measure` its duality measure.
        level: up to which points count.
        direction: of which the class share has none.
        present: which shares there are.
    """
    number = total(jnp.asarray(here, float) for here in present) + 1
    solve = _steps(centre, there, level + there.rounding, direction, present)[1]
    # The tilt that a step within the Dikin ellipsoid of the centre balances.
    pull = dot(solve(direction), direction) / measure
    scale = jnp.sqrt(jnp.maximum(pull, jnp.finfo(float).tiny))
    slacks = tuple(scale * slack for slack in centre.slacks)
    point = centre._replace(slacks=slacks, weight=scale * centre.weight)

    def body(search: _Search) -> _Search:
        point = search.point
        local = once(expand(point.shares), point.weight)
        best = jnp.fmin(search.best, _best_cut(local, point, level, direction, present))
        reached = dot(direction, point.shares[FREE])
        width = reached - dot(direction, centre.shares[FREE])
        measure = _product(point) / number
        last = LAST_BARRIER * jnp.maximum(width, 0)
        to, _ = _steps(point, local, level + local.rounding, direction, present)
        affine = to(jnp.zeros_like(measure))
        size = _part(point, affine)
        shrunk = jnp.clip(_product(_moved(point, affine, size)) / number / measure, 0, 1)
        step = to(jnp.maximum(shrunk**3 * measure, last), affine, size)
        size = _part(point, step, STAY_INSIDE)
        stalled = (measure <= 10 * last) & (search.best - best <= TIGHTNESS * width)
        done = (best - reached <= TIGHTNESS * width) | stalled
        return _Search(_moved(point, step, size), best, search.steps + 1, done)

    shown = zip(present, with_class(direction), strict=True)
    most = reduce(jnp.maximum, (jnp.where(here, aim, -jnp.inf) for here, aim in shown))
    idle = reduce(jnp.logical_and, (aim == 0 for aim in direction))
    search = _Search(point, most, jnp.asarray(0), idle)
    return jax.lax.while_loop(lambda s: ~s.done & (s.steps < SEARCH_STEPS), body, search).best
