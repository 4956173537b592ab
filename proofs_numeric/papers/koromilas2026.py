"""Koromilas and others (ICML 2026): normalised classifiers as prototype contrast."""

import math
from collections import Counter

from proofs_numeric.papers import graf2021
from proofs_numeric.papers.cells import judged, minimum
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.claims import Beside, Paper, Statement, Theorem, Verdict
from ssem_jax.losses.terms import BETWEEN, WITHIN, Kind, Term, Terms, softmax_slots

SOURCE = "Koromilas and others (arXiv:2605.20302), abstract; the losses are those of the code"
BALANCED, UNBALANCED = ((4, 4), (3, 3, 3), (2,) * 10), ((2, 1), (2, 1, 1), (6, 2, 2))


def anchored(sizes: tuple[int, ...], tau: float, *, own: bool) -> Terms:
    """A class's prototype against features: of all classes (NTCE), or of all others (NONL)."""
    found, counts = Terms((), {}), Counter(sizes)
    for n, count in counts.items():
        prototype, share = f"prototype {n}", n * count / sum(sizes)
        mine = Kind(WITHIN, f"feature {n}", prototype)
        against = {mine: n} if own else {}
        for k, number in counts.items():
            against[Kind(BETWEEN, f"feature {k}", prototype)] = k * (number - (k == n))
        found = found + Terms((Term(share, softmax_slots(against, tau)),), {mine: share / tau})
    return found


def ntce(sizes: tuple[int, ...], tau: float) -> Terms:
    return anchored(sizes, tau, own=True)


def nonl(sizes: tuple[int, ...], tau: float) -> Terms:
    return anchored(sizes, tau, own=False)


def least() -> list[Beside]:
    """log n + log(1 + (K-1) e^{-K/((K-1)τ)}), and without the 1."""
    rows = []
    for k, n, tau in ((3, 4, 0.5), (10, 2, 1.0)):
        spread = (k - 1) * math.exp(-k / ((k - 1) * tau))
        for name, made, stated in (("NTCE", ntce, 1 + spread), ("NONL", nonl, spread)):
            sizes = (n,) * k
            found = minimum(built.prototypes(sizes), made(sizes, tau))
            what = f"least {name}, K = {k}, n = {n}, τ = {tau}"
            rows.append(Beside(what, math.log(n * stated), found))
    return rows


ntce_collapse = Theorem(
    "ntce_collapse",
    "NTCE, balanced classes: features coincide with their prototype, prototypes form a regular "
    "simplex.",
    lambda: judged(graf2021.collapse(BALANCED, ntce)),
    SOURCE,
    Verdict.HOLDS,
)
nonl_collapse = Theorem(
    "nonl_collapse",
    "NONL, balanced classes: features coincide with their prototype, prototypes form a regular "
    "simplex.",
    lambda: judged(graf2021.collapse(BALANCED, nonl)),
    SOURCE,
    Verdict.HOLDS,
)
normalised_any_sizes = Theorem(
    "normalised_any_sizes",
    "The same of NTCE at every class sizes.",
    lambda: judged(graf2021.collapse(UNBALANCED, ntce)),
    f"{SOURCE}, read without balance",
    Verdict.REFUTED,
)

paper = Paper(
    key="koromilas2026",
    title="Neural Collapse by Design: Learning Class Prototypes on the Hypersphere",
    authors=(
        "Panagiotis Koromilas",
        "Theodoros Giannakopoulos",
        "Mihalis A. Nicolaou",
        "Yannis Panagakis",
    ),
    year=2026,
    identifier="arXiv:2605.20302",
    venue="ICML 2026",
    read="abstract only",
    reading="Abstract, first lines of the introduction, and the released code of both losses. No "
    "theorem was read; what the paper proves of which loss is not known here.",
    notation=(
        ("normalised CE, NormFace", "prototype_terms(sizes, temperature)"),
        ("NTCE", "a prototype against the features of the whole batch, its own class included"),
        ("NONL, symmetric", "a prototype against features of other classes: decoupled"),
        ("batch of M", "all features, one each time; a mean over them"),
        ("NC", "features at their prototype, prototypes at a regular simplex"),
    ),
    statements=(
        Statement(
            graf2021.normalised_cross_entropy,
            "introduction: NC is the optimum of supervised objectives",
            "balanced classes, unit norms",
        ),
        Statement(ntce_collapse, "abstract; code", "balanced classes, unit norms", "", least),
        Statement(nonl_collapse, "abstract; code", "balanced classes, unit norms"),
        Statement(
            graf2021.cross_entropy_any_sizes,
            "the same, without balance",
            lesson="Under imbalance the optimum of normalised cross-entropy is no regular simplex.",
        ),
        Statement(
            normalised_any_sizes,
            "abstract and code, without balance",
            lesson="A prototype weighs as much as its class has features.",
        ),
    ),
)
