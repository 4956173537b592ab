"""Certified cells for a search, each solved once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from ssem_jax.compute.identity import NoIdentityError
from ssem_jax.problem.problem import Problem
from ssem_jax.sweeps.batches import num_cells, split
from ssem_jax.sweeps.folder import identity_of
from ssem_jax.sweeps.runs import sweep

LOG = logging.getLogger(__name__)

Progress = Callable[[int], None]


class Source:
    """Certified cells, each batch solved once: from memory, from a folder, or anew.

    Cells of a loss without identity (:mod:`ssem_jax.compute.identity`) are solved anew each time
    and kept nowhere; a line in the log says so.

    Args:
        seed: of the random starts.
        out: a folder that keeps the cells; None to keep nothing.
        progress: called with numbers of finished cells.
        solver: as :func:`ssem_jax.sweep`, which it is if not given.
    """

    def __init__(
        self,
        seed: int = 0,
        out: Path | None = None,
        progress: Progress | None = None,
        solver: Callable[..., pl.DataFrame] = sweep,
    ) -> None:
        self.seed, self.out, self.progress, self.solver = seed, out, progress, solver
        self.memory: dict[str, pl.DataFrame] = {}
        self.noted: set[str] = set()

    def cells(
        self, problems: Sequence[Problem], num_starts: int = 2, seed: int = 0
    ) -> pl.DataFrame:
        """The table of some problems."""
        options = {"seed": self.seed + seed, "num_starts": num_starts, "progress": self.progress}
        try:
            name = self._name_of(problems, self.seed + seed, num_starts)
        except NoIdentityError as error:
            line = (
                f"cells of {type(problems[0].loss).__name__} are neither kept nor reused: {error}"
            )
            if line not in self.noted:
                self.noted.add(line)
                LOG.warning("%s", line)
            return self.solver(problems, out=None, **options)
        if name not in self.memory:
            out = None if self.out is None else self.out / name
            self.memory[name] = self.solver(problems, out=out, **options)
        elif self.progress:
            self.progress(num_cells(problems))
        return self.memory[name]

    def _name_of(self, problems: Sequence[Problem], seed: int, num_starts: int) -> str:
        parts = [identity_of(b, seed, num_starts) for each in problems for b in split(each)]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
