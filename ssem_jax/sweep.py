"""Many problems solved and certified: a tidy table, one row for each cell.

A sweep is a list of problems, each a batch of cells of one shape. Every batch becomes one part of
the table. With a run folder, parts are Parquet files beside a manifest, each written to a temporary
name and then moved into place, so that an interrupted run goes on where it stopped.

Columns (all floats are dimensionless; variances are squared lengths of unit vectors):

=====================  ==========================================================================
sizes                  instances of each class, joined by commas
num_classes            m
num_instances          n, instances per class (null if the classes differ in size)
num_views              p
dim                    d, embedding dimension
loss                   name of the loss
alpha, temperature     α, τ (null for losses without them)
self_pairs, mean       pair convention (null for losses without)
value                  loss at the embeddings found
lower                  certified lower bound over all embeddings in all dimensions
gap                    value - lower with the rounding of both, ≥ 0
delta2                 variance of the instance means within their class, as found
view_variance          variance of the views about their instance mean, as found
between_variance       variance of the class means about the global mean, as found
mean_squared           squared norm of the global mean, as found (total variance = 1 - this)
<quantity>_lo, _hi     bracket over all embeddings that are at least as good, for delta2,
                       view_variance, mean_squared, within_similarity, between_similarity
phase                  collapse, spread, view_spread, or undecided: what the brackets prove
status                 how the solver stopped
iterations, products   trust-region steps and Hessian products
escapes, starts        saddles left, random starts used
seed                   of the run
=====================  ==========================================================================
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl

from ssem_jax.certificate import GAP_TOLERANCE, Certificate, certify
from ssem_jax.losses import SupCL
from ssem_jax.problem import ClassStructure, Phase, Problem, full_dimension
from ssem_jax.reduced import QUANTITIES
from ssem_jax.schedule import in_threads
from ssem_jax.solution import Solution, Status
from ssem_jax.solve import solve

FORMAT = 1
"""Version of the run folder's layout and columns."""
MANIFEST = "manifest.json"
PART_FLOATS = 2**25
"""Floats of embeddings that a part may hold in memory: 256 MiB."""
PART_CELLS = 4096
"""Cells that a part may hold, so that an interrupted run loses little."""

SHAPES_AT_ONCE = 2
"""Batches under way at the same time."""

Progress = Callable[[int], None]


class RunError(ValueError):
    """A run folder that cannot be used; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Grid:
    """The product of shapes and hyper-parameters, as problems of one shape each.

    Args:
        structures: class structures.
        dims: embedding dimensions, or "full" for the smallest that admits every optimum.
        alphas: values of α.
        temperatures: values of τ.
        self_pairs: conventions.
        means: conventions.

    Raises:
        ValueError: an empty list, or a problem that is not defined (see :class:`Problem`).
    """

    structures: Sequence[ClassStructure]
    dims: Sequence[int | str]
    alphas: Sequence[float]
    temperatures: Sequence[float]
    self_pairs: Sequence[str] = ("include",)
    means: Sequence[str] = ("pairs",)

    def problems(self) -> list[Problem]:
        """One problem for each shape and convention, with the (α, τ) as its batch axis."""
        for field in dataclasses.fields(self):
            if len(getattr(self, field.name)) == 0:
                raise ValueError(f"{field.name} must not be empty; give at least one value.")
        pairs = np.array(list(itertools.product(self.alphas, self.temperatures)), float)
        return [
            Problem(
                structure,
                full_dimension(structure, self_pairs) if dim == "full" else dim,
                SupCL(pairs[:, 0], pairs[:, 1], self_pairs, mean),
            )
            for structure in self.structures
            for self_pairs in self.self_pairs
            for mean in self.means
            for dim in self.dims
        ]


def split(problem: Problem) -> Iterator[Problem]:
    """The problem in batches that fit into a part."""
    losses, size = problem.cells()
    floats = problem.structure.num_embeddings * problem.dim
    step = int(np.clip(PART_FLOATS // floats, 1, PART_CELLS))
    for first in range(0, size, step):
        part = jax.tree.map(lambda leaf, first=first: leaf[first : first + step], losses)
        yield Problem(problem.structure, problem.dim, part)


def solve_batch(
    problem: Problem, seed: int, num_starts: int, progress: Progress | None
) -> pl.DataFrame:
    """Solve and certify one batch: the rows of its cells."""
    solution = solve(problem, jax.random.key(seed), num_starts=num_starts, progress=progress)
    return tabulate(solution, certify(solution), seed)


def tabulate(solution: Solution, certificate: Certificate, seed: int) -> pl.DataFrame:
    """The rows of a solved and certified batch."""
    structure = solution.problem.structure
    losses, size = solution.problem.cells()

    def column(name: str) -> Any:
        value = getattr(losses, name, None)
        return None if value is None or isinstance(value, str) else np.asarray(value, float)

    def names(codes: Any, enum: type) -> list[str]:
        return [enum(int(code)).name.lower() for code in np.atleast_1d(codes)]

    found = np.asarray(certificate.variances).reshape(size, 4)
    low = np.asarray(certificate.low).reshape(size, -1)
    high = np.asarray(certificate.high).reshape(size, -1)
    columns: dict[str, Any] = {
        "sizes": ",".join(map(str, structure.sizes)),
        "num_classes": structure.num_classes,
        "num_instances": structure.sizes[0] if structure.is_balanced else None,
        "num_views": structure.num_views,
        "dim": solution.problem.dim,
        "loss": type(losses).__name__,
        "alpha": column("alpha"),
        "temperature": column("temperature"),
        "self_pairs": getattr(losses, "self_pairs", None),
        "mean": getattr(losses, "mean", None),
        "value": certificate.value,
        "lower": certificate.lower,
        "gap": certificate.gap,
        "delta2": found[:, 1],
        "view_variance": found[:, 0],
        "between_variance": found[:, 2],
        "mean_squared": found[:, 3],
    }
    for place, quantity in enumerate(QUANTITIES):
        columns[f"{quantity}_lo"] = low[:, place]
        columns[f"{quantity}_hi"] = high[:, place]
    columns |= {
        "phase": names(certificate.phase, Phase),
        "status": names(solution.status, Status),
        "iterations": solution.iterations,
        "products": solution.products,
        "escapes": solution.escapes,
        "starts": solution.starts,
        "seed": seed,
    }
    schema = SCHEMA

    def series(name: str) -> pl.Series:
        value = columns[name]
        if value is None or isinstance(value, (str, int)):
            value = [value] * size
        elif not isinstance(value, list):
            value = np.broadcast_to(np.asarray(value), (size,))
        return pl.Series(name, value, dtype=schema[name])

    return pl.DataFrame([series(name) for name in schema])


SCHEMA: dict[str, Any] = {
    "sizes": pl.String,
    "num_classes": pl.Int64,
    "num_instances": pl.Int64,
    "num_views": pl.Int64,
    "dim": pl.Int64,
    "loss": pl.String,
    "alpha": pl.Float64,
    "temperature": pl.Float64,
    "self_pairs": pl.String,
    "mean": pl.String,
    "value": pl.Float64,
    "lower": pl.Float64,
    "gap": pl.Float64,
    "delta2": pl.Float64,
    "view_variance": pl.Float64,
    "between_variance": pl.Float64,
    "mean_squared": pl.Float64,
    **{f"{quantity}_{end}": pl.Float64 for quantity in QUANTITIES for end in ("lo", "hi")},
    "phase": pl.String,
    "status": pl.String,
    "iterations": pl.Int64,
    "products": pl.Int64,
    "escapes": pl.Int64,
    "starts": pl.Int64,
    "seed": pl.Int64,
}
"""Column → type of the table."""


def sweep(
    problems: Iterable[Problem],
    *,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    num_starts: int = 2,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Solve and certify every cell of the problems.

    Args:
        problems: batches of cells, one shape each (for example `Grid(...).problems()`).
        seed: of the random starts; the same seed gives the same table.
        out: a run folder to write to. If it holds an interrupted run of the same sweep, only what
            is missing is computed.
        num_starts: random starts at most for each cell.
        progress: called with the number of newly finished cells.

    Returns:
        The table described in this module's docstring, in the order of the problems.

    Raises:
        RunError: the folder cannot be written, or holds another run.
        ValueError: what :func:`ssem_jax.solve` raises.
    """
    batches = [batch for problem in problems for batch in split(problem)]
    folder = None if out is None else RunFolder.open(Path(out), batches, seed, num_starts)

    def finish(number: int) -> pl.DataFrame:
        table = folder.read_part(number) if folder else None
        if table is None:
            table = solve_batch(batches[number], seed, num_starts, progress)
            if folder:
                folder.write_part(number, table)
        elif progress:
            progress(len(table))
        return table

    # Two shapes at a time: while one compiles, the other computes.
    tables = dict(in_threads(finish, range(len(batches)), SHAPES_AT_ONCE))
    ordered = [tables[number] for number in range(len(batches))]
    return pl.concat(ordered) if ordered else pl.DataFrame(schema=SCHEMA)


def num_cells(problems: Iterable[Problem]) -> int:
    """The cells of a list of problems."""
    return sum(problem.batch_size or 1 for problem in problems)


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    packages = ("ssem-jax", "jax", "jaxlib", "numpy", "polars", "python-flint")
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """A run on disk: a manifest, and one Parquet file for each finished part."""

    path: Path
    batches: list[str]

    @classmethod
    def open(cls, path: Path, batches: Sequence[Problem], seed: int, num_starts: int) -> RunFolder:
        """Create a run folder, or go on with the same run.

        Raises:
            RunError: not writable, or it holds another run or no run at all.
        """
        identities = [_identity(batch, seed, num_starts) for batch in batches]
        try:
            path.mkdir(parents=True, exist_ok=True)
            known = read_manifest(path) if (path / MANIFEST).exists() else None
            if known is None:
                stray = [entry.name for entry in path.iterdir()]
                if stray:
                    raise RunError(
                        f"{path} is not empty and holds no run (it has {stray[0]}); "
                        "choose a new folder for --out."
                    )
                manifest = {
                    "format": FORMAT,
                    "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                    "seed": seed,
                    "num_starts": num_starts,
                    "cells": num_cells(batches),
                    "batches": identities,
                    "shapes": [_describe(batch) for batch in batches],
                    "versions": versions(),
                }
                _write(path / MANIFEST, json.dumps(manifest, indent=2).encode())
            elif known["batches"] != identities:
                raise RunError(
                    f"{path} holds another run (other grid, seed or number of starts); "
                    "choose a new folder for --out, or repeat the command that made it."
                )
        except OSError as error:
            raise RunError(
                f"cannot write to {path}: {error.strerror}; choose another folder for --out."
            ) from error
        return cls(path, identities)

    def part(self, number: int) -> Path:
        """The file of a part."""
        return self.path / f"part-{number:05d}.parquet"

    def read_part(self, number: int) -> pl.DataFrame | None:
        """A finished part, or None where it is missing, broken or foreign."""
        try:
            table = pl.read_parquet(self.part(number))
        except (OSError, pl.exceptions.PolarsError):
            return None
        return table if dict(table.schema) == dict(pl.DataFrame(schema=SCHEMA).schema) else None

    def write_part(self, number: int, table: pl.DataFrame) -> None:
        """Write a part so that it is either whole or absent.

        Raises:
            RunError: the disk refused.
        """
        target = self.part(number)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            table.write_parquet(temporary)
            os.replace(temporary, target)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise RunError(
                f"cannot write {target}: {error.strerror}; what was computed before is kept, "
                "repeat the command to go on."
            ) from error


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a run folder.

    Raises:
        RunError: there is none, it is broken, or another version wrote it.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise RunError(f"{path} holds no run: it has no {MANIFEST}.") from error
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path / MANIFEST} cannot be read ({error}); run the sweep anew."
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        made_by = manifest.get("versions", {}) if isinstance(manifest, dict) else {}
        raise RunError(
            f"{path} was written by another version, ssem-jax "
            f"{made_by.get('ssem-jax', 'unknown')}; run the sweep anew in a new folder."
        )
    return manifest


def read_run(path: str | os.PathLike[str]) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The table and the manifest of a run, complete or interrupted.

    Raises:
        RunError: the folder holds no readable run.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder; give the folder that --out named.")
    manifest = read_manifest(folder)
    run = RunFolder(folder, manifest["batches"])
    tables = [run.read_part(number) for number in range(len(run.batches))]
    finished = [table for table in tables if table is not None]
    return (pl.concat(finished) if finished else pl.DataFrame(schema=SCHEMA)), manifest


def plain(value: Any) -> Any:
    """NumPy scalars and arrays, and whatever else, as JSON knows them: a default for json.dumps."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def summarize(table: pl.DataFrame) -> dict[str, Any]:
    """Cells, certified cells, worst gap and phases of a table."""
    return {
        "cells": len(table),
        "certified": int((table["gap"] <= GAP_TOLERANCE).sum()),
        "worst_gap": float(table["gap"].max()) if len(table) else None,
        "phases": dict(sorted(table["phase"].value_counts().iter_rows())),
        "status": dict(sorted(table["status"].value_counts().iter_rows())),
    }


def _identity(batch: Problem, seed: int, num_starts: int) -> str:
    """A name for the contents of a batch: the same cells, the same name."""
    digest = hashlib.sha256(f"{FORMAT}|{seed}|{num_starts}|{_describe(batch)}".encode())
    for leaf in jax.tree.leaves(batch.loss):
        digest.update(np.ascontiguousarray(leaf, float).tobytes())
    return digest.hexdigest()[:16]


def _describe(batch: Problem) -> str:
    statics = {
        field.name: getattr(batch.loss, field.name)
        for field in dataclasses.fields(batch.loss)
        if field.metadata.get("static")
    }
    choices = ", ".join(f"{name}={value}" for name, value in statics.items())
    return f"{type(batch.loss).__name__}({choices}) on {batch.structure}, d = {batch.dim}"


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, path)
