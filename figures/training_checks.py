"""Trained encoders with long-tailed classes, wrong labels, and other widths, depths, dimensions."""

from __future__ import annotations

import numpy as np
import polars as pl

import ssem_jax as sx
from figures.common import Progress, Tables, experiment, mean_and_error
from ssem_jax import show

DEFAULTS = {"width": 128, "depth": 2, "dim": 64}
NAMES = {"width": "width", "depth": "hidden layers", "dim": "dimension $d$"}
NOISE = (
    "train_delta2",
    "expected_delta2",
    "coarse_knn",
    "fine_few_features",
    "fine_few_embeddings",
)


CURVE_POINTS = 81


def tail_curves(tail: pl.DataFrame) -> pl.DataFrame:
    """The reduced program between the α of the encoders; a row for each class."""
    sizes = tuple(tail["class_size"].unique(maintain_order=True))
    structure, (tau,) = sx.ClassStructure(sizes, num_views=2), tail["temperature"].unique()
    alphas = np.linspace(0, tail["alpha"].to_numpy().max(), CURVE_POINTS)
    curves = []
    for mean in tail["mean"].unique(maintain_order=True):
        loss = sx.SupCL(alphas, np.full_like(alphas, tau), "include", mean)
        found = sx.certificate.solve_reduced(sx.Problem(structure, None, loss))
        each = np.asarray(found.class_variances.delta2).T
        for size, delta2 in zip(sizes, each, strict=True):
            own = {"mean": mean, "class_size": size, "alpha": alphas, "delta2": delta2}
            curves.append(pl.DataFrame(own))
    return pl.concat(curves)


def compute(fast: bool, progress: Progress) -> Tables:
    """A row for each encoder, and in the long tail for each of its classes."""
    tail, wrong, shapes = (
        experiment(name, fast, progress) for name in ("long-tail", "noise", "architecture")
    )
    return {
        "tail_curves": tail_curves(tail),
        "tail": tail.select(
            "seed", "mean", "alpha", "class_size", "threshold",
            pl.col("train_delta2", "test_delta2", "predicted_delta2").cast(pl.Float32),
        ),
        "noise": wrong.select("seed", "share", "alpha", pl.col(NOISE).cast(pl.Float32)),
        "architecture": shapes.select(
            "seed", *DEFAULTS, "alpha", pl.col("train_delta2", "expected_delta2").cast(pl.Float32)
        ),
    }  # fmt: skip


def draw_tail(tables: Tables) -> object:
    """Variance of each class over α: reduced program as lines, encoders as points."""
    parts = tables["tail"].partition_by("mean", maintain_order=True)
    figure, axes = show.new_figure(1, len(parts), height=3.2, sharey=True)
    for ax, part in zip(axes[0], parts, strict=True):
        for place, own in enumerate(part.partition_by("class_size", maintain_order=True)):
            kind = {name: own[name][0] for name in ("mean", "class_size")}
            predicted = tables["tail_curves"].filter(**kind)
            found = mean_and_error(own, "alpha", "train_delta2")
            color, marker = show.COLORS[place], show.MARKERS[place]
            ax.plot(predicted["alpha"], predicted["delta2"], color=color, lw=1)
            ax.errorbar(
                found["alpha"],
                found["mean"],
                found["error"],
                color=color,
                marker=marker,
                lw=0,
                elinewidth=1,
                label=f"{kind['class_size']} instances",
            )
            ax.axvline(own["threshold"][0], ymax=0.05, color=color, lw=1.4)
        ax.set_title(f"mean over {part['mean'][0]}")
        ax.set_xlabel(show.ALPHA)
    axes[0, 0].set_ylabel(r"$\delta^2$ of a class (sq. length)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, columnspacing=1)
    return figure


def draw_noise(tables: Tables) -> object:
    """Variance and accuracies over the share of wrong labels, a colour for each α."""
    figure, axes = show.new_figure(1, 3, height=2.9)
    panels = (
        ("train_delta2", r"$\delta^2$, given labels"),
        ("coarse_knn", "accuracy, coarse"),
        ("fine_few_embeddings", "accuracy, fine classes"),
    )
    for ax, (quantity, label) in zip(axes[0], panels, strict=True):
        for place, part in enumerate(tables["noise"].partition_by("alpha", maintain_order=True)):
            color = show.COLORS[place]
            found = mean_and_error(
                part, "share", quantity, paired=None if "delta2" in quantity else tables["noise"]
            )
            ax.errorbar(
                found["share"],
                found["mean"],
                found["error"],
                color=color,
                marker=show.MARKERS[place],
                lw=0.8,
                elinewidth=1,
                label=rf"$\alpha={part['alpha'][0]:g}$",
            )
            if "delta2" in quantity:
                level = part["expected_delta2"].mean()
                ax.axhline(level, color=color, lw=0.8, ls=(0, (3, 2)))
        ax.set_xlabel("wrong labels")
        ax.set_ylabel(label)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, columnspacing=1)
    return figure


def draw_architecture(tables: Tables) -> object:
    """What is missing to the expected variance, over width, depth and dimension."""
    runs = tables["architecture"].with_columns(
        deviation=pl.col("train_delta2") - pl.col("expected_delta2")
    )
    figure, axes = show.new_figure(1, 3, height=2.9, sharey=True)
    for ax, varied in zip(axes[0], DEFAULTS, strict=True):
        others = {name: value for name, value in DEFAULTS.items() if name != varied}
        cells = runs.filter(**others)
        for place, part in enumerate(cells.partition_by("alpha", maintain_order=True)):
            found = mean_and_error(part, varied, "deviation").sort(varied)
            ax.errorbar(
                found[varied],
                found["mean"],
                found["error"],
                color=show.COLORS[place],
                marker=show.MARKERS[place],
                lw=0.8,
                elinewidth=1,
                label=rf"$\alpha={part['alpha'][0]:g}$",
            )
        ax.axhline(0, color="0.45", lw=0.8, ls=(0, (3, 2)))
        ax.set_xscale("log", base=2)
        values = sorted(cells[varied].unique())
        ax.set_xticks(values, [f"{value:g}" for value in values])
        ax.set_xlabel(NAMES[varied])
    axes[0, 0].set_ylabel(r"measured $-$ expected $\delta^2$")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, columnspacing=1)
    return figure


IMAGES = {
    "training_long_tail.svg": draw_tail,
    "training_noise.svg": draw_noise,
    "training_architecture.svg": draw_architecture,
}
