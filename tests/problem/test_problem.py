"""Class structures, problems and the validation of what users give."""

import dataclasses
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import labels

import ssem_jax as sx
from ssem_jax.compute import run_chunks
from ssem_jax.losses import SupCL
from ssem_jax.problem import ClassStructure, Problem, precision, require_x64
from ssem_jax.problem.validation import in_64_bits

STRUCTURE = ClassStructure((3, 1, 2), 2)
BALANCED = ClassStructure.balanced(2, 3)


# --------------------------------------------------------------------------------- structures


def structure_of(sizes: Any, num_views: int = 1) -> ClassStructure:
    """A structure of whatever sizes."""
    return ClassStructure(sizes, num_views)


@given(sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4), num_views=st.integers(1, 3))
def test_rows_are_ordered_by_class_instance_and_view(sizes, num_views):
    structure = ClassStructure(sizes, num_views)
    rows = labels(structure)
    assert structure.num_embeddings == len(rows)
    assert structure.num_classes == len(sizes)
    assert structure.total_instances * num_views == len(rows)
    assert structure.class_ids.tolist() == [k for k, _, _ in rows]
    instances = sorted({(k, i) for k, i, _ in rows})
    assert structure.instance_ids.tolist() == [instances.index((k, i)) for k, i, _ in rows]
    assert structure.is_balanced == (min(sizes) == max(sizes))


def test_a_structure_is_a_value():
    assert structure_of([3, 3], 1) == BALANCED
    assert hash(structure_of((np.int64(3), 3.0))) == hash(BALANCED)
    assert ClassStructure.balanced(cast(Any, 2.0), 3) == BALANCED
    assert jax.tree.leaves(BALANCED) == []
    assert str(BALANCED) == "2 classes × 3"
    assert str(STRUCTURE) == "classes of 3,1,2 × 2 views"


@given(data=st.data(), num_views=st.integers(1, 3))
def test_labels_are_sorted_into_a_structure(data, num_views):
    classes = data.draw(
        st.lists(st.sampled_from("abc"), min_size=2).filter(lambda c: len({*c}) > 1)
    )
    of_row = np.repeat(classes, num_views)
    structure, order = ClassStructure.from_labels(of_row, num_views)
    assert structure.sizes == tuple(classes.count(c) for c in sorted({*classes}))
    assert sorted(order) == list(range(len(of_row)))
    assert of_row[order].tolist() == [sorted({*classes})[k] for k in structure.class_ids]
    # The views of an instance stay adjacent and in order, and instances keep theirs.
    first = order.reshape(-1, num_views)[:, :1]
    assert np.array_equal(order.reshape(-1, num_views), first + np.arange(num_views))
    assert np.all(first % num_views == 0)
    assert all(np.all(np.diff(order[structure.class_ids == k]) > 0) for k in range(len({*classes})))


def test_labels_may_be_any_iterable():
    structure, order = ClassStructure.from_labels(iter([7, -1, 7]))
    assert structure.sizes == (1, 2)
    assert order.tolist() == [1, 0, 2]


def test_num_instances_needs_balance():
    assert BALANCED.num_instances == 3
    with pytest.raises(ValueError, match=r"needs classes of equal size; got sizes \(3, 1, 2\)"):
        _ = STRUCTURE.num_instances


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ClassStructure((3,)), "there must be at least 2 classes; got 1"),
        (lambda: ClassStructure(()), "there must be at least 2 classes; got 0"),
        (
            lambda: ClassStructure((3, 0)),
            "every class size must be an integer of at least 1; got 0",
        ),
        (lambda: structure_of((3, 1.5)), "every class size must be an integer .* got 1.5"),
        (lambda: ClassStructure((3, True)), "every class size must be an integer .* got True"),
        (lambda: structure_of((3, np.inf)), "every class size must be an integer .* got inf"),
        (lambda: ClassStructure((3, 2), 0), "num_views must be an integer of at least 1; got 0"),
        (lambda: ClassStructure.balanced(1, 3), "num_classes must be .* at least 2; got 1"),
        (
            lambda: ClassStructure.from_labels([]),
            r"must be one-dimensional and not empty; got \(0,\)",
        ),
        (lambda: ClassStructure.from_labels(np.ones((2, 2))), r"one-dimensional .* got \(2, 2\)"),
        (lambda: ClassStructure.from_labels([0, 1], 0), "num_views must be .* at least 1; got 0"),
        (
            lambda: ClassStructure.from_labels([0, 0, 1], 2),
            "3 labels cannot be split into .* 2 views",
        ),
        (
            lambda: ClassStructure.from_labels([0, 0, 0, 1], 2),
            "rows 2 to 3 are views of one instance",
        ),
        (lambda: ClassStructure.from_labels([1, 1]), "there must be at least 2 classes; got 1"),
    ],
)
def test_misused_structures(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# ----------------------------------------------------------------------------------- problems


def test_a_problem_is_a_pytree_of_its_hyper_parameters():
    problem = Problem(STRUCTURE, 4, SupCL(0.3, 0.5, "exclude"))
    assert jax.tree.leaves(problem) == [0.3, 0.5]
    assert jax.jit(lambda problem: problem)(problem).loss.self_pairs == "exclude"
    keys = [jax.tree_util.keystr(key) for key, _ in jax.tree.leaves_with_path(problem)]
    assert keys == [".loss.alpha", ".loss.temperature"]
    # Rebuilding is not building: a tangent of α may well lie outside [0, 1].
    assert jax.tree.map(lambda leaf: -leaf, problem).loss.alpha == -0.3
    with pytest.raises(ValueError, match="alpha must lie"):
        dataclasses.replace(cast(Any, problem.loss), alpha=-0.3)


def test_batch_size_counts_the_cells():
    def problem(alpha, temperature):
        return Problem(BALANCED, cast(Any, 5.0), SupCL(alpha, temperature))

    assert problem(0.5, 0.5).batch_size is None
    assert problem(0.5, 0.5).dim == 5
    assert isinstance(problem(0.5, 0.5).dim, int)
    assert problem(np.linspace(0, 1, 4), 0.5).batch_size == 4
    assert problem(jnp.ones(4), jnp.ones(4)).batch_size == 4
    loss, size = problem(0.5, np.array([0.1, 0.2])).cells()
    assert size == 2
    assert loss.alpha.tolist() == [0.5, 0.5]
    assert loss.temperature.tolist() == [0.1, 0.2]
    assert problem(0.5, 0.5).cells()[1] == 1
    for bad in ((np.ones(4), np.ones(3)), (np.ones((2, 2)), 0.5)):
        with pytest.raises(ValueError, match="may carry one common batch axis; got shapes"):
            problem(*bad)


def test_misused_problems():
    with pytest.raises(ValueError, match="dim must be an integer of at least 1; got 0"):
        Problem(BALANCED, 0, SupCL(0.5, 0.5))
    with pytest.raises(ValueError, match="num_views must be at least 2 when alpha > 0"):
        Problem(BALANCED, 5, SupCL(0.5, 0.5, "exclude"))


def test_a_mapped_problem_has_no_batch_axis_inside():
    problem = Problem(BALANCED, 5, SupCL(np.linspace(0, 1, 4), 0.5))

    def cell(loss):
        inner = Problem(BALANCED, 5, loss)
        assert inner.batch_size is None
        return cast(SupCL, inner.loss).alpha

    out = jax.vmap(cell)(problem.cells()[0])
    np.testing.assert_array_equal(out, cast(SupCL, problem.loss).alpha)


def test_64_bits_are_asked_for():
    require_x64()
    with (
        jax.enable_x64(False),
        pytest.raises(ValueError, match=r'write `jax.config.update\("jax_enable_x64", True\)`'),
    ):
        require_x64()


@pytest.mark.parametrize("bits", [32, 64])
def test_precision_holds_for_a_block_and_its_chunks(bits):
    before = in_64_bits()
    with precision(bits):
        chunks = list(run_chunks(lambda cells, _: jnp.ones(len(cells)), np.arange(3), 2))
        assert jnp.ones(1).dtype.itemsize == bits // 8
    assert in_64_bits() == before
    assert all(result.dtype.itemsize == bits // 8 for _, result in chunks)


def test_the_problem_of_every_dimension_is_certified_and_not_solved():
    everywhere = Problem(BALANCED, None, SupCL(0.5, 0.5))
    assert everywhere.dim is None
    with pytest.raises(ValueError, match=r"embeddings need a dimension; got dim=None.*as geometry"):
        sx.solve(everywhere, jax.random.key(0))
    with pytest.raises(ValueError, match="embeddings need a dimension"):
        sx.sweep(everywhere)
    reduced = sx.certificate.solve_reduced(everywhere)
    optimum = sx.theory.similarities(*BALANCED.counts, 0.5, 0.5)
    found = sx.certificate.certify_blocks(everywhere, optimum)
    assert float(found.lower) == pytest.approx(float(reduced.value), abs=1e-9)
