r"""Block-diagonalisation: which small matrices are positive semidefinite iff a large one is.

A symmetric X of the algebra, drawn at random, has an eigenspace for every row of every irreducible
block. So the vectors that the algebra makes of one eigenvector of T(X) span an irreducible module;
with an orthonormal basis Q of it, X ↦ QᵀT(X)Q is a block. Blocks are equal iff their characters
are; and the multiplicities m_κ, with which they fill N dimensions, are read off the traces

.. math:: \operatorname{tr}(A_c) = \sum_\kappa m_\kappa \operatorname{tr}(B_\kappa(A_c)),

which are integers or the draw was bad, and is repeated. Floats, then; they lead the way to an
optimum, and no bound rests on them.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ssem_jax.certificate.symmetry.algebra import Algebra, Piece

DRAWS = 8
"""Random elements tried; the first one was enough in all draws seen (gaps of eigenvalues over
1e-6)."""
SEPARATION = 1e-9
"""Eigenvalues closer than this, of the norm, are one; those of a module differ by rounding."""
INDEPENDENCE = 1e-7
"""Singular values below this, of the largest, are rounding: images are scaled by their norms."""
LIKENESS = 1e-6
"""Characters that differ by less, of scaled matrices, are equal; as do integers found."""


class Block(NamedTuple):
    """An irreducible block.

    Attributes:
        multiplicity: m_κ.
        matrices: (r, d, d) of every colour.
    """

    multiplicity: int
    matrices: Float[np.ndarray, "r d d"]

    @property
    def dim(self) -> int:
        """d."""
        return self.matrices.shape[1]


@functools.lru_cache(maxsize=64)
def block_diagonalise(algebra: Algebra, seed: int = 0) -> list[Block]:
    """The irreducible blocks of an algebra, largest first.

    Args:
        algebra: a coherent configuration.
        seed: of the random elements.

    Raises:
        ValueError: no draw had integer multiplicities that fill N dimensions.
    """
    rng = np.random.default_rng(seed)
    scale = np.sqrt(algebra.valency * algebra.valency[algebra.transpose].astype(float))
    for _ in range(DRAWS):
        found = _modules(algebra, scale, rng)
        if (blocks := _counted(algebra, scale, found)) is not None:
            return sorted(blocks, key=lambda block: (-block.dim, -block.multiplicity))
    raise ValueError(
        f"no random element separates the blocks of {algebra.num_colours} colours of pairs of "
        f"{algebra.num_points} points: multiplicities are no integers. Check that the colouring is "
        "coherent."
    )


def _modules(
    algebra: Algebra, scale: np.ndarray, rng: np.random.Generator
) -> list[Float[np.ndarray, "r d d"]]:
    """A block, of matrices divided by `scale`, for every irreducible module."""
    drawn = rng.standard_normal(algebra.num_colours)
    element = (drawn + drawn[algebra.transpose]) / scale
    found: list[np.ndarray] = []
    for piece in algebra.pieces:
        values, vectors = np.linalg.eigh(piece.matrix(element))
        apart = SEPARATION * max(1.0, float(np.abs(values).max()))
        cuts = np.flatnonzero(np.diff(values) > apart) + 1
        for space in np.split(vectors, cuts, axis=1):
            block = _module(piece, space @ rng.standard_normal(space.shape[1]), scale)
            if not any(_alike(block, known) for known in found):
                found.append(block)
    return found


def _module(piece: Piece, vector: np.ndarray, scale: np.ndarray) -> Float[np.ndarray, "r d d"]:
    """The block on the module that one vector makes."""
    images = piece.images(vector / np.linalg.norm(vector), len(scale)) / scale[:, None]
    _, sizes, rows = np.linalg.svd(images, full_matrices=False)
    basis = rows[sizes > INDEPENDENCE * sizes[0]]
    moved = np.stack([piece.images(row, len(scale)) for row in basis])  # (d, r, size)
    return np.einsum("ks,lrs->rkl", basis, moved) / scale[:, None, None]


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two blocks have one character."""
    if one.shape != other.shape:
        return False
    traces = [np.trace(block, axis1=1, axis2=2) for block in (one, other)]
    return bool(np.allclose(*traces, rtol=0, atol=LIKENESS * one.shape[1]))


def _counted(algebra: Algebra, scale: np.ndarray, found: list[np.ndarray]) -> list[Block] | None:
    """The blocks with their multiplicities; None unless all adds up."""
    traces = np.zeros(algebra.num_colours)
    traces[algebra.diagonal] = algebra.points / algebra.num_points
    characters = np.stack([np.trace(block, axis1=1, axis2=2) for block in found], axis=1)
    shares = np.linalg.lstsq(characters, traces, rcond=None)[0]
    multiplicities = np.rint(shares * algebra.num_points).astype(int)
    dims = np.array([block.shape[1] for block in found])
    good = (
        np.abs(characters @ (multiplicities / algebra.num_points) - traces).max() <= LIKENESS
        and multiplicities.min() >= 1
        and np.abs(shares * algebra.num_points - multiplicities).max() < 0.1
        and multiplicities @ dims == algebra.num_points
        and dims @ dims >= algebra.num_colours
    )
    if not good:
        return None
    return [
        Block(int(m), block * scale[:, None, None])
        for m, block in zip(multiplicities, found, strict=True)
    ]
