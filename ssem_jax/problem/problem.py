"""What is minimised: a class structure, an embedding dimension and a loss."""

from __future__ import annotations

import dataclasses
import enum
import zlib
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

from ssem_jax.problem.display import Told, loss_text
from ssem_jax.problem.pytrees import pytree_dataclass
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import (
    check_count,
    check_type,
    concrete,
    shown,
    stable_text,
)


@runtime_checkable
class Loss(Protocol):
    """What a problem needs of a loss. Whoever solves or certifies it needs a `GramLoss`.

    A pytree whose leaves are its hyper-parameters.
    """

    def check_structure(self, structure: ClassStructure) -> None:
        """Raise a ValueError where the structure does not admit this loss."""
        ...

    def from_gram(self, gram: Float[Array, "N N"], structure: ClassStructure) -> Float[Array, ""]:
        """L(G) for a Gram matrix with unit diagonal."""
        ...

    def prepare(self, structure: ClassStructure) -> Any:
        """What `value` needs of the structure and no hyper-parameter changes."""
        ...

    def value(self, gram: Float[Array, "N N"], prepared: Any) -> Float[Array, ""]:
        """L(G) from what `prepare` returned."""
        ...


@pytree_dataclass
class Problem(Told):
    r"""Minimise a Gram-convex loss over N unit vectors in R^d.

    .. math:: \min_{U \in (S^{d-1})^N} L(U U^\top)

    A pytree: the hyper-parameters of the loss are traced leaves and may carry one batch axis,
    the structure and the dimension are static. A `Problem` with a batch axis is a batch of cells.

    Args:
        structure: the class structure.
        dim: d ≥ 1, the embedding dimension; or None for every dimension, which certificates and
            brackets speak of and no solver takes.
        loss: the loss, for example :class:`ssem_jax.SupCL`.
        least: the least that the similarity of any two embeddings may be, if it is bounded: 0 for
            embeddings without negative coordinates, as after a ReLU, whose similarities satisfy it.
            Such problems are solved by :func:`ssem_jax.certificate.certify_program`.

    Raises:
        ValueError: d < 1, what is no structure or no loss, a loss that the structure does not
            admit (no positive pair), hyper-parameters of different batch axes, or a bound that is
            not in [-1, 1).
    """

    structure: ClassStructure = dataclasses.field(metadata={"static": True})
    dim: int | None = dataclasses.field(metadata={"static": True})
    loss: Loss
    least: float | None = dataclasses.field(default=None, metadata={"static": True})

    def __post_init__(self) -> None:
        check_structure(self.structure)
        if self.dim is not None:
            object.__setattr__(self, "dim", check_count("dim", self.dim, 1))
        check_loss(self.loss)
        self.loss.check_structure(self.structure)
        _ = self.batch_size
        object.__setattr__(self, "least", checked_least(self.least))

    __repr__ = Told.in_a_line

    def lines(self) -> Iterator[str]:
        """What is minimised, for a reader."""
        yield from self.said()

    def said(self) -> Iterator[str]:
        """Shape and loss."""
        where = "every dimension" if self.dim is None else f"d = {self.dim}"
        size = self.batch_size
        yield f"{'' if size is None else f'{size:,} cells of '}{self.structure}, {where}"
        yield loss_text(self.loss)

    @property
    def given_dim(self) -> int:
        """d, for who places embeddings somewhere.

        Raises:
            ValueError: the problem is that of every dimension.
        """
        if self.dim is None:
            raise ValueError(
                "embeddings need a dimension; got dim=None, which stands for every dimension. Give "
                "one, as geometry.full_dimension(structure)."
            )
        return self.dim

    def check_unbounded(self) -> None:
        """Raise a ValueError where similarities are bounded, for who knows of no such bound."""
        if self.least is not None:
            raise ValueError(
                f"similarities are bounded by least = {self.least:g}, which is kept by "
                "certificate.certify_program and by sweeps alone; use these, or leave it out."
            )

    @property
    def batch_size(self) -> int | None:
        """The number of cells, or None for a single problem."""
        shapes = {np.shape(leaf) for leaf in jax.tree.leaves(self.loss)} - {()}
        if not shapes:
            return None
        if len(shapes) > 1 or len(next(iter(shapes))) > 1:
            raise ValueError(
                f"hyper-parameters may carry one common batch axis; got shapes {sorted(shapes)}."
            )
        return next(iter(shapes))[0]

    def cells(self) -> tuple[Any, int]:
        """The loss with a batch axis on every leaf (on the host), and the number of cells.

        Leaves are float64, whatever number was given, and zeros have no sign: so 1 and 1.0 are
        one cell with one key, solved by one compiled kernel and bracketed in double precision.
        """
        size = self.batch_size or 1

        def batched(leaf: Any) -> np.ndarray:
            return np.broadcast_to(np.asarray(leaf, np.float64) + 0.0, (size,))

        return jax.tree.map(batched, self.loss), size


def cell_keys(problem: Problem, key: PRNGKeyArray) -> Key[Array, " B"]:
    """A key for each cell, from the cell's own coordinates.

    So a cell's result depends neither on the batch that it is solved in nor on its place there.
    """
    losses, size = problem.cells()
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(losses)]
    name = f"{type(problem.loss).__name__}|{problem.structure}|{problem.dim}|"
    name += stable_text(jax.tree.structure(problem.loss))
    hashes = [
        zlib.crc32((name + "|" + ",".join(leaf[cell].tobytes().hex() for leaf in leaves)).encode())
        for cell in range(size)
    ]
    # JAX compiles for each number of keys: for powers of two, not for every size of a batch.
    hashes += [0] * ((1 << (size - 1).bit_length()) - size)
    folded = jax.vmap(jax.random.fold_in, (None, 0))(key, np.asarray(hashes, np.uint32))
    return keys_at(folded, slice(size))


def keys_at(keys: Key[Array, " B"], cells: np.ndarray | slice) -> Key[Array, " cells"]:
    """The keys of some cells, chosen on the host, where nothing is compiled for their number."""
    chosen = np.asarray(jax.random.key_data(keys))[cells]
    return jax.random.wrap_key_data(jax.device_put(chosen), impl=jax.random.key_impl(keys))


def checked_least(least: Any) -> float | None:
    """A bound of similarities as a number, or None.

    Raises:
        ValueError: no number in [-1, 1): above, all embeddings would coincide, and below, there is
            no bound.
    """
    if least is None:
        return None
    value = concrete(least, "least")
    if value is None or value.shape or not -1 <= value < 1:
        raise ValueError(
            "least, which bounds the similarity of any two embeddings from below, must be a number "
            f"in [-1, 1) or None; got {shown(least)}."
        )
    return float(value)


def check_loss(loss: Any) -> None:
    """Raise a ValueError unless it is a loss, with its hyper-parameters given.

    Known by what a loss has: :class:`ssem_jax.GramLoss` itself stands on this module.
    """
    if not isinstance(loss, type) and callable(getattr(loss, "from_gram", None)):
        return
    if isinstance(loss, type) and hasattr(loss, "from_gram"):
        raise ValueError(
            f"loss must be given its hyper-parameters, as {loss.__name__}(...); got the class."
        )
    remedy = " Decorate the function with ssem_jax.gram_loss." if callable(loss) else ""
    raise ValueError(f"loss must be a GramLoss, as SupCL(0.5, 0.1); got {shown(loss)}.{remedy}")


def check_problem(problem: Any) -> None:
    """Raise a ValueError unless it is a problem."""
    check_type("problem", problem, Problem, "a Problem(structure, dim, loss)")


class Phase(enum.IntEnum):
    """What an optimum looks like, or what a certificate could tell of it."""

    COLLAPSE = 0
    """All embeddings of a class coincide."""
    SPREAD = 1
    """The instance means of a class differ: no class collapse."""
    VIEW_SPREAD = 2
    """The instance means of a class coincide, the views of an instance do not."""
    UNDECIDED = 3
    """The evidence does not tell."""


PHASES = {
    Phase.COLLAPSE: "collapse: all embeddings of a class coincide",
    Phase.SPREAD: "spread: the instances of a class stay apart, their views coincide",
    Phase.VIEW_SPREAD: "view-spread: instance means coincide, the views of an instance part",
}
"""What an optimum looks like, in a sentence."""
