"""The atlas of papers, judged: verdicts by paper, kept as long as no line of code has changed.

What is kept is what :meth:`Judgement.to_json` says, with the counts in words and the numbers that
stand beside a statement's own, under a digest of this package and of the modules that state.
"""

from __future__ import annotations

import hashlib
import json
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ssem_jax.claims.collection import Report, verify
from ssem_jax.claims.judgements import Judgement
from ssem_jax.claims.paper import Paper, Statement, claims_of
from ssem_jax.compute import cache
from ssem_jax.compute.identity import own_code

FILE = "papers.json"
"""In the cache folder: the verdicts last judged, and of which code."""

Judged = dict[str, dict[str, Any]]
"""What became of every claim, by name."""


def verify_papers(papers: Iterable[Paper], **options: Any) -> Report:
    """Judge every statement of some papers; `options` are those of :func:`verify`.

    Args:
        papers: for example `collect_papers(proofs_numeric.papers.modules())`.
    """
    claims, theorems = claims_of(papers)
    return verify(claims, theorems=theorems, **options)


def judged_by(report: Report, papers: Iterable[Paper]) -> Judged:
    """What a report says of every claim, and the numbers that papers have beside it."""
    judged = {judgement.claim.name: _said(judgement) for judgement in report.judgements}
    for paper in papers:
        for statement in paper.statements:
            rows = statement.beside() if statement.beside else ()
            judged[statement.claim.name]["beside"][paper.key] = [
                row._asdict() | {"deviation": row.deviation} for row in rows
            ]
    return judged


def _said(judgement: Judgement) -> dict[str, Any]:
    return judgement.to_json() | {
        "words": judgement.words,
        "looked_at": judgement.looked_at,
        "as_expected": judgement.as_expected,
        "beside": {},
    }


def to_json(papers: Iterable[Paper], judged: Judged) -> list[dict[str, Any]]:
    """The document of `ssem papers --json`."""
    return [
        {
            "key": paper.key,
            "title": paper.title,
            "read": paper.read,
            "statements": [
                {
                    "name": statement.claim.name,
                    "statement": statement.claim.statement,
                    "place": statement.place,
                    "verdict": judged[statement.claim.name]["verdict"],
                    "expected": str(statement.claim.expected),
                    "counterexample": judged[statement.claim.name]["counterexample"],
                    "beside": judged[statement.claim.name]["beside"].get(paper.key, []),
                }
                for statement in paper.statements
            ],
        }
        for paper in papers
    ]


# ---------------------------------------------------------------------------- what is printed

_WIDTH = 96
"""Characters of a line of a page."""


def page(paper: Paper, judged: Judged) -> str:
    """A paper on one page of a terminal."""
    lines = [
        paper.title,
        *_wrapped(f"{', '.join(paper.authors)} ({paper.venue}; {paper.identifier})", ""),
        *_wrapped(f"read: {paper.read}. {paper.reading}", ""),
        "",
        "notation",
    ]
    width = max((len(theirs) for theirs, _ in paper.notation), default=0)
    for theirs, ours in paper.notation:
        lines += _wrapped(f"{theirs:<{width}}  {ours}", "  ", " " * (width + 4))
    if paper.picture is not None:
        lines += ["", *_wrapped(f"picture (--plot FILE): {paper.picture.caption}", "", "  ")]
    for statement in paper.statements:
        said = judged[statement.claim.name]
        lines += ["", *_told(statement, said, said["beside"].get(paper.key, []))]
    return "\n".join(lines)


def _wrapped(text: str, first: str, rest: str | None = None) -> list[str]:
    rest = first if rest is None else rest
    return textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


def _told(
    statement: Statement, said: dict[str, Any], beside: list[dict[str, Any]]
) -> Iterator[str]:
    """A statement, its verdict, and what both rest on."""
    claim = statement.claim
    yield f"{said['words']}  {claim.name} ({statement.place})"
    yield from _wrapped(claim.statement, "  ")
    if statement.hypotheses:
        yield from _wrapped(f"under: {statement.hypotheses}", "  ", "    ")
    facts = [f"judged on {said['looked_at']}"]
    if said["worst_gap"] is not None:
        facts.append(f"worst gap {said['worst_gap']:.1e}")
    if not said["as_expected"]:
        facts.append(f"expected {claim.expected}")
    yield from _wrapped(", ".join(facts), "  ", "    ")
    if said["counterexample"]:
        what = ", ".join(f"{k}={v}" for k, v in _coordinates(said["counterexample"]).items())
        yield from _wrapped(f"fails at {what}: this sentence, not the paper", "  ", "    ")
    elif said["reason"]:
        yield from _wrapped(said["reason"], "  ", "    ")
    for row in beside:
        yield from _wrapped(
            "{what}: stated {stated:.10g}, computed {computed:.10g}, deviation "
            "{deviation:.1e}".format(**row),
            "  ",
            "    ",
        )
    if statement.lesson:
        yield from _wrapped(f"lesson: {statement.lesson}", "  ", "    ")
    if statement.snippet:
        yield textwrap.indent("\n" + statement.snippet.strip() + "\n", "    ")


_COORDINATES = ("sizes", "num_views", "dim", "alpha", "temperature", "self_pairs", "phase")
"""Of a row of the table of cells, what places it and what it shows."""


def _coordinates(row: dict[str, Any]) -> dict[str, Any]:
    """A cell's coordinates; a theorem's counterexample is nothing else."""
    return {name: row[name] for name in _COORDINATES} if "dim" in row else row


# ------------------------------------------------------------------------------ what is kept


def code_of(modules: Iterable[ModuleType]) -> str:
    """A digest of this package and of the packages, or files, of the modules that state."""
    sources: set[Path] = set()
    for module in modules:
        home = sys.modules[module.__name__.partition(".")[0]]
        file = Path(str(home.__file__))
        sources |= {*file.parent.rglob("*.py")} if hasattr(home, "__path__") else {file}
    found = hashlib.sha256(own_code().encode())
    for path in sorted(sources):
        found.update(path.read_bytes())
    return found.hexdigest()


def recall(code: str) -> Judged:
    """What was judged by this code; empty if nothing was."""
    found = cache.recall(FILE)
    judged = found.get("judged") if found.get("code") == code else None
    return judged if isinstance(judged, dict) else {}


def record(code: str, judged: Judged) -> Judged:
    """Remember it beside what this code judged before, and give both."""
    known = recall(code)
    for name, said in judged.items():
        kept = known.get(name, {}).get("beside", {})
        known[name] = said | {"beside": kept | said["beside"]}
    cache.record(FILE, {"code": code, "judged": json.loads(json.dumps(known, default=str))})
    return known


def is_judged(paper: Paper, known: Judged) -> bool:
    """Whether all that a paper states was judged, numbers beside it included."""
    return all(
        paper.key in known.get(statement.claim.name, {}).get("beside", {})
        for statement in paper.statements
    )
