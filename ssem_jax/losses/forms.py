"""Every cell of a loss with what it prepared, and the rounding of its values."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax.compute.kernels import Kernel, chunk_capacity, run_chunks
from ssem_jax.losses.base import GramLoss
from ssem_jax.problem.structure import ClassStructure

UNIT_ROUNDING = float(np.finfo(np.float64).eps) / 2
CHUNK = 16
"""Cells per kernel call."""


# ---------------------------------------------------------------------------------------- a segment


class Form(NamedTuple):
    """One cell of a loss with what it prepared."""

    loss: GramLoss
    prepared: Any

    def value(self, gram: Float[Array, "N N"]) -> Array:
        """L(G)."""
        return self.loss.value(gram, self.prepared)


class Forms(NamedTuple):
    """Every cell of a loss.

    Attributes:
        size: how many.
        plain: with a batch axis on every leaf, in the form that is compiled once for all.
        prepared: of the structure.
        given: the loss as it was given, with a batch axis on every leaf.
    """

    size: int
    plain: GramLoss
    prepared: Any
    given: GramLoss

    def form(self, index: int) -> Form:
        """One cell in its plain form."""
        return Form(jax.tree.map(lambda leaf: leaf[index], self.plain), self.prepared)

    def cell(self, index: int) -> GramLoss:
        """One cell as it was given."""
        return jax.tree.map(lambda leaf: leaf[index], self.given)

    def run(self, kernel: Kernel, *shared: Any, each: Any = ()) -> Any:
        """A kernel on all cells, over the threads.

        Args:
            kernel: takes plain cells with `each` and their numbers, what they prepared, `shared`,
                and a count.
            shared: arrays that all cells need.
            each: arrays with the cells in front.

        Returns:
            Its results, in the order of the cells.
        """

        def work(cells: np.ndarray, count: Any) -> Any:
            some, of_each = jax.tree.map(lambda leaf: leaf[cells], (self.plain, each))
            return kernel((some, of_each, cells), self.prepared, shared, count)

        floats = max(map(np.size, jax.tree.leaves(shared)), default=1)
        capacity = min(CHUNK, chunk_capacity(floats))
        chunks = list(run_chunks(work, np.arange(self.size), capacity))
        chunks.sort(key=lambda chunk: chunk[0][0])
        return jax.tree.map(lambda *parts: np.concatenate(parts), *(found for _, found in chunks))


def forms_of(loss: GramLoss, structure: ClassStructure) -> Forms:
    """Every cell of a loss, one or a batch."""
    size = max((np.size(leaf) for leaf in jax.tree.leaves(loss)), default=1)

    def batched(of: GramLoss) -> GramLoss:
        return jax.tree.map(lambda leaf: np.broadcast_to(np.asarray(leaf, float), (size,)), of)

    return Forms(size, batched(loss.without_conventions()), loss.prepare(structure), batched(loss))


def margin(form: Form, gram: Array, values: Array) -> Array:
    """Rounding of two evaluations, each of N terms or so, and of the Gram matrices' entries."""
    slope = form.loss.sensitivity(gram, form.prepared)
    magnitude = form.loss.magnitude(jnp.max(jnp.abs(values)), slope)
    # Where a derivative is no number (at coinciding embeddings, say) the values must do.
    size = jnp.where(jnp.isfinite(slope), magnitude + slope, 1 + jnp.max(jnp.abs(values)))
    return (8 * len(gram) + 64) * UNIT_ROUNDING * size


def lanes(floats: int) -> int:
    """Gram matrices of so many numbers that are evaluated at once: they fit into a core's cache."""
    return int(np.clip(2**14 // floats, 1, 64))
