"""The shipped theorems, the registry, and that an injected error is caught."""

import subprocess
import sys

import pytest

import proofs_numeric
import ssem_jax as sx
from ssem_jax import cache, claims, theory
from ssem_jax.claims import Proof, Theorem, Verdict, judge, judge_theorem
from ssem_jax.sweep import Grid, sweep

THEOREMS = claims.collect_theorems(proofs_numeric.modules())
ERROR = 1e-6
"""What is added to a formula: a thousandth of what an equality tolerates, but far more than the
brackets of these cells are wide."""


@pytest.fixture(scope="module")
def table():
    grid = Grid((sx.ClassStructure((2, 2)),), ("full",), (0.3, 0.9), (0.3, 0.5, 1.0))
    return sweep(grid.problems())


def claim(name):
    return next(c for c in claims.collect(proofs_numeric.modules()) if c.name == name)


@pytest.mark.parametrize("theorem", THEOREMS, ids=lambda theorem: theorem.name)
def test_every_theorem_comes_out_as_expected(theorem):
    judgement = judge_theorem(theorem)
    assert judgement.as_expected, judgement
    assert judgement.undecided == 0


def test_names_are_unique_and_statements_have_sources():
    everything = [*claims.collect(proofs_numeric.modules()), *THEOREMS]
    assert len({row.name for row in everything}) == len(everything)
    assert all(row.source and row.statement and row.expected for row in everything)


@pytest.mark.parametrize(
    ("name", "formula"),
    [("minimum_included", "loss"), ("delta2_included", "delta2")],
)
def test_a_formula_off_by_a_millionth_is_refuted(table, monkeypatch, name, formula):
    assert judge(claim(name), table).verdict is Verdict.HOLDS
    right = getattr(theory, formula)
    monkeypatch.setattr(theory, formula, lambda *a, **k: right(*a, **k) + ERROR)
    assert judge(claim(name), table).verdict is Verdict.REFUTED


def test_a_shifted_boundary_is_refuted(table, monkeypatch):
    right = theory.alpha_c
    monkeypatch.setattr(theory, "phase", lambda *a, **k: _phase(right, *a, **k))
    assert judge(claim("boundary_included"), table).verdict is Verdict.REFUTED


def _phase(alpha_c, m, n, p, alpha, tau, self_pairs):
    """Phases of a boundary that lies .3 too low."""
    return (alpha > alpha_c(m, n, p, tau, self_pairs=self_pairs) - 0.3).astype(int)


def test_a_wrong_expectation_is_reported():
    wrong = Theorem("wrong", "1 = 2", lambda: Proof(False, {"x": 1}, 3), expected=Verdict.PROVEN)
    judgement = judge_theorem(wrong)
    assert judgement.verdict is Verdict.REFUTED
    assert judgement.counterexample == {"x": 1}
    assert not judgement.as_expected


def test_undecided_boxes_are_not_rounded_up():
    open_ = Theorem("open", "?", lambda: Proof(True, None, 3, ({"x": (0, 1)},)))
    judgement = judge_theorem(open_)
    assert judgement.verdict is Verdict.UNDECIDED
    assert "1 of 3 boxes are undecided" in judgement.reason


def test_certified_cells_hold_and_only_proofs_are_proven():
    cells = Theorem("cells", "", lambda: Proof(True, None, 3, rigorous=False))
    assert judge_theorem(cells).verdict is Verdict.HOLDS
    proof = Theorem("proof", "", lambda: Proof(True, None, 3))
    assert judge_theorem(proof).verdict is Verdict.PROVEN


def run(*arguments, folder):
    return subprocess.run(
        [sys.executable, "-m", "proofs_numeric", *arguments],
        capture_output=True,
        text=True,
        env={"SSEM_CACHE": str(folder), "PATH": ""},
        check=False,
        timeout=300,
    )


def test_one_claim_runs_by_itself_and_is_recorded(tmp_path):
    assert "last recorded: not judged yet" in run("--list", folder=tmp_path).stdout
    result = run("small_mixing_collapses", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "PROVEN on" in result.stdout
    listing = run("--list", folder=tmp_path).stdout
    assert "expected PROVEN; last recorded: PROVEN" in listing
    for row in [*claims.collect(proofs_numeric.modules()), *THEOREMS]:
        assert f"  {row.name}: " in listing
    unknown = run("nothing", folder=tmp_path)
    assert unknown.returncode == 2
    assert "no claim 'nothing'" in unknown.stderr


def test_the_cache_can_be_switched_off_moved_and_broken(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(cache.VARIABLE, "off")
    assert cache.folder() is None
    assert cache.recall_verdicts() == {}
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "here"))
    cache.record_verdicts({"a": "HOLDS"})
    cache.record_verdicts({"b": "REFUTED"})
    assert cache.recall_verdicts() == {"a": "HOLDS", "b": "REFUTED"}
    (tmp_path / "here" / cache.VERDICTS).write_text("{")
    assert cache.recall_verdicts() == {}
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file" / "x"))
    assert cache.folder() is None
    assert "nothing is cached" in capsys.readouterr().err
