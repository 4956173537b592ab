"""`ssem check`, and the files that `ssem verify` and `ssem test` leave for it."""

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

import ssem_jax as sx
from proofs_numeric import check, guideline
from ssem_jax.certificate import QUANTITIES, Certificate, decide_phase
from ssem_jax.certificate.exports import documents
from ssem_jax.claims import Space, judge
from ssem_jax.claims.replay import export_counterexample
from ssem_jax.cli import main
from ssem_jax.geometry.shares import Variances
from ssem_jax.sweeps.exports import Checked, checked, export_cells
from ssem_jax.sweeps.table import tabulate


@pytest.fixture(scope="module")
def table():
    """Three certified cells: collapsed, collapsed against the guideline, and spread."""
    alpha, temperature = np.array([0.1, 0.5, 0.9]), np.array([0.4, 1.4, 0.4])
    problem = sx.Problem(sx.ClassStructure((2, 2)), 4, sx.SupCL(alpha, temperature))
    ends = {"minimum": ([], []), "delta2": ([], [])}
    for document in documents(problem, [-np.inf] * 3, [np.inf] * 3):
        for name, pair in ends.items():
            said = [c.split() for c in document["claims"] if c.startswith(name)]
            found = {sign: float(bound) for _, sign, bound in said}
            pair[0].append(found.get(">=", 0.0))
            pair[1].append(found["<="])
    low, high = np.tile([0.0, 0, 0, -1, -1], (3, 1)), np.ones((3, 5))
    place = QUANTITIES.index("delta2")
    low[:, place], high[:, place] = ends["delta2"]
    high[:, QUANTITIES.index("view_variance")] = 0
    lower, value = map(np.array, ends["minimum"])
    gap, found = value - lower + 1e-14, np.tile([0.0, 0, 1, 0], (3, 1))
    zeros, phases = np.zeros(3), decide_phase(low, high)
    lower = lower - 5e-15
    leaves: Any = (value, lower, gap, zeros, Variances(*found.T), low, high, phases, zeros)
    return tabulate(Certificate(problem, *leaves))


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return ended.value.code


def test_every_certified_cell_is_a_file(table, tmp_path, capsys):
    worse = table.with_columns(gap=pl.when(pl.col("alpha") > 0.8).then(1.0).otherwise("gap"))
    seen = []
    files = export_cells(worse, tmp_path, progress=seen.append)
    assert [file.name for file in files] == [
        "00000_2x2_p1_d4_include_pairs_a0.1_t0.4.json",
        "00001_2x2_p1_d4_include_pairs_a0.5_t1.4.json",
    ]
    assert seen == [1, 1]
    found = checked(files)
    assert (found.proven, found.files, found.failures) == (2, 2, ())
    assert found.bytes == sum(file.stat().st_size for file in files)
    assert found.words == "checked by an independent program: 2 of 2"
    assert run("check", tmp_path) == 0
    assert capsys.readouterr().out.endswith("2 of 2 files are proven\n")
    assert run("check", *files, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"files": 2, "proven": 2, "failures": []}


def test_a_lie_among_files_is_told(table, tmp_path, capsys):
    one, two, three = export_cells(table, tmp_path)
    lie = json.loads(two.read_text())
    two.write_text(json.dumps(lie | {"claims": ["phase spread"]}))
    three.write_text("{")
    found = checked([one, two, three])
    assert (found.proven, found.files) == (1, 3)
    assert found.failures[0].startswith(f"NOT PROVEN {two}")
    assert "NOT PROVEN: 'phase spread'" in found.failures[0]
    assert found.failures[1].startswith(f"REFUSED {three}")
    assert run("check", tmp_path) == 1
    assert capsys.readouterr().out.endswith("1 of 3 files are proven\n")
    assert run("check", two, "--json") == 1
    assert json.loads(capsys.readouterr().out)["proven"] == 0


def test_paths_that_are_no_certificates(tmp_path, capsys):
    for path, message in ((tmp_path / "x.json", "does not exist"), (tmp_path, "no certificate")):
        assert run("check", path) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    assert run("check") == 2


def test_a_refuted_guideline_travels_as_a_file(table, tmp_path):
    judgement = judge(guideline.summary_guideline, table)
    assert str(judgement.verdict) == "REFUTED"
    (file,) = export_counterexample(judgement, tmp_path)
    assert file.name == "summary_guideline.json"
    holds, text = check.check(file)
    assert holds
    assert "REFUTED: 'α ≥ 1/n and τ ≤ 1/log m prevent class collapse.'" in text
    true = judge(guideline.majority_guideline, table)
    assert export_counterexample(true, tmp_path) == []


def test_a_counterexample_without_a_formal_statement_is_a_cell(table, tmp_path):
    claim = sx.Claim(
        name="large",
        statement="δ² is above .2.",
        margin=lambda cell: cell.delta2 - 0.2,
        domain=Space(num_classes=2, num_instances=2),
        quantity="between_similarity",
    )
    (file,) = export_counterexample(judge(claim, table), tmp_path)
    holds, text = check.check(file)
    assert holds
    assert "between_similarity <= -0.99" in text
    wrong: Any = ("delta2 > 0", (("delta2 > 0",),), (["delta2 > 0"], []), ((), (1,)))
    for formal in wrong:
        with pytest.raises(ValueError, match="formal statement must be two tuples"):
            sx.Claim("a", "b", lambda cell: cell.delta2, claim.domain, formal=formal)


def test_reports_say_what_was_checked(table):
    from ssem_jax.claims.collection import Report
    from ssem_jax.show import report as pages

    table = table.with_columns(attainable=True)
    report = Report([], table, 1.0, checked=Checked(3, 3, 4096))
    assert report.as_expected
    assert report.to_json()["checked"]["proven"] == 3
    page = pages.page(report)
    assert "checked by an independent program" in page
    assert "3 of 3" in page
    assert not Report([], table, 1.0, checked=Checked(2, 3, 4096)).as_expected
    assert "checked" not in Report([], table, 1.0).to_json()
