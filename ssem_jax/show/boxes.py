"""Of theorems: the boxes that cover a domain, or the corner that refutes one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ssem_jax.show.style import (
    COLORS,
    HOLDS_COLOR,
    LEFT_OUT_COLOR,
    REFUTED_COLOR,
    REPORT_WIDTH,
    house_style,
    new_figure,
    plain_log_ticks,
)
from ssem_jax.sweeps.words import ALPHA, TAU, WORDS, short


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
    with house_style():
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
    order = [name for name in WORDS if name in names] + [
        name for name in names if name not in WORDS
    ]
    order = [name for name in order if box[name][1] > box[name][0]] or order[:1]
    cuts = {name: len(np.unique(done[:, names.index(name)])) for name in order}
    chosen = sorted(order, key=lambda name: -cuts[name])[:2]
    chosen.sort(key=order.index)  # temperature across, alpha up
    x_ends = done[:, names.index(chosen[0])]
    if len(chosen) > 1:
        y_ends = done[:, names.index(chosen[1])]
        ax.set_ylim(box[chosen[1]])
        ax.set_ylabel(short(chosen[1]))
    else:
        y_ends = np.tile([0.0, 1.0], (len(done), 1))
        ax.set_ylim(0, 1)
        ax.set_yticks([])
    tiles = np.unique(np.concatenate([x_ends, y_ends], axis=1), axis=0)
    patches = PatchCollection(
        [Rectangle((a, c), b - a, d - c) for a, b, c, d in tiles],
        facecolor=(*to_rgb(HOLDS_COLOR), 0.12 if len(tiles) < 3000 else 0.03),
        edgecolor=(*to_rgb(HOLDS_COLOR), 0.75),
        lw=0.4 if len(tiles) < 3000 else 0.15,
        rasterized=len(tiles) > 150,
    )
    ax.add_collection(patches, autolim=False)
    ax.set_xlim(box[chosen[0]])
    ax.set_xlabel(short(chosen[0]))
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
    with house_style():
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
