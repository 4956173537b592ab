"""Simplices and the SSEM family: geometry, Gram matrices, and the dimensions that admit them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from beartype import beartype
from jaxtyping import jaxtyped
from oracles import labels

from ssem_jax import geometry
from ssem_jax.problem import ClassStructure

ROUNDING = 2e-15
"""Inner products of unit vectors in at most 32 dimensions, rotated once: some ten eps."""

RANK_TOLERANCE = 1e-9
"""Far above rounding; the eigenvalues that count are at least δ² = 1e-3 here, or 0."""

STRUCTURES = [ClassStructure.balanced(m, n, p) for m, n, p in ((2, 2, 1), (3, 4, 2), (2, 1, 2))]
UNBALANCED = ClassStructure((3, 1, 2), 2)

# Every call in this file is checked against its annotated shapes.
simplex_etf = jaxtyped(typechecker=beartype)(geometry.simplex_etf)
block_gram = jaxtyped(typechecker=beartype)(geometry.block_gram)
ssem_gram = jaxtyped(typechecker=beartype)(geometry.ssem_gram)
ssem_embeddings = jaxtyped(typechecker=beartype)(geometry.ssem_embeddings)
compiled_embeddings = jax.jit(ssem_embeddings, static_argnums=(0, 1, 2))


def needed_dim(structure, delta2):
    m, n = structure.num_classes, structure.num_instances
    return (m - 1) * (delta2 < 1) + m * (n - 1) * (delta2 > 0)


def variances_of(structure):
    return (0.0, 1e-3, 0.3, 1.0) if structure.num_instances > 1 else (0.0,)


@pytest.mark.parametrize("num_points", [2, 3, 7])
@pytest.mark.parametrize("extra", [0, 3])
@pytest.mark.parametrize("key", [None, 5])
def test_simplex_etf(num_points, extra, key):
    key = None if key is None else jax.random.key(key)
    vertices = np.asarray(simplex_etf(num_points, num_points - 1 + extra, key))
    expected = (num_points * np.eye(num_points) - 1) / (num_points - 1)
    np.testing.assert_allclose(vertices @ vertices.T, expected, atol=ROUNDING)
    np.testing.assert_allclose(vertices.sum(axis=0), 0, atol=num_points * ROUNDING)
    assert vertices.shape == (num_points, num_points - 1 + extra)


def test_keys_rotate_and_repeat():
    plain, first, again, second = (
        simplex_etf(3, 5, key and jax.random.key(key)) for key in (None, 1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert np.abs(first - second).max() > 0.1
    assert np.abs(first - plain).max() > 0.1


def test_block_gram_places_every_similarity():
    view, within = jnp.array([0.9, 0.8, 0.7]), jnp.array([0.3, 0.2, 0.1])
    between = -np.arange(9.0).reshape(3, 3) / 10
    between = jnp.asarray(between + between.T) / 2
    gram = block_gram(UNBALANCED, view, within, between)
    for i, (class_i, instance_i, _) in enumerate(labels(UNBALANCED)):
        for j, (class_j, instance_j, _) in enumerate(labels(UNBALANCED)):
            if i == j:
                expected = 1.0
            elif class_i != class_j:
                expected = between[class_i, class_j]
            else:
                expected = (view if instance_i == instance_j else within)[class_i]
            assert gram[i, j] == expected
    same = block_gram(UNBALANCED, jnp.full(3, 0.9), 0.3, jnp.full((3, 3), -0.1))
    assert np.array_equal(same, block_gram(UNBALANCED, 0.9, 0.3, -0.1))


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_ssem_embeddings_have_the_ssem_gram_matrix_in_the_smallest_dimension(structure):
    for delta2 in variances_of(structure):
        gram = np.asarray(ssem_gram(structure, delta2))
        dim = needed_dim(structure, delta2)
        assert np.sum(np.linalg.eigvalsh(gram) > RANK_TOLERANCE) == dim
        for extra, key in ((0, None), (2, jax.random.key(1))):
            embeddings = np.asarray(compiled_embeddings(structure, delta2, dim + extra, key))
            np.testing.assert_allclose(embeddings @ embeddings.T, gram, atol=ROUNDING)
        if dim == 1:
            continue
        with pytest.raises(ValueError, match=rf"needs dim of at least {dim}; got {dim - 1}"):
            ssem_embeddings(structure, delta2, dim - 1)


@pytest.mark.parametrize(("m", "n", "p"), [(2, 2, 1), (3, 4, 2)])
def test_ssem_passes_through_collapse_and_the_simplex_of_instances(m, n, p):
    structure = ClassStructure.balanced(m, n, p)
    collapsed = np.kron((m * np.eye(m) - 1) / (m - 1), np.ones((n * p, n * p)))
    np.testing.assert_allclose(ssem_gram(structure, 0.0), collapsed, atol=ROUNDING)
    spread = np.kron((m * n * np.eye(m * n) - 1) / (m * n - 1), np.ones((p, p)))
    delta2 = m * (n - 1) / (m * n - 1)
    np.testing.assert_allclose(ssem_gram(structure, delta2), spread, atol=ROUNDING)


def test_a_traced_delta2_is_mapped_and_compiled():
    structure = ClassStructure.balanced(3, 2, 2)
    grid = jnp.linspace(0, 1, 5)
    grams = jax.jit(jax.vmap(lambda delta2: ssem_gram(structure, delta2)))(grid)
    points = jax.jit(jax.vmap(lambda delta2: ssem_embeddings(structure, delta2, 5)))(grid)
    np.testing.assert_allclose(points @ points.mT, grams, atol=ROUNDING)
    slope = jax.jacfwd(lambda delta2: ssem_gram(structure, delta2))(0.3)
    np.testing.assert_allclose(grams[0] + slope, grams[-1], atol=ROUNDING)
    with pytest.raises(
        ValueError, match=r"SSEM\(δ\) of 3 classes × 2 × 2 views needs dim of at lea"
    ):
        jax.jit(lambda delta2: ssem_embeddings(structure, delta2, 4))(0.3)


@pytest.mark.parametrize(
    "build", [geometry.ssem_gram, lambda *args: geometry.ssem_embeddings(*args, dim=9)]
)
def test_misused_ssem(build):
    balanced = ClassStructure.balanced(2, 2)
    with pytest.raises(
        ValueError, match=r"SSEM needs classes of equal size; got sizes \(3, 1, 2\)"
    ):
        build(UNBALANCED, 0.3)
    with pytest.raises(ValueError, match=r"delta2 must lie in \[0, 1\] for 2 classes × 2; got 1.5"):
        build(balanced, 1.5)
    with pytest.raises(ValueError, match=r"delta2 must lie in \[0, 1\] .* got nan"):
        build(balanced, np.nan)
    with pytest.raises(ValueError, match=r"delta2 must lie in \[0, 0\] for 2 classes × 1; got 0.3"):
        build(ClassStructure.balanced(2, 1), 0.3)
    with pytest.raises(ValueError, match=r"delta2 must be one number; got shape \(2,\)"):
        build(balanced, jnp.array([0.1, 0.2]))


def test_misused_simplices():
    with pytest.raises(ValueError, match="num_points must be an integer of at least 2; got 1"):
        simplex_etf(1, 3)
    with pytest.raises(ValueError, match="a simplex of 4 points needs dim of at least 3; got 2"):
        simplex_etf(4, 2)
    with pytest.raises(ValueError, match="dim must be an integer of at least 1; got 0"):
        simplex_etf(2, 0)
