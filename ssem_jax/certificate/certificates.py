r"""A lower bound on the loss over *all* embeddings, in *all* dimensions, from embeddings at hand.

The loss is convex in the Gram matrix G, so it has affine minorants: numbers c and M with
L(G) ≥ c + ⟨M, G⟩ for all G. With any multipliers λ, the dual matrix S = sym M + Diag(λ) bounds the
loss of every G ⪰ 0 with unit diagonal,

.. math::
   L(G) \ge c - \sum_i \lambda_i + \langle S, G \rangle
        \ge c - \sum_i \lambda_i - N \sigma - \sum_{ij} |E_{ij}|, \qquad S + \sigma I = R R^\top + E

(:mod:`ssem_jax.certificate.eigenbound`). The multipliers
:math:`\lambda_i = -(\operatorname{sym} M \; G_0)_{ii}` of a critical point G₀ make the bound tight
there; elsewhere it is valid but loose. Minorants are

* **Gibbs'**, for softmax losses Σ_i ω_i log Σ_j exp(G_ij/τ) - ⟨W, G⟩/τ: any row-stochastic P on the
  denominators has

  .. math:: c = \sum_i \omega_i H(P_i), \qquad M = (\omega P - W)/\tau, \qquad H(P_i) = -\sum_j
            P_{ij} \log P_{ij}.

  At the softmax of G₀ it is the tangent, but nothing about P needs proof. So P is rounded to
  multiples of 2⁻⁵² whose rows add up to 1 exactly, and all that is left to the margins are the
  logarithms of its entropies and a few roundings of M;
* the **tangent** at G₀ for all other losses, c = L(G₀) - ⟨∇L, G₀⟩ and M = ∇L(G₀), whose margins
  rest on what the loss declares as its `magnitude` and its `sensitivity`.

The **gap** is the loss at the embeddings minus the bound, with margins for rounding that
:mod:`ssem_jax.certificate.rounding` derives, so that "no embedding does better by more than the
gap" is a statement about real numbers.

A small gap does not pin the geometry: at small τ the loss hardly depends on how classes lie. So
**brackets** bound what near-optimal embeddings look like. Averaging over the symmetry of a balanced
structure raises no symmetric convex loss; hence the averaged similarities of every embedding whose
loss is at most that of the embeddings at hand lie in a sublevel set of the reduced problem, which
:mod:`ssem_jax.certificate.brackets` bounds; :mod:`ssem_jax.certificate.symmetry` does so for
classes of different size. Phases are decided from brackets alone.

All of this needs a convex loss. What a loss declares is checked first
(:mod:`ssem_jax.losses.convexity`); of one that is declared not convex nothing is known: its bound
is -∞, its gap infinite, its phase undecided.

Up to `CHOLESKY_LIMIT` embeddings a factorisation proves the bound; beyond, products with an S that
is never formed bound it and leave a probability of failure
(:mod:`ssem_jax.certificate.eigenbound`).

Everything is computed from the embeddings; nothing is taken over from a solver.
"""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from ssem_jax.certificate import rounding
from ssem_jax.certificate.brackets import Reduced, bound_cells, plan_of
from ssem_jax.certificate.certificate import LOWEST, QUANTITIES, Certificate, decide_phase
from ssem_jax.certificate.dual import (
    Dual,
    bound_by_products,
    bound_chunk,
    bound_factored,
    gather,
    has_tiles,
    value_alone,
)
from ssem_jax.certificate.eigenbound import FAILURE_PROBABILITY
from ssem_jax.certificate.symmetry.programs import bracket_program, has_program
from ssem_jax.compute.kernels import batched, chunk_capacity, run_chunks
from ssem_jax.geometry.shares import Variances, multiplicities, variance_simplex, variances_of
from ssem_jax.geometry.similarities import Similarities
from ssem_jax.geometry.sphere import normalize, rescaled
from ssem_jax.losses.base import PROVEN, GramLoss, convexity_of, has_block_form, loss_of
from ssem_jax.losses.declared import check_declared
from ssem_jax.losses.probes import rows_of_shares
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.arrays import AnyArray, Rows, Seed
from ssem_jax.problem.problem import Problem, cell_keys, check_loss, check_problem
from ssem_jax.problem.solution import Solution
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import as_key, check_rows, check_type, concrete, require_x64

SHARE_ROUNDING = 1e-14
"""Variance share that counts as 0 where it is computed from similarities: their rounding."""
DENSE_LIMIT = 512
"""Embeddings up to which cells are certified in chunks; beyond, one by one with the dual matrix
factored in place."""
CHOLESKY_LIMIT = 8192
"""Embeddings up to which the dual matrix is formed: 512 MiB, of which a few are held at a time."""
OWN_LIMIT, NEAR = 2048, 1e-6
"""Embeddings whose own multipliers cost more than they gain, unless a reference is so near."""


def _variances(
    embeddings: Float[np.ndarray, "B N d"], structure: ClassStructure
) -> Float[np.ndarray, "B 4"]:
    """The variances of every cell, on the host: a kernel would be one of each structure."""
    sizes, count = np.asarray(structure.sizes), structure.total_instances
    views = embeddings.reshape(len(embeddings), count, structure.num_views, -1)
    instances = views.mean(axis=2) if structure.num_views > 1 else embeddings
    classes = np.add.reduceat(instances, np.cumsum(sizes) - sizes, axis=1) / sizes[:, None]
    mean = instances.mean(axis=1)

    def squares(parts: np.ndarray) -> np.ndarray:
        return np.einsum("b...k,b...k->b...", parts, parts)

    return np.stack(
        [
            squares(views - instances[:, :, None]).mean(axis=(1, 2)),
            squares(instances - np.repeat(classes, sizes, axis=1)).mean(axis=1),
            squares(classes - mean[:, None]) @ (sizes / count),
            squares(mean),
        ],
        axis=1,
    )


def certify(solution: Solution, key: Seed | None = None) -> Certificate:
    r"""Certify the embeddings of a solution.

    Args:
        solution: from :func:`ssem_jax.solve`, one cell or a batch.
        key: a JAX random key, needed beyond `CHOLESKY_LIMIT` embeddings, where the bound is
            probabilistic.

    Returns:
        Lower bound, gap, brackets and phase of every cell.

    Raises:
        ValueError: 64-bit mode is off, a loss that is not what it declares
            (:class:`ssem_jax.losses.FalseDeclarationError`), or more than `CHOLESKY_LIMIT`
            embeddings without a key or with another loss than SupCL.
    """
    if isinstance(solution, Problem):
        raise ValueError(
            "a problem has no embeddings yet; solve first: certify(solve(problem, key))."
        )
    check_type("solution", solution, Solution, "what solve(problem, key) returns")
    return _certify(solution.problem, solution.embeddings, key=key)


def certify_embeddings(
    embeddings: Float[AnyArray, "N d"] | Rows,
    structure: ClassStructure,
    loss: GramLoss,
    reference: Certificate | None = None,
    key: Seed | None = None,
) -> Certificate:
    """Certify any embeddings, whoever found them.

    Args:
        embeddings: (N, d) rows ordered by class, instance and view; they are normalised.
        structure: their class structure.
        loss: the loss that they are judged by.
        reference: a certificate of the same loss and structure in any dimension, whose lower bound
            is used where it is better: at embeddings that are no critical point their own
            multipliers are loose. Of many embeddings it is the only one (`OWN_LIMIT`).
        key: as for :func:`certify`.

    Returns:
        The certificate of these embeddings.

    Raises:
        ValueError: rows that are not finite or zero, or whose number does not fit the structure;
            a reference of another problem; and what :func:`certify` raises.
    """
    check_structure(structure)
    if reference is not None:
        check_type("reference", reference, Certificate, "a Certificate of the same problem")
    points = np.asarray(concrete(embeddings, "embeddings"))
    if points.ndim != 2 or len(points) != structure.num_embeddings:
        raise ValueError(
            f"{structure} has {structure.num_embeddings} embeddings, one per row; "
            f"got shape {points.shape}."
        )
    check_rows(points)
    problem = Problem(structure, points.shape[1], loss)
    if reference is not None:
        _check_reference(reference.problem, problem)
    return _certify(problem, np.asarray(normalize(jnp.asarray(rescaled(points)))), reference, key)


def _check_reference(other: Problem, problem: Problem) -> None:
    """Raise a ValueError, with what differs, unless a lower bound of one problem is one of both."""
    theirs, ours = loss_of(other), loss_of(problem)
    named: list[tuple[str, Any, Any]] = [
        ("the structure", other.structure, problem.structure),
        ("least", other.least, problem.least),
    ]
    if type(theirs) is type(ours):
        fields = [field.name for field in dataclasses.fields(ours)]
        named += [(name, getattr(theirs, name), getattr(ours, name)) for name in fields]
    else:
        named.append(("the loss", type(theirs), type(ours)))
    differences = [f"{name} is {a} there and {b} here" for name, a, b in named if not _same(a, b)]
    if differences:
        raise ValueError(
            f"the reference certifies another problem: {'; '.join(differences)}. Give a "
            "certificate of this loss and structure, or none."
        )


def _same(one: Any, other: Any) -> bool:
    """Whether two fields of a loss, numbers or choices, are equal to the last bit."""
    if jax.tree.structure(one) != jax.tree.structure(other):
        return False
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)


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
    check_problem(problem)
    problem.check_unbounded()
    structure = problem.structure
    check_type("similarities", similarities, Similarities, "a Similarities(view, within, between)")
    _check_concrete(problem, similarities)
    loss = loss_of(problem)
    if not loss.convex:
        raise ValueError(
            f"{type(loss).__name__} is not convex in the Gram matrix, so nothing bounds "
            "it from below."
        )
    if not (loss.symmetric and loss.like_classes and structure.is_balanced):
        raise ValueError(
            "only a symmetric loss of balanced classes has optima that three similarities "
            f"describe; got {type(loss).__name__} of {structure}. "
            "Use certify_embeddings."
        )
    losses, size = problem.cells()
    given = Similarities(*(np.asarray(one, np.float64) for one in similarities))
    theta = np.stack(np.broadcast_arrays(*variances_of(given, *structure.counts)), axis=-1)
    theta = np.broadcast_to(theta, (size, 4))
    theta = np.where(np.abs(theta) <= SHARE_ROUNDING, 0, theta)
    good = np.all(theta >= 0, axis=1) & np.all(theta <= variance_simplex(structure).present, axis=1)
    if not good.all():
        raise ValueError(
            f"no unit vectors have the similarities of cell {int(np.argmin(good))}: their view, "
            f"instance, class and mean variances would be {theta[np.argmin(good)].tolist()}."
        )
    taken = multiplicities(structure.num_classes, structure.total_instances, structure.num_views)
    rank = int(np.max((theta > 0) @ np.asarray(taken)))
    if problem.dim is not None and rank > problem.dim:
        raise ValueError(
            f"embeddings with these similarities span {rank} dimensions; got dim = {problem.dim}. "
            "Raise dim."
        )
    proven = convexity_of(losses) == PROVEN
    check_declared(losses, structure, None if proven else rows_of_shares(structure, theta))
    rounding.check_functions()
    found = _bound_blocks(losses, structure, theta, np.full(size, -np.inf))
    gap = found.value + found.rounding - found.lower
    eigenvalue = found.eigenvalue / structure.num_embeddings
    leaves = (found.value, found.lower, gap, eigenvalue, theta, found.low, found.high)
    return assemble(problem, leaves, 0.0)


def _check_concrete(problem: Problem, points: Any) -> None:
    require_x64()
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((problem, points))):
        raise ValueError("a certificate is made on the host; call it outside jax.jit and jax.vmap.")


def check_size(loss: GramLoss, structure: ClassStructure, bounded: bool = False) -> None:
    """Raise a ValueError where there are more embeddings than a dual matrix is formed of, and no
    other way to certify the loss; one of another minimum is at hand if it is `bounded`."""
    swept = has_tiles(loss) and (bounded or type(loss) is SupCL)
    if structure.num_embeddings > CHOLESKY_LIMIT and not swept:
        name = type(loss).__name__ + (" with instances decoupled" if type(loss) is SupCL else "")
        raise ValueError(
            f"only SupCL is certified without its dual matrix, which is formed up to "
            f"{CHOLESKY_LIMIT} embeddings; got {structure.num_embeddings} and {name}."
        )


def certificate_key(key: PRNGKeyArray) -> PRNGKeyArray:
    """The key to certify with what was solved with `key`: their random numbers are independent."""
    return jax.random.fold_in(key, zlib.crc32(b"certificate"))


def _certify(
    problem: Problem,
    embeddings: AnyArray,
    reference: Certificate | None = None,
    key: Seed | None = None,
) -> Certificate:
    _check_concrete(problem, embeddings)
    problem.check_unbounded()
    structure, start = problem.structure, None if key is None else as_key(key)
    num_points = structure.num_embeddings
    formed = num_points <= CHOLESKY_LIMIT
    loss, enough = loss_of(problem), np.inf
    if reference is not None and bool(reference.certified) and num_points > OWN_LIMIT:
        enough = float(reference.lower) + NEAR
    relied = has_tiles(loss) and enough < np.inf
    check_size(loss, structure, relied)
    if not formed and not relied and start is None:
        raise ValueError(
            f"beyond {CHOLESKY_LIMIT} embeddings a certificate is probabilistic; got {num_points}. "
            "Give it a random key: key=jax.random.key(0)."
        )
    losses, size = problem.cells()
    keys = None if formed or start is None else cell_keys(problem, start)
    rounding.check_functions()
    dim = problem.given_dim
    embeddings = np.asarray(embeddings).reshape(size, num_points, dim)
    check_declared(losses, structure, embeddings)
    prepared, plain = losses.prepare(structure), losses.without_conventions()

    def bound_one(cell: np.integer) -> Dual:
        points = jax.device_put(embeddings[cell])
        if relied:
            found = value_alone(_cell(losses, cell), structure, points)
            if not formed or found.value - found.value_rounding > enough:
                return found
        if keys is None:
            return bound_factored(_cell(plain, cell), prepared, points, enough)
        return bound_by_products(_cell(losses, cell), structure, points, keys[cell])

    def bound(cells: np.ndarray, count: Array) -> tuple[Dual, np.ndarray]:
        points = embeddings[cells]
        if num_points <= DENSE_LIMIT:
            chosen = jax.tree.map(lambda leaf: leaf[cells], plain)
            found = bound_chunk(chosen, prepared, points, count)
        else:
            found = jax.tree.map(lambda *one: jnp.stack(one), *map(bound_one, cells[: int(count)]))
        return found, _variances(points, structure)

    capacity = chunk_capacity(num_points * (max(num_points, dim) if formed else dim))
    dual, found = gather(run_chunks(bound, np.arange(size), capacity, num_points), size)
    # Without convexity a tangent bounds nothing.
    bounded = np.where(losses.convex & np.isfinite(dual.lower), dual.lower, -np.inf)
    lower = bounded if reference is None else np.maximum(bounded, reference.lower)
    level = dual.value + dual.value_rounding
    level = np.where(np.isnan(level), np.inf, level)  # where points coincide that may not
    low, high = brackets_of(losses, structure, found, level)
    leaves = (dual.value, lower, level - lower, dual.eigenvalue, found, low, high)
    chance = 0.0 if formed or relied else FAILURE_PROBABILITY
    return assemble(problem, leaves, chance, embeddings)


def assemble(
    problem: Problem,
    leaves: tuple[AnyArray, ...],
    failure: float,
    embeddings: AnyArray | None = None,
) -> Certificate:
    """A certificate from its leaves, each with the cells in front; the phase is added."""
    value, lower, gap = leaves[:3]
    if np.any(gap < 0):
        cell = int(np.argmin(gap))
        raise ValueError(
            f"a contradiction in cell {cell}: embeddings of loss {value[cell]!r}, but a lower "
            f"bound of {lower[cell]!r} for all embeddings. A reference of another problem, or a "
            "loss that is not convex, has a false one; nothing was certified."
        )
    *firsts, found, low, high = leaves
    chances = np.full(len(value), failure)
    fields: Any = (*firsts, Variances(*found.T), low, high, decide_phase(low, high), chances)
    if embeddings is not None:
        fields = (*fields, embeddings)
    if problem.batch_size is None:
        fields = jax.tree.map(lambda leaf: leaf[0], fields)
    return Certificate(problem, *jax.device_put(fields))  # which compiles nothing


def _cell(losses: Any, cells: np.ndarray | np.integer) -> Any:
    """The losses of some cells."""
    return jax.device_put(jax.tree.map(lambda leaf: leaf[cells], losses))


BRACKET_CAPACITY, DENSE_BRACKET_CAPACITY = 2048, 4
"""Cells bracketed in a call; fewer of losses without a form of three similarities, in lock step.
More of all where cells are lanes."""
WORTH_A_CALL = 256
"""Cells that take as long as what surrounds a call, some half a millisecond."""


def brackets_of(
    losses: GramLoss, structure: ClassStructure, found: np.ndarray, level: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Outer bounds of `QUANTITIES` for every cell.

    Three similarities are what symmetry leaves where classes are alike, bracketed in 2 to 4 µs;
    the orbits of any pairs take some 10 ms.
    """
    size = len(level)
    alike = structure.is_balanced and losses.like_classes
    fast = losses.convex and losses.symmetric and alike and not losses.solved_by_terms
    if has_program(losses, structure) and not fast:
        return bracket_program(losses, structure, level)
    if not (losses.convex and losses.symmetric and alike):
        return np.tile(LOWEST, (size, 1)), np.ones((size, len(QUANTITIES)))
    reduced = _bound_blocks(losses, structure, found, level)
    return reduced.low, reduced.high


def _bound_blocks(
    losses: GramLoss, structure: ClassStructure, found: np.ndarray, level: np.ndarray
) -> Reduced:
    """The reduced problem of every cell, bounded; brackets within what the quantities can be."""
    blocks, simplex = losses.prepare_blocks(structure), variance_simplex(structure)
    plain, plan = losses.without_conventions(), plan_of(simplex)

    def bound(cells: np.ndarray, count: Array) -> Reduced:
        chosen = jax.tree.map(lambda leaf: leaf[cells], plain)
        return bound_cells(chosen, blocks, simplex, found[cells], level[cells], plan, count)

    capacity = BRACKET_CAPACITY if has_block_form(losses) else DENSE_BRACKET_CAPACITY
    if batched():
        capacity = chunk_capacity(1 if has_block_form(losses) else structure.num_embeddings**2)
    chunks = run_chunks(bound, np.arange(len(level)), capacity, least=WORTH_A_CALL)
    reduced = gather(chunks, len(level))
    # An end that is no number, of a loss that is infinite on the way, bounds nothing.
    low, high = np.fmax(reduced.low, LOWEST), np.fmin(reduced.high, 1)
    return reduced._replace(low=low, high=high)


def dual_of_gram(
    gram: Float[Array, "N N"], structure: ClassStructure, loss: GramLoss
) -> Float[Array, "N N"]:
    r"""The dual matrix at a Gram matrix of unit diagonal; to look at, for it has no margins.

    .. math:: S = \operatorname{sym} \nabla L + \operatorname{Diag} \lambda, \qquad
              \lambda_i = -(\operatorname{sym} \nabla L \; G)_{ii}
    """
    check_structure(structure)
    check_loss(loss)
    slope = jax.grad(loss.value)(gram, loss.prepare(structure))
    slope = 0.5 * (slope + slope.T)
    return slope - jnp.diag(jnp.sum(slope * gram, axis=1))


def negative_direction(
    embeddings: Float[AnyArray, "N d"], structure: ClassStructure, loss: GramLoss
) -> tuple[Float[Array, ""], Float[Array, " N"]]:
    """λ_min of the dual matrix and its eigenvector v.

    Where λ_min < 0 the embeddings can be improved in a space with one more dimension e: the loss
    falls along U + t v eᵀ (rows normalised), by -λ_min t² to leading order at a critical point.
    """
    points = normalize(jnp.asarray(embeddings))
    eigenvalues, vectors = jnp.linalg.eigh(dual_of_gram(points @ points.T, structure, loss))
    return eigenvalues[0], vectors[:, 0]
