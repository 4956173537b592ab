r"""Geometry of the oblique manifold: N unit vectors in R^d, the product of spheres (S^{d-1})^N.

Points and tangent vectors are (N, d) arrays with the metric of R^{N×d}. A loss is given as a
function f(G) of the Gram matrix :math:`G = U U^\top`. With :math:`P = \nabla f + \nabla f^\top`
and the multipliers :math:`\lambda_i = \langle (P U)_i, u_i \rangle`,

.. math::
   \operatorname{grad} = (P - \operatorname{Diag} \lambda) U, \qquad
   \operatorname{Hess}[V] = \Pi\bigl[(P - \operatorname{Diag} \lambda) V
       + \dot P U\bigr], \quad \dot P = \mathrm{D}P[V U^\top + U V^\top],

with Π the projection onto the tangent space. In a direction of R^d that no embedding uses,
the Hessian is P - Diag λ itself: twice the dual matrix of the convex problem in G.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ssem_jax.problem.arrays import AnyArray

Rows = Float[Array, "N d"]
AnyRows = Float[AnyArray, "N d"]


def normalize(points: Float[AnyArray, "*batch N d"]) -> Float[Array, "*batch N d"]:
    """Every row divided by its norm; zero rows stay zero, with a zero gradient.

    A row is first divided by a power of two near its largest entry, so that no square over- or
    underflows, whatever its length; that is exact, and so changes no other row by a bit.
    """
    limits = jnp.finfo(points.dtype)
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(points), axis=-1, keepdims=True))
    # A quarter of it, so that the power's inverse, too, is a normal number.
    power = jax.lax.reduce_precision(0.25 * largest, limits.nexp, 0)
    scaled = jnp.divide(points, jnp.maximum(power, limits.tiny))
    squared = jnp.sum(scaled * scaled, axis=-1, keepdims=True)
    return scaled / jnp.sqrt(jnp.where(squared == 0, jnp.inf, squared))


def rescaled(points: Float[np.ndarray, "N d"]) -> Float[np.ndarray, "N d"]:
    """Every row times a power of two that brings its largest entry into [1/2, 1), on the host.

    XLA may take numbers below the smallest normal one for zero; NumPy does not.
    """
    largest = np.max(np.abs(points), axis=1, keepdims=True)
    return np.ldexp(points, -np.frexp(largest)[1])


def product(left: Array, right: Array) -> Array:
    """left @ right in the full precision of their type.

    Left to itself, JAX multiplies float32 matrices on recent GPUs in TF32, of 10 bits: cosines err
    by 2^-11 each, which moves the weights of a softmax by some 4e-3 at a temperature of 0.05.
    """
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)


def random_points(key: PRNGKeyArray, num_points: int, dim: int, dtype=None) -> Rows:
    """Independent uniform points on the sphere."""
    return normalize(jax.random.normal(key, (num_points, dim), dtype or float))


def project(points: AnyRows, vectors: AnyRows) -> Rows:
    """Orthogonal projection of `vectors` onto the tangent space at `points`."""
    along = jnp.sum(points * vectors, axis=-1, keepdims=True)
    return jnp.subtract(vectors, points * along)


def retract(points: Rows, tangent: Rows) -> tuple[Rows, Rows]:
    r"""The metric retraction, and the displacement that it makes.

    .. math:: R_U(V)_i = (u_i + v_i) / \sqrt{1 + \|v_i\|^2}

    Returns:
        The new points, and their displacement, computed so that it keeps its relative accuracy
        for steps far below the rounding unit of the points themselves.
    """
    squared = jnp.sum(tangent * tangent, axis=-1, keepdims=True)
    length = jnp.sqrt(1 + squared)
    displacement = (tangent - points * (squared / (1 + length))) / length
    return normalize(points + displacement), displacement


def inner(left: AnyRows, right: AnyRows) -> Float[Array, ""]:
    """Σ A_ij B_ij, of two tangent vectors for one; as a dot product, which XLA adds up in parallel,
    in the full precision of their type."""
    return jnp.vdot(left, right, precision=jax.lax.Precision.HIGHEST)
