r"""Proofs that a symmetric matrix is nearly positive semidefinite, and lower bounds of λ_min.

What a certificate needs of a dual matrix A is a lower bound of ⟨A, G⟩ over all G ⪰ 0 with
G_ii = 1. Whatever L is and wherever it comes from,

.. math::
   A + \sigma I = L L^\top + E
   \quad\Rightarrow\quad
   \langle A, G \rangle \ge -N \sigma - \sum_{ij} |E_{ij}|,
   \qquad \lambda_{\min}(A) \ge -\sigma - \sum_{ij} |E_{ij}|,

because LLᵀ ⪰ 0 and |G_ij| ≤ 1. The shift σ is as small as a Cholesky factorisation in floating
point admits, which is a few roundings where A is positive semidefinite.

**From the residual** (:func:`factored`): E is computed, with an error of at most
:math:`\gamma_N |L||L|^\top` for the product, whose entries add up to γ_N times the squared column
sums of |L|. Neither the factorisation nor a library's eigenvalues are trusted.

**From the algorithm** (:func:`factored_in_place`, for matrices of which no second copy is made): a
Cholesky factorisation that runs to completion has :math:`|E| \le \gamma_{N+1} |L||L|^\top`,
in whatever order the sums of the textbook's formulas are added up.

**Probable**, from products with A alone, by the Lanczos process on :math:`I_b \otimes A` (so that
every eigenvalue has multiplicity b at least) from a random start, a Gaussian N × b matrix. Its
vectors and its tridiagonal T satisfy, whatever rounding did to them,

.. math:: A Q_j = \beta_{j-1} Q_{j-1} + \alpha_j Q_j + \beta_j Q_{j+1} + F_j, \qquad
   \|Q_j\| \le \nu.

Multiply by a unit eigenvector v of eigenvalue λ, and solve for its share in the start:

.. math::
   \|v^\top Q_1\| \le \nu \beta_k |e_k^\top (T - \lambda)^{-1} e_1|
     + \|F\| \, \|(T - \lambda)^{-1} e_1\| \qquad (\lambda < \theta_{\min}(T)).

The right side falls as λ does. The left side is random and independent of all that follows:
its square is of the distribution Beta(b/2, (N-1)b/2), and with probability 1-δ no less than t².
So no eigenvalue lies where the right side is below t. Nothing is assumed of the orthogonality of
the Q_j, which is soon lost: T is what it is, and F is local, bounded step by step. A Ritz value
alone is an upper bound, and its residual says that *some* eigenvalue is near: neither bounds the
smallest from below. And theorems of exact arithmetic, such as that of Kuczyński and Woźniakowski
on how near the smallest Ritz value must be, say when to stop but are no bound here.

References:
    Higham (Accuracy and Stability of Numerical Algorithms, 2002), theorem 10.3, for the Cholesky
    residual, and section 9.6 for tridiagonal systems; Rump (BIT 46, 2006) for proofs by Cholesky in
    floating point; Kuczyński and Woźniakowski (SIAM J. Matrix Anal. Appl. 13, 1992), theorem 4.2,
    for Lanczos from a random start; van Dorsselaer, Hochstenbach and van der Vorst (SIAM J. Matrix
    Anal. Appl. 22, 2000) for bounds from the Lanczos polynomial.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ssem_jax.certificate.rounding import SAFETY, SMALLEST, UNIT, gamma, kept, row_sums

EXTRA_ROUNDINGS = 4
"""Roundings of an entry of the factor beyond those of Higham's theorem: a library may multiply by
the reciprocal of a pivot instead of dividing by the pivot, and the shift itself is rounded."""
FIRST_SHIFT = 8.0
"""The least shift in units of u times the largest diagonal entry: what rounding makes of an
eigenvalue that is 0, so that a smaller one would fail. It costs N times itself."""
SHIFT_GROWTH = 4.0
"""Factor between shifts."""
SHIFTS = 60
"""Shifts tried at most: the last one is larger than any matrix of finite numbers."""
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
LOCAL_ROUNDINGS = 16
"""Roundings in F_j, in units of u‖A‖, beside those of the product: of two multiples (|α| ≤ ‖A‖,
β ≤ 2‖A‖), two differences (of norms ≤ 3‖A‖ and 2‖A‖) and the quotient by β: 10, and as many that
the norms of the vectors may add."""
PIVOT_ROUNDINGS = 8
"""Roundings of an entry of T - λ that solving with it amounts to, a pivot having three and a
substitution four."""


class Factored(NamedTuple):
    """A + shift·I is a positive semidefinite matrix but for what `remainder` bounds.

    Attributes:
        shift: σ ≥ 0.
        remainder: Σ|E_ij| at most; ∞ where nothing was proven.
    """

    shift: Array | float
    remainder: Array | float

    @property
    def eigenvalue(self) -> Array | float:
        """A lower bound of λ_min."""
        return _or_none(-(self.shift + self.remainder) * (1 + 4 * UNIT))

    def pairing(self, size: int) -> Array | float:
        """A lower bound of ⟨A, G⟩ over all N × N matrices G ⪰ 0 of unit diagonal; -∞ for entries
        that are no numbers."""
        return _or_none(-(size * self.shift + self.remainder) * (1 + 4 * UNIT))


def _or_none(bound: Array | float) -> Array:
    """A bound, or -∞ where it is no number."""
    return jnp.where(jnp.isnan(bound), -jnp.inf, bound)


def residual(shifted: Float[Array, "N N"], factor: Float[Array, "N N"]) -> Float[Array, ""]:
    r"""A bound of Σ|E_ij|, E = A - LLᵀ, for any A and any lower triangular L.

    The product errs by γ_N |L||L|ᵀ, whose entries add up to γ_N Σ_k (Σ_i |l_ik|)², and the
    difference by u relatively.
    """
    found = jnp.sum(row_sums(jnp.abs(shifted - factor @ factor.T)))
    columns = kept(jnp.sum(jnp.abs(factor), axis=0))
    size = len(factor)
    total = SAFETY * found + gamma(size + 1) * jnp.sum(columns**2) + 4 * size**3 * SMALLEST
    return jnp.where(jnp.isfinite(total), total, jnp.inf)


def least_shift(matrix: Float[Array, "N N"], free: Array | float = 0.0) -> Array:
    """The smallest shift that can succeed where λ_min = 0, or the one that is free."""
    unit = UNIT * jnp.max(jnp.abs(jnp.diagonal(matrix))) + SMALLEST
    return jnp.maximum(FIRST_SHIFT * unit, free)


def attempt(matrix: Float[Array, "N N"], shift: Array) -> Factored:
    """What the residual of a factor proves with a shift."""
    shifted = kept(matrix + shift * jnp.eye(len(matrix)))
    factor = kept(jax.lax.linalg.cholesky(shifted, symmetrize_input=False))
    added = gamma(1) * jnp.sum(jnp.abs(jnp.diagonal(shifted)))
    return Factored(shift, residual(shifted, factor) + added)


def search_shift(matrix: Float[Array, "N N"], smallest: Array) -> Factored:
    """Where the least shift fails, LAPACK's λ_min is the guess for all others."""

    def retry(state: tuple[Array, Array, Factored]) -> tuple[Array, Array, Factored]:
        number, least, _ = state
        step = smallest * SHIFT_GROWTH ** number.astype(float)
        return number + 1, least, attempt(matrix, least + step)

    guess = -jnp.linalg.eigvalsh(matrix)[0]
    # Of entries that are no numbers nothing can be proven.
    least, number = (
        jnp.maximum(0, jnp.nan_to_num(guess)),
        jnp.where(jnp.isfinite(guess), 0, SHIFTS),
    )
    return jax.lax.while_loop(
        lambda s: (s[0] < SHIFTS) & ~jnp.isfinite(s[2].remainder),
        retry,
        (number, least, Factored(least, jnp.asarray(jnp.inf))),
    )[2]


def factored(matrix: Float[Array, "N N"], free: Array | float = 0.0) -> Factored:
    """Prove that a matrix is positive semidefinite up to a shift, from the residual of a factor.

    For use inside kernels. Under vmap on a CPU LAPACK's threads and XLA's would wait for one
    another.

    Args:
        matrix: (N, N), of which the lower triangle is factored and all of it is compared.
        free: a shift that does not matter beside other margins.
    """
    smallest = least_shift(matrix, free)
    first = attempt(matrix, smallest)
    return jax.lax.cond(
        jnp.isfinite(first.remainder), lambda: first, lambda: search_shift(matrix, smallest)
    )


def factored_in_place(matrix: Float[np.ndarray, "N N"], free: float = 0.0) -> Factored:
    r"""A large matrix shifted and factored; it is overwritten and never copied. On the host.

    Shifts are searched upwards, so that a positive semidefinite matrix costs a factorisation or
    two. One that fails proves nothing; it raises the shift.

    Args:
        matrix: (N, N) in C order and exactly symmetric.
        free: a shift that does not matter beside other margins.

    Returns:
        What the algorithm's own rounding bound proves, and what underflow may lose; a remainder of
        ∞ for a matrix with entries that are not finite.
    """
    from scipy.linalg.lapack import (
        dpotrf,  # pyright: ignore[reportAttributeAccessIssue] (made when SciPy is built)
    )

    diagonal = np.diagonal(matrix).copy()
    shift = max(FIRST_SHIFT * UNIT * float(np.max(np.abs(diagonal))) + SMALLEST, free)
    if not np.all(np.isfinite([matrix.min(), matrix.max()])):
        return Factored(0.0, math.inf)
    size = len(matrix)
    while True:
        shifted = diagonal + shift
        if shifted.min() > 0:
            np.fill_diagonal(matrix, shifted)
            # LAPACK counts in columns: the lower triangle of the transpose, a view, is the upper
            # one here. The other one is left alone, to start again from.
            factor, failed = dpotrf(matrix.T, lower=1, clean=0, overwrite_a=1)
            if not failed and np.all(np.isfinite(np.diagonal(factor))):
                columns = np.array([np.sum(np.abs(matrix[k, k:])) for k in range(size)])
                underflow = 4 * size**2 * (2 * (size + 1) + shifted.max()) * SMALLEST
                roundings = gamma(size + 1 + EXTRA_ROUNDINGS) * float(np.sum(columns**2))
                return Factored(shift, roundings + gamma(1) * float(shifted.sum()) + underflow)
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

    It is the a-posteriori one of this module's docstring, which holds for vectors of any
    orthogonality and takes rounding into account. The process ends when the bound is within `goal`
    of the Ritz value, or rounding keeps it from there, or :func:`worst_case_error` says that
    `WORST_CASE_ERROR` would be reached whatever the spectrum.

    Args:
        product: A times an (N, b) matrix.
        size: N.
        norm: an upper bound of ‖A‖.
        rounding: an upper bound of ‖fl(A V) - A V‖/‖V‖ in the Frobenius norm.
        goal: the distance of `lower` from `ritz` that is small enough.
        key: a JAX random key for the start, used for nothing else before: the matrix must not
            depend on it.

    Returns:
        The bound; -norm ≤ lower ≤ norm.
    """
    share = start_share(size)
    # Norms of N·b numbers, whose squares are added up in any order.
    stretch = 1 + gamma(size * NUM_COLUMNS + 4)
    local = stretch * (rounding + LOCAL_ROUNDINGS * UNIT * norm)
    vectors = jax.random.normal(key, (size, NUM_COLUMNS), float)
    vectors, previous = vectors / jnp.linalg.norm(vectors), jnp.zeros_like(vectors)
    alphas, betas, best = [], [], -norm
    while True:
        image = product(vectors) - (betas[-1] if betas else 0.0) * previous
        alphas.append(float(jnp.sum(image * vectors)))
        image = image - alphas[-1] * vectors
        betas.append(float(jnp.linalg.norm(image)))
        errors = math.sqrt(len(alphas)) * local
        ritz, lower, settled = _excluded(alphas, betas, errors, share / stretch, norm)
        relative = worst_case_error(len(alphas), share)
        best = max(best, lower)
        if ritz - best <= goal or settled or relative <= WORST_CASE_ERROR:
            return LanczosBound(min(best, norm), ritz, len(alphas))
        vectors, previous = image / betas[-1], vectors


def _excluded(
    alphas: list[float], betas: list[float], errors: float, share: float, norm: float
) -> tuple[float, float, bool]:
    """The smallest Ritz value θ, below what there is no eigenvalue, and whether errors alone are
    what keeps the two apart.

    Entries of T - λ are taken smaller on the diagonal and larger beside it than they are, by more
    than `PIVOT_ROUNDINGS` of them. Up to signs T - λ is an M-matrix, of which every entry of the
    inverse grows thereby: so what is solved for, the inverse of a matrix nearby, is no less than
    that of T - λ itself.
    """
    from scipy.linalg import eigvalsh_tridiagonal
    from scipy.linalg.lapack import (
        dptsv,  # pyright: ignore[reportAttributeAccessIssue]
    )

    beside = np.array(betas[:-1])
    # With one more row, coupled to none, for LAPACK, which takes no matrix of one.
    wide = np.append(beside * (1 + PIVOT_ROUNDINGS * UNIT), 0.0)
    ritz = float(eigvalsh_tridiagonal(alphas, beside)[0]) if len(beside) else alphas[0]
    first = np.eye(1, len(alphas) + 1)[0]

    def shares_at(bound: float) -> tuple[float, float]:
        """What a start can have of an eigenvector of an eigenvalue `bound`: two terms; ∞ unless
        T - bound is positive definite."""
        slip = PIVOT_ROUNDINGS * UNIT * (abs(bound) + norm)
        pivots = np.append(np.array(alphas) - (bound + slip), 1.0)
        *_, inverse, failed = dptsv(pivots, wide, first)
        inverse = inverse.ravel()[:-1]
        if failed or not np.all(np.isfinite(inverse)):
            return math.inf, math.inf
        return betas[-1] * abs(float(inverse[-1])), errors * float(np.linalg.norm(inverse))

    low, high = math.log(UNIT * norm), math.log(4 * norm)
    while high - low > 1e-3:
        middle = 0.5 * (low + high)
        enough = sum(shares_at(ritz - math.exp(middle))) * SAFETY < share
        low, high = (low, middle) if enough else (middle, high)
    bound = ritz - math.exp(high)
    corner, rest = shares_at(bound)
    if not (corner + rest) * SAFETY < share:
        return ritz, -math.inf, False
    return ritz, bound, corner < rest
