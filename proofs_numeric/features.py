"""Neural collapse of a last layer: weights and free features under cross-entropy.

Optima over all weights and features of all dimensions, within ridge, budgets, balls or unit norms.
What one parameter rules is proven for all sizes and norms; the rest is judged on certified cells
(:mod:`ssem_jax.certificate.features`), to the tolerance of their gaps.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from proofs_numeric.thresholds import proof_of
from ssem_jax import balls, theory
from ssem_jax.certificate import GAP_TOLERANCE, FeatureOptimum, minority_threshold
from ssem_jax.certificate.features import solve_kinds
from ssem_jax.certificate.features.program import FeatureProgram, Kinds, kinds_of
from ssem_jax.claims import Proof, Theorem, Verdict
from ssem_jax.losses import Balls, Budget, CrossEntropy, Ridge, SquaredError, Unit

SOURCE = "derived here: Gibbs' inequality, and the dual norm of what bounds weights and features"
SIDE = 1e-3
"""Relative distance from a threshold at which both sides are judged."""
RATIO_SIDE = 2e-2
"""The same of ratios of sizes: a minority of one sample in 35,000 leaves few digits to tell."""
DIGITS = 1e-5
"""Relative accuracy of thresholds that are stated to six digits."""
WIDEST = 1e-2
"""Relative widths of brackets of norms, and widths of those of cosines, at the most."""
THRESHOLDS = (
    ((2, 2), (1.0, 1.0), 3.38049),
    ((5, 5), (1.0, 1.0), 1.73542),
    ((7, 3), (10.0, 5.0), 5023.9),
)
"""(K_A, K_B), (E_W, E_H), and the ratio of sizes from which on minorities merge."""


class Cell(NamedTuple):
    """A cell and what is said of its optimum: True, False, or None where it cannot be told."""

    where: dict[str, Any]
    found: FeatureOptimum
    says: bool | None


def judged(cells: Iterable[Cell]) -> Proof:
    """Whether all say so, of gaps that are small enough."""
    gaps: list[float] = []
    for where, found, says in cells:
        gaps.append(found.gap)
        says = says if found.gap <= GAP_TOLERANCE else None
        if not says:
            against = where if says is False else None
            undecided = () if against else (where,)
            return Proof(False, against, undecided=undecided, cells=len(gaps), gaps=tuple(gaps))
    return Proof(True, cells=len(gaps), gaps=tuple(gaps))


def _attained(found: FeatureOptimum, value: float) -> bool:
    """Whether a minimum is as stated, within what the gap resolves."""
    return found.lower - GAP_TOLERANCE <= value <= found.value + GAP_TOLERANCE


def balanced() -> Iterator[Cell]:
    """Stated losses of balanced classes, and simplexes."""
    for k, n in ((2, 5), (3, 1), (10, 50), (1000, 20)):
        ridges = [(1e-5 / n, 1e-3, eps) for eps in (0.0, 0.1)]
        cells = [
            (CrossEntropy(Ridge(w, h), bias, eps), theory.balanced_ridge(k, n, w, h, eps).loss)
            for w, h, eps in ridges
            for bias in (False, True)
        ]
        norms = (Budget(2.0, 0.5), Balls(0.5, 2.0), Unit(1.0))
        cells += [(CrossEntropy(each), theory.simplex_cross_entropy(k, 1.0)) for each in norms]
        for loss, value in cells:
            found = solve_kinds(loss, Kinds(np.array([float(n)]), np.array([float(k)])))
            says = _attained(found, value) and found.simplex_distance < SIDE
            yield Cell({"classes": k, "samples": n, "loss": str(loss)}, found, says)


def squared() -> Iterator[Cell]:
    """Stated squared errors, and margins of logits on both sides of the law."""
    for sizes in ((9, 9), (40, 40, 6, 6), (500, 100, 100, 20, 20, 20), (7,) * 100):
        small, total = min(sizes), sum(sizes)
        for bias in (False, True):
            for factor in (1e-3, 1 - SIDE, 1 + SIDE):
                decay = math.sqrt(factor * small) / total
                found = solve_kinds(SquaredError(Ridge(decay, decay), bias), kinds_of(sizes))
                low, high = (ends[-1, -1] for ends in found.margin_brackets)
                margin = theory.ridge_margin(small, total, decay, decay)
                says = _attained(found, theory.squared_ridge(sizes, decay, decay, bias))
                where = {"sizes": sizes[:6], "bias": bias, "decay": decay}
                yield Cell(where, found, says and bool(low <= margin <= high))


def _stated_ends(found: FeatureOptimum, first: float, second: float) -> bool:
    """Whether norms, cosines and alignment of balanced classes lie within their ends."""
    (k,), (n,), ends = found.kinds.counts, found.kinds.sizes, found.brackets
    other = theory.balanced_ridge(round(k), round(n), first, second).other
    size = (1 - 1 / k) * math.log((1 - (k - 1) * other) / other)
    stated = (
        (ends.weights.norms, math.sqrt(size * math.sqrt(n * second / first))),
        (ends.features.norms, math.sqrt(size * math.sqrt(first / (n * second)))),
        (ends.weights.cosines, -1 / (k - 1)),
        (ends.features.cosines, -1 / (k - 1)),
        (ends.alignment, 1.0),
    )
    return all(bool(np.all((low <= at) & (at <= high))) for (low, high), at in stated)


def enclosed() -> Iterator[Cell]:
    """Norms and cosines of balanced classes with weight decay, within narrow ends."""
    for k, n in ((2, 5), (3, 1), (10, 50), (1000, 20)):
        first, second = 1e-5 / n, 1e-3
        kinds = Kinds(np.array([float(n)]), np.array([float(k)]))
        found = solve_kinds(CrossEntropy(Ridge(first, second)), kinds)
        says = _stated_ends(found, first, second) and max(found.unknown) < WIDEST
        yield Cell({"classes": k, "samples": n}, found, says)


def _state(found: FeatureOptimum, state: str, place: int = -1) -> bool | None:
    merging = found.merging[place]
    return None if merging == "undecided" else merging == state


def both_sides_of_the_law() -> Iterator[Cell]:
    """Sizes just below and above N² λ_W λ_H, with margins beside."""
    for sizes in ((40, 40, 6, 6), (500, 100, 100, 20, 20, 20), (9, 9)):
        small, total = min(sizes), sum(sizes)
        for bias in (False, True):
            for factor, state in ((1 - SIDE, "apart"), (1 + SIDE, "merged")):
                decay = math.sqrt(factor * small) / total
                found = solve_kinds(CrossEntropy(Ridge(decay, decay), bias), kinds_of(sizes))
                low, high = (ends[-1, -1] for ends in found.margin_brackets)
                margin = theory.ridge_margin(small, total, decay, decay)
                says = _state(found, state)
                where = {"sizes": sizes, "bias": bias, "decay": decay}
                yield Cell(where, found, says and bool(low <= margin <= high))


def minority() -> Iterator[Cell]:
    """Both sides of the stated ratios, which are found anew."""
    for counts, energies, ratio in THRESHOLDS:
        loss = CrossEntropy(Budget(*energies))
        near = abs(minority_threshold(loss, *counts) / ratio - 1) <= DIGITS
        for side, state in ((1 - RATIO_SIDE, "apart"), (1 + RATIO_SIDE, "merged")):
            sizes = np.array([side * ratio, 1.0])
            found = solve_kinds(loss, Kinds(sizes, np.array(counts, float)))
            where = {"classes": counts, "energies": energies, "ratio": side * ratio}
            yield Cell(where, found, _state(found, state) if near else False)


def _labels(sizes: tuple[int, ...]) -> np.ndarray:
    """(K, N) simplex-encoded labels: SELI's logits."""
    own = np.repeat(np.eye(len(sizes)), sizes, axis=1)
    return own - own.mean(axis=0)


def support_vectors() -> Proof:
    """SELI solves min ‖Z‖_* with z_own - z_other ≥ 1: the multipliers UVᵀ of its dual, of which
    columns sum to 0, are negative off the labels."""
    worst = -np.inf
    for sizes in ((10, 10, 1, 1), (100, 10, 1), (5, 5, 5), (50, 20, 8, 3, 1)):
        encoded = _labels(sizes)
        left, values, right = np.linalg.svd(encoded, full_matrices=False)
        kept = values > 1e-9 * values[0]
        dual = left[:, kept] @ right[kept]
        off = dual[encoded < 0].max()
        if off >= 0:
            return Proof(False, {"sizes": sizes, "multiplier": float(off)})
        worst = max(worst, float(off))
    return Proof(True, cells=4, signs=4, gaps=(0.0,) * 4)


def _cosine(decay: float, sizes: tuple[int, ...]) -> tuple[FeatureOptimum, float]:
    """The cosine of the optimum's centred logits and SELI's, over samples."""
    kinds = kinds_of(sizes)
    found = solve_kinds(CrossEntropy(Ridge(decay, decay)), kinds)
    program = FeatureProgram(found.loss, kinds)
    logits = np.log(found.outputs)
    means = np.sum(program.copies * logits, axis=1, keepdims=True) / kinds.num_classes
    count, other = logits - means, np.full_like(logits, -1 / kinds.num_classes)
    other[:, 0] += 1
    weight = program.shares[:, None] * program.copies

    def inner(one: np.ndarray, two: np.ndarray) -> float:
        return float(np.sum(weight * one * two))

    return found, inner(count, other) / math.sqrt(inner(count, count) * inner(other, other))


def towards_seli() -> Iterator[Cell]:
    """Cosines with SELI at falling weight decay: they rise, and are not 1."""
    sizes, before = (10, 10, 1, 1), 0.0
    for decay in (1e-2, 1e-3, 1e-4, 1e-5):
        found, cosine = _cosine(decay, sizes)
        yield Cell({"decay": decay, "cosine": cosine}, found, before < cosine < 1 - SIDE / 10)
        before = cosine


simplex_of_last_layers = Theorem(
    "simplex_of_last_layers",
    "Cross-entropy of K balanced classes: the simplex of weights and collapsed features is optimal "
    "over all weights and features, for all real K ≥ 2, with weight decay (any smoothing, any "
    "bias), budgets, balls and unit norms; the loss is that of theory.balanced_ridge and "
    "theory.simplex_cross_entropy.",
    lambda: proof_of(balls.prove_simplex_features()),
    "Zhu et al. (NeurIPS 2021), Fang et al. (PNAS 2021), Wang et al. (ACM MM 2017); " + SOURCE,
)
equal_classes_merge = Theorem(
    "equal_classes_merge",
    "Cross-entropy with weight decay: two classes of n samples have one weight iff n ≤ N²·λ_W·λ_H, "
    "whatever the other classes; above, p_own - p_other = 1 - N√(λ_W λ_H/n). With a bias as well.",
    lambda: proof_of(balls.prove_merging()),
    SOURCE,
)
balanced_last_layers = Theorem(
    "balanced_last_layers",
    "The losses that theory states for balanced classes are the certified minima, and weights form "
    "a simplex.",
    lambda: judged(balanced()),
    SOURCE,
    Verdict.HOLDS,
)
squared_error_shrinks_labels = Theorem(
    "squared_error_shrinks_labels",
    "Squared error with weight decay: least over all weights and features are logits whose "
    "singular values are those of the labels less N√(λ_W λ_H), or 0; it is theory.squared_ridge.",
    lambda: proof_of(balls.prove_squared_error()),
    "Tirer and Bruna (ICML 2022) for balanced classes; " + SOURCE,
)
squared_error_of_last_layers = Theorem(
    "squared_error_of_last_layers",
    "The squared errors that theory states, with free biases or none, are the certified minima, "
    "and margins of logits follow the law of merging on both sides.",
    lambda: judged(squared()),
    SOURCE,
    Verdict.HOLDS,
)
norms_of_last_layers = Theorem(
    "norms_of_last_layers",
    "Cross-entropy of balanced classes with weight decay: squared norms (1-1/K)β√(nλ_H/λ_W) and "
    "(1-1/K)β√(λ_W/(nλ_H)), β = log p - log q, cosines -1/(K-1) and alignment lie in the brackets "
    "of every near-optimal last layer.",
    lambda: judged(enclosed()),
    SOURCE,
    Verdict.HOLDS,
)
merging_on_both_sides = Theorem(
    "merging_on_both_sides",
    "Within a thousandth of N²·λ_W·λ_H classes merge below and part above, with stated margins.",
    lambda: judged(both_sides_of_the_law()),
    SOURCE,
    Verdict.HOLDS,
)
layer_peeled_minorities = Theorem(
    "layer_peeled_minorities",
    "Layer-peeled model: minority classes merge from a ratio of sizes on, 3.38049, 1.73542 and "
    "5023.9 for (K_A, K_B, E_W, E_H) = (2,2,1,1), (5,5,1,1) and (7,3,10,5).",
    lambda: judged(minority()),
    "Fang, He, Long and Su (PNAS 2021): that there is a threshold; numbers computed here",
    Verdict.HOLDS,
)
seli_of_support_vectors = Theorem(
    "seli_of_support_vectors",
    "Simplex-encoded labels solve the support-vector program of weights and features at the tested "
    "imbalances.",
    support_vectors,
    "Thrampoulidis, Kini, Vakilian and Behnia (NeurIPS 2022), abstract",
    Verdict.HOLDS,
)
seli_is_a_limit = Theorem(
    "seli_is_a_limit",
    "Optima of cross-entropy come closer to simplex-encoded labels as weight decay falls to 1e-5, "
    "and are not there yet.",
    lambda: judged(towards_seli()),
    "Thrampoulidis, Kini, Vakilian and Behnia (NeurIPS 2022), abstract: the limit of no ridge",
    Verdict.HOLDS,
)
