"""Statements of known truth, made from closed forms: what the search says of them."""

from collections import Counter
from typing import Any, cast

import numpy as np
import planted
import pytest

import ssem_jax as sx

ONE_SHAPE = ((2, 2),)
"""In the fast tests, so that one kernel is compiled."""


def told(outcomes, fate):
    return "\n".join(one.told for one in outcomes if one.fate == fate)


def check(outcomes, most_undecided, most_unseen):
    """Nothing is wrong; where a corner was not seen, it says how closely it was looked for."""
    fates = Counter(one.fate for one in outcomes)
    assert fates["wrong"] == 0, told(outcomes, "wrong")
    assert fates["undecided"] <= most_undecided, told(outcomes, "undecided")
    assert fates["unseen"] <= most_unseen, told(outcomes, "unseen")
    for one in outcomes:
        if one.fate == "unseen":
            assert "unexplored" in one.told
            assert "worst margin" in one.told


@pytest.mark.slow  # others are planted in claims/test_search.py
def test_sixteen_statements_are_judged_as_they_are():
    statements = planted.generated(16, seed=5, shapes=ONE_SHAPE)
    outcomes = list(planted.judged(statements, sx.claims.Budget(cells=250)))
    check(outcomes, most_undecided=1, most_unseen=1)


@pytest.mark.slow
def test_two_hundred_statements_are_judged_as_they_are():
    outcomes = list(planted.judged(planted.generated(200), sx.claims.Budget(cells=400)))
    check(outcomes, most_undecided=10, most_unseen=10)


def test_statements_are_half_true_and_a_quarter_false_in_corners():
    statements = planted.generated(24, shapes=ONE_SHAPE)
    assert Counter(one.sort for one in statements) == {"true": 12, "false": 6, "corner": 6}
    assert len({one.claim.statement for one in statements}) == 24
    assert all(one.false_on <= planted.CORNER for one in statements if one.sort == "corner")
    assert all(one.false_on > 0.01 for one in statements if one.sort == "false")


def test_truth_is_what_random_points_say():
    """Of bounds: sampled anew, off the grid that their truth was taken from."""
    random = np.random.default_rng(0)
    bounds = [
        one for one in planted.generated(24, shapes=ONE_SHAPE) if " at " in one.claim.statement
    ]
    assert len(bounds) > 6
    for one in bounds:
        if "α_c" in one.claim.statement:
            continue
        ranges = cast(sx.Space, one.claim.domain).ranges
        alpha = random.uniform(ranges["alpha"].low, ranges["alpha"].high, 20_000)
        low, high = np.log([ranges["temperature"].low, ranges["temperature"].high])
        exact = exact_cells(alpha, np.exp(random.uniform(low, high, 20_000)))
        broken = float(np.mean(one.claim.margin(exact).high < 0))
        assert broken == pytest.approx(one.false_on, abs=0.01)
        assert (broken > 0) == (one.false_on > 0)


def exact_cells(alpha, tau):
    """Cells whose brackets are the closed forms of (m, n) = (2, 2)."""
    shape = (*ONE_SHAPE[0], 1)

    class Exact:
        temperature = tau
        delta2 = sx.claims.Interval(sx.theory.delta2(*shape, alpha, tau))
        minimum = sx.claims.Interval(sx.theory.loss(*shape, alpha, tau))
        within_similarity = sx.claims.Interval(sx.theory.similarities(*shape, alpha, tau).within)
        between_variance = sx.claims.Interval(sx.theory.variances(*shape, alpha, tau).between)

    cells: Any = Exact
    cells.alpha = alpha
    return cells
