"""The program that is left of a problem, and what is asked of it: quantities, and kinds by name.

A loss that says its terms also says what `roles` its embeddings play; a structure then gives the
algebra of their pairs. Whatever the algebra is, every colour lies within one relation of the class
structure: itself, a view, within a class, between classes. So the variances of classes, instances
and views are linear functions of the colour means, and are bracketed as such.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from jaxtyping import Float, Int

from ssem_jax.certificate import rounding
from ssem_jax.certificate.certificate import LOWEST, QUANTITIES
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.certificate.symmetry.algebra import Algebra
from ssem_jax.certificate.symmetry.bounds import (
    Level,
    Solved,
    solve_programs,
    upper_ends,
)
from ssem_jax.certificate.symmetry.colours import LISTED_LIMIT, common_closure, in_colours
from ssem_jax.certificate.symmetry.program import OrbitProgram, Program
from ssem_jax.certificate.symmetry.unsaid import UNSAID_LIMIT, UnsaidProgram
from ssem_jax.compute.kernels import one_thread
from ssem_jax.losses.base import PROVEN, GramLoss, convexity_of
from ssem_jax.losses.structured import RELATIONS, relation_matrix
from ssem_jax.losses.terms import (
    BETWEEN,
    CLASSES,
    LISTED,
    OTHER,
    SELF,
    TOWERS,
    VIEW,
    WITHIN,
    Kind,
    Terms,
    class_fibre,
)
from ssem_jax.problem.structure import ClassStructure

SIZES_LIMIT = 16
"""Kinds of classes up to which brackets are computed: k of them leave some k²/2 variables, and 16
take a second a cell."""


class Arrangement(NamedTuple):
    """The pairs of a structure in some roles.

    Attributes:
        algebra: of their colours.
        relations: of every colour to the class structure: self, view, within or between.
        sizes: (F,) instances of the class of every fibre.
        of_class: (m,) the fibre of every class, where these alone have fibres.
        parts: of a loss that is written out: its parts at τ = 1, in colours.
    """

    algebra: Algebra
    relations: tuple[str, ...]
    sizes: Int[np.ndarray, " F"]
    of_class: Int[np.ndarray, " m"] = np.zeros(0, int)
    parts: tuple[Terms, ...] = ()


def _relation_of(kind: Kind) -> str:
    """What a relation of classes, of towers or of indexed views is to the class structure."""
    named = kind.relation.split("·")
    return next((name for name in (WITHIN, BETWEEN) if name in named), "") or (
        VIEW if OTHER in named else kind.relation
    )


@functools.lru_cache(maxsize=256)
def _built(roles: str, structure: ClassStructure, merge: bool = True) -> Arrangement:
    pairs, sizes = ClassStructure(structure.sizes), structure.sizes
    if roles == CLASSES:
        algebra = built.classes(structure, merge=merge)
        names = [str(n) if merge else class_fibre(k) for k, n in enumerate(sizes)]
        of_class = np.array([algebra.fibres.index(name) for name in names])
        of_fibre = np.zeros(len(algebra.fibres), int)
        of_fibre[of_class] = sizes
        return Arrangement(algebra, _relations(algebra), of_fibre, of_class)
    if roles == TOWERS:
        algebra, beside = built.towers(built.classes(pairs), swap=True), 0
    else:
        algebra, beside = built.prototypes(tuple(n - 1 for n in sizes)), 1
    of_fibre = np.array([int(re.findall(r"\d+", fibre)[-1]) + beside for fibre in algebra.fibres])
    return Arrangement(algebra, _relations(algebra), of_fibre)


def _relations(algebra: Algebra) -> tuple[str, ...]:
    return tuple(map(_relation_of, algebra.names))


@functools.lru_cache(maxsize=32)
def _written(tree: Any, structure: ClassStructure) -> Arrangement:
    """Of a loss that is written out; what it depends on are its static choices."""
    loss = jax.tree.unflatten(tree, [np.nan] * tree.num_leaves)
    losses, relation = loss.written(structure), relation_matrix(structure)
    algebra, colours = common_closure(losses, relation)
    _, first = np.unique(colours, return_index=True)
    named = tuple(RELATIONS[k] for k in relation.ravel()[first])
    owners = first[algebra.diagonal] // len(colours)
    sizes = np.asarray(structure.sizes)[structure.class_ids[owners]]
    parts = tuple(in_colours(one, colours, algebra) for one in losses)
    return Arrangement(algebra, named, sizes, parts=parts)


def arranged(loss: GramLoss, structure: ClassStructure) -> Arrangement:
    """The pairs of a structure in the roles that a loss gives its embeddings.

    Raises:
        ValueError: the loss does not say its terms, and averages may raise it, or its embeddings
            are many; or it is written out, for more embeddings than colours are searched for.
    """
    if not (says_terms(loss) or is_averaged(loss, structure)):
        raise ValueError(
            f"{type(loss).__name__} does not say its terms, from which a program is made; SupCL "
            "does, and CrossModal, NormFace, KindContrast, Spread and means over batches in "
            f"ssem_jax.losses. Without them a loss has to be convex and symmetric, with up to "
            f"{UNSAID_LIMIT} embeddings. Use solve and certify."
        )
    if loss.roles == LISTED and says_terms(loss):
        return _written(jax.tree.structure(loss), structure)
    return _built(loss.roles, structure, loss.like_classes)


def says_terms(loss: GramLoss) -> bool:
    """Whether a loss says its terms, and they are proven to be its own."""
    known = loss.roles == LISTED or type(loss).terms is not GramLoss.terms
    return known and convexity_of(loss) == PROVEN


def is_averaged(loss: GramLoss, structure: ClassStructure) -> bool:
    """Whether a loss that does not say its terms is reduced by its Gram matrix."""
    few = structure.num_embeddings <= UNSAID_LIMIT
    return loss.convex and loss.symmetric and few and loss.roles == CLASSES


def num_kinds(loss: GramLoss, structure: ClassStructure) -> int:
    """Kinds of classes: sizes, unless every class plays a part of its own."""
    return len(set(structure.sizes)) if loss.like_classes else structure.num_classes


def has_program(loss: GramLoss, structure: ClassStructure) -> bool:
    """Whether the program of a loss is small enough to bracket its quantities."""
    small = structure.num_embeddings <= LISTED_LIMIT or loss.roles != LISTED
    known = (says_terms(loss) and small) or is_averaged(loss, structure)
    return known and num_kinds(loss, structure) <= SIZES_LIMIT


def program_of(
    loss: GramLoss, structure: ClassStructure, least: float | None = None
) -> OrbitProgram:
    """The program that symmetry leaves of one cell.

    Args:
        loss: with numbers for hyper-parameters.
        structure: the class structure.
        least: the least that similarities may be, if bounded.
    """
    arrangement = arranged(loss, structure)
    if not says_terms(loss):
        return UnsaidProgram(arrangement.algebra, arrangement.of_class, loss, structure, least)
    terms = _mixed(loss, arrangement.parts) if arrangement.parts else loss.terms(structure)
    return Program(arrangement.algebra, cast(Terms, terms), least)


def _mixed(loss: Any, parts: tuple[Terms, ...]) -> Terms:
    """The parts of a loss that is written out, as they count in one cell."""
    found = Terms((), {})
    for share, part in zip(loss.mixing, parts, strict=True):
        if share > 0:
            found = found + part.scaled(float(share))
    return found.at_temperature(float(loss.temperature))


class Functionals(NamedTuple):
    """Linear functions of the entries of orbits.

    Attributes:
        slopes: (K, O).
        constants: (K,).
    """

    slopes: Float[np.ndarray, "K O"]
    constants: Float[np.ndarray, " K"]


def _functionals(arrangement: Arrangement, weights: Float[np.ndarray, "K r"]) -> Functionals:
    """Of weights of colours: what the entries of all pairs of a colour count together."""
    algebra = arrangement.algebra
    slopes = np.zeros((len(weights), len(algebra.orbits) + 1))
    for colour, orbit in enumerate(algebra.orbit_of):
        slopes[:, orbit] += weights[:, colour]
    return Functionals(slopes[:, :-1], slopes[:, -1])


def quantities_of(arrangement: Arrangement, structure: ClassStructure) -> Functionals:
    """`QUANTITIES` as functions of the entries. Similarities are means over all pairs of a
    relation; 1 where there is none."""
    algebra, relations = arrangement.algebra, np.array(arrangement.relations)
    total, p = algebra.num_points, structure.num_views
    pairs = algebra.sizes / total
    weights = {
        "view_variance": -np.where(np.isin(relations, (SELF, VIEW)), pairs / p, 0) * (p > 1),
        "delta2": _instance_weights(arrangement, structure)[0],
        "mean_squared": pairs / total,
        "within_similarity": _mean_over(algebra, relations == WITHIN),
        "between_similarity": _mean_over(algebra, relations == BETWEEN),
    }
    slopes, constants = _functionals(arrangement, np.stack([weights[q] for q in QUANTITIES]))
    lone = {"view_variance": float(p > 1), "within_similarity": float(WITHIN not in relations)}
    return Functionals(slopes, constants + [lone.get(name, 0.0) for name in QUANTITIES])


def instance_variances(arrangement: Arrangement, structure: ClassStructure) -> Functionals:
    """δ² of all instances, and then of the classes of each fibre, as functions of the entries."""
    return _functionals(arrangement, _instance_weights(arrangement, structure))


def _instance_weights(
    arrangement: Arrangement, structure: ClassStructure
) -> Float[np.ndarray, "K r"]:
    """What a pair of a colour counts in δ²: the squared length of the mean of an instance, less
    that of the mean of its class."""
    algebra, relations = arrangement.algebra, np.array(arrangement.relations)
    of_instance = np.isin(relations, (SELF, VIEW)) / structure.num_views
    in_class = arrangement.sizes[algebra.source] * structure.num_views
    each = algebra.valency * (of_instance - (relations != BETWEEN) / in_class)
    mine = algebra.source == np.arange(len(algebra.points))[:, None]
    shares = algebra.points[algebra.source] / algebra.num_points
    return np.concatenate([[shares * each], mine * each])


def class_functionals(
    arrangement: Arrangement, structure: ClassStructure, products: bool
) -> tuple[Functionals, Int[np.ndarray, " K"]]:
    """δ² of every class, or the products of the means of any two, in row order.

    Classes of equal size have one functional, and so have pairs of them.

    Args:
        arrangement: of classes, instances and views.
        structure: their structure.
        products: of class means, instead of variances.

    Returns:
        The functionals, and which one is that of every class or pair.
    """
    algebra = arrangement.algebra
    fibres = arrangement.of_class
    if not products:
        found = instance_variances(arrangement, structure)
        return Functionals(found.slopes[1:], found.constants[1:]), fibres
    first, second = np.triu_indices(len(fibres), 1)
    apart = np.full((len(algebra.fibres),) * 2, -1)
    for colour in np.flatnonzero(np.array(arrangement.relations) == BETWEEN):
        apart[algebra.source[colour], algebra.target[colour]] = algebra.orbit_of[colour]
    plain = np.eye(len(algebra.orbits))
    return Functionals(plain, np.zeros(len(plain))), apart[fibres[first], fibres[second]]


def by_class(
    arrangement: Arrangement, numbers: Float[np.ndarray, " r"]
) -> tuple[Float[np.ndarray, "4 m"], Float[np.ndarray, "m m"]]:
    """Numbers of colours, by class and relation within it, and between classes; NaN where there is
    no such pair."""
    algebra, fibres = arrangement.algebra, arrangement.of_class
    table = np.full((len(RELATIONS), len(algebra.points), len(algebra.points)), np.nan)
    for colour, name in enumerate(algebra.names):
        pair = algebra.source[colour], algebra.target[colour]
        table[RELATIONS.index(name.relation), *pair] = numbers[colour]
    return table[:, fibres, fibres], table[-1][np.ix_(fibres, fibres)]


@one_thread()
def bracket_by_class(
    losses: GramLoss,
    structure: ClassStructure,
    levels: Float[np.ndarray, " B"],
    products: bool,
    least: float | None = None,
) -> tuple[Float[np.ndarray, "B K"], Float[np.ndarray, "B K"]]:
    """Outer bounds of :func:`class_functionals` for every cell; the other arguments are those of
    :func:`bracket_program`."""
    arrangement = arranged(losses, structure)
    every, place = class_functionals(arrangement, structure, products)
    used, place = np.unique(place, return_inverse=True)
    wanted = Functionals(every.slopes[used], every.constants[used])
    ends = bracketed(levels_of(losses, structure, levels, least), wanted)
    low, high = (side[:, place] for side in ends)
    return np.fmax(low, -1.0 if products else 0.0), np.fmin(high, 1)


def _mean_over(algebra: Algebra, chosen: np.ndarray) -> np.ndarray:
    counted = np.where(chosen, algebra.sizes, 0)
    return counted / max(int(counted.sum()), 1)


def similarity_of(arrangement: Arrangement, name: str) -> Functionals:
    """The mean similarity of the pairs of a kind.

    Args:
        arrangement: of the pairs.
        name: a kind, as "within (8)" or "between (8 to 4)"; a relation of the roles, as
            "other·within"; or one of the class structure: "view", "within" or "between".

    Raises:
        ValueError: there is no such pair.
    """
    algebra = arrangement.algebra
    apart = [algebra.orbit_of[c] >= 0 for c in range(algebra.num_colours)]
    names = (
        [str(kind) for kind in algebra.names],
        [kind.relation for kind in algebra.names],
        list(arrangement.relations),
    )
    for of_colours in names:
        chosen = np.array([one == name for one in of_colours]) & apart
        if chosen.any():
            return _functionals(arrangement, _mean_over(algebra, chosen)[None])
    known = dict.fromkeys(
        one for of in reversed(names) for one, is_apart in zip(of, apart, strict=True) if is_apart
    )
    raise ValueError(
        f"there are no pairs of the kind {name!r}; the kinds are {', '.join(list(known)[:16])}."
    )


def solved_cells(
    losses: GramLoss, structure: ClassStructure, size: int, least: float | None = None
) -> list[tuple[OrbitProgram, Solved]]:
    """The program of every cell, solved.

    Args:
        losses: the loss, with a batch axis on every leaf.
        structure: the class structure.
        size: the number of cells.
        least: the least that similarities may be, if bounded.
    """
    programs = []
    for cell in range(size):
        one = jax.tree.map(lambda leaf, cell=cell: np.asarray(leaf)[cell].tolist(), losses)
        programs.append(program_of(one, structure, least))
    return list(zip(programs, solve_programs(programs), strict=True))


def levels_of(
    losses: GramLoss,
    structure: ClassStructure,
    levels: Float[np.ndarray, " B"],
    least: float | None = None,
) -> list[Level]:
    """The level set of every cell; the arguments are those of :func:`bracket_program`."""
    cells = solved_cells(losses, structure, len(levels), least)
    return [
        Level(program, level, solved)
        for (program, solved), level in zip(cells, levels.tolist(), strict=True)
    ]


def bracketed(
    levels: Sequence[Level], functionals: Functionals
) -> tuple[Float[np.ndarray, "L K"], Float[np.ndarray, "L K"]]:
    """Outer bounds of functionals over level sets; of those that are multiples of one another, one
    is searched for."""
    slopes, constants = functionals
    sizes = np.abs(slopes).max(axis=1, initial=0.0)
    plain = np.where(sizes[:, None] > 0, slopes / np.where(sizes > 0, sizes, 1)[:, None], 0.0)
    both = np.concatenate([-plain, plain])
    wanted, place = np.unique(both, axis=0, return_inverse=True)
    ends = upper_ends(levels, wanted)[:, place.ravel()]
    low, high = -ends[:, : len(plain)], ends[:, len(plain) :]
    # Weights of colours, their sums and products; entries are at most 1.
    room = rounding.gamma(4 * slopes.shape[1] + 16) * (np.abs(constants) + np.abs(slopes).sum(1))
    room = np.where(sizes > 0, room, 0.0)
    return constants + sizes * low - room, constants + sizes * high + room


@one_thread()
def bracket_program(
    losses: GramLoss,
    structure: ClassStructure,
    levels: Float[np.ndarray, " B"],
    least: float | None = None,
) -> tuple[Float[np.ndarray, "B 5"], Float[np.ndarray, "B 5"]]:
    """Outer bounds of `QUANTITIES` for every cell of a loss that says its terms.

    Args:
        losses: the loss, with a batch axis on every leaf.
        structure: the class structure.
        levels: (B,) the loss up to which embeddings count; raised to the minimum.
        least: the least that similarities may be, if bounded.
    """
    arrangement = arranged(losses, structure)
    return quantity_ends(arrangement, structure, levels_of(losses, structure, levels, least))


def quantity_ends(
    arrangement: Arrangement, structure: ClassStructure, levels: Sequence[Level]
) -> tuple[Float[np.ndarray, "L 5"], Float[np.ndarray, "L 5"]]:
    """Outer bounds of `QUANTITIES`, within what they can be; the similarities of unequal classes
    have no one number."""
    functionals = quantities_of(arrangement, structure)
    if not structure.is_balanced:
        functionals = Functionals(functionals.slopes[:3], functionals.constants[:3])
    low, high = bracketed(levels, functionals)
    given = low.shape[1]
    whole_low, whole_high = np.tile(LOWEST, (len(low), 1)), np.ones((len(low), len(QUANTITIES)))
    whole_low[:, :given] = np.fmax(whole_low[:, :given], low)
    whole_high[:, :given] = np.fmin(1, high)
    return whole_low, whole_high


@one_thread()
def bracket_similarity(
    losses: GramLoss,
    structure: ClassStructure,
    levels: Float[np.ndarray, " B"],
    name: str,
    least: float | None = None,
) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, " B"]]:
    """Outer bounds of the mean similarity of the pairs of a kind, for every cell; the arguments are
    those of :func:`bracket_program` and :func:`similarity_of`."""
    arrangement = arranged(losses, structure)
    wanted = similarity_of(arrangement, name)
    ends = bracketed(levels_of(losses, structure, levels, least), wanted)
    low, high = (side[:, 0] for side in ends)
    return np.fmax(low, -1 if least is None else least), np.fmin(high, 1)
