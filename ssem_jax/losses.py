r"""Losses that are convex functions of the Gram matrix of the embeddings.

A loss is written as a function of :math:`G = U U^\top` (N × N, unit diagonal). Where that function
is convex, every minimum found over free embeddings can carry a certificate of global optimality.

The supervised contrastive loss is

.. math::
   L = (1-\alpha) L_\mathrm{sup} + \alpha L_\mathrm{self},
   \qquad
   L_\mathrm{kind} = \operatorname{mean}_{(i,j) \text{ positive}}
   \Bigl[\log \sum_{k \in D_i} e^{G_{ik}/\tau} - G_{ij}/\tau\Bigr],

with positives of the same instance (self) or of the same class and *different* instances (sup).
Published code disagrees on two choices, which move the phase diagram, so both are explicit:

* **self pairs** (i, i) are *included* in the denominator D_i and among the same-instance
  positives, or *excluded* from both;
* the **mean** runs over all positive pairs of a kind ("pairs"), or over the positives of an
  anchor and then over the anchors that have one ("anchors"). It matters only for unbalanced
  classes.

An anchor without a positive of a kind contributes nothing to that kind's mean.
"""

from __future__ import annotations

import abc
import dataclasses
from functools import reduce
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax.problem import (
    ClassStructure,
    check_choice,
    check_mixing,
    check_positive,
    check_temperature,
    concrete,
    pytree_dataclass,
)
from ssem_jax.simplex import Similarities, block_gram
from ssem_jax.sphere import normalize

Scalar = Float[Array, ""]

HOT_TEMPERATURE = 0.5
"""Where temperature paths begin: every pair is felt there, so the landscape is well curved."""


class GramLoss(abc.ABC):
    """A loss L(G) of the Gram matrix. Subclass it, write `from_gram`, and register a dataclass.

    Hyper-parameters are the pytree leaves; they are traced, so a thousand values compile once.
    """

    convex: ClassVar[bool] = True
    """Whether L is convex in G; only then is a solution certified."""

    symmetric: ClassVar[bool] = False
    """Whether L is unchanged when classes of equal size, the instances of a class, or the views of
    an instance are permuted; only then are brackets and phases derived."""

    @abc.abstractmethod
    def from_gram(self, gram: Float[Array, "N N"], structure: ClassStructure) -> Scalar:
        """L(G) for a Gram matrix with unit diagonal."""

    def prepare(self, structure: ClassStructure) -> Any:
        """What `value` needs of the structure and no hyper-parameter changes (for example masks).

        Losses that prepare arrays of the same shapes share one compiled kernel, whatever the
        structures they come from.
        """
        return structure

    def value(self, gram: Float[Array, "N N"], prepared: Any) -> Scalar:
        """L(G) from what `prepare` returned."""
        return self.from_gram(gram, prepared)

    def prepare_blocks(self, structure: ClassStructure) -> Any:
        """What `of_blocks` needs of a balanced structure."""
        return structure

    def of_blocks(self, similarities: Similarities, blocks: Any) -> Scalar:
        """L of the Gram matrix that is constant on the blocks of a balanced structure.

        Args:
            similarities: of views, within a class, and between classes; three scalars.
            blocks: what `prepare_blocks` returned.
        """
        return self.from_gram(block_gram(blocks, *similarities), blocks)

    def unconventional(self) -> GramLoss:
        """The loss without the static choices that `prepare` has absorbed.

        Two losses that are equal here share one compiled kernel.
        """
        return self

    def sensitivity(self, gram: Float[Array, "N N"], prepared: Any) -> Scalar:
        r"""The size of the terms that the gradient is summed from, for rounding margins.

        At least :math:`\sum_{ij} |\partial L / \partial G_{ij}|` before anything cancels. By
        default an estimate: four times the largest such sum at G, at orthogonal and at coinciding
        embeddings.
        """
        slope = jax.grad(self.value)
        probes = (gram, jnp.eye(len(gram)), jnp.ones_like(gram))
        sums = [jnp.sum(jnp.abs(slope(probe, prepared))) for probe in probes]
        return 4 * jnp.max(jnp.stack(sums))

    def heated(self, stage: Float[Array, ""] | float) -> GramLoss:
        """The loss at `stage` in [0, 1] of a path from an easier one to itself at 1.

        A solver walks the path where the direct way fails. Without a path, the loss itself.
        """
        return self

    def check(self, structure: ClassStructure) -> None:  # noqa: B027 (most losses admit any)
        """Raise a ValueError where the structure does not admit this loss."""

    def __call__(self, embeddings: Float[Array, "N d"], structure: ClassStructure) -> Scalar:
        """L(U Uᵀ) of embeddings, whose rows are normalised first.

        For SupCL of many embeddings, `ssem_jax.blockwise_loss` avoids the N × N matrix.
        """
        unit = normalize(embeddings)
        return self.from_gram(unit @ unit.T, structure)


class Anchors(NamedTuple):
    """The pairs that SupCL contrasts, for one structure and convention, in O(N) memory.

    Every positive of an anchor weighs the same, so masks are compared out of the ids where they
    are used (and fuse into the softmax) instead of being stored.

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
    so no temperature overflows, and the differences 1 - G_ij that survive are of the size of
    the loss itself. Rows without positives may have an empty denominator; they count nothing.
    """
    row_max = jax.lax.stop_gradient(
        jnp.max(jnp.where(contrasted > 0, gram, -1), axis=1, keepdims=True)
    )
    shifted = (gram - row_max) / temperature
    anchors = jnp.sum(positives, axis=1)
    # A masked entry may exceed the row's maximum, and exp of it may overflow: mask first.
    total = jnp.sum(contrasted * jnp.exp(jnp.where(contrasted > 0, shifted, 0)), axis=1)
    log_total = jnp.log(jnp.where(anchors > 0, total, 1))
    return jnp.sum(anchors * log_total) - jnp.sum(positives * shifted)


def _positive_weight(num_positives: np.ndarray, mean: str) -> np.ndarray:
    """(N,) weight of each positive pair of an anchor; the weights of all pairs sum to 1."""
    if not num_positives.any():
        return np.zeros(num_positives.shape)
    if mean == "pairs":
        return (num_positives > 0) / num_positives.sum()
    has_positive = num_positives > 0
    return has_positive / np.maximum(num_positives, 1) / has_positive.sum()


@pytree_dataclass
class SupCL(GramLoss):
    r"""The supervised contrastive loss (1-α)·L_sup + α·L_self at temperature τ.

    The formula and the conventions stand in this module's docstring. It is convex in G, and
    exact in float64 for τ from 1e-3 to 1e3.

    Args:
        alpha: α in [0, 1], the weight of L_self. A traced leaf; may carry a batch axis.
        temperature: τ > 0. A traced leaf; may carry a batch axis.
        self_pairs: "include" or "exclude" the pairs (i, i).
        mean: over positive "pairs", or over "anchors".

    Raises:
        ValueError: α outside [0, 1], τ not positive and finite, an unknown convention; with
            :meth:`check`, a structure without the positives that α asks for.

    References:
        Lee, Oh, Lee and Sohn (AISTATS 2025, arXiv:2503.08203) for the combined loss; Khosla et
        al. (NeurIPS 2020) for supervised contrastive learning.
    """

    symmetric: ClassVar[bool] = True

    alpha: Float[Array, "*batch"] | float
    temperature: Float[Array, "*batch"] | float
    self_pairs: str = dataclasses.field(default="include", metadata={"static": True})
    mean: str = dataclasses.field(default="pairs", metadata={"static": True})

    def __post_init__(self) -> None:
        check_mixing(self.alpha)
        check_temperature(self.temperature)
        check_choice("self_pairs", self.self_pairs, ("include", "exclude"))
        check_choice("mean", self.mean, ("pairs", "anchors"))

    def check(self, structure: ClassStructure) -> None:
        """Raise a ValueError unless every term that α weighs has a positive pair."""
        alpha = concrete(self.alpha)
        if alpha is None:
            return
        if max(structure.sizes) == 1 and np.any(alpha < 1):
            raise ValueError(
                f"L_sup has no positive pair: every class of {structure} has one instance, "
                f"and alpha = {float(alpha.min()):g}. Use alpha = 1 or more instances per class."
            )
        if self.self_pairs == "exclude" and structure.num_views == 1 and np.any(alpha > 0):
            raise ValueError(
                "num_views must be at least 2 when alpha > 0 and self pairs are excluded; got 1. "
                "Use alpha = 0, add views, or include self pairs."
            )

    def prepare(self, structure: ClassStructure) -> Anchors:
        """The positives of this convention."""
        included = self.self_pairs == "include"
        same_class = np.asarray(structure.sizes)[structure.class_ids] * structure.num_views
        num_own = np.full(same_class.shape, structure.num_views - (not included))
        return Anchors(
            structure.class_ids,
            structure.instance_ids,
            _positive_weight(same_class - structure.num_views, self.mean),
            _positive_weight(num_own, self.mean),
            np.asarray(float(included)),
        )

    def value(self, gram: Float[Array, "N N"], prepared: Anchors) -> Scalar:
        """L(G) from the anchors."""
        dtype = gram.dtype
        alpha, temperature = jnp.asarray(self.alpha, dtype), jnp.asarray(self.temperature, dtype)
        sup = ((1 - alpha) * jnp.asarray(prepared.sup, dtype))[:, None]
        own = (alpha * jnp.asarray(prepared.own, dtype))[:, None]
        class_id, instance_id = jnp.asarray(prepared.class_id), jnp.asarray(prepared.instance_id)
        same_class = class_id[:, None] == class_id
        same_instance = instance_id[:, None] == instance_id
        rows = jnp.arange(gram.shape[0])
        kept = jnp.where(rows[:, None] == rows, jnp.asarray(prepared.self_pairs, dtype), 1)
        positives = jnp.where(same_instance, own * kept, jnp.where(same_class, sup, 0))
        return softmax_contrast(gram, positives, kept, temperature)

    def prepare_blocks(self, structure: ClassStructure) -> Blocks:
        """The counts of a balanced structure."""
        counts = (structure.num_classes, structure.instances_per_class, structure.num_views)
        return Blocks(*map(np.float64, counts), np.float64(self.self_pairs == "include"))

    def of_blocks(self, similarities: Similarities, blocks: Blocks) -> Scalar:
        r"""L of three similarities: every anchor has the same row.

        .. math::
           \log\Bigl[\sigma e^{1/\tau} + (p-1) e^{s_\mathrm{view}/\tau}
             + p(n-1) e^{s_\mathrm{within}/\tau} + pn(m-1) e^{s_\mathrm{between}/\tau}\Bigr]
           - \frac{(1-\alpha) s_\mathrm{within} + \alpha s_\mathrm{own}}{\tau}

        with σ = 1 and :math:`s_\mathrm{own} = (1 + (p-1) s_\mathrm{view})/p` where self pairs are
        included, and σ = 0 and :math:`s_\mathrm{own} = s_\mathrm{view}` where they are excluded.
        """
        m, n, p, self_pairs = blocks
        view, within, between = (1 - similarity for similarity in similarities)
        own = jnp.where(self_pairs > 0, (p - 1) / p, 1) * view
        pull = (1 - self.alpha) * within + self.alpha * own
        # Four numbers and no array of four: a batch of cells then runs in plain loops over cells.
        counts = (self_pairs, p - 1, p * (n - 1), p * n * (m - 1))
        apart = [
            (count, jnp.where(count > 0, gap, jnp.inf))
            for count, gap in zip(counts, (0.0, view, within, between), strict=True)
        ]
        least = jax.lax.stop_gradient(reduce(jnp.minimum, (gap for _, gap in apart)))
        terms = [count * jnp.exp((least - gap) / self.temperature) for count, gap in apart]
        return jnp.log(sum(terms)) + (pull - least) / self.temperature

    def sensitivity(self, gram: Float[Array, "N N"], prepared: Anchors) -> Scalar:
        """2/τ: positive weights and softmaxes both sum to 1."""
        return 2 / jnp.asarray(self.temperature, gram.dtype)

    def unconventional(self) -> SupCL:
        """The loss in the default convention; `prepare` holds the one that it was given."""
        return dataclasses.replace(self, self_pairs="include", mean="pairs")

    def heated(self, stage: Float[Array, ""] | float) -> SupCL:
        """The loss at `stage` in [0, 1] of a geometric path from τ = 0.5 down to its own τ."""
        tau = jnp.asarray(self.temperature)
        hot = jnp.maximum(tau, HOT_TEMPERATURE)
        return dataclasses.replace(self, temperature=tau * (hot / tau) ** (1 - stage))

    def from_gram(self, gram: Float[Array, "N N"], structure: ClassStructure) -> Scalar:
        """L(G) for a Gram matrix with unit diagonal.

        Raises:
            ValueError: the structure has no positive pair that α asks for, G is not N × N, or α or
                τ carry a batch axis.
        """
        self.check(structure)
        if jnp.ndim(self.alpha) or jnp.ndim(self.temperature):
            raise ValueError(
                f"alpha and temperature must be numbers here; got shapes {jnp.shape(self.alpha)} "
                f"and {jnp.shape(self.temperature)}. Use jax.vmap over the loss for a batch."
            )
        gram = jnp.asarray(gram, jnp.promote_types(jnp.asarray(gram).dtype, jnp.float32))
        if gram.shape != (structure.num_embeddings,) * 2:
            raise ValueError(
                f"the Gram matrix of {structure} is {structure.num_embeddings} × "
                f"{structure.num_embeddings}; got {gram.shape}."
            )
        return self.value(gram, self.prepare(structure))


class Towers(NamedTuple):
    """Which rows are first views and which pairs of a first and a second view match."""

    first: np.ndarray
    matched: np.ndarray


@pytree_dataclass
class Sigmoid(GramLoss):
    r"""The pairwise sigmoid loss of two towers, convex in G.

    .. math::
       L = \frac{1}{K} \sum_{i,j} \log\bigl(1 + e^{-z_{ij} (t \langle u_i, v_j\rangle - b)}\bigr),
       \qquad z_{ij} = 1 \;(i = j), \; -1 \;(i \ne j),

    over K pairs (u_i, v_i), one instance with two views each; its class plays no role.

    Args:
        scale: t > 0, the inverse temperature. A traced leaf; may carry a batch axis.
        bias: b, subtracted from the logits (the negative of the bias as SigLIP publishes it).

    Raises:
        ValueError: with :meth:`check`, a structure without exactly two views.

    References:
        Zhai, Mustafa, Kolesnikov and Beyer (ICCV 2023); Lee, Chung, Yun and Sohn (AISTATS 2024) for
        its optimal embeddings.
    """

    scale: Float[Array, "*batch"] | float
    bias: Float[Array, "*batch"] | float

    def __post_init__(self) -> None:
        check_positive("scale", self.scale)
        concrete(self.bias)

    def check(self, structure: ClassStructure) -> None:
        """Raise a ValueError unless every instance has two views."""
        if structure.num_views != 2:
            raise ValueError(
                f"the sigmoid loss pairs two views of an instance; {structure} has "
                f"{structure.num_views}. Use num_views = 2."
            )

    def prepare(self, structure: ClassStructure) -> Towers:
        """The towers of a structure."""
        ids = structure.instance_ids
        first = np.arange(len(ids)) % 2 == 0
        return Towers(first, ids[:, None] == ids)

    def value(self, gram: Float[Array, "N N"], prepared: Towers) -> Scalar:
        """L(G) from the towers."""
        first, matched = jnp.asarray(prepared.first), jnp.asarray(prepared.matched)
        logits = jnp.asarray(self.scale, gram.dtype) * gram - jnp.asarray(self.bias, gram.dtype)
        terms = jax.nn.softplus(jnp.where(matched, -logits, logits))
        across = first[:, None] & ~first
        return jnp.sum(jnp.where(across, terms, 0)) / jnp.sum(first)

    def from_gram(self, gram: Float[Array, "N N"], structure: ClassStructure) -> Scalar:
        """L(G) for a Gram matrix with unit diagonal."""
        self.check(structure)
        return self.value(gram, self.prepare(structure))
