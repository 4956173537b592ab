"""Lee, Chang and Sohn (AISTATS 2024): the sigmoid loss and the double-constant embedding model."""

import math
from collections.abc import Iterator

import numpy as np

from proofs_numeric import evidence, losses, sigmoid
from proofs_numeric.papers.cells import MATCHED, UNMATCHED, judged, no, traced
from proofs_numeric.reduced import Cell, coincide, differ, equals
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.claims import Beside, Paper, Picture, Point, Statement, Theorem, Verdict
from ssem_jax.losses.kinds import two_tower_sigmoid_terms

PAIRS, STEP = (6, 8, 20), 0.03
"""Numbers of pairs K, and how far from a threshold of t cells lie."""


def ends(num_pairs: int) -> tuple[float, float]:
    """At b = t: up to which t antipodal towers are optimal, and from which on the simplex is."""
    return math.log((num_pairs - 2) / 2) / 2, (num_pairs - 1) / num_pairs * math.log(num_pairs - 3)


def sides(sign: float = 1.0) -> Iterator[Cell]:
    """Both sides of both ends, with logits t⟨u, v⟩ - sign·t."""
    opposite = equals(MATCHED, -1.0, 1e-4)
    for number in PAIRS:
        low, high = ends(number)
        algebra = built.towers(built.points(number), swap=True)
        for t, says in (
            (low - STEP, opposite),
            (low + STEP, no(opposite)),
            (high - STEP, differ(MATCHED)),
            (high + STEP, coincide(MATCHED)),
        ):
            where = {"K": number, "t": t, "b": sign * t}
            yield Cell(where, algebra, two_tower_sigmoid_terms(number, t, sign * t), says)


def thresholds() -> list[Beside]:
    """By bisection of where the loss along the edge of what is attainable has its minimum."""

    def edge(number: int, t: float, s: float) -> float:
        return float(
            evidence.sigmoid_loss(number, t, t, s, ((number - 2) * s - number) / (2 * number - 2))
        )

    rows = []
    for end, at, towards in (("antipodal", 0, -1.0), ("simplex", 1, 1.0)):
        stated, (low, high) = ends(8)[at], (0.1, 3.0)
        while high - low > 1e-9:
            middle = (low + high) / 2
            inside = edge(8, middle, towards * (1 - 1e-6)) < edge(8, middle, towards)
            low, high = (middle, high) if inside == (at == 1) else (low, middle)
        rows.append(Beside(f"t at which the {end} optimum ends, K = 8, b = t", stated, low))
    return rows


def similarities(places: int) -> Iterator[Point]:
    """Of matched and unmatched pairs, K = 8, with the bias subtracted, and added."""
    algebra = built.towers(built.points(8), swap=True)
    for t in np.linspace(0.2, 2, places):
        subtracted, added = (two_tower_sigmoid_terms(8, t, b) for b in (t, -t))
        yield from traced(t, algebra, subtracted, {"matched": MATCHED, "unmatched": UNMATCHED})
        yield from traced(t, algebra, added, {"matched, bias added": MATCHED})


sigmoid_ends = Theorem(
    name="sigmoid_ends",
    statement="Logits t⟨u, v⟩ - t, K ≥ 5 pairs: as t grows the optimum of the sigmoid loss goes "
    "from antipodal towers (t ≤ ½ log((K-2)/2)) to the simplex (t ≥ ((K-1)/K) log(K-3)).",
    prove=lambda: judged(sides()),
    source="Lee, Chang and Sohn (AISTATS 2024), abstract; thresholds derived here",
    expected=Verdict.HOLDS,
)

paper = Paper(
    key="lee2024",
    title="Analysis of Using Sigmoid Loss for Contrastive Learning",
    authors=("Chungpa Lee", "Joonhwan Chang", "Jy-yong Sohn"),
    year=2024,
    identifier="arXiv:2402.12613",
    venue="AISTATS 2024, PMLR 238",
    read="third party's summary",
    reading="Abstract; the model's form and one inequality as Bangachev and others (2025) quote "
    "them; summaries that say N ≥ 3, d ≥ N, δ monotone in the temperature, thresholds in closed "
    "form. Its theorems, and which thresholds these are, were not read.",
    notation=(
        ("N pairs (u_i, v_i)", "K pairs, 2K embeddings"),
        ("inverse temperature t, bias b", "logits t⟨u, v⟩ - b; a published SigLIP bias is -b"),
        ("CCEM(δ)", "(√δ·simplex, ±√(1-δ)): matched s, unmatched o with (K-2)s - 2(K-1)o = K"),
    ),
    statements=(
        Statement(
            losses.sigmoid_minimum, "abstract: the model contains the optimum", "K ≥ 3, d ≥ K"
        ),
        Statement(sigmoid.sigmoid_simplex, "abstract: one end of the range", "K ≥ 3"),
        Statement(sigmoid.sigmoid_antipodal, "abstract: the other end", "K ≥ 3"),
        Statement(
            sigmoid_ends,
            "abstract: 'ranges from simplex to antipodal, depending on the temperature'",
            "b = t, with the bias subtracted",
            "With the bias added instead (b = -t) neither end is where it was.",
            thresholds,
        ),
    ),
    picture=Picture(
        across="t",
        up="similarity at the optimum",
        caption="Sigmoid loss, K = 8 pairs, logits t⟨u, v⟩ - t. Between its two thresholds the "
        "optimum moves from antipodal towers to the simplex along the double-constant model; "
        "with the bias added instead, towers stay antipodal.",
        points=similarities,
        marks={"antipodal up to": ends(8)[0], "simplex from": ends(8)[1]},
    ),
)
