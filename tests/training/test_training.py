"""The training loss against the verification loss, on one device and on two, and the monitor."""

import itertools
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ssem_jax as sx
from ssem_jax.problem import precision
from ssem_jax.training import batch_variances, predict, predict_batch, supcl_loss

CONVENTIONS = list(itertools.product(("include", "exclude"), ("pairs", "anchors")))

FLOAT32_ROUNDINGS = 4
"""Error of a value in units of eps·(1 + 1/τ)·(1 + |value|), of a gradient in the same of its
largest entry plus one: cosines err by a few eps, and exponents by as much over τ. The worst seen in
480 batches are 0.7 and 0.1."""

SOLVED = 1e-6
"""Variance of a solved batch against one that is optimal by construction, or solved freely: the
bracket at a gap of 1e-12 is narrower, away from a boundary."""

BFLOAT16_STEP = 2**-8
"""Rounding unit of bfloat16, to which a gradient with respect to bfloat16 rows is rounded."""

SAME = 1e-14
"""Relative difference of two float64 sums of the same few hundred terms in another order."""


MESH_ROUNDINGS = 8
"""Difference of two sums over a batch in another order, in eps of one plus the largest entry; the
worst seen is 1.2."""

LABELS = np.repeat([0, 1, 2, 3, 4], [1, 2, 4, 3, 2])
"""Of a batch of twelve: unbalanced, with a class of one instance."""


@pytest.fixture(params=["32 bits", "64 bits", "32 bits, 64 in a block"])
def mode(request):
    """JAX as a training script finds it by default, as verification sets it, and in between."""
    jax.config.update("jax_enable_x64", request.param.startswith("64"))
    try:
        with precision(64 if "64" in request.param else 32):
            yield request.param
    finally:
        jax.config.update("jax_enable_x64", True)


def batch(seed, num_views=2, dim=6, dtype: Any = np.float32):
    """Views of instances whose labels come in any order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(LABELS)
    return rng.normal(size=(len(labels), num_views, dim)).astype(dtype), labels


@partial(jax.jit, static_argnames="structure")
def dense(loss, rows, structure):
    return jax.value_and_grad(lambda rows: loss(rows, structure))(rows)


def verification(views, labels, alpha, tau, self_pairs, mean):
    """Value and gradient of the dense float64 loss, rows in the order of `views`."""
    num_views = views.shape[1]
    structure, order = sx.ClassStructure.from_labels(np.repeat(labels, num_views), num_views)
    with precision(64):
        rows = jnp.asarray(views, jnp.float64).reshape(-1, views.shape[-1])
        value, slope = dense(sx.SupCL(alpha, tau, self_pairs, mean), rows[order], structure)
        return float(value), np.asarray(slope[np.argsort(order)]).reshape(views.shape)


def assert_float32_accurate(found, exact, tau, extra=0.0):
    (value, slope), (exact_value, exact_slope) = found, exact
    unit = FLOAT32_ROUNDINGS * float(jnp.finfo(jnp.float32).eps) * (1 + 1 / tau)
    assert abs(float(value) - float(exact_value)) <= unit * (1 + abs(exact_value))
    error = np.abs(np.asarray(slope, np.float64) - exact_slope)
    assert np.all(error <= unit * (1 + np.abs(exact_slope).max()) + extra * np.abs(exact_slope))


def assert_it_is_the_verification_loss(self_pairs, mean, dtype, cells):
    @jax.jit
    def found(views, labels, alpha, tau):
        def value(views):
            return supcl_loss(
                views, labels, alpha=alpha, temperature=tau, self_pairs=self_pairs, mean=mean
            )

        return jax.value_and_grad(value)(views)

    for seed, (alpha, tau) in enumerate(cells):
        views, labels = batch(seed)
        views = jnp.asarray(views, dtype)
        exact = verification(views, labels, alpha, tau, self_pairs, mean)
        value, slope = found(views, labels, alpha, tau)
        assert (value.dtype, slope.dtype) == (jnp.float32, dtype)
        extra = BFLOAT16_STEP if dtype == jnp.bfloat16 else 0.0
        assert_float32_accurate((value, slope), exact, tau, extra)


@pytest.mark.parametrize(("self_pairs", "mean"), CONVENTIONS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_it_is_the_verification_loss_to_float32_accuracy(self_pairs, mean, dtype):
    cells = [(0.0, 0.5), (0.4, 0.1), (1.0, 0.05), (0.7, 2.0)]
    assert_it_is_the_verification_loss(self_pairs, mean, dtype, cells)


def test_it_is_the_verification_loss_in_every_mode(mode):
    assert_it_is_the_verification_loss("include", "pairs", jnp.float32, [(0.4, 0.1)])


def test_a_class_of_one_instance_pulls_nothing_in_l_sup():
    views, labels = batch(0, dtype=np.float64)
    alone, hyper = labels == 0, {"alpha": 0.0, "temperature": 0.3}

    def as_instances(labels):  # as if the one instance were of a class that it shares
        value, slope = _differentiated(views, labels, **hyper)
        return float(value), slope

    (value, slope), (shared, _) = as_instances(labels), as_instances(np.where(alone, 1, labels))
    assert value != shared
    cosines = np.einsum("apd,bqd->abpq", *2 * [views / np.linalg.norm(views, axis=2)[..., None]])
    same = (labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool)
    log_totals = np.log(np.exp(cosines / 0.3).sum(axis=(1, 3)))
    terms = log_totals[:, None, :, None] - cosines / 0.3
    assert value == pytest.approx(terms[same].mean(), rel=SAME)
    assert np.any(slope[alone])  # it is pushed away by others nevertheless
    value, slope = _differentiated(views, np.arange(len(labels)), **hyper)
    assert value == 0
    assert not np.any(slope)


@pytest.mark.parametrize("seed", [0, 1])
def test_flat_rows_in_any_order_are_the_stacked_views(seed):
    views, labels = batch(seed, dtype=np.float64)
    order = np.random.default_rng(seed).permutation(views.shape[0] * views.shape[1])
    rows = views.reshape(-1, views.shape[2])[order]
    ids = (np.repeat(labels, 2)[order], np.repeat(np.arange(len(labels)), 2)[order])
    hyper = {"alpha": 0.3, "temperature": 0.2, "self_pairs": "exclude"}
    stacked = _jitted(views, labels, **hyper)
    flat = _jitted(rows, ids[0], instance_ids=ids[1], **hyper)
    assert float(flat) == pytest.approx(float(stacked), rel=SAME)
    found = _variances(views, labels)
    again = _variances(rows, ids[0], instance_ids=ids[1])
    np.testing.assert_allclose(found, again, rtol=0, atol=SAME)


_differentiated = jax.jit(jax.value_and_grad(supcl_loss))
_jitted = jax.jit(supcl_loss, static_argnames="self_pairs")
_variances = jax.jit(batch_variances)


def test_vmap_over_batches():
    batches = [batch(seed, dtype=np.float64) for seed in range(3)]
    views, labels = (np.stack(part) for part in zip(*batches, strict=True))

    @jax.jit
    def slope(views, labels):
        return jax.grad(supcl_loss)(views, labels, alpha=0.4, temperature=0.3)

    together = jax.jit(jax.vmap(slope))(views, labels)
    for each, one in zip(together, batches, strict=True):
        np.testing.assert_allclose(each, slope(*one), rtol=0, atol=SAME)


# ------------------------------------------------------------------------------------- two devices

ON_TWO_DEVICES = """
import json, jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, PartitionSpec as P
import ssem_jax as sx
from test_training import CONVENTIONS, batch

jax.config.update("jax_enable_x64", True)
assert len(jax.devices()) == 2
mesh, over = Mesh(np.array(jax.devices()), "batch"), P("batch")
views, labels = batch(5, dtype=np.float64)
weights = jnp.asarray(np.random.default_rng(1).normal(size=(6, 4)))
differences = {}
for self_pairs, mean in CONVENTIONS[::3]:
    def loss(params, views, labels, axis_name=None):
        weights, alpha, tau = params
        return sx.supcl_loss(
            views @ weights, labels, alpha=alpha, temperature=tau, self_pairs=self_pairs,
            mean=mean, axis_name=axis_name, block_size=5,
        )

    def sharded(params, views, labels):
        return loss(params, views, labels, "batch")

    def averaged(*args):
        return jax.lax.pmean(jax.value_and_grad(sharded)(*args), "batch")

    def shard_map(function, **options):
        specs = {"mesh": mesh, "in_specs": (P(), over, over), "out_specs": P()}
        return jax.jit(jax.shard_map(function, **specs, **options))

    def pmap(params, *parts):
        halves = [part.reshape(2, -1, *part.shape[1:]) for part in parts]
        found = jax.pmap(averaged, "batch", in_axes=(None, 0, 0))(params, *halves)
        return jax.tree.map(lambda leaf: leaf[1], found)

    ways = {"gradient inside": shard_map(jax.value_and_grad(sharded))}
    if self_pairs == "exclude":
        ways["gradient outside"] = jax.value_and_grad(shard_map(sharded))
        ways["unchecked"] = shard_map(averaged, check_vma=False)
        ways["pmap"] = pmap
    single = jax.jit(jax.value_and_grad(loss))
    for tau in (0.3, 1e-3):  # the colder one takes the careful sweep
        params = (weights, jnp.asarray(0.4), jnp.asarray(tau))
        expected = jax.tree.leaves(single(params, views, labels))
        for name, way in ways.items():
            pairs = zip(jax.tree.leaves(way(params, views, labels)), expected)
            errors = [np.max(np.abs(a - b)) / (1 + np.max(np.abs(b))) for a, b in pairs]
            differences[f"{self_pairs}, {mean}, {tau}, {name}"] = max(map(float, errors))
spread = jax.jit(jax.shard_map(
    lambda *args: sx.training.batch_variances(*args, axis_name="batch"),
    mesh=mesh, in_specs=(over, over), out_specs=P(),
))(views, labels)
pairs = zip(spread, jax.jit(sx.training.batch_variances)(views, labels))
differences["variances"] = max(abs(float(a - b)) for a, b in pairs)
print(json.dumps({"differences": differences}))
"""


ON_MESHES = """
import json, jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import ssem_jax as sx
from ssem_jax.training import predict
from test_training import batch

assert len(jax.devices()) == 2
structure = sx.ClassStructure((3, 3), 2)
differences = {}

def compare(name, found, expected):
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    eps = float(jnp.finfo(jnp.result_type(float)).eps)
    errors = [np.max(np.abs(a - b)) / (1 + np.max(np.abs(b))) / eps for a, b in pairs]
    differences[name] = max(map(float, errors))

def loss(weights, views, labels):
    return sx.supcl_loss(views @ weights, labels, alpha=0.4, temperature=0.3, block_size=5)

def step(weights, views, labels, monitor):
    found = jax.value_and_grad(loss, argnums=(0, 1))(weights, views, labels)
    return found, monitor.update(sx.training.batch_variances(views, labels)).average

@jax.jit
def dense(rows):
    return jax.value_and_grad(lambda rows: sx.SupCL(0.4, 0.3)(rows, structure))(rows)

for bits in (32, 64):
    jax.config.update("jax_enable_x64", bits == 64)
    views, labels = batch(5, dtype=np.float64)
    weights = np.random.default_rng(1).normal(size=(6, 4))
    views, weights = (jnp.asarray(part, float) for part in (views, weights))
    rows = views[:6].reshape(12, -1)
    single = jax.jit(step)(weights, views, labels, sx.training.BatchMonitor())
    for kind in (AxisType.Explicit, AxisType.Auto):
        mesh = jax.make_mesh((2,), ("batch",), axis_types=(kind,))
        over, everywhere = NamedSharding(mesh, P("batch")), NamedSharding(mesh, P())
        parts = jax.device_put((weights, views, labels), (everywhere, over, over))
        name = f"{bits} bits, {kind.name}"
        compare(name + ", elsewhere", jax.jit(step)(*parts, sx.training.BatchMonitor()), single)
        with jax.set_mesh(mesh):
            compare(name, jax.jit(step)(*parts, sx.training.BatchMonitor()), single)
            compare(name + ", dense", dense(jax.device_put(rows, over)), dense(rows))
            if bits == 32:
                spread = sx.training.batch_variances(parts[1], parts[2])  # without jit
                compare(name + ", spread", spread, sx.training.batch_variances(views, labels))
                predict._predict.cache_clear()
                predicted = sx.training.predict_batch(parts[2], 2, alpha=0.5, temperature=0.1)
                assert 0 < predicted.within < 1
print(json.dumps({"differences": differences}))
"""


def differences_on_two_devices(code):
    """What a script that compares two devices with one prints."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        cwd=Path(__file__).parent,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["differences"]


@pytest.mark.slow  # meshes of either kind are tested below
def test_a_sharded_batch_has_the_loss_and_gradient_of_the_whole():
    differences = differences_on_two_devices(ON_TWO_DEVICES)
    assert len(differences) == 2 * (1 + 4) + 1
    assert {name: gap for name, gap in differences.items() if not gap <= SAME} == {}


def test_meshes_of_either_kind_have_the_loss_and_gradient_of_the_whole():
    """In 32 and in 64 bits, without an axis name: explicit axes, as `jax.make_mesh` makes them by
    default, and automatic ones."""
    differences = differences_on_two_devices(ON_MESHES)
    assert len(differences) == 2 * (3 + 3) + 2
    assert {name: gap for name, gap in differences.items() if not gap <= MESH_ROUNDINGS} == {}


# ------------------------------------------------------------------------------------- the monitor


def test_the_variances_of_a_batch_are_those_of_its_structure():
    views, labels = batch(3, dtype=np.float64)
    structure, order = sx.ClassStructure.from_labels(np.repeat(labels, 2), 2)
    rows = views.reshape(-1, views.shape[-1])[order]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found, expected = _variances(views, labels), sx.geometry.variances(unit, structure)
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=0, atol=SAME)
    assert float(found.total + found.mean_squared) == pytest.approx(1, abs=SAME)
    short = _variances(views.astype(jnp.bfloat16), labels)
    assert all(part.dtype == jnp.float32 for part in short)


def test_the_running_average_is_that_of_its_weights(mode):
    decay, draws = 0.7, np.random.default_rng(0).uniform(size=(5, 4)).astype(np.float32)
    monitor = sx.training.BatchMonitor(decay)
    assert np.all(np.isnan(np.asarray(monitor.average)))

    @jax.jit
    def scanned(monitor, draws):
        def step(monitor, row):
            return monitor.update(type(monitor.sums)(*row)), None

        return jax.lax.scan(step, monitor, draws)[0]

    average = scanned(monitor, draws).average
    weights = decay ** np.arange(5)[::-1]
    np.testing.assert_allclose(average, weights @ draws / weights.sum(), rtol=1e-6)
    last = scanned(sx.training.BatchMonitor(0.0), draws).average
    np.testing.assert_array_equal(last, draws[-1])


def test_the_prediction_of_a_balanced_batch_is_the_closed_form_in_float32_too():
    labels = np.array([7, 3, 3, 7, 5, 5])
    with precision(32):
        prediction = predict_batch(labels, 2, alpha=0.7, temperature=0.3)
    expected = sx.theory.variances(3, 2, 2, 0.7, 0.3)
    assert prediction.within == pytest.approx(float(expected.within), abs=1e-15)
    assert prediction.variances.between == pytest.approx(float(expected.between), abs=1e-15)
    assert prediction.variances.total == 1
    np.testing.assert_allclose(
        prediction.class_variances.delta2, float(expected.within), atol=1e-15
    )
    apart = predict_batch(labels, 2, alpha=0.0, temperature=0.1, self_pairs="exclude")
    assert apart.class_variances.view == pytest.approx(
        float(sx.theory.view_variance(3, 2, 2, 0.0, 0.1, "exclude")), abs=1e-15
    )
    assert apart.within == apart.variances.view > 0


def test_predictions_have_the_same_bits_in_every_mode(mode, monkeypatch):
    monkeypatch.setattr(predict, "_predict", predict._predict.__wrapped__)  # nothing is kept
    hyper: dict[str, Any] = {"alpha": 0.5, "temperature": 0.1}
    for labels in ([0, 0, 0, 1, 1, 2], [0, 0, 1, 1]):
        found = predict_batch(np.array(labels), 2, **hyper)
        with precision(64):
            exact = predict_batch(np.array(labels), 2, **hyper)
        assert found.variances == exact.variances
        np.testing.assert_array_equal(found.class_variances.delta2, exact.class_variances.delta2)


def test_the_training_example(mode):
    """README's, on a linear encoder: loss, monitor and prediction of an unbalanced batch."""
    images, labels = batch(4)
    weights = jnp.asarray(np.random.default_rng(2).normal(size=(6, 4)), jnp.float32)

    @jax.jit
    def step(weights, images, labels, monitor):
        def objective(weights):
            views = images @ weights
            return supcl_loss(views, labels, alpha=0.5, temperature=0.1), views

        (loss, views), slope = jax.value_and_grad(objective, has_aux=True)(weights)
        return weights - 0.1 * slope, loss, monitor.update(batch_variances(views, labels))

    monitor, losses = sx.training.BatchMonitor(), []
    for _ in range(20):
        weights, loss, monitor = step(weights, images, labels, monitor)
        losses.append(loss)
    assert (weights.dtype, losses[-1].dtype) == (jnp.float32, jnp.float32)
    assert losses[-1] < losses[0]
    predicted = predict_batch(labels, 2, alpha=0.5, temperature=0.1)
    average = monitor.average
    assert 0 < average.within < 1
    assert float(average.within + average.between) == pytest.approx(float(average.total), rel=1e-6)
    assert predicted.structure.sizes == (1, 2, 4, 3, 2)
    assert 0 <= predicted.within < 1


@pytest.mark.parametrize("length", [1e-30, 1e25])
def test_rows_of_any_length_have_the_loss_of_their_directions(length):
    """Squares of these lengths are no float32: such rows counted as zero."""
    views, labels = batch(6)
    hyper: dict[str, Any] = {"alpha": 0.5, "temperature": 0.1}
    value, slope = _differentiated(views, labels, **hyper)
    scaled = (views * np.float32(length)).astype(np.float32)
    found, moved = _differentiated(scaled, labels, **hyper)
    assert float(found) == pytest.approx(float(value), rel=1e-5)
    np.testing.assert_allclose(np.asarray(moved, float) * length, slope, rtol=0, atol=1e-5)
    np.testing.assert_allclose(_variances(scaled, labels), _variances(views, labels), atol=1e-6)


def test_instance_ids_may_start_anew_in_every_class():
    views, labels = batch(7, dtype=np.float64)
    order = np.argsort(labels, kind="stable")
    rows, classes = views[order].reshape(-1, views.shape[2]), np.repeat(labels[order], 2)
    unique = np.repeat(np.arange(len(labels)), 2)
    _, first, sizes = np.unique(classes, return_index=True, return_counts=True)
    anew = unique - np.repeat(unique[first], sizes)
    assert len(np.unique(anew)) < len(labels)
    hyper = {"alpha": 0.3, "temperature": 0.2, "self_pairs": "exclude"}
    for loss, spread in ((supcl_loss, batch_variances), (_jitted, _variances)):
        values = [loss(rows, classes, instance_ids=ids, **hyper) for ids in (unique, anew)]
        assert values[0] == values[1]
        found = [spread(rows, classes, instance_ids=ids) for ids in (unique, anew)]
        assert found[0] == found[1]


def test_the_prediction_of_an_unbalanced_batch_is_what_free_minimisation_finds():
    labels = np.array([1, 0, 1, 1, 1, 2, 0])  # classes of 2, 4 and 1
    with precision(32):  # as training does; the threads of the solver follow
        prediction = predict_batch(labels, alpha=0.6, temperature=0.4)
    assert prediction.structure.sizes == (2, 4, 1)
    problem = sx.Problem(prediction.structure, 7, sx.SupCL(0.6, 0.4))
    solution = sx.solve(problem, jax.random.key(0))
    free = sx.geometry.class_variances(solution.embeddings, prediction.structure)
    np.testing.assert_allclose(prediction.class_variances.delta2, free.delta2, rtol=0, atol=SOLVED)
    whole = batch_variances(solution.embeddings, np.sort(labels))
    np.testing.assert_allclose(
        np.asarray(prediction.variances), np.asarray(whole), rtol=0, atol=SOLVED
    )
    again = predict_batch(labels[::-1] * -10, alpha=0.6, temperature=0.4)
    np.testing.assert_array_equal(
        again.class_variances.delta2, prediction.class_variances.delta2[::-1]
    )


# ---------------------------------------------------------------------------------------- misuse


def test_misuse():
    views, labels = batch(0)
    hyper: dict[str, Any] = {"alpha": 0.5, "temperature": 0.5}
    for arguments, message in [
        ((views[0, 0], labels), r"embeddings must be \(B, p, d\).*got shape \(6,\)"),
        ((views[:0], labels[:0]), r"embeddings must be .*got shape \(0, 2, 6\)"),
        ((views.swapaxes(0, 1), labels), r"stacked along the second axis.*swapaxes\(0, 1\)"),
        ((views, labels[:-1]), "labels must be one integer for each of the 12 embeddings"),
        ((views, labels + 0.5), "labels must be integers or texts; row 0 is [0-9].5"),
    ]:
        with pytest.raises(ValueError, match=message):
            supcl_loss(*arguments, **hyper)
        with pytest.raises(ValueError, match=message):
            batch_variances(*arguments)
    with pytest.raises(ValueError, match="instance_ids must be one integer"):
        supcl_loss(views, labels, instance_ids=labels[:3], **hyper)
    with pytest.raises(ValueError, match="num_views must be at least 2 when alpha > 0"):
        supcl_loss(views[:, 0], labels, self_pairs="exclude", **hyper)
    with pytest.raises(ValueError, match=r"alpha must lie in \[0, 1\]"):
        supcl_loss(views, labels, alpha=2, temperature=0.5)
    with pytest.raises(ValueError, match=r"decay must lie in \[0, 1\); got 1"):
        sx.training.BatchMonitor(1.0)
    for labels, message in [([0, 0], "at least 2 classes"), ([0, 1], "no positive pair")]:
        with pytest.raises(ValueError, match=message):
            predict_batch(np.array(labels), **hyper)
