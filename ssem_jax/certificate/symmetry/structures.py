"""The structures of contrastive learning, as algebras: what they cost depends on no N.

Relations are named "self", "view" (another view of the instance), "within" (another instance of the
class) and "between" (another class); fibres by the size of the class, so that equal sizes are one.
Of two towers a relation is named by both parts: "other·self" is the matched pair.
"""

from __future__ import annotations

from collections import Counter
from functools import reduce

from ssem_jax.certificate.symmetry.algebra import Algebra, beside, copies, point, product
from ssem_jax.losses.terms import BETWEEN, FEATURE, OTHER, PROTOTYPE, VIEW, WITHIN, class_fibre
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import check_count


def points(number: int) -> Algebra:
    """Points of which any two play the same part: instances without labels, designs."""
    return copies(point(), check_count("the number of points", number, 1), BETWEEN)


def classes(structure: ClassStructure, *, merge: bool = True) -> Algebra:
    """Classes, instances and views; classes of equal size play equal parts.

    Args:
        structure: sizes and views.
        merge: if False, every class plays a part of its own, for losses that weigh classes; its
            fibre is then named by its number.
    """
    check_structure(structure)

    def block(fibre: str, size: int) -> Algebra:
        return copies(copies(point(fibre), structure.num_views, VIEW), size, WITHIN)

    if merge:
        counts = sorted(Counter(structure.sizes).items(), reverse=True)
        kinds = [copies(block(str(size), size), count, BETWEEN) for size, count in counts]
    else:
        kinds = [block(class_fibre(number), size) for number, size in enumerate(structure.sizes)]
    return reduce(lambda one, other: beside(one, other, BETWEEN), kinds)


def indexed_views(structure: ClassStructure) -> Algebra:
    """Classes and instances, and views that have an index: "within·self" are views of one index."""
    check_structure(structure)
    single = ClassStructure(structure.sizes)
    return product(classes(single), copies(point(), structure.num_views, OTHER))


def towers(one: Algebra, *, swap: bool) -> Algebra:
    """Two towers, each of which embeds every point of a structure.

    Args:
        one: the structure of the pairs, as :func:`points` or :func:`classes`.
        swap: whether the loss is unchanged when towers are exchanged; fibres are then not named
            after them.
    """
    two = copies(point(), 2, OTHER) if swap else beside(point("a"), point("b"), OTHER)
    return product(two, one)


def prototypes(sizes: tuple[int, ...], *, merge: bool = True) -> Algebra:
    """One prototype for each class beside its features.

    "within" relates a prototype and the features of its class, or two of these. Fibres are named
    "prototype 5" and "feature 5" after the size of the class.

    Args:
        sizes: features of every class.
        merge: if False, every class plays a part of its own, and fibres have its number instead.
    """
    sizes = tuple(check_count("every class size", size, 1) for size in sizes)

    def block(label: int, size: int) -> Algebra:
        features = copies(point(f"{FEATURE} {label}"), size, WITHIN)
        return beside(point(f"{PROTOTYPE} {label}"), features, WITHIN)

    if merge:
        counts = sorted(Counter(sizes).items(), reverse=True)
        kinds = [copies(block(size, size), count, BETWEEN) for size, count in counts]
    else:
        kinds = [block(number, size) for number, size in enumerate(sizes)]
    return reduce(lambda one, other: beside(one, other, BETWEEN), kinds)
