"""Optima of unequal batches: by their classes, or by their sizes where many classes share a few.

A random batch of a thousand classes has a handful of sizes. Classes of equal size play equal parts,
so that what is left are the similarities within each size and between any two
(:mod:`ssem_jax.certificate.symmetry`): six sizes leave some thirty numbers, however many classes
there are. Where sizes are many, or classes few, the program of the classes is solved as it is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from ssem_jax.certificate.class_blocks import BRACKET_CLASS_LIMIT
from ssem_jax.certificate.class_program import cosines_of, solve_reduced
from ssem_jax.certificate.symmetry.bounds import solve_program
from ssem_jax.certificate.symmetry.program import LAST_BARRIER, Program, minimise
from ssem_jax.certificate.symmetry.programs import program_of
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


def merged_thresholds(
    structure: ClassStructure, temperature: float, self_pairs: str, mean: str
) -> Float[np.ndarray, " m"]:
    r"""The α at which the classes of each size part, to some six digits; NaN of one instance.

    On the central path at ν the variance of a size times its multiplier is ν, so that

    .. math:: \delta^2 - \frac{\nu}{\pi \delta^2},

    with π the share of the size in all instances, is the variance where instances have parted, and
    minus the multiplier in that share where they have not: it is 0 at the threshold.
    """
    from scipy.optimize import brentq

    sizes = np.asarray(structure.sizes)
    known: dict[float, dict[int, float]] = {}
    cone = program_of(SupCL(0.5, temperature, self_pairs, mean), structure).cone

    def variances(alpha: float) -> dict[int, float]:
        if alpha not in known:
            program = program_of(SupCL(alpha, temperature, self_pairs, mean), structure)
            program.cone = cone  # of the structure alone
            found = _by_class(structure, program, minimise(program).x)[0].delta2
            known[alpha] = dict(zip(sizes.tolist(), found.tolist(), strict=True))
        return known[alpha]

    def parted(alpha: float, size: int, share: float) -> float:
        found = max(variances(alpha)[size], np.finfo(float).tiny)
        return found - LAST_BARRIER / (share * found)

    def threshold(size: int) -> float:
        share = size * float(np.mean(sizes == size)) / float(np.mean(sizes))
        alphas = sorted(known)  # what other sizes asked for tells of this one
        first = next((k for k, a in enumerate(alphas) if parted(a, size, share) > 0), len(alphas))
        if first in (0, len(alphas)):
            return alphas[min(first, len(alphas) - 1)]  # 0, or 1
        ends = alphas[first - 1], alphas[first]
        found: Any = brentq(parted, *ends, args=(size, share), xtol=RESOLUTION)
        return float(found)

    with one_thread():
        variances(0.0), variances(1.0)
        several = sorted({size for size in sizes.tolist() if size > 1}, reverse=True)
        found = {size: threshold(size) for size in several}
    return np.array([found.get(size, np.nan) for size in sizes.tolist()])


def one_thread() -> threadpool_limits:
    """Matrices this small keep a second thread of LAPACK's waiting for ten times their work."""
    return threadpool_limits(1, user_api="blas")
