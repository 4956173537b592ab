"""Tables as certificates: a file for every certified cell, checked by another program.

Files are written by :mod:`ssem_jax.certificate.exports`. The program that checks them,
``proofs_numeric/check.py``, runs in processes of its own that see nothing of this package.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import polars as pl

from proofs_numeric import check
from ssem_jax.certificate.certificate import GAP_TOLERANCE
from ssem_jax.certificate.exports import documents, is_known, write
from ssem_jax.compute.kernels import worker_count
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.problem import Problem
from ssem_jax.sweeps.table import Maker, problems, sizes_of

FILES_AT_ONCE = 500
"""Files that one process of the checker is given: a command line holds some thousand names."""


class Checked(NamedTuple):
    """What an independent program made of files.

    Attributes:
        proven: files of which every claim is proven.
        files: all of them.
        bytes: their size.
        failures: what was said of the others.
    """

    proven: int
    files: int
    bytes: int
    failures: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """As a report says it."""
        return f"checked by an independent program: {self.proven:,} of {self.files:,}"


def name_of(row: dict, number: int) -> str:
    """The name of a cell's file: its place in the table, its shape and its hyper-parameters."""
    sizes = sizes_of(row["sizes"])
    shape = f"{len(sizes)}x{sizes[0]}" if len({*sizes}) == 1 else "-".join(map(str, sizes))
    numbers = f"a{row['alpha']:.4g}_t{row['temperature']:.4g}"
    views, dim = f"p{row['num_views']}", f"d{row['dim']}"
    return f"{number:05d}_{shape}_{views}_{dim}_{row['self_pairs']}_{row['mean']}_{numbers}.json"


def export_cells(
    table: pl.DataFrame,
    folder: Path,
    loss: Maker = SupCL,
    progress: Callable[[int], None] | None = None,
) -> list[Path]:
    """A file for every certified cell of a loss that the checker knows.

    Args:
        table: rows of :func:`ssem_jax.sweeps.sweep`.
        folder: an existing folder.
        loss: what made their losses, by keyword.
        progress: called with the number of newly written files.

    Returns:
        The files, in the order of the table.

    Raises:
        ValueError: a file that contradicts its row.
    """
    files: dict[int, Path] = {}
    for rows, problem in problems(table, loss):
        if not is_known(problem.loss) or problem.least is not None:
            continue
        losses, _ = problem.cells()
        for place, number in enumerate(rows):
            row = table.row(number, named=True)
            if not row["gap"] <= GAP_TOLERANCE:
                continue
            cell = jax.tree.map(lambda leaf, place=place: np.asarray(leaf)[place], losses)
            one = Problem(problem.structure, problem.dim, cell)
            (document,) = documents(one, [row["lower"]], [row["lower"] + row["gap"]])
            files[number] = write(document, folder / name_of(row, number))
            if progress:
                progress(1)
    return [files[number] for number in sorted(files)]


def checked(files: Sequence[Path]) -> Checked:
    """Have files checked by the program alone, in as many processes as there are cores."""
    chunks = [files[first : first + FILES_AT_ONCE] for first in range(0, len(files), FILES_AT_ONCE)]
    with ThreadPoolExecutor(worker_count()) as pool:
        said = list(pool.map(_said_of, chunks))
    told = [text for texts in said for text in texts]
    failures = tuple(text for text in told if not text.startswith("PROVEN "))
    size = sum(path.stat().st_size for path in files)
    return Checked(len(told) - len(failures), len(files), size, failures)


def _said_of(files: Iterable[Path]) -> list[str]:
    """What the program says of each file; it sees the standard library and nothing else."""
    command = [sys.executable, "-I", "-S", check.__file__, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    entries: list[str] = []
    for line in done.stdout.splitlines():
        if line.startswith(("PROVEN ", "NOT PROVEN ", "REFUSED ")):
            entries.append(line)
        elif line.startswith("    ") and entries:
            entries[-1] += "\n" + line
    return entries
