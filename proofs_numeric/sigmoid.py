"""The sigmoid loss of two towers: from the simplex to antipodal embeddings.

With K ≥ 3 pairs, logits t⟨u, v⟩ - b, cosine s of matched and o of unmatched pairs, the averaged
loss is log(1+e^{b-ts}) + (K-1) log(1+e^{to-b}). The attainable (o, s) satisfy |s| ≤ 1 and
(K-2) s - 2(K-1) o ≤ K, and the edge of that region is the double-constant embedding model.
"""

import functools
import itertools

import jax
import numpy as np

from ssem_jax.certificate import GAP_TOLERANCE, certify
from ssem_jax.claims import Proof, Theorem, Verdict
from ssem_jax.losses import Sigmoid
from ssem_jax.problem import ClassStructure, Problem
from ssem_jax.solver import solve

SOURCE = "Lee, Chung, Yun and Sohn (AISTATS 2024), double-constant embedding model"

_PAIRS = (3, 4, 6, 8)
_SCALES = (0.3, 0.7, 1.5, 3.0, 6.0)
_BIASES = (-3.0, -1.0, 0.0, 0.4, 1.0, 3.0)
_STRICT = 1e-3
"""Cells whose condition is nearer to equality than this (relatively) are left out."""


def _softplus(x):
    return np.logaddexp(0, x)


def _loss(num_pairs, scale, bias, matched, unmatched):
    pulled = _softplus(bias - scale * matched)
    return pulled + (num_pairs - 1) * _softplus(scale * unmatched - bias)


@functools.cache
def minima():
    """(K, t, b, lower, value, gap) of certified cells, by free minimisation."""
    cells = []
    scales, biases = np.array(list(itertools.product(_SCALES, _BIASES))).T
    for num_pairs in _PAIRS:
        structure = ClassStructure((1,) * num_pairs, 2)
        problem = Problem(structure, 2 * num_pairs - 1, Sigmoid(scales, biases))
        found = certify(solve(problem, jax.random.key(0)))
        if not np.all(found.certified):
            worst = float(np.max(found.gap))
            raise RuntimeError(f"K = {num_pairs}: a gap of {worst:.1e} is left uncertified.")
        numbers = (scales, biases, found.lower, found.value, found.gap)
        cells += [(num_pairs, *map(float, cell)) for cell in zip(*numbers, strict=True)]
    return cells


def _judge(matched, unmatched, condition):
    """Optimal exactly where the condition's two sides say so, in every certified cell."""
    gaps: list[float] = []
    for num_pairs, scale, bias, lower, value, gap in minima():
        larger, smaller = condition(num_pairs, scale, bias)
        if abs(larger - smaller) < _STRICT * max(larger, smaller):
            continue
        gaps.append(gap)
        model = _loss(num_pairs, scale, bias, matched, unmatched(num_pairs))
        optimal = model <= lower + GAP_TOLERANCE
        beaten = value < model - GAP_TOLERANCE
        where = {"K": num_pairs, "t": scale, "b": bias}
        cells = len(gaps)
        if (larger > smaller) and beaten:
            return Proof(False, where, cells=cells, gaps=tuple(gaps))
        # Within the gap of the minimum is not at it: such a cell refutes no "not optimal".
        if not (optimal if larger > smaller else beaten):
            return Proof(False, undecided=(where,), cells=cells, gaps=tuple(gaps))
    left_out = "equality of the condition to 1e-3"
    return Proof(True, left_out=left_out, cells=len(gaps), gaps=tuple(gaps))


sigmoid_simplex = Theorem(
    name="sigmoid_simplex",
    statement="For K ≥ 3 pairs the simplex ETF (matched pairs coincide) minimises the sigmoid loss "
    "iff 2(1 + e^{t/(K-1)+b}) ≥ (K-2)(1 + e^{t-b}).",
    prove=lambda: _judge(
        1.0,
        lambda k: -1 / (k - 1),
        lambda k, t, b: (2 * (1 + np.exp(t / (k - 1) + b)), (k - 2) * (1 + np.exp(t - b))),
    ),
    source=SOURCE,
    expected=Verdict.HOLDS,
)

sigmoid_antipodal = Theorem(
    name="sigmoid_antipodal",
    statement="For K ≥ 3 pairs antipodal towers (every u_i = e, every v_j = -e) minimise the "
    "sigmoid loss iff e^{t+b} ≤ (K-2)/2.",
    prove=lambda: _judge(-1.0, lambda k: -1.0, lambda k, t, b: ((k - 2) / 2, np.exp(t + b))),
    source=SOURCE,
    expected=Verdict.HOLDS,
)
