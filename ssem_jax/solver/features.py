"""Minimisation over free features and classifier weights, from Gaussian starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ssem_jax.geometry.sphere import normalize
from ssem_jax.losses.features import (
    Balls,
    Budget,
    LastLayer,
    Unit,
    check_last_layer,
    checked_sizes,
)
from ssem_jax.problem.validation import as_key, check_count, require_x64

STEPS = 5000
"""Of L-BFGS at most; some hundred are usual."""
MEMORY = 40
"""Pairs of steps and changes of the gradient that it remembers."""
STILL = 1e-11
"""The largest slope at which it stops."""


class FreeFeatures(NamedTuple):
    """Weights and features that were found.

    Attributes:
        weights: (K, d).
        features: (N, d), by class.
        bias: (K,), 0 where there is none.
        value: the loss.
        steps: of L-BFGS.
    """

    weights: Float[np.ndarray, "K d"]
    features: Float[np.ndarray, "N d"]
    bias: Float[np.ndarray, " K"]
    value: float
    steps: int


def within_norms(
    loss: LastLayer,
    weights: Float[Array, "K d"],
    features: Float[Array, "N d"],
    labels: Int[np.ndarray, " N"],
) -> tuple[Array, Array]:
    """Weights and features scaled to what bounds them: as a whole, or row by row."""
    norms, count = loss.norms, len(weights)
    if isinstance(norms, Budget):
        share = jnp.asarray(1 / np.bincount(labels)[labels])
        squares = jnp.sum(share * jnp.sum(features**2, axis=1))
        return (
            weights * jnp.sqrt(count * norms.weights / jnp.sum(weights**2)),
            features * jnp.sqrt(count * norms.features / squares),
        )
    if isinstance(norms, Balls):
        return norms.weights * normalize(weights), norms.features * normalize(features)
    if isinstance(norms, Unit):
        return normalize(weights), normalize(features)
    return weights, features


def minimise_features(
    loss: LastLayer, sizes: Sequence[int], dim: int, key: PRNGKeyArray | int
) -> FreeFeatures:
    """Minimise over all weights and features of a dimension, by L-BFGS from a Gaussian start.

    Nothing of the optimum is assumed: not that the features of a class coincide, nor that classes
    of equal size are alike.

    Args:
        loss: with its norms.
        sizes: samples of every class.
        dim: d.
        key: of the start.

    Returns:
        What was found, which :func:`ssem_jax.certificate.solve_features` bounds from below.

    Raises:
        ValueError: no such loss, no sizes, d < 1; or 64-bit mode is off.
    """
    from scipy.optimize import minimize  # half a second, which nothing else should wait for

    require_x64()
    check_last_layer(loss)
    sizes, dim = checked_sizes(sizes), check_count("dim", dim, 1)
    labels, count = np.repeat(np.arange(len(sizes)), sizes), len(sizes)
    shapes = ((count, dim), (len(labels), dim), (count,))
    ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1]

    def parts(flat: Array) -> tuple[Array, Array, Array]:
        pieces = jnp.split(flat, ends)
        weights, features, bias = (
            piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)
        )
        weights, features = within_norms(loss, weights, features, labels)
        return weights, features, bias if loss.bias is not False else jnp.zeros(count)

    @jax.jit
    def value_and_slope(flat: Array) -> tuple[Array, Array]:
        def value(flat: Array) -> Array:
            weights, features, bias = parts(flat)
            return loss.value(weights, features, jnp.asarray(labels), bias)

        return jax.value_and_grad(value)(flat)

    def both(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = value_and_slope(jnp.asarray(flat))
        return float(value), np.asarray(slope)

    drawn = jax.random.normal(as_key(key), (sum(map(np.prod, shapes)),), float)
    start = np.asarray(drawn) / np.sqrt(dim)
    start[ends[-1] :] = 0
    options = {"maxiter": STEPS, "maxfun": 2 * STEPS, "maxcor": MEMORY, "ftol": 0.0, "gtol": STILL}
    found: Any = minimize(both, start, jac=True, method="L-BFGS-B", options=options)
    weights, features, bias = map(np.asarray, parts(jnp.asarray(found.x)))
    return FreeFeatures(weights, features, bias, float(found.fun), int(found.nit))
