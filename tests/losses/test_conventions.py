"""What libraries compute, written from their definitions, against ours times a factor."""

import numpy as np
import pytest

import ssem_jax as sx
from ssem_jax.losses.conventions import (
    CONVENTIONS,
    NAMES,
    TOWERS,
    named_loss,
    scaled_elsewhere,
)

ROUNDING = 1e-12
"""Two sums of a few dozen terms near 1, in float64."""
TAU, BASE = 0.3, 0.07


def log_sum(logits):
    return np.log(np.sum(np.exp(logits)))


def supcontrast(gram, ids, instances):
    """Mean over all rows; those without a positive count as 0; times τ over the base one."""
    total = 0.0
    for i, row in enumerate(gram / TAU):
        others = np.arange(len(row)) != i
        positive = others & (ids == ids[i])
        terms = [row[j] - log_sum(row[others]) for j in np.flatnonzero(positive)]
        total -= TAU / BASE * (np.mean(terms) if terms else 0)
    return total / len(gram)


def supcontrast_without_labels(gram, ids, instances):
    return supcontrast(gram, instances, instances)


def metric_learning_supcon(gram, ids, instances):
    """Mean over the rows that have a positive (AvgNonZeroReducer)."""
    found = []
    for i, row in enumerate(gram / TAU):
        others = np.arange(len(row)) != i
        positive = others & (ids == ids[i])
        if positive.any():
            found.append(log_sum(row[others]) - np.mean(row[positive]))
    return np.mean(found)


def metric_learning_nt_xent(gram, ids, instances):
    """Mean over positive pairs, each against the negatives of its anchor."""
    found = []
    for i, row in enumerate(gram / TAU):
        negatives = row[ids != ids[i]]
        for j in np.flatnonzero((ids == ids[i]) & (np.arange(len(row)) != i)):
            found.append(log_sum([row[j], *negatives]) - row[j])
    return np.mean(found)


def metric_learning_nt_xent_of_ids(gram, ids, instances):
    return metric_learning_nt_xent(gram, instances, instances)


def nt_xent(gram, ids, instances):
    """Cross-entropy of the other view among all other rows: mean over both views."""
    count = len(gram)
    logits = gram / TAU
    return np.mean(
        [log_sum(np.delete(logits[i], i)) - logits[i, i ^ 1] for i in range(count)]  # its view
    )


def solo_learn(gram, ids, instances):
    """-log of a ratio of sums over positives and over positives and negatives."""
    similar = np.exp(gram / TAU)
    same = instances[:, None] == instances
    positive = np.sum(similar * (same & ~np.eye(len(gram), dtype=bool)), axis=1)
    return -np.mean(np.log(positive / (positive + np.sum(similar * ~same, axis=1))))


def simclr(gram, ids, instances):
    """The mean cross-entropies of the first and of the second views, added."""
    logits = gram / TAU
    each = [log_sum(np.delete(logits[i], i)) - logits[i, i ^ 1] for i in range(len(gram))]
    return np.mean(each[::2]) + np.mean(each[1::2])


def sincere(gram, ids, instances):
    """Mean over anchors of the mean over positives, each against it and the other classes."""
    found = []
    for i, row in enumerate(gram / TAU):
        negatives = row[ids != ids[i]]
        positives = row[(ids == ids[i]) & (np.arange(len(row)) != i)]
        found.append(np.mean([log_sum([x, *negatives]) - x for x in positives]))
    return np.mean(found)


DEFINITIONS = {
    "SupContrast SupConLoss": supcontrast,
    "SupContrast SupConLoss without labels": supcontrast_without_labels,
    "pytorch-metric-learning SupConLoss": metric_learning_supcon,
    "pytorch-metric-learning NTXentLoss": metric_learning_nt_xent,
    "pytorch-metric-learning NTXentLoss of ids": metric_learning_nt_xent_of_ids,
    "lightly NTXentLoss": nt_xent,
    "solo-learn simclr_loss_func": solo_learn,
    "SimCLR nt_xent": simclr,
    "SINCERE SINCERELoss": sincere,
}


@pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda one: one.theirs)
def test_ours_times_the_factor_is_theirs(convention):
    shapes = [((2, 2), 2)]
    if convention.theirs in ("SupContrast SupConLoss", "pytorch-metric-learning SupConLoss"):
        shapes.append(((1, 3), 1))  # a row without a positive
    for sizes, num_views in shapes:
        structure = sx.ClassStructure(sizes, num_views)
        points = np.random.default_rng(1).normal(size=(structure.num_embeddings, 3))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        gram = points @ points.T
        theirs = DEFINITIONS[convention.theirs](gram, structure.class_ids, structure.instance_ids)
        ours = float(convention.ours(TAU).from_gram(gram, structure))
        assert convention.factor(structure, TAU, BASE) * ours == pytest.approx(theirs, abs=ROUNDING)
        assert convention.views in (None, structure.num_views)


def test_every_line_is_in_the_table():
    assert [one.theirs for one in CONVENTIONS] == list(DEFINITIONS)


def clip(logits):
    """The mean of the cross-entropies of rows and of columns."""
    rows = np.mean([log_sum(row) - row[i] for i, row in enumerate(logits)])
    return (rows + np.mean([log_sum(row) - row[i] for i, row in enumerate(logits.T)])) / 2


def siglip(logits):
    """-log sigmoid of ± the logits, summed over all and divided by the rows."""
    signs = 2 * np.eye(len(logits)) - 1
    return np.sum(np.log1p(np.exp(-signs * logits))) / len(logits)


TOWER_DEFINITIONS = {
    "open_clip ClipLoss": clip,
    "sentence-transformers MultipleNegativesSymmetricRankingLoss": clip,
    "open_clip SigLipLoss": siglip,
}


def value_of(terms, similarities):
    """Terms, at a similarity for each kind of pair."""
    at = {str(kind): similarities.get(kind.relation, 1.0) for kind in kinds_of(terms)}
    logs = [
        term.weight
        * log_sum([slot.log - slot.slope * (1 - at[str(slot.kind)]) for slot in term.slots])
        for term in terms.terms
    ]
    pulls = sum(pull * (1 - at[str(kind)]) for kind, pull in terms.pulls.items())
    return sum(logs) + pulls + terms.constant


def kinds_of(terms):
    return {slot.kind for term in terms.terms for slot in term.slots} | set(terms.pulls)


@pytest.mark.parametrize("tower", TOWERS, ids=lambda one: one.theirs)
def test_losses_of_two_towers_are_theirs(tower):
    count, scale, bias = 4, 1 / TAU, -2.0 if "Sig" in tower.theirs else 0.0
    between, matched = -0.2, 0.7
    logits = scale * (between + (matched - between) * np.eye(count)) + bias
    expected = TOWER_DEFINITIONS[tower.theirs](logits)
    terms = tower.ours(count, scale, bias)
    similarities = {"other·self": matched, "other·between": between}
    assert value_of(terms, similarities) == pytest.approx(expected, abs=ROUNDING)


def test_losses_by_name():
    assert named_loss("SupCL", 0.3, 0.5, mean="anchors") == sx.SupCL(0.5, 0.3, mean="anchors")
    for name, make in NAMES.items():
        assert type(named_loss(name.upper(), 0.3)) is type(make(0.3))
    for spelling in ("NT-Xent", "nt_xent", "ntxent"):
        assert str(named_loss(spelling, 0.3)) == str(sx.losses.info_nce(0.3))
    for arguments, message in [
        (
            ("triplet", 0.3),
            "the loss must be one of supcl, supcon, simclr, nt-xent, .* got 'triplet'",
        ),
        ((None, 0.3), "got None"),
        (("supcl", 0.3), "supcl needs alpha, the weight of L_self"),
        (
            ("supcon", 0.3, 0.5),
            "supcon has a temperature alone; leave alpha, self_pairs and mean out",
        ),
        (("dcl", 0.3, None, "exclude"), "dcl has a temperature alone"),
        (("sincere", -1), "temperature must be positive"),
    ]:
        with pytest.raises(ValueError, match=message):
            named_loss(*arguments)


def test_what_a_library_shows_of_a_loss():
    structure = sx.ClassStructure((2, 2), 2)
    assert scaled_elsewhere("supcon", structure, 0.1) == [
        ("SupContrast SupConLoss", pytest.approx(0.1 / 0.07))
    ]
    assert [factor for _, factor in scaled_elsewhere("NT_Xent", structure, 0.07)] == [2]
    assert scaled_elsewhere("supcl", structure, 0.1) == []
