"""Nothing feasible beats a bound, nothing suboptimal is certified, and rounding stays inside."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pymanopt
import pytest
from flint import arb, ctx
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import contrasted, positives, supcl
from pymanopt.optimizers import ConjugateGradient

from ssem_jax import GramLoss, SupCL, theory
from ssem_jax.certificate import (
    GAP_TOLERANCE,
    QUANTITIES,
    certificates,
    certify,
    certify_blocks,
    certify_embeddings,
    decide_phase,
    negative_direction,
)
from ssem_jax.geometry import (
    Similarities,
    block_gram,
    block_similarities,
    ssem_embeddings,
    variances,
)
from ssem_jax.losses import Sigmoid, SupCon
from ssem_jax.problem import ClassStructure, Phase, Problem, Status, pytree_dataclass
from ssem_jax.solver import attempts, solve

CLOSED_FORM_GAP = 1e-12
"""Gap of embeddings made from the closed form at τ ≥ 0.3: rounding margins of N = 12 rows, and
twelve right digits of δ². The worst seen is 8e-14."""

EXCESS = 1e-9
"""With a certified reference the gap is the excess, up to the gap of the reference."""

MARGIN = 1e-11
"""What margins may cost: a hundredth of the gap that verification asks for."""

SLACK = 1e-12
"""Rounding of a loss of size ≤ 20 that a test evaluates itself."""

BITS = 200

TWELVE, DIM = ClassStructure.balanced(3, 4), 16

EIGHT = [
    ClassStructure((4, 4)),
    ClassStructure((2, 2), 2),
    ClassStructure((5, 3)),
    ClassStructure((4, 3, 1)),
    ClassStructure((3, 1), 2),
]
"""All have N = 8, and embeddings in R⁸ have every Gram matrix: one compiled kernel."""

LOSSES = st.tuples(
    st.floats(0, 1),
    st.floats(np.log(0.1), np.log(3)).map(np.exp),
    st.sampled_from(["include", "exclude"]),
    st.sampled_from(["pairs", "anchors"]),
)

PHASES = [
    # structure, self pairs, α, τ, phase
    (ClassStructure.balanced(3, 4), "include", 0.6, 0.3, Phase.SPREAD),
    (ClassStructure.balanced(3, 4), "include", 0.2, 0.3, Phase.COLLAPSE),
    (ClassStructure.balanced(3, 4), "include", 1.0, 1.0, Phase.SPREAD),
    (ClassStructure.balanced(3, 2, 2), "exclude", 0.05, 0.3, Phase.VIEW_SPREAD),
    (ClassStructure.balanced(3, 2, 2), "exclude", 0.4, 1.0, Phase.COLLAPSE),
    (ClassStructure.balanced(3, 2, 2), "exclude", 0.9, 0.5, Phase.SPREAD),
]
SPREAD = SupCL(0.6, 0.3)


def admitted(structure, parameters):
    """A loss whose positives the structure has."""
    alpha, tau, self_pairs, mean = parameters
    if self_pairs == "exclude" and structure.num_views == 1:
        alpha = 0.0
    return SupCL(alpha, tau, self_pairs, mean)


def random_rows(num_rows, dim, seed, rank=None):
    """Random unit rows in R^dim that span `rank` dimensions."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((num_rows, dim))
    rows[:, : rank or dim] = rng.normal(size=(num_rows, rank or dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def factor(gram, dim):
    """Embeddings in R^dim of a positive semidefinite matrix of rank at most dim."""
    values, vectors = np.linalg.eigh(np.asarray(gram))
    rows = vectors * np.sqrt(np.maximum(values, 0))
    return (
        rows[:, ::-1][:, :dim] if dim <= len(rows) else np.pad(rows, ((0, 0), (0, dim - len(rows))))
    )


def arguments_of(structure, loss):
    return (
        structure.num_classes,
        structure.num_instances,
        structure.num_views,
        loss.alpha,
        loss.temperature,
        loss.self_pairs,
    )


def closed_form(structure, loss, dim=DIM):
    """Embeddings of the optimum that `theory` names."""
    gram = block_gram(structure, *theory.similarities(*arguments_of(structure, loss)))
    return factor(gram, dim)


def collapsed(structure, dim=DIM):
    return np.asarray(ssem_embeddings(structure, 0.0, dim))


def perturbed(rows, size, seed):
    noise = np.random.default_rng(seed).normal(size=rows.shape)
    moved = rows + size * noise
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def value_of(loss, structure):
    prepared, plain = loss.prepare(structure), loss.without_conventions()
    return lambda rows: float(_value(plain, prepared, rows))


@jax.jit
def _value(loss, prepared, rows):
    return loss.value(jnp.fill_diagonal(rows @ rows.T, 1.0, inplace=False), prepared)


@settings(max_examples=5)  # the fuzzer draws some hundred more
@given(st.sampled_from(EIGHT), LOSSES, st.integers(0, 10**6))
def test_no_embeddings_beat_a_lower_bound(structure, parameters, seed):
    """The bound of random embeddings, of any rank, against random, collapsed and solved ones."""
    loss = admitted(structure, parameters)
    rank = 1 + seed % 8
    lower = certify_embeddings(random_rows(8, 8, seed, rank), structure, loss).lower
    solution = solve(Problem(structure, 8, loss), jax.random.key(seed))
    lowers = [float(lower), float(certify(solution).lower)]
    value = value_of(loss, structure)
    candidates = [random_rows(8, 8, seed + 1 + k, 1 + k % 8) for k in range(16)]
    candidates += [np.eye(8), np.eye(8)[structure.class_ids], np.asarray(solution.embeddings)]
    candidates += [perturbed(np.asarray(solution.embeddings), 0.1**k, seed) for k in range(2, 6)]
    for rows in candidates:
        assert max(lowers) <= value(rows)


@pytest.mark.parametrize(("structure", "self_pairs", "alpha", "tau", "phase"), PHASES)
def test_closed_forms_are_certified_and_bracketed(structure, self_pairs, alpha, tau, phase):
    loss = SupCL(alpha, tau, self_pairs)
    arguments = arguments_of(structure, loss)
    certificate = certify_embeddings(closed_form(structure, loss), structure, loss)
    assert 0 <= certificate.gap <= CLOSED_FORM_GAP
    assert certificate.certified
    assert certificate.phase == phase == theory.phase(*arguments)
    assert certificate.lower <= theory.loss(*arguments) + SLACK
    similar = theory.similarities(*arguments)
    for name, expected in {
        "view_variance": theory.view_variance(*arguments),
        "delta2": theory.delta2(*arguments),
        "mean_squared": 0.0,
        "within_similarity": similar.within,
        "between_similarity": similar.between,
    }.items():
        low, high = certificate.brackets[name]
        # Rounding of the closed form itself is not in the bracket of a quantity pinned to 1e-15.
        assert low - SLACK <= expected <= high + SLACK, name
        assert high - low < 1e-4


@pytest.mark.parametrize(("structure", "self_pairs", "alpha", "tau", "phase"), PHASES)
@pytest.mark.parametrize("size", [1e-1, 1e-3, 1e-6])
def test_brackets_contain_all_embeddings_that_are_as_good(
    structure, self_pairs, alpha, tau, phase, size
):
    """Those at hand, better ones, and the optimum, whose averages all lie in the sublevel set."""
    loss = SupCL(alpha, tau, self_pairs)
    rows = perturbed(closed_form(structure, loss), size, 0)
    certificate = certify_embeddings(rows, structure, loss)
    value = value_of(loss, structure)
    others = [perturbed(closed_form(structure, loss), size * 0.8, seed) for seed in range(1, 6)]
    others = [rows, closed_form(structure, loss)] + [
        other for other in others if value(other) <= value(rows)
    ]
    assert len(others) > 2
    for other in others:
        other = jnp.asarray(other)
        parts = variances(other, structure)
        similar = block_similarities(other @ other.T, structure)
        for name, found in {
            "view_variance": parts.view,
            "delta2": parts.delta2,
            "mean_squared": parts.mean_squared,
            "within_similarity": similar.within,
            "between_similarity": similar.between,
        }.items():
            low, high = certificate.brackets[name]
            assert low - SLACK <= found <= high + SLACK, name
    assert certificate.phase in (phase, Phase.UNDECIDED)


@pytest.mark.parametrize("case", [0, 2, 3, 5])
def test_collapsed_points_are_not_certified_where_optima_spread(case):
    structure, self_pairs, alpha, tau, phase = PHASES[case]
    loss = SupCL(alpha, tau, self_pairs)
    certificate = certify_embeddings(collapsed(structure), structure, loss)
    assert not certificate.certified
    excess = certificate.value - theory.loss(*arguments_of(structure, loss))
    assert excess > 1e-3
    assert certificate.gap >= excess
    # It is a critical point: only the eigenvalue gives it away.
    assert certificate.eigenvalue < -1e-4
    assert certificate.phase == Phase.UNDECIDED != phase


@pytest.mark.parametrize("size", [1e-2, 1e-4])
@pytest.mark.parametrize(("structure", "self_pairs", "alpha", "tau", "phase"), PHASES)
def test_perturbed_optima_are_not_certified(structure, self_pairs, alpha, tau, phase, size):
    loss = SupCL(alpha, tau, self_pairs)
    optimum = certify_embeddings(closed_form(structure, loss), structure, loss)
    rows = perturbed(closed_form(structure, loss), size, 1)
    alone = certify_embeddings(rows, structure, loss)
    assert alone.gap > GAP_TOLERANCE
    assert not alone.certified
    excess = float(alone.value) - float(theory.loss(*arguments_of(structure, loss)))
    assert excess > GAP_TOLERANCE
    assert alone.gap >= excess
    helped = certify_embeddings(rows, structure, loss, reference=optimum)
    assert abs(helped.gap - excess) <= EXCESS
    assert not helped.certified
    assert helped.value == alone.value


def test_solutions_of_other_problems_are_not_certified():
    solution = solve(Problem(TWELVE, DIM, SPREAD), jax.random.key(0))
    assert certify(solution).certified
    others = [SupCL(0.9, 0.3), SupCL(0.2, 0.3), SupCL(0.6, 0.5), SupCL(0.0, 0.3, "exclude")]
    for other in others:
        assert not certify_embeddings(solution.embeddings, TWELVE, other).certified
    # Nor with the classes mixed up.
    shuffled = np.asarray(solution.embeddings)[np.random.default_rng(0).permutation(12)]
    assert not certify_embeddings(shuffled, TWELVE, SPREAD).certified
    problem = dataclasses.replace(solution.problem, loss=SupCL(0.9, 0.3))
    assert not certify(dataclasses.replace(solution, problem=problem)).certified


def test_rotation_reflection_and_scale_change_nothing():
    solution = solve(Problem(TWELVE, DIM, SPREAD), jax.random.key(0))
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(DIM, DIM)))
    scales = np.random.default_rng(1).uniform(1e-3, 1e3, size=(12, 1))
    moved = certify_embeddings(scales * (solution.embeddings @ rotation), TWELVE, SPREAD)
    assert moved.certified
    assert abs(moved.value - solution.value) <= SLACK
    assert moved.phase == Phase.SPREAD


def test_a_batch_is_its_cells():
    loss = SupCL(np.array([0.2, 0.6, 0.9]), np.array([0.5, 0.3, 0.1]))
    solution = solve(Problem(TWELVE, DIM, loss), jax.random.key(0))
    batch = certify(solution)
    assert batch.low.shape == batch.high.shape == (3, len(QUANTITIES))
    assert batch.certified.shape == (3,)
    for cell in range(3):
        one = SupCL([0.2, 0.6, 0.9][cell], [0.5, 0.3, 0.1][cell])
        single = certify_embeddings(solution.embeddings[cell], TWELVE, one)
        assert abs(single.value - batch.value[cell]) <= SLACK
        assert abs(single.gap - batch.gap[cell]) <= SLACK
        assert single.phase == batch.phase[cell]
        own = [part[cell] for part in batch.variances]
        assert np.allclose(single.variances, own, rtol=0, atol=SLACK)


def test_unbalanced_certificates_decide_the_phase_and_leave_similarities_open():
    structure, loss = ClassStructure((5, 3)), SupCL(0.7, 0.5)
    certificate = certify(solve(Problem(structure, 8, loss), jax.random.key(0)))
    assert certificate.certified
    assert certificate.phase == Phase.SPREAD
    low, high = certificate.brackets["delta2"]
    assert low <= certificate.variances.delta2 <= high
    assert certificate.brackets["between_similarity"] == (-1, 1)


@pytest.mark.parametrize("structure", EIGHT, ids=str)
def test_negative_directions_lower_the_loss(structure):
    """At the collapsed optimum of each structure, along one more dimension."""
    loss = SupCL(0.95, 0.3)
    coarse = ClassStructure(tuple(1 for _ in structure.sizes), 1)
    rows = random_rows(coarse.num_embeddings, 8, 0, coarse.num_classes)
    # Balance the class means: a critical point among collapsed ones, for two classes antipodal.
    if structure.num_classes == 2:
        rows[1] = -rows[0]
    rows = rows[structure.class_ids]
    eigenvalue, direction = negative_direction(rows, structure, loss)
    assert eigenvalue < -1e-3
    assert abs(np.linalg.norm(direction) - 1) <= SLACK
    value = value_of(loss, structure)

    def beyond(step):
        moved = np.column_stack([rows, step * np.asarray(direction)])
        return value(moved / np.linalg.norm(moved, axis=1, keepdims=True))

    start = value(np.column_stack([rows, np.zeros(8)]))
    falls = np.array([start - beyond(step) for step in (1e-2, 2e-2)])
    assert np.all(falls > 0)
    if structure.num_classes == 2:
        # -λ t² to leading order, with a correction of fourth order.
        assert np.allclose(falls / np.array([1e-4, 4e-4]), -eigenvalue, rtol=0.02)


def test_negative_direction_agrees_with_the_certificate():
    rows = collapsed(TWELVE)
    eigenvalue, _ = negative_direction(rows, TWELVE, SPREAD)
    assert abs(eigenvalue - certify_embeddings(rows, TWELVE, SPREAD).eigenvalue) <= SLACK
    optimum = closed_form(TWELVE, SPREAD)
    assert negative_direction(optimum, TWELVE, SPREAD)[0] >= -SLACK


def exact_dual_bound(rows, structure, loss):
    """(loss, dual lower bound) of unit rows, normalised exactly, at 200 bits.

    The eigenvalue is bisected with LDLᵀ, whose pivots count negative eigenvalues.
    """
    ctx.prec = BITS
    size = len(rows)
    balls = [[arb(float(x)) for x in row] for row in rows]
    norms = [sum((x * x for x in row), arb(0)).sqrt() for row in balls]
    balls = [[x / norm for x in row] for row, norm in zip(balls, norms, strict=True)]
    gram = [
        [
            arb(1) if i == j else sum((x * y for x, y in zip(*two, strict=True)), arb(0))
            for j, two in enumerate((balls[i], other) for other in balls)
        ]
        for i in range(size)
    ]
    value = supcl(gram, structure, loss)
    ctx.prec = BITS
    alpha, tau = arb(float(loss.alpha)), arb(float(loss.temperature))
    weights = [[arb(0)] * size for _ in range(size)]
    kinds = positives(structure, loss.self_pairs, loss.mean)
    for mixing, pairs in zip((1 - alpha, alpha), kinds, strict=True):
        for (i, j), divisor in pairs.items():
            weights[i][j] += mixing / divisor
    slope = [[-weight / tau for weight in row] for row in weights]
    for i, members in enumerate(contrasted(structure, loss.self_pairs)):
        terms = {j: ((gram[i][j] - 1) / tau).exp() for j in members}
        total, anchor = sum(terms.values(), arb(0)), sum(weights[i], arb(0))
        for j, term in terms.items():
            slope[i][j] += anchor * term / total / tau
    slope = [[(slope[i][j] + slope[j][i]) / 2 for j in range(size)] for i in range(size)]
    pulls = [sum((slope[i][j] * gram[i][j] for j in range(size)), arb(0)) for i in range(size)]
    dual = [[slope[i][j] - (pulls[i] if i == j else 0) for j in range(size)] for i in range(size)]

    def definite(shift):
        work = [[dual[i][j] - (shift if i == j else 0) for j in range(size)] for i in range(size)]
        for pivot in range(size):
            if not work[pivot][pivot] > 0:
                return False
            for i in range(pivot + 1, size):
                ratio = work[i][pivot] / work[pivot][pivot]
                for j in range(pivot + 1, size):
                    work[i][j] -= ratio * work[pivot][j]
        return True

    low, high = arb(-64), arb(64)
    for _ in range(90):
        middle = ((low + high) / 2).mid()
        low, high = (middle, high) if definite(middle) else (low, middle)
    # -⟨g, G⟩ - Σλ = 0 with λ = -(gG)ᵢᵢ exactly.
    return value, value + size * (low if low < 0 else arb(0))


@pytest.mark.parametrize("tau", [0.05, 0.3, 5.0])
@pytest.mark.parametrize(
    ("structure", "self_pairs"),
    [(EIGHT[0], "include"), (EIGHT[1], "exclude"), (EIGHT[3], "include")],
)
def test_rounding_margins_dominate(structure, self_pairs, tau):
    """`value` and `lower` against the same quantities at 200 bits, of optima and random points."""
    loss = SupCL(0.6, tau, self_pairs)
    solution = solve(Problem(structure, 8, loss), jax.random.key(0))
    for rows in (np.asarray(solution.embeddings), random_rows(8, 8, 0), random_rows(8, 8, 1, 2)):
        certificate = certify_embeddings(rows, structure, loss)
        value, lower = exact_dual_bound(rows, structure, loss)
        level = float(certificate.lower) + float(certificate.gap)
        assert arb(float(certificate.lower)) <= lower
        assert value <= arb(level)
        # The sum of lower and gap rounds once; `value` itself is right within the margin.
        assert abs(float(value - arb(float(certificate.value)))) <= level - certificate.value
        assert float(lower - arb(float(certificate.lower))) <= MARGIN * max(1, 0.3 / tau)
        assert level - float(certificate.value) <= MARGIN


def supcl_and_slope(structure, loss):
    """SupCL of the Gram matrix and its gradient in NumPy, from the oracle's pairs."""
    size, tau = structure.num_embeddings, float(loss.temperature)
    weights = np.zeros((size, size))
    kinds = positives(structure, loss.self_pairs, loss.mean)
    for mixing, pairs in zip((1 - loss.alpha, loss.alpha), kinds, strict=True):
        for (i, j), divisor in pairs.items():
            weights[i, j] += mixing / divisor
    kept = np.zeros((size, size))
    for i, members in enumerate(contrasted(structure, loss.self_pairs)):
        kept[i, members] = 1

    def evaluate(gram):
        terms = kept * np.exp((gram - 1) / tau)
        total = terms.sum(axis=1, keepdims=True)
        anchor = weights.sum(axis=1, keepdims=True)
        value = np.sum(anchor * (np.log(total) + 1 / tau)) - np.sum(weights * gram) / tau
        return value, (anchor * terms / total - weights) / tau

    return evaluate


@pytest.mark.parametrize(("alpha", "tau"), [(0.2, 0.1), (0.6, 0.3), (0.9, 0.1), (0.5, 1.0)])
def test_the_gap_of_another_optimiser_is_its_excess(alpha, tau):
    """Pymanopt's conjugate gradients with their default budget; columns are unit there."""
    loss = SupCL(alpha, tau)
    evaluate = supcl_and_slope(TWELVE, loss)
    manifold = pymanopt.manifolds.Oblique(DIM, 12)

    @pymanopt.function.numpy(manifold)
    def cost(columns):
        return evaluate(columns.T @ columns)[0]

    @pymanopt.function.numpy(manifold)
    def gradient(columns):
        slope = evaluate(columns.T @ columns)[1]
        return columns @ (slope + slope.T)

    problem = pymanopt.Problem(manifold, cost, euclidean_gradient=gradient)
    found = ConjugateGradient(verbosity=0).run(problem, initial_point=random_rows(12, DIM, 0).T)
    rows = found.point.T
    best = float(theory.loss(3, 4, 1, alpha, tau))
    alone = certify_embeddings(rows, TWELVE, loss)
    assert abs(alone.value - found.cost) <= SLACK
    excess = float(alone.value) - best
    assert excess >= -SLACK
    assert alone.gap >= excess
    reference = certify(solve(Problem(TWELVE, DIM, loss), jax.random.key(0)))
    assert reference.certified
    helped = certify_embeddings(rows, TWELVE, loss, reference=reference)
    assert abs(helped.gap - excess) <= EXCESS
    assert helped.gap <= alone.gap
    low, high = helped.brackets["delta2"]
    assert low <= theory.delta2(3, 4, 1, alpha, tau) <= high


def test_a_lying_solver_convinces_nobody(monkeypatch):
    """The solver starts at collapse and its own dual matrix says that all is well, everywhere."""

    def content(value, point):
        return point.embeddings, jnp.zeros(()), jnp.asarray(False)

    def collapsed_starts(key, hashes, instance_ids, num_instances, dim):
        start = jnp.asarray(collapsed(TWELVE, dim))
        return jnp.broadcast_to(start, (len(hashes), len(instance_ids), dim)), None

    honest = attempts._attempt_chunk.traced

    def traced_again(*arguments):
        return honest(*arguments)

    # α_c at τ = 0.5 is 0.43: two cells collapse, and four spread.
    alpha = np.array([0.1, 0.3, 0.5, 0.6, 0.8, 1.0])
    problem = Problem(TWELVE, DIM, SupCL(alpha, np.full(6, 0.5)))
    monkeypatch.setattr(attempts, "leave_saddle", content)
    monkeypatch.setattr(attempts, "_random_simplexes", collapsed_starts)
    monkeypatch.setattr(attempts, "_attempt_chunk", jax.jit(traced_again))
    lie = solve(problem, jax.random.key(0))
    assert np.all(np.asarray(lie.status) == Status.CONVERGED)
    assert np.all(np.asarray(lie.dual_violation) == 0)
    assert np.asarray(variances(lie.embeddings[5], TWELVE).within) < SLACK
    certificate = certify(lie)
    spread = alpha > float(theory.alpha_c(3, 4, 1, 0.5))
    assert np.array_equal(spread, alpha > 0.45)
    # Where collapse is optimal the liar happens to be right; elsewhere nothing is certified.
    assert np.array_equal(certificate.certified, ~spread)
    assert np.all(np.asarray(certificate.gap)[spread] > 1e-5)
    assert np.all(np.asarray(certificate.phase)[spread] == Phase.UNDECIDED)
    assert np.all(np.asarray(certificate.phase)[~spread] == Phase.COLLAPSE)
    excess = np.asarray(lie.value) - np.asarray(theory.loss(3, 4, 1, alpha, 0.5))
    assert np.all(np.asarray(certificate.gap) >= excess)
    # And the honest solver leaves the same collapsed starts.
    monkeypatch.undo()
    monkeypatch.setattr(attempts, "_random_simplexes", collapsed_starts)
    truth = solve(problem, jax.random.key(0))
    assert np.all(certify(truth).certified)
    assert np.all(np.asarray(truth.escapes)[spread] >= 1)


def brackets(view, instance):
    """(low, high) with the given intervals and the widest for everything else."""
    low, high = np.array(certificates.LOWEST), np.ones(len(QUANTITIES))
    for name, interval in (("view_variance", view), ("delta2", instance)):
        index = QUANTITIES.index(name)
        low[index], high[index] = interval
    return low, high


@pytest.mark.parametrize(
    ("view", "instance", "phase"),
    [
        ((0, 1e-7), (0, 1e-7), Phase.COLLAPSE),
        ((0, 1e-6), (0, 1e-6), Phase.COLLAPSE),
        ((0, 1e-7), (0, 2e-6), Phase.UNDECIDED),
        ((0, 2e-6), (0, 1e-7), Phase.UNDECIDED),
        ((0, 1e-7), (2e-6, 1e-3), Phase.SPREAD),
        ((0, 1), (0.1, 0.2), Phase.SPREAD),
        ((0.1, 0.2), (0.1, 0.2), Phase.SPREAD),
        ((0, 1e-7), (1e-6, 1e-3), Phase.UNDECIDED),
        ((0.1, 0.2), (0, 1e-7), Phase.VIEW_SPREAD),
        ((2e-6, 1), (0, 1e-6), Phase.VIEW_SPREAD),
        ((0.1, 0.2), (0, 1e-3), Phase.UNDECIDED),
        ((0, 1), (0, 1), Phase.UNDECIDED),
        ((np.nan, np.nan), (np.nan, np.nan), Phase.UNDECIDED),
    ],
)
def test_phases_that_brackets_prove(view, instance, phase):
    low, high = brackets(view, instance)
    assert decide_phase(low, high) == phase
    batch = decide_phase(np.stack([low, low]), np.stack([high, high]))
    assert batch.tolist() == [phase, phase]


@pytree_dataclass
class Concave(GramLoss):
    """Not convex in G, and says so."""

    scale: float
    convex: ClassVar[bool] = False

    def from_gram(self, gram, structure):
        return -self.scale * jnp.sum(gram**2)


def test_of_a_loss_that_is_not_convex_nothing_is_known():
    rows = random_rows(12, DIM, 0)
    found = certify_embeddings(rows, TWELVE, Concave(1.0))
    assert found.value == pytest.approx(float(Concave(1.0)(jnp.asarray(rows), TWELVE)))
    assert found.lower == -np.inf
    assert found.gap == np.inf
    assert not found.certified
    assert found.phase == Phase.UNDECIDED
    np.testing.assert_array_equal(found.low, certificates.LOWEST)
    np.testing.assert_array_equal(found.high, np.ones(5))


def blocks_of(structure, loss, dim=DIM):
    similar = theory.similarities(*arguments_of(structure, loss))
    return certify_blocks(Problem(structure, dim, loss), similar)


@pytest.mark.parametrize(("structure", "self_pairs", "alpha", "tau", "phase"), PHASES)
def test_blocks_are_certified_as_their_embeddings_are(structure, self_pairs, alpha, tau, phase):
    loss = SupCL(alpha, tau, self_pairs)
    found = blocks_of(structure, loss)
    dense = certify_embeddings(closed_form(structure, loss), structure, loss)
    assert found.phase == phase
    assert 0 <= found.gap <= CLOSED_FORM_GAP
    for name in ("value", "lower", "eigenvalue", "variances"):
        assert np.allclose(getattr(found, name), getattr(dense, name), rtol=0, atol=SLACK), name
    # Both hold the optimum, and the one with fewer sums to round is hardly wider.
    for name, (low, high) in found.brackets.items():
        other_low, other_high = dense.brackets[name]
        assert max(low, other_low) <= min(high, other_high), name
        assert high - low <= 1.05 * (other_high - other_low) + SLACK, name


def test_blocks_in_a_batch_are_certified_at_any_size():
    """A thousand classes of a thousand instances: no matrix of that size is made."""
    alpha, tau = np.array([0.2, 0.6, 1.0]), np.array([0.1, 0.1, 0.5])
    structure = ClassStructure.balanced(1000, 1000)
    similar = theory.similarities(1000, 1000, 1, alpha, tau)
    found = certify_blocks(Problem(structure, 10**6, SupCL(alpha, tau)), similar)
    assert np.all(found.certified)
    assert np.all(np.asarray(found.gap) <= CLOSED_FORM_GAP)
    expected = theory.phase(1000, 1000, 1, alpha, tau)
    assert np.array_equal(found.phase, expected)
    assert np.allclose(found.value, theory.loss(1000, 1000, 1, alpha, tau), rtol=SLACK, atol=0)


@pytest.mark.parametrize("shift", [1e-2, 1e-3])
def test_blocks_that_are_not_optimal_have_at_least_their_excess_as_gap(shift):
    delta2 = float(theory.delta2(3, 4, 1, 0.6, 0.3)) + shift
    similar = Similarities(1.0, 1 - 4 / 3 * delta2, -(1 - delta2) / 2)
    found = certify_blocks(Problem(TWELVE, DIM, SPREAD), similar)
    excess = float(found.value - theory.loss(3, 4, 1, 0.6, 0.3))
    assert excess > 1e-7
    assert found.gap >= excess
    assert not found.certified
    low, high = found.brackets["delta2"]
    assert low <= delta2 <= high
    assert low <= delta2 - shift <= high


def test_blocks_that_cannot_be_certified_raise():
    similar = theory.similarities(3, 4, 1, 0.6, 0.3)

    def attempt(structure, loss, similar=similar, dim=DIM):
        certify_blocks(Problem(structure, dim, loss), similar)

    with pytest.raises(ValueError, match="Concave is not convex in the Gram matrix"):
        attempt(TWELVE, Concave(1.0))
    with pytest.raises(ValueError, match=r"got SupCL of classes of 5,3\. Use certify_embeddings"):
        attempt(EIGHT[2], SPREAD)
    with pytest.raises(ValueError, match="no unit vectors have the similarities of cell 0"):
        attempt(TWELVE, SPREAD, Similarities(1.0, 0.5, -0.6))
    with pytest.raises(ValueError, match="span 11 dimensions; got dim = 10"):
        attempt(TWELVE, SPREAD, dim=10)
    with jax.enable_x64(False), pytest.raises(ValueError, match="verification needs float64"):
        attempt(TWELVE, SPREAD)


FACTORED, BY_PRODUCTS = (11, 12), (11, 11)
"""(DENSE_LIMIT, CHOLESKY_LIMIT) that send twelve embeddings the ways that thousands go."""

CHANCE = 1e-8
"""What the bound by products may add to a gap: its goal of 1e-9, and rounding over the share of a
random start, which is under 0.1; the worst seen at τ ≥ 0.2 is 2e-10."""


def certified_by(way, monkeypatch, rows, structure, loss):
    dense, factored = way
    monkeypatch.setattr(certificates, "DENSE_LIMIT", dense)
    monkeypatch.setattr(certificates, "CHOLESKY_LIMIT", factored)
    return certify_embeddings(rows, structure, loss, key=jax.random.key(0))


@pytest.mark.parametrize(("way", "margin"), [(FACTORED, MARGIN), (BY_PRODUCTS, CHANCE)])
@pytest.mark.parametrize(("structure", "self_pairs", "alpha", "tau", "phase"), PHASES[2:6])
def test_large_certificates_agree_with_dense_ones(
    monkeypatch, way, margin, structure, self_pairs, alpha, tau, phase
):
    """At optima, at points beside them, and at random ones."""
    loss = SupCL(alpha, tau, self_pairs)
    optimal = np.asarray(closed_form(structure, loss))
    for rows in (
        optimal,
        optimal + 1e-3 * random_rows(12, optimal.shape[1], 1),
        random_rows(12, optimal.shape[1], 2),
    ):
        dense = certify_embeddings(rows, structure, loss)
        with monkeypatch.context() as limits:
            found = certified_by(way, limits, rows, structure, loss)
        assert abs(found.value - dense.value) <= SLACK
        # A factorisation may take λ_min for four times as much, never for less.
        assert dense.eigenvalue - margin <= found.eigenvalue + 3 * abs(dense.eigenvalue)
        assert found.eigenvalue <= dense.eigenvalue + SLACK
        assert dense.gap - SLACK <= found.gap
        assert found.gap <= dense.gap + 36 * max(0, -dense.eigenvalue) + margin
        assert bool(found.probabilistic) == (way == BY_PRODUCTS)
        assert not dense.probabilistic
        assert found.phase == dense.phase
        assert rows is not optimal or found.phase == phase


@pytest.mark.parametrize("way", [FACTORED, BY_PRODUCTS])
def test_large_certificates_see_saddles(monkeypatch, way):
    """The collapsed point is critical where optima spread: λ_min alone gives it away."""
    collapsed = ssem_embeddings(TWELVE, 0.0, DIM)
    dense = certify_embeddings(collapsed, TWELVE, SPREAD)
    found = certified_by(way, monkeypatch, collapsed, TWELVE, SPREAD)
    assert found.eigenvalue <= dense.eigenvalue < -1e-4
    assert found.gap >= dense.gap > 1e-3
    assert not found.certified


def test_large_batches_are_their_cells(monkeypatch):
    losses = SupCL(np.array([0.6, 0.2]), np.array([0.3, 0.3]))
    solution = solve(Problem(TWELVE, DIM, losses), jax.random.key(0))
    dense = certify(solution)
    for dense_limit, factored in (FACTORED, BY_PRODUCTS):
        monkeypatch.setattr(certificates, "DENSE_LIMIT", dense_limit)
        monkeypatch.setattr(certificates, "CHOLESKY_LIMIT", factored)
        found = certify(solution, jax.random.key(0))
        assert np.allclose(found.value, dense.value, rtol=0, atol=SLACK)
        assert np.all(np.abs(found.gap - dense.gap) <= CHANCE)
        assert np.array_equal(found.phase, [Phase.SPREAD, Phase.COLLAPSE])
        again = certify(solution, jax.random.key(0))
        assert np.array_equal(found.lower, again.lower)


def test_probabilistic_certificates_need_a_key_and_supcl(monkeypatch):
    structure = ClassStructure.balanced(2, certificates.CHOLESKY_LIMIT // 2 + 1)
    rows = np.ones((structure.num_embeddings, 2))
    with pytest.raises(ValueError, match="beyond 8192 embeddings a certificate is probabilistic"):
        certify_embeddings(rows, structure, SPREAD)
    monkeypatch.setattr(certificates, "CHOLESKY_LIMIT", 7)
    with pytest.raises(ValueError, match="only SupCL is certified without its dual matrix"):
        certify_embeddings(
            random_rows(8, 8, 0),
            ClassStructure((2, 2), 2),
            Sigmoid(10.0, 5.0),
            key=jax.random.key(0),
        )


@pytest.mark.parametrize("shape", [(11, 16), (12,), (1, 12, 16)])
def test_embeddings_of_another_shape_raise(shape):
    with pytest.raises(ValueError, match="3 classes × 4 has 12 embeddings, one per row; got shape"):
        certify_embeddings(np.ones(shape), TWELVE, SPREAD)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_rows_without_a_direction_raise(bad):
    rows = random_rows(12, DIM, 0)
    rows[7] = bad
    with pytest.raises(ValueError, match="finite and not zero; row 7 is"):
        certify_embeddings(rows, TWELVE, SPREAD)


def test_losses_that_the_structure_does_not_admit_raise():
    with pytest.raises(ValueError, match="num_views must be at least 2 when alpha > 0"):
        certify_embeddings(random_rows(12, DIM, 0), TWELVE, SupCL(0.5, 0.5, "exclude"))


def test_certificates_raise_in_32_bits():
    solution = solve(Problem(TWELVE, DIM, SPREAD), jax.random.key(0))
    with jax.enable_x64(False):
        with pytest.raises(ValueError, match="verification needs float64"):
            certify(solution)
        with pytest.raises(ValueError, match="verification needs float64"):
            certify_embeddings(np.asarray(random_rows(12, DIM, 0)), TWELVE, SPREAD)


# ---------------------------------------------------------------------------------------------
# References.
# ---------------------------------------------------------------------------------------------


def test_a_reference_is_a_certificate_of_the_same_loss_and_structure():
    structure, loss = ClassStructure((2, 2)), SupCL(0.5, 0.2)
    rows = random_rows(4, 4, 0)

    def refused(other, other_structure=structure):
        points = random_rows(other_structure.num_embeddings, 3, 1)
        reference = certify_embeddings(points, other_structure, other)
        with pytest.raises(ValueError, match="the reference certifies another problem") as error:
            certify_embeddings(rows, structure, loss, reference=reference)
        return str(error.value)

    assert "alpha is 0.9 there and 0.5 here. Give" in refused(SupCL(0.9, 0.2))
    assert "temperature is 0.20000000000000004 there" in refused(SupCL(0.5, 0.2 + 4e-17))
    assert "mean is anchors there and pairs here" in refused(SupCL(0.5, 0.2, mean="anchors"))
    assert "the loss is <class 'ssem_jax.losses.supcl.SupCon'> there" in refused(SupCon(0.2))
    other = ClassStructure((2, 2), 2)
    assert f"the structure is {other} there and {structure} here" in refused(loss, other)
    both = refused(SupCL(0.9, 5.0), ClassStructure((3, 3)))
    assert "the structure is" in both
    assert "alpha is" in both
    key = jax.random.key(0)
    batch = certify(solve(Problem(structure, 3, SupCL(np.array([0.5, 0.6]), 0.2)), key))
    with pytest.raises(ValueError, match=r"alpha is \[0.5 0.6\] there and 0.5 here"):
        certify_embeddings(rows, structure, loss, reference=batch)
    # Any dimension will do: a lower bound holds in all of them.
    reference = certify(solve(Problem(structure, 5, loss), key))
    found = certify_embeddings(rows, structure, loss, reference=reference)
    assert found.lower == reference.lower
    assert found.gap >= 0


@pytest.mark.parametrize("structure", [ClassStructure((3, 1, 2), 2), ClassStructure((2, 2))])
def test_certificates_tell_the_variances_of_their_embeddings(structure):
    """They are computed on the host, for many cells of one structure."""
    points = np.random.default_rng(3).normal(size=(structure.num_embeddings, 4))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    found = certify_embeddings(points, structure, SupCL(0.5, 0.5)).variances
    each = zip(found, variances(points, structure), strict=True)
    assert all(float(ours) == pytest.approx(float(own), rel=1e-13) for ours, own in each)
