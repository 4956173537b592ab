"""Slow and obvious implementations, written from the definitions and not from the package.

They share only `ClassStructure` (sizes and views) and the hyper-parameters of a loss with it.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cvxpy as cp
import jax
import numpy as np
import pytest
from flint import arb, ctx
from scipy.optimize import brentq

from ssem_jax.losses import SupCL
from ssem_jax.problem import ClassStructure

Matrix = np.ndarray | jax.Array | Sequence[Sequence[Any]]

BITS = 256
"""Ball arithmetic precision: unshifted exponentials at τ = 1e-3 still leave over 200 right bits."""


def labels(structure: ClassStructure) -> list[tuple[int, int, int]]:
    """(class, instance, view) of every embedding, in row order."""
    return [
        (k, i, v)
        for k, size in enumerate(structure.sizes)
        for i in range(size)
        for v in range(structure.num_views)
    ]


def contrasted(structure: ClassStructure, self_pairs: str) -> list[list[int]]:
    """The embeddings in the denominator of every anchor."""
    rows = list(enumerate(labels(structure)))

    def kept(i: int, instance_i: tuple[int, int], j: int, instance_j: tuple[int, int]) -> bool:
        if self_pairs == "decouple":
            return instance_i != instance_j
        return self_pairs == "include" or i != j

    return [[j for j, b in rows if kept(i, a[:2], j, b[:2])] for i, a in rows]


def positives(
    structure: ClassStructure, self_pairs: str, mean: str
) -> tuple[dict[tuple[int, int], int], dict[tuple[int, int], int]]:
    """The positive pairs of L_sup and of L_self; each weighs one over the integer it maps to."""
    rows = list(enumerate(labels(structure)))
    sup, own = [], []
    for i, (class_i, instance_i, _) in rows:
        for j, (class_j, instance_j, _) in rows:
            if class_i == class_j and instance_i != instance_j:
                sup.append((i, j))
            elif class_i == class_j and (i != j or self_pairs == "include"):
                own.append((i, j))

    def divisors(pairs: list[tuple[int, int]]) -> dict[tuple[int, int], int]:
        if mean == "pairs":
            return dict.fromkeys(pairs, len(pairs))
        anchors = [i for i, _ in pairs]
        counted = len(rows) if mean == "all" else len(set(anchors))
        return {(i, j): anchors.count(i) * counted for i, j in pairs}

    return divisors(sup), divisors(own)


def supcl(gram: Matrix, structure: ClassStructure, loss: SupCL) -> arb:
    """SupCL by its definition, pair by pair, in ball arithmetic. `gram` holds floats or balls."""
    ctx.prec = BITS
    alpha, tau = arb(float(loss.alpha)), arb(float(loss.temperature))
    exact = [[g if isinstance(g, arb) else arb(float(g)) for g in row] for row in gram]
    log_totals = [
        sum(((exact[i][k] / tau).exp() for k in members), arb(0)).log()
        for i, members in enumerate(contrasted(structure, loss.self_pairs))
    ]
    value = arb(0)
    kinds = positives(structure, loss.self_pairs, loss.mean)
    for mixing, pairs in zip((1 - alpha, alpha), kinds, strict=True):
        for (i, j), divisor in pairs.items():
            value += mixing * (log_totals[i] - exact[i][j] / tau) / divisor
    return value


def supcl_slope(gram: Matrix, direction: Matrix, structure: ClassStructure, loss: SupCL) -> float:
    """The derivative of SupCL along a direction: a central difference that is good to 1e-25."""
    ctx.prec = BITS
    step = arb(2) ** -60

    def moved(sign: int) -> arb:
        start = np.vectorize(lambda g, d: arb(float(g)) + sign * step * arb(float(d)), otypes="O")
        return supcl(start(gram, direction), structure, loss)

    return float((moved(1) - moved(-1)) / (2 * step))


CLARABEL_GOAL = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10, "max_iter": 200}
CLARABEL_SETTINGS = (
    CLARABEL_GOAL,
    CLARABEL_GOAL | {"equilibrate_enable": False},
    CLARABEL_GOAL | {"max_step_fraction": 0.9},
)
"""Ways to ask Clarabel, one after another, for the same accuracy: they differ in how the problem is
scaled and in how far a step goes."""


def cvxpy_optimum(loss: SupCL, structure: ClassStructure) -> tuple[float, np.ndarray]:
    """Minimise SupCL over all Gram matrices (G ⪰ 0, unit diagonal) with Clarabel.

    A convex solver that knows nothing of spheres. Its Gram matrix is feasible to about 1e-8; the
    value is its objective there. Meant for N ≤ 8 and moderate τ.

    Where it doubts its own solution, as it does with some versions of what it stands on, it is
    asked again with other settings; a doubt that stays skips the test: it is no witness then.
    """
    alpha, tau = float(loss.alpha), float(loss.temperature)
    n = structure.num_embeddings
    gram = cp.Variable((n, n), PSD=True)
    weights = np.zeros((n, n))
    kinds = positives(structure, loss.self_pairs, loss.mean)
    for mixing, pairs in zip((1 - alpha, alpha), kinds, strict=True):
        for (i, j), divisor in pairs.items():
            weights[i, j] += mixing / divisor
    members = contrasted(structure, loss.self_pairs)
    softmax = sum(weights[i].sum() * cp.log_sum_exp(gram[i, members[i]] / tau) for i in range(n))
    objective = softmax - cp.sum(cp.multiply(weights, gram)) / tau
    problem = cp.Problem(cp.Minimize(objective), [cp.diag(gram) == 1])
    for settings in CLARABEL_SETTINGS:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Solution may be inaccurate", UserWarning)
            with contextlib.suppress(cp.SolverError):
                problem.solve(solver=cp.CLARABEL, **settings)
                if problem.status == "optimal":
                    return float(np.asarray(problem.value)), np.asarray(gram.value)
    pytest.skip(f"the convex solver doubts its own solution ({problem.status})")


def _root(function: Callable[[float], float], end: float) -> float:
    """Where the function changes its sign between 0 and the end."""
    root: Any = brentq(function, 0, end, xtol=1e-15)
    return root


class Blocks(NamedTuple):
    """The phase and the three similarities of a balanced optimum."""

    phase: str
    view: float
    within: float
    between: float


def balanced_optimum(loss: SupCL, structure: ClassStructure) -> Blocks:
    """The optimum of balanced SupCL: the phase from its boundaries, then one scalar root."""
    alpha, tau = float(loss.alpha), float(loss.temperature)
    m, n, p = structure.counts
    w = {"include": 1, "exclude": (p - 1) / p, "decouple": 0}[loss.self_pairs]
    r = np.exp(-m / ((m - 1) * tau))
    alpha_c = 1 - (n - 1) * (1 - r) / (n - 1 + w + n * (m - 1) * r)
    alpha_v = -1.0
    if loss.self_pairs == "exclude" and p > 1:
        alpha_v = (p - 1) * (1 - m * n * p * r) / (n * p - 1 + n * (m - 1) * p * r)

    def similarities(view_spread: float, q: float) -> tuple[float, float, float]:
        mean_sq = 1 - (p - 1) * view_spread / p - q
        within = 1 - (p - 1) * view_spread / p - (q * n / (n - 1) if q else 0)
        return 1 - view_spread, within, -mean_sq / (m - 1)

    def view_slope(a: float) -> float:
        view, within, between = np.exp(np.array(similarities(a, 0)) / tau)
        total = (p - 1) * view + (n - 1) * p * within + n * (m - 1) * p * between
        return 1 - alpha - ((n - 1) * p * within + n * p * (m * p - 1) * between) / total

    def instance_slope(q: float) -> float:
        x, y = np.exp(-q * n / ((n - 1) * tau)), np.exp(-(m - q) / ((m - 1) * tau))
        return (1 - alpha) * (w + (n - 1) * x + n * (m - 1) * y) - (n - 1) * (x - y)

    if alpha < alpha_v:
        return Blocks("view-spread", *similarities(_root(view_slope, p / (p - 1)), 0))
    if alpha <= alpha_c:
        return Blocks("collapse", *similarities(0, 0))
    return Blocks("spread", *similarities(0, _root(instance_slope, 1)))


def block_average(gram: np.ndarray, structure: ClassStructure, kind: str, *classes: int) -> float:
    """Mean over the pairs of one kind, of the classes (k,) or (k, l) if given; 1 if empty."""
    chosen = []
    rows = list(enumerate(labels(structure)))
    for (i, (class_i, instance_i, _)), (j, (class_j, instance_j, _)) in itertools.product(
        rows, repeat=2
    ):
        if class_i != class_j:
            found = "between"
        elif instance_i != instance_j:
            found = "within"
        else:
            found = "view" if i != j else "diagonal"
        if found == kind and classes in ((), (class_i,), (class_i, class_j)):
            chosen.append(gram[i, j])
    return float(np.mean(chosen)) if chosen else 1.0
