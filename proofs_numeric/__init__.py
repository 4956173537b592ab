"""The theory of class collapse as runnable numeric proofs: one module for each topic.

It reads like the appendix of a paper. Every module states its claims
(:class:`ssem_jax.claims.Claim`) at the top level: statement, source, domain, margin, and the
verdict that theory gives. What solves, certifies or encloses for them stands in :mod:`evidence`,
where they are judged in :mod:`domains`, and formulas in :mod:`ssem_jax.theory`. `ssem verify`
judges them all, ``python -m proofs_numeric NAME`` judges one, and README.md has an index.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

SUPPORT = ("__main__", "check", "conjectures", "domains", "evidence", "papers", "reduced")
"""Modules of this package that state no claim."""


def modules() -> list[ModuleType]:
    """All modules that state claims, in alphabetical order."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    return [importlib.import_module(f"{__name__}.{name}") for name in names if name not in SUPPORT]
