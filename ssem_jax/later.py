"""Packages whose names are imported when they are first asked for, so that none waits for all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def attributes(
    package: str, files: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """What a package needs to offer files, and names of them, that it has not imported yet.

    Args:
        package: its dotted name.
        files: what each file or subpackage offers; one that stands elsewhere by its dotted name.

    Returns:
        ``__getattr__``, which imports a file or a name of it, and ``__dir__``, which lists all.
    """
    homes = {
        name: file for file, names in files.items() for name in (file.rpartition(".")[2], *names)
    }

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        file = homes[name]
        module = import_module(file if "." in file else f"{package}.{file}")
        return getattr(module, name) if name in files[file] else module

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return find, listed
