"""Local minima in balls: planted ones are proven; saddles, slopes and flat places are not."""

import numpy as np
import pytest
from flint import arb

from ssem_jax import theory
from ssem_jax.balls import enclose_local_minimum, enclose_loss, working_precision
from ssem_jax.balls.minima import _each, _expand
from ssem_jax.losses import SupCL, SupCon
from ssem_jax.problem import ClassStructure

STEP = 1e-4
"""Of finite differences, whose error is of its square and of rounding over its square."""
SQUARE = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
PAIRS = np.array([[1.0, 0], [1, 0], [-1, 0], [-1, 0]])
TWO = ClassStructure((2, 2))
FOUR = ClassStructure.balanced(4, 3)
SIMPLEX = np.repeat([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], 3, axis=0)
RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("self_pairs", ["include", "exclude"])
@pytest.mark.parametrize("mean", ["pairs", "anchors"])
def test_derivatives_are_those_of_the_loss(self_pairs, mean):
    structure, loss = ClassStructure((2, 3), 2), SupCL(0.3, 0.7, self_pairs, mean)
    rows, along = RANDOM.normal(size=(2, 10, 3))
    with working_precision(128):
        all_free = np.ones((10, 3), bool)
        value, gradient, hessian = _expand(_each(arb, rows), all_free, structure, loss)
    before, at, after = (
        float(enclose_loss(rows + step * along, structure, loss)) for step in (-STEP, 0, STEP)
    )
    assert float(value) == pytest.approx(at, abs=1e-15)
    assert float(gradient @ along.ravel()) == pytest.approx((after - before) / (2 * STEP), abs=1e-6)
    bent = (after + before - 2 * at) / STEP**2
    assert float(along.ravel() @ hessian @ along.ravel()) == pytest.approx(bent, abs=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 0.588375])
def test_collapse_is_a_local_minimum_of_the_plane_of_classes_up_to_a_threshold(alpha):
    """α_loc = 0.588879; the rows are exact, so that collapse itself is the minimum."""
    found = enclose_local_minimum(SIMPLEX, FOUR, SupCL(alpha, 0.5))
    assert found is not None
    assert found.radius < 1e-20
    assert found.ball.overlaps(enclose_loss(SIMPLEX, FOUR, SupCL(alpha, 0.5)))
    assert found.lower <= found.upper <= found.lower + 1e-15


def test_turned_stretched_and_slightly_wrong_rows_lead_to_the_same_minimum():
    loss, turn = SupCL(0.5, 0.5), np.linalg.qr(RANDOM.normal(size=(3, 3)))[0]
    right = enclose_local_minimum(SIMPLEX, FOUR, loss)
    wrong = SIMPLEX @ turn * RANDOM.uniform(0.5, 2, (12, 1)) + 1e-9 * RANDOM.normal(size=(12, 3))
    found = enclose_local_minimum(wrong, FOUR, loss)
    assert found.ball.contains(right.ball)
    assert 1e-12 < found.radius < 1e-4
    assert found.curvature == pytest.approx(right.curvature, rel=1e-3)
    exact = [[arb(x) / arb(3).sqrt() for x in row] for row in SIMPLEX]
    assert enclose_local_minimum(np.array(exact), FOUR, loss).ball.overlaps(right.ball)


def test_a_global_minimum_is_a_local_one():
    assert enclose_local_minimum(SQUARE, TWO, SupCL(1.0, 0.5)) is not None


def test_curvature_counts_all_over_the_ball():
    """So near to α_loc, what the rows are off asks for a ball over which the Hessian changes more
    than it is curved in the middle."""
    wrong = SIMPLEX + 1e-8 * np.random.default_rng(1).normal(size=(12, 3))
    assert enclose_local_minimum(wrong, FOUR, SupCL(0.588375, 0.5)) is None
    assert enclose_local_minimum(wrong, FOUR, SupCL(0.5, 0.5)) is not None


SADDLE = PAIRS + np.array([[0, 1e-3], [0, -1e-3], [0, 1e-3], [0, -1e-3]])
THRESHOLD = float(theory.alpha_local(4, 3, 1, 0.5))


@pytest.mark.parametrize(
    ("rows", "structure", "loss"),
    [
        (SIMPLEX, FOUR, SupCL(0.589, 0.5)),  # collapse beyond α_loc, a saddle
        (PAIRS, TWO, SupCL(1.0, 0.5)),  # a saddle of rank 1
        (PAIRS, TWO, SupCL(0.2, 0.5)),  # a global minimum, but of rank 1
        (SADDLE, TWO, SupCL(1.0, 0.5)),
        (SQUARE + 0.1, TWO, SupCL(1.0, 0.5)),  # no critical point
        (RANDOM.normal(size=(4, 2)), TWO, SupCL(0.5, 0.5)),
        (np.eye(4, 5), TWO, SupCL(1.0, 0.5)),  # fewer points than dimensions
        (np.ones((4, 1)), TWO, SupCL(1.0, 0.5)),  # nothing is free in R^1
        (SIMPLEX, FOUR, SupCL(THRESHOLD, 0.5)),  # flat within classes, to the last bit of α_loc
    ],
)
def test_what_is_no_strict_minimum_of_full_rank_is_not_proven(rows, structure, loss):
    assert enclose_local_minimum(rows, structure, loss) is None


def test_a_curvature_or_slope_that_is_claimed_wrongly_proves_nothing(monkeypatch):
    """What floats say of the Hessian only says where to look."""
    monkeypatch.setattr("ssem_jax.balls.minima.np.linalg.eigvalsh", lambda _: np.array([1e-3]))
    assert enclose_local_minimum(SIMPLEX, FOUR, SupCL(0.589, 0.5)) is None


def test_misuse_is_reported():
    with pytest.raises(ValueError, match="ball enclosures are written for SupCL; got SupCon"):
        enclose_local_minimum(SQUARE, TWO, SupCon(0.5))
    with pytest.raises(ValueError, match="one per row; got shape"):
        enclose_loss(SQUARE[:3], TWO, SupCL(0.5, 0.5))
    with pytest.raises(ValueError, match="row 3 is not"):
        enclose_local_minimum(np.diag([1.0, 1, 1, 0]), TWO, SupCL(0.5, 0.5))
