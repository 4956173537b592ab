r"""Closed forms for balanced classes: where class collapse ends, and what the optimum looks like.

m classes of n instances with p views each. By convexity in the Gram matrix and symmetry an optimum
has three similarities (of views, within a class, between classes), and all of them lie on one
affine family with a, b ≥ 0, written here as dissimilarities 1 - s:

.. math::
   1 - s_\mathrm{view} = a, \quad
   1 - s_\mathrm{within} = \tfrac{p-1}{p} a + b, \quad
   1 - s_\mathrm{between} = \tfrac{1}{m-1}\bigl(m - \tfrac{p-1}{p} a - \tfrac{n-1}{n} b\bigr).

On it the loss is a log-sum-exp minus a linear term, the **reduced loss**

.. math::
   L = \log p \sum_k c_k e^{-D_k/\tau} + \sum_k \pi_k D_k / \tau,
   \qquad c = (w,\; n-1,\; n(m-1)), \quad \pi = (\alpha,\; 1-\alpha,\; 0),

with D the dissimilarities (up to e^{1/τ}, which cancels) and w the weight of an anchor's own
instance in the denominator: 1 if self pairs are included, (p-1)/p if they are excluded, and 0 for
losses that decouple it. (With self pairs included this is the loss at a = 0 only, and a = 0 at
every optimum.) Everything in this module follows from it. Two rays leave full collapse (a = b = 0):

* **spread** (b = n x > 0, a = 0): the instances of a class part; they do iff α > α_c;
* **view spread** (a = p x > 0, b = 0): the views of an instance part; they do iff α < α_v, and only
  when self pairs are excluded.

Along a ray with slopes g = dD/dx the loss is convex, and it is stationary where the softmax average
of g equals its average over positives. That equation is linear in α and in r = e^{-m/((m-1)τ)}, so
boundaries and inverse design are explicit; in x it is a sum of two increasing exponentials equal to
1, which Newton's method solves without cancellation.

All functions broadcast, and work under jit, vmap and grad (with respect to α and τ, off the phase
boundaries). Accuracy, for τ in [0.02, 50], m and n up to 1e6 and p up to 1e4: 1e-12, absolute for
what is at most 1, relative for losses above it. Two things are less exact, because the numbers that
go in are: an α equal to α_c as rounded counts as collapse, and critical temperatures lose a few
roundings times their condition number, which is large near the α that collapses at every τ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from ssem_jax.optima import SigmoidOptimum as SigmoidOptimum
from ssem_jax.optima import SpectralOptimum as SpectralOptimum
from ssem_jax.optima import collapse_criterion as collapse_criterion
from ssem_jax.optima import sigmoid_optimum as sigmoid_optimum
from ssem_jax.optima import spectral_optimum as spectral_optimum
from ssem_jax.problem import (
    Phase,
    check_choice,
    check_count,
    check_mixing,
    check_temperature,
    concrete,
    require_x64,
)
from ssem_jax.simplex import Similarities

SELF_PAIRS = ("include", "exclude", "decouple")

# From within log 2 of a root Newton's method needs 5 steps in the spread phase; in the view-spread
# phase up to log p more (20 in all at p = 1e6). It stays at the root afterwards.
_NEWTON_STEPS = 30

# The accuracy that the module docstring claims, and so what a variance may exceed its maximum by.
_ACCURACY = 1e-12

_VIEW, _WITHIN, _BETWEEN = range(3)


class Variances(NamedTuple):
    """Variances of the embeddings at an optimum; total = within + between.

    Attributes:
        total: mean squared distance of an embedding from the mean of all. Always 1, the maximum.
        within: from the mean of its class.
        between: of a class mean from the mean of all.
        view: from the mean of its instance, a part of `within`.
    """

    total: Float[Array, "*batch"]
    within: Float[Array, "*batch"]
    between: Float[Array, "*batch"]
    view: Float[Array, "*batch"]


# ---------------------------------------------------------------------------------------------
# The reduced loss. Leading axis of length 3: view, within, between.
# ---------------------------------------------------------------------------------------------


class _Setting(NamedTuple):
    """m, n, p and w as float64 arrays of one shape."""

    m: Float[Array, "*batch"]
    n: Float[Array, "*batch"]
    p: Float[Array, "*batch"]
    w: Float[Array, "*batch"]

    @property
    def gap(self) -> Float[Array, "*batch"]:
        """1 - s_between in full collapse, -τ log r."""
        return self.m / (self.m - 1)

    @property
    def excluded(self) -> Bool[Array, "*batch"]:
        """Whether self pairs are excluded and there are views that could part."""
        return (self.w > 0) & (self.w < 1)

    @property
    def counts(self) -> Float[Array, "3 ..."]:
        """c: terms of each kind in an anchor's denominator, divided by p."""
        return jnp.stack([self.w, self.n - 1, self.n * (self.m - 1)])

    def slopes(self, leader: int) -> Float[Array, "3 ..."]:
        """dD/dx along the ray on which the kind `leader` moves fastest: b = n x or a = p x."""
        if leader == _WITHIN:
            return jnp.stack([jnp.zeros_like(self.n), self.n, -(self.n - 1) / (self.m - 1)])
        return jnp.stack([self.p, self.p - 1, -(self.p - 1) / (self.m - 1)])

    def dissimilarities(self, displacement: Array | float) -> Float[Array, "3 ..."]:
        """D at `displacement` = slopes · x from full collapse."""
        zero = jnp.zeros_like(self.m)
        return jnp.stack([zero, zero, self.gap]) + displacement


def _logits(setting: _Setting, dissimilarities: Array, temperature: Array) -> Array:
    return jnp.log(setting.counts) - dissimilarities / temperature


def _reduced_loss(setting: _Setting, dissimilarities: Array, alpha: Array, tau: Array) -> Array:
    log_total = jax.nn.logsumexp(_logits(setting, dissimilarities, tau), axis=0)
    pull = alpha * dissimilarities[_VIEW] + (1 - alpha) * dissimilarities[_WITHIN]
    return jnp.log(setting.p) + log_total + pull / tau


def _optimal_mixing(setting: _Setting, leader: int, x: Array | float, tau: Array) -> Array:
    """The α at which the reduced loss is stationary at x on a ray: linear in α, hence explicit."""
    slopes = setting.slopes(leader)
    softmax = jax.nn.softmax(_logits(setting, setting.dissimilarities(slopes * x), tau), axis=0)

    def weight(slope: Array, of: Array) -> Array:
        return jnp.sum(softmax * (slope - slopes), axis=0) / (slope - of)

    alpha = weight(slopes[_WITHIN], of=slopes[_VIEW])
    complement = weight(slopes[_VIEW], of=slopes[_WITHIN])
    return jnp.where(complement < 0.5, 1 - complement, alpha)  # either is exact where it is small


def _pulls(setting: _Setting, leader: int, alpha: Array) -> Float[Array, "3 ..."]:
    r"""c_k Σ_j π_j (g_j - g_k): a ray is stationary where these, weighted by e^{-D/τ}, sum to 0.

    The kind that moves fastest pulls down and the two other kinds pull up.
    Differences of slopes are taken first, so that nothing cancels.
    """
    slopes = setting.slopes(leader)
    from_view, from_within = slopes[_VIEW] - slopes, slopes[_WITHIN] - slopes
    return setting.counts * (alpha * from_view + (1 - alpha) * from_within)


def _optimal_position(setting: _Setting, leader: int, alpha: Array, tau: Array) -> Array:
    r"""The x > 0 at which the reduced loss is stationary on a ray.

    With A the other kind of positives and B the pairs of different classes, their pulls divided by
    that of the `leader`, and :math:`t = (g - g_B) x / \tau`, the condition is

    .. math:: h(t) = \log\bigl(A e^{\kappa t} + B e^{t - z}\bigr) = 0, \qquad z = -\log r,

    h convex and increasing. Newton's method starts where the larger term is 1, so 0 ≤ h ≤ log 2,
    and descends to the root monotonically; the argument of the logarithm stays in [1, 2].
    """
    other = _VIEW + _WITHIN - leader
    slopes, pulls = setting.slopes(leader), _pulls(setting, leader, alpha)
    rate = slopes[leader] - slopes[_BETWEEN]
    kappa = (slopes[leader] - slopes[other]) / rate

    def step(t: Array, rival: Array, between: Array, z: Array) -> Array:
        # Where A = 0 its exponential may overflow, and 0 · inf is no number.
        first = rival * jnp.exp(jnp.minimum(kappa * t, 700))
        second = between * jnp.exp(t - z)
        total = first + second
        return t - jnp.log(total) * total / (kappa * first + second)

    parameters = (
        -pulls[other] / pulls[leader],
        -pulls[_BETWEEN] / pulls[leader],
        setting.gap / tau,
    )
    # Only the last step carries derivatives: one Newton step at the root has those of the root.
    rival, between, z = fixed = jax.lax.stop_gradient(parameters)
    start = jnp.minimum(-jnp.log(rival) / kappa, z - jnp.log(between))
    root = jax.lax.fori_loop(0, _NEWTON_STEPS, lambda _, t: step(t, *fixed), start)
    return jnp.maximum(step(root, *parameters), 0) * tau / rate


class _Optimum(NamedTuple):
    """Where the reduced loss has its minimum."""

    phase: Int[Array, "*batch"]
    delta2: Float[Array, "*batch"]
    view_variance: Float[Array, "*batch"]
    dissimilarities: Float[Array, "3 ..."]


@jax.jit
def _alpha_c(setting: _Setting, tau: Array) -> Array:
    boundary = _optimal_mixing(setting, _WITHIN, 0.0, tau)
    return jnp.where(setting.n > 1, boundary, 1)


@jax.jit
def _alpha_v(setting: _Setting, tau: Array) -> Array:
    boundary = _optimal_mixing(setting, _VIEW, 0.0, tau)
    # The two boundaries may differ by less than a rounding; their order is exact.
    boundary = jnp.clip(boundary, 0, _alpha_c(setting, tau))
    return jnp.where(setting.excluded, boundary, 0)


@jax.jit
def _optimum(setting: _Setting, alpha: Array, tau: Array) -> _Optimum:
    def position(active: Array, leader: int) -> Array:
        # Elsewhere solve a harmless cell instead, so that no derivative is infinite.
        harmless = (2.0, 2.0, 2.0, 0.5, 0.5)
        *safe, safe_alpha = (
            jnp.where(active, own, other)
            for own, other in zip((*setting, alpha), harmless, strict=True)
        )
        return jnp.where(active, _optimal_position(_Setting(*safe), leader, safe_alpha, tau), 0)

    spread = alpha > _alpha_c(setting, tau)
    view_spread = alpha < _alpha_v(setting, tau)
    phase = jnp.where(spread, Phase.SPREAD, Phase.COLLAPSE)
    instances = position(spread, _WITHIN)
    views = position(view_spread, _VIEW)
    return _Optimum(
        phase=jnp.where(view_spread, Phase.VIEW_SPREAD, phase),
        delta2=(setting.n - 1) * instances,
        view_variance=(setting.p - 1) * views,
        dissimilarities=setting.dissimilarities(
            setting.slopes(_WITHIN) * instances + setting.slopes(_VIEW) * views
        ),
    )


@jax.jit
def _minimum(setting: _Setting, alpha: Array, tau: Array) -> Array:
    return _reduced_loss(setting, _optimum(setting, alpha, tau).dissimilarities, alpha, tau)


@jax.jit
def _alpha_for_delta2(setting: _Setting, delta2: Array, tau: Array) -> Array:
    x = delta2 / (setting.n - 1)
    return jnp.minimum(_optimal_mixing(setting, _WITHIN, x, tau), 1)


@jax.jit
def _critical_temperatures(setting: _Setting, alpha: Array) -> tuple[Array, Array]:
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

    ratio, between = at_collapse(_WITHIN)
    # 1 - r with the 1 - α that it contains in front, to be exact as α → 1.
    complement = (1 - alpha) * setting.n * jnp.sum(setting.counts, axis=0) / between
    tau_c = temperature(ratio, complement)
    ratio, _ = at_collapse(_VIEW)
    tau_v = temperature(ratio, 1 - ratio)
    return jnp.where(setting.n > 1, tau_c, 0), jnp.where(setting.excluded, tau_v, 0)


# ---------------------------------------------------------------------------------------------
# What goes in.
# ---------------------------------------------------------------------------------------------


def _check_counts(name: str, value: ArrayLike, least: int) -> None:
    values = concrete(value)
    for number in () if values is None else np.unique(values):
        check_count(name, float(number), least)


def _any(condition: Callable[..., np.ndarray], *values: ArrayLike) -> bool:
    """Whether a condition holds anywhere, as far as there are concrete values to look at."""
    numbers = [concrete(value) for value in values]
    return all(number is not None for number in numbers) and bool(np.any(condition(*numbers)))


def _prepare(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    self_pairs: str,
    **hyper_parameters: ArrayLike,
) -> tuple[_Setting, list[Array]]:
    """Validated and broadcast: the setting, then the hyper-parameters in the order given."""
    require_x64()
    check_choice("self_pairs", self_pairs, SELF_PAIRS)
    _check_counts("num_classes", num_classes, 2)
    _check_counts("num_instances", num_instances, 1)
    _check_counts("num_views", num_views, 1)
    if "temperature" in hyper_parameters:
        check_temperature(hyper_parameters["temperature"])
    if "alpha" in hyper_parameters:
        alpha = hyper_parameters["alpha"]
        check_mixing(alpha)
        if _any(lambda n, alpha: (n == 1) & (alpha < 1), num_instances, alpha):
            raise ValueError(
                "L_sup has no positive pair when num_instances is 1; got alpha < 1. "
                "Use alpha = 1 or more instances per class."
            )
        if self_pairs != "include" and _any(
            lambda p, alpha: (p == 1) & (alpha > 0), num_views, alpha
        ):
            raise ValueError(
                "num_views must be at least 2 when alpha > 0 and self pairs are "
                f"{self_pairs}d; got 1. Use alpha = 0, add views, or include self pairs."
            )
    given = (num_classes, num_instances, num_views, *hyper_parameters.values())
    m, n, p, *hyper = jnp.broadcast_arrays(*(jnp.asarray(x, jnp.float64) for x in given))
    weights = {"include": jnp.ones_like(p), "exclude": (p - 1) / p, "decouple": jnp.zeros_like(p)}
    return _Setting(m, n, p, weights[self_pairs]), hyper


# ---------------------------------------------------------------------------------------------
# Boundaries.
# ---------------------------------------------------------------------------------------------


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
    setting, (tau,) = _prepare(
        num_classes, num_instances, num_views, self_pairs, temperature=temperature
    )
    return _alpha_c(setting, tau)


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
    setting, (tau,) = _prepare(
        num_classes, num_instances, num_views, self_pairs, temperature=temperature
    )
    return _alpha_v(setting, tau)


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
    setting, _ = _prepare(num_classes, num_instances, num_views, self_pairs)
    others = setting.n - 1
    return jnp.where(others > 0, setting.w / jnp.where(others > 0, others + setting.w, 1), 1)


def tau_c(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    alpha: ArrayLike,
    self_pairs: str = "include",
) -> Float[Array, "*batch"]:
    r"""The collapse temperature: the instance means of a class coincide iff τ ≥ τ_c(α).

    .. math::
       \tau_c = \frac{m}{m-1} \Big/
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
    setting, (alpha,) = _prepare(num_classes, num_instances, num_views, self_pairs, alpha=alpha)
    return _critical_temperatures(setting, alpha)[0]


def tau_v(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    alpha: ArrayLike = 0.0,
    self_pairs: str = "exclude",
) -> Float[Array, "*batch"]:
    r"""The view-spread temperature: the views of an instance part iff τ < τ_v(α).

    .. math::
       \tau_v = \frac{m}{m-1} \Big/
       \log \frac{w N + \alpha n(m-1)}{(1-\alpha) w - \alpha(n-1)},
       \qquad \tau_v(0) = \frac{m}{m-1} \Big/ \log N

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
    setting, (alpha,) = _prepare(num_classes, num_instances, num_views, self_pairs, alpha=alpha)
    return _critical_temperatures(setting, alpha)[1]


# ---------------------------------------------------------------------------------------------
# The optimum.
# ---------------------------------------------------------------------------------------------


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
    setting, hyper = _prepare(
        num_classes, num_instances, num_views, self_pairs, alpha=alpha, temperature=temperature
    )
    return _optimum(setting, *hyper).phase


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
    setting, hyper = _prepare(
        num_classes, num_instances, num_views, self_pairs, alpha=alpha, temperature=temperature
    )
    return _optimum(setting, *hyper).delta2


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
    setting, hyper = _prepare(
        num_classes, num_instances, num_views, self_pairs, alpha=alpha, temperature=temperature
    )
    return _optimum(setting, *hyper).view_variance


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
    setting, hyper = _prepare(
        num_classes, num_instances, num_views, self_pairs, alpha=alpha, temperature=temperature
    )
    optimum = _optimum(setting, *hyper)
    spread = optimum.delta2 + optimum.view_variance
    return Similarities(
        view=1 - optimum.dissimilarities[_VIEW],
        within=1 - optimum.dissimilarities[_WITHIN],
        between=-(1 - spread) / (setting.m - 1),  # exact for many classes, where it is near 0
    )


def variances(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    alpha: ArrayLike,
    temperature: ArrayLike,
    self_pairs: str = "include",
) -> Variances:
    r"""Total, within-class, between-class and view variance at the optimum.

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
    setting, hyper = _prepare(
        num_classes, num_instances, num_views, self_pairs, alpha=alpha, temperature=temperature
    )
    optimum = _optimum(setting, *hyper)
    within = optimum.delta2 + optimum.view_variance
    return Variances(jnp.ones_like(within), within, 1 - within, optimum.view_variance)


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
    setting, hyper = _prepare(
        num_classes, num_instances, num_views, self_pairs, alpha=alpha, temperature=temperature
    )
    return _minimum(setting, *hyper)


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
    setting, (q, tau) = _prepare(
        num_classes,
        num_instances,
        num_views,
        self_pairs,
        delta2=delta2,
        temperature=temperature,
    )
    if self_pairs != "include" and _any(lambda p: p == 1, num_views):
        raise ValueError(
            f"num_views must be at least 2 when self pairs are {self_pairs}d, for delta2 > 0 needs "
            "alpha > 0; got 1. Add views, or include self pairs."
        )
    largest = setting.m * (setting.n - 1) / (setting.m * setting.n - 1)
    if _any(lambda q, top: ~((q > 0) & (q <= top + _ACCURACY)), q, largest):
        raise ValueError(
            "delta2 must lie in (0, m(n-1)/(mn-1)], whose ends are class collapse, which every "
            f"alpha up to alpha_c attains, and the simplex of all instances; got {delta2} "
            f"where the maximum is {largest}."
        )
    return _alpha_for_delta2(setting, q, tau)


# ---------------------------------------------------------------------------------------------
# Guidelines: simple sufficient conditions, for n ≥ 2, that the instance means of a class spread.
# ---------------------------------------------------------------------------------------------


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
    setting, (alpha, tau) = _prepare(
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
    setting, (alpha, tau) = _prepare(
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
    if _any(lambda power: ~(power >= 1), power):
        raise ValueError(f"power must be at least 1; got {power}.")
    setting, (alpha, tau, k) = _prepare(
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
    setting, (alpha, tau) = _prepare(
        num_classes, num_instances, num_views, "exclude", alpha=alpha, temperature=temperature
    )
    embeddings = setting.m * setting.n * setting.p
    return (alpha >= 1 / setting.n) & (tau <= 1 / jnp.log(embeddings))
