"""The product of spheres against exact arithmetic, and derivatives against Taylor's theorem."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import given
from hypothesis import strategies as st

from ssem_jax.geometry import inner, normalize, project, random_points, rescaled, retract
from ssem_jax.losses import SupCL
from ssem_jax.problem import ClassStructure
from ssem_jax.solver import newton
from ssem_jax.solver.objective import of_function

EPS = np.finfo(float).eps

UNIT = 4 * EPS
"""A norm of d ≤ 40 squares is right to a few ulps, and so is a row divided by it."""

TANGENT = 8 * EPS
"""⟨u, v⟩ of a projected row, relative to what was projected: the rounding of one dot product."""

DISPLACEMENT = 8 * EPS
"""Six roundings make a displacement, and nothing in it cancels beyond a factor of √2."""

SLOPE = 0.1
"""Deviation of a Taylor slope from an integer: steps go down to 1e-3, where the next term still
bends it by a few percent, and not lower, where rounding would."""

STEPS = np.geomspace(1e-3, 1e-2, 8)

BITS = 2048
"""Ball arithmetic precision: u + v with |v| = 1e-200 needs 700 bits before its first digit."""

SHAPES = st.sampled_from([(1, 2), (6, 3), (4, 40)])
SEEDS = st.integers(0, 2**31 - 1)

CASES = [
    (ClassStructure((2, 2), 2), SupCL(0.3, 0.4, "include", "pairs")),
    (ClassStructure((2, 2), 2), SupCL(0.3, 0.4, "exclude", "pairs")),
    (ClassStructure((5, 3)), SupCL(0.6, 0.5, "include", "anchors")),
    (ClassStructure((3, 1), 2), SupCL(0.5, 1.0, "exclude", "anchors")),
]


def gaussian(num_rows, dim, seed):
    return np.random.default_rng(seed).normal(size=(num_rows, dim))


def point_and_tangent(num_rows, dim, seed, length=1.0):
    """A point, and a tangent vector whose rows all have one length."""
    rng = np.random.default_rng(seed)
    point = normalize(rng.normal(size=(num_rows, dim)))
    vectors = normalize(project(point, rng.normal(size=(num_rows, dim))))
    # Again, for what is left of a row that was nearly radial may not be tangent.
    return point, length * normalize(project(point, vectors))


def taylor_slope(errors, steps=STEPS):
    """The exponent k of errors that fall like stepᵏ."""
    return np.polyfit(np.log(steps), np.log(np.abs(errors)), 1)[0]


def loss_of(loss, structure):
    prepared = loss.prepare(structure)
    return lambda gram: loss.value(gram, prepared)


class Captured(Exception):
    """Carries the Hessian that the solver hands to its conjugate gradients."""


def riemannian_hessian(value, point, monkeypatch):
    """The solver's own Hessian product at a point."""

    def capture(_, hessian, *__):
        raise Captured(hessian)

    with monkeypatch.context() as patch, jax.disable_jit():
        patch.setattr(newton, "_truncated_cg", capture)
        with pytest.raises(Captured) as caught:
            newton.trust_region(of_function(value), point, 0.0)
    return caught.value.args[0]


@given(SHAPES, SEEDS)
def test_projection_is_idempotent_and_orthogonal(shape, seed):
    num_rows, dim = shape
    point = normalize(gaussian(num_rows, dim, seed))
    vectors = gaussian(num_rows, dim, seed + 1)
    tangent = project(point, vectors)
    size = np.linalg.norm(vectors, axis=1)
    assert np.all(np.abs(np.sum(point * tangent, axis=1)) <= TANGENT * size)
    assert np.abs(project(point, tangent) - tangent).max() <= TANGENT * size.max()
    # Orthogonal: what is taken away is normal to every tangent vector.
    other = project(point, gaussian(num_rows, dim, seed + 2))
    assert abs(inner(vectors - tangent, other)) <= TANGENT * np.linalg.norm(other) * size.max() * 6


def test_projection_keeps_tangent_vectors_and_removes_radial_ones():
    point, tangent = point_and_tangent(5, 7, 0)
    assert np.abs(project(point, tangent) - tangent).max() <= TANGENT
    assert np.abs(project(point, 3 * point)).max() <= 3 * TANGENT


@given(SHAPES, SEEDS)
def test_random_points_lie_on_the_sphere(shape, seed):
    points = random_points(jax.random.key(seed), *shape)
    assert points.shape == shape
    assert points.dtype == jnp.float64
    assert np.abs(np.linalg.norm(points, axis=1) - 1).max() <= UNIT


def test_random_points_are_uniform():
    num_points, dim = 4000, 3
    points = np.asarray(random_points(jax.random.key(0), num_points, dim))
    # Mean 0 and covariance I/d, to five standard deviations of an average over the points.
    assert np.abs(points.mean(axis=0)).max() < 5 / np.sqrt(dim * num_points)
    assert np.abs(points.T @ points / num_points - np.eye(dim) / dim).max() < 5 / np.sqrt(
        4 * num_points
    )
    # On a sphere in R³ each coordinate is uniform on [-1, 1] (Archimedes).
    quantiles = np.quantile(points[:, 0], [0.25, 0.5, 0.75])
    assert np.abs(quantiles - [-0.5, 0, 0.5]).max() < 5 * 0.5 / np.sqrt(num_points) * 2


def test_random_points_depend_on_the_key_and_take_a_dtype():
    first, second = (random_points(jax.random.key(seed), 3, 4) for seed in (0, 1))
    assert not np.allclose(first, second)
    assert random_points(jax.random.key(0), 3, 4, jnp.float32).dtype == jnp.float32


def test_normalize_keeps_zero_rows():
    points = normalize(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert np.abs(points[0] - np.array([0.6, 0.8])).max() <= UNIT
    assert np.array_equal(points[1], [0, 0])


@pytest.mark.parametrize(
    ("dtype", "lengths"),
    [
        (np.float32, [1e-37, 1e-30, 1e-19, 1.0, 1e19, 1e30, 2e38]),
        (np.float64, [2e-307, 1e-160, 1.0, 1e160, 1e308]),
    ],
)
def test_normalize_takes_rows_of_any_length(dtype, lengths):
    """Squares of the first and the last ones are no numbers of their type."""
    rows = np.outer(lengths, [0.6, 0.0, -0.8]).astype(dtype)
    unit = 4 * np.finfo(dtype).eps
    for each in (normalize, jax.jit(normalize)):
        assert np.abs(each(rows) - np.array([[0.6, 0.0, -0.8]])).max() <= unit
    slope = jax.jit(jax.grad(lambda rows: jnp.sum(normalize(rows)[:, 0])))(rows)
    exact = np.outer(1 / np.asarray(lengths), [0.64, 0.0, 0.48])
    kept = np.abs(exact) < np.finfo(dtype).max
    kept &= np.abs(exact) > np.finfo(dtype).tiny
    assert np.all(np.abs(slope - exact)[kept] <= 4 * unit * np.abs(exact)[kept])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normalize_gives_the_bits_of_the_plain_formula(dtype):
    lengths = np.exp(np.random.default_rng(0).normal(0, 4, size=(500, 1)))
    rows = (gaussian(500, 7, 1) * lengths).astype(dtype)
    plain = jax.jit(lambda rows: rows / jnp.sqrt(jnp.sum(rows * rows, 1, keepdims=True)))
    np.testing.assert_array_equal(jax.jit(normalize)(rows), plain(rows))


def test_rows_without_a_direction():
    rows = jnp.array([[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
    found = normalize(rows)
    assert np.array_equal(found[0], [0, 0])
    assert np.all(np.isnan(found[1]))
    assert np.isnan(found[2, 0])
    slope = jax.grad(lambda rows: jnp.sum(normalize(rows) * jnp.arange(1.0, 3)[None]))(rows[:1])
    assert np.array_equal(slope, [[0, 0]])


def test_rescaled_rows_are_normal_numbers():
    rows = np.outer([5e-324, 1e-310, 1.5, 1.7e308], [0.0, 1.0])
    found = rescaled(rows)
    assert np.array_equal(found > 0, rows > 0)
    assert np.all((found[:, 1] >= 0.5) & (found[:, 1] < 1))
    assert np.array_equal(found[:, 1], np.frexp(rows[:, 1])[0])


@pytest.mark.parametrize("seed", range(4))
def test_retraction_is_second_order(seed):
    """It leaves the geodesic cos(t)·u + sin(t)·v with the third power of the step."""
    point, tangent = point_and_tangent(4, 6, seed)
    errors = [
        np.linalg.norm(
            retract(point, step * tangent)[0] - (np.cos(step) * point + np.sin(step) * tangent)
        )
        for step in STEPS
    ]
    assert abs(taylor_slope(errors) - 3) < SLOPE
    # t - t³/3 + … against t - t³/6 + …: the angle atan(t) falls short by t³/3 on each row.
    assert np.allclose(errors, STEPS**3 / 3 * np.sqrt(4), rtol=0.01)


@given(SHAPES, SEEDS, st.floats(-8, 1))
def test_retraction_normalises_the_moved_point(shape, seed, log_length):
    num_rows, dim = shape
    point, tangent = point_and_tangent(num_rows, dim, seed, length=10**log_length)
    moved, displacement = retract(point, tangent)
    assert np.abs(np.linalg.norm(moved, axis=1) - 1).max() <= UNIT
    assert np.abs(moved - normalize(point + tangent)).max() <= 2 * UNIT
    assert np.abs(point + displacement - moved).max() <= 2 * UNIT


@pytest.mark.parametrize("length", [1e2, 1.0, 1e-3, 1e-8, 1e-15, 1e-40, 1e-150, 1e-200])
def test_displacement_keeps_its_relative_accuracy(length):
    """Against ball arithmetic; `moved - point` has no right digit below 1e-16."""
    ctx.prec = BITS
    point, tangent = point_and_tangent(5, 8, 3, length)
    displacement = np.asarray(retract(point, tangent)[1])
    for row, step, found in zip(np.asarray(point), np.asarray(tangent), displacement, strict=True):
        exact_row, exact_step = [arb(float(x)) for x in row], [arb(float(x)) for x in step]
        stretch = (1 + sum((x * x for x in exact_step), arb(0))).sqrt()
        exact = [(u + v) / stretch - u for u, v in zip(exact_row, exact_step, strict=True)]
        error = [float(arb(float(x)) - y) for x, y in zip(found, exact, strict=True)]
        assert np.linalg.norm(np.array(error) / length) <= DISPLACEMENT * (
            np.linalg.norm(np.array([float(y / length) for y in exact]))
        )


def test_inner_is_the_euclidean_inner_product():
    left, right = gaussian(3, 4, 0), gaussian(3, 4, 1)
    assert np.isclose(inner(left, right), np.trace(left.T @ right), rtol=8 * EPS)


@pytest.mark.parametrize(("structure", "loss"), CASES)
def test_gradient_and_hessian_have_the_taylor_slopes(structure, loss, monkeypatch):
    """f(R(tV)) - f leaves errors of t² after the gradient and of t³ after the Hessian."""
    value = loss_of(loss, structure)
    point, tangent = point_and_tangent(structure.num_embeddings, 5, 1)
    there = newton.evaluate(of_function(value), point)
    slope = inner(there.gradient, tangent)
    curvature = inner(tangent, riemannian_hessian(value, point, monkeypatch)(tangent))

    @jax.jit
    def rise(step):
        moved = retract(point, step * tangent)[0]
        return value(moved @ moved.T) - there.value

    rises = np.array([rise(step) for step in STEPS])
    linear = rises - STEPS * slope
    assert abs(taylor_slope(linear) - 2) < SLOPE
    assert abs(taylor_slope(linear - STEPS**2 / 2 * curvature) - 3) < SLOPE


@pytest.mark.parametrize(("structure", "loss"), CASES)
def test_hessian_is_the_derivative_of_the_gradient(structure, loss, monkeypatch):
    """Π of a central difference of the gradient along the retraction: an error of t²."""
    value = loss_of(loss, structure)
    point, tangent = point_and_tangent(structure.num_embeddings, 5, 2)
    image = riemannian_hessian(value, point, monkeypatch)(tangent)
    gradient = jax.jit(lambda where: newton.evaluate(of_function(value), where).gradient)

    def error(step):
        ahead, behind = (gradient(retract(point, sign * step * tangent)[0]) for sign in (1, -1))
        return np.linalg.norm(project(point, ahead - behind) / (2 * step) - image)

    assert abs(taylor_slope([error(step) for step in STEPS]) - 2) < SLOPE


@pytest.mark.parametrize(("structure", "loss"), CASES)
def test_hessian_is_self_adjoint_and_tangent(structure, loss, monkeypatch):
    value = loss_of(loss, structure)
    point, left = point_and_tangent(structure.num_embeddings, 5, 3)
    right = project(point, gaussian(structure.num_embeddings, 5, 4))
    hessian = riemannian_hessian(value, point, monkeypatch)
    images = hessian(left), hessian(right)
    # Products of vectors of norm ≤ 10 with a Hessian of norm ≤ 10.
    assert abs(inner(left, images[1]) - inner(images[0], right)) < 100 * 8 * EPS
    assert np.abs(np.sum(point * images[0], axis=1)).max() < 10 * TANGENT


@pytest.mark.parametrize(("structure", "loss"), CASES)
def test_gradient_is_the_projected_euclidean_gradient(structure, loss):
    value = loss_of(loss, structure)
    point, _ = point_and_tangent(structure.num_embeddings, 5, 5)
    there = newton.evaluate(of_function(value), point)
    euclidean = jax.grad(lambda rows: value(rows @ rows.T))(point)
    assert np.abs(there.gradient - project(point, euclidean)).max() < 64 * EPS
    assert np.isclose(there.gradient_norm, np.linalg.norm(there.gradient), rtol=8 * EPS)
    assert np.allclose(there.multipliers[:, 0], np.sum(euclidean * point, axis=1), atol=64 * EPS)


@pytest.mark.parametrize(("structure", "loss"), CASES)
def test_hessian_along_an_unused_dimension_is_twice_the_dual_matrix(structure, loss, monkeypatch):
    """Which is why a negative eigenvalue of S = sym ∇L - Diag(λ) is a way out of a saddle."""
    value = loss_of(loss, structure)
    num_points = structure.num_embeddings
    point, _ = point_and_tangent(num_points, 4, 6)
    point = jnp.pad(point, ((0, 0), (0, 1)))
    along = np.zeros((num_points, 5))
    along[:, -1] = gaussian(num_points, 1, 7)[:, 0]
    gram = point @ point.T
    slope = jax.grad(value)(gram)
    slope = 0.5 * (slope + slope.T)
    dual = slope - np.diag(np.sum(slope * gram, axis=1))
    image = riemannian_hessian(value, point, monkeypatch)(along)
    assert np.abs(image - 2 * dual @ along).max() < 64 * EPS
