r"""Bounds from any point of a reduced program: of the loss, and of where near-optimal points lie.

**A minorant.** For any shares P of the slots of every term, Gibbs' inequality bounds the loss,

.. math:: f(y) \ge a + \gamma \cdot (y - 1), \quad
   a = \sum_t \Omega_t \sum_s P_{ts} \log \frac{c_s}{P_{ts}} + \text{constant}, \quad
   \gamma_o = \sum_t \Omega_t \sum_{s \in o} P_{ts} \varsigma_s - W_o,

so that no exponential has to be exact: those of the point at hand say which P is good.

**Duality.** For a linear function e·y of the entries, h_o = e_o/|R_o|, and any multipliers λ of the
diagonal, one for each fibre F,

.. math:: e \cdot y = \langle S, G \rangle - \sum_F |F| \lambda_F
   \ge N \min(0, \lambda_{\min}(S)) - \sum_F |F| \lambda_F, \qquad S = \sum_o h_o A_o + \Lambda,

and a bound y_o ≥ l_o adds M_o (y_o - l_o) ≥ 0 for any M ≥ 0. λ_min(S) is that of the regular
representation T(S), whose coefficients are integers and square roots of them: no eigenbasis is
trusted, and a Cholesky factor of T(S) + σI with its residual proves it.

**Brackets.** Where f(y) ≤ level, c·y ≤ k·level - min(k f - c·y) for any k > 0, the minimum from
below as above. A primal-dual method finds k and the point at which that is tight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ssem_jax.certificate import rounding
from ssem_jax.certificate.symmetry.algebra import Algebra
from ssem_jax.certificate.symmetry.program import (
    CENTRED,
    Goal,
    Point,
    Program,
    minimise,
    solved_system,
)

SHIFT_GROWTH = 4.0
"""Factor between shifts that a Cholesky factorisation is tried with."""
SHIFTS = 60
"""Shifts tried at most: the last one exceeds every finite matrix."""
ACTIVE = 1e-6
"""Room of a bound y ≥ l, above which its multiplier is left out as rounding of the barrier."""
TIGHTNESS = 3e-3
"""Part of the width of a bracket by which its ends may exceed what is reached."""
SEARCH_STEPS = 60
"""Newton steps for an end of a bracket at most; 10 to 25 are usual."""
STAGE_STEPS = 6
"""Newton steps for a barrier at most: where it takes more, its function is mostly rounding."""
DIGITS = 1e-13
"""Width, relative to the functional, below which a bracket is as tight as entries have digits."""
SEARCH_SHRINK = 0.05
"""Factor of the barrier between them."""
CENTRING_STEPS = 60
"""Newton steps to the centre of a level set at most."""
LEAST_ROOM = 2e-12
"""A level is not closer to the minimum than this, relative to 1 + |f|: entries of G near 1 have no
more digits to tell the points inside apart."""


def least_eigenvalue(
    algebra: Algebra,
    diagonal: Float[np.ndarray, " F"],
    entries: Float[np.ndarray, " O"],
) -> float:
    """A lower bound of λ_min of the symmetric matrix with these entries.

    Args:
        algebra: of its colours.
        diagonal: of every fibre.
        entries: of every orbit.

    Returns:
        The bound, which is never above 0.
    """
    coefficients = algebra.coefficients(diagonal, entries)
    degree = np.sqrt(algebra.valency * algebra.valency[algebra.transpose].astype(float))
    loose = rounding.represented(algebra.num_colours, float(np.abs(coefficients) @ degree))
    return min(semidefinite(piece.matrix(coefficients)) for piece in algebra.pieces) - loose


def semidefinite(matrix: np.ndarray) -> float:
    """A lower bound ≤ 0 of the least eigenvalue of (A + Aᵀ)/2."""
    matrix = (matrix + matrix.T) / 2
    if not matrix.any():
        return 0.0
    size = len(matrix)
    tiny = rounding.UNIT * size * max(float(np.abs(matrix).max()), rounding.SMALLEST)
    shift = tiny + max(0.0, -float(np.linalg.eigvalsh(matrix)[0])) * (1 + 2**-46)
    for _ in range(SHIFTS):
        shifted = matrix + shift * np.eye(size)
        try:
            factor = np.linalg.cholesky(shifted)
        except np.linalg.LinAlgError:
            shift *= SHIFT_GROWTH
            continue
        rest = float(np.linalg.norm(shifted - factor @ factor.T))
        return -rounding.factor_shift(size, shift, rest, float(np.sum(factor**2)))
    return -np.inf


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


def minorant(program: Program, x: Float[np.ndarray, " O"]) -> Minorant:
    """The minorant of the shares at x."""
    rounding.check_numpy()
    weights, logs, slopes, orbits = program.slots
    _, shares = program.shares(x)
    used = shares > 0
    log_shares = np.log(np.where(used, shares, 1))
    log_counts = np.where(used, logs, 0)
    constant = float(weights @ np.sum(shares * (log_counts - log_shares), axis=1))
    flat = (weights[:, None] * shares * slopes).ravel()
    pushes = np.bincount(orbits.ravel(), flat, program.num_variables + 1)[:-1]
    slope = pushes - program.pulls
    here = constant + program.terms.constant - float(slope @ (1 - x))
    steep = np.max(np.abs(slopes), axis=1)
    margin = rounding.orbit_minorant(
        orbits.size,
        slopes.shape[1],
        loose=float(weights @ (np.max(np.abs(log_counts), axis=1) + 2 * steep + 1)),
        sizes=float(weights @ np.sum(shares * (np.abs(log_counts) - log_shares), axis=1))
        + abs(program.terms.constant),
        slopes=float(np.abs(pushes).sum() + np.abs(program.pulls).sum()),
    )
    drawn = program.draws.local(x)  # of these the tangent, as entries differ by 2 at most
    return Minorant(here + drawn.value, slope + drawn.slope, margin + drawn.error + 2 * drawn.loose)


class _Dual(NamedTuple):
    """k f(y) - c·y ≥ k here - c·x - deficit for all feasible y; and a lower bound ≤ 0 of λ_min."""

    minorant: Minorant
    deficit: float
    eigenvalue: float


def _dual(
    program: Program,
    x: np.ndarray,
    weight: float,
    tilt: np.ndarray,
    pushes: Float[np.ndarray, " O"],
) -> _Dual:
    """The dual bound at a point.

    Args:
        program: the loss and its algebra.
        x: a point, near a feasible one.
        weight: k.
        tilt: c.
        pushes: M ≥ 0, of the bounds; 0 where there is none.
    """
    algebra, cut = program.algebra, minorant(program, x)
    slope = weight * cut.slope - tilt - pushes
    entries = slope / algebra.orbit_sizes
    products = np.append(entries * x, 0.0)[algebra.orbit_of] * algebra.valency
    diagonal = -np.bincount(algebra.source, products, len(algebra.points))
    least = least_eigenvalue(algebra, diagonal, entries)
    scaled = algebra.points * diagonal
    rest = float(scaled.sum() + slope @ x)
    floors = np.where(pushes > 0, program.lower, x)
    sizes = weight * np.abs(cut.slope) + np.abs(tilt) + pushes
    margin = weight * cut.margin + rounding.orbit_dual(
        program.num_variables + len(scaled), float(sizes.sum() + np.abs(scaled).sum())
    )
    paid = float(pushes @ np.maximum(x - floors, 0)) + rest - algebra.num_points * least
    return _Dual(cut, paid + margin, least)


def _pushes(program: Program, point: Point) -> np.ndarray:
    """Multipliers of the bounds y ≥ l, from the last of the blocks of size 1."""
    found, bounded = np.zeros(program.num_variables), np.isfinite(program.lower)
    if bounded.any():
        ones = next(
            duals
            for duals, (base, _) in zip(point.duals, program.cone.groups, strict=True)
            if base.shape[1] == 1
        )
        found[bounded] = ones[-int(bounded.sum()) :, 0, 0]
        found[point.x - program.lower > ACTIVE] = 0
    return found


def lower_bound(program: Program, point: Point) -> tuple[float, float]:
    """A lower bound of the loss over all embeddings, in all dimensions; and of the least eigenvalue
    of the dual matrix that shows it, never above 0."""
    dual = _dual(program, point.x, 1.0, np.zeros(program.num_variables), _pushes(program, point))
    return dual.minorant.here - dual.deficit, dual.eigenvalue


def attained(program: Program, x: Float[np.ndarray, " O"]) -> Float[np.ndarray, " O"]:
    """A point nearby that is proven to be a Gram matrix: shrunk towards orthogonal embeddings.

    With a bound l > 0 of entries it may miss that by as little.
    """
    algebra = program.algebra
    least = least_eigenvalue(algebra, np.ones(len(algebra.points)), x)
    return x / (1 - least)


def upper_value(program: Program, x: Float[np.ndarray, " O"]) -> float:
    """The loss at x, rounded upwards."""
    rounding.check_numpy()
    weights, _, slopes, orbits = program.slots
    logs, shares = program.shares(x)
    arguments = np.abs(slopes) * np.append(1 - x, 0.0)[orbits]
    return (
        program.value(x)
        + rounding.orbit_value(
            orbits.size,
            slopes.shape[1],
            weights=float(weights.sum()),
            arguments=float(weights @ np.sum(shares * arguments, axis=1)),
            sizes=float(
                weights
                @ (np.abs(logs) + np.max(np.where(shares > 0, np.abs(program.slots.logs), 0), 1))
                + np.abs(program.pulls) @ np.abs(1 - x)
            )
            + abs(program.terms.constant),
        )
        + program.draws.local(x).error
    )


class Solved(NamedTuple):
    """The reduced program, solved and certified.

    Attributes:
        x: (O,) entries of a Gram matrix, a near-optimal one.
        value: its loss, rounded upwards.
        lower: a lower bound of the loss of all embeddings.
        point: where the solver stopped, with its duals.
        eigenvalue: a lower bound of λ_min of the dual matrix, never above 0.
    """

    x: Float[np.ndarray, " O"]
    value: float
    lower: float
    point: Point
    eigenvalue: float

    @property
    def gap(self) -> float:
        """value - lower."""
        return self.value - self.lower


def solve_program(program: Program) -> Solved:
    """Solve and certify the program that symmetry leaves."""
    point = minimise(program)
    x = attained(program, point.x)
    lower, eigenvalue = lower_bound(program, point)
    return Solved(x, upper_value(program, x), lower, point, eigenvalue)


class Level:
    """The points with f ≤ level, and outer bounds of linear functions on them.

    Args:
        program: the loss and its algebra.
        level: raised where it is closer to the minimum than numbers can tell.
        solved: the program's solution, if at hand.
    """

    def __init__(self, program: Program, level: float, solved: Solved | None = None) -> None:
        self.program = program
        solved = solved or solve_program(program)
        self.level = max(level, solved.value + LEAST_ROOM * (1 + abs(solved.value)))
        # Half way up, where the barrier's own gap is.
        start = minimise(program, 0.25 * (self.level - solved.lower) / program.cone.dim).x
        if not program.value(start) < self.level:
            start = solved.point.x
        goal = Goal(program, 0.0, self.level)
        point = goal.centred(start, 1.0)
        for _ in range(CENTRING_STEPS):
            point, decrement = goal.step(point, 1.0)
            if decrement <= CENTRED * 1e-2:
                break
        self.centre = point.x

    def upper(self, functional: Float[np.ndarray, " O"]) -> float:
        """An upper bound of c·y over all feasible y with f(y) ≤ level."""
        program, centre = self.program, self.centre
        tilt = np.asarray(functional, float)
        if not tilt.any():
            return 0.0
        best = float(np.abs(tilt).sum())
        goal = Goal(program, tilt, self.level)
        first = goal.centred(centre, 1.0)
        local = program.local(centre)
        inverses = [np.linalg.inv(matrix) for matrix in program.cone.matrices(centre)]
        bend = program.cone.bend(inverses, first.duals) + first.weight * local.bend
        bend += first.weight**2 * np.outer(local.slope, local.slope)
        # The barrier at which a step within the Dikin ellipsoid of the centre balances the tilt.
        nu = float(np.sqrt(tilt @ solved_system(bend, tilt)))
        point, digits, steps = goal.centred(centre, nu), DIGITS * best, 0
        for _ in range(SEARCH_STEPS):
            point, decrement = goal.step(point, nu)
            steps += 1
            if decrement > CENTRED * nu and steps < STAGE_STEPS:
                continue
            reached = float(tilt @ point.x)
            width = max(reached - float(tilt @ centre), digits)
            if nu * (program.cone.dim + 1) <= 3 * TIGHTNESS * width or decrement == 0:
                before, best = best, min(best, self._bound(point, tilt))
                if best - reached <= TIGHTNESS * width + digits or best >= before:
                    break
            nu, steps = nu * SEARCH_SHRINK, 0
        return best

    def _bound(self, point: Point, tilt: np.ndarray) -> float:
        """c·y ≤ c·x + k (level - here) + deficit."""
        if not np.isfinite(point.weight):
            return np.inf
        dual = _dual(self.program, point.x, point.weight, tilt, _pushes(self.program, point))
        room = self.level - dual.minorant.here
        bound = float(tilt @ point.x) + point.weight * room + dual.deficit
        return bound + rounding.gamma(8) * (abs(bound) + abs(point.weight * room))

    def bracket(
        self, functional: Float[np.ndarray, " O"], constant: float = 0.0
    ) -> tuple[float, float]:
        """(low, high): outer bounds of constant + c·y."""
        return constant - self.upper(-functional), constant + self.upper(functional)
