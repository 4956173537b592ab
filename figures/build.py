"""Compute, save, read back, draw: what ``python -m figures`` does with each figure."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import polars as pl

from figures.common import Progress, Tables
from ssem_jax import show

MAX_NUMBERS, MAX_IMAGE = 100 * 1024, 300 * 1024
"""Bytes that a file of numbers and an image may have, since both are committed."""


def numbers_path(folder: Path, name: str, table: str) -> Path:
    """Where a table of a figure is kept."""
    return folder / f"{name}.{table}.parquet"


def write_numbers(folder: Path, name: str, tables: Tables) -> list[Path]:
    """Save the tables of a figure."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(f"{name}.*.parquet"):
        stale.unlink()
    paths = []
    for table, frame in tables.items():
        path = numbers_path(folder, name, table)
        frame.write_parquet(path, compression="zstd", compression_level=19, statistics=False)
        paths.append(path)
    return paths


def read_numbers(folder: Path, name: str) -> Tables:
    """The saved tables of a figure."""
    return {
        path.name.removeprefix(f"{name}.").removesuffix(".parquet"): pl.read_parquet(path)
        for path in sorted(folder.glob(f"{name}.*.parquet"))
    }


def draw(module: ModuleType, image: str, tables: Tables) -> object:
    """The figure of an image, from tables alone."""
    with show.house_style():
        return module.IMAGES[image](tables)


def build(
    name: str, module: ModuleType, folder: Path, fast: bool, progress: Progress
) -> list[Path]:
    """Everything of one figure: numbers and images, and where they were written."""
    written = write_numbers(folder, name, module.compute(fast, progress))
    tables = read_numbers(folder, name)
    for image in module.IMAGES:
        path = folder / image
        drawn = draw(module, image, tables)
        if isinstance(drawn, str):
            path.write_text(drawn, encoding="utf-8")
        else:
            show.save(drawn, path)
        written.append(path)
    return written
