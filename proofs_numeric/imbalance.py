"""Classes of unequal size: the order in which they leave collapse, and the angles of their means.

Self pairs are included and p = 1 throughout. Brackets of single classes range over all embeddings
that are at least as good as the ones found, by the reduced problem of
:mod:`ssem_jax.certificate.symmetry`.
"""

import itertools

import numpy as np

from proofs_numeric import evidence
from ssem_jax.certificate import COLLAPSE_TOLERANCE
from ssem_jax.claims import Claim, Domain, Theorem, Verdict, equal
from ssem_jax.problem import ClassStructure
from ssem_jax.sweeps import Grid
from ssem_jax.theory import majority_cosine, two_class_threshold

_ORDER = "derived here"
_BOTH = ("pairs", "anchors")
_COLD = 0.2
"""The temperature at which limits τ → 0 are judged; off-class terms are e^{-1.5/τ} = 6e-4 there."""


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


larger_classes_first = Claim(
    name="larger_classes_first",
    statement="Classes of unequal size, both means: wherever a class is spread, so is every "
    "larger one; larger classes leave collapse at smaller α.",
    source=f"{_ORDER}; proven for m = 2 and the per-anchor mean (larger_class_first_two), "
    "numerical for m ≥ 3",
    margin=evidence.larger_first,
    domain=UNEQUAL,
    expected=Verdict.HOLDS,
)


thresholds_per_anchor = Claim(
    name="thresholds_per_anchor",
    statement="Per-anchor mean: as τ → 0, class k leaves collapse at α = 1/n_k. At τ = 0.2 it is "
    "collapsed for α ≤ 1/n_k and spread for α ≥ 1/n_k + 0.02.",
    source=_ORDER,
    margin=lambda cell: evidence.threshold_margin(cell, 1 / cell.class_sizes),
    where=evidence.mean_is("anchors"),
    domain=COLD,
    expected=Verdict.HOLDS,
)

thresholds_per_pair = Claim(
    name="thresholds_per_pair",
    statement="Mean over pairs: as τ → 0, all classes leave collapse at one α = Σ n_k / Σ n_k². At "
    "τ = 0.2 all are collapsed up to it, and all are spread from 0.02 above it on.",
    source=_ORDER,
    margin=lambda cell: evidence.threshold_margin(
        cell, (cell.class_sizes.sum(1) / (cell.class_sizes**2).sum(1))[:, None]
    ),
    where=evidence.mean_is("pairs"),
    domain=COLD,
    expected=Verdict.HOLDS,
)


two_class_boundary = Claim(
    name="two_class_boundary",
    statement="m = 2, either mean: collapse ends at the smaller of two thresholds; per anchor "
    "α_k = 1 - (n_k-1)[1/D_k - (n_l/2n_k) y (1/D_1+1/D_2)], y = e^{-2/τ}, D_k = n_k + n_l y.",
    source=_ORDER,
    margin=evidence.two_class_phase,
    domain=TWO,
    expected=Verdict.HOLDS,
)


no_simplex_under_imbalance = Claim(
    name="no_simplex_under_imbalance",
    statement="The class means of collapsed optima form a simplex ETF whatever the class sizes.",
    source="true for balanced classes (Graf et al., ICML 2021); refuted here. Non-uniform class "
    "angles of SupCon under imbalance: arXiv:2605.13943",
    margin=evidence.angle_spread,
    where=evidence.collapsed,
    closed=True,
    domain=UNEQUAL,
    expected=Verdict.REFUTED,
)


minority_angles = Claim(
    name="minority_angles",
    statement="Per-anchor mean, one majority and two equal minority classes, collapsed: the cosine "
    "c of majority and minority is the root of one equation, and minorities have cosine 2c²-1. "
    "Sizes (20, 5, 5), or any 4 : 1 : 1, τ = 0.5: c = -0.616 and -0.241.",
    source=_ORDER,
    margin=lambda cell: equal(
        evidence.first_product(cell),
        [majority_cosine(*where) for where in evidence.majorities(cell)],
    ),
    where=evidence.collapsed,
    domain=FOURFOLD,
    expected=Verdict.HOLDS,
)


minority_collapse = Claim(
    name="minority_collapse",
    statement="Per-anchor mean, one majority of n and k minorities of n' instances, collapsed: the "
    "minority classes merge at finite imbalance, iff ρ = n/(k n') has y(1+y)ρ² + [y(1+y)-2]ρ - 2y "
    "≥ 0, y = e^{-2/τ}. For k = 2: n/n' ≥ 24.32 at τ = 1, 6.81 at τ = 2.",
    source=f"{_ORDER}; for cross-entropy in the limit: Fang, He, Long and Su (PNAS 2021)",
    margin=evidence.merging,
    where=evidence.collapsed,
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


larger_class_first_two = Theorem(
    name="larger_class_first_two",
    statement="m = 2, per-anchor mean: for all real n_1 > n_2 ≥ 2 and all τ > 0 the larger class "
    "has the smaller threshold α_1 < α_2, so it leaves collapse first.",
    prove=evidence.larger_first_two,
    source="integer polynomial arithmetic on the closed-form thresholds",
)
