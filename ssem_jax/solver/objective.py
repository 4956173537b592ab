"""What a descent asks of a loss: value, gradient and how that changes, in the Gram matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.contrast import softmax_change, softmax_of, softmax_slope


class Objective(NamedTuple):
    """A function L(G) of the Gram matrix.

    Attributes:
        value: L(G).
        slope: of G: L(G), ∇L(G), and what it takes to differentiate further.
        change: of the last: how ∇L changes along a tangent.
        simple: whether all three are made of elementwise functions and sums.
    """

    value: Callable[[Array], Array]
    slope: Callable[[Array], tuple[Array, Array, Any]]
    change: Callable[[Any], Callable[[Array], Array]]
    simple: bool


def of_function(value: Callable[[Array], Array]) -> Objective:
    """Any function that JAX differentiates."""

    def slope(gram: Array) -> tuple[Array, Array, Array]:
        return *jax.value_and_grad(value)(gram), gram

    def change(gram: Array) -> Callable[[Array], Array]:
        return jax.linearize(jax.grad(value), gram)[1]

    return Objective(value, slope, change, simple=False)


def of_loss(loss: GramLoss, prepared: Any) -> Objective:
    """A loss of one cell. Where it has a softmax form, the softmaxes of its gradient serve for
    Hessian products, too."""

    def value(gram: Array) -> Array:
        return loss.value(gram, prepared)

    form = softmax_of(loss, prepared)
    if form is None:
        return of_function(value)
    positives, _, temperature = form
    anchors = jnp.sum(positives, axis=1)

    def slope(gram: Array) -> tuple[Array, Array, Array]:
        return softmax_slope(gram, *form)

    def change(repelled: Array) -> Callable[[Array], Array]:
        return lambda tangent: softmax_change(repelled, anchors, temperature, tangent)

    return Objective(value, slope, change, simple=True)
