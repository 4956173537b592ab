r"""Whether a loss is what it declares: numeric checks of convexity and symmetry.

A certificate rests on the convexity of the loss in the Gram matrix, brackets rest on its symmetry
besides. Both are declared by whoever writes a loss, and a false declaration would certify what is
not so. Hence :func:`admit` looks for a counterexample before anything is certified, and refuses the
loss with it.

* **Convexity** is tested on segments between Gram matrices of unit vectors: of random embeddings
  of every rank, of clustered and nearly coinciding ones, block-structured ones and random
  correlation matrices; of embeddings that differ in one row, so that a few bad pairs are not
  drowned by many good ones; and along the directions of least curvature, found by Lanczos'
  method. On each segment every three equidistant points of 17 are compared.
* **Symmetry** is tested by permutations of classes of equal size, of instances and of views.

A loss that passes has not been proven convex. One that fails is proven not to be, up to rounding.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ssem_jax.gram import GramLoss
from ssem_jax.problem import (
    ClassStructure,
    as_key,
    check_count,
    check_loss,
    check_structure,
    require_x64,
)

UNIT_ROUNDING = float(np.finfo(np.float64).eps) / 2

POINTS = 17
"""Points of a segment: every three equidistant ones are compared, over a sixteenth of it to all."""
STEEPEST_STEPS = 24
"""Steps of Lanczos' method: an isolated negative curvature shows after a dozen."""
STEEPEST_POINTS = 4
"""Gram matrices at which directions of least curvature are sought."""
SAMPLE_CELLS = 8
"""Cells of a batch that are checked: the ends of every hyper-parameter, and some between."""
SAMPLE_PAIRS = 64
"""Segments on which a loss is checked before it is certified."""
SAMPLE_FLOATS = 2**24
"""Numbers in all Gram matrices of such a check: fewer segments are taken for many embeddings."""
PERMUTATIONS = 12
"""Permutations under which it is checked: four of each kind."""


class ConvexityViolation(NamedTuple):
    """Two Gram matrices between which a loss is above its chord.

    Attributes:
        first: (N, N), G₁ of unit vectors.
        second: (N, N), G₂ of unit vectors.
        t: weight of the second in G = (1-t) G₁ + t G₂.
        values: (3,) L(G₁), L(G), L(G₂).
        amount: L(G) - (1-t) L(G₁) - t L(G₂), above the margin for rounding; ∞ where L is no number.
        loss: the cell that was checked.
    """

    first: Float[np.ndarray, "N N"]
    second: Float[np.ndarray, "N N"]
    t: float
    values: Float[np.ndarray, "3"]
    amount: float
    loss: GramLoss

    def __str__(self) -> str:
        before, between, after = self.values
        return (
            f"L = {before:.6g} and {after:.6g} at two Gram matrices, but {between:.6g} at "
            f"t = {self.t:g} between them, {self.amount:.2g} above the chord"
        )


class SymmetryViolation(NamedTuple):
    """A Gram matrix and a permutation that changes the loss.

    Attributes:
        gram: (N, N), G.
        kind: what is permuted: "classes", "instances" or "views".
        permutation: (N,) order of the rows.
        values: (2,) L(G) and L of the permuted G.
        loss: the cell that was checked.
    """

    gram: Float[np.ndarray, "N N"]
    kind: str
    permutation: Int[np.ndarray, " N"]
    values: Float[np.ndarray, "2"]
    loss: GramLoss

    def __str__(self) -> str:
        before, after = self.values
        return (
            f"a permutation of {self.kind} takes L from {before:.10g} to {after:.10g}: rows in the "
            f"order {self.permutation.tolist()}"
        )


class FalseDeclarationError(ValueError):
    """A loss is not what it declares.

    Attributes:
        violation: the counterexample.
    """

    def __init__(self, message: str, violation: ConvexityViolation | SymmetryViolation) -> None:
        super().__init__(message)
        self.violation = violation


# ------------------------------------------------------------------- Gram matrices of unit vectors


def _gram(rows: np.ndarray) -> np.ndarray:
    """U Uᵀ of normalised rows, with a unit diagonal."""
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    gram = rows @ rows.T
    np.fill_diagonal(gram, 1.0)
    return gram


def _simplex_gram(ids: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Gram matrix in which the members of every group stand on a simplex of their own, and those
    of different groups are orthogonal; a lone member stays by itself."""
    same_group, same = groups[:, None] == groups, ids[:, None] == ids
    members = np.array([len(np.unique(ids[groups == group])) for group in groups])
    away = -1 / np.maximum(members - 1, 1)
    return np.where(same, 1.0, np.where(same_group, away[:, None], 0.0))


def _block_gram(rng: np.random.Generator, structure: ClassStructure) -> np.ndarray:
    """Gram matrix of random variance shares: mean, classes, instances, views."""
    rows = np.arange(structure.num_embeddings)
    levels = (0 * rows, structure.class_ids, structure.instance_ids, rows)
    shares = rng.dirichlet(np.full(4, 0.5))
    gram = shares[0] * np.ones((len(rows), len(rows)))
    for share, groups, ids in zip(shares[1:], levels, levels[1:], strict=False):
        gram += share * _simplex_gram(ids, groups)
    np.fill_diagonal(gram, 1.0)
    return gram


def _rows(rng: np.random.Generator, structure: ClassStructure) -> np.ndarray:
    """Embeddings of a random kind."""
    size = structure.num_embeddings
    kind = rng.integers(4)
    noise = rng.normal(size=(size, size))
    if kind == 0:  # any rank, small ones often
        return noise[:, : max(1, int(size ** rng.uniform()))]
    if kind == 1:  # clustered by class and instance, tightly or loosely
        tight = 10.0 ** rng.uniform(-3, 0, size=2)
        classes, instances = rng.normal(size=(2, size, size))
        return classes[structure.class_ids] + tight[0] * (
            instances[structure.instance_ids] + tight[1] * noise
        )
    if kind == 2:  # about one point
        return rng.normal(size=size) + 10.0 ** rng.uniform(-3, 0.5) * noise
    return noise * np.geomspace(1, 10.0 ** rng.uniform(-3, 0), size)  # a random correlation matrix


def _random_gram(rng: np.random.Generator, structure: ClassStructure) -> np.ndarray:
    return _block_gram(rng, structure) if rng.uniform() < 0.25 else _gram(_rows(rng, structure))


def _random_pair(
    rng: np.random.Generator, structure: ClassStructure
) -> tuple[np.ndarray, np.ndarray]:
    """Two Gram matrices of unit vectors: independent, or of embeddings that differ in one row."""
    if rng.uniform() < 0.6:
        return _random_gram(rng, structure), _random_gram(rng, structure)
    rows = _rows(rng, structure)
    moved = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    place = rng.integers(len(rows))
    towards = rng.normal(size=moved.shape[1])
    moved[place] = towards if rng.uniform() < 0.5 else -moved[place] + 0.1 * towards
    return _gram(rows), _gram(moved)


def _generator(key: PRNGKeyArray) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jax.random.key_data(as_key(key))).ravel())


# ---------------------------------------------------------------------------------------- convexity


class _Form(NamedTuple):
    """One cell of a loss with what it prepared."""

    loss: GramLoss
    prepared: Any


def _margin(form: _Form, gram: Array, values: Array) -> Array:
    """Rounding of two evaluations, each of N terms or so, and of the Gram matrices' entries."""
    slope = form.loss.sensitivity(gram, form.prepared)
    magnitude = form.loss.magnitude(jnp.max(jnp.abs(values)), slope)
    # Where a derivative is no number (at coinciding embeddings, say) the values must do.
    size = jnp.where(jnp.isfinite(slope), magnitude + slope, 1 + jnp.max(jnp.abs(values)))
    return (8 * len(gram) + 64) * UNIT_ROUNDING * size


@jax.jit
def _along(form: _Form, first: Array, second: Array) -> tuple[Array, Array]:
    """(P, 17) values on segments, and (P,) margins."""

    def segment(pair: tuple[Array, Array]) -> tuple[Array, Array]:
        one, other = pair

        def value(t: Array) -> Array:
            return form.loss.value((1 - t) * one + t * other, form.prepared)

        values = jax.lax.map(value, jnp.linspace(0, 1, POINTS))
        return values, jnp.maximum(_margin(form, one, values), _margin(form, other, values))

    return jax.lax.map(segment, (first, second))


@jax.jit
def _least_curvature(form: _Form, grams: Array, starts: Array) -> Array:
    """(P, N, N) directions of zero diagonal in which the Hessian is least, nearly."""

    def direction(pair: tuple[Array, Array]) -> Array:
        gram, start = pair

        def clean(matrix: Array) -> Array:
            matrix = 0.5 * (matrix + matrix.T)
            return jnp.fill_diagonal(matrix, 0.0, inplace=False)

        def hessian(matrix: Array) -> Array:
            slope = jax.grad(lambda gram: form.loss.value(gram, form.prepared))
            return clean(jax.jvp(slope, (gram,), (matrix,))[1])

        first = clean(start)
        basis = jnp.zeros((STEEPEST_STEPS, *gram.shape))
        basis = basis.at[0].set(first / jnp.linalg.norm(first))

        def body(step: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            basis, images = carry
            image = hessian(basis[step])
            images = images.at[step].set(image)
            # Orthogonalised twice against all before: rounding would bring them back.
            for _ in range(2):
                image = image - jnp.tensordot(jnp.tensordot(basis, image, 2), basis, 1)
            length = jnp.linalg.norm(image)
            following = jnp.where(length > 0, image / jnp.where(length > 0, length, 1), 0)
            return basis.at[step + 1].set(following, mode="drop"), images

        basis, images = jax.lax.fori_loop(0, STEEPEST_STEPS, body, (basis, jnp.zeros_like(basis)))
        small = jnp.tensordot(basis, images, axes=((1, 2), (1, 2)))
        _, vectors = jnp.linalg.eigh(0.5 * (small + small.T))
        return jnp.tensordot(vectors[:, 0], basis, 1)

    return jax.lax.map(direction, (grams, starts))


def _steepest_pairs(
    form: _Form, rng: np.random.Generator, structure: ClassStructure
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs about interior Gram matrices along their directions of least curvature."""
    size = structure.num_embeddings
    mixed = [rng.uniform(0.1, 0.9) for _ in range(STEEPEST_POINTS)]
    grams = np.stack([t * _random_gram(rng, structure) + (1 - t) * np.eye(size) for t in mixed])
    starts = rng.normal(size=grams.shape)
    directions = np.asarray(_least_curvature(form, jnp.asarray(grams), jnp.asarray(starts)))
    reach = np.linalg.eigvalsh(grams)[:, 0]
    largest = np.abs(np.linalg.eigvalsh(np.nan_to_num(directions))).max(axis=1)
    steps = (reach / np.maximum(largest, np.finfo(float).tiny))[:, None, None] * directions
    return grams - 0.99 * steps, grams + 0.99 * steps


def _worst(
    form: _Form, cell: GramLoss, first: np.ndarray, second: np.ndarray
) -> ConvexityViolation | None:
    """The three points that violate convexity most clearly, measured by their margin."""
    values, margins = map(np.asarray, _along(form, jnp.asarray(first), jnp.asarray(second)))
    if np.isnan(values).any():
        pair, place = np.argwhere(np.isnan(values))[0]
        ends = first[pair], second[pair]
        found = values[pair, [0, place, -1]]
        return ConvexityViolation(*ends, place / (POINTS - 1), found, np.inf, cell)
    best: tuple[float, ConvexityViolation | None] = (0.0, None)
    for reach in range(1, POINTS // 2 + 1):
        ends = values[:, : -2 * reach], values[:, 2 * reach :]
        middle = values[:, reach:-reach]
        amounts = middle - 0.5 * (ends[0] + ends[1]) - margins[:, None]
        amounts = np.where(np.isnan(amounts), 0, amounts)  # ∞ - ∞ shows nothing
        pair, place = np.unravel_index(np.argmax(amounts / margins[:, None]), amounts.shape)
        score = amounts[pair, place] / margins[pair]
        if score > best[0]:
            points = [place / (POINTS - 1), (place + 2 * reach) / (POINTS - 1)]
            one, other = ((1 - t) * first[pair] + t * second[pair] for t in points)
            found = values[pair, [place, place + reach, place + 2 * reach]]
            amount = float(amounts[pair, place])
            best = score, ConvexityViolation(one, other, 0.5, found, amount, cell)
    return best[1]


def check_convex(
    loss: GramLoss, structure: ClassStructure, key: PRNGKeyArray, num_pairs: int = 256
) -> ConvexityViolation | None:
    """Look for two Gram matrices between which a loss is above its chord.

    Args:
        loss: one cell, or a batch of which every cell is checked.
        structure: the class structure.
        key: of the random Gram matrices.
        num_pairs: random segments for each cell. This module's docstring says which.

    Returns:
        The clearest violation, or None if there is none beyond rounding.

    Raises:
        ValueError: 64-bit mode is off, num_pairs < 1, or the structure does not admit the loss.
    """
    require_x64()
    num_pairs = check_count("num_pairs", num_pairs, 1)
    check_loss(loss)
    check_structure(structure)
    loss.check(structure)
    rng = _generator(key)
    pairs = [_random_pair(rng, structure) for _ in range(num_pairs)]
    first, second = (np.stack(side) for side in zip(*pairs, strict=True))
    for form, cell in _forms(loss, structure):
        found = _worst(form, cell, first, second)
        if found is None and STEEPEST_STEPS * first[0].size <= SAMPLE_FLOATS:
            found = _worst(form, cell, *_steepest_pairs(form, rng, structure))
        if found is not None:
            return found
    return None


def _forms(loss: GramLoss, structure: ClassStructure) -> list[tuple[_Form, GramLoss]]:
    """Every cell of a loss, in the form that is compiled once for all and as it was given."""
    leaves = jax.tree.leaves(loss)
    size = max((np.size(leaf) for leaf in leaves), default=1)

    def cell(of: GramLoss, index: int) -> GramLoss:
        return jax.tree.map(
            lambda leaf: np.broadcast_to(np.asarray(leaf, float), (size,))[index], of
        )

    plain, prepared = loss.unconventional(), loss.prepare(structure)
    return [(_Form(cell(plain, i), prepared), cell(loss, i)) for i in range(size)]


# ----------------------------------------------------------------------------------------- symmetry


def _permutation(rng: np.random.Generator, structure: ClassStructure, kind: str) -> np.ndarray:
    """A random order of rows that permutes classes of equal size, instances, or views."""
    p = structure.num_views
    instances = np.arange(structure.num_embeddings).reshape(-1, p)
    if kind == "views":
        return rng.permuted(instances, axis=1).ravel()
    classes = np.split(instances, np.cumsum(structure.sizes)[:-1])
    if kind == "instances":
        return np.concatenate([rng.permutation(members) for members in classes]).ravel()
    sizes = np.asarray(structure.sizes)
    order = np.arange(len(sizes))
    for size in np.unique(sizes):
        order[sizes == size] = rng.permutation(order[sizes == size])
    return np.concatenate([classes[place] for place in order]).ravel()


@jax.jit
def _values(form: _Form, grams: Array) -> tuple[Array, Array]:
    def one(gram: Array) -> tuple[Array, Array]:
        value = form.loss.value(gram, form.prepared)
        return value, _margin(form, gram, value)

    return jax.lax.map(one, grams)


def check_symmetric(
    loss: GramLoss, structure: ClassStructure, key: PRNGKeyArray, num_permutations: int = 48
) -> SymmetryViolation | None:
    """Look for a permutation that changes a loss, of those that `symmetric` says do not.

    Args:
        loss: one cell, or a batch of which every cell is checked.
        structure: the class structure.
        key: of the random Gram matrices and permutations.
        num_permutations: of views, of instances and (unless `like_classes` is False) of classes.

    Returns:
        A violation, or None if there is none beyond rounding.

    Raises:
        ValueError: 64-bit mode is off, num_permutations < 1, or the structure does not admit the
            loss.
    """
    require_x64()
    num_permutations = check_count("num_permutations", num_permutations, 1)
    check_loss(loss)
    check_structure(structure)
    loss.check(structure)
    rng = _generator(key)
    names = ("views", "instances", "classes") if loss.like_classes else ("views", "instances")
    kinds = [names[place % len(names)] for place in range(num_permutations)]
    grams = [_random_gram(rng, structure) for _ in kinds]
    orders = [_permutation(rng, structure, kind) for kind in kinds]
    moved = [gram[order][:, order] for gram, order in zip(grams, orders, strict=True)]
    for form, cell in _forms(loss, structure):
        before, margins = map(np.asarray, _values(form, jnp.asarray(np.stack(grams))))
        after, _ = map(np.asarray, _values(form, jnp.asarray(np.stack(moved))))
        excess = np.abs(after - before) / margins
        worst = int(np.argmax(excess))
        if excess[worst] > 1:
            values = np.array([before[worst], after[worst]])
            return SymmetryViolation(grams[worst], kinds[worst], orders[worst], values, cell)
    return None


# ---------------------------------------------------------------------------------------- admission

_ADMITTED: set[Any] = set()


def admit(loss: GramLoss, structure: ClassStructure) -> None:
    """Refuse a loss that is not what it declares; called before anything is certified.

    A loss whose declarations are `proven` passes. Of any other up to `SAMPLE_CELLS` cells are
    checked, once for each class of loss, structure and sample.

    Args:
        loss: one cell or a batch.
        structure: the class structure.

    Raises:
        FalseDeclarationError: a ValueError that carries the counterexample.
    """
    if loss.proven or not loss.convex:
        return
    sample = _sample(loss)
    numbers = tuple(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(sample))
    name = (type(loss), jax.tree.structure(loss), structure, numbers)
    if name in _ADMITTED:
        return
    key = jax.random.key(0)
    most = SAMPLE_FLOATS // structure.num_embeddings**2
    violation = check_convex(sample, structure, key, int(np.clip(most, 4, SAMPLE_PAIRS)))
    declared = "convex in the Gram matrix"
    if violation is None and loss.symmetric:
        violation = check_symmetric(sample, structure, key, PERMUTATIONS)
        declared = "symmetric"
    if violation is not None:
        raise FalseDeclarationError(
            f"{type(loss).__name__} is declared {declared}, but on {structure} {violation}. "
            f"Declare it as {'convex' if declared != 'symmetric' else 'symmetric'}=False.",
            violation,
        )
    _ADMITTED.add(name)


def _sample(loss: GramLoss) -> GramLoss:
    """Some cells of a batch: those at the ends of every hyper-parameter, and some between."""
    leaves = [np.asarray(leaf, float) for leaf in jax.tree.leaves(loss)]
    size = max((leaf.size for leaf in leaves), default=1)
    ends = [place for leaf in leaves if leaf.ndim for place in (leaf.argmin(), leaf.argmax())]
    spaced = np.linspace(0, size - 1, SAMPLE_CELLS).astype(int)
    cells = np.array(list(dict.fromkeys([*map(int, ends), *spaced.tolist()]))[:SAMPLE_CELLS])
    return jax.tree.map(
        lambda leaf: np.asarray(leaf, float)[cells] if np.ndim(leaf) else np.asarray(leaf, float),
        loss,
    )
