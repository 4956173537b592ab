"""Compiled programs that another process finds: what has run once is not traced again.

JAX keeps compiled kernels too, but to know which one is wanted it traces and lowers the function:
most of what a warm process does. Here a program is found by the **identity** of what it was made
of, before anything is traced: the function, its static arguments, the structure of the others with
all that it holds and the code of their classes (:mod:`ssem_jax.compute.identity`), shapes and
types, the sources of this package, JAX's configuration, version and device. A loss of a user counts
by its code; where that cannot be had, nothing is kept. A program is what XLA compiled, not a recipe
for it, so that it gives the same bits.

Each identity is a small file that names a program, so that an edit of these sources that changes
no kernel compiles none.

A file that is damaged, half written or of no use costs time, nothing else: the kernel is compiled,
and the file replaced. Files are written whole under names of their own and then renamed; several
processes may do so. Like every cache of code, the folder should be writable for nobody whom its
owner does not trust.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import pickle
import platform
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib.version
import numpy as np
from jax.experimental import serialize_executable
from jax.sharding import SingleDeviceSharding

from ssem_jax.compute.identity import NoIdentityError, digest, own_code

FOLDER: Path | None = None
"""Where programs are kept; nowhere unless :func:`ssem_jax.compute.set_up_jax` says so."""

MOST_BYTES = 2**28
"""What the folder may hold: some thirty times the programs of `ssem verify`. Beyond, those
that were not used for longest go."""

SEAL_BYTES = hashlib.sha256().digest_size

CHECKING = ("jax_disable_jit", "jax_debug_nans", "jax_debug_infs")
"""Ways of running JAX in which it must see every call."""

WITHOUT_EFFECT = "xla_debug_buffer_assignment_show_max"
"""An option of XLA that changes no program: what it prints of one that needs too much memory."""

WRITES_BETWEEN = 64
"""How often the size of the folder is looked at."""

_writes = itertools.count()


def form(leaf: Any) -> tuple[Any, ...]:
    """What a program knows of an argument before it is given: two of one form may share it."""
    weak = getattr(leaf, "weak_type", False)
    sharding = getattr(leaf, "sharding", None)
    return np.shape(leaf), getattr(leaf, "dtype", type(leaf)), weak, type(sharding)


def program(
    made_of: Sequence[Any], arguments: tuple[Any, ...], lower: Callable[[], Any]
) -> Callable[..., Any] | None:
    """The program of a kernel: the one that is kept, or a new one, which is kept from now on.

    Args:
        made_of: what it depends on besides the arguments: the function, static arguments.
        arguments: those that are not static; the program takes others of the same form.
        lower: traces and lowers the kernel.

    Returns:
        The program; or None where nothing is kept, and the kernel should be called as ever.
    """
    leaves, tree = jax.tree.flatten(arguments)
    if FOLDER is None or not _plain(leaves):
        return None
    places = jax.tree.unflatten(tree, range(len(leaves)))
    try:
        forms = [str(form(leaf)) for leaf in leaves]
        name = digest(own_code(), _surroundings(), forms, places, *made_of)
    except NoIdentityError:
        return None
    structure = jax.tree.structure((arguments, {}))
    with contextlib.suppress(OSError, UnicodeDecodeError):
        found = _read(FOLDER / (FOLDER / name).read_text(), structure)
        if found is not None:
            return found
    return _lowered(FOLDER, name, lower(), structure)


def _plain(leaves: list[Any]) -> bool:
    """Whether a program compiled for itself serves these: numbers, on the only device there is."""
    return (
        len(jax.devices()) == 1
        and not any(getattr(jax.config, name) for name in CHECKING)
        and all(
            isinstance(leaf.sharding, SingleDeviceSharding)
            for leaf in leaves
            if isinstance(leaf, jax.Array)
        )
    )


def _surroundings() -> list[str]:
    """What is compiled for, and how: all that JAX takes from elsewhere than its arguments."""
    settings = {name: getattr(jax.config, name, None) for name in sorted(jax.config.values)}
    return [repr(settings), os.environ.get("XLA_FLAGS", ""), *_machine()]


@functools.cache
def _machine() -> tuple[str, ...]:
    """Versions, and the processor: programs of one may hold instructions that another lacks."""
    device = jax.devices()[0]
    processor = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        told = ("model name", "flags", "Features", "CPU part")
        processor = "\n".join(sorted({line for line in lines if line.startswith(told)}))
    versions = (jax.__version__, jaxlib.version.__version__, platform.python_version())
    client = (device.client.platform_version, device.device_kind)
    return (*versions, *client, platform.platform(), processor)


def _read(path: Path, structure: Any) -> Callable[..., Any] | None:
    """A program as it was kept; None if there is none, or it is of no use."""
    try:
        content = path.read_bytes()
        if hashlib.sha256(content[SEAL_BYTES:]).digest() != content[:SEAL_BYTES]:
            return None
        executable, results, linear_algebra = pickle.loads(zlib.decompress(content[SEAL_BYTES:]))
        if linear_algebra:
            _wake_lapack()
        found = serialize_executable.deserialize_and_load(
            executable, structure, jax.tree.structure(pickle.loads(results))
        )
        os.utime(path)  # the folder forgets what is not used
    except Exception:  # of many types, from version to version; all are cured by compiling
        return None
    return found


@functools.cache
def _wake_lapack() -> None:
    """LAPACK's addresses are looked up when a first call of it is lowered, in SciPy."""
    jax.jit(jnp.linalg.cholesky).lower(jax.ShapeDtypeStruct((1, 1), float))


def _lowered(folder: Path, name: str, lowered: Any, structure: Any) -> Callable[..., Any]:
    """A program that was traced: one that another identity led to, or compiled now and kept."""
    try:
        results = pickle.dumps(
            jax.tree.unflatten(lowered.out_tree, range(lowered.out_tree.num_leaves))
        )
        text = lowered.as_text()
        target = digest(_surroundings(), text, results)
    except Exception:  # a class that is not found by its name
        return lowered.compile()
    found = _read(folder / target, structure)
    if found is None:
        # What comes from JAX's own cache cannot be written a second time: ask it for what it lacks.
        found = lowered.compile({WITHOUT_EFFECT: int.from_bytes(os.urandom(3))})
        content = _content(found, results, "lapack" in text)
        if content is None or not _write(folder / target, content):
            return found
    _write(folder / name, target.encode())
    return found


def _content(program: Any, *told: Any) -> bytes | None:
    """What a file has of a program, or None of one that no file can have."""
    try:
        executable = serialize_executable.serialize(program)[0]
    except Exception:  # it calls back into Python, say
        return None
    content = zlib.compress(pickle.dumps((executable, *told)), 1)
    return hashlib.sha256(content).digest() + content


def _write(path: Path, content: bytes) -> bool:
    """Whether a file could be written, whole or not at all; room for it is made now and then."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
        if next(_writes) % WRITES_BETWEEN == 0:
            _forget(path.parent)
    except OSError:
        return False
    return True


def _forget(folder: Path) -> None:
    """Delete the files that were not used for longest, until the others have room."""
    found = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process deleted it
            found.append((path.stat().st_mtime, path.stat().st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= MOST_BYTES:
            return
        path.unlink(missing_ok=True)
        total -= size
