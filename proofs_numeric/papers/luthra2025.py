"""Luthra, Yang and Galanti (NeurIPS 2025): CL is approximately supervised (NSCL)."""

import itertools
import math
from collections.abc import Iterator

import numpy as np

from proofs_numeric.papers.cells import SIMILARITY, every, judged
from proofs_numeric.reduced import Cell, coincide, equals
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.claims import Beside, Paper, Proof, Statement, Theorem, Verdict
from ssem_jax.losses.kinds import Contrast, contrast_by_kind
from ssem_jax.losses.terms import BETWEEN, SELF, VIEW, WITHIN, Kind
from ssem_jax.problem import ClassStructure

SOURCE = "Luthra, Yang and Galanti (NeurIPS 2025), Theorem 1"
ALL_SIZES = ((1, 1), (2, 2), (3, 1), (3, 3, 3), (5, 2, 1))
ROUNDING = 1e-12


def gap(points: np.ndarray, sizes: tuple[int, ...], tau: float) -> float:
    """L_DCL - L_NSCL: the numerators are the same."""
    ids = np.repeat(np.arange(len(sizes)), sizes)
    terms = np.exp(points @ points.T / tau)
    own = ids[:, None] == ids
    strange = np.where(own, 0, terms).sum(1)
    same = np.where(own & ~np.eye(len(ids), dtype=bool), terms, 0).sum(1)
    return float(np.mean(np.log1p(same / strange)))


def bound(sizes: tuple[int, ...], reach: float = 2.0) -> float:
    """log(1 + n_max e²/(N - n_max))."""
    most, total = max(sizes), sum(sizes)
    return math.log1p(most * math.exp(reach) / (total - most))


def embeddings(sizes: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Random ones, and collapsed classes on a line or at random."""
    rng, ids = np.random.default_rng(0), np.repeat(np.arange(len(sizes)), sizes)
    yield np.where(ids == 0, 1.0, -1.0)[:, None]
    for _, dim in itertools.product(range(100), (1, 2, 5)):
        for points in (rng.normal(size=(len(ids), dim)), rng.normal(size=(len(sizes), dim))[ids]):
            yield points / np.linalg.norm(points, axis=1, keepdims=True)


def within_bound(tau: float = 1.0) -> Proof:
    """0 ≤ gap ≤ bound: same-class terms are at most e, n_k - 1 of them, and others at least 1/e."""
    number = 0
    for sizes in ALL_SIZES:
        for points in embeddings(sizes):
            number += 1
            found, stated = gap(points, sizes, tau), bound(sizes)
            if not -ROUNDING <= found <= stated + ROUNDING:
                where = {"sizes": sizes, "tau": tau, "gap": found, "bound": stated}
                return Proof(False, where, cells=number)
    return Proof(True, cells=number)


def largest_gap() -> list[Beside]:
    """The bound, and the gap of two antipodal collapsed classes: log(1 + (n-1) e²/n)."""
    rows = []
    for n in (2, 10, 100):
        points = np.repeat([1.0, -1.0], n)[:, None]
        rows.append(Beside(f"largest gap, C = 2, n = {n}", bound((n, n)), gap(points, (n, n), 1.0)))
    return rows


def collapse() -> Iterator[Cell]:
    """NSCL: views and instances coincide, and class means form the simplex."""
    for m, n, p in ((2, 2, 2), (3, 4, 2), (10, 5, 3)):
        structure, size = ClassStructure.balanced(m, n, p), str(n)
        loss = [Contrast(1.0, {BETWEEN: 1.0}, {SELF: 1 / p, VIEW: 1 - 1 / p})]
        view, within, between = (Kind(r, size, size) for r in (VIEW, WITHIN, BETWEEN))
        vertex = equals(between, -1 / (m - 1), SIMILARITY)
        says = every(coincide(view), coincide(within), vertex)
        for tau in (0.5, 1.0):
            where = {"m": m, "n": n, "p": p, "tau": tau}
            yield Cell(
                where, built.classes(structure), contrast_by_kind(structure, loss, tau), says
            )


nscl_bound = Theorem(
    "nscl_bound",
    "L_NSCL ≤ L_DCL ≤ L_NSCL + log(1 + n_max e²/(N - n_max)) for all unit embeddings (τ = 1).",
    within_bound,
    SOURCE,
    Verdict.HOLDS,
)
nscl_bound_any_temperature = Theorem(
    "nscl_bound_any_temperature",
    "The same bound at τ = 0.1.",
    lambda: within_bound(0.1),
    f"{SOURCE}, outside its hypothesis τ = 1; e^(2/τ) takes the place of e²",
    Verdict.REFUTED,
)
nscl_collapse = Theorem(
    "nscl_collapse",
    "Global minimisers of NSCL, balanced classes: augmentations and classes collapse, and class "
    "centres form a simplex ETF.",
    lambda: judged(collapse()),
    SOURCE.replace("Theorem 1", "abstract"),
    Verdict.HOLDS,
)

paper = Paper(
    key="luthra2025",
    title="Self-Supervised Contrastive Learning is Approximately Supervised Contrastive Learning",
    authors=("Achleshwar Luthra", "Tianbao Yang", "Tomer Galanti"),
    year=2025,
    identifier="arXiv:2506.04411",
    venue="NeurIPS 2025",
    read="third party's summary",
    reading="Abstract, the authors' project page (Theorem 1, balanced) and a survey that quotes it "
    "with n_max. The paper's proof was not read.",
    notation=(
        ("C classes, N samples, K augmentations", "m, total of the sizes, p views"),
        ("DCL", "denominator: all other samples, whatever their class"),
        ("NSCL", "denominator: samples of other classes only"),
        ("sim without a temperature", "τ = 1"),
    ),
    statements=(
        Statement(
            nscl_bound,
            "Theorem 1",
            "τ = 1",
            "n_max - 1 in place of n_max is enough, and is attained for two classes.",
            largest_gap,
        ),
        Statement(nscl_bound_any_temperature, "Theorem 1, without τ = 1"),
        Statement(nscl_collapse, "abstract: global minimisers", "balanced classes, d ≥ C-1"),
    ),
)
