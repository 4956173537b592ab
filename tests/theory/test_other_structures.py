"""Closed forms of batches, nonnegative embeddings, kinds of pairs and towers, against duality.

What they are compared with is the reduced program of :mod:`ssem_jax.certificate.symmetry`, solved
and certified: another witness, which imports nothing of theory.
"""

import math
from fractions import Fraction

import numpy as np
import pytest

from ssem_jax import theory
from ssem_jax.certificate.symmetry import Program, close, solve_program
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.geometry.similarities import Similarities, block_gram
from ssem_jax.losses import RandomBatches, kinds, listed
from ssem_jax.losses.kinds import Contrast
from ssem_jax.losses.terms import BETWEEN, SELF, VIEW, WITHIN, Kind
from ssem_jax.problem import ClassStructure

BALANCED = ClassStructure.balanced
STEP = 3e-3
"""Distance of α from a boundary; δ² is then over 1e-5 or under 1e-9."""
SPREAD = 1e-6
"""1 - similarity from which on points are apart. Seen: under 1e-9 or over 1e-4."""
CLOSE = 1e-6
"""Error of entries at an optimum: the certified gap is 1e-12, and the loss is quadratic there."""


def optimum(algebra, terms, lower=None):
    """The entries of a near-optimal Gram matrix, by relation (of one fibre)."""
    program = Program(algebra, terms, lower)
    solved = solve_program(program)
    assert solved.gap < 1e-10
    return {kind.relation: value for kind, value in program.entries(solved.x).items()}


def parts(algebra, terms, relation=WITHIN, lower=None):
    """Whether pairs of a relation are apart at the optimum."""
    return 1 - optimum(algebra, terms, lower).get(relation, 1.0) > SPREAD


def changes_at(boundary, made, algebra, relation=WITHIN, lower=None):
    """Whether pairs coincide just below a boundary and part just above it."""
    below, above = (made(min(1.0, boundary + step)) for step in (-STEP, STEP))
    assert not parts(algebra, below, relation, lower)
    assert boundary + STEP > 1 or parts(algebra, above, relation, lower)


# ------------------------------------------------------------------------------------- batches

STRATIFIED = [
    ((4, 6, 1), (2, 3), 0.4, "include"),
    ((5, 4, 2), (3, 2), 0.7, "exclude"),
    ((3, 5, 2), (3, 5), 0.5, "include"),
    ((6, 3, 1), (6, 2), 1.5, "include"),
]


@pytest.mark.parametrize(("counts", "batch", "tau", "self_pairs"), STRATIFIED)
def test_stratified_batches_collapse_up_to_their_boundary(counts, batch, tau, self_pairs):
    (m, n, p), structure = counts, BALANCED(*counts)
    boundary = float(theory.stratified_alpha_c(m, n, p, batch, tau, self_pairs))
    changes_at(
        boundary,
        lambda alpha: kinds.stratified_terms(structure, batch, alpha, tau, self_pairs),
        built.classes(structure),
    )


def test_a_batch_that_is_the_data_set_is_what_it_was():
    whole = theory.stratified_alpha_c(3, 4, 2, (3, 4), 0.5, "exclude")
    assert float(whole) == pytest.approx(float(theory.alpha_c(3, 4, 2, 0.5, "exclude")))
    views = theory.stratified_alpha_v(3, 4, 2, (3, 4), 0.3)
    assert float(views) == pytest.approx(float(theory.alpha_v(3, 4, 2, 0.3)))


def test_views_part_below_their_boundary_in_stratified_batches():
    structure, batch, tau = BALANCED(4, 3, 2), (3, 2), 0.35
    boundary = float(theory.stratified_alpha_v(4, 3, 2, batch, tau))
    assert 0 < boundary < float(theory.stratified_alpha_c(4, 3, 2, batch, tau, "exclude"))
    algebra = built.classes(structure)
    below, above = (
        kinds.stratified_terms(structure, batch, boundary + step, tau, "exclude")
        for step in (-STEP, STEP)
    )
    assert parts(algebra, below, VIEW)
    assert not parts(algebra, above, VIEW)


@pytest.mark.parametrize("mean", ["all", "anchors", "pairs"])
def test_the_loss_of_random_batches_is_the_mean_over_all(mean):
    structure, delta2 = BALANCED(3, 3, 2), 0.3
    written = RandomBatches(0.4, 0.5, 4, "exclude", mean)
    spread = Similarities(1.0, 1 - 3 / 2 * delta2, 1 - (3 - delta2) / 2)
    for place, similarities in (
        (delta2, spread),
        (0.0, Similarities(1.0, 1.0, -0.5)),
        (None, Similarities(1.0, 1.0, 1.0)),
    ):
        found = theory.random_loss(3, 3, 2, 4, 0.4, 0.5, place, "exclude", mean)
        gram = block_gram(structure, *similarities)
        assert found == pytest.approx(float(written.from_gram(gram, structure)), rel=1e-12)
    with pytest.raises(ValueError, match=r"delta2 must be at least 0, .* at most 0\.75"):
        theory.random_loss(3, 3, 2, 4, 0.4, 0.5, 0.8, "exclude", mean)


RANDOM = [
    ((3, 4, 1), 5, 0.5, "include", "all"),
    ((3, 4, 1), 5, 0.5, "include", "anchors"),
    ((4, 3, 2), 6, 0.6, "exclude", "all"),
    ((20, 30, 1), 40, 0.3, "include", "all"),
    ((2, 5, 1), 9, 1.0, "include", "anchors"),
    ((3, 4, 1), 5, 0.5, "include", "pairs"),
]


@pytest.mark.parametrize(("counts", "batch", "tau", "self_pairs", "mean"), RANDOM)
def test_random_batches_collapse_up_to_their_boundary(counts, batch, tau, self_pairs, mean):
    (m, n, p), structure = counts, BALANCED(*counts)
    algebra = built.classes(structure)
    boundary = theory.random_alpha_c(m, n, p, batch, tau, self_pairs, mean)

    def made(alpha):
        return kinds.random_batch_terms(structure, batch, alpha, tau, self_pairs, mean)

    changes_at(boundary, made, algebra)
    assert theory.random_tau_c(m, n, p, batch, boundary, self_pairs, mean) == pytest.approx(tau)
    alpha = (boundary + 1) / 2
    q = theory.random_delta2(m, n, p, batch, alpha, tau, self_pairs, mean)
    within = optimum(algebra, made(alpha))[WITHIN]
    assert (1 - within) * (n - 1) / n == pytest.approx(q, abs=CLOSE)
    assert theory.random_delta2(m, n, p, batch, boundary - STEP, tau, self_pairs, mean) == 0
    again = theory.random_alpha_for_delta2(m, n, p, batch, q, tau, self_pairs, mean)
    assert again == pytest.approx(alpha, abs=1e-9)


def test_random_batches_agree_with_all_batches_written_out():
    structure = BALANCED(2, 3)
    loss = listed.supcl_batches(structure, listed.all_subsets(6, 3), Fraction(7, 10), 0.5)
    closure = close(loss)
    one = solve_program(Program(closure.algebra, closure.terms))
    made = Program(
        built.classes(structure), kinds.random_batch_terms(structure, 3, 0.7, 0.5, mean="all")
    )
    assert solve_program(made).value == pytest.approx(one.value, abs=1e-11)


def test_published_boundaries_of_random_batches():
    """m = 1,000 and B = 1,024; m = 10 and B = 512; n → ∞, self pairs included."""
    for mean, known in (("all", (0.427, 0.990)), ("anchors", (0.537, 0.994))):
        found = [theory.random_alpha_c(1000, None, 1, 1024, tau, mean=mean) for tau in (0.1, 0.5)]
        assert np.round(found, 3).tolist() == list(known)
    found = [theory.random_alpha_c(10, None, 1, 512, tau) for tau in (0.1, 0.5)]
    assert np.round(found, 3).tolist() == [0.020, 0.555]
    assert theory.random_alpha_c(10, 10**6, 1, 512, 0.5) == pytest.approx(found[1], abs=1e-5)
    assert theory.random_tau_c(10, None, 1, 512, 1.0) == math.inf
    assert theory.random_tau_c(10, None, 1, 512, 0.0) == 0


# --------------------------------------------------------------------------------- nonnegative

NONNEGATIVE = [
    ((3, 4, 1), 0.5, "include"),
    ((4, 2, 2), 0.3, "exclude"),
    ((2, 5, 1), 1.2, "include"),
]


@pytest.mark.parametrize(("counts", "tau", "self_pairs"), NONNEGATIVE)
def test_nonnegative_embeddings(counts, tau, self_pairs):
    (m, n, p), structure = counts, BALANCED(*counts)
    algebra = built.classes(structure)
    boundary = float(theory.nonnegative_alpha_c(m, n, p, tau, self_pairs))

    def made(alpha):
        return kinds.supcl_terms(structure, alpha, tau, self_pairs)

    changes_at(boundary, made, algebra, lower=0.0)
    for alpha in (boundary + 0.3 * (1 - boundary), 0.99):
        found = optimum(algebra, made(alpha), lower=0.0)
        expected = float(theory.nonnegative_within(m, n, p, alpha, tau, self_pairs))
        assert found[WITHIN] == pytest.approx(expected, abs=CLOSE)
        assert found[BETWEEN] == pytest.approx(0, abs=CLOSE)


def test_nonnegative_views_part():
    structure, tau = BALANCED(3, 2, 3), 0.25
    boundary = float(theory.nonnegative_alpha_v(3, 2, 3, tau))
    below, above = (
        kinds.supcl_terms(structure, boundary + step, tau, "exclude") for step in (-STEP, STEP)
    )
    assert parts(built.classes(structure), below, VIEW, 0.0)
    assert not parts(built.classes(structure), above, VIEW, 0.0)


@pytest.mark.parametrize("mean", ["pairs", "anchors"])
def test_unequal_classes_of_nonnegative_embeddings_are_orthogonal(mean):
    structure, tau = ClassStructure((5, 3, 1)), 0.6
    thresholds = theory.orthogonal_thresholds(structure, tau, mean=mean)
    assert thresholds[2] == 1
    algebra = built.classes(structure)
    for size, threshold in zip((5, 3), thresholds, strict=False):
        for step in (-STEP, STEP):
            program = Program(
                algebra, kinds.supcl_terms(structure, threshold + step, tau, mean=mean), 0.0
            )
            found = program.entries(solve_program(program).x)
            within = found[Kind(WITHIN, str(size), str(size))]
            assert (1 - within > SPREAD) == (step > 0)
            across = [value for kind, value in found.items() if kind.relation == BETWEEN]
            assert np.max(np.abs(across)) < CLOSE


# --------------------------------------------------------------------------------------- kinds


def test_the_collapse_test_is_right_for_random_kinds():
    rng, structure, tau = np.random.default_rng(5), BALANCED(3, 3, 2), 0.5
    algebra, seen = built.classes(structure), []
    for _ in range(24):
        contrasts = []
        for share in rng.dirichlet([1, 1]):
            weights, pulls = rng.exponential(size=4), rng.dirichlet([1, 2, 0.2])
            against: dict[str, float] = {
                SELF: weights[0],
                VIEW: weights[1],
                WITHIN: weights[2],
                BETWEEN: weights[3],
            }
            positives: dict[str, float] = {VIEW: pulls[0], WITHIN: pulls[1], BETWEEN: pulls[2]}
            contrasts.append(Contrast(share, against, positives))
        margins = theory.collapse_margins(structure, contrasts, tau)
        if np.min(np.abs(margins)) < 1e-3:
            continue
        found = optimum(algebra, kinds.contrast_by_kind(structure, contrasts, tau))
        collapsed = max(1 - found[VIEW], 1 - found[WITHIN], abs(found[BETWEEN] + 0.5)) < 1e-5
        assert collapsed == (margins.min() > 0)
        seen.append(collapsed)
    assert 5 < sum(seen) < len(seen) - 5


def test_the_collapse_test_knows_published_losses():
    structure = BALANCED(3, 4, 2)
    others = {WITHIN: 1.0, BETWEEN: 1.0}
    supcon = Contrast(1.0, others | {VIEW: 1.0}, {VIEW: 1 / 7, WITHIN: 6 / 7})
    nscl = Contrast(1.0, {BETWEEN: 1.0}, {VIEW: 1 / 7, WITHIN: 6 / 7})
    dcl = Contrast(1.0, others, {VIEW: 1.0})
    for tau in (0.1, 1.0):
        assert theory.collapse_margins(structure, [supcon], tau).min() >= 0
        assert theory.collapse_margins(structure, [nscl], tau).min() >= 0
        assert theory.collapse_margins(structure, [dcl], tau).min() < 0
    single = theory.collapse_margins(BALANCED(3, 1), [Contrast(1.0, {BETWEEN: 1}, {SELF: 1})], 1.0)
    assert single.tolist()[:2] == [math.inf, math.inf]


@pytest.mark.parametrize(("m", "n", "tau"), [(3, 4, 0.5), (2, 3, 1.0), (5, 2, 0.4)])
def test_l_spread_collapses_up_to_its_share(m, n, tau):
    structure = BALANCED(m, n)
    changes_at(
        theory.spread_alpha_c(m, n, tau),
        lambda share: kinds.spread_terms(structure, share, tau),
        built.classes(structure),
    )


@pytest.mark.parametrize(("m", "n", "tau"), [(3, 4, 1.5), (2, 2, 0.5), (3, 3, 2.5)])
def test_two_towers_collapse_in_a_window(m, n, tau):
    structure = BALANCED(m, n)
    algebra = built.towers(built.classes(structure), swap=True)
    low, high = theory.cross_modal_window(m, n, tau)

    def made(alpha):
        return kinds.cross_modal_terms(structure, alpha, tau)

    changes_at(high, made, algebra, "self·within")
    assert high == pytest.approx(float(theory.alpha_c(m, n, 1, tau)))
    if low > STEP:
        found = optimum(algebra, made(low - STEP))
        assert found["other·self"] < found["other·within"] - SPREAD
    assert not parts(algebra, made(max(low, 0) + STEP), "other·self")


def test_the_mean_over_all_anchors():
    """It is the mean over those with a positive, at another α."""
    structure, alpha, tau, share = ClassStructure((4, 4, 1)), 0.35, 0.5, 8 / 9
    moved = alpha / (alpha + (1 - alpha) * share)
    algebra = built.classes(structure)
    one = optimum(algebra, kinds.supcl_terms(structure, alpha, tau, mean="all"))
    other = optimum(algebra, kinds.supcl_terms(structure, moved, tau, mean="anchors"))
    assert [*one.values()] == pytest.approx([*other.values()], abs=CLOSE)
    assert theory.alpha_c_all(moved, share) == pytest.approx(alpha)
    assert theory.alpha_c_all(0.3, 1.0) == pytest.approx(0.3)


FANO = [(0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5)]


def test_the_simplex_is_optimal_iff_pairs_are_covered_alike():
    assert theory.coverage_imbalance(7, FANO, 0.3) == pytest.approx(0, abs=1e-14)
    assert theory.coverage_imbalance(4, [(0, 1), (2, 3)], 0.3) == math.inf
    uneven, tau = [(0, 1, 2), (0, 3), (1, 3), (2, 3)], 0.4
    rho = [math.exp(-4 / 3 / tau) / (1 + k * math.exp(-4 / 3 / tau)) for k in (1, 2)]
    even = [rho[0], rho[1], rho[1], rho[1]]  # of an anchor: times its batch's size, of the batch
    assert theory.coverage_imbalance(4, uneven, tau) > 0.1
    assert theory.coverage_imbalance(4, uneven, tau, even) == pytest.approx(0, abs=1e-14)
    for weights, is_simplex in ((None, False), (even, True)):
        exact = (
            None
            if weights is None
            else [Fraction(w) * len(b) for w, b in zip(weights, uneven, strict=True)]
        )
        closure = close(listed.info_nce_batches(4, uneven, tau, exact))
        found = solve_program(Program(closure.algebra, closure.terms)).x
        assert (np.max(np.abs(found + 1 / 3)) < CLOSE) == is_simplex


REFUSED = [
    (lambda: theory.stratified_alpha_c(3, 4, 1, (0, 2), 0.5), r"classes of a batch must be an int"),
    (lambda: theory.stratified_alpha_c(3, 4, 1, (2, 0), 0.5), r"instances of a batch must be an i"),
    (lambda: theory.random_alpha_c(3, 2, 1, 7, 0.5), r"batch of 7 is larger than a data set of 3"),
    (lambda: theory.random_alpha_c(3, 4, 1, 1, 0.5), r"a batch must be an integer of at least 2"),
    (
        lambda: theory.random_alpha_c(3, 4, 1, 4, 0.5, mean="rows"),
        r"mean must be one of 'all', 'an",
    ),
    (
        lambda: theory.orthogonal_thresholds(ClassStructure((1, 1)), 1.0),
        r"no class has two instanc",
    ),
    (lambda: theory.alpha_c_all(0.5, 0.0), r"share of anchors with a positive must be in \(0, 1\]"),
    (
        lambda: theory.coverage_imbalance(2, [(0, 1)], 1.0),
        r"number of points must be an integer of",
    ),
    (lambda: theory.cross_modal_window(1, 3, 1.0), r"num_classes must be an integer of at least 2"),
    (lambda: theory.spread_alpha_c(3, 3, 0.0), r"temperature must be positive and finite; got 0.0"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
