r"""The mean loss over many batches of a data set: when classes collapse, how much they spread.

An encoder sees a data set of m classes with n instances each in batches, and what it minimises is
the mean of their losses. The data set's Gram matrix with three similarities is optimal wherever
batches cover pairs of a kind alike. With r = e^{-m/((m-1)τ)}, κ = (n-1)/(n(m-1)) and an anchor
that meets k other instances of its class and l of other classes,

.. math::
   h(k, l) = \frac{k - l \kappa r}{w + k + l r}, \qquad
   \alpha_c = \frac{P - \operatorname{E}_\mathrm{sup} h}
                   {P - \operatorname{E}_\mathrm{sup} h + \operatorname{E}_\mathrm{self} h},

with P the weight of all anchors of L_sup. **Stratified** batches have m_b classes with n_b
instances each, and one composition. In a **random** batch of B instances k is hypergeometric
(n → ∞: binomial), and many an anchor has no positive. n = ∞ is meant by `None`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ssem_jax.problem.validation import (
    as_array,
    check_choice,
    check_count,
    check_mixing,
    check_temperature,
    shown,
)
from ssem_jax.theory.setting import SELF_PAIRS, Setting, prepare, self_weight

BATCH_LIMIT = 10**6
"""Instances of a random batch: every evaluation runs over all numbers of companions."""
HALVINGS = 60
"""Of an interval: more than float64 has digits."""
HOTTEST = 1e6
"""Temperature above which a collapse temperature is infinite."""
MEANS = ("all", "anchors", "pairs")
"""Of L_sup: over all anchors, those without a positive counting 0; over those that have one; or
over all positive pairs; each of all batches together."""


# ---------------------------------------------------------------------------------- stratified


def _stratified(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    batch: tuple[int, int],
    temperature: ArrayLike,
    self_pairs: str,
) -> tuple[Setting, Array, int, int]:
    """The setting of the data set, r, m_b and n_b."""
    of_batch = _checked_batch(batch, num_classes, num_instances)
    setting, (tau,) = prepare(
        num_classes, num_instances, num_views, self_pairs, temperature=temperature
    )
    return setting, jnp.exp(-setting.gap / tau), *of_batch


def _checked_batch(batch: Any, num_classes: Any, num_instances: Any) -> tuple[int, int]:
    """(m_b, n_b), both at most what there are."""
    if not (isinstance(batch, Sequence) and not isinstance(batch, str) and len(batch) == 2):
        raise ValueError(
            "a stratified batch must be (classes, instances of each), as (10, 4); got "
            f"{shown(batch)}."
        )
    classes = check_count("classes of a batch", batch[0], 1)
    instances = check_count("instances of a batch", batch[1], 1)
    sizes = as_array(num_classes, "num_classes"), as_array(num_instances, "num_instances")
    if np.any(classes > sizes[0]) or np.any(instances > sizes[1]):
        raise ValueError(
            f"a batch holds at most the classes and instances that there are; got {classes} × "
            f"{instances} of {np.min(sizes[0]):g} × {np.min(sizes[1]):g}."
        )
    return classes, instances


def stratified_alpha_c(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    batch: tuple[int, int],
    temperature: ArrayLike,
    self_pairs: str = "include",
) -> Float[Array, "*batch"]:
    r"""The collapse boundary of the mean loss over stratified batches.

    .. math:: \alpha_c = 1 - \frac{(n_b-1) - n_b(m_b-1) \kappa r}{w + n_b-1 + n_b(m_b-1) r}

    Args:
        num_classes: m ≥ 2, of the data set.
        num_instances: n ≥ 1 per class, of the data set.
        num_views: p ≥ 1 per instance.
        batch: (m_b, n_b), classes of a batch and instances of each.
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple".

    Returns:
        α_c in [0, 1], broadcast.

    Raises:
        ValueError: a count or a hyper-parameter out of range; 64-bit mode is off.

    References:
        Derived here: the slope of the reduced loss along the spread ray, at collapse.
    """
    setting, r, m_b, n_b = _stratified(
        num_classes, num_instances, num_views, batch, temperature, self_pairs
    )
    kappa = (setting.n - 1) / (setting.n * (setting.m - 1))
    others = n_b * (m_b - 1)
    found = 1 - (n_b - 1 - others * kappa * r) / (setting.w + n_b - 1 + others * r)
    return jnp.clip(found, 0, 1)


def stratified_alpha_v(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    batch: tuple[int, int],
    temperature: ArrayLike,
) -> Float[Array, "*batch"]:
    r"""The view-spread boundary of the mean loss over stratified batches, self pairs excluded.

    .. math:: \alpha_v = \frac{(p-1) \bigl[1 - p n_b (m_b-1) \tfrac{m}{m-1} r\bigr]}
                              {p n_b - 1 + p n_b (m_b-1) r}

    Args:
        num_classes: m ≥ 2, of the data set.
        num_instances: n ≥ 1 per class, of the data set.
        num_views: p ≥ 1 per instance.
        batch: (m_b, n_b), classes of a batch and instances of each.
        temperature: τ > 0.

    Returns:
        α_v, broadcast; 0 where views never part.

    Raises:
        ValueError: a count or a hyper-parameter out of range; 64-bit mode is off.
    """
    setting, r, m_b, n_b = _stratified(
        num_classes, num_instances, num_views, batch, temperature, "exclude"
    )
    p, others = setting.p, setting.p * n_b * (m_b - 1)
    found = (p - 1) * (1 - others * setting.gap * r) / jnp.maximum(p * n_b - 1 + others * r, 1e-300)
    return jnp.maximum(found, 0)


# -------------------------------------------------------------------------------------- random


class _Random(NamedTuple):
    """Compositions of a random batch, and the data set's constants.

    Attributes:
        chance: (B,) of k = 0 … B-1.
        own: (B,) k.
        others: (B,) l.
        sup: (B,) weight of an anchor of each composition in L_sup, 1-α aside.
        weight: w.
        kappa: κ.
        stretch: n/(n-1), 1 - s_within at δ² = 1.
        num_classes: m.
    """

    chance: np.ndarray
    own: np.ndarray
    others: np.ndarray
    sup: np.ndarray
    weight: float
    kappa: float
    stretch: float
    num_classes: int


def _random(
    num_classes: int,
    num_instances: int | None,
    num_views: int,
    batch: int,
    self_pairs: str,
    mean: str,
) -> _Random:
    m = check_count("num_classes", num_classes, 2)
    n = None if num_instances is None else check_count("num_instances", num_instances, 2)
    p = check_count("num_views", num_views, 1)
    batch = check_count("a batch", batch, 2)
    if batch > BATCH_LIMIT:
        raise ValueError(
            f"a random batch has at most {BATCH_LIMIT:,} instances; got {batch:,}. With so many, "
            "a batch has as many of every class as a stratified one."
        )
    check_choice("self_pairs", self_pairs, SELF_PAIRS)
    check_choice("mean", mean, MEANS)
    if n is not None and batch > m * n:
        raise ValueError(
            f"a batch of {batch} is larger than a data set of {m} classes of {n}; "
            "num_instances counts those of the data set."
        )
    k = np.arange(batch)
    l = batch - 1 - k  # noqa: E741 (the l of the formulas)
    with np.errstate(divide="ignore"):
        if n is None:
            ratios = np.log(l[:-1] / ((k[:-1] + 1) * (m - 1)))
        else:
            free = m * n - n - l[:-1] + 1.0
            above = np.maximum(n - 1.0 - k[:-1], 0) * l[:-1]
            ratios = np.log(above) - np.log((k[:-1] + 1) * np.maximum(free, 1e-300))
            ratios[free <= 0] = 0  # before the first k that is possible
    logs = np.concatenate([[0.0], np.cumsum(ratios)])
    if n is not None:
        logs[l > m * n - n] = -np.inf
    chance = np.exp(logs - np.max(logs))
    chance /= chance.sum()
    counts = k if mean == "pairs" else k > 0
    return _Random(
        chance,
        k,
        l,
        counts / (1.0 if mean == "all" else float(chance @ counts)),
        float(self_weight(self_pairs, p)),
        1 / (m - 1) if n is None else (n - 1) / (n * (m - 1)),
        1.0 if n is None else n / (n - 1),
        m,
    )


def random_alpha_c(
    num_classes: int,
    num_instances: int | None,
    num_views: int,
    batch: int,
    temperature: float,
    self_pairs: str = "include",
    mean: str = "all",
) -> float:
    r"""The collapse boundary of the mean loss over random batches: α_c of the module docstring.

    A batch holds k others of an anchor's class only by chance. Anchors without a positive push
    nothing apart that belongs together, so α_c may be far above that of a stratified batch.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 2 per class in the data set; None for infinitely many.
        num_views: p ≥ 1 per instance, all in the batch.
        batch: B ≥ 2 instances.
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple".
        mean: L_sup over "all" anchors, those without a positive counting 0; over the "anchors" of
            all batches that have one; or over all their positive "pairs".

    Returns:
        α_c in [0, 1].

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range.

    References:
        Derived here: the slope of the reduced loss along the spread ray, at collapse.
    """
    check_temperature(temperature)
    found = _random(num_classes, num_instances, num_views, batch, self_pairs, mean)
    return _boundary(found, float(temperature))


def _boundary(family: _Random, tau: float) -> float:
    r = math.exp(-family.num_classes / ((family.num_classes - 1) * tau))
    below = family.weight + family.own + family.others * r
    # A decoupled anchor alone with its own class at r = 0 is 0/0: its limit has no pull.
    h = (family.own - family.others * family.kappa * r) / np.maximum(below, 1e-300)
    sup = family.chance * family.sup
    ahead, push = float(np.sum(sup * (1 - h))), float(np.sum(family.chance * h))
    return min(1.0, max(0.0, ahead / (ahead + push))) if ahead + push > 0 else 1.0


def random_tau_c(
    num_classes: int,
    num_instances: int | None,
    num_views: int,
    batch: int,
    alpha: float,
    self_pairs: str = "include",
    mean: str = "all",
) -> float:
    """The collapse temperature of the mean loss over random batches; α_c increases with τ.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 2 per class in the data set; None for infinitely many.
        num_views: p ≥ 1 per instance, all in the batch.
        batch: B ≥ 2 instances.
        alpha: α in [0, 1].
        self_pairs: "include", "exclude" or "decouple".
        mean: "all", "anchors" or "pairs" of :func:`random_alpha_c`.

    Returns:
        τ_c; 0 where classes collapse at every temperature, ∞ where at none.

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range.
    """
    check_mixing(alpha)
    found = _random(num_classes, num_instances, num_views, batch, self_pairs, mean)
    low, high = 1e-3, HOTTEST
    if alpha <= _boundary(found, low):
        return 0.0
    if alpha > _boundary(found, high):
        return math.inf
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if alpha > _boundary(found, middle) else (low, middle)
    return math.sqrt(low * high)


def random_delta2(
    num_classes: int,
    num_instances: int | None,
    num_views: int,
    batch: int,
    alpha: float,
    temperature: float,
    self_pairs: str = "include",
    mean: str = "all",
) -> float:
    r"""δ² of the data set at the least mean loss over random batches, the root q of a convex loss.

    .. math::
       (1-\alpha) P = \operatorname{E} \frac{\omega_k [k x - l y (n-1)/(n(m-1))]}{w + k x + l y},
       \quad x = e^{-qn/((n-1)\tau)}, \; y = e^{-(m-q)/((m-1)\tau)}

    with ω_k what an anchor of k positives weighs.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 2 per class in the data set; None for infinitely many.
        num_views: p ≥ 1 per instance, all in the batch.
        batch: B ≥ 2 instances.
        alpha: α in [0, 1].
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple".
        mean: "all", "anchors" or "pairs" of :func:`random_alpha_c`.

    Returns:
        δ² in [0, 1); 0 where classes collapse.

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range.
    """
    check_mixing(alpha)
    check_temperature(temperature)
    found = _random(num_classes, num_instances, num_views, batch, self_pairs, mean)
    tau = float(temperature)

    def falls(q: float) -> bool:
        of_sup, of_self = _pushes(found, q, tau)
        pull = (1 - alpha) * float(np.sum(found.chance * found.sup))
        return pull < (1 - alpha) * of_sup + alpha * of_self

    low, high = 0.0, _largest(found)
    if not falls(0.0):
        return 0.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if falls(middle) else (low, middle)
    return (low + high) / 2


def random_loss(
    num_classes: int,
    num_instances: int | None,
    num_views: int,
    batch: int,
    alpha: float,
    temperature: float,
    delta2: float | None,
    self_pairs: str = "include",
    mean: str = "all",
) -> float:
    r"""The mean loss over random batches, of class means on a simplex and instances about them.

    .. math::
       L = (1-\alpha) \operatorname{E} \omega_k \Bigl[\log p (w + k x + l y)
           + \frac{q n}{(n-1) \tau}\Bigr] + \alpha \operatorname{E} \log p (w + k x + l y)

    with x, y and ω_k of :func:`random_delta2`, at which q = δ² it is least.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 2 per class in the data set; None for infinitely many.
        num_views: p ≥ 1 per instance, all in the batch; those of an instance coincide.
        batch: B ≥ 2 instances.
        alpha: α in [0, 1].
        temperature: τ > 0.
        delta2: δ² ≥ 0, 0 where classes collapse; None where all rows are equal.
        self_pairs: "include", "exclude" or "decouple".
        mean: "all", "anchors" or "pairs" of :func:`random_alpha_c`.

    Raises:
        ValueError: a δ² that no embeddings have, or what :func:`random_alpha_c` raises.
    """
    check_mixing(alpha)
    check_temperature(temperature)
    found = _random(num_classes, num_instances, num_views, batch, self_pairs, mean)
    largest = _largest(found)
    if delta2 is not None and not 0 <= delta2 <= largest:
        raise ValueError(
            f"delta2 must be at least 0, class collapse, and at most {largest:.6g}, that of the "
            f"simplex; got {delta2:g}."
        )
    q, tau = delta2 or 0.0, float(temperature)
    x, y = (1.0, 1.0) if delta2 is None else _falls(found, q, tau)
    below = num_views * _below(found, x, y)
    of_sup = float(np.sum(found.chance * found.sup * (np.log(below) + q * found.stretch / tau)))
    return (1 - alpha) * of_sup + alpha * float(np.sum(found.chance * np.log(below)))


def random_alpha_for_delta2(
    num_classes: int,
    num_instances: int | None,
    num_views: int,
    batch: int,
    delta2: float,
    temperature: float,
    self_pairs: str = "include",
    mean: str = "all",
) -> float:
    """Inverse design: the α at which random batches spread instances by a given δ².

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 2 per class in the data set; None for infinitely many.
        num_views: p ≥ 1 per instance, all in the batch.
        batch: B ≥ 2 instances.
        delta2: δ² above 0, below that of the simplex of the data set.
        temperature: τ > 0.
        self_pairs: "include", "exclude" or "decouple".
        mean: "all", "anchors" or "pairs" of :func:`random_alpha_c`.

    Raises:
        ValueError: a δ² that no α reaches, or what :func:`random_alpha_c` raises.
    """
    check_temperature(temperature)
    delta2 = float(as_array(delta2, "delta2"))
    found = _random(num_classes, num_instances, num_views, batch, self_pairs, mean)
    if not 0 < delta2 <= _largest(found):
        raise ValueError(
            f"delta2 must lie above 0 and be at most {_largest(found):.6g}, that of the simplex; "
            f"got {delta2:g}."
        )
    of_sup, of_self = _pushes(found, delta2, float(temperature))
    ahead = float(np.sum(found.chance * found.sup)) - of_sup
    return min(1.0, max(0.0, ahead / (ahead + of_self)))


def _pushes(family: _Random, q: float, tau: float) -> tuple[float, float]:
    """How much the denominators of L_sup and of L_self gain by spreading instances, at δ² = q."""
    x, y = _falls(family, q, tau)
    push = family.own * x - family.kappa * family.others * y
    parts = family.chance * push / _below(family, x, y)
    return float(np.sum(parts * family.sup)), float(np.sum(parts))


def _falls(family: _Random, q: float, tau: float) -> tuple[float, float]:
    """x and y: what a pair within a class, and one of two classes, weighs in a denominator."""
    m = family.num_classes
    return math.exp(-q * family.stretch / tau), math.exp(-(m - q) / ((m - 1) * tau))


def _below(family: _Random, x: float, y: float) -> np.ndarray:
    """(B,) denominators of an instance's pairs."""
    return np.maximum(family.weight + family.own * x + family.others * y, 1e-300)


def _largest(family: _Random) -> float:
    """The most δ²: that of the simplex of all instances, m(n-1)/(mn-1)."""
    m, inverse = family.num_classes, 1 - 1 / family.stretch  # 1/n
    return m * (1 - inverse) / (m - inverse)
