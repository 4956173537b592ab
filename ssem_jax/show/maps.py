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
    even_columns,
    house_style,
    new_figure,
    panel_layout,
    plain_log_ticks,
)
from ssem_jax.show.tables import (
    cell_edges,
    conventions,
    counts_of,
    panels,
    require_columns,
    rows_of_panel,
    said_of_all,
)
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


def phase_legend(
    figure: Figure, theory: bool = True, excluded: bool = False, title: str = ""
) -> None:
    """The key of a phase diagram, over its panels: with the lines of theory where it has some."""
    entries: list[Any] = []
    if theory:
        entries.append(Line2D([], [], color="black", lw=1.3, label=f"theory {short('alpha_c')}"))
    if theory and excluded:
        entries.append(
            Line2D([], [], color="black", ls=(0, (4, 1.5)), label=f"theory {short('alpha_v')}")
        )
    if theory:
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
        handles=entries,
        loc="outside upper center",
        ncols=len(entries),
        columnspacing=1.2,
        title=title or None,
        title_fontsize=9,
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
    figure, places, head = _map_figure(table, columns, extra=1.05)
    drawn = [phase_diagram(part, ax, boundary) for part, ax in places]
    views = [artists.view_variance for artists in drawn if artists.view_variance is not None]
    variance_bars(figure, drawn[0].delta2, views[0] if views else None, figure.axes)
    with_theory = boundary is not None and not boundary.is_empty()
    phase_legend(figure, with_theory, bool(views), head)
    return figure


def variance_bars(figure: Figure, delta2: Any, views: Any, axes: Any) -> None:
    """The colour bar of δ², and beside it, with the same ticks, that of v where views part."""
    axes = list(np.ravel(axes))
    if views is None:
        color_bar(figure, delta2, axes, axis("delta2"), ticks=VARIANCE_TICKS)
        return
    # What comes first stands outside.
    words = f"{short('delta2')} (blue), {short('view_variance')} (orange), sq. length"
    color_bar(figure, views, axes, words, ticks=VARIANCE_TICKS, pad=0.0)
    bar = color_bar(figure, delta2, axes, "", ticks=VARIANCE_TICKS)
    bar.ax.tick_params(labelright=False)


@house_style()
def draw_gaps(
    table: pl.DataFrame, boundary: pl.DataFrame | None = None, columns: int | None = None
) -> Figure:
    """A gap map for every shape of a table; the arguments are those of :func:`draw_phases`."""
    figure, places, head = _map_figure(table, columns, extra=0.6)
    drawn = [gap_map(part, ax, boundary) for part, ax in places]
    color_bar(figure, drawn[0].gap, figure.axes, "certified gap (nats)", extend="both")
    figure.suptitle(head, fontsize=9)
    return figure


def _map_figure(
    table: pl.DataFrame, columns: int | None, extra: float
) -> tuple[Figure, list[tuple[pl.DataFrame, Axes]], str]:
    """A figure with a panel for every shape, which cells go where, and what is said of all.

    Each kind of pairs (i, i) begins a row of its own, named beside it; titles carry what varies.
    """
    head, known = said_of_all(table)
    blocks = conventions(table)
    if len(blocks) > 1:
        known.add("self_pairs")
    parts = panels(table, known)
    sizes = [len(panels(block)) for block in blocks]
    _, columns = panel_layout(len(parts), columns or even_columns(sizes))
    rows = [-(-size // columns) for size in sizes]
    width = {1: 0.75 * COLUMN_WIDTH, 2: COLUMN_WIDTH, 3: COLUMN_WIDTH}.get(columns, WIDE)
    height = extra + sum(rows) * {1: 2.6, 2: 1.75}.get(columns, 1.45) + (0.25 if head else 0)
    figure, axes = new_figure(
        sum(rows), columns, height=height, width=width, sharex=True, sharey=True
    )
    free = {(row, column) for row in range(sum(rows)) for column in range(columns)}
    places = []
    for block, first in zip(blocks, np.cumsum([0, *rows]).tolist(), strict=False):
        name = block["self_pairs"][0] if len(blocks) > 1 else ""
        own = [part for part in parts if not name or part[1]["self_pairs"][0] == name]
        for number, (title, part) in enumerate(own):
            place = (first + number // columns, number % columns)
            free.discard(place)
            ax = axes[place]
            ax.set_title(title, pad=3)
            places.append((part, ax))
            if name and place[1] == 0:
                ax.set_ylabel(f"self pairs: {name}", fontsize=8)
    for row, column in free:
        axes[row, column].remove()
        if (row - 1, column) not in free and row:
            axes[row - 1, column].tick_params(labelbottom=True)
    figure.supxlabel(TAU, fontsize=9)
    figure.supylabel(ALPHA, fontsize=9)
    return figure, places, head


WIDE = 7.2
"""Width in inches of a figure of four columns."""
