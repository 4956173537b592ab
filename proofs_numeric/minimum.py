"""The minimal loss, and where it is attained: the simplex-to-simplex embedding model."""

from proofs_numeric.domains import EXCLUDED, INCLUDED, SOURCE
from ssem_jax import theory
from ssem_jax.certificate import COLLAPSE_TOLERANCE
from ssem_jax.claims import VALUE_TOLERANCE, Claim, Verdict, equal

minimum_included = Claim(
    name="minimum_included",
    statement="With self pairs included, the minimum of the SupCL loss over all unit embeddings is "
    "the closed form at the optimal similarities.",
    source=f"{SOURCE}, optimal embeddings; closed form derived here",
    margin=lambda cell: equal(cell.minimum, cell.predict(theory.loss), VALUE_TOLERANCE),
    domain=INCLUDED,
    quantity="minimum",
    expected=Verdict.HOLDS,
)

minimum_excluded = Claim(
    name="minimum_excluded",
    statement="With self pairs excluded and two or more views, the minimum of the SupCL loss over "
    "all unit embeddings is the closed form at the optimal similarities, in all three phases.",
    source="derived here",
    margin=lambda cell: equal(cell.minimum, cell.predict(theory.loss), VALUE_TOLERANCE),
    domain=EXCLUDED,
    quantity="minimum",
    expected=Verdict.HOLDS,
)

ssem_within = Claim(
    name="ssem_within",
    statement="With self pairs included and τ ≥ 0.1 (below, float64 does not resolve it to 1e-3), "
    "every optimum has the within-class similarity of SSEM(δ*): 1 - δ*² n/(n-1).",
    source=f"{SOURCE}, optimal embeddings are SSEM(δ)",
    margin=lambda cell: equal(
        cell.within_similarity, cell.predict(lambda *a, **k: theory.similarities(*a, **k).within)
    ),
    where=lambda cell: cell.temperature >= 0.1,
    domain=INCLUDED,
    quantity="within_similarity",
    expected=Verdict.HOLDS,
)

ssem_between = Claim(
    name="ssem_between",
    statement="With self pairs included and τ ≥ 0.2 (below, the loss hardly depends on it), every "
    "optimum has the between-class similarity of SSEM(δ*): -(1-δ*²)/(m-1).",
    source=f"{SOURCE}, optimal embeddings are SSEM(δ)",
    margin=lambda cell: equal(
        cell.between_similarity, cell.predict(lambda *a, **k: theory.similarities(*a, **k).between)
    ),
    where=lambda cell: cell.temperature >= 0.2,
    domain=INCLUDED,
    quantity="between_similarity",
    expected=Verdict.HOLDS,
)

views_coincide = Claim(
    name="views_coincide",
    statement="With self pairs included, all views of an instance coincide at every optimum.",
    source=f"{SOURCE}, optimal embeddings are SSEM(δ); extended here to any views",
    margin=lambda cell: COLLAPSE_TOLERANCE - cell.view_variance,
    where=lambda cell: cell.num_views > 1,
    closed=True,
    domain=INCLUDED,
    quantity="view_variance",
    expected=Verdict.HOLDS,
)

ssem_excluded = Claim(
    name="ssem_excluded",
    statement="With self pairs excluded too, all optima are SSEM: the views of an instance "
    "coincide.",
    source="a reading of the result beyond its convention; refuted for α < α_v(τ)",
    margin=lambda cell: COLLAPSE_TOLERANCE - cell.view_variance,
    exclude=lambda cell: cell.near_boundary(),
    closed=True,
    domain=EXCLUDED,
    quantity="view_variance",
    expected=Verdict.REFUTED,
)
