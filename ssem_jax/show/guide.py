"""What `ssem guide` answers, as a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssem_jax import theory
from ssem_jax.advice.answers import Guide, UnbalancedGuide, has_self_positives
from ssem_jax.show.style import (
    COLORS,
    VARIANCE_TICKS,
    color_bar,
    house_style,
    new_figure,
    plain_log_ticks,
)
from ssem_jax.show.tables import BOUNDARY_POINTS
from ssem_jax.sweeps.words import ALPHA, TAU, axis, short

GUIDE_WIDTH = 7.6
"""Width in inches of the two panels of a guide."""
GUIDE_TEMPERATURES = (0.02, 5.0)
"""Temperatures that they show at least."""


def draw_guide(answer: Guide | UnbalancedGuide) -> Figure:
    """What `ssem guide` answers, as a picture.

    For a balanced batch δ² against τ at the given α and at one on each side, and the phase diagram
    with the given point. For classes of different size, δ² of every class against α.

    Args:
        answer: of :func:`ssem_jax.advice.guide`.

    Returns:
        The figure.
    """
    if isinstance(answer, UnbalancedGuide):
        figure, axes = new_figure(height=3.4)
        with house_style():
            class_variances_along_alpha(answer, axes[0, 0])
        return figure
    figure, axes = new_figure(1, 2, width=GUIDE_WIDTH, height=3.4)
    shown = (answer.temperature, *GUIDE_TEMPERATURES)
    temperatures = np.geomspace(min(shown), max(shown), BOUNDARY_POINTS)
    with house_style():
        delta2_along_tau(answer, axes[0, 0], temperatures)
        mesh = guide_map(answer, axes[0, 1], temperatures)
        color_bar(figure, mesh, axes[0, 1], axis("delta2"), ticks=VARIANCE_TICKS)
        excluded = answer.self_pairs == "exclude"
        figure.suptitle(f"{answer.structure}, self pairs {answer.self_pairs}d", fontsize=9)
        entries = [
            Line2D([], [], color="black", lw=1.3, label=f"{short('alpha_c')}: collapse below")
        ]
        if excluded:
            dashes = {"ls": (0, (4, 1.5)), "label": f"{short('alpha_v')}: views part below"}
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
    counts, alpha = answer.structure.counts, answer.alpha
    beside = (alpha / 2, (1 + alpha) / 2) if alpha > 0 else ()
    curves = []
    styles = zip((alpha, *beside), ("-", (0, (4, 1.5)), (0, (1, 1.2))), COLORS, strict=False)
    for value, dashes, color in styles:
        spread = theory.delta2(*counts, value, temperatures, answer.self_pairs)
        curves += ax.plot(temperatures, spread, ls=dashes, color=color, label=f"α = {value:.3g}")
    if temperatures[0] < answer.tau_c < temperatures[-1]:
        ax.axvline(answer.tau_c, color=COLORS[0], lw=0.8)
        ax.annotate(
            f"{short('tau_c')} = {answer.tau_c:.3g}",
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
    ax.set(xscale="log", xlabel=TAU, ylabel=axis("delta2"), ylim=(-0.02, None))
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
    counts, self_pairs = answer.structure.counts, answer.self_pairs
    any_alpha = has_self_positives(answer.structure, self_pairs)
    alphas = np.linspace(0, 1, BOUNDARY_POINTS) if any_alpha else np.zeros(2)
    spread = theory.delta2(*counts, alphas[:, None], temperatures, self_pairs)
    rows = alphas if any_alpha else np.array([0.0, 1.0])
    mesh = ax.pcolormesh(
        temperatures, rows, spread, cmap="Blues", norm=PowerNorm(0.5, 0, 1), rasterized=True
    )
    boundaries: list[tuple[Callable[..., Any], Any]] = [(theory.alpha_c, "-")]
    if self_pairs == "exclude" and any_alpha:
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
    scale = ScalarMappable(LogNorm(sizes.min(), sizes.max()), "viridis_r")
    lines = []
    for size, curve in sorted(zip(sizes, variances.T, strict=True), key=lambda pair: -pair[0]):
        lines += ax.plot(alphas, curve, color=scale.to_rgba(size), lw=1.2)
    ax.axvline(answer.alpha, color="black", lw=0.9, ls=(0, (3, 2)))
    here, delta2 = np.full(len(sizes), answer.alpha), answer.class_variances.delta2
    ax.scatter(here, delta2, c=scale.to_rgba(sizes), edgecolors="black", lw=0.6, s=22)
    ax.set(
        xlabel=ALPHA,
        ylabel=f"{short('delta2')} of a class (sq. length)",
        xlim=(0, 1),
        ylim=(-0.02, 1),
    )
    at = f"points at {short('alpha')} = {answer.alpha:.3g}"
    ax.set_title(f"{short('temperature')} = {answer.temperature:.3g}, {at}")
    bar = color_bar(ax.figure, scale, ax, "instances in the class")
    bar.ax.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    bar.ax.yaxis.set_minor_formatter(ticker.NullFormatter())
    bar.set_ticks(np.unique(sizes)[:: -(-len(np.unique(sizes)) // 6)])
    return lines
