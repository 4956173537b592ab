"""Slices: a quantity against α or τ, theory as a line, brackets as bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssem_jax.show.style import (
    COLORS,
    MARKERS,
    PlotError,
    house_style,
    new_figure,
    plain_log_ticks,
)
from ssem_jax.show.tables import (
    held_values,
    panels,
    require_columns,
    rows_of_panel,
    said_of_all,
    slice_values,
    thinned,
    with_parts,
)
from ssem_jax.sweeps.words import axis, short

SHOWN = ("delta2", "view_variance", "within_variance", "between_variance", "value")
"""Quantities that slices can show."""
MAX_ROWS = 6
"""Rows of panels that fit on a page."""
WIDE = 6.4
"""Width in inches, with the legends beside the panels."""
LEAST_SPAN = 1e-4
"""Of an axis of variances, whose whole range is 1, and relative to 1 nat of one of losses: what
moves less is rounding, or a slice that hardly moves, and looks flat."""


class SliceArtists(NamedTuple):
    """What a panel of slices is made of, one entry for each value held fixed.

    Attributes:
        curves: closed forms (empty where there are none).
        points: what free minimisation found.
        bars: (points, 2) arrays, low and high ends of the drawn brackets; empty if none is drawn.
    """

    curves: list[Line2D]
    points: list[Line2D]
    bars: list[np.ndarray]


def slice_panel(
    table: pl.DataFrame,
    ax: Axes,
    along: str = "alpha",
    quantity: str = "delta2",
    curves: pl.DataFrame | None = None,
    fixed: Sequence[float] | None = None,
) -> SliceArtists:
    """A quantity against α at fixed τ, or against τ at fixed α.

    Theory as a line, free minimisation as points, the certified bracket as a bar.

    Args:
        table: cells of one shape.
        ax: axes to draw into.
        along: "alpha" or "temperature".
        quantity: one of `SHOWN`.
        curves: closed forms, of :func:`slice_table`; without them no line is drawn.
        fixed: values of the other hyper-parameter; by default those of :func:`slice_values`.

    Returns:
        The artists.

    Raises:
        PlotError: an unknown quantity or axis, or cells without α or τ.
    """
    if along not in ("alpha", "temperature") or quantity not in SHOWN:
        raise PlotError(
            f"slices run along alpha or temperature and show one of {', '.join(SHOWN)}; "
            f"got along={along!r}, quantity={quantity!r}."
        )
    require_columns(table, "alpha", "temperature")
    table = with_parts(table)
    other = "temperature" if along == "alpha" else "alpha"
    symbol = short(other).strip("$")
    ends = (f"{quantity}_lo", f"{quantity}_hi")
    bracketed = all(name in table.columns for name in ends)
    found = SliceArtists([], [], [])
    for place, value in enumerate(slice_values(table, along) if fixed is None else fixed):
        color, marker = COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)]
        rows = table.filter(pl.col(other) == value).sort(along)
        theory_rows = rows_of_panel(curves, table)
        if theory_rows is not None:
            line = theory_rows.filter(pl.col(other) == value).sort(along)
            found.curves.extend(ax.plot(line[along], line[quantity], color=color))
        label = f"${symbol}={value:.3g}$"
        if bracketed:
            low, high = (rows[name].to_numpy() for name in ends)
            bars = ax.vlines(rows[along], low, high, color=color, lw=3, alpha=0.45)
            bars.set_rasterized(True)  # most are thinner than a hair: no place in a vector file
            found.bars.append(np.stack([low, high], axis=1))
        found.points.extend(
            ax.plot(
                rows[along],
                rows[quantity],
                color=color,
                marker=marker,
                ls="",
                mfc="white",
                mew=0.9,
                label=label,
            )
        )
    if along == "temperature":
        ax.set_xscale("log")
        plain_log_ticks(ax)
    ax.set_xlabel(axis(along))
    ax.set_ylabel(axis(quantity))
    return found


def bracket_widths(
    table: pl.DataFrame, ax: Axes, along: str = "alpha", fixed: Sequence[float] | None = None
) -> list[Line2D]:
    """Widths of the certified brackets of δ² along slices, on a logarithmic axis.

    Args:
        table: cells of one shape, with columns delta2_lo and delta2_hi.
        ax: axes to draw into.
        along: "alpha" or "temperature".
        fixed: values of the other hyper-parameter; by default those of :func:`slice_values`.

    Returns:
        One line for each of `fixed`.
    """
    require_columns(table, "alpha", "temperature", "delta2_lo", "delta2_hi")
    other = "temperature" if along == "alpha" else "alpha"
    lines = []
    for place, value in enumerate(slice_values(table, along) if fixed is None else fixed):
        rows = table.filter(pl.col(other) == value).sort(along)
        lines += ax.plot(
            rows[along],
            rows["delta2_hi"] - rows["delta2_lo"],
            color=COLORS[place % len(COLORS)],
            marker=MARKERS[place % len(MARKERS)],
            mfc="white",
            mew=0.9,
            lw=0.7,
        )
    ax.set_yscale("log")
    if along == "temperature":
        ax.set_xscale("log")
        plain_log_ticks(ax)
    ax.set_xlabel(axis(along))
    ax.set_ylabel(f"bracket width, {short('delta2')}")
    return lines


@house_style()
def draw_slices(
    table: pl.DataFrame,
    quantities: Sequence[str] = ("delta2",),
    curves: dict[str, pl.DataFrame] | None = None,
) -> Figure:
    """Slices of every shape of a table: against α on the left, against τ on the right.

    Args:
        table: cells of :func:`ssem_jax.sweeps.sweep`.
        quantities: rows of panels for each shape, of `SHOWN`.
        curves: closed forms for each axis, {"alpha": …, "temperature": …} of :func:`slice_table`.

    Returns:
        The figure.

    Raises:
        PlotError: too many panels, an unknown quantity, or cells without α or τ.
    """
    head, known = said_of_all(table)
    parts = panels(table, known)
    along = axes_of(table)
    count = len(parts) * len(quantities)
    if count > MAX_ROWS:
        raise PlotError(
            f"slices of {len(parts)} shapes and {len(quantities)} quantities are {count} rows; a "
            f"figure shows at most {MAX_ROWS}. Filter the table, or let draw_run make pages."
        )
    held = {name: held_values(table, name) for name in along}
    fixed = {name: thinned(values) for name, values in held.items()}
    height = (0.95 if head else 0.7) + max(1.5 * count, 2.0)
    figure, axes = new_figure(
        count, len(along), height=height, width=WIDE, sharex="col", sharey="row"
    )
    for row, ax_row in enumerate(axes):
        title, part = parts[row // len(quantities)]
        quantity = quantities[row % len(quantities)]
        for name, ax in zip(along, ax_row, strict=True):
            slice_panel(part, ax, name, quantity, (curves or {}).get(name), fixed[name])
            ax.label_outer()
        _keep_rounding_small(ax_row[0], quantity)
        if len(parts) > 1:
            ax_row[0].set_title(title, loc="left")
    if head:
        figure.suptitle(head, fontsize=9)
    for place, name in enumerate(along):
        _legend_beside(figure, axes[:, place], name, len(fixed[name]), len(held[name]), place)
    return figure


def axes_of(table: pl.DataFrame) -> list[str]:
    """The hyper-parameters that slices of a table run along."""
    return [name for name in ("alpha", "temperature") if table[name].n_unique() > 1] or ["alpha"]


def _legend_beside(
    figure: Figure, column: np.ndarray, along: str, shown: int, held: int, place: int
) -> None:
    """What the curves of a column of panels are at, and how many of all slices they are."""
    entries: dict[str, Line2D] = {}
    for ax in column:  # a panel may lack some
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    slices = f"{shown} of {held} slices" if shown < held else "slices"
    where: Any = f"outside right {('upper', 'lower')[place]}"
    legend = figure.legend(
        list(entries.values()),
        list(entries),
        loc=where,
        title=f"along {short(along)}:\n{slices}",
        handletextpad=0.2,
        alignment="left",
    )
    legend.get_title().set_fontsize(8)


def _keep_rounding_small(ax: Axes, quantity: str) -> None:
    """Widen an axis over which a quantity hardly moves: what is left there is rounding."""
    low, high = ax.get_ylim()
    least = LEAST_SPAN * (max(1.0, abs(low), abs(high)) if quantity == "value" else 1.0)
    if high - low < least:
        middle = (low + high) / 2
        ax.set_ylim(middle - least / 2, middle + least / 2)
