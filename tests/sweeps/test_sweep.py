"""Sweeps: tables, run folders, resuming, and what is refused."""

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from jax.experimental.compilation_cache import compilation_cache

import ssem_jax as sx
from ssem_jax import compute
from ssem_jax.cli import main
from ssem_jax.cli.parse import parse_numbers
from ssem_jax.compute import Processes, open_executor
from ssem_jax.losses import SupCL
from ssem_jax.problem import pytree_dataclass
from ssem_jax.sweeps import (
    SCHEMA,
    Grid,
    RunError,
    batches,
    folder,
    read_run,
    runs,
    summarize,
    sweep,
)
from ssem_jax.sweeps.batches import num_cells
from ssem_jax.sweeps.folder import MANIFEST
from ssem_jax.sweeps.table import most

KERNEL_CACHE = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")

STRUCTURES = (sx.ClassStructure((2, 2)), sx.ClassStructure((3, 2)))


def grid(**changes):
    choices = {
        "structures": STRUCTURES,
        "dims": ("full",),
        "alphas": (0.1, 0.9),
        "temperatures": (0.3, 1.0),
    }
    return Grid(**(choices | changes))


@pytest.fixture(scope="module", autouse=True)
def environment(tmp_path_factory):
    """Of child processes. A kernel is compiled once, here or in a child, and kept for all."""
    before = {name: jax.config.values[name] for name in KERNEL_CACHE}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSEM_CACHE", str(tmp_path_factory.mktemp("cache")))
        compilation_cache.reset_cache()
        compute.set_up_jax()
        yield os.environ
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


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

    convex = True

    margin: Any
    kind: str = dataclasses.field(default="square", metadata={"static": True})
    bend: Any = dataclasses.field(default=jnp.exp, metadata={"static": True})

    def from_gram(self, gram, structure):
        same = structure.class_ids[:, None] == structure.class_ids
        return jnp.mean(jnp.where(same, (self.margin - gram) ** 2, self.bend(gram)))


def test_every_hyper_parameter_of_a_loss_is_a_column():
    pairs = sx.ClassStructure((1, 1), 2)
    sigmoid = Grid(
        (pairs,), ("full",), loss=sx.losses.Sigmoid, hyper={"bias": (0.0, 1.0), "scale": (2.0,)}
    )
    repulsion = Grid(
        STRUCTURES[:1], (3,), loss=Repulsion, hyper={"margin": (1, 0.5), "kind": ("round",)}
    )
    problems = [*grid(structures=STRUCTURES[:1]).problems(), *sigmoid.problems()]
    problems += repulsion.problems()
    table = sweep(problems)
    assert table.columns == [*SCHEMA, "scale", "bias", "margin", "kind", "bend"]
    assert table["loss"].to_list() == ["SupCL"] * 4 + ["Sigmoid"] * 2 + ["Repulsion"] * 2
    assert table["alpha"].to_list() == [0.1, 0.1, 0.9, 0.9] + [None] * 4
    assert table["scale"].to_list() == [None] * 4 + [2.0] * 2 + [None] * 2
    assert table["bias"].to_list() == [None] * 4 + [0.0, 1.0] + [None] * 2
    assert table["margin"].to_list() == [None] * 6 + [1.0, 0.5]
    assert table["kind"].to_list() == [None] * 6 + ["round"] * 2
    assert table["bend"].str.contains("^<exp [0-9a-f]{12}>$").to_list() == [None] * 6 + [True] * 2
    assert table["loss_code"].n_unique() == 3
    assert table["self_pairs"].to_list() == ["include"] * 4 + [None] * 4
    assert table["dim"].to_list() == [3] * 4 + [4] * 2 + [3] * 2  # full: N where nothing is known
    assert (table["gap"] <= 1e-9).all()


def test_runs_of_any_loss_are_read_back(tmp_path):
    hyper = {"margin": (0.5, 1.0), "kind": ("round",)}
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
    class Kind(sx.losses.Sigmoid):
        kind: Any = 0.0

    def problem(loss):
        return sx.Problem(sx.ClassStructure((2, 2), 2), 3, loss)

    for loss in (Gap(1.0), Mean(1.0)):
        with pytest.raises(ValueError, match="is named like another column of the table"):
            sweep([problem(loss)])
    with pytest.raises(ValueError, match="a number in one loss and text in another"):
        sweep([problem(Kind(1.0, 1.0)), problem(Repulsion(1.0))])


def test_a_loss_without_identity_is_swept_but_not_kept(tmp_path, monkeypatch):
    lock = threading.Lock()

    def bend(gram):
        with lock:
            return jnp.exp(gram)

    problems = Grid(
        STRUCTURES[:1], (3,), loss=Repulsion, hyper={"margin": (1,), "bend": (bend,)}
    ).problems()
    monkeypatch.setattr(batches, "solve_batch", lambda *_: pytest.fail("computed"))
    with pytest.raises(RunError, match=r"run of this loss cannot be kept.* lock: a _thread\.lock"):
        sweep(problems, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.undo()
    assert (sweep(problems)["gap"] <= 1e-9).all()


SLOPE = 1.0


def sloped(gram):
    return SLOPE * gram


def test_a_loss_whose_globals_change_is_traced_anew(tmp_path, monkeypatch):
    hyper = {"margin": (1.0,), "bend": (sloped,)}
    (problem,) = Grid(STRUCTURES[:1], (3,), loss=Repulsion, hyper=hyper).problems()
    before = sweep([problem], out=tmp_path / "run")
    monkeypatch.setattr(sys.modules[__name__], "SLOPE", -1.0)
    after = sweep([problem])
    assert before["value"][0] < after["value"][0] - 0.1
    with pytest.raises(RunError, match="holds another run"):
        sweep([problem], out=tmp_path / "run")


def test_same_seed_same_table_and_order_does_not_matter(table):
    assert sweep(grid().problems(), seed=3).equals(table)
    reversed_table = sweep(grid().problems()[::-1], seed=3)
    assert reversed_table.sort("sizes", "alpha", "temperature").equals(
        table.sort("sizes", "alpha", "temperature")
    )


def test_another_seed_starts_elsewhere_and_ends_at_the_same_minimum(table):
    other = sweep(grid().problems(), seed=4)
    # Rotated starts take the same steps, up to rounding.
    assert not other["gap"].equals(table["gap"])
    # Two certified minima of one convex problem differ by no more than their gaps.
    difference = (other["value"] - table["value"]).abs()
    assert (difference <= most(table["gap"]) + most(other["gap"])).all()


def test_a_run_folder_is_read_back_and_resumed(tmp_path, table, monkeypatch):
    run = tmp_path / "run"
    assert sweep(grid().problems(), seed=3, out=run).equals(table)
    assert read_run(run)[0].equals(table)
    (run / "part-00001.parquet").unlink()
    solved = []
    real = batches.solve_batch

    def spy(problem, *rest):
        solved.append(problem.structure)
        return real(problem, *rest)

    monkeypatch.setattr(batches, "solve_batch", spy)
    assert len(read_run(run)[0]) == 4
    assert sweep(grid().problems(), seed=3, out=run).equals(table)
    assert solved == [STRUCTURES[1]]


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("truncated", "is truncated, or no part of this run"),
        ("flipped", "is truncated, or no part of this run"),
        ("foreign", "is truncated, or no part of this run"),
        ("swapped", "belongs to another run"),
    ],
)
def test_a_damaged_part_is_named_and_computed_again(tmp_path, table, damage, fault, caplog):
    run = tmp_path / "run"
    sweep(grid().problems(), seed=3, out=run)
    part, other = (run / f"part-0000{number}.parquet" for number in range(2))
    content = part.read_bytes()
    if damage == "truncated":
        part.write_bytes(content[:200])
    elif damage == "flipped":  # one bit of a number, which Parquet alone would not notice
        place = len(content) // 3
        part.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    elif damage == "foreign":  # the columns are right, and so are the numbers
        pl.read_parquet(part).write_parquet(part)
    else:
        part.write_bytes(other.read_bytes())
    left = other.stat().st_mtime_ns
    assert len(read_run(run)[0]) == 4
    assert [record.message for record in caplog.records] == [
        f"{part} {fault} and does not count; it is computed again."
    ]
    assert sweep(grid().problems(), seed=3, out=run).equals(table)
    assert other.stat().st_mtime_ns == left
    assert len(read_run(run)[0]) == 8


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
    monkeypatch.setattr(batches, "solve_batch", lambda *_: pytest.fail("computed"))
    with pytest.raises(RunError, match="cannot write to"):
        sweep(grid().problems(), out=tmp_path / "file" / "run")


@pytest.mark.parametrize("place", ["encoding", "writing", "moving"])
def test_a_full_disk_keeps_what_was_computed(tmp_path, table, monkeypatch, place):
    run = tmp_path / "run"
    owner, name = {
        "encoding": (pl.DataFrame, "write_parquet"),
        "writing": (os, "fsync"),
        "moving": (os, "replace"),
    }[place]
    real = getattr(owner, name)
    written = []

    def full_after_some(*arguments, **options):
        if len(written) == (1 if place == "encoding" else 2):  # the others write the manifest too
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, full_after_some)
    with pytest.raises(RunError, match="No space left on device; what was computed before is kept"):
        sweep(grid().problems(), seed=3, out=run)
    monkeypatch.undo()
    assert len(read_run(run)[0]) == 4
    assert not list(run.glob(".part*"))
    assert sweep(grid().problems(), seed=3, out=run).equals(table)


def test_a_run_of_another_version_is_named(tmp_path):
    sweep(grid(alphas=(0.5,)).problems(), out=tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / MANIFEST).read_text())
    manifest |= {"format": 0, "versions": {"ssem-jax": "0.0.1"}}
    (tmp_path / "run" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(RunError, match=r"written by another version, ssem-jax 0\.0\.1"):
        read_run(tmp_path / "run")


def test_other_versions_of_packages_are_named_and_their_parts_kept(tmp_path, table, caplog):
    run = tmp_path / "run"
    sweep(grid().problems(), seed=3, out=run)
    manifest = json.loads((run / MANIFEST).read_text())
    manifest["versions"]["jax"] = "0.0.7"
    (run / MANIFEST).write_text(json.dumps(folder.sealed(manifest)))
    stamps = {part.name: part.stat().st_mtime_ns for part in run.glob("part*")}
    assert sweep(grid().problems(), seed=3, out=run).equals(table)
    (record,) = caplog.records
    assert "was begun with jax 0.0.7, now " in record.message
    assert {part.name: part.stat().st_mtime_ns for part in run.glob("part*")} == stamps


@pytest.mark.parametrize("entry", ["seed", "num_starts", "witness", "cells", "shapes", "versions"])
def test_an_edited_manifest_is_noticed(entry, tmp_path):
    """Also where the parts themselves are of the run."""
    sealed = folder.sealed(
        {"format": folder.FORMAT, "batches": []} | dict.fromkeys(sorted({entry, "seed"}), 3)
    )
    (tmp_path / MANIFEST).write_text(json.dumps(sealed))
    assert folder.read_manifest(tmp_path) == sealed
    (tmp_path / MANIFEST).write_text(json.dumps(sealed | {entry: 4}))
    with pytest.raises(RunError, match="was edited since it was written"):
        read_run(tmp_path)


def test_a_manifest_with_an_edited_seed_does_not_go_on(tmp_path):
    run = tmp_path / "run"
    sweep(grid(structures=STRUCTURES[:1]).problems(), seed=3, out=run)
    manifest = json.loads((run / MANIFEST).read_text())
    (run / MANIFEST).write_text(json.dumps(manifest | {"seed": 4}))
    for seed in (3, 4):
        with pytest.raises(RunError, match="was edited since it was written"):
            sweep(grid(structures=STRUCTURES[:1]).problems(), seed=seed, out=run)


def test_a_folder_of_ssem_train_is_named_for_what_it_is(tmp_path, capsys):
    run = {"format": 2, "experiment": "mixture", "parts": []}
    (tmp_path / MANIFEST).write_text(json.dumps(run))
    with pytest.raises(RunError, match="holds the experiment mixture, encoders trained by ssem"):
        read_run(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(["info", str(tmp_path)])
    error = capsys.readouterr().err
    assert "version" not in error
    assert f"ssem train mixture --out {tmp_path}" in error


def test_unreadable_runs_are_named(tmp_path):
    with pytest.raises(RunError, match="is not a folder"):
        read_run(tmp_path / "nothing")
    with pytest.raises(RunError, match="has no manifest"):
        read_run(tmp_path)
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        read_run(tmp_path)


def test_large_batches_are_split(monkeypatch):
    monkeypatch.setitem(batches.PART_CELLS, "solve", 3)
    (problem,) = grid(structures=STRUCTURES[:1]).problems()
    parts = list(batches.split(problem))
    assert [part.batch_size for part in parts] == [3, 1]
    joined = np.concatenate([cast(SupCL, part.loss).alpha for part in parts])
    np.testing.assert_array_equal(joined, cast(SupCL, problem.loss).alpha)


def test_an_empty_grid_is_refused():
    for field in ("structures", "dims", "alphas"):
        with pytest.raises(ValueError, match=f"{field} must not be empty"):
            grid(**{field: ()}).problems()
    with pytest.raises(ValueError, match="kind must not be empty"):
        Grid(STRUCTURES, (3,), loss=Repulsion, hyper={"margin": (1,), "kind": ()}).problems()


def test_a_grid_takes_what_its_loss_has():
    with pytest.raises(ValueError, match="Sigmoid has no alpha; leave it out, or give one of sc"):
        grid(loss=sx.losses.Sigmoid).problems()
    with pytest.raises(ValueError, match="scale must not be empty"):
        Grid(STRUCTURES, ("full",), loss=sx.losses.Sigmoid).problems()
    with pytest.raises(ValueError, match="alpha stands in hyper and as alphas; give it once"):
        grid(hyper={"alpha": (1,)}).problems()
    by_name = {"alpha": (0.1, 0.9), "temperature": (0.3, 1.0), "mean": ("anchors",)}
    given = Grid(STRUCTURES, ("full",), hyper=by_name).problems()
    for one, other in zip(given, grid(means=("anchors",)).problems(), strict=True):
        first, second = cast(SupCL, one.loss), cast(SupCL, other.loss)
        np.testing.assert_array_equal(first.temperature, second.temperature)
        assert (first.mean, one.dim) == (second.mean, other.dim) == ("anchors", one.dim)


def test_summary_counts(table):
    summary = summarize(table)
    assert summary["cells"] == summary["certified"] == 8
    assert sum(summary["phases"].values()) == 8
    assert summarize(table[:0])["worst_gap"] is None


@pytest.mark.parametrize("witness", ["solve", "certificate"])
def test_progress_counts_every_cell(witness):
    seen = []
    equal = [problem for problem in grid().problems() if problem.structure.is_balanced]
    sweep(equal, witness=witness, progress=seen.append)
    assert sum(seen) == num_cells(equal) > 0


# ---------------------------------------------------------------------------------------------
# Executors
# ---------------------------------------------------------------------------------------------


def test_processes_give_the_same_table_and_one_may_be_lost(table, environment, tmp_path, caplog):
    seen = []
    with Processes(2) as executor:

        def lose_one():
            while (process := executor._workers[0].process) is None:
                time.sleep(0.01)
            process.kill()

        killer = threading.Thread(target=lose_one)
        killer.start()
        result = sweep(
            grid().problems(), seed=3, out=tmp_path / "run", executor=executor, progress=seen.append
        )
        killer.join()
    assert result.equals(table)
    assert seen == [4, 4]
    assert "a worker process was lost" in caplog.text
    assert read_run(tmp_path / "run")[0].equals(table)


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:distributed.*")
@pytest.mark.slow  # processes are tested below
def test_a_dask_cluster_gives_the_same_table(table, environment):
    pytest.importorskip("distributed")
    with open_executor("dask", 2) as executor:
        assert sweep(grid().problems(), seed=3, executor=executor).equals(table)


@pytest.mark.slow  # a process that compiles everything again
def test_two_devices_give_the_same_table(table, environment, tmp_path):
    run = tmp_path / "run"
    command = "from ssem_jax.cli import main; import jax; assert jax.device_count() == 2; main()"
    arguments = "sweep --classes 2 --instances 2 --alpha 0.1,0.9 --tau 0.3,1 --seed 3 --out"
    subprocess.run(
        [
            sys.executable,
            "-c",
            command.replace("main()", f"main({[*arguments.split(), str(run)]})"),
        ],
        env=environment | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
        check=True,
        timeout=300,
    )
    found, expected = read_run(run)[0], table[:4]
    for column in ("value", "lower", "delta2", "delta2_lo", "delta2_hi"):
        # Two runs to the same certified minimum: what may differ is rounding.
        assert np.allclose(found[column], expected[column], rtol=0, atol=1e-12), column
    assert found["phase"].equals(expected["phase"])


class Loser(Executor):
    """Loses its worker at the first calls of every function."""

    def __init__(self, times):
        self.times, self.calls, self.inner = times, 0, ThreadPoolExecutor(1)

    def submit(self, function, /, *arguments, **named):
        self.calls += 1
        if self.calls > self.times:
            return self.inner.submit(function, *arguments, **named)
        future = Future()
        future.set_exception(BrokenExecutor("a worker was lost"))
        return future


def test_a_batch_is_given_up_after_some_lost_workers(tmp_path, table):
    problems = grid(structures=STRUCTURES[:1]).problems()
    patient = Loser(runs.ATTEMPTS - 1)
    assert sweep(problems, seed=3, executor=patient).equals(table[:4])
    with pytest.raises(
        RunError, match=r"3 workers were lost at SupCL.*what was computed before is"
    ):
        sweep(problems, executor=Loser(runs.ATTEMPTS))


def test_an_executor_that_is_shut_down_takes_no_work():
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(RunError, match="the executor takes no more work"):
        sweep(grid().problems(), executor=executor)


# ---------------------------------------------------------------------------------------------
# Survival
# ---------------------------------------------------------------------------------------------

COMMAND = "sweep --classes 2 --instances 2 --alpha 0:1:32 --tau log:0.3:3:32 --seed 3"
NUM_PARTS = 4  # of one shape: of 256 cells each

LOCK = """
import fcntl, sys, time
file = open(sys.argv[1], "ab")
fcntl.lockf(file, fcntl.LOCK_EX, 1, int(sys.argv[2]))
print("locked", flush=True)
sys.stdin.read()
"""

DIE_IN_A_WRITE = """
import os, signal, sys
real = os.replace
def replace(source, target):
    if str(target).endswith(".parquet"):
        os.kill(os.getpid(), signal.SIGKILL)
    real(source, target)
os.replace = replace
from ssem_jax.cli import main
main(sys.argv[1:])
"""


class Claimant:
    """Another process, which is at a part of a run."""

    def __init__(self, run, number):
        run.mkdir(exist_ok=True)
        command = [sys.executable, "-c", LOCK, str(run / folder.CLAIMS), str(number + 1)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        assert self.process.stdout.readline() == "locked\n"

    def end(self):
        self.process.communicate("")


def finished_parts(run):
    return {part.name: part.stat().st_mtime_ns for part in run.glob("part-*.parquet")}


def wait_for_parts(run, count, process):
    while len(finished_parts(run)) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_a_run_survives_every_kind_of_end(environment, tmp_path, capsys):
    """Ctrl-C, kill -9 and kill -9 in the middle of a write; then it ends as if undisturbed."""
    run = tmp_path / "run"
    stages = [finished_parts(run)]

    def start(*command):
        return subprocess.Popen(
            [sys.executable, *command, *COMMAND.split(), "--out", str(run)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def check_progress(count):
        now = finished_parts(run)
        assert stages[-1].items() <= now.items()  # nothing finished was touched
        assert len(now) == count
        stages.append(now)

    # Parts that others hold keep a run from ending before it is ended.
    claimants = [Claimant(run, number) for number in (1, 2, 3)]
    process = start("-m", "ssem_jax.cli")
    wait_for_parts(run, 1, process)
    process.send_signal(signal.SIGINT)
    assert "interrupted; finished parts in --out are kept" in process.communicate()[1]
    assert process.returncode == 130
    check_progress(1)

    claimants[0].end()
    process = start("-m", "ssem_jax.cli")
    wait_for_parts(run, 2, process)
    process.kill()
    process.communicate()
    check_progress(2)

    claimants[1].end()
    process = start("-c", DIE_IN_A_WRITE)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(list(run.glob(".part-00002.parquet.*"))) == 1
    check_progress(2)

    claimants[2].end()
    with pytest.raises(SystemExit, match="0"):
        main(["info", str(run)])
    told = capsys.readouterr().out
    assert "512 of 1,024 cells (interrupted; repeat its command to go on)" in told
    process = start("-m", "ssem_jax.cli")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    check_progress(NUM_PARTS)
    assert not list(run.glob(".part*"))

    axes = parse_numbers("", "0:1:32"), parse_numbers("", "log:0.3:3:32")
    undisturbed = Grid(STRUCTURES[:1], ("full",), *axes).problems()
    assert read_run(run)[0].equals(sweep(undisturbed, seed=3))


def test_two_processes_share_the_parts_of_a_run(tmp_path, table, monkeypatch):
    """What another process is at is waited for; if that one dies, it is computed after all."""
    run = tmp_path / "run"
    sweep(grid().problems(), seed=3, out=run)
    content = (run / "part-00000.parquet").read_bytes()
    solved, at_the_second = [], threading.Event()
    real = batches.solve_batch

    def spy(problem, *rest):
        solved.append(problem.structure)
        if problem.structure == STRUCTURES[1]:
            at_the_second.set()  # so the first was found to be another's
        return real(problem, *rest)

    monkeypatch.setattr(batches, "solve_batch", spy)
    for delivers in (True, False):
        for part in run.glob("part*"):
            part.unlink()
        solved.clear()
        at_the_second.clear()
        other = Claimant(run, 0)

        def end(other=other, delivers=delivers):
            at_the_second.wait(300)
            if delivers:
                (run / ".arriving").write_bytes(content)
                os.replace(run / ".arriving", run / "part-00000.parquet")
            other.end()

        ending = threading.Thread(target=end)
        ending.start()
        assert sweep(grid().problems(), seed=3, out=run).equals(table)
        ending.join()
        assert solved == [STRUCTURES[1], STRUCTURES[0]][: 1 if delivers else 2]


# ---------------------------------------------------------------------------------------------
# Theory's own optimum
# ---------------------------------------------------------------------------------------------


def test_theory_is_certified_without_minimisation(tmp_path):
    structure = sx.ClassStructure.balanced(2, 2, 2)
    conventions = ("include", "exclude")
    problems = Grid((structure,), (7,), (0.0, 0.2, 0.6, 1.0), (0.2, 1.0), conventions).problems()
    table = sweep(problems, witness="certificate", out=tmp_path / "run")
    assert (table["gap"] <= 1e-9).all()
    assert set(table["phase"]) >= {"collapse", "spread", "view_spread"}
    assert set(table["dim"]) == {7}
    solver = ["status", "iterations", "products", "escapes", "starts", "seed"]
    assert table.select(solver).null_count().row(0) == (len(table),) * len(solver)
    assert table.drop(solver).null_count().sum_horizontal().item() == 0
    summary = summarize(table)
    assert summary["certified"] == 16
    assert summary["status"] == {}
    with pytest.raises(RunError, match="holds another run"):
        sweep(problems, out=tmp_path / "run")


def test_a_witness_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="witness must be one of 'solve', 'certificate'"):
        sweep([], witness="hearsay")
    unequal = grid(structures=STRUCTURES[1:]).problems()
    with pytest.raises(ValueError, match="no closed form is known for SupCL of classes of 3,2"):
        sweep(unequal, witness="certificate")
    low = grid(structures=STRUCTURES[:1], dims=(2,)).problems()
    with pytest.raises(ValueError, match="needs dim of at least 3; got 2"):
        sweep(low, witness="certificate")


HOLDER = """
import fcntl, sys, time
with open(sys.argv[1], "ab") as file:
    fcntl.lockf(file, fcntl.LOCK_EX, 1, 1)
    fcntl.lockf(file, fcntl.LOCK_EX, 1, 4)
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_part_that_a_stopped_process_holds_is_taken_over(tmp_path, monkeypatch, caplog, table):
    pytest.importorskip("fcntl")
    run = tmp_path / "run"
    run.mkdir()
    made = iter([table[:4]])
    monkeypatch.setattr(runs, "compute_batch", lambda *_: next(made))
    monkeypatch.setattr(runs, "PEER_NOTICE", 0.1)
    monkeypatch.setattr(runs, "PEER_PATIENCE", 0.5)
    command = [sys.executable, "-c", HOLDER, run / folder.CLAIMS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with (run / folder.CLAIMS).open("ab") as claims:
                beside = folder.RunFolder(run, {}, claims)
                held = [str(holder.pid) in beside.holder(part) for part in range(5)]
                assert held == [sys.platform == "linux" and part in (0, 3) for part in range(5)]
            found = sweep(grid(structures=STRUCTURES[:1]).problems(), seed=3, out=run)
        finally:
            holder.kill()
    assert found.equals(table[:4])
    name = f"process {holder.pid}" if sys.platform == "linux" else "another process"
    first, second = [record.getMessage() for record in caplog.records]
    assert f"part-00000.parquet is held by {name}; it is waited for, and after 0 s" in first
    assert f"part-00000.parquet was held by {name} for 1 s; it is computed here." in second
