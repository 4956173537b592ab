"""Ends of norms and cosines of last layers: closed forms, points of any value, false certificates.

Whatever weights and features are at hand, what they are like lies within the ends of their value.
"""

import math

import numpy as np
import pytest

from ssem_jax import theory
from ssem_jax.certificate import solve_features
from ssem_jax.certificate.features.bounds import lower_bound, multipliers
from ssem_jax.certificate.features.brackets import enclose
from ssem_jax.certificate.features.program import FeatureProgram, kinds_of
from ssem_jax.losses import Balls, Budget, CrossEntropy, Ridge, SquaredError, Unit

NARROW = 5e-3
"""Widths at gaps of 1e-12: roots of them, of probabilities of some hundredths."""
SIZES = (9, 9, 4, 2, 2)
NORMS = (Ridge(1e-2, 1e-3), Budget(1.5, 0.7), Balls(1.0, 2.0), Unit(0.3))
SMALL = (Ridge(1e-2, 1e-3), Budget(0.5, 0.7), Balls(0.5, 1.0), Unit(3.0))
"""Within which labels are not met."""


def within(ends, values):
    low, high = ends
    return bool(np.all((low <= values) & (values <= high)))


def dual_at(loss, sizes):
    """The program, its dual and a near-optimal point."""
    program = FeatureProgram(loss, kinds_of(sizes))
    x = program.minimised()
    outputs = program.outputs_at(x)
    return program, lower_bound(program, outputs, *multipliers(program, x, outputs)), x


def vectors(program, x, sizes):
    """Weights, and a feature of every class, in their own units."""
    kind = np.searchsorted(-program.kinds.sizes, -np.asarray(sizes, float))
    own, others = program.products(x)
    blocks = others[:, kind][:, :, kind]
    for k in range(3):
        np.fill_diagonal(blocks[k], own[k][kind])
    gram = np.block([[blocks[0], blocks[2]], [blocks[2].T, blocks[1]]])
    values, turn = np.linalg.eigh(gram)
    rows = turn * np.sqrt(np.maximum(values, 0))
    weights, features = rows[: len(sizes)], rows[len(sizes) :]
    scale = program.scale
    return weights * scale.weights[kind][:, None], features * scale.features[kind][:, None]


def admitted(norms, weights, features, labels, sizes):
    """Scaled down to what norms are limited to."""
    if isinstance(norms, Budget):
        squares = np.sum(features**2, axis=1) / np.asarray(sizes)[labels]
        most = len(sizes) * norms.weights, len(sizes) * norms.features
        used = np.sum(weights**2), squares.sum()
        return [
            rows * min(1.0, math.sqrt(m / u))
            for rows, m, u in zip((weights, features), most, used, strict=True)
        ]
    if isinstance(norms, Ridge):
        return [weights, features]
    most = (norms.weights, norms.features) if isinstance(norms, Balls) else (1.0, 1.0)
    return [
        rows * np.minimum(1, m / np.linalg.norm(rows, axis=1, keepdims=True))
        for rows, m in zip((weights, features), most, strict=True)
    ]


def geometry(weights, features, labels, sizes):
    """Norms, cosines and alignment of means of squares and inner products over classes of a size,
    from weights and features themselves."""
    sizes = np.asarray(sizes)
    means = np.stack([features[labels == k].mean(0) for k in range(len(sizes))])
    spread = np.stack([np.mean(features[labels == k] ** 2, 0).sum() for k in range(len(sizes))])
    names = sorted(set(sizes.tolist()), reverse=True)
    groups = [np.flatnonzero(sizes == name) for name in names]
    found = []
    for rows, squares in ((weights, np.sum(weights**2, axis=1)), (means, spread)):
        products = rows @ rows.T
        own = np.array([squares[g].mean() for g in groups])
        cosines = np.ones((len(names), len(names)))
        for i, one in enumerate(groups):
            for j, two in enumerate(groups):
                pairs = [products[a, b] for a in one for b in two if a != b]
                if pairs:
                    cosines[i, j] = np.mean(pairs) / math.sqrt(own[i] * own[j])
        found.append((np.sqrt(own), cosines, own))
    products = np.sum(weights * means, axis=1)
    aligned = np.array([products[g].mean() for g in groups])
    return found[0][:2], found[1][:2], aligned / np.sqrt(found[0][2] * found[1][2])


def says(brackets, weights, features, labels, sizes):
    """Whether what weights and features are like lies within the ends."""
    one, two, aligned = geometry(weights, features, labels, sizes)
    return all(
        within(ends, values)
        for ends, values in (
            (brackets.weights.norms, one[0]),
            (brackets.features.norms, two[0]),
            (brackets.weights.cosines, one[1]),
            (brackets.features.cosines, two[1]),
            (brackets.alignment, aligned),
        )
    )


@pytest.mark.parametrize("bias", [False, True, 0.1])
@pytest.mark.parametrize(
    ("kind", "norms"),
    [(CrossEntropy, norms) for norms in NORMS] + [(SquaredError, norms) for norms in SMALL],
    ids=lambda given: getattr(given, "__name__", type(given).__name__),
)
def test_whatever_is_at_hand_lies_within_the_ends_of_its_value(norms, bias, kind):
    loss, rng = kind(norms, bias), np.random.default_rng(0)
    program, dual, x = dual_at(loss, SIZES)
    weights, means = vectors(program, x, SIZES)
    labels = np.repeat(np.arange(len(SIZES)), SIZES)
    where = np.searchsorted(-program.kinds.sizes, -np.asarray(SIZES, float))
    missed = 0
    for noise in (1e-5, 1e-3, 0.1):
        one, two = (
            rows + noise * np.abs(rows).max() * rng.normal(size=rows.shape)
            for rows in (weights, means[labels])
        )
        one, two = admitted(norms, one, two, labels, SIZES)
        intercept = program.biases(x)[where]
        value = float(loss.value(one, two, labels, None if bias is False else intercept))
        assert value > dual.lower
        assert says(enclose(program, dual, value + 1e-14), one, two, labels, SIZES)
        missed += not says(enclose(program, dual, dual.lower + 1e-12), one, two, labels, SIZES)
    assert missed >= 2


@pytest.mark.parametrize("bias", [False, True])
def test_the_simplex_of_balanced_classes_is_within_narrow_ends(bias):
    k, n, first, second = 4, 10, 1e-3, 2e-3
    found = solve_features(CrossEntropy(Ridge(first, second), bias), (n,) * k)
    other = theory.balanced_ridge(k, n, first, second).other
    size = math.log((1 - (k - 1) * other) / other) * (1 - 1 / k)  # of the logits' rows
    brackets = found.brackets
    assert within(brackets.weights.norms, math.sqrt(size * math.sqrt(n * second / first)))
    assert within(brackets.features.norms, math.sqrt(size * math.sqrt(first / (n * second))))
    assert within(brackets.weights.cosines, -1 / (k - 1))
    assert within(brackets.features.cosines, -1 / (k - 1))
    assert within(brackets.alignment, 1.0)
    assert max(found.unknown) < NARROW
    peeled = solve_features(CrossEntropy(Budget(2.0, 0.5)), (3,) * 5).brackets
    assert within(peeled.weights.norms, math.sqrt(2.0))
    assert within(peeled.features.norms, math.sqrt(0.5))
    assert within(solve_features(CrossEntropy(Unit(0.2)), (3,) * 5).brackets.weights.norms, 1.0)


def test_orthogonal_frames_of_squared_error_are_within_narrow_ends():
    sizes, first, second = (12, 12, 5, 2, 2), 1e-2, 4e-2
    found = solve_features(SquaredError(Ridge(first, second)), sizes)
    n = np.array([12.0, 5.0, 2.0])
    kept = np.maximum(0, np.sqrt(n) - sum(sizes) * math.sqrt(first * second))
    assert list(kept > 0) == [True, True, True]
    brackets = found.brackets
    assert within(brackets.weights.norms, np.sqrt(kept * math.sqrt(second / first)))
    assert within(brackets.features.norms, np.sqrt(kept * math.sqrt(first / second) / n))
    assert within(brackets.weights.cosines, np.diag([0.0, 1.0, 0.0]))
    assert max(found.unknown) < NARROW


def test_merged_classes_have_one_direction():
    found = solve_features(CrossEntropy(Ridge(2e-2, 2e-2)), (100, 100, 5, 5))
    low, high = found.brackets.weights.cosines
    assert found.merging == ("apart", "merged")
    assert 1 - 1e-6 < low[1, 1] <= high[1, 1] == 1
    assert high[0, 0] < -0.7


def test_a_bound_that_is_false_excludes_the_truth():
    k, n, decay = 4, 10, 1e-3
    loss = CrossEntropy(Ridge(decay, decay))
    other = theory.balanced_ridge(k, n, decay, decay).other
    size = math.log((1 - (k - 1) * other) / other) * (1 - 1 / k)
    program, dual, x = dual_at(loss, (n,) * k)
    norm = math.sqrt(size * math.sqrt(n))
    value = program.value(x)
    assert within(enclose(program, dual, value).weights.norms, norm)
    values = dual.rows.values * np.array([1 - 1e-4, 1 + 1e-4])
    wrong = dual._replace(rows=dual.rows._replace(values=values), lower=value - 1e-12)
    assert not within(enclose(program, wrong, value).weights.norms, norm)
