"""Rules of thumb for (α, τ) that keep classes from collapsing: a popular one, and sound ones."""

from proofs_numeric.domains import EXCLUDED, INCLUDED
from proofs_numeric.evidence import satisfies, spread
from ssem_jax import theory
from ssem_jax.claims import Claim, Verdict

summary_guideline = Claim(
    name="summary_guideline",
    statement="α ≥ 1/n and τ ≤ 1/log m prevent class collapse.",
    source="the sentence of a summary of the paper, not the wording of its theorems",
    margin=spread,
    where=satisfies(theory.summary_guideline),
    exclude=lambda cell: cell.near_boundary(),
    domain=INCLUDED,
    expected=Verdict.REFUTED,
    formal=(("alpha >= 1/n", "temperature <= 1/ln(m)"), ("delta2 > 1e-6",)),
)

majority_guideline = Claim(
    name="majority_guideline",
    statement="With self pairs included, α ≥ (n+1)/(2n) and τ ≤ 1/log m prevent class collapse.",
    source="derived here",
    margin=spread,
    where=satisfies(theory.majority_guideline),
    exclude=lambda cell: cell.near_boundary(),
    domain=INCLUDED,
    expected=Verdict.HOLDS,
)

power_guideline = Claim(
    name="power_guideline",
    statement="With self pairs included, α ≥ 1/n + (1-1/n)/m and τ ≤ 1/(2 log m) prevent class "
    "collapse.",
    source="derived here, with k = 2 of τ ≤ 1/(k log m)",
    margin=spread,
    where=satisfies(theory.power_guideline),
    exclude=lambda cell: cell.near_boundary(),
    domain=INCLUDED,
    expected=Verdict.HOLDS,
)

excluded_guideline = Claim(
    name="excluded_guideline",
    statement="With self pairs excluded, α ≥ 1/n and τ ≤ 1/log N prevent class collapse.",
    source="derived here",
    margin=spread,
    where=satisfies(theory.excluded_guideline),
    exclude=lambda cell: cell.near_boundary(),
    domain=EXCLUDED,
    expected=Verdict.HOLDS,
)
