"""The three similarities of balanced classes, and their Gram matrix."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax.problem.arrays import AnyArray
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import as_array


class Similarities(NamedTuple):
    """Inner products of unit embeddings, one number for each kind of pair (or one per class).

    A kind without pairs has similarity 1, as points that coincide have: `view` where p = 1,
    `within` where a class has one instance.

    Attributes:
        view: scalar or (m,), of two different views of an instance.
        within: scalar or (m,), of two different instances of a class.
        between: scalar, of two different classes; or (m, m), inner products of the class means,
            whose diagonal is the squared norm of each class mean.
    """

    view: Float[AnyArray, "*view"] | float
    within: Float[AnyArray, "*within"] | float
    between: Float[AnyArray, "*between"] | float


def block_gram(
    structure: ClassStructure,
    view: Float[AnyArray, "*view"] | float,
    within: Float[AnyArray, "*within"] | float,
    between: Float[AnyArray, "*between"] | float,
) -> Float[Array, "N N"]:
    r"""The Gram matrix that is constant on the blocks of a class structure.

    .. math::
       G_{ij} = 1 \;(i = j), \quad \text{view (same instance)}, \quad
       \text{within (same class)}, \quad \text{between (different classes)}

    It need not be positive semidefinite. Similarities may be traced.

    Args:
        structure: any class structure, with N embeddings in m classes.
        view: similarity of two views of an instance; a scalar, or (m,) one for each class.
        within: of two instances of a class; a scalar, or (m,).
        between: of two classes; a scalar, or a symmetric (m, m) whose diagonal is not used.

    Returns:
        (N, N) matrix of unit diagonal.
    """
    check_structure(structure)
    ids, num_classes = structure.class_ids, structure.num_classes

    def spread(name: str, similarity: Any, *shape: int) -> Array:
        array = as_array(similarity, name)
        if array.shape not in ((), shape):
            raise ValueError(f"{name} must be one number or of shape {shape}; got {array.shape}.")
        return jnp.broadcast_to(jnp.asarray(array, jnp.result_type(float)), shape)

    of_views = spread("view", view, num_classes)[ids][:, None]
    of_classes = spread("within", within, num_classes)[ids][:, None]
    across = spread("between", between, num_classes, num_classes)
    same_class = ids[:, None] == ids
    same_instance = structure.instance_ids[:, None] == structure.instance_ids
    gram = jnp.where(same_class, of_classes, across[ids[:, None], ids])
    gram = jnp.where(same_instance, of_views, gram)
    return jnp.where(np.eye(len(ids), dtype=bool), 1.0, gram)
