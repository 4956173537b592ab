"""Why a verdict is UNDECIDED."""

import numpy as np
import polars as pl
import pytest

import ssem_jax as sx
from ssem_jax.claims import Cells, Interval
from ssem_jax.claims.reasons import why_undecided

CLAIM = sx.Claim("spreads", "δ² > 0.", lambda cell: cell.delta2, sx.Space(alpha=0.5))


class Group(Cells):
    """As much of cells as reasons look at: three of them."""

    def __init__(self, gap=0.0, **columns):
        known = {"temperature": [0.1, 0.2, 0.05], "alpha": [0.5] * 3, "delta2_lo": [0.0] * 3}
        super().__init__(pl.DataFrame(known | columns))
        self.gap = np.array([1e-13, 1e-13, gap])


def why(group, undecided=(False, False, True), decided=None):
    margin = Interval(np.array([0.1, 0.2, -0.25]), np.array([0.3, 0.3, 0.5]))
    margin.decided = decided
    return why_undecided(CLAIM, (group,), np.array(undecided), margin)


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (Group(delta2_hi=[0.1, 0.1, 0.47]), "-0.25 to 0.5, for the bracket of δ² is 0.47 wide."),
        (Group(), "There the margin may be -0.25 to 0.5."),
        (Group(gap=2e-6), "There the gap is 2.0e-06, above 1e-09: not certified."),
    ],
)
def test_the_first_undecided_cell_says_what_is_missing(group, words):
    assert why(group).endswith(words + " All cells from tau = 0.1 on are decided.")


def test_where_everything_is_decided():
    above = Group(temperature=[0.1, 0.2, 0.3])
    assert why(above).endswith(" All cells up to tau = 0.2 are decided.")
    between = Group(temperature=[0.1] * 3, alpha=[0.5, 0.6, 0.1])
    assert why(between).endswith(" All cells from alpha = 0.5 on are decided.")
    assert why(Group(), (True, True, True)) == " There the margin may be 0.1 to 0.3."
    unsteered = Group(temperature=[None] * 3, alpha=[None] * 3)
    assert why(unsteered) == " There the margin may be -0.25 to 0.5."


def test_what_is_said_of_all_cells_is_not_said_of_the_first():
    assert why(Group(gap=np.inf)) == " All cells from tau = 0.1 on are decided."
    own = why(Group(gap=2e-6), decided=np.ones(3, bool))  # it rests on other certificates
    assert own.startswith(" There the margin may be")
