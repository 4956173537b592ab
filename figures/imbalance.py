"""Unbalanced classes: the order in which they leave collapse, class means, minority collapse."""

from __future__ import annotations

import jax
import numpy as np
import polars as pl

import ssem_jax as sx
from figures.common import SEED, Progress, Tables, matrix_of, matrix_table
from ssem_jax import show

ORDER_SIZES, ORDER_TEMPERATURE = (8, 4, 2), 0.3
GRAM_ALPHA, GRAM_TEMPERATURE = 0.0, 2.0
TOTAL, MINORITIES = 40, (10, 8, 6, 5, 4, 3, 2)
"""Sizes k of two minority classes beside a majority of 40 - 2k: one N, so one compiled kernel."""
SHOWN = (10, 6, 4, 2)
"""Minority sizes whose Gram matrices of class means are shown."""
FAST_TOTAL, FAST_MINORITIES = sum(ORDER_SIZES), (5, 4, 3, 2)
TEMPERATURES = (1.5, 2.0, 4.0)
NAMES = ("majority", "middle", "minority")


def _solve(structure, dim, loss, progress):
    problem = sx.Problem(structure, dim, loss)
    progress.begin(problem.batch_size)
    solution = sx.solve(problem, jax.random.key(SEED), progress=progress.advance)
    gaps = np.asarray(sx.certify(solution).gap)
    return np.asarray(solution.embeddings), gaps


def compute(fast: bool, progress: Progress) -> Tables:
    """Certified optima along α and along the imbalance; thresholds in closed form."""
    alphas = np.linspace(0, 1, 21 if fast else 81)
    structure = sx.ClassStructure(ORDER_SIZES)
    order, bounds = [], []
    for mean in ("anchors", "pairs"):
        loss = sx.SupCL(alphas, np.full_like(alphas, ORDER_TEMPERATURE), "include", mean)
        points, gaps = _solve(structure, structure.total_instances - 1, loss, progress)
        within = jax.vmap(lambda at: sx.geometry.class_variances(at, structure).within)(points)
        for place, name in enumerate(NAMES):
            order.append(
                pl.DataFrame(
                    {
                        "mean": mean,
                        "class": f"{name}, {ORDER_SIZES[place]}",
                        "alpha": alphas,
                        "within_variance": np.asarray(within)[:, place],
                        "gap": gaps,
                    }
                )
            )
        if mean == "anchors":
            starts = sx.advice.collapse_thresholds(structure, ORDER_TEMPERATURE, mean=mean)
            for place, name in enumerate(NAMES):
                label = f"{name}, {ORDER_SIZES[place]}"
                bounds.append({"mean": mean, "class": label, "threshold": float(starts[place])})
    common = sum(ORDER_SIZES) / sum(size**2 for size in ORDER_SIZES)
    bounds.append({"mean": "pairs", "class": "all, τ → 0", "threshold": common})

    total, minorities, shown = TOTAL, MINORITIES, SHOWN
    if fast:
        total, minorities, shown = FAST_TOTAL, FAST_MINORITIES, FAST_MINORITIES
    grams, cosines = {}, []
    for small in minorities:
        structure = sx.ClassStructure((total - 2 * small, small, small))
        taus = np.asarray(TEMPERATURES)
        loss = sx.SupCL(np.full_like(taus, GRAM_ALPHA), taus, "include", "anchors")
        points, gaps = _solve(structure, total - 1, loss, progress)
        found = np.asarray(
            jax.vmap(lambda at, s=structure: sx.geometry.class_mean_cosines(at, s))(points)
        )
        for tau, matrix, gap in zip(TEMPERATURES, found, gaps, strict=True):
            cosines.append(
                {
                    "temperature": tau,
                    "ratio": (total - 2 * small) / (2 * small),
                    "minority_minority": matrix[1, 2],
                    "majority_minority": matrix[0, 1],
                    "gap": gap,
                }
            )
        if small in shown:
            grams[f"{total - 2 * small},{small},{small}"] = found[
                TEMPERATURES.index(GRAM_TEMPERATURE)
            ]
    merging = {
        "temperature": TEMPERATURES,
        "ratio": [sx.theory.minority_collapse_ratio(2, tau) for tau in TEMPERATURES],
    }
    return {
        "order": pl.concat(order),
        "thresholds": pl.DataFrame(bounds),
        "gram": matrix_table(grams, "sizes"),
        "cosines": pl.DataFrame(cosines).sort("temperature", "ratio"),
        "merging": pl.DataFrame(merging),
    }


def draw_order(tables: Tables) -> object:
    """Within-class variance of every class against α."""
    figure, axes = show.new_figure(1, 2, height=2.9, sharey=True)
    titles = {"anchors": "mean over anchors", "pairs": "mean over pairs"}
    for ax, mean in zip(axes[0], titles, strict=True):
        rows = tables["order"].filter(mean=mean)
        show.series(
            rows, ax, "alpha", "within_variance", "class", marker=True, ms=2.5, mfc="white", lw=0.8
        )
        for place, row in enumerate(tables["thresholds"].filter(mean=mean).iter_rows(named=True)):
            color = show.COLORS[place] if mean == "anchors" else "0.3"
            ax.axvline(row["threshold"], color=color, lw=0.9, ls=(0, (4, 2)))
        ax.set_title(titles[mean])
        ax.set_xlabel(show.ALPHA)
    axes[0, 0].set_ylabel("class variance (sq. length)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def draw_gram(tables: Tables) -> object:
    """Cosines of class means as imbalance grows, and where minorities merge."""
    figure, axes = show.new_figure(2, 4, height=4.3, height_ratios=(1, 1.7))
    grid = axes[1, 0].get_gridspec()
    for ax in axes[1]:
        ax.remove()
    image = None
    for ax, part in zip(
        axes[0], tables["gram"].partition_by("sizes", maintain_order=True), strict=True
    ):
        matrix = matrix_of(part)
        image = show.gram(matrix, ax)
        show.write_numbers(matrix, ax)
        ax.set_title(part["sizes"][0].replace(",", ", "), pad=3)
    show.color_bar(figure, image, axes[0], "cosine", aspect=14, ticks=(-1, 0, 1))

    ax = figure.add_subplot(grid[1, :])
    show.series(
        tables["cosines"],
        ax,
        "ratio",
        "minority_minority",
        "temperature",
        lambda tau: rf"$\tau={tau:g}$",
        marker=True,
        mfc="white",
        lw=0.8,
    )
    for place, row in enumerate(tables["merging"].iter_rows(named=True)):
        ax.axvline(row["ratio"], color=show.COLORS[place], lw=0.9, ls=(0, (4, 2)))
    ax.set_xlim(0.3, 10)
    ax.set_xlabel(r"imbalance $\rho=n_{\mathrm{maj}}/(2\,n_{\mathrm{min}})$")
    ax.set_ylabel("cosine of the minority means")
    ax.legend(loc="lower right")
    return figure


IMAGES = {"imbalance_order.svg": draw_order, "imbalance_gram.svg": draw_gram}
