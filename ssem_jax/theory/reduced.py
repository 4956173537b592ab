"""The reduced loss of the room's docstring, its rays and its minimum.

Along a ray with slopes g = dD/dx the loss is convex, and it is stationary where the softmax average
of g equals its average over positives. That equation is linear in α and in r = e^{-m/((m-1)τ)}, so
boundaries and inverse design are explicit; in x it is a sum of two increasing exponentials equal to
1, which Newton's method solves without cancellation.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ssem_jax.compute.kernels import Kernel
from ssem_jax.problem.problem import Phase
from ssem_jax.theory.setting import BETWEEN, VIEW, WITHIN, Setting

# From within log 2 of a root Newton's method needs 5 steps in the spread phase; in the view-spread
# phase up to log p more (20 in all at p = 1e6). It stays at the root afterwards.
_NEWTON_STEPS = 30


def _logits(setting: Setting, dissimilarities: Array, temperature: Array) -> Array:
    return jnp.log(setting.counts) - dissimilarities / temperature[None]


def _reduced_loss(setting: Setting, dissimilarities: Array, alpha: Array, tau: Array) -> Array:
    log_total = jax.nn.logsumexp(_logits(setting, dissimilarities, tau), axis=0)
    pull = alpha * dissimilarities[VIEW] + (1 - alpha) * dissimilarities[WITHIN]
    return jnp.log(setting.p) + log_total + pull / tau


def _optimal_mixing(setting: Setting, leader: int, x: Array | float, tau: Array) -> Array:
    """The α at which the reduced loss is stationary at x on a ray: linear in α, hence explicit."""
    slopes = setting.slopes(leader)
    dissimilarities = setting.dissimilarities(slopes * jnp.broadcast_to(x, tau.shape)[None])
    softmax = jax.nn.softmax(_logits(setting, dissimilarities, tau), axis=0)

    def weight(slope: Array, of: Array) -> Array:
        return jnp.sum(softmax * (slope[None] - slopes), axis=0) / (slope - of)

    alpha = weight(slopes[WITHIN], of=slopes[VIEW])
    complement = weight(slopes[VIEW], of=slopes[WITHIN])
    return jnp.where(complement < 0.5, 1 - complement, alpha)  # either is exact where it is small


def _pulls(setting: Setting, leader: int, alpha: Array) -> Float[Array, "3 ..."]:
    r"""c_k Σ_j π_j (g_j - g_k): a ray is stationary where these, weighted by e^{-D/τ}, sum to 0.

    The kind that moves fastest pulls down and the two other kinds pull up.
    Differences of slopes are taken first, so that nothing cancels.
    """
    slopes = setting.slopes(leader)
    from_view, from_within = slopes[VIEW][None] - slopes, slopes[WITHIN][None] - slopes
    return setting.counts * (alpha[None] * from_view + (1 - alpha)[None] * from_within)


def _optimal_position(setting: Setting, leader: int, alpha: Array, tau: Array) -> Array:
    r"""The x > 0 at which the reduced loss is stationary on a ray.

    With A the other kind of positives and B the pairs of different classes, their pulls divided by
    that of the `leader`, and :math:`t = (g - g_B) x / \tau`, the condition is

    .. math:: h(t) = \log\bigl(A e^{\kappa t} + B e^{t - z}\bigr) = 0, \qquad z = -\log r,

    h convex and increasing. Newton's method starts where the larger term is 1, so 0 ≤ h ≤ log 2,
    and descends to the root monotonically; the argument of the logarithm stays in [1, 2].
    """
    other = VIEW + WITHIN - leader
    slopes, pulls = setting.slopes(leader), _pulls(setting, leader, alpha)
    rate = slopes[leader] - slopes[BETWEEN]
    kappa = (slopes[leader] - slopes[other]) / rate

    def step(t: Array, rival: Array, between: Array, z: Array) -> Array:
        # Where A = 0 its exponential may overflow, and 0 · inf is no number.
        first = rival * jnp.exp(jnp.minimum(kappa * t, 700))
        second = between * jnp.exp(t - z)
        total = first + second
        return t - jnp.log(total) * total / (kappa * first + second)

    parameters = (
        -pulls[other] / pulls[leader],
        -pulls[BETWEEN] / pulls[leader],
        setting.gap / tau,
    )
    # Only the last step carries derivatives: one Newton step at the root has those of the root.
    rival, between, z = fixed = jax.lax.stop_gradient(parameters)
    start = jnp.minimum(-jnp.log(rival) / kappa, z - jnp.log(between))
    root = jax.lax.fori_loop(0, _NEWTON_STEPS, lambda _, t: step(t, *fixed), start)
    return jnp.maximum(step(root, *parameters), 0) * tau / rate


class ReducedOptimum(NamedTuple):
    """Where the reduced loss has its minimum."""

    phase: Int[Array, "*batch"]
    delta2: Float[Array, "*batch"]
    view_variance: Float[Array, "*batch"]
    dissimilarities: Float[Array, "3 ..."]


@Kernel
def spread_boundary(setting: Setting, tau: Array) -> Array:
    boundary = _optimal_mixing(setting, WITHIN, 0.0, tau)
    return jnp.where(setting.n > 1, boundary, 1)


@Kernel
def view_boundary(setting: Setting, tau: Array) -> Array:
    boundary = _optimal_mixing(setting, VIEW, 0.0, tau)
    # The two boundaries may differ by less than a rounding; their order is exact.
    boundary = jnp.clip(boundary, 0, spread_boundary(setting, tau))
    return jnp.where(setting.excluded, boundary, 0)


@Kernel
def reduced_optimum(setting: Setting, alpha: Array, tau: Array) -> ReducedOptimum:
    def position(active: Array, leader: int) -> Array:
        # Elsewhere solve a harmless cell instead, so that no derivative is infinite.
        harmless = (2.0, 2.0, 2.0, 0.5, 0.5)
        *safe, safe_alpha = (
            jnp.where(active, own, other)
            for own, other in zip((*setting, alpha), harmless, strict=True)
        )
        return jnp.where(active, _optimal_position(Setting(*safe), leader, safe_alpha, tau), 0)

    spread = alpha > spread_boundary(setting, tau)
    view_spread = alpha < view_boundary(setting, tau)
    phase = jnp.where(spread, Phase.SPREAD, Phase.COLLAPSE)
    instances = position(spread, WITHIN)
    views = position(view_spread, VIEW)
    return ReducedOptimum(
        phase=jnp.where(view_spread, Phase.VIEW_SPREAD, phase),
        delta2=(setting.n - 1) * instances,
        view_variance=(setting.p - 1) * views,
        dissimilarities=setting.dissimilarities(
            setting.slopes(WITHIN) * instances[None] + setting.slopes(VIEW) * views[None]
        ),
    )


@Kernel
def reduced_minimum(setting: Setting, alpha: Array, tau: Array) -> Array:
    return _reduced_loss(setting, reduced_optimum(setting, alpha, tau).dissimilarities, alpha, tau)


@Kernel
def mixing_for_delta2(setting: Setting, delta2: Array, tau: Array) -> Array:
    x = delta2 / (setting.n - 1)
    return jnp.minimum(_optimal_mixing(setting, WITHIN, x, tau), 1)


@Kernel
def critical_temperatures(setting: Setting, alpha: Array) -> tuple[Array, Array]:
    """τ_c and τ_v: stationarity at x = 0 is linear in r = e^{-gap/τ} as well."""

    def temperature(ratio: Array, complement: Array) -> Array:
        # log1p where r is near 1; its argument is kept finite on the other side.
        near = ratio > 0.5
        log_ratio = jnp.where(
            near,
            jnp.log1p(-jnp.where(near, complement, 0)),
            jnp.log(jnp.where(near | (ratio <= 0), 0.5, ratio)),
        )
        return jnp.where(ratio > 0, setting.gap / jnp.abs(log_ratio), 0)

    def at_collapse(leader: int) -> tuple[Array, Array]:
        view, within, between = _pulls(setting, leader, alpha)
        return -(view + within) / between, between

    ratio, between = at_collapse(WITHIN)
    # 1 - r with the 1 - α that it contains in front, to be exact as α → 1.
    complement = (1 - alpha) * setting.n * jnp.sum(setting.counts, axis=0) / between
    tau_c = temperature(ratio, complement)
    ratio, _ = at_collapse(VIEW)
    tau_v = temperature(ratio, 1 - ratio)
    return jnp.where(setting.n > 1, tau_c, 0), jnp.where(setting.excluded, tau_v, 0)
