"""Any sweep, drawn into files: what `ssem plot` does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from ssem_jax.show.maps import draw_gaps, draw_phases
from ssem_jax.show.slices import MAX_ROWS, axes_of, draw_slices
from ssem_jax.show.style import FORMATS, MAX_PANELS, PlotError, save
from ssem_jax.show.tables import boundary_table, panels, require_columns, slice_table, slice_values

KINDS = ("phase", "gap", "slices")
"""What `draw_run` can draw."""


def draw_run(
    table: pl.DataFrame,
    kind: str,
    path: str | os.PathLike[str],
    quantity: str = "delta2",
) -> list[Path]:
    """Draw any sweep into a PNG, SVG or PDF file; more shapes than fit, into several.

    Args:
        table: of :func:`ssem_jax.sweeps.read_run`, complete or not, perhaps of
            :func:`ssem_jax.sweeps.filtered`.
        kind: "phase" (δ² over (τ, α)), "gap" (certified gaps over (τ, α)) or "slices".
        path: file to write; its suffix names the format. Several pages are numbered: phase-1.svg.
        quantity: what slices show: delta2, view_variance, within_variance, between_variance, value.

    Returns:
        The files.

    Raises:
        PlotError: an unknown kind or format, nothing to draw, or a place that cannot be written.
    """
    if kind not in KINDS:
        raise PlotError(f"a run can be drawn as {', '.join(KINDS)}; got {kind!r}.")
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise PlotError(f"a figure is saved as {', '.join(FORMATS)}; got {path.name!r}.")
    require_columns(table)
    if table.is_empty():
        raise PlotError("the run has no finished cell; repeat the sweep command to go on with it.")
    require_columns(table, "alpha", "temperature")
    pages = list(_pages(table, MAX_ROWS if kind == "slices" else MAX_PANELS))
    files = [path]
    if len(pages) > 1:
        files = [path.with_stem(f"{path.stem}-{page + 1}") for page in range(len(pages))]
    return [_draw_page(page, kind, file, quantity) for page, file in zip(pages, files, strict=True)]


def _pages(table: pl.DataFrame, size: int) -> Iterator[pl.DataFrame]:
    """The cells of `size` panels at a time."""
    parts = [part for _, part in panels(table)]
    for first in range(0, len(parts), size):
        yield pl.concat(parts[first : first + size])


def _draw_page(table: pl.DataFrame, kind: str, path: Path, quantity: str) -> Path:
    if kind == "slices":
        fixed = {name: slice_values(table, name) for name in axes_of(table)}
        curves = {name: slice_table(table, name, values) for name, values in fixed.items()}
        return save(draw_slices(table, (quantity,), curves), path)
    draw = draw_phases if kind == "phase" else draw_gaps
    return save(draw(table, boundary_table(table)), path)
