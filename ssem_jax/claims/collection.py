"""A collection of claims, judged together: what `ssem verify` does."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import polars as pl

from ssem_jax.certificate.certificate import GAP_TOLERANCE
from ssem_jax.claims.cells import Cells, attainable
from ssem_jax.claims.claim import SIZES, Claim, Theorem, check_distinct, each_of, unique_domains
from ssem_jax.claims.judgements import Judgement, judge, judge_theorem
from ssem_jax.problem.display import Told, count_text, counts_text
from ssem_jax.problem.validation import check_choice
from ssem_jax.sweeps.batches import num_cells
from ssem_jax.sweeps.exports import Checked
from ssem_jax.sweeps.folder import versions
from ssem_jax.sweeps.runs import sweep
from ssem_jax.sweeps.table import worst_gap


@dataclasses.dataclass(frozen=True)
class Report(Told):
    """All claims of a collection, judged.

    Attributes:
        judgements: one for each claim.
        table: every cell, with the column `attainable`: whether its dimension admits the
            unconstrained optimum.
        seconds: wall time.
        seed: of the random starts.
        size: of the domains: "quick", "default" or "full".
        checked: what an independent program made of the cells' files, where they were written.
    """

    judgements: list[Judgement]
    table: pl.DataFrame
    seconds: float
    seed: int = 0
    size: str = "default"
    checked: Checked | None = None

    @property
    def as_expected(self) -> bool:
        """Whether every verdict is as expected, and every file that was written is proven."""
        proven = self.checked is None or self.checked.proven == self.checked.files
        return proven and all(judgement.as_expected for judgement in self.judgements)

    @property
    def widest_enclosure(self) -> float | None:
        """The widest enclosure of a minimum among all theorems."""
        widths = [j.proof.width for j in self.judgements if j.proof is not None]
        return max((width for width in widths if width is not None), default=None)

    __repr__ = Told.in_a_line

    def said(self) -> Iterator[str]:
        """How many claims came out how."""
        verdicts = counts_text(str(judgement.verdict) for judgement in self.judgements)
        as_expected = "as expected" if self.as_expected else "not all as expected"
        claims = count_text(len(self.judgements), "claim")
        yield f"{claims}, {verdicts or 'none judged'}: {as_expected}"
        yield f"{len(self.table):,} cells, {self.seconds:.0f} s"

    def lines(self) -> Iterator[str]:
        """A line for each claim, for a reader."""
        yield ", ".join(self.said())
        for judgement in self.judgements:
            yield f"{judgement.words:<10} {judgement.claim.name}: {judgement.looked_at}"

    def to_json(self) -> dict[str, Any]:
        """The document that `ssem verify --json` prints."""
        attainable = self.table.filter(pl.col("attainable"))
        apart = self.table.filter(~pl.col("attainable"))
        return {
            "claims": [judgement.to_json() for judgement in self.judgements],
            "cells": len(attainable),
            "certified": int((attainable["gap"] <= GAP_TOLERANCE).sum()),
            "worst_gap": worst_gap(attainable),
            "low_dimensional": {
                "cells": len(apart),
                "worst_gap": worst_gap(apart),
            },
            "as_expected": self.as_expected,
            "seconds": self.seconds,
            "seed": self.seed,
            "size": self.size,
            "versions": versions(),
        } | ({} if self.checked is None else {"checked": self.checked._asdict()})


def num_steps(claims: Sequence[Claim], theorems: Sequence[Theorem], size: str) -> int:
    """What :func:`verify` counts to: the cells of all claims, and the theorems."""
    domains = unique_domains(claims)
    return sum(num_cells(domain.problems(size)) for domain in domains) + len(theorems)


def verify(
    claims: Sequence[Claim] | Claim,
    *,
    theorems: Sequence[Theorem] | Theorem = (),
    size: str = "default",
    seed: int = 0,
    out: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Solve and certify the domains of all claims, each cell once, and judge the claims.

    Args:
        claims: for example `collect(proofs_numeric.modules())`.
        theorems: to be proven in ball arithmetic besides.
        size: "quick", "default" or "full".
        seed: of the random starts.
        out: a run folder for the cells.
        progress: called with the number of newly finished cells, and with 1 after each theorem.

    Raises:
        ValueError: an unknown size, two claims of one name, what is no claim; and what
            :func:`ssem_jax.sweep` raises.
    """
    begun = time.perf_counter()
    check_choice("size", size, SIZES)
    claims, theorems = each_of(claims, Claim), each_of(theorems, Theorem)
    check_distinct([*claims, *theorems])
    domains = unique_domains(claims)
    problems = [domain.problems(size) for domain in domains]
    table = sweep(
        [problem for batch in problems for problem in batch], seed=seed, out=out, progress=progress
    )
    tables, first = {}, 0
    for domain, batch in zip(domains, problems, strict=True):
        tables[id(domain)] = table[first : first + num_cells(batch)]
        first += num_cells(batch)
    judgements = [judge(claim, tables[id(claim.domain)]) for claim in claims]
    for theorem in theorems:
        judgements.append(judge_theorem(theorem))
        if progress is not None:
            progress(1)
    table = table.with_columns(attainable=pl.Series(attainable(Cells(table)), dtype=pl.Boolean))
    return Report(judgements, table, time.perf_counter() - begun, seed, size)
