r"""Minimise a Gram-convex loss over free unit vectors: a Riemannian trust-region Newton method.

Four ideas make random starts end at full float64 accuracy, also at small temperatures:

1. **Spread first.** A start is brought to the optimum of the uniformity loss (all instances repel
   each other, views coincide), where the landscape is well curved. With enough dimensions that is
   a regular simplex, and the first start is one, rotated at random. From there the target loss acts
   within the few directions that respect the symmetry of the class structure, and conjugate
   gradients needs as many products as those.
2. **Escape with symmetry.** At a saddle the dual matrix S = sym ∇L - Diag(λ) has negative
   eigenvalues. The embeddings move along *all* those eigenvectors at once, each in a dimension
   that no embedding uses yet, so that no symmetry is broken by chance.
3. **Below rounding.** Differences of the loss carry no information under 1e-16·|L|; there the
   decrease is measured by the mean of both gradients along the step, and the stop is made on
   gradients. Curvature that is weaker than the gradient is not followed: a rotation of all
   embeddings has that much at a point that is not critical.
4. **Schedule, do not lock step.** On a CPU cells are solved one after another inside one compiled
   kernel, and chunks of them by as many threads as there are cores; a kernel serves every (α, τ),
   every convention and every class structure of the same N and d. An accelerator has to go in step:
   :mod:`ssem_jax.solver.lockstep`.

The solver forms its own dual matrix in order to escape and to stop. It certifies nothing:
:mod:`ssem_jax.certificate` recomputes everything from the embeddings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Key, PRNGKeyArray, UInt32

from ssem_jax.compute.kernels import (
    Kernel,
    batched,
    chunk_capacity,
    each,
    map_first,
    run_chunks,
)
from ssem_jax.geometry.simplex import simplex_etf
from ssem_jax.geometry.sphere import normalize, random_points
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.arrays import Seed
from ssem_jax.problem.problem import Problem, cell_hashes, check_problem
from ssem_jax.problem.solution import Solution
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import (
    as_key,
    check_choice,
    check_count,
    check_progress,
    require_x64,
)
from ssem_jax.solver.escape import leave_saddle
from ssem_jax.solver.lockstep import attempt_lanes, descend
from ssem_jax.solver.newton import DUAL_TOLERANCE, EPS, GRADIENT_TOLERANCE, trust_region
from ssem_jax.solver.objective import of_loss
from ssem_jax.solver.walk import Left, Outcome, Start, Walk, begin_walk, go_on

SPREAD_LOSS = SupCL(alpha=1.0, temperature=0.5)
"""The loss of the first stage: instances repel each other, views coincide."""
SPREAD_TOLERANCE = 1e-9
"""Relative gradient at which the first stage ends. Asymmetry of that size stays below the Newton
steps of the second stage, which squares it."""
FIRST_STARTS = ("simplex", "gaussian")
PATH_STAGES = 8
"""Temperatures of the path that is walked where the direct way failed."""


def _attempt(loss: GramLoss, prepared: Any, start: Start, num_stages: Array) -> Outcome:
    """From one start, walk `num_stages` losses of the path and leave their saddles."""

    def body(walk: Walk) -> Walk:
        heated = loss.heated((walk.stage + 1) / num_stages)

        objective = of_loss(heated, prepared)
        run = trust_region(objective, walk.outcome.embeddings, GRADIENT_TOLERANCE, wide=True)
        return go_on(walk, run, Left(*leave_saddle(objective.value, run.point)))

    walk = jax.lax.while_loop(lambda walk: walk.stage < num_stages, body, begin_walk(start))
    return walk.outcome


@Kernel
def _attempt_chunk(
    losses: GramLoss, prepared: Any, starts: Start, num_stages: Array, count: Array
) -> Outcome:
    """The first `count` cells of a chunk."""

    def cell(loss: GramLoss, start: Start) -> Outcome:
        return _attempt(loss, prepared, start, num_stages)

    return map_first(count, cell, losses, starts)


@Kernel
def _spread_chunk(prepared: Any, points: Array, count: Array) -> Start:
    """The first `count` starts of a chunk, spread out: at the optimum of the uniformity loss."""

    def spread(start: Array) -> Start:
        run = trust_region(of_loss(SPREAD_LOSS, prepared), start, SPREAD_TOLERANCE)
        return Start(run.point.embeddings, run.iterations, run.products)

    return map_first(count, spread, points)


def _cell_keys(key: PRNGKeyArray, hashes: Array, index: Array | int) -> Key[Array, " B"]:
    """Keys of the starts of some index."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, hashes)
    return jax.vmap(jax.random.fold_in, (0, None))(keys, index)


@partial(Kernel, static_argnums=(3, 4))
def _random_starts(
    key: PRNGKeyArray,
    hashes: UInt32[Array, " B"],
    index: Array | int,
    num_points: int,
    dim: int,
) -> tuple[Array, Array | None]:
    """Starts in R^d of some index, expressed in an orthonormal basis of their span when d > N.

    The iterates never leave the span of the start, so nothing changes but the cost.
    """
    keys = _cell_keys(key, hashes, index)
    points = jax.vmap(lambda one: random_points(one, num_points, dim))(keys)
    if dim <= num_points:
        return points, None
    basis, coordinates = each(lambda one: jnp.linalg.qr(one.T), points)
    return normalize(coordinates.mT), basis


@partial(Kernel, static_argnums=(3, 4))
def _random_simplexes(
    key: PRNGKeyArray,
    hashes: UInt32[Array, " B"],
    instance_ids: Array,
    num_instances: int,
    dim: int,
) -> tuple[Array, Array | None]:
    """Regular simplexes of all instances in R^d, rotated at random, with views that coincide: what
    a start comes to when it is spread out in enough dimensions.

    One rotation is drawn for all cells, by Haar's measure, and each is reflected along an axis of
    its own: what a cell gets has that measure, too, whatever the axis. No loss sees a rotation;
    one drawn for each cell took a tenth of its time.

    Where d > N they are in coordinates of a random subspace of N dimensions; iterates need no more.
    """
    room = min(dim, len(instance_ids))
    turned = normalize(simplex_etf(num_instances, room, key))[instance_ids]
    keys = _cell_keys(key, hashes, 0)  # these are the first starts
    axes = jax.vmap(lambda one: random_points(one, 1, room)[0])(keys)
    points = turned[None] - (2 * axes @ turned.T)[:, :, None] * axes[:, None, :]
    if dim == room:
        return points, None
    across = jax.random.normal(jax.random.fold_in(key, 1), (dim, room), float)
    return points, jnp.linalg.qr(across)[0]


@dataclasses.dataclass
class _Batch:
    """The cells of a problem on the host, best outcome so far, and the work still to do."""

    structure: ClassStructure
    dim: int
    losses: GramLoss
    key: PRNGKeyArray
    hashes: UInt32[np.ndarray, " B"]
    first_start: str
    best: Any = None  # an Outcome, once something was tried

    def run(
        self, cells: np.ndarray, start_index: int, num_stages: int, report: Callable[[int], None]
    ) -> None:
        """One attempt at each of `cells`, in chunks over the worker threads."""
        num_points = self.structure.num_embeddings
        prepared = self.losses.prepare(self.structure)
        losses = self.losses.without_conventions()

        def work(chunk: np.ndarray, count: int) -> Outcome:
            start, basis = self.starts(self.hashes[chunk], start_index, count)
            chosen = jax.tree.map(lambda leaf: leaf[chunk], losses)
            attempt = attempt_lanes if batched() else _attempt_chunk
            outcome = attempt(chosen, prepared, start, num_stages, count)
            if basis is None:
                return outcome
            return outcome._replace(embeddings=outcome.embeddings @ basis.mT)

        capacity = chunk_capacity(num_points * self.dim)
        for chunk, outcome in run_chunks(work, cells, capacity, num_points):
            self.keep(chunk, outcome)
            report(len(chunk))

    def starts(
        self, hashes: UInt32[np.ndarray, " C"], start_index: int, count: Array | int
    ) -> tuple[Start, Array | None]:
        """Spread starts, and a basis of their span where d > N.

        A regular simplex needs no spreading. But all of them are rotations of one another: further
        starts are Gaussian.
        """
        instances, ids = self.structure.total_instances, self.structure.instance_ids
        if self.first_start == "simplex" and start_index == 0 and self.dim >= instances - 1:
            points, basis = _random_simplexes(self.key, hashes, ids, instances, self.dim)
            nothing = np.zeros(len(hashes), int)
            return Start(points, nothing, nothing), basis
        points, basis = _random_starts(self.key, hashes, start_index, len(ids), self.dim)
        prepared = SPREAD_LOSS.prepare(self.structure)
        if not batched():
            return _spread_chunk(prepared, points, count), basis
        losses = jax.tree.map(lambda leaf: jnp.full(len(hashes), leaf), SPREAD_LOSS)
        run = descend(losses, prepared, points, SPREAD_TOLERANCE, int(count))
        return Start(run.point.embeddings, run.iterations, run.products), basis

    def keep(self, cells: np.ndarray, outcome: Outcome) -> None:
        """Keep the better of the outcome at hand and the new one; add up the work."""
        if self.best is None:
            total = len(self.hashes)
            self.best = jax.tree.map(
                lambda leaf: np.zeros((total, *leaf.shape[1:]), leaf.dtype), outcome
            )
            self.best.value[:] = np.inf
            self.best.dual_violation[:] = np.inf
        old = jax.tree.map(lambda leaf: leaf[cells], self.best)
        # Values that agree to rounding are told apart by how close they come to their bound.
        rounding = 64 * EPS * np.maximum(1, np.abs(outcome.value))
        lower = outcome.value < old.value - rounding
        tied = np.abs(outcome.value - old.value) <= rounding
        better = lower | (tied & (outcome.dual_violation < old.dual_violation))
        for name, kept, new in zip(Outcome._fields, self.best, outcome, strict=True):
            if name in ("iterations", "products", "escapes"):
                kept[cells] += new
            else:
                kept[cells[better]] = new[better]


def solve(
    problem: Problem,
    key: Seed,
    *,
    num_starts: int = 2,
    start: str = "simplex",
    progress: Callable[[int], None] | None = None,
) -> Solution:
    r"""Minimise the loss of `problem` over its embeddings, from random starts.

    .. math:: \min_{U \in (S^{d-1})^N} L(U U^\top)

    Each cell is tried directly; where its dual matrix does not come out positive semidefinite, it
    is tried again along a path of falling temperatures, and then from further random starts. The
    outcome of lowest loss is kept.

    Args:
        problem: one cell, or a batch of cells (a batch axis on the hyper-parameters).
        key: a JAX random key, or an integer as its seed. A cell's starts depend on the key and the
            cell's own coordinates only, not on the batch around it.
        num_starts: random starts at most; raise it for low dimensions, where local minima exist.
        start: how the first of them is drawn: "simplex", a random rotation of the regular simplex
            of all instances where it fits into the dimension (one for a key, reflected along an
            axis of each cell's own, so that those of two cells are not independent); or
            "gaussian", points independent of each other, as all other starts are, which are spread
            out first and mostly come to that simplex.
        progress: called with the number of cells newly attempted for the first time.

    Returns:
        The solution, with a batch axis if the problem has one.

    Raises:
        ValueError: 64-bit mode is off, num_starts < 1, an unknown start, a problem of every
            dimension or with bounded similarities, or called under ``jax.jit``.
    """
    require_x64()
    check_problem(problem)
    problem.check_unbounded()
    check_progress(progress)
    num_starts = check_count("num_starts", num_starts, 1)
    check_choice("start", start, FIRST_STARTS)
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((problem, key))):
        raise ValueError(
            "solve schedules its work on the host and cannot be traced; call it outside jax.jit "
            "and jax.vmap, and give it a problem whose hyper-parameters carry a batch axis."
        )
    key = as_key(key)
    losses, size = problem.cells()
    hashes = cell_hashes(problem)
    batch = _Batch(problem.structure, problem.given_dim, losses, key, hashes, start)
    cells, starts = np.arange(size), np.zeros(size, int)
    for start_index, num_stages in _attempts(num_starts):
        first = batch.best is None
        batch.run(cells, start_index, num_stages, progress if progress and first else _ignore)
        starts[cells] = start_index + 1
        cells = np.flatnonzero(batch.best.dual_violation > DUAL_TOLERANCE)
        if not cells.size:
            break
    found = (*batch.best, starts)
    if problem.batch_size is None:
        found = tuple(leaf[0] for leaf in found)
    return Solution(problem, *jax.device_put(found))  # `jnp.asarray` compiles for every shape


def _attempts(num_starts: int) -> Iterator[tuple[int, int]]:
    """(start, stages of the path): each start directly, then along the path."""
    for start in range(num_starts):
        yield start, 1
        yield start, PATH_STAGES


def _ignore(_: int) -> None:
    pass
