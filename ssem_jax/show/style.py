"""The house style of figures, and what all of them share: colours, sizes, files.

Colours print in grey and are told apart by colour-blind readers: variance of instance means in
blues, variance of views in oranges, collapse in white, gaps in viridis, categories in the palette
of Okabe and Ito, each with a marker of its own.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib import ticker
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""The palette of Okabe and Ito (2008), the darker ones first."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""One marker for each colour, so that no distinction rests on colour alone."""
FORMATS = (".png", ".svg", ".pdf")
"""Formats that a figure can be saved in."""
COLUMN_WIDTH = 5.2
"""Width of a figure in inches; its 9 point type is still 6 points in a column of 3.4 inches."""
VARIANCE_TICKS = (0, 0.05, 0.2, 0.4, 0.6, 0.8, 1)
"""Of the colour bars of variances, whose shade grows as δ and not as δ²: phases stay visible."""
MAX_PANELS = 24
"""Panels that a figure of a run may have and stay legible."""
FEW_PANELS = 9
"""Panels that rather stand in three columns; more of them in four."""
BAR_ASPECT, BAR_HEIGHT = 30, 4.0
"""Height over width of a colour bar; from that height in inches on it grows no wider."""

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
def house_style() -> Iterator[None]:
    """The style of all figures, for the duration of a `with` block; no global state changes."""
    with mpl.rc_context(_STYLE):
        yield


class Picture(Figure):
    """A figure that a notebook shows, without pyplot and whatever its backend."""

    def _repr_svg_(self) -> str:
        written = io.StringIO()
        with house_style():
            self.savefig(written, format="svg")
        return written.getvalue()


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
    with house_style():
        figure = Picture(figsize=(width, height), layout="constrained")
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
        with house_style():
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


def color_bar(figure: Figure | SubFigure, image: Any, axes: Any, label: str, **options: Any) -> Any:
    """A colour bar for an image."""
    height = figure.bbox.height / figure.dpi
    slim = {"aspect": BAR_ASPECT * max(1.0, height / BAR_HEIGHT), "pad": 0.02}
    bar = figure.colorbar(image, ax=axes, label=label, **{**slim, **options})
    bar.outline.set_linewidth(0.5)
    return bar


def animate(figure: Figure, update: Callable[[int], Any], frames: int) -> FuncAnimation:
    """An animation that calls `update` with the number of the frame."""
    return FuncAnimation(figure, update, frames=frames, blit=False)


# ---------------------------------------------------------------------------------------------
# Whole figures.
# ---------------------------------------------------------------------------------------------


def even_columns(counts: Sequence[int]) -> int:
    """Of how many columns leaves the fewest places empty, where each count begins a new row."""
    largest = max(counts)
    if largest <= 3:
        return largest
    choices = (3, 4, 2) if largest <= FEW_PANELS else (4, 3)
    return min(choices, key=lambda columns: sum(-count % columns for count in counts))


def panel_layout(count: int, columns: int | None = None) -> tuple[int, int]:
    """Rows and columns of a figure of so many panels; refuses more than stay legible."""
    if count > MAX_PANELS:
        raise PlotError(
            f"the run has {count} shapes; a figure shows at most {MAX_PANELS}. "
            "Filter the table, or sweep fewer shapes."
        )
    columns = columns or even_columns([count])
    return -(-count // columns), columns


# ---------------------------------------------------------------------------------------------
# Pictures of the proof report: what a verdict rests on.
# ---------------------------------------------------------------------------------------------

REPORT_WIDTH = 7.6
"""Width in inches of a picture in the proof report."""
HOLDS_COLOR, REFUTED_COLOR, LEFT_OUT_COLOR = COLORS[2], "#B00020", COLORS[5]
