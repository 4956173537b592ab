"""ssem verify."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

if TYPE_CHECKING:
    from ssem_jax.claims.collection import Report
from ssem_jax.cli.console import (
    AS_EXPECTED,
    NOT_AS_EXPECTED,
    Answer,
    JsonOption,
    OutOption,
    SeedOption,
    app,
    console_of,
    counterexample_text,
    folder_named,
    number_text,
    progress_bar,
    set_up,
    verdict_text,
    writable,
)


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
    papers: Annotated[
        bool,
        typer.Option("--papers", help="Judge what papers state instead; see `ssem papers`."),
    ] = False,
    out: OutOption = None,
    certificates: Annotated[
        Path | None,
        typer.Option(
            help="Folder for a file of every certified cell, which an independent program checks.",
            show_default=False,
            parser=folder_named,
            metavar="PATH",
        ),
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> int | Answer:
    """Judge every shipped claim of the theory on certified cells.

    Free embeddings are minimised from random starts over a grid of classes, instances, views, dim,
    alpha and temperature, in both pair conventions. Each cell is certified by duality, and each
    claim gets one of three verdicts: HOLDS on all certified cells, REFUTED by a certified
    counterexample, or UNDECIDED. With --rigorous, statements about continuous boxes of parameters
    are PROVEN in interval arithmetic, and minima are enclosed beyond any rounding. With
    --certificates, every certified cell is written to a file, which proofs_numeric/check.py proves
    in exact arithmetic. With --papers, what published papers state is judged instead, at the quick
    size unless --full is given. The exit code is 0 if all verdicts are those that theory gives, and
    all files are proven.
    """
    if quick and full:
        raise ValueError("--quick and --full exclude each other; give one of them.")
    set_up()
    import proofs_numeric.papers
    from ssem_jax.claims import atlas, claim
    from ssem_jax.claims import collection as collection_file
    from ssem_jax.claims.paper import claims_of, collect_papers
    from ssem_jax.compute import cache

    modules = proofs_numeric.papers.modules() if papers else []
    stated = collect_papers(modules)
    if papers:
        collection, theorems = claims_of(stated)
    else:
        collection = claim.collect(proofs_numeric.modules())
        theorems = claim.collect_theorems(proofs_numeric.modules()) if rigorous else []
    size = "full" if full else "quick" if quick or papers else "default"
    total = collection_file.num_steps(collection, theorems, size)
    cells = None if out is None else str(writable(out) / "cells")
    with progress_bar("verify", total, "cells and theorems" if theorems else "cells") as advance:
        report = collection_file.verify(
            collection, theorems=theorems, size=size, seed=seed, out=cells, progress=advance
        )
    if certificates is not None:
        report = _with_certificates(report, writable(certificates, "--certificates"))
    judged = atlas.judged_by(report, stated) if papers else {}
    if papers:
        atlas.record(atlas.code_of(modules), judged)
    if out is not None:
        from ssem_jax.show.report import write as write_report

        write_report(report, out, stated, judged)
    cache.record_verdicts({j.claim.name: str(j.verdict) for j in report.judgements})
    code = AS_EXPECTED if report.as_expected else NOT_AS_EXPECTED
    if as_json:
        return Answer(code, report.to_json())
    _show_report(report)
    if out is not None:
        print(f"Cells, report.html and report.json are in {out}.")
    if certificates is not None:
        print(f"Certificates are in {certificates}; `ssem check {certificates}` checks them again.")
    return code


def _with_certificates(report: Report, folder: Path) -> Report:
    """The report, and what an independent program says of a file for every certified cell."""
    import polars as pl

    from ssem_jax.certificate.certificate import GAP_TOLERANCE
    from ssem_jax.claims.replay import export_counterexample
    from ssem_jax.sweeps.exports import checked, export_cells

    total = int((report.table["gap"] <= GAP_TOLERANCE).sum())
    with progress_bar("certificates", total, "files") as advance:
        files = export_cells(report.table.drop("attainable"), folder, progress=advance)
    for judgement in report.judgements:
        if isinstance(judgement.evidence, pl.DataFrame):
            files += export_counterexample(judgement, folder)
    return dataclasses.replace(report, checked=checked(files))


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
            number_text(judgement.worst_gap),
            number_text(judgement.proof and judgement.proof.width),
            number_text(judgement.worst_deviation),
            verdict_text(judgement),
        )
    console = console_of()
    console.print(table)
    for judgement in report.judgements:
        if judgement.counterexample is not None:
            console.print(
                f"\n{judgement.claim.name} is {judgement.words}: {judgement.claim.statement}"
            )
            console.print(f"  smallest counterexample: {counterexample_text(judgement)}")
        elif judgement.reason:
            console.print(f"\n{judgement.claim.name}: {judgement.reason}")
    summary = report.to_json()
    console.print(
        f"\n{summary['certified']} of {summary['cells']} cells certified, worst gap "
        f"{number_text(summary['worst_gap'])}, in {report.seconds:.0f} s; "
        f"{summary['low_dimensional']['cells']} cells of lower dimension, where a gap is expected, "
        "are counted apart."
    )
    if report.checked is not None:
        megabytes = report.checked.bytes / 2**20
        console.print(f"Files {report.checked.words}, {megabytes:.1f} MiB of certificates.")
        for said in report.checked.failures:
            console.print(said, markup=False)
    unexpected = [j.claim.name for j in report.judgements if not j.as_expected]
    console.print(
        "Every verdict is the one that theory gives."
        if not unexpected
        else f"Not as theory says: {', '.join(unexpected)}."
    )
