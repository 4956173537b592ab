"""Where classes of different size cease to collapse: searched, certified."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax.advice.merged import merged_thresholds, merges
from ssem_jax.certificate.class_blocks import check_small, present_rows
from ssem_jax.certificate.class_program import (
    ClassCell,
    noise_of,
    run_cells,
    solve_chunk,
)
from ssem_jax.certificate.reduced import solve_reduced
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.problem import Problem
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import check_progress, require_x64, shown

THRESHOLD_STEPS = 60
"""Steps at most in the search for a threshold; some 10 are usual."""
RESOLUTION = 1e-12
"""Width in α to which a threshold is enclosed: there rounding decides."""


def collapse_thresholds(
    structure: ClassStructure,
    temperature: float,
    *,
    mean: str = "pairs",
    self_pairs: str = "include",
    progress: Callable[[int], None] | None = None,
) -> Float[np.ndarray, " m"]:
    r"""The α_k at which the instance means of each class part; below it they coincide.

    Every class has its own threshold, and those of later classes depend on how far the earlier
    ones have spread. The root of the dual eigenvalue of the instances in the program that
    holds those of this class together, which is smooth and changes sign at the threshold. The
    first threshold of the per-anchor mean has a closed form given the collapsed class means,

    .. math::
       \alpha_k = 1 - (n_k-1) \Bigl[\frac{e^{1/\tau}}{D_k}
         + \frac{M}{n_k^2} \sum_{l \ne k} S_{kl} C_{kl}\Bigr], \quad
       S_{kl} = \frac{n_k n_l}{2M} e^{C_{kl}/\tau} \Bigl(\frac1{D_k} + \frac1{D_l}\Bigr), \quad
       D_k = n_k e^{1/\tau} + \sum_{l \ne k} n_l e^{C_{kl}/\tau},

    because there neither C nor the weight of a class depends on α before the first class parts.

    Args:
        structure: class sizes and views.
        temperature: τ > 0.
        mean: "pairs" or "anchors".
        self_pairs: "include"; "exclude" or "decouple" with two views or more.
        progress: called with the number of class sizes whose threshold was newly found.

    Returns:
        (m,) thresholds; NaN for a class of one instance, whose means cannot part.

    Raises:
        ValueError: all classes of one instance, a τ that is not positive, an unknown convention,
            self pairs not included with one view, and what :func:`solve_reduced` raises.
    """
    check_structure(structure)
    check_progress(progress)
    told = progress or (lambda count: None)
    sizes = np.asarray(structure.sizes)
    loss = SupCL(0.5, temperature, self_pairs, mean)
    if np.ndim(temperature):
        raise ValueError(f"temperature must be one number; got {shown(temperature)}.")
    if merges(structure):
        loss.check_structure(structure)
        thresholds = merged_thresholds(structure, float(temperature), self_pairs, mean, told)
    else:
        thresholds = _searched(structure, loss, told)
    if mean == "anchors" and self_pairs == "include" and sizes.min() > 1:
        exact = _thresholds_at_collapse(structure, float(temperature))
        earliest = sizes == sizes[np.argmin(exact)]
        thresholds[earliest] = exact[earliest]
    return thresholds


def _searched(
    structure: ClassStructure, loss: SupCL, progress: Callable[[int], None]
) -> Float[np.ndarray, " m"]:
    """By the program of the classes."""
    sizes = np.asarray(structure.sizes)
    require_x64()
    check_small(loss, structure)
    loss.check_structure(structure)
    pinned = _Pinned(structure, float(loss.temperature), loss.self_pairs, loss.mean)
    thresholds = np.where(sizes > 1, 0.0, np.nan)
    # Classes of equal size have equal thresholds: permuting them changes nothing.
    _, first, group = np.unique(sizes, return_index=True, return_inverse=True)
    spreadable = first[sizes[first] > 1]
    low, high = np.zeros(len(sizes)), np.ones(len(sizes))
    below, above = pinned.slack(spreadable, low), pinned.slack(spreadable, high)
    thresholds[above > 0] = 1
    open_ = (below > 0) & (above <= 0)
    side = np.zeros(len(sizes))
    known = len(spreadable) - int(open_.sum())
    progress(known)
    for _ in range(THRESHOLD_STEPS):
        active = np.flatnonzero(open_ & (high - low > RESOLUTION))
        done = len(spreadable) - len(active)
        progress(done - known)
        known = done
        if not len(active):
            break
        weight = below[active] / (below[active] - above[active])
        alpha = low.copy()
        alpha[active] += weight * (high - low)[active]
        found = pinned.slack(active, alpha)
        for k in active:
            thresholds[k] = alpha[k]
            open_[k] = abs(found[k]) > pinned.rounding[k] and low[k] < alpha[k] < high[k]
            # Illinois: an end that stays twice counts half.
            if found[k] > 0:
                low[k], below[k] = alpha[k], found[k]
                above[k] *= 0.5 if side[k] > 0 else 1
            else:
                high[k], above[k] = alpha[k], found[k]
                below[k] *= 0.5 if side[k] < 0 else 1
            side[k] = np.sign(found[k])
    return thresholds[first][group]


class _Pinned:
    """The dual slack of each class whose instances are held together, as are those of its equals;
    warm starts inside.

    It is positive iff the class collapses: then the multipliers are those of the whole program.
    """

    def __init__(self, structure: ClassStructure, temperature: float, *convention: str) -> None:
        m = structure.num_classes
        self.problem = lambda alpha: Problem(
            structure, None, SupCL(alpha, np.full(len(alpha), temperature), *convention)
        )
        self.present = np.tile(present_rows(structure), (m, 1, 1))
        sizes = np.asarray(structure.sizes)
        self.present[:, :, m] *= sizes[:, None] != sizes
        self.points = np.tile(noise_of(1, self.present.shape[1:]), (m, 1, 1)) * self.present
        self.rounding = np.zeros(m)

    def slack(self, classes: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """(m,) slack of the instances of each of some classes at its own α; elsewhere NaN."""
        m = len(self.rounding)
        problem = self.problem(alpha[classes])
        losses, size = problem.cells()
        present, starts = self.present[classes], self.points[classes]

        def kernel(
            chosen: GramLoss, rows: Any, _: Array, cells: np.ndarray, count: int
        ) -> ClassCell:
            where, first = jnp.asarray(present[cells]), jnp.asarray(starts[cells])
            return solve_chunk(chosen, rows, where, first, count)

        cell = run_cells(losses, problem.structure, size, kernel)
        self.points[classes], self.rounding[classes] = cell.points, cell.dual.rounding
        found = np.full(m, np.nan)
        found[classes] = cell.dual.instance[np.arange(size), classes]
        return found


def _thresholds_at_collapse(
    structure: ClassStructure, temperature: float
) -> Float[np.ndarray, " m"]:
    """Where each class would part if all others stayed collapsed; per-anchor mean, included."""
    loss = SupCL(0.0, temperature, "include", "anchors")
    cosines = np.array(solve_reduced(Problem(structure, None, loss)).class_gram)
    n, total = np.asarray(structure.sizes, float), structure.total_instances
    # The diagonal of C is 1 in collapse; weights are divided by e^{1/τ}.
    factors = np.exp((cosines - 1) / temperature)
    np.fill_diagonal(factors, 1)
    denominator = factors @ n
    dual = np.outer(n, n) * factors * (1 / denominator[:, None] + 1 / denominator) / (2 * total)
    np.fill_diagonal(dual, 0)
    pull = total / n**2 * np.sum(dual * cosines, axis=1)
    return 1 - (n - 1) * (1 / denominator + pull)
