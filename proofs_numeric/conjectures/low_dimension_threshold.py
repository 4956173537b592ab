r"""Does the collapse threshold depend on the dimension?

For d ≥ m it does not: below α_c(τ) collapse is optimal in every dimension, by a certificate; above
it, some embeddings in R^m are better than collapse already, which their loss alone shows. So a
projection head of dimension m is as prone to collapse as one of dimension mn - 1, although it
cannot hold the optimum of the spread phase: what few dimensions cost is loss, not the threshold.
In R^{m-1}, where the class means fill all dimensions, collapse lasts longer; how it ends there is
the question of `first_order_transition`.
"""

import numpy as np

import ssem_jax as sx
from ssem_jax import theory
from ssem_jax.certificate import COLLAPSE_TOLERANCE
from ssem_jax.claims import run_file

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

if __name__ == "__main__":
    raise SystemExit(run_file(__file__))
