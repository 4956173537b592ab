r"""Thresholds of other structures, proven for all sizes and temperatures at once.

Where one parameter rules, a loss is convex along it and classes collapse iff its slope at collapse
does not fall: iff a **margin** is not negative, which is affine in α. So

.. math:: \text{margin}(\alpha) = K (\alpha_c - \alpha), \qquad K > 0,

says all: both sides are rational functions of μ = 1/m, ν = 1/n, r and α, equal by
:func:`.identities.prove_zero`, and K is positive on a box that holds all real m, n ≥ 2 and every
τ > 0, which enters by r in (0, 1) alone. Self pairs are included and there is one view.

The margins are those of the four variance shares for a sum of terms
:math:`\omega \log(c_s e^{1/\tau} + c_w e^{x/\tau} + c_b e^{y/\tau})` with a pull P_w within classes
(:func:`instance_margin`); the mean share has a positive one, Σ ω c_b r/D, whatever the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NamedTuple

from flint import arb

from ssem_jax.balls.boxes import Box, BoxProof, prove_on_box
from ssem_jax.balls.identities import Identity, prove_zero
from ssem_jax.problem.validation import check_count

HALF = (0, Fraction(1, 2))
UNIT = (0, 1)


class Threshold(NamedTuple):
    """A threshold, proven.

    Attributes:
        identities: margins that are K times a distance from a threshold.
        boxes: on which a K that is not positive by its form is proven to be.
    """

    identities: tuple[Identity, ...]
    boxes: tuple[BoxProof, ...] = ()

    @property
    def proven(self) -> bool:
        """Whether all of it is."""
        return all(part.proven for part in (*self.identities, *self.boxes))


def instance_margin(terms: Iterable[tuple[Any, ...]], pull: Any, kappa: Any, r: Any) -> Any:
    r"""By how much collapse beats spreading instances: :math:`P_w - \sum \omega
    (c_w - \kappa c_b r) / (c_s + c_w + c_b r)`.

    Args:
        terms: (ω, c_s, c_w, c_b).
        pull: P_w.
        kappa: κ = (n-1)/(n(m-1)).
        r: e^{-m/((m-1)τ)}.
    """
    return pull - sum(
        share * (within - kappa * between * r) / (own + within + between * r)
        for share, own, within, between in terms
    )


def _kappa(mu: Any, nu: Any) -> Any:
    return (1 - nu) * mu / (1 - mu)


def prove_stratified() -> Threshold:
    r"""Theorem: the mean loss over batches of m_b classes with n_b instances each collapses classes
    iff :math:`\alpha \le 1 - \frac{(n_b-1) - n_b(m_b-1) \kappa r}{n_b + n_b(m_b-1) r}`.

    There is one composition, and K = 1; m_b and n_b range over the reals as well.
    """

    def difference(mu: Any, nu: Any, r: Any, alpha: Any, classes: Any, instances: Any) -> Any:
        kappa, others = _kappa(mu, nu), instances * (classes - 1)
        margin = instance_margin([(1, 1, instances - 1, others)], 1 - alpha, kappa, r)
        bound = 1 - ((instances - 1) - others * kappa * r) / (instances + others * r)
        return margin - (bound - alpha)

    names = ("mu", "nu", "r", "alpha", "classes", "instances")
    return Threshold((prove_zero(difference, names),))


def _chances(mu: Any, nu: Any, batch: int) -> list[Any]:
    """Of k others of one's class among batch-1, times a positive number that is common to all."""
    found = []
    for k in range(batch):
        part = math.comb(batch - 1, k)
        for i in range(k):
            part = part * mu * (1 - (1 + i) * nu)
        for j in range(batch - 1 - k):
            part = part * ((1 - mu) - j * mu * nu)
        found.append(part)
    return found


def prove_random(batch: int) -> Threshold:
    r"""Theorem: the mean loss over all batches of B instances collapses classes, L_sup over all
    anchors, iff :math:`\alpha \le (P_1 - \mathrm{E}[h; k \ge 1]) / (P_1 + \mathrm{E}[h; k = 0])`,
    and over anchors with a positive iff :math:`\alpha \le (1 - \mathrm{E}_\mathrm{sup} h) /
    (1 - \mathrm{E}_\mathrm{sup} h + \mathrm{E} h)`; the first is φα_c/(1-(1-φ)α_c) of the second,
    φ = P_1.

    With h = (k - lκr)/(1 + k + lr), k hypergeometric and l = B-1-k, for all real m ≥ 2 and
    n ≥ B-1. K = P_1 + E[h; k=0], which is divided by μ(1-ν) where it is proven to be positive. The
    mean over anchors with a positive weighs L_sup by 1/φ, which is another α of the same loss.

    Args:
        batch: B, from 2 on.
    """
    batch = check_count("a batch", batch, 2)

    def parts(mu: Any, nu: Any, r: Any) -> tuple[Any, Any, Any]:
        """P_1, E[h; k≥1], E[h; k=0], up to a common factor."""
        kappa, chances = _kappa(mu, nu), _chances(mu, nu, batch)
        h = [
            (k - (batch - 1 - k) * kappa * r) / (1 + k + (batch - 1 - k) * r) for k in range(batch)
        ]
        expected = [chance * each for chance, each in zip(chances, h, strict=True)]
        return sum(chances[1:]), sum(expected[1:]), expected[0]

    def over_all(mu: Any, nu: Any, r: Any, alpha: Any) -> Any:
        kappa, chances = _kappa(mu, nu), _chances(mu, nu, batch)
        met, positive, alone = parts(mu, nu, r)
        terms = [
            (chance * (1 if k else alpha), 1, k, batch - 1 - k) for k, chance in enumerate(chances)
        ]
        margin = instance_margin(terms, (1 - alpha) * met, kappa, r)
        # K α_c is P_1 - E[h; k≥1]: no quotient of long sums.
        return margin - ((met - positive) - (met + alone) * alpha)

    def shared(mu: Any, nu: Any, r: Any) -> Any:
        """φα_c/(1-(1-φ)α_c) is the bound over all anchors, multiplied out."""
        met, positive, alone = parts(mu, nu, r)
        whole = sum(_chances(mu, nu, batch))
        ahead = met - positive  # α_c = ahead / (ahead + φ (E[h; k≥1] + E[h; k=0])), φ = met/whole
        below = ahead * whole + met * (positive + alone)
        return met * (met + alone) - (below - (whole - met) * ahead)

    def slope(point: Box) -> arb:
        mu, nu, r = point["mu"], point["nu"], point["r"]
        total = arb(0)
        for k in range(1, batch):  # of μ(1-ν), by which every chance of k ≥ 1 can be divided
            part = arb(math.comb(batch - 1, k))
            for i in range(1, k):
                part = part * mu * (1 - (1 + i) * nu)
            for j in range(batch - 1 - k):
                part = part * ((1 - mu) - j * mu * nu)
            total = total + part
        alone = arb(1)
        for j in range(batch - 1):
            alone = alone * ((1 - mu) - j * mu * nu)
        return total - alone * (batch - 1) * r / ((1 - mu) * (1 + (batch - 1) * r))

    box = {"mu": HALF, "nu": (0, Fraction(1, max(batch - 1, 2))), "r": UNIT}
    identities = (
        prove_zero(over_all, ("mu", "nu", "r", "alpha")),
        prove_zero(shared, ("mu", "nu", "r")),
    )
    return Threshold(identities, (prove_on_box(slope, box),))


def prove_spread() -> Threshold:
    r"""Theorem: L_spread collapses classes iff its share a is at most Nr/(1 + (2N-n)r), N = mn.

    With m = 1/μ and n = 1/ν: :math:`\text{margin} \cdot \frac{\mu\nu + (1-\mu)r}{1-\nu}
    = r - a [\mu\nu + (2-\mu) r]`, whose factors are positive.
    """

    def difference(mu: Any, nu: Any, r: Any, share: Any) -> Any:
        n, others = 1 / nu, (1 / mu - 1) / nu
        terms = [
            ((1 - share) * nu, 1, 0, others),
            (share, 1, n - 1, 0),
            ((1 - share) * (1 - nu), 0, 1, others),
        ]
        margin = instance_margin(terms, (1 - share) * (1 - nu), _kappa(mu, nu), r)
        scaled = margin * (mu * nu + (1 - mu) * r) / (1 - nu)
        return scaled - (r - share * (mu * nu + (2 - mu) * r))

    return Threshold((prove_zero(difference, ("mu", "nu", "r", "share")),))


def prove_nonnegative() -> Threshold:
    r"""Theorem: where no similarity is negative, and so different classes are orthogonal, classes
    collapse iff :math:`\alpha \le (w + n(m-1) r_0) / (n-1 + w + n(m-1) r_0)`, r_0 = e^{-1/τ}.

    The loss of the similarity within classes is convex, and has the slope (n-1)/D - (1-α) at 1,
    times τ, D = w + n-1 + n(m-1) r_0; K = 1. It holds of every w > 0: with self pairs included,
    excluded, or of several views that coincide.
    """

    def difference(mu: Any, nu: Any, r: Any, alpha: Any, weight: Any) -> Any:
        n, others = 1 / nu, (1 / mu - 1) / nu
        margin = instance_margin([(1, weight, n - 1, others)], 1 - alpha, 0, r)
        held = weight + others * r
        return margin - (held / (n - 1 + held) - alpha)

    return Threshold((prove_zero(difference, ("mu", "nu", "r", "alpha", "weight")),))


def prove_window() -> Threshold:
    r"""Theorem: SupCL of two towers collapses classes iff α₋ ≤ α ≤ α_c.

    At collapse the dual matrix is [[λ, -Q], [-Q, λ]] with Q the pull less the softmax of a pair, in
    D = n + n(m-1)r: α - 1/D of the matched pair, (1-α)/(n-1) - 1/D within its class, -r/D between
    classes. λ is the eigenvalue of Q on class means, and it is positive semidefinite iff that is no
    smaller than the absolute values of the others, on instances and on the mean, which is 0:

    .. math:: q_\mathrm{class} - q_\mathrm{instance} = \tfrac{n}{n-1} (\alpha_c - \alpha), \quad
              q_\mathrm{class} + q_\mathrm{instance} = \tfrac{n}{n-1} (\alpha - \alpha_-), \quad
              q_\mathrm{mean} = 0.
    """

    def eigenvalues(mu: Any, nu: Any, r: Any, alpha: Any) -> tuple[Any, Any, Any]:
        n, classes = 1 / nu, 1 / mu - 1
        total = n + n * classes * r
        matched, within = alpha - 1 / total, (1 - alpha) / (n - 1) - 1 / total
        between, own = -r / total, alpha - 1 / total + (n - 1) * ((1 - alpha) / (n - 1) - 1 / total)
        return matched - within, own - n * between, own + n * classes * between

    def held(mu: Any, r: Any) -> Any:
        return (1 - r) / (1 + (1 / mu - 1) * r)

    def above(mu: Any, nu: Any, r: Any, alpha: Any) -> Any:
        instance, of_class, _ = eigenvalues(mu, nu, r, alpha)
        bound = nu + (1 - nu) * (1 - held(mu, r))
        return (of_class - instance) * (1 - nu) - (bound - alpha)

    def below(mu: Any, nu: Any, r: Any, alpha: Any) -> Any:
        instance, of_class, _ = eigenvalues(mu, nu, r, alpha)
        bound = nu * ((1 / nu - 1) * held(mu, r) - (1 / nu - 2))
        return (of_class + instance) * (1 - nu) - (alpha - bound)

    def mean(mu: Any, nu: Any, r: Any, alpha: Any) -> Any:
        return eigenvalues(mu, nu, r, alpha)[2]

    names = ("mu", "nu", "r", "alpha")
    return Threshold(tuple(prove_zero(each, names) for each in (above, below, mean)))
