"""What proofs cell by cell decide by: comparisons of balls, in which no float has a say.

Floats choose where to look (grids, embeddings of the solver) and are then the dyadic numbers that
they are. Tolerances are rationals: 1e-8 is no float.
"""

from __future__ import annotations

from fractions import Fraction

from flint import arb

from ssem_jax.balls import Enclosure, to_ball


def is_narrow(found: Enclosure, width: Fraction) -> bool:
    """Whether an enclosure is proven to be no wider than this; its own width is rounded up."""
    return arb(found.width) <= to_ball(width)


def agrees(number: float, truth: arb, tolerance: Fraction) -> bool | None:
    """Whether a number is as near to the true value as it says, relative to max(1, |truth|).

    Args:
        number: a float, as a closed form in float64 returns it.
        truth: a ball that holds what it should be.
        tolerance: relative.

    Returns:
        What balls prove, or None if they are too wide to tell.
    """
    distance, allowed = abs(arb(number) - truth), to_ball(tolerance) * abs(truth).max(arb(1))
    if distance <= allowed:
        return True
    return False if distance > allowed else None
