"""Embeddings and labels as they come, brought into the order of a structure.

People have (B, p, d) arrays, rows by instance or by view, one label a row or one an instance, ids
of instances, and rows without a label. All of it is understood or refused here, before anything is
computed, in the numbering of whoever gave it; what was understood is said in words.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ssem_jax.problem.labels import (
    class_codes,
    described,
    label_vector,
    missing_word,
    of_one_kind,
    unlabeled_rows,
)
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import as_array, check_choice, check_count, check_rows

ORDERS = ("instance", "view")
"""Of rows: the views of an instance together, or all instances of a view together, which is what
``torch.cat(torch.unbind(features, dim=1))`` makes of a (B, p, d) array."""
UNLABELED = -1
"""The label of unlabelled rows by custom."""
BOTH_SIGNS = {"-1", "1"}
"""Two classes by another custom."""
LISTED = 3
"""Rows that a message lists."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """Labelled embeddings, in the order of their structure.

    Attributes:
        points: (N, d) in float64, ordered by class, instance and view.
        structure: classes, in the sorted order of their labels, instances and views.
        rows: (N,) where each stood in what was given; of a (B, p, d) array, view v of instance b
            is row b·p + v.
        words: what was understood, line by line.
    """

    points: Float[np.ndarray, "N d"]
    structure: ClassStructure
    rows: Int[np.ndarray, " N"]
    words: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Labels:
    """Labels as numbers of their classes; see :func:`classify`.

    Attributes:
        classes: (m,) in sorted order.
        codes: (L,) the class of every label; -1 where a row is left out.
        words: what was understood, line by line.
    """

    classes: np.ndarray
    codes: Int[np.ndarray, " L"]
    words: tuple[str, ...]


def classify(labels: Any, unlabeled: str | None = None, unlabeled_label: Any = UNLABELED) -> Labels:
    """Labels of any kind as numbers of classes.

    Args:
        labels: one for each row or instance, some of which may be missing.
        unlabeled: "drop" rows that carry no label or `unlabeled_label`, or "keep" them as a class;
            None: refuse them.
        unlabeled_label: the label that means none. -1 beside 1 alone is a label as any other.

    Raises:
        ValueError: no vector of labels, labels of different kinds, and unlabelled rows of which it
            is not said what they are.
    """
    if unlabeled is not None:
        check_choice("unlabeled", unlabeled, ("drop", "keep"))
    given = label_vector(labels)
    missing = unlabeled_rows(given)
    known = np.flatnonzero(~missing)
    values = of_one_kind(given[known], known) if len(known) else given[:0]
    classes, of_known, _ = class_codes(values)
    codes = np.full(len(given), len(classes))
    codes[known] = of_known
    without = missing.copy()
    without[known] = values.astype(str) == str(unlabeled_label)
    if unlabeled is None and missing.any():
        raise ValueError(_undecided(missing, missing_word(given, missing)))
    if unlabeled is None and without.any() and set(classes.astype(str)) != BOTH_SIGNS:
        raise ValueError(_undecided(without, f"{unlabeled_label}, which often means unlabelled"))
    if unlabeled == "drop" and without.any():
        codes[without] = -1
        present, inverse = np.unique(codes[~without], return_inverse=True)
        codes[~without] = inverse
        classes = classes[present]
        said = (f"{without.sum()} of {len(given)} without a label are left out",)
    else:
        classes = np.array([*classes.tolist(), None], object) if missing.any() else classes
        said = ()
    counts = np.bincount(codes[codes >= 0], minlength=len(classes))
    return Labels(classes, codes, (described(classes, counts), *said))


def read_batch(
    embeddings: Any,
    labels: Any,
    *,
    num_views: int = 1,
    view_order: str | None = None,
    instance_ids: Any = None,
    unlabeled: str | None = None,
    unlabeled_label: Any = UNLABELED,
) -> Batch:
    """Labelled embeddings, in the order of their structure.

    Args:
        embeddings: (N, d), or (B, p, d) with p views of each of B instances.
        labels: one for each row or each instance, as :func:`classify` takes them.
        num_views: p; of a (B, p, d) array and of ids it is found.
        view_order: of (N, d) rows: the views of an "instance" are adjacent, or all instances of a
            "view" are. Labels for each row may do without it, and are then taken by instance.
        instance_ids: (N,) ids, equal for the views of an instance; rows in any order.
        unlabeled: as for :func:`classify`.
        unlabeled_label: as for :func:`classify`.

    Raises:
        ValueError: what cannot be a batch, with the row and what to do.
    """
    points, views_of_array, place = _points(as_array(embeddings, "embeddings"))
    understood = classify(labels, unlabeled, unlabeled_label)
    codes = understood.codes
    if view_order is not None:
        check_choice("view_order", view_order, ORDERS)
    num_views = _num_views(num_views, views_of_array)
    if instance_ids is not None:
        if len(codes) != len(points):
            raise ValueError(_one_label_each(codes, np.shape(embeddings), 1))
        views, words = _by_ids(instance_ids, codes, num_views)
    elif views_of_array:
        views, words = np.arange(len(points)).reshape(-1, num_views), ()
        words = (f"{num_views} views, along the second axis",)
    else:
        views, words = _by_order(len(points), codes, num_views, view_order, np.shape(embeddings))
    if len(codes) not in (len(points), len(views)):
        raise ValueError(_one_label_each(codes, np.shape(embeddings), num_views))
    of_instance = codes
    if len(codes) == len(points):
        _check_agreement(codes, views, view_order, place)
        of_instance = codes[views[:, 0]]
    kept = np.flatnonzero(of_instance >= 0)
    if not len(kept):
        raise ValueError("no row carries a label.")
    instances, by_class = ClassStructure.from_labels(of_instance[kept])
    rows = views[kept][by_class].ravel()
    used = np.sort(rows)
    check_rows(points[used], lambda row: place(used[row]))
    structure = ClassStructure(instances.sizes, views.shape[1])
    return Batch(points[rows], structure, rows, (*understood.words, *words))


def _points(
    embeddings: Any,
) -> tuple[Float[np.ndarray, "N d"], int, Callable[[int], str]]:
    """The embeddings in float64, one a row, the views of an array that has an axis for them (or 0),
    and what a row is called."""
    given = np.asarray(embeddings)
    number = np.can_cast(given.dtype, np.float64, "same_kind")
    if given.ndim not in (2, 3) or not given.size or not number:
        raise ValueError(
            "embeddings must be an array of numbers with one row for each label, (N, d), or "
            f"(B, p, d); got shape {given.shape} of {given.dtype}."
        )
    with np.errstate(over="ignore"):  # an extended number that no float64 holds is not finite
        points = given.astype(np.float64).reshape(-1, given.shape[-1])
    if given.ndim == 2:
        return points, 0, "row {}".format
    views = given.shape[1]
    return points, views, lambda row: f"view {row % views} of instance {row // views}"


def _num_views(num_views: int, of_array: int) -> int:
    num_views = check_count("num_views", num_views, 1)
    if of_array and num_views not in (1, of_array):
        raise ValueError(
            f"num_views is {num_views} and the (B, p, d) embeddings have {of_array} views; leave "
            "it out, or give embeddings.swapaxes(0, 1) if the first axis has the views."
        )
    return of_array or num_views


def _by_order(
    num_rows: int,
    codes: Int[np.ndarray, " L"],
    num_views: int,
    order: str | None,
    shape: tuple[int, ...],
) -> tuple[Int[np.ndarray, "M p"], tuple[str, ...]]:
    """The rows of every instance, by the order in which they stand."""
    if num_rows % num_views:
        raise ValueError(
            f"{num_rows} rows cannot be split into instances of {num_views} views; check num_views."
        )
    if len(codes) * num_views == num_rows and num_views > 1 and order is None:
        raise ValueError(
            f"{len(codes)} labels for embeddings of shape {shape} are one for each instance; say "
            'how rows are ordered: view_order "instance" where the views of an instance are '
            'adjacent, "view" where the instances of a view are, as torch.cat(torch.unbind(...)).'
        )
    by_instance = np.arange(num_rows).reshape(-1, num_views)
    by_view = np.arange(num_rows).reshape(num_views, -1).T
    if num_views == 1:
        return by_instance, ()
    words = f"{num_views} views, rows ordered by {order or 'instance'}"
    if order is None and len(codes) == num_rows and _agree(codes, by_view):
        words += " (the labels admit view_order view, too)"
    return by_view if order == "view" else by_instance, (words,)


def _by_ids(
    ids: Any, codes: Int[np.ndarray, " N"], num_views: int
) -> tuple[Int[np.ndarray, "M p"], tuple[str, ...]]:
    """The rows of every instance, by their ids. The same id in two classes names two instances."""
    values = of_one_kind(label_vector(ids))
    if len(values) != len(codes):
        raise ValueError(
            f"instance_ids must be one for each embedding; got {len(values)} for {len(codes)}."
        )
    names, of_row, _ = class_codes(values)
    pairs, instance, counts = np.unique(
        np.stack([codes, of_row], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    if len(set(counts.tolist())) > 1 or (num_views > 1 and counts[0] != num_views):
        usual = num_views if num_views > 1 else int(np.bincount(counts).argmax())
        odd = int(np.argmax(counts != usual))
        raise ValueError(
            f"every instance must have the same number of views, with one label; "
            f"{names[pairs[odd, 1]]!s} of instance_ids has {counts[odd]} rows in its class, and "
            f"others have {usual}."
        )
    words = f"{counts[0]} views, {len(counts)} instances by their ids"
    if len(pairs) > len(names):
        words += "; ids come again in other classes and name other instances there"
    views = np.argsort(instance.ravel(), kind="stable").reshape(-1, counts[0])
    return views[np.argsort(views[:, 0], kind="stable")], (words,)


def _agree(codes: Int[np.ndarray, " N"], views: Int[np.ndarray, "M p"]) -> bool:
    """Whether the views of every instance carry one label."""
    return bool(np.all(codes[views] == codes[views[:, :1]]))


def _check_agreement(
    codes: Int[np.ndarray, " N"],
    views: Int[np.ndarray, "M p"],
    order: str | None,
    place: Callable[[int], str],
) -> None:
    """Raise a ValueError unless the views of every instance carry one label."""
    wrong = np.any(codes[views] != codes[views[:, :1]], axis=1)
    if not wrong.any():
        return
    instance = views[int(np.argmax(wrong))]
    names = " and ".join((place(instance[0]), place(instance[-1])))
    if views.shape[1] > 2:
        names = f"{place(instance[0])} to {place(instance[-1])}"
    other = np.arange(views.size).reshape(views.shape[::-1]).T
    remedy = "order the rows so that the views of an instance are adjacent."
    if order is None and _agree(codes, other):
        remedy = 'they fit rows ordered by view: give view_order "view".'
    raise ValueError(f"{names} are views of one instance but carry different labels; {remedy}")


def _one_label_each(codes: np.ndarray, shape: tuple[int, ...], num_views: int) -> str:
    """The message where labels and embeddings do not fit."""
    rows = int(np.prod(shape[:-1]))
    each = "" if num_views == 1 else f" or each of the {rows // num_views} instances"
    hint = ""
    if num_views == 1 and len(codes) < rows and rows % len(codes) == 0:
        views = rows // len(codes)
        hint = f" If these are {views} views of each instance, give num_views={views}."
    return (
        f"there must be one label for each embedding{each}; got {len(codes)} labels and embeddings "
        f"of shape {shape}.{hint}"
    )


def _undecided(rows: Bool[np.ndarray, " L"], label: str) -> str:
    places = np.flatnonzero(rows)
    listed = ", ".join(map(str, places[:LISTED])) + ", …" * (len(places) > LISTED)
    plural = f"rows {listed} are" if len(places) > 1 else f"row {listed} is"
    return (
        f'of {len(rows)} labels {plural} {label}; give unlabeled "drop" to leave such rows out, or '
        '"keep" to make them a class.'
    )
