"""Closed forms against ball arithmetic, direct minimisation, Gram matrices and each other."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any, NamedTuple

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import assume, given
from scipy.optimize import minimize

from ssem_jax import theory
from ssem_jax.losses import Sigmoid, SupCL, SupCon
from ssem_jax.problem import ClassStructure, Phase
from ssem_jax.theory import reduced

# The accuracy that the module claims: absolute for boundaries, variances and similarities, which
# are at most 1, and for losses relative to max(1, |loss|). Measured: 7e-15.
ACCURACY = 1e-12

# A boundary and its inverse lose a few roundings, times the condition number of the inverse.
ROUNDING = 16 * np.finfo(np.float64).eps

# One unit in the last place of α: closer to a boundary than this, no float tells the phase.
ULP = np.finfo(np.float64).eps

# Where L-BFGS stops: the loss to a few roundings of its terms, the position to the square root.
MINIMISER_LOSS = 1e-12
MINIMISER_POSITION = 1e-5

# The loss of an explicit Gram matrix of at most 48 rows; sums of 1e3 terms of order 1/τ = 20.
GRAM_LOSS = 1e-12

# Central differences with step 1e-6: rounding 1e-14 / 1e-6 and truncation 1e-12 · q'''.
FINITE_DIFFERENCE = 1e-6

# Distances to limits at the finite τ where they are tested.
AT_SMALL_TEMPERATURE = 1e-9
AT_LARGE_TEMPERATURE = 1e-6

CONVENTIONS = ("include", "exclude", "decouple")
BITS = 256


# ---------------------------------------------------------------------------------------------
# Oracle: ball arithmetic, bisection, formulas as first derived (not as rearranged for floats).
# ---------------------------------------------------------------------------------------------


class Cell(NamedTuple):
    num_classes: int
    num_instances: int
    num_views: int
    alpha: float
    temperature: float
    self_pairs: str


class Expected(NamedTuple):
    """Balls; or arrays of numbers."""

    alpha_c: Any
    alpha_v: Any
    delta2: Any
    view_variance: Any
    loss: Any


@pytest.fixture(autouse=True)
def _precision():
    before, ctx.prec = ctx.prec, BITS
    yield
    ctx.prec = before


def own_weight(num_views, self_pairs):
    return {"include": arb(1), "exclude": arb(num_views - 1) / num_views, "decouple": arb(0)}[
        self_pairs
    ]


def decreasing_root(function, high):
    """Root in [0, high] to 2^-110 by bisection."""
    low, high = arb(0), arb(high.mid())
    for _ in range(110):
        middle = arb(((low + high) / 2).mid())
        low, high = (middle, high) if function(middle) > 0 else (low, middle)
    return low


def oracle(cell: Cell) -> Expected:
    m, n, p = (arb(count) for count in cell[:3])
    alpha, tau = arb(cell.alpha), arb(cell.temperature)
    w = own_weight(cell.num_views, cell.self_pairs)
    r = (-m / ((m - 1) * tau)).exp()
    alpha_c = 1 - (n - 1) * (1 - r) / (n - 1 + w + n * (m - 1) * r) if n > 1 else arb(1)
    alpha_v = (p - 1) * (1 - m * n * p * r) / (n * p - 1 + n * (m - 1) * p * r)
    if cell.self_pairs != "exclude" or not alpha_v > 0:
        alpha_v = arb(0)

    def spread(q):
        x, y = (-q * n / ((n - 1) * tau)).exp(), (-(m - q) / ((m - 1) * tau)).exp()
        return (x - y) / (w + (n - 1) * x + n * (m - 1) * y) - (1 - alpha) / (n - 1)

    def view_spread(v):
        a = v * p / (p - 1)
        view, within = (-a / tau).exp(), (-v / tau).exp()
        between = (-(m - v) / ((m - 1) * tau)).exp()
        others = (n - 1) * p * within + n * p * (m * p - 1) * between
        total = (p - 1) * view + (n - 1) * p * within + n * p * (m - 1) * between
        return (1 - alpha) - others / total

    q = v = arb(0)
    if alpha > alpha_c:
        q = decreasing_root(spread, m * (n - 1) / (m * n - 1))
    elif alpha < alpha_v:
        v = decreasing_root(view_spread, m * (p - 1) / (m * p - 1))
    view = 1 - (v * p / (p - 1) if v > 0 else 0)
    within = 1 - v - (q * n / (n - 1) if q > 0 else 0)
    between = -(1 - v - q) / (m - 1)
    others = (n - 1) * (within / tau).exp() + n * (m - 1) * (between / tau).exp()
    total = p * (w * (view / tau).exp() + others)
    loss = total.log() - ((1 - alpha) * within + alpha * view) / tau
    return Expected(alpha_c, alpha_v, q, v, loss)


def admissible(m, n, p, alpha, tau, self_pairs) -> Cell:
    """The cell, with α moved to what its shape allows."""
    if n == 1:
        alpha = 1.0
        p = max(p, 2)
    if self_pairs != "include" and p == 1:
        alpha = 0.0
    return Cell(m, n, p, float(np.clip(alpha, 0, 1)), tau, self_pairs)


@cache
def cells() -> list[Cell]:
    """Corners, and random cells of which many hug a boundary."""
    shapes = [(2, 2, 1), (2, 2, 2), (3, 4, 2), (2, 1, 2), (10**6, 2, 2), (2, 10**6, 100)]
    shapes += [(10**6, 10**6, 1), (10**6, 10**6, 100), (2, 2, 10**4)]
    corners = itertools.product(shapes, (0.02, 0.3, 50.0), (0.0, 1e-9, 0.5, 1 - 1e-9, 1.0))
    chosen = [
        admissible(*shape, alpha, tau, self_pairs)
        for shape, tau, alpha in corners
        for self_pairs in CONVENTIONS
    ]
    rng = np.random.default_rng(20250302)
    for kind in range(600):
        m, n = (int(count) for count in np.exp(rng.uniform(np.log(2), np.log(1e6), 2)))
        p = int(np.exp(rng.uniform(0, np.log(100))))
        tau = float(np.exp(rng.uniform(np.log(0.02), np.log(50))))
        self_pairs = CONVENTIONS[kind % 3]
        top = float(theory.alpha_c(m, n, p, tau, self_pairs))
        low = float(theory.alpha_v(m, n, p, tau, self_pairs))
        near = 10 ** rng.uniform(-14, 0)
        alpha = (
            rng.uniform(),
            top + (1 - top) * rng.uniform(),
            top + (1 - top) * near,
            top * (1 - near),
            low * rng.uniform(),
            low * (1 - near),
        )[rng.integers(6)]
        chosen.append(admissible(m, n, p, alpha, tau, self_pairs))
    return chosen


def test_everything_agrees_with_ball_arithmetic():
    phases = set()
    for self_pairs in CONVENTIONS:
        batch = [cell for cell in cells() if cell.self_pairs == self_pairs]
        m, n, p, alpha, tau = (np.array(column) for column in list(zip(*batch, strict=True))[:5])
        computed = Expected(
            theory.alpha_c(m, n, p, tau, self_pairs),
            theory.alpha_v(m, n, p, tau, self_pairs),
            theory.delta2(m, n, p, alpha, tau, self_pairs),
            theory.view_variance(m, n, p, alpha, tau, self_pairs),
            theory.loss(m, n, p, alpha, tau, self_pairs),
        )
        phases |= set(np.asarray(theory.phase(m, n, p, alpha, tau, self_pairs)).tolist())
        for index, cell in enumerate(batch):
            expected = oracle(cell)
            at_boundary = abs(cell.alpha - float(expected.alpha_c)) <= 2 * ULP
            for name, value, exact in zip(
                Expected._fields, (column[index] for column in computed), expected, strict=True
            ):
                if name == "delta2" and at_boundary:
                    continue  # the phase is decided by α_c as rounded
                error = float(abs(exact - arb(float(value)))) / max(1.0, float(abs(exact)))
                assert error <= ACCURACY, (name, cell, float(exact), error)
    assert phases == {Phase.COLLAPSE, Phase.SPREAD, Phase.VIEW_SPREAD}


@pytest.mark.parametrize("self_pairs", CONVENTIONS)
def test_alpha_c_is_rounded_well_where_delta2_is_steep(self_pairs):
    """δ² climbs from 0 to its maximum between α_c and 1: near 1, each ulp of α_c counts."""
    m, n, tau = np.array([10**3, 10**5, 10**6]), np.array([2, 7, 100]), np.array([1.5, 20, 50])
    shapes = [(*shape, t) for shape in itertools.product(m.tolist(), n.tolist()) for t in tau]
    for classes, instances, temperature in shapes:
        exact = oracle(Cell(classes, instances, 2, 0.5, float(temperature), self_pairs)).alpha_c
        value = float(theory.alpha_c(classes, instances, 2, temperature, self_pairs))
        allowed = ULP / 2 if 1 - exact < 1e-3 else ACCURACY
        assert float(abs(exact - arb(value))) <= allowed, (classes, instances, temperature)


def test_alpha_v_never_exceeds_alpha_c_where_they_differ_by_less_than_a_rounding():
    rng = np.random.default_rng(0)
    m, n, p = (rng.integers(2, top, 2000) for top in (200, 200, 20))
    tau = np.geomspace(0.02, 0.2, 2000)
    upper = theory.alpha_c(m, n, p, tau, "exclude")
    assert jnp.all(theory.alpha_v(m, n, p, tau) <= upper)


def tau_c_condition(m, n, p, alpha, tau, self_pairs):
    """d log τ_c / d log α."""
    w = float(own_weight(p, self_pairs))
    slope = (n - 1 + w) / (alpha * (n - 1) - (1 - alpha) * w)
    slope += n * (m - 1) / (n - 1 + (1 - alpha) * n * (m - 1))
    return (m - 1) / m * tau * alpha * slope


@pytest.mark.parametrize("self_pairs", CONVENTIONS)
def test_tau_c_agrees_with_ball_arithmetic_up_to_its_condition(self_pairs):
    rng = np.random.default_rng(7)
    for _ in range(150):
        m, n = (int(count) for count in np.exp(rng.uniform(np.log(2), np.log(1e6), 2)))
        p = int(rng.integers(2, 9))
        limit = float(theory.alpha_c_limit(m, n, p, self_pairs))
        near = 10 ** rng.uniform(-12, 0)
        alpha = limit + (1 - limit) * (near if rng.random() < 0.5 else 1 - near)
        a, w = arb(alpha), own_weight(p, self_pairs)
        denominator = a * (n - 1 + w) - w
        if not denominator > 0 or alpha == 1:
            continue
        z = ((n - 1 + (1 - a) * n * (m - 1)) / denominator).log()
        exact = arb(m) / (m - 1) / z
        value = float(theory.tau_c(m, n, p, alpha, self_pairs))
        error = float(abs(exact - arb(value)) / exact)
        condition = tau_c_condition(m, n, p, alpha, float(exact), self_pairs)
        assert error <= ROUNDING * (1 + abs(condition)), (m, n, p, alpha, error, condition)


# ---------------------------------------------------------------------------------------------
# Independent routes to the optimum.
# ---------------------------------------------------------------------------------------------


def loss_of_three_similarities(position, m, n, p, alpha, tau, self_pairs):
    """The loss by definition, of a Gram matrix given by (a, b), with no use of the optimum."""
    a, b = position
    view, within = 1 - a, 1 - (p - 1) * a / p - b
    between = -(1 - (p - 1) * a / p - (n - 1) * b / n) / (m - 1)
    others = p * (n - 1) * np.exp(within / tau) + p * n * (m - 1) * np.exp(between / tau)
    views = (p - 1) * np.exp(view / tau)
    total = {"include": np.exp(1 / tau) + views, "exclude": views, "decouple": 0}[self_pairs]
    own = view if self_pairs == "exclude" else (1 + (p - 1) * view) / p
    return np.log(total + others) - ((1 - alpha) * within + alpha * own) / tau


def test_direct_minimisation_of_three_similarities_agrees():
    rng = np.random.default_rng(11)
    phases = set()
    for index in range(60):
        m, n, p = (int(count) for count in rng.integers((2, 2, 1), (6, 6, 5)))
        alpha = rng.uniform() * rng.choice([1, 0.2])
        cell = admissible(m, n, p, alpha, rng.uniform(0.15, 1.5), CONVENTIONS[index % 3])
        best = min(
            (
                minimize(
                    loss_of_three_similarities,
                    start,
                    args=tuple(cell),
                    method="L-BFGS-B",
                    bounds=[(0, 2), (0, 2)],
                    options={"ftol": 1e-16, "gtol": 1e-12},
                )
                for start in ((0.1, 0.1), (0.5, 0.01), (0.01, 0.5))
            ),
            key=lambda found: found.fun,
        )
        a, b = best.x
        phases.add(int(theory.phase(*cell)))
        assert theory.loss(*cell) == pytest.approx(best.fun, abs=MINIMISER_LOSS)
        assert theory.delta2(*cell) == pytest.approx((n - 1) * b / n, abs=MINIMISER_POSITION)
        assert theory.view_variance(*cell) == pytest.approx((p - 1) * a / p, abs=MINIMISER_POSITION)
    assert phases == {Phase.COLLAPSE, Phase.SPREAD, Phase.VIEW_SPREAD}


def gram_matrix(structure, similarities):
    instance, group = structure.instance_ids, structure.class_ids
    gram = np.where(group[:, None] == group, similarities.within, similarities.between)
    gram = np.where(instance[:, None] == instance, similarities.view, gram)
    np.fill_diagonal(gram, 1)
    return gram


GRAM_CELLS = [
    (Cell(2, 2, 1, 0.9, 0.3, "include"), Phase.SPREAD),
    (Cell(3, 4, 1, 0.5, 0.354, "include"), Phase.SPREAD),
    (Cell(3, 4, 2, 0.5, 0.05, "include"), Phase.SPREAD),
    (Cell(4, 3, 2, 0.1, 0.5, "include"), Phase.COLLAPSE),
    (Cell(3, 1, 2, 1.0, 0.5, "include"), Phase.COLLAPSE),
    (Cell(2, 5, 3, 0.8, 0.2, "exclude"), Phase.SPREAD),
    (Cell(3, 4, 1, 0.0, 0.2, "exclude"), Phase.COLLAPSE),
    (Cell(3, 3, 2, 0.3, 0.9, "exclude"), Phase.COLLAPSE),
    (Cell(2, 2, 2, 0.1, 0.3, "exclude"), Phase.VIEW_SPREAD),
    (Cell(3, 4, 4, 0.0, 0.05, "exclude"), Phase.VIEW_SPREAD),
    (Cell(2, 1, 4, 1.0, 0.1, "exclude"), Phase.COLLAPSE),
]


@pytest.mark.parametrize(("cell", "phase"), GRAM_CELLS)
def test_predicted_optimum_is_a_gram_matrix_with_the_predicted_loss(cell, phase):
    structure = ClassStructure.balanced(*cell[:3])
    gram = gram_matrix(structure, theory.similarities(*cell))
    loss = SupCL(cell.alpha, cell.temperature, self_pairs=cell.self_pairs)
    assert theory.phase(*cell) == phase
    assert np.linalg.eigvalsh(gram).min() >= -ACCURACY
    assert theory.loss(*cell) == pytest.approx(
        float(loss.from_gram(jnp.asarray(gram), structure)), abs=GRAM_LOSS
    )
    # Variances, from the Gram matrix.
    found = theory.variances(*cell)
    p, size = structure.num_views, structure.num_views * structure.num_instances
    class_mean = np.mean(gram[:size, :size])
    assert found.total == pytest.approx(1 - np.mean(gram), abs=ACCURACY)
    assert found.between == pytest.approx(class_mean - np.mean(gram), abs=ACCURACY)
    assert found.within == pytest.approx(1 - class_mean, abs=ACCURACY)
    assert found.view == pytest.approx(1 - np.mean(gram[:p, :p]), abs=ACCURACY)
    assert theory.delta2(*cell) == pytest.approx(np.mean(gram[:p, :p]) - class_mean, abs=ACCURACY)


@pytest.mark.parametrize(("cell", "phase"), GRAM_CELLS)
def test_no_perturbed_gram_matrix_beats_the_prediction(cell, phase):
    structure = ClassStructure.balanced(*cell[:3])
    loss = SupCL(cell.alpha, cell.temperature, self_pairs=cell.self_pairs)
    gram = gram_matrix(structure, theory.similarities(*cell))
    values, vectors = np.linalg.eigh(gram)
    embeddings = vectors * np.sqrt(np.maximum(values, 0))
    rng = np.random.default_rng(5)
    for scale in (1e-4, 1e-2, 1.0, 100.0):
        moved = embeddings + scale * rng.standard_normal(embeddings.shape)
        value = float(loss(jnp.asarray(moved), structure))
        assert value >= float(theory.loss(*cell)) - GRAM_LOSS, (phase, scale)


# ---------------------------------------------------------------------------------------------
# Boundaries, ends and limits.
# ---------------------------------------------------------------------------------------------

counts = st.integers(2, 1000)
several_views = st.integers(2, 20)
mixing = st.floats(0, 1)
temperatures = st.floats(0.02, 50)
conventions = st.sampled_from(CONVENTIONS)


@given(counts, counts, several_views, temperatures, conventions, mixing)
def test_delta2_is_exactly_zero_up_to_alpha_c(m, n, p, tau, self_pairs, fraction):
    boundary = theory.alpha_c(m, n, p, tau, self_pairs)
    assert theory.delta2(m, n, p, boundary, tau, self_pairs) == 0
    assert theory.delta2(m, n, p, fraction * boundary, tau, self_pairs) == 0
    assert theory.phase(m, n, p, boundary, tau, self_pairs) == Phase.COLLAPSE
    above = boundary + 1e-6 * (1 - boundary)
    assume(above > boundary)
    assert theory.delta2(m, n, p, above, tau, self_pairs) > 0


@given(counts, counts, several_views, st.floats(0.1, 2), mixing)
def test_view_variance_is_zero_from_alpha_v_on(m, n, p, fraction_of_tau_v, fraction):
    tau = fraction_of_tau_v * theory.tau_v(m, n, p)
    boundary = theory.alpha_v(m, n, p, tau)
    assert theory.view_variance(m, n, p, boundary, tau, "exclude") == 0
    assert boundary <= theory.alpha_c(m, n, p, tau, "exclude")
    if abs(fraction_of_tau_v - 1) > ACCURACY:
        assert (boundary > 0) == (fraction_of_tau_v < 1)
    inside = fraction * boundary
    if boundary > ACCURACY and inside < boundary * (1 - 1e-9):
        assert theory.view_variance(m, n, p, inside, tau, "exclude") > 0
        assert theory.phase(m, n, p, inside, tau, "exclude") == Phase.VIEW_SPREAD
    assert theory.view_variance(m, n, p, inside, tau, "include") == 0


@given(counts, counts, several_views, conventions, st.floats(1e-6, 1 - 1e-6))
def test_boundaries_invert_each_other(m, n, p, self_pairs, fraction):
    limit = theory.alpha_c_limit(m, n, p, self_pairs)
    alpha = limit + fraction * (1 - limit)
    tau = theory.tau_c(m, n, p, alpha, self_pairs)
    # Backwards the condition number is 1/κ, and κ ≥ α: τ_c loses κ roundings, which cost 1 in α.
    assert theory.alpha_c(m, n, p, tau, self_pairs) == pytest.approx(float(alpha), abs=ACCURACY)
    limit = theory.alpha_c_limit(m, n, p, "exclude")
    alpha = fraction * limit
    tau = theory.tau_v(m, n, p, alpha)
    assert theory.alpha_v(m, n, p, tau) == pytest.approx(float(alpha), abs=ACCURACY)


@given(counts, counts, several_views, conventions, temperatures, st.floats(1e-3, 1))
def test_inverse_design_round_trip(m, n, p, self_pairs, tau, fraction):
    target = fraction * m * (n - 1) / (m * n - 1)
    alpha = theory.alpha_for_delta2(m, n, p, target, tau, self_pairs)
    slope = jax.grad(lambda a: theory.delta2(m, n, p, a, tau, self_pairs))(alpha)
    assert theory.delta2(m, n, p, alpha, tau, self_pairs) == pytest.approx(
        target,
        abs=ACCURACY + 2 * ULP * float(slope),  # α is known to an ulp
    )


@pytest.mark.parametrize("self_pairs", CONVENTIONS)
def test_small_and_large_temperature_limits(self_pairs):
    m, n, p = np.array([2, 3, 100]), np.array([2, 4, 50]), np.array([2, 2, 5])
    w = {"include": 1.0, "exclude": (p - 1) / p, "decouple": 0.0}[self_pairs]
    limit = theory.alpha_c_limit(m, n, p, self_pairs)
    np.testing.assert_allclose(limit, w / (n - 1 + w), rtol=ROUNDING)
    np.testing.assert_allclose(
        theory.alpha_c(m, n, p, 0.02, self_pairs), limit, atol=AT_SMALL_TEMPERATURE
    )
    np.testing.assert_allclose(
        theory.alpha_c(m, n, p, 1e7, self_pairs), 1, atol=AT_LARGE_TEMPERATURE
    )
    assert theory.alpha_c(3, 4, 2, 1e-3, "decouple") == 0  # r underflows, nothing else does
    assert jnp.isfinite(theory.delta2(3, 4, 2, 0.5, 1e-3, self_pairs))
    assert jnp.isfinite(theory.loss(3, 4, 2, 1.0, 1e-3, self_pairs))


def test_delta2_at_small_temperature_follows_its_law():
    n, alpha, tau = 4, 0.5, 0.02
    law = tau * (n - 1) / n * np.log((n - 1) * alpha / (1 - alpha))
    assert theory.delta2(3, n, 1, alpha, tau) == pytest.approx(law, rel=AT_SMALL_TEMPERATURE)


@given(counts, counts, several_views, temperatures, conventions)
def test_alpha_one_gives_the_simplex_of_all_instances(m, n, p, tau, self_pairs):
    spread = m * (n - 1) / (m * n - 1)
    assert theory.delta2(m, n, p, 1.0, tau, self_pairs) == pytest.approx(spread, abs=ACCURACY)
    view, within, between = theory.similarities(m, n, p, 1.0, tau, self_pairs)
    assert view == 1
    assert within == pytest.approx(-1 / (m * n - 1), abs=ACCURACY)
    assert between == pytest.approx(-1 / (m * n - 1), abs=ACCURACY)
    assert theory.tau_c(m, n, p, 1.0, self_pairs) == jnp.inf


def test_ends_of_the_collapse_temperature():
    assert theory.tau_c(3, 4, 2, 0.25) == 0  # α = 1/n
    assert theory.tau_c(3, 4, 2, 0.0, "decouple") == 0
    assert theory.tau_c(3, 1, 2, 1.0) == 0
    assert theory.tau_v(3, 4, 2) == pytest.approx(1.5 / np.log(24), rel=ROUNDING)
    assert theory.tau_v(3, 4, 2, 0.0, "include") == 0
    assert theory.tau_v(3, 4, 1) == 0
    assert theory.tau_v(3, 4, 2, 0.9) == 0
    # Where views stop to part at α = 0, the collapse boundary passes 1/n.
    assert theory.alpha_c(3, 4, 2, theory.tau_v(3, 4, 2), "exclude") == pytest.approx(1 / 4)


def test_one_instance_per_class_cannot_spread():
    assert theory.alpha_c(3, 1, 2, 0.5) == 1
    assert theory.alpha_c_limit(3, 1, 2, "decouple") == 1
    assert theory.delta2(3, 1, 2, 1.0, 0.5) == 0
    assert theory.phase(3, 1, 2, 1.0, 0.5, "exclude") == Phase.COLLAPSE


def test_figures_of_one_example():
    """m = 3, n = 4, α = 1/2, self pairs included: computed by other code, to the digits given."""
    assert theory.tau_c(3, 4, 1, 0.5) == pytest.approx(0.771, abs=5e-4)
    assert theory.delta2(3, 4, 1, 0.5, 0.354) == pytest.approx(0.2265, abs=5e-5)
    assert theory.alpha_c(2, 2, 1, 1 / np.log(2)) == pytest.approx(0.7, abs=ACCURACY)
    assert theory.alpha_c(2, 2, 2, 1 / np.log(2), "exclude") == pytest.approx(0.625, abs=ACCURACY)


# ---------------------------------------------------------------------------------------------
# Monotonicity.
# ---------------------------------------------------------------------------------------------


@given(counts, counts, several_views, conventions, temperatures, mixing, mixing)
def test_delta2_rises_with_alpha(m, n, p, self_pairs, tau, first, second):
    low, high = theory.delta2(m, n, p, np.sort([first, second]), tau, self_pairs)
    assert low <= high + ACCURACY
    assert high <= m * (n - 1) / (m * n - 1) + ACCURACY


@given(counts, counts, several_views, conventions, temperatures, mixing, st.integers(1, 50))
def test_delta2_rises_with_instances_and_falls_with_classes_and_views(
    m, n, p, self_pairs, tau, alpha, more
):
    q = theory.delta2(m, n, p, alpha, tau, self_pairs)
    assert theory.delta2(m, n + more, p, alpha, tau, self_pairs) >= q - ACCURACY
    assert theory.delta2(m + more, n, p, alpha, tau, self_pairs) <= q + ACCURACY
    assert theory.delta2(m, n, p + more, alpha, tau, self_pairs) <= q + ACCURACY


@given(counts, counts, st.floats(0.01, 0.99), conventions)
def test_delta2_is_unimodal_in_temperature(m, n, alpha, self_pairs):
    tau = np.geomspace(0.02, 50, 200)
    steps = np.diff(theory.delta2(m, n, 2, alpha, tau, self_pairs))
    signs = np.sign(steps[np.abs(steps) > ACCURACY])
    assert np.all(np.diff(signs) <= 0)


@given(counts, counts, several_views, conventions, temperatures, temperatures)
def test_alpha_c_rises_and_alpha_v_falls_with_temperature(m, n, p, self_pairs, first, second):
    tau = np.sort([first, second])
    low, high = theory.alpha_c(m, n, p, tau, self_pairs)
    assert low <= high + ACCURACY
    low, high = theory.alpha_v(m, n, p, tau, self_pairs)
    assert high <= low + ACCURACY


# ---------------------------------------------------------------------------------------------
# Guidelines.
# ---------------------------------------------------------------------------------------------


@given(counts, counts, several_views, mixing, st.floats(0.02, 2))
def test_sound_guidelines_prevent_collapse(m, n, p, alpha, tau):
    included = theory.phase(m, n, p, alpha, tau) == Phase.SPREAD
    excluded = theory.phase(m, n, p, alpha, tau, "exclude") == Phase.SPREAD
    assert included or not theory.majority_guideline(m, n, p, alpha, tau)
    assert excluded or not theory.excluded_guideline(m, n, p, alpha, tau)
    for power in (1, 2, 3.5):
        assert included or not theory.power_guideline(m, n, p, alpha, tau, power)


@given(counts, counts, several_views)
def test_guidelines_hold_at_their_corner_where_only_the_summary_collapses(m, n, p):
    tau, edge = 1 / np.log(m), 1 / np.log(m * n * p)
    assert theory.summary_guideline(m, n, p, 1 / n, tau)
    assert theory.phase(m, n, p, 1 / n, tau) == Phase.COLLAPSE
    assert theory.phase(m, n, p, 1 / n, tau, "exclude") == Phase.COLLAPSE
    assert theory.majority_guideline(m, n, p, (n + 1) / (2 * n), tau)
    assert theory.phase(m, n, p, (n + 1) / (2 * n), tau) == Phase.SPREAD
    assert theory.excluded_guideline(m, n, p, 1 / n, edge)
    assert theory.phase(m, n, p, 1 / n, edge, "exclude") == Phase.SPREAD
    assert not theory.majority_guideline(m, n, p, 1.0, 1.01 * tau)
    assert not theory.excluded_guideline(m, n, p, 1.0, 1.01 * edge)
    assert not theory.power_guideline(m, n, p, 1.0, 1.01 * tau / 2, power=2)
    assert not theory.summary_guideline(m, n, p, 1.0, 1.01 * tau)


# ---------------------------------------------------------------------------------------------
# JAX transformations.
# ---------------------------------------------------------------------------------------------

OPTIMA = (
    theory.phase,
    theory.delta2,
    theory.view_variance,
    theory.similarities,
    theory.variances,
    theory.loss,
)


@pytest.mark.parametrize("self_pairs", CONVENTIONS)
def test_jit_vmap_and_broadcasting_agree(self_pairs):
    m, n, p = jnp.array([2, 3, 5]), jnp.array([2, 4, 3]), jnp.array([2, 3, 4])
    alpha, tau = jnp.array([0.05, 0.5, 0.9]), jnp.array([0.2, 0.3, 0.4])
    arguments = (m, n, p, alpha, tau)

    def cell(*values):
        return [function(*values, self_pairs=self_pairs) for function in OPTIMA]

    batched = cell(*arguments)
    each = [cell(*(values[i] for values in arguments)) for i in range(3)]
    for transformed in (
        jax.jit(jax.vmap(cell))(*arguments),
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *each),
    ):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=ACCURACY),
            transformed,
            batched,
        )
    grid = cell(3, 4, 2, alpha[:, None], tau)
    assert {leaf.shape for leaf in jax.tree.leaves(grid)} == {(3, 3)}
    wide = cell(3, 4, np.array([2, 3]), 0.5, 0.3)
    assert {leaf.shape for leaf in jax.tree.leaves(wide)} == {(2,)}


@pytest.mark.parametrize("self_pairs", CONVENTIONS)
def test_boundaries_and_inverse_design_are_traceable(self_pairs):
    m, n, p = jnp.array([2, 3]), jnp.array([2, 4]), jnp.array([2, 3])
    values = jnp.array([0.3, 0.6])
    for function in (theory.alpha_c, theory.alpha_v, theory.tau_c, theory.tau_v):

        def cell(*arguments, function=function):
            return function(*arguments, self_pairs=self_pairs)

        expected = cell(m, n, p, values)
        np.testing.assert_allclose(jax.jit(jax.vmap(cell))(m, n, p, values), expected, ACCURACY)
    inverse = jax.vmap(lambda q, t: theory.alpha_for_delta2(3, 4, 2, q, t, self_pairs))
    values = jnp.array([0.3, 9 / 11])
    np.testing.assert_allclose(
        inverse(values, values),
        theory.alpha_for_delta2(3, 4, 2, values, values, self_pairs),
        ACCURACY,
    )
    assert jax.jit(theory.majority_guideline)(m, n, p, values, values).shape == (2,)


def test_new_hyper_parameters_and_counts_do_not_recompile():
    theory.delta2(3, 4, 2, 0.5, 0.3)
    compiled = len(reduced.reduced_optimum.ready)
    for value in (0.1, np.float32(0.2), jnp.asarray(0.3), 1):
        theory.delta2(5, np.int64(6), 3, value, 0.25, "exclude")
    assert len(reduced.reduced_optimum.ready) == compiled


@pytest.mark.parametrize(
    "cell",
    [
        Cell(3, 4, 1, 0.5, 0.3, "include"),
        Cell(3, 4, 2, 0.5, 0.05, "exclude"),
        Cell(2, 2, 2, 0.1, 0.3, "exclude"),
        Cell(5, 3, 2, 0.4, 0.2, "decouple"),
    ],
)
def test_derivatives_are_those_of_the_root(cell):
    step = 1e-6

    def spread(alpha, tau):
        variances = theory.variances(
            cell.num_classes, cell.num_instances, cell.num_views, alpha, tau, cell.self_pairs
        )
        return variances.within

    at = jnp.array([cell.alpha, cell.temperature])
    for transform in (jax.jacfwd, jax.jacrev):
        derivative = transform(lambda x: spread(*x))(at)
        for i in range(2):
            shift = step * jnp.eye(2)[i]
            difference = (spread(*(at + shift)) - spread(*(at - shift))) / (2 * step)
            assert derivative[i] == pytest.approx(float(difference), abs=FINITE_DIFFERENCE)


@pytest.mark.parametrize("self_pairs", CONVENTIONS)
@pytest.mark.parametrize("shape", [(3, 4, 2), (3, 1, 2)])
def test_derivatives_are_finite_in_every_phase_and_at_the_ends(shape, self_pairs):
    alpha = 1.0 if shape[1] == 1 else jnp.array([0.0, 0.01, 0.3, 0.9, 1.0])

    def total(alpha, tau):
        cell = (shape[0], shape[1], shape[2], alpha, tau, self_pairs)
        leaves = jax.tree.leaves((theory.variances(*cell), theory.loss(*cell)))
        return sum(jnp.sum(leaf) for leaf in leaves)

    for tau in (0.02, 0.3, 3.0):
        gradient = jax.grad(total, argnums=(0, 1))(alpha, tau)
        assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in gradient)


def test_envelope_theorem():
    """dL*/dα is the difference of the two losses' linear terms: (s_within - s_view) / τ."""
    cell = Cell(3, 4, 2, 0.5, 0.3, "include")
    view, within, _ = theory.similarities(*cell)
    slope = jax.grad(lambda alpha: theory.loss(3, 4, 2, alpha, 0.3))(0.5)
    assert slope == pytest.approx(float((within - view) / 0.3), abs=ACCURACY)


# ---------------------------------------------------------------------------------------------
# Misuse.
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.alpha_c(1, 4, 1, 0.5), "num_classes must be an integer of at least 2"),
        (lambda: theory.alpha_c(3, 0, 1, 0.5), "num_instances must be an integer of at least 1"),
        (lambda: theory.alpha_c(3, 4, 2.5, 0.5), "num_views must be an integer of at least 1"),
        (lambda: theory.alpha_c(3, 4, 1, 0.0), "temperature must be positive and finite"),
        (
            lambda: theory.alpha_v(3, 4, 2, np.array([0.5, -1])),
            "temperature must be positive and finite",
        ),
        (lambda: theory.alpha_c(3, 4, 1, 0.5, "maybe"), "self_pairs must be one of"),
        (lambda: theory.alpha_c_limit(3, 4, 1, "maybe"), "self_pairs must be one of"),
        (lambda: theory.tau_c(3, 4, 1, 1.5), r"alpha must lie in \[0, 1\]"),
        (lambda: theory.delta2(3, 4, 1, np.nan, 0.5), r"alpha must lie in \[0, 1\]"),
        (lambda: theory.delta2(3, 1, 1, 0.5, 0.5), "L_sup has no positive pair"),
        (lambda: theory.tau_c(3, np.array([1, 2]), 1, 0.5), "L_sup has no positive pair"),
        (
            lambda: theory.loss(3, 4, 1, 0.5, 0.5, "exclude"),
            "num_views must be at least 2 when alpha > 0 and self pairs are excluded",
        ),
        (
            lambda: theory.loss(3, 4, 1, 0.5, 0.5, "decouple"),
            "at least 2 when alpha > 0 and self pairs are decoupled",
        ),
        (
            lambda: theory.alpha_for_delta2(3, 4, 1, 0.5, 0.5, "exclude"),
            "num_views must be at least 2 when self pairs are excluded, for delta2 > 0",
        ),
        (lambda: theory.alpha_for_delta2(3, 4, 1, 0.0, 0.5), r"delta2 must lie in \(0, m"),
        (lambda: theory.alpha_for_delta2(3, 4, 1, 0.82, 0.5), r"delta2 must lie in \(0, m"),
        (lambda: theory.alpha_for_delta2(3, 1, 1, 0.1, 0.5), r"delta2 must lie in \(0, m"),
        (lambda: theory.power_guideline(3, 4, 1, 0.5, 0.5, 0.5), "power must be at least 1"),
    ],
)
def test_misuse_is_a_value_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_float32_is_refused():
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ValueError, match="verification needs float64"):
            theory.delta2(3, 4, 1, 0.5, 0.5)
    finally:
        jax.config.update("jax_enable_x64", True)


# ------------------------------------------------------------------------- a structure and a loss


def test_a_structure_and_a_loss_stand_for_the_numbers():
    structure = ClassStructure.balanced(3, 4, 2)
    for self_pairs in CONVENTIONS:
        loss = SupCL(np.array([0.1, 0.6]), 0.4, self_pairs)
        hyper = (loss.alpha, loss.temperature)
        for function in (theory.delta2, theory.loss, theory.phase, theory.view_variance):
            np.testing.assert_array_equal(
                function(structure, loss), function(3, 4, 2, *hyper, self_pairs)
            )
        assert theory.alpha_c(structure, loss) == theory.alpha_c(3, 4, 2, 0.4, self_pairs)
        assert theory.alpha_c_limit(structure, loss) == theory.alpha_c_limit(3, 4, 2, self_pairs)
        wanted = theory.alpha_for_delta2(structure, loss, delta2=0.2)
        assert wanted == theory.alpha_for_delta2(3, 4, 2, 0.2, 0.4, self_pairs)
        for one, other in zip(
            theory.similarities(structure, loss),
            theory.similarities(3, 4, 2, *hyper, self_pairs),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)
    collapsed = theory.alpha_c_limit(3, 4, 2, "exclude")
    assert theory.loss(structure, SupCon(0.4)) == theory.loss(3, 4, 2, collapsed, 0.4, "exclude")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ClassStructure((2, 3)), SupCL(0.5, 0.5)), "delta2 is of classes of equal size.*solve_re"),
        ((ClassStructure((2, 2)), Sigmoid(1.0, 0.0)), "delta2 is of SupCL; got Sigmoid. Use solve"),
        ((ClassStructure((2, 2)), 0.5), "loss must be a loss, as SupCL"),
        ((ClassStructure((2, 2)),), "takes numbers, or a structure and a loss .* got 0 arguments"),
        ((ClassStructure((2, 2)), SupCL(0.5, 0.5, "exclude")), "num_views must be at least 2"),
    ],
)
def test_a_structure_and_a_loss_without_closed_form(arguments, message):
    with pytest.raises(ValueError, match=message):
        theory.delta2(*arguments)
