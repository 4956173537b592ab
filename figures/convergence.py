"""An animation: gradient descent takes random embeddings to SSEM(δ)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

import ssem_jax as sx
from figures.common import SEED, Progress, Tables, descend, growing
from ssem_jax import show

STRUCTURE = sx.ClassStructure.balanced(3, 3)
ALPHA, TEMPERATURE, RATE = 0.7, 0.4, 0.02
STEPS, FRAMES = 4000, 36
HOLD = 12
"""Frames for which the last state stands still."""


def compute(fast: bool, progress: Progress) -> Tables:
    """A trajectory, in coordinates of the plane of the classes and of the instances of class 1."""
    shown = growing(STEPS, FRAMES // 3 if fast else FRAMES)
    progress.begin(1)
    dim, m = STRUCTURE.num_embeddings - 1, STRUCTURE.num_classes
    start = jax.random.normal(jax.random.key(SEED + 3), (1, STRUCTURE.num_embeddings, dim))
    start = sx.geometry.normalize(start)
    loss = sx.SupCL(ALPHA, TEMPERATURE)
    path = descend(loss, STRUCTURE, start, RATE, STEPS, 1)[shown, 0]
    progress.advance(1)

    # For m = n = 3 both simplices are triangles, so that two planes show them as they are.
    first = STRUCTURE.class_ids == 0
    end = path[-1]
    means = np.asarray(sx.geometry.class_means(end, STRUCTURE))
    class_plane = np.linalg.svd(means - means.mean(axis=0))[2][: m - 1]
    instance_plane = np.linalg.svd(end[first] - means[0])[2][:2]
    numbers = jax.vmap(lambda at: sx.geometry.variances(at, STRUCTURE).delta2)(path)
    points, grams, frames_table = [], [], []
    for frame, at in enumerate(path):
        x, y = class_plane @ at.T
        u, v = instance_plane @ at.T
        points.append(
            pl.DataFrame(
                {"frame": frame, "class": STRUCTURE.class_ids, "x": x, "y": y, "u": u, "v": v}
            )
        )
        rows, columns = np.tril_indices(len(at), -1)
        grams.append(
            pl.DataFrame(
                {
                    "frame": frame,
                    "row": rows,
                    "column": columns,
                    "entry": (at @ at.T)[rows, columns],
                }
            )
        )
        frames_table.append(
            {
                "frame": frame,
                "step": int(shown[frame]),
                "delta2": float(np.asarray(numbers)[frame]),
                "value": float(loss(jnp.asarray(at), STRUCTURE)),
            }
        )
    floats = pl.selectors.float()
    whole = pl.selectors.integer()
    return {
        "points": pl.concat(points).with_columns(floats.cast(pl.Float32), whole.cast(pl.Int16)),
        "gram": pl.concat(grams).with_columns(floats.cast(pl.Float32), whole.cast(pl.Int16)),
        "frames": pl.DataFrame(frames_table),
    }


def _gram(rows: pl.DataFrame) -> np.ndarray:
    matrix = np.eye(STRUCTURE.num_embeddings)
    at = rows["row"].to_numpy(), rows["column"].to_numpy()
    matrix[at] = matrix[at[::-1]] = rows["entry"].to_numpy()
    return matrix


def draw(tables: Tables) -> object:
    """Plane of the classes, plane of the instances of class 1, Gram matrix."""
    figure, axes = show.new_figure(1, 3, height=2.15, width=4.8)
    points = tables["points"].partition_by("frame", maintain_order=True)
    grams = tables["gram"].partition_by("frame", maintain_order=True)
    facts = list(tables["frames"].iter_rows(named=True))
    delta2 = float(sx.theory.delta2(3, 3, 1, ALPHA, TEMPERATURE))
    ids = points[0]["class"].to_numpy()
    angle = np.linspace(0, 2 * np.pi, 100)
    drawn = []
    for ax, (x, y), title in zip(
        axes[0],
        (("x", "y"), ("u", "v")),
        ("plane of the classes", "instances of class 1"),
        strict=False,
    ):
        ax.plot(np.cos(angle), np.sin(angle), color="0.8", lw=0.8)
        ax.set_aspect("equal")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
        ax.set_title(title)
        for number in np.unique(ids):
            (line,) = ax.plot(
                [],
                [],
                ls="",
                marker=show.MARKERS[number],
                color=show.COLORS[number],
                ms=6,
                mec="white",
                mew=0.5,
                alpha=0.85,
            )
            drawn.append((line, number, x, y))
    image = show.gram(_gram(grams[0]), axes[0, 2], STRUCTURE)
    axes[0, 2].set_title("Gram matrix")
    words = figure.supxlabel(" ", fontsize=9)

    def update(number: int) -> None:
        frame = min(number, len(points) - 1)
        for line, class_id, x, y in drawn:
            rows = points[frame].filter(pl.col("class") == class_id)
            line.set_data(rows[x], rows[y])
        image.set_data(_gram(grams[frame]))
        fact = facts[frame]
        words.set_text(
            rf"step {fact['step']:>4}    $\delta^2={fact['delta2']:.3f}$    "
            rf"(theory ${delta2:.3f}$)    $L={fact['value']:.3f}$ nats"
        )

    return show.animate(figure, update, len(points) + HOLD)


IMAGES = {"convergence.gif": draw}
