"""Positive pairs of rows in any order: groups, weights, and how far their pairs are apart."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Integer

from ssem_jax.problem.arrays import AnyArray

Scalar = Float[Array, ""]


def check_ids(name: str, ids: Integer[AnyArray, " N"], num_rows: int) -> Integer[AnyArray, " N"]:
    """The ids as an array; a ValueError unless there is one integer for each row."""
    array = ids if isinstance(ids, jax.Array) else np.asarray(ids)
    if array.shape != (num_rows,) or not jnp.issubdtype(array.dtype, jnp.integer):
        raise ValueError(
            f"{name} must be one integer for each of the {num_rows} embeddings; "
            f"got shape {array.shape} of {array.dtype}."
        )
    return array


def group(
    ids: Integer[AnyArray, " N"], within: Integer[AnyArray, " N"] | None = None
) -> tuple[Integer[AnyArray, " N"], Integer[AnyArray, " N"]]:
    """Ids renamed to numbers below N, whatever integers they are, and every row's group size.

    With groups that they count `within`, equal ids in two of them are two groups.
    """
    traced = isinstance(ids, Tracer) or isinstance(within, Tracer)
    # Otherwise on the host: XLA would take seconds to fold the sort of a long constant.
    array, options = (jnp, {"size": len(ids)}) if traced else (np, {})
    if within is not None:
        # Renamed before they are paired: integers of two types may have no common one.
        ids, options["axis"] = array.stack([group(within)[0], group(ids)[0]], axis=1), 0
    wanted = {"return_inverse": True, "return_counts": True}
    _, groups, counts = array.unique(array.asarray(ids), **wanted, **options)
    groups = groups.reshape(-1)
    return groups, counts[groups]


def weight_of(
    num_positives: Float[Array, " N"], mean: str, row_weights: Array | int = 1
) -> Float[Array, " N"]:
    """Weight of each positive pair of an anchor, as :func:`.contrast.positive_weight` says."""
    share = row_weights * (num_positives > 0).astype(num_positives.dtype)
    counted = {
        "pairs": row_weights * num_positives,
        "anchors": share,
        "all": row_weights * jnp.ones_like(num_positives),
    }
    total = jnp.sum(counted[mean])
    if mean != "pairs":
        share = share / jnp.maximum(num_positives, 1)
    return share / jnp.where(total > 0, total, 1)


def apart(
    unit: Float[Array, "N d"],
    groups: Integer[AnyArray, " N"],
    sizes: Float[Array, " N"],
    weights: Float[Array, " N"],
) -> Scalar:
    r"""How far the pairs of every group are apart, a pair weighing as its first row.

    With S_g the total weight and v_j the deviation from the mean of a group of n_g rows,

    .. math::
       \sum_g \sum_{i,j \in g} w_i (1 - \langle u_i, u_j \rangle)
       = \sum_j \frac{n_g w_j + S_g}{2} \bigl(1 - \|u_j\|^2 + \|v_j\|^2\bigr).

    Squares are summed instead of inner products because they do not cancel in a collapsed group.
    """

    def total(of_rows: Array) -> Array:
        return jax.ops.segment_sum(of_rows, groups, len(unit))[groups]

    deviation = unit - total(unit) / sizes[:, None]
    share = (sizes * weights + total(weights)) / 2
    return jnp.sum(share * (1 - jnp.sum(unit * unit - deviation * deviation, axis=1)))
