"""Slices of the phase diagrams: theory as lines, free minimisation as points, brackets as bars."""

from __future__ import annotations

import numpy as np
import polars as pl

import ssem_jax as sx
from figures.common import Progress, Tables, certified_cells
from ssem_jax import show

FIXED = {
    "include": {"alpha": (0.1, 0.35, 1.0), "temperature": (0.35, 0.5, 0.8)},
    "exclude": {"alpha": (0.1, 0.2, 0.5), "temperature": (0.05, 0.3, 0.6)},
}
"""For each convention: temperatures of the slices along α, and values of α of those along τ."""
SHAPES = {"include": (3, 4, 1), "exclude": (3, 4, 2)}
QUANTITIES = ("delta2", "within_variance", "between_variance", "value")


def compute(fast: bool, progress: Progress) -> Tables:
    """Cells along each slice, and the closed forms between them."""
    count = 11 if fast else 25
    alphas = np.linspace(0, 1, count)
    temperatures = np.geomspace(0.08, 2.0, count)
    tables = {}
    for self_pairs, shape in SHAPES.items():
        structure, fixed = sx.ClassStructure.balanced(*shape), FIXED[self_pairs]
        along_alpha = [(alpha, tau) for tau in fixed["alpha"] for alpha in alphas]
        along_tau = [(alpha, tau) for alpha in fixed["temperature"] for tau in temperatures]
        pairs = np.array(along_alpha + along_tau)
        loss = sx.SupCL(pairs[:, 0], pairs[:, 1], self_pairs)
        problem = sx.Problem(structure, sx.geometry.full_dimension(structure, self_pairs), loss)
        quantities = ("delta2", "view_variance", "mean_squared")
        ends = [f"{name}_{end}" for name in quantities for end in ("lo", "hi")]
        cells = certified_cells(
            [problem], progress, ("value", "lower", "gap", *quantities, "between_variance", *ends)
        )
        axis = ["alpha"] * len(along_alpha) + ["temperature"] * len(along_tau)
        tables[f"{self_pairs}_cells"] = cells.with_columns(along=pl.Series(axis))
        for name in ("alpha", "temperature"):
            tables[f"{self_pairs}_{name}"] = show.slice_table(cells, name, fixed[name])
    return tables


def _draw(tables: Tables, self_pairs: str) -> object:
    cells, fixed = tables[f"{self_pairs}_cells"], FIXED[self_pairs]
    figure, axes = show.new_figure(5, 2, height=8.2, sharex="col", sharey="row")
    for ax, name in zip(axes.T, ("alpha", "temperature"), strict=True):
        rows, curves = cells.filter(along=name), tables[f"{self_pairs}_{name}"]
        for panel, quantity in zip(ax, QUANTITIES, strict=False):
            show.slice_panel(rows, panel, name, quantity, curves, fixed[name])
        show.bracket_widths(rows, ax[-1], name, fixed[name])
        for panel in ax:
            panel.label_outer()
        ax[0].legend(
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=3,
            columnspacing=0.8,
            handletextpad=0.1,
        )
    figure.align_ylabels(axes[:, 0])
    return figure


IMAGES = {
    "slices_included.svg": lambda tables: _draw(tables, "include"),
    "slices_excluded.svg": lambda tables: _draw(tables, "exclude"),
}
