"""Balls of FLINT/Arb from exact numbers, and floats on the safe side.

The precision of FLINT is global; every function restores it. Balls that are passed in keep the
radius that they were made with; a function of no arguments is called at the working precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from numbers import Integral
from typing import Any

import numpy as np
from flint import arb, ctx, fmpq, fmpz
from jaxtyping import Array

from ssem_jax.problem.arrays import Hyper
from ssem_jax.problem.validation import check_count, shown

Exact = float | int | str | Fraction | Decimal | fmpz | fmpq | arb | Callable[[], arb]
"""A number that is read without rounding."""

EMBEDDING_PRECISION = 128
"""Bits for enclosures from embeddings, whose error is that of float64 inputs or larger."""
CLOSED_FORM_PRECISION = 256
"""Bits for enclosures from the closed form."""
BOX_PRECISION = 64
"""Bits on boxes, where widths and not roundings matter."""


@contextmanager
def working_precision(bits: int) -> Iterator[None]:
    """Compute with `bits` bits, and restore the precision afterwards."""
    saved = ctx.prec
    ctx.prec = check_count("precision", bits, 32)
    try:
        yield
    finally:
        ctx.prec = saved


def to_ball(value: Exact | Hyper) -> arb:
    """A ball that holds the number meant: a float as a dyadic, a fraction or decimal as a rational.

    Args:
        value: a number, a decimal string such as "0.1", a `Fraction`, a ball, or a function that
            returns a ball at the working precision, such as ``lambda: 1 / arb(3).log()``.

    Raises:
        ValueError: not one finite number.
    """
    if callable(value):
        value = value()
    try:
        if isinstance(value, str) or (isinstance(value, Decimal) and value.is_finite()):
            value = Fraction(value)
        if value is None:
            raise ValueError
    except ValueError:
        raise ValueError(
            f'a ball is made of a number, a fraction or a decimal as "0.1"; got {shown(value)}.'
        ) from None
    if isinstance(value, Fraction):
        value = fmpq(value.numerator, value.denominator)
    if not isinstance(value, arb | fmpq | fmpz):
        given: Any = value
        if np.ndim(given) > 0:
            raise ValueError(
                f"ball arithmetic takes one cell at a time; got shape {np.shape(given)}."
            )
        value = number_of(given)
    ball = arb(value)
    if not ball.is_finite():
        raise ValueError(f"a finite number is needed; got {value}.")
    return ball


def number_of(value: Any) -> int | float:
    """A scalar as the integer or the dyadic number that it is.

    Raises:
        ValueError: a number of more digits than a float has, as of numpy's longdouble.
    """
    if isinstance(value, np.ndarray | Array) and np.issubdtype(value.dtype, np.integer):
        value = int(value)
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    if not (number == value or number != number):
        raise ValueError(
            f"{value!r} is no float exactly; give a fraction, a decimal string or a ball."
        )
    return number


def float_below(ball: arb) -> float:
    """A float that is no larger than anything in the ball, and next to its lower end."""
    bound = ball.lower()
    value = float(bound)
    return value if arb(value) <= bound else math.nextafter(value, -math.inf)


def float_above(ball: arb) -> float:
    """A float that is no smaller than anything in the ball, and next to its upper end."""
    return -float_below(-ball)


def hyper_parameters(alpha: Exact | Hyper, temperature: Exact | Hyper) -> tuple[arb, arb]:
    mixing, tau = to_ball(alpha), to_ball(temperature)
    if not (mixing >= 0 and mixing <= 1):
        raise ValueError(f"alpha must lie in [0, 1]; got {alpha}.")
    if not tau > 0:
        raise ValueError(f"temperature must be positive and finite; got {temperature}.")
    return mixing, tau


def least_product(*factors: arb | int) -> arb:
    """The least product of nonnegative factors: balls of wide factors would reach below 0."""
    least = arb(1)
    for factor in factors:
        least *= arb(factor).lower().max(arb(0))
    return least
