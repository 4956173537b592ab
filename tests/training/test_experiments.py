"""Trained encoders: data, training, the expectation over batches, transfer, runs that go on."""

import dataclasses
import itertools
import json
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import ssem_jax as sx
from ssem_jax import theory
from ssem_jax.sweeps.folder import CLAIMS
from ssem_jax.training import experiments
from ssem_jax.training.experiments import data, encoder, fit, resuming, transfer

EXACT = 1e-9
"""Both sides are float64 minimisers of one convex function of one variable, found in two ways."""
SINGLE = 1e-5
"""Float32, of sums of some hundred terms."""
REACHED = 0.01
"""How near an encoder comes to the optimum of a batch in the steps that a test can afford."""

SMALL = sx.ClassStructure.balanced(2, 3, num_views=2)


@pytest.fixture(scope="module")
def task():
    return data.digits(0)


# ------------------------------------------------------------------------------------------- data


@pytest.mark.parametrize("make", [data.digits, data.mixture])
def test_tasks_are_balanced_and_nothing_leaks(make):
    task = make(3)
    for split, share in ((task.train, 2), (task.test, 1)):
        assert split.counts == (116 * share,) * 3
        assert split.inputs.dtype == np.float32
        # Two fine classes in each coarse one, and no fine class in two of them.
        pairs = set(zip(split.labels.tolist(), split.fine.tolist(), strict=True))
        assert len(pairs) == 6
        assert len({fine for _, fine in pairs}) == 6
    assert not set(task.train.fine) & set(task.unseen_train.fine)
    assert set(task.unseen_train.fine) == set(task.unseen_test.fine)
    rows = {row.tobytes() for row in task.train.inputs}
    assert not any(row.tobytes() in rows for row in task.test.inputs)


def test_the_seed_chooses_the_task():
    same, other = data.digits(1), data.digits(2)
    np.testing.assert_array_equal(data.digits(1).train.inputs, same.train.inputs)
    assert set(same.train.fine) != set(other.train.fine)


def test_groups_must_fit():
    with pytest.raises(ValueError, match="6 groups of 2 need as many of the 10 fine classes"):
        data.digits(0, num_groups=6)


def labels_of(split):
    """Every input's own label."""
    return dict(zip([row.tobytes() for row in split.inputs], split.labels, strict=True))


def test_a_long_tail_keeps_labels(task):
    tail = data.long_tailed(task.train, (40, 20, 10), seed=0)
    assert tail.counts == (40, 20, 10)
    known = labels_of(task.train)
    assert [known[row.tobytes()] for row in tail.inputs] == tail.labels.tolist()
    with pytest.raises(ValueError, match="counts must be one for each class"):
        data.long_tailed(task.train, (400, 20, 10), seed=0)


def test_wrong_labels_are_as_many_as_asked(task):
    noisy = data.mislabelled(task.train, 0.25, seed=0)
    known = labels_of(task.train)
    true = np.array([known[row.tobytes()] for row in noisy.inputs])
    assert np.mean(true != noisy.labels) == pytest.approx(0.25, abs=0.01)
    assert noisy.counts == task.train.counts
    assert np.bincount(true).tolist() == list(task.train.counts)
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\); got 1"):
        data.mislabelled(task.train, 1, seed=0)
    with pytest.raises(ValueError, match="classes must have equal size"):
        data.mislabelled(data.long_tailed(task.train, (4, 2, 2), 0), 0.1, seed=0)


def test_a_batch_has_distinct_instances_of_every_class_in_adjacent_views():
    counts, structure = (5, 9), sx.ClassStructure((3, 2), num_views=2)
    inputs = jnp.arange(14.0)[:, None]

    @jax.jit
    def draw(key):
        return data.draw_batch(key, inputs, counts, structure, lambda key, rows: rows)

    batch = draw(jax.random.key(0))
    first, second = np.asarray(batch).reshape(-1, 2).T
    np.testing.assert_array_equal(first, second)
    assert len(set(first)) == 5
    np.testing.assert_array_equal(first >= 5, np.repeat([False, True], structure.sizes))


def test_digits_are_moved_a_little(task):
    images, fine = jnp.asarray(task.train.inputs[::7]), task.train.fine[::7]
    augment = jax.jit(data.augment_digits)
    one, two = (augment(jax.random.key(seed), images) for seed in (0, 1))
    assert one.dtype == jnp.float32
    assert not np.allclose(one, two)
    # A view is nearest to its own image far more often than chance, and mostly to the same digit.
    nearest = np.argmin(np.sum((np.asarray(one)[:, None] - images[None]) ** 2, axis=-1), axis=1)
    assert np.mean(nearest == np.arange(len(images))) > 0.1
    assert np.mean(fine[nearest] == fine) > 0.5


# ------------------------------------------------------------------------------ what is expected


@pytest.mark.parametrize("self_pairs", ["include", "exclude"])
def test_a_data_set_of_one_batch_is_that_batch(self_pairs):
    m, n, p = 3, 4, 2
    alphas, temperatures = (
        part.ravel() for part in np.meshgrid(np.linspace(0.05, 1, 9), [0.1, 0.4, 1.0])
    )
    cell = (m, n, p, alphas, temperatures, self_pairs)
    found = theory.dataset_optimum(
        sx.ClassStructure.balanced(m, n, p), n, alphas, temperatures, self_pairs
    )
    # Fresh views of a data set part less than the p views of one batch: only where they coincide.
    views = np.asarray(sx.theory.view_variance(*cell)) > 0
    assert not np.isnan(found.loss).any()
    assert views.any() == (self_pairs == "exclude")
    np.testing.assert_allclose(
        found.variances.delta2[~views], sx.theory.delta2(*cell)[~views], atol=EXACT
    )
    np.testing.assert_allclose(found.loss[~views], sx.theory.loss(*cell)[~views], rtol=EXACT)
    np.testing.assert_allclose(
        found.variances.between[~views], sx.theory.variances(*cell).between[~views], atol=EXACT
    )
    assert np.all(found.loss[views] > np.asarray(sx.theory.loss(*cell))[views])


def batches_of(points, dataset_size, structure):
    """Every batch of a data set of two classes, whose views coincide."""
    classes = np.split(np.asarray(points), 2)
    n, p = structure.num_instances, structure.num_views
    choices = [list(c) for c in itertools.combinations(range(dataset_size), n)]
    for left, right in itertools.product(choices, choices):
        yield jnp.repeat(jnp.concatenate([classes[0][left], classes[1][right]]), p, axis=0)


@pytest.mark.parametrize(("alpha", "tau"), [(0.3, 0.5), (0.7, 0.5), (0.8, 1.5)])
def test_no_data_set_beats_the_expectation_and_one_attains_it(alpha, tau):
    t, structure = 5, SMALL
    found = theory.dataset_optimum(structure, t, alpha, tau)
    loss = sx.SupCL(alpha, tau)

    def mean_loss(points):
        return np.mean([loss(batch, structure) for batch in batches_of(points, t, structure)])

    best = float(found.variances.delta2) * 3 / 2 * (t - 1) / t  # pairs of a class are as far apart
    points = sx.geometry.ssem_embeddings(sx.ClassStructure.balanced(2, t), best, 2 * t)
    assert mean_loss(points) == pytest.approx(float(found.loss), abs=EXACT)
    parts = [sx.geometry.variances(batch, structure) for batch in batches_of(points, t, structure)]
    measured = np.mean(np.array(parts), axis=0)
    np.testing.assert_allclose(measured, found.variances, rtol=0, atol=EXACT)
    for seed in range(3):
        moved = points + 0.1 * jax.random.normal(jax.random.key(seed), points.shape)
        assert mean_loss(moved) > found.loss


def test_the_expectation_refuses():
    with pytest.raises(ValueError, match="dataset_size must be an integer of at least 3; got 2"):
        theory.dataset_optimum(SMALL, 2, 0.5, 0.5)
    with pytest.raises(ValueError, match="num_instances needs classes of equal size"):
        theory.dataset_optimum(sx.ClassStructure((2, 3), 2), 9, 0.5, 0.5)
    with pytest.raises(ValueError, match="needs num_views of at least 2; got 1"):
        theory.dataset_optimum(sx.ClassStructure((3, 3)), 9, 0.5, 0.5)


# --------------------------------------------------------------------------------------- training


def test_the_encoder_is_the_network_that_it_says():
    net = encoder.Encoder(5, 7, 2, 4, key=jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(net)} == {np.dtype(np.float32)}
    rows = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    hidden = rows
    for layer in net.body:
        hidden = np.maximum(np.stack([layer(jnp.asarray(row)) for row in hidden]), 0)
    np.testing.assert_allclose(net.features(jnp.asarray(rows)), hidden, atol=SINGLE)
    hidden = np.maximum(np.stack([net.projector[0](jnp.asarray(row)) for row in hidden]), 0)
    last = np.stack([net.projector[1](jnp.asarray(row)) for row in hidden])
    last /= np.linalg.norm(last, axis=1, keepdims=True)
    np.testing.assert_allclose(net.embed(jnp.asarray(rows)), last, atol=SINGLE)


ALPHAS, TAU = (0.05, 0.8), 0.5
RECIPE = fit.Recipe(SMALL, width=64, depth=1, dim=16, steps=800, fixed_batch=True)


def trained(task, recipe=RECIPE, seed=0, stops=()):
    two = dataclasses.replace(
        task.train,
        inputs=task.train.inputs[:464],
        fine=task.train.fine[:464],
        counts=task.train.counts[:2],
    )
    group = fit.Fit(two, task.augment, recipe, ALPHAS, (TAU, TAU), jax.random.key(seed))
    start = group.measure()
    for stop in (*stops, recipe.steps):
        group.advance(stop)
    return group, start


def test_an_encoder_reaches_the_optimum_of_a_batch(task):
    group, start = trained(task)
    end = group.measure()
    cell = (2, 3, 2, np.array(ALPHAS), TAU)
    assert np.all(end.loss < start.loss)
    np.testing.assert_allclose(end.loss, sx.theory.loss(*cell), atol=REACHED)
    np.testing.assert_allclose(end.delta2, sx.theory.delta2(*cell), atol=REACHED)
    np.testing.assert_allclose(end.between, sx.theory.variances(*cell).between, atol=REACHED)
    np.testing.assert_allclose(end.class_delta2.mean(axis=1), end.delta2, atol=SINGLE)
    assert np.all(end.view < REACHED)
    assert np.all(end.cosine_error < 0.05)
    # Collapse and spread, as theory says of these two.
    collapsed, spread = np.asarray(end.delta2)
    assert collapsed < REACHED < 0.3 < spread


def test_the_same_seed_trains_the_same_encoders_however_it_is_cut(task):
    recipe = dataclasses.replace(RECIPE, steps=40, fixed_batch=False)
    one, _ = trained(task, recipe)
    two, _ = trained(task, recipe, stops=(1, 23))
    other, _ = trained(task, recipe, seed=1)
    assert eqx.tree_equal(one.encoders, two.encoders)
    assert not eqx.tree_equal(one.encoders, other.encoders)
    np.testing.assert_array_equal(one.measure().loss, two.measure().loss)


def test_training_refuses():
    with pytest.raises(ValueError, match="optimizer must be one of 'adam', 'descent'"):
        fit.Recipe(SMALL, optimizer="newton")
    split = data.Split(np.zeros((6, 4), np.float32), np.zeros(6, int), (3, 3))
    with pytest.raises(ValueError, match=r"alpha must lie in \[0, 1\]; got 1.5"):
        fit.Fit(split, data.augment_vectors, RECIPE, (1.5,), (0.5,), jax.random.key(0))


# --------------------------------------------------------------------------------------- transfer


def test_probes_find_what_is_there():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 40)
    centres = 4 * np.eye(3, 5)[labels]
    train, test = (centres + rng.normal(size=(120, 5)) for _ in range(2))
    for method in (transfer.probe, transfer.neighbours):
        assert method(train, labels, test, labels) > 0.9
        assert method(train, rng.permutation(labels), test, labels) < 0.6
    rows = transfer.few_rows(labels, 0)
    assert np.bincount(labels[rows]).tolist() == [transfer.FEW] * 3


def test_the_fine_share_is_that_of_the_variance():
    rng = np.random.default_rng(0)
    fine = np.repeat([4, 7, 2, 9], 200)
    points = rng.normal(size=(800, 3)) + 3.0 * np.repeat([0, 1, 5, 6], 200)[:, None]
    split = data.Split(points, fine, (400, 400))
    # Within: 3 of noise and, per coordinate, 9/4 between the fine classes.
    assert transfer.fine_share(points, split) == pytest.approx(2.25 / 3.25, abs=0.02)


# ------------------------------------------------------------------------------------------- runs


def part(number, calls, value=0.5):
    def work(progress):
        calls.append(number)
        progress(7)
        return pl.DataFrame({"number": [number], "value": [value]})

    return resuming.Part({"number": number}, 7, work)


def test_a_run_goes_on_where_it_was_interrupted(tmp_path):
    calls, told = [], []
    parts = [part(number, calls) for number in range(3)]
    first = resuming.finish(parts, {"experiment": "x"}, tmp_path, told.append)
    assert sorted(calls) == [0, 1, 2]
    (tmp_path / "part-00001.parquet").unlink()
    (tmp_path / "part-00002.parquet").write_bytes(b"torn")
    again = resuming.finish(parts, {"experiment": "x"}, tmp_path, told.append)
    assert sorted(calls) == [0, 1, 1, 2, 2]
    assert sum(told) == 2 * 3 * 7
    assert first.equals(again)
    assert [path.name for path in tmp_path.glob(".*")] == [CLAIMS]


def test_a_folder_of_another_run_is_refused(tmp_path):
    resuming.finish([part(0, [])], {"experiment": "x"}, tmp_path / "run", None)
    with pytest.raises(ValueError, match="holds another run"):
        resuming.finish([part(0, [])], {"experiment": "y"}, tmp_path / "run", None)
    with pytest.raises(ValueError, match="holds another run"):
        resuming.finish([part(1, [])], {"experiment": "x"}, tmp_path / "run", None)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"not empty and holds no run \(it has"):
        resuming.finish([part(0, [])], {"experiment": "x"}, tmp_path, None)
    with pytest.raises(ValueError, match="cannot write to"):
        resuming.finish([part(0, [])], {"experiment": "x"}, tmp_path / "file" / "run", None)
    (tmp_path / "run" / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        resuming.finish([part(0, [])], {"experiment": "x"}, tmp_path / "run", None)


def test_a_part_that_cannot_be_written_is_said(tmp_path):
    def work(progress):
        (tmp_path / "run" / "part-00000.parquet").mkdir()
        return pl.DataFrame({"number": [0]})

    with pytest.raises(ValueError, match=r"cannot write .*what was computed before is kept"):
        resuming.finish([resuming.Part({}, 1, work)], {"experiment": "x"}, tmp_path / "run", None)


CHOICES = {"fast": True, "seeds": (0,), "alphas": (0.2, 0.8), "temperatures": (0.3,)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder and the table of a small experiment, and the steps that it told of."""
    folder, told = tmp_path_factory.mktemp("run"), []
    table = experiments.run("digits-grid", **CHOICES, out=folder, progress=told.append)
    return folder, table, sum(told)


def test_an_experiment_resumes_to_the_same_table(finished):
    folder, table, told = finished
    assert told == sum(part.steps for part in experiments.parts("digits-grid", **CHOICES))
    assert table["encoder"].to_list() == ["trained", "trained", "initial", "inputs"]
    (folder / "part-00000.parquet").unlink()
    assert table.equals(experiments.run("digits-grid", **CHOICES, out=folder))


def test_an_experiment_measures_what_it_says(finished):
    _, table, _ = finished
    accuracies = table.select(transfer.ACCURACIES)
    assert accuracies.null_count().sum_horizontal().item() == 0
    assert all(0.2 < value <= 1 for column in accuracies for value in column)
    trained = table.filter(encoder="trained")
    assert (trained["train_loss"] > trained["expected_loss"]).all()
    assert (trained["expected_loss"] >= trained["predicted_loss"] - EXACT).all()
    cell = (3, 8, 2, trained["alpha"].to_numpy(), 0.3)
    np.testing.assert_allclose(trained["predicted_delta2"], sx.theory.delta2(*cell), atol=EXACT)
    summary = experiments.summarize("digits-grid", table)
    assert summary["alpha"].to_list() == [0.2, 0.8]
    assert summary["train_delta2_se"].is_nan().all()


@pytest.mark.slow
@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
@pytest.mark.parametrize("self_pairs", ["include", "exclude"])
def test_every_experiment_runs(name, self_pairs):
    table = experiments.run(name, fast=True, self_pairs=self_pairs)
    summary = experiments.summarize(name, table)
    assert set(experiments.EXPERIMENTS[name].shown) < set(summary.columns)
    assert set(table["self_pairs"].drop_nulls()) == {self_pairs}


def test_summaries_are_means_and_standard_errors():
    values = [0.1, 0.3, 0.8]
    table = pl.DataFrame(
        {"kind": "free", "alpha": 0.5, "step": [0, *[9] * 3], "delta2": [7.0, *values]}
    ).with_columns(predicted_delta2=0.2, expected_delta2=0.1)
    (row,) = experiments.summarize("dynamics", table).iter_rows(named=True)
    assert row["delta2"] == pytest.approx(0.4)
    assert row["delta2_se"] == pytest.approx(np.std(values, ddof=1) / 3**0.5)


def test_experiments_refuse(monkeypatch):
    with pytest.raises(ValueError, match="no experiment is called 'x'; choose from digits-grid"):
        experiments.parts("x")
    with pytest.raises(ValueError, match="needs at least one seed; got none"):
        experiments.parts("noise", seeds=())
    monkeypatch.setattr(experiments.util, "find_spec", lambda name: None)
    wanted = r"experiments need equinox and scikit-learn; write: pip install 'ssem-jax\[train\]'"
    with pytest.raises(ValueError, match=wanted):
        experiments.run("noise")


def test_importing_needs_no_extra():
    code = (
        "import sys; sys.modules['equinox'] = sys.modules['sklearn'] = None; "
        "from ssem_jax.training import experiments; experiments.EXPERIMENTS"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_prints_a_table_and_json(finished):
    folder, table, _ = finished
    command = [sys.executable, "-m", "ssem_jax.cli", "train", "digits-grid", "--fast"]
    command += ["--alpha", "0.2,0.8", "--tau", "0.3", "--seeds", "1", "--out", str(folder)]
    shown, document = (
        subprocess.run([*command, *extra], capture_output=True, text=True, check=False)
        for extra in ((), ("--json",))
    )
    assert shown.returncode == 0, shown.stderr
    assert "Means over seeds" in shown.stdout
    found = json.loads(document.stdout)
    assert found["experiment"] == "digits-grid"
    assert found["rows"] == len(table)
    assert [row["alpha"] for row in found["summary"]] == [0.2, 0.8]
