"""ssem sweep, ssem info."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssem_jax.cli.console import (
    AS_EXPECTED,
    NOT_AS_EXPECTED,
    Answer,
    JsonOption,
    MeanOption,
    OutOption,
    SeedOption,
    SelfPairsOption,
    WhereOption,
    app,
    cells_of_run,
    number_text,
    progress_bar,
    set_up,
)
from ssem_jax.cli.parse import at_least, listed, parse_integers, parse_numbers

if TYPE_CHECKING:
    import polars as pl


@app.command("sweep")
def sweep_command(
    classes: Annotated[str, typer.Option(help="m: 2,3,5 or 2:10:5 (first:last:count).")] = "3",
    instances: Annotated[str, typer.Option(help="n, instances per class; likewise.")] = "4",
    views: Annotated[str, typer.Option(help="p, views of an instance; likewise.")] = "1",
    sizes: Annotated[
        list[str] | None,
        typer.Option(
            help="Classes of different size, as 8,4,2; may be repeated. Replaces m and n."
        ),
    ] = None,
    dim: Annotated[
        str, typer.Option(help="d: a list, or 'full' for the smallest that admits every optimum.")
    ] = "full",
    alpha: Annotated[
        str, typer.Option(help="Weight of L_self: 0.1,0.5 or 0:1:17 or log:0.01:1:9.")
    ] = "0:1:17",
    tau: Annotated[str, typer.Option(help="Temperature; likewise.")] = "log:0.05:5:17",
    self_pairs: SelfPairsOption = "include",
    mean: MeanOption = "pairs",
    least: Annotated[
        float | None,
        typer.Option(
            help="The least that similarities may be, as 0 after a ReLU; symmetry then solves what "
            "is left, and nothing is minimised. [default: no bound]"
        ),
    ] = None,
    starts: Annotated[int, typer.Option(help="Random starts at most for each cell.", min=1)] = 2,
    seed: SeedOption = 0,
    witness: Annotated[
        str,
        typer.Option(
            help="solve: minimise from random starts and certify; certificate: certify theory's "
            "own optimum, nothing is minimised (equal classes)."
        ),
    ] = "solve",
    executor: Annotated[
        str,
        typer.Option(help="Who computes: threads of this process, processes, or dask workers."),
    ] = "threads",
    workers: Annotated[
        int | None,
        typer.Option(help="Worker processes on this machine. [default: one for each core]", min=1),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Address of a dask scheduler, as tcp://host:8786. [default: a dask cluster on "
            "this machine]"
        ),
    ] = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> int | Answer:
    """Solve and certify a grid of your own; --out keeps the table as Parquet.

    A run that was interrupted, killed or ran out of disk goes on when its command is repeated:
    finished parts are kept, broken ones are named and computed again. Several processes may work on
    one run; they share its parts.

    Example: ssem sweep --classes 2,3,5 --instances 2,4 --alpha 0:1:17 --tau log:0.05:5:17 --out
    runs/first

    On a cluster: ssem sweep --executor dask --scheduler tcp://host:8786 --out runs/first
    """
    set_up()
    from ssem_jax.compute.sizes import check_cells
    from ssem_jax.compute.workers import open_executor
    from ssem_jax.problem.structure import ClassStructure
    from ssem_jax.sweeps.batches import num_cells
    from ssem_jax.sweeps.folder import summarize
    from ssem_jax.sweeps.grid import Grid
    from ssem_jax.sweeps.runs import check_sizes, sweep

    view_counts = parse_integers("--views", views)
    alphas, temperatures = parse_numbers("--alpha", alpha), parse_numbers("--tau", tau)
    if sizes:
        shapes = [parse_integers("--sizes", text) for text in sizes]
        structures = [ClassStructure(shape, p) for shape in shapes for p in view_counts]
    else:
        class_counts = parse_integers("--classes", classes)
        counts = parse_integers("--instances", instances)
        axes = (class_counts, counts, view_counts, alphas, temperatures)
        check_cells(math.prod(map(len, axes)))  # before the first of so many shapes is made
        structures = [
            ClassStructure.balanced(at_least("--classes", m, 2), n, p)
            for m in class_counts
            for n in counts
            for p in view_counts
        ]
    grid = Grid(
        structures,
        tuple(
            "full" if text == "full" else parse_integers("--dim", text)[0] for text in listed(dim)
        )
        if ":" not in dim
        else parse_integers("--dim", dim),
        alphas,
        temperatures,
        tuple(listed(self_pairs)),
        tuple(listed(mean)),
        least=least,
    )
    problems = grid.problems()
    check_sizes(problems, witness)
    begun = time.perf_counter()
    with (
        open_executor(executor, workers, scheduler) as opened,
        progress_bar("sweep", num_cells(problems)) as advance,
    ):
        table = sweep(
            problems,
            seed=seed,
            out=out,
            num_starts=starts,
            witness=witness,
            executor=opened,
            progress=advance,
        )
    summary = summarize(table)
    summary |= {"run": None if out is None else str(out), "seconds": time.perf_counter() - begun}
    if as_json:
        return Answer(AS_EXPECTED, summary)
    _show_summary(summary)
    _show_dimensions(table)
    if out is None:
        print("Nothing was kept; give --out FOLDER to write the table.")
    else:
        print(f"The table is in {out}; look at it with: ssem info {out}")
    return AS_EXPECTED


def _show_summary(summary: dict[str, Any]) -> None:
    worst = number_text(summary["worst_gap"]) or "none"
    certified, cells = summary["certified"], summary["cells"]
    print(f"{certified:,} of {cells:,} cells certified, worst gap {worst}.")
    for what in ("phases", "status"):
        counts = ", ".join(f"{count:,} {name}" for name, count in summary[what].items())
        if counts:  # theory's own optimum has no status of a solver
            print(f"{what}: {counts}")


def _show_dimensions(table: pl.DataFrame) -> None:
    """What is known in R^d itself of cells that are not certified over all dimensions."""
    from ssem_jax.certificate.certificate import GAP_TOLERANCE
    from ssem_jax.claims import Cells, excess_in_dimension

    rest = table.filter(table["gap"] > GAP_TOLERANCE)
    if len(rest):
        within = excess_in_dimension(Cells(rest)).high
        count, worst = int((within <= GAP_TOLERANCE).sum()), number_text(float(within.max()))
        print(
            f"In their own dimension {count} of the other {len(rest)} are certified, too; the "
            f"best found is within {worst} of the best there is."
        )


@app.command()
def info(
    run: Annotated[Path, typer.Argument(help="The folder that --out named.")],
    other: Annotated[
        Path | None, typer.Argument(help="Another run, to compare with.", show_default=False)
    ] = None,
    where: WhereOption = "",
    as_json: JsonOption = False,
) -> int | Answer:
    """Summarize a run: its shapes, how far it came, its gaps, phases and versions.

    Of two runs: what they say of the cells that both have. Exit code 1 if their certificates
    contradict each other.
    """
    from ssem_jax.sweeps.folder import read_run, summarize
    from ssem_jax.sweeps.selection import filtered

    table, manifest = read_run(cells_of_run(run))
    if other is not None:
        tables = [table, read_run(cells_of_run(other))[0]]
        return _compared(tables, (run, other), where, as_json)
    if where:
        table = filtered(table, where)
        summary = summarize(table) | {"run": str(run), "where": where}
        if as_json:
            return Answer(AS_EXPECTED, summary)
        print(f"{run}: {len(table):,} cells where {where}")
        _show_summary(summary)
        return AS_EXPECTED
    summary = summarize(table) | {"run": str(run), "planned": manifest["cells"]}
    if as_json:
        return Answer(AS_EXPECTED, summary | {"manifest": manifest})
    finished, planned = summary["cells"], summary["planned"]
    state = "complete" if finished == planned else "interrupted; repeat its command to go on"
    print(
        f"{run}: {finished:,} of {planned:,} cells ({state}), witness {manifest['witness']}, "
        f"seed {manifest['seed']}"
    )
    for shape in dict.fromkeys(manifest["shapes"]):
        print(f"  {shape}")
    _show_summary(summary)
    print(" ".join(f"{name} {number}" for name, number in manifest["versions"].items()))
    return AS_EXPECTED


def _compared(
    tables: list[pl.DataFrame], runs: tuple[Path, Path], where: str, as_json: bool
) -> int | Answer:
    """What two runs say of the cells that both have."""
    from ssem_jax.sweeps.selection import compare, filtered
    from ssem_jax.sweeps.words import typed

    first, second = (filtered(table, where) if where else table for table in tables)
    found: dict[str, Any] = {**compare(first, second), "runs": [*map(str, runs)]}
    code = NOT_AS_EXPECTED if found["contradictions"] else AS_EXPECTED
    if as_json:
        return Answer(code, found)
    print(
        f"{found['common']:,} cells in both runs, {found['only_first']:,} in {runs[0]} alone, "
        f"{found['only_second']:,} in {runs[1]} alone."
    )
    if not found["common"]:
        return code
    worst = ", ".join(
        f"{typed(name)} {number_text(value) or 'none'}"
        for name, value in found["largest_difference"].items()
    )
    print(f"largest differences: {worst}")
    print(f"worst gaps: {' and '.join(number_text(gap) or 'none' for gap in found['gaps'])}")
    phases = ", ".join(f"{count} {pair}" for pair, count in found["phases"].items())
    print(f"phases that differ: {phases or 'none'}")
    count = found["contradictions"]
    print(
        f"certificates that contradict each other: {count or 'none'}"
        + (", so that one of each two is wrong." if count else "")
    )
    return code
