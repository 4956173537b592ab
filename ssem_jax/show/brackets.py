"""Certified brackets along a coordinate, and one number for every cell."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssem_jax.show.style import (
    COLORS,
    HOLDS_COLOR,
    MARKERS,
    REFUTED_COLOR,
    REPORT_WIDTH,
    house_style,
    new_figure,
    plain_log_ticks,
)
from ssem_jax.sweeps.words import axis

LEAST_SPAN = 0.05
"""Least range of an axis of brackets, so that rounding does not look like a variation."""


class Rank(NamedTuple):
    """One number for every cell, to be shown in order.

    Attributes:
        values: (cells,)
        refuted: (cells,) whether the cell refutes the claim.
        label: of the axis.
        limit: where the dashed line is drawn.
        logarithmic: whether the axis is.
    """

    values: np.ndarray
    refuted: np.ndarray
    label: str
    limit: float | None
    logarithmic: bool


def ranked(rank: Rank, ax: Axes) -> None:
    """Numbers of all cells from the smallest to the largest, with their limit."""
    values = np.asarray(rank.values, float)
    if rank.logarithmic:  # exact zeros are drawn at the smallest number that is none
        values = np.maximum(values, values[values > 0].min(initial=1.0))
    order = np.argsort(values, kind="stable")
    place, refuted = np.arange(1, len(order) + 1), rank.refuted[order]
    # Coincident markers of thousands of cells would only make the file large.
    for chosen, color, marker in (
        (~refuted, HOLDS_COLOR, "o"),
        (refuted, REFUTED_COLOR, "X"),
    ):
        rows = np.flatnonzero(chosen)
        if len(rows) > 300:
            rows = np.unique(np.concatenate([rows[:40], rows[-40:], rows[:: len(rows) // 220]]))
        ax.plot(place[rows], values[order][rows], color=color, marker=marker, ms=2.5, ls="")
    if rank.limit is not None:
        ax.axhline(rank.limit, color="black", ls=(0, (4, 2)), lw=1)
    if rank.logarithmic:
        ax.set_yscale("log")
    else:
        ax.set_yscale("symlog", linthresh=1e-3)
        ax.yaxis.set_major_locator(ticker.SymmetricalLogLocator(base=10, linthresh=1e-3))
    ax.set_xlabel("cells, in order")
    ax.set_ylabel(rank.label)


def bracket_curves(
    table: pl.DataFrame, ax: Axes, x: str, curves: pl.DataFrame | None = None
) -> None:
    """Certified brackets as bars, with predictions as lines where there are any.

    Args:
        table: columns x, low, high and label, one label a curve.
        ax: axes to draw into.
        x: "alpha", "temperature" or a count; names the axis.
        curves: predictions: columns x, predicted and label. Without them a thin line joins bars.
    """
    for place, part in enumerate(table.partition_by("label", maintain_order=True)):
        color, marker = COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)]
        label = part["label"][0]
        style: dict[str, Any] = {"ls": "", "zorder": 3} if curves is not None else {"lw": 0.8}
        ax.vlines(part["x"], part["low"], part["high"], color=color, lw=3, alpha=0.45)
        ax.plot(
            part["x"],
            (part["low"] + part["high"]) / 2,
            color=color,
            marker=marker,
            mfc="white",
            mew=0.9,
            label=label,
            **style,
        )
        if curves is not None:
            line = curves.filter(pl.col("label") == label)
            ax.plot(line["x"], line["predicted"], color=color, lw=1.1)
    if x == "temperature":
        ax.set_xscale("log")
        plain_log_ticks(ax)
    elif x.startswith("num_"):
        ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    low, high = ax.get_ylim()
    if high - low < LEAST_SPAN:
        ax.set_ylim((low + high - LEAST_SPAN) / 2, (low + high + LEAST_SPAN) / 2)
    ax.ticklabel_format(axis="y", useOffset=False)
    ax.set_xlabel(axis(x))


def draw_brackets(
    table: pl.DataFrame,
    x: str,
    y_label: str,
    rank: Rank,
    curves: pl.DataFrame | None = None,
    title: str = "",
) -> Figure:
    """Brackets along a coordinate on the left, one number for every cell on the right.

    Args:
        table: of :func:`bracket_curves`.
        x: the coordinate.
        y_label: the bracketed quantity.
        rank: numbers of all cells.
        curves: predictions.
        title: what the curves have in common.

    Returns:
        The figure.
    """
    with house_style():
        figure, axes = new_figure(1, 2, height=3.0, width=REPORT_WIDTH, width_ratios=(1.25, 1))
        left, right = axes[0]
        bracket_curves(table, left, x, curves)
        ranked(rank, right)
        left.set_ylabel(y_label)
        figure.legend(
            *left.get_legend_handles_labels(), loc="outside upper center", ncols=3, title=title
        )
        return figure


def draw_ranks(rank: Rank) -> Figure:
    """One number for every cell, in order."""
    with house_style():
        figure, axes = new_figure(height=2.6, width=0.6 * REPORT_WIDTH)
        ranked(rank, axes[0, 0])
        return figure
