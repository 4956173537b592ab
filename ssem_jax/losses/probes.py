"""Gram matrices of unit vectors at which a loss is looked at, of every kind that comes to mind.

Random embeddings of every rank, clustered and nearly coinciding ones, block-structured ones and
random correlation matrices; embeddings that differ in one row, so that a few bad pairs are not
drowned by many good ones; and the corners of the block-structured ones: all embeddings in one
point, classes collapsed onto a simplex, the instances of each class on a simplex of their own.
"""

from __future__ import annotations

import itertools

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import as_key


def generator(key: PRNGKeyArray) -> np.random.Generator:
    """NumPy's random numbers from a JAX key."""
    return np.random.default_rng(np.asarray(jax.random.key_data(as_key(key))).ravel())


def gram_of(rows: Float[np.ndarray, "*batch N d"]) -> Float[np.ndarray, "*batch N N"]:
    """U Uᵀ of normalised rows, with a unit diagonal and no entry beyond 1."""
    rows = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    gram = np.clip(rows @ np.swapaxes(rows, -1, -2), -1, 1)
    return np.where(np.eye(gram.shape[-1], dtype=bool), 1.0, gram)


def _simplex_gram(ids: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Gram matrix in which the members of every group stand on a simplex of their own, and those
    of different groups are orthogonal; a lone member stays by itself."""
    same_group, same = groups[:, None] == groups, ids[:, None] == ids
    members = np.array([len(np.unique(ids[groups == group])) for group in groups])
    away = -1 / np.maximum(members - 1, 1)
    return np.where(same, 1.0, np.where(same_group, away[:, None], 0.0))


def corners(structure: ClassStructure) -> Float[np.ndarray, "4 N N"]:
    """The Gram matrices of which all block-structured ones are mixtures: everything in one point;
    classes, instances of a class, and views of an instance on simplices.

    SSEM(δ) lies on the line from the second to the third.
    """
    rows = np.arange(structure.num_embeddings)
    levels = (0 * rows, structure.class_ids, structure.instance_ids, rows)
    simplices = [_simplex_gram(ids, groups) for groups, ids in itertools.pairwise(levels)]
    return np.stack([np.ones((len(rows), len(rows))), *simplices])


def rows_of_shares(
    structure: ClassStructure, shares: Float[np.ndarray, "B 4"]
) -> Float[np.ndarray, "B N N"]:
    """Embeddings whose Gram matrix has these variance shares: view, instance, class and mean."""
    grams = np.tensordot(shares[:, ::-1], corners(structure), 1)
    values, vectors = np.linalg.eigh(grams)
    return vectors * np.sqrt(np.maximum(values, 0))[:, None, :]


def block_mixture(rng: np.random.Generator, structure: ClassStructure) -> np.ndarray:
    """Gram matrix of random variance shares: mean, classes, instances, views."""
    gram = np.tensordot(rng.dirichlet(np.full(4, 0.5)), corners(structure), 1)
    return np.where(np.eye(len(gram), dtype=bool), 1.0, np.clip(gram, -1, 1))


def _rows(rng: np.random.Generator, structure: ClassStructure) -> np.ndarray:
    """Embeddings of a random kind."""
    size = structure.num_embeddings
    kind = rng.integers(4)
    noise = rng.normal(size=(size, size))
    if kind == 0:  # any rank, small ones often
        return noise[:, : max(1, int(size ** rng.uniform()))]
    if kind == 1:  # clustered by class and instance, tightly or loosely
        tight = 10.0 ** rng.uniform(-3, 0, size=2)
        classes, instances = rng.normal(size=(2, size, size))
        return classes[structure.class_ids] + tight[0] * (
            instances[structure.instance_ids] + tight[1] * noise
        )
    if kind == 2:  # about one point
        return rng.normal(size=size) + 10.0 ** rng.uniform(-3, 0.5) * noise
    return noise * np.geomspace(1, 10.0 ** rng.uniform(-3, 0), size)  # a random correlation matrix


def random_gram(rng: np.random.Generator, structure: ClassStructure) -> np.ndarray:
    """A Gram matrix of unit vectors of a random kind."""
    if rng.uniform() < 0.25:
        return block_mixture(rng, structure)
    return gram_of(_rows(rng, structure))


def random_pair(
    rng: np.random.Generator, structure: ClassStructure
) -> tuple[np.ndarray, np.ndarray]:
    """Two Gram matrices of unit vectors: independent, or of embeddings that differ in one row."""
    if rng.uniform() < 0.6:
        return random_gram(rng, structure), random_gram(rng, structure)
    rows = _rows(rng, structure)
    moved = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    place = rng.integers(len(rows))
    towards = rng.normal(size=moved.shape[1])
    moved[place] = towards if rng.uniform() < 0.5 else -moved[place] + 0.1 * towards
    return gram_of(rows), gram_of(moved)
