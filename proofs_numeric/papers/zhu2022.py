"""Zhu and others (CVPR 2022): a contrastive loss for long tails that averages over classes."""

import itertools
import math
from collections import Counter

import numpy as np

from proofs_numeric import imbalance
from proofs_numeric.papers.cells import minimum
from ssem_jax.certificate import GAP_TOLERANCE
from ssem_jax.certificate.symmetry import Program, solve_program
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.claims import Beside, Paper, Proof, Statement, Theorem, Verdict
from ssem_jax.losses.terms import BETWEEN, WITHIN, Kind, Term, Terms, softmax_slots

SOURCE = "Zhu, Wang, Chen, Chen and Jiang (CVPR 2022), abstract; the loss is that of the code"
LONG_TAILS = ((2, 1), (2, 1, 1), (6, 2, 2))


def balanced(sizes: tuple[int, ...], tau: float, *, mean: str) -> Terms:
    """BCL: every class, of its features and its centre, is one mean in the denominator."""
    found, counts = Terms((), {}), Counter(sizes)
    for n, count in counts.items():
        anchor = f"feature {n}"
        share = n * count / sum(sizes) if mean == "anchors" else count / len(sizes)
        own = {Kind(WITHIN, anchor, anchor): n - 1, Kind(WITHIN, anchor, f"prototype {n}"): 1}
        against = {kind: number / n for kind, number in own.items()}
        for k, classes in counts.items():
            others = (classes - (k == n)) / (k + 1)
            against[Kind(BETWEEN, anchor, f"feature {k}")] = others * k
            against[Kind(BETWEEN, anchor, f"prototype {k}")] = others
        pulls = {kind: share * number / n / tau for kind, number in own.items() if number}
        found = found + Terms((Term(share, softmax_slots(against, tau)),), pulls)
    return found


def simplex_is_optimal(mean: str) -> Proof:
    """The loss of collapsed classes at a simplex against the certified bound, at every size."""
    gaps: list[float] = []
    for sizes, tau in itertools.product(LONG_TAILS, (0.2, 1.0)):
        algebra, vertex = built.prototypes(sizes), -1 / (len(sizes) - 1)
        program = Program(algebra, balanced(sizes, tau, mean=mean))
        solved = solve_program(program)
        gaps.append(solved.gap)
        kinds = [algebra.names[colour] for colour, _ in algebra.orbits]
        value = program.value(np.array([vertex if k.relation == BETWEEN else 1.0 for k in kinds]))
        if value > solved.lower + GAP_TOLERANCE:
            where = {"sizes": sizes, "tau": tau, "above the minimum": value - solved.value}
            beaten = where if value > solved.value + GAP_TOLERANCE else None
            done = {"cells": len(gaps), "gaps": tuple(gaps)}
            return Proof(False, beaten, undecided=() if beaten else (where,), **done)
    return Proof(True, cells=len(gaps), gaps=tuple(gaps))


def least() -> list[Beside]:
    """log(1 + (K-1) e^{-K/((K-1)τ)}), whatever the sizes."""
    rows = []
    for sizes, tau in (((2, 1, 1), 0.2), ((6, 2, 2), 1.0)):
        stated = math.log1p(2 * math.exp(-1.5 / tau))
        found = minimum(built.prototypes(sizes), balanced(sizes, tau, mean="classes"))
        rows.append(
            Beside(f"least BCL, mean over classes, sizes {sizes}, τ = {tau}", stated, found)
        )
    return rows


bcl_over_classes = Theorem(
    "bcl_over_classes",
    "BCL as a mean over classes, of any sizes: features at the centre of their class, and centres "
    "at a regular simplex, are optimal.",
    lambda: simplex_is_optimal("classes"),
    SOURCE,
    Verdict.HOLDS,
)
bcl_over_anchors = Theorem(
    "bcl_over_anchors",
    "The same of BCL as a mean over anchors, as the code has it for one batch.",
    lambda: simplex_is_optimal("anchors"),
    f"{SOURCE}, read in the other convention",
    Verdict.REFUTED,
)

paper = Paper(
    key="zhu2022",
    title="Balanced Contrastive Learning for Long-Tailed Visual Recognition",
    authors=(
        "Jianggang Zhu",
        "Zheng Wang",
        "Jingjing Chen",
        "Yi-Ping Phoebe Chen",
        "Yu-Gang Jiang",
    ),
    year=2022,
    identifier="arXiv:2207.09052",
    venue="CVPR 2022",
    read="abstract only",
    reading="Abstract, and the released code of the loss. The condition of forming a simplex that "
    "the abstract speaks of was not read, nor over what its bound is averaged.",
    notation=(
        ("class-averaging", "a class's pairs have weight 1 together, in every denominator"),
        ("class-complement: centres", "prototypes(sizes): one unit centre beside the features"),
        ("views", "features; sizes count them"),
        ("positives", "features of the class but the anchor, and its centre"),
        ("mean of the loss", "over anchors in the code; over classes besides"),
    ),
    statements=(
        Statement(
            imbalance.no_simplex_under_imbalance,
            "abstract: SCL 'fails to form a regular simplex'",
            lesson="Refuted: for SCL they are right.",
        ),
        Statement(
            bcl_over_classes,
            "abstract: 'satisfies the condition of forming a regular simplex'",
            "every class has the same weight",
            beside=least,
        ),
        Statement(
            bcl_over_anchors,
            "the same, as the code averages",
            "one batch of classes of unequal sizes",
            "Denominators are balanced, anchors are not: larger classes still push harder.",
        ),
    ),
)
