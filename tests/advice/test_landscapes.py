"""Landscapes: what optimisers come to, told apart, counted, kept; planted minima are caught."""

import json
import sys
from typing import Any

import jax
import numpy as np
import polars as pl
import pytest

import ssem_jax as sx
from proofs_numeric.conjectures import spurious_minima as conjecture
from ssem_jax import show
from ssem_jax.advice.landscapes import group
from ssem_jax.cli import main
from ssem_jax.solver.descents import Descents

module = sys.modules["ssem_jax.advice.landscapes"]
STRUCTURE = sx.ClassStructure((2, 2))
STARTS, STEPS = 12, 200
HOW: dict[str, Any] = {"num_starts": STARTS, "steps": STEPS}
LOWEST = module.lowest


def problem(alphas=(0.2, 1.0)):
    return sx.Problem(STRUCTURE, 2, sx.SupCL(np.array(alphas), np.full(len(alphas), 0.5)))


def known(structure, dim, loss, key):
    """The lower bound without a solver: codes at α = 1, the closed form of all dimensions else."""
    bound = float(sx.balls.least_in_dimension(sx.Problem(structure, dim, loss))[0])
    counts = structure.num_classes, structure.sizes[0], 1
    return bound if loss.alpha == 1 else float(sx.theory.loss(*counts, loss.alpha, 0.5))


@pytest.fixture(scope="module", autouse=True)
def bounds():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "lowest", known)
        yield


@pytest.mark.slow  # it compiles a solver
def test_the_bound_is_that_of_all_dimensions_or_of_codes():
    for alpha in (0.2, 1.0):
        loss = sx.SupCL(np.float64(alpha), np.float64(0.5))
        found = LOWEST(STRUCTURE, 2, loss, jax.random.key(0))
        assert found == pytest.approx(known(STRUCTURE, 2, loss, None), abs=1e-9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("landscape") / "run"


@pytest.fixture(scope="module")
def adam(folder):
    return sx.landscape(problem(), 0, **HOW, out=folder)


def test_the_usual_way_finds_what_is_easy(adam):
    """In the plane: two antipodal pairs at α = 0.2, a square at α = 1, best by the bound of R^2.

    Which corners of the square are of one class is no matter then: neighbours, or opposite ones.
    """
    assert len(adam.table) == 2 * STARTS
    cells = adam.cells
    assert cells["starts"].to_list() == [STARTS] * 2
    assert np.all(np.abs(cells["best_gap"].to_numpy()) < 1e-9)
    assert cells["above"].max() < STARTS
    assert cells["missed"].to_list() == cells["above"].to_list()  # the best attains the bound
    lowest = adam.critical.filter(pl.col("kind") == 0)
    assert lowest["index"].to_list() == [0, 0]
    collapsed, square = lowest["delta2"]
    assert abs(collapsed) < 1e-6
    assert min(abs(square - 0.5), abs(square - 1)) < 1e-6
    assert adam.critical["gradient"].max() < 1e-9
    assert adam.critical["starts"].sum() == 2 * STARTS
    assert f"of {STARTS} end above 1e-06" in next(adam.lines())
    assert repr(adam).startswith("<Landscape: ")


def test_paths_begin_at_the_start_and_end_at_the_gap(adam):
    values = np.array(adam.table["values"].to_list())
    assert np.allclose(values[:, -1], adam.table["gap"], atol=1e-6)
    total = np.array(adam.table["within"].to_list()) + np.array(adam.table["between"].to_list())
    assert total.shape == values.shape
    assert np.all(total <= 1 + 1e-6)


def test_a_finished_cell_is_read_again(adam, folder, monkeypatch):
    monkeypatch.setattr(module, "_follow", None)
    again = sx.landscape(problem(), 0, **HOW, out=folder)
    assert again.table.equals(adam.table)


def test_the_command_tells_and_draws(adam, folder, capsys, monkeypatch):
    """The folder holds its cells already: nothing is computed."""
    monkeypatch.setattr(module, "_follow", None)
    monkeypatch.setenv("SSEM_CACHE", "off")
    asked = ["landscape", "--sizes", "2,2", "--dim", "2", "--alpha", "0.2,1", "--starts", "12"]
    asked += ["--steps", "200", "--out", str(folder)]
    with pytest.raises(SystemExit) as ended:
        main(asked)
    assert ended.value.code == 0
    assert "critical points" in capsys.readouterr().out
    assert (folder / "landscape.svg").stat().st_size > 1000
    with pytest.raises(SystemExit):
        main([*asked, "--json"])
    assert len(json.loads(capsys.readouterr().out)["cells"]) == 2


def test_newton_ends_at_critical_points():
    found = sx.landscape(problem((1.0,)), 1, STARTS, "newton", start="classes")
    assert np.abs(found.table["gap"] - found.table["critical_gap"]).max() < 1e-12


def descents(points):
    gram = points @ points.transpose(0, 2, 1)
    values = np.log(np.exp(2 * (gram - 1)).sum(2)).mean(1)
    flat = np.repeat(values[:, None], 3, axis=1)
    return Descents(flat, 0 * flat, 0 * flat, points, values, 0 * values)


def test_rotations_and_relabelled_instances_are_one_critical_point():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(4, 2))
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    turned = base @ np.linalg.qr(rng.normal(size=(2, 2)))[0]
    swapped, classes, other = turned[[1, 0, 2, 3]], turned[[2, 3, 0, 1]], turned[[2, 1, 0, 3]]
    kinds, ranked = group(descents(np.stack([base, turned, swapped, classes, other])), STRUCTURE)
    assert kinds[:4].tolist() == [kinds[0]] * 4
    assert kinds[4] != kinds[0]  # an instance of another class is another point
    assert len(ranked) == 2


def spurious(monkeypatch, points, problem, forged):
    """How critical points that are planted are called, the lowest last."""
    monkeypatch.setattr(module, "descend", lambda *_: points)
    if forged:
        monkeypatch.setattr(module, "curvature", lambda *_: (np.ones(8), np.ones(4)))
    return sx.landscape(problem, 0, len(points.values))


def test_a_saddle_is_not_spurious_and_never_proven(monkeypatch):
    """A pair of pairs is critical at α = 1 and no minimum; by a forged Hessian it is "seen"."""
    square = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    pairs = np.array([[1.0, 0], [1, 0], [-1, 0], [-1, 0]])
    planted = descents(np.stack([square, pairs, square]))
    honest = spurious(monkeypatch, planted, problem((1.0,)), False)
    assert honest.table["spurious"].to_list() == ["no"] * 3
    assert honest.critical["index"].to_list()[1] > 0
    assert honest.table["kind"].to_list() == [0, 1, 0]
    forged = spurious(monkeypatch, planted, problem((1.0,)), True)
    assert forged.table["spurious"].to_list() == ["no", "seen", "no"]
    assert forged.cells.select("missed", "spurious", "proven").rows() == [(1, 1, 0)]


def test_a_planted_spurious_minimum_is_proven(monkeypatch):
    """Collapse in R^3, of four classes of three instances, and better embeddings; in larger d the
    same rows are no minimum, whatever their Hessian is said to be."""
    structure = sx.ClassStructure.balanced(conjecture.M, conjecture.N)
    loss = sx.SupCL(np.array([conjecture.ALPHA]), np.array([conjecture.TAU]))
    better = np.array([*np.repeat(conjecture.COLLAPSED, 3, axis=0), *conjecture.SPREAD])
    for dim, word in ((3, "proven"), (4, "seen")):
        rows = np.zeros((2, 12, dim))
        rows[:, :, :3] = np.repeat(conjecture.SIMPLEX, 3, axis=0) / np.sqrt(3), better
        rows /= np.linalg.norm(rows, axis=2, keepdims=True)
        cell = sx.SupCL(conjecture.ALPHA, conjecture.TAU)
        values = np.array([float(sx.balls.enclose_loss(each, structure, cell)) for each in rows])
        flat = np.repeat(values[:, None], 3, axis=1)
        planted = Descents(flat, 0 * flat, 0 * flat, rows, values, 0 * values)
        found = spurious(monkeypatch, planted, sx.Problem(structure, dim, loss), True)
        assert found.table["spurious"].to_list() == [word, "no"]
        told = f"1 starts at local minima above the lowest, {dim == 3:d} of them at proven ones"
        assert told in next(found.lines())
        assert found.critical["spurious"].to_list() == ["no", word]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "sgd"}, "method must be one of 'adam', 'descent', 'newton'"),
        ({"start": "zero"}, "start must be one of 'gaussian', 'classes'"),
        ({"num_starts": 0}, "num_starts must be an integer of at least 1"),
        ({"steps": 0}, "steps must be an integer of at least 1"),
        ({"rate": -1.0}, "rate must be positive and finite"),
    ],
)
def test_what_makes_no_landscape_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        sx.landscape(problem(), 0, **change)


def test_a_picture_needs_a_landscape():
    with pytest.raises(show.PlotError, match="a landscape is drawn from the table of"):
        show.draw_landscape(pl.DataFrame({"gap": [1.0]}))
