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

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ssem_jax.certificate import rounding
from ssem_jax.certificate.symmetry import interior
from ssem_jax.certificate.symmetry.algebra import Algebra
from ssem_jax.certificate.symmetry.program import Minorant, OrbitProgram, alike

SHIFT_GROWTH = 4.0
"""Factor between shifts that a Cholesky factorisation is tried with."""
SHIFTS = 60
"""Shifts tried at most: the last one exceeds every finite matrix."""
ACTIVE = 1e-6
"""Room of a bound y ≥ l, above which its multiplier is left out as rounding of the barrier."""
LEAST_ROOM = 2e-15
"""A level is not closer to the minimum than this, relative to 1 + |f|: f has no more digits."""
NEAR_MINIMUM = 1e-12
"""ν up to which the centre of a level set is sought from the minimum: a step doubles a distance."""
CAPACITY = 2**22
"""Numbers that the Newton systems of all ends that are searched for at once are made of."""


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


def dual_matrix(
    algebra: Algebra, x: Float[np.ndarray, " O"], slope: Float[np.ndarray, " O"]
) -> tuple[Float[np.ndarray, " F"], Float[np.ndarray, " O"]]:
    """The diagonal of every fibre and the entry of every orbit of S = Σ h_o A_o + Λ, with the
    multipliers that make ⟨S, G⟩ vanish in every row."""
    entries = slope / algebra.orbit_sizes
    products = np.append(entries * x, 0.0)[algebra.orbit_of] * algebra.valency
    return -np.bincount(algebra.source, products, len(algebra.points)), entries


class _Dual(NamedTuple):
    """k f(y) - c·y ≥ k here - c·x - deficit for all feasible y; and a lower bound ≤ 0 of λ_min."""

    minorant: Minorant
    deficit: float
    eigenvalue: float


def _dual(
    program: OrbitProgram,
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
    algebra, cut = program.algebra, program.minorant(x)
    slope = weight * cut.slope - tilt - pushes
    diagonal, entries = dual_matrix(algebra, x, slope)
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


class Point(NamedTuple):
    """A point inside, and multipliers.

    Attributes:
        x: (O,) entries.
        pushes: (O,) M ≥ 0, of the bounds; 0 where there is none.
        weight: k, of the loss; 1 where it is minimised.
    """

    x: Float[np.ndarray, " O"]
    pushes: Float[np.ndarray, " O"]
    weight: float


def _point(program: OrbitProgram, path: interior.Path) -> Point:
    """Where a path of one lane is; the bounds are the last of the blocks."""
    pushes, bounded = np.zeros(program.num_variables), np.isfinite(program.lower)
    if bounded.any():
        pushes[bounded] = np.maximum((path.duals[-1] / path.factors[-1] ** 2)[0, :, 0, 0], 0)
        pushes[path.x[0] - program.lower > ACTIVE] = 0
    return Point(path.x[0], pushes, float(path.weight[0]))


def lower_bound(program: OrbitProgram, point: Point) -> tuple[float, float]:
    """A lower bound of the loss over all embeddings, in all dimensions; and of the least eigenvalue
    of the dual matrix that shows it, never above 0."""
    dual = _dual(program, point.x, 1.0, np.zeros(program.num_variables), point.pushes)
    return dual.minorant.here - dual.deficit, dual.eigenvalue


def attained(program: OrbitProgram, x: Float[np.ndarray, " O"]) -> Float[np.ndarray, " O"]:
    """A point nearby that is proven to be a Gram matrix: shrunk towards orthogonal embeddings.

    With a bound l > 0 of entries it may miss that by as little.
    """
    algebra = program.algebra
    least = least_eigenvalue(algebra, np.ones(len(algebra.points)), x)
    return x / (1 - least)


class Solved(NamedTuple):
    """The reduced program, solved and certified.

    Attributes:
        x: (O,) entries of a Gram matrix, a near-optimal one.
        value: its loss, rounded upwards.
        lower: a lower bound of the loss of all embeddings.
        path: where the solver stopped, a path of one lane.
        eigenvalue: a lower bound of λ_min of the dual matrix, never above 0.
    """

    x: Float[np.ndarray, " O"]
    value: float
    lower: float
    path: interior.Path
    eigenvalue: float

    @property
    def gap(self) -> float:
        """value - lower."""
        return self.value - self.lower


def solve_program(program: OrbitProgram) -> Solved:
    """Solve and certify the program that symmetry leaves."""
    return solve_programs([program])[0]


def solve_programs(programs: Sequence[OrbitProgram]) -> list[Solved]:
    """Solve and certify programs; those that differ in numbers alone in lock step."""
    found: dict[int, Solved] = {}
    for places in alike(programs):
        some = [programs[place] for place in places]
        start = np.tile(some[0].start, (len(some), 1))
        path = interior.minimise(some[0].joined(some), start)
        for lane, (place, program) in enumerate(zip(places.tolist(), some, strict=True)):
            own = path.at(np.array([lane]))
            point = _point(program, own)
            x = attained(program, point.x)
            lower, eigenvalue = lower_bound(program, point)
            found[place] = Solved(x, program.upper_value(x), lower, own, eigenvalue)
    return [found[place] for place in range(len(programs))]


class Level:
    """The points with f ≤ level, and outer bounds of linear functions on them.

    Args:
        program: the loss and its algebra.
        level: raised where it is closer to the minimum than numbers can tell.
        solved: the program's solution, if at hand.
    """

    def __init__(self, program: OrbitProgram, level: float, solved: Solved | None = None) -> None:
        self.program = program
        self.solved = solved or solve_program(program)
        value = self.solved.value
        self.level = max(level, value + LEAST_ROOM * (1 + abs(value)))

    def upper(self, functional: Float[np.ndarray, " O"]) -> float:
        """An upper bound of c·y over all feasible y with f(y) ≤ level."""
        return float(upper_ends([self], np.asarray(functional, float)[None])[0, 0])

    def bracket(
        self, functional: Float[np.ndarray, " O"], constant: float = 0.0
    ) -> tuple[float, float]:
        """(low, high): outer bounds of constant + c·y."""
        row = np.asarray(functional, float)
        low, high = upper_ends([self], np.stack([-row, row]))[0].tolist()
        return constant - low, constant + high

    def bound(self, path: interior.Path, tilt: Float[np.ndarray, " O"]) -> float:
        """c·y ≤ c·x + k (level - here) + deficit, from where a lane is."""
        point = _point(self.program, path)
        if not (0 < point.weight < np.inf and np.all(np.isfinite(point.x))):
            return np.inf  # what no multiplier proves
        dual = _dual(self.program, point.x, point.weight, tilt, point.pushes)
        room = self.level - dual.minorant.here
        bound = float(tilt @ point.x) + point.weight * room + dual.deficit
        return bound + rounding.gamma(8) * (abs(bound) + abs(point.weight * room))


def upper_ends(
    levels: Sequence[Level], functionals: Float[np.ndarray, "K O"]
) -> Float[np.ndarray, "L K"]:
    """Upper bounds of functionals on level sets, of programs of one algebra, in lock step."""
    number = len(functionals)
    found = np.zeros((len(levels), number))
    for places in alike([level.program for level in levels]):
        some = [levels[place] for place in places]
        cone = some[0].program.cone
        at_once = max(1, CAPACITY // max(1, 4 * cone.width**2 * number))
        for first in range(0, len(some), at_once):
            chosen = places[first : first + at_once]
            found[chosen] = _ends([levels[place] for place in chosen], functionals)
    return found


def _ends(levels: list[Level], functionals: np.ndarray) -> Float[np.ndarray, "L K"]:
    number, count = len(functionals), len(levels)
    chosen = [level.program for level in levels]
    programs = chosen[0].joined(chosen)
    top = np.array([level.level for level in levels])
    apart = top - [level.solved.lower for level in levels]
    # There the room up to the level is about ν as well: the analytic centre.
    nu = apart / (programs.cone.dim + 1)
    start = np.tile(levels[0].program.start, (count, 1))
    lanes = np.repeat(np.arange(count), number)
    near = np.all(nu <= NEAR_MINIMUM)
    begin = interior.Stage(nu, interior.joined([one.solved.path for one in levels]))
    path = interior.minimise(programs, start, nu, begin if near else None).at(lanes)
    tilts = np.tile(functionals, (count, 1))

    def bound(lane: int, path: interior.Path) -> float:
        return levels[lanes[lane]].bound(path, tilts[lane])

    spread = chosen[0].joined([chosen[lane] for lane in lanes])
    return interior.reach(spread, path, tilts, top[lanes], bound).reshape(count, number)
