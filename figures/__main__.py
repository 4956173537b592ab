"""``python -m figures [--only NAME]... [--fast] [--out FOLDER]``: regenerate the gallery."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import jax
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from figures import GALLERY, modules
from figures.build import build

FAST_FOLDER = Path("build/figures-fast")
"""Coarse figures never replace those of the gallery unless told to."""


class Bar:
    """Two bars: figures, and the cells of the figure at hand."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.cells = bars.add_task("cells", total=None)

    def begin(self, total: int) -> None:
        """A new figure, or a new part of it, has `total` cells."""
        self.bars.reset(self.cells, total=total)

    def advance(self, count: int) -> None:
        """`count` more cells are done."""
        self.bars.advance(self.cells, count)


def main(arguments: list[str] | None = None) -> int:
    """Build the figures that are asked for; 0 if all were written."""
    known = modules()
    parser = argparse.ArgumentParser(prog="python -m figures", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=sorted(known), help="this figure only; may be repeated"
    )
    parser.add_argument("--fast", action="store_true", help="coarse grids: some minutes at first")
    parser.add_argument(
        "--out", type=Path, help=f"folder to write to [{GALLERY}, with --fast {FAST_FOLDER}]"
    )
    options = parser.parse_args(arguments)
    folder = options.out or (FAST_FOLDER if options.fast else GALLERY)
    chosen = options.only or list(known)

    jax.config.update("jax_enable_x64", True)
    console = Console(stderr=True)
    began = time.perf_counter()
    with Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    ) as bars:
        task = bars.add_task("figures", total=len(chosen))
        bar = Bar(bars)
        for name in chosen:
            bars.update(task, description=name)
            start = time.perf_counter()
            written = build(name, known[name], folder, options.fast, bar)
            size = sum(path.stat().st_size for path in written)
            console.print(
                f"{name}: {len(written)} files, {size / 1024:.0f} KiB, "
                f"{time.perf_counter() - start:.1f} s"
            )
            bars.advance(task)
    console.print(f"{len(chosen)} figures in {folder}, {time.perf_counter() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
