"""Is a loss unchanged when what plays equal parts is permuted?"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ssem_jax.compute.kernels import Kernel, map_first
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.forms import Form, forms_of, margin
from ssem_jax.losses.probes import generator, random_gram
from ssem_jax.problem.problem import check_loss
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import check_count, require_x64


class SymmetryViolation(NamedTuple):
    """A Gram matrix and a permutation that changes the loss.

    Attributes:
        gram: (N, N), G.
        kind: what is permuted: "classes", "instances" or "views".
        permutation: (N,) order of the rows.
        values: (2,) L(G) and L of the permuted G.
        loss: the cell that was checked.
    """

    gram: Float[np.ndarray, "N N"]
    kind: str
    permutation: Int[np.ndarray, " N"]
    values: Float[np.ndarray, "2"]
    loss: GramLoss

    declared = "is declared symmetric"
    remedy = "Declare it as symmetric=False."

    def __str__(self) -> str:
        before, after = self.values
        return (
            f"a permutation of {self.kind} takes L from {before:.10g} to {after:.10g}: rows in the "
            f"order {self.permutation.tolist()}"
        )


# ----------------------------------------------------------------------------------------- symmetry


def _permutation(rng: np.random.Generator, structure: ClassStructure, kind: str) -> np.ndarray:
    """A random order of rows that permutes classes of equal size, instances, or views."""
    p = structure.num_views
    instances = np.arange(structure.num_embeddings).reshape(-1, p)
    if kind == "views":
        return rng.permuted(instances, axis=1).ravel()
    classes = np.split(instances, np.cumsum(structure.sizes)[:-1])
    if kind == "instances":
        return np.concatenate([rng.permutation(members) for members in classes]).ravel()
    sizes = np.asarray(structure.sizes)
    order = np.arange(len(sizes))
    for size in np.unique(sizes):
        order[sizes == size] = rng.permutation(order[sizes == size])
    return np.concatenate([classes[place] for place in order]).ravel()


@Kernel
def _permuted(
    cells: Any, prepared: Any, grams: tuple[Array, Array], count: Array
) -> tuple[Array, Array, Array]:
    """Values before and after, and margins."""

    def cell(loss: GramLoss, *_: Any) -> tuple[Array, Array, Array]:
        form = Form(loss, prepared)

        def one(pair: tuple[Array, Array]) -> tuple[Array, Array, Array]:
            before, after = map(form.value, pair)
            return before, after, margin(form, pair[0], before)

        return jax.lax.map(one, grams)

    return map_first(count, cell, *cells)


def check_symmetric(
    loss: GramLoss, structure: ClassStructure, key: PRNGKeyArray, num_permutations: int = 48
) -> SymmetryViolation | None:
    """Look for a permutation that changes a loss, of those that `symmetric` says do not.

    Args:
        loss: one cell, or a batch of which every cell is checked.
        structure: the class structure.
        key: of the random Gram matrices and permutations.
        num_permutations: of views, of instances and (unless `like_classes` is False) of classes.

    Returns:
        A violation, or None if there is none beyond rounding.

    Raises:
        ValueError: 64-bit mode is off, num_permutations < 1, or the structure does not admit the
            loss.
    """
    require_x64()
    num_permutations = check_count("num_permutations", num_permutations, 1)
    check_loss(loss)
    check_structure(structure)
    loss.check_structure(structure)
    rng, forms = generator(key), forms_of(loss, structure)
    names = ("views", "instances", "classes") if loss.like_classes else ("views", "instances")
    kinds = [names[place % len(names)] for place in range(num_permutations)]
    grams = [random_gram(rng, structure) for _ in kinds]
    orders = [_permutation(rng, structure, kind) for kind in kinds]
    moved = [gram[order][:, order] for gram, order in zip(grams, orders, strict=True)]
    before, after, margins = forms.run(_permuted, np.stack(grams), np.stack(moved))
    with np.errstate(invalid="ignore"):
        excess = np.nan_to_num(np.abs(after - before) / margins, nan=0.0)  # ∞ is ∞ on both sides
    cell, place = np.unravel_index(np.argmax(excess), excess.shape)
    if excess[cell, place] <= 1:
        return None
    values = np.array([before[cell, place], after[cell, place]])
    found = grams[place], kinds[place], orders[place]
    return SymmetryViolation(*found, values, forms.cell(int(cell)))
