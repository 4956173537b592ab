"""The other losses against their definitions, pair by pair."""

import jax.numpy as jnp
import numpy as np
import pytest

from ssem_jax.pairwise import Sigmoid
from ssem_jax.problem import ClassStructure


def test_sigmoid_loss_by_definition():
    """The double loop of its definition, at random embeddings."""
    structure = ClassStructure((2, 1), 2)
    rows = np.random.default_rng(5).normal(size=(6, 4))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    scale, bias = 3.0, 0.7
    total = 0.0
    for i in range(3):
        for j in range(3):
            sign = 1 if i == j else -1
            logit = scale * rows[2 * i] @ rows[2 * j + 1] - bias
            total += np.log1p(np.exp(-sign * logit)) / 3
    found = float(Sigmoid(scale, bias)(jnp.asarray(rows), structure))
    assert abs(found - total) <= 64 * np.finfo(float).eps


def test_sigmoid_loss_needs_two_views():
    with pytest.raises(ValueError, match=r"pairs two views of an instance.*has 1"):
        Sigmoid(1.0, 0.0).from_gram(jnp.eye(3), ClassStructure((2, 1)))
    with pytest.raises(ValueError, match="scale must be positive"):
        Sigmoid(0.0, 0.0)
