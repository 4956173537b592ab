r"""Products of positive semidefinite matrices, and linear maps to and from them.

.. math:: G_\kappa = B_\kappa + \sum_o x_o A_{\kappa o} \succeq 0

The blocks of an algebra are all that its symmetric elements are: as many entries as x has, and one
more for each condition that x satisfies by itself, a **tie**: that the diagonal of G is 1. So a
step may as well be one of blocks that keeps the ties, and x is read off them,

.. math:: x_o = \sum_\kappa w_\kappa \langle A_{\kappa o}, G_\kappa - B_\kappa \rangle / n_o,

as the A_o are orthogonal where blocks are weighed by how often they occur. **Limits**, blocks of
size 1 beside these, are functions of x that have ties of their own; and variables of which no block
knows are **free**.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ssem_jax.certificate.symmetry.algebra import Algebra
from ssem_jax.certificate.symmetry.blocks import Block, block_diagonalise

FULL = 2**13
"""Entries up to which a map is a full matrix."""
UNREACHED = 1e-9
"""Singular values below this, of the largest, are of entries of blocks that no element has."""


class Pairs(NamedTuple):
    """The entries on and above the diagonal of matrices of one size.

    Attributes:
        first, second: rows and columns.
        counts: how often they occur: once on the diagonal, twice above it.
        place: (d, d) of every entry.
        coupled: (3, K) two different pairs with an index in common, and which entry of Z, in
            row order, couples them in ⟨D, D Z⟩.
    """

    first: Int[np.ndarray, " m"]
    second: Int[np.ndarray, " m"]
    counts: Float[np.ndarray, " m"]
    place: Int[np.ndarray, "d d"]
    coupled: Int[np.ndarray, "3 K"]


@functools.lru_cache(maxsize=64)
def pairs_of(size: int) -> Pairs:
    """The pairs of a size."""
    first, second = np.triu_indices(size)
    place = np.zeros((size, size), int)
    place[first, second] = place[second, first] = np.arange(len(first))
    common, b, c = np.nonzero(np.ones((size, 1, 1)) - np.eye(size))
    coupled = np.stack([place[common, b], place[common, c], b * size + c])
    return Pairs(first, second, 1.0 + (first != second), place, coupled)


def folded(matrices: Float[np.ndarray, "*lanes n d d"]) -> Float[np.ndarray, "*lanes k"]:
    """⟨M, D⟩ for the D of every pair of entries."""
    pairs = pairs_of(matrices.shape[-1])
    found = matrices[..., pairs.first, pairs.second] * pairs.counts
    return found.reshape(*matrices.shape[:-3], matrices.shape[-3] * len(pairs.first))


class Entries(NamedTuple):
    """What the variables change in blocks of one size: `value` at a flat place of (n, d, d)."""

    variable: Int[np.ndarray, " E"]
    place: Int[np.ndarray, " E"]
    value: Float[np.ndarray, " E"]


class Pattern:
    """A sparse map from variables to places, and its transpose.

    Args:
        entries: of which no two have one variable and one place.
        variables: how many there are.
        shape: (n, d, d), of the places.
    """

    def __init__(self, entries: Entries, variables: int, shape: tuple[int, int, int]) -> None:
        variable, place, value = entries
        self.shape, size = shape, int(np.prod(shape))
        self.variables, self.full = variables, None
        if variables * size <= FULL:
            self.full = np.zeros((variables, size))
            self.full[variable, place] = value
            return
        order = np.argsort(place, kind="stable")
        starts = np.flatnonzero(np.diff(place[order], prepend=-1))
        rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
        self.first = np.zeros(size, int), np.zeros(size)
        once = order[rank == 0]
        self.first[0][place[once]], self.first[1][place[once]] = variable[once], value[once]
        again = [order[rank == turn] for turn in range(1, int(rank.max(initial=0)) + 1)]
        self.others = [Entries(*(column[turn] for column in entries)) for turn in again]
        order = np.argsort(variable, kind="stable")
        self.sorted = Entries(*(column[order] for column in entries))
        self.starts = np.flatnonzero(np.diff(self.sorted.variable, prepend=-1))

    def spread(self, x: Float[np.ndarray, "*lanes O"]) -> Float[np.ndarray, "*lanes n d d"]:
        """The matrices of variables."""
        lanes = x.shape[:-1]
        if self.full is not None:
            return (x @ self.full).reshape(*lanes, *self.shape)
        found = np.take(x, self.first[0], axis=-1)
        found *= self.first[1]
        for variable, place, value in self.others:  # a place occurs but once in each
            found[..., place] += x[..., variable] * value
        return found.reshape(*lanes, *self.shape)

    def gathered(self, blocks: Float[np.ndarray, "B n d d"]) -> Float[np.ndarray, "B O"]:
        """The products of matrices with that of every variable."""
        flat = blocks.reshape(len(blocks), -1)
        if self.full is not None:
            return flat @ self.full.T
        variable, place, value = self.sorted
        found = np.zeros((len(flat), self.variables))
        products = flat[:, place] * value
        found[:, variable[self.starts]] = np.add.reduceat(products, self.starts, axis=1)
        return found


class Group(NamedTuple):
    """Blocks of one size.

    Attributes:
        base: B.
        entries: of the A.
        weights: of blocks, in which the A are orthogonal.
        ties: matrices whose products with G, summed over the groups, do not change with x.
    """

    base: Float[np.ndarray, "n d d"]
    entries: Entries
    weights: Float[np.ndarray, " n"]
    ties: Float[np.ndarray, "K n d d"]


def group_of(base: Float[np.ndarray, "n d d"], slopes: Float[np.ndarray, "n O d d"]) -> Group:
    """Blocks whose entries are variables of their own."""
    flat = np.moveaxis(slopes, 1, 0).reshape(slopes.shape[1], -1)
    variable, place = np.nonzero(flat)
    entries = Entries(variable, place, flat[variable, place])
    return Group(base, entries, np.ones(len(base)), np.zeros((0, *base.shape)))


class Cone:
    """Blocks that must be positive semidefinite.

    Args:
        groups: the blocks, by their size.
        variables: O.
        limits: (L,) and (L, O): limits + functions·x ≥ 0, in blocks of size 1 that come last.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        variables: int,
        limits: tuple[Float[np.ndarray, " L"], Float[np.ndarray, "L O"]] | None = None,
    ) -> None:
        self.variables = variables
        self.bases = [group.base for group in groups]
        self.maps = [Pattern(group.entries, variables, group.base.shape) for group in groups]
        self.weights = [group.weights[:, None, None] for group in groups]
        norms = np.zeros(variables)
        for variable, place, value, weights, size in (
            (*group.entries, group.weights, group.base.shape[1] ** 2) for group in groups
        ):
            norms += np.bincount(variable, weights[place // size] * value**2, variables)
        self.free = np.flatnonzero(norms == 0)
        self.norms = np.where(norms == 0, np.inf, norms)
        self.ties = [group.ties for group in groups]
        self.limits = np.zeros((0, variables))
        if limits is not None and len(limits[0]):
            most, self.limits = limits
            shape = (len(most), 1, 1)
            variable, place = np.nonzero(self.limits.T)
            entries = Entries(variable, place, self.limits.T[variable, place])
            self.bases.append(most[:, None, None])
            self.maps.append(Pattern(entries, variables, shape))
        self.dim = sum(base.shape[0] * base.shape[1] for base in self.bases)
        widths = [base.shape[0] * len(pairs_of(base.shape[1]).first) for base in self.bases]
        ends = np.cumsum([*widths, len(self.free)])
        self.parts = [slice(end - width, end) for end, width in zip(ends, widths, strict=False)]
        self.width = int(ends[-1])

    def factors(self, x: Float[np.ndarray, "B O"]) -> list[np.ndarray]:
        """R of every group of blocks, at points inside."""
        pairs = zip(self.bases, self.maps, strict=True)
        return [np.linalg.cholesky(base + one.spread(x)) for base, one in pairs]


class Scaled:
    """Steps of blocks in units of a point: ΔG = R D Rᵀ, with the D of all blocks in one vector,
    each by its entries on and above the diagonal; free variables come last.

    Args:
        cone: the blocks.
        factors: R.
    """

    def __init__(self, cone: Cone, factors: list[np.ndarray]) -> None:
        self.cone, self.factors = cone, factors

    def _within(self, group: int, matrices: Float[np.ndarray, "B k n d d"]) -> np.ndarray:
        """⟨M, R D Rᵀ⟩ as a function of D."""
        factor, shape = self.factors[group], matrices.shape
        if shape[-1] == 1:
            return (matrices * factor[:, None] ** 2)[..., 0, 0]
        if shape[2] > 1:
            return folded(np.swapaxes(factor, -1, -2)[:, None] @ matrices @ factor[:, None])
        # One product of tall matrices; M is symmetric.
        rows = shape[1] * shape[-1]
        tall = np.matmul(matrices.reshape(len(matrices), rows, shape[-1]), factor[:, 0])
        turned = np.swapaxes(tall.reshape(len(tall), *shape[1:]), -1, -2)
        tall = np.matmul(turned.reshape(len(tall), rows, shape[-1]), factor[:, 0])
        return folded(tall.reshape(len(tall), *shape[1:]))

    def pulled(self, vectors: Float[np.ndarray, "B k O"]) -> Float[np.ndarray, "B k M"]:
        """v·x as a function of D."""
        cone = self.cone
        found = np.zeros((*vectors.shape[:-1], cone.width))
        units = vectors / cone.norms
        for group, weights in enumerate(cone.weights):
            matrices = cone.maps[group].spread(units) * weights
            found[..., cone.parts[group]] = self._within(group, matrices)
        if len(cone.free):
            found[..., -len(cone.free) :] = vectors[..., cone.free]
        return found

    def ties(self) -> Float[np.ndarray, "B K M"]:
        """What steps must leave 0: of the blocks, and of limits what they differ from theirs."""
        cone, lanes = self.cone, len(self.factors[0])
        found = np.zeros((lanes, len(cone.ties[0]), cone.width))
        for group, ties in enumerate(cone.ties):
            found[..., cone.parts[group]] = self._within(group, ties[None])
        if not len(cone.limits):
            return found
        limits = self.pulled(np.broadcast_to(cone.limits, (lanes, *cone.limits.shape)))
        own = self.factors[-1][..., 0, 0] ** 2
        limits[..., cone.parts[-1]] -= own[:, None] * np.eye(len(cone.limits))
        return np.concatenate([found, limits], axis=1)

    def matrices(self, steps: Float[np.ndarray, "B M"]) -> list[np.ndarray]:
        """D of every group."""
        found = []
        for base, part in zip(self.cone.bases, self.cone.parts, strict=True):
            flat = steps[:, part].reshape(len(steps), len(base), -1)
            found.append(flat[..., pairs_of(base.shape[1]).place])
        return found

    def moved(
        self, matrices: list[np.ndarray], steps: Float[np.ndarray, "B M"]
    ) -> Float[np.ndarray, "B O"]:
        """Δx, of D."""
        cone, found = self.cone, np.zeros((len(steps), self.cone.variables))
        for one, weights, factor, step in zip(
            cone.maps, cone.weights, self.factors, matrices, strict=False
        ):
            whole = factor @ step @ np.swapaxes(factor, -1, -2)
            found += one.gathered(whole * weights)
        found /= cone.norms
        if len(cone.free):
            found[:, cone.free] = steps[:, -len(cone.free) :]
        return found

    def barrier(self, duals: list[np.ndarray], whole: Float[np.ndarray, "B M M"]) -> None:
        """Add Σ ⟨D, D Z̃⟩ to a matrix."""
        for dual, part in zip(duals, self.cone.parts, strict=True):
            number, size = dual.shape[1:3]
            pairs = pairs_of(size)
            places = part.start + np.arange(part.stop - part.start).reshape(number, -1)
            own = dual[..., np.arange(size), np.arange(size)]
            apart = pairs.counts > 1
            whole[:, places, places] += own[..., pairs.first]
            if size > 1:
                whole[:, places[:, apart], places[:, apart]] += own[..., pairs.second[apart]]
                one, two, entry = pairs.coupled
                flat = dual.reshape(*dual.shape[:2], -1)
                whole[:, places[:, one], places[:, two]] += flat[..., entry]


@functools.lru_cache(maxsize=64)
def cone_of(algebra: Algebra, floors: bytes) -> Cone:
    """The blocks of an algebra; and bounds of entries, the last ones of size 1."""
    number = len(algebra.orbits)
    groups: dict[int, list[Block]] = {}
    for block in block_diagonalise(algebra):
        groups.setdefault(block.dim, []).append(block)
    found = [_group(algebra, blocks) for blocks in groups.values()]
    widths = sum(block.dim * (block.dim + 1) // 2 for blocks in groups.values() for block in blocks)
    if widths > number + len(algebra.points):
        found = _with_unreached(found, number)
    lower = np.frombuffer(floors)
    bounded = np.flatnonzero(np.isfinite(lower))
    return Cone(found, number, (-lower[bounded], np.eye(number)[bounded]))


def _with_unreached(groups: Sequence[Group], variables: int) -> list[Group]:
    """Groups with ties for entries of blocks that no x reaches: those of complex modules."""
    extra = []
    for place, (base, entries, _, ties) in enumerate(groups):
        pairs = pairs_of(base.shape[1])
        known = Pattern(entries, variables, base.shape).spread(np.eye(variables))
        reached = np.concatenate([known, ties])[..., pairs.first, pairs.second]
        roots = np.sqrt(pairs.counts)
        for block in range(len(base)):
            _, sizes, rows = np.linalg.svd(reached[:, block] * roots)
            for row in rows[np.count_nonzero(sizes > UNREACHED * sizes[0]) :] / roots:
                extra.append((place, block, row[pairs.place]))
    found = []
    for place, group in enumerate(groups):
        more = np.zeros((len(extra), *group.base.shape))
        for number, (where, block, matrix) in enumerate(extra):
            if where == place:
                more[number, block] = matrix
        found.append(group._replace(ties=np.concatenate([group.ties, more])))
    return found


def _group(algebra: Algebra, blocks: list[Block]) -> Group:
    """Blocks of one size. The diagonal of G, which is 1, ties the rows of every fibre."""
    size, places = blocks[0].dim, len(algebra.points)
    entries = [np.zeros((3, 0))]
    ties = np.zeros((places, len(blocks), size, size))
    for number, block in enumerate(blocks):
        orbits, flat = algebra.orbit_of[block.colour], block.row * size + block.column
        apart = orbits >= 0
        entries.append(np.stack([orbits, number * size**2 + flat, block.value])[:, apart])
        rows = np.arange(size)
        share = block.multiplicity / algebra.points[block.fibres]
        ties[block.fibres, number, rows, rows] = share
    variable, place, value = np.concatenate(entries, axis=1)
    keys, inverse = np.unique(
        variable.astype(int) * len(blocks) * size**2 + place.astype(int), return_inverse=True
    )
    summed = Entries(
        keys // (len(blocks) * size**2),
        keys % (len(blocks) * size**2),
        np.bincount(inverse, value, len(keys)),
    )
    weights = np.array([block.multiplicity / algebra.num_points for block in blocks])
    return Group(np.tile(np.eye(size), (len(blocks), 1, 1)), summed, weights, ties)
