"""Koromilas and others (2026): normalised classifiers as prototype contrast."""

from proofs_numeric.papers import graf2021
from proofs_numeric.papers.cells import open_question
from ssem_jax.claims import Paper, Statement, Theorem, Verdict

normalised_losses = Theorem(
    "normalised_losses",
    "NTCE and NONL have neural collapse as their global optimum.",
    lambda: open_question("the formulas of both losses were not read, and are not guessed"),
    "Koromilas and others (arXiv:2605.20302), abstract",
    Verdict.UNDECIDED,
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
    venue="2026",
    read="abstract only",
    reading="Abstract. The losses NTCE and NONL are not defined there.",
    notation=(
        ("normalised CE, NormFace", "prototype_terms(sizes, temperature)"),
        ("NC", "features at their prototype, prototypes at a regular simplex"),
    ),
    statements=(
        Statement(
            graf2021.normalised_cross_entropy,
            "abstract: NC is the optimum of supervised objectives",
            "balanced classes, unit norms",
        ),
        Statement(
            graf2021.cross_entropy_any_sizes,
            "abstract, without balance",
            lesson="Under imbalance the optimum of normalised cross-entropy is no regular simplex.",
        ),
        Statement(normalised_losses, "abstract"),
    ),
)
