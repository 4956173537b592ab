"""A small multilayer perceptron with a projector, in equinox."""

from __future__ import annotations

from typing import cast

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ssem_jax.geometry.sphere import normalize


class Encoder(eqx.Module):
    """`depth` hidden layers of `width`, which are the features; a projector of one hidden layer.

    All arrays are float32, whatever the default is.
    """

    body: tuple[eqx.nn.Linear, ...]
    projector: tuple[eqx.nn.Linear, ...]

    def __init__(
        self, num_inputs: int, width: int, depth: int, dim: int, *, key: PRNGKeyArray
    ) -> None:
        keys = jax.random.split(key, depth + 2)

        def layer(inputs: int, outputs: int, place: int) -> eqx.nn.Linear:
            return eqx.nn.Linear(inputs, outputs, dtype=jnp.float32, key=keys[place])

        widths = [num_inputs] + [width] * depth
        self.body = tuple(layer(widths[k], widths[k + 1], k) for k in range(depth))
        self.projector = (layer(width, width, depth), layer(width, dim, depth + 1))

    def features(self, inputs: Float[Array, "B f"]) -> Float[Array, "B h"]:
        """What is kept after training: the output of the last hidden layer."""
        for layer in self.body:
            inputs = jax.nn.relu(_affine(layer, inputs))
        return inputs

    def embed(self, inputs: Float[Array, "B f"]) -> Float[Array, "B d"]:
        """What the loss sees: the projector's output on the unit sphere."""
        hidden, last = self.projector
        rows = jax.nn.relu(_affine(hidden, self.features(inputs)))
        return normalize(_affine(last, rows))


def _affine(layer: eqx.nn.Linear, rows: Float[Array, "B i"]) -> Float[Array, "B o"]:
    return rows @ layer.weight.T + cast(Array, layer.bias)[None]  # every layer here has one
