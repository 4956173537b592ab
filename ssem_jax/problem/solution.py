"""What a solver hands over: embeddings, and how the search for them ended."""

from __future__ import annotations

import enum
from collections.abc import Iterator

import numpy as np
from jaxtyping import Array, Float, Int

from ssem_jax.problem.display import Told, cells_text, counts_text, numbers_text
from ssem_jax.problem.problem import Problem
from ssem_jax.problem.pytrees import pytree_dataclass


class Status(enum.IntEnum):
    """How a solve ended. Only a certificate says whether the minimum is global."""

    CONVERGED = 0
    """The dual matrix is positive semidefinite within the solver's tolerance."""
    SADDLE = 1
    """Critical, with negative dual directions but no unused dimension to escape into: add
    dimensions or starts. For d < N-1 the unconstrained optimum may be out of reach."""
    STALLED = 2
    """The steps drowned in rounding before the dual matrix became semidefinite: try another key
    or more starts."""
    BUDGET = 3
    """The iteration limit was reached: try another key or more starts."""


@pytree_dataclass
class Solution(Told):
    """What a solve returns; with a batch axis in front for a batch of cells.

    Attributes:
        problem: what was solved.
        embeddings: (N, d) unit rows.
        value: the loss there.
        gradient_norm: norm of the Riemannian gradient.
        dual_violation: N·max(0, -λ_min) of the solver's own dual matrix; 0 where it is proven to
            be within its tolerance.
        status: a code of :class:`Status`.
        iterations: trust-region steps, over all stages and starts.
        products: Hessian products, over all stages and starts.
        escapes: saddles left.
        starts: random starts used.
    """

    problem: Problem
    embeddings: Float[Array, "*batch N d"]
    value: Float[Array, "*batch"]
    gradient_norm: Float[Array, "*batch"]
    dual_violation: Float[Array, "*batch"]
    status: Int[Array, "*batch"]
    iterations: Int[Array, "*batch"]
    products: Int[Array, "*batch"]
    escapes: Int[Array, "*batch"]
    starts: Int[Array, "*batch"]

    __repr__ = Told.in_a_line

    def lines(self) -> Iterator[str]:
        """What was found, for a reader."""
        yield from self.problem.lines()
        yield from self.said()
        yield "Whether it is the global minimum, ssem_jax.certify(solution) tells."

    def said(self) -> Iterator[str]:
        """How it ended, in a line."""
        names = [Status(code).name.lower() for code in np.ravel(np.asarray(self.status)).tolist()]
        yield (
            f"{cells_text(self.status)}{counts_text(names)}, loss {numbers_text(self.value, 9)}, "
            f"gradient {numbers_text(self.gradient_norm, 2)}"
        )

    def raise_if_failed(self) -> Solution:
        """Itself, if every cell converged.

        Raises:
            RuntimeError: some cells did not; the message says which, why, and what to try.
        """
        status = np.atleast_1d(np.asarray(self.status))
        failed = np.flatnonzero(status != Status.CONVERGED)
        if failed.size:
            first = Status(int(status[failed[0]]))
            raise RuntimeError(
                f"{failed.size} of {status.size} cells did not converge; the first is cell "
                f"{failed[0]} with status {first.name}: {_MEANING[first]}"
            )
        return self


_MEANING = {
    Status.SADDLE: "a saddle without an unused dimension to escape into; raise dim or num_starts.",
    Status.STALLED: "steps drowned in rounding; raise num_starts or try another key.",
    Status.BUDGET: "the iteration limit was reached; raise num_starts or try another key.",
}
