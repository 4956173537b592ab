"""Jiang and others (ICML 2024): softmax codes, for more classes than dimensions."""

from proofs_numeric.papers import exact, graf2021
from proofs_numeric.papers.cells import open_question
from ssem_jax.claims import Paper, Statement, Theorem, Verdict

SOURCE = "Jiang, Zhou, Wang, Qu, Mixon, You and Zhu (ICML 2024)"

simplex_code = Theorem(
    "simplex_code",
    "K ≤ d+1 unit vectors: the largest one-vs-rest distance that all can have is K/(K-1), and the "
    "regular simplex has it (K up to 49).",
    exact.softmax_code,
    f"{SOURCE} for the notion; proven here",
)
code_in_low_dimension = Theorem(
    "code_in_low_dimension",
    "For K > d+1 optimal prototypes maximise the least one-vs-rest margin, as τ → 0.",
    lambda: open_question("R^d with K > d+1 is not convex, and τ → 0 is a limit"),
    f"{SOURCE}, abstract",
    Verdict.UNDECIDED,
)

paper = Paper(
    key="jiang2024",
    title="Generalized Neural Collapse for a Large Number of Classes",
    authors=(
        "Jiachen Jiang",
        "Jinxin Zhou",
        "Peng Wang",
        "Qing Qu",
        "Dustin G. Mixon",
        "Chong You",
        "Zhihui Zhu",
    ),
    year=2024,
    identifier="arXiv:2310.05351",
    venue="ICML 2024",
    read="abstract only",
    reading="Abstract. 'Certain technical conditions' on K and d were not read.",
    notation=(
        ("K classes in R^d", "m classes, dim = d"),
        ("one-vs-rest distance", "of a unit vector from the convex hull of the others"),
        ("spherical constraint", "unit features and prototypes"),
    ),
    statements=(
        Statement(simplex_code, "the notion, where K ≤ d+1"),
        Statement(
            graf2021.normalised_cross_entropy,
            "abstract, where K ≤ d+1",
            "balanced classes",
            "The known case that is generalised.",
        ),
        Statement(code_in_low_dimension, "abstract"),
    ),
)
