r"""An interior method for many programs of one cone, in lock step.

.. math:: \min_x k f(x) - c \cdot x \quad \text{where} \quad
          G_\kappa = B_\kappa + \sum_o x_o A_{\kappa o} \succeq 0 \text{ for every block } \kappa;

k = 1 and c = 0 where the loss is minimised; where it is asked how far c·x reaches up to f ≤ level,
k is the multiplier of that constraint, and level - f its room. Newton steps for

.. math:: k \nabla f - c = \sum_\kappa A_\kappa^*(Z_\kappa), \qquad G_\kappa Z_\kappa = \nu I,
          \qquad k \cdot \text{room} = \nu,

linearised as Helmberg, Rendl, Vanderbei and Wolkowicz do, are

* shortened until f - ν Σ log det G falls, with ν led down in stages, where f is minimised;
* predicted and corrected as Mehrotra does, where c·x is maximised from near the centre of the level
  set.

**Digits.** Near an optimum blocks lose rank, and G, summed up from entries near 1, would have no
digit of an eigenvalue of 1e-16. So a lane carries a factor R of G = R Rᵀ, and its dual as
:math:`\tilde Z = R^\top Z R`, which is about νI: a step is :math:`D = R^{-1} \Delta G R^{-\top}`,
R becomes R (I + D)^{1/2}, and an eigenvalue keeps its digits however small it gets. The Newton
system has directions of curvature 1e20 beside others of 1; it is solved in its own eigenvectors,
into which the rows that it is the square of are turned before they are squared.

Nothing here is trusted: :mod:`.bounds` makes bounds out of any x.

References:
    Helmberg, Rendl, Vanderbei and Wolkowicz (SIAM J. Optim. 6, 1996); Mehrotra (SIAM J. Optim. 2,
    1992).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

LAST_BARRIER = 1e-15
"""ν at the end: each dimension of a block adds as much to the gap."""
FIRST_BARRIER = 1.0
"""ν in the beginning, in units of the size of the gradient."""
BARRIER_STEP = 0.03
"""Factor of ν from one stage to the next."""
CENTRED = 1.0
"""Newton decrement, in units of ν, at which a stage is done: a full step is then next."""
STAY_INSIDE = 0.95
"""Part of the way to the boundary that a step may go."""
SUFFICIENT = 1e-4
"""Part of the predicted decrease that a step must bring."""
HALVINGS = 34
"""Halvings of a step after which a line search ends: the barrier function is rounding there."""
NOISE = 1e-13
"""Predicted decrease, relative to the loss, that no difference of values can show."""
NEAR = 0.05
"""Predicted decrease, in units of ν, below which a full Newton step is safe: the barrier function
is self-concordant, and near the end its values are mostly rounding."""
NEWTON_STEPS = 250
"""Newton steps at most; 25 to 50 are usual."""
TINY = float(np.finfo(float).tiny)


class Local(NamedTuple):
    """Losses at points, a lane each: values, gradients and Hessians."""

    value: Float[np.ndarray, " B"]
    slope: Float[np.ndarray, "B O"]
    bend: Float[np.ndarray, "B O O"]


class Cone:
    """Products of positive semidefinite matrices G = base + Σ x_o slope_o, by their size.

    Args:
        groups: (n, d, d) and (n, O, d, d), for every size d.
    """

    def __init__(self, groups: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self.groups = groups
        self.dim = sum(base.shape[0] * base.shape[1] for base, _ in groups)
        self.rows = sum(base.size for base, _ in groups)

    def factors(self, x: Float[np.ndarray, "B O"]) -> list[np.ndarray]:
        """R of every block, at points inside."""
        return [
            np.linalg.cholesky(base + np.einsum("bo,noij->bnij", x, slopes))
            for base, slopes in self.groups
        ]


@runtime_checkable
class Reduced(Protocol):
    """What the method needs of programs: lanes of :class:`~.program.Programs` are some."""

    @property
    def cone(self) -> Any:  # a checker takes a cached property for no Cone
        """The blocks that must be positive semidefinite."""
        ...

    def values(self, x: Float[np.ndarray, "B O"], lanes: np.ndarray) -> Float[np.ndarray, " B"]:
        """f of some lanes."""
        ...

    def local(self, x: Float[np.ndarray, "B O"], lanes: np.ndarray) -> Local:
        """f, its gradient and its Hessian."""
        ...


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


def joined(paths: Sequence[Path]) -> Path:
    """Lanes of several paths, one after the other."""

    def both(parts: Sequence[list[np.ndarray]]) -> list[np.ndarray]:
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    x, weight, room = (np.concatenate([path[k] for path in paths]) for k in (0, 3, 4))
    factors, duals = both([path.factors for path in paths]), both([path.duals for path in paths])
    return Path(x, factors, duals, weight, room)


def central(cone: Cone, x: Float[np.ndarray, "B O"], nu: Float[np.ndarray, " B"]) -> Path:
    """Points with the duals that they would have on the central path at ν."""
    factors = cone.factors(x)
    duals = [
        nu[:, None, None, None] * np.broadcast_to(np.eye(f.shape[-1]), f.shape) for f in factors
    ]
    return Path(np.array(x), factors, duals, np.ones(len(x)), np.ones(len(x)))


def _transposed(matrices: np.ndarray) -> np.ndarray:
    return np.swapaxes(matrices, -1, -2)


def _symmetric(matrices: np.ndarray) -> np.ndarray:
    return (matrices + _transposed(matrices)) / 2


def _least(values: np.ndarray) -> np.ndarray:
    """The least eigenvalue of the blocks of each lane."""
    return values.reshape(len(values), -1).min(axis=1)


def _eigenvalues(matrices: np.ndarray) -> np.ndarray:
    """Those of symmetric matrices; -∞ where entries have overflowed, on the boundary."""
    finite = np.asarray(np.isfinite(matrices).all(axis=(-2, -1)))[..., None]
    known = np.where(finite[..., None], matrices, 0)
    return np.where(finite, np.linalg.eigvalsh(known), -np.inf)


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
        self.at, self.local, self.tilt = at, local, tilt
        self.excess = None if level is None else local.value + at.room - level
        self.along, self.inverses, rows = [], [], []
        for factor, dual, (_, slopes) in zip(at.factors, at.duals, cone.groups, strict=True):
            inverse = np.linalg.inv(factor)[:, :, None]
            along = inverse @ slopes @ _transposed(inverse)  # (B, n, O, d, d)
            values, vectors = np.linalg.eigh(_symmetric(dual))
            roots = np.sqrt(np.maximum(values, TINY))[..., None]
            self.along.append(along)
            self.inverses.append(_transposed(vectors) / roots)
            turned = (roots * _transposed(vectors))[:, :, None] @ along
            rows.append(np.moveaxis(turned, 2, -1).reshape(len(at.x), -1, slopes.shape[1]))
        if level is not None:
            rows.append(np.sqrt(at.weight / at.room)[:, None, None] * local.slope[:, None])
        self._solve = _solver(np.concatenate(rows, axis=1), _wide(at.weight)[..., 0] * local.bend)

    def pulled_back(self, matrices: list[np.ndarray]) -> Float[np.ndarray, "B O"]:
        """Σ tr(Ã_o Y)."""
        pairs = zip(self.along, matrices, strict=True)
        return np.sum([np.einsum("bnoij,bnij->bo", a, y) for a, y in pairs], axis=0)

    def solve(self, vectors: Float[np.ndarray, "B O"]) -> Float[np.ndarray, "B O"]:
        """The solution for right-hand sides."""
        return self._solve(vectors)

    def step(
        self, nu: Float[np.ndarray, " B"], before: Step | None = None, size: Any = 0.0
    ) -> Step:
        """The step to ν; with the second-order terms of a step `before` of that size."""
        at, local = self.at, self.local
        square, wanted = np.asarray(size) ** 2, [_wide(nu) * np.eye(z.shape[-1]) for z in at.duals]
        if before is not None:
            pairs = zip(wanted, before.factors, before.duals, strict=True)
            wanted = [w - _wide(square) * _symmetric(d @ z) for w, d, z in pairs]
        right = self.pulled_back(wanted) - at.weight[:, None] * local.slope
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
        x = self.solve(right)
        factors = [np.einsum("bnoij,bo->bnij", a, x) for a in self.along]
        duals = [
            w - z - _symmetric(z @ d) for w, z, d in zip(wanted, at.duals, factors, strict=True)
        ]
        spectra = [np.linalg.eigh(_symmetric(d)) for d in factors]
        if self.excess is not None:
            rise = np.sum(local.slope * x, axis=1)
            pull, excess = pull + at.weight / at.room * rise, -excess - rise
        return Step(x, factors, spectra, duals, pull, excess)

    def reach(self, step: Step) -> tuple[np.ndarray, np.ndarray]:
        """How many steps lead to the boundary, primal and dual."""
        least = np.min([_least(values) for values, _ in step.spectra], axis=0)
        lowest = np.zeros(len(least))
        for inverse, turn in zip(self.inverses, step.duals, strict=True):
            with np.errstate(over="ignore", invalid="ignore"):
                moved = _symmetric(inverse @ turn @ _transposed(inverse))
            lowest = np.minimum(lowest, _least(_eigenvalues(moved)))
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


def _solver(
    rows: Float[np.ndarray, "B R O"], bend: Float[np.ndarray, "B O O"]
) -> Callable[[np.ndarray], np.ndarray]:
    """Solves with rowsᵀ rows + bend, in its eigenvectors."""
    with np.errstate(over="ignore", invalid="ignore"):
        whole = _transposed(rows) @ rows + bend
    lost = np.asarray(~np.isfinite(whole).all(axis=(1, 2)))
    rows = np.where(lost[:, None, None], 0.0, rows)
    bend = np.where(lost[:, None, None], np.eye(bend.shape[-1]), bend)
    whole = np.where(lost[:, None, None], bend, whole)
    vectors = np.linalg.eigh(whole)[1]
    turned = rows @ vectors
    small = _transposed(turned) @ turned + _transposed(vectors) @ bend @ vectors
    scale = 1 / np.sqrt(np.maximum(np.diagonal(small, axis1=1, axis2=2), TINY))
    inner = scale[:, :, None] * small * scale[:, None, :]
    inner = inner + 2.0**-50 * np.eye(inner.shape[-1])

    def solve(vector: np.ndarray) -> np.ndarray:
        right = scale[..., None] * (_transposed(vectors) @ vector[..., None])
        found = vectors @ (scale[..., None] * np.linalg.solve(inner, right))
        return np.where(lost[:, None], 0.0, found[..., 0])

    return solve


class Stage(NamedTuple):
    """Points of the central paths, and their ν."""

    nu: Float[np.ndarray, " B"]
    path: Path


def minimise(
    programs: Reduced,
    start: Float[np.ndarray, "B O"],
    last: float | Float[np.ndarray, " B"] = LAST_BARRIER,
    begin: Stage | None = None,
    passed: list[Stage] | None = None,
) -> Path:
    """Points of the central paths at ν = `last`, whose gap is about that times the dimensions.

    Args:
        programs: of every lane.
        start: points inside.
        last: ν at the end.
        begin: points of the central paths of programs nearby, to begin with.
        passed: to which points of the paths are added on the way.
    """
    every, last = np.arange(len(start)), np.broadcast_to(np.asarray(last, float), len(start))
    slope = programs.local(start, every).slope
    nu = FIRST_BARRIER * np.maximum(np.abs(slope).max(axis=1, initial=0.0), last)
    if begin is None:
        path = central(programs.cone, start, nu)
    else:
        nu, path = begin.nu.copy(), begin.path.at(every)
    lanes = every if start.shape[1] else every[:0]
    for _ in range(NEWTON_STEPS):
        if not len(lanes):
            break
        moved, decrement = _descended(programs, path.at(lanes), lanes, nu[lanes])
        path.put(lanes, moved)
        centred = decrement <= CENTRED * nu[lanes]
        done = centred & (nu[lanes] <= last[lanes])
        if passed is not None and (centred.any() or not len(passed)):
            passed.append(Stage(nu.copy(), path.at(every)))
        lower = np.maximum(BARRIER_STEP * nu[lanes], last[lanes])
        nu[lanes] = np.where(centred & ~done, lower, nu[lanes])
        lanes = lanes[~done]
    return path


def _descended(
    programs: Reduced, at: Path, lanes: np.ndarray, nu: Float[np.ndarray, " B"]
) -> tuple[Path, Float[np.ndarray, " B"]]:
    """The next points, and the decrements: the decrease of barrier functions, predicted; 0 where
    rounding admits no step."""
    local = programs.local(at.x, lanes)
    system = System(programs.cone, at, local)
    step = system.step(nu)
    traces = np.sum([np.trace(a, axis1=-2, axis2=-1).sum(axis=1) for a in system.along], axis=0)
    slope = local.slope - nu[:, None] * traces
    decrement = -np.sum(slope * step.x, axis=1)
    primal, dual = system.reach(step)
    size = np.minimum(1.0, STAY_INSIDE * primal)
    faint = decrement <= np.maximum(NOISE * (1 + np.abs(local.value)), NEAR * nu)
    good = faint | ~np.isfinite(decrement)
    for _ in range(HALVINGS):
        if good.all():
            break
        rest = ~good
        values = programs.values((at.x + size[:, None] * step.x)[rest], lanes[rest])
        ratios = [size[rest, None, None] * eigenvalues[rest] for eigenvalues, _ in step.spectra]
        barrier = np.sum([np.log1p(ratio).sum(axis=(1, 2)) for ratio in ratios], axis=0)
        change = values - local.value[rest] - nu[rest] * barrier
        good[rest] = change <= -SUFFICIENT * size[rest] * decrement[rest]
        size = np.where(good, size, size / 2)
    stuck = ~good | ~np.isfinite(decrement)
    size = np.where(stuck, 0.0, size)
    dual_size = np.where(stuck, 0.0, np.minimum(1.0, STAY_INSIDE * dual))
    return system.moved(step, size, dual_size), np.where(stuck, 0.0, decrement)


# ----------------------------------------------------------------------------- how far it reaches

SEARCH_STEPS = 40
"""Predictor-corrector steps at most; 6 to 15 are usual."""
TIGHTNESS = 3e-3
"""Part of the width of a bracket by which its ends may exceed what is reached."""
DIGITS = 1e-15
"""Width, relative to the functional, below which a bracket is as tight as entries have digits."""
CENTRE = 0.3
"""ν at the end, as a part of what is small enough: near enough for a full step to be possible."""
FEASIBLE = 1e-12
"""What steps must have left of the residuals that were there in the beginning: a full one leaves
none."""
POLISHING_STEPS = 3
"""Newton steps at the end, of k f - c·x with k fixed: what f has no digits for, as close to the
minimum as levels may be, moves x no more; its slope has them."""


def reach(
    programs: Reduced,
    start: Path,
    tilt: Float[np.ndarray, "B O"],
    level: Float[np.ndarray, " B"],
    bound: Callable[[int, Path], float],
) -> Float[np.ndarray, " B"]:
    """Upper bounds of c·x up to f ≤ level.

    Args:
        programs: of every lane.
        start: points near the centre of the level set, with the duals of the loss alone.
        tilt: c.
        level: above the loss at the start.
        bound: that from where a lane is, as a path of one lane.
    """
    cone, number = programs.cone, programs.cone.dim + 1
    best = np.abs(tilt).sum(axis=1)
    digits, lanes = DIGITS * best, np.flatnonzero(best)
    first = np.sum(tilt * start.x, axis=1)
    path, rest = _tilted(programs, start, tilt, level), np.ones(len(best))
    for _ in range(SEARCH_STEPS):
        if not len(lanes):
            break
        at = path.at(lanes)
        system = System(cone, at, programs.local(at.x, lanes), tilt[lanes], level[lanes])
        measure = system.product() / number
        reached = np.sum(tilt[lanes] * at.x, axis=1)
        small = TIGHTNESS * np.maximum(reached - first[lanes], digits[lanes]) / number
        done = ~(measure > small) & (rest[lanes] <= FEASIBLE) | ~np.isfinite(measure)
        affine = system.step(np.zeros(len(lanes)))
        size = np.minimum(1.0, np.minimum(*system.reach(affine)))
        shrunk = np.clip(system.product(affine, size) / number / measure, 0, 1)
        step = system.step(np.maximum(shrunk**3 * measure, CENTRE * small), affine, size)
        size = np.where(done, 0.0, np.minimum(1.0, STAY_INSIDE * np.minimum(*system.reach(step))))
        rest[lanes] *= 1 - size
        path.put(lanes, system.moved(step, size, size))
        lanes = lanes[~done]
    lanes = np.flatnonzero(best)
    for _ in range(POLISHING_STEPS):
        at = path.at(lanes)
        system = System(cone, at, programs.local(at.x, lanes), tilt[lanes])
        step = system.step(system.product() / cone.dim)
        size = np.minimum(1.0, STAY_INSIDE * np.minimum(*system.reach(step)))
        path.put(lanes, system.moved(step, size, size))
    for lane in lanes.tolist():
        best[lane] = min(best[lane], bound(lane, path.at(np.array([lane]))))
    return best


def _tilted(programs: Reduced, start: Path, tilt: np.ndarray, level: np.ndarray) -> Path:
    """The start, its duals and weight lifted to what a step within the Dikin ellipsoid balances."""
    every = np.arange(len(tilt))
    local = programs.local(start.x, every)
    nu = np.trace(start.duals[0], axis1=-2, axis2=-1)[:, 0] / start.duals[0].shape[-1]
    room = np.maximum(level - local.value, nu)
    at = start._replace(room=room)
    system = System(programs.cone, at, local, tilt, level)
    measure = system.product() / (programs.cone.dim + 1)
    lift = np.sqrt(np.maximum(np.sum(tilt * system.solve(tilt), axis=1) / measure, TINY))
    lift = np.where(lift > 1e-150, lift, 1.0)
    duals = [_wide(lift) * dual for dual in at.duals]
    return Path(at.x.copy(), [f.copy() for f in at.factors], duals, lift * at.weight, room)
