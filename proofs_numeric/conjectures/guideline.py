r"""Which simple rule for (α, τ) prevents class collapse?

With self pairs included and τ ≤ 1/log m the threshold is α_c = 1/n + (1 - 1/n) mr/(1 + (m-1)r), r
≤ m^{-m/(m-1)}: at most (n+1)/(2n), approached for many classes. So **α ≥ 3/4 and τ ≤ 1/log m** is
sound for every batch, the simplest rule there is, and 2/3 is not: two classes of two instances
collapse. Who wants less weight on L_self lowers τ: from three instances on **α ≥ 1/2 and τ ≤ 1/(2
log m)** is sound. Rules that name n gain little over these once n ≥ 5.
"""

import numpy as np

import ssem_jax as sx
from ssem_jax.certificate import COLLAPSE_TOLERANCE
from ssem_jax.claims import run_file


def spread(cell):
    return cell.delta2 - COLLAPSE_TOLERANCE


def rule(least_alpha, power):
    """α ≥ least_alpha and τ ≤ 1/(power·log m)."""
    return lambda cell: (
        (cell.alpha >= least_alpha) & (cell.temperature <= 1 / (power * np.log(cell.num_classes)))
    )


def claim(name, statement, condition, expected, **space):
    return sx.Claim(
        name=name,
        statement=statement,
        margin=spread,
        domain=sx.Space(where=condition, **space),
        source="derived here",
        expected=expected,
    )


three_quarters = claim(
    "three_quarters",
    "Self pairs included: α ≥ 3/4 and τ ≤ 1/log m prevent class collapse.",
    rule(0.75, 1),
    sx.Verdict.HOLDS,
    num_classes=(2, 3, 5),
    num_instances=(2, 4),
    alpha=sx.Range(0.75, 1),
    temperature=sx.Range(0.05, 1.45, log=True),
)

two_thirds = claim(
    "two_thirds",
    "Self pairs included: α ≥ 2/3 and τ ≤ 1/log m prevent class collapse.",
    rule(2 / 3, 1),
    sx.Verdict.REFUTED,
    num_classes=(2, 3, 5),
    num_instances=(2, 4),
    alpha=sx.Range(2 / 3, 1),
    temperature=sx.Range(0.05, 1.45, log=True),
)

half = claim(
    "half",
    "Self pairs included, n ≥ 3: α ≥ 1/2 and τ ≤ 1/(2 log m) prevent class collapse.",
    rule(0.5, 2),
    sx.Verdict.HOLDS,
    num_classes=(2, 3, 5),
    num_instances=(3, 4),
    alpha=sx.Range(0.5, 1),
    temperature=sx.Range(0.05, 0.73, log=True),
)

if __name__ == "__main__":
    raise SystemExit(run_file(__file__))
