"""Bangachev, Bresler, Noman and Polyanskiy (NeurIPS 2025): zero loss of the sigmoid loss."""

import math
from collections.abc import Iterator
from fractions import Fraction

from flint import arb

from proofs_numeric import sigmoid
from proofs_numeric.papers import exact
from proofs_numeric.papers.cells import open_question
from ssem_jax import balls
from ssem_jax.claims import Beside, Paper, Picture, Point, Proof, Statement, Theorem, Verdict

SOURCE = "Bangachev, Bresler, Noman and Polyanskiy (NeurIPS 2025)"
CONSTELLATIONS = (
    (3, Fraction(1), Fraction(-1, 2)),
    (8, Fraction(1), Fraction(-1, 7)),
    (8, Fraction(0), Fraction(-4, 7)),  # misaligned: matched pairs are orthogonal
    (1000, Fraction(3, 10), Fraction(1, 10)),
)
"""Pairs N, similarities of matched and of unmatched pairs, on or within the attainable region."""


def loss(number: int, matched: Fraction, unmatched: Fraction, t: int) -> arb:
    """A row of the sigmoid loss with b = b_rel t: one matched pair, N - 1 unmatched ones."""
    bias = (matched + unmatched) / 2
    own = balls.to_ball(-t * (matched - bias)).exp().log1p()
    return own + (number - 1) * balls.to_ball(t * (unmatched - bias)).exp().log1p()


def zero_loss() -> Proof:
    """The loss is N e^{-tm} to a factor of 2 for t = 10, 10², 10³, 10⁴."""
    number = 0
    with balls.working_precision(256):
        for pairs, s, o in CONSTELLATIONS:
            if (pairs - 2) * s - 2 * (pairs - 1) * o > pairs:
                return Proof(False, {"N": pairs, "matched": str(s), "unmatched": str(o)})
            for t in (10, 100, 1000, 10**4):
                found, rate = loss(pairs, s, o, t), balls.to_ball(-t * (s - o) / 2).exp() * pairs
                number += 1
                if not (found < 2 * rate and rate < 2 * found):
                    return Proof(False, undecided=((pairs, t),), enclosures=number)
    return Proof(True, enclosures=number, rigorous=True)


def rates() -> list[Beside]:
    """log(loss)/t at t = 10⁶, and minus the margin."""
    rows, t = [], 10**6
    with balls.working_precision(256):
        for pairs, s, o in CONSTELLATIONS[1:3]:
            rate = float((loss(pairs, s, o, t).log() / t).mid())
            rows.append(Beside(f"log(loss)/t, N = {pairs}, matched {s}", -float(s - o) / 2, rate))
    return rows


def decay(places: int) -> Iterator[Point]:
    """log(loss) of the simplex, and where matched pairs are orthogonal; and slopes -m."""
    _, simplex, misaligned, _ = CONSTELLATIONS
    for name, (pairs, s, o) in (("simplex", simplex), ("matched pairs orthogonal", misaligned)):
        for t in sorted({round(60 * place / places) for place in range(places + 1)}):
            found = loss(pairs, s, o, t).log()
            yield Point(name, t, float(found.lower()), float(found.upper()))
            yield Point(f"{name}: log N - m t", t, math.log(pairs) - t * float(s - o) / 2)


def margins() -> list[Beside]:
    """(1 + b)/(3 - 4/N), and the margin of the simplex, which attains it."""
    rows = []
    for number in (3, 10, 1000):
        margin, bias = exact.largest_margin(number)
        stated = (1 + float(bias)) / (3 - 4 / number)
        rows.append(Beside(f"largest margin, N = {number}, b_rel = {bias}", stated, float(margin)))
    return rows


zero_loss_constellations = Theorem(
    "zero_loss_constellations",
    "Two towers of unit vectors with ⟨U_i, V_i⟩ ≥ m + b and ⟨U_i, V_j⟩ ≤ b - m, m > 0: with bias "
    "b·t the sigmoid loss tends to 0 as t → ∞, like e^{-tm}. Four constellations, t = 10 to 10⁴.",
    zero_loss,
    f"{SOURCE}, Theorem 3.2",
)
margin_inequality = Theorem(
    "margin_inequality",
    "For all N ≥ 2: mean matched similarity ≥ m + b and mean unmatched similarity ≤ b - m imply "
    "(3 - 4/N) m ≤ 1 + b.",
    exact.constellations,
    f"{SOURCE}, Theorem 3.4, as its proof gives it",
)
three_margin_inequality = Theorem(
    "three_margin_inequality",
    "3m ≤ 1 + b is necessary for a constellation.",
    exact.three_margins,
    f"{SOURCE}, the sentence before Theorem 3.4, without its N → ∞",
    Verdict.REFUTED,
)
modality_gap = Theorem(
    "modality_gap",
    "N ≥ d + 2, matched similarities positive and unmatched ones negative: a hyperplane has all "
    "U_i on one side and at least N - d of the V_j on the other.",
    lambda: open_question(
        "a statement about all configurations in R^d, where nothing is minimised"
    ),
    f"{SOURCE}, Theorem 3.6",
    Verdict.UNDECIDED,
)

paper = Paper(
    key="bangachev2025",
    title="Global Minimizers of Sigmoid Contrastive Loss",
    authors=("Kiril Bangachev", "Guy Bresler", "Iliyas Noman", "Yury Polyanskiy"),
    year=2025,
    identifier="arXiv:2509.18552",
    venue="NeurIPS 2025",
    read="theorem read",
    reading="Theorems 3.1 to 3.6 in a public text copy in which displayed formulas are missing; "
    "the inequalities are read from the proofs in the running text.",
    notation=(
        ("N pairs (U_i, V_i)", "K pairs, two towers"),
        ("inverse temperature t, bias b = b_rel t", "logits t⟨u, v⟩ - b"),
        ("margin m, relative bias b_rel", "(s - o)/2 and (s + o)/2 of matched s, unmatched o"),
        ("t, b trainable", "limits t → ∞; every fixed (t, b) is Lee, Chang and Sohn's case"),
    ),
    statements=(
        Statement(zero_loss_constellations, "Theorem 3.2", "m > 0, t and b trainable", "", rates),
        Statement(
            margin_inequality,
            "Theorem 3.4",
            "unit vectors, any d",
            "The edge is Lee, Chang and Sohn's double-constant model.",
            margins,
        ),
        Statement(
            three_margin_inequality,
            "before Theorem 3.4",
            lesson="At finite N it is (3 - 4/N) m: the simplex beats the limit's bound.",
        ),
        Statement(sigmoid.sigmoid_simplex, "what t and b fixed would give", "d ≥ N"),
        Statement(modality_gap, "Theorem 3.6"),
    ),
    picture=Picture(
        across="t",
        up="log of the loss",
        caption="N = 8, b = b_rel t. With t and b trainable a constellation whose matched pairs "
        "are orthogonal reaches zero loss, too: what its margin m sets is how fast.",
        points=decay,
    ),
)
