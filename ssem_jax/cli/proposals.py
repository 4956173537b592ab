"""ssem propose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssem_jax.cli.console import (
    AS_EXPECTED,
    NOT_AS_EXPECTED,
    Answer,
    JsonOption,
    WhereOption,
    app,
    cells_of_run,
    set_up,
)


@app.command("propose")
def propose_command(
    run: Annotated[Path, typer.Argument(help="The folder that --out of a sweep named.")],
    quantity: Annotated[
        str, typer.Option(help="alpha_c, delta2, view_variance or mean_squared.")
    ] = "alpha_c",
    side: Annotated[str, typer.Option(help="Bounds from above or below.")] = "above",
    terms: Annotated[int, typer.Option(help="Features of a bound at most.", min=1, max=4)] = 3,
    count: Annotated[int, typer.Option(help="Proposals at most.", min=1)] = 5,
    where: WhereOption = "",
    out: Annotated[
        Path | None,
        typer.Option(help="File of claims to write, as rules.py.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> int | Answer:
    """Find the simplest bounds that all cells of a run obey, by linear programming.

    They are guesses from finitely many certified cells: write them out with --out rules.py, and
    ssem test rules.py searches the whole range for counterexamples. The exit code is 1 if there is
    none.

    Example: ssem propose runs/a --quantity alpha_c --out rules.py
    """
    set_up()
    from ssem_jax.claims.proposals import as_claims, propose
    from ssem_jax.sweeps.folder import read_run
    from ssem_jax.sweeps.selection import filtered

    table, _ = read_run(cells_of_run(run))
    table = filtered(table, where) if where else table
    found = propose(table, quantity, side, terms, count)
    if out is not None:
        out.write_text(as_claims(found, table), encoding="utf-8")
    code = AS_EXPECTED if found else NOT_AS_EXPECTED
    if as_json:
        rows = [
            {"rule": each.rule, "code": each.code, "distance": each.distance, "tight": each.tight}
            for each in found
        ]
        return Answer(code, {"proposals": rows, "file": None if out is None else str(out)})
    sense = "≤" if side == "above" else "≥"
    for each in found:
        print(f"{quantity} {sense} {each.rule}  (off by {each.distance:.3f} on average, "
              f"tight at {each.tight:.0%})")  # fmt: skip
    if not found:
        print("No bound of these features is sound on this table.")
    elif out is None:
        print("These are guesses; give --out FILE.py to write them for ssem test.")
    else:
        print(f"These are guesses; judge them with: ssem test {out}")
    return code
