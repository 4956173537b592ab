"""Where class collapse ends, and where the views of an instance part."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ssem_jax.theory.reduced import critical_temperatures, spread_boundary, view_boundary
from ssem_jax.theory.setting import of_cell, prepare


@of_cell
def alpha_c(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    temperature: ArrayLike,
    self_pairs: str = "include",
) -> Float[Array, "*batch"]:
    r"""The collapse boundary: the instance means of a class coincide iff α ≤ α_c(τ).

    .. math:: \alpha_c = \frac{w + (mn-1) r}{n-1+w+n(m-1) r}, \qquad r = e^{-m/((m-1)\tau)}

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple" (module docstring).

    Returns:
        α_c in [0, 1], broadcast; 1 where n = 1, where nothing can spread.

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range; 64-bit mode is off.

    References:
        Lee, Oh, Lee and Sohn (AISTATS 2025, arXiv:2503.08203) for class collapse in this loss;
        derived here: stationarity of the reduced loss at the end b = 0 of the spread ray.
    """
    setting, (tau,) = prepare(
        num_classes, num_instances, num_views, self_pairs, temperature=temperature
    )
    return spread_boundary(setting, tau)


def alpha_local(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    temperature: ArrayLike,
) -> Float[Array, "*batch"]:
    r"""α_loc: up to here collapse is a local minimum in R^{m-1}, where classes fill all dimensions.

    .. math:: 1 - \alpha_\mathrm{loc} = (1 - \alpha_c) \Bigl(1 - \frac{z}{e^z - 1}\Bigr), \qquad
              z = \frac{m}{(m-1)\tau}

    Self pairs included. An instance can leave its class mean only along directions that classes
    use; so it lies above :math:`\alpha_c`, which rules wherever d ≥ m.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        temperature: τ > 0.

    Returns:
        α_loc in [α_c, 1], broadcast.

    Raises:
        ValueError: a count or a hyper-parameter out of range; 64-bit mode is off.

    References:
        Derived here: the Hessian at collapse along the directions of the class means.
    """
    setting, (tau,) = prepare(
        num_classes, num_instances, num_views, "include", temperature=temperature
    )
    z = setting.gap / tau
    return 1 - (1 - spread_boundary(setting, tau)) * (1 - z / jnp.expm1(z))


@of_cell
def alpha_v(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    temperature: ArrayLike,
    self_pairs: str = "exclude",
) -> Float[Array, "*batch"]:
    r"""The view-spread boundary: the views of an instance part iff α < α_v(τ).

    .. math:: \alpha_v = \frac{w (1 - N r)}{n-1+w+n(m-1) r}, \qquad N = mnp

    It is below :math:`\alpha_c` by :math:`r (N-1) / (n-1+w+n(m-1) r)`.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple" (module docstring).

    Returns:
        α_v in [0, 1), broadcast; 0, which no α is below, where views never part: above the
        temperature m/((m-1) log N), for p = 1, and unless self pairs are excluded.

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range; 64-bit mode is off.

    References:
        Derived here: stationarity of the reduced loss at the end a = 0 of the view-spread ray.
    """
    setting, (tau,) = prepare(
        num_classes, num_instances, num_views, self_pairs, temperature=temperature
    )
    return view_boundary(setting, tau)


@of_cell
def alpha_c_limit(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    self_pairs: str = "include",
) -> Float[Array, "*batch"]:
    r"""The limit of α_c as τ → 0: at or below it collapse is optimal at every temperature.

    .. math:: \lim_{\tau \to 0} \alpha_c = \frac{w}{n-1+w}

    It is 1/n if self pairs are included, (p-1)/(np-1) if excluded, 0 if decoupled. As τ → ∞ the
    boundary tends to 1.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        self_pairs: "include", "exclude" or "decouple" (module docstring).

    Returns:
        The limit, broadcast; 1 where n = 1.

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range; 64-bit mode is off.

    References:
        Derived here: r → 0 in :func:`alpha_c`.
    """
    setting, _ = prepare(num_classes, num_instances, num_views, self_pairs)
    others = setting.n - 1
    return jnp.where(others > 0, setting.w / jnp.where(others > 0, others + setting.w, 1), 1)


@of_cell
def tau_c(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    alpha: ArrayLike,
    self_pairs: str = "include",
) -> Float[Array, "*batch"]:
    r"""The collapse temperature: the instance means of a class coincide iff τ ≥ τ_c(α).

    .. math::
       \tau_c = \frac{m}{m-1} \Bigl/
       \log \frac{n-1 + (1-\alpha) n(m-1)}{\alpha(n-1) - (1-\alpha) w}

    It is as ill-conditioned as α is close to the value that collapses at every temperature:

    .. math::
       \frac{\alpha}{\tau_c} \frac{d\tau_c}{d\alpha} = \frac{(m-1) \tau_c \alpha}{m} \Bigl[
       \frac{n-1+w}{\alpha(n-1) - (1-\alpha) w} + \frac{n(m-1)}{n-1 + (1-\alpha) n(m-1)} \Bigr]

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        alpha: α in [0, 1], the weight of L_self; 1 where n = 1, and 0 where p = 1 unless included.
        self_pairs: "include", "exclude" or "decouple" (module docstring).

    Returns:
        τ_c, broadcast; 0 where α ≤ w/(n-1+w) (collapsed at every temperature), inf at α = 1.

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range; 64-bit mode is off.

    References:
        Lee, Oh, Lee and Sohn (AISTATS 2025, arXiv:2503.08203) for class collapse in this loss;
        derived here: :func:`alpha_c` solved for r.
    """
    setting, (alpha,) = prepare(num_classes, num_instances, num_views, self_pairs, alpha=alpha)
    return critical_temperatures(setting, alpha)[0]


@of_cell
def tau_v(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    alpha: ArrayLike = 0.0,
    self_pairs: str = "exclude",
) -> Float[Array, "*batch"]:
    r"""The view-spread temperature: the views of an instance part iff τ < τ_v(α).

    .. math::
       \tau_v = \frac{m}{m-1} \Bigl/
       \log \frac{w N + \alpha n(m-1)}{(1-\alpha) w - \alpha(n-1)},
       \qquad \tau_v(0) = \frac{m}{m-1} \Bigl/ \log N

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        alpha: α in [0, 1], the weight of L_self; 1 where n = 1, and 0 where p = 1 unless included.
        self_pairs: "include", "exclude" or "decouple" (module docstring).

    Returns:
        τ_v, broadcast; 0 where views part at no temperature. Its maximum over α is τ_v(0).

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range; 64-bit mode is off.

    References:
        Derived here: :func:`alpha_v` solved for r.
    """
    setting, (alpha,) = prepare(num_classes, num_instances, num_views, self_pairs, alpha=alpha)
    return critical_temperatures(setting, alpha)[1]
