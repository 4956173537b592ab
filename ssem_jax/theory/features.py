r"""Free features and classifier weights: optima in closed form.

All stand on one inequality. For rows P of probabilities, F ≥ mean H(P_i) + ⟨(P-T)/N, Z⟩, with
equality where P are the probabilities of Z, and the norms pay for the rest: so a point is optimal
iff the matrix (P-T)/N is as small as they ask for, and it is singular along Z.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssem_jax.problem.validation import check_count, check_positive, concrete, shown


class BalancedRidge(NamedTuple):
    """The optimum of balanced classes with weight decay: the loss, and the probability of each
    wrong class."""

    loss: float
    other: float


def _checked_smoothing(smoothing: float) -> float:
    value = concrete(smoothing, "smoothing")
    if value is None or value.shape or not 0 <= value < 1:
        raise ValueError(f"smoothing must lie in [0, 1); got {shown(smoothing)}.")
    return float(value)


def balanced_ridge(
    num_classes: int,
    num_samples: int,
    weights: float,
    features: float,
    smoothing: float = 0.0,
) -> BalancedRidge:
    r"""K classes of n samples each, weight decay λ_W and λ_H, with a free bias or without one.

    .. math:: F = -(1-(K-1)q) \log(1-(K-1)q) - (K-1) q \log q, \qquad
              q = \min\Bigl(\frac1K,\; \frac{\varepsilon}{K} + \sqrt{n \lambda_W \lambda_H}\Bigr).

    Weights and features form a simplex, or vanish where q = 1/K.

    Args:
        num_classes: K ≥ 2.
        num_samples: n ≥ 1, of each class.
        weights: λ_W > 0.
        features: λ_H > 0.
        smoothing: ε in [0, 1), of the labels.

    Raises:
        ValueError: an argument out of range.

    References:
        Zhu et al. (NeurIPS 2021) for the simplex; the value is derived here.
    """
    k, n = check_count("num_classes", num_classes, 2), check_count("num_samples", num_samples, 1)
    check_positive("weights, λ_W,", weights)
    check_positive("features, λ_H,", features)
    rest = _checked_smoothing(smoothing) / k
    other = min(1 / k, rest + math.sqrt(n * weights * features))
    own = 1 - (k - 1) * other
    return BalancedRidge(-own * math.log(own) - (k - 1) * other * math.log(other), other)


def squared_ridge(
    sizes: Sequence[int], weights: float, features: float, bias: bool = False
) -> float:
    r"""Least squared error of classes of any sizes with weight decay: singular values of the labels
    Y (K, N), with a free bias of their deviations from the mean sample, shrunk by one amount.

    .. math:: \frac{1}{2N} \sum_j (\sigma_j - z_j)^2 + \sqrt{\lambda_W \lambda_H} \sum_j z_j,
        \qquad z_j = \max(0, \sigma_j - N \sqrt{\lambda_W \lambda_H}).

    Without a bias :math:`\sigma_k = \sqrt{n_k}`, and a class of :math:`n_k \le N^2 \lambda_W
    \lambda_H` has no weight.

    Args:
        sizes: n_k, samples of every class.
        weights: λ_W > 0.
        features: λ_H > 0.
        bias: whether biases are free.

    Raises:
        ValueError: an argument out of range.

    References:
        Tirer and Bruna (ICML 2022) for balanced classes; of any sizes it is the proximal map of the
        nuclear norm.
    """
    counts = np.array([check_count("every class size", size, 1) for size in sizes], float)
    check_positive("weights, λ_W,", weights)
    check_positive("features, λ_H,", features)
    whole, roots = counts.sum(), np.sqrt(counts)
    encoded = np.diag(roots) - bias * np.outer(counts, roots) / whole
    values = np.linalg.svd(encoded, compute_uv=False)
    shrunk = np.maximum(0, values - whole * math.sqrt(weights * features))
    rest = float(np.sum((values - shrunk) ** 2)) / (2 * whole)
    return rest + math.sqrt(weights * features) * float(shrunk.sum())


def simplex_cross_entropy(num_classes: int, scale: float) -> float:
    r"""Balanced classes at the simplex: :math:`\log(1 + (K-1) e^{-cK/(K-1)})`.

    It is the optimum of budgets with :math:`c = \sqrt{E_W E_H}` (the layer-peeled model), of balls
    with c = s r, and of unit rows with c = 1/τ (NormFace).

    Args:
        num_classes: K ≥ 2.
        scale: c > 0.

    Raises:
        ValueError: K < 2, or a scale that is not positive.

    References:
        Fang, He, Long and Su (PNAS 2021); Wang, Xiang, Cheng and Yuille (ACM MM 2017).
    """
    k = check_count("num_classes", num_classes, 2)
    check_positive("scale", scale)
    return math.log1p((k - 1) * math.exp(-scale * k / (k - 1)))


def merged_size(num_samples: int, weights: float, features: float) -> float:
    r"""The size up to which classes of equal size merge under weight decay:
    :math:`N^2 \lambda_W \lambda_H`, whatever the other classes are, with any bias, for
    cross-entropy and for squared error.

    The difference of two such classes is a singular pair of (P-T)/N, of the value
    :math:`\sqrt{n} (1 - p_\mathrm{own} + p_\mathrm{other}) / N \le \sqrt{\lambda_W \lambda_H}`;
    where it is below, weights and features have no part along it.

    Args:
        num_samples: N, of all classes.
        weights: λ_W > 0.
        features: λ_H > 0.

    Raises:
        ValueError: an argument out of range.
    """
    n = check_count("num_samples", num_samples, 1)
    check_positive("weights, λ_W,", weights)
    check_positive("features, λ_H,", features)
    return n * n * weights * features


def ridge_margin(size: int, num_samples: int, weights: float, features: float) -> float:
    r"""By how much its own class is more probable than another of equal size, without smoothing;
    with squared error the difference of its logits:
    :math:`\max(0, 1 - N \sqrt{\lambda_W \lambda_H / n})`.

    Args:
        size: n, of both classes.
        num_samples: N, of all classes.
        weights: λ_W > 0.
        features: λ_H > 0.

    Raises:
        ValueError: an argument out of range.
    """
    n = check_count("size", size, 1)
    return max(0.0, 1 - math.sqrt(merged_size(num_samples, weights, features) / n))
