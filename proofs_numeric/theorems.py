"""Statements about continuous boxes of parameters, proven in ball arithmetic.

m and n range over the reals where a box says so: they enter the reduced formulas as numbers. Bands
around the phase boundaries are left out by the statements themselves; there the sign that is proven
vanishes. Ends and bands that are no binary fractions are given as decimals or fractions: the float
0.2 is larger than 1/5, and a box from there on would not hold all that the statement speaks of.
"""

import math
from fractions import Fraction

from proofs_numeric import evidence
from ssem_jax import balls
from ssem_jax.claims import Plane, Proof, Theorem, Verdict
from ssem_jax.problem import Phase

_BAND = Fraction(1, 100)

_MANY = (2, 10**6)
_WIDE = ("0.01", 100)


boundary_box_included = Theorem(
    name="boundary_box_included",
    statement="m = 3, n = 4, self pairs included: for all τ in [0.2, 2] collapse is optimal if "
    "α ≤ α_c(τ) - 0.01, and instances part if α ≥ α_c(τ) + 0.01.",
    prove=lambda: evidence.boundary_on_box(_BAND, Phase.COLLAPSE, Phase.SPREAD),
    source="eigenvalues of the dual matrix at collapse",
    plane=Plane(3, 4, band=float(_BAND)),
)

boundary_box_excluded = Theorem(
    name="boundary_box_excluded",
    statement="m = 3, n = 4, p = 2, self pairs excluded: for all τ in [0.1, 2] the optimum is in "
    "view-spread, collapse or spread where α_v(τ) and α_c(τ) say so, 0.01 away from both.",
    prove=lambda: evidence.boundary_on_box(
        _BAND,
        Phase.COLLAPSE,
        Phase.SPREAD,
        Phase.VIEW_SPREAD,
        self_pairs="exclude",
        num_views=2,
        temperature=("0.1", 2),
    ),
    source="eigenvalues of the dual matrix at collapse",
    plane=Plane(3, 4, 2, "exclude", band=float(_BAND)),
)

boundary_box_sizes = Theorem(
    name="boundary_box_sizes",
    statement="For all real m, n in [2, 4], self pairs included, and τ in [0.2, 2]: instances part "
    "if α ≥ α_c(τ) + 0.2.",
    prove=lambda: Proof.of_boxes(
        "a neighbourhood of the boundary of width 0.2 in α",
        spread=balls.prove_boundary(Phase.SPREAD, (2, 4), (2, 4), band="0.2"),
    ),
    source="eigenvalues of the dual matrix at collapse",
)

unique_optimum = Theorem(
    name="unique_optimum",
    statement="For all real m, n in [2, 10⁶] and τ in [0.01, 100], in both conventions (p ≤ 100), "
    "the reduced loss is strictly convex along the spread ray: δ*² is unique.",
    prove=lambda: Proof.of_boxes(
        included=balls.prove_unique_optimum(_MANY, _MANY, 1, temperature=_WIDE),
        excluded=balls.prove_unique_optimum(
            _MANY, _MANY, (2, 100), temperature=_WIDE, self_pairs="exclude"
        ),
    ),
    source="the curvature is the variance of a softmax",
)

monotone_in_alpha = Theorem(
    name="monotone_in_alpha",
    statement="For all real m, n in [2, 10⁶] and τ in [0.01, 100], in both conventions (p ≤ 100), "
    "δ*² increases strictly with α in the spread phase.",
    prove=lambda: Proof.of_boxes(
        included=balls.prove_monotone_in_alpha(_MANY, _MANY, 1, temperature=_WIDE),
        excluded=balls.prove_monotone_in_alpha(
            _MANY, _MANY, (2, 100), temperature=_WIDE, self_pairs="exclude"
        ),
    ),
    source="implicit differentiation",
)

unimodal_box = Theorem(
    name="unimodal_box",
    statement="For all real m, n in [2, 10⁶] and α ≤ 0.999, in both conventions (p ≤ 100), δ*² as "
    "a function of τ in [0.01, 100] rises to one peak and falls.",
    prove=lambda: Proof.of_boxes(
        included=balls.prove_unimodal_in_temperature(
            _MANY, _MANY, 1, (0, "0.999"), temperature=_WIDE
        ),
        excluded=balls.prove_unimodal_in_temperature(
            _MANY, _MANY, (2, 100), (0, "0.999"), temperature=_WIDE, self_pairs="exclude"
        ),
    ),
    source="convexity in 1/τ of the stationarity condition at a given δ²",
)

not_monotone_in_temperature = Theorem(
    name="not_monotone_in_temperature",
    statement="For all real m, n in [2, 10] and α in [0.7, 0.9], in both conventions (p = 2 if "
    "self pairs are excluded), δ*² is not monotone in τ: it rises somewhere.",
    prove=lambda: Proof.of_boxes(
        included=balls.prove_not_monotone_in_temperature((2, 10), (2, 10)),
        excluded=balls.prove_not_monotone_in_temperature((2, 10), (2, 10), 2, self_pairs="exclude"),
    ),
    source="δ*² vanishes as τ → 0",
)

small_mixing_collapses = Theorem(
    name="small_mixing_collapses",
    statement="Self pairs included: α ≤ 1/n collapses for all real m, n ≥ 2 and all τ > 0. Self "
    "pairs excluded: α ≤ (p-1)/(np-1) keeps instance means together likewise.",
    prove=lambda: Proof.of_boxes(
        included=balls.prove_small_mixing_collapses("include"),
        excluded=balls.prove_small_mixing_collapses("exclude"),
    ),
    source="the instance eigenvalue of the dual matrix, unbounded ends by a change of variables",
)

sound_guideline = Theorem(
    name="sound_guideline",
    statement="For all real m, n ≥ 2: with self pairs included α ≥ (n+1)/(2n) and τ ≤ 1/log m, and "
    "with self pairs excluded (p ≥ 2) α ≥ 1/n and τ ≤ 1/log N, prevent class collapse.",
    prove=lambda: Proof.of_boxes(
        included=balls.prove_guideline("include"), excluded=balls.prove_guideline("exclude")
    ),
    source="the instance eigenvalue of the dual matrix, unbounded ends by a change of variables",
)


summary_guideline_rigorous = Theorem(
    name="summary_guideline_rigorous",
    statement="α ≥ 1/n and τ ≤ 1/log m prevent class collapse.",
    prove=evidence.refute_summary,
    source="the sentence of a summary of the paper, not the wording of its theorems",
    expected=Verdict.REFUTED,
    plane=Plane(2, 2, point=(1 / math.log(2), 0.5)),
)
