"""What the statements about other structures are judged by: reduced programs, solved and certified.

A cell is a program that symmetry leaves (:mod:`ssem_jax.certificate.symmetry`). Its optimum is
decided by brackets, which hold what is true of every embedding as good as the one found: pairs
coincide if their similarity is at least 1 - 1e-6 in all of them, and part if it is below in all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from ssem_jax import theory
from ssem_jax.certificate import COLLAPSE_TOLERANCE, GAP_TOLERANCE
from ssem_jax.certificate.symmetry import Algebra, Closure, Level, Program, close, solve_program
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.claims import Proof
from ssem_jax.losses import kinds, listed
from ssem_jax.losses.terms import BETWEEN, OTHER, SELF, WITHIN, Kind, Terms
from ssem_jax.problem import ClassStructure

STEP = 5e-3
"""Distance of α from a threshold on both sides, where δ² is well over 1e-6 or exactly 0."""
FANO = ((0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5))
"""The lines of the plane of order 2: 7 of the 35 triples of 7 points, every pair once."""
TEMPERATURES = (0.3, 0.8)
ENTRY = 1e-4
"""Accuracy of similarities at an optimum: brackets of cells whose gap is 1e-12 are 1e-5 wide."""
Says = Callable[[Callable[[Kind], tuple[float, float]]], bool | None]
"""What the ends of brackets, by kind of pairs, show of a statement: True, False, or None."""


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
    says: Says
    lower: float | None = None


LEFT_OUT = f"a neighbourhood of the threshold of width {STEP:g} on each side"


def judged(cells: Iterable[Cell], left_out: str = LEFT_OUT) -> Proof:
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
            refuted = cell.where if shown is False else None
            undecided = () if shown is False else (cell.where,)
            done = {"cells": len(gaps), "gaps": tuple(gaps)}
            return Proof(False, refuted, undecided=undecided, **done)
    return Proof(True, left_out=left_out, cells=len(gaps), gaps=tuple(gaps))


def coincide(kind: Kind) -> Says:
    """Pairs of a kind coincide."""

    def says(ends: Callable[[Kind], tuple[float, float]]) -> bool | None:
        low, high = ends(kind)
        if low >= 1 - COLLAPSE_TOLERANCE:
            return True
        return False if high < 1 - COLLAPSE_TOLERANCE else None

    return says


def differ(kind: Kind) -> Says:
    """Pairs of a kind are apart."""
    together = coincide(kind)

    def says(ends: Callable[[Kind], tuple[float, float]]) -> bool | None:
        found = together(ends)
        return None if found is None else not found

    return says


def equals(kind: Kind, value: float, tolerance: float) -> Says:
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


# --------------------------------------------------------------------- the cells of each statement


def _of(relation: str, size: int) -> Kind:
    return Kind(relation, str(size), str(size))


def stratified() -> Iterator[Cell]:
    for (m, n, p), batch, self_pairs in (
        ((4, 6, 1), (2, 3), "include"),
        ((10, 100, 1), (10, 5), "include"),
        ((5, 4, 2), (3, 2), "exclude"),
    ):
        structure = ClassStructure.balanced(m, n, p)
        for tau in TEMPERATURES:
            yield from both_sides(
                float(theory.stratified_alpha_c(m, n, p, batch, tau, self_pairs)),
                lambda alpha, s=structure, b=batch, t=tau, c=self_pairs: kinds.stratified_terms(
                    s, b, alpha, t, c
                ),
                built.classes(structure),
                _of(WITHIN, n),
                {"m": m, "n": n, "p": p, "batch": batch, "tau": tau, "self_pairs": self_pairs},
            )


def random_cells(mean: str) -> Iterator[Cell]:
    for (m, n, p), batch, self_pairs in (
        ((3, 4, 1), 5, "include"),
        ((50, 1000, 1), 64, "include"),
        ((4, 3, 2), 6, "exclude"),
    ):
        structure = ClassStructure.balanced(m, n, p)
        for tau in TEMPERATURES:
            threshold = theory.random_alpha_c(m, n, p, batch, tau, self_pairs, "anchors")
            if mean == "all":
                positive = 1 - float(kinds.companions(m * n - 1, n - 1, batch - 1)[0])
                threshold = theory.alpha_c_all(threshold, positive)
            yield from both_sides(
                threshold,
                lambda alpha, s=structure, b=batch, t=tau, c=self_pairs: kinds.random_batch_terms(
                    s, b, alpha, t, c, mean
                ),
                built.classes(structure),
                _of(WITHIN, n),
                {"m": m, "n": n, "p": p, "batch": batch, "tau": tau, "self_pairs": self_pairs},
            )


def nonnegative() -> Iterator[Cell]:
    for (m, n, p), self_pairs in (((3, 4, 1), "include"), ((4, 2, 2), "exclude")):
        structure = ClassStructure.balanced(m, n, p)
        algebra, within = built.classes(structure), _of(WITHIN, n)
        for tau in TEMPERATURES:
            where = {"m": m, "n": n, "p": p, "tau": tau, "self_pairs": self_pairs}

            def made(
                alpha: float,
                structure: ClassStructure = structure,
                tau: float = tau,
                self_pairs: str = self_pairs,
            ) -> Terms:
                return kinds.supcl_terms(structure, alpha, tau, self_pairs)

            threshold = float(theory.nonnegative_alpha_c(m, n, p, tau, self_pairs))
            yield from both_sides(threshold, made, algebra, within, where, 0.0)
            alpha = (1 + threshold) / 2
            value = float(theory.nonnegative_within(m, n, p, alpha, tau, self_pairs))
            says = equals(within, value, ENTRY)
            yield Cell({**where, "alpha": alpha}, algebra, made(alpha), says, 0.0)


def orthogonal() -> Iterator[Cell]:
    for sizes, mean, tau in itertools.product(((5, 3), (6, 2, 2)), ("pairs", "anchors"), (0.5,)):
        structure = ClassStructure(sizes)
        algebra = built.classes(structure)
        thresholds = theory.orthogonal_thresholds(structure, tau, mean=mean)

        def made(
            alpha: float, structure: ClassStructure = structure, tau: float = tau, mean: str = mean
        ) -> Terms:
            return kinds.supcl_terms(structure, alpha, tau, mean=mean)

        where = {"sizes": sizes, "mean": mean, "tau": tau}
        for size, threshold in dict(zip(sizes, thresholds.tolist(), strict=True)).items():
            kind = _of(WITHIN, size)
            yield from both_sides(threshold, made, algebra, kind, where, 0.0)
        across = Kind(BETWEEN, str(sizes[0]), str(sizes[1]))
        says = equals(across, 0.0, ENTRY)
        yield Cell({**where, "alpha": 0.4}, algebra, made(0.4), says, 0.0)


def window() -> Iterator[Cell]:
    for m, n, tau in ((3, 4, 1.5), (2, 2, 0.5), (3, 3, 2.5)):
        structure = ClassStructure.balanced(m, n)
        algebra = built.towers(built.classes(structure), swap=True)
        low, high = theory.cross_modal_window(m, n, tau)
        where = {"m": m, "n": n, "tau": tau}

        def made(alpha: float, structure: ClassStructure = structure, tau: float = tau) -> Terms:
            return kinds.cross_modal_terms(structure, alpha, tau)

        yield from both_sides(high, made, algebra, _of(f"{SELF}·{WITHIN}", n), where)
        matched = _of(f"{OTHER}·{SELF}", n)
        if low > 0:  # matched pairs part below it, and coincide above it
            for cell in both_sides(low, made, algebra, matched, where):
                below = cell.where["alpha"] < low
                yield cell._replace(says=differ(matched) if below else equals(matched, 1.0, ENTRY))


def spread() -> Iterator[Cell]:
    for m, n in ((3, 4), (5, 2), (10, 20)):
        structure = ClassStructure.balanced(m, n)
        for tau in TEMPERATURES:
            yield from both_sides(
                theory.spread_alpha_c(m, n, tau),
                lambda share, s=structure, t=tau: kinds.spread_terms(s, share, t),
                built.classes(structure),
                _of(WITHIN, n),
                {"m": m, "n": n, "tau": tau},
            )


def covered() -> Iterator[Cell]:
    """The plane, without one of its lines and with one twice; and mixed sizes."""
    families = (
        (7, FANO, None),
        (7, FANO, (2, 1, 1, 1, 1, 1, 1)),
        (4, ((0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (1, 3)), None),
        (4, ((0, 1, 2), (0, 3), (1, 3), (2, 3)), None),
        (6, ((0, 1, 2), (3, 4, 5), (0, 3), (1, 4), (2, 5)), None),
    )
    for (size, batches, weights), towers in itertools.product(families, (False, True)):
        tau = 0.4
        loss = listed.info_nce_batches(size, batches, tau, weights, towers=towers)
        of_batch = weights or (1,) * len(batches)
        per_anchor = [w / len(b) for w, b in zip(of_batch, batches, strict=True)]
        even = theory.coverage_imbalance(size, batches, tau, per_anchor) < 1e-12
        found, simplex = close(loss), -1 / (size - 1)

        def says(ends, found=found, even=even, simplex=simplex, towers=towers):
            values = [
                equals(found.algebra.names[colour], simplex, 1e-3)(ends)
                for colour, _ in found.algebra.orbits
                if not towers or not _matched(found, colour)
            ]
            decided = False if False in values else None if None in values else True
            return None if decided is None else decided == even

        yield Cell({"batches": batches, "towers": towers}, found.algebra, found.terms, says)


def _matched(found: Closure, colour: int) -> bool:
    """Whether a colour has the pairs of a point and its match in the other tower."""
    half = len(found.colours) // 2
    return colour in {found.colours[i, i + half] for i in range(half)} | {
        found.colours[i + half, i] for i in range(half)
    }
