"""Losses of towers, prototypes, kinds and batches: their values are those of their terms."""

from fractions import Fraction
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssem_jax.certificate.symmetry.colours import common_closure
from ssem_jax.certificate.symmetry.program import Program
from ssem_jax.certificate.symmetry.programs import arranged, program_of
from ssem_jax.losses import (
    Contrast,
    CrossModal,
    KindContrast,
    ListedBatches,
    NormFace,
    RandomBatches,
    Spread,
    StratifiedBatches,
    SupCL,
    TowerBatches,
)
from ssem_jax.losses.structured import RELATIONS, relation_matrix
from ssem_jax.losses.terms import LISTED, PROTOTYPES, SELF, TOWERS, VIEW, Kind
from ssem_jax.problem import ClassStructure

SAME = 1e-12
"""Difference of two sums of some hundred terms of order 1."""
BALANCED = ClassStructure.balanced
FANO = ((0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5))
BETWEEN_ONLY = {"view": 0.5, "between": 1.0}
MIXED = [
    Contrast(0.6, {"self": 1.0, "within": 0.5, "between": 1.0}, {"within": 0.7, "view": 0.2}),
    Contrast(0.4, BETWEEN_ONLY, {"view": 1.0}),
]
LOSSES = [
    (CrossModal(0.7, 0.5), BALANCED(3, 2, 2)),
    (NormFace(0.5), ClassStructure((3, 2, 2))),
    (Spread(0.4, 0.5), BALANCED(3, 2)),
    (KindContrast(0.5, MIXED), ClassStructure((3, 2), 2)),
    (TowerBatches(0.4, FANO), ClassStructure((1,) * 7, 2)),
    (
        ListedBatches(0.3, 0.4, ((0, 1, 3), (1, 2), (0, 2, 3)), (1, 0.5, Fraction(1, 3))),
        BALANCED(2, 2),
    ),
    (StratifiedBatches(0.3, 0.5, (2, 2)), BALANCED(3, 3)),
    (RandomBatches(0.3, 0.5, 3, "exclude"), BALANCED(2, 2, 2)),
    (RandomBatches(0.3, 0.5, 3, mean="anchors"), BALANCED(2, 3)),
    (RandomBatches(0.3, 0.5, 3, mean="pairs"), BALANCED(2, 3)),
    (SupCL(0.3, 0.5, "exclude", "all"), ClassStructure((3, 1), 2)),
]


def kind(structure, roles, i, j):
    """The kind of a pair of embeddings, by the definition of the roles."""
    relation = RELATIONS[relation_matrix(structure)[i, j]]
    sizes = [structure.sizes[structure.class_ids[k]] for k in (i, j)]
    if roles == PROTOTYPES:
        first = np.searchsorted(structure.class_ids, structure.class_ids)
        part = ["prototype" if first[k] == k else "feature" for k in (i, j)]
        return Kind(relation, *(f"{p} {n - 1}" for p, n in zip(part, sizes, strict=True)))
    if roles == TOWERS and relation != SELF:
        relation = SELF if relation == VIEW else relation
        relation = ("self" if i % 2 == j % 2 else "other") + f"·{relation}"
    return Kind(relation, *map(str, sizes))


def orbits(loss, structure, algebra):
    """(N, N) the variable of every pair; the last one of the diagonal."""
    size = structure.num_embeddings
    if loss.roles == LISTED:
        _, colours = common_closure(loss.written(structure), relation_matrix(structure))
    else:
        colours = np.array(
            [
                [algebra.colour(kind(structure, loss.roles, i, j)) for j in range(size)]
                for i in range(size)
            ]
        )
    return algebra.orbit_of[colours]


def test_values_are_those_of_the_terms():
    programs, grams = [], []
    for loss, structure in LOSSES:
        loss.check_structure(structure)
        program = program_of(loss, structure)
        assert isinstance(program, Program)
        x = np.random.default_rng(3).uniform(-0.5, 0.9, program.num_variables)
        variables = orbits(loss, structure, arranged(loss, structure).algebra)
        grams.append(np.append(x, 1.0)[variables])
        programs.append(program.value(x))
    prepared = [loss.prepare(structure) for loss, structure in LOSSES]

    @jax.jit  # once for all: most of the time is compiling
    def values():
        of_each = zip(LOSSES, grams, prepared, strict=True)
        return [loss.value(jnp.asarray(gram), held) for (loss, _), gram, held in of_each]

    for (loss, _), value, expected in zip(LOSSES, values(), programs, strict=True):
        assert float(value) == pytest.approx(expected, abs=SAME), loss


def test_relations_count_classes_instances_and_views():
    counts = np.bincount(relation_matrix(ClassStructure((3, 2), 2)).ravel())
    assert counts.tolist() == [10, 10, 4 * 6 + 4 * 2, 2 * 24]


def listed(batches, weights=None):
    ListedBatches(1.0, 0.5, batches, weights).check_structure(ClassStructure((1,) * 4))


ALL = ((0, 1), (2, 3))
REFUSED = [
    (lambda: listed(((0, 1, 1), (2, 3))), r"a batch has an index twice; got \[0, 1, 1\]"),
    (lambda: listed(((0,), (1, 2, 3))), r"a batch needs 2 points at least .* got \[0\]"),
    (lambda: listed(((0, 1), (2, 4))), r"indices must be integers from 0 to 3; got \[2, 4\]"),
    (lambda: listed(ALL, (1, -1)), "the weight of a batch must not be negative; got -1"),
    (lambda: listed(ALL, (1, None)), "the weight of a batch must be a finite number; got None"),
    (lambda: listed(ALL, (1, np.nan)), "the weight of a batch must be a finite number; got nan"),
    (lambda: listed(ALL, (1,)), "every batch needs a weight; got 1 for 2 batches"),
    (lambda: listed(ALL, (0, 0)), "there must be a batch of positive weight; got none"),
    (lambda: listed(((0, 1), (1, 2))), "every point must be in a batch; point 3 is in none"),
    (lambda: listed(3), r"batches must be a list, as \[\[0, 1, 2\], .* got 3"),
    (lambda: listed((3, 4)), r"a batch must be a list, .* got 3"),
    (
        lambda: TowerBatches(0.5, ALL).check_structure(BALANCED(4, 1)),
        r"two towers are the two views of an instance; .* has 1\. Use num_views = 2",
    ),
    (
        lambda: CrossModal(0.5, 0.5).check_structure(BALANCED(3, 2, 3)),
        r"two towers are the two views of an instance; .* has 3\. Use num_views = 2",
    ),
    (
        lambda: CrossModal(0.5, 0.5).check_structure(BALANCED(3, 1, 2)),
        r"L_sup has no positive pair.*alpha = 0\.5",
    ),
    (
        lambda: NormFace(0.5).check_structure(ClassStructure((3, 1))),
        r"needs a feature besides, of one view; got classes of 3,1",
    ),
    (lambda: Spread(1.5, 0.5), r"share must lie in \[0, 1\]; got 1\.5"),
    (lambda: KindContrast(0.5, []), r"contrasts must be a list of ssem_jax\.losses\.Contrast"),
    (
        lambda: KindContrast(0.5, Contrast(1.0, {"between": -1.0}, {})),
        r"weights in a denominator must not be negative; got -1 for 'between'",
    ),
    (
        lambda: KindContrast(0.5, Contrast(1.0, {"near": 1.0}, {})),
        r"a relation must be one of 'self', .* got 'near'",
    ),
    (
        lambda: KindContrast(0.5, Contrast(1.0, cast(Any, [1.0]), {})),
        r"against of a contrast must be weights by relation",
    ),
    (
        lambda: KindContrast(0.5, Contrast(-1.0, {"between": 1.0}, {})),
        r"the share of a contrast must be finite and not negative; got -1",
    ),
    (
        lambda: KindContrast(0.5, Contrast(1.0, BETWEEN_ONLY, {"view": 1.0})).check_structure(
            BALANCED(3, 2)
        ),
        r"positives of relation 'view' have weight, and some embedding .* no such pair",
    ),
    (
        lambda: KindContrast(0.5, Contrast(1.0, {"within": 1.0}, {})).check_structure(
            BALANCED(3, 1)
        ),
        r"a denominator is empty in 3 classes × 1",
    ),
    (
        lambda: StratifiedBatches(0.5, 0.5, cast(Any, 6)),
        r"batch must be \(classes, instances of each\)",
    ),
    (
        lambda: StratifiedBatches(0.5, 0.5, (4, 2)).check_structure(BALANCED(3, 2)),
        r"a batch of 4 classes with 2 instances each is not in 3 classes × 2",
    ),
    (lambda: RandomBatches(0.5, 0.5, 1), r"a batch must be an integer of at least 2; got 1"),
    (
        lambda: RandomBatches(0.5, 0.5, 7).check_structure(BALANCED(3, 2)),
        r"a batch of 7 instances is larger than 3 classes × 2",
    ),
    (
        lambda: RandomBatches(0.5, 0.5, 10).prepare(BALANCED(10, 5)),
        r"there are 1\.03e\+10 batches, and a loss is written out over 1000 at most",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
