"""Conditions on cells, and what two runs share."""

import polars as pl
import pytest

from ssem_jax.sweeps import SCHEMA, compare, filtered, joined
from ssem_jax.sweeps.selection import coordinates


def table(**columns):
    """Two cells as a sweep writes them, 0 or "x" where nothing is said."""
    empty = {name: "x" if kind == pl.String else 0 for name, kind in SCHEMA.items()}
    whole = empty | {"num_instances": [2, 4], "alpha": [0.1 * 3, 0.5]} | columns
    whole = {name: v if isinstance(v, list) else [v] * 2 for name, v in whole.items()}
    own = {name: v for name, v in whole.items() if name not in SCHEMA}
    return pl.DataFrame({n: whole[n] for n in SCHEMA}, schema=SCHEMA).with_columns(
        pl.Series(name, values) for name, values in own.items()
    )


CELLS = table(temperature=[0.1, 1.0], self_pairs=["include", "exclude"])


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("n == 2", [0]),
        ("num_instances != 2", [1]),
        ("alpha == 0.3", [0]),  # as 3 * 0.1 of a grid, which is another float
        ("0.3 == alpha", [0]),
        ("alpha in (0.3, 0.5)", [0, 1]),
        ("alpha not in [0.5]", [0]),
        ("0.2 <= tau < 2", [1]),
        ("tau > -1 and self_pairs == 'include'", [0]),
        ("n == 2 or not (tau < 0.5)", [0, 1]),
        (" self_pairs in {'exclude'} ", [1]),
    ],
)
def test_conditions_as_one_writes_them(where, rows):
    assert filtered(CELLS, where).equals(CELLS[rows])


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("n = 2", "is no condition on cells; write columns, numbers and quoted words"),
        ("n", "is no condition on cells"),
        ("n is 2", "is no condition on cells"),
        ("n in 2", "is no condition on cells"),
        ("sin(n) > 2", "is no condition on cells"),
        ("beauty == 1", r"the table has no column 'beauty'; it has tau, m, n, p, d, sizes, "),
        ("self_pairs == include", "the table has no column 'include'.*Words stand in quotes"),
        ("n == 'two'", "compares numbers with words"),
        ("n == 3 and tau < 1", r"no cell of 2 has n == 3 and tau < 1; there n is 2, 4; tau is "),
    ],
)
def test_what_is_no_condition_is_refused(where, message):
    with pytest.raises(ValueError, match=message):
        filtered(CELLS, where)


def test_nothing_of_nothing_is_no_error():
    assert filtered(CELLS.clear(), "n == 3").is_empty()


def test_runs_are_joined_and_the_better_certificate_stays():
    better = CELLS.with_columns(gap=pl.Series([-1.0, 1.0]), seed=pl.lit(7))
    whole = joined([CELLS, better, table(alpha=[0.7, 0.8])])
    assert whole["seed"].to_list() == [0, 7, 0, 0] or whole["seed"].to_list() == [7, 0, 0, 0]
    assert len(whole) == 4
    assert joined([CELLS]).equals(CELLS)
    with pytest.raises(ValueError, match="give at least one table to join"):
        joined([])


def test_two_runs_are_compared_on_what_both_have():
    first = table(delta2_lo=0.1, delta2_hi=0.2, value=1.0, sharpness=[1.0, 2.0])
    second = first.with_columns(
        delta2=pl.Series([0.0, 0.5]),
        phase=pl.Series(["x", "spread"]),
        alpha=pl.Series([0.7, 0.5]),
    )
    assert "sharpness" in coordinates(first)
    found = compare(first, second)
    assert (found["common"], found["only_first"], found["only_second"]) == (1, 1, 1)
    assert found["largest_difference"]["delta2"] == 0.5
    assert found["phases"] == {"x → spread": 1}
    assert found["contradictions"] == 0


@pytest.mark.parametrize(
    ("change", "count"),
    [
        ({"delta2_lo": 0.21, "delta2_hi": 0.3}, 2),  # no truth lies in both brackets
        ({"delta2_lo": 0.15, "delta2_hi": 0.3}, 0),
        ({"lower": 1.1, "value": 1.2}, 2),  # a bound above what the other run found
        ({"lower": 1.1, "value": 1.2, "loss_code": "edited"}, 0),  # another loss
    ],
)
def test_certificates_that_contradict_each_other_are_counted(change, count):
    first = table(delta2_lo=0.1, delta2_hi=0.2, value=1.0)
    second = first.with_columns(**{name: pl.lit(value) for name, value in change.items()})
    assert compare(first, second)["contradictions"] == count
    assert compare(second, first)["contradictions"] == count


def test_runs_without_a_cell_in_common():
    found = compare(CELLS, table(alpha=[0.7, 0.8]))
    assert found["common"] == 0
    assert found["gaps"] == [None, None]
