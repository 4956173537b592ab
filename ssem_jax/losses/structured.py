r"""Losses of other structures: weighted kinds of pairs, two towers, prototypes.

Each says its terms (:mod:`.terms`), from which certificates, brackets and sweeps are made, whatever
N is: nothing is minimised over embeddings. Their value at a Gram matrix is written besides, for
small structures: to minimise them freely, and to see that both are one loss. All are sums of
log-sum-exps with nonnegative weights less linear terms, hence convex in G.

How embeddings are counted: of two towers, the two views of an instance are its image and its text;
of prototypes, the first instance of every class is its prototype.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax.losses import kinds
from ssem_jax.losses.base import PreparedLoss, Scalar
from ssem_jax.losses.contrast import check_positives, softmax_contrast
from ssem_jax.losses.kinds import Contrast
from ssem_jax.losses.terms import (
    BETWEEN,
    PROTOTYPES,
    SELF,
    TOWERS,
    VIEW,
    WITHIN,
    Terms,
)
from ssem_jax.problem.arrays import Hyper
from ssem_jax.problem.pytrees import pytree_dataclass
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import (
    check_choice,
    check_mixing,
    check_temperature,
    concrete,
    shown,
)

RELATIONS = (SELF, VIEW, WITHIN, BETWEEN)


def relation_matrix(structure: ClassStructure) -> np.ndarray:
    """(N, N) place in `RELATIONS` of how two embeddings are related."""
    ids = np.stack([np.arange(structure.num_embeddings), structure.instance_ids])
    ids = np.vstack([ids, structure.class_ids])
    return 3 - np.sum(ids[:, :, None] == ids[:, None, :], axis=0)


# ------------------------------------------------------------------------------- kinds of pairs


class _Related(NamedTuple):
    """Which relation a pair has, and how many pairs of it the anchor has."""

    relation: np.ndarray
    num_pairs: np.ndarray
    num_instances: np.float64


class _KindLoss(PreparedLoss):
    """A loss of :class:`.kinds.Contrast`."""

    symmetric: ClassVar[bool] = True
    solved_by_terms: ClassVar[bool] = True

    temperature: Any

    def prepare(self, structure: ClassStructure) -> _Related:
        """The relations of a structure."""
        relation = relation_matrix(structure)
        count = np.sum(relation[:, :, None] == np.arange(4), axis=1)
        numbers = np.take_along_axis(count, relation, axis=1).astype(float)
        return _Related(relation, numbers, np.float64(structure.sizes[0]))

    def _of(self, gram: Array, related: _Related, contrasts: Iterable[Contrast]) -> Scalar:
        temperature = jnp.asarray(self.temperature, gram.dtype)
        relation, apart = jnp.asarray(related.relation), (1 - gram) / temperature
        total = jnp.zeros((), gram.dtype)

        def by_pair(weights: Mapping[str, Any]) -> Array:
            row = [jnp.asarray(weights.get(name, 0.0), gram.dtype) for name in RELATIONS]
            return jnp.stack(row)[relation]

        for share, against, positives in contrasts:
            logs = jax.nn.logsumexp(-apart, axis=1, b=by_pair(against))
            pulls = by_pair(positives) / jnp.asarray(related.num_pairs, gram.dtype)
            rest = (1 - sum(positives.values())) / temperature
            each = logs + jnp.sum(pulls * apart, axis=1)
            total = total + jnp.asarray(share, gram.dtype) * (jnp.mean(each) + rest)
        return total


@pytree_dataclass
class KindContrast(_KindLoss):
    r"""Contrast by kind: anchors whose positives and denominators weigh as pairs are related.

    .. math:: L = \sum_t \Omega_t \operatorname{mean}_i \Bigl[
              \log \sum_j c^t_{k(i,j)} e^{G_{ij}/\tau}
              - \sum_k \pi^t_k \operatorname{mean}_{j : k(i,j) = k} G_{ij}/\tau \Bigr]

    Relations k are "self" (i, i), "view", "within" a class and "between" classes. SupCL, SupCon,
    InfoNCE, DCL and NSCL are of this family, and what lies between them.

    Args:
        temperature: τ > 0. A traced leaf; may carry a batch axis.
        contrasts: terms, as `Contrast(share=1, against={"within": 1, "between": 1},
            positives={"within": 1})`; all their numbers are traced leaves.

    Raises:
        ValueError: no contrast, a negative or unknown one of its weights, a τ that is not positive;
            with :meth:`check_structure`, a structure without the pairs that are weighed.
    """

    convex: ClassVar[bool] = True
    proven: ClassVar[bool] = True

    temperature: Hyper
    contrasts: Any

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        given = self.contrasts
        given = [given] if isinstance(given, Contrast) else given
        listed = list(given) if isinstance(given, Iterable) else []
        if not listed or not all(isinstance(each, Contrast) for each in listed):
            raise ValueError(
                "contrasts must be a list of ssem_jax.losses.Contrast(share, against, positives); "
                f"got {shown(given)}."
            )
        object.__setattr__(self, "contrasts", tuple(map(_checked, listed)))

    def check_structure(self, structure: ClassStructure) -> None:
        """Raise a ValueError unless there are the pairs that are weighed."""
        there = {SELF: True, VIEW: structure.num_views > 1, WITHIN: min(structure.sizes) > 1}
        for _, against, positives in self.contrasts:
            pulled, pushed = (
                {name for name, weight in weights.items() if np.any(_above_0(weight))}
                for weights in (positives, against)
            )
            for name in sorted(pulled):
                if not there.get(name, True):
                    raise ValueError(
                        f"positives of relation {name!r} have weight, and some embedding of "
                        f"{structure} has no such pair; leave them out or add instances or views."
                    )
            if not any(there.get(name, True) for name in pushed):
                raise ValueError(
                    f"a denominator is empty in {structure}; give a weight to a relation that "
                    'there is, as "between".'
                )

    def value(self, gram: Float[Array, "N N"], prepared: _Related) -> Scalar:
        """L(G) from the relations."""
        return self._of(gram, prepared, self.contrasts)

    def terms(self, structure: ClassStructure) -> Terms:
        """Over the kinds of classes, instances and views."""
        contrasts = jax.tree.map(float, self.contrasts)
        return kinds.contrast_by_kind(structure, contrasts, float(self.temperature))


def _above_0(weight: Any) -> Any:
    values = concrete(weight)
    return True if values is None else values > 0


def _checked(contrast: Contrast) -> Contrast:
    """A contrast whose numbers are arrays or numbers, none of them negative."""
    for name, weights in (("against", contrast.against), ("positives", contrast.positives)):
        if not isinstance(weights, Mapping):
            raise ValueError(
                f"{name} of a contrast must be weights by relation, as {{'within': 1}}; got "
                f"{shown(weights)}."
            )
        for relation, weight in weights.items():
            check_choice("a relation", relation, RELATIONS)
            values = concrete(weight, f"the weight of {relation!r} in {name}")
            if name == "against" and values is not None and not np.all(values >= 0):
                raise ValueError(
                    "weights in a denominator must not be negative; got "
                    f"{float(values.min()):g} for {relation!r}."
                )
    share = concrete(contrast.share, "the share of a contrast")
    if share is not None and not np.all((share >= 0) & np.isfinite(share)):
        raise ValueError(
            f"the share of a contrast must be finite and not negative; got {float(share.min()):g}."
        )

    def number(value: Any) -> Any:
        return concrete(value) if isinstance(value, (list, tuple)) else value

    share, against, positives = contrast
    weights = [{k: number(w) for k, w in of.items()} for of in (against, positives)]
    return Contrast(number(share), *weights)


@pytree_dataclass
class Spread(_KindLoss):
    r"""L_spread as its released code computes it: attract to a class, spread within it.

    The formula stands at :func:`ssem_jax.losses.kinds.spread_terms`; classes collapse iff the share
    is at most :func:`ssem_jax.theory.spread_alpha_c`.

    Args:
        share: a in [0, 1], of the repulsion within classes. A traced leaf; may carry a batch axis.
        temperature: τ > 0. A traced leaf; may carry a batch axis.

    Raises:
        ValueError: a share or a τ out of range; with :meth:`check_structure`, several views or
            classes that differ in size.

    References:
        Chen, Fu, Narayan, Zhang, Song, Fatahalian and Ré (ICML 2022, arXiv:2204.07596).
    """

    convex: ClassVar[bool] = True
    proven: ClassVar[bool] = True

    share: Hyper
    temperature: Hyper

    def __post_init__(self) -> None:
        super().__post_init__()
        share = concrete(self.share, "share")
        if share is not None and not np.all((share >= 0) & (share <= 1)):
            raise ValueError(f"share must lie in [0, 1]; got {shown(self.share)}.")
        check_temperature(self.temperature)

    def check_structure(self, structure: ClassStructure) -> None:
        """Raise a ValueError unless classes are equal and there is one view."""
        kinds.spread_terms(structure, 0.5, 1.0)

    def value(self, gram: Float[Array, "N N"], prepared: _Related) -> Scalar:
        """L(G) from the relations."""
        n, share = prepared.num_instances, jnp.asarray(self.share, gram.dtype)
        each = 1 / jnp.maximum(n - 1, 1)
        return self._of(gram, prepared, kinds.spread_contrasts(n, share, each))

    def terms(self, structure: ClassStructure) -> Terms:
        """Over the kinds of classes and instances."""
        return kinds.spread_terms(structure, float(self.share), float(self.temperature))


# --------------------------------------------------------------------------- towers, prototypes


class _Rows(NamedTuple):
    """Positives of both kinds and denominators, (N, N) each."""

    matched: np.ndarray
    within: np.ndarray
    contrasted: np.ndarray


class _RowLoss(PreparedLoss):
    """A softmax contrast of rows that are prepared."""

    solved_by_terms: ClassVar[bool] = True

    temperature: Any

    def value(self, gram: Float[Array, "N N"], prepared: _Rows) -> Scalar:
        """L(G) from the rows."""
        return softmax_contrast(gram, *self.softmax(prepared, gram.dtype))

    def softmax(self, prepared: _Rows, dtype: Any = float) -> tuple[Array, Array, Array]:
        """Weights, denominators and τ of :func:`.contrast.softmax_contrast`."""
        matched, within, contrasted = (jnp.asarray(part, dtype) for part in prepared)
        share = jnp.asarray(getattr(self, "alpha", 1.0), dtype)
        weights = share * matched + (1 - share) * within
        return weights, contrasted, jnp.asarray(self.temperature, dtype)

    def sensitivity(self, gram: Float[Array, "N N"], prepared: _Rows) -> Scalar:
        """2/τ: weights and softmaxes both sum to 1."""
        return 2 / jnp.asarray(self.temperature, gram.dtype)


@pytree_dataclass
class CrossModal(_RowLoss):
    r"""SupCL of two towers, as images and their texts; at α = 1 it is the loss of CLIP.

    .. math:: L = \operatorname{mean}_i \Bigl[\log \sum_j e^{\langle u_i, v_j \rangle/\tau}
              - \alpha \langle u_i, v_i \rangle/\tau
              - (1-\alpha) \operatorname{mean}_{j \ne i \text{ of the class}}
                \langle u_i, v_j \rangle/\tau \Bigr]

    averaged with the same from texts to images. The two views of an instance are its towers.

    Args:
        alpha: α in [0, 1], of the matched pair. A traced leaf; may carry a batch axis.
        temperature: τ > 0. A traced leaf; may carry a batch axis.

    Raises:
        ValueError: α or τ out of range; with :meth:`check_structure`, other than two views, or
            classes that differ in size; or of one instance, unless α = 1.

    References:
        Radford et al. (ICML 2021, arXiv:2103.00020) for α = 1.
    """

    convex: ClassVar[bool] = True
    proven: ClassVar[bool] = True
    roles: ClassVar[str] = TOWERS

    alpha: Hyper
    temperature: Hyper

    def __post_init__(self) -> None:
        super().__post_init__()
        check_mixing(self.alpha)
        check_temperature(self.temperature)

    def check_structure(self, structure: ClassStructure) -> None:
        """Raise a ValueError unless there are two towers, and the positives that α asks for."""
        if structure.num_views != 2:
            raise ValueError(
                f"two towers are the two views of an instance; {structure} has "
                f"{structure.num_views}. Use num_views = 2."
            )
        kinds.cross_modal_terms(ClassStructure(structure.sizes), 1.0, 1.0)
        check_positives(structure, self.alpha, "include")

    def prepare(self, structure: ClassStructure) -> _Rows:
        """Matched pairs, others of the class, and the other tower."""
        relation, tower = relation_matrix(structure), np.arange(structure.num_embeddings) % 2
        other = tower[:, None] != tower
        matched, within = (other & (relation == k) for k in (1, 2))
        size, others = len(relation), max(structure.num_instances - 1, 1)
        return _Rows(matched / size, within / (size * others), other.astype(float))

    def terms(self, structure: ClassStructure) -> Terms:
        """Over the kinds of two towers."""
        pairs = ClassStructure(structure.sizes)
        return kinds.cross_modal_terms(pairs, float(self.alpha), float(self.temperature))


@pytree_dataclass
class NormFace(_RowLoss):
    r"""Cross-entropy of normalised features with a normalised prototype of each class.

    .. math:: L = \operatorname{mean}_i \Bigl[\log \sum_k e^{\langle u_i, w_k \rangle/\tau}
              - \langle u_i, w_{c(i)} \rangle/\tau \Bigr]

    over features i. The first instance of every class is its prototype w, the others are features.

    Args:
        temperature: τ > 0. A traced leaf; may carry a batch axis.

    Raises:
        ValueError: τ not positive; with :meth:`check_structure`, several views, or a class without
            features.

    References:
        Wang, Xiang, Cheng and Yuille (ACM MM 2017, arXiv:1704.06369).
    """

    convex: ClassVar[bool] = True
    proven: ClassVar[bool] = True
    roles: ClassVar[str] = PROTOTYPES

    temperature: Hyper

    def __post_init__(self) -> None:
        super().__post_init__()
        check_temperature(self.temperature)

    def check_structure(self, structure: ClassStructure) -> None:
        """Raise a ValueError unless every class has a prototype and features, of one view."""
        if structure.num_views != 1 or min(structure.sizes) < 2:
            raise ValueError(
                "the first instance of every class is its prototype, and it needs a feature "
                f"besides, of one view; got {structure}. Use sizes of 2 at least and num_views = 1."
            )

    def prepare(self, structure: ClassStructure) -> _Rows:
        """The prototype of every feature, and all prototypes."""
        classes, size = structure.class_ids, structure.num_embeddings
        first = np.flatnonzero(np.diff(classes, prepend=-1))
        feature, prototype = np.ones(size, bool), np.zeros(size, bool)
        feature[first], prototype[first] = False, True
        own = feature[:, None] & prototype & (classes[:, None] == classes)
        contrasted = feature[:, None] & prototype
        nothing = np.zeros((size, size))
        return _Rows(own / feature.sum(), nothing, contrasted.astype(float))

    def terms(self, structure: ClassStructure) -> Terms:
        """Over the kinds of prototypes and features."""
        features = tuple(size - 1 for size in structure.sizes)
        return kinds.prototype_terms(features, float(self.temperature))
