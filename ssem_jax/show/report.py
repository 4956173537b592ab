"""The proof report: one page from which a human can judge every claim.

`write` puts two files into a folder: `report.html`, self-contained (inline CSS and SVG, nothing is
loaded from anywhere), and `report.json`, what `ssem verify --json` prints. Each claim
comes with its statement, its source, its verdict, the figures behind it and a picture drawn from
the very cells or boxes that it was judged on. Where papers were judged, each has its notation, its
statements, stated numbers beside computed ones, a picture and its BibTeX, and a few lines of script
search them.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from ssem_jax.certificate.certificate import COLLAPSE_TOLERANCE, GAP_TOLERANCE
from ssem_jax.claims.atlas import Judged
from ssem_jax.claims.cells import BOUNDARY_BAND
from ssem_jax.claims.claim import Claim, Verdict
from ssem_jax.claims.collection import Report
from ssem_jax.claims.interval import EQUALITY_TOLERANCE
from ssem_jax.claims.judgements import Judgement
from ssem_jax.claims.paper import Paper, Statement
from ssem_jax.show.papers import PLACES, draw_paper
from ssem_jax.show.pictures import picture
from ssem_jax.show.svg import inline_svg
from ssem_jax.sweeps.document import write as write_document
from ssem_jax.sweeps.folder import versions
from ssem_jax.sweeps.words import COORDINATES, number, plain

PAGE, DOCUMENT = "report.html", "report.json"
"""Names of the two files."""


def write(
    report: Report, folder: Path, papers: Iterable[Paper] = (), judged: Judged | None = None
) -> Path:
    """Write report.html and report.json.

    Args:
        report: of :func:`ssem_jax.claims.verify`.
        folder: an existing folder.
        papers: whose statements were judged; each gets its notation and its list of verdicts.
        judged: of :func:`ssem_jax.claims.atlas.judged_by`, for numbers beside those of papers.

    Returns:
        The path of report.html.
    """
    text = write_document(report.to_json(), ascii=False)
    (folder / DOCUMENT).write_text(text, encoding="utf-8")
    path = folder / PAGE
    path.write_text(page(report, papers, judged or {}), encoding="utf-8")
    return path


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


def page(report: Report, papers: Iterable[Paper] = (), judged: Judged | None = None) -> str:
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
        f"{_papers(report, papers, judged or {})}{''.join(sections)}</main>"
        f"{_footer(document)}</body></html>\n"
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
        "checked by an independent program": report.checked and report.checked.words.split(": ")[1],
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


_SEARCH = """<p><label>Search papers, statements, notation:
<input type="search" id="find"></label> <span id="found" class="soft" role="status"></span></p>
<script>
const find = document.getElementById("find"), found = document.getElementById("found");
find.addEventListener("input", () => {
  const articles = [...document.querySelectorAll("article[id^=paper-]")];
  const words = find.value.toLowerCase().split(/\\s+/);
  for (const article of articles) {
    const text = article.textContent.toLowerCase();
    article.hidden = !words.every((word) => text.includes(word));
  }
  const left = articles.filter((article) => !article.hidden).length;
  found.textContent = find.value ? `${left} of ${articles.length} papers` : "";
});
</script>"""


def _papers(report: Report, papers: Iterable[Paper], judged: Judged) -> str:
    """Paper by paper: what was read, its notation, and what became of its statements."""
    badges = {judgement.claim.name: _badge(judgement) for judgement in report.judgements}
    articles = "".join(_paper(paper, badges, judged) for paper in papers)
    title = '<section aria-labelledby="papers"><h2 id="papers">Paper by paper</h2>'
    return f"{title}{_SEARCH}{articles}</section>" if articles else ""


def _paper(paper: Paper, badges: Mapping[str, str], judged: Judged) -> str:
    def stated(statement: Statement) -> str:
        name = escape(statement.claim.name)
        return (
            f'<tr><td>{escape(statement.place)}</td><td><a href="#{name}">{name}</a><br>'
            f"{_formula(statement.claim.statement)}</td><td>{badges[statement.claim.name]}</td>"
            f"<td>{_formula(statement.hypotheses)}</td><td>{_formula(statement.lesson)}</td></tr>"
        )

    rows = [
        row
        for statement in paper.statements
        for row in judged.get(statement.claim.name, {}).get("beside", {}).get(paper.key, [])
    ]
    beside = "".join(
        f'<tr><td>{_formula(row["what"])}</td><td class="number">{row["stated"]:.10g}</td>'
        f'<td class="number">{row["computed"]:.10g}</td>'
        f'<td class="number">{_number(row["deviation"])}</td></tr>'
        for row in rows
    )
    return (
        f'<article id="paper-{escape(paper.key)}"><header><h3>{escape(paper.title)}</h3>'
        f'<code>{escape(paper.key)}</code><span class="soft">{escape(paper.read)}</span></header>'
        f'<p class="source">{escape(", ".join(paper.authors))}, {escape(paper.venue)}, '
        f"{_source(paper.identifier)}. Read: {escape(paper.reading)}</p>"
        + _facts(dict(paper.notation))
        + _table(
            ("where", "statement", "verdict", "under", "lesson"), map(stated, paper.statements)
        )
        + (_table(("number", "stated", "computed", "deviation"), [beside]) if beside else "")
        + _sketch(paper)
        + f"<details><summary>BibTeX</summary><pre>{escape(paper.bibtex)}</pre></details></article>"
    )


def _table(head: Iterable[str], rows: Iterable[str]) -> str:
    names = "".join(f'<th scope="col">{name}</th>' for name in head)
    return (
        f'<div class="scroll"><table><thead><tr>{names}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _sketch(paper: Paper) -> str:
    """Its picture, if it has one."""
    if paper.picture is None:
        return ""
    caption = escape(paper.picture.caption)
    figure = draw_paper(paper.picture, paper.picture.table(PLACES // 2))  # half of the seconds
    svg = inline_svg(figure, f"picture-{paper.key}", f"Picture for {paper.key}: {caption}")
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


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
    return f'<span class="badge {judgement.verdict}">{judgement.words}{mark}</span>'


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
            {plain(name): number(cell[name]) for name in COORDINATES if cell[name] is not None}
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
