"""Lee, Oh, Lee and Sohn (AISTATS 2025): the simplex-to-simplex embedding model (SSEM)."""

import math
from collections.abc import Iterator

import numpy as np

from proofs_numeric import boundary, guideline, minimum, structures, theorems
from proofs_numeric.papers import cells
from proofs_numeric.reduced import Cell, coincide, equals
from ssem_jax import theory
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.claims import Beside, Paper, Picture, Point, Statement, Theorem, Verdict
from ssem_jax.losses.kinds import supcl_terms
from ssem_jax.problem import ClassStructure

SIZES, ALPHA, TAU, DELTA2 = (4, 1), 0.3, 0.5, 0.0790
"""A class of four and a single instance; the variance of the four over all anchors."""


def means(over: tuple[str, str] = ("anchors", "all")) -> Iterator[Cell]:
    """L_sup over anchors that have a positive, and over all anchors."""
    structure, four = ClassStructure(SIZES), cells.within(4)
    spread = 1 - DELTA2 * 4 / 3
    for mean, says in zip(over, (coincide(four), equals(four, spread, 1e-4)), strict=True):
        where = {"sizes": SIZES, "alpha": ALPHA, "tau": TAU, "mean": mean}
        terms = supcl_terms(structure, ALPHA, TAU, mean=mean)
        yield Cell(where, built.classes(structure), terms, says)


def variances() -> list[Beside]:
    structure, found = ClassStructure(SIZES), []
    for mean, stated in (("anchors", 0.0), ("all", DELTA2)):
        terms = supcl_terms(structure, ALPHA, TAU, mean=mean)
        inside = cells.entries(built.classes(structure), terms)[cells.within(4)]
        found.append(
            Beside(f"δ² of the class of four, mean over {mean}", stated, (1 - inside) / 4 * 3)
        )
    return found


def spread(places: int) -> Iterator[Point]:
    """δ² of the class of four as α grows."""
    structure = ClassStructure(SIZES)
    for alpha in np.linspace(0, 1, places):
        for mean in ("anchors", "all"):
            terms, curve = supcl_terms(structure, alpha, TAU, mean=mean), f'mean over "{mean}"'
            shown = {curve: cells.within(4)}
            for point in cells.traced(alpha, built.classes(structure), terms, shown):
                yield Point(curve, alpha, (1 - point.high) * 3 / 4, (1 - point.low) * 3 / 4)


def edge() -> float:
    """Where the class of four parts, over anchors with a positive: its multiplier is linear in α.

    As in :func:`ssem_jax.theory.two_class_threshold`, where both classes have two at least.
    """
    y = math.exp(-2 / TAU)

    def slack(alpha: float) -> float:
        four, one = (1 - alpha / 5) / (4 + y), alpha / 5 / (1 + 4 * y)
        return 2 * y * (four / 4 + one) - 4 * (four - (1 - alpha) / 3)

    return slack(0) / (slack(0) - slack(1))


imagenet_means = Theorem(
    name="imagenet_means",
    statement="Sizes (4, 1), α = 0.3, τ = 0.5, self pairs included: the class of four is collapsed "
    "where L_sup is a mean over the anchors that have a positive, and has δ² = 0.0790 where it is "
    "a mean over all anchors, those without a positive counting as zero.",
    prove=lambda: cells.judged(means()),
    source="the authors' code for ImageNet, which averages over all anchors; figures derived here",
    expected=Verdict.HOLDS,
)

SNIPPET = """
from ssem_jax.certificate.symmetry import Program, solve_program, structures
from ssem_jax.losses.kinds import supcl_terms
from ssem_jax.problem import ClassStructure

structure = ClassStructure((4, 1))
for mean in ("anchors", "all"):
    terms = supcl_terms(structure, alpha=0.3, temperature=0.5, mean=mean)
    program = Program(structures.classes(structure), terms)
    solved = solve_program(program)
    print(mean, program.entries(solved.x), solved.gap)
"""

paper = Paper(
    key="lee2025",
    title="A Theoretical Framework for Preventing Class Collapse in Supervised Contrastive "
    "Learning",
    authors=("Chungpa Lee", "Jeongheon Oh", "Kibok Lee", "Jy-yong Sohn"),
    year=2025,
    identifier="arXiv:2503.08203",
    venue="AISTATS 2025, PMLR 258:487-495",
    read="abstract only",
    reading="Abstract and the authors' released code (CIFAR, synthetic, ImageNet); the guideline "
    "is a third party's summary. No theorem of the paper was read.",
    notation=(
        ("m classes, n instances, p augmentations", "num_classes, num_instances, num_views"),
        ("(1-α) L_sup + α L_self", "SupCL(alpha, temperature)"),
        ("synthetic and CIFAR code", 'self_pairs="include", mean="pairs"'),
        ("ImageNet code", 'self_pairs="exclude", mean over all anchors'),
        ("SSEM(δ)", "ssem_gram(structure, delta2), δ² = delta2"),
    ),
    statements=(
        Statement(
            minimum.ssem_within, "abstract", "balanced classes, self pairs included, d ≥ mn-1"
        ),
        Statement(minimum.ssem_between, "abstract", "as before, and τ ≥ 0.2"),
        Statement(
            minimum.ssem_excluded,
            "abstract, read beyond its convention",
            lesson="With self pairs excluded, two views part at small α: the convention matters.",
        ),
        Statement(boundary.boundary_included, "abstract: 'how hyperparameters affect'"),
        Statement(
            theorems.summary_guideline_rigorous,
            "a third party's summary",
            lesson="α_c(τ) tends to 1/n only as τ → 0; at τ = 1/log m it is well above.",
        ),
        Statement(
            guideline.majority_guideline,
            "what is true of such guidelines",
            lesson="α ≥ (n+1)/(2n) and τ ≤ 1/log m do prevent collapse.",
        ),
        Statement(
            imagenet_means,
            "the authors' code",
            "classes of unequal size in a batch",
            "Whom a mean runs over moves the threshold: of a share φ of anchors with a positive, "
            "from α_c to φα_c/(1-(1-φ)α_c).",
            variances,
            SNIPPET,
        ),
        Statement(structures.all_anchors, "the authors' code", "random batches"),
    ),
    picture=Picture(
        across="α",
        up="δ² of the class of four",
        caption="Sizes (4, 1), τ = 0.5, self pairs included. The mean over all anchors, as the "
        "code for ImageNet has it, lets the class part at a smaller α than the mean over anchors "
        "that have a positive, and further.",
        points=spread,
        marks={"all": theory.alpha_c_all(edge(), 4 / 5), "anchors": edge()},
    ),
)
