"""Linear programming bounds of codes: what proves them, whom they fit, that nothing beats them."""

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.special import eval_chebyt, eval_gegenbauer

from ssem_jax.balls import code_bound, enclose_closed_form, enclose_loss, least_in_dimension
from ssem_jax.balls.codes import LARGEST_DEGREE, gauss_nodes, strength
from ssem_jax.losses import SupCL
from ssem_jax.problem import ClassStructure, Problem

TEMPERATURES = (0.1, 0.3, 0.5, 1.0, 2.0)
SAME = 1e-9
GOLDEN = (1 + 5**0.5) / 2


def simplex(size):
    return (np.eye(size) - 1 / size) / np.sqrt(1 - 1 / size)


def orthoplex(dim):
    return np.concatenate([np.eye(dim), -np.eye(dim)])


def polygon(size):
    angles = 2 * np.pi * np.arange(size) / size
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def icosahedron():
    corners = np.array([(0, a, b * GOLDEN) for a in (1, -1) for b in (1, -1)])
    turned = np.concatenate([np.roll(corners, k, axis=1) for k in range(3)])
    return turned / np.linalg.norm(corners[0])


KNOWN = {
    "triangle": (simplex(3), 2),
    "tetrahedron": (simplex(4), 3),
    "simplex of 6": (simplex(6), 7),
    "square": (orthoplex(2), 2),
    "octahedron": (orthoplex(3), 3),
    "16-cell": (orthoplex(4), 4),
    "icosahedron": (icosahedron(), 3),
    "heptagon": (polygon(7), 2),
    "polygon of 12": (polygon(12), 2),
}


def loss_of(points, tau):
    return np.mean(np.log(np.exp((points @ points.T - 1) / tau).sum(1)))


def gegenbauer(degree, dim, t):
    """P_k of R^d with P_k(1) = 1."""
    if dim == 2:
        return eval_chebyt(degree, t)
    return eval_gegenbauer(degree, dim / 2 - 1, t) / eval_gegenbauer(degree, dim / 2 - 1, 1.0)


@pytest.mark.parametrize("name", KNOWN)
def test_known_codes_are_best_in_their_dimension_at_every_temperature(name):
    points, dim = KNOWN[name]
    for tau in TEMPERATURES:
        bound = code_bound(len(points), dim, tau)
        assert abs(loss_of(points, tau) - bound.loss) < SAME
        energy = np.exp((points @ points.T - 1) / tau).sum(1).mean() - 1
        assert abs(energy - bound.energy) < SAME


@pytest.mark.parametrize(("size", "dim"), [(5, 3), (8, 3), (6, 4), (24, 4), (9, 2), (3, 5)])
def test_no_points_beat_the_bound(size, dim):
    rng = np.random.default_rng(size)
    for tau in TEMPERATURES:
        bound = code_bound(size, dim, tau)
        for _ in range(20):
            points = rng.normal(size=(size, dim))
            points /= np.linalg.norm(points, axis=1, keepdims=True)
            assert loss_of(points, tau) >= bound.loss


def test_a_code_that_is_moved_a_little_is_above_the_bound():
    """Planted: at 1e-4 from the icosahedron the loss is higher by more than `SAME`."""
    points = icosahedron() + 1e-4 * np.random.default_rng(0).normal(size=(12, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    assert loss_of(points, 0.3) - code_bound(12, 3, 0.3).loss > SAME


@pytest.mark.parametrize(("size", "dim"), [(5, 3), (8, 3), (12, 3), (7, 2), (24, 4)])
def test_the_polynomial_lies_under_the_kernel_and_is_the_best_of_its_degree(size, dim):
    tau, grid = 0.5, np.linspace(-1, 1, 801)
    bound = code_bound(size, dim, tau)
    basis = np.array([gegenbauer(k, dim, grid) for k in range(bound.degree + 1)])
    kernel = np.exp((grid - 1) / tau)
    assert min(bound.coefficients) >= 0
    assert np.all(bound.coefficients @ basis <= kernel + 1e-14)
    # An independent linear program, whose constraints on a grid leave it a little more room.
    objective = 1.0 - size * (np.arange(bound.degree + 1) == 0)
    free = linprog(objective, basis.T, kernel, bounds=(0, None))
    assert bound.energy <= -free.fun <= bound.energy + 1e-4


def test_degrees_are_those_of_levenshtein():
    assert [strength(size, 3) for size in (2, 4, 5, 6, 7, 9, 10, 12, 13)] == [
        *(1, 1, 2, 2, 3, 3, 4, 4, 5),
    ]
    assert [strength(size, 2) for size in range(2, 8)] == [1, 1, 2, 3, 4, 5]


def test_nodes_are_the_products_of_sharp_codes():
    for (points, dim), degree in zip(
        (KNOWN["icosahedron"], KNOWN["heptagon"]), (4, 5), strict=True
    ):
        products = np.unique((points @ points.T).round(9))[:-1]
        assert np.allclose(sorted(gauss_nodes(len(points), dim, degree)), products)


def test_many_points_have_a_bound_of_limited_degree():
    bound = code_bound(300, 2, 0.5)
    assert bound.degree == LARGEST_DEGREE
    assert bound.loss <= loss_of(polygon(300), 0.5) <= bound.loss + SAME


def test_copies_add_their_logarithm():
    once, often = code_bound(4, 2, 0.5), code_bound(4, 2, 0.5, copies=3)
    assert often.loss == pytest.approx(once.loss + np.log(3), abs=1e-14)


@pytest.mark.parametrize(("n", "p"), [(2, 1), (3, 2), (4, 3)])
def test_classes_and_views_that_part_are_above_the_bound(n, p):
    """α = 0 and 1 of whole embeddings, by definition, at points that need not coincide."""
    m, d, tau = 3, 2, 0.4
    rng = np.random.default_rng(0)
    labels, instances = np.repeat(np.arange(m), n * p), np.repeat(np.arange(m * n), p)
    same = instances[:, None] == instances
    sup = (labels[:, None] == labels) & ~same
    for spread in (0.0, 0.05, 0.5):
        centres = polygon(m)[labels]
        points = centres + spread * rng.normal(size=(m * n * p, d))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        gram = points @ points.T / tau
        rows = np.log(np.exp(gram).sum(1, keepdims=True)) - gram
        assert rows[sup].mean() >= code_bound(m, d, tau, n * p).loss - 1e-14
        assert rows[same].mean() >= code_bound(m * n, d, tau, p).loss - 1e-14


def bound_between(dim):
    """Three classes of four instances, α = 0.6, τ = 1/2."""
    loss = SupCL(np.array([0.6]), np.array([0.5]))
    return least_in_dimension(Problem(ClassStructure.balanced(3, 4), dim, loss))[0]


def test_chords_bound_what_is_between_both_ends():
    """The best of 500 descents in the plane has 1.46944; all dimensions admit 1.37973."""
    everywhere = enclose_closed_form(3, 4, 1, 0.6, 0.5).upper
    assert everywhere + 0.04 < bound_between(2) < 1.46944
    # Where the ends give away more than they know, a bound of all dimensions is the better one.
    assert everywhere - 0.03 < bound_between(8) < everywhere


def test_no_embeddings_in_the_plane_are_below_a_chord():
    rng, structure = np.random.default_rng(1), ClassStructure((2, 2), 2)
    for alpha in (0.1, 0.7):
        loss = SupCL(np.array([alpha]), np.array([0.3]))
        bound = least_in_dimension(Problem(structure, 2, loss))[0]
        for spread in (0, 0.3, 3):
            rows = np.repeat([[1.0, 0], [-1, 0]], 4, axis=0) + spread * rng.normal(size=(8, 2))
            assert enclose_loss(rows, structure, SupCL(alpha, 0.3)) > bound


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 3, 0.5), "num_points must be an integer of at least 2"),
        ((3, 1, 0.5), "dim must be an integer of at least 2"),
        ((3, 2, 0.0), "temperature must be positive and finite; got 0.0"),
        ((3, 2, 0.5, 0), "copies must be an integer of at least 1"),
    ],
)
def test_what_is_no_code_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        code_bound(*arguments)
