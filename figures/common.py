"""What several figures need: progress, narrow tables, gradient descent, experiments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import jax
import numpy as np
import polars as pl

import ssem_jax as sx
from ssem_jax.training import experiments

SEED = 0
RUNS = Path("build/experiments")
"""Where full experiments are kept, by name, so that an interrupted gallery goes on."""

Tables = dict[str, pl.DataFrame]

CELL = ("sizes", "num_classes", "num_instances", "num_views", "dim", "self_pairs", "mean")


class Progress(Protocol):
    """Told how many cells are to come, and how many are done."""

    def begin(self, total: int) -> None: ...

    def advance(self, count: int) -> None: ...


def certified_cells(
    problems: Sequence[sx.Problem], progress: Progress, columns: Sequence[str], num_starts: int = 2
) -> pl.DataFrame:
    """Solved and certified cells, with the columns that a figure draws.

    Brackets and gaps are stored in single precision, which is more than their ends are worth.
    """
    progress.begin(sum(problem.batch_size or 1 for problem in problems))
    table = sx.sweep(problems, seed=SEED, num_starts=num_starts, progress=progress.advance)
    names = [*CELL, "alpha", "temperature", *columns]
    narrow = [name for name in names if name == "gap" or name.endswith(("_lo", "_hi"))]
    return table.select(names).with_columns(pl.col(narrow).cast(pl.Float32))


def descend(
    loss: sx.GramLoss,
    structure: sx.ClassStructure,
    starts: jax.Array,
    rate: float,
    steps: int,
    every: int,
) -> np.ndarray:
    """Plain gradient descent on the product of spheres, from many starts.

    Returns:
        (steps / every + 1, B, N, d) embeddings, the starts first.
    """
    step = partial(descent_step, loss, structure, rate)

    def stretch(points: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        points = jax.lax.fori_loop(0, every, lambda _, at: jax.vmap(step)(at), points)
        return points, points

    run = jax.jit(lambda points: jax.lax.scan(stretch, points, None, length=steps // every)[1])
    return np.concatenate([np.asarray(starts)[None], np.asarray(run(starts))])


def descent_step(
    loss: sx.GramLoss, structure: sx.ClassStructure, rate: float, points: jax.Array
) -> jax.Array:
    """One step along the Riemannian gradient, back onto the spheres.

    The gradient is that of N·L: with the mean over N anchors a step would shrink as N grows.
    """
    points = points - rate * riemannian_gradient(loss, structure, points)
    return sx.geometry.normalize(points)


def riemannian_gradient(
    loss: sx.GramLoss, structure: sx.ClassStructure, points: jax.Array
) -> jax.Array:
    """The gradient of N·L on the product of spheres."""
    slope = jax.grad(lambda at: loss.from_gram(at @ at.T, structure))(points)
    return structure.num_embeddings * sx.geometry.project(points, slope)


def growing(last: int, count: int) -> np.ndarray:
    """About `count` steps from 0 to `last`, dense at first: what descent does, it does early."""
    return np.unique(np.geomspace(1, last + 1, count).round().astype(int) - 1)


def matrix_table(matrices: dict[str, np.ndarray], key: str) -> pl.DataFrame:
    """Square matrices as a tidy table: the key, row, column, entry."""
    parts = []
    for name, matrix in matrices.items():
        rows, columns = np.indices(matrix.shape)
        parts.append(
            pl.DataFrame(
                {
                    key: [name] * matrix.size,
                    "row": rows.ravel().astype(np.int16),
                    "column": columns.ravel().astype(np.int16),
                    "entry": np.asarray(matrix, float).ravel(),
                }
            )
        )
    return pl.concat(parts)


def matrix_of(table: pl.DataFrame) -> np.ndarray:
    """The matrix in the rows of a tidy table."""
    rows, columns = table["row"].to_numpy(), table["column"].to_numpy()
    matrix = np.full((rows.max() + 1, columns.max() + 1), np.nan)
    matrix[rows, columns] = table["entry"].to_numpy()
    return matrix


def threshold(x: np.ndarray, spread: np.ndarray) -> tuple[float, float]:
    """The last x before a quantity leaves zero, and the first after; equal if none is among x."""
    first = int(np.argmax(spread))
    return float(x[max(first - 1, 0)]), float(x[first])


def experiment(name: str, fast: bool, progress: Progress) -> pl.DataFrame:
    """The table of an experiment; a full one is that of `ssem train NAME --out build/…/NAME`."""
    seeds, out = ((0,), None) if fast else (None, RUNS / name)
    progress.begin(sum(part.steps for part in experiments.parts(name, fast=fast, seeds=seeds)))
    return experiments.run(name, fast=fast, seeds=seeds, out=out, progress=progress.advance)


def mean_and_error(
    runs: pl.DataFrame, by: str, quantity: str, paired: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Mean over seeds and its standard error, for every value of a column.

    With `paired`, what a seed has on average over all of those runs is taken out of the error
    (Cousineau and Morey's): seeds are tasks of different difficulty, and the encoders of a task are
    compared with one another.
    """
    kept = runs.select("seed", by, pl.col(quantity).cast(pl.Float64).alias("own"))
    level, factor = pl.lit(0.0), 1.0
    if paired is not None:
        levels = paired.group_by("seed").agg(pl.col(quantity).cast(pl.Float64).mean().alias("of"))
        kept, level = kept.join(levels, on="seed", maintain_order="left"), pl.col("of")
        cells = len(paired) / paired["seed"].n_unique()
        factor = (cells / (cells - 1)) ** 0.5
    error = factor * (pl.col("own") - level).std() / pl.len().sqrt()
    return kept.group_by(by, maintain_order=True).agg(
        pl.col("own").mean().alias("mean"), error.fill_null(0.0).alias("error")
    )
