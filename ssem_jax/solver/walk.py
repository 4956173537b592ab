"""A walk along the path of a loss, from one start: what is kept of it, and when it ends."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from ssem_jax.problem.solution import Status
from ssem_jax.solver.newton import DUAL_TOLERANCE, MAX_OUTER, SADDLE_GRADIENT, Run

MAX_ESCAPES = 4
"""Saddles left per stage; the three phases of balanced classes are at most two saddles apart."""


class Outcome(NamedTuple):
    """One attempt at one cell."""

    embeddings: Any
    value: Any
    gradient_norm: Any
    dual_violation: Any
    status: Any
    iterations: Any
    products: Any
    escapes: Any


class Start(NamedTuple):
    """Where a walk begins, and what it took to get there."""

    embeddings: Any
    iterations: Any
    products: Any


class Left(NamedTuple):
    """What was found of a saddle."""

    embeddings: Any  # beyond it, or unchanged
    violation: Any  # N·max(0, -λ_min) of the dual matrix
    moved: Any


class Walk(NamedTuple):
    """Where a walk stands."""

    outcome: Outcome
    stage: Any
    escapes_here: Any


def begin_walk(start: Start) -> Walk:
    zero = jnp.asarray(0)
    nothing = jnp.asarray(jnp.inf)
    outcome = Outcome(
        start.embeddings,
        nothing,
        nothing,
        nothing,
        zero,
        start.iterations,
        start.products,
        zero,
    )
    return Walk(outcome, zero, zero)


def go_on(walk: Walk, run: Run, left: Left) -> Walk:
    """The walk after a descent and a look at its end: again from beyond a saddle, or a stage on."""
    before = walk.outcome
    again = left.moved & (walk.escapes_here < MAX_ESCAPES)
    status = jnp.where(
        left.violation <= DUAL_TOLERANCE,
        Status.CONVERGED,
        jnp.where(
            run.iterations >= MAX_OUTER,
            Status.BUDGET,
            jnp.where(
                run.point.gradient_norm <= SADDLE_GRADIENT * run.scale,
                Status.SADDLE,
                Status.STALLED,
            ),
        ),
    )
    outcome = Outcome(
        jnp.where(again, left.embeddings, run.point.embeddings),
        run.point.value,
        run.point.gradient_norm,
        left.violation,
        status,
        before.iterations + run.iterations,
        before.products + run.products,
        before.escapes + again,
    )
    return Walk(outcome, walk.stage + ~again, jnp.where(again, walk.escapes_here + 1, 0))
