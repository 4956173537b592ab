"""What the statements about other structures are judged by: reduced programs, solved and certified.

A cell is a program that symmetry leaves (:mod:`ssem_jax.certificate.symmetry`). Its optimum is
decided by brackets, which hold what is true of every embedding as good as the one found: pairs
coincide if their similarity is at least 1 - 1e-6 in all of them, and part if it is below in all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from ssem_jax.certificate import COLLAPSE_TOLERANCE, GAP_TOLERANCE
from ssem_jax.certificate.symmetry import Algebra, Level, Program, solve_program
from ssem_jax.claims import Proof
from ssem_jax.losses.terms import Kind, Terms

STEP = 5e-3
"""Distance of α from a threshold on both sides, where δ² is well over 1e-6 or exactly 0."""


class Cell(NamedTuple):
    """A program, and what is said of it.

    Attributes:
        where: its coordinates, for a counterexample.
        algebra: of its colours of pairs.
        terms: the loss.
        says: what brackets must show, by their ends for a kind of pairs: True, False, or None where
            they do not decide.
        lower: the least that entries may be.
    """

    where: dict[str, Any]
    algebra: Algebra
    terms: Terms
    says: Callable[[Callable[[Kind], tuple[float, float]]], bool | None]
    lower: float | None = None


def judged(cells: Iterable[Cell]) -> Proof:
    """Whether every cell shows what is said of it."""
    gaps: list[float] = []
    for cell in cells:
        program = Program(cell.algebra, cell.terms, cell.lower)
        solved = solve_program(program)
        gaps.append(solved.gap)
        level = Level(program, solved.value, solved)

        def ends(
            kind: Kind, program: Program = program, level: Level = level
        ) -> tuple[float, float]:
            return level.bracket(program.functional({kind: 1.0}))

        shown = cell.says(ends) if solved.gap <= GAP_TOLERANCE else None
        if not shown:
            found = {"refuted": cell.where} if shown is False else {"undecided": (cell.where,)}
            return Proof(False, cells=len(gaps), gaps=tuple(gaps), **found)
    left_out = f"a neighbourhood of the threshold of width {STEP:g} on each side"
    return Proof(True, left_out=left_out, cells=len(gaps), gaps=tuple(gaps))


def coincide(kind: Kind) -> Callable[[Callable[[Kind], tuple[float, float]]], bool | None]:
    """Pairs of a kind coincide."""

    def says(ends: Callable[[Kind], tuple[float, float]]) -> bool | None:
        low, high = ends(kind)
        if low >= 1 - COLLAPSE_TOLERANCE:
            return True
        return False if high < 1 - COLLAPSE_TOLERANCE else None

    return says


def differ(kind: Kind) -> Callable[[Callable[[Kind], tuple[float, float]]], bool | None]:
    """Pairs of a kind are apart."""
    together = coincide(kind)

    def says(ends: Callable[[Kind], tuple[float, float]]) -> bool | None:
        found = together(ends)
        return None if found is None else not found

    return says


def equals(
    kind: Kind, value: float, tolerance: float
) -> Callable[[Callable[[Kind], tuple[float, float]]], bool | None]:
    """The similarity of a kind is a number, to a tolerance."""

    def says(ends: Callable[[Kind], tuple[float, float]]) -> bool | None:
        low, high = ends(kind)
        if value - tolerance <= low and high <= value + tolerance:
            return True
        return False if high < value - tolerance or low > value + tolerance else None

    return says


def both_sides(
    threshold: float,
    made: Callable[[float], Terms],
    algebra: Algebra,
    kind: Kind,
    where: dict[str, Any],
    lower: float | None = None,
) -> Iterator[Cell]:
    """Pairs coincide below a threshold of α, and part above it."""
    for step, says in ((-STEP, coincide(kind)), (STEP, differ(kind))):
        alpha = threshold + step
        if 0 <= alpha <= 1:
            yield Cell({**where, "alpha": alpha}, algebra, made(alpha), says, lower)
