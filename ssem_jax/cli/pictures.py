"""ssem plot, ssem explore, ssem docs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssem_jax.cli.console import (
    AS_EXPECTED,
    Answer,
    JsonOption,
    WhereOption,
    app,
    cells_of_run,
    file_written,
    set_up,
)


@app.command()
def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="The folder that --out named; several are joined."),
    ],
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
    where: WhereOption = "",
    as_json: JsonOption = False,
) -> int | Answer:
    """Draw a sweep: its phase diagram, its certified gaps, or slices with brackets.

    Each shape gets a panel; the closed-form boundary is drawn over the certified cells. More shapes
    than fit on a page make several files.

    Example: ssem plot runs/first --kind slices --where "n == 2 and self_pairs == 'include'"
    """
    set_up()
    from ssem_jax.show.runs import draw_run
    from ssem_jax.sweeps.folder import read_run
    from ssem_jax.sweeps.selection import filtered, joined

    folders = [cells_of_run(run) for run in runs]
    table = joined([read_run(folder)[0] for folder in folders])
    table = filtered(table, where) if where else table
    files = draw_run(table, kind, out or folders[0] / f"{kind}.svg", quantity)
    if len(files) == 1:
        return file_written(files[0], as_json)
    if as_json:
        return Answer(AS_EXPECTED, {"file": str(files[0]), "files": [*map(str, files)]})
    print("\n".join(map(str, files)))
    return AS_EXPECTED


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


@app.command()
def docs(
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("reference"),
    as_json: JsonOption = False,
) -> int | Answer:
    """Write the reference: every public name, room by room, with formulas and examples.

    Open index.html in a browser; it needs no network. It needs the extra: pip install
    'ssem-jax[docs]'
    """
    from ssem_jax.show.reference import write

    return file_written(write(out), as_json)
