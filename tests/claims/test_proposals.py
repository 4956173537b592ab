"""Proposals: sound on their table, simple, claims that can be judged; planted rules are found."""

from typing import Any, cast

import numpy as np
import polars as pl
import pytest

import ssem_jax as sx
from ssem_jax import theory
from ssem_jax.claims import files
from ssem_jax.claims.proposals import features, thresholds


def planted(rule, step=0.02):
    """Cells whose classes collapse exactly up to an α of one's own."""
    rows = []
    for m in (2, 3, 5):
        for n in (2, 4, 8):
            for tau in (0.2, 0.5, 1.0):
                threshold = rule(m, n, tau)
                for alpha in np.arange(0, 1 + step / 2, step):
                    spread = float(alpha) > threshold
                    rows.append((m, n, 1, "include", tau, float(alpha), 0.1 * spread))
    names = ("num_classes", "num_instances", "num_views", "self_pairs", "temperature", "alpha")
    table = pl.DataFrame(rows, [*names, "delta2_lo"], orient="row")
    return table.with_columns(delta2_hi=pl.col("delta2_lo"))


@pytest.fixture(scope="module")
def table():
    return planted(lambda m, n, tau: 1 / n + 0.3 * tau)


def test_a_planted_rule_is_found(table):
    best = sx.claims.propose(table)[0]
    assert set(best.terms) >= {"1/n", "τ"}
    assert best.distance < 0.05
    assert best.tight > 0.2


@pytest.mark.parametrize("side", ["above", "below"])
def test_every_proposal_is_sound_on_its_table(table, side):
    ends = thresholds(table)
    found = sx.claims.propose(table, side=side, count=9)
    assert len(found) == 9
    for each in found:
        values = features(sx.claims.Cells(ends), list(each.terms))
        bound = values @ np.array([*each.terms.values()], float)
        if side == "above":
            assert np.all(bound >= ends["alpha_c_hi"].to_numpy())
        else:
            assert np.all(bound <= ends["alpha_c_lo"].to_numpy())
        assert all(value.denominator <= 100 for value in each.terms.values())


def best_known(cell):
    """The simplest rule that is proven for τ ≤ 1/log m."""
    return (1 + 1 / cell["num_instances"].to_numpy()) / 2


@pytest.fixture(scope="module")
def warm():
    """Cells with the true threshold, where τ ≤ 1/log m."""
    every = planted(lambda m, n, tau: float(theory.alpha_c(m, n, 1, tau)))
    return every.filter(pl.col("temperature") <= 1 / pl.col("num_classes").log())


def test_a_guideline_better_than_the_best_known_is_found(warm):
    """Thresholds of α alone lead to a rule that asks for less α in every cell."""
    best = sx.claims.propose(warm, most_terms=2)[0]
    assert set(best.terms) == {"1/n", "(1-1/n) τ log m"}
    ends = thresholds(warm)
    rule = features(sx.claims.Cells(ends), list(best.terms)) @ [
        float(c) for c in best.terms.values()
    ]
    asked = rule / ends["alpha_c_hi"].to_numpy(), best_known(ends) / ends["alpha_c_hi"].to_numpy()
    assert np.all(asked[0] >= 1)
    assert np.all(asked[0] <= asked[1])
    assert np.median(asked[0]) < 1.2 < 1.5 < np.median(asked[1])


def test_a_claim_reaches_as_far_as_the_table_of_each_number_of_classes(warm, tmp_path):
    path = tmp_path / "warm.py"
    path.write_text(sx.claims.as_claims(sx.claims.propose(warm, count=1), warm), encoding="utf-8")
    claim: Any = files.conjectures(files.load(path))[0]
    every = planted(lambda m, n, tau: 0.0)
    held = claim.domain.where(sx.claims.Cells(every))
    hottest = every.filter(held).group_by("num_classes").agg(pl.col("temperature").max())
    assert dict(hottest.rows()) == {2: 1.0, 3: 0.5, 5: 0.5}


def test_a_bracket_is_bounded_likewise(table):
    best = sx.claims.propose(table, "delta2", most_terms=1)[0]
    assert best.rule
    assert best.side == "above"


def test_proposals_are_claims_that_can_be_judged(table, tmp_path):
    found = sx.claims.propose(table, count=2) + sx.claims.propose(table, "delta2", count=1)
    path = tmp_path / "rules_proposed.py"
    path.write_text(sx.claims.as_claims(found, table), encoding="utf-8")
    claims: list[Any] = files.conjectures(files.load(path))
    assert [claim.name for claim in claims] == ["proposal_1", "proposal_2", "proposal_3"]
    cells = sx.claims.Cells(table)
    first = claims[0]
    assert first.statement == f"Where α >= {found[0].rule}, classes spread."
    counted = first.domain.where(cells)
    assert 0 < counted.sum() < len(cells)
    assert np.all(first.margin(cells).low[counted] > 0)
    assert np.all(claims[2].margin(cells).low >= 0)


def test_no_bracket_no_proposal(table):
    with pytest.raises(sx.claims.ClaimError, match=r"no bracket of alpha_c is in the table; sweep"):
        sx.claims.propose(table.filter(pl.col("alpha") < 0.1))
    with pytest.raises(ValueError, match="quantity must be one of"):
        sx.claims.propose(table, "beta")
    with pytest.raises(ValueError, match="every proposal must be a Proposal, of propose"):
        sx.claims.as_claims(cast(Any, [None]), table)
