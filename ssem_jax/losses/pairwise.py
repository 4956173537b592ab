r"""More losses of the Gram matrix: sigmoid, spectral, soft and other forms beside SupCL.

All but :class:`SupConIn` are convex in G; each docstring says why.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax.geometry.similarities import Similarities
from ssem_jax.losses.base import PreparedLoss, Scalar
from ssem_jax.losses.contrast import SELF_PAIRS, softmax_contrast
from ssem_jax.losses.kinds import sincere_terms
from ssem_jax.losses.terms import Terms
from ssem_jax.problem.arrays import AnyArray, Hyper
from ssem_jax.problem.pytrees import pytree_dataclass
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import (
    check_choice,
    check_mixing,
    check_positive,
    check_temperature,
    concrete,
)


class Kinds(NamedTuple):
    """Which class and instance every embedding belongs to."""

    class_id: np.ndarray
    instance_id: np.ndarray


def kinds_of(structure: ClassStructure) -> Kinds:
    """The ids of a structure, as arrays that kernels take."""
    return Kinds(structure.class_ids, structure.instance_ids)


def _masks(kinds: Kinds) -> tuple[Array, Array, Array]:
    """(N, N) same class; same instance; the diagonal."""
    class_id, instance_id = jnp.asarray(kinds.class_id), jnp.asarray(kinds.instance_id)
    rows = jnp.arange(len(class_id))
    same_class, same_instance = (ids[:, None] == ids[None, :] for ids in (class_id, instance_id))
    return same_class, same_instance, rows[:, None] == rows[None, :]


def _log_sum_exp(gram: Array, chosen: Array, temperature: Any) -> Array:
    """Row by row over the chosen pairs; -∞ where there is none."""
    return jax.nn.logsumexp(jnp.where(chosen, gram / temperature, -jnp.inf), axis=1)


class Towers(NamedTuple):
    """Which rows are first views and which pairs of a first and a second view match."""

    first: np.ndarray
    matched: np.ndarray


@pytree_dataclass
class Sigmoid(PreparedLoss):
    r"""The pairwise sigmoid loss of two towers.

    .. math::
       L = \frac{1}{K} \sum_{i,j} \log\bigl(1 + e^{-z_{ij} (t \langle u_i, v_j\rangle - b)}\bigr),
       \qquad z_{ij} = 1 \;(i = j), \; -1 \;(i \ne j),

    over K pairs (u_i, v_i), one instance with two views each; its class plays no role. Convex in G:
    a softplus of an affine function. The two towers play different parts, so that the views of one
    instance may not be exchanged by themselves.

    Args:
        scale: t > 0, the inverse temperature. A traced leaf; may carry a batch axis.
        bias: b, subtracted from the logits (the negative of the bias as SigLIP publishes it).

    Raises:
        ValueError: with :meth:`check_structure`, a structure without exactly two views.

    References:
        Zhai, Mustafa, Kolesnikov and Beyer (ICCV 2023); Lee, Chang and Sohn (AISTATS 2024) for
        its optimal embeddings.
    """

    convex: ClassVar[bool] = True
    proven: ClassVar[bool] = True

    scale: Hyper
    bias: Hyper

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("scale", self.scale)
        concrete(self.bias, "bias")

    def check_structure(self, structure: ClassStructure) -> None:
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
        across = first[:, None] & ~first[None, :]
        return jnp.sum(jnp.where(across, terms, 0)) / jnp.sum(first)


@pytree_dataclass
class Spectral(PreparedLoss):
    r"""The spectral contrastive loss, with supervised positives mixed in.

    .. math::
       L = -2\mu \bigl[(1-\alpha) \operatorname{mean}_\mathrm{sup} G_{ij}
                       + \alpha \operatorname{mean}_\mathrm{self} G_{ij}\bigr]
           + \mu^2 \operatorname{mean}_{i,j} G_{ij}^2

    for embeddings of squared norm μ. Sup pairs are those of one class and different instances. Both
    views of a self pair, and both embeddings of the last mean, are drawn independently, as in the
    expectations of the paper: pairs (i, i) count in them. Convex in G: quadratic with nonnegative
    coefficients, plus a linear term.

    Args:
        alpha: α in [0, 1]; 1 is the published loss. A traced leaf; may carry a batch axis.
        scale: μ > 0. A traced leaf; may carry a batch axis.

    Raises:
        ValueError: α or μ out of range; with :meth:`check_structure`, α < 1 and no class of two
            instances.

    References:
        HaoChen, Wei, Gaidon and Ma (NeurIPS 2021, arXiv:2106.04156), section 3.
    """

    symmetric: ClassVar[bool] = True
    convex: ClassVar[bool] = True
    proven: ClassVar[bool] = True

    alpha: Hyper
    scale: Hyper

    def __post_init__(self) -> None:
        super().__post_init__()
        check_mixing(self.alpha)
        check_positive("scale", self.scale)

    def check_structure(self, structure: ClassStructure) -> None:
        """Raise a ValueError unless there are the positives that α asks for."""
        alpha = concrete(self.alpha)
        if max(structure.sizes) == 1 and alpha is not None and np.any(alpha < 1):
            raise ValueError(
                f"there is no sup pair: every class of {structure} has one instance, and alpha = "
                f"{float(alpha.min()):g}. Use alpha = 1 or more instances per class."
            )

    def prepare(self, structure: ClassStructure) -> Kinds:
        """The ids of the structure."""
        return kinds_of(structure)

    def value(self, gram: Float[Array, "N N"], prepared: Kinds) -> Scalar:
        """L(G) from the ids."""
        same_class, same_instance, _ = _masks(prepared)
        alpha, scale = jnp.asarray(self.alpha, gram.dtype), jnp.asarray(self.scale, gram.dtype)

        def mean(chosen: Array) -> Array:
            return jnp.sum(jnp.where(chosen, gram, 0)) / jnp.maximum(jnp.sum(chosen), 1)

        pull = (1 - alpha) * mean(same_class & ~same_instance) + alpha * mean(same_instance)
        return scale * (scale * jnp.mean(gram**2) - 2 * pull)

    def prepare_blocks(self, structure: ClassStructure) -> tuple[np.float64, ...]:
        """m, n and p."""
        counts = structure.counts
        return tuple(map(np.float64, counts))

    def of_blocks(
        self, similarities: Similarities, blocks: tuple[Scalar | np.float64, ...]
    ) -> Scalar:
        """L of three similarities: the means over the kinds of pairs of one anchor."""
        m, n, p = blocks
        view, within, between = similarities
        squares = 1 + (p - 1) * view**2 + p * (n - 1) * within**2 + p * n * (m - 1) * between**2
        pull = (1 - self.alpha) * within + self.alpha * (1 + (p - 1) * view) / p
        return jnp.asarray(self.scale * (self.scale * squares / (m * n * p) - 2 * pull))


class PairWeights:
    """Frozen nonnegative weights of pairs, equal and hashed by their content.

    Args:
        weights: (N, N).

    Raises:
        ValueError: not square, negative, or not finite.
    """

    def __init__(self, weights: Any) -> None:
        array = np.array(concrete(weights, "pair weights", may_be_empty=True)) + 0.0
        if array.ndim != 2 or array.shape[0] != array.shape[1]:
            raise ValueError(f"pair weights must be a square matrix (N, N); got {array.shape}.")
        if not np.all((array >= 0) & np.isfinite(array)):
            raise ValueError(
                "pair weights must be nonnegative and finite, or the loss is not convex; got "
                f"{array[~((array >= 0) & np.isfinite(array))][0]}."
            )
        array.setflags(write=False)
        self.array = array
        self.digest = hashlib.sha256(array.tobytes()).hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PairWeights) and (
            self.array.shape == other.array.shape and self.digest == other.digest
        )

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"PairWeights({len(self.array)} × {len(self.array)}, {self.digest})"


@pytree_dataclass
class SoftSupCon(PreparedLoss):
    r"""Contrast with arbitrary nonnegative weights of the positive pairs.

    .. math:: L = \sum_{ij} W_{ij} \Bigl[\log \sum_{k \in D_i} e^{G_{ik}/\tau}
                  - G_{ij}/\tau\Bigr] \Bigl/ \sum_{ij} W_{ij}

    with the denominators D_i of :class:`SupCL`. Convex in G: nonnegative multiples of log-sum-exp
    minus a linear term. Soft labels q_i give W_ij = ⟨q_i, q_j⟩, weights of classes or anchors
    W_ij = ω_i. Nothing is known of its symmetry, so that its brackets are trivial.

    Args:
        temperature: τ > 0. A traced leaf; may carry a batch axis.
        weights: (N, N) array or :class:`PairWeights`, in the order of rows. Static.
        self_pairs: "include" or "exclude" the pairs (i, i), or "decouple" instances, in D_i.

    Raises:
        ValueError: weights that are negative or on a diagonal that is excluded; with
            :meth:`check_structure`, weights of another size, or all 0.

    References:
        Khosla et al. (NeurIPS 2020), equation 2, with the mean over positives made a weighted one.
    """

    convex: ClassVar[bool] = True
    proven: ClassVar[bool] = True

    temperature: Hyper
    weights: Any = dataclasses.field(metadata={"static": True})
    self_pairs: str = dataclasses.field(default="exclude", metadata={"static": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_temperature(self.temperature)
        check_choice("self_pairs", self.self_pairs, SELF_PAIRS)
        if not isinstance(self.weights, PairWeights):
            object.__setattr__(self, "weights", PairWeights(self.weights))
        if self.self_pairs != "include" and np.any(np.diag(self.weights.array)):
            raise ValueError(
                f"pairs (i, i) are {self.self_pairs}d and cannot be positives; "
                "set the diagonal of the weights to 0, or include self pairs."
            )

    def check_structure(self, structure: ClassStructure) -> None:
        """Raise a ValueError unless there is a weight for every pair, and one above 0."""
        array = self.weights.array
        if len(array) != structure.num_embeddings or not array.any():
            raise ValueError(
                f"{structure} needs {structure.num_embeddings} × {structure.num_embeddings} pair "
                f"weights, one above 0 at least; got {self.weights} of sum {array.sum():g}."
            )

    def prepare(self, structure: ClassStructure) -> tuple[np.ndarray, np.ndarray]:
        """The weights, of sum 1, and the pairs of the denominators."""
        size, ids = structure.num_embeddings, structure.instance_ids
        left_out = {
            "include": np.zeros((size, size), bool),
            "exclude": np.eye(size, dtype=bool),
            "decouple": ids[:, None] == ids,
        }[self.self_pairs]
        # A sum that is rounded once: margins count the roundings of a weight.
        return self.weights.array / math.fsum(self.weights.array.flat), 1.0 - left_out

    def value(self, gram: Float[Array, "N N"], prepared: tuple[AnyArray, AnyArray]) -> Scalar:
        """L(G) from weights and masks."""
        return softmax_contrast(gram, *self.softmax(prepared, gram.dtype))

    def softmax(
        self, prepared: tuple[AnyArray, AnyArray], dtype: Any = float
    ) -> tuple[Array, Array, Array]:
        """Weights, denominators and τ of :func:`softmax_contrast`."""
        weights, contrasted = (jnp.asarray(part, dtype) for part in prepared)
        return weights, contrasted, jnp.asarray(self.temperature, dtype)

    def sensitivity(self, gram: Float[Array, "N N"], prepared: Any) -> Scalar:
        """2/τ: weights and softmaxes both sum to 1."""
        return 2 / jnp.asarray(self.temperature, gram.dtype)

    def without_conventions(self) -> SoftSupCon:
        """The loss without its weights and convention; `prepare` holds them."""
        return SoftSupCon(self.temperature, _NO_WEIGHTS, "include")


_NO_WEIGHTS = PairWeights(np.zeros((0, 0)))


class _ClassLoss(PreparedLoss):
    """A loss at a temperature that takes the embeddings of a class as positives."""

    symmetric: ClassVar[bool] = True

    temperature: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        check_temperature(self.temperature)

    def check_structure(self, structure: ClassStructure) -> None:
        """Raise a ValueError unless some class has two embeddings."""
        if max(structure.sizes) * structure.num_views == 1:
            raise ValueError(
                f"{type(self).__name__} has no positive pair: every class of {structure} has one "
                "embedding. Add instances or views."
            )

    def prepare(self, structure: ClassStructure) -> Kinds:
        """The ids of the structure."""
        return kinds_of(structure)

    @staticmethod
    def mean_over_anchors(terms: Array, positive: Array) -> Scalar:
        """Over the positives of an anchor, then over the anchors that have one."""
        count = jnp.sum(positive, axis=1)
        each = jnp.sum(jnp.where(positive, terms, 0), axis=1) / jnp.maximum(count, 1)
        return jnp.sum(each) / jnp.sum(count > 0)


@pytree_dataclass
class Sincere(_ClassLoss):
    r"""The SINCERE loss: every positive against the embeddings of other classes alone.

    .. math:: L = \operatorname{mean}_i \frac{1}{|P(i)|} \sum_{j \in P(i)} -\log
              \frac{e^{G_{ij}/\tau}}{e^{G_{ij}/\tau} + \sum_{k \text{ of another class}}
              e^{G_{ik}/\tau}}

    P(i) holds all other embeddings of the class of i. Convex in G: log-sum-exp minus a linear term.

    Args:
        temperature: τ > 0. A traced leaf; may carry a batch axis.

    Raises:
        ValueError: τ not positive and finite; with :meth:`check_structure`, a structure without
            positives.

    References:
        Feeney and Hughes (2023, arXiv:2309.14277).
    """

    convex: ClassVar[bool] = True
    proven: ClassVar[bool] = True

    temperature: Hyper

    def value(self, gram: Float[Array, "N N"], prepared: Kinds) -> Scalar:
        """L(G) from the ids."""
        same_class, _, diagonal = _masks(prepared)
        temperature = jnp.asarray(self.temperature, gram.dtype)
        negatives = _log_sum_exp(gram, ~same_class, temperature)
        terms = jax.nn.softplus(negatives[:, None] - gram / temperature)
        return self.mean_over_anchors(terms, same_class & ~diagonal)

    def terms(self, structure: ClassStructure) -> Terms:
        """Over the kinds of classes, instances and views."""
        return sincere_terms(structure, float(self.temperature))


@pytree_dataclass
class SupConIn(_ClassLoss):
    r"""The other published form of SupCon (L_in), with the logarithm outside: **not convex** in G.

    .. math:: L = \operatorname{mean}_i -\log \frac{1}{|P(i)|} \sum_{j \in P(i)}
              \frac{e^{G_{ij}/\tau}}{\sum_{k \ne i} e^{G_{ik}/\tau}}

    P(i) holds all other embeddings of the class of i. It is a difference of two log-sum-exps, so
    its minima are found and stay uncertified.

    Args:
        temperature: τ > 0. A traced leaf; may carry a batch axis.

    Raises:
        ValueError: τ not positive and finite; with :meth:`check_structure`, a structure without
            positives.

    References:
        Khosla et al. (NeurIPS 2020, arXiv:2004.11362), equation 3.
    """

    convex: ClassVar[bool] = False

    temperature: Hyper

    def value(self, gram: Float[Array, "N N"], prepared: Kinds) -> Scalar:
        """L(G) from the ids."""
        same_class, _, diagonal = _masks(prepared)
        temperature = jnp.asarray(self.temperature, gram.dtype)
        positive = same_class & ~diagonal
        count = jnp.sum(positive, axis=1)
        # A row without positives takes them all, so that no derivative is infinite; it counts 0.
        pulled = _log_sum_exp(gram, jnp.where(count[:, None] > 0, positive, ~diagonal), temperature)
        terms = _log_sum_exp(gram, ~diagonal, temperature) - pulled + jnp.log(jnp.maximum(count, 1))
        return jnp.sum(jnp.where(count > 0, terms, 0)) / jnp.sum(count > 0)


@pytree_dataclass
class AlignUniform(PreparedLoss):
    r"""Alignment of views and uniformity of all embeddings.

    .. math:: L = \operatorname{mean}_{i \ne j \text{ of one instance}} \|u_i - u_j\|^2
              + \lambda \log \operatorname{mean}_{i \ne j} e^{-t \|u_i - u_j\|^2},
              \qquad \|u_i - u_j\|^2 = 2 - 2 G_{ij}

    Convex in G: a linear term plus a nonnegative multiple of a log-sum-exp.

    Args:
        weight: λ > 0. A traced leaf; may carry a batch axis.
        scale: t > 0. A traced leaf; may carry a batch axis.

    Raises:
        ValueError: λ or t not positive; with :meth:`check_structure`, a structure with one view.

    References:
        Wang and Isola (ICML 2020, arXiv:2005.10242), section 4, with α = 2 there.
    """

    symmetric: ClassVar[bool] = True
    convex: ClassVar[bool] = True
    proven: ClassVar[bool] = True

    weight: Hyper = 1.0
    scale: Hyper = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("weight", self.weight)
        check_positive("scale", self.scale)

    def check_structure(self, structure: ClassStructure) -> None:
        """Raise a ValueError unless instances have two views or more."""
        if structure.num_views == 1:
            raise ValueError(f"alignment needs two views of an instance; {structure} has one.")

    def prepare(self, structure: ClassStructure) -> Kinds:
        """The ids of the structure."""
        return kinds_of(structure)

    def value(self, gram: Float[Array, "N N"], prepared: Kinds) -> Scalar:
        """L(G) from the ids."""
        _, same_instance, diagonal = _masks(prepared)
        weight, scale = jnp.asarray(self.weight, gram.dtype), jnp.asarray(self.scale, gram.dtype)
        views, pairs = same_instance & ~diagonal, gram.size - len(gram)
        align = jnp.sum(jnp.where(views, 2 - 2 * gram, 0)) / jnp.sum(views)
        exponents = jnp.where(diagonal, -jnp.inf, -scale * (2 - 2 * gram))
        return align + weight * (jax.nn.logsumexp(exponents) - jnp.log(pairs))
