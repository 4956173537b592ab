"""The spectrum of the dual certificate: nonnegative at an optimum, negative where one escapes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

import ssem_jax as sx
from figures.common import SEED, Progress, Tables
from ssem_jax import show

STRUCTURE = sx.ClassStructure.balanced(3, 4, 2)
TEMPERATURE = 0.5
ALPHAS = (0.2, 0.6, 1.0)
KINDS = ("view", "instance", "class", "mean")


def dual_matrix(loss: sx.GramLoss, gram: jax.Array) -> jax.Array:
    """N·S, whose eigenvalues do not shrink as N grows."""
    return STRUCTURE.num_embeddings * sx.certificate.dual_of_gram(gram, STRUCTURE, loss)


def modes() -> np.ndarray:
    """One unit eigenvector of each kind: (4, N)."""
    p, n = STRUCTURE.num_views, STRUCTURE.num_instances
    vectors = np.zeros((4, STRUCTURE.num_embeddings))
    vectors[0, :2] = 1, -1
    vectors[1, :p], vectors[1, p : 2 * p] = 1, -1
    vectors[2, : n * p], vectors[2, n * p : 2 * n * p] = 1, -1
    vectors[3] = 1
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def compute(fast: bool, progress: Progress) -> Tables:
    """Spectra at certified optima, and of the collapsed point along α."""
    alphas = np.asarray(ALPHAS)
    loss = sx.SupCL(alphas, np.full_like(alphas, TEMPERATURE))
    # More dimensions than this convention needs: as many as the slices, whose kernel this shares.
    problem = sx.Problem(STRUCTURE, sx.geometry.full_dimension(STRUCTURE, "exclude"), loss)
    progress.begin(len(ALPHAS))
    solution = sx.solve(problem, jax.random.key(SEED), progress=progress.advance)
    gaps = np.asarray(sx.certify(solution).gap)
    spectra = []
    for cell, alpha in enumerate(ALPHAS):
        points = solution.embeddings[cell]
        dual = dual_matrix(sx.SupCL(alpha, TEMPERATURE), points @ points.T)
        spectra.append(
            pl.DataFrame(
                {
                    "alpha": alpha,
                    "index": np.arange(1, STRUCTURE.num_embeddings + 1),
                    "eigenvalue": np.linalg.eigvalsh(np.asarray(dual)),
                    "gap": gaps[cell],
                }
            )
        )
    collapsed = sx.geometry.ssem_gram(STRUCTURE, 0.0)
    vectors = modes()

    @jax.jit
    @jax.vmap
    def of_kinds(alpha: jax.Array) -> jax.Array:
        dual = dual_matrix(sx.SupCL(alpha, TEMPERATURE), collapsed)
        return jnp.einsum("kn,nl,kl->k", vectors, dual, vectors)

    grid = np.linspace(0, 1, 21 if fast else 101)
    values = np.asarray(of_kinds(grid))
    branches = [
        pl.DataFrame({"kind": kind, "alpha": grid, "eigenvalue": values[:, place]})
        for place, kind in enumerate(KINDS)
    ]
    m, n, p = STRUCTURE.counts
    alpha_c = float(sx.theory.alpha_c(m, n, p, TEMPERATURE))
    return {
        "spectra": pl.concat(spectra),
        "branches": pl.concat(branches),
        "boundary": pl.DataFrame({"alpha_c": [alpha_c]}),
    }


def draw(tables: Tables) -> object:
    """Left: at three optima. Right: at the collapsed point, one branch crosses zero at α_c."""
    figure, axes = show.new_figure(1, 2, height=2.9)
    left, right = axes[0]
    show.series(
        tables["spectra"],
        left,
        "index",
        "eigenvalue",
        "alpha",
        lambda alpha: rf"$\alpha={alpha:g}$",
        marker=True,
        ls="",
        mfc="white",
    )
    left.set_xlabel("index, ascending")
    left.set_ylabel(r"eigenvalue of $N\,S$")
    left.set_title("at the optimum")
    left.legend(loc="upper left", handletextpad=0.2)
    dashes = ["-", "-", (0, (4, 2)), (0, (1, 1.2))]
    for place, (part, dash) in enumerate(
        zip(tables["branches"].partition_by("kind", maintain_order=True), dashes, strict=True)
    ):
        show.series(part, right, "alpha", "eigenvalue", "kind", first=place, ls=dash)
    (alpha_c,) = tables["boundary"]["alpha_c"]
    right.axvline(alpha_c, color="0.4", lw=0.8, ls=(0, (4, 2)))
    right.annotate(
        r"$\alpha_c$",
        (alpha_c, 0.0),
        xycoords=("data", "axes fraction"),
        xytext=(3, 4),
        textcoords="offset points",
    )
    right.axhline(0, color="0.4", lw=0.6, zorder=0)
    right.set_xlabel(show.ALPHA)
    right.set_title("at the collapsed point")
    right.set_ylim(top=1.75)
    right.legend(loc="upper right", ncols=2, columnspacing=1)
    return figure


IMAGES = {"spectrum.svg": draw}
