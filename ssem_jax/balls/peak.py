"""The temperature of largest spread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flint import arb

from ssem_jax.balls.arithmetic import (
    EMBEDDING_PRECISION,
    Exact,
    float_above,
    float_below,
    working_precision,
)
from ssem_jax.balls.closed_form import Ray, cell_of, largest_delta2


@dataclass(frozen=True)
class Peak:
    """Where δ² is largest as a function of the temperature, proven.

    Attributes:
        temperature: (lower, upper) of the only critical point; δ² increases below and decreases
            above it, up to τ_c.
        delta2: (lower, upper) of the largest δ².
    """

    temperature: tuple[float, float]
    delta2: tuple[float, float]


def enclose_peak(
    num_classes: int,
    num_instances: int,
    num_views: int,
    alpha: Exact,
    self_pairs: str = "include",
    precision: int = EMBEDDING_PRECISION,
) -> Peak:
    r"""Enclose the temperature at which class collapse is furthest away.

    F = F_u = 0 at the peak. With κ = a/(a+b), which increases with f, these two equations give
    :math:`ua = \log \frac{A(1-\kappa)}{C}` and
    :math:`u(a+b) = \log \frac{B(1-\kappa)}{C\kappa}`, hence

    .. math::
       \Phi(\kappa) = \log \frac{A(1-\kappa)}{C} - \kappa \log \frac{B(1-\kappa)}{C \kappa} = 0,
       \qquad \Phi' = -\log \frac{B(1-\kappa)}{C\kappa} = -u(a+b) < 0

    at every root, so there is only one, and a change of sign encloses it.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 2 per class.
        num_views: p ≥ 1 per instance.
        alpha: α with w/(n-1+w) < α < 1; a ball encloses the peaks of all α in it.
        self_pairs: "include" or "exclude".
        precision: bits.

    Raises:
        ValueError: a parameter out of range, an α that collapses at every temperature or is 1, or
            too little precision.
    """
    with working_precision(precision):
        cell = cell_of(num_classes, num_instances, num_views, alpha, 1, self_pairs)
        ray = Ray.of(cell)
        if not (cell.alpha < 1 and ray.lead > ray.own):
            raise ValueError(
                "alpha must lie between w/(n-1+w), up to which every temperature collapses, and 1; "
                f"got {alpha}."
            )

        def heats(kappa: arb) -> tuple[arb, arb]:
            """ua and u(a+b) of the peak."""
            rest = (1 - kappa) / ray.own
            return (ray.lead * rest).log(), (ray.between * rest / kappa).log()

        def condition(kappa: arb) -> arb:
            within, between = heats(kappa)
            return within - kappa * between

        # Φ is positive as κ → 0, and negative where its first term is 0.
        least, most = arb(2) ** (-precision), (1 - ray.own / ray.lead).upper()
        if not (condition(least) > 0 and most < 1):
            raise ValueError(f"no change of sign was proven with {precision} bits; raise it.")

        def bisect(inside: arb, outside: arb, proven: Callable[[arb], bool]) -> arb:
            """The last point found to be on the proven side, going from `inside` to `outside`."""
            for _ in range(precision):
                middle = ((inside + outside) / 2).mid()
                if proven(condition(middle)):
                    inside = middle
                else:
                    outside = middle
            return inside

        # From κ = 1 - C/A on Φ is negative: there it is -κ log(B/(Aκ)) with B > A, then it first
        # falls and then rises, to log(A/B) as κ → 1.
        low = bisect(least, most, lambda value: value > 0)
        high = bisect(most, low, lambda value: value < 0)
        kappa = low.union(high)
        # a = κ(a+b) for f: a_slope f (1-κ) = κ b_slope (1-f).
        pull = kappa * ray.b_slope
        f = pull / (ray.a_slope * (1 - kappa) + pull)
        tau = ray.a_slope * f / heats(kappa)[0]
        delta2 = f * largest_delta2(cell)
        return Peak(*((float_below(ball), float_above(ball)) for ball in (tau, delta2)))
