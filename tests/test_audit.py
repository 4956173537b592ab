"""`ssem audit` on what another program found: pymanopt's embeddings, through a file."""

import json

import numpy as np
import pymanopt
import pytest
from pymanopt.optimizers import ConjugateGradient

import ssem_jax as sx
from ssem_jax.cli import main

EXCESS_TOLERANCE = 1e-9
"""The audit's gap is the excess over the optimum, up to the certified gap of its reference."""

LABELS = np.repeat(["ant", "bee", "cat"], 4)


def embeddings_by_pymanopt(loss, structure, dim):
    """Conjugate gradients at pymanopt's default budget, with the gradient written in NumPy."""
    same = structure.class_ids[:, None] == structure.class_ids
    eye = np.eye(len(same))
    sup = same * (1 - eye)
    positives = (1 - loss.alpha) * sup / sup.sum() + loss.alpha * eye / len(eye)
    manifold = pymanopt.manifolds.Oblique(dim, len(same))

    def softmax(columns):
        logits = (columns.T @ columns - 1) / loss.temperature
        weights = np.exp(logits)
        return logits, weights / weights.sum(1, keepdims=True), np.log(weights.sum(1))

    @pymanopt.function.numpy(manifold)
    def cost(columns):
        logits, _, log_total = softmax(columns)
        return positives.sum(1) @ log_total - np.sum(positives * logits)

    @pymanopt.function.numpy(manifold)
    def gradient(columns):
        _, share, _ = softmax(columns)
        slope = (positives.sum(1)[:, None] * share - positives) / loss.temperature
        return columns @ (slope + slope.T)

    start = np.random.default_rng(0).normal(size=(dim, len(same)))
    problem = pymanopt.Problem(manifold, cost, euclidean_gradient=gradient)
    optimizer = ConjugateGradient(verbosity=0)
    return optimizer.run(problem, initial_point=start / np.linalg.norm(start, axis=0)).point.T


@pytest.mark.parametrize(("alpha", "tau"), [(0.2, 0.1), (0.6, 0.3)])
def test_audit_gives_the_true_gap_of_foreign_embeddings(tmp_path, capsys, alpha, tau):
    structure, loss = sx.ClassStructure((4, 4, 4)), sx.SupCL(alpha, tau)
    found = embeddings_by_pymanopt(loss, structure, 16)
    np.save(tmp_path / "found.npy", found)
    np.save(tmp_path / "labels.npy", LABELS)
    arguments = ["audit", tmp_path / "found.npy", "--labels", tmp_path / "labels.npy"]
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments), "--alpha", str(alpha), "--tau", str(tau), "--json"])
    document = json.loads(capsys.readouterr().out)
    excess = float(loss(found, structure)) - float(sx.theory.loss(3, 4, 1, alpha, tau))
    assert abs(document["gap"] - excess) <= EXCESS_TOLERANCE
    assert document["optimal"] == (document["gap"] <= document["gap_tolerance"])
    assert end.value.code == (0 if document["optimal"] else 1)
    assert not (document["optimal"] and excess > EXCESS_TOLERANCE)
