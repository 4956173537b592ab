"""ssem test."""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ssem_jax.claims.trial import Trial
from ssem_jax.cli.console import (
    AS_EXPECTED,
    BAD_USAGE,
    NOT_AS_EXPECTED,
    Answer,
    JsonOption,
    SeedOption,
    app,
    folder_named,
    progress_bar,
    say,
    set_up,
    writable,
)


@app.command("test")
def judge_file(
    file: Annotated[Path, typer.Argument(help="A Python file that defines conjectures.")],
    keep: Annotated[
        str, typer.Option("-k", help="Names to judge: parts of names with and, or, not.")
    ] = "",
    budget: Annotated[
        str, typer.Option(help="For each conjecture: cells, seconds, or both: 2000,60s.")
    ] = "2000",
    seed: SeedOption = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for cells, margin maps, certificates of counterexamples and "
            "results.json; an interrupted search goes on.",
            show_default=False,
            parser=folder_named,
            metavar="PATH",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int | Answer:
    """Judge the conjectures in a file: HOLDS, REFUTED by a certified counterexample, or UNDECIDED.

    A conjecture is a sx.Claim at the top level of the file: a statement, a margin (positive where
    it holds) of certified cells, and a sx.Space of shapes and hyper-parameters:

    \b
    import ssem_jax as sx
    spreads = sx.Claim(
        name="spreads",
        statement="Some variance is left at alpha = 1/2.",
        margin=lambda cell: cell.delta2 - 1e-6,
        domain=sx.Space(alpha=0.5),
    )

    The search is drawn to where the margin is smallest; a counterexample is shrunk to few classes,
    instances and digits, and printed as Python that reproduces it. The exit code is 0 if every
    conjecture is decided (as expected, where it says so), 1 if not, 2 if one cannot be judged.
    """
    from ssem_jax.claims import files, told
    from ssem_jax.claims.refinement import search_all
    from ssem_jax.claims.source import Source
    from ssem_jax.claims.trial import Budget

    spend = Budget.parse(budget)
    cells = None if out is None else writable(out) / "cells"
    set_up()
    stdout, trials = sys.stdout, []
    with redirect_stdout(sys.stderr):  # what the file prints by itself is no verdict
        chosen = files.conjectures(files.load(file), keep)
        begun = time.perf_counter()
        with progress_bar("test", spend.cells * len(chosen)) as advance:
            source = Source(seed, cells, advance)
            for trial in search_all(chosen, spend, source):
                trials.append(trial)
                if not as_json:
                    print(told.describe(trial) + "\n", file=stdout, flush=True)
        found = told.report(trials, time.perf_counter() - begun, seed)
        if out is not None:
            _keep_trials(trials, found, out)
    judged = [trial for trial in trials if trial.judgement is not None]
    code = AS_EXPECTED if found["as_expected"] else NOT_AS_EXPECTED
    if len(judged) < len(chosen):
        code = BAD_USAGE
    if as_json:
        return Answer(code, found)
    if out is not None:
        print(f"Cells, margin maps and results.json are in {out}.")
    return code


def _keep_trials(trials: list[Trial], found: dict[str, Any], out: Path) -> None:
    """results.json, and for every conjecture about cells a map of its margin and the certificates
    of its counterexample."""
    from ssem_jax.claims import told
    from ssem_jax.claims.replay import export_counterexample
    from ssem_jax.show.outcomes import draw_margins
    from ssem_jax.show.style import PlotError, save
    from ssem_jax.sweeps import document

    (out / "results.json").write_text(document.write(found))
    for trial in trials:
        if trial.table is None:
            continue
        try:
            for file in export_counterexample(trial.judgement, out) if trial.judgement else ():
                say(f"{file} is a certificate of the counterexample: ssem check {file}")
        except ValueError as error:
            say(f"no certificate of the counterexample of {trial.claim.name}: {error}")
        try:
            parts, axes = told.margin_map(trial)
            title = f"{trial.claim.name}: {trial.judgement.words}" if trial.judgement else ""
            save(draw_margins(parts, axes, title), out / f"{trial.claim.name}.svg")
        except PlotError as error:
            say(f"no margin map of {trial.claim.name}: {error}")
