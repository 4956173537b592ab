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
<hyper-parameter>      every other hyper-parameter of the loss under the name of its field: traced
                       ones as numbers, static ones as text (null for losses without)
=====================  ==========================================================================
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import itertools
import json
import os
import platform
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl

from ssem_jax.certificate import GAP_TOLERANCE, Certificate, certify
from ssem_jax.losses import GramLoss, SupCL
from ssem_jax.problem import ClassStructure, Phase, Problem, full_dimension
from ssem_jax.reduced import QUANTITIES
from ssem_jax.schedule import in_threads
from ssem_jax.solution import Solution, Status
from ssem_jax.solve import solve

FORMAT = 2
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

    Values left out are the loss's own defaults. For example
    ``Grid([structure], ["full"], [0.1, 0.9], [0.5])`` for SupCL, and
    ``Grid([structure], ["full"], loss=Sigmoid, hyper={"scale": [1, 10], "bias": [0]})``.

    Args:
        structures: class structures.
        dims: embedding dimensions, or "full" for one that admits every optimum: the smallest for
            SupCL (:func:`ssem_jax.full_dimension`), N for losses without pair conventions.
        alphas: values of α.
        temperatures: values of τ.
        self_pairs: conventions.
        means: conventions.
        loss: a dataclass of losses.
        hyper: values of its further fields, by name.

    Raises:
        ValueError: an empty list, a value for what the loss does not have, or a problem that is
            not defined (see :class:`Problem`).
    """

    structures: Sequence[ClassStructure]
    dims: Sequence[int | str]
    alphas: Sequence[float] = ()
    temperatures: Sequence[float] = ()
    self_pairs: Sequence[str] = ()
    means: Sequence[str] = ()
    loss: type[GramLoss] = SupCL
    hyper: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)

    def axes(self) -> dict[str, Sequence[Any]]:
        """Field of the loss → its values, for every field that is not left at its default."""
        named = {name: getattr(self, plural) for name, plural in PLURALS.items()}
        lists = {name: values for name, values in named.items() if len(values)} | dict(self.hyper)
        fields = {field.name: field for field in dataclasses.fields(self.loss)}
        for name in lists:
            if name not in fields:
                raise ValueError(
                    f"{self.loss.__name__} has no {name}; leave it out, or give one of "
                    f"{', '.join(fields)}."
                )
            if name in self.hyper and len(named.get(name, ())):
                raise ValueError(f"{name} stands in hyper and as {PLURALS[name]}; give it once.")
        for name, field in fields.items():
            required = field.default is field.default_factory is dataclasses.MISSING
            if not len(lists.get(name, () if required else (None,))):
                raise ValueError(
                    f"{PLURALS.get(name, name)} must not be empty; give at least one value."
                )
        return {name: lists[name] for name in fields if name in lists}

    def problems(self) -> list[Problem]:
        """One problem for each shape and static choice, with the numbers as its batch axis."""
        for name in ("structures", "dims"):
            if len(getattr(self, name)) == 0:
                raise ValueError(f"{name} must not be empty; give at least one value.")
        axes = self.axes()
        static = {field.name for field in dataclasses.fields(self.loss) if _is_static(field)}
        choices = {name: values for name, values in axes.items() if name in static}
        numbers = {name: values for name, values in axes.items() if name not in static}
        cells = np.array(list(itertools.product(*numbers.values())), float)
        traced = dict(zip(numbers, cells.T, strict=True))
        return [
            Problem(structure, admitting_dimension(structure, loss) if dim == "full" else dim, loss)
            for structure in self.structures
            for chosen in itertools.product(*choices.values())
            for loss in [self.loss(**traced, **dict(zip(choices, chosen, strict=True)))]
            for dim in self.dims
        ]


PLURALS = {
    "alpha": "alphas",
    "temperature": "temperatures",
    "self_pairs": "self_pairs",
    "mean": "means",
}
"""Field of SupCL → the list of its values in a :class:`Grid`."""


def admitting_dimension(structure: ClassStructure, loss: GramLoss) -> int:
    """A dimension that admits every optimum."""
    convention = getattr(loss, "self_pairs", None)
    # Without further knowledge: a Gram matrix of N embeddings may have rank N.
    return full_dimension(structure, convention) if convention else structure.num_embeddings


def _is_static(field: dataclasses.Field) -> bool:
    return bool(field.metadata.get("static", False))


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
    hyper = _hyper_parameters(losses)

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
        "alpha": hyper.pop("alpha", None),
        "temperature": hyper.pop("temperature", None),
        "self_pairs": hyper.pop("self_pairs", None),
        "mean": hyper.pop("mean", None),
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
    } | hyper
    schema = schema_of(losses)

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
"""Column → type of the table, for every loss."""


def schema_of(loss: GramLoss) -> dict[str, Any]:
    """Column → type of the table of a loss: `SCHEMA`, and its further hyper-parameters.

    Raises:
        ValueError: a hyper-parameter is named like a column that means something else.
    """
    columns = {
        name: pl.String if isinstance(value, str) else pl.Float64
        for name, value in _hyper_parameters(loss).items()
    }
    for name, kind in columns.items():
        if name in SCHEMA and not (name in PLURALS and SCHEMA[name] == kind):
            raise ValueError(
                f"the field {name} of {type(loss).__name__} is named like another column of the "
                "table; choose another name."
            )
    return SCHEMA | columns


def _hyper_parameters(loss: GramLoss) -> dict[str, Any]:
    """What is tabulated of a loss: traced leaves as they are, static numbers and words as text.

    Leaves of a loss within the loss are named by their path, as `first.scale`.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(loss)
    traced = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
    return traced | {
        name: str(value)
        for name, value in _static_fields(loss).items()
        if isinstance(value, (str, int, float))
    }


def _static_fields(loss: GramLoss) -> dict[str, Any]:
    fields = [field for field in dataclasses.fields(loss) if _is_static(field)]
    return {field.name: getattr(loss, field.name) for field in fields}


def join(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Tables of different losses below one another, with nulls for what a loss does not have.

    Raises:
        ValueError: a hyper-parameter is a number in one loss and text in another.
    """
    try:
        return pl.concat(tables, how="diagonal") if tables else pl.DataFrame(schema=SCHEMA)
    except pl.exceptions.SchemaError as error:
        raise ValueError(
            "a hyper-parameter is a number in one loss and text in another; rename one of them, "
            f"or sweep them apart ({error})."
        ) from error


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
        ValueError: what :func:`ssem_jax.solve` raises, or a hyper-parameter whose name or type
            does not fit into the table.
    """
    batches = [batch for problem in problems for batch in split(problem)]
    join([pl.DataFrame(schema=schema_of(batch.loss)) for batch in batches])  # or refuse now
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
    return join(ordered)


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
    manifest: dict[str, Any]

    @property
    def num_parts(self) -> int:
        """Parts of the complete run."""
        return len(self.manifest["batches"])

    @classmethod
    def open(cls, path: Path, batches: Sequence[Problem], seed: int, num_starts: int) -> RunFolder:
        """Create a run folder, or go on with the same run.

        Raises:
            RunError: not writable, or it holds another run or no run at all.
        """
        identities = [identity(batch, seed, num_starts) for batch in batches]
        try:
            path.mkdir(parents=True, exist_ok=True)
            manifest = read_manifest(path) if (path / MANIFEST).exists() else None
            if manifest is None:
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
                    "columns": [_further_columns(batch.loss) for batch in batches],
                    "versions": versions(),
                }
                _write(path / MANIFEST, json.dumps(manifest, indent=2).encode())
            elif manifest["batches"] != identities:
                raise RunError(
                    f"{path} holds another run (other grid, seed or number of starts); "
                    "choose a new folder for --out, or repeat the command that made it."
                )
        except OSError as error:
            raise RunError(
                f"cannot write to {path}: {error.strerror}; choose another folder for --out."
            ) from error
        return cls(path, manifest)

    def part(self, number: int) -> Path:
        """The file of a part."""
        return self.path / f"part-{number:05d}.parquet"

    def read_part(self, number: int) -> pl.DataFrame | None:
        """A finished part, or None where it is missing, broken or foreign."""
        try:
            table = pl.read_parquet(self.part(number))
        except (OSError, pl.exceptions.PolarsError):
            return None
        columns = self.manifest["columns"][number]
        expected = SCHEMA | {name: getattr(pl, kind) for name, kind in columns.items()}
        return table if table.schema == pl.Schema(expected) else None

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
    run = RunFolder(folder, manifest)
    tables = [run.read_part(number) for number in range(run.num_parts)]
    finished = [table for table in tables if table is not None]
    return join(finished), manifest


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


def identity(batch: Problem, seed: int, num_starts: int) -> str:
    """A name for the contents of a batch: the same cells, the same name."""
    text = f"{FORMAT}|{seed}|{num_starts}|{batch.structure}|{batch.dim}|{_stable(type(batch.loss))}"
    digest = hashlib.sha256(text.encode())
    for name, value in _static_fields(batch.loss).items():
        digest.update(f"|{name}={_stable(value)}".encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(batch.loss):
        digest.update(f"|{jax.tree_util.keystr(path)}=".encode())
        digest.update(np.ascontiguousarray(leaf, float).tobytes())
    return digest.hexdigest()[:16]


def _further_columns(loss: GramLoss) -> dict[str, str]:
    """Column that this loss adds to `SCHEMA` → name of its type."""
    return {name: str(kind) for name, kind in schema_of(loss).items() if name not in SCHEMA}


def _describe(batch: Problem) -> str:
    statics = _static_fields(batch.loss)
    choices = ", ".join(
        f"{name}={getattr(value, '__qualname__', value)}" for name, value in statics.items()
    )
    return f"{type(batch.loss).__name__}({choices}) on {batch.structure}, d = {batch.dim}"


def _stable(value: Any) -> str:
    """A name of a value that is the same in every process; a user's code counts by its text."""
    if not hasattr(value, "__qualname__"):
        return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    name = f"{value.__module__}.{value.__qualname__}"
    if value.__module__.partition(".")[0] == __package__:
        return name  # of one version of this package, which the manifest names
    try:
        return name + inspect.getsource(value)
    except (OSError, TypeError):  # typed into an interpreter, or compiled
        return name


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, path)
