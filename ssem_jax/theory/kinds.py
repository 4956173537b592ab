r"""Collapse of losses that weigh kinds of pairs, of two towers, and of means over all anchors.

.. math::
   f = \sum_t \omega_t \log\bigl(c_s e^{1/\tau} + c_v e^{v/\tau} + c_w e^{x/\tau}
       + c_b e^{y/\tau}\bigr) - (P_v v + P_w x + P_b y)/\tau

with v, x, y the similarities of views, within a class and between classes, and c weights times
counts: f falls fastest along one of four variance shares, and classes collapse iff that is the
class share where it is all there is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from ssem_jax.losses.kinds import Contrast
from ssem_jax.losses.terms import BETWEEN, SELF, VIEW, WITHIN
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import check_count, check_mixing, check_temperature, shown


def _check_listed(name: str, given: Any, what: str) -> None:
    if not isinstance(given, Iterable) or isinstance(given, str):
        raise ValueError(f"{name} must be a list of {what}; got {shown(given)}.")


def collapse_margins(
    structure: ClassStructure, contrasts: Iterable[Contrast], temperature: float
) -> Float[np.ndarray, "3"]:
    r"""By how much a contrast by kind prefers collapse: classes collapse iff none is negative.

    With κ = (n-1)/(n(m-1)) and :math:`D_t = c_s + c_v + c_w + c_b r`, of instances, views and mean:

    .. math::
       P_w - \kappa P_b &- \sum_t \omega_t \frac{c_w - \kappa c_b r}{D_t}, \\
       \tfrac{p}{p-1} P_v + P_w - \tfrac{P_b}{m-1}
         &- \sum_t \omega_t \frac{\tfrac{p}{p-1} c_v + c_w - \tfrac{c_b r}{m-1}}{D_t}, \\
       -P_b &+ \sum_t \omega_t \frac{c_b r}{D_t}.

    Args:
        structure: classes of equal size.
        contrasts: terms, as :func:`ssem_jax.losses.kinds.contrast_by_kind` takes them.
        temperature: τ > 0.

    Returns:
        (3,) margins of instances, views and mean, times τ; ∞ for instances of classes of one, and
        for a single view.

    Raises:
        ValueError: classes that differ in size, or a τ that is not positive.

    References:
        Derived here: the loss is convex in the four variance shares, which sum to 1.
    """
    check_structure(structure)
    m, n, p = structure.counts
    check_temperature(temperature)
    _check_listed("contrasts", contrasts, "terms of ssem_jax.losses.kinds.Contrast")
    r = math.exp(-m / ((m - 1) * temperature))
    counts = {SELF: 1, VIEW: p - 1, WITHIN: p * (n - 1), BETWEEN: p * n * (m - 1)}
    kappa, stretch = (n - 1) / (n * (m - 1)), p / (p - 1) if p > 1 else 0.0
    found = np.zeros(3)
    for share, against, positives in contrasts:
        c = {kind: against.get(kind, 0.0) * count for kind, count in counts.items()}
        below = c[SELF] + c[VIEW] + c[WITHIN] + c[BETWEEN] * r
        view, within, between = (
            positives.get(kind, 0.0) - c[kind] * (r if kind == BETWEEN else 1) / below
            for kind in (VIEW, WITHIN, BETWEEN)
        )
        found += share * np.array(
            [within - kappa * between, stretch * view + within - between / (m - 1), -between]
        )
    return np.where([n == 1, p == 1, False], np.inf, found)


def spread_alpha_c(num_classes: int, num_instances: int, temperature: float) -> float:
    r"""The share a_c of L_spread's repulsion, up to which its released code collapses classes.

    .. math:: a_c = \frac{N r}{1 + (2N-n) r}, \qquad N = mn, \; r = e^{-m/((m-1)\tau)}

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class, one view.
        temperature: τ > 0.

    Returns:
        a_c in (0, 1).

    Raises:
        ValueError: a count or a τ out of range.

    References:
        Chen et al. (ICML 2022, arXiv:2204.07596) for the loss; derived here.
    """
    m, n = (
        check_count("num_classes", num_classes, 2),
        check_count("num_instances", num_instances, 1),
    )
    check_temperature(temperature)
    r = math.exp(-m / ((m - 1) * temperature))
    return m * n * r / (1 + (2 * m * n - n) * r)


def cross_modal_window(
    num_classes: int, num_instances: int, temperature: float
) -> tuple[float, float]:
    r"""(α₋, α_c): SupCL of two towers collapses iff its weight of matched pairs lies between.

    .. math::
       \alpha_- = \frac1n \Bigl[\frac{(n-1)(1-r)}{1+(m-1)r} - (n-2)\Bigr], \qquad
       \alpha_c = \frac1n + \frac{n-1}{n} \cdot \frac{m r}{1 + (m-1) r}

    Below α₋ matched pairs are *less* similar than others of their class.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 pairs per class.
        temperature: τ > 0.

    Returns:
        Both ends; α₋ may be negative, where no weight is too low.

    Raises:
        ValueError: a count or a τ out of range.

    References:
        Derived here: the dual matrix of two coinciding towers.
    """
    m, n = (
        check_count("num_classes", num_classes, 2),
        check_count("num_instances", num_instances, 1),
    )
    check_temperature(temperature)
    r = math.exp(-m / ((m - 1) * temperature))
    below = 1 + (m - 1) * r
    return ((n - 1) * (1 - r) / below - (n - 2)) / n, 1 / n + (n - 1) / n * m * r / below


def alpha_c_all(alpha_c: float, share: float) -> float:
    r"""The boundary for a mean over all anchors, from that for a mean over those with positives.

    .. math:: \alpha_c^\mathrm{all} = \frac{\varphi \alpha_c}{1 - (1-\varphi) \alpha_c}

    Anchors without a positive count 0 in L_sup, which so weighs φ(1-α): as if α were α/(α+(1-α)φ).

    Args:
        alpha_c: the boundary for the mean over anchors that have a positive, in [0, 1].
        share: φ in (0, 1], of anchors that have one.

    Returns:
        The boundary for the mean over all anchors.

    Raises:
        ValueError: a number outside [0, 1], or no anchor with a positive.
    """
    check_mixing(alpha_c)
    if not 0 < share <= 1:
        raise ValueError(f"the share of anchors with a positive must be in (0, 1]; got {share}.")
    return share * alpha_c / (1 - (1 - share) * alpha_c)


def coverage_imbalance(
    size: int,
    batches: Iterable[Sequence[int]],
    temperature: float,
    weights: Iterable[float] | None = None,
) -> float:
    r"""How unevenly batches cover pairs: the simplex is optimal for InfoNCE iff this is 0.

    .. math:: \max_{ij} c_{ij} / \min_{ij} c_{ij} - 1, \quad
              c_{ij} = \sum_{B \ni i, j} w_B \rho_{|B|}, \quad
              \rho_b = \frac{e^{s/\tau}}{e^{1/\tau} + (b-1) e^{s/\tau}}, \; s = -\frac1{N-1}

    With one view, self pairs included, or with two towers. Batches of one size need only cover all
    pairs alike, as a 2-design does: the 7 lines of the Fano plane are as good as all 35 triples.

    Args:
        size: N points, or pairs of two towers.
        batches: indices of each.
        temperature: τ > 0.
        weights: w of an anchor in each batch; by default 1/|B|, as in a mean of batch means.

    Returns:
        The imbalance, ∞ where a pair is not covered.

    Raises:
        ValueError: fewer than 3 points, batches that are no lists of different ones of them, or a τ
            that is not positive.

    References:
        Derived here: the gradient at the simplex must be constant off the diagonal.
    """
    size = check_count("the number of points", size, 3)
    check_temperature(temperature)
    apart = math.exp(-size / ((size - 1) * temperature))
    cover = np.zeros((size, size))
    _check_listed("batches", batches, "batches, as [[0, 1, 2], [0, 3, 4]]")
    listed = [list(batch) if isinstance(batch, Iterable) else [] for batch in batches]
    for number, batch in enumerate(listed):
        if len(set(batch)) < max(2, len(batch)) or not set(batch) <= set(range(size)):
            raise ValueError(
                f"a batch must be two or more different indices below {size}; batch {number} is "
                f"{shown(batch)}."
            )
    shares = [1 / len(b) for b in listed] if weights is None else list(weights)
    for batch, share in zip(listed, shares, strict=True):
        rho = apart / (1 + (len(batch) - 1) * apart)
        for i, j in itertools.permutations(batch, 2):
            cover[i, j] += share * rho
    pairs = cover[~np.eye(size, dtype=bool)]
    return float(pairs.max() / pairs.min() - 1) if pairs.min() > 0 else math.inf
