r"""Rounding: one model of it, and every margin that a bound owes to it.

**The model.** Numbers are those of IEEE 754 in double precision, u = 2⁻⁵³. Sums, products,
quotients and square roots are right to a relative u; a compiler may multiply by a reciprocal
instead of dividing (one rounding more), fuse a product into a sum (one less), and add up a sum in
any order. exp and log are right to `EXP_ULPS` and `LOG_ULPS` units in the last place, a unit being
2u of the result at most; :func:`check_functions` compares both with balls before anything is
certified, and tests do so over their whole range. Nothing else is trusted: no eigenvalue, no
factor, no gradient.

**The count.** A result that passes through k such roundings is right to a relative
:math:`\gamma_k = k u / (1 - k u)`, and a sum of n terms with k roundings each to
:math:`\gamma_{k+n-1}` of the sum of their magnitudes, whatever the order. So every margin below is
a :func:`gamma` of a count, times a sum of magnitudes that was computed besides; the count grows
with N as the sum does, and each docstring says what is counted. Where a sum runs over a matrix, it
is one over rows and then one over the rows' results, which a barrier keeps apart: 2N roundings and
not N². Margins are themselves rounded: `SAFETY` covers it.

**The losses.** Σ_i ω_i log T_i - ⟨W, G⟩/τ with :math:`T_i = \sum_{j \in D_i} e^{G_{ij}/\tau}` and
ω_i the row sums of W ≥ 0. The weights that a loss hands over have seen `WEIGHT_ROUNDINGS`, and
sums over them Ω = Σω_i. With r_i the largest entry in the denominator of row i, all that is
computed are differences :math:`x_{ij} = (G_{ij} - r_i)/\tau \le 0`.

References:
    Higham (Accuracy and Stability of Numerical Algorithms, 2002), sections 3.1 (γ), 4.2 (sums in
    any order), 10.1; Jeannerod and Rump (SIAM J. Matrix Anal. Appl. 34, 2013) for sharper counts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flint import arb, ctx
from jaxtyping import Array, Float

from ssem_jax.compute.kernels import Kernel, default_device
from ssem_jax.compute.pieces import in_one_piece
from ssem_jax.problem.arrays import AnyArray

UNIT = 2.0**-53
"""u: the relative error of a rounding."""
SMALLEST = 2.0**-1074
"""The smallest positive number: what underflow may lose."""
SAFETY = 1 + 2.0**-20
"""Factor on every margin: those are positive sums of fewer than 2³⁰ terms, rounded themselves."""
EXP_ULPS, LOG_ULPS = 2.0, 1.0
"""Units in the last place to which exp and log are right. XLA's on a CPU: 1.6 and 0.51 at worst
of 200,000 arguments each; NumPy's and CUDA's are within 1."""
WEIGHT_ROUNDINGS = 8
"""Roundings of a weight that a loss hands over: 1-α, a quotient or two, a sum that is rounded once,
and a product."""

Scalar = Float[Array, ""] | float
S = TypeVar("S", float, Array)


def gamma(roundings: S) -> S:
    r""":math:`\gamma_k = k u / (1 - k u)`, on the safe side: the relative error of k roundings."""
    return SAFETY * roundings * UNIT / (1 - roundings * UNIT)


def kept(values: Array) -> Array:
    """The same numbers, across which no compiler moves a sum; loops may compute them again."""
    return jax.lax.optimization_barrier(values)


def row_sums(matrix: Float[AnyArray, "N M"]) -> Float[Array, " N"]:
    """The sum of every row, kept apart from any sum of these sums."""
    return kept(jnp.sum(matrix, axis=1))


# ------------------------------------------------------------------------------ exp and logarithm

CHECKED_ARGUMENTS = 499
"""Arguments of each function compared with balls: a prime, so that vectors leave a remainder."""


def arguments_of(name: str, count: int, seed: int = 0) -> np.ndarray:
    """Arguments over all of the range that bounds use: differences over τ, from -700 to 0, of any
    size; denominators from 1 to 10⁶, also barely above 1; probabilities from 2⁻⁵² to 1."""
    rng = np.random.default_rng(seed)
    if name == "exp":
        return -np.exp(rng.uniform(np.log(1e-12), np.log(700), count))
    above = 1 + np.exp(rng.uniform(np.log(1e-15), np.log(1e6), count // 2))
    below = np.exp(rng.uniform(np.log(2.0**-52), 0, count - count // 2))
    return np.concatenate([above, below])


def errors_in_ulps(name: str, arguments: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How many units in the last place each value of exp or log is off, by ball arithmetic."""
    before, ctx.prec = ctx.prec, 120
    try:
        exact = [getattr(arb(x), name)() for x in arguments.tolist()]
        errors = [float(abs(e - arb(y))) for e, y in zip(exact, values.tolist(), strict=True)]
    finally:
        ctx.prec = before
    return np.array(errors) / np.spacing(np.abs(values))


def check_functions() -> None:
    """Compare exp and log of the device at hand with balls; once in a process.

    Raises:
        ValueError: one of them errs by more than the margins allow.
    """
    _check_functions(str(default_device() or jax.default_backend()))


@cache
def _check_functions(device: str) -> None:
    # As kernels are, as those of brackets are, and as all else is.
    for compiled in (Kernel, lambda one: Kernel(in_one_piece(one), full_vectors=True), jax.jit):
        _compare(f"on {device}", ANOTHER_DEVICE, compiled(jnp.exp), compiled(jnp.log))


@cache
def check_numpy() -> None:
    """Compare NumPy's exp and log with balls; once in a process.

    Raises:
        ValueError: one of them errs by more than the margins allow.
    """
    _compare("of NumPy", "another version of NumPy", np.exp, np.log)


ANOTHER_DEVICE = "another device or version of JAX, without fast-math flags"


def _compare(whose: str, instead: str, exp: Callable[..., Any], log: Callable[..., Any]) -> None:
    for name, function, allowed in (("exp", exp, EXP_ULPS), ("log", log, LOG_ULPS)):
        arguments = arguments_of(name, CHECKED_ARGUMENTS)
        worst = float(np.max(errors_in_ulps(name, arguments, np.asarray(function(arguments)))))
        if not worst <= allowed:
            raise ValueError(
                f"{name} {whose} errs by {worst:.3g} units in the last place, and margins allow "
                f"{allowed:g}: no certificate would be one. Use {instead}."
            )


# --------------------------------------------------------------------------------- Gram matrices


def gram_entry(dim: int) -> float:
    r"""Error of an entry of G: of fl(U Uᵀ) for rows normalised in floats, against exact unit rows.

    A row is divided by its norm: half of what d sums and products do to its square, a square root
    and a reciprocal are common to the row; each quotient rounds once more. In both rows of an
    entry that makes d + 6; and d more for the product, as Σ_k |u_ik u_jk| ≤ 1.
    """
    return gamma(2 * dim + 8)


# ---------------------------------------------------------- softmax losses: values and minorants


def softmax_value(size: int, anchors: Scalar, logs: Scalar, pulls: Scalar) -> Scalar:
    r"""Error of Σ ω_i log T_i - Σ W_ij x_ij as computed for a given G.

    * T_i sums N exponentials, of 2·EXP_ULPS each, N - 1 sums. Their arguments err by 3u|x| (a
      difference and a quotient): by monotonicity T lies between those of (1 ± 3u) x, and the
      derivative of log Σ e^{sx} along s is the mean of x over a softmax, of which
      :math:`-\operatorname{E} x = H - \log T \le \log N`. So log T errs by
      γ_{N + 2 EXP + 3 log N} absolutely, times ω_i;
    * then by 2·LOG_ULPS relatively, ω_i by N sums of weights, their product by one, the sum of
      both parts of a row by one, the sum over rows by N, and four for what is done with it;
    * x_ij by 3, W_ij x_ij by one and the weight's own, and the sums over pairs by 2N.

    Args:
        size: N.
        anchors: Ω.
        logs: Σ ω_i log T_i, of nonnegative terms as T ≥ 1.
        pulls: Σ W_ij |x_ij|.
    """
    inside = size + 2 * EXP_ULPS + 3 * np.log(size)
    return (
        gamma(inside) * anchors
        + gamma(2 * size + 2 * LOG_ULPS + WEIGHT_ROUNDINGS + 4) * logs
        + gamma(2 * size + WEIGHT_ROUNDINGS + 7) * pulls
    )


def softmax_moved(size: int, dim: int, anchors: Scalar, slopes: Scalar, tau: Scalar) -> Scalar:
    r"""By how much L differs between the G that is computed and that of exact unit rows.

    Entries differ by ε = :func:`gram_entry`, so L by ε Σ|∂L/∂G_ij| at a point between. The slopes
    at hand, (ω_i P_ij - W_ij)/τ, belong to the computed G and a rounded P; between them and those
    of the point lie the roundings of P, of 4N + 64 and what 3u|x|, |x| ≤ 2/τ, does to exp; and
    a factor of at most e^{2ε/τ} on every P. This is of second order in u.

    Args:
        size: N.
        dim: d.
        anchors: Ω.
        slopes: Σ |ω_i P_ij - W_ij|/τ.
        tau: τ.
    """
    entry = gram_entry(dim)
    rounded = gamma(4 * size + 64) + 12 * UNIT / tau
    return entry * (slopes + anchors * (jnp.expm1(2 * SAFETY * entry / tau) + rounded) / tau)


def softmax_entropy(size: int, entropy: Scalar) -> Scalar:
    r"""Error of Σ ω_i H(P_i) for a P whose entries are exact.

    A logarithm of 2·LOG_ULPS and a product; N sums, of terms of one sign; ω_i with its N sums and
    the roundings of weights; their product, N sums over rows, and what is done with the sum.

    Args:
        size: N.
        entropy: Σ ω_i H(P_i) itself, of nonnegative terms.
    """
    return gamma(3 * size + 2 * LOG_ULPS + WEIGHT_ROUNDINGS + 8) * entropy


def softmax_slope(size: int, anchors: Scalar, tau: Scalar) -> Scalar:
    r"""Error of ⟨M, G⟩ for M_ij = (ω_i P_ij - W_ij)/τ symmetrised, over all |G_ij| ≤ 1.

    ω_i has N sums of weights; then a product, a difference, a quotient of two and the sum of M
    with its transpose. All are relative to (ω_i P_ij + W_ij)/τ, and these add up to 2Ω/τ.
    """
    return gamma(size + WEIGHT_ROUNDINGS + 5) * 2 * anchors / tau


def multipliers(size: int, sizes: Scalar, diagonal: Scalar) -> Scalar:
    """Error of Σ λ_i, and of the sums S_ii = M_ii + λ_i on the diagonal of the dual matrix.

    The λ are any numbers and exact as such: N sums are counted, one for each S_ii, and eight for
    what is done with the sum.

    Args:
        size: N.
        sizes: Σ |λ_i|.
        diagonal: Σ |S_ii|.
    """
    return gamma(size + 8) * sizes + gamma(2) * diagonal


# ----------------------------------------------------------------------------------- other losses


def evaluation(size: int) -> float:
    """Relative error of a loss and of its gradient, of which nothing but a declaration is known: N²
    pairs are summed in any order, each a value of some elementary functions, 64 roundings, relative
    to what a loss declares as its `magnitude` and as its `sensitivity`."""
    return gamma(size * size + 64)


def tangent_slope(size: int, sensitivity: Scalar) -> Scalar:
    """Error of ⟨∇L(G₀), G - G₀⟩ over all G, of the gradient.

    It errs by :func:`evaluation` and by a symmetrisation, relative to its `sensitivity`; and
    |G - G₀| ≤ 2, a rounding aside.
    """
    return 2.01 * gamma(size * size + 66) * sensitivity


def cancelled_multipliers(size: int, pairing: Scalar, diagonal: Scalar) -> Scalar:
    """Error of ⟨M, G₀⟩ + Σλ = 0, and of the sums on the diagonal of the dual matrix.

    The multipliers are row sums of products: N + 1 roundings, and some that follow.

    Args:
        size: N.
        pairing: Σ |M_ij G_ij|.
        diagonal: Σ |S_ii|.
    """
    return gamma(size + 8) * pairing + gamma(2) * diagonal


# --------------------------------------------------------------------------- losses swept in tiles


def blockwise_value(size: int, dim: int, omega: Scalar, logs: Scalar, tau: Scalar) -> Scalar:
    r"""Error of the loss that :mod:`ssem_jax.losses.tiles` computes, against exact unit rows.

    * log T_i as in :func:`softmax_value`, shifted by 1 instead of the row's maximum, so that
      arguments are at most 2/τ in size; of the sums over N terms and over rows nothing is known
      but their number;
    * pairs of a group by Huygens' identity, from 1 - |u|² + |v|² for every row, v the deviation
      from the mean of the group: 2γ_{d+3} for the squares, 2γ_{N+2} for the means; the weights
      of a row, of N sums and a dozen of other roundings, and the sum over N rows. That is taken
      twice, for classes and for instances, and each time weights add up to Ω at most;
    * entries of G move the loss by 2Ω/τ times :func:`gram_entry` at most.

    Args:
        size: N.
        dim: d.
        omega: Ω.
        logs: Σ ω_i |log T_i|.
        tau: τ.
    """
    inside = gamma(size + 2 * EXP_ULPS + 3 * np.log(size) + 4) + 6 * UNIT * SAFETY / tau
    pairs = 2 * gamma(4 * size + 2 * dim + 32) / tau
    moved = 2 * gram_entry(dim) / tau
    return omega * (inside + pairs + moved) + gamma(2 * size + WEIGHT_ROUNDINGS + 8) * logs


def blockwise_slope(size: int, dim: int, tau: Scalar) -> Scalar:
    r"""Relative error of products with the dual matrix swept in tiles, term by term.

    P_ij is e^{x_ij - log T_i}: both exponents err by :func:`gram_entry` over τ, and by 3u of at
    most 2/τ (or of log T_i, which is no larger but for log N); T_i by N + 2·EXP_ULPS, the
    exponentials by 2·EXP_ULPS. A dot product over N rows, in tiles, has N roundings, the sums of
    groups have N, and 32 others are single.
    """
    exponents = (2 * gram_entry(dim) + 16 * UNIT * SAFETY) / tau
    return exponents + gamma(3 * size + 6 * EXP_ULPS + 8 * np.log(size) + 32)


def blockwise_pairs(size: int, dim: int, omega: Scalar, tau: Scalar) -> Scalar:
    r"""Error of :math:`\sum_{ij} W_{ij} (1 - G_{ij})/\tau` that is summed from products with W: of
    2Ω/τ at most, entries as in :func:`blockwise_slope`; then sums over d columns and N rows."""
    return 2 * omega / tau * (blockwise_slope(size, dim, tau) + gamma(size + dim + 4))


# ------------------------------------------------------------------------------------ three blocks


def block_value(size: Scalar, magnitude: Scalar) -> Scalar:
    r"""Error of the value of a cut of a softmax loss of three similarities.

    A cut needs no exact gradient: it is Gibbs' minorant of *some* distribution P over the kinds of
    pairs, of those P_k that the computed slopes (P_k - w_k)/τ stand for. What is wrong with P makes
    its constant wrong, and that alone: -ΣP_k log(P_k/c_k) is taken to be log T - ΣP_k x_k. In both
    T and the P_k exponentials err by 2·EXP_ULPS, arguments by 3u|x|, which is 3u log N on average
    (:func:`softmax_value`), and there are 4 operations in T and 5 in each P_k. Then come the
    logarithm, and 6 for the pulls and 4 for the sums of a value.

    Args:
        size: N, the pairs of an anchor.
        magnitude: the size of the parts that the value is summed from.
    """
    inside = 6 * jnp.log(size) + 4 * EXP_ULPS + 9
    return gamma(inside) + gamma(2 * LOG_ULPS + 10) * magnitude


def block_slope(pulls: Scalar, loose: Scalar, slopes: Scalar) -> Scalar:
    r"""Error of ⟨g, y - θ⟩ for the slopes g of such a cut, over all y of the simplex.

    The P_k are exact by definition, and similarities differ by 2 at most. What errs: pulls w_k/τ
    (a share, (p-1)/p, their product, and the product with a rounded 1/τ: 5). The P_k must add up to
    1: where a kind of pairs has a fixed similarity (self pairs), its share takes what is missing;
    elsewhere the largest one does, some 10 of 1/τ. Three times 2 · 5 of Σ|g_k|: slopes
    along shares (P_k - w_k, a rate, a product, 2 sums; rates of 1 and 2 are exact, others 3/2 at
    most); the similarities at θ (the same, a sum with a constant, one with 1); residuals, of which
    g has 2 Σ|g_k| at most (a difference, and a class share of 2 sums and a difference).

    Args:
        pulls: Σ w_k/τ over the kinds of pairs whose similarity is not fixed.
        loose: 1/τ where no kind of pairs has a fixed similarity, else 0.
        slopes: Σ |g_k| along the similarities.
    """
    return 2 * (gamma(5) * pulls + gamma(10) * loose + gamma(15) * slopes)


def block_excess(sizes: Scalar) -> Scalar:
    """Error of c - f(θ) + Σ θ_k (r_k - min r) of a cut, over the tilt, relative to the sizes of its
    parts: a term has a difference, a product and 3 sums; then come 2 sums and a quotient of 2."""
    return gamma(9) * sizes


def block_other(size: int | None, magnitude: Scalar, slopes: Scalar) -> Scalar:
    """Error of a cut of any other loss: as :func:`evaluation` for one that sums over N² pairs, and
    64 roundings of its terms for one that has a form of its own (size None)."""
    relative = gamma(64) if size is None else evaluation(size)
    return relative * (magnitude + 2 * slopes)


def block_end(sizes: Scalar) -> Scalar:
    """The rest of the error of ⟨d, θ⟩ + excess/t, relative to the largest |d_k|: 2 of rates, 3 of
    products with shares and their sums, 4 of residuals g - td, 3 of the class share, 2 sums; and of
    the quantity a factor of 2, a product, and a sum with a rounded constant of 1."""
    return gamma(20) * jnp.maximum(sizes, 1)


def class_program(num_classes: int, size: Scalar) -> Scalar:
    r"""Relative error of values, gradients and pairings of the program over classes.

    A row has m + 3 exponentials, of 2·EXP_ULPS and of arguments that cost 3 log N as in
    :func:`softmax_value`, whose sum has a logarithm; rows are summed over m classes, products with
    the m × m blocks over rows and then over columns; two dozen operations are single.

    Args:
        num_classes: m.
        size: N.
    """
    return gamma(2 * num_classes + 3 * jnp.log(size) + 2 * EXP_ULPS + 2 * LOG_ULPS + 18)


# --------------------------------------------------------------------------------- orbits of pairs


def orbit_value(sums: int, width: int, weights: float, arguments: float, sizes: float) -> float:
    r"""Error of Σ Ω log Σ c e^{-ς(1-x)} + Σ W(1-x) + constant, over orbits of pairs.

    Inside a logarithm there are up to K exponentials of 2·EXP_ULPS, K sums, a difference to the
    largest and a logarithm log c, of a count with its `WEIGHT_ROUNDINGS`; their arguments err by
    WEIGHT_ROUNDINGS + 4 of ς(1-x), of which the mean over the shares counts
    (:func:`softmax_value`). Then come a logarithm and a sum with the largest, Ω with its own
    roundings, and sums over terms and pulls.

    Args:
        sums: T + O, over terms and then over pulls.
        width: K, of one term.
        weights: Σ Ω.
        arguments: Σ Ω Σ P ς|1-x|.
        sizes: Σ Ω (|log Σ| + max|log c|) + Σ |W(1-x)| + |constant|.
    """
    inside = width + 2 * EXP_ULPS + WEIGHT_ROUNDINGS + 4
    return (
        gamma(inside) * weights
        + gamma(WEIGHT_ROUNDINGS + 8) * arguments
        + gamma(sums + 4 * LOG_ULPS + WEIGHT_ROUNDINGS + 12) * sizes
    )


def orbit_minorant(sums: int, width: int, loose: float, sizes: float, slopes: float) -> float:
    r"""Error of Gibbs' minorant a + γ·(y-1) of a loss over orbits of pairs, for all |y| ≤ 1.

    The shares P are exact by definition but for their sum, which the largest share makes 1: it
    changes by γ_{K+4} at most, and with it a, by |log c/P| ≤ |log c| + log K and 1, and γ, of
    which 1-y is at most 2. Logarithms err by 2·LOG_ULPS, log c by the roundings of c; Ω, ς and W
    by theirs; products, and sums over slots and orbits, by their numbers.

    Args:
        sums: those that a number goes through at most: K + T, or over the slots of an orbit and
            then over orbits.
        width: K, of one term.
        loose: Σ Ω (max|log c| + 1 + 2 max ς).
        sizes: Σ Ω Σ P (|log c| + |log P|) + |constant|.
        slopes: Σ |γ| over pushes and pulls, before they cancel.
    """
    of_sum = gamma(width + 4) * (1 + float(np.log(max(width, 2)))) * loose
    of_weights = gamma(WEIGHT_ROUNDINGS + 2) * loose
    of_constant = gamma(sums + 4 * LOG_ULPS + WEIGHT_ROUNDINGS + 8) * sizes
    return of_sum + of_weights + of_constant + gamma(sums + 2 * WEIGHT_ROUNDINGS + 10) * 2 * slopes


def orbit_dual(count: int, sizes: float) -> float:
    """Error of e·y = ⟨S, G⟩ - Σ|F| λ_F, of entries e_o/|R_o| and of sums over orbits and fibres.

    Args:
        count: of orbits and fibres.
        sizes: Σ over the parts of |e| and Σ |F λ|; products with |y| ≤ 1.
    """
    return gamma(count + 12) * sizes


def represented(num_colours: int, sizes: float) -> float:
    r"""By how much T(X) as computed may differ from the regular representation, in norm.

    An entry of T(A_a) is right to 3 roundings and not negative, :math:`\|T(A_a)\|` is at most the
    root of both valencies; then a product, r sums and a symmetrisation.

    Args:
        num_colours: r.
        sizes: Σ |x_a| √(valencies of a).
    """
    return gamma(num_colours + 8) * sizes


def factor_shift(size: int, shift: float, rest: float, squares: float) -> float:
    r"""σ such that A + σI is positive semidefinite, where fl(A + shift I - L Lᵀ) has norm `rest`.

    The product has n roundings, of :math:`|L||L|^\top`, whose norm is at most that of L squared, as
    is A + shift I but for the rest; that sum and the difference have one each.

    Args:
        size: n.
        shift: added to the diagonal.
        rest: the Frobenius norm of the residual.
        squares: the squared Frobenius norm of L.
    """
    return (shift + rest) * (1 + gamma(size * size + 8)) + gamma(size + 4) * squares


# ------------------------------------------------------------------- free features and weights

FEATURE_ROUNDINGS = 28
"""Roundings of an entry of A in units of the multipliers: gain (6), share of samples (2), roots of
multipliers and quotients (4), of counts (3), labels (3), sums over a kind (3); and some more."""


def feature_bound(count: int, sizes: float) -> float:
    """Error of Σ share Σ c P |log P| less what norms are paid, of both sizes, for exact P of D
    kinds: logarithms, shares and copies (4), products, sums over D + 1 slots and D kinds."""
    return gamma(3 * count + 2 * LOG_ULPS + 16) * sizes


def feature_value(count: int, arguments: float, sizes: float, costs: float, number: int) -> float:
    """Error of the loss of D kinds of free features: a log-sum-exp errs by its worst logit, D + 1
    exponentials. `arguments` is Σ share (max|z| + Σ t|z|), `sizes` Σ share (|log Σ| + Σ t|z|), and
    `costs` are those of norms and biases, summed over a number of variables."""
    loose = gamma(FEATURE_ROUNDINGS + 4) * arguments + gamma(count + 2 * EXP_ULPS + 4)
    return loose + gamma(2 * count + 2 * LOG_ULPS + 16) * sizes + gamma(number + 16) * costs
