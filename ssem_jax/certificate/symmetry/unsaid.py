r"""The program of a loss that does not say its terms: its Gram matrix, by JAX.

x → G(x), whose entry at (i, j) is that of the orbit of the pair → L(G(x)); the gradient and the
Hessian in x are JAX's. It costs N² numbers a value, so that embeddings are few. A minorant is the
tangent at x, of a loss that is declared to be convex; what it may err by is what certificates of
any such loss count (:func:`ssem_jax.certificate.rounding.evaluation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ssem_jax.certificate import rounding
from ssem_jax.certificate.symmetry.algebra import Algebra
from ssem_jax.certificate.symmetry.cones import Cone
from ssem_jax.certificate.symmetry.newton import Local
from ssem_jax.certificate.symmetry.program import Minorant, OrbitProgram
from ssem_jax.compute.kernels import Kernel, map_first
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.structured import RELATIONS, relation_matrix
from ssem_jax.problem.structure import ClassStructure

UNSAID_LIMIT = 64
"""Embeddings up to which a loss that does not say its terms is reduced, by way of its Gram
matrix."""
CHUNK = 16
"""Lanes of a kernel call."""


def _of_orbits(loss: GramLoss, shared: Any, x: Array) -> Array:
    """The loss of the Gram matrix with these entries."""
    prepared, orbits = shared
    return loss.value(jnp.append(x, 1.0)[orbits], prepared)


@Kernel
def _values(losses: GramLoss, shared: Any, x: Array, count: Array) -> Array:
    return map_first(count, lambda loss, one: _of_orbits(loss, shared, one), losses, x)


@Kernel
def _local(losses: GramLoss, shared: Any, x: Array, count: Array) -> tuple[Array, Array, Array]:
    def local(loss: GramLoss, one: Array) -> tuple[Array, Array, Array]:
        def both(place: Array) -> tuple[Array, tuple[Array, Array]]:
            value, slope = jax.value_and_grad(lambda y: _of_orbits(loss, shared, y))(place)
            return slope, (value, slope)

        bend, (value, slope) = jax.jacfwd(both, has_aux=True)(one)
        return value, slope, 0.5 * (bend + bend.T)

    return map_first(count, local, losses, x)


@Kernel
def _sizes(loss: GramLoss, shared: Any, x: Array) -> tuple[Array, Array]:
    """Of the terms that the gradient and that the value are summed from."""
    prepared, orbits = shared
    gram = jnp.append(x, 1.0)[orbits]
    sensitivity = loss.sensitivity(gram, prepared)
    return sensitivity, loss.magnitude(loss.value(gram, prepared), sensitivity)


class UnsaidProgram(OrbitProgram):
    """A convex loss that does not say its terms, and is unchanged where pairs of a colour are.

    Args:
        algebra: of the colours of pairs.
        of_class: (m,) the fibre of every class.
        loss: one cell.
        structure: the class structure.
        lower: entries of G are at least this, if given.
    """

    def __init__(
        self,
        algebra: Algebra,
        of_class: Int[np.ndarray, " m"],
        loss: GramLoss,
        structure: ClassStructure,
        lower: float | None = None,
    ) -> None:
        super().__init__(algebra, lower)
        fibres, count = of_class[structure.class_ids], len(algebra.points)
        colour = np.zeros((len(RELATIONS), count, count), int)
        for place, name in enumerate(algebra.names):
            pair = algebra.source[place], algebra.target[place]
            colour[RELATIONS.index(name.relation), *pair] = place
        found = colour[relation_matrix(structure), fibres[:, None], fibres[None, :]]
        self.orbits = np.append(algebra.orbit_of, -1)[found] % (self.num_variables + 1)
        self.structure, self.loss = structure, loss

    @property
    def shape(self) -> tuple[Any, ...]:
        """Algebra, bounds, and what is static of the loss."""
        shapes = tuple(np.shape(leaf) for leaf in jax.tree.leaves(self.loss))
        static = self.structure, jax.tree.structure(self.loss), shapes
        return id(self.algebra), self.lower.tobytes(), *static

    def joined(self, programs: Sequence[UnsaidProgram]) -> UnsaidPrograms:
        """Programs of this shape, a lane each."""
        return UnsaidPrograms(programs)

    def local(self, x: Float[np.ndarray, " O"]) -> Local:
        """f, its gradient and its Hessian, of one lane."""
        return UnsaidPrograms([self]).local(x[None], np.zeros(1, int))

    def margins(self, x: Float[np.ndarray, " O"]) -> tuple[float, float]:
        """Errors of the value, and of slope·(y - x) for all |y| ≤ 1."""
        rounding.check_functions()
        plain, shared = shared_of(self)
        sensitivity, magnitude = map(float, _sizes(plain, shared, x))
        size = self.structure.num_embeddings
        # The gradient of G, and then its sums over the pairs of an orbit.
        return (
            rounding.evaluation(size) * magnitude,
            2 * float(rounding.tangent_slope(size, sensitivity)),
        )

    def minorant(self, x: Float[np.ndarray, " O"]) -> Minorant:
        """The tangent."""
        found = self.local(x)
        return Minorant(float(found.value[0]), found.slope[0], sum(self.margins(x)))

    def upper_value(self, x: Float[np.ndarray, " O"]) -> float:
        """f(x), rounded upwards."""
        return float(self.local(x).value[0]) + self.margins(x)[0]


def shared_of(program: UnsaidProgram) -> tuple[GramLoss, Any]:
    """The loss without what `prepare` has absorbed; that, and the orbits of all pairs."""
    prepared = program.loss.prepare(program.structure)
    return program.loss.without_conventions(), (prepared, program.orbits)


class UnsaidPrograms:
    """Programs that differ in numbers alone, a lane each, for :mod:`.interior`.

    Args:
        programs: as :func:`.program.alike` finds them.
    """

    def __init__(self, programs: Sequence[UnsaidProgram]) -> None:
        self.first = programs[0]
        plain, self.shared = shared_of(self.first)
        others = [program.loss.without_conventions() for program in programs[1:]]
        self.losses = jax.tree.map(lambda *leaves: np.stack(leaves), plain, *others)

    @property
    def cone(self) -> Cone:
        """The blocks that must be positive semidefinite."""
        return self.first.cone

    def _run(self, kernel: Kernel, x: np.ndarray, lanes: np.ndarray) -> Any:
        """What a kernel finds of some lanes, a chunk at a time."""
        found = []
        for begin in range(0, len(lanes), CHUNK):
            count = min(CHUNK, len(lanes) - begin)
            at = np.minimum(np.arange(begin, begin + CHUNK), len(lanes) - 1)
            losses = jax.tree.map(lambda leaf, at=at: leaf[lanes[at]], self.losses)
            results = kernel(losses, self.shared, x[at], count)
            found.append(jax.tree.map(lambda leaf, n=count: np.asarray(leaf)[:n], results))
        return jax.tree.map(lambda *parts: np.concatenate(parts), *found)

    def values(self, x: Float[np.ndarray, "B O"], lanes: np.ndarray) -> Float[np.ndarray, " B"]:
        """f of some lanes."""
        return np.asarray(self._run(_values, x, lanes))

    def local(self, x: Float[np.ndarray, "B O"], lanes: np.ndarray) -> Local:
        """f, its gradient and its Hessian."""
        return Local(*self._run(_local, x, lanes))
