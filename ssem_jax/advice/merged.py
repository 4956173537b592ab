"""Optima of unequal batches: by their classes, or by their sizes where many classes share a few.

A random batch of a thousand classes has a handful of sizes. Classes of equal size play equal parts,
so that what is left are the similarities within each size and between any two
(:mod:`ssem_jax.certificate.symmetry`): six sizes leave some thirty numbers, however many classes
there are. Where sizes are many, or classes few, the program of the classes is solved as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ssem_jax.certificate.class_blocks import BRACKET_CLASS_LIMIT
from ssem_jax.certificate.class_program import cosines_of, solve_reduced
from ssem_jax.certificate.symmetry.bounds import solve_program
from ssem_jax.certificate.symmetry.interior import LAST_BARRIER, Stage
from ssem_jax.certificate.symmetry.program import Program, central_path
from ssem_jax.certificate.symmetry.programs import program_of
from ssem_jax.compute.kernels import one_thread
from ssem_jax.geometry.shares import ClassVariances
from ssem_jax.losses.supcl import SupCL
from ssem_jax.losses.terms import BETWEEN, VIEW, WITHIN, Kind
from ssem_jax.problem.problem import Problem
from ssem_jax.problem.structure import ClassStructure

MERGED_LIMIT = 20
"""Different sizes up to which a batch is solved by them: 16 leave 150 numbers, a fifth of a second
for a value of α. More are solved by their classes, if these are few enough."""
RESOLUTION = 1e-7
"""Width in α to which a threshold is searched; the barrier blurs it by about as much."""
FIRST_VALUES = 5
"""Values of α from which the search begins."""


class Optimum(NamedTuple):
    """A certified optimum over all embeddings in all dimensions, by class.

    Attributes:
        class_variances: (m,) of each class.
        class_gram: (m, m) Gram matrix of the class means.
        value: the loss.
        gap: how far it may be above the true minimum.
    """

    class_variances: ClassVariances
    class_gram: Float[np.ndarray, "m m"]
    value: float
    gap: float

    @property
    def cosines(self) -> Float[np.ndarray, "m m"]:
        """(m, m) between class means; 0 for a mean that vanishes."""
        return cosines_of(self.class_gram)


def merges(structure: ClassStructure) -> bool:
    """Whether a batch is solved by its sizes."""
    many = structure.num_classes > BRACKET_CLASS_LIMIT
    return many and len(set(structure.sizes)) <= MERGED_LIMIT


def optimum(structure: ClassStructure, loss: SupCL) -> Optimum:
    """The optimum of one cell.

    Raises:
        ValueError: what :func:`ssem_jax.certificate.solve_reduced` raises.
    """
    if merges(structure):
        program = program_of(loss, structure)
        with one_thread():
            solved = solve_program(program)
        return Optimum(*_by_class(structure, program, solved.x), solved.value, solved.gap)
    found = solve_reduced(Problem(structure, None, loss))
    variances = ClassVariances(*map(np.asarray, found.class_variances))
    return Optimum(variances, np.asarray(found.class_gram), float(found.value), float(found.gap))


def delta2_along(
    structure: ClassStructure, alphas: Float[np.ndarray, " K"], temperature: float, *convention: str
) -> Float[np.ndarray, "K m"]:
    """δ² of every class at some values of α."""
    if merges(structure):
        losses = [SupCL(alpha, temperature, *convention) for alpha in alphas.tolist()]
        return np.stack([optimum(structure, loss).class_variances.delta2 for loss in losses])
    loss = SupCL(alphas, np.full(len(alphas), temperature), *convention)
    return np.asarray(solve_reduced(Problem(structure, None, loss)).class_variances.delta2)


def _by_class(
    structure: ClassStructure, program: Program, x: Float[np.ndarray, " O"]
) -> tuple[ClassVariances, np.ndarray]:
    """Variances of every class and the Gram matrix of their means, of the entries of a program."""
    sizes, group = np.unique(structure.sizes, return_inverse=True)
    n, p, entries = sizes.astype(float), structure.num_views, program.entries(x)

    def own(relation: str, lone: np.ndarray) -> np.ndarray:
        """The entry of each size; where there is no such pair, another number."""
        found = [entries.get(Kind(relation, str(s), str(s)), np.nan) for s in sizes]
        return np.where(np.isnan(found), lone, found)

    instance = (1 + (p - 1) * own(VIEW, np.ones(len(n)))) / p  # squared lengths of their means
    mean = (instance + (n - 1) * own(WITHIN, instance)) / n
    between = np.array(
        [[entries.get(Kind(BETWEEN, str(s), str(t)), np.nan) for t in sizes] for s in sizes]
    )
    gram = between[np.ix_(group, group)]
    np.fill_diagonal(gram, mean[group])
    return ClassVariances((1 - instance)[group], (instance - mean)[group]), gram


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
        self.structure = structure
        self.program = lambda alpha: program_of(SupCL(alpha, temperature, *convention), structure)
        sizes, numbers = np.unique(structure.sizes, return_counts=True)
        self.sizes = sizes.tolist()
        self.share = sizes * numbers / structure.total_instances
        self.parted: dict[float, np.ndarray] = {}
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
        variances = _by_class(self.structure, program, path[-1].path.x[0])[0].delta2
        place = [self.structure.sizes.index(size) for size in self.sizes]
        found = np.maximum(variances[place], np.finfo(float).tiny)
        self.parted[alpha] = found - LAST_BARRIER / (self.share * found)

    def threshold(self, size: int) -> float:
        """Where one size parts: secants on either side of it, which is smooth, until it lies
        between two values."""
        column = self.sizes.index(size)
        while True:
            alphas = np.array(sorted(self.parted))
            values = np.array([self.parted[alpha][column] for alpha in alphas])
            first = next((k for k, value in enumerate(values) if value > 0), len(alphas))
            if first in (0, len(alphas)):
                return float(alphas[min(first, len(alphas) - 1)])  # 0, or 1
            low, high = float(alphas[first - 1]), float(alphas[first])
            if high - low <= RESOLUTION:
                return low + (high - low) * float(
                    values[first - 1] / (values[first - 1] - values[first])
                )
            guess = _crossing(alphas, values, first)
            # At a distance from both ends, so that a good guess is between values next time.
            room = min(RESOLUTION, high - low) / 2
            self.evaluate(float(np.clip(guess, low + room, high - room)))


def _crossing(
    alphas: Float[np.ndarray, " K"], values: Float[np.ndarray, " K"], first: int
) -> float:
    """Where secants on the side of it that has come nearer put a root between two places; half way
    where neither does."""
    low, high = alphas[first - 1], alphas[first]
    guesses = []
    for one, two in ((first - 1, first - 2), (first, first + 1)):
        if 0 <= two < len(alphas) and values[one] != values[two]:
            rate = (alphas[one] - alphas[two]) / (values[one] - values[two])
            guess = float(alphas[one] - values[one] * rate)
            if low < guess < high:
                guesses.append((abs(guess - alphas[one]), guess))
    return min(guesses)[1] if guesses else float(low + high) / 2
