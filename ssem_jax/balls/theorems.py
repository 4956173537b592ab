"""Theorems over boxes of real m, n, α and τ.

Each docstring states the theorem and its argument; what is evaluated on boxes is its last line.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from flint import arb

from ssem_jax.balls.arithmetic import Exact, least_product, to_ball
from ssem_jax.balls.boxes import Box, BoxProof, Range, domain_of, prove_on_box
from ssem_jax.balls.closed_form import Ray, alpha_c, alpha_v, instance_margin, view_margin
from ssem_jax.balls.phases import PhaseProof, prove_phase
from ssem_jax.problem.problem import Phase
from ssem_jax.problem.validation import check_choice, check_count


def prove_boundary(
    phase: Phase,
    num_classes: Range,
    num_instances: Range,
    num_views: Range = 1,
    alpha: Range = (0, 1),
    temperature: Range = ("0.2", 2),
    self_pairs: str = "include",
    band: Exact = "0.01",
    **search: Any,
) -> BoxProof:
    r"""Theorem: on a box, the optimum is in `phase` where the formulas for α_c and α_v say so.

    * COLLAPSE: all embeddings of a class coincide where α_v + band ≤ α ≤ α_c - band;
    * SPREAD: the instance means of a class part where α ≥ α_c + band;
    * VIEW_SPREAD: the views of an instance part where α ≤ α_v - band.

    Argument: the signs of the dual matrix's eigenvalues at collapse (see :func:`prove_phase`),
    written with their integer block coefficients. The formulas come from elsewhere and only say
    which points are concerned: every point of the box lies outside the region or has the sign.

    Args:
        phase: what is claimed.
        num_classes: m ≥ 2; this and all that follow a number, or a pair (low, high) of *reals*.
        num_instances: n ≥ 2.
        num_views: p ≥ 1, or 2 if self pairs are excluded.
        alpha: α in [0, 1].
        temperature: τ > 0.
        self_pairs: "include" or "exclude".
        band: distance from the boundaries that is left out.
        search: options of :func:`prove_on_box`.

    Raises:
        ValueError: a parameter out of range, or no claim for this phase.
    """
    domain = domain_of(num_classes, num_instances, num_views, alpha, temperature, self_pairs)
    distance = to_ball(band)
    if phase not in (Phase.COLLAPSE, Phase.SPREAD, Phase.VIEW_SPREAD):
        raise ValueError(f"phase must be COLLAPSE, SPREAD or VIEW_SPREAD; got {phase!r}.")

    def statement(point: Box) -> arb:
        cell = domain.cell(point)
        if phase == Phase.SPREAD:
            return (-instance_margin(cell)).max(alpha_c(cell) + distance - cell.alpha)
        if phase == Phase.VIEW_SPREAD:
            return (-view_margin(cell)).max(cell.alpha - alpha_v(cell) + distance)
        holds = instance_margin(cell).min(view_margin(cell))
        outside = cell.alpha - alpha_c(cell) + distance
        if not domain.included:
            outside = outside.max(alpha_v(cell) + distance - cell.alpha)
        return holds.max(outside)

    return prove_on_box(statement, domain.box, **search)


def prove_unique_optimum(
    num_classes: Range,
    num_instances: Range,
    num_views: Range = 1,
    alpha: Range = (0, 1),
    temperature: Range = ("0.05", 5),
    self_pairs: str = "include",
    **search: Any,
) -> BoxProof:
    r"""Theorem: the reduced loss is strictly convex in q = δ², so its minimiser is unique.

    Argument: it is the logarithm of a sum of exponentials plus a linear term, so its second
    derivative is the softmax variance of the slopes 0, n/(n-1) and -1/(m-1) of the dissimilarities
    of the own instance, within and between classes, divided by τ². As a sum over pairs,
    with x and y the last two exponentials and T the softmax denominator,

    .. math::
       \frac{T^2 \tau^2}{x} \frac{\partial^2 L}{\partial q^2}
       = \frac{w n^2}{n-1} + \frac{w n}{m-1} \frac{y}{x}
       + n(n-1)(m-1) \Bigl(\frac{n}{n-1} + \frac{1}{m-1}\Bigr)^2 y > 0,

    where y/x ≤ 1 up to q_max, beyond which no root lies as F(f=1) ≥ 0. It does not contain α.

    Args:
        num_classes: m ≥ 2; this and all that follow a number, or a pair (low, high) of *reals*.
        num_instances: n ≥ 2.
        num_views: p ≥ 1, or 2 if self pairs are excluded.
        alpha: α in [0, 1]; any.
        temperature: τ > 0.
        self_pairs: "include" or "exclude".
        search: options of :func:`prove_on_box`.

    Raises:
        ValueError: a parameter out of range.
    """
    domain = domain_of(num_classes, num_instances, num_views, alpha, temperature, self_pairs)

    def statement(point: Box) -> arb:
        cell = domain.cell(point)
        m, n, f = arb(cell.m), arb(cell.n), point["fraction"]
        ray, u = Ray.of(cell), 1 / cell.tau
        _, quotient = ray.least_exponentials(f, u)
        apart = 1 + 1 / (n - 1) + 1 / (m - 1)
        alike = (-u * ray.a_slope * f).lower().exp()
        return (
            least_product(cell.weight, n + 1 + 1 / (n - 1))
            + least_product(cell.weight, n, 1 / (m - 1), quotient)
            + least_product(n, n - 1, m - 1, apart, apart, quotient, alike)
        )

    return prove_on_box(statement, {**domain.box, "fraction": (0, 1)}, **search)


def prove_monotone_in_alpha(
    num_classes: Range,
    num_instances: Range,
    num_views: Range = 1,
    alpha: Range = (0, 1),
    temperature: Range = ("0.05", 5),
    self_pairs: str = "include",
    **search: Any,
) -> BoxProof:
    r"""Theorem: in the spread phase δ² increases strictly with α.

    Argument: implicit differentiation of F(f, α) = 0 gives df/dα = -F_α / F_f with

    .. math::
       -F_\alpha = w e^{ua} + n(m-1) e^{-ub} + n-1 > 0, \qquad
       F_f / u = \tfrac{mn}{mn-1} C e^{ua} + \tfrac{m}{m-1} B e^{-ub} > 0.

    Args:
        num_classes: m ≥ 2; this and all that follow a number, or a pair (low, high) of *reals*.
        num_instances: n ≥ 2.
        num_views: p ≥ 1, or 2 if self pairs are excluded.
        alpha: α in [0, 1].
        temperature: τ > 0.
        self_pairs: "include" or "exclude".
        search: options of :func:`prove_on_box`.

    Raises:
        ValueError: a parameter out of range.
    """
    domain = domain_of(num_classes, num_instances, num_views, alpha, temperature, self_pairs)

    def statement(point: Box) -> arb:
        cell = domain.cell(point)
        ray, u = Ray.of(cell), 1 / cell.tau
        up, down = ray.least_exponentials(point["fraction"], u)
        n, others = arb(cell.n), arb(cell.m - 1)
        by_alpha = least_product(cell.weight, up) + least_product(n, others, down) + n - 1
        by_fraction = least_product(1 - cell.alpha, cell.weight, ray.a_slope, up)
        between = least_product(1 - cell.alpha, n, others) + n - 1
        return by_alpha.min(by_fraction + least_product(between, ray.b_slope, down))

    return prove_on_box(statement, {**domain.box, "fraction": (0, 1)}, **search)


def prove_unimodal_in_temperature(
    num_classes: Range,
    num_instances: Range,
    num_views: Range = 1,
    alpha: Range = ("0.1", "0.9"),
    temperature: Range = ("0.05", 5),
    self_pairs: str = "include",
    **search: Any,
) -> BoxProof:
    r"""Theorem: as a function of τ, δ² increases and then decreases; it is not monotone.

    Argument: at fixed f, F is strictly convex in u = 1/τ for α < 1,

    .. math:: F_{uu} = a^2 C e^{ua} + b^2 B e^{-ub} > 0.

    F increases with f, so δ² ≥ f q_max iff F(f, u) ≤ 0, which by convexity holds on an interval
    of u: every superlevel set of δ² is an interval. Strict convexity leaves no plateau above 0. For
    w/(n-1+w) < α < 1 it rises from 0 (as u → ∞ the first term of F outgrows all others, for every
    f > 0) and falls back to 0 at τ_c. :func:`enclose_peak` encloses where it turns.

    What is evaluated is F_uu e^{-ua}.

    Args:
        num_classes: m ≥ 2; this and all that follow a number, or a pair (low, high) of *reals*.
        num_instances: n ≥ 2.
        num_views: p ≥ 1, or 2 if self pairs are excluded.
        alpha: α in [0, 1); at 1 δ² does not depend on τ.
        temperature: τ > 0.
        self_pairs: "include" or "exclude".
        search: options of :func:`prove_on_box`.

    Raises:
        ValueError: a parameter out of range.
    """
    domain = domain_of(num_classes, num_instances, num_views, alpha, temperature, self_pairs)

    def statement(point: Box) -> arb:
        cell = domain.cell(point)
        ray, u, f = Ray.of(cell), 1 / cell.tau, point["fraction"]
        n, others = arb(cell.n), arb(cell.m - 1)
        between = least_product(1 - cell.alpha, n, others) + n - 1
        a, b = least_product(ray.a_slope, f), least_product(ray.b_slope, 1 - f)
        total = ray.a_slope * f + ray.b_slope * (1 - f)
        decay = (-(u * total).upper()).exp()
        return least_product(a, a, 1 - cell.alpha, cell.weight) + least_product(
            b, b, between, decay
        )

    return prove_on_box(statement, {**domain.box, "fraction": (0, 1)}, **search)


def prove_temperature_slope(
    direction: int,
    num_classes: Range,
    num_instances: Range,
    num_views: Range = 1,
    alpha: Range = 0.5,
    temperature: Range = ("0.1", "0.3"),
    self_pairs: str = "include",
    **search: Any,
) -> BoxProof:
    r"""Theorem: on a box δ² increases strictly with τ (direction 1), or decreases (direction -1).

    Where it is 0 nothing is claimed. Argument: du = -dτ/τ², so dδ²/dτ has the sign of F_u on the
    curve F = 0. Every (f, α, τ) of the box lies off the curve or has this sign.

    Args:
        direction: 1 or -1.
        num_classes: m ≥ 2; this and all that follow a number, or a pair (low, high) of *reals*.
        num_instances: n ≥ 2.
        num_views: p ≥ 1, or 2 if self pairs are excluded.
        alpha: α in [0, 1].
        temperature: τ > 0.
        self_pairs: "include" or "exclude".
        search: options of :func:`prove_on_box`.

    Raises:
        ValueError: a parameter out of range, or another direction.
    """
    if direction not in (1, -1):
        raise ValueError(f"direction must be 1 (increasing) or -1 (decreasing); got {direction}.")
    domain = domain_of(num_classes, num_instances, num_views, alpha, temperature, self_pairs)

    def statement(point: Box) -> arb:
        cell = domain.cell(point)
        ray, u, f = Ray.of(cell), 1 / cell.tau, point["fraction"]
        return abs(ray.value(f, u)).max(direction * ray.cooling(f, u))

    return prove_on_box(statement, {**domain.box, "fraction": (0, 1)}, **search)


def prove_not_monotone_in_temperature(
    num_classes: Range,
    num_instances: Range,
    num_views: Range = 1,
    alpha: Range = ("0.7", "0.9"),
    self_pairs: str = "include",
    temperatures: tuple[Exact, Exact, Exact] = ("0.005", "0.3", 30),
    fraction: Exact = "0.05",
    **search: Any,
) -> BoxProof:
    r"""Theorem: on a box of (m, n, α), δ² is larger at the second of three temperatures.

    Argument: δ² exceeds f q_max iff F(f, 1/τ) < 0. The claim is F > 0 at the first and the last
    temperature and F < 0 between, at one f.

    Args:
        num_classes: m ≥ 2; this and all that follow a number, or a pair (low, high) of *reals*.
        num_instances: n ≥ 2.
        num_views: p ≥ 1, or 2 if self pairs are excluded.
        alpha: α in [0, 1].
        self_pairs: "include" or "exclude".
        temperatures: τ_1 < τ_2 < τ_3.
        fraction: f.
        search: options of :func:`prove_on_box`.

    Raises:
        ValueError: a parameter out of range.
    """
    domain = domain_of(num_classes, num_instances, num_views, alpha, temperatures[1], self_pairs)
    f, coldness = to_ball(fraction), [1 / to_ball(tau) for tau in temperatures]

    def statement(point: Box) -> arb:
        ray = Ray.of(domain.cell(point))
        cold, middle, hot = (ray.value(f, u) for u in coldness)
        return cold.min(hot).min(-middle)

    return prove_on_box(statement, domain.box, **search)


def _small_mixing(point: Box) -> arb:
    """M / (p P) of :func:`prove_small_mixing_collapses`."""
    share, xi = point["share"], point["saturation"]
    mu, nu = point["inverse_classes"], point["inverse_instances"]
    w, theta = point["weight"], point["limit"]
    own = w * (1 - xi) + theta * (1 - mu) * xi
    return share * own + (1 - share) * (1 - mu * nu - theta * (1 - mu) * nu)


def prove_small_mixing_collapses(self_pairs: str = "include", **search: Any) -> BoxProof:
    r"""Theorem: α ≤ w/(n-1+w) keeps instance means together at every τ > 0, for all real m, n ≥ 2.

    With self pairs included this is α ≤ 1/n, and full collapse; excluded, (p-1)/(np-1).

    Argument: with α = β w/(n-1+w), β ≤ 1, and θ = nw/(n-1+w) the instance margin is p times

    .. math:: M = (1-\beta) [w + \theta (m-1) r] + [mn - 1 - \theta (m-1)] r .

    Divide it by the positive :math:`P = (1-\beta)(1 + mr) + mnr`, and write φ in [0, 1] for the
    share of its first term, ξ = mr/(1+mr), μ = 1/m, ν = 1/n:

    .. math::
       M / P = \varphi [w (1-\xi) + \theta (1-\mu) \xi]
       + (1-\varphi) [1 - \mu\nu - \theta (1-\mu) \nu] .

    That is positive on φ, ξ in [0, 1], μ, ν in [0, 1/2] and w = θ = 1, or w, θ in [1/2, 1] if self
    pairs are excluded (p ≥ 2), which holds all m, n ≥ 2, β in [0, 1] and τ > 0.

    Args:
        self_pairs: "include" or "exclude".
        search: options of :func:`prove_on_box`.

    Raises:
        ValueError: another convention.
    """
    check_choice("self_pairs", self_pairs, ("include", "exclude"))
    weights = (1, 1) if self_pairs == "include" else (0.5, 1)
    box = {
        "share": (0, 1),
        "saturation": (0, 1),
        "inverse_classes": (0, 0.5),
        "inverse_instances": (0, 0.5),
        "weight": weights,
        "limit": weights,
    }
    return prove_on_box(_small_mixing, box, **search)


def _guideline_included(point: Box) -> arb:
    """A lower bound of -2M/(1-η) of :func:`prove_guideline`; v may range from 0."""
    v = point["inverse_log_classes"]
    least = (-1 / v.lower()).exp() if v.lower() > 0 else arb(0)
    return 1 - v * (1 - least.union((-1 / v.upper()).exp()))


def _guideline_excluded(point: Box) -> arb:
    """-M / ((n-1) P) of :func:`prove_guideline`."""
    kept = 1 - (1 - point["inverse_classes"]) * point["saturation"]
    return 1 - point["share"] * point["inverse_class_size"] * kept


def prove_guideline(self_pairs: str = "include", **search: Any) -> BoxProof:
    r"""Theorem: a sound guideline against class collapse, for all real m ≥ 2 and n ≥ 2.

    * Included: α ≥ (n+1)/(2n) and τ ≤ 1/log m. With :math:`\alpha n - 1 = (n-1)(1+s)/2`, s ≥ 0,
      and η = mr the instance margin M, divided by p(n-1), has

      .. math:: \frac{-M}{1-\eta} = \frac12 \Bigl[1 - \frac{\mu\eta}{1-\eta}\Bigr]
                + \frac{s}{2} \, \frac{1 + (1-\mu)\eta}{1-\eta} .

      η ≤ m^{-1/(m-1)} < 1, so the quotient is at most :math:`\mu / (e^{t} - 1) \le \mu/t =
      (1-\mu) v` with t = log m/(m-1) and v = 1/log m. What is evaluated on v in [0, 1/log 2] is
      :math:`1 - v (1 - e^{-1/v})`; the exponential is bounded by its ends.
    * Excluded, p ≥ 2: α ≥ 1/n and τ ≤ 1/log N. With αn - 1 = s(n-1) and
      ω = Nr ≤ N^{-1/(m-1)} < 1, the instance margin times n/(n-1) is
      -s(pn - 1 + (1-μ)ω) - (1-ω). Divide by the positive
      P = (1-ω) + spn and write φ for the share of its second term and κ = 1/(pn) ≤ 1/4. What is
      evaluated is

      .. math:: 1 - \varphi \kappa (1 - (1-\mu)\omega) .

    Args:
        self_pairs: "include" or "exclude".
        search: options of :func:`prove_on_box`.

    Raises:
        ValueError: another convention.
    """
    check_choice("self_pairs", self_pairs, ("include", "exclude"))

    if self_pairs == "include":
        box = {"inverse_log_classes": (0, lambda: 1 / arb(2).log())}
        return prove_on_box(_guideline_included, box, **search)
    box = {
        "share": (0, 1),
        "saturation": (0, 1),
        "inverse_classes": (0, 0.5),
        "inverse_class_size": (0, 0.25),
    }
    return prove_on_box(_guideline_excluded, box, **search)


def prove_guideline_on_box(
    num_classes: Range,
    num_instances: Range,
    num_views: Range = 1,
    self_pairs: str = "include",
    shift: Exact = 0,
    **search: Any,
) -> BoxProof:
    r"""Theorem: the guidelines of :func:`prove_guideline`, from the eigenvalue itself, on a box.

    Argument: the instance margin decreases with α and increases with r and so with τ (its slope in
    r is at least p(n-1)), so the worst corner, the least α at the largest τ, decides.

    Args:
        num_classes: m ≥ 2; this and all that follow a number, or a pair (low, high) of *reals*.
        num_instances: n ≥ 2.
        num_views: p ≥ 1, or 2 if self pairs are excluded.
        self_pairs: "include" or "exclude".
        shift: taken off the least α; a positive one states a stronger guideline.
        search: options of :func:`prove_on_box`.

    Raises:
        ValueError: a parameter out of range.
    """
    domain = domain_of(num_classes, num_instances, num_views, 0, 1, self_pairs)
    less = to_ball(shift)

    def statement(point: Box) -> arb:
        cell = domain.cell(point)
        m, n = arb(cell.m), arb(cell.n)
        if domain.included:
            alpha, tau = (1 + 1 / n) / 2, 1 / m.log()
        else:
            alpha, tau = 1 / n, 1 / (m * n * cell.p).log()
        return -instance_margin(cell._replace(alpha=alpha - less, tau=tau))

    return prove_on_box(statement, domain.box, **search)


def refute_summary_guideline(
    num_classes: int = 2, num_instances: int = 2, num_views: int = 1, self_pairs: str = "include"
) -> PhaseProof:
    r"""The guideline "α ≥ 1/n and τ ≤ 1/log m prevents class collapse", tested at its own corner.

    At α = 1/n, τ = 1/log m collapse is proven optimal: there :math:`r = m^{-m/(m-1)}` and the
    instance margin is p m(n-1) r > 0 with self pairs included; with them excluded it is
    (n-1)(N r - 1)/n, positive as :math:`N r = np\, m^{-1/(m-1)} \ge np/2 \ge 2` for p ≥ 2.

    This judges the sentence, not the theorems of a paper that it may summarise.

    Returns:
        The proof, whose phase is COLLAPSE: a counterexample to the guideline.

    Raises:
        ValueError: a count or a convention out of range.
    """
    m, n = (
        check_count("num_classes", num_classes, 2),
        check_count("num_instances", num_instances, 2),
    )
    return prove_phase(m, n, num_views, Fraction(1, n), lambda: 1 / arb(m).log(), self_pairs)
