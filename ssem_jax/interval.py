"""Intervals that margins are computed with, and the margins of equalities and phases."""

from __future__ import annotations

from typing import Any

import numpy as np

from ssem_jax.problem import Phase

EQUALITY_TOLERANCE = 1e-3
"""An equality holds in a cell whose bracket contains the prediction and is narrower than this."""


class Interval:
    """Numbers known up to an interval, one for each cell; arithmetic keeps the bounds outer."""

    __array_priority__ = 1000  # so that array - interval arrives here

    decided: np.ndarray | None = None
    """Where the interval rests on certificates of its own: the cells in which those are at hand.
    Elsewhere a margin counts in certified cells."""

    def __init__(self, low: Any, high: Any = None) -> None:
        self.low = np.asarray(low, float)
        self.high = self.low if high is None else np.asarray(high, float)

    def __neg__(self) -> Interval:
        return Interval(-self.high, -self.low)

    def __add__(self, other: Any) -> Interval:
        other = as_interval(other)
        return Interval(self.low + other.low, self.high + other.high)

    def __sub__(self, other: Any) -> Interval:
        return self + (-as_interval(other))

    def __mul__(self, other: Any) -> Interval:
        other = as_interval(other)
        ends = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Interval(np.minimum.reduce(ends), np.maximum.reduce(ends))

    def __truediv__(self, other: Any) -> Interval:
        return self * (1 / np.asarray(other, float))

    def __radd__(self, other: Any) -> Interval:
        return self + other

    def __rsub__(self, other: Any) -> Interval:
        return as_interval(other) - self

    def __rmul__(self, other: Any) -> Interval:
        return self * other

    def __abs__(self) -> Interval:
        crosses = (self.low < 0) & (self.high > 0)
        ends = np.abs(self.low), np.abs(self.high)
        return Interval(np.where(crosses, 0, np.minimum(*ends)), np.maximum(*ends))

    def __getitem__(self, index: Any) -> Interval:
        return Interval(self.low[index], self.high[index])

    @property
    def width(self) -> np.ndarray:
        """high - low."""
        return self.high - self.low

    def __repr__(self) -> str:
        return f"Interval({self.low}, {self.high})"


def decided(margin: Interval, where: Any = True) -> Interval:
    """A margin that rests on evidence of its own in some cells, whatever their gaps.

    For example the loss of embeddings at hand, which bounds a minimum over R^d from above.

    Args:
        margin: the margin.
        where: (B,) where the evidence is at hand; elsewhere nothing is decided.
    """
    margin.decided = np.broadcast_to(np.asarray(where, bool), margin.low.shape)
    return margin


def as_interval(value: Any) -> Interval:
    """A number or an array as an interval of width 0; intervals as they are."""
    return value if isinstance(value, Interval) else Interval(value)


class Equality(Interval):
    """The margin of an equality, with what it compares.

    Attributes:
        bracket: of the quantity.
        predicted: what it is said to be.
        tolerance: widest bracket that counts.
    """

    def __init__(self, bracket: Interval, predicted: Any, tolerance: float) -> None:
        predicted = np.asarray(predicted, float)
        outside = np.maximum(bracket.low - predicted, predicted - bracket.high)
        inside = outside <= 0
        super().__init__(
            np.where(inside, tolerance - bracket.width, -outside),
            np.where(inside, tolerance, -outside),
        )
        self.bracket, self.predicted, self.tolerance = bracket, predicted, tolerance

    @property
    def deviation(self) -> np.ndarray:
        """How far any near-optimal embedding can be from the prediction."""
        return abs(self.bracket - self.predicted).high


def equal(bracket: Interval, predicted: Any, tolerance: float = EQUALITY_TOLERANCE) -> Equality:
    """The margin of "the bracketed quantity equals the prediction".

    Positive where the prediction lies in the bracket and the bracket is narrower than `tolerance`,
    negative where the prediction lies outside, of both signs where the bracket is too wide.
    """
    return Equality(bracket, predicted, tolerance)


def same_phase(found: np.ndarray, predicted: Any) -> Interval:
    """The margin of "the phase is the predicted one": 1, -1, or both where undecided."""
    predicted = np.asarray(predicted)
    undecided = found == Phase.UNDECIDED
    agrees = found == predicted
    return Interval(np.where(agrees & ~undecided, 1, -1), np.where(agrees | undecided, 1, -1))
