"""What all commands share: the app, exit codes, options, progress, printing."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from ssem_jax.claims.judgements import Judgement

app = typer.Typer(
    name="ssem",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Verify the theory of class collapse in supervised contrastive learning, numerically: "
    "embeddings are minimised freely on the sphere, and every minimum carries a certificate of "
    "global optimality. Begin with: ssem verify --quick",
)

REPORT_SECONDS = 10.0
"""Between lines of progress where there is no terminal."""
LONG_SECONDS = 60.0
"""What is to take longer is said as soon as the pace is known."""
AS_EXPECTED, NOT_AS_EXPECTED, BAD_USAGE, INTERRUPTED, CUT_OFF = 0, 1, 2, 130, 141

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
SeedOption = Annotated[int, typer.Option(help="Seed of the random starts.", min=0, max=2**63 - 1)]


def folder_named(text: str) -> Path:
    """A folder by its name; an empty one, of a variable that is not set, would be the current."""
    if not text.strip():
        raise typer.BadParameter("give the name of a folder; got none.")
    return Path(text)


OutOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder to write to; an interrupted run in it goes on.",
        show_default=False,
        parser=folder_named,
        metavar="PATH",
    ),
]
SelfPairsOption = Annotated[
    str,
    typer.Option(
        help="Pairs (i, i) of the loss: include, exclude, or decouple, which leaves all pairs of "
        "an instance out of the denominator. A sweep takes a list."
    ),
]
MeanOption = Annotated[
    str,
    typer.Option(
        help="What L_sup is a mean over: pairs, anchors (that have a positive) or all (anchors); "
        "it matters where classes differ in size. A sweep takes a list."
    ),
]
WhereOption = Annotated[
    str,
    typer.Option(
        help="Only cells of which this holds, as \"n == 2 and self_pairs == 'include'\".",
        show_default=False,
    ),
]


class Answer(NamedTuple):
    """What a command says with --json: its exit code, and the one document on stdout."""

    code: int
    document: Any


def say(line: str) -> None:
    print(f"ssem: {line}", file=sys.stderr)


def set_up() -> None:
    from ssem_jax.compute import cache

    cache.set_up_jax()
    cache.check_platform()


@contextmanager
def progress_bar(
    description: str, total: int, unit: str = "cells"
) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, or a line now and then where that is no terminal; what it yields is
    called with numbers of finished units.
    """
    if not sys.stderr.isatty():
        with progress_lines(description, total, unit) as advance:
            yield advance
        return
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


@contextmanager
def progress_lines(
    description: str, total: int, unit: str, every: float = REPORT_SECONDS
) -> Iterator[Callable[[int], None]]:
    """A line on stderr every ten seconds: of what is done, and how long the rest may take. Where
    that is long, a line says so as soon as it is known: after the first units, which wait for
    compilers."""
    done, ended, begun = [0], threading.Event(), time.monotonic()
    times: list[float] = []

    def remaining() -> float:
        """At the pace up to the last units, less what has passed since."""
        if not done[0]:
            return 0.0
        taken = times[-1] - begun
        return taken * total / done[0] - (time.monotonic() - begun)

    def advance(count: int) -> None:
        done[0] += count
        times.append(time.monotonic())
        if len(times) == 2 and count:
            left = (times[1] - times[0]) / count * (total - done[0])
            if left > LONG_SECONDS:
                say(f"{description}: {total:,} {unit}, some {left:.0f} s at the first ones' pace")

    def report() -> None:
        while not ended.wait(every):
            passed, left = time.monotonic() - begun, remaining()
            say(
                f"{description}: {done[0]:,} of {total:,} {unit} after {passed:.0f} s"
                + (f", some {left:.0f} s to go" if left > every else "")
            )

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield advance
    finally:
        ended.set()
        thread.join()


def writable(folder: Path, option: str = "--out") -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"cannot write to {folder}: {error.strerror}; choose another folder for {option}."
        ) from error
    return folder


def console_of() -> Console:
    """Stdout; as wide as a table needs where it is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False, soft_wrap=True)


def verdict_text(judgement: Judgement) -> str:
    if judgement.as_expected:
        return judgement.words
    return f"{judgement.words} (expected {judgement.claim.expected})"


def number_text(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def counterexample_text(judgement: Judgement) -> str:
    row = judgement.counterexample or {}
    if "dim" not in row:  # of a theorem: the point itself
        return ", ".join(f"{name}={value}" for name, value in row.items())
    from ssem_jax.claims.judgements import coordinates

    along = getattr(judgement.claim, "along", None)  # claims that compare cells have one
    line = (
        f"{coordinates(row)}: delta2 in [{row['delta2_lo']:.3g}, {row['delta2_hi']:.3g}], "
        f"phase {row['phase']}"
    )
    for other in row.get("followed_by", ()):
        line += (
            f"; then at {along}={other[along]:.6g} "
            f"delta2 in [{other['delta2_lo']:.3g}, {other['delta2_hi']:.3g}]"
        )
    return line


def cells_of_run(run: Path) -> Path:
    """The cells of a run of `ssem verify --out`, or the folder itself."""
    return run / "cells" if (run / "cells" / "manifest.json").exists() else run


def file_written(path: Path, as_json: bool) -> int | Answer:
    """The answer of a command that makes a file."""
    if as_json:
        return Answer(AS_EXPECTED, {"file": str(path)})
    print(path)
    return AS_EXPECTED
