"""Classes of different size: when they collapse, when minorities merge."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from ssem_jax.problem.validation import (
    check_choice,
    check_count,
    check_positive,
    check_temperature,
)

HALVINGS = 60
"""Of the interval of a cosine: more than float64 has digits."""


def two_class_threshold(
    sizes: tuple[int, int], temperature: float, mean: str = "pairs"
) -> Float[np.ndarray, " 2"]:
    r"""Where each of two classes would part from collapse while the other stays; m = 2.

    .. math::
       \alpha_k = 1 - (n_k-1) \Bigl[\frac1{D_k} - \frac{n_l}{2 n_k} y
          \Bigl(\frac1{D_1} + \frac1{D_2}\Bigr)\Bigr], \quad y = e^{-2/\tau}, \;
       D_k = n_k + n_l y

    with the mean over anchors; over pairs, the multiplier of the instances is linear in α too.
    The smaller of the two is the exact threshold of its class, self pairs included.

    Args:
        sizes: (n_1, n_2), both at least 2.
        temperature: τ > 0.
        mean: "pairs" or "anchors".

    Returns:
        (2,) thresholds.

    Raises:
        ValueError: not two sizes of at least 2, a τ that is not positive, or an unknown mean.

    References:
        The multipliers of the reduced problem at two antipodal classes.
    """
    if len(sizes) != 2:
        raise ValueError(f"sizes must be those of two classes; got {len(sizes)} of them.")
    n = np.array([check_count("every class size", size, 2) for size in sizes], float)
    check_temperature(temperature)
    check_choice("mean", mean, ("pairs", "anchors"))
    y, other, total = math.exp(-2 / temperature), n[::-1], n.sum()
    denominator = n + other * y
    pairs = n * (n - 1)
    sup = pairs / pairs.sum() if mean == "pairs" else n / total

    def slack(alpha: float) -> np.ndarray:
        """n_k times the dual eigenvalue of the instances, in units of 1/τ."""
        weight = ((1 - alpha) * sup + alpha * n / total) / denominator
        apart = 0.5 * n * other * y * weight.dot(1 / n)
        return apart - n * (weight - (1 - alpha) * sup / (n - 1))

    at_0, at_1 = slack(0.0), slack(1.0)
    return at_0 / (at_0 - at_1)


def minority_collapse_ratio(num_minorities: int, temperature: float) -> float:
    r"""The imbalance at which the classes of a collapsed minority merge with one another.

    One majority class of n instances and k minority classes of n' instances each, per-anchor mean,
    self pairs included, α below all collapse thresholds: the minority classes coincide iff
    ρ = n/(k n') is at least the positive root of

    .. math:: y (1+y) \rho^2 + [y (1+y) - 2] \rho - 2y = 0, \quad y = e^{-2/\tau}.

    Args:
        num_minorities: k ≥ 2.
        temperature: τ > 0.

    Returns:
        The critical ratio ρ of majority to all minority instances; it depends on k not at all.

    Raises:
        ValueError: k < 2, or τ not positive.

    References:
        Fang, He, Long and Su (PNAS 2021) for minority collapse with cross-entropy.
    """
    check_count("num_minorities", num_minorities, 2)
    check_temperature(temperature)
    y = math.exp(-2 / temperature)
    square, linear = y * (1 + y), y * (1 + y) - 2
    return (-linear + math.sqrt(linear**2 + 8 * y * square)) / (2 * square)


def majority_cosine(num_minorities: int, ratio: float, temperature: float) -> float:
    r"""The cosine c of the majority with each of k collapsed minorities, by bisection.

    .. math:: \frac{\rho k x}{\rho k + k x} + \frac{\rho k x + 2 c k z}{1 + \rho k x + (k-1) z} = 0,
              \quad x = e^{(c-1)/\tau}, \; z = e^{(e-1)/\tau}, \; e = c^2 - \frac{1-c^2}{k-1}

    with one majority class of n instances and k minority classes of n' each, per-anchor mean, self
    pairs included, all collapsed; the minorities have cosine e with one another.

    Args:
        num_minorities: k ≥ 2.
        ratio: ρ = n/(k n') > 0, of majority to all minority instances.
        temperature: τ > 0.

    Returns:
        c in [-1, 0]; -1 where the left side is not negative there, from the critical ratio of
        :func:`minority_collapse_ratio` on.

    Raises:
        ValueError: k < 2, a ratio or a τ that is not positive.
    """
    k, low, high = check_count("num_minorities", num_minorities, 2), -1.0, 0.0
    check_positive("ratio", ratio)
    check_temperature(temperature)

    def slope(c: float) -> float:
        x = math.exp((c - 1) / temperature)
        z = math.exp((c * c - (1 - c * c) / (k - 1) - 1) / temperature)
        major = k * ratio * x
        return major / (k * ratio + k * x) + (major + 2 * c * k * z) / (1 + major + (k - 1) * z)

    if slope(low) >= 0:
        return low
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 0.5 * (low + high)


def minorities_can_merge(num_majorities: int, temperature: float) -> bool:
    r"""Whether minority classes merge at some finite imbalance, with several majority classes.

    .. math::
       \frac{m_1 e_0}{4} \Bigl(\frac{e_0}{c} + \frac1{m_1}\Bigr)^2 \frac{c}{e_a} > 1, \quad
       e_0 = e^{-1/\tau}, \; e_a = e^{-m_1/((m_1-1)\tau)}, \; c = 1 + (m_1-1) e_a

    with m₁ majority classes of equal size, per-anchor mean, self pairs included, all collapsed. One
    majority always merges its minorities (see :func:`minority_collapse_ratio`).

    Args:
        num_majorities: m₁ ≥ 1.
        temperature: τ > 0.

    Returns:
        Whether a finite ratio of class sizes is enough.

    Raises:
        ValueError: m₁ < 1, or τ not positive.
    """
    count = check_count("num_majorities", num_majorities, 1)
    check_temperature(temperature)
    if count == 1:
        return True
    # Multiplied out, e_0²/e_a = e^{(2 - m₁)/((m₁-1)τ)} no longer underflows.
    apart = math.exp(-count / ((count - 1) * temperature))
    level, total = math.exp(-1 / temperature), 1 + (count - 1) * apart
    ratio = math.exp(1 / ((count - 1) * temperature))  # e_0 / e_a
    return count * ratio / 4 * (level / total + 1 / count) ** 2 * total > 1
