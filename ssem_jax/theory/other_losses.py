r"""Closed forms for losses other than SupCL, and when any convex symmetric loss collapses classes.

The averaged Gram matrix of a balanced structure is described by four variance shares that sum to 1
(:mod:`ssem_jax.geometry.shares`), in which a loss has a convex reduced form. By symmetry and
convexity its minimum over that simplex is the minimum over all embeddings.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from ssem_jax.geometry.shares import Variances, rates
from ssem_jax.geometry.similarities import Similarities
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.declared import check_declared
from ssem_jax.problem.problem import Phase, check_loss
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import (
    check_count,
    check_mixing,
    check_positive,
    concrete,
    require_x64,
)

_BISECTIONS = 64
"""Halvings of [0, 1]: to the last bit."""


def collapse_criterion(loss: GramLoss, structure: ClassStructure) -> Float[Array, "*batch"]:
    r"""How far full collapse is from ceasing to be optimal: collapsed iff this is at least 0.

    Embeddings whose classes are collapsed have one free similarity, s_between ≥ -1/(m-1); let it
    minimise the loss. With the derivatives of the reduced loss there, collapse is optimal iff
    neither parting instances nor parting views lowers it to first order,

    .. math::
       \min\Bigl( c - \frac{n}{n-1} L_\mathrm{within}, \;
                  c - L_\mathrm{within} - \frac{p}{p-1} L_\mathrm{view} \Bigr) \ge 0,
       \qquad c = \max\Bigl(\frac{L_\mathrm{between}}{m-1}, -L_\mathrm{between}\Bigr),

    because the reduced loss is convex. For p = 1 and a loss that increases in s_between this reads
    :math:`L_\mathrm{within} \le \frac{n-1}{n(m-1)} L_\mathrm{between}` at the simplex of classes.
    Where it is above 0, every optimum is collapsed.

    Args:
        loss: convex and symmetric; may carry a batch axis.
        structure: classes of equal size.

    Returns:
        The left side, inf where neither instances nor views can part.

    Raises:
        ValueError: a loss that is not convex or not symmetric, or is not what it declares; classes
            of different size, or 64-bit mode is off.

    References:
        Derived here: first-order optimality on the simplex of variance shares.
    """
    require_x64()
    check_loss(loss)
    check_structure(structure)
    if not (loss.convex and loss.symmetric and loss.like_classes):
        raise ValueError(
            f"{type(loss).__name__} is not declared convex and symmetric in classes, instances "
            "and views, so first-order conditions decide nothing."
        )
    m, n, p = structure.counts
    loss.check_structure(structure)
    check_declared(loss, structure)
    blocks, plain = loss.prepare_blocks(structure), loss.without_conventions()
    rate = rates(m, n, p)

    def one(cell: GramLoss) -> Array:
        def slopes(mean_squared: Array) -> Similarities:
            between = mean_squared - (1 - mean_squared) * rate.between
            at = Similarities(*map(jnp.asarray, (1.0, 1.0, between)))
            return jax.grad(cell.of_blocks)(at, blocks)

        def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            middle = 0.5 * (low + high)
            rising = slopes(middle).between > 0
            return jnp.where(rising, low, middle), jnp.where(rising, middle, high)

        zero, whole = jnp.asarray(0.0), jnp.asarray(1.0)
        low, _ = jax.lax.fori_loop(0, _BISECTIONS, halve, (zero, whole))
        found = slopes(jnp.where(slopes(zero).between >= 0, zero, low))
        level = jnp.maximum(found.between * rate.between, -found.between)
        margins = [jnp.asarray(jnp.inf)]
        if n > 1:
            margins.append(level - rate.within * found.within)
        if p > 1:
            within = found.within if n > 1 else 0
            margins.append(level - within - rate.view * found.view)
        return jnp.min(jnp.stack(margins))

    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(plain)]
    shape = np.broadcast_shapes(*shapes)
    batch = jax.tree.map(
        lambda leaf: jnp.broadcast_to(jnp.asarray(leaf, jnp.float64), shape).ravel(), plain
    )
    if not jax.tree.leaves(batch):
        return jax.jit(one)(batch)
    return jax.jit(lambda losses: jax.lax.map(one, losses))(batch).reshape(shape)


class SpectralOptimum(NamedTuple):
    """The optimum of the spectral contrastive loss.

    Attributes:
        phase: a code of :class:`ssem_jax.Phase`; SPREAD where views part as well.
        variances: of its embeddings.
        loss: the minimum.
    """

    phase: Int[Array, "*batch"]
    variances: Variances
    loss: Float[Array, "*batch"]


def spectral_optimum(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    alpha: ArrayLike,
    scale: ArrayLike,
) -> SpectralOptimum:
    r"""The optimum of :class:`ssem_jax.losses.Spectral`: water poured over the eigenvalues of G.

    The mean of G² is a sum of squares of the shares, so that they fill up to a common level ν,

    .. math::
       \theta_\mathrm{mean} = \nu, \quad \theta_\mathrm{class} = (m-1) \nu, \quad
       \theta_\mathrm{instance} = m(n-1) \Bigl(\nu - \frac{(1-\alpha) n}{(n-1) \mu}\Bigr)_+, \quad
       \theta_\mathrm{view} = mn(p-1) \Bigl(\nu - \frac1\mu\Bigr)_+.

    Classes are orthogonal, not a simplex: s_between = 0 throughout. Instances part iff
    α > 1 - μ(n-1)/(mn) as long as views coincide; views part iff μ > m as long as instances do.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class; α = 1 where n = 1.
        num_views: p ≥ 1 per instance.
        alpha: α in [0, 1].
        scale: μ > 0, the squared norm of the embeddings.

    Returns:
        The optimum, broadcast.

    Raises:
        ValueError: a count or a hyper-parameter out of range; 64-bit mode is off.

    References:
        HaoChen, Wei, Gaidon and Ma (NeurIPS 2021, arXiv:2106.04156) for the loss; derived here:
        the reduced loss is a separable quadratic on the simplex of shares.
    """
    require_x64()
    for name, counts, least in (
        ("num_classes", num_classes, 2),
        ("num_instances", num_instances, 1),
        ("num_views", num_views, 1),
    ):
        for number in np.unique(np.asarray(concrete(counts))):
            check_count(name, float(number), least)
    check_mixing(alpha)
    check_positive("scale", scale)
    if np.any((np.asarray(num_instances) == 1) & (np.asarray(alpha) < 1)):
        raise ValueError(
            "there is no sup pair when num_instances is 1; got alpha < 1. "
            "Use alpha = 1 or more instances per class."
        )
    given = (num_classes, num_instances, num_views, alpha, scale)
    m, n, p, alpha, mu = jnp.broadcast_arrays(*(jnp.asarray(x, jnp.float64) for x in given))
    pairs = jnp.maximum(n - 1, 1)
    # (width, floor) of the two vessels that stand above the ground of mean and classes.
    vessels = ((m * (n - 1), (1 - alpha) * n / (pairs * mu)), (m * n * (p - 1), 1 / mu))
    # The volume up to ν is the largest over the sets of vessels counted, so its root the smallest.
    levels = [
        (1 + sum(width * floor for width, floor in chosen)) / (m + sum(w for w, _ in chosen))
        for count in range(3)
        for chosen in itertools.combinations(vessels, count)
    ]
    level = jnp.min(jnp.stack(levels), axis=0)
    instance, view = (width * jnp.maximum(level - floor, 0) for width, floor in vessels)
    spread = jnp.where(instance > 0, Phase.SPREAD, Phase.COLLAPSE)
    spectrum = m * level**2 + sum(
        jnp.where(share > 0, share**2 / jnp.where(width > 0, width, 1), 0)
        for share, (width, _) in zip((instance, view), vessels, strict=True)
    )
    pull = 1 - view - (1 - alpha) * n / pairs * instance
    return SpectralOptimum(
        jnp.where((instance == 0) & (view > 0), Phase.VIEW_SPREAD, spread),
        Variances(view, instance, (m - 1) * level, level),
        mu * (mu * spectrum - 2 * pull),
    )


class SigmoidOptimum(NamedTuple):
    """The optimum of the sigmoid loss: cosines of matched and of unmatched pairs, and the loss."""

    matched: Float[Array, "*batch"]
    unmatched: Float[Array, "*batch"]
    loss: Float[Array, "*batch"]


def sigmoid_optimum(num_pairs: ArrayLike, scale: ArrayLike, bias: ArrayLike) -> SigmoidOptimum:
    r"""The optimum of :class:`ssem_jax.losses.Sigmoid`: the double-constant embedding model.

    Averaged over the K pairs an optimum has one cosine s of matched and one cosine o of unmatched
    pairs, which satisfy |s| ≤ 1 and (K-2) s - 2(K-1) o ≤ K. The loss falls in s and rises in o, so
    the optimum lies on that edge, where

    .. math::
       \frac{d}{ds} L = t \Bigl[\frac{K-2}{2} \sigma(t o - b) - \sigma(b - t s)\Bigr],
       \qquad o = \frac{(K-2) s - K}{2(K-1)}

    increases. s = 1 is the simplex ETF, optimal iff
    :math:`2(1 + e^{t/(K-1)+b}) \ge (K-2)(1 + e^{t-b})`; s = -1 is a pair of antipodal towers,
    optimal iff :math:`e^{t+b} \le (K-2)/2`. At b = t these read
    :math:`t \ge \frac{K-1}{K} \log(K-3)` and :math:`t \le \frac12 \log \frac{K-2}{2}`.

    Args:
        num_pairs: K ≥ 3.
        scale: t > 0.
        bias: b, subtracted from the logits.

    Returns:
        s, o and the minimum, broadcast.

    Raises:
        ValueError: fewer than 3 pairs, a scale that is not positive; 64-bit mode is off.

    References:
        Lee, Chang and Sohn (AISTATS 2024), double-constant embedding model.
    """
    require_x64()
    for number in np.unique(np.asarray(concrete(num_pairs))):
        check_count("num_pairs", float(number), 3)
    check_positive("scale", scale)
    given = (num_pairs, scale, bias)
    k, t, b = jnp.broadcast_arrays(*(jnp.asarray(x, jnp.float64) for x in given))

    def unmatched(matched: Array) -> Array:
        return ((k - 2) * matched - k) / (2 * (k - 1))

    def rising(matched: Array) -> Array:
        # Compared as logarithms, so that nothing underflows.
        repelled = jnp.log((k - 2) / 2) + jax.nn.log_sigmoid(t * unmatched(matched) - b)
        return repelled > jax.nn.log_sigmoid(b - t * matched)

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        up = rising(middle)
        return jnp.where(up, low, middle), jnp.where(up, middle, high)

    ends = -jnp.ones_like(t), jnp.ones_like(t)
    low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, ends)
    matched = jnp.where(rising(-jnp.ones_like(t)), -1.0, jnp.where(high == 1, 1.0, low))
    apart = unmatched(matched)
    loss = jax.nn.softplus(b - t * matched) + (k - 1) * jax.nn.softplus(t * apart - b)
    return SigmoidOptimum(matched, apart, loss)
