"""Alcala and others (2026): neural collapse in the orthoplex regime, d+2 ≤ n ≤ 2d."""

from proofs_numeric.papers import exact, lu2022
from proofs_numeric.papers.cells import open_question
from ssem_jax.claims import Paper, Statement, Theorem, Verdict

SOURCE = "Alcala and others (arXiv:2603.20587)"

orthoplex_vertices = Theorem(
    "orthoplex_vertices",
    "d+2 ≤ n ≤ 2d: n vertices of the orthoplex have no two inner products above 0 (d up to 8).",
    exact.orthoplex,
    "Rankin (1955) for the bound 0, which no n > d+1 unit vectors beat; the vertices are exact",
)
orthoplex_optimal = Theorem(
    "orthoplex_optimal",
    "d+2 ≤ n ≤ 2d: the geometric figures to which features collapse are those that the paper "
    "characterises.",
    lambda: open_question("the figures were not read, and R^d with n > d+1 is not convex"),
    f"{SOURCE}, abstract",
    Verdict.UNDECIDED,
)

paper = Paper(
    key="alcala2026",
    title="Neural collapse in the orthoplex regime",
    authors=(
        "James Alcala",
        "Rayna Andreeva",
        "Vladimir A. Kobzar",
        "Dustin G. Mixon",
        "Sanghoon Na",
        "Shashank Sule",
        "Yangxinyu Xie",
    ),
    year=2026,
    identifier="arXiv:2603.20587",
    venue="2026",
    read="abstract only",
    reading="Abstract and the first paragraphs of the introduction; no theorem.",
    notation=(
        ("n classes in R^d", "m classes, dim = d: letters are the other way round"),
        ("simplex regime n ≤ d+1", "d ≥ m-1, where this package certifies"),
    ),
    statements=(
        Statement(lu2022.simplex_minimum, "abstract: n ≤ d+1 is the simplex", "n ≤ d+1"),
        Statement(orthoplex_vertices, "the regime"),
        Statement(orthoplex_optimal, "abstract"),
    ),
)
