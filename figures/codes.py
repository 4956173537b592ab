"""What is best in R^d for M points: bounds of linear programming, and what minimisation finds."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.optimize import minimize

import ssem_jax as sx
from figures.common import SEED, Progress, Tables
from ssem_jax import show

TEMPERATURE = 0.5
DIMS = (2, 3, 4, 5, 6)
MOST = 14
"""Points of the map at most."""
TEMPERATURES = (0.1, 0.16, 0.27, 0.45, 0.74, 1.2, 2.0)
KNOWN = {
    (4, 3): "tetrahedron",
    (4, 2): "square",
    (6, 3): "octahedron",
    (8, 4): "16-cell",
    (12, 3): "icosahedron",
    (5, 3): "5 points in $R^3$",
    (8, 3): "8 points in $R^3$",
}
"""(M, d) of the curves; the first five are sharp codes."""
ATTAINED = 1e-9
NUM_STARTS = 5


def loss_and_slope(flat: np.ndarray, dim: int, tau: float) -> tuple[float, np.ndarray]:
    """The mean of log Σ_j exp((t_ij - 1)/τ) of normalised rows, and its gradient."""
    rows = flat.reshape(-1, dim)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    points = rows / norms
    weights = np.exp((points @ points.T - 1) / tau)
    sums = weights.sum(1, keepdims=True)
    shares = weights / sums / (len(points) * tau)
    slope = (shares + shares.T) @ points
    slope -= points * (slope * points).sum(1, keepdims=True)
    return float(np.mean(np.log(sums))), (slope / norms).ravel()


def best_found(size: int, dim: int, tau: float, starts: int) -> float:
    """The least loss of a code that descents from random starts find."""
    rng = np.random.default_rng((SEED, size, dim))
    options = {"maxiter": 400, "ftol": 1e-15, "gtol": 1e-10}
    return min(
        minimize(
            loss_and_slope,
            rng.normal(size=size * dim),
            (dim, tau),
            "L-BFGS-B",
            jac=True,
            options=options,
        ).fun
        for _ in range(starts)
    )


def compute(fast: bool, progress: Progress) -> Tables:
    """Best codes and bounds: over M and d at one τ, and over τ for known codes."""
    cells = [(m, d, TEMPERATURE) for d in DIMS for m in range(3, 8 if fast else MOST + 1)]
    taus = TEMPERATURES[::3] if fast else TEMPERATURES
    lines = [(m, d, tau) for m, d in KNOWN for tau in taus]
    progress.begin(len(cells) + len(lines))
    rows = []
    for size, dim, tau in (*cells, *lines):
        best = best_found(size, dim, tau, 2 if fast else NUM_STARTS)
        bound = sx.balls.code_bound(size, dim, tau).loss
        rows.append((size, dim, tau, best, bound, max(best - bound, 0.0)))
        progress.advance(1)
    names = ("points", "dim", "temperature", "best", "bound", "excess")
    table = pl.DataFrame(rows, names, orient="row")
    return {"map": table[: len(cells)], "curves": table[len(cells) :]}


def draw(tables: Tables) -> object:
    """Left: how far the best found is above the bound, over M and d. Right: over τ."""
    figure, axes = show.new_figure(1, 2, height=3.2)
    left, right = axes[0]
    cells = tables["map"]
    sizes = sorted(cells["points"].unique())
    places = {size: place for place, size in enumerate(sizes)}
    dims = sorted(cells["dim"].unique())
    image = np.full((len(sizes), len(dims)), np.nan)
    for size, dim, excess in cells.select("points", "dim", "excess").iter_rows():
        image[places[size], dims.index(dim)] = np.log10(max(excess, 1e-12))
    shown = left.imshow(image, origin="lower", aspect="auto", cmap="viridis", vmin=-12, vmax=0)
    for size, dim, excess in cells.select("points", "dim", "excess").iter_rows():
        if excess <= ATTAINED:
            at = dims.index(dim), places[size]
            left.annotate("=", at, ha="center", va="center", color="white", fontsize=8)
    left.set_xticks(range(len(dims)), [f"{dim}" for dim in dims])
    left.set_yticks(range(len(sizes)), [f"{size}" for size in sizes])
    left.tick_params(axis="y", labelsize=6)
    left.set_xlabel("dimension $d$")
    left.set_ylabel("points $M$")
    left.set_title(rf"$\tau={TEMPERATURE:g}$; = is attained")
    show.color_bar(figure, shown, left, r"$\log_{10}$ of best found - bound")
    for place, ((size, dim), name) in enumerate(KNOWN.items()):
        part = tables["curves"].filter(pl.col("points") == size, pl.col("dim") == dim)
        right.plot(
            part["temperature"],
            part["excess"].clip(1e-16),
            color=show.COLORS[place],
            marker=show.MARKERS[place],
            mfc="white",
            lw=0.8,
            label=name,
        )
    right.axhline(ATTAINED, color="0.4", lw=0.8, ls=(0, (4, 2)))
    right.set_xscale("log")
    right.set_yscale("log")
    show.plain_log_ticks(right)
    right.set_xlabel(show.TAU)
    right.set_ylabel("best found - bound (nats)")
    handles = right.get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=4, columnspacing=1.2)
    return figure


IMAGES = {"codes.svg": draw}
