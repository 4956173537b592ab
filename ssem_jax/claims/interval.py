r"""Intervals that margins are computed with, and the margins of equalities and phases.

A bracket is all that is known of a number, so arithmetic on brackets is **interval arithmetic, and
it is rounded outwards**: whatever real numbers the operands stand for, the result contains what the
operation makes of them.

* Sums, products and quotients (:mod:`ssem_jax.claims.directed`): an end moves outwards by one unit
  in the last place exactly if it was rounded inwards. What is exact stays exact: 1 - [0, 1] is [0,
  1]. Integer powers are products.
* Square roots are correctly rounded: one unit outwards.
* exp, log and their kin: `FUNCTION_ULPS` units outwards; other real powers are exp(y log x).

Where an operation is not defined for all numbers of an interval (a divisor that may be 0, a root or
logarithm of what may be negative), the result is the whole line, so that the cell is undecided;
where it is defined for none of them, it is a ValueError.

What Python and numpy would decide by default, an interval refuses: it has no truth and no order,
and it is no single number. The message says what to write instead.
"""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from ssem_jax.claims.directed import down, enclosed, products, quotients, sums, up
from ssem_jax.problem.problem import Phase

EQUALITY_TOLERANCE = 1e-3
"""An equality holds in a cell whose bracket contains the prediction and is narrower than this."""
PREDICTION_ROUNDING = 1e-12
"""What a prediction may be off by, relative to its size where that is above 1: the accuracy that
:mod:`ssem_jax.theory` states for its closed forms, a thousandth of the least gap that counts."""
FUNCTION_ULPS = 4
"""Units in the last place that numpy's exp, log and their kin may be off by: the bound of its
vectorised versions. Tests hold them against ball arithmetic; the worst seen is under 1."""


def _silent(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Infinities and the NaN of unknown errors are part of the arithmetic."""

    @functools.wraps(operation)
    def quiet(*operands: Any) -> Any:
        with np.errstate(all="ignore"):
            return operation(*operands)

    return quiet


def _refuse(message: str) -> Callable[..., NoReturn]:
    def refused(*_: Any) -> NoReturn:
        raise TypeError(message)

    return refused


_NO_EQUAL = (
    "an interval has no == of its own, which would compare objects and not numbers; the margin of "
    "an equality is sx.equal(quantity, prediction)."
)
_NO_UNEQUAL = (
    "an interval has no != of its own, which would compare objects and not numbers; write "
    "abs(quantity - value), positive where they differ. For an equality write sx.equal."
)
_NO_ORDER = (
    "an interval is neither above nor below a number before its cell is decided; a margin is a "
    "number, positive where the statement holds: write the difference, such as bound - quantity, "
    "np.minimum and np.maximum for the lesser and the larger. For an equality write sx.equal."
)
_NO_TRUTH = (
    "an interval is neither true nor false. For `if` write np.where(condition, one, other) with a "
    "condition on coordinates, for `and` np.minimum(a, b), for `or` np.maximum(a, b), for `not` "
    "-a; for an equality sx.equal(quantity, prediction)."
)
_NO_NUMBER = (
    "an interval is no single number: compute with it as it is (numpy's functions take it), or "
    "take its ends, .low and .high. For an equality write sx.equal(quantity, prediction)."
)


class Interval:
    """Numbers known up to an interval, one for each cell; arithmetic rounds outwards.

    The first axis is that of the cells. ``+ - * / ** abs``, np.minimum, np.maximum, np.sqrt,
    np.exp, np.log and others, np.where and np.clip work as with arrays, and so do min, max, sum and
    mean along other axes than the first.

    Args:
        low: lower ends.
        high: upper ends; those below if not given.

    Raises:
        ValueError: ends that are NaN, or not in order.
        TypeError: ends that are no real numbers.
    """

    decided: np.ndarray | None = None
    """Where the interval rests on certificates of its own: the cells in which those are at hand.
    Elsewhere a margin counts in certified cells."""

    def __init__(self, low: Any, high: Any = None) -> None:
        below, above = enclosed(low)
        if high is not None:
            above = enclosed(high)[1]
        self.low, self.high = np.broadcast_arrays(below, above)
        bad = np.flatnonzero(~(self.low <= self.high))
        if bad.size:
            ends = self.low.flat[bad[0]], self.high.flat[bad[0]]
            raise ValueError(
                f"the ends of an interval are numbers low <= high; got {ends[0]} and {ends[1]} "
                f"at index {bad[0]}, the first of {bad.size}."
            )

    # Arithmetic.

    def __pos__(self) -> Interval:
        return _known(self)

    def __neg__(self) -> Interval:
        return _negative(self)

    def __abs__(self) -> Interval:
        return _absolute(self)

    def __add__(self, other: Any) -> Interval:
        return _add(self, other)

    def __radd__(self, other: Any) -> Interval:
        return _add(other, self)

    def __sub__(self, other: Any) -> Interval:
        return _subtract(self, other)

    def __rsub__(self, other: Any) -> Interval:
        return _subtract(other, self)

    def __mul__(self, other: Any) -> Interval:
        return _multiply(self, other)

    def __rmul__(self, other: Any) -> Interval:
        return _multiply(other, self)

    def __truediv__(self, other: Any) -> Interval:
        return _divide(self, other)

    def __rtruediv__(self, other: Any) -> Interval:
        return _divide(other, self)

    def __pow__(self, other: Any) -> Interval:
        return _power(self, other)

    def __rpow__(self, other: Any) -> Interval:
        return _power(other, self)

    # What numpy's functions make of it, and what it does not have.

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_") or name in ("low", "high"):  # of a copy that is being made
            raise AttributeError(name)
        hint = f"; write np.{name}(x)" if getattr(np, name, None) in (*_UFUNCS, *_FUNCTIONS) else ""
        public = ", ".join(part for part in dir(Interval) if not part.startswith("_"))
        raise AttributeError(f"an interval has no {name!r}{hint}. It has low, high, {public}.")

    def __array_ufunc__(self, function: np.ufunc, method: str, *operands: Any, **how: Any) -> Any:
        if method != "__call__" or how or function not in _UFUNCS:
            called = function.__name__ if method == "__call__" else f"{function.__name__}.{method}"
            called += f" with {', '.join(how)}=" if how else ""
            raise TypeError(f"np.{called} takes no interval; {_supported()}")
        return _UFUNCS[function](*operands)

    def __array_function__(
        self, function: Callable[..., Any], _: Any, operands: Any, how: Any
    ) -> Any:
        if function not in _FUNCTIONS:
            raise TypeError(f"np.{function.__name__} takes no interval; {_supported()}")
        return _FUNCTIONS[function](*operands, **how)

    # Along the axes.

    def min(self, axis: int | None = None) -> Interval:
        """The least along an axis other than the first."""
        axis = self._inner(axis)
        known = _known(self)
        return Interval(known.low.min(axis), known.high.min(axis))

    def max(self, axis: int | None = None) -> Interval:
        """The largest along an axis other than the first."""
        return -(-self).min(axis)

    def sum(self, axis: int | None = None) -> Interval:
        """The sum along an axis other than the first."""
        axis = self._inner(axis)
        parts = [self[(slice(None),) * axis + (k,)] for k in range(self.shape[axis])]
        return functools.reduce(operator.add, parts, Interval(0.0))

    def mean(self, axis: int | None = None) -> Interval:
        """The mean along an axis other than the first."""
        return self.sum(axis) / self.shape[self._inner(axis)]

    def _inner(self, axis: int | None) -> int:
        """An axis counted from the front."""
        if not isinstance(axis, (int, np.integer)) or axis % max(self.ndim, 1) == 0:
            raise ValueError(
                f"give one axis other than the first, which is that of the cells; got {axis!r} for "
                f"an interval of shape {self.shape}."
            )
        return int(axis) % self.ndim

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the ends."""
        return self.low.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.low.ndim

    @property
    def width(self) -> np.ndarray:
        """high - low, rounded upwards."""
        return (Interval(self.high) - Interval(self.low)).high

    def __len__(self) -> int:
        return len(self.low)

    def __getitem__(self, index: Any) -> Interval:
        known = _known(self)
        return Interval(known.low[index], known.high[index])

    def __iter__(self) -> Iterator[Interval]:
        return (self[k] for k in range(len(self)))

    def __repr__(self) -> str:
        return f"Interval({self.low}, {self.high})"

    # What it refuses.

    __hash__ = None  # pyright: ignore[reportAssignmentType]
    __eq__ = _refuse(_NO_EQUAL)
    __contains__ = _refuse(_NO_EQUAL)
    __ne__ = _refuse(_NO_UNEQUAL)
    __lt__ = __le__ = __gt__ = __ge__ = _refuse(_NO_ORDER)
    __bool__ = __and__ = __rand__ = __or__ = __ror__ = __invert__ = _refuse(_NO_TRUTH)
    __float__ = __int__ = __index__ = __complex__ = __round__ = _refuse(_NO_NUMBER)

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError(_NO_NUMBER)


def as_interval(value: Any) -> Interval:
    """A number or an array as an interval of width 0; intervals as they are."""
    return value if isinstance(value, Interval) else Interval(value)


def decided(margin: Interval, where: Any = True) -> Interval:
    """A margin that rests on evidence of its own in some cells, whatever their gaps.

    For example the loss of embeddings at hand, which bounds a minimum over R^d from above. Do it
    last: what is computed from such a margin counts in certified cells again, and nothing is known
    of it where the evidence is not at hand.

    Args:
        margin: the margin.
        where: (B,) where the evidence is at hand; elsewhere nothing is decided.
    """
    margin = copy.copy(as_interval(margin))
    margin.decided = np.broadcast_to(np.asarray(where, bool), margin.shape)
    return margin


def _known(value: Any) -> Interval:
    """An operand: the whole line where it is not decided."""
    value = as_interval(value)
    if value.decided is None:
        return value
    return _somewhere(value.low, value.high, value.decided)


def _somewhere(low: Any, high: Any, defined: Any) -> Interval:
    """An interval where it is defined, and the whole line elsewhere."""
    return Interval(np.where(defined, low, -np.inf), np.where(defined, high, np.inf))


# ------------------------------------------------------------------------------------ arithmetic


def _negative(a: Any) -> Interval:
    a = _known(a)
    return Interval(-a.high, -a.low)


def _absolute(a: Any) -> Interval:
    a = _known(a)
    crosses = (a.low < 0) & (a.high > 0)
    ends = np.abs(a.low), np.abs(a.high)
    return Interval(np.where(crosses, 0, np.minimum(*ends)), np.maximum(*ends))


@_silent
def _add(a: Any, b: Any) -> Interval:
    a, b = _known(a), _known(b)
    low, high = sums(a.low, b.low)[0], sums(a.high, b.high)[1]
    unknown = np.isnan(low) | np.isnan(high)  # infinities of both signs
    return _somewhere(low, high, ~unknown)


def _subtract(a: Any, b: Any) -> Interval:
    return _add(a, _negative(b))


@_silent
def _multiply(a: Any, b: Any) -> Interval:
    a, b = _known(a), _known(b)
    bounds = [products(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    lows, highs = zip(*bounds, strict=True)
    return Interval(np.minimum.reduce(lows), np.maximum.reduce(highs))


@_silent
def _divide(a: Any, b: Any) -> Interval:
    """The whole line where the divisor may be 0."""
    a, b = _known(a), _known(b)
    bounds = [quotients(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    lows, highs = zip(*bounds, strict=True)
    defined = (b.low > 0) | (b.high < 0)
    return _somewhere(np.minimum.reduce(lows), np.maximum.reduce(highs), defined)


def _minimum(a: Any, b: Any) -> Interval:
    a, b = _known(a), _known(b)
    return Interval(np.minimum(a.low, b.low), np.minimum(a.high, b.high))


def _maximum(a: Any, b: Any) -> Interval:
    return _negative(_minimum(_negative(a), _negative(b)))


def _where(condition: Any, one: Any, other: Any) -> Interval:
    one, other = _known(one), _known(other)
    if isinstance(condition, Interval):
        raise TypeError(_NO_TRUTH)
    low = np.where(condition, one.low, other.low)
    return Interval(low, np.where(condition, one.high, other.high))


def _clip(a: Any, least: Any, most: Any) -> Interval:
    return _minimum(_maximum(a, least), most)


def _power(base: Any, exponent: Any) -> Interval:
    """Integer powers of any numbers, real and interval powers of nonnegative ones."""
    base, exponent = _known(base), _known(exponent)
    powers = exponent.low
    whole = np.isfinite(powers) & (powers == np.rint(powers))
    if not np.all(whole & (powers == exponent.high)):
        return _UFUNCS[np.exp](exponent * _UFUNCS[np.log](base))
    results = Interval(np.zeros(np.broadcast_shapes(base.shape, powers.shape)))
    for each in np.unique(powers):
        results = _where(powers == each, _whole_power(base, int(each)), results)
    return results


def _whole_power(base: Interval, exponent: int) -> Interval:
    if exponent < 0:
        return _divide(1, _whole_power(base, -exponent))
    if exponent % 2 == 0:
        base = abs(base)  # now the power is increasing
    low, high = (_repeated(Interval(end), exponent) for end in (base.low, base.high))
    return Interval(low.low, high.high)


def _repeated(factor: Interval, count: int) -> Interval:
    """A product of equal factors, by squarings."""
    product = Interval(np.ones(factor.shape))
    while count:
        product = product * factor if count % 2 else product
        count //= 2
        factor = factor * factor if count else factor
    return product


def _increasing(
    function: np.ufunc, defined_from: float = -np.inf, floor: float = -np.inf, ulps: int = 1
) -> Callable[[Any], Interval]:
    """An increasing function, rounded outwards.

    Args:
        function: as numpy computes it.
        defined_from: the least number that it takes.
        floor: what it does not go below.
        ulps: what the function may be off by.
    """

    @_silent
    def applied(a: Any) -> Interval:
        a = _known(a)
        if np.any(a.high < defined_from):
            raise ValueError(
                f"np.{function.__name__} is not defined below {defined_from:g}, where all of an "
                f"interval lies: its upper end is {np.min(a.high)}."
            )
        low = np.maximum(down(function(np.maximum(a.low, defined_from)), ulps), floor)
        return _somewhere(low, up(function(a.high), ulps), a.low >= defined_from)

    return applied


_UFUNCS: dict[np.ufunc, Callable[..., Interval]] = {
    np.add: _add,
    np.subtract: _subtract,
    np.multiply: _multiply,
    np.divide: _divide,
    np.reciprocal: lambda a: _divide(1, a),
    np.negative: _negative,
    np.positive: _known,
    np.absolute: _absolute,
    np.fabs: _absolute,
    **dict.fromkeys((np.minimum, np.fmin), _minimum),  # no interval has NaN as an end
    **dict.fromkeys((np.maximum, np.fmax), _maximum),
    np.power: _power,
    np.float_power: _power,
    np.square: lambda a: _power(a, 2),
    np.sqrt: _increasing(np.sqrt, 0, 0),
    np.exp: _increasing(np.exp, floor=0, ulps=FUNCTION_ULPS),
    np.exp2: _increasing(np.exp2, floor=0, ulps=FUNCTION_ULPS),
    np.expm1: _increasing(np.expm1, floor=-1, ulps=FUNCTION_ULPS),
    np.tanh: _increasing(np.tanh, floor=-1, ulps=FUNCTION_ULPS),
    np.cbrt: _increasing(np.cbrt, ulps=2 * FUNCTION_ULPS),  # the C library's, off by up to 4
    np.log: _increasing(np.log, 0, ulps=FUNCTION_ULPS),
    np.log2: _increasing(np.log2, 0, ulps=FUNCTION_ULPS),
    np.log10: _increasing(np.log10, 0, ulps=FUNCTION_ULPS),
    np.log1p: _increasing(np.log1p, -1, ulps=FUNCTION_ULPS),
    np.equal: _refuse(_NO_EQUAL),
    np.not_equal: _refuse(_NO_UNEQUAL),
    **dict.fromkeys((np.less, np.less_equal, np.greater, np.greater_equal), _refuse(_NO_ORDER)),
    **dict.fromkeys(
        (np.logical_and, np.logical_or, np.logical_not, np.bitwise_and, np.bitwise_or, np.invert),
        _refuse(_NO_TRUTH),
    ),
}

_FUNCTIONS: dict[Callable[..., Any], Callable[..., Interval]] = {
    np.where: _where,
    np.clip: _clip,
    **dict.fromkeys((np.min, np.amin), lambda a, axis=None: a.min(axis)),
    **dict.fromkeys((np.max, np.amax), lambda a, axis=None: a.max(axis)),
    np.sum: lambda a, axis=None: a.sum(axis),
    np.mean: lambda a, axis=None: a.mean(axis),
    **dict.fromkeys((np.isclose, np.allclose, np.array_equal), _refuse(_NO_EQUAL)),
}


def _supported() -> str:
    names = ["add", "subtract", "multiply", "divide", "power", "square", "sqrt", "abs", "minimum"]
    names += ["maximum", "exp", "expm1", "exp2", "log", "log1p", "log2", "log10", "tanh"]
    names += ["cbrt", "where", "clip", "min", "max", "sum", "mean"]
    return f"np.{', '.join(names)} do, without further arguments but axis."


# ----------------------------------------------------------------------------- ready-made margins


class Equality(Interval):
    """The margin of an equality, with what it compares.

    Attributes:
        bracket: of the quantity.
        predicted: what it is said to be.
        tolerance: widest bracket that counts.
    """

    def __init__(
        self, bracket: Any, predicted: Any, tolerance: float, rounding: float = PREDICTION_ROUNDING
    ) -> None:
        self.bracket, self._given, self.tolerance = _known(bracket), _known(predicted), tolerance
        size = np.maximum(np.abs(self._given.low), np.abs(self._given.high))
        slack = rounding * np.where(np.isfinite(size), np.maximum(size, 1), 0)
        difference = self.bracket - (self._given + Interval(-slack, slack))
        outside = np.maximum(difference.low, -difference.high)  # how far apart they are at least
        inside = outside <= 0
        room = tolerance - (Interval(self.bracket.width) + self._given.width)
        super().__init__(
            np.where(inside, room.low, -outside), np.where(inside, tolerance, -outside)
        )

    @property
    def predicted(self) -> np.ndarray:
        """The prediction as numbers: its middle, where it is an interval itself."""
        return 0.5 * self._given.low + 0.5 * self._given.high

    @property
    def deviation(self) -> np.ndarray:
        """How far any near-optimal embedding can be from the prediction."""
        return abs(self.bracket - self._given).high


def equal(
    bracket: Interval,
    predicted: Any,
    tolerance: float = EQUALITY_TOLERANCE,
    rounding: float = PREDICTION_ROUNDING,
) -> Equality:
    """The margin of "the bracketed quantity equals the prediction".

    Positive where the prediction lies in the bracket and the bracket is narrower than `tolerance`,
    negative where the prediction lies outside, of both signs where the bracket is too wide.

    Args:
        bracket: of the quantity.
        predicted: a number for each cell, or an interval: another bracket, whose width counts too.
        tolerance: widest bracket that counts.
        rounding: what the prediction may be off by as it was computed, relative to its size where
            that is above 1. A prediction that is outside by no more than this is inside.

    Raises:
        ValueError: a tolerance that is not positive, or a rounding that is negative or not below
            the tolerance.
    """
    if not 0 <= rounding < tolerance:
        raise ValueError(
            f"an equality needs 0 <= rounding < tolerance; got rounding = {rounding} and "
            f"tolerance = {tolerance}."
        )
    return Equality(bracket, predicted, tolerance, rounding)


def same_phase(found: np.ndarray, predicted: Any) -> Interval:
    """The margin of "the phase is the predicted one": 1, -1, or both where undecided.

    Args:
        found: codes of :class:`ssem_jax.Phase`, as `cell.phase`.
        predicted: codes, or one; where it is UNDECIDED, nothing is predicted.

    Raises:
        ValueError: what is no code.
    """
    found, predicted = (np.asarray(codes) for codes in (found, predicted))
    for codes in (found, predicted):
        if codes.dtype.kind not in "iuf" or not np.isin(codes, list(Phase)).all():
            raise ValueError(
                "phases are compared as codes, such as cell.phase and sx.Phase.COLLAPSE; got "
                f"{codes.dtype} {codes.ravel()[:1]}."
            )
    open_ = (found == Phase.UNDECIDED) | (predicted == Phase.UNDECIDED)
    agrees = found == predicted
    return Interval(np.where(agrees & ~open_, 1, -1), np.where(agrees | open_, 1, -1))
