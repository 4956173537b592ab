"""Lu and Steinerberger (2022): cross-entropy of unit vectors against one another."""

import math
from collections.abc import Iterator

from proofs_numeric.papers.cells import SIMILARITY, judged, minimum, open_question
from proofs_numeric.reduced import Cell, equals
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.claims import Beside, Paper, Statement, Theorem, Verdict
from ssem_jax.losses.terms import BETWEEN, SELF, Kind, Term, Terms, softmax_slots

SOURCE = "Lu and Steinerberger (Applied and Computational Harmonic Analysis 2022), abstract"


def contrast(number: int, tau: float) -> Terms:
    """Mean of log(1 + Σ_{j≠i} e^{(⟨v_i, v_j⟩ - 1)/τ})."""
    slots = softmax_slots({Kind(SELF): 1, Kind(BETWEEN): number - 1}, tau)
    return Terms((Term(1.0, slots),), {})


def cells() -> Iterator[Cell]:
    for number in (2, 3, 5, 20, 100):
        for tau in (0.3, 1.0):
            says = equals(Kind(BETWEEN), -1 / (number - 1), SIMILARITY)
            where = {"n": number, "tau": tau}
            yield Cell(where, built.points(number), contrast(number, tau), says)


def least() -> list[Beside]:
    """log(1 + (n-1) e^{-n/(n-1)})."""
    return [
        Beside(
            f"least loss, n = {n}",
            math.log1p((n - 1) * math.exp(-n / (n - 1))),
            minimum(built.points(n), contrast(n, 1.0)),
        )
        for n in (3, 20)
    ]


simplex_minimum = Theorem(
    "simplex_minimum",
    "n unit vectors in R^d, d ≥ n-1: the global minimum of the cross-entropy loss is the simplex "
    "equiangular tight frame.",
    lambda: judged(cells()),
    SOURCE,
    Verdict.HOLDS,
)
uniform_limit = Theorem(
    "uniform_limit",
    "As n → ∞ with d fixed, minimising points distribute uniformly on the sphere.",
    lambda: open_question("a limit in n at fixed d, where the problem is not convex"),
    SOURCE,
    Verdict.UNDECIDED,
)

paper = Paper(
    key="lu2022",
    title="Neural Collapse with Cross-Entropy Loss",
    authors=("Jianfeng Lu", "Stefan Steinerberger"),
    year=2022,
    identifier="arXiv:2012.08465",
    venue="Applied and Computational Harmonic Analysis 59, 2022",
    read="abstract only",
    reading="Abstract; how the loss is scaled was not read.",
    notation=(
        ("n feature vectors in R^d", "n points, no classes, one view"),
        ("cross-entropy loss", "log(1 + Σ_{j≠i} e^{⟨v_i, v_j⟩ - 1}): SupCL at α = 1, τ = 1, p = 1"),
    ),
    statements=(
        Statement(simplex_minimum, "abstract", "d ≥ n-1", beside=least),
        Statement(uniform_limit, "abstract: n → ∞"),
    ),
)
