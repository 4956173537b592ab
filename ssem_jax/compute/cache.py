"""The user's cache folder: compiled kernels and the verdicts last recorded.

The library itself keeps nothing; the command line and `python -m proofs_numeric` do. A cache is a
convenience: where there can be none, that is said once and everything goes on without.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import jax

VARIABLE = "SSEM_CACHE"
"""Environment variable: a folder, or "off"."""

VERDICTS = "verdicts.json"


def folder() -> Path | None:
    """The cache folder, made if need be; None if it is switched off or cannot be made."""
    if os.environ.get(VARIABLE, "").lower() == "off":
        return None
    try:
        path = _wanted()
    except RuntimeError:  # no HOME, and a user that the system does not know
        _warn(f"there is no home folder; name a folder in {VARIABLE}")
        return None
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _warn(f"{path}: {error.strerror}")
        return None
    if not os.access(path, os.W_OK):  # or JAX would say so of every kernel
        _warn(f"{path} cannot be written")
        return None
    return path


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
    """64-bit JAX, and compiled kernels kept between runs."""
    jax.config.update("jax_enable_x64", True)
    path = folder()
    if path is not None:
        jax.config.update("jax_compilation_cache_dir", str(path / "kernels"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def recall_verdicts() -> dict[str, str]:
    """Name of a claim → its verdict when it was last judged; empty if none is recorded."""
    path = folder()
    try:
        found = json.loads((path / VERDICTS).read_text()) if path else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def record_verdicts(verdicts: Mapping[str, str]) -> None:
    """Remember verdicts beside those recorded before."""
    path = folder()
    if path is None:
        return
    temporary = path / f".{VERDICTS}.{os.getpid()}"
    try:
        temporary.write_text(json.dumps(recall_verdicts() | dict(verdicts), indent=2))
        os.replace(temporary, path / VERDICTS)
    except OSError as error:
        print(f"ssem: verdicts are not recorded: {error}.", file=sys.stderr)
