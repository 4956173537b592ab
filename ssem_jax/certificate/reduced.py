"""Certificates of problems that are solved by what symmetry leaves of them, whatever N is."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ssem_jax.certificate.certificate import Certificate
from ssem_jax.certificate.certificates import assemble
from ssem_jax.certificate.symmetry.bounds import Level
from ssem_jax.certificate.symmetry.programs import (
    SIZES_LIMIT,
    arranged,
    bracket_by_class,
    has_program,
    num_kinds,
    quantities_of,
    quantity_ends,
    solved_cells,
)
from ssem_jax.compute.kernels import one_thread
from ssem_jax.losses.base import loss_of
from ssem_jax.losses.declared import check_declared
from ssem_jax.losses.terms import CLASSES
from ssem_jax.problem.arrays import AnyArray
from ssem_jax.problem.problem import Problem, check_problem
from ssem_jax.problem.validation import require_x64


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
    if loss.roles != CLASSES:
        raise ValueError(
            f"{type(loss).__name__} gives embeddings other parts than those of their classes; ask "
            "for a similarity of pairs by their kind instead."
        )
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
