r"""The supervised contrastive loss of many embeddings, in memory that grows with N and not N².

:class:`ssem_jax.SupCL` is a function of the Gram matrix, which a large batch cannot afford. With
weights W_ij of the positive pairs, of row sums a_i, the loss of unit rows u_i splits into

.. math::
   L = \sum_i a_i \ell_i + \frac1\tau \sum_{ij} W_{ij} (1 - \langle u_i, u_j \rangle),
   \qquad \ell_i = \log \sum_{k \in D_i} e^{(\langle u_i, u_k \rangle - 1)/\tau}.

* The second sum needs no pairs. Weights are constant along the rows of a group (a class or an
  instance), and pairs of a group spread as its members do about their mean, Huygens' identity.
* The first is swept over tiles of the Gram matrix on and above the diagonal. Each tile serves its
  rows and, transposed, its columns; :math:`e^{(G_{ij} - 1)/\tau}` is one number for both. The
  gradient forms the tiles again instead of storing them:

.. math::
   \frac{\partial}{\partial u_i} \sum_k a_k \ell_k
   = \frac1\tau \sum_j (a_i e^{-\ell_i} + a_j e^{-\ell_j}) e^{(G_{ij} - 1)/\tau} u_j.

Together that is two matrix products' worth of arithmetic. The common shift of 1 underflows only
where a row has nobody near, itself included; then the sweep keeps a log-sum-exp for each row.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ssem_jax.losses import SupCL
from ssem_jax.problem import (
    ClassStructure,
    check_choice,
    check_count,
    check_mixing,
    check_temperature,
)
from ssem_jax.sphere import normalize

Scalar = Float[Array, ""]
Carry = TypeVar("Carry")

BLOCK_SIZE = 512
"""Rows of a tile: in float32 it fills 1 MiB and stays in a core's cache between its uses."""


def blockwise_supcl(
    embeddings: Float[Array, "N d"],
    class_ids: Int[Array, " N"],
    instance_ids: Int[Array, " N"],
    alpha: Scalar | float,
    temperature: Scalar | float,
    self_pairs: str = "include",
    mean: str = "pairs",
    block_size: int = BLOCK_SIZE,
) -> Scalar:
    r"""The supervised contrastive loss (1-α)·L_sup + α·L_self, of rows in any order.

    It is the loss of :class:`ssem_jax.SupCL`, whose conventions it shares, and serves as a training
    loss: ids may be traced, so that batches of any composition compile once. Gradients (in reverse
    mode, of first order) with respect to embeddings, α and τ take as little memory,
    O(N·d + block_size²).

    Args:
        embeddings: (N, d) rows, which are normalised first; float32, float64, or a shorter type
            that is converted to float32 before anything is summed.
        class_ids: (N,) integers; classes of any sizes.
        instance_ids: (N,) integers, equal for the views of an instance, which share their class.
        alpha: α in [0, 1], the weight of L_self.
        temperature: τ > 0.
        self_pairs: "include" or "exclude" the pairs (i, i).
        mean: over positive "pairs", or over "anchors".
        block_size: rows of a tile of the Gram matrix.

    Returns:
        The loss, a scalar of at least 32 bits. A kind of positives that no row has counts 0.

    Raises:
        ValueError: fewer than two rows, ids of another shape or type, α outside [0, 1], τ not
            positive and finite, an unknown convention, or a block size below 1.

    References:
        Lee, Oh, Lee and Sohn (AISTATS 2025, arXiv:2503.08203) for the combined loss; Milakov and
        Gimelshein (2018, arXiv:1805.02867) for log-sum-exp in one sweep; Dao, Fu, Ermon, Rudra and
        Ré (NeurIPS 2022) for gradients that form the tiles again.
    """
    check_mixing(alpha)
    check_temperature(temperature)
    check_choice("self_pairs", self_pairs, ("include", "exclude"))
    check_choice("mean", mean, ("pairs", "anchors"))
    block_size = check_count("block_size", block_size, 1)
    rows = jnp.asarray(embeddings)
    if rows.ndim != 2 or len(rows) < 2:
        raise ValueError(f"embeddings must be two or more rows (N, d); got shape {rows.shape}.")
    classes = _groups("class_ids", class_ids, len(rows))
    instances = _groups("instance_ids", instance_ids, len(rows))

    unit = normalize(rows.astype(jnp.promote_types(rows.dtype, jnp.float32)))
    alpha, temperature = (jnp.asarray(number, unit.dtype) for number in (alpha, temperature))
    included = self_pairs == "include"
    relatives, views = _sizes(classes, unit.dtype), _sizes(instances, unit.dtype)
    num_sup, num_own = relatives - views, views - (not included)
    sup = (1 - alpha) * _weight(num_sup, mean)
    own = alpha * _weight(num_own, mean)
    totals = _log_totals(unit, temperature, included, block_size)
    apart = _apart(unit, classes, sup) + _apart(unit, instances, own - sup)
    if not included:
        apart -= jnp.sum(own * (1 - jnp.sum(unit * unit, axis=1)))
    return jnp.sum((sup * num_sup + own * num_own) * totals) + apart / temperature


def blockwise_loss(
    loss: SupCL,
    embeddings: Float[Array, "N d"],
    structure: ClassStructure,
    block_size: int = BLOCK_SIZE,
) -> Scalar:
    """`loss(embeddings, structure)`, by :func:`blockwise_supcl`.

    Args:
        loss: α, τ and the conventions.
        embeddings: (N, d) rows ordered by class, instance and view.
        structure: their class structure.
        block_size: rows of a tile of the Gram matrix.

    Raises:
        ValueError: the structure has no positive pair that α asks for, another number of rows, and
            what :func:`blockwise_supcl` raises.
    """
    loss.check(structure)
    ids = (structure.class_ids, structure.instance_ids)
    hyper = (loss.alpha, loss.temperature, loss.self_pairs, loss.mean)
    return blockwise_supcl(embeddings, *ids, *hyper, block_size)


# ------------------------------------------------------------------------------------- positives


def _groups(name: str, ids: Int[Array, " N"], num_rows: int) -> Int[Array, " N"]:
    """Ids renamed to numbers below N, whatever integers they are."""
    ids = jnp.asarray(ids)
    if ids.shape != (num_rows,) or not jnp.issubdtype(ids.dtype, jnp.integer):
        raise ValueError(
            f"{name} must be one integer for each of the {num_rows} embeddings; "
            f"got shape {ids.shape} of {ids.dtype}."
        )
    return jnp.searchsorted(jnp.sort(ids), ids)


def _sizes(groups: Int[Array, " N"], dtype: jnp.dtype) -> Float[Array, " N"]:
    """The number of rows in every row's group."""
    return jnp.bincount(groups, length=len(groups))[groups].astype(dtype)


def _weight(num_positives: Float[Array, " N"], mean: str) -> Float[Array, " N"]:
    """Weight of each positive pair of an anchor; those of all pairs sum to 1, or none has any."""
    has_positive = (num_positives > 0).astype(num_positives.dtype)
    if mean == "pairs":
        return has_positive / jnp.maximum(jnp.sum(num_positives), 1)
    return has_positive / jnp.maximum(num_positives, 1) / jnp.maximum(jnp.sum(has_positive), 1)


def _apart(
    unit: Float[Array, "N d"], groups: Int[Array, " N"], weights: Float[Array, " N"]
) -> Scalar:
    r"""How far the pairs of every group are apart, a pair weighing as its first row.

    With S_g the total weight and v_j the deviation from the mean of a group of n_g rows,

    .. math::
       \sum_g \sum_{i,j \in g} w_i (1 - \langle u_i, u_j \rangle)
       = \sum_j \frac{n_g w_j + S_g}{2} \bigl(1 - \|u_j\|^2 + \|v_j\|^2\bigr).

    Squares are summed instead of inner products because they do not cancel in a collapsed group.
    """
    num_rows = len(unit)
    sums = jax.ops.segment_sum(unit, groups, num_rows)[groups]
    size = _sizes(groups, unit.dtype)
    deviation = unit - sums / size[:, None]
    share = (size * weights + jax.ops.segment_sum(weights, groups, num_rows)[groups]) / 2
    return jnp.sum(share * (1 - jnp.sum(unit * unit - deviation * deviation, axis=1)))


# --------------------------------------------------------------------------------- denominators


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _log_totals(
    unit: Float[Array, "N d"], temperature: Scalar, included: bool, block_size: int
) -> Float[Array, " N"]:
    """ℓ of the module's docstring."""
    num_rows = len(unit)

    def plain(carry: Array, tile: _Tile) -> Array:
        scores = jnp.exp(tile.exponents)
        carry = carry.at[tile.row].add(jnp.sum(scores, axis=1))
        return carry.at[tile.column].add(tile.mirrored(jnp.sum(scores, axis=0)))

    def careful(carry: Array, tile: _Tile) -> Array:
        for block, axis in ((tile.row, 1), (tile.column, 0)):
            found = jax.nn.logsumexp(tile.exponents, axis=axis)
            found = found if axis else tile.mirrored(found, -jnp.inf)
            carry = carry.at[block].set(jnp.logaddexp(carry[block], found))
        return carry

    def swept(step: Callable[[Array, _Tile], Array], start: float) -> Float[Array, " N"]:
        grid = _blocks(jnp.full(num_rows, start, unit.dtype), block_size)
        return _sweep(step, grid, unit, temperature, included).ravel()[:num_rows]

    totals = jnp.log(swept(plain, 0.0))
    return jax.lax.cond(_is_plain(totals), lambda: totals, lambda: swept(careful, -jnp.inf))
