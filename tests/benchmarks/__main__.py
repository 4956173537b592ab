"""`python -m tests.benchmarks [--fast | --large] [--figure FILE]`: tables, and cost against N.

Compare ratios, not times: every ratio is the median over turns of one run.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from ssem_jax import show
from ssem_jax.compute import set_up_jax

from . import measure
from .measure import OURS, Row
from .peers import PEERS

WIDTH = 110
NEXT_FACTOR = (
    "Where the solve dominates, the next factor must come from it: Hessian products of several "
    "cells in one batched matmul, or fewer products, by a start nearer to the optimum."
)


def plan(fast: bool) -> dict[str, Any]:
    """What is run, within a minute or in full."""
    if fast:
        return {
            "compare": {"side": 8, "num_sampled": 4, "repeats": 1},
            "profile": {"side": 16, "repeats": 3},
            "settings": measure.SETTINGS[:1],
            "sizes": (512, 1024, 2048, 4096),
            "sides": (1, 2, 4, 8),
            "large": None,
        }
    return {
        "compare": {"side": 32, "num_sampled": 16, "repeats": 3},
        "profile": {"side": 32, "repeats": 5},
        "settings": measure.SETTINGS,
        "sizes": (512, 1024, 2048, 4096, 8192),
        "sides": (1, 2, 4, 8, 16, 32),
        "large": measure.LARGE_ROWS,
    }


def cells_table(rows: list[Row]) -> Table:
    """Methods by setting: speed beside accuracy."""
    table = Table(title="Cells of an α × τ grid, from random starts; gaps by our certificate")
    heads = ("m,n,p,d", "method", "cells", "cells/s", "ours is faster by")
    for head in (*heads, "median gap", "worst gap", "certified"):
        table.add_column(head, justify="left" if head in heads[:2] else "right")
    for row in rows:
        speed = "" if row.method == OURS else f"{row.speedup:.1f}×"
        table.add_row(
            row.setting,
            row.method,
            str(row.cells),
            f"{row.cells_per_second:.3g}",
            speed,
            f"{row.median_gap:.0e}",
            f"{row.worst_gap:.0e}",
            f"{row.certified / row.cells:.0%}",
        )
    return table


def profile_table(profiles: list[measure.Profile]) -> Table:
    """Where the time of a certified cell goes."""
    table = Table(title="Microseconds per cell, warm; certificates alone from closed forms")
    heads = ("m,n,p,d", "solve", "dense bound", "brackets", "closed forms/s")
    for head in heads:
        table.add_column(head, justify="left" if head == heads[0] else "right")
    for one in profiles:
        parts = (one.solve, one.dense_bound, one.brackets, one.closed_forms_per_second)
        table.add_row(one.setting, *(f"{part:,.0f}" for part in parts))
    return table


def loss_table(curve: dict[int, dict[str, np.ndarray]]) -> Table:
    """Loss and gradient over the bare matmul of the same turn."""
    table = Table(title=f"Loss and gradient, float32, d = {measure.LOSS_DIM}")
    for head in ("N", "work", "median ms", "over one matmul"):
        table.add_column(head, justify="left" if head == "work" else "right")
    for num_rows, times in curve.items():
        floor = times["matmul U Uᵀ"]
        for work, spent in times.items():
            ratio = f"{np.median(spent / floor):.2f}"
            table.add_row(f"{num_rows:,}", work, f"{1e3 * np.median(spent):.1f}", ratio)
    return table


def large_table(rows: list[measure.Certified]) -> Table:
    """Thousands of embeddings: what they cost and how well they are certified."""
    table = Table(title="Thousands of embeddings; found by free minimisation where it took time")
    for head in ("m,n,p,d", "case", "solve s", "products", "certify s", "gap", "phase", "P(wrong)"):
        table.add_column(head, justify="left" if head in ("m,n,p,d", "case", "phase") else "right")
    table.add_column("peak GiB", justify="right")
    for row in rows:
        table.add_row(
            row.setting,
            row.case,
            "" if row.solve_seconds is None else f"{row.solve_seconds:.0f}",
            "" if row.products is None else str(row.products),
            f"{row.certify_seconds:.1f}",
            f"{row.gap:.1e}",
            row.phase,
            f"{row.failure_probability:.0e}" if row.failure_probability else "0",
            f"{row.peak_bytes / 2**30:.2f}",
        )
    return table


def draw(
    path: str,
    rows: list[Row],
    curve: dict[int, dict[str, np.ndarray]],
    cells: dict[int, float],
) -> None:
    """Cost against N, and against the number of cells at the first setting."""
    by_size = pl.DataFrame(
        {"N": num_rows, "seconds": float(np.median(spent)), "method": work}
        for num_rows, times in curve.items()
        for work, spent in times.items()
    )
    counts = list(cells)
    first = [row for row in rows if row.setting == rows[0].setting and row.method != OURS]
    costs = {OURS: list(cells.values())}
    costs |= {row.method: [count / row.cells_per_second for count in counts] for row in first}
    by_cells = pl.DataFrame(
        {"cells": count, "seconds": spent, "method": method}
        for method, column in costs.items()
        for count, spent in zip(counts, column, strict=True)
    )
    figure, axes = show.new_figure(1, 2, width=8.0)
    with show.house_style():
        titles = ("Loss and gradient", f"Cells at m,n,p,d = {rows[0].setting}")
        for ax, table, x, title in zip(
            axes[0], (by_size, by_cells), ("N", "cells"), titles, strict=True
        ):
            table = table.sort("method", x, maintain_order=True)
            show.series(table, ax, x, "seconds", by="method", marker=True)
            ax.set_xscale("log", base=2)
            ax.set(yscale="log", xlabel=x, ylabel="seconds", title=title)
            ax.legend()
    show.save(figure, path)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="a small version, within a minute")
    parser.add_argument("--large", action="store_true", help="thousands of embeddings, only")
    parser.add_argument("--figure", metavar="FILE", help="draw to a .png, .svg or .pdf file")
    options = parser.parse_args()
    set_up_jax()
    todo, console = plan(options.fast), Console(width=WIDTH)
    if options.large:
        console.print(large_table(measure.large_cells()))
        return

    curve = measure.loss_curve(todo["sizes"], repeats=7)
    console.print(loss_table(curve))
    if todo["large"]:
        large = measure.large_batch(todo["large"])
        console.print(
            f"N = {todo['large']:,} in a fresh process: {large.seconds:.1f} s, "
            f"{large.peak_bytes / 2**30:.2f} GiB at the peak, "
            f"{large.growth:.2f} times the time per N² of N = 8,192."
        )
    profiles = [measure.profile(one, **todo["profile"]) for one in todo["settings"]]
    console.print(profile_table(profiles))
    console.print(NEXT_FACTOR)
    side = todo["compare"]["side"]
    console.print(
        f"{side**2:,} cells of {todo['settings'][0]} in a cold process, compilation included: "
        f"{measure.cold_diagram(todo['settings'][0], side):.1f} s."
    )
    rows = []
    for setting in todo["settings"]:
        rows += measure.compare(setting, methods=list(PEERS), **todo["compare"])
    console.print(cells_table(rows))
    if options.figure:
        draw(options.figure, rows, curve, measure.cells_curve(todo["settings"][0], todo["sides"]))
        console.print(f"drawn: {options.figure}")


if __name__ == "__main__":
    main()
