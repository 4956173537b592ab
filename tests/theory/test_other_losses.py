"""The collapse criterion and the closed forms of other losses against direct minimisation."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from ssem_jax import theory
from ssem_jax.geometry import block_gram
from ssem_jax.losses import (
    AlignUniform,
    Sincere,
    Spectral,
    SupCL,
    SupCon,
    SupConIn,
    WeightedSupCL,
    gram_loss,
)
from ssem_jax.problem import ClassStructure, Phase

MINIMISER = 1e-7
"""SLSQP stops at a relative change of 1e-12 of the loss; positions to its root. Seen: 3e-8."""

ROUNDING = 1e-12

BAND = 1e-9
"""Distance from a boundary at which a criterion of slope of order 1 is above its rounding."""


def shares_loss(loss, structure):
    """The loss of variance shares (view, instance, class, mean), by the Gram matrix itself."""
    m, n, p = structure.counts

    @jax.jit
    def value(shares):
        view, instance, between, mean = shares
        s_view = 1 - view * p / max(p - 1, 1)
        s_within = 1 - view - instance * n / max(n - 1, 1)
        gram = block_gram(structure, s_view, s_within, mean - between / (m - 1))
        return loss.from_gram(gram, structure)

    return value


def minimise_shares(loss, structure):
    """The shares of least loss, by an optimiser that knows the simplex alone."""
    value = shares_loss(loss, structure)
    slope = jax.jit(jax.grad(value))
    open_ = [structure.num_views > 1, structure.num_instances > 1, True, True]
    start = np.array(open_) / sum(open_)
    found = minimize(
        lambda x: float(value(x)),
        start,
        jac=lambda x: np.asarray(slope(jnp.asarray(x))),
        bounds=[(0, 1 if share else 0) for share in open_],
        constraints={"type": "eq", "fun": lambda x: x.sum() - 1, "jac": lambda x: np.ones(4)},
        options={"ftol": 1e-15, "maxiter": 500},
        method="SLSQP",
    )
    return found.x, found.fun


# ---------------------------------------------------------------------------------------- criterion


@pytest.mark.parametrize("self_pairs", ["include", "exclude", "decouple"])
@pytest.mark.parametrize("shape", [(2, 2, 2), (3, 4, 2), (5, 2, 3)])
def test_the_criterion_is_the_closed_form_of_the_phases(self_pairs, shape):
    (m, n, p), taus = shape, np.geomspace(0.1, 5, 7)
    boundaries = [
        np.asarray(boundary(m, n, p, taus, self_pairs))
        for boundary in (theory.alpha_c, theory.alpha_v)
    ]
    alphas = np.concatenate(
        [boundary + side for boundary in boundaries for side in (-1e-3, 1e-3, 0.3)]
    )
    taus = np.tile(taus, 6)
    inside = (alphas > 0) & (alphas < 1)
    alphas, taus = alphas[inside], taus[inside]
    structure = ClassStructure.balanced(*shape)
    margin = theory.collapse_criterion(SupCL(alphas, taus, self_pairs), structure)
    phase = theory.phase(m, n, p, alphas, taus, self_pairs)
    np.testing.assert_array_equal(margin >= 0, phase == Phase.COLLAPSE)
    assert len(np.unique(phase)) >= 2


def test_the_criterion_in_the_published_form():
    """For one view, and a loss that rises in s_between: L_within ≤ κ L_between."""
    structure, loss = ClassStructure((4, 4, 4)), SupCL(0.5, 0.4)
    m, n = 3, 4
    slopes = jax.grad(
        lambda within, between: loss.from_gram(
            block_gram(structure, 1.0, within, between), structure
        ),
        argnums=(0, 1),
    )
    within, between = map(float, slopes(1.0, -0.5))
    kappa = (n - 1) / (n * (m - 1))
    margin = float(theory.collapse_criterion(loss, structure))
    assert margin == pytest.approx(n / (n - 1) * (kappa * between - within), abs=ROUNDING)
    assert margin < 0


@gram_loss(convex=True, symmetric=True)
def attract(gram, structure, *, bias=0.0):
    return jnp.mean(jnp.exp(-2 * gram)) + 0 * bias


def test_supcon_collapses_and_other_losses_too_or_not():
    structure = ClassStructure.balanced(3, 2, 2)
    assert np.all(theory.collapse_criterion(SupCon(np.geomspace(0.05, 5, 9)), structure) > 0)
    assert np.all(theory.collapse_criterion(Sincere(np.array([0.2, 1.0])), structure) > 0)
    assert theory.collapse_criterion(AlignUniform(), structure) < 0
    lone = ClassStructure.balanced(3, 1, 2)  # where only views could part, as they do for λ = 1
    assert (
        theory.collapse_criterion(AlignUniform(0.2), lone)
        > 0
        > theory.collapse_criterion(AlignUniform(1.0), lone)
    )
    assert theory.collapse_criterion(attract(), structure) > 0  # all embeddings at one point
    assert theory.collapse_criterion(SupCL(1.0, 0.5), ClassStructure((1, 1, 1))) == np.inf


@gram_loss(convex=True, symmetric=True)
def near(gram, structure, *, aim=0.3):
    return jnp.mean((gram - aim) ** 2)


@pytest.mark.parametrize("aim", [-0.1, 0.3, 0.9])
def test_the_criterion_where_classes_attract_each_other(aim):
    """The class means lie at the similarity that is aimed at, where its slope is zero."""
    m, n = 3, 2
    slope = (n - 1) / (m * n) * 2 * (1 - aim)  # of the pairs within classes, at 1
    margin = theory.collapse_criterion(near(aim=aim), ClassStructure.balanced(m, n))
    assert margin == pytest.approx(-n / (n - 1) * slope, abs=BAND)


def test_what_the_criterion_cannot_judge():
    structure = ClassStructure.balanced(2, 2)
    for loss in (SupConIn(0.5), WeightedSupCL(0.0, 0.5, (1, 2))):
        with pytest.raises(ValueError, match="is not declared convex and symmetric in classes"):
            theory.collapse_criterion(loss, structure)
    with pytest.raises(ValueError, match="classes of equal size"):
        theory.collapse_criterion(SupCL(0.0, 0.5), ClassStructure((2, 3)))
    with jax.enable_x64(False), pytest.raises(ValueError, match="verification needs float64"):
        theory.collapse_criterion(SupCL(0.0, 0.5), structure)


# ----------------------------------------------------------------------------------------- spectral


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "shape",
    [
        (2, 2, 2),
        pytest.param((3, 2, 1), marks=SLOW),
        (2, 1, 3),
        pytest.param((4, 3, 2), marks=SLOW),
    ],
)
def test_spectral_optimum_is_that_of_a_minimiser(shape):
    structure = ClassStructure.balanced(*shape)
    alphas = (1.0,) if shape[1] == 1 else (0.1, 0.6, 0.95)
    for alpha, mu in itertools.product(alphas, (0.5, 2.3, 7.0)):
        found, least = minimise_shares(Spectral(alpha, mu), structure)
        m, n, p = shape
        optimum = theory.spectral_optimum(m, n, p, alpha, mu)
        shares = list(optimum.variances)
        assert float(optimum.loss) == pytest.approx(least, abs=1e-9)
        np.testing.assert_allclose(shares, found, atol=1e-4)
        assert float(sum(shares)) == pytest.approx(1, abs=ROUNDING)
        value = shares_loss(Spectral(alpha, mu), structure)(jnp.asarray(shares))
        assert float(optimum.loss) == pytest.approx(float(value), abs=ROUNDING)


def test_spectral_phases_are_where_the_thresholds_say():
    m, n, p = 3, 4, 2
    optimum = theory.spectral_optimum
    for mu in (0.5, 2.0):
        boundary = 1 - mu * (n - 1) / (m * n)
        below, above = optimum(m, n, p, np.array([boundary - BAND, boundary + BAND]), mu).phase
        assert (below, above) == (Phase.COLLAPSE, Phase.SPREAD)
    found = optimum(m, n, p, 0.1, np.array([m - BAND, m + BAND])).phase
    assert found.tolist() == [Phase.COLLAPSE, Phase.VIEW_SPREAD]
    margin = theory.collapse_criterion(
        Spectral(boundary + np.array([-BAND, BAND]), np.full(2, 2.0)),
        ClassStructure.balanced(m, n, p),
    )
    assert margin[0] > 0 > margin[1]


# ------------------------------------------------------------------------------------------ sigmoid


@pytest.mark.parametrize("num_pairs", [3, 5, 40])
def test_sigmoid_optimum_is_that_of_a_grid(num_pairs):
    k = num_pairs
    for t, b in itertools.product((0.2, 1.0, 4.0), (-3.0, -0.5, 0.7, 3.0)):
        matched = np.linspace(-1, 1, 20001)
        unmatched = ((k - 2) * matched - k) / (2 * (k - 1))
        losses = np.logaddexp(0, b - t * matched) + (k - 1) * np.logaddexp(0, t * unmatched - b)
        found = theory.sigmoid_optimum(k, t, b)
        best = np.argmin(losses)
        assert float(found.loss) <= losses[best] + ROUNDING
        assert float(found.loss) == pytest.approx(losses[best], abs=1e-6 * k)
        assert float(found.matched) == pytest.approx(matched[best], abs=2e-4)
        simplex = 2 * (1 + np.exp(t / (k - 1) + b)) >= (k - 2) * (1 + np.exp(t - b))
        assert bool(found.matched == 1) == simplex
        assert bool(found.matched == -1) == bool(np.exp(t + b) <= (k - 2) / 2)


def test_sigmoid_optimum_at_equal_scale_and_bias():
    k = 50
    simplex, antipodal = (k - 1) / k * np.log(k - 3), np.log((k - 2) / 2) / 2
    for edge, end in ((simplex, 1), (antipodal, -1)):
        outside, inside = edge - end * BAND, edge + end * BAND
        found = theory.sigmoid_optimum(k, np.array([outside, inside]), np.array([outside, inside]))
        assert abs(float(found.matched[0])) < 1
        assert float(found.matched[1]) == end


def test_misuse():
    with pytest.raises(ValueError, match="num_classes must be an integer of at least 2"):
        theory.spectral_optimum(1, 2, 2, 0.5, 1.0)
    with pytest.raises(ValueError, match="no sup pair when num_instances is 1; got alpha < 1"):
        theory.spectral_optimum(2, 1, 2, 0.5, 1.0)
    with pytest.raises(ValueError, match="scale must be positive"):
        theory.spectral_optimum(2, 2, 2, 0.5, 0.0)
    with pytest.raises(ValueError, match="num_pairs must be an integer of at least 3; got 2"):
        theory.sigmoid_optimum(2, 1.0, 0.0)
    with pytest.raises(ValueError, match="scale must be positive"):
        theory.sigmoid_optimum(3, -1.0, 0.0)
    with jax.enable_x64(False):
        for call in (
            lambda: theory.sigmoid_optimum(3, 1.0, 0.0),
            lambda: theory.spectral_optimum(2, 2, 2, 0.5, 1.0),
        ):
            with pytest.raises(ValueError, match="verification needs float64"):
                call()
