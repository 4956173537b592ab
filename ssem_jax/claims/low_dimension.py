r"""Whether embeddings of few dimensions attain what is optimal in all dimensions.

In R^d the Gram matrix has rank d at most, and the problem is no longer convex. Two things are
certified about it, and neither is enough alone:

* Embeddings in R^d of a gap under 1e-9 are optimal **to 1e-9**. At low temperature that is little:
  four classes at τ = .02 reach it in the plane, where no four points form their simplex.
* Brackets of the unconstrained optimum bound **its rank** from below, by the variances that are
  proven positive, and from above, by those that are not proven to vanish (up to
  `COLLAPSE_TOLERANCE`, as phases are told). Where the optimum G* is unique, R^d attains it iff
  d ≥ rank G*.

So the rank is consulted wherever R^d is not known to admit every optimum. Attained: certified
embeddings, and room for every variance that may be positive. Not attained: a unique optimum of too
high a rank, and no certified embeddings. Everything else is unknown, also where both witnesses
speak: certified embeddings, and an optimum of too high a rank.

**Uniqueness of the SupCL optimum**, whatever n, p, α and τ. The log-sum-exp of a row is strictly
convex but for adding a constant to the whole row, and the linear terms do not spoil that. Let G* be
an optimum that is averaged over the symmetry of the structure, and G another.

* Self pairs *included*: entry (i, i) of each row is 1, so no constant can be added to a row that
  weighs anything. Every row weighs something unless α = 0 and its class has one instance.
* Self pairs *excluded*, balanced classes: rows of G and G* differ by constants off the diagonal, by
  symmetry one and the same: G = G* + c (J - I). G* has global mean 0, so c ≥ 0; the variance of
  views or of instances is 0 in it (they are never both positive), so c ≤ 0.

**Rank of a symmetric optimum**: its eigenvalues are, up to multiplicity, its variances: mn(p-1) of
them for views, m(n-1) for instances, m-1 for classes, 1 for the global mean. For classes of
different size, n_k - 1 for every class k, at most m for the class means and M(p-1) for the views of
M instances.

**Bounds of R^d itself** hold where the loss is that of a softmax code (:mod:`ssem_jax.balls.codes`:
SupCL at α = 0 or 1, self pairs included): there embeddings may be best *in R^d* although R^d does
not attain the optimum over all dimensions, as the vertices of the icosahedron are.
"""

from __future__ import annotations

import enum
from typing import Any

import jax
import numpy as np

from ssem_jax.balls.codes import least_in_dimension
from ssem_jax.certificate.certificate import COLLAPSE_TOLERANCE, GAP_TOLERANCE
from ssem_jax.certificate.certificates import certificate_key, certify
from ssem_jax.certificate.reduced import bracket_classes
from ssem_jax.certificate.symmetry.programs import has_program
from ssem_jax.claims.cells import Cells
from ssem_jax.claims.interval import Interval, decided
from ssem_jax.geometry.shares import multiplicities
from ssem_jax.losses.base import GramLoss, loss_of
from ssem_jax.losses.supcl import SupCL
from ssem_jax.losses.terms import CLASSES
from ssem_jax.problem.problem import Problem
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import check_count, check_type, shown
from ssem_jax.solver.attempts import solve
from ssem_jax.sweeps.grid import admitting_dimension


class Attainment(enum.IntEnum):
    """Whether R^d attains the optimum over all dimensions."""

    ATTAINED = 1
    """Embeddings in R^d are certified, and R^d has room for all that an optimum may need."""
    NOT_ATTAINED = -1
    """The unconstrained optimum is proven unique, and of rank above d; nothing in R^d is
    certified."""
    UNKNOWN = 0
    """Neither: many starts ended above the bound, which proves nothing; or embeddings are within
    the tolerance of an optimum that may not fit into R^d."""


def is_unique(loss: GramLoss, structure: ClassStructure) -> np.ndarray:
    """(B,) whether the Gram matrix of an unconstrained optimum is proven unique, for each cell."""
    losses, size = Problem(structure, None, loss).cells()
    if type(losses) is not SupCL or losses.self_pairs not in ("include", "exclude"):
        return np.zeros(size, bool)
    if losses.self_pairs == "exclude":
        return np.full(size, structure.is_balanced)
    return np.asarray((losses.alpha > 0) | (min(structure.sizes) > 1))


def rank_bounds(problem: Problem, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(B,) bounds of the rank of the symmetric optimum of each cell, below and above.

    The upper one leaves out variances that are certified to be `COLLAPSE_TOLERANCE` at most.

    Args:
        problem: the cells; their dimension plays no role.
        seed: of the random starts of the unconstrained problem.
    """
    structure, loss = problem.structure, loss_of(problem)
    m = structure.num_classes
    taken = multiplicities(m, structure.total_instances, structure.num_views)
    if structure.is_balanced:
        free = Problem(structure, admitting_dimension(structure, loss), loss)
        key = jax.random.key(seed)
        brackets = certify(solve(free, key), certificate_key(key)).brackets
        named = ("view_variance", "delta2", "mean_squared")
        view, instance, mean = (Interval(*map(np.atleast_1d, brackets[name])) for name in named)
        between = 1 - (view + instance + mean)
        parts = (view, instance, between, mean)
        shares: list[tuple[Interval, Any]] = list(zip(parts, taken, strict=True))
    elif has_program(loss, structure) and loss.roles == CLASSES:
        ends = bracket_classes(problem, -np.inf)  # at the minimum itself
        instance = Interval(*map(np.atleast_2d, ends))
        shares = [(instance[:, k], size - 1) for k, size in enumerate(structure.sizes)]
        anything = Interval(np.zeros(len(instance)), np.ones(len(instance)))
        shares.append((anything, taken.view + taken.between + taken.mean_squared))
    else:
        size = problem.batch_size or 1
        return np.zeros(size, int), np.full(size, structure.num_embeddings)
    least = sum(count * (share.low > 0) for share, count in shares)
    most = sum(count * (share.high > COLLAPSE_TOLERANCE) for share, count in shares)
    return np.asarray(least), np.asarray(most)


def attainment(cells: Cells, seed: int = 0) -> np.ndarray:
    """(B,) codes of :class:`Attainment`: whether each cell's dimension attains the optimum.

    The unconstrained problem of every cell whose dimension may be too low is solved besides.

    Args:
        cells: certified cells of any dimensions.
        seed: of the random starts of the unconstrained problems.
    """
    check_type("cells", cells, Cells, "Cells of a table")
    seed = check_count("seed", seed, 0)
    certified = cells.certified
    found = np.where(certified, Attainment.ATTAINED, Attainment.UNKNOWN)
    for rows, problem in cells.problems():
        if problem.given_dim >= admitting_dimension(problem.structure, loss_of(problem)):
            continue
        least, most = rank_bounds(problem, seed)
        attained = certified[rows] & (most <= problem.given_dim)
        proven = is_unique(loss_of(problem), problem.structure) & (least > problem.given_dim)
        missed = proven & ~certified[rows]
        codes = [Attainment.ATTAINED, Attainment.NOT_ATTAINED]
        found[rows] = np.select([attained, missed], codes, Attainment.UNKNOWN)
    return found


def attained(cells: Cells, claimed: np.ndarray | bool = True, seed: int = 0) -> Interval:
    """The margin of "R^d attains the optimum over all dimensions exactly where it is claimed".

    1 where that is so, -1 where it is not, both where it is unknown. It is decided by a certificate
    and the rank of the optimum (attained) or by uniqueness and rank (not attained), never by an
    optimiser that stopped above the bound.

    Args:
        cells: certified cells of any dimensions.
        claimed: (B,) where it is said to be attained.
        seed: of the random starts of the unconstrained problems.
    """
    codes = attainment(cells, seed)
    if np.asarray(claimed).dtype != bool or np.shape(claimed) not in ((), (len(cells),)):
        raise ValueError(
            f"claimed must be a boolean for each of {len(cells)} cells; got {shown(claimed)}."
        )
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
    check_type("cells", cells, Cells, "Cells of a table")
    seed = check_count("seed", seed, 0)
    low, high = np.zeros(len(cells)), np.zeros(len(cells))
    for rows, problem in cells.problems():
        structure, loss = problem.structure, loss_of(problem)
        free = Problem(structure, admitting_dimension(structure, loss), loss)
        key = jax.random.key(seed)
        best = certify(solve(free, key), certificate_key(key))
        value = cells.table["value"].to_numpy()[rows]
        upper = np.nan_to_num(np.asarray(best.lower + best.gap), nan=np.inf, posinf=np.inf)
        least = Interval(np.asarray(best.lower), upper)  # unbounded where a loss is not convex
        over = Interval(value, cells.minimum.high[rows]) - least
        low[rows], high[rows] = np.maximum(over.low, 0), np.maximum(over.high, 0)
    return Interval(low, high)


def excess_in_dimension(cells: Cells) -> Interval:
    """How far the best embeddings found in R^d are above the best of R^d, unknown to us.

    The upper end is from the better of two bounds, that of all dimensions and that of R^d; under
    `GAP_TOLERANCE`, nothing in R^d is better.

    Args:
        cells: certified cells of any dimensions.
    """
    check_type("cells", cells, Cells, "Cells of a table")
    lower = np.asarray(cells.minimum.low, float).copy()
    for rows, problem in cells.problems():
        lower[rows] = np.maximum(lower[rows], least_in_dimension(problem))
    return Interval(np.zeros(len(cells)), np.maximum(cells.minimum.high - lower, 0))


def standings(cells: Cells) -> list[str]:
    """What is known of each cell in its own dimension, in words.

    Args:
        cells: certified cells of any dimensions.
    """
    within = excess_in_dimension(cells).high
    return [
        "attained" if most <= GAP_TOLERANCE else f"best known, within {most:.1e}"
        for most in within.tolist()
    ]
