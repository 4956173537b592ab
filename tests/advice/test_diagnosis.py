"""What an audit says of embeddings beside their gap, against loops and planted cases."""

import itertools
import math
import re

import jax
import numpy as np
import pytest

import ssem_jax as sx
from ssem_jax.advice import diagnosis
from ssem_jax.advice.diagnosis import Finding, advice, diagnose, measure
from ssem_jax.advice.landmarks import Landmarks, landmarks
from ssem_jax.geometry import Variances

STRUCTURE = sx.ClassStructure((3, 2, 4))
ROUNDING = 1e-12
"""Relative: sums of some dozen terms of float64."""


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


POINTS = unit(np.random.default_rng(3).normal(size=(9, 5)))
ETF = np.eye(3) - 1 / 3
COLLAPSED = unit(ETF[STRUCTURE.class_ids])


def test_measures_are_those_of_their_definitions(monkeypatch):
    monkeypatch.setattr(diagnosis, "BLOCK", 4)
    found, ids = measure(POINTS, STRUCTURE), STRUCTURE.class_ids
    means = np.stack([POINTS[ids == k].mean(axis=0) for k in range(3)])
    spread = [((POINTS[ids == k] - means[k]) ** 2).sum(axis=1).mean() for k in range(3)]
    centre = means.mean(axis=0)
    away = POINTS - means[ids]
    within = np.mean([np.outer(each, each) for each in away], axis=0)
    between = np.mean([np.outer(mean - centre, mean - centre) for mean in means], axis=0)
    nc1 = np.trace(within @ np.linalg.pinv(between, rcond=1e-9)) / 3
    assert found.nc1 == pytest.approx(nc1, rel=1e-9)  # a pseudo-inverse of a conditioned matrix
    pairs = list(itertools.combinations(range(3), 2))
    cdnv = [(spread[k] + spread[j]) / 2 / ((means[k] - means[j]) ** 2).sum() for k, j in pairs]
    assert found.cdnv == pytest.approx(np.mean(cdnv), rel=ROUNDING)
    singular = np.linalg.svd(POINTS, compute_uv=False)
    shares = singular / singular.sum()
    assert found.effective_rank == pytest.approx(np.exp(-sum(shares * np.log(shares))), rel=1e-9)
    away = means - centre
    cosines = [
        away[k] @ away[j] / np.linalg.norm(away[k]) / np.linalg.norm(away[j]) for k, j in pairs
    ]
    assert found.etf_deviation == pytest.approx(max(abs(c + 0.5) for c in cosines), rel=ROUNDING)
    apart = {
        (i, j): ((POINTS[i] - POINTS[j]) ** 2).sum() for i, j in itertools.combinations(range(9), 2)
    }
    same = [length for (i, j), length in apart.items() if ids[i] == ids[j]]
    assert found.alignment == pytest.approx(np.mean(same), rel=ROUNDING)
    uniform = math.log(np.mean([math.exp(-2 * length) for length in apart.values()]))
    assert found.uniformity == pytest.approx(uniform, rel=ROUNDING)


def test_a_collapsed_simplex_and_a_point():
    found = measure(COLLAPSED, STRUCTURE)
    assert found.nc1 == pytest.approx(0, abs=1e-15)
    assert found.cdnv == pytest.approx(0, abs=1e-15)
    assert found.alignment == pytest.approx(0, abs=1e-14)
    assert found.etf_deviation == pytest.approx(0, abs=1e-14)
    assert 1.9 < found.effective_rank < 2 + 1e-9  # unequal classes, unequal singular values
    point = measure(np.tile([1.0, 0.0], (9, 1)), STRUCTURE)
    assert (point.nc1, point.cdnv, point.etf_deviation) == (math.inf,) * 3
    assert (point.effective_rank, point.alignment, point.uniformity) == (1, 0, 0)
    apart = measure(np.eye(2), sx.ClassStructure((1, 1)))
    assert (apart.alignment, apart.nc1) == (0, 0)
    assert apart.uniformity == pytest.approx(-4)


@pytest.mark.parametrize(
    ("loss", "structure"),
    [
        (sx.SupCL(0.4, 0.3), sx.ClassStructure.balanced(3, 2, 2)),
        (sx.SupCL(0.4, 0.3, "decouple", "anchors"), sx.ClassStructure((3, 2, 1), 2)),
        (sx.losses.SupCon(0.3), sx.ClassStructure((3, 2, 1), 2)),
        (sx.losses.Sincere(0.3), sx.ClassStructure((3, 2, 1), 2)),
    ],
    ids=str,
)
def test_landmarks_are_the_loss_there(loss, structure):
    m = structure.num_classes
    found = landmarks(loss, structure)
    simplex = (np.eye(m) - 1 / m)[structure.class_ids]
    equal = np.ones_like(simplex)
    there = jax.jit(lambda rows: loss(rows, structure))  # in one compilation
    assert found.collapsed == pytest.approx(float(there(simplex)), rel=ROUNDING)
    assert found.all_equal == pytest.approx(float(there(equal)), rel=ROUNDING)


def test_landmarks_that_are_not_known_are_not_said(monkeypatch):
    monkeypatch.setattr("ssem_jax.advice.landmarks.GRAM_LIMIT", 3)
    found = landmarks(sx.losses.Sincere(0.3), STRUCTURE)
    assert np.isnan(found).all()
    said = next(diagnose(COLLAPSED, finding(landmarks=found), True).lines())
    assert said == "minimal loss 0.5"


def finding(**changes):
    given = {
        "structure": sx.ClassStructure.balanced(3, 3),
        "loss": sx.SupCL(0.5, 0.3),
        "dim": 8,
        "minimum": 0.5,
        "landmarks": Landmarks(0.7, 2.0),
        "found": Variances(0.0, 0.2, 0.8, 0.0),
        "wanted": Variances(0.0, 0.2, 0.8, 0.0),
        "phase": sx.Phase.SPREAD,
    }
    return Finding(**given | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"found": Variances(0.0, 0.0, 1e-4, 0.9999)}, ["rows nearly coincide: .* 2.0000"]),
        ({"dim": 1}, ["d = 1 is below m - 1 = 2: 3 class means .* Use d ≥ 8"]),
        ({"dim": 7}, ["The optimum needs d ≥ 8; d = 7 cannot reach it"]),
        ({"found": Variances(0.0, 0.2, 0.6, 0.2)}, ["off the origin .squared norm 0.200"]),
        (
            {"found": Variances(0.1, 0.1, 0.8, 0.0)},
            ["Views of an instance differ", "are closer together than at the optimum"],
        ),
        (
            {"found": Variances(0.1, 0.0, 0.9, 0.0), "loss": sx.losses.info_nce(0.3)},
            [r"0\.000\): weaker augmentations draw", "closer together"],  # α is 1 already
        ),
        ({"found": Variances(0.0, 0.3, 0.7, 0.0)}, ["Instances of a class spread more"]),
        (
            {"phase": sx.Phase.COLLAPSE, "loss": sx.SupCL(0.2, 0.3)},
            [r"classes collapse; instances stay apart for alpha above 0\.3\d+ at this tau"],
        ),
        (
            {"phase": sx.Phase.COLLAPSE, "loss": sx.SupCL(0.5, 2.0)},
            [r"alpha above 0\.\d+ at this tau or tau below 0\.\d+ at this alpha"],
        ),
        ({"phase": sx.Phase.COLLAPSE, "loss": sx.losses.SupCon(0.3)}, ["what the loss asks for"]),
    ],
)
def test_advice_says_what_is_the_matter(changes, words):
    said = list(advice(finding(**changes)))
    assert len(said) == len(words)
    for sentence, pattern in zip(said, words, strict=True):
        assert re.search(pattern, sentence), sentence


def test_a_diagnosis_in_words_and_as_a_document():
    found = diagnose(COLLAPSED, finding(structure=STRUCTURE, dim=1), False)
    lines = list(found.lines())
    assert lines[0] == "minimal loss 0.5; of collapsed classes 0.7, of equal rows 2"
    assert lines[1].startswith("NC1 ")
    assert "ETF deviation" in lines[1]
    assert lines[2].startswith("- d = 1 is below")
    document = found.to_json()
    assert document["all_equal_loss"] == 2.0
    assert document["needed_dim"] == 8
    assert diagnose(COLLAPSED, finding(dim=1), True).advice == ()
