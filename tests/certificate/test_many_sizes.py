"""Classes of many different sizes, by what symmetry leaves of them. Nothing is compiled.

Free embeddings are minimised from the definition of the loss, in NumPy.
"""

from typing import cast

import numpy as np
import pytest
from scipy.optimize import minimize

from ssem_jax.certificate.symmetry import Level, newton, solve_program
from ssem_jax.certificate.symmetry.blocks import block_diagonalise
from ssem_jax.certificate.symmetry.program import Program, central_path, drift
from ssem_jax.certificate.symmetry.programs import (
    SIZES_LIMIT,
    arranged,
    instance_variances,
    program_of,
    quantities_of,
    quantity_ends,
)
from ssem_jax.compute.kernels import one_thread
from ssem_jax.losses import SupCL
from ssem_jax.losses.terms import WITHIN
from ssem_jax.problem import ClassStructure

STRUCTURE = ClassStructure(tuple(range(1, SIZES_LIMIT + 1)))
FREE = 1e-3
"""By how much L-BFGS on 136 free embeddings stops above the optimum. Seen: 2e-5 in 300 steps."""
OPTIONS = {"maxiter": 150, "maxfun": 150, "ftol": 1e-14}
NOISE = 0.01
"""Of every coordinate where the descent begins: vectors as long as .12."""
GAP = 1e-11
"""Certified gap. Seen: 1e-12, of 136 to 14,000 points."""
DIFFERENCE = 1e-4
"""Relative error of a difference quotient over 1e-6 of α on the central path. Seen: 1e-6."""


def loss_of_gram(gram, alpha, tau):
    """The loss, pairs of a class alike and with self pairs, and its slope."""
    ids, sizes = STRUCTURE.class_ids, np.array(STRUCTURE.sizes)
    number, pairs = len(gram), np.sum(sizes * (sizes - 1))
    positive = (ids[:, None] == ids) & ~np.eye(number, dtype=bool)
    pull = (1 - alpha) * positive / pairs + alpha * np.eye(number) / number
    parts = np.exp(gram / tau)
    weight = pull.sum(axis=1)
    value = weight @ np.log(parts.sum(axis=1)) - np.sum(pull * gram) / tau
    return value, (weight[:, None] * parts / parts.sum(axis=1, keepdims=True) - pull) / tau


def freely_minimised(alpha, tau, gram):
    """Embeddings, from some near those of a Gram matrix, and their loss."""
    shape = gram.shape

    def function(flat):
        raw = flat.reshape(shape)
        lengths = np.linalg.norm(raw, axis=1, keepdims=True)
        rows = raw / lengths
        value, slope = loss_of_gram(rows @ rows.T, alpha, tau)
        pull = (slope + slope.T) @ rows
        return value, ((pull - rows * np.sum(pull * rows, axis=1, keepdims=True)) / lengths).ravel()

    start = np.linalg.cholesky(gram + 1e-9 * np.eye(len(gram)))
    start += NOISE * np.random.default_rng(0).standard_normal(shape)
    found = minimize(function, start.ravel(), jac=True, method="L-BFGS-B", options=OPTIONS)
    rows = found.x.reshape(shape)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), found.fun


@pytest.mark.slow
@one_thread()
def test_brackets_hold_a_free_minimum():
    alpha = 0.4
    loss = SupCL(alpha, 0.3)
    arrangement, program = arranged(loss, STRUCTURE), program_of(loss, STRUCTURE)
    solved = solve_program(program)
    sizes = np.array(STRUCTURE.sizes)[STRUCTURE.class_ids].astype(str)
    known = program.entries(solved.x).items()
    entries = {(k.source, k.target): x for k, x in known if k.relation != WITHIN}
    within = {k.source: x for k, x in known if k.relation == WITHIN}
    gram = np.array([[entries.get((a, b), within.get(a, 1.0)) for b in sizes] for a in sizes])
    np.fill_diagonal(gram, 1)
    rows, value = freely_minimised(alpha, 0.3, gram)
    assert np.isclose(value, float(loss.from_gram(rows @ rows.T, STRUCTURE)), rtol=1e-12)
    assert solved.gap < GAP
    assert solved.lower <= value <= solved.value + FREE
    low, high = quantity_ends(arrangement, STRUCTURE, [Level(program, value, solved)])
    ids = STRUCTURE.class_ids
    means = np.stack([rows[ids == k].mean(axis=0) for k in range(STRUCTURE.num_classes)])
    delta2 = np.mean(np.sum((rows - means[ids]) ** 2, axis=1))
    found = np.array([0.0, delta2, np.sum(rows.mean(axis=0) ** 2)])
    assert np.all((low[0, :3] <= found + 1e-12) & (found <= high[0, :3] + 1e-12))
    at_optimum = quantities_of(arrangement, STRUCTURE)
    inside = (at_optimum.slopes @ solved.x + at_optimum.constants)[:3]
    assert np.all((low[0, :3] <= inside + 1e-12) & (inside <= high[0, :3] + 1e-12))


@one_thread()
def test_eighteen_sizes_leave_one_large_block_and_a_small_gap():
    structure = ClassStructure(tuple(2 + k % 18 for k in range(60)))
    program = program_of(SupCL(0.5, 0.1), structure)
    dims = [block.dim for block in block_diagonalise(program.algebra)]
    assert dims == [18] + [1] * (2 * 18)
    assert solve_program(program).gap < GAP


def test_points_of_the_central_path_move_as_fast_as_they_should():
    structure, step = ClassStructure((9, 7, 5, 3, 2)), 1e-6

    def program(alpha: float) -> Program:
        return cast(Program, program_of(SupCL(alpha, 0.3), structure))

    programs = [program(0.4 + k * step) for k in (-1, 0, 1)]
    paths = [central_path(program)[-1].path for program in programs]
    ends = [program(alpha) for alpha in (0.0, 1.0)]
    x = paths[1].x[0]
    rate = drift(programs[1], paths[1], ends[1].slope(x) - ends[0].slope(x))
    variances = instance_variances(arranged(SupCL(0.4, 0.3), structure), structure).slopes
    assert np.all(variances[1:] @ x + 1 > 1e-3)  # all of them have parted
    found = (paths[2].x - paths[0].x)[0] / (2 * step)
    assert np.allclose(found, rate, rtol=0, atol=DIFFERENCE * np.abs(rate).max())


@pytest.mark.parametrize("inverted", [True, False])
def test_a_lane_that_rounding_makes_singular_takes_no_step(monkeypatch, inverted):
    """The others take theirs: NumPy gives up all of a batch for one."""
    if not inverted:
        monkeypatch.setattr(newton, "INVERTED", 1)
    regular = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 3.0]])
    singular = np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    right, whole = np.array([[1.0, -2.0, 0.5]]), np.zeros(1, bool)
    alone = newton._solver(regular[None].copy(), whole)(right)
    assert np.allclose(regular @ alone[0], right)
    both = np.stack([singular, regular])
    with_other = newton._solver(both, np.zeros(2, bool))(np.repeat(right, 2, 0))
    assert np.array_equal(with_other[0], np.zeros(3))
    assert np.allclose(with_other[1], alone[0], rtol=1e-14)


def test_steps_keep_ties_and_functions_know_it():
    """Entries of D count in a tie by the size of their blocks, down to 1e-16 of the largest."""
    ties = np.array([[[1e-16, 1.0, -1.0, 3e-16, 0.0], [0.0, 2.0, 1e-16, 1e-15, 1.0]]])
    untied = newton.Untied(ties)
    left = np.array([[0.7, -0.4, 0.3]])
    steps = untied.steps(left)
    assert np.allclose(ties[0] @ steps[0], 0, atol=1e-16)
    function = np.array([[[1e-16, 0.5, -2.0, 1.0, 1e-16]]])
    assert np.allclose(untied.rows(function)[0] @ left[0], function[0] @ steps[0], rtol=1e-15)


def test_a_lane_whose_ties_depend_on_each_other_is_lost():
    ties = np.array([[[1.0, 2.0, 0.0], [2.0, 4.0, 0.0]], [[1.0, 2.0, 0.0], [0.0, 1.0, 1.0]]])
    assert newton.Untied(ties).lost.tolist() == [True, False]


def test_a_lane_that_overflows_or_is_lost_takes_no_step():
    regular = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 3.0]])
    overflown = np.where(np.eye(3) > 0, regular, np.inf)
    whole = np.stack([regular, regular, np.full((3, 3), np.inf), overflown])
    right = np.array([1.0, -2.0, 0.5])
    found = newton._solver(whole.copy(), np.arange(4) == 0)(np.tile(right, (4, 1)))
    assert np.array_equal(found[[0, 2, 3]], np.zeros((3, 3)))
    assert np.allclose(regular @ found[1], right)
