"""Certificates as files: what is exported is proven by the checker, and agrees with its origin."""

import json
import random
from decimal import Decimal
from fractions import Fraction

import jax
import numpy as np
import pytest

import ssem_jax as sx
from proofs_numeric import check
from ssem_jax import theory
from ssem_jax.certificate import certify_blocks, exports, places
from ssem_jax.losses import SupCon, WeightedSupCL

FINE_GAP = 1e-33
"""Gap of an optimum of 45 decimal places: 1e-37, times some hundreds where classes hardly part."""
ROW_GAP = 1e-13
"""Gap of rows in float64 that a solver polished: their own rounding, as certificates allow."""


def proven(path):
    holds, text = check.check(path)
    assert holds, text
    return text


def exported(tmp_path, problem, **options):
    """The file of a cell of which nothing is known, read again."""
    (document,) = exports.documents(problem, [-np.inf], [np.inf], **options)
    path = exports.write(document, tmp_path / "cell.json")
    proven(path)
    assert json.loads(path.read_text()) == document
    return document


def bounds(document, name):
    """(low, high) that a file claims of a quantity."""
    found = [claim.split() for claim in document["claims"] if str(claim).startswith(f"{name} ")]
    ends = {sign: float(bound) for _, sign, bound in found}
    return ends.get(">=", -np.inf), ends.get("<=", np.inf)


def random_cell(rng):
    """Of any convention, mean, sizes, views and weights."""
    views, convention = rng.randint(1, 3), rng.choice(["include", "exclude", "decouple"])
    sizes = tuple(rng.randint(1, 6) for _ in range(rng.randint(2, 4)))
    sizes = rng.choice([(max(sizes),) * len(sizes), sizes])
    alpha = 0.0 if views == 1 and convention != "include" else rng.choice([0.1, 0.4, 0.7, 0.95])
    if max(sizes) == 1:
        sizes = (2, *sizes)
    mean, tau = rng.choice(["pairs", "anchors"]), rng.choice([0.1, 0.3, 0.8, 2.0])
    loss = sx.SupCL(alpha, tau, convention, mean)
    if rng.random() < 0.3:
        weights = tuple(rng.choice([0.5, 1.0, 3.0]) for _ in sizes)
        loss = WeightedSupCL(alpha, tau, weights, convention, mean)
    structure = sx.ClassStructure(sizes, views)
    return sx.Problem(structure, structure.num_embeddings, loss)


def check_cell(tmp_path, seed):
    document = exported(tmp_path, random_cell(random.Random(seed)))
    assert bounds(document, "gap")[1] <= FINE_GAP
    assert any(str(claim).startswith("phase") for claim in document["claims"])


@pytest.mark.parametrize("seed", [*range(12), 235])  # steps that go up have to be halved there
def test_optima_of_any_structure_are_proven(tmp_path, seed):
    check_cell(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(100, 400, 100))
def test_optima_of_300_structures_are_proven(tmp_path, first):
    for seed in range(first, first + 100):
        check_cell(tmp_path, seed)


@pytest.mark.parametrize("convention", ["include", "exclude"])
@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.8])
def test_brackets_hold_theory(tmp_path, convention, alpha):
    shape, tau = (3, 4, 2), 0.15
    problem = sx.Problem(
        sx.ClassStructure.balanced(*shape), 24, sx.SupCL(alpha, tau, self_pairs=convention)
    )
    quantities = ("within_similarity", "between_similarity", "mean_squared")
    document = exported(tmp_path, problem, quantities=quantities)
    expected = theory.similarities(*shape, alpha, tau, convention)
    for name, value in (
        ("delta2", theory.delta2(*shape, alpha, tau, convention)),
        ("minimum", theory.loss(*shape, alpha, tau, convention)),
        ("within_similarity", expected.within),
        ("between_similarity", expected.between),
        ("mean_squared", 0.0),
    ):
        low, high = bounds(document, name)
        assert low - 1e-12 <= float(value) <= high + 1e-12, name
    assert high <= 1e-20


def test_brackets_by_class(tmp_path):
    problem = sx.Problem(
        sx.ClassStructure((8, 4, 2)), 14, sx.SupCL(0.2, 0.3, mean="anchors")
    )  # the largest class alone is spread
    names = [f"delta2_of_class_{k}" for k in range(3)]
    document = exported(tmp_path, problem, quantities=names)
    assert bounds(document, names[0])[0] > 1e-3
    assert all(bounds(document, name)[1] < 1e-12 for name in names[1:])
    low, high = bounds(document, "delta2")
    assert low <= bounds(document, names[0])[1] * 8 / 14
    assert high >= bounds(document, names[0])[0] * 8 / 14


@pytest.fixture(scope="module")
def certificate():
    structure = sx.ClassStructure((3, 2))
    problem = sx.Problem(structure, 5, sx.SupCL(0.5, 0.4))
    return sx.certify(sx.solve(problem, jax.random.key(0)))


def test_a_certificate_is_a_file(certificate, tmp_path):
    path = sx.export(certificate, tmp_path / "blocks.json")
    assert "phase spread" in proven(path)
    document = json.loads(path.read_text())
    low, high = bounds(document, "minimum")
    assert float(certificate.lower) <= low + 1e-15
    assert high <= float(certificate.lower) + float(certificate.gap) + 1e-15
    inner, outer = bounds(document, "delta2"), certificate.brackets["delta2"]
    assert outer[0] <= inner[0] <= inner[1] <= outer[1]


def test_embeddings_are_a_file(certificate, tmp_path):
    path = sx.export(certificate, tmp_path / "rows.json", form="rows")
    assert "phase spread" in proven(path)
    document = json.loads(path.read_text())
    rows = [[float.fromhex(x) for x in row] for row in document["optimum"]["rows"]]
    np.testing.assert_array_equal(rows, np.asarray(certificate.embeddings))
    gap = bounds(document, "gap")[1]
    assert gap <= min(ROW_GAP, 1.1 * float(certificate.gap))  # the margins are left out


def test_a_refuted_sentence_is_a_file(tmp_path):
    sentence = {
        "sentence": "alpha >= 1/n and tau <= 1/log m prevent class collapse.",
        "if": ["alpha >= 1/n", "temperature <= 1/ln(m)"],
        "then": ["delta2 > 1e-6"],
        "holds": False,
    }
    structure = sx.ClassStructure((2, 2))
    problem = sx.Problem(structure, 4, sx.SupCL(0.5, 1.4))
    found = certify_blocks(problem, theory.similarities(2, 2, 1, 0.5, 1.4))
    path = sx.export(found, tmp_path / "refutation.json", sentences=[sentence])
    assert "REFUTED: 'alpha >= 1/n" in proven(path)
    with pytest.raises(ValueError, match="is not proven to be true"):
        sx.export(found, path, sentences=[sentence | {"holds": True}])


def test_exports_that_cannot_be(certificate, tmp_path):
    path = tmp_path / "cell.json"
    structure = sx.ClassStructure((2, 2))
    batch = sx.Problem(structure, 4, sx.SupCL(np.array([0.2, 0.9]), 1.0))
    found = certify_blocks(batch, theory.similarities(2, 2, 1, np.array([0.2, 0.9]), 1.0))
    with pytest.raises(ValueError, match="a file holds one cell; got 2"):
        sx.export(found, path)
    one = jax.tree.map(lambda leaf: leaf if np.ndim(leaf) == 0 else leaf[0], found)
    with pytest.raises(ValueError, match="has no embeddings"):
        sx.export(one, path, form="rows")
    proven(sx.export(one, path))
    with pytest.raises(ValueError, match="form must be"):
        sx.export(one, path, form="matrix")
    with pytest.raises(ValueError, match="a quantity must be one of"):
        sx.export(one, path, quantities=["rank"])
    with pytest.raises(ValueError, match="a quantity must be one of"):
        sx.export(one, path, quantities=["delta2_of_class_2"])
    with pytest.raises(ValueError, match="cannot be written"):
        sx.export(one, tmp_path)
    with pytest.raises(ValueError, match="path must be the name of a file"):
        sx.export(one, 3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="certificate must be"):
        sx.export(batch, path)  # pyright: ignore[reportArgumentType]
    other = sx.Problem(structure, 4, SupCon(0.5))
    with pytest.raises(ValueError, match="the checker knows SupCL"):
        list(exports.documents(other, [0.0], [1.0]))
    wide = sx.Problem(sx.ClassStructure((2,) * 13 + (3,)), 29, sx.SupCL(0.5, 1.0))
    with pytest.raises(ValueError, match="up to 12 classes"):
        list(exports.documents(wide, [0.0], [1.0]))


def test_a_certificate_of_another_problem_is_a_contradiction(certificate):
    lower, upper = float(certificate.lower), float(certificate.lower + certificate.gap)
    list(exports.documents(certificate.problem, [lower], [upper]))
    for move in (1e-9, -1e-9):
        with pytest.raises(ValueError, match="a contradiction"):
            list(exports.documents(certificate.problem, [lower + move], [upper + move]))


def test_many_unequal_classes_travel_as_rows(tmp_path):
    problem = sx.Problem(sx.ClassStructure((1,) * 13 + (2,)), 15, sx.SupCL(0.5, 1.0))
    rows = np.eye(15)[None]
    (document,) = exports.documents(problem, [-np.inf], [np.inf], embeddings=rows)
    assert document["tilts"] == []
    proven(exports.write(document, tmp_path / "rows.json"))


@pytest.mark.parametrize("x", [Fraction(1, 3), Fraction(-1, 3), Fraction(7), Fraction(1, 10**40)])
def test_decimals_are_rounded_outwards(x):
    for digits in (0, 3, 45):
        low, high = (exports.outward(x, digits, up) for up in (False, True))
        assert Fraction(low) <= x <= Fraction(high)
        assert Fraction(high) - Fraction(low) <= Fraction(1, 10**digits)
    if x > 0:
        assert x <= Fraction(exports.short(x)) <= x * Fraction(11, 10)


def test_variances_of_alike_classes_are_roots():
    """A tilt moves the root of the slope by what the curvature says, to all digits."""
    stated = check.Problem(
        {
            "loss": "SupCL",
            "self_pairs": "include",
            "mean": "pairs",
            "sizes": [4, 4, 4],
            "views": 1,
            "class_weights": [1, 1, 1],
            "alpha": "0.5",
            "temperature": "0.35",
        },
        128,
    )
    tilt = places.Tilt("delta2", Decimal("1e-20"))
    optimum, tilted, back = places.places(stated, [tilt, tilt._replace(by=-tilt.by)])
    ahead, here, behind = (Fraction(place["delta2"][0]) for place in (tilted, optimum, back))
    assert 0 < ahead - here < Fraction(1, 10**18)
    assert abs((ahead - here) - (here - behind)) < Fraction(1, 10**35)
