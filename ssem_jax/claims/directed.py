r"""Directed rounding: the floats below and above a sum, a product or a quotient of two floats.

The rounding error of a sum or a product of two floats is a float itself, and a few operations
compute it exactly (Knuth's two-sum, Dekker's two-product); that of a quotient has the sign of its
remainder, which is exact likewise. So an end moves by one unit in the last place exactly if it was
rounded to the wrong side, and what is exact stays exact.

References:
    T. J. Dekker, A floating-point technique for extending the available precision, 1971.
    S. M. Rump, Verification methods: rigorous results using floating-point arithmetic, 2010.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

Floats = np.ndarray | np.floating
"""An array of floats; where there is one, NumPy may make a number of it."""
_SPLITTER = 2.0**27 + 1
"""Dekker's constant: splits 53 bits into 26 and 26."""
_UNDERFLOW = 2.0**-960
"""The error of a product is exact above this; below it, the product may be rounded either way."""
_WHOLE = 2**53
"""Integers up to this are floats."""


def down(values: Any, ulps: int = 1) -> Floats:
    """Some floats further down."""
    return functools.reduce(lambda x, _: np.nextafter(x, -np.inf), range(ulps), values)


def up(values: Any, ulps: int = 1) -> Floats:
    """Some floats further up."""
    return functools.reduce(lambda x, _: np.nextafter(x, np.inf), range(ulps), values)


def _outward(value: Floats, error: Floats) -> tuple[Floats, Floats]:
    """Bounds of value + error, of which only the sign of the error is used; NaN is not known."""
    error = np.where(np.isfinite(error), error, np.nan)
    return np.where(error >= 0, value, down(value)), np.where(error <= 0, value, up(value))


def _exact_product(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """a·b as rounded, and what was rounded off. Zero times infinity, a limit, is 0."""
    value = a * b
    (a_high, a_low), (b_high, b_low) = _split(a), _split(b)
    error = ((a_high * b_high - value) + a_high * b_low + a_low * b_high) + a_low * b_low
    error = np.where(np.abs(value) < _UNDERFLOW, np.nan, error)
    zero = (a == 0) | (b == 0)
    return np.where(zero, 0.0, value), np.where(zero, 0.0, error)


def _split(a: Floats) -> tuple[Floats, Floats]:
    scaled = _SPLITTER * a
    high = scaled - (scaled - a)
    return high, a - high


def enclosed(value: Any) -> tuple[Floats, Floats]:
    """Real numbers as floats: below and above, which differ where a number is no float64."""
    array = np.asarray(value)
    if array.dtype.kind not in "biufVO":
        raise TypeError(f"an interval has real numbers as ends; got {array.dtype}.")
    floats = np.asarray(array, float)
    kind = array.dtype.kind
    exact = kind in "bV" or (kind == "f" and array.dtype.itemsize <= floats.itemsize)
    if exact or (kind in "iu" and np.all((array >= -_WHOLE) & (array <= _WHOLE))):
        return floats, floats
    return down(floats), up(floats)


def sums(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Bounds of a + b."""
    value = a + b
    moved = value - a
    return _outward(value, (a - (value - moved)) + (b - moved))


def products(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Bounds of a·b."""
    return _outward(*_exact_product(a, b))


def quotients(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Bounds of a / b. Of infinity over infinity the limit 0 is as good as any other."""
    value = a / b
    back, rest = _exact_product(value, b)
    low, high = _outward(value, ((a - back) - rest) * np.sign(b))
    limit = np.isnan(value)
    return np.where(limit, 0, low), np.where(limit, 0, high)
