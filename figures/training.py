"""Trained encoders against the theory of free embeddings; what transfers at which variance."""

from __future__ import annotations

import numpy as np
import polars as pl

import ssem_jax as sx
from figures.common import Progress, Tables, experiment, mean_and_error
from ssem_jax import show

MEASURED = ("train_delta2", "test_delta2", "train_between", "test_between")
TRANSFER = tuple(
    f"{target}_few_{layer}" for target in ("fine", "unseen") for layer in ("features", "embeddings")
)
BATCH, DATASET_SIZE = (3, 8, 2), 232
"""Classes, instances and views in a batch of the experiment; instances of a class in training."""
POINTS, TEMPERATURES = 201, (0.1, 0.3, 1.0)
COLUMNS = (("digits", "features"), ("digits", "embeddings"), ("mixture", "embeddings"))
"""Of the panels of transfer; on the features of mixtures every accuracy is at its ceiling."""
RANGES = {"fine": (0.8, 1.0), "unseen": (0.64, 1.0)}
"""Of accuracies on digits."""


def compute(fast: bool, progress: Progress) -> Tables:
    """A row for each encoder, its controls, and the closed forms between the cells."""
    tables = {}
    for data, name in (("digits", "digits-grid"), ("mixture", "mixture")):
        runs = experiment(name, fast, progress)
        trained = runs.filter(encoder="trained")
        floats = (*MEASURED, *TRANSFER, "expected_delta2", "predicted_delta2")
        tables[data] = trained.select("seed", "alpha", "temperature", *floats).with_columns(
            pl.col(floats).cast(pl.Float32)
        )
        tables[f"{data}_controls"] = runs.filter(pl.col("encoder") != "trained").select(
            "seed", "encoder", pl.col(TRANSFER).cast(pl.Float32)
        )
    temperatures = tables["digits"]["temperature"].unique(maintain_order=True)
    alphas = np.linspace(0, 1, POINTS)
    curves = []
    for tau in temperatures:
        found = sx.theory.variances(*BATCH, alphas, tau)
        batch = sx.ClassStructure.balanced(*BATCH)
        mean = sx.theory.dataset_optimum(batch, DATASET_SIZE, alphas, tau)
        curves.append(
            pl.DataFrame(
                {
                    "temperature": tau,
                    "alpha": alphas,
                    "delta2": np.asarray(found.within),
                    "between": np.asarray(found.between),
                    "expected_delta2": mean.variances.delta2,
                    "expected_between": mean.variances.between,
                }
            )
        )
    return {**tables, "curves": pl.concat(curves)}


def draw_variance(tables: Tables) -> object:
    """Variance of instance means, and of class means, over α; a column for each τ."""
    runs, curves = tables["digits"], tables["curves"]
    parts = runs.partition_by("temperature", maintain_order=True)
    figure, axes = show.new_figure(2, len(parts), height=4.2, sharex=True, sharey=True)
    for column, part in zip(axes.T, parts, strict=True):
        tau = part["temperature"][0]
        theory = curves.filter(temperature=tau)
        for ax, quantity in zip(column, ("delta2", "between"), strict=True):
            ax.plot(theory["alpha"], theory[quantity], color="black", lw=1, label="one batch")
            ax.plot(
                theory["alpha"],
                theory[f"expected_{quantity}"],
                color="0.45",
                lw=0.9,
                ls=(0, (3, 2)),
                label="whole data set",
            )
            for place, (source, label) in enumerate(
                (("train", "trained encoders"), ("test", "on held-out instances"))
            ):
                cells = mean_and_error(part, "alpha", f"{source}_{quantity}")
                ax.errorbar(
                    cells["alpha"],
                    cells["mean"],
                    cells["error"],
                    color=show.COLORS[place],
                    marker=show.MARKERS[place],
                    mfc="white" if place else show.COLORS[place],
                    ms=4 - place,
                    lw=0,
                    elinewidth=1,
                    label=label,
                )
        column[0].set_title(rf"$\tau={tau:g}$")
        column[-1].set_xlabel(show.ALPHA)
    axes[0, 0].set_ylabel(show.axis("delta2"))
    axes[1, 0].set_ylabel(show.axis("between_variance"))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, columnspacing=1)
    return figure


def draw_transfer(tables: Tables) -> object:
    """Few-shot accuracy over within-class variance; rows: what is probed, columns: data, layer."""
    figure, axes = show.new_figure(2, len(COLUMNS), height=4.4, sharex="col")
    for row, target in zip(axes, ("fine", "unseen"), strict=True):
        for ax, (data, layer) in zip(row, COLUMNS, strict=True):
            quantity = f"{target}_few_{layer}"
            runs, controls = tables[data], tables[f"{data}_controls"]
            for kind, style in (("inputs", (0, (4, 2))), ("initial", (0, (1, 1.5)))):
                level = controls.filter(encoder=kind)[quantity].mean()
                label = {"inputs": "inputs themselves", "initial": "untrained encoder"}[kind]
                ax.axhline(level, color="0.45", lw=0.8, ls=style, label=label)
            for part in runs.partition_by("temperature", maintain_order=True):
                place = TEMPERATURES.index(part["temperature"][0])
                spread = mean_and_error(part, "alpha", "test_delta2")
                # Of mixtures nearly all accuracies are 1, whatever the seed.
                paired = runs if data == "digits" else None
                found = mean_and_error(part, "alpha", quantity, paired=paired)
                ax.errorbar(
                    spread["mean"],
                    found["mean"],
                    found["error"],
                    spread["error"],
                    color=show.COLORS[place],
                    marker=show.MARKERS[place],
                    ms=3.5,
                    lw=0.7,
                    elinewidth=0.9,
                    label=rf"$\tau={part['temperature'][0]:g}$",
                )
            ax.set_xscale("log")
            if data == "digits":
                ax.set_ylim(*RANGES[target])
        row[0].set_ylabel(f"accuracy, {target} classes")
    for ax, (data, layer) in zip(axes[0], COLUMNS, strict=True):
        ax.set_title(f"{data},\n{layer}")
    for ax in axes[-1]:
        ax.set_xlabel(r"$\delta^2$, held out")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, columnspacing=1)
    return figure


IMAGES = {"training_variance.svg": draw_variance, "training_transfer.svg": draw_transfer}
