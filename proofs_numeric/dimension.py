"""Low dimension: what survives when the unconstrained optimum does not fit."""

from fractions import Fraction

from proofs_numeric import evidence
from ssem_jax.claims import Theorem

_BAND = Fraction(1, 20)
_TEMPERATURES = (Fraction(1, 5), Fraction(1, 2), Fraction(1))
_SHAPES = ((2, 3), (3, 4), (4, 3))


threshold_in_low_dimension = Theorem(
    name="threshold_in_low_dimension",
    statement="In nine cells each of d = m and d = m + 1, where the unconstrained optimum does not "
    "fit, some embeddings are better than collapse at α = α_c(τ) + 0.05: the collapse threshold is "
    "that of high dimension.",
    prove=lambda: evidence.spread_beats_collapse(_SHAPES, _TEMPERATURES, _BAND),
    source="derived here: α_c is the threshold of the Hessian along an unused dimension",
)
