"""Parts of an experiment, computed on two threads and kept in a folder, so that a run goes on."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from threadpoolctl import threadpool_limits

from ssem_jax.compute.kernels import in_threads
from ssem_jax.sweeps.folder import MANIFEST, RunError, versions
from ssem_jax.sweeps.identity import own_code

FORMAT = 2
"""Version of the run folder's layout and columns."""
PARTS_AT_ONCE = 2
"""While one part is in a compiled kernel, the other compiles, or fits its probes."""

Progress = Callable[[int], None]


@dataclasses.dataclass(frozen=True)
class Part:
    """What is computed as a whole: encoders that train together.

    Attributes:
        identity: all that its rows depend on, as JSON knows it.
        steps: of training, in all its encoders; what progress counts.
        work: computes the rows and tells of finished steps.
    """

    identity: dict[str, Any]
    steps: int
    work: Callable[[Progress], pl.DataFrame]


def finish(
    parts: Sequence[Part],
    facts: dict[str, Any],
    out: str | os.PathLike[str] | None,
    progress: Progress | None,
) -> pl.DataFrame:
    """The rows of all parts, in their order; those that the folder holds are read from it.

    Raises:
        RunError: the folder cannot be written, or holds another run.
    """
    folder = None if out is None else Path(out)
    if folder is not None:
        _claim(folder, parts, facts)
    tell = progress or (lambda steps: None)

    def one(number: int) -> pl.DataFrame:
        part, path = parts[number], folder and folder / f"part-{number:05d}.parquet"
        table = _read(path)
        if table is not None:
            tell(part.steps)
            return table
        table = part.work(tell)
        if path is not None:
            _write(path, table.write_parquet)
        return table

    # Probes are small: one core each, instead of two threads for every core.
    with threadpool_limits(1):
        tables = dict(in_threads(one, range(len(parts)), PARTS_AT_ONCE))
    return pl.concat([tables[number] for number in range(len(parts))], how="diagonal")


def _claim(folder: Path, parts: Sequence[Part], facts: dict[str, Any]) -> None:
    """Make the folder's manifest, or find that it is of the same run."""
    run = {"format": FORMAT, **facts, "code": own_code()}
    run |= {"parts": [part.identity for part in parts]}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / MANIFEST).exists():
            known = json.loads((folder / MANIFEST).read_text())
            if {name: known.get(name) for name in run} != json.loads(json.dumps(run)):
                raise RunError(
                    f"{folder} holds another run (other experiment, grid, seeds, or code of this "
                    "package); choose a new folder for --out, or repeat the command that made it."
                )
            return
        stray = [entry.name for entry in folder.iterdir()]
        if stray:
            raise RunError(
                f"{folder} is not empty and holds no run (it has {stray[0]}); "
                "choose a new folder for --out."
            )
        manifest = json.dumps({**run, "versions": versions()}, indent=2)
        _write(folder / MANIFEST, lambda path: path.write_text(manifest))
    except OSError as error:
        raise RunError(
            f"cannot write to {folder}: {error.strerror}; choose another folder for --out."
        ) from error
    except json.JSONDecodeError as error:
        raise RunError(f"{folder / MANIFEST} is broken ({error}); choose a new folder.") from error


def _read(path: Path | None) -> pl.DataFrame | None:
    """A finished part, or None where it is missing or broken."""
    try:
        return None if path is None else pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError):
        return None


def _write(target: Path, write: Callable[[Path], Any]) -> None:
    """Write a file so that it is either whole or absent."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(
            f"cannot write {target}: {error.strerror}; what was computed before is kept, "
            "repeat the command to go on."
        ) from error
