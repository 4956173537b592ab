r"""Losses that say their terms: log-sum-exps over kinds of pairs, and linear pulls.

.. math::
   L(G) = \sum_t \Omega_t \log \sum_{s \in t} c_s e^{-\varsigma_s (1 - G_{k(s)})}
          + \sum_k W_k (1 - G_k) + \text{constant}

k runs over **kinds of pairs**: which fibre of points a pair leads from and to, and how both are
related. Where a loss is unchanged by the permutations that keep kinds, or by what stands in their
place (:mod:`ssem_jax.certificate.symmetry`), an optimum has one entry for each kind, and this form
is all that is left of the loss. A term t stands for all terms of one type, of total weight Ω_t; a
slot s for all entries of a kind that count alike in it, of total weight c_s.

Written with 1 - G, the numbers that survive at an optimum are as small as the loss itself. For a
softmax of positives and denominators the constant is 0: -log softmax is what it was.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

from ssem_jax.problem.validation import shown

SELF, VIEW, WITHIN, BETWEEN, OTHER = "self", "view", "within", "between", "other"
"""Relations: a point and itself, a view of its instance, an instance of its class, another class;
and another tower or view index, in relations of two parts such as "other·self"."""
PROTOTYPE, FEATURE = "prototype", "feature"
"""Fibres of classifier weights and of what they are compared with."""

CLASSES, TOWERS, PROTOTYPES, LISTED = "classes", "towers", "prototypes", "listed"
ROLES = (CLASSES, TOWERS, PROTOTYPES, LISTED)
"""What parts the embeddings of a structure play: instances and views of classes; two towers, which
are the two views of every instance; a prototype of each class, which is its first instance, beside
its features; or what a list of batches makes of them."""


class Kind(NamedTuple):
    """A kind of pairs: how the second point is related to the first.

    Attributes:
        relation: as "self", "view", "within", "between".
        source: the fibre of the first point; "" where there is one fibre of no name.
        target: the fibre of the second point.
    """

    relation: str
    source: str = ""
    target: str = ""

    def __str__(self) -> str:
        fibres = f"{self.source} to {self.target}" if self.source != self.target else self.source
        return f"{self.relation} ({fibres})" if fibres else self.relation


def class_fibre(number: int) -> str:
    """The name of the points of a class that plays a part of its own."""
    return f"class {number}"


class Slot(NamedTuple):
    """Entries of a kind that count alike in a term.

    Attributes:
        kind: of pairs; those of relation "self" are 1.
        log: log c of their total weight c.
        slope: ς, of any sign; 1/τ in a softmax.
    """

    kind: Kind
    log: float
    slope: float


class Term(NamedTuple):
    """All terms of one type.

    Attributes:
        weight: Ω ≥ 0, of all of them together.
        slots: one at least.
    """

    weight: float
    slots: tuple[Slot, ...]


class Drawn(NamedTuple):
    """All terms of one type that differ by what a random batch has put into them.

    The mean of log-sum-exps over all draws without replacement from a pool.

    Attributes:
        weight: Ω ≥ 0, of all of them together.
        slots: what every one has.
        pool: what one of each kind adds if it is drawn.
        counts: how many of each kind there are, one at least.
        drawn: how many are drawn, one at least.
        required: whether those draws count 0 that have none of the first kind.
    """

    weight: float
    slots: tuple[Slot, ...]
    pool: tuple[Slot, ...]
    counts: tuple[int, ...]
    drawn: int
    required: bool = False


@dataclasses.dataclass(frozen=True)
class Terms:
    """A convex loss by its terms.

    Args:
        terms: of log-sum-exps.
        pulls: W of every kind, of any sign.
        constant: what is added.
        draws: means of log-sum-exps over random draws.

    Raises:
        ValueError: a weight that is negative or not finite, or a term without slots.
    """

    terms: tuple[Term, ...]
    pulls: Mapping[Kind, float]
    constant: float = 0.0
    draws: tuple[Drawn, ...] = ()

    def __post_init__(self) -> None:
        for term in (*self.terms, *self.draws):
            if not (term.weight >= 0 and math.isfinite(term.weight)):
                raise ValueError(
                    "the weight of a term must be finite and not negative, or the loss is not "
                    f"convex; got {shown(term.weight)}."
                )
            if not (term.slots or isinstance(term, Drawn)):
                raise ValueError("a term needs a slot: the log-sum-exp of nothing is -∞.")

    def __add__(self, other: Terms) -> Terms:
        """The sum of two losses."""
        pulls = dict(self.pulls)
        for kind, pull in other.pulls.items():
            pulls[kind] = pulls.get(kind, 0.0) + pull
        constant = self.constant + other.constant
        return Terms(self.terms + other.terms, pulls, constant, self.draws + other.draws)

    def scaled(self, factor: float) -> Terms:
        """The loss times a factor that is not negative."""
        terms = tuple(Term(factor * term.weight, term.slots) for term in self.terms)
        pulls = {kind: factor * pull for kind, pull in self.pulls.items()}
        draws = tuple(term._replace(weight=factor * term.weight) for term in self.draws)
        return Terms(terms, pulls, factor * self.constant, draws)

    def at_temperature(self, temperature: float) -> Terms:
        """A loss that is written at τ = 1, at another τ."""
        slope = 1 / temperature

        def steeper(slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
            return tuple(slot._replace(slope=slope * slot.slope) for slot in slots)

        terms = tuple(Term(weight, steeper(slots)) for weight, slots in self.terms)
        pulls = {kind: slope * pull for kind, pull in self.pulls.items()}
        draws = tuple(
            term._replace(slots=steeper(term.slots), pool=steeper(term.pool)) for term in self.draws
        )
        return Terms(terms, pulls, slope * self.constant, draws)


def softmax_slots(counts: Mapping[Kind, float], temperature: float) -> tuple[Slot, ...]:
    """The slots of a denominator, from how many entries of each kind (weights included) it has."""
    slope = 1 / temperature
    return tuple(Slot(kind, math.log(c), slope) for kind, c in counts.items() if c > 0)
