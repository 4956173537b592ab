"""A trained last layer beside the best of all weights and free features."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssem_jax.advice import audit_classifier
from ssem_jax.losses import Balls, Budget, CrossEntropy, Ridge, Unit

SIMPLEX = np.eye(3) - 1 / 3
LABELS = np.array([0, 0, 1, 1, 2, 2])
FEATURES = SIMPLEX[LABELS]


def test_a_simplex_is_as_good_as_the_best_within_its_norms():
    found = audit_classifier(2 * SIMPLEX, FEATURES, LABELS)
    assert isinstance(found.loss.norms, Budget)
    assert -1e-12 <= found.gap <= 1e-9
    assert found.found.within == pytest.approx(0, abs=1e-12)
    for name in ("weight_norms", "feature_norms", "simplex_distance"):
        assert getattr(found.found, name) == pytest.approx(getattr(found.best, name), abs=1e-5)
    assert found.found.alignment == pytest.approx(found.best.alignment, abs=1e-6)
    assert "the weights form a regular simplex." in "\n".join(found.lines())
    assert found.to_json()["found"]["alignment"] == found.found.alignment
    assert repr(found).startswith("<ClassifierAudit")


def test_what_is_turned_away_has_a_gap_that_is_its_own():
    rng = np.random.default_rng(0)
    features = FEATURES + 0.2 * rng.normal(size=FEATURES.shape)
    found = audit_classifier(2 * SIMPLEX, features, LABELS, bias=np.zeros(3))
    assert found.loss.bias is True
    assert found.gap > 1e-3
    assert found.found.within > 0.01
    ridge = audit_classifier(SIMPLEX, FEATURES, LABELS, CrossEntropy(Ridge(1e-2, 1e-2)))
    assert ridge.gap > 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": SIMPLEX[:, :2]}, r"weights must be \(K, d\) and features \(N, d\)"),
        ({"labels": [0, 1, 2]}, "labels must be 6 classes from 0 to 2"),
        ({"labels": [0, 0, 1, 1, 2, 3]}, "labels must be 6 classes from 0 to 2"),
        ({"labels": [0, 0, 0, 1, 1, 1]}, "every class size must be an integer of at least 1"),
        ({"bias": [0.0]}, r"bias must be \(3,\), one a class"),
        ({"bias": [0.0] * 3, "loss": CrossEntropy(Unit(1.0))}, "a bias was given"),
        ({"loss": CrossEntropy(Balls(0.5, 1.0))}, "the weights have 0.816497 where Balls admits"),
        ({"loss": CrossEntropy(Budget(1.0, 0.1))}, "the features have 0.666667 where Budget"),
        ({"loss": 1.0}, "loss must be a CrossEntropy"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    given = {"weights": SIMPLEX, "features": FEATURES, "labels": LABELS} | change
    with pytest.raises(ValueError, match=message):
        audit_classifier(**given)


@pytest.mark.slow
def test_a_last_layer_trained_on_digits_with_weight_decay():
    """A small network whose weights and features decay as the loss says: its gap to free ones."""
    data = pytest.importorskip("sklearn.datasets").load_digits()
    inputs, labels = jnp.asarray(data.data[:400] / 16), np.asarray(data.target[:400])
    loss = CrossEntropy(Ridge(5e-3, 5e-3))
    first, second, third = jax.random.split(jax.random.key(0), 3)
    start = (
        jax.random.normal(first, (64, 64), float) / 8,
        jax.random.normal(second, (64, 16), float) / 8,
        jax.random.normal(third, (10, 16), float) / 4,
    )

    def features_of(layers):
        return jax.nn.relu(inputs @ layers[0]) @ layers[1]

    def value(layers):
        return loss.value(layers[2], features_of(layers), jnp.asarray(labels))

    optimiser = optax.adam(3e-3)

    @partial(jax.jit, static_argnums=1)
    def train(layers, steps):
        def step(_, state):
            layers, moments = state
            updates, moments = optimiser.update(jax.grad(value)(layers), moments)
            return optax.apply_updates(layers, updates), moments

        return jax.lax.fori_loop(0, steps, step, (layers, optimiser.init(layers)))[0]

    gaps = []
    for steps in (50, 1500):
        layers = train(start, steps)
        found = audit_classifier(layers[2], features_of(layers), labels, loss)
        assert found.value == pytest.approx(float(value(layers)), abs=1e-9)
        gaps.append(found.gap)
        print(f"{steps} steps: gap {found.gap:.3e}", found.found, found.best)
    assert 0 < gaps[1] < gaps[0]
    assert found.optimum.gap <= 1e-9
    assert found.found.alignment > 0.95
    assert found.found.simplex_distance < 0.5
