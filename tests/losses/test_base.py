"""A loss written as one function: its class, its hyper-parameters, and its way to a certificate."""

import dataclasses
import pickle
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ssem_jax as sx
from ssem_jax.geometry import Similarities, block_gram
from ssem_jax.losses import ClassContrast, GramLoss, SupCL, gram_loss
from ssem_jax.losses.base import DECLARED, NOT_CONVEX, PROVEN, convexity_of
from ssem_jax.problem import ClassStructure, Problem, pytree_dataclass

STRUCTURE = ClassStructure((2, 2))
GAP = 1e-9
"""What verification asks for; the cells here are certified to 1e-12."""


@gram_loss(convex=True, symmetric=True)
def repel(gram, structure, *, sharpness=1.0):
    """Classes repel each other."""
    apart = structure.class_ids[:, None] != structure.class_ids
    return jnp.mean(jnp.where(apart, jnp.exp(sharpness * gram), -gram))


@gram_loss(convex=True)
def plain(gram, structure, temperature, power=2, *, kind="sum"):
    return (jnp.sum if kind == "sum" else jnp.mean)(gram**power) / temperature


def needs_views(structure):
    if structure.num_views == 1:
        raise ValueError("two views are needed.")


@gram_loss(convex=True, check=needs_views)
def checked(gram, structure):
    return jnp.sum(gram)


@pytest.mark.slow  # claims/test_files.py goes on to a conjecture
def test_five_lines_run_through_solve_and_certify():
    problem = Problem(STRUCTURE, 3, repel(sharpness=np.array([0.5, 2.0])))
    certificate = sx.certify(sx.solve(problem, jax.random.key(0)))
    assert np.all(certificate.gap <= GAP)
    assert np.all(certificate.phase == sx.Phase.COLLAPSE)
    # Antipodal classes: half of all pairs differ in class.
    loss: Any = problem.loss
    expected = (np.exp(-loss.sharpness) - 1) / 2
    np.testing.assert_allclose(certificate.value, expected, atol=GAP)


def test_it_is_a_gram_loss_of_its_own_name_and_fields():
    loss = repel(sharpness=0.5)
    assert isinstance(loss, GramLoss)
    assert repr(loss) == "repel(sharpness=0.5)"
    assert repel.__doc__ == "Classes repel each other."
    assert repel.__module__ == __name__
    assert (loss.convex, loss.symmetric, loss.proven) == (True, True, False)
    assert (plain.convex, plain.symmetric) == (True, False)
    assert repel() == repel(sharpness=1.0)
    with pytest.raises(TypeError, match="positional"):
        repel(0.5)
    with pytest.raises(TypeError, match="temperature"):
        plain()


def test_numbers_are_traced_and_choices_are_static():
    loss = plain(0.5, 3, kind="mean")
    assert jax.tree.leaves(loss) == [0.5, 3]
    assert jax.tree.structure(loss) != jax.tree.structure(plain(0.5, 3))
    gram = block_gram(STRUCTURE, 1.0, 0.5, -0.5)
    value = float(loss.from_gram(gram, STRUCTURE))
    assert value == pytest.approx(float(jnp.mean(gram**3)) / 0.5)
    assert float(loss.heated(0.0).temperature) == 0.5
    assert float(plain(0.05).heated(0.0).temperature) == 0.5
    batched = jax.vmap(lambda one: one.from_gram(gram, STRUCTURE))
    assert batched(plain(jnp.array([0.5, 1.0]), jnp.array([2, 3]))).shape == (2,)


def test_it_is_pickled_by_its_name():
    loss = pickle.loads(pickle.dumps(repel(sharpness=np.array([1.0, 2.0]))))
    assert type(loss) is repel
    np.testing.assert_array_equal(loss.sharpness, [1, 2])


def test_it_can_be_swept_and_checked():
    table = sx.sweep([Problem(STRUCTURE, 3, repel(sharpness=np.array([0.5, 1.0])))])
    assert table["loss"].to_list() == ["repel", "repel"]
    assert table["phase"].to_list() == ["collapse", "collapse"]
    with pytest.raises(ValueError, match="two views are needed"):
        Problem(STRUCTURE, 3, checked())


def test_a_loss_that_is_not_convex_is_minimised_and_never_certified():
    structure = ClassStructure((2, 2), 2)
    problem = Problem(structure, 7, sx.losses.SupConIn(np.array([0.3, 1.0])))
    solution = sx.solve(problem, jax.random.key(0))
    assert np.all(solution.gradient_norm < 1e-7)
    # No worse than collapse: three positives of cosine 1, four negatives of cosine -1.
    loss: Any = problem.loss
    tau = loss.temperature
    collapsed = np.log(3 + 4 * np.exp(-2 / tau))
    assert np.all(solution.value <= collapsed + GAP)
    table = sx.sweep([problem])
    assert table["phase"].to_list() == ["undecided"] * 2
    assert table["lower"].to_list() == [-np.inf] * 2
    assert table["gap"].to_list() == [np.inf] * 2
    cells = sx.claims.Cells(table)
    assert not cells.certified.any()
    np.testing.assert_array_equal(cells.minimum.high, cells.value)
    np.testing.assert_array_equal(cells.minimum.low, -np.inf)


def test_misuse():
    gram = jnp.eye(4)
    with pytest.raises(ValueError, match="must be a number or an array of numbers; got 'much'"):
        repel(sharpness="much")
    with pytest.raises(ValueError, match="temperature must be positive and finite; got -1"):
        plain(-1)
    with pytest.raises(ValueError, match=r"must be numbers here; got shapes \[\(2,\)\]"):
        repel(sharpness=np.ones(2)).from_gram(gram, STRUCTURE)
    with pytest.raises(ValueError, match=r"2 classes × 2 is 4 × 4; got \(3, 3\)"):
        repel().from_gram(jnp.eye(3), STRUCTURE)
    without: list[dict[str, Any]] = [{}, {"symmetric": True}, {"convex": None}]
    for declared in without:
        with pytest.raises(ValueError, match=r"mean does not say .* @gram_loss\(convex=True\) or"):
            gram_loss(jnp.mean, **declared)

    @gram_loss(convex=True)
    def rows(gram, structure):
        return jnp.sum(gram, axis=1)

    with pytest.raises(ValueError, match=r"rows must return one number; got shape \(4,\)"):
        rows().from_gram(gram, STRUCTURE)


@pytest.mark.parametrize(
    "function",
    [
        lambda gram: 0.0,
        lambda gram, structure, *rest: 0.0,
        lambda gram, structure, **rest: 0.0,
        lambda gram, *, structure: 0.0,
    ],
)
def test_a_function_of_another_signature(function):
    with pytest.raises(ValueError, match=r"must take \(gram, structure, \*, parameters"):
        gram_loss(function, convex=True)


def test_a_gram_loss_needs_its_formula():
    class Nothing(GramLoss):
        pass

    with pytest.raises(TypeError, match="abstract"):
        cast(Any, Nothing)()

    class Sum(GramLoss):
        convex = True

        def from_gram(self, gram, structure):
            return jnp.sum(gram)

    loss = Sum()
    loss.check_structure(STRUCTURE)
    assert loss.convex
    gram = block_gram(STRUCTURE, 1.0, 0.5, -0.5)
    assert float(loss.value(gram, loss.prepare(STRUCTURE))) == 2
    blocks = loss.prepare_blocks(STRUCTURE)
    assert float(loss.of_blocks(Similarities(1.0, 0.5, -0.5), blocks)) == 2
    slope = loss.sensitivity(gram, STRUCTURE)
    assert slope >= 16  # every entry has slope 1
    assert loss.magnitude(jnp.asarray(-2.0), slope) == 3 + slope
    assert loss.without_conventions() is loss
    assert loss.heated(0.5) is loss


def test_every_formula_says_whether_it_is_convex():
    with pytest.raises(ValueError, match=r"Square does not say .* write convex = True or convex"):

        class Square(GramLoss):
            def from_gram(self, gram, structure):
                return jnp.sum(gram**2)

    with pytest.raises(ValueError, match="Bent does not say whether it is convex"):

        class Bent(SupCL):  # it does not inherit the word of its parent
            def value(self, gram, prepared):
                return super().value(gram, prepared) - jnp.mean(gram**2)

    class Mixin:
        def weights(self, num_sup, num_own, classes):
            return -num_sup, -num_own

    with pytest.raises(ValueError, match="Mixed does not say whether it is convex"):

        class Mixed(Mixin, SupCL):
            pass

    with pytest.raises(
        ValueError, match=r"Sure says that it is proven, which is kept for .*ssem_j"
    ):

        class Sure(SupCL):
            convex = True
            proven = True

    with pytest.raises(ValueError, match="Half does not say"):

        class Half(ClassContrast):
            """A template is completed: negative weights would not be convex."""

            mixing: Any = (1.0, 1.0)  # pyright: ignore[reportIncompatibleVariableOverride]

            def weights(self, num_sup, num_own, classes):
                return num_sup, num_own


def test_what_was_written_for_another_formula_is_not_inherited():
    @pytree_dataclass
    class Repelled(SupCL):
        convex = True

        def value(self, gram, prepared):
            return super().value(gram, prepared) + 5 * jnp.mean(gram**2)

    for name in ("of_blocks", "prepare_blocks", "sensitivity", "magnitude", "without_conventions"):
        assert getattr(Repelled, name) is getattr(GramLoss, name)
        assert getattr(SupCL, name) is not getattr(GramLoss, name)
    loss = Repelled(0.5, 0.5, "exclude", "anchors")
    similarities, structure = Similarities(0.7, 0.3, -0.1), ClassStructure((2, 2), 2)
    gram = block_gram(structure, *similarities)
    blocks = loss.prepare_blocks(structure)
    assert loss.of_blocks(similarities, blocks) == loss.from_gram(gram, structure)

    @pytree_dataclass
    class Fast(Repelled):
        """Brings a form of its own, from the counts that its grandparent prepares."""

        convex = True
        prepare_blocks = SupCL.prepare_blocks

        def value(self, gram, prepared):
            return super().value(gram, prepared)

        def of_blocks(self, similarities, blocks):
            return SupCL.of_blocks(self, similarities, blocks)

    assert Fast.prepare_blocks is SupCL.prepare_blocks
    assert Fast.sensitivity is GramLoss.sensitivity

    @pytree_dataclass
    class Renamed(SupCL):
        """The same formula, with another default and a check of its own."""

        mean: str = dataclasses.field(default="anchors", metadata={"static": True})

        def check_structure(self, structure):
            super().check_structure(structure)

    assert Renamed.of_blocks is SupCL.of_blocks
    assert convexity_of(Renamed(0.5, 0.5)) == DECLARED


def test_only_a_shipped_class_is_proven():
    for loss in (
        SupCL(0.5, 0.5),
        sx.losses.SupCon(0.5),
        sx.losses.Spectral(0.5, 1.0),
        sx.losses.Sincere(0.5),
    ):
        assert convexity_of(loss) == PROVEN
    assert convexity_of(repel()) == DECLARED
    assert convexity_of(sx.losses.SupConIn(0.5)) == NOT_CONVEX


def test_terms_are_finite_where_a_loss_is_infinite_at_coinciding_embeddings():
    @gram_loss(convex=True)
    def energy(gram, structure):
        apart = ~jnp.eye(len(gram), dtype=bool)
        return jnp.sum(jnp.where(apart, 1 / jnp.where(apart, 1 - gram, 1), 0))

    gram = block_gram(STRUCTURE, 1.0, 0.5, -0.5)
    terms = energy().sensitivity(gram, STRUCTURE)
    assert 4 * jnp.sum(jnp.abs(jax.grad(energy().value)(gram, STRUCTURE))) <= terms < np.inf
    slopes = jax.grad(energy().value)
    probes = (gram, jnp.eye(4), 0.5 * (gram + 1))
    largest = max(float(jnp.sum(jnp.abs(slopes(jnp.asarray(g), STRUCTURE)))) for g in probes)
    assert terms == pytest.approx(4 * largest)
    assert energy().sensitivity(jnp.ones((4, 4)), STRUCTURE) == np.inf or np.isnan(
        energy().sensitivity(jnp.ones((4, 4)), STRUCTURE)
    )
