"""Classes, instances and views: which rows of embeddings belong together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Set
from functools import cached_property
from typing import Any

import jax
import numpy as np

from ssem_jax.problem.arrays import Count
from ssem_jax.problem.labels import as_labels, class_codes
from ssem_jax.problem.validation import check_count, check_type, shown

CLASSES_LIMIT = 10**7
"""Classes of one batch: their sizes are a list, which takes a minute to check."""
EMBEDDINGS_LIMIT = 2**53
"""Embeddings of one batch: as far as float64 counts."""


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class ClassStructure:
    r"""How N embeddings are grouped: m classes, n_k instances in class k, p views of each.

    Rows are ordered by class, then by instance, then by view, so that
    :math:`N = p \sum_k n_k`. Balanced classes are the special case of equal sizes.

    Args:
        sizes: instances per class, one integer of at least 1 for each of m ≥ 2 classes; also as
            "8,4,2", as tables write them.
        num_views: p, the views (augmentations) of every instance.

    Raises:
        ValueError: fewer than two classes, or a count below 1.
    """

    sizes: tuple[int, ...]
    num_views: int = 1

    def __post_init__(self) -> None:
        sizes = tuple(check_count("every class size", size, 1) for size in _sizes(self.sizes))
        if len(sizes) < 2:
            raise ValueError(
                f"there must be at least 2 classes; got {len(sizes)}. "
                "With one class nothing is contrasted."
            )
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "num_views", check_count("num_views", self.num_views, 1))
        if self.num_embeddings > EMBEDDINGS_LIMIT:
            raise ValueError(
                f"there must be at most {EMBEDDINGS_LIMIT:.3g} embeddings, or float64 does not "
                f"count them; got {float(self.num_embeddings):.3g}."
            )

    @classmethod
    def balanced(
        cls, num_classes: Count, num_instances: Count, num_views: Count = 1
    ) -> ClassStructure:
        """m classes of n instances each, with p views."""
        num_classes = check_count("num_classes", num_classes, 2)
        if num_classes > CLASSES_LIMIT:
            raise ValueError(
                f"num_classes must be at most {CLASSES_LIMIT:,}; got {num_classes:,}. All of them "
                "stand in one batch."
            )
        size = check_count("every class size", num_instances, 1)
        return cls((size,) * num_classes, check_count("num_views", num_views, 1))

    @classmethod
    def from_labels(
        cls, labels: Iterable[Any], num_views: int = 1
    ) -> tuple[ClassStructure, np.ndarray]:
        """The structure of labelled embeddings, and the order of rows that it assumes.

        Args:
            labels: one label for each embedding, of any kind that sorts; the `num_views` views of
                an instance are adjacent rows and share their label.
            num_views: p.

        Returns:
            The structure (classes in sorted order of their labels) and the permutation `order`
            such that `embeddings[order]` is ordered by class, instance and view.

        Raises:
            ValueError: labels of another shape, fewer than two classes, or labels that cannot be
                split into instances of `num_views` equal labels.
        """
        labels = as_labels(labels)
        num_views = check_count("num_views", num_views, 1)
        if labels.size % num_views:
            raise ValueError(
                f"{labels.size} labels cannot be split into instances of {num_views} views; "
                "check num_views."
            )
        grouped = labels.reshape(-1, num_views)
        if np.any(grouped != grouped[:, :1]):
            row = int(np.argmax(np.any(grouped != grouped[:, :1], axis=1))) * num_views
            raise ValueError(
                f"rows {row} to {row + num_views - 1} are views of one instance but carry "
                "different labels; order the rows so that the views of an instance are adjacent."
            )
        _, class_of, counts = class_codes(grouped[:, 0])
        by_class = np.argsort(class_of, kind="stable")
        order = (by_class[:, None] * num_views + np.arange(num_views)).ravel()
        return cls(tuple(int(count) for count in counts), num_views), order

    @property
    def num_classes(self) -> int:
        """m."""
        return len(self.sizes)

    @property
    def total_instances(self) -> int:
        """M, the instances of all classes together."""
        return sum(self.sizes)

    @property
    def num_embeddings(self) -> int:
        """N = p M."""
        return self.total_instances * self.num_views

    @property
    def is_balanced(self) -> bool:
        """Whether all classes have the same size."""
        return len(set(self.sizes)) == 1

    @property
    def num_instances(self) -> int:
        """n, the common class size.

        Raises:
            ValueError: the classes differ in size.
        """
        if not self.is_balanced:
            raise ValueError(
                f"num_instances needs classes of equal size; got sizes {self.sizes}. "
                "Use `sizes` instead."
            )
        return self.sizes[0]

    @property
    def counts(self) -> tuple[int, int, int]:
        """m, n and p of equal classes, as closed forms take them.

        Raises:
            ValueError: the classes differ in size.
        """
        return self.num_classes, self.num_instances, self.num_views

    @property
    def class_shares(self) -> np.ndarray:
        """(m,) the share of all embeddings that each class has."""
        return np.asarray(self.sizes) / self.total_instances

    @cached_property
    def class_ids(self) -> np.ndarray:
        """(N,) class of every embedding."""
        per_class = np.asarray(self.sizes) * self.num_views
        return np.repeat(np.arange(self.num_classes), per_class)

    @cached_property
    def instance_ids(self) -> np.ndarray:
        """(N,) instance of every embedding, counted through all classes."""
        return np.repeat(np.arange(self.total_instances), self.num_views)

    def __str__(self) -> str:
        sizes = (
            f"{self.num_classes} classes × {self.sizes[0]}"
            if self.is_balanced
            else "classes of " + ",".join(map(str, self.sizes))
        )
        return sizes + (f" × {self.num_views} views" if self.num_views > 1 else "")


def _sizes(given: Any) -> Iterable[Any]:
    """The sizes one by one, also of a text as tables have it."""
    try:
        if isinstance(given, (Mapping, Set)):  # without an order, or with one of its keys alone
            raise TypeError
        return [float(size) for size in given.split(",")] if isinstance(given, str) else list(given)
    except (TypeError, ValueError):
        raise ValueError(
            "sizes must be integers, one for each class, as (8, 4, 2); got "
            f"{shown(given)}. Use ClassStructure.balanced for equal classes."
        ) from None


def check_structure(structure: Any) -> None:
    """Raise a ValueError unless it is a class structure."""
    check_type(
        "structure", structure, ClassStructure, "a ClassStructure, as ClassStructure((5, 5, 5))"
    )
