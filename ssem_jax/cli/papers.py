"""ssem papers."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

if TYPE_CHECKING:
    from ssem_jax.claims.paper import Paper
from ssem_jax.cli.console import (
    AS_EXPECTED,
    NOT_AS_EXPECTED,
    Answer,
    JsonOption,
    app,
    console_of,
    file_written,
    progress_bar,
    say,
    set_up,
)


@app.command("papers")
def papers_stated(
    which: Annotated[
        str | None,
        typer.Argument(
            help="The key of a paper, as kini2024; or a Python file of papers of your own.",
            show_default=False,
        ),
    ] = None,
    bibtex: Annotated[
        bool, typer.Option("--bibtex", help="Print bibliography entries, and judge nothing.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw the picture of one paper into a file: .png, .svg or .pdf.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int | Answer:
    """List what papers state of optimal embeddings, each statement with its verdict.

    With the key of a paper: one page, with its notation, hypotheses, counterexamples, and numbers
    computed beside those that it states. A refuted statement is that sentence, never the paper.
    Statements are judged when they are first asked for, and kept until a line of code changes;
    `ssem verify --papers` judges them all anew. The exit code is 0 if every verdict is the one
    that the paper's module expects.
    """
    from ssem_jax.claims import atlas

    modules, papers = _papers_of(which)
    if bibtex:
        entries = [paper.bibtex for paper in papers]
        if as_json:
            return Answer(AS_EXPECTED, entries)
        print("\n\n".join(entries))
        return AS_EXPECTED
    if plot is not None:
        return _plotted(papers, plot, as_json)
    judged = _judged(modules, papers)
    said = [judged[s.claim.name] for paper in papers for s in paper.statements]
    code = AS_EXPECTED if all(each["as_expected"] for each in said) else NOT_AS_EXPECTED
    if as_json:
        return Answer(code, atlas.to_json(papers, judged))
    if which is None:
        _list(papers, judged)
    else:
        print("\n\n\n".join(atlas.page(paper, judged) for paper in papers))
    return code


def _plotted(papers: list[Paper], file: Path, as_json: bool) -> int | Answer:
    """Draw the one picture that some papers have."""
    drawn = [paper for paper in papers if paper.picture is not None]
    if len(drawn) != 1 or (picture := drawn[0].picture) is None:
        keys = ", ".join(paper.key for paper in drawn)
        raise ValueError(
            f"--plot draws one picture; name the paper: {keys}."
            if drawn
            else f"{', '.join(paper.key for paper in papers)} has no picture."
        )
    set_up()
    from ssem_jax.show.papers import PLACES, draw_paper
    from ssem_jax.show.style import save

    return file_written(save(draw_paper(picture, picture.table(PLACES)), file), as_json)


def _papers_of(which: str | None) -> tuple[list[ModuleType], list[Paper]]:
    """The papers that are asked for, and the modules that state them."""
    from proofs_numeric import papers as shipped
    from ssem_jax.claims import files
    from ssem_jax.claims.paper import collect_papers

    if which is not None and which.endswith(".py"):
        modules = [files.load(which)]
        found = collect_papers(modules)
        if not found:
            raise ValueError(
                f"{which} has no paper at its top level; write paper = sx.claims.Paper(...)."
            )
        return modules, found
    modules = shipped.modules()
    found = collect_papers(modules)
    chosen = [paper for paper in found if which in (None, paper.key)]
    if not chosen:
        keys = ", ".join(paper.key for paper in found)
        raise ValueError(f"no paper {which!r}; there are {keys}.")
    return modules, chosen


def _judged(modules: list[ModuleType], papers: list[Paper]) -> dict[str, dict[str, Any]]:
    """Verdicts of this very code: those that are kept, and the others judged now."""
    from ssem_jax.claims import atlas
    from ssem_jax.claims.collection import num_steps
    from ssem_jax.claims.paper import claims_of

    code = atlas.code_of(modules)
    known = atlas.recall(code)
    missing = [paper for paper in papers if not atlas.is_judged(paper, known)]
    if missing:
        papers_state = "a paper states" if len(missing) == 1 else f"{len(missing)} papers state"
        say(f"judging what {papers_state}; verdicts are kept.")
        set_up()
        total = num_steps(*claims_of(missing), "quick")
        with progress_bar("papers", total, "cells and theorems") as advance:
            report = atlas.verify_papers(missing, size="quick", progress=advance)
        known = atlas.record(code, atlas.judged_by(report, missing))
    return known


def _list(papers: list[Paper], judged: dict[str, dict[str, Any]]) -> None:
    """A line for each statement."""
    table = Table("paper", "statement", "where", "verdict", "read", box=None, pad_edge=False)
    for paper in papers:
        for number, statement in enumerate(paper.statements):
            said = judged[statement.claim.name]
            verdict = said["words"]
            if not said["as_expected"]:
                verdict += f" (expected {statement.claim.expected})"
            head = ("", "") if number else (paper.key, paper.read)
            table.add_row(head[0], statement.claim.name, statement.place, verdict, head[1])
    console_of().print(table)
