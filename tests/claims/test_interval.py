"""Intervals: rounded outwards, held against balls; what they refuse, and what to write instead."""

import copy
import fractions
import math
import operator
import pickle
from typing import Any

import flint
import jax.numpy as jnp
import numpy as np
import pytest

import ssem_jax as sx
from ssem_jax.claims import Equality, Interval, decided, equal, same_phase
from ssem_jax.claims.interval import FUNCTION_ULPS, PREDICTION_ROUNDING, as_interval

BITS = 2400
"""Balls at this precision hold the sums and products of the numbers below exactly."""
LARGEST = np.finfo(float).max
HALF = Interval([0.25, 0.5], [0.5, 0.75])


def through(function: Any, *arguments: Any) -> Interval:
    """A function of NumPy, which is said to make arrays and keeps intervals."""
    return function(*arguments)


def exact(value):
    return flint.arb(float(value))


@pytest.fixture(autouse=True)
def _precision():
    before, flint.ctx.prec = flint.ctx.prec, BITS
    yield
    flint.ctx.prec = before


def numbers(count, seed=0):
    """Numbers of both signs from 1e-160 to 1e160, and special ones."""
    random = np.random.default_rng(seed)
    wide = random.choice([-1, 1], count) * 10 ** random.uniform(-160, 160, count)
    near = random.normal(size=count)
    return np.concatenate([wide, near, [0.0, 1.0, -1.0, 0.1, 1 / 3, 2.0**-1074, -(2.0**53)]])


@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_points_are_enclosed_to_the_last_bit(operation):
    """The result of two floats has width 0 if it is a float, and else the floats around it."""
    a, b = numbers(300, 1), numbers(300, 2)
    b = np.where(b == 0, 1, b)
    result = operation(Interval(a), Interval(b))
    for low, high, x, y in zip(result.low, result.high, a, b, strict=True):
        truth = operation(exact(x), exact(y))
        assert exact(low) <= truth.upper()
        assert truth.lower() <= exact(high)
        if min(abs(x), abs(truth)) > 1e-280:  # below, the last bits of a product are not told
            assert high in (low, np.nextafter(low, np.inf))


def test_one_end_alone_moves_and_only_where_it_was_rounded():
    third = Interval(1.0) / 3
    assert (third.low, third.high) == (1 / 3, np.nextafter(1 / 3, 1))  # 1/3 is rounded down
    tenth = Interval(0.1) + 0.2  # 0.30000000000000004, rounded up
    assert (tenth.low, tenth.high) == (np.nextafter(0.1 + 0.2, 0), 0.1 + 0.2)
    for result, value in (
        (Interval(0.5) + 0.25, 0.75),
        (Interval(3.0) * 7, 21),
        (Interval(1) / 4, 0.25),
    ):
        assert (result.low, result.high) == (value, value)
    assert ((1 - Interval(0, 1)).low, (1 - Interval(0, 1)).high) == (0, 1)


FUNCTIONS = {
    np.sqrt: (flint.arb.sqrt, (0, 1e300), 1),
    np.exp: (flint.arb.exp, (-700, 700), FUNCTION_ULPS),
    np.expm1: (flint.arb.expm1, (-30, 700), FUNCTION_ULPS),
    np.exp2: (lambda x: flint.arb(2) ** x, (-1000, 1000), FUNCTION_ULPS),
    np.log: (flint.arb.log, (1e-300, 1e300), FUNCTION_ULPS),
    np.tanh: (flint.arb.tanh, (-30, 30), FUNCTION_ULPS),
    np.cbrt: (lambda x: x.root(3), (1e-300, 1e300), 2 * FUNCTION_ULPS),
    np.log2: (lambda x: x.log() / flint.arb(2).log(), (1e-300, 1e300), FUNCTION_ULPS),
    np.log10: (lambda x: x.log() / flint.arb(10).log(), (1e-300, 1e300), FUNCTION_ULPS),
    np.log1p: (flint.arb.log1p, (-0.999, 1e300), FUNCTION_ULPS),
}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_functions_are_enclosed_and_numpys_error_is_far_below_what_is_allowed(function):
    ball, (least, most), allowed = FUNCTIONS[function]
    random = np.random.default_rng(3)
    points = random.uniform(least, most, 500)
    if least >= 0:
        points = 10 ** random.uniform(-300, 300, 500)
    near = random.uniform(max(least, -1 if least < 0 else 0.5), 2, 500)  # where logarithms cancel
    points = np.concatenate([points, near, [1.0]])
    result = function(Interval(points))
    values = function(points)
    for low, high, value, point in zip(result.low, result.high, values, points, strict=True):
        truth = ball(exact(point))
        assert exact(low) <= truth <= exact(high), point
        off = abs(exact(value) - truth)
        assert off <= exact(max(allowed / 2, 1) * np.spacing(abs(value))), point


def test_powers():
    a = Interval([-2.0, -3, 0.5], [1.0, -2, 0.75])
    assert (a**2).low.tolist() == [0, 4, 0.25]
    assert (a**2).high.tolist() == [4, 9, 0.5625]
    assert (a**3).low.tolist() == [-8, -27, 0.125]
    assert (a**0).low.tolist() == [1, 1, 1]
    assert (a ** np.array([1.0, 2, 1])).high.tolist() == [1, 9, 0.75]
    assert through(np.square, a).high.tolist() == (a**2).high.tolist()
    assert (a[1:] ** -1).high.tolist() == [-1 / 3, 2]
    assert np.isinf((a[:1] ** -1).low).all()  # the divisor may be 0
    points = np.random.default_rng(0).uniform(0.01, 5, 200)
    for exponent in (0.5, -1.7, 3.0, -5):
        result = Interval(points) ** exponent
        for low, high, point in zip(result.low, result.high, points, strict=True):
            truth = exact(point) ** exact(exponent)
            assert exact(low) <= truth.upper()
            assert truth.lower() <= exact(high)
        assert np.all(result.width <= 1e-13 * result.high)
    root = Interval([0.0, 4], [1.0, 9]) ** 0.5
    assert np.all(root.low <= [0, 2])
    assert np.all(root.high >= [1, 3])
    assert np.all(root.width < [1 + 1e-14, 1 + 1e-14])
    grown = 2 ** Interval([1.0], [3.0])
    assert grown.low[0] <= 2 <= 8 <= grown.high[0] < 8 + 1e-13


@pytest.mark.parametrize(
    "operation", [np.add, np.subtract, np.multiply, np.divide, np.minimum, np.maximum]
)
def test_whatever_the_operands_stand_for_is_in_the_result(operation):
    random = np.random.default_rng(5)
    ends = np.sort(random.normal(size=(2, 200, 2)), axis=-1)
    a, b = (Interval(each[:, 0], each[:, 1]) for each in ends)
    result = operation(a, b)
    for s in np.linspace(0, 1, 7):
        for t in np.linspace(0, 1, 7):
            x, y = a.low + s * (a.high - a.low), b.low + t * (b.high - b.low)
            x, y = np.clip(x, a.low, a.high), np.clip(y, b.low, b.high)
            assert np.all(result.low <= operation(x, y))
            assert np.all(operation(x, y) <= result.high)


def test_what_may_not_be_defined_is_the_whole_line_and_what_cannot_be_is_an_error():
    crossing = Interval([-1.0, 0, 1], [1.0, 1, 2])
    over = through(np.log, crossing - 0.5), through(np.sqrt, crossing - 0.5)
    for result in (1 / crossing, *over, crossing**-2):
        assert (result.low[0], result.high[0]) == (-np.inf, np.inf)
        assert np.isfinite(result.high[2])
    assert (1 / Interval(0.0)).low == -np.inf
    assert through(np.log, Interval(0.0, 1.0)).low == -np.inf
    assert through(np.sqrt, Interval(0.0, 1.0)).low == 0
    for call in (np.sqrt, np.log, lambda a: a**0.5):
        with pytest.raises(ValueError, match="is not defined below 0, where all of an interval"):
            call(Interval([1.0, -2], [2.0, -1]))
    with pytest.raises(ValueError, match=r"np\.log1p is not defined below -1"):
        np.log1p(Interval(-3.0, -2.0))


def test_infinities_and_overflow_stay_outside():
    half = Interval(-np.inf, 1)
    assert ((half + 1).low, (half + 1).high) == (-np.inf, 2)
    assert ((half - half).low, (half - half).high) == (-np.inf, np.inf)
    assert ((0 * half).low, (0 * half).high) == (0, 0)
    assert (half * -1).high == np.inf
    large = Interval(LARGEST) + LARGEST
    assert (large.low, large.high) == (LARGEST, np.inf)
    assert (Interval(LARGEST) * 2).low == LARGEST
    assert through(np.exp, Interval(-1e6, 1e6)).low == 0
    assert through(np.exp, Interval(-1e6, 1e6)).high == np.inf
    tiny = Interval(1e-200) * 1e-200
    assert tiny.low <= 0 < tiny.high < 1e-300


def test_numbers_that_are_no_float_are_enclosed():
    for number in (fractions.Fraction(1, 3), 2**70 + 1, np.int64(2**62 + 1)):
        found = as_interval(number)
        assert fractions.Fraction(float(found.low)) < number < fractions.Fraction(float(found.high))
    product = fractions.Fraction(1, 3) * Interval(3.0)
    assert product.low < 1 < product.high
    assert as_interval(2**53).low == as_interval(2**53).high


@pytest.mark.parametrize(
    "left",
    [
        np.float64(2),
        np.float32(2),
        np.int64(2),
        np.array([2.0, 2.0]),
        2,
        jnp.float64(2),
        jnp.full(2, 2.0),
    ],
    ids=lambda left: type(left).__name__,
)
@pytest.mark.parametrize(
    "operation",
    [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow],
)
def test_numbers_and_arrays_of_numpy_and_jax_from_either_side(left, operation):
    for result in (operation(left, HALF), operation(HALF, left)):
        assert type(result) is Interval
        assert result.low.dtype == float
        assert result.shape == (2,)
    middle = operation(2.0, np.array([0.375, 0.625]))
    result = operation(left, HALF)
    assert np.all((result.low < middle) & (middle < result.high))


def test_numpys_functions():
    a, b = Interval([0.0, 2], [1.0, 3]), Interval([0.5, 5], [0.6, 6])
    assert through(np.minimum, a, b).high.tolist() == [0.6, 3]
    assert through(np.maximum, a, 0.5).low.tolist() == [0.5, 2]
    assert through(np.maximum, 0.5, a).low.tolist() == [0.5, 2]
    assert through(np.abs, -a).high.tolist() == [1, 3]
    assert through(np.negative, a).low.tolist() == (-a).low.tolist() == [-1, -3]
    assert (+a).low.tolist() == [0, 2]
    assert through(np.clip, a, 0.25, 2.5).high.tolist() == [1, 2.5]
    chosen = through(np.where, np.array([True, False]), a, 7)
    assert (chosen.low.tolist(), chosen.high.tolist()) == ([0, 7], [1, 7])


def test_reductions_go_along_other_axes_than_that_of_the_cells():
    a = Interval([[0.0, 1, 2], [3, 4, 5]], [[1.0, 2, 3], [4, 5, 6]])
    assert a.min(axis=1).low.tolist() == np.min(a, axis=1).low.tolist() == [0, 3]
    assert a.max(axis=-1).high.tolist() == np.max(a, axis=1).high.tolist() == [3, 6]
    assert a.sum(axis=1).low.tolist() == np.sum(a, axis=1).low.tolist() == [3, 12]
    assert a.mean(axis=1).low.tolist() == np.mean(a, axis=1).low.tolist() == [1, 4]
    tenths = Interval(np.full((1, 10), 0.1)).sum(axis=1)
    truth = sum([fractions.Fraction(0.1)] * 10)
    assert fractions.Fraction(tenths.low[0]) <= truth <= fractions.Fraction(tenths.high[0])
    for axis in (0, None, -2):
        with pytest.raises(ValueError, match="give one axis other than the first"):
            np.min(a, axis=axis)
    with pytest.raises(ValueError, match="give one axis other than the first"):
        Interval(1.0).sum(axis=0)


@pytest.mark.parametrize(
    ("ends", "shown"),
    [
        (([0.0, 2], [1.0, 1]), r"got 2\.0 and 1\.0 at index 1, the first of 1"),
        (([np.nan], None), "got nan and nan at index 0"),
        (([0.0, 0], [1.0, np.nan]), r"got 0\.0 and nan at index 1"),
        ((None, None), "got nan"),
    ],
)
def test_ends_that_are_no_numbers_or_out_of_order(ends, shown):
    with pytest.raises(ValueError, match=f"ends of an interval are numbers low <= high; {shown}"):
        Interval(*ends)


@pytest.mark.parametrize("end", ["1.0", 1j, np.datetime64("2026-01-01")])
def test_ends_are_real_numbers(end):
    with pytest.raises(TypeError, match="an interval has real numbers as ends; got"):
        Interval(end)


@pytest.mark.parametrize(
    ("use", "remedy"),
    [
        (lambda a: a == 0, r"sx\.equal\(quantity, prediction\)"),
        (lambda a: np.zeros(2) == a, r"sx\.equal"),
        (lambda a: np.isclose(a, 0), r"sx\.equal"),
        (lambda a: 0 in a, r"sx\.equal"),
        (lambda a: a != 0, r"abs\(quantity - value\)"),
        (lambda a: np.float64(0) != a, r"abs\(quantity - value\)"),
        (lambda a: a < 1, "write the difference"),
        (lambda a: a >= 1, "write the difference"),
        (lambda a: np.ones(2) > a, "write the difference"),
        (lambda a: max(a, 0), r"np\.minimum and np\.maximum"),
        (lambda a: sorted([a, a]), "write the difference"),
        (lambda a: 1.0 if a else -1.0, r"np\.where\(condition, one, other\)"),
        (lambda a: not a, "neither true nor false"),
        (lambda a: a and a, r"np\.minimum\(a, b\)"),
        (lambda a: any([a]), "neither true nor false"),
        (lambda a: a & a, "neither true nor false"),
        (lambda a: np.ones(2, bool) | a, "neither true nor false"),
        (lambda a: ~a, "neither true nor false"),
        (lambda a: np.where(a, 1, -1), "neither true nor false"),
        (lambda a: float(a[0]), r"\.low and \.high"),
        (lambda a: int(a[0]), r"\.low and \.high"),
        (lambda a: [0, 1][a[0]], r"\.low and \.high"),
        (lambda a: round(a[0]), r"\.low and \.high"),
        (lambda a: math.sqrt(a[0]), r"\.low and \.high"),
        (lambda a: np.asarray(a), r"\.low and \.high"),
        (lambda a: np.array([a, a]), r"\.low and \.high"),
        (hash, "unhashable"),
        (lambda a: a // 2, "unsupported operand"),
        (lambda a: a % 2, "unsupported operand"),
        (lambda a: np.sin(a), r"np\.sin takes no interval; np\.add, .* do"),
        (lambda a: np.ones(2) % a, r"np\.remainder takes no interval"),
        (lambda a: np.sign(a), r"np\.sign takes no interval"),
        (lambda a: np.sort(a), r"np\.sort takes no interval"),
        (lambda a: np.minimum.reduce(a), r"np\.minimum\.reduce takes no interval"),
        (lambda a: np.add(1, a, out=np.ones(2)), r"np\.add with out= takes no interval"),
        (lambda a: operator.iadd(np.ones(2), a), "takes no interval"),
    ],
)
def test_what_python_would_decide_by_default_is_refused(use, remedy):
    with pytest.raises(TypeError, match=remedy):
        use(HALF)


def test_intervals_are_sequences_of_intervals_and_are_copied():
    assert [each.low for each in HALF] == [0.25, 0.5]
    assert len(HALF) == 2
    assert HALF[1].high == 0.75
    with pytest.raises(TypeError, match="len"):
        iter(Interval(1.0))
    for copied in (copy.copy(HALF), copy.deepcopy(HALF), pickle.loads(pickle.dumps(HALF))):
        assert copied.low.tolist() == HALF.low.tolist()
    margin = copy.deepcopy(equal(HALF, 0.5))
    assert margin.tolerance == 1e-3


def test_what_is_made_of_a_decided_margin_counts_in_certified_cells_again():
    first = decided(HALF, [True, False])
    assert HALF.decided is None  # the margin that was given stays as it is
    second = first + 0
    assert second.decided is None
    assert second.low.tolist() == [0.25, -np.inf]
    assert (-first).high.tolist() == [-0.25, np.inf]


class TestEquality:
    def test_three_outcomes(self):
        bracket = Interval([0.0, 0.0, 0.0], [1e-6, 1e-6, 0.5])
        margin = equal(bracket, np.array([5e-7, 0.1, 0.2]))
        assert margin.low[0] > 0
        assert margin.high[1] < 0
        assert margin.low[2] < 0 < margin.high[2]
        assert margin.deviation[2] == pytest.approx(0.3)
        assert margin.predicted.tolist() == [5e-7, 0.1, 0.2]

    def test_a_prediction_is_not_refuted_by_its_own_rounding(self):
        bracket = Interval([1 - 1e-9, -1.0], [1.0, -1 + 1e-9])
        last_bit = 1 + 7e-16
        assert np.all(equal(bracket, [last_bit, -last_bit]).low > 0)
        beyond = 1 + 3 * PREDICTION_ROUNDING
        assert np.all(equal(bracket, [beyond, -beyond]).high < 0)
        assert np.all(equal(bracket, [beyond, -beyond], rounding=1e-11).low > 0)
        assert np.all(equal(bracket, [last_bit, -last_bit], rounding=0).high < 0)
        # Relative to the size of what is above 1.
        assert equal(Interval(1e6), 1e6 + 1e-9).low > 0
        assert equal(Interval(1e6), 1e6 + 1e-5).high < 0

    def test_a_prediction_may_be_a_bracket_whose_width_counts(self):
        narrow, wide = Interval(0.3, 0.3001), Interval(0.2, 0.4)
        assert equal(narrow, narrow + 1e-5).low > 0
        undecided = equal(narrow, wide)
        assert undecided.low < 0 < undecided.high
        assert equal(narrow, narrow + 0.1).high < 0

    def test_an_infinite_prediction_is_wrong(self):
        assert equal(Interval(0.0, 1e-6), np.inf).high < 0

    @pytest.mark.parametrize(
        "options", [{"rounding": -1.0}, {"rounding": 1e-2}, {"tolerance": 0.0}]
    )
    def test_bad_tolerances(self, options):
        with pytest.raises(ValueError, match="an equality needs 0 <= rounding < tolerance"):
            equal(HALF, 0.5, **options)

    def test_equalities_are_joined_by_and(self):
        one, other = equal(HALF[:1], 0.3, 0.5), equal(HALF[:1], 0.9, 0.5)
        assert type(one) is Equality
        assert through(np.minimum, one, one).low > 0
        assert through(np.minimum, one, other).high < 0


class TestSamePhase:
    def test_agrees_disagrees_or_is_undecided(self):
        found = np.array([sx.Phase.SPREAD, sx.Phase.SPREAD, sx.Phase.UNDECIDED, sx.Phase.SPREAD])
        predicted = np.array(
            [sx.Phase.SPREAD, sx.Phase.COLLAPSE, sx.Phase.SPREAD, sx.Phase.UNDECIDED]
        )
        margin = same_phase(found, predicted)
        assert margin.low.tolist() == [1, -1, -1, -1]
        assert margin.high.tolist() == [1, -1, 1, 1]
        assert same_phase(found[:2], sx.Phase.SPREAD).low.tolist() == [1, 1]

    @pytest.mark.parametrize("predicted", ["collapse", 0.5, 7, [True]])
    def test_codes_only(self, predicted):
        with pytest.raises(ValueError, match=r"phases are compared as codes, such as cell\.phase"):
            same_phase(np.array([0]), predicted)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (lambda x: x.mid, "an interval has no 'mid'. It has low, high, decided, max, mean, min"),
        (lambda x: x.sqrt(), r"an interval has no 'sqrt'; write np.sqrt\(x\)"),
        (lambda x: x.clip(0, 1), r"has no 'clip'; write np.clip\(x\). It has low, high"),
    ],
)
def test_what_an_interval_does_not_have_is_told_with_what_it_has(asked, told):
    with pytest.raises(AttributeError, match=told):
        asked(Interval([0.25, 0.5]))


def test_names_that_numpy_has_twice():
    a, b = Interval([[0.25, 0.5]]), Interval([[0.3, 0.4]])
    assert (
        through(np.fmin, a, b).low.tolist()
        == through(np.minimum, a, b).low.tolist()
        == [[0.25, 0.4]]
    )
    assert (
        through(np.fmax, a, b).low.tolist()
        == through(np.maximum, a, b).low.tolist()
        == [[0.3, 0.5]]
    )
    assert through(np.amin, a, 1).low.tolist() == a.min(1).low.tolist() == [0.25]
    assert through(np.amax, a, 1).low.tolist() == a.max(1).low.tolist() == [0.5]
    with pytest.raises(ValueError, match=r"give one axis other than the first, .*; got None"):
        a.mean()
