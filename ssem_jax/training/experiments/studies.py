"""The experiments: which encoders to train, on what, and what to record of them.

Every row carries what was measured on batches of training instances with fresh views (`train_…`),
on batches of the same make of instances held out (`test_…`), what the theory predicts for one batch
(`predicted_…`) and for the mean over the batches of a data set (`expected_…`). Variances are
squared lengths of unit vectors, losses are in nats.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from ssem_jax import theory
from ssem_jax.advice.thresholds import collapse_thresholds
from ssem_jax.certificate.reduced import solve_reduced
from ssem_jax.geometry.metrics import variances
from ssem_jax.geometry.sphere import normalize, random_points
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.problem import Problem
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.theory.dataset import dataset_optimum
from ssem_jax.training.experiments.data import Task, digits, long_tailed, mislabelled
from ssem_jax.training.experiments.fit import Fit, Measured, Recipe
from ssem_jax.training.experiments.resuming import Part, Progress
from ssem_jax.training.experiments.transfer import inputs_transfer, transfer

BATCH = ClassStructure.balanced(3, 8, num_views=2)
ALPHAS, TEMPERATURES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0), (0.1, 0.3, 1.0)
FEW_ALPHAS, TEMPERATURE = (0.1, 0.3, 0.5, 0.7), 0.3
"""Of the experiments that vary something else."""
FAST_STEPS = 60

TAIL, TAIL_COUNTS = ClassStructure((16, 8, 4, 2), num_views=2), (224, 112, 56, 28)
"""Sizes in a batch and in the data set, in one ratio."""
TAIL_ALPHAS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8)
SHARES = (0.0, 0.1, 0.2, 0.4)
"""Of wrong labels."""
SHAPE_ALPHAS = (0.1, 0.5)
VARIATIONS = {"width": (32, 256), "depth": (1, 4), "dim": (2, 8, 256)}
"""Of the default recipe."""
DYNAMICS_TEMPERATURE = 0.8
DISTANCES = (0.03, 0.06, 0.12, 0.2, 0.4)
"""Of α from α_c, on both sides."""
MARKS = 90
"""Steps at which a trajectory is recorded, evenly spaced in their logarithm."""
FREE_RATE = 0.05
"""Of gradient descent on N·L over free embeddings."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a user may choose of an experiment.

    Attributes:
        seeds: repetitions; each has its own split, groups, first weights and batches.
        fast: a tiny version, to see that it works.
        self_pairs: convention of the loss.
        alphas, temperatures: of the grids; empty for the experiment's own.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    fast: bool = False
    self_pairs: str = "include"
    alphas: tuple[float, ...] = ()
    temperatures: tuple[float, ...] = ()

    def steps(self, steps: int) -> int:
        """As many steps, or few."""
        return FAST_STEPS if self.fast else steps

    def few(self, values: Sequence[Any] | np.ndarray) -> tuple[Any, ...]:
        """All values, or the first and the last."""
        return (values[0], values[-1]) if self.fast else tuple(values)


def _recipe(
    settings: Settings, steps: int, structure: ClassStructure = BATCH, **options: Any
) -> Recipe:
    return Recipe(structure, self_pairs=settings.self_pairs, steps=settings.steps(steps), **options)


def _part(
    seed: int, recipe: Recipe, cells: int, work: Callable[[Progress], pl.DataFrame], **facts: Any
) -> Part:
    identity = {"seed": seed, **facts, **dataclasses.asdict(recipe)}
    identity["structure"] = str(recipe.structure)
    return Part(identity, cells * recipe.steps, work)


def _counted(progress: Progress, cells: int) -> Progress:
    return lambda steps: progress(cells * steps)


def _columns(prefix: str, measured: Measured) -> dict[str, Any]:
    names = ("loss", "delta2", "view", "between")
    return {f"{prefix}_{name}": getattr(measured, name) for name in names}


def _balanced_rows(
    fit: Fit, task: Task, alphas: Sequence[float] | np.ndarray, temperatures: np.ndarray, seed: int
) -> pl.DataFrame:
    """Measurements and predictions of a trained group, a row for each encoder."""
    batch, count = fit.recipe.structure, task.train.counts[0]
    counts = batch.counts
    hyper = (np.asarray(alphas), np.asarray(temperatures), fit.recipe.self_pairs)
    predicted = theory.variances(*counts, *hyper)
    mean = dataset_optimum(batch, count, *hyper)
    train, test = fit.measure(), fit.measure(task.test)
    return pl.DataFrame(
        {
            "seed": np.full(len(alphas), seed),
            "alpha": np.asarray(alphas, float),
            "temperature": np.asarray(temperatures, float),
            "self_pairs": [fit.recipe.self_pairs] * len(alphas),
            **_columns("train", train),
            **_columns("test", test),
            "predicted_loss": np.asarray(theory.loss(*counts, *hyper)),
            "predicted_delta2": np.asarray(predicted.delta2),
            "predicted_view": np.asarray(predicted.view),
            "predicted_between": np.asarray(predicted.between),
            "expected_loss": mean.loss,
            "expected_delta2": mean.variances.delta2,
            "expected_view": mean.variances.view,
            "expected_between": mean.variances.between,
            "mean_cosine": test.mean_cosine,
            "cosine_error": test.cosine_error,
        }
    )


# ------------------------------------------------------------------------------------- the grids


def grid(
    settings: Settings, make_task: Callable[[int], Task], taus: Sequence[float] = TEMPERATURES
) -> list[Part]:
    """Encoders over α × τ, with transfer; and what transfers without any training."""
    alphas = settings.alphas or settings.few(ALPHAS)
    temperatures = settings.temperatures or settings.few(taus)
    recipe = _recipe(settings, 3000)
    name = make_task.__name__

    def trained(seed: int, tau: float) -> Callable[[Progress], pl.DataFrame]:
        def work(progress: Progress) -> pl.DataFrame:
            task, taus = make_task(seed), np.full(len(alphas), tau)
            fit = Fit(task.train, task.augment, recipe, alphas, taus, jax.random.key(seed))
            tell = _counted(progress, len(alphas))
            fit.advance(recipe.steps // 2, tell)
            half = np.asarray(fit.measure().delta2)
            fit.advance(recipe.steps, tell)
            table = _balanced_rows(fit, task, alphas, taus, seed)
            table = table.with_columns(pl.lit("trained").alias("encoder"), half_delta2=half)
            return pl.concat([table, pl.DataFrame(transfer(fit.encoders, task))], how="horizontal")

        return work

    def controls(seed: int) -> Callable[[Progress], pl.DataFrame]:
        def work(progress: Progress) -> pl.DataFrame:
            task = make_task(seed)
            fit = Fit(task.train, task.augment, recipe, [1.0], [1.0], jax.random.key(seed))
            initial = _columns("train", fit.measure()) | _columns("test", fit.measure(task.test))
            rows = [
                {"seed": seed, "encoder": "initial"}
                | {name: float(value[0]) for name, value in initial.items() if "loss" not in name}
                | transfer(fit.encoders, task)[0],
                {"seed": seed, "encoder": "inputs"} | inputs_transfer(task),
            ]
            return pl.DataFrame(rows)

        return work

    facts = {"data": name, "alphas": alphas}
    parts = [
        _part(seed, recipe, len(alphas), trained(seed, tau), temperature=tau, **facts)
        for seed in settings.seeds
        for tau in temperatures
    ]
    untrained = dataclasses.replace(recipe, steps=0)
    return parts + [_part(seed, untrained, 1, controls(seed), **facts) for seed in settings.seeds]


# -------------------------------------------------------------------------- long tail, wrong labels


def long_tail(settings: Settings) -> list[Part]:
    """Classes in the ratio 8 : 4 : 2 : 1, a row for each class, against the reduced program."""
    alphas = settings.alphas or settings.few(TAIL_ALPHAS)
    (tau,) = settings.temperatures[:1] or (TEMPERATURE,)

    def rows(seed: int, recipe: Recipe) -> Callable[[Progress], pl.DataFrame]:
        def work(progress: Progress) -> pl.DataFrame:
            full, taus = digits(seed, num_groups=TAIL.num_classes), np.full(len(alphas), tau)
            split = long_tailed(full.train, TAIL_COUNTS, seed)
            fit = Fit(split, full.augment, recipe, alphas, taus, jax.random.key(seed))
            fit.advance(recipe.steps, _counted(progress, len(alphas)))
            train, test = fit.measure(), fit.measure(full.test)
            loss = SupCL(np.asarray(alphas), taus, recipe.self_pairs, recipe.mean)
            optimum = solve_reduced(Problem(TAIL, None, loss))
            thresholds = collapse_thresholds(
                TAIL, tau, mean=recipe.mean, self_pairs=recipe.self_pairs
            )
            shape = (len(alphas), TAIL.num_classes)

            def spread(values: Any) -> np.ndarray:
                return np.broadcast_to(values, shape).ravel()

            return pl.DataFrame(
                {
                    "seed": spread(seed),
                    "mean": [recipe.mean] * np.prod(shape),
                    "alpha": spread(np.asarray(alphas)[:, None]),
                    "temperature": spread(tau),
                    "self_pairs": [recipe.self_pairs] * np.prod(shape),
                    "class_size": spread(TAIL.sizes),
                    "train_delta2": spread(train.class_delta2),
                    "test_delta2": spread(test.class_delta2),
                    "predicted_delta2": spread(optimum.class_variances.delta2),
                    "threshold": spread(thresholds),
                    "train_loss": spread(train.loss[:, None]),
                    "predicted_loss": spread(np.asarray(optimum.value)[:, None]),
                }
            )

        return work

    return [
        _part(
            seed,
            recipe := _recipe(settings, 3000, TAIL, mean=mean),
            len(alphas),
            rows(seed, recipe),
            alphas=alphas,
            temperature=tau,
        )
        for mean in ("anchors", "pairs")
        for seed in settings.seeds
    ]


def noise(settings: Settings) -> list[Part]:
    """A share of the coarse labels is wrong in training; tests and probes have true labels."""
    alphas = settings.alphas or settings.few(FEW_ALPHAS)
    (tau,) = settings.temperatures[:1] or (TEMPERATURE,)
    recipe = _recipe(settings, 3000)

    def rows(seed: int, share: float) -> Callable[[Progress], pl.DataFrame]:
        def work(progress: Progress) -> pl.DataFrame:
            task, taus = digits(seed), np.full(len(alphas), tau)
            noisy = dataclasses.replace(task, train=mislabelled(task.train, share, seed))
            fit = Fit(noisy.train, task.augment, recipe, alphas, taus, jax.random.key(seed))
            fit.advance(recipe.steps, _counted(progress, len(alphas)))
            table = _balanced_rows(fit, noisy, alphas, taus, seed)
            true_labels = fit.measure(task.train)
            return pl.concat(
                [
                    table.with_columns(
                        pl.lit(share).alias("share"),
                        **{k: pl.Series(v) for k, v in _columns("true", true_labels).items()},
                    ),
                    pl.DataFrame(transfer(fit.encoders, noisy)),
                ],
                how="horizontal",
            )

        return work

    return [
        _part(seed, recipe, len(alphas), rows(seed, share), share=share, alphas=alphas, tau=tau)
        for share in settings.few(SHARES)
        for seed in settings.seeds
    ]


# ------------------------------------------------------------------------------------ architecture


def architecture(settings: Settings) -> list[Part]:
    """One of width, depth and embedding dimension varied at a time."""
    alphas = settings.alphas or SHAPE_ALPHAS
    (tau,) = settings.temperatures[:1] or (TEMPERATURE,)

    def rows(seed: int, recipe: Recipe) -> Callable[[Progress], pl.DataFrame]:
        def work(progress: Progress) -> pl.DataFrame:
            task, taus = digits(seed), np.full(len(alphas), tau)
            fit = Fit(task.train, task.augment, recipe, alphas, taus, jax.random.key(seed))
            fit.advance(recipe.steps, _counted(progress, len(alphas)))
            return _balanced_rows(fit, task, alphas, taus, seed).with_columns(
                width=recipe.width, depth=recipe.depth, dim=recipe.dim
            )

        return work

    recipes = [_recipe(settings, 2000)]
    for varied, values in VARIATIONS.items():
        recipes += [dataclasses.replace(recipes[0], **{varied: value}) for value in values]
    facts = {"alphas": alphas, "temperature": tau}
    return [
        _part(seed, recipe, len(alphas), rows(seed, recipe), **facts)
        for recipe in (recipes[:2] if settings.fast else recipes)
        for seed in settings.seeds
    ]


# ---------------------------------------------------------------------------------------- dynamics


def dynamics(settings: Settings) -> list[Part]:
    """Trajectories of the variances: free embeddings, one batch, a data set; α around α_c."""
    (tau,) = settings.temperatures[:1] or (DYNAMICS_TEMPERATURE,)
    batch, self_pairs = BATCH, settings.self_pairs
    cell = batch.counts
    alpha_c = float(theory.alpha_c(*cell, tau, self_pairs))
    around = np.concatenate([-np.asarray(DISTANCES)[::-1], DISTANCES])
    alphas = settings.alphas or tuple(
        float(alpha) for alpha in alpha_c + np.asarray(settings.few(around)) if 0 <= alpha <= 1
    )
    taus = np.full(len(alphas), tau)
    steady: dict[str, Any] = {"decays": False}
    recipes = {
        "free": _recipe(settings, 2000, optimizer="descent", rate=FREE_RATE, **steady),
        "one batch": _recipe(settings, 3000, fixed_batch=True, **steady),
        "data set": _recipe(settings, 2000, **steady),
    }
    predicted = theory.variances(*cell, np.asarray(alphas), taus, self_pairs)

    def table(kind: str, seed: int, path: Iterable[tuple[int, np.ndarray]]) -> pl.DataFrame:
        count = digits(seed).train.counts[0]
        mean = dataset_optimum(batch, count, np.asarray(alphas), taus, self_pairs)
        parts = []
        for step, (delta2, view, between) in path:
            parts.append(
                pl.DataFrame(
                    {
                        "kind": [kind] * len(alphas),
                        "seed": np.full(len(alphas), seed),
                        "alpha": np.asarray(alphas),
                        "alpha_c": np.full(len(alphas), alpha_c),
                        "temperature": taus,
                        "self_pairs": [self_pairs] * len(alphas),
                        "step": np.full(len(alphas), step),
                        "delta2": delta2,
                        "view": view,
                        "between": between,
                        "predicted_delta2": np.asarray(predicted.delta2),
                        "predicted_between": np.asarray(predicted.between),
                        "expected_delta2": mean.variances.delta2,
                    }
                )
            )
        return pl.concat(parts)

    def encoders(seed: int, kind: str) -> Callable[[Progress], pl.DataFrame]:
        def path(progress: Progress) -> Iterable[tuple[int, np.ndarray]]:
            task, recipe = digits(seed), recipes[kind]
            fit = Fit(task.train, task.augment, recipe, alphas, taus, jax.random.key(seed))
            for step in marks(recipe.steps):
                fit.advance(step, _counted(progress, len(alphas)))
                found = fit.measure()
                yield step, np.stack([found.delta2, found.view, found.between])

        return lambda progress: table(kind, seed, path(progress))

    def free(seed: int) -> Callable[[Progress], pl.DataFrame]:
        steps = recipes["free"].steps
        losses = SupCL(np.asarray(alphas), taus, self_pairs)

        def path(progress: Progress) -> Iterable[tuple[int, np.ndarray]]:
            start = random_points(jax.random.key(seed), batch.num_embeddings, Recipe(batch).dim)
            points, done = jnp.repeat(start[None], len(alphas), axis=0), 0
            for step in marks(steps):
                points = _descend(batch, points, losses, step - done)
                found = jax.vmap(lambda at: variances(at, batch))(points)
                progress(len(alphas) * (step - done))
                done = step
                yield step, np.stack([found.delta2, found.view, found.between])

        return lambda progress: table("free", seed, path(progress))

    return [
        _part(
            seed,
            recipes[kind],
            len(alphas),
            free(seed) if kind == "free" else encoders(seed, kind),
            kind=kind,
            alphas=alphas,
            temperature=tau,
        )
        for kind in recipes
        for seed in settings.seeds
    ]


@jax.jit
def _descend(
    structure: ClassStructure, points: jax.Array, losses: SupCL, steps: int | jax.Array
) -> jax.Array:
    """Gradient descent of N·L over free embeddings, a batch for each loss."""

    def step(points: jax.Array, loss: SupCL) -> jax.Array:
        slope = jax.grad(lambda at: loss(at, structure))(points)  # tangent: rows are normalised
        return normalize(points - FREE_RATE * structure.num_embeddings * slope)

    def all_of(_: int, points: jax.Array) -> jax.Array:
        return jax.vmap(step)(points, losses)

    return jax.lax.fori_loop(0, steps, all_of, points)


def marks(steps: int) -> list[int]:
    """Steps from 0 to `steps`, dense at first."""
    return sorted({round(mark) - 1 for mark in np.geomspace(1, steps + 1, MARKS)})
