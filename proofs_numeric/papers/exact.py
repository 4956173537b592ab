"""Statements of papers that integers and rationals decide, with the argument in each docstring."""

from __future__ import annotations

from fractions import Fraction

from ssem_jax.claims import Proof


def excess() -> Proof:
    """1 + o + 1/(n-1) - s as a sum of eigenvalues of a Gram matrix of averages, for all n.

    Averages over pairs have eigenvalues 1 - w ± (s - o) and 1 + (n-1)w ± (s + (n-1)o), w of pairs
    within a tower. With λ = 1/(n-1) it is (1 - w - s + o) + λ(1 + (n-1)w): the coefficients of 1,
    w, s and o in both are compared as polynomials in λ, (constant, λ), where (n-1)λ = 1.
    """
    gap = {"1": (1, 1), "w": (0, 0), "s": (-1, 0), "o": (1, 0)}
    apart = {"1": (1, 0), "w": (-1, 0), "s": (-1, 0), "o": (1, 0)}
    means = {"1": (0, 1), "w": (1, 0), "s": (0, 0), "o": (0, 0)}
    same = [
        gap[k][i] == apart[k][i] + means[k][i]  # both eigenvalues are nonnegative
        for k in gap
        for i in (0, 1)
    ]
    return Proof(all(same), signs=len(same), rigorous=True)


def spectral() -> Proof:
    """-2s + mean of squared negatives, at the simplex and at an orthonormal frame, exactly."""
    for n in range(2, 9):
        simplex = -2 + Fraction(1, n - 1) ** 2
        frame = Fraction(-2)
        if frame < simplex:
            where = {"n": n, "loss of the simplex": str(simplex), "of a frame": str(frame)}
            return Proof(False, where, signs=1, rigorous=True)
    return Proof(True, signs=7, rigorous=True)


def spread_of(n: int, m: int, *, alike: bool) -> Fraction:
    """Variance of negatives: n/m batches, each a simplex, the same one or in orthogonal spaces."""
    inside, own = -Fraction(1, m - 1), m * (m - 1)
    crossing = [Fraction(0)] * m * (n - m) if not alike else [Fraction(1)] + [inside] * (m - 1)
    per_batch = [inside] * own + crossing * (n - m if alike else 1)
    mean = sum(per_batch, Fraction(0)) / len(per_batch)
    return sum(((x - mean) ** 2 for x in per_batch), Fraction(0)) / len(per_batch)


def interval(n: int, m: int) -> tuple[Fraction, Fraction]:
    """The stated ends."""
    return Fraction(n - m, (m - 1) * (n - 1) ** 2), Fraction(n * (n - m), (m - 1) * (n - 1) ** 2)


def variance() -> Proof:
    """Both ends are attained; between them, as tr(PQ) of projectors of rank m-1 is in [0, m-1]."""
    sizes = [(m * k, m) for m in range(2, 7) for k in range(2, 6)]
    wrong = [
        {"n": n, "m": m}
        for n, m in sizes
        if interval(n, m) != (spread_of(n, m, alike=False), spread_of(n, m, alike=True))
    ]
    return Proof(not wrong, wrong[0] if wrong else None, signs=2 * len(sizes), rigorous=True)


def constellations() -> Proof:
    """(3 - 4/N) m ≤ 1 + b for all N: a certificate whose eigenvalues are multiples of N.

    With C = J - (N/2) I the sum Σ_{i≠j} ⟨U_i, V_j⟩ - ((N-2)/2) Σ ⟨U_i, V_i⟩ + N²/2 is that of
    [[N/4, C/2], [C/2, N/4]] over the Gram matrix of all 2N vectors. C is N/2 on the ones and -N/2
    on what is orthogonal to them, so that the eigenvalues are N (1/4 ± 1/4), none below 0.
    """
    diagonal, halves = Fraction(1, 4), (Fraction(1, 2) / 2, Fraction(-1, 2) / 2)
    eigenvalues = [diagonal + sign * half for half in halves for sign in (1, -1)]
    return Proof(min(eigenvalues) >= 0, signs=len(eigenvalues), rigorous=True)


def largest_margin(number: int) -> tuple[Fraction, Fraction]:
    """Margin m and relative bias b of the simplex of N pairs: similarities 1 and -1/(N-1)."""
    other = -Fraction(1, number - 1)
    return (1 - other) / 2, (1 + other) / 2


def three_margins() -> Proof:
    """3m ≤ 1 + b at the simplex of N pairs."""
    for number in range(2, 100):
        margin, bias = largest_margin(number)
        if 3 * margin > 1 + bias:
            where = {"N": number, "m": str(margin), "b_rel": str(bias)}
            return Proof(False, where, signs=1, rigorous=True)
    return Proof(True, signs=98, rigorous=True)


def softmax_code() -> Proof:
    """No K unit vectors are all farther than K/(K-1) from the hull of the others; a simplex is.

    The distance of w_k is at most that from the mean of the others, ‖K w_k - S‖/(K-1), S the sum.
    Σ_k ‖K w_k - S‖² = K² Σ ‖w_k‖² - K ‖S‖²: as matrices Σ_k (K e_k - 1)(K e_k - 1)ᵀ = K² I - K J,
    whose eigenvalues K² and 0 are at most K², so that some term is at most K². For the simplex
    S = 0, and by symmetry the mean is the nearest point.
    """
    for k in range(2, 50):
        ones = Fraction(k * k - k * k)  # on the vector of ones: K² - K·K
        if not (ones <= k * k and Fraction(k, k - 1) == 1 + Fraction(1, k - 1)):
            return Proof(False, {"K": k}, rigorous=True)
    return Proof(True, signs=2 * 48, rigorous=True)


def orthoplex() -> Proof:
    """Any n ≤ 2d vectors ±e_i have no inner product above 0, for d up to 8 and d+2 ≤ n ≤ 2d."""
    number = 0
    for d in range(2, 9):
        vertices = [(i, sign) for i in range(d) for sign in (1, -1)]
        for n in range(d + 2, 2 * d + 1):
            chosen = vertices[:n]
            products = [a[1] * b[1] * (a[0] == b[0]) for a in chosen for b in chosen if a != b]
            number += 1
            if max(products) > 0:
                return Proof(False, {"n": n, "d": d}, rigorous=True)
    return Proof(True, signs=number, rigorous=True)
