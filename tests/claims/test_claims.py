"""Claims: intervals, verdicts, and the shipped collection."""

import copy
import dataclasses
import pickle

import numpy as np
import polars as pl
import pytest

import proofs_numeric
import ssem_jax as sx
from ssem_jax import claims, theory
from ssem_jax.claims import Claim, ClaimError, Domain, Interval, Verdict, equal, judge
from ssem_jax.claims.judgements import _smallest
from ssem_jax.sweeps import Grid, sweep

STRUCTURE = sx.ClassStructure((2, 2))
GRID = Grid((STRUCTURE,), ("full",), (0.0, 0.3, 0.6, 1.0), (0.2, 0.5, 1.0))
DOMAIN = Domain((GRID,))


@pytest.fixture(scope="module")
def table():
    return sweep(GRID.problems())


def verdict(table, margin, **options):
    return judge(Claim("claim", "statement", margin, DOMAIN, **options), table)


def test_the_clearest_of_equally_small_counterexamples_is_told(table):
    """As clear as the upper end of its margin is low, whatever the lower end says."""
    high = np.linspace(-0.1, -0.9, len(table))
    low = -2 - high
    told = _smallest((claims.Cells(table),), np.arange(len(table)), Interval(low, high))
    assert told == table.row(len(table) - 1, named=True)


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


def test_zero_holds_in_closed_claims_only(table):
    """Brackets of what cannot be negative end at exactly 0, and so does this margin."""
    collapsed = table.filter(pl.col("alpha") == 0)
    assert collapsed["delta2_lo"].max() == 0

    def judged(margin, **options):
        return judge(Claim("claim", "statement", margin, DOMAIN, **options), collapsed)

    strict = judged(lambda cell: cell.delta2)
    assert strict.verdict is Verdict.UNDECIDED
    assert "In 3 of them the margin may be 0; closed=True is for ≥ and ≤." in strict.reason
    assert judged(lambda cell: cell.delta2, closed=True).verdict is Verdict.HOLDS
    for closed in (False, True):
        zero = judged(lambda cell: 0 * cell.delta2, closed=closed)
        assert zero.verdict is (Verdict.HOLDS if closed else Verdict.UNDECIDED)
        assert judged(lambda cell: -1 - cell.delta2, closed=closed).verdict is Verdict.REFUTED
        assert judged(lambda cell: 1 - cell.delta2, closed=closed).verdict is Verdict.HOLDS
        rows = claims.outcomes(
            Claim("c", "s", lambda c: c.delta2, DOMAIN, closed=closed), collapsed
        )
        assert rows["outcome"].to_list() == ["holds" if closed else "undecided"] * 3


@pytest.mark.parametrize(
    ("margin", "message"),
    [
        (lambda c: c.delta2 == 0, r"raised TypeError: .* sx\.equal\(quantity, prediction\)"),
        (lambda c: c.delta2 != 0, r"raised TypeError: .* abs\(quantity - value\)"),
        (lambda c: 1.0 if c.delta2 else -1.0, "raised TypeError: .* neither true nor false"),
        (lambda c: c.delta2 < 2, "raised TypeError: .* write the difference"),
        (lambda c: c.alpha < 2, "is true or false; a margin is a number, positive where"),
        (lambda c: True, "is true or false"),
        (lambda c: None, "must be numbers or an Interval; got NoneType"),
        (lambda c: [c.delta2, c.delta2], "must be numbers or an Interval; got list"),
        (lambda c: "1.0", "must be numbers or an Interval; got str"),
        (lambda c: Interval(0.5), r"must be one number for each of 12 cells; got shape \(\)"),
        (lambda c: c.delta2[:3], r"must be one number for each of 12 cells; got shape \(3,\)"),
        (lambda c: np.full((12, 2), np.nan), r"must be one number for each of 12 cells"),
        (
            lambda c: Interval(np.ones(12), np.zeros(12)),
            "raised ValueError: the ends of an interval",
        ),
        (lambda c: np.sqrt(-1 - c.delta2), r"raised ValueError: np\.sqrt is not defined below 0"),
    ],
)
def test_margins_that_python_would_decide_by_default_are_refused(margin, message, table):
    with pytest.raises(ClaimError, match=f"claim: its margin {message}"):
        verdict(table, margin)


def test_conditions_on_brackets_are_refused(table):
    with pytest.raises(ClaimError, match="`where` raised TypeError: an interval is neither above"):
        verdict(table, lambda c: c.delta2, where=lambda c: c.delta2 > 0.5)


def test_phases_are_compared_with_codes_alone(table):
    collapsed = table.filter(pl.col("phase") == "collapse")
    cells = claims.Cells(collapsed)
    assert np.all(cells.phase == sx.Phase.COLLAPSE)
    assert not np.any(cells.phase != np.zeros(len(cells)))
    for compare in (lambda c: c.phase == "collapse", lambda c: c.phase != "collapse"):
        with pytest.raises(ClaimError, match=r"phases are codes: compare them with sx\.Phase\."):
            verdict(table, lambda c, compare=compare: np.where(compare(c), 1, -1))


def test_powers_roots_and_divisions_of_brackets(table):
    for margin in (
        lambda c: 1.1 - c.delta2**2,
        lambda c: 1.1 - np.sqrt(c.delta2),
        lambda c: np.exp(-c.delta2 / c.temperature) - np.float64(1e-9),
        lambda c: np.float64(2) * (1 - c.delta2) / (2 + c.delta2),
        lambda c: 2 - np.maximum(c.delta2, c.view_variance),
        lambda c: np.where(c.alpha > 0.5, 1 - c.delta2, 0.9 - c.delta2),
    ):
        assert verdict(table, margin).verdict is Verdict.HOLDS
    undecided = verdict(table, lambda c: 1 / c.delta2)  # may be 0 in collapse
    assert undecided.verdict is Verdict.UNDECIDED


def test_a_margin_of_no_certified_quantity_is_said_to_be_one(table):
    remark = "depends on coordinates alone: no certified quantity enters it."
    for margin in (lambda c: 1 + c.alpha, lambda c: 1.0, lambda c: Interval(1 + c.temperature)):
        judgement = verdict(table, margin)
        assert judgement.verdict is Verdict.HOLDS
        assert remark in judgement.reason
    assert remark in verdict(table, lambda c: c.alpha - 0.5).reason
    found = verdict(table, lambda c: 1 - c.found["delta2"])
    assert "one number in each cell, made from found: no bracket enters it" in found.reason
    ends = verdict(table, lambda c: 1 - c.delta2.high)
    assert "made from delta2: no bracket enters it" in ends.reason
    for margin in (
        lambda c: 1 - c.delta2,
        lambda c: equal(c.delta2, c.predict(theory.delta2)),
        lambda c: claims.same_phase(c.phase, c.phase),
        lambda c: Interval(1 - c.class_delta2.high[:, 0]),
    ):
        assert verdict(table, margin).reason == ""
    # What a condition reads is not what the margin reads.
    where = verdict(table, lambda c: 1 + c.alpha, where=lambda c: c.phase == sx.Phase.COLLAPSE)
    assert remark in where.reason


def test_cells_are_copied_and_pickled(table):
    cells = claims.Cells(table)
    for copied in (copy.copy(cells), copy.deepcopy(cells), pickle.loads(pickle.dumps(cells))):
        assert copied.delta2.low.tolist() == cells.delta2.low.tolist()
        with pytest.raises(
            AttributeError,
            match=r"cells have no 'delta' \(do you mean delta2\?\); they have delta2",
        ):
            _ = copied.delta


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
    with pytest.raises(
        AttributeError, match=r"cells have no 'delta' \(do you mean delta2\?\); they have delta2"
    ):
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
