"""Sweeps: tables, run folders, resuming, and what is refused."""

import dataclasses
import importlib
import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import ssem_jax as sx
from ssem_jax.problem import pytree_dataclass
from ssem_jax.sweep import MANIFEST, SCHEMA, Grid, RunError, read_run, summarize, sweep

sweep_module = importlib.import_module("ssem_jax.sweep")

STRUCTURES = (sx.ClassStructure((2, 2)), sx.ClassStructure((3, 2)))


def grid(**changes):
    choices = {
        "structures": STRUCTURES,
        "dims": ("full",),
        "alphas": (0.1, 0.9),
        "temperatures": (0.3, 1.0),
    }
    return Grid(**(choices | changes))


@pytest.fixture(scope="module")
def table():
    return sweep(grid().problems(), seed=3)


def test_one_row_for_each_cell_with_stable_columns(table):
    assert len(table) == 8
    assert dict(table.schema) == dict(pl.DataFrame(schema=SCHEMA).schema)
    assert table["sizes"].unique(maintain_order=True).to_list() == ["2,2", "3,2"]
    assert table["num_instances"].to_list() == [2] * 4 + [None] * 4
    assert table["alpha"].to_list() == [0.1, 0.1, 0.9, 0.9] * 2
    assert (table["gap"] <= 1e-9).all()
    assert table["delta2"].is_between(table["delta2_lo"], table["delta2_hi"])[:4].all()


@pytree_dataclass
class Repulsion(sx.GramLoss):
    """Embeddings of different classes repel each other, those of one class attract: convex."""

    margin: Any
    kind: str = dataclasses.field(default="square", metadata={"static": True})
    bend: Any = dataclasses.field(default=jnp.exp, metadata={"static": True})

    def from_gram(self, gram, structure):
        same = structure.class_ids[:, None] == structure.class_ids
        return jnp.mean(jnp.where(same, (self.margin - gram) ** 2, self.bend(gram)))


def test_every_hyper_parameter_of_a_loss_is_a_column():
    pairs = sx.ClassStructure((2, 2), 2)
    sigmoid = Grid(
        (pairs,), ("full",), loss=sx.Sigmoid, hyper={"bias": (0.0, 1.0), "scale": (2.0,)}
    )
    repulsion = Grid(
        STRUCTURES[:1], (3,), loss=Repulsion, hyper={"margin": (1,), "kind": ("square", "round")}
    )
    problems = [*grid(structures=STRUCTURES[:1]).problems(), *sigmoid.problems()]
    problems += repulsion.problems()
    table = sweep(problems)
    assert table.columns == [*SCHEMA, "scale", "bias", "margin", "kind"]
    assert table["loss"].to_list() == ["SupCL"] * 4 + ["Sigmoid"] * 2 + ["Repulsion"] * 2
    assert table["alpha"].to_list() == [0.1, 0.1, 0.9, 0.9] + [None] * 4
    assert table["scale"].to_list() == [None] * 4 + [2.0] * 2 + [None] * 2
    assert table["bias"].to_list() == [None] * 4 + [0.0, 1.0] + [None] * 2
    assert table["margin"].to_list() == [None] * 6 + [1.0] * 2
    assert table["kind"].to_list() == [None] * 6 + ["square", "round"]
    assert table["self_pairs"].to_list() == ["include"] * 4 + [None] * 4
    assert table["dim"].to_list() == [3] * 4 + [8] * 2 + [3] * 2  # full: N where nothing is known
    assert (table["gap"] <= 1e-9).all()


def test_runs_of_any_loss_are_read_back(tmp_path):
    hyper = {"margin": (0.5, 1.0)}
    problems = Grid(STRUCTURES[:1], (3,), loss=Repulsion, hyper=hyper).problems()
    table = sweep(problems, out=tmp_path / "run")
    assert read_run(tmp_path / "run")[0].equals(table)
    # A part with the columns of another loss is foreign.
    table.drop("margin").write_parquet(tmp_path / "run" / "part-00000.parquet")
    assert len(read_run(tmp_path / "run")[0]) == 0
    assert sweep(problems, out=tmp_path / "run").equals(table)


def test_hyper_parameters_that_do_not_fit_into_the_table_are_refused():
    @pytree_dataclass
    class Gap(Repulsion):
        gap: Any = 0.0

    @pytree_dataclass
    class Mean(Repulsion):
        mean: Any = 0.0

    @pytree_dataclass
    class Kind(sx.Sigmoid):
        kind: Any = 0.0

    def problem(loss):
        return sx.Problem(sx.ClassStructure((2, 2), 2), 3, loss)

    for loss in (Gap(1.0), Mean(1.0)):
        with pytest.raises(ValueError, match="is named like another column of the table"):
            sweep([problem(loss)])
    with pytest.raises(ValueError, match="a number in one loss and text in another"):
        sweep([problem(Kind(1.0, 1.0)), problem(Repulsion(1.0))])


def test_losses_of_one_name_are_told_apart_by_their_code(tmp_path):
    def loss(module, code):
        (tmp_path / module).with_suffix(".py").write_text(code)
        return importlib.import_module(module).Loss(1.0)

    code = """
from typing import Any
import ssem_jax as sx
from ssem_jax.problem import pytree_dataclass
@pytree_dataclass
class Loss(sx.GramLoss):
    power: Any
    def from_gram(self, gram, structure):
        return (gram ** 2).sum() * self.power
"""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        losses = [
            loss("ssem_first", code),
            loss("ssem_second", code),
            loss("ssem_third", code.replace("** 2", "** 4")),
        ]
    structure = STRUCTURES[0]
    bends = [
        Repulsion(1.0, bend=jnp.exp),
        Repulsion(1.0, bend=jnp.cosh),
        Repulsion(1.0, bend=lambda x: x),
        Repulsion(1.0, bend=lambda x: -x),
    ]
    identities = {
        sweep_module._identity(sx.Problem(structure, 3, loss), 0, 2, "solve")
        for loss in losses + bends
    }
    assert len(identities) == 7
    again = dataclasses.replace(bends[0])
    assert sweep_module._identity(sx.Problem(structure, 3, again), 0, 2, "solve") in identities


def test_same_seed_same_table_and_order_does_not_matter(table):
    assert sweep(grid().problems(), seed=3).equals(table)
    reversed_table = sweep(grid().problems()[::-1], seed=3)
    assert reversed_table.sort("sizes", "alpha", "temperature").equals(
        table.sort("sizes", "alpha", "temperature")
    )


def test_another_seed_starts_elsewhere_and_ends_at_the_same_minimum(table):
    other = sweep(grid().problems(), seed=4)
    assert not other["iterations"].equals(table["iterations"])
    # Two certified minima of one convex problem differ by no more than their gaps.
    difference = (other["value"] - table["value"]).abs()
    assert (difference <= pl.Series.max(table["gap"]) + other["gap"].max()).all()


def test_a_run_folder_is_read_back_and_resumed(tmp_path, table, monkeypatch):
    run = tmp_path / "run"
    assert sweep(grid().problems(), seed=3, out=run).equals(table)
    assert read_run(run)[0].equals(table)
    (run / "part-00001.parquet").unlink()
    solved = []
    real = sweep_module.solve_batch

    def spy(problem, *rest):
        solved.append(problem.structure)
        return real(problem, *rest)

    monkeypatch.setattr(sweep_module, "solve_batch", spy)
    assert len(read_run(run)[0]) == 4
    assert sweep(grid().problems(), seed=3, out=run).equals(table)
    assert solved == [STRUCTURES[1]]


@pytest.mark.parametrize("damage", ["truncate", "foreign"])
def test_a_damaged_part_is_computed_again(tmp_path, table, damage):
    run = tmp_path / "run"
    sweep(grid().problems(), seed=3, out=run)
    part = run / "part-00000.parquet"
    if damage == "truncate":
        part.write_bytes(part.read_bytes()[:200])
    else:
        pl.DataFrame({"other": [1]}).write_parquet(part)
    assert sweep(grid().problems(), seed=3, out=run).equals(table)


def test_manifest_says_what_the_run_is(tmp_path):
    sweep(grid().problems(), seed=3, out=tmp_path / "run")
    manifest = read_run(tmp_path / "run")[1]
    assert manifest["cells"] == 8
    assert manifest["seed"] == 3
    assert "self_pairs=include" in manifest["shapes"][0]
    assert manifest["versions"]["jax"]


def test_another_run_is_not_overwritten(tmp_path):
    sweep(grid(alphas=(0.5,)).problems(), out=tmp_path / "run")
    with pytest.raises(RunError, match="holds another run"):
        sweep(grid(alphas=(0.6,)).problems(), out=tmp_path / "run")


def test_a_folder_with_other_files_is_not_used(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match=r"holds no run \(it has thesis.tex\)"):
        sweep(grid().problems(), out=tmp_path)


def test_an_unwritable_folder_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sweep_module, "solve_batch", lambda *_: pytest.fail("computed"))
    with pytest.raises(RunError, match="cannot write to"):
        sweep(grid().problems(), out=tmp_path / "file" / "run")


def test_a_full_disk_keeps_what_was_computed(tmp_path, monkeypatch):
    real = pl.DataFrame.write_parquet
    written = []

    def full_after_one(self, path, **options):
        if written:
            raise OSError(28, "No space left on device")
        written.append(path)
        return real(self, path, **options)

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full_after_one)
    with pytest.raises(RunError, match="No space left on device; what was computed before is kept"):
        sweep(grid().problems(), seed=3, out=tmp_path / "run")
    assert len(read_run(tmp_path / "run")[0]) == 4
    assert not list((tmp_path / "run").glob(".part*"))


def test_a_run_of_another_version_is_named(tmp_path):
    sweep(grid(alphas=(0.5,)).problems(), out=tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / MANIFEST).read_text())
    manifest |= {"format": 0, "versions": {"ssem-jax": "0.0.1"}}
    (tmp_path / "run" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(RunError, match=r"written by another version, ssem-jax 0\.0\.1"):
        read_run(tmp_path / "run")


def test_unreadable_runs_are_named(tmp_path):
    with pytest.raises(RunError, match="is not a folder"):
        read_run(tmp_path / "nothing")
    with pytest.raises(RunError, match="has no manifest"):
        read_run(tmp_path)
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        read_run(tmp_path)


def test_large_batches_are_split(monkeypatch):
    monkeypatch.setitem(sweep_module.PART_CELLS, "solve", 3)
    (problem,) = grid(structures=STRUCTURES[:1]).problems()
    parts = list(sweep_module.split(problem))
    assert [part.batch_size for part in parts] == [3, 1]
    joined = np.concatenate([part.loss.alpha for part in parts])
    assert joined.tolist() == problem.loss.alpha.tolist()


def test_an_empty_grid_is_refused():
    for field in ("structures", "dims", "alphas"):
        with pytest.raises(ValueError, match=f"{field} must not be empty"):
            grid(**{field: ()}).problems()
    with pytest.raises(ValueError, match="kind must not be empty"):
        Grid(STRUCTURES, (3,), loss=Repulsion, hyper={"margin": (1,), "kind": ()}).problems()


def test_a_grid_takes_what_its_loss_has():
    with pytest.raises(ValueError, match="Sigmoid has no alpha; leave it out, or give one of sc"):
        grid(loss=sx.Sigmoid).problems()
    with pytest.raises(ValueError, match="scale must not be empty"):
        Grid(STRUCTURES, ("full",), loss=sx.Sigmoid).problems()
    with pytest.raises(ValueError, match="alpha stands in hyper and as alphas; give it once"):
        grid(hyper={"alpha": (1,)}).problems()
    by_name = {"alpha": (0.1, 0.9), "temperature": (0.3, 1.0), "mean": ("anchors",)}
    given = Grid(STRUCTURES, ("full",), hyper=by_name).problems()
    for one, other in zip(given, grid(means=("anchors",)).problems(), strict=True):
        assert one.loss.temperature.tolist() == other.loss.temperature.tolist()
        assert (one.loss.mean, one.dim) == (other.loss.mean, other.dim) == ("anchors", one.dim)


def test_summary_counts(table):
    summary = summarize(table)
    assert summary["cells"] == summary["certified"] == 8
    assert sum(summary["phases"].values()) == 8
    assert summarize(table[:0])["worst_gap"] is None


def test_progress_counts_every_cell():
    seen = []
    sweep(grid().problems(), progress=seen.append)
    assert sum(seen) == 8
