"""Classes of unequal size: the order in which they leave collapse, and the angles of their means.

Self pairs are included and p = 1 throughout. Brackets of single classes range over all embeddings
that are at least as good as the ones found, by the reduced problem of
:mod:`ssem_jax.certificate.class_brackets`.
"""

from __future__ import annotations

import itertools
from typing import Any, cast

import numpy as np
from flint import fmpz_mpoly_ctx

from ssem_jax.certificate import COLLAPSE_TOLERANCE
from ssem_jax.claims import (
    EQUALITY_TOLERANCE,
    Cells,
    Claim,
    Domain,
    Interval,
    Proof,
    Theorem,
    Verdict,
    equal,
    same_phase,
)
from ssem_jax.problem import ClassStructure, Phase
from ssem_jax.sweeps import Grid
from ssem_jax.theory.unequal import minority_collapse_ratio, two_class_threshold

_ORDER = "derived here"
_BOTH = ("pairs", "anchors")
_COLD = 0.2
"""The temperature at which limits τ → 0 are judged; off-class terms are e^{-1.5/τ} = 6e-4 there."""
_COLD_BAND = 0.02
"""How far thresholds may still lie above their limits at τ = 0.2."""


def _grid(sizes, alphas, temperatures, means=_BOTH) -> Grid:
    structures = tuple(ClassStructure(each) for each in sizes)
    return Grid(structures, ("full",), alphas, temperatures, ("include",), means)


_ALPHAS = (0.0, 0.11, 0.23, 0.37, 0.61, 0.93)
_TEMPERATURES = (0.2, 0.45, 1.0, 2.5)
# One number of embeddings throughout, so that one compiled kernel serves all sizes.
_SIZES = ((10, 5, 3), (12, 4, 2), (14, 2, 2), (9, 6, 3))
UNEQUAL = Domain(
    grids=(_grid(_SIZES, _ALPHAS, _TEMPERATURES),),
    quick=(_grid(_SIZES[:2], _ALPHAS[:5:2], _TEMPERATURES[1:]),),
    full=(
        _grid(
            (*_SIZES, (8, 8, 2), (16, 1, 1), (7, 6, 5)),
            tuple(np.linspace(0, 1, 17)),
            (0.2, 0.3, 0.45, 0.7, 1.0, 1.6, 2.5),
        ),
        _grid(((7, 5, 3, 2, 1), (6, 6, 2, 2, 2)), _ALPHAS, _TEMPERATURES),
    ),
)
"""Three classes of unequal size, N = 18, d = 17; five classes in the full size."""


def _near(sizes, limits) -> Grid:
    """Cells at τ = 0.2 on both sides of the limits of the thresholds."""
    alphas = sorted({limit + step for limit in limits for step in (-0.01, 0.0, 0.03)})
    return _grid((sizes,), alphas, (_COLD,))


def _limits(sizes) -> tuple[float, ...]:
    total = sum(sizes)
    return (total / sum(size * size for size in sizes), *(1 / size for size in set(sizes)))


COLD = Domain(
    grids=tuple(_near(sizes, _limits(sizes)) for sizes in ((12, 4, 2), (9, 6, 3))),
    quick=(_near((12, 4, 2), _limits((12, 4, 2))),),
    full=tuple(_near(sizes, _limits(sizes)) for sizes in (*_SIZES, (7, 6, 5))),
)

MINORITIES = Domain(
    grids=(
        _grid(((14, 2, 2), (12, 3, 3)), (0.0, 0.04), (0.5, 1.0, 1.9, 2.1, 3.0, 3.5), ("anchors",)),
    ),
    quick=(_grid(((14, 2, 2),), (0.0,), (1.0, 1.9, 2.1), ("anchors",)),),
    full=(
        _grid(((14, 2, 2), (12, 3, 3)), (0.0, 0.04), np.linspace(0.4, 4, 19), ("anchors",)),
        _grid(((13, 2, 2),), (0.0,), (1.9, 2.0, 2.1), ("anchors",)),
        _grid(((48, 2, 2),), (0.0,), (0.98, 1.0, 1.02), ("anchors",)),
        _grid(((49, 2, 2),), (0.0,), (0.98, 1.0, 1.02), ("anchors",)),
        _grid(((30, 2, 2, 2),), (0.0,), (1.0, 1.4, 1.8), ("anchors",)),
    ),
)
"""One majority class and equal minority classes; at τ = 2, minorities merge from 13.6 to 2 on."""

FOURFOLD = Domain(
    grids=(_grid(((8, 2, 2),), (0.0, 0.02), (0.5, 1.0), ("anchors",)),),
    full=(_grid(((8, 2, 2), (20, 5, 5)), (0.0, 0.02), (0.3, 0.5, 1.0), ("anchors",)),),
)
"""A majority of four times the size: cosines depend on the ratio alone."""


def _two_class_grids(all_sizes, temperatures) -> tuple[Grid, ...]:
    """α on both sides of the first threshold."""
    grids = []
    for sizes, tau in itertools.product(all_sizes, temperatures):
        for mean in _BOTH:
            threshold = float(np.min(two_class_threshold(sizes, tau, mean)))
            grids.append(_grid((sizes,), (threshold - 0.003, threshold + 0.003), (tau,), (mean,)))
    return tuple(grids)


TWO = Domain(
    grids=_two_class_grids(((10, 2), (8, 4), (7, 5)), (0.3, 1.0)),
    quick=_two_class_grids(((8, 4),), (0.3, 1.0)),
    full=_two_class_grids(((10, 2), (9, 3), (8, 4), (7, 5)), (0.2, 0.3, 0.5, 1.0, 2.0)),
)


def larger_first(cell: Cells) -> Interval:
    """Negative where a smaller class is spread and a larger one is collapsed."""
    variance, low, high = cell.class_delta2, [], []
    for row, text in enumerate(cell.table["sizes"]):
        n = np.array([int(size) for size in text.split(",")])
        larger, smaller = np.nonzero(n[:, None] > n)
        parts, stays = variance.low[row, larger], variance.high[row, smaller]
        holds = np.maximum(parts - COLLAPSE_TOLERANCE, COLLAPSE_TOLERANCE - stays)
        together = COLLAPSE_TOLERANCE - variance.high[row, larger]
        broken = np.minimum(variance.low[row, smaller] - COLLAPSE_TOLERANCE, together)
        low.append(holds.min())
        high.append(-broken.max())
    return Interval(low, np.maximum(low, high))


larger_classes_first = Claim(
    name="larger_classes_first",
    statement="Classes of unequal size, both means: wherever a class is spread, so is every "
    "larger one; larger classes leave collapse at smaller α.",
    source=f"{_ORDER}; proven for m = 2 and the per-anchor mean (larger_class_first_two), "
    "numerical for m ≥ 3",
    margin=larger_first,
    domain=UNEQUAL,
    expected=Verdict.HOLDS,
)


def _threshold_margin(cell: Cells, limits: np.ndarray) -> Interval:
    """Each class is collapsed for α up to its limit, and spread from a band above it on."""
    variance = cell.class_delta2
    alpha = cell.alpha[:, None]
    below, above = alpha <= limits + 1e-12, alpha >= limits + _COLD_BAND
    collapsed, spread = COLLAPSE_TOLERANCE - variance, variance - COLLAPSE_TOLERANCE
    return np.where(below, collapsed, np.where(above, spread, np.inf)).min(axis=1)


def _mean_is(mean: str):
    return lambda cell: cell.table["mean"].to_numpy() == mean


thresholds_per_anchor = Claim(
    name="thresholds_per_anchor",
    statement="Per-anchor mean: as τ → 0, class k leaves collapse at α = 1/n_k. At τ = 0.2 it is "
    "collapsed for α ≤ 1/n_k and spread for α ≥ 1/n_k + 0.02.",
    source=_ORDER,
    margin=lambda cell: _threshold_margin(cell, 1 / cell.class_sizes),
    where=_mean_is("anchors"),
    domain=COLD,
    expected=Verdict.HOLDS,
)

thresholds_per_pair = Claim(
    name="thresholds_per_pair",
    statement="Mean over pairs: as τ → 0, all classes leave collapse at one α = Σ n_k / Σ n_k². At "
    "τ = 0.2 all are collapsed up to it, and all are spread from 0.02 above it on.",
    source=_ORDER,
    margin=lambda cell: _threshold_margin(
        cell, (cell.class_sizes.sum(1) / (cell.class_sizes**2).sum(1))[:, None]
    ),
    where=_mean_is("pairs"),
    domain=COLD,
    expected=Verdict.HOLDS,
)


def _two_class_phase(cell: Cells) -> Interval:
    thresholds = []
    for sizes, tau, mean in cell.table.select("sizes", "temperature", "mean").rows():
        first, second = map(int, sizes.split(","))
        thresholds.append(np.min(two_class_threshold((first, second), tau, mean)))
    return same_phase(
        cell.phase, np.where(cell.alpha <= thresholds, int(Phase.COLLAPSE), int(Phase.SPREAD))
    )


two_class_boundary = Claim(
    name="two_class_boundary",
    statement="m = 2, either mean: collapse ends at the smaller of two thresholds; per anchor "
    "α_k = 1 - (n_k-1)[1/D_k - (n_l/2n_k) y (1/D_1+1/D_2)], y = e^{-2/τ}, D_k = n_k + n_l y.",
    source=_ORDER,
    margin=_two_class_phase,
    domain=TWO,
    expected=Verdict.HOLDS,
)


def _collapsed(cell: Cells) -> np.ndarray:
    return cell.phase == Phase.COLLAPSE


def _angle_spread(cell: Cells) -> Interval:
    """What the cosines of collapsed class means may differ by, at least and at most."""
    cosines = cell.class_products
    spread = np.maximum(cosines.max(axis=1) - cosines.min(axis=1), 0)
    return cast(Interval, EQUALITY_TOLERANCE - spread)  # functions of NumPy keep intervals


no_simplex_under_imbalance = Claim(
    name="no_simplex_under_imbalance",
    statement="The class means of collapsed optima form a simplex ETF whatever the class sizes.",
    source="true for balanced classes (Graf et al., ICML 2021); refuted here. Non-uniform class "
    "angles of SupCon under imbalance: arXiv:2605.13943",
    margin=_angle_spread,
    where=_collapsed,
    closed=True,
    domain=UNEQUAL,
    expected=Verdict.REFUTED,
)


def majority_cosine(num_minorities: int, ratio: float, temperature: float) -> float:
    r"""The cosine c of the majority with each of k collapsed minorities, by bisection.

    .. math:: \frac{\rho k x}{\rho k + k x} + \frac{\rho k x + 2 c k z}{1 + \rho k x + (k-1) z} = 0,
              \quad x = e^{(c-1)/\tau}, \; z = e^{(e-1)/\tau}, \; e = c^2 - \frac{1-c^2}{k-1}

    and c = -1 where the left side is not negative there, which means ρ = n/(k n') is at least
    the critical ratio.
    """
    k, low, high = num_minorities, -1.0, 0.0

    def slope(c: float) -> float:
        x = np.exp((c - 1) / temperature)
        z = np.exp((c * c - (1 - c * c) / (k - 1) - 1) / temperature)
        major = k * ratio * x
        return major / (k * ratio + k * x) + (major + 2 * c * k * z) / (1 + major + (k - 1) * z)

    if slope(low) >= 0:
        return low
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 0.5 * (low + high)


def _majorities(cell: Cells) -> list[tuple[int, float, float]]:
    """(k, ρ, τ) of cells whose first class is the majority and whose others are equal."""
    n = cell.class_sizes
    return [
        (len(row) - 1, row[0] / row[1:].sum(), tau)
        for row, tau in zip(n, cell.temperature, strict=True)
    ]


def _first_product(cell: Cells) -> Interval:
    return cell.class_products[:, 0]


minority_angles = Claim(
    name="minority_angles",
    statement="Per-anchor mean, one majority and two equal minority classes, collapsed: the cosine "
    "c of majority and minority is the root of one equation, and minorities have cosine 2c²-1. "
    "Sizes (20, 5, 5), or any 4 : 1 : 1, τ = 0.5: c = -0.616 and -0.241.",
    source=_ORDER,
    margin=lambda cell: equal(
        _first_product(cell), [majority_cosine(*where) for where in _majorities(cell)]
    ),
    where=_collapsed,
    domain=FOURFOLD,
    expected=Verdict.HOLDS,
)


def _merging(cell: Cells) -> Interval:
    """Positive where minorities coincide iff the closed form says so."""
    merged = [ratio >= minority_collapse_ratio(k, tau) for k, ratio, tau in _majorities(cell)]
    apart = 1 - cell.class_products[:, -1]
    margin: Any = np.where(merged, COLLAPSE_TOLERANCE - apart, apart - COLLAPSE_TOLERANCE)
    return margin  # an interval, as functions of NumPy keep them


minority_collapse = Claim(
    name="minority_collapse",
    statement="Per-anchor mean, one majority of n and k minorities of n' instances, collapsed: the "
    "minority classes merge at finite imbalance, iff ρ = n/(k n') has y(1+y)ρ² + [y(1+y)-2]ρ - 2y "
    "≥ 0, y = e^{-2/τ}. For k = 2: n/n' ≥ 24.32 at τ = 1, 6.81 at τ = 2.",
    source=f"{_ORDER}; for cross-entropy in the limit: Fang, He, Long and Su (PNAS 2021)",
    margin=_merging,
    where=_collapsed,
    domain=MINORITIES,
    expected=Verdict.HOLDS,
)

global_mean_vanishes = Claim(
    name="global_mean_vanishes",
    statement="The total variance of an optimum is 1 (its global mean is zero) whatever the class "
    "sizes.",
    source="true for balanced classes; refuted here",
    margin=lambda cell: COLLAPSE_TOLERANCE - cell.mean_squared,
    closed=True,
    domain=UNEQUAL,
    expected=Verdict.REFUTED,
    quantity="mean_squared",
)


def _two_class_polynomials():
    """n_2 (n_1-1) E_1 - n_1 (n_2-1) E_2, which has the sign of α_2 - α_1; its factor n_1 - n_2.

    With E_k = 2 n_1 n_2 + 2 n_k² y - n_l (n_1+n_2) y (1+y), the thresholds are
    α_k = 1 - (n_k-1) E_k / (2 n_k D_1 D_2); n_2 = 2 + a, n_1 = 2 + a + b.
    """
    a, b, y = fmpz_mpoly_ctx.get(("a", "b", "y"), "lex").gens()
    small, large = a + 2, a + b + 2
    total = small + large

    def bracket(own, other):
        return 2 * small * large + 2 * own**2 * y - other * total * y * (1 + y)

    first = small * (large - 1) * bracket(large, small)
    second = large * (small - 1) * bracket(small, large)
    return first - second, b


def _larger_first_two() -> Proof:
    """The difference is (n_1-n_2) times a polynomial of positive coefficients in a, b and y."""
    difference, factor = _two_class_polynomials()
    quotient, remainder = divmod(difference, factor)
    coefficients = [int(value) for value in quotient.coeffs()]
    constant = int(quotient.to_dict().get((0, 0, 0), 0))
    proven = remainder == 0 and min(coefficients) >= 0 and constant > 0
    return Proof(proven, signs=len(coefficients), rigorous=True)


larger_class_first_two = Theorem(
    name="larger_class_first_two",
    statement="m = 2, per-anchor mean: for all real n_1 > n_2 ≥ 2 and all τ > 0 the larger class "
    "has the smaller threshold α_1 < α_2, so it leaves collapse first.",
    prove=_larger_first_two,
    source="integer polynomial arithmetic on the closed-form thresholds",
)
