"""Low dimension: what survives when the unconstrained optimum does not fit."""

from fractions import Fraction
from typing import Any, cast

import jax
import numpy as np
from flint import arb

from ssem_jax import balls
from ssem_jax.claims import Proof, Theorem
from ssem_jax.losses import SupCL
from ssem_jax.problem import ClassStructure, Problem
from ssem_jax.solver import solve

_BAND = Fraction(1, 20)
_TEMPERATURES = (Fraction(1, 5), Fraction(1, 2), Fraction(1))
_SHAPES = ((2, 3), (3, 4), (4, 3))


def _above_threshold(m: int, n: int, tau: Fraction) -> arb:
    """α_c(τ) + 0.05, self pairs included."""
    r = (-arb(m) / ((m - 1) * balls.to_ball(tau))).exp()
    share = m * r / (1 + (m - 1) * r)
    return (1 + (n - 1) * share) / n + balls.to_ball(_BAND)


def _collapsed_loss(m: int, n: int, tau: Fraction) -> arb:
    """The loss of collapse onto a simplex, whatever α: log(n + n(m-1) e^{-m/((m-1)τ)})."""
    return (n + n * (m - 1) * (-arb(m) / ((m - 1) * balls.to_ball(tau))).exp()).log()


def _spread_beats_collapse() -> Proof:
    """In R^m and R^{m+1}, just above α_c, some embeddings are proven better than collapse.

    The solver only proposes them: α, τ and both losses are balls.
    """
    count, undecided = 0, []
    with balls.working_precision(balls.EMBEDDING_PRECISION):
        for m, n in _SHAPES:
            structure = ClassStructure.balanced(m, n)
            exact = [(_above_threshold(m, n, tau), tau) for tau in _TEMPERATURES]
            floats = np.array([[float(alpha.mid()), float(tau)] for alpha, tau in exact])
            for dim in (m, m + 1):
                problem = Problem(structure, dim, SupCL(floats[:, 0], floats[:, 1]))
                proposed = solve(problem, jax.random.key(0), num_starts=4).embeddings
                for points, (alpha, tau) in zip(np.asarray(proposed), exact, strict=True):
                    loss = SupCL(cast(Any, alpha), cast(Any, tau))  # exact, as balls read them
                    found = balls.enclose_minimum(points, structure, loss)
                    count += 1
                    if not found.ball.upper() < _collapsed_loss(m, n, tau):
                        undecided.append({"m": m, "n": n, "d": dim, "tau": str(tau)})
    return Proof(not undecided, undecided=tuple(undecided), enclosures=count, rigorous=True)


threshold_in_low_dimension = Theorem(
    name="threshold_in_low_dimension",
    statement="In nine cells each of d = m and d = m + 1, where the unconstrained optimum does not "
    "fit, some embeddings are better than collapse at α = α_c(τ) + 0.05: the collapse threshold is "
    "that of high dimension.",
    prove=_spread_beats_collapse,
    source="derived here: α_c is the threshold of the Hessian along an unused dimension",
)
