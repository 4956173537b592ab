r"""The convex program of features and weights that symmetry leaves.

Kind g has c_g classes of n_g samples. On the mean of the weights of a kind and that of its features
X is a matrix [[P, C], [Cᵀ, Q]] of D + D rows, for D kinds; on differences within a kind it is
[[u, β], [β, v]], c_g - 1 times. Vectors of a kind are measured in the basis of 1/√c_g and what is
orthogonal to it, so that logits are, up to a gain,

.. math:: z_\mathrm{own} = \frac{C_{gg} + (c_g-1) \beta_g}{c_g}, \quad
          z_\mathrm{same} = \frac{C_{gg} - \beta_g}{c_g}, \quad
          z_{g \to g'} = \frac{C_{g'g}}{\sqrt{c_g c_{g'}}}.

**Norms in one form.** W and H are measured in units in which all kinds of norms look alike: ridge
costs ½ tr X and bounds nothing, budgets are tr P ≤ 1 and tr Q ≤ 1 (with their blocks of
differences), balls are limits of every kind's diagonal. The gains are

.. math:: \text{ridge: } \frac{1}{\sqrt{\lambda_W \lambda_H n_g}}, \quad
          \text{budgets: } K \sqrt{E_W E_H}, \quad \text{balls: } s r, \quad
          \text{unit rows: } 1/\tau,

divided by the largest of them, u, by which prices are divided and limits multiplied: so gradients
are of order 1 in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ssem_jax.certificate.features.outputs import Outputs, outputs_of
from ssem_jax.certificate.symmetry.cones import Cone, group_of
from ssem_jax.certificate.symmetry.interior import minimise
from ssem_jax.certificate.symmetry.newton import Local
from ssem_jax.losses.features import Balls, Budget, LastLayer, Ridge, Unit

START = 0.4
"""Squared norms with which the search begins, where 1 is the limit if there is one."""


class Kinds(NamedTuple):
    """Classes by their size.

    Attributes:
        sizes: (D,) n, samples of each class of a kind; real numbers are admitted.
        counts: (D,) c, classes of each kind.
    """

    sizes: Float[np.ndarray, " D"]
    counts: Float[np.ndarray, " D"]

    @property
    def num_classes(self) -> float:
        """K."""
        return float(self.counts.sum())

    @property
    def num_samples(self) -> float:
        """N."""
        return float(self.counts @ self.sizes)


def kinds_of(sizes: Sequence[float]) -> Kinds:
    """The kinds of classes of these sizes, the largest first."""
    found, counts = np.unique(np.asarray(sizes, float), return_counts=True)
    return Kinds(found[::-1].copy(), counts[::-1].astype(float))


class Scale(NamedTuple):
    """Units of weights and features, (D,) each: norms are as many times those of here.

    Attributes:
        weights, features: the units.
        gains: of logits; 1 at most.
        whole: u, the largest gain in units of the norms themselves.
    """

    weights: Float[np.ndarray, " D"]
    features: Float[np.ndarray, " D"]
    gains: Float[np.ndarray, " D"]
    whole: float


def scale_of(loss: LastLayer, kinds: Kinds) -> Scale:
    """Units and gains of norms."""
    norms, ones = loss.norms, np.ones(len(kinds.sizes))
    if isinstance(norms, Ridge):
        weights = ones / math.sqrt(norms.weights)
        features = 1 / np.sqrt(norms.features * kinds.sizes)
    elif isinstance(norms, Budget):
        weights, features = (
            ones * math.sqrt(kinds.num_classes * mean) for mean in (norms.weights, norms.features)
        )
    elif isinstance(norms, Balls):
        weights, features = ones * norms.weights, ones * norms.features
    else:
        weights = features = ones
    gains = weights * features / loss.temperature
    whole = float(gains.max())
    root = math.sqrt(whole)
    return Scale(weights / root, features / root, gains / whole, whole)


class FeatureProgram:
    """The loss over the blocks of X, as :func:`ssem_jax.certificate.symmetry.interior.minimise`
    takes it.

    Args:
        loss: of a last layer, with its norms.
        kinds: of classes.
        merged: places of kinds whose classes are made to have one weight.
    """

    def __init__(self, loss: LastLayer, kinds: Kinds, merged: tuple[int, ...] = ()) -> None:
        self.loss, self.kinds = loss, kinds
        self.scale = scale_of(loss, kinds)
        count, others = len(kinds.sizes), kinds.counts - 1
        self.shares = kinds.counts * kinds.sizes / kinds.num_samples
        copies = np.tile(kinds.counts, (count, 1))
        np.fill_diagonal(copies, others)
        self.copies = np.hstack([np.ones((count, 1)), copies])
        own, rest = loss.targets(kinds.num_classes)
        self.targets = np.full((count, count + 1), rest)
        self.targets[:, 0] = own
        self.outputs: Outputs = outputs_of(loss, self.copies, self.targets)
        self.several = np.setdiff1d(np.flatnonzero(others > 0), merged)
        lower = np.tril_indices(count)
        half, kept = len(lower[0]), len(self.several)
        self.triangle = lower
        shifts = loss.bias is True and self.outputs.positive  # all biases by as much change nothing
        free = 0 if loss.bias is False else count - shifts
        sizes = np.cumsum([half, half, count * count, kept, kept, kept, free])
        self._places = [slice(a, b) for a, b in zip([0, *sizes[:-1]], sizes, strict=True)]
        self.num_variables = int(sizes[-1])

    # ------------------------------------------------------------------------------ coordinates

    def blocks(self, x: Float[np.ndarray, " O"]) -> tuple[np.ndarray, np.ndarray]:
        """(2D, 2D) of the means, and (D, 2, 2) of differences, 0 where a kind has one class."""
        count, (p, q, c, u, v, beta, _) = len(self.kinds.sizes), self._places
        means, apart = np.zeros((2 * count, 2 * count)), np.zeros((count, 2, 2))
        for place, first in ((p, 0), (q, count)):
            part = np.zeros((count, count))
            part[self.triangle] = x[place]
            means[first : first + count, first : first + count] = part + np.tril(part, -1).T
        means[:count, count:] = x[c].reshape(count, count)
        means[count:, :count] = means[:count, count:].T
        for place, entries in ((u, (0, 0)), (v, (1, 1)), (beta, (0, 1)), (beta, (1, 0))):
            apart[self.several, *entries] = x[place]
        return means, apart

    def biases(self, x: Float[np.ndarray, " O"]) -> Float[np.ndarray, " D"]:
        """Of the classes of every kind; of the first one 0 where a shift of all changes nothing."""
        found = np.zeros(len(self.kinds.sizes))
        given = x[self._places[-1]]
        if len(given):
            found[-len(given) :] = given
        return found

    @cached_property
    def _logit_map(self) -> Float[np.ndarray, "S O"]:
        """Logits, kind by kind, of every variable."""
        units = np.eye(self.num_variables)
        return np.stack([self.logits(unit).ravel() for unit in units], axis=1)

    def logits(self, x: Float[np.ndarray, " O"]) -> Float[np.ndarray, "D D+1"]:
        """Of a sample of every kind: against its own class, and against one of every kind."""
        count, counts = len(self.kinds.sizes), self.kinds.counts
        (means, apart), biases = self.blocks(x), self.biases(x)
        beta = apart[:, 0, 1]
        crossed = means[:count, count:].T  # feature by weight
        found = np.hstack([np.zeros((count, 1)), crossed / np.sqrt(np.outer(counts, counts))])
        own = np.diag(crossed)
        found[:, 0] = (own + (counts - 1) * beta) / counts
        found[np.arange(count), 1 + np.arange(count)] = (own - beta) / counts
        found *= self.scale.gains[:, None]
        found[:, 0] += biases
        found[:, 1:] += biases
        return found

    def logit_sizes(self, x: Float[np.ndarray, " O"]) -> Float[np.ndarray, "D D+1"]:
        """The sizes of what logits are summed from."""
        return (np.abs(self._logit_map) @ np.abs(x)).reshape(self.targets.shape)

    def usage(self, x: Float[np.ndarray, " O"]) -> tuple[np.ndarray, np.ndarray]:
        """(D,) squared norms of all weights, and of all features, of every kind."""
        count, (means, apart) = len(self.kinds.sizes), self.blocks(x)
        whole, rest = np.diag(means), self.kinds.counts - 1
        return whole[:count] + rest * apart[:, 0, 0], whole[count:] + rest * apart[:, 1, 1]

    @cached_property
    def _usages(self) -> Float[np.ndarray, "U O"]:
        return np.stack([np.concatenate(self.usage(x)) for x in np.eye(self.num_variables)], axis=1)

    def products(self, x: Float[np.ndarray, " O"]) -> tuple[np.ndarray, np.ndarray]:
        """Inner products of weights (0), of features (1), and of weights with features (2), in the
        units of here: (3, D) of one class, (3, D, D) of two of these kinds."""
        count, counts = len(self.kinds.sizes), self.kinds.counts
        means, apart = self.blocks(x)
        one, two = slice(0, count), slice(count, 2 * count)
        places = ((one, one, (0, 0)), (two, two, (1, 1)), (one, two, (0, 1)))
        own, others = np.empty((3, count)), np.empty((3, count, count))
        for k, (rows, columns, place) in enumerate(places):
            block, difference = means[rows, columns], apart[:, *place]
            own[k] = (np.diag(block) + (counts - 1) * difference) / counts
            others[k] = block / np.sqrt(np.outer(counts, counts))
            others[k][np.diag_indices(count)] = (np.diag(block) - difference) / counts
        return own, others

    @property
    def by_kind(self) -> bool:
        """Whether every kind of classes has limits, and so multipliers, of its own."""
        return isinstance(self.loss.norms, (Balls, Unit))

    @cached_property
    def cost(self) -> Float[np.ndarray, " O"]:
        """What norms cost."""
        ridge = isinstance(self.loss.norms, Ridge)
        price = ridge / (2 * self.scale.whole)
        return price * self._usages.sum(axis=0)

    @cached_property
    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """(L, O) and (L,): linear functions of x, and what they may be at most."""
        if self.by_kind:
            return self._usages, self.scale.whole * np.tile(self.kinds.counts, 2)
        if isinstance(self.loss.norms, Budget):
            sums = self._usages.reshape(2, len(self.kinds.sizes), -1).sum(axis=1)
            return sums, np.full(2, self.scale.whole)
        return np.zeros((0, self.num_variables)), np.zeros(0)

    @cached_property
    def cone(self) -> Cone:
        """The blocks that must be positive semidefinite; room in the limits comes last."""
        pairs = [self.blocks(x) for x in np.eye(self.num_variables)]
        means = np.stack([whole for whole, _ in pairs])
        groups = [group_of(np.zeros((1, *means.shape[1:])), means[None])]
        if len(self.several):
            apart = np.stack([rest[self.several] for _, rest in pairs], axis=1)
            groups.append(group_of(np.zeros((len(self.several), 2, 2)), apart))
        functions, most = self.limits
        return Cone(groups, self.num_variables, (most, -functions))

    def lifted(self, x: Float[np.ndarray, " O"], amount: float) -> Float[np.ndarray, " O"]:
        """x with as much more on the diagonal of every block."""
        found, (p, q, _, u, v, _, _) = np.array(x), self._places
        on_diagonal = self.triangle[0] == self.triangle[1]
        for place, where in ((p, on_diagonal), (q, on_diagonal), (u, 1.0), (v, 1.0)):
            found[place] += amount * where
        return found

    @cached_property
    def start(self) -> Float[np.ndarray, " O"]:
        """A point inside: orthogonal weights and features."""
        most = 1.0 if isinstance(self.loss.norms, Ridge) else self.scale.whole
        shared = self.kinds.num_classes if isinstance(self.loss.norms, Budget) else 1.0
        return self.lifted(np.zeros(self.num_variables), START * most / shared)

    # -------------------------------------------------------------------------------- the loss

    def outputs_at(self, x: Float[np.ndarray, " O"]) -> Float[np.ndarray, "D D+1"]:
        """Of a sample of every kind: of its own class, and of one of every kind."""
        return self.outputs.at(self.logits(x))[1]

    def minimised(self) -> Float[np.ndarray, " O"]:
        """A point of the central path near its end."""
        return minimise(self, self.start[None]).x[0]

    def values(self, x: Float[np.ndarray, "1 O"], lanes: np.ndarray) -> Float[np.ndarray, "1"]:
        """The loss, of the only lane."""
        return np.array([self.value(x[0])])

    def value(self, x: Float[np.ndarray, " O"]) -> float:
        """The loss."""
        costs, _ = self.outputs.at(self.logits(x))
        biases = self.biases(x)
        decay = self.loss.decay / 2 * float(self.kinds.counts @ biases**2)
        return float(self.shares @ costs + self.cost @ x + decay)

    def local(self, x: Float[np.ndarray, "1 O"], lanes: np.ndarray) -> Local:
        """The loss, its gradient and its Hessian, of the only lane."""
        x = x[0]
        found = self.outputs_at(x)
        count, width = found.shape
        slopes = self._logit_map.reshape(count, width, -1)
        pull = self.shares[:, None] * self.copies * (found - self.targets)
        slope = self.cost + np.tensordot(pull, slopes, 2)
        stiff, mean = self.outputs.bend(found)
        spread = slopes * np.sqrt(self.shares[:, None] * stiff)[:, :, None]
        flat = spread.reshape(count * width, -1)
        means = np.einsum("gs,gso->go", mean, slopes) * np.sqrt(self.shares)[:, None]
        bend = flat.T @ flat - means.T @ means
        if self.loss.decay:
            own, decay = self._places[-1], self.loss.decay * self.kinds.counts
            slope[own] += decay * x[own]
            bend[own, own] += np.diag(decay)
        return Local(np.array([self.value(x)]), slope[None], bend[None])
