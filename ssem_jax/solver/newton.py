"""Riemannian trust regions: truncated Newton steps on a product of spheres."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ssem_jax.compute.pieces import piece_of
from ssem_jax.geometry.sphere import inner, project, retract
from ssem_jax.solver.objective import Objective

EPS = float(np.finfo(np.float64).eps)
GRADIENT_TOLERANCE = 1e-15
"""Relative gradient at which the second stage ends: a few roundings of the gradient's terms."""
DUAL_TOLERANCE = 1e-11
"""N·|λ_min(S)| up to which the solver is content: a hundredth of the 1e-9 that verification asks
for, and a hundred times the rounding of N·λ_min at N = 100."""
SADDLE_GRADIENT = 1e-7
"""Relative gradient under which a point of negative curvature counts as a saddle."""
SHRINK_PATIENCE = 12
"""Rejected steps in a row after which the trust region is given up."""
NOISE_DECREASE = 1e-15
"""Model decrease that is rounding."""
NOISE_PATIENCE = 3
"""Steps in a row, taken or not, that promise no more than that and do not halve the gradient, after
which a descent ends: after the first where the gradient, too, is near its rounding."""
NOISE_GRADIENT = 32 * GRADIENT_TOLERANCE
"""Relative gradient that is near rounding. Of a hundred embeddings every third descent stops at one
to six times `GRADIENT_TOLERANCE`: steps from there make tens of products each, and lead nowhere."""
WIDE = 1.0
"""First radius over √N, half of the largest, of a descent with room for all embeddings: d ≥ N-1.
From a radius of 1 the first three steps or so of a hundred did nothing but widen it. In fewer
dimensions it stays 1: there a long step may end in the valley of a minimum that is none of all."""
MAX_OUTER, MAX_PRODUCTS_PER_STEP = 300, 300
"""Trust-region steps per run and Hessian products per step; a typical run takes 8 and 2."""


class Point(NamedTuple):
    """Embeddings with everything that a step needs."""

    embeddings: Array
    known: Any  # of the objective, for Hessian products
    value: Array
    pull: Array  # P = ∇f + ∇fᵀ
    multipliers: Array  # (N, 1)
    gradient: Array
    gradient_norm: Array


class Run(NamedTuple):
    """The state of a trust-region run."""

    point: Point
    radius: Array
    scale: Array  # largest gradient seen, against which rounding is measured
    first_norm: Array
    best_norm: Array
    rejected: Array
    stagnant: Array
    iterations: Array
    products: Array
    done: Array


def _piece(function: Callable[..., Any], points: Array) -> Callable[..., Any]:
    """What a descent does between two products of matrices, in one piece of code where it is short:
    of 25 embeddings most of a step was handing out a hundred tasks."""
    return piece_of(len(points) * max(points.shape), function)


def evaluate(objective: Objective, embeddings: Array) -> Point:
    """Value and gradient at embeddings of unit length."""

    def sloped(gram: Array) -> tuple[Array, Array, Any]:
        value, slope, known = objective.slope(gram)
        return value, slope + slope.T, known

    def projected(embeddings: Array, raw: Array) -> tuple[Array, Array, Array]:
        multipliers = jnp.sum(raw * embeddings, axis=1, keepdims=True)
        # Projected twice: the first leaves a radial part of the size of the rounding of `raw`,
        # which would dominate a gradient near a critical point.
        gradient = project(embeddings, raw - multipliers * embeddings)
        return multipliers, gradient, jnp.sqrt(inner(gradient, gradient))

    sloped = _piece(sloped, embeddings) if objective.simple else sloped
    value, pull, known = sloped(embeddings @ embeddings.T)
    rest = _piece(projected, embeddings)(embeddings, pull @ embeddings)
    return Point(embeddings, known, value, pull, *rest)


def gradient_scale(point: Point) -> Array:
    return jnp.maximum(point.gradient_norm, jnp.sqrt(jnp.sum(point.multipliers**2)))


class CG(NamedTuple):
    """The state of conjugate gradients on the quadratic model of a step."""

    step: Array
    curved: Array  # Hessian applied to the step
    residual: Array
    direction: Array
    squared: Array
    products: Array
    stop: Array


def begin_cg(point: Point) -> CG:
    """Where they begin, at a step of zero."""
    zero, norm = jnp.zeros_like(point.embeddings), point.gradient_norm
    return CG(zero, zero, point.gradient, -point.gradient, norm**2, jnp.asarray(0), norm == 0)


def continue_cg(
    cg: CG,
    point: Point,
    hessian: Callable[[Array], Array],
    radius: Array,
    residual_goal: Array,
    scale: Array,
) -> CG:
    """One product further. Steihaug's method.

    A step of zero means a saddle: negative curvature and no gradient to speak of, which is left to
    the escape.
    """
    image = hessian(cg.direction)
    norm = point.gradient_norm
    return _piece(_further, image)(cg, image, norm, radius, residual_goal, scale)


def _further(
    cg: CG, image: Array, norm: Array, radius: Array, residual_goal: Array, scale: Array
) -> CG:
    """The state after the Hessian's image of its direction."""
    critical = norm <= SADDLE_GRADIENT * scale
    curvature = inner(cg.direction, image)
    length = inner(cg.direction, cg.direction)
    faint = (curvature < 0) & (-curvature < 0.5 * norm * length)
    ignored = (
        (jnp.abs(curvature) <= EPS * scale * length)
        | (faint & (cg.products > 0))
        | ((curvature < 0) & critical)
    )
    newton = cg.squared / curvature
    overlap, squared_step = inner(cg.step, cg.direction), inner(cg.step, cg.step)
    reach = squared_step + newton * (2 * overlap + newton * length)
    leaves = (curvature <= 0) | (reach >= radius**2)
    room = jnp.maximum(overlap**2 + length * (radius**2 - squared_step), 0)
    to_boundary = (jnp.sqrt(room) - overlap) / length
    size = jnp.where(ignored, 0, jnp.where(leaves, to_boundary, newton))
    residual = cg.residual + size * image
    squared = inner(residual, residual)
    products = cg.products + 1
    stop = (
        ignored
        | leaves
        | (jnp.sqrt(squared) <= residual_goal)
        | (products >= MAX_PRODUCTS_PER_STEP)
    )
    direction = -residual + (squared / cg.squared) * cg.direction
    return CG(
        cg.step + size * cg.direction,
        cg.curved + size * image,
        residual,
        direction,
        squared,
        products,
        stop,
    )


def _truncated_cg(
    point: Point,
    hessian: Callable[[Array], Array],
    radius: Array,
    residual_goal: Array,
    scale: Array,
) -> CG:
    """The step that decreases the quadratic model within the radius."""

    def body(cg: CG) -> CG:
        return continue_cg(cg, point, hessian, radius, residual_goal, scale)

    return jax.lax.while_loop(lambda cg: ~cg.stop, body, begin_cg(point))


def hessian_at(objective: Objective, point: Point) -> Callable[[Array], Array]:
    """The Riemannian Hessian at a point, as a function of tangent vectors."""
    slope_change = objective.change(point.known)

    def changed(half: Array) -> Array:
        change = slope_change(half + half.T)
        return change + change.T

    def combined(embeddings: Array, multipliers: Array, vectors: Array, *parts: Array) -> Array:
        return project(embeddings, sum(parts) - multipliers * vectors)

    def hessian(vectors: Array) -> Array:
        points, pull = point.embeddings, point.pull
        pull_change = (_piece(changed, points) if objective.simple else changed)(vectors @ points.T)
        parts = pull @ vectors, pull_change @ points
        return _piece(combined, points)(points, point.multipliers, vectors, *parts)

    return hessian


def begin_run(objective: Objective, embeddings: Array, wide: bool = False) -> Run:
    """A descent at its start; a `wide` one may be far from its end, and steps out where there is
    room."""
    point = evaluate(objective, embeddings)
    num_points, dim = embeddings.shape
    zero = jnp.asarray(0)
    return Run(
        point,
        jnp.asarray(WIDE * np.sqrt(num_points) if wide and dim >= num_points - 1 else 1.0),
        gradient_scale(point),
        point.gradient_norm,
        point.gradient_norm,
        zero,
        zero,
        zero,
        zero,
        point.gradient_norm == 0,
    )


def is_going(run: Run) -> Array:
    """Whether a run has further steps to make."""
    return ~run.done & (run.iterations < MAX_OUTER)


def residual_goal(run: Run, tolerance: Array | float) -> Array:
    """Down to which residual conjugate gradients solve for the next step."""
    norm = run.point.gradient_norm
    # Superlinear, but never by more than a hundred a step: solved further, a stiff system
    # would follow its flat valleys before the walls are settled.
    forcing = jnp.clip(norm / run.first_norm, 1e-2, 0.1)
    return jnp.maximum(forcing * norm, 0.3 * tolerance * run.scale)


def take_step(objective: Objective, run: Run, cg: CG, tolerance: Array | float) -> Run:
    """The run after the step that conjugate gradients found, taken or rejected."""

    def stepped(step: Array, curved: Array, gradient: Array, embeddings: Array) -> Any:
        predicted = -(inner(step, gradient) + 0.5 * inner(step, curved))
        return retract(embeddings, step), predicted, jnp.sqrt(inner(step, step))

    point = run.point
    (embeddings, shift), predicted, length = _piece(stepped, cg.step)(
        cg.step, cg.curved, point.gradient, point.embeddings
    )
    trial = evaluate(objective, embeddings)
    model = predicted, length, cg.products
    return _piece(_judged, shift)(run, trial, shift, *model, tolerance)


def _judged(
    run: Run,
    trial: Point,
    shift: Array,
    predicted: Array,
    length: Array,
    products: Array,
    tolerance: Array | float,
) -> Run:
    """The run at a trial point, or where it was."""
    point = run.point
    most = 2 * np.sqrt(len(shift))
    # The mean of both gradients along the chord, ½⟨P U + P' U', U' - U⟩ with P U = g + Diag(λ) U,
    # where ⟨u, u' - u⟩ = -½‖u' - u‖² of unit vectors is as exact as the chord.
    squares = jnp.sum(shift * shift, axis=1, keepdims=True)
    bent = inner(trial.multipliers - point.multipliers, squares)
    by_gradients = -0.5 * inner(point.gradient + trial.gradient, shift) - 0.25 * bent
    faint = predicted < 1e-9 * jnp.maximum(1, jnp.abs(point.value))
    actual = jnp.where(faint, by_gradients, point.value - trial.value)
    ratio = actual / predicted
    accept = ratio > 0.1
    overshoot = jnp.cbrt(predicted / jnp.maximum(predicted - actual, jnp.finfo(float).tiny))
    shrunk = length * jnp.clip(overshoot, 1e-3, 0.25)
    grown = jnp.where((ratio > 0.75) & (length >= 0.99 * run.radius), 2 * run.radius, run.radius)
    radius = jnp.minimum(jnp.where(ratio > 0.25, grown, shrunk), most)

    following = jax.tree.map(partial(jnp.where, accept), trial, point)
    better = following.gradient_norm <= 0.5 * run.best_norm
    rejected = jnp.where(accept, 0, run.rejected + 1)
    stagnant = jnp.where(better | (predicted > NOISE_DECREASE), 0, run.stagnant + 1)
    near = following.gradient_norm <= NOISE_GRADIENT * run.scale
    done = (
        (following.gradient_norm <= tolerance * run.scale)
        | (length == 0)
        | (rejected >= SHRINK_PATIENCE)
        | (stagnant >= jnp.where(near, 1, NOISE_PATIENCE))
    )
    return Run(
        following,
        radius,
        jnp.maximum(run.scale, gradient_scale(following)),
        run.first_norm,
        jnp.where(better, following.gradient_norm, run.best_norm),
        rejected,
        stagnant,
        run.iterations + 1,
        run.products + products,
        done,
    )


def trust_region(
    objective: Objective, embeddings: Array, tolerance: float, wide: bool = False
) -> Run:
    """Newton steps within a trust region until the gradient is `tolerance` times its scale."""

    def body(run: Run) -> Run:
        hessian = hessian_at(objective, run.point)
        goal = residual_goal(run, tolerance)
        cg = _truncated_cg(run.point, hessian, run.radius, goal, run.scale)
        return take_step(objective, run, cg, tolerance)

    return jax.lax.while_loop(is_going, body, begin_run(objective, embeddings, wide))
