"""Ball proofs against closed forms and the solver, and errors planted to be caught."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb, arb_mat, ctx, fmpq, fmpz
from hypothesis import assume, given

from ssem_jax import balls, theory
from ssem_jax.balls import (
    closed_form,
    enclose_closed_form,
    enclose_delta2,
    enclose_minimum,
    enclose_peak,
    enclosures,
    is_positive_definite,
    prove_boundary,
    prove_guideline,
    prove_guideline_on_box,
    prove_monotone_in_alpha,
    prove_not_monotone_in_temperature,
    prove_on_box,
    prove_phase,
    prove_small_mixing_collapses,
    prove_temperature_slope,
    prove_unimodal_in_temperature,
    prove_unique_optimum,
    refute_summary_guideline,
    theorems,
    to_ball,
    working_precision,
)
from ssem_jax.geometry import ssem_embeddings
from ssem_jax.losses import GramLoss, SupCL
from ssem_jax.problem import ClassStructure, Phase, Problem
from ssem_jax.solver import solve

# What theory claims for its float64 closed forms, relative to max(1, |loss|).
THEORY_ACCURACY = 1e-12

# Enclosures from the solver's embeddings; it stops at certified gaps of 1e-9.
EMBEDDING_WIDTH = 1e-8
# Enclosures from the closed form at 256 bits; measured: 5e-74.
CLOSED_FORM_WIDTH = 1e-20

# Float evaluation of a few products of numbers of order 1.
FLOAT = 1e-12

# A perturbation of 1e-4 in the embeddings raises the loss by about its square, and spoils the
# multipliers by its first order.
SLIGHT = 1e-4

BIG = (2, 10**6)

# All of 12 embeddings, so that the solver compiles once.
CELLS = [
    ((4, 4, 4), 1, "include", "pairs", 0.5, 0.3),
    ((4, 4, 4), 1, "include", "pairs", 0.2, 0.3),
    ((3, 3), 2, "include", "anchors", 1.0, 0.1),
    ((2, 2, 2), 2, "exclude", "pairs", 0.5, 0.3),
    ((3, 3), 2, "exclude", "anchors", 0.02, 0.1),
    ((4, 4, 4), 1, "exclude", "pairs", 0.0, 0.5),
    ((6, 4, 2), 1, "include", "anchors", 0.4, 0.3),
    ((3, 2, 1), 2, "exclude", "pairs", 0.4, 0.3),
]


def exactly(alpha: Any, temperature: Any, *convention: str) -> SupCL:
    """SupCL of fractions and balls, with which balls alone compute."""
    return SupCL(alpha, temperature, *convention)


def random_cell(rng: np.random.Generator) -> tuple:
    self_pairs = str(rng.choice(["include", "exclude"]))
    m, n = (int(k) for k in rng.choice([2, 3, 10, 1000, 10**6], 2))
    p = int(rng.choice([1, 2, 5]))
    alpha = float(rng.choice([0, rng.random(), rng.random(), 1 / n, 1]))
    if self_pairs == "exclude" and p == 1:
        alpha = 0.0
    return m, n, p, alpha, float(np.exp(rng.uniform(np.log(0.02), np.log(5)))), self_pairs


@pytest.fixture(scope="module")
def solved() -> list:
    """(structure, loss, embeddings) of every cell."""
    found = []
    for sizes, p, self_pairs, mean, alpha, tau in CELLS:
        structure = ClassStructure(sizes, p)
        loss = SupCL(alpha, tau, self_pairs, mean)
        problem = Problem(structure, structure.num_embeddings, loss)
        solution = solve(problem, key=jax.random.key(1))
        found.append((structure, loss, np.asarray(solution.embeddings)))
    return found


# ---------------------------------------------------------------------------------------------
# Balls.
# ---------------------------------------------------------------------------------------------


def test_numbers_are_read_exactly():
    with working_precision(200):
        assert to_ball(0.1) != to_ball("0.1")
        assert (to_ball("0.1") - to_ball(Fraction(1, 10))).contains(0)
        assert to_ball(0.5) == arb(1) / 2
        assert to_ball(jnp.asarray(0.1)).is_exact()
        assert to_ball(lambda: arb(2).log()).rad() < 1e-55
        for tenth in (Decimal("0.1"), fmpq(1, 10)):
            assert (to_ball(tenth) - to_ball("0.1")).contains(0)
        large = 2**53 + 1  # no float
        for same in (np.int64(large), np.asarray(large), jnp.asarray(large), fmpz(large)):
            assert to_ball(same) == arb(large)
        with pytest.raises(ValueError, match="give a fraction, a decimal string or a ball"):
            to_ball(np.longdouble(1) / 3)


def test_precision_is_restored_even_after_errors():
    before = ctx.prec
    enclose_closed_form(3, 4, 1, 0.5, 0.3)
    with pytest.raises(ValueError, match="alpha must lie"):
        enclose_closed_form(3, 4, 1, 2.0, 0.3)
    assert ctx.prec == before


@given(st.floats(-1e6, 1e6), st.floats(0, 1e3))
def test_floats_are_rounded_outwards(mid, rad):
    with working_precision(256):
        ball = arb(mid, rad) / 3
        assert arb(balls.float_below(ball)) <= ball.lower()
        assert arb(balls.float_above(ball)) >= ball.upper()


# ---------------------------------------------------------------------------------------------
# Enclosures.
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(len(CELLS)))
def test_enclosures_from_solutions_are_narrow_and_hold_theory(solved, index):
    structure, loss, embeddings = solved[index]
    enclosure = enclose_minimum(embeddings, structure, loss)
    assert enclosure.width <= EMBEDDING_WIDTH
    assert enclosure.lower <= float(loss(jnp.asarray(embeddings), structure)) + FLOAT
    if structure.is_balanced:
        m, n, p = structure.counts
        cell = (m, n, p, loss.alpha, loss.temperature, loss.self_pairs)
        predicted = float(theory.loss(*cell))
        assert enclosure.lower - THEORY_ACCURACY <= predicted <= enclosure.upper + THEORY_ACCURACY
        assert enclosure.ball.overlaps(enclose_closed_form(*cell).ball)


def test_closed_form_encloses_theory_at_any_size():
    rng = np.random.default_rng(0)
    for _ in range(200):
        cell = random_cell(rng)
        enclosure = enclose_closed_form(*cell)
        predicted = float(theory.loss(*cell))
        margin = THEORY_ACCURACY * max(1, abs(predicted))
        assert enclosure.width <= CLOSED_FORM_WIDTH, cell
        assert enclosure.lower - margin <= predicted <= enclosure.upper + margin, cell
        root = enclose_delta2(*cell)
        assert root.rad() < CLOSED_FORM_WIDTH, cell
        assert abs(float(root.mid()) - float(theory.delta2(*cell))) <= THEORY_ACCURACY, cell
        assert prove_phase(*cell).phase == int(theory.phase(*cell)), cell


def test_exact_hyper_parameters_need_not_be_floats():
    fraction = enclose_closed_form(3, 3, 1, Fraction(1, 3), lambda: 1 / arb(3).log())
    assert fraction.width <= CLOSED_FORM_WIDTH
    nearby = enclose_closed_form(3, 3, 1, 1 / 3, 1 / np.log(3))
    assert fraction.lower == pytest.approx(nearby.lower, abs=FLOAT)
    assert not fraction.ball.overlaps(nearby.ball)
    structure = ClassStructure.balanced(3, 3)
    collapsed = np.asarray(ssem_embeddings(structure, 0.0, 2))
    loss = exactly(Fraction(1, 3), 1.0)
    assert enclose_minimum(collapsed, structure, loss).width <= EMBEDDING_WIDTH
    for tau in (Fraction(3, 4), arb(0.75)):
        loss = exactly(Fraction(1, 4), tau)
        assert enclose_minimum(collapsed, structure, loss).width <= EMBEDDING_WIDTH
    assert enclose_closed_form(2, 1, 2, 1, "0.5", "exclude").width <= CLOSED_FORM_WIDTH


@pytest.mark.parametrize("self_pairs", ["include", "exclude"])
@pytest.mark.parametrize("mean", ["pairs", "anchors"])
def test_no_embedding_is_below_the_lower_bound(self_pairs, mean):
    structure = ClassStructure((3, 2, 2), 2)
    loss = SupCL(0.3, 0.4, self_pairs, mean)
    rng = np.random.default_rng(3)
    for scale in (0.0, 0.1, 1.0):
        base = np.eye(3)[structure.class_ids] + scale * rng.standard_normal((14, 3))
        enclosure = enclose_minimum(base, structure, loss)
        assert (
            enclosure.lower <= float(loss(jnp.asarray(base), structure)) <= enclosure.upper + FLOAT
        )
        for _ in range(20):
            other = rng.standard_normal((14, 5))
            assert float(loss(jnp.asarray(other), structure)) >= enclosure.lower


@pytest.mark.parametrize("index", [0, 3, 6])
def test_a_slightly_wrong_optimum_gives_a_valid_and_wide_enclosure(solved, index):
    structure, loss, embeddings = solved[index]
    right = enclose_minimum(embeddings, structure, loss)
    rng = np.random.default_rng(5)
    wrong = enclose_minimum(
        embeddings + SLIGHT * rng.standard_normal(embeddings.shape), structure, loss
    )
    assert wrong.lower <= right.lower <= right.upper <= wrong.upper
    assert wrong.width > 1e3 * right.width


def test_a_flipped_convention_is_caught(solved):
    structure, loss, embeddings = solved[3]
    right = enclose_minimum(embeddings, structure, loss)
    flipped = dataclasses.replace(loss, self_pairs="include")
    assert not enclose_minimum(embeddings, structure, flipped).ball.overlaps(right.ball)
    cell = (3, 2, 2, 0.5, 0.3)
    closed = enclose_closed_form(*cell, "exclude")
    predicted = float(theory.loss(*cell, "include"))
    assert not closed.lower - FLOAT <= predicted <= closed.upper + FLOAT
    unequal, loss, embeddings = solved[6]
    pairs = dataclasses.replace(loss, mean="pairs")
    assert enclose_minimum(embeddings, unequal, loss).width <= EMBEDDING_WIDTH
    assert enclose_minimum(embeddings, unequal, pairs).width > SLIGHT


@given(
    st.integers(2, 4),
    st.integers(1, 4),
    st.integers(1, 3),
    st.floats(0, 1),
    st.floats(0.1, 3),
    st.floats(0, 0.4),
    st.floats(0, 0.4),
    st.sampled_from(["include", "exclude"]),
)
def test_four_eigenvalues_are_those_of_the_whole_dual_matrix(m, n, p, alpha, tau, v, q, self_pairs):
    alpha = 1.0 if n == 1 else alpha
    assume(self_pairs == "include" or p > 1 or alpha == 0)
    v, q = v * (p > 1), q * (n > 1)
    structure, loss = ClassStructure.balanced(m, n, p), SupCL(alpha, tau, self_pairs)
    view = 1 - v * p / max(p - 1, 1)
    within = 1 - v - q * n / max(n - 1, 1)
    between = -(1 - v - q) / (m - 1)
    same = structure.instance_ids[:, None] == structure.instance_ids
    alike = structure.class_ids[:, None] == structure.class_ids
    gram = np.where(same, view, np.where(alike, within, between))
    np.fill_diagonal(gram, 1)
    dual = enclosures._dual([[arb(float(x)) for x in row] for row in gram], structure, loss)
    entries = np.array([[float(x.mid()) for x in row] for row in dual.matrix.tolist()])
    cell = closed_form.cell_of(m, n, p, alpha, tau, self_pairs)
    value, _, shift = closed_form._block_bounds(cell, arb(v), arb(q))
    assert float(value.mid()) == pytest.approx(float(dual.value.mid()), abs=FLOAT / tau)
    eigenvalues = np.linalg.eigvalsh(entries)
    assert max(0, -eigenvalues[0]) == pytest.approx(float(shift.mid()), abs=FLOAT / tau)


@given(
    st.integers(2, 4),
    st.integers(2, 4),
    st.integers(1, 3),
    st.floats(0, 1),
    st.floats(0.1, 3),
    st.sampled_from(["include", "exclude"]),
)
def test_margins_are_eigenvalues_at_collapse(m, n, p, alpha, tau, self_pairs):
    assume(self_pairs == "include" or p > 1 or alpha == 0)
    structure, loss = ClassStructure.balanced(m, n, p), SupCL(alpha, tau, self_pairs)
    alike = structure.class_ids[:, None] == structure.class_ids
    gram = [[arb(1) if x else arb(-1) / (m - 1) for x in row] for row in alike]
    matrix = enclosures._dual(gram, structure, loss).matrix
    entries = np.array([[float(x.mid()) for x in row] for row in matrix.tolist()])
    cell = closed_form.cell_of(m, n, p, alpha, tau, self_pairs)
    r = np.exp(-m / ((m - 1) * tau))
    total = p * n - (self_pairs == "exclude") + p * n * (m - 1) * r
    scale = m * n * p * tau * total
    vector = np.zeros(m * n * p)
    vector[:p], vector[p : 2 * p] = 1, -1
    rayleigh = vector @ entries @ vector / (2 * p)
    margin = float(balls.instance_margin(cell).mid())
    assert margin == pytest.approx(rayleigh * scale * (n - 1) / n, abs=FLOAT * scale)
    if p > 1:
        vector[:] = 0
        vector[:2] = 1, -1
        rayleigh = vector @ entries @ vector / 2
        factor = p - 1 if self_pairs == "exclude" else 1
        margin = float(balls.view_margin(cell).mid())
        assert margin == pytest.approx(rayleigh * scale * factor, abs=FLOAT * scale * p)


def test_ldl_rejects_a_matrix_that_is_indefinite_by_a_little():
    rng = np.random.default_rng(0)
    size = 24
    with working_precision(128):
        factor = arb_mat([[arb(int(x)) for x in row] for row in rng.integers(-9, 10, (size, 5))])
        singular = factor * factor.transpose()
        identity = arb_mat(size, size, 1)
        little = arb(10) ** -12
        assert is_positive_definite(singular + identity * little)
        assert not is_positive_definite(singular - identity * little)
        # An indefinite rank-one change in one direction of the kernel.
        direction = rng.standard_normal(size)
        direction = arb_mat([[arb(float(x))] for x in direction / np.linalg.norm(direction)])
        bump = direction * direction.transpose()
        assert not is_positive_definite(singular - bump * little + identity * (little / 100))


def test_radii_too_large_are_reported():
    points = np.eye(4)
    wide = exactly(0.0, arb(1, 0.999999), "exclude")
    with pytest.raises(ValueError, match="raise `precision`"):
        enclose_minimum(points, ClassStructure((2, 2)), wide)


# ---------------------------------------------------------------------------------------------
# Phases.
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "below", "above"),
    [
        ((3, 4, 1, 0.5, "include"), Phase.COLLAPSE, Phase.SPREAD),
        ((3, 4, 2, 0.5, "exclude"), Phase.COLLAPSE, Phase.SPREAD),
        ((1000, 1000, 2, 0.2, "exclude"), Phase.COLLAPSE, Phase.SPREAD),
    ],
)
def test_phases_are_told_apart_next_to_the_boundary(cell, below, above):
    m, n, p, tau, self_pairs = cell
    boundary = float(theory.alpha_c(m, n, p, tau, self_pairs))
    assert prove_phase(m, n, p, boundary - 1e-12, tau, self_pairs).phase == below
    assert prove_phase(m, n, p, boundary + 1e-12, tau, self_pairs).phase == above
    # A constant that is wrong by 1e-6 puts one of the two on the wrong side.
    assert prove_phase(m, n, p, boundary - 1e-6 + 1e-12, tau, self_pairs).phase != above
    assert prove_phase(m, n, p, boundary + 1e-6 - 1e-12, tau, self_pairs).phase != below


def test_view_spread_and_undecided_phases():
    assert prove_phase(3, 4, 2, 0.02, 0.1, "exclude").phase == Phase.VIEW_SPREAD
    undecided = prove_phase(3, 4, 1, arb(0.5, 0.4), 0.5)
    assert undecided.phase == Phase.UNDECIDED
    assert undecided.instance_margin[0] < 0 < undecided.instance_margin[1]


def test_the_summary_guideline_is_refuted():
    assert refute_summary_guideline(2, 2, 1).phase == Phase.COLLAPSE
    assert refute_summary_guideline(2, 2, 1).instance_margin == pytest.approx((0.5, 0.5))
    for m in (2, 3, 10, 1000):
        for n in (2, 7, 1000):
            assert refute_summary_guideline(m, n, 1).phase == Phase.COLLAPSE
            assert refute_summary_guideline(m, n, 2, "exclude").phase == Phase.COLLAPSE
    # The dual matrix of all four embeddings says so as well.
    structure = ClassStructure.balanced(2, 2)
    loss = exactly(Fraction(1, 2), 1 / np.log(2))
    collapsed = np.array([[1.0], [1.0], [-1.0], [-1.0]])
    assert enclose_minimum(collapsed, structure, loss).width < 1e-25


# ---------------------------------------------------------------------------------------------
# Branch and bound.
# ---------------------------------------------------------------------------------------------


def test_a_planted_counterexample_is_found():
    """(x - 1/3)² + (y - 2/3)² - 1e-4 fails only in a disc of radius 0.01."""

    def statement(point):
        return (point["x"] - 1 / 3) ** 2 + (point["y"] - 2 / 3) ** 2 - arb("1e-4")

    proof = prove_on_box(statement, {"x": (0, 1), "y": (0, 1)})
    assert not proof.proven
    assert np.hypot(proof.refuted["x"] - 1 / 3, proof.refuted["y"] - 2 / 3) <= 0.01
    assert prove_on_box(
        lambda point: statement(point) + arb("2e-4"), {"x": (0, 1), "y": (0, 1)}
    ).proven


def test_what_cannot_be_decided_is_listed():
    """(x - 1/3)² is positive except at a point that no float is."""

    def statement(point):
        return (point["x"] - to_ball(Fraction(1, 3))) ** 2

    proof = prove_on_box(statement, {"x": (0, 1)})
    assert not proof.proven
    assert proof.refuted is None
    assert any(sub["x"][0] <= 1 / 3 <= sub["x"][1] for sub in proof.undecided)
    seen = []
    stopped = prove_on_box(statement, {"x": (0, 1)}, max_boxes=5)
    assert stopped.boxes == 5
    assert stopped.undecided
    prove_on_box(
        lambda p: p["x"] - p["x"] + 1e-3, {"x": (0, 10)}, progress=lambda *c: seen.append(c)
    )
    assert seen


def test_decimal_ends_are_rounded_outwards():
    ends = []
    prove_on_box(lambda point: ends.append(point["x"]) or arb(1), {"x": ("0.1", Fraction(1, 3))})
    assert ends[0].contains(to_ball("0.1"))
    assert ends[0].contains(to_ball(Fraction(1, 3)))


def test_a_point_beside_the_stated_box_refutes_nothing():
    """1/10 is no float: the midpoint of its box is one of the two floats around it."""
    tenth = Fraction(1, 10)
    proof = prove_on_box(
        lambda point: to_ball("1e-18") - abs(point["x"] - to_ball(tenth)), {"x": ("0.1", "0.1")}
    )
    assert proof.refuted is None
    assert not proof.proven
    assert len(proof.undecided) == 1


@pytest.mark.parametrize(
    ("phase", "p", "self_pairs"),
    [
        (Phase.COLLAPSE, 1, "include"),
        (Phase.SPREAD, 1, "include"),
        (Phase.COLLAPSE, 2, "exclude"),
        (Phase.SPREAD, 2, "exclude"),
        (Phase.VIEW_SPREAD, 2, "exclude"),
    ],
)
def test_phases_are_proven_outside_a_band(phase, p, self_pairs):
    proof = prove_boundary(phase, 3, 4, p, temperature=(0.1, 2), self_pairs=self_pairs)
    assert proof.proven, proof


def test_phases_are_proven_for_real_counts():
    assert prove_boundary(Phase.COLLAPSE, (2, 4), 4, band=0.1).proven
    assert prove_boundary(Phase.SPREAD, (2, 3), (2, 3), band=0.2).proven


@pytest.mark.parametrize(("phase", "shift"), [(Phase.COLLAPSE, 1e-6), (Phase.SPREAD, -1e-6)])
def test_a_boundary_wrong_by_a_millionth_is_refuted(monkeypatch, phase, shift):
    narrow = {"alpha": (0.3518, 0.352), "temperature": (0.5, 0.500001), "band": 5e-7}
    assert prove_boundary(phase, 3, 4, **narrow).proven
    right = balls.alpha_c
    monkeypatch.setattr(theorems, "alpha_c", lambda cell: right(cell) + shift)
    assert prove_boundary(phase, 3, 4, **narrow).refuted is not None


@pytest.mark.parametrize(("p", "self_pairs"), [(1, "include"), ((2, 100), "exclude")])
def test_theorems_on_boxes_of_real_counts(p, self_pairs):
    ranges = {"temperature": (0.01, 100), "self_pairs": self_pairs}
    assert prove_unique_optimum(BIG, BIG, p, **ranges).proven
    assert prove_monotone_in_alpha(BIG, BIG, p, **ranges).proven
    assert prove_unimodal_in_temperature(BIG, BIG, p, alpha=(0, 0.999), **ranges).proven
    assert prove_small_mixing_collapses(self_pairs).proven
    assert prove_guideline(self_pairs).proven
    assert prove_not_monotone_in_temperature((2, 10), (2, 10), 2, self_pairs=self_pairs).proven


def test_unimodality_needs_alpha_below_one():
    assert not prove_unimodal_in_temperature(3, 4, alpha=(0.5, 1), max_boxes=2000).proven


def test_guidelines_from_the_eigenvalue_and_stronger_ones_refuted():
    assert prove_guideline_on_box((2, 10), (2, 10)).proven
    assert prove_guideline_on_box((2, 10), (2, 10), 2, "exclude").proven
    assert prove_guideline_on_box((2, 10**4), 3, shift=1e-3, max_boxes=10**4).refuted is not None
    assert prove_guideline_on_box((2, 10), (2, 10), 2, "exclude", shift=0.1).refuted is not None


@given(
    st.floats(2, 50),
    st.floats(2, 50),
    st.integers(1, 5),
    st.floats(0.01, 0.99),
    st.floats(0.01, 0.99),
    st.booleans(),
)
def test_normalised_margins_are_the_margins(m, n, p, first, second, included):
    """The changes of variables of the theorems on unbounded boxes."""
    p = p if included else p + 1
    w = 1.0 if included else 1 - 1 / p

    def margin(alpha, r):
        tau = -m / (m - 1) / np.log(r)
        cell = closed_form.Cell(arb(m), arb(n), p, int(included), arb(alpha), arb(tau))
        return float(balls.instance_margin(cell).mid())

    def at(statement, **point):
        return float(statement({name: arb(x) for name, x in point.items()}).mid())

    beta, r = first, second
    whole = (1 - beta) * (1 + m * r) + m * n * r
    left = at(
        theorems._small_mixing,
        share=(1 - beta) * (1 + m * r) / whole,
        saturation=m * r / (1 + m * r),
        inverse_classes=1 / m,
        inverse_instances=1 / n,
        weight=w,
        limit=n * w / (n - 1 + w),
    )
    alpha = beta * w / (n - 1 + w)
    assert left * whole * p == pytest.approx(margin(alpha, r), rel=1e-9)

    s = first
    if included:
        r = second * m ** (-m / (m - 1))
        alpha = (1 + (n - 1) * (1 + s) / 2) / n
        bound = at(theorems._guideline_included, inverse_log_classes=1 / np.log(m))
        assert -margin(alpha, r) / (p * (n - 1) * (1 - m * r)) >= bound / 2 > 0
    else:
        omega = second
        whole = 1 - omega + s * p * n
        left = at(
            theorems._guideline_excluded,
            share=s * p * n / whole,
            saturation=omega,
            inverse_classes=1 / m,
            inverse_class_size=1 / (p * n),
        )
        alpha = (1 + s * (n - 1)) / n
        right = -margin(alpha, omega / (m * n * p)) * n / (n - 1)
        assert left * whole == pytest.approx(right, rel=1e-9)


def test_reduced_derivatives_have_the_signs_and_values_that_theorems_use():
    """F against theory.delta2, and its derivatives against differences."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        m, n = (int(k) for k in rng.integers(2, 9, 2))
        tau, f, alpha = rng.uniform(0.1, 2), rng.uniform(0.05, 0.95), rng.uniform(0.1, 0.9)
        cell = closed_form.cell_of(m, n, 2, alpha, tau, "exclude")
        ray = closed_form.Ray.of(cell)
        root = float(theory.delta2(m, n, 2, alpha, tau, "exclude"))
        sign = np.sign(f * m * (n - 1) / (m * n - 1) - root)
        assert np.sign(float(ray.value(arb(f), arb(1 / tau)).mid())) == sign
        step = 1e-6
        ends = [float(ray.value(arb(f), arb(1 / tau + e)).mid()) for e in (step, -step)]
        slope = float(ray.cooling(arb(f), arb(1 / tau)).mid())
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, rel=1e-5, abs=1e-5)


def test_the_peak_is_enclosed_and_the_slopes_around_it_proven():
    peak = enclose_peak(3, 4, 1, 0.5)
    (low, high), (least, most) = peak.temperature, peak.delta2
    assert high - low < FLOAT
    assert low == pytest.approx(0.35394778, abs=1e-8)
    taus = np.linspace(0.02, 1, 400)
    values = np.asarray(theory.delta2(3, 4, 1, 0.5, taus))
    assert values.max() <= most + THEORY_ACCURACY
    assert float(theory.delta2(3, 4, 1, 0.5, low)) == pytest.approx(least, abs=THEORY_ACCURACY)
    assert prove_temperature_slope(1, 3, 4, temperature=(0.05, low - 0.01)).proven
    assert prove_temperature_slope(-1, 3, 4, temperature=(high + 0.01, 2)).proven
    assert prove_temperature_slope(1, 3, 4, alpha=(0.4, 0.6), temperature=(0.05, 0.3)).proven
    assert not prove_temperature_slope(1, 3, 4, temperature=(0.3, 0.4), max_boxes=2000).proven
    wide = enclose_peak(3, 4, 1, arb(0.5, 0.01))
    assert wide.temperature[0] < low < high < wide.temperature[1]
    for alpha in (0.49, 0.51):
        inner = enclose_peak(3, 4, 1, alpha).delta2
        assert wide.delta2[0] <= inner[0] <= inner[1] <= wide.delta2[1]


# ---------------------------------------------------------------------------------------------
# Misuse.
# ---------------------------------------------------------------------------------------------


class Another(GramLoss):
    convex = True

    def from_gram(self, gram, structure):
        return jnp.sum(gram)


def test_misuse_of_enclosures_is_reported():
    structure, loss = ClassStructure.balanced(2, 2), SupCL(0.5, 1.0)
    points = np.eye(4)
    with pytest.raises(ValueError, match="'include', 'exclude'; got 'decouple'"):
        enclose_minimum(np.eye(8), ClassStructure((2, 2), 2), SupCL(0.5, 0.5, "decouple"))
    with pytest.raises(ValueError, match="written for SupCL"):
        enclose_minimum(points, structure, Another())
    with pytest.raises(ValueError, match="has 4 embeddings"):
        enclose_minimum(points[:3], structure, loss)
    with pytest.raises(ValueError, match="row 2 is not"):
        enclose_minimum(np.diag([1.0, 1, 0, 1]), structure, loss)
    with pytest.raises(ValueError, match="row 1 is not"):
        enclose_minimum(np.diag([1.0, np.nan, 1, 1]), structure, loss)
    with pytest.raises(ValueError, match="one cell at a time"):
        enclose_minimum(points, structure, SupCL(np.array([0.5, 0.6]), 1.0))
    with pytest.raises(ValueError, match="no positive pair"):
        enclose_minimum(points, ClassStructure((1, 1, 1, 1)), loss)
    with pytest.raises(ValueError, match="num_views must be at least 2"):
        enclose_closed_form(2, 2, 1, 0.5, 1.0, "exclude")
    with pytest.raises(ValueError, match="no positive pair when num_instances is 1"):
        enclose_closed_form(2, 1, 1, 0.5, 1.0)
    with pytest.raises(ValueError, match="temperature must be positive"):
        enclose_closed_form(2, 2, 1, 0.5, 0)
    with pytest.raises(ValueError, match="self_pairs must be one of"):
        prove_phase(2, 2, 1, 0.5, 1.0, "decouple")
    with pytest.raises(ValueError, match="finite number"):
        to_ball(np.inf)
    with pytest.raises(ValueError, match="precision must be"):
        enclose_closed_form(2, 2, 1, 0.5, 1.0, precision=8)
    with pytest.raises(ValueError, match="up to which every temperature collapses"):
        enclose_peak(3, 4, 1, 0.25)
    with working_precision(128):
        barely = arb(0.25) + arb(2) ** -61
    with pytest.raises(ValueError, match="no change of sign was proven"):
        enclose_peak(3, 4, 1, barely, precision=64)
    assert enclose_peak(3, 4, 1, barely, precision=128).delta2[1] < FLOAT


def test_misuse_of_boxes_is_reported():
    with pytest.raises(ValueError, match="at least one variable"):
        prove_on_box(lambda point: arb(1), {})
    with pytest.raises(ValueError, match="x must range from low to high"):
        prove_on_box(lambda point: arb(1), {"x": (1, 0)})
    with pytest.raises(ValueError, match="num_classes must range from 2"):
        prove_unique_optimum((1, 3), 4)
    with pytest.raises(ValueError, match="alpha must range from 0 to 1"):
        prove_unique_optimum(3, 4, alpha=(0, 2))
    with pytest.raises(ValueError, match="temperature must range from 0"):
        prove_unique_optimum(3, 4, temperature=(0, 2))
    with pytest.raises(ValueError, match="num_views must range from 2"):
        prove_unique_optimum(3, 4, 1, self_pairs="exclude")
    with pytest.raises(ValueError, match="no parameter ranges"):
        prove_unique_optimum(3, 4, alpha=0.5, temperature=1.0)
    with pytest.raises(ValueError, match="phase must be"):
        prove_boundary(Phase.UNDECIDED, 3, 4)
    with pytest.raises(ValueError, match="direction must be"):
        prove_temperature_slope(0, 3, 4)
    for prove in (prove_guideline, prove_small_mixing_collapses):
        with pytest.raises(ValueError, match="self_pairs must be one of"):
            prove("decouple")
