"""Parts of an experiment, computed on two threads and kept in a run folder, so that it goes on."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import polars as pl
from threadpoolctl import threadpool_limits

from ssem_jax.compute.identity import digest, own_code
from ssem_jax.compute.kernels import in_threads, one_thread
from ssem_jax.sweeps.folder import RunFolder

PARTS_AT_ONCE = 2
"""While one part is in a compiled kernel, the other compiles, or fits its probes."""
POLL_SECONDS = 1.0
"""Between looks at a part that another process is at: it takes a minute or so."""

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
    tell = progress or (lambda steps: None)

    def one(number: int, folder: RunFolder | None) -> pl.DataFrame:
        part = parts[number]
        while True:
            mine = folder is None or folder.claim(number)
            table = folder.read_part(number) if folder else None
            if table is not None:
                tell(part.steps)
                return table
            if mine:
                break
            time.sleep(POLL_SECONDS)
        table = part.work(tell)
        if folder:
            folder.write_part(number, table)
        return table

    # Probes are small: one core each, instead of two threads for every core, OpenMP's among them.
    with one_thread(), threadpool_limits(1), _opened(out, parts, facts) as folder:
        found = in_threads(lambda number: one(number, folder), range(len(parts)), PARTS_AT_ONCE)
        tables = dict(found)
    return pl.concat([tables[number] for number in range(len(parts))], how="diagonal")


def _opened(
    out: str | os.PathLike[str] | None, parts: Sequence[Part], facts: dict[str, Any]
) -> Any:
    """The folder of the run, as a context; of nothing where none is wanted."""
    if out is None:
        return nullcontext()
    identities = [digest(own_code(), facts, part.identity)[:16] for part in parts]
    said = {**facts, "parts": [part.identity for part in parts]}
    differences = "other experiment, grid, seeds, or code of this package"
    return RunFolder.open(Path(out), identities, said, differences)
