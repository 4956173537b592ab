"""Neural collapse of a last layer over imbalance and weight decay: which classes merge."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl

import ssem_jax as sx
from figures.common import Progress, Tables
from ssem_jax import show

COUNT, LARGE = 5, 1000
"""Classes of the majority, as many of the minority, and samples of a majority class."""
DECAYS = (1e-4, 2e-2)
"""λ = √(λ_W λ_H), from and to."""
NARROW = 1e-2
"""Widths of brackets of cosines up to which an angle is drawn: about half a degree."""
HATCH: Any = {"fc": "white", "ec": "0.75", "hatch": "////", "lw": 0}
"""Of classes that have one weight."""
TICKS = (0, 30, 60, 90)
PHASES = (
    ((4.5, 2.5e-4), "all apart", "white"),
    ((110, 2.4e-3), "minority merged", "white"),
    ((30, 1.15e-2), "all merged", "black"),
)
"""Where and how phases are named."""


def compute(fast: bool, progress: Progress) -> Tables:
    """Certified cells: states, and cosines of two weights of one size with their ends."""
    side = 7 if fast else 30
    sizes = sorted({round(size) for size in np.geomspace(1, LARGE, side)}, reverse=True)
    decays = np.geomspace(*DECAYS, side)
    progress.begin(len(sizes) * len(decays))
    cells, law = [], []
    for size in sizes:
        total = COUNT * (size + LARGE)
        law.append(
            {"size": size, "ratio": LARGE / size}
            | {
                name: math.sqrt(one) / total
                for name, one in (("minority", size), ("majority", LARGE))
            }
        )
        for decay in decays:
            loss = sx.losses.CrossEntropy(sx.losses.Ridge(decay, decay))
            found = sx.certificate.solve_features(loss, (LARGE,) * COUNT + (size,) * COUNT)
            low, high = found.brackets.weights.cosines
            row = {"size": size, "ratio": LARGE / size, "decay": decay, "gap": found.gap}
            for name, place in (("majority", 0), ("minority", -1)):
                row |= {
                    name: found.merging[place],
                    f"{name}_lo": low[place, place],
                    f"{name}_hi": high[place, place],
                }
            cells.append(row)
            progress.advance(1)
    return {"cells": pl.DataFrame(cells), "law": pl.DataFrame(law)}


def _image(cells: pl.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ratios, decays, and angles in degrees, masked where classes merge or little is known."""
    ratios, decays = (np.unique(cells[axis].to_numpy()) for axis in ("ratio", "decay"))
    ordered = cells.sort("decay", "ratio")
    low, high = (ordered[f"{name}_{end}"].to_numpy() for end in ("lo", "hi"))
    hidden = (ordered[name] == "merged").to_numpy() | (high - low > NARROW)
    angles = np.ma.masked_where(hidden, np.degrees(np.arccos((low + high) / 2)))
    return ratios, decays, angles.reshape(len(decays), len(ratios))


def draw(tables: Tables) -> object:
    """Angles of two minority weights, and of two majority weights; both laws as lines."""
    figure, axes = show.new_figure(1, 2, height=3.1, sharey=True)
    law = tables["law"].sort("ratio")
    shades = {"cmap": "Blues", "vmin": 0, "vmax": 130, "shading": "nearest", "rasterized": True}
    for ax, name in zip(axes[0], ("minority", "majority"), strict=True):
        ratios, decays, angles = _image(tables["cells"], name)
        ax.axvspan(ratios[0], ratios[-1], zorder=0, **HATCH)
        mesh = ax.pcolormesh(ratios, decays, angles, **shades)
        for which, style in (("minority", "-"), ("majority", (0, (4, 2)))):
            ax.plot(law["ratio"], law[which], color="white", lw=2.6)
            ax.plot(law["ratio"], law[which], color=show.COLORS[1], lw=1.4, ls=style)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlim(ratios[0], ratios[-1])
        ax.set_ylim(*DECAYS)
        ax.set_xticks([1, 10, 100], ["1", "10", "100"])
        ax.set_xlabel(r"imbalance $n_A/n_B$")
        ax.set_title(f"weights of two {name} classes")
        if name == "majority":  # the last one
            show.color_bar(
                figure, mesh, axes, "angle (degrees)", boundaries=range(106), ticks=TICKS
            )
    axes[0, 0].set_ylabel(r"weight decay $\sqrt{\lambda_W \lambda_H}$")
    for where, text, color in PHASES:
        axes[0, 1].annotate(text, where, color=color, ha="center", va="center", fontsize=8)
    lines = axes[0, 0].get_lines()
    labels = (
        r"$n_B = N^2\lambda_W\lambda_H$",
        r"$n_A = N^2\lambda_W\lambda_H$",
        "merged: one weight",
    )
    handles = [lines[1], lines[3], axes[0, 0].patches[0]]
    figure.legend(handles, labels, loc="outside upper center", ncols=3, columnspacing=1.4)
    return figure


IMAGES = {"merging.svg": draw}
