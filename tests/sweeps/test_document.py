"""With --json, every command says one strict JSON document and nothing else, errors included."""

import importlib
import json

import numpy as np
import pytest

import ssem_jax as sx
from ssem_jax.cli import main
from ssem_jax.sweeps import document
from ssem_jax.training import experiments


def strict(text):
    """The one document of a text, of a reader that knows no infinity and no NaN."""

    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def ssem(tmp_path, monkeypatch, capsys):
    """A command run in an empty folder: its exit code, and the document on its stdout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSEM_CACHE", "off")

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments), "--json"])
        return ended.value.code, strict(capsys.readouterr().out)

    return run


def test_infinities_and_nan_are_null_wherever_they_stand():
    given = {
        "gap": np.inf,
        "list": [np.nan, 1.5, np.float64(-np.inf), np.int64(3)],
        "array": np.array([[1.0, np.nan]]),
        "nested": {"verdict": sx.Verdict.HOLDS, "phase": sx.Phase.SPREAD, 3: (True, None)},
        "other": sx.ClassStructure((2, 2)),
    }
    assert strict(document.write(given)) == {
        "gap": None,
        "list": [None, 1.5, None, 3],
        "array": [[1.0, None]],
        "nested": {"verdict": "HOLDS", "phase": 1, "3": [True, None]},
        "other": "2 classes × 2",
    }
    assert "×" not in document.write("×")
    assert "×" in document.write("×", ascii=False)


CELLS = ("--classes", 2, "--instances", 2, "--alpha", 0.5, "--tau", 0.5)


def test_a_run_its_summary_and_its_picture(ssem, tmp_path):
    code, summary = ssem("sweep", *CELLS, "--out", "run")
    assert (code, summary["cells"]) == (0, 1)
    code, told = ssem("info", "run")
    assert (code, told["planned"]) == (0, 1)
    code, drawn = ssem("plot", "run", "--out", "phase.svg")
    assert (code, drawn) == (0, {"file": "phase.svg"})
    code, chosen = ssem("info", "run", "--where", "n == 2 and tau == 0.5")
    assert (code, chosen["cells"]) == (0, 1)
    code, compared = ssem("info", "run", "run")
    assert (code, compared["common"], compared["contradictions"]) == (0, 1, 0)
    assert compared["largest_difference"]["delta2"] == 0.0
    code, told = ssem("plot", "run", "--where", "m == 7")
    assert code == 2
    assert told["error"] == "no cell of 1 has m == 7; there m is 2."
    assert (tmp_path / "phase.svg").exists()
    assert ssem("explore") == (0, {"file": "explorer.html"})


def test_a_guide_and_an_audit(ssem, tmp_path):
    code, answer = ssem("guide", "--classes", 3, "--instances", 4, "--alpha", 1, "--tau", 0.5)
    assert (code, answer["phase"]) == (0, "spread")
    np.save(tmp_path / "e.npy", np.random.default_rng(0).normal(size=(4, 3)))
    (tmp_path / "labels.txt").write_text("a\na\nb\nb\n")
    code, found = ssem("audit", "e.npy", "--labels", "labels.txt", "--alpha", 0.5, "--tau", 0.5)
    assert (code, found["optimal"]) == (1, False)


def test_training_without_steps(ssem, monkeypatch):
    """What the document holds of a summary with undefined standard errors."""
    import polars as pl

    table = pl.DataFrame({"x": [np.nan, np.inf]})
    monkeypatch.setattr(experiments, "parts", lambda *_, **__: [])
    monkeypatch.setattr(experiments, "run", lambda *_, **__: table)
    monkeypatch.setattr(experiments, "summarize", lambda name, table: table)
    code, told = ssem("train", "mixture")
    assert (code, told["summary"]) == (0, [{"x": None}, {"x": None}])


NOT_CONVEX = """
import ssem_jax as sx
print("of the file")

def margin(cell):
    print("of the margin")
    return 1e-6 - cell.delta2

space = sx.Space(num_classes=2, num_instances=2, loss=sx.losses.SupConIn, temperature=[0.5])
held = [sx.Claim("in", "collapses", margin, space)]
"""


def test_what_a_file_prints_is_not_in_the_document_and_a_gap_without_end_is_null(ssem, tmp_path):
    (tmp_path / "mine.py").write_text(NOT_CONVEX)
    code, found = ssem("test", "mine.py", "--out", "out")
    claim = found["claims"][0]
    assert (code, claim["verdict"], claim["worst_gap"]) == (1, "UNDECIDED", None)
    assert claim["tightest"]["gap"] is None
    assert strict((tmp_path / "out" / "results.json").read_text()) == found


ENDS = """
import sys
import ssem_jax as sx
space = sx.Space(num_classes=2, num_instances=2, alpha=0.5, temperature=0.5)
"""

CLAIMS = 'a = sx.Claim("a", "s", lambda c: 1 - c.delta2, {})\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("import sys; sys.exit(0)", r"mine.py does not run: SystemExit: 0 (mine.py, line 1)"),
        ("import sys; sys.exit()", "mine.py does not run: SystemExit"),
        ("raise GeneratorExit", "mine.py does not run: GeneratorExit"),
        (
            ENDS + CLAIMS.format("space") + CLAIMS.format("space").replace("a =", "b ="),
            "two claims are called a: mine.a and mine.b; rename one",
        ),
        (
            "from ssem_jax.claims import Theorem\n"
            + ENDS
            + CLAIMS.format("space")
            + 't = [Theorem("a", "s", lambda: None)]',
            "two claims are called a: mine.a and mine.t[0]; rename one",
        ),
        (
            ENDS + CLAIMS.format("space").replace('"a"', '"../../evil"'),
            "a claim's name must be up to 100 letters",
        ),
        (
            ENDS + CLAIMS.format("space, expected='TRUE'"),
            "the expected verdict of a must be one of 'HOLDS', 'PROVEN', 'REFUTED', 'UNDECIDED'",
        ),
    ],
)
def test_a_file_that_would_end_the_run_or_lose_a_claim_is_an_error(
    content, message, ssem, tmp_path
):
    (tmp_path / "mine.py").write_text(content)
    code, found = ssem("test", "mine.py")
    assert code == 2
    assert list(found) == ["error"]
    assert message in found["error"]


LOSS = """
@sx.gram_loss(convex=True)
def leaves(gram, structure, *, scale):
    sys.exit(0)
"""


@pytest.mark.parametrize(
    "claim",
    [
        'sx.Claim("bad", "s", lambda c: sys.exit(0), space)',
        'sx.Claim("bad", "s", lambda c: 1, space, where=lambda c: sys.exit(0))',
        'sx.Claim("bad", "s", lambda c: 1, space, exclude=lambda c: sys.exit(0))',
        'sx.Claim("bad", "s", lambda c: 1, sx.Space(where=lambda c: sys.exit(0)))',
        'sx.Claim("bad", "s", lambda c: 1, sx.Space(dim=lambda structure: sys.exit(0)))',
        'sx.Claim("bad", "s", lambda c: 1, sx.Space(sizes=(2, 2), loss=leaves, scale=[1]))',
        'Theorem("bad", "s", lambda: sys.exit(0))',
    ],
)
def test_a_claim_that_would_end_the_run_is_an_error_and_the_others_are_judged(
    claim, ssem, tmp_path
):
    text = "from ssem_jax.claims import Theorem\n" + ENDS + LOSS + CLAIMS.format("space")
    (tmp_path / "mine.py").write_text(f"{text}bad = {claim}\n")
    code, found = ssem("test", "mine.py", "--budget", 20)
    verdicts = {each["name"]: each for each in found["claims"]}
    assert code == 2
    assert verdicts["a"]["verdict"] == "HOLDS"
    assert verdicts["bad"]["verdict"] is None
    assert "SystemExit: 0" in verdicts["bad"]["error"]


def test_a_run_without_a_verdict_for_every_claim_is_never_a_success(ssem, tmp_path, monkeypatch):
    search = importlib.import_module("ssem_jax.claims.refinement")
    (tmp_path / "mine.py").write_text(ENDS + CLAIMS.format("space"))
    monkeypatch.setattr(search, "search_all", lambda *_: iter(()))
    assert ssem("test", "mine.py")[0] == 2


def test_a_file_may_not_be_named_like_what_others_import(ssem, tmp_path):
    (tmp_path / "random.py").write_text(ENDS)
    code, found = ssem("test", "random.py")
    assert code == 2
    assert "named like the module random" in found["error"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "--alpha", "2"], "alpha must lie in [0, 1]; got 2.0"),
        (["sweep", "--alpha"], "--alpha takes numbers"),
        (["sweep", "--out", ""], "give the name of a folder; got none"),
        (["sweep", "--bogus"], "No such option"),
        (["verify", "--quick", "--full"], "exclude each other"),
        (["verify", "--seed", "x"], "--seed"),
        (["info", "nothing"], "nothing is not a folder"),
        (["plot", "nothing"], "nothing is not a folder"),
        (["explore", "--out", "."], "cannot write ."),
        (["guide"], "give --classes and --instances"),
        (["audit", "e.npy", "--labels", "l", "--alpha", ".5", "--tau", ".5"], "cannot read the e"),
        (["audit"], "Missing"),
        (["train", "nothing"], "nothing"),
        (["test", "nothing.py"], "nothing.py is no Python file"),
        (["test", "nothing.py", "--budget", "infs"], "a budget is a number of cells"),
        (["nothing"], "No such command"),
        ([], "No such option"),
    ],
)
def test_an_error_is_a_document_too(arguments, message, ssem, tmp_path):
    code, found = ssem(*arguments)
    assert code == 2
    assert list(found) == ["error"]
    assert message in found["error"]
    assert "\n" not in found["error"]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted; finished parts in --out are kept"),
        (SystemExit(0), 2, "something called sys.exit(0) before the command was done"),
        (RuntimeError("a fault"), 2, "RuntimeError: a fault"),
    ],
)
def test_what_nobody_foresaw_is_no_success_and_no_verdict(error, code, message, ssem, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(importlib.import_module("ssem_jax.advice.guides"), "guide", fail)
    found = ssem("guide", "--classes", 3, "--instances", 4)
    assert found[0] == code
    assert message in found[1]["error"]


def test_help_is_help(monkeypatch, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["verify", "--json", "--help"])
    assert "Print one JSON document" in capsys.readouterr().out
