"""Variance shares, similarities and dimensions: they tell one and the same Gram matrix."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssem_jax.geometry import (
    Similarities,
    Variances,
    block_gram,
    full_dimension,
    multiplicities,
    rank_in,
    similarities_of,
    variances_from_gram,
    variances_of,
)
from ssem_jax.geometry.shares import own_similarities, variance_simplex
from ssem_jax.problem import ClassStructure, Phase

SHARE = 4e-15
"""Rounding of a share: a few roundings of averages of some 30 entries of size 1; seen 3e-16."""

STRUCTURES = [ClassStructure.balanced(*counts) for counts in ((2, 2), (3, 4), (2, 1, 2), (3, 2, 3))]


def random_shares(structure, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(5):
        theta = rng.dirichlet(np.ones(4)) * variance_simplex(structure).present
        yield Variances(*(theta / theta.sum()))


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_shares_are_the_variances_of_the_block_matrix(structure):
    """Similarities of shares, made a Gram matrix, have those shares as variances; and it is PSD."""
    measure = jax.jit(lambda gram: variances_from_gram(gram, structure))
    simplex = variance_simplex(structure)
    for shares in random_shares(structure):
        similarities = similarities_of(shares, *structure.counts)
        gram = block_gram(structure, *similarities)
        measured = measure(gram)
        np.testing.assert_allclose(measured, shares, rtol=0, atol=SHARE)
        assert np.linalg.eigvalsh(gram).min() >= -SHARE * structure.num_embeddings
        back = variances_of(similarities, *structure.counts)
        np.testing.assert_allclose(back, shares, rtol=0, atol=SHARE)
        np.testing.assert_allclose(simplex.point(jnp.stack(measured)), shares, rtol=0, atol=SHARE)
        as_matrix = simplex.offset + simplex.similarity @ np.stack(shares)
        np.testing.assert_allclose(as_matrix, np.stack(similarities), rtol=0, atol=SHARE)


def test_sums_of_shares():
    shares = Variances(0.1, 0.2, 0.3, 0.4)
    assert shares.within == pytest.approx(0.3, abs=SHARE)
    assert shares.total == pytest.approx(0.6, abs=SHARE)


def test_numbers_broadcast_on_the_host_and_under_jit():
    m, n, p = np.array([2.0, 3, 5]), np.array([1.0, 2, 4]), np.array([3.0, 1, 2])
    shares = Variances(0.1 * (p > 1), 0.2 * (n > 1), 0.3 + 0 * m, 0.4 + 0 * m)
    host: Any = similarities_of(shares, m, n, p)
    np.testing.assert_allclose(jax.jit(similarities_of)(shares, m, n, p), host, atol=SHARE)
    for k in range(3):
        alone = similarities_of(Variances(*(one[k] for one in shares)), m[k], n[k], p[k])
        np.testing.assert_array_equal(alone, [one[k] for one in host])
    assert host.within[0] == host.view[1] == 1  # kinds without pairs
    view, within = own_similarities(shares.view, shares.delta2, n, p)
    np.testing.assert_array_equal([view, within], host[:2])


def test_similarities_of_no_embeddings_have_negative_shares():
    assert min(variances_of(Similarities(1.0, 1.0, -0.9), 3, 2, 2)) < 0


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_shares_are_the_eigenvalues_up_to_multiplicity(structure):
    shares = next(random_shares(structure))
    gram = block_gram(structure, *similarities_of(shares, *structure.counts))
    m, _, p = structure.counts
    often = np.array(multiplicities(m, structure.total_instances, p))
    size = structure.num_embeddings
    expected = np.sort(np.repeat(size * np.stack(shares) / np.maximum(often, 1), often))
    np.testing.assert_allclose(np.linalg.eigvalsh(gram), expected, rtol=0, atol=SHARE * size)


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_the_rank_of_a_phase_is_that_of_its_gram_matrix(structure):
    m, n, p = structure.counts
    spread = {Phase.COLLAPSE: (0, 0), Phase.SPREAD: (0, 0.3), Phase.VIEW_SPREAD: (0.3, 0)}
    for phase, (view, delta2) in spread.items():
        if (delta2 and n == 1) or (view and p == 1):
            continue
        shares = Variances(view, delta2, 1 - view - delta2, 0.0)
        gram = block_gram(structure, *similarities_of(shares, m, n, p))
        assert rank_in(phase, m, m * n, p) == np.linalg.matrix_rank(gram)
    codes = np.array([Phase.COLLAPSE, Phase.SPREAD])
    assert np.array_equal(rank_in(codes, 3, 6, 2), [2, 5])


def test_shares_present():
    def present(*counts):
        return variance_simplex(ClassStructure.balanced(*counts)).present.tolist()

    assert present(2, 2, 2) == [True, True, True, True]
    assert present(2, 2, 1) == [False, True, True, True]
    assert present(2, 1, 2) == [True, False, True, True]


def test_the_simplex_needs_equal_classes():
    with pytest.raises(ValueError, match="needs classes of equal size"):
        variance_simplex(ClassStructure((2, 3)))


def test_a_point_of_the_simplex_forgives_rounding():
    theta = variance_simplex(STRUCTURES[0]).point(jnp.array([1e-17, 0.5, 0.6, -1e-17]))
    np.testing.assert_allclose(theta, [0, 5 / 11, 6 / 11, 0], rtol=1e-14)


@pytest.mark.parametrize(
    ("structure", "self_pairs", "expected"),
    [
        (ClassStructure((3, 3), 1), "include", 5),
        (ClassStructure((3, 3), 1), "exclude", 5),
        (ClassStructure((3, 3), 2), "include", 5),
        (ClassStructure((3, 3), 2), "exclude", 7),
        (ClassStructure((1, 2), 3), "exclude", 7),
    ],
)
def test_full_dimension(structure, self_pairs, expected):
    assert full_dimension(structure, self_pairs) == expected
