"""Vock, Duchesnay and Dufumier (2026): weighted contrast as distance geometry."""

import math
from collections.abc import Iterator

import numpy as np

from proofs_numeric import imbalance
from proofs_numeric.papers import cells
from proofs_numeric.reduced import Cell, equals
from ssem_jax.certificate import GAP_TOLERANCE
from ssem_jax.certificate.symmetry import Program, solve_program
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.claims import Beside, Paper, Picture, Point, Proof, Statement, Theorem, Verdict
from ssem_jax.losses.terms import BETWEEN, SELF, WITHIN, Terms
from ssem_jax.problem import ClassStructure

SOURCE = "Vock, Duchesnay and Dufumier (arXiv:2605.13943), abstract"
TAU = 0.5


def soft(sizes: tuple[int, ...], reach: float, *, own: bool = True) -> Terms:
    """Soft SupCon: targets 1 within a class and ε = e^{-reach/τ} across, normalised by anchor."""
    weight = {SELF: float(own), WITHIN: 1.0, BETWEEN: math.exp(-reach / TAU)}
    return cells.soft_targets(ClassStructure(sizes), weight, TAU)


def regular(reach: float, sizes: tuple[int, ...]):
    """Collapsed classes at one similarity, 1 - reach, to 1e-3: the loss is flat at its target."""
    return cells.every(
        *(equals(cells.within(n), 1.0, cells.SIMILARITY) for n, _ in cells.counted(sizes) if n > 1),
        *(equals(cells.between(n, k), 1 - reach, cells.SIMILARITY) for n, k in cells.pairs(sizes)),
    )


def both_sides(*, own: bool = True) -> Iterator[Cell]:
    """Below τ log(1/ε) = K/(K-1) a regular simplex, above it unequal similarities."""
    for sizes in ((2, 1, 1), (8, 4, 2), (12, 3, 3, 3)):
        edge = len(sizes) / (len(sizes) - 1)
        big, small = max(sizes), min(sizes)
        other = cells.between(small, small) if sizes.count(small) > 1 else cells.between(4, 2)
        for reach, says in (
            (0.5 * edge, regular(0.5 * edge, sizes)),
            (0.95 * edge, regular(0.95 * edge, sizes)),
            (1.1 * edge, cells.apart(cells.between(big, small), other)),
        ):
            where = {"sizes": sizes, "tau": TAU, "epsilon": math.exp(-reach / TAU)}
            algebra = built.classes(ClassStructure(sizes))
            yield Cell(where, algebra, soft(sizes, reach, own=own), says)


def beyond() -> Iterator[Cell]:
    """The last of these, as the contrary."""
    for cell in both_sides():
        last = -TAU * math.log(cell.where["epsilon"]) > len(cell.where["sizes"]) / 2
        yield cell._replace(says=cells.no(cell.says)) if last else cell


def without_self() -> Proof:
    """Without self pairs similarities a within and a - reach across are optimal for many a."""
    n, reach = 2, 1.0
    a = (n * reach - 1) / (2 * n - 1)
    structure = ClassStructure((n, n))
    program = Program(built.classes(structure), soft((n, n), reach, own=False))
    solved = solve_program(program)
    x = a * program.functional({cells.within(n): 1.0})
    x = x + (a - reach) * program.functional({cells.between(n, n): 1.0})
    where = {"sizes": (n, n), "tau": TAU, "epsilon": math.exp(-reach / TAU), "within": a}
    optimal = program.value(x) <= solved.lower + GAP_TOLERANCE
    return Proof(False, where if optimal else None, cells=1, gaps=(solved.gap,))


def as_weights_fall(places: int) -> Iterator[Point]:
    """Similarities of classes of sizes 8, 4 and 2."""
    sizes = (8, 4, 2)
    algebra = built.classes(ClassStructure(sizes))
    shown = {f"sizes {n} and {k}": cells.between(n, k) for n, k in ((8, 4), (8, 2), (4, 2))}
    for reach in np.linspace(0.2, 2.2, places):
        yield from cells.traced(reach, algebra, soft(sizes, reach), shown)
        yield Point("1 - τ log(1/ε)", reach, 1 - reach)


def similarities() -> list[Beside]:
    found = cells.entries(built.classes(ClassStructure((8, 4, 2))), soft((8, 4, 2), 1.2))
    what = "similarity of classes of sizes 8 and 2, τ log(1/ε) = 1.2"
    return [Beside(what, 1 - 1.2, found[cells.between(8, 2)])]


soft_regular = Theorem(
    "soft_regular",
    "Soft SupCon with self pairs, K unequal classes: classes collapse to K points of one "
    "similarity, 1 - τ log(1/ε), if τ log(1/ε) ≤ K/(K-1); above it similarities differ.",
    lambda: cells.judged(both_sides()),
    f"{SOURCE}; the condition is derived here",
    Verdict.HOLDS,
)
soft_regardless = Theorem(
    "soft_regardless",
    "Soft SupCon preserves a regular simplex regardless of class imbalance.",
    lambda: cells.judged(beyond()),
    f"{SOURCE}, as worded",
    Verdict.REFUTED,
)
soft_collapse_without_self = Theorem(
    "soft_collapse_without_self",
    "Soft SupCon collapses samples within each class to a single prototype; self pairs left out.",
    without_self,
    f"{SOURCE}, read in the other convention",
    Verdict.REFUTED,
)

paper = Paper(
    key="vock2026",
    title="A Unified Geometric Framework for Weighted Contrastive Learning",
    authors=("Raphael Vock", "Edouard Duchesnay", "Benoit Dufumier"),
    year=2026,
    identifier="arXiv:2605.13943",
    venue="2026",
    read="abstract only",
    reading="Abstract; not how small soft weights are, nor whether self pairs count.",
    notation=(
        ("soft weights 1 and ε", "targets 1 : ε, normalised by anchor; self pairs included here"),
        ("K classes, imbalance; SupCon", "class sizes; SupCL at α = 0"),
    ),
    statements=(
        Statement(soft_regular, "abstract", "τ log(1/ε) ≤ K/(K-1)", "", similarities),
        Statement(
            soft_regardless,
            "abstract: 'regardless'",
            lesson="Where softer weights ask for more than 180° of room, imbalance shows again.",
        ),
        Statement(
            soft_collapse_without_self,
            "abstract, self pairs left out",
            lesson="Only differences of similarities count then: the optimum is not unique.",
        ),
        Statement(imbalance.no_simplex_under_imbalance, "abstract: SupCon, the contrary"),
    ),
    picture=Picture(
        across="τ log(1/ε)",
        up="similarity of classes",
        caption="Sizes (8, 4, 2), τ = 0.5. Up to K/(K-1) classes have one similarity, whatever "
        "their sizes; where smaller ε ask for more than the simplex gives, they part by size.",
        points=as_weights_fall,
        marks={"K/(K-1)": 1.5},
    ),
)
