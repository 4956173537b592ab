r"""Embeddings without negative coordinates, as after a ReLU: G_ij ≥ 0, and what that changes.

The loss increases in every similarity between classes, and 0 is the least that is allowed; so
**different classes are orthogonal**, at any imbalance and temperature, and every class is a problem
of its own. With r₀ = e^{-1/τ} in the place of r = e^{-m/((m-1)τ)}, instances spread at other α than
on the whole sphere: later at low temperatures.

Proven for matrices with G ⪰ 0 and G ≥ 0, of which Gram matrices of nonnegative vectors are some, so
that the minimum over those is no lower; outside the view-spread phase it is attained by them.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import check_choice, check_temperature
from ssem_jax.theory.setting import SELF_PAIRS, of_cell, prepare, self_weight


@of_cell
def nonnegative_alpha_c(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    temperature: ArrayLike,
    self_pairs: str = "include",
) -> Float[Array, "*batch"]:
    r"""The collapse boundary α_c⁺ of nonnegative embeddings.

    .. math:: \alpha_c^+ = \frac{w + n(m-1) r_0}{n-1 + w + n(m-1) r_0}, \qquad r_0 = e^{-1/\tau}

    It is above :math:`\alpha_c` iff e^{1/((m-1)τ)} - r₀ > (nm-1+w)/(n(m-1)): at low temperatures.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple".

    Returns:
        α_c⁺ in [0, 1], broadcast; 1 where n = 1.

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range; 64-bit mode is off.

    References:
        Derived here: the slope of the loss along similarities within a class, at collapse.
    """
    setting, (tau,) = prepare(
        num_classes, num_instances, num_views, self_pairs, temperature=temperature
    )
    held = setting.w + setting.n * (setting.m - 1) * jnp.exp(-1 / tau)
    return jnp.where(setting.n == 1, 1.0, held / (setting.n - 1 + held))


@of_cell
def nonnegative_within(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    alpha: ArrayLike,
    temperature: ArrayLike,
    self_pairs: str = "include",
) -> Float[Array, "*batch"]:
    r"""The similarity s within classes of nonnegative embeddings at the optimum, views coinciding.

    .. math:: e^{s/\tau} = \frac{(1-\alpha) \bigl(w/r_0 + n(m-1)\bigr)}{\alpha (n-1)},
              \text{ clipped to } [1, e^{1/\tau}], \qquad \delta^2 = (1-s) (n-1)/n

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        alpha: α in [0, 1], the weight of L_self; 1 where n = 1, and 0 where p = 1 unless included.
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple".

    Returns:
        s in [0, 1], broadcast: 1 up to α_c⁺, 0 (all instances orthogonal) from
        (w/r₀ + n(m-1))/(w/r₀ + nm-1) on.

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range; 64-bit mode is off.

    References:
        Derived here: stationarity in s, where different classes are orthogonal.
    """
    setting, (alpha, tau) = prepare(
        num_classes, num_instances, num_views, self_pairs, alpha=alpha, temperature=temperature
    )
    # e^{(s-1)/τ}, so that nothing overflows at low temperatures.
    held = setting.w + setting.n * (setting.m - 1) * jnp.exp(-1 / tau)
    ratio = (1 - alpha) * held / jnp.maximum(alpha * (setting.n - 1), 1e-300)
    found = 1 + tau * jnp.log(jnp.maximum(ratio, 1e-300))
    return jnp.where(setting.n == 1, 1.0, jnp.clip(found, 0, 1))


def nonnegative_alpha_v(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    temperature: ArrayLike,
) -> Float[Array, "*batch"]:
    r"""Below it the views of an instance part; self pairs excluded.

    .. math:: \alpha_v^+ = \frac{(p-1) (1 - p n (m-1) r_0)}{np - 1 + p n (m-1) r_0}

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        temperature: τ > 0.

    Returns:
        α_v⁺, broadcast; 0 where views never part.

    Raises:
        ValueError: a count or a hyper-parameter out of range; 64-bit mode is off.
    """
    setting, (tau,) = prepare(
        num_classes, num_instances, num_views, "exclude", temperature=temperature
    )
    others = setting.p * setting.n * (setting.m - 1) * jnp.exp(-1 / tau)
    below = setting.n * setting.p - 1 + others
    return jnp.maximum((setting.p - 1) * (1 - others) / jnp.maximum(below, 1e-300), 0)


def orthogonal_thresholds(
    structure: ClassStructure,
    temperature: float,
    self_pairs: str = "include",
    mean: str = "pairs",
) -> Float[np.ndarray, " m"]:
    r"""α_k⁺ of classes of any size: class k of nonnegative embeddings is collapsed iff α ≤ α_k⁺.

    .. math::
       \alpha_k^+ = \frac{M q_k}{K + M q_k} \text{ (pairs)}, \quad
       \frac{M q_k}{M q_k + (n_k-1) M_2} \text{ (anchors)}, \qquad
       q_k = w + (M-n_k) r_0

    with M instances, :math:`K = \sum n_i (n_i-1)` and M₂ of them in classes of 2 at least. Classes
    are orthogonal, so each has a threshold of its own.

    Args:
        structure: classes and views.
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple".
        mean: "pairs" or "anchors".

    Returns:
        (m,) thresholds; 1 for a class of one instance.

    Raises:
        ValueError: no class of two instances, a τ that is not positive, or an unknown convention.
    """
    check_structure(structure)
    check_temperature(temperature)
    check_choice("self_pairs", self_pairs, SELF_PAIRS)
    check_choice("mean", mean, ("pairs", "anchors"))
    n, p = np.asarray(structure.sizes, float), structure.num_views
    if n.max() < 2:
        raise ValueError(
            "no class has two instances, so none can part; give a class of two at least."
        )
    w = self_weight(self_pairs, p)
    held = n.sum() * (w + (n.sum() - n) * math.exp(-1 / temperature))
    pushed = np.sum(n * (n - 1)) if mean == "pairs" else (n - 1) * n[n > 1].sum()
    return np.where(n > 1, held / (pushed + held), 1.0)
