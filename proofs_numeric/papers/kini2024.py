"""Kini, Vakilian, Behnia, Gill and Thrampoulidis (ICLR 2024): ReLU restores the symmetry."""

from collections.abc import Iterator

import numpy as np

from proofs_numeric import imbalance, structures
from proofs_numeric.papers import cells
from proofs_numeric.reduced import Cell, coincide, equals
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.claims import Paper, Picture, Point, Statement, Theorem, Verdict
from ssem_jax.losses.kinds import supcl_terms
from ssem_jax.losses.listed import supcl_batches
from ssem_jax.problem import ClassStructure

SOURCE = "Kini, Vakilian, Behnia, Gill and Thrampoulidis (ICLR 2024), abstract"
FOUR = ClassStructure((2, 2, 2, 2))


def frames(lower: float | None = 0.0) -> Iterator[Cell]:
    """Classes collapse, and are orthogonal, where no similarity is below `lower`."""
    for sizes in ((5, 3), (4, 2, 2), (20, 5, 5, 2)):
        structure = ClassStructure(sizes)
        says = cells.every(
            *(coincide(cells.within(n)) for n, _ in cells.counted(sizes)),
            *(equals(cells.between(n, k), 0.0, cells.SIMILARITY) for n, k in cells.pairs(sizes)),
        )
        for tau in (0.1, 1.0):
            terms = supcl_terms(structure, 0.0, tau, "exclude", "anchors")
            yield Cell({"sizes": sizes, "tau": tau}, built.classes(structure), terms, says, lower)


def batches(*, bound: bool) -> list[tuple[int, ...]]:
    """Two batches of two classes each, apart or with an instance of every class in both."""
    first, second = (0, 1, 2, 3), (4, 5, 6, 7)
    return [(*first, 4, 6), (*second, 0, 2)] if bound else [first, second]


def with_means(means: np.ndarray, *, bound: bool, optimal: bool) -> cells.Candidate:
    loss = supcl_batches(FOUR, batches(bound=bound), 0, 0.5, self_pairs="exclude")
    where = {"sizes": FOUR.sizes, "batches": batches(bound=bound)}
    return cells.Candidate(where, loss, cells.of_classes(FOUR.sizes, means), optimal, 0.0)


def similarities(places: int) -> Iterator[Point]:
    """Of class means at sizes (n, 2, 2), with H ≥ 0 and without."""
    for n in np.unique(np.geomspace(3, 32, places).round().astype(int)).tolist():
        structure = ClassStructure((n, 2, 2))
        terms = supcl_terms(structure, 0.0, 1.0, "exclude", "anchors")
        shown = {
            "two minorities": cells.between(2, 2),
            "majority and minority": cells.between(n, 2),
        }
        yield from cells.traced(n / 2, built.classes(structure), terms, shown)
        framed = [*cells.traced(n / 2, built.classes(structure), terms, shown, 0.0)]
        ends = min(point.low for point in framed), max(point.high for point in framed)
        yield Point("any two, H ≥ 0", n / 2, *ends)


SHARED = np.eye(4)[np.ix_([0, 1, 0, 1], [0, 1, 0, 1])]
"""Classes 0 and 2 coincide, and so do 1 and 3."""

relu_frame = Theorem(
    "relu_frame",
    "SCL with entrywise nonnegative features: at every class sizes and every τ, classes collapse "
    "and their means form an orthogonal frame.",
    lambda: cells.judged(frames()),
    SOURCE,
    Verdict.HOLDS,
)
batches_keep_frame = Theorem(
    "batches_keep_frame",
    "The orthogonal frame minimises SCL over mini-batches: over two that share no class, and over "
    "the same with an instance of every class in both.",
    lambda: cells.weighed(
        with_means(np.eye(4), bound=bound, optimal=True) for bound in (False, True)
    ),
    SOURCE,
    Verdict.HOLDS,
)
any_batches_force_frame = Theorem(
    "any_batches_force_frame",
    "Whatever the mini-batches, no other geometry is a minimiser.",
    lambda: cells.weighed([with_means(SHARED, bound=False, optimal=False)]),
    "the abstract says that conditions on mini-batches are needed: without any it would be this",
    Verdict.REFUTED,
)
binding_forces_frame = Theorem(
    "binding_forces_frame",
    "With an instance of every class added to every batch, the geometry in which classes of "
    "different batches coincide is no minimiser any more.",
    lambda: cells.weighed([with_means(SHARED, bound=True, optimal=False)]),
    f"{SOURCE}: batch-binding",
    Verdict.HOLDS,
)

paper = Paper(
    key="kini2024",
    title="Symmetric Neural-Collapse Representations with Supervised Contrastive Loss: The Impact "
    "of ReLU and Batching",
    authors=(
        "Ganesh Ramachandra Kini",
        "Vala Vakilian",
        "Tina Behnia",
        "Jaidev Gill",
        "Christos Thrampoulidis",
    ),
    year=2024,
    identifier="arXiv:2306.07960",
    venue="ICLR 2024",
    read="abstract only",
    reading="Abstract and table of contents (Theorem 1: the full batch; Theorem 2, Corollary 2.1: "
    "batches). The conditions on mini-batches were not read; batches here are examples.",
    notation=(
        ("SCL", 'SupCL(alpha=0, self_pairs="exclude", mean="anchors"), one view'),
        ("H ≥ 0 (ReLU)", "G_ij ≥ 0, which holds for them; every optimum here has such features"),
        ("k classes, n examples in all", "m classes of any sizes"),
        ("orthogonal frame", "similarities 1 within classes and 0 between them"),
    ),
    statements=(
        Statement(relu_frame, "abstract", "unconstrained features, H ≥ 0, unit norms"),
        Statement(structures.orthogonal_frames, "abstract, with α > 0 besides"),
        Statement(
            imbalance.no_simplex_under_imbalance,
            "abstract: 'symmetry breaks'",
            "without ReLU",
            "Refuted: without H ≥ 0 the symmetry does break under imbalance.",
        ),
        Statement(batches_keep_frame, "abstract: mini-batches"),
        Statement(
            any_batches_force_frame,
            "abstract: why conditions are needed",
            lesson="Classes that never meet in a batch may coincide at no cost.",
        ),
        Statement(binding_forces_frame, "abstract: batch-binding"),
    ),
    picture=Picture(
        across="instances of the majority over those of a minority",
        up="similarity of class means",
        caption="SCL, sizes (n, 2, 2), τ = 1. Without H ≥ 0 minorities turn towards each other as "
        "imbalance grows; with it all classes stay orthogonal.",
        points=similarities,
    ),
)
