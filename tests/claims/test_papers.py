"""Papers as programs: what a paper is, its page, what is kept, and verdicts."""

import dataclasses
import inspect
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from proofs_numeric import papers
from proofs_numeric.papers import cells, cho2024, kini2024, lee2024, lee2025, luthra2025, vock2026
from ssem_jax import show
from ssem_jax.claims import (
    Beside,
    Paper,
    Picture,
    Point,
    Proof,
    Statement,
    Theorem,
    Verdict,
    atlas,
    collect_papers,
)
from ssem_jax.claims import judge_theorem as judge
from ssem_jax.claims.collection import num_steps
from ssem_jax.claims.paper import READ, claims_of
from ssem_jax.cli import entry

ATLAS = collect_papers(papers.modules())
LONGEST = 150
"""Lines of a paper's module."""
FALSE = Theorem("wrong", "1 = 2", lambda: Proof(False, {"x": 1}), "s", Verdict.REFUTED)
TRUE = Theorem("right", "1 = 1", lambda: Proof(True, signs=1, rigorous=True), "s")


def a_paper(**changes):
    stated = (Statement(FALSE, "abstract"), Statement(TRUE, "Theorem 1", beside=lambda: [NUMBER]))
    fields = {
        "key": "nobody2026",
        "title": "On One",
        "authors": ("A. Nobody", "B. Nobody"),
        "year": 2026,
        "identifier": "arXiv:2600.00000",
        "venue": "a journal",
        "read": "abstract only",
        "reading": "The abstract.",
        "notation": (("k", "num_classes"),),
        "statements": stated,
        "picture": PICTURE,
    }
    return Paper(**(fields | changes))


NUMBER = Beside("one", 1.0, 1.25)
PICTURE = Picture(
    across="x",
    up="y",
    caption="One stays one.",
    points=lambda places: [
        point
        for x in range(places)
        for point in (Point("found", x, 0.75, 1.25), Point("stated", x, 1.0))
    ],
    marks={"here": 2},
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": "two words"}, "a claim's name must be up to 100 letters"),
        ({"read": "skimmed"}, "what was read of nobody2026 must be one of 'theorem read'"),
        ({"title": 3}, "nobody2026: title must be a text"),
        ({"year": "soon"}, "nobody2026: year must be an integer"),
        ({"authors": (1,)}, "every str must be a str"),
        ({"notation": (("k",),)}, r"notation must be pairs of texts, \(theirs, ours\)"),
        ({"statements": (TRUE,)}, "every statement must be a Statement"),
        ({"statements": ()}, "nobody2026 states nothing; give it a statement"),
        ({"picture": "drawn"}, "the picture of nobody2026 must be a Picture"),
    ],
)
def test_a_paper_that_is_none_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        a_paper(**changes)


def test_a_statement_that_is_none_is_refused():
    stated: Any = Statement
    with pytest.raises(ValueError, match="the claim of a statement must be a Claim or a Theorem"):
        stated("1 = 1", "abstract")
    with pytest.raises(ValueError, match="right: place must be a text"):
        stated(TRUE, 3)
    with pytest.raises(ValueError, match="right: beside must be a function"):
        stated(TRUE, "abstract", beside=[NUMBER])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"caption": None}, "a picture's caption must be a text"),
        ({"points": [NUMBER]}, "a picture's points must be a function of how many places"),
        ({"marks": {"here": "there"}}, "the mark 'here' of a picture must be a number"),
    ],
)
def test_a_picture_that_is_none_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PICTURE, **changes)


def test_a_picture_has_brackets_as_points_and_formulas_as_lines():
    table = PICTURE.table(4)
    assert table.columns == ["curve", "x", "low", "high"]
    figure = show.draw_paper(PICTURE, table)
    (ax,) = figure.axes
    found, stated, mark = (line.get_xydata().tolist() for line in ax.lines)
    assert found == stated == [[x, 1.0] for x in range(4)]
    assert mark[0][0] == 2
    (bars,) = ax.collections
    assert [bar[:, 1].tolist() for bar in bars.get_segments()] == [[0.75, 1.25]] * 4
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["found", "stated"]


def test_two_papers_of_one_key_are_refused():
    module = type(sys)("module")
    module.one, module.again, module.other = (one := a_paper()), one, a_paper()
    with pytest.raises(ValueError, match="two papers have the key nobody2026; rename one"):
        collect_papers([module])


def test_the_shipped_papers_are_small_and_say_what_was_read():
    keys = [paper.key for paper in ATLAS]
    assert keys == [module.__name__.rpartition(".")[2] for module in papers.modules()]
    for module in papers.modules():
        assert inspect.getsource(module).count("\n") < LONGEST, module
        assert module.__doc__
    for paper in ATLAS:
        assert paper.read in READ
        assert len(paper.reading) > 20
        assert paper.notation
        for statement in paper.statements:
            claim = statement.claim
            assert claim.source, claim.name
            assert claim.expected, claim.name
    claims, theorems = claims_of(ATLAS)
    names = [claim.name for claim in [*claims, *theorems]]
    assert len(names) == len(set(names))


def test_a_page_says_what_failed_and_what_stands_beside():
    paper = a_paper()
    steps: list[int] = []
    report = atlas.verify_papers([paper], progress=steps.append)
    assert sum(steps) == num_steps(*claims_of([paper]), "quick") == 2  # a theorem each
    judged = atlas.judged_by(report, [paper])
    page = atlas.page(paper, judged)
    assert "fails at x=1: this sentence, not the paper" in page
    assert "one: stated 1, computed 1.25, deviation 2.5e-01" in page
    assert "read: abstract only. The abstract." in page
    assert "picture (--plot FILE): One stays one." in page
    (document,) = atlas.to_json([paper], judged)
    assert document["key"] == "nobody2026"
    first, second = document["statements"]
    assert (first["name"], first["verdict"], first["expected"]) == ("wrong", "REFUTED", "REFUTED")
    assert second["beside"] == [NUMBER._asdict() | {"deviation": 0.25}]


def test_bibtex_has_an_entry_with_an_identifier():
    entry_ = a_paper().bibtex
    assert entry_.startswith("@misc{nobody2026,\n  title = {{On One}},\n")
    assert "author = {A. Nobody and B. Nobody}" in entry_
    assert "eprint = {2600.00000}" in entry_
    assert "note = {doi:1}" in a_paper(identifier="doi:1").bibtex


OWN = """
import ssem_jax as sx
from ssem_jax.claims import Paper, Proof, Statement, Theorem

COUNT = []


def prove():
    COUNT.append(1)
    return Proof(len(COUNT) == 1, signs=1, rigorous=True)


one = Theorem("one_is_one", "1 = 1", prove, "arithmetic")
paper = Paper("own2026", "Ones", ("I",), 2026, "doi:1", "here", "theorem read", "All of it.",
              (("1", "one"),), (Statement(one, "Theorem 1"),))
"""


def run(capsys, *arguments):
    """What `ssem papers` prints, and its exit code."""
    with pytest.raises(SystemExit) as stopped:
        entry.main(["papers", *map(str, arguments)])
    return stopped.value.code, capsys.readouterr()


def test_papers_of_ones_own_are_judged_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SSEM_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "own_papers.py"
    file.write_text(OWN)
    code, said = run(capsys, file, "--json")
    assert code == 0, said.err
    (document,) = json.loads(said.out)
    assert (document["read"], document["statements"][0]["verdict"]) == ("theorem read", "PROVEN")
    assert "judging what a paper states" in said.err
    code, said = run(capsys, file)
    assert code == 0
    assert "PROVEN  one_is_one (Theorem 1)" in said.out
    assert "judging" not in said.err
    code, said = run(capsys, file, "--plot", tmp_path / "none.svg")
    assert code == 2
    assert "own2026 has no picture" in said.err
    file.write_text(OWN + "\n")  # other code: what was kept is not of it
    code, said = run(capsys, file)
    assert "judging what a paper states" in said.err


def test_bibtex_and_unknown_papers(tmp_path, capsys):
    code, said = run(capsys, "lee2025", "--bibtex")
    assert code == 0
    assert "eprint = {2503.08203}" in said.out
    code, said = run(capsys, "--bibtex", "--json")
    assert len(json.loads(said.out)) == len(ATLAS)
    code, said = run(capsys, "--plot", tmp_path / "all.svg")
    assert code == 2
    assert "--plot draws one picture; name the paper: bangachev2025, " in said.err
    code, said = run(capsys, "nobody1900")
    assert code == 2
    assert "no paper 'nobody1900'; there are " in said.err
    file = tmp_path / "empty_file.py"
    file.write_text("")
    code, said = run(capsys, file)
    assert code == 2
    assert "has no paper at its top level" in said.err


def test_the_template_is_judged_as_it_stands(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SSEM_CACHE", str(tmp_path / "cache"))
    page = (Path(papers.__file__).parent / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "template_of_a_paper.py"
    file.write_text(code)
    status, said = run(capsys, file, "--json")
    assert status == 0, said.err
    (document,) = json.loads(said.out)
    assert document["key"] not in VERDICTS
    (statement,) = document["statements"]
    assert statement["verdict"] == "HOLDS"
    assert len(statement["beside"]) == 2
    assert all(row["deviation"] < 1e-9 for row in statement["beside"])


def test_verify_judges_papers_instead(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SSEM_CACHE", str(tmp_path / "cache"))
    module: Any = type(sys)("papers_of_nobody")
    module.paper, module.__file__ = a_paper(), __file__
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(papers, "modules", lambda: [module])
    with pytest.raises(SystemExit) as stopped:
        entry.main(["verify", "--papers", "--json", "--out", str(tmp_path)])
    assert stopped.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert [claim["name"] for claim in document["claims"]] == ["wrong", "right"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<article id="paper-nobody2026"><header><h3>On One</h3><code>nobody2026</code>' in page
    assert '<td>Theorem 1</td><td><a href="#right">right</a><br>1 = 1</td>' in page
    assert '<td>one</td><td class="number">1</td><td class="number">1.25</td>' in page
    assert "<figcaption>One stays one.</figcaption>" in page
    assert page.count('<input type="search"') == page.count("<script") == 1
    assert "<pre>@misc{nobody2026,\n" in page
    assert "abstract only" in page
    # What was judged is what `ssem papers` shows.
    code, said = run(capsys)
    assert code == 0
    assert "judging" not in said.err
    file = tmp_path / "one.svg"
    code, said = run(capsys, "nobody2026", "--plot", file)
    assert (code, said.out.strip()) == (0, str(file))
    assert file.is_file()


# ---------------------------------------------------------------------------------- verdicts


VERDICTS = json.loads((Path(__file__).parent / "verdicts_of_papers.json").read_text())
"""What became of every statement; a change is a finding, or a mistake."""


def test_a_flipped_convention_is_seen():
    assert judge(lee2025.imagenet_means).as_expected
    flipped = dataclasses.replace(
        lee2025.imagenet_means, prove=lambda: cells.judged(lee2025.means(("all", "anchors")))
    )
    judgement = judge(flipped)
    assert not judgement.as_expected
    assert judgement.counterexample["mean"] == "all"


def test_the_plane_refutes_the_only_if_of_an_abstract():
    judgement = judge(cho2024.only_all)
    assert judgement.as_expected
    assert judgement.counterexample["batches"] == 7


FLIPPED = {
    "self pairs left out": (vock2026.soft_regular, lambda: vock2026.both_sides(own=False)),
    "no ReLU": (kini2024.relu_frame, lambda: kini2024.frames(lower=None)),
    "a bias that is added": (lee2024.sigmoid_ends, lambda: lee2024.sides(-1.0)),
}
"""Statements under the other convention of what they turn on."""


@pytest.mark.slow
@pytest.mark.parametrize("what", FLIPPED)
def test_every_flipped_convention_is_seen(what):
    theorem, made = FLIPPED[what]
    flipped = dataclasses.replace(theorem, prove=lambda: cells.judged(made()))
    assert judge(theorem).as_expected
    assert not judge(flipped).as_expected


def test_a_bound_is_the_bound_of_one_temperature():
    assert judge(luthra2025.nscl_bound).as_expected
    assert judge(luthra2025.nscl_bound_any_temperature).as_expected


def test_every_statement_has_its_verdict_on_record():
    stated = {p.key: {s.claim.name: str(s.claim.expected) for s in p.statements} for p in ATLAS}
    assert stated == VERDICTS


@pytest.mark.parametrize(
    ("optimal", "below", "gap", "verdict"),
    [
        (True, 0.0, 0.0, "proven"),
        (True, 1e-6, 0.0, "refuted"),
        (True, 1e-6, 1e-7, "undecided"),  # the matrix may be out of bounds by as much
        (True, 0.0, 1e-7, "undecided"),
        (True, 5e-10, 9e-10, "undecided"),  # beaten by no more than a gap may be
        (False, 1e-6, 0.0, "proven"),
        (False, 0.0, 0.0, "refuted"),
        (False, 0.0, 1e-7, "undecided"),
        (False, 1e-6, 1e-7, "undecided"),
    ],
)
def test_a_candidate_is_weighed_against_both_bounds(monkeypatch, optimal, below, gap, verdict):
    candidates = [kini2024.with_means(np.eye(4), bound=False, optimal=optimal)]
    (_, loss, gram, *_) = candidates[0]
    value = float(loss.value(gram)) - below
    solved = SimpleNamespace(value=value, lower=value - gap, gap=gap)
    monkeypatch.setattr(cells, "solve_program", lambda _: solved)
    proof = cells.weighed(candidates)
    told = {"proven": proof.proven, "refuted": proof.refuted, "undecided": proof.undecided}
    assert [name for name, said in told.items() if said] == [verdict]
    assert proof.gaps == (gap,)


@pytest.mark.slow
def test_the_whole_atlas():
    report = atlas.verify_papers(ATLAS, size="quick")
    judged = {j.claim.name: str(j.verdict) for j in report.judgements}
    found = {p.key: {s.claim.name: judged[s.claim.name] for s in p.statements} for p in ATLAS}
    assert found == VERDICTS
    assert report.seconds < 600


SNIPPETS = {s.claim.name: s.snippet for p in ATLAS for s in p.statements if s.snippet}


@pytest.mark.parametrize("name", SNIPPETS)
def test_printed_snippets_run(name, capsys):
    exec(compile(SNIPPETS[name], name, "exec"), {})
    assert capsys.readouterr().out
