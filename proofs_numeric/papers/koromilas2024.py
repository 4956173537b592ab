"""Koromilas and others (ICML 2024): InfoNCE, DHEL and kernel losses have the same minimisers."""

import math

from proofs_numeric import losses
from proofs_numeric.papers.cells import MATCHED, OTHERS, UNMATCHED, judged, minimum, tower_cells
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.claims import Beside, Paper, Statement, Theorem, Verdict
from ssem_jax.losses.kinds import two_tower_terms
from ssem_jax.losses.terms import Term, Terms, softmax_slots

SOURCE = "Koromilas and others (ICML 2024), abstract"
NUMBERS, TEMPERATURES = (2, 3, 10, 40), (0.2, 1.0)


def dhel(number: int, tau: float) -> Terms:
    """-⟨u_i, v_i⟩/τ + log Σ_{j≠i} e^{⟨u_i, u_j⟩/τ}, both towers: negatives within a tower."""
    slots = softmax_slots({OTHERS: number - 1}, tau)
    return Terms((Term(1.0, slots),), {MATCHED: 1 / tau})


def kernel(number: int, tau: float) -> Terms:
    """log of the mean Gaussian kernel e^{(⟨x, y⟩-1)/τ} of negatives, and alignment by -⟨u, v⟩/τ.

    The paper's alignment term is a kernel, too, which is not convex; it is least where this is.
    """
    slots = softmax_slots({OTHERS: number - 1, UNMATCHED: number - 1}, tau)
    return Terms((Term(1.0, slots),), {MATCHED: 1 / tau})


def least_dhel() -> list[Beside]:
    """log(n-1) - n/((n-1)τ), at the simplex."""
    rows = []
    for n, tau in ((3, 0.5), (10, 0.2)):
        algebra = built.towers(built.points(n), swap=True)
        stated = math.log(n - 1) - n / ((n - 1) * tau)
        rows.append(
            Beside(f"least DHEL, n = {n}, τ = {tau}", stated, minimum(algebra, dhel(n, tau)))
        )
    return rows


def simplex_of(name: str, words: str, terms) -> Theorem:
    return Theorem(
        name,
        f"{words}: at every optimum positives coincide and the n instances form the regular "
        "simplex (d ≥ n-1), at every τ.",
        lambda: judged(tower_cells(terms, NUMBERS, TEMPERATURES)),
        SOURCE,
        Verdict.HOLDS,
    )


two_tower_simplex = simplex_of("two_tower_simplex", "InfoNCE of two views", two_tower_terms)
dhel_simplex = simplex_of("dhel_simplex", "DHEL", dhel)
kernel_simplex = simplex_of(
    "kernel_simplex", "Alignment and a Gaussian kernel of negatives", kernel
)
batch_independent = Theorem(
    "batch_independent",
    "The expected kernel loss does not depend on the batch size: its minimisers are those of the "
    "full batch, of any expectation over pairs.",
    lambda: judged(tower_cells(kernel, (5, 20), (0.1, 0.5, 2.0))),
    f"{SOURCE}; a sum over pairs is a sum over batches",
    Verdict.HOLDS,
)

paper = Paper(
    key="koromilas2024",
    title="Bridging Mini-Batch and Asymptotic Analysis in Contrastive Learning: From InfoNCE to "
    "Kernel-Based Losses",
    authors=(
        "Panagiotis Koromilas",
        "Giorgos Bouritsas",
        "Theodoros Giannakopoulos",
        "Mihalis Nicolaou",
        "Yannis Panagakis",
    ),
    year=2024,
    identifier="arXiv:2405.18045",
    venue="ICML 2024, PMLR 235:25276-25301",
    read="abstract only",
    reading="Abstract and the README of the authors' code. The 'certain conditions' of the "
    "abstract were not read; asymptotic statements are not judged.",
    notation=(
        ("M pairs (u_i, v_i)", "n pairs, two towers"),
        ("DHEL", "negatives of the same view only, own pair left out"),
        ("KCL with kernel K", "Gaussian kernel e^{(⟨x, y⟩-1)/τ} of negatives of both towers"),
    ),
    statements=(
        Statement(losses.info_nce_simplex, "abstract: InfoNCE family", "SimCLR, two views"),
        Statement(two_tower_simplex, "abstract: InfoNCE family", "d ≥ n-1"),
        Statement(dhel_simplex, "abstract: DHEL", "d ≥ n-1", beside=least_dhel),
        Statement(kernel_simplex, "abstract: KCL", "d ≥ n-1, Gaussian kernel"),
        Statement(batch_independent, "abstract: KCL and batch size", "Gaussian kernel"),
    ),
)
