r"""Whether collapsed classes are optimal: one number for each class size, and no variance.

Where every class is one point, what is left of a loss is a program over class means
(:func:`collapsed`). Its solution solves the whole program iff the dual matrix S of that is positive
semidefinite there; among instances of a class of n instances with p views, S has the eigenvalue

.. math:: r = \lambda + (p-1) h_\mathrm{view} - p \, h_\mathrm{within},

h the slope of the loss at one entry and λ the multiplier of the class. Instances of a class part
where its r is negative. r is a smooth function of α and τ, of which a threshold is a simple root;
variances leave 0 there like a square root or a kink, which no bisection sees sharply.
"""

from __future__ import annotations

from collections import Counter
from functools import reduce

import numpy as np

from ssem_jax.certificate.symmetry.algebra import beside, copies, point
from ssem_jax.certificate.symmetry.program import Program, minimised
from ssem_jax.certificate.symmetry.structures import classes
from ssem_jax.losses.terms import BETWEEN, SELF, VIEW, WITHIN, Kind, Slot, Terms
from ssem_jax.problem.structure import ClassStructure

BARRIER = 1e-11
"""ν at which class means are taken: they are that near to their optimum."""


def _merged(kind: Kind) -> Kind:
    """The kind of a pair where classes are points."""
    return kind._replace(relation=SELF) if kind.relation in (VIEW, WITHIN) else kind


def collapsed(terms: Terms) -> Terms:
    """A loss of classes, of class means alone."""

    def of(slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
        return tuple(slot._replace(kind=_merged(slot.kind)) for slot in slots)

    pulls: dict[Kind, float] = {}
    for kind, pull in terms.pulls.items():
        pulls[_merged(kind)] = pulls.get(_merged(kind), 0.0) + pull
    return Terms(
        tuple(term._replace(slots=of(term.slots)) for term in terms.terms),
        pulls,
        terms.constant,
        tuple(term._replace(slots=of(term.slots), pool=of(term.pool)) for term in terms.draws),
    )


def instance_slack(structure: ClassStructure, terms: Terms) -> dict[int, float]:
    """r of every class size of two instances or more, times N; negative where instances part.

    Args:
        structure: classes of any size.
        terms: a loss of the kinds of `classes(structure)`.
    """
    counts = sorted(Counter(structure.sizes).items(), reverse=True)
    means = reduce(
        lambda one, other: beside(one, other, BETWEEN),
        (copies(point(str(size)), number, BETWEEN) for size, number in counts),
    )
    program = Program(means, collapsed(terms))
    entries = program.entries(minimised(program, BARRIER))
    whole = Program(classes(structure), terms)
    algebra = whole.algebra
    x = np.array([entries.get(algebra.names[pair[0]], 1.0) for pair in algebra.orbits])
    slope = np.append(whole.slope(x) / algebra.orbit_sizes, 0.0)
    pairing = np.append(x, 0.0) * slope
    multipliers = -np.bincount(
        algebra.source, pairing[algebra.orbit_of] * algebra.valency, len(algebra.points)
    )

    def at(relation: str, fibre: str) -> float:
        kind = Kind(relation, fibre, fibre)
        return float(slope[algebra.orbit_of[algebra.colour(kind)]])

    found, p = {}, structure.num_views
    for multiplier, fibre in zip(multipliers.tolist(), algebra.fibres, strict=True):
        if int(fibre) > 1:
            of_views = (p - 1) * at(VIEW, fibre) if p > 1 else 0.0
            slack = multiplier + of_views - p * at(WITHIN, fibre)
            found[int(fibre)] = slack * algebra.num_points
    return found
