"""ssem landscape."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.table import Table

from ssem_jax.cli.console import (
    AS_EXPECTED,
    Answer,
    JsonOption,
    OutOption,
    SeedOption,
    app,
    console_of,
    number_text,
    progress_bar,
    set_up,
)
from ssem_jax.cli.parse import parse_integers, parse_numbers

CELLS = ("dim", "alpha", "temperature", "starts", "above", "missed", "median_gap", "worst_gap",
         "kinds", "spurious", "proven")  # fmt: skip
POINTS = ("dim", "alpha", "temperature", "kind", "starts", "critical_gap", "delta2", "index",
          "spurious")  # fmt: skip
SHOWN = 5
"""Critical points of a cell that the table has, the lowest."""
PICTURE = "landscape.svg"


@app.command("landscape")
def landscape_command(
    sizes: Annotated[str, typer.Option(help="Class sizes, as 4,4,4 or 8,4,2.")] = "4,4,4",
    views: Annotated[int, typer.Option(help="p, views of an instance.", min=1)] = 1,
    dim: Annotated[str, typer.Option(help="d: 3,5 or 2:12:11 (first:last:count).")] = "2:12:11",
    alpha: Annotated[str, typer.Option(help="0.1,0.5 or 0:1:9.")] = "0.6",
    tau: Annotated[str, typer.Option(help="Temperature; likewise.")] = "0.5",
    self_pairs: Annotated[str, typer.Option(help="include, exclude or decouple.")] = "include",
    method: Annotated[
        str,
        typer.Option(help="adam (the usual way), descent (on the spheres) or newton."),
    ] = "adam",
    start: Annotated[
        str, typer.Option(help="gaussian, or classes: class index plus unit noise.")
    ] = "gaussian",
    starts: Annotated[int, typer.Option(help="Starts of each cell.", min=1)] = 100,
    steps: Annotated[int, typer.Option(help="Of a first-order method.", min=1)] = 1000,
    rate: Annotated[
        float | None, typer.Option(help="Its rate. [default: 0.5 for adam, 0.05 for descent]")
    ] = None,
    seed: SeedOption = 0,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> int | Answer:
    """Does an optimiser find the optimum? The critical points that many starts come to.

    The gap is certified against all embeddings in all dimensions, or in R^d where a linear
    programming bound knows better; minima above the lowest are proven in ball arithmetic where they
    can be. --out keeps a row a start, and draws final gaps and paths.

    Example: ssem landscape --dim 2:12:11 --starts 500 --start classes --out runs/landscape
    """
    set_up()
    from ssem_jax.advice.landscapes import USUAL_GAP, landscape
    from ssem_jax.problem.structure import ClassStructure
    from ssem_jax.sweeps.grid import Grid

    structure = ClassStructure(parse_integers("--sizes", sizes), views)
    grid = Grid(
        [structure],
        parse_integers("--dim", dim),
        parse_numbers("--alpha", alpha),
        parse_numbers("--tau", tau),
        (self_pairs,),
    )
    problems = grid.problems()
    begun = time.perf_counter()
    total = starts * sum(problem.batch_size or 1 for problem in problems)
    with progress_bar("landscape", total, "starts") as advance:
        found = landscape(
            problems, seed, starts, method,
            start=start, steps=steps, rate=rate, out=out, progress=advance,
        )  # fmt: skip
    if out is not None:
        from ssem_jax.show.landscapes import draw_landscape
        from ssem_jax.show.style import house_style, save

        with house_style():
            save(draw_landscape(found.table), out / PICTURE)
    if as_json:
        summary = {"run": None if out is None else str(out), "method": method, "start": start}
        summary |= {"cells": found.cells.to_dicts(), "critical": found.critical.to_dicts()}
        return Answer(AS_EXPECTED, summary | {"seconds": time.perf_counter() - begun})
    few = found.critical.filter(found.critical["kind"] < SHOWN)
    for title, rows, columns in (
        (
            f"where {method} ends (above: over {USUAL_GAP:.0e}; missed: over the best found)",
            found.cells,
            CELLS,
        ),
        (f"the {SHOWN} lowest critical points that ends belong to", few, POINTS),
    ):
        shown = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False)
        for row in rows.select(columns).iter_rows():
            shown.add_row(*(_text(value) for value in row))
        console_of().print(shown)
    if out is None:
        print("Nothing was kept; give --out FOLDER to keep every start, and a picture.")
    else:
        print(f"Every start is in {out}, as Parquet; the picture is {out / PICTURE}.")
    return AS_EXPECTED


def _text(value: float | int | str | None) -> str:
    """A word, a count or a coordinate as it is, a gap with two digits."""
    if isinstance(value, str):
        return value
    small = isinstance(value, float) and abs(value) < 1e-3
    return number_text(value) if small else "" if value is None else f"{value:.6g}"
