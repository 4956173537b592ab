"""Minimisation from random starts: certified, against closed forms, Clarabel and planted optima."""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import cvxpy_optimum

from ssem_jax import theory
from ssem_jax.certificate import certify, certify_embeddings
from ssem_jax.geometry import full_dimension, normalize
from ssem_jax.losses import GramLoss, SupCL, gram_loss
from ssem_jax.problem import (
    ClassStructure,
    Phase,
    Problem,
    Status,
    cell_keys,
    pytree_dataclass,
)
from ssem_jax.solver import attempts, escape, newton, solve
from ssem_jax.solver.objective import of_function, of_loss

CERTIFIED = 1e-9
"""The gap that verification asks for; the worst seen on the grids here is 2e-12."""

NARROW = 1e-3
"""Width of a bracket of δ² under which an equality claim is decided; the worst seen is 4e-4, at
α = 1 and τ = 0.05, where the loss hardly depends on δ²."""

VALUE = 1e-13
"""Rounding of a loss of size ≤ 5 in the solver and in the closed form, ten roundings each."""

BAND = 1e-3
"""Cells closer than this to a phase boundary may stay undecided."""

CLARABEL_VALUE = 2e-8
"""Clarabel stops at gaps of 1e-8 to 1e-10 and leaves the diagonal of G free by as much."""

PLANTED_GRAM = 3e-5
"""‖G - G*‖² ≤ 2·excess for a planted loss, and a certified excess is at most 1e-9 / 2."""

IMPROVED = 1e-6
"""Local minima of low dimension differ by 1e-3; converged runs of one minimum by 1e-13."""

ALPHAS = (0.05, 0.2, 0.5, 0.9, 1.0)
TEMPERATURES = (0.05, 0.07, 0.1, 0.2, 0.5, 1.0, 5.0)
SHAPES = [(3, 4, 16), (5, 5, 32), (10, 10, 128)]

TWELVE, DIM = ClassStructure.balanced(3, 4), 16


def num_compiled() -> int:
    """How many programs of the solver's kernel this process has."""
    return len(attempts._attempt_chunk.ready)


def grid(*axes):
    return [axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]


def supcl_over(alphas, temperatures):
    alpha, tau = grid(alphas, temperatures)
    return SupCL(alpha, tau)


def random_cells(count, seed):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 1, count), np.exp(rng.uniform(np.log(0.05), np.log(5), count))


def check_against_theory(problem, solution, certificate):
    """Every cell converged, certified, and in agreement with the closed form."""
    structure, loss = problem.structure, problem.loss
    arguments = (
        structure.num_classes,
        structure.num_instances,
        structure.num_views,
        loss.alpha,
        loss.temperature,
        loss.self_pairs,
    )
    assert np.all(np.asarray(solution.status) == Status.CONVERGED)
    assert np.all(certificate.certified)
    assert np.max(certificate.gap) <= CERTIFIED
    assert np.abs(solution.value - theory.loss(*arguments)).max() <= VALUE
    for name, expected in (
        ("delta2", theory.delta2(*arguments)),
        ("view_variance", theory.view_variance(*arguments)),
        ("within_similarity", theory.similarities(*arguments).within),
        ("between_similarity", theory.similarities(*arguments).between),
    ):
        low, high = certificate.brackets[name]
        assert np.all((low <= expected) & (expected <= high)), name
    low, high = certificate.brackets["delta2"]
    assert np.max(high - low) < NARROW
    counts = arguments[:3]
    boundaries = (
        theory.alpha_c(*counts, loss.temperature, loss.self_pairs),
        theory.alpha_v(*counts, loss.temperature, loss.self_pairs),
    )
    distance = np.min([np.abs(loss.alpha - boundary) for boundary in boundaries], axis=0)
    # α_v = 0 is no boundary: nothing lies beyond it.
    distance = np.where(boundaries[1] > 0, distance, np.abs(loss.alpha - boundaries[0]))
    decided = distance > BAND
    assert decided.mean() > 0.9
    assert np.array_equal(certificate.phase[decided], theory.phase(*arguments)[decided])


@pytest.mark.parametrize(("num_classes", "num_instances", "dim"), SHAPES[:1])
def test_random_starts_end_at_certified_optima(num_classes, num_instances, dim):
    structure = ClassStructure.balanced(num_classes, num_instances)
    problem = Problem(structure, dim, supcl_over(ALPHAS, TEMPERATURES))
    solution = solve(problem, jax.random.key(0))
    check_against_theory(problem, solution, certify(solution))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("num_classes", "num_instances", "dim"), SHAPES)
def test_random_starts_end_at_certified_optima_on_a_fine_grid(
    num_classes, num_instances, dim, seed
):
    structure = ClassStructure.balanced(num_classes, num_instances)
    axes = np.linspace(0, 1, 21), np.geomspace(0.05, 5, 15)
    problem = Problem(structure, dim, supcl_over(*axes))
    solution = solve(problem, jax.random.key(seed))
    check_against_theory(problem, solution, certify(solution))


def test_excluded_self_pairs_reach_all_three_phases():
    structure = ClassStructure.balanced(3, 2, 2)
    dim = full_dimension(structure, "exclude")
    assert dim == 8
    alpha, tau = grid((0.0, 0.02, 0.1, 0.2, 0.3, 0.5, 0.9, 1.0), (0.07, 0.1, 0.2, 0.5, 1.0, 5.0))
    problem = Problem(structure, dim, SupCL(alpha, tau, "exclude"))
    solution = solve(problem, jax.random.key(1))
    certificate = certify(solution)
    check_against_theory(problem, solution, certificate)
    found = set(np.asarray(certificate.phase).tolist())
    assert {Phase.COLLAPSE, Phase.SPREAD, Phase.VIEW_SPREAD} <= found


def test_excluded_single_views_collapse():
    """For τ < 0.2 also α_c is below 1e-3, so that α = 0 is too close to it to be decided."""
    temperatures = np.array([0.2, 0.3, 0.5, 1.0, 5.0])
    problem = Problem(TWELVE, DIM, SupCL(np.zeros(5), temperatures, "exclude"))
    solution = solve(problem, jax.random.key(2))
    certificate = certify(solution)
    check_against_theory(problem, solution, certificate)
    assert np.all(np.asarray(certificate.phase) == Phase.COLLAPSE)
    cold = certify(
        solve(
            Problem(TWELVE, DIM, SupCL(np.zeros(2), np.array([0.05, 0.07]), "exclude")),
            jax.random.key(2),
        )
    )
    assert np.all(cold.certified)
    assert np.all(cold.brackets["delta2"][0] == 0)


def test_full_dimension_admits_the_optimum_and_one_less_does_not():
    """α = 1 wants the simplex of all instances, which takes exactly M - 1 dimensions."""
    structure = ClassStructure.balanced(2, 3, 2)
    loss = SupCL(np.array([0.7, 1.0]), np.array([0.3, 0.5]))
    dim = full_dimension(structure)
    assert dim == 5
    enough = certify(solve(Problem(structure, dim, loss), jax.random.key(0)))
    assert np.all(enough.certified)
    solution = solve(Problem(structure, dim - 1, loss), jax.random.key(0))
    assert np.all(np.asarray(solution.status) == Status.SADDLE)
    short = certify(solution)
    assert not np.any(short.certified)
    assert np.all(np.asarray(short.value) > np.asarray(enough.value) + CERTIFIED)


def test_more_dimensions_than_embeddings_change_nothing_but_the_place():
    """Starts in R^d are solved in their span: distances to theory and unit rows survive."""
    problem = Problem(TWELVE, 40, SupCL(0.6, 0.3))
    solution = solve(problem, jax.random.key(0))
    assert solution.embeddings.shape == (12, 40)
    assert np.abs(np.linalg.norm(solution.embeddings, axis=1) - 1).max() < VALUE
    assert abs(solution.value - theory.loss(3, 4, 1, 0.6, 0.3)) <= VALUE
    assert np.linalg.matrix_rank(solution.embeddings, 1e-6) == 11


@pytree_dataclass
class Planted(GramLoss):
    r"""½‖G - G*‖² + c·⟨S*, G⟩ with S* ⪰ 0 and S* G* = 0: the optimum is G*, and its loss 0.

    G* is the Gram matrix of random points in R^rank. Not symmetric under relabelling, so it is
    for unbalanced structures, whose brackets do not rest on symmetry.
    """

    convex = True

    weight: Any
    seed: int = dataclasses.field(metadata={"static": True})
    rank: int = dataclasses.field(metadata={"static": True})

    def prepare(self, structure):
        points = np.random.default_rng(self.seed).normal(size=(structure.num_embeddings, self.rank))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        return points @ points.T, np.eye(len(points)) - points @ np.linalg.pinv(points)

    def value(self, gram, prepared):
        planted, dual = prepared
        return 0.5 * jnp.sum((gram - planted) ** 2) + self.weight * jnp.sum(dual * gram)

    def from_gram(self, gram, structure):
        return self.value(gram, self.prepare(structure))

    def without_conventions(self):
        return dataclasses.replace(self, seed=0, rank=1)


@pytest.mark.parametrize("rank", [2, 4, 6])
def test_planted_optima_are_found(rank):
    structure = ClassStructure((5, 3))
    problem = Problem(structure, 8, Planted(np.array([0.0, 0.1, 1.0]), 3, rank))
    solution = solve(problem, jax.random.key(0))
    assert np.all(np.asarray(solution.status) == Status.CONVERGED)
    certificate = certify(solution)
    assert np.max(certificate.gap) <= CERTIFIED
    assert np.all((np.asarray(certificate.lower) <= 0) & (np.asarray(solution.value) <= CERTIFIED))
    planted, _ = problem.loss.prepare(structure)
    gram = solution.embeddings @ solution.embeddings.mT
    assert np.abs(gram - planted[None]).max() <= PLANTED_GRAM


EIGHT = [
    ClassStructure((4, 4)),
    ClassStructure((2, 2), 2),
    ClassStructure((5, 3)),
    ClassStructure((4, 3, 1)),
    ClassStructure((3, 1), 2),
]


@pytest.mark.parametrize("structure", EIGHT, ids=str)
def test_minima_agree_with_a_convex_solver(structure):
    """Clarabel minimises over Gram matrices and knows nothing of spheres."""
    for self_pairs, mean in itertools.product(("include", "exclude"), ("pairs", "anchors")):
        single = self_pairs == "exclude" and structure.num_views == 1
        alpha = np.array([0.0, 0.0] if single else [0.15, 0.75])
        tau = np.array([1.0, 0.4])
        solution = solve(
            Problem(structure, 8, SupCL(alpha, tau, self_pairs, mean)), jax.random.key(0)
        )
        certificate = certify(solution)
        assert np.max(certificate.gap) <= CERTIFIED
        for cell in range(2):
            loss = SupCL(float(alpha[cell]), float(tau[cell]), self_pairs, mean)
            value, _ = cvxpy_optimum(loss, structure)
            assert abs(float(solution.value[cell]) - value) < CLARABEL_VALUE


def test_a_cell_does_not_depend_on_its_batch():
    """The same key gives the same embeddings bit for bit: alone, in a batch, in another order."""
    alpha, tau = random_cells(20, 0)
    key = jax.random.key(7)

    def embeddings(alpha, tau):
        return np.asarray(solve(Problem(TWELVE, DIM, SupCL(alpha, tau)), key).embeddings)

    batch = embeddings(alpha, tau)
    order = np.random.default_rng(1).permutation(20)
    assert np.array_equal(embeddings(alpha[order], tau[order]), batch[order])
    # A batch that takes other chunks, with strangers in it.
    strangers = random_cells(130, 2)
    larger = embeddings(
        *(np.concatenate(pair) for pair in zip(strangers, (alpha, tau), strict=True))
    )
    assert np.array_equal(larger[130:], batch)
    for cell in (0, 13, 19):
        assert np.array_equal(embeddings(float(alpha[cell]), float(tau[cell])), batch[cell])


def test_hyper_parameters_count_by_value_and_not_by_type():
    """α = 1 and α = 1.0 are one cell and one compiled kernel."""
    key = jax.random.key(0)
    reference = solve(Problem(TWELVE, DIM, SupCL(1.0, 0.5)), key)
    compiled = num_compiled()
    for alpha, tau in ((1, 0.5), (1.0, np.float32(0.5)), (jnp.asarray(1), jnp.asarray(0.5))):
        found = solve(Problem(TWELVE, DIM, SupCL(alpha, tau)), key)
        assert np.array_equal(found.embeddings, reference.embeddings)
    zero = [cell_keys(Problem(TWELVE, DIM, SupCL(alpha, 0.5)), key) for alpha in (0.0, -0.0, 0)]
    assert len({tuple(np.asarray(jax.random.key_data(one)).ravel()) for one in zero}) == 1
    assert num_compiled() == compiled


def test_another_number_of_cells_compiles_nothing(caplog):
    """Keys are folded in the kernels of a chunk; results are put together on the host."""

    def solved(number):
        return solve(Problem(TWELVE, DIM, SupCL(np.linspace(0.1, 0.9, number), 0.5)), 0)

    assert len(solved(5).value) == 5
    with jax.log_compiles():
        assert len(solved(7).value) == 7
    assert not [text for text in caplog.messages if "compil" in text.lower()]


def test_cell_keys_differ_between_cells():
    key, alpha = jax.random.key(0), np.array([0.2, 0.2, 0.3])
    losses = [
        SupCL(alpha, np.array([0.5, 0.6, 0.5])),
        SupCL(alpha, np.array([0.5, 0.6, 0.5]), mean="anchors"),
        SupCL(alpha, np.array([0.5, 0.6, 0.5]), "exclude"),
    ]
    problems = [Problem(ClassStructure((3, 3), 2), 16, loss) for loss in losses]
    problems += [Problem(ClassStructure((3, 3), 2), 17, losses[0]), Problem(TWELVE, 16, losses[0])]
    data = [np.asarray(jax.random.key_data(cell_keys(one, key))) for one in problems]
    assert len({tuple(row) for row in np.concatenate(data)}) == 3 * len(problems)
    other = np.asarray(jax.random.key_data(cell_keys(problems[0], jax.random.key(1))))
    assert not np.any(np.all(other == data[0], axis=1))


def test_simplexes_and_gaussian_starts_end_at_the_same_minima():
    """Also where views part and where dimensions are left over; with a third of the products."""
    for structure, dim, pairs in (
        (TWELVE, DIM, "include"),
        (ClassStructure((2, 2), 2), 9, "exclude"),
    ):
        alpha, tau = grid((0.05, 0.5, 0.9, 1.0), (0.1, 0.5, 2.0))
        problem = Problem(structure, dim, SupCL(alpha, tau, pairs))
        found = {
            start: solve(problem, jax.random.key(0), start=start) for start in attempts.FIRST_STARTS
        }
        simplex, gaussian = found["simplex"], found["gaussian"]
        for one in (simplex, gaussian):
            assert np.max(certify(one).gap) <= CERTIFIED
        assert np.allclose(simplex.value, gaussian.value, rtol=0, atol=VALUE)
        assert np.allclose(np.linalg.norm(simplex.embeddings, axis=-1), 1, rtol=0, atol=VALUE)
        assert not np.array_equal(simplex.embeddings[0], simplex.embeddings[1])
        assert np.median(simplex.products) <= np.median(gaussian.products) / 2


def test_simplexes_lie_at_random():
    """In three dimensions every coordinate of a point of Haar's measure is uniform in [-1, 1], and
    half of all frames are left-handed; so for each cell, though one rotation is drawn for all."""
    size, ids = 600, np.arange(4)
    hashes = np.arange(2 * size, dtype=np.uint32).reshape(size, 2)
    drawn = [
        attempts._random_simplexes(jax.random.key(seed), hashes[seed], ids, 4, 3)[0]
        for seed in range(size)
    ]
    points = np.stack(drawn)
    assert np.allclose(points @ points.mT, (4 * np.eye(4) - 1) / 3, rtol=0, atol=1e-14)
    uniform = (np.arange(size) + 0.5) * 2 / size - 1
    for cell in range(2):
        assert np.abs(np.sort(points[:, cell], axis=0) - uniform[:, None, None]).max() <= 0.2
        assert abs(np.mean(np.linalg.det(points[:, cell, :3]) > 0) - 0.5) <= 0.08
    apart = np.linalg.norm(points[:, 0] - points[:, 1], axis=(1, 2))
    assert np.min(apart) > 1e-3
    assert np.mean(apart) > 1


def test_hessian_products_take_the_softmaxes_of_the_gradient():
    """They are those of the loss as JAX differentiates it, also where a subclass has its own."""

    class Shifted(SupCL):
        convex = True

        def value(self, gram, prepared):
            return super().value(gram, prepared) + 0.1 * jnp.sum(gram**2)

    rng = np.random.default_rng(0)
    points = normalize(rng.normal(size=(12, 5)))
    towards = jnp.asarray(rng.normal(size=(12, 5)))
    for loss, simple in ((SupCL(0.3, 0.2), True), (Shifted(0.3, 0.2), False)):
        prepared = loss.prepare(TWELVE)
        objective = of_loss(loss, prepared)
        assert objective.simple is simple
        written = of_function(lambda gram, loss=loss, held=prepared: loss.value(gram, held))
        products, gradients = [], []
        for one in (objective, written):
            point = newton.evaluate(one, points)
            gradients.append(point.gradient)
            products.append(newton.hessian_at(one, point)(towards))
        assert np.allclose(*gradients, rtol=0, atol=1e-14)
        assert np.allclose(*products, rtol=1e-12, atol=1e-13)


def test_no_descent_searches_in_the_rounding_of_its_gradient():
    """Twelve shrunken steps at one to six roundings made tens of products each, in every third
    cell: 37 in one of these; and the first steps only widened their radius."""
    structure, (alpha, tau) = (
        ClassStructure((8,) * 6),
        grid(np.linspace(0.05, 0.95, 6), np.geomspace(0.1, 1.5, 6)),
    )
    found = solve(Problem(structure, 48, SupCL(alpha, tau)), jax.random.key(0))
    assert np.max(found.products) <= 25  # seen: 15
    assert np.mean(found.products) <= 8  # seen: 6.9, and 8.9 before
    assert np.max(certify(found).gap) <= CERTIFIED


def test_a_descent_ends_where_steps_promise_only_rounding():
    """At once where the gradient is near its rounding, else at the third in a row; and not while
    steps promise more, or the gradient is halved."""
    points = normalize(jnp.eye(4)[:, :3] + 0.3)
    value = of_function(lambda gram: jnp.sum(jnp.exp(gram)))
    begun = newton.begin_run(value, points)
    norm = begun.point.gradient_norm
    near, far = norm / (0.1 * newton.NOISE_GRADIENT), norm / (10 * newton.NOISE_GRADIENT)

    def after(run, decrease, *, halved=False):
        """The run after a step that promises so much."""
        step = -begun.point.gradient * decrease / norm**2
        cg = newton.begin_cg(run.point)._replace(step=step)
        run = run._replace(point=begun.point, best_norm=10 * norm if halved else norm)
        return newton.take_step(value, run, cg, 0.0)

    faint, real = 0.1 * newton.NOISE_DECREASE, 10 * newton.NOISE_DECREASE
    assert after(begun._replace(scale=near), faint).done
    assert not after(begun._replace(scale=near), real).done
    assert not after(begun._replace(scale=near), faint, halved=True).done
    run, stagnant = begun._replace(scale=far), []
    for decrease, halved in ((faint, False), (real, False), (faint, True), *[(faint, False)] * 3):
        assert not run.done
        run = after(run, decrease, halved=halved)
        stagnant.append(int(run.stagnant))
        assert run.best_norm == pytest.approx(norm)
    assert stagnant == [1, 0, 0, 1, 2, 3]
    assert run.done
    slower = after(begun._replace(scale=far), faint)
    assert slower.best_norm == norm
    kept = newton.take_step(
        value,
        begun._replace(best_norm=0.7 * norm),
        newton.begin_cg(begun.point)._replace(step=-1e-9 * begun.point.gradient),
        0.0,
    )
    assert kept.best_norm == 0.7 * norm


def test_first_steps_are_wide_where_every_embedding_has_room():
    """In two dimensions one ended a cell of `ssem verify` in a wrong one."""
    summed = of_function(lambda gram: jnp.sum(gram**2))
    for dim, radius in ((12, 12**0.5), (11, 12**0.5), (10, 1), (2, 1)):
        points = jnp.eye(12)[:, :dim] + 0.1
        run = newton.begin_run(summed, normalize(points), wide=True)
        assert run.radius == pytest.approx(radius)


def test_an_unknown_start_raises():
    with pytest.raises(ValueError, match="start must be one of 'simplex', 'gaussian'; got 'best'"):
        solve(Problem(TWELVE, DIM, SupCL(0.5, 0.5)), jax.random.key(0), start="best")


def test_seeds_repeat_and_differ():
    problem = Problem(TWELVE, DIM, SupCL(np.array([0.3, 0.8]), np.array([0.3, 0.3])))
    first, again, other = (solve(problem, jax.random.key(seed)) for seed in (0, 0, 1))
    for one, two in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        assert np.array_equal(one, two)
    assert not np.allclose(first.embeddings, other.embeddings)
    # Another place on the sphere, the same minimum.
    assert np.abs(first.value - other.value).max() <= VALUE


def test_more_starts_help_in_low_dimension():
    """d = 4 < M - 1 has local minima; further starts never do worse."""
    alpha = np.linspace(0.6, 0.9, 24)
    problem = Problem(TWELVE, 4, SupCL(alpha, np.full(24, 0.3)))
    one, four = (solve(problem, jax.random.key(0), num_starts=number) for number in (1, 4))
    assert np.all(np.asarray(one.starts) == 1)
    assert np.all(np.asarray(four.starts) == 4)
    gain = np.asarray(one.value - four.value)
    assert np.all(gain >= -VALUE)
    assert np.sum(gain > IMPROVED) >= 2
    # Nothing in R⁴ is better than the best in all dimensions.
    assert np.all(np.asarray(four.value) >= theory.loss(3, 4, 1, alpha, 0.3) - VALUE)


def test_progress_counts_every_cell_once():
    alpha, tau = random_cells(20, 3)
    counts = []
    solve(Problem(TWELVE, DIM, SupCL(alpha, tau)), jax.random.key(0), progress=counts.append)
    assert sum(counts) == 20
    # Low dimensions are tried again and again, and still counted once.
    counts.clear()
    problem = Problem(TWELVE, 4, SupCL(np.array([0.7, 0.8]), np.full(2, 0.3)))
    solve(problem, jax.random.key(0), progress=counts.append)
    assert sum(counts) == 2


def test_a_batch_of_one_keeps_its_axis():
    single = solve(Problem(TWELVE, DIM, SupCL(0.5, 0.5)), jax.random.key(0))
    batch = solve(Problem(TWELVE, DIM, SupCL(np.array([0.5]), 0.5)), jax.random.key(0))
    assert single.embeddings.shape == (12, 16)
    assert batch.embeddings.shape == (1, 12, 16)
    assert single.value.shape == single.starts.shape == ()
    assert batch.value.shape == batch.starts.shape == (1,)
    assert np.array_equal(batch.embeddings[0], single.embeddings)


def test_one_compilation_per_shape():
    """A thousand (α, τ), both conventions and every structure of the same N and d."""
    key = jax.random.key(0)
    solve(Problem(TWELVE, DIM, SupCL(0.5, 0.5)), key)
    compiled = num_compiled()
    solution = solve(Problem(TWELVE, DIM, SupCL(*random_cells(1000, 4))), key)
    assert np.all(np.asarray(solution.status) == Status.CONVERGED)
    for structure in (
        ClassStructure((6, 4, 2)),
        ClassStructure((2, 2, 2), 2),
        ClassStructure((1, 5), 2),
    ):
        for self_pairs in ("include", "exclude"):
            for mean in ("pairs", "anchors"):
                alpha = 0.0 if self_pairs == "exclude" and structure.num_views == 1 else 0.5
                loss = SupCL(alpha, 0.5, self_pairs, mean)
                solution = solve(Problem(structure, DIM, loss), key)
                assert int(solution.status) == Status.CONVERGED
    assert num_compiled() == compiled


def test_the_kept_outcome_belongs_to_its_numbers():
    """Value, gradient and embeddings are of one attempt, though several were made."""
    problem = Problem(TWELVE, 4, SupCL(np.linspace(0.6, 0.9, 24), np.full(24, 0.3)))
    solution = solve(problem, jax.random.key(0), num_starts=4)
    for cell in range(24):
        loss = SupCL(float(np.linspace(0.6, 0.9, 24)[cell]), 0.3)
        prepared = loss.prepare(TWELVE)
        point = newton.evaluate(of_loss(loss, prepared), solution.embeddings[cell])
        assert abs(point.value - solution.value[cell]) <= VALUE
        assert abs(point.gradient_norm - solution.gradient_norm[cell]) <= VALUE


def test_dual_violation_is_that_of_the_certificate():
    """Two independent computations of N·max(0, -λ_min) agree where it is not proven to vanish."""
    problem = Problem(TWELVE, 4, SupCL(np.array([0.7, 0.8]), np.full(2, 0.3)))
    solution = solve(problem, jax.random.key(0))
    violation = -12 * np.asarray(certify(solution).eigenvalue)
    assert np.all(violation > IMPROVED)
    assert np.allclose(solution.dual_violation, violation, rtol=0, atol=1e-12)


def test_raise_if_failed():
    fine = solve(Problem(TWELVE, DIM, SupCL(0.5, 0.5)), jax.random.key(0))
    assert fine.raise_if_failed() is fine
    low = Problem(TWELVE, 4, SupCL(np.array([0.05, 0.8, 0.9]), np.full(3, 0.3)))
    failed = solve(low, jax.random.key(0))
    assert np.array_equal(np.asarray(failed.status), [0, 1, 1])
    message = r"2 of 3 cells did not converge; the first is cell 1 with status SADDLE: .* raise dim"
    with pytest.raises(RuntimeError, match=message):
        failed.raise_if_failed()
    single = dataclasses.replace(fine, status=jnp.asarray(int(Status.STALLED)))
    with pytest.raises(RuntimeError, match=r"1 of 1 .* STALLED: steps drowned in rounding; raise"):
        single.raise_if_failed()
    single = dataclasses.replace(fine, status=jnp.asarray(int(Status.BUDGET)))
    with pytest.raises(RuntimeError, match=r"BUDGET: the iteration limit was reached; raise"):
        single.raise_if_failed()


@pytest.mark.parametrize("number", [0, -1, 1.5, True])
def test_bad_number_of_starts_raises(number):
    problem = Problem(TWELVE, DIM, SupCL(0.5, 0.5))
    with pytest.raises(ValueError, match="num_starts must be an integer of at least 1; got"):
        solve(problem, jax.random.key(0), num_starts=number)


def test_solve_raises_under_jit():
    def value(alpha):
        return solve(Problem(TWELVE, DIM, SupCL(alpha, 0.5)), jax.random.key(0)).value

    with pytest.raises(ValueError, match=r"cannot be traced; call it outside jax\.jit"):
        jax.jit(value)(0.5)
    with pytest.raises(ValueError, match=r"cannot be traced; call it outside jax\.jit"):
        jax.vmap(value)(jnp.array([0.5, 0.6]))
    with pytest.raises(ValueError, match="cannot be traced"):
        jax.jit(lambda key: solve(Problem(TWELVE, DIM, SupCL(0.5, 0.5)), key).value)(
            jax.random.key(0)
        )


def test_solve_raises_in_32_bits():
    with (
        jax.enable_x64(False),
        pytest.raises(ValueError, match=r"jax_enable_x64.*True"),
    ):
        solve(Problem(TWELVE, DIM, SupCL(0.5, 0.5)), jax.random.key(0))


@pytest.mark.parametrize("limit", [12, 11], ids=["diagonalised", "iterated"])
def test_embeddings_beyond_a_saddle_are_better(monkeypatch, limit):
    """The escape is called at the collapsed saddle, moves every instance, and lowers the loss."""
    monkeypatch.setattr(escape, "EIGH_LIMIT", limit)
    collapsed = np.repeat(np.eye(3) - 1 / 3, 4, axis=0)
    collapsed /= np.linalg.norm(collapsed, axis=1, keepdims=True)
    collapsed = np.pad(collapsed, ((0, 0), (0, DIM - 3)))
    loss = SupCL(0.9, 0.2)
    prepared = loss.prepare(TWELVE)

    def value(gram):
        return loss.value(gram, prepared)

    point = newton.evaluate(of_function(value), jnp.asarray(collapsed))
    assert point.gradient_norm < VALUE
    beyond, violation, moved = escape.leave_saddle(value, point)
    assert bool(moved)
    assert violation > 0.1
    assert value(beyond @ beyond.T) < point.value - 0.1
    # All negative directions at once: the three instance simplices spread alike.
    gram = beyond @ beyond.T
    within = np.asarray(gram)[np.kron(np.eye(3), np.ones((4, 4)) - np.eye(4)) > 0]
    assert np.ptp(within) < 1e-9
    # A certified point is left alone.
    solution = solve(Problem(TWELVE, DIM, loss), jax.random.key(0))
    there = newton.evaluate(of_function(value), solution.embeddings)
    unmoved, violation, moved = escape.leave_saddle(value, there)
    assert not bool(moved)
    assert violation == 0
    assert np.array_equal(unmoved, solution.embeddings)
    assert certify_embeddings(unmoved, TWELVE, loss).certified


def test_the_lowest_eigenpairs_without_diagonalising(monkeypatch):
    """Inverse iteration finds whole eigenspaces; a few of their vectors would break symmetry."""
    values = np.concatenate(
        [np.full(9, -0.3), np.full(4, -0.01), np.zeros(20), np.linspace(0.1, 5)]
    )
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(len(values),) * 2))[0]
    dual = jnp.asarray((basis * values) @ basis.T)
    monkeypatch.setattr(escape, "EIGH_LIMIT", len(values) - 1)
    found, vectors = escape._lowest(dual, 20)
    assert np.allclose(found[:9], -0.3, rtol=0, atol=VALUE)
    projector = np.asarray(vectors[:, :9] @ vectors[:, :9].T)
    assert np.allclose(projector, basis[:, :9] @ basis[:, :9].T, rtol=0, atol=1e-6)
    assert np.allclose(vectors.T @ vectors, np.eye(20), rtol=0, atol=VALUE)


def test_a_static_function_has_no_part_in_the_keys_by_its_address():
    """Closures of one code differ in their address, and in nothing that starts depend on."""

    def weighing():
        return lambda structure: structure.class_ids

    @gram_loss(convex=True)
    def weighed(gram, structure, *, weights=None, scale=1.0):
        return scale * jnp.mean(gram**2)

    structure = ClassStructure((2, 2))
    keys = [
        cell_keys(Problem(structure, 3, weighed(weights=weighing())), jax.random.key(0))
        for _ in range(2)
    ]
    assert jax.random.key_data(keys[0]).tolist() == jax.random.key_data(keys[1]).tolist()
