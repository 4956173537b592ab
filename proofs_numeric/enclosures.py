"""Minima enclosed beyond any rounding error, from embeddings that were minimised in float64."""

from fractions import Fraction

from proofs_numeric import evidence
from ssem_jax.claims import Theorem
from ssem_jax.problem import ClassStructure

WIDTH = Fraction(1, 10**8)
"""An enclosure wider than this says too little."""
FORMULA = Fraction(1, 10**13)
"""Accuracy of the closed form of the minimum in float64."""

_CASES = (
    (ClassStructure.balanced(3, 4), "include"),
    (ClassStructure.balanced(5, 4), "include"),
    (ClassStructure.balanced(3, 4, 2), "exclude"),
)
_ALPHAS = (0.0, 0.13, 0.4, 0.65, 0.9, 1.0)
_TEMPERATURES = (0.1, 0.3, 0.7, 2.0)


enclosed_minimum = Theorem(
    name="enclosed_minimum",
    statement="In 72 cells over both conventions, the minimum over all embeddings in all "
    "dimensions is enclosed from freely minimised embeddings to a width of 1e-8; the closed form "
    "lies in the enclosure, and in float64 it is accurate to 1e-13 (relative to max(1, |L|)).",
    prove=lambda: evidence.enclose_minima(_CASES, _ALPHAS, _TEMPERATURES, WIDTH, FORMULA),
    source="dual certificate in ball arithmetic",
)
