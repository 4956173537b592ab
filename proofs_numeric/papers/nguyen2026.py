"""Nguyen, Aeron, Brown and Ishwar (2026): optima under imbalance, and minority collapse."""

from collections.abc import Iterator

from proofs_numeric import imbalance
from proofs_numeric.papers.cells import between, counted, entries, every, judged, within
from proofs_numeric.reduced import Cell, coincide
from ssem_jax import theory
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.claims import Beside, Paper, Statement, Theorem, Verdict
from ssem_jax.losses.kinds import supcl_terms
from ssem_jax.problem import ClassStructure

ALL_SIZES = ((8, 4, 2), (14, 2, 2), (40, 10, 10, 5, 5))


def collapse() -> Iterator[Cell]:
    """α = 0: classes of any sizes coincide with their means, in both conventions."""
    for sizes in ALL_SIZES:
        structure = ClassStructure(sizes)
        says = every(*(coincide(within(n)) for n, _ in counted(sizes)))
        for tau, self_pairs in ((0.2, "include"), (1.0, "include"), (1.0, "exclude")):
            terms = supcl_terms(structure, 0.0, tau, self_pairs, "anchors")
            where = {"sizes": sizes, "tau": tau, "self_pairs": self_pairs}
            yield Cell(where, built.classes(structure), terms, says)


def merging_ratio() -> list[Beside]:
    """n/n' from which on two minorities of n' coincide, by bisection over n."""
    rows = []
    for tau in (1.0, 2.0):
        stated = 2 * theory.minority_collapse_ratio(2, tau)
        low, high = 2000, 40000
        while high - low > 1:
            n = (low + high) // 2
            structure = ClassStructure((n, 1000, 1000))
            terms = supcl_terms(structure, 0.0, tau, mean="anchors")
            together = entries(built.classes(structure), terms)[between(1000, 1000)] > 1 - 1e-6
            low, high = (low, n) if together else (n, high)
        rows.append(Beside(f"n/n' from which on minorities merge, τ = {tau}", stated, high / 1000))
    return rows


imbalanced_collapse = Theorem(
    "imbalanced_collapse",
    "SupCL at α = 0, classes of any sizes: all samples of a class coincide with its mean.",
    lambda: judged(collapse()),
    "Nguyen, Aeron, Brown and Ishwar (arXiv:2605.11291), abstract; judged here for one loss",
    Verdict.HOLDS,
)

paper = Paper(
    key="nguyen2026",
    title="Optimal Representations for Generalized Contrastive Learning with Imbalanced Datasets",
    authors=("Thuan Nguyen", "Shuchin Aeron", "D. Richard Brown III", "Prakash Ishwar"),
    year=2026,
    identifier="arXiv:2605.11291",
    venue="2026",
    read="abstract only",
    reading="Abstract. Its family of losses and its threshold, which depends on the loss and on "
    "the number of negative samples, were not read: the threshold here is derived here, for one "
    "loss and all negatives.",
    notation=(
        ("class probabilities", "class sizes"),
        ("negative samples", "all embeddings, each time; none are sampled"),
        ("generalised CL loss", 'SupCL(alpha=0, self_pairs="include", mean="anchors")'),
        ("minority collapse", "means of minority classes coincide"),
    ),
    statements=(
        Statement(imbalanced_collapse, "abstract", "d large enough"),
        Statement(
            imbalance.minority_angles,
            "abstract: 'angular symmetry determined by the class proportions'",
            "one majority, two equal minorities",
        ),
        Statement(
            imbalance.minority_collapse,
            "abstract: a threshold of imbalance",
            "one majority, equal minorities",
            "Minorities merge at a finite ratio, which falls with τ.",
            merging_ratio,
        ),
    ),
)
