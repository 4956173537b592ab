r"""Softmax losses whose pairs count by their class and instance: SupCL, SupCon, InfoNCE, DCL.

All are convex functions of the Gram matrix. The supervised contrastive loss is

.. math::
   L = (1-\alpha) L_\mathrm{sup} + \alpha L_\mathrm{self},
   \qquad
   L_\mathrm{kind} = \operatorname{mean}_{(i,j) \text{ positive}}
   \Bigl[\log \sum_{k \in D_i} e^{G_{ik}/\tau} - G_{ij}/\tau\Bigr],

with positives of the same instance (self) or of the same class and *different* instances (sup).
Published code disagrees on two choices, which move the phase diagram, so both are explicit:

* **self pairs** (i, i) are *included* in the denominator D_i and among the same-instance
  positives, or *excluded* from both; or an instance is *decoupled*: excluded, and none of its
  views stands in the denominator, so that positives of the same instance are not contrasted;
* the **mean** runs over all positive pairs of a kind ("pairs"), or over the positives of an
  anchor and then over the anchors that have one ("anchors"), or over all anchors, of which those
  without a positive count 0 ("all"). It matters only for unbalanced classes, and "all" only where
  some class has one instance.

An anchor without a positive of a kind contributes nothing to that kind's mean.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from ssem_jax.losses.contrast import Blocks, ClassContrast, Mixture, positive_weight
from ssem_jax.losses.kinds import supcl_terms
from ssem_jax.losses.terms import Terms
from ssem_jax.problem.arrays import Hyper
from ssem_jax.problem.pytrees import pytree_dataclass
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import check_temperature


@pytree_dataclass
class SupCL(Mixture):
    r"""The supervised contrastive loss (1-α)·L_sup + α·L_self at temperature τ.

    The formula and the conventions stand in this module's docstring. It is convex in G, and
    exact in float64 for τ from 1e-3 to 1e3. Special cases have constructors of their own:
    :func:`info_nce`, :func:`decoupled_contrast`; and see :class:`SupCon`.

    Args:
        alpha: α in [0, 1], the weight of L_self. A traced leaf; may carry a batch axis.
        temperature: τ > 0. A traced leaf; may carry a batch axis.
        self_pairs: "include" or "exclude" the pairs (i, i), or "decouple" instances.
        mean: over positive "pairs", over "anchors" that have one, or over "all" anchors.

    Raises:
        ValueError: α outside [0, 1], τ not positive and finite, an unknown convention; with
            :meth:`check_structure`, a structure without the positives that α asks for.

    References:
        Lee, Oh, Lee and Sohn (AISTATS 2025, arXiv:2503.08203) for the combined loss; Khosla et
        al. (NeurIPS 2020) for supervised contrastive learning; Yeh et al. (ECCV 2022,
        arXiv:2110.06848), equation 6, for decoupled instances.
    """

    convex: ClassVar[bool] = True
    proven: ClassVar[bool] = True

    alpha: Hyper
    temperature: Hyper
    self_pairs: str = dataclasses.field(default="include", metadata={"static": True})
    mean: str = dataclasses.field(default="pairs", metadata={"static": True})

    def weights(
        self,
        num_sup: Int[np.ndarray, " N"],
        num_own: Int[np.ndarray, " N"],
        classes: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Alike for all pairs, or for all anchors."""
        return positive_weight(num_sup, self.mean), positive_weight(num_own, self.mean)

    def terms(self, structure: ClassStructure) -> Terms:
        """Over the kinds of classes, instances and views."""
        alpha, temperature = float(self.alpha), float(self.temperature)
        return supcl_terms(structure, alpha, temperature, self.self_pairs, self.mean)

    def without_conventions(self) -> SupCL:
        """The loss in the default convention; `prepare` holds the one that it was given.

        Decoupled losses keep theirs: their values need other rounding margins.
        """
        kept = "decouple" if self.decoupled else "include"
        return dataclasses.replace(self, self_pairs=kept, mean="pairs")


def info_nce(temperature: Hyper) -> SupCL:
    r"""The InfoNCE loss of SimCLR (NT-Xent): every other view of an instance against all others.

    .. math:: L = \operatorname{mean}_{i, j \text{ of one instance}}
              -\log \frac{e^{G_{ij}/\tau}}{\sum_{k \ne i} e^{G_{ik}/\tau}}

    It is :class:`SupCL` at α = 1 with self pairs excluded; classes play no role.

    Args:
        temperature: τ > 0; may carry a batch axis.

    References:
        van den Oord, Li and Vinyals (2018, arXiv:1807.03748), equation 4; Chen, Kornblith, Norouzi
        and Hinton (ICML 2020, arXiv:2002.05709), equation 1.
    """
    check_temperature(temperature)
    return SupCL(jnp.ones(np.shape(temperature)), temperature, "exclude")


def decoupled_contrast(temperature: Hyper) -> SupCL:
    r"""The decoupled contrastive loss (DCL): InfoNCE without the positives in the denominator.

    .. math:: L = \operatorname{mean}_{i, j \text{ of one instance}} \Bigl[-\frac{G_{ij}}{\tau}
              + \log \sum_{k \text{ of another instance}} e^{G_{ik}/\tau}\Bigr]

    It is :class:`SupCL` at α = 1 with instances decoupled; classes play no role.

    Args:
        temperature: τ > 0; may carry a batch axis.

    References:
        Yeh, Hong, Hsu, Liu, Chen and LeCun (ECCV 2022, arXiv:2110.06848), equation 6.
    """
    check_temperature(temperature)
    return SupCL(jnp.ones(np.shape(temperature)), temperature, "decouple")


@pytree_dataclass
class SupCon(ClassContrast):
    r"""Supervised contrastive learning as first published (L_out): one mean over all of a class.

    .. math:: L = \operatorname{mean}_i \frac{1}{|P(i)|} \sum_{j \in P(i)}
              -\log \frac{e^{G_{ij}/\tau}}{\sum_{k \ne i} e^{G_{ik}/\tau}}

    P(i) holds all other embeddings of the class of i, other views among them; an anchor without
    any counts nothing. In a balanced structure it is :class:`SupCL` at α = (p-1)/(np-1) with
    self pairs excluded. That is the α below which classes collapse at every temperature, so SupCon
    always collapses. It is convex in G.

    Args:
        temperature: τ > 0. A traced leaf; may carry a batch axis.

    Raises:
        ValueError: τ not positive and finite; with :meth:`check_structure`, a structure without
            positives.

    References:
        Khosla et al. (NeurIPS 2020, arXiv:2004.11362), equation 2.
    """

    convex: ClassVar[bool] = True
    proven: ClassVar[bool] = True
    # The only convention that it has, and so no field.
    self_pairs: ClassVar[str] = "exclude"  # pyright: ignore[reportIncompatibleVariableOverride]

    temperature: Hyper

    def __post_init__(self) -> None:
        super().__post_init__()
        check_temperature(self.temperature)

    def check_structure(self, structure: ClassStructure) -> None:
        """Raise a ValueError unless some class has two embeddings."""
        if max(structure.sizes) * structure.num_views == 1:
            raise ValueError(
                f"SupCon has no positive pair: every class of {structure} has one embedding. "
                "Add instances or views."
            )

    @property
    def mixing(self) -> tuple[Any, Any]:
        """1 and 1: the weights know the parts of both kinds."""
        return 1.0, 1.0

    def shares(self, blocks: Blocks) -> tuple[Any, Any]:
        """(n-1)p and p-1 of np-1 positives."""
        _, n, p, _ = blocks
        return (n - 1) * p / (n * p - 1), (p - 1) / (n * p - 1)

    def weights(
        self,
        num_sup: Int[np.ndarray, " N"],
        num_own: Int[np.ndarray, " N"],
        classes: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Alike for all positives of an anchor."""
        weight = positive_weight(num_sup + num_own, "anchors")
        return weight * (num_sup > 0), weight * (num_own > 0)
