"""Minority collapse: the imbalance from which on minority classes have one weight."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ssem_jax.certificate.features.bounds import lower_bound, multipliers
from ssem_jax.certificate.features.program import FeatureProgram, Kinds
from ssem_jax.losses.features import LastLayer, Ridge, check_last_layer
from ssem_jax.problem.validation import check_count

MOST = 1e9
"""The largest ratio of sizes that is looked at."""
DIGITS = 1e-8
"""Relative accuracy of a threshold, well above that of the optima it is found from."""


def minority_threshold(loss: LastLayer, num_majorities: int, num_minorities: int) -> float:
    r"""The ratio R₀ = n_A/n_B from which on minority classes merge.

    Where minorities are made to merge, the optimum is the optimum of all if its dual matrix is
    positive semidefinite on their differences: iff the norm of A there, n_B/N times a gain, is at
    most the one on the means, ρ. Both are computed at the merged optimum, and the root is bisected.

    Args:
        loss: with budgets or balls, whose optima depend on ratios of sizes alone.
        num_majorities: K_A ≥ 1.
        num_minorities: K_B ≥ 2.

    Returns:
        R₀; infinite where it would be above 10⁹, 1 where minorities merge at any imbalance.

    Raises:
        ValueError: counts that are too small; or a ridge, whose law is that of
            :func:`ssem_jax.theory.merged_size`.

    References:
        Fang, He, Long and Su (PNAS 2021), minority collapse, for budgets.
    """
    from scipy.optimize import brentq  # half a second, which nothing else should wait for

    check_last_layer(loss)
    if isinstance(loss.norms, Ridge):
        raise ValueError(
            "with a ridge classes of n samples merge iff n ≤ N² λ_W λ_H; use theory.merged_size."
        )
    counts = (
        check_count("num_majorities", num_majorities, 1),
        check_count("num_minorities", num_minorities, 2),
    )

    def excess(log_ratio: float) -> float:
        """How far merged minorities are from optimal; negative where they are not."""
        kinds = Kinds(np.array([math.exp(log_ratio), 1.0]), np.array(counts, float))
        program = FeatureProgram(loss, kinds, merged=(1,))
        x = program.minimised()
        outputs = program.outputs_at(x)
        dual = lower_bound(program, outputs, *multipliers(program, x, outputs))
        whole = max(dual.pairing.means, float(dual.pairing.apart[0]))
        return math.log(whole / float(dual.pairing.apart[1]))

    if excess(0.0) >= 0:
        return 1.0
    if excess(math.log(MOST)) < 0:
        return math.inf
    accuracy: Any = {"rtol": DIGITS, "xtol": DIGITS}
    found: Any = brentq(excess, 0.0, math.log(MOST), **accuracy)
    return math.exp(found)
