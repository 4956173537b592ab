"""Certificates of random losses, structures and embeddings against ball arithmetic."""

from typing import Any

import exact
import fuzz
import jax.numpy as jnp
import numpy as np
import pytest

import ssem_jax as sx
from ssem_jax.certificate import certify_embeddings
from ssem_jax.problem import ClassStructure


def told(faults):
    return "\n".join(f"{f.structure}, {f.loss}, {f.kind}: {f.what}" for f in faults)


def test_three_hundred_certificates_say_what_is_so():
    counts, faults = fuzz.run(300, seed=1, names=fuzz.FAST)
    assert not faults, told(faults)
    assert counts["cells"] >= 300
    assert counts["certified"] >= 30  # gaps that are tight enough to be false
    assert all(counts[kind] > 0 for kind in fuzz.KINDS)


@pytest.mark.slow
def test_ten_thousand_certificates_say_what_is_so():
    counts, faults = fuzz.run(10_000, solve=True)
    assert not faults, told(faults)
    assert all(counts[name] > 0 for name in fuzz.LOSSES)
    assert counts["certified"] >= 1000


@pytest.mark.parametrize("name", fuzz.LOSSES)
def test_the_ball_oracles_are_the_losses(name):
    """At random points, where every term counts; both are written from the same formulas."""
    random = np.random.default_rng(0)
    setting = next(s for s in fuzz.settings(3, (name,)))
    points = random.standard_normal((fuzz.NUM_POINTS, 5))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    for cell in range(3):
        loss = setting.loss(cell)
        value = float(loss(jnp.asarray(points), setting.structure))
        ball = exact.loss_at(exact.unit_gram(points), setting.structure, loss)
        assert float(ball.rad()) <= 1e-25 * max(1, abs(value))
        assert float(ball.mid()) == pytest.approx(value, rel=1e-11, abs=1e-12)


SQUARE = ClassStructure((2, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lower": 1e-12}, "no embedding below"),
        ({"gap": -1e-12}, "exceeds"),
        ({"value": 1e-9, "gap": 1e-9}, "the loss is"),
        ({"delta2": (1e-3, 1.0)}, "delta2 in"),
    ],
)
def test_planted_faults_are_found(change, message):
    points = fuzz.collapsed(SQUARE)
    loss = sx.SupCL(np.full(fuzz.BATCH, 0.2), np.full(fuzz.BATCH, 0.5))
    found = certify_embeddings(points, SQUARE, sx.SupCL(0.2, 0.5))
    brackets: Any = found.brackets | {name: x for name, x in change.items() if name == "delta2"}
    numbers: dict[str, Any] = {
        name: float(getattr(found, name)) for name in ("value", "lower", "gap")
    }
    exact: Any = found.brackets
    right = fuzz._One(**numbers, brackets=exact)
    rivals = [fuzz.apart(SQUARE)]
    setting = fuzz.Setting(SQUARE, loss)
    assert not list(fuzz.check(setting, 0, points, right, rivals))
    moved = {name: numbers[name] + change.get(name, 0.0) for name in numbers}
    wrong = fuzz._One(**moved, brackets=brackets)
    assert any(message in fault for fault in fuzz.check(setting, 0, points, wrong, rivals))
