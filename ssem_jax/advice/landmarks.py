r"""Values of a loss that a training curve is read by: collapsed classes, and all rows equal.

A curve that stands still at log(N-1) has rows that all coincide; one that stands at the collapsed
value has lost all that tells instances of a class apart. Both are closed forms:

.. math::
   L_\mathrm{equal} = \sum_k w_k \log(a_k + b_k), \qquad
   L_\mathrm{collapsed} = \sum_k w_k \log\bigl(a_k + b_k e^{-\frac{m}{(m-1)\tau}}\bigr)

with :math:`a_k` the terms of the own class in the denominator of an anchor of class k, :math:`b_k`
those of the others, and :math:`w_k` the weight of the class.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ssem_jax.certificate.class_blocks import class_rows, has_class_form
from ssem_jax.geometry.similarities import Similarities, block_gram
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.structure import ClassStructure

GRAM_LIMIT = 2000
"""Embeddings of which a Gram matrix is formed for a loss that has no rows of classes."""
ROWS_LIMIT = 10**6
"""Embeddings up to which weights of classes are listed."""


class Landmarks(NamedTuple):
    """Losses of embeddings that everyone can picture; NaN where they are not known.

    Attributes:
        collapsed: all rows of a class coincide, and the classes form a simplex.
        all_equal: all rows coincide.
    """

    collapsed: float
    all_equal: float


def landmarks(loss: GramLoss, structure: ClassStructure) -> Landmarks:
    """The landmarks of one cell of a loss that the structure admits."""
    m, count = structure.num_classes, structure.num_embeddings
    if structure.is_balanced and type(loss) is SupCL:
        size = structure.sizes[0]
        return _of_counts(loss, m, size, structure.num_views, m * size, 1.0)
    if has_class_form(loss) and count <= ROWS_LIMIT:
        of_sup, of_own = loss.mixing
        rows: Any = class_rows(loss, structure)
        weights = np.asarray(of_sup * rows.sup + of_own * rows.own)
        return _of_counts(loss, m, rows.sizes, structure.num_views, rows.sizes.sum(), weights)
    if count > GRAM_LIMIT:
        return Landmarks(np.nan, np.nan)
    grams = (block_gram(structure, *Similarities(1.0, 1.0, s)) for s in (-1 / (m - 1), 1.0))
    return Landmarks(*(float(loss.from_gram(gram, structure)) for gram in grams))


def _of_counts(
    loss: Any, num_classes: int, sizes: Any, num_views: int, instances: Any, weights: Any
) -> Landmarks:
    included = float(loss.self_pairs == "include")
    views = 0 if loss.self_pairs == "decouple" else num_views - 1
    near = included + views + num_views * (np.asarray(sizes, float) - 1)
    far = num_views * (instances - np.asarray(sizes, float))
    fall = np.exp(-num_classes / (num_classes - 1) / float(loss.temperature))
    with np.errstate(divide="ignore"):  # a class of one row, with nothing in its denominator
        values = (float(np.sum(weights * np.log(near + far * each))) for each in (fall, 1.0))
        return Landmarks(*values)
