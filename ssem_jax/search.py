"""The search for a counterexample: certified cells, refined where a statement nearly fails.

A conjecture is a :class:`ssem_jax.Claim` whose domain is a :class:`ssem_jax.Space`. The search

1. solves and certifies a coarse grid of every slice of the space, the smallest shapes first;
2. refines: boxes between cells are halved along every range where the margin at their corners is
   smallest, the best few of *every* size in each round, so that the search is drawn to the worst
   corner it knows and still visits the rest (the idea of Jones, Perttunen and Stuckman, 1993); and,
   in every round, boxes whose corners differ in their phase, or in a margin that takes few values:
   there a statement may fail over a strip that no margin points to;
3. where a cell is certified to have a negative margin, **shrinks** it: slices of fewer embeddings
   are searched in order of their size, and hyper-parameters are rounded as long as the statement
   still fails.

Margins are judged on certified brackets throughout, so a verdict never rests on where an optimiser
stopped, and a search is deterministic: with a folder, what it computed is found again when it is
repeated.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import itertools
import logging
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ssem_jax.certificate.certificate import GAP_TOLERANCE
from ssem_jax.claims import (
    Cells,
    Claim,
    ClaimError,
    Domain,
    Judgement,
    Theorem,
    Verdict,
    Weighed,
    judge,
    judge_theorem,
    weigh,
    weigh_groups,
)
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.problem import Problem
from ssem_jax.problem.validation import check_count, check_type, concrete, shown
from ssem_jax.space import FINEST, Range, Space, Spots
from ssem_jax.sweeps.batches import num_cells, split
from ssem_jax.sweeps.folder import RunError, identity_of
from ssem_jax.sweeps.identity import NoIdentityError
from ssem_jax.sweeps.runs import sweep
from ssem_jax.sweeps.table import choice_of, fixed_columns, hyper_names, join, problem_of, sizes_of

COARSEST, FINEST_COARSE = 1, 3
"""Halvings of every range in the coarse grid, at least and at most: 3 to 9 values."""
COARSE_SHARE = 0.5
"""Share of the budget that the coarse grid may take."""
ROUND_CELLS = 192
"""Cells of a round of refinement: enough to keep all cores busy, few enough to steer."""
VISITS = 10
"""Places looked at for each cell of the budget, at most: most of a space may be left out by its
constraint."""
DEEPEST = 18
"""Halvings after which a box is left alone: 4e-6 of a range."""
RETRY_STARTS = 6
"""Random starts for cells that the first attempt left uncertified."""
SHRINK_CELLS = 64
"""Cells spent on each smaller slice in the search for a smaller counterexample."""
SHRINK_SLICES = 12
"""Smaller slices searched at most."""
FEW_VALUES = 8
"""A margin of at most so many values is a step: it does not point to where it changes."""
ROUND_DIGITS = 4
"""Decimal places up to which a counterexample's hyper-parameters are rounded."""
ROUND_CHOICES = 6
"""Rounded values tried for each hyper-parameter."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a search may spend.

    Args:
        cells: certified cells.
        seconds: wall time, checked between rounds.

    Raises:
        ValueError: no integer of at least 1, or no positive number.
    """

    cells: int = 2000
    seconds: float = math.inf

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", check_count("the cells of a budget", self.cells, 1))
        seconds = concrete(self.seconds, "the seconds of a budget")
        if seconds is None or seconds.shape or not seconds > 0:
            raise ValueError(
                f"the seconds of a budget must be positive; got {shown(self.seconds)}."
            )
        object.__setattr__(self, "seconds", float(seconds))

    @classmethod
    def of(cls, value: Any) -> Budget:
        """A budget as it is, of a number of cells, or of a text that :meth:`parse` takes.

        Raises:
            ValueError: none of these.
        """
        if isinstance(value, cls):
            return value
        return cls.parse(value) if isinstance(value, str) else cls(value)

    @classmethod
    def parse(cls, text: str) -> Budget:
        """A budget from "2000", "60s", or both, "2000,60s".

        Raises:
            ValueError: anything else.
        """
        check_type("a budget", text, str, "a text, as '2000,60s'")
        given: dict[str, float] = {}
        try:
            for part in map(str.strip, text.split(",")):
                unit = "seconds" if part.endswith("s") else "cells"
                if unit in given:
                    raise ValueError
                given[unit] = float(part.removesuffix("s"))
            if not all(map(math.isfinite, given.values())):
                raise ValueError
            return cls(**given)  # pyright: ignore[reportArgumentType]
        except ValueError:
            raise ValueError(
                f"a budget is a number of cells, of seconds, or both: 2000 or 60s or 2000,60s; "
                f"got {text!r}."
            ) from None


DEFAULT_BUDGET = Budget()


@dataclasses.dataclass(frozen=True)
class Explored:
    """How closely a space was looked at.

    Attributes:
        finest: side of the smallest box, as a share of every range.
        largest: side of the largest box that was left whole, of those in which cells count.
        box: that box: its shape, and (low, high) of every range.
    """

    finest: float
    largest: float
    box: dict[str, Any]

    def __str__(self) -> str:
        shape = f"sizes={self.box['sizes']}, p={self.box['num_views']}, d={self.box['dim']}"
        ranges = [f"{k}={v[0]:.4g}..{v[1]:.4g}" for k, v in self.box.items() if type(v) is tuple]
        return (
            f"finest box {self.finest:.2g} of every range, largest unexplored {self.largest:.2g}: "
            + ", ".join([shape, *ranges])
        )


@dataclasses.dataclass(frozen=True)
class Trial:
    """What became of a conjecture.

    Attributes:
        claim: the conjecture.
        judgement: its verdict, on all cells that were solved; None if it could not be judged.
        table: those cells.
        slices: slices that were reached, and slices of the space.
        tightest: the cell of the smallest margin.
        snippet: for a counterexample, Python that reproduces it.
        seconds: wall time.
        error: what is wrong with the conjecture itself.
        explored: how closely its space was looked at; None where there are no ranges.
    """

    claim: Claim | Theorem
    judgement: Judgement | None
    table: pl.DataFrame | None = None
    slices: tuple[int, int] | None = None
    tightest: dict[str, Any] | None = None
    snippet: str = ""
    seconds: float = 0.0
    error: str = ""
    explored: Explored | None = None

    @property
    def as_expected(self) -> bool:
        """Whether it was judged, and as expected; a conjecture only has to be decided."""
        return self.judgement is not None and self.judgement.as_expected

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        if self.judgement is None:
            names = {"name": self.claim.name, "statement": self.claim.statement}
            return names | {"verdict": None, "error": self.error}
        return self.judgement.to_json() | {
            "slices": self.slices,
            "tightest": self.tightest,
            "explored": self.explored and dataclasses.asdict(self.explored),
            "snippet": self.snippet,
            "seconds": self.seconds,
        }


LOG = logging.getLogger(__name__)

_EMPTY = "{}: no cell of its domain counts; widen it or its conditions."

Progress = Callable[[int], None]


class Source:
    """Certified cells, each batch solved once: from memory, from a folder, or anew.

    Cells of a loss without identity (:mod:`ssem_jax.sweeps.identity`) are solved anew each time
    and kept nowhere; a line in the log says so.

    Args:
        seed: of the random starts.
        out: a folder that keeps the cells; None to keep nothing.
        progress: called with numbers of finished cells.
        solver: as :func:`ssem_jax.sweep`, which it is if not given.
    """

    def __init__(
        self,
        seed: int = 0,
        out: Path | None = None,
        progress: Progress | None = None,
        solver: Callable[..., pl.DataFrame] = sweep,
    ) -> None:
        self.seed, self.out, self.progress, self.solver = seed, out, progress, solver
        self.memory: dict[str, pl.DataFrame] = {}
        self.noted: set[str] = set()

    def cells(
        self, problems: Sequence[Problem], num_starts: int = 2, seed: int = 0
    ) -> pl.DataFrame:
        """The table of some problems."""
        options = {"seed": self.seed + seed, "num_starts": num_starts, "progress": self.progress}
        try:
            name = self._name_of(problems, self.seed + seed, num_starts)
        except NoIdentityError as error:
            line = (
                f"cells of {type(problems[0].loss).__name__} are neither kept nor reused: {error}"
            )
            if line not in self.noted:
                self.noted.add(line)
                LOG.warning("%s", line)
            return self.solver(problems, out=None, **options)
        if name not in self.memory:
            out = None if self.out is None else self.out / name
            self.memory[name] = self.solver(problems, out=out, **options)
        elif self.progress:
            self.progress(num_cells(problems))
        return self.memory[name]

    def _name_of(self, problems: Sequence[Problem], seed: int, num_starts: int) -> str:
        parts = [identity_of(b, seed, num_starts) for each in problems for b in split(each)]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def search(
    claim: Claim | Theorem,
    budget: Budget | int | str = DEFAULT_BUDGET,
    source: Source | None = None,
) -> Trial:
    """Judge a conjecture on its space, adaptively.

    Args:
        claim: with a :class:`ssem_jax.Space` as its domain; a :class:`ssem_jax.Domain` of grids is
            judged as it is, and a theorem is proven.
        budget: what may be spent, also as a number of cells or as "2000,60s". A counterexample
            ends the search; shrinking it may take some hundred cells more.
        source: where cells come from; share one between conjectures of one space.

    Raises:
        ClaimError: the conjecture is not well posed: an empty space, or a margin or a condition
            that raises or returns no number for every cell.
        ValueError: what is no claim, no budget, or no source.
    """
    begun = time.perf_counter()
    check_type("claim", claim, (Claim, Theorem), "a Claim or a Theorem")
    budget = Budget.of(budget)
    source = Source() if source is None else source
    check_type("source", source, Source, "a search.Source")
    if isinstance(claim, Theorem):
        try:
            judgement = judge_theorem(claim)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a sys.exit among them
            raise ClaimError(f"{claim.name}: its proof raised {one_line(error)}") from error
        return Trial(claim, judgement, seconds=time.perf_counter() - begun)
    if isinstance(claim.domain, Domain):
        table = source.cells(claim.domain.problems())
        judgement, weighed = judge(claim, table), weigh(claim, table)
        slices = explored = None
    else:
        run = _Search(claim, claim.domain, source, budget, begun)
        run.run()
        if not len(run.table):
            raise ClaimError(_EMPTY.format(claim.name))
        table, weighed = run.table, run.weighed()
        judgement = judge(claim, table)
        slices = (len({place for place, _ in run.rows}), len(claim.domain.slices))
        explored = run.explored()
        if judgement.verdict is Verdict.REFUTED:
            judgement = dataclasses.replace(judgement, counterexample=run.shrunk())
    if not judgement.cells:
        raise ClaimError(_EMPTY.format(claim.name))
    least = int(np.argmin(weighed.margin.low))
    return Trial(
        claim,
        judgement,
        table,
        slices,
        weighed.groups[0].table.row(least, named=True),
        snippet(claim, judgement.counterexample) if judgement.counterexample else "",
        time.perf_counter() - begun,
        explored=explored,
    )


def search_all(
    claims: Iterable[Claim | Theorem],
    budget: Budget | int | str = DEFAULT_BUDGET,
    source: Source | None = None,
) -> Iterator[Trial]:
    """The conjectures one after another; one that is not well posed does not stop the others."""
    source, budget = source or Source(), Budget.of(budget)
    for claim in claims:
        yield _trial(claim, budget, source)


def _trial(claim: Claim | Theorem, budget: Budget, source: Source) -> Trial:
    """The trial of a conjecture, or what is wrong with it.

    Its loss, its conditions and its dimensions are the user's own code, which may raise anything;
    a `SystemExit` would end the whole run as if every conjecture had been judged.
    """
    try:
        return search(claim, budget, source)
    except (RunError, KeyboardInterrupt):
        raise  # of the folder, and so of all conjectures; of the user
    except ValueError as error:
        name = f"{claim.name}: "
        return Trial(claim, None, error=name + str(error).removeprefix(name))
    except BaseException as error:
        return Trial(claim, None, error=f"{claim.name}: {one_line(error)}")


# ---------------------------------------------------------------------------------------- search


class _Box(NamedTuple):
    """A box of a family, of side FINEST / 2^level."""

    family: int
    level: int
    origin: tuple[int, ...]

    def corners(self) -> list[tuple[int, ...]]:
        side = FINEST >> self.level
        return list(itertools.product(*((at, at + side) for at in self.origin)))

    def halves(self) -> list[_Box]:
        side = FINEST >> (self.level + 1)
        origins = itertools.product(*((at, at + side) for at in self.origin))
        return [_Box(self.family, self.level + 1, origin) for origin in origins]


class _Ranked(NamedTuple):
    """A box that waits to be halved: the least promise first.

    Attributes:
        promise: how low the margin in it may be.
        tie: chance, between equals.
        cut: whether the claim speaks about some of its corners and not about others.
        mixed: whether its corners differ in what is discrete.
        box: the box.
    """

    promise: float
    tie: float
    cut: bool
    mixed: bool
    box: _Box


_Place = tuple[int, tuple[int, ...]]
"""A family (or a slice) and integer steps of the ranges."""


class _Search:
    """The state of a search: boxes still whole, and the cells solved so far.

    A **family** is a set of slices that the claim compares with one another, which are refined
    together; without such a comparison, a slice alone.
    """

    def __init__(
        self, claim: Claim, space: Space, source: Source, budget: Budget, begun: float
    ) -> None:
        self.claim, self.space, self.source, self.budget = claim, space, source, budget
        self.begun = begun
        self.axes = len(space.ranges)
        self.families = self._families()
        self.rows: dict[_Place, int | None] = {}
        self.table = pl.DataFrame()
        self.scores, self.lows = np.zeros(0), np.zeros(0)
        self.refuted, self.undecided = np.zeros(0, bool), np.zeros(0, bool)
        self.boxes: dict[int, list[_Ranked]] = {}
        self.deepest = 0
        self.order = np.random.default_rng(source.seed)

    def _families(self) -> list[list[int]]:
        slices = self.space.slices
        try:
            named = self.space.coordinates(self._spots(range(len(slices)), (0,) * self.axes))
        except ValueError as error:
            raise ClaimError(f"{self.claim.name}: {error}") from error
        along = self.claim.along
        if along is None or along in self.space.ranges or along not in named.columns:
            return [[place] for place in range(len(slices))]
        fixed = fixed_columns(named, self.space.loss, along)
        families: dict[tuple, list[int]] = {}
        for place, key in enumerate(named.select(fixed).rows()):
            families.setdefault(key, []).append(place)
        return list(families.values())

    def _spots(self, slices: Iterable[int], step: tuple[int, ...]) -> Spots:
        slices = list(slices)
        return self.space.spots(slices, [step] * len(slices))

    def run(self) -> None:
        """The coarse grid, then rounds of refinement until something ends the search."""
        for cells, boxes in self._coarse():
            self._solve(cells)
            self._keep(boxes)
            if self._ended():
                return
        while not self._ended() and (chosen := self._chosen()):
            self._halve(chosen)

    def _halve(self, boxes: Iterable[_Box]) -> None:
        halves = [half for box in boxes for half in box.halves()]
        self._solve({(half.family, corner): None for half in halves for corner in half.corners()})
        self._keep(halves)

    def _coarse(self) -> Iterator[tuple[dict[_Place, None], list[_Box]]]:
        """The cells and boxes of the coarse grid, some families at a time, the smallest first."""
        count = sum(map(len, self.families))
        level = FINEST_COARSE
        while level > COARSEST and count * (2**level + 1) ** self.axes > (
            COARSE_SHARE * self.budget.cells
        ):
            level -= 1
        steps = np.linspace(0, FINEST, 2**level + 1).astype(int).tolist()
        places = list(itertools.product(steps, repeat=self.axes))
        origins = list(itertools.product(steps[:-1], repeat=self.axes))
        waiting: dict[_Place, None] = {}
        boxes, shapes = [], set()
        for family, slices in enumerate(self.families):
            boxes += [_Box(family, level, origin) for origin in origins]
            waiting |= dict.fromkeys((family, place) for place in places)
            shapes |= {self.space.slices[place].size for place in slices}
            # Two shapes at least: while one compiles, the other computes.
            if len(waiting) >= ROUND_CELLS and len(shapes) > 1:
                yield waiting, boxes
                waiting, boxes, shapes = {}, [], set()
        if waiting:
            yield waiting, boxes

    def _keep(self, boxes: Iterable[_Box]) -> None:
        """Boxes whose corners are solved, ranked by their promise; chance breaks ties."""
        labels = self._labels()
        for box in boxes:
            self.deepest = max(self.deepest, box.level)
            if self.axes and box.level < DEEPEST:
                promise, cut, mixed = self._promise(box, labels)
                ranked = _Ranked(promise, float(self.order.random()), cut, mixed, box)
                self.boxes.setdefault(box.level, []).append(ranked)

    def _ended(self) -> bool:
        spent, visited = len(self.table), len(self.rows)
        late = time.perf_counter() - self.begun >= self.budget.seconds
        exhausted = spent >= self.budget.cells or visited >= VISITS * self.budget.cells
        return bool(self.refuted.any()) or exhausted or late

    def _chosen(self, family: int | None = None) -> list[_Box]:
        """The boxes to halve next: of every size the most promising, and as many again of those
        that the claim speaks about in part, for extremes like to lie on a constraint, and of those
        whose corners are of different kinds, where a step margin says nothing."""
        levels = {
            level: sorted(box for box in boxes if family is None or box.box.family == family)
            for level, boxes in self.boxes.items()
        }
        levels = {level: boxes for level, boxes in levels.items() if boxes}
        members = sum(map(len, self.families)) / len(self.families)
        room = int(ROUND_CELLS / (max(3**self.axes - 2**self.axes, 1) * members))
        mixed = any(box.mixed for boxes in levels.values() for box in boxes)
        each = max(1, room // ((2 + mixed) * max(len(levels), 1)))
        taken: set[_Box] = set()
        for boxes in levels.values():
            taken |= {ranked.box for ranked in boxes[:each]}
            taken |= {ranked.box for ranked in [box for box in boxes if box.cut][:each]}
            taken |= {ranked.box for ranked in [box for box in boxes if box.mixed][:each]}
        for level in levels:
            self.boxes[level] = [kept for kept in self.boxes[level] if kept.box not in taken]
        return sorted(taken)

    def _promise(self, box: _Box, labels: np.ndarray) -> tuple[float, bool, bool]:
        """How low the margin in a box may be: the corners' least, less half of how they differ;
        whether the claim speaks about some corners and not about others; and whether those that it
        speaks about are of different kinds."""
        rows = [
            self.rows.get((place, corner))
            for place in self.families[box.family]
            for corner in box.corners()
        ]
        scores = np.array([math.inf if row is None else self.scores[row] for row in rows])
        counted = [row for row, score in zip(rows, scores, strict=True) if np.isfinite(score)]
        if not counted:
            return math.inf, False, False
        low, high = float(self.scores[counted].min()), float(self.scores[counted].max())
        mixed = np.unique(labels[counted]).size > 1
        return low - 0.5 * (high - low), len(counted) < scores.size, mixed

    def _labels(self) -> np.ndarray:
        """What is discrete about every row: its phase, and its margin if that takes few values."""
        if not len(self.table):
            return np.zeros(0, int)
        labels = np.unique(self.table["phase"].to_numpy().astype(str), return_inverse=True)[1]
        margins = np.stack([self.lows, self.scores], axis=1)
        values, kinds = np.unique(margins, axis=0, return_inverse=True)
        if np.isfinite(values).all(axis=1).sum() > FEW_VALUES:
            return labels
        return labels * len(values) + kinds.ravel()

    def explored(self) -> Explored | None:
        """How closely the ranges were looked at."""
        waiting = [box for boxes in self.boxes.values() for box in boxes if box.promise < math.inf]
        if not waiting:
            return None
        box = min(waiting, key=lambda each: (each.box.level, each)).box
        at = self.space.slices[self.families[box.family][0]]
        shape = ",".join(map(str, at.structure.sizes))
        side = FINEST >> box.level
        ranges = {
            name: tuple(map(float, axis.at([start, start + side])))
            for start, (name, axis) in zip(box.origin, self.space.ranges.items(), strict=True)
        }
        where = {"sizes": shape, "num_views": at.structure.num_views, "dim": at.dim}
        where |= dict(at.choices) | dict(at.fixed) | ranges
        return Explored(2.0**-self.deepest, 2.0**-box.level, where)

    def _solve(self, wanted: dict[_Place, None]) -> None:
        """Solve and weigh cells of families that are not known yet."""
        new = [
            (place, step)
            for family, step in wanted
            for place in self.families[family]
            if (place, step) not in self.rows
        ]
        spots = self.space.spots([place for place, _ in new], [step for _, step in new])
        inside = self._admitted(spots)
        self.rows |= dict.fromkeys(new, None)
        if not inside.any():
            return
        kept = [each for each, good in zip(new, inside, strict=True) if good]
        first = len(self.table)
        self.rows |= {each: first + k for k, each in enumerate(kept)}
        table = self._rows_of(spots[inside])
        self.table = join([self.table, table]) if first else table
        self._weigh(first)
        # What is undecided for want of a certificate is tried again.
        open_ = first + np.flatnonzero(_uncertified(table) & self.undecided[first:])
        if open_.size:
            again = self._rows_of(spots[inside][open_ - first], RETRY_STARTS, 1)
            self.table = _better(self.table, open_, again)
            self._weigh(first)

    def _admitted(self, spots: Spots) -> np.ndarray:
        try:
            return self.space.admits(spots)
        except ClaimError as error:
            raise ClaimError(f"{self.claim.name}: {error}") from error

    def _rows_of(self, spots: Spots, num_starts: int = 2, seed: int = 0) -> pl.DataFrame:
        try:
            parts = list(self.space.problems_at(spots))
        except ValueError as error:
            raise ClaimError(f"{self.claim.name}: {error}") from error
        table = self.source.cells([problem for _, problem in parts], num_starts, seed)
        return table[np.argsort(np.concatenate([rows for rows, _ in parts]))]

    def weighed(self) -> Weighed:
        """The margins of everything solved so far."""
        return weigh(self.claim, self.table)

    def _weigh(self, first: int) -> None:
        """Scores of the rows from `first` on; of all rows where cells are compared."""
        first = 0 if self.claim.along else first
        numbered = self.table.with_row_index("_row")[first:]
        found = weigh(self.claim, numbered)
        size = len(self.table) - first
        scores = np.concatenate([self.scores[:first], np.full(size, np.inf)])
        lows = np.concatenate([self.lows[:first], np.full(size, np.inf)])
        refuted = np.concatenate([self.refuted[:first], np.zeros(size, bool)])
        undecided = np.concatenate([self.undecided[:first], np.zeros(size, bool)])
        for group in found.groups:
            rows = group.table["_row"].to_numpy()
            np.minimum.at(scores, rows, found.margin.high)
            np.minimum.at(lows, rows, found.margin.low)
            np.logical_or.at(refuted, rows, found.refuted)
            np.logical_or.at(undecided, rows, ~found.holds & ~found.refuted)
        self.scores, self.lows = scores, lows
        self.refuted, self.undecided = refuted, undecided

    # ------------------------------------------------------------------------------- shrinking

    def shrunk(self) -> dict[str, Any]:
        """The smallest counterexample that is found, with round hyper-parameters."""
        place_of = {row: place for (place, _), row in self.rows.items() if row is not None}
        refuting = min(place_of[int(row)] for row in np.flatnonzero(self.refuted))
        family_of = {place: k for k, family in enumerate(self.families) for place in family}
        smallest = family_of[refuting]
        for family in range(smallest)[:SHRINK_SLICES]:
            if self._refine(family):
                smallest = family
                break
        return self._rounded(set(self.families[smallest]))

    def _refine(self, family: int) -> bool:
        """Whether a family, searched by itself, has a counterexample."""
        start = len(self.table)
        while len(self.table) - start < SHRINK_CELLS and (chosen := self._chosen(family)):
            self._halve(chosen)
            if self.refuted[start:].any():
                return True
        return False

    def _rounded(self, places: set[int]) -> dict[str, Any]:
        """A refuted cell (or window) of some slices, with values of few digits."""
        weighed = weigh(self.claim, self.table.with_row_index("_row"))
        at = {row: where for where, row in self.rows.items() if row is not None}
        windows = [
            [at[int(group.table["_row"][k])][0] for group in weighed.groups]
            for k in range(len(weighed.groups[0]))
        ]
        inside = np.array([set(window) <= places for window in windows])
        refuted = weighed.refuted & inside
        candidates = np.flatnonzero(refuted if refuted.any() else weighed.refuted)
        best = int(candidates[np.argmin(weighed.margin.high[candidates])])
        rows = [group.table.row(best, named=True) for group in weighed.groups]
        tried = self._round_windows(windows[best], rows)
        groups = [Cells(self._rows_of(spots), self.space.loss) for spots in tried]
        found = weigh_groups(self.claim, tuple(groups))
        refuted = np.flatnonzero(found.refuted & self._counts(groups))
        if refuted.size:
            digits = sum(_digits(spots.values) for spots in tried)
            k = min(refuted, key=lambda k: (digits[k], found.margin.high[k]))
            rows = [group.table.row(int(k), named=True) for group in groups]
        row = {name: value for name, value in rows[0].items() if name != "_row"}
        if len(rows) > 1:
            row["followed_by"] = [
                {name: value for name, value in other.items() if name != "_row"}
                for other in rows[1:]
            ]
        return row

    def _counts(self, groups: Sequence[Cells]) -> np.ndarray:
        """Whether the claim speaks about every cell of a window."""
        good = np.ones(len(groups[0]), bool)
        for group in groups:
            counted = weigh(
                dataclasses.replace(self.claim, along=None, margin=lambda cells: cells.gap),
                group.table,
            ).counted
            good &= np.isin(np.arange(len(good)), counted)
        return good

    def _round_windows(self, places: list[int], rows: list[dict[str, Any]]) -> list[Spots]:
        """Windows with rounded values, as one list of cells for each of their positions."""
        names, along = list(self.space.ranges), self.claim.along
        free: list[tuple[str, int | None]] = []  # what moves on its own: an axis, or a cell's own
        for name in names:
            free += [(name, k) for k in range(len(rows))] if name == along else [(name, None)]
        values = [_simpler(self.space.ranges[name], rows[k or 0][name]) for name, k in free]
        spots = []
        for position in range(len(rows)):
            chosen = [
                [
                    value
                    for (name, k), value in zip(free, each, strict=True)
                    if k in (None, position)
                ]
                for each in itertools.product(*values)
            ]
            values_here = np.array(chosen).reshape(len(chosen), len(names))
            spots.append(Spots([places[position]] * len(chosen), values_here))
        good = np.logical_and.reduce([self._admitted(each) for each in spots])
        if along in names:
            axis = names.index(along)
            for before, after in itertools.pairwise(spots):
                good &= before.values[:, axis] < after.values[:, axis]
        return [each[good] for each in spots]


def _uncertified(table: pl.DataFrame) -> np.ndarray:
    gap = table["gap"].to_numpy()
    return np.isfinite(gap) & (gap > GAP_TOLERANCE)


def _better(table: pl.DataFrame, rows: np.ndarray, again: pl.DataFrame) -> pl.DataFrame:
    """The table with those rows replaced that came out with a smaller gap."""
    better = again["gap"].to_numpy() < table["gap"].to_numpy()[rows]
    places = np.arange(len(table))
    places[rows[better]] = len(table) + np.flatnonzero(better)
    return join([table, again])[places]


def _simpler(axis: Range, value: float) -> list[float]:
    """The value, and values near it with fewer digits, the roundest first."""
    found: dict[float, None] = {}
    for digits in range(ROUND_DIGITS + 1):
        scale = 10**digits
        for rounding in (round, math.floor, math.ceil):
            rounded = round(rounding(value * scale) / scale, digits)
            if rounded in axis:
                found[rounded] = None
    return [*list(found)[:ROUND_CHOICES], value]


def _digits(values: np.ndarray) -> np.ndarray:
    """(B,) characters that it takes to write the values."""
    return np.array(
        [
            sum(
                len(f"{value:g}" if value == float(f"{value:g}") else repr(value))
                for value in map(float, row)
            )
            for row in values
        ]
    )


def snippet(claim: Claim, row: dict[str, Any]) -> str:
    """Python that solves and certifies a counterexample again."""
    made_by = claim.domain.loss
    name, lines = getattr(made_by, "__name__", "loss"), ["import jax", "import ssem_jax as sx"]
    known = made_by is SupCL or getattr(sys.modules.get("ssem_jax"), name, None) is made_by
    if not known:
        lines.append(f"from {made_by.__module__} import {name}")
    call = f"sx.{name}" if known else name
    lines.append('jax.config.update("jax_enable_x64", True)')
    for cell in (row, *row.get("followed_by", ())):
        hyper = [key for key in hyper_names(made_by) if cell.get(key) is not None]
        written = [_written(key, cell, made_by) for key in hyper]
        lines += [line for line, _ in written if line and line not in lines]
        arguments = ", ".join(f"{key}={w}" for key, (_, w) in zip(hyper, written, strict=True))
        sizes = sizes_of(cell["sizes"])
        lines += [
            f"structure = sx.ClassStructure({sizes}, num_views={cell['num_views']})",
            f"problem = sx.Problem(structure, dim={cell['dim']}, loss={call}({arguments}))",
            f"cell = sx.certify(sx.solve(problem, jax.random.key({cell['seed']}), "
            f"num_starts={max(cell['starts'] or 2, 2)}))",
            f"print(cell.gap)  # {cell['gap']:.1e}",
        ]
        if f"{claim.quantity}_lo" in cell:
            low, high = cell[f"{claim.quantity}_lo"], cell[f"{claim.quantity}_hi"]
            lines.append(f'print(cell.brackets["{claim.quantity}"])  # {low:.6g} to {high:.6g}')
    return "\n".join(lines)


def _written(name: str, row: dict[str, Any], made_by: Callable[..., GramLoss]) -> tuple[str, str]:
    """A hyper-parameter of a row as Python, and a line that it needs before it."""
    held = row[name]
    if not isinstance(held, str):
        return "", repr(held)
    if not held.startswith("<"):
        word = choice_of(held) == held
        return "", repr(held) if word else held
    choice = getattr(problem_of(row, made_by).loss, name, None)
    owner = type(choice) if isinstance(choice, enum.Enum) else choice
    place, called = getattr(owner, "__module__", ""), getattr(owner, "__qualname__", "<>")
    if not called.isidentifier():
        return f"# {name} is {held}: make it as the file of the conjecture does", name
    used = f"{called}.{choice.name}" if isinstance(choice, enum.Enum) else called
    return f"from {place} import {called}", used


def one_line(error: BaseException, file: str = "") -> str:
    """An exception in one line, with the last place in a file that it came from."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.endswith(file)]
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if isinstance(error, SyntaxError) or not frames:
        return text
    return f"{text} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
