"""What a computation would take, before it begins: the absurd is refused in one line.

Estimates are rough, and on the low side: a computation that is refused could not have ended. What
passes may still be too much for a machine, which then says so itself.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

CELLS_LIMIT = 10**7
"""Cells of one sweep: hours at a thousand small ones a second, and a table of some gigabytes."""
MEMORY = Path("/proc/meminfo")
"""What the system tells of its memory, where it does."""


def free_memory() -> float:
    """Bytes that could still be taken; infinity where the system does not tell."""
    try:
        lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines())
        return 1024 * float(lines["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError, IndexError):
        pass
    try:
        total = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        return math.inf
    return total if total > 0 else math.inf


def check_memory(what: str, floats: float, remedy: str) -> None:
    """Raise a ValueError where so many numbers of 64 bits do not fit into memory."""
    needed, free = 8.0 * floats, free_memory()
    if needed > free:
        raise ValueError(
            f"{what} would take at least {as_bytes(needed)} of memory and {as_bytes(free)} are "
            f"free; {remedy}."
        )


def check_cells(count: int) -> None:
    """Raise a ValueError for more cells than one sweep may have."""
    if count > CELLS_LIMIT:
        raise ValueError(
            f"these are {count:,} cells, and a sweep has at most {CELLS_LIMIT:,}: take fewer "
            "values of α and τ, or share them among several sweeps."
        )


def as_bytes(count: float) -> str:
    """A number of bytes for a reader: "6.1 GB"."""
    units = ("B", "kB", "MB", "GB", "TB", "PB")
    place = min(int(math.log10(max(count, 1)) // 3), len(units) - 1)
    return f"{count / 1000**place:.3g} {units[place]}"
