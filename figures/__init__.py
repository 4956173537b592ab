"""The gallery: one module for each figure, from public names of `ssem_jax` only.

A module has

* ``compute(fast, progress)``: solves, certifies, evaluates; returns name → table;
* ``IMAGES``: file name → function that draws the tables.

``python -m figures`` writes the tables as Parquet next to the images, reads them back and draws
from what it read, so that an image never shows a number that is not beside it.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

SUPPORT = ("__main__", "build", "common")
"""Modules of this package that are no figure."""
GALLERY = Path(__file__).parent / "gallery"
"""Where the images and their numbers are kept."""


def modules() -> dict[str, ModuleType]:
    """Name → module of every figure, in alphabetical order."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    return {
        name: importlib.import_module(f"{__name__}.{name}") for name in names if name not in SUPPORT
    }
