"""The optimal within-class variance δ*², and how the variance of an optimum splits."""

from proofs_numeric.domains import EXCLUDED, INCLUDED, SOURCE
from ssem_jax import theory
from ssem_jax.claims import EQUALITY_TOLERANCE, Claim, Verdict, equal
from ssem_jax.geometry import largest_delta2

_DELTA2 = "the unique root q of (1-α)/(n-1) = (x-y)/(w+(n-1)x+n(m-1)y), or 0 where there is none"

delta2_included = Claim(
    name="delta2_included",
    statement=f"With self pairs included, the variance δ² of instance means within their class is "
    f"{_DELTA2} (w = 1).",
    source=f"{SOURCE}, optimal δ; rearranged here",
    margin=lambda cell: equal(cell.delta2, cell.predict(theory.delta2)),
    domain=INCLUDED,
    expected=Verdict.HOLDS,
)

delta2_excluded = Claim(
    name="delta2_excluded",
    statement=f"With self pairs excluded, the variance δ² of instance means within their class is "
    f"{_DELTA2} (w = (p-1)/p).",
    source="derived here",
    margin=lambda cell: equal(cell.delta2, cell.predict(theory.delta2)),
    domain=EXCLUDED,
    expected=Verdict.HOLDS,
)

view_variance_excluded = Claim(
    name="view_variance_excluded",
    statement="With self pairs excluded, the variance of views about their instance mean is the "
    "root of the view-spread equation for α < α_v(τ), and 0 otherwise.",
    source="derived here",
    margin=lambda cell: equal(cell.view_variance, cell.predict(theory.view_variance)),
    domain=EXCLUDED,
    quantity="view_variance",
    expected=Verdict.HOLDS,
)

full_simplex = Claim(
    name="full_simplex",
    statement="At α = 1 the optimum is the mn-simplex at every τ: δ² = m(n-1)/(mn-1).",
    source="Wang and Isola (ICML 2020) and later work on InfoNCE; with self pairs included",
    margin=lambda cell: equal(cell.delta2, largest_delta2(cell.num_classes, cell.num_instances)),
    where=lambda cell: cell.alpha == 1,
    domain=INCLUDED,
    expected=Verdict.HOLDS,
)

full_collapse = Claim(
    name="full_collapse",
    statement="At α = 0 with self pairs included every class collapses at every τ: δ² = 0.",
    source="Graf, Hofer, Niethammer and Kwitt (ICML 2021)",
    margin=lambda cell: equal(cell.delta2, 0 * cell.alpha),
    where=lambda cell: cell.alpha == 0,
    domain=INCLUDED,
    expected=Verdict.HOLDS,
)

total_variance = Claim(
    name="total_variance",
    statement="For τ ≥ 0.2 (below, the loss hardly depends on it) the total variance of every "
    "optimum is 1, the maximum: the global mean vanishes.",
    source=f"{SOURCE}, variances of SSEM",
    margin=lambda cell: equal(cell.total_variance, 1 + 0 * cell.alpha),
    where=lambda cell: cell.temperature >= 0.2,
    domain=INCLUDED,
    quantity="total_variance",
    expected=Verdict.HOLDS,
)

between_variance = Claim(
    name="between_variance",
    statement="For τ ≥ 0.2 the variance between classes is 1 - δ*² at every optimum.",
    source=f"{SOURCE}, variances of SSEM",
    margin=lambda cell: equal(
        cell.between_variance, 1 - cell.predict(theory.delta2), 2 * EQUALITY_TOLERANCE
    ),
    where=lambda cell: cell.temperature >= 0.2,
    domain=INCLUDED,
    quantity="between_variance",
    expected=Verdict.HOLDS,
)
