r"""Whether embeddings of few dimensions attain what is optimal in all dimensions.

In R^d the Gram matrix has rank d at most, and the problem is no longer convex. Many starts show
that a minimum is *attained*, by embeddings that are certified; they never show that it is not. That
takes the set of unconstrained optima: where the optimum G* is unique, R^d attains it iff
d ≥ rank G*.

**Uniqueness of the SupCL optimum**, whatever n, p, α and τ. The log-sum-exp of a row is strictly
convex but for adding a constant to the whole row, and the linear terms do not spoil that. Let G* be
an optimum that is averaged over the symmetry of the structure, and G another.

* Self pairs *included*: entry (i, i) of each row is 1, so no constant can be added to a row that
  weighs anything. Every row weighs something unless α = 0 and its class has one instance.
* Self pairs *excluded*, balanced classes: rows of G and G* differ by constants off the diagonal, by
  symmetry one and the same: G = G* + c (J - I). G* has global mean 0, so c ≥ 0; the variance of
  views or of instances is 0 in it (they are never both positive), so c ≤ 0.

**Rank of a symmetric optimum**: its eigenvalues are, up to multiplicity, its variances. Positive
lower ends of brackets prove mn(p-1) of them for views, m(n-1) for instances, m-1 for classes. For
classes of different size, n_k - 1 for every class whose instances are proven apart.
"""

from __future__ import annotations

import enum

import jax
import numpy as np

from ssem_jax.certificate import certificate_key, certify
from ssem_jax.claims import Cells, Interval, decided
from ssem_jax.imbalance import bracket_reduced, instance_functionals, reducible
from ssem_jax.losses import GramLoss, SupCL
from ssem_jax.problem import ClassStructure, Problem
from ssem_jax.solve import solve
from ssem_jax.sweep import admitting_dimension


class Attainment(enum.IntEnum):
    """Whether R^d attains the optimum over all dimensions."""

    ATTAINED = 1
    """Embeddings in R^d are certified as optimal."""
    NOT_ATTAINED = -1
    """The unconstrained optimum is proven unique, and of rank above d."""
    UNKNOWN = 0
    """Neither: many starts ended above the bound, which proves nothing."""


def is_unique(loss: GramLoss, structure: ClassStructure) -> np.ndarray:
    """(B,) whether the Gram matrix of an unconstrained optimum is proven unique, for each cell."""
    losses, size = Problem(structure, 1, loss).cells()
    if type(losses) is not SupCL or losses.self_pairs not in ("include", "exclude"):
        return np.zeros(size, bool)
    if losses.self_pairs == "exclude":
        return np.full(size, structure.is_balanced)
    return (losses.alpha > 0) | (min(structure.sizes) > 1)


def least_rank(problem: Problem, seed: int = 0) -> np.ndarray:
    """(B,) a lower bound of the rank of the symmetric optimum of each cell.

    Args:
        problem: the cells; their dimension plays no role.
        seed: of the random starts of the unconstrained problem.
    """
    structure, loss = problem.structure, problem.loss
    m, p = structure.num_classes, structure.num_views
    if structure.is_balanced:
        n = structure.instances_per_class
        free = Problem(structure, admitting_dimension(structure, loss), loss)
        key = jax.random.key(seed)
        brackets = certify(solve(free, key), certificate_key(key)).brackets
        view, instance, mean = (
            brackets[name] for name in ("view_variance", "delta2", "mean_squared")
        )
        between = 1 - view[1] - instance[1] - mean[1]
        shares = ((view[0], m * n * (p - 1)), (instance[0], m * (n - 1)), (between, m - 1))
        return np.sum([count * (np.atleast_1d(low) > 0) for low, count in shares], axis=0)
    if not reducible(loss, structure):
        return np.zeros(problem.batch_size or 1, int)
    low, _ = bracket_reduced(problem, -np.inf, instance_functionals(m))  # at the minimum itself
    return ((np.atleast_2d(low) > 0) * (np.array(structure.sizes) - 1)).sum(axis=1)


def attainment(cells: Cells, seed: int = 0) -> np.ndarray:
    """(B,) codes of :class:`Attainment`: whether each cell's dimension attains the optimum.

    The unconstrained problem of every cell that is not attained is solved besides.

    Args:
        cells: certified cells of any dimensions.
        seed: of the random starts of the unconstrained problems.
    """
    found = np.where(cells.certified, Attainment.ATTAINED, Attainment.UNKNOWN)
    for rows, problem in cells.problems():
        open_ = [row for row in rows if not cells.certified[row]]
        if not open_:
            continue
        chosen = next(problem for _, problem in cells[open_].problems())
        rank = least_rank(chosen, seed)
        proven = is_unique(chosen.loss, chosen.structure) & (rank > chosen.dim)
        found[np.array(open_)[proven]] = Attainment.NOT_ATTAINED
    return found


def attained(cells: Cells, claimed: np.ndarray | bool = True, seed: int = 0) -> Interval:
    """The margin of "R^d attains the optimum over all dimensions exactly where it is claimed".

    1 where that is so, -1 where it is not, both where it is unknown. It is decided by a certificate
    (attained) or by uniqueness and rank (not attained), never by an optimiser that stopped above
    the bound.

    Args:
        cells: certified cells of any dimensions.
        claimed: (B,) where it is said to be attained.
        seed: of the random starts of the unconstrained problems.
    """
    codes = attainment(cells, seed)
    known = codes != Attainment.UNKNOWN
    agrees = np.where((codes == Attainment.ATTAINED) == claimed, 1, -1)
    margin = Interval(np.where(known, agrees, -1), np.where(known, agrees, 1))
    return decided(margin, known)


def excess(cells: Cells, seed: int = 0) -> Interval:
    """How far the best embeddings found in R^d are above the optimum over all dimensions.

    Args:
        cells: certified cells of any dimensions.
        seed: of the random starts of the unconstrained problems.
    """
    low, high = np.zeros(len(cells)), np.zeros(len(cells))
    for rows, problem in cells.problems():
        structure, loss = problem.structure, problem.loss
        free = Problem(structure, admitting_dimension(structure, loss), loss)
        key = jax.random.key(seed)
        best = certify(solve(free, key), certificate_key(key))
        value = cells.table["value"].to_numpy()[rows]
        low[rows] = np.maximum(value - np.asarray(best.lower + best.gap), 0)
        high[rows] = cells.minimum.high[rows] - np.asarray(best.lower)
    return Interval(low, high)
