"""Descent of free embeddings, of an encoder on one batch, and of an encoder on a data set."""

from __future__ import annotations

import numpy as np
import polars as pl

from figures.common import Progress, Tables, experiment
from ssem_jax import show

KINDS = {
    "free": "free embeddings",
    "one batch": "encoder, one batch",
    "data set": "encoder, data set",
}
SETTLED = 0.005
"""Distance of δ² from its end at which it counts as settled."""
SHOWN_SEED = 0


def settling(path: pl.DataFrame, end: float) -> float:
    """The first recorded step from which δ² stays near `end`; infinite if it does not get there."""
    steps, delta2 = (path.sort("step")[name].to_numpy() for name in ("step", "delta2"))
    away = np.flatnonzero(np.abs(delta2 - end) > SETTLED)
    first = away[-1] + 1 if len(away) else 0
    return float(steps[first]) if first < len(steps) else float("inf")


def compute(fast: bool, progress: Progress) -> Tables:
    """Paths of one seed, and for every seed how long δ² takes to its end."""
    runs = experiment("dynamics", fast, progress)
    times = []
    keys = ("kind", "seed", "alpha")
    for (kind, seed, alpha), path in runs.group_by(*keys, maintain_order=True):
        last = path.sort("step").tail(1)
        times.append(
            {
                "kind": kind,
                "seed": seed,
                "alpha": alpha,
                "distance": abs(alpha - path["alpha_c"][0]),
                "side": "spread" if alpha > path["alpha_c"][0] else "collapse",
                "steps": settling(path, last["predicted_delta2"][0]),
                "deviation": last["delta2"][0] - last["predicted_delta2"][0],
            }
        )
    paths = runs.filter(seed=SHOWN_SEED).select(
        "kind", "alpha", "alpha_c", pl.col("step").cast(pl.Int32),
        pl.col(
            "delta2", "between", "predicted_delta2", "predicted_between", "expected_delta2"
        ).cast(pl.Float32),
    )  # fmt: skip
    return {"paths": paths, "times": pl.DataFrame(times)}


def draw(tables: Tables) -> object:
    """Top: paths in the plane of the two variances. Bottom: steps to settle, δ² on a data set."""
    figure, axes = show.new_figure(2, 3, height=4.6)
    paths, times = tables["paths"], tables["times"]
    alphas = sorted(paths["alpha"].unique())
    chosen = [alphas[0], *alphas[-3:]]
    for ax, kind in zip(axes[0], KINDS, strict=True):
        for place, alpha in enumerate(chosen):
            path = paths.filter(pl.col("alpha") == alpha, kind=kind).sort("step")
            color = show.COLORS[place]
            label = rf"$\alpha-\alpha_c={alpha - path['alpha_c'][0]:+.2f}$"
            ax.plot(path["delta2"], path["between"], color=color, lw=0.9, label=label)
            ax.plot(
                path["predicted_delta2"][:1],
                path["predicted_between"][:1],
                color=color,
                marker=show.MARKERS[place],
                ms=6,
                mec="black",
                mew=0.7,
                ls="",
                clip_on=False,
                zorder=5,
            )
        ax.plot([0, 1], [1, 0], color="0.45", lw=0.8, ls=(0, (4, 2)), zorder=0)
        ax.set_title(KINDS[kind])
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1.02)
        ax.set_xlabel(show.axis("delta2"))
    axes[0, 0].set_ylabel(show.axis("between_variance"))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, columnspacing=1)

    sides = {"collapse": r"$\alpha<\alpha_c$", "spread": r"$\alpha>\alpha_c$"}
    for ax, kind in zip(axes[1], ("free", "one batch"), strict=False):
        for place, (side, label) in enumerate(sides.items()):
            own = times.filter(kind=kind, side=side).filter(pl.col("steps").is_finite())
            color, marker = show.COLORS[4 + place], show.MARKERS[4 + place]
            ax.plot(
                own["distance"],
                own["steps"],
                color=color,
                marker=marker,
                mfc="none",
                ls="",
                label=label,
            )
            middle = own.group_by("distance").agg(pl.col("steps").median()).sort("distance")
            ax.plot(middle["distance"], middle["steps"], color=color, lw=0.8)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_ylim(30, 2000)
        show.plain_log_ticks(ax, (0.03, 0.1, 0.3))
        ax.set_xlabel(r"$|\alpha-\alpha_c|$")
        ax.set_ylabel("steps to settle")
        ax.legend(loc="best")
    last = axes[1, 2]
    for place, alpha in enumerate(chosen):
        path = paths.filter(pl.col("alpha") == alpha, kind="data set").sort("step")
        color = show.COLORS[place]
        last.plot(path["step"] + 1, path["delta2"], color=color, lw=0.9)
        last.axhline(path["expected_delta2"][0], color=color, lw=0.8, ls=(0, (3, 2)))
    last.set_xscale("log")
    last.set_ylim(-0.02, 1)
    last.set_xlabel("step + 1")
    last.set_ylabel(show.axis("delta2"))
    return figure


IMAGES = {"training_dynamics.svg": draw}
