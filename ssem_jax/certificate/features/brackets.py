r"""Norms, cosines and alignment of every near-optimal last layer, enclosed.

With F - bound ≤ gap, what the bound of :mod:`.bounds` left out is at most the gap, part by part:

.. math:: \frac1N \sum_i \text{left out of } \ell, \qquad \langle S, X \rangle, \quad
   S = \tfrac12 \begin{pmatrix} \rho \nu & A^T \\ A & \rho \mu \end{pmatrix} \succeq 0, \qquad
   \tfrac\rho2 \sum \nu (\text{limit} - |w|^2).

* **Logits** are near those of P, but for a shift of every sample (cross-entropy) and of every class
  (free biases). A √c = 0 where rows of P sum to 1, so that S ⪰ ρ/2 on that direction and Σ νₖ wₖ is
  small: the mean logit of a sample, weighted with ν, is nearly 0. So are those of a class, weighted
  with μ, where 1ᵀA = 0. That leaves the block C of X.
* **Norms**: |SX| ≤ √(|S| ⟨S,X⟩ |X|) is small, and its blocks are ρνP + AᵀCᵀ and AC + ρμQ: they
  say P and Q. On differences of two classes of a kind likewise, or both are small where ρ is larger
  than A there. Limits that are paid for are nearly used.
* **Cosines** are quotients of these.

Matrices are balls, midpoints and radii of entries, whose radii grow by rounding too. Classes of one
size are averaged over, as in the program: of a near-optimal point that treats them differently,
ends hold for mean squared norms and mean inner products.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ssem_jax.certificate import rounding
from ssem_jax.certificate.features.bounds import Dual, residual, slopes
from ssem_jax.certificate.features.outputs import SLIGHTLY
from ssem_jax.certificate.features.program import FeatureProgram
from ssem_jax.losses.features import Ridge

FACTOR_ROUNDINGS = 32
"""Of a factor made of gains, counts, multipliers and their roots."""

Ends = tuple[np.ndarray, np.ndarray]
"""Lower and upper ends."""


class Ball(NamedTuple):
    """Numbers: midpoints and radii."""

    mid: np.ndarray
    radius: np.ndarray

    @property
    def size(self) -> np.ndarray:
        """The most that absolute values can be."""
        return np.abs(self.mid) + self.radius

    @property
    def ends(self) -> Ends:
        """Lower and upper ends."""
        wide = SLIGHTLY * self.radius + rounding.gamma(4) * np.abs(self.mid)
        return self.mid - wide, self.mid + wide

    def plus(self, other: Ball, sign: float = 1.0) -> Ball:
        """Sum, or difference."""
        mid = self.mid + sign * other.mid
        return Ball(mid, self.radius + other.radius + rounding.gamma(4) * np.abs(mid))

    def widened(self, by: np.ndarray | float) -> Ball:
        """With larger radii."""
        return Ball(self.mid, self.radius + by)

    def times(self, factor: np.ndarray) -> Ball:
        """By computed factors, entry by entry."""
        size = np.abs(factor)
        loose = rounding.gamma(FACTOR_ROUNDINGS) * size
        return Ball(self.mid * factor, self.radius * (size + loose) + np.abs(self.mid) * loose)

    def into(self, other: Ball) -> Ball:
        """Matrix product."""
        mid = self.mid @ other.mid
        loose = rounding.gamma(self.mid.shape[-1] + 4) * (np.abs(self.mid) @ np.abs(other.mid))
        radius = np.abs(self.mid) @ other.radius + self.radius @ other.size
        return Ball(mid, radius + loose)

    @property
    def turned(self) -> Ball:
        """Transposed."""
        return Ball(self.mid.T, self.radius.T)


@dataclasses.dataclass(frozen=True)
class GeometryBrackets:
    """Lower and upper ends, of weights or of features.

    Attributes:
        norms: (D,) each, of one class of every kind.
        cosines: (D, D) each; on the diagonal between two classes of a kind, 1 where it has but one.
    """

    norms: Ends
    cosines: Ends


@dataclasses.dataclass(frozen=True)
class FeatureBrackets:
    """What every last layer is like whose loss is at most that of a certified optimum.

    Attributes:
        weights, features: their norms and cosines.
        alignment: (D,) each, cosines of a class's weight and its features.
    """

    weights: GeometryBrackets
    features: GeometryBrackets
    alignment: Ends


class _Room(NamedTuple):
    """The gap, and bounds of tr X in units of the multipliers.

    Attributes:
        gap: what is left out at most.
        trace: tr ν P + tr μ Q with differences, at most.
        weights, features: (D,) ρν and ρμ.
        rho: ρ.
    """

    gap: float
    trace: float
    weights: Float[np.ndarray, " D"]
    features: Float[np.ndarray, " D"]
    rho: float


def enclose(program: FeatureProgram, dual: Dual, value: float) -> FeatureBrackets:
    """Ends of norms, cosines and alignment wherever the loss is at most a value.

    Args:
        program: the loss.
        dual: its lower bound.
        value: of the loss.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return _enclosed(program, dual, value)


def _enclosed(program: FeatureProgram, dual: Dual, value: float) -> FeatureBrackets:
    kinds, whole = program.kinds, program.scale.whole
    gap = SLIGHTLY * max(value - dual.lower, 0.0) + rounding.UNIT * abs(value)
    if isinstance(program.loss.norms, Ridge):
        trace = 2 * value
    else:
        most = kinds.counts if program.by_kind else np.eye(len(kinds.sizes))[0]
        trace = dual.rho * whole * float(most @ (dual.weights + dual.features))
    both = dual.rho * dual.weights, dual.rho * dual.features
    room = _Room(gap, SLIGHTLY * trace, *both, dual.rho)
    (means, apart), (off, off_apart) = slopes(program, dual.rows)
    slope, slope_apart = Ball(means, off), Ball(apart, off_apart)
    crossed, beta = _cross(program, dual, room)
    blocks = (
        _means(slope.turned.into(crossed), room.weights, room),
        _means(slope.into(crossed.turned), room.features, room),
    )
    squares, found = [], []
    scales = program.scale.weights, program.scale.features
    for block, price, unit in zip(blocks, both, scales, strict=True):
        rest = _apart(program, slope_apart, beta, price, room)
        squares.append(_squares(program, block, rest, price, room))
        norms = _rooted(squares[-1], unit)
        found.append(GeometryBrackets(norms, _cosines(program, block, rest, squares[-1])))
    counts = kinds.counts
    own = Ball(np.diag(crossed.mid), np.diag(crossed.radius)).times(1 / counts)
    own = own.plus(beta.times((counts - 1) / counts))
    (low, high), (low_other, high_other) = squares
    alignment = _quotients(own.ends, (low * low_other, high * high_other))
    return FeatureBrackets(found[0], found[1], alignment)


def _cross(program: FeatureProgram, dual: Dual, room: _Room) -> tuple[Ball, Ball]:
    """C, feature by weight, and (D,) β."""
    kinds, gains, loss = program.kinds, program.scale.gains, program.loss
    counts, count = kinds.counts, len(kinds.counts)
    mid, radius = program.outputs.logits_of(dual.rows, room.gap / program.shares)
    several = counts > 1
    own = Ball(mid[:, 0], radius[:, 0])
    same = Ball(*(np.where(several, np.diag(part[:, 1:]), 0) for part in (mid, radius)))
    beta = own.plus(same, -1).times(several / gains)
    mean = own.plus(same.times(counts - 1)).times(1 / counts)
    logits = Ball(mid[:, 1:].copy(), radius[:, 1:].copy())
    for part, diagonal in zip(logits, mean, strict=True):
        np.fill_diagonal(part, diagonal)
    ones = np.ones((count, count))
    if loss.decay:
        found, wrong = residual(program, dual.rows)
        reach = np.sqrt(2 * room.gap / (loss.decay * counts))
        logits = logits.plus(Ball(-found / loss.decay, wrong / loss.decay + reach).times(ones), -1)
    shift = np.zeros((count, count))
    if program.outputs.positive:  # a shift of every sample is free
        whole = float(room.weights @ counts)
        share = Ball(room.weights * counts / whole * ones, np.zeros_like(ones)).times(ones)
        logits = logits.plus(logits.into(share.turned), -1)
        size = np.sqrt(2 * room.gap / whole * room.trace / (room.features * counts))
        shift = shift + (gains * size)[:, None]
    if loss.bias is True:  # one of every class is
        parts = room.features * counts / gains**2
        whole = float(parts.sum())
        share = Ball(parts / whole * ones, np.zeros_like(ones)).times(ones)
        logits = logits.plus(share.into(logits), -1)
        reach = np.sqrt(2 * room.gap / whole * room.trace / (room.weights * counts))
        shift = shift + reach + np.max(shift, initial=0.0)
    roots = np.sqrt(np.outer(counts, counts)) / gains[:, None]
    return logits.widened(shift * SLIGHTLY).times(roots), beta


def _means(product: Ball, price: Float[np.ndarray, " D"], room: _Room) -> Ends:
    """P from AᵀCᵀ, or Q from A C, on both sides of the diagonal."""
    off = 2 * np.sqrt(room.gap * room.trace) / np.sqrt(np.outer(price, price))
    low, high = product.times(-1 / price[:, None]).widened(SLIGHTLY * off).ends
    return np.fmax(low, low.T), np.fmin(high, high.T)


def _apart(
    program: FeatureProgram, slope: Ball, beta: Ball, price: Float[np.ndarray, " D"], room: _Room
) -> Ends:
    """(D,) of the block of differences, 0 where a kind has one class."""
    rest = program.kinds.counts - 1
    product = Ball(slope.mid * beta.mid, slope.size * beta.radius + slope.radius * beta.size)
    off = 2 * np.sqrt(room.gap * room.trace) / (rest * price)
    low, high = product.times(-1 / price).widened(SLIGHTLY * off).ends
    # ⟨S, X⟩ is at least that of the least eigenvalue of S there.
    norm = slope.size / np.sqrt(room.weights * room.features)
    free = SLIGHTLY * 2 * room.gap / (rest * price * (1 - SLIGHTLY * norm))
    high = np.where(norm * SLIGHTLY < 1, np.fmin(high, free), high)
    alone = rest == 0
    return np.where(alone, 0, np.fmax(low, 0)), np.where(alone, 0, np.fmax(high, 0))


def _squares(
    program: FeatureProgram, means: Ends, rest: Ends, price: Float[np.ndarray, " D"], room: _Room
) -> Ends:
    """(D,) squared norms of one class."""
    counts, whole = program.kinds.counts, program.scale.whole
    loose = rounding.gamma(FACTOR_ROUNDINGS)
    low, high = ((np.diag(m) + (counts - 1) * r) / counts for m, r in zip(means, rest, strict=True))
    low, high = low - loose * np.abs(low), high + loose * np.abs(high)
    if program.by_kind:
        low = np.fmax(low, whole * (1 - loose) - 2 * SLIGHTLY * room.gap / (price * counts))
        most = whole * (1 + loose)
    elif len(program.limits[1]):
        most = whole / counts * (1 + loose)
    else:
        most = SLIGHTLY * room.trace / (price * counts)
    high = np.fmin(high, most)
    return np.fmax(low, 0), np.fmax(high, 0)


def _rooted(squares: Ends, unit: Float[np.ndarray, " D"]) -> Ends:
    loose = rounding.gamma(FACTOR_ROUNDINGS)
    low, high = (np.sqrt(end) * unit for end in squares)
    return low * (1 - loose), high * (1 + loose)


def _quotients(products: Ends, squares: Ends) -> Ends:
    """Cosines: inner products by roots of products of squared norms."""
    small, large = (np.sqrt(end) for end in squares)
    low, high = products
    return _clipped(
        np.where(low < 0, low / small, low / large), np.where(high > 0, high / small, high / large)
    )


def _clipped(low: np.ndarray, high: np.ndarray, least: float | np.ndarray = -1.0) -> Ends:
    """Rounded outwards; what is not known is whatever a cosine may be."""
    loose = rounding.gamma(FACTOR_ROUNDINGS)
    low, high = low - loose * np.abs(low), high + loose * np.abs(high)
    return np.fmax(low, least), np.fmin(high, 1.0)


def _cosines(program: FeatureProgram, means: Ends, rest: Ends, squares: Ends) -> Ends:
    """Of two kinds by quotients; within one, whose mean has the squared norm a and whose
    differences have u, (a-u)/(a+(c-1)u), which rises with a and falls with u."""
    counts = program.kinds.counts
    roots = np.sqrt(np.outer(counts, counts))
    both = [end / roots for end in means]
    products = np.outer(squares[0], squares[0]), np.outer(squares[1], squares[1])
    low, high = _quotients((both[0], both[1]), products)

    def within(a: np.ndarray, u: np.ndarray) -> np.ndarray:
        a = np.fmax(a, 0)
        return (a - u) / (a + (counts - 1) * u)

    first, second = (np.diag(end) for end in means)
    least = np.where(counts > 1, -1 / np.maximum(counts - 1, 1), -1)
    ends = _clipped(within(first, rest[1]), within(second, rest[0]), least)
    for matrix, end in zip((low, high), ends, strict=True):
        np.fill_diagonal(matrix, np.where(counts > 1, end, 1.0))
    return low, high
