r"""Simplex equiangular tight frames, and the simplex-to-simplex embedding model (SSEM).

SSEM(δ) interpolates between full class collapse and a simplex of all instances: every instance of
a balanced structure is a class vertex plus an instance vertex,

.. math::
   u_{ki} = \sqrt{1-\delta^2}\, c_k + \sqrt{\delta^2}\, v_{ki},

with c_1 … c_m a regular simplex, v_{k1} … v_{kn} a regular simplex for every class k, and all these
simplices in mutually orthogonal subspaces. The views of an instance coincide.

The parameter is written `delta2` everywhere: δ² is the variance of the instance means within their
class. It ranges over [0, 1]: 0 is class collapse (the m-simplex), m(n-1)/(mn-1) is the simplex of
all mn instances, and at 1 the class means vanish.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax.geometry.similarities import block_gram
from ssem_jax.geometry.sphere import product
from ssem_jax.problem.arrays import Seed
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import as_key, check_count, concrete


def simplex_etf(
    num_points: int, dim: int, key: Seed | None = None
) -> Float[Array, "num_points dim"]:
    r"""Vertices of a regular simplex: unit vectors of mean zero with equal cosines.

    .. math:: \langle v_i, v_j \rangle = -\frac{1}{k-1} \quad (i \ne j)

    Args:
        num_points: k ≥ 2.
        dim: d ≥ k-1, the dimension of the space around them.
        key: rotates them at random; without it they lie in the first k-1 coordinates.

    Returns:
        (k, d) vertices as rows.

    Raises:
        ValueError: fewer than two points, or d < k-1.

    References:
        Papyan, Han and Donoho (PNAS 2020), for the frame; the coordinates are Helmert's contrasts.
    """
    check_count("num_points", num_points, 2)
    return _place(_simplex(num_points), dim, key, f"a simplex of {num_points} points")


def ssem_gram(structure: ClassStructure, delta2: Float[Array, ""] | float) -> Float[Array, "N N"]:
    r"""The Gram matrix of SSEM(δ), affine in δ².

    .. math::
       s_\mathrm{view} = 1, \qquad
       s_\mathrm{within} = 1 - \frac{n}{n-1} \delta^2, \qquad
       s_\mathrm{between} = -\frac{1-\delta^2}{m-1}

    Args:
        structure: m classes of equal size n.
        delta2: δ² in [0, 1], one number, may be traced; 0 if n = 1.

    Returns:
        (N, N) Gram matrix.

    Raises:
        ValueError: classes of different size, or a δ² that is out of range.

    References:
        Lee, Oh, Lee and Sohn (AISTATS 2025, arXiv:2503.08203).
    """
    _check_ssem(structure, delta2)
    m, n = structure.num_classes, structure.num_instances
    within = 1 - delta2 * n / max(n - 1, 1)
    return block_gram(structure, 1.0, within, -(1 - delta2) / (m - 1))


def ssem_embeddings(
    structure: ClassStructure,
    delta2: Float[Array, ""] | float,
    dim: int,
    key: Seed | None = None,
) -> Float[Array, "N dim"]:
    r"""Embeddings of SSEM(δ), in any dimension that admits them.

    The formula stands in this module's docstring. The class simplex takes m-1 dimensions unless
    δ² = 1, the instance simplices m(n-1) unless δ² = 0; a traced δ² needs both, mn-1.

    Args:
        structure: m classes of equal size n.
        delta2: δ² in [0, 1], one number; 0 if n = 1.
        dim: d, the embedding dimension.
        key: rotates the embeddings at random.

    Returns:
        (N, d) unit rows of mean zero, ordered by class, instance and view.

    Raises:
        ValueError: classes of different size, δ² out of range, or too small a d.

    References:
        Lee, Oh, Lee and Sohn (AISTATS 2025, arXiv:2503.08203).
    """
    _check_ssem(structure, delta2)
    m, n = structure.num_classes, structure.num_instances
    value = concrete(delta2)
    coordinates = []
    if value is None or value < 1:
        coordinates.append(jnp.sqrt(1 - delta2) * np.repeat(_simplex(m), n, axis=0))
    if n > 1 and (value is None or value > 0):
        coordinates.append(jnp.sqrt(delta2) * np.kron(np.eye(m), _simplex(n)))
    what = f"SSEM({'δ' if value is None else f'δ² = {float(value):g}'}) of {structure}"
    instances = _place(jnp.concatenate(coordinates, axis=1), dim, key, what)
    return jnp.repeat(instances, structure.num_views, axis=0)


def _simplex(num_points: int) -> Float[np.ndarray, "num_points rank"]:
    """(k, k-1) vertices of a regular simplex in its own dimension."""
    point, contrast = np.arange(num_points)[:, None], np.arange(1, num_points)
    helmert = np.where(point < contrast, 1, np.where(point == contrast, -contrast, 0))
    return helmert * np.sqrt(num_points / (num_points - 1) / (contrast * (contrast + 1)))


def _place(
    points: Float[Array | np.ndarray, "k rank"], dim: int, key: Seed | None, what: str
) -> Float[Array, "k dim"]:
    """Put points into `dim` dimensions, rotated at random where a key is given."""
    rank = points.shape[1]
    if check_count("dim", dim, 1) < rank:
        raise ValueError(f"{what} needs dim of at least {rank}; got {dim}.")
    placed = jnp.pad(jnp.asarray(points, jnp.result_type(float)), ((0, 0), (0, dim - rank)))
    return placed if key is None else product(placed, jax.random.orthogonal(as_key(key), dim))


def _check_ssem(structure: ClassStructure, delta2: Float[Array, ""] | float) -> None:
    """Raise a ValueError unless SSEM(δ) is defined on the structure."""
    check_structure(structure)
    value = concrete(delta2, "delta2")
    if not structure.is_balanced:
        raise ValueError(f"SSEM needs classes of equal size; got sizes {structure.sizes}.")
    if np.ndim(delta2) > 0:
        raise ValueError(
            f"delta2 must be one number; got shape {np.shape(delta2)}. Use jax.vmap for many."
        )
    most = 1 if structure.num_instances > 1 else 0
    if value is not None and not 0 <= value <= most:
        raise ValueError(
            f"delta2 must lie in [0, {most}] for {structure}; got {float(value):g}. It is the "
            "variance of the instance means within their class."
        )
