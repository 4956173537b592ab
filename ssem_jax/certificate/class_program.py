"""The convex program over blocks of classes, and its dual."""

from __future__ import annotations

from collections.abc import Callable, Sized
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax.certificate import rounding
from ssem_jax.certificate.barrier import total
from ssem_jax.certificate.brackets import EPS
from ssem_jax.certificate.class_blocks import (
    BRACKET_CLASS_LIMIT,
    CLASS_LIMIT,
    ClassBlocks,
    ClassRows,
    Function,
    blocks_of,
    cells_of,
    class_loss,
    class_rows,
    class_similarities_of,
    pair_of,
    present_rows,
)
from ssem_jax.certificate.eigenbound import factored
from ssem_jax.certificate.rounding import row_sums
from ssem_jax.compute.kernels import Kernel, map_first, run_chunks, traced
from ssem_jax.geometry.shares import ClassVariances, Variances
from ssem_jax.geometry.similarities import Similarities
from ssem_jax.geometry.sphere import normalize
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.contrast import ClassContrast
from ssem_jax.problem.arrays import AnyArray
from ssem_jax.problem.problem import Problem
from ssem_jax.problem.pytrees import pytree_dataclass
from ssem_jax.problem.structure import ClassStructure

NEWTON_STEPS = 120
"""Newton steps at most; 8 to 20 are usual, more where a class is about to leave collapse."""
NEWTON_TOLERANCE = 4 * EPS
"""Gradient, relative to the multipliers, at which Newton's method is content: its rounding."""
CURVATURE_FLOOR = 1e-14
"""Relative curvature below which a direction is a rotation of all points, and not followed."""
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
"""Gap that needs no further start beyond `BRACKET_CLASS_LIMIT` classes, where no bracket asks for
more; a tenth of what a certificate admits."""
PATIENCE = 4
"""Steps in a row without progress after which Newton's method stops."""
STARTS = 4
"""Random starts at most; the first one is enough unless rounding stops it on a plateau."""
PATH_STAGES = 8
"""Temperatures of the path that further starts walk."""
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


def _spectral_step(
    cost: Callable[[Array], Array], state: _Newton, free: Array
) -> tuple[Array, Array, Array]:
    """The Newton step with |curvature|, its predicted decrease and its length."""
    m, k = state.points.shape
    radial = jax.scipy.linalg.block_diag(*state.points[:, None, :])  # (m, m k)
    tangent = jnp.diag(free) - radial.T @ radial
    curvature = tangent @ jax.hessian(cost)(state.points.ravel()) @ tangent
    top = jnp.max(jnp.sum(jnp.abs(curvature), axis=1))
    values, vectors = jnp.linalg.eigh(curvature + top * (jnp.eye(m * k) - tangent))
    slopes = vectors.T @ state.gradient
    slopes = jnp.where(jnp.abs(slopes) <= EPS * state.scale, 0, slopes)
    moves = -slopes / jnp.maximum(jnp.abs(values), CURVATURE_FLOOR * top + 1e-300)
    length = jnp.linalg.norm(moves)
    moves = moves * jnp.minimum(1, state.radius / jnp.maximum(length, 1e-300))
    predicted = -jnp.sum(moves * (slopes + 0.5 * values * moves))
    return vectors @ moves, predicted, jnp.linalg.norm(moves)


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
    step = _spectral_step if m <= BRACKET_CLASS_LIMIT else _truncated_step

    def cost(flat: Array) -> Array:
        return function(blocks_of(normalize(flat.reshape(m, k))))

    def evaluate(points: Array) -> tuple[Array, Array, Array]:
        value, gradient = jax.value_and_grad(cost)(points.ravel())
        gradient = gradient.reshape(m, k)
        gradient = gradient - points * jnp.sum(points * gradient, axis=1, keepdims=True)
        gradient = gradient.ravel() * free
        return value, gradient, jnp.linalg.norm(gradient)

    def body(state: _Newton) -> _Newton:
        moves, predicted, length = step(cost, state, free)
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
    terms: Array


def _terms(loss: GramLoss, rows: Any, function: Function, points: Array) -> Array:
    """The size of the terms that f and its gradient are summed from."""
    if isinstance(rows, ClassRows):
        # Positive weights and softmaxes sum to 1 each; p/(p-1) and n/(n-1) are at most 2.
        contrast = cast(ClassContrast, loss)  # for none but these have rows
        return 8 / jnp.asarray(contrast.temperature)
    return 8 * total(jnp.sum(jnp.abs(part)) for part in jax.grad(function)(blocks_of(points)))


def relative_error(loss: GramLoss, rows: Any, num_classes: int) -> Array | float:
    """The relative error of those terms."""
    if isinstance(rows, ClassRows):
        return rounding.class_program(num_classes, jnp.sum(rows.sizes) * rows.num_views)
    return rounding.evaluation(rows.num_embeddings)


def noise_of(count: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, *shape))


def solve_cell(loss: GramLoss, rows: Any, present: Array, start: Array) -> ClassCell:
    def function(blocks: ClassBlocks) -> Array:
        return class_loss(loss, rows, blocks)

    starts = jnp.asarray(noise_of(STARTS, present.shape)) * present[None]
    shake = PERTURBATION * starts[0]
    relative = relative_error(loss, rows, len(present))
    few = len(present) <= BRACKET_CLASS_LIMIT

    def attempt(start: Array, stages: Array) -> ClassCell:
        def stage(number: Array, points: Array) -> Array:
            heated = loss.heated((number + 1) / stages)
            return minimise(lambda b: class_loss(heated, rows, b), points + shake, present)

        points = jax.lax.fori_loop(0, stages, stage, normalize(start))
        blocks = blocks_of(points)
        value = function(blocks)
        terms = _terms(loss, rows, function, points)
        dual = dual_at(function, points, present, terms, relative)
        return ClassCell(points, blocks, value, dual, value + dual.rounding - dual.lower, terms)

    def again(state: tuple[Array, ClassCell]) -> tuple[Array, ClassCell]:
        number, best = state
        if few:
            fresh = jnp.where(number == 0, start, starts[number])
            cell = once(fresh, jnp.where(number == 0, 1, PATH_STAGES))
        else:  # a path costs more than going on from the best point, displaced
            fresh = jnp.where(number == 0, start, best.points + PERTURBATION * starts[number])
            cell = once(fresh, jnp.asarray(1))
        return number + 1, jax.tree.map(partial(jnp.where, cell.gap < best.gap), cell, best)

    def content(cell: ClassCell) -> Array:
        enough = CONTENT * cell.dual.rounding
        return cell.gap <= (enough if few else jnp.maximum(enough, SUFFICIENT_GAP))

    once, shapes = traced(attempt, starts[0], jnp.asarray(1))
    empty = jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.inf, leaf.dtype), shapes)
    empty = empty._replace(dual=empty.dual._replace(rounding=jnp.zeros(())))
    return jax.lax.while_loop(
        lambda state: (state[0] < STARTS) & ~content(state[1]),
        again,
        (jnp.asarray(0), empty),
    )[1]


@Kernel
def solve_chunk(
    losses: GramLoss, rows: Any, present: Array, starts: Array, count: Array
) -> ClassCell:
    def one(loss: GramLoss, present: Array, start: Array) -> ClassCell:
        return solve_cell(loss, rows, present, start)

    return map_first(count, one, losses, present, starts)


def solve_anew(losses: GramLoss, rows: Any, present: Array, cells: Sized, count: Any) -> ClassCell:
    """A chunk of cells of one structure, each from the first random start."""
    first = jnp.asarray(noise_of(1, present.shape)) * present[None]
    present, start = (jnp.tile(each, (len(cells), 1, 1)) for each in (present, first))
    return solve_chunk(losses, rows, present, start, count)


def run_cells(
    losses: GramLoss, structure: ClassStructure, size: int, kernel: Callable[..., Any]
) -> Any:
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


def cosines_of(gram: Float[np.ndarray, "*batch m m"]) -> Float[np.ndarray, "*batch m m"]:
    """Cosines of the angles between vectors, of their Gram matrix; 0 for one that vanishes."""
    norms = np.sqrt(np.diagonal(gram, axis1=-2, axis2=-1))
    norms = np.where(norms > 0, norms, 1)
    return gram / (norms[..., :, None] * norms[..., None, :])


@pytree_dataclass
class ReducedSolution:
    """The optimum over all embeddings in all dimensions, by class; batched if the problem is.

    Attributes:
        problem: what was solved; its dimension, None if none was given, plays no role.
        class_gram: (m, m) Gram matrix C of the class means.
        class_variances: (m,) variances of each class, of its views and δ²_k of its instance means.
        value: the loss, attained.
        lower: a lower bound of the loss of all embeddings in all dimensions.
        gap: value - lower, with the rounding of both on the safe side.
        instance_slack: (m,) dual eigenvalues of the instances: every embedding of loss c has
            Σ instance_slack · δ²_k ≤ c - lower. 0 up to rounding where a class is spread.
        view_slack: (m,) likewise of the views.
        class_dual: (m, m) dual matrix S of the class means; S C = 0 at the optimum.
    """

    problem: Problem
    class_gram: Float[AnyArray, "*batch m m"]
    class_variances: ClassVariances
    value: Float[AnyArray, "*batch"] | float
    lower: Float[AnyArray, "*batch"] | float
    gap: Float[AnyArray, "*batch"] | float
    instance_slack: Float[AnyArray, "*batch m"]
    view_slack: Float[AnyArray, "*batch m"]
    class_dual: Float[AnyArray, "*batch m m"]

    @property
    def cosines(self) -> Float[np.ndarray, "*batch m m"]:
        """(m, m) cosines of the angles between class means; 0 for a mean that vanishes."""
        return cosines_of(np.asarray(self.class_gram))

    @property
    def similarities(self) -> Similarities:
        """(m,) of two views of an instance and of two instances of a class, 1 where there are none;
        and the (m, m) inner products of the class means."""
        sizes, p = self.problem.structure.sizes, float(self.problem.structure.num_views)
        blocks = ClassBlocks(*self.class_variances, self.class_gram)
        return class_similarities_of(np.asarray(sizes, float), p, blocks)

    @property
    def variances(self) -> Variances:
        """Those of the embeddings of all classes."""
        share, gram = self.problem.structure.class_shares, np.asarray(self.class_gram)
        view, delta2 = (np.asarray(each) @ share for each in self.class_variances)
        mean_squared = gram @ share @ share
        between = np.diagonal(gram, axis1=-2, axis2=-1) @ share - mean_squared
        return Variances(view, delta2, between, mean_squared)


def solve_reduced(problem: Problem) -> ReducedSolution:
    r"""The optimum of a convex symmetric loss over all embeddings, for class sizes of any kind.

    .. math:: \min \{ f(\theta, \delta^2, C) : \theta, \delta^2 \ge 0,\; C \succeq 0,\;
              \theta_k + \delta_k^2 + C_{kk} = 1 \}

    Args:
        problem: one cell, or a batch of cells; the dimension plays no role.

    Returns:
        Class means, variances, value and a certified lower bound of every cell.

    Raises:
        ValueError: 64-bit mode is off, a loss that is not convex and symmetric, more than
            `CLASS_LIMIT` classes, or a loss of no class contrast with more than `DENSE_BLOCK_LIMIT`
            embeddings.

    References:
        Behnia, Kini, Vakilian and Thrampoulidis (AISTATS 2023) for the geometry of class means
        under imbalance with cross-entropy; Fang, He, Long and Su (PNAS 2021) for minority
        collapse.
    """
    losses, size = cells_of(problem, "solved", CLASS_LIMIT)

    cell = run_cells(losses, problem.structure, size, solve_anew)
    leaves: Any = (
        cell.blocks.gram,
        ClassVariances(cell.blocks.view, cell.blocks.delta2),
        cell.value,
        cell.dual.lower,
        cell.gap,
        cell.dual.instance,
        cell.dual.view,
        cell.dual.gram,
    )
    if problem.batch_size is None:
        leaves = jax.tree.map(lambda leaf: leaf[0], leaves)
    return ReducedSolution(problem, *leaves)
