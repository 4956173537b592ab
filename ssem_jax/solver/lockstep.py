"""The same attempts for accelerators: all cells of a chunk side by side, as lanes.

Nested loops would make every lane wait for the slowest one at each level: for the most products of
any step, the most steps of any descent. So a descent is one loop, of **ticks**: each lane makes one
Hessian product, and takes its step when its own conjugate gradients have stopped. Lanes that are
done leave (:func:`ssem_jax.compute.kernels.while_going`): when a quarter is left of a chunk, these
are gathered into a smaller one. Dual matrices are factored in one batch, and only those that are
not semidefinite are diagonalised.

What a lane does is put together from the same functions as on a CPU (:mod:`.newton`, :mod:`.escape`
and :mod:`.walk`); only their order is of this module.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ssem_jax.compute.kernels import Kernel, at_places, few_of, put_back, while_going
from ssem_jax.losses.base import GramLoss
from ssem_jax.solver.escape import dual_of, is_semidefinite, leave_along, stay
from ssem_jax.solver.newton import (
    CG,
    GRADIENT_TOLERANCE,
    Point,
    Run,
    begin_cg,
    begin_run,
    continue_cg,
    hessian_at,
    is_going,
    residual_goal,
    take_step,
)
from ssem_jax.solver.objective import of_loss
from ssem_jax.solver.walk import Left, Outcome, Start, Walk, begin_walk, go_on


class Lane(NamedTuple):
    """A descent, and where the conjugate gradients of its next step stand."""

    run: Run
    cg: CG


def tick(loss: GramLoss, prepared: Any, lane: Lane, tolerance: Array) -> Lane:
    """One Hessian product further, and the step where it was the last; nothing once it is done."""
    objective = of_loss(loss, prepared)
    run, point = lane.run, lane.run.point
    goal = residual_goal(run, tolerance)
    cg = continue_cg(lane.cg, point, hessian_at(objective, point), run.radius, goal, run.scale)
    stepped = take_step(objective, run, cg, tolerance)
    run = _chosen(cg.stop, stepped, run)
    cg = _chosen(cg.stop, begin_cg(run.point), cg)
    return _chosen(is_going(lane.run), Lane(run, cg), lane)


def _chosen(here: Array, one: Any, other: Any) -> Any:
    return jax.tree.map(partial(jnp.where, here), one, other)


@partial(Kernel, static_argnums=(3,))
def _begin_lanes(losses: GramLoss, prepared: Any, points: Array, wide: bool) -> Lane:
    def begin(loss: GramLoss, start: Array) -> Lane:
        run = begin_run(of_loss(loss, prepared), start, wide)
        return Lane(run, begin_cg(run.point))

    return jax.vmap(begin)(losses, points)


@Kernel
def _tick_lanes(
    shared: tuple[GramLoss, Any, Array], lanes: Lane, places: Array
) -> tuple[Lane, Array]:
    """Ticks of the lanes at `places` until few go on."""
    losses, prepared, tolerance = shared
    chosen, there = at_places(losses, places), places < len(lanes.cg.stop)

    def ticks(some: Lane) -> Lane:
        return jax.vmap(lambda loss, lane: tick(loss, prepared, lane, tolerance))(chosen, some)

    some = jax.lax.while_loop(
        lambda some: jnp.sum(is_going(some.run) & there) > few_of(places),
        ticks,
        at_places(lanes, places),
    )
    return put_back(lanes, places, some), is_going(some.run)


def descend(
    losses: GramLoss, prepared: Any, points: Array, tolerance: float, count: int, wide: bool = False
) -> Run:
    """:func:`.newton.trust_region` of the first `count` lanes; the others stay where they began."""
    lanes = _begin_lanes(losses, prepared, points, wide)
    shared = (losses, prepared, jnp.asarray(tolerance))
    return while_going(_tick_lanes, shared, lanes, np.arange(count)).run


@Kernel
def _stay_lanes(point: Point) -> tuple[Left, Array]:
    """Of every lane what staying means, and whether it may."""
    left = Left(*jax.vmap(stay)(point))
    return left, jax.vmap(lambda one: is_semidefinite(dual_of(one)))(point)


@Kernel
def _leave_lanes(
    shared: tuple[GramLoss, Any, Point], left: Left, places: Array
) -> tuple[Left, Array]:
    """The saddles at `places` left; none goes on."""
    losses, prepared, point = shared

    def leave(loss: GramLoss, one: Point) -> Left:
        return Left(*leave_along(lambda gram: loss.value(gram, prepared), one, dual_of(one)))

    some = jax.vmap(leave)(at_places(losses, places), at_places(point, places))
    return put_back(left, places, some), jnp.zeros(len(places), bool)


def leave_saddles(losses: GramLoss, prepared: Any, point: Point, count: int) -> Left:
    """:func:`.escape.leave_saddle` of the first `count` lanes."""
    left, content = _stay_lanes(point)
    saddles = np.flatnonzero(~np.asarray(content)[:count])
    return while_going(_leave_lanes, (losses, prepared, point), left, saddles)


_begin_walks = Kernel(jax.vmap(begin_walk))


@Kernel
def _heat_lanes(
    losses: GramLoss, walks: Walk, places: Array, num_stages: Array
) -> tuple[GramLoss, Walk]:
    """The walks at `places`, and the losses of the stages at which they are."""
    some = at_places(walks, places)
    heated = jax.vmap(lambda loss, stage: loss.heated((stage + 1) / num_stages))
    return heated(at_places(losses, places), some.stage), some


@Kernel
def _go_on_lanes(
    shared: tuple[Run, Left, Walk, Array | int], walks: Walk, places: Array
) -> tuple[Walk, Array]:
    """The walks at `places` gone on, and whether they have stages left."""
    run, left, some, num_stages = shared
    some = jax.vmap(go_on)(some, run, left)
    return put_back(walks, places, some), some.stage < num_stages


def attempt_lanes(
    losses: GramLoss, prepared: Any, start: Start, num_stages: int, count: Array | int
) -> Outcome:
    """From every start, walk `num_stages` losses of the path and leave their saddles."""

    def walk_on(_: None, walks: Walk, places: np.ndarray) -> tuple[Walk, Array]:
        count = int(np.sum(places < len(walks.stage)))
        heated, some = _heat_lanes(losses, walks, places, num_stages)
        points = some.outcome.embeddings
        run = descend(heated, prepared, points, GRADIENT_TOLERANCE, count, wide=True)
        left = leave_saddles(heated, prepared, run.point, count)
        return _go_on_lanes((run, left, some, num_stages), walks, places)

    walks = _begin_walks(start)
    return while_going(walk_on, None, walks, np.arange(int(count))).outcome
