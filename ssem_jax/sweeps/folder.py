"""The run folder, of sweeps and of experiments: sealed parts, a manifest, a lock."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import json
import logging
import os
import platform
import re
import struct
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import polars as pl

from ssem_jax.certificate.certificate import GAP_TOLERANCE
from ssem_jax.compute.identity import NoIdentityError, digest, own_code
from ssem_jax.losses.base import loss_of
from ssem_jax.problem.problem import Problem
from ssem_jax.problem.validation import check_type, shown
from ssem_jax.sweeps.batches import num_cells
from ssem_jax.sweeps.table import join, static_fields, text_of, worst_gap

try:
    import fcntl
except ImportError:  # a system without these locks: processes on one run repeat each other's work
    fcntl = None

FORMAT = 3
"""Version of the run folder's layout and columns."""
MANIFEST = "manifest.json"
CLAIMS = ".claims"
"""A file that stays empty; its byte 0 is locked to make the manifest, byte k + 1 to make part k."""

FLOCK = "hhqqi"
"""The system's record of a lock, on Linux: its type, from where, start, length, process."""

LOG = logging.getLogger(__name__)


class RunError(ValueError):
    """A run folder that cannot be used; the message says why and what to do."""


def check_folder(path: Any) -> None:
    """Raise a ValueError unless it is the name of a folder; an empty one would be the current."""
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise ValueError(f"a run needs the name of a folder, as 'runs/first'; got {shown(path)}.")


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
        cls, path: Path, identities: Sequence[str], facts: Mapping[str, Any], differences: str
    ) -> RunFolder:
        """Create a run folder, or go on with the same run.

        Args:
            path: the folder.
            identities: of the parts: the same name, the same contents.
            facts: what the manifest says besides.
            differences: what may differ in another run, for the message.

        Raises:
            RunError: not writable, or it holds another run or no run at all.
        """
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
                manifest = read_manifest(path, experiment="experiment" in facts)
                _compare(path, manifest["versions"])
            else:
                manifest = {
                    "format": FORMAT,
                    "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                    **facts,
                    "batches": list(identities),
                    "versions": versions(),
                }
                manifest = sealed(manifest)
                _write(path / MANIFEST, json.dumps(manifest, indent=2).encode())
            if manifest["batches"] != list(identities):
                raise RunError(
                    f"{path} holds another run ({differences}); choose a new folder for --out, or "
                    "repeat the command that made it."
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

    def holder(self, number: int) -> str:
        """The process that is at a part, as far as the system tells."""
        pid = 0
        if self.claims is not None and fcntl is not None and sys.platform == "linux":
            asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, number + 1, 1, 0)
            pid = struct.unpack(FLOCK, fcntl.fcntl(self.claims, fcntl.F_GETLK, asked))[-1]
        return f"process {pid}" if pid > 0 else "another process"

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
            LOG.warning("%s %s and does not count; it is computed again.", path, fault)
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


def read_manifest(path: Path, experiment: bool = False) -> dict[str, Any]:
    """The manifest of a run folder, of a sweep or of an experiment.

    Raises:
        RunError: there is none, it is broken or was edited, another version wrote it, or it is of
            the other kind.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise RunError(f"{path} holds no run: it has no {MANIFEST}.") from error
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path / MANIFEST} cannot be read ({error}); run the sweep anew."
        ) from error
    if not experiment and isinstance(manifest, dict) and "experiment" in manifest:
        name = manifest["experiment"]
        what = f"the experiment {name}, encoders trained by ssem train,"
        command = f"ssem train {name} --out {path}"
        if name == "landscape":
            what, command = "a landscape", f"ssem landscape … --out {path}"
        raise RunError(
            f"{path} holds {what} and no certified cells; repeat its command, {command}, to see "
            "its summary."
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


def open_sweep(
    path: Path, batches: Sequence[Problem], seed: int, num_starts: int, witness: str
) -> RunFolder:
    """The folder of a sweep.

    Raises:
        RunError: what :meth:`RunFolder.open` raises, or a loss has no identity.
    """
    try:
        identities = [identity_of(batch, seed, num_starts, witness) for batch in batches]
    except NoIdentityError as error:
        raise RunError(
            "a run of this loss cannot be kept, for it could not be told from a run of another "
            f"one: {error} Sweep without `out`, and write the table that it returns yourself."
        ) from error
    facts = {
        "witness": witness,
        "seed": seed,
        "num_starts": num_starts,
        "cells": num_cells(batches),
        "shapes": [described(batch) for batch in batches],
    }
    differences = (
        "other grid, seed, starts or witness, or the code of the loss, of this package or of "
        "Python is another"
    )
    return RunFolder.open(path, identities, facts, differences)


def summarize(table: pl.DataFrame) -> dict[str, Any]:
    """Cells, certified cells, worst gap and phases of a table."""
    check_type("table", table, pl.DataFrame, "a table of ssem_jax.sweep")
    return {
        "cells": len(table),
        "certified": int((table["gap"] <= GAP_TOLERANCE).sum()),
        "worst_gap": worst_gap(table),
        "phases": dict(sorted(table["phase"].value_counts().iter_rows())),
        "status": dict(sorted(table["status"].drop_nulls().value_counts().iter_rows())),
    }


def identity_of(batch: Problem, seed: int, num_starts: int, witness: str = "solve") -> str:
    """A name for the contents of a batch: the same cells and the same code, the same name.

    Raises:
        NoIdentityError: the loss cannot be told from another one.
    """
    how = (seed, num_starts) if witness == "solve" else ()
    structure = batch.structure
    bound = () if batch.least is None else (batch.least,)
    where = (structure.sizes, structure.num_views, batch.dim, *bound)
    losses, _ = batch.cells()
    return digest(FORMAT, own_code(), witness, how, where, losses)[:16]


def described(batch: Problem) -> str:
    fields = static_fields(loss_of(batch))
    choices = ", ".join(f"{name}={text_of(value)}" for name, value in fields.items())
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
