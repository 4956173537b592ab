"""Gradient descent on free embeddings: where it goes, and how long it takes near the boundary."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

import ssem_jax as sx
from figures.common import (
    SEED,
    Progress,
    Tables,
    descend,
    descent_step,
    growing,
    riemannian_gradient,
)
from ssem_jax import show

STRUCTURE = sx.ClassStructure.balanced(3, 4)
TEMPERATURE, RATE = 0.5, 0.05
CELLS = ((0.2, "collapse"), (0.6, "spread"), (1.0, "full simplex"))
STARTS, STEPS, SHOWN = 6, 1000, 80
GRADIENT_GOAL = 1e-6
"""Norm of the gradient of N·L at which descent counts as converged."""
MAX_STEPS = 300_000


def _starts(count: int, offset: int) -> jax.Array:
    shape = (count, STRUCTURE.num_embeddings, STRUCTURE.num_embeddings - 1)
    points = jax.random.normal(jax.random.key(SEED + offset), shape)
    return sx.geometry.normalize(points)


def steps_to_converge(alphas: np.ndarray) -> np.ndarray:
    """Steps until the gradient is small, from one random start for each α."""

    def descent(alpha: jax.Array, start: jax.Array) -> jax.Array:
        loss = sx.SupCL(alpha, TEMPERATURE)

        def goes_on(state: tuple[jax.Array, jax.Array]) -> jax.Array:
            slope = riemannian_gradient(loss, STRUCTURE, state[1])
            return (jnp.linalg.norm(slope) > GRADIENT_GOAL) & (state[0] < MAX_STEPS)

        def ten(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            points = jax.lax.fori_loop(
                0, 10, lambda _, at: descent_step(loss, STRUCTURE, RATE, at), state[1]
            )
            return state[0] + 10, points

        return jax.lax.while_loop(goes_on, ten, (jnp.asarray(0), start))[0]

    one = jax.jit(descent)
    start = _starts(1, 7)[0]
    return np.array([int(one(alpha, start)) for alpha in alphas])


def compute(fast: bool, progress: Progress) -> Tables:
    """Trajectories as block averages of the Gram matrix, the exact optimum, steps to converge."""
    m, n, p = STRUCTURE.counts
    paths, optima = [], []
    progress.begin(len(CELLS))
    averages = jax.jit(
        jax.vmap(
            jax.vmap(lambda at: jnp.stack(sx.geometry.block_similarities(at @ at.T, STRUCTURE)[1:]))
        )
    )
    for alpha, name in CELLS:
        loss = sx.SupCL(alpha, TEMPERATURE)
        steps = STEPS // 4 if fast else STEPS
        path = np.asarray(averages(descend(loss, STRUCTURE, _starts(STARTS, 1), RATE, steps, 1)))
        shown = growing(steps, SHOWN)
        path = path[shown]
        times, starts = np.indices(path.shape[:2])
        paths.append(
            pl.DataFrame(
                {
                    "name": name,
                    "start": starts.ravel(),
                    "step": shown[times.ravel()],
                    "within": path[..., 0].ravel(),
                    "between": path[..., 1].ravel(),
                }
            )
        )
        optimum = sx.theory.similarities(m, n, p, alpha, TEMPERATURE)
        optima.append(
            {
                "name": name,
                "alpha": alpha,
                "within": float(optimum.within),
                "between": float(optimum.between),
            }
        )
        progress.advance(1)

    alpha_c = float(sx.theory.alpha_c(m, n, p, TEMPERATURE))
    distances = np.geomspace(0.02 if fast else 0.002, 0.2, 4 if fast else 11)
    rows = []
    for side, sign in (("collapse", -1), ("spread", 1)):
        alphas = alpha_c + sign * distances
        rows.append(
            pl.DataFrame(
                {
                    "side": side,
                    "alpha": alphas,
                    "distance": distances,
                    "steps": steps_to_converge(alphas),
                }
            )
        )
    narrow = pl.col("within", "between").cast(pl.Float32)
    return {
        "paths": pl.concat(paths).with_columns(narrow, pl.col("start", "step").cast(pl.Int16)),
        "optima": pl.DataFrame(optima),
        "times": pl.concat(rows),
    }


def draw(tables: Tables) -> object:
    """Left: trajectories and exact optima. Right: steps to converge over |α - α_c|."""
    figure, axes = show.new_figure(1, 2, height=3.1)
    left, right = axes[0]
    for place, row in enumerate(tables["optima"].iter_rows(named=True)):
        paths = tables["paths"].filter(name=row["name"])
        for path in paths.partition_by("start", maintain_order=True):
            show.series(
                path.sort("step"),
                left,
                "within",
                "between",
                first=place,
                lw=0.8,
                color=show.COLORS[place],
            )
        left.plot(
            row["within"],
            row["between"],
            color=show.COLORS[place],
            marker=show.MARKERS[place],
            ms=7,
            mec="black",
            mew=0.8,
            ls="",
            zorder=5,
            label=rf"$\alpha={row['alpha']:g}$, {row['name']}",
        )
    delta2 = np.linspace(0, 1, 50)
    family = sx.geometry.similarities_of(
        sx.geometry.Variances(0 * delta2, delta2, 1 - delta2, 0 * delta2), *STRUCTURE.counts
    )
    left.plot(
        family.within,
        family.between,
        color="0.4",
        lw=0.9,
        ls=(0, (4, 2)),
        label=r"SSEM($\delta$)",
        zorder=0,
    )
    left.set_xlim(-0.4, 1.06)
    left.set_ylim(-0.54, 0.1)
    left.set_xlabel(r"$s_{\mathrm{within}}$")
    left.set_ylabel(r"$s_{\mathrm{between}}$")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=2)

    names = {"collapse": r"$\alpha<\alpha_c$", "spread": r"$\alpha>\alpha_c$"}
    show.series(
        tables["times"],
        right,
        "distance",
        "steps",
        "side",
        names.get,
        marker=True,
        mfc="white",
        lw=0.8,
    )
    guide = tables["times"].filter(side="spread").sort("distance")
    x = guide["distance"].to_numpy()
    right.plot(
        x, 1.7 * guide["steps"][0] * x[0] / x, color="0.4", lw=0.9, ls=(0, (4, 2)), label="slope −1"
    )
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xlabel(r"$|\alpha-\alpha_c|$")
    right.set_ylabel("gradient steps to converge")
    right.set_xlim(x[0] / 1.3, x[-1] * 1.3)
    right.set_ylim(bottom=60)
    show.plain_log_ticks(right, (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2))
    right.legend(loc="lower left")
    return figure


IMAGES = {"dynamics.svg": draw}
