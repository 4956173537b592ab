r"""Losses of free features and classifier weights: the model of neural collapse.

.. math:: F(W, H, b) = \frac1N \sum_i \ell(z_i), \qquad z_{ik} = \langle w_k, h_i \rangle + b_k,

* :class:`CrossEntropy`: :math:`\ell = \log \sum_k e^{z_{ik}} - \langle t_i, z_i \rangle`;
* :class:`SquaredError`: :math:`\ell = \tfrac12 |z_i - t_i|^2`,

t_i the label of sample i, for cross-entropy smoothed by ε: 1 - ε + ε/K for its class and ε/K for
the others. W (K, d) are the weights of the classes, H (N, d) the features. F is convex in the
block Z of the Gram matrix of [W; H], so that what bounds the norms of W and H decides the optimum:

* :class:`Ridge`: :math:`+ \tfrac{\lambda_W}{2} |W|^2 + \tfrac{\lambda_H}{2} |H|^2`, weight decay;
* :class:`Budget`: :math:`|W|^2 \le K E_W` and :math:`\sum_k |H_k|^2 / n_k \le K E_H`, the
  layer-peeled model;
* :class:`Balls`: :math:`|w_k| \le s` and :math:`|h_i| \le r`;
* :class:`Unit`: unit rows, logits over τ. It has the optimum of balls, since the diagonal of the
  Gram matrix is not in the loss.

References:
    Zhu, Ding, Zhou, Li, You, Sulam and Qu (NeurIPS 2021) for ridge; Tirer and Bruna (ICML 2022) for
    squared error; Fang, He, Long and Su (PNAS
    2021) for budgets; Wang, Xiang, Cheng and Yuille (ACM MM 2017) for unit rows.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from ssem_jax.problem.arrays import AnyArray
from ssem_jax.problem.validation import (
    check_count,
    check_positive,
    check_type,
    concrete,
    shown,
)


class Norms:
    """What bounds the norms of weights and features."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # pyright: ignore[reportArgumentType]
            name = f"{field.name} of {type(self).__name__}"
            value = getattr(self, field.name)
            check_positive(name, value)
            if np.ndim(value):
                raise ValueError(f"{name} must be one number; got {shown(value)}.")
            object.__setattr__(self, field.name, float(value))


@dataclasses.dataclass(frozen=True)
class Ridge(Norms):
    """Weight decay λ_W of the weights and λ_H of the features."""

    weights: float
    features: float


@dataclasses.dataclass(frozen=True)
class Budget(Norms):
    """Mean squared norms: E_W at most over the weights, E_H over the features, by class."""

    weights: float
    features: float


@dataclasses.dataclass(frozen=True)
class Balls(Norms):
    """The norm s of every weight, and r of every feature, at most."""

    weights: float
    features: float


@dataclasses.dataclass(frozen=True)
class Unit(Norms):
    """Weights and features of norm 1, whose inner products are divided by τ."""

    temperature: float


@dataclasses.dataclass(frozen=True)
class LastLayer(abc.ABC):
    """A loss of a last layer over free features: :class:`CrossEntropy` or :class:`SquaredError`.

    Args:
        norms: :class:`Ridge`, :class:`Budget`, :class:`Balls` or :class:`Unit`.
        bias: False for none, True for free biases, or the weight λ_b > 0 of λ_b/2 |b|².

    Raises:
        ValueError: other norms, or a weight of the bias that is not positive.
    """

    norms: Norms
    bias: bool | float = False

    def __post_init__(self) -> None:
        known = (Ridge, Budget, Balls, Unit)
        check_type("norms", self.norms, known, "Ridge(λ_W, λ_H), Budget, Balls or Unit(τ)")
        if not isinstance(self.bias, bool):
            check_positive("bias, if it is no bool but the weight of its squares,", self.bias)

    def targets(self, num_classes: float) -> tuple[float, float]:
        """Labels t of a sample, for its own class and for another."""
        return 1.0, 0.0

    @abc.abstractmethod
    def of_logits(self, logits: Any, labels: Any) -> Any:
        """Mean ℓ of logits (N, K) with labels (N,), arrays of JAX or of NumPy alike."""

    @property
    def temperature(self) -> float:
        """τ, by which inner products are divided; 1 but for unit rows."""
        return self.norms.temperature if isinstance(self.norms, Unit) else 1.0

    def value(
        self,
        weights: Float[AnyArray, "K d"],
        features: Float[AnyArray, "N d"],
        labels: Int[AnyArray, " N"],
        bias: Float[AnyArray, " K"] | None = None,
    ) -> Any:
        """F with what norms and bias cost; norms that are bounded are not looked at.

        Args:
            weights: of every class.
            features: of every sample.
            labels: class of every sample, from 0.
            bias: of every class.
        """
        logits = features @ weights.T / self.temperature
        logits = logits if bias is None else logits + bias[None, :]
        return self.of_logits(logits, labels) + self.penalty(weights, features, bias)

    def penalty(self, weights: Any, features: Any, bias: Any = None) -> Any:
        """What norms and bias cost."""
        cost = 0.0
        if isinstance(self.norms, Ridge):
            squares = self.norms.weights * (weights**2).sum()
            cost = (squares + self.norms.features * (features**2).sum()) / 2
        if bias is not None and self.decay > 0:
            cost = cost + self.decay * (bias**2).sum() / 2
        return cost

    @property
    def decay(self) -> float:
        """λ_b; 0 where the bias is free, or none."""
        return 0.0 if isinstance(self.bias, bool) else float(self.bias)


@dataclasses.dataclass(frozen=True)
class CrossEntropy(LastLayer):
    """Cross-entropy of a last layer over free features.

    Args:
        norms: :class:`Ridge`, :class:`Budget`, :class:`Balls` or :class:`Unit`.
        bias: False for none, True for free biases, or the weight λ_b > 0 of λ_b/2 |b|².
        smoothing: ε in [0, 1), of the labels.

    Raises:
        ValueError: other norms, a weight of the bias that is not positive, or ε out of range.
    """

    smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        smoothing = concrete(self.smoothing, "smoothing")
        if smoothing is None or smoothing.shape or not 0 <= smoothing < 1:
            raise ValueError(f"smoothing must lie in [0, 1); got {shown(self.smoothing)}.")

    def targets(self, num_classes: float) -> tuple[float, float]:
        """Labels t of a sample, for its own class and for another."""
        rest = self.smoothing / num_classes
        return 1 - self.smoothing + rest, rest

    def of_logits(self, logits: Any, labels: Any) -> Any:
        """Mean cross-entropy of logits (N, K) with labels (N,)."""
        if isinstance(logits, np.ndarray):
            top = logits.max(axis=1)
            logs = top + np.log(np.sum(np.exp(logits - top[:, None]), axis=1))
        else:
            logs = jax.nn.logsumexp(logits, axis=1)
        own = logits[np.arange(len(labels)), labels]
        return (logs - (1 - self.smoothing) * own - self.smoothing * logits.mean(axis=1)).mean()


@dataclasses.dataclass(frozen=True)
class SquaredError(LastLayer):
    """Half the squared distance of the logits from the labels, 1 for a sample's class, else 0.

    Args:
        norms: :class:`Ridge`, :class:`Budget`, :class:`Balls` or :class:`Unit`.
        bias: False for none, True for free biases, or the weight λ_b > 0 of λ_b/2 |b|².

    Raises:
        ValueError: other norms, or a weight of the bias that is not positive.
    """

    def of_logits(self, logits: Any, labels: Any) -> Any:
        """Half the mean squared distance of logits (N, K) from labels (N,)."""
        own = logits[np.arange(len(labels)), labels]
        return ((logits**2).sum(axis=1) - 2 * own + 1).mean() / 2


def check_last_layer(loss: Any) -> None:
    """Raise a ValueError unless it is a :class:`CrossEntropy` or a :class:`SquaredError`."""
    known = (CrossEntropy, SquaredError)
    check_type("loss", loss, known, "a CrossEntropy or SquaredError(norms=Ridge(λ_W, λ_H))")


def checked_sizes(sizes: Any) -> tuple[int, ...]:
    """Samples of every class.

    Raises:
        ValueError: fewer than two classes, or a size that is no integer of at least 1.
    """
    if isinstance(sizes, str) or not hasattr(sizes, "__iter__"):
        raise ValueError(
            f"sizes must be integers, one for each class, as (100, 100, 5); got {shown(sizes)}."
        )
    found = tuple(check_count("every class size", size, 1) for size in sizes)
    if len(found) < 2:
        raise ValueError(f"there must be at least 2 classes; got {len(found)}.")
    return found
