"""Optima, certificates and brackets of what symmetry leaves of a problem, whatever N is."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from ssem_jax.certificate.certificate import Certificate
from ssem_jax.certificate.certificates import assemble, brackets_of
from ssem_jax.certificate.class_blocks import check_small, is_small
from ssem_jax.certificate.class_program import ClassCell, run_cells, solve_anew
from ssem_jax.certificate.symmetry.algebra import Algebra
from ssem_jax.certificate.symmetry.bounds import Level, Solved, dual_matrix
from ssem_jax.certificate.symmetry.program import OrbitProgram
from ssem_jax.certificate.symmetry.programs import (
    SIZES_LIMIT,
    Arrangement,
    arranged,
    bracket_by_class,
    by_class,
    has_program,
    is_averaged,
    num_kinds,
    quantities_of,
    quantity_ends,
    says_terms,
    solved_cells,
)
from ssem_jax.compute.kernels import one_thread
from ssem_jax.geometry.shares import ClassVariances, Variances, own_similarities
from ssem_jax.geometry.similarities import Similarities
from ssem_jax.losses.base import GramLoss, loss_of
from ssem_jax.losses.declared import check_declared
from ssem_jax.losses.terms import CLASSES
from ssem_jax.problem.arrays import AnyArray
from ssem_jax.problem.problem import Problem, check_problem
from ssem_jax.problem.pytrees import pytree_dataclass
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import require_x64

ORBITS_LIMIT = 20
"""Kinds of classes up to which optima are found by orbits of pairs: 16 leave 150 numbers, a fifth
of a second a cell. Of more kinds classes are points, which is compiled."""


@one_thread()
def certify_program(problem: Problem) -> Certificate:
    r"""Solve and certify the program that symmetry leaves of a loss.

    Nothing is minimised over embeddings: an optimum is constant on the kinds of pairs, and the few
    numbers that are left are found and certified (:mod:`ssem_jax.certificate.symmetry`). The bound
    holds for all embeddings in all dimensions whose similarities are at least `problem.least`, and
    N embeddings in N dimensions attain the value.

    Args:
        problem: one cell, or a batch of cells, of :class:`ssem_jax.SupCL`, of a loss in
            :mod:`ssem_jax.losses.structured` or :mod:`ssem_jax.losses.batched`, or of any convex
            symmetric loss of up to 64 embeddings; its dimension is None, or N at least.

    Returns:
        The certificate, without embeddings; `variances` are those of the solution.

    Raises:
        ValueError: 64-bit mode is off, a loss that neither says its terms nor is convex and
            symmetric, more embeddings than colours are searched for, or a dimension below N.
    """
    check_problem(problem)
    require_x64()
    structure, losses = problem.structure, loss_of(problem)
    arrangement = arranged(losses, structure)
    if problem.dim is not None and problem.dim < structure.num_embeddings:
        raise ValueError(
            "what symmetry leaves of a problem is that of every dimension; got dim = "
            f'{problem.dim}, below {structure.num_embeddings} embeddings. Use dim=None or "full".'
        )
    batch, size = problem.cells()
    check_declared(batch, structure)
    functionals = quantities_of(arrangement, structure)
    cells = solved_cells(batch, structure, size, problem.least)
    ends = quantity_ends(
        arrangement, structure, [Level(program, one.value, one) for program, one in cells]
    )
    rows = []
    for _, solved in cells:
        view, delta2, mean_squared = (functionals.slopes @ solved.x + functionals.constants)[:3]
        shares = np.array([view, delta2, 1 - view - delta2 - mean_squared, mean_squared])
        rows.append((solved.value, solved.lower, solved.gap, solved.eigenvalue, shares))
    leaves = tuple(map(np.array, zip(*rows, strict=True)))
    return assemble(problem, (*leaves, *ends), 0.0)


def bracket_classes(
    problem: Problem, level: Float[AnyArray, "*batch"] | float, products: bool = False
) -> tuple[Float[np.ndarray, "*batch K"], Float[np.ndarray, "*batch K"]]:
    """Outer bounds by class, over all embeddings of at most a given loss.

    Args:
        problem: one cell, or a batch of B cells, of classes of any size.
        level: the loss up to which embeddings count, for every cell; raised to the minimum.
        products: bound the inner products of class means k < l, in row order, instead of the m
            variances δ²_k.

    Raises:
        ValueError: 64-bit mode is off, embeddings that are not those of classes alone, a loss that
            neither says its terms nor is convex and symmetric, or too many kinds of classes.
    """
    require_x64()
    check_problem(problem)
    loss, structure = loss_of(problem), problem.structure
    _check_classes(loss)
    arranged(loss, structure)
    if not has_program(loss, structure):
        raise ValueError(
            f"classes are bracketed up to {SIZES_LIMIT} kinds of them; got "
            f"{num_kinds(loss, structure)}. Use solve and certify."
        )
    losses, size = problem.cells()
    check_declared(losses, structure)
    levels = np.broadcast_to(np.asarray(level, float), (size,))
    low, high = bracket_by_class(losses, structure, levels, products, problem.least)
    return (low[0], high[0]) if problem.batch_size is None else (low, high)


# ----------------------------------------------------------------------------- optima by class


def cosines_of(gram: Float[np.ndarray, "*batch m m"]) -> Float[np.ndarray, "*batch m m"]:
    """Cosines of the angles between vectors, of their Gram matrix; 0 for one that vanishes."""
    norms = np.sqrt(np.diagonal(gram, axis1=-2, axis2=-1))
    norms = np.where(norms > 0, norms, 1)
    return gram / (norms[..., :, None] * norms[..., None, :])


@pytree_dataclass
class ReducedSolution:
    """The optimum over all embeddings in all dimensions, by class; batched if the problem is.

    Attributes:
        problem: what was solved; its dimension, None if none was given, plays no role.
        class_gram: (m, m) Gram matrix C of the class means.
        class_variances: (m,) variances of each class, of its views and δ²_k of its instance means.
        value: the loss, attained.
        lower: a lower bound of the loss of all embeddings in all dimensions.
        gap: value - lower, with the rounding of both on the safe side.
        instance_slack: (m,) dual eigenvalues of the instances: every embedding of loss c has
            Σ instance_slack · δ²_k ≤ c - lower. 0 up to rounding where a class is spread.
        view_slack: (m,) likewise of the views.
        class_dual: (m, m) dual matrix S of the class means; S C = 0 at the optimum.
    """

    problem: Problem
    class_gram: Float[AnyArray, "*batch m m"]
    class_variances: ClassVariances
    value: Float[AnyArray, "*batch"] | float
    lower: Float[AnyArray, "*batch"] | float
    gap: Float[AnyArray, "*batch"] | float
    instance_slack: Float[AnyArray, "*batch m"]
    view_slack: Float[AnyArray, "*batch m"]
    class_dual: Float[AnyArray, "*batch m m"]

    @property
    def cosines(self) -> Float[np.ndarray, "*batch m m"]:
        """(m, m) cosines of the angles between class means; 0 for a mean that vanishes."""
        return cosines_of(np.asarray(self.class_gram))

    @property
    def similarities(self) -> Similarities:
        """(m,) of two views of an instance and of two instances of a class, 1 where there are none;
        and the (m, m) inner products of the class means."""
        sizes, p = self.problem.structure.sizes, float(self.problem.structure.num_views)
        own = own_similarities(*self.class_variances, np.asarray(sizes, float), p)
        return Similarities(*own, self.class_gram)

    @property
    def variances(self) -> Variances:
        """Those of the embeddings of all classes."""
        share, gram = self.problem.structure.class_shares, np.asarray(self.class_gram)
        view, delta2 = (np.asarray(each) @ share for each in self.class_variances)
        mean_squared = gram @ share @ share
        between = np.diagonal(gram, axis1=-2, axis2=-1) @ share - mean_squared
        return Variances(view, delta2, between, mean_squared)


def has_optimum(loss: GramLoss, structure: ClassStructure) -> bool:
    """Whether :func:`solve_reduced` takes a loss."""
    by_orbits = num_kinds(loss, structure) <= ORBITS_LIMIT
    known = says_terms(loss) or is_averaged(loss, structure)
    return loss.roles == CLASSES and ((known and by_orbits) or is_small(loss, structure))


def solve_reduced(problem: Problem) -> ReducedSolution:
    r"""The optimum of a convex symmetric loss over all embeddings, for class sizes of any kind.

    .. math:: \min \{ f(\theta, \delta^2, C) : \theta, \delta^2 \ge 0,\; C \succeq 0,\;
              \theta_k + \delta_k^2 + C_{kk} = 1 \}

    Args:
        problem: one cell, or a batch of cells; the dimension plays no role.

    Returns:
        Class means, variances, value and a certified lower bound of every cell.

    Raises:
        ValueError: 64-bit mode is off; a loss that gives embeddings other parts than those of their
            classes, or that neither says its terms nor is convex and symmetric, of up to 64
            embeddings; or more than `ORBITS_LIMIT` kinds of classes, of more than 128 classes or
            another loss than SupCL and its kin.

    References:
        Behnia, Kini, Vakilian and Thrampoulidis (AISTATS 2023) for the geometry of class means
        under imbalance with cross-entropy; Fang, He, Long and Su (PNAS 2021) for minority
        collapse.
    """
    require_x64()
    check_problem(problem)
    problem.check_unbounded()
    loss, structure = loss_of(problem), problem.structure
    _check_classes(loss)
    arrangement = arranged(loss, structure)
    losses, size = problem.cells()
    check_declared(losses, structure)
    if num_kinds(loss, structure) <= ORBITS_LIMIT:
        leaves: Any = _by_orbits(arrangement, losses, structure, size)
    else:
        check_small(loss, structure)
        leaves = _of_points(run_cells(losses, structure, size, solve_anew))
    if problem.batch_size is None:
        leaves = jax.tree.map(lambda leaf: leaf[0], leaves)
    return ReducedSolution(problem, *leaves)


def _check_classes(loss: GramLoss) -> None:
    if loss.roles != CLASSES:
        raise ValueError(
            f"{type(loss).__name__} gives embeddings other parts than those of their classes; ask "
            "for a similarity of pairs by their kind instead."
        )


def _of_points(cell: ClassCell) -> tuple[Any, ...]:
    variances, dual = ClassVariances(cell.blocks.view, cell.blocks.delta2), cell.dual
    values = cell.blocks.gram, variances, cell.value, dual.lower, cell.gap
    return *values, dual.instance, dual.view, dual.gram


@one_thread()
def _by_orbits(
    arrangement: Arrangement, losses: GramLoss, structure: ClassStructure, size: int
) -> tuple[Any, ...]:
    rows = [
        _class_view(arrangement, structure, program, solved)
        for program, solved in solved_cells(losses, structure, size)
    ]
    return jax.tree.map(lambda *parts: np.stack(parts), *rows)


def _class_view(
    arrangement: Arrangement, structure: ClassStructure, program: OrbitProgram, solved: Solved
) -> tuple[Any, ...]:
    """The fields of a solution, of one cell."""
    algebra: Algebra = program.algebra
    n, p = np.asarray(structure.sizes, float), structure.num_views
    ones = np.ones(len(algebra.points))
    (_, of_views, within, _), gram = by_class(arrangement, algebra.coefficients(ones, solved.x))
    # Squared lengths of the means of instances, and of their classes.
    instance = (1 + (p - 1) * np.where(np.isnan(of_views), 1.0, of_views)) / p
    mean = (instance + (n - 1) * np.where(np.isnan(within), instance, within)) / n
    np.fill_diagonal(gram, mean)
    point = solved.path.x[0]
    dual = algebra.coefficients(*dual_matrix(algebra, point, program.minorant(point).slope))
    own, between = by_class(arrangement, dual)
    diagonal, of_views, within, _ = np.nan_to_num(own)
    view_slack = n * p * (diagonal - of_views)
    together = diagonal + (p - 1) * of_views
    class_dual = np.outer(n * p, n * p) * between
    np.fill_diagonal(class_dual, n * p * (together + p * (n - 1) * within))
    variances = ClassVariances(1 - instance, instance - mean)
    values = gram, variances, np.asarray(solved.value), np.asarray(solved.lower)
    slacks = n * p * (together - p * within), view_slack
    return *values, np.asarray(solved.gap), *slacks, class_dual


def certify_classes(solution: ReducedSolution) -> Certificate:
    r"""The certificate that the solution of the program of the classes is, for all embeddings.

    With :math:`n_k p` embeddings in class k, the N × N dual matrix has the eigenvalues
    :math:`r_k / (n_k p)` for the slacks r of instances and views, and those of
    :math:`D^{-1/2} S D^{-1/2}`, D = Diag(n_k p), for the class means.

    Args:
        solution: from :func:`ssem_jax.certificate.solve_reduced`, one cell or a batch.

    Returns:
        The certificate; `variances` are those of the solution, averaged over its embeddings.
    """
    problem, structure = solution.problem, solution.problem.structure
    losses, size = problem.cells()
    value, lower, gap = (
        np.broadcast_to(each, (size,)) for each in (solution.value, solution.lower, solution.gap)
    )
    counts = np.asarray(structure.sizes) * structure.num_views
    found, m = np.stack(solution.variances, axis=-1).reshape(size, 4), structure.num_classes
    scale = np.sqrt(np.outer(counts, counts))
    dual = np.asarray(solution.class_dual).reshape(size, m, m) / scale
    eigenvalue = np.linalg.eigvalsh(dual)[:, 0]
    several = np.asarray(structure.sizes) > 1
    present = ((solution.instance_slack, several), (solution.view_slack, structure.num_views > 1))
    for slack, here in present:
        each = np.where(here, np.asarray(slack).reshape(size, m) / counts, np.inf)
        eigenvalue = np.minimum(eigenvalue, each.min(axis=1))
    low, high = brackets_of(losses, structure, found, lower + gap)
    return assemble(problem, (value, lower, gap, eigenvalue, found, low, high), 0.0)
