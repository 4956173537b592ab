"""Labels as people have them: one reader for all doors, in the numbering of whoever gives them.

Lists, tuples, arrays of NumPy, JAX and torch, columns of pandas and polars; integers, floats that
are integers, booleans, texts. What comes out is a vector of one kind that sorts. Nothing is guessed
silently: where labels are missing, of two kinds or of another shape, the row is named, or the call
that makes labels of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssem_jax.problem.display import count_text
from ssem_jax.problem.validation import on_host, shown

EXACT = 2.0**53
"""Floats below it that are integers are exactly the integers they show."""
LISTED = 6
"""Classes that a description lists by name."""


def as_labels(given: Any) -> np.ndarray:
    """One label for each row, none of them missing.

    Raises:
        ValueError: no vector of labels, rows without one, or labels of different kinds.
    """
    labels = label_vector(given)
    missing = unlabeled_rows(labels)
    if missing.any():
        word, row = missing_word(labels, missing), int(np.argmax(missing))
        raise ValueError(
            f"labels must not be {word}, as row {row} is; "
            "give unlabelled rows a class of their own, or leave them out."
        )
    return of_one_kind(labels)


def label_vector(given: Any) -> np.ndarray:
    """Labels one by one, some of which may be missing.

    Raises:
        ValueError: no vector; one-hot rows are told apart, with the call that makes labels of them.
    """
    if isinstance(given, str | bytes | Mapping | Set):
        hint = " Read a file with ssem_jax.advice.read_labels." if isinstance(given, str) else ""
        raise ValueError(_one_for_each(given) + hint)
    try:
        labels = _as_vector(on_host(given))
    except (TypeError, ValueError):
        raise ValueError(_one_for_each(given)) from None
    if labels.ndim == 2 and labels.shape[1] == 1 and labels.size:
        labels = labels[:, 0]
    if labels.ndim == 2 and _one_hot(labels):
        raise ValueError(
            f"labels of shape {labels.shape} are one-hot; give labels.argmax(axis=1), one for each "
            "row."
        )
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(f"labels must be one-dimensional and not empty; got {labels.shape}.")
    if labels.dtype.kind in "cV":
        raise ValueError(f"labels must be integers or texts; got {labels.dtype}.")
    return np.char.decode(labels, "utf-8") if labels.dtype.kind == "S" else labels


def unlabeled_rows(labels: np.ndarray) -> np.ndarray:
    """(N,) whether the label of a row is missing: None, NaN, an empty text."""
    if labels.dtype.kind in "mM":
        return np.isnat(labels)
    if labels.dtype.kind == "U":
        return labels == ""
    if labels.dtype.kind in "biu":
        return np.zeros(labels.shape, bool)
    if labels.dtype == object:
        return np.array([_is_missing(label) for label in labels])
    return np.isnan(labels)


def of_one_kind(labels: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Labels as integers where they are such, and else as they are, if they sort.

    Args:
        labels: none of which is missing.
        rows: their numbers, for messages; 0, 1, … if None.

    Raises:
        ValueError: labels of different kinds, or numbers that are no integers.
    """
    rows = np.arange(len(labels)) if rows is None else rows
    if labels.dtype == object:
        labels = _common(labels, rows)
    if labels.dtype.kind != "f":
        return labels
    if np.isinf(labels).any():
        raise ValueError(f"labels must be finite; row {rows[np.argmax(np.isinf(labels))]} is not.")
    whole = (labels == np.round(labels)) & (np.abs(labels) < EXACT)
    if not whole.all():
        row = int(np.argmin(whole))
        raise ValueError(
            f"labels must be integers or texts; row {rows[row]} is {labels[row]}. Write classes "
            "that are called by such numbers as texts."
        )
    return labels.astype(np.int64)


def class_codes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The classes in sorted order, the class of every row as a number, and their sizes.

    Raises:
        ValueError: labels that do not sort.
    """
    try:
        return np.unique(labels, return_inverse=True, return_counts=True)
    except TypeError as error:
        raise ValueError(f"labels must be of one kind, to be sorted; {error}.") from None


def described(classes: np.ndarray, counts: np.ndarray) -> str:
    """Classes and their sizes in one line: "3 classes: 'cat' × 4, 'dog' × 4, 'eel' × 2"."""
    names = [repr(name) for name in classes.tolist()]
    if len(names) > LISTED + 1:
        least, most = int(counts.min()), int(counts.max())
        sizes = f"{least} each" if least == most else f"{least} to {most} of a class"
        listed = ", ".join([*names[: LISTED - 1], "…", names[-1]])
        return f"{len(names):,} classes, {sizes}: {listed}"
    pairs = (f"{name} × {count}" for name, count in zip(names, counts, strict=True))
    return f"{count_text(len(names), 'class', 'classes')}: {', '.join(pairs)}"


def _one_for_each(given: Any) -> str:
    return f"labels must be one for each embedding, as [0, 0, 1, 1]; got {shown(given)}."


def _as_vector(given: Any) -> np.ndarray:
    """An array; of a list of different kinds one of objects, of which NumPy would make texts."""
    if isinstance(given, np.ndarray | jax.Array):
        array = np.asarray(given)
        if array.ndim == 0:
            raise TypeError
        return array.astype(np.float64) if jnp.issubdtype(array.dtype, jnp.floating) else array
    items = list(given)
    if len(set(map(type, items))) <= 1:
        return np.asarray(items)
    array = np.empty(len(items), object)
    array[:] = [item.item() if getattr(item, "shape", None) == () else item for item in items]
    if any(np.ndim(item) for item in array if not isinstance(item, str | bytes)):
        raise TypeError
    return array


def _one_hot(labels: np.ndarray) -> bool:
    if labels.shape[1] < 2 or labels.dtype.kind in "OUSmMV":
        return False
    return bool(np.all(np.isin(labels, (0, 1)))) and bool(np.all(labels.sum(axis=1) == 1))


def _is_missing(label: Any) -> bool:
    if label is None or type(label).__name__ in ("NAType", "NaTType"):
        return True
    return label == "" if isinstance(label, str) else isinstance(label, float) and label != label


def missing_word(labels: np.ndarray, missing: np.ndarray) -> str:
    """What a missing label is called."""
    first = labels[int(np.argmax(missing))]
    if isinstance(first, str):
        return "empty"
    return "missing" if labels.dtype == object and not isinstance(first, float) else "NaN"


NUMBERS = (int, float, np.integer, np.floating)


def _common(labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Objects of one kind as an array of it; others as they are."""

    def kind(label: Any) -> type:
        if isinstance(label, bool | np.bool_):
            return bool
        return float if isinstance(label, NUMBERS) else str if isinstance(label, str) else object

    kinds = [kind(label) for label in labels]
    other = next((row for row, found in enumerate(kinds) if found is not kinds[0]), None)
    if other is not None:
        raise ValueError(
            f"labels must be of one kind, to be sorted; row {rows[0]} is {shown(labels[0])} "
            f"and row {rows[other]} is {shown(labels[other])}. Write all as texts, "
            "or all as integers."
        )
    if kinds and kinds[0] is not object:
        return np.array(labels.tolist())
    return labels
