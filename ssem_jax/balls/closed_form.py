r"""Balanced classes in balls: collapse, the spread ray, the view-spread ray.

**The spread ray.** For balanced classes the optimum with instance variance q = δ² is the root of
one equation. Write :math:`q = f\, q_\max`, :math:`q_\max = m(n-1)/(mn-1)`, and u = 1/τ. Then, with
w = 1 if self pairs are included and (p-1)/p if they are excluded,

.. math::
   F(f, u) = C e^{ua} + B e^{-ub} - A, \quad
   a = \tfrac{mn}{mn-1} f, \quad b = \tfrac{m}{m-1} (1-f), \quad
   A = \alpha(n-1),\; C = (1-\alpha) w,\; B = (1-\alpha) n(m-1) + n-1

has the sign of ∂L/∂q, as a and -b increase with f. Collapse is the end f = 0, the simplex of all
instances is f = 1, where :math:`F = (1-\alpha)(w e^{ua} + mn - 1) \ge 0`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from flint import arb, ctx

from ssem_jax.balls.arithmetic import (
    CLOSED_FORM_PRECISION,
    Exact,
    hyper_parameters,
    least_product,
    working_precision,
)
from ssem_jax.balls.enclosures import Enclosure, enclosure_of
from ssem_jax.problem.validation import check_choice, check_count

_NEWTON_STEPS = 200
"""Never reached: from within log 2 of a root Newton's method needs about a dozen."""


class Cell(NamedTuple):
    """m, n, p, σ (1 if self pairs are included, else 0), α and τ; numbers or balls."""

    m: Any
    n: Any
    p: Any
    included: int
    alpha: arb
    tau: arb

    @property
    def own(self) -> Any:
        """p w: terms of the anchor's own instance in its denominator."""
        return self.p - 1 + self.included

    @property
    def weight(self) -> arb:
        """w."""
        return arb(1) if self.included else 1 - 1 / arb(self.p)

    @property
    def ratio(self) -> arb:
        """r = e^{-m/((m-1)τ)}, as a function that is increasing in τ and in m."""
        return (-(1 + 1 / arb(self.m - 1)) / self.tau).exp()


def instance_margin(cell: Cell) -> arb:
    r"""The instance eigenvalue of the dual matrix at collapse, up to a positive factor.

    .. math:: (p-1+\sigma) + p(mn-1) r - \alpha \bigl[pn-1+\sigma + pn(m-1) r\bigr]

    It is the eigenvalue times N τ (n-1)/n times the softmax denominator (over e^{1/τ}); the
    integer coefficients are what is left after all that cancels has cancelled. Instances of a class
    part at the optimum iff it is negative.
    """
    m, n, p, r = cell.m, cell.n, cell.p, cell.ratio
    terms = p * (n - 1) + cell.own + p * n * (m - 1) * r
    return cell.own + p * (m * n - 1) * r - cell.alpha * terms


def view_margin(cell: Cell) -> arb:
    r"""The view eigenvalue of the dual matrix at collapse, up to a positive factor.

    .. math:: (p-1)(N r - 1) + \alpha \bigl[pn-1 + pn(m-1) r\bigr], \qquad N = mnp

    if self pairs are excluded, N r > 0 if they are included. Views of an instance part at the
    optimum iff it is negative.
    """
    m, n, p, r = cell.m, cell.n, cell.p, cell.ratio
    if cell.included:
        return m * n * p * r
    return (p - 1) * (m * n * p * r - 1) + cell.alpha * (p * n - 1 + p * n * (m - 1) * r)


def alpha_c(cell: Cell) -> arb:
    r"""The claimed collapse boundary, :math:`\alpha_c = 1 - (n-1)(1-r) / (n-1+w+n(m-1)r)`."""
    n, r, w = cell.n, cell.ratio, cell.weight
    return 1 - (n - 1) * (1 - r) / (n - 1 + w + n * (cell.m - 1) * r)


def alpha_v(cell: Cell) -> arb:
    r"""The claimed view-spread boundary, :math:`(p-1)(1-Nr) / (np-1+n(m-1)pr)`; 0 if included."""
    m, n, p, r = cell.m, cell.n, cell.p, cell.ratio
    if cell.included:
        return arb(0)
    return (p - 1) * (1 - m * n * p * r) / (n * p - 1 + n * p * (m - 1) * r)


class Ray(NamedTuple):
    """F(f, u) = C e^{ua} + B e^{-ub} - A of this module's docstring."""

    a_slope: arb
    b_slope: arb
    own: arb
    between: arb
    lead: arb

    @classmethod
    def of(cls, cell: Cell) -> Ray:
        m, n = arb(cell.m), arb(cell.n)
        apart = 1 - cell.alpha
        least = 1 / (m.upper() * n.upper() - 1)
        most = 1 / (m.lower() * n.lower() - 1)
        return cls(
            # Of the two ends: the product of wide balls would reach below 1.
            a_slope=1 + least.union(most),
            b_slope=1 + 1 / (m - 1),
            own=apart * cell.weight,
            between=apart * n * (m - 1) + n - 1,
            lead=cell.alpha * (n - 1),
        )

    def exponentials(self, f: arb, u: arb) -> tuple[arb, arb]:
        """e^{ua} and e^{-ub}."""
        return (u * self.a_slope * f).exp(), (-u * self.b_slope * (1 - f)).exp()

    def least_exponentials(self, f: arb, u: arb) -> tuple[arb, arb]:
        """Lower bounds of e^{ua} and e^{-ub}, positive however wide the balls."""
        cold = (u * self.b_slope * (1 - f)).upper()
        return least_product(u, self.a_slope, f).exp(), (-cold).exp()

    def value(self, f: arb, u: arb) -> arb:
        """F, of the sign of ∂L/∂q."""
        up, down = self.exponentials(f, u)
        return self.own * up + self.between * down - self.lead

    def cooling(self, f: arb, u: arb) -> arb:
        """∂F/∂u."""
        up, down = self.exponentials(f, u)
        a, b = self.a_slope * f, self.b_slope * (1 - f)
        return a * self.own * up - b * self.between * down


def cell_of(
    num_classes: Any,
    num_instances: Any,
    num_views: Any,
    alpha: Exact,
    temperature: Exact,
    self_pairs: str,
) -> Cell:
    """A validated cell, in balls of the working precision."""
    check_choice("self_pairs", self_pairs, ("include", "exclude"))
    m = check_count("num_classes", num_classes, 2)
    n = check_count("num_instances", num_instances, 1)
    p = check_count("num_views", num_views, 1)
    mixing, tau = hyper_parameters(alpha, temperature)
    if n == 1 and not mixing == 1:
        raise ValueError(
            "L_sup has no positive pair when num_instances is 1; got alpha < 1. "
            "Use alpha = 1 or more instances per class."
        )
    if self_pairs == "exclude" and p == 1 and not mixing == 0:
        raise ValueError(
            "num_views must be at least 2 when alpha > 0 and self pairs are excluded; got 1. "
            "Use alpha = 0, add views, or include self pairs."
        )
    return Cell(m, n, p, int(self_pairs == "include"), mixing, tau)


def _solve_exponentials(lead: arb, terms: list[tuple[arb, arb, arb]]) -> arb:
    r"""A number close to the root x of Σ c e^{s x - o} = lead, for terms (c, o, s) with s > 0.

    Newton's method on the logarithm, a convex function, from where the largest term equals the
    right side: it descends monotonically. Nothing is proven; the result has no radius.
    """
    terms = [(c.mid(), o.mid(), s.mid()) for c, o, s in terms if c.mid() > 0]
    lead = lead.mid()
    x = arb(min((((lead / c).log() + o) / s).mid() for c, o, s in terms))
    tolerance = arb(2) ** (16 - ctx.prec)
    for _ in range(_NEWTON_STEPS):
        values = [(c / lead).log() + s * x - o for c, o, s in terms]
        values = [value.mid().exp() for value in values]
        total = sum(values, arb(0))
        pull = sum((v * s for v, (_, _, s) in zip(values, terms, strict=True)), arb(0))
        step = (total.log() * total / pull).mid()
        x = (x - step).mid()
        if abs(step) < tolerance:
            break
    return x


def _clip(x: arb, most: arb) -> arb:
    """A number of no radius in [0, most]."""
    return arb(0) if x < 0 else x if x < most else most.lower()


def _spread_fraction(cell: Cell) -> arb:
    """A number close to f = q/q_max at the optimum."""
    if cell.n == 1 or instance_margin(cell).mid() >= 0:
        return arb(0)
    ray, u = Ray.of(cell), 1 / cell.tau
    terms = [
        (ray.own, arb(0), u * ray.a_slope),
        (ray.between, u * ray.b_slope, u * ray.b_slope),
    ]
    return _clip(_solve_exponentials(ray.lead, terms), arb(1))


def _view_variance(cell: Cell) -> arb:
    r"""A number close to the variance v of the views at the optimum, the root of

    .. math::
       (1-\alpha) w e^{-v/(w\tau)} = \alpha (n-1) e^{-v/\tau}
       + [wN + \alpha n(m-1)] e^{-(m-v)/((m-1)\tau)}.
    """
    if cell.included or cell.p == 1 or view_margin(cell).mid() >= 0:
        return arb(0)
    m, n, p = map(arb, (cell.m, cell.n, cell.p))
    w, u = (p - 1) / p, 1 / cell.tau
    terms = [
        (cell.alpha * (n - 1), arb(0), u / (p - 1)),
        (w * m * n * p + cell.alpha * n * (m - 1), u * m / (m - 1), u * (1 / w + 1 / (m - 1))),
    ]
    v = _solve_exponentials((1 - cell.alpha) * w, terms)
    return _clip(v, m * (p - 1) / (m * p - 1))


def _block_bounds(cell: Cell, view_variance: arb, delta2: arb) -> tuple[arb, arb, arb]:
    r"""Loss, lower bound and ε of the Gram matrix of given variances, which sum to at most 1.

    The gradient has one value for each kind of pair, times N τ: γ_self, γ_view, γ_within,
    γ_between. It commutes with the symmetry, so with λ = -(g G₀)_ii its dual matrix has the
    eigenvalues

    .. math::
       \text{view: } \lambda + \gamma_\mathrm{self} - \gamma_\mathrm{view}, \quad
       \text{instance: } \lambda + \gamma_\mathrm{self} + (p-1)\gamma_\mathrm{view}
           - p \gamma_\mathrm{within},

    .. math::
       \text{class: } \lambda + \gamma_\mathrm{self} + (p-1)\gamma_\mathrm{view}
           + p(n-1)\gamma_\mathrm{within} - pn \gamma_\mathrm{between}, \quad
       \text{mean: } \lambda,

    the last because a row of the gradient sums to 0. Σλ + ⟨g, G₀⟩ = 0.
    """
    m, n, p, included, alpha, tau = cell
    views, instances = p > 1, n > 1
    unlike_view = view_variance * p / arb(p - 1) if views else arb(0)
    unlike_within = view_variance + delta2 * n / arb(n - 1) if instances else arb(0)
    unlike_between = (m - view_variance - delta2) / arb(m - 1)
    weights = [(-unlike / tau).exp() for unlike in (unlike_view, unlike_within, unlike_between)]
    counts = (p - 1, p * (n - 1), p * n * (m - 1))
    total = sum((c * weight for c, weight in zip(counts, weights, strict=True)), arb(included))

    own = arb(p - 1 + included)
    pull = (1 - alpha) * unlike_within
    if views:
        pull += alpha * unlike_view * (p - 1) / own
    value = total.log() + pull / tau

    at_self = 1 / total - alpha / p if included else arb(0)
    at_view = weights[0] / total - alpha / own if views else arb(0)
    at_within = weights[1] / total - (1 - alpha) / (p * (n - 1)) if instances else arb(0)
    at_between = weights[2] / total
    multiplier = -(
        at_self
        + (p - 1) * at_view * (1 - unlike_view)
        + p * (n - 1) * at_within * (1 - unlike_within)
        + p * n * (m - 1) * at_between * (1 - unlike_between)
    )
    instance_sum = at_self + (p - 1) * at_view
    eigenvalues = [
        multiplier,
        multiplier + instance_sum + p * (n - 1) * at_within - p * n * at_between,
    ]
    if instances:
        eigenvalues.append(multiplier + instance_sum - p * at_within)
    if views:
        eigenvalues.append(multiplier + at_self - at_view)
    deficit = arb(0)
    for eigenvalue in eigenvalues:
        deficit = deficit.max(-eigenvalue)
    return value, value - deficit / tau, deficit / (m * n * p * tau)


def enclose_closed_form(
    num_classes: int,
    num_instances: int,
    num_views: int,
    alpha: Exact,
    temperature: Exact,
    self_pairs: str = "include",
    precision: int = CLOSED_FORM_PRECISION,
) -> Enclosure:
    """Enclose the global minimum for balanced classes by the closed form, at any m, n and p.

    The Gram matrix is given by two variances, of views and of instance means, close to the roots
    of the stationarity conditions. Any two that sum to at most 1 are feasible, so its loss is an
    upper bound; by symmetry the dual matrix has four distinct eigenvalues, so the lower bound
    costs a few operations whatever m, n and p.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        alpha: α in [0, 1]; 1 where n = 1, and 0 where p = 1 if self pairs are excluded.
        temperature: τ > 0; for one that is no float pass for example ``lambda: 1/arb(3).log()``.
        self_pairs: "include" or "exclude".
        precision: bits.

    Returns:
        The enclosure; at 256 bits, and where α and τ are exact, far narrower than 1e-20.

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range.
    """
    with working_precision(precision):
        cell = cell_of(num_classes, num_instances, num_views, alpha, temperature, self_pairs)
        view_variance = _view_variance(cell)
        delta2 = arb(0)
        if view_variance == 0:
            delta2 = _spread_fraction(cell) * largest_delta2(cell)
        value, lower, shift = _block_bounds(cell, view_variance, delta2)
        return enclosure_of(lower, value, shift, precision)


def largest_delta2(cell: Cell) -> arb:
    """q_max = m(n-1)/(mn-1), of the simplex of all instances."""
    return arb(cell.m * (cell.n - 1)) / (cell.m * cell.n - 1)


def enclose_delta2(
    num_classes: int,
    num_instances: int,
    num_views: int,
    alpha: Exact,
    temperature: Exact,
    self_pairs: str = "include",
    precision: int = CLOSED_FORM_PRECISION,
) -> arb:
    """A ball that is proven to hold δ², the variance of the instance means at the optimum.

    F increases with f, so a change of its sign encloses the root; without one the ball is [0, 1].

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 1 per class.
        num_views: p ≥ 1 per instance.
        alpha: α in [0, 1]; 1 where n = 1, and 0 where p = 1 if self pairs are excluded.
        temperature: τ > 0.
        self_pairs: "include" or "exclude".
        precision: bits.

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range.
    """
    with working_precision(precision):
        cell = cell_of(num_classes, num_instances, num_views, alpha, temperature, self_pairs)
        if cell.n == 1 or instance_margin(cell) >= 0:
            return arb(0)
        ray, u, root = Ray.of(cell), 1 / cell.tau, _spread_fraction(cell)
        if cell.alpha == 1:
            return largest_delta2(cell)
        margin = arb(2) ** (-ctx.prec // 2)
        while margin < 1:
            low, high = _clip(root - margin, arb(1)), _clip(root + margin, arb(1))
            if ray.value(low, u) < 0 and ray.value(high, u) > 0:
                return low.union(high) * largest_delta2(cell)
            margin *= 16
        return arb(0).union(arb(1))
