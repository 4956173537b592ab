r"""In R^{m-1}, is the transition out of collapse continuous?

Class means alone fill R^{m-1}, so an instance can leave its mean only along directions that
classes use, and collapse is a local minimum up to 1 - α_loc = (1 - α_c)(1 - z/(e^z - 1)), z =
m/((m-1)τ), above α_c. If the transition were continuous, collapse would be the best in R^{m-1} up
to α_loc. It is not: for four classes of three instances at τ = 1/2, α_loc = 0.58888, embeddings of
δ² = 0.0003 are better than collapse by 2e-8 at α_loc - 5e-4, and of δ² = 0.0012 by 1e-6 at α_loc
itself. That is tiny and real: both losses are exact to 1e-15, and small displacements of collapse
raise its loss there. So the transition is weakly of first order, two minima coexist, and near
α_loc it depends on the start which of them an optimiser finds. The conjecture can be refuted by
one pair of losses; where it is not, nothing is decided, for no certificate tells a minimum under a
rank constraint.
"""

import numpy as np

import ssem_jax as sx
from ssem_jax import theory
from ssem_jax.claims import run_file

ROUNDING = 1e-12
"""Far above the rounding of a loss in float64."""
TEMPERATURE = 0.5


def not_beaten(cell):
    """Negative where embeddings in R^{m-1} have a lower loss than collapse; else it is open."""
    collapsed_loss = theory.loss(
        cell.num_classes, cell.num_instances, cell.num_views, 0.0, cell.temperature
    )
    gain = collapsed_loss - cell.found["value"].to_numpy() - ROUNDING
    beaten = gain > 0
    return sx.claims.decided(sx.claims.Interval(-gain, np.where(beaten, -gain, 1)), beaten)


_EDGE = float(theory.alpha_local(4, 3, 1, TEMPERATURE))

transition_is_continuous = sx.Claim(
    name="transition_is_continuous",
    statement="m = 4, n = 3, d = 3, τ = 1/2: no embeddings in R^3 are better than collapse for α "
    "just below α_loc, where collapse ceases to be a local minimum.",
    margin=not_beaten,
    domain=sx.Space(
        num_classes=4,
        num_instances=3,
        dim=3,
        alpha=sx.Range(_EDGE - 1e-3, _EDGE - 1e-6),
        temperature=TEMPERATURE,
    ),
    source="an expectation that is refuted",
    expected=sx.Verdict.REFUTED,
)

if __name__ == "__main__":
    raise SystemExit(run_file(__file__))
