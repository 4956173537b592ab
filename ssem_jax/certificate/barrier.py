"""An interior method: how far a linear functional reaches where f ≤ c."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

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


# Sums over shares are written as sums: products of matrices would call a library for every lane.

ORDER = np.array([0, 1, 3, 2])
"""View, instance and mean are free; the class share comes last and is what they leave of 1."""
FREE = slice(0, 3)


class Local(NamedTuple):
    """f about a point, as a function of the three free shares."""

    value: Array
    slope: Float[Array, " 4"]  # of the free shares, and 0 for the class share
    curvature: Float[Array, "3 3"]
    rounding: rounding.Scalar  # of a cut


class _Point(NamedTuple):
    """An interior point and its multipliers; also a step from one to another."""

    shares: Float[Array, " 4"]
    slacks: Float[Array, " 4"]
    room: Array  # the level minus f, as the method sees it
    weight: Array  # multiplier of f ≤ level


def total(terms: Iterable[Array]) -> Array:
    """The sum of some terms, one at least: of none `sum` would make no array."""
    return cast(Array, sum(terms))


def dot(left: Array, right: Array) -> Array:
    """Every row of `left`, or the vector that it is, with `right`."""
    return jnp.sum(left * jnp.broadcast_to(right, left.shape), axis=-1)


def shortfall(residual: Array, point: Array, present: Array) -> Array:
    """Σ θ_k (r_k - min r) over the present shares."""
    lowest = jnp.min(jnp.where(present, residual, jnp.inf))
    return jnp.sum(jnp.where(present, point * (residual - lowest), 0))


def _cut(
    local: Local, point: Array, level: Array, direction: Array, tilt: Array, present: Array
) -> Array:
    """The outer bound of ⟨direction, θ⟩ from the cut at a point."""
    residual = local.slope - tilt * direction
    excess = level - local.value + shortfall(residual, point, present) + local.rounding
    excess = jnp.where(jnp.isfinite(local.value), excess, jnp.inf)
    end = rounding.block_end(jnp.max(jnp.abs(direction)))
    return dot(direction, point) + excess / tilt + end


def _best_cut(local: Local, point: _Point, level: Array, direction: Array, present: Array) -> Array:
    """The outer bound of the best tilt at which two residuals are equal, one of the class.

    The bound is piecewise linear in 1/t, so its minimum lies where residuals meet; and at a point
    on an edge of the simplex the tilt that levels both ends is free of the rounding of g.
    """
    own = 1 / point.weight
    # The class share has no direction of its own: its place is for the multiplier.
    tilts = local.slope / jnp.where(direction == 0, 1, direction)
    tilts = jnp.where((direction != 0) & (tilts > 0), tilts, own)

    def bound(tilt: Array) -> Array:
        return _cut(local, point.shares, level, direction, tilt, present)

    bounds = jax.vmap(bound)(tilts)
    return jnp.min(jnp.where(jnp.isnan(bounds), jnp.inf, bounds))


def _factor(matrix: Float[Array, "3 3"]) -> Callable[[Array], Array]:
    """Solves with a symmetric positive definite 3 × 3 matrix, by its LDLᵀ factors."""
    (a, b, c), (_, d, e), (_, _, f) = matrix
    below, under = b / a, c / a
    second, mixed = d - below * b, e - below * c
    last = mixed / second
    third = f - under * c - last * mixed

    def solve(right: Float[Array, " 3"]) -> Float[Array, " 3"]:
        x, y = right[0], right[1] - below * right[0]
        z = (right[2] - under * x - last * y) / third
        y = y / second - last * z
        return jnp.stack([x / a - below * y - under * z, y, z])

    return solve


def _steps(
    point: _Point, local: Local, level: Array, direction: Array, present: Array
) -> tuple[Callable[..., _Point], Callable[[Array], Array]]:
    """Newton steps at a point for any complementarity that is asked for; and the system's solve.

    The conditions are, for free k, λ g_k - d_k - z_k + z_class = 0; f + room = level; and that
    every z_k θ_k, and λ · room, equal a common measure.
    """
    shares, slacks, room, weight = point
    slope, free = local.slope[FREE], present[FREE]
    safe = jnp.where(present, shares, 1)
    ratio = slacks / safe
    dual = weight * slope - direction[FREE] - slacks[FREE] + slacks[3]
    excess = local.value + room - level
    bent = weight * (local.curvature + jnp.outer(slope, slope) / room) + ratio[3]
    bent = bent + jnp.diag(ratio[FREE])
    # An absent share gets a unit row.
    solve = _factor(jnp.where(jnp.outer(free, free), bent, np.eye(3)))

    def step(measure: Array, before: _Point | None = None, size: Array | float = 0.0) -> _Point:
        """The step to a measure; with the second-order terms of a step `before` of that size."""
        lag, lag_room = measure - slacks * shares, measure - weight * room
        bend, turn = excess, dual
        if before is not None:
            curved = dot(local.curvature, before.shares[FREE])
            square = size * size
            lag = lag - square * before.slacks * before.shares
            lag_room = lag_room - square * before.weight * before.room
            bend = excess + 0.5 * square * dot(before.shares[FREE], curved)
            turn = dual + square * before.weight * curved
        pull = (lag_room + weight * bend) / room
        right = lag[FREE] / safe[FREE] - turn - slope * pull - lag[3] / safe[3]
        moved = solve(jnp.where(free, right, 0))
        along = dot(slope, moved)
        moved = jnp.append(moved, -jnp.sum(moved))
        released = jnp.where(present, (lag - slacks * moved) / safe, 0)
        return _Point(moved, released, -bend - along, pull + weight * along / room)

    return step, solve


def _moved(point: _Point, step: _Point, size: Array) -> _Point:
    return jax.tree.map(lambda old, change: old + size * change, point, step)


def _reach(point: _Point, step: _Point) -> Array:
    """How many steps lead to the edge, where a share, slack, the room or its weight vanishes."""

    def least(old: Array, change: Array) -> Array:
        return jnp.min(jnp.where(change < 0, old / -change, jnp.inf))

    return jnp.min(jnp.stack(jax.tree.leaves(jax.tree.map(least, point, step))))


def _product(point: _Point) -> Array:
    """Σ z_k θ_k + λ · room: what the bound of the point would miss by, were it feasible."""
    return dot(point.slacks, point.shares) + point.weight * point.room


def centre_of(
    expand: Callable[[Array], Local], local: Local, start: Array, level: Array, present: Array
) -> tuple[_Point, Local, Array]:
    """The analytic centre of the sublevel set, f about the point of the last step to it, and its
    duality measure."""
    count = jnp.sum(present)
    slacks = local.slope - jnp.min(jnp.where(present, local.slope, jnp.inf))
    missing = shortfall(local.slope, start, present)
    room = level - local.value
    measure = jnp.maximum(room / count, missing)
    bends = jnp.diagonal(local.curvature)
    bends = jnp.maximum(jnp.append(bends, jnp.sum(bends)), 0)
    # Where z_k + h θ_k is the slope of f along share k, the barrier keeps θ_k near measure/slope.
    lifted = measure / (slacks + jnp.sqrt(bends * measure) + 10 * measure)
    lifted = jnp.where(present, jnp.maximum(start, lifted), 0)
    # The class share gives what the others take, unless it cannot.
    rest = 1 - jnp.sum(lifted[FREE])
    taken = jnp.append(lifted[FREE], rest)
    shares = jnp.where(rest >= 0.5 * lifted[3], taken, lifted / jnp.sum(lifted))
    slacks = jnp.where(present, measure / jnp.where(present, shares, 1), 0)

    def body(state: tuple[_Point, Local, Array, Array]) -> tuple[_Point, Local, Array, Array]:
        point, _, steps, _ = state
        local = expand(point.shares)
        to, _ = _steps(point, local, level, jnp.zeros(4), present)
        step = to(measure)
        size = jnp.minimum(1, STAY_INSIDE * _reach(point, step))
        back = jax.tree.map(jnp.negative, step)
        near = jnp.minimum(_reach(point, step), _reach(point, back)) >= 2
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
    expand: Callable[[Array], Local],
    centre: _Point,
    there: Local,
    measure: Array,
    level: Array,
    direction: Array,
    present: Array,
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
    number = jnp.sum(present) + 1
    solve = _steps(centre, there, level + there.rounding, direction, present)[1]
    # The tilt that a step within the Dikin ellipsoid of the centre balances.
    pull = dot(solve(direction[FREE]), direction[FREE]) / measure
    scale = jnp.sqrt(jnp.maximum(pull, jnp.finfo(float).tiny))
    point = centre._replace(slacks=scale * centre.slacks, weight=scale * centre.weight)

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

    most = jnp.max(jnp.where(present, direction, -jnp.inf))
    search = _Search(point, most, jnp.asarray(0), jnp.all(direction == 0))
    return jax.lax.while_loop(lambda s: ~s.done & (s.steps < SEARCH_STEPS), body, search).best
