r"""Lower bounds of the smallest eigenvalue of a symmetric matrix that is too large to diagonalise.

**Proven**, from a Cholesky factorisation in floating point that runs to completion. Its factor is
the exact one of a matrix nearby, and that matrix is positive semidefinite. With rounding unit u,

.. math::
   \lambda_{\min}(A) \ge -\sum_j \frac{\gamma_{j+1}}{1 - \gamma_{j+1}} a_{jj},
   \qquad \gamma_k = \frac{k u}{1 - k u}.

**Probable**, from products with A alone, by the Lanczos process on :math:`I_b \otimes A` (so that
every eigenvalue has multiplicity b at least) from a random start, a Gaussian N × b matrix. Its
vectors and its tridiagonal T satisfy, whatever rounding did to them,

.. math:: A Q_j = \beta_{j-1} Q_{j-1} + \alpha_j Q_j + \beta_j Q_{j+1} + F_j, \qquad \|Q_j\| = 1.

Multiply by a unit eigenvector v of eigenvalue λ, and solve for its share in the start:

.. math::
   \|v^\top Q_1\| \le \beta_k |e_k^\top (T - \lambda)^{-1} e_1|
     + \|F\| \, \|(T - \lambda)^{-1} e_1\| \qquad (\lambda < \theta_{\min}(T)).

The right side falls as λ does. The left side is random and independent of all that follows:
its square is of the distribution Beta(b/2, (N-1)b/2), and with probability 1-δ no less than t².
So no eigenvalue lies where the right side is below t. A Ritz value alone is an upper bound, and
its residual says that *some* eigenvalue is near: neither bounds the smallest from below.

How many steps are enough whatever the spectrum is the question of Kuczyński and Woźniakowski.

References:
    Rump (BIT 46, 2006), theorem 2.3, for the Cholesky bound; Higham (Accuracy and Stability of
    Numerical Algorithms, 2002), section 10.1; Kuczyński and Woźniakowski (SIAM J. Matrix Anal.
    Appl. 13, 1992), theorem 4.2, for Lanczos from a random start; van Dorsselaer, Hochstenbach and
    van der Vorst (SIAM J. Matrix Anal. Appl. 22, 2000) for bounds from the Lanczos polynomial.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.linalg.lapack import dpotrf

UNIT_ROUNDING = float(np.finfo(np.float64).eps) / 2
SMALLEST = float(np.finfo(np.float64).smallest_subnormal)

EXTRA_ROUNDINGS = 4
"""Roundings of an entry of the factor beyond those of Rump's theorem: a library may multiply by the
reciprocal of a pivot instead of dividing by the pivot, and the shift itself is rounded."""
FIRST_SHIFT = 0.25
"""The first shift in units of the rounding bound: rounding is far smaller than its bound, but a
smaller shift would not show in the sum of both."""
SHIFT_GROWTH = 4.0
"""Factor between shifts, and so what a bound below the rounding may lose."""
RESTORED_ROWS = 256
"""Rows whose lower triangle is restored at a time between two shifts."""

FAILURE_PROBABILITY = 1e-9
"""Probability with which a random start hides the smallest eigenvalue and the bound is wrong."""
NUM_COLUMNS = 16
"""Columns of the random start. With one, its share in an eigenvector is under δ/√N with
probability δ; with sixteen, under 0.2/√N with probability 1e-9."""
WORST_CASE_ERROR = 1e-3
"""Error relative to the width of the spectrum at which the process stops, for Kuczyński and
Woźniakowski's bound is under it whatever the spectrum. The spectra at hand, of few clusters, need
a tenth of those steps for rounding accuracy."""


def cholesky_bound(matrix: Float[np.ndarray, "N N"]) -> float:
    r"""A lower bound of λ_min of a symmetric matrix, proven by a factorisation of A + εI.

    ε is searched upwards from the size of the rounding bound, so that a positive semidefinite
    matrix costs a factorisation or two. One that fails proves nothing; it raises ε.

    Args:
        matrix: (N, N) in C order and exactly symmetric; overwritten, and never copied.

    Returns:
        :math:`-\varepsilon - c`, with c the rounding bound of this module's docstring for A + εI
        and what underflow may lose; -∞ for a matrix with entries that are not finite.
    """
    if not np.all(np.isfinite([matrix.min(), matrix.max()])):
        return -math.inf
    size = len(matrix)
    roundings = UNIT_ROUNDING * (np.arange(size) + 2 + EXTRA_ROUNDINGS)
    shares = roundings / (1 - 2 * roundings)  # γ/(1-γ)
    diagonal = np.diagonal(matrix).copy()

    def rounding(shifted: Float[np.ndarray, " N"]) -> float:
        underflow = 4 * size * (2 * (size + 1) + shifted.max()) * SMALLEST
        return float(shares @ shifted) + underflow

    shift = FIRST_SHIFT * rounding(np.abs(diagonal))
    while True:
        shifted = diagonal + shift
        if shifted.min() > 0:
            np.fill_diagonal(matrix, shifted)
            # LAPACK counts in columns: the lower triangle of the transpose, a view, is the upper
            # one here. The other one is left alone, to start again from.
            factor, failed = dpotrf(matrix.T, lower=1, clean=0, overwrite_a=1)
            if not failed and np.all(np.isfinite(np.diagonal(factor))):
                return -(shift + rounding(shifted))
            for first in range(0, size, RESTORED_ROWS):
                rows = slice(first, first + RESTORED_ROWS)
                matrix[rows, rows] = (
                    np.tril(matrix[rows, rows], -1) + np.tril(matrix[rows, rows], -1).T
                )
                matrix[rows, rows.stop :] = matrix[rows.stop :, rows].T
        shift *= SHIFT_GROWTH


class LanczosBound(NamedTuple):
    """What the Lanczos process found of the smallest eigenvalue.

    Attributes:
        lower: no eigenvalue is smaller, unless the random start was one of the improbable ones.
        ritz: the smallest Ritz value, an upper bound of λ_min up to rounding.
        steps: products with the matrix, each with `NUM_COLUMNS` vectors.
    """

    lower: float
    ritz: float
    steps: int


def start_share(
    size: int, num_columns: int = NUM_COLUMNS, failure: float = FAILURE_PROBABILITY
) -> float:
    r"""t, which ‖vᵀQ‖ of a random start falls short of with probability `failure` at most.

    For a fixed unit vector v of R^N and Q an N × b Gaussian matrix divided by its norm,
    ‖vᵀQ‖² is Beta(a, c)-distributed with a = b/2, c = (N-1)b/2, and as :math:`(1-x)^{c-1} \le 1`,

    .. math:: P(\|v^\top Q\| < t) \le \frac{t^{2a}}{a B(a, c)}.
    """
    a, c = num_columns / 2, (size - 1) * num_columns / 2
    log_beta = math.lgamma(a) + math.lgamma(c) - math.lgamma(a + c)
    return math.exp((math.log(failure * a) + log_beta) / (2 * a))


def worst_case_error(steps: int, share: float) -> float:
    r"""The relative error ε that k Lanczos steps guarantee whatever the spectrum.

    Applied to A ⪰ 0, the largest Ritz value is at least (1-ε) times the largest eigenvalue, unless
    the share t of the start in its eigenvector obeys

    .. math:: t \cosh\bigl((2k-1) \operatorname{artanh} \sqrt\varepsilon\bigr) < 1 .

    The polynomial P of degree k-1 behind it has
    :math:`s P(1-\varepsilon-s^2) \propto T_{2k-1}(s/\sqrt{1-\varepsilon})`. With b = 1 this fails
    with a probability of at most :math:`1.60 \sqrt N e^{-(2k-1) \sqrt\varepsilon}`; Kuczyński and
    Woźniakowski have 1.65.
    """
    return math.tanh(math.acosh(1 / share) / (2 * steps - 1)) ** 2


def lanczos_bound(
    product: Callable[[Float[Array, "N b"]], Float[Array, "N b"]],
    size: int,
    norm: float,
    rounding: float,
    goal: float,
    key: PRNGKeyArray,
) -> LanczosBound:
    r"""A lower bound of λ_min from products with the matrix, wrong with `FAILURE_PROBABILITY`.

    The better of two bounds: the a-posteriori one of this module's docstring, which takes rounding
    into account, and Kuczyński and Woźniakowski's for `norm`·I - A (in exact arithmetic it needs
    no more than the number of steps; here a Ritz value is taken to be right to the rounding of the
    products). The process ends when the bound is within `goal` of the Ritz value, or rounding
    keeps it from there, or `WORST_CASE_ERROR` is guaranteed.

    Args:
        product: A times an (N, b) matrix.
        size: N.
        norm: an upper bound of ‖A‖.
        rounding: an upper bound of ‖fl(A V) - A V‖/‖V‖ in the Frobenius norm.
        goal: the distance of `lower` from `ritz` that is small enough.
        key: a JAX random key for the start.

    Returns:
        The bound.
    """
    share = start_share(size)
    # A vector operation of the recurrence errs by a few roundings of its terms, of norm ≤ ‖A‖.
    local = rounding + 8 * UNIT_ROUNDING * norm
    vectors = jax.random.normal(key, (size, NUM_COLUMNS), float)
    vectors, previous = vectors / jnp.linalg.norm(vectors), jnp.zeros_like(vectors)
    alphas, betas, best = [], [], -norm
    while True:
        image = product(vectors) - (betas[-1] if betas else 0.0) * previous
        alphas.append(float(jnp.sum(image * vectors)))
        image = image - alphas[-1] * vectors
        betas.append(float(jnp.linalg.norm(image)))
        errors = math.sqrt(len(alphas)) * local
        ritz, lower, settled = _excluded(alphas, betas, errors, share, norm)
        relative = worst_case_error(len(alphas), share)
        best = max(best, lower, norm - (norm - ritz) / (1 - relative) - 2 * errors)
        if ritz - best <= goal or settled or relative <= WORST_CASE_ERROR:
            return LanczosBound(best, ritz, len(alphas))
        vectors, previous = image / betas[-1], vectors


def _excluded(
    alphas: list[float], betas: list[float], errors: float, share: float, norm: float
) -> tuple[float, float, bool]:
    """The smallest Ritz value θ, below what there is no eigenvalue, and whether errors alone are
    what keeps the two apart."""
    steps, inner = len(alphas), betas[:-1]
    ritz, vectors = np.linalg.eigh(np.diag(alphas) + np.diag(inner, 1) + np.diag(inner, -1))
    firsts = vectors[0] ** 2
    log_betas = sum(math.log(max(beta, SMALLEST)) for beta in betas)

    def shares_at(depth: float) -> tuple[float, float]:
        """What a start can have of an eigenvector of the eigenvalue θ - depth: two terms."""
        distances = ritz - ritz[0] + depth
        # The corner of the resolvent as a product: its terms as a sum would cancel.
        corner = math.exp(min(log_betas - np.sum(np.log(distances)), 700.0))
        return corner, errors * math.sqrt(np.sum(firsts / distances**2))

    low, high = math.log(UNIT_ROUNDING * norm), math.log(4 * norm)
    while high - low > 1e-3:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if sum(shares_at(math.exp(middle))) < share else (middle, high)
    depth = math.exp(high)
    corner, rest = shares_at(depth)
    if corner + rest >= share:
        return float(ritz[0]), -math.inf, False
    # The eigenvalues of T are right to a few roundings of ‖T‖ for each step.
    return float(ritz[0]), float(ritz[0]) - depth - 8 * steps * UNIT_ROUNDING * norm, corner < rest
