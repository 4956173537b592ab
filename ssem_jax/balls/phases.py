"""The phase of one cell, by the signs of the dual matrix's eigenvalues."""

from __future__ import annotations

from dataclasses import dataclass

from flint import arb

from ssem_jax.balls.arithmetic import (
    EMBEDDING_PRECISION,
    Exact,
    float_above,
    float_below,
    working_precision,
)
from ssem_jax.balls.closed_form import cell_of, instance_margin, view_margin
from ssem_jax.problem.problem import Phase


@dataclass(frozen=True)
class PhaseProof:
    """The proven phase of a cell.

    Attributes:
        phase: of the optimum, or UNDECIDED if a sign could not be proven.
        instance_margin: (lower, upper) of :func:`instance_margin`; negative iff instances part.
        view_margin: (lower, upper) of :func:`view_margin`; negative iff views part.
        precision: bits.
    """

    phase: Phase
    instance_margin: tuple[float, float]
    view_margin: tuple[float, float]
    precision: int


def prove_phase(
    num_classes: int,
    num_instances: int,
    num_views: int,
    alpha: Exact,
    temperature: Exact,
    self_pairs: str = "include",
    precision: int = EMBEDDING_PRECISION,
) -> PhaseProof:
    """Prove the phase of a cell of balanced classes by two signs at the collapsed point.

    There the class eigenvalue of the dual matrix is 0 and the mean eigenvalue positive. If the
    instance and the view eigenvalue are nonnegative, collapse is optimal over all embeddings in
    all dimensions. If one is negative, the reduced loss falls along its ray. The other one is then
    positive, as α_v < α_c, so by convexity nothing on the other ray is better than collapse, and
    the variance of this ray is positive at every optimum.

    Args:
        num_classes: m ≥ 2.
        num_instances: n ≥ 2 per class, or 1 at α = 1.
        num_views: p ≥ 1 per instance.
        alpha: α in [0, 1]; 0 where p = 1 if self pairs are excluded.
        temperature: τ > 0.
        self_pairs: "include" or "exclude".
        precision: bits.

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range.
    """
    with working_precision(precision):
        cell = cell_of(num_classes, num_instances, num_views, alpha, temperature, self_pairs)
        instance = instance_margin(cell) if cell.n > 1 else arb(1)
        view = view_margin(cell) if cell.p > 1 else arb(1)
        phase = Phase.UNDECIDED
        if instance < 0:
            phase = Phase.SPREAD
        elif view < 0:
            phase = Phase.VIEW_SPREAD
        elif instance >= 0 and view >= 0:
            phase = Phase.COLLAPSE
        return PhaseProof(
            phase=phase,
            instance_margin=(float_below(instance), float_above(instance)),
            view_margin=(float_below(view), float_above(view)),
            precision=precision,
        )
