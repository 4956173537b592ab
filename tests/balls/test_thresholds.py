"""Identities at exact points, and the thresholds that stand on them; what is false is refuted."""

import math

import pytest

from proofs_numeric import thresholds
from ssem_jax import balls, theory
from ssem_jax.balls import thresholds as bounds
from ssem_jax.balls.identities import Degrees, prove_zero
from ssem_jax.claims import Verdict
from ssem_jax.claims.claim import collect_theorems
from ssem_jax.claims.judgements import judge_theorem

X, Y = Degrees((1, 0), (0, 0)), Degrees((0, 1), (0, 0))


def test_degrees_bound_those_of_sums_and_quotients():
    found = (X * X - 3 * Y) / (1 - X) + 1 / (X * Y)
    assert found.top == (3, 2)
    assert found.bottom == (2, 1)
    assert (-found).top == (2 - X - Y * 0 + found).top


def test_an_identity_is_proven_and_what_is_none_is_refuted():
    proven = prove_zero(lambda x, y: (x * x - y * y) / (x + y) - (x - y), ("x", "y"))
    assert proven.proven
    assert proven.points == 3 * 3
    false = prove_zero(lambda x, y: (x - 1 / (1 + 1 / y)) * x, ("x", "y"))
    assert not false.proven
    assert false.refuted == {"x": "1/2", "y": "1/2"}
    hidden = prove_zero(lambda x: (2 * x - 1) * (3 * x - 1), ("x",))  # 0 at 1/2 and at 1/3
    assert hidden.refuted == {"x": "1/4"}
    for variables in (("x", "y"), ("y", "x")):  # every variable is tried as often as its own degree
        one = prove_zero(lambda x, y: 0 * y + (2 * x - 1) * (3 * x - 1) * (4 * x - 1), variables)
        assert one.refuted == {"x": "1/5", "y": "1/2"}


THEOREMS = collect_theorems([thresholds])


@pytest.mark.parametrize("theorem", THEOREMS, ids=lambda theorem: theorem.name)
def test_thresholds_are_proven(theorem):
    judgement = judge_theorem(theorem)
    assert judgement.verdict is Verdict.PROVEN
    assert judgement.proof.signs > 300


def test_a_margin_that_is_off_is_refuted():
    """The window with another end, and L_spread with another count."""
    margin = bounds.instance_margin([(1, 1, 3, 8)], 0.5, 0.1, 0.2)
    assert margin == pytest.approx(0.5 - (3 - 0.16) / 5.6)

    def off(mu, nu, r, alpha):
        bound = nu + (1 - nu) * r / (mu + (1 - mu) * r)
        return (bound - alpha) - (bound + r * 0 + mu - alpha)

    assert not prove_zero(off, ("mu", "nu", "r", "alpha")).proven


def test_what_is_proven_is_what_theory_computes():
    """K (α_c - α) of random batches is 0 at theory's own α_c."""
    m, n, batch, tau = 3, 5, 4, 0.6
    r = math.exp(-m / ((m - 1) * tau))
    chances = bounds._chances(1 / m, 1 / n, batch)
    alpha = theory.random_alpha_c(m, n, 1, batch, tau)
    terms = [(c * (1 if k else alpha), 1, k, batch - 1 - k) for k, c in enumerate(chances)]
    kappa = (n - 1) / (n * (m - 1))
    pull = (1 - alpha) * sum(chances[1:])
    margin = bounds.instance_margin(terms, pull, kappa, r)
    assert margin == pytest.approx(0, abs=1e-14)
    with pytest.raises(ValueError, match="a batch must be an integer of at least 2; got 1"):
        balls.prove_random(1)
