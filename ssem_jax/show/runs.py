"""Any sweep, drawn into a file: what `ssem plot` does."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from ssem_jax.show.maps import draw_gaps, draw_phases
from ssem_jax.show.slices import draw_slices
from ssem_jax.show.style import FORMATS, PlotError, save
from ssem_jax.show.tables import boundary_table, require_columns, slice_table

KINDS = ("phase", "gap", "slices")
"""What `draw_run` can draw."""


def draw_run(
    table: pl.DataFrame,
    kind: str,
    path: str | os.PathLike[str],
    quantity: str = "delta2",
) -> Path:
    """Draw any sweep into a PNG, SVG or PDF file.

    Args:
        table: of :func:`ssem_jax.sweeps.read_run`, complete or not.
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
    require_columns(table)
    if table.is_empty():
        raise PlotError("the run has no finished cell; repeat the sweep command to go on with it.")
    require_columns(table, "alpha", "temperature")
    if kind == "slices":
        curves = {name: slice_table(table, name) for name in ("alpha", "temperature")}
        return save(draw_slices(table, (quantity,), curves), path)
    draw = draw_phases if kind == "phase" else draw_gaps
    return save(draw(table, boundary_table(table)), path)
