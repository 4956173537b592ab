"""In which order do unbalanced classes leave collapse, and at which α?

Larger classes first, wherever a cell decides it; for m = 2 and the per-anchor mean that is a
theorem, for more classes the search finds no exception under either mean. The thresholds are
another matter: the closed form that is exact for the first class is not for the second, because
the first one has moved on by then. At τ = 1 and sizes (8, 4) the formula says 0.537 and the truth
is 0.604: a class stays collapsed longer than a local analysis of full collapse predicts. For a
practitioner: choose α for the smallest class that must not collapse, and from the reduced program,
not from a formula.
"""

import numpy as np

import ssem_jax as sx
from proofs_numeric.evidence import larger_first
from ssem_jax.certificate import COLLAPSE_TOLERANCE
from ssem_jax.claims import run_file

WARM = sx.Range(0.2, 2.5, log=True)

larger_first_always = sx.Claim(
    name="larger_first_always",
    statement="Three or four classes of unequal size, both means: wherever a class is spread, so "
    "is every larger one.",
    margin=larger_first,
    domain=sx.Space(
        sizes=[(6, 4, 2), (8, 2, 2), (5, 4, 3), (5, 3, 2, 2)],
        temperature=WARM,
        mean=("pairs", "anchors"),
    ),
    source="derived here; proven for m = 2",
)


def formula_decides(cell):
    """Positive where the smaller class is spread exactly above its threshold at full collapse."""
    thresholds = np.array(
        [
            np.max(sx.theory.two_class_threshold(tuple(sizes), tau, "anchors"))
            for sizes, tau in zip(cell.class_sizes.tolist(), cell.temperature, strict=True)
        ]
    )
    smaller = cell.class_delta2[:, -1]
    spread, collapsed = smaller - COLLAPSE_TOLERANCE, COLLAPSE_TOLERANCE - smaller
    return np.where(cell.alpha > thresholds, spread, collapsed)


second_threshold_formula = sx.Claim(
    name="second_threshold_formula",
    statement="m = 2, per-anchor mean: the smaller class, too, leaves collapse at its closed-form "
    "α_k, which is exact for the larger one.",
    margin=formula_decides,
    domain=sx.Space(sizes=[(8, 4), (6, 2)], temperature=[0.3, 1.0], mean="anchors"),
    source="an extrapolation that is refuted",
    expected=sx.Verdict.REFUTED,
)

if __name__ == "__main__":
    raise SystemExit(run_file(__file__))
