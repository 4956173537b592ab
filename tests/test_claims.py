"""Claims: intervals, verdicts, and the shipped collection."""

import dataclasses

import numpy as np
import polars as pl
import pytest

import proofs_numeric
import ssem_jax as sx
from ssem_jax import claims, theory
from ssem_jax.claims import Claim, Domain, Interval, Verdict, equal, judge, same_phase
from ssem_jax.sweep import Grid, sweep

STRUCTURE = sx.ClassStructure((2, 2))
GRID = Grid((STRUCTURE,), ("full",), (0.0, 0.3, 0.6, 1.0), (0.2, 0.5, 1.0))
DOMAIN = Domain((GRID,))


@pytest.fixture(scope="module")
def table():
    return sweep(GRID.problems())


def verdict(table, margin, **options):
    return judge(Claim("claim", "statement", margin, DOMAIN, **options), table)


class TestInterval:
    def test_arithmetic_is_outer(self):
        a, b = Interval([1.0, -1], [2.0, 3]), Interval([-2.0, 0], [1.0, 1])
        for operation in (np.add, np.subtract, np.multiply):
            result = {np.add: a + b, np.subtract: a - b, np.multiply: a * b}[operation]
            for s in np.linspace(0, 1, 5):
                for t in np.linspace(0, 1, 5):
                    x, y = a.low + s * a.width, b.low + t * b.width
                    value = operation(x, y)
                    assert np.all(result.low <= value + 1e-15)
                    assert np.all(value <= result.high + 1e-15)

    def test_scalars_and_arrays_on_either_side(self):
        a = Interval([1.0, 2], [2.0, 4])
        assert (1 - a).low.tolist() == [-1, -3]
        assert (np.array([1.0, 1]) - a).high.tolist() == [0, -1]
        assert (2 * a / 4).high.tolist() == [1, 2]
        assert (1 + a)[1].high == 5

    def test_absolute_value(self):
        a = abs(Interval([-1.0, 1, -3], [2.0, 2, -2]))
        assert a.low.tolist() == [0, 1, 2]
        assert a.high.tolist() == [2, 2, 3]


def test_equality_has_three_outcomes():
    bracket = Interval([0.0, 0.0, 0.0], [1e-6, 1e-6, 0.5])
    margin = equal(bracket, np.array([5e-7, 0.1, 0.2]))
    assert margin.low[0] > 0
    assert margin.high[1] < 0
    assert margin.low[2] < 0 < margin.high[2]
    assert margin.deviation[2] == pytest.approx(0.3)


def test_a_phase_agrees_disagrees_or_is_undecided():
    found = np.array([sx.Phase.SPREAD, sx.Phase.SPREAD, sx.Phase.UNDECIDED])
    margin = same_phase(found, np.array([sx.Phase.SPREAD, sx.Phase.COLLAPSE, sx.Phase.SPREAD]))
    assert margin.low.tolist() == [1, -1, -1]
    assert margin.high.tolist() == [1, -1, 1]


def test_holds_and_refuted(table):
    true = verdict(table, lambda cell: 1 - cell.delta2)
    assert true.verdict is Verdict.HOLDS
    assert true.cells == 12
    false = verdict(table, lambda cell: 0.5 - cell.delta2)
    assert false.verdict is Verdict.REFUTED
    assert false.counterexample["alpha"] == 1
    assert false.counterexample["delta2_lo"] > 0.5


def test_nothing_rests_on_uncertified_cells(table):
    loose = table.with_columns(gap=pl.lit(1e-6))
    for threshold in (1.0, 0.5):
        judgement = verdict(loose, lambda cell, t=threshold: t - cell.delta2)
        assert judgement.verdict is Verdict.UNDECIDED
        assert "12 of 12 cells are undecided" in judgement.reason


def test_wide_brackets_are_undecided(table):
    wide = table.with_columns(delta2_lo=pl.lit(0.0), delta2_hi=pl.lit(1.0))
    judgement = verdict(wide, lambda cell: 0.5 - cell.delta2)
    assert judgement.verdict is Verdict.UNDECIDED


def test_where_exclude_and_empty(table):
    judgement = verdict(
        table,
        lambda cell: 0.5 - cell.delta2,
        where=lambda cell: cell.alpha <= 0.6,
        exclude=lambda cell: cell.alpha == 0,
    )
    assert (judgement.cells, judgement.excluded) == (6, 3)
    empty = verdict(table, lambda cell: cell.delta2, where=lambda cell: cell.alpha > 2)
    assert empty.verdict is Verdict.UNDECIDED
    assert empty.reason == "no cell counts."


def test_windows_compare_neighbours_only(table):
    pairs = []

    def margin(first, second):
        pairs.extend(
            zip(first.alpha, second.alpha, first.temperature, second.temperature, strict=True)
        )
        return second.alpha - first.alpha

    assert verdict(table, margin, along="alpha").verdict is Verdict.HOLDS
    assert len(pairs) == 9
    assert all(a < b and s == t for a, b, s, t in pairs)
    assert verdict(table, lambda a, b: a.alpha - b.alpha, along="alpha").counterexample[
        "followed_by"
    ]


def test_expected_verdicts_and_conjectures(table):
    expected = verdict(table, lambda cell: 1 - cell.delta2, expected=Verdict.HOLDS)
    assert expected.as_expected
    assert not dataclasses.replace(expected, verdict=Verdict.UNDECIDED).as_expected
    conjecture = verdict(table, lambda cell: 1 - cell.delta2)
    assert conjecture.as_expected
    assert not dataclasses.replace(conjecture, verdict=Verdict.UNDECIDED).as_expected


def test_cells_predict_by_convention():
    problems = (
        GRID.problems()
        + Grid((sx.ClassStructure((2, 2), 2),), ("full",), (0.6,), (0.5,), ("exclude",)).problems()
    )
    cells = claims.Cells(sweep(problems))
    predicted = cells.predict(theory.delta2)
    assert predicted[-1] == float(theory.delta2(2, 2, 2, 0.6, 0.5, self_pairs="exclude"))
    assert predicted[0] == float(theory.delta2(2, 2, 1, 0.0, 0.2))
    with pytest.raises(AttributeError, match="cells have no 'delta'"):
        _ = cells.delta


def test_a_wrong_formula_is_refuted(table):
    """Change a constant of theory by a little more than a bracket is wide: the claim fails."""
    right = verdict(table, lambda cell: equal(cell.delta2, cell.predict(theory.delta2)))
    assert right.verdict is Verdict.HOLDS
    wrong = verdict(
        table, lambda cell: equal(cell.delta2, cell.predict(theory.delta2) * (1 + 1e-3))
    )
    assert wrong.verdict is Verdict.REFUTED


def test_a_flipped_convention_is_refuted():
    structure = sx.ClassStructure((2, 2, 2), 2)
    cells = sweep(Grid((structure,), ("full",), (0.3, 0.6), (0.3,), ("exclude",)).problems())

    def flipped(cell):
        return equal(cell.delta2, cell.predict(lambda *a, self_pairs: theory.delta2(*a)))

    assert verdict(cells, flipped).verdict is Verdict.REFUTED


def test_the_shipped_collection_is_complete():
    collection = claims.collect(proofs_numeric.modules())
    names = [claim.name for claim in collection]
    assert len(names) == len(set(names))
    assert {
        "boundary_included",
        "boundary_excluded",
        "summary_guideline",
        "majority_guideline",
    } <= {*names}
    assert all(claim.expected and claim.source and claim.statement for claim in collection)


def test_quick_verification_is_as_expected():
    report = claims.verify(claims.collect(proofs_numeric.modules()), size="quick")
    document = report.to_json()
    assert report.as_expected, [j.claim.name for j in report.judgements if not j.as_expected]
    assert document["worst_gap"] <= 1e-9
    assert document["certified"] == document["cells"] > 300
    guideline = next(c for c in document["claims"] if c["name"] == "summary_guideline")
    assert guideline["verdict"] == "REFUTED"
    example = guideline["counterexample"]
    m, n = example["num_classes"], example["num_instances"]
    assert example["alpha"] >= 1 / n
    assert example["temperature"] <= 1 / np.log(m)
    assert example["phase"] == "collapse"
