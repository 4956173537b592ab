"""Many problems solved and certified: a tidy table, one row for each cell.

A sweep is a list of problems, each a batch of cells of one shape. Every batch becomes one part of
the table, computed in this process or by any executor. With a run folder, parts are Parquet files
beside a manifest. Each is written to a temporary name and then moved into place, and carries the
identity of its batch, so that a run that was ended in any way goes on where it stopped:

* a part that is truncated or belongs to another batch is named in the log and computed again;
* several processes may work on one run; each part is claimed by a lock that dies with its holder;
* a folder of another `FORMAT` is refused. Other versions of the packages are named in the log, and
  the parts that they made are kept: rounding may differ, certificates hold all the same.

The columns of the table stand in :mod:`ssem_jax.table`.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import itertools
import json
import logging
import os
import platform
import queue
import re
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import jax
import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from ssem_jax import theory
from ssem_jax.certificate.certificate import GAP_TOLERANCE, Certificate
from ssem_jax.certificate.certificates import certificate_key, certify, certify_blocks, check_size
from ssem_jax.compute import cache
from ssem_jax.compute.kernels import in_this_mode
from ssem_jax.compute.workers import EXECUTORS, lost_worker, open_executor
from ssem_jax.identity import NoIdentityError, digest, own_code
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.problem import Problem, check_problem
from ssem_jax.problem.structure import ClassStructure, check_structure, full_dimension
from ssem_jax.problem.validation import (
    check_choice,
    check_count,
    check_progress,
    check_type,
    require_x64,
    shown,
)
from ssem_jax.solver.attempts import solve
from ssem_jax.table import (
    columns_of,
    is_static,
    join,
    schema_of,
    static_fields,
    tabulate,
    text_of,
)

try:
    import fcntl
except ImportError:  # a system without these locks: processes on one run repeat each other's work
    fcntl = None

FORMAT = 3
"""Version of the run folder's layout and columns."""
MANIFEST = "manifest.json"
CLAIMS = ".claims"
"""A file that stays empty; its byte 0 is locked to make the manifest, byte k + 1 to make part k."""
PART_FLOATS = 2**22
"""Floats of embeddings that a part may hold, 32 MiB: its cells share a fate when a run is ended."""
PART_CELLS = {"solve": 256, "certificate": 4096}
"""Cells that a part may hold, by witness: about a second's work, against 10 ms to keep it."""

SHAPES_AT_ONCE = 2
"""Batches under way in this process: while one compiles, the other computes."""
MANY_WORKERS = 512
"""Workers of an executor that does not tell `num_workers`. It is handed two batches for each, so
that none waits; the others are left to whoever works on the same run."""
ATTEMPTS = 3
"""Workers that a batch may lose; the third loss is the batch's own doing (memory, most often)."""
POLL_SECONDS = 0.2
"""Between looks at what another process on the same run has finished."""

LOG = logging.getLogger(__name__)

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

    structures: Sequence[ClassStructure] | ClassStructure
    dims: Sequence[int | str] | int | str
    alphas: Sequence[float] = ()
    temperatures: Sequence[float] = ()
    self_pairs: Sequence[str] = ()
    means: Sequence[str] = ()
    loss: type[GramLoss] = SupCL
    hyper: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (isinstance(self.loss, type) and dataclasses.is_dataclass(self.loss)):
            raise ValueError(
                f"the loss of a grid must be a class of losses, as SupCL; got {shown(self.loss)}. "
                "Its hyper-parameters are lists of their own."
            )
        check_type("hyper", self.hyper, Mapping, "a dict of lists, as {'scale': [1, 10]}")
        for name in ("structures", "dims", *PLURALS.values()):
            object.__setattr__(self, name, _listed(name, getattr(self, name)))
        hyper = {name: _listed(name, values) for name, values in self.hyper.items()}
        object.__setattr__(self, "hyper", hyper)
        for structure in self.structures:
            check_structure(structure)

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
        static = {field.name for field in dataclasses.fields(self.loss) if is_static(field)}
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
    known = convention in ("include", "exclude", "decouple")
    return full_dimension(structure, convention) if known else structure.num_embeddings


def _listed(name: str, values: Any) -> Sequence[Any]:
    """Values of an axis; a single one is a list of one."""
    if isinstance(values, (str, ClassStructure)) or np.ndim(values) == 0:
        if values is None or isinstance(values, (Mapping, set)):
            raise ValueError(f"{name} must be a list of values; got {shown(values)}.")
        return (values,)
    return values


def split(problem: Problem, witness: str = "solve") -> Iterator[Problem]:
    """The problem in batches that fit into a part."""
    losses, size = problem.cells()
    floats = problem.structure.num_embeddings * problem.dim
    step = int(np.clip(PART_FLOATS // floats, 1, PART_CELLS[witness]))
    for first in range(0, size, step):
        part = jax.tree.map(lambda leaf, first=first: leaf[first : first + step], losses)
        yield Problem(problem.structure, problem.dim, part)


def solve_batch(
    problem: Problem, seed: int, num_starts: int, progress: Progress | None
) -> pl.DataFrame:
    """Solve and certify one batch: the rows of its cells."""
    key = jax.random.key(seed)
    solution = solve(problem, key, num_starts=num_starts, progress=progress)
    return tabulate(certify(solution, certificate_key(key)), solution, seed)


def certify_theory(problem: Problem) -> Certificate:
    """Certify theory's own optimum of every cell; nothing is minimised.

    Raises:
        ValueError: no closed form is known, or it does not fit into the dimension.
    """
    losses, _ = problem.cells()
    structure = problem.structure
    if not (type(losses) is SupCL and structure.is_balanced):
        raise ValueError(
            f"no closed form is known for {type(losses).__name__} of {structure}; certify a "
            "minimum instead, with the witness solve."
        )
    least = full_dimension(structure, losses.self_pairs)
    if problem.dim < least:
        raise ValueError(
            f"theory's optimum needs dim of at least {least}; got {problem.dim}. Raise it, or "
            "certify a minimum instead, with the witness solve."
        )
    counts = (structure.num_classes, structure.instances_per_class, structure.num_views)
    optimum = theory.similarities(*counts, losses.alpha, losses.temperature, losses.self_pairs)
    return certify_blocks(problem, optimum)


def compute_batch(
    problem: Problem, witness: str, seed: int, num_starts: int, progress: Progress | None = None
) -> pl.DataFrame:
    """One part of a table, in whatever process this is called."""
    if not jax.config.jax_enable_x64:  # of a worker that is new
        cache.set_up_jax()
    if witness == "certificate":
        return tabulate(certify_theory(problem))
    return solve_batch(problem, seed, num_starts, progress)


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
            :class:`concurrent.futures.Executor`, such as :class:`ssem_jax.Processes`,
            ``dask.distributed.Client(...).get_executor()`` or mpi4py's ``MPIPoolExecutor``. By
            default threads of this process. The workers need this package, not the run folder. Or
            a name of :func:`ssem_jax.compute.open_executor`, to open one for this sweep.
        progress: called with the number of newly finished cells.

    Returns:
        The table that :mod:`ssem_jax.table` describes, in the order of the problems.

    Raises:
        RunError: the folder cannot be written, or holds another run; or workers are lost again and
            again.
        ValueError: what :func:`ssem_jax.solver.attempts` raises, a hyper-parameter whose name or
        type does
            not fit into the table, or a witness that does not know the problem.
    """
    require_x64()
    check_choice("witness", witness, tuple(PART_CELLS))
    seed, num_starts = check_count("seed", seed, 0), check_count("num_starts", num_starts, 1)
    problems = _problems(problems)
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
    join([pl.DataFrame(schema=schema_of(batch.loss)) for batch in batches])  # or refuse now
    for batch in batches if witness == "solve" else ():
        check_size(batch.loss, batch.structure)
    _forget_old_traces(batches)
    tables: dict[int, pl.DataFrame] = {}
    with (
        nullcontext()
        if out is None
        else RunFolder.open(Path(out), batches, seed, num_starts, witness) as folder,
        # LAPACK's own threads would fight with those that share the batches.
        threadpool_limits(1 if executor is None and len(batches) > 1 else None, user_api="blas"),
        nullcontext(executor) if executor else ThreadPoolExecutor(SHAPES_AT_ONCE) as pool,
    ):
        waiting = deque(range(len(batches)))
        running: dict[Future, int] = {}
        finished: queue.SimpleQueue[Future] = queue.SimpleQueue()
        lost: Counter[int] = Counter()
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
                        f"{ATTEMPTS} workers were lost at {_describe(batches[number])} ({error}); "
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
                    elif mine:
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


_TRACED: dict[Any, tuple[str, dict[str, str]]] = {}
"""Losses without their numbers, as JAX keeps kernels by → what they were when last swept."""


def _forget_old_traces(batches: Iterable[Problem]) -> None:
    """Let JAX compile anew where a loss is no longer what it was: it has changed a global, say,
    and is still the same object, by which kernels are kept."""
    for batch in batches:
        code, choices, _ = columns_of(batch.loss)
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


def check_folder(path: Any) -> None:
    """Raise a ValueError unless it is the name of a folder; an empty one would be the current."""
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise ValueError(f"a run needs the name of a folder, as 'runs/first'; got {shown(path)}.")


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
    """A run on disk: a manifest, and one Parquet file for each finished part.

    A context, at whose end the claims to parts are given up.
    """

    path: Path
    manifest: dict[str, Any]
    claims: IO[bytes] | None = None
    noted: set[int] = dataclasses.field(default_factory=set)

    @property
    def num_parts(self) -> int:
        """Parts of the complete run."""
        return len(self.manifest["batches"])

    @classmethod
    def open(
        cls, path: Path, batches: Sequence[Problem], seed: int, num_starts: int, witness: str
    ) -> RunFolder:
        """Create a run folder, or go on with the same run.

        Raises:
            RunError: not writable, or it holds another run or no run at all; or a loss has no
                identity.
        """
        try:
            identities = [identity(batch, seed, num_starts, witness) for batch in batches]
        except NoIdentityError as error:
            raise RunError(
                "a run of this loss cannot be kept, for it could not be told from a run of another "
                f"one: {error} Sweep without `out`, and write the table that it returns yourself."
            ) from error
        claims = None
        try:
            path.mkdir(parents=True, exist_ok=True)
            stray = [entry.name for entry in path.iterdir() if not entry.name.startswith(".")]
            if stray and not (path / MANIFEST).exists():
                raise RunError(
                    f"{path} is not empty and holds no run (it has {stray[0]}); "
                    "choose a new folder for --out."
                )
            claims = (path / CLAIMS).open("ab")
            _lock(claims, 0, wait=True)
            for stale in path.glob(f".{MANIFEST}.*"):  # only the holder of the lock writes one
                if f".{os.getpid()}-" not in stale.name:
                    stale.unlink(missing_ok=True)
            if (path / MANIFEST).exists():
                manifest = read_manifest(path)
                _compare(path, manifest["versions"])
            else:
                manifest = {
                    "format": FORMAT,
                    "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                    "witness": witness,
                    "seed": seed,
                    "num_starts": num_starts,
                    "cells": num_cells(batches),
                    "batches": identities,
                    "shapes": [_describe(batch) for batch in batches],
                    "versions": versions(),
                }
                manifest = sealed(manifest)
                _write(path / MANIFEST, json.dumps(manifest, indent=2).encode())
            if manifest["batches"] != identities:
                raise RunError(
                    f"{path} holds another run (other grid, seed, starts or witness, or the code "
                    "of the loss, of this package or of Python is another); choose a new folder "
                    "for --out, or repeat the command that made it."
                )
            _lock(claims, 0, release=True)
        except BaseException as error:
            if claims:
                claims.close()
            if not isinstance(error, OSError):
                raise
            raise RunError(
                f"cannot write to {path}: {error.strerror}; choose another folder for --out."
            ) from error
        return cls(path, manifest, claims)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        if self.claims:
            self.clean()
            self.claims.close()

    def part(self, number: int) -> Path:
        """The file of a part."""
        return self.path / f"part-{number:05d}.parquet"

    def claim(self, number: int) -> bool:
        """Whether this process may make a part, since no other one that is alive is at it."""
        return self.claims is not None and _lock(self.claims, number + 1)

    def clean(self) -> None:
        """Remove what killed writers of parts left behind, where no other process is at them."""
        for stale in self.path.glob(".part-*.parquet.*"):
            named = re.match(r"\.part-(\d+)\.parquet\.(\d+)", stale.name)
            if fcntl is None or named is None or int(named[2]) == os.getpid():
                continue
            if self.claim(int(named[1])):
                stale.unlink(missing_ok=True)

    def read_part(self, number: int) -> pl.DataFrame | None:
        """A finished part; None where it is missing, and, with a line in the log, where it is
        broken or foreign."""
        path = self.part(number)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        seal = SEAL.search(content)
        if seal and hashlib.sha256(_blank(content, seal)).hexdigest() == seal["digest"].decode():
            if seal["batch"].decode() == self.manifest["batches"][number]:
                return pl.read_parquet(io.BytesIO(content))
            fault = "belongs to another run"
        else:
            fault = "is truncated, or no part of this run"
        if number not in self.noted:
            self.noted.add(number)
            LOG.warning("%s %s and does not count; the sweep computes it again.", path, fault)
        return None

    def write_part(self, number: int, table: pl.DataFrame) -> None:
        """Write a part so that it is either whole or absent.

        Raises:
            RunError: the disk refused.
        """
        target, content = self.part(number), io.BytesIO()
        seal = f"batch={self.manifest['batches'][number]} sha256={UNSEALED}"
        try:
            table.write_parquet(content, metadata={"ssem_jax": seal})
            _write(target, _seal(content.getvalue()))
        except OSError as error:
            raise RunError(f"cannot write {target}: {error.strerror}; {KEPT}") from error


SEAL = re.compile(rb"batch=(?P<batch>[0-9a-f]{16}) sha256=(?P<digest>[0-9a-f]{64})")
"""In the metadata of a Parquet file: which batch it is, and a digest of the file, in which the
digest itself counts as `UNSEALED`. Without it a damaged file may be read as wrong numbers."""
UNSEALED = "0" * 64


def _blank(content: bytes, seal: re.Match[bytes]) -> bytes:
    return content[: seal.start("digest")] + UNSEALED.encode() + content[seal.end("digest") :]


def _seal(content: bytes) -> bytes:
    """The content with its digest in the place of `UNSEALED`."""
    digest = hashlib.sha256(content).hexdigest()
    return content.replace(f"sha256={UNSEALED}".encode(), f"sha256={digest}".encode())


KEPT = "what was computed before is kept, repeat the command to go on."


def _lock(file: IO[bytes], byte: int, *, wait: bool = False, release: bool = False) -> bool:
    """Lock a byte of a file for this process; False if another one holds it.

    The system gives the lock up when the process ends, however it ends. Where it has no such locks
    nobody is kept out: parts are the same whoever makes them, and moved into place whole.
    """
    if fcntl is None:
        return True
    mode = fcntl.LOCK_UN if release else fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    try:
        fcntl.lockf(file, mode, 1, byte)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def _compare(path: Path, made_by: Mapping[str, str]) -> None:
    """Log the versions that differ from those that a run was begun with."""
    now = versions()
    other = [
        f"{name} {old}, now {now.get(name)}"
        for name, old in made_by.items()
        if old != now.get(name)
    ]
    if other:
        LOG.warning("%s was begun with %s; its finished parts are kept.", path, "; ".join(other))


def sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest with a digest of all that it says."""
    said = {name: value for name, value in manifest.items() if name != "seal"}
    text = json.dumps(said, sort_keys=True)
    return said | {"seal": hashlib.sha256(text.encode()).hexdigest()}


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a run folder.

    Raises:
        RunError: there is none, it is broken or was edited, another version wrote it, or it is of
            an experiment.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise RunError(f"{path} holds no run: it has no {MANIFEST}.") from error
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path / MANIFEST} cannot be read ({error}); run the sweep anew."
        ) from error
    if isinstance(manifest, dict) and "experiment" in manifest:
        name = manifest["experiment"]
        raise RunError(
            f"{path} holds the experiment {name}, encoders trained by ssem train, and no certified "
            f"cells; repeat its command, ssem train {name} --out {path}, to see its summary."
        )
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        made_by = manifest.get("versions", {}) if isinstance(manifest, dict) else {}
        raise RunError(
            f"{path} was written by another version, ssem-jax "
            f"{made_by.get('ssem-jax', 'unknown')}, in another format than {FORMAT}; run the sweep "
            "anew in a new folder."
        )
    if manifest != sealed(manifest):
        raise RunError(
            f"{path / MANIFEST} was edited since it was written, so it may not say what the parts "
            "are of; put it back as it was, or run the sweep anew in a new folder."
        )
    return manifest


def read_run(path: str | os.PathLike[str]) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The table and the manifest of a run, complete or interrupted.

    Raises:
        RunError: the folder holds no readable run.
    """
    check_folder(path)
    folder = Path(path)
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder; give the folder that --out named.")
    manifest = read_manifest(folder)
    run = RunFolder(folder, manifest)
    tables = [run.read_part(number) for number in range(run.num_parts)]
    finished = [table for table in tables if table is not None]
    return join(finished), manifest


def summarize(table: pl.DataFrame) -> dict[str, Any]:
    """Cells, certified cells, worst gap and phases of a table."""
    return {
        "cells": len(table),
        "certified": int((table["gap"] <= GAP_TOLERANCE).sum()),
        "worst_gap": float(table["gap"].max()) if len(table) else None,
        "phases": dict(sorted(table["phase"].value_counts().iter_rows())),
        "status": dict(sorted(table["status"].drop_nulls().value_counts().iter_rows())),
    }


def identity(batch: Problem, seed: int, num_starts: int, witness: str = "solve") -> str:
    """A name for the contents of a batch: the same cells and the same code, the same name.

    Raises:
        NoIdentityError: the loss cannot be told from another one.
    """
    how = (seed, num_starts) if witness == "solve" else ()
    structure = batch.structure
    where = (structure.sizes, structure.num_views, batch.dim)
    losses, _ = batch.cells()
    return digest(FORMAT, own_code(), witness, how, where, losses)[:16]


def _describe(batch: Problem) -> str:
    choices = ", ".join(f"{k}={text_of(value)}" for k, value in static_fields(batch.loss).items())
    return f"{type(batch.loss).__name__}({choices}) on {batch.structure}, d = {batch.dim}"


def _write(path: Path, content: bytes) -> None:
    """Write a file so that it is either whole or absent, also after a loss of power."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
