"""ssem plot, ssem explore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssem_jax.cli.console import Answer, JsonOption, app, cells_of_run, file_written, set_up


@app.command()
def plot(
    run: Annotated[Path, typer.Argument(help="The folder that --out named.")],
    kind: Annotated[str, typer.Option(help="phase, gap or slices.")] = "phase",
    quantity: Annotated[
        str,
        typer.Option(
            help="For slices: delta2, view_variance, within_variance, between_variance or value."
        ),
    ] = "delta2",
    out: Annotated[
        Path | None,
        typer.Option(help="File: .png, .svg or .pdf. [default: KIND.svg in the run's folder]"),
    ] = None,
    as_json: JsonOption = False,
) -> int | Answer:
    """Draw a sweep: its phase diagram, its certified gaps, or slices with brackets.

    Each shape gets a panel; the closed-form boundary is drawn over the certified cells.
    """
    set_up()
    from ssem_jax.show.runs import draw_run
    from ssem_jax.sweeps.folder import read_run

    cells = cells_of_run(run)
    table, _ = read_run(cells)
    path = draw_run(table, kind, out or cells / f"{kind}.svg", quantity)
    return file_written(path, as_json)


@app.command()
def explore(
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("explorer.html"),
    as_json: JsonOption = False,
) -> int | Answer:
    """Write the explorer: one page, no network, to drag m, n, p, alpha and tau and see the optimum.

    Open it in a browser. It shows the phase diagram, the variances, SSEM in three dimensions and
    the predicted Gram matrix, all from the closed forms.
    """
    from ssem_jax.show.explorer import write

    return file_written(write(out), as_json)
