"""Losses of a data set that are means over batches: listed, stratified, or all of some size.

Each says its terms (:mod:`.terms`): what certificates, brackets and sweeps need of it does not grow
with the number of batches, except where they are listed. Where they are few, the value at a Gram
matrix is written out besides, batch by batch. A batch lists instances, counted through all classes,
and has all views of each. All are convex in G: log-sum-exps with nonnegative weights, less a linear
term.
"""

from __future__ import annotations

import abc
import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax.losses import kinds
from ssem_jax.losses.base import PreparedLoss, Scalar
from ssem_jax.losses.contrast import check_positives
from ssem_jax.losses.drawn import drawn_batch_terms
from ssem_jax.losses.kinds import BATCH_MEANS
from ssem_jax.losses.listed import ListedLoss, check_batches, info_nce_batches, supcl_batches
from ssem_jax.losses.terms import LISTED, Terms
from ssem_jax.problem.arrays import Hyper
from ssem_jax.problem.pytrees import pytree_dataclass
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import (
    check_choice,
    check_count,
    check_mixing,
    check_temperature,
    shown,
)

WRITTEN_BATCHES = 1000
"""Batches of a family that are written out at most, to evaluate its loss at a Gram matrix."""


class _Written(NamedTuple):
    """A loss at τ = 1, term by term, as arrays.

    Attributes:
        rows: (T,) anchors.
        columns: (T, K) of their denominators, padded.
        present: (T, K) 1, and 0 in padding.
        weights: (T,).
        pulls: (N, N).
    """

    rows: np.ndarray
    columns: np.ndarray
    present: np.ndarray
    weights: np.ndarray
    pulls: np.ndarray


def _arrays(loss: ListedLoss) -> _Written:
    terms = loss.terms
    width = max((len(term.columns) for term in terms), default=1)
    columns, present = np.zeros((len(terms), width), int), np.zeros((len(terms), width))
    for place, term in enumerate(terms):
        columns[place, : len(term.columns)], present[place, : len(term.columns)] = term.columns, 1
    pulls = np.zeros((loss.size, loss.size))
    for (i, j), weight in loss.pulls.items():
        pulls[i, j] = float(weight)
    rows = np.array([term.rows[0] for term in terms], int)
    return _Written(rows, columns, present, np.array([float(t.weight) for t in terms]), pulls)


class _BatchLoss(PreparedLoss):
    """A mean over batches."""

    solved_by_terms: ClassVar[bool] = True

    temperature: Any

    @property
    def mixing(self) -> tuple[Any, ...]:
        """What the parts of :meth:`written` count: 1-α and α."""
        return 1 - self.alpha, self.alpha  # pyright: ignore[reportAttributeAccessIssue]

    @abc.abstractmethod
    def written(self, structure: ClassStructure) -> tuple[ListedLoss, ...]:
        """The parts of the loss at τ = 1, term by term; what they are depends on no number."""

    def prepare(self, structure: ClassStructure) -> tuple[_Written, ...]:
        """The parts as arrays."""
        return tuple(map(_arrays, self.written(structure)))

    def value(self, gram: Float[Array, "N N"], prepared: tuple[_Written, ...]) -> Scalar:
        """L(G) from its parts."""
        temperature, total = jnp.asarray(self.temperature, gram.dtype), jnp.zeros((), gram.dtype)
        apart = (1 - gram) / temperature
        for mixing, part in zip(self.mixing, prepared, strict=True):
            rows, columns, present, weights, pulls = map(jnp.asarray, part)
            logs = jax.nn.logsumexp(-apart[rows[:, None], columns], axis=1, b=present)
            each = jnp.sum(jnp.asarray(weights, gram.dtype) * logs)
            pull = jnp.sum(jnp.asarray(pulls, gram.dtype) * apart)
            total = total + jnp.asarray(mixing, gram.dtype) * (each + pull)
        return total


class _SupCLBatches(_BatchLoss):
    """A mean of SupCL over batches."""

    alpha: Any
    self_pairs: Any
    mean: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        check_mixing(self.alpha)
        check_temperature(self.temperature)
        check_choice("self_pairs", self.self_pairs, ("include", "exclude"))
        check_choice("mean", self.mean, BATCH_MEANS)

    def _parts(
        self,
        structure: ClassStructure,
        batches: Sequence[Sequence[int]],
        sup_weights: Any = None,
        own_weights: Any = None,
    ) -> tuple[ListedLoss, ListedLoss]:
        """L_sup and L_self of batches with weights of their own."""
        choices = (self.self_pairs, self.mean)
        sup = supcl_batches(structure, batches, 0, 1.0, sup_weights, *choices)
        if self.self_pairs == "exclude" and structure.num_views == 1:
            return sup, ListedLoss(structure.num_embeddings, (), {}, 1.0)
        return sup, supcl_batches(structure, batches, 1, 1.0, own_weights, *choices)

    def _family(
        self, structure: ClassStructure, batches: Iterable[Sequence[int]], number: int
    ) -> tuple[ListedLoss, ListedLoss]:
        """All batches of a family, whose mean over anchors or pairs is of all together."""
        if number > WRITTEN_BATCHES:
            raise ValueError(
                f"there are {number:.3g} batches, and a loss is written out over "
                f"{WRITTEN_BATCHES} at most; certificate.certify_program and sweeps need none."
            )
        listed, weights = list(batches), None
        if self.mean != "all":
            of_class = np.repeat(np.arange(structure.num_classes), structure.sizes)
            others = [np.sum(of_class[[*b]][:, None] == of_class[[*b]], 1) - 1 for b in listed]
            weights = [int(np.sum(k if self.mean == "pairs" else k > 0)) for k in others]
            weights = weights if any(weights) else None
        return self._parts(structure, listed, weights)


@pytree_dataclass
class ListedBatches(_SupCLBatches):
    """The mean of SupCL over batches that are given: a design, a schedule, a fixed partition.

    What plays equal parts in it is searched for, up to some hundred embeddings.

    Args:
        alpha: α in [0, 1], the weight of L_self. A traced leaf; may carry a batch axis.
        temperature: τ > 0. A traced leaf; may carry a batch axis.
        batches: instances of each, counted through all classes. Static.
        weights: of batches, as exact numbers; alike if None. Static.
        self_pairs: "include" or "exclude" the pairs (i, i).
        mean: L_sup of a batch over "all" its anchors, those without a positive counting 0; over
            the "anchors" that have one; or over "pairs".

    Raises:
        ValueError: α, τ or a convention out of range; with :meth:`check_structure`, an index out
            of range or twice, a batch of one, a negative weight, or an instance in no batch.
    """

    convex: ClassVar[bool] = True
    proven: ClassVar[bool] = True
    roles: ClassVar[str] = LISTED

    alpha: Hyper
    temperature: Hyper
    batches: Any = dataclasses.field(metadata={"static": True})
    weights: Any = dataclasses.field(default=None, metadata={"static": True})
    self_pairs: str = dataclasses.field(default="include", metadata={"static": True})
    mean: str = dataclasses.field(default="all", metadata={"static": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        _freeze(self)

    def check_structure(self, structure: ClassStructure) -> None:
        """Raise a ValueError unless the batches are of its instances."""
        check_batches(self.batches, self.weights, structure.total_instances)
        check_positives(structure, self.alpha, self.self_pairs)

    def written(self, structure: ClassStructure) -> tuple[ListedLoss, ListedLoss]:
        """L_sup and L_self at τ = 1."""
        return self._parts(structure, self.batches, self.weights, self.weights)


@pytree_dataclass
class TowerBatches(_BatchLoss):
    """The mean over batches of the InfoNCE loss of two towers: CLIP, as it is trained.

    The two views of an instance are its towers; its class plays no role.

    Args:
        temperature: τ > 0. A traced leaf; may carry a batch axis.
        batches: instances of each, counted through all classes. Static.
        weights: of batches, as exact numbers; alike if None. Static.

    Raises:
        ValueError: a τ that is not positive; with :meth:`check_structure`, other than two views, or
            what :class:`ListedBatches` says of batches.
    """

    convex: ClassVar[bool] = True
    proven: ClassVar[bool] = True
    roles: ClassVar[str] = LISTED

    temperature: Hyper
    batches: Any = dataclasses.field(metadata={"static": True})
    weights: Any = dataclasses.field(default=None, metadata={"static": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_temperature(self.temperature)
        _freeze(self)

    @property
    def mixing(self) -> tuple[Any, ...]:
        """1: there is one part."""
        return (1.0,)

    def check_structure(self, structure: ClassStructure) -> None:
        """Raise a ValueError unless there are two views, and the batches are of its instances."""
        if structure.num_views != 2:
            raise ValueError(
                f"two towers are the two views of an instance; {structure} has "
                f"{structure.num_views}. Use num_views = 2."
            )
        check_batches(self.batches, self.weights, structure.total_instances)

    def written(self, structure: ClassStructure) -> tuple[ListedLoss]:
        """The loss at τ = 1, its rows by instance and view."""
        number = structure.total_instances
        loss = info_nce_batches(number, self.batches, 1.0, self.weights, towers=True)

        def moved(index: Any) -> Any:
            return 2 * (index % number) + index // number

        terms = tuple(
            term._replace(rows=moved(term.rows), columns=moved(term.columns)) for term in loss.terms
        )
        pulls = {(moved(i), moved(j)): weight for (i, j), weight in loss.pulls.items()}
        return (ListedLoss(loss.size, terms, pulls, 1.0),)


def _freeze(loss: Any) -> None:
    """Batches and weights as tuples, which a table holds and a kernel is kept by."""

    def frozen(given: Any, name: str) -> tuple[Any, ...]:
        if not isinstance(given, Iterable) or isinstance(given, (str, Mapping)):
            raise ValueError(
                f"{name} must be a list, as [[0, 1, 2], [0, 3, 4]]; got {shown(given)}."
            )
        return tuple(each.item() if isinstance(each, np.generic) else each for each in given)

    batches = tuple(frozen(each, "a batch") for each in frozen(loss.batches, "batches"))
    object.__setattr__(loss, "batches", batches)
    if loss.weights is not None:
        object.__setattr__(loss, "weights", frozen(loss.weights, "weights of batches"))


@pytree_dataclass
class StratifiedBatches(_SupCLBatches):
    """The mean of SupCL over all batches of some classes with some instances of each.

    Classes collapse up to :func:`ssem_jax.theory.stratified_alpha_c`.

    Args:
        alpha: α in [0, 1], the weight of L_self. A traced leaf; may carry a batch axis.
        temperature: τ > 0. A traced leaf; may carry a batch axis.
        batch: (classes, instances of each) in a batch. Static.
        self_pairs: "include" or "exclude" the pairs (i, i).

    Raises:
        ValueError: α, τ or a convention out of range; with :meth:`check_structure`, classes that
            differ in size, or a batch that the data set does not hold.
    """

    convex: ClassVar[bool] = True
    proven: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True
    mean: ClassVar[str] = "all"  # pyright: ignore[reportIncompatibleVariableOverride]

    alpha: Hyper
    temperature: Hyper
    batch: tuple[int, int] = dataclasses.field(metadata={"static": True})
    self_pairs: str = dataclasses.field(default="include", metadata={"static": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.batch if isinstance(self.batch, (tuple, list)) else ()
        if len(given) != 2:
            raise ValueError(
                f"batch must be (classes, instances of each), as (10, 5); got {shown(self.batch)}."
            )
        pair = tuple(check_count("every number of a batch", count, 1) for count in given)
        object.__setattr__(self, "batch", pair)

    def check_structure(self, structure: ClassStructure) -> None:
        """Raise a ValueError unless the data set holds such batches, with positives."""
        in_batch = ClassStructure.balanced(*self.batch, structure.num_views)
        check_positives(in_batch, self.alpha, self.self_pairs)
        self._terms(structure, 0.0 if self.batch[1] > 1 else 1.0, 1.0)

    def written(self, structure: ClassStructure) -> tuple[ListedLoss, ListedLoss]:
        """L_sup and L_self at τ = 1, of batches that are not too many to be listed."""
        m, n, _ = structure.counts
        chosen, of_each = self.batch
        number = math.comb(m, chosen) * math.comb(n, of_each) ** chosen
        batches = (
            [size * n + i for size, some in zip(classes, parts, strict=True) for i in some]
            for classes in itertools.combinations(range(m), chosen)
            for parts in itertools.product(itertools.combinations(range(n), of_each), repeat=chosen)
        )
        return self._family(structure, batches, number)

    def terms(self, structure: ClassStructure) -> Terms:
        """Over the kinds of classes, instances and views, as a closed sum."""
        return self._terms(structure, float(self.alpha), float(self.temperature))

    def _terms(self, structure: ClassStructure, alpha: float, temperature: float) -> Terms:
        return kinds.stratified_terms(structure, self.batch, alpha, temperature, self.self_pairs)


@pytree_dataclass
class RandomBatches(_SupCLBatches):
    """The mean of SupCL over all batches of some number of instances, as training draws them.

    Equal classes collapse up to :func:`ssem_jax.theory.random_alpha_c`; of classes that differ in
    size every one has its own threshold.

    Args:
        alpha: α in [0, 1], the weight of L_self. A traced leaf; may carry a batch axis.
        temperature: τ > 0. A traced leaf; may carry a batch axis.
        batch: B ≥ 2 instances. Static.
        self_pairs: "include" or "exclude" the pairs (i, i).
        mean: of L_sup over "all" anchors, those without a positive counting 0; over the "anchors"
            that have one; or over "pairs"; each of all batches together.

    Raises:
        ValueError: α, τ or a convention out of range; with :meth:`check_structure`, a batch larger
            than the data set, or one that never has a positive.
    """

    convex: ClassVar[bool] = True
    proven: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True

    alpha: Hyper
    temperature: Hyper
    batch: int = dataclasses.field(metadata={"static": True})
    self_pairs: str = dataclasses.field(default="include", metadata={"static": True})
    mean: str = dataclasses.field(default="all", metadata={"static": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "batch", check_count("a batch", self.batch, 2))

    def check_structure(self, structure: ClassStructure) -> None:
        """Raise a ValueError unless the data set holds such batches, with positives."""
        check_positives(structure, self.alpha, self.self_pairs)
        self._terms(structure, 1.0, 1.0)

    def written(self, structure: ClassStructure) -> tuple[ListedLoss, ListedLoss]:
        """L_sup and L_self at τ = 1, of batches that are not too many to be listed."""
        instances = range(structure.total_instances)
        batches = itertools.combinations(instances, self.batch)
        return self._family(structure, batches, math.comb(len(instances), self.batch))

    def terms(self, structure: ClassStructure) -> Terms:
        """Over the kinds of classes, instances and views: a sum over compositions, or a mean over
        draws."""
        return self._terms(structure, float(self.alpha), float(self.temperature))

    def _terms(self, structure: ClassStructure, alpha: float, temperature: float) -> Terms:
        # Compositions of equal classes are few, and listed.
        made = kinds.random_batch_terms if structure.is_balanced else drawn_batch_terms
        return made(structure, self.batch, alpha, temperature, self.self_pairs, self.mean)
