"""What a low embedding dimension costs, and where it moves the collapse boundary."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import polars as pl

import ssem_jax as sx
from figures.common import Progress, Tables, certified_cells, threshold
from ssem_jax import show

NUM_CLASSES, NUM_INSTANCES = 3, 4
TEMPERATURE = 0.5
CELLS = ((0.3, "collapse"), (0.6, "spread"), (1.0, "all apart"))
"""α of the optima whose loss is followed over d, at τ = `TEMPERATURE`."""
DIMS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
FAST_DIMS = (2, 3, 11)
THRESHOLD_DIMS = (2, 3)
"""d = m-1, where the boundary moves, and d = m, where it does not."""
BEATS = 1e-8
"""By how much (nats) something must beat the collapsed point for collapse to have ended: a hundred
thousand times the rounding, and passed within 1e-3 of α after a continuous transition."""
NUM_STARTS = 8


def compute(fast: bool, progress: Progress) -> Tables:
    """The best of many starts in every dimension, its certified gap, and measured thresholds."""
    structure = sx.ClassStructure.balanced(NUM_CLASSES, NUM_INSTANCES)
    dims = FAST_DIMS if fast else DIMS
    starts = 1 if fast else NUM_STARTS
    columns = ("value", "lower", "gap", "delta2", "phase")

    grid = sx.Grid([structure], dims, [alpha for alpha, _ in CELLS], [TEMPERATURE])
    optima = certified_cells(grid.problems(), progress, columns, num_starts=starts)
    # Every certified lower bound holds in every dimension; the best is the convex optimum.
    optima = optima.with_columns(bound=pl.col("lower").max().over("alpha")).with_columns(
        excess=pl.col("value") - pl.col("bound")
    )

    alphas = np.linspace(0.25, 0.9, 9 if fast else 40).tolist()
    temperatures = (np.array([0.8]) if fast else np.geomspace(0.2, 1.2, 10)).tolist()
    grid = sx.Grid([structure], THRESHOLD_DIMS, alphas, [*temperatures, TEMPERATURE])
    cells = certified_cells(grid.problems(), progress, columns, num_starts=starts)
    point = sx.geometry.ssem_gram(structure, 0.0)

    @jax.jit
    @partial(jax.vmap, in_axes=(0, None))
    def at_collapse(alpha: jax.Array, tau: float) -> jax.Array:
        return sx.SupCL(alpha, tau).from_gram(point, structure)

    rows = []
    for (dim, tau), part in cells.group_by("dim", "temperature", maintain_order=True):
        part = part.sort("alpha")
        collapsed = np.asarray(at_collapse(part["alpha"].to_numpy(), tau))
        beaten = part["value"].to_numpy() < collapsed - BEATS
        low, high = threshold(part["alpha"].to_numpy(), beaten)
        if low < high:
            rows.append({"dim": dim, "temperature": tau, "alpha_lo": low, "alpha_hi": high})
    thresholds = pl.DataFrame(rows).filter(pl.col("temperature") != TEMPERATURE)

    tau = np.geomspace(0.19, 1.25, 121)
    counts = (NUM_CLASSES, NUM_INSTANCES, 1)
    boundary = pl.DataFrame(
        {
            "temperature": tau,
            "alpha_c": np.asarray(sx.theory.alpha_c(*counts, tau)),
            # Where collapse stops being a local minimum at d = m-1.
            "alpha_loc": np.asarray(sx.theory.alpha_local(*counts, tau)),
        }
    )
    slices = cells.filter(pl.col("temperature") == TEMPERATURE).select("dim", "alpha", "delta2")
    return {
        "optima": optima,
        "slices": slices,
        "thresholds": thresholds,
        "boundary": boundary,
        "curve": show.slice_table(cells, "alpha", [TEMPERATURE]).unique(maintain_order=True),
    }


def draw(tables: Tables) -> object:
    """Loss and gap over d; δ² over α and the boundary over τ at d = m-1 and d = m."""
    figure, axes = show.new_figure(2, 2, height=4.9)
    (loss, gap), (slices, thresholds) = axes
    full = NUM_CLASSES * NUM_INSTANCES - 1
    names = {alpha: rf"$\alpha={alpha:g}$, {name}" for alpha, name in CELLS}

    optima = tables["optima"].sort("alpha", "dim")
    bounds = optima.filter(pl.col("dim") == full)
    for place, row in enumerate(bounds.iter_rows(named=True)):
        loss.axhline(row["bound"], color=show.COLORS[place], lw=1, ls=(0, (4, 2)))
    show.series(optima, loss, "dim", "value", "alpha", names.get, marker=True, ls="", mfc="white")
    loss.plot([], [], color="0.3", ls=(0, (4, 2)), lw=1, label="convex (SDP) bound")
    loss.set_ylabel(show.axis("value"))
    show.series(optima, gap, "dim", "excess", "alpha", marker=True, mfc="white", lw=0.8)
    gap.set_yscale("log")
    gap.set_ylabel("loss above the bound (nats)")
    for ax in (loss, gap):
        ax.set_xlabel("dimension $d$")
        ax.set_xticks([1, 2, 5, 8, 11])
        for dim in (NUM_CLASSES - 1, NUM_CLASSES + NUM_INSTANCES - 2, full):
            ax.axvline(dim, color="0.75", lw=0.7, zorder=0)
    for dim, name in ((2, "$m-1$"), (5, "$m+n-2$"), (11, "$mn-1$")):
        gap.annotate(
            name, (dim, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=7
        )

    dims = {2: "$d=m-1$", 3: "$d=m$"}
    curve = tables["curve"]
    slices.plot(curve["alpha"], curve["delta2"], color="0.3", lw=1, label=r"theory, $d\geq mn-1$")
    options = {"marker": True, "ls": "", "mfc": "white", "first": 3, "ms": 3}
    show.series(tables["slices"], slices, "alpha", "delta2", "dim", dims.get, **options)
    slices.set_xlim(0.25, 0.9)
    slices.set_ylim(-0.02, 0.5)
    slices.set_xlabel(show.ALPHA)
    slices.set_ylabel(show.axis("delta2"))
    slices.legend(loc="upper left", handletextpad=0.3)
    slices.set_title(rf"$\tau={TEMPERATURE:g}$", loc="right", y=0.0, pad=4)

    boundary = tables["boundary"]
    thresholds.plot(boundary["temperature"], boundary["alpha_c"], "k-", lw=1, label=r"$\alpha_c$")
    thresholds.plot(
        boundary["temperature"],
        boundary["alpha_loc"],
        "k",
        lw=1,
        ls=(0, (4, 2)),
        label=r"$\alpha_{\mathrm{loc}}$ at $d=m-1$",
    )
    for place, (dim,) in enumerate(tables["thresholds"].select("dim").unique().sort("dim").rows()):
        rows = tables["thresholds"].filter(dim=dim)
        thresholds.vlines(
            rows["temperature"],
            rows["alpha_lo"],
            rows["alpha_hi"],
            color=show.COLORS[3 + place],
            lw=1.5,
        )
        thresholds.plot(
            rows["temperature"],
            (rows["alpha_lo"] + rows["alpha_hi"]) / 2,
            color=show.COLORS[3 + place],
            marker=show.MARKERS[3 + place],
            mfc="white",
            ls="",
            label=f"measured, {dims[dim]}",
        )
    thresholds.set_xscale("log")
    show.plain_log_ticks(thresholds)
    thresholds.set_xlabel(show.TAU)
    thresholds.set_ylabel(r"end of collapse, $\alpha$")
    thresholds.set_ylim(0.2, 1.15)
    thresholds.legend(loc="upper left", handletextpad=0.5)
    handles, labels = loss.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


IMAGES = {"dimension.svg": draw}
