"""The picture of a paper: certified brackets as points with bars, formulas as lines."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from ssem_jax.claims.paper import Picture
from ssem_jax.show.style import COLORS, MARKERS, house_style, new_figure

PLACES = 25
"""Along the x-axis; each is some programs, which are solved and certified: seconds in all."""
GREYS = ("0.1", "0.45", "0.7")
"""Of formulas, which are no series of their own."""


def draw_paper(picture: Picture, table: pl.DataFrame) -> Figure:
    """Draw a picture from its numbers.

    Args:
        picture: the words.
        table: of :meth:`ssem_jax.claims.Picture.table`; where a bracket is wider than a point, its
            bar shows it.

    Returns:
        The figure; each curve is one line of its axes.
    """
    with house_style():
        figure, ((ax,),) = new_figure(height=2.9)
        certified = formulas = 0
        for part in table.partition_by("curve", maintain_order=True):
            label, x = part["curve"][0], part["x"].to_numpy()
            low, high = part["low"].to_numpy(), part["high"].to_numpy()  # NaN of a formula
            if np.isnan(high).all():
                ax.plot(x, low, color=GREYS[formulas % len(GREYS)], label=label, zorder=1)
                formulas += 1
                continue
            middle, color = (low + high) / 2, COLORS[certified % len(COLORS)]
            marker = MARKERS[certified % len(MARKERS)]
            ax.plot(x, middle, marker, color=color, mfc="white", label=label, zorder=3)
            ax.vlines(x, low, high, color=color, lw=2.5, zorder=2)
            certified += 1
        for place, (label, x) in enumerate(picture.marks.items()):
            ax.axvline(x, color="0.4", lw=0.8, ls=(0, (4, 2)), zorder=0)
            ax.annotate(
                label,
                (x, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(3, -9 - 11 * place),
                textcoords="offset points",
                fontsize=8,
            )
        ax.set_xlabel(picture.across)
        ax.set_ylabel(picture.up)
        figure.legend(loc="outside upper center", ncols=2)
    return figure
