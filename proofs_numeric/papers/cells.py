"""What statements of several papers are judged by: reduced programs, and losses that are listed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from proofs_numeric import reduced
from proofs_numeric.reduced import Cell, Says, equals
from ssem_jax.certificate import GAP_TOLERANCE
from ssem_jax.certificate.symmetry import Algebra, Level, Program, close, solve_program
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.claims import Point, Proof
from ssem_jax.losses.kinds import relations
from ssem_jax.losses.listed import ListedLoss
from ssem_jax.losses.terms import BETWEEN, OTHER, SELF, WITHIN, Kind, Term, Terms, softmax_slots
from ssem_jax.problem import ClassStructure

MATCHED, UNMATCHED = Kind(f"{OTHER}·{SELF}"), Kind(f"{OTHER}·{BETWEEN}")
"""Of two towers: a point and its match, and two points of different pairs."""
OTHERS = Kind(f"{SELF}·{BETWEEN}")
"""Of two towers: two points of one of them."""
SIMILARITY = 1e-3
"""Accuracy of similarities that a statement names: the optimum is flat in some."""


def within(size: int) -> Kind:
    """Two instances of a class of some size."""
    return Kind(WITHIN, str(size), str(size))


def between(size: int, other: int) -> Kind:
    """Two instances of different classes of such sizes."""
    return Kind(BETWEEN, str(size), str(other))


def judged(cells: Iterable[Cell]) -> Proof:
    """Whether every cell shows what is said of it; no neighbourhood is left out."""
    return reduced.judged(cells, left_out="")


def open_question(why: str) -> Proof:
    """Nothing was judged."""
    return Proof(False, undecided=(why,))


def every(*says: Says) -> Says:
    """All of several sayings."""

    def said(ends: Any) -> bool | None:
        found = [each(ends) for each in says]
        return False if False in found else None if None in found else True

    return said


def no(saying: Says) -> Says:
    """The contrary."""

    def said(ends: Any) -> bool | None:
        found = saying(ends)
        return None if found is None else not found

    return said


def apart(one: Kind, other: Kind) -> Says:
    """Two kinds of pairs have different similarities."""

    def said(ends: Any) -> bool | None:
        (low, high), (least, most) = ends(one), ends(other)
        return True if high < least or most < low else None

    return said


def entries(algebra: Algebra, terms: Terms, lower: float | None = None) -> dict[Kind, float]:
    """The similarities of the optimum that is found."""
    program = Program(algebra, terms, lower)
    return program.entries(solve_program(program).x)


def minimum(algebra: Algebra, terms: Terms) -> float:
    """The least loss, to a certified gap of 1e-9 at most."""
    return solve_program(Program(algebra, terms)).value


def traced(
    x: float, algebra: Algebra, terms: Terms, shown: dict[str, Kind], lower: float | None = None
) -> Iterator[Point]:
    """Brackets of similarities at the optimum, by the name of their curve, for a picture."""
    program = Program(algebra, terms, lower)
    solved = solve_program(program)
    level = Level(program, solved.value, solved)
    for curve, kind in shown.items():
        yield Point(curve, x, *level.bracket(program.functional({kind: 1.0})))


def soft_targets(structure: ClassStructure, weight: dict[str, float], tau: float) -> Terms:
    """Cross-entropy with targets in proportion to weights of relations, against their pairs."""
    sizes, found = structure.sizes, Terms((), {})
    for n, count in counted(sizes):
        counts = {r: relations(structure, n)[r] for r in weight}
        total = sum(weight[r] * sum(counts[r].values()) for r in weight)
        share = n * count / sum(sizes)
        against = {k: c for r in weight if weight[r] for k, c in counts[r].items()}
        part = share / total / tau
        kinds = [(r, kind, c) for r in (WITHIN, BETWEEN) for kind, c in counts[r].items() if c]
        pulls = {kind: part * weight[r] * c for r, kind, c in kinds}
        found = found + Terms((Term(share, softmax_slots(against, tau)),), pulls)
    return found


def simplex_of_towers(number: int, tolerance: float = SIMILARITY) -> Says:
    """Matched pairs coincide, at the vertices of the simplex."""
    return every(equals(MATCHED, 1.0, tolerance), equals(UNMATCHED, -1 / (number - 1), tolerance))


def tower_cells(made: Any, numbers: Iterable[int], parameters: Iterable[float]) -> Iterator[Cell]:
    """Cells of two towers in which the simplex is said to be optimal."""
    for number in numbers:
        for value in parameters:
            where = {"n": number, "parameter": value}
            algebra = built.towers(built.points(number), swap=True)
            yield Cell(where, algebra, made(number, value), simplex_of_towers(number))


# ------------------------------------------------------------------------- losses of few points


class Candidate(NamedTuple):
    """A Gram matrix that is said to be optimal, or not.

    Attributes:
        where: coordinates, for a counterexample.
        loss: written out.
        gram: (N, N) of unit vectors.
        optimal: what is said.
        lower: the least that entries may be.
    """

    where: dict[str, Any]
    loss: ListedLoss
    gram: np.ndarray
    optimal: bool = True
    lower: float | None = None


def weighed(candidates: Iterable[Candidate]) -> Proof:
    """Whether each is optimal where that is said, and beaten where it is not."""
    gaps: list[float] = []
    for where, loss, gram, optimal, lower in candidates:
        found = close(loss)
        solved = solve_program(Program(found.algebra, found.terms, lower))
        gaps.append(solved.gap)
        above = loss.value(gram)
        is_best = above <= solved.lower + GAP_TOLERANCE
        # Where the gap is wide the method stopped early, at what may be out of bounds by as much.
        is_beaten = solved.gap <= GAP_TOLERANCE < above - solved.value
        if not (is_best if optimal else is_beaten):
            against = where if (is_beaten if optimal else is_best) else None
            undecided = () if against else (where,)
            return Proof(False, against, undecided=undecided, cells=len(gaps), gaps=tuple(gaps))
    return Proof(True, cells=len(gaps), gaps=tuple(gaps))


def simplex(number: int) -> np.ndarray:
    """The Gram matrix of the regular simplex."""
    return (number * np.eye(number) - 1) / (number - 1)


def of_classes(sizes: tuple[int, ...], classes: np.ndarray) -> np.ndarray:
    """The Gram matrix of collapsed classes, from that of their means."""
    ids = np.repeat(np.arange(len(sizes)), sizes)
    return classes[np.ix_(ids, ids)]


def counted(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    """(size, how many classes have it)."""
    return list(Counter(sizes).items())


def pairs(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    """The sizes of any two classes."""
    return [(n, k) for n, a in counted(sizes) for k, _ in counted(sizes) if n != k or a > 1]
