"""Towers, prototypes, batches, kinds of pairs, nonnegative embeddings: one question about each.

What was learned: in two towers a low weight of matched pairs pushes them apart *within* their
class; the features of a class coincide, but not with the prototype of their class where classes
differ in size; seven batches can do what thirty-five do; a ReLU makes classes orthogonal at any
imbalance; and a mean that counts anchors without a positive as 0 spreads classes earlier.
"""

import numpy as np

import ssem_jax as sx
from ssem_jax import losses, theory
from ssem_jax.certificate import COLLAPSE_TOLERANCE
from ssem_jax.claims import run_file

SOURCE = "asked here"
WARM = sx.Range(0.3, 1.2)
FANO = ((0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5))


def collapses_up_to(threshold, cell):
    """Positive where classes collapse up to a threshold of α, and spread beyond it."""
    spread = cell.delta2 - COLLAPSE_TOLERANCE
    return np.where(cell.alpha <= threshold, -spread, spread)


matched_first = sx.Claim(
    name="matched_first",
    statement="Two towers: a matched pair is no less similar than others of its class.",
    margin=lambda cell: cell.similarity("other·self") - cell.similarity("other·within"),
    domain=sx.Space(num_instances=(2, 3), num_views=2, loss=losses.CrossModal, temperature=0.5,
                    alpha=sx.Range(0, 1)),
    closed=True, expected=sx.Verdict.REFUTED, source=SOURCE,
)  # fmt: skip

features_coincide = sx.Claim(
    name="features_coincide",
    statement="Normalised features of a class coincide beside prototypes, at any class sizes.",
    margin=lambda cell: cell.similarity("within (feature 3)") - (1 - COLLAPSE_TOLERANCE),
    domain=sx.Space(sizes=[(4, 4), (4, 3)], loss=losses.NormFace, temperature=WARM),
    expected=sx.Verdict.HOLDS, source=SOURCE,
)  # fmt: skip

feature_is_prototype = sx.Claim(
    name="feature_is_prototype",
    statement="A feature coincides with the prototype of its class, at any class sizes.",
    margin=lambda cell: cell.similarity("within (feature 2 to prototype 2)")
    - (1 - COLLAPSE_TOLERANCE),
    domain=sx.Space(sizes=[(4, 3, 3)], loss=losses.NormFace, temperature=WARM),
    expected=sx.Verdict.REFUTED, source=SOURCE,
)  # fmt: skip

stratified_as_data = sx.Claim(
    name="stratified_as_data",
    statement="Batches of 2 × 3 instances out of 4 × 6 collapse classes where all data would.",
    margin=lambda cell: collapses_up_to(cell.boundary(theory.alpha_c), cell),
    domain=sx.Space(num_classes=4, num_instances=6, loss=losses.StratifiedBatches, batch=[(2, 3)],
                    alpha=sx.Range(0.2, 0.9), temperature=0.4),
    expected=sx.Verdict.REFUTED, source=SOURCE,
)  # fmt: skip

batch_of_64 = sx.Claim(
    name="batch_of_64",
    statement="50 classes of 1,000, random batches of 64: α = 1/2 prevents collapse for τ ≤ 0.2.",
    margin=lambda cell: cell.delta2 - COLLAPSE_TOLERANCE,
    domain=sx.Space(num_classes=50, num_instances=1000, loss=losses.RandomBatches, batch=64,
                    alpha=0.5, temperature=sx.Range(0.1, 0.2)),
    source=SOURCE,
)  # fmt: skip

seven_batches = sx.Claim(
    name="seven_batches",
    statement="InfoNCE of the 7 lines of the Fano plane is minimised by the simplex of 7 points.",
    margin=lambda cell: sx.equal(cell.between_similarity, -1 / 6),
    domain=sx.Space(sizes=[(1,) * 7], loss=losses.ListedBatches, batches=[FANO], alpha=1.0,
                    temperature=WARM),
    expected=sx.Verdict.HOLDS, source=SOURCE,
)  # fmt: skip

orthogonal_after_relu = sx.Claim(
    name="orthogonal_after_relu",
    statement="Where no similarity is negative, classes are orthogonal at any imbalance.",
    margin=lambda cell: sx.equal(cell.similarity("between"), 0.0),
    domain=sx.Space(sizes=[(5, 3), (6, 2, 2)], least=0, alpha=sx.Range(0, 1), temperature=0.5),
    expected=sx.Verdict.HOLDS, source=SOURCE,
)  # fmt: skip

half_spread = sx.Claim(
    name="half_spread",
    statement="L_spread with half its weight on repulsion spreads classes for τ ≤ 1.",
    margin=lambda cell: cell.delta2 - COLLAPSE_TOLERANCE,
    domain=sx.Space(num_classes=3, num_instances=4, loss=losses.Spread, share=0.5,
                    temperature=sx.Range(0.2, 1)),
    source=SOURCE,
)  # fmt: skip


def against_views(view, temperature):
    """Contrast with other classes, and with one's own views by a weight of choice."""
    against = {"view": view, "between": 1.0}
    return losses.KindContrast(
        temperature, losses.Contrast(1.0, against, {"view": 0.2, "within": 0.8})
    )


own_views_part = sx.Claim(
    name="own_views_part",
    statement="Contrasting an embedding with its own views parts them, however little.",
    margin=lambda cell: cell.view_variance - COLLAPSE_TOLERANCE,
    domain=sx.Space(num_classes=3, num_instances=3, num_views=2, loss=against_views,
                    view=sx.Range(0.1, 4), temperature=0.5),
    expected=sx.Verdict.REFUTED, source=SOURCE,
)  # fmt: skip

lone_anchors = sx.Claim(
    name="lone_anchors",
    statement="Anchors without a positive that count 0 in a mean over all spread the others more.",
    margin=lambda of_all, of_others: of_all.delta2 - of_others.delta2,
    domain=sx.Space(sizes=[(4, 1), (4, 4, 1)], mean=("all", "anchors"), least=-1,
                    alpha=sx.Range(0.4, 0.8), temperature=0.5),
    along="mean", expected=sx.Verdict.HOLDS, source=SOURCE,
)  # fmt: skip

if __name__ == "__main__":
    raise SystemExit(run_file(__file__))
