"""The guide against its closed forms, against free minimisation, and against bad wishes."""

import json
import math
from typing import Any

import jax
import numpy as np
import pytest

import ssem_jax as sx
from ssem_jax import theory
from ssem_jax.advice import Guide, UnbalancedGuide, guide, merged
from ssem_jax.advice.guides import MODERATE
from ssem_jax.problem import Phase

DESIGNED = 1e-9
"""δ² at a τ that was searched, against the wanted one: 1e-12 in τ, times a slope of some 10."""
SOLVED = 1e-6
"""Variance by the reduced program against free minimisation: either gap is below 1e-11, and the
bracket that leaves narrower, away from a threshold."""

BALANCED = sx.ClassStructure.balanced(3, 4, 2)


def balanced(*given: Any, **options: Any) -> Any:
    """The answer for `BALANCED`, which is a `Guide`."""
    answer = guide(BALANCED, *given, **options)
    assert isinstance(answer, Guide)
    return answer


def as_printed(answer):
    """Its JSON as a reader gets it, and its text."""
    return json.loads(json.dumps(answer.to_json(), allow_nan=False)), "\n".join(answer.lines())


def test_given_both_it_predicts():
    answer = balanced(0.7, 0.3)
    cell = (3, 4, 2, 0.7, 0.3)
    assert answer.delta2 == float(theory.delta2(*cell))
    assert answer.alpha_c == float(theory.alpha_c(3, 4, 2, 0.3))
    assert answer.tau_c == float(theory.tau_c(3, 4, 2, 0.7))
    document, text = as_printed(answer)
    assert {"alpha", "temperature", "alpha_c", "tau_c", "delta2", "phase"} <= set(document)
    assert (document["phase"], document["chosen"]) == ("spread", [])
    assert "spread: the instances of a class stay apart" in text
    assert "d ≥ 11 here" in text
    assert answer._repr_html_().startswith(
        "<pre style='white-space: pre-wrap'>A batch of 3 classes × 4 × 2 views"
    )
    rows = {(row["num_classes"], row["num_instances"]): row for row in document["batch"]}
    assert set(rows) == {(3, 2), (3, 4), (6, 4), (3, 8)}  # half of 3 classes is no batch
    assert rows[6, 4]["tau_c"] == float(theory.tau_c(6, 4, 2, 0.7))
    assert rows[3, 8]["delta2"] == float(theory.delta2(3, 8, 2, 0.7, 0.3))


@pytest.mark.parametrize("self_pairs", ["include", "exclude"])
def test_a_wanted_variance_is_reached_by_what_is_chosen(self_pairs):
    for given in ({}, {"alpha": 0.8}, {"temperature": 0.4}):
        answer = balanced(**given, self_pairs=self_pairs)
        assert answer.wanted == MODERATE
        assert set(answer.chosen) == {"alpha", "temperature"} - set(given)
        assert answer.delta2 == pytest.approx(MODERATE, abs=DESIGNED)
    answer = balanced(0.8, 0.1, delta2=0.4, self_pairs=self_pairs)
    low, high = answer.temperatures_for_wanted
    assert 0 < low < answer.peak[0] < high < answer.tau_c
    cells = [(0.8, low), (0.8, high), (answer.alpha_for_wanted, 0.1)]
    alphas, taus = np.transpose(cells)
    found = theory.delta2(3, 4, 2, alphas, taus, self_pairs)
    np.testing.assert_allclose(found, 0.4, rtol=0, atol=DESIGNED)


def test_out_of_reach_it_names_the_peak():
    answer: Any = guide(sx.ClassStructure.balanced(3, 4), 0.5, delta2=0.5)
    tau, most = answer.peak
    assert answer.temperatures_for_wanted == ()
    assert answer.temperature == tau
    near = theory.delta2(3, 4, 1, 0.5, tau * np.array([0.99, 1, 1.01]))
    assert most == near[1] == near.max()
    assert most == pytest.approx(0.2265, abs=5e-5)
    assert "out of reach; at most 0.2265, at τ = 0.3539" in as_printed(answer)[1]


def test_ends():
    collapsed = balanced(0.1)
    assert (collapsed.tau_c, collapsed.delta2, collapsed.phase) == (0, 0, Phase.COLLAPSE)
    assert "at this α classes collapse at every τ" in as_printed(collapsed)[1]
    spread = balanced(1.0)
    document, text = as_printed(spread)
    assert math.isinf(spread.tau_c)
    assert document["tau_c"] is None
    assert "classes stay apart at every τ" in text
    parted = balanced(0.0, 0.2, self_pairs="exclude")
    document, text = as_printed(parted)
    assert document["phase"] == "view_spread"
    assert document["within_variance"] == document["view_variance"] > 0
    assert "α_v at this τ" in text
    alone: Any = guide(sx.ClassStructure.balanced(3, 4), self_pairs="exclude")
    assert (alone.alpha, alone.alpha_for_wanted) == (0, None)
    assert "α must be 0" in as_printed(alone)[1]


def test_inverse_design_round_trips_through_free_minimisation():
    structure = sx.ClassStructure.balanced(3, 4)
    by_alpha = guide(structure, temperature=0.3, delta2=0.3)
    by_tau: Any = guide(structure, 0.8, delta2=0.3)
    alphas = np.array([by_alpha.alpha, 0.8, 0.8])
    taus = np.array([0.3, *by_tau.temperatures_for_wanted])
    problem = sx.Problem(structure, sx.geometry.full_dimension(structure), sx.SupCL(alphas, taus))
    certificate = sx.certify(sx.solve(problem, jax.random.key(0)))
    assert np.all(certificate.certified)
    low, high = certificate.brackets["delta2"]
    assert np.all((low <= 0.3) & (high >= 0.3))
    assert np.all(high - low < 1e-3)


@pytest.fixture(scope="module")
def unbalanced():
    return guide(sx.ClassStructure((2, 6, 3)), 0.35, 0.3, names=("a", "b", "c"))


def test_unbalanced_classes_are_what_free_minimisation_finds(unbalanced):
    assert isinstance(unbalanced, UnbalancedGuide)
    problem = sx.Problem(unbalanced.structure, 11, sx.SupCL(0.35, 0.3))
    solution = sx.solve(problem, jax.random.key(0))
    certificate = sx.certify(solution)
    assert certificate.certified
    assert abs(unbalanced.value - float(certificate.value)) <= unbalanced.gap + certificate.gap
    free = sx.geometry.class_variances(solution.embeddings, unbalanced.structure)
    np.testing.assert_allclose(unbalanced.class_variances.delta2, free.delta2, rtol=0, atol=SOLVED)
    cosines = sx.geometry.class_mean_cosines(solution.embeddings, unbalanced.structure)
    np.testing.assert_allclose(unbalanced.cosines, cosines, rtol=0, atol=10 * SOLVED)
    low, high = certificate.brackets["delta2"]
    assert low - 1e-12 <= unbalanced.delta2 <= high + 1e-12


def test_unbalanced_classes_have_thresholds_of_their_own(unbalanced):
    document, text = as_printed(unbalanced)
    thresholds = sx.advice.collapse_thresholds(unbalanced.structure, 0.3)
    rows = {row["name"]: row for row in document["classes"]}
    assert [rows[name]["alpha_c"] for name in "abc"] == thresholds.tolist()
    assert document["alpha_c"] == rows["b"]["alpha_c"]
    assert rows["a"]["size"] == 2
    for row in rows.values():
        assert row["collapsed"] == (row["alpha_c"] >= 0.35) == (row["delta2"] < SOLVED)
    assert "no two classes merge" in text
    assert text.index("  b ") < text.index("  c ") < text.index("  a ")  # largest first


MERGED = 2e-6
"""A threshold by sizes against one by classes: the barrier blurs it by √(ν/π), 7e-7 seen."""


@pytest.mark.parametrize("sizes", [(2, 6, 3), (3, 6, 3)])
def test_many_classes_are_solved_by_their_sizes(sizes, monkeypatch):
    """As by their classes, where there are few."""
    structure = sx.ClassStructure(sizes)
    searched: list[int] = []
    by_class: Any = guide(structure, 0.35, 0.3, progress=searched.append)
    assert sum(searched) == len(set(sizes))
    monkeypatch.setattr(merged, "FEW_CLASSES", 0)
    told: list[int] = []
    by_size: Any = guide(structure, 0.35, 0.3, progress=told.append)
    assert sum(told) == len(set(sizes))
    assert abs(by_size.value - by_class.value) <= by_size.gap + by_class.gap
    assert by_size.gap < 1e-9
    np.testing.assert_allclose(by_size.thresholds, by_class.thresholds, rtol=0, atol=MERGED)
    for mine, theirs in (
        (by_size.class_variances.delta2, by_class.class_variances.delta2),
        (by_size.class_variances.view, by_class.class_variances.view),
        (by_size.cosines, by_class.cosines),
        (by_size.total_variance, by_class.total_variance),
        (by_size.curves()[1], by_class.curves()[1]),
    ):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=10 * SOLVED)


def test_a_random_batch_of_a_thousand_classes():
    """Some 630 classes of five sizes; their thresholds lie close together, large classes first."""
    labels = np.random.default_rng(0).integers(0, 1000, 1024)
    sizes = np.array([count for count in np.bincount(labels) if count])
    answer: Any = guide(sx.ClassStructure(tuple(sizes.tolist())), 0.8828, 0.2)
    assert answer.structure.num_classes > 600
    assert answer.gap < 1e-9
    assert np.array_equal(np.isnan(answer.thresholds), sizes == 1)
    assert np.array_equal(answer.collapsed, sizes < 4)
    assert np.array_equal(answer.collapsed, answer.class_variances.delta2 < 2e-6)


def test_merged_minorities_are_warned_of():
    answer = guide(sx.ClassStructure((60, 2, 2)), 0.0, 2.0, mean="anchors")
    document, text = as_printed(answer)
    assert document["near_pairs"] == [["1", "2"]]
    assert "the means of 1 and 2 have a cosine of" in text
    assert document["phase"] == "collapse"


def test_a_guide_in_a_line():
    equal = sx.guide(sx.ClassStructure.balanced(2, 2), 0.5, 0.005)
    assert repr(equal) == (
        "<Guide: 2 classes × 2, self pairs included; α = 0.5, τ = 0.005; collapse, δ² = 0.0000>"
    )
    # What reaches δ² = 0.3 is so near 1 that no float64 lies between, and that is said.
    assert "α = 1 but for a rounding" in "\n".join(equal.lines())


def test_bad_wishes():
    for changes, message in [
        ({"alpha": 1.2}, r"alpha must lie in \[0, 1\]; got 1.2"),
        ({"temperature": 0.0}, "temperature must be positive and finite; got 0"),
        ({"delta2": 0.98}, r"delta2 must lie above 0, .* at most 0.818182, .*; got 0.98"),
        ({"delta2": 0.0}, "delta2 must lie above 0"),
        ({"self_pairs": "maybe"}, "self_pairs must be one of"),
        ({"mean": "rows"}, "mean must be one of"),
    ]:
        with pytest.raises(ValueError, match=message):
            guide(BALANCED, **changes)
    with pytest.raises(ValueError, match="every class has one instance in the batch"):
        guide(sx.ClassStructure.balanced(3, 1), 1.0)
    with pytest.raises(ValueError, match="num_views must be at least 2 when alpha > 0"):
        guide(sx.ClassStructure.balanced(3, 4), 0.5, self_pairs="exclude")
    with pytest.raises(ValueError, match="solved up to 128 classes; got 129"):
        guide(sx.ClassStructure(tuple(range(2, 131))), 0.5, 0.5)
    assert isinstance(guide(sx.ClassStructure.balanced(1000, 2), 0.5, 0.5), Guide)
