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

Both inequalities leave out nothing but

.. math:: F - \text{bound} = \frac1N \sum_i \mathrm{KL}(P_i \,\|\, P_i^Z)
   + \langle S, X \rangle, \qquad
   S = \tfrac12 \begin{pmatrix} \rho \nu & A^T \\ A & \rho \mu \end{pmatrix},

and limits that are not reached, so that wherever the loss exceeds the bound by at most a gap, the
mean probabilities of a class of n samples are those of P to :math:`\sqrt{2 N \mathrm{gap}/n}` in
sum (Pinsker), and of a kind of classes whose block of S on differences is at least κ ρ Diag(ν, μ)/2
the weights differ from their mean by 2 gap/(κ ρ ν) at most, squared and added up. What else
follows is in :mod:`.brackets`; squared error takes the place of cross-entropy in :mod:`.outputs`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ssem_jax.certificate import rounding
from ssem_jax.certificate.features.outputs import SLIGHTLY, Rows
from ssem_jax.certificate.features.program import FeatureProgram
from ssem_jax.certificate.symmetry.bounds import semidefinite
from ssem_jax.losses.features import Ridge

SLIGHTLY_MORE = 1 + 2.0**-50
"""Factor on what points are divided by."""
LEAST_MULTIPLIER = 1e-12
"""Multipliers are at least as much of the largest: they must be positive, and what S X = 0 asks for
need not be at points that are not optimal."""
POSITIVE = 8.0
"""Parts of the rows' mean, in units of what free biases are missing, that are mixed in."""


_Blocks = tuple[np.ndarray, np.ndarray]


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
        rows: (D, D+1) P, of a sample for its class and for one of every kind.
        pairing: ρ and its parts.
        rho: what multipliers are multiplied by, ρ, or 1 where norms have a price.
        weights, features: (D,) ν and μ.
    """

    lower: float
    rows: Rows
    pairing: Pairing
    rho: float
    weights: Float[np.ndarray, " D"]
    features: Float[np.ndarray, " D"]


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


def residual(program: FeatureProgram, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """(D,) 1ᵀA of a class of every kind, and how far that of exact rows may be from it."""
    sizes = _columns(program, np.abs(rows.values) + program.targets)
    loose = rounding.gamma(len(sizes) + 16) * sizes
    found = _columns(program, rows.values - program.targets)
    return found, loose + SLIGHTLY * _columns(program, rows.errors)


def _balanced(program: FeatureProgram, rows: Rows) -> Rows:
    """Rows whose mean over samples is that of the labels, and positive if they must be."""
    found, wrong = residual(program, rows)
    mean, count = _columns(program, program.targets), len(found)
    wrong = wrong + rounding.gamma(count + 24) * mean
    mixed = min(1.0, POSITIVE * float(np.max((np.abs(found) + wrong) / mean)))
    mixed *= program.outputs.positive

    def wide(of: np.ndarray) -> np.ndarray:
        return np.hstack([of[:, None], np.tile(of, (count, 1))])

    values = (1 - mixed) * (rows.values - wide(found)) + mixed * wide(mean)
    sums = np.abs(rows.values) + wide(np.abs(found) + mixed * mean)
    return Rows(values, rows.errors + wide(wrong) + rounding.gamma(count + 24) * sums)


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
    program: FeatureProgram, rows: Rows, weights: np.ndarray, features: np.ndarray
) -> Pairing:
    """The norms of A, rounded upwards."""
    unit = 1 / np.sqrt(features)[:, None] / np.sqrt(weights)
    (means, apart), (off, off_apart) = slopes(program, rows)
    loose = 1 + rounding.gamma(unit.size + 8)
    both = (np.abs(apart) + off_apart) * np.diag(unit)
    apart = np.where(program.kinds.counts > 1, both, 0) * loose
    return Pairing((_norm(means * unit) + float(np.linalg.norm(off * unit))) * loose, apart)


def _shrunk(program: FeatureProgram, rows: Rows, part: float) -> Rows:
    """Part of the way from the labels."""
    rest = (1 - part) * program.targets
    sizes = rest + part * np.abs(rows.values)
    return Rows(rest + part * rows.values, part * rows.errors + rounding.gamma(4) * sizes)


def slopes(program: FeatureProgram, rows: Rows) -> tuple[_Blocks, _Blocks]:
    """A on the means of kinds (feature by weight) and on differences; and how far exact ones are
    from them, entry by entry."""
    sizes = np.abs(rows.values) + program.targets
    wrong = rows.errors + rounding.gamma(rounding.FEATURE_ROUNDINGS) * sizes
    found = _blocks(program, rows.values - program.targets)
    return found, _blocks(program, wrong, 1.0)


def multipliers(
    program: FeatureProgram,
    x: Float[np.ndarray, " O"],
    outputs: Float[np.ndarray, "D D+1"],
) -> tuple[np.ndarray, np.ndarray]:
    """(D,) ν and μ: a price common to all; or, where every kind has limits, what S X = 0 asks for
    at an optimum."""
    count = len(program.kinds.sizes)
    if not program.by_kind:
        price = 1 / program.scale.whole if isinstance(program.loss.norms, Ridge) else 1.0
        return np.full(count, price), np.full(count, price)
    pull, apart = _blocks(program, outputs - program.targets)
    means, differences = program.blocks(x)
    pulls = -pull * means[count:, :count]
    rest = -(program.kinds.counts - 1) * apart * differences[:, 0, 1]
    found = np.concatenate([pulls.sum(axis=0) + rest, pulls.sum(axis=1) + rest])
    found = found / np.concatenate(program.usage(x))
    top = float(found.max())
    found = np.maximum(found, LEAST_MULTIPLIER * top) if top > 0 else np.ones(2 * count)
    return found[:count], found[count:]


def lower_bound(
    program: FeatureProgram,
    outputs: Float[np.ndarray, "D D+1"],
    weights: Float[np.ndarray, " D"],
    features: Float[np.ndarray, " D"],
) -> Dual:
    """The bound of any outputs and multipliers.

    Args:
        program: the loss.
        outputs: P; rows of probabilities are taken to be divided by their sum.
        weights: ν > 0, of the weights of every kind.
        features: μ > 0, likewise.
    """
    rounding.check_numpy()
    kinds, count = program.kinds, len(program.kinds.sizes)
    rows = program.outputs.exact(outputs)
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
        found, wrong = residual(program, rows)
        paid += float(kinds.counts @ (np.abs(found) + wrong) ** 2) / (2 * program.loss.decay)
    free, loose, sizes = program.outputs.conjugate(rows, program.shares)
    margin = rounding.feature_bound(count, sizes + paid) + SLIGHTLY * loose
    rho = 1.0 if ridge else pairing.stretch
    return Dual(free - paid - margin, rows, pairing, rho, weights, features)


def best_bound(
    program: FeatureProgram,
    x: Float[np.ndarray, " O"],
    outputs: Float[np.ndarray, "D D+1"],
) -> Dual:
    """The better bound of two: of the multipliers of a point, and of one for all. Where labels are
    fitted within the limits A vanishes, and what S X = 0 asks for is rounding."""
    ones = np.ones(len(program.kinds.sizes))
    candidates = (multipliers(program, x, outputs), (ones, ones))[: 1 + program.by_kind]
    bounds = [lower_bound(program, outputs, *each) for each in candidates]
    return max(bounds, key=lambda dual: dual.lower)


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
    biases = program.biases(x)
    arguments, sizes = program.outputs.sizes(program.logits(x), program.logit_sizes(x))
    decay = program.loss.decay * float(program.kinds.counts @ biases**2)
    return program.value(x) + rounding.feature_value(
        len(program.shares),
        arguments=float(program.shares @ arguments),
        sizes=float(program.shares @ sizes),
        costs=float(np.abs(program.cost) @ np.abs(x)) + decay,
        number=len(x),
    )
