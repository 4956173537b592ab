"""An encoder trained by another program's loss, in its layout, and audited from its files.

The program is written here in float32, after the definition of SupContrast's `SupConLoss`: features
(B, p, d) are unbound along the views and concatenated, view by view.
"""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ssem_jax as sx
from ssem_jax.cli import main

sys.path.append(str(Path(__file__).parents[1] / "losses"))
from test_conventions import (  # pyright: ignore[reportMissingImports]
    BASE,
    DEFINITIONS,
    TAU,
)

STEPS, RATE = 300, 0.05
LABELS = np.array([2, 0, 1, 1, 0, 2, 2, 0, 1])
FLOAT32 = 2e-6
"""Relative: a loss near 1, of rows in float32."""


def sup_con(features, labels):
    """SupContrast's loss of (B, p, d) unit features."""
    rows = jnp.concatenate([features[:, view] for view in range(features.shape[1])])
    labels = jnp.tile(labels, features.shape[1])
    logits = rows @ rows.T / TAU
    others = 1 - jnp.eye(len(rows))
    positive = (labels[:, None] == labels[None, :]) * others
    log_share = logits - jnp.log(jnp.sum(jnp.exp(logits) * others, axis=1, keepdims=True))
    terms = -jnp.sum(positive * log_share, axis=1) / jnp.sum(positive, axis=1)
    return TAU / BASE * jnp.mean(terms)


@pytest.fixture(scope="module")
def features():
    """(B, p, d) of a small encoder: two layers, trained for a few hundred steps in float32."""
    keys = jax.random.split(jax.random.key(0), 4)
    inputs = jax.random.normal(keys[0], (len(LABELS), 1, 6), jnp.float32)
    inputs = inputs + 0.1 * jax.random.normal(keys[1], (len(LABELS), 2, 6), jnp.float32)
    layers = [
        0.4 * jax.random.normal(key, shape, jnp.float32)
        for key, shape in zip(keys[2:], ((6, 16), (16, 5)), strict=True)
    ]

    def encode(layers):
        found = jnp.tanh(inputs @ layers[0]) @ layers[1]
        return found / jnp.linalg.norm(found, axis=-1, keepdims=True)

    @jax.jit
    def step(layers):
        slopes = jax.grad(lambda layers: sup_con(encode(layers), LABELS))(layers)
        return jax.tree.map(lambda layer, slope: layer - RATE * slope, layers, slopes)

    for _ in range(STEPS):
        layers = step(layers)
    return np.asarray(encode(layers))


THEIRS = {
    "supcon": "SupContrast SupConLoss",
    "simclr": "SupContrast SupConLoss without labels",
    "nt-xent": "lightly NTXentLoss",
    "infonce": "SimCLR nt_xent",
    "sincere": "SINCERE SINCERELoss",
}
"""Name of a loss → a convention whose number an audit has to give, times its factor."""


@pytest.mark.slow
@pytest.mark.parametrize("name", THEIRS)
def test_the_audit_has_their_value(name, features, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    views = np.concatenate([features[:, 0], features[:, 1]])  # view by view, as their loss has it
    np.save("features.npy", views)
    (tmp_path / "labels.csv").write_text("label\n" + "\n".join(map(str, LABELS)) + "\n")
    arguments = ["audit", "features.npy", "--labels", "labels.csv", "--views", "2"]
    arguments += ["--view-order", "view", "--loss", name, "--tau", str(TAU), "--json"]
    with pytest.raises(SystemExit):
        main(arguments)
    found = json.loads(capsys.readouterr().out)
    (convention,) = [one for one in sx.losses.CONVENTIONS if one.theirs == THEIRS[name]]
    ours = found["loss"] * convention.factor(sx.ClassStructure((3, 3, 3), 2), TAU, BASE)
    adjacent = features.reshape(-1, features.shape[-1]).astype(float)
    adjacent /= np.linalg.norm(adjacent, axis=1, keepdims=True)
    ids = np.repeat(LABELS, 2), np.repeat(np.arange(len(LABELS)), 2)
    theirs = DEFINITIONS[THEIRS[name]](adjacent @ adjacent.T, *ids)
    assert ours == pytest.approx(theirs, rel=FLOAT32)
    assert found["gap"] > 0
    assert found["diagnosis"]["minimum"] <= found["loss"]
    if name == "supcon":
        assert ours == pytest.approx(float(sup_con(jnp.asarray(features), LABELS)), rel=FLOAT32)
