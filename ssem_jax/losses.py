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
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax.problem import (
    ClassStructure,
    check_choice,
    check_mixing,
    check_temperature,
    concrete,
)

Scalar = Float[Array, ""]


class GramLoss(abc.ABC):
    """A loss L(G) of the Gram matrix. Subclass it, write `from_gram`, and register a dataclass.

    Hyper-parameters are the pytree leaves; they are traced, so a thousand values compile once.
    """

    convex: ClassVar[bool] = True
    """Whether L is convex in G; only then is a solution certified."""

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

    def check(self, structure: ClassStructure) -> None:  # noqa: B027 (most losses admit any)
        """Raise a ValueError where the structure does not admit this loss."""

    def __call__(self, embeddings: Float[Array, "N d"], structure: ClassStructure) -> Scalar:
        """L(U Uᵀ) of embeddings, whose rows are normalised first."""
        norms = jnp.linalg.norm(embeddings, axis=-1, keepdims=True)
        unit = embeddings / jnp.where(norms == 0, 1, norms)
        return self.from_gram(unit @ unit.T, structure)


class PairWeights(NamedTuple):
    """The pairs that SupCL contrasts, for one structure and convention.

    Attributes:
        contrasted: (N, N) 1 where embedding j stands in the denominator of anchor i, else 0.
        sup: (N, N) weights of the positives in L_sup, of total 1 (0 where there are none).
        self: (N, N) weights of the positives in L_self, of total 1 (0 where there are none).
    """

    contrasted: Float[np.ndarray, "N N"]
    sup: Float[np.ndarray, "N N"]
    self: Float[np.ndarray, "N N"]


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


def _average(positive: np.ndarray, mean: str) -> np.ndarray:
    """Weights of total 1 over the positive pairs; all 0 where there is none."""
    per_anchor = positive.sum(axis=1, keepdims=True)
    weights = positive / np.maximum(per_anchor, 1) if mean == "anchors" else positive
    return weights / max(weights.sum(), np.finfo(float).tiny)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
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

    def prepare(self, structure: ClassStructure) -> PairWeights:
        """The pair weights of this convention."""
        same_instance = structure.instance_ids[:, None] == structure.instance_ids
        same_class = structure.class_ids[:, None] == structure.class_ids
        contrasted = np.ones(same_class.shape)
        own = same_instance.astype(float)
        if self.self_pairs == "exclude":
            np.fill_diagonal(contrasted, 0)
            np.fill_diagonal(own, 0)
        sup = (same_class & ~same_instance).astype(float)
        return PairWeights(contrasted, _average(sup, self.mean), _average(own, self.mean))

    def value(self, gram: Float[Array, "N N"], prepared: PairWeights) -> Scalar:
        """L(G) from the pair weights."""
        contrasted, sup, own = (jnp.asarray(weights, gram.dtype) for weights in prepared)
        alpha = jnp.asarray(self.alpha, gram.dtype)
        positives = (1 - alpha) * sup + alpha * own
        temperature = jnp.asarray(self.temperature, gram.dtype)
        return softmax_contrast(gram, positives, contrasted, temperature)

    def from_gram(self, gram: Float[Array, "N N"], structure: ClassStructure) -> Scalar:
        """L(G) for a Gram matrix with unit diagonal.

        Raises:
            ValueError: the structure has no positive pair that α asks for, or G is not N × N.
        """
        self.check(structure)
        if gram.shape != (structure.num_embeddings,) * 2:
            raise ValueError(
                f"the Gram matrix of {structure} is {structure.num_embeddings} × "
                f"{structure.num_embeddings}; got {gram.shape}."
            )
        return self.value(gram, self.prepare(structure))
