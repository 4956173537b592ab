"""Means over random draws, by one integral, against all batches one by one and against balls."""

import itertools
import math

import numpy as np
import pytest
from flint import arb, ctx

from ssem_jax.certificate.symmetry import Program, solve_program
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.certificate.symmetry.collapse import instance_slack
from ssem_jax.certificate.symmetry.draws import _moments
from ssem_jax.certificate.symmetry.newton import Local
from ssem_jax.certificate.symmetry.program import Programs
from ssem_jax.losses import kinds
from ssem_jax.losses.drawn import drawn_batch_terms
from ssem_jax.losses.terms import BETWEEN, VIEW, WITHIN, Drawn, Kind, Slot, Terms
from ssem_jax.problem import ClassStructure

SAME = 1e-13
"""Difference of two sums of some hundred logarithms. Seen: 1e-14."""
GAP = 1e-9
"""Certified gap. Seen: 3e-11 at worst, of four sizes in batches of 256."""


def by_batches(structure, batch, alpha, tau, self_pairs, mean, entries):
    """The mean of SupCL over all batches, by its definition."""
    p = structure.num_views
    own = np.repeat(np.arange(structure.num_classes), structure.sizes)

    def entry(i, j, same_view):
        if i == j and same_view:
            return 1.0
        relation = VIEW if i == j else WITHIN if own[i] == own[j] else BETWEEN
        return entries[Kind(relation, *(str(structure.sizes[own[k]]) for k in (i, j)))]

    sup = of_self = counted = number = 0.0
    for some in itertools.combinations(range(structure.total_instances), batch):
        for i in some:
            parts = [
                math.exp((entry(i, j, view == 0) - 1) / tau)
                for j in some
                for view in range(p)
                if (i, view) != (j, 0) or self_pairs == "include"
            ]
            log, number = math.log(math.fsum(parts)), number + 1
            near = [entry(i, j, True) for j in some if j != i and own[j] == own[i]]
            if near:
                weight = len(near) if mean == "pairs" else 1
                counted += weight
                sup += weight * (log + (1 - np.mean(near)) / tau)
            if alpha:
                of_self += log + (1 - 1 / p if self_pairs == "include" else 1.0) * (
                    (1 - entry(i, i, False)) / tau if p > 1 else 0.0
                )
    return (1 - alpha) * sup / (number if mean == "all" else counted) + alpha * of_self / number


FAMILIES = [
    (ClassStructure((4, 2, 2)), 4, 0.3, "include"),
    (ClassStructure((3, 3)), 4, 0.3, "include"),  # by compositions elsewhere
    (ClassStructure((3, 2, 1), 2), 3, 0.4, "exclude"),
    (ClassStructure((4, 3)), 3, 0.0, "exclude"),
    (ClassStructure((5, 3)), 8, 0.4, "include"),  # the data set itself
    (ClassStructure((4, 1)), 2, 0.6, "include"),
]


@pytest.mark.parametrize("mean", kinds.BATCH_MEANS)
def test_means_over_draws_are_those_of_all_batches(mean):
    rng = np.random.default_rng(0)
    for structure, batch, alpha, self_pairs in FAMILIES:
        for tau in (0.1, 0.7):
            terms = drawn_batch_terms(structure, batch, alpha, tau, self_pairs, mean)
            program = Program(built.classes(structure), terms)
            x = rng.uniform(-0.3, 0.9, program.num_variables)
            options = (alpha, tau, self_pairs, mean, program.entries(x))
            expected = by_batches(structure, batch, *options)
            assert program.value(x) == pytest.approx(expected, abs=SAME * (1 + abs(expected)))
            found = program.draws.local(x)
            assert abs(program.value(x) - expected) <= found.error + SAME


def test_slope_and_curvature_are_differences():
    structure, step = ClassStructure((5, 3, 2), 2), 1e-5
    terms = drawn_batch_terms(structure, 5, 0.4, 0.5, "exclude", "anchors")
    lanes = Programs([Program(built.classes(structure), terms)])
    x = np.random.default_rng(1).uniform(-0.3, 0.9, lanes.first.num_variables)

    def expand(point):
        return Local(*(leaf[0] for leaf in lanes.local(point[None], np.array([0]))))

    local = expand(x)
    for place, change in enumerate(step * np.eye(len(x))):
        ahead, behind = expand(x + change), expand(x - change)
        assert local.slope[place] == pytest.approx(
            (ahead.value - behind.value) / 2 / step, abs=1e-8
        )
        assert local.bend[place] == pytest.approx((ahead.slope - behind.slope) / 2 / step, abs=1e-8)
    assert np.linalg.eigvalsh(local.bend)[0] > -1e-12


@pytest.mark.parametrize(
    ("counts", "drawn", "always", "each"),
    [
        ((40, 960), 200, 1.0, (0.9, 1e-3)),
        ((3, 2000), 60, 0.5, (1.0, 1e-12)),
        ((7, 5), 6, 1.0, (0.3, 1.0)),
        ((2, 6), 7, 1e-9, (1e-5, 0.2)),
    ],
)
def test_moments_are_right_to_their_margins(counts, drawn, always, each):
    found = _moments(np.array([always]), np.array(each), np.array(counts), drawn)
    ctx.prec = 200
    try:
        z, one, share = arb(0), [arb(each[0]), arb(each[1])], [arb(0)] * 3

        total = arb(math.comb(sum(counts), drawn))
        for k in range(max(0, drawn - counts[1]), min(counts[0], drawn) + 1):
            chance = arb(math.comb(counts[0], k) * math.comb(counts[1], drawn - k)) / total
            parts = [arb(always), k * one[0], (drawn - k) * one[1]]
            here = parts[0] + parts[1] + parts[2]
            z += chance * here.log()
            share = [old + chance * part / here for old, part in zip(share, parts, strict=True)]
        assert abs(float(arb(found.value) - z)) <= found.error < 1e-10
        for value, exact, loose in zip(found.shares, share, found.loose, strict=True):
            assert abs(float(arb(float(value)) - exact)) <= loose < 1e-10
    finally:
        ctx.prec = 53


def test_random_batches_of_unequal_classes_are_certified():
    """Four sizes, 7,555 instances: the gap, and where collapsed classes cease to be optimal."""
    structure = ClassStructure((5000, 500, 50, 5))

    def terms(alpha):
        return drawn_batch_terms(structure, 256, alpha, 0.3, "include", "pairs")

    solved = solve_program(Program(built.classes(structure), terms(0.6)))
    assert 0 <= solved.gap < GAP
    slack = instance_slack(structure, terms(0.6))
    assert set(slack) == {5000, 500, 50, 5}
    assert max(slack.values()) < 0 < min(instance_slack(structure, terms(0.0)).values())


def test_terms_are_scaled_and_heated_with_their_draws():
    slot = Slot(Kind("self"), 0.0, 1.0)
    terms = Terms((), {}, draws=(Drawn(1.0, (), (slot,), (3,), 2),))
    twice = (terms + terms.scaled(3.0)).at_temperature(0.5).draws
    assert [term.weight for term in twice] == [1.0, 3.0]
    assert {term.pool[0].slope for term in twice} == {2.0}
    with pytest.raises(ValueError, match="finite and not negative, or the loss is not convex"):
        Terms((), {}, draws=(Drawn(-1.0, (), (slot,), (3,), 2),))
