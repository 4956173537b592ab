"""How δ*² moves with α, τ, n, m and p."""

from proofs_numeric.domains import EXCLUDED, INCLUDED
from proofs_numeric.evidence import falls, no_valley, rises
from ssem_jax.claims import Claim, Verdict

_SOURCE = "derived here, from the equation for δ*²"


rises_with_alpha = Claim(
    name="rises_with_alpha",
    statement="δ*² does not decrease with α (to 1e-3).",
    source=_SOURCE,
    margin=rises,
    along="alpha",
    closed=True,
    domain=INCLUDED,
    expected=Verdict.HOLDS,
)

rises_with_alpha_excluded = Claim(
    name="rises_with_alpha_excluded",
    statement="With self pairs excluded, δ*² does not decrease with α (to 1e-3).",
    source=_SOURCE,
    margin=rises,
    along="alpha",
    closed=True,
    domain=EXCLUDED,
    expected=Verdict.HOLDS,
)

rises_with_instances = Claim(
    name="rises_with_instances",
    statement="δ*² does not decrease with n, the instances per class (to 1e-3).",
    source=_SOURCE,
    margin=rises,
    along="num_instances",
    closed=True,
    domain=INCLUDED,
    expected=Verdict.HOLDS,
)

falls_with_classes = Claim(
    name="falls_with_classes",
    statement="δ*² does not increase with m, the number of classes (to 1e-3).",
    source=_SOURCE,
    margin=falls,
    along="num_classes",
    closed=True,
    domain=INCLUDED,
    expected=Verdict.HOLDS,
)

falls_with_views = Claim(
    name="falls_with_views",
    statement="With self pairs excluded, δ*² does not increase with p, the views (to 1e-3).",
    source=_SOURCE,
    margin=falls,
    along="num_views",
    closed=True,
    domain=EXCLUDED,
    expected=Verdict.HOLDS,
)

falls_with_temperature = Claim(
    name="falls_with_temperature",
    statement="δ*² does not increase with τ (to 1e-3): a lower temperature spreads more.",
    source="a common reading of the collapse condition; refuted, δ*² → 0 as τ → 0",
    margin=falls,
    along="temperature",
    closed=True,
    domain=INCLUDED,
    expected=Verdict.REFUTED,
)

unimodal_in_temperature = Claim(
    name="unimodal_in_temperature",
    statement="δ*² as a function of τ has no valley (to 1e-3): it rises to one peak and falls.",
    source=_SOURCE,
    margin=no_valley,
    along="temperature",
    window=3,
    closed=True,
    domain=INCLUDED,
    expected=Verdict.HOLDS,
)
