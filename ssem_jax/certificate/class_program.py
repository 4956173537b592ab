"""The convex program over blocks of classes, and its dual, by conjugate gradients.

Where sizes are many, orbits of pairs are too: a hundred sizes leave five thousand variables, whose
Newton systems are of as many rows. Here classes are points on spheres instead, as in the solver of
embeddings, and Newton's steps are truncated: m³ operations each.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ssem_jax.certificate import rounding
from ssem_jax.certificate.brackets import EPS
from ssem_jax.certificate.class_blocks import (
    ClassBlocks,
    ClassRows,
    Function,
    blocks_of,
    class_loss,
    class_rows,
    pair_of,
    present_rows,
)
from ssem_jax.certificate.eigenbound import factored
from ssem_jax.certificate.rounding import row_sums
from ssem_jax.compute.kernels import Kernel, map_first, run_chunks, traced
from ssem_jax.geometry.sphere import normalize
from ssem_jax.losses.contrast import ClassContrast
from ssem_jax.problem.structure import ClassStructure

NEWTON_STEPS = 120
"""Newton steps at most; 8 to 20 are usual, more where a class is about to leave collapse."""
NEWTON_TOLERANCE = 4 * EPS
"""Gradient, relative to the multipliers, at which Newton's method is content: its rounding."""
NOISE = 1e-13
"""Relative decrease below which a step is judged by the gradient and not by the loss."""
PROBES = 4
"""Random signs that estimate the mean curvature of every class mean, from m coordinates each."""
LEAST_CURVATURE = 1e-6
"""Curvature, relative to the largest, below which the preconditioner does not go."""
FORCING = 0.1
"""Largest residual, relative to the gradient, at which a truncated Newton step is good enough."""
CONJUGATE_STEPS = 400
"""Conjugate gradients in a Newton step at most; some dozens are usual."""
SUFFICIENT_GAP = 1e-10
"""Gap that needs no further start; a tenth of what a certificate admits."""
PATIENCE = 4
"""Steps in a row without progress after which Newton's method stops."""
STARTS = 4
"""Random starts at most; the first one is enough unless rounding stops it on a plateau."""
CONTENT = 3.0
"""Gap, in units of its own rounding margin (of which it has 2 at least), that needs no further
start."""
PERTURBATION = 1e-3
"""Size of the random displacement that takes a warm start off the saddle it may sit on."""
FREE = 1 / 32
"""Part of the margins that shifting the class matrix may add."""
CHUNK = 16
"""Cells per kernel call."""


class _Newton(NamedTuple):
    points: Array
    value: Array
    gradient: Array
    norm: Array
    radius: Array
    scale: Array
    steps: Array
    idle: Array


class _Conjugate(NamedTuple):
    move: Array
    residual: Array
    direction: Array
    size: Array
    steps: Array
    running: Array


def _truncated_step(
    cost: Callable[[Array], Array], state: _Newton, free: Array
) -> tuple[Array, Array, Array]:
    """A Newton step by conjugate gradients, up to negative curvature or the trust region.

    The norm is that of the preconditioner: one number for every class mean and one for each
    variance, so that rotations of all points keep their curvature of 0.

    References:
        Steihaug (SIAM J. Numer. Anal. 1983).
    """
    m, k = state.points.shape

    def project(vector: Array) -> Array:
        rows = (vector * free).reshape(m, k)
        return (rows - state.points * jnp.sum(state.points * rows, axis=1, keepdims=True)).ravel()

    slope = jax.linearize(jax.grad(cost), state.points.ravel())[1]

    def product(vector: Array) -> Array:
        return project(slope(project(vector)))

    def probed(signs: Array) -> Array:
        return signs * slope((signs * free.reshape(m, k)).ravel()).reshape(m, k)

    # Every class has its own row of the softmax: its variances curve the loss on their own.
    signs = jnp.asarray(np.sign(noise_of(PROBES, (m, k)))).at[:, :, m:].set(0)
    means = jnp.abs(jnp.mean(jax.lax.map(probed, signs), axis=0)[:, :m].sum(1)) / m
    columns = [jnp.tile(means[:, None], (1, m))]
    for column in range(m, k):
        alone = probed(jnp.zeros((m, k)).at[:, column].set(1))
        columns.append(jnp.abs(alone[:, column, None]))
    weights = jnp.concatenate(columns, axis=1).ravel()
    weights = jnp.maximum(weights / jnp.max(weights), LEAST_CURVATURE)

    gradient = state.gradient
    first = jnp.sum(gradient * gradient / weights)
    forcing = jnp.minimum(FORCING, state.norm / state.scale)

    def body(cg: _Conjugate) -> _Conjugate:
        curved = product(cg.direction)
        curvature = jnp.sum(cg.direction * curved)
        square = jnp.sum(weights * cg.direction**2)
        across = jnp.sum(weights * cg.direction * cg.move)
        room = state.radius**2 - jnp.sum(weights * cg.move**2)
        edge = room / (across + jnp.sqrt(across**2 + square * jnp.maximum(room, 0)))
        newton = cg.size / curvature
        leaves = (curvature <= 0) | (newton >= edge)
        move = cg.move + jnp.where(leaves, edge, newton) * cg.direction
        residual = cg.residual + jnp.where(leaves, edge, newton) * curved
        size = jnp.sum(residual * residual / weights)
        direction = project(-residual / weights) + size / cg.size * cg.direction
        running = ~leaves & (size > forcing**2 * first) & (cg.steps < CONJUGATE_STEPS)
        return _Conjugate(move, residual, direction, size, cg.steps + 1, running)

    start = _Conjugate(
        jnp.zeros(m * k), gradient, project(-gradient / weights), first, jnp.asarray(0), first > 0
    )
    cg = jax.lax.while_loop(lambda cg: cg.running, body, start)
    predicted = -0.5 * jnp.sum(cg.move * (gradient + cg.residual))
    return cg.move, predicted, jnp.sqrt(jnp.sum(weights * cg.move**2))


def minimise(function: Function, start: Array, present: Array) -> Array:
    """Minimise over products of m spheres: Newton steps with |curvature| in a trust region.

    Nothing here is trusted: the caller bounds the minimum from what comes out.
    """
    m, k = start.shape
    free = present.ravel()

    def cost(flat: Array) -> Array:
        return function(blocks_of(normalize(flat.reshape(m, k))))

    def evaluate(points: Array) -> tuple[Array, Array, Array]:
        value, gradient = jax.value_and_grad(cost)(points.ravel())
        gradient = gradient.reshape(m, k)
        gradient = gradient - points * jnp.sum(points * gradient, axis=1, keepdims=True)
        gradient = gradient.ravel() * free
        return value, gradient, jnp.linalg.norm(gradient)

    def body(state: _Newton) -> _Newton:
        moves, predicted, length = _truncated_step(cost, state, free)
        points = normalize(state.points + moves.reshape(m, k) * present)
        value, gradient, norm = evaluate(points)
        faint = predicted <= NOISE * (1 + jnp.abs(value))
        ratio = (state.value - value) / jnp.maximum(predicted, 1e-300)
        accept = jnp.where(faint, norm < state.norm, ratio > 0.1)
        radius = jnp.where(
            ratio < 0.25, 0.3 * length, jnp.where(ratio > 0.75, 2 * state.radius, state.radius)
        )
        radius = jnp.clip(jnp.where(faint & accept, state.radius, radius), 1e-12, 1.0)
        moved = _Newton(points, value, gradient, norm, *state[4:])
        kept = jax.tree.map(lambda new, old: jnp.where(accept, new, old), moved, state)
        # Deep in the rounding only a gradient that keeps shrinking is progress.
        progress = accept & (~faint | (norm < 0.7 * state.norm))
        idle = jnp.where(progress, 0, state.idle + faint)
        return kept._replace(radius=radius, steps=state.steps + 1, idle=idle)

    def running(state: _Newton) -> Array:
        settled = (state.norm <= NEWTON_TOLERANCE * state.scale) | (state.idle >= PATIENCE)
        return ~settled & (state.steps < NEWTON_STEPS)

    points = normalize(start)
    value, gradient, norm = evaluate(points)
    slope = jax.grad(function)(blocks_of(points))
    scale = jnp.sqrt(sum(jnp.sum(part**2) for part in slope)) + norm
    zero = jnp.asarray(0)
    first = _Newton(points, value, gradient, norm, jnp.asarray(0.5), scale, zero, zero)
    return jax.lax.while_loop(running, body, first).points


class _Dual(NamedTuple):
    """The block form of the dual certificate at a point."""

    lower: Array
    view: Array
    instance: Array
    gram: Array  # the class matrix S = g_C + Diag μ
    rounding: Array


def dual_at(
    function: Function, points: Array, present: Array, terms: Array, relative: Array | float
) -> _Dual:
    """A lower bound of a convex function of the blocks.

    Args:
        function: φ.
        points: (m, k) unit vectors.
        present: (m, k) coordinates that a point may use.
        terms: the size of the terms that values and gradients are summed from.
        relative: their relative error.
    """
    m, k = points.shape
    blocks = blocks_of(points)
    value, slope = jax.value_and_grad(function)(blocks)
    gram = 0.5 * (slope.gram + slope.gram.T)
    products = row_sums(gram * blocks.gram)
    multipliers = -(slope.view * blocks.view + slope.delta2 * blocks.delta2 + products)
    matrix = gram + jnp.diag(multipliers)
    instance, view = slope.delta2 + multipliers, slope.view + multipliers
    sums = jnp.sum(row_sums(jnp.abs(gram))) + jnp.sum(jnp.abs(multipliers))
    margin = relative * (1 + jnp.abs(value) + terms + sums)
    found = factored(matrix, FREE * margin / m)
    least = jnp.minimum(-found.shift, jnp.min(jnp.where(present[:, m] > 0, instance, jnp.inf)))
    if k > m + 1:
        least = jnp.minimum(least, jnp.min(view))
    # What is left of ⟨S, C⟩ is bounded by |C_kl| ≤ 1.
    margin = margin + found.remainder
    pairing = pair_of(slope, blocks) + jnp.sum(multipliers)
    lower = value - pairing + m * jnp.minimum(0, least) - margin
    return _Dual(lower, view, instance, matrix, margin)


class ClassCell(NamedTuple):
    points: Array
    blocks: ClassBlocks
    value: Array
    dual: _Dual
    gap: Array


def terms_of(loss: ClassContrast) -> Array:
    """The size of the terms that f and its gradient are summed from: positive weights and softmaxes
    sum to 1 each; p/(p-1) and n/(n-1) are at most 2."""
    return 8 / jnp.asarray(loss.temperature)


def noise_of(count: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, *shape))


def solve_cell(loss: ClassContrast, rows: ClassRows, present: Array, start: Array) -> ClassCell:
    def function(blocks: ClassBlocks) -> Array:
        return class_loss(loss, rows, blocks)

    starts = jnp.asarray(noise_of(STARTS, present.shape)) * present[None]
    relative = rounding.class_program(len(present), jnp.sum(rows.sizes) * rows.num_views)

    def attempt(start: Array) -> ClassCell:
        points = minimise(function, normalize(start) + PERTURBATION * starts[0], present)
        blocks = blocks_of(points)
        value = function(blocks)
        dual = dual_at(function, points, present, terms_of(loss), relative)
        return ClassCell(points, blocks, value, dual, value + dual.rounding - dual.lower)

    def again(state: tuple[Array, ClassCell]) -> tuple[Array, ClassCell]:
        number, best = state
        cell = once(jnp.where(number == 0, start, best.points + PERTURBATION * starts[number]))
        return number + 1, jax.tree.map(partial(jnp.where, cell.gap < best.gap), cell, best)

    def content(cell: ClassCell) -> Array:
        return cell.gap <= jnp.maximum(CONTENT * cell.dual.rounding, SUFFICIENT_GAP)

    once, shapes = traced(attempt, starts[0])
    empty = jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.inf, leaf.dtype), shapes)
    empty = empty._replace(dual=empty.dual._replace(rounding=jnp.zeros(())))
    return jax.lax.while_loop(
        lambda state: (state[0] < STARTS) & ~content(state[1]),
        again,
        (jnp.asarray(0), empty),
    )[1]


@Kernel
def solve_chunk(losses: Any, rows: Any, present: Array, starts: Array, count: Array) -> ClassCell:
    def one(loss: ClassContrast, present: Array, start: Array) -> ClassCell:
        return solve_cell(loss, rows, present, start)

    return map_first(count, one, losses, present, starts)


def solve_anew(losses: Any, rows: Any, present: Array, cells: Sized, count: Any) -> ClassCell:
    """A chunk of cells of one structure, each from the first random start."""
    first = jnp.asarray(noise_of(1, present.shape)) * present[None]
    present, start = (jnp.tile(each, (len(cells), 1, 1)) for each in (present, first))
    return solve_chunk(losses, rows, present, start, count)


def run_cells(losses: Any, structure: ClassStructure, size: int, kernel: Callable[..., Any]) -> Any:
    """A kernel on chunks of cells, over the threads; results in the order of the cells."""
    rows, present = class_rows(losses, structure), jnp.asarray(present_rows(structure))
    plain = losses.without_conventions()

    def work(cells: np.ndarray, count: int) -> Any:
        chosen = jax.tree.map(lambda leaf: jnp.asarray(leaf[cells]), plain)
        return kernel(chosen, rows, present, cells, count)

    chunks = list(run_chunks(work, np.arange(size), CHUNK))
    order = np.argsort(np.concatenate([cells for cells, _ in chunks]))
    parts = [results for _, results in chunks]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[order], *parts)
