"""Free features and weights: closed forms, the dual bound of any point, merging, free descent."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb, ctx

from ssem_jax import theory
from ssem_jax.certificate import GAP_TOLERANCE, minority_threshold, rounding, solve_features
from ssem_jax.certificate.features.bounds import lower_bound, multipliers, upper_value
from ssem_jax.certificate.features.optimum import KIND_LIMIT, solve_kinds
from ssem_jax.certificate.features.program import FeatureProgram, Kinds, kinds_of
from ssem_jax.losses import Balls, Budget, CrossEntropy, Ridge, SquaredError, Unit
from ssem_jax.solver import minimise_features

CLOSE = 1e-11
"""What gaps of 1e-12 leave between an optimum and its closed form."""
SIZES = (12, 12, 5, 2, 2)
NORMS = (Ridge(1e-2, 1e-3), Budget(1.5, 0.7), Balls(1.0, 2.0), Unit(0.3))
BIASES = (False, True, 0.1)


def wrong(value) -> Any:
    """What no type admits."""
    return value


def labels_of(sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


def oracle(loss, weights, features, labels, bias):
    """By definition, sample by sample."""
    count, total = len(weights), 0.0
    for row, own in zip(features, labels, strict=True):
        logits = [float(row @ w) / loss.temperature + b for w, b in zip(weights, bias, strict=True)]
        smooth = getattr(loss, "smoothing", 0.0)
        target = [smooth / count + (1 - smooth) * (k == own) for k in range(count)]
        if isinstance(loss, SquaredError):
            total += sum((z - t) ** 2 for t, z in zip(target, logits, strict=True)) / 2
            continue
        top = max(logits)
        total += top + math.log(sum(math.exp(z - top) for z in logits))
        total -= sum(t * z for t, z in zip(target, logits, strict=True))
    total /= len(labels)
    if isinstance(loss.norms, Ridge):
        total += loss.norms.weights / 2 * float(np.sum(weights**2))
        total += loss.norms.features / 2 * float(np.sum(features**2))
    return total + loss.decay / 2 * float(np.sum(bias**2))


def random_point(loss, sizes, rng, size=1.0):
    """Weights and features within the norms."""
    count, labels = len(sizes), labels_of(sizes)
    weights, features = rng.normal(size=(count, 4)), rng.normal(size=(len(labels), 4))
    bias = rng.normal(size=count) if loss.bias is not False else np.zeros(count)
    norms = loss.norms
    if isinstance(norms, Budget):
        squares = np.sum(np.sum(features**2, 1) / np.asarray(sizes)[labels])
        weights *= math.sqrt(count * norms.weights / np.sum(weights**2))
        features *= math.sqrt(count * norms.features / squares)
    elif isinstance(norms, (Balls, Unit)):
        s, r = (norms.weights, norms.features) if isinstance(norms, Balls) else (1.0, 1.0)
        weights *= s / np.linalg.norm(weights, axis=1, keepdims=True)
        features *= r / np.linalg.norm(features, axis=1, keepdims=True)
    return size * weights, size * features, labels, bias


@pytest.mark.parametrize(
    ("loss", "sizes", "value"),
    [
        (CrossEntropy(Ridge(1e-3, 1e-3)), (10,) * 3, theory.balanced_ridge(3, 10, 1e-3, 1e-3)),
        (
            CrossEntropy(Ridge(1e-2, 1e-4), True, 0.1),
            (7,) * 20,
            theory.balanced_ridge(20, 7, 1e-2, 1e-4, 0.1),
        ),
        (CrossEntropy(Ridge(0.2, 0.2)), (9,) * 4, theory.balanced_ridge(4, 9, 0.2, 0.2)),
        (CrossEntropy(Budget(2.0, 0.5)), (3,) * 4, (theory.simplex_cross_entropy(4, 1.0),)),
        (CrossEntropy(Balls(2.0, 3.0), True), (3,) * 5, (theory.simplex_cross_entropy(5, 6.0),)),
        (CrossEntropy(Unit(0.2)), (4,) * 1000, (theory.simplex_cross_entropy(1000, 5.0),)),
    ],
    ids=["ridge", "smoothed", "vanishing", "peeled", "balls", "normface"],
)
def test_balanced_classes_are_at_their_closed_form(loss, sizes, value):
    found = solve_features(loss, sizes)
    assert found.lower <= value[0] + CLOSE
    assert found.value >= value[0] - CLOSE
    assert 0 <= found.gap <= CLOSE
    if value[0] < math.log(len(sizes)) - 1e-9:
        assert found.simplex_distance < 1e-6
        assert found.merging == ("apart",)
    else:
        assert found.merged(sizes) == [list(range(len(sizes)))]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("sizes", [SIZES, (3, 3, 3), (50, 1)])
def test_squared_error_shrinks_the_singular_values_of_the_labels(sizes, bias):
    for decay in (1e-3, 0.02, 0.1):
        found = solve_features(SquaredError(Ridge(decay, 2 * decay), bias), sizes)
        stated = theory.squared_ridge(sizes, decay, 2 * decay, bias)
        assert found.lower - CLOSE <= stated <= found.value + CLOSE
        assert found.gap <= CLOSE


@pytest.mark.parametrize(
    ("norms", "left"),
    [
        (Balls(0.5, 1.0), 0.5),
        (Balls(2.0, 1.0), 0.0),
        (Unit(4.0), 0.75),
        (Budget(0.25, 1.0), 0.5),  # balanced: all classes as far
    ],
    ids=["balls", "room", "unit", "peeled"],
)
def test_squared_error_within_norms(norms, left):
    found = solve_features(SquaredError(norms), (6, 6, 6, 6))
    assert found.lower - CLOSE <= left**2 / 2 <= found.value + CLOSE
    assert found.gap <= CLOSE


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("norms", NORMS, ids=lambda norms: type(norms).__name__)
def test_no_point_is_below_the_bound_of_any_outputs(norms, bias, squared):
    rng = np.random.default_rng(0)
    loss = SquaredError(norms, bias) if squared else CrossEntropy(norms, bias, smoothing=0.1)
    found = solve_features(loss, SIZES)
    assert found.gap <= GAP_TOLERANCE / 100
    for size in (0.1, 1.0):
        weights, features, labels, intercept = random_point(loss, SIZES, rng, size)
        value = oracle(loss, weights, features, labels, intercept)
        assert value > found.lower
        said = loss.value(*map(jnp.asarray, (weights, features, labels, intercept)))
        assert float(said) == pytest.approx(value, abs=1e-12)
    program = FeatureProgram(loss, kinds_of(SIZES))
    exact = program.outputs_at(program.start)
    for shape in (0.01, 0.3):  # near the start's, and far
        moved = exact * np.exp(shape * rng.normal(size=exact.shape))
        dual = lower_bound(program, moved, *multipliers(program, program.start, exact))
        assert dual.lower < found.lower + CLOSE


@pytest.mark.parametrize("kind", [CrossEntropy, SquaredError])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("factor", "state"), [(0.98, "merged"), (1.02, "apart")])
def test_classes_of_equal_size_merge_as_the_law_says(kind, bias, factor, state):
    sizes = (40, 40, 6, 6, 6)
    total = sum(sizes)
    product = 6 / total**2 / factor
    loss = kind(Ridge(math.sqrt(product), math.sqrt(product)), bias)
    assert (theory.merged_size(total, *[math.sqrt(product)] * 2) >= 6) == (state == "merged")
    found = solve_features(loss, sizes)
    assert found.merging == ("apart", state)
    assert found.merged(sizes) == ([[2, 3, 4]] if state == "merged" else [])
    low, high = found.margin_brackets
    for place, size in enumerate((40, 6)):
        stated = theory.ridge_margin(size, total, *[math.sqrt(product)] * 2)
        assert low[place, place] <= stated <= high[place, place]
        assert high[place, place] - low[place, place] < 1e-4


@pytest.mark.parametrize(
    ("counts", "energies", "ratio"),
    [
        ((2, 2), (1.0, 1.0), 3.38049),
        pytest.param((5, 5), (1.0, 1.0), 1.73542, marks=pytest.mark.slow),
        pytest.param((7, 3), (10.0, 5.0), 5023.9, marks=pytest.mark.slow),
    ],
)
def test_thresholds_of_minority_collapse(counts, energies, ratio):
    loss = CrossEntropy(Budget(*energies))
    found = minority_threshold(loss, *counts)
    assert found == pytest.approx(ratio, rel=2e-5)
    for step, state in ((0.98, "apart"), (1.02, "merged")):
        kinds = Kinds(np.array([step * found, 1.0]), np.array(counts, float))
        cell = solve_kinds(loss, kinds)
        assert cell.gap <= GAP_TOLERANCE
        assert cell.merging == ("apart", state)


def test_free_descent_from_a_gaussian_start_reaches_the_bound():
    loss, sizes = CrossEntropy(Ridge(1e-2, 1e-3)), (10, 10, 2, 2)
    bound = solve_features(loss, sizes)
    found = minimise_features(loss, sizes, 8, jax.random.key(0))
    assert -CLOSE <= found.value - bound.value <= GAP_TOLERANCE
    within = found.features - np.repeat(
        [found.features[labels_of(sizes) == k].mean(0) for k in range(4)], sizes, axis=0
    )
    assert np.abs(within).max() < 1e-6  # nothing told it that classes collapse
    norms = np.linalg.norm(found.weights, axis=1)
    np.testing.assert_allclose(norms, np.repeat(bound.weights.norms, 2), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("norms", NORMS, ids=lambda norms: type(norms).__name__)
def test_free_descent_reaches_the_bound_whatever_the_norms(norms):
    loss, sizes = CrossEntropy(norms, 0.1, 0.05), (10, 10, 2, 2)
    found = minimise_features(loss, sizes, 8, 1)
    assert abs(found.value - solve_features(loss, sizes).value) <= GAP_TOLERANCE


def random_cell(rng):
    """Norms, bias, smoothing and sizes of some cell."""
    scale = np.exp(rng.uniform(-1.5, 1.5, 2))
    kind = int(rng.integers(4))
    norms = (
        Ridge(*np.exp(rng.uniform(np.log(1e-4), np.log(0.05), 2))),
        Budget(*scale),
        Balls(*scale),
        Unit(float(rng.uniform(0.1, 2.0))),
    )[kind]
    bias = BIASES[int(rng.integers(3))]
    squared = rng.random() < 0.3
    smoothing = float(rng.choice([0.0, 0.1]))
    different = rng.integers(1, 100, size=int(rng.integers(1, 4)))
    sizes = np.repeat(different, rng.integers(1, 5, size=len(different))).tolist()
    loss = SquaredError(norms, bias) if squared else CrossEntropy(norms, bias, smoothing)
    return loss, sizes if len(sizes) > 1 else sizes * 2


@pytest.mark.parametrize("norms", [Unit(0.10837684601264186), Balls(4.0, 4.0)])
def test_labels_that_are_fitted_within_the_limits_leave_no_slope(norms):
    """The least squared error is 0, and multipliers are nothing but rounding."""
    found = solve_features(SquaredError(norms), (62, 25, 75, 75, 75))
    assert 0 <= found.value < GAP_TOLERANCE
    assert 0 <= found.gap <= GAP_TOLERANCE


@pytest.mark.slow
def test_500_cells_are_certified():
    rng = np.random.default_rng(0)
    worst, seen, widths = 0.0, set(), []
    for _ in range(500):
        loss, sizes = random_cell(rng)
        found = solve_features(loss, sizes)
        worst = max(worst, found.gap)
        assert 0 <= found.gap <= GAP_TOLERANCE, (loss, sizes, found.gap)
        low, high = found.margin_brackets
        assert np.all((low <= high) | np.isnan(low))
        widths.append(found.unknown)
        seen.add((type(loss), type(loss.norms)))
    assert len(seen) == 8
    norms, cosines = np.median(widths, axis=0)
    print(f"median widths of brackets: {norms:.1e} of norms, {cosines:.1e} of cosines")
    print(f"worst gap of 500 cells {worst:.2e}")


def test_the_value_is_rounded_upwards():
    before, ctx.prec = ctx.prec, 200
    try:
        for norms in NORMS:
            loss = CrossEntropy(norms)
            program = FeatureProgram(loss, kinds_of(SIZES))
            x = program.start + 0.01 * np.random.default_rng(1).normal(size=program.num_variables)
            logits, exact = program.logits(x), arb(0)
            for g, share in enumerate(program.shares):
                total = sum(
                    (
                        arb(c) * arb(z).exp()
                        for c, z in zip(program.copies[g], logits[g], strict=True)
                    ),
                    arb(0),
                )
                exact += arb(share) * (total.log() - arb(logits[g, 0]))
            exact += sum((arb(c) * arb(v) for c, v in zip(program.cost, x, strict=True)), arb(0))
            found = upper_value(program, x)
            assert arb(found) > exact
            assert arb(found) < exact + 1e-12
    finally:
        ctx.prec = before


def test_margins_grow_with_what_they_are_summed_from():
    assert 0 < rounding.feature_bound(3, 1.0) < rounding.feature_bound(30, 1.0) < 1e-12
    small = rounding.feature_value(3, 1.0, 1.0, 1.0, 20)
    assert 0 < small < rounding.feature_value(30, 10.0, 10.0, 10.0, 200) < 1e-12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CrossEntropy(wrong(0.1)), r"norms must be Ridge\(λ_W, λ_H\)"),
        (lambda: CrossEntropy(Unit(1.0), bias=-1.0), "bias, if it is no bool"),
        (lambda: CrossEntropy(Unit(1.0), smoothing=1.0), r"smoothing must lie in \[0, 1\)"),
        (lambda: Ridge(0.0, 1.0), "weights of Ridge must be positive"),
        (lambda: Balls(wrong([1.0, 2.0]), 1.0), "weights of Balls must be one number"),
        (
            lambda: solve_features(wrong(Unit(1.0)), (2, 2)),
            "loss must be a CrossEntropy or SquaredError",
        ),
        (
            lambda: solve_features(CrossEntropy(Unit(1.0)), wrong(3)),
            "sizes must be integers, one for each",
        ),
        (lambda: solve_features(CrossEntropy(Unit(1.0)), (3,)), "at least 2 classes; got 1"),
        (lambda: solve_features(CrossEntropy(Unit(1.0)), (3, 0)), "every class size must be"),
        (
            lambda: solve_features(CrossEntropy(Unit(1.0)), range(1, KIND_LIMIT + 2)),
            "at most 24 different class sizes",
        ),
        (
            lambda: minority_threshold(CrossEntropy(Ridge(1.0, 1.0)), 2, 2),
            "use theory.merged_size",
        ),
        (lambda: minority_threshold(CrossEntropy(Unit(1.0)), 2, 1), "num_minorities must be"),
        (lambda: theory.balanced_ridge(3, 3, 1.0, 1.0, 2.0), "smoothing must lie in"),
    ],
)
def test_what_cannot_be_meant_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
