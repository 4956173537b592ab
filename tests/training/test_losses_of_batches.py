"""Losses other than plain SupCL in training: against the verification loss and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ssem_jax as sx
from ssem_jax.training import sincere_loss, supcl_loss

LABELS = np.array([2, 0, 1, 2, 0, 2, 1])
"""In any order, and of several sizes."""
VIEWS = np.random.default_rng(5).normal(size=(7, 2, 4))
STRUCTURE, ORDER = sx.ClassStructure.from_labels(np.repeat(LABELS, 2), 2)
SAME = 1e-12
"""Two float64 sums of some hundred terms in another order."""


def assert_same(ours, loss):
    """Value and gradient of a training loss are those of a loss of the Gram matrix."""
    value, slope = jax.jit(jax.value_and_grad(ours))(jnp.asarray(VIEWS))

    def dense(views):
        return loss(views.reshape(-1, 4)[ORDER], STRUCTURE)

    expected, gradient = jax.jit(jax.value_and_grad(dense))(jnp.asarray(VIEWS))
    np.testing.assert_allclose(value, expected, rtol=SAME)
    np.testing.assert_allclose(slope, gradient, atol=SAME)


def test_sincere_in_blocks_that_do_not_divide_the_rows():
    assert_same(
        lambda views: sincere_loss(views, LABELS, temperature=0.3, block_size=4),
        sx.losses.Sincere(0.3),
    )


def test_sincere_without_any_positive_is_zero_and_short_types_count_as_float32():
    compiled = jax.jit(lambda rows: sincere_loss(rows, np.arange(3), temperature=0.3))
    alone = compiled(np.eye(3, dtype=np.float16))
    assert (float(alone), alone.dtype) == (0.0, jnp.float32)


@pytest.mark.parametrize(
    ("self_pairs", "mean"),
    [("include", "anchors"), pytest.param("exclude", "pairs", marks=pytest.mark.slow)],
)
def test_class_weights(self_pairs, mean):
    weights = (0.5, 2.0, 0.0)
    hyper = {"alpha": 0.4, "temperature": 0.3, "self_pairs": self_pairs, "mean": mean}
    assert_same(
        lambda views: supcl_loss(views, LABELS, class_weights=weights, block_size=4, **hyper),
        sx.losses.WeightedSupCL(0.4, 0.3, weights, self_pairs, mean),
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((1.0, -1.0, 1.0), "class_weights must be nonnegative and finite"),
        (1.0, r"class_weights must be one number for each class; got shape \(\)"),
        ((1.0, 1.0), "class_weights has 2 numbers, for labels 0 to 1; got labels from 0 to 2"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        supcl_loss(VIEWS, LABELS, alpha=0.5, temperature=0.3, class_weights=weights)


def test_a_temperature_that_is_an_array_is_refused():
    with pytest.raises(ValueError, match=r"temperature must be a number here; got shape \(2,\)"):
        sincere_loss(VIEWS, LABELS, temperature=jnp.array([0.1, 0.2]))
    with pytest.raises(ValueError, match="temperature must be positive"):
        sincere_loss(VIEWS, LABELS, temperature=-1)
    with pytest.raises(ValueError, match="block_size must be an integer of at least 1"):
        sincere_loss(VIEWS, LABELS, temperature=1, block_size=0)
