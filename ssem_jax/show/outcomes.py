"""What became of a claim in every cell, and where it nearly fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, SymLogNorm
from matplotlib.figure import Figure

from ssem_jax.show.maps import cell_grid, phase_diagram, variance_bars
from ssem_jax.show.style import (
    HOLDS_COLOR,
    REFUTED_COLOR,
    REPORT_WIDTH,
    PlotError,
    color_bar,
    house_style,
    new_figure,
    panel_layout,
    plain_log_ticks,
)
from ssem_jax.show.tables import boundary_table
from ssem_jax.sweeps.table import most
from ssem_jax.sweeps.words import ALPHA, TAU, short


def outcome_map(table: pl.DataFrame, ax: Axes, boundary: pl.DataFrame | None = None) -> Any:
    """A phase diagram with what became of a claim in each cell.

    Green dots where the claim holds, red crosses where it is refuted, a question mark where it is
    undecided, a ring where the claim leaves a cell out, grey where it says nothing.

    Args:
        table: cells of one shape with a column `outcome`, of :func:`ssem_jax.claims.outcomes`.
        ax: axes to draw into.
        boundary: of :func:`boundary_table`.

    Returns:
        The artists of the phase diagram.
    """
    artists = phase_diagram(table, ax, boundary)
    grid, outcome = cell_grid(table), table["outcome"].to_numpy()
    outside = np.where(outcome == "outside", 1.0, np.nan)
    veil = ax.pcolormesh(
        grid.tau_edges,
        grid.alpha_edges,
        grid.matrix(outside),
        cmap="Greys",
        norm=Normalize(0, 4),
        rasterized=True,
    )
    veil.set_zorder(artists.delta2.get_zorder() + 0.1)
    looks: dict[str, dict[str, Any]] = {
        "holds": {"marker": "o", "ms": 3, "color": HOLDS_COLOR, "mec": "white", "mew": 0.4},
        "refuted": {"marker": "X", "ms": 5.5, "color": REFUTED_COLOR, "mec": "white", "mew": 0.5},
        "undecided": {"marker": "$?$", "ms": 6, "color": "black"},
        "excluded": {"marker": "o", "ms": 3, "mfc": "none", "mec": "0.35", "mew": 0.7},
    }
    for name, look in looks.items():
        rows = table.filter(pl.Series(outcome == name))
        if len(rows):
            ax.plot(rows["temperature"], rows["alpha"], ls="", zorder=4, **look)
    return artists


def draw_outcomes(
    parts: Sequence[tuple[str, pl.DataFrame]], counterexample: dict[str, Any] | None = None
) -> Figure:
    """Outcome maps of one to three shapes, side by side.

    Args:
        parts: titles and cells, of :func:`panels`, with a column `outcome`.
        counterexample: a cell of the first part that gets a ring.

    Returns:
        The figure.
    """
    with house_style():
        figure, axes = new_figure(
            1, len(parts), height=2.9, width=REPORT_WIDTH * (0.28 + 0.24 * len(parts)), sharey=True
        )
        drawn = []
        for ax, (title, part) in zip(axes[0], parts, strict=True):
            drawn.append(outcome_map(part, ax, boundary_table(part)))
            ax.set_title(title, pad=4)
            ax.set_xlabel(TAU)
        axes[0, 0].set_ylabel(ALPHA)
        if counterexample is not None:
            axes[0, 0].plot(
                counterexample["temperature"],
                counterexample["alpha"],
                **{"marker": "o", "ms": 13, "mfc": "none", "mec": REFUTED_COLOR, "mew": 1.6},
                zorder=5,
            )
        views = [artists.view_variance for artists in drawn if artists.view_variance is not None]
        variance_bars(figure, drawn[0].delta2, views[0] if views else None, axes)
        return figure


MARGIN_PIXELS = 220
"""Pixels across a margin map: each takes the margin of the nearest cell."""
MARGIN_DECADES = 3
"""Decades of the margin that a map tells apart; smaller ones look like zero."""


def draw_margins(
    parts: Sequence[tuple[str, pl.DataFrame]], axes: Sequence[tuple[str, bool]], title: str = ""
) -> Figure:
    """Where a statement nearly fails: its margin over one or two hyper-parameters.

    Blue where the statement holds, red where it fails, paler the nearer to equality; dots are the
    cells, a cross is a certified counterexample, a question mark an undecided cell. Over one
    hyper-parameter, or none, bars span what is known of the margin.

    Args:
        parts: titles and cells, of :func:`ssem_jax.claims.outcomes`, one for each panel.
        axes: names of the hyper-parameters that vary, and whether on a logarithmic axis; more than
            two are drawn over the first two.
        title: of the figure.

    Returns:
        The figure.

    Raises:
        PlotError: there is no cell to draw.
    """
    parts = [(name, part.drop_nulls("margin_lo")) for name, part in parts]
    parts = [(name, part) for name, part in parts if len(part)]
    if not parts:
        raise PlotError("no cell counts, so there is no margin to draw.")
    flat = len(axes) >= 2
    with house_style():
        rows, columns = panel_layout(len(parts), min(len(parts), 3))
        figure, grid = new_figure(
            rows,
            columns,
            height=2.5 * rows + 0.4,
            width=REPORT_WIDTH * min(1, 0.22 + 0.27 * columns),
        )
        largest = max(float(most(part["margin_hi"].abs()) or 0) for _, part in parts) or 1.0
        norm = SymLogNorm(largest / 10**MARGIN_DECADES, vmin=-largest, vmax=largest)
        image = None
        for ax in grid.ravel()[len(parts) :]:
            ax.set_visible(False)
        for ax, (name, part) in zip(grid.ravel(), parts, strict=False):
            image = _margin_plane(part, ax, axes[:2], norm) if flat else image
            if not flat:
                _margin_line(part, ax, axes[0] if axes else None)
            ax.set_title(name, pad=4)
        if image is not None:
            decade = 10.0 ** np.floor(np.log10(largest))
            ticks = [sign * size for sign in (-1, 1) for size in (decade, 0.1 * decade)]
            color_bar(figure, image, grid, "margin", ticks=sorted([0.0, *ticks]))
        if title:
            figure.suptitle(title, fontsize=9)
        return figure


_MARGIN_LOOKS: dict[str, dict[str, Any]] = {
    "holds": {"marker": "o", "ms": 1.6, "color": "0.25", "mec": "none"},
    "refuted": {"marker": "X", "ms": 6, "color": REFUTED_COLOR, "mec": "white", "mew": 0.5},
    "undecided": {"marker": "$?$", "ms": 6, "color": "black"},
}


def _margin_plane(
    part: pl.DataFrame, ax: Axes, axes: Sequence[tuple[str, bool]], norm: Normalize
) -> Any:
    """Margins over two hyper-parameters, the second one upwards."""
    (y_name, y_log), (x_name, x_log) = axes
    places, ends = [], []
    for name, log in ((x_name, x_log), (y_name, y_log)):
        value = part[name].to_numpy()
        value = np.log(value) if log else value
        low, span = value.min(), max(float(np.ptp(value)), 1e-12)
        places.append((value - low) / span)
        ends.append((low, low + span, log))
    pixels = (np.arange(MARGIN_PIXELS) + 0.5) / MARGIN_PIXELS
    margin = part["margin_hi"].to_numpy()
    nearest = np.empty((MARGIN_PIXELS, MARGIN_PIXELS))
    for row, y in enumerate(pixels):
        distance = (places[1] - y) ** 2 + (pixels[:, None] - places[0]) ** 2
        nearest[row] = margin[np.argmin(distance, axis=1)]
    edges = [
        (np.exp if log else np.asarray)(np.linspace(low, high, MARGIN_PIXELS + 1))
        for low, high, log in ends
    ]
    image = ax.pcolormesh(*edges, nearest, cmap="RdBu", norm=norm, rasterized=True)
    for name, look in _MARGIN_LOOKS.items():
        rows = part.filter(pl.col("outcome") == name)
        if len(rows):  # markers of none would stand at the figure's corner, and ask for room there
            ax.plot(rows[x_name], rows[y_name], ls="", zorder=3, clip_on=False, **look)
    for axis, (name, log) in zip(
        (ax.xaxis, ax.yaxis), ((x_name, x_log), (y_name, y_log)), strict=True
    ):
        if log:
            (ax.set_xscale if axis is ax.xaxis else ax.set_yscale)("log")
        axis.set_label_text(short(name))
    if x_log and x_name == "temperature":
        plain_log_ticks(ax)
    return image


def _margin_line(part: pl.DataFrame, ax: Axes, axis: tuple[str, bool] | None) -> None:
    """Margins over one hyper-parameter, or in the order of the cells."""
    part = part.sort(axis[0]) if axis else part
    x = part[axis[0]].to_numpy() if axis else np.arange(len(part))
    low, high = part["margin_lo"].to_numpy(), part["margin_hi"].to_numpy()
    ax.axhline(0, color="0.6", lw=0.7)
    ax.fill_between(x, low, high, color=HOLDS_COLOR, alpha=0.25, lw=0)
    for name, look in _MARGIN_LOOKS.items():
        chosen = (part["outcome"] == name).to_numpy()
        ax.plot(x[chosen], high[chosen], ls="", zorder=3, **look | {"ms": max(look["ms"], 3)})
    if axis and axis[1]:
        ax.set_xscale("log")
    ax.set_xlabel(short(axis[0]) if axis else "cell")
    ax.set_ylabel("margin")
