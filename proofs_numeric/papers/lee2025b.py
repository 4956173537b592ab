"""Lee, Lim, Lee and Sohn (ICML 2025): similarities of positive and negative pairs."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from proofs_numeric import sigmoid
from proofs_numeric.papers import exact
from proofs_numeric.papers.cells import MATCHED, UNMATCHED, judged, tower_cells, traced
from proofs_numeric.reduced import Cell, coincide, differ
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.claims import Beside, Paper, Picture, Point, Statement, Theorem, Verdict
from ssem_jax.losses.kinds import two_tower_sigmoid_terms, two_tower_terms

SOURCE = "Lee, Lim, Lee and Sohn (ICML 2025), as a review states it"


def excess_rows() -> list[Beside]:
    """What the bound allows, and the largest s that is attained: (n + 2(n-1)o)/(n-2)."""
    rows = []
    for n, o in ((4, -Fraction(1, 3)), (4, -Fraction(1, 2)), (10, -Fraction(1, 5))):
        stated, computed = 1 + o + Fraction(1, n - 1), (n + 2 * (n - 1) * o) / (n - 2)
        what = f"largest similarity of positives, n = {n}, mean of negatives {o}"
        rows.append(Beside(what, float(stated), float(computed)))
    return rows


def separation() -> Iterator[Cell]:
    """Both sides of φ'(1) = (n-2)/(2(n-1)) ψ'(-1/(n-1)) for logits t s - b, ψ summed over rows."""
    for n, t, b in ((4, 1.0, 1.0), (4, 1.0, -2.0), (8, 1.0, 2.0), (8, 2.0, -1.0), (8, 4.0, 2.0)):
        pull = t / (1 + np.exp(t - b))
        push = (n - 1) * t / (1 + np.exp(b + t / (n - 1)))
        says = differ(MATCHED) if pull < (n - 2) / (2 * (n - 1)) * push else coincide(MATCHED)
        algebra = built.towers(built.points(n), swap=True)
        yield Cell({"n": n, "t": t, "b": b}, algebra, two_tower_sigmoid_terms(n, t, b), says)


def reach(places: int) -> Iterator[Point]:
    """The stated bound, the sharp one, and where optima of the sigmoid loss lie, n = 8, b = t."""
    for o in (-1, -1 / 7):
        yield Point("stated: 1 + o + 1/(n-1)", o, 1 + o + 1 / 7)
        yield Point("sharp: (n + 2(n-1)o)/(n-2)", o, (8 + 14 * o) / 6)
    algebra, shown = built.towers(built.points(8), swap=True), {"s": MATCHED, "o": UNMATCHED}
    for t in np.linspace(0.5, 1.5, places):
        s, o = traced(t, algebra, two_tower_sigmoid_terms(8, t, t), shown)
        yield Point("optima of the sigmoid loss", (o.low + o.high) / 2, s.low, s.high)


full_batch_similarities = Theorem(
    "full_batch_similarities",
    "InfoNCE of two towers, full batch, d ≥ n-1: at every optimum positives have similarity 1 and "
    "negatives -1/(n-1), at every τ.",
    lambda: judged(tower_cells(two_tower_terms, (2, 3, 8, 40), (0.2, 1.0))),
    SOURCE,
    Verdict.HOLDS,
)
excess_inequality = Theorem(
    "excess_inequality",
    "For all n ≥ 2 and all unit vectors of two towers: E s_pos ≤ 1 + E s_neg + 1/(n-1), negatives "
    "across towers.",
    exact.excess,
    SOURCE,
)
excess_separation = Theorem(
    "excess_separation",
    "Additive losses -φ(s_pos) + ψ(s_neg): positives are apart at the optimum iff φ'(1) < "
    "(n-2)/(2(n-1)) ψ'(-1/(n-1)); judged for the sigmoid loss.",
    lambda: judged(separation()),
    SOURCE,
    Verdict.HOLDS,
)
spectral_instance = Theorem(
    "spectral_instance",
    "The spectral loss -2 s_pos + mean of s_neg² is an instance: its optimum has similarities 1 "
    "and -1/(n-1) for d ≥ n.",
    exact.spectral,
    "the list of losses in a review; whether the paper's theorem covers it so was not read",
    Verdict.REFUTED,
)
batch_variance = Theorem(
    "batch_variance",
    "n pairs in fixed batches of m, each at its own simplex: the variance of negatives lies in "
    "[(n-m), n(n-m)]/((m-1)(n-1)²), and both ends are attained (m from 2 to 6, n from 2m to 5m).",
    exact.variance,
    SOURCE,
)

SNIPPET = """
import numpy as np

n = 4
simplex, frame = (n * np.eye(n) - 1) / (n - 1), np.eye(n)
for name, gram in (("simplex", simplex), ("orthonormal frame", frame)):
    print(name, -2 + np.mean(gram[~np.eye(n, dtype=bool)] ** 2))
"""

paper = Paper(
    key="lee2025b",
    title="On the Similarities of Embeddings in Contrastive Learning",
    authors=("Chungpa Lee", "Sehee Lim", "Kibok Lee", "Jy-yong Sohn"),
    year=2025,
    identifier="arXiv:2506.09781",
    venue="ICML 2025",
    read="third party's summary",
    reading="Abstract, and a review that states Theorems 5.1 to 5.3 and 5.5 (5.1 of additive "
    "losses, too, which is not judged here); the paper itself was not read.",
    notation=(
        ("n pairs, batches of m", "K pairs in all; m is no number of classes"),
        ("s(f; p_pos), s(f; p_neg)", "similarities of matched and of unmatched pairs"),
        ("(c1, c2) = (1, 0)", "negatives across towers only"),
    ),
    statements=(
        Statement(full_batch_similarities, "Theorem 5.1", "InfoNCE type, d ≥ n-1"),
        Statement(
            excess_inequality,
            "Theorem 5.2",
            lesson="Valid, and tight at the simplex only: the sharp bound is (n + 2(n-1)o)/(n-2).",
            beside=excess_rows,
        ),
        Statement(
            excess_separation,
            "Theorem 5.3",
            "c1 = 1, c2 = 0",
            "For the sigmoid loss it is the condition of Lee, Chang and Sohn: an equivalence.",
        ),
        Statement(sigmoid.sigmoid_simplex, "Example 5.4", "sigmoid loss"),
        Statement(
            spectral_instance,
            "list of instances",
            "d ≥ n",
            "x² does not increase where negatives are below 0: the hypothesis on ψ matters.",
            snippet=SNIPPET,
        ),
        Statement(batch_variance, "Theorem 5.5", "m divides n, batches fixed"),
    ),
    picture=Picture(
        across="o, similarity of negatives",
        up="s, similarity of positives",
        caption="n = 8 pairs. The stated bound holds and is attained at the simplex alone; optima "
        "of the sigmoid loss run along the sharp one.",
        points=reach,
    ),
)
