"""Metrics against loops over the definition, their identities, and planted geometries."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from beartype import beartype
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import jaxtyped
from oracles import block_average, labels
from scipy.optimize import minimize_scalar

from ssem_jax import geometry
from ssem_jax.geometry import Variances, block_gram, ssem_embeddings, ssem_gram
from ssem_jax.problem import ClassStructure

ROUNDING = 2e-15
"""Averages of at most 18² numbers of size 1: some ten eps."""

RELATIVE = 1e-12
"""Sums of squares keep relative accuracy; a planted angle of 1e-9 costs eps/1e-9² in the norm of
its cosine, but nothing in its sine, so only some eps·1e3 of averaging remain."""

MINIMISER = 1e-7
"""Brent's method finds the minimum of a smooth function to the square root of eps."""

BALANCED = [ClassStructure.balanced(m, n, p) for m, n, p in ((2, 2, 1), (3, 2, 3), (2, 1, 2))]
STRUCTURES = [*BALANCED, ClassStructure((1, 4, 2), 2)]
SPREAD = [structure for structure in BALANCED if structure.num_instances > 1]
UNBALANCED = STRUCTURES[-1]


def checked(function):
    """Compiled once for each structure, annotated shapes checked."""
    return jax.jit(jaxtyped(typechecker=beartype)(function))


variances = checked(geometry.variances)
class_variances = checked(geometry.class_variances)
variances_from_gram = checked(geometry.variances_from_gram)
class_means = checked(geometry.class_means)
class_mean_cosines = checked(geometry.class_mean_cosines)
class_similarities = checked(geometry.class_similarities)
block_similarities = checked(geometry.block_similarities)
fit_delta2 = checked(geometry.fit_delta2)
distance_to_ssem = checked(geometry.distance_to_ssem)


family = jax.jit(ssem_embeddings, static_argnums=(0, 1, 2))


def random_embeddings(structure, seed=0, dim=3):
    rows = np.random.default_rng(seed).normal(size=(structure.num_embeddings, dim)) + 0.3
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def by_definition(embeddings, structure):
    """Every variance as a mean of squared distances, row by row."""
    rows, u = labels(structure), np.asarray(embeddings)
    mean = u.mean(axis=0)
    of_class = [np.mean([u[j] for j, s in enumerate(rows) if s[0] == r[0]], axis=0) for r in rows]
    of_instance = [
        np.mean([u[j] for j, s in enumerate(rows) if s[:2] == r[:2]], axis=0) for r in rows
    ]

    def spread(points, centres, k=None):
        chosen = [i for i, row in enumerate(rows) if k is None or row[0] == k]
        return np.mean([np.sum((points[i] - centres[i]) ** 2) for i in chosen])

    everywhere = [mean] * len(rows)
    whole = {
        "view": spread(u, of_instance),
        "delta2": spread(of_instance, of_class),
        "between": spread(of_class, everywhere),
        "mean_squared": mean @ mean,
        "within": spread(u, of_class),
        "total": spread(u, everywhere),
    }
    classes = range(structure.num_classes)
    each = {"view": (u, of_instance), "delta2": (of_instance, of_class), "within": (u, of_class)}
    parts = {name: [spread(pair[0], pair[1], k) for k in classes] for name, pair in each.items()}
    return whole, parts, np.array([of_class[[r[0] for r in rows].index(k)] for k in classes])


# ----------------------------------------------------------------------------------- variances


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_variances_and_means_are_their_definitions(structure):
    embeddings = random_embeddings(structure)
    whole, parts, means = by_definition(embeddings, structure)
    found, by_class = variances(embeddings, structure), class_variances(embeddings, structure)
    of_gram = variances_from_gram(embeddings @ embeddings.T, structure)
    for name, expected in whole.items():
        np.testing.assert_allclose(getattr(found, name), expected, atol=ROUNDING)
        np.testing.assert_allclose(getattr(of_gram, name), expected, atol=ROUNDING)
    for name, expected in parts.items():
        np.testing.assert_allclose(getattr(by_class, name), expected, atol=ROUNDING)
    np.testing.assert_allclose(class_means(embeddings, structure), means, atol=ROUNDING)
    directions = means / np.linalg.norm(means, axis=1, keepdims=True)
    cosines = class_mean_cosines(embeddings, structure)
    np.testing.assert_allclose(cosines, directions @ directions.T, atol=4 * ROUNDING)


@given(
    seed=st.integers(0, 10**6),
    structure=st.sampled_from([BALANCED[1], UNBALANCED]),
    dim=st.sampled_from([1, 4]),
)
def test_variances_add_up_and_ignore_rotations(seed, structure, dim):
    embeddings = random_embeddings(structure, seed, dim)
    found = variances(embeddings, structure)
    assert found.total == pytest.approx(float(found.between + found.within), abs=ROUNDING)
    assert found.within == pytest.approx(float(found.delta2 + found.view), abs=ROUNDING)
    assert found.total + found.mean_squared == pytest.approx(1, abs=ROUNDING)
    share = np.asarray(structure.sizes) / structure.total_instances
    within = class_variances(embeddings, structure).within
    assert found.within == pytest.approx(float(share @ within), abs=ROUNDING)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))
    np.testing.assert_allclose(variances(embeddings @ rotation, structure), found, atol=ROUNDING)


def test_tiny_variances_keep_their_relative_accuracy():
    angle = 1e-9
    # Two classes at opposite poles; in each, two instances at ± angle.
    angles = np.array([angle, -angle, np.pi + angle, np.pi - angle])
    signs = np.sign(np.cos(angles))[:, None]
    u = signs * np.stack([np.cos(angle) * np.ones(4), np.tile([1, -1], 2) * np.sin(angle)], axis=1)
    found = variances(jnp.asarray(u), ClassStructure((2, 2)))
    assert found.delta2 == pytest.approx(np.sin(angle) ** 2, rel=RELATIVE)
    assert found.view == 0
    views = variances(jnp.asarray(u), ClassStructure((1, 1), 2))
    assert views.view == pytest.approx(np.sin(angle) ** 2, rel=RELATIVE)
    assert views.delta2 == 0


@pytest.mark.parametrize("structure", SPREAD, ids=str)
def test_variances_on_the_ssem_family(structure):
    m = structure.num_classes
    for delta2 in (0.0, 0.2, 1.0):
        found = variances(family(structure, delta2, 12), structure)
        expected = Variances(view=0, delta2=delta2, between=1 - delta2, mean_squared=0)
        np.testing.assert_allclose(found, expected, atol=ROUNDING)
    etf = (m * np.eye(m) - 1) / (m - 1)
    embeddings = family(structure, 0.2, 12, jax.random.key(0))
    np.testing.assert_allclose(class_mean_cosines(embeddings, structure), etf, atol=4 * ROUNDING)


def test_a_class_mean_of_zero_has_cosine_zero():
    embeddings = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    cosines = class_mean_cosines(embeddings, ClassStructure((2, 2)))
    np.testing.assert_array_equal(cosines, [[0, 0], [0, 1]])


# -------------------------------------------------------------------------------- similarities


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_similarities_are_averages_over_their_pairs(structure):
    embeddings = random_embeddings(structure)
    gram = embeddings @ embeddings.T
    found = class_similarities(gram, structure)
    for k, other in itertools.product(range(structure.num_classes), repeat=2):
        if k != other:
            expected = block_average(gram, structure, "between", k, other)
            assert found.between[k, other] == pytest.approx(expected, abs=ROUNDING)
        else:
            norm_sq = np.sum(np.asarray(class_means(embeddings, structure)[k]) ** 2)
            assert found.between[k, k] == pytest.approx(norm_sq, abs=ROUNDING)
    for kind, k in itertools.product(("view", "within"), range(structure.num_classes)):
        expected = block_average(gram, structure, kind, k)
        assert getattr(found, kind)[k] == pytest.approx(expected, abs=ROUNDING)
    if structure.is_balanced:
        blocks = block_similarities(gram, structure)._asdict()
        expected = {kind: block_average(gram, structure, kind) for kind in blocks}
        assert blocks == pytest.approx(expected, abs=ROUNDING)


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_similarities_invert_block_gram_and_average_over_permutations(structure):
    embeddings = random_embeddings(structure)
    similarities = class_similarities(embeddings @ embeddings.T, structure)
    averaged = block_gram(structure, *similarities)
    for found, expected in zip(class_similarities(averaged, structure), similarities, strict=True):
        np.testing.assert_allclose(found, expected, atol=ROUNDING)
    # An average over a group of permutations of a Gram matrix is a Gram matrix, of equal variances.
    assert np.linalg.eigvalsh(averaged).min() > -10 * ROUNDING
    np.testing.assert_allclose(
        variances_from_gram(averaged, structure), variances(embeddings, structure), atol=ROUNDING
    )


def test_empty_blocks_count_as_coinciding_points():
    structure = ClassStructure((1, 1))
    gram = jnp.array([[1.0, -0.5], [-0.5, 1.0]])
    assert block_similarities(gram, structure) == (1, 1, -0.5)
    view, within, _ = class_similarities(jnp.eye(4), ClassStructure((1, 3)))
    assert view.tolist() == [1, 1]
    assert within.tolist() == [1, 0]
    slope = jax.grad(lambda gram: sum(geometry.block_similarities(gram, structure)))(gram)
    np.testing.assert_array_equal(slope, [[0, 0.5], [0.5, 0]])


# ---------------------------------------------------------------------------- distance to SSEM


@pytest.mark.parametrize("structure", SPREAD, ids=str)
def test_members_of_the_family_are_found(structure):
    for delta2 in (0.0, 1e-3, 0.4, 1.0):
        found = distance_to_ssem(family(structure, delta2, 14, jax.random.key(1)), structure)
        assert found.delta2 == pytest.approx(delta2, abs=ROUNDING)
        assert found.distance < ROUNDING


@given(seed=st.integers(0, 10**6), structure=st.sampled_from(SPREAD))
def test_the_distance_is_the_least_over_the_family(seed, structure):
    embeddings = random_embeddings(structure, seed)
    gram = embeddings @ embeddings.T

    start, end = (np.asarray(ssem_gram(structure, delta2)) for delta2 in (0.0, 1.0))

    def distance(delta2):
        return np.sqrt(np.mean((gram - (1 - delta2) * start - delta2 * end) ** 2))

    found = distance_to_ssem(embeddings, structure)
    best: Any = minimize_scalar(distance, bounds=(0, 1), method="bounded", options={"xatol": 1e-9})
    ends = [(distance(end), end) for end in (0.0, 1.0)]
    least, where = min([(best.fun, best.x), *ends])
    assert found.distance == pytest.approx(distance(float(found.delta2)), abs=ROUNDING)
    assert found.distance <= least + ROUNDING
    assert found.distance == pytest.approx(least, abs=MINIMISER)
    assert found.delta2 == pytest.approx(where, abs=10 * MINIMISER)
    assert found.delta2 == pytest.approx(float(fit_delta2(gram, structure)), abs=ROUNDING)


def test_embeddings_off_the_family_are_at_a_distance():
    structure = ClassStructure.balanced(3, 2, 2)
    embeddings = family(structure, 0.3, 8)
    off = embeddings + 1e-3 * random_embeddings(structure, dim=8)
    off = off / jnp.linalg.norm(off, axis=1, keepdims=True)
    assert 1e-5 < distance_to_ssem(off, structure).distance < 1e-3


def test_a_fit_stays_in_the_unit_interval():
    structure = ClassStructure.balanced(2, 2)
    # No Gram matrices: the formula alone would give 5/3 and -1/3.
    for within, between, nearest in ((-1.0, 2.0, 1), (1.0, -2.0, 0)):
        gram = block_gram(structure, 1.0, within, between)
        assert fit_delta2(gram, structure) == nearest


def test_classes_of_one_instance_are_collapsed():
    structure = ClassStructure.balanced(2, 1, 2)
    embeddings = random_embeddings(structure)
    assert distance_to_ssem(embeddings, structure).delta2 == 0
    assert class_variances(embeddings, structure).delta2.tolist() == [0, 0]


# ----------------------------------------------------------------- transformations and misuse


def test_everything_maps_over_a_batch():
    structure = ClassStructure.balanced(3, 2, 2)
    batch = np.stack([random_embeddings(structure, seed) for seed in range(3)])
    grams = batch @ batch.mT
    for function, inputs in (
        (geometry.variances, batch),
        (geometry.class_variances, batch),
        (geometry.class_mean_cosines, batch),
        (geometry.distance_to_ssem, batch),
        (geometry.variances_from_gram, grams),
        (geometry.block_similarities, grams),
    ):
        mapped = jax.jit(jax.vmap(lambda one, f=function: f(one, structure)))(inputs)
        single = checked(function)(inputs[-1], structure)
        last = jax.tree.map(lambda leaf: leaf[-1], mapped)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=ROUNDING), last, single)


def test_variances_have_finite_derivatives_at_collapse():
    structure = ClassStructure((3, 1, 2), 2)
    embeddings = jnp.tile(jnp.array([[1.0, 0.0]]), (12, 1))
    slopes = jax.jit(jax.jacrev(lambda u: jnp.stack(geometry.variances(u, structure))))(embeddings)
    assert np.all(np.isfinite(slopes))


@pytest.mark.parametrize(
    "function",
    [
        geometry.class_means,
        geometry.class_mean_cosines,
        geometry.class_variances,
        geometry.variances,
        geometry.distance_to_ssem,
    ],
)
def test_embeddings_of_another_number(function):
    with pytest.raises(ValueError, match=r"has 4 embeddings, one per row; got shape \(5, 2\)"):
        function(jnp.ones((5, 2)), ClassStructure((2, 2)))


@pytest.mark.parametrize(
    "function",
    [
        geometry.class_similarities,
        geometry.block_similarities,
        geometry.variances_from_gram,
        geometry.fit_delta2,
    ],
)
def test_gram_matrices_of_another_size(function):
    with pytest.raises(ValueError, match=r"Gram matrix of 2 classes × 2 is 4 × 4; got \(4, 5\)"):
        function(jnp.ones((4, 5)), ClassStructure((2, 2)))


def test_block_similarities_and_ssem_need_balance():
    gram = jnp.eye(UNBALANCED.num_embeddings)
    for function in (geometry.block_similarities, geometry.fit_delta2, geometry.distance_to_ssem):
        with pytest.raises(ValueError, match=r"needs classes of equal size; .*class_similarities"):
            function(gram, UNBALANCED)
