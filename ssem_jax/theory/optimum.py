"""What the optimum looks like: phase, variances, similarities, the loss."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from ssem_jax.geometry.shares import Variances, largest_delta2, similarities_of
from ssem_jax.geometry.similarities import Similarities
from ssem_jax.problem.validation import concrete
from ssem_jax.theory.reduced import (
    ReducedOptimum,
    mixing_for_delta2,
    reduced_minimum,
    reduced_optimum,
)
from ssem_jax.theory.setting import anywhere, of_cell, prepare

# The accuracy that the module docstring claims, and so what a variance may exceed its maximum by.
_ACCURACY = 1e-12


@of_cell
def phase(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    alpha: ArrayLike,
    temperature: ArrayLike,
    self_pairs: str = "include",
) -> Int[Array, "*batch"]:
    r"""The phase of the optimum: view-spread below α_v, collapse up to α_c, spread above.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        alpha: α in [0, 1], the weight of L_self; 1 where n = 1, and 0 where p = 1 unless included.
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple" (module docstring).

    Returns:
        Codes of :class:`ssem_jax.problem.Phase`, broadcast. A boundary belongs to collapse.

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range; 64-bit mode is off.

    References:
        Derived here: :func:`alpha_c`, :func:`alpha_v`.
    """
    setting, hyper = prepare(
        num_classes, num_instances, num_views, self_pairs, alpha=alpha, temperature=temperature
    )
    return reduced_optimum(setting, *hyper).phase


@of_cell
def delta2(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    alpha: ArrayLike,
    temperature: ArrayLike,
    self_pairs: str = "include",
) -> Float[Array, "*batch"]:
    r"""Variance δ² of the instance means within their class at the optimum.

    The parameter of the simplex-to-simplex embedding model, the unique root q > 0 of

    .. math::
       \alpha (n-1) e^{-qn/((n-1)\tau)}
       = (1-\alpha) w + \bigl[(1-\alpha) n(m-1) + n-1\bigr] e^{-(m-q)/((m-1)\tau)}

    where α > α_c, else 0. Nondecreasing in α, unimodal in τ.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        alpha: α in [0, 1], the weight of L_self; 1 where n = 1, and 0 where p = 1 unless included.
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple" (module docstring).

    Returns:
        δ² in [0, m(n-1)/(mn-1)], broadcast; exactly 0 in collapse and in view-spread, and the
        maximum, the mn-simplex, at α = 1.

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range; 64-bit mode is off.

    References:
        Lee, Oh, Lee and Sohn (AISTATS 2025, arXiv:2503.08203) for the embedding model; derived
        here: the reduced loss is convex along the spread ray.
    """
    setting, hyper = prepare(
        num_classes, num_instances, num_views, self_pairs, alpha=alpha, temperature=temperature
    )
    return reduced_optimum(setting, *hyper).delta2


@of_cell
def view_variance(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    alpha: ArrayLike,
    temperature: ArrayLike,
    self_pairs: str = "include",
) -> Float[Array, "*batch"]:
    r"""Variance v of the views about their instance mean at the optimum.

    The unique root v > 0, where α < α_v (else 0), of

    .. math::
       (1-\alpha) w e^{-v/(w\tau)} = \alpha (n-1) e^{-v/\tau}
       + \bigl[w N + \alpha n(m-1)\bigr] e^{-(m-v)/((m-1)\tau)}

    In terms of s_view = 1 - a it is (p-1)a/p.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        alpha: α in [0, 1], the weight of L_self; 1 where n = 1, and 0 where p = 1 unless included.
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple" (module docstring).

    Returns:
        v in [0, m(p-1)/(mp-1)], broadcast; exactly 0 outside the view-spread phase.

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range; 64-bit mode is off.

    References:
        Derived here: the reduced loss is convex along the view-spread ray.
    """
    setting, hyper = prepare(
        num_classes, num_instances, num_views, self_pairs, alpha=alpha, temperature=temperature
    )
    return reduced_optimum(setting, *hyper).view_variance


@of_cell
def similarities(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    alpha: ArrayLike,
    temperature: ArrayLike,
    self_pairs: str = "include",
) -> Similarities:
    r"""The three cosine similarities at the optimum.

    .. math::
       s_\mathrm{view} = 1 - \tfrac{p}{p-1} v, \quad
       s_\mathrm{within} = 1 - v - \tfrac{n}{n-1} \delta^2, \quad
       s_\mathrm{between} = -\frac{1 - v - \delta^2}{m-1}

    with δ² of :func:`delta2` and v of :func:`view_variance`, of which one is 0 at least.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        alpha: α in [0, 1], the weight of L_self; 1 where n = 1, and 0 where p = 1 unless included.
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple" (module docstring).

    Returns:
        Similarities, broadcast. Pairs that do not exist (p = 1 or n = 1) count as coinciding.

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range; 64-bit mode is off.

    References:
        Lee, Oh, Lee and Sohn (AISTATS 2025, arXiv:2503.08203) for the embedding model; derived
        here: averaging over relabellings leaves an optimum with three similarities.
    """
    setting, hyper = prepare(
        num_classes, num_instances, num_views, self_pairs, alpha=alpha, temperature=temperature
    )
    found = _shares(reduced_optimum(setting, *hyper))
    return similarities_of(found, setting.m, setting.n, setting.p)


@of_cell
def variances(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    alpha: ArrayLike,
    temperature: ArrayLike,
    self_pairs: str = "include",
) -> Variances:
    r"""All variances at the optimum.

    .. math:: 1 = \underbrace{(\delta^2 + v)}_\text{within}
       + \underbrace{(1 - \delta^2 - v)}_\text{between}

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        alpha: α in [0, 1], the weight of L_self; 1 where n = 1, and 0 where p = 1 unless included.
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple" (module docstring).

    Returns:
        Variances, broadcast.

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range; 64-bit mode is off.

    References:
        Lee, Oh, Lee and Sohn (AISTATS 2025, arXiv:2503.08203) for the variances; derived here:
        an optimum has mean zero.
    """
    setting, hyper = prepare(
        num_classes, num_instances, num_views, self_pairs, alpha=alpha, temperature=temperature
    )
    return _shares(reduced_optimum(setting, *hyper))


def _shares(optimum: ReducedOptimum) -> Variances:
    """An optimum has mean zero, so that class means take what views and instances leave of 1."""
    view, delta2 = optimum.view_variance, optimum.delta2
    return Variances(view, delta2, 1 - (delta2 + view), jnp.zeros_like(view))


@of_cell
def loss(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    alpha: ArrayLike,
    temperature: ArrayLike,
    self_pairs: str = "include",
) -> Float[Array, "*batch"]:
    r"""The minimum of the loss over all embeddings in a dimension that admits the optimum.

    The reduced loss (module docstring) at its minimum, with the terms and signs of
    :class:`ssem_jax.losses.SupCL`. For a decoupled loss an anchor's own instance is left out of
    the denominator, and the minimum may be negative.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        alpha: α in [0, 1], the weight of L_self; 1 where n = 1, and 0 where p = 1 unless included.
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple" (module docstring).

    Returns:
        The minimal loss, broadcast.

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range; 64-bit mode is off.

    References:
        Derived here: the loss is convex in the Gram matrix and invariant under relabelling, so
        that its minimum is attained at a Gram matrix with three similarities.
    """
    setting, hyper = prepare(
        num_classes, num_instances, num_views, self_pairs, alpha=alpha, temperature=temperature
    )
    return reduced_minimum(setting, *hyper)


@of_cell
def alpha_for_delta2(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    delta2: ArrayLike,
    temperature: ArrayLike,
    self_pairs: str = "include",
) -> Float[Array, "*batch"]:
    r"""Inverse design: the α whose optimum has a given within-class variance.

    .. math::
       \alpha = \frac{w + (mn-1) y}{w + (n-1) x + n(m-1) y}, \quad
       x = e^{-qn/((n-1)\tau)}, \quad y = e^{-(m-q)/((m-1)\tau)}, \quad q = \delta^2

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 2 per class.
        num_views: p ≥ 1 per instance; at least 2 unless self pairs are included.
        delta2: δ² in (0, m(n-1)/(mn-1)].
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple" (module docstring).

    Returns:
        α in (α_c, 1], broadcast.

    Raises:
        ValueError: a δ² that no α attains; anything else out of range; 64-bit mode is off.

    References:
        Derived here: stationarity of the reduced loss is linear in α.
    """
    concrete(delta2, "delta2")
    setting, (q, tau) = prepare(
        num_classes,
        num_instances,
        num_views,
        self_pairs,
        delta2=delta2,
        temperature=temperature,
    )
    if self_pairs != "include" and anywhere(lambda p: p == 1, num_views):
        raise ValueError(
            f"num_views must be at least 2 when self pairs are {self_pairs}d, for delta2 > 0 needs "
            "alpha > 0; got 1. Add views, or include self pairs."
        )
    largest = largest_delta2(setting.m, setting.n)
    if anywhere(lambda q, top: ~((q > 0) & (q <= top + _ACCURACY)), q, largest):
        raise ValueError(
            "delta2 must lie in (0, m(n-1)/(mn-1)], whose ends are class collapse, which every "
            f"alpha up to alpha_c attains, and the simplex of all instances; got {delta2} "
            f"where the maximum is {largest}."
        )
    return mixing_for_delta2(setting, q, tau)
