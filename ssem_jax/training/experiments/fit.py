"""Many encoders trained at once: one for each (α, τ), alike in all else.

The encoders of a group start from the same weights and see the same batches, so that what tells
them apart is (α, τ) alone. Their parameters are stacked and a step of all of them is one compiled
kernel, in float32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from ssem_jax.geometry.metrics import class_mean_cosines, class_variances, variances
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.arrays import AnyArray
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import check_choice
from ssem_jax.training.experiments.data import Augmentation, Split, draw_batch
from ssem_jax.training.experiments.encoder import Encoder

Progress = Callable[[int], None]

MEASURED_BATCHES = 40
"""Batches that a measurement averages over: their spread is a few per cent of a variance."""
CALLS = 25
"""Kernel calls of a training, between which progress is told."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a group of encoders is trained.

    Attributes:
        structure: of a batch.
        self_pairs, mean: conventions of the loss.
        width, depth, dim: of the encoder; `dim` is d, of the embeddings.
        steps: of the optimiser.
        optimizer: "adam", or "descent" for plain gradient descent.
        rate: the learning rate, at first or throughout.
        decays: whether the rate falls to 0 along a cosine.
        fixed_batch: whether every step sees the first batch again, views and all.
    """

    structure: ClassStructure
    self_pairs: str = "include"
    mean: str = "pairs"
    width: int = 128
    depth: int = 2
    dim: int = 64
    steps: int = 3000
    optimizer: str = "adam"
    rate: float = 1e-3
    decays: bool = True
    fixed_batch: bool = False

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, ("adam", "descent"))

    def transformation(self) -> optax.GradientTransformation:
        """The optimiser with its rates."""
        kind = {"adam": optax.adam, "descent": optax.sgd}[self.optimizer]
        schedule = optax.cosine_decay_schedule(self.rate, self.steps)
        return kind(schedule if self.decays else self.rate)

    def losses(self, alphas: Array, temperatures: Array) -> SupCL:
        """The losses of the group, in single precision."""
        alpha, temperature = (jnp.asarray(each, jnp.float32) for each in (alphas, temperatures))
        return SupCL(alpha, temperature, self.self_pairs, self.mean)


class Measured(NamedTuple):
    """Means over batches, for each encoder; variances in squared length of unit embeddings.

    Attributes:
        loss: of a batch.
        delta2: variance of the instance means about their class mean.
        view: variance of the views about their instance mean.
        between: variance of the class means about the global mean.
        class_delta2: (m,) delta2 of each class.
        mean_cosine: cosine of two class means, on average.
        cosine_error: largest deviation of such a cosine from -1/(m-1).
    """

    loss: Float[AnyArray, " cells"]
    delta2: Float[AnyArray, " cells"] | float
    view: Float[AnyArray, " cells"] | float
    between: Float[AnyArray, " cells"] | float
    class_delta2: Float[AnyArray, "cells m"]
    mean_cosine: Float[AnyArray, " cells"]
    cosine_error: Float[AnyArray, " cells"]


class Fit:
    """A group of encoders in training: `advance` it, `measure` it, take its `encoders`.

    Args:
        split: labelled instances to train on.
        augment: makes a view of each of a batch of inputs.
        recipe: how.
        alphas: (cells,) values of α.
        temperatures: (cells,) values of τ.
        key: of the first weights and of the batches.

    Raises:
        ValueError: α or τ out of range, or a structure that does not admit them.
    """

    def __init__(
        self,
        split: Split,
        augment: Augmentation,
        recipe: Recipe,
        alphas: Sequence[float] | np.ndarray,
        temperatures: Sequence[float] | np.ndarray,
        key: PRNGKeyArray,
    ) -> None:
        SupCL(np.asarray(alphas), np.asarray(temperatures), recipe.self_pairs).check_structure(
            recipe.structure
        )
        self.recipe, self.augment, self.counts = recipe, augment, split.counts
        self.inputs = jnp.asarray(split.inputs)
        self.losses = recipe.losses(jnp.asarray(alphas), jnp.asarray(temperatures))
        self.weights_key, self.batch_key = jax.random.split(key)
        self.step = 0
        sizes = (self.inputs.shape[1], recipe.width, recipe.depth, recipe.dim)
        first = Encoder(*sizes, key=self.weights_key)
        self.encoders: Encoder = jax.tree.map(
            lambda leaf: jnp.repeat(leaf[None], len(alphas), axis=0), first
        )
        # An encoder is a tree of parameters, which the stub of optax does not know.
        start: Any = recipe.transformation().init
        self._moments = jax.vmap(start)(self.encoders)

    def advance(self, step: int, progress: Progress | None = None) -> None:
        """Train until `step`."""
        stride = -(-self.recipe.steps // CALLS)
        while self.step < step:
            until = min(step, self.step + stride)
            self.encoders, self._moments = _advance(
                self.recipe,
                self.augment,
                self.counts,
                (self.encoders, self._moments),
                self.inputs,
                self.losses,
                self.batch_key,
                self.step,
                until,
            )
            jax.block_until_ready(self.encoders)
            if progress:
                progress(until - self.step)
            self.step = until

    def measure(self, split: Split | None = None) -> Measured:
        """Averages over batches of `split`, or of the instances trained on, with fresh views.

        With a fixed batch, that batch.
        """
        inputs = self.inputs if split is None else jnp.asarray(split.inputs)
        counts = self.counts if split is None else split.counts
        structure, fixed = self.recipe.structure, self.recipe.fixed_batch
        key = self.batch_key if fixed else jax.random.fold_in(self.weights_key, 1)
        count = 1 if fixed else MEASURED_BATCHES
        batches = _draw_batches(structure, self.augment, counts, count, inputs, key)
        found = _measure(structure, self.encoders, batches, self.losses)
        return Measured(*(np.asarray(column, float) for column in found))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _advance(
    recipe: Recipe,
    augment: Augmentation,
    counts: tuple[int, ...],
    state: tuple[Encoder, Any],
    inputs: Array,
    losses: SupCL,
    key: PRNGKeyArray,
    first: Array,
    last: Array,
) -> tuple[Encoder, Any]:
    optimizer, structure = recipe.transformation(), recipe.structure

    def value(encoder: Encoder, loss: SupCL, batch: Array) -> Array:
        unit = encoder.embed(batch)
        return loss.from_gram(unit @ unit.T, structure)

    def update(encoder: Encoder, moments: Any, loss: SupCL, batch: Array) -> tuple[Encoder, Any]:
        slope = jax.grad(value)(encoder, loss, batch)
        change, moments = optimizer.update(slope, moments)
        return cast(Encoder, optax.apply_updates(cast(Any, encoder), change)), moments

    def step(number: Array, state: tuple[Encoder, Any]) -> tuple[Encoder, Any]:
        own_key = jax.random.fold_in(key, 0 if recipe.fixed_batch else number)
        batch = draw_batch(own_key, inputs, counts, structure, augment)
        return jax.vmap(update, in_axes=(0, 0, 0, None))(*state, losses, batch)

    return jax.lax.fori_loop(first, last, step, state)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _draw_batches(
    structure: ClassStructure,
    augment: Augmentation,
    counts: tuple[int, ...],
    num_batches: int,
    inputs: Array,
    key: PRNGKeyArray,
) -> Float[Array, "K N f"]:
    def one(number: Array) -> Array:
        return draw_batch(jax.random.fold_in(key, number), inputs, counts, structure, augment)

    return jax.lax.map(one, jnp.arange(num_batches))


@partial(jax.jit, static_argnums=0)
def _measure(
    structure: ClassStructure, encoders: Encoder, batches: Float[Array, "K N f"], losses: SupCL
) -> Measured:
    m = structure.num_classes
    apart = ~np.eye(m, dtype=bool)

    def one(encoder: Encoder, loss: SupCL, batch: Array) -> Measured:
        unit = encoder.embed(batch)
        parts = variances(unit, structure)
        cosines = class_mean_cosines(unit, structure)[apart]
        return Measured(
            loss.from_gram(unit @ unit.T, structure),
            parts.delta2,
            parts.view,
            parts.between,
            class_variances(unit, structure).delta2,
            jnp.mean(cosines),
            jnp.max(jnp.abs(cosines + 1 / (m - 1))),
        )

    found = jax.lax.map(
        lambda batch: jax.vmap(one, in_axes=(0, 0, None))(encoders, losses, batch), batches
    )
    return jax.tree.map(lambda column: jnp.mean(column, axis=0), found)
