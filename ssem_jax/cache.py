"""The user's cache folder: compiled kernels and the verdicts last recorded.

The library itself keeps nothing; the command line and `python -m proofs_numeric` do.
"""

from __future__ import annotations

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
    wish = os.environ.get(VARIABLE, "")
    if wish.lower() == "off":
        return None
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = Path(wish) if wish else home / "ssem_jax"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"ssem: nothing is cached: {path}: {error.strerror}.", file=sys.stderr)
        return None
    return path


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
        return json.loads((path / VERDICTS).read_text()) if path else {}
    except (OSError, ValueError):
        return {}


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
