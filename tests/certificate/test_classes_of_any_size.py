"""The reduced problem of unequal classes against whole solves, random embeddings and formulas."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from wrapped import Wrapped

from ssem_jax.advice import collapse_thresholds
from ssem_jax.certificate import (
    GAP_TOLERANCE,
    QUANTITIES,
    certify,
    class_blocks,
    class_program,
    rounding,
    solve_reduced,
)
from ssem_jax.certificate.class_blocks import (
    class_loss,
    class_rows,
)
from ssem_jax.certificate.reduced import bracket_classes
from ssem_jax.certificate.symmetry.programs import bracket_program
from ssem_jax.geometry import block_gram, class_similarities, class_variances, normalize, variances
from ssem_jax.losses import CrossModal, Sincere, SupCL, SupCon, WeightedSupCL
from ssem_jax.problem import ClassStructure, Phase, Problem
from ssem_jax.solver import solve
from ssem_jax.theory.unequal import (
    minorities_can_merge,
    minority_collapse_ratio,
    two_class_threshold,
)

LOSS = 1e-11
"""Two solvers at full float64 accuracy, on losses of size 10: rounding, and the dense gap."""

GRAM = 1e-5
"""The loss is flat to second order: a gap of 1e-13 leaves 1e-6 at the curvatures of τ ≥ 0.2."""

TIGHT_GAP = 1e-11
"""Rounding margins of a few dozen terms of size 8/τ, at τ ≥ 0.2."""

EVALUATION = 1e-13
"""Two summation orders of a loss of size 10."""

ROUNDING = 1e-12
"""Rounding of averages over 14 embeddings, and of the loss that sets a level."""

BRACKET_WIDTH = 1e-3
"""What equality claims ask for; single classes at α near their threshold come to 2e-4."""

PRINTED = 5e-5
"""Numbers printed with four digits."""

ASIDE = 2e-3
"""Distance from a threshold, in α, at which the variance of a class is far above 1e-6."""

CLOSED_FORM = 1e-9
"""A bisection that stops where slack and variance are both pure rounding."""

LARGE_GAP = 1e-9
"""Certified gap of many classes, where conjugate gradients stop."""

MERGED = 1e-6
"""1 - cosine of minority classes that coincide."""

DIM = 13
EIGHT_FOUR_TWO, LONG_TAILED = ClassStructure((8, 4, 2)), ClassStructure((10, 3, 1))
VIEWS, VIEWS_OF_A_HEAD = ClassStructure((4, 2, 1), 2), ClassStructure((3, 2, 2), 2)

ALPHAS, TAUS = np.array([0.05, 0.3, 0.3, 0.8]), np.array([0.2, 0.3, 1.0, 0.5])
CASES = [
    (EIGHT_FOUR_TWO, "include", "pairs"),
    (LONG_TAILED, "include", "anchors"),
    (VIEWS, "exclude", "pairs"),
    (VIEWS_OF_A_HEAD, "exclude", "anchors"),
    (VIEWS, "decouple", "pairs"),
]
"""N = 14 throughout, for one compiled solver; p = 1 and 2, and classes of one instance."""


def random_blocks(structure, seed):
    """Blocks of random points; a class of one instance has no instance variance."""
    rng = np.random.default_rng(seed)
    present = class_blocks.present_rows(structure)
    points = normalize(jnp.asarray(rng.normal(size=present.shape) * present))
    return class_blocks.blocks_of(points)


def contrasts(structure, self_pairs, mean):
    """SupCL, weighted by class and not, in a convention; and SupCon, which has its own."""
    for alpha, tau in zip(ALPHAS, TAUS, strict=True):
        yield SupCL(alpha, tau, self_pairs, mean)
        yield WeightedSupCL(
            alpha, tau, tuple(range(1, 1 + structure.num_classes)), self_pairs, mean
        )
        yield SupCon(tau)


@pytest.mark.parametrize(("structure", "self_pairs", "mean"), CASES)
def test_the_class_rows_are_the_loss_of_the_block_gram_matrix(structure, self_pairs, mean):
    for seed, loss in enumerate(contrasts(structure, self_pairs, mean)):
        tau = loss.temperature
        blocks = random_blocks(structure, seed)
        rows = class_loss(
            cast(Any, loss.without_conventions()), class_rows(loss, structure), blocks
        )
        sizes = np.asarray(structure.sizes, float)
        parts = class_blocks.class_similarities_of(sizes, float(structure.num_views), blocks)
        gram = block_gram(structure, *parts)
        assert abs(rows - loss.from_gram(gram, structure)) <= EVALUATION * (1 + 1 / tau)
        assert np.linalg.eigvalsh(gram)[0] >= -ROUNDING
        found = class_similarities(gram, structure)
        assert np.allclose(found.between, blocks.gram, rtol=0, atol=ROUNDING)


def solutions(cases):
    """Every case solved whole, certified, and solved reduced: four cells each."""
    problems = [Problem(each, DIM, SupCL(ALPHAS, TAUS, pairs, mean)) for each, pairs, mean in cases]
    # Both kinds of kernels compile at the same time.
    with ThreadPoolExecutor(2) as pool:
        reduced = pool.submit(lambda: [solve_reduced(problem) for problem in problems])
        whole = [solve(problem, jax.random.key(1)) for problem in problems]
        certified = [certify(solution) for solution in whole]
        return list(zip(problems, whole, certified, reduced.result(), strict=True))


@pytest.fixture(scope="module")
def solved():
    return solutions(CASES)


@pytest.mark.slow
def test_whole_and_reduced_solutions_agree_with_the_other_mean():
    other = {"pairs": "anchors", "anchors": "pairs"}
    cases = [(structure, pairs, other[mean]) for structure, pairs, mean in CASES]
    test_whole_and_reduced_solutions_agree(solutions(cases))


def test_whole_and_reduced_solutions_agree(solved):
    for problem, solution, certificate, reduced in solved:
        assert np.all(certificate.gap <= GAP_TOLERANCE)
        assert np.all((reduced.gap >= 0) & (reduced.gap <= TIGHT_GAP))
        assert np.allclose(reduced.value, certificate.value, rtol=0, atol=LOSS)
        assert np.allclose(reduced.lower, certificate.lower, rtol=0, atol=LOSS)
        for cell, points in enumerate(solution.embeddings):
            found = class_similarities(points @ points.T, problem.structure)
            spread = class_variances(points, problem.structure)
            pairs = [
                (found.between, reduced.class_gram),
                (found.within, reduced.similarities.within),
                (found.view, reduced.similarities.view),
                (spread.delta2, reduced.class_variances.delta2),
                (spread.view, reduced.class_variances.view),
                (variances(points, problem.structure).total, reduced.variances.total),
            ]
            for whole, part in pairs:
                assert np.allclose(whole, part[cell], rtol=0, atol=GRAM)


def test_a_single_cell_is_a_cell_of_the_batch(solved):
    problem, _, _, batch = solved[0]
    one = solve_reduced(Problem(problem.structure, None, SupCL(ALPHAS[1], TAUS[1])))
    assert np.shape(one.value) == ()
    assert abs(one.value - batch.value[1]) <= EVALUATION
    assert np.allclose(one.cosines, batch.cosines[1], rtol=0, atol=ROUNDING)
    assert np.allclose(np.diag(one.cosines), 1, rtol=0, atol=ROUNDING)


def test_the_dual_slacks_are_complementary(solved):
    for _, _, _, reduced in solved:
        assert np.all(reduced.instance_slack * reduced.class_variances.delta2 <= ROUNDING)
        assert np.all(np.linalg.eigvalsh(reduced.class_dual) >= -ROUNDING)
        product = reduced.class_dual @ reduced.class_gram
        assert np.allclose(product, 0, rtol=0, atol=ROUNDING)


def test_no_random_embeddings_beat_the_bound(solved):
    rng = np.random.default_rng(2)
    for problem, solution, _, reduced in solved:
        for cell, points in enumerate(np.asarray(solution.embeddings)):
            loss = SupCL(ALPHAS[cell], TAUS[cell], problem.loss.self_pairs, problem.loss.mean)
            for size in (0.0, 1e-7, 1e-3, 0.3, 10.0):
                moved = jnp.asarray(points + size * rng.normal(size=points.shape))
                assert loss(moved, problem.structure) >= reduced.lower[cell] - EVALUATION


def test_the_block_bound_holds_at_points_that_are_not_critical(solved):
    """The bound is a statement of duality, not of the solver that supplied the point."""
    problem, _, certificate, _ = solved[1]
    rows = class_rows(problem.loss, problem.structure)
    present = jnp.asarray(class_blocks.present_rows(problem.structure))
    for cell in range(len(ALPHAS)):
        loss = SupCL(ALPHAS[cell], TAUS[cell])
        for seed in range(5):
            points = np.random.default_rng(seed).normal(size=present.shape)
            points = normalize(jnp.asarray(points) * present)
            function = lambda blocks, loss=loss: class_loss(loss, rows, blocks)  # noqa: E731
            relative = rounding.class_program(len(present), problem.structure.num_embeddings)
            terms = class_program.terms_of(loss)
            dual = class_program.dual_at(function, points, present, terms, relative)
            assert dual.lower <= certificate.value[cell]
            assert dual.lower <= function(class_blocks.blocks_of(points))


def values_of(points, structure):
    first, second = np.triu_indices(structure.num_classes, 1)
    between = class_similarities(points @ points.T, structure).between
    delta2 = class_variances(points, structure).delta2
    return np.concatenate([delta2, np.asarray(between)[first, second]])


@pytest.mark.parametrize("case", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_brackets_contain_all_embeddings_of_that_loss(solved, case):
    """Optimal and perturbed embeddings alike, each at the level of its own loss."""
    problem, solution, _, _ = solved[case]
    structure, rng = problem.structure, np.random.default_rng(3)
    for size in (0.0, 1e-5, 1e-2, 0.5):
        noise = rng.normal(size=solution.embeddings.shape)
        points = normalize(jnp.asarray(solution.embeddings) + size * noise)
        losses = [
            SupCL(a, t, problem.loss.self_pairs, problem.loss.mean)(one, structure)
            for a, t, one in zip(ALPHAS, TAUS, points, strict=True)
        ]
        sides = zip(
            *(bracket_classes(problem, np.array(losses), products) for products in (False, True)),
            strict=True,
        )
        low, high = (np.concatenate(side, axis=1) for side in sides)
        truth = np.array([values_of(one, structure) for one in points])
        assert np.all(low <= truth + ROUNDING)
        assert np.all(truth <= high + ROUNDING)
        if size == 0:
            assert np.max(high - low) <= BRACKET_WIDTH
        quantities = bracket_program(problem.loss, structure, np.array(losses))
        for cell, one in enumerate(points):
            found = variances(one, structure)
            for place, value in enumerate((found.view, found.delta2, found.mean_squared)):
                assert quantities[0][cell, place] <= value + ROUNDING
                assert value <= quantities[1][cell, place] + ROUNDING


def test_certificates_of_unequal_classes_decide_phases(solved):
    for problem, _, certificate, reduced in solved:
        p, variance = problem.structure.num_views, reduced.class_variances.delta2.max(1)
        views_apart = reduced.class_variances.view.max(1) > GRAM
        expected = np.where(
            variance > GRAM, Phase.SPREAD, np.where(views_apart, Phase.VIEW_SPREAD, Phase.COLLAPSE)
        )
        assert np.array_equal(certificate.phase, expected)
        assert p > 1 or not views_apart.any()
        low, high = certificate.brackets["between_similarity"]
        assert np.all((low == -1) & (high == 1))
        width = np.asarray(certificate.high - certificate.low)[:, QUANTITIES.index("delta2")]
        assert np.all(width <= BRACKET_WIDTH)


@pytest.mark.slow  # a kernel of its own
def test_other_losses_are_reduced_by_their_gram_matrix(solved):
    problem, _, _, reduced = solved[1]
    loss = SupCL(ALPHAS[1], TAUS[1], mean="anchors")
    generic = solve_reduced(Problem(problem.structure, None, Wrapped(loss)))
    assert abs(generic.value - reduced.value[1]) <= LOSS
    assert np.allclose(generic.class_gram, reduced.class_gram[1], rtol=0, atol=GRAM)
    assert generic.gap <= TIGHT_GAP


def test_thresholds_of_a_printed_case():
    found = collapse_thresholds(ClassStructure((8, 4, 2)), 0.3, mean="anchors")
    assert np.allclose(found, [0.1323, 0.2698, 0.5488], rtol=0, atol=PRINTED)


@pytest.mark.parametrize("mean", ["pairs", "anchors"])
def test_whole_solves_on_both_sides_of_the_thresholds(mean):
    structure, tau = ClassStructure((8, 4, 2)), 0.3
    thresholds = collapse_thresholds(structure, tau, mean=mean)
    assert np.all(np.diff(thresholds) > 0)
    alphas = np.concatenate([thresholds - ASIDE, thresholds + ASIDE])
    problem = Problem(structure, DIM, SupCL(alphas, np.full(6, tau), mean=mean))
    solution = solve(problem, jax.random.key(4))
    assert np.all(certify(solution).certified)
    spread = np.array([class_variances(u, structure).delta2 for u in solution.embeddings]) > MERGED
    assert np.array_equal(spread, alphas[:, None] > thresholds)


def test_a_class_of_one_instance_has_no_threshold():
    found = collapse_thresholds(ClassStructure((10, 3, 1)), 0.5, mean="anchors")
    assert np.array_equal(np.isnan(found), [False, False, True])
    assert found[0] < found[1]


@pytest.mark.parametrize("mean", ["pairs", "anchors"])
@pytest.mark.parametrize("sizes", [(8, 4), (5, 3), (3, 11), (6, 6)])
def test_the_first_of_two_classes_leaves_at_the_closed_form(sizes, mean):
    closed = two_class_threshold(sizes, 0.5, mean)
    found = collapse_thresholds(ClassStructure(sizes), 0.5, mean=mean)
    first = np.argmin(closed)
    assert first == np.argmax(sizes)
    assert abs(closed[first] - found[first]) <= CLOSED_FORM


def test_balanced_thresholds_are_the_collapse_boundary():
    """α_c = 1/n + (1-1/n) m r/(1+(m-1) r), the same for every class."""
    m, n, tau = 3, 4, 0.5
    r = np.exp(-m / ((m - 1) * tau))
    expected = 1 / n + (1 - 1 / n) * m * r / (1 + (m - 1) * r)
    for mean in ("pairs", "anchors"):
        found = collapse_thresholds(ClassStructure.balanced(m, n), tau, mean=mean)
        assert np.allclose(found, expected, rtol=0, atol=CLOSED_FORM)


def test_minority_collapse_ratio():
    """n/n' = k ρ for k = 2; the critical imbalance, printed and solved for."""
    assert abs(2 * minority_collapse_ratio(2, 1.0) - 24.32) <= 5e-3
    assert abs(2 * minority_collapse_ratio(2, 2.0) - 6.81) <= 5e-3
    for tau, k in ((1.0, 2), (2.0, 2)):
        critical = k * minority_collapse_ratio(k, tau) * 50
        for majority, merges in ((np.ceil(critical), True), (np.floor(critical) - 1, False)):
            structure = ClassStructure((int(majority), *[50] * k))
            loss = SupCL(0.0, tau, mean="anchors")
            gram = solve_reduced(Problem(structure, None, loss)).class_gram
            assert (1 - gram[1, 2] <= MERGED) == merges


@pytest.mark.slow  # kernels of classes of their own
def test_several_majorities():
    """Two majorities at τ = 0.5 merge two minorities, three do not."""
    assert minorities_can_merge(2, 0.5)
    assert not minorities_can_merge(3, 0.5)
    loss = SupCL(0.0, 0.5, mean="anchors")
    structures = ClassStructure((20_000, 20_000, 20, 20)), ClassStructure((20_000,) * 3 + (20,) * 2)
    apart = [1 - solve_reduced(Problem(each, None, loss)).class_gram[-1, -2] for each in structures]
    assert apart[0] <= MERGED < apart[1]


def test_one_majority_always_merges_and_nothing_overflows():
    assert minorities_can_merge(1, 0.5)
    assert minorities_can_merge(3, 1e-3)
    assert not minorities_can_merge(5, 1e3)


def tail_of(num_classes):
    """All sizes distinct."""
    return ClassStructure(tuple(range(2, 2 + num_classes)))


@pytest.mark.parametrize(
    "structure", [pytest.param(tail_of(4), marks=pytest.mark.slow), ClassStructure((4, 2, 1), 2)]
)
def test_conjugate_gradients_find_what_orbits_have(structure):
    loss = SupCL(0.3, 0.3)
    dense = solve_reduced(Problem(structure, None, loss))
    present = jnp.asarray(class_blocks.present_rows(structure))
    rows, start = class_rows(loss, structure), class_program.noise_of(1, present.shape)[0] * present
    cell = jax.jit(lambda plain: class_program.solve_cell(plain, rows, present, start))(
        loss.without_conventions()
    )
    assert 0 <= cell.gap <= LARGE_GAP
    assert abs(cell.value - dense.value) <= LARGE_GAP
    assert np.allclose(cell.blocks.delta2, dense.class_variances.delta2, rtol=0, atol=MERGED)
    assert np.allclose(cell.blocks.view, dense.class_variances.view, rtol=0, atol=MERGED)


@pytest.mark.parametrize("count", [30, pytest.param(100, marks=pytest.mark.slow)])
def test_many_unequal_classes_are_solved(count):
    cells = SupCL(np.array([0.5, 0.2]), np.array([0.5, 0.1]))
    found = solve_reduced(Problem(tail_of(count), None, cells))
    assert np.all((found.gap >= 0) & (found.gap <= LARGE_GAP))
    assert np.array_equal((found.class_variances.delta2 > MERGED).sum(1), [0, count])


def test_classes_of_equal_size_share_their_threshold():
    found = collapse_thresholds(ClassStructure((2, 5, 2, 5)), 0.3)
    assert (found[0], found[1]) == (found[2], found[3])
    assert found[1] < found[0]


def test_what_is_not_reducible():
    many = ClassStructure(tuple(range(2, 3 + class_blocks.CLASS_LIMIT)))
    for call in (
        lambda: solve_reduced(Problem(many, None, SupCL(0.5, 0.5))),
        lambda: collapse_thresholds(many, 0.5),
    ):
        with pytest.raises(ValueError, match=r"solved up to 128 classes; got 129\. Use solve and"):
            call()
    with pytest.raises(ValueError, match="only SupCL and its kin are reduced; got Sincere"):
        solve_reduced(Problem(tail_of(21), None, Sincere(0.5)))
    towers = Problem(ClassStructure((2, 2), 2), None, CrossModal(0.5, 0.5))
    with pytest.raises(ValueError, match="CrossModal gives embeddings other parts than those of"):
        solve_reduced(towers)
    big = ClassStructure((60, 5))
    with pytest.raises(ValueError, match=r"Wrapped does not say.* up to 64 embeddings"):
        solve_reduced(Problem(big, None, Wrapped(SupCL(0.5, 0.5))))

    class Unmarked(Wrapped):
        symmetric = False

    with pytest.raises(ValueError, match=r"Unmarked does not say.* convex and symmetric"):
        solve_reduced(Problem(ClassStructure((3, 2)), 3, Unmarked(SupCL(0.5, 0.5))))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: two_class_threshold(cast(Any, (3, 2, 2)), 0.5), "two classes; got 3"),
        (lambda: two_class_threshold((3, 1), 0.5), "integer of at least 2; got 1"),
        (lambda: two_class_threshold((3, 2), 0.0), "temperature must be positive"),
        (lambda: two_class_threshold((3, 2), 0.5, "both"), "mean must be one of"),
        (lambda: minority_collapse_ratio(1, 0.5), "num_minorities must be an integer of at least"),
        (lambda: minority_collapse_ratio(2, -1.0), "temperature must be positive"),
        (lambda: minorities_can_merge(0, 0.5), "num_majorities must be an integer of at least"),
        (lambda: minorities_can_merge(2, 0.0), "temperature must be positive"),
        (lambda: collapse_thresholds(ClassStructure((1, 1)), 0.5), "L_sup has no positive pair"),
        (lambda: collapse_thresholds(ClassStructure((3, 2)), -1), "temperature must be positive"),
        (
            lambda: collapse_thresholds(ClassStructure((3, 2)), 0.5, self_pairs="exclude"),
            "num_views must be at least 2",
        ),
    ],
)
def test_misuse_is_told(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_verification_needs_64_bits():
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ValueError, match="jax_enable_x64"):
            solve_reduced(Problem(ClassStructure((3, 2)), 3, SupCL(0.5, 0.5)))
    finally:
        jax.config.update("jax_enable_x64", True)
