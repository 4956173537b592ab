"""Closed forms for classes of unequal size, and where collapse is a local minimum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssem_jax import theory
from ssem_jax.geometry import normalize, ssem_embeddings
from ssem_jax.losses import SupCL
from ssem_jax.problem import ClassStructure

FLAT = 1e-10
"""Eigenvalues of a Hessian that count as 0: rotations leave the loss alone. Seen 1e-15."""
STEP = 1e-3
"""Distance of α from a threshold at which the least curvature is far from `FLAT`: it is 1e-4."""


def least_curvature(structure, dim, alpha, tau):
    """The least eigenvalue of the Hessian of the loss at collapse, in R^dim."""
    points = ssem_embeddings(structure, 0.0, dim)
    loss = SupCL(alpha, tau)

    def value(displacement):
        return loss(normalize(points + displacement.reshape(points.shape)), structure)

    hessian = jax.hessian(value)(jnp.zeros(points.size))
    return float(np.linalg.eigvalsh(hessian).min())


@pytest.mark.parametrize(("shape", "tau"), [((2, 3, 1), 0.7), ((3, 2, 2), 0.4), ((4, 3, 1), 0.5)])
def test_collapse_is_a_local_minimum_up_to_alpha_local(shape, tau):
    m, n, p = shape
    structure, threshold = ClassStructure.balanced(*shape), float(theory.alpha_local(m, n, p, tau))
    if shape[0] > 2:  # on a line there is no direction to leave along
        assert least_curvature(structure, shape[0] - 1, threshold - STEP, tau) > -FLAT
        assert least_curvature(structure, shape[0] - 1, threshold + STEP, tau) < -FLAT
    alpha_c = float(theory.alpha_c(m, n, p, tau))
    assert alpha_c < threshold <= 1
    assert least_curvature(structure, shape[0], alpha_c - STEP, tau) > -FLAT
    assert least_curvature(structure, shape[0], alpha_c + STEP, tau) < -FLAT


def test_the_cosine_of_a_majority():
    assert theory.majority_cosine(2, 2.0, 0.5) == pytest.approx(-0.616, abs=5e-4)
    critical = theory.minority_collapse_ratio(3, 1.5)
    assert theory.majority_cosine(3, critical * 1.001, 1.5) == -1
    assert -1 < theory.majority_cosine(3, critical * 0.999, 1.5) < -0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 2.0, 0.5), "num_minorities must be an integer of at least 2; got 1"),
        ((2, 0.0, 0.5), "ratio must be positive and finite; got 0.0"),
        ((2, 2.0, -1.0), "temperature must be positive and finite; got -1.0"),
    ],
)
def test_the_cosine_of_a_majority_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        theory.majority_cosine(*arguments)
