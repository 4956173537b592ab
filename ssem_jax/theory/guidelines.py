"""Simple sufficient conditions, n ≥ 2, that instance means spread."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool

from ssem_jax.theory.setting import anywhere, prepare


def summary_guideline(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    alpha: ArrayLike,
    temperature: ArrayLike,
) -> Bool[Array, "*batch"]:
    r"""Whether α ≥ 1/n and τ ≤ 1/log m. It does **not** prevent class collapse.

    A simplification in circulation, for either convention. For all m, n ≥ 2 some (α, τ) satisfy it
    and collapse: α = 1/n at every τ if self pairs are included. It needs no views; `num_views` is
    there for the common signature.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        alpha: α in [0, 1].
        temperature: τ > 0.

    Returns:
        Whether the condition holds, broadcast.

    Raises:
        ValueError: a count or a hyper-parameter out of range; 64-bit mode is off.
    """
    setting, (alpha, tau) = prepare(
        num_classes, num_instances, num_views, "include", alpha=alpha, temperature=temperature
    )
    return (alpha >= 1 / setting.n) & (tau <= 1 / jnp.log(setting.m))


def majority_guideline(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    alpha: ArrayLike,
    temperature: ArrayLike,
) -> Bool[Array, "*batch"]:
    r"""Whether α ≥ (n+1)/(2n) and τ ≤ 1/log m: sound if self pairs are included.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        alpha: α in [0, 1].
        temperature: τ > 0.

    Returns:
        Whether the condition holds, broadcast.

    Raises:
        ValueError: a count or a hyper-parameter out of range; 64-bit mode is off.

    References:
        Derived here: at τ = 1/log m, :func:`alpha_c` is below 1/n + (1 - 1/n)/2, because
        m^{m/(m-1)} > m + 1.
    """
    setting, (alpha, tau) = prepare(
        num_classes, num_instances, num_views, "include", alpha=alpha, temperature=temperature
    )
    return (alpha >= (setting.n + 1) / (2 * setting.n)) & (tau <= 1 / jnp.log(setting.m))


def power_guideline(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    alpha: ArrayLike,
    temperature: ArrayLike,
    power: ArrayLike = 2,
) -> Bool[Array, "*batch"]:
    r"""Whether α ≥ 1/n + (1-1/n) m^{-(k-1)} and τ ≤ 1/(k log m): sound if self pairs are included.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        alpha: α in [0, 1].
        temperature: τ > 0.
        power: k ≥ 1. Larger ones ask for a smaller α and a lower temperature.

    Returns:
        Whether the condition holds, broadcast.

    Raises:
        ValueError: a count, a hyper-parameter or k out of range; 64-bit mode is off.

    References:
        Derived here: :func:`alpha_c` is below 1/n + (1 - 1/n) m r.
    """
    if anywhere(lambda power: ~(power >= 1), power):
        raise ValueError(f"power must be at least 1; got {power}.")
    setting, (alpha, tau, k) = prepare(
        num_classes,
        num_instances,
        num_views,
        "include",
        alpha=alpha,
        temperature=temperature,
        power=power,
    )
    enough = 1 / setting.n + (1 - 1 / setting.n) * setting.m ** (1 - k)
    return (alpha >= enough) & (tau <= 1 / (k * jnp.log(setting.m)))


def excluded_guideline(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    alpha: ArrayLike,
    temperature: ArrayLike,
) -> Bool[Array, "*batch"]:
    r"""Whether α ≥ 1/n and τ ≤ 1/log N, N = mnp: sound if self pairs are excluded (p ≥ 2).

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        alpha: α in [0, 1].
        temperature: τ > 0.

    Returns:
        Whether the condition holds, broadcast.

    Raises:
        ValueError: a count or a hyper-parameter out of range; 64-bit mode is off.

    References:
        Derived here: :func:`alpha_c` is below 1/n iff N r < 1, that is iff τ < m/((m-1) log N).
    """
    setting, (alpha, tau) = prepare(
        num_classes, num_instances, num_views, "exclude", alpha=alpha, temperature=temperature
    )
    embeddings = setting.m * setting.n * setting.p
    return (alpha >= 1 / setting.n) & (tau <= 1 / jnp.log(embeddings))
