"""Maps over (τ, α): phase diagrams and certified gaps."""

from __future__ import annotations

from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection, QuadMesh
from matplotlib.colors import LogNorm, PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from ssem_jax.certificate.certificate import GAP_TOLERANCE
from ssem_jax.show.style import (
    COLORS,
    COLUMN_WIDTH,
    VARIANCE_TICKS,
    color_bar,
    house_style,
    new_figure,
    panel_layout,
    plain_log_ticks,
)
from ssem_jax.show.tables import cell_edges, counts_of, panels, require_columns, rows_of_panel
from ssem_jax.sweeps.words import ALPHA, TAU, axis, short

LEAST_GAP = 1e-16
"""Gaps are drawn no smaller than this."""


class CellGrid(NamedTuple):
    """A panel as a matrix: rows are values of α, columns of τ."""

    alpha_edges: np.ndarray
    tau_edges: np.ndarray
    row: np.ndarray
    column: np.ndarray

    def matrix(self, values: Any) -> np.ma.MaskedArray:
        filled = np.full((len(self.alpha_edges) - 1, len(self.tau_edges) - 1), np.nan)
        filled[self.row, self.column] = np.asarray(values, float)
        return np.ma.masked_invalid(filled)

    def rectangles(self, chosen: np.ndarray) -> list[Rectangle]:
        places = zip(self.row[chosen].tolist(), self.column[chosen].tolist(), strict=True)
        alpha, tau = self.alpha_edges.tolist(), self.tau_edges.tolist()
        return [
            Rectangle(
                (tau[column], alpha[row]),
                tau[column + 1] - tau[column],
                alpha[row + 1] - alpha[row],
            )
            for row, column in places
        ]


def cell_grid(table: pl.DataFrame) -> CellGrid:
    require_columns(table, "alpha", "temperature")
    alphas, taus = (np.unique(table[name].to_numpy()) for name in ("alpha", "temperature"))
    return CellGrid(
        np.clip(cell_edges(alphas), 0, 1),
        cell_edges(taus, logarithmic=True),
        np.searchsorted(alphas, table["alpha"].to_numpy()),
        np.searchsorted(taus, table["temperature"].to_numpy()),
    )


class PhaseArtists(NamedTuple):
    """What a phase diagram is made of.

    Attributes:
        delta2: the heat map of δ².
        view_variance: the heat map of v over it, or None where no cell is in view-spread.
        undecided: hatched rectangles, one for each undecided cell.
        boundaries: the lines α_c and α_v, as far as there are.
        marginal: the lines α = 1/n and τ = 1/log m.
    """

    delta2: QuadMesh
    view_variance: QuadMesh | None
    undecided: PatchCollection
    boundaries: list[Line2D]
    marginal: list[Line2D]


def phase_diagram(
    table: pl.DataFrame, ax: Axes, boundary: pl.DataFrame | None = None
) -> PhaseArtists:
    """δ² of certified cells over (τ, α), with the closed-form boundaries drawn over it.

    Args:
        table: cells of one shape, with columns alpha, temperature, delta2, phase and for the
            view-spread phase view_variance.
        ax: axes to draw into.
        boundary: of :func:`boundary_table`; without it no line is drawn.

    Returns:
        The artists.

    Raises:
        PlotError: cells without α or τ.
    """
    grid, norm = cell_grid(table), PowerNorm(0.5, 0, 1)
    mesh = ax.pcolormesh(
        grid.tau_edges,
        grid.alpha_edges,
        grid.matrix(table["delta2"]),
        cmap=_with_grey_gaps("Blues"),
        norm=norm,
        rasterized=True,
    )
    views = None
    parted = table["phase"].to_numpy() == "view_spread"
    if parted.any():
        values = np.where(parted, table["view_variance"].to_numpy(), np.nan)
        views = ax.pcolormesh(
            grid.tau_edges,
            grid.alpha_edges,
            grid.matrix(values),
            cmap="Oranges",
            norm=norm,
            rasterized=True,
        )
    unsure = table["phase"].to_numpy() == "undecided"
    undecided = PatchCollection(
        grid.rectangles(unsure), hatch="//////", facecolor="none", edgecolor="0.25", lw=0
    )
    ax.add_collection(undecided, autolim=False)

    lines, marginal = [], []
    rows = rows_of_panel(boundary, table)
    if rows is not None:
        names: list[tuple[str, Any]] = [("alpha_c", "-")]
        if rows["alpha_v"].null_count() < len(rows):
            names.append(("alpha_v", (0, (4, 1.5))))
        for name, dashes in names:
            ax.plot(rows["temperature"], rows[name], color="white", lw=2.8)
            lines += ax.plot(rows["temperature"], rows[name], color="black", ls=dashes, lw=1.3)
        m, n, _, _ = counts_of(table)
        dotted = {"color": COLORS[1], "lw": 1.1, "ls": (0, (1, 1.2))}
        marginal = [ax.axhline(1 / n, **dotted), ax.axvline(1 / np.log(m), **dotted)]
    _map_axes(ax, grid)
    return PhaseArtists(mesh, views, undecided, lines, marginal)


class GapArtists(NamedTuple):
    """What a gap map is made of.

    Attributes:
        gap: the heat map of the certified gap, log scale.
        uncertified: outlined rectangles, one for each cell above `GAP_TOLERANCE`.
        boundaries: the lines α_c and α_v, as far as there are.
    """

    gap: QuadMesh
    uncertified: PatchCollection
    boundaries: list[Line2D]


def gap_map(table: pl.DataFrame, ax: Axes, boundary: pl.DataFrame | None = None) -> GapArtists:
    """The certified gap of every cell over (τ, α); cells above the tolerance are outlined.

    Args:
        table: cells of one shape, with columns alpha, temperature and gap.
        ax: axes to draw into.
        boundary: of :func:`boundary_table`; without it no line is drawn.

    Returns:
        The artists.

    Raises:
        PlotError: cells without α or τ.
    """
    grid = cell_grid(table)
    gaps = np.maximum(table["gap"].to_numpy().astype(float), LEAST_GAP)
    mesh = ax.pcolormesh(
        grid.tau_edges,
        grid.alpha_edges,
        grid.matrix(gaps),
        cmap=_with_grey_gaps("viridis"),
        norm=LogNorm(1e-15, GAP_TOLERANCE),
        rasterized=True,
    )
    bad = gaps > GAP_TOLERANCE
    uncertified = PatchCollection(
        grid.rectangles(bad), facecolor=COLORS[1], edgecolor="black", lw=0.4
    )
    ax.add_collection(uncertified, autolim=False)
    lines = []
    rows = rows_of_panel(boundary, table)
    if rows is not None:
        for name, dashes in (("alpha_c", "-"), ("alpha_v", (0, (4, 1.5)))):
            if rows[name].null_count() < len(rows):
                lines += ax.plot(rows["temperature"], rows[name], color="white", ls=dashes, lw=1.1)
    _map_axes(ax, grid)
    return GapArtists(mesh, uncertified, lines)


def _with_grey_gaps(name: str) -> Any:
    """A colour map that shows missing cells in grey."""
    return mpl.colormaps[name].with_extremes(bad="0.8")


def _map_axes(ax: Axes, grid: CellGrid) -> None:
    ax.set_xscale("log")
    ax.set_xlim(grid.tau_edges[0], grid.tau_edges[-1])
    ax.set_ylim(grid.alpha_edges[0], grid.alpha_edges[-1])
    plain_log_ticks(ax)


def phase_legend(figure: Figure, marginal: bool = True, excluded: bool = False) -> None:
    """The key of a phase diagram, below its panels."""
    entries: list[Any] = [Line2D([], [], color="black", lw=1.3, label=f"theory {short('alpha_c')}")]
    if excluded:
        entries.append(
            Line2D([], [], color="black", ls=(0, (4, 1.5)), label=f"theory {short('alpha_v')}")
        )
    if marginal:
        entries.append(
            Line2D(
                [],
                [],
                color=COLORS[1],
                ls=(0, (1, 1.2)),
                label=r"$1/n$, $1/\log m$",
            )
        )
    entries.append(
        Patch(facecolor="none", edgecolor="0.25", hatch="//////", lw=0, label="undecided")
    )
    figure.legend(
        handles=entries, loc="outside upper center", ncols=len(entries), columnspacing=1.2
    )


@house_style()
def draw_phases(
    table: pl.DataFrame, boundary: pl.DataFrame | None = None, columns: int | None = None
) -> Figure:
    """A phase diagram for every shape of a table, with colour bars and a key.

    Args:
        table: cells of :func:`ssem_jax.sweeps.sweep`.
        boundary: of :func:`boundary_table`.
        columns: of panels.

    Returns:
        The figure.

    Raises:
        PlotError: too many shapes, or cells without α or τ.
    """
    parts = panels(table)
    rows, columns = panel_layout(len(parts), columns)
    figure, axes = _map_figure(rows, columns, extra=1.05)
    drawn = [
        phase_diagram(part, ax, boundary) for (_, part), ax in zip(parts, axes.flat, strict=False)
    ]
    _finish_maps(figure, axes, parts)
    color_bar(figure, drawn[0].delta2, axes, axis("delta2"), ticks=VARIANCE_TICKS)
    views = [artists.view_variance for artists in drawn if artists.view_variance is not None]
    if views:
        color_bar(figure, views[0], axes, axis("view_variance"), ticks=VARIANCE_TICKS)
    phase_legend(figure, boundary is not None and not boundary.is_empty(), bool(views))
    return figure


@house_style()
def draw_gaps(
    table: pl.DataFrame, boundary: pl.DataFrame | None = None, columns: int | None = None
) -> Figure:
    """A gap map for every shape of a table; the arguments are those of :func:`draw_phases`."""
    parts = panels(table)
    rows, columns = panel_layout(len(parts), columns)
    figure, axes = _map_figure(rows, columns, extra=0.6)
    drawn = [gap_map(part, ax, boundary) for (_, part), ax in zip(parts, axes.flat, strict=False)]
    _finish_maps(figure, axes, parts)
    color_bar(figure, drawn[0].gap, axes, "certified gap (nats)", extend="both")
    return figure


def _map_figure(rows: int, columns: int, extra: float) -> tuple[Figure, np.ndarray]:
    width = COLUMN_WIDTH if columns > 1 else 0.75 * COLUMN_WIDTH
    height = extra + rows * {1: 2.6, 2: 1.75}.get(columns, 1.45)
    return new_figure(rows, columns, height=height, width=width, sharex=True, sharey=True)


def _finish_maps(figure: Figure, axes: np.ndarray, parts: list[tuple[str, pl.DataFrame]]) -> None:
    for place, ax in enumerate(axes.flat):
        if place < len(parts):
            ax.set_title(parts[place][0], pad=3)
        else:
            ax.set_visible(False)
    figure.supxlabel(TAU, fontsize=9)
    figure.supylabel(ALPHA, fontsize=9)
