"""Where the claims are judged: grids of m, n, p, d, α and τ in both conventions.

The values of α and τ are chosen generic, so that hardly a cell lies on a boundary by accident, and
contain the ends α = 0 and 1, collapsed, spread and near-boundary cells. Each domain has a quick, a
default and a full size.
"""

from __future__ import annotations

import numpy as np

from ssem_jax.claims import Domain
from ssem_jax.problem import ClassStructure
from ssem_jax.sweep import Grid

_balanced = ClassStructure.balanced

SOURCE = "Lee, Oh, Lee and Sohn (AISTATS 2025, arXiv:2503.08203)"


def _alphas(count: int) -> tuple[float, ...]:
    return tuple(np.linspace(0, 1, count).tolist())


def _temperatures(least: float, count: int) -> tuple[float, ...]:
    return tuple(np.geomspace(least, 5.0, count).tolist())


def _grid(shapes, alphas, temperatures, self_pairs="include", dims=("full",)) -> Grid:
    structures = tuple(_balanced(*shape) for shape in shapes)
    return Grid(structures, dims, alphas, temperatures, (self_pairs,))


_INCLUDED = ((2, 2), (2, 4), (3, 4), (5, 4), (3, 2), (3, 8), (5, 5), (3, 4, 2))
INCLUDED = Domain(
    grids=(_grid(_INCLUDED, _alphas(12), _temperatures(0.06, 13)),),
    quick=(_grid(((2, 2), (2, 4), (3, 4), (3, 4, 2)), _alphas(8), _temperatures(0.06, 8)),),
    full=(_grid((*_INCLUDED, (10, 10), (2, 20), (20, 2)), _alphas(33), _temperatures(0.06, 33)),),
)
"""Self pairs included, in the smallest dimension that admits every optimum."""

_EXCLUDED = ((2, 2, 2), (3, 4, 2), (5, 2, 2), (3, 4, 3))
EXCLUDED = Domain(
    grids=(_grid(_EXCLUDED, _alphas(12), _temperatures(0.1, 13), "exclude"),),
    quick=(_grid(((2, 2, 2), (2, 2, 3)), _alphas(8), _temperatures(0.1, 8), "exclude"),),
    full=(_grid((*_EXCLUDED, (5, 5, 2)), _alphas(33), _temperatures(0.1, 33), "exclude"),),
)
"""Self pairs excluded, two or more views, in the smallest dimension that admits every optimum."""

LOW_DIMENSION = Domain(
    grids=(
        _grid(((3, 4),), _alphas(12), _temperatures(0.1, 8), dims=(2, 3, 5)),
        _grid(((4, 3),), _alphas(12), _temperatures(0.1, 8), dims=(3, 4)),
    ),
    quick=(_grid(((3, 4),), _alphas(6), _temperatures(0.1, 5), dims=(2, 3)),),
)
"""Dimensions below mn - 1, where only the collapsed optimum fits."""
