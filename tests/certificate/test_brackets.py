"""The reduced problem against grids, a general-purpose optimiser and the full loss."""

import itertools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from ssem_jax import theory
from ssem_jax.certificate import QUANTITIES, barrier, brackets, rounding
from ssem_jax.certificate.brackets import bound_cells
from ssem_jax.certificate.certificates import dual_of_gram
from ssem_jax.geometry import (
    Similarities,
    Variances,
    block_gram,
    similarities_of,
    ssem_gram,
    variances_from_gram,
)
from ssem_jax.geometry.shares import variance_simplex
from ssem_jax.losses import AlignUniform, Spectral, SupCL, gram_loss
from ssem_jax.problem import ClassStructure

EPS = np.finfo(float).eps

OF_BLOCKS_ULPS = 64
"""Two summation orders of a loss of up to 36 rows, in units of eps·(1 + 1/τ)."""

SHARE = 16 * EPS
"""Averages of up to 36² entries of size 1, and differences of them."""

TIGHT = 1.01
"""Factor over the true width: the search ends within 1e-3 of it, and SLSQP misses its constraint by
as much."""

MISSED = 1e-7
"""By how much the minimiser that SLSQP finds may miss its own lower bound; its accuracy is 1e-8."""

FLOOR = 1e-9
"""Width that rounding alone makes, and by which SLSQP misses the minimiser itself."""

CURVED = 5e-7
"""Width that the curvature of a cold loss leaves at 1e-13 above its minimum; seen: 2.3e-7."""

STRUCTURES = [
    ClassStructure.balanced(m, n, p)
    for m, n, p in [(2, 2, 1), (3, 4, 1), (2, 3, 2), (3, 2, 2), (2, 2, 3), (3, 3, 3), (3, 1, 2)]
]


@given(
    st.sampled_from(STRUCTURES),
    st.sampled_from(["include", "exclude", "decouple"]),
    st.sampled_from(["pairs", "anchors"]),
    st.tuples(*[st.floats(-1, 1)] * 3),
    st.floats(0, 1),
    st.floats(0.05, 5),
)
def test_of_blocks_is_the_loss_of_the_block_matrix(
    structure, self_pairs, mean, similarities, alpha, tau
):
    if structure.num_instances == 1:
        alpha = 1.0
    if self_pairs != "include" and structure.num_views == 1:
        alpha = 0.0
    loss = SupCL(alpha, tau, self_pairs, mean)
    similarities = Similarities(*map(jnp.asarray, similarities))
    if structure.num_instances == 1:
        similarities = similarities._replace(within=jnp.asarray(1.0))
    if structure.num_views == 1:
        similarities = similarities._replace(view=jnp.asarray(1.0))
    found = loss.of_blocks(similarities, loss.prepare_blocks(structure))
    expected = loss.from_gram(block_gram(structure, *similarities), structure)
    assert abs(found - expected) <= OF_BLOCKS_ULPS * EPS * (1 + 1 / tau)


def test_kinds_without_pairs_shift_no_exponent():
    """A single view has a similarity of 1, and no pair: measured from it all others underflow."""
    structure, tau = ClassStructure.balanced(3, 2), 1e-3
    loss, similarities = SupCL(0.0, tau, "exclude"), Similarities(*jnp.array([1.0, -0.4, -0.3]))
    found = loss.of_blocks(similarities, loss.prepare_blocks(structure))
    assert found == pytest.approx(np.log(4) + 0.1 / tau, rel=1e-12)


BOUND_CELLS = [
    # structure, self pairs, α, τ: spread, collapse, α = 1, view-spread, and two near boundaries
    (ClassStructure.balanced(3, 4), "include", 0.6, 0.3),
    (ClassStructure.balanced(3, 4), "include", 0.3, 0.5),
    (ClassStructure.balanced(3, 4), "include", 1.0, 0.2),
    (ClassStructure.balanced(3, 2, 2), "exclude", 0.05, 0.3),
    (ClassStructure.balanced(3, 2, 2), "exclude", 0.9, 0.5),
    (ClassStructure.balanced(3, 2, 2), "decouple", 0.9, 0.5),
    (ClassStructure.balanced(2, 3, 2), "include", 0.5, 1.0),
]


def linear_forms(shares):
    """(directions, offsets): every quantity is offset + ⟨direction, θ⟩."""
    view, instance, _, mean = np.eye(4)
    forms = {
        "view_variance": (view, 0),
        "delta2": (instance, 0),
        "mean_squared": (mean, 0),
        "within_similarity": (shares.similarity[1], shares.offset[1]),
        "between_similarity": (shares.similarity[2], shares.offset[2]),
    }
    directions, offsets = zip(*(forms[name] for name in QUANTITIES), strict=True)
    return np.array(directions), np.array(offsets)


def bounded(structure, self_pairs, alpha, tau, excess):
    """(bounds at `excess` above the minimum, f, shares)."""
    loss = SupCL(np.array([alpha]), np.array([tau]), self_pairs)
    shares, blocks = variance_simplex(structure), loss.prepare_blocks(structure)
    plain = loss.without_conventions()
    scalar = SupCL(alpha, tau, self_pairs)

    @jax.jit
    def function(theta):
        return scalar.of_blocks(similarities_of(Variances(*theta), *structure.counts), blocks)

    # The level is raised to the loss of the point handed in: hand in one that is below it.
    start = minimise_blocks(function, shares)
    level = float(function(start)) + excess
    bounds = bound_cells(plain, blocks, shares, start[None], np.array([level]))
    return jax.tree.map(lambda leaf: np.asarray(leaf)[0], bounds), function, shares, level, start


def minimise_blocks(function, shares):
    """The minimiser as a general-purpose optimiser finds it."""
    present = np.array(shares.present)

    def embed(part):
        theta = np.zeros(4)
        theta[present] = part
        return theta

    value_and_slope = jax.jit(jax.value_and_grad(function))

    def objective(part):
        value, slope = value_and_slope(embed(part))
        return float(value), np.asarray(slope)[present]

    count = present.sum()
    found = minimize(
        objective,
        np.full(count, 1 / count),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda part: part.sum() - 1},
        options={"ftol": 1e-15, "maxiter": 500},
    )
    theta = np.clip(embed(found.x), 0, 1)
    return theta / theta.sum()


def farthest(function, shares, direction, level, start):
    """The largest ⟨direction, θ⟩ with f(θ) ≤ level, by SLSQP; a point that it proves feasible."""
    present = np.array(shares.present)
    value_and_slope = jax.jit(jax.value_and_grad(function))
    count = present.sum()

    def embed(part):
        theta = np.zeros(4)
        theta[present] = part
        return theta

    best = direction @ start
    for seed in range(3):
        begin = 0.9 * start + 0.1 * np.random.default_rng(seed).dirichlet(np.ones(4)) * present
        found = minimize(
            lambda part: -direction @ embed(part),
            (begin / begin.sum())[present],
            jac=lambda part: -direction[present],
            method="SLSQP",
            bounds=[(0, 1)] * count,
            constraints=[
                {"type": "eq", "fun": lambda part: part.sum() - 1},
                {
                    "type": "ineq",
                    "fun": lambda part: 1e3 * (level - float(value_and_slope(embed(part))[0])),
                    "jac": lambda part: -1e3 * np.asarray(value_and_slope(embed(part))[1])[present],
                },
            ],
            options={"ftol": 1e-14, "maxiter": 300},
        )
        theta = np.clip(embed(found.x), 0, 1)
        theta /= theta.sum()
        # Pull back along the segment to the minimiser until truly feasible: f is convex.
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = 0.5 * (low + high)
            inside = float(value_and_slope(start + middle * (theta - start))[0]) <= level
            low, high = (middle, high) if inside else (low, middle)
        best = max(best, direction @ (start + low * (theta - start)))
    return best


@pytest.mark.parametrize("excess", [pytest.param(1e-2, marks=pytest.mark.slow), 1e-5])
@pytest.mark.parametrize(("structure", "self_pairs", "alpha", "tau"), BOUND_CELLS)
def test_bounds_hold_and_are_tight(structure, self_pairs, alpha, tau, excess):
    """Outer bounds of each quantity, against the farthest feasible point that SLSQP finds."""
    bounds, function, shares, level, start = bounded(structure, self_pairs, alpha, tau, excess)
    assert 0 <= function(start) - bounds.lower <= MISSED
    directions, offsets = linear_forms(shares)
    for index, (direction, offset) in enumerate(zip(directions, offsets, strict=True)):
        here = direction @ start
        up = farthest(function, shares, direction, level, start) - here
        down = farthest(function, shares, -direction, level, start) + here
        found_up = bounds.high[index] - offset - here
        found_down = here + offset - bounds.low[index]
        assert up <= found_up + SHARE
        assert down <= found_down + SHARE
        assert found_up <= TIGHT * up + FLOOR
        assert found_down <= TIGHT * down + FLOOR


@pytest.mark.parametrize(("structure", "self_pairs", "alpha", "tau"), BOUND_CELLS)
def test_bounds_contain_every_sampled_sublevel_point(structure, self_pairs, alpha, tau):
    """Random directions from the minimiser, as far as the level admits."""
    bounds, function, shares, level, start = bounded(structure, self_pairs, alpha, tau, 1e-3)
    rng = np.random.default_rng(0)
    ends = rng.dirichlet(np.full(4, 0.3), size=2000) * shares.present
    ends /= ends.sum(axis=1, keepdims=True)
    scales = 10 ** rng.uniform(-4, 0, size=(2000, 1))
    points = start + scales * (ends - start)
    inside = np.asarray(jax.vmap(function)(points)) <= level
    assert inside.sum() > 100
    points = points[inside]
    directions, offsets = linear_forms(shares)
    quantities = offsets + points @ directions.T
    assert np.all(bounds.low <= quantities)
    assert np.all(quantities <= bounds.high)


def test_a_level_below_the_given_point_is_raised_to_it():
    """Brackets are about embeddings that are no worse than those at hand, so they contain them."""
    structure = ClassStructure.balanced(3, 4)
    loss = SupCL(np.array([0.6]), np.array([0.3]))
    variances = variances_from_gram(ssem_gram(structure, 0.9), structure)
    theta = np.stack(variances)[None]
    bounds = bound_cells(
        loss,
        loss.prepare_blocks(structure),
        variance_simplex(structure),
        theta,
        np.array([-np.inf]),
    )
    delta2 = QUANTITIES.index("delta2")
    assert bounds.low[0, delta2] <= 0.9 <= bounds.high[0, delta2]
    assert bounds.value[0] > bounds.lower[0] + 0.1


@pytest.mark.parametrize(("structure", "self_pairs", "alpha", "tau"), BOUND_CELLS[:5])
def test_values_and_levels_are_on_their_sides(structure, self_pairs, alpha, tau):
    """The lower bound by the rounding of a value, and the level of the point by it, too."""
    loss = SupCL(np.array([alpha]), np.array([tau]), self_pairs)
    given = loss.without_conventions(), loss.prepare_blocks(structure), variance_simplex(structure)
    point = np.stack(np.broadcast_arrays(*theory.variances(structure, loss)), axis=-1)
    low = bound_cells(*given, point, np.array([-np.inf]))
    assert low.rounding > 0
    assert low.value - low.lower >= 0.9 * low.rounding  # which are rounded themselves
    same = bound_cells(*given, point, low.value + low.rounding)
    np.testing.assert_array_equal(low.low, same.low)
    np.testing.assert_array_equal(low.high, same.high)
    above = bound_cells(*given, point, low.value + 2 * low.rounding)
    assert np.all(above.low <= low.low)
    assert np.any(above.low < low.low) or np.any(above.high > low.high)


@pytest.mark.parametrize("structure", STRUCTURES[1:4])
def test_the_eigenvalue_is_that_of_the_dual_matrix(structure):
    """At points that are no optimum, where it is neither 0 nor that of a share alone."""
    loss, simplex = SupCL(0.6, 0.4), variance_simplex(structure)
    plain = jax.tree.map(lambda leaf: jnp.asarray([leaf]), loss)
    for seed in range(3):
        theta = np.random.default_rng(seed).dirichlet(np.ones(4)) * simplex.present
        theta /= theta.sum()
        gram = block_gram(structure, *similarities_of(Variances(*theta), *structure.counts))
        least = float(np.linalg.eigvalsh(np.asarray(dual_of_gram(gram, structure, loss)))[0])
        given = plain, loss.prepare_blocks(structure), simplex
        found = bound_cells(*given, theta[None], np.array([-np.inf])).eigenvalue
        assert found[0] == pytest.approx(structure.num_embeddings * least, rel=1e-12)


def test_bounds_widen_with_the_level():
    """δ² is pinned by curvature, so its width grows like the square root of the excess; the
    squared mean by a slope, so its width grows like the excess."""
    widths = []
    for excess in (1e-8, 1e-6, 1e-4):
        bounds = bounded(ClassStructure.balanced(3, 4), "include", 0.6, 0.3, excess)[0]
        widths.append(dict(zip(QUANTITIES, bounds.high - bounds.low, strict=True)))
    for narrow, wide in itertools.pairwise(widths):
        assert 8 < wide["delta2"] / narrow["delta2"] < 12
        assert 70 < wide["mean_squared"] / narrow["mean_squared"] < 130


@pytest.mark.parametrize("counts", [(2, 3, 2), (4, 3, 3), (50, 2, 1)])
def test_searches_begin_within_the_level(counts):
    """Of cold losses centring ended beyond a wall of exponentials, and some of these brackets were
    .005 wide."""
    structure = ClassStructure.balanced(*counts)
    alpha, tau = np.meshgrid(np.linspace(1 / 16, 1, 16), np.array([0.02, 0.025, 0.03, 0.04]))
    loss = SupCL(alpha.ravel(), tau.ravel())
    points = np.stack(np.broadcast_arrays(*theory.variances(structure, loss)), axis=-1)
    given = loss, loss.prepare_blocks(structure), variance_simplex(structure), points
    least = bound_cells(*given, np.full(len(points), -np.inf))
    found = bound_cells(*given, least.value + least.rounding + 1e-13)
    widths = dict(zip(QUANTITIES, (found.high - found.low).T, strict=True))
    curved = loss.alpha < 1
    assert np.max(widths["within_similarity"][curved]) <= CURVED
    assert np.max(widths["view_variance"]) <= CURVED


def test_one_compilation_for_all_structures_with_views():
    """And one for all without: there the similarity within classes is a multiple of δ²."""
    sizes = []
    for structure in (*STRUCTURES[:2], *STRUCTURES[2:6]):
        loss = SupCL(np.array([0.0]), np.array([0.5]))
        bound_cells(
            loss,
            loss.prepare_blocks(structure),
            variance_simplex(structure),
            np.full((1, 4), 0.25),
            np.array([-np.inf]),
        )
        sizes.append(len(brackets._bound_lanes.ready))
    assert sizes[0] == sizes[1]
    assert len(set(sizes[2:])) == 1


def test_cells_beyond_the_count_change_none_before_them():
    structure, few = ClassStructure.balanced(3, 4), 5
    alpha = np.linspace(0.1, 0.9, 96)
    loss = SupCL(alpha, np.full(96, 0.3))
    points = np.random.default_rng(0).dirichlet(np.ones(4), 96) * [0, 1, 1, 1]
    given = loss.prepare_blocks(structure), variance_simplex(structure), points
    whole = bound_cells(loss, *given, np.full(96, -np.inf))
    part = bound_cells(loss, *given, np.full(96, -np.inf), count=few)
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_array_equal(one[:few], other[:few])
    assert not part.value[brackets.LANES :].any()  # groups without such a cell are left out


@pytest.mark.parametrize("self_pairs", ["include", "exclude", "decouple"])
@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_derivatives_of_a_contrast_are_those_of_its_value(self_pairs, tau):
    structure = ClassStructure.balanced(3, 4, 2)
    loss = SupCL(0.4, tau, self_pairs)
    blocks, along = loss.prepare_blocks(structure), [(1.0, -2.0, 0.5), (0.0, 1.0, 3.0)]
    for seed in range(5):
        near = [jnp.asarray(each) for each in np.random.default_rng(seed).uniform(-1, 1, 3)]
        found = brackets._derivatives_of_contrast(loss, blocks, along)(*near)
        expected = brackets._derivatives(loss, blocks, along)(*near)
        for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
            assert abs(one - other) <= OF_BLOCKS_ULPS * EPS * (1 + 1 / tau) ** 2


class Doubled(SupCL):
    """With a form of three similarities that is its own."""

    def of_blocks(self, similarities, blocks):
        return 2 * super().of_blocks(similarities, blocks)


@gram_loss(convex=True, symmetric=True)
def steep(gram, structure):
    """Infinite where two embeddings coincide."""
    return -jnp.mean(jnp.log(1 - gram + jnp.eye(len(gram))))


def _local(loss, structure, theta=(0.2, 0.3, 0.3, 0.2)):
    """f about a point, its slopes there, and the sums of their sizes at equal similarities."""
    blocks, simplex = loss.prepare_blocks(structure), variance_simplex(structure)
    point = jnp.asarray(theta)[barrier.ORDER]

    def terms(at):
        slopes = jax.grad(lambda one: loss.of_blocks(one, blocks))(Similarities(*at))
        return barrier.total(map(jnp.abs, slopes))

    near = similarities_of(Variances(*map(jnp.asarray, theta)), *structure.counts)
    local = brackets._expand(loss, blocks, simplex)(tuple(point))
    return local, terms(near), [terms([jnp.asarray(each)] * 3) for each in (1.0, 0.0, 0.5)]


def test_a_form_of_its_own_is_differentiated_as_it_is():
    structure = ClassStructure.balanced(3, 2, 2)
    (one, *_), (other, *_) = (_local(loss(0.4, 0.3), structure) for loss in (SupCL, Doubled))
    for name in ("value", "slope", "curvature"):
        twice = 2 * np.asarray(getattr(one, name))
        np.testing.assert_allclose(getattr(other, name), twice, rtol=1e-12)


@pytest.mark.parametrize(
    ("loss", "size"), [(Spectral(0.5, 2.0), None), (AlignUniform(), 12), (steep(), 12)]
)
def test_margins_of_other_losses_count_terms_where_nothing_cancels(loss, size):
    structure = ClassStructure.balanced(3, 2, 2)
    local, here, (together, apart, half) = _local(loss, structure)
    largest = max(together, apart)
    assert here != pytest.approx(float(largest))
    assert np.isfinite(largest) == (not isinstance(loss, steep))
    magnitude = loss.magnitude(local.value, here)
    expected = rounding.block_other(size, magnitude, largest if np.isfinite(largest) else half)
    assert local.rounding / expected == pytest.approx(1, rel=1e-9)


def test_a_cut_where_the_loss_is_infinite_bounds_nothing():
    one, none = jnp.ones(()), jnp.zeros(())
    local, aim = barrier.Local(one / 0, (one, none, none), (), none), (one, none, none)
    assert barrier._cut(local, (one / 4,) * 4, none, aim, one) == np.inf


def _cut_error(structure, loss, theta):
    """How much a computed cut promises too much, at most, and the margin that is allowed for it.

    The loss rounds similarities to 1 - s' for some s'. A tangent of f at s' bounds f from below
    everywhere, so what counts is by how much the computed cut exceeds that tangent at a vertex of
    the simplex; in 200 bits.
    """
    shares = variance_simplex(structure)
    point = jnp.asarray(theta)[barrier.ORDER]
    local = brackets._expand(loss, loss.prepare_blocks(structure), shares)(tuple(point))
    free, rest = barrier.ORDER[barrier.FREE], barrier.ORDER[3:]
    rates = shares.similarity[:, free] - shares.similarity[:, rest]
    bases = shares.offset + shares.similarity[:, rest[0]]
    near = [
        base + barrier.dot(row, point[barrier.FREE]) for base, row in zip(bases, rates, strict=True)
    ]
    gaps = [float(1 - each) for each in near]
    before, ctx.prec = ctx.prec, 200
    try:
        rounded = [1 - arb(gap) for gap in gaps]
        value, slopes = _exact(structure, loss, rounded)
        error = arb(0)
        for vertex in np.eye(4)[:, :3]:  # all of one share, in the order of the free ones; or none
            cut, tangent = arb(float(local.value)), value
            for k, slope in enumerate(local.slope[:3]):
                cut += arb(float(slope)) * (arb(float(vertex[k])) - arb(float(point[k])))
            for i, slope in enumerate(slopes):
                there = _similarity(structure, i, vertex)
                tangent += slope * (there - rounded[i])
            error = max(error, cut - tangent, key=float)
        return float(error), float(local.rounding)
    finally:
        ctx.prec = before


def _similarity(structure, which, free):
    """A similarity at shares of view, instance and mean, the class having the rest, exactly."""
    m, n, p = structure.counts
    view, instance, mean = (arb(float(share)) for share in free)
    rest = 1 - view - instance - mean
    return (
        1 - view * p / max(p - 1, 1),
        1 - view - instance * n / max(n - 1, 1),
        mean - rest / (m - 1),
    )[which]


def _exact(structure, loss, similarities):
    """f and its slopes along the three similarities, in balls."""
    m, n, p = structure.counts
    alpha, tau, included = arb(loss.alpha), arb(loss.temperature), loss.self_pairs == "include"
    views = 0 if loss.self_pairs == "decouple" else p - 1
    counts = (int(included), views, p * (n - 1), p * n * (m - 1))
    gaps = [arb(0), *(1 - similarity for similarity in similarities)]
    terms = [count * (-gap / tau).exp() for count, gap in zip(counts, gaps, strict=True)]
    total = sum(terms, arb(0))
    pulls = (arb(0), alpha * (arb(p - 1) / p if included else 1), 1 - alpha, arb(0))
    value = total.log() + sum((w * g for w, g in zip(pulls, gaps, strict=True)), arb(0)) / tau
    slopes = [(term / total - w) / tau for term, w in zip(terms, pulls, strict=True)]
    return value, slopes[1:]


def _draws(seed, count, coldest):
    random = np.random.default_rng(seed)
    for _ in range(count):
        counts = [int(number) for number in random.integers(2, 20, 2)]
        tau = float(np.exp(random.uniform(np.log(coldest), np.log(5))))
        # Mostly small shares of some kinds: there optima lie, and the gradient cancels.
        theta = random.dirichlet([0.2] * 4)
        yield (
            (counts[0], counts[1], int(random.integers(2, 4))),
            float(random.uniform()),
            tau,
            theta,
        )


def test_the_bound_of_a_cut_counts_its_own_roundings():
    """Of loose cuts and of those that level all residuals; also where shares do not add up to 1, as
    after many steps. In fractions."""
    random, count, allowed = np.random.default_rng(0), 400, 1e-7
    shares = random.dirichlet([0.3] * 4, count)
    shares[:, 3] += 1e-13 * random.normal(size=count)
    slopes, aims = random.normal(size=(2, count, 3))
    (value, level), tilts = 1e3 * random.normal(size=(2, count)), random.uniform(0.1, 5, count)
    slopes[::2], level[::2] = (tilts[:, None] * aims)[::2], value[::2] - allowed
    margin = allowed + rounding.gamma(5) * np.abs(slopes).max(axis=1)  # as in `block_slope`
    margin[::2] = allowed

    @jax.jit
    @jax.vmap
    def cut(value, slope, margin, shares, level, aim, tilt):
        local = barrier.Local(value, tuple(slope), (), margin)
        return barrier._cut(local, tuple(shares), level, tuple(aim), tilt)

    found = np.asarray(cut(value, slopes, margin, shares, level, aims, tilts))
    for k, end in enumerate(found):
        given = (slopes[k], aims[k], shares[k, :3], [value[k], level[k], tilts[k], allowed])
        g, d, theta, (f, c, t, more) = ([Fraction(float(x)) for x in part] for part in given)
        residual = [*(a - t * b for a, b in zip(g, d, strict=True)), Fraction(0)]
        theta = [*theta, 1 - sum(theta)]
        missing = sum(x * (r - min(residual)) for x, r in zip(theta, residual, strict=True))
        reached = sum(x * b for x, b in zip(theta, d, strict=False))
        bound = reached + (c - f + missing + more) / t
        assert bound <= Fraction(float(end)) <= bound + Fraction(1, 10**10)


@pytest.mark.parametrize("self_pairs", ["include", "exclude", "decouple"])
def test_no_cut_promises_more_than_its_margin_allows(self_pairs):
    """Every bracket rests on cuts, and on this margin for their rounding."""
    worst = 0.0
    for counts, alpha, tau, theta in _draws(3, 40, 0.01):
        loss = SupCL(alpha, tau, self_pairs)
        error, margin = _cut_error(ClassStructure.balanced(*counts), loss, theta)
        worst = max(worst, error / margin)
    assert worst <= 1
    # The margin is of the size of the rounding, here and in what follows; seen: .044 and more.
    assert worst > 0.03
