r"""How the unit length of embeddings is shared out, and which similarities go with it.

The one vocabulary of this package. Averaged over the symmetry of its classes, the Gram matrix of
unit embeddings is told by four **variance shares** that sum to 1, :class:`Variances`, or by three
similarities, :class:`ssem_jax.geometry.Similarities`: for m classes of n instances with p views,

.. math::
   s_\mathrm{view} = 1 - \tfrac{p}{p-1} \theta_\mathrm{view}, \quad
   s_\mathrm{within} = 1 - \theta_\mathrm{view} - \tfrac{n}{n-1} \delta^2, \quad
   s_\mathrm{between} = \theta_\mathrm{mean} - \tfrac{1}{m-1} \theta_\mathrm{between}.

Up to multiplicity the shares are the eigenvalues of that matrix, so that it is positive
semidefinite iff they are nonnegative, and its rank counts those that are positive.

Theory, certificates, metrics, tables and predictions all take these maps from here. Numbers
broadcast, on the host and under jit alike.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from ssem_jax.geometry.similarities import Similarities
from ssem_jax.problem.arrays import AnyArray
from ssem_jax.problem.problem import Phase
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import check_choice, check_type

Share = Any
"""An array, one number for every cell of a batch, or a number."""


class Variances(NamedTuple):
    """The variance shares of embeddings, in squared length; those of unit rows sum to 1.

    Attributes:
        view: of the views about their instance mean.
        delta2: of the instance means about their class mean (δ² of SSEM).
        between: of the class means about the global mean.
        mean_squared: squared norm of the global mean.
    """

    view: Share
    delta2: Share
    between: Share
    mean_squared: Share

    @property
    def within(self) -> Share:
        """Of the embeddings about their class mean, = delta2 + view."""
        return self.delta2 + self.view

    @property
    def total(self) -> Share:
        """Of the embeddings about the global mean, = between + within; of unit rows
        1 - mean_squared."""
        return self.between + self.within


class ClassVariances(NamedTuple):
    """The within-class variance of every class, split in two, in squared length.

    Attributes:
        view: (m,) of the views about their instance mean.
        delta2: (m,) of the instance means about their class mean.
    """

    view: Float[AnyArray, "*batch m"]
    delta2: Float[AnyArray, "*batch m"]

    @property
    def within(self) -> Float[AnyArray, "*batch m"]:
        """(m,) of the embeddings about their class mean, = delta2 + view."""
        return self.delta2 + self.view


class Rates(NamedTuple):
    """By how much 1 - s of a kind of pairs grows with the share that is its own."""

    view: Any
    within: Any
    between: Any


def rates(num_classes: Any, num_instances: Any, num_views: Any) -> Rates:
    """p/(p-1), n/(n-1) and 1/(m-1); 1 where p = 1 or n = 1, where the share is 0."""
    return Rates(_rate(num_views), _rate(num_instances), 1 / (num_classes - 1))


def _rate(count: Any) -> Any:
    return count / (count - (count > 1))


def own_similarities(
    view: Any, delta2: Any, num_instances: Any, num_views: Any
) -> tuple[Share, Share]:
    """s_view and s_within of a class from its own variances; 1 for a kind without pairs."""
    several = num_instances > 1
    apart = several * (view + _rate(num_instances) * delta2)
    return 1 - _rate(num_views) * view, 1 - apart


def similarities_of(
    variances: Variances, num_classes: Any, num_instances: Any, num_views: Any
) -> Similarities:
    """The three similarities of balanced classes that belong to variance shares."""
    check_type(
        "variances", variances, Variances, "a Variances(view, delta2, between, mean_squared)"
    )
    view, within = own_similarities(variances.view, variances.delta2, num_instances, num_views)
    return Similarities(
        view, within, variances.mean_squared - variances.between / (num_classes - 1)
    )


def variances_of(
    similarities: Similarities, num_classes: Any, num_instances: Any, num_views: Any
) -> Variances:
    """The variance shares that belong to three similarities; negative if there are none."""
    check_type("similarities", similarities, Similarities, "a Similarities(view, within, between)")
    rate = rates(num_classes, num_instances, num_views)
    view = (1 - similarities.view) / rate.view
    delta2 = (1 - similarities.within - (num_instances > 1) * view) / rate.within
    rest = 1 - view - delta2
    mean_squared = (similarities.between + rate.between * rest) / (1 + rate.between)
    return Variances(view, delta2, rest - mean_squared, mean_squared)


def largest_delta2(num_classes: Any, num_instances: Any) -> Any:
    """δ² of the simplex of all instances, m(n-1)/(mn-1): the largest of any optimum."""
    return num_classes * (num_instances - 1) / (num_classes * num_instances - 1)


class VarianceSimplex(NamedTuple):
    """The variance shares that a structure admits, and its similarities, as matrices.

    Attributes:
        similarity: (3, 4) and `offset` (3,): similarities = offset + similarity @ shares.
        present: (4,) whether a share can be positive: views need p ≥ 2, instances n ≥ 2.
    """

    similarity: Float[np.ndarray, "3 4"]
    offset: Float[np.ndarray, " 3"]
    present: Float[np.ndarray, " 4"]

    def point(self, shares: Float[Array, " 4"]) -> Float[Array, " 4"]:
        """Measured shares, in the order of :class:`Variances`, as a point of the simplex."""
        theta = jnp.maximum(shares, 0) * self.present
        return theta / jnp.sum(theta)


def variance_simplex(structure: ClassStructure) -> VarianceSimplex:
    """The variance simplex of a balanced structure.

    Raises:
        ValueError: the classes differ in size.
    """
    m, n, p = structure.counts
    rate, several = rates(m, n, p), float(n > 1)
    similarity = [
        [-rate.view, 0, 0, 0],
        [-several, -several * rate.within, 0, 0],
        [0, 0, -rate.between, 1],
    ]
    present = np.array([p > 1, n > 1, True, True])
    return VarianceSimplex(np.array(similarity), np.array([1.0, 1, 0]), present)


# ------------------------------------------------------------------------------------- dimensions


def multiplicities(num_classes: Any, total_instances: Any, num_views: Any) -> Variances:
    """How often each share is an eigenvalue of the averaged Gram matrix, the dimensions it takes.

    Args:
        num_classes: m.
        total_instances: M, the instances of all classes together.
        num_views: p.
    """
    return Variances(
        total_instances * (num_views - 1), total_instances - num_classes, num_classes - 1, 1
    )


def rank_in(
    phase: Any, num_classes: Any, total_instances: Any, num_views: Any
) -> Real[AnyArray, "*batch"] | np.number | float:
    """The rank of an optimum of mean zero in a phase: the least dimension that has room for it.

    Args:
        phase: codes of :class:`ssem_jax.Phase`.
        num_classes: m.
        total_instances: M, the instances of all classes together.
        num_views: p.
    """
    views, instances, classes, _ = multiplicities(num_classes, total_instances, num_views)
    parted = (phase == Phase.SPREAD) * instances + (phase == Phase.VIEW_SPREAD) * views
    return classes + parted


def full_dimension(structure: ClassStructure, self_pairs: str = "include") -> int:
    """The smallest d that admits an unconstrained optimum of SupCL at every (α, τ).

    With M instances, m classes and p views: M-1 when self pairs are included or instances are
    decoupled; when they are excluded and p ≥ 2 the view-spread phase needs M(p-1) + m - 1, so the
    larger of the two.
    """
    check_structure(structure)
    check_choice("self_pairs", self_pairs, ("include", "exclude", "decouple"))
    phases = [Phase.SPREAD] + [Phase.VIEW_SPREAD] * (self_pairs == "exclude")
    counts = (structure.num_classes, structure.total_instances, structure.num_views)
    return max(int(rank_in(phase, *counts)) for phase in phases)
