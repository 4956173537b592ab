"""How others minimise the same loss: each peer takes one cell and returns embeddings (N, d).

All start from random points of the given seed. Self pairs are included and classes are balanced,
which every peer below relies on; nothing else is simplified, and gradients are written by hand
where a peer can use them, so that none is slowed down by its automatic differentiation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pymanopt
from pymanopt.optimizers import ConjugateGradient, TrustRegions

import ssem_jax as sx

ADAM_RATE, ADAM_STEPS = 0.5, 1000
"""The usual way: what published code of this loss runs for synthetic embeddings."""


class Setting(NamedTuple):
    """The shape of a cell: m classes of n instances with p views, in d dimensions."""

    num_classes: int
    num_instances: int
    num_views: int
    dim: int

    @property
    def structure(self) -> sx.ClassStructure:
        """The class structure."""
        return sx.ClassStructure.balanced(*self[:3])

    def __str__(self) -> str:
        return ",".join(map(str, self))


# ----------------------------------------------------------------------------------------- optax


@partial(jax.jit, static_argnames="structure")
def _adam_step(rows: Any, state: Any, loss: sx.SupCL, structure: sx.ClassStructure) -> Any:
    slope = jax.grad(lambda rows: loss(rows, structure))(rows)
    updates, state = optax.adam(ADAM_RATE).update(slope, state)
    return optax.apply_updates(rows, updates), state


def adam(setting: Setting, loss: sx.SupCL, seed: int) -> np.ndarray:
    """Adam in float32, one jitted step after another, from Gaussians about the class index."""
    ids = setting.structure.class_ids
    start = np.random.default_rng(seed).normal(ids[:, None], size=(len(ids), setting.dim))
    rows = jnp.asarray(start, jnp.float32)
    hyper = (jnp.float32(loss.alpha), jnp.float32(loss.temperature))
    loss, state = sx.SupCL(*hyper), optax.adam(ADAM_RATE).init(rows)
    for _ in range(ADAM_STEPS):
        rows, state = _adam_step(rows, state, loss, setting.structure)
    return np.asarray(rows, np.float64)


# -------------------------------------------------------------------------------------- pymanopt


@cache
def _masks(setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the pairs of L_sup and of L_self; each sums to 1."""
    structure = setting.structure
    own = (structure.instance_ids[:, None] == structure.instance_ids).astype(float)
    sup = (structure.class_ids[:, None] == structure.class_ids) - own
    return sup / sup.sum(), own / own.sum()


def _positives(setting: Setting, loss: sx.SupCL) -> np.ndarray:
    sup, own = _masks(setting)
    return np.asarray((1 - loss.alpha) * sup + loss.alpha * own)


def _on_manifold(optimizer: Any, setting: Setting, loss: sx.SupCL, seed: int) -> np.ndarray:
    """pymanopt on the oblique manifold, whose points are columns."""
    positives, tau = _positives(setting, loss), loss.temperature
    num_points = len(positives)
    manifold = pymanopt.manifolds.Oblique(setting.dim, num_points)

    def softmax(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        logits = (columns.T @ columns - 1) / tau
        scores = np.exp(logits)
        totals = scores.sum(1, keepdims=True)
        return logits, scores / totals, np.log(totals)

    @pymanopt.function.numpy(manifold)
    def cost(columns: np.ndarray) -> float:
        logits, _, log_totals = softmax(columns)
        return log_totals.mean() - np.sum(positives * logits)

    def pull(share: np.ndarray) -> np.ndarray:
        slope = (share / num_points - positives) / tau
        return slope + slope.T

    @pymanopt.function.numpy(manifold)
    def gradient(columns: np.ndarray) -> np.ndarray:
        return columns @ pull(softmax(columns)[1])

    @pymanopt.function.numpy(manifold)
    def hessian(columns: np.ndarray, along: np.ndarray) -> np.ndarray:
        share = softmax(columns)[1]
        moved = along.T @ columns
        moved = (moved + moved.T) / tau
        change = share * (moved - np.sum(share * moved, axis=1, keepdims=True))
        change /= num_points * tau
        return along @ pull(share) + columns @ (change + change.T)

    start = np.random.default_rng(seed).normal(size=(setting.dim, num_points))
    problem = pymanopt.Problem(
        manifold, cost, euclidean_gradient=gradient, euclidean_hessian=hessian
    )
    start /= np.linalg.norm(start, axis=0)
    return optimizer(verbosity=0).run(problem, initial_point=start).point.T


conjugate_gradient = partial(_on_manifold, ConjugateGradient)
trust_regions = partial(_on_manifold, TrustRegions)

# ----------------------------------------------------------------------------------------- cvxpy


def clarabel(setting: Setting, loss: sx.SupCL, seed: int) -> np.ndarray:
    """The convex program over Gram matrices at Clarabel's default tolerances; small N only."""
    positives = _positives(setting, loss)
    num_points = len(positives)
    gram = cp.Variable((num_points, num_points), PSD=True)
    log_totals = [cp.log_sum_exp(gram[i] / loss.temperature) for i in range(num_points)]
    pairs = cp.sum(cp.multiply(positives, gram)) / loss.temperature
    objective = sum(log_totals) / num_points - pairs
    cp.Problem(cp.Minimize(objective), [cp.diag(gram) == 1]).solve(solver=cp.CLARABEL)
    values, vectors = np.linalg.eigh(np.asarray(gram.value))
    return vectors * np.sqrt(np.maximum(values, 0))


Peer = Callable[[Setting, sx.SupCL, int], np.ndarray]

PEERS: dict[str, Peer] = {
    "optax Adam": adam,
    "pymanopt CG": conjugate_gradient,
    "pymanopt TR": trust_regions,
    "cvxpy + Clarabel": clarabel,
}
CLARABEL_LIMIT = 25
"""Embeddings up to which Clarabel is asked; its cost grows with the sixth power of N."""
