"""Chen and others (ICML 2022): a class-conditional InfoNCE loss controls the spread."""

import itertools
from collections.abc import Iterator

import numpy as np

from proofs_numeric import structures
from proofs_numeric.papers.cells import between, traced, within
from ssem_jax import theory
from ssem_jax.certificate import GAP_TOLERANCE
from ssem_jax.certificate.symmetry import Level, Program, solve_program
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.claims import Beside, Paper, Picture, Point, Proof, Statement, Theorem, Verdict
from ssem_jax.losses.kinds import spread_terms
from ssem_jax.problem import ClassStructure

SHAPES = ((2, 3), (3, 4), (5, 10))
TAU = 0.5
PARTS = (0.05, 0.1, 0.2, 0.3)
"""Of the way from the threshold to 1; far beyond, class means merge and nothing is left to fall."""


def inside(m: int, n: int, share: float) -> tuple[float, float, float]:
    """The bracket of the similarity within classes, and the gap that it rests on."""
    structure = ClassStructure.balanced(m, n)
    program = Program(built.classes(structure), spread_terms(structure, share, TAU))
    solved = solve_program(program)
    low, high = Level(program, solved.value, solved).bracket(program.functional({within(n): 1.0}))
    return low, high, solved.gap


def degree() -> Proof:
    """Similarities within classes fall as the share of repulsion grows beyond the threshold."""
    gaps: list[float] = []
    for m, n in SHAPES:
        threshold = theory.spread_alpha_c(m, n, TAU)
        found = [inside(m, n, threshold + part * (1 - threshold)) for part in PARTS]
        gaps += [gap for *_, gap in found]
        for (low, *_), (_, high, _) in itertools.pairwise(found):
            if not (high < low and max(gaps) <= GAP_TOLERANCE):
                where = {"m": m, "n": n, "tau": TAU}
                return Proof(False, undecided=(where,), cells=len(gaps), gaps=tuple(gaps))
    return Proof(True, cells=len(gaps), gaps=tuple(gaps))


def threshold_rows() -> list[Beside]:
    """By bisection of where classes coincide."""
    rows = []
    for m, n in SHAPES[:2]:
        low, high = 0.0, 1.0
        while high - low > 1e-5:
            share = (low + high) / 2
            together = inside(m, n, share)[1] >= 1 - 1e-6
            low, high = (share, high) if together else (low, share)
        stated = theory.spread_alpha_c(m, n, TAU)
        rows.append(Beside(f"share at which collapse ends, m = {m}, n = {n}", stated, low))
    return rows


def similarities(places: int) -> Iterator[Point]:
    """Of the optimum for m = 3, n = 4, as the share grows."""
    structure, shown = ClassStructure.balanced(3, 4), {"within a class": within(4)}
    shown["between classes"] = between(4, 4)
    for share in np.linspace(0, 1, places):
        terms = spread_terms(structure, share, TAU)
        yield from traced(share, built.classes(structure), terms, shown)


spread_degree = Theorem(
    "spread_degree",
    "The weight of the class-conditional InfoNCE loss controls the degree of spread: beyond its "
    "threshold, similarities within classes fall strictly as it grows.",
    degree,
    "Chen and others (ICML 2022), abstract; the loss is that of the released code",
    Verdict.HOLDS,
)

paper = Paper(
    key="chen2022",
    title="Perfectly Balanced: Improving Transfer and Robustness of Supervised Contrastive "
    "Learning",
    authors=(
        "Mayee F. Chen",
        "Daniel Y. Fu",
        "Avanika Narayan",
        "Michael Zhang",
        "Zhao Song",
        "Kayvon Fatahalian",
        "Christopher Ré",
    ),
    year=2022,
    identifier="arXiv:2204.07596",
    venue="ICML 2022",
    read="abstract only",
    reading="Abstract and the released code of the loss. Its theorems on spread were not read.",
    notation=(
        ("L_spread, weight α of the InfoNCE part", "spread_terms(structure, share, temperature)"),
        ("class-conditional InfoNCE", "an anchor against its own class, self pairs included"),
        ("K classes", "m"),
    ),
    statements=(
        Statement(
            structures.spread_boundary,
            "released code: its own threshold, derived here",
            "balanced classes, one view",
            "Adding spread is not enough: below a share of its own the loss still collapses.",
            threshold_rows,
        ),
        Statement(spread_degree, "abstract: 'controls the degree of spread'"),
    ),
    picture=Picture(
        across="weight of the class-conditional InfoNCE loss",
        up="similarity at the optimum",
        caption="L_spread, m = 3, n = 4, τ = 0.5. Up to a threshold of its own the weight changes "
        "nothing; then it spreads classes, until instances form simplices of their own and "
        "classes are orthogonal: from there on nothing is left to control.",
        points=similarities,
        marks={"end of collapse": theory.spread_alpha_c(3, 4, TAU)},
    ),
)
