r"""What the losses of a last layer differ in: the outputs of a sample, and the conjugate.

The loss of a sample with logits z and label t is ℓ(z), convex, and its slope is P - t for outputs P
of z. By the inequality of Fenchel and Young, for any P that may be outputs,

.. math:: \ell(z) \ge \ell^*(P) + \langle P - t, z \rangle,

* **cross-entropy**: P are the probabilities softmax(z), ℓ* their entropy; what is left out is
  KL(P ‖ softmax z), and so outputs differ by √(2 left out) at most, added up (Pinsker);
* **squared error** ½|z - t|²: P is z, ℓ* is ½|t|² - ½|P|²; what is left out is ½|z - P|², and so
  any two outputs differ by √2·√(2 left out) at most, added up.

Rows say one output for a sample's own class and one for a class of every kind, of which there are
several copies.
"""

from __future__ import annotations

import abc
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ssem_jax.certificate import rounding
from ssem_jax.losses.features import CrossEntropy, LastLayer

SLIGHTLY = 1 + 2.0**-20
"""Factor on sums of errors, which are rounded themselves."""


class Rows(NamedTuple):
    """Outputs of one class, and how far exact ones may be from them."""

    values: Float[np.ndarray, "D D+1"]
    errors: Float[np.ndarray, "D D+1"]


class Outputs(abc.ABC):
    """Outputs of a loss.

    Args:
        copies: (D, D+1) of a class of every kind.
        targets: (D, D+1) t, of one copy.
    """

    positive: bool
    """Whether they must be, and do not change where all logits are shifted."""

    def __init__(
        self, copies: Float[np.ndarray, "D D+1"], targets: Float[np.ndarray, "D D+1"]
    ) -> None:
        self.copies, self.targets = copies, targets

    @abc.abstractmethod
    def at(self, logits: Float[np.ndarray, "D D+1"]) -> tuple[np.ndarray, np.ndarray]:
        """(D,) ℓ of a sample of every kind, and (D, D+1) outputs of one class."""

    @abc.abstractmethod
    def bend(self, outputs: Float[np.ndarray, "D D+1"]) -> tuple[np.ndarray, np.ndarray]:
        """The Hessian of ℓ is Diag s - m mᵀ: (D, D+1) s and m, of all copies together."""

    @abc.abstractmethod
    def exact(self, outputs: Float[np.ndarray, "D D+1"]) -> Rows:
        """Rows that may be outputs, near these."""

    @abc.abstractmethod
    def conjugate(self, rows: Rows, shares: Float[np.ndarray, " D"]) -> tuple[float, float, float]:
        """Σ shares ℓ*, how far that of exact rows may be from it, and its sizes."""

    @abc.abstractmethod
    def sizes(
        self, logits: Float[np.ndarray, "D D+1"], sizes: Float[np.ndarray, "D D+1"]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(D,) by what errors of logits relative to their sizes count in ℓ, and the sizes of ℓ."""

    @abc.abstractmethod
    def reach(self, left_out: Float[np.ndarray, " D"]) -> Float[np.ndarray, " D"]:
        """(D,) how far any two outputs may be from P, added up."""

    @abc.abstractmethod
    def logits_of(
        self, rows: Rows, left_out: Float[np.ndarray, " D"]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(D, D+1) logits with outputs P, and how far others may be where as much is left out;
        those of positive outputs but for a shift of every row."""


class Softmax(Outputs):
    """Outputs of cross-entropy."""

    positive = True

    def _logs(self, logits: Float[np.ndarray, "D D+1"]) -> Float[np.ndarray, "D 1"]:
        """Log-sum-exp of all copies."""
        with np.errstate(divide="ignore"):
            exponents = logits + np.log(self.copies)
        top = exponents.max(axis=1, keepdims=True)
        return top + np.log(np.exp(exponents - top).sum(axis=1, keepdims=True))

    def at(self, logits: Float[np.ndarray, "D D+1"]) -> tuple[np.ndarray, np.ndarray]:
        logs = self._logs(logits)
        pulls = np.sum(self.copies * self.targets * logits, axis=1)
        return logs[:, 0] - pulls, np.exp(logits - logs)

    def bend(self, outputs: Float[np.ndarray, "D D+1"]) -> tuple[np.ndarray, np.ndarray]:
        found = self.copies * outputs
        return found, found

    def exact(self, outputs: Float[np.ndarray, "D D+1"]) -> Rows:
        values = outputs / np.sum(self.copies * outputs, axis=1, keepdims=True)
        return Rows(values, rounding.gamma(len(values) + 8) * values)

    def conjugate(self, rows: Rows, shares: Float[np.ndarray, " D"]) -> tuple[float, float, float]:
        logs = np.abs(np.log(np.where(rows.values > 0, rows.values, 1)))
        parts = shares[:, None] * self.copies
        entropy = float(np.sum(parts * rows.values * logs))
        loose = float(np.sum(parts * rows.errors * (logs + 2)))
        if np.any(rows.errors > rows.values / 2):  # then logarithms differ by more than that
            loose = np.inf
        return entropy, loose, entropy

    def sizes(
        self, logits: Float[np.ndarray, "D D+1"], sizes: Float[np.ndarray, "D D+1"]
    ) -> tuple[np.ndarray, np.ndarray]:
        pulls = np.sum(self.copies * self.targets * sizes, axis=1)
        ends = np.max(np.where(self.copies > 0, sizes, 0), axis=1)
        return ends + pulls, np.abs(self._logs(logits)[:, 0]) + pulls

    def reach(self, left_out: Float[np.ndarray, " D"]) -> Float[np.ndarray, " D"]:
        return np.sqrt(2 * left_out)

    def logits_of(
        self, rows: Rows, left_out: Float[np.ndarray, " D"]
    ) -> tuple[np.ndarray, np.ndarray]:
        """With t = log p - log q of all copies of a class together, their part of the divergence is
        at least p (t - 1 + e^-t), and so t² ≤ 2 (1 + |t|/3) left out/p."""
        positive = np.where(rows.values > 0, rows.values, 1)
        parts = self.copies * (rows.values - rows.errors)
        y = np.where(parts > 0, left_out[:, None] / np.where(parts > 0, parts, 1), np.inf)
        logs = np.log(positive)
        loose = 2 * rows.errors / positive
        loose = loose + rounding.gamma(rounding.LOG_ULPS + 4) * (np.abs(logs) + 1)
        return logs, y / 3 + np.sqrt(y * y / 9 + 2 * y) + loose


class Identity(Outputs):
    """Outputs of squared error, which are the logits."""

    positive = False

    def at(self, logits: Float[np.ndarray, "D D+1"]) -> tuple[np.ndarray, np.ndarray]:
        return np.sum(self.copies * (logits - self.targets) ** 2, axis=1) / 2, logits

    def bend(self, outputs: Float[np.ndarray, "D D+1"]) -> tuple[np.ndarray, np.ndarray]:
        return self.copies, np.zeros_like(outputs)

    def exact(self, outputs: Float[np.ndarray, "D D+1"]) -> Rows:
        return Rows(outputs, np.zeros_like(outputs))

    def conjugate(self, rows: Rows, shares: Float[np.ndarray, " D"]) -> tuple[float, float, float]:
        parts = shares[:, None] * self.copies
        label = float(np.sum(parts * self.targets**2)) / 2
        output = float(np.sum(parts * rows.values**2)) / 2
        loose = float(np.sum(parts * rows.errors * (np.abs(rows.values) + rows.errors)))
        return label - output, loose, label + output

    def sizes(
        self, logits: Float[np.ndarray, "D D+1"], sizes: Float[np.ndarray, "D D+1"]
    ) -> tuple[np.ndarray, np.ndarray]:
        whole, off = sizes + self.targets, np.abs(logits - self.targets)
        wrong = rounding.gamma(rounding.FEATURE_ROUNDINGS + 4) * whole
        return np.sum(self.copies * (off + wrong) * whole, axis=1), self.at(logits)[0]

    def reach(self, left_out: Float[np.ndarray, " D"]) -> Float[np.ndarray, " D"]:
        return 2 * np.sqrt(left_out)

    def logits_of(
        self, rows: Rows, left_out: Float[np.ndarray, " D"]
    ) -> tuple[np.ndarray, np.ndarray]:
        copies = np.where(self.copies > 0, self.copies, 1)
        return rows.values, np.sqrt(2 * left_out[:, None] / copies) + rows.errors


def outputs_of(
    loss: LastLayer, copies: Float[np.ndarray, "D D+1"], targets: Float[np.ndarray, "D D+1"]
) -> Outputs:
    """Those of a loss."""
    return (Softmax if isinstance(loss, CrossEntropy) else Identity)(copies, targets)
