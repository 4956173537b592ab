"""The dual matrix, and lower bounds from it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ssem_jax.certificate import rounding
from ssem_jax.certificate.class_blocks import has_class_form
from ssem_jax.certificate.eigenbound import (
    Factored,
    attempt,
    factored_in_place,
    lanczos_bound,
    least_shift,
    search_shift,
)
from ssem_jax.certificate.rounding import kept, row_sums
from ssem_jax.compute.kernels import (
    Kernel,
    at_places,
    map_first,
    put_back,
    while_going,
)
from ssem_jax.geometry.sphere import normalize
from ssem_jax.losses.base import PROVEN, GramLoss, convexity_of
from ssem_jax.losses.contrast import ClassContrast, softmax_of
from ssem_jax.losses.supcl import SupCL
from ssem_jax.losses.tiles import BlockDual, blockwise_dual, blockwise_value
from ssem_jax.problem.arrays import AnyArray
from ssem_jax.problem.structure import ClassStructure

GRAIN = 2.0**-52
"""What probabilities are rounded to: rows of up to 2¹³ multiples add up without rounding."""
FREE = 1 / 32
"""Part of the gap that shifting the dual matrix may add, so that the first factorisation succeeds
wherever what there is of negative eigenvalues is small beside the other margins."""
LANCZOS_GOAL = 1e-9
"""What of the gap the distance of a Ritz value from its lower bound may take, times N."""


class Dual(NamedTuple):
    """What a certificate owes to the dual matrix.

    Before the matrix is factored, `lower` is the bound for a positive semidefinite one.
    """

    value: Array
    value_rounding: rounding.Scalar
    lower: Array
    eigenvalue: Array

    def bounded(self, eigenvalue: Array | float, pairing: Array | float) -> Dual:
        """With the lower bound of λ_min(S), and that of ⟨S, G⟩ over all G."""
        return self._replace(lower=self.lower + pairing, eigenvalue=jnp.asarray(eigenvalue))

    def factored(self, found: Factored, size: int) -> Dual:
        """With what a factorisation proves."""
        return self.bounded(found.eigenvalue, found.pairing(size))

    def free(self, size: int) -> Array:
        """A shift of the dual matrix that costs little beside the margins there are."""
        return FREE * (self.value + self.value_rounding - self.lower) / size


class _Minorant(NamedTuple):
    """A loss at G₀, and an affine function below it everywhere."""

    value: Array
    value_rounding: rounding.Scalar
    slope: Array  # M
    lower: Array  # c - Σλ, all margins but those of the multipliers taken off


def _stochastic(scores: Float[Array, "N N"], total: Float[Array, " N"]) -> Float[Array, "N N"]:
    """scores/total in multiples of `GRAIN`, whose rows add up to 1 exactly: the largest entry of a
    row takes what rounding leaves. Integers below 2⁵³ add up without rounding in any order."""
    grains = jnp.round(scores / total[:, None] / GRAIN)
    largest = jnp.argmax(scores, axis=1)[:, None] == jnp.arange(len(scores))[None, :]
    missing = 1 / GRAIN - jnp.sum(grains, axis=1, keepdims=True)
    return kept((grains + jnp.where(largest, missing, 0)) * GRAIN)


def _gibbs(form: tuple[Array, Array, Array], gram: Float[Array, "N N"], dim: int) -> _Minorant:
    """Gibbs' minorant of a softmax loss at the softmax of G₀, and the loss."""
    weights, contrasted, tau = form
    size, held = len(gram), contrasted > 0
    anchors = row_sums(weights)
    apart = (gram - jnp.max(jnp.where(held, gram, -1), axis=1, keepdims=True)) / tau
    # A masked entry may exceed the row's maximum, and exp of it may overflow: mask first.
    scores = jnp.where(held, jnp.exp(jnp.where(held, apart, 0)), 0)
    # A row without positives may have an empty denominator; it counts nothing.
    total = row_sums(jnp.where(anchors > 0, jnp.sum(scores, axis=1), 1)[:, None])
    logs = anchors * jnp.log(total)
    pulls = weights * apart
    value = jnp.sum(kept(logs - row_sums(pulls)))
    omega = jnp.sum(anchors)
    sizes = jnp.sum(kept(logs)), jnp.sum(row_sums(jnp.abs(pulls)))

    shares = _stochastic(scores, total)
    logarithms = jnp.log(jnp.where(shares > 0, shares, 1))
    entropy = jnp.sum(kept(anchors * row_sums(-shares * logarithms)))
    slope = kept((anchors[:, None] * shares - weights) / tau)
    moved = rounding.softmax_moved(size, dim, omega, jnp.sum(row_sums(jnp.abs(slope))), tau)
    margin = rounding.softmax_entropy(size, entropy) + rounding.softmax_slope(size, omega, tau)
    return _Minorant(
        value, rounding.softmax_value(size, omega, *sizes) + moved, slope, entropy - margin
    )


def _tangent(loss: GramLoss, prepared: Any, gram: Float[Array, "N N"], dim: int) -> _Minorant:
    """The tangent of any convex loss at G₀, and the loss; `lower` lacks ⟨M, G₀⟩."""
    size = len(gram)
    value, slope = jax.value_and_grad(loss.value)(gram, prepared)
    slope = kept(slope)
    sensitivity = loss.sensitivity(gram, prepared)
    evaluation = rounding.evaluation(size) * loss.magnitude(value, sensitivity)
    moved = rounding.gram_entry(dim) * sensitivity
    margin = evaluation + rounding.tangent_slope(size, sensitivity)
    return _Minorant(value, evaluation + moved, slope, value - margin)


def dual_matrix(loss: GramLoss, prepared: Any, embeddings: Array) -> tuple[Array, Dual]:
    """The dual matrix of one cell, and the bound but for what it is short of semidefinite."""
    size, dim = embeddings.shape
    points = normalize(embeddings)
    # Any symmetric reference will do for the bound; a unit diagonal is what the loss is for.
    gram = kept(jnp.fill_diagonal(points @ points.T, 1.0, inplace=False))
    if convexity_of(loss) != PROVEN:  # it may be no number beyond what cosines can be
        gram = jnp.clip(gram, -1, 1)
    form = softmax_of(loss, prepared)
    found = _tangent(loss, prepared, gram, dim) if form is None else _gibbs(form, gram, dim)
    slope = 0.5 * (found.slope + found.slope.T)
    products = kept(slope * gram)
    multipliers = -row_sums(products)
    dual = kept(slope + jnp.diag(multipliers))
    diagonal = jnp.sum(jnp.abs(jnp.diagonal(dual)))
    if form is None:  # -⟨M, G₀⟩ and -Σλ cancel but for rounding
        pairing = jnp.sum(row_sums(jnp.abs(products)))
        lower = found.lower - rounding.cancelled_multipliers(size, pairing, diagonal)
    else:
        sizes = jnp.sum(jnp.abs(multipliers))
        lower = found.lower - jnp.sum(multipliers)
        lower = lower - rounding.multipliers(size, sizes, diagonal)
    return dual, Dual(found.value, found.value_rounding, lower, jnp.zeros(()))


form_dual = Kernel(dual_matrix)


def bound_factored(
    loss: GramLoss, prepared: Any, embeddings: Array, enough: float = math.inf
) -> Dual:
    """Value and lower bound of one cell, from a factorisation in place; the value alone where it is
    above `enough`, and something else the better bound."""
    dual, found = form_dual(loss, prepared, embeddings)
    if found.value - found.value_rounding > enough:
        nothing = jnp.asarray(-jnp.inf)
        return found._replace(lower=nothing, eigenvalue=nothing)
    matrix = np.array(dual)
    dual.delete()
    free = float(found.free(len(matrix)))
    return found.factored(factored_in_place(matrix, free), len(matrix))


def _evaluation(dual: BlockDual, size: int, dim: int) -> rounding.Scalar:
    """The error of its value, but for that of products with W."""
    logs = jnp.sum(dual.anchors * jnp.abs(dual.totals))
    return rounding.blockwise_value(size, dim, jnp.sum(dual.anchors), logs, dual.temperature)


def has_tiles(loss: GramLoss) -> TypeGuard[ClassContrast]:
    """Whether the value of a loss is known, with its rounding, without an N × N matrix."""
    return has_class_form(loss) and not loss.decoupled


def value_alone(loss: ClassContrast, structure: ClassStructure, embeddings: Array) -> Dual:
    """The value of one cell, in memory of order N·d, for which something else is a lower bound."""
    size, dim = embeddings.shape
    dual = blockwise_value(loss, embeddings, structure)
    pairs = rounding.blockwise_pairs(size, dim, jnp.sum(dual.anchors), dual.temperature)
    nothing = jnp.asarray(-jnp.inf)
    return Dual(dual.value, _evaluation(dual, size, dim) + pairs, nothing, nothing)


def bound_by_products(
    loss: SupCL, structure: ClassStructure, embeddings: Array, key: PRNGKeyArray
) -> Dual:
    """Value and lower bound of one cell, from products with a dual matrix that is never formed."""
    size, dim = embeddings.shape
    dual = blockwise_dual(loss, embeddings, structure)
    tau, omega = dual.temperature, jnp.sum(dual.anchors)
    evaluation = _evaluation(dual, size, dim)
    relative = rounding.blockwise_slope(size, dim, tau)
    # ⟨∇L, G⟩ + Σλ is zero but for the errors of both, relative to terms that add up to 2Ω/τ.
    lower = dual.value - evaluation - 4 * relative * omega / tau
    found = Dual(dual.value, evaluation, lower, jnp.zeros(()))
    norm = float(dual.norm * (1 + 2 * relative))
    goal = LANCZOS_GOAL / size
    bound = lanczos_bound(dual.product, size, norm, float(norm * relative), goal, key)
    return found.bounded(bound.lower, size * min(0.0, bound.lower))


@Kernel
def _first_bounds(
    losses: GramLoss, prepared: Any, embeddings: Array, count: Array
) -> tuple[Array, Dual, Dual]:
    """Dual matrices, their bounds so far, and what the residual of a factor makes of these with the
    least shift."""

    def one(loss: GramLoss, points: Array) -> tuple[Array, Dual, Dual]:
        dual, found = dual_matrix(loss, prepared, points)
        size = len(dual)
        proven = attempt(dual, least_shift(dual, found.free(size)))
        return dual, found, found.factored(proven, size)

    return map_first(count, one, losses, embeddings)


@Kernel
def _further_bounds(known: tuple[Array, Dual], bounds: Dual, places: Array) -> tuple[Dual, Array]:
    """The bounds of the matrices at `places` with further shifts; none goes on."""

    def further(dual: Array, found: Dual) -> Dual:
        size = len(dual)
        proven = search_shift(dual, least_shift(dual, found.free(size)))
        return found.factored(proven, size)

    asked = jnp.sum(places < len(known[0]))
    some = map_first(asked, further, *at_places(known, places))
    return put_back(bounds, places, some), jnp.zeros(len(places), bool)


def bound_chunk(losses: GramLoss, prepared: Any, embeddings: AnyArray, count: Array | int) -> Dual:
    """Value and lower bound of the first `count` cells of a chunk.

    Only where the least shift fails is another looked for, in a kernel that few shapes need.
    """
    duals, found, bounds = _first_bounds(losses, prepared, embeddings, count)
    failed = np.flatnonzero(~np.isfinite(bounds.lower)[: int(count)])
    return while_going(_further_bounds, (duals, found), bounds, failed)


def gather(chunks: Any, size: int) -> Any:
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
