r"""The convex program that symmetry leaves of a loss, and its solution.

.. math:: \min_x f(x) \quad \text{where} \quad
          B_\kappa(I) + \sum_o x_o B_\kappa(A_o) \succeq 0 \text{ for every block } \kappa,
          \quad x \ge l,

x_o the entry of G on the orbit o of pairs (a colour and its transpose), f the loss of such a G.
There are as many variables as orbits, and blocks of the size of the algebra's, whatever N is.

**The solver** is a primal-dual interior-point method: a Newton step for

.. math:: \nabla f(x) = \sum_\kappa B_\kappa^*(Z_\kappa), \qquad G_\kappa Z_\kappa = \nu I,

linearised as Helmberg, Rendl, Vanderbei and Wolkowicz do, shortened until the barrier function
f - ν Σ log det G_κ falls, and ν led to `LAST_BARRIER`. A tilt and a level bound are added to f to
find how far a linear function may reach among near-optimal x; a pair (f ≤ level, multiplier k) is
then a further block. Nothing here is trusted: :mod:`.bounds` makes bounds out of any x.

References:
    Helmberg, Rendl, Vanderbei and Wolkowicz (SIAM J. Optim. 6, 1996).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from ssem_jax.certificate.symmetry.algebra import Algebra
from ssem_jax.certificate.symmetry.blocks import block_diagonalise
from ssem_jax.certificate.symmetry.draws import Draws
from ssem_jax.losses.terms import Kind, Terms

LAST_BARRIER = 1e-13
"""ν at the end: each dimension of a block adds as much to the gap."""
FIRST_BARRIER = 1.0
"""ν in the beginning, in units of the size of the gradient."""
BARRIER_STEP = 0.1
"""Factor of ν from one stage to the next."""
CENTRED = 1.0
"""Newton decrement, in units of ν, at which a stage is done: a full step is then next."""
STAY_INSIDE = 0.95
"""Part of the way to the boundary that a step may go."""
SUFFICIENT = 1e-4
"""Part of the predicted decrease that a step must bring."""
SMALLEST_STEP = 1e-10
"""Step at which a line search ends: the barrier function is rounding there."""
NOISE = 1e-13
"""Predicted decrease, relative to the barrier function, that no difference of values can show."""
NEAR = 0.05
"""Predicted decrease, in units of ν, below which a full Newton step is safe: the barrier function
is self-concordant, and near the end its values are mostly rounding."""
NEWTON_STEPS = 250
"""Newton steps at most; 30 to 60 are usual."""
INSIDE = 0.1
"""Where the search begins, on the way from the bound of all entries to 1, if 0 is not allowed."""


class Local(NamedTuple):
    """f at a point: value, gradient and Hessian."""

    value: float
    slope: Float[np.ndarray, " O"]
    bend: Float[np.ndarray, "O O"]


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


class Program:
    """A loss over the orbits of an algebra.

    Args:
        algebra: of the colours of pairs.
        terms: the loss, in their names.
        lower: entries of G are at least this, if given.

    Raises:
        ValueError: a kind of pairs that the algebra has not, or a bound that is not below 1.
    """

    def __init__(self, algebra: Algebra, terms: Terms, lower: float | None = None) -> None:
        if lower is not None and not lower < 1:
            raise ValueError(
                f"entries of a Gram matrix of unit vectors cannot all be at least {lower:g}, or "
                "are all 1; give a bound below 1."
            )
        self.algebra, self.terms = algebra, terms
        number = len(algebra.orbits)
        self.lower = np.full(number, -np.inf if lower is None else float(lower))
        width = max((len(term.slots) for term in terms.terms), default=1)
        shape = len(terms.terms), width
        weights = np.array([term.weight for term in terms.terms], float)
        logs, slopes = np.full(shape, -np.inf), np.zeros(shape)
        orbits = np.full(shape, number)
        for t, term in enumerate(terms.terms):
            for s, (kind, log, slope) in enumerate(term.slots):
                logs[t, s], slopes[t, s], orbits[t, s] = log, slope, self._variable(kind)
        self.slots = Slots(weights, logs, slopes, orbits)
        self.draws = Draws(terms.draws, self._variable, number)
        self.pulls = np.zeros(number)
        for kind, pull in terms.pulls.items():
            if (orbit := self._variable(kind)) < number:
                self.pulls[orbit] += pull

    def _variable(self, kind: Kind) -> int:
        orbit = int(self.algebra.orbit_of[self.algebra.colour(kind)])
        return orbit if orbit >= 0 else len(self.algebra.orbits)

    @property
    def num_variables(self) -> int:
        """O."""
        return len(self.algebra.orbits)

    def functional(self, entries: Mapping[Kind, float]) -> Float[np.ndarray, " O"]:
        """(O,) coefficients of Σ_k c_k G_k; diagonal kinds, which are 1, do not count."""
        found = np.zeros(self.num_variables + 1)
        for kind, coefficient in entries.items():
            found[self._variable(kind)] += coefficient
        return found[:-1]

    def entries(self, x: Float[np.ndarray, " O"]) -> dict[Kind, float]:
        """The entry of G of every kind of pairs off the diagonal."""
        orbit_of = self.algebra.orbit_of
        return {
            name: float(x[orbit])
            for name, orbit in zip(self.algebra.names, orbit_of, strict=True)
            if orbit >= 0
        }

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
        logs = self.shares(x)[0]
        value = float(self.slots.weights @ logs + self.pulls @ (1 - x) + self.terms.constant)
        return value + self.draws.local(x).value

    def local(self, x: Float[np.ndarray, " O"]) -> Local:
        """f, its gradient and its Hessian."""
        weights, _, slopes, orbits = self.slots
        number, (count, width) = self.num_variables, orbits.shape
        logs, shares = self.shares(x)
        value = float(weights @ logs + self.pulls @ (1 - x) + self.terms.constant)
        steep = shares * slopes
        row = np.repeat(np.arange(count), width) * (number + 1) + orbits.ravel()
        flat = np.bincount(row, steep.ravel(), count * (number + 1))
        means = flat.reshape(count, number + 1)[:, :number]
        squares = np.bincount(
            orbits.ravel(), (weights[:, None] * steep * slopes).ravel(), number + 1
        )
        bend = np.diag(squares[:number]) - (means * weights[:, None]).T @ means
        drawn = self.draws.local(x)
        slope = weights @ means - self.pulls + drawn.slope
        return Local(value + drawn.value, slope, bend + drawn.bend)

    @cached_property
    def cone(self) -> Cone:
        """The blocks that must be positive semidefinite."""
        algebra, groups = self.algebra, {}
        for block in block_diagonalise(algebra):
            base = block.matrices[algebra.diagonal].sum(axis=0)
            along = [sum(block.matrices[c] for c in {*pair}) for pair in algebra.orbits]
            slopes = np.reshape(along, (-1, block.dim, block.dim))
            halves = (base + base.T) / 2, (slopes + slopes.transpose(0, 2, 1)) / 2
            groups.setdefault(block.dim, []).append(halves)
        if np.isfinite(self.lower).any():
            ones = groups.setdefault(1, [])
            for orbit in np.flatnonzero(np.isfinite(self.lower)):
                slope = np.zeros((self.num_variables, 1, 1))
                slope[orbit] = 1
                ones.append((np.array([[-self.lower[orbit]]]), slope))
        return Cone(
            [
                (np.stack([base for base, _ in group]), np.stack([slope for _, slope in group]))
                for group in groups.values()
            ]
        )

    @cached_property
    def start(self) -> Float[np.ndarray, " O"]:
        """A point inside: orthogonal embeddings, or such that are a little alike."""
        floor = np.maximum(self.lower, -1.0)
        return np.where(floor < 0, 0.0, floor + INSIDE * (1 - floor))


class Cone:
    """Products of positive semidefinite matrices G = base + Σ x_o slope_o, by their size.

    Args:
        groups: (B, d, d) and (B, O, d, d), for every size d.
    """

    def __init__(self, groups: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self.groups = groups
        self.dim = sum(base.shape[0] * base.shape[1] for base, _ in groups)

    def matrices(self, x: np.ndarray, constant: bool = True) -> list[np.ndarray]:
        """G at x, or the change of G along x."""
        return [
            np.einsum("o,boij->bij", x, slopes) + constant * base for base, slopes in self.groups
        ]

    def pulled_back(self, matrices: list[np.ndarray]) -> np.ndarray:
        """(O,) ⟨slope_o, Z⟩."""
        pairs = zip(matrices, self.groups, strict=True)
        parts = [np.einsum("bij,boij->o", z, slopes) for z, (_, slopes) in pairs]
        return np.sum(parts, axis=0)

    def bend(self, inverses: list[np.ndarray], duals: list[np.ndarray]) -> np.ndarray:
        """(O, O) tr(Z A G⁻¹ A')."""
        found = np.zeros((self.groups[0][1].shape[1],) * 2)
        for inverse, z, (_, slopes) in zip(inverses, duals, self.groups, strict=True):
            turned = z[:, None] @ slopes @ inverse[:, None]
            count = slopes.shape[1]
            left = turned.transpose(1, 0, 2, 3).reshape(count, -1)
            found = found + left @ slopes.transpose(1, 0, 3, 2).reshape(count, -1).T
        return (found + found.T) / 2


def _log_det(matrices: list[np.ndarray]) -> float:
    """log det of all, -∞ unless they are positive definite."""
    try:
        factors = [np.linalg.cholesky(matrix) for matrix in matrices]
    except np.linalg.LinAlgError:
        return -np.inf
    return 2 * float(sum(np.log(np.diagonal(f, axis1=1, axis2=2)).sum() for f in factors))


def _reach(matrices: list[np.ndarray], changes: list[np.ndarray]) -> float:
    """How far along the changes the matrices stay positive semidefinite; 0 if they are not."""
    least = 0.0
    for matrix, change in zip(matrices, changes, strict=True):
        try:
            factor = np.linalg.inv(np.linalg.cholesky(matrix))
        except np.linalg.LinAlgError:
            return 0.0
        moved = factor @ change @ factor.transpose(0, 2, 1)
        least = min(least, float(np.linalg.eigvalsh(moved)[:, 0].min()))
    return np.inf if least == 0 else -1 / least


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return (matrix + matrix.transpose(0, 2, 1)) / 2


class Point(NamedTuple):
    """Primal and dual.

    Attributes:
        x: (O,) inside.
        duals: Z of every group of blocks.
        weight: k, of the loss; 1 where it is minimised.
    """

    x: Float[np.ndarray, " O"]
    duals: list[np.ndarray]
    weight: float


@runtime_checkable
class Reduced(Protocol):
    """What the solver needs of a program: :class:`Program` is one."""

    @property
    def num_variables(self) -> int:
        """O."""
        ...

    @property
    def start(self) -> Any:  # (O,); a checker takes a cached property for no array
        """A point inside."""
        ...

    @property
    def cone(self) -> Any:
        """The blocks that must be positive semidefinite, a :class:`Cone`."""
        ...

    def value(self, x: Float[np.ndarray, " O"]) -> float:
        """f."""
        ...

    def local(self, x: Float[np.ndarray, " O"]) -> Local:
        """f, its gradient and its Hessian."""
        ...


class Goal:
    """What a stage minimises: f; or a linear function -c·x among x with f(x) ≤ level.

    Args:
        program: the loss and the cone.
        tilt: c.
        level: the most that f may be; None to minimise f.
    """

    def __init__(
        self, program: Reduced, tilt: np.ndarray | float = 0.0, level: float | None = None
    ) -> None:
        self.program, self.level = program, level
        self.tilt = np.broadcast_to(np.asarray(tilt, float), (program.num_variables,))

    def merit(self, x: np.ndarray, nu: float) -> float:
        """The barrier function, +∞ outside."""
        barrier = _log_det(self.program.cone.matrices(x))
        if not np.isfinite(barrier):
            return np.inf
        value = self.program.value(x)
        if self.level is None:
            return float(value - self.tilt @ x - nu * barrier)
        room = self.level - value
        return np.inf if room <= 0 else float(-self.tilt @ x - nu * (np.log(room) + barrier))

    def centred(self, x: np.ndarray, nu: float) -> Point:
        """x with the duals that it would have on the central path."""
        inverses = [np.linalg.inv(matrix) for matrix in self.program.cone.matrices(x)]
        weight = 1.0 if self.level is None else nu / (self.level - self.program.value(x))
        return Point(x, [nu * inverse for inverse in inverses], weight)

    def step(self, point: Point, nu: float) -> tuple[Point, float]:
        """The next point, and the decrement: the decrease of the barrier function, predicted.

        Where rounding admits no step, the same point and 0.
        """
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                return self._step(point, nu)
        except np.linalg.LinAlgError:
            return point, 0.0

    def _step(self, point: Point, nu: float) -> tuple[Point, float]:
        cone, (x, duals, weight) = self.program.cone, point
        local, matrices = self.program.local(x), cone.matrices(x)
        inverses = [np.linalg.inv(matrix) for matrix in matrices]
        bend = cone.bend(inverses, duals) + weight * local.bend
        slope = -nu * cone.pulled_back(inverses) - self.tilt
        room = np.inf
        if self.level is None:
            slope = slope + local.slope
        else:
            room = self.level - local.value
            slope = slope + nu / room * local.slope
            bend = bend + weight / room * np.outer(local.slope, local.slope)
        move = -solved_system(bend, slope)
        if not np.all(np.isfinite(move)):
            raise np.linalg.LinAlgError("no finite step")
        decrement = float(-slope @ move)
        changes = cone.matrices(move, constant=False)
        size = min(1.0, STAY_INSIDE * _reach(matrices, changes))
        before = self.merit(x, nu)
        while size > SMALLEST_STEP:
            after = self.merit(x + size * move, nu)
            faint = decrement <= max(NOISE * (1 + abs(before)), NEAR * nu) and np.isfinite(after)
            if faint or after <= before - SUFFICIENT * size * decrement:
                break
            size /= 2
        else:
            return point, 0.0
        turns = [
            nu * inverse - z - _symmetric(z @ change @ inverse)
            for inverse, z, change in zip(inverses, duals, changes, strict=True)
        ]
        dual_size = min(1.0, STAY_INSIDE * _reach(duals, turns))
        new_duals = [z + dual_size * turn for z, turn in zip(duals, turns, strict=True)]
        if not np.isfinite(_log_det(new_duals)):  # lost in rounding: begin them anew
            return self.centred(x + size * move, nu), decrement
        if self.level is not None:
            turn = (nu - weight * room + weight * (local.slope @ move)) / room
            limit = STAY_INSIDE * weight / -turn if turn < 0 else 1.0
            weight = float(weight + min(1.0, limit) * turn)
        return Point(x + size * move, new_duals, weight), decrement


def solved_system(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """The solution of a positive definite system, scaled to a unit diagonal."""
    scale = 1 / np.sqrt(np.maximum(np.diag(matrix), np.finfo(float).tiny))
    scaled = matrix * scale[:, None] * scale
    try:
        return scale * np.linalg.solve(scaled, scale * vector)
    except np.linalg.LinAlgError:
        return scale * np.linalg.lstsq(scaled, scale * vector, rcond=None)[0]


class Stage(NamedTuple):
    """A point of the central path, and its ν."""

    nu: float
    point: Point


def central_path(
    program: Reduced, last: float = LAST_BARRIER, begin: Stage | None = None
) -> Iterator[Stage]:
    """Points of the central path, down to ν = `last`.

    Args:
        program: the loss and its cone.
        last: ν of the last point.
        begin: of a program nearby, with the same cone; from the inside of the cone if None.
    """
    goal = Goal(program)
    if begin is None:
        slope = program.local(program.start).slope
        nu = FIRST_BARRIER * max(float(np.abs(slope).max(initial=0.0)), last)
        begin = Stage(nu, goal.centred(program.start, nu))
    nu, point = begin
    for _ in range(NEWTON_STEPS if program.num_variables else 0):
        point, decrement = goal.step(point, nu)
        if decrement <= CENTRED * nu:
            yield Stage(nu, point)
            if nu <= last:
                return
            nu = max(BARRIER_STEP * nu, last)
    yield Stage(nu, point)


def minimise(program: Reduced, last: float = LAST_BARRIER) -> Point:
    """A point of the central path at ν = `last`, whose gap is about `last` times the dimensions."""
    *_, stage = central_path(program, last)
    return stage.point
