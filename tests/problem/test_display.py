"""What objects say of themselves: a line in a terminal, some lines in a notebook."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ssem_jax as sx
from ssem_jax.certificate import Certificate
from ssem_jax.geometry import Variances
from ssem_jax.problem import display

STRUCTURE = sx.ClassStructure((2, 2), num_views=2)
ONE = sx.Problem(STRUCTURE, 3, sx.SupCL(0.5, 0.1))
SEVERAL = sx.Problem(STRUCTURE, None, sx.SupCL(np.array([0.0, 1.0]), 0.1))


def solution(problem, status):
    zero, value = jnp.zeros(status.shape), jnp.full(status.shape, 2.0)
    rows = jnp.zeros((*status.shape, 8, 3))
    return sx.Solution(problem, rows, value, zero, zero, status, *4 * (status,))


def certificate(problem, gap):
    zero, one = np.zeros_like(gap), np.ones_like(gap)
    low, high = (jnp.full((*gap.shape, 5), end) for end in (0.1, 0.2))
    phase = jnp.where(gap < 1e-9, sx.Phase.SPREAD, sx.Phase.UNDECIDED)
    shares = Variances(*4 * (one,))
    return Certificate(problem, one, one, gap, one, shares, low, high, phase, zero)


def test_a_problem():
    loss = "SupCL(alpha=0.5, temperature=0.1, self_pairs='include', mean='pairs')"
    assert repr(ONE) == f"<Problem: 2 classes × 2 × 2 views, d = 3; {loss}>"
    assert ONE._repr_html_().startswith(
        "<pre style='white-space: pre-wrap'>2 classes × 2 × 2 views, d = 3\nSupCL(alpha=0.5"
    )
    assert "2 cells of 2 classes × 2 × 2 views, every dimension; SupCL(alpha=0 to 1," in repr(
        SEVERAL
    )


def test_a_solution():
    one = solution(ONE, np.array(0))
    assert repr(one) == "<Solution: converged, loss 2, gradient 0>"
    assert "ssem_jax.certify(solution)" in one._repr_html_()
    several = solution(SEVERAL, np.array([1, 0]))
    assert repr(several) == "<Solution: 2 cells: 1 saddle, 1 converged, loss 2, gradient 0>"


def test_a_certificate():
    one = certificate(ONE, np.array(1e-13))
    assert repr(one) == (
        "<Certificate: certified as globally optimal: loss 1, gap 1e-13; phase of the optimum: "
        "spread>"
    )
    assert "\ndelta2 in [0.1, 0.2]\n" in one._repr_html_()
    assert "declared" not in one._repr_html_()
    several = repr(certificate(SEVERAL, np.array([1e-13, 1.0])))
    assert "2 cells: 1 certified, 1 not certified as globally optimal" in several
    assert "1 spread, 1 undecided" in several


def test_what_a_declared_loss_rests_on_is_said():
    @sx.gram_loss(convex=True, symmetric=True)
    def own(gram, structure):
        return jnp.sum(gram)

    said = certificate(sx.Problem(STRUCTURE, 3, own()), np.array(1e-13))._repr_html_()
    assert "convexity that is declared" in said
    assert repr(sx.Problem(STRUCTURE, 3, own())).endswith("d = 3; own()>")


def test_under_a_transformation_nothing_breaks():
    said = []

    @jax.jit
    def trace(status):
        found = solution(ONE, np.array(0))
        said.append(repr(jax.tree.map(lambda leaf: leaf + 0 * status, found)))
        return status

    trace(jnp.int32(0))
    assert said == ["<Solution of traced values>"]


def test_words_of_numbers_and_counts():
    assert display.numbers_text([]) == "none"
    assert display.numbers_text("x") == "'x'"
    assert display.counts_text([]) == ""
    assert display.loss_text(3) == "3"
    assert display.count_text(1, "class", "classes") == "1 class"
    assert display.count_text(2000, "view") == "2,000 views"


def test_what_is_near_an_end_is_not_shown_as_that_end():
    assert [display.share_text(value) for value in (0, 0.25, 1)] == ["0.0000", "0.2500", "1.0000"]
    assert display.share_text(1 - 9e-11) == "1 - 9e-11"
    assert display.share_text(0.99999, ".4g") == "1 - 1e-05"
    assert display.share_text(3e-6) == "3e-06"
    assert display.share_text(1e-13) == "0.0000"  # a rounding of a solver


def test_the_base_class_says_nothing():
    for method in ("lines", "said"):
        with pytest.raises(NotImplementedError):
            getattr(display.Told(), method)()
