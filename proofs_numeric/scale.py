"""The closed forms at the sizes that users train with, by certificate alone: nothing is minimised.

By symmetry the dual matrix of a symmetric Gram matrix has four distinct eigenvalues (view,
instance, class, mean), so that the bound costs the same for any m and n.
"""

from fractions import Fraction

import numpy as np

from proofs_numeric import evidence
from ssem_jax.claims import Theorem

WIDTH = Fraction(1, 10**20)
"""Closed forms in 256-bit balls enclose the minimum far beyond float64."""
FORMULA = Fraction(1, 10**12)
"""Relative accuracy of the closed form of the minimum in float64."""

_SIZES = ((1000, 1000, 2), (1000, 50, 2), (10, 1000, 2))
_ALPHAS = np.linspace(0, 1, 33)
_TEMPERATURES = np.geomspace(0.05, 5, 33)


_STATEMENT = (
    "In {} cells with m and n up to 1000 and p = 2, self pairs {}, the closed-form optimum is "
    "globally optimal: its dual matrix encloses the minimum to a width of 1e-20, and the closed "
    "form of the minimum in float64 is accurate to 1e-12 (relative to max(1, |L|))."
)
_COUNT = len(_SIZES) * len(_ALPHAS) * len(_TEMPERATURES)

scale_included = Theorem(
    name="scale_included",
    statement=_STATEMENT.format(_COUNT, "included"),
    prove=lambda: evidence.enclose_closed_forms(
        _SIZES, _ALPHAS, _TEMPERATURES, "include", WIDTH, FORMULA
    ),
    source="symmetry-reduced dual certificate",
)

scale_excluded = Theorem(
    name="scale_excluded",
    statement=_STATEMENT.format(_COUNT, "excluded"),
    prove=lambda: evidence.enclose_closed_forms(
        _SIZES, _ALPHAS, _TEMPERATURES, "exclude", WIDTH, FORMULA
    ),
    source="symmetry-reduced dual certificate",
)
