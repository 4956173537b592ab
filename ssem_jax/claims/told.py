"""What `ssem test` tells of its trials: lines, maps of margins, a document."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from ssem_jax.claims.claim import Theorem
from ssem_jax.claims.judgements import finite, outcomes
from ssem_jax.claims.space import Space
from ssem_jax.claims.trial import Trial
from ssem_jax.sweeps.folder import versions
from ssem_jax.sweeps.table import fixed_columns, least
from ssem_jax.sweeps.words import typed

# ----------------------------------------------------------------------------- what is printed


def describe(trial: Trial) -> str:
    """A trial in a few lines, for a terminal."""
    return "\n".join(trial.lines())


MAP_PANELS = 6
"""Slices that a margin map shows: those of the smallest margins."""


def margin_map(trial: Trial) -> tuple[list[tuple[str, pl.DataFrame]], list[tuple[str, bool]]]:
    """Titles and cells of the slices of the smallest margins, and the axes that they vary over.

    What :func:`ssem_jax.show.draw_margins` takes.

    Raises:
        ValueError: the trial has no cells: a theorem, or a conjecture that is not well posed.
    """
    claim, table = trial.claim, trial.table
    if isinstance(claim, Theorem) or table is None:
        raise ValueError(f"{claim.name} was not judged on cells, so there is no map of its margin.")
    weighed = outcomes(claim, table)
    ranges = claim.domain.ranges if isinstance(claim.domain, Space) else {}
    axes = [(name, axis.log) for name, axis in ranges.items()]
    if not isinstance(claim.domain, Space):
        axes = [("alpha", False), ("temperature", True)]
    keys = [
        name for name in fixed_columns(weighed, claim.domain.loss, "") if name not in dict(axes)
    ]
    parts = weighed.partition_by(keys, maintain_order=True)
    ends = [part["margin_hi"] for part in parts]
    low = [least(end) if end.count() else math.inf for end in ends]
    parts = [parts[place] for place in sorted(range(len(parts)), key=low.__getitem__)]
    varying = [name for name in keys if weighed[name].n_unique() > 1]
    titles = [", ".join(_titled(part.row(0, named=True), varying)) for part in parts]
    return list(zip(titles, parts, strict=True))[:MAP_PANELS], axes


def _titled(row: dict[str, Any], varying: Sequence[str]) -> Iterator[str]:
    """What tells a slice from the others."""
    balanced = row["num_instances"] is not None
    for name in varying:
        if (name == "sizes" and balanced) or row[name] is None:
            continue
        if name in ("num_classes", "num_instances") and not balanced:
            continue
        yield f"{typed(name)}={row[name]}"


def report(trials: Sequence[Trial], seconds: float, seed: int) -> dict[str, Any]:
    """The document that `ssem test --json` prints."""
    judged = [trial.judgement for trial in trials if trial.judgement is not None]
    gaps = [j.worst_gap for j in judged if j.worst_gap is not None]
    return {
        "claims": [trial.to_json() for trial in trials],
        "cells": sum(j.cells for j in judged),
        "worst_gap": finite(max(gaps, default=None)),
        "as_expected": all(trial.as_expected for trial in trials),
        "seconds": seconds,
        "seed": seed,
        "versions": versions(),
    }
