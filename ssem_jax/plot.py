r"""Figures of finished results: phase diagrams, slices, gap maps, Gram matrices, spheres.

The only module that imports matplotlib. Functions take a table (of :func:`ssem_jax.sweep.sweep`, or
one with the columns that a function names) and an `ax`, and return the artists that carry the
numbers. Nothing is solved here; the closed forms that are drawn over certified cells come as
tables too (:func:`boundary_table`, :func:`slice_table`), so that files suffice to redraw a figure.

Colours print in grey and are told apart by colour-blind readers: variance of instance means in
blues, variance of views in oranges, collapse in white, gaps in viridis, categories in the palette
of Okabe and Ito, each with a marker of its own.

>>> import ssem_jax as sx
>>> from ssem_jax import plot
>>> table, _ = sx.read_run("runs/mine")
>>> plot.draw_run(table, "phase", "phase.pdf")
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib import ticker
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection, QuadMesh
from matplotlib.colors import LogNorm, Normalize, PowerNorm, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from ssem_jax import theory
from ssem_jax.certificate import GAP_TOLERANCE
from ssem_jax.guide import Guide, UnbalancedGuide
from ssem_jax.problem import ClassStructure

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""The palette of Okabe and Ito (2008), the darker ones first."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""One marker for each colour, so that no distinction rests on colour alone."""
FORMATS = (".png", ".svg", ".pdf")
"""Formats that a figure can be saved in."""
KINDS = ("phase", "gap", "slices")
"""What `draw_run` can draw."""
COLUMN_WIDTH = 5.2
"""Width of a figure in inches; its 9 point type is still 6 points in a column of 3.4 inches."""
LEAST_GAP = 1e-16
"""Gaps are drawn no smaller than this."""
BOUNDARY_POINTS = 161
"""Temperatures at which a boundary or a theory curve is drawn."""
VARIANCE_TICKS = (0, 0.05, 0.2, 0.4, 0.6, 0.8, 1)
"""Of the colour bars of variances, whose shade grows as δ and not as δ²: phases stay visible."""
MAX_PANELS = 24
"""Panels that a figure of a run may have and stay legible."""
MAX_CURVES = 4
"""Slices drawn into one panel at most; a larger grid is thinned evenly."""

ALPHA = r"mixing coefficient $\alpha$"
TAU = r"temperature $\tau$"
LABELS = {
    "delta2": r"$\delta^2$ (sq. length)",
    "view_variance": r"$v$ (sq. length)",
    "within_variance": r"$V_{\mathrm{within}}$ (sq. length)",
    "between_variance": r"$V_{\mathrm{between}}$ (sq. length)",
    "value": r"loss $L$ (nats)",
}
"""Quantities that slices can show, with symbol and unit."""

_STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "hatch.linewidth": 0.6,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
    "svg.hashsalt": "ssem-jax",
    "pdf.fonttype": 42,
}


class PlotError(ValueError):
    """A table that cannot be drawn this way, or a file that cannot be written."""


# ---------------------------------------------------------------------------------------------
# Figures and files.
# ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The style of all figures, for the duration of a `with` block; no global state changes."""
    with mpl.rc_context(_STYLE):
        yield


def new_figure(
    rows: int = 1,
    columns: int = 1,
    height: float = 3.2,
    width: float = COLUMN_WIDTH,
    **options: Any,
) -> tuple[Figure, np.ndarray]:
    """A figure in the house style, without pyplot.

    Args:
        rows: of panels.
        columns: of panels.
        height: in inches.
        width: in inches.
        **options: for `Figure.subplots`.

    Returns:
        The figure and a (rows, columns) array of axes.
    """
    with style():
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=False, **options)


def save(
    figure: Figure | FuncAnimation, path: str | os.PathLike[str], frame_rate: int = 12
) -> Path:
    """Write a figure as PNG, SVG or PDF, or an animation as GIF; the suffix decides.

    The same figure gives the same bytes: no date is written.

    Args:
        figure: a figure, or an animation.
        path: file to write; missing folders are made.
        frame_rate: frames per second of an animation.

    Returns:
        The path.

    Raises:
        PlotError: another suffix, or a place that cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    allowed = (".gif",) if isinstance(figure, FuncAnimation) else FORMATS
    if suffix not in allowed:
        raise PlotError(f"a figure is saved as {', '.join(allowed)}; got {path.name!r}.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with style():
            if isinstance(figure, FuncAnimation):
                with mpl.rc_context({"savefig.dpi": "figure"}):
                    figure.save(path, writer=PillowWriter(fps=frame_rate))
            else:
                # Without a date, the same numbers give the same file.
                metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix)
                figure.savefig(path, metadata=metadata)
    except OSError as error:
        raise PlotError(f"cannot write {path}: {error.strerror}; choose another file.") from error
    return path


# ---------------------------------------------------------------------------------------------
# Tables: one shape each, and the closed forms that go with them.
# ---------------------------------------------------------------------------------------------

SHAPE = ("sizes", "num_views", "dim", "loss", "loss_code", "self_pairs", "mean")
"""Columns that tell the panels of a run apart; those that are missing count as equal."""


def panels(table: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """The table split by shape and convention, each with a title that tells it from the others."""
    keys = [name for name in SHAPE if name in table.columns]
    several = {name for name in keys if table[name].n_unique() > 1}
    if {"sizes", "num_views", "dim"} <= set(keys):
        shapes = table.select("sizes", "num_views", "dim").unique()
        if len(shapes) == len(shapes.unique(["sizes", "num_views"])):
            several.discard("dim")  # it follows from the structure, and need not be said
    return [
        (_title(part.row(0, named=True), several), part)
        for part in (
            table.partition_by(keys, maintain_order=True, include_key=True) if keys else [table]
        )
    ]


def _title(row: dict[str, Any], several: set[str]) -> str:
    if row.get("num_instances") is not None:
        words = [f"$m={row['num_classes']}$", f"$n={row['num_instances']}$"]
    else:
        words = [f"sizes {row['sizes']}"]
    if row.get("num_views", 1) > 1 or "num_views" in several:
        words.append(f"$p={row['num_views']}$")
    if "dim" in several:
        words.append(f"$d={row['dim']}$")
    words += [str(row[name]) for name in ("loss", "self_pairs", "mean") if name in several]
    return ", ".join(words)


def _has_theory(table: pl.DataFrame) -> bool:
    """Whether the closed forms of balanced classes are about these cells."""
    first = table.row(0, named=True)
    balanced = first.get("num_instances") is not None and first.get("self_pairs") is not None
    return balanced and first.get("loss", "SupCL") == "SupCL"


def _counts(table: pl.DataFrame) -> tuple[int, int, int, str]:
    row = table.row(0, named=True)
    return row["num_classes"], row["num_instances"], row["num_views"], row["self_pairs"]


def boundary_table(table: pl.DataFrame) -> pl.DataFrame:
    """The closed-form boundaries of every panel of a table, over its range of temperatures.

    Returns:
        num_classes, num_instances, num_views, self_pairs, temperature, alpha_c and alpha_v (null
        where views never part); empty for classes of different size and other losses.
    """
    rows = []
    for _, part in panels(table):
        if not _has_theory(part):
            continue
        m, n, p, self_pairs = _counts(part)
        edges = cell_edges(part["temperature"].unique().to_numpy(), logarithmic=True)
        tau = np.geomspace(edges[0], edges[-1], BOUNDARY_POINTS)
        alpha_v = np.asarray(theory.alpha_v(m, n, p, tau, self_pairs))
        rows.append(
            pl.DataFrame(
                {
                    "num_classes": m,
                    "num_instances": n,
                    "num_views": p,
                    "self_pairs": self_pairs,
                    "temperature": tau,
                    "alpha_c": np.asarray(theory.alpha_c(m, n, p, tau, self_pairs)),
                    "alpha_v": np.where(alpha_v > 0, alpha_v, np.nan),
                }
            ).with_columns(pl.col("alpha_v").fill_nan(None))
        )
    return pl.concat(rows).unique(maintain_order=True) if rows else pl.DataFrame()


def _matching(closed_form: pl.DataFrame | None, part: pl.DataFrame) -> pl.DataFrame | None:
    """The rows of a table of closed forms that belong to a panel, or None where there are none."""
    if closed_form is None or closed_form.is_empty() or not _has_theory(part):
        return None
    m, n, p, self_pairs = _counts(part)
    rows = closed_form.filter(num_classes=m, num_instances=n, num_views=p, self_pairs=self_pairs)
    return None if rows.is_empty() else rows


def slice_table(
    table: pl.DataFrame, along: str, fixed: Sequence[float] | None = None
) -> pl.DataFrame:
    """The closed-form curves that belong to slices of a table.

    Args:
        table: cells of balanced classes.
        along: "alpha" or "temperature", the axis of the slices.
        fixed: values of the other one; by default those that :func:`slice_values` picks.

    Returns:
        num_classes, num_instances, num_views, self_pairs, alpha, temperature, delta2,
        view_variance, within_variance, between_variance and value; empty without closed forms.
    """
    rows = []
    for _, part in panels(table):
        if not _has_theory(part):
            continue
        m, n, p, self_pairs = _counts(part)
        present = part[along].to_numpy()
        low, high = float(present.min()), float(present.max())
        spaced = np.linspace if along == "alpha" else np.geomspace
        x = spaced(low, high, BOUNDARY_POINTS)
        for value in slice_values(part, along) if fixed is None else fixed:
            alpha, tau = (x, value) if along == "alpha" else (value, x)
            cell = (m, n, p, alpha, tau, self_pairs)
            variances = theory.variances(*cell)
            columns = {
                "alpha": alpha,
                "temperature": tau,
                "delta2": theory.delta2(*cell),
                "view_variance": variances.view,
                "within_variance": variances.within,
                "between_variance": variances.between,
                "value": theory.loss(*cell),
            }
            whole = {
                name: np.broadcast_to(np.asarray(column, float), x.shape)
                for name, column in columns.items()
            }
            head = {"num_classes": m, "num_instances": n, "num_views": p, "self_pairs": self_pairs}
            rows.append(pl.DataFrame(head | whole))
    return pl.concat(rows) if rows else pl.DataFrame()


def slice_values(table: pl.DataFrame, along: str) -> list[float]:
    """The values of the other hyper-parameter whose slices are drawn, at most `MAX_CURVES`."""
    other = "temperature" if along == "alpha" else "alpha"
    values = table[other].unique().sort().to_list()
    if len(values) <= MAX_CURVES:
        return values
    # Evenly through the inside of the range: the ends are the dull ones.
    places = np.unique(np.linspace(0, len(values) - 1, MAX_CURVES + 2)[1:-1].round().astype(int))
    return [values[place] for place in places]


# ---------------------------------------------------------------------------------------------
# Maps over (τ, α).
# ---------------------------------------------------------------------------------------------


def cell_edges(values: np.ndarray, logarithmic: bool = False) -> np.ndarray:
    """Edges halfway between sorted values, and as far beyond the ends."""
    x = np.sort(np.asarray(values, float))
    x = np.log(x) if logarithmic else x
    if len(x) == 1:
        edges = x[0] + np.array([-0.05, 0.05])
    else:
        middle = (x[1:] + x[:-1]) / 2
        edges = np.concatenate([[2 * x[0] - middle[0]], middle, [2 * x[-1] - middle[-1]]])
    return np.exp(edges) if logarithmic else edges


class _Grid(NamedTuple):
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


def _grid(table: pl.DataFrame) -> _Grid:
    _require(table, "alpha", "temperature")
    alphas, taus = (np.unique(table[name].to_numpy()) for name in ("alpha", "temperature"))
    return _Grid(
        np.clip(cell_edges(alphas), 0, 1),
        cell_edges(taus, logarithmic=True),
        np.searchsorted(alphas, table["alpha"].to_numpy()),
        np.searchsorted(taus, table["temperature"].to_numpy()),
    )


def _require(table: pl.DataFrame, *columns: str) -> None:
    for name in columns:
        if name not in table.columns or table[name].null_count():
            raise PlotError(
                f"this figure needs a value of {name} in every cell; "
                "draw a run whose loss has that hyper-parameter."
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
    grid, norm = _grid(table), PowerNorm(0.5, 0, 1)
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
    rows = _matching(boundary, table)
    if rows is not None:
        names: list[tuple[str, Any]] = [("alpha_c", "-")]
        if rows["alpha_v"].null_count() < len(rows):
            names.append(("alpha_v", (0, (4, 1.5))))
        for name, dashes in names:
            ax.plot(rows["temperature"], rows[name], color="white", lw=2.8)
            lines += ax.plot(rows["temperature"], rows[name], color="black", ls=dashes, lw=1.3)
        m, n, _, _ = _counts(table)
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
    grid = _grid(table)
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
    rows = _matching(boundary, table)
    if rows is not None:
        for name, dashes in (("alpha_c", "-"), ("alpha_v", (0, (4, 1.5)))):
            if rows[name].null_count() < len(rows):
                lines += ax.plot(rows["temperature"], rows[name], color="white", ls=dashes, lw=1.1)
    _map_axes(ax, grid)
    return GapArtists(mesh, uncertified, lines)


def _with_grey_gaps(name: str) -> Any:
    """A colour map that shows missing cells in grey."""
    return mpl.colormaps[name].with_extremes(bad="0.8")


def _map_axes(ax: Axes, grid: _Grid) -> None:
    ax.set_xscale("log")
    ax.set_xlim(grid.tau_edges[0], grid.tau_edges[-1])
    ax.set_ylim(grid.alpha_edges[0], grid.alpha_edges[-1])
    plain_log_ticks(ax)


def plain_log_ticks(ax: Axes, candidates: Sequence[float] = (0.05, 0.1, 0.2, 0.5, 1, 2, 5)) -> None:
    """Decimal tick labels on a logarithmic τ axis: at most four of `candidates`."""
    low, high = ax.get_xlim()
    inside = [tick for tick in candidates if low <= tick <= high]
    step = -(-len(inside) // 4) or 1
    if len(inside) >= 2:
        ax.set_xticks(inside[::step], [f"{tick:g}" for tick in inside[::step]])
        ax.xaxis.set_minor_locator(ticker.FixedLocator([t for t in candidates if low <= t <= high]))
    else:
        ax.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    ax.xaxis.set_minor_formatter(ticker.NullFormatter())


def phase_legend(figure: Figure, marginal: bool = True, excluded: bool = False) -> None:
    """The key of a phase diagram, below its panels."""
    entries: list[Any] = [Line2D([], [], color="black", lw=1.3, label=r"theory $\alpha_c(\tau)$")]
    if excluded:
        entries.append(
            Line2D([], [], color="black", ls=(0, (4, 1.5)), label=r"theory $\alpha_v(\tau)$")
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


# ---------------------------------------------------------------------------------------------
# Slices.
# ---------------------------------------------------------------------------------------------


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


def with_parts(table: pl.DataFrame) -> pl.DataFrame:
    """The table with what the brackets say of within- and between-class variance and the loss.

    Adds within_variance = δ² + v, and the columns <quantity>_lo and <quantity>_hi of
    within_variance, between_variance (1 - mean_squared - within) and value.
    """
    if "within_variance" in table.columns:
        return table
    table = table.with_columns(
        within_variance=pl.col("delta2") + pl.col("view_variance"),
        within_variance_lo=pl.col("delta2_lo") + pl.col("view_variance_lo"),
        within_variance_hi=pl.col("delta2_hi") + pl.col("view_variance_hi"),
        value_lo=pl.col("lower"),
        value_hi=pl.col("value"),
    )
    return table.with_columns(
        between_variance_lo=(1 - pl.col("mean_squared_hi") - pl.col("within_variance_hi")).clip(0),
        between_variance_hi=(1 - pl.col("mean_squared_lo") - pl.col("within_variance_lo")).clip(
            None, 1
        ),
    )


def slices(
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
        quantity: one of `LABELS`.
        curves: closed forms, of :func:`slice_table`; without them no line is drawn.
        fixed: values of the other hyper-parameter; by default those of :func:`slice_values`.

    Returns:
        The artists.

    Raises:
        PlotError: an unknown quantity or axis, or cells without α or τ.
    """
    if along not in ("alpha", "temperature") or quantity not in LABELS:
        raise PlotError(
            f"slices run along alpha or temperature and show one of {', '.join(LABELS)}; "
            f"got along={along!r}, quantity={quantity!r}."
        )
    _require(table, "alpha", "temperature")
    table = with_parts(table)
    other, symbol = ("temperature", r"\tau") if along == "alpha" else ("alpha", r"\alpha")
    ends = (f"{quantity}_lo", f"{quantity}_hi")
    bracketed = all(name in table.columns for name in ends)
    found = SliceArtists([], [], [])
    for place, value in enumerate(slice_values(table, along) if fixed is None else fixed):
        color, marker = COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)]
        rows = table.filter(pl.col(other) == value).sort(along)
        theory_rows = _matching(curves, table)
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
    ax.set_xlabel(ALPHA if along == "alpha" else TAU)
    ax.set_ylabel(LABELS[quantity])
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
    _require(table, "alpha", "temperature", "delta2_lo", "delta2_hi")
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
    ax.set_xlabel(ALPHA if along == "alpha" else TAU)
    ax.set_ylabel(r"bracket width, $\delta^2$")
    return lines


# ---------------------------------------------------------------------------------------------
# Matrices, spheres and lines.
# ---------------------------------------------------------------------------------------------


def gram(matrix: np.ndarray, ax: Axes, structure: ClassStructure | None = None) -> Any:
    """A matrix of similarities as a heat map, from -1 (brown) over 0 (white) to 1 (purple).

    Args:
        matrix: (N, N), or (m, m) similarities of class means.
        ax: axes to draw into.
        structure: draws lines between classes.

    Returns:
        The image.
    """
    image = ax.imshow(matrix, cmap="PuOr", norm=Normalize(-1, 1), interpolation="nearest")
    image.set_rasterized(True)
    if structure is not None:
        ends = np.cumsum(np.asarray(structure.sizes) * structure.num_views)[:-1] - 0.5
        for end in ends:
            ax.axhline(end, color="black", lw=0.6)
            ax.axvline(end, color="black", lw=0.6)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(True)
    return image


def write_numbers(matrix: np.ndarray, ax: Axes, digits: int = 2) -> list[Any]:
    """The entries of a small matrix, written into its heat map."""
    return [
        ax.text(
            column,
            row,
            f"{entry:.{digits}f}".replace("-", "−").replace("0.", ".").removesuffix(".00"),
            ha="center",
            va="center",
            fontsize=7.5,
            color="white" if abs(entry) > 0.6 else "black",
        )
        for (row, column), entry in np.ndenumerate(np.asarray(matrix))
    ]


def sphere(points: np.ndarray, ax: Any, class_ids: Sequence[int]) -> list[Any]:
    """Embeddings in d = 3 on the unit sphere, a colour and a marker for each class.

    Args:
        points: (N, 3).
        ax: axes with the 3d projection.
        class_ids: (N,).

    Returns:
        One scatter for each class.
    """
    turn, rise = np.mgrid[0 : 2 * np.pi : 25j, 0 : np.pi : 13j]
    ball = np.cos(turn) * np.sin(rise), np.sin(turn) * np.sin(rise), np.cos(rise)
    ax.plot_wireframe(*ball, color="0.8", lw=0.3)
    scatters = []
    ids = np.asarray(class_ids)
    for number in np.unique(ids):
        chosen = points[ids == number]
        color = COLORS[number % len(COLORS)]
        for point in chosen:
            ax.plot(*np.stack([np.zeros(3), point], axis=1), color=color, lw=0.7, alpha=0.7)
        scatters.append(
            ax.scatter(
                *chosen.T,
                color=color,
                marker=MARKERS[number % len(MARKERS)],
                s=26,
                edgecolor="white",
                linewidth=0.4,
                depthshade=True,
            )
        )
    ax.set_axis_off()
    ax.set_box_aspect((1, 1, 1), zoom=1.22)
    ax.set_xlim(-0.8, 0.8)
    ax.set_ylim(-0.8, 0.8)
    ax.set_zlim(-0.8, 0.8)
    return scatters


def series(
    table: pl.DataFrame,
    ax: Axes,
    x: str,
    y: str,
    by: str | None = None,
    label: Callable[[Any], str] = str,
    first: int = 0,
    **options: Any,
) -> list[Line2D]:
    """Columns of a table as lines or points, one for each value of the column `by`.

    Args:
        table: the numbers.
        ax: axes to draw into.
        x: column.
        y: column.
        by: column whose values get a colour and a marker each, in order of appearance.
        label: of a value of `by`.
        first: place in the palette of the first one.
        **options: for `Axes.plot`; `marker=True` stands for the marker of the colour.

    Returns:
        The lines.
    """
    parts = [table] if by is None else table.partition_by(by, maintain_order=True)
    lines = []
    for place, part in enumerate(parts, first):
        own = {"color": COLORS[place % len(COLORS)], **options}
        if own.get("marker") is True:
            own["marker"] = MARKERS[place % len(MARKERS)]
        if by is not None:
            own.setdefault("label", label(part[by][0]))
        lines += ax.plot(part[x], part[y], **own)
    return lines


def color_bar(figure: Figure, image: Any, axes: Any, label: str, **options: Any) -> Any:
    """A colour bar for an image."""
    bar = figure.colorbar(image, ax=axes, label=label, **{"aspect": 30, "pad": 0.02, **options})
    bar.outline.set_linewidth(0.5)
    return bar


def animate(figure: Figure, update: Callable[[int], Any], frames: int) -> FuncAnimation:
    """An animation that calls `update` with the number of the frame."""
    return FuncAnimation(figure, update, frames=frames, blit=False)


# ---------------------------------------------------------------------------------------------
# Whole figures.
# ---------------------------------------------------------------------------------------------


def _layout(count: int, columns: int | None = None) -> tuple[int, int]:
    if count > MAX_PANELS:
        raise PlotError(
            f"the run has {count} shapes; a figure shows at most {MAX_PANELS}. "
            "Filter the table, or sweep fewer shapes."
        )
    columns = columns or min(count, 3)
    return -(-count // columns), columns


@style()
def draw_phases(
    table: pl.DataFrame, boundary: pl.DataFrame | None = None, columns: int | None = None
) -> Figure:
    """A phase diagram for every shape of a table, with colour bars and a key.

    Args:
        table: cells of :func:`ssem_jax.sweep.sweep`.
        boundary: of :func:`boundary_table`.
        columns: of panels.

    Returns:
        The figure.

    Raises:
        PlotError: too many shapes, or cells without α or τ.
    """
    parts = panels(table)
    rows, columns = _layout(len(parts), columns)
    figure, axes = _map_figure(rows, columns, extra=1.05)
    drawn = [
        phase_diagram(part, ax, boundary) for (_, part), ax in zip(parts, axes.flat, strict=False)
    ]
    _finish_maps(figure, axes, parts)
    color_bar(figure, drawn[0].delta2, axes, LABELS["delta2"], ticks=VARIANCE_TICKS)
    views = [artists.view_variance for artists in drawn if artists.view_variance is not None]
    if views:
        color_bar(figure, views[0], axes, LABELS["view_variance"], ticks=VARIANCE_TICKS)
    phase_legend(figure, boundary is not None and not boundary.is_empty(), bool(views))
    return figure


@style()
def draw_gaps(
    table: pl.DataFrame, boundary: pl.DataFrame | None = None, columns: int | None = None
) -> Figure:
    """A gap map for every shape of a table; the arguments are those of :func:`draw_phases`."""
    parts = panels(table)
    rows, columns = _layout(len(parts), columns)
    figure, axes = _map_figure(rows, columns, extra=0.6)
    drawn = [gap_map(part, ax, boundary) for (_, part), ax in zip(parts, axes.flat, strict=False)]
    _finish_maps(figure, axes, parts)
    color_bar(figure, drawn[0].gap, axes, "certified gap (nats)", extend="both")
    return figure


@style()
def draw_slices(
    table: pl.DataFrame,
    quantities: Sequence[str] = ("delta2",),
    curves: dict[str, pl.DataFrame] | None = None,
) -> Figure:
    """Slices of every shape of a table: against α on the left, against τ on the right.

    Args:
        table: cells of :func:`ssem_jax.sweep.sweep`.
        quantities: rows of panels for each shape, of `LABELS`.
        curves: closed forms for each axis, {"alpha": …, "temperature": …} of :func:`slice_table`.

    Returns:
        The figure.

    Raises:
        PlotError: too many panels, an unknown quantity, or cells without α or τ.
    """
    parts = panels(table)
    along = [name for name in ("alpha", "temperature") if table[name].n_unique() > 1] or ["alpha"]
    count = len(parts) * len(quantities)
    _layout(count * len(along))
    height = 0.7 + max(1.5 * count, 2.0)
    figure, axes = new_figure(count, len(along), height=height, sharex="col", sharey="row")
    for row, ax_row in enumerate(axes):
        title, part = parts[row // len(quantities)]
        for name, ax in zip(along, ax_row, strict=True):
            slices(part, ax, name, quantities[row % len(quantities)], (curves or {}).get(name))
            ax.label_outer()
        if len(parts) > 1:
            ax_row[0].set_title(title, loc="left")
    for ax in axes[0]:
        handles, labels = ax.get_legend_handles_labels()
        ax.legend(
            handles,
            labels,
            loc="lower center",
            bbox_to_anchor=(0.5, 1.1 if len(parts) > 1 else 1.0),
            ncols=2,
            columnspacing=1,
            handletextpad=0.2,
        )
    return figure


def draw_run(
    table: pl.DataFrame,
    kind: str,
    path: str | os.PathLike[str],
    quantity: str = "delta2",
) -> Path:
    """Draw any sweep into a PNG, SVG or PDF file.

    Args:
        table: of :func:`ssem_jax.sweep.read_run`, complete or not.
        kind: "phase" (δ² over (τ, α)), "gap" (certified gaps over (τ, α)) or "slices".
        path: file to write; its suffix names the format.
        quantity: what slices show: delta2, view_variance, within_variance, between_variance, value.

    Returns:
        The path.

    Raises:
        PlotError: an unknown kind or format, nothing to draw, more shapes than fit, or a place
            that cannot be written.
    """
    if kind not in KINDS:
        raise PlotError(f"a run can be drawn as {', '.join(KINDS)}; got {kind!r}.")
    if Path(path).suffix.lower() not in FORMATS:
        raise PlotError(f"a figure is saved as {', '.join(FORMATS)}; got {Path(path).name!r}.")
    if table.is_empty():
        raise PlotError("the run has no finished cell; repeat the sweep command to go on with it.")
    _require(table, "alpha", "temperature")
    if kind == "slices":
        curves = {name: slice_table(table, name) for name in ("alpha", "temperature")}
        return save(draw_slices(table, (quantity,), curves), path)
    draw = draw_phases if kind == "phase" else draw_gaps
    return save(draw(table, boundary_table(table)), path)


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


# ---------------------------------------------------------------------------------------------
# Pictures of the proof report: what a verdict rests on.
# ---------------------------------------------------------------------------------------------

REPORT_WIDTH = 7.6
"""Width in inches of a picture in the proof report."""
LEAST_SPAN = 0.05
"""Least range of an axis of brackets, so that rounding does not look like a variation."""
HOLDS_COLOR, REFUTED_COLOR, LEFT_OUT_COLOR = COLORS[2], "#B00020", COLORS[5]

_VARIABLES = {
    "temperature": r"$\tau$",
    "alpha": r"$\alpha$",
    "num_classes": "$m$",
    "num_instances": "$n$",
    "num_views": "$p$",
    "fraction": r"$\delta^2 / \delta^2_{\max}$",
    "share": r"share $\varphi$",
    "saturation": r"saturation $\xi$",
    "inverse_classes": "$1/m$",
    "inverse_instances": "$1/n$",
    "inverse_class_size": "$1/(pn)$",
    "inverse_log_classes": r"$1/\log m$",
    "weight": "weight $w$",
    "limit": r"limit $\theta$",
}
"""Variables of box proofs as axis labels, in the order of preference for a picture."""


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
    grid, outcome = _grid(table), table["outcome"].to_numpy()
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
    with style():
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
        color_bar(figure, drawn[0].delta2, axes, r"$\delta^2$", ticks=VARIANCE_TICKS)
        views = [artists.view_variance for artists in drawn if artists.view_variance is not None]
        if views:
            color_bar(figure, views[0], axes, "view variance", ticks=VARIANCE_TICKS)
        return figure


MARGIN_PIXELS = 220
"""Pixels across a margin map: each takes the margin of the nearest cell."""
MARGIN_DECADES = 3
"""Decades of the margin that a map tells apart; smaller ones look like zero."""


def draw_margins(
    parts: Sequence[tuple[str, pl.DataFrame]], axes: Sequence[tuple[str, bool]], title: str = ""
) -> Figure:
    """Where a statement nearly fails: its margin over one or two hyper-parameters.

    Green where the statement holds, red where it fails, paler the nearer to equality; dots are the
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
    with style():
        rows, columns = _layout(len(parts), 3)
        figure, grid = new_figure(
            rows,
            columns,
            height=2.5 * rows + 0.4,
            width=REPORT_WIDTH * min(1, 0.22 + 0.27 * columns),
        )
        most = max(float(part["margin_hi"].abs().max() or 0) for _, part in parts) or 1.0
        norm = SymLogNorm(most / 10**MARGIN_DECADES, vmin=-most, vmax=most)
        image = None
        for ax, (name, part) in itertools.zip_longest(grid.ravel(), parts, fillvalue=(None, None)):
            if part is None:
                ax.set_visible(False)
                continue
            image = _margin_plane(part, ax, axes[:2], norm) if flat else image
            if not flat:
                _margin_line(part, ax, axes[0] if axes else None)
            ax.set_title(name, pad=4)
        if image is not None:
            decade = 10.0 ** np.floor(np.log10(most))
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
    image = ax.pcolormesh(*edges, nearest, cmap="RdYlGn", norm=norm, rasterized=True)
    for name, look in _MARGIN_LOOKS.items():
        rows = part.filter(pl.col("outcome") == name)
        ax.plot(rows[x_name], rows[y_name], ls="", zorder=3, clip_on=False, **look)
    for axis, (name, log) in zip(
        (ax.xaxis, ax.yaxis), ((x_name, x_log), (y_name, y_log)), strict=True
    ):
        if log:
            (ax.set_xscale if axis is ax.xaxis else ax.set_yscale)("log")
        axis.set_label_text(_VARIABLES.get(name, name))
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
    ax.set_xlabel(_VARIABLES.get(axis[0], axis[0]) if axis else "cell")
    ax.set_ylabel("margin")


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
        ax.vlines(part["x"], part["low"], part["high"], color=color, lw=3, alpha=0.45)
        ax.plot(
            part["x"],
            (part["low"] + part["high"]) / 2,
            **{"color": color, "marker": marker, "mfc": "white", "mew": 0.9, "label": label},
            **({"ls": "", "zorder": 3} if curves is not None else {"lw": 0.8}),
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
    ax.set_xlabel(_AXES.get(x, x))


_AXES = {
    "alpha": ALPHA,
    "temperature": TAU,
    "num_classes": "number of classes $m$",
    "num_instances": "instances per class $n$",
    "num_views": "views $p$",
}


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
    with style():
        figure, axes = new_figure(1, 2, height=3.0, width=REPORT_WIDTH, width_ratios=(1.25, 1))
        left, right = axes[0]
        bracket_curves(table, left, x, curves)
        ranked(rank, right)
        left.set_ylabel(y_label)
        figure.legend(
            *left.get_legend_handles_labels(), loc="outside upper center", ncols=3, title=title
        )
        return figure


def draw_cover(
    parts: Sequence[tuple[str, dict[str, tuple[float, float]], np.ndarray]],
    boundary: pl.DataFrame | None = None,
    band: float = 0.0,
) -> Figure:
    """The boxes of which box proofs are made, over the two variables that were cut most.

    Args:
        parts: for each proof its title, its box and its proven sub-boxes (B, variables, 2).
        boundary: of :func:`boundary_table`, for boxes of τ and α.
        band: half the width in α of the neighbourhood of the boundaries that is left out.

    Returns:
        The figure.
    """
    with style():
        width = REPORT_WIDTH * min(1, 0.12 + 0.4 * len(parts))
        figure, axes = new_figure(1, len(parts), height=2.8, width=width)
        for ax, (title, box, done) in zip(axes[0], parts, strict=True):
            cover(box, done, ax)
            if boundary is not None:
                _phase_region(title, ax, boundary, band)
            ax.set_title(title, pad=4)
        return figure


def cover(box: dict[str, tuple[float, float]], done: np.ndarray, ax: Axes) -> None:
    """The proven sub-boxes of a box, projected on the two variables that were cut most."""
    names = list(box)
    order = [name for name in _VARIABLES if name in names] + [
        name for name in names if name not in _VARIABLES
    ]
    order = [name for name in order if box[name][1] > box[name][0]] or order[:1]
    cuts = {name: len(np.unique(done[:, names.index(name)])) for name in order}
    chosen = sorted(order, key=lambda name: -cuts[name])[:2]
    chosen.sort(key=order.index)  # temperature across, alpha up
    x_ends = done[:, names.index(chosen[0])]
    if len(chosen) > 1:
        y_ends = done[:, names.index(chosen[1])]
        ax.set_ylim(box[chosen[1]])
        ax.set_ylabel(_VARIABLES.get(chosen[1], chosen[1]))
    else:
        y_ends = np.tile([0.0, 1.0], (len(done), 1))
        ax.set_ylim(0, 1)
        ax.set_yticks([])
    tiles = np.unique(np.concatenate([x_ends, y_ends], axis=1), axis=0)
    patches = PatchCollection(
        [Rectangle((a, c), b - a, d - c) for a, b, c, d in tiles],
        facecolor=(*mpl.colors.to_rgb(HOLDS_COLOR), 0.12 if len(tiles) < 3000 else 0.03),
        edgecolor=(*mpl.colors.to_rgb(HOLDS_COLOR), 0.75),
        lw=0.4 if len(tiles) < 3000 else 0.15,
        rasterized=len(tiles) > 150,
    )
    ax.add_collection(patches, autolim=False)
    ax.set_xlim(box[chosen[0]])
    ax.set_xlabel(_VARIABLES.get(chosen[0], chosen[0]))
    for axis, name in zip("xy", chosen, strict=False):
        low, high = box[name]
        if low > 0 and high / low > 100:
            getattr(ax, f"set_{axis}scale")("log")


def _phase_region(phase: str, ax: Axes, boundary: pl.DataFrame, band: float) -> None:
    """Boundaries over a cover of (τ, α): the region of a phase, and the bands that are left out."""
    tau = boundary["temperature"].to_numpy()
    upper = boundary["alpha_c"].to_numpy()
    lower = np.nan_to_num(boundary["alpha_v"].cast(pl.Float64).to_numpy(), nan=-1.0)
    region = {"collapse": (lower, upper), "spread": (upper, 1), "view spread": (0, lower)}
    if phase in region:
        bottom, top = np.broadcast_arrays(*region[phase], tau)[:2]
        ax.fill_between(
            tau, np.maximum(bottom, 0), top, where=top > 0, color=HOLDS_COLOR, alpha=0.3, lw=0
        )
    for line in (upper, lower):
        seen = np.where(line > 0, line, np.nan)
        ax.fill_between(tau, seen - band, seen + band, color=LEFT_OUT_COLOR, lw=0, zorder=3)
        ax.plot(tau, seen, color="black", lw=0.7, zorder=4)


def draw_corner(
    boundary: pl.DataFrame, point: tuple[float, float], names: tuple[str, str, str]
) -> Figure:
    """A counterexample in the (τ, α) plane: below α_c, though a guideline calls it safe.

    Args:
        boundary: of :func:`boundary_table`, for one shape.
        point: (τ, α), the corner of the guideline "α at least, τ at most".
        names: of the region, of the boundary and of the point.

    Returns:
        The figure.
    """
    with style():
        figure, axes = new_figure(height=2.9, width=0.62 * REPORT_WIDTH)
        ax, tau = axes[0, 0], boundary["temperature"].to_numpy()
        region, line, cross = names
        ax.fill_between(tau, 0, boundary["alpha_c"], color="0.88", lw=0, label="classes collapse")
        corner = Rectangle((tau[0], point[1]), point[0] - tau[0], 1 - point[1])
        corner.set(facecolor="none", edgecolor=COLORS[1], hatch="//", lw=1, label=region)
        ax.add_patch(corner)
        ax.plot(tau, boundary["alpha_c"], color="black", label=line)
        ax.plot(*point, "X", ms=9, color=REFUTED_COLOR, mec="white", label=cross, zorder=5)
        ax.set_xscale("log")
        ax.set_xlim(tau[0], tau[-1])
        ax.set_ylim(0, 1)
        plain_log_ticks(ax)
        ax.set_xlabel(TAU)
        ax.set_ylabel(ALPHA)
        figure.legend(loc="outside right upper")
        return figure


def draw_ranks(rank: Rank) -> Figure:
    """One number for every cell, in order."""
    with style():
        figure, axes = new_figure(height=2.6, width=0.6 * REPORT_WIDTH)
        ranked(rank, axes[0, 0])
        return figure


def inline_svg(figure: Figure, identity: str, label: str) -> str:
    """A figure as one <svg> element for an HTML page that holds several.

    Text stays text, coordinates are rounded to a hundredth of a point, nothing refers to anything
    outside, and all ids begin with `identity`, so that pictures on one page do not mix.

    Args:
        figure: the figure.
        identity: unique on the page.
        label: what a screen reader says.

    Returns:
        The element.
    """
    written = io.StringIO()
    with style(), mpl.rc_context({"svg.fonttype": "none", "savefig.dpi": 144}):
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    svg = "{http://www.w3.org/2000/svg}"
    link = "{http://www.w3.org/1999/xlink}href"
    root = ElementTree.fromstring(written.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{svg}metadata", f"{svg}style"):
                parent.remove(child)
    text = ElementTree.tostring(root, encoding="unicode")
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    for element in root.iter():
        element.tag = element.tag.removeprefix(svg)
        if link in element.attrib:
            element.set("href", element.attrib.pop(link))
        name = element.attrib.pop("id", None)
        if name in used:
            element.set("id", f"{identity}-{name}")
        for key, value in element.attrib.items():
            if key in ("d", "x", "y", "points"):
                value = re.sub(r"-?\d+\.\d{3,}", lambda match: f"{float(match[0]):.2f}", value)
            if key == "href" and value.startswith("#"):
                value = f"#{identity}-{value[1:]}"
            element.set(key, value.replace("url(#", f"url(#{identity}-"))
    root.attrib = {
        "role": "img",
        "aria-label": label,
        **{name: root.attrib[name] for name in ("viewBox", "width", "height")},
    }
    return ElementTree.tostring(root, encoding="unicode")


# ---------------------------------------------------------------------------------------------
# Of `ssem guide`.
# ---------------------------------------------------------------------------------------------

GUIDE_WIDTH = 7.6
"""Width in inches of the two panels of a guide."""
GUIDE_TEMPERATURES = (0.02, 5.0)
"""Temperatures that they show at least."""


def draw_guide(answer: Guide | UnbalancedGuide) -> Figure:
    """What `ssem guide` answers, as a picture.

    For a balanced batch δ² against τ at the given α and at one on each side, and the phase diagram
    with the given point. For classes of different size, δ² of every class against α.

    Args:
        answer: of :func:`ssem_jax.guide.guide`.

    Returns:
        The figure.
    """
    if isinstance(answer, UnbalancedGuide):
        figure, axes = new_figure(height=3.4)
        with style():
            class_variances_along_alpha(answer, axes[0, 0])
        return figure
    figure, axes = new_figure(1, 2, width=GUIDE_WIDTH, height=3.4)
    shown = (answer.temperature, *GUIDE_TEMPERATURES)
    temperatures = np.geomspace(min(shown), max(shown), BOUNDARY_POINTS)
    with style():
        delta2_along_tau(answer, axes[0, 0], temperatures)
        mesh = guide_map(answer, axes[0, 1], temperatures)
        color_bar(figure, mesh, axes[0, 1], LABELS["delta2"], ticks=VARIANCE_TICKS)
        excluded = answer.self_pairs == "exclude"
        figure.suptitle(f"{answer.structure}, self pairs {answer.self_pairs}d", fontsize=9)
        entries = [Line2D([], [], color="black", lw=1.3, label=r"$\alpha_c(\tau)$: collapse below")]
        if excluded:
            dashes = {"ls": (0, (4, 1.5)), "label": r"$\alpha_v(\tau)$: views part below"}
            entries.append(Line2D([], [], color="black", lw=1.3, **dashes))
        entries.append(Line2D([], [], ls="", **_HERE, label="this batch"))
        figure.legend(handles=entries, loc="outside lower right", ncols=3)
    return figure


_HERE: Any = {"marker": "*", "ms": 11, "mfc": COLORS[5], "mec": "black", "mew": 0.8}


def delta2_along_tau(answer: Guide, ax: Axes, temperatures: np.ndarray) -> list[Line2D]:
    """δ² against τ at α and halfway to 0 and to 1, with τ_c, the wanted δ² and where it is met.

    Args:
        answer: of a balanced batch.
        ax: axes to draw into.
        temperatures: τ of the curves.

    Returns:
        The curves.
    """
    counts, alpha = _guide_counts(answer), answer.alpha
    beside = (alpha / 2, (1 + alpha) / 2) if alpha > 0 else ()
    curves = []
    styles = zip((alpha, *beside), ("-", (0, (4, 1.5)), (0, (1, 1.2))), COLORS, strict=False)
    for value, dashes, color in styles:
        spread = theory.delta2(*counts, value, temperatures, answer.self_pairs)
        curves += ax.plot(temperatures, spread, ls=dashes, color=color, label=f"α = {value:.3g}")
    if temperatures[0] < answer.tau_c < temperatures[-1]:
        ax.axvline(answer.tau_c, color=COLORS[0], lw=0.8)
        ax.annotate(
            rf"$\tau_c$ = {answer.tau_c:.3g}",
            (answer.tau_c, 0.97),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            va="top",
            color=COLORS[0],
            fontsize=8,
        )
    ax.axhline(answer.wanted, color="0.5", lw=0.8, ls=(0, (3, 2)))
    ax.annotate(
        f"wanted {answer.wanted:.3g}",
        (1, answer.wanted),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        ha="right",
        color="0.35",
        fontsize=8,
    )
    meets = answer.temperatures_for_wanted
    ax.plot(meets, [answer.wanted] * len(meets), "o", mfc="white", mec=COLORS[0], ms=5)
    ax.plot(answer.temperature, answer.delta2, ls="", zorder=3, **_HERE)
    ax.set(xscale="log", xlabel=TAU, ylabel=LABELS["delta2"], ylim=(-0.02, None))
    ax.set_xlim(temperatures[0], temperatures[-1])
    plain_log_ticks(ax)
    ax.legend(loc="upper left")
    ax.margins(y=0.25)
    return curves


def guide_map(answer: Guide, ax: Axes, temperatures: np.ndarray) -> QuadMesh:
    """The phase diagram of a balanced batch by theory, δ² shaded, with the answer's point.

    Args:
        answer: of a balanced batch.
        ax: axes to draw into.
        temperatures: τ of the columns.

    Returns:
        The heat map.
    """
    counts, self_pairs = _guide_counts(answer), answer.self_pairs
    admitted = self_pairs == "include" or answer.structure.num_views > 1
    alphas = np.linspace(0, 1, BOUNDARY_POINTS) if admitted else np.zeros(2)
    spread = theory.delta2(*counts, alphas[:, None], temperatures, self_pairs)
    rows = alphas if admitted else np.array([0.0, 1.0])
    mesh = ax.pcolormesh(
        temperatures, rows, spread, cmap="Blues", norm=PowerNorm(0.5, 0, 1), rasterized=True
    )
    boundaries = [(theory.alpha_c, "-")]
    if self_pairs == "exclude" and admitted:
        boundaries.append((theory.alpha_v, (0, (4, 1.5))))
    for boundary, dashes in boundaries:
        line = boundary(*counts, temperatures, self_pairs)
        ax.plot(temperatures, line, color="white", lw=2.8)
        ax.plot(temperatures, line, color="black", lw=1.3, ls=dashes)
    ax.plot(answer.temperature, answer.alpha, ls="", clip_on=False, zorder=3, **_HERE)
    ax.set(xscale="log", xlabel=TAU, ylabel=ALPHA, ylim=(0, 1))
    ax.set_xlim(temperatures[0], temperatures[-1])
    plain_log_ticks(ax)
    return mesh


def class_variances_along_alpha(answer: UnbalancedGuide, ax: Axes) -> list[Line2D]:
    """δ² of every class against α, at the answer's τ; large classes dark.

    Args:
        answer: of classes of different size.
        ax: axes to draw into.

    Returns:
        A curve for each class.
    """
    alphas, variances = answer.curves()
    sizes = np.asarray(answer.structure.sizes)
    scale = mpl.cm.ScalarMappable(LogNorm(sizes.min(), sizes.max()), "viridis_r")
    lines = []
    for size, curve in sorted(zip(sizes, variances.T, strict=True), key=lambda pair: -pair[0]):
        lines += ax.plot(alphas, curve, color=scale.to_rgba(size), lw=1.2)
    ax.axvline(answer.alpha, color="black", lw=0.9, ls=(0, (3, 2)))
    here = np.full(len(sizes), answer.alpha)
    ax.scatter(here, answer.class_delta2, c=scale.to_rgba(sizes), edgecolors="black", lw=0.6, s=22)
    ax.set(xlabel=ALPHA, ylabel=r"$\delta^2$ of a class (sq. length)", xlim=(0, 1), ylim=(-0.02, 1))
    ax.set_title(rf"$\tau$ = {answer.temperature:.3g}, points at $\alpha$ = {answer.alpha:.3g}")
    bar = color_bar(ax.figure, scale, ax, "instances in the class")
    bar.ax.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    bar.ax.yaxis.set_minor_formatter(ticker.NullFormatter())
    bar.set_ticks(np.unique(sizes)[:: -(-len(np.unique(sizes)) // 6)])
    return lines


def _guide_counts(answer: Guide) -> tuple[int, int, int]:
    structure = answer.structure
    return structure.num_classes, structure.instances_per_class, structure.num_views
