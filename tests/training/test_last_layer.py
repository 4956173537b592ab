"""A monitor of a last layer: its gap falls as it is trained, and it solves for one optimum."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssem_jax.advice import audit_classifier, classifiers
from ssem_jax.losses import CrossEntropy, Ridge, SquaredError
from ssem_jax.training import LastLayerMonitor

SIZES = (12, 9, 6)
LABELS = np.repeat(np.arange(3), SIZES)


@pytest.mark.parametrize("kind", [CrossEntropy, SquaredError])
def test_a_small_network_comes_near_the_optimum(kind, monkeypatch):
    """Two layers and a last one on Gaussian clouds, by Adam, with the decay that the loss says."""
    loss = kind(Ridge(1e-2, 1e-2), bias=True)
    monitor = LastLayerMonitor(loss, SIZES)
    monkeypatch.setattr(classifiers, "solve_features", None)  # nothing is solved for again
    keys = jax.random.split(jax.random.key(0), 4)
    inputs = 2 * jax.random.normal(keys[0], (3, 5), float)[LABELS]
    inputs += jax.random.normal(keys[1], inputs.shape, float)
    shapes = (5, 32), (32, 6), (3, 6)
    layers = [
        jax.random.normal(key, shape, float) / np.sqrt(shape[0])
        for key, shape in zip(keys[1:], shapes, strict=True)
    ]
    layers.append(jnp.zeros(3))

    def features_of(layers):
        return jax.nn.relu(inputs @ layers[0]) @ layers[1]

    def value(layers):
        return loss.value(layers[2], features_of(layers), jnp.asarray(LABELS), layers[3])

    optimiser = optax.adam(1e-2)

    @partial(jax.jit, static_argnums=1)
    def train(state, steps):
        def step(_, state):
            layers, moments = state
            updates, moments = optimiser.update(jax.grad(value)(layers), moments)
            return optax.apply_updates(layers, updates), moments

        return jax.lax.fori_loop(0, steps, step, state)

    state, seen = (layers, optimiser.init(layers)), []
    for _ in range(4):
        layers = state[0]
        now = monitor(layers[2], features_of(layers), LABELS, layers[3])
        assert now.value == pytest.approx(float(value(layers)), abs=1e-12)
        assert now.optimum is monitor.optimum
        seen.append(now)
        state = train(state, 500)
    gaps = [now.gap for now in seen]
    assert gaps[0] > 10 * gaps[-1] > 0
    assert seen[-1].found.within < seen[0].found.within / 10
    assert seen[-1].found.alignment > 0.9
    means = np.stack([np.asarray(features_of(layers))[k == LABELS].mean(0) for k in range(3)])
    collapsed = monitor(layers[2], means, bias=layers[3])
    assert 0 < collapsed.gap <= gaps[-1]
    assert collapsed.found.within == pytest.approx(0, abs=1e-12)


def test_what_does_not_fit_is_refused():
    monitor = LastLayerMonitor(CrossEntropy(Ridge(1e-2, 1e-2)), SIZES)
    weights = np.eye(3)
    with pytest.raises(ValueError, match="features must be means of the 3 classes"):
        monitor(weights, np.eye(3)[LABELS])
    with pytest.raises(ValueError, match=r"the optimum is of classes of \[12, 9, 6\] samples"):
        monitor(weights, np.eye(3), [0, 1, 2])
    with pytest.raises(ValueError, match="loss must be a CrossEntropy or SquaredError"):
        LastLayerMonitor(None, SIZES)  # pyright: ignore[reportArgumentType]
    alone = audit_classifier(weights, np.eye(3)[LABELS], LABELS, monitor.optimum.loss)
    assert alone.gap == monitor(weights, np.eye(3)[LABELS], LABELS).gap
