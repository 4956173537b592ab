"""Towers, prototypes, batches and bounded similarities as cells: solved, tabulated, conjectured."""

import re
import time
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
import polars as pl
import pytest

import ssem_jax as sx
from ssem_jax import losses
from ssem_jax.certificate import certify_program
from ssem_jax.claims import files, told
from ssem_jax.claims.cells import Cells
from ssem_jax.claims.refinement import search_all
from ssem_jax.sweeps.table import problem_of

FILE = Path(__file__).parents[2] / "proofs_numeric" / "conjectures" / "other_structures.py"
BALANCED = sx.ClassStructure.balanced
WIDE = 1e-5
"""Width of a bracket where the gap is 1e-12."""


@pytest.fixture(scope="module")
def table():
    """One cell of each structure, as a sweep tabulates it."""
    contrast = losses.Contrast(1.0, {"view": 1.0, "between": 1.0}, {"within": 1.0})
    problems = [
        sx.Problem(BALANCED(2, 2, 2), 8, losses.CrossModal(0.2, 0.5)),
        sx.Problem(BALANCED(3, 4), 12, sx.SupCL(0.6, 0.5), least=0),
        sx.Problem(BALANCED(1000, 10), 10_000, losses.RandomBatches(0.99, 0.2, 64)),
        sx.Problem(BALANCED(2, 2, 2), 8, losses.KindContrast(0.5, [contrast])),
    ]
    return sx.sweep(problems)


def test_cells_are_certified_and_keep_their_phase(table):
    assert table["gap"].max() < 1e-10
    assert table["least"].to_list() == [None, 0.0, None, None]
    assert table["phase"].to_list()[1:3] == ["spread", "spread"]
    assert (table["delta2_hi"] - table["delta2_lo"]).max() < 1e-4
    assert table["status"].null_count() == len(table)
    assert table["convexity"].unique().to_list() == ["proven"]


def test_rows_are_problems_again(table):
    for number, made_by in ((0, losses.CrossModal), (1, sx.SupCL), (2, losses.RandomBatches)):
        row = table.row(number, named=True)
        problem = problem_of(row, made_by)
        assert problem.least == row["least"]
        assert type(problem.loss) is made_by
        assert certify_program(problem).lower[0] == row["lower"]
    kinds: Any = problem_of(table.row(3, named=True), losses.KindContrast).loss
    weights = kinds.contrasts[0].against
    assert {name: float(weight[0]) for name, weight in weights.items()} == {"view": 1, "between": 1}


def test_similarities_are_bracketed_by_name(table):
    towers = Cells(table[[0]], losses.CrossModal)
    matched, others = (towers.similarity(f"other·{name}") for name in ("self", "within"))
    assert matched.high[0] < others.low[0]
    assert matched.high[0] - matched.low[0] < WIDE
    both = towers.similarity("within")  # within towers and across them
    same = towers.similarity("self·within (2)")
    assert both.low[0] - WIDE < (same.low[0] + others.low[0]) / 2 < both.high[0] + WIDE
    bounded = Cells(table[[1]])
    assert 0 <= bounded.similarity("between").high[0] < WIDE
    assert bounded.similarity("between").low[0] == 0
    with pytest.raises(ValueError, match=r"no pairs of the kind 'near'; the kinds are within, be"):
        bounded.similarity("near")


@pytest.mark.slow
def test_free_minima_are_bracketed_by_what_symmetry_leaves():
    """The optimum of the program, as embeddings, is certified by the dual matrix itself."""
    structure, loss = BALANCED(2, 1, 2), losses.CrossModal(1.0, 0.5)
    rows = np.array([[1.0, 0], [1, 0], [-1, 0], [-1, 0]])
    found = sx.certify_embeddings(rows, structure, loss)
    assert float(found.gap) < 1e-12
    assert float(found.phase) == sx.Phase.COLLAPSE
    program = certify_program(sx.Problem(structure, None, loss))
    assert float(found.value) == pytest.approx(float(program.value), abs=1e-12)


def test_a_space_has_bounds_and_structures_as_axes():
    space = sx.Space(num_classes=2, num_instances=2, least=(None, 0), temperature=0.5, alpha=0.5)
    assert [(each.dim, each.least) for each in space.slices] == [(3, None), (4, 0.0)]
    assert space.coordinates(space.grid(1))["least"].to_list() == [None, 0.0]
    ((_, first), (_, second)) = space.problems_at(space.grid(1))
    assert (first.least, second.least) == (None, 0.0)
    grid = sx.Grid([BALANCED(2, 2)], "full", [0.5], [0.5], least=0)
    assert [(each.dim, each.least) for each in grid.problems()] == [(4, 0.0)]
    assert jax.tree.structure(first) != jax.tree.structure(second)


PLAIN = BALANCED(2, 2)
BOUNDED = sx.Problem(PLAIN, 4, sx.SupCL(0.5, 0.5), least=0)
OTHER = losses.Spectral(0.5, 1.0)
REFUSED = [
    (lambda: sx.Problem(PLAIN, 4, OTHER, least=1), r"in \[-1, 1\) or None; got 1"),
    (
        lambda: sx.Problem(PLAIN, 4, OTHER, least=cast(Any, "0")),
        r"least must be a num.* got '0'",
    ),
    (lambda: sx.Space(least=[0, 2]), r"must be a number in \[-1, 1\) or None; got 2"),
    (lambda: sx.Grid([PLAIN], 4, [0.5], [0.5], least=np.nan), r"least, which bounds .* got nan"),
    (lambda: sx.solve(BOUNDED, 0), r"similarities are bounded by least = 0, which is kept by"),
    (lambda: sx.sweep([BOUNDED], witness="certificate"), r"bounded by least = 0"),
    (
        lambda: certify_program(sx.Problem(BALANCED(2, 33), 66, OTHER, least=0)),
        r"Spectral does not say its terms, from which a program is made; SupCL does",
    ),
    (
        lambda: sx.certify_embeddings(
            np.eye(4), PLAIN, sx.SupCL(0.5, 0.5), reference=certify_program(BOUNDED)
        ),
        r"certifies another problem: least is 0\.0 there and None here",
    ),
    (
        lambda: certify_program(sx.Problem(PLAIN, 3, sx.SupCL(0.5, 0.5), least=0)),
        r"that of every dimension; got dim = 3, below 4 embeddings",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_conjectures_of_other_structures_are_short():
    for claim in files.conjectures(files.load(FILE)):
        assert isinstance(claim, sx.Claim)
    blocks = FILE.read_text().split(" = sx.Claim(")[1:]
    assert len(blocks) == 10
    assert all(block.index("\n)") == len(block[: block.index("\n)")]) for block in blocks)
    assert all(block[: block.index("\n)")].count("\n") < 9 for block in blocks)


def test_a_counterexample_comes_with_its_bound():
    least = sx.Claim(
        name="least",
        statement="Nonnegative classes collapse at every α.",
        margin=lambda cell: sx.certificate.COLLAPSE_TOLERANCE - cell.delta2,
        domain=sx.Space(num_classes=2, num_instances=2, least=0, alpha=[0.9], temperature=[0.5]),
    )
    trial = sx.search(least, budget=1)
    assert trial.judgement.verdict is sx.Verdict.REFUTED
    assert "loss=sx.SupCL(" in trial.snippet
    assert ", least=0.0)" in trial.snippet
    assert "certify_program(problem)" in trial.snippet
    assert "least=0" in told.describe(trial)


def test_a_counterexample_says_what_its_maker_was_asked_for():
    """A function's arguments need not be hyper-parameters of the loss that it makes."""
    (claim,) = (c for c in files.conjectures(files.load(FILE)) if c.name == "own_views_part")
    trial = sx.search(claim, budget=2)
    assert trial.judgement.verdict is sx.Verdict.REFUTED
    assert re.search(r"loss=against_views\(view=[\d.]+, temperature=0\.5\)", trial.snippet)


@pytest.mark.slow
def test_conjectures_of_other_structures_are_decided():
    trials = list(search_all(files.conjectures(files.load(FILE)), budget=12))
    assert [trial.claim.name for trial in trials if not trial.as_expected] == []
    assert all(isinstance(trial.table, pl.DataFrame) for trial in trials)


def test_a_hundred_classes_of_three_sizes_are_three():
    """What symmetry leaves are 3 × 3 blocks, in cells and claims alike."""
    structure = sx.ClassStructure((8,) * 40 + (4,) * 30 + (2,) * 30)
    problem = sx.Problem(structure, structure.num_embeddings, sx.SupCL(0.97, 0.3), least=-1)
    cells = Cells(sx.sweep([problem]))
    assert cells.certified.all()
    variances, products = cells.class_delta2, cells.class_products
    assert variances.low.shape == (1, 100)
    assert products.low.shape == (1, 4950)
    assert [len(np.unique(ends)) for ends in (variances.low, products.low)] == [3, 6]
    shares = np.asarray(structure.class_shares)
    assert np.all(variances.low @ shares <= cells.delta2.high)
    assert np.all(variances.high @ shares >= cells.delta2.low)
    assert float(np.max(variances.high - variances.low)) < 1e-3
    assert float(np.max(products.high - products.low)) < 1e-2
    start = time.process_time()
    found = certify_program(sx.Problem(structure, None, sx.SupCL(0.5, 0.3)))
    assert time.process_time() - start < 1
    assert float(found.gap) < 1e-9
