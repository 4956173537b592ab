r"""The SINCERE loss of a batch of an encoder, whose denominators hold a positive of their own.

.. math:: L = \operatorname{mean}_i \frac{1}{|P(i)|} \sum_{j \in P(i)}
          \operatorname{softplus}\Bigl(\log \sum_{k \text{ of another class}} e^{s_{ik}/\tau}
          - \frac{s_{ij}}{\tau}\Bigr)

No sum over j can be taken apart as that of SupCL is (:mod:`ssem_jax.losses.tiles`), so rows of the
Gram matrix are formed some at a time, and again for the gradient: O(N·d + N·block_size) memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ssem_jax.geometry.sphere import normalize, product
from ssem_jax.losses.pairwise import Sincere
from ssem_jax.losses.tiles import BLOCK_SIZE
from ssem_jax.problem.arrays import AnyArray, Rows
from ssem_jax.problem.validation import check_count
from ssem_jax.training.batch_loss import rows_of

Scalar = Float[Array, ""]


def sincere_loss(
    embeddings: Float[AnyArray, "*rows d"] | Rows | Sequence[Rows],
    labels: Any,
    *,
    temperature: Scalar | float,
    block_size: int = BLOCK_SIZE,
) -> Scalar:
    """:class:`ssem_jax.losses.Sincere` of a training batch: every positive against the embeddings
    of other classes alone.

    Args:
        embeddings: (B, p, d), p views of each of B instances, or (N, d) rows in any order. They are
            normalised first.
        labels: (B,) or (N,) integers, or on the host labels of any kind that sorts. A row without
            another one of its class counts nothing.
        temperature: τ > 0.
        block_size: rows of the Gram matrix that are formed at a time.

    Returns:
        The loss, a scalar of at least 32 bits; 0 where no row has a positive.

    Raises:
        ValueError: embeddings of another shape, labels that do not fit, τ not positive and finite
            or an array, or a block size below 1.

    References:
        Feeney and Hughes (2023, arXiv:2309.14277).
    """
    block_size = check_count("block_size", block_size, 1)
    Sincere(temperature)  # which checks it
    if jnp.ndim(temperature):
        raise ValueError(
            f"temperature must be a number here; got shape {jnp.shape(temperature)}. Use jax.vmap "
            "over the loss for a batch."
        )
    rows, classes, _ = rows_of(embeddings, labels, None, None)
    unit = normalize(rows.astype(jnp.promote_types(rows.dtype, jnp.float32)))
    classes, tau = jnp.asarray(classes), jnp.asarray(temperature, unit.dtype)
    count = len(unit)

    @jax.checkpoint  # or all rows of the Gram matrix would be kept for the gradient
    def block(places: Array) -> tuple[Array, Array]:
        """Sums over some rows: of their mean terms, and of those that have any."""
        logits = product(unit[places % count], unit.T) / tau
        same = classes[places % count, None] == classes[None, :]
        others = places[:, None] != jnp.arange(count)[None, :]
        positive = same & others & (places[:, None] < count)
        negatives = jax.nn.logsumexp(jnp.where(same, -jnp.inf, logits), axis=1, keepdims=True)
        terms = jnp.where(positive, jax.nn.softplus(negatives - logits), 0)
        positives = jnp.sum(positive, axis=1)
        means = jnp.sum(terms, axis=1) / jnp.maximum(positives, 1)
        return jnp.sum(means), jnp.sum(positives > 0)

    size = min(block_size, count)
    places = jnp.arange(-(-count // size) * size).reshape(-1, size)
    sums, anchors = jax.lax.map(block, places)
    return jnp.sum(sums) / jnp.maximum(jnp.sum(anchors), 1)
