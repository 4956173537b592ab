"""Words for symbols: whatever a claim, a table or a box can name has one."""

from ssem_jax import balls
from ssem_jax.problem import Phase
from ssem_jax.problem.problem import PHASES
from ssem_jax.sweeps import SCHEMA
from ssem_jax.sweeps.words import (
    COORDINATES,
    WORDS,
    axis,
    number,
    plain,
    short,
    typed,
)


def test_coordinates_and_quantities_have_words():
    assert set(COORDINATES) <= WORDS.keys() & SCHEMA.keys()
    brackets = {name.removesuffix("_lo") for name in SCHEMA if name.endswith("_lo")}
    assert brackets
    assert brackets <= WORDS.keys()
    quantities = {"minimum", "total_variance", "within_variance", "value"}
    assert quantities <= WORDS.keys()


def test_variables_of_boxes_have_words():
    for self_pairs in ("include", "exclude"):
        for proof in (
            balls.prove_guideline(self_pairs),
            balls.prove_small_mixing_collapses(self_pairs),
        ):
            assert proof.box.keys() <= WORDS.keys()


def test_every_phase_that_is_decided_has_a_sentence():
    assert set(Phase) - PHASES.keys() == {Phase.UNDECIDED}


def test_a_word_in_its_four_forms():
    assert (typed("temperature"), typed("alpha"), typed("num_views")) == ("tau", "alpha", "p")
    assert typed("pull_strength") == "pull_strength"
    assert (plain("alpha"), short("alpha")) == ("α", r"$\alpha$")
    assert axis("alpha") == r"mixing coefficient $\alpha$"
    assert axis("share") == short("share") == r"share $\varphi$"


def test_a_hyper_parameter_of_another_loss_stands_for_itself():
    assert (plain("pull_strength"), short("pull_strength"), axis("pull_strength")) == (
        "pull strength",
        "pull_strength",
        "pull_strength",
    )
    assert (number(0.12345), number(3)) == ("0.123", "3")
