"""The blockwise loss against the dense one, against its definition, and in its memory."""

import itertools
import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssem_jax.losses import SupCL
from ssem_jax.losses.tiles import (
    BLOCK_SIZE,
    _panel_rows,
    blockwise_dual,
    blockwise_supcl,
    default_block_size,
)
from ssem_jax.problem import ClassStructure

ROUNDINGS = 4
"""Error in units of eps·(1 + 1/τ)·(1 + |value|): entries of G err by a few eps, exponents by as
much over τ, and both losses average them. The worst seen over these tests is 1.2."""

SLOPE_ROUNDINGS = 1
"""The same for an entry of the gradient, relative to the largest entry plus one (its terms before
they cancel are of the size 1/τ, which the unit counts). The worst seen is 0.2."""

TEMPERATURE_ROUNDINGS = 16
"""The same for the derivative in τ, in units of eps·(1 + 1/τ)·(1/τ + |derivative|): it is summed
from terms of size 1/τ². The worst seen is 3."""

TILE_BYTES, ROW_BYTES = 8, 16
"""Temporary tiles and copies of the embeddings at most. XLA needs 3 tiles, and 7 copies."""

BFLOAT16_STEP = 2**-8
"""Rounding unit of bfloat16, to which a gradient with respect to bfloat16 rows is rounded."""

CONVENTIONS = list(itertools.product(("include", "exclude", "decouple"), ("pairs", "anchors")))
STRUCTURES = [
    ClassStructure((2, 2), 1),
    ClassStructure((1, 4, 2), 3),
    ClassStructure((1, 1, 1), 2),
]


def admitted_alpha(structure, self_pairs):
    if max(structure.sizes) == 1:
        return 1.0
    return 0.0 if self_pairs != "include" and structure.num_views == 1 else 0.3


def blockwise_loss(loss, rows, structure, block_size=BLOCK_SIZE):
    ids = (structure.class_ids, structure.instance_ids)
    hyper = (loss.alpha, loss.temperature, loss.self_pairs, loss.mean)
    return blockwise_supcl(rows, *ids, *hyper, block_size)


def random_rows(num_rows, dim=4, seed=0):
    return np.random.default_rng(seed).normal(size=(num_rows, dim))


@partial(jax.jit, static_argnames=("structure", "self_pairs", "mean", "block_size"))
def differentiated(rows, alpha, tau, structure, self_pairs, mean, block_size):
    """Value and derivatives in (U, α, τ); of the dense loss where there is no block size."""

    def value(rows, alpha, tau):
        loss = SupCL(alpha, tau, self_pairs, mean)
        if block_size is None:
            return loss(rows, structure)
        return blockwise_loss(loss, rows, structure, block_size)

    return jax.value_and_grad(value, argnums=(0, 1, 2))(rows, alpha, tau)


def blockwise(rows, structure, loss, block_size: int | None = BLOCK_SIZE):
    hyper = (loss.alpha, loss.temperature, structure, loss.self_pairs, loss.mean)
    return differentiated(jnp.asarray(rows), *hyper, block_size)


def dense(rows, structure, loss):
    """The reference, in float64."""
    return blockwise(np.asarray(rows, np.float64), structure, loss, None)


def assert_same(found, expected, tau, dtype):
    unit = float(jnp.finfo(dtype).eps) * (1 + 1 / tau)
    (value, (slope, by_alpha, by_tau)), (exact, (exact_slope, exact_alpha, exact_tau)) = (
        found,
        expected,
    )
    assert abs(float(value - exact)) <= ROUNDINGS * unit * (1 + abs(exact))
    assert abs(float(by_alpha - exact_alpha)) <= ROUNDINGS * unit * (1 + abs(exact))
    allowed = SLOPE_ROUNDINGS * unit * (1 + np.abs(exact_slope).max())
    assert np.abs(np.asarray(slope, np.float64) - exact_slope).max() <= allowed
    allowed = TEMPERATURE_ROUNDINGS * unit * (1 / tau + abs(exact_tau))
    assert abs(float(by_tau - exact_tau)) <= allowed


# ------------------------------------------------------------------------- against the dense loss


@pytest.mark.parametrize(("self_pairs", "mean"), CONVENTIONS)
@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_it_is_the_dense_loss_in_every_convention(structure, self_pairs, mean):
    loss = SupCL(admitted_alpha(structure, self_pairs), 0.3, self_pairs, mean)
    rows = random_rows(structure.num_embeddings)
    found = blockwise(rows, structure, loss, block_size=4)
    assert_same(found, dense(rows, structure, loss), 0.3, jnp.float64)


GEOMETRIES = ("random", "collapsed", "one point", "nearly one point")


def geometry(name, structure, dim=4):
    rows = random_rows(structure.num_embeddings, dim, 1)
    if name == "random":
        return rows
    center = rows[structure.class_ids] if name == "collapsed" else rows[:1]
    return center + (1e-3 * rows if name.startswith("nearly") else 0 * rows)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("self_pairs", ["include", "exclude", "decouple"])
def test_it_is_accurate_from_cold_to_hot(self_pairs, dtype):
    """Below τ = 0.01 rows whose nearest neighbour is far underflow, and take the careful sweep."""
    structure = ClassStructure((3, 1, 2), 2)
    for name, tau in itertools.product(GEOMETRIES, (1e-3, 1e-2, 0.1, 1.0, 1e3)):
        rows = np.asarray(geometry(name, structure), dtype)
        loss = SupCL(0.4, tau, self_pairs)
        assert_same(blockwise(rows, structure, loss, 5), dense(rows, structure, loss), tau, dtype)


def test_the_careful_sweep_is_taken_and_needed():
    structure, loss = ClassStructure((2, 2), 1), SupCL(0.0, 1e-3, "exclude")
    rows = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])  # cosines of -1/3
    value, (slope, *_) = blockwise(rows, structure, loss)
    assert math.exp(-4 / 3 / 1e-3) == 0
    assert float(value) == pytest.approx(math.log(3), rel=1e-12)
    assert np.all(np.isfinite(slope))
    mixed = rows.repeat(2, axis=0)  # rows near one another beside rows that are not
    mixed[-1] = -mixed[0]
    structure = ClassStructure((2, 2), 2)
    assert_same(
        blockwise(mixed, structure, loss, 3), dense(mixed, structure, loss), 1e-3, jnp.float64
    )


def test_bfloat16_rows_are_summed_in_float32():
    structure, loss = ClassStructure((40, 25), 2), SupCL(0.4, 0.1)
    rows = jnp.asarray(random_rows(130, 16), jnp.bfloat16)
    value, (slope, *_) = blockwise(rows, structure, loss, 50)
    exact, (exact_slope, *_) = dense(rows.astype(jnp.float32), structure, loss)
    unit = float(jnp.finfo(jnp.float32).eps) * (1 + 1 / 0.1)
    assert value.dtype == jnp.float32
    assert slope.dtype == jnp.bfloat16
    assert abs(float(value - exact)) <= ROUNDINGS * unit * (1 + abs(exact))
    error = np.abs(np.asarray(slope, np.float64) - exact_slope)
    assert np.all(error <= BFLOAT16_STEP * np.abs(exact_slope) + SLOPE_ROUNDINGS * unit)


@pytest.mark.parametrize("self_pairs", ["include", "exclude"])
def test_many_blocks_in_float32(self_pairs):
    structure = ClassStructure((300, 100, 1, 200), 2)
    loss = SupCL(0.3, 0.07, self_pairs, "anchors")
    rows = random_rows(structure.num_embeddings, 32).astype(np.float32)
    expected = dense(rows, structure, loss)
    assert_same(blockwise(rows, structure, loss, 128), expected, 0.07, jnp.float32)


@pytest.mark.parametrize("self_pairs", ["include", "exclude", "decouple"])
def test_panels_of_kept_exponentials(self_pairs):
    """Three panels, the last of one row."""
    structure, loss = ClassStructure((200, 313), 1), SupCL(0.0, 0.3, self_pairs)
    assert len(_panel_rows(513)) == 3
    rows = random_rows(513, 3)
    found = blockwise(rows, structure, loss, default_block_size(513))
    assert_same(found, dense(rows, structure, loss), 0.3, jnp.float64)


def test_a_zero_row_is_no_nan():
    structure, loss = ClassStructure((2, 2)), SupCL(0.5, 1e-3)
    rows = random_rows(4)
    rows[1] = 0
    expected = dense(rows, structure, loss)
    assert_same(blockwise(rows, structure, loss, 2), expected, 1e-3, jnp.float64)


# ------------------------------------------------------------------- against the definition, in ids


def by_definition(rows, classes, instances, alpha, tau, self_pairs, mean):
    """Pair by pair; classes and instances of any composition, in any order."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    everyone = range(len(rows))
    kinds = {"sup": [], "own": []}
    for i in everyone:
        members = [k for k in everyone if self_pairs == "include" or k != i]
        apart = [k for k in members if self_pairs != "decouple" or instances[i] != instances[k]]
        log_total = np.log(sum(np.exp(unit[i] @ unit[k] / tau) for k in apart))
        sup = [j for j in members if classes[i] == classes[j] and instances[i] != instances[j]]
        own = [j for j in members if instances[i] == instances[j]]
        for kind, positives in (("sup", sup), ("own", own)):
            kinds[kind].append([log_total - unit[i] @ unit[j] / tau for j in positives])

    def averaged(terms):
        parts = (
            [np.mean(part) for part in terms if part]
            if mean == "anchors"
            else list(itertools.chain(*terms))
        )
        return np.mean(parts) if len(parts) else 0.0

    return (1 - alpha) * averaged(kinds["sup"]) + alpha * averaged(kinds["own"])


@pytest.mark.parametrize(("self_pairs", "mean"), CONVENTIONS)
def test_ids_may_be_any_integers_in_any_order_with_ragged_views(self_pairs, mean):
    traces = []

    @jax.jit
    def value(rows, classes, instances):
        traces.append(1)
        return blockwise_supcl(rows, classes, instances, 0.4, 0.3, self_pairs, mean, 5)

    def draw(seed):
        rng = np.random.default_rng(seed)
        owner = rng.integers(0, 6, 12)  # the instance of every row: one to several views
        classes, instances = (owner % 3) * 1000 - 7, (owner * 37) % 11 - 2**30
        rows = random_rows(12, seed=seed)
        return rows, classes, instances

    for seed in range(4):
        rows, classes, instances = draw(seed)
        expected = by_definition(rows, classes, instances, 0.4, 0.3, self_pairs, mean)
        assert float(value(rows, classes, instances)) == pytest.approx(expected, rel=1e-13)
    assert len(traces) == 1
    rows, classes, instances = draw(3)
    expected = by_definition(rows, classes, instances, 0.4, 0.3, self_pairs, mean)
    known = blockwise_supcl(rows, classes, instances, 0.4, 0.3, self_pairs, mean)  # not traced
    assert float(known) == pytest.approx(expected, rel=1e-13)


@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3), tau=st.floats(0.1, 10))
def test_invariant_to_order_rotation_and_scale(seed, scale, tau):
    rng = np.random.default_rng(seed)
    structure = ClassStructure((3, 2, 3), 2)
    rows, order = random_rows(16, 5, seed), rng.permutation(16)
    rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    ids = (structure.class_ids, structure.instance_ids)
    unit = float(jnp.finfo(jnp.float64).eps) * (1 + 1 / tau)
    value = _shuffled(rows, *ids, tau)
    moved = _shuffled(scale * rows[order] @ rotation, *(part[order] for part in ids), tau)
    assert abs(float(value - moved)) <= ROUNDINGS * unit * (1 + value)


@jax.jit
def _shuffled(rows, classes, instances, tau):
    return blockwise_supcl(rows, classes, instances, 0.3, tau, "exclude", block_size=6)


def test_without_a_kind_of_positives_it_counts_nothing():
    rows, singles = random_rows(6), np.arange(6)
    for self_pairs in ("include", "exclude"):
        value = blockwise_supcl(rows, singles, singles, 0.0, 0.3, self_pairs)
        assert float(value) == 0
    slope = jax.grad(blockwise_supcl)(rows, singles, singles, 0.5, 1e-3, "exclude")
    assert not np.any(slope)


def test_vmap_over_alpha_and_temperature():
    structure = ClassStructure((2, 3), 2)
    rows = jnp.asarray(random_rows(10))
    alphas, taus = np.linspace(0, 1, 5), np.geomspace(1e-3, 10, 5)

    @jax.jit
    def slope(alpha, tau):
        return jax.grad(lambda rows: blockwise_loss(SupCL(alpha, tau), rows, structure, 4))(rows)

    batched = jax.vmap(slope)(alphas, taus)
    for one, alpha, tau in zip(batched, alphas, taus, strict=True):
        np.testing.assert_allclose(one, slope(alpha, tau), rtol=1e-9, atol=1e-12 / tau)


# ---------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("self_pairs", ["include", "exclude"])
def test_memory_is_that_of_the_rows_and_a_few_tiles(self_pairs):
    num_rows, dim = 65_536, 128
    rows = jax.ShapeDtypeStruct((num_rows, dim), jnp.float32)
    ids = jax.ShapeDtypeStruct((num_rows,), jnp.int32)

    def value(rows, classes, instances):
        return blockwise_supcl(rows, classes, instances, 0.5, 0.1, self_pairs)

    compiled = jax.jit(jax.value_and_grad(value)).lower(rows, ids, ids).compile()
    used = compiled.memory_analysis().temp_size_in_bytes
    assert used <= 4 * (TILE_BYTES * BLOCK_SIZE**2 + ROW_BYTES * num_rows * dim)
    assert used < 4 * num_rows**2 / 49  # 343 MB of XLA before jax 0.12, 344 of later ones


# ----------------------------------------------------------------------------------- precision


def dots(jaxpr):
    """All matrix products in a program and in those that it calls."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from dots(inner)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_products_keep_the_precision_of_float32(dtype):
    """On recent GPUs JAX would take float32 matrices as TF32 by default."""
    rows, ids = jnp.asarray(random_rows(12), dtype), np.arange(12)
    structure = ClassStructure((3, 3), 2)
    losses = {
        "tiles": lambda rows: blockwise_supcl(rows, ids // 4, ids // 2, 0.5, 0.1),
        "dense": lambda rows: SupCL(0.5, 0.1)(rows, structure),
    }
    for name, loss in losses.items():
        found = list(dots(jax.make_jaxpr(jax.value_and_grad(loss))(rows).jaxpr))
        assert len(found) >= 2, name
        for equation in found:
            highest = jax.lax.Precision.HIGHEST
            assert equation.params["precision"] == (highest, highest), name
            assert {operand.aval.dtype for operand in equation.invars} == {jnp.dtype("float32")}


# ------------------------------------------------------------------------------------------- ids


@pytest.mark.parametrize("traced", [False, True])
def test_instance_ids_count_within_their_class(traced):
    """Ids may start anew in every class; they may be of another type than those of classes."""
    rows, classes = random_rows(8), np.repeat([3, -7], 4)
    unique = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    anew = np.array([5, 5, 9, 9, 5, 5, 9, 9], np.uint32)

    def value(rows, classes, instances):
        return blockwise_supcl(rows, classes, instances, 0.5, 0.3, "exclude")

    value = jax.jit(value) if traced else value
    assert value(rows, classes, anew) == value(rows, classes, unique)


# ---------------------------------------------------------------------------------------- misuse


def test_misuse():
    rows, ids = random_rows(4), np.arange(4)
    for bad, message in [
        ((rows[0], ids, ids), r"embeddings must be two or more rows \(N, d\); got shape \(4,\)"),
        ((rows[:1], ids[:1], ids[:1]), "two or more rows"),
        ((rows, ids[:3], ids), r"class_ids must be one integer for each of the 4 .*shape \(3,\)"),
        ((rows, ids, ids + 0.5), "instance_ids must be one integer .*of float64"),
    ]:
        with pytest.raises(ValueError, match=message):
            blockwise_supcl(*bad, alpha=0.5, temperature=0.5)
    for changed, message in [
        ({"alpha": 1.5}, r"alpha must lie in \[0, 1\]"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"temperature": np.array([0.5, 1.0])}, r"must be numbers here.*Use jax\.vmap"),
        ({"self_pairs": "both"}, "self_pairs must be one of"),
        (
            {"self_pairs": "decouple", "instance_ids": 0 * ids},
            'one instance have nobody.*self_pairs="exclude"',
        ),
        ({"mean": "rows"}, "mean must be one of"),
        ({"block_size": 0}, "block_size must be an integer of at least 1"),
    ]:
        named: dict[str, Any] = {"class_ids": 0 * ids, "instance_ids": ids}
        options = named | {"alpha": 0.5, "temperature": 0.5} | changed
        with pytest.raises(ValueError, match=message):
            blockwise_supcl(rows, **options)


@pytest.mark.parametrize("tau", [0.4, 2e-3])
@pytest.mark.parametrize(("self_pairs", "mean"), CONVENTIONS)
def test_the_dual_matrix_in_blocks(self_pairs, mean, tau):
    """Against sym ∇L + Diag λ written out; at τ = 0.002 rows have nobody near."""
    structure, loss = ClassStructure((1, 4, 2), 3), SupCL(0.3, tau, self_pairs, mean)
    rows = random_rows(structure.num_embeddings)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gram = rows @ rows.T
    slope = np.asarray(jax.grad(loss.from_gram)(jnp.asarray(gram), structure))
    slope = 0.5 * (slope + slope.T)
    matrix = slope - np.diag(np.sum(slope * gram, axis=1))

    dual = blockwise_dual(loss, jnp.asarray(rows), structure, 8)
    tolerance = 16 * np.finfo(float).eps * (1 + 1 / tau) / tau
    assert abs(dual.value - loss.from_gram(jnp.asarray(gram), structure)) <= tolerance
    found = dual.product(jnp.eye(len(rows)))
    assert np.allclose(found, matrix, rtol=0, atol=tolerance)
    assert np.linalg.norm(matrix, 2) <= dual.norm
    ones = jnp.ones((len(rows), 1))
    sums = (dual.of_denominators(ones) + dual.of_positives(ones))[:, 0]
    of_rows = sums + jnp.abs(dual.multipliers)
    assert np.isclose(dual.norm, of_rows.max(), rtol=tolerance)
    assert abs(np.sum(dual.multipliers) + np.sum(slope * gram)) <= len(rows) * tolerance
