"""The loss along SSEM(δ): one well becomes two at α_c, a pitchfork."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

import ssem_jax as sx
from figures.common import Progress, Tables, certified_cells
from ssem_jax import show

STRUCTURE = sx.ClassStructure.balanced(3, 4)
TEMPERATURE = 0.5


def compute(fast: bool, progress: Progress) -> Tables:
    """Loss of SSEM Gram matrices; the optimum in closed form and by free minimisation."""
    m, n, p = STRUCTURE.counts
    alpha_c = float(sx.theory.alpha_c(m, n, p, TEMPERATURE))
    deltas = np.linspace(-0.85, 0.85, 121)
    chosen = (0.2, alpha_c, 0.45, 0.55)
    loss_along = jax.jit(
        lambda alpha, delta: sx.SupCL(alpha, TEMPERATURE).from_gram(
            sx.geometry.ssem_gram(STRUCTURE, delta**2), STRUCTURE
        )
    )
    curves, wells = [], []
    for alpha in chosen:
        values = jax.vmap(loss_along, (None, 0))(alpha, jnp.asarray(deltas))
        excess = np.asarray(values) - float(loss_along(alpha, 0.0))
        curves.append(pl.DataFrame({"alpha": alpha, "delta": deltas, "excess": excess}))
        cell = (m, n, p, alpha, TEMPERATURE)
        delta = float(sx.theory.delta2(*cell)) ** 0.5
        depth = float(sx.theory.loss(*cell)) - float(loss_along(alpha, 0.0))
        wells += [{"alpha": alpha, "delta": sign * delta, "excess": depth} for sign in (-1, 1)]

    grid = np.linspace(0, 1, 201)
    fork = pl.DataFrame(
        {"alpha": grid, "delta": np.sqrt(np.asarray(sx.theory.delta2(m, n, p, grid, TEMPERATURE)))}
    )
    alphas = np.linspace(0, 1, 11 if fast else 31).tolist()
    problems = sx.Grid([STRUCTURE], ["full"], alphas, [TEMPERATURE]).problems()
    cells = certified_cells(problems, progress, ("delta2", "gap"))
    return {
        "curves": pl.concat(curves),
        "wells": pl.DataFrame(wells),
        "fork": fork,
        "cells": cells.with_columns(delta=pl.col("delta2").clip(0).sqrt()),
        "boundary": pl.DataFrame({"alpha_c": [alpha_c]}),
    }


def draw(tables: Tables) -> object:
    """Left: loss along δ for several α. Right: the optimal δ over α."""
    figure, axes = show.new_figure(1, 2, height=3.1)
    left, right = axes[0]
    (alpha_c,) = tables["boundary"]["alpha_c"]

    def name(alpha: float) -> str:
        return rf"$\alpha=\alpha_c={alpha:.3f}$" if alpha == alpha_c else rf"$\alpha={alpha:g}$"

    show.series(tables["curves"], left, "delta", "excess", "alpha", name)
    show.series(
        tables["wells"], left, "delta", "excess", "alpha", lambda _: None, marker=True, ls="", ms=5
    )
    left.set_ylim(-0.078, 0.115)
    left.set_xlabel(r"$\delta$ of SSEM($\delta$)")
    left.set_ylabel(r"$L(\delta)-L(0)$ (nats)")
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside upper center", ncols=4, columnspacing=1.2
    )

    fork = tables["fork"]
    for sign in (-1, 1):
        right.plot(fork["alpha"], sign * fork["delta"], "k-", lw=1.2)
        right.plot(
            tables["cells"]["alpha"],
            sign * tables["cells"]["delta"],
            color=show.COLORS[0],
            marker="o",
            ls="",
            mfc="white",
            ms=3,
        )
    right.plot([alpha_c, 1], [0, 0], "k", ls=(0, (4, 2)), lw=1)
    right.annotate(
        "collapse is a saddle",
        (0.97, 0.03),
        ha="right",
        va="bottom",
        fontsize=7.5,
        xycoords=("axes fraction", "data"),
    )
    right.set_xlabel(show.ALPHA)
    right.set_ylabel(r"optimal $\pm\delta$")
    return figure


IMAGES = {"landscape.svg": draw}
