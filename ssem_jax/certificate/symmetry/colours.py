r"""The coarsest coherent colouring that a loss, written out term by term, admits.

Averaging G over the pairs of every colour raises no such loss if (a) the colouring is coherent, so
that averages of positive semidefinite matrices are positive semidefinite; and (b) the **coverage**

.. math:: \lambda_{t, \text{cell}}(i, j) = \sum_{T \in t} w_T \, [(i, j) \in \text{cell of } T]

is constant on colours, for every type t of terms and every cell, as are the symmetrised pulls.
Terms are of one type if their cells agree in colour, bias and number; so types depend on colours
and colours on types, and both are refined in turn:

1. pairs are split by 2-dimensional Weisfeiler-Leman refinement, until the colouring is coherent;
2. terms are sorted into types, and pairs split by every coverage; if any was, again from 1.

Coverages are compared as exact rational numbers and never merged by a tolerance: a colouring that
is too fine is safe, one that is too coarse proves nothing. Refinement compares sums of products of
random odd numbers modulo 2⁶⁴; as those may agree by chance, the colouring that comes out is
compared pair by pair, exactly, with its structure constants.

References:
    Weisfeiler and Leman (1968).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from ssem_jax.certificate.symmetry.algebra import Algebra
from ssem_jax.losses.listed import ListedLoss, ListedTerm
from ssem_jax.losses.terms import SELF, Kind, Slot, Term, Terms

LISTED_LIMIT = 300
"""Points of a loss that is written out: its colouring is compared in N³ steps, some seconds."""
Colours = Int[np.ndarray, "N N"]


class Closure(NamedTuple):
    """What a loss amounts to.

    Attributes:
        algebra: of the colours of pairs.
        terms: the loss in their names.
        colours: (N, N) of every pair.
    """

    algebra: Algebra
    terms: Terms
    colours: Colours


def close(loss: ListedLoss, seed: int = 0) -> Closure:
    """The coarsest colouring that a loss admits, and the loss in its colours.

    Args:
        loss: written out.
        seed: of the numbers that refinement compares.

    Raises:
        ValueError: more than `LISTED_LIMIT` points, or numbers that agreed by chance.
    """
    algebra, colours = common_closure([loss], seed=seed)
    return Closure(algebra, in_colours(loss, colours, algebra), colours)


def common_closure(
    losses: Sequence[ListedLoss], kinds: Colours | None = None, seed: int = 0
) -> tuple[Algebra, Colours]:
    """The coarsest colouring that some losses admit each, and so every mixture of them.

    Args:
        losses: written out, of the same points.
        kinds: (N, N) integers of pairs that are told apart anyway.
        seed: of the numbers that refinement compares.

    Raises:
        ValueError: more than `LISTED_LIMIT` points, or numbers that agreed by chance.
    """
    size = losses[0].size
    if size > LISTED_LIMIT:
        raise ValueError(
            f"colours are searched for up to {LISTED_LIMIT} embeddings; got {size}. Build the "
            "structure with certificate.symmetry instead."
        )
    rng = np.random.default_rng(seed)
    apart = np.eye(size, dtype=int)
    colours = _joined(apart, apart if kinds is None else kinds, *map(_pulled, losses))
    while True:
        split = colours = _refined(colours, rng)
        for loss in losses:
            split = _split_by_coverage(loss, split)
        if split.max() == colours.max():
            return algebra_of(colours), colours
        colours = split


# ---------------------------------------------------------------------------------------- splitting


def _ids(matrix: np.ndarray) -> np.ndarray:
    """One small integer for every distinct entry."""
    return np.unique(matrix, return_inverse=True)[1].reshape(matrix.shape)


def _joined(*matrices: np.ndarray) -> Colours:
    """One integer for every distinct tuple of entries."""
    found = np.zeros(matrices[0].shape, np.int64)
    for matrix in matrices:
        ids = _ids(matrix)
        found = _ids(found * (int(ids.max()) + 1) + ids)
    return found


def _exact(weights: list[Fraction]) -> tuple[int, type]:
    """A common denominator, and the type of number that holds all sums of numerators."""
    denominator = math.lcm(*(weight.denominator for weight in weights))
    total = sum(abs(weight) for weight in weights) * denominator
    return denominator, np.int64 if 2 * total < 2**62 else object


def _pulled(loss: ListedLoss) -> np.ndarray:
    """W + Wᵀ off the diagonal, up to a common factor, as integers."""
    denominator, kind = _exact(list(loss.pulls.values()) or [Fraction(0)])
    matrix = np.zeros((loss.size,) * 2, kind)
    for (i, j), weight in loss.pulls.items():
        if i != j:
            matrix[i, j] += int(weight * denominator)
            matrix[j, i] += int(weight * denominator)
    return matrix


def _refined(colours: Colours, rng: np.random.Generator) -> Colours:
    """Split by the colours of all paths of two steps, until nothing is."""
    while True:
        number = int(colours.max()) + 1
        first, second = (
            rng.integers(0, 2**63, number, dtype=np.uint64)[colours] | np.uint64(1)
            for _ in range(2)
        )
        finer = _joined(colours, colours.T, first @ second)
        if finer.max() + 1 == number:
            return colours
        colours = finer


Cell = tuple[int, float]
"""Colour and bias of entries of a term."""


def _cells(term: ListedTerm, colours: Colours) -> list[Cell]:
    return list(zip(colours[term.rows, term.columns].tolist(), term.biases.tolist(), strict=True))


def _split_by_coverage(loss: ListedLoss, colours: Colours) -> Colours:
    """Pairs split by the coverage of every cell of every type."""
    denominator, kind = _exact([term.weight for term in loss.terms] or [Fraction(0)])
    types: dict[tuple[Cell, ...], int] = {}
    covered: dict[tuple[int, Cell], np.ndarray] = {}
    for term in loss.terms:
        cells = _cells(term, colours)
        kind_of = types.setdefault(tuple(sorted(cells)), len(types))
        weight = int(term.weight * denominator)
        for i, j, cell in zip(term.rows, term.columns, cells, strict=True):
            if i != j:  # the diagonal is 1 whatever it is averaged over
                key = kind_of, cell
                if key not in covered:
                    covered[key] = np.zeros(colours.shape, kind)
                covered[key][i, j] += weight
    return _joined(colours, *covered.values())


# ----------------------------------------------------------------------------------------- counting


def algebra_of(colours: Colours) -> Algebra:
    """The algebra of a coherent colouring, all of whose pairs are compared with its constants.

    Args:
        colours: (N, N) integers from 0 to r-1.

    Raises:
        ValueError: it is not coherent.
    """
    number = int(colours.max()) + 1
    _, first = np.unique(colours, return_index=True)
    where = np.stack(np.unravel_index(first, colours.shape), axis=1)
    transpose = colours.T[where[:, 0], where[:, 1]]
    own, counts = np.unique(np.diag(colours), return_counts=True)
    fibre_of = {int(colour): fibre for fibre, colour in enumerate(own)}
    sizes = np.bincount(colours.ravel(), minlength=number)
    if not (
        np.array_equal(sizes[own], counts)
        and np.array_equal(transpose[colours], colours.T)
        and _same_paths(colours, where)
    ):
        raise ValueError(
            "the colouring is not coherent: pairs of one colour differ in the colours of paths of "
            "two steps between them. Use another seed."
        )
    at = np.diag(colours)
    source, target = (np.array([fibre_of[int(at[p])] for p in where[:, k]]) for k in range(2))
    triples = []
    for colour, (i, j) in enumerate(where):
        paths = Counter(zip(colours[i].tolist(), colours[:, j].tolist(), strict=True))
        triples += [(a, b, colour, count) for (a, b), count in paths.items()]
    fibres = tuple("" if len(own) == 1 else str(fibre) for fibre in range(len(own)))
    names = tuple(
        Kind(
            SELF if colour in fibre_of else str(colour),
            fibres[source[colour]],
            fibres[target[colour]],
        )
        for colour in range(number)
    )
    return Algebra(
        names,
        counts.astype(np.int64),
        fibres,
        sizes.astype(np.int64),
        transpose,
        source,
        target,
        np.array(triples, np.int64),
    )


def _same_paths(colours: Colours, where: Int[np.ndarray, "r 2"]) -> bool:
    """Whether all pairs of a colour have paths of two steps of the same colours, exactly."""
    number = len(where)
    expected = np.stack([np.sort(colours[i] * number + colours[:, j]) for i, j in where])
    return all(
        np.array_equal(np.sort(row[:, None] * number + colours, axis=0).T, expected[row])
        for row in colours
    )


def in_colours(loss: ListedLoss, colours: Colours, algebra: Algebra) -> Terms:
    """The loss of G that are constant on colours."""
    weights: dict[tuple[tuple[Cell, int], ...], Fraction] = {}
    for term in loss.terms:
        cells = tuple(sorted(Counter(_cells(term, colours)).items()))
        weights[cells] = weights.get(cells, Fraction(0)) + term.weight
    slope = 1 / loss.temperature
    terms = tuple(
        Term(
            float(weight),
            tuple(
                Slot(algebra.names[colour], bias + math.log(count), slope)
                for (colour, bias), count in cells
            ),
        )
        for cells, weight in weights.items()
    )
    pulls: dict[Kind, Fraction] = {}
    for (i, j), weight in loss.pulls.items():
        if i != j:
            kind = algebra.names[colours[i, j]]
            pulls[kind] = pulls.get(kind, Fraction(0)) + weight
    return Terms(terms, {kind: float(w) * slope for kind, w in pulls.items()}, loss.constant)
