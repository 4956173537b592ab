"""Random batches of a data set with unequal classes: what is answered is what is certified."""

import json

import pytest

from ssem_jax import theory
from ssem_jax.advice import guide_data_batches
from ssem_jax.advice.data_batches import _solved, few_sizes, stratified_sizes
from ssem_jax.certificate import COLLAPSE_TOLERANCE
from ssem_jax.certificate.symmetry import Level
from ssem_jax.losses import RandomBatches
from ssem_jax.problem import ClassStructure

ROOT = 1e-6
"""By how much a threshold that is searched may differ from a closed form. Seen: 1e-9."""
STEP = 2e-3
"""Beside a threshold: there a variance leaves `COLLAPSE_TOLERANCE`."""


def test_equal_classes_have_their_closed_forms():
    found = guide_data_batches(ClassStructure.balanced(4, 6), 8, 0.7, 0.5, mean="all")
    counts = (4, 6, 1, 8)
    assert found.alpha_c == pytest.approx(theory.random_alpha_c(*counts, 0.5, mean="all"), abs=ROOT)
    assert found.tau_c == pytest.approx(theory.random_tau_c(*counts, 0.7, mean="all"), rel=ROOT)
    delta2 = theory.random_delta2(*counts, 0.7, 0.5, mean="all")
    assert found.delta2 == pytest.approx(delta2, abs=ROOT)
    assert found.bracket[0] <= delta2 <= found.bracket[1]
    for loss, place in (
        (found.minimum, delta2),
        (found.collapsed_loss, 0.0),
        (found.all_equal_loss, None),
    ):
        there = theory.random_loss(*counts, 0.7, 0.5, place, mean="all")
        assert loss == pytest.approx(there, rel=1e-9)
    one = found.stratified
    assert one["alpha_c"] == pytest.approx(float(theory.alpha_c(4, 2, 1, 0.5)), abs=ROOT)
    assert one["tau_c"] == pytest.approx(float(theory.tau_c(4, 2, 1, 0.7)), rel=ROOT)
    assert one["delta2"] == pytest.approx(float(theory.delta2(4, 2, 1, 0.7, 0.5)), abs=ROOT)
    assert found.phase == "spread"


def test_unequal_classes_part_at_their_first_threshold():
    structure = ClassStructure((6, 3, 3))
    found = guide_data_batches(structure, 5, temperature=0.4)
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert {"alpha_c", "tau_c", "delta2", "phase", "stratified", "classes"} <= set(told)
    assert found.chosen == ("alpha",)
    assert [row["size"] for row in told["classes"]] == [6, 3]
    assert 0 < found.gap < 1e-9
    assert found.bracket[0] <= found.delta2 <= found.bracket[1]

    def spread(alpha):
        loss = RandomBatches(alpha, 0.4, 5, mean="pairs")
        program, solved, variances = _solved(structure, loss)
        level = Level(program, solved.value, solved)
        return level.bracket(variances.slopes[0], float(variances.constants[0]))

    assert spread(found.alpha_c - STEP)[1] < COLLAPSE_TOLERANCE
    assert spread(found.alpha_c + STEP)[0] > COLLAPSE_TOLERANCE
    text = "\n".join(found.lines())
    assert "Random batches of 5 instances" in text
    assert "3 classes (1 of 6, 2 of 3)" in text
    assert "Certified: δ² of all in [" in text


def test_many_sizes_are_rounded_to_a_few():
    sizes, rounded = few_sizes(tuple(range(10, 60)), 5)
    assert len(set(sizes)) <= 5
    assert 0.01 < rounded < 0.3
    assert few_sizes((5, 3, 3), 2) == ((5, 3, 3), 0.0)


def test_a_stratified_batch_has_two_of_a_class_at_least():
    assert stratified_sizes(ClassStructure((60, 30, 10)), 20) == (12, 6, 2)
    assert stratified_sizes(ClassStructure((98, 2)), 4) == (2, 2)
    assert stratified_sizes(ClassStructure((35, 35, 30)), 10) == (4, 4, 2)
    assert stratified_sizes(ClassStructure.balanced(10, 9), 8) == (2, 2, 2, 2)
    assert stratified_sizes(ClassStructure((9, 1, 1)), 6) == (4, 1, 1)


@pytest.mark.parametrize(
    ("sizes", "batch", "options", "message"),
    [
        ((3, 2), 6, {}, r"a batch of 6 instances is larger than classes of 3,2"),
        ((3, 2), 3, {}, r"a batch must be an integer of at least 4; got 3"),
        ((1, 1, 1, 1), 4, {"alpha": 1.0}, r"every class has one instance in the data set"),
        ((4, 2), 4, {"alpha": 1.5}, r"alpha must lie in \[0, 1\]; got 1\.5"),
        ((4, 2), 4, {"temperature": 0}, r"temperature must be positive.*got 0"),
        (
            (4, 2),
            4,
            {"alpha": 0.5, "self_pairs": "exclude"},
            r"num_views must be at least 2 when alpha > 0 and self pairs are excluded",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(sizes, batch, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        guide_data_batches(ClassStructure(sizes), batch, **options)
    assert "\n" not in str(caught.value)
