"""Ten statements whose truth is known, as a theorist would write them: five true, five false."""

import numpy as np

import ssem_jax as sx
from ssem_jax import theory
from ssem_jax.claims import COLLAPSE_TOLERANCE, Claim, equal
from ssem_jax.space import Range, Space

WARM = Range(0.2, 5, log=True)
"""Temperatures at which brackets are narrow everywhere, also at α = 1."""


def spread(cell):
    return cell.delta2 - COLLAPSE_TOLERANCE


def collapsed(cell):
    return COLLAPSE_TOLERANCE - cell.delta2


def satisfies(guideline):
    return lambda cell: cell.predict(lambda *a, self_pairs: guideline(*a)).astype(bool)


TRUE = [
    Claim(
        "low_alpha_collapses",
        "With self pairs included, alpha <= 1/n collapses at every temperature.",
        collapsed,
        Space(num_classes=2, num_instances=(2, 3), where=lambda c: c.alpha <= 1 / c.num_instances),
        closed=True,
    ),
    Claim(
        "closed_form",
        "delta2 is what the closed form says.",
        lambda cell: equal(cell.delta2, cell.predict(theory.delta2)),
        Space(num_classes=2, num_instances=2, temperature=WARM),
        exclude=lambda cell: cell.near_boundary(),
    ),
    Claim(
        "majority_guideline",
        "alpha >= (n+1)/(2n) and tau <= 1/log m prevent class collapse.",
        spread,
        Space(num_classes=(2, 3), num_instances=2, where=satisfies(theory.majority_guideline)),
        exclude=lambda cell: cell.near_boundary(),
    ),
    Claim(
        "rises_with_alpha",
        "delta2 does not decrease with alpha (to 1e-3).",
        lambda first, second: second.delta2 - first.delta2 + 1e-3,
        Space(num_classes=2, num_instances=2, temperature=WARM),
        along="alpha",
        closed=True,
    ),
    Claim(
        "no_dimension_matters",
        "From d = mn-1 on, delta2 does not depend on d (to 1e-3).",
        lambda first, second: 1e-3 - abs(first.delta2 - second.delta2),
        Space(num_classes=2, num_instances=2, dim=(3, 4), temperature=WARM),
        along="dim",
        closed=True,
    ),
]

PEAK = max(float(theory.delta2(2, 2, 1, 0.8, tau)) for tau in np.geomspace(0.1, 5, 4000))

FALSE = [
    Claim(
        "summary_guideline",
        "alpha >= 1/n and tau <= 1/log m prevent class collapse.",
        spread,
        Space(num_classes=(2, 3), num_instances=(2, 3), where=satisfies(theory.summary_guideline)),
    ),
    Claim(
        "corner",
        "delta2 <= 0.6 for tau >= 1; false only for alpha near 1.",
        lambda cell: 0.6 - cell.delta2,
        Space(num_classes=2, num_instances=2, alpha=Range(0, 0.99), temperature=Range(1, 5)),
        closed=True,
    ),
    Claim(
        "below_its_peak",
        "At alpha = 0.8, delta2 stays under a value just below its peak over tau.",
        lambda cell: PEAK - 2e-5 - cell.delta2,
        Space(num_classes=2, num_instances=2, alpha=0.8, temperature=Range(0.05, 5, log=True)),
    ),
    Claim(
        "falls_with_temperature",
        "delta2 does not increase with tau.",
        lambda first, second: first.delta2 - second.delta2,
        Space(num_classes=2, num_instances=2, temperature=WARM),
        along="temperature",
        closed=True,
    ),
    Claim(
        "boundary_off_by_a_little",
        "alpha <= alpha_c + 0.004 collapses.",
        collapsed,
        Space(
            num_classes=2,
            num_instances=2,
            temperature=WARM,
            where=lambda c: c.alpha <= c.boundary(theory.alpha_c) + 0.004,
        ),
        closed=True,
    ),
]

SHARE = sx.Budget(cells=800)
