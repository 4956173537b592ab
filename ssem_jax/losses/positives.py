"""Positive pairs of rows in any order: groups, weights, and how far their pairs are apart."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Integer

from ssem_jax.geometry.sphere import product
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


class Groups(NamedTuple):
    """Rows by group.

    Attributes:
        numbers: below N, of every row's group.
        sizes: of every row's group.
    """

    numbers: Integer[AnyArray, " N"]
    sizes: Integer[AnyArray, " N"]


def groups_of(
    class_ids: Integer[AnyArray, " N"], instance_ids: Integer[AnyArray, " N"]
) -> tuple[Groups, Groups]:
    """Classes, and instances within them: the same id in two classes names two instances."""
    traced = isinstance(class_ids, Tracer) or isinstance(instance_ids, Tracer)
    # Otherwise on the host: XLA would take seconds to fold the sort of a long constant.
    array = jnp if traced else np
    classes, instances = array.asarray(class_ids), array.asarray(instance_ids)
    order = array.lexsort((instances, classes))
    place = _inverse(order)
    starts = [
        array.append(False, ids[1:] != ids[:-1]) for ids in (classes[order], instances[order])
    ]

    def grouped(first: Bool[AnyArray, " N"]) -> Groups:
        numbers = array.cumsum(first)
        counts = jnp.bincount(numbers, length=len(place)) if traced else np.bincount(numbers)
        return Groups(numbers[place], counts[numbers][place])

    return grouped(starts[0]), grouped(starts[0] | starts[1])


def _inverse(order: Integer[AnyArray, " N"]) -> Integer[AnyArray, " N"]:
    """The place of every row in an order."""
    if isinstance(order, Tracer):
        return jnp.zeros_like(order).at[order].set(jnp.arange(len(order), dtype=order.dtype))
    return np.argsort(order)


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
    # XLA sums rows one number at a time on a CPU, but for products.
    of_rows = product(unit * unit - deviation * deviation, jnp.ones_like(unit[0]))
    return jnp.sum(share * (1 - of_rows))
