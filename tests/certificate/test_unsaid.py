"""Losses that do not say their terms, and classes that play parts of their own, by orbits."""

import jax.numpy as jnp
import numpy as np
import pytest
from wrapped import Wrapped

from ssem_jax.certificate.reduced import bracket_classes, certify_program
from ssem_jax.certificate.symmetry.bounds import solve_programs
from ssem_jax.certificate.symmetry.programs import (
    arranged,
    bracket_by_class,
    bracket_program,
    program_of,
)
from ssem_jax.geometry import class_variances, normalize
from ssem_jax.losses import CrossModal, Spectral, SupCL, SupCon, WeightedSupCL
from ssem_jax.problem import ClassStructure, Problem

SAME = 1e-12
"""Difference of two formulas of one loss, of size 10. Seen: 1e-14."""
SLOPE = 1e-11
"""Of their slopes and curvatures, of size 1/τ² = 25."""
VALUE = 1e-11
"""Difference of two certified minima. Seen: 2e-12."""
WIDER = 1.01
"""Factor by which brackets may be wider, where the level is well above rounding. Seen: 1.004."""
ROUNDING = 1e-12
"""Of averages over embeddings, and of the loss that sets a level."""

STRUCTURE = ClassStructure((4, 2, 2), 2)
ALPHAS, TAUS = np.array([0.1, 0.6]), np.array([0.2, 0.5])


def gram_of(program, arrangement, x):
    """The Gram matrix with the entries of a program, of its colours written out."""
    ids, instances = STRUCTURE.class_ids, STRUCTURE.instance_ids
    gram = np.ones((len(ids), len(ids)))
    for i, j in zip(*np.nonzero(~np.eye(len(ids), dtype=bool)), strict=True):
        relation = "view" if instances[i] == instances[j] else "within"
        relation = relation if ids[i] == ids[j] else "between"
        fibres = [arrangement.algebra.fibres[arrangement.of_class[ids[k]]] for k in (i, j)]
        gram[i, j] = program.entries(x)[(relation, *fibres)]
    return gram


def inside(program, seed):
    """Entries near those of orthogonal embeddings."""
    return np.random.default_rng(seed).uniform(-0.03, 0.1, program.num_variables)


@pytest.mark.parametrize(
    "loss",
    [
        SupCon(0.2),
        WeightedSupCL(0.3, 0.2, (1.0, 2.0, 0.0)),
        WeightedSupCL(0.3, 0.2, (1.0, 2.0, 3.0), "exclude", "anchors"),
        WeightedSupCL(0.3, 0.2, (1.0, 2.0, 3.0), "decouple", "all"),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_terms_are_the_loss_of_the_gram_matrix(loss):
    program, arrangement = program_of(loss, STRUCTURE), arranged(loss, STRUCTURE)
    assert len(arrangement.algebra.points) == (2 if loss.like_classes else 3)
    for seed in range(3):
        x = inside(program, seed)
        gram = jnp.asarray(gram_of(program, arrangement, x))
        assert abs(program.upper_value(x) - loss.from_gram(gram, STRUCTURE)) <= SAME


@pytest.fixture(scope="module")
def both():
    """Programs of SupCL, which says its terms, and of the same loss wrapped."""
    losses = [
        SupCL(a, t, "exclude", "anchors")
        for a, t in zip(ALPHAS.tolist(), TAUS.tolist(), strict=True)
    ]
    said, unsaid = (
        [program_of(of(loss), STRUCTURE) for loss in losses] for of in (lambda loss: loss, Wrapped)
    )
    return said, unsaid


def test_values_slopes_and_curvatures_are_those_of_the_terms(both):
    lanes = np.arange(len(ALPHAS))
    x = np.stack([inside(program, 3 + k) for k, program in enumerate(both[0])])
    said, unsaid = (programs[0].joined(programs).local(x, lanes) for programs in both)
    values = both[1][0].joined(both[1]).values(x, lanes)
    assert np.allclose(unsaid.value, said.value, rtol=0, atol=SAME)
    assert np.allclose(values, said.value, rtol=0, atol=SAME)
    assert np.allclose(unsaid.slope, said.slope, rtol=0, atol=SLOPE)
    assert np.allclose(unsaid.bend, said.bend, rtol=0, atol=SLOPE)


def test_a_tangent_is_below_the_loss_and_the_value_above(both):
    for said, unsaid in zip(*both, strict=True):
        x = inside(unsaid, 7)
        cut = unsaid.minorant(x)
        assert unsaid.upper_value(x) > unsaid.local(x).value[0]
        for seed in range(20):
            y = inside(unsaid, seed)
            below = cut.here + cut.slope @ (y - x) - cut.margin
            assert below < said.value(y)
        assert 0 < said.upper_value(x) - (cut.here - cut.margin) < SAME * 10


def test_the_optimum_is_that_of_the_terms(both):
    for said, unsaid in zip(*map(solve_programs, both), strict=True):
        assert abs(unsaid.value - said.value) <= VALUE
        assert max(unsaid.lower, said.lower) <= min(unsaid.value, said.value)
        assert 0 <= unsaid.gap <= VALUE


def test_brackets_are_those_of_the_terms_and_hold_embeddings(both):
    loss = SupCL(ALPHAS, TAUS, "exclude", "anchors")
    rng = np.random.default_rng(0)
    points = normalize(jnp.asarray(rng.normal(size=(16, 16))))
    levels = np.array(
        [
            SupCL(a, t, "exclude", "anchors")(points, STRUCTURE)
            for a, t in zip(ALPHAS, TAUS, strict=True)
        ]
    )
    low, high = bracket_by_class(Wrapped(loss), STRUCTURE, levels, False)
    found = np.asarray(class_variances(points, STRUCTURE).delta2)
    assert np.all((low <= found + ROUNDING) & (found <= high + ROUNDING))
    levels = np.array([program.value for program in solve_programs(both[0])]) + 1e-6
    said, unsaid = (bracket_program(each, STRUCTURE, levels) for each in (loss, Wrapped(loss)))
    assert np.all(unsaid[1] - unsaid[0] <= WIDER * (said[1] - said[0]) + ROUNDING)
    assert np.all(np.maximum(said[0], unsaid[0]) <= np.minimum(said[1], unsaid[1]))


def test_one_view_varies_nowhere():
    low, high = bracket_program(
        SupCL(ALPHAS, TAUS), ClassStructure((6, 3, 1)), np.array([9.0, 9.0])
    )
    assert np.all(low[:, 0] == 0)
    assert np.all(high[:, 0] == 0)


def test_what_has_no_brackets_by_class():
    many = Problem(ClassStructure(tuple(range(2, 19))), None, SupCL(0.5, 0.5))
    with pytest.raises(ValueError, match=r"up to 16 kinds of them; got 17\. Use solve and cert"):
        bracket_classes(many, 0.0)
    towers = Problem(ClassStructure((2, 2), 2), None, CrossModal(0.5, 0.5))
    with pytest.raises(ValueError, match="CrossModal gives embeddings other parts than those of"):
        bracket_classes(towers, 0.0)
    big = Problem(ClassStructure((60, 5)), None, Spectral(0.5, 1.0))
    with pytest.raises(ValueError, match=r"Spectral does not say its terms.* up to 64 embeddings"):
        certify_program(big)

    class Unmarked(Wrapped):
        symmetric = False

    odd = Problem(ClassStructure((3, 2)), 3, Unmarked(SupCL(0.5, 0.5)))
    with pytest.raises(ValueError, match=r"Unmarked does not say its terms.* convex and symmetric"):
        bracket_classes(odd, 0.0)
