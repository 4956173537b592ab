r"""The convex problem that is left after averaging over the symmetry of a balanced structure.

Averaging a Gram matrix over all permutations of classes, of instances within classes and of views
within instances raises no convex symmetric loss. What is left are three similarities, or better,
four **variance shares** that sum to 1,

.. math::
   \theta = (\theta_\mathrm{view}, \theta_\mathrm{instance}, \theta_\mathrm{class},
             \theta_\mathrm{mean}),

the variance of views about their instance mean, of instance means about their class mean (δ²), of
class means about the global mean, and the squared global mean: up to multiplicity the eigenvalues
of the averaged Gram matrix. It is positive semidefinite iff they are nonnegative, so the reduced
problem is a convex function f on a simplex of at most four vertices, and

.. math::
   s_\mathrm{view} = 1 - \tfrac{p}{p-1} \theta_\mathrm{view}, \quad
   s_\mathrm{within} = 1 - \theta_\mathrm{view} - \tfrac{n}{n-1} \theta_\mathrm{instance}, \quad
   s_\mathrm{between} = \theta_\mathrm{mean} - \tfrac{1}{m-1} \theta_\mathrm{class}.

**Bounds.** For any convex φ on the simplex and any point θ of it,
:math:`\min \varphi \ge \varphi(\theta) - \sum_k \theta_k (g_k - \min_l g_l)` with g = ∇φ(θ). With
φ = f - t ℓ for a linear ℓ and any t > 0 it follows that every point with f ≤ c has

.. math:: \ell \le \frac{c - \min (f - t \ell)}{t},

so each end of an interval for ℓ over a sublevel set is an outer bound from a small convex program
of its own, whatever a solver did; t is searched for the tightest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax.losses import GramLoss
from ssem_jax.problem import ClassStructure
from ssem_jax.simplex import Similarities

EPS = float(np.finfo(np.float64).eps)

REDUCED_ROUNDING = 32 * EPS
"""Rounding error of f at a point, relative to the magnitude of its terms: some ten operations of
one rounding each, with a factor of three to spare."""
INTERIOR_STEPS = 60
"""Newton steps of the interior-point method at most; 20 to 30 are usual."""
CENTRALITY = 1e-18
"""Duality measure at which the interior-point method is content: below the rounding of f."""
TILT_RANGE = (-34.0, 12.0)
"""Natural logarithms of the smallest and largest tilt t: from where f differs by less than its
rounding over the whole simplex, to beyond any slope of f at τ ≥ 1e-3."""
FIRST_TILT = -14.0
"""Where the search for the tilt begins: the best one for an excess of 1e-14 at unit curvature."""
TILTS = 8
"""Tilts tried for each bound. Where curvature pins a quantity the last ones agree to a few percent
of the width; where the minimiser sits at the edge of the simplex, to a factor of two."""


class Shares(NamedTuple):
    """Which variance shares a structure has, and how similarities depend on them.

    Attributes:
        similarity: (3, 4) and `offset` (3,): similarities = offset + similarity @ shares.
        present: (4,) whether the share can be positive: views need p ≥ 2, instances n ≥ 2.
    """

    similarity: Float[np.ndarray, "3 4"]
    offset: Float[np.ndarray, " 3"]
    present: Float[np.ndarray, " 4"]


def shares_of(structure: ClassStructure) -> Shares:
    """The variance simplex of a balanced structure.

    Raises:
        ValueError: the classes differ in size.
    """
    m, n, p = structure.num_classes, structure.instances_per_class, structure.num_views
    similarity = np.array(
        [
            [-p / max(p - 1, 1), 0, 0, 0],
            [-1.0 * (n > 1), -n / max(n - 1, 1), 0, 0],
            [0, 0, -1 / (m - 1), 1],
        ]
    )
    return Shares(similarity, np.array([1.0, 1, 0]), np.array([p > 1, n > 1, True, True]))


def similarities_at(shares: Shares, theta: Float[Array, " 4"]) -> Similarities:
    """The similarities that belong to variance shares."""
    return Similarities(*(shares.offset + shares.similarity @ theta))


def shares_at(shares: Shares, variances: Float[Array, " 4"]) -> Float[Array, " 4"]:
    """Measured variances (view, instance, class, mean) as a point of the simplex."""
    theta = jnp.maximum(variances, 0) * shares.present
    return theta / jnp.sum(theta)


Function = Callable[[Array], Array]


class _Interior(NamedTuple):
    theta: Array
    slack: Array
    level: Array  # the multiplier of sum θ = 1
    steps: Array
    done: Array


def _interior_point(function: Function, start: Array, present: Array) -> Array:
    """The minimiser of a convex function on the simplex: a primal-dual interior-point method.

    Nothing here is trusted: the caller bounds the minimum from the gradient at what comes out.
    """
    gradient_of = jax.grad(function)
    hessian_of = jax.hessian(function)
    count = jnp.sum(present)
    centre = present / count
    theta = 0.9 * start + 0.1 * centre
    gradient = gradient_of(theta)
    lowest = jnp.min(jnp.where(present > 0, gradient, jnp.inf))
    slack = jnp.maximum(gradient - lowest, 1e-3 * (1 + jnp.abs(gradient))) * present
    state = _Interior(theta, slack, -lowest, jnp.asarray(0), jnp.asarray(False))

    def body(state: _Interior) -> _Interior:
        theta, slack = state.theta, state.slack
        gradient = gradient_of(theta)
        measure = jnp.sum(theta * slack) / count
        stationarity = (gradient + state.level - slack) * present
        error = jnp.max(jnp.abs(stationarity))
        target = jnp.where(error > 1e-3 * (1 + jnp.max(jnp.abs(gradient))), 0.3, 0.1) * measure
        safe = jnp.where(present > 0, theta, 1)
        # Absent shares get a unit row of the system and a right-hand side of zero. Steps sum to
        # zero, so that `wall` changes none; without it the system is singular where class and
        # mean variance are both positive, and without `floor` where a loss ignores some share.
        curvature = hessian_of(theta) * jnp.outer(present, present)
        wall = jnp.trace(curvature) / count
        floor = EPS * wall
        matrix = (
            curvature
            + wall * jnp.outer(present, present)
            + jnp.diag(jnp.where(present > 0, slack / safe + floor, 1))
        )
        right = (-(gradient + state.level) + target / safe) * present
        by_right, by_one = _solve_spd(matrix, right), _solve_spd(matrix, present)
        # The sum is kept exactly 1 by renormalising; its residual enters the multiplier.
        level_step = jnp.sum(by_right) / jnp.sum(by_one)
        theta_step = (by_right - level_step * by_one) * present
        slack_step = (target / safe - slack - slack / safe * theta_step) * present

        def longest(value: Array, step: Array) -> Array:
            ratio = jnp.where((step < 0) & (present > 0), -value / jnp.minimum(step, -1e-300), 1e9)
            return jnp.minimum(1.0, 0.995 * jnp.min(ratio))

        reach = jnp.minimum(longest(theta, theta_step), longest(slack, slack_step))

        def advance(size: Array) -> tuple[Array, Array, Array]:
            moved = theta + size * theta_step
            return (
                moved / jnp.sum(moved),
                slack + size * slack_step,
                state.level + size * level_step,
            )

        def merit(size: Array) -> Array:
            moved, slack, level = advance(size)
            residual = (gradient_of(moved) + level - slack) * present
            complementarity = jnp.sum(moved * slack)
            return jnp.sum(jnp.abs(residual)) + complementarity

        sizes = reach * jnp.asarray([1.0, 0.5, 0.25, 0.08, 0.02])
        best = sizes[jnp.argmin(jax.vmap(merit)(sizes))]
        theta, slack, level = advance(best)
        return _Interior(theta, slack, level, state.steps + 1, measure <= CENTRALITY)

    end = jax.lax.while_loop(lambda s: ~s.done & (s.steps < INTERIOR_STEPS), body, state)
    return end.theta


def _solve_spd(matrix: Float[Array, "k k"], right: Float[Array, " k"]) -> Float[Array, " k"]:
    """Gaussian elimination without pivoting, unrolled, so that a batch of tiny systems fuses."""
    size = right.shape[0]
    rows = [[matrix[i, j] for j in range(size)] + [right[i]] for i in range(size)]
    for pivot in range(size):
        for row in range(pivot + 1, size):
            factor = rows[row][pivot] / rows[pivot][pivot]
            for column in range(pivot, size + 1):
                rows[row][column] = rows[row][column] - factor * rows[pivot][column]
    solution: list[Array] = [right[0]] * size
    for row in reversed(range(size)):
        rest = sum((rows[row][j] * solution[j] for j in range(row + 1, size)), start=0.0)
        solution[row] = (rows[row][size] - rest) / rows[row][row]
    return jnp.stack(solution)


def _shortfall(gradient: Array, theta: Array, present: Array) -> Array:
    """How far φ(θ) may lie above the minimum: Σ θ_k (g_k - min g), the Frank-Wolfe gap."""
    lowest = jnp.min(jnp.where(present > 0, gradient, jnp.inf))
    return jnp.sum(theta * jnp.where(present > 0, gradient - lowest, 0))


def _upper_bound(
    function: Function,
    rounding_of: Callable[[Array, Array], Array],
    level: Array,
    direction: Array,
    start: Array,
    present: Array,
) -> Array:
    """An upper bound of ⟨direction, θ⟩ over the simplex where the function is at most `level`."""

    def bound_at(log_tilt: Array) -> tuple[Array, Array]:
        tilt = jnp.exp(log_tilt)

        def tilted(theta: Array) -> Array:
            return function(theta) - tilt * jnp.sum(direction * theta)

        theta = _interior_point(tilted, start, present)
        value, gradient = jax.value_and_grad(function)(theta)
        excess = level - value
        shortfall = _shortfall(gradient - tilt * direction, theta, present)
        rounding = rounding_of(value, gradient)
        return jnp.sum(direction * theta) + (excess + shortfall + rounding) / tilt, excess

    def narrow(_: int, state: tuple[Array, ...]) -> tuple[Array, ...]:
        tilt, low, high, best = state
        bound, excess = bound_at(tilt)
        # The bound is tightest where the tilted minimiser sits on the level. What a tilt lifts f
        # by grows like its square, which predicts that tilt; bisection guards the prediction.
        low, high = jnp.where(excess > 0, tilt, low), jnp.where(excess > 0, high, tilt)
        lifted = jnp.maximum(room - excess, EPS * room)
        guess = tilt + 0.5 * (jnp.log(room) - jnp.log(lifted))
        inside = (guess > low) & (guess < high)
        return jnp.where(inside, guess, 0.5 * (low + high)), low, high, jnp.fmin(best, bound)

    most = jnp.max(jnp.where(present > 0, direction, -jnp.inf))
    room = jnp.maximum(level - function(start), jnp.finfo(float).tiny)
    limits = (jnp.asarray(FIRST_TILT), *map(jnp.asarray, TILT_RANGE), most)
    return jax.lax.fori_loop(0, TILTS, narrow, limits)[3]


class Reduced(NamedTuple):
    """The reduced problem bounded: its minimum, and where near-optimal points can lie.

    Attributes:
        value: f at the symmetrised point that was handed in.
        lower: a lower bound of min f.
        low: (5,) and `high` (5,): outer bounds over the sublevel set, in the order of
            `QUANTITIES`.
    """

    value: Float[Array, "*batch"]
    lower: Float[Array, "*batch"]
    low: Float[Array, "*batch 5"]
    high: Float[Array, "*batch 5"]


QUANTITIES = (
    "view_variance",
    "delta2",
    "mean_squared",
    "within_similarity",
    "between_similarity",
)
"""What is bounded. The view similarity is 1 - p/(p-1) times the view variance."""


def _bound_cell(
    loss: GramLoss, blocks: Any, shares: Shares, variances: Array, level: Array
) -> Reduced:
    present = jnp.asarray(shares.present, float)

    def function(theta: Array) -> Array:
        return loss.of_blocks(similarities_at(shares, theta), blocks)

    def rounding_of(value: Array, gradient: Array) -> Array:
        return REDUCED_ROUNDING * loss.magnitude(value, jnp.sum(jnp.abs(gradient)))

    start = shares_at(shares, variances)
    value, gradient = jax.value_and_grad(function)(start)
    level = jnp.maximum(level, value + rounding_of(value, gradient))
    optimum = _interior_point(function, start, present)
    least, gradient = jax.value_and_grad(function)(optimum)
    lower = least - _shortfall(gradient, optimum, present)
    lower = lower - rounding_of(least, gradient)

    directions = jnp.concatenate([jnp.eye(4)[jnp.asarray([0, 1, 3])], shares.similarity[1:]])
    offsets = jnp.concatenate([jnp.zeros(3), jnp.asarray(shares.offset)[1:]])
    signed = jnp.concatenate([directions, -directions])
    bounds = jax.vmap(
        lambda direction: _upper_bound(function, rounding_of, level, direction, optimum, present)
    )(signed)
    high, low = offsets + bounds[:5], offsets - bounds[5:]
    return Reduced(value, lower, low, high)


@jax.jit
def bound_cells(
    losses: GramLoss, blocks: Any, shares: Shares, variances: Array, levels: Array
) -> Reduced:
    """Bounds of the reduced problem for a batch of cells of one balanced structure.

    Args:
        losses: the loss, with a batch axis on every leaf.
        blocks: what the loss prepared of the structure.
        shares: the variance simplex of the structure.
        variances: (B, 4) view, instance, class and squared-mean variances of symmetrised points.
        levels: (B,) the loss up to which near-optimal points are bracketed; raised to the loss of
            the symmetrised point where that is higher.
    """
    return jax.vmap(lambda loss, v, level: _bound_cell(loss, blocks, shares, v, level))(
        losses, variances, levels
    )
