"""Phase diagrams with self pairs excluded: collapse lies between view-spread and spread."""

from __future__ import annotations

import numpy as np

import ssem_jax as sx
from figures.common import Progress, Tables, certified_cells
from ssem_jax import show

SHAPES = ((2, 2, 2), (3, 4, 2), (2, 2, 4), (3, 4, 3))


def compute(fast: bool, progress: Progress) -> Tables:
    """Cells of every panel, solved from random starts and certified; and the closed forms."""
    side = 12 if fast else 32
    shapes = SHAPES[1:2] if fast else SHAPES
    grid = sx.Grid(
        [sx.ClassStructure.balanced(*shape) for shape in shapes],
        ["full"],
        np.linspace(0, 1, side).tolist(),
        np.geomspace(0.08, 1.5, side).tolist(),
        ["exclude"],
    )
    columns = ("delta2", "view_variance", "phase", "gap")
    cells = certified_cells(grid.problems(), progress, columns)
    return {"cells": cells, "boundary": show.boundary_table(cells)}


def draw_phases(tables: Tables) -> object:
    """δ² in blues and the variance of views in oranges, over (τ, α)."""
    return show.draw_phases(tables["cells"], tables["boundary"], 2)


def draw_gaps(tables: Tables) -> object:
    """The gap of each cell."""
    return show.draw_gaps(tables["cells"], tables["boundary"], 2)


IMAGES = {"phase_excluded.svg": draw_phases, "phase_excluded_gap.svg": draw_gaps}
