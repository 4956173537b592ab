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
import itertools
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ssem_jax.claims.cells import Cells, ClaimError
from ssem_jax.claims.claim import Claim, Domain, Theorem, Verdict
from ssem_jax.claims.judgements import Weighed, judge, judge_theorem, weigh, weigh_groups
from ssem_jax.claims.snippets import digits_of, is_better, one_line, simpler, snippet, uncertified
from ssem_jax.claims.source import Source
from ssem_jax.claims.space import FINEST, Space, Spots
from ssem_jax.claims.trial import DEFAULT_BUDGET, Budget, Explored, Trial
from ssem_jax.problem.validation import check_type
from ssem_jax.sweeps.folder import RunError
from ssem_jax.sweeps.table import fixed_columns, join

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

_EMPTY = "{}: no cell of its domain counts; widen it or its conditions."


def search(
    claim: Claim | Theorem,
    budget: Budget | int | str = DEFAULT_BUDGET,
    source: Source | None = None,
) -> Trial:
    """Judge a conjecture on its space, adaptively.

    Args:
        claim: with a :class:`ssem_jax.Space` as its domain; a :class:`ssem_jax.claims.Domain` of
            grids is judged as it is, and a theorem is proven.
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
        counted = [row for row in rows if row is not None and np.isfinite(self.scores[row])]
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
        open_ = first + np.flatnonzero(uncertified(table) & self.undecided[first:])
        if open_.size:
            again = self._rows_of(spots[inside][open_ - first], RETRY_STARTS, 1)
            self.table = is_better(self.table, open_, again)
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
        spots = [
            [at[int(group.table["_row"][k])] for group in weighed.groups]
            for k in range(len(weighed.groups[0]))
        ]
        windows = [[place for place, _ in window] for window in spots]
        inside = np.array([set(window) <= places for window in windows])
        refuted = weighed.refuted & inside
        candidates = np.flatnonzero(refuted if refuted.any() else weighed.refuted)
        best = int(candidates[np.argmin(weighed.margin.high[candidates])])
        values = self.space.spots(*zip(*spots[best], strict=True)).values
        rows = [self._row(group, best, v) for group, v in zip(weighed.groups, values, strict=True)]
        tried = self._round_windows(windows[best], rows)
        groups = [Cells(self._rows_of(spots), self.space.loss) for spots in tried]
        found = weigh_groups(self.claim, tuple(groups))
        refuted = np.flatnonzero(found.refuted & self._counts(groups))
        if refuted.size:
            digits = np.sum([digits_of(spots.values) for spots in tried], axis=0)
            k = min(refuted, key=lambda k: (digits[k], found.margin.high[k]))
            values = [spots.values[int(k)] for spots in tried]
            rows = [self._row(group, int(k), v) for group, v in zip(groups, values, strict=True)]
        row = {name: value for name, value in rows[0].items() if name != "_row"}
        if len(rows) > 1:
            row["followed_by"] = [
                {name: value for name, value in other.items() if name != "_row"}
                for other in rows[1:]
            ]
        return row

    def _row(self, cells: Cells, row: int, values: np.ndarray) -> dict[str, Any]:
        """A row of a table, and what it was asked for: a function that makes losses may have
        arguments that no loss has."""
        asked = dict(zip(self.space.ranges, values.tolist(), strict=True))
        return asked | cells.table.row(row, named=True)

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
        values = [simpler(self.space.ranges[name], rows[k or 0][name]) for name, k in free]
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
