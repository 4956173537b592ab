r"""The dual of a loss of free features and weights: bounds from any probabilities.

**Bound.** For any P with rows that sum to 1, Gibbs' inequality gives

.. math:: F(Z) \ge \frac1N \sum_i H(P_i) + \langle A, Z \rangle, \qquad A = \frac{P - T}{N}.

For multipliers ν of the weights and μ of the features let ρ be the least number for which
[[ρ Diag ν, Aᵀ], [A, ρ Diag μ]] ⪰ 0, the norm of :math:`\mu^{-1/2} A \nu^{-1/2}`. Paired with X ⪰ 0,

.. math:: \langle A, Z \rangle \ge
   -\tfrac{\rho}{2} \Bigl(\sum_k \nu_k |w_k|^2 + \sum_i \mu_i |h_i|^2\Bigr).

* **Ridge** pays for the right side where ρ ≤ 1 (ν = λ_W, μ = λ_H). Where it is above, P is shrunk
  towards the labels, T + (P-T)/ρ, which is feasible: no bound of tr X is needed.
* **Budgets and balls** bound it, by ρ/2 times the multipliers' sum over their limits.
* **Free biases** ask for 1ᵀA = 0: what is missing is subtracted from every row, and as much of the
  rows' mean as keeps all entries positive mixed in. Biases with a weight cost -|1ᵀA|²/(2λ_b).

**What near-optimal points are like.** Both inequalities leave out nothing but

.. math:: F - \text{bound} = \frac1N \sum_i \mathrm{KL}(P_i \,\|\, P_i^Z)
   + \tfrac12 \langle S, X \rangle,

so that wherever the loss exceeds the bound by at most a gap, the mean probabilities of a class of n
samples are those of P to :math:`\sqrt{2 N \mathrm{gap}/n}` in sum (Pinsker), and of a kind of
classes whose block of S on differences is at least κ ρ Diag(ν, μ), the weights differ from their
mean by 2 gap/(κ ρ ν) at most, squared and added up.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ssem_jax.certificate import rounding
from ssem_jax.certificate.features.program import FeatureProgram
from ssem_jax.certificate.symmetry.bounds import semidefinite
from ssem_jax.losses.features import Ridge

SLIGHTLY = 1 + 2.0**-20
"""Factor on sums of errors, which are rounded themselves."""
SLIGHTLY_MORE = 1 + 2.0**-50
"""Factor on what points are divided by."""
LEAST_MULTIPLIER = 1e-12
"""Multipliers are at least as much of the largest: they must be positive, and what S X = 0 asks for
need not be at points that are not optimal."""
POSITIVE = 8.0
"""Parts of the rows' mean, in units of what free biases are missing, that are mixed in."""


class Pairing(NamedTuple):
    """Norms of A in units of the multipliers, on the means of kinds and on differences."""

    means: float
    apart: Float[np.ndarray, " D"]

    @property
    def stretch(self) -> float:
        """ρ."""
        return max(self.means, float(self.apart.max()))


class Dual(NamedTuple):
    """A lower bound, and what it was made of.

    Attributes:
        lower: no weights, features and biases have a lower loss.
        probabilities: (D, D+1) P, of a sample against its class and against one of every kind.
        off: (D,) how far the exact P may be from these, added up over a row.
        pairing: ρ and its parts.
        stretched: whether multipliers are ρ times those; they are not where norms have a price.
        weights: (D,) ν.
    """

    lower: float
    probabilities: Float[np.ndarray, "D D+1"]
    off: Float[np.ndarray, " D"]
    pairing: Pairing
    stretched: bool
    weights: Float[np.ndarray, " D"]


class _Rows(NamedTuple):
    """Probabilities of one class, and how far exact ones may be from them."""

    values: Float[np.ndarray, "D D+1"]
    errors: Float[np.ndarray, "D D+1"]


def _norm(matrix: Float[np.ndarray, "D D"]) -> float:
    """The largest singular value, or a little more."""
    nothing = np.zeros_like(matrix)
    return -semidefinite(np.block([[nothing, matrix.T], [matrix, nothing]]))


def _columns(program: FeatureProgram, of: Float[np.ndarray, "D D+1"]) -> Float[np.ndarray, " D"]:
    """Means over samples, of a class of every kind."""
    kinds, count = program.kinds, len(program.kinds.sizes)
    others = np.tile(kinds.counts[:, None], (1, count))
    np.fill_diagonal(others, kinds.counts - 1)
    part = kinds.sizes / kinds.num_samples
    return part * of[:, 0] + np.sum(part[:, None] * others * of[:, 1:], axis=0)


def _residual(program: FeatureProgram, rows: _Rows) -> tuple[np.ndarray, np.ndarray]:
    """(D,) 1ᵀA of a class of every kind, and how far that of exact rows may be from it."""
    sizes = _columns(program, rows.values + program.targets)
    loose = rounding.gamma(len(sizes) + 16) * sizes
    found = _columns(program, rows.values - program.targets)
    return found, loose + SLIGHTLY * _columns(program, rows.errors)


def _balanced(program: FeatureProgram, rows: _Rows) -> _Rows:
    """Rows whose mean over samples is that of the labels."""
    found, wrong = _residual(program, rows)
    mean, count = _columns(program, program.targets), len(found)
    wrong = wrong + rounding.gamma(count + 24) * mean
    mixed = min(1.0, POSITIVE * float(np.max((np.abs(found) + wrong) / mean)))

    def wide(of: np.ndarray) -> np.ndarray:
        return np.hstack([of[:, None], np.tile(of, (count, 1))])

    values = (1 - mixed) * (rows.values - wide(found)) + mixed * wide(mean)
    sums = rows.values + wide(np.abs(found) + mixed * mean)
    return _Rows(values, rows.errors + wide(wrong) + rounding.gamma(count + 24) * sums)


def _blocks(
    program: FeatureProgram, of: Float[np.ndarray, "D D+1"], sign: float = -1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Of entries of P - T, feature by weight: A on the means of kinds, and on differences within a
    kind; with sign 1, bounds of both for entries up to these."""
    kinds = program.kinds
    same = np.diag(of[:, 1:])
    crossed = of[:, 1:] * np.sqrt(np.outer(kinds.counts, kinds.counts))
    np.fill_diagonal(crossed, of[:, 0] + (kinds.counts - 1) * same)
    gains = program.scale.gains * kinds.sizes / kinds.num_samples
    return gains[:, None] * crossed, gains * (of[:, 0] + sign * same)


def _pairing(
    program: FeatureProgram, rows: _Rows, weights: np.ndarray, features: np.ndarray
) -> Pairing:
    """The norms of A, rounded upwards."""
    unit = 1 / np.sqrt(features)[:, None] / np.sqrt(weights)
    sizes = rows.values + program.targets
    wrong = rows.errors + rounding.gamma(rounding.FEATURE_ROUNDINGS) * sizes
    means, apart = _blocks(program, rows.values - program.targets)
    off, off_apart = _blocks(program, wrong, 1.0)
    loose = 1 + rounding.gamma(unit.size + 8)
    both = (np.abs(apart) + off_apart) * np.diag(unit)
    apart = np.where(program.kinds.counts > 1, both, 0) * loose
    return Pairing((_norm(means * unit) + float(np.linalg.norm(off * unit))) * loose, apart)


def _shrunk(program: FeatureProgram, rows: _Rows, part: float) -> _Rows:
    """Part of the way from the labels."""
    values = (1 - part) * program.targets + part * rows.values
    return _Rows(values, part * rows.errors + rounding.gamma(4) * values)


def multipliers(
    program: FeatureProgram,
    x: Float[np.ndarray, " O"],
    probabilities: Float[np.ndarray, "D D+1"],
) -> tuple[np.ndarray, np.ndarray]:
    """(D,) ν and μ: a price common to all; or, where every kind has limits, what S X = 0 asks for
    at an optimum."""
    count = len(program.kinds.sizes)
    if not program.by_kind:
        price = 1 / program.scale.whole if isinstance(program.loss.norms, Ridge) else 1.0
        return np.full(count, price), np.full(count, price)
    slopes, apart = _blocks(program, probabilities - program.targets)
    means, differences = program.blocks(x)
    pulls = -slopes * means[count:, :count]
    rest = -(program.kinds.counts - 1) * apart * differences[:, 0, 1]
    found = np.concatenate([pulls.sum(axis=0) + rest, pulls.sum(axis=1) + rest])
    found = found / np.concatenate(program.usage(x))
    top = float(found.max())
    found = np.maximum(found, LEAST_MULTIPLIER * top) if top > 0 else np.ones(2 * count)
    return found[:count], found[count:]


def lower_bound(
    program: FeatureProgram,
    probabilities: Float[np.ndarray, "D D+1"],
    weights: Float[np.ndarray, " D"],
    features: Float[np.ndarray, " D"],
) -> Dual:
    """The bound of any probabilities and multipliers.

    Args:
        program: the loss.
        probabilities: positive; rows are taken to be divided by their sum.
        weights: ν > 0, of the weights of every kind.
        features: μ > 0, likewise.
    """
    rounding.check_numpy()
    kinds, copies, count = program.kinds, program.copies, len(program.kinds.sizes)
    values = probabilities / np.sum(copies * probabilities, axis=1, keepdims=True)
    rows = _Rows(values, rounding.gamma(count + 8) * values)
    if program.loss.bias is True:
        rows = _balanced(program, rows)
    pairing = _pairing(program, rows, weights, features)
    ridge = isinstance(program.loss.norms, Ridge)
    if ridge and pairing.stretch > 1:
        part = (1 - 8 * rounding.UNIT) / pairing.stretch
        rows = _shrunk(program, rows, part)
        pairing = Pairing(part * pairing.means, part * pairing.apart)
    paid = 0.0
    if not ridge:
        most = kinds.counts if program.by_kind else np.eye(count)[0]
        paid = pairing.stretch * program.scale.whole * float(most @ (weights + features)) / 2
    if program.loss.decay:
        found, wrong = _residual(program, rows)
        paid += float(kinds.counts @ (np.abs(found) + wrong) ** 2) / (2 * program.loss.decay)
    logs = np.abs(np.log(np.where(rows.values > 0, rows.values, 1)))
    shares = program.shares[:, None] * copies
    entropy = float(np.sum(shares * rows.values * logs))
    loose = float(np.sum(shares * rows.errors * (logs + 2)))
    if np.any(rows.errors > rows.values / 2):  # then logarithms differ by more than that
        loose = np.inf
    margin = rounding.feature_bound(count, entropy + paid) + SLIGHTLY * loose
    off = SLIGHTLY * np.sum(copies * rows.errors, axis=1)
    return Dual(entropy - paid - margin, rows.values, off, pairing, not ridge, weights)


def attained(program: FeatureProgram, x: Float[np.ndarray, " O"]) -> Float[np.ndarray, " O"]:
    """A point nearby that weights and features have: positive semidefinite, within the limits."""
    means, apart = program.blocks(x)
    blocks = [means, *apart[program.several]]
    least = min(semidefinite(block) - 8 * rounding.UNIT * np.linalg.norm(block) for block in blocks)
    found = program.lifted(x, -float(least))
    functions, most = program.limits
    if len(most):
        used = functions @ found + rounding.gamma(len(found) + 8) * (
            np.abs(functions) @ np.abs(found)
        )
        found = found / max(1.0, float(np.max(used / most)) * SLIGHTLY_MORE)
    return found


def upper_value(program: FeatureProgram, x: Float[np.ndarray, " O"]) -> float:
    """The loss at x, rounded upwards."""
    logs, _ = program.shares_at(x)
    biases = program.biases(x)
    sizes = program.logit_sizes(x)
    pulls = np.sum(program.copies * program.targets * sizes, axis=1)
    ends = np.max(np.where(program.copies > 0, sizes, 0), axis=1)
    decay = program.loss.decay * float(program.kinds.counts @ biases**2)
    return program.value(x) + rounding.feature_value(
        len(program.shares),
        arguments=float(program.shares @ (ends + pulls)),
        sizes=float(program.shares @ (np.abs(logs) + pulls)),
        costs=float(np.abs(program.cost) @ np.abs(x)) + decay,
        number=len(x),
    )
