"""SupCL with a weight for each class."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from ssem_jax.losses.contrast import Mixture, positive_weight
from ssem_jax.problem.arrays import Hyper
from ssem_jax.problem.pytrees import pytree_dataclass
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import concrete


@pytree_dataclass
class WeightedSupCL(Mixture):
    r"""SupCL whose anchors weigh as their class, against imbalance.

    .. math:: L = (1-\alpha) L_\mathrm{sup} + \alpha L_\mathrm{self}, \qquad
              L_\mathrm{kind} = \frac{\sum_{(i,j)} \omega_{c(i)} \ell_{ij}}
                                   {\sum_{(i,j)} \omega_{c(i)}}

    with the terms :math:`\ell_{ij}` of :class:`SupCL`; with mean="anchors" each sum runs over
    anchors that have a positive, of their mean term, and with mean="all" the lower one over all.
    Convex in G as all weights are nonnegative.
    In a balanced structure class weights break the symmetry of classes but not of instances.

    Args:
        alpha: α in [0, 1], the weight of L_self. A traced leaf; may carry a batch axis.
        temperature: τ > 0. A traced leaf; may carry a batch axis.
        class_weights: ω, one nonnegative number for each class, for example the inverse of its
            size. Static.
        self_pairs: "include" or "exclude" the pairs (i, i), or "decouple" instances.
        mean: over positive "pairs", over "anchors" that have one, or over "all" anchors.

    Raises:
        ValueError: as :class:`SupCL`; weights that are negative, or not one for each class, or
            that leave no positive pair.

    References:
        The cost-sensitive mean of Cui, Jia, Lin, Song and Belongie (CVPR 2019, arXiv:1901.05555),
        equation 4, put on the anchors of SupCL.
    """

    convex: ClassVar[bool] = True
    proven: ClassVar[bool] = True
    like_classes: ClassVar[bool] = False

    alpha: Hyper
    temperature: Hyper
    class_weights: tuple[float, ...] = dataclasses.field(metadata={"static": True})
    self_pairs: str = dataclasses.field(default="include", metadata={"static": True})
    mean: str = dataclasses.field(default="pairs", metadata={"static": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        given = concrete(self.class_weights, "class_weights", may_be_empty=True)
        weights = np.ravel(np.asarray(given))
        object.__setattr__(self, "class_weights", tuple(weights.tolist()))
        if not all(0 <= weight < np.inf for weight in self.class_weights):
            raise ValueError(
                f"class_weights must be nonnegative and finite; got {self.class_weights}."
            )

    def check_structure(self, structure: ClassStructure) -> None:
        """Raise a ValueError unless there are the positives that α asks for, and their weights."""
        super().check_structure(structure)
        if len(self.class_weights) != structure.num_classes:
            raise ValueError(
                f"class_weights must have one number for each of the {structure.num_classes} "
                f"classes; got {len(self.class_weights)}."
            )
        alpha, anchors = concrete(self.alpha), self.prepare(structure)
        if alpha is None:
            return
        for share, weights in ((1 - alpha, anchors.sup), (alpha, anchors.own)):
            if np.any(share > 0) and not weights.any():
                raise ValueError(
                    f"class_weights {self.class_weights} leave no positive pair in {structure}."
                )

    def weights(
        self,
        num_sup: Int[np.ndarray, " N"],
        num_own: Int[np.ndarray, " N"],
        classes: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """As the class of the anchor."""
        omega = np.asarray(self.class_weights)[classes]
        return (
            positive_weight(num_sup, self.mean, omega),
            positive_weight(num_own, self.mean, omega),
        )

    def without_conventions(self) -> WeightedSupCL:
        """The loss without its weights and conventions; `prepare` holds them."""
        kept = "decouple" if self.decoupled else "include"
        return dataclasses.replace(self, class_weights=(), self_pairs=kept, mean="pairs")
