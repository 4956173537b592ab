"""The theory of class collapse as runnable numeric proofs: one module for each topic.

Every module states its claims (:class:`ssem_jax.claims.Claim`) at the top level: statement, source,
domain, margin, and the verdict that theory gives. `ssem verify` judges them all, and
``python -m proofs_numeric NAME`` judges one.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

SUPPORT = ("__main__", "check", "conjectures", "domains", "evidence")
"""Modules of this package that state no claim."""


def modules() -> list[ModuleType]:
    """All modules that state claims, in alphabetical order."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    return [importlib.import_module(f"{__name__}.{name}") for name in names if name not in SUPPORT]
