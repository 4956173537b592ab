"""Why a verdict is UNDECIDED, in words, and what to change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from ssem_jax.certificate.certificate import GAP_TOLERANCE
from ssem_jax.claims.cells import Cells
from ssem_jax.claims.claim import Claim
from ssem_jax.claims.interval import Interval
from ssem_jax.sweeps.words import plain, typed

STEERED = ("temperature", "alpha")
"""Hyper-parameters from which on, or up to which, all cells may be decided."""


def why_undecided(
    claim: Claim, groups: Sequence[Cells], undecided: np.ndarray, margin: Interval
) -> str:
    """What keeps the first undecided cell from a verdict, and where all cells have one.

    Args:
        claim: what was judged.
        groups: the cells, or the columns of their windows.
        undecided: which of them are.
        margin: of all of them.
    """
    first = int(np.flatnonzero(undecided)[0])
    return "".join(
        f" {part}"
        for part in (*_there(claim, groups, first, margin), *_where(groups[0].table, undecided))
    )


def _there(claim: Claim, groups: Sequence[Cells], first: int, margin: Interval) -> Iterator[str]:
    gaps = [float(group.gap[first]) for group in groups]
    if np.isinf(gaps).any():
        return  # nothing bounds its loss, which is said of all
    if max(gaps) > GAP_TOLERANCE and margin.decided is None:
        yield f"There the gap is {max(gaps):.1e}, above {GAP_TOLERANCE:.0e}: not certified."
        return
    low, high = (
        float(np.broadcast_to(end, len(groups[0]))[first]) for end in (margin.low, margin.high)
    )
    text = f"There the margin may be {low:.3g} to {high:.3g}"
    ends = tuple(f"{claim.quantity}_{end}" for end in ("lo", "hi"))
    tables = [group.table for group in groups]
    if all(name in table.columns for table in tables for name in ends):
        wide = max(float(table[ends[1]][first] - table[ends[0]][first]) for table in tables)
        text += f", for the bracket of {plain(claim.quantity)} is {wide:.2g} wide"
    yield text + "."


def _where(table: pl.DataFrame, undecided: np.ndarray) -> Iterator[str]:
    """From which value of a hyper-parameter on, or up to which, everything is decided."""
    for name in STEERED:
        values = table[name] if name in table.columns else pl.Series([None])
        if values.null_count():
            continue
        held = values.to_numpy()
        above = held[held > held[undecided].max()]
        below = held[held < held[undecided].min()]
        if len(above):
            yield f"All cells from {typed(name)} = {above.min():.4g} on are decided."
            return
        if len(below):
            yield f"All cells up to {typed(name)} = {below.max():.4g} are decided."
            return
