"""Where class collapse ends: the boundary α_c(τ), and that it does not move with the dimension."""

from proofs_numeric.domains import EXCLUDED, INCLUDED, LOW_DIMENSION, SOURCE
from ssem_jax import theory
from ssem_jax.certificate import COLLAPSE_TOLERANCE
from ssem_jax.claims import BOUNDARY_BAND, Claim, Verdict, same_phase

boundary_included = Claim(
    name="boundary_included",
    statement="With self pairs included, classes collapse iff α ≤ α_c(τ) = "
    "1/n + (1-1/n) m r/(1+(m-1) r), r = exp(-m/((m-1)τ)).",
    source=f"{SOURCE}, collapse condition; closed form derived here",
    margin=lambda cell: same_phase(cell.phase, cell.predict(theory.phase)),
    exclude=lambda cell: cell.near_boundary(),
    domain=INCLUDED,
    expected=Verdict.HOLDS,
)

boundary_excluded = Claim(
    name="boundary_excluded",
    statement="With self pairs excluded and p ≥ 2 there are three phases: view-spread for "
    "α < α_v(τ), collapse for α_v ≤ α ≤ α_c, spread for α > α_c.",
    source="derived here",
    margin=lambda cell: same_phase(cell.phase, cell.predict(theory.phase)),
    exclude=lambda cell: cell.near_boundary(),
    domain=EXCLUDED,
    expected=Verdict.HOLDS,
)

low_alpha_collapses = Claim(
    name="low_alpha_collapses",
    statement="With self pairs included, α ≤ 1/n collapses at every temperature.",
    source="derived here: α_c decreases to 1/n as τ → 0",
    margin=lambda cell: COLLAPSE_TOLERANCE - cell.delta2,
    where=lambda cell: cell.alpha <= 1 / cell.num_instances,
    exclude=lambda cell: cell.near_boundary(),
    closed=True,
    domain=INCLUDED,
    expected=Verdict.HOLDS,
)

collapse_dimension = Claim(
    name="collapse_dimension",
    statement="Where the unconstrained optimum is collapsed (α ≤ α_c(τ)), it is attained in every "
    "dimension d ≥ m-1.",
    source="derived here: the m-simplex lies in m-1 dimensions",
    margin=lambda cell: COLLAPSE_TOLERANCE - cell.delta2,
    where=lambda cell: cell.alpha <= cell.boundary(theory.alpha_c) - BOUNDARY_BAND,
    closed=True,
    domain=LOW_DIMENSION,
    expected=Verdict.HOLDS,
)
