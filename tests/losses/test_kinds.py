"""Losses that say their terms are the losses that they say they are."""

import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from ssem_jax.certificate.symmetry import Program, solve_program
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.losses import Sincere, SupCL, kinds
from ssem_jax.losses.kinds import Contrast
from ssem_jax.losses.terms import (
    BETWEEN,
    SELF,
    VIEW,
    WITHIN,
    Kind,
    Slot,
    Term,
    Terms,
    softmax_slots,
)
from ssem_jax.problem import ClassStructure

BALANCED = ClassStructure.balanced
SAME = 1e-13
"""Difference of two values of one loss, of order 1 to 10. Seen: 4e-15."""


@pytest.mark.parametrize(
    ("structure", "self_pairs", "mean"),
    [
        (BALANCED(2, 3, 2), "include", "pairs"),
        (BALANCED(3, 2, 2), "exclude", "anchors"),
        (BALANCED(2, 2, 3), "decouple", "pairs"),
        (ClassStructure((3, 2, 1)), "include", "pairs"),
        (ClassStructure((3, 2, 1), 2), "exclude", "anchors"),
    ],
)
def test_supcl_is_its_definition(structure, self_pairs, mean):
    program = Program(
        built.classes(structure), kinds.supcl_terms(structure, 0.3, 0.2, self_pairs, mean)
    )
    x = np.random.default_rng(1).uniform(-1, 1, program.num_variables)
    gram = gram_of(program, structure, x)
    expected = float(oracles.supcl(gram, structure, SupCL(0.3, 0.2, self_pairs, mean)))
    assert program.value(x) == pytest.approx(expected, abs=SAME)


def gram_of(program, structure, x):
    """Written out, row by row."""
    entries, rows = program.entries(x), oracles.labels(structure)

    def entry(a, b):
        relation = BETWEEN if a[0] != b[0] else WITHIN if a[1] != b[1] else VIEW
        fibres = (str(structure.sizes[k]) for k in (a[0], b[0]))
        return 1.0 if a == b else entries[Kind(relation, *fibres)]

    return [[entry(a, b) for b in rows] for a in rows]


@pytest.mark.parametrize("structure", [ClassStructure((3, 1, 2)), ClassStructure((3, 2, 3), 2)])
def test_sincere_is_its_definition(structure):
    """Of classes of one embedding, too, which are no anchors."""
    loss = Sincere(0.4)
    program = Program(built.classes(structure), loss.terms(structure))
    x = np.random.default_rng(1).uniform(-1, 1, program.num_variables)
    gram = jnp.asarray(gram_of(program, structure, x))
    expected = float(loss.from_gram(gram, structure))
    assert program.value(x) == pytest.approx(expected, abs=SAME)


def test_sums_and_multiples_of_losses():
    structure = BALANCED(3, 2)
    one, other = (kinds.supcl_terms(structure, alpha, 0.5) for alpha in (0.0, 1.0))
    mixed = kinds.supcl_terms(structure, 0.25, 0.5)
    algebra, x = built.classes(structure), np.array([0.3, -0.2])
    total = Program(algebra, one.scaled(0.75) + other.scaled(0.25)).value(x)
    assert total == pytest.approx(Program(algebra, mixed).value(x), abs=SAME)


def test_dhel_spreads_instances():
    """Decoupled hyperspherical energy: an anchor against instances of its own view index."""
    structure, tau = BALANCED(2, 2, 2), 0.5
    algebra = built.indexed_views(structure)
    (fibre,) = algebra.fibres
    near, far, match = (
        Kind(relation, fibre, fibre) for relation in ("within·self", "between·self", "self·other")
    )
    terms = Terms((Term(1.0, softmax_slots({near: 1, far: 2}, tau)),), {match: 1 / tau})
    program = Program(algebra, terms)
    found = program.entries(solve_program(program).x)
    assert found[match] == pytest.approx(1, abs=1e-6)
    assert [found[near], found[far]] == pytest.approx([-1 / 3] * 2, abs=1e-6)


def test_companions_are_hypergeometric():
    # Of 5 others, 2 of one's class; 3 drawn: C(2,k) C(3,3-k) / C(5,3).
    assert kinds.companions(5, 2, 3) == pytest.approx([0.1, 0.6, 0.3, 0.0], abs=1e-15)
    assert kinds.companions(5, 4, 3) == pytest.approx([0, 0, 0.6, 0.4], abs=1e-15)
    assert kinds.companions(10**6, 999, 1023).sum() == pytest.approx(1)


CONTRAST = Contrast(1.0, {WITHIN: 1.0, BETWEEN: 1.0}, {WITHIN: 1.0})
REFUSED = [
    (
        lambda: kinds.contrast_by_kind(BALANCED(2, 2), [CONTRAST._replace(against={"x": 1})], 1.0),
        r"relations are self, view, within, between; got 'x'",
    ),
    (
        lambda: kinds.contrast_by_kind(
            BALANCED(2, 2), [CONTRAST._replace(against={BETWEEN: -1.0})], 1.0
        ),
        r"weights in a denominator must not be negative",
    ),
    (
        lambda: kinds.contrast_by_kind(BALANCED(2, 1), [CONTRAST], 1.0),
        r"positive of relation 'within' has weight 1, and there is no such pair",
    ),
    (lambda: kinds.supcl_terms(BALANCED(2, 1), 0.5, 1.0), r"L_sup has no positive pair: every cl"),
    (
        lambda: kinds.supcl_terms(BALANCED(2, 2), 0.5, 1.0, "exclude"),
        r"num_views must be at least 2",
    ),
    (lambda: kinds.spread_terms(BALANCED(2, 2, 2), 0.5, 1.0), r"L_spread has a form .* got 2"),
    (
        lambda: kinds.cross_modal_terms(BALANCED(2, 2, 2), 0.5, 1.0),
        r"embed each pair once; got num",
    ),
    (
        lambda: kinds.stratified_terms(BALANCED(2, 2), (3, 1), 0.5, 1.0),
        r"a batch of 3 classes with 1 instances each is not in 2 classes × 2",
    ),
    (
        lambda: kinds.random_batch_terms(BALANCED(2, 2), 5, 0.5, 1.0),
        r"batch of 5 instances is larg",
    ),
    (
        lambda: kinds.random_batch_terms(BALANCED(3, 1), 2, 0.5, 1.0),
        r"no positive pair in any batch",
    ),
    (
        lambda: kinds.two_tower_terms(1, 1.0),
        r"the number of pairs must be an integer of at least 2",
    ),
    (
        lambda: Terms((Term(float("nan"), (Slot(Kind(SELF), 0.0, 1.0),)),), {}),
        r"weight of a term must be finite and not negative",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
