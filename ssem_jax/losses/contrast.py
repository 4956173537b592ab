"""Softmax contrasts by class and instance, of matrices and of blocks."""

from __future__ import annotations

import abc
import math
from functools import reduce
from typing import Any, ClassVar, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ssem_jax.geometry.similarities import Similarities
from ssem_jax.geometry.sphere import inner
from ssem_jax.losses.base import GramLoss, PreparedLoss, Scalar
from ssem_jax.losses.kinds import Contrast, denominator, of_fibre, relations
from ssem_jax.losses.terms import SELF, VIEW, WITHIN, Terms
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import (
    check_choice,
    check_mixing,
    check_temperature,
    concrete,
)

SELF_PAIRS = ("include", "exclude", "decouple")
MEANS = ("pairs", "anchors", "all")


class Anchors(NamedTuple):
    """The pairs that a class contrast weighs, for one structure and convention, in O(N) memory.

    Every positive of a kind of an anchor weighs the same, so masks are compared out of the ids
    where they are used (and fuse into the softmax) instead of being stored.

    Attributes:
        class_id: (N,) class of every embedding.
        instance_id: (N,) instance of every embedding.
        sup: (N,) weight of each positive pair of the anchor in L_sup; 0 without positives.
        own: (N,) weight of each positive pair of the anchor in L_self; 0 without positives.
        self_pairs: () 1 where the pairs (i, i) are included, else 0.
    """

    class_id: np.ndarray
    instance_id: np.ndarray
    sup: np.ndarray
    own: np.ndarray
    self_pairs: np.ndarray


class Blocks(NamedTuple):
    """The counts of a balanced structure and its convention, as numbers: m, n, p, σ."""

    num_classes: np.float64
    num_instances: np.float64
    num_views: np.float64
    self_pairs: np.float64


def softmax_contrast(
    gram: Float[Array, "N N"],
    positives: Float[Array, "N N"],
    contrasted: Float[Array, "N N"],
    temperature: Float[Array, ""] | float,
) -> Scalar:
    r"""Weighted cross-entropy of row softmaxes, the form all softmax losses share.

    .. math::
       L(G) = \sum_{ij} W_{ij} \Bigl[\log \sum_k a_{ik} e^{G_{ik}/\tau} - G_{ij}/\tau\Bigr]

    with weights W ≥ 0 of the positives and a ≥ 0 of the denominator: nonnegative multiples of
    log-sum-exp minus a linear term, hence convex in G. Each row is shifted by its own maximum,
    so no temperature overflows; and where positives are contrasted, the differences 1 - G_ij that
    survive are of the size of the loss itself. Rows without positives may have an empty
    denominator; they count nothing.
    """
    return softmax_slope(gram, positives, contrasted, temperature)[0]


def softmax_slope(
    gram: Float[Array, "N N"],
    positives: Float[Array, "N N"],
    contrasted: Float[Array, "N N"],
    temperature: Float[Array, ""] | float,
) -> tuple[Scalar, Float[Array, "N N"], Float[Array, "N N"]]:
    r"""L, its gradient Q - W/τ, and the part Q of that which changes with G: the softmaxes P of
    the rows, weighed.

    .. math:: Q_{ij} = \omega_i P_{ij}/\tau, \qquad \omega_i = \sum_j W_{ij}
    """
    largest = jnp.max(jnp.where(contrasted > 0, gram, -1), axis=1, keepdims=True)
    rate = 1 / jnp.asarray(temperature)
    scores = (gram - jax.lax.stop_gradient(largest)) * rate
    # A masked entry may exceed the row's maximum, and exp of it may overflow: mask first.
    weighed = contrasted * jnp.exp(jnp.where(contrasted > 0, scores, 0))
    total = jnp.sum(weighed, axis=1)
    total = jnp.where(total > 0, total, 1)
    # Read once more after the exponentials, scores are not written over by them: where they are,
    # XLA's loop goes one at a time.
    value = inner(positives, jnp.log(total)[:, None] - scores)
    repelled = weighed * (jnp.sum(positives, axis=1) * rate / total)[:, None]
    return value, repelled - positives * rate, repelled


def softmax_change(
    repelled: Float[Array, "N N"],
    anchors: Float[Array, " N"],
    temperature: Float[Array, ""] | float,
    tangent: Float[Array, "N N"],
) -> Float[Array, "N N"]:
    """How the gradient changes along a tangent: Q_ij (ẋ_ij/τ - r_i/ω_i) with the row sums r of
    Q_ij ẋ_ij. No exponential and no mask is computed again."""
    sums = jnp.sum(repelled * tangent, axis=1) / jnp.where(anchors != 0, anchors, 1)
    return repelled * (tangent * (1 / temperature) - sums[:, None])


def softmax_of(loss: GramLoss, prepared: Any) -> tuple[Array, Array, Array] | None:
    """The softmax form of a loss, unless a subclass has replaced the value that it stands for."""

    def owner(name: str) -> type:
        return next(kind for kind in type(loss).__mro__ if name in vars(kind))

    if all(issubclass(owner("softmax"), owner(name)) for name in ("value", "from_gram")):
        return loss.softmax(prepared)
    return None


class ClassContrast(PreparedLoss):
    r"""A softmax loss whose pairs count by their kind: same instance, same class, other class.

    With :func:`softmax_contrast`, a row's positives of the same instance weigh `own` times
    the second of `mixing`, those of other instances of the class `sup` times the first; the weights
    of all pairs sum to 1. It is convex in G because its weights are nonnegative. Instances and
    views may be permuted because weights depend on the class alone.

    A subclass has the fields `temperature` and `self_pairs`, and writes `mixing` and `weights`; it
    says for itself that it is convex, since negative weights would not be.
    """

    symmetric: ClassVar[bool] = True

    temperature: Any
    self_pairs: Any

    @property
    @abc.abstractmethod
    def mixing(self) -> tuple[Any, Any]:
        """What L_sup and L_self count."""

    @abc.abstractmethod
    def weights(
        self,
        num_sup: Int[np.ndarray, " N"],
        num_own: Int[np.ndarray, " N"],
        classes: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """(N,) weight of each positive pair of an anchor, for both kinds, from its numbers of them
        and its class."""

    @property
    def decoupled(self) -> bool:
        """Whether an instance is left out of its own denominators."""
        return self.self_pairs == "decouple"

    def prepare(self, structure: ClassStructure) -> Anchors:
        """The positives of this convention."""
        included = self.self_pairs == "include"
        same_class = np.asarray(structure.sizes)[structure.class_ids] * structure.num_views
        num_own = np.full(same_class.shape, structure.num_views - (not included))
        num_sup = same_class - structure.num_views
        sup, own = self.weights(num_sup, num_own, structure.class_ids)
        ids = (structure.class_ids, structure.instance_ids)
        return Anchors(*ids, sup, own, np.asarray(float(included)))

    def value(self, gram: Float[Array, "N N"], prepared: Anchors) -> Scalar:
        """L(G) from the anchors."""
        return softmax_contrast(gram, *self.softmax(prepared, gram.dtype))

    def softmax(self, prepared: Anchors, dtype: Any = float) -> tuple[Array, Array, Array]:
        """Weights, denominators and τ of :func:`softmax_contrast`."""
        of_sup, of_own = (jnp.asarray(weight, dtype) for weight in self.mixing)
        sup = (of_sup * jnp.asarray(prepared.sup, dtype))[:, None]
        own = (of_own * jnp.asarray(prepared.own, dtype))[:, None]
        class_id, instance_id = jnp.asarray(prepared.class_id), jnp.asarray(prepared.instance_id)
        same_class = class_id[:, None] == class_id[None, :]
        same_instance = instance_id[:, None] == instance_id[None, :]
        rows = jnp.arange(len(class_id))
        kept = jnp.where(rows[:, None] == rows[None, :], jnp.asarray(prepared.self_pairs, dtype), 1)
        positives = jnp.where(same_instance, own * kept, jnp.where(same_class, sup, 0))
        contrasted = jnp.where(same_instance, 0, kept) if self.decoupled else kept
        return positives, contrasted, jnp.asarray(self.temperature, dtype)

    def prepare_blocks(self, structure: ClassStructure) -> Blocks:
        """The counts of a balanced structure."""
        m, n, p = map(np.float64, structure.counts)
        return Blocks(m, n, p, np.float64(self.self_pairs == "include"))

    def of_blocks(self, similarities: Similarities, blocks: Blocks) -> Scalar:
        r"""L of three similarities: every anchor has the same row.

        .. math::
           \log\Bigl[\sigma e^{1/\tau} + \varsigma (p-1) e^{s_\mathrm{view}/\tau}
             + p(n-1) e^{s_\mathrm{within}/\tau} + pn(m-1) e^{s_\mathrm{between}/\tau}\Bigr]
           - \frac{(1-\alpha) s_\mathrm{within} + \alpha s_\mathrm{own}}{\tau}

        with σ = ς = 1 and :math:`s_\mathrm{own} = (1 + (p-1) s_\mathrm{view})/p` where self pairs
        are included; elsewhere σ = 0 and :math:`s_\mathrm{own} = s_\mathrm{view}`, with ς = 1 where
        they are excluded and ς = 0 where instances are decoupled.
        """
        return self.softmax_of_blocks(similarities, blocks)[0]

    def softmax_of_blocks(
        self, similarities: Similarities, blocks: Blocks
    ) -> tuple[Scalar, list[Any], list[Any]]:
        """The same L, with its softmax P over the kinds of pairs and their weights w, of self,
        views, within and between: along their similarities it has the slopes (P - w)/τ."""
        m, n, p, self_pairs = blocks
        view, within, between = (1 - similarity for similarity in similarities)
        own_views = jnp.where(self_pairs > 0, (p - 1) / p, 1)
        # Four numbers and no array of four: a batch of cells then runs in plain loops over cells.
        views = 0 * p if self.decoupled else p - 1
        counts = (self_pairs, views, p * (n - 1), p * n * (m - 1))
        apart = [
            (count, jnp.where(count > 0, gap, jnp.inf))
            for count, gap in zip(counts, (0.0, view, within, between), strict=True)
        ]
        least = jax.lax.stop_gradient(reduce(jnp.minimum, (gap for _, gap in apart)))
        terms = [count * jnp.exp((least - gap) / self.temperature) for count, gap in apart]
        # The weights add up to 1. So taken, no term is negative unless instances are decoupled.
        of_sup, of_own = self.shares(blocks)
        pull = of_sup * (within - least) + of_own * (own_views * view - least)
        whole = cast(Array, sum(terms))
        value = jnp.log(whole) + pull / self.temperature
        weights = [of_own * (1 - own_views), of_own * own_views, of_sup, jnp.zeros_like(whole)]
        return value, [term / whole for term in terms], weights

    def shares(self, blocks: Blocks) -> tuple[Any, Any]:
        """The part of all weight that L_sup and L_self have in a balanced structure."""
        return self.mixing

    def terms(self, structure: ClassStructure) -> Terms:
        """Over the kinds of classes, instances and views."""
        anchors, p, found = self.prepare(structure), structure.num_views, Terms((), {})
        sizes, included = np.asarray(structure.sizes), float(anchors.self_pairs)
        first = np.searchsorted(structure.class_ids, np.arange(len(sizes)))
        mixing = tuple(map(float, self.mixing))
        sup = mixing[0] * anchors.sup[first] * sizes * p * (sizes - 1) * p
        own = mixing[1] * anchors.own[first] * sizes * p * (p - 1 + included)
        groups = sizes if self.like_classes else np.arange(len(sizes))
        for group in dict.fromkeys(groups.tolist()):
            chosen = groups == group
            share = float(sup[chosen].sum() + own[chosen].sum())
            if share:
                of_own = float(own[chosen].sum()) / share
                of_self = of_own * included / p
                positives = {WITHIN: 1 - of_own, SELF: of_self, VIEW: of_own - of_self}
                contrast = Contrast(share, denominator(self.self_pairs), positives)
                alone = None if self.like_classes else group
                counts = relations(structure, int(sizes[chosen][0]), alone)
                found = found + of_fibre(contrast, counts, float(self.temperature))
        return found

    def sensitivity(self, gram: Float[Array, "N N"], prepared: Anchors) -> Scalar:
        """2/τ: positive weights sum to 1 at most, and softmaxes to 1."""
        return 2 / jnp.asarray(self.temperature, gram.dtype)

    def magnitude(self, value: Scalar, slope: Scalar) -> Scalar:
        """1 + L, for nothing cancels; but positives that are not contrasted may cancel the log of
        a denominator, and both are at most 2/τ then."""
        return 1 + jnp.abs(value) + (4 / self.temperature if self.decoupled else 0)


class Mixture(ClassContrast):
    """(1-α)·L_sup + α·L_self in one of the conventions; a subclass has those fields."""

    alpha: Any
    mean: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        check_mixing(self.alpha)
        check_temperature(self.temperature)
        check_choice("self_pairs", self.self_pairs, SELF_PAIRS)
        check_choice("mean", self.mean, MEANS)

    def check_structure(self, structure: ClassStructure) -> None:
        """Raise a ValueError unless every term that α weighs has a positive pair."""
        check_positives(structure, self.alpha, self.self_pairs)

    @property
    def mixing(self) -> tuple[Any, Any]:
        """1-α and α."""
        return 1 - self.alpha, self.alpha


def check_positives(structure: ClassStructure, alpha: Any, self_pairs: str) -> None:
    """Raise a ValueError unless every term that α weighs has a positive pair."""
    alpha = concrete(alpha)
    if alpha is None:
        return
    if max(structure.sizes) == 1 and np.any(alpha < 1):
        raise ValueError(
            f"L_sup has no positive pair: every class of {structure} has one instance, "
            f"and alpha = {float(alpha.min()):g}. Use alpha = 1 or more instances per class."
        )
    if self_pairs != "include" and structure.num_views == 1 and np.any(alpha > 0):
        raise ValueError(
            "num_views must be at least 2 when alpha > 0 and self pairs are "
            f"{self_pairs}d; got 1. Use alpha = 0, add views, or include self pairs."
        )


def positive_weight(
    num_positives: np.ndarray, mean: str, of_anchors: np.ndarray | float = 1.0
) -> np.ndarray:
    """(N,) weight of each positive pair of an anchor.

    The weights of all pairs sum to 1; in the mean over "all" anchors to the share of those that
    have a positive.
    """
    everyone = np.broadcast_to(of_anchors, num_positives.shape)
    of_anchors = everyone * (num_positives > 0)
    if not of_anchors.any():
        return np.zeros(num_positives.shape)
    # Sums that are rounded once: margins count the roundings of a weight.
    if mean == "pairs":
        return of_anchors / math.fsum(of_anchors * num_positives)
    counted = everyone if mean == "all" else of_anchors
    return of_anchors / np.maximum(num_positives, 1) / math.fsum(counted)
