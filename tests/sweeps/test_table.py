"""Rows and problems: one round trip, with the type of every choice, or a refusal."""

import dataclasses
import enum
import importlib
import itertools
from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import ssem_jax as sx
from ssem_jax import claims
from ssem_jax.certificate import QUANTITIES
from ssem_jax.claims import Range, Space
from ssem_jax.geometry.shares import Variances
from ssem_jax.problem import pytree_dataclass
from ssem_jax.sweeps import SCHEMA
from ssem_jax.sweeps.table import (
    choice_of,
    columns_of,
    fixed_columns,
    in_order,
    join,
    problem_of,
    problems,
    tabulate,
    text_of,
)

table_module = importlib.import_module("ssem_jax.sweeps.table")


class Kind(enum.Enum):
    ROUND = 1
    SQUARE = 2


@sx.gram_loss(convex=True, symmetric=True)
def flagged(gram, structure, *, sharpness=1.0, push=False, kind="2", weights=(1.0, 2.0), mode=None):
    """A user's loss with static choices of several types."""
    apart = structure.class_ids[:, None] != structure.class_ids
    return jnp.mean(jnp.where(apart, jnp.exp(sharpness * gram), (1 if push else -1) * gram))


@pytree_dataclass
class Ordered(sx.GramLoss):
    """A user's loss with choices that are numbers, and such as a table can only name."""

    convex = True

    scale: Any
    order: int = dataclasses.field(default=2, metadata={"static": True})
    bend: Any = dataclasses.field(default=jnp.exp, metadata={"static": True})
    kind: Any = dataclasses.field(default=Kind.ROUND, metadata={"static": True})

    def from_gram(self, gram, structure):
        return self.scale * jnp.mean(self.bend(gram) ** self.order)


@pytree_dataclass
class Both(sx.GramLoss):
    """The sum of two losses."""

    convex = True

    first: sx.GramLoss
    second: sx.GramLoss

    def from_gram(self, gram, structure):
        return self.first.from_gram(gram, structure) + self.second.from_gram(gram, structure)


def factory(sign):
    @sx.gram_loss(convex=True, symmetric=True)
    def mine(gram, structure, *, scale=1.0):
        return sign * scale * jnp.mean(gram)

    return mine


MINE = factory(1.0)
X, T = np.array([0.25, 0.75]), np.array([0.5, 1.0])
EQUAL, PAIRS, UNEQUAL = sx.ClassStructure((2, 2), 2), sx.ClassStructure((1, 1), 2), (2, 1)
SOFT = np.ones((8, 8)) - np.eye(8)
LOSSES = [
    *(
        (EQUAL, sx.SupCL(X, T, pairs, mean), sx.SupCL)
        for pairs, mean in itertools.product(
            ("include", "exclude", "decouple"), ("pairs", "anchors")
        )
    ),
    (EQUAL, sx.losses.SupCon(T), sx.losses.SupCon),
    (
        sx.ClassStructure(UNEQUAL, 2),
        sx.losses.WeightedSupCL(X, T, (1.0, 2.5), "exclude", "pairs"),
        sx.losses.WeightedSupCL,
    ),
    (PAIRS, sx.losses.Sigmoid(X, T), sx.losses.Sigmoid),
    (EQUAL, sx.losses.Spectral(X, T), sx.losses.Spectral),
    (EQUAL, sx.losses.Sincere(T), sx.losses.Sincere),
    (EQUAL, sx.losses.SupConIn(T), sx.losses.SupConIn),
    (EQUAL, sx.losses.AlignUniform(X, T), sx.losses.AlignUniform),
    (EQUAL, sx.losses.info_nce(T), sx.losses.info_nce),
    (EQUAL, sx.losses.info_nce(T), sx.SupCL),
    (EQUAL, sx.losses.decoupled_contrast(T), sx.losses.decoupled_contrast),
    (EQUAL, flagged(sharpness=X), flagged),
    (EQUAL, flagged(sharpness=X, push=True, kind="include", weights=(1,), mode="a"), flagged),
    (EQUAL, flagged(sharpness=X, push=0, kind="<odd>", weights=((), None), mode=2), flagged),
    (EQUAL, MINE(scale=X), MINE),
]
NAMED = [
    (EQUAL, sx.losses.SoftSupCon(T, SOFT), sx.losses.SoftSupCon),
    (EQUAL, sx.losses.SoftSupCon(T, 2 * SOFT), sx.losses.SoftSupCon),
    (EQUAL, Ordered(X, 3), Ordered),
    (EQUAL, Ordered(X, 3, jnp.cosh, Kind.SQUARE), Ordered),
    (EQUAL, Ordered(X, 3, lambda gram: gram), Ordered),
    (EQUAL, Ordered(X, 3, lambda gram: -gram), Ordered),
    (EQUAL, Both(sx.SupCL(X, T, "exclude"), sx.losses.Spectral(T, X)), Both),
    (EQUAL, Both(sx.SupCL(X, T, "include"), sx.losses.Spectral(T, X)), Both),
    (EQUAL, factory(-1.0)(scale=X), MINE),
]
"""Of these a table cannot hold all: this process finds them again, another one says so."""


def rows_of(structure, loss, dim=3, **columns):
    """The rows of a batch, as if it had been solved and certified."""
    problem = sx.Problem(structure, dim, loss)
    size = problem.batch_size or 1
    zeros, ends = jnp.zeros(size), jnp.zeros((size, len(QUANTITIES)))
    variances, phase = Variances(*jnp.zeros((4, size))), jnp.zeros(size, int)
    certificate = sx.Certificate(
        problem, zeros, zeros, zeros, zeros, variances, ends, ends + 1, phase, zeros
    )
    table = tabulate(certificate)
    return table.with_columns(pl.Series(name, value) for name, value in columns.items())


def assert_same(found, structure, loss, dim=3):
    assert (found.structure, found.dim) == (structure, dim)
    assert type(found.loss) is type(loss)
    assert jax.tree.structure(found.loss) == jax.tree.structure(loss)
    for name, value in table_module.static_fields(loss).items():
        assert type(getattr(found.loss, name)) is type(value), name
        assert getattr(found.loss, name) == value, name
    for leaf, expected in zip(jax.tree.leaves(found.loss), jax.tree.leaves(loss), strict=True):
        assert np.array_equal(leaf, expected)


def named(case):
    return f"{type(case[1]).__name__}-{case[2].__name__}"


@pytest.mark.parametrize("case", LOSSES + NAMED, ids=named)
def test_a_row_is_the_problem_that_it_came_from(case):
    structure, loss, made_by = case
    table = rows_of(structure, loss)
    ((rows, found),) = problems(table, made_by)
    assert rows == [0, 1]
    assert_same(found, structure, loss)
    one = problem_of(table.row(1, named=True), made_by)
    assert_same(one, structure, jax.tree.map(lambda leaf: np.asarray(leaf)[1:], loss))


@pytest.mark.parametrize("case", LOSSES, ids=named)
def test_another_process_reads_the_same(case, monkeypatch):
    structure, loss, made_by = case
    table = rows_of(structure, loss)
    monkeypatch.setattr(table_module, "_KINDS", {})
    ((_, found),) = problems(table, made_by)
    assert_same(found, structure, loss)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        *(
            (case, r"a table names <PairWeights [0-9a-f]{12}> and cannot hold")
            for case in NAMED[:2]
        ),
        *((case, r"a table names <(exp|cosh|lambda) [0-9a-f]{12}> and") for case in NAMED[2:6]),
        *(
            (case, r"Both does not make the loss of a row from  \(Both\.__init_")
            for case in NAMED[6:8]
        ),
        (NAMED[8], r"mine makes another loss now than the mine that these rows are of"),
    ],
    ids=lambda value: named(value) if isinstance(value, tuple) else "",
)
def test_another_process_refuses_what_a_table_cannot_hold(case, message, monkeypatch):
    structure, loss, made_by = case
    table = rows_of(structure, loss)
    monkeypatch.setattr(table_module, "_KINDS", {})
    with pytest.raises(ValueError, match=message):
        list(problems(table, made_by))


def test_rows_of_all_losses_in_one_table_are_found_again():
    """Whatever loss the cells are said to be of: what they are of is known here."""
    cases = [case for case in LOSSES + NAMED if "kind" not in columns_of(case[1]).choices]
    tables = [rows_of(structure, loss, dim=3 + k) for k, (structure, loss, _) in enumerate(cases)]
    found = list(sx.claims.Cells(join(tables), sx.SupCL).problems())
    assert len(found) == len(cases)
    for k, ((rows, problem), (structure, loss, _)) in enumerate(zip(found, cases, strict=True)):
        assert rows == [2 * k, 2 * k + 1]
        assert_same(problem, structure, loss, dim=3 + k)


def test_an_edited_loss_is_not_taken_for_the_one_of_the_table(monkeypatch):
    table, shipped = rows_of(EQUAL, flagged(sharpness=X)), rows_of(EQUAL, sx.SupCL(X, T))

    @sx.gram_loss(convex=True, symmetric=True)
    def edited(gram, structure, *, sharpness=1.0, push=False, kind="2", weights=(), mode=None):
        return jnp.mean(sharpness * gram)

    monkeypatch.setattr(table_module, "_KINDS", {})
    with pytest.raises(ValueError, match="edited makes another loss now than the flagged that"):
        list(problems(table, edited))
    with pytest.raises(ValueError, match="SupCon makes another loss now"):
        list(problems(shipped, sx.losses.SupCon))


def test_a_loss_whose_globals_changed_is_not_taken_for_what_it_was(monkeypatch):
    table = rows_of(EQUAL, globals_used(scale=X))
    list(problems(table, globals_used))
    monkeypatch.setitem(globals(), "FACTOR", 2.0)
    with pytest.raises(ValueError, match="its code or its choices changed"):
        list(problems(table, globals_used))


FACTOR = 1.0


@sx.gram_loss(convex=True)
def globals_used(gram, structure, *, scale=1.0):
    return FACTOR * scale * jnp.mean(gram)


CHOICES = [
    *("include", "2", "'x'", "", "<x", "True", "None", "1e999", "a, b", "(1", "inf", "nan", "{}"),
    *(True, False, 0, 2, -3, 10**20, None, 1.5, -0.0, 1e-300, float("inf"), -float("inf"), b"ab"),
    *((1.0, 2.0), (1,), (), ((1, "a"), None, True), (float("inf"),)),
]


@pytest.mark.parametrize("choice", CHOICES, ids=repr)
def test_a_choice_comes_back_with_its_type(choice):
    back = choice_of(text_of(choice))
    assert type(back) is type(choice)
    assert repr(back) == repr(choice)


def test_words_stay_words_and_all_texts_differ():
    assert [text_of(word) for word in ("include", "anchors", "")] == ["include", "anchors", ""]
    strange = [Kind.ROUND, Kind.SQUARE, jnp.exp, np.float64(1), np.str_("a"), (1, jnp.exp)]
    strange += [float("nan"), sx.losses.PairWeights(SOFT), lambda x: x, lambda x: -x]
    texts = [text_of(choice) for choice in CHOICES + strange]
    assert len(set(texts)) == len(texts)
    assert texts == [text_of(choice) for choice in CHOICES + strange]
    for choice in strange:
        with pytest.raises(ValueError, match=r"a table names <.*> and cannot hold it; build"):
            choice_of(text_of(choice))


def test_choices_without_identity_are_told_apart_as_well():
    import threading

    class Locked:
        def __init__(self):
            self.lock = threading.Lock()

    first, second = Locked(), Locked()
    assert text_of(first) == text_of(first) != text_of(second)


# -------------------------------------------------------------------------------------- windows


def windows(table, made_by, along):
    domain: Any = SimpleNamespace(loss=made_by, problems=list)
    claim = claims.Claim("w", "s", lambda a, b: np.ones(len(a)), domain, along=along)
    groups = claims.weigh(claim, table).groups
    return list(zip(*(group.table.rows(named=True) for group in groups), strict=True))


def test_windows_along_sizes_follow_the_numbers():
    sizes = [(10, 2), (3, 2), (3, 10), (2, 2), (3, 2, 2)]
    losses = sx.SupCL(np.array([0.5]), np.array([0.5]))
    table = join([rows_of(sx.ClassStructure(each), losses) for each in sizes])
    found = windows(table, sx.SupCL, "sizes")
    assert [first["sizes"] for first, _ in found] == ["3,2", "3,10"]
    assert found[-1][1]["sizes"] == "10,2"


def test_windows_along_a_choice_follow_its_value():
    losses = [Ordered(np.array([0.5]), order) for order in (10, 9, 1)]
    table = join([rows_of(EQUAL, loss) for loss in losses])
    found = windows(table, Ordered, "order")
    assert [(a["order"], b["order"]) for a, b in found] == [("1", "9"), ("9", "10")]


@pytest.mark.parametrize(
    "losses",
    [
        [factory(1.0)(scale=X), factory(-1.0)(scale=X)],
        [Ordered(X, 2, bend) for bend in (jnp.exp, jnp.cosh, lambda x: x, lambda x: -x)],
        [sx.losses.SoftSupCon(T, SOFT), sx.losses.SoftSupCon(T, 2 * SOFT)],
        [flagged(sharpness=X, weights=weights) for weights in ((1,), (1.0,), (2,))],
        [Both(sx.SupCL(X, T, pairs), sx.losses.SupCon(T)) for pairs in ("include", "exclude")],
    ],
    ids=["one factory", "functions", "weights", "tuples", "losses within"],
)
def test_windows_do_not_mix_losses(losses):
    table = join([rows_of(EQUAL, loss) for loss in losses])[::-1]
    names = columns_of(losses[0])
    along = "second.temperature" if isinstance(losses[0], Both) else next(iter(names.numbers))
    table = table.with_columns(pl.lit(0.5).alias(n) for n in names.numbers if n != along)
    # Also where what made them is a function that does not have their fields.
    found = windows(table, lambda level: losses[0], along)
    assert len(found) == len(losses)
    for first, second in found:
        assert first[along] < second[along]
        same = [first["loss_code"], *(first[name] for name in names.choices)]
        assert same == [second["loss_code"], *(second[name] for name in names.choices)]


def test_order_puts_null_first_and_keeps_ties():
    table = pl.DataFrame({"sizes": ["2,2", "10,2", "3,3", "2,2"], "alpha": [0.5, None, 0.1, 0.2]})
    assert in_order(table, ["sizes"])["alpha"].to_list() == [0.5, 0.2, 0.1, None]
    assert in_order(table, ["alpha"])["sizes"].to_list() == ["10,2", "3,3", "2,2", "2,2"]
    assert len(in_order(table[:0], ["sizes"])) == 0


def test_the_columns_that_a_window_shares_are_those_of_its_losses():
    table = rows_of(EQUAL, flagged(sharpness=X))
    shape, kept = table_module.SHAPE, {"num_classes", "num_instances", "num_views"}
    for along in shape:
        fixed = {*fixed_columns(table, sx.SupCL, along)} & {*shape}
        # A dimension may change alone; with the sizes, "full" goes.
        assert fixed == ({*shape} if along == "dim" else kept) - {along}
    assert fixed_columns(table, cast(Any, lambda level: None), "sharpness")[5:] == [
        *("loss", "loss_code", "push", "kind", "weights", "mode")
    ]
    assert set(SCHEMA) < set(table.columns)


# --------------------------------------------------------------------------------------- spaces


def test_a_space_keeps_the_type_of_its_choices():
    space = Space(num_classes=2, num_instances=2, loss=flagged, sharpness=Range(0.5, 1), dim=3)
    (slice_,) = space.slices
    assert slice_.choices == (
        *(("push", False), ("kind", "2"), ("weights", (1.0, 2.0)), ("mode", None)),
    )
    space = Space(num_classes=2, num_instances=2, loss=Ordered, scale=0.5, order=[2, 3], dim=3)
    assert [dict(each.choices)["order"] for each in space.slices] == [2, 3]
    found = [cast(Ordered, problem.loss).order for problem in space.problems("quick")]
    assert found == [2, 3]
    assert all(type(order) is int for order in found)
    named = space.coordinates(space.grid(0))
    table = join([rows_of(p.structure, p.loss) for p in space.problems("quick")])
    for name in ("order", "bend", "kind"):
        assert named[name].to_list() == table[name].to_list()


def test_a_domain_knows_the_loss_of_its_grids():
    of = [
        sx.Grid((PAIRS,), (3,), loss=sx.losses.Sigmoid, hyper={"scale": (1.0,), "bias": (0.0,)}),
        sx.Grid((PAIRS,), (3,), (0.5,), (0.5,)),
    ]
    assert sx.claims.Domain((of[0],)).loss is sx.losses.Sigmoid
    assert sx.claims.Domain((of[1],)).loss is sx.SupCL
    assert sx.claims.Domain(tuple(of)).loss is sx.SupCL
