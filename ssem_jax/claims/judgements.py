"""Claims about optimal embeddings, judged on certified cells.

A claim is a statement, a domain of problems, and a **margin**: a function of certified cells that
is positive where the statement holds. Margins are computed from brackets, so they are intervals
(:mod:`ssem_jax.claims.interval`), and a verdict rests on what is true of *every* near-optimal
embedding of a cell, never on where an optimiser happened to stop:

* HOLDS: the whole margin is positive in every cell that counts; or 0, if the claim is `closed`,
  which says ≥ or ≤;
* REFUTED: in some certified cell the whole margin is negative, a counterexample;
* UNDECIDED: neither, because a cell is not certified, its bracket is too wide, or a strict margin
  may be 0, where brackets of what cannot be negative end;
* PROVEN is kept for proofs in ball arithmetic over continuous boxes.

A conjecture is a claim of which no verdict is expected yet.

>>> from ssem_jax import claims
>>> collapsed = claims.Claim(
...     name="low_alpha_collapses",
...     statement="With self pairs included, alpha <= 1/n collapses at every temperature.",
...     margin=lambda cell: claims.COLLAPSE_TOLERANCE - cell.delta2,
...     closed=True,  # collapsed is delta2 <= COLLAPSE_TOLERANCE
...     where=lambda cell: cell.alpha <= 1 / cell.num_instances,
...     domain=domain,
... )
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ssem_jax.claims.cells import Cells, ClaimError, Condition
from ssem_jax.claims.claim import Claim, Proof, Theorem, Verdict
from ssem_jax.claims.interval import Equality, Interval
from ssem_jax.claims.places import place_of
from ssem_jax.claims.reasons import why_undecided
from ssem_jax.losses.base import DECLARED, NOT_CONVEX, PROVEN, GramLoss
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.display import INDENT, Told, count_text
from ssem_jax.problem.validation import check_type
from ssem_jax.sweeps.table import LEAST, fixed_columns, hyper_names, in_order
from ssem_jax.sweeps.words import typed


@dataclasses.dataclass(frozen=True)
class Judgement(Told):
    """A claim judged on a table of cells, or a theorem by its own procedure.

    Attributes:
        claim: what was judged.
        verdict: and what came out.
        cells: cells (or windows) that counted. What a proof in balls counts, boxes or enclosures,
            are no cells: they are in its `evidence`.
        excluded: cells left out by the claim's own exclusion.
        undecided: cells whose margin has both signs, or that are not certified; of a theorem,
            whatever its procedure left open.
        worst_gap: largest certified gap among the cells that counted; None where there are none,
            or where the margin rests on certificates of its own.
        worst_deviation: for equalities, how far a near-optimal embedding can be from the
            prediction at most; None otherwise.
        margin: smallest lower end of a margin.
        counterexample: the smallest refuting cell, as a row of the table.
        reason: for UNDECIDED, what was missing; for a theorem, what it leaves out; of a margin into
            which no certified quantity enters, that it is one.
        evidence: what it rests on: the cells of the claim's domain, or the theorem's proof.
        convexity: what the bounds of the cells rest on, the weakest that occurs: convexity that is
            "proven", "declared" by whoever wrote the loss, or "none".
    """

    claim: Claim | Theorem
    verdict: Verdict
    cells: int
    excluded: int
    undecided: int
    worst_gap: float | None
    worst_deviation: float | None
    margin: float | None
    counterexample: dict[str, Any] | None = None
    reason: str = ""
    evidence: pl.DataFrame | Proof | None = dataclasses.field(
        default=None, repr=False, compare=False
    )
    convexity: str = PROVEN

    @property
    def words(self) -> str:
        """The verdict, with what has to be believed for it."""
        believed = self.convexity == DECLARED and self.verdict is not Verdict.UNDECIDED
        return f"{self.verdict} (convexity declared)" if believed else str(self.verdict)

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the expected one; a conjecture only has to be decided."""
        if self.claim.expected is None:
            return self.verdict is not Verdict.UNDECIDED
        return self.verdict is self.claim.expected

    @property
    def proof(self) -> Proof | None:
        """What a theorem's procedure came to; None for a claim on cells."""
        return self.evidence if isinstance(self.evidence, Proof) else None

    @property
    def looked_at(self) -> str:
        """What the verdict rests on, counted in words: cells, boxes or enclosures."""
        return count_text(self.cells, "cell") if self.proof is None else self.proof.looked_at

    __repr__ = Told.in_a_line

    def said(self) -> Iterator[str]:
        """Verdict and name."""
        yield f"{self.words} {self.claim.name}, {self.looked_at}"

    def lines(self) -> Iterator[str]:
        """The verdict and what it rests on, for a reader."""
        yield f"{self.words:<10} {self.claim.name}: {self.claim.statement}"
        yield f"{INDENT}{', '.join(self.facts())}"
        yield from self.remarks()
        if self.counterexample and isinstance(self.claim, Claim):
            place = coordinates(self.counterexample, self.claim.domain.loss)
            yield f"{INDENT}counterexample: {place}"

    def facts(self, *more: str) -> Iterator[str]:
        """What was looked at, and how it came out; `more` stands among it."""
        if self.proof is not None:
            yield self.looked_at
            if self.undecided:
                yield f"{self.undecided:,} undecided"
            if self.proof.width is not None:
                yield f"widest enclosure {self.proof.width:.1e}"
        else:
            what = "certified cells" if self.worst_gap is not None else "decided cells"
            yield f"{self.cells - self.undecided:,} {what}"
        if self.excluded:
            yield f"{self.excluded:,} excluded"
        yield from more
        if self.margin is not None:
            yield f"worst margin {self.margin:.3g}"
        if self.worst_gap is not None:
            yield f"worst gap {self.worst_gap:.1e}"

    def remarks(self) -> Iterator[str]:
        """What was missing, and the point at which a theorem fails."""
        if self.reason:
            yield f"{INDENT}{self.reason}"
        if isinstance(self.claim, Theorem) and self.counterexample:
            yield f"{INDENT}at {self.counterexample}"

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        proof = Proof(False) if self.proof is None else self.proof
        return {
            "name": self.claim.name,
            "kind": "claim" if self.proof is None else "theorem",
            "statement": self.claim.statement,
            "source": self.claim.source,
            "verdict": str(self.verdict),
            "convexity": self.convexity,
            "expected": None if self.claim.expected is None else str(self.claim.expected),
            "cells": self.cells,
            "boxes": proof.boxes,
            "enclosures": proof.enclosures,
            "signs": proof.signs,
            "excluded": self.excluded,
            "undecided": self.undecided,
            "worst_gap": finite(self.worst_gap),
            "widest_enclosure": finite(proof.width),
            "worst_deviation": finite(self.worst_deviation),
            "margin": finite(self.margin),
            "counterexample": self.counterexample,
            "reason": self.reason,
        }


def finite(value: float | None) -> float | None:
    """A number as JSON knows it: infinite ones, of cells without a certificate, are null."""
    return value if value is not None and np.isfinite(value) else None


class Weighed(NamedTuple):
    """The margin of a claim on cells.

    Attributes:
        groups: the cells that count, or as many columns of them as a window has cells.
        counted: their rows in the table, if windows are single cells.
        excluded: rows of the table that the claim's own exclusion leaves out.
        margin: as the claim returned it, one interval for each cell or window.
        holds: certified, and the whole margin is positive, or not negative if the claim is closed.
        refuted: certified, and the whole margin is negative.
        remark: what the margin rests on, if on no certified quantity.
    """

    groups: tuple[Cells, ...]
    counted: np.ndarray
    excluded: np.ndarray
    margin: Interval
    holds: np.ndarray
    refuted: np.ndarray
    remark: str = ""


def weigh(claim: Claim, table: pl.DataFrame) -> Weighed:
    """The margin of a claim on every cell, or window of cells, of a table.

    Raises:
        ClaimError: the margin or a condition raises, or returns what is no number for every cell.
    """
    check_type("claim", claim, Claim, "a Claim")
    cells = Cells(table, claim.domain.loss)
    rows = np.arange(len(table))
    if claim.where is not None and len(rows):
        rows = rows[_condition(claim, "where", claim.where, cells)]
    kept = np.ones(len(rows), bool)
    if claim.exclude is not None and len(rows):
        kept = ~_condition(claim, "exclude", claim.exclude, cells[rows])
    groups = _groups(cells[rows[kept]], claim)
    return weigh_groups(claim, groups)._replace(counted=rows[kept], excluded=rows[~kept])


def weigh_groups(claim: Claim, groups: tuple[Cells, ...]) -> Weighed:
    """The margin of a claim on windows that are given, all of which count."""
    nothing = np.zeros(0, int)
    empty = Interval(np.zeros(0)), ""
    margin, remark = _margin(claim, groups) if len(groups[0]) else empty
    certified = np.logical_and.reduce([group.certified for group in groups])
    if margin.decided is not None:  # the margin rests on certificates of its own
        certified = margin.decided
    holds = certified & ((margin.low >= 0) if claim.closed else (margin.low > 0))
    refuted = certified & (margin.high < 0)
    return Weighed(groups, nothing, nothing, margin, holds, refuted, remark)


def _condition(claim: Claim, name: str, condition: Condition, cells: Cells) -> np.ndarray:
    answer = np.asarray(_call(claim, f"`{name}`", condition, cells))
    if answer.shape not in ((), (len(cells),)) or answer.dtype != bool:
        raise ClaimError(
            f"{claim.name}: `{name}` must return a boolean for each of {len(cells)} cells; got "
            f"shape {answer.shape} of {answer.dtype}."
        )
    return np.broadcast_to(answer, (len(cells),))


def _margin(claim: Claim, groups: tuple[Cells, ...]) -> tuple[Interval, str]:
    """The margin in every cell, and what it rests on, if on no certified quantity."""
    count = len(groups[0])
    for group in groups:
        group.read.clear()
    answer = _call(claim, "its margin", claim.margin, *groups)
    read = sorted(set().union(*(group.read for group in groups)))
    plain = not isinstance(answer, Interval)
    margin = _points(claim, groups[0], answer) if plain else answer
    if margin.shape != (count,):
        raise ClaimError(
            f"{claim.name}: its margin must be one number for each of {count} cells; got shape "
            f"{margin.shape}. Reduce the other axes, for example by .min(axis=1)."
        )
    if not read:
        return margin, "Its margin depends on coordinates alone: no certified quantity enters it."
    if plain:
        return margin, (
            f"Its margin is one number in each cell, made from {', '.join(read)}: no bracket enters"
            " it, and its verdict is as good as those numbers."
        )
    return margin, ""


def _points(claim: Claim, cells: Cells, answer: Any) -> Interval:
    """A margin that is no interval: a number for each cell, or one for all."""
    try:
        numbers = np.asarray(answer)
        nan = np.atleast_1d(numbers != numbers)
        margin = Interval(np.where(nan, 0, numbers))
    except (TypeError, ValueError):
        raise ClaimError(
            f"{claim.name}: its margin must be numbers or an Interval; got {type(answer).__name__}."
        ) from None
    if numbers.dtype == bool:
        raise ClaimError(
            f"{claim.name}: its margin is true or false; a margin is a number, positive where the "
            "statement holds: write the difference, or sx.equal(quantity, prediction)."
        )
    if nan.any() and nan.shape in ((1,), (len(cells),)):
        nan = np.broadcast_to(nan, (len(cells),))
        raise ClaimError(
            f"{claim.name}: its margin is NaN in {nan.sum()} of {len(cells)} cells, the first at "
            f"{_describe(cells, int(np.argmax(nan)))}."
        )
    single = numbers.ndim == 0
    return margin[np.zeros(len(cells), int)] if single else margin


def _call(claim: Claim, what: str, function: Callable[..., Any], *cells: Cells) -> Any:
    """What a claim's own function returns; its exceptions are the claim's, not the program's, and
    so is a `sys.exit`: it would end the run as if all were well."""
    try:
        return function(*cells)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        line = " ".join(str(error).split())
        raise ClaimError(
            f"{claim.name}: {what} raised {type(error).__name__}: {line} ({place_of(error)})"
        ) from error


def judge(claim: Claim, table: pl.DataFrame) -> Judgement:
    """Judge a claim on the certified cells of a table.

    Raises:
        ClaimError: its margin or a condition raises, or returns no number for every cell.
        ValueError: no claim, or no table.
    """
    check_type("claim", claim, Claim, "a Claim")
    check_type("table", table, pl.DataFrame, "a table of ssem_jax.sweep")
    groups, _, left_out, margin, holds, refuted, remark = weigh(claim, table)
    count, excluded = len(groups[0]), len(left_out)
    if count == 0:
        return Judgement(
            claim,
            *(Verdict.UNDECIDED, 0, excluded, 0, None, None, None, None),
            reason="no cell counts.",
            evidence=table,
        )
    undecided = int(np.sum(~holds & ~refuted))
    gaps = np.maximum.reduce([group.gap for group in groups])
    counterexample, reason = None, ""
    if refuted.any():
        verdict = Verdict.REFUTED
        counterexample = _smallest(groups, np.flatnonzero(refuted), margin)
    elif undecided:
        verdict = Verdict.UNDECIDED
        row = _describe(groups[0], int(np.flatnonzero(~holds)[0]))
        reason = f"{undecided} of {count} cells are undecided, the first at {row}."
        reason += why_undecided(claim, groups, ~holds & ~refuted, margin)
        touching = int(np.sum(~holds & (margin.low == 0)))
        if touching and not claim.closed:
            reason += f" In {touching} of them the margin may be 0; closed=True is for ≥ and ≤."
        if np.isinf(gaps).any():
            reason += (
                " Its loss is not convex in the Gram matrix, so nothing bounds it from below: "
                "no cell is certified, and the optimum is unknown."
            )
    else:
        verdict = Verdict.HOLDS
    return Judgement(
        claim,
        verdict,
        count,
        excluded,
        undecided,
        float(gaps.max()) if margin.decided is None else None,
        float(margin.deviation.max()) if isinstance(margin, Equality) else None,
        float(margin.low.min()),
        counterexample,
        " ".join(filter(None, (reason, remark))),
        table,
        _weakest(groups),
    )


def _weakest(groups: Sequence[Cells]) -> str:
    """What the bounds of the cells rest on, at worst."""
    if "convexity" not in groups[0].table.columns:  # a table that does not say
        return DECLARED
    found = {name for group in groups for name in group.table["convexity"].unique()}
    return next((name for name in (NOT_CONVEX, DECLARED) if name in found), PROVEN)


def outcomes(claim: Claim, table: pl.DataFrame) -> pl.DataFrame:
    """What became of a claim in every cell of a table.

    Returns:
        The table's cells with `outcome`, one of "holds", "refuted", "undecided", "excluded" (left
        out by the claim's own exclusion) and "outside" (the statement does not speak about it),
        and margin_lo and margin_hi. For equalities also observed_lo, observed_hi, predicted and
        deviation. With `along`, the first cells of the windows.
    """
    weighed = weigh(claim, table)
    margin, count = weighed.margin, len(weighed.groups[0])
    columns: dict[str, Any] = {"margin_lo": margin.low, "margin_hi": margin.high}
    if isinstance(margin, Equality):
        columns |= {
            "observed_lo": margin.bracket.low,
            "observed_hi": margin.bracket.high,
            "predicted": margin.predicted,
            "deviation": margin.deviation,
        }
    outcome = np.select([weighed.holds, weighed.refuted], ["holds", "refuted"], "undecided")
    judged = weighed.groups[0].table.with_columns(
        pl.Series("outcome", outcome.tolist(), dtype=pl.String),
        *(pl.Series(name, np.broadcast_to(x, count)) for name, x in columns.items()),
    )
    if claim.along is not None:
        return judged
    rest = np.setdiff1d(np.arange(len(table)), weighed.counted)
    scope = np.where(np.isin(rest, weighed.excluded), "excluded", "outside")
    apart = table[rest].with_columns(pl.Series("outcome", scope.tolist(), dtype=pl.String))
    return pl.concat([judged, apart], how="diagonal")


def predict(claim: Claim, cells: pl.DataFrame) -> np.ndarray:
    """What an equality says about cells of which only the coordinates matter.

    Raises:
        ValueError: the claim is no equality.
    """
    check_type("claim", claim, Claim, "a Claim")
    margin = claim.margin(Cells(cells))
    if not isinstance(margin, Equality):
        raise ValueError(f"{claim.name} predicts no number; give a claim made with `equal`.")
    return np.broadcast_to(margin.predicted, len(cells))


def judge_theorem(theorem: Theorem) -> Judgement:
    """Run the proof of a theorem."""
    check_type("theorem", theorem, Theorem, "a Theorem")
    proof = theorem.prove()
    if proof.refuted is not None:
        verdict, reason = Verdict.REFUTED, ""
    elif proof.proven and not proof.undecided:
        verdict = Verdict.PROVEN if proof.rigorous else Verdict.HOLDS
        reason = f"left out: {proof.left_out}" if proof.left_out else ""
    else:
        verdict = Verdict.UNDECIDED
        reason = proof.left_open
    return Judgement(
        theorem,
        verdict,
        proof.cells,
        0,
        len(proof.undecided),
        max(proof.gaps, default=None),
        None,
        None,
        proof.refuted,
        reason,
        proof,
    )


def _groups(cells: Cells, claim: Claim) -> tuple[Cells, ...]:
    """The cells, or as many columns of them as a window has cells."""
    if claim.along is None:
        return (cells,)
    if claim.along not in cells.table.columns:
        raise ClaimError(
            f"{claim.name}: along={claim.along!r} is no coordinate of its cells; give one of "
            f"{', '.join(fixed_columns(cells.table, cells.loss, ''))}."
        )
    fixed = fixed_columns(cells.table, cells.loss, claim.along)
    ordered = in_order(cells.table, [*fixed, claim.along])
    keys = ordered.select(fixed).rows()
    starts = [
        first
        for first in range(len(keys) - claim.window + 1)
        if keys[first] == keys[first + claim.window - 1]
    ]
    return tuple(
        Cells(ordered[[s + step for s in starts]], cells.loss) for step in range(claim.window)
    )


def _smallest(groups: Sequence[Cells], rows: np.ndarray, margin: Interval) -> dict[str, Any]:
    """The refuting cell with the fewest embeddings; among equals, the one refuted most clearly."""
    first = groups[0].table
    instances = first["sizes"].str.split(",").list.eval(pl.element().cast(pl.Int64)).list.sum()
    size = (instances * first["num_views"]).to_numpy()
    clear = np.broadcast_to(margin.high, size.shape)
    best = min(rows, key=lambda row: (size[row], clear[row]))
    row = first.row(int(best), named=True)
    if len(groups) > 1:
        row["followed_by"] = [group.table.row(int(best), named=True) for group in groups[1:]]
    return row


def coordinates(row: dict[str, Any], loss: Callable[..., GramLoss] = SupCL) -> str:
    """A row of the table as the coordinates of its cell, in one line."""
    balanced = row["num_instances"] is not None
    shape = (
        f"m={row['num_classes']}, n={row['num_instances']}" if balanced else f"sizes={row['sizes']}"
    )
    hyper = {k: row[k] for k in (LEAST, *hyper_names(loss)) if row.get(k) is not None}
    written = [
        f"{typed(name)}={value:.6g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in hyper.items()
    ]
    return ", ".join([shape, f"p={row['num_views']}", f"d={row['dim']}", *written])


def _describe(cells: Cells, row: int) -> str:
    return coordinates(cells.table.row(row, named=True), cells.loss)
