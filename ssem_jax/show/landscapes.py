"""A landscape as a picture: where many starts ended, and how they got there."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from ssem_jax.show.style import COLORS, PlotError, new_figure

LEAST_GAP = 1e-16
"""Gaps are drawn from here on: below lies rounding."""
BINS = np.linspace(-16, 1, 35)
"""Of the logarithm of gaps."""
MOST_PATHS = 200
"""Paths drawn; more of them are one stain."""


def draw_landscape(table: pl.DataFrame) -> Figure:
    """Final gaps as a histogram, a line a dimension, and all paths in (within, between).

    Args:
        table: of a :class:`ssem_jax.advice.Landscape`.

    Raises:
        PlotError: no table of a landscape.
    """
    if not isinstance(table, pl.DataFrame) or not {"gap", "within", "dim"} <= set(table.columns):
        raise PlotError("a landscape is drawn from the table of ssem_jax.landscape(...).")
    figure, axes = new_figure(1, 2, height=3.0)
    left, right = axes[0]
    parts = table.partition_by("dim", maintain_order=True)
    share = max(1, MOST_PATHS // len(parts))
    for place, part in enumerate(parts):
        color = COLORS[place % len(COLORS)]
        dash = ("-", (0, (4, 2)), (0, (1, 1.2)))[place // len(COLORS) % 3]
        gaps = np.log10(np.maximum(part["gap"].to_numpy(), LEAST_GAP))
        left.hist(gaps, BINS, histtype="step", color=color, ls=dash, label=f"$d={part['dim'][0]}$")
        for row in part.head(share).select("within", "between").iter_rows():
            right.plot(*row, color=color, lw=0.4, alpha=0.5)
            right.plot(row[0][-1], row[1][-1], color=color, marker=".", ms=2)
    left.set_xlabel(r"$\log_{10}$ of the final gap (nats)")
    left.set_ylabel("starts")
    left.set_yscale("symlog", linthresh=1)
    right.set_xlabel("variance within classes")
    right.set_ylabel("variance between classes")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=6)
    return figure
