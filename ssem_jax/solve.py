r"""Minimise a Gram-convex loss over free unit vectors: a Riemannian trust-region Newton method.

Four ideas make random starts end at full float64 accuracy, also at small temperatures:

1. **Spread first.** A start is brought to the optimum of the uniformity loss (all instances repel
   each other, views coincide), where the landscape is well curved. With enough dimensions that is
   a regular simplex. From there the target loss acts within the few directions that respect the
   symmetry of the class structure, and conjugate gradients needs as many products as those.
2. **Escape with symmetry.** At a saddle the dual matrix S = sym ∇L - Diag(λ) has negative
   eigenvalues. The embeddings move along *all* those eigenvectors at once, each in a dimension
   that no embedding uses yet, so that no symmetry is broken by chance.
3. **Below rounding.** Differences of the loss carry no information under 1e-16·|L|; there the
   decrease is measured by the mean of both gradients along the step, and the stop is made on
   gradients. Curvature that is weaker than the gradient is not followed: a rotation of all
   embeddings has that much at a point that is not critical.
4. **Schedule, do not lock step.** Cells are solved one after another inside one compiled kernel,
   and chunks of them by as many threads as there are cores; a kernel serves every (α, τ), every
   convention and every class structure of the same N and d.

The solver forms its own dual matrix in order to escape and to stop. It certifies nothing:
:mod:`ssem_jax.certificate` recomputes everything from the embeddings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, PRNGKeyArray

from ssem_jax.compute.kernels import Kernel, chunk_capacity, map_first, run_chunks
from ssem_jax.geometry.sphere import inner, normalize, project, random_points, retract
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.problem import Problem, cell_keys, check_problem
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import as_key, check_count, check_progress, require_x64
from ssem_jax.solution import Solution, Status

EPS = float(np.finfo(np.float64).eps)

SPREAD_LOSS = SupCL(alpha=1.0, temperature=0.5)
"""The loss of the first stage: instances repel each other, views coincide."""
SPREAD_TOLERANCE = 1e-9
"""Relative gradient at which the first stage ends. Asymmetry of that size stays below the Newton
steps of the second stage, which squares it."""
GRADIENT_TOLERANCE = 1e-15
"""Relative gradient at which the second stage ends: a few roundings of the gradient's terms."""
DUAL_TOLERANCE = 1e-11
"""N·|λ_min(S)| up to which the solver is content: a hundredth of the 1e-9 that verification asks
for, and a hundred times the rounding of N·λ_min at N = 100."""
SADDLE_GRADIENT = 1e-7
"""Relative gradient under which a point of negative curvature counts as a saddle."""
SHRINK_PATIENCE = 12
"""Rejected steps in a row after which the trust region is given up."""
NOISE_PATIENCE = 3
"""Accepted steps in a row that must halve the gradient once the model decrease is pure rounding."""
NOISE_DECREASE = 1e-15
"""Model decrease below which steps count for `NOISE_PATIENCE`."""
MAX_OUTER, MAX_PRODUCTS_PER_STEP = 300, 300
"""Trust-region steps per run and Hessian products per step; a typical run takes 8 and 2."""
MAX_ESCAPES = 4
"""Saddles left per stage; the three phases of balanced classes are at most two saddles apart."""
PATH_STAGES = 8
"""Temperatures of the path that is walked where the direct way failed."""
RANK_TOLERANCE = 1e-6
"""Eigenvalue of UᵀU (of trace N) under which a dimension counts as unused."""
EIGH_LIMIT = 1024
"""Embeddings up to which a saddle's dual matrix is diagonalised; beyond it takes minutes."""
INVERSE_ITERATIONS = 24
"""Steps of the inverse iteration that stands in for it. The shift is within a factor of two of the
lowest eigenvalue, so that each halves what eigenvalues from zero upwards have in the basis."""


class _Point(NamedTuple):
    """Embeddings with everything that a step needs."""

    embeddings: Array
    gram: Array
    value: Array
    pull: Array  # P = ∇f + ∇fᵀ
    multipliers: Array  # (N, 1)
    gradient: Array
    gradient_norm: Array


class _Run(NamedTuple):
    """The state of a trust-region run."""

    point: _Point
    radius: Array
    scale: Array  # largest gradient seen, against which rounding is measured
    first_norm: Array
    best_norm: Array
    rejected: Array
    stagnant: Array
    iterations: Array
    products: Array
    done: Array


def _evaluate(value: Callable[[Array], Array], embeddings: Array) -> _Point:
    gram = embeddings @ embeddings.T
    loss, slope = jax.value_and_grad(value)(gram)
    pull = slope + slope.T
    raw = pull @ embeddings
    multipliers = jnp.sum(raw * embeddings, axis=1, keepdims=True)
    # Projected twice: the first leaves a radial part of the size of the rounding of `raw`, which
    # would dominate a gradient near a critical point.
    gradient = project(embeddings, raw - multipliers * embeddings)
    norm = jnp.sqrt(inner(gradient, gradient))
    return _Point(embeddings, gram, loss, pull, multipliers, gradient, norm)


def _gradient_scale(point: _Point) -> Array:
    return jnp.maximum(point.gradient_norm, jnp.sqrt(jnp.sum(point.multipliers**2)))


def _truncated_cg(
    point: _Point,
    hessian: Callable[[Array], Array],
    radius: Array,
    residual_goal: Array,
    scale: Array,
) -> tuple[Array, Array, Array]:
    """The step that decreases the quadratic model within the radius, its decrease, and products.

    Steihaug's method. A step of zero means a saddle: negative curvature and no gradient to speak
    of, which is left to the escape.
    """
    critical = point.gradient_norm <= SADDLE_GRADIENT * scale

    class CG(NamedTuple):
        step: Array
        curved: Array  # Hessian applied to the step
        residual: Array
        direction: Array
        squared: Array
        products: Array
        stop: Array

    def body(cg: CG) -> CG:
        image = hessian(cg.direction)
        curvature = inner(cg.direction, image)
        length = inner(cg.direction, cg.direction)
        faint = (curvature < 0) & (-curvature < 0.5 * point.gradient_norm * length)
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

    zero = jnp.zeros_like(point.embeddings)
    start = CG(
        zero,
        zero,
        point.gradient,
        -point.gradient,
        point.gradient_norm**2,
        jnp.asarray(0),
        point.gradient_norm == 0,
    )
    end = jax.lax.while_loop(lambda cg: ~cg.stop, body, start)
    decrease = -(inner(end.step, point.gradient) + 0.5 * inner(end.step, end.curved))
    return end.step, decrease, end.products


def _trust_region(value: Callable[[Array], Array], embeddings: Array, tolerance: float) -> _Run:
    """Newton steps within a trust region until the gradient is `tolerance` times its scale."""
    most = 2 * jnp.sqrt(embeddings.shape[0] * 1.0)

    def body(run: _Run) -> _Run:
        point = run.point
        _, slope_change = jax.linearize(jax.grad(value), point.gram)

        def hessian(vectors: Array) -> Array:
            half = vectors @ point.embeddings.T
            change = slope_change(half + half.T)
            image = (
                point.pull @ vectors
                + (change + change.T) @ point.embeddings
                - point.multipliers * vectors
            )
            return project(point.embeddings, image)

        norm = point.gradient_norm
        # Superlinear, but never by more than a hundred a step: solved further, a stiff system
        # would follow its flat valleys before the walls are settled.
        forcing = jnp.clip(norm / run.first_norm, 1e-2, 0.1)
        goal = jnp.maximum(forcing * norm, 0.3 * tolerance * run.scale)
        step, predicted, products = _truncated_cg(point, hessian, run.radius, goal, run.scale)
        embeddings, shift = retract(point.embeddings, step)
        trial = _evaluate(value, embeddings)

        half = shift @ point.embeddings.T
        gram_shift = half + half.T + shift @ shift.T
        by_gradients = -0.25 * inner(point.pull + trial.pull, gram_shift)
        faint = predicted < 1e-9 * jnp.maximum(1, jnp.abs(point.value))
        actual = jnp.where(faint, by_gradients, point.value - trial.value)
        ratio = actual / predicted
        accept = ratio > 0.1
        length = jnp.sqrt(inner(step, step))
        overshoot = jnp.cbrt(predicted / jnp.maximum(predicted - actual, jnp.finfo(float).tiny))
        shrunk = length * jnp.clip(overshoot, 1e-3, 0.25)
        grown = jnp.where(
            (ratio > 0.75) & (length >= 0.99 * run.radius), 2 * run.radius, run.radius
        )
        radius = jnp.minimum(jnp.where(ratio > 0.25, grown, shrunk), most)

        following = jax.tree.map(partial(jnp.where, accept), trial, point)
        better = following.gradient_norm <= 0.5 * run.best_norm
        quiet = accept & ~better & (predicted <= NOISE_DECREASE)
        stagnant = jnp.where(better | (predicted > NOISE_DECREASE), 0, run.stagnant + quiet)
        rejected = jnp.where(accept, 0, run.rejected + 1)
        done = (
            (following.gradient_norm <= tolerance * run.scale)
            | (length == 0)
            | (rejected >= SHRINK_PATIENCE)
            | (stagnant >= NOISE_PATIENCE)
        )
        return _Run(
            following,
            radius,
            jnp.maximum(run.scale, _gradient_scale(following)),
            run.first_norm,
            jnp.where(better, following.gradient_norm, run.best_norm),
            rejected,
            stagnant,
            run.iterations + 1,
            run.products + products,
            done,
        )

    point = _evaluate(value, embeddings)
    zero = jnp.asarray(0)
    start = _Run(
        point,
        jnp.asarray(1.0),
        _gradient_scale(point),
        point.gradient_norm,
        point.gradient_norm,
        zero,
        zero,
        zero,
        zero,
        point.gradient_norm == 0,
    )
    return jax.lax.while_loop(lambda run: ~run.done & (run.iterations < MAX_OUTER), body, start)


def _lowest(dual: Array, count: int) -> tuple[Array, Array]:
    """The lowest eigenvalues of a matrix that is not positive definite, and their eigenvectors."""
    size = dual.shape[0]
    if size <= EIGH_LIMIT:
        eigenvalues, eigenvectors = jnp.linalg.eigh(dual)
        return eigenvalues[:count], eigenvectors[:, :count]

    def shifted(shift: Array) -> tuple[Array, Array]:
        return shift, jnp.linalg.cholesky(dual + shift * jnp.eye(size))

    _, factor = jax.lax.while_loop(
        lambda state: jnp.isfinite(state[0]) & ~jnp.all(jnp.isfinite(state[1])),
        lambda state: shifted(2 * state[0]),
        shifted(jnp.asarray(DUAL_TOLERANCE / size)),
    )

    def iterate(_: int, basis: Array) -> Array:
        return jnp.linalg.qr(jax.scipy.linalg.cho_solve((factor, True), basis))[0]

    # All directions at once, as many as are asked for: a few alone would break the symmetry.
    basis = jax.random.normal(jax.random.key(0), (size, count), float)
    basis = jax.lax.fori_loop(0, INVERSE_ITERATIONS, iterate, basis)
    eigenvalues, mixing = jnp.linalg.eigh(basis.T @ dual @ basis)
    return eigenvalues, basis @ mixing


def _escape(value: Callable[[Array], Array], point: _Point) -> tuple[Array, Array, Array]:
    """Leave a saddle along every negative direction of the dual matrix at once.

    Returns:
        The embeddings beyond the saddle (or unchanged), the dual violation, and whether they
        moved.
    """
    num_points, dim = point.embeddings.shape
    dual = 0.5 * point.pull - jnp.diag(0.5 * point.multipliers[:, 0])

    def leave(_: None) -> tuple[Array, Array, Array]:
        paired = min(num_points, dim)
        eigenvalues, eigenvectors = _lowest(dual, paired)
        usage, axes = jnp.linalg.eigh(point.embeddings.T @ point.embeddings)
        # The most negative directions meet the least used axes.
        taken = (eigenvalues < 0.1 * eigenvalues[0]) & (usage[:paired] < RANK_TOLERANCE)
        direction = (eigenvectors * taken) @ axes[:, :paired].T

        def moved(size: Array) -> Array:
            return normalize(point.embeddings + size * direction)

        def loss(size: Array) -> Array:
            there = moved(size)
            return value(there @ there.T)

        sizes = 2.0 ** -jnp.arange(24)
        losses = jax.lax.map(loss, sizes)
        best = jnp.argmin(losses)
        lower = jnp.any(taken) & (losses[best] < point.value)
        embeddings = jnp.where(lower, moved(sizes[best]), point.embeddings)
        return embeddings, -num_points * jnp.minimum(eigenvalues[0], 0), lower

    def stay(_: None) -> tuple[Array, Array, Array]:
        return point.embeddings, jnp.zeros(()), jnp.asarray(False)

    # A factorisation that succeeds proves λ_min ≥ -DUAL_TOLERANCE/N at a tenth of the cost.
    factor = jnp.linalg.cholesky(dual + DUAL_TOLERANCE / num_points * jnp.eye(num_points))
    return jax.lax.cond(jnp.all(jnp.isfinite(factor)), stay, leave, None)


class _Outcome(NamedTuple):
    """One attempt at one cell."""

    embeddings: Array
    value: Array
    gradient_norm: Array
    dual_violation: Array
    status: Array
    iterations: Array
    products: Array
    escapes: Array


def _attempt(
    loss: GramLoss, prepared: Any, spread: Any, start: Array, num_stages: Array
) -> _Outcome:
    """One start: spread out, then walk `num_stages` losses of the path and leave their saddles."""
    first = _trust_region(lambda gram: SPREAD_LOSS.value(gram, spread), start, SPREAD_TOLERANCE)

    class Walk(NamedTuple):
        outcome: _Outcome
        stage: Array
        escapes_here: Array

    def body(walk: Walk) -> Walk:
        before = walk.outcome
        heated = loss.heated((walk.stage + 1) / num_stages)

        def value(gram: Array) -> Array:
            return heated.value(gram, prepared)

        run = _trust_region(value, before.embeddings, GRADIENT_TOLERANCE)
        beyond, violation, moved = _escape(value, run.point)
        again = moved & (walk.escapes_here < MAX_ESCAPES)
        status = jnp.where(
            violation <= DUAL_TOLERANCE,
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
        outcome = _Outcome(
            jnp.where(again, beyond, run.point.embeddings),
            run.point.value,
            run.point.gradient_norm,
            violation,
            status,
            before.iterations + run.iterations,
            before.products + run.products,
            before.escapes + again,
        )
        return Walk(outcome, walk.stage + ~again, jnp.where(again, walk.escapes_here + 1, 0))

    zero = jnp.asarray(0)
    nothing = jnp.asarray(jnp.inf)
    begun = _Outcome(
        first.point.embeddings,
        nothing,
        nothing,
        nothing,
        zero,
        first.iterations,
        first.products,
        zero,
    )
    walk = jax.lax.while_loop(lambda walk: walk.stage < num_stages, body, Walk(begun, zero, zero))
    return walk.outcome


@Kernel
def _attempt_chunk(
    losses: GramLoss, prepared: Any, spread: Any, starts: Array, num_stages: Array, count: Array
) -> _Outcome:
    """The first `count` cells of a chunk."""

    def cell(loss: GramLoss, start: Array) -> _Outcome:
        return _attempt(loss, prepared, spread, start, num_stages)

    return map_first(count, cell, losses, starts)


@partial(jax.jit, static_argnames=("num_points", "dim"))
def _random_starts(keys: PRNGKeyArray, num_points: int, dim: int) -> tuple[Array, Array | None]:
    """Starts in R^d, expressed in an orthonormal basis of their span when d > N.

    The iterates never leave the span of the start, so nothing changes but the cost.
    """
    points = jax.vmap(lambda key: random_points(key, num_points, dim))(keys)
    if dim <= num_points:
        return points, None
    # One at a time: a batched factorisation waits for the threads that run the other chunks.
    basis, coordinates = jax.lax.map(lambda one: jnp.linalg.qr(one.T), points)
    return normalize(coordinates.mT), basis


@dataclasses.dataclass
class _Batch:
    """The cells of a problem on the host, best outcome so far, and the work still to do."""

    structure: ClassStructure
    dim: int
    losses: GramLoss
    keys: PRNGKeyArray
    best: _Outcome | None = None
    starts: np.ndarray | None = None

    def run(
        self, cells: np.ndarray, start_index: int, num_stages: int, report: Callable[[int], None]
    ) -> None:
        """One attempt at each of `cells`, in chunks over the worker threads."""
        num_points = self.structure.num_embeddings
        prepared = self.losses.prepare(self.structure)
        spread = SPREAD_LOSS.prepare(self.structure)
        losses = self.losses.unconventional()

        def attempt(chunk: np.ndarray, count: int) -> _Outcome:
            keys = jax.vmap(jax.random.fold_in, (0, None))(self.keys[chunk], start_index)
            points, basis = _random_starts(keys, num_points, self.dim)
            chosen = jax.tree.map(lambda leaf: jnp.asarray(leaf[chunk]), losses)
            outcome = _attempt_chunk(chosen, prepared, spread, points, num_stages, count)
            if basis is None:
                return outcome
            embeddings = jnp.einsum("cnk,cdk->cnd", outcome.embeddings, basis)
            return outcome._replace(embeddings=embeddings)

        capacity = chunk_capacity(num_points * self.dim)
        for chunk, outcome in run_chunks(attempt, cells, capacity):
            self.keep(chunk, outcome)
            report(len(chunk))

    def keep(self, cells: np.ndarray, outcome: _Outcome) -> None:
        """Keep the better of the outcome at hand and the new one; add up the work."""
        if self.best is None:
            total = len(self.keys)
            self.best = _Outcome(
                *(np.zeros((total, *leaf.shape[1:]), leaf.dtype) for leaf in outcome)
            )
            self.best.value[:] = np.inf
            self.best.dual_violation[:] = np.inf
            self.starts = np.zeros(total, int)
        old = jax.tree.map(lambda leaf: leaf[cells], self.best)
        # Values that agree to rounding are told apart by how close they come to their bound.
        rounding = 64 * EPS * np.maximum(1, np.abs(outcome.value))
        lower = outcome.value < old.value - rounding
        tied = np.abs(outcome.value - old.value) <= rounding
        better = lower | (tied & (outcome.dual_violation < old.dual_violation))
        for name, kept, new in zip(_Outcome._fields, self.best, outcome, strict=True):
            if name in ("iterations", "products", "escapes"):
                kept[cells] += new
            else:
                kept[cells[better]] = new[better]


def solve(
    problem: Problem,
    key: PRNGKeyArray,
    *,
    num_starts: int = 2,
    progress: Callable[[int], None] | None = None,
) -> Solution:
    r"""Minimise the loss of `problem` over its embeddings, from random starts.

    .. math:: \min_{U \in (S^{d-1})^N} L(U U^\top)

    Each cell is tried directly; where its dual matrix does not come out positive semidefinite, it
    is tried again along a path of falling temperatures, and then from further random starts. The
    outcome of lowest loss is kept.

    Args:
        problem: one cell, or a batch of cells (a batch axis on the hyper-parameters).
        key: a JAX random key, or an integer as its seed. A cell's starts depend on the key and the
            cell's own coordinates only, not on the batch around it.
        num_starts: random starts at most; raise it for low dimensions, where local minima exist.
        progress: called with the number of cells newly attempted for the first time.

    Returns:
        The solution, with a batch axis if the problem has one.

    Raises:
        ValueError: 64-bit mode is off, num_starts < 1, or called under ``jax.jit``.
    """
    require_x64()
    check_problem(problem)
    check_progress(progress)
    num_starts = check_count("num_starts", num_starts, 1)
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((problem, key))):
        raise ValueError(
            "solve schedules its work on the host and cannot be traced; call it outside jax.jit "
            "and jax.vmap, and give it a problem whose hyper-parameters carry a batch axis."
        )
    key = as_key(key)
    losses, size = problem.cells()
    batch = _Batch(problem.structure, problem.dim, losses, cell_keys(problem, key))
    cells = np.arange(size)
    for start_index, num_stages in _attempts(num_starts):
        first = batch.best is None
        batch.run(cells, start_index, num_stages, progress if progress and first else _ignore)
        batch.starts[cells] = start_index + 1
        cells = np.flatnonzero(batch.best.dual_violation > DUAL_TOLERANCE)
        if not cells.size:
            break
    best = batch.best if problem.batch_size else jax.tree.map(lambda leaf: leaf[0], batch.best)
    starts = batch.starts if problem.batch_size else batch.starts[0]
    return Solution(problem, *jax.tree.map(jnp.asarray, best), jnp.asarray(starts))


def _attempts(num_starts: int) -> Iterator[tuple[int, int]]:
    """(start, stages of the path): each start directly, then along the path."""
    for start in range(num_starts):
        yield start, 1
        yield start, PATH_STAGES


def _ignore(_: int) -> None:
    pass
