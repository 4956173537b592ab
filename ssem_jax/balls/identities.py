"""Identities of rational functions, proven at as many exact points as their degrees ask for.

A polynomial of degree at most d_v in each variable v that vanishes on a grid of d_v + 1 values of
each is 0. A rational function is 0 if its numerator is; what degree that has at most is found by
evaluating the function itself on *degrees*, which add and take maxima as numerators and
denominators do. So nothing is expanded, and no computer algebra is trusted: what decides is that
sums and products of rational numbers are exactly 0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from flint import fmpq


class Identity(NamedTuple):
    """What came of an identity.

    Attributes:
        points: at which the function was evaluated.
        refuted: a point, variable → value, at which it is not 0, or None.
    """

    points: int
    refuted: dict[str, str] | None

    @property
    def proven(self) -> bool:
        """Whether the function is 0."""
        return self.refuted is None


class Degrees:
    """Bounds of the degrees of a rational function, by variable.

    Args:
        top: of its numerator.
        bottom: of its denominator.
    """

    def __init__(self, top: tuple[int, ...], bottom: tuple[int, ...]) -> None:
        self.top, self.bottom = top, bottom

    def _of(self, other: Any) -> Degrees:
        return other if isinstance(other, Degrees) else Degrees(*[(0,) * len(self.top)] * 2)

    def __add__(self, other: Any) -> Degrees:
        other = self._of(other)
        crossed = _sum(self.top, other.bottom), _sum(other.top, self.bottom)
        return Degrees(tuple(map(max, *crossed)), _sum(self.bottom, other.bottom))

    def __mul__(self, other: Any) -> Degrees:
        other = self._of(other)
        return Degrees(_sum(self.top, other.top), _sum(self.bottom, other.bottom))

    def __truediv__(self, other: Any) -> Degrees:
        other = self._of(other)
        return self * Degrees(other.bottom, other.top)

    def __rtruediv__(self, other: Any) -> Degrees:
        return self._of(other) / self

    def __neg__(self) -> Degrees:
        return self

    __radd__ = __sub__ = __rsub__ = __add__
    __rmul__ = __mul__


def _sum(one: Iterable[int], other: Iterable[int]) -> tuple[int, ...]:
    return tuple(map(sum, zip(one, other, strict=True)))


def prove_zero(function: Callable[..., Any], variables: tuple[str, ...]) -> Identity:
    """Prove that a rational function is 0 wherever it is defined.

    Args:
        function: of all variables by keyword, made of + - * / with integers; defined where each
            variable is one of 1/2, 1/3, 1/4, …
        variables: their names.

    Returns:
        The identity, proven or refuted.
    """
    place = range(len(variables))
    units = {
        name: Degrees(tuple(int(k == own) for k in place), (0,) * len(variables))
        for own, name in enumerate(variables)
    }
    degrees = function(**units).top
    values = [[fmpq(1, 2 + k) for k in range(degree + 1)] for degree in degrees]
    for point in itertools.product(*values):
        at = dict(zip(variables, point, strict=True))
        if function(**at) != 0:
            count = math.prod(map(len, values))
            return Identity(count, {name: str(value) for name, value in at.items()})
    return Identity(math.prod(map(len, values)), None)
