"""The command line, `ssem verify`, `test`, `sweep`, `guide`, `audit` and others: thin.

Results go to stdout, progress to stderr. With --json, stdout holds one JSON document and nothing
else, whatever happens: an error is ``{"error": ...}``, and what a user's file prints goes to
stderr. Exit codes: 0 as expected, 1 a verdict is not as expected or undecided, 2 bad usage or
another error, 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, NoReturn

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ssem_jax.sweeps import document

if TYPE_CHECKING:
    from ssem_jax.claims.collection import Report
    from ssem_jax.claims.judgements import Judgement
    from ssem_jax.claims.trial import Trial

app = typer.Typer(
    name="ssem",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Verify the theory of class collapse in supervised contrastive learning, numerically: "
    "embeddings are minimised freely on the sphere, and every minimum carries a certificate of "
    "global optimality.",
)

AS_EXPECTED, NOT_AS_EXPECTED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
SeedOption = Annotated[int, typer.Option(help="Seed of the random starts.", min=0)]


def _folder(text: str) -> Path:
    """A folder by its name; an empty one, of a variable that is not set, would be the current."""
    if not text.strip():
        raise typer.BadParameter("give the name of a folder; got none.")
    return Path(text)


OutOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder to write to; an interrupted run in it goes on.",
        show_default=False,
        parser=_folder,
        metavar="PATH",
    ),
]
SelfPairsOption = Annotated[
    str,
    typer.Option(
        help="Pairs (i, i): include, exclude or decouple; a comma-separated list in sweeps."
    ),
]
MeanOption = Annotated[
    str, typer.Option(help="Mean over positive pairs or over anchors (unbalanced classes only).")
]


class Answer(NamedTuple):
    """What a command says with --json: its exit code, and the one document on stdout."""

    code: int
    document: Any


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; every foreseeable error is one line on stderr and exit code 2."""
    logging.basicConfig(format="ssem: %(message)s")
    given = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in given and "--help" not in given
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        answer = _run(arguments)
    if as_json and isinstance(answer, Answer):
        print(document.write(answer.document))
    sys.exit(answer.code if isinstance(answer, Answer) else answer)


def _run(arguments: list[str] | None) -> Answer | int:
    """What a command answers, or the error that it ends with."""
    try:
        found = typer.main.get_command(app).main(arguments, "ssem", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        found = INTERRUPTED
    except SystemExit as error:  # no command ends so: what it called does
        return _refuse(f"something called sys.exit({error.code!r}) before the command was done.")
    except (ValueError, OSError) as error:
        return _refuse(str(error))
    except Exception as error:
        # Typer raises its usage errors under different parents from version to version.
        if not hasattr(error, "format_message"):
            traceback.print_exc()
            return _refuse(f"{type(error).__name__}: {error}")
        message: str = error.format_message()  # pyright: ignore[reportAttributeAccessIssue]
        if message.startswith("Usage:"):  # a command without its arguments: the help itself
            print(message)
            return BAD_USAGE
        return _refuse(f"{message} Try 'ssem --help'.")
    if found == INTERRUPTED:  # caught above, or by some versions of Typer
        message = "interrupted; finished parts in --out are kept, repeat the command to go on."
        _say(message)
        return Answer(INTERRUPTED, {"error": message})
    return found if isinstance(found, (Answer, int)) else AS_EXPECTED


def _refuse(message: str) -> Answer:
    """An error: a line on stderr, and the document."""
    message = " ".join(message.split())
    _say(f"error: {message}")
    return Answer(BAD_USAGE, {"error": message})


def _say(line: str) -> None:
    print(f"ssem: {line}", file=sys.stderr)


def _set_up() -> None:
    from ssem_jax.compute import cache

    cache.set_up_jax()


@contextmanager
def _progress(description: str, total: int, unit: str = "cells") -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr; what it yields is called with numbers of finished units."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda count: bar.advance(task, count)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print versions and exit.")] = False,
) -> None:
    if version:
        from ssem_jax.sweeps.folder import versions

        print(" ".join(f"{name} {number}" for name, number in versions().items()))
        raise typer.Exit


# ---------------------------------------------------------------------------------------------
# ssem verify
# ---------------------------------------------------------------------------------------------


@app.command()
def verify(
    quick: Annotated[bool, typer.Option("--quick", help="A few hundred cells.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Some 20,000 cells, larger classes.")
    ] = False,
    rigorous: Annotated[
        bool,
        typer.Option("--rigorous", help="Also prove theorems and enclosures in ball arithmetic."),
    ] = False,
    out: OutOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> int | Answer:
    """Judge every shipped claim of the theory on certified cells.

    Free embeddings are minimised from random starts over a grid of classes, instances, views, dim,
    alpha and temperature, in both pair conventions. Each cell is certified by duality, and each
    claim gets one of three verdicts: HOLDS on all certified cells, REFUTED by a certified
    counterexample, or UNDECIDED. With --rigorous, statements about continuous boxes of parameters
    are PROVEN in interval arithmetic, and minima are enclosed beyond any rounding. The exit code is
    0 if all verdicts are those that theory gives.
    """
    if quick and full:
        raise ValueError("--quick and --full exclude each other; give one of them.")
    _set_up()
    import proofs_numeric
    from ssem_jax.claims import claim
    from ssem_jax.claims import collection as collection_file
    from ssem_jax.compute import cache
    from ssem_jax.sweeps import batches

    collection = claim.collect(proofs_numeric.modules())
    theorems = claim.collect_theorems(proofs_numeric.modules()) if rigorous else []
    size = "quick" if quick else "full" if full else "default"
    total = sum(
        batches.num_cells(domain.problems(size)) for domain in claim.unique_domains(collection)
    )
    cells = None if out is None else str(_writable(out) / "cells")
    with _progress("verify", total) as advance:
        report = collection_file.verify(
            collection, theorems=theorems, size=size, seed=seed, out=cells, progress=advance
        )
    if out is not None:
        from ssem_jax.show.report import write as write_report

        write_report(report, out)
    cache.record_verdicts({j.claim.name: str(j.verdict) for j in report.judgements})
    code = AS_EXPECTED if report.as_expected else NOT_AS_EXPECTED
    if as_json:
        return Answer(code, report.to_json())
    _show_report(report)
    if out is not None:
        print(f"Cells, report.html and report.json are in {out}.")
    return code


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"cannot write to {folder}: {error.strerror}; choose another folder for --out."
        ) from error
    return folder


def _show_report(report: Report) -> None:
    table = Table("claim", "source", box=None, pad_edge=False, header_style="bold")
    for name in ("looked at", "worst gap", "widest enclosure", "worst deviation"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for judgement in report.judgements:
        table.add_row(
            judgement.claim.name,
            judgement.claim.source.split(";")[0].split(" (")[0].split(":")[0],
            judgement.looked_at,
            _number(judgement.worst_gap),
            _number(judgement.proof and judgement.proof.width),
            _number(judgement.worst_deviation),
            _verdict(judgement),
        )
    console = _console()
    console.print(table)
    for judgement in report.judgements:
        if judgement.counterexample is not None:
            console.print(
                f"\n{judgement.claim.name} is {judgement.words}: {judgement.claim.statement}"
            )
            console.print(f"  smallest counterexample: {_counterexample(judgement)}")
        elif judgement.reason:
            console.print(f"\n{judgement.claim.name}: {judgement.reason}")
    summary = report.to_json()
    console.print(
        f"\n{summary['certified']} of {summary['cells']} cells certified, worst gap "
        f"{_number(summary['worst_gap'])}, in {report.seconds:.0f} s; "
        f"{summary['low_dimensional']['cells']} cells of lower dimension, where a gap is expected, "
        "are counted apart."
    )
    unexpected = [j.claim.name for j in report.judgements if not j.as_expected]
    console.print(
        "Every verdict is the one that theory gives."
        if not unexpected
        else f"Not as theory says: {', '.join(unexpected)}."
    )


def _console() -> Console:
    """Stdout; as wide as a table needs where it is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False, soft_wrap=True)


def _verdict(judgement: Judgement) -> str:
    if judgement.as_expected:
        return judgement.words
    return f"{judgement.words} (expected {judgement.claim.expected})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def _counterexample(judgement: Judgement) -> str:
    row = judgement.counterexample or {}
    if "dim" not in row:  # of a theorem: the point itself
        return ", ".join(f"{name}={value}" for name, value in row.items())
    from ssem_jax.claims.judgements import coordinates

    line = (
        f"{coordinates(row)}: delta2 in [{row['delta2_lo']:.3g}, {row['delta2_hi']:.3g}], "
        f"phase {row['phase']}"
    )
    for other in row.get("followed_by", ()):
        line += (
            f"; then at {judgement.claim.along}={other[judgement.claim.along]:.6g} "
            f"delta2 in [{other['delta2_lo']:.3g}, {other['delta2_hi']:.3g}]"
        )
    return line


# ---------------------------------------------------------------------------------------------
# ssem test
# ---------------------------------------------------------------------------------------------


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
            help="Folder for cells, margin maps and results.json; an interrupted search goes on.",
            show_default=False,
            parser=_folder,
            metavar="PATH",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int | Answer:
    """Judge the conjectures in a file: HOLDS, REFUTED by a certified counterexample, or UNDECIDED.

    A conjecture is a sx.Claim at the top level of the file: a statement, a margin (positive where
    it holds) of certified cells, and a sx.Space of shapes and hyper-parameters:

    import ssem_jax as sx

    spreads = sx.Claim(name="spreads", statement="Some variance is left at alpha = 1/2.",
    margin=lambda cell: cell.delta2 - 1e-6, domain=sx.Space(alpha=0.5))

    The search is drawn to where the margin is smallest; a counterexample is shrunk to few classes,
    instances and digits, and printed as Python that reproduces it. The exit code is 0 if every
    conjecture is decided (as expected, where it says so), 1 if not, 2 if one cannot be judged.
    """
    from ssem_jax.claims import files, told
    from ssem_jax.claims.refinement import search_all
    from ssem_jax.claims.source import Source
    from ssem_jax.claims.trial import Budget

    spend = Budget.parse(budget)
    cells = None if out is None else _writable(out) / "cells"
    _set_up()
    stdout, trials = sys.stdout, []
    with redirect_stdout(sys.stderr):  # what the file prints by itself is no verdict
        chosen = files.conjectures(files.load(file), keep)
        begun = time.perf_counter()
        with _progress("test", spend.cells * len(chosen)) as advance:
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
    """results.json, and a margin map of every conjecture about cells."""
    from ssem_jax.claims import told
    from ssem_jax.show.outcomes import draw_margins
    from ssem_jax.show.style import PlotError, save

    (out / "results.json").write_text(document.write(found))
    for trial in trials:
        if trial.table is None:
            continue
        try:
            parts, axes = told.margin_map(trial)
            title = f"{trial.claim.name}: {trial.judgement.words}" if trial.judgement else ""
            save(draw_margins(parts, axes, title), out / f"{trial.claim.name}.svg")
        except PlotError as error:
            _say(f"no margin map of {trial.claim.name}: {error}")


# ---------------------------------------------------------------------------------------------
# ssem sweep, ssem info
# ---------------------------------------------------------------------------------------------


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
    alpha: Annotated[str, typer.Option(help="0.1,0.5 or 0:1:17 or log:0.01:1:9.")] = "0:1:17",
    tau: Annotated[str, typer.Option(help="Temperature; likewise.")] = "log:0.05:5:17",
    self_pairs: SelfPairsOption = "include",
    mean: MeanOption = "pairs",
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
    _set_up()
    from ssem_jax.compute.workers import open_executor
    from ssem_jax.problem.structure import ClassStructure
    from ssem_jax.sweeps.batches import num_cells
    from ssem_jax.sweeps.folder import summarize
    from ssem_jax.sweeps.grid import Grid
    from ssem_jax.sweeps.runs import sweep

    view_counts = parse_integers("--views", views)
    if sizes:
        shapes = [parse_integers("--sizes", text) for text in sizes]
    else:
        counts = parse_integers("--instances", instances)
        shapes = [
            (n,) * _at_least("--classes", m, 2)
            for m in parse_integers("--classes", classes)
            for n in counts
        ]
    grid = Grid(
        tuple(ClassStructure(tuple(shape), p) for shape in shapes for p in view_counts),
        tuple("full" if text == "full" else parse_integers("--dim", text)[0] for text in _list(dim))
        if ":" not in dim
        else parse_integers("--dim", dim),
        parse_numbers("--alpha", alpha),
        parse_numbers("--tau", tau),
        tuple(_list(self_pairs)),
        tuple(_list(mean)),
    )
    problems = grid.problems()
    begun = time.perf_counter()
    with (
        open_executor(executor, workers, scheduler) as opened,
        _progress("sweep", num_cells(problems)) as advance,
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
    if out is None:
        print("Nothing was kept; give --out FOLDER to write the table.")
    else:
        print(f"The table is in {out}; look at it with: ssem info {out}")
    return AS_EXPECTED


def _show_summary(summary: dict[str, Any]) -> None:
    worst = _number(summary["worst_gap"]) or "none"
    print(f"{summary['certified']} of {summary['cells']} cells certified, worst gap {worst}.")
    for what in ("phases", "status"):
        counts = ", ".join(f"{count} {name}" for name, count in summary[what].items())
        print(f"{what}: {counts or 'none'}")


@app.command()
def info(
    run: Annotated[Path, typer.Argument(help="The folder that --out named.")],
    as_json: JsonOption = False,
) -> int | Answer:
    """Summarize a run: its shapes, how far it came, its gaps, phases and versions."""
    from ssem_jax.sweeps.folder import read_run, summarize

    table, manifest = read_run(_cells_of(run))
    summary = summarize(table) | {"run": str(run), "planned": manifest["cells"]}
    if as_json:
        return Answer(AS_EXPECTED, summary | {"manifest": manifest})
    finished, planned = summary["cells"], summary["planned"]
    state = "complete" if finished == planned else "interrupted; repeat its command to go on"
    print(
        f"{run}: {finished} of {planned} cells ({state}), witness {manifest['witness']}, "
        f"seed {manifest['seed']}"
    )
    for shape in dict.fromkeys(manifest["shapes"]):
        print(f"  {shape}")
    _show_summary(summary)
    print(" ".join(f"{name} {number}" for name, number in manifest["versions"].items()))
    return AS_EXPECTED


def _cells_of(run: Path) -> Path:
    """The cells of a run of `ssem verify --out`, or the folder itself."""
    return run / "cells" if (run / "cells" / "manifest.json").exists() else run


# ---------------------------------------------------------------------------------------------
# ssem plot, ssem explore
# ---------------------------------------------------------------------------------------------


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
    _set_up()
    from ssem_jax.show.runs import draw_run
    from ssem_jax.sweeps.folder import read_run

    cells = _cells_of(run)
    table, _ = read_run(cells)
    path = draw_run(table, kind, out or cells / f"{kind}.svg", quantity)
    return _written(path, as_json)


def _written(path: Path, as_json: bool) -> int | Answer:
    """The answer of a command that makes a file."""
    if as_json:
        return Answer(AS_EXPECTED, {"file": str(path)})
    print(path)
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

    return _written(write(out), as_json)


# ---------------------------------------------------------------------------------------------
# ssem guide
# ---------------------------------------------------------------------------------------------


@app.command("guide")
def guide_command(
    classes: Annotated[int | None, typer.Option(help="m, classes in a batch.")] = None,
    instances: Annotated[int | None, typer.Option(help="n, instances of a class in it.")] = None,
    views: Annotated[int, typer.Option(help="p, views of an instance.")] = 1,
    labels: Annotated[
        Path | None,
        typer.Option(help="Instead of m and n: the labels of a batch, .npy or text, one a line."),
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="Weight of L_self, from 0 to 1.")] = None,
    tau: Annotated[float | None, typer.Option(help="Temperature, positive.")] = None,
    delta2: Annotated[
        float | None, typer.Option(help="The variance within classes that is wanted.")
    ] = None,
    self_pairs: SelfPairsOption = "include",
    mean: MeanOption = "pairs",
    plot: Annotated[Path | None, typer.Option(help="Picture: .png, .svg or .pdf.")] = None,
    as_json: JsonOption = False,
) -> int | Answer:
    """Say which alpha and tau keep classes from collapsing, and how far instances then spread.

    Collapse thresholds, predicted within-class variance, what to choose for a wanted variance, and
    how that moves with the batch; what is not given of alpha and tau is chosen.

    Example: ssem guide --classes 10 --instances 50 --views 2 --alpha 0.5
    """
    _set_up()
    from ssem_jax.advice.guides import guide
    from ssem_jax.problem.structure import ClassStructure

    names = None
    if labels is not None:
        from ssem_jax.advice.audits import read_labels

        if classes is not None or instances is not None:
            raise ValueError("--labels replaces --classes and --instances; give one or the other.")
        found = read_labels(labels)
        structure = ClassStructure(ClassStructure.from_labels(found)[0].sizes, views)
        names = tuple(map(str, np.unique(found)))
    elif classes is None or instances is None:
        raise ValueError("give --classes and --instances of a batch, or --labels FILE.")
    else:
        structure = ClassStructure.balanced(classes, instances, views)
    options = {"self_pairs": self_pairs, "mean": mean, "delta2": delta2, "names": names}
    answer = guide(structure, alpha, tau, **options)
    found = answer.to_json()
    if plot is not None:
        from ssem_jax.show.guide import draw_guide
        from ssem_jax.show.style import save

        found["plot"] = str(save(draw_guide(answer), plot))
    if as_json:
        return Answer(AS_EXPECTED, found)
    for line in answer.lines():
        _console().print(line, markup=False)
    if plot is not None:
        print(f"The picture is in {plot}.")
    return AS_EXPECTED


# ---------------------------------------------------------------------------------------------
# ssem audit
# ---------------------------------------------------------------------------------------------


@app.command("audit")
def audit_command(
    embeddings: Annotated[Path, typer.Argument(help="A .npy array, one embedding a row.")],
    labels: Annotated[Path, typer.Option(help="A .npy array, or text with one label a line.")],
    alpha: Annotated[float, typer.Option(help="Weight of L_self, from 0 to 1.")],
    tau: Annotated[float, typer.Option(help="Temperature, positive.")],
    views: Annotated[int, typer.Option(help="Views; those of an instance are adjacent rows.")] = 1,
    self_pairs: SelfPairsOption = "include",
    mean: MeanOption = "pairs",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> int | Answer:
    """Certify anybody's embeddings: loss, gap to the global optimum, brackets, phase.

    The gap is to the best embeddings in any dimension. Exit code 0 if it is at most 1e-9.
    """
    _set_up()
    import jax

    from ssem_jax.advice.audits import audit, read_embeddings, read_labels
    from ssem_jax.losses.supcl import SupCL

    result = audit(
        read_embeddings(embeddings),
        read_labels(labels),
        SupCL(alpha, tau, self_pairs, mean),
        num_views=views,
        key=jax.random.key(seed),
    )
    found = result.to_json()
    code = AS_EXPECTED if result.optimal else NOT_AS_EXPECTED
    if as_json:
        return Answer(code, found)
    _show_audit(found)
    return code


def _show_audit(audited: dict[str, Any]) -> None:
    print(f"{audited['structure']}")
    print(f"loss {audited['loss']:.12g}, no embedding below {audited['lower']:.12g}")
    verdict = "globally optimal" if audited["optimal"] else "not certified as optimal"
    print(f"gap {audited['gap']:.3e}: {verdict} (tolerance {audited['gap_tolerance']:.0e})")
    print(f"phase of the optimum: {audited['optimal_phase']}")
    table = Table("variance", "found", "predicted", "bracket at this loss", box=None)
    for name, value in audited["found"].items():
        predicted = audited["predicted"]
        bracket = audited["brackets"].get(name)
        table.add_row(
            name,
            f"{value:.6g}",
            "" if predicted is None else f"{predicted[name]:.6g}",
            "" if bracket is None else f"[{bracket[0]:.6g}, {bracket[1]:.6g}]",
        )
    _console().print(table)


# ---------------------------------------------------------------------------------------------
# ssem train
# ---------------------------------------------------------------------------------------------


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
        typer.Option(help="Repetitions, from --seed on. [default: 5 or 3]", min=1),
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
    _set_up()
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
    with _progress(name, total, "steps") as advance:
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
    _console().print(shown)
    print("Means over seeds ± their standard errors.")
    if out is None:
        print("Nothing was kept; give --out FOLDER to write the table.")
    else:
        print(f"The table is in {out}, as Parquet.")
    return AS_EXPECTED


# ---------------------------------------------------------------------------------------------
# Lists and ranges
# ---------------------------------------------------------------------------------------------


def parse_numbers(option: str, text: str) -> tuple[float, ...]:
    """Numbers from "a,b,c", "first:last:count" or "log:first:last:count".

    Raises:
        ValueError: anything else.
    """
    parts = text.split(":")
    spaced = np.geomspace if parts[0] == "log" else np.linspace
    ends = parts[1:] if parts[0] == "log" else parts
    try:
        if len(parts) == 1:
            return tuple(float(part) for part in _list(text))
        first, last, count = float(ends[0]), float(ends[1]), int(ends[2])
        if len(ends) != 3 or count < 1 or (spaced is np.geomspace and min(first, last) <= 0):
            raise ValueError
        return tuple(spaced(first, last, count).tolist())
    except (ValueError, IndexError):
        raise ValueError(
            f"{option} takes numbers as 0.1,0.5 or first:last:count or log:first:last:count "
            f"(log needs positive ends); got {text!r}."
        ) from None


def parse_integers(option: str, text: str) -> tuple[int, ...]:
    """Integers from the same notation; ranges are rounded and keep each value once.

    Raises:
        ValueError: anything that is no integer.
    """
    numbers = parse_numbers(option, text)
    if ":" in text:
        return tuple(dict.fromkeys(round(number) for number in numbers))
    if any(number != int(number) for number in numbers if np.isfinite(number)) or not np.all(
        np.isfinite(numbers)
    ):
        raise ValueError(f"{option} takes integers; got {text!r}.")
    return tuple(int(number) for number in numbers)


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _at_least(option: str, value: int, least: int) -> int:
    if value < least:
        raise ValueError(f"{option} must be at least {least}; got {value}.")
    return value


if __name__ == "__main__":
    main()
