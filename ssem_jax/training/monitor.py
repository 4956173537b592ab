"""What batches look like, averaged over steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ssem_jax.geometry.shares import Variances
from ssem_jax.geometry.sphere import normalize
from ssem_jax.losses.positives import Groups, groups_of
from ssem_jax.problem.arrays import AnyArray, Rows
from ssem_jax.problem.pytrees import pytree_dataclass
from ssem_jax.problem.validation import check_type, concrete
from ssem_jax.training.batch_loss import Scalar, rows_of

DECAY = 0.99
"""Of the running average: it looks back over some 100 batches."""


def batch_variances(
    embeddings: Float[AnyArray, "*rows d"] | Rows | Sequence[Rows],
    labels: Any,
    *,
    instance_ids: Any = None,
    axis_name: str | None = None,
) -> Variances:
    r"""How the normalised embeddings of a batch spread: over views, within and between classes.

    The variances of :func:`ssem_jax.geometry.variances`, with labels that may be traced,

    .. math::
       \langle \|\nu - \mu_k\|^2 \rangle = \delta^2, \quad \langle \|u - \nu\|^2 \rangle, \quad
       \langle \|\mu_k - \mu\|^2 \rangle,

    where ν is the mean of an instance, μ_k of a class, μ of all, and every row counts alike.

    Args:
        embeddings: (B, p, d) or (N, d), as for :func:`supcl_loss`.
        labels: (B,) or (N,), as for :func:`supcl_loss`.
        instance_ids: (B,) or (N,), or None, as for :func:`supcl_loss`.
        axis_name: the mesh axis over which the batch is sharded; the variances are then those of
            the whole batch.

    Returns:
        Scalars view, delta2, between and mean_squared; within and total are sums of them.

    Raises:
        ValueError: embeddings of another shape, or labels that do not fit.
    """
    rows, *ids = rows_of(embeddings, labels, instance_ids, axis_name)
    unit = normalize(rows.astype(jnp.promote_types(rows.dtype, jnp.float32)))
    if axis_name is not None:
        unit, *ids = jax.lax.all_gather((unit, *ids), axis_name, tiled=True)
    of_class, of_instance = (means_of(unit, groups) for groups in groups_of(*ids))
    center = jnp.mean(unit, axis=0)

    def spread(deviation: Float[Array, "N d"]) -> Scalar:
        value = jnp.mean(jnp.sum(deviation * deviation, axis=1))
        return value if axis_name is None else jax.lax.pmean(value, axis_name)

    return Variances(
        view=spread(unit - of_instance),
        delta2=spread(of_instance - of_class),
        between=spread(of_class - center[None]),
        mean_squared=spread(jnp.broadcast_to(center, unit.shape)),
    )


@pytree_dataclass
class BatchMonitor:
    r"""A running average of the variances of batches, as a pure state for jit and scan.

    .. math:: \bar v_t = \sum_{s \le t} \gamma^{t-s} v_s \Bigl/ \sum_{s \le t} \gamma^{t-s}

    Start with `BatchMonitor()`.

    Args:
        decay: γ in [0, 1); 0 looks at the last batch alone.
        weight: the denominator.
        sums: the numerators.

    Raises:
        ValueError: γ outside [0, 1).
    """

    decay: float = dataclasses.field(default=DECAY, metadata={"static": True})
    weight: Scalar = dataclasses.field(default_factory=lambda: jnp.zeros((), jnp.float32))
    sums: Variances = dataclasses.field(
        default_factory=lambda: Variances(*jnp.zeros((len(Variances._fields),), jnp.float32))
    )

    def __post_init__(self) -> None:
        decay = concrete(self.decay, "decay")
        if decay is None or decay.shape or not 0 <= decay < 1:
            raise ValueError(
                f"decay must lie in [0, 1); got {self.decay}. 0.99 looks back over 100 batches."
            )

    def update(self, variances: Variances) -> BatchMonitor:
        """The state after another batch."""
        check_type("variances", variances, Variances, "what batch_variances returns")
        batch = jax.tree.map(jax.lax.stop_gradient, (jnp.ones_like(self.weight), variances))
        weight, sums = jax.tree.map(
            lambda old, new: self.decay * old + new.astype(old.dtype),
            (self.weight, self.sums),
            batch,
        )
        return dataclasses.replace(self, weight=weight, sums=sums)

    @property
    def average(self) -> Variances:
        """The running average; NaN before the first batch."""
        return jax.tree.map(lambda total: total / self.weight, self.sums)


def means_of(rows: Float[Array, "N d"], grouped: Groups) -> Float[Array, "N d"]:
    """The mean of every row's group."""
    groups, sizes = grouped
    return jax.ops.segment_sum(rows, groups, len(rows))[groups] / sizes[:, None]
