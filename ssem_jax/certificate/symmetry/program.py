r"""The convex program that symmetry leaves of a loss, and its solution.

.. math:: \min_x f(x) \quad \text{where} \quad
          B_\kappa(I) + \sum_o x_o B_\kappa(A_o) \succeq 0 \text{ for every block } \kappa,
          \quad x \ge l,

x_o the entry of G on the orbit o of pairs (a colour and its transpose), f the loss of such a G.
There are as many variables as orbits, and blocks of the size of the algebra's, whatever N is.

Its solution is that of :mod:`.interior`, many programs of one algebra in lock step.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ssem_jax.certificate import rounding
from ssem_jax.certificate.symmetry.algebra import Algebra
from ssem_jax.certificate.symmetry.cones import Cone, cone_of
from ssem_jax.certificate.symmetry.draws import Draws
from ssem_jax.certificate.symmetry.draws import Local as Drawn
from ssem_jax.certificate.symmetry.interior import LAST_BARRIER, Reduced, Stage, minimise
from ssem_jax.certificate.symmetry.newton import Local, Path, System
from ssem_jax.losses.terms import Kind, Terms

ONE = np.zeros(1, int)
"""The lane of a single program."""
INSIDE = 0.1
"""Where the search begins, on the way from the bound of all entries to 1, if 0 is not allowed."""


class Slots(NamedTuple):
    """The terms in arrays, padded with slots of weight 0.

    Attributes:
        weights: (T,) Ω.
        logs: (T, K) log c; -∞ in padding.
        slopes: (T, K) ς.
        orbits: (T, K) the variable of a slot; O, that of the entry 1, on the diagonal.
    """

    weights: Float[np.ndarray, " T"]
    logs: Float[np.ndarray, "T K"]
    slopes: Float[np.ndarray, "T K"]
    orbits: Int[np.ndarray, "T K"]


class Minorant(NamedTuple):
    """f(y) ≥ here + slope·(y - x) - margin for all entries |y| ≤ 1.

    Attributes:
        here: about f(x).
        slope: γ.
        margin: rounding of all that.
    """

    here: float
    slope: Float[np.ndarray, " O"]
    margin: float


class OrbitProgram(abc.ABC):
    """A convex loss over the orbits of an algebra, whatever is known of it.

    Args:
        algebra: of the colours of pairs.
        lower: entries of G are at least this, if given.

    Raises:
        ValueError: a bound that is not below 1.
    """

    def __init__(self, algebra: Algebra, lower: float | None = None) -> None:
        if lower is not None and not lower < 1:
            raise ValueError(
                f"entries of a Gram matrix of unit vectors cannot all be at least {lower:g}, or "
                "are all 1; give a bound below 1."
            )
        self.algebra = algebra
        self.lower = np.full(len(algebra.orbits), -np.inf if lower is None else float(lower))

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[Any, ...]:
        """What programs have in common that differ in numbers alone."""

    @abc.abstractmethod
    def joined(self, programs: Sequence[Any]) -> Reduced:
        """Programs of this shape, a lane each."""

    @abc.abstractmethod
    def minorant(self, x: Float[np.ndarray, " O"]) -> Minorant:
        """An affine function below f, near it at x."""

    @abc.abstractmethod
    def upper_value(self, x: Float[np.ndarray, " O"]) -> float:
        """f(x), rounded upwards."""

    @property
    def num_variables(self) -> int:
        """O."""
        return len(self.algebra.orbits)

    def variable(self, kind: Kind) -> int:
        """The orbit of a kind of pairs; O on the diagonal."""
        orbit = int(self.algebra.orbit_of[self.algebra.colour(kind)])
        return orbit if orbit >= 0 else self.num_variables

    def functional(self, entries: Mapping[Kind, float]) -> Float[np.ndarray, " O"]:
        """(O,) coefficients of Σ_k c_k G_k; diagonal kinds, which are 1, do not count."""
        found = np.zeros(self.num_variables + 1)
        for kind, coefficient in entries.items():
            found[self.variable(kind)] += coefficient
        return found[:-1]

    def entries(self, x: Float[np.ndarray, " O"]) -> dict[Kind, float]:
        """The entry of G of every kind of pairs off the diagonal."""
        orbit_of = self.algebra.orbit_of
        return {
            name: float(x[orbit])
            for name, orbit in zip(self.algebra.names, orbit_of, strict=True)
            if orbit >= 0
        }

    @property
    def cone(self) -> Cone:
        """The blocks that must be positive semidefinite."""
        return cone_of(self.algebra, self.lower.tobytes())

    @cached_property
    def start(self) -> Float[np.ndarray, " O"]:
        """A point inside: orthogonal embeddings, or such that are a little alike."""
        floor = np.maximum(self.lower, -1.0)
        return np.where(floor < 0, 0.0, floor + INSIDE * (1 - floor))


class Program(OrbitProgram):
    """A loss that says its terms.

    Args:
        algebra: of the colours of pairs.
        terms: the loss, in their names.
        lower: entries of G are at least this, if given.

    Raises:
        ValueError: a kind of pairs that the algebra has not, or a bound that is not below 1.
    """

    def __init__(self, algebra: Algebra, terms: Terms, lower: float | None = None) -> None:
        super().__init__(algebra, lower)
        self.terms, number = terms, self.num_variables
        width = max((len(term.slots) for term in terms.terms), default=1)
        shape = len(terms.terms), width
        weights = np.array([term.weight for term in terms.terms], float)
        logs, slopes = np.full(shape, -np.inf), np.zeros(shape)
        orbits = np.full(shape, number)
        for t, term in enumerate(terms.terms):
            for s, (kind, log, slope) in enumerate(term.slots):
                logs[t, s], slopes[t, s], orbits[t, s] = log, slope, self.variable(kind)
        self.slots = Slots(weights, logs, slopes, orbits)
        self.draws = Draws(terms.draws, self.variable, number)
        self.pulls = np.zeros(number)
        for kind, pull in terms.pulls.items():
            if (orbit := self.variable(kind)) < number:
                self.pulls[orbit] += pull

    def exponents(self, x: Float[np.ndarray, " O"]) -> Float[np.ndarray, "T K"]:
        """log c - ς(1-x) of every slot."""
        apart = np.append(1 - x, 0.0)[self.slots.orbits]
        return self.slots.logs - self.slots.slopes * apart

    def shares(self, x: Float[np.ndarray, " O"]) -> tuple[np.ndarray, np.ndarray]:
        """(T,) the log-sum-exp of every term, and (T, K) the shares of its slots."""
        exponents = self.exponents(x)
        top = exponents.max(axis=1, keepdims=True)
        parts = np.exp(exponents - top)
        total = parts.sum(axis=1, keepdims=True)
        return (top + np.log(total))[:, 0], parts / total

    def value(self, x: Float[np.ndarray, " O"]) -> float:
        """f."""
        return float(Programs([self]).values(x[None], ONE)[0])

    def slope(self, x: Float[np.ndarray, " O"]) -> Float[np.ndarray, " O"]:
        """The gradient of f."""
        return Programs([self]).local(x[None], ONE).slope[0]

    @property
    def shape(self) -> tuple[Any, ...]:
        """Algebra, bounds, and which slots there are."""
        orbits, drawn = self.slots.orbits, bool(self.draws.terms)
        return id(self.algebra), self.lower.tobytes(), orbits.shape, orbits.tobytes(), drawn

    def joined(self, programs: Sequence[Program]) -> Programs:
        """Programs of this shape, a lane each."""
        return Programs(programs)

    def minorant(self, x: Float[np.ndarray, " O"]) -> Minorant:
        """That of Gibbs, of the shares at x; of draws the tangent."""
        rounding.check_numpy()
        weights, logs, slopes, orbits = self.slots
        _, shares = self.shares(x)
        used = shares > 0
        log_shares = np.log(np.where(used, shares, 1))
        log_counts = np.where(used, logs, 0)
        constant = float(weights @ np.sum(shares * (log_counts - log_shares), axis=1))
        flat = (weights[:, None] * shares * slopes).ravel()
        number = self.num_variables
        pushes = np.bincount(orbits.ravel(), flat, number + 1)[:number]
        slope = pushes - self.pulls
        here = constant + self.terms.constant - float(slope @ (1 - x))
        steep = np.max(np.abs(slopes), axis=1)
        of_orbit = int(np.bincount(orbits.ravel(), minlength=number + 1)[:-1].max(initial=0))
        margin = rounding.orbit_minorant(
            max(sum(orbits.shape), of_orbit + number),
            slopes.shape[1],
            loose=float(weights @ (np.max(np.abs(log_counts), axis=1) + 2 * steep + 1)),
            sizes=float(weights @ np.sum(shares * (np.abs(log_counts) - log_shares), axis=1))
            + abs(self.terms.constant),
            slopes=float(np.abs(pushes).sum() + np.abs(self.pulls).sum()),
        )
        drawn = self.draws.local(x)  # entries differ by 2 at most
        margin = margin + drawn.error + 2 * drawn.loose
        return Minorant(here + drawn.value, slope + drawn.slope, margin)

    def upper_value(self, x: Float[np.ndarray, " O"]) -> float:
        """f(x), rounded upwards."""
        rounding.check_numpy()
        weights, _, slopes, orbits = self.slots
        logs, shares = self.shares(x)
        arguments = np.abs(slopes) * np.append(1 - x, 0.0)[orbits]
        counts = np.max(np.where(shares > 0, np.abs(self.slots.logs), 0), axis=1)
        sizes = float(weights @ (np.abs(logs) + counts) + np.abs(self.pulls) @ np.abs(1 - x))
        error = rounding.orbit_value(
            len(orbits) + self.num_variables,
            slopes.shape[1],
            weights=float(weights.sum()),
            arguments=float(weights @ np.sum(shares * arguments, axis=1)),
            sizes=sizes + abs(self.terms.constant),
        )
        return self.value(x) + error + self.draws.local(x).error


class Programs:
    """Programs that differ in numbers alone, a lane each, for :mod:`.interior`.

    Args:
        programs: as :func:`alike` finds them.
    """

    def __init__(self, programs: Sequence[Program]) -> None:
        first = programs[0]
        self.first, self.draws = first, [program.draws for program in programs]
        self.weights, self.logs, self.slopes = (
            np.stack([program.slots[k] for program in programs]) for k in range(3)
        )
        self.pulls = np.stack([program.pulls for program in programs])
        self.constants = np.array([program.terms.constant for program in programs], float)
        self.orbits, number = first.slots.orbits, first.num_variables
        rows = np.arange(len(self.orbits))[:, None]
        self.of_terms = (rows * (number + 1) + self.orbits).ravel()

    @property
    def cone(self) -> Cone:
        """The blocks that must be positive semidefinite."""
        return self.first.cone

    def _shares(self, x: np.ndarray, lanes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(B,) losses but for draws, and (B, T, K) shares of slots."""
        apart = np.append(1 - x, np.zeros((len(x), 1)), axis=1)[:, self.orbits]
        exponents = self.logs[lanes] - self.slopes[lanes] * apart
        top = exponents.max(axis=2, keepdims=True, initial=-np.inf)
        parts = np.exp(exponents - top)
        total = parts.sum(axis=2, keepdims=True)
        logs = np.sum(self.weights[lanes] * (top + np.log(total))[..., 0], axis=1)
        return logs + np.sum(self.pulls[lanes] * (1 - x), axis=1) + self.constants[lanes], (
            parts / total
        )

    def _drawn(self, x: np.ndarray, lanes: np.ndarray) -> list[Drawn] | None:
        if not self.first.draws.terms:
            return None
        return [self.draws[lane].local(one) for one, lane in zip(x, lanes.tolist(), strict=True)]

    def values(self, x: Float[np.ndarray, "B O"], lanes: np.ndarray) -> Float[np.ndarray, " B"]:
        """f of some lanes."""
        values, drawn = self._shares(x, lanes)[0], self._drawn(x, lanes)
        return values + np.array([each.value for each in drawn]) if drawn else values

    def local(self, x: Float[np.ndarray, "B O"], lanes: np.ndarray) -> Local:
        """f, its gradient and its Hessian."""
        value, shares = self._shares(x, lanes)
        weights, slopes = self.weights[lanes], self.slopes[lanes]
        (count, terms, _), number = shares.shape, x.shape[1]
        steep = shares * slopes
        means = _summed(steep, self.of_terms, terms * (number + 1))
        means = means.reshape(count, terms, number + 1)[..., :-1]
        squares = _summed(weights[..., None] * steep * slopes, self.orbits.ravel(), number + 1)
        roots = np.sqrt(weights)[..., None] * means
        bend = -np.swapaxes(roots, 1, 2) @ roots
        bend[:, np.arange(number), np.arange(number)] += squares[:, :-1]
        slope = np.einsum("bt,bto->bo", weights, means) - self.pulls[lanes]
        if drawn := self._drawn(x, lanes):
            value = value + np.array([each.value for each in drawn])
            slope = slope + np.stack([each.slope for each in drawn])
            bend = bend + np.stack([each.bend for each in drawn])
        return Local(value, slope, bend)


def _summed(
    numbers: Float[np.ndarray, "B T K"], places: Int[np.ndarray, " TK"], width: int
) -> Float[np.ndarray, "B width"]:
    """Sums of the numbers of each lane by place."""
    lanes = len(numbers)
    every = (np.arange(lanes)[:, None] * width + places).ravel()
    sums = np.bincount(every, numbers.ravel(), lanes * width)
    return sums.astype(float, copy=False).reshape(lanes, width)  # of no number they are integers


def alike(programs: Sequence[OrbitProgram]) -> list[Int[np.ndarray, " B"]]:
    """Which programs differ in numbers alone: places of those of every shape."""
    shapes: dict[tuple[Any, ...], list[int]] = {}
    for place, program in enumerate(programs):
        shapes.setdefault(program.shape, []).append(place)
    return [np.array(places) for places in shapes.values()]


def minimised(program: Program, last: float = LAST_BARRIER) -> Float[np.ndarray, " O"]:
    """Where the central path of one program is at ν = `last`."""
    return minimise(Programs([program]), program.start[None], last).x[0]


def central_path(program: Program, begin: Stage | None = None) -> list[Stage]:
    """Points of the central path of one program; `begin` is of one nearby, with the same cone."""
    passed: list[Stage] = []
    minimise(Programs([program]), program.start[None], begin=begin, passed=passed)
    return passed


def drift(program: Program, path: Path, slope: Float[np.ndarray, " O"]) -> Float[np.ndarray, " O"]:
    """How fast a point of the central path moves, of a loss whose gradient changes as fast."""
    lanes = Programs([program])
    system = System(program.cone, path, lanes.local(path.x, ONE))
    return -system.answer(slope[None])[0]
