r"""Losses over kinds of pairs: classes, two towers, prototypes, random batches, in closed sums.

Every function says a loss by its terms (:mod:`.terms`), over the kinds that the structures of
:mod:`ssem_jax.certificate.symmetry` have. What it costs depends on no N.

**Contrast by kind** is one family: an anchor has denominators and positives, both weighted by the
relation of a pair. From it SupCL, SupCon, DCL, DHEL, NSCL and L_spread are made by their weights.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ssem_jax.losses.terms import (
    BETWEEN,
    FEATURE,
    OTHER,
    PROTOTYPE,
    SELF,
    VIEW,
    WITHIN,
    Kind,
    Slot,
    Term,
    Terms,
    class_fibre,
    softmax_slots,
)
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import (
    check_choice,
    check_count,
    check_mixing,
    check_temperature,
    shown,
)

BATCH_MEANS = ("all", "anchors", "pairs")
"""Of L_sup over random batches: over all anchors, those without a positive counting 0; over those
that have one; or over all positive pairs; each of all batches together."""
LEAST_PROBABILITY = 1e-30
"""Compositions of a batch that are rarer than this are left out: their part of the loss is rounding
many times over."""


class Contrast(NamedTuple):
    """Terms of a loss whose anchors and pairs count by the relations of pairs.

    .. math:: \\Omega \\Bigl[\\log \\sum_k c_k e^{(G_k - 1)/\\tau}
              + \\sum_k \\pi_k (1 - G_k) / \\tau\\Bigr]

    Attributes:
        share: Ω, of all anchors together.
        against: the weight of a pair of each relation in the denominator.
        positives: π of each relation, of all its pairs together.
    """

    share: Any
    against: Mapping[str, Any]
    positives: Mapping[str, Any]


def relations(
    structure: ClassStructure, size: int, alone: int | None = None
) -> dict[str, dict[Kind, int]]:
    """How many pairs of every kind an anchor in a class of some size has, by relation; its number
    is given where every class plays a part of its own."""
    p, counts, fibre = structure.num_views, Counter(structure.sizes), str(size)
    others = {str(other): other * (count - (other == size)) for other, count in counts.items()}
    if alone is not None:
        fibre = class_fibre(alone)
        others = {class_fibre(k): n * (k != alone) for k, n in enumerate(structure.sizes)}
    between = {Kind(BETWEEN, fibre, other): p * count for other, count in others.items()}
    return {
        SELF: {Kind(SELF, fibre, fibre): 1},
        VIEW: {Kind(VIEW, fibre, fibre): p - 1},
        WITHIN: {Kind(WITHIN, fibre, fibre): p * (size - 1)},
        BETWEEN: {kind: count for kind, count in between.items() if count},
    }


def of_fibre(
    contrast: Contrast, counts: Mapping[str, Mapping[Kind, int]], temperature: float
) -> Terms:
    """The terms of anchors of one fibre."""
    if contrast.share == 0:
        return Terms((), {})
    against: dict[Kind, float] = {}
    for relation, weight in contrast.against.items():
        for kind, count in counts[relation].items():
            against[kind] = against.get(kind, 0.0) + weight * count
    pulls: dict[Kind, float] = {}
    for relation, pull in contrast.positives.items():
        number = sum(counts[relation].values())
        if relation == SELF or pull == 0:
            continue
        if not number:
            raise ValueError(
                f"a positive of relation {relation!r} has weight {pull:g}, and there is no such "
                "pair; leave it out or add instances or views."
            )
        for kind, count in counts[relation].items():
            part = contrast.share * pull * count / number / temperature
            pulls[kind] = pulls.get(kind, 0.0) + part
    slots = softmax_slots(against, temperature)
    # Positives that do not sum to 1 leave a multiple of 1/τ, as a log-sum-exp of G - 1 does.
    rest = contrast.share * (1 - math.fsum(contrast.positives.values())) / temperature
    return Terms((Term(contrast.share, slots),), pulls, rest)


def contrast_by_kind(
    structure: ClassStructure, contrasts: Iterable[Contrast], temperature: float
) -> Terms:
    """A loss whose pairs count by their relations; shares are split evenly among all anchors.

    Args:
        structure: classes and views; of the kinds of `certificate.symmetry.classes`.
        contrasts: terms, of relations "self", "view", "within", "between".
        temperature: τ > 0.

    Raises:
        ValueError: a negative weight, a relation that there is not, or a positive without pairs.
    """
    check_structure(structure)
    check_temperature(temperature)
    found, sizes = Terms((), {}), Counter(structure.sizes)
    for contrast in contrasts:
        _check_contrast(contrast, (SELF, VIEW, WITHIN, BETWEEN))
        for size, count in sizes.items():
            share = contrast.share * size * count / structure.total_instances
            part = contrast._replace(share=share)
            found = found + of_fibre(part, relations(structure, size), temperature)
    return found


def _check_contrast(contrast: Contrast, known: tuple[str, ...]) -> None:
    for relation in {*contrast.against, *contrast.positives} - {*known}:
        raise ValueError(f"relations are {', '.join(known)}; got {shown(relation)}.")
    if min(contrast.against.values(), default=0) < 0:
        raise ValueError(
            f"weights in a denominator must not be negative; got {shown(dict(contrast.against))}."
        )


def denominator(self_pairs: str) -> dict[str, float]:
    """What a pair of each relation weighs in the denominator of SupCL."""
    return {
        SELF: float(self_pairs == "include"),
        VIEW: float(self_pairs != "decouple"),
        WITHIN: 1.0,
        BETWEEN: 1.0,
    }


def supcl_terms(
    structure: ClassStructure,
    alpha: float,
    temperature: float,
    self_pairs: str = "include",
    mean: str = "pairs",
) -> Terms:
    """:class:`ssem_jax.SupCL` by its terms.

    Args:
        structure: classes of any size and views.
        alpha: α in [0, 1].
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple".
        mean: over "pairs", over "anchors" that have a positive, or over "all" anchors, of which
            those without a positive count 0.

    Raises:
        ValueError: a hyper-parameter or a convention out of range, or a term without positives.
    """
    check_structure(structure)
    check_mixing(alpha)
    check_temperature(temperature)
    check_choice("self_pairs", self_pairs, ("include", "exclude", "decouple"))
    check_choice("mean", mean, ("pairs", "anchors", "all"))
    p, found, against = structure.num_views, Terms((), {}), denominator(self_pairs)
    sizes = Counter(structure.sizes)
    whole = sum(
        n * count * ((n - 1) if mean == "pairs" else (n > 1 or mean == "all"))
        for n, count in sizes.items()
    )
    if alpha < 1 and max(sizes) == 1:
        raise ValueError(
            "L_sup has no positive pair: every class has one instance, and "
            f"alpha = {float(alpha):g}. Use alpha = 1 or more instances per class."
        )
    if self_pairs != "include" and p == 1 and alpha > 0:
        raise ValueError(
            "num_views must be at least 2 when alpha > 0 and self pairs are "
            f"{self_pairs}d; got 1. Use alpha = 0, add views, or include self pairs."
        )
    own_self = 1 / p if self_pairs == "include" else 0.0
    for n, count in sizes.items():
        part = (n - 1) if mean == "pairs" else float(n > 1)
        sup = (1 - alpha) * n * count * part / whole if alpha < 1 else 0.0
        own = alpha * n * count / structure.total_instances
        if sup + own > 0:
            positives = {
                WITHIN: sup / (sup + own),
                SELF: own_self * own / (sup + own),
                VIEW: (1 - own_self) * own / (sup + own),
            }
            counts = relations(structure, n)
            found = found + of_fibre(Contrast(sup + own, against, positives), counts, temperature)
    return found


def sincere_terms(structure: ClassStructure, temperature: float) -> Terms:
    """:class:`ssem_jax.losses.Sincere` by its terms: of every kind of positives one, which stands
    alone against the other classes.

    Args:
        structure: classes of any size and views.
        temperature: τ > 0.
    """
    check_temperature(temperature)
    p, found, sizes = structure.num_views, Terms((), {}), Counter(structure.sizes)
    anchors = sum(n * count for n, count in sizes.items() if n * p > 1)
    for n, count in sizes.items():
        counts = relations(structure, n)
        for relation in (VIEW, WITHIN):
            if pairs := sum(counts[relation].values()):
                share = n * count * pairs / (n * p - 1) / anchors
                against = {relation: 1 / pairs, BETWEEN: 1.0}
                contrast = Contrast(share, against, {relation: 1.0})
                found = found + of_fibre(contrast, counts, temperature)
    return found


def spread_terms(structure: ClassStructure, share: float, temperature: float) -> Terms:
    r"""L_spread as its released code computes it: attract to a class, spread within it.

    .. math:: (1-a) \operatorname{mean}_{j \in \text{class}} \log
              \frac{e^{G_{ij}/\tau} + \sum_{k \notin \text{class}} e^{G_{ik}/\tau}}{e^{G_{ij}/\tau}}
              + a \log \frac{\sum_{k \in \text{class}} e^{G_{ik}/\tau}}{e^{1/\tau}}

    j runs over the class with i itself; one view.

    Args:
        structure: classes of equal size with one view.
        share: a in [0, 1].
        temperature: τ > 0.

    Raises:
        ValueError: several views, classes that differ in size, a share outside [0, 1].

    References:
        Chen, Fu, Narayan, Zhang, Song, Fatahalian and Ré (ICML 2022, arXiv:2204.07596).
    """
    check_mixing(share)
    _, n, p = structure.counts
    if p != 1:
        raise ValueError(f"L_spread has a form of its own for 1 view; got {p}.")
    contrasts = spread_contrasts(n, share, 1 / max(n - 1, 1))
    return contrast_by_kind(structure, contrasts if n > 1 else contrasts[:2], temperature)


def spread_contrasts(n: Any, share: Any, each: Any) -> list[Contrast]:
    """L_spread as contrasts by kind; the last one is of other instances of the class.

    Args:
        n: instances of a class.
        share: a.
        each: 1/(n-1), or any number where there are none.
    """
    return [
        Contrast((1 - share) / n, {SELF: 1.0, BETWEEN: 1.0}, {SELF: 1.0}),
        Contrast(share, {SELF: 1.0, WITHIN: 1.0}, {SELF: 1.0}),
        Contrast((1 - share) * (n - 1) / n, {WITHIN: each, BETWEEN: 1.0}, {WITHIN: 1.0}),
    ]


# -------------------------------------------------------------------------------------- two towers


def two_tower_terms(number: int, temperature: float) -> Terms:
    """InfoNCE of pairs of an image and its text, both ways: CLIP; of `towers(points(number))`.

    Args:
        number: K ≥ 2 pairs.
        temperature: τ > 0.
    """
    check_count("the number of pairs", number, 2)
    matched, others = Kind(f"{OTHER}·{SELF}"), Kind(f"{OTHER}·{BETWEEN}")
    slots = softmax_slots({matched: 1, others: number - 1}, temperature)
    return Terms((Term(1.0, slots),), {matched: 1 / temperature})


def two_tower_sigmoid_terms(number: int, scale: float, bias: float) -> Terms:
    r"""The sigmoid loss of two towers: log(1 + e^{∓(t s - b)}) summed over pairs, per row.

    Args:
        number: K ≥ 2 pairs.
        scale: t > 0.
        bias: b, subtracted; a published bias is -b.
    """
    check_count("the number of pairs", number, 2)
    matched, others = Kind(f"{OTHER}·{SELF}"), Kind(f"{OTHER}·{BETWEEN}")

    def softplus(kind: Kind, sign: float, weight: float) -> Term:
        one = Slot(Kind(SELF), 0.0, 0.0)
        return Term(weight, (one, Slot(kind, sign * (scale - bias), sign * scale)))

    return Terms((softplus(matched, -1.0, 1.0), softplus(others, 1.0, number - 1.0)), {})


def cross_modal_terms(structure: ClassStructure, alpha: float, temperature: float) -> Terms:
    """SupCL of two towers: an anchor against all of the other tower, its match weighing α.

    Of `towers(classes(structure), swap=True)`.

    Args:
        structure: classes of equal size of pairs; one view.
        alpha: α in [0, 1], of the matched pair; others of the class share the rest.
        temperature: τ > 0.

    Raises:
        ValueError: several views, or classes that differ in size.
    """
    check_mixing(alpha)
    m, n, p = structure.counts
    if p != 1:
        raise ValueError(f"two towers embed each pair once; got num_views = {p}.")
    fibre = str(n)
    matched, within, between = (
        Kind(f"{OTHER}·{relation}", fibre, fibre) for relation in (SELF, WITHIN, BETWEEN)
    )
    counts = {matched: 1, within: n - 1, between: n * (m - 1)}
    pulls = {matched: alpha / temperature, within: (1 - alpha) / temperature}
    if n == 1:
        pulls = {matched: 1 / temperature}
    return Terms((Term(1.0, softmax_slots(counts, temperature)),), pulls)


# -------------------------------------------------------------------------------------- prototypes


def prototype_terms(sizes: tuple[int, ...], temperature: float) -> Terms:
    """Cross-entropy of normalised features with one normalised prototype for each class: NormFace.

    Of `prototypes(sizes)`.

    Args:
        sizes: features of every class.
        temperature: τ > 0.

    References:
        Wang, Xiang, Cheng and Yuille (ACM MM 2017, arXiv:1704.06369).
    """
    counts, total = Counter(sizes), sum(sizes)
    terms, pulls = [], {}
    for n, count in counts.items():
        feature, share = f"{FEATURE} {n}", n * count / total
        own = Kind(WITHIN, feature, f"{PROTOTYPE} {n}")
        against = {own: 1} | {
            Kind(BETWEEN, feature, f"{PROTOTYPE} {k}"): number - (k == n)
            for k, number in counts.items()
        }
        terms.append(Term(share, softmax_slots(against, temperature)))
        pulls[own] = share / temperature
    return Terms(tuple(terms), pulls)


# ---------------------------------------------------------------------------------- random batches


def stratified_terms(
    structure: ClassStructure,
    batch: tuple[int, int],
    alpha: float,
    temperature: float,
    self_pairs: str = "include",
) -> Terms:
    """The mean of SupCL over all batches of some classes with some instances each.

    Args:
        structure: the data set, classes of equal size.
        batch: (classes, instances of each) in a batch.
        alpha: α in [0, 1].
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple".

    Raises:
        ValueError: a batch that the data set does not hold.
    """
    m, n, p = structure.counts
    in_batch = ClassStructure.balanced(*batch, p)
    (m_b, n_b), fibre = batch, str(n)
    if m_b > m or n_b > n:
        raise ValueError(
            f"a batch of {m_b} classes with {n_b} instances each is not in {structure}."
        )
    renamed = supcl_terms(in_batch, alpha, temperature, self_pairs)

    def kind(old: Kind) -> Kind:
        return Kind(old.relation, fibre, fibre)

    terms = tuple(
        Term(term.weight, tuple(slot._replace(kind=kind(slot.kind)) for slot in term.slots))
        for term in renamed.terms
    )
    pulls = {kind(old): pull for old, pull in renamed.pulls.items()}
    return Terms(terms, pulls, renamed.constant)


def companions(total: int, own: int, drawn: int) -> np.ndarray:
    """(drawn + 1,) probability of k of one's own class among some drawn without replacement.

    Hypergeometric: `drawn` of `total` others, of which `own` are of the class; products of ratios
    from the likeliest k, so that every probability is right to some hundred roundings.
    """
    k = np.arange(drawn)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (own - k) * (drawn - k) / ((k + 1) * (total - own - drawn + k + 1.0))
    least, most = max(0, drawn - (total - own)), min(own, drawn)
    mode = min(max((drawn + 1) * (own + 1) // (total + 2), least), most)
    found = np.zeros(drawn + 1)
    found[mode] = 1
    found[mode + 1 : most + 1] = np.cumprod(ratios[mode:most])
    found[least:mode] = np.cumprod(1 / ratios[least:mode][::-1])[::-1]
    return found / found.sum()


def check_random_batch(
    structure: ClassStructure, batch: int, alpha: float, temperature: float, mean: str
) -> int:
    """The size of a random batch, B ≥ 2.

    Raises:
        ValueError: a hyper-parameter or a convention out of range, a batch larger than the data
            set, or one that never has a positive.
    """
    check_mixing(alpha)
    check_temperature(temperature)
    check_choice("mean", mean, BATCH_MEANS)
    batch = check_count("a batch", batch, 2)
    if batch > structure.total_instances:
        raise ValueError(f"a batch of {batch} instances is larger than {structure}.")
    if max(structure.sizes) == 1 and alpha < 1:
        raise ValueError("L_sup has no positive pair in any batch; use alpha = 1.")
    return batch


def random_batch_terms(
    structure: ClassStructure,
    batch: int,
    alpha: float,
    temperature: float,
    self_pairs: str = "include",
    mean: str = "all",
) -> Terms:
    """The mean of SupCL over all batches of some number of instances, as a sum over compositions.

    An anchor meets k others of its class, hypergeometric, and batch-1-k of other classes.

    Args:
        structure: the data set, classes of equal size; a batch has all views of its instances.
        batch: B ≥ 2 instances.
        alpha: α in [0, 1].
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple".
        mean: of L_sup, in `BATCH_MEANS`.

    Raises:
        ValueError: a batch larger than the data set, or that never has a positive.
    """
    m, n, p = structure.counts
    batch = check_random_batch(structure, batch, alpha, temperature, mean)
    against, kinds = denominator(self_pairs), relations(structure, n)
    (self_kind,), (view,), (within,), (between,) = (kinds[k] for k in (SELF, VIEW, WITHIN, BETWEEN))
    chances = companions(m * n - 1, n - 1, batch - 1)
    counted = {"all": 1.0, "anchors": 1 - float(chances[0])}
    pairs = float(chances @ np.arange(batch))
    own_self = 1 / p if self_pairs == "include" else 0.0
    terms, sup_total = [], 0.0
    for k, chance in enumerate(chances.tolist()):
        part = k / pairs if mean == "pairs" else (k > 0) / counted[mean]
        sup = (1 - alpha) * part
        weight = chance * (sup + alpha)
        if chance <= LEAST_PROBABILITY or weight == 0:
            continue
        counts = {
            self_kind: against[SELF],
            view: against[VIEW] * (p - 1),
            within: p * k,
            between: p * (batch - 1 - k),
        }
        terms.append(Term(weight, softmax_slots(counts, temperature)))
        sup_total += chance * sup
    pulls = {within: sup_total / temperature, view: (1 - own_self) * alpha / temperature}
    return Terms(tuple(terms), {kind: pull for kind, pull in pulls.items() if pull})
