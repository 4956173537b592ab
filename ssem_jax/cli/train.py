"""ssem train."""

from __future__ import annotations

import time
from typing import Annotated, Any

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
    progress_bar,
    set_up,
)
from ssem_jax.cli.parse import parse_numbers

MEANINGS = {
    "predicted_delta2": "the optimum of one training batch by itself",
    "expected_delta2": "the optimum of the whole data set, for the mean loss over its batches, "
    "which is what an encoder is trained on",
}
"""What two columns that look alike are."""


@app.command("train")
def train_command(
    name: Annotated[
        str,
        typer.Argument(
            help="digits-grid, mixture, long-tail, noise, architecture or dynamics.",
        ),
    ],
    fast: Annotated[bool, typer.Option("--fast", help="A tiny version, for a look.")] = False,
    seeds: Annotated[
        int | None,
        typer.Option(help="Repetitions, from --seed on. [default: 5 or 3]", min=1, max=10_000),
    ] = None,
    alpha: Annotated[
        str | None, typer.Option(help="0.1,0.5 or 0:1:9. [default: the experiment's]")
    ] = None,
    tau: Annotated[str | None, typer.Option(help="Temperature; likewise.")] = None,
    self_pairs: Annotated[str, typer.Option(help="Pairs (i, i): include or exclude.")] = "include",
    seed: SeedOption = 0,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> int | Answer:
    """Train small encoders with this loss and set them against the theory of free embeddings.

    Nothing is downloaded: the data are scikit-learn's digits, or Gaussian mixtures. Coarse labels
    are seen in training; variances are compared with the prediction, and probes of the hidden fine
    classes, and of classes never seen, tell what transfers. It needs the extra: pip install
    'ssem-jax[train]'.
    """
    set_up()
    from ssem_jax.training import experiments

    choices: dict[str, Any] = {
        "fast": fast,
        "seeds": range(seed, seed + (seeds or experiments.repetitions(name, fast))),
        "self_pairs": self_pairs,
        "alphas": () if alpha is None else parse_numbers("--alpha", alpha),
        "temperatures": () if tau is None else parse_numbers("--tau", tau),
    }
    begun = time.perf_counter()
    total = sum(part.steps for part in experiments.parts(name, **choices))
    with progress_bar(name, total, "steps") as advance:
        table = experiments.run(name, **choices, out=out, progress=advance)
    summary = experiments.summarize(name, table)
    if as_json:
        found = {"experiment": name, "run": None if out is None else str(out)}
        found |= {"rows": len(table), "seconds": time.perf_counter() - begun}
        return Answer(AS_EXPECTED, found | {"summary": summary.to_dicts()})
    experiment = experiments.EXPERIMENTS[name]
    shown = Table(*experiment.by, *experiment.shown, box=None, pad_edge=False)
    for row in summary.iter_rows(named=True):
        means = [f"{row[column]:.3f} ± {row[f'{column}_se']:.3f}" for column in experiment.shown]
        shown.add_row(*(f"{row[column]}" for column in experiment.by), *means)
    console_of().print(shown)
    print("Means over seeds ± their standard errors.")
    for name in experiment.shown:
        if name in MEANINGS:
            print(f"{name}: {MEANINGS[name]}.")
    if out is None:
        print("Nothing was kept; give --out FOLDER to write the table.")
    else:
        print(f"The table is in {out}, as Parquet.")
    return AS_EXPECTED
