"""Phase diagrams with self pairs included: δ² of certified cells, the boundary drawn over it."""

from __future__ import annotations

import numpy as np

import ssem_jax as sx
from figures.common import Progress, Tables, certified_cells
from ssem_jax import show

NUM_CLASSES, NUM_INSTANCES = (3, 10), (2, 4, 8)
FAST_SHAPES = ((3, 4),)


def compute(fast: bool, progress: Progress) -> Tables:
    """Cells of every panel, solved from random starts and certified; and the closed form."""
    side = 12 if fast else 28
    shapes = [(m, n) for m in NUM_CLASSES for n in NUM_INSTANCES]
    grid = sx.Grid(
        [sx.ClassStructure.balanced(*shape) for shape in (FAST_SHAPES if fast else shapes)],
        ["full"],
        np.linspace(0, 1, side).tolist(),
        np.geomspace(0.06, 3.0, side).tolist(),
    )
    cells = certified_cells(grid.problems(), progress, ("delta2", "phase", "gap"))
    return {"cells": cells, "boundary": show.boundary_table(cells)}


def draw_phases(tables: Tables) -> object:
    """δ² over (τ, α)."""
    columns = tables["cells"]["num_instances"].n_unique()
    return show.draw_phases(tables["cells"], tables["boundary"], columns)


def draw_gaps(tables: Tables) -> object:
    """The gap of each cell."""
    columns = tables["cells"]["num_instances"].n_unique()
    return show.draw_gaps(tables["cells"], tables["boundary"], columns)


IMAGES = {"phase_included.svg": draw_phases, "phase_included_gap.svg": draw_gaps}
