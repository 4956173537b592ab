"""What is answered of random batches is what theory says of them."""

import json
import math

import pytest

from ssem_jax import theory
from ssem_jax.advice import guide_random_batches

FEW = (10, None, 1, 64)


def test_random_batches_beside_a_stratified_one():
    answer = guide_random_batches(10, 64, 0.6, 0.5, mean="anchors")
    told = json.loads(json.dumps(answer.to_json(), allow_nan=False))
    assert told["alpha_c"] == theory.random_alpha_c(*FEW, 0.5, mean="anchors")
    assert told["delta2"] == theory.random_delta2(*FEW, 0.6, 0.5, mean="anchors")
    assert told["tau_c"] == theory.random_tau_c(*FEW, 0.6, mean="anchors")
    assert told["phase"] == ("spread" if told["alpha_c"] < 0.6 else "collapse")
    assert told["chosen"] == []
    stratified = told["stratified"]
    assert (stratified["num_classes"], stratified["num_instances"]) == (10, 6)
    assert told["minimum"] <= told["collapsed_loss"] < told["all_equal_loss"] == math.log(64)
    assert repr(answer) == (
        f"<RandomGuide: random batches of 64 of 10 classes; α = 0.6, τ = 0.5; {told['phase']}, "
        f"δ² = {told['delta2']:.4f}>"
    )
    assert stratified["alpha_c"] == pytest.approx(float(theory.alpha_c(10, 6, 1, 0.5)))


def test_what_is_not_given_is_chosen():
    answer = guide_random_batches(1000, 1024, temperature=0.5, mean="all")
    assert answer.alpha_c == pytest.approx(0.990, abs=5e-4)
    assert answer.delta2 == pytest.approx(0.3)
    assert answer.chosen == ("alpha",)
    text = "\n".join(answer.lines())
    assert "(chosen), τ = 0.5" in text
    assert "Random batches of 1024 instances" in text
    only = guide_random_batches(10, 64, self_pairs="exclude")
    assert (only.alpha, only.temperature, only.phase) == (0, 0.1, "collapse")
    assert only.to_json()["tau_c"] == 0


def test_an_alpha_without_positives_is_refused():
    with pytest.raises(ValueError, match=r"num_views must be at least 2 when alpha > 0"):
        guide_random_batches(10, 64, 0.5, self_pairs="exclude")
