"""What judgements, trials and reports show in a notebook."""

import dataclasses

import polars as pl

import ssem_jax as sx
from ssem_jax.claims import Judgement, Proof, Report, Theorem, Trial, Verdict

CLAIM = sx.Claim("spreads", "δ² > 0.", lambda cell: cell.delta2, sx.Space(alpha=0.5))
CELL = {
    **{"num_classes": 2, "num_instances": 3, "num_views": 1, "dim": 5, "sizes": "3,3"},
    **{"alpha": 0.5, "temperature": 0.25, "self_pairs": "include", "mean": "pairs"},
}
REFUTED = Judgement(CLAIM, Verdict.REFUTED, 9, 2, 1, 1e-12, None, -0.25, CELL, "A reason.")
PROOF = Proof(False, {"alpha": "1/2"}, enclosures=1, widths=(1e-70,), undecided=("x",))
THEOREM = Judgement(
    Theorem("balls", "For all τ.", lambda: PROOF), Verdict.REFUTED, 0, 0, 1, None, None, None,
    {"alpha": "1/2"}, "", PROOF,
)  # fmt: skip
PLACE = "m=2, n=3, p=1, d=5, alpha=0.5, tau=0.25, self_pairs=include, mean=pairs"


def test_a_judgement():
    assert repr(REFUTED) == "<Judgement: REFUTED spreads, 9 cells>"
    assert REFUTED._repr_html_() == (
        "<pre style='white-space: pre-wrap'>REFUTED    spreads: δ² &gt; 0.\n"
        "           8 certified cells, 2 excluded, worst margin -0.25, worst gap 1.0e-12\n"
        f"           A reason.\n           counterexample: {PLACE}</pre>"
    )
    assert list(THEOREM.lines())[1:] == [
        "           1 enclosure, 1 undecided, widest enclosure 1.0e-70",
        "           at {'alpha': '1/2'}",
    ]


def test_a_trial():
    trial = Trial(CLAIM, REFUTED, slices=(1, 2), snippet="import jax", seconds=3.0)
    assert repr(trial) == "<Trial: REFUTED spreads, 9 cells>"
    assert list(trial.lines())[1:] == [
        "           8 certified cells, 2 excluded, 1 of 2 slices, worst margin -0.25, "
        "worst gap 1.0e-12, 3.0 s",
        "           A reason.",
        f"           smallest counterexample: {PLACE}",
        "",
        "    import jax",
    ]
    tightest = dataclasses.replace(trial, snippet="", tightest=CELL)
    assert list(tightest.lines())[-1] == f"           tightest at {PLACE}"
    failed = Trial(CLAIM, None, error="a bad margin")
    assert (repr(failed), *failed.lines()) == ("<Trial: ERROR spreads>", "ERROR      a bad margin")


def test_a_report():
    report = Report([REFUTED, THEOREM], pl.DataFrame(), 2.0)
    assert repr(report) == "<Report: 2 claims, 2 REFUTED: not all as expected; 0 cells, 2 s>"
    assert list(report.lines())[1:] == [
        "REFUTED    spreads: 9 cells",
        "REFUTED    balls: 1 enclosure",
    ]
