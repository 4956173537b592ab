"""The search: planted truths, shrinking, and what makes it stop."""

import dataclasses
import sys
import threading
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import planted
import polars as pl
import pytest

import ssem_jax as sx
from ssem_jax.claims import Claim, ClaimError, Proof, Range, Space, Theorem, Verdict, files, search
from ssem_jax.claims.refinement import search_all
from ssem_jax.claims.snippets import one_line, simpler
from ssem_jax.claims.source import Source
from ssem_jax.claims.told import describe

SMALL = Space(num_classes=2, num_instances=2, temperature=planted.WARM)

SLOW = {"closed_form", "low_alpha_collapses", "majority_guideline"}
"""Truths over structures of many shapes, each of which compiles its kernels."""


def table_of(trial: sx.claims.Trial) -> pl.DataFrame:
    """The cells that a trial computed."""
    assert trial.table is not None
    return trial.table


@pytest.fixture(scope="module")
def source():
    return Source()


def certified(table):
    return table.filter(table["gap"] <= 1e-9)


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param(each, marks=pytest.mark.slow) if each.name in SLOW else each
        for each in planted.TRUE
    ],
    ids=lambda claim: claim.name,
)
def test_planted_truths_hold(claim, source):
    trial = search(claim, planted.SHARE, source)
    assert trial.judgement.verdict is Verdict.HOLDS, trial.judgement.reason
    assert trial.judgement.cells > 200
    assert len(certified(table_of(trial))) == len(table_of(trial))
    assert trial.judgement.margin >= 0
    assert trial.slices[0] == trial.slices[1]
    assert trial.snippet == ""


@pytest.mark.parametrize("claim", planted.FALSE, ids=lambda claim: claim.name)
def test_planted_falsehoods_are_refuted_by_a_certified_cell(claim, source):
    trial = search(claim, planted.SHARE, source)
    assert trial.judgement.verdict is Verdict.REFUTED
    cells = [trial.judgement.counterexample]
    cells += cells[0].get("followed_by", [])
    assert all(cell["gap"] <= 1e-9 for cell in cells)
    assert all(cell["sizes"] == "2,2" for cell in cells)  # the smallest of the space
    names = trial.table.columns
    rows = [{name: cell[name] for name in names} for cell in cells]
    groups = [sx.claims.Cells(pl.DataFrame([row], schema=trial.table.schema)) for row in rows]
    assert claim.margin(*groups).high[0] < 0


def test_the_false_corners_are_one_or_two_hundredths_of_their_domains_at_most():
    random = np.random.default_rng(0)
    alpha, tau = random.uniform(0, 0.99, 200_000), random.uniform(1, 5, 200_000)
    wrong = sx.theory.delta2(2, 2, 1, alpha, tau) > 0.6
    assert 0 < np.mean(np.asarray(wrong)) < 0.01
    tau = np.exp(random.uniform(np.log(0.2), np.log(5), 200_000))
    alpha_c = np.asarray(sx.theory.alpha_c(2, 2, 1, tau))
    assert np.mean(0.004 / (alpha_c + 0.004)) < 0.01
    tau = np.geomspace(0.05, 5, 20_000)
    above = np.asarray(sx.theory.delta2(2, 2, 1, 0.8, tau)) > planted.PEAK - 2e-5
    assert 0 < np.mean(above) < 0.02


def test_the_snippet_reproduces_the_counterexample(source):
    trial = search(planted.FALSE[0], planted.SHARE, source)
    scope = {}
    exec(trial.snippet, scope)
    row = trial.judgement.counterexample
    assert float(scope["cell"].gap) == pytest.approx(row["gap"], abs=1e-12)
    _, high = scope["cell"].brackets["delta2"]
    assert high <= 1e-6
    assert high == pytest.approx(row["delta2_hi"], abs=1e-12)
    assert len(f"{row['alpha']:g}") <= 4
    assert len(f"{row['temperature']:g}") <= 4


def test_a_smaller_slice_is_searched_before_a_larger_one_is_shown(source):
    """The first temperature fails in a strip that the coarse grid misses, the second everywhere."""

    def margin(cell):
        strip = abs(cell.alpha - 0.37) - 0.004
        return np.where(cell.temperature < 0.55, strip, -1) + 0 * cell.delta2

    space = Space(num_classes=2, num_instances=2, temperature=[0.5, 0.6])
    budget = sx.claims.Budget(cells=20)
    trial = search(Claim("strip", "a strip", margin, space), budget, source)
    assert trial.judgement.verdict is Verdict.REFUTED
    assert trial.judgement.counterexample["temperature"] == 0.5
    assert trial.judgement.counterexample["alpha"] == pytest.approx(0.37, abs=0.004)


def test_values_of_few_digits_are_tried_from_both_sides():
    assert simpler(Range(0, 1), 0.3714) == [0, 1, 0.4, 0.3, 0.37, 0.38, 0.3714]
    assert simpler(Range(0.3705, 0.3716), 0.3714) == [0.371, 0.3714, 0.3714]


def test_nothing_rests_on_uncertified_cells():
    """In R^2 the spread optimum of two classes of two is out of reach: nothing is certified."""
    space = Space(num_classes=2, num_instances=2, dim=2, alpha=[0.9], temperature=[0.3, 1.0])
    for sign in (1, -1):
        claim = Claim("low", "nothing", lambda cell, sign=sign: sign * np.ones(len(cell)), space)
        trial = search(claim)
        assert trial.judgement.verdict is Verdict.UNDECIDED
        assert trial.judgement.undecided == 2


def test_a_budget_of_seconds_and_of_cells_ends_the_search(source):
    claim = Claim("any", "true", lambda cell: 1 + cell.alpha, SMALL)
    short = search(claim, sx.claims.Budget(cells=100), source)
    assert len(table_of(short)) <= 100 + 200
    assert len(table_of(search(claim, sx.claims.Budget(seconds=1e-9), source))) == 81


def test_the_same_search_twice_is_the_same_and_solves_nothing_anew(tmp_path):
    asked = []

    def counting(problems, **options):
        asked.append(options["out"])
        return sx.sweep(problems, **options)

    claim = Claim("any", "true", lambda cell: 1 - cell.delta2, SMALL)
    first = search(claim, sx.claims.Budget(200), Source(0, tmp_path, solver=counting))
    parts = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    again = search(claim, sx.claims.Budget(200), Source(0, tmp_path, solver=counting))
    assert table_of(again).equals(table_of(first))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == parts
    assert len(asked) == 2 * len(set(asked))


OWN = """
import jax.numpy as jnp, ssem_jax as sx

def weight():
    return SIGN

def make(sign):
    @sx.gram_loss(convex=True, symmetric=True)
    def mine(gram, structure, *, sharpness=1.0):
        apart = structure.class_ids[:, None] != structure.class_ids
        return jnp.mean(jnp.where(apart, jnp.exp(sharpness * gram), sign * weight() * gram))
    return mine

def collapses(name, loss):
    return sx.Claim(
        name, "classes collapse", lambda cell: BOUND - cell.delta2,
        sx.Space(num_classes=2, num_instances=2, loss=loss, sharpness=[0.5, 2.0], dim=4),
    )

pulled, pushed = collapses("pulled", make(-1.0)), collapses("pushed", make(1.0))
"""


def test_an_edited_file_is_judged_anew_in_the_same_folder(tmp_path):
    """The loss pulls a class together, until its helper is edited and it pushes; and two losses of
    one factory are two, in memory and in the folder."""

    def verdicts(sign, bound="1e-3"):
        file = tmp_path / "own.py"
        file.write_text(OWN.replace("SIGN", sign).replace("BOUND", bound))
        source = Source(out=tmp_path / "cells")
        found = search_all(files.conjectures(files.load(file)), sx.claims.Budget(9), source)
        return [str(trial.judgement.verdict) for trial in found]

    assert verdicts("1.0") == ["HOLDS", "REFUTED"]
    parts = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    assert len(parts) > 2
    # Another margin is judged on the cells that are there.
    assert verdicts("1.0", "2.0") == ["HOLDS", "HOLDS"]
    assert verdicts("1.0") == ["HOLDS", "REFUTED"]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == parts
    assert verdicts("-1.0") == ["REFUTED", "HOLDS"]
    assert parts.keys() < set(tmp_path.rglob("*.parquet"))


def test_cells_of_a_loss_without_identity_are_neither_kept_nor_reused(tmp_path, caplog):
    asked, lock = [], threading.Lock()

    @sx.gram_loss(convex=True, symmetric=True)
    def guarded(gram, structure, *, scale=1.0):
        with lock:
            return scale * jnp.mean(gram)

    def solver(problems, **options):
        asked.append(options["out"])
        return pl.DataFrame()

    source = Source(0, tmp_path, solver=solver)
    problem = sx.Problem(sx.ClassStructure((2, 2)), 3, guarded(scale=1.0))
    for _ in range(2):
        source.cells([problem])
    assert asked == [None, None]
    (line,) = [record.message for record in caplog.records]
    assert line.startswith(
        "cells of guarded are neither kept nor reused: guarded → function → lock"
    )
    source.cells([sx.Problem(sx.ClassStructure((2, 2)), 3, sx.SupCL(0.5, 0.5))])
    assert asked[2].parent == tmp_path


@sx.gram_loss(convex=True, symmetric=True)
def flagged(gram, structure, *, sharpness=1.0, push=False, bend=jnp.exp):
    apart = structure.class_ids[:, None] != structure.class_ids
    sign = 1.0 if push else -1.0
    return jnp.mean(jnp.where(apart, bend(sharpness * gram), sign * gram))


def test_what_is_said_of_each_class_is_said_of_the_loss_that_was_solved(source):
    space = Space(
        num_classes=2, num_instances=2, dim=3, loss=flagged, sharpness=[0.5, 1.0], push=[False]
    )
    claim = Claim(
        "every_class_collapses",
        "with push=False every class collapses",
        lambda cell: sx.claims.Interval(
            1e-3 - cell.class_delta2.high.max(1), 1e-3 - cell.class_delta2.low.max(1)
        ),
        space,
    )
    assert search(claim, sx.claims.Budget(9), source).judgement.verdict is Verdict.HOLDS
    false = dataclasses.replace(claim, margin=lambda cell: -claim.margin(cell))
    trial = search(false, sx.claims.Budget(9), source)
    assert trial.judgement.verdict is Verdict.REFUTED
    assert "flagged(sharpness=0.5, push=False, bend=exp))" in trial.snippet
    assert "\nfrom jax.numpy import exp\n" in trial.snippet
    scope = {}
    exec(trial.snippet, scope)
    assert scope["problem"].loss == flagged(sharpness=0.5)
    assert sx.claims.excess(sx.claims.Cells(table_of(trial), flagged)).high.max() < 1e-9


def test_windows_along_a_range_compare_cells_of_one_loss(source):
    """A function as a choice tells losses apart, and a refuted window is always found again."""
    space = Space(
        num_classes=2,
        num_instances=2,
        dim=3,
        loss=flagged,
        sharpness=Range(0.5, 1.0),
        bend=[jnp.exp, lambda x: jnp.exp(2 * x)],
        push=True,
    )
    claim = Claim(
        "falls", "delta2 falls", lambda a, b: a.delta2 - b.delta2, space, along="sharpness"
    )
    trial = search(claim, sx.claims.Budget(6), source)
    assert trial.judgement.cells == 2 * (len(table_of(trial)) // 2 - 1)
    for row in (trial.tightest, trial.judgement.counterexample or trial.tightest):
        assert row["push"] == "True"
    false = dataclasses.replace(claim, margin=lambda a, b: -1e-9 - abs(a.minimum - b.minimum))
    row = search(false, sx.claims.Budget(6), source).judgement.counterexample
    assert row["bend"] == row["followed_by"][0]["bend"]


def bad(margin: Any = lambda cell: cell.alpha, **options: Any) -> Claim:
    options = {"domain": SMALL} | options
    return Claim("bad", "whatever", margin, **options)


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (bad(lambda cell: cell.alpha * np.nan), "bad: its margin is NaN in 25 of 25 cells"),
        (bad(lambda cell: np.ones((len(cell), 2))), r"bad: its margin must be one number for each"),
        (bad(lambda cell: 1 / 0), "bad: its margin raised ZeroDivisionError: division by zero"),
        (
            bad(lambda cell: cell.spread),
            r"AttributeError: cells have no .*, seed\. .test_search\.py",
        ),
        (bad(lambda cell: "yes"), "bad: its margin must be numbers or an Interval; got str"),
        (bad(where=lambda cell: cell.alpha), "bad: `where` must return a boolean for each"),
        (bad(exclude=lambda cell: 1 / 0), "bad: `exclude` raised ZeroDivisionError"),
        (bad(where=lambda cell: cell.alpha > 2), "bad: no cell of its domain counts"),
        (
            bad(domain=Space(num_classes=2, num_instances=2, where=lambda cell: cell.dim > 9)),
            "bad: no cell of its domain counts",
        ),
        (
            bad(domain=Space(num_classes=2, where=lambda cell: cell.alpha)),
            "bad: the constraint of the space must return a boolean",
        ),
        (
            bad(domain=Space(self_pairs="exclude")),
            "bad: num_views must be at least 2 when alpha > 0",
        ),
        (bad(lambda a, b: a.alpha, along="colour"), "bad: along='colour' is no coordinate"),
        (
            Theorem("bad", "whatever", cast(Any, lambda: 1 / 0)),
            "bad: its proof raised ZeroDivisionError",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_conjecture_gets_one_clear_line_and_the_others_still_run(claim, message, source):
    good = Claim("good", "true", lambda cell: 1 + cell.alpha, SMALL)
    broken, fine = search_all([claim, good], sx.claims.Budget(81), source)
    with pytest.raises(ClaimError, match=message):
        search(claim, sx.claims.Budget(81), source)
    assert broken.judgement is None
    assert not broken.as_expected
    assert broken.error.count("bad:") == 1
    assert "\n" not in broken.error
    assert fine.judgement.verdict is Verdict.HOLDS


def test_a_loss_that_is_not_what_it_declares_is_named_and_the_others_still_run(source):
    @sx.gram_loss(convex=True, symmetric=True)
    def concave(gram, structure, *, scale):
        return -scale * jnp.sum(gram**2)

    space = Space(num_classes=2, num_instances=2, loss=concave, scale=[1.0])
    false = Claim("false", "concave", lambda cell: cell.delta2, space)
    good = Claim("good", "true", lambda cell: 1 + cell.alpha, SMALL)
    broken, fine = search_all([false, good], sx.claims.Budget(81), source)
    assert broken.error.startswith("false: concave is declared convex")
    assert "\n" not in broken.error
    assert fine.judgement.verdict is Verdict.HOLDS


def test_theorems_and_plain_domains_are_judged_too(source):
    trial = search(Theorem("t", "1 = 1", lambda: Proof(True, boxes=3, rigorous=True)))
    assert trial.judgement.verdict is Verdict.PROVEN
    grid = sx.Grid((sx.ClassStructure((2, 2)),), ("full",), (0.2, 0.9), (0.5,))
    trial = search(Claim("grid", "true", lambda cell: 1 - cell.delta2, sx.claims.Domain((grid,))))
    assert trial.judgement.verdict is Verdict.HOLDS
    assert trial.slices is None


def test_shrinking_finds_the_smaller_shape_that_fails_in_a_corner_only(source):
    """n = 3 fails nearly everywhere, n = 2 only near alpha = 1: the search of small shapes."""
    claim = Claim(
        "few",
        "delta2 < 0.64",
        lambda cell: 0.64 - cell.delta2,
        Space(num_classes=2, num_instances=(2, 3), alpha=Range(0, 0.9999), temperature=Range(1, 5)),
    )
    row = search(claim, planted.SHARE, source).judgement.counterexample
    assert row["sizes"] == "2,2"
    assert float(sx.theory.delta2(2, 2, 1, row["alpha"], row["temperature"])) > 0.64


STRIP = 6e-4
"""Width in alpha of what a boundary that is off by a little gets wrong, all along it."""


def off_by_a_strip(cell):
    """1 or -1: nothing that a search could follow."""
    spread = cell.alpha > cell.boundary(sx.theory.alpha_c) + STRIP
    return sx.claims.same_phase(cell.phase, np.where(spread, sx.Phase.SPREAD, sx.Phase.COLLAPSE))


def test_a_step_that_is_wrong_over_a_thin_strip_is_refuted(source):
    claim = Claim("strip", "the boundary is 6e-4 above alpha_c", off_by_a_strip, SMALL)
    trial = search(claim, planted.SHARE, source)
    assert trial.judgement.verdict is Verdict.REFUTED
    row = trial.judgement.counterexample
    alpha_c = float(sx.theory.alpha_c(2, 2, 1, row["temperature"]))
    assert alpha_c < row["alpha"] <= alpha_c + STRIP


def test_a_search_tells_how_closely_it_looked(source):
    trial = search(
        Claim("any", "true", lambda cell: 1 - cell.delta2, SMALL), sx.claims.Budget(150), source
    )
    seen = trial.explored
    assert seen.finest < seen.largest == 1 / 8
    assert seen.box["sizes"] == "2,2"
    low, high = seen.box["alpha"]
    assert high - low == seen.largest
    low, high = seen.box["temperature"]
    assert high / low == pytest.approx((5 / 0.2) ** seen.largest)
    line = describe(trial).splitlines()[-1]
    assert line.strip().startswith(f"finest box {seen.finest:.2g} of every range, largest unexplor")
    assert trial.to_json()["explored"]["largest"] == 1 / 8
    listed = Space(num_classes=2, num_instances=2, alpha=[0.2], temperature=[0.5])
    assert search(dataclasses.replace(trial.claim, domain=listed)).explored is None


@pytest.mark.parametrize("text", ["", "many", "0", "-5", "0s", "10s,x"])
def test_bad_budgets(text):
    with pytest.raises(ValueError, match="a budget is a number of cells"):
        sx.claims.Budget.parse(text)


def test_budgets():
    assert sx.claims.Budget.parse("300") == sx.claims.Budget(300)
    assert sx.claims.Budget.parse("60s").seconds == 60
    assert sx.claims.Budget.parse("300, 60s") == sx.claims.Budget(300, 60)


def test_one_line_names_the_place():
    with pytest.raises(ValueError, match="two") as caught:
        raise ValueError("two\nlines")
    assert one_line(caught.value).startswith("ValueError: two lines (test_search.py, line ")


def test_a_solver_that_stops_short_decides_nothing(monkeypatch):
    def lazy(problem, key, **options):
        solution = sx.solve(problem, key, **options)
        moved = solution.embeddings + 0.1 * jax.random.normal(key, solution.embeddings.shape)
        unit = moved / np.linalg.norm(moved, axis=-1, keepdims=True)
        return dataclasses.replace(solution, embeddings=unit)

    monkeypatch.setattr(sys.modules["ssem_jax.sweeps.batches"], "solve", lazy)
    space = Space(num_classes=2, num_instances=2, alpha=[0.9], temperature=[0.5])
    trial = search(Claim("any", "true", lambda cell: 1 + cell.alpha, space))
    assert trial.judgement.verdict is Verdict.UNDECIDED
