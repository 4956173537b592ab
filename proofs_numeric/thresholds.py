"""Thresholds of other structures, proven for all sizes and all temperatures at once.

What :mod:`structures` judges on certified cells is proven here where one parameter rules: a margin
that decides collapse is a positive number times the distance of α from the threshold, an identity
of rational functions of 1/m, 1/n, r and α (:mod:`ssem_jax.balls.thresholds`). One view, self pairs
included.
"""

from ssem_jax import balls
from ssem_jax.claims import Proof, Theorem

SOURCE = "derived here: the dual matrix at collapse, whose eigenvalues are affine in α"


def proof_of(*found: balls.Threshold) -> Proof:
    """Thresholds as one proof: their identities, at exact points, and their boxes."""
    identities = [each for threshold in found for each in threshold.identities]
    boxes = [each for threshold in found for each in threshold.boxes]
    refuted = [each.refuted for each in (*identities, *boxes) if each.refuted is not None]
    return Proof(
        all(threshold.proven for threshold in found),
        refuted[0] if refuted else None,
        sum(box.boxes for box in boxes),
        tuple(box for proof in boxes for box in proof.undecided),
        rigorous=True,
        signs=sum(each.points for each in identities),
    )


stratified_for_all_sizes = Theorem(
    name="stratified_for_all_sizes",
    statement="For all real m, n ≥ 2, m_b, n_b and every τ > 0: batches of m_b classes with n_b "
    "instances each collapse classes iff α ≤ 1 - [(n_b-1) - n_b(m_b-1)κr]/[n_b + n_b(m_b-1)r].",
    prove=lambda: proof_of(balls.prove_stratified()),
    source=SOURCE,
)

random_for_all_sizes = Theorem(
    name="random_for_all_sizes",
    statement="B = 2, 3, 4, 5, for all real m ≥ 2, n ≥ B-1 and every τ > 0: random batches, L_sup "
    "over all anchors, collapse classes iff α ≤ (P₁ - E[h; k ≥ 1])/(P₁ + E[h; k = 0]); over "
    "anchors with a positive iff α ≤ α_c, of which that is φα_c/(1-(1-φ)α_c).",
    prove=lambda: proof_of(*map(balls.prove_random, (2, 3, 4, 5))),
    source=SOURCE,
)

spread_for_all_sizes = Theorem(
    name="spread_for_all_sizes",
    statement="For all real m, n ≥ 2 and every τ > 0: L_spread collapses classes iff its share is "
    "at most Nr/(1 + (2N-n)r), N = mn.",
    prove=lambda: proof_of(balls.prove_spread()),
    source="Chen et al. (ICML 2022) for the loss; " + SOURCE,
)

nonnegative_for_all_sizes = Theorem(
    name="nonnegative_for_all_sizes",
    statement="For all real m, n ≥ 2, w > 0 and every τ > 0: where no similarity is negative, "
    "classes collapse iff α ≤ (w + n(m-1)r₀)/(n-1+w + n(m-1)r₀).",
    prove=lambda: proof_of(balls.prove_nonnegative()),
    source="derived here: the slope of the loss along similarities within a class, at collapse",
)

window_for_all_sizes = Theorem(
    name="window_for_all_sizes",
    statement="For all real m, n ≥ 2 and every τ > 0: SupCL of two towers collapses classes iff "
    "α₋ ≤ α ≤ α_c.",
    prove=lambda: proof_of(balls.prove_window()),
    source=SOURCE,
)
