"""Papers as programs: what the field says about optimal embeddings, each statement judged.

One module a paper: its notation, what of its wording was read, its statements. `ssem papers` lists
them, `ssem papers kini2024` prints a page, `ssem verify --papers` judges them all; README.md says
how to add one. What they are judged by stands in :mod:`.cells` and :mod:`.exact`.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

SUPPORT = ("cells", "exact")
"""Modules of this package that are no paper."""


def modules() -> list[ModuleType]:
    """The modules of all papers, in alphabetical order."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    return [importlib.import_module(f"{__name__}.{name}") for name in names if name not in SUPPORT]
