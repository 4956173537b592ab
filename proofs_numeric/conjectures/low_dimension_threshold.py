r"""Does the collapse threshold depend on the dimension?

For d ≥ m it does not: below α_c(τ) collapse is optimal in every dimension, by a certificate; above
it, some embeddings in R^m are better than collapse already, which their loss alone shows. So a
projection head of dimension m is as prone to collapse as one of dimension mn - 1, although it
cannot hold the optimum of the spread phase: what few dimensions cost is loss, not the threshold.
In R^{m-1}, where the class means fill all dimensions, collapse lasts longer; how it ends there is
the question of `first_order_transition`.

**Nor does the spread jump, in any d ≥ m.** The best of R^d is at least as good as collapse. With
its Gram matrix averaged over instances and classes, which raises no loss, and its classes as far
apart as δ² allows, that holds of the family of one parameter q = δ², whose loss f is convex, least
at the q* of all dimensions: so δ² ≤ q_max, the other root of f(q) = f(0), in every dimension at
once. As α falls to α_c, q* falls to 0 and q_max like 2q*. So the local threshold of R^{m-1} has no
counterpart between m and mn - 2: δ² begins at α_c, continuously. How fast it rises does depend on
d: at m = 3, n = 4, α = 0.6, τ = 1/2 the best found have δ² = 0.160, 0.225, 0.266, 0.277, 0.283,
0.288, 0.291 and 0.294 in R^3 to R^{10}, where R^{11} has the optimum's 0.297.
"""

from fractions import Fraction
from itertools import product

import numpy as np
from flint import arb

import ssem_jax as sx
from proofs_numeric.evidence import above_threshold, collapsed_loss
from ssem_jax import theory
from ssem_jax.balls import to_ball, working_precision
from ssem_jax.certificate import COLLAPSE_TOLERANCE
from ssem_jax.claims import Proof, Theorem, run_file

BAND = 0.03
"""Distance of α from the threshold that the statement leaves out: what embeddings in R^m gain over
collapse grows like its square."""
ROUNDING = 1e-12
"""Far above the rounding of a loss in float64, far below what is gained over collapse at `BAND`."""


def above(cell):
    return cell.alpha - cell.boundary(theory.alpha_c)


def collapsed_exactly_below(cell):
    """Certified collapse below α_c; embeddings that beat collapse above it."""
    counts = cell.num_classes, cell.num_instances, cell.num_views
    collapsed_loss = theory.loss(*counts, 0.0, cell.temperature)  # at α = 0 collapse is optimal
    gain = collapsed_loss - cell.found["value"].to_numpy() - ROUNDING
    stays = COLLAPSE_TOLERANCE - cell.delta2
    beaten, below = gain > 0, above(cell) < 0
    margin = sx.claims.Interval(
        np.where(below, stays.low, np.where(beaten, gain, -1)),
        np.where(below, stays.high, np.where(beaten, gain, 1)),
    )
    return sx.claims.decided(margin, np.where(below, cell.certified, beaten))


threshold_ignores_dimension = sx.Claim(
    name="threshold_ignores_dimension",
    statement="Self pairs included, d ≥ m: embeddings in R^d are collapsed at the optimum iff "
    "α ≤ α_c(τ), the threshold of high dimension (|α - α_c| ≥ 0.03).",
    margin=collapsed_exactly_below,
    domain=sx.Space(
        num_classes=(2, 3),
        num_instances=3,
        dim=(lambda s: s.num_classes, lambda s: s.num_classes + 1, "full"),
        temperature=sx.Range(0.2, 2, log=True),
        where=lambda cell: np.abs(above(cell)) >= BAND,
    ),
    source="derived here: α_c is where the Hessian loses definiteness along an unused dimension",
    expected=sx.Verdict.HOLDS,
)

SHAPES = ((2, 3), (3, 4), (5, 5))
TEMPERATURES = (Fraction(1, 5), Fraction(1, 2), Fraction(1))
BANDS = (Fraction(1, 100), Fraction(1, 1000))
STEEPEST = 6
"""δ² that is excluded, over the distance of α from α_c."""


def gain_of_spread(m: int, n: int, tau: Fraction, alpha: arb, q: arb) -> arb:
    """f(q) - f(0): the loss at δ² = q less that of collapse, one view, self pairs included."""
    b = 1 / to_ball(tau)
    within, between = -b * q * n / (n - 1), -b * (m - q) / (m - 1)
    spread = (1 + (n - 1) * within.exp() + n * (m - 1) * between.exp()).log()
    return spread - collapsed_loss(m, n, tau) - (1 - alpha) * within


def prove_small_spread() -> Proof:
    """Losses above that of collapse at δ² = 6 (α - α_c), beyond which they rise by convexity."""
    cells = list(product(SHAPES, TEMPERATURES, BANDS))
    with working_precision(128):
        open_ = [
            f"{shape}, τ = {tau}, α - α_c = {band}"
            for shape, tau, band in cells
            if not gain_of_spread(
                *shape, tau, above_threshold(*shape, tau, band), to_ball(STEEPEST * band)
            )
            > 0
        ]
    return Proof(not open_, enclosures=len(cells), undecided=tuple(open_), rigorous=True)


spread_does_not_jump = Theorem(
    name="spread_does_not_jump",
    statement="Self pairs included, every d ≥ m: as α falls to α_c, δ² of the best in R^d falls "
    "to 0; at α_c + 1/100 and α_c + 1/1000 it is below 6 (α - α_c) in nine cells of m, n, τ.",
    prove=prove_small_spread,
    source="asked here; argument above",
)

if __name__ == "__main__":
    raise SystemExit(run_file(__file__))
