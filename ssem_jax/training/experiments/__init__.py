"""How far the theory of free embeddings carries over to trained encoders.

Each experiment trains small encoders with projectors on data that need no download, and sets what
is measured against what :mod:`ssem_jax.theory` predicts. They need the extra `train`; importing
this package does not.

>>> from ssem_jax.training import experiments
>>> table = experiments.run("digits-grid", fast=True)
>>> experiments.summarize("digits-grid", table)
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Callable, Sequence
from importlib import util
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from ssem_jax.training.experiments.resuming import Part

PACKAGES = {"equinox": "equinox", "sklearn": "scikit-learn"}
"""Modules of the extra, and the packages that hold them."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """An experiment, and how its table is summarised.

    Attributes:
        summary: what it is about, in a line.
        by: columns whose values make a line of the summary.
        shown: columns that it averages over seeds.
        seeds: repetitions by default.
    """

    summary: str
    by: tuple[str, ...]
    shown: tuple[str, ...]
    seeds: int = 3


_GRID = (
    ("temperature", "alpha"),
    ("train_delta2", "expected_delta2", "predicted_delta2", "test_delta2", "fine_few_embeddings"),
)
EXPERIMENTS = {
    "digits-grid": Experiment(
        "measured variance and transfer over α and τ, digits", *_GRID, seeds=5
    ),
    "mixture": Experiment("the same on Gaussian mixtures with known subclasses", *_GRID),
    "long-tail": Experiment(
        "classes in the ratio 8:4:2:1 against the reduced program",
        ("mean", "class_size", "alpha"),
        ("train_delta2", "predicted_delta2", "test_delta2", "threshold"),
    ),
    "noise": Experiment(
        "0 to 40 % wrong coarse labels",
        ("share", "alpha"),
        ("train_delta2", "expected_delta2", "true_delta2", "coarse_knn", "fine_few_features"),
    ),
    "architecture": Experiment(
        "width, depth and embedding dimension",
        ("width", "depth", "dim", "alpha"),
        ("train_delta2", "expected_delta2", "predicted_delta2", "test_delta2"),
    ),
    "dynamics": Experiment(
        "trajectories near α_c: free embeddings, one batch, a data set",
        ("kind", "alpha"),
        ("delta2", "predicted_delta2", "expected_delta2"),
    ),
}


def repetitions(name: str, fast: bool = False) -> int:
    """Seeds that an experiment has by default.

    Raises:
        ValueError: an unknown experiment.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"no experiment is called {name!r}; choose from {', '.join(EXPERIMENTS)}.")
    return 2 if fast else EXPERIMENTS[name].seeds


def parts(
    name: str,
    *,
    fast: bool = False,
    seeds: Sequence[int] | None = None,
    self_pairs: str = "include",
    alphas: Sequence[float] = (),
    temperatures: Sequence[float] = (),
) -> list[Part]:
    """What an experiment consists of; :func:`run` has the arguments.

    Raises:
        ValueError: an unknown experiment, no seed, or the extra `train` is missing.
    """
    seeds = range(repetitions(name, fast)) if seeds is None else seeds
    missing = [package for module, package in PACKAGES.items() if not util.find_spec(module)]
    if missing:
        raise ValueError(
            f"experiments need {' and '.join(missing)}; write: pip install 'ssem-jax[train]'"
        )
    if not seeds:
        raise ValueError("an experiment needs at least one seed; got none.")
    data, studies = (
        importlib.import_module(f"ssem_jax.training.experiments.{module}")
        for module in ("data", "studies")
    )
    make: dict[str, Callable[[Any], list[Part]]] = {
        "digits-grid": lambda settings: studies.grid(settings, data.digits),
        "mixture": lambda settings: studies.grid(settings, data.mixture, (studies.TEMPERATURE,)),
        "long-tail": studies.long_tail,
        "noise": studies.noise,
        "architecture": studies.architecture,
        "dynamics": studies.dynamics,
    }
    settings = studies.Settings(tuple(seeds), fast, self_pairs, tuple(alphas), tuple(temperatures))
    return make[name](settings)


def run(
    name: str,
    *,
    fast: bool = False,
    seeds: Sequence[int] | None = None,
    self_pairs: str = "include",
    alphas: Sequence[float] = (),
    temperatures: Sequence[float] = (),
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> pl.DataFrame:
    """Train the encoders of an experiment and measure them.

    Args:
        name: a key of `EXPERIMENTS`.
        fast: a tiny version, for a look.
        seeds: repetitions, by default as many as the experiment says from 0 on. Each has its own
            task, first weights and batches; the same seed gives the same rows.
        self_pairs: "include" or "exclude" the pairs (i, i) in the loss.
        alphas: of the grid instead of the experiment's own.
        temperatures: likewise; the experiments at one temperature take the first.
        out: a folder to write to. If it holds an interrupted run of the same experiment, only what
            is missing is computed.
        progress: called with the number of newly finished steps of training.

    Returns:
        A tidy table; `ssem_jax.training.experiments.studies` describes the columns.

    Raises:
        ValueError: an unknown experiment, no seed, α or τ out of range, the extra `train` is
            missing, a folder that cannot be written or holds another run; 64-bit mode is off.
    """
    chosen = parts(
        name,
        fast=fast,
        seeds=seeds,
        self_pairs=self_pairs,
        alphas=alphas,
        temperatures=temperatures,
    )
    folder = importlib.import_module("ssem_jax.training.experiments.resuming")
    return folder.finish(chosen, {"experiment": name, "fast": fast}, out, progress)


def summarize(name: str, table: pl.DataFrame) -> pl.DataFrame:
    """Means over seeds and their standard errors, `<column>_se`; NaN for a single seed.

    The end of each trajectory where there are steps. Rows without training are left out.
    """
    experiment = EXPERIMENTS[name]
    if "step" in table.columns:
        table = table.filter(pl.col("step") == pl.col("step").max().over("kind"))
    if "encoder" in table.columns:
        table = table.filter(encoder="trained")
    means = [pl.col(column).mean() for column in experiment.shown]
    errors = [
        (pl.col(column).std() / pl.len().sqrt()).fill_null(float("nan")).alias(f"{column}_se")
        for column in experiment.shown
    ]
    return table.group_by(*experiment.by, maintain_order=True).agg(*means, *errors)
