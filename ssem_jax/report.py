"""The proof report: one page from which a human can judge every claim.

`write` puts two files into a folder: `report.html`, self-contained (inline CSS and SVG, no script,
nothing is loaded from anywhere), and `report.json`, what `ssem verify --json` prints. Each claim
comes with its statement, its source, its verdict, the figures behind it and a picture drawn from
the very cells or boxes that it was judged on.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ssem_jax import plot, theory
from ssem_jax.certificate import COLLAPSE_TOLERANCE, GAP_TOLERANCE
from ssem_jax.claims import (
    BOUNDARY_BAND,
    EQUALITY_TOLERANCE,
    Cells,
    Claim,
    Judgement,
    Plane,
    Proof,
    Report,
    Theorem,
    Verdict,
    outcomes,
    predict,
)
from ssem_jax.sweep import plain, versions

PAGE, DOCUMENT = "report.html", "report.json"
"""Names of the two files."""
MAPS = 3
"""Shapes of which a map is drawn, at most."""
CURVES = 4
"""Curves in one picture, at most."""
CURVE_POINTS = 161
"""Points of a predicted curve."""

_SYMBOLS = {
    "num_classes": "m",
    "num_instances": "n",
    "num_views": "p",
    "dim": "d",
    "alpha": "α",
    "temperature": "τ",
    "self_pairs": "self pairs",
    "mean": "mean over",
}
_AXIS = {
    "delta2": r"$\delta^2$",
    "view_variance": "view variance",
    "minimum": "minimal loss $L$ (nats)",
    "within_similarity": "within-class similarity",
    "between_similarity": "between-class similarity",
    "total_variance": "total variance",
    "between_variance": "between-class variance",
    "mean_squared": "squared norm of the mean",
}


def write(report: Report, folder: Path) -> Path:
    """Write report.html and report.json.

    Args:
        report: of :func:`ssem_jax.claims.verify`.
        folder: an existing folder.

    Returns:
        The path of report.html.
    """
    document = json.dumps(report.to_json(), indent=2, ensure_ascii=False, default=plain)
    (folder / DOCUMENT).write_text(document, encoding="utf-8")
    path = folder / PAGE
    path.write_text(page(report), encoding="utf-8")
    return path


# ---------------------------------------------------------------------------------------------
# Pictures: which cells show a claim.
# ---------------------------------------------------------------------------------------------


def picture(judgement: Judgement) -> tuple[str, str]:
    """What shows a verdict: an <svg> element (or nothing) and a caption in HTML."""
    evidence, claim = judgement.evidence, judgement.claim
    try:
        if isinstance(evidence, Proof):
            figure, caption = _of_proof(judgement, evidence)
        elif evidence is None or judgement.cells == 0 or isinstance(claim, Theorem):
            figure, caption = None, "No cell counts, so there is nothing to draw."
        elif claim.along is not None:
            figure, caption = _of_windows(judgement, claim, claim.along, evidence)
        elif judgement.worst_deviation is not None:
            figure, caption = _of_equality(claim, evidence)
        else:
            figure, caption = _of_outcomes(judgement, evidence)
    except plot.PlotError as error:
        figure, caption = None, escape(f"No picture: {error}")
    if figure is None:
        return "", caption
    label = f"Picture for {judgement.claim.name}: {re.sub('<[^>]+>', '', caption)}"
    return plot.inline_svg(figure, judgement.claim.name, label), caption


def _of_outcomes(judgement: Judgement, table: pl.DataFrame) -> tuple[Any, str]:
    """Maps over (τ, α) of the shapes that say most."""
    cells = outcomes(judgement.claim, table)
    parts = plot.panels(cells)
    found = judgement.counterexample
    judged = pl.col("outcome").is_in(("holds", "refuted", "undecided"))

    def rank(item: tuple[str, pl.DataFrame]) -> tuple[float, int]:
        """The counterexample's shape first, then those with the most cells that count."""
        counted = item[1].filter(judged)
        first = found is not None and all(item[1][key][0] == found[key] for key in plot.SHAPE)
        return -first, -len(counted)

    counting = [item for item in parts if not item[1].filter(judged).is_empty()]
    chosen = sorted(counting, key=rank)[:MAPS]
    figure = plot.draw_outcomes(chosen, found)
    counts = Counter(cells["outcome"].to_list())
    told = ", ".join(f"{counts[name]} {name}" for name in _OUTCOMES if counts[name])
    return figure, (
        f"{len(chosen)} of {len(parts)} shapes, one square a cell, coloured by the variance found "
        "(white: collapsed). Black line: the boundary that theory gives (solid α<sub>c</sub>, "
        "dashed α<sub>v</sub>); dotted: 1/n and 1/log m. Green dot: the claim holds there; red "
        "cross: refuted; ring: left out; grey: the statement does not speak about it. "
        f"All cells of all shapes: {told}."
    )


_OUTCOMES = ("holds", "refuted", "undecided", "excluded", "outside")


def _of_equality(claim: Claim, table: pl.DataFrame) -> tuple[Any, str]:
    """The prediction as curves through the brackets of one shape; how far all cells deviate."""
    cells = outcomes(claim, table).filter(pl.col("predicted").is_not_null())
    worst = cells.sort(pl.col("outcome") == "refuted", "deviation")[-1]
    x = "alpha" if cells["alpha"].n_unique() > 1 else "temperature"
    other = "temperature" if x == "alpha" else "alpha"
    keys = [*plot.SHAPE, other]
    shown = cells
    if cells[other].n_unique() > 1:  # one shape, several values of the other hyper-parameter
        shown = cells.join(worst.select(plot.SHAPE), on=plot.SHAPE, how="semi", nulls_equal=True)
    groups = _thinned(shown.partition_by(keys, maintain_order=True), worst.row(0, named=True), keys)
    lines, curves = [], []
    for group, label in zip(groups, _labels(groups, keys), strict=True):
        group = group.sort(x)
        lines.append(_bars(group[x], group["observed_lo"], group["observed_hi"], label))
        spaced = np.linspace if x == "alpha" else np.geomspace
        fine = spaced(group[x].min(), group[x].max(), CURVE_POINTS)
        model = group[np.zeros(CURVE_POINTS, int)].with_columns(pl.Series(x, fine))
        curves.append(pl.DataFrame({"x": fine, "predicted": predict(claim, model), "label": label}))
    tolerance = claim.margin(Cells(worst)).tolerance
    rank = plot.Rank(
        cells["deviation"].to_numpy(),
        (cells["outcome"] == "refuted").to_numpy(),
        "largest deviation",
        tolerance,
        True,
    )
    title = "" if cells[other].n_unique() == 1 else _shape_title(worst.row(0, named=True))
    label = _AXIS.get(claim.quantity, claim.quantity)
    figure = plot.draw_brackets(pl.concat(lines), x, label, rank, pl.concat(curves), title)
    return figure, (
        "Left: the prediction (lines) and the certified brackets (bars; a marker in the middle), "
        f"for {'the shape that deviates most' if title else 'several shapes'}. Right: for each of "
        f"all {len(cells)} cells, how far any near-optimal embedding can be from the prediction at "
        f"most; dashed: the tolerance {tolerance:.0e}."
    )


def _of_windows(
    judgement: Judgement, claim: Claim, along: str, table: pl.DataFrame
) -> tuple[Any, str]:
    """Brackets along a coordinate; the margin of all windows."""
    windows = outcomes(claim, table)
    worst = windows.sort("margin_lo")[0].row(0, named=True)
    if judgement.counterexample is not None:
        worst = judgement.counterexample
    if claim.where is not None:
        table = table.filter(pl.Series(np.asarray(claim.where(Cells(table)), bool)))
    keys = [name for name in _SYMBOLS if name not in (along, "dim")]
    bracket = getattr(Cells(table), claim.quantity)
    table = table.with_columns(pl.Series("low", bracket.low), pl.Series("high", bracket.high))
    groups = [
        group
        for group in table.partition_by(keys, maintain_order=True)
        if group[along].n_unique() >= claim.window
    ]
    # Curves that move little say little: pick among the others, evenly.
    moves = [float(group["high"].max() - group["low"].min()) for group in groups]
    least = float(np.quantile(moves, 0.4))
    ordered = [
        groups[place]
        for place in np.argsort(moves, kind="stable")
        if moves[place] > least or _belongs(worst, groups[place], keys)
    ]
    chosen = _thinned(ordered, worst, keys)
    lines = [
        _bars(group[along], group["low"], group["high"], label)
        for group, label in zip(
            (group.sort(along) for group in chosen), _labels(chosen, keys), strict=True
        )
    ]
    refuted = (windows["outcome"] == "refuted").to_numpy()
    rank = plot.Rank(windows["margin_lo"].to_numpy(), refuted, "certified margin", 0.0, False)
    label = _AXIS.get(claim.quantity, claim.quantity)
    figure = plot.draw_brackets(pl.concat(lines), along, label, rank)
    return figure, (
        f"Left: certified brackets along {_SYMBOLS[along]} (bars; a marker in the middle), "
        f"for {len(chosen)} of {len(groups)} sequences of cells, the one that decides the verdict "
        f"first. Right: for each of all {len(windows)} windows of {claim.window} neighbouring "
        "cells, the smallest margin that the brackets allow; the statement holds above the dashed "
        "line at 0"
        + (f" and is refuted at {int(refuted.sum())} red crosses." if any(refuted) else ".")
    )


def _of_proof(judgement: Judgement, proof: Proof) -> tuple[Any, str]:
    """Boxes of a theorem, enclosures, or a point that refutes it."""
    plane = getattr(judgement.claim, "plane", None)
    if proof.parts:
        boundary = None if plane is None else _plane_boundary(plane, proof.parts[0][1].box)
        parts = [(name, part.box, part.done) for name, part in proof.parts]
        figure = plot.draw_cover(parts, boundary, plane.band if plane else 0.0)
        ranges = "; ".join(
            f"{escape(name)}: {part.boxes:,} box{'es' * (part.boxes != 1)} over {_ranges(part.box)}"
            for name, part in proof.parts
        )
        over = (
            " Black lines: the boundaries; yellow: the band that is left out; filled green: where "
            "the statement speaks about this phase (elsewhere it holds trivially)."
            if boundary is not None
            else ""
        )
        return figure, (
            "Each rectangle is a box of parameters on which one evaluation in ball arithmetic "
            "proves the statement for every point at once; together they cover the whole domain "
            f"(drawn over the two parameters that had to be cut most).{over} {ranges}."
        )
    if proof.gaps:
        gaps = np.array(proof.gaps)
        rank = plot.Rank(gaps, np.zeros(len(gaps), bool), "certified gap", GAP_TOLERANCE, True)
        return plot.draw_ranks(rank), (
            f"Gaps of the {len(gaps)} certified cells that the statement was checked on, from the "
            f"smallest to the largest; dashed: the largest that counts as certified, "
            f"{GAP_TOLERANCE:.0e}."
        )
    if proof.widths:
        widths = np.array(proof.widths)
        rank = plot.Rank(widths, np.zeros(len(widths), bool), "width of the enclosure", None, True)
        return plot.draw_ranks(rank), (
            f"Widths of the {len(widths)} enclosures of the minimal loss, from the smallest to the "
            "largest: the true minimum over all embeddings lies in each of them."
        )
    if plane is not None and plane.point is not None:
        tau = plane.point[0]
        boundary = _plane_boundary(plane, {"temperature": (tau / 8, tau * 4)})
        names = ("called safe by the sentence", r"boundary $\alpha_c(\tau)$", "the counterexample")
        return plot.draw_corner(boundary, plane.point, names), (
            f"m = {plane.num_classes}, n = {plane.num_instances}, p = {plane.num_views}: the red "
            "cross is a corner of the hatched region that the sentence calls safe, yet it lies "
            "in the grey region below the boundary, where collapse is optimal. Ball arithmetic "
            "proves it at this point."
        )
    return (
        None,
        f"Checked case by case: {judgement.looked_at}, {judgement.undecided:,} undecided.",
    )


def _plane_boundary(plane: Plane, box: Mapping[str, tuple[float, float]]) -> pl.DataFrame:
    """The closed-form boundaries of a plane over a range of temperatures."""
    shape = (plane.num_classes, plane.num_instances, plane.num_views)
    tau = np.geomspace(*box["temperature"], CURVE_POINTS)
    columns = {
        "alpha_c": theory.alpha_c(*shape, tau, plane.self_pairs),
        "alpha_v": theory.alpha_v(*shape, tau, plane.self_pairs),
    }
    return pl.DataFrame({"temperature": tau} | {k: np.asarray(v) for k, v in columns.items()})


def _ranges(box: Mapping[str, tuple[float, float]]) -> str:
    return ", ".join(
        f"{escape(_SYMBOLS.get(name, name.replace('_', ' ')))} in [{low:.6g}, {high:.6g}]"
        for name, (low, high) in box.items()
    )


def _thinned(
    groups: list[pl.DataFrame], worst: dict[str, Any], keys: Sequence[str]
) -> list[pl.DataFrame]:
    """At most `CURVES` groups, evenly, with the one that a given cell belongs to."""
    own = [group for group in groups if _belongs(worst, group, keys)][:1]
    rest = [g for g in groups if not own or g is not own[0]]
    places = np.linspace(0, len(rest) - 1, min(CURVES - len(own), len(rest))).round().astype(int)
    return own + [rest[place] for place in dict.fromkeys(places.tolist())]


def _belongs(row: dict[str, Any], group: pl.DataFrame, keys: Sequence[str]) -> bool:
    return all(group[key][0] == row[key] for key in keys)


def _labels(groups: list[pl.DataFrame], keys: Sequence[str]) -> list[str]:
    """What tells groups apart: the values of the keys that vary among them."""
    symbols = {key: symbol for key, symbol in _SYMBOLS.items() if key in {*keys, "num_instances"}}
    if "sizes" in keys:
        symbols |= {key: _SYMBOLS[key] for key in ("num_classes", "num_views")}
    rows = [group.row(0, named=True) for group in groups]
    varying = [key for key in symbols if len({row[key] for row in rows}) > 1]
    varying = [key for key in varying if all(group[key].n_unique() == 1 for group in groups)]
    return [
        ", ".join(f"{symbols[key]} = {_value(row[key])}" for key in varying) or f"case {place + 1}"
        for place, row in enumerate(rows)
    ]


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _bars(x: pl.Series, low: pl.Series, high: pl.Series, label: str) -> pl.DataFrame:
    columns = {"x": x.cast(pl.Float64), "low": low, "high": high}
    return pl.DataFrame(columns).with_columns(label=pl.lit(label))


def _shape_title(row: dict[str, Any]) -> str:
    keys = ("num_classes", "num_instances", "num_views", "dim")
    return ", ".join(f"{_SYMBOLS[key]} = {row[key]}" for key in keys)


# ---------------------------------------------------------------------------------------------
# The page.
# ---------------------------------------------------------------------------------------------

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #586069; --paper: #ffffff;
  --card: #f5f6f8; --rule: #d5d9de; --link: #0b57a4; --holds: #0a6b4b; --proven: #0b4f94;
  --refuted: #a3001b; --undecided: #7a4d00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --soft: #a8b0b8; --paper: #15181b;
  --card: #1f2327; --rule: #3a4046; --link: #7db8ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; }
h1 { line-height: 1.2; margin: 0 0 .3rem; } h2 { margin: 2.5rem 0 .8rem; }
h3 { margin: 0; font-size: 1.1rem; overflow-wrap: anywhere; }
a { color: var(--link); } .soft { color: var(--soft); }
.badge { display: inline-block; padding: .05rem .55rem; border-radius: .3rem; color: #fff;
  font-size: .85rem; font-weight: 700; letter-spacing: .03em; white-space: nowrap; }
.HOLDS { background: var(--holds); } .PROVEN { background: var(--proven); }
.REFUTED { background: var(--refuted); } .UNDECIDED { background: var(--undecided); }
.counts { display: flex; flex-wrap: wrap; gap: .6rem; padding: 0; list-style: none; }
.counts li { background: var(--card); border: 1px solid var(--rule); border-radius: .4rem;
  padding: .5rem .9rem; } .counts b { font-size: 1.5rem; margin-right: .4rem; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--rule);
  vertical-align: top; } td.number, th.number { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; } .scroll { overflow-x: auto; }
article { border: 1px solid var(--rule); border-radius: .5rem; padding: 1rem 1.2rem;
  margin: 1.2rem 0; break-inside: avoid; }
article header { display: flex; flex-wrap: wrap; gap: .7rem; align-items: center; }
.statement { font-size: 1.08rem; margin: .6rem 0 .3rem; } .source { margin: 0; font-size: .9rem; }
dl { display: flex; flex-wrap: wrap; gap: .3rem 1.6rem; margin: .8rem 0; font-size: .9rem; }
dl div { display: flex; gap: .4rem; } dt { color: var(--soft); } dd { margin: 0;
  font-variant-numeric: tabular-nums; }
.counterexample { border-left: .3rem solid var(--refuted); background: var(--card);
  padding: .4rem .9rem; margin: .8rem 0; } .counterexample p { margin: .2rem 0; }
figure { margin: .8rem 0 0; } figcaption { font-size: .85rem; color: var(--soft);
  margin-top: .4rem; }
figure svg { display: block; max-width: 100%; height: auto; background: #fff; border-radius: .3rem;
  stroke-linejoin: round; font-family: "DejaVu Sans", Verdana, sans-serif; }
.legend dt { font-weight: 600; color: var(--ink); } .legend { display: block; font-size: .95rem; }
.legend div { display: block; margin: .5rem 0; }
@media print { body { max-width: none; padding: 0; font-size: 11px; } article { padding: .6rem; }
  a { color: inherit; text-decoration: none; } .badge { print-color-adjust: exact; } }
"""


def page(report: Report) -> str:
    """The page as text."""
    document = report.to_json()
    cells = [j for j in report.judgements if isinstance(j.claim, Claim)]
    theorems = [j for j in report.judgements if not isinstance(j.claim, Claim)]
    sections = [
        f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{intro}'
        f"{''.join(map(_article, judgements))}</section>"
        for name, title, intro, judgements in (
            ("cells", "Claims judged on certified cells", "", cells),
            (
                "theorems",
                "Theorems",
                "<p>These are about continuous ranges of the parameters, or about enclosures that "
                "no rounding error can break, and are proven in ball arithmetic. Where the verdict "
                "is HOLDS, certified cells of other losses were checked one by one.</p>",
                theorems,
            ),
        )
        if judgements
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<title>Proof report: class collapse in contrastive learning</title>"
        f"<style>{_STYLE}</style></head><body>"
        "<header><h1>Proof report: class collapse in supervised contrastive learning</h1>"
        f"{_summary(report, document)}</header><main>{_legend()}{_contents(report)}"
        f"{''.join(sections)}</main>{_footer(document)}</body></html>\n"
    )


def _summary(report: Report, document: dict[str, Any]) -> str:
    counts = Counter(judgement.verdict for judgement in report.judgements)
    tiles = "".join(
        f'<li><b>{counts[verdict]}</b><span class="badge {verdict}">{verdict}</span></li>'
        for verdict in Verdict
        if counts[verdict]
    )
    unexpected = [j.claim.name for j in report.judgements if not j.as_expected]
    agreement = (
        "Every verdict is the one that theory gives."
        if not unexpected
        else "Not as theory says: "
        + ", ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in unexpected)
        + "."
    )
    apart = document["low_dimensional"]["cells"]
    proofs = [j.proof for j in report.judgements if j.proof is not None]
    boxes = sum(proof.boxes for proof in proofs)
    enclosures = sum(proof.enclosures for proof in proofs)
    facts = {
        "certified cells": f"{document['certified']:,} of {document['cells']:,}",
        "worst gap": _number(document["worst_gap"]),
        "cells in lower dimension, counted apart": f"{apart:,}" if apart else None,
        "boxes": f"{boxes:,}" if boxes else None,
        "enclosures": f"{enclosures:,}" if enclosures else None,
        "widest enclosure": _number(report.widest_enclosure),
        "size of the run": report.size,
        "seed": str(report.seed),
        "wall time": f"{report.seconds:.0f} s",
        "written": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }
    return (
        f'<ul class="counts" aria-label="Verdicts">{tiles}</ul>'
        f"<p><strong>{agreement}</strong></p>{_facts(facts)}"
    )


def _legend() -> str:
    return f"""<section aria-labelledby="legend"><h2 id="legend">How to read this page</h2>
<p>A network trained with a supervised contrastive loss places images on a unit sphere. If all
images of a class end on one point, the class has <em>collapsed</em>. The theory predicts, for
m classes, n instances per class, p views of each, a mixing coefficient α and a temperature τ, when
that happens, and how large the variance δ² within a class is otherwise. This page checks those
predictions without assuming them.</p>
<dl class="legend">
<div><dt>Cell</dt><dd>One choice of all parameters. Its embeddings are minimised freely from random
starts; no formula of the theory takes part.</dd></div>
<div><dt>Certified</dt><dd>The loss is a convex function of the inner products of the embeddings, so
duality gives a lower bound that <em>no</em> embedding in any dimension can beat. The <em>gap</em>
is the distance from what was found to this bound; a cell is certified if it is at most
{GAP_TOLERANCE:.0e}. From the gap follow <em>brackets</em>: intervals that contain the quantity for
every embedding that is as good. Verdicts rest on brackets, not on where the optimiser stopped. The
margin of a claim is positive where it holds.</dd></div>
<div><dt><span class="badge HOLDS">HOLDS</span></dt><dd>True in every certified cell that counts: an
exhaustive check of those cells, not a proof for others.</dd></div>
<div><dt><span class="badge PROVEN">PROVEN</span></dt><dd>True for every point of a continuous range
of parameters, or of an enclosure, in ball arithmetic: intervals that contain all rounding
errors.</dd></div>
<div><dt><span class="badge REFUTED">REFUTED</span></dt><dd>A certified counterexample exists, and
is shown. <em>A refuted sentence is not a refuted paper:</em> the source of each claim says whose
sentence it is. Some are rules of thumb, summaries or readings that go beyond the conditions of a
theorem; they are listed because they are in use, and it is expected that they fail.</dd></div>
<div><dt><span class="badge UNDECIDED">UNDECIDED</span></dt><dd>The certificate was not tight
enough, or nothing counted. Nothing is ever rounded up.</dd></div>
<div><dt>Tolerances</dt><dd>A cell is collapsed if the bracket of δ² ends below
{COLLAPSE_TOLERANCE:.0e}. An equality needs the prediction inside the bracket and, unless the claim
says otherwise, a bracket narrower than {EQUALITY_TOLERANCE:.0e}. Claims about phases leave out
cells with α within {BOUNDARY_BAND:.0e} of a boundary and count them apart.</dd></div>
<div><dt>Conventions</dt><dd>Published code disagrees on whether the pair of an embedding with
itself counts. The phases depend on it, so claims say “self pairs included” or
“excluded”.</dd></div>
</dl></section>"""


def _contents(report: Report) -> str:
    rows = "".join(
        f'<tr><td><a href="#{escape(j.claim.name)}">{escape(j.claim.name)}</a></td>'
        f"<td>{_source(j.claim.source.split(';')[0])}</td>"
        f'<td class="number">{j.looked_at}</td><td class="number">{_number(j.worst_gap)}</td>'
        f'<td class="number">{_number(j.proof and j.proof.width)}</td>'
        f'<td class="number">{_number(j.worst_deviation)}</td><td>{_badge(j)}</td></tr>'
        for j in report.judgements
    )
    return (
        '<section aria-labelledby="contents"><h2 id="contents">All claims</h2>'
        '<div class="scroll"><table><thead><tr><th scope="col">claim</th>'
        '<th scope="col">who says so</th><th scope="col" class="number">looked at</th>'
        '<th scope="col" class="number">worst gap</th>'
        '<th scope="col" class="number">widest enclosure</th>'
        '<th scope="col" class="number">worst deviation</th>'
        f'<th scope="col">verdict</th></tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _article(judgement: Judgement) -> str:
    claim = judgement.claim
    svg, caption = picture(judgement)
    looked_at = judgement.looked_at
    if isinstance(claim, Claim) and claim.along is not None:
        looked_at = f"{judgement.cells:,} windows of {claim.window} cells"
    facts = {
        "looked at": looked_at,
        "left out": f"{judgement.excluded:,} near a boundary" if judgement.excluded else None,
        "undecided": f"{judgement.undecided:,}" if judgement.undecided else None,
        "worst gap": _number(judgement.worst_gap),
        "widest enclosure": _number(judgement.proof and judgement.proof.width),
        "worst deviation": _number(judgement.worst_deviation),
        "smallest margin": _number(judgement.margin),
    }
    reason = f"<p>{escape(judgement.reason[:1].upper() + judgement.reason[1:])}</p>"
    return (
        f'<article id="{escape(claim.name)}"><header><h3>{escape(claim.name)}</h3>'
        f'{_badge(judgement)}<span class="soft">{_expectation(judgement)}</span></header>'
        f'<p class="statement">{_formula(claim.statement)}</p>'
        f'<p class="source soft">Source: {_source(claim.source) or "none given"}</p>{_facts(facts)}'
        f"{reason if judgement.reason else ''}{_counterexample(judgement)}"
        f"<figure>{svg}<figcaption>{caption}</figcaption></figure></article>"
    )


def _badge(judgement: Judgement) -> str:
    mark = "" if judgement.as_expected else " (unexpected)"
    return f'<span class="badge {judgement.verdict}">{judgement.verdict}{mark}</span>'


def _expectation(judgement: Judgement) -> str:
    if judgement.claim.expected is None:
        return "a conjecture: no verdict is expected"
    if judgement.as_expected:
        return "as expected"
    return f"expected {judgement.claim.expected}"


def _formula(text: str) -> str:
    """Escaped, with x_c as a subscript and e^{…} as an exponent."""
    text = re.sub(r"\^\{([^}]*)\}", r"<sup>\1</sup>", escape(text))
    return re.sub(r"(?<!\w)(\w)_(\w)(?!\w)", r"\1<sub>\2</sub>", text)


def _source(source: str) -> str:
    """The source, with a link to each arXiv paper."""
    link = r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>'
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", link, _formula(source))


def _counterexample(judgement: Judgement) -> str:
    row = judgement.counterexample
    if row is None:
        return ""
    if "delta2_lo" not in row:  # of a theorem: the point itself
        return _box("Counterexample, proven", [{name: str(value) for name, value in row.items()}])
    cells = [row, *row.get("followed_by", ())]
    return _box(
        "Smallest counterexample, certified"
        + (": cells that follow one another" if len(cells) > 1 else ""),
        [
            {_SYMBOLS[name]: _value(cell[name]) for name in _SYMBOLS if cell[name] is not None}
            | {
                "loss found": f"{cell['value']:.12g}",
                "no embedding below": f"{cell['lower']:.12g}",
                "gap": _number(cell["gap"]),
                "δ²": f"in [{cell['delta2_lo']:.4g}, {cell['delta2_hi']:.4g}]",
                "view variance": f"in [{cell['view_variance_lo']:.4g}, "
                f"{cell['view_variance_hi']:.4g}]",
                "phase": cell["phase"].replace("_", "-"),
            }
            for cell in cells
        ],
    )


def _box(title: str, rows: list[dict[str, str]]) -> str:
    facts = "".join(_facts(row) for row in rows)
    return f'<div class="counterexample"><p><strong>{title}</strong></p>{facts}</div>'


def _facts(facts: Mapping[str, str | None]) -> str:
    """Pairs of a name and a value; those without a value are left out."""
    pairs = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in facts.items()
        if value
    )
    return f"<dl>{pairs}</dl>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}".replace("-", "−")


def _footer(document: dict[str, Any]) -> str:
    made = ", ".join(f"{escape(name)} {escape(it)}" for name, it in versions().items())
    return (
        f'<footer class="soft"><p>Made by <code>ssem verify</code> with seed {document["seed"]}: '
        f"{made}. The same figures are in {DOCUMENT} beside this page.</p></footer>"
    )
