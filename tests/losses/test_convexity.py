"""False declarations are found with a counterexample that stands; true ones pass."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssem_jax.geometry import block_gram
from ssem_jax.losses import (
    AlignUniform,
    Sigmoid,
    Sincere,
    Spectral,
    SupCL,
    SupCon,
    SupConIn,
    WeightedSupCL,
    check_convex,
    check_symmetric,
    gram_loss,
)
from ssem_jax.losses.convexity import ConvexityViolation, NotANumber, TangentViolation
from ssem_jax.problem import ClassStructure

KEY = jax.random.key(0)
STRUCTURE = ClassStructure((2, 2), 2)
FEASIBLE = 1e-12
"""Rounding of eigenvalues of a Gram matrix of 8 embeddings."""


def amount_of(violation: Any) -> float:
    """The hyper-parameter of the cell that was found out."""
    return violation.loss.amount


@gram_loss(convex=True)
def faint(gram, structure, *, amount=1e-3):
    """Strictly convex in all pairs but one of 28, in which it is concave."""
    return jnp.sum(gram**2) - (2 + amount) * gram[0, 5] ** 2


@gram_loss(convex=True, symmetric=True)
def lopsided(gram, structure, *, amount=1e-6, kind="views"):
    """One row weighs more: no permutation that moves it is allowed."""
    rows = {
        "views": gram[0, 2:4] ** 2 - gram[1, 2:4] ** 2,
        "instances": jnp.sum(gram[0:2, 4:] ** 2) - jnp.sum(gram[2:4, 4:] ** 2),
        "classes": jnp.sum(gram[0:2, 2:4] ** 2) - jnp.sum(gram[4:6, 6:] ** 2),
    }[kind]
    return jnp.sum(gram**2) + amount * jnp.sum(rows)


@gram_loss(convex=True)
def broken(gram, structure):
    return jnp.sqrt(jnp.sum(gram) - 10)


@gram_loss(convex=True)
def masked(gram, structure):
    """Finite, but its derivative goes through what is masked on the diagonal."""
    return jnp.sum(jnp.where(jnp.eye(len(gram), dtype=bool), 0, jnp.sqrt(2 - gram - 1)))


@gram_loss(convex=True)
def stopped(gram, structure):
    """Its values are convex, half of its derivative is stopped."""
    half = jnp.exp(0.5 * gram)
    return jnp.sum(half * jax.lax.stop_gradient(half))


CONVEX = [
    SupCL(0.3, 0.05),
    SupCL(0.3, 0.05, "decouple"),
    SupCon(0.2),
    WeightedSupCL(0.3, 0.2, (1, 3)),
    Spectral(0.5, 2.0),
    Sincere(0.2),
    AlignUniform(1.0, 2.0),
]


@pytest.mark.slow  # a kernel for each loss
@pytest.mark.parametrize("loss", CONVEX, ids=lambda loss: type(loss).__name__)
def test_shipped_losses_pass_what_they_are_exempt_from(loss):
    assert loss.convex
    assert loss.symmetric
    assert check_convex(loss, STRUCTURE, KEY, 64) is None
    assert check_symmetric(loss, STRUCTURE, KEY, 12) is None


def test_a_violation_is_a_pair_of_feasible_gram_matrices():
    violation = check_convex(SupConIn(0.2), STRUCTURE, KEY, 16)
    assert isinstance(violation, ConvexityViolation)
    for gram in (violation.first, violation.second):
        np.testing.assert_allclose(np.diag(gram), 1, atol=FEASIBLE)
        assert np.linalg.eigvalsh(gram)[0] >= -FEASIBLE
    middle = (1 - violation.t) * violation.first + violation.t * violation.second
    grams = (violation.first, middle, violation.second)
    values = [float(SupConIn(0.2).from_gram(jnp.asarray(gram), STRUCTURE)) for gram in grams]
    np.testing.assert_allclose(violation.values, values, atol=FEASIBLE)
    above = values[1] - (values[0] + values[2]) / 2
    assert 0 < violation.amount <= above + FEASIBLE
    assert "above the chord" in str(violation)


@pytest.mark.parametrize("amount", [1.0, 1e-3, 1e-9])
def test_one_concave_pair_among_many_is_found(amount):
    violation = check_convex(faint(amount=amount), STRUCTURE, KEY, 64)
    assert violation is not None
    assert amount_of(violation) == amount
    assert check_convex(faint(amount=0.0), STRUCTURE, KEY, 64) is None


@pytest.mark.parametrize("kind", ["views", "instances", "classes"])
def test_a_broken_symmetry_is_found_and_named(kind):
    loss = lopsided(kind=kind)
    violation = check_symmetric(loss, STRUCTURE, KEY, 48)
    assert violation.kind in ("views", kind)  # what breaks views may break more
    order = violation.permutation
    assert sorted(order) == list(range(8))
    before, after = (
        float(loss.from_gram(jnp.asarray(gram), STRUCTURE))
        for gram in (violation.gram, violation.gram[order][:, order])
    )
    np.testing.assert_allclose(violation.values, [before, after], atol=FEASIBLE)
    assert abs(after - before) > FEASIBLE


def test_views_of_one_instance_are_no_symmetry_of_two_towers():
    assert check_convex(Sigmoid(2.0, 0.5), STRUCTURE, KEY, 32) is None
    assert check_symmetric(Sigmoid(2.0, 0.5), STRUCTURE, KEY, 12).kind == "views"


def test_class_weights_leave_instances_alike():
    loss = WeightedSupCL(0.3, 0.2, (1, 3))
    assert not loss.like_classes
    order = np.roll(np.arange(8), 4)  # swaps the classes
    gram = block_gram(STRUCTURE, 0.9, np.array([0.8, -0.5]), 0.1)
    swapped = loss.from_gram(gram[order][:, order], STRUCTURE)
    assert abs(float(swapped - loss.from_gram(gram, STRUCTURE))) > 1e-3


def test_a_loss_that_is_no_number_is_not_said_to_be_concave():
    found = check_convex(broken(), STRUCTURE, KEY, 64)
    assert isinstance(found, NotANumber)
    assert np.isnan(broken().from_gram(jnp.asarray(found.gram), STRUCTURE))
    assert str(found).startswith("the loss is not a number at a Gram matrix of unit vectors")
    found = check_convex(masked(), STRUCTURE, KEY, 64)
    assert isinstance(found, NotANumber)
    assert str(found).startswith("the derivative of the loss is not a number at")
    assert np.isfinite(masked().from_gram(jnp.asarray(found.gram), STRUCTURE))


def test_a_derivative_of_something_else_is_found():
    found = check_convex(stopped(), STRUCTURE, KEY, 16)
    assert isinstance(found, TangentViolation)
    assert not found.differentiated
    first, second = map(jnp.asarray, (found.first, found.second))
    for gram in (first, second):
        assert np.linalg.eigvalsh(gram)[0] >= -FEASIBLE
    value, slope = jax.value_and_grad(lambda gram: stopped().value(gram, STRUCTURE))(first)
    tangent = float(value + jnp.sum(slope * (second - first)))
    assert found.tangent == pytest.approx(tangent)
    assert 0 < found.amount <= tangent - float(stopped().from_gram(second, STRUCTURE))
    assert "what JAX differentiates is not its value" in str(found)


def test_every_cell_is_checked_and_the_bad_one_is_named():
    amounts = np.zeros(41)
    amounts[23] = 1e-3
    violation = check_convex(faint(amount=amounts), STRUCTURE, KEY, 16)
    assert amount_of(violation) == 1e-3
    violation = check_symmetric(lopsided(amount=amounts), STRUCTURE, KEY, 48)
    assert amount_of(violation) == 1e-3


def test_misuse():
    with pytest.raises(ValueError, match="num_pairs must be an integer of at least 1; got 0"):
        check_convex(SupCL(0.5, 0.5), STRUCTURE, KEY, 0)
    with pytest.raises(ValueError, match="num_permutations must be an integer of at least 1"):
        check_symmetric(SupCL(0.5, 0.5), STRUCTURE, KEY, 0)
    with pytest.raises(ValueError, match="num_views must be at least 2"):
        check_convex(SupCL(0.5, 0.5, "exclude"), ClassStructure((2, 2)), KEY)
    with jax.enable_x64(False):
        for check in (check_convex, check_symmetric):
            with pytest.raises(ValueError, match="verification needs float64"):
                check(SupCL(0.5, 0.5), STRUCTURE, KEY)
