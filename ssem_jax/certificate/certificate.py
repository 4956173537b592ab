"""What is found: a lower bound, a gap, brackets, a phase."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ssem_jax.geometry.shares import Variances
from ssem_jax.losses.base import convexity_of, loss_of
from ssem_jax.problem.arrays import AnyArray
from ssem_jax.problem.display import Told, cells_text, counts_text, numbers_text
from ssem_jax.problem.problem import Phase, Problem
from ssem_jax.problem.pytrees import pytree_dataclass

GAP_TOLERANCE = 1e-9
"""A cell counts as certified when its gap is at most this."""
COLLAPSE_TOLERANCE = 1e-6
"""A variance bracketed under this is collapsed, one bracketed above it is spread."""

QUANTITIES = (
    "view_variance",
    "delta2",
    "mean_squared",
    "within_similarity",
    "between_similarity",
)
"""What is bounded. The view similarity is 1 - p/(p-1) times the view variance."""
LOWEST = (0.0, 0.0, 0.0, -1.0, -1.0)
"""The least that a variance and a similarity can be, in the order of `QUANTITIES`; all are ≤ 1."""


@pytree_dataclass
class Certificate(Told):
    """What is known of embeddings and of all others; batched if the problem is.

    Attributes:
        problem: what the embeddings were found for.
        value: their loss.
        lower: no embedding in any dimension has a lower loss than this.
        gap: value - lower, with the rounding of both on the safe side; ≥ 0, or nothing is
            certified: a loss below a lower bound is a contradiction and raises.
        eigenvalue: a lower bound of λ_min of the dual matrix, a few roundings below it where it is
            0; beyond `DENSE_LIMIT` embeddings it may be four times as far below 0 as λ_min, and it
            is -∞ where a reference alone bounds the loss.
        variances: of the embeddings, as :func:`ssem_jax.geometry.variances` measures them.
        low: (5,) and `high` (5,): brackets in the order of `ssem_jax.certificate.QUANTITIES`.
        phase: a code of :class:`ssem_jax.Phase`, decided from the brackets.
        failure_probability: of the random start with which `lower` and `gap` were bounded; 0 up to
            `CHOLESKY_LIMIT` embeddings, where nothing is left to chance.
        embeddings: (N, d) rows that were certified; None where it was made of similarities.
    """

    problem: Problem
    value: Float[Array, "*batch"]
    lower: Float[Array, "*batch"]
    gap: Float[Array, "*batch"]
    eigenvalue: Float[Array, "*batch"]
    variances: Variances
    low: Float[Array, "*batch 5"]
    high: Float[Array, "*batch 5"]
    phase: Int[Array, "*batch"]
    failure_probability: Float[Array, "*batch"]
    embeddings: Float[Array, "*batch N d"] | None = None

    __repr__ = Told.in_a_line

    def lines(self) -> Iterator[str]:
        """What is proven of the embeddings and of all others, for a reader."""
        yield from self.problem.lines()
        yield from self.said()
        for name, (low, high) in self.brackets.items():
            yield f"{name.replace('_', ' ')} in [{numbers_text(low)}, {numbers_text(high)}]"
        if self.convexity == "declared":
            yield "The bound rests on a convexity that is declared, and was checked by samples."

    def said(self) -> Iterator[str]:
        """Verdict and phase."""
        certified = np.ravel(self.certified)
        verdict = counts_text("certified" if each else "not certified" for each in certified)
        yield (
            f"{cells_text(self.gap)}{verdict} as globally optimal: loss "
            f"{numbers_text(self.value, 9)}, gap {numbers_text(self.gap, 2)}"
        )
        phases = [Phase(code).name.lower() for code in np.ravel(np.asarray(self.phase)).tolist()]
        yield f"phase of the optimum: {counts_text(phases)}"

    @property
    def convexity(self) -> str:
        """What the bound rests on: convexity that is "proven" (of shipped losses), "declared" (by
        whoever wrote the loss; samples were checked), or "none", and then nothing is bounded."""
        return convexity_of(loss_of(self.problem))

    @property
    def probabilistic(self) -> Bool[np.ndarray, "*batch"] | np.bool_:
        """Whether the bound holds with high probability only, and not for certain."""
        return np.asarray(self.failure_probability) > 0

    @property
    def brackets(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Quantity → (low, high) over all embeddings that are at least as good as these."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        return {name: (low[..., i], high[..., i]) for i, name in enumerate(QUANTITIES)}

    @property
    def certified(self) -> Bool[np.ndarray, "*batch"] | np.bool_:
        """Whether the gap is at most `GAP_TOLERANCE`."""
        return np.asarray(self.gap) <= GAP_TOLERANCE


def decide_phase(
    low: Float[AnyArray, "*batch 5"], high: Float[AnyArray, "*batch 5"]
) -> Int[np.ndarray, "*batch"]:
    """The phase that brackets prove, else UNDECIDED."""
    low, high = np.asarray(low), np.asarray(high)
    view, instance = QUANTITIES.index("view_variance"), QUANTITIES.index("delta2")
    together = high[..., instance] <= COLLAPSE_TOLERANCE
    views_together = high[..., view] <= COLLAPSE_TOLERANCE
    apart = low[..., instance] > COLLAPSE_TOLERANCE
    views_apart = low[..., view] > COLLAPSE_TOLERANCE
    return np.select(
        [together & views_together, apart, together & views_apart],
        [Phase.COLLAPSE, Phase.SPREAD, Phase.VIEW_SPREAD],
        Phase.UNDECIDED,
    )
