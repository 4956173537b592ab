"""Many problems solved and certified: a tidy table, one row for each cell.

A sweep is a list of problems, each a batch of cells of one shape. Every batch becomes one part of
the table, computed in this process or by any executor. With a run folder, parts are Parquet files
beside a manifest. Each is written to a temporary name and then moved into place, and carries the
identity of its batch, so that a run that was ended in any way goes on where it stopped:

* a part that is truncated or belongs to another batch is named in the log and computed again;
* several processes may work on one run; each part is claimed by a lock that dies with its holder,
  and one that another process holds for too long, stopped or on a machine that hangs, is computed
  here as well: it is the same whoever makes it, and moved into place whole;
* a folder of another `FORMAT` is refused. Other versions of the packages are named in the log, and
  the parts that they made are kept: rounding may differ, certificates hold all the same.

The columns of the table stand in :mod:`ssem_jax.sweeps.table`.
"""

from __future__ import annotations

import math
import os
import queue
import time
from collections import Counter, deque
from collections.abc import Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl

from ssem_jax.certificate.certificates import check_size
from ssem_jax.compute.kernels import in_this_mode, one_thread
from ssem_jax.compute.sizes import check_cells, check_memory
from ssem_jax.compute.workers import EXECUTORS, lost_worker, open_executor
from ssem_jax.losses.base import loss_of
from ssem_jax.problem.problem import Problem, check_problem
from ssem_jax.problem.validation import (
    as_key,
    check_choice,
    check_count,
    check_progress,
    require_x64,
    shown,
)
from ssem_jax.sweeps.batches import (
    PART_CELLS,
    Progress,
    by_program,
    compute_batch,
    num_cells,
    split,
)
from ssem_jax.sweeps.folder import (
    KEPT,
    LOG,
    RunError,
    RunFolder,
    check_folder,
    described,
    open_sweep,
)
from ssem_jax.sweeps.grid import Grid
from ssem_jax.sweeps.table import columns_of, join, schema_of

SHAPES_AT_ONCE = 2
"""Batches under way in this process: while one compiles, the other computes."""
MANY_WORKERS = 512
"""Workers of an executor that does not tell `num_workers`. It is handed two batches for each, so
that none waits; the others are left to whoever works on the same run."""
ATTEMPTS = 3
"""Workers that a batch may lose; the third loss is the batch's own doing (memory, most often)."""
HELD = 3
"""Times that a solved cell is held at least: its start, a direction and what is kept of it."""
POLL_SECONDS = 0.2
"""Between looks at what another process on the same run has finished."""
PEER_NOTICE, PEER_PATIENCE = 30.0, 600.0
"""Seconds that a part which another process holds is waited for without a word, and at all; parts
take seconds, and their first compilation some more."""


def sweep(
    problems: Iterable[Problem] | Problem | Grid,
    *,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    num_starts: int = 2,
    witness: str = "solve",
    executor: Executor | str | None = None,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Solve and certify every cell of the problems, or certify theory's optimum of every cell.

    Args:
        problems: batches of cells, one shape each (for example `Grid(...).problems()`); also one
            problem, or a grid.
        seed: of the random starts; the same seed gives the same table.
        out: a run folder to write to. If it holds an interrupted run of the same sweep, only what
            is missing is computed.
        num_starts: random starts at most for each cell.
        witness: "solve" certifies minima found from random starts; "certificate" certifies the
            closed form of theory, of which nothing is minimised.
        executor: who computes the batches: anything with the interface of
            :class:`concurrent.futures.Executor`, such as :class:`ssem_jax.compute.Processes`,
            ``dask.distributed.Client(...).get_executor()`` or mpi4py's ``MPIPoolExecutor``. By
            default threads of this process. The workers need this package, not the run folder. Or
            a name of :func:`ssem_jax.compute.open_executor`, to open one for this sweep.
        progress: called with the number of newly finished cells.

    Returns:
        The table that :mod:`ssem_jax.sweeps.table` describes, in the order of the problems.

    Raises:
        RunError: the folder cannot be written, or holds another run; or workers are lost again and
            again.
        ValueError: what :func:`ssem_jax.solve` raises, a hyper-parameter whose name or
        type does
            not fit into the table, or a witness that does not know the problem.
    """
    require_x64()
    check_choice("witness", witness, tuple(PART_CELLS))
    seed, num_starts = check_count("seed", seed, 0), check_count("num_starts", num_starts, 1)
    as_key(seed)  # or it is too large
    problems = _problems(problems)
    check_sizes(problems, witness)
    check_progress(progress)
    if out is not None:
        check_folder(out)
    if isinstance(executor, str):
        with open_executor(executor) as opened:
            options = {"seed": seed, "out": out, "num_starts": num_starts, "witness": witness}
            return sweep(problems, **options, executor=opened, progress=progress)
    if executor is not None and (
        isinstance(executor, type) or not callable(getattr(executor, "submit", None))
    ):
        names = ", ".join(map(repr, EXECUTORS))
        raise ValueError(
            f"executor must have the interface of concurrent.futures.Executor, or be one of "
            f"{names}; got {shown(executor)}."
        )
    batches = [batch for problem in problems for batch in split(problem, witness)]
    join([pl.DataFrame(schema=schema_of(loss_of(batch))) for batch in batches])  # or refuse now
    for batch in batches if witness == "solve" else ():
        if not by_program(batch):
            check_size(loss_of(batch), batch.structure)
    _forget_old_traces(batches)
    tables: dict[int, pl.DataFrame] = {}
    with (
        nullcontext()
        if out is None
        else open_sweep(Path(out), batches, seed, num_starts, witness) as folder,
        # LAPACK's own threads would fight with those that share the batches.
        one_thread() if executor is None and len(batches) > 1 else nullcontext(),
        nullcontext(executor) if executor else ThreadPoolExecutor(SHAPES_AT_ONCE) as pool,
    ):
        waiting = deque(range(len(batches)))
        running: dict[Future, int] = {}
        finished: queue.SimpleQueue[Future] = queue.SimpleQueue()
        lost: Counter[int] = Counter()
        peers = _Peers(folder)
        capacity = (
            2 * getattr(executor, "num_workers", MANY_WORKERS) if executor else SHAPES_AT_ONCE
        )

        def submit(number: int) -> None:
            # A function cannot be sent to another process: that one counts whole batches.
            report = () if executor else (progress,)
            compute = compute_batch if executor else in_this_mode(compute_batch)
            try:
                future = pool.submit(compute, batches[number], witness, seed, num_starts, *report)
            except (RuntimeError, OSError) as error:
                raise RunError(f"the executor takes no more work ({error}); {KEPT}") from error
            running[future] = number
            future.add_done_callback(finished.put)

        def keep(number: int, table: pl.DataFrame) -> None:
            if folder:
                folder.write_part(number, table)
            tables[number] = table
            if executor and progress:
                progress(len(table))

        def receive(future: Future) -> None:
            number = running.pop(future)
            try:
                table = future.result()
            except Exception as error:
                if not lost_worker(error):
                    raise
                lost[number] += 1
                if lost[number] == ATTEMPTS:
                    raise RunError(
                        f"{ATTEMPTS} workers were lost at {described(batches[number])} ({error}); "
                        f"{KEPT}"
                    ) from error
                LOG.warning("%s; its batch is computed again.", error)
                submit(number)
            else:
                keep(number, table)

        try:
            while waiting or running:
                for _ in range(len(waiting)):
                    if len(running) >= capacity:
                        break
                    number = waiting.popleft()
                    mine = folder is None or folder.claim(number)
                    table = folder.read_part(number) if folder else None
                    if table is not None:
                        tables[number] = table
                        if progress:
                            progress(len(table))
                    elif mine or peers.too_long(number):
                        submit(number)
                    else:  # another process is at it
                        waiting.append(number)
                if running:
                    patience = POLL_SECONDS if waiting and len(running) < capacity else None
                    with suppress(queue.Empty):
                        receive(finished.get(timeout=patience))
                elif waiting:
                    time.sleep(POLL_SECONDS)
        except BaseException:
            # Threads cannot be stopped: what they are at is kept.
            busy = [future for future in running if not future.cancel()]
            for future in wait(busy).done if executor is None else ():
                if not future.exception():
                    keep(running[future], future.result())
            raise
    return join([tables[number] for number in range(len(batches))])


class _Peers:
    """Other processes on the same run, and since when they were seen at its parts."""

    def __init__(self, folder: RunFolder | None) -> None:
        self.folder = folder
        self.since: dict[int, float] = {}
        self.told: set[int] = set()

    def too_long(self, number: int) -> bool:
        """Whether one has been at a part for too long; that is said, and once before."""
        if self.folder is None:
            return False
        now = time.monotonic()
        seconds = now - self.since.setdefault(number, now)
        part, holder = self.folder.part(number), self.folder.holder(number)
        if seconds > PEER_PATIENCE:
            LOG.warning("%s was held by %s for %.0f s; it is computed here.", part, holder, seconds)
        elif seconds > PEER_NOTICE and number not in self.told:
            self.told.add(number)
            LOG.warning(
                "%s is held by %s; it is waited for, and after %.0f s computed here.",
                *(part, holder, PEER_PATIENCE),
            )
        return seconds > PEER_PATIENCE


def check_sizes(problems: list[Problem], witness: str) -> None:
    """Raise a ValueError where there are too many cells, or one does not fit into memory."""
    check_cells(num_cells(problems))
    for problem in problems if witness == "solve" else ():
        if by_program(problem):
            continue
        shape = problem.structure.num_embeddings, problem.given_dim
        check_memory(
            "a cell of {} embeddings in {} dimensions".format(*shape),
            HELD * math.prod(shape),
            "take fewer embeddings or dimensions, or witness certificate, which minimises nothing",
        )


_TRACED: dict[Any, tuple[str, dict[str, str]]] = {}
"""Losses without their numbers, as JAX keeps kernels by → what they were when last swept."""


def _forget_old_traces(batches: Iterable[Problem]) -> None:
    """Let JAX compile anew where a loss is no longer what it was: it has changed a global, say,
    and is still the same object, by which kernels are kept."""
    for batch in batches:
        code, choices, _ = columns_of(loss_of(batch))
        if _TRACED.setdefault(jax.tree.structure(batch.loss), (code, choices)) != (code, choices):
            _TRACED.clear()
            jax.clear_caches()


def _problems(given: Any) -> list[Problem]:
    """The problems of a sweep, of whatever holds them."""
    if isinstance(given, Grid):
        return given.problems()
    problems = [given] if isinstance(given, Problem) or not np.iterable(given) else list(given)
    for problem in problems:
        check_problem(problem)
    return problems
