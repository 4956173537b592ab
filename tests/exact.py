"""Every shipped loss by its definition, pair by pair, in ball arithmetic.

Written from the formulas in the docstrings and not from the code. The embeddings are the dyadic
numbers that they are and are normalised in balls, so that nothing here rounds unnoticed: `loss_at`
holds the loss of exactly those points of the sphere.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import oracles
from flint import arb, arb_mat, ctx, fmpq

import ssem_jax as sx
from ssem_jax.losses import (
    AlignUniform,
    Sigmoid,
    Sincere,
    SoftSupCon,
    Spectral,
    SupCon,
    SupConIn,
    WeightedSupCL,
)
from ssem_jax.problem import ClassStructure

BITS = 128
"""At τ = 1e-3 exponents of 2000 leave over a hundred right bits."""

Gram = list[list[arb]]
Pairs = dict[tuple[int, int], arb]


def unit_gram(embeddings: np.ndarray) -> Gram:
    """The Gram matrix of the rows, normalised."""
    with ctx.workprec(BITS):
        points = arb_mat([[arb(float(x)) for x in row] for row in embeddings])
        gram = (points * points.transpose()).tolist()
        scale = [gram[i][i].rsqrt() for i in range(len(gram))]
        for i, row in enumerate(gram):
            for j in range(i):
                row[j] = gram[j][i] = row[j] * scale[i] * scale[j]
            row[i] = arb(1)
        return gram


def loss_at(gram: Gram, structure: ClassStructure, loss: sx.GramLoss) -> arb:
    """The loss at a Gram matrix of balls.

    Raises:
        TypeError: a loss that is not shipped.
    """
    with ctx.workprec(BITS):
        for kind, value in _LOSSES.items():
            if type(loss) is kind:
                return value(gram, structure, loss)
    raise TypeError(f"no oracle for {type(loss).__name__}.")


def _ball(number: Any) -> arb:
    exact = Fraction(number)
    return arb(fmpq(exact.numerator, exact.denominator))


def _sum(terms) -> arb:
    return sum(terms, arb(0))


# ------------------------------------------------------------------- softmax losses


@functools.cache
def _members(structure: ClassStructure, self_pairs: str) -> list[list[int]]:
    return oracles.contrasted(structure, self_pairs)


@functools.cache
def _kinds(structure: ClassStructure, self_pairs: str, mean: str):
    return oracles.positives(structure, self_pairs, mean)


def _contrast(gram: Gram, weights: Pairs, members: Sequence[Sequence[int]], tau: arb) -> arb:
    """Σ W_ij [log Σ_{k in D_i} e^{G_ik/τ} - G_ij/τ]; rows without a weight count nothing."""
    value, of_anchor = arb(0), {}
    for (i, j), weight in weights.items():
        value -= weight * gram[i][j]
        of_anchor[i] = of_anchor.get(i, arb(0)) + weight
    value /= tau
    for i, weight in of_anchor.items():
        if not weight.is_zero():
            value += weight * _sum((gram[i][k] / tau).exp() for k in members[i]).log()
    return value


def _supcl(gram: Gram, structure: ClassStructure, loss: sx.SupCL) -> arb:
    alpha, weights = _ball(loss.alpha), {}
    kinds = _kinds(structure, loss.self_pairs, loss.mean)
    for mixing, pairs in zip((1 - alpha, alpha), kinds, strict=True):
        weights |= {pair: mixing / divisor for pair, divisor in pairs.items()}
    members = _members(structure, loss.self_pairs)
    return _contrast(gram, weights, members, _ball(loss.temperature))


def _class_pairs(structure: ClassStructure) -> dict[int, list[int]]:
    """The other embeddings of the class of each."""
    ids = [k for k, _, _ in oracles.labels(structure)]
    return {i: [j for j, c in enumerate(ids) if c == k and j != i] for i, k in enumerate(ids)}


def _supcon(gram: Gram, structure: ClassStructure, loss: SupCon) -> arb:
    positives = {i: others for i, others in _class_pairs(structure).items() if others}
    weights = {
        (i, j): 1 / arb(len(others) * len(positives))
        for i, others in positives.items()
        for j in others
    }
    return _contrast(gram, weights, _members(structure, "exclude"), _ball(loss.temperature))


def _weighted(gram: Gram, structure: ClassStructure, loss: WeightedSupCL) -> arb:
    alpha, weights = _ball(loss.alpha), {}
    omega = [_ball(loss.class_weights[k]) for k, _, _ in oracles.labels(structure)]
    kinds = _kinds(structure, loss.self_pairs, "pairs")
    for mixing, pairs in zip((1 - alpha, alpha), kinds, strict=True):
        anchors = [i for i, _ in pairs]
        each = {i: omega[i] / (anchors.count(i) if loss.mean == "anchors" else 1) for i in anchors}
        total = _sum(each[i] for i in anchors)
        weights |= {(i, j): mixing * each[i] / total for i, j in pairs}
    members = _members(structure, loss.self_pairs)
    return _contrast(gram, weights, members, _ball(loss.temperature))


def _soft(gram: Gram, structure: ClassStructure, loss: SoftSupCon) -> arb:
    array = loss.weights.array
    exact = {(i, j): _ball(weight) for (i, j), weight in np.ndenumerate(array) if weight > 0}
    total = _sum(exact.values())
    weights = {pair: weight / total for pair, weight in exact.items()}
    return _contrast(gram, weights, _members(structure, loss.self_pairs), _ball(loss.temperature))


def _sincere(gram: Gram, structure: ClassStructure, loss: Sincere) -> arb:
    tau, positives = _ball(loss.temperature), _class_pairs(structure)
    anchors = {i: others for i, others in positives.items() if others}
    value = arb(0)
    for i, others in anchors.items():
        apart = set(range(len(gram))) - {i, *others}
        negatives = _sum((gram[i][k] / tau).exp() for k in apart)
        terms = _sum((1 + negatives / (gram[i][j] / tau).exp()).log() for j in others)
        value += terms / (len(others) * len(anchors))
    return value


def _supcon_in(gram: Gram, structure: ClassStructure, loss: SupConIn) -> arb:
    tau, positives = _ball(loss.temperature), _class_pairs(structure)
    anchors = {i: others for i, others in positives.items() if others}
    value = arb(0)
    for i, others in anchors.items():
        total = _sum((gram[i][k] / tau).exp() for k in range(len(gram)) if k != i)
        pulled = _sum((gram[i][j] / tau).exp() for j in others) / len(others)
        value += (total / pulled).log() / len(anchors)
    return value


# --------------------------------------------------------------------- other losses


def _sigmoid(gram: Gram, structure: ClassStructure, loss: Sigmoid) -> arb:
    scale, bias = _ball(loss.scale), _ball(loss.bias)
    instances = range(structure.total_instances)
    logit = {(i, j): scale * gram[2 * i][2 * j + 1] - bias for i in instances for j in instances}
    terms = [(1 + (-z if i == j else z).exp()).log() for (i, j), z in logit.items()]
    return _sum(terms) / len(instances)


def _mean(gram: Gram, pairs: list[tuple[int, int]]) -> arb:
    return _sum(gram[i][j] for i, j in pairs) / max(len(pairs), 1)


@functools.cache
def _pairs(structure: ClassStructure):
    """All pairs; of one class and different instances; of one instance (i = j among them)."""
    rows = list(enumerate(oracles.labels(structure)))
    every = [(a, b) for a in rows for b in rows]
    sup = [(i, j) for (i, a), (j, b) in every if a[0] == b[0] and a[1] != b[1]]
    own = [(i, j) for (i, a), (j, b) in every if a[:2] == b[:2]]
    return [(i, j) for (i, _), (j, _) in every], sup, own


def _spectral(gram: Gram, structure: ClassStructure, loss: Spectral) -> arb:
    alpha, scale = _ball(loss.alpha), _ball(loss.scale)
    every, sup, own = _pairs(structure)
    squares = _sum(gram[i][j] ** 2 for i, j in every) / len(every)
    pull = (1 - alpha) * _mean(gram, sup) + alpha * _mean(gram, own)
    return scale**2 * squares - 2 * scale * pull


def _align_uniform(gram: Gram, structure: ClassStructure, loss: AlignUniform) -> arb:
    weight, scale = _ball(loss.weight), _ball(loss.scale)
    every, _, own = _pairs(structure)
    align = 2 - 2 * _mean(gram, [(i, j) for i, j in own if i != j])
    apart = [(i, j) for i, j in every if i != j]
    uniform = _sum((-scale * (2 - 2 * gram[i][j])).exp() for i, j in apart) / len(apart)
    return align + weight * uniform.log()


_LOSSES = {
    sx.SupCL: _supcl,
    SupCon: _supcon,
    WeightedSupCL: _weighted,
    SoftSupCon: _soft,
    Sincere: _sincere,
    SupConIn: _supcon_in,
    Sigmoid: _sigmoid,
    Spectral: _spectral,
    AlignUniform: _align_uniform,
}
