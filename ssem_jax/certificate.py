r"""A lower bound on the loss over *all* embeddings, in *all* dimensions, from embeddings at hand.

The loss is convex in the Gram matrix G. With :math:`g = \operatorname{sym} \nabla L(G_0)` and any
multipliers λ, the dual matrix S = g + Diag(λ) bounds the loss of every G ⪰ 0 with unit diagonal,

.. math::
   L(G) \ge L(G_0) - \langle g, G_0 \rangle - \sum_i \lambda_i + N \min(0, \lambda_{\min}(S)),

because ⟨S, G⟩ ≥ λ_min(S)·tr G. The multipliers :math:`\lambda_i = -(g G_0)_{ii}` of a critical
point make the bound tight there; elsewhere it is valid but loose. The **gap** is the loss at the
embeddings minus the bound, with margins for rounding, so that "no embedding does better by more
than the gap" is a statement about real numbers.

A small gap does not pin the geometry: at small τ the loss hardly depends on how classes lie. So
**brackets** bound what near-optimal embeddings look like. Averaging over the symmetry of a balanced
structure raises no symmetric convex loss; hence the averaged similarities of every embedding whose
loss is at most that of the embeddings at hand lie in a sublevel set of the reduced problem, which
:mod:`ssem_jax.reduced` bounds; :mod:`ssem_jax.imbalance` does so for classes of different size.
Phases are decided from brackets alone.

All of this needs a convex loss. What a loss declares is checked first (:mod:`ssem_jax.convexity`);
of one that is declared not convex nothing is known: its bound is -∞, its gap infinite, its phase
undecided.

Up to `DENSE_LIMIT` embeddings S is diagonalised. Beyond, :mod:`ssem_jax.eigenbound` bounds its
smallest eigenvalue from below: by a Cholesky factorisation, which proves the bound, and beyond
`CHOLESKY_LIMIT` by products with an S that is never formed, which leaves a probability of failure.

Everything is computed from the embeddings; nothing is taken over from a solver.
"""

from __future__ import annotations

import zlib
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ssem_jax.blockwise import blockwise_dual
from ssem_jax.convexity import admit
from ssem_jax.eigenbound import FAILURE_PROBABILITY, cholesky_bound, lanczos_bound
from ssem_jax.imbalance import ReducedSolution, bracket_quantities, reducible
from ssem_jax.losses import GramLoss, SupCL
from ssem_jax.metrics import variances
from ssem_jax.problem import (
    ClassStructure,
    Phase,
    Problem,
    cell_keys,
    check_rows,
    pytree_dataclass,
    require_x64,
)
from ssem_jax.reduced import (
    QUANTITIES,
    Reduced,
    bound_cells,
    has_block_form,
    shares_of,
    shares_of_similarities,
)
from ssem_jax.schedule import Kernel, chunk_capacity, map_first, run_chunks
from ssem_jax.simplex import Similarities
from ssem_jax.solution import Solution
from ssem_jax.sphere import normalize, rescaled

UNIT_ROUNDING = float(np.finfo(np.float64).eps) / 2

GAP_TOLERANCE = 1e-9
"""A cell counts as certified when its gap is at most this."""
COLLAPSE_TOLERANCE = 1e-6
"""A variance bracketed under this is collapsed, one bracketed above it is spread."""
LOWEST = (0.0, 0.0, 0.0, -1.0, -1.0)
"""The least that a variance and a similarity can be, in the order of `QUANTITIES`; all are ≤ 1."""
SHARE_ROUNDING = 1e-14
"""Variance share that counts as 0 where it is computed from similarities: their rounding."""
DENSE_LIMIT = 512
"""Embeddings up to which the dual matrix is diagonalised; a factorisation is far cheaper beyond."""
CHOLESKY_LIMIT = 8192
"""Embeddings up to which the dual matrix is formed: 512 MiB, of which a few are held at a time."""
LANCZOS_GOAL = 1e-9
"""What of the gap the distance of a Ritz value from its lower bound may take, times N."""


class _Dual(NamedTuple):
    """What a certificate owes to the dual matrix.

    Before the smallest eigenvalue is known, `lower` is the bound for a positive semidefinite one.
    """

    value: Array
    value_rounding: Array
    lower: Array
    eigenvalue: Array

    def bounded(self, eigenvalue: Array, num_points: int, margin: Array | float = 0.0) -> _Dual:
        """The bound for this eigenvalue, of error `margin`."""
        lower = self.lower + num_points * (jnp.minimum(0, eigenvalue) - margin)
        return self._replace(lower=lower, eigenvalue=eigenvalue)


@pytree_dataclass
class Certificate:
    """What is known of embeddings and of all others; batched if the problem is.

    Attributes:
        problem: what the embeddings were found for.
        value: their loss.
        lower: no embedding in any dimension has a lower loss than this.
        gap: value - lower, with the rounding of both on the safe side; ≥ 0.
        eigenvalue: λ_min of the dual matrix; beyond `DENSE_LIMIT` embeddings a lower bound of it.
        variances: (4,) of the embeddings: view, instance (δ²), class, and squared mean.
        low: (5,) and `high` (5,): brackets in the order of `ssem_jax.reduced.QUANTITIES`.
        phase: a code of :class:`ssem_jax.Phase`, decided from the brackets.
        failure_probability: of the random start with which `lower` and `gap` were bounded; 0 up to
            `CHOLESKY_LIMIT` embeddings, where nothing is left to chance.
    """

    problem: Problem
    value: Float[Array, "*batch"]
    lower: Float[Array, "*batch"]
    gap: Float[Array, "*batch"]
    eigenvalue: Float[Array, "*batch"]
    variances: Float[Array, "*batch 4"]
    low: Float[Array, "*batch 5"]
    high: Float[Array, "*batch 5"]
    phase: Int[Array, "*batch"]
    failure_probability: Float[Array, "*batch"]

    @property
    def probabilistic(self) -> Array:
        """Whether the bound holds with high probability only, and not for certain."""
        return np.asarray(self.failure_probability) > 0

    @property
    def brackets(self) -> dict[str, tuple[Array, Array]]:
        """Quantity → (low, high) over all embeddings that are at least as good as these."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        return {name: (low[..., i], high[..., i]) for i, name in enumerate(QUANTITIES)}

    @property
    def certified(self) -> Array:
        """Whether the gap is at most `GAP_TOLERANCE`."""
        return np.asarray(self.gap) <= GAP_TOLERANCE


def _dual_matrix(loss: GramLoss, prepared: Any, embeddings: Array) -> tuple[Array, _Dual]:
    """The dual matrix of one cell, and the bound but for its smallest eigenvalue."""
    num_points, dim = embeddings.shape
    gram = embeddings @ embeddings.T
    # Any symmetric reference will do for the bound; a unit diagonal is what the loss is for.
    gram = jnp.fill_diagonal(gram, 1.0, inplace=False)
    value, slope = jax.value_and_grad(loss.value)(gram, prepared)
    slope = 0.5 * (slope + slope.T)
    multipliers = -jnp.sum(slope * gram, axis=1)
    dual = slope + jnp.diag(multipliers)

    # Rounding, all first order in u. A sum of N terms errs by N u of their magnitude; the
    # entries of G by that of a dot product and of two normalisations; the terms of the gradient
    # add up to `sensitivity`.
    unit = UNIT_ROUNDING
    sensitivity = loss.sensitivity(gram, prepared)
    evaluation = (2 * num_points + 16) * unit * loss.magnitude(value, sensitivity)
    moved = jnp.sum(jnp.abs(slope)) * (2 * dim + 8) * unit
    terms = (num_points + 16) * unit * 2 * sensitivity
    sums = 4 * num_points * unit * jnp.sum(jnp.abs(slope * gram))
    slack = jnp.sum(multipliers) + jnp.sum(slope * gram)
    lower = value - slack - (evaluation + terms + sums)
    return dual, _Dual(value, evaluation + moved, lower, jnp.zeros(()))


def _bound(loss: GramLoss, prepared: Any, embeddings: Array) -> _Dual:
    """Value and lower bound of one cell, from all eigenvalues."""
    dual, found = _dual_matrix(loss, prepared, embeddings)
    size = len(dual)
    # Eigenvalues err by N u ‖S‖, the bound for a backward stable method.
    margin = size * UNIT_ROUNDING * jnp.linalg.norm(dual)
    return found.bounded(jnp.linalg.eigvalsh(dual)[0], size, margin)


_form_dual = jax.jit(_dual_matrix)


def _bound_factored(loss: GramLoss, prepared: Any, embeddings: Array) -> _Dual:
    """The same from a Cholesky factorisation."""
    dual, found = _form_dual(loss, prepared, embeddings)
    matrix = np.array(dual)
    dual.delete()
    return found.bounded(jnp.asarray(cholesky_bound(matrix)), len(matrix))


def _bound_by_products(
    loss: SupCL, structure: ClassStructure, embeddings: Array, key: PRNGKeyArray
) -> _Dual:
    """The same from products with a dual matrix that is never formed."""
    size, dim = embeddings.shape
    dual = blockwise_dual(loss, embeddings, structure)
    # Entries of G err by d u. That moves exponents by as much over τ, and terms of the gradient,
    # which add up to 2/τ, by as much relatively; their sums of N terms err by N u.
    entries = (2 * dim + 8) * UNIT_ROUNDING
    relative = 2 * entries / dual.temperature + (size + 32) * UNIT_ROUNDING
    sensitivity = 2 / dual.temperature
    evaluation = (2 * size + 16) * UNIT_ROUNDING * (1 + jnp.abs(dual.value))
    evaluation = evaluation + sensitivity * entries
    lower = dual.value - evaluation - 4 * sensitivity * relative
    found = _Dual(dual.value, evaluation, lower, jnp.zeros(()))
    norm = float(dual.norm * (1 + relative))
    rounding, goal = float(norm * relative), LANCZOS_GOAL / size
    bound = lanczos_bound(dual.product, size, norm, rounding, goal, key)
    return found.bounded(jnp.asarray(bound.lower), size)


@Kernel
def _bound_chunk(losses: GramLoss, prepared: Any, embeddings: Array, count: Array) -> _Dual:
    return map_first(count, lambda loss, one: _bound(loss, prepared, one), losses, embeddings)


@partial(jax.jit, static_argnames="structure")
def _variances(embeddings: Float[Array, "B N d"], structure: ClassStructure) -> Array:
    found = jax.vmap(lambda one: variances(one, structure))(embeddings)
    return jnp.stack([found.view, found.delta2, found.between, found.mean_sq], axis=-1)


def decide_phase(low: Float[Array, "... 5"], high: Float[Array, "... 5"]) -> Int[Array, "..."]:
    """The phase that brackets prove, else UNDECIDED."""
    low, high = np.asarray(low), np.asarray(high)
    view, instance = QUANTITIES.index("view_variance"), QUANTITIES.index("delta2")
    together = high[..., instance] <= COLLAPSE_TOLERANCE
    views_together = high[..., view] <= COLLAPSE_TOLERANCE
    apart = low[..., instance] > COLLAPSE_TOLERANCE
    views_apart = low[..., view] > COLLAPSE_TOLERANCE
    return np.select(
        [together & views_together, apart, together & views_apart],
        [Phase.COLLAPSE, Phase.SPREAD, Phase.VIEW_SPREAD],
        Phase.UNDECIDED,
    )


def certify(solution: Solution, key: PRNGKeyArray | None = None) -> Certificate:
    r"""Certify the embeddings of a solution.

    Args:
        solution: from :func:`ssem_jax.solve`, one cell or a batch.
        key: a JAX random key, needed beyond `CHOLESKY_LIMIT` embeddings, where the bound is
            probabilistic.

    Returns:
        Lower bound, gap, brackets and phase of every cell.

    Raises:
        ValueError: 64-bit mode is off, a loss that is not what it declares
            (:class:`ssem_jax.FalseDeclarationError`), or more than `CHOLESKY_LIMIT` embeddings
            without a key or with another loss than SupCL.
    """
    return _certify(solution.problem, solution.embeddings, key=key)


def certify_embeddings(
    embeddings: Float[Array, "N d"],
    structure: ClassStructure,
    loss: GramLoss,
    reference: Certificate | None = None,
    key: PRNGKeyArray | None = None,
) -> Certificate:
    """Certify any embeddings, whoever found them.

    Args:
        embeddings: (N, d) rows ordered by class, instance and view; they are normalised.
        structure: their class structure.
        loss: the loss that they are judged by.
        reference: a certificate of the same problem, whose lower bound is used where it is
            better: at embeddings that are no critical point their own multipliers are loose.
        key: as for :func:`certify`.

    Returns:
        The certificate of these embeddings.

    Raises:
        ValueError: rows that are not finite or zero, or whose number does not fit the structure;
            and what :func:`certify` raises.
    """
    points = np.asarray(embeddings, np.float64)
    if points.ndim != 2 or len(points) != structure.num_embeddings:
        raise ValueError(
            f"{structure} has {structure.num_embeddings} embeddings, one per row; "
            f"got shape {points.shape}."
        )
    check_rows(points)
    problem = Problem(structure, points.shape[1], loss)
    return _certify(problem, np.asarray(normalize(jnp.asarray(rescaled(points)))), reference, key)


def certify_blocks(problem: Problem, similarities: Similarities) -> Certificate:
    r"""Certify a Gram matrix that is constant on blocks, from its three similarities alone.

    The dual matrix of such a G commutes with all permutations of a balanced structure, so it has
    four distinct eigenvalues: with f the loss as a function of the variance shares θ and g = ∇f,

    .. math:: N \lambda_k = g_k - \langle g, \theta \rangle, \qquad
       L \ge f(\theta) + \min_k N \lambda_k

    for k = view, instance, class and mean. No N × N matrix is formed; the bound, the brackets and
    the phase hold over all embeddings in all dimensions as those of :func:`certify` do. Given the
    similarities of a closed form, this certifies theory's optimum without minimisation.

    Args:
        problem: one cell, or a batch of cells.
        similarities: of views (1 if p = 1), within a class (1 if n = 1) and between classes, for
            every cell; `ssem_jax.theory.similarities` returns those of the optimum.

    Returns:
        The certificate; `variances` are the shares of the similarities.

    Raises:
        ValueError: 64-bit mode is off; a loss that is not convex or not symmetric; classes of
            different size; similarities that no unit vectors have, in any dimension or in that
            of the problem.
    """
    structure = problem.structure
    _check_concrete(problem, similarities)
    if not problem.loss.convex:
        raise ValueError(
            f"{type(problem.loss).__name__} is not convex in the Gram matrix, so nothing bounds "
            "it from below."
        )
    if not (problem.loss.symmetric and problem.loss.like_classes and structure.is_balanced):
        raise ValueError(
            "only a symmetric loss of balanced classes has optima that three similarities "
            f"describe; got {type(problem.loss).__name__} of {structure}. "
            "Use certify_embeddings."
        )
    losses, size = problem.cells()
    admit(losses, structure)
    shares = shares_of(structure)
    theta = np.broadcast_to(shares_of_similarities(shares, similarities), (size, 4))
    theta = np.where(np.abs(theta) <= SHARE_ROUNDING, 0, theta)
    good = np.all(theta >= 0, axis=1) & np.all(theta <= shares.present, axis=1)
    if not good.all():
        raise ValueError(
            f"no unit vectors have the similarities of cell {int(np.argmin(good))}: their view, "
            f"instance, class and mean variances would be {theta[np.argmin(good)].tolist()}."
        )
    m, n, p = structure.num_classes, structure.instances_per_class, structure.num_views
    rank = int(np.max((theta > 0) @ [m * n * (p - 1), m * (n - 1), m - 1, 1]))
    if rank > problem.dim:
        raise ValueError(
            f"embeddings with these similarities span {rank} dimensions; got dim = {problem.dim}. "
            "Raise dim."
        )
    found = _bound_blocks(losses, structure, theta, np.full(size, -np.inf))
    gap = found.value + found.rounding - found.lower
    eigenvalue = found.eigenvalue / structure.num_embeddings
    leaves = (found.value, found.lower, gap, eigenvalue, theta, found.low, found.high)
    return _assemble(problem, leaves, 0.0)


def certify_classes(solution: ReducedSolution) -> Certificate:
    r"""The certificate that the solution of the program of the classes is, for all embeddings.

    With :math:`n_k p` embeddings in class k, the N × N dual matrix has the eigenvalues
    :math:`r_k / (n_k p)` for the slacks r of instances and views, and those of
    :math:`D^{-1/2} S D^{-1/2}`, D = Diag(n_k p), for the class means.

    Args:
        solution: from :func:`ssem_jax.solve_reduced`, one cell or a batch.

    Returns:
        The certificate; `variances` are those of the solution, averaged over its embeddings.
    """
    problem, structure = solution.problem, solution.problem.structure
    losses, size = problem.cells()
    value, lower, gap = (
        np.broadcast_to(each, (size,)) for each in (solution.value, solution.lower, solution.gap)
    )
    counts = np.asarray(structure.sizes) * structure.num_views
    share, m = counts / counts.sum(), structure.num_classes
    gram = np.asarray(solution.class_gram).reshape(size, m, m)
    view, instance = (
        np.asarray(each).reshape(size, m) @ share
        for each in (solution.view_variance, solution.instance_variance)
    )
    mean_sq = gram @ share @ share
    between = np.diagonal(gram, axis1=1, axis2=2) @ share - mean_sq
    found = np.stack([view, instance, between, mean_sq], axis=1)
    scale = np.sqrt(np.outer(counts, counts))
    dual = np.asarray(solution.class_dual).reshape(size, m, m) / scale
    eigenvalue = np.linalg.eigvalsh(dual)[:, 0]
    several = np.asarray(structure.sizes) > 1
    present = ((solution.instance_slack, several), (solution.view_slack, structure.num_views > 1))
    for slack, here in present:
        each = np.where(here, np.asarray(slack).reshape(size, m) / counts, np.inf)
        eigenvalue = np.minimum(eigenvalue, each.min(axis=1))
    low, high = _brackets(losses, structure, found, lower + gap)
    return _assemble(problem, (value, lower, gap, eigenvalue, found, low, high), 0.0)


def _check_concrete(problem: Problem, points: Any) -> None:
    require_x64()
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((problem, points))):
        raise ValueError("a certificate is made on the host; call it outside jax.jit and jax.vmap.")


def check_size(loss: GramLoss, structure: ClassStructure) -> None:
    """Raise a ValueError where there are more embeddings than a dual matrix is formed of, and no
    other way to certify the loss."""
    if structure.num_embeddings > CHOLESKY_LIMIT and not isinstance(loss, SupCL):
        raise ValueError(
            f"only SupCL is certified without its dual matrix, which is formed up to "
            f"{CHOLESKY_LIMIT} embeddings; got {structure.num_embeddings} and "
            f"{type(loss).__name__}."
        )


def certificate_key(key: PRNGKeyArray) -> PRNGKeyArray:
    """The key to certify with what was solved with `key`: their random numbers are independent."""
    return jax.random.fold_in(key, zlib.crc32(b"certificate"))


def _certify(
    problem: Problem,
    embeddings: Array | np.ndarray,
    reference: Certificate | None = None,
    key: PRNGKeyArray | None = None,
) -> Certificate:
    _check_concrete(problem, embeddings)
    structure = problem.structure
    num_points = structure.num_embeddings
    formed = num_points <= CHOLESKY_LIMIT
    check_size(problem.loss, structure)
    if not formed and key is None:
        raise ValueError(
            f"beyond {CHOLESKY_LIMIT} embeddings a certificate is probabilistic; got {num_points}. "
            "Give it a random key: key=jax.random.key(0)."
        )
    losses, size = problem.cells()
    keys = None if formed else cell_keys(problem, key)
    admit(losses, structure)
    embeddings = np.asarray(embeddings).reshape(size, num_points, problem.dim)
    prepared, plain = losses.prepare(structure), losses.unconventional()

    def bound_one(cell: int) -> _Dual:
        points = jnp.asarray(embeddings[cell])
        if formed:
            return _bound_factored(_cell(plain, cell), prepared, points)
        return _bound_by_products(_cell(losses, cell), structure, points, keys[cell])

    def bound(cells: np.ndarray, count: Array) -> tuple[_Dual, Array]:
        points = jnp.asarray(embeddings[cells])
        if num_points <= DENSE_LIMIT:
            found = _bound_chunk(_cell(plain, cells), prepared, points, count)
        else:
            found = jax.tree.map(lambda *one: jnp.stack(one), *map(bound_one, cells[: int(count)]))
        return found, _variances(points, structure)

    capacity = chunk_capacity(
        num_points * (max(num_points, problem.dim) if formed else problem.dim)
    )
    dual, found = _gather(run_chunks(bound, np.arange(size), capacity), size)
    # Without convexity a tangent bounds nothing.
    bounded = dual.lower if losses.convex else np.full(size, -np.inf)
    lower = bounded if reference is None else np.maximum(bounded, reference.lower)
    level = dual.value + dual.value_rounding
    low, high = _brackets(losses, structure, found, level)
    leaves = (dual.value, lower, level - lower, dual.eigenvalue, found, low, high)
    return _assemble(problem, leaves, 0.0 if formed else FAILURE_PROBABILITY)


def _assemble(problem: Problem, leaves: tuple[np.ndarray, ...], failure: float) -> Certificate:
    """A certificate from its leaves, each with the cells in front; the phase is added."""
    leaves = (*leaves, decide_phase(*leaves[-2:]), np.full(len(leaves[0]), failure))
    if problem.batch_size is None:
        leaves = tuple(leaf[0] for leaf in leaves)
    return Certificate(problem, *map(jnp.asarray, leaves))


def _cell(losses: GramLoss, cells: np.ndarray | int) -> GramLoss:
    """The losses of some cells."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[cells]), losses)


BRACKET_CAPACITY, DENSE_BRACKET_CAPACITY = 64, 4
"""Cells bracketed at once, in lock step: some thirty microseconds each, so that a single cell is
not worth a kernel of its own; fewer of losses without a form of three similarities."""


def _brackets(
    losses: GramLoss, structure: ClassStructure, found: np.ndarray, level: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Outer bounds of `QUANTITIES` for every cell."""
    size = len(level)
    alike = structure.is_balanced and losses.like_classes
    if not alike and reducible(losses, structure):
        return bracket_quantities(losses, structure, level)
    if not (losses.convex and losses.symmetric and alike):
        return np.tile(LOWEST, (size, 1)), np.ones((size, len(QUANTITIES)))
    reduced = _bound_blocks(losses, structure, found, level)
    return reduced.low, reduced.high


def _bound_blocks(
    losses: GramLoss, structure: ClassStructure, found: np.ndarray, level: np.ndarray
) -> Reduced:
    """The reduced problem of every cell, bounded; brackets within what the quantities can be."""
    blocks, shares = losses.prepare_blocks(structure), shares_of(structure)
    plain = losses.unconventional()

    def bound(cells: np.ndarray, count: Array) -> Reduced:
        chosen = jax.tree.map(lambda leaf: leaf[cells], plain)
        return bound_cells(chosen, blocks, shares, found[cells], level[cells])

    capacity = BRACKET_CAPACITY if has_block_form(losses) else DENSE_BRACKET_CAPACITY
    reduced = _gather(run_chunks(bound, np.arange(len(level)), capacity), len(level))
    low, high = np.maximum(reduced.low, LOWEST), np.minimum(reduced.high, 1)
    return reduced._replace(low=low, high=high)


def _gather(chunks: Any, size: int) -> Any:
    """The chunks of a run in the order of the cells."""
    whole = None
    for cells, results in chunks:
        if whole is None:
            whole = jax.tree.map(
                lambda leaf: np.zeros((size, *leaf.shape[1:]), leaf.dtype), results
            )
        for target, part in zip(jax.tree.leaves(whole), jax.tree.leaves(results), strict=True):
            target[cells] = part
    return whole


def negative_direction(
    embeddings: Float[Array, "N d"], structure: ClassStructure, loss: GramLoss
) -> tuple[Float[Array, ""], Float[Array, " N"]]:
    """λ_min of the dual matrix and its eigenvector v.

    Where λ_min < 0 the embeddings can be improved in a space with one more dimension e: the loss
    falls along U + t v eᵀ (rows normalised), by -λ_min t² to leading order at a critical point.
    """
    points = normalize(jnp.asarray(embeddings))
    gram = points @ points.T
    slope = jax.grad(loss.value)(gram, loss.prepare(structure))
    slope = 0.5 * (slope + slope.T)
    eigenvalues, vectors = jnp.linalg.eigh(slope - jnp.diag(jnp.sum(slope * gram, axis=1)))
    return eigenvalues[0], vectors[:, 0]
