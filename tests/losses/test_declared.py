"""What a loss declares is looked at in every cell and about every certified point; and is said."""

import dataclasses
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ssem_jax as sx
from ssem_jax import claims
from ssem_jax.geometry import Similarities, ssem_embeddings, ssem_gram
from ssem_jax.losses import FalseDeclarationError, GramLoss, SupCL, SupConIn, declared, gram_loss
from ssem_jax.losses.base import DECLARED, NOT_CONVEX, PROVEN, convexity_of
from ssem_jax.losses.convexity import TangentViolation
from ssem_jax.losses.declared import check_declared
from ssem_jax.losses.forms import forms_of
from ssem_jax.problem import ClassStructure, Problem, pytree_dataclass
from ssem_jax.sweeps.table import join, tabulate

KEY = jax.random.key(0)
FOUR = ClassStructure((2, 2))
GAP = 1e-9
"""What verification asks for."""
KNOWN = 1e-9
"""To which published optima agree: they are given to as many digits."""


@gram_loss(convex=True, symmetric=True)
def hard(gram, structure, *, sharpness=2.0):
    """Convex values; of hard negatives' weights nothing is differentiated, as is usual."""
    apart = structure.class_ids[:, None] != structure.class_ids
    half = jnp.exp(0.5 * sharpness * gram)
    pushed = half * jax.lax.stop_gradient(half)
    return jnp.mean(jnp.where(apart, pushed, -0.3 * gram + 0.5 * gram**2))


def base(gram, structure):
    apart = structure.class_ids[:, None] != structure.class_ids
    return jnp.mean(jnp.where(apart, jnp.exp(gram), -0.2 * gram + 0.5 * gram**2))


BASE_DELTA2 = 0.179823120883
"""δ² at the optimum of `base` on 2 × 2 embeddings."""


@gram_loss(convex=True)
def well(gram, structure, *, depth=0.0, distance=0.1, width=0.03):
    """`base` with a narrow well at SSEM(δ), δ² = its optimum + distance."""
    centre = ssem_gram(structure, BASE_DELTA2 + distance)
    return base(gram, structure) - depth * jnp.exp(-jnp.sum((gram - centre) ** 2) / width**2)


@gram_loss(convex=True)
def tilted(gram, structure, *, amount=0.0):
    """Strictly convex in all pairs but one of six, in which a positive amount is concave."""
    return jnp.sum(gram**2) - (2 + amount) * gram[0, 2] ** 2


@gram_loss(convex=True, symmetric=True)
def energy(gram, structure, *, power=1.0):
    """Riesz' energy Σ_{i<j} |u_i - u_j|^-s, and at s = 0 the logarithmic one."""
    apart = ~jnp.eye(len(gram), dtype=bool)
    squares = jnp.where(apart, 2 - 2 * gram, 1)
    terms = jnp.where(power == 0, -0.5 * jnp.log(squares), squares ** (-0.5 * power))
    return jnp.sum(jnp.where(apart, terms, 0)) / 2


@gram_loss(convex=True)
def hollow(gram, structure):
    return jnp.sqrt(jnp.sum(gram) - 10)


@pytree_dataclass
class Repelled(SupCL):
    """Convex and symmetric indeed, and another loss than its parent."""

    convex = True

    def value(self, gram, prepared):
        return super().value(gram, prepared) + 5 * jnp.mean(gram**2)


@pytree_dataclass
class Bent(SupCL):
    """Not convex, whatever its parent is."""

    convex = True

    def value(self, gram, prepared):
        return super().value(gram, prepared) - 5 * jnp.mean(gram**2)


@pytree_dataclass
class Stale(Repelled):
    """Its form of three similarities is still that of `SupCL`."""

    convex = True

    def value(self, gram, prepared):
        return super().value(gram, prepared)

    def of_blocks(self, similarities, blocks):
        plain = SupCL(self.alpha, self.temperature)
        structure: Any = blocks  # its own `prepare_blocks` hands it on
        return plain.of_blocks(similarities, plain.prepare_blocks(structure))


# ----------------------------------------------------------------------------- false declarations


def test_a_false_declaration_is_refused_before_it_certifies():
    loss = tilted(amount=1.0)
    points = np.eye(4)[:, :3] + 0.1
    with pytest.raises(FalseDeclarationError, match=r"tilted is declared convex.*above the chord"):
        sx.certify_embeddings(points, FOUR, loss)
    with pytest.raises(ValueError, match=r"Declare it as convex=False") as caught:
        sx.certify_embeddings(points, FOUR, loss)
    violation: Any = cast(FalseDeclarationError, caught.value).violation
    assert violation.amount > 0


def test_a_stopped_gradient_is_refused_at_random_and_at_the_certified_point():
    with pytest.raises(ValueError, match=r"hard is declared convex.*stop_gradient.*Let its deriv"):
        check_declared(hard(), FOUR)
    points = np.asarray(ssem_embeddings(FOUR, 0.2, 3))[None]
    found = declared._about_points(forms_of(hard(), FOUR), FOUR, points)
    assert isinstance(found, TangentViolation)
    assert not found.differentiated


@pytest.mark.parametrize(("distance", "width"), [(0.02, 0.01), (0.05, 0.02), (0.1, 0.03)])
def test_a_narrow_well_near_a_certified_point_is_found(distance, width):
    start, end = (ssem_gram(FOUR, BASE_DELTA2 + step) for step in (0, distance))
    depth = 1.5 * float(base(end, FOUR) - base(start, FOUR))
    assert depth > 1e-4
    loss = well(depth=depth, distance=distance, width=width)
    points = np.asarray(ssem_embeddings(FOUR, BASE_DELTA2, 3))[None]
    found = declared._about_points(forms_of(loss, FOUR), FOUR, points)
    assert isinstance(found, TangentViolation)
    assert found.differentiated
    assert "below what bounds are made of" in str(found)
    assert found.remedy == "Declare it as convex=False."
    shallow = well(depth=0.0, distance=distance, width=width)
    assert declared._about_points(forms_of(shallow, FOUR), FOUR, points) is None


def test_one_cell_of_many_hides_nothing():
    amounts = np.full(41, -0.5)
    amounts[17] = 1e-3
    with pytest.raises(FalseDeclarationError, match="tilted is declared convex") as caught:
        check_declared(tilted(amount=amounts), FOUR)
    violation: Any = caught.value.violation
    assert violation.loss.amount == 1e-3
    check_declared(tilted(amount=np.full(41, -0.5)), FOUR)


def test_a_loss_that_is_no_number_has_a_sentence_of_its_own():
    with pytest.raises(
        ValueError, match=r"hollow cannot be certified.*loss is not a number at"
    ) as e:
        check_declared(hollow(), FOUR)
    assert "convex" not in str(e.value)


def test_a_certified_point_may_be_the_first_that_is_no_number(monkeypatch):
    monkeypatch.setattr(declared, "_sampled", lambda *_: None)
    monkeypatch.setattr(declared, "_ADMITTED", set())
    with pytest.raises(ValueError, match="not a number"):
        check_declared(hollow(), FOUR, np.eye(4)[None])


def test_each_loss_is_sampled_once_and_every_point_is_looked_at(monkeypatch):
    sampled, points = [], []
    monkeypatch.setattr(declared, "_ADMITTED", set())
    monkeypatch.setattr(declared, "_sampled", lambda *a: sampled.append(a))
    monkeypatch.setattr(declared, "_about_points", lambda *a: points.append(a))
    loss, rows = tilted(amount=np.zeros(100)), np.ones((100, 4, 3))
    for _ in range(2):
        check_declared(loss, FOUR, rows)
    assert (len(sampled), len(points)) == (1, 2)
    check_declared(loss, ClassStructure((2, 3)))
    check_declared(tilted(amount=np.ones(100)), FOUR)
    assert (len(sampled), len(points)) == (3, 2)
    check_declared(SupCL(0.5, 0.5), FOUR, rows[:1])  # proven
    check_declared(SupConIn(0.5), FOUR, rows[:1])  # promises nothing
    assert (len(sampled), len(points)) == (3, 2)


def test_a_proven_loss_has_the_numbers_that_its_constructor_admits():
    negative = jax.tree.map(lambda leaf: -leaf, SupCL(0.5, 0.5))
    with pytest.raises(ValueError, match=r"alpha must lie in \[0, 1\]; got -0.5"):
        check_declared(negative, FOUR)


# ------------------------------------------------------------------------------- what is inherited


def test_a_subclass_is_bracketed_by_its_own_values():
    loss = Repelled(0.5, 0.5)
    problem = Problem(FOUR, 4, loss)
    found = sx.certify(sx.solve(problem, KEY))
    assert found.gap <= GAP
    assert found.convexity == DECLARED
    low, high = found.brackets["delta2"]
    assert low - GAP <= found.variances.delta2 <= high + GAP
    assert found.variances.delta2 > 0.1  # where its parent collapses
    collapsed = sx.certificate.certify_blocks(problem, Similarities(1.0, 1.0, -1.0))
    points = np.repeat([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]], 2, axis=0)
    assert collapsed.value == pytest.approx(float(loss(jnp.asarray(points), FOUR)))
    assert collapsed.lower <= found.value


def test_a_subclass_is_not_proven_by_its_parent():
    with pytest.raises(FalseDeclarationError, match="Bent is declared convex"):
        check_declared(Bent(0.5, 0.5), FOUR)
    with pytest.raises(FalseDeclarationError, match=r"Stale brings .* `of_blocks` is .* Mend") as e:
        check_declared(Stale(0.5, 0.5), FOUR)
    violation: Any = e.value.violation
    where, values, loss = violation.similarities, violation.values, violation.loss
    assert values[0] == pytest.approx(float(loss.of_blocks(where, FOUR)))
    assert abs(values[0] - values[1]) > 1e-3


# --------------------------------------------------------------- losses that are infinite somewhere


SLOW = pytest.mark.slow


@pytest.mark.parametrize("size", [5, *(pytest.param(size, marks=SLOW) for size in (4, 6, 7, 8))])
def test_energies_certify_the_simplex(size):
    structure = ClassStructure((1,) * size)
    power = np.array([0.0, 1.0, 2.0, 4.0])
    problem = Problem(structure, size - 1, energy(power=power))
    found = sx.certify(sx.solve(problem, KEY))
    distance = np.sqrt(2 * size / (size - 1))
    pairs = size * (size - 1) / 2
    expected = pairs * np.where(power == 0, -np.log(distance), distance**-power)
    np.testing.assert_allclose(found.value, expected, rtol=KNOWN)
    if size == 5:
        assert found.value[1] == pytest.approx(6.324555320336759, rel=KNOWN)  # Thomson in R⁴
    assert np.all((found.gap >= 0) & (found.gap <= GAP))
    assert np.all(found.lower <= expected + GAP)
    for name, exact in (("mean_squared", 0), ("between_similarity", -1 / (size - 1))):
        low, high = found.brackets[name]
        assert np.all((low <= exact + KNOWN) & (exact - KNOWN <= high))
        assert np.all(high - low < 1e-3)


def test_coinciding_points_have_an_infinite_loss_and_no_bound():
    structure = ClassStructure((1,) * 5)
    points = 2 * np.eye(4)[[0, 1, 2, 3, 3]]  # of exact similarities, whoever multiplies
    found = sx.certify_embeddings(points, structure, energy(power=1.0))
    assert (found.value, found.lower, found.gap) == (np.inf, -np.inf, np.inf)
    assert found.low.tolist() == pytest.approx([0, 0, 0, 1, -1 / 4])
    assert found.high.tolist() == [0, 0, 1, 1, 1]  # one instance, one view: no variances of either
    best = sx.certify_embeddings(sx.geometry.simplex_etf(5, 4), structure, energy(power=1.0))
    assert best.certified
    found = sx.certify_embeddings(points, structure, energy(power=1.0), reference=best)
    assert (found.lower, found.gap) == (best.lower, np.inf)


# ---------------------------------------------------------------------------- no false alarms


def unproven(loss: Any) -> Any:
    """A shipped loss as if a user had written it."""
    kind = type(loss)
    parts = {"convex": True, "__annotations__": {}}
    mine = pytree_dataclass(type(kind.__name__, (kind,), parts))
    return mine(**{field.name: getattr(loss, field.name) for field in dataclasses.fields(loss)})


@pytest.mark.parametrize(
    ("sizes", "views"),
    [((2, 2), 2), pytest.param((5,) * 10, 1, marks=SLOW)],
    ids=["8 embeddings", "50 embeddings"],
)
@pytest.mark.slow  # a kernel for each loss
def test_shipped_losses_are_not_refused_as_anybodys(sizes, views):
    structure = ClassStructure(sizes, views)
    tau = np.array([0.02, 0.1, 1.0])
    losses = [
        SupCL(0.3, tau),
        sx.losses.Spectral(0.5, 1 / tau),
        sx.losses.Sincere(tau),
        Repelled(0.3, tau),
    ]
    losses += [SupCL(0.3, tau, "decouple"), sx.losses.AlignUniform(1.0, 1 / tau)][: 2 * (views > 1)]
    for loss in losses:
        mine = unproven(loss)
        assert convexity_of(mine) == DECLARED
        rng = np.random.default_rng(0)
        rows = rng.normal(size=(3, structure.num_embeddings, 4))
        rows[1] = np.eye(structure.num_classes, 4)[structure.class_ids % 4] + 0.01  # near collapse
        check_declared(mine, structure, rows / np.linalg.norm(rows, axis=2, keepdims=True))


# ----------------------------------------------------------------------------- what is said


def test_certificates_tables_and_verdicts_say_what_they_rest_on():
    collapsed = ssem_embeddings(FOUR, 0.0, 3)
    found = [
        sx.certify_embeddings(collapsed, FOUR, SupCL(0.0, 0.5)),
        sx.certify_embeddings(
            sx.geometry.simplex_etf(5, 4), ClassStructure((1,) * 5), energy(power=1.0)
        ),
        sx.certify_embeddings(collapsed, FOUR, SupConIn(0.5)),
    ]
    assert tuple(one.convexity for one in found) == (PROVEN, DECLARED, NOT_CONVEX)
    tables = [tabulate(one) for one in found]
    words = (PROVEN, DECLARED, NOT_CONVEX)
    assert tuple(table["convexity"][0] for table in tables) == words

    def judged(table):
        domain = claims.Domain(())
        claim = claims.Claim("any", "nothing", lambda c: c.minimum + 1e6, domain)
        return claims.judge(claim, table)

    assert [judged(table).convexity for table in tables] == list(words)
    assert judged(tables[0]).words == "HOLDS"
    assert judged(tables[1]).words == "HOLDS (convexity declared)"
    assert judged(tables[2]).words == "UNDECIDED"
    both = join(tables[:2])
    assert judged(both).to_json()["convexity"] == DECLARED
    assert judged(both.drop("convexity")).convexity == DECLARED  # it does not say


def test_a_loss_has_no_forms_of_its_own_by_default():
    assert energy.of_blocks is GramLoss.of_blocks
