r"""Proofs in ball arithmetic: what no rounding error can break.

Every number here is a ball of FLINT/Arb that is guaranteed to hold the real number meant. Inputs
are exact: a float is the dyadic number it is, a `Fraction`, an integer or a decimal string the
rational number it is. So 0.1 is not 1/10, and a statement about 1/10 is given "0.1". Three kinds of
proof:

* **Enclosures** of the global minimum of SupCL over all unit embeddings in all dimensions: from
  embeddings at hand (:func:`enclose_minimum`), or from the closed form
  (:func:`enclose_closed_form`), whose dual matrix has four distinct eigenvalues.
* **Phases** of one cell (:func:`prove_phase`), by the signs of those eigenvalues at collapse.
* **Theorems on boxes** (:func:`prove_on_box` and the functions built on it), by branch and bound.

**The dual bound.** :math:`L(G) = \sum_i \omega_i \log \sum_j e^{G_{ij}/\tau} - \langle W, G\rangle
/ \tau` is convex, so with g = sym ∇L(G₀), any λ and S = g + Diag(λ), S + εI ⪰ 0 implies

.. math:: L(G) \ge L(G_0) - \langle g, G_0 \rangle - \sum_i \lambda_i - N \varepsilon

for every G ⪰ 0 of unit diagonal.

**The spread ray.** For balanced classes the optimum with instance variance q = δ² is the root of
one equation. Write :math:`q = f\, q_\max`, :math:`q_\max = m(n-1)/(mn-1)`, and u = 1/τ. Then, with
w = 1 if self pairs are included and (p-1)/p if they are excluded,

.. math::
   F(f, u) = C e^{ua} + B e^{-ub} - A, \quad
   a = \tfrac{mn}{mn-1} f, \quad b = \tfrac{m}{m-1} (1-f), \quad
   A = \alpha(n-1),\; C = (1-\alpha) w,\; B = (1-\alpha) n(m-1) + n-1

has the sign of ∂L/∂q, as a and -b increase with f. Collapse is the end f = 0, the simplex of all
instances is f = 1, where :math:`F = (1-\alpha)(w e^{ua} + mn - 1) \ge 0`.

The precision of FLINT is global; every function restores it. Balls that are passed in keep the
radius that they were made with; a function of no arguments is called at the working precision.

References:
    Johansson (IEEE Trans. Comput. 2017, Arb); Rump (Acta Numerica 2010, verification methods).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from flint import arb, arb_mat, ctx, fmpq, fmpz
from jaxtyping import Array, Float

from ssem_jax.losses import GramLoss, SupCL
from ssem_jax.problem import ClassStructure, Phase, check_choice, check_count

Exact = float | int | str | Fraction | Decimal | fmpz | fmpq | arb | Callable[[], arb]
"""A number that is read without rounding."""
Range = Exact | tuple[Exact, Exact]
"""A number, or the two ends of an interval that it ranges over."""
Box = Mapping[str, arb]
"""A ball for every variable of a statement."""
Statement = Callable[[Box], arb]
"""Maps a box to a ball that is positive only if the claim holds on all of the box.

At a point it is nonpositive only if the claim fails there. Balls that hold all values of a function
do; so do lower bounds of one that are exact at points.
"""

EMBEDDING_PRECISION = 128
"""Bits for enclosures from embeddings, whose error is that of float64 inputs or larger."""
CLOSED_FORM_PRECISION = 256
"""Bits for enclosures from the closed form."""
BOX_PRECISION = 64
"""Bits on boxes, where widths and not roundings matter."""

_LADDER_FLOOR = -100
"""The lowest rung 2^k of the ladder of ε, well above the radii at 128 bits."""
_LADDER_SPAN = 64
"""Rungs above the expected ε after which the radii are to blame."""
_NEWTON_STEPS = 200
"""Never reached: from within log 2 of a root Newton's method needs about a dozen."""


# ---------------------------------------------------------------------------------------------
# Balls.
# ---------------------------------------------------------------------------------------------


@contextmanager
def working_precision(bits: int) -> Iterator[None]:
    """Compute with `bits` bits, and restore the precision afterwards."""
    saved = ctx.prec
    ctx.prec = check_count("precision", bits, 32)
    try:
        yield
    finally:
        ctx.prec = saved


def to_ball(value: Exact | Array) -> arb:
    """A ball that holds the number meant: a float as a dyadic, a fraction or decimal as a rational.

    Args:
        value: a number, a decimal string such as "0.1", a `Fraction`, a ball, or a function that
            returns a ball at the working precision, such as ``lambda: 1 / arb(3).log()``.

    Raises:
        ValueError: not one finite number.
    """
    if callable(value):
        value = value()
    if isinstance(value, str) or (isinstance(value, Decimal) and value.is_finite()):
        value = Fraction(value)
    if isinstance(value, Fraction):
        value = fmpq(value.numerator, value.denominator)
    if not isinstance(value, arb | fmpq | fmpz):
        if np.ndim(value) > 0:
            raise ValueError(
                f"ball arithmetic takes one cell at a time; got shape {np.shape(value)}."
            )
        value = _number(value)
    ball = arb(value)
    if not ball.is_finite():
        raise ValueError(f"a finite number is needed; got {value}.")
    return ball


def _number(value: Any) -> int | float:
    """A scalar as the integer or the dyadic number that it is.

    Raises:
        ValueError: a number of more digits than a float has, as of numpy's longdouble.
    """
    if isinstance(value, np.ndarray | Array) and np.issubdtype(value.dtype, np.integer):
        value = int(value)
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    if not (number == value or number != number):
        raise ValueError(
            f"{value!r} is no float exactly; give a fraction, a decimal string or a ball."
        )
    return number


def float_below(ball: arb) -> float:
    """A float that is no larger than anything in the ball, and next to its lower end."""
    bound = ball.lower()
    value = float(bound)
    return value if arb(value) <= bound else math.nextafter(value, -math.inf)


def float_above(ball: arb) -> float:
    """A float that is no smaller than anything in the ball, and next to its upper end."""
    return -float_below(-ball)


def _hyper_parameters(alpha: Exact, temperature: Exact) -> tuple[arb, arb]:
    mixing, tau = to_ball(alpha), to_ball(temperature)
    if not (mixing >= 0 and mixing <= 1):
        raise ValueError(f"alpha must lie in [0, 1]; got {alpha}.")
    if not tau > 0:
        raise ValueError(f"temperature must be positive and finite; got {temperature}.")
    return mixing, tau


def _least_product(*factors: arb | int) -> arb:
    """The least product of nonnegative factors: balls of wide factors would reach below 0."""
    least = arb(1)
    for factor in factors:
        least *= arb(factor).lower().max(arb(0))
    return least


@dataclass(frozen=True)
class Enclosure:
    """A proven interval for the minimum of the loss over all unit embeddings in all dimensions.

    Attributes:
        lower: a float that no embedding gets below.
        upper: a float that some embeddings do not exceed.
        width: of the interval before its ends were rounded to floats, rounded up.
        shift: the ε ≥ 0 for which the dual matrix plus εI was proven positive semidefinite.
        precision: bits that were worked with.
        ball: the interval in full precision.
    """

    lower: float
    upper: float
    width: float
    shift: float
    precision: int
    ball: arb = field(repr=False, compare=False)


def _enclosure(lower: arb, upper: arb, shift: arb, precision: int) -> Enclosure:
    return Enclosure(
        lower=float_below(lower),
        upper=float_above(upper),
        width=float_above(upper.upper() - lower.lower()),
        shift=float_above(shift),
        precision=precision,
        ball=lower.union(upper),
    )


# ---------------------------------------------------------------------------------------------
# Enclosures from embeddings.
# ---------------------------------------------------------------------------------------------


def is_positive_definite(matrix: arb_mat) -> bool:
    r"""Whether interval LDLᵀ proves that every symmetric matrix in the ball is positive definite.

    Only the lower triangle is read. True is a proof: all pivots of
    :math:`A = L \operatorname{Diag}(d) L^\top` are positive. False proves nothing; the matrix may
    be indefinite, or the balls too wide.
    """
    rows = [row[: index + 1] for index, row in enumerate(matrix.tolist())]
    while rows:
        # Eliminate the last variable: what stays is the leading triangle.
        last = rows.pop()
        pivot = last.pop()
        if not pivot > 0:
            return False
        inverse = 1 / pivot
        for row, head in zip(rows, last, strict=True):
            factor = head * inverse
            for column, other in enumerate(last[: len(row)]):
                row[column] -= factor * other
    return True


class _Dual(NamedTuple):
    """Loss, dual matrix and what its multipliers leave over: Σλ + ⟨g, G₀⟩."""

    value: arb
    matrix: arb_mat
    slack: arb


def _positive_weights(structure: ClassStructure, loss: SupCL) -> tuple[list[fmpq], list[fmpq]]:
    """The exact weight of each positive pair of every embedding: of the class, of the instance."""
    views = structure.num_views
    in_class = [size * views for size in structure.sizes for _ in range(size * views)]
    counts_own = [views - (loss.self_pairs == "exclude")] * len(in_class)

    def weights(counts: list[int]) -> list[fmpq]:
        if loss.mean == "pairs":
            return [fmpq(1, sum(counts)) if count else fmpq(0) for count in counts]
        anchors = sum(count > 0 for count in counts)
        return [fmpq(1, count * anchors) if count else fmpq(0) for count in counts]

    return weights([count - views for count in in_class]), weights(counts_own)


def _dual(gram: list[list[arb]], structure: ClassStructure, loss: SupCL) -> _Dual:
    """The dual matrix at a Gram matrix, with the multipliers of a critical point."""
    alpha, tau = _hyper_parameters(loss.alpha, loss.temperature)
    points = range(structure.num_embeddings)
    classes, instances = structure.class_ids.tolist(), structure.instance_ids.tolist()
    sup, own = _positive_weights(structure, loss)
    sup, own = [(1 - alpha) * weight for weight in sup], [alpha * weight for weight in own]
    included = loss.self_pairs == "include"

    def positive(i: int, j: int) -> arb | int:
        """W_ij for i ≠ j."""
        if instances[i] == instances[j]:
            return own[i]
        return sup[i] if classes[i] == classes[j] else 0

    inverse = 1 / tau
    anchors, totals = [arb(0)] * len(points), [arb(int(included))] * len(points)
    pull, exponentials = arb(0), []
    for i in points:
        row = []
        for j in range(i):
            unlike = (1 - gram[i][j]) * inverse
            row.append((-unlike).exp())
            totals[i] += row[j]
            totals[j] += row[j]
            there, back = positive(i, j), positive(j, i)
            anchors[i] += there
            anchors[j] += back
            pull += (there + back) * unlike
        exponentials.append(row)
        anchors[i] += own[i] if included else 0
    # An anchor without positives counts nothing, and may have an empty denominator.
    used = [not anchor.is_zero() for anchor in anchors]
    value = pull
    for i in points:
        if used[i]:
            value += anchors[i] * totals[i].log()

    share = [anchors[i] / totals[i] if used[i] else arb(0) for i in points]
    slopes = [[arb(0)] * len(points) for _ in points]
    for i in points:
        for j in range(i):
            pair = exponentials[i][j] * (share[i] + share[j]) - positive(i, j) - positive(j, i)
            slopes[i][j] = slopes[j][i] = pair * inverse / 2
        if included:
            slopes[i][i] = (share[i] - own[i]) * inverse
    slack = arb(0)
    for i in points:
        product = sum((s * g for s, g in zip(slopes[i], gram[i], strict=True)), arb(0))
        multiplier = -product.mid()
        slopes[i][i] += multiplier
        slack += product + multiplier
    return _Dual(value, arb_mat(slopes), slack)


def _smallest_shift(matrix: arb_mat) -> arb | None:
    """The least power of 2 whose addition to the diagonal makes LDLᵀ succeed, or None."""
    size = matrix.nrows()
    entries = np.array([float(entry.mid()) for entry in matrix.entries()]).reshape(size, size)
    if not np.all(np.isfinite(entries)):
        return None
    identity = arb_mat(size, size, 1)

    def proven(rung: int) -> bool:
        return is_positive_definite(matrix + identity * (arb(2) ** rung))

    # Only where to look comes from floats.
    scale = max(float(np.abs(entries).sum()), 1e-300)
    guess = max(-float(np.linalg.eigvalsh(entries)[0]), scale * 2.0**-56)
    high, step = max(math.ceil(math.log2(guess)), _LADDER_FLOOR), 1
    if proven(high):
        low = high - step
        while low >= _LADDER_FLOOR and proven(low):
            high, step = low, 2 * step
            low = high - step
        low = max(low, _LADDER_FLOOR - 1)
    else:
        low, high = high, high + step
        while not proven(high):
            if step > _LADDER_SPAN:
                return None
            step *= 2
            low, high = high, high + step
    while high - low > 1:
        middle = (high + low) // 2
        if proven(middle):
            high = middle
        else:
            low = middle
    return arb(2) ** high


def _unit_gram(embeddings: np.ndarray) -> list[list[arb]]:
    """The Gram matrix of the normalised rows; a float is read as the dyadic that it is."""
    points = arb_mat([[arb(float(x)) for x in row] for row in embeddings])
    gram = (points * points.transpose()).tolist()
    scale = [gram[i][i].rsqrt() for i in range(len(gram))]
    for i, row in enumerate(gram):
        for j in range(i):
            row[j] = gram[j][i] = row[j] * (scale[i] * scale[j])
        row[i] = arb(1)
    return gram


def enclose_minimum(
    embeddings: Float[Array | np.ndarray, "N d"],
    structure: ClassStructure,
    loss: GramLoss,
    precision: int = EMBEDDING_PRECISION,
) -> Enclosure:
    r"""Enclose the global minimum of SupCL by embeddings and their dual certificate.

    The embeddings are read as exact dyadic numbers and normalised in balls; their loss is an upper
    bound. The lower bound is that of this module's docstring, with multipliers
    :math:`\lambda_i = -(g G_0)_{ii}` rounded to numbers that are taken as exact, and the least ε
    of a ladder of powers of 2 for which interval LDLᵀ proves S + εI positive definite. Whatever
    the embeddings, the enclosure is valid; it is narrow where they are optimal.

    Args:
        embeddings: (N, d) rows ordered by class, instance and view; read in float64.
        structure: their class structure; classes of any size.
        loss: a :class:`ssem_jax.SupCL` with scalar hyper-parameters, self pairs included or
            excluded. α and τ may be fractions, decimal strings or balls as well.
        precision: bits.

    Returns:
        The enclosure; it holds for embeddings of every dimension.

    Raises:
        ValueError: another loss or convention, a batch of cells, rows that do not fit the structure
            or are zero or not finite, or radii too large for `precision`.
    """
    points = np.asarray(embeddings, np.float64)
    if not isinstance(loss, SupCL):
        raise ValueError(
            f"ball enclosures are written for SupCL; got {type(loss).__name__}. "
            "Use `certify_embeddings` for other convex losses."
        )
    check_choice("self_pairs", loss.self_pairs, ("include", "exclude"))
    loss.check(structure)
    if points.ndim != 2 or len(points) != structure.num_embeddings:
        raise ValueError(
            f"{structure} has {structure.num_embeddings} embeddings, one per row; "
            f"got shape {points.shape}."
        )
    good = np.all(np.isfinite(points), axis=1) & np.any(points != 0, axis=1)
    if not np.all(good):
        raise ValueError(
            f"every embedding must be finite and not zero; row {int(np.argmin(good))} is not."
        )
    with working_precision(precision):
        dual = _dual(_unit_gram(points), structure, loss)
        shift = _smallest_shift(dual.matrix)
        if shift is None:
            raise ValueError(
                f"the dual matrix has radii too large to bound it with {precision} bits; "
                "raise `precision`, or give alpha and temperature more exactly."
            )
        lower = dual.value - dual.slack - structure.num_embeddings * shift
        return _enclosure(lower, dual.value, shift, precision)


# ---------------------------------------------------------------------------------------------
# Balanced classes: collapse, the spread ray and the view-spread ray.
# ---------------------------------------------------------------------------------------------


class _Cell(NamedTuple):
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


def instance_margin(cell: _Cell) -> arb:
    r"""The instance eigenvalue of the dual matrix at collapse, up to a positive factor.

    .. math:: (p-1+\sigma) + p(mn-1) r - \alpha \bigl[pn-1+\sigma + pn(m-1) r\bigr]

    It is the eigenvalue times N τ (n-1)/n times the softmax denominator (over e^{1/τ}); the
    integer coefficients are what is left after all that cancels has cancelled. Instances of a class
    part at the optimum iff it is negative.
    """
    m, n, p, r = cell.m, cell.n, cell.p, cell.ratio
    terms = p * (n - 1) + cell.own + p * n * (m - 1) * r
    return cell.own + p * (m * n - 1) * r - cell.alpha * terms


def view_margin(cell: _Cell) -> arb:
    r"""The view eigenvalue of the dual matrix at collapse, up to a positive factor.

    .. math:: (p-1)(N r - 1) + \alpha \bigl[pn-1 + pn(m-1) r\bigr], \qquad N = mnp

    if self pairs are excluded, N r > 0 if they are included. Views of an instance part at the
    optimum iff it is negative.
    """
    m, n, p, r = cell.m, cell.n, cell.p, cell.ratio
    if cell.included:
        return m * n * p * r
    return (p - 1) * (m * n * p * r - 1) + cell.alpha * (p * n - 1 + p * n * (m - 1) * r)


def alpha_c(cell: _Cell) -> arb:
    r"""The claimed collapse boundary, :math:`\alpha_c = 1 - (n-1)(1-r) / (n-1+w+n(m-1)r)`."""
    n, r, w = cell.n, cell.ratio, cell.weight
    return 1 - (n - 1) * (1 - r) / (n - 1 + w + n * (cell.m - 1) * r)


def alpha_v(cell: _Cell) -> arb:
    r"""The claimed view-spread boundary, :math:`(p-1)(1-Nr) / (np-1+n(m-1)pr)`; 0 if included."""
    m, n, p, r = cell.m, cell.n, cell.p, cell.ratio
    if cell.included:
        return arb(0)
    return (p - 1) * (1 - m * n * p * r) / (n * p - 1 + n * p * (m - 1) * r)


class _Ray(NamedTuple):
    """F(f, u) = C e^{ua} + B e^{-ub} - A of this module's docstring."""

    a_slope: arb
    b_slope: arb
    own: arb
    between: arb
    lead: arb

    @classmethod
    def of(cls, cell: _Cell) -> _Ray:
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
        return _least_product(u, self.a_slope, f).exp(), (-cold).exp()

    def value(self, f: arb, u: arb) -> arb:
        """F, of the sign of ∂L/∂q."""
        up, down = self.exponentials(f, u)
        return self.own * up + self.between * down - self.lead

    def cooling(self, f: arb, u: arb) -> arb:
        """∂F/∂u."""
        up, down = self.exponentials(f, u)
        a, b = self.a_slope * f, self.b_slope * (1 - f)
        return a * self.own * up - b * self.between * down


def _cell(
    num_classes: Any,
    num_instances: Any,
    num_views: Any,
    alpha: Exact,
    temperature: Exact,
    self_pairs: str,
) -> _Cell:
    """A validated cell, in balls of the working precision."""
    check_choice("self_pairs", self_pairs, ("include", "exclude"))
    m = check_count("num_classes", num_classes, 2)
    n = check_count("num_instances", num_instances, 1)
    p = check_count("num_views", num_views, 1)
    mixing, tau = _hyper_parameters(alpha, temperature)
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
    return _Cell(m, n, p, int(self_pairs == "include"), mixing, tau)


def _solve_exponentials(lead: arb, terms: list[tuple[arb, arb, arb]]) -> arb:
    r"""A number close to the root x of Σ c e^{s x - o} = lead, for terms (c, o, s) with s > 0.

    Newton's method on the logarithm, a convex function, from where the largest term equals the
    right side: it descends monotonically. Nothing is proven; the result has no radius.
    """
    terms = [tuple(x.mid() for x in term) for term in terms if term[0].mid() > 0]
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


def _spread_fraction(cell: _Cell) -> arb:
    """A number close to f = q/q_max at the optimum."""
    if cell.n == 1 or instance_margin(cell).mid() >= 0:
        return arb(0)
    ray, u = _Ray.of(cell), 1 / cell.tau
    terms = [
        (ray.own, arb(0), u * ray.a_slope),
        (ray.between, u * ray.b_slope, u * ray.b_slope),
    ]
    return _clip(_solve_exponentials(ray.lead, terms), arb(1))


def _view_variance(cell: _Cell) -> arb:
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


def _block_bounds(cell: _Cell, view_variance: arb, delta2: arb) -> tuple[arb, arb, arb]:
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
        cell = _cell(num_classes, num_instances, num_views, alpha, temperature, self_pairs)
        view_variance = _view_variance(cell)
        delta2 = arb(0)
        if view_variance == 0:
            delta2 = _spread_fraction(cell) * _largest_delta2(cell)
        value, lower, shift = _block_bounds(cell, view_variance, delta2)
        return _enclosure(lower, value, shift, precision)


def _largest_delta2(cell: _Cell) -> arb:
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
        cell = _cell(num_classes, num_instances, num_views, alpha, temperature, self_pairs)
        if cell.n == 1 or instance_margin(cell) >= 0:
            return arb(0)
        ray, u, root = _Ray.of(cell), 1 / cell.tau, _spread_fraction(cell)
        if cell.alpha == 1:
            return _largest_delta2(cell)
        margin = arb(2) ** (-ctx.prec // 2)
        while margin < 1:
            low, high = _clip(root - margin, arb(1)), _clip(root + margin, arb(1))
            if ray.value(low, u) < 0 and ray.value(high, u) > 0:
                return low.union(high) * _largest_delta2(cell)
            margin *= 16
        return arb(0).union(arb(1))


# ---------------------------------------------------------------------------------------------
# The phase of a cell.
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PhaseProof:
    """The proven phase of a cell.

    Attributes:
        phase: of the optimum, or UNDECIDED if a sign could not be proven.
        instance_margin: (lower, upper) of :func:`instance_margin`; negative iff instances part.
        view_margin: (lower, upper) of :func:`view_margin`; negative iff views part.
        precision: bits.
    """

    phase: Phase
    instance_margin: tuple[float, float]
    view_margin: tuple[float, float]
    precision: int


def prove_phase(
    num_classes: int,
    num_instances: int,
    num_views: int,
    alpha: Exact,
    temperature: Exact,
    self_pairs: str = "include",
    precision: int = EMBEDDING_PRECISION,
) -> PhaseProof:
    """Prove the phase of a cell of balanced classes by two signs at the collapsed point.

    There the class eigenvalue of the dual matrix is 0 and the mean eigenvalue positive. If the
    instance and the view eigenvalue are nonnegative, collapse is optimal over all embeddings in
    all dimensions. If one is negative, the reduced loss falls along its ray. The other one is then
    positive, as α_v < α_c, so by convexity nothing on the other ray is better than collapse, and
    the variance of this ray is positive at every optimum.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 2 per class, or 1 at α = 1.
        num_views: p ≥ 1 per instance.
        alpha: α in [0, 1]; 0 where p = 1 if self pairs are excluded.
        temperature: τ > 0.
        self_pairs: "include" or "exclude".
        precision: bits.

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range.
    """
    with working_precision(precision):
        cell = _cell(num_classes, num_instances, num_views, alpha, temperature, self_pairs)
        instance = instance_margin(cell) if cell.n > 1 else arb(1)
        view = view_margin(cell) if cell.p > 1 else arb(1)
        phase = Phase.UNDECIDED
        if instance < 0:
            phase = Phase.SPREAD
        elif view < 0:
            phase = Phase.VIEW_SPREAD
        elif instance >= 0 and view >= 0:
            phase = Phase.COLLAPSE
        return PhaseProof(
            phase=phase,
            instance_margin=(float_below(instance), float_above(instance)),
            view_margin=(float_below(view), float_above(view)),
            precision=precision,
        )


# ---------------------------------------------------------------------------------------------
# Branch and bound.
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BoxProof:
    """What branch and bound found out about a statement on a box.

    Attributes:
        boxes: on which the statement was evaluated.
        proven: the statement holds on the whole box.
        undecided: sub-boxes, variable → (low, high), on which it was neither proven nor refuted.
        refuted: a point, variable → float, at which the statement is proven to fail, or None.
        seconds: that it took.
        box: the whole box, variable → (low, high).
        done: (boxes, variables, 2) ends of the sub-boxes on which the statement is proven.
    """

    boxes: int
    proven: bool
    undecided: tuple[dict[str, tuple[float, float]], ...]
    refuted: dict[str, float] | None
    seconds: float
    box: dict[str, tuple[float, float]]
    done: np.ndarray


def prove_on_box(
    statement: Statement,
    box: Mapping[str, tuple[Exact, Exact]],
    max_boxes: int = 200_000,
    min_width: float = 1e-6,
    precision: int = BOX_PRECISION,
    progress: Callable[[int, int], None] | None = None,
) -> BoxProof:
    """Prove by interval branch and bound that a statement is positive on a box.

    A sub-box whose ball is positive is done. Otherwise the statement is evaluated at the exact
    midpoint; where it is proven nonpositive there, inside the box as stated, the search ends with
    this counterexample, else the sub-box is halved across the side that is longest relative to the
    box. A ball that is no number (a division by 0) is no proof.

    Args:
        statement: maps variable → ball to a ball that holds all values. Alternatives are written
            as the maximum of balls, conjunctions as the minimum.
        box: variable → (low, high); ends that are no floats are rounded outwards.
        max_boxes: evaluations after which the rest stays undecided.
        min_width: sides are not halved below this fraction of those of the box.
        precision: bits.
        progress: called now and then with the boxes done and those waiting.

    Raises:
        ValueError: an empty box, or one with an end above the other.
    """
    if not box:
        raise ValueError("a box needs at least one variable; got none.")
    started = time.perf_counter()
    with working_precision(precision):
        names = tuple(box)
        stated = [(to_ball(low), to_ball(high)) for low, high in box.values()]
        ends = [(float_below(low), float_above(high)) for low, high in stated]
        for name, (low, high) in zip(names, ends, strict=True):
            if low > high:
                raise ValueError(f"{name} must range from low to high; got ({low}, {high}).")
        sizes = [high - low or 1.0 for low, high in ends]
        waiting, done, undecided, refuted, count = [tuple(ends)], [], [], None, 0
        while waiting and count < max_boxes:
            current = waiting.pop()
            count += 1
            if progress is not None and count % 1000 == 0:
                progress(count, len(waiting))
            balls = (arb(low).union(arb(high)) for low, high in current)
            if statement(dict(zip(names, balls, strict=True))) > 0:
                done.append(current)
                continue
            middle = [low + (high - low) / 2 for low, high in current]
            inside = all(
                low <= x and high >= x for (low, high), x in zip(stated, middle, strict=True)
            )
            point = {name: arb(x) for name, x in zip(names, middle, strict=True)}
            if inside and statement(point) <= 0:
                refuted = dict(zip(names, middle, strict=True))
                break
            widths = [
                0.0 if cut in side else (side[1] - side[0]) / size  # no float lies between
                for side, cut, size in zip(current, middle, sizes, strict=True)
            ]
            side = max(range(len(names)), key=widths.__getitem__)
            if widths[side] <= min_width:
                undecided.append(current)
                continue
            (low, high), cut = current[side], middle[side]
            waiting.append((*current[:side], (cut, high), *current[side + 1 :]))
            waiting.append((*current[:side], (low, cut), *current[side + 1 :]))
    undecided.extend(waiting)
    return BoxProof(
        boxes=count,
        proven=refuted is None and not undecided,
        undecided=tuple(dict(zip(names, sub, strict=True)) for sub in undecided),
        refuted=refuted,
        seconds=time.perf_counter() - started,
        box=dict(zip(names, ends, strict=True)),
        done=np.array(done).reshape(-1, len(names), 2),
    )


class _Domain(NamedTuple):
    """Parameters of a theorem: those that are fixed, and the box of those that range."""

    fixed: dict[str, Any]
    box: dict[str, tuple[Exact, Exact]]
    included: int

    def cell(self, point: Box) -> _Cell:
        value = {name: to_ball(x) if callable(x) else x for name, x in self.fixed.items()}
        value.update(point)
        return _Cell(
            value["num_classes"],
            value["num_instances"],
            value["num_views"],
            self.included,
            value["alpha"],
            value["temperature"],
        )


def _domain(
    num_classes: Range,
    num_instances: Range,
    num_views: Range,
    alpha: Range,
    temperature: Range,
    self_pairs: str,
) -> _Domain:
    """Check the least values of every parameter, and sort them into fixed ones and a box."""
    check_choice("self_pairs", self_pairs, ("include", "exclude"))
    limits = {
        "num_classes": (num_classes, 2, None),
        "num_instances": (num_instances, 2, None),
        "num_views": (num_views, 1 if self_pairs == "include" else 2, None),
        "alpha": (alpha, 0, 1),
        "temperature": (temperature, 0, None),
    }
    fixed, box = {}, {}
    for name, (given, least, most) in limits.items():
        ends = given if isinstance(given, tuple) else (given, given)
        low, high = map(to_ball, ends)
        positive = name != "temperature" or low > 0
        if not (low >= least and positive and (most is None or high <= most)):
            within = f"from {least}" + ("" if most is None else f" to {most}")
            raise ValueError(f"{name} must range {within}; got {given}.")
        if isinstance(given, tuple):
            box[name] = given
        else:
            # An integer stays one, so that coefficients made of counts are exact.
            fixed[name] = given if isinstance(given, int) or callable(given) else to_ball(given)
    if not box:
        raise ValueError("no parameter ranges over an interval; give one as a pair (low, high).")
    return _Domain(fixed, box, int(self_pairs == "include"))


# ---------------------------------------------------------------------------------------------
# Theorems on boxes.
# ---------------------------------------------------------------------------------------------


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
    domain = _domain(num_classes, num_instances, num_views, alpha, temperature, self_pairs)
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
    domain = _domain(num_classes, num_instances, num_views, alpha, temperature, self_pairs)

    def statement(point: Box) -> arb:
        cell = domain.cell(point)
        m, n, f = arb(cell.m), arb(cell.n), point["fraction"]
        ray, u = _Ray.of(cell), 1 / cell.tau
        _, quotient = ray.least_exponentials(f, u)
        apart = 1 + 1 / (n - 1) + 1 / (m - 1)
        alike = (-u * ray.a_slope * f).lower().exp()
        return (
            _least_product(cell.weight, n + 1 + 1 / (n - 1))
            + _least_product(cell.weight, n, 1 / (m - 1), quotient)
            + _least_product(n, n - 1, m - 1, apart, apart, quotient, alike)
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
    domain = _domain(num_classes, num_instances, num_views, alpha, temperature, self_pairs)

    def statement(point: Box) -> arb:
        cell = domain.cell(point)
        ray, u = _Ray.of(cell), 1 / cell.tau
        up, down = ray.least_exponentials(point["fraction"], u)
        n, others = arb(cell.n), arb(cell.m - 1)
        by_alpha = _least_product(cell.weight, up) + _least_product(n, others, down) + n - 1
        by_fraction = _least_product(1 - cell.alpha, cell.weight, ray.a_slope, up)
        between = _least_product(1 - cell.alpha, n, others) + n - 1
        return by_alpha.min(by_fraction + _least_product(between, ray.b_slope, down))

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
    domain = _domain(num_classes, num_instances, num_views, alpha, temperature, self_pairs)

    def statement(point: Box) -> arb:
        cell = domain.cell(point)
        ray, u, f = _Ray.of(cell), 1 / cell.tau, point["fraction"]
        n, others = arb(cell.n), arb(cell.m - 1)
        between = _least_product(1 - cell.alpha, n, others) + n - 1
        a, b = _least_product(ray.a_slope, f), _least_product(ray.b_slope, 1 - f)
        total = ray.a_slope * f + ray.b_slope * (1 - f)
        decay = (-(u * total).upper()).exp()
        return _least_product(a, a, 1 - cell.alpha, cell.weight) + _least_product(
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
    domain = _domain(num_classes, num_instances, num_views, alpha, temperature, self_pairs)

    def statement(point: Box) -> arb:
        cell = domain.cell(point)
        ray, u, f = _Ray.of(cell), 1 / cell.tau, point["fraction"]
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
    domain = _domain(num_classes, num_instances, num_views, alpha, temperatures[1], self_pairs)
    f, coldness = to_ball(fraction), [1 / to_ball(tau) for tau in temperatures]

    def statement(point: Box) -> arb:
        ray = _Ray.of(domain.cell(point))
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
    domain = _domain(num_classes, num_instances, num_views, 0, 1, self_pairs)
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


# ---------------------------------------------------------------------------------------------
# The temperature of largest spread.
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Peak:
    """Where δ² is largest as a function of the temperature, proven.

    Attributes:
        temperature: (lower, upper) of the only critical point; δ² increases below and decreases
            above it, up to τ_c.
        delta2: (lower, upper) of the largest δ².
    """

    temperature: tuple[float, float]
    delta2: tuple[float, float]


def enclose_peak(
    num_classes: int,
    num_instances: int,
    num_views: int,
    alpha: Exact,
    self_pairs: str = "include",
    precision: int = EMBEDDING_PRECISION,
) -> Peak:
    r"""Enclose the temperature at which class collapse is furthest away.

    F = F_u = 0 at the peak. With κ = a/(a+b), which increases with f, these two equations give
    :math:`ua = \log \frac{A(1-\kappa)}{C}` and
    :math:`u(a+b) = \log \frac{B(1-\kappa)}{C\kappa}`, hence

    .. math::
       \Phi(\kappa) = \log \frac{A(1-\kappa)}{C} - \kappa \log \frac{B(1-\kappa)}{C \kappa} = 0,
       \qquad \Phi' = -\log \frac{B(1-\kappa)}{C\kappa} = -u(a+b) < 0

    at every root, so there is only one, and a change of sign encloses it.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 2 per class.
        num_views: p ≥ 1 per instance.
        alpha: α with w/(n-1+w) < α < 1; a ball encloses the peaks of all α in it.
        self_pairs: "include" or "exclude".
        precision: bits.

    Raises:
        ValueError: a parameter out of range, an α that collapses at every temperature or is 1, or
            too little precision.
    """
    with working_precision(precision):
        cell = _cell(num_classes, num_instances, num_views, alpha, 1, self_pairs)
        ray = _Ray.of(cell)
        if not (cell.alpha < 1 and ray.lead > ray.own):
            raise ValueError(
                "alpha must lie between w/(n-1+w), up to which every temperature collapses, and 1; "
                f"got {alpha}."
            )

        def heats(kappa: arb) -> tuple[arb, arb]:
            """ua and u(a+b) of the peak."""
            rest = (1 - kappa) / ray.own
            return (ray.lead * rest).log(), (ray.between * rest / kappa).log()

        def condition(kappa: arb) -> arb:
            within, between = heats(kappa)
            return within - kappa * between

        # Φ is positive as κ → 0, and negative where its first term is 0.
        least, most = arb(2) ** (-precision), (1 - ray.own / ray.lead).upper()
        if not (condition(least) > 0 and most < 1):
            raise ValueError(f"no change of sign was proven with {precision} bits; raise it.")

        def bisect(inside: arb, outside: arb, proven: Callable[[arb], bool]) -> arb:
            """The last point found to be on the proven side, going from `inside` to `outside`."""
            for _ in range(precision):
                middle = ((inside + outside) / 2).mid()
                if proven(condition(middle)):
                    inside = middle
                else:
                    outside = middle
            return inside

        # From κ = 1 - C/A on Φ is negative: there it is -κ log(B/(Aκ)) with B > A, then it first
        # falls and then rises, to log(A/B) as κ → 1.
        low = bisect(least, most, lambda value: value > 0)
        high = bisect(most, low, lambda value: value < 0)
        kappa = low.union(high)
        # a = κ(a+b) for f: a_slope f (1-κ) = κ b_slope (1-f).
        pull = kappa * ray.b_slope
        f = pull / (ray.a_slope * (1 - kappa) + pull)
        tau = ray.a_slope * f / heats(kappa)[0]
        delta2 = f * _largest_delta2(cell)
        return Peak(*((float_below(ball), float_above(ball)) for ball in (tau, delta2)))
