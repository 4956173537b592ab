"""Losses of logits that are not convex: focal loss is refused, with the pair that shows it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ssem_jax as sx
from ssem_jax.losses import FalseDeclarationError, check_convex
from ssem_jax.losses.convexity import ConvexityViolation

STRUCTURE = sx.ClassStructure((2, 2))


@sx.gram_loss(convex=True)
def focal(gram, structure, *, temperature, gamma):
    """(1-p)^γ log 1/p of unit features with a prototype of each class, its first instance."""
    labels = jnp.asarray(structure.class_ids)
    logits = gram[1::2, ::2] / temperature
    logs = jax.nn.log_softmax(logits, axis=1)
    own = jnp.take_along_axis(logs, labels[1::2, None], axis=1)[:, 0]
    return -jnp.mean((1 - jnp.exp(own)) ** gamma * own)


def test_focal_loss_is_refused_with_the_violating_pair():
    loss = focal(temperature=0.2, gamma=2.0)
    points = np.eye(4)
    with pytest.raises(FalseDeclarationError, match="is declared convex in the Gram matrix") as got:
        sx.certify_embeddings(points, STRUCTURE, loss)
    violation = got.value.violation
    assert isinstance(violation, ConvexityViolation)
    first, between, second = (
        float(loss.from_gram(jnp.asarray(gram), STRUCTURE))
        for gram in (
            violation.first,
            (1 - violation.t) * violation.first + violation.t * violation.second,
            violation.second,
        )
    )
    assert between > (1 - violation.t) * first + violation.t * second


def test_without_focus_it_is_cross_entropy_and_passes():
    loss = focal(temperature=0.2, gamma=0.0)
    assert check_convex(loss, STRUCTURE, jax.random.key(0)) is None
