"""The user's cache folder: compiled kernels and the verdicts last recorded.

The library itself keeps nothing; the command line and `python -m proofs_numeric` do. A cache is a
convenience: where there can be none, that is said once and everything goes on without.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from ssem_jax.compute import programs

VARIABLE = "SSEM_CACHE"
"""Environment variable: a folder, or "off"."""

VERDICTS = "verdicts.json"

KEPT_SECONDS = 0.03
"""Compiling that lasts so long is kept: reading it again takes some 5 ms."""


def folder() -> Path | None:
    """The cache folder, made if need be; None if it is switched off or cannot be made."""
    if os.environ.get(VARIABLE, "").lower() == "off":
        return None
    try:
        path = _wanted()
    except RuntimeError:  # no HOME, and a user that the system does not know
        _warn(f"there is no home folder; name a folder in {VARIABLE}")
        return None
    return path if _can_write(path) else None


def _can_write(path: Path) -> bool:
    """Whether files can be written there, which is tried: or JAX would warn of every kernel."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return True
    except OSError as error:
        _warn(f"{path} cannot be written ({error.strerror})")
        return False


def _wanted() -> Path:
    """Where the cache should be: `SSEM_CACHE`, then the system's own place for caches."""
    if wish := os.environ.get(VARIABLE):
        return Path(wish)
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "ssem_jax"


@functools.cache
def _warn(reason: str) -> None:
    """Say once in a process why nothing is cached."""
    print(f"ssem: nothing is cached: {reason}.", file=sys.stderr)


def set_up_jax() -> None:
    """64-bit JAX, and compiled kernels kept between runs.

    Where `JAX_COMPILATION_CACHE_DIR` is set and `SSEM_CACHE` is not, JAX keeps them there.
    """
    jax.config.update("jax_enable_x64", True)
    if os.environ.get("JAX_COMPILATION_CACHE_DIR") and not os.environ.get(VARIABLE):
        return
    path = folder()
    programs.FOLDER = None if path is None else path / "programs"
    if path is not None and _can_write(path / "kernels"):
        jax.config.update("jax_compilation_cache_dir", str(path / "kernels"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", KEPT_SECONDS)
        # It could be written a moment ago; whatever happens now, happens to every kernel.
        warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")


def check_platform() -> None:
    """Raise a ValueError where `JAX_PLATFORMS` names no device of this machine."""
    wanted = os.environ.get("JAX_PLATFORMS")
    if not wanted:
        return
    try:
        jax.devices()
    except Exception as error:  # of many types, from version to version
        raise ValueError(
            f"JAX_PLATFORMS={wanted} names no device that JAX finds here ({type(error).__name__}); "
            "unset it, or write JAX_PLATFORMS=cpu."
        ) from error


def recall_verdicts() -> dict[str, str]:
    """Name of a claim → its verdict when it was last judged; empty if none is recorded."""
    return recall(VERDICTS)


def record_verdicts(verdicts: Mapping[str, str]) -> None:
    """Remember verdicts beside those recorded before."""
    record(VERDICTS, recall_verdicts() | dict(verdicts))


def recall(file: str) -> dict[str, Any]:
    """What a file of the cache folder has; empty if there is none."""
    path = folder()
    try:
        found = json.loads((path / file).read_text()) if path else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def record(file: str, document: Mapping[str, Any]) -> None:
    """Write a file of the cache folder, whole or not at all."""
    path = folder()
    if path is None:
        return
    temporary = path / f".{file}.{os.getpid()}"
    try:
        temporary.write_text(json.dumps(document, indent=2))
        os.replace(temporary, path / file)
    except OSError as error:
        print(f"ssem: verdicts are not recorded: {error}.", file=sys.stderr)
