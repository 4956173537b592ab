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

How a step is found, and how it keeps digits, is said in :mod:`.newton`.

Nothing here is trusted: :mod:`.bounds` makes bounds out of any x.

References:
    Helmberg, Rendl, Vanderbei and Wolkowicz (SIAM J. Optim. 6, 1996); Mehrotra (SIAM J. Optim. 2,
    1992).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from ssem_jax.certificate.symmetry.cones import Cone
from ssem_jax.certificate.symmetry.newton import TINY, Local, Path, System

LAST_BARRIER = 1e-15
"""ν at the end: each dimension of a block adds as much to the gap."""
FIRST_BARRIER = 1.0
"""ν in the beginning, in units of the size of the gradient."""
BARRIER_STEP = 1e-3
"""Least factor of ν from one stage to the next."""
CENTRED = 1.0
"""Newton decrement, in units of ν, at which a stage is done: the next one is predicted from there,
and corrected; at the last one a full step is next."""
EVEN = 1.5
"""What duals may be at the end of a stage, in units of ν: larger ones make steps short, which are
then no sign of being near."""
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
    lanes, ready = every if start.shape[1] else every[:0], np.zeros(len(start), bool)
    for _ in range(NEWTON_STEPS):
        if not len(lanes):
            break
        here, before = path.at(lanes), nu.copy()
        moved, nu[lanes], done = _descended(programs, here, lanes, nu[lanes], last[lanes])
        if passed is not None and (np.any(nu < before) or not len(passed)):
            passed.append(Stage(before, path.at(every)))
        path.put(lanes, moved)
        # Twice: f is no parabola, and Z only as small as its slope is right.
        rest = ~(done & ready[lanes])
        ready[lanes] = done
        lanes = lanes[rest]
    if passed is not None:
        passed.append(Stage(nu, path.at(every)))
    return path


def _descended(
    programs: Reduced,
    at: Path,
    lanes: np.ndarray,
    nu: Float[np.ndarray, " B"],
    last: Float[np.ndarray, " B"],
) -> tuple[Path, Float[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
    """The next points, with the ν that they are for, and whether they are the last ones. Barrier
    functions decrease, or are so near their minimum that the next ν is due; or rounding admits no
    step."""
    local = programs.local(at.x, lanes)
    system = System(programs.cone, at, local)
    step = system.step(nu)
    traces = np.sum([np.trace(d, axis1=-2, axis2=-1).sum(axis=1) for d in step.factors], axis=0)
    decrement = nu * traces - np.sum(local.slope * step.x, axis=1)
    primal, dual = system.reach(step)
    size = np.minimum(1.0, STAY_INSIDE * primal)
    faint = decrement <= np.maximum(NOISE * (1 + np.abs(local.value)), NEAR * nu)
    even = system.product() <= EVEN * programs.cone.dim * nu
    centred = ~(decrement > CENTRED * nu) & even
    done = centred & (nu <= last)
    ahead = centred & (nu > last)
    good = faint | ahead | ~np.isfinite(decrement)
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
    path = system.moved(step, size, dual_size)
    done |= stuck & (nu <= last)
    skipped = stuck & ~centred & ~done  # of this ν there is no more to find
    lower = np.where(skipped, np.maximum(BARRIER_STEP**0.5 * nu, last), nu)
    if ahead.any():
        further, next_nu = _ahead(programs.cone.dim, system, nu, last)
        path.put(ahead, further.at(ahead))
        lower = np.where(ahead, next_nu, lower)
    return path, lower, done


def _ahead(
    dim: int, system: System, nu: Float[np.ndarray, " B"], last: Float[np.ndarray, " B"]
) -> tuple[Path, Float[np.ndarray, " B"]]:
    """Points near the central path at a lower ν, which is as low as the way to the boundary in the
    direction of ν = 0 lets hope."""
    affine = system.step(np.zeros(len(nu)))
    size = np.minimum(1.0, np.minimum(*system.reach(affine)))
    shrunk = np.clip(system.product(affine, size) / dim / nu, 0, 1)
    target = np.maximum(np.maximum(shrunk**3, BARRIER_STEP) * nu, last)
    step = system.step(target, affine, size)
    size = np.minimum(1.0, STAY_INSIDE * np.minimum(*system.reach(step)))
    return system.moved(step, size, size), np.maximum(target, (1 - size) * nu)


# ----------------------------------------------------------------------------- how far it reaches

SEARCH_STEPS = 40
"""Predictor-corrector steps at most; 6 to 15 are usual."""
TIGHTNESS = 3e-3
"""Part of the width of a bracket by which its ends may exceed what is reached."""
DIGITS = 1e-15
"""Width, relative to the functional, below which a bracket is as tight as entries have digits."""
VALUE_DIGITS = 2.0**-50
"""What f may be off, relative to 1 + |f|: with the multiplier of the level, a bound is as much."""
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
        small = TIGHTNESS * np.maximum(reached - first[lanes], digits[lanes])
        small = np.maximum(small, VALUE_DIGITS * at.weight * (1 + np.abs(level[lanes]))) / number
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
    lift = np.sum(tilt * system.answer(tilt), axis=1)
    lift = np.sqrt(np.maximum(lift / measure, TINY))
    lift = np.where(lift > 1e-150, lift, 1.0)
    duals = [lift[:, None, None, None] * dual for dual in at.duals]
    return Path(at.x.copy(), [f.copy() for f in at.factors], duals, lift * at.weight, room)
