"""Low dimension: what survives when the unconstrained optimum does not fit."""

import jax
import numpy as np

from ssem_jax import rigorous, theory
from ssem_jax.claims import Proof, Theorem
from ssem_jax.losses import SupCL
from ssem_jax.problem import ClassStructure, Problem
from ssem_jax.solve import solve

ROUNDING = 1e-12
"""Far above the rounding of the collapsed loss in float64, far below what is gained over it."""

_BAND = 0.05
_TEMPERATURES = (0.2, 0.5, 1.0)
_SHAPES = ((2, 3), (3, 4), (4, 3))


def _spread_beats_collapse(extra: int) -> Proof:
    """In R^{m + extra}, just above α_c, some embeddings are proven better than collapse."""
    cells, undecided = 0, []
    for m, n in _SHAPES:
        structure = ClassStructure.balanced(m, n)
        temperatures = np.array(_TEMPERATURES)
        alphas = np.asarray(theory.alpha_c(m, n, 1, temperatures)) + _BAND
        problem = Problem(structure, m + extra, SupCL(alphas, temperatures))
        solution = solve(problem, jax.random.key(0), num_starts=4)
        for points, alpha, tau in zip(
            np.asarray(solution.embeddings), alphas, temperatures, strict=True
        ):
            loss = SupCL(float(alpha), float(tau))
            best = rigorous.enclose_minimum(points, structure, loss).upper
            collapsed = np.log(n + n * (m - 1) * np.exp(-m / ((m - 1) * tau)))
            cells += 1
            if not best < collapsed - ROUNDING:
                undecided.append({"m": m, "n": n, "d": m + extra, "tau": float(tau)})
    return Proof(not undecided, None, cells, tuple(undecided))


threshold_in_low_dimension = Theorem(
    name="threshold_in_low_dimension",
    statement="In nine cells each of d = m and d = m + 1, where the unconstrained optimum does not "
    "fit, some embeddings are better than collapse at α = α_c(τ) + 0.05: the collapse threshold is "
    "that of high dimension.",
    prove=lambda: _both(_spread_beats_collapse(0), _spread_beats_collapse(1)),
    source="derived here: α_c is the threshold of the Hessian along an unused dimension",
)


def _both(*proofs: Proof) -> Proof:
    return Proof(
        all(proof.proven for proof in proofs),
        None,
        sum(proof.boxes for proof in proofs),
        tuple(box for proof in proofs for box in proof.undecided),
    )
