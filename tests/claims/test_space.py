"""Spaces: what they contain, and what they refuse."""

from typing import Any, cast

import numpy as np
import pytest

import ssem_jax as sx
from ssem_jax.claims import ClaimError, Range, Space
from ssem_jax.claims.space import FINEST


def test_a_range_has_exact_ends_and_even_steps():
    axis = Range(0.05, 5, log=True)
    values = axis.at([0, FINEST // 2, FINEST])
    assert values[0] == 0.05
    assert values[2] == 5
    assert values[1] == pytest.approx(0.5, rel=1e-15)
    assert Range(0, 1).at(FINEST // 4) == 0.25
    assert 5 in axis
    assert 5.1 not in axis


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ((1, 1), r"finite ends low < high; got Range\(1, 1\)"),
        ((0, np.inf), "finite ends"),
        ((0, 1, True), "logarithmic range needs positive ends; got low = 0"),
    ],
)
def test_bad_ranges(ends, message):
    with pytest.raises(ValueError, match=message):
        Range(*ends)


def test_slices_are_the_product_in_order_of_size():
    space = Space(
        num_classes=(3, 2),
        num_instances=2,
        dim=("full", lambda s: s.num_classes),
        self_pairs=("include", "exclude"),
        num_views=2,
        alpha=[0.1, 0.9],
    )
    assert len(space.slices) == 2 * 2 * 2 * 2
    assert [each.size for each in space.slices] == sorted(each.size for each in space.slices)
    assert list(space.ranges) == ["temperature"]
    first = space.slices[0]
    assert first.structure == sx.ClassStructure((2, 2), 2)
    assert first.dim == 2
    assert dict(first.choices) == {"self_pairs": "include", "mean": "pairs"}
    assert dict(first.fixed) == {"alpha": 0.1}


def test_cells_become_problems_of_one_shape_each():
    space = Space(num_classes=2, num_instances=(2, 3), temperature=[0.5, 1.0])
    spots = space.grid(1)
    assert len(spots.slices) == 2 * 2 * 3
    seen = np.zeros(len(spots.slices), bool)
    table = space.coordinates(spots)
    for rows, problem in space.problems_at(spots):
        seen[rows] = True
        assert problem.dim == problem.structure.total_instances - 1
        loss = cast(sx.SupCL, problem.loss)
        assert np.array_equal(table["alpha"].to_numpy()[rows], loss.alpha)
        assert np.array_equal(table["temperature"].to_numpy()[rows], loss.temperature)
    assert seen.all()


def test_a_constraint_keeps_cells_from_being_solved():
    space = Space(num_classes=(2, 3), dim=(2, 3), where=lambda cell: cell.dim >= cell.num_classes)
    dims = {(p.structure.num_classes, p.dim) for p in space.problems("quick")}
    assert dims == {(2, 2), (2, 3), (3, 3)}


def test_unequal_classes_and_a_single_list_of_sizes():
    space = Space(sizes=(4, 2), alpha=0.5, temperature=1.0)
    (problem,) = space.problems()
    assert problem.structure == sx.ClassStructure((4, 2))
    assert space.coordinates(space.grid(0))["num_instances"].to_list() == [None]


def test_another_loss_brings_its_own_hyper_parameters():
    space = Space(sizes=(1, 1, 1), num_views=2, loss=sx.losses.Sigmoid, scale=Range(1, 9), bias=0.5)
    (problem,) = space.problems("quick")
    assert isinstance(problem.loss, sx.losses.Sigmoid)
    loss: Any = problem.loss
    assert loss.scale.tolist() == [1, 3, 5, 7, 9]
    assert loss.bias.tolist() == [0.5] * 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": ()}, "num_classes must not be empty"),
        ({"num_instances": []}, "num_instances must not be empty"),
        ({"alpha": []}, "alpha must not be empty"),
        ({"tau": 1.0}, "SupCL has no hyper-parameter 'tau'; it has alpha, temperature"),
        ({"loss": sx.losses.Sigmoid, "scale": 1.0}, "bias of Sigmoid is missing; give a Range"),
        ({"num_classes": 1}, "num_classes must be an integer of at least 2; got 1"),
    ],
)
def test_bad_spaces(options, message):
    with pytest.raises(ValueError, match=message):
        Space(**options)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (lambda cell: cell.delta2.low > 0, "the constraint of the space raised AttributeError"),
        (lambda cell: cell.alpha, "must return a boolean for each of 81 cells; got shape"),
        (lambda cell: np.ones(3, bool), r"got shape \(3,\) of bool"),
    ],
)
def test_bad_constraints(where, message):
    with pytest.raises(ClaimError, match=message):
        Space(num_classes=2, num_instances=2, where=where).problems()
