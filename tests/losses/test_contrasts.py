"""SupCL against its definition, in every convention; minima against an independent solver."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import (
    balanced_optimum,
    contrasted,
    cvxpy_optimum,
    positives,
    supcl,
    supcl_slope,
)

from ssem_jax.balls import enclosures
from ssem_jax.geometry import Similarities, block_gram
from ssem_jax.losses import SupCL, SupCon, WeightedSupCL, decoupled_contrast, info_nce
from ssem_jax.losses.contrast import softmax_change, softmax_contrast, softmax_slope
from ssem_jax.losses.positives import weight_of
from ssem_jax.problem import ClassStructure

EPS = np.finfo(float).eps

VALUE_ULPS = 16
"""Rounding error of a value in units of eps·(1 + L). Row shifts make both sums of the loss
nonnegative (unless instances are decoupled), so nothing cancels and each is right to a few ulps of
itself; `log` of a total of at least 1 adds an absolute eps. The worst seen is 4; the order of
summation may change it."""

SLOPE_ULPS = 1
"""Rounding error of a directional derivative in units of eps·(1 + 1/τ)·‖D‖₁. An entry is 1/τ times
a difference of a weight and a softmax; a softmax has an absolute error of some eps, since x·exp(-x)
is bounded, and the weights make it smaller. The worst seen is 0.03."""

CONVEXITY_SLACK = 1e-12
"""Rounding of three values of size 1/τ ≤ 20; violations of convexity would be of order 1e-3."""

INVARIANCE = 1e-13
"""Two orders of summation of N ≤ 18 terms of size 1/τ ≤ 10 differ by that many times eps."""

CLARABEL_VALUE = 1e-9
"""Clarabel is asked for gaps of 1e-10 and leaves the diagonal of G free by as much; seen: 6e-11."""

CLARABEL_GRAM = 1e-4
"""A gap of 1e-10 of a loss of curvature at least 1e-2 pins G to the root of 1e-8; seen: 9e-6."""

CONVENTIONS = list(itertools.product(("include", "exclude", "decouple"), ("pairs", "anchors")))
STRUCTURES = [
    ClassStructure((2, 2), 1),
    ClassStructure((2, 2), 3),
    ClassStructure((3, 3, 3), 2),
    ClassStructure((3, 1, 2), 1),
    ClassStructure((3, 1, 2), 2),
    ClassStructure((1, 4), 3),
]
ALL_SINGLE = ClassStructure((1, 1, 1), 2)


CASES = [
    (structure, *convention)
    for structure in [*STRUCTURES, ALL_SINGLE]
    for convention in CONVENTIONS
    if structure.num_views > 1 or convention[0] == "include" or max(structure.sizes) > 1
] + [(ClassStructure((3, 1, 2), 2), "exclude", "all")]


def admitted_alphas(structure, self_pairs):
    """Of 0, 0.3 and 1, the α whose positive pairs exist."""
    if max(structure.sizes) == 1:
        return (1.0,)
    return (0.0,) if self_pairs != "include" and structure.num_views == 1 else (0.0, 0.3, 1.0)


def name(value):
    return str(value).replace(" ", "") if isinstance(value, ClassStructure) else None


def random_embeddings(structure, dim=4, seed=0):
    rows = np.random.default_rng(seed).normal(size=(structure.num_embeddings, dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def random_gram(structure, dim=4, seed=0):
    rows = random_embeddings(structure, dim, seed)
    return jnp.asarray(rows @ rows.T)


def error_in_ulps(value, exact, loss):
    """|value - exact| in units of eps times the size of its terms, taken in ball arithmetic."""
    terms = 1 + abs(float(exact))
    if loss.self_pairs == "decouple":  # logarithms and pulls of either sign, up to 2/τ each
        terms += 4 / float(loss.temperature)
    return abs(float(exact - float(value))) / (EPS * terms)


# ---------------------------------------------------------------------------------- definition


@pytest.mark.parametrize(("structure", "self_pairs", "mean"), CASES, ids=name)
def test_value_is_the_definition(structure, self_pairs, mean):
    gram = random_gram(structure)
    value_of = jax.jit(lambda loss: loss.from_gram(gram, structure))
    for alpha in admitted_alphas(structure, self_pairs):
        loss = SupCL(alpha, 0.3, self_pairs, mean)
        assert error_in_ulps(value_of(loss), supcl(gram, structure, loss), loss) < VALUE_ULPS


def test_the_mean_over_all_anchors_weighs_alike_wherever_it_is_written():
    structure, loss = ClassStructure((3, 1, 2), 2), SupCL(0.5, 0.5, mean="all")
    anchors = loss.prepare(structure)
    assert anchors.sup.sum() > 0
    assert np.all(anchors.sup[structure.class_ids == 1] == 0)
    num_sup = np.asarray(structure.sizes)[structure.class_ids] * 2 - 2
    assert math.fsum(anchors.sup * num_sup) == pytest.approx(10 / 12)  # 2 of 12 have no positive
    sup, own = enclosures._positive_weights(structure, loss)
    assert [float(weight.p) / float(weight.q) for weight in sup] == pytest.approx(anchors.sup)
    assert [float(weight.p) / float(weight.q) for weight in own] == pytest.approx(anchors.own)
    assert np.asarray(weight_of(jnp.asarray(num_sup, float), "all")) == pytest.approx(anchors.sup)


EXTREME = [
    (ClassStructure(sizes, num_views), *convention)
    for sizes, num_views in (((2, 2), 2), ((3, 1, 2), 1), ((2, 1), 3))
    for convention in CONVENTIONS
]


@pytest.mark.parametrize(("structure", "self_pairs", "mean"), EXTREME, ids=name)
def test_value_and_gradient_are_exact_from_cold_to_hot(structure, self_pairs, mean):
    grams = {
        "random": random_gram(structure),
        "collapsed": block_gram(structure, 1.0, 1.0, -1 / (structure.num_classes - 1)),
        "one point": jnp.ones((structure.num_embeddings,) * 2),
        "orthogonal": jnp.eye(structure.num_embeddings),
        "nearly collapsed": random_gram(structure, 2, 1) * 1e-9 + (1 - 1e-9),
    }
    direction = np.random.default_rng(2).normal(size=(structure.num_embeddings,) * 2)

    @jax.jit
    def evaluate(loss, gram):
        return jax.value_and_grad(lambda gram: loss.from_gram(gram, structure))(gram)

    for gram, alpha, tau in itertools.product(
        grams.values(), admitted_alphas(structure, self_pairs), (1e-3, 1e-2, 0.1, 1.0, 1e3)
    ):
        loss = SupCL(alpha, tau, self_pairs, mean)
        value, gradient = evaluate(loss, gram)
        assert error_in_ulps(value, supcl(gram, structure, loss), loss) < VALUE_ULPS
        slope = supcl_slope(gram, direction, structure, loss)
        allowed = SLOPE_ULPS * EPS * (1 + 1 / tau) * np.abs(direction).sum()
        assert abs(float(np.sum(np.asarray(gradient) * direction)) - slope) < allowed


def test_excluded_rows_do_not_underflow_far_below_the_diagonal():
    # The nearest other embedding is at cosine -1/3, so unshifted terms are exp(-1333).
    structure = ClassStructure((2, 2), 1)
    gram = jnp.where(jnp.eye(4, dtype=bool), 1.0, -1 / 3)
    loss = SupCL(0.0, 1e-3, "exclude")
    value, gradient = jax.jit(jax.value_and_grad(lambda gram: loss.from_gram(gram, structure)))(
        gram
    )
    assert float(value) == pytest.approx(math.log(3), rel=4 * EPS)
    assert np.all(np.isfinite(gradient))


def test_a_masked_diagonal_above_the_row_maximum_does_not_overflow():
    structure = ClassStructure((2, 2), 2)
    gram = random_gram(structure).at[jnp.diag_indices(8)].set(5.0)
    loss = SupCL(0.3, 1e-3, "exclude")
    value, gradient = jax.jit(jax.value_and_grad(lambda gram: loss.from_gram(gram, structure)))(
        gram
    )
    assert error_in_ulps(value, supcl(gram, structure, loss), loss) < VALUE_ULPS
    assert np.all(np.isfinite(gradient))
    assert not np.any(np.diag(gradient))


# --------------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("self_pairs", ["include", "exclude"])
def test_taylor_remainders_of_embeddings_have_the_right_slope(self_pairs):
    structure = ClassStructure((3, 1, 2), 2)
    loss = SupCL(0.4, 0.5, self_pairs, "anchors")
    start = random_embeddings(structure)
    towards = np.random.default_rng(3).normal(size=start.shape) / 4

    @jax.jit
    def along(t):
        return loss(start + t * towards, structure)

    slope, curvature = jax.jit(jax.grad(along))(0.0), jax.jit(jax.grad(jax.grad(along)))(0.0)
    steps = 2.0 ** -np.arange(3, 8)
    change = np.array([along(t) for t in steps]) - along(0.0)
    first = np.abs(change - steps * slope)
    second = np.abs(change - steps * slope - steps**2 * curvature / 2)
    # The next order bends the slope by a step of 1/128 of its relative size.
    assert np.log2(first[-2] / first[-1]) == pytest.approx(2, abs=0.05)
    assert np.log2(second[-2] / second[-1]) == pytest.approx(3, abs=0.1)


def test_forward_and_reverse_derivatives_agree_in_every_argument():
    structure = ClassStructure((2, 3), 2)
    start = jnp.asarray(random_embeddings(structure))
    towards = jnp.asarray(random_embeddings(structure, seed=4))

    @jax.jit
    def along(alpha, tau, t):
        return SupCL(alpha, tau)(start + t * towards, structure)

    arguments = (0.3, 0.5, 0.1)
    forward = jax.jit(jax.jacfwd(along, argnums=(0, 1, 2)))(*arguments)
    reverse = jax.jit(jax.grad(along, argnums=(0, 1, 2)))(*arguments)
    np.testing.assert_allclose(forward, reverse, rtol=INVARIANCE)


def written(gram, weights, held, tau):
    """The softmax contrast as it stands, for JAX to differentiate."""
    largest = jnp.max(jnp.where(held > 0, gram, -1), axis=1, keepdims=True)
    apart = gram - jax.lax.stop_gradient(largest)
    total = jnp.sum(held * jnp.exp(jnp.where(held > 0, apart / tau, 0)), axis=1)
    logs = jnp.sum(weights, axis=1) * jnp.log(jnp.where(total > 0, total, 1))
    return jnp.sum(logs) - jnp.sum(weights * apart / tau)


def check_products(gram, form, towards):
    """Second derivatives, along all arguments and along each alone that is no mask,
    against those of `written`."""
    every = (towards, *(0.1 * jnp.ones_like(each) for each in form))
    several = (every, (towards, *(jnp.zeros_like(each) for each in form)))
    for tangents in several:
        found, wanted = (
            jax.jvp(jax.grad(function, argnums=(0, 1, 2, 3)), (gram, *form), tangents)[1]
            for function in (softmax_contrast, written)
        )
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    products = []
    for place in (0, 1, 3):
        found, wanted = (
            jax.jvp(
                lambda one, place=place, function=function: jax.grad(function)(
                    *(one if place == k else each for k, each in enumerate((gram, *form)))
                ),
                ((gram, *form)[place],),
                (every[place],),
            )[1]
            for function in (softmax_contrast, written)
        )
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)
        products.append(np.abs(found).max())
    return products


@pytest.mark.parametrize(("self_pairs", "mean"), CONVENTIONS)
def test_hessian_products_are_those_of_the_loss_as_it_is_written(self_pairs, mean):
    """With masks; in α and τ as well, and in each alone."""
    structure = ClassStructure((3, 1, 2), 2)
    loss = SupCL(0.3, 0.2, self_pairs, mean)
    gram, towards = random_gram(structure), random_gram(structure, seed=4)
    products = check_products(gram, loss.softmax(loss.prepare(structure)), towards)
    assert min(products) > 0.01


def test_rows_that_count_nothing_have_derivatives():
    """Anchors without a positive, and rows without a denominator, too."""
    structure = ClassStructure((3, 1, 2))
    loss = SupCL(0.0, 0.2, "exclude")
    gram, towards = random_gram(structure), random_gram(structure, seed=4)
    weights, held, tau = loss.softmax(loss.prepare(structure))
    assert not weights[3].any()
    for denominators in (held, held.at[3].set(0)):
        products = check_products(gram, (weights, denominators, tau), towards)
        assert np.isfinite(products).all()
        assert softmax_contrast(gram, weights, denominators, tau) > 0


@pytest.mark.parametrize(("self_pairs", "mean"), CONVENTIONS)
def test_slopes_and_their_changes_are_those_of_the_loss_as_it_is_written(self_pairs, mean):
    """With masks, and with anchors of one instance that have no positive."""
    structure = ClassStructure((3, 1, 2), 2)
    loss = SupCL(0.3, 0.2, self_pairs, mean)
    gram, towards = random_gram(structure), random_gram(structure, seed=4)
    form = loss.softmax(loss.prepare(structure))
    value, slope, repelled = softmax_slope(gram, *form)
    weights, _, tau = form
    change = softmax_change(repelled, jnp.sum(weights, axis=1), tau, towards)
    wanted = jax.jvp(lambda gram: jax.grad(written)(gram, *form), (gram,), (towards,))
    assert float(value) == pytest.approx(float(written(gram, *form)), rel=1e-14)
    np.testing.assert_allclose(slope, wanted[0], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(change, wanted[1], rtol=1e-12, atol=1e-13)
    assert np.abs(change).max() > 0.01


# ----------------------------------------------------------------------- convexity, invariances


@pytest.mark.parametrize(("self_pairs", "mean"), CONVENTIONS)
@pytest.mark.parametrize("tau", [0.05, 0.5, 5.0])
def test_convex_on_random_segments(self_pairs, mean, tau):
    structure = ClassStructure((3, 1, 2), 2)
    loss = SupCL(0.4, tau, self_pairs, mean)
    value = jax.jit(jax.vmap(lambda gram: loss.from_gram(gram, structure)))
    start = jnp.stack([random_gram(structure, 1 + seed % 6, seed) for seed in range(50)])
    end = jnp.stack([random_gram(structure, 6, 100 + seed) for seed in range(50)])
    weight = jnp.linspace(0.02, 0.98, 50)[:, None, None]
    chord = weight[:, 0, 0] * value(start) + (1 - weight[:, 0, 0]) * value(end)
    assert np.all(value(weight * start + (1 - weight) * end) <= chord + CONVEXITY_SLACK)


@pytest.mark.parametrize("self_pairs", ["include", "exclude", "decouple"])
def test_the_hessian_in_the_gram_matrix_is_positive_semidefinite(self_pairs):
    structure = ClassStructure((2, 1), 2)
    loss, gram = SupCL(0.4, 0.2, self_pairs), random_gram(ClassStructure((2, 1), 2))
    hessian = jax.jit(jax.hessian(lambda flat: loss.from_gram(flat.reshape(6, 6), structure)))
    assert np.linalg.eigvalsh(hessian(gram.ravel())).min() > -CONVEXITY_SLACK


@jax.jit
def value_of(loss, embeddings):
    return loss(embeddings, ClassStructure((3, 2, 3), 2))


@given(
    seed=st.integers(0, 10**6),
    alpha=st.floats(0, 1),
    tau=st.floats(0.1, 10),
    convention=st.sampled_from(CONVENTIONS),
    scale=st.floats(1e-3, 1e3),
)
def test_invariant_to_rotation_scale_and_relabelling(seed, alpha, tau, convention, scale):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(16, 5))
    rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    # Permute views, instances within their class, and the two classes of size 3.
    first, second, third = np.split(np.arange(16).reshape(8, 2), [3, 5])
    blocks = [rng.permutation(third), rng.permutation(second), rng.permutation(first)]
    order = rng.permuted(np.concatenate(blocks), axis=1).ravel()
    value, moved = (
        value_of(SupCL(alpha, tau, *convention), jnp.asarray(embeddings))
        for embeddings in (rows, scale * rows[order] @ rotation)
    )
    assert abs(value - moved) < INVARIANCE * (1 + value)


@pytest.mark.parametrize(("self_pairs", "num_views"), [("include", 1), ("exclude", 2)])
def test_means_agree_on_balanced_classes_and_only_there(self_pairs, num_views):
    def values(sizes):
        structure = ClassStructure(sizes, num_views)
        gram = random_gram(structure)
        losses = [SupCL(0.3, 0.2, self_pairs, mean) for mean in ("pairs", "anchors")]
        return [
            float(jax.jit(loss.from_gram, static_argnums=1)(gram, structure)) for loss in losses
        ]

    pairs, anchors = values((3, 3, 3))
    assert pairs == pytest.approx(anchors, rel=INVARIANCE)
    pairs, anchors = values((4, 3, 2))
    assert abs(pairs - anchors) > 1e-3


def test_embeddings_are_normalised_and_a_zero_row_is_no_nan():
    structure = ClassStructure((2, 2))
    rows = random_embeddings(structure)
    scaled = np.arange(1, 5)[:, None] * rows
    loss = SupCL(0.5, 0.5)
    expected = float(loss.from_gram(jnp.asarray(rows @ rows.T), structure))
    assert float(loss(jnp.asarray(scaled), structure)) == pytest.approx(expected, rel=INVARIANCE)
    assert np.isfinite(loss(jnp.asarray(scaled).at[0].set(0), structure))


@jax.jit
def prepared_forms(loss, gram, prepared):
    value, slope = jax.value_and_grad(loss.value)(gram, prepared)
    return value, jnp.sum(jnp.abs(slope)), loss.sensitivity(gram, prepared)


@jax.jit
def block_form(loss, similarities, blocks):
    return jax.value_and_grad(loss.of_blocks)(similarities, blocks)


@pytest.mark.parametrize(("structure", "self_pairs", "mean"), CASES, ids=name)
def test_prepared_losses_and_block_losses_are_the_same_loss(structure, self_pairs, mean):
    alphas = admitted_alphas(structure, self_pairs)
    loss = SupCL(alphas[len(alphas) // 2], 0.3, self_pairs, mean)
    similarities = Similarities(
        view=0.9 if structure.num_views > 1 else 1.0,
        within=0.4 if max(structure.sizes) > 1 else 1.0,
        between=-0.2,
    )
    gram = block_gram(structure, *similarities)
    exact = supcl(gram, structure, loss)
    value, absolute, sensitivity = prepared_forms(
        loss.without_conventions(), gram, loss.prepare(structure)
    )
    assert error_in_ulps(value, exact, loss) < VALUE_ULPS
    assert absolute <= sensitivity * (1 + INVARIANCE)
    if structure.is_balanced:
        value, slope = block_form(loss, similarities, loss.prepare_blocks(structure))
        assert error_in_ulps(value, exact, loss) < VALUE_ULPS
        assert np.all(np.isfinite(slope))


def test_a_heated_path_is_geometric_and_ends_at_the_loss():
    loss = SupCL(0.3, 0.05, "exclude", "anchors")
    taus = [float(loss.heated(stage).temperature) for stage in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(taus, [0.5, math.sqrt(0.5 * 0.05), 0.05], rtol=INVARIANCE)
    assert loss.heated(1.0).self_pairs == "exclude"
    assert float(SupCL(0.3, 2.0).heated(0.0).temperature) == 2.0


# ------------------------------------------------------------------------------ transformations


def test_a_derivative_in_the_hyper_parameters_is_not_validated_as_one():
    structure = ClassStructure((2, 2))
    gram = random_gram(structure)
    slope = jax.jit(jax.grad(lambda loss: loss.from_gram(gram, structure)))(SupCL(0.3, 0.5))
    ends = [float(SupCL(alpha, 0.5).from_gram(gram, structure)) for alpha in (0.0, 1.0)]
    assert float(slope.alpha) == pytest.approx(ends[1] - ends[0], rel=1e3 * INVARIANCE)
    assert slope.alpha < 0 or slope.temperature < 0


def test_jit_and_vmap_over_alpha_and_temperature_compile_once():
    structure = ClassStructure((2, 3), 2)
    gram = random_gram(structure)
    traces = []

    @jax.jit
    def value(loss):
        traces.append(loss)
        return loss.from_gram(gram, structure)

    alphas, taus = np.linspace(0, 1, 7), np.geomspace(1e-3, 1e3, 7)
    one_by_one = [value(SupCL(float(a), float(t))) for a, t in zip(alphas, taus, strict=True)]
    assert len(traces) == 1
    batched = jax.vmap(value)(SupCL(jnp.asarray(alphas), jnp.asarray(taus)))
    np.testing.assert_allclose(batched, one_by_one, rtol=INVARIANCE)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_dtype_of_the_gram_matrix_is_kept(dtype):
    structure = ClassStructure((2, 2))
    gram = jax.ShapeDtypeStruct((4, 4), dtype)
    value = jax.eval_shape(lambda gram: SupCL(0.5, 0.5).from_gram(gram, structure), gram)
    assert value.dtype == dtype


# --------------------------------------------------------------------------- minima over G ⪰ 0

BALANCED_CELLS = [
    # sizes, views, self pairs, α, τ, and the phase that the closed form names
    ((2, 2), 1, "include", 0.0, 1.0, "collapse"),
    ((2, 2), 1, "include", 0.9, 1.0, "spread"),
    ((2, 2), 1, "exclude", 0.0, 2.0, "collapse"),
    ((3, 3), 1, "include", 0.6, 0.7, "spread"),
    ((2, 2), 2, "include", 0.8, 0.7, "spread"),
    ((2, 2), 2, "include", 0.3, 0.7, "collapse"),
    ((2, 2), 2, "exclude", 0.05, 0.5, "view-spread"),
    ((2, 2), 2, "exclude", 0.4, 0.7, "collapse"),
    ((2, 2), 2, "exclude", 0.9, 0.7, "spread"),
    ((2, 2, 2), 1, "include", 1.0, 0.5, "spread"),
    ((2, 2), 2, "decouple", 0.3, 2.0, "collapse"),
    ((2, 2), 2, "decouple", 0.3, 0.7, "spread"),
    ((2, 2), 2, "decouple", 0.0, 0.7, "collapse"),
]


@pytest.mark.parametrize(
    ("sizes", "num_views", "self_pairs", "alpha", "tau", "phase"), BALANCED_CELLS
)
def test_balanced_minimum_is_the_closed_form(sizes, num_views, self_pairs, alpha, tau, phase):
    structure, loss = ClassStructure(sizes, num_views), SupCL(alpha, tau, self_pairs)
    optimum = balanced_optimum(loss, structure)
    assert optimum.phase == phase
    gram = block_gram(structure, *optimum[1:])
    value, found = cvxpy_optimum(loss, structure)
    assert abs(float(loss.from_gram(gram, structure)) - value) < CLARABEL_VALUE
    assert np.abs(found - gram).max() < CLARABEL_GRAM


@pytest.mark.parametrize(("self_pairs", "mean"), CONVENTIONS)
@pytest.mark.parametrize(("sizes", "num_views"), [((3, 1), 1), ((4, 2), 1), ((2, 1), 2)])
def test_unbalanced_minimum_is_no_higher_at_random_feasible_points(
    sizes, num_views, self_pairs, mean
):
    structure = ClassStructure(sizes, num_views)
    alpha = 0.0 if self_pairs != "include" and num_views == 1 else 0.4
    loss = SupCL(alpha, 0.6, self_pairs, mean)
    value, found = cvxpy_optimum(loss, structure)
    at_found = float(loss.from_gram(jnp.asarray(found), structure))
    assert at_found == pytest.approx(value, rel=INVARIANCE)
    # Every segment from the optimum to another Gram matrix leads upwards.
    others = jnp.stack([random_gram(structure, 1 + seed % 6, seed) for seed in range(40)])
    weight = jnp.geomspace(1e-3, 1, 40)[:, None, None]
    towards = found[None] + weight * (others - found[None])
    values = jax.jit(jax.vmap(lambda gram: loss.from_gram(gram, structure)))(towards)
    assert np.all(values > value - CLARABEL_VALUE)


@pytest.mark.parametrize("enough", [3, 200])
def test_an_oracle_that_doubts_itself_is_asked_again_or_is_no_witness(enough, monkeypatch):
    """Its warning is its own; ours are errors."""
    doubtful = oracles.CLARABEL_GOAL | {"max_iter": 3}
    again = oracles.CLARABEL_GOAL | {"max_iter": enough}
    monkeypatch.setattr(oracles, "CLARABEL_SETTINGS", (doubtful, again))
    structure, loss = ClassStructure((2, 2)), SupCL(0.3, 0.7)
    if enough == 3:
        with pytest.raises(pytest.skip.Exception, match="the convex solver doubts"):
            cvxpy_optimum(loss, structure)
    else:
        value, _ = cvxpy_optimum(loss, structure)
        best = block_gram(structure, *balanced_optimum(loss, structure)[1:])
        assert abs(float(loss.from_gram(best, structure)) - value) < CLARABEL_VALUE


# --------------------------------------------------------------------------------------- misuse


@pytest.mark.parametrize("alpha", [-0.1, 1.1, np.nan, np.array([0.5, 2.0])])
def test_alpha_outside_the_unit_interval(alpha):
    with pytest.raises(ValueError, match=r"alpha must lie in \[0, 1\]; got"):
        SupCL(alpha, 0.5)


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.inf, np.nan, np.array([0.5, -2.0])])
def test_temperature_not_positive(temperature):
    with pytest.raises(ValueError, match="temperature must be positive and finite; got"):
        SupCL(0.5, temperature)


def test_unknown_conventions():
    with pytest.raises(
        ValueError, match="self_pairs must be one of 'include', 'exclude', 'decouple'; got"
    ):
        SupCL(0.5, 0.5, self_pairs="both")
    with pytest.raises(
        ValueError, match="mean must be one of 'pairs', 'anchors', 'all'; got 'rows'"
    ):
        SupCL(0.5, 0.5, mean="rows")


def test_a_loss_without_positive_pairs():
    with pytest.raises(ValueError, match=r"L_sup has no positive pair.*alpha = 0\.5"):
        SupCL(0.5, 0.5).check_structure(ALL_SINGLE)
    with pytest.raises(ValueError, match="L_sup has no positive pair"):
        SupCL(jnp.array([1.0, 0.5]), 0.5).check_structure(ALL_SINGLE)
    SupCL(1.0, 0.5).check_structure(ALL_SINGLE)
    with pytest.raises(ValueError, match="num_views must be at least 2 when alpha > 0"):
        SupCL(0.5, 0.5, "exclude").from_gram(jnp.eye(4), ClassStructure((2, 2)))
    SupCL(0.0, 0.5, "exclude").check_structure(ClassStructure((2, 2)))


def test_a_gram_matrix_of_another_size():
    with pytest.raises(
        ValueError, match=r"the Gram matrix of 2 classes × 2 is 4 × 4; got \(5, 5\)"
    ):
        SupCL(0.5, 0.5).from_gram(jnp.eye(5), ClassStructure((2, 2)))


# ------------------------------------------------------------------------------------ other means


@pytest.mark.parametrize("structure", STRUCTURES, ids=name)
def test_supcon_is_its_definition(structure):
    gram, tau = np.asarray(random_gram(structure)), 0.3
    size, terms = structure.num_embeddings, []
    for i in range(size):
        total = np.log(sum(np.exp(gram[i, k] / tau) for k in range(size) if k != i))
        same = [
            j for j in range(size) if j != i and structure.class_ids[j] == structure.class_ids[i]
        ]
        terms += [np.mean([total - gram[i, j] / tau for j in same])] if same else []
    loss = SupCon(tau)
    value = float(jax.jit(loss.from_gram, static_argnums=1)(jnp.asarray(gram), structure))
    assert value == pytest.approx(np.mean(terms), rel=INVARIANCE)
    if structure.is_balanced:
        n, p = structure.num_instances, structure.num_views
        mixed = SupCL((p - 1) / (n * p - 1), tau, "exclude", "anchors")
        assert float(mixed.from_gram(jnp.asarray(gram), structure)) == pytest.approx(
            value, rel=INVARIANCE
        )
        similarities = Similarities(0.9 if p > 1 else 1.0, 0.4, -0.2)
        blocks = loss.of_blocks(similarities, loss.prepare_blocks(structure))
        whole = loss.from_gram(block_gram(structure, *similarities), structure)
        assert float(blocks) == pytest.approx(float(whole), rel=INVARIANCE)


@pytest.mark.parametrize(("self_pairs", "mean"), CONVENTIONS)
def test_class_weights_weigh_anchors(self_pairs, mean):
    structure, omega, alpha, tau = ClassStructure((3, 2, 1), 2), (1.0, 2.0, 5.0), 0.3, 0.4
    gram = np.asarray(random_gram(structure))
    kinds = positives(structure, self_pairs, mean)
    totals = [
        np.log(sum(np.exp(gram[i, k] / tau) for k in members))
        for i, members in enumerate(contrasted(structure, self_pairs))
    ]
    expected = 0.0
    for mixing, pairs in zip((1 - alpha, alpha), kinds, strict=True):
        # `divisor` makes plain means; its anchors are weighed by their class besides.
        weighed = {(i, j): omega[structure.class_ids[i]] / d for (i, j), d in pairs.items()}
        terms = sum(weight * (totals[i] - gram[i, j] / tau) for (i, j), weight in weighed.items())
        expected += mixing * terms / sum(weighed.values())
    loss = WeightedSupCL(alpha, tau, omega, self_pairs, mean)
    gram = jnp.asarray(gram)
    assert float(loss.from_gram(gram, structure)) == pytest.approx(expected, rel=INVARIANCE)
    plain = loss.without_conventions().value(gram, loss.prepare(structure))
    assert float(plain) == pytest.approx(expected, rel=INVARIANCE)
    alike = WeightedSupCL(alpha, tau, (2, 2, 2), self_pairs, mean).from_gram(gram, structure)
    unweighted = SupCL(alpha, tau, self_pairs, mean).from_gram(gram, structure)
    assert float(alike) == pytest.approx(float(unweighted), rel=INVARIANCE)


def test_info_nce_and_the_decoupled_loss_by_definition():
    structure, tau = ClassStructure((2, 1), 2), 0.3
    gram = np.asarray(random_gram(structure))
    plain, decoupled = [], []
    for i in range(6):
        j = i ^ 1
        others = [np.exp(gram[i, k] / tau) for k in range(6) if k not in (i, j)]
        plain.append(-np.log(np.exp(gram[i, j] / tau) / (np.exp(gram[i, j] / tau) + sum(others))))
        decoupled.append(-gram[i, j] / tau + np.log(sum(others)))
    for loss, terms in ((info_nce(tau), plain), (decoupled_contrast(tau), decoupled)):
        found = float(loss.from_gram(jnp.asarray(gram), structure))
        assert found == pytest.approx(np.mean(terms), rel=INVARIANCE)
    assert np.shape(info_nce(np.ones(3)).alpha) == (3,)


def test_misuse_of_weights_and_of_supcon():
    structure = ClassStructure((2, 1))
    with pytest.raises(ValueError, match="class_weights must be nonnegative and finite"):
        WeightedSupCL(0.5, 0.5, (1, -1))
    with pytest.raises(ValueError, match="one number for each of the 2 classes; got 3"):
        WeightedSupCL(0.5, 0.5, (1, 1, 1)).check_structure(structure)
    with pytest.raises(ValueError, match=r"leave no positive pair in classes of 2,1"):
        WeightedSupCL(0.5, 0.5, (0, 1)).check_structure(structure)
    WeightedSupCL(1.0, 0.5, (0, 1)).check_structure(structure)
    with pytest.raises(ValueError, match="SupCon has no positive pair"):
        SupCon(0.5).check_structure(ClassStructure((1, 1)))
    with pytest.raises(ValueError, match="temperature must be positive"):
        SupCon(0.0)
