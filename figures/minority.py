"""Minority collapse of a last layer: computed thresholds, and the law of weight decay."""

from __future__ import annotations

import numpy as np
import polars as pl

import ssem_jax as sx
from figures.common import Progress, Tables
from ssem_jax import show

COUNTS = ((2, 2), (5, 5), (3, 7))
"""Classes of the majority and of the minority; budgets are 1 of weights and of features."""
LEAST, MOST, UNIT = 1.0, 6.0, 200
"""Ratios of sizes, of minority classes of 200 samples."""
MAJORITIES, MINORITIES = (40, 40), 3
"""Sizes of two majority classes, and how many minority classes there are."""
DECAYS = (0.005, 0.01, 0.02)


def _row(loss: sx.losses.CrossEntropy, sizes: tuple[int, ...]) -> dict[str, float]:
    """The certified optimum as the minority sees it."""
    found = sx.certificate.solve_features(loss, sizes)
    low, high = found.margin_brackets
    return {
        "margin": float(found.margins[-1, -1]),
        "margin_lo": float(low[-1, -1]),
        "margin_hi": float(high[-1, -1]),
        "cosine": float(found.weights.cosines[-1, -1]),
        "gap": found.gap,
    }


def compute(fast: bool, progress: Progress) -> Tables:
    """Certified margins of minority classes, along their ratio to others and along their size."""
    losses, peeled, starts = sx.losses, [], []
    loss = losses.CrossEntropy(losses.Budget(1.0, 1.0))
    ratios = np.linspace(LEAST, MOST, 6 if fast else 21)[1:]
    sizes = (1, 2, 3, 5, 8, 12, 20, 39)[:: 2 if fast else 1]
    progress.begin(len(ratios) * len(COUNTS) + len(sizes) * len(DECAYS))
    for major, minor in COUNTS:
        label = f"{major} and {minor} classes"
        start = sx.certificate.minority_threshold(loss, major, minor)
        starts.append({"classes": label, "ratio": start})
        for ratio in ratios:
            large = round(ratio * UNIT)
            found = _row(loss, (large,) * major + (UNIT,) * minor)
            peeled.append({"classes": label, "ratio": large / UNIT, **found})
            progress.advance(1)
    ridge, law = [], []
    for decay in DECAYS:
        decayed = losses.CrossEntropy(losses.Ridge(decay, decay))
        for size in range(1, MAJORITIES[0]):
            total = sum(MAJORITIES) + MINORITIES * size
            margin = sx.theory.ridge_margin(size, total, decay, decay)
            law.append({"decay": decay, "size": size, "margin": margin})
            if size in sizes:
                found = _row(decayed, MAJORITIES + (size,) * MINORITIES)
                ridge.append({"decay": decay, "size": size, **found})
                progress.advance(1)
    tables = {"peeled": peeled, "thresholds": starts, "ridge": ridge, "law": law}
    return {name: pl.DataFrame(rows) for name, rows in tables.items()}


def draw(tables: Tables) -> object:
    """Margins: computed thresholds on the left, the closed form on the right."""
    figure, ((left, right),) = show.new_figure(1, 2, height=2.9)
    show.series(tables["peeled"], left, "ratio", "margin", "classes", marker=True, mfc="white")
    for place, row in enumerate(tables["thresholds"].iter_rows(named=True)):
        left.axvline(row["ratio"], color=show.COLORS[place], lw=0.9, ls=(0, (4, 2)))
    left.set_xlabel(r"imbalance $n_A/n_B$")
    left.set_ylabel("margin of minority classes")
    left.set_title(r"budgets $E_W = E_H = 1$")
    left.legend(loc="upper right", frameon=True, framealpha=1, edgecolor="none")
    for place, decay in enumerate(DECAYS):
        rows = tables["law"].filter(decay=decay)
        right.plot(rows["size"], rows["margin"], color=show.COLORS[place], lw=1)
        points = tables["ridge"].filter(decay=decay)
        label = rf"$\lambda = {decay:g}$"
        style = {"mfc": "white", "color": show.COLORS[place], "ls": "", "marker": "o", "ms": 3}
        right.plot(points["size"], points["margin"], label=label, **style)
    right.set_xscale("log")
    right.set_xlabel("samples of a minority class")
    right.set_title(r"weight decay, $1 - N\lambda/\sqrt{n}$")
    right.legend(loc="lower right")
    return figure


IMAGES = {"minority.svg": draw}
