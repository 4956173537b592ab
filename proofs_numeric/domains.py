"""Where the claims are judged: grids of m, n, p, d, α and τ in both conventions.

The values of α and τ are chosen generic, so that hardly a cell lies on a boundary by accident, and
contain the ends α = 0 and 1, collapsed, spread and near-boundary cells. Each domain has a quick, a
default and a full size.
"""

from __future__ import annotations

import numpy as np

from ssem_jax.claims import Domain
from ssem_jax.problem import ClassStructure
from ssem_jax.sweeps import Grid

_balanced = ClassStructure.balanced

SOURCE = "Lee, Oh, Lee and Sohn (AISTATS 2025, arXiv:2503.08203)"


def _alphas(count: int) -> tuple[float, ...]:
    return tuple(np.linspace(0, 1, count).tolist())


def _temperatures(least: float, count: int) -> tuple[float, ...]:
    return tuple(np.geomspace(least, 5.0, count).tolist())


def _grid(shapes, alphas, temperatures, self_pairs="include", dims=("full",)) -> Grid:
    structures = tuple(_balanced(*shape) for shape in shapes)
    return Grid(structures, dims, alphas, temperatures, (self_pairs,))


_SHAPES = ((2, 2), (2, 4), (3, 4), (5, 4), (3, 2), (3, 8), (5, 5))
INCLUDED = Domain(
    grids=(
        _grid(_SHAPES, _alphas(12), _temperatures(0.06, 13)),
        _grid(((3, 4, 2),), _alphas(12), _temperatures(0.06, 13), dims=(23,)),
    ),
    quick=(
        _grid(((2, 2), (2, 4), (3, 4)), _alphas(8), _temperatures(0.06, 8)),
        _grid(((2, 2, 2),), _alphas(8), _temperatures(0.06, 8), dims=(7,)),
    ),
    full=(
        _grid(
            (*_SHAPES, (3, 4, 2), (10, 10), (2, 20), (20, 2)),
            _alphas(33),
            _temperatures(0.06, 33),
        ),
    ),
)
"""Self pairs included, in dimensions that admit every optimum: mn - 1, and one that is larger."""

EXCLUDED = Domain(
    grids=(
        _grid(((3, 4, 2), (3, 4, 3)), _alphas(12), _temperatures(0.1, 14), "exclude"),
        _grid(((2, 2, 2),), _alphas(12), _temperatures(0.1, 14), "exclude", (7,)),
        _grid(((5, 2, 2),), _alphas(12), _temperatures(0.1, 14), "exclude", (19,)),
    ),
    quick=(
        _grid(((2, 2, 2),), _alphas(8), _temperatures(0.1, 8), "exclude", (7,)),
        _grid(((2, 2, 3),), _alphas(8), _temperatures(0.1, 8), "exclude"),
    ),
    full=(
        _grid(
            ((2, 2, 2), (3, 4, 2), (5, 2, 2), (3, 4, 3), (5, 5, 2)),
            _alphas(33),
            _temperatures(0.1, 33),
            "exclude",
        ),
    ),
)
"""Self pairs excluded, two or more views, in dimensions that admit every optimum: the smallest,
max(mn - 1, mn(p-1) + m - 1), and larger ones."""

LOW_DIMENSION = Domain(
    grids=(_grid(((3, 4),), _alphas(21)[:9], _temperatures(0.1, 8), dims=(2, 3)),),
    quick=(_grid(((3, 4),), _alphas(21)[:9:2], _temperatures(0.1, 5), dims=(2, 3)),),
)
"""Dimensions m - 1 and m, below mn - 1, where only the collapsed optimum fits. Most cells are
collapsed; in the others a gap is expected."""
