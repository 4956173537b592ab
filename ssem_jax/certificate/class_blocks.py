"""Classes of any size: the Gram matrix in blocks of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax.certificate.rounding import row_sums
from ssem_jax.geometry.shares import own_similarities
from ssem_jax.geometry.similarities import Similarities
from ssem_jax.losses.base import PROVEN, GramLoss, convexity_of
from ssem_jax.losses.contrast import ClassContrast
from ssem_jax.problem.arrays import AnyArray
from ssem_jax.problem.structure import ClassStructure

FEW_CLASSES = 12
"""Unequal classes up to which files for a checker have an optimum, and up to which each class's
threshold is searched for itself, to the last digits."""
CLASS_LIMIT = 128
"""Classes up to which the program is solved; at 100 a cell takes seconds."""


class ClassBlocks(NamedTuple):
    """A Gram matrix averaged within classes; or a linear functional of it.

    Attributes:
        view: (m,) view variance θ_k of every class.
        delta2: (m,) instance variance δ²_k.
        gram: (m, m) Gram matrix C of the class means.
    """

    view: Float[AnyArray, "*batch m"]
    delta2: Float[AnyArray, "*batch m"]
    gram: Float[AnyArray, "*batch m m"]


class ClassRows(NamedTuple):
    """The row of the softmax that the anchors of each class share, as numbers.

    Attributes:
        sizes: (m,) instances n_k.
        num_views: () p.
        self_pairs: () 1 where the pairs (i, i) are included, else 0.
        sup: (m,) weight of all anchors of the class together in L_sup.
        own: (m,) likewise in L_self.
    """

    sizes: Float[np.ndarray, " m"]
    num_views: Float[np.ndarray, ""]
    self_pairs: Float[np.ndarray, ""]
    sup: Float[np.ndarray, " m"]
    own: Float[np.ndarray, " m"]


def has_class_form(loss: GramLoss) -> TypeGuard[ClassContrast]:
    """Whether `class_loss` knows the loss by its rows: a class that is derived may be another."""
    return isinstance(loss, ClassContrast) and convexity_of(loss) == PROVEN


def class_rows(loss: ClassContrast, structure: ClassStructure) -> ClassRows:
    """What `class_loss` needs of the structure."""
    anchors = loss.prepare(structure)
    sizes, p = np.asarray(structure.sizes, float), float(structure.num_views)
    first = np.searchsorted(structure.class_ids, np.arange(structure.num_classes))
    included = float(anchors.self_pairs)
    sup = anchors.sup[first] * sizes * p * (sizes - 1) * p
    own = anchors.own[first] * sizes * p * (p - 1 + included)
    return ClassRows(sizes, np.asarray(p), np.asarray(included), sup, own)


def class_loss(loss: ClassContrast, rows: ClassRows, blocks: ClassBlocks) -> Float[Array, ""]:
    r"""The loss of a Gram matrix that is constant on the blocks of its classes.

    .. math::
       \sum_k (1-\alpha) \pi_k^\mathrm{sup} \Bigl[\log D_k - \frac{s^\mathrm{within}_k}{\tau}\Bigr]
       + \alpha \pi_k^\mathrm{self} \Bigl[\log D_k - \frac{s^\mathrm{own}_k}{\tau}\Bigr], \quad
       D_k = \sigma e^{1/\tau} + \varsigma (p-1) e^{s^\mathrm{view}_k/\tau}
           + p (n_k-1) e^{s^\mathrm{within}_k/\tau} + \sum_{l \ne k} p n_l e^{C_{kl}/\tau}

    with σ, ς and s_own as in :meth:`ssem_jax.losses.ClassContrast.of_blocks`.

    Args:
        loss: the loss, a single cell.
        rows: from :func:`class_rows`.
        blocks: θ, δ² and C; the diagonal of C is not used.
    """
    n, p, included = rows.sizes, rows.num_views, rows.self_pairs
    m = blocks.view.shape[0]
    view, within, between = class_similarities_of(n, p, blocks)
    # Distances 1 - s instead of similarities, so that no exponent is positive.
    own = (1 - view) * jnp.where(included > 0, (p - 1) / p, 1)
    near = jnp.stack([jnp.zeros(m), 1 - view, 1 - within], axis=1)
    apart = jnp.where(np.eye(m, dtype=bool), 0, 1 - between)
    views = 0 * p if loss.decoupled else p - 1
    near_counts = jnp.stack([jnp.broadcast_to(included, (m,)), 0 * n + views, p * (n - 1)], axis=1)
    apart_counts = jnp.where(np.eye(m, dtype=bool), 0, p * n)
    counts = jnp.concatenate([near_counts, apart_counts], axis=1)
    exponents = -jnp.concatenate([near, apart], axis=1) / loss.temperature
    exponents = jnp.where(counts > 0, exponents, -jnp.inf)
    log_total = jax.nn.logsumexp(exponents, axis=1, b=counts)
    of_sup, of_own = loss.mixing
    sup, self_ = of_sup * rows.sup, of_own * rows.own
    pull = sup * (1 - within) + self_ * own
    return jnp.sum((sup + self_) * log_total + pull / loss.temperature)


def class_similarities_of(sizes: Any, num_views: Any, blocks: ClassBlocks) -> Similarities:
    """The similarities that belong to variances."""
    return Similarities(
        *own_similarities(blocks.view, blocks.delta2, sizes, num_views), blocks.gram
    )


def present_rows(structure: ClassStructure) -> Float[np.ndarray, "m k"]:
    """Which coordinates a point may use: instances need n_k ≥ 2, views p ≥ 2."""
    m = structure.num_classes
    shares = [np.ones((m, m)), np.asarray(structure.sizes)[:, None] > 1]
    if structure.num_views > 1:
        shares.append(np.ones((m, 1)))
    return np.concatenate(shares, axis=1).astype(float)


def blocks_of(points: Float[Array, "m k"]) -> ClassBlocks:
    """θ, δ² and C of m unit vectors."""
    m, k = points.shape
    view = points[:, m + 1] ** 2 if k > m + 1 else jnp.zeros(m)
    return ClassBlocks(view, points[:, m] ** 2, points[:, :m] @ points[:, :m].T)


def pair_of(functional: ClassBlocks, blocks: ClassBlocks) -> Array:
    """The value of a linear functional."""
    first, second, gram = (f * b for f, b in zip(functional, blocks, strict=True))
    return jnp.sum(first) + jnp.sum(second) + jnp.sum(row_sums(gram))


Function = Callable[[ClassBlocks], Array]


def is_small(loss: GramLoss, structure: ClassStructure) -> bool:
    """Whether the program over blocks of classes is solved."""
    return has_class_form(loss) and structure.num_classes <= CLASS_LIMIT


def check_small(loss: GramLoss, structure: ClassStructure) -> None:
    """Raise a ValueError unless it is."""
    if not has_class_form(loss):
        raise ValueError(
            "with so many kinds of classes only SupCL and its kin are reduced; got "
            f"{type(loss).__name__}. Use solve and certify."
        )
    if structure.num_classes > CLASS_LIMIT:
        raise ValueError(
            f"the reduced problem is solved up to {CLASS_LIMIT} classes; got "
            f"{structure.num_classes}. Use solve and certify."
        )
