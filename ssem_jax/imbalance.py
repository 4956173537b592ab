r"""The convex problem that is left after averaging within the classes of any structure.

Averaging a Gram matrix over all permutations of instances within classes and of views within
instances raises no convex symmetric loss. What is left of class k are its view variance
:math:`\theta_k`, its instance variance :math:`\delta_k^2`, and the Gram matrix C of the class
means, with

.. math::
   \theta_k + \delta_k^2 + C_{kk} = 1, \qquad
   s^\mathrm{view}_k = 1 - \tfrac{p}{p-1} \theta_k, \quad
   s^\mathrm{within}_k = 1 - \theta_k - \tfrac{n_k}{n_k-1} \delta_k^2, \quad
   s^\mathrm{between}_{kl} = C_{kl}.

The averaged Gram matrix is positive semidefinite iff θ, δ² ≥ 0 and C ⪰ 0. So the reduced problem
minimises a convex f(θ, δ², C), whatever the class sizes: in the coordinates
:math:`z_k = (y_k, \delta_k, \sqrt{\theta_k})`, C = y yᵀ, it asks for m unit vectors in
:math:`\mathbb R^{m+2}`, where a second-order critical point is a global minimum.

**Bounds.** With g = ∇φ at any point x of a convex φ, and any multipliers μ, all feasible points
have

.. math::
   \varphi \ge \varphi(x) - \langle g, x \rangle - \textstyle\sum_k \mu_k + m \min(0, \lambda),
   \quad \lambda = \min\{g_{\theta,k} + \mu_k,\; g_{\delta,k} + \mu_k,\;
                   \lambda_{\min}(g_C + \operatorname{Diag} \mu)\},

because θ, δ² and the eigenvalues of C sum to m. This is the dual certificate of the whole Gram
matrix in block form: valid for all embeddings in all dimensions. With φ = f - t ℓ for a linear ℓ
and any t > 0, every point with f ≤ c has :math:`\ell \le (c - \min(f - t \ell)) / t`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax import rounding
from ssem_jax.compute.kernels import map_first, run_chunks
from ssem_jax.eigenbound import factored
from ssem_jax.geometry.similarities import Similarities, block_gram
from ssem_jax.geometry.sphere import normalize
from ssem_jax.losses.base import PROVEN, GramLoss, convexity_of
from ssem_jax.losses.contrast import ClassContrast
from ssem_jax.losses.declared import admit
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.problem import Problem, check_problem
from ssem_jax.problem.pytrees import pytree_dataclass
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import check_choice, check_count, check_temperature, require_x64
from ssem_jax.reduced import EPS, QUANTITIES
from ssem_jax.rounding import row_sums

BRACKET_CLASS_LIMIT = 12
"""Classes up to which brackets are computed; up to it Newton's method decomposes the Hessian, at
some (m² + 2m)³ operations a step, and beyond it goes by conjugate gradients, at m³ each."""
CLASS_LIMIT = 128
"""Classes up to which the program is solved; at 100 a cell takes seconds."""
DENSE_BLOCK_LIMIT = 64
"""Embeddings up to which a loss without class rows is reduced by way of its N × N Gram matrix."""
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
TILT_RANGE = (-34.0, 12.0)
"""Natural logarithms of the smallest and largest tilt t: from where f differs by less than its
rounding over the whole simplex, to beyond any slope of f at τ ≥ 1e-3."""
FIRST_TILT = -14.0
"""Where the search for the tilt begins: the best one for an excess of 1e-14 at unit curvature."""
TILTS = 8
"""Tilts tried for each bound at most."""
SETTLED = 0.1
"""Relative distance of a tilted minimiser from its level at which the tilt is settled: the bound
changes by its square."""
FREE = 1 / 32
"""Part of the margins that shifting the class matrix may add."""
CHUNK = 16
"""Cells per kernel call."""
THRESHOLD_STEPS = 60
"""Steps at most in the search for a threshold; some 10 are usual."""
RESOLUTION = 1e-12
"""Width in α to which a threshold is enclosed: there rounding decides."""


class ClassBlocks(NamedTuple):
    """A Gram matrix averaged within classes; or a linear functional of it.

    Attributes:
        view: (m,) view variance θ_k of every class.
        instance: (m,) instance variance δ²_k.
        gram: (m, m) Gram matrix C of the class means.
    """

    view: Float[Array, "*batch m"]
    instance: Float[Array, "*batch m"]
    gram: Float[Array, "*batch m m"]


class ClassRows(NamedTuple):
    """The row of the softmax that the anchors of each class share, as numbers.

    Attributes:
        sizes: (m,) instances n_k.
        num_views: () p.
        self_pairs: () 1 where the pairs (i, i) are included, else 0.
        sup: (m,) weight of all anchors of the class together in L_sup.
        own: (m,) likewise in L_self.
    """

    sizes: Float[np.ndarray, " m"]
    num_views: Float[np.ndarray, ""]
    self_pairs: Float[np.ndarray, ""]
    sup: Float[np.ndarray, " m"]
    own: Float[np.ndarray, " m"]


def _has_class_form(loss: GramLoss) -> bool:
    """Whether `class_loss` knows the loss by its rows: a class that is derived may be another."""
    return isinstance(loss, ClassContrast) and convexity_of(loss) == PROVEN


def class_rows(loss: GramLoss, structure: ClassStructure) -> ClassRows | ClassStructure:
    """What `class_loss` needs: class rows for class contrasts, the structure for other losses."""
    if not _has_class_form(loss):
        return structure
    anchors = loss.prepare(structure)
    sizes, p = np.asarray(structure.sizes, float), float(structure.num_views)
    first = np.searchsorted(structure.class_ids, np.arange(structure.num_classes))
    included = float(anchors.self_pairs)
    sup = anchors.sup[first] * sizes * p * (sizes - 1) * p
    own = anchors.own[first] * sizes * p * (p - 1 + included)
    return ClassRows(sizes, np.asarray(p), np.asarray(included), sup, own)


def class_loss(
    loss: GramLoss, rows: ClassRows | ClassStructure, blocks: ClassBlocks
) -> Float[Array, ""]:
    r"""The loss of a Gram matrix that is constant on the blocks of its classes.

    .. math::
       \sum_k (1-\alpha) \pi_k^\mathrm{sup} \Bigl[\log D_k - \frac{s^\mathrm{within}_k}{\tau}\Bigr]
       + \alpha \pi_k^\mathrm{self} \Bigl[\log D_k - \frac{s^\mathrm{own}_k}{\tau}\Bigr], \quad
       D_k = \sigma e^{1/\tau} + \varsigma (p-1) e^{s^\mathrm{view}_k/\tau}
           + p (n_k-1) e^{s^\mathrm{within}_k/\tau} + \sum_{l \ne k} p n_l e^{C_{kl}/\tau}

    with σ, ς and s_own as in :meth:`ssem_jax.losses.ClassContrast.of_blocks`.

    Args:
        loss: the loss, a single cell.
        rows: from :func:`class_rows`.
        blocks: θ, δ² and C; the diagonal of C is not used.
    """
    if isinstance(rows, ClassStructure):
        sizes, p = np.asarray(rows.sizes, float), float(rows.num_views)
        return loss.from_gram(block_gram(rows, *_similarities(sizes, p, blocks)), rows)
    n, p, included = rows.sizes, rows.num_views, rows.self_pairs
    m = blocks.view.shape[0]
    view, within, between = _similarities(n, p, blocks)
    # Distances 1 - s instead of similarities, so that no exponent is positive.
    own = (1 - view) * jnp.where(included > 0, (p - 1) / p, 1)
    near = jnp.stack([jnp.zeros(m), 1 - view, 1 - within], axis=1)
    apart = jnp.where(np.eye(m, dtype=bool), 0, 1 - between)
    views = 0 * p if loss.decoupled else p - 1
    near_counts = jnp.stack([jnp.broadcast_to(included, (m,)), 0 * n + views, p * (n - 1)], axis=1)
    apart_counts = jnp.where(np.eye(m, dtype=bool), 0, p * n)
    counts = jnp.concatenate([near_counts, apart_counts], axis=1)
    exponents = -jnp.concatenate([near, apart], axis=1) / loss.temperature
    exponents = jnp.where(counts > 0, exponents, -jnp.inf)
    log_total = jax.nn.logsumexp(exponents, axis=1, b=counts)
    of_sup, of_own = loss.mixing
    sup, self_ = of_sup * rows.sup, of_own * rows.own
    pull = sup * (1 - within) + self_ * own
    return jnp.sum((sup + self_) * log_total + pull / loss.temperature)


def _similarities(sizes: Any, num_views: Any, blocks: ClassBlocks) -> Similarities:
    """The similarities that belong to variances."""
    pairs = jnp.maximum(sizes - 1, 1)
    view = 1 - blocks.view * num_views / jnp.maximum(num_views - 1, 1)
    within = jnp.where(sizes > 1, 1 - blocks.view - blocks.instance * sizes / pairs, 1)
    return Similarities(view, within, blocks.gram)


def _present(structure: ClassStructure) -> Float[np.ndarray, "m k"]:
    """Which coordinates a point may use: instances need n_k ≥ 2, views p ≥ 2."""
    m = structure.num_classes
    shares = [np.ones((m, m)), np.asarray(structure.sizes)[:, None] > 1]
    if structure.num_views > 1:
        shares.append(np.ones((m, 1)))
    return np.concatenate(shares, axis=1).astype(float)


def _blocks(points: Float[Array, "m k"]) -> ClassBlocks:
    """θ, δ² and C of m unit vectors."""
    m, k = points.shape
    view = points[:, m + 1] ** 2 if k > m + 1 else jnp.zeros(m)
    return ClassBlocks(view, points[:, m] ** 2, points[:, :m] @ points[:, :m].T)


def _pair(functional: ClassBlocks, blocks: ClassBlocks) -> Array:
    """The value of a linear functional."""
    first, second, gram = (f * b for f, b in zip(functional, blocks, strict=True))
    return jnp.sum(first) + jnp.sum(second) + jnp.sum(row_sums(gram))


Function = Callable[[ClassBlocks], Array]


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
    signs = jnp.asarray(np.sign(_noise(PROBES, (m, k)))).at[:, :, m:].set(0)
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


def _minimise(function: Function, start: Array, present: Array) -> Array:
    """Minimise over products of m spheres: Newton steps with |curvature| in a trust region.

    Nothing here is trusted: the caller bounds the minimum from what comes out.
    """
    m, k = start.shape
    free = present.ravel()
    step = _spectral_step if m <= BRACKET_CLASS_LIMIT else _truncated_step

    def cost(flat: Array) -> Array:
        return function(_blocks(normalize(flat.reshape(m, k))))

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
    slope = jax.grad(function)(_blocks(points))
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


def _dual(
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
    blocks = _blocks(points)
    value, slope = jax.value_and_grad(function)(blocks)
    gram = 0.5 * (slope.gram + slope.gram.T)
    products = row_sums(gram * blocks.gram)
    multipliers = -(slope.view * blocks.view + slope.instance * blocks.instance + products)
    matrix = gram + jnp.diag(multipliers)
    instance, view = slope.instance + multipliers, slope.view + multipliers
    sums = jnp.sum(row_sums(jnp.abs(gram))) + jnp.sum(jnp.abs(multipliers))
    margin = relative * (1 + jnp.abs(value) + terms + sums)
    found = factored(matrix, FREE * margin / m)
    least = jnp.minimum(-found.shift, jnp.min(jnp.where(present[:, m] > 0, instance, jnp.inf)))
    if k > m + 1:
        least = jnp.minimum(least, jnp.min(view))
    # What is left of ⟨S, C⟩ is bounded by |C_kl| ≤ 1.
    margin = margin + found.remainder
    pairing = _pair(slope, blocks) + jnp.sum(multipliers)
    lower = value - pairing + m * jnp.minimum(0, least) - margin
    return _Dual(lower, view, instance, matrix, margin)


class _Cell(NamedTuple):
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
        return 8 / jnp.asarray(loss.temperature)
    return 8 * sum(jnp.sum(jnp.abs(part)) for part in jax.grad(function)(_blocks(points)))


def _relative(loss: GramLoss, rows: Any, num_classes: int) -> Array | float:
    """The relative error of those terms."""
    if isinstance(rows, ClassRows):
        return rounding.class_program(num_classes, jnp.sum(rows.sizes) * rows.num_views)
    return rounding.evaluation(rows.num_embeddings)


def _noise(count: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, *shape))


def _solve_cell(loss: GramLoss, rows: Any, present: Array, start: Array | None = None) -> _Cell:
    def function(blocks: ClassBlocks) -> Array:
        return class_loss(loss, rows, blocks)

    starts = jnp.asarray(_noise(STARTS, present.shape)) * present
    warm = starts[0] if start is None else start

    shake = PERTURBATION * starts[0]
    relative = _relative(loss, rows, len(present))
    few = len(present) <= BRACKET_CLASS_LIMIT

    def attempt(start: Array, stages: Array) -> _Cell:
        def stage(number: Array, points: Array) -> Array:
            heated = loss.heated((number + 1) / stages)
            return _minimise(lambda b: class_loss(heated, rows, b), points + shake, present)

        points = jax.lax.fori_loop(0, stages, stage, normalize(start))
        blocks = _blocks(points)
        value = function(blocks)
        terms = _terms(loss, rows, function, points)
        dual = _dual(function, points, present, terms, relative)
        return _Cell(points, blocks, value, dual, value + dual.rounding - dual.lower, terms)

    def again(state: tuple[Array, _Cell]) -> tuple[Array, _Cell]:
        number, best = state
        if few:
            fresh = jnp.where(number == 0, warm, starts[number])
            cell = attempt(fresh, jnp.where(number == 0, 1, PATH_STAGES))
        else:  # a path costs more than going on from the best point, displaced
            fresh = jnp.where(number == 0, warm, best.points + PERTURBATION * starts[number])
            cell = attempt(fresh, jnp.asarray(1))
        return number + 1, jax.tree.map(partial(jnp.where, cell.gap < best.gap), cell, best)

    def content(cell: _Cell) -> Array:
        enough = CONTENT * cell.dual.rounding
        return cell.gap <= (enough if few else jnp.maximum(enough, SUFFICIENT_GAP))

    shapes = jax.eval_shape(attempt, starts[0], jnp.asarray(1))
    empty = jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.inf, leaf.dtype), shapes)
    empty = empty._replace(dual=empty.dual._replace(rounding=jnp.zeros(())))
    return jax.lax.while_loop(
        lambda state: (state[0] < STARTS) & ~content(state[1]),
        again,
        (jnp.asarray(0), empty),
    )[1]


def _upper_bound(
    function: Function,
    level: Array,
    functional: ClassBlocks,
    cell: _Cell,
    present: Array,
    relative: Array | float,
) -> Array:
    """An upper bound of a linear functional over the points where f is at most `level`."""
    weight = sum(jnp.sum(jnp.abs(part)) for part in functional)
    shake = PERTURBATION * jnp.asarray(_noise(1, present.shape)[0]) * present
    room = jnp.maximum(level - cell.value, cell.dual.rounding)

    class Search(NamedTuple):
        tilt: Array
        low: Array
        high: Array
        bound: Array
        points: Array
        left: Array

    def body(state: Search) -> Search:
        tilt = jnp.exp(state.tilt)

        def tilted(blocks: ClassBlocks) -> Array:
            return function(blocks) - tilt * _pair(functional, blocks)

        points = _minimise(tilted, state.points + shake, present)
        lower = _dual(tilted, points, present, cell.terms + tilt * weight, relative).lower
        excess = level - function(_blocks(points))
        # The bound is tightest where the tilted minimiser sits on the level. What a tilt lifts f
        # by grows like its square, which predicts that tilt; bisection guards the prediction.
        low = jnp.where(excess > 0, state.tilt, state.low)
        high = jnp.where(excess > 0, state.high, state.tilt)
        lifted = jnp.maximum(room - excess, EPS * room)
        guess = state.tilt + 0.5 * (jnp.log(room) - jnp.log(lifted))
        inside = (guess > low) & (guess < high)
        bound = jnp.fmin(state.bound, (level - lower) / tilt)
        settled = jnp.abs(excess) <= SETTLED * room
        left = jnp.where(settled, 0, state.left - 1)
        return Search(jnp.where(inside, guess, 0.5 * (low + high)), low, high, bound, points, left)

    limits = (jnp.asarray(FIRST_TILT), *map(jnp.asarray, TILT_RANGE), jnp.asarray(jnp.inf))
    start = Search(*limits, cell.points, jnp.asarray(TILTS))
    return jax.lax.while_loop(lambda state: state.left > 0, body, start).bound


NEGLIGIBLE = 1e-10
"""Distance from a trivial bound below which no better one is searched."""


def _bracket_cell(
    loss: GramLoss,
    rows: Any,
    present: Array,
    level: Array,
    functionals: ClassBlocks,
    trivial: tuple[Array, Array],
) -> tuple[Array, Array, _Cell]:
    cell = _solve_cell(loss, rows, present)
    level = jnp.maximum(level, cell.value + cell.dual.rounding)

    def function(blocks: ClassBlocks) -> Array:
        return class_loss(loss, rows, blocks)

    def bound(functional: ClassBlocks) -> Array:
        relative = _relative(loss, rows, len(present))
        return _upper_bound(function, level, functional, cell, present, relative)

    def upper(each: tuple[ClassBlocks, Array]) -> Array:
        functional, most = each
        return jax.lax.cond(
            _pair(functional, cell.blocks) >= most - NEGLIGIBLE,
            lambda: most,
            lambda: jnp.fmin(most, bound(functional)),
        )

    least, most = trivial
    signed = jax.tree.map(lambda part: jnp.concatenate([-part, part]), functionals)
    bounds = jax.lax.map(upper, (signed, jnp.concatenate([-least, most])))
    low, high = -bounds[: len(least)], bounds[len(least) :]
    return low, high, cell


@jax.jit
def _solve_chunk(losses: GramLoss, rows: Any, present: Array, starts: Array, count: Array) -> _Cell:
    def one(loss: GramLoss, present: Array, start: Array) -> _Cell:
        return _solve_cell(loss, rows, present, start)

    return map_first(count, one, losses, present, starts)


@jax.jit
def _bracket_chunk(
    losses: GramLoss,
    rows: Any,
    present: Array,
    levels: Array,
    functionals: ClassBlocks,
    trivial: tuple[Array, Array],
    count: Array,
) -> tuple[Array, Array, _Cell]:
    def one(loss: GramLoss, level: Array) -> tuple[Array, Array, _Cell]:
        return _bracket_cell(loss, rows, present, level, functionals, trivial)

    return map_first(count, one, losses, levels)


def _run(losses: GramLoss, structure: ClassStructure, size: int, kernel: Callable[..., Any]) -> Any:
    """A kernel on chunks of cells, over the threads; results in the order of the cells."""
    rows, present = class_rows(losses, structure), jnp.asarray(_present(structure))
    plain = losses.unconventional()

    def work(cells: np.ndarray, count: int) -> Any:
        chosen = jax.tree.map(lambda leaf: jnp.asarray(leaf[cells]), plain)
        return kernel(chosen, rows, present, cells, count)

    chunks = list(run_chunks(work, np.arange(size), CHUNK))
    order = np.argsort(np.concatenate([cells for cells, _ in chunks]))
    parts = [results for _, results in chunks]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[order], *parts)


def reducible(loss: GramLoss, structure: ClassStructure, limit: int = BRACKET_CLASS_LIMIT) -> bool:
    """Whether averaging is allowed (a convex symmetric loss) and leaves a problem to bracket; with
    `CLASS_LIMIT` as the limit, one to solve."""
    few = structure.num_classes <= limit
    return loss.convex and loss.symmetric and few and _small(loss, structure)


def _small(loss: GramLoss, structure: ClassStructure) -> bool:
    return _has_class_form(loss) or structure.num_embeddings <= DENSE_BLOCK_LIMIT


@pytree_dataclass
class ReducedSolution:
    """The optimum over all embeddings in all dimensions, by class; batched if the problem is.

    Attributes:
        problem: what was solved; its dimension plays no role.
        class_gram: (m, m) Gram matrix C of the class means.
        instance_variance: (m,) variance of the instance means of each class, δ²_k.
        view_variance: (m,) variance of the views of each class about their instance means.
        value: the loss, attained.
        lower: a lower bound of the loss of all embeddings in all dimensions.
        gap: value - lower, with the rounding of both on the safe side.
        instance_slack: (m,) dual eigenvalues of the instances: every embedding of loss c has
            Σ instance_slack · δ²_k ≤ c - lower. 0 up to rounding where a class is spread.
        view_slack: (m,) likewise of the views.
        class_dual: (m, m) dual matrix S of the class means; S C = 0 at the optimum.
    """

    problem: Problem
    class_gram: Float[Array, "*batch m m"]
    instance_variance: Float[Array, "*batch m"]
    view_variance: Float[Array, "*batch m"]
    value: Float[Array, "*batch"]
    lower: Float[Array, "*batch"]
    gap: Float[Array, "*batch"]
    instance_slack: Float[Array, "*batch m"]
    view_slack: Float[Array, "*batch m"]
    class_dual: Float[Array, "*batch m m"]

    @property
    def within(self) -> Float[Array, "*batch m"]:
        """(m,) similarity of two instances of a class; 1 for a class of one instance."""
        return self._similarities.within

    @property
    def view(self) -> Float[Array, "*batch m"]:
        """(m,) similarity of two views of an instance; 1 if p = 1."""
        return self._similarities.view

    @property
    def cosines(self) -> Float[Array, "*batch m m"]:
        """(m, m) cosines of the angles between class means; 0 for a mean that vanishes."""
        norms = np.sqrt(np.diagonal(self.class_gram, axis1=-2, axis2=-1))
        norms = np.where(norms > 0, norms, 1)
        return np.asarray(self.class_gram) / (norms[..., :, None] * norms[..., None, :])

    @property
    def total_variance(self) -> Float[Array, "*batch"]:
        """1 - the squared norm of the global mean."""
        structure = self.problem.structure
        share = np.asarray(structure.sizes) / structure.num_instances
        return 1 - np.asarray(self.class_gram) @ share @ share

    @property
    def _similarities(self) -> Similarities:
        structure = self.problem.structure
        blocks = ClassBlocks(self.view_variance, self.instance_variance, self.class_gram)
        return _similarities(np.asarray(structure.sizes, float), float(structure.num_views), blocks)


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
    losses, size = _cells(problem, "solved", CLASS_LIMIT)

    def kernel(chosen: GramLoss, rows: Any, present: Array, cells: np.ndarray, count: int) -> _Cell:
        first = jnp.asarray(_noise(1, present.shape)) * present
        tiled = (jnp.tile(each, (len(cells), 1, 1)) for each in (present, first))
        return _solve_chunk(chosen, rows, *tiled, count)

    cell = _run(losses, problem.structure, size, kernel)
    leaves = (
        cell.blocks.gram,
        cell.blocks.instance,
        cell.blocks.view,
        cell.value,
        cell.dual.lower,
        cell.gap,
        cell.dual.instance,
        cell.dual.view,
        cell.dual.gram,
    )
    if problem.batch_size is None:
        leaves = tuple(leaf[0] for leaf in leaves)
    return ReducedSolution(problem, *leaves)


def bracket_reduced(
    problem: Problem, level: Float[Array, "*batch"], functionals: ClassBlocks
) -> tuple[Float[np.ndarray, "*batch K"], Float[np.ndarray, "*batch K"]]:
    r"""Outer bounds of linear functionals over all embeddings of at most a given loss.

    .. math:: \ell(\theta, \delta^2, C)
              = \textstyle\sum_k (\ell^\theta_k \theta_k + \ell^\delta_k \delta_k^2)
              + \sum_{kl} \ell^C_{kl} C_{kl}

    Args:
        problem: one cell, or a batch of B cells.
        level: the loss up to which embeddings count, for every cell; raised to the minimum.
        functionals: K functionals, with shapes (K, m), (K, m) and (K, m, m); see
            :func:`instance_functionals` and :func:`cosine_functionals`.

    Returns:
        (K,) or (B, K) lower and upper bounds.

    Raises:
        ValueError: what :func:`solve_reduced` raises, with `BRACKET_CLASS_LIMIT` classes at most.
    """
    losses, size = _cells(problem, "bracketed", BRACKET_CLASS_LIMIT)
    levels = np.broadcast_to(np.asarray(level, float), (size,))
    low, high, _ = _bracket(losses, problem.structure, levels, functionals)
    return (low[0], high[0]) if problem.batch_size is None else (low, high)


def bracket_quantities(
    losses: GramLoss, structure: ClassStructure, levels: Float[np.ndarray, " B"]
) -> tuple[Float[np.ndarray, "B 5"], Float[np.ndarray, "B 5"]]:
    """Outer bounds of `ssem_jax.reduced.QUANTITIES` for a batch of cells of any class sizes.

    Variances weigh every embedding alike. Similarities of unequal classes have no one number and
    stay in [-1, 1].

    Args:
        losses: the loss, with a batch axis on every leaf.
        structure: the class structure.
        levels: (B,) the loss up to which embeddings are bracketed.
    """
    m = structure.num_classes
    share = np.asarray(structure.sizes) / structure.num_instances
    nothing, no_gram = np.zeros(m), np.zeros((m, m))
    functionals = _stack(
        [
            ClassBlocks(share, nothing, no_gram),
            ClassBlocks(nothing, share, no_gram),
            ClassBlocks(nothing, nothing, np.outer(share, share)),
        ]
    )
    low = np.tile([0.0, 0.0, 0.0, -1.0, -1.0], (len(levels), 1))
    high = np.ones((len(levels), len(QUANTITIES)))
    if structure.num_views == 1:
        high[:, QUANTITIES.index("view_variance")] = 0
    low[:, :3], high[:, :3], _ = _bracket(losses, structure, levels, functionals)
    return low, high


def instance_functionals(num_classes: int) -> ClassBlocks:
    """The m functionals that read the instance variance δ²_k of each class."""
    m = num_classes
    return ClassBlocks(np.zeros((m, m)), np.eye(m), np.zeros((m, m, m)))


def gram_functionals(num_classes: int) -> ClassBlocks:
    """The m(m-1)/2 functionals that read C_kl, k < l in row order."""
    m = num_classes
    first, second = np.triu_indices(m, 1)
    count = len(first)
    gram = np.zeros((count, m, m))
    gram[np.arange(count), first, second] = 0.5
    gram[np.arange(count), second, first] = 0.5
    return ClassBlocks(np.zeros((count, m)), np.zeros((count, m)), gram)


def collapse_thresholds(
    structure: ClassStructure,
    temperature: float,
    *,
    mean: str = "pairs",
    self_pairs: str = "include",
) -> Float[np.ndarray, " m"]:
    r"""The α_k at which the instance means of each class part; below it they coincide.

    Every class has its own threshold, and those of later classes depend on how far the earlier
    ones have spread. The root of the dual eigenvalue of the instances in the program that
    holds those of this class together, which is smooth and changes sign at the threshold. The
    first threshold of the per-anchor mean has a closed form given the collapsed class means,

    .. math::
       \alpha_k = 1 - (n_k-1) \Bigl[\frac{e^{1/\tau}}{D_k}
         + \frac{M}{n_k^2} \sum_{l \ne k} S_{kl} C_{kl}\Bigr], \quad
       S_{kl} = \frac{n_k n_l}{2M} e^{C_{kl}/\tau} \Bigl(\frac1{D_k} + \frac1{D_l}\Bigr), \quad
       D_k = n_k e^{1/\tau} + \sum_{l \ne k} n_l e^{C_{kl}/\tau},

    because there neither C nor the weight of a class depends on α before the first class parts.

    Args:
        structure: class sizes and views.
        temperature: τ > 0.
        mean: "pairs" or "anchors".
        self_pairs: "include"; "exclude" or "decouple" with two views or more.

    Returns:
        (m,) thresholds; NaN for a class of one instance, whose means cannot part.

    Raises:
        ValueError: all classes of one instance, a τ that is not positive, an unknown convention,
            self pairs not included with one view, and what :func:`solve_reduced` raises.
    """
    check_structure(structure)
    sizes = np.asarray(structure.sizes)
    _cells(Problem(structure, 1, SupCL(0.5, temperature, self_pairs, mean)), "solved", CLASS_LIMIT)
    pinned = _Pinned(structure, float(temperature), self_pairs, mean)
    thresholds = np.where(sizes > 1, 0.0, np.nan)
    # Classes of equal size have equal thresholds: permuting them changes nothing.
    _, first, group = np.unique(sizes, return_index=True, return_inverse=True)
    spreadable = first[sizes[first] > 1]
    low, high = np.zeros(len(sizes)), np.ones(len(sizes))
    below, above = pinned.slack(spreadable, low), pinned.slack(spreadable, high)
    thresholds[above > 0] = 1
    open_ = (below > 0) & (above <= 0)
    side = np.zeros(len(sizes))
    for _ in range(THRESHOLD_STEPS):
        active = np.flatnonzero(open_ & (high - low > RESOLUTION))
        if not len(active):
            break
        weight = below[active] / (below[active] - above[active])
        alpha = low.copy()
        alpha[active] += weight * (high - low)[active]
        found = pinned.slack(active, alpha)
        for k in active:
            thresholds[k] = alpha[k]
            open_[k] = abs(found[k]) > pinned.rounding[k] and low[k] < alpha[k] < high[k]
            # Illinois: an end that stays twice counts half.
            if found[k] > 0:
                low[k], below[k] = alpha[k], found[k]
                above[k] *= 0.5 if side[k] > 0 else 1
            else:
                high[k], above[k] = alpha[k], found[k]
                below[k] *= 0.5 if side[k] < 0 else 1
            side[k] = np.sign(found[k])
    thresholds = thresholds[first][group]
    if mean == "anchors" and self_pairs == "include" and sizes.min() > 1:
        exact = _thresholds_at_collapse(structure, float(temperature))
        earliest = sizes == sizes[np.argmin(exact)]
        thresholds[earliest] = exact[earliest]
    return thresholds


class _Pinned:
    """The dual slack of each class whose own instances are held together; warm starts inside.

    It is positive iff the class collapses: then the multipliers are those of the whole program.
    """

    def __init__(self, structure: ClassStructure, temperature: float, *convention: str) -> None:
        m = structure.num_classes
        self.problem = lambda alpha: Problem(
            structure, len(alpha), SupCL(alpha, np.full(len(alpha), temperature), *convention)
        )
        self.present = np.tile(_present(structure), (m, 1, 1))
        self.present[np.arange(m), np.arange(m), m] = 0
        self.points = np.tile(_noise(1, self.present.shape[1:]), (m, 1, 1)) * self.present
        self.rounding = np.zeros(m)

    def slack(self, classes: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """(m,) slack of the instances of each of some classes at its own α; elsewhere NaN."""
        m = len(self.rounding)
        losses, size = _cells(self.problem(alpha[classes]), "solved", CLASS_LIMIT)
        present, starts = self.present[classes], self.points[classes]

        def kernel(chosen: GramLoss, rows: Any, _: Array, cells: np.ndarray, count: int) -> _Cell:
            where, first = jnp.asarray(present[cells]), jnp.asarray(starts[cells])
            return _solve_chunk(chosen, rows, where, first, count)

        cell = _run(losses, self.problem(alpha[classes]).structure, size, kernel)
        self.points[classes], self.rounding[classes] = cell.points, cell.dual.rounding
        found = np.full(m, np.nan)
        found[classes] = cell.dual.instance[np.arange(size), classes]
        return found


def _thresholds_at_collapse(
    structure: ClassStructure, temperature: float
) -> Float[np.ndarray, " m"]:
    """Where each class would part if all others stayed collapsed; per-anchor mean, included."""
    loss = SupCL(0.0, temperature, "include", "anchors")
    cosines = np.asarray(solve_reduced(Problem(structure, 1, loss)).class_gram)
    n, total = np.asarray(structure.sizes, float), structure.num_instances
    # The diagonal of C is 1 in collapse; weights are divided by e^{1/τ}.
    factors = np.exp((cosines - 1) / temperature)
    np.fill_diagonal(factors, 1)
    denominator = factors @ n
    dual = np.outer(n, n) * factors * (1 / denominator[:, None] + 1 / denominator) / (2 * total)
    np.fill_diagonal(dual, 0)
    pull = total / n**2 * np.sum(dual * cosines, axis=1)
    return 1 - (n - 1) * (1 / denominator + pull)


def two_class_threshold(
    sizes: tuple[int, int], temperature: float, mean: str = "pairs"
) -> Float[np.ndarray, " 2"]:
    r"""Where each of two classes would part from collapse while the other stays; m = 2.

    .. math::
       \alpha_k = 1 - (n_k-1) \Bigl[\frac1{D_k} - \frac{n_l}{2 n_k} y
          \Bigl(\frac1{D_1} + \frac1{D_2}\Bigr)\Bigr], \quad y = e^{-2/\tau}, \;
       D_k = n_k + n_l y

    with the mean over anchors; over pairs, the multiplier of the instances is linear in α too.
    The smaller of the two is the exact threshold of its class, self pairs included.

    Args:
        sizes: (n_1, n_2), both at least 2.
        temperature: τ > 0.
        mean: "pairs" or "anchors".

    Returns:
        (2,) thresholds.

    Raises:
        ValueError: not two sizes of at least 2, a τ that is not positive, or an unknown mean.

    References:
        The multipliers of the reduced problem at two antipodal classes.
    """
    if len(sizes) != 2:
        raise ValueError(f"sizes must be those of two classes; got {len(sizes)} of them.")
    n = np.array([check_count("every class size", size, 2) for size in sizes], float)
    check_temperature(temperature)
    check_choice("mean", mean, ("pairs", "anchors"))
    y, other, total = math.exp(-2 / temperature), n[::-1], n.sum()
    denominator = n + other * y
    pairs = n * (n - 1)
    sup = pairs / pairs.sum() if mean == "pairs" else n / total

    def slack(alpha: float) -> np.ndarray:
        """n_k times the dual eigenvalue of the instances, in units of 1/τ."""
        weight = ((1 - alpha) * sup + alpha * n / total) / denominator
        apart = 0.5 * n * other * y * weight.dot(1 / n)
        return apart - n * (weight - (1 - alpha) * sup / (n - 1))

    at_0, at_1 = slack(0.0), slack(1.0)
    return at_0 / (at_0 - at_1)


def minority_collapse_ratio(num_minorities: int, temperature: float) -> float:
    r"""The imbalance at which the classes of a collapsed minority merge with one another.

    One majority class of n instances and k minority classes of n' instances each, per-anchor mean,
    self pairs included, α below all collapse thresholds: the minority classes coincide iff
    ρ = n/(k n') is at least the positive root of

    .. math:: y (1+y) \rho^2 + [y (1+y) - 2] \rho - 2y = 0, \quad y = e^{-2/\tau}.

    Args:
        num_minorities: k ≥ 2.
        temperature: τ > 0.

    Returns:
        The critical ratio ρ of majority to all minority instances; it depends on k not at all.

    Raises:
        ValueError: k < 2, or τ not positive.

    References:
        Fang, He, Long and Su (PNAS 2021) for minority collapse with cross-entropy.
    """
    check_count("num_minorities", num_minorities, 2)
    check_temperature(temperature)
    y = math.exp(-2 / temperature)
    square, linear = y * (1 + y), y * (1 + y) - 2
    return (-linear + math.sqrt(linear**2 + 8 * y * square)) / (2 * square)


def minorities_can_merge(num_majorities: int, temperature: float) -> bool:
    r"""Whether minority classes merge at some finite imbalance, with several majority classes.

    .. math::
       \frac{m_1 e_0}{4} \Bigl(\frac{e_0}{c} + \frac1{m_1}\Bigr)^2 \frac{c}{e_a} > 1, \quad
       e_0 = e^{-1/\tau}, \; e_a = e^{-m_1/((m_1-1)\tau)}, \; c = 1 + (m_1-1) e_a

    with m₁ majority classes of equal size, per-anchor mean, self pairs included, all collapsed. One
    majority always merges its minorities (see :func:`minority_collapse_ratio`).

    Args:
        num_majorities: m₁ ≥ 1.
        temperature: τ > 0.

    Returns:
        Whether a finite ratio of class sizes is enough.

    Raises:
        ValueError: m₁ < 1, or τ not positive.
    """
    count = check_count("num_majorities", num_majorities, 1)
    check_temperature(temperature)
    if count == 1:
        return True
    # Multiplied out, e_0²/e_a = e^{(2 - m₁)/((m₁-1)τ)} no longer underflows.
    apart = math.exp(-count / ((count - 1) * temperature))
    level, total = math.exp(-1 / temperature), 1 + (count - 1) * apart
    ratio = math.exp(1 / ((count - 1) * temperature))  # e_0 / e_a
    return count * ratio / 4 * (level / total + 1 / count) ** 2 * total > 1


def _stack(functionals: list[ClassBlocks]) -> ClassBlocks:
    return ClassBlocks(*(np.stack(parts) for parts in zip(*functionals, strict=True)))


def _bracket(
    losses: GramLoss, structure: ClassStructure, levels: np.ndarray, functionals: ClassBlocks
) -> tuple[np.ndarray, np.ndarray, _Cell]:
    """Brackets of any functionals for a batch, within what every embedding satisfies."""
    p = structure.num_views
    gram = np.asarray(functionals.gram)
    diagonal = np.diagonal(gram, axis1=1, axis2=2)
    off = np.sum(np.abs(gram), axis=(1, 2)) - np.sum(np.abs(diagonal), axis=1)
    # |C_kl| ≤ 1, and every class shares out 1 among its mean, its instances and its views.
    shares = np.stack([diagonal, functionals.instance] + [functionals.view] * (p > 1))
    least, most = shares.min(0).sum(1) - off, shares.max(0).sum(1) + off
    # A quadratic form c cᵀ is nonnegative.
    forms = np.linalg.eigvalsh(0.5 * (gram + gram.transpose(0, 2, 1)))[:, 0] >= -EPS
    variances = np.minimum(functionals.view, functionals.instance).min(1) >= 0
    least = np.where(forms & variances, np.maximum(least, 0), least)
    functionals = jax.tree.map(jnp.asarray, functionals)
    trivial = (jnp.asarray(least), jnp.asarray(most))

    def kernel(chosen: GramLoss, rows: Any, present: Array, cells: np.ndarray, count: int) -> Any:
        some = jnp.asarray(levels[cells])
        return _bracket_chunk(chosen, rows, present, some, functionals, trivial, count)

    return _run(losses, structure, len(levels), kernel)


def _cells(problem: Problem, verb: str, limit: int) -> tuple[GramLoss, int]:
    require_x64()
    check_problem(problem)
    loss, structure = problem.loss, problem.structure
    if not (loss.convex and loss.symmetric):
        raise ValueError(
            f"{type(loss).__name__} is not marked as convex and symmetric, so averaging within "
            "classes may raise it; use solve, or set `convex` and `symmetric` on its class."
        )
    if structure.num_classes > limit:
        raise ValueError(
            f"the reduced problem is {verb} up to {limit} classes; got {structure.num_classes}. "
            "Use solve and certify."
        )
    if not _small(loss, structure):
        raise ValueError(
            f"{type(loss).__name__} is reduced by way of its Gram matrix up to "
            f"{DENSE_BLOCK_LIMIT} embeddings; got {structure.num_embeddings}. Use solve."
        )
    admit(loss, structure)
    return problem.cells()
