"""Bounds of λ_min hold where it is known exactly, whatever the start, and are not idle."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb_mat, ctx

from ssem_jax.certificate import eigenbound
from ssem_jax.certificate.eigenbound import (
    factored,
    factored_in_place,
    lanczos_bound,
    residual,
    start_share,
    worst_case_error,
)
from ssem_jax.certificate.rounding import UNIT

EIGENVALUE = 1e-14
"""Rounding of eigenvalues of size ≤ 1 with N = 300, which tests compare with: N u ‖A‖ is 3e-14, and
LAPACK's error is a fraction of it."""

GROWTH = 1.01 * eigenbound.SHIFT_GROWTH
"""What a factorisation may lose of an eigenvalue well above rounding."""

FAILURE = 0.05
"""A probability of failure that can be seen."""


def planted(values, seed=0):
    """A symmetric matrix with these eigenvalues, and the smallest that it has after rounding."""
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values),) * 2))[0]
    matrix = (basis * values) @ basis.T
    matrix = 0.5 * (matrix + matrix.T)
    return matrix, np.linalg.eigvalsh(matrix)[0]


def allowed(matrix):
    """What a proof may lose beside the shift: N roundings of entries of A, N² of them at most."""
    return 4 * len(matrix) ** 2 * (len(matrix) + 16) * UNIT * np.abs(np.diag(matrix)).max()


WAYS = {
    "residual": lambda matrix: jax.tree.map(float, jax.jit(factored)(jnp.asarray(matrix))),
    "in place": lambda matrix: factored_in_place(matrix.copy()),
}


# ------------------------------------------------------------------------------------- Cholesky


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("exponent", [20, 40, 46, 50, 52])
@pytest.mark.parametrize("size", [2, 100, 300])
def test_exactly_indefinite_matrices_are_not_certified(size, exponent, way):
    """11ᵀ - 2⁻ᵏ I has the eigenvalue -2⁻ᵏ exactly, without rounding; LAPACK sees it rounded. Its
    pairing with G of eigenvalue N there is -N 2⁻ᵏ: no proof may promise more."""
    matrix = np.ones((size, size)) - 2.0**-exponent * np.eye(size)
    found = WAYS[way](matrix)
    assert -allowed(matrix) - GROWTH * 2.0**-exponent <= found.eigenvalue <= -(2.0**-exponent)
    assert size * found.eigenvalue <= found.pairing(size) <= -size * 2.0**-exponent


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("least", [-0.5, -1e-3, -1e-6, -1e-9, 0.0, 1e-3])
def test_planted_eigenvalues_show_in_the_bound(least, way):
    """Many shifts are tried on one matrix, which must come back whole between them."""
    matrix, smallest = planted(np.concatenate([[least], np.geomspace(0.01, 1, 149)]))
    found = WAYS[way](matrix)
    growth = GROWTH if way == "in place" else 1
    assert min(smallest, 0) * growth - allowed(matrix) <= found.eigenvalue
    assert found.eigenvalue <= smallest + EIGENVALUE


@pytest.mark.parametrize("way", WAYS)
def test_matrices_that_are_not_finite_have_no_bound(way):
    for bad, place in [(np.nan, (3, 5)), (np.inf, (3, 5)), (np.nan, (4, 4)), (np.inf, (4, 4))]:
        matrix = np.eye(9)
        matrix[place] = matrix[place[::-1]] = bad
        assert WAYS[way](matrix).pairing(9) == -math.inf
        assert WAYS[way](matrix).eigenvalue == -math.inf


def remainder_in_balls(shifted, factor):
    """Σ|E_ij| of A = LLᵀ + E, exactly."""
    before, ctx.prec = ctx.prec, 200
    try:
        exact = arb_mat(factor.tolist())
        error = arb_mat(shifted.tolist()) - exact * exact.transpose()
        return float(sum((abs(x) for x in error.entries()), start=0 * abs(error[0, 0])))
    finally:
        ctx.prec = before


def unlucky(size):
    """A factor of equal entries whose square is summed with the same rounding error again and
    again: of all factors of its size, the one with the largest errors."""
    return np.tril(np.full((size, size), math.sqrt(1 / 3)))


@pytest.mark.parametrize("size", [3, 40, 150])
def test_the_residual_covers_what_its_own_product_hides(size):
    """A := fl(LLᵀ), so that the computed residual is exactly 0 and its margin stands alone."""
    factor = jnp.asarray(unlucky(size))
    hidden = factor @ factor.T
    exact = remainder_in_balls(np.asarray(hidden), np.asarray(factor))
    assert float(jnp.sum(jnp.abs(hidden - factor @ factor.T))) <= exact
    assert 0 < exact <= float(residual(hidden, factor))


@pytest.mark.parametrize("size", [3, 40])
def test_any_factor_is_a_proof(size):
    """Right, perturbed or made up: the residual says what it is worth."""
    matrix, _ = planted(np.geomspace(0.1, 1, size))
    right = np.linalg.cholesky(matrix)
    noise = np.tril(np.random.default_rng(1).normal(size=(size, size)))
    for factor in (right, right + 1e-6 * noise, noise):
        exact = remainder_in_balls(matrix, factor)
        found = float(residual(jnp.asarray(matrix), jnp.asarray(factor)))
        assert exact <= found <= 1.001 * exact + allowed(matrix)


@pytest.mark.parametrize("size", [40, 150])
def test_a_factorisation_has_no_more_error_than_its_theorem_says(size):
    """In place the residual is never formed: it is held against the one in balls."""
    matrix, _ = planted(np.geomspace(1e-9, 1, size))
    work = matrix.copy()
    found = factored_in_place(work)
    exact = remainder_in_balls(matrix + found.shift * np.eye(size), np.triu(work).T)
    assert exact <= found.remainder


# -------------------------------------------------------------------------------------- Lanczos


def bounded(matrix, key=0, goal=1e-12, rounding=1e-15, product=None):
    operator = jnp.asarray(matrix)
    return lanczos_bound(
        product or (lambda vectors: operator @ vectors),
        len(matrix),
        1.001 * float(np.linalg.norm(matrix, 2)),
        rounding,
        goal,
        jax.random.key(key),
    )


SPECTRA = {
    "a few clusters": np.repeat([-1e-7, 0, 0.3, 1], 30),
    "one below": np.concatenate([[-1e-4], np.linspace(0.5, 1, 119)]),
    "uniform": np.linspace(-1e-2, 1, 120),
    "dense at the end": np.linspace(0, 1, 120) ** 3 - 1e-3,
    "both signs": np.sin(np.arange(120.0)),
    "one value": np.full(120, -0.5),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_bounds_hold_for_every_start(name):
    matrix, smallest = planted(SPECTRA[name])
    width = np.ptp(SPECTRA[name]) + 1
    for key in range(12):
        found = bounded(matrix, key)
        assert found.lower <= smallest + EIGENVALUE
        assert found.ritz >= smallest - EIGENVALUE
        assert found.ritz - found.lower <= 1.1 * eigenbound.WORST_CASE_ERROR * 2 * width


def test_clusters_take_few_steps_and_the_worst_case_ends():
    """Four eigenvalues are four steps in exact arithmetic, and one or two more with rounding."""
    found = bounded(planted(SPECTRA["a few clusters"])[0], goal=1e-10)
    assert found.steps <= 6
    assert found.ritz - found.lower <= 1e-10
    last = bounded(planted(SPECTRA["dense at the end"])[0], goal=0.0)
    share = start_share(120)
    assert worst_case_error(last.steps, share) <= eigenbound.WORST_CASE_ERROR
    assert worst_case_error(last.steps - 1, share) > eigenbound.WORST_CASE_ERROR


def test_a_start_fails_as_seldom_as_it_is_said_to(monkeypatch):
    """With one column and δ = 5 %, of 200 starts about 10 may hide the eigenvalue; some do, or the
    bound would promise less than it could."""
    monkeypatch.setattr(eigenbound, "NUM_COLUMNS", 1)
    monkeypatch.setattr(eigenbound, "start_share", lambda size: start_share(size, 1, FAILURE))
    monkeypatch.setattr(eigenbound, "WORST_CASE_ERROR", 0.9)
    matrix, smallest = planted(np.concatenate([[-1.0], np.zeros(119), [1.0]]))
    failed = sum(bounded(matrix, key, goal=0.0).lower > smallest for key in range(200))
    assert 1 <= failed <= 200 * FAILURE + 3 * math.sqrt(200 * FAILURE)


@pytest.mark.parametrize("num_columns", [1, 2, 16])
def test_the_share_of_a_random_start(num_columns):
    """Shares are drawn; the bound of their quantile is above it by (1-x)^{c-1}, so by little."""
    rng, size, draws = np.random.default_rng(0), 50, 4000
    starts = rng.normal(size=(draws, size, num_columns))
    shares = np.linalg.norm(starts[:, 0], axis=1) / np.linalg.norm(starts, axis=(1, 2))
    below = np.mean(shares < start_share(size, num_columns, FAILURE))
    spread = 3 * math.sqrt(FAILURE / draws)
    assert FAILURE / 12 - spread <= below <= FAILURE + spread


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_no_bound_is_above_the_norm(scale):
    """The identity, whose Ritz values are rounded to above its norm, and matrices near it."""
    for spread in (0.0, 1e-15, 1e-8):
        values = scale * (1 + spread * np.sin(np.arange(60.0)))
        matrix = np.diag(values)
        operator, norm = jnp.asarray(matrix), float(values.max())
        for key in range(4):
            found = lanczos_bound(
                lambda vectors, operator=operator: operator @ vectors,
                60,
                norm,
                1e-16 * scale,
                1e-12 * scale,
                jax.random.key(key),
            )
            assert found.lower <= min(norm, values.min())


def test_lost_orthogonality_does_no_harm():
    """An eigenvalue far out converges at once, and copies of it come back: the theorems of exact
    arithmetic fail, and the bound of an eigenvalue that is barely started from must not."""
    values = np.concatenate([[-1e-5], np.linspace(0, 1e-3, 118), [1e6]])
    matrix, _ = planted(values)
    smallest = np.linalg.eigvalsh(matrix)[0]
    for key in range(6):
        found = bounded(matrix, key, goal=0.0, rounding=1e-9)
        assert found.lower <= smallest + 1e-9


def test_one_column_is_the_bound_of_kuczynski_and_wozniakowski():
    for size, failure in [(100, 1e-3), (10_000, 1e-9)]:
        for steps in (20, 200):
            error = worst_case_error(steps, start_share(size, 1, failure))
            theirs = 1.648 * math.sqrt(size) * math.exp(-(2 * steps - 1) * math.sqrt(error))
            assert failure <= theirs * 1.001
            assert theirs <= 1.25 * failure or error > 0.01


def test_products_that_hide_an_eigenvalue_within_their_rounding_convince_nobody():
    rounding = 1e-4
    matrix, smallest = planted(np.concatenate([[-0.9 * rounding], np.linspace(0.5, 1, 119)]))
    direction = np.linalg.eigh(matrix)[1][:, :1]
    hidden = jnp.asarray(matrix + rounding * direction @ direction.T)
    for key in range(12):
        told = bounded(matrix, key, rounding=rounding, product=lambda vectors: hidden @ vectors)
        assert told.ritz > 0
        assert told.lower <= smallest
