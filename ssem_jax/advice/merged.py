"""Thresholds of unequal batches by their sizes, where many classes share a few.

A random batch of a thousand classes has a handful of sizes. Classes of equal size play equal parts,
so that what is left are the similarities within each size and between any two
(:mod:`ssem_jax.certificate.symmetry`): six sizes leave some thirty numbers, however many classes
there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
from jaxtyping import Float

from ssem_jax.certificate.class_blocks import FEW_CLASSES
from ssem_jax.certificate.reduced import ORBITS_LIMIT
from ssem_jax.certificate.symmetry.interior import LAST_BARRIER, Stage
from ssem_jax.certificate.symmetry.program import Program, central_path, drift
from ssem_jax.certificate.symmetry.programs import arranged, instance_variances, program_of
from ssem_jax.compute.kernels import one_thread
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.structure import ClassStructure

RESOLUTION = 1e-7
"""Width in α to which a threshold is searched; the barrier blurs it by about as much."""
LEAST_VARIANCE = 1e-100
"""Instead of none, as of classes of one instance; its square has an inverse."""
FIRST_VALUES = 5
"""Values of α from which the search begins."""


def merges(structure: ClassStructure) -> bool:
    """Whether thresholds are found by sizes."""
    many = structure.num_classes > FEW_CLASSES
    return many and len(set(structure.sizes)) <= ORBITS_LIMIT


@one_thread()
def merged_thresholds(
    structure: ClassStructure,
    temperature: float,
    self_pairs: str,
    mean: str,
    progress: Callable[[int], None] = lambda count: None,
) -> Float[np.ndarray, " m"]:
    r"""The α at which the classes of each size part, to some six digits; NaN of one instance.

    On the central path at ν the variance of a size times its multiplier is ν, so that

    .. math:: \delta^2 - \frac{\nu}{\pi \delta^2},

    with π the share of the size in all instances, is the variance where instances have parted, and
    minus the multiplier in that share where they have not: it is 0 at the threshold.
    """
    sizes = np.asarray(structure.sizes)
    search = _Search(structure, temperature, self_pairs, mean)
    several = sorted({size for size in sizes.tolist() if size > 1}, reverse=True)
    found = {}
    for size in several:
        found[size] = search.threshold(size)
        progress(1)
    return np.array([found.get(size, np.nan) for size in sizes.tolist()])


class _Search:
    """The thresholds of all sizes at one temperature: an optimum that is found for one of them
    tells of every other, and where the search for the next optimum begins."""

    def __init__(self, structure: ClassStructure, temperature: float, *convention: str) -> None:
        self.program = lambda alpha: cast(
            Program, program_of(SupCL(alpha, temperature, *convention), structure)
        )
        # The loss is affine in α.
        self.ends = [self.program(alpha) for alpha in (0.0, 1.0)]
        sizes, numbers = np.unique(structure.sizes, return_counts=True)
        self.sizes = sizes.tolist()
        arrangement = arranged(SupCL(0.5, temperature, *convention), structure)
        found, order = instance_variances(arrangement, structure), np.argsort(arrangement.sizes)
        self.slopes, self.constants = found.slopes[1:][order], found.constants[1:][order]
        self.share = sizes * numbers / structure.total_instances
        self.parted: dict[float, np.ndarray] = {}
        self.rates: dict[float, np.ndarray] = {}
        self.paths: dict[float, list[Stage]] = {}
        for alpha in np.linspace(0, 1, FIRST_VALUES).tolist():
            self.evaluate(alpha)

    def evaluate(self, alpha: float) -> None:
        """How far the sizes have parted at α, by way of the nearest optimum that is known.

        From there to here the multipliers change by the distance in α, and variances on the
        central path are of order √ν: where that is more, Newton's method is at home.
        """
        program = self.program(alpha)
        near = [
            stage
            for other, path in self.paths.items()
            for stage in path
            if stage.nu[0] >= (alpha - other) ** 2
        ]
        begin = min(near, key=lambda stage: stage.nu[0], default=None)
        self.paths[alpha] = path = central_path(program, begin)
        end = path[-1].path
        x = end.x[0]
        less, more = (one.slope(x) for one in self.ends)
        found = np.maximum(self.slopes @ x + self.constants, LEAST_VARIANCE)
        excess = LAST_BARRIER / (self.share * found)
        self.parted[alpha] = found - excess
        rates = self.slopes @ drift(program, end, more - less)
        self.rates[alpha] = rates * (1 + excess / found)

    def threshold(self, size: int) -> float:
        """Where one size parts: by Newton's method, between the nearest values on either side."""
        column = self.sizes.index(size)
        low, high = 0.0, 1.0
        while True:
            values = {alpha: float(found[column]) for alpha, found in self.parted.items()}
            low = max((alpha for alpha, value in values.items() if value <= 0), default=0.0)
            high = min((alpha for alpha, value in values.items() if value > 0), default=1.0)
            if high == 0.0 or low == 1.0:
                return high
            guesses = [
                (abs(step), float(alpha - step))
                for alpha in (low, high)
                if (rate := self.rates[alpha][column]) > 0
                and low < alpha - (step := values[alpha] / rate) < high
            ]
            far, guess = min(guesses, default=(high - low, (low + high) / 2))
            if far <= RESOLUTION:
                return guess
            self.evaluate(guess)
