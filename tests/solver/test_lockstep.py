"""Cells as lanes, as on accelerators, against cells one after another; here on a CPU."""

import jax
import numpy as np
import pytest

from ssem_jax.certificate import certify
from ssem_jax.certificate.dual import bound_chunk
from ssem_jax.compute import kernels
from ssem_jax.losses import SupCL
from ssem_jax.problem import ClassStructure, Problem, Status
from ssem_jax.solver import solve

VALUE = 1e-13
"""Rounding of a loss of size ≤ 5 on two ways, ten roundings each."""

LEVEL = 1e-12
"""Margins and shifts of a lower bound, a few dozen roundings."""


def both_ways(monkeypatch, work):
    """What is found with cells in turn, and with cells as lanes."""
    found = []
    for wish in ("0", "1"):
        monkeypatch.setenv(kernels.BATCHED_VARIABLE, wish)
        found.append(work())
    return found


def test_lanes_find_what_cells_in_turn_find(monkeypatch):
    """Collapsed and spread ones, beyond saddles, each from its own start; and their bounds."""
    structure, alpha = ClassStructure((2, 2)), np.array([0.1, 0.3, 0.6, 0.9, 1.0])
    loss = SupCL(alpha, np.array([0.5, 0.1, 0.5, 2.0, 0.3]))
    problem, prepared = Problem(structure, 3, loss), loss.prepare(structure)

    def work():
        solution = solve(problem, jax.random.key(0))
        return solution, bound_chunk(loss, prepared, solution.embeddings, 5)

    (turns, bound), (lanes, side) = both_ways(monkeypatch, work)
    assert np.all(lanes.status == Status.CONVERGED)
    assert np.max(lanes.starts) == 1
    assert np.allclose(turns.value, lanes.value, rtol=0, atol=VALUE)
    assert np.all(np.abs(lanes.products - turns.products) <= 2)
    assert np.allclose(bound.lower, side.lower, rtol=0, atol=LEVEL)
    assert np.all(side.value + side.value_rounding >= side.lower)


@pytest.mark.slow  # compiles for a minute
@pytest.mark.parametrize(
    ("counts", "dim", "start"), [((3, 4, 1), 16, "simplex"), ((3, 3, 1), 4, "gaussian")]
)
def test_lanes_come_to_the_same_verdicts(monkeypatch, counts, dim, start):
    """Also where dimensions do not suffice: saddles, paths, several starts, shifts that fail."""
    alpha, tau = (
        each.ravel() for each in np.meshgrid(np.linspace(0, 1, 5), np.geomspace(0.05, 5, 5))
    )
    problem = Problem(ClassStructure.balanced(*counts), dim, SupCL(alpha, tau))

    def work():
        solution = solve(problem, jax.random.key(0), start=start)
        return solution, certify(solution)

    (turns, certified), (lanes, found) = both_ways(monkeypatch, work)
    assert np.array_equal(turns.status, lanes.status)
    assert np.allclose(turns.value, lanes.value, rtol=0, atol=VALUE)
    assert np.array_equal(certified.phase, found.phase)
    assert np.array_equal(certified.certified, found.certified)
    assert np.allclose(certified.gap, found.gap, rtol=1e-6, atol=LEVEL)


def test_lanes_that_go_on_are_gathered_into_smaller_chunks():
    """Lane k needs k turns: chunks of 64 until 16 are left, and then of 16."""
    sizes, lanes = [], np.arange(40)

    def work(shared, lanes, places):
        assert shared == "shared"
        sizes.append(len(places))
        few = kernels.few_of(places)
        lanes = lanes.copy()
        here = places < len(lanes)
        while np.sum(lanes[places[here]] > 0) > few:
            lanes[places[here]] = np.maximum(lanes[places[here]] - 1, 0)
        return lanes, np.where(here, lanes[np.minimum(places, len(lanes) - 1)] > 0, True)

    left = kernels.while_going(work, "shared", lanes, np.flatnonzero(lanes))
    assert not left.any()
    assert sizes == [40, 16]  # no more places than lanes


def test_places_that_are_none_change_nothing():
    lanes = {"a": np.arange(4.0), "b": np.arange(8).reshape(4, 2)}
    places = np.array([2, 0, 4, 4])
    some = jax.jit(kernels.at_places)(lanes, places)
    assert np.array_equal(some["a"][:2], [2, 0])
    back = jax.jit(kernels.put_back)(lanes, places, jax.tree.map(lambda leaf: -leaf - 1, some))
    assert np.array_equal(back["a"], [-1, 1, -3, 3])
    assert np.array_equal(back["b"][3], lanes["b"][3])


@pytest.mark.parametrize(("wish", "lanes"), [("1", True), ("0", False), ("", False)])
def test_the_platform_or_the_variable_says_whether_cells_are_lanes(monkeypatch, wish, lanes):
    monkeypatch.setenv(kernels.BATCHED_VARIABLE, wish)
    monkeypatch.setattr(kernels.jax, "default_backend", lambda: "cpu")
    assert kernels.batched() == lanes
    monkeypatch.setattr(kernels.jax, "default_backend", lambda: "gpu")
    assert kernels.batched() == (wish != "0")


def test_chunks_of_lanes_are_of_few_sizes(monkeypatch):
    monkeypatch.setenv(kernels.BATCHED_VARIABLE, "1")
    assert [kernels.num_lanes(count) for count in (1, 16, 17, 1024, 1025)] == [
        16,
        16,
        64,
        1024,
        4096,
    ]
    assert kernels.chunk_capacity(1) == kernels.MOST_LANES
    assert kernels.chunk_capacity(10_000) == 1024
    assert kernels.chunk_capacity(2**22) == 4
    calls = []

    def work(chunk, count):
        calls.append((len(chunk), int(count)))
        return chunk

    for chunk, results in kernels.run_chunks(work, np.arange(70), 64):
        assert np.array_equal(chunk, results)
    assert sorted(calls) == [(16, 6), (64, 64)]
