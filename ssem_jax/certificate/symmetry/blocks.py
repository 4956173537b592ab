r"""Block-diagonalisation: which small matrices are positive semidefinite iff a large one is.

A symmetric X of the algebra, drawn at random, has an eigenspace for every row of every irreducible
block. So the vectors that the algebra makes of one eigenvector of T(X) span an irreducible module;
with an orthonormal basis Q of it, X ↦ QᵀT(X)Q is a block. Every vector of Q is taken from one
fibre, and so is the eigenvector: a colour then has entries in the rows of its source and the
columns of its target alone, and eigenvectors of pairs within a fibre are enough. Blocks are equal
iff they have an eigenvalue of X in common; and the multiplicities m_κ, with which they fill N
dimensions, are read off the traces

.. math:: \operatorname{tr}(A_c) = \sum_\kappa m_\kappa \operatorname{tr}(B_\kappa(A_c)),

which are integers or the draw was bad, and is repeated. Floats, then; they lead the way to an
optimum, and no bound rests on them.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ssem_jax.certificate.symmetry.algebra import Algebra, Piece

DRAWS = 8
"""Random elements tried; the first one was enough in all draws seen (gaps of eigenvalues over
1e-6)."""
SEPARATION = 1e-9
"""Eigenvalues closer than this, of the norm, are one; those of a module differ by rounding."""
INDEPENDENCE = 1e-7
"""Singular values below this, of the largest, are rounding: images are scaled by their norms."""
LIKENESS = 1e-6
"""Eigenvalues and traces that differ by less, of scaled matrices, are equal; as do integers
found."""
ZERO = 1e-12
"""Entries of scaled matrices below this are rounding."""


class Block(NamedTuple):
    """An irreducible block, by its nonzero entries.

    Attributes:
        multiplicity: m_κ.
        fibres: (d,) the fibre of every row.
        colour: of an entry.
        row, column: of an entry.
        value: of an entry, of the matrix of its colour.
    """

    multiplicity: int
    fibres: Int[np.ndarray, " d"]
    colour: Int[np.ndarray, " E"]
    row: Int[np.ndarray, " E"]
    column: Int[np.ndarray, " E"]
    value: Float[np.ndarray, " E"]

    @property
    def dim(self) -> int:
        """d."""
        return len(self.fibres)

    def matrix(self, coefficients: Float[np.ndarray, " r"]) -> Float[np.ndarray, "d d"]:
        """That of an element of the algebra."""
        places, entries = self.row * self.dim + self.column, coefficients[self.colour] * self.value
        return np.bincount(places, entries, self.dim**2).reshape(self.dim, self.dim)


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


def _modules(algebra: Algebra, scale: np.ndarray, rng: np.random.Generator) -> list[Block]:
    """A block for every irreducible module; multiplicities are still to be found."""
    drawn = rng.standard_normal(algebra.num_colours)
    within = algebra.source == algebra.target
    element = np.where(within, (drawn + drawn[algebra.transpose]) / scale, 0.0)
    known: list[list[float]] = [[] for _ in algebra.fibres]  # eigenvalues of the blocks found
    found: list[Block] = []
    for fibre, piece in enumerate(algebra.pieces):
        own = np.flatnonzero(algebra.source[piece.colours] == fibre)
        values, vectors = np.linalg.eigh(piece.matrix(element)[np.ix_(own, own)])
        apart = max(1.0, float(np.abs(values).max()))
        cuts = np.flatnonzero(np.diff(values) > SEPARATION * apart) + 1
        spaces = zip(np.split(values, cuts), np.split(vectors, cuts, axis=1), strict=True)
        for near, space in spaces:
            if any(abs(value - near[0]) <= LIKENESS * apart for value in known[fibre]):
                continue
            vector = np.zeros(piece.size)
            vector[own] = space @ rng.standard_normal(space.shape[1])
            block = _module(algebra, piece, vector / np.linalg.norm(vector), scale)
            whole = block.matrix(element)
            for other in np.unique(block.fibres).tolist():
                rows = np.flatnonzero(block.fibres == other)
                part = whole[np.ix_(rows, rows)]
                known[other] += np.linalg.eigvalsh((part + part.T) / 2).tolist()
            found.append(block)
    return found


def _module(
    algebra: Algebra, piece: Piece, vector: Float[np.ndarray, " size"], scale: np.ndarray
) -> Block:
    """The block on the module that one vector makes, of pairs within the fibre of a piece."""
    moved = piece.images(vector, algebra.num_colours)[piece.colours]
    images = moved / scale[piece.colours, None]
    sources = algebra.source[piece.colours]
    sizes = np.linalg.norm(images, axis=1)
    least = INDEPENDENCE * sizes.max()
    basis: list[np.ndarray] = []
    fibres: list[np.ndarray] = []
    for fibre in np.unique(sources[sizes > least]).tolist():
        part = images[sources == fibre]
        _, lengths, rows = np.linalg.svd(part, full_matrices=False)
        basis.append(rows[lengths > least])
        fibres.append(np.full(len(basis[-1]), fibre))
    vectors, owners = np.concatenate(basis), np.concatenate(fibres)
    numbers = np.bincount(owners, minlength=len(algebra.fibres))
    starts = np.cumsum(numbers) - numbers
    parts: list[np.ndarray] = [np.zeros((4, 0))]
    for first in range(numbers.max()):
        for second in range(numbers.max()):
            used = (numbers[algebra.source] > first) & (numbers[algebra.target] > second)
            chosen = used[piece.colour]
            colour = piece.colour[chosen]
            left = vectors[starts[algebra.source[colour]] + first, piece.row[chosen]]
            right = vectors[starts[algebra.target[colour]] + second, piece.column[chosen]]
            sums = np.bincount(colour, left * piece.value[chosen] * right, len(scale))
            kept = np.flatnonzero(used & (np.abs(sums) > ZERO * scale))
            rows, columns = (
                starts[ends[kept]] + turn
                for ends, turn in ((algebra.source, first), (algebra.target, second))
            )
            parts.append(np.stack([kept, rows, columns, sums[kept]]))
    whole = np.concatenate(parts, axis=1)
    colour, row, column = whole[:3].astype(int)
    return Block(0, owners, colour, row, column, whole[3])


def _counted(algebra: Algebra, scale: np.ndarray, found: list[Block]) -> list[Block] | None:
    """The blocks with their multiplicities; None unless all adds up."""
    within = np.flatnonzero(algebra.source == algebra.target)
    traces = np.zeros(algebra.num_colours)
    traces[algebra.diagonal] = algebra.points / algebra.num_points

    def character(block: Block) -> np.ndarray:
        own = block.row == block.column
        whole = np.bincount(block.colour[own], block.value[own], algebra.num_colours)
        return (whole / scale)[within]

    characters = np.stack([character(block) for block in found], axis=1)
    traces = traces[within]
    shares = np.linalg.lstsq(characters, traces, rcond=None)[0]
    multiplicities = np.rint(shares * algebra.num_points).astype(int)
    dims = np.array([block.dim for block in found])
    good = (
        np.abs(characters @ (multiplicities / algebra.num_points) - traces).max() <= LIKENESS
        and multiplicities.min() >= 1
        and np.abs(shares * algebra.num_points - multiplicities).max() < 0.1
        and multiplicities @ dims == algebra.num_points
        and dims @ dims >= algebra.num_colours
    )
    if not good:
        return None
    pairs = zip(multiplicities.tolist(), found, strict=True)
    return [block._replace(multiplicity=number) for number, block in pairs]
