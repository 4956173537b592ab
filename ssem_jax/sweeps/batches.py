"""Cells in batches of one shape, solved and certified or certified alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np
import polars as pl

from ssem_jax import theory
from ssem_jax.certificate.certificate import Certificate
from ssem_jax.certificate.certificates import certificate_key, certify, certify_blocks
from ssem_jax.certificate.reduced import certify_program
from ssem_jax.compute import cache
from ssem_jax.geometry.shares import full_dimension
from ssem_jax.losses.base import loss_of
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.problem import Problem
from ssem_jax.problem.validation import in_64_bits
from ssem_jax.solver.attempts import solve
from ssem_jax.sweeps.table import tabulate

PART_FLOATS = 2**22
"""Floats of embeddings that a part may hold, 32 MiB: its cells share a fate when a run is ended."""
PART_CELLS = {"solve": 256, "certificate": 4096}
"""Cells that a part may hold, by witness: about a second's work, against 10 ms to keep it."""

Progress = Callable[[int], None]


def split(problem: Problem, witness: str = "solve") -> Iterator[Problem]:
    """The problem in batches that fit into a part."""
    losses, size = problem.cells()
    floats = 1 if by_program(problem) else problem.structure.num_embeddings * problem.given_dim
    step = int(np.clip(PART_FLOATS // floats, 1, PART_CELLS[witness]))
    for first in range(0, size, step):
        part = jax.tree.map(lambda leaf, first=first: leaf[first : first + step], losses)
        yield Problem(problem.structure, problem.dim, part, problem.least)


def by_program(problem: Problem) -> bool:
    """Whether a problem is solved by what symmetry leaves of it, and not minimised freely: a loss
    of another structure than classes, or bounded similarities."""
    return problem.least is not None or loss_of(problem).solved_by_terms


def solve_batch(
    problem: Problem, seed: int, num_starts: int, progress: Progress | None
) -> pl.DataFrame:
    """Solve and certify one batch: the rows of its cells."""
    key = jax.random.key(seed)
    solution = solve(problem, key, num_starts=num_starts, progress=progress)
    return tabulate(certify(solution, certificate_key(key)), solution, seed)


def certify_theory(problem: Problem) -> Certificate:
    """Certify theory's own optimum of every cell; nothing is minimised.

    Raises:
        ValueError: no closed form is known, or it does not fit into the dimension.
    """
    problem.check_unbounded()
    losses, _ = problem.cells()
    structure = problem.structure
    if not (type(losses) is SupCL and structure.is_balanced):
        raise ValueError(
            f"no closed form is known for {type(losses).__name__} of {structure}; certify a "
            "minimum instead, with the witness solve."
        )
    least = full_dimension(structure, losses.self_pairs)
    if problem.given_dim < least:
        raise ValueError(
            f"theory's optimum needs dim of at least {least}; got {problem.dim}. Raise it, or "
            "certify a minimum instead, with the witness solve."
        )
    return certify_blocks(problem, theory.similarities(structure, losses))


def compute_batch(
    problem: Problem, witness: str, seed: int, num_starts: int, progress: Progress | None = None
) -> pl.DataFrame:
    """One part of a table, in whatever process this is called."""
    if not in_64_bits():  # of a worker that is new
        cache.set_up_jax()
    if witness == "solve" and not by_program(problem):
        return solve_batch(problem, seed, num_starts, progress)
    certify_alone = certify_theory if witness == "certificate" else certify_program
    table = tabulate(certify_alone(problem))
    if progress:
        progress(len(table))
    return table


def num_cells(problems: Iterable[Problem]) -> int:
    """The cells of a list of problems."""
    return sum(problem.batch_size or 1 for problem in problems)
