"""Attained, not attained, unknown: told apart by certificates, uniqueness and rank alone."""

import sys

import numpy as np
import polars as pl
import pytest

import ssem_jax as sx
from ssem_jax import theory
from ssem_jax.claims import Attainment
from ssem_jax.claims.low_dimension import is_unique, rank_bounds

module = sys.modules["ssem_jax.claims.low_dimension"]  # its name in the package is the function


def solved(structure, dims, alphas, tau=0.5, self_pairs="include", num_starts=4):
    problems = [
        sx.Problem(
            structure, dim, sx.SupCL(np.array(alphas), np.full(len(alphas), tau), self_pairs)
        )
        for dim in dims
    ]
    return sx.claims.Cells(sx.sweep(problems, num_starts=num_starts))


def test_every_dimension_of_a_small_batch_is_told():
    """m = n = 2: rank 1 in collapse (alpha = 0.2), 3 in the spread phase (alpha = 0.9)."""
    cells = solved(sx.ClassStructure((2, 2)), (2, 3), (0.2, 0.9))
    assert sx.claims.attainment(cells).tolist() == [
        Attainment.ATTAINED,
        Attainment.NOT_ATTAINED,
        Attainment.ATTAINED,
        Attainment.ATTAINED,
    ]
    margin = sx.claims.attained(cells, claimed=np.array([True, False, True, False]))
    assert margin.low.tolist() == [1, 1, 1, -1]
    assert margin.decided.all()


def test_embeddings_within_the_tolerance_of_an_optimum_that_does_not_fit_attain_nothing():
    """Four classes at alpha = 0 are a simplex in R^3; at tau = 0.02 a plane is as good to 1e-9."""
    structure = sx.ClassStructure((2,) * 4)
    cells = solved(structure, (2, 3), (0.0,), tau=0.02)
    assert cells.certified.all()
    assert sx.claims.attainment(cells)[0] == Attainment.UNKNOWN
    theorem = sx.claims.attained(cells, claimed=cells.dim >= 3)
    assert theorem.high.min() == 1  # refuted nowhere
    assert not theorem.decided[0]


def test_many_starts_above_the_bound_stay_unknown_without_uniqueness():
    """Of most losses uniqueness is not proven: what is not attained stays unknown."""
    structure = sx.ClassStructure((2, 2))
    assert not is_unique(sx.losses.SupCon(np.array([0.5])), structure).any()
    cells = solved(structure, (2,), (0.9,))
    assert sx.claims.attainment(cells).tolist() == [Attainment.NOT_ATTAINED]
    # The same cell, of a loss that is none of those whose optimum is proven unique.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "is_unique", lambda loss, _: np.zeros(1, bool))
        assert sx.claims.attainment(cells).tolist() == [Attainment.UNKNOWN]
        margin = sx.claims.attained(cells)
    assert (margin.low[0], margin.high[0]) == (-1, 1)
    assert not margin.decided[0]


@pytest.mark.parametrize(
    ("sizes", "views", "self_pairs", "alpha", "unique"),
    [
        ((2, 2), 1, "include", 0.0, True),
        ((2, 1), 1, "include", 0.0, False),
        ((2, 1), 1, "include", 0.1, True),
        ((2, 2), 2, "exclude", 0.3, True),
        ((4, 2), 2, "exclude", 0.3, False),
        ((2, 2), 2, "decouple", 0.3, False),
    ],
)
def test_where_uniqueness_is_proven(sizes, views, self_pairs, alpha, unique):
    structure = sx.ClassStructure(sizes, views)
    loss = sx.SupCL(np.array([alpha]), np.array([0.5]), self_pairs)
    assert is_unique(loss, structure).tolist() == [unique]


@pytest.mark.parametrize(
    ("alpha", "tau", "self_pairs", "phase"),
    [
        (0.02, 0.2, "exclude", sx.Phase.VIEW_SPREAD),
        (0.9, 0.5, "exclude", sx.Phase.SPREAD),
        (0.1, 0.5, "include", sx.Phase.COLLAPSE),
    ],
)
def test_the_rank_is_that_of_the_closed_form(alpha, tau, self_pairs, phase):
    m, n, p = 2, 2, 2
    assert theory.phase(m, n, p, alpha, tau, self_pairs=self_pairs) == phase
    structure = sx.ClassStructure.balanced(m, n, p)
    similarities = theory.similarities(m, n, p, alpha, tau, self_pairs=self_pairs)
    eigenvalues = np.linalg.eigvalsh(np.asarray(sx.geometry.block_gram(structure, *similarities)))
    problem = sx.Problem(structure, 1, sx.SupCL(np.array([alpha]), np.array([tau]), self_pairs))
    rank = int(np.sum(eigenvalues > 1e-9))
    assert [bound.tolist() for bound in rank_bounds(problem)] == [[rank], [rank]]


def test_unequal_classes_have_the_rank_of_their_spread_instances_at_least():
    structure = sx.ClassStructure((4, 2))
    problem = sx.Problem(structure, 1, sx.SupCL(np.array([0.05, 0.95]), np.array([0.5, 0.5])))
    least, most = rank_bounds(problem)
    assert least.tolist() == [0, 4]
    assert most.tolist() == [2, 6]


def test_the_excess_over_all_dimensions_is_bracketed():
    cells = solved(sx.ClassStructure((2, 2)), (2, 3), (0.2, 0.9))
    excess = sx.claims.excess(cells)
    best = np.asarray(theory.loss(2, 2, 1, cells.alpha, cells.temperature))
    true = cells.found["value"].to_numpy() - best
    assert np.all(excess.low <= true + 1e-12)
    assert np.all(true <= excess.high + 1e-12)
    assert np.all(excess.width < 1e-9)
    assert true[1] > 1e-3  # R^2 cannot hold the spread optimum
    assert np.all(true[[0, 2, 3]] < 1e-9)


def planted(dim, alpha, values):
    """Cells of 2 × 2 embeddings at τ = 1/2, of any values; `lower` is of all dimensions."""
    lower = np.asarray(theory.loss(2, 2, 1, np.array(alpha), 0.5))
    table = {"sizes": "2,2", "num_classes": 2, "num_instances": 2, "num_views": 1, "dim": dim}
    table |= {"alpha": alpha, "temperature": 0.5, "self_pairs": "include", "mean": "pairs"}
    table |= {"value": values, "lower": lower, "gap": np.asarray(values) - lower}
    return sx.claims.Cells(pl.DataFrame(table))


SQUARE = float(np.log(1 + 2 * np.exp(-2) + np.exp(-4)))
"""InfoNCE of a square at τ = 1/2: products 0, 0 and -1."""


def test_what_is_best_in_its_own_dimension_is_told():
    """At α = 1 a square is best in the plane, and a tetrahedron, in R^3, is better; in between no
    bound of R^d is known."""
    cells = planted(2, [1.0, 0.9], [SQUARE, 2.0])
    assert not cells.certified.any()
    best = sx.claims.excess_in_dimension(cells)
    assert np.all(best.low == 0)
    assert best.high[0] < 1e-9
    told = sx.claims.standings(cells)
    assert told[0] == "attained"
    assert told[1].startswith("best known, within ")


def test_planted_errors_of_what_is_attained_are_caught():
    """A loss that is 2e-9 too high, and a square that claims to be best in R^3."""
    told = sx.claims.standings(planted([2, 3], [1.0, 1.0], [SQUARE + 2e-9, SQUARE]))
    assert all(each.startswith("best known, within ") for each in told)


def test_bounds_of_a_dimension_are_those_of_codes_and_of_no_other_loss():
    structure = sx.ClassStructure((2, 2), 2)

    def bounds(*arguments, dim=2, of=structure):
        loss = sx.SupCL(np.array([0.0, 0.5, 1.0]), np.array([0.5] * 3), *arguments)
        return sx.balls.least_in_dimension(sx.Problem(of, dim, loss))

    classes, instances = sx.balls.code_bound(2, 2, 0.5, 4), sx.balls.code_bound(4, 2, 0.5, 2)
    found = bounds()
    assert found[[0, 2]].tolist() == [classes.loss, instances.loss]
    assert (classes.loss + instances.loss) / 2 <= found[1] + 1e-15  # a chord between them
    assert np.all(bounds("exclude") == -np.inf)
    assert np.all(bounds(dim=1) == -np.inf)
    assert bounds(of=sx.ClassStructure((2, 4))).tolist()[:2] == [-np.inf] * 2
