"""Beyond one balanced batch: random batches, two towers, nonnegative embeddings, kinds of pairs.

Every threshold is judged on both sides of it, and every optimum by brackets over all embeddings
that are as good; see :mod:`reduced`.
"""

from proofs_numeric import reduced
from ssem_jax.claims import Theorem, Verdict

SOURCE = "derived here: averages over a coherent algebra raise no convex loss of this form"


stratified_batches = Theorem(
    name="stratified_batches",
    statement="The mean loss over all batches of m_b classes with n_b instances each collapses "
    "classes iff α ≤ 1 - [(n_b-1) - n_b(m_b-1)κr]/[w + n_b-1 + n_b(m_b-1)r], κ = (n-1)/(n(m-1)).",
    prove=lambda: reduced.judged(reduced.stratified()),
    source=SOURCE,
    expected=Verdict.HOLDS,
)


random_batches = Theorem(
    name="random_batches",
    statement="The mean loss over all batches of B instances, L_sup over anchors with a positive, "
    "collapses classes iff α ≤ (1 - E_sup h)/(1 - E_sup h + E h), h = (k - lκr)/(w + k + lr) with "
    "k hypergeometric and l = B-1-k.",
    prove=lambda: reduced.judged(reduced.random_cells("anchors")),
    source=SOURCE,
    expected=Verdict.HOLDS,
)

all_anchors = Theorem(
    name="all_anchors",
    statement="Where anchors without a positive count 0 in L_sup, of which a share φ has one, "
    "classes collapse iff α ≤ φα_c/(1-(1-φ)α_c), α_c that of the mean over the others.",
    prove=lambda: reduced.judged(reduced.random_cells("all")),
    source=SOURCE,
    expected=Verdict.HOLDS,
)


nonnegative_boundary = Theorem(
    name="nonnegative_boundary",
    statement="Where similarities must not be negative, classes collapse iff "
    "α ≤ (w + n(m-1)r₀)/(n-1+w + n(m-1)r₀), r₀ = e^{-1/τ}; above it similarities s within classes "
    "satisfy e^{s/τ} = (1-α)(w/r₀ + n(m-1))/(α(n-1)), clipped to [1, e^{1/τ}].",
    prove=lambda: reduced.judged(reduced.nonnegative()),
    source=SOURCE,
    expected=Verdict.HOLDS,
)


orthogonal_frames = Theorem(
    name="orthogonal_frames",
    statement="Where similarities must not be negative, classes of any sizes are orthogonal, and "
    "class k collapses iff α ≤ Mq_k/(K + Mq_k) (pairs) or Mq_k/(Mq_k + (n_k-1)M₂) (anchors), "
    "q_k = w + (M-n_k)r₀.",
    prove=lambda: reduced.judged(reduced.orthogonal()),
    source=SOURCE,
    expected=Verdict.HOLDS,
)


towers_window = Theorem(
    name="towers_window",
    statement="SupCL of two towers collapses classes iff the weight α of matched pairs lies in "
    "[α₋, α_c], α₋ = [(n-1)(1-r)/(1+(m-1)r) - (n-2)]/n and α_c that of one tower.",
    prove=lambda: reduced.judged(reduced.window()),
    source=SOURCE,
    expected=Verdict.HOLDS,
)


spread_boundary = Theorem(
    name="spread_boundary",
    statement="L_spread, as its released code computes it, collapses classes iff the share of its "
    "repulsion is at most Nr/(1 + (2N-n)r), N = mn.",
    prove=lambda: reduced.judged(reduced.spread()),
    source="Chen et al. (ICML 2022) for the loss; " + SOURCE,
    expected=Verdict.HOLDS,
)


equal_coverage = Theorem(
    name="equal_coverage",
    statement="InfoNCE of one view, or of two towers, summed over batches of N points is minimised "
    "by the simplex iff Σ w_B ρ_|B| over the batches of a pair is equal for all pairs, "
    "ρ_b = e^{s/τ}/(e^{1/τ} + (b-1)e^{s/τ}), s = -1/(N-1); so 7 of all 35 batches of 3 of 7 do.",
    prove=lambda: reduced.judged(reduced.covered(), left_out=""),
    source=SOURCE,
    expected=Verdict.HOLDS,
)
