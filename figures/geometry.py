"""What optimal embeddings look like: on the sphere for d = 3, and as Gram matrices for any d."""

from __future__ import annotations

import jax
import numpy as np
import polars as pl

import ssem_jax as sx
from figures.common import SEED, Progress, Tables, matrix_of, matrix_table
from ssem_jax import show

SPHERE_SHAPES = ((2, 2), (3, 4), (4, 3))
SPHERE_TEMPERATURE = 0.5
COLUMNS = ((0.0, "collapsed"), (0.75, "spread"), (1.0, "all apart"))
"""α of the optima side by side, and what they are called."""
GRAM_CELLS = (
    ("collapse", (3, 4, 1), 0.2, 0.3, "include"),
    ("spread", (3, 4, 1), 0.7, 0.3, "include"),
    ("full simplex", (3, 4, 1), 1.0, 0.3, "include"),
    ("view-spread", (3, 2, 2), 0.0, 0.3, "exclude"),
)
"""Name, (m, n, p), α, τ and convention of the Gram matrices."""


def compute(fast: bool, progress: Progress) -> Tables:
    """Free minimisation from random starts: the best embeddings, and their certificates."""
    starts = 2 if fast else 12
    shapes = SPHERE_SHAPES[1:] if fast else SPHERE_SHAPES
    points, key = [], jax.random.key(SEED)
    progress.begin(len(shapes) * len(COLUMNS) + len(GRAM_CELLS))
    for shape in shapes:
        structure = sx.ClassStructure.balanced(*shape)
        alphas = np.array([alpha for alpha, _ in COLUMNS])
        loss = sx.SupCL(alphas, np.full_like(alphas, SPHERE_TEMPERATURE))
        problem = sx.Problem(structure, 3, loss)
        solution = sx.solve(problem, key, num_starts=starts, progress=progress.advance)
        certificate = sx.certify(solution)
        for cell, (alpha, name) in enumerate(COLUMNS):
            found = np.asarray(solution.embeddings[cell])
            # The loss knows no rotation: show all in their own principal axes.
            found = found @ np.linalg.svd(found)[2].T
            points.append(
                pl.DataFrame(
                    {
                        "num_classes": shape[0],
                        "num_instances": shape[1],
                        "alpha": alpha,
                        "name": name,
                        "class": structure.class_ids,
                        "x": found[:, 0],
                        "y": found[:, 1],
                        "z": found[:, 2],
                        "gap": float(certificate.gap[cell]),
                    }
                )
            )
    grams, facts = {}, []
    for name, shape, alpha, tau, self_pairs in GRAM_CELLS:
        structure = sx.ClassStructure.balanced(*shape)
        dim = structure.num_embeddings - 1
        problem = sx.Problem(structure, dim, sx.SupCL(alpha, tau, self_pairs))
        solution = sx.solve(problem, key, progress=progress.advance)
        certificate = sx.certify(solution)
        found = np.asarray(solution.embeddings)
        grams[name] = found @ found.T
        facts.append(
            {
                "name": name,
                "num_classes": shape[0],
                "num_instances": shape[1],
                "num_views": shape[2],
                "alpha": alpha,
                "temperature": tau,
                "self_pairs": self_pairs,
                "gap": float(certificate.gap),
            }
        )
    return {
        "points": pl.concat(points),
        "gram": matrix_table(grams, "name"),
        "facts": pl.DataFrame(facts),
    }


def draw_sphere(tables: Tables) -> object:
    """Rows: (m, n); columns: collapsed, spread, full simplex."""
    shapes = tables["points"].select("num_classes", "num_instances").unique(maintain_order=True)
    options = {"subplot_kw": {"projection": "3d"}}
    figure, axes = show.new_figure(len(shapes), 3, height=0.2 + 1.7 * len(shapes), **options)
    parts = tables["points"].partition_by("num_classes", "alpha", maintain_order=True)
    for ax, part in zip(axes.flat, parts, strict=True):
        points = part.select("x", "y", "z").to_numpy()
        show.sphere(points, ax, part["class"].to_numpy())
        ax.view_init(elev=18, azim=35)
    for ax, (alpha, name) in zip(axes[0], COLUMNS, strict=True):
        ax.set_title(rf"{name}, $\alpha={alpha:g}$", pad=8)
    for ax, (m, n) in zip(axes[:, 0], shapes.rows(), strict=True):
        ax.text2D(-0.06, 0.5, f"$m={m}$, $n={n}$", transform=ax.transAxes, rotation=90, va="center")
    return figure


def draw_gram(tables: Tables) -> object:
    """Blocks of views, instances and classes."""
    figure, axes = show.new_figure(2, 2, height=4.9)
    parts = tables["gram"].partition_by("name", maintain_order=True)
    image = None
    for ax, part, row in zip(axes.flat, parts, tables["facts"].iter_rows(named=True), strict=True):
        structure = sx.ClassStructure.balanced(
            row["num_classes"], row["num_instances"], row["num_views"]
        )
        image = show.gram(matrix_of(part), ax, structure)
        views = f", $p={row['num_views']}$" if row["num_views"] > 1 else ""
        ax.set_title(
            f"{row['name']}\n$m={row['num_classes']}$, $n={row['num_instances']}${views}, "
            rf"$\alpha={row['alpha']:g}$",
            pad=4,
        )
    show.color_bar(figure, image, axes, r"similarity $G_{ij}$")
    return figure


IMAGES = {"geometry_sphere.svg": draw_sphere, "geometry_gram.svg": draw_gram}
