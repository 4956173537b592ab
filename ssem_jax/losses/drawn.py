r"""Random batches out of classes of any size, as means over draws.

Beside an anchor in a class of n of N instances, a batch of B puts B - 1 of the N - 1 others. What
L_self asks of it is one mean of log-sum-exps over draws, L_sup another: an anchor without a
positive counts nothing, and where pairs are averaged, a draw with k positives counts k times,
which is a draw of B - 2 beside the anchor and one of its class.

Nothing is listed: certificates compute such a mean as one integral
(:mod:`ssem_jax.certificate.symmetry`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from ssem_jax.losses import kinds
from ssem_jax.losses.terms import (
    BETWEEN,
    SELF,
    VIEW,
    WITHIN,
    Drawn,
    Kind,
    Slot,
    Term,
    Terms,
    softmax_slots,
)
from ssem_jax.problem.structure import ClassStructure


class _Anchors(NamedTuple):
    """Those of all classes of one size.

    Attributes:
        share: of all anchors.
        slots: what every denominator has, whatever is drawn.
        own: pairs within the class.
        view: pairs of views.
        size: n.
        pool: what one instance adds if it is drawn; of the class first, if there are others.
        counts: how many there are of each.
        some: the chance of a positive in the batch.
        mean: how many there are on average.
    """

    share: float
    slots: tuple[Slot, ...]
    own: Kind
    view: Kind
    size: int
    pool: tuple[Slot, ...]
    counts: tuple[int, ...]
    some: float
    mean: float


def _anchors(
    structure: ClassStructure,
    size: int,
    number: int,
    batch: int,
    against: Mapping[str, float],
    temperature: float,
) -> _Anchors:
    total, p = structure.total_instances, structure.num_views
    found = kinds.relations(structure, size)
    (self_kind,), (view,), (own,) = (found[name] for name in (SELF, VIEW, WITHIN))
    always = {self_kind: against[SELF], view: against[VIEW] * (p - 1)}
    others = {own: p * (size - 1), **found[BETWEEN]}
    pool = {kind: count // p for kind, count in others.items() if count}
    one = tuple(Slot(kind, math.log(p), 1 / temperature) for kind in pool)
    none = float(kinds.companions(total - 1, size - 1, batch - 1)[0])
    return _Anchors(
        size * number / total,
        softmax_slots(always, temperature),
        own,
        view,
        size,
        one,
        tuple(pool.values()),
        1 - none,
        (batch - 1) * (size - 1) / (total - 1),
    )


def _less(anchors: _Anchors) -> tuple[tuple[Slot, ...], tuple[int, ...]]:
    """The pool without one of the anchor's class."""
    left = (anchors.counts[0] - 1, *anchors.counts[1:])
    kept = [pair for pair in zip(anchors.pool, left, strict=True) if pair[1]]
    return tuple(slot for slot, _ in kept), tuple(count for _, count in kept)


def drawn_batch_terms(
    structure: ClassStructure,
    batch: int,
    alpha: float,
    temperature: float,
    self_pairs: str = "include",
    mean: str = "all",
) -> Terms:
    """The mean of SupCL over all batches of some number of instances, classes of any size.

    Args:
        structure: the data set; a batch has all views of its instances.
        batch: B ≥ 2 instances.
        alpha: α in [0, 1].
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple".
        mean: of L_sup, in `kinds.BATCH_MEANS`.

    Raises:
        ValueError: a hyper-parameter or a convention out of range, a batch larger than the data
            set, or classes of one instance each where α < 1.
    """
    batch = kinds.check_random_batch(structure, batch, alpha, temperature, mean)
    p, against = structure.num_views, kinds.denominator(self_pairs)
    own_self = 1 / p if self_pairs == "include" else 0.0
    every = [
        _anchors(structure, size, number, batch, against, temperature)
        for size, number in Counter(structure.sizes).items()
    ]
    counted = {"pairs": sum(of.share * of.mean for of in every), "all": 1.0}
    whole = counted.get(mean, sum(of.share * of.some for of in every))
    terms: list[Term] = []
    draws: list[Drawn] = []
    pulls: dict[Kind, float] = {}

    def add(weight: float, slots: tuple[Slot, ...], rest: tuple[Slot, ...], counts: tuple[int, ...],
            drawn: int, required: bool = False) -> None:  # fmt: skip
        if drawn:
            draws.append(Drawn(weight, slots, rest, counts, drawn, required))
        else:
            terms.append(Term(weight, slots))

    for of in every:
        if alpha > 0:
            add(alpha * of.share, of.slots, of.pool, of.counts, batch - 1)
            pulls[of.view] = (1 - own_self) * alpha * of.share / temperature
        if alpha == 1 or of.size == 1:
            continue
        if mean == "pairs":
            part = (1 - alpha) * of.share * of.mean / whole
            add(part, (*of.slots, of.pool[0]), *_less(of), batch - 2)
        else:
            add((1 - alpha) * of.share / whole, of.slots, of.pool, of.counts, batch - 1, True)
            part = (1 - alpha) * of.share * of.some / whole
        pulls[of.own] = part / temperature
    kept = {kind: pull for kind, pull in pulls.items() if pull}
    return Terms(tuple(terms), kept, draws=tuple(draws))
