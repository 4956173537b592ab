r"""Losses written out, term by term: batches in a list, designs, weights of your own.

.. math:: L(G) = \sum_T w_T \log \sum_{(i,j) \in T} e^{G_{ij}/\tau + b_{ij}}
          - \frac1\tau \sum_{ij} W_{ij} G_{ij}

Weights are exact rational numbers, for what plays equal parts is found by comparing them. It is
convex in G because w ≥ 0; and it is NumPy, in double precision.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import (
    check_choice,
    check_count,
    check_mixing,
    check_temperature,
    shown,
)

Pair = tuple[int, int]


class ListedTerm(NamedTuple):
    """One log-sum-exp.

    Attributes:
        weight: w ≥ 0.
        rows: (k,) i of its entries.
        columns: (k,) j of its entries.
        biases: (k,) b of its entries.
    """

    weight: Fraction
    rows: Int[np.ndarray, " k"]
    columns: Int[np.ndarray, " k"]
    biases: Float[np.ndarray, " k"]


@dataclasses.dataclass(frozen=True)
class ListedLoss:
    """A loss of N embeddings, term by term.

    Args:
        size: N.
        terms: log-sum-exps.
        pulls: W of pairs (i, j).
        temperature: τ > 0.

    Raises:
        ValueError: a negative weight, or a τ that is not positive.
    """

    size: int
    terms: tuple[ListedTerm, ...]
    pulls: Mapping[Pair, Fraction]
    temperature: float

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        for term in self.terms:
            if term.weight < 0:
                raise ValueError(
                    "the weight of a term must not be negative, or the loss is not convex; got "
                    f"{term.weight}."
                )

    @property
    def constant(self) -> float:
        """(Σw - ΣW)/τ: what is left where all pairs coincide, biases and counts aside."""
        weights = sum((term.weight for term in self.terms), Fraction(0))
        return float(weights - sum(self.pulls.values(), Fraction(0))) / self.temperature

    def value(self, gram: Float[np.ndarray, "N N"]) -> float:
        """L(G)."""
        return self.value_and_gradient(gram)[0]

    def value_and_gradient(
        self, gram: Float[np.ndarray, "N N"]
    ) -> tuple[float, Float[np.ndarray, "N N"]]:
        """L(G) and its gradient, symmetrised."""
        tau, value, gradient = self.temperature, self.constant, np.zeros(gram.shape)
        for (i, j), weight in self.pulls.items():
            value += float(weight) * (1 - gram[i, j]) / tau
            gradient[i, j] -= float(weight) / tau
        for weight, rows, columns, biases in self.terms:
            parts = (gram[rows, columns] - 1) / tau + biases
            top = parts.max()
            shares = np.exp(parts - top)
            total = shares.sum()
            value += float(weight) * (top + math.log(total))
            np.add.at(gradient, (rows, columns), float(weight) * shares / total / tau)
        return value, (gradient + gradient.T) / 2


def check_batches(
    batches: Iterable[Sequence[int]],
    weights: Iterable[Fraction | float] | None,
    size: int,
) -> list[tuple[list[int], Fraction]]:
    """Batches as they are meant, with weights that sum to 1.

    Raises:
        ValueError: an index out of range or twice, a batch of one, a negative weight, no batch.
    """
    listed = [list(batch) for batch in batches]
    exact = [Fraction(1)] * len(listed) if weights is None else [*map(_exact, weights)]
    if len(exact) != len(listed):
        raise ValueError(f"every batch needs a weight; got {len(exact)} for {len(listed)} batches.")
    for batch, weight in zip(listed, exact, strict=True):
        if len(batch) < 2:
            raise ValueError(
                f"a batch needs 2 points at least to contrast them; got {shown(batch)}."
            )
        if len({*batch}) < len(batch):
            raise ValueError(f"a batch has an index twice; got {shown(batch)}.")
        if not all(isinstance(i, (int, np.integer)) and 0 <= i < size for i in batch):
            raise ValueError(f"indices must be integers from 0 to {size - 1}; got {shown(batch)}.")
        if weight < 0:
            raise ValueError(f"the weight of a batch must not be negative; got {weight}.")
    if not (total := sum(exact, Fraction(0))):
        raise ValueError("there must be a batch of positive weight; got none.")
    if missing := set(range(size)) - {i for batch in listed for i in batch}:
        raise ValueError(f"every point must be in a batch; point {min(missing)} is in none.")
    return [(batch, weight / total) for batch, weight in zip(listed, exact, strict=True)]


def _exact(weight: Any) -> Fraction:
    try:
        return Fraction(weight)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"the weight of a batch must be a finite number; got {shown(weight)}."
        ) from None


class _Writer:
    """Collects terms and pulls."""

    def __init__(self) -> None:
        self.terms: list[ListedTerm] = []
        self.pulls: dict[Pair, Fraction] = {}

    def contrast(
        self, anchor: int, denominator: Iterable[int], positives: Mapping[int, Fraction]
    ) -> None:
        """Weighted -log softmax of positives of an anchor, of pairs (anchor, j)."""
        columns = np.array(list(denominator), int)
        weight = sum(positives.values(), Fraction(0))
        if not weight:
            return
        rows = np.full(columns.shape, anchor)
        self.terms.append(ListedTerm(weight, rows, columns, np.zeros(len(columns))))
        for j, pull in positives.items():
            self.pulls[anchor, j] = self.pulls.get((anchor, j), Fraction(0)) + pull

    def loss(self, size: int, temperature: float) -> ListedLoss:
        return ListedLoss(size, tuple(self.terms), self.pulls, float(temperature))


def info_nce_batches(
    size: int,
    batches: Iterable[Sequence[int]],
    temperature: float,
    weights: Iterable[Fraction | float] | None = None,
    *,
    towers: bool = False,
) -> ListedLoss:
    """The mean over batches of InfoNCE with one view, self pairs included, or with two towers.

    Args:
        size: points; with two towers, pairs of points, of which the second ones have the rows
            `size` to `2 size - 1`.
        batches: indices of each.
        temperature: τ > 0.
        weights: of batches; alike if left out.
        towers: whether an anchor is contrasted with the points of the other tower.

    Raises:
        ValueError: an index out of range or twice, a batch of one, a negative weight, a point in no
            batch.
    """
    size = check_count("the number of points", size, 2)
    writer = _Writer()
    for batch, weight in check_batches(batches, weights, size):
        share = weight / len(batch) / (1 + towers)
        for i in batch:
            if towers:
                writer.contrast(i, [j + size for j in batch], {i + size: share})
                writer.contrast(i + size, batch, {i: share})
            else:
                writer.contrast(i, batch, {i: share})
    return writer.loss(size * (1 + towers), temperature)


def supcl_batches(
    structure: ClassStructure,
    batches: Iterable[Sequence[int]],
    alpha: Fraction | int,
    temperature: float,
    weights: Iterable[Fraction | float] | None = None,
    self_pairs: str = "include",
    mean: str = "all",
) -> ListedLoss:
    """The mean over batches of SupCL; a batch lists instances, of which it has all views.

    Args:
        structure: of the data set.
        batches: instances of each batch, counted through all classes.
        alpha: α, as an exact fraction.
        temperature: τ > 0.
        weights: of batches; alike if left out.
        self_pairs: "include" or "exclude".
        mean: L_sup of a batch over "all" its anchors, those without a positive counting 0; or over
            those "anchors" that have one; or over "pairs".

    Raises:
        ValueError: what :func:`info_nce_batches` says of batches.
    """
    check_mixing(float(alpha))
    check_choice("self_pairs", self_pairs, ("include", "exclude"))
    check_choice("mean", mean, ("all", "anchors", "pairs"))
    if self_pairs == "exclude" and structure.num_views == 1 and alpha > 0:
        raise ValueError(
            "num_views must be at least 2 when alpha > 0 and self pairs are excluded; got 1. Use "
            "alpha = 0, add views, or include self pairs."
        )
    p, of_class = structure.num_views, np.repeat(np.arange(structure.num_classes), structure.sizes)
    writer, alpha, included = _Writer(), Fraction(alpha), self_pairs == "include"
    for batch, weight in check_batches(batches, weights, structure.total_instances):
        rows = [i * p + v for i in batch for v in range(p)]
        others = {i: [j for j in batch if of_class[j] == of_class[i] and j != i] for i in batch}
        counted = {
            "all": Fraction(len(rows)),
            "anchors": Fraction(p * sum(bool(found) for found in others.values())),
            "pairs": Fraction(p * p * sum(map(len, others.values()))),
        }[mean] or Fraction(1)
        for i in batch:
            sup = [j * p + v for j in others[i] for v in range(p)]
            each = len(sup) if mean != "pairs" else 1
            for row in range(i * p, i * p + p):
                own = [j for j in range(i * p, i * p + p) if included or j != row]
                positives = {j: weight * alpha / len(rows) / len(own) for j in own}
                positives |= {j: weight * (1 - alpha) / counted / each for j in sup}
                writer.contrast(row, [j for j in rows if included or j != row], positives)
    return writer.loss(structure.num_embeddings, temperature)


def all_subsets(size: int, batch: int) -> list[tuple[int, ...]]:
    """All batches of a size."""
    return list(itertools.combinations(range(size), batch))
