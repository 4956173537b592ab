r"""Newton steps of an interior method, in units of the point where they are taken.

**Digits.** Near an optimum blocks lose rank, and G, summed up from entries near 1, would have no
digit of an eigenvalue of 1e-16. So a lane carries a factor R of G = R Rᵀ, and its dual as
:math:`\tilde Z = R^\top Z R`, which is about νI: a step is :math:`\Delta G = R D R^\top`, R becomes
R (I + D)^{1/2}, and an eigenvalue keeps its digits however small it gets. In x the system has
directions of curvature 1e20 beside others of 1. In D it is

.. math:: \sum_\kappa \langle D, D \tilde Z \rangle + k \, (L D)^\top \nabla^2 f \, L D,
          \qquad \Delta x = L D,

where the first part is about ν and the second one at most that of the loss; and where the columns
of R are orthogonal, what is small in L is small by columns, so that a diagonal scaling is all that
factors need. D must keep the ties of the cone (:mod:`.cones`), which are few: each gives the entry
of D that counts most in it as a function of the others, so that the system is one of these, with
the digits that they have. (With a multiplier for each tie, or stiff springs, what f does not know
of, where the curvature is but ν, is lost in rounding of the ties'.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ssem_jax.certificate.symmetry.cones import Cone, Scaled, folded

INVERTED = 1000
"""Unknowns up to which systems of all lanes are inverted at once; larger ones are factored."""
TINY = float(np.finfo(float).tiny)


class Local(NamedTuple):
    """Losses at points, a lane each: values, gradients and Hessians."""

    value: Float[np.ndarray, " B"]
    slope: Float[np.ndarray, "B O"]
    bend: Float[np.ndarray, "B O O"]


class Path(NamedTuple):
    """Where lanes are, primal and dual.

    Attributes:
        x: inside.
        factors: R of every group of blocks.
        duals: Z̃ = Rᵀ Z R.
        weight: k, of the loss; 1 where it is minimised.
        room: of the level; 1 where there is none.
    """

    x: Float[np.ndarray, "B O"]
    factors: list[np.ndarray]
    duals: list[np.ndarray]
    weight: Float[np.ndarray, " B"]
    room: Float[np.ndarray, " B"]

    def at(self, lanes: np.ndarray) -> Path:
        """Some of them."""
        factors, duals = ([one[lanes] for one in each] for each in (self.factors, self.duals))
        return Path(self.x[lanes], factors, duals, self.weight[lanes], self.room[lanes])

    def put(self, lanes: np.ndarray, other: Path) -> None:
        """Replace some of them."""
        mine = (self.x, *self.factors, *self.duals, self.weight, self.room)
        theirs = (other.x, *other.factors, *other.duals, other.weight, other.room)
        for one, new in zip(mine, theirs, strict=True):
            one[lanes] = new


def _transposed(matrices: np.ndarray) -> np.ndarray:
    return np.swapaxes(matrices, -1, -2)


def _symmetric(matrices: np.ndarray) -> np.ndarray:
    return (matrices + _transposed(matrices)) / 2


def _spectrum(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and vectors of symmetric matrices."""
    if matrices.shape[-1] == 1:
        return matrices[..., 0], np.ones_like(matrices)
    values, vectors = np.linalg.eigh(_symmetric(matrices))
    return values, vectors


def _ordered(factor: np.ndarray, dual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R with orthogonal columns, and the Z̃ of that."""
    if factor.shape[-1] == 1:
        return factor, dual
    left, sizes, turn = np.linalg.svd(factor)
    return left * sizes[..., None, :], _symmetric(turn @ dual @ _transposed(turn))


def _lowest(dual: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """The least eigenvalue of Z̃^{-1/2} ΔZ̃ Z̃^{-1/2} of each lane; -∞ where that overflows."""
    values, vectors = _spectrum(dual)
    inverse = _transposed(vectors) / np.sqrt(np.maximum(values, TINY))[..., None]
    with np.errstate(over="ignore", invalid="ignore"):
        moved = inverse @ turn @ _transposed(inverse)
    finite = np.asarray(np.isfinite(moved).all(axis=(1, 2, 3)))
    known = _spectrum(np.where(_wide(finite), moved, 0.0))[0]
    return np.where(finite, _least(known), -np.inf)


def _least(values: np.ndarray) -> np.ndarray:
    """The least number of the blocks of each lane."""
    return values.reshape(len(values), -1).min(axis=1)


def _wide(numbers: np.ndarray) -> np.ndarray:
    """One number a lane, beside its blocks."""
    return numbers[:, None, None, None]


class Step(NamedTuple):
    """A change of a :class:`Path`: D of the factors, with its eigenvalues and vectors, and of the
    scaled duals."""

    x: np.ndarray
    factors: list[np.ndarray]
    spectra: list[Any]
    duals: list[np.ndarray]
    weight: np.ndarray
    room: np.ndarray


class System:
    """The Newton system of some lanes.

    Args:
        cone: of their blocks.
        at: where they are.
        local: the losses there.
        tilt: c of every lane; None where losses are minimised.
        level: what they may be at most.
    """

    def __init__(
        self,
        cone: Cone,
        at: Path,
        local: Local,
        tilt: Float[np.ndarray, "B O"] | None = None,
        level: Float[np.ndarray, " B"] | None = None,
    ) -> None:
        turned = [_ordered(*pair) for pair in zip(at.factors, at.duals, strict=True)]
        at = at._replace(factors=[r for r, _ in turned], duals=[z for _, z in turned])
        self.at, self.local, self.tilt = at, local, tilt
        self.excess = None if level is None else local.value + at.room - level
        self.scaled = Scaled(cone, at.factors)
        self._untied = Untied(self.scaled.ties())
        barrier = np.zeros((len(at.x), cone.width, cone.width))
        self.scaled.barrier(at.duals, barrier)
        whole = self._untied.rows(_transposed(self._untied.rows(barrier)))
        bend = self._rows(at.weight[:, None, None] * local.bend)
        whole += self._rows(_transposed(bend))
        self._solve = _solver(whole, self._untied.lost)
        if level is not None:
            self._solve = self._with_level(self._solve)

    def _rows(self, vectors: Float[np.ndarray, "B k O"]) -> Float[np.ndarray, "B k F"]:
        """v·x as a function of what the ties leave."""
        return self._untied.rows(self.scaled.pulled(vectors))

    def _with_level(self, solve: Solve) -> Solve:
        """With the curvature of the level's own barrier, along the slope of the loss."""
        along = self._rows(self.local.slope[:, None])[:, 0]
        found = solve(along)
        room = self.at.room / self.at.weight + np.sum(along * found, axis=1)

        def both(right: np.ndarray) -> np.ndarray:
            plain = solve(right)
            return plain - (np.sum(along * plain, axis=1) / room)[:, None] * found

        return both

    def answer(self, vectors: Float[np.ndarray, "B O"]) -> Float[np.ndarray, "B O"]:
        """The x that solves the system for right-hand sides."""
        steps = self._untied.steps(self._solve(self._rows(vectors[:, None])[:, 0]))
        return self.scaled.moved(self.scaled.matrices(steps), steps)

    def step(
        self, nu: Float[np.ndarray, " B"], before: Step | None = None, size: Any = 0.0
    ) -> Step:
        """The step to ν; with the second-order terms of a step `before` of that size."""
        at, local = self.at, self.local
        square = np.asarray(size) ** 2
        wanted = [np.broadcast_to(_wide(nu) * np.eye(z.shape[-1]), z.shape) for z in at.duals]
        if before is not None:
            pairs = zip(wanted, before.factors, before.duals, strict=True)
            wanted = [w - _wide(square) * _symmetric(d @ z) for w, d, z in pairs]
        right = -at.weight[:, None] * local.slope
        pull = excess = np.zeros(len(at.x))
        if self.excess is not None:
            lag, excess = nu - at.weight * at.room, self.excess
            if before is not None:
                curved = np.einsum("bop,bp->bo", local.bend, before.x)
                lag = lag - square * before.weight * before.room
                excess = excess + square / 2 * np.sum(curved * before.x, axis=1)
                right = right - (square * before.weight)[:, None] * curved
            pull = (lag + at.weight * excess) / at.room
            right = right - pull[:, None] * local.slope
        if self.tilt is not None:
            right = right + self.tilt
        pulled = self.scaled.pulled(right[:, None])
        for part, one in zip(self.scaled.cone.parts, wanted, strict=True):
            pulled[:, 0, part] += folded(one)
        steps = self._untied.steps(self._solve(self._untied.rows(pulled)[:, 0]))
        factors = self.scaled.matrices(steps)
        x = self.scaled.moved(factors, steps)
        duals = [
            w - z - _symmetric(z @ d) for w, z, d in zip(wanted, at.duals, factors, strict=True)
        ]
        spectra = [_spectrum(d) for d in factors]
        if self.excess is not None:
            rise = np.sum(local.slope * x, axis=1)
            pull, excess = pull + at.weight / at.room * rise, -excess - rise
        return Step(x, factors, spectra, duals, pull, excess)

    def reach(self, step: Step) -> tuple[np.ndarray, np.ndarray]:
        """How many steps lead to the boundary, primal and dual."""
        least = np.min([_least(values) for values, _ in step.spectra], axis=0)
        pairs = zip(self.at.duals, step.duals, strict=True)
        lowest = np.minimum(0.0, np.min([_lowest(z, turn) for z, turn in pairs], axis=0))
        if self.excess is not None:
            least = np.minimum(least, step.room / self.at.room)
            lowest = np.minimum(lowest, step.weight / self.at.weight)
        return 1 / np.maximum(-least, TINY), 1 / np.maximum(-lowest, TINY)

    def moved(self, step: Step, size: np.ndarray, dual_size: np.ndarray) -> Path:
        """Where steps lead."""
        at, factors, duals = self.at, [], []
        pairs = zip(at.factors, at.duals, step.spectra, step.duals, strict=True)
        for factor, dual, (values, vectors), turn in pairs:
            root = np.sqrt(np.maximum(1 + _wide(size)[..., 0] * values, TINY))
            root = vectors * root[:, :, None]
            factors.append(factor @ root)
            duals.append(_transposed(root) @ _symmetric(dual + _wide(dual_size) * turn) @ root)
        return Path(
            at.x + size[:, None] * step.x,
            factors,
            duals,
            at.weight + dual_size * step.weight,
            at.room + size * step.room,
        )

    def product(self, step: Step | None = None, size: Any = 0.0) -> Float[np.ndarray, " B"]:
        """Σ ⟨G, Z⟩ + k·room, here or after a step."""
        at = self.at
        if step is None:
            found = np.sum([np.trace(z, axis1=-2, axis2=-1).sum(-1) for z in at.duals], axis=0)
            return found + (0.0 if self.excess is None else at.weight * at.room)
        found = np.zeros(len(at.x))
        for z, d, turn in zip(at.duals, step.factors, step.duals, strict=True):
            both = (np.eye(z.shape[-1]) + _wide(size) * d) * (z + _wide(size) * turn)
            found = found + both.sum(axis=(1, 2, 3))
        room = (at.weight + size * step.weight) * (at.room + size * step.room)
        return found + (0.0 if self.excess is None else room)


class Untied:
    r"""Steps that keep ties, T D = 0.

    With the rows of Tᵀ in an order in which Gaussian elimination finds pivots as large as may be,
    Tᵀ = [L₁; L₂] U, the first entries of D are :math:`-L_1^{-\top} L_2^\top` times the rest.

    Args:
        ties: T.

    Attributes:
        lost: lanes whose ties rounding made dependent; they have no steps.
    """

    def __init__(self, ties: Float[np.ndarray, "B K M"]) -> None:
        from scipy.linalg import get_lapack_funcs  # later: half a second

        lanes, number, width = ties.shape
        getrf, trtrs = get_lapack_funcs(("getrf", "trtrs"), (ties,))
        self.lost = np.asarray(~np.isfinite(ties).all(axis=(1, 2)))
        self._order = np.tile(np.arange(width), (lanes, 1))
        self._tied = np.zeros((lanes, number, width - number))
        for lane in range(lanes if number else 0):
            if self.lost[lane]:
                continue
            factors, swaps, info = getrf(ties[lane].T)
            self.lost[lane] = info != 0
            order = self._order[lane]
            for row, other in enumerate(swaps.tolist()):
                order[row], order[other] = order[other], order[row]
            upper, lower = factors[:number].T, factors[number:].T
            self._tied[lane] = -trtrs(upper, lower, unitdiag=1)[0]

    def rows(self, rows: Float[np.ndarray, "B k M"]) -> Float[np.ndarray, "B k F"]:
        """Functions of steps, as functions of what the ties leave of them."""
        number = self._tied.shape[1]
        rows = np.take_along_axis(rows, self._order[:, None], axis=2)
        return rows[..., number:] + rows[..., :number] @ self._tied

    def steps(self, left: Float[np.ndarray, "B F"]) -> Float[np.ndarray, "B M"]:
        """Whole steps, of what the ties leave of them."""
        tied = (self._tied @ left[..., None])[..., 0]
        found = np.empty(self._order.shape)
        np.put_along_axis(found, self._order, np.concatenate([tied, left], axis=1), axis=1)
        return found


Solve = Callable[[np.ndarray], np.ndarray]
"""(B, F) right-hand sides to solutions."""


def _solver(whole: Float[np.ndarray, "B F F"], lost: Bool[np.ndarray, " B"]) -> Solve:
    """Solves with symmetric matrices; lanes that are lost stay where they are."""
    every = np.arange(whole.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        scale = 1 / np.sqrt(np.maximum(whole[:, every, every], TINY))
        whole *= scale[:, :, None]
        whole *= scale[:, None, :]
    lost = np.asarray(lost | ~np.isfinite(whole).all(axis=(1, 2)))
    whole[lost] = np.eye(len(every))
    plain, singular = _inverse(whole)
    scale[lost | singular] = 0.0
    return lambda right: scale * plain((scale * right)[..., None])[..., 0]


def _inverse(
    matrices: Float[np.ndarray, "B M M"],
) -> tuple[Callable[[np.ndarray], np.ndarray], Bool[np.ndarray, " B"]]:
    """Multiplies (B, M, k) with inverses of positive definite matrices; zero where rounding made
    one singular, which is told."""
    if matrices.shape[1] <= INVERTED:
        inverse, singular = _inverses(matrices)
        return lambda right: inverse @ right, singular
    from scipy.linalg import get_lapack_funcs  # later: half a second

    getrf, getrs = get_lapack_funcs(("getrf", "getrs"), (matrices,))
    factors = [getrf(one) for one in matrices]
    singular = np.array([info != 0 for *_, info in factors])

    def solve(right: np.ndarray) -> np.ndarray:
        found = np.zeros_like(right)
        for lane in np.flatnonzero(~singular):
            found[lane] = getrs(*factors[lane][:2], right[lane])[0]
        return found

    return solve, singular


def _inverses(
    matrices: Float[np.ndarray, "B M M"],
) -> tuple[Float[np.ndarray, "B M M"], Bool[np.ndarray, " B"]]:
    """Inverses, zero where there is none; and where that is. NumPy gives up all for one."""
    singular = np.zeros(len(matrices), bool)
    try:
        return np.linalg.inv(matrices), singular
    except np.linalg.LinAlgError:
        inverses = np.zeros_like(matrices)
        for lane, matrix in enumerate(matrices):
            try:
                inverses[lane] = np.linalg.inv(matrix)
            except np.linalg.LinAlgError:
                singular[lane] = True
        return inverses, singular
