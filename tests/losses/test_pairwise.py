"""The other losses against their definitions, pair by pair; misuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import contrasted, labels

from ssem_jax.geometry import Similarities, block_gram
from ssem_jax.losses import (
    AlignUniform,
    PairWeights,
    Sigmoid,
    Sincere,
    SoftSupCon,
    Spectral,
    SupConIn,
)
from ssem_jax.problem import ClassStructure

ROUNDING = 1e-13
"""Sums of at most 100 terms of size 1/τ ≤ 5 in another order."""

STRUCTURES = [ClassStructure((3, 1, 2), 2), ClassStructure((2, 2), 3), ClassStructure((3, 2), 1)]
TAU = 0.3


def random_gram(structure, seed=0):
    rows = np.random.default_rng(seed).normal(size=(structure.num_embeddings, 4))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gram = rows @ rows.T
    np.fill_diagonal(gram, 1)
    return gram


def value(loss, gram, structure):
    return float(jax.jit(lambda one: one.from_gram(jnp.asarray(gram), structure))(loss))


def pairs_of(structure):
    """Row pairs of the same instance (self pairs among them), of the rest of a class, of others."""
    rows = list(enumerate(labels(structure)))
    own, sup, other = [], [], []
    for i, (class_i, instance_i, _) in rows:
        for j, (class_j, instance_j, _) in rows:
            if class_i != class_j:
                other.append((i, j))
            elif instance_i != instance_j:
                sup.append((i, j))
            else:
                own.append((i, j))
    return own, sup, other


def mean_over_anchors(term, pairs):
    """Of the positives of an anchor, then of the anchors that have one."""
    by_anchor = {}
    for i, j in pairs:
        by_anchor.setdefault(i, []).append(term(i, j))
    return np.mean([np.mean(terms) for terms in by_anchor.values()])


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_spectral_loss_by_definition(structure):
    gram, alpha, mu = random_gram(structure), 0.3, 1.7
    own, sup, _ = pairs_of(structure)
    pull = (1 - alpha) * np.mean([gram[pair] for pair in sup])
    pull += alpha * np.mean([gram[pair] for pair in own])
    repulsion = np.mean([gram[i, j] ** 2 for i in range(len(gram)) for j in range(len(gram))])
    expected = -2 * mu * pull + mu**2 * repulsion
    loss = Spectral(alpha, mu)
    assert value(loss, gram, structure) == pytest.approx(expected, abs=ROUNDING)
    if structure.is_balanced:
        blocks = Similarities(0.9, 0.4, -0.2)
        found = loss.of_blocks(blocks, loss.prepare_blocks(structure))
        gram = block_gram(structure, *blocks)
        assert float(found) == pytest.approx(value(loss, gram, structure), abs=ROUNDING)


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_sincere_and_supcon_in_by_definition(structure):
    gram = random_gram(structure)
    size = len(gram)
    own, sup, other = pairs_of(structure)
    positives = [(i, j) for i, j in [*own, *sup] if i != j]

    def negatives(i):
        return sum(np.exp(gram[i, k] / TAU) for a, k in other if a == i)

    def sincere(i, j):
        return -np.log(1 / (1 + negatives(i) / np.exp(gram[i, j] / TAU)))

    expected = mean_over_anchors(sincere, positives)
    assert value(Sincere(TAU), gram, structure) == pytest.approx(expected, abs=ROUNDING)

    terms = []
    for i in range(size):
        pulled = [np.exp(gram[i, j] / TAU) for a, j in positives if a == i]
        total = sum(np.exp(gram[i, k] / TAU) for k in range(size) if k != i)
        terms += [-np.log(np.mean(pulled) / total)] if pulled else []
    expected = np.mean(terms)
    assert value(SupConIn(TAU), gram, structure) == pytest.approx(expected, abs=ROUNDING)


def test_an_anchor_without_positives_has_a_finite_derivative():
    structure = ClassStructure((3, 1))
    for loss in (Sincere(1e-2), SupConIn(1e-2)):
        slope = jax.grad(lambda gram, loss=loss: loss.from_gram(gram, structure))(
            jnp.asarray(random_gram(structure))
        )
        assert np.all(np.isfinite(slope))


def test_alignment_and_uniformity_by_definition():
    structure, weight, scale = ClassStructure((2, 1), 3), 0.7, 2.0
    gram = random_gram(structure)
    own, sup, other = pairs_of(structure)
    distance = 2 - 2 * gram
    align = np.mean([distance[i, j] for i, j in own if i != j])
    apart = [distance[i, j] for i, j in [*own, *sup, *other] if i != j]
    expected = align + weight * np.log(np.mean(np.exp(-scale * np.array(apart))))
    loss = AlignUniform(weight, scale)
    assert value(loss, gram, structure) == pytest.approx(expected, abs=ROUNDING)


@pytest.mark.parametrize("self_pairs", ["include", "exclude", "decouple"])
def test_soft_weights_by_definition(self_pairs):
    structure = STRUCTURES[0]
    gram, size = random_gram(structure), structure.num_embeddings
    weights = np.random.default_rng(1).exponential(size=(size, size))
    if self_pairs != "include":
        np.fill_diagonal(weights, 0)
    expected = 0.0
    for i, members in enumerate(contrasted(structure, self_pairs)):
        total = np.log(sum(np.exp(gram[i, k] / TAU) for k in members))
        expected += sum(weights[i, j] * (total - gram[i, j] / TAU) for j in range(size))
    loss = SoftSupCon(TAU, weights, self_pairs)
    assert value(loss, gram, structure) == pytest.approx(expected / weights.sum(), abs=ROUNDING)
    plain = loss.without_conventions().value(jnp.asarray(gram), loss.prepare(structure))
    assert float(plain) == pytest.approx(expected / weights.sum(), abs=ROUNDING)
    assert loss.sensitivity(jnp.asarray(gram), None) == pytest.approx(2 / TAU)


def test_pair_weights_are_frozen_and_compared_by_content():
    array = np.eye(3)
    weights = PairWeights(array)
    array[0, 1] = 5.0
    assert weights == PairWeights(np.eye(3))
    assert hash(weights) == hash(PairWeights(np.eye(3)))
    assert weights != PairWeights(array)
    assert weights != "weights"
    assert repr(weights) == f"PairWeights(3 × 3, {weights.digest})"
    with pytest.raises(ValueError, match="read-only"):
        weights.array[0, 0] = 2
    assert jax.tree.structure(SoftSupCon(0.5, np.eye(3), "include")) == jax.tree.structure(
        SoftSupCon(0.1, np.eye(3), "include")
    )


def test_misuse():
    one_each = ClassStructure((1, 1))
    with pytest.raises(ValueError, match=r"square matrix \(N, N\); got \(2, 3\)"):
        PairWeights(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"nonnegative and finite.*got -1"):
        PairWeights([[1.0, -1.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match=r"pairs \(i, i\) are excluded and cannot be positives"):
        SoftSupCon(0.5, np.eye(2))
    for weights in (np.zeros((2, 2)), np.ones((3, 3))):
        with pytest.raises(ValueError, match="needs 2 × 2 pair weights, one above 0 at least"):
            SoftSupCon(0.5, weights, "include").check_structure(one_each)
    with pytest.raises(ValueError, match="self_pairs must be one of"):
        SoftSupCon(0.5, np.eye(2), "never")
    with pytest.raises(ValueError, match=r"no sup pair.*alpha = 0\.5"):
        Spectral(0.5, 1.0).check_structure(one_each)
    Spectral(1.0, 1.0).check_structure(one_each)
    with pytest.raises(ValueError, match="scale must be positive"):
        Spectral(1.0, 0.0)
    for loss in (Sincere(0.5), SupConIn(0.5)):
        with pytest.raises(ValueError, match="has no positive pair: every class"):
            loss.check_structure(one_each)
        with pytest.raises(ValueError, match="temperature must be positive"):
            type(loss)(0.0)
    with pytest.raises(ValueError, match="alignment needs two views"):
        AlignUniform().check_structure(one_each)
    with pytest.raises(ValueError, match="weight must be positive"):
        AlignUniform(0.0)


def test_sigmoid_loss_by_definition():
    """The double loop of its definition, at random embeddings."""
    structure = ClassStructure((2, 1), 2)
    rows = np.random.default_rng(5).normal(size=(6, 4))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    scale, bias = 3.0, 0.7
    total = 0.0
    for i in range(3):
        for j in range(3):
            sign = 1 if i == j else -1
            logit = scale * rows[2 * i] @ rows[2 * j + 1] - bias
            total += np.log1p(np.exp(-sign * logit)) / 3
    found = float(Sigmoid(scale, bias)(jnp.asarray(rows), structure))
    assert abs(found - total) <= 64 * np.finfo(float).eps


def test_sigmoid_loss_needs_two_views():
    with pytest.raises(ValueError, match=r"pairs two views of an instance.*has 1"):
        Sigmoid(1.0, 0.0).from_gram(jnp.eye(3), ClassStructure((2, 1)))
    with pytest.raises(ValueError, match="scale must be positive"):
        Sigmoid(0.0, 0.0)
