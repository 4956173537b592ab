r"""Colours of pairs and the algebra that they span, in exact integers.

N points; every ordered pair (i, j) has a colour c, with the matrix A_c of zeros and ones. The
colouring is **coherent** where the diagonal has colours of its own, a transpose of a colour is a
colour, and

.. math:: A_a A_b = \sum_c p_{ab}^c A_c,

that is, the number of k with (i, k) of colour a and (k, j) of colour b depends on the colour of
(i, j) alone. All that is ever needed of it are the integers |R_c| (pairs of a colour) and
:math:`p_{ab}^c`; of a million points they are as few as of ten. Points whose pairs (i, i) have one
colour are a **fibre**, and every colour leads from one fibre to another.

**Built, not searched for.** Four operations make the algebras of classes, sizes, views, towers and
prototypes: a :func:`point`; :func:`copies` of a structure, any two of which are related alike;
structures :func:`beside` each other, of different kinds; and the :func:`product`, in which every
point of one is paired with every point of the other. :mod:`.colours` finds that of a list of
batches or of weights.

**The regular representation.** A_a acts on the algebra itself by multiplication. In the orthonormal
basis :math:`A_d / \sqrt{|R_d|}` it is the matrix

.. math:: T(A_a)_{cd} = p_{ad}^c \sqrt{|R_c| / |R_d|},

of which T(A_aᵀ) is the transpose. T is faithful, so X = Σ x_a A_a has the spectrum of T(X), but for
multiplicities: an N × N question is one of r × r. As products keep the fibre that a colour leads
to, T(X) splits into one matrix for every such fibre.

References:
    Higman (Geometriae Dedicata 4, 1975) for coherent configurations; de Klerk (EJOR 201, 2010) for
    their use in semidefinite programs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ssem_jax.losses.terms import SELF, Kind
from ssem_jax.problem.validation import check_count

MOST_POINTS = 2_000_000
"""N at most: products |R_c| p ≤ N³ then stay exact in 64 bits."""
Triples = Int[np.ndarray, "K 4"]
"""Rows (a, b, c, p): A_a A_b has p times A_c; those that are not listed are 0."""


@dataclasses.dataclass(frozen=True, eq=False)
class Algebra:
    """A coherent configuration, by its integers.

    Attributes:
        names: of the r colours.
        points: (F,) points of every fibre.
        fibres: their names.
        sizes: (r,) |R_c|, the pairs of every colour.
        transpose: (r,) the colour of (j, i), where (i, j) has this one.
        source: (r,) the fibre of the first point of a pair.
        target: (r,) the fibre of the second one.
        triples: the structure constants.
    """

    names: tuple[Kind, ...]
    points: Int[np.ndarray, " F"]
    fibres: tuple[str, ...]
    sizes: Int[np.ndarray, " r"]
    transpose: Int[np.ndarray, " r"]
    source: Int[np.ndarray, " r"]
    target: Int[np.ndarray, " r"]
    triples: Triples

    def __post_init__(self) -> None:
        if self.num_points > MOST_POINTS:
            raise ValueError(
                f"pairs of at most {MOST_POINTS} points are counted exactly; got {self.num_points}."
            )

    @property
    def num_points(self) -> int:
        """N."""
        return int(self.points.sum())

    @property
    def num_colours(self) -> int:
        """r."""
        return len(self.sizes)

    @cached_property
    def valency(self) -> Int[np.ndarray, " r"]:
        """(r,) how many j there are with (i, j) of a colour, for every i of its source."""
        return self.sizes // self.points[self.source]

    @cached_property
    def diagonal(self) -> Int[np.ndarray, " F"]:
        """(F,) the colour of the pairs (i, i) of every fibre."""
        own = [c for c, name in enumerate(self.names) if name.relation == SELF]
        return np.array(sorted(own, key=lambda c: self.source[c]))

    @cached_property
    def orbits(self) -> list[tuple[int, int]]:
        """The off-diagonal colours, each with its transpose: one entry of G each."""
        pairs = {(min(c, t), max(c, t)) for c, t in enumerate(self.transpose.tolist())}
        return sorted(pairs - {(c, c) for c in self.diagonal.tolist()})

    @cached_property
    def orbit_of(self) -> Int[np.ndarray, " r"]:
        """(r,) the orbit of every colour; -1 on the diagonal."""
        found = np.full(self.num_colours, -1)
        for number, pair in enumerate(self.orbits):
            found[list(pair)] = number
        return found

    @cached_property
    def orbit_sizes(self) -> Int[np.ndarray, " O"]:
        """(O,) ordered pairs (i, j) of every orbit."""
        return np.array([sum(self.sizes[c] for c in {*pair}) for pair in self.orbits], np.int64)

    def colour(self, name: Kind | tuple[str, str, str]) -> int:
        """The colour of a name.

        Raises:
            ValueError: there is none.
        """
        try:
            return self._places[Kind(*name)]
        except KeyError:
            known = ", ".join(map(str, self.names[:12]))
            raise ValueError(
                f"there is no pair of the kind {Kind(*name)}; the kinds are {known}"
                f"{', …' if len(self.names) > 12 else ''}."
            ) from None

    @cached_property
    def _places(self) -> dict[Kind, int]:
        return {name: place for place, name in enumerate(self.names)}

    # ------------------------------------------------------------------ the regular representation

    @cached_property
    def pieces(self) -> list[Piece]:
        """The regular representation, one piece for each fibre that colours lead to."""
        left, right, result, count = self.triples.T
        found = []
        for fibre in range(len(self.points)):
            colours = np.flatnonzero(self.target == fibre)
            place = np.full(self.num_colours, -1)
            place[colours] = np.arange(len(colours))
            here = self.target[right] == fibre
            of_right, of_result = place[right[here]], place[result[here]]
            ratio = np.sqrt(self.sizes[result[here]] / self.sizes[right[here]])
            found.append(
                Piece(len(colours), left[here], of_result, of_right, count[here] * ratio, colours)
            )
        return found

    def coefficients(
        self, diagonal: Float[np.ndarray, " F"], entries: Float[np.ndarray, " O"]
    ) -> Float[np.ndarray, " r"]:
        """(r,) coefficients of the symmetric matrix with these entries."""
        padded = np.append(entries, 0.0)[self.orbit_of]
        padded[self.diagonal] = diagonal
        return padded


class Piece(NamedTuple):
    """T of the colours that lead to one fibre, by its nonzero entries.

    Attributes:
        size: rows, as many as colours.
        colour: (K,) a, whose matrix has the entry.
        row: (K,) c.
        column: (K,) d.
        value: (K,) the entry; right to three roundings.
        colours: (size,) the colours that are its rows.
    """

    size: int
    colour: Int[np.ndarray, " K"]
    row: Int[np.ndarray, " K"]
    column: Int[np.ndarray, " K"]
    value: Float[np.ndarray, " K"]
    colours: Int[np.ndarray, " size"]

    def matrix(self, coefficients: Float[np.ndarray, " r"]) -> Float[np.ndarray, "size size"]:
        """T(Σ x_a A_a), symmetric where the sum is."""
        flat = np.bincount(
            self.row * self.size + self.column,
            coefficients[self.colour] * self.value,
            self.size**2,
        )
        return flat.reshape(self.size, self.size)

    def images(
        self, vector: Float[np.ndarray, " size"], num_colours: int
    ) -> Float[np.ndarray, "r size"]:
        """T(A_a) v for all a."""
        flat = np.bincount(
            self.colour * self.size + self.row,
            self.value * vector[self.column],
            num_colours * self.size,
        )
        return flat.reshape(num_colours, self.size)


# -------------------------------------------------------------------------------- four operations


def point(fibre: str = "") -> Algebra:
    """One point."""
    one, zero = np.ones(1, np.int64), np.zeros(1, np.int64)
    triples = np.array([[0, 0, 0, 1]])
    return Algebra((Kind(SELF, fibre, fibre),), one, (fibre,), one, zero, zero, zero, triples)


def _rows(rows: Iterable[tuple[int, int, int, int]]) -> Triples:
    """Triples, without those that count 0."""
    return np.array([row for row in rows if row[3]], np.int64).reshape(-1, 4)


def copies(one: Algebra, number: int, relation: str) -> Algebra:
    """Some copies of a structure, any two of which are related alike.

    Args:
        one: the structure.
        number: of copies.
        relation: the name of pairs in different copies.

    Raises:
        ValueError: no positive number.
    """
    number = check_count("the number of copies", number, 1)
    if number == 1:
        return one
    r, fibres = one.num_colours, range(len(one.points))
    count, across = one.points.tolist(), {}
    for f in fibres:
        for g in fibres:
            across[f, g] = r + len(across)
    names = [Kind(relation, one.fibres[f], one.fibres[g]) for f, g in across]
    sizes = [number * (number - 1) * count[f] * count[g] for f, g in across]
    rows = []
    for c in range(r):
        f, g = int(one.source[c]), int(one.target[c])
        into = int(one.valency[one.transpose[c]])
        for h in fibres:
            rows.append((c, across[g, h], across[f, h], int(one.valency[c])))
            rows.append((across[h, f], c, across[h, g], into))
            # Out of a copy and back into it.
            rows.append((across[f, h], across[h, g], c, (number - 1) * count[h]))
    for f, h in across:
        rows += [
            (across[f, h], across[h, g], across[f, g], (number - 2) * count[h]) for g in fibres
        ]
    return Algebra(
        (*one.names, *names),
        one.points * number,
        one.fibres,
        np.append(one.sizes * number, sizes),
        np.append(one.transpose, [across[g, f] for f, g in across]),
        np.append(one.source, [f for f, _ in across]),
        np.append(one.target, [g for _, g in across]),
        np.concatenate([one.triples, _rows(rows)]),
    )


def beside(first: Algebra, second: Algebra, relation: str) -> Algebra:
    """Two structures of different kinds, side by side.

    Args:
        first: one structure.
        second: another one; no fibre may have a name of the first's.
        relation: the name of pairs with a point in each.

    Raises:
        ValueError: both have a fibre of one name.
    """
    if common := set(first.fibres) & set(second.fibres):
        raise ValueError(
            f"structures side by side need fibres of different names; both have {min(common)!r}."
        )
    r, s = first.num_colours, second.num_colours
    shift = len(first.points)
    fibres = (*first.fibres, *second.fibres)
    points = np.append(first.points, second.points)
    count = points.tolist()
    sources = np.append(first.source, second.source + shift)
    targets = np.append(first.target, second.target + shift)
    transpose = np.append(first.transpose, second.transpose + r)
    valency = np.append(first.valency, second.valency)
    mine, theirs = range(shift), range(shift, len(count))
    across: dict[tuple[int, int], int] = {}
    for f in mine:
        for g in theirs:
            across[f, g], across[g, f] = r + s + len(across), r + s + len(across) + 1
    rows = []
    for c in range(r + s):
        f, g = int(sources[c]), int(targets[c])
        for h in theirs if f < shift else mine:
            rows.append((c, across[g, h], across[f, h], int(valency[c])))
            rows.append((across[h, f], c, across[h, g], int(valency[transpose[c]])))
            rows.append((across[f, h], across[h, g], c, count[h]))
    moved = second.triples + np.array([r, r, r, 0])
    return Algebra(
        (*first.names, *second.names, *(Kind(relation, fibres[f], fibres[g]) for f, g in across)),
        points,
        fibres,
        np.concatenate([first.sizes, second.sizes, [count[f] * count[g] for f, g in across]]),
        np.append(transpose, [across[g, f] for f, g in across]),
        np.append(sources, [f for f, _ in across]),
        np.append(targets, [g for _, g in across]),
        np.concatenate([first.triples, moved, _rows(rows)]),
    )


def product(first: Algebra, second: Algebra) -> Algebra:
    """All pairs of a point of each; a relation is named by both, as "other·within"."""

    def grid(one: np.ndarray, other: np.ndarray, width: int) -> np.ndarray:
        return (one[:, None] * width + other[None, :]).ravel()

    s, width = second.num_colours, len(second.points)

    def named(one: str, other: str) -> str:
        return "·".join(part for part in (one, other) if part)

    def relation(one: str, other: str) -> str:
        return SELF if one == other == SELF else named(one, other)

    names = tuple(
        Kind(relation(a.relation, b.relation), named(a.source, b.source), named(a.target, b.target))
        for a in first.names
        for b in second.names
    )
    triples = [grid(first.triples[:, k], second.triples[:, k], s) for k in range(3)]
    count = np.outer(first.triples[:, 3], second.triples[:, 3]).ravel()
    return Algebra(
        names,
        np.outer(first.points, second.points).ravel(),
        tuple(named(f, g) for f in first.fibres for g in second.fibres),
        np.outer(first.sizes, second.sizes).ravel(),
        grid(first.transpose, second.transpose, s),
        grid(first.source, second.source, width),
        grid(first.target, second.target, width),
        np.stack([*triples, count], axis=1),
    )
