r"""What an optimiser of everyday use comes to: many starts at once, each step of all together.

`solve` spreads its starts, leaves saddles and walks along temperatures, so it says little about
the landscape. Here a start is followed as it is, by

* **adam**: optax's Adam on free rows, which the loss normalises: the usual way;
* **descent**: gradient descent of N·L on the spheres, which is the gradient flow as its rate falls;
* **newton**: the trust region alone, with no spreading and no escape.

What is reached is then polished by the trust region, so that critical points can be told apart.
First-order steps of all starts are one vectorised kernel: they are regular. Trust regions are not,
and run one after another on all threads.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from ssem_jax.compute.kernels import Kernel, chunk_capacity, map_first, run_chunks
from ssem_jax.geometry.metrics import variances
from ssem_jax.geometry.sphere import normalize, project
from ssem_jax.losses.base import GramLoss
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.solver.newton import GRADIENT_TOLERANCE, trust_region
from ssem_jax.solver.objective import of_loss

METHODS = ("adam", "descent", "newton")
STARTS = ("gaussian", "classes")
RATES = {"adam": 0.5, "descent": 0.05}
"""Learning rates where none is given; Adam's is that of published synthetic experiments."""
LOOKS = 20
"""Stretches of a descent at whose ends variances are noted."""


class Descents(NamedTuple):
    """Where descents came to, in S rows: one for each start.

    Attributes:
        values: (S, LOOKS + 1) losses, of the start first.
        within: (S, LOOKS + 1) variance within classes, of instance means and views.
        between: (S, LOOKS + 1) variance of class means.
        critical: (S, N, d) the critical point that the end is polished to.
        critical_values: (S,) the loss there.
        gradients: (S,) norms of the Riemannian gradient there.
    """

    values: np.ndarray
    within: np.ndarray
    between: np.ndarray
    critical: np.ndarray
    critical_values: np.ndarray
    gradients: np.ndarray


@partial(Kernel, static_argnums=(1, 2, 3))
def _starts(
    key: PRNGKeyArray, num_starts: int, dim: int, about_classes: bool, classes: Array
) -> Array:
    """Gaussian rows; "classes" has them about their class index, in every coordinate."""
    points = jax.random.normal(key, (num_starts, len(classes), dim), float)
    return normalize(points + classes[None, :, None]) if about_classes else normalize(points)


def _look(value: Any, points: Array, structure: ClassStructure) -> tuple[Array, Array, Array]:
    """Loss and variances of unit rows."""
    parts = variances(points, structure)
    return value(points @ points.T), parts.view + parts.delta2, parts.between


@partial(Kernel, static_argnums=(3, 4, 5))
def _descend(
    loss: GramLoss,
    prepared: Any,
    points: Array,
    structure: ClassStructure,
    method: str,
    stretch: int,
    rate: Array,
) -> tuple[Array, tuple[Array, Array, Array]]:
    """`LOOKS` stretches of steps from every start; what is seen at their ends."""
    count = structure.num_embeddings

    def value(gram: Array) -> Array:
        return loss.value(gram, prepared)

    slope = jax.grad(lambda rows: value(normalize(rows) @ normalize(rows).T))
    adam = optax.adam(rate)

    def step(_: int, state: Any) -> Any:
        rows, memory = state
        if method == "adam":
            change, memory = adam.update(slope(rows), memory)
            return optax.apply_updates(rows, change), memory
        return normalize(rows - rate * count * project(rows, slope(rows))), memory

    def one(start: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        def look(state: Any, _: None) -> tuple[Any, tuple[Array, Array, Array]]:
            state = jax.lax.fori_loop(0, stretch, step, state)
            return state, _look(value, normalize(state[0]), structure)

        begun = (start, adam.init(start))
        ended, seen = jax.lax.scan(look, begun, None, length=LOOKS)
        first = _look(value, start, structure)
        seen = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, seen)
        return normalize(ended[0]), seen

    return jax.vmap(one)(points)


@Kernel
def _polish(loss: GramLoss, prepared: Any, points: Array, count: Array) -> tuple[Array, ...]:
    """The first `count` points of a chunk, brought to the critical point next to them."""

    def polished(start: Array) -> tuple[Array, ...]:
        run = trust_region(of_loss(loss, prepared), start, GRADIENT_TOLERANCE)
        return run.point.embeddings, run.point.value, run.point.gradient_norm

    return map_first(count, polished, points)


def descend(
    loss: GramLoss,
    structure: ClassStructure,
    dim: int,
    key: PRNGKeyArray,
    num_starts: int,
    method: str,
    start: str,
    steps: int,
    rate: float,
) -> Descents:
    """Follow a method from random starts, and polish what it came to.

    Args:
        loss: of one cell.
        structure: of the embeddings.
        dim: d.
        key: of the starts.
        num_starts: S.
        method: one of `METHODS`.
        start: "gaussian", or "classes": about the class index, with unit noise.
        steps: of a first-order method; rounded up to a multiple of `LOOKS`.
        rate: learning rate of a first-order method.
    """
    prepared, bare = loss.prepare(structure), loss.without_conventions()
    classes = jnp.asarray(structure.class_ids, float)
    ends = _starts(key, num_starts, dim, start == "classes", classes)
    # A trust region takes no steps of one size: its path has a start and an end alone.
    stretch = 0 if method == "newton" else -(-steps // LOOKS)
    ends, seen = _descend(bare, prepared, ends, structure, method, stretch, jnp.asarray(rate))
    ends = np.asarray(ends)

    def work(chunk: np.ndarray, count: Array) -> tuple[Array, ...]:
        return _polish(bare, prepared, jnp.asarray(ends[chunk]), count)

    critical = np.zeros_like(ends)
    values, gradients = np.zeros(num_starts), np.zeros(num_starts)
    capacity = chunk_capacity(structure.num_embeddings * dim)
    for chunk, found in run_chunks(work, np.arange(num_starts), capacity, len(classes)):
        critical[chunk], values[chunk], gradients[chunk] = found
    losses, within, between = paths = [np.array(each) for each in seen]
    if method == "newton":
        points = jnp.asarray(critical)
        last = _looks(bare, prepared, points, structure)
        for path, end in zip(paths, last, strict=True):
            path[:, 1:] = np.asarray(end)[:, None]
    return Descents(losses, within, between, critical, values, gradients)


@partial(Kernel, static_argnums=(3,))
def _looks(
    loss: GramLoss, prepared: Any, points: Array, structure: ClassStructure
) -> tuple[Array, Array, Array]:
    return jax.vmap(lambda one: _look(lambda g: loss.value(g, prepared), one, structure))(points)


@Kernel
def _curvature(loss: GramLoss, prepared: Any, points: Float[Array, "N d"]) -> tuple[Array, Array]:
    """Eigenvalues of N times the Riemannian Hessian, radial zeros among them, and of N·S."""

    def value(gram: Array) -> Array:
        return len(points) * loss.value(gram, prepared)

    def of_rows(rows: Array) -> Array:
        return value(normalize(rows) @ normalize(rows).T)

    hessian = jax.hessian(of_rows)(points).reshape(points.size, points.size)
    slope = jax.grad(value)(points @ points.T)
    pull = (slope + slope.T) / 2
    dual = pull - jnp.diag(jnp.sum((pull @ points) * points, axis=1))
    return jnp.linalg.eigvalsh((hessian + hessian.T) / 2), jnp.linalg.eigvalsh(dual)


def curvature(
    loss: GramLoss, structure: ClassStructure, points: Float[np.ndarray, "N d"]
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of N times the Riemannian Hessian at a critical point, and of the dual matrix.

    As the loss is taken of normalised rows, its Hessian in R^{N×d} is the Riemannian one, and 0
    along the N rows themselves.
    """
    found = _curvature(loss.without_conventions(), loss.prepare(structure), jnp.asarray(points))
    return np.asarray(found[0]), np.asarray(found[1])
