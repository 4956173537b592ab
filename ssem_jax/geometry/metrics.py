r"""How embeddings spread: variances, class means, block averages, distance to SSEM.

Embeddings are (N, d) with unit rows, ordered as their :class:`ssem_jax.ClassStructure` says; they
are taken as they are and not normalised. A Gram matrix has unit diagonal. Every embedding counts
1/N, so a large class weighs more than a small one. All functions are pure, and may be jitted,
differentiated, and vmapped over a batch of embeddings.

With μ the mean of all embeddings, μ_k of class k, ν of an instance over its views,

.. math::
   1 = \underbrace{\|\mu\|^2}_\text{mean\_squared}
     + \underbrace{\langle \|\mu_k - \mu\|^2 \rangle}_\text{between}
     + \underbrace{\langle \|\nu - \mu_k\|^2 \rangle}_{\delta^2}
     + \underbrace{\langle \|u - \nu\|^2 \rangle}_\text{view},

where within = δ² + view, and total = between + within.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax.geometry.shares import ClassVariances, Variances
from ssem_jax.geometry.similarities import Similarities
from ssem_jax.geometry.simplex import ssem_gram
from ssem_jax.geometry.sphere import normalize, product
from ssem_jax.problem.arrays import Rows
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import as_array

Scalar = Float[Array, ""]


class SSEMFit(NamedTuple):
    """The member of the SSEM family nearest to some embeddings.

    Attributes:
        delta2: δ² in [0, 1] of the nearest member.
        distance: root mean square, over the N² entries, of the difference of the Gram matrices.
    """

    delta2: Scalar
    distance: Scalar


def class_means(
    embeddings: Float[Array, "N d"] | Rows, structure: ClassStructure
) -> Float[Array, "m d"]:
    """The mean embedding μ_k of every class.

    Args:
        embeddings: (N, d).
        structure: m classes.

    Returns:
        (m, d) means, not normalised.

    Raises:
        ValueError: the number of rows is not N.
    """
    embeddings = _rows(embeddings, structure)
    return _means(embeddings, structure.class_ids)


def class_mean_cosines(
    embeddings: Float[Array, "N d"] | Rows, structure: ClassStructure
) -> Float[Array, "m m"]:
    r"""Cosines of the angles between class means; -1/(m-1) where they form a simplex ETF.

    .. math:: \langle \mu_k, \mu_l \rangle / (\|\mu_k\| \|\mu_l\|)

    Their inner products are `class_similarities(gram, structure).between`.

    Args:
        embeddings: (N, d).
        structure: m classes.

    Returns:
        (m, m) cosines; 0 in the row and column of a class whose mean is exactly zero.

    Raises:
        ValueError: the number of rows is not N.

    References:
        Papyan, Han and Donoho (PNAS 2020), property NC2.
    """
    means = class_means(embeddings, structure)
    directions = normalize(means)
    return product(directions, directions.T)


def class_variances(
    embeddings: Float[Array, "N d"] | Rows, structure: ClassStructure
) -> ClassVariances:
    r"""Variance within every class, split into instance means and views.

    .. math::
       \frac{1}{n_k p} \sum_{u \in k} \|u - \mu_k\|^2
       = \frac{1}{n_k} \sum_{i \in k} \|\nu_i - \mu_k\|^2
       + \frac{1}{n_k p} \sum_{u \in k} \|u - \nu_{i(u)}\|^2

    Sums of squares, so small variances keep their relative accuracy.

    Args:
        embeddings: (N, d).
        structure: m classes.

    Returns:
        (m,) view and delta2, and within, their sum.

    Raises:
        ValueError: the number of rows is not N.
    """
    embeddings = _rows(embeddings, structure)
    ids = structure.class_ids
    instances = _means(embeddings, structure.instance_ids)[structure.instance_ids]
    centres = _means(embeddings, ids)[ids]
    delta2 = _means(jnp.sum((instances - centres) ** 2, axis=1), ids)
    view = _means(jnp.sum((embeddings - instances) ** 2, axis=1), ids)
    return ClassVariances(view, delta2)


def variances(embeddings: Float[Array, "N d"] | Rows, structure: ClassStructure) -> Variances:
    """Total variance of embeddings and its parts; this module's docstring has the formula.

    Args:
        embeddings: (N, d).
        structure: m classes, balanced or not.

    Returns:
        Scalars view, delta2, between and mean_squared; within and total are sums of them.

    Raises:
        ValueError: the number of rows is not N.

    References:
        Lee, Oh, Lee and Sohn (AISTATS 2025, arXiv:2503.08203) for within- and between-class
        variance on the SSEM family.
    """
    embeddings = _rows(embeddings, structure)
    share = _shares(structure, embeddings.dtype)
    parts = class_variances(embeddings, structure)
    mean = jnp.mean(embeddings, axis=0)
    apart = jnp.sum((class_means(embeddings, structure) - mean[None]) ** 2, axis=1)
    each = (apart, parts.delta2, parts.view)
    between, delta2, view = (product(share, jnp.asarray(one)) for one in each)
    return Variances(view, delta2, between, product(mean, mean))


def variances_from_gram(gram: Float[Array, "N N"] | Rows, structure: ClassStructure) -> Variances:
    """The variances of unit embeddings from their Gram matrix.

    Differences of averages of G, so each carries an absolute rounding error of some 1e-16 and may
    be negative by as much.

    Args:
        gram: (N, N) with unit diagonal.
        structure: m classes, balanced or not.

    Returns:
        Scalars view, delta2, between and mean_squared; within and total are sums of them.

    Raises:
        ValueError: the matrix is not N × N.
    """
    gram = _gram(gram, structure)
    view, _, products = _class_similarities(gram, structure)
    share = _shares(structure, gram.dtype)
    instance_sq = product(share, 1 + (structure.num_views - 1) * view) / structure.num_views
    class_sq, mean_sq = product(share, jnp.diag(products)), product(product(share, products), share)
    return Variances(1 - instance_sq, instance_sq - class_sq, class_sq - mean_sq, mean_sq)


def class_similarities(gram: Float[Array, "N N"] | Rows, structure: ClassStructure) -> Similarities:
    """Averages of a Gram matrix over the permutations within classes, balanced or not.

    Averaging over permutations of instances within their class, and of views within their
    instance, leaves these numbers and turns G into `block_gram(structure, *similarities)`.

    Args:
        gram: (N, N) with unit diagonal.
        structure: m classes.

    Returns:
        view (m,), 1 where p = 1; within (m,), 1 for a class of one instance (so no average is NaN
        and no variance changes); and between (m, m), the inner products of the class means, whose
        diagonal is their squared norm.

    Raises:
        ValueError: the matrix is not N × N.
    """
    return Similarities(*_class_similarities(_gram(gram, structure), structure))


def _class_similarities(
    gram: Float[Array, "N N"], structure: ClassStructure
) -> tuple[Float[Array, " m"], Float[Array, " m"], Float[Array, "m m"]]:
    ids, instance_ids, p = structure.class_ids, structure.instance_ids, structure.num_views
    sizes = np.asarray(structure.sizes)
    same_class = ids[:, None] == ids
    same_instance = instance_ids[:, None] == instance_ids
    off_diagonal = ~np.eye(len(ids), dtype=bool)

    def average(mask: np.ndarray, count: np.ndarray) -> Float[Array, " m"]:
        # The masked row sums of a class, over the entries that one of its rows has.
        row_sums = _means(jnp.sum(jnp.where(mask, gram, 0), axis=1), ids)
        return jnp.where(count > 0, row_sums / np.maximum(count, 1), 1)

    view = average(same_instance & off_diagonal, np.full(len(sizes), p - 1))
    within = average(same_class & ~same_instance, (sizes - 1) * p)
    return view, within, _means(_means(gram, ids).T, ids)


def block_similarities(gram: Float[Array, "N N"] | Rows, structure: ClassStructure) -> Similarities:
    """Averages of a Gram matrix over all permutations that preserve a balanced structure.

    Averaging G over permutations of classes, instances and views turns it into
    `block_gram(structure, *similarities)`; no convex symmetric loss rises.

    Args:
        gram: (N, N) with unit diagonal.
        structure: m classes of equal size.

    Returns:
        Scalars view, within, between; view is 1 where p = 1, within is 1 where n = 1.

    Raises:
        ValueError: classes of different size, or the matrix is not N × N.
    """
    if not structure.is_balanced:
        raise ValueError(
            f"block_similarities needs classes of equal size; got sizes {structure.sizes}. "
            "Use class_similarities."
        )
    view, within, products = _class_similarities(_gram(gram, structure), structure)
    m = structure.num_classes
    between = jnp.sum(jnp.where(np.eye(m, dtype=bool), 0, products)) / (m * (m - 1))
    return Similarities(jnp.mean(view), jnp.mean(within), between)


def fit_delta2(gram: Float[Array, "N N"] | Rows, structure: ClassStructure) -> Scalar:
    r"""δ² of the SSEM Gram matrix nearest to G in Frobenius norm.

    SSEM Gram matrices are affine in δ², so the projection has a closed form,

    .. math::
       \delta^2 = \Bigl[\frac{m}{m-1} + s_\mathrm{between} - s_\mathrm{within}\Bigr]
       \Bigl/ \Bigl[\frac{n}{n-1} + \frac{1}{m-1}\Bigr].

    It lies in [0, 1] for every positive semidefinite G; clipping removes what rounding leaves.

    Args:
        gram: (N, N) with unit diagonal.
        structure: m classes of equal size n.

    Returns:
        Scalar δ²; 0 if n = 1.

    Raises:
        ValueError: classes of different size, or the matrix is not N × N.
    """
    _, within, between = block_similarities(gram, structure)
    m, n = structure.num_classes, structure.num_instances
    if n == 1:
        return jnp.zeros_like(within)
    slope = n / (n - 1) + 1 / (m - 1)
    return jnp.clip((m / (m - 1) + between - within) / slope, 0, 1)


def distance_to_ssem(embeddings: Float[Array, "N d"] | Rows, structure: ClassStructure) -> SSEMFit:
    r"""Distance of embeddings from the SSEM family, over all δ and all rotations.

    .. math:: \min_{\delta^2 \in [0, 1]} \tfrac1N \|U U^\top - G_{\delta^2}\|_F

    Args:
        embeddings: (N, d) unit rows, in any dimension d.
        structure: m classes of equal size.

    Returns:
        The nearest δ², and the distance (root mean square per entry; 0 on the family).

    Raises:
        ValueError: classes of different size, or the number of rows is not N.
    """
    embeddings = _rows(embeddings, structure)
    gram = product(embeddings, embeddings.T)
    delta2 = fit_delta2(gram, structure)
    residual = gram - ssem_gram(structure, delta2)
    return SSEMFit(delta2, jnp.sqrt(jnp.mean(residual**2)))


def _means(rows: Float[Array, "N ..."], ids: np.ndarray) -> Float[Array, "groups ..."]:
    """The mean of the rows of every group; `ids` are sorted and none is missing."""
    counts = np.bincount(ids)
    sums = jax.ops.segment_sum(rows, ids, num_segments=len(counts), indices_are_sorted=True)
    return sums / jnp.asarray(counts, rows.dtype).reshape(-1, *(1,) * (rows.ndim - 1))


def _shares(structure: ClassStructure, dtype: jnp.dtype) -> Float[Array, " m"]:
    """The share of all embeddings that each class has."""
    return jnp.asarray(structure.class_shares, dtype)


def _rows(
    embeddings: Float[Array, "rows d"] | Rows, structure: ClassStructure
) -> Float[Array, "N d"]:
    check_structure(structure)
    rows: Array = as_array(embeddings, "embeddings")
    if rows.ndim != 2 or len(rows) != structure.num_embeddings:
        raise ValueError(
            f"{structure} has {structure.num_embeddings} embeddings, one per row; "
            f"got shape {rows.shape}."
        )
    return rows


def _gram(
    gram: Float[Array, "rows columns"] | Rows, structure: ClassStructure
) -> Float[Array, "N N"]:
    check_structure(structure)
    matrix: Array = as_array(gram, "the Gram matrix")
    if matrix.shape != (structure.num_embeddings,) * 2:
        raise ValueError(
            f"the Gram matrix of {structure} is {structure.num_embeddings} × "
            f"{structure.num_embeddings}; got {matrix.shape}."
        )
    return matrix
