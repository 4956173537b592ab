"""Claims about optimal embeddings, judged on certified cells.

A claim is a statement, a domain of problems, and a **margin**: a function of certified cells that
is positive where the statement holds. Margins are computed from brackets, so they are intervals
(:mod:`ssem_jax.interval`), and a verdict rests on what is true of *every* near-optimal embedding of
a cell, never on where an optimiser happened to stop:

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
import enum
import os
import re
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import polars as pl

from ssem_jax import theory
from ssem_jax.certificate.certificate import GAP_TOLERANCE
from ssem_jax.certificate.class_blocks import ClassBlocks, gram_functionals, instance_functionals
from ssem_jax.certificate.class_brackets import bracket_reduced
from ssem_jax.interval import EQUALITY_TOLERANCE as EQUALITY_TOLERANCE
from ssem_jax.interval import Equality as Equality
from ssem_jax.interval import Interval as Interval
from ssem_jax.interval import as_interval as as_interval
from ssem_jax.interval import decided as decided
from ssem_jax.interval import equal as equal
from ssem_jax.interval import same_phase as same_phase
from ssem_jax.losses.base import DECLARED, NOT_CONVEX, PROVEN, GramLoss
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.problem import Phase, Problem
from ssem_jax.problem.structure import ClassStructure, full_dimension
from ssem_jax.problem.validation import check_choice, check_count, check_type, shown
from ssem_jax.sweeps.batches import num_cells
from ssem_jax.sweeps.folder import versions
from ssem_jax.sweeps.grid import Grid
from ssem_jax.sweeps.runs import sweep
from ssem_jax.sweeps.table import SHAPE, fixed_columns, hyper_names, in_order, problems, sizes_of

if TYPE_CHECKING:
    from ssem_jax.balls.boxes import BoxProof

T = TypeVar("T")

BOUNDARY_BAND = 1e-3
"""Phase claims leave out cells with |α - α_c| or |α - α_v| under this: there the variance is too
small for `COLLAPSE_TOLERANCE` to tell a phase."""
VALUE_TOLERANCE = GAP_TOLERANCE
"""Predicted and certified minimum agree within this: what the certificate resolves."""


class Verdict(enum.StrEnum):
    """What became of a claim."""

    HOLDS = "HOLDS"
    PROVEN = "PROVEN"
    REFUTED = "REFUTED"
    UNDECIDED = "UNDECIDED"


class ClaimError(ValueError):
    """A claim that cannot be judged as it is written; the message says what is wrong with it."""


class _Codes(np.ndarray):
    """Codes of phases. Text equals none of them, which numpy would say without a word."""

    def __eq__(self, other: Any) -> Any:
        return np.asarray(self) == _codes(other)

    def __ne__(self, other: Any) -> Any:
        return np.asarray(self) != _codes(other)

    __hash__ = None  # pyright: ignore[reportAssignmentType]


def _codes(value: Any) -> np.ndarray:
    codes = np.asarray(value)
    if codes.dtype.kind not in "iuf":
        raise TypeError(
            f"phases are codes: compare them with sx.Phase.COLLAPSE and so on, not with {value!r}."
        )
    return codes


class Cells:
    """Certified cells as arrays, for margins and conditions.

    Coordinates (arrays of floats): num_classes, num_instances (nan where classes differ in size),
    num_views, dim, alpha, temperature and whatever other hyper-parameters the loss has; self_pairs
    and mean (arrays of str); class_sizes, (B, m). Brackets (:class:`Interval`): delta2,
    view_variance, mean_squared, within_similarity, between_similarity, total_variance,
    between_variance, and minimum, the minimal loss; by class, for classes of any sizes,
    class_delta2 (B, m) and class_products (B, m(m-1)/2). Further: gap, certified, phase (codes of
    :class:`ssem_jax.Phase`), and `found`, the table's own columns for the embeddings at hand.

    Args:
        table: rows of :func:`ssem_jax.sweeps.sweep`.
        loss: what made their losses, by keyword; SupCL if not given.

    Attributes:
        read: what was asked of them that is no coordinate.
    """

    COORDINATES = ("num_classes", "num_instances", "num_views", "dim", "alpha", "temperature")
    BRACKETS = (
        "delta2",
        "view_variance",
        "mean_squared",
        "within_similarity",
        "between_similarity",
    )

    def __init__(self, table: pl.DataFrame, loss: Callable[..., GramLoss] = SupCL) -> None:
        check_type("table", table, pl.DataFrame, "a table of ssem_jax.sweep")
        if not callable(loss):
            raise ValueError(f"loss must be what makes a loss, as SupCL; got {shown(loss)}.")
        self.table, self.loss = table, loss
        self.read: set[str] = set()

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, rows: Any) -> Cells:
        chosen = Cells(self.table[rows], self.loss)
        chosen.read = self.read
        return chosen

    def __getattr__(self, name: str) -> Any:
        # A copy that is being made has no table yet, and asks for methods that there are not.
        if name == "table" or name.startswith("__"):
            raise AttributeError(name)
        columns = self.table.columns
        if name in self.COORDINATES and name in columns:
            return self.table[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        if name not in (*SHAPE, "loss", "loss_code", *hyper_names(self.loss)):
            self.read.add(name)
        if name in self.BRACKETS and f"{name}_lo" in columns:
            return Interval(
                self.table[f"{name}_lo"].to_numpy(), self.table[f"{name}_hi"].to_numpy()
            )
        if name in columns:
            return self.table[name].to_numpy()
        brackets = [name for name in self.BRACKETS if f"{name}_lo" in columns]
        raise AttributeError(
            f"cells have no {name!r}; they have {', '.join([*brackets, *columns])}."
        )

    @property
    def found(self) -> pl.DataFrame:
        """What the embeddings at hand are like; of the optimum it says only what `gap` allows."""
        self.read.add("found")
        return self.table.select("value", "delta2", "view_variance", "between_variance")

    @property
    def class_sizes(self) -> np.ndarray:
        """(B, m) class sizes, of cells that all have m classes."""
        return np.array([sizes_of(text) for text in self.table["sizes"]])

    @property
    def class_delta2(self) -> Interval:
        """(B, m) variance of the instance means within each class."""
        return self._by_class(instance_functionals)

    @property
    def class_products(self) -> Interval:
        """(B, m(m-1)/2) inner products of the class means k < l, in row order."""
        return self._by_class(gram_functionals)

    def _by_class(self, functionals_of: Callable[[int], ClassBlocks]) -> Interval:
        """(B, K) brackets over all embeddings at least as good as those found.

        Cells of fewer classes repeat their last entry, which changes no minimum or maximum.
        """
        self.read.add("brackets by class")
        low, high = [np.array([])] * len(self), [np.array([])] * len(self)
        for rows, problem in self.problems():
            functionals = functionals_of(problem.structure.num_classes)
            found = bracket_reduced(problem, self.minimum.high[rows], functionals)
            for row, *ends in zip(rows, *map(np.atleast_2d, found), strict=True):
                low[row], high[row] = ends
        width = max(map(len, low))
        pad = [np.pad(ends, (0, width - len(ends)), mode="edge") for ends in (*low, *high)]
        return Interval(np.array(pad[: len(self)]), np.array(pad[len(self) :]))

    def problems(self) -> Iterator[tuple[list[int], Problem]]:
        """The cells as batches of one shape and loss, with their rows.

        Raises:
            ValueError: `loss` does not make the losses of the table.
        """
        return problems(self.table, self.loss)

    @property
    def phase(self) -> np.ndarray:
        """(B,) codes of :class:`ssem_jax.Phase`."""
        self.read.add("phase")
        return np.array([Phase[name.upper()] for name in self.table["phase"]], int).view(_Codes)

    @property
    def minimum(self) -> Interval:
        """The minimal loss over all embeddings: between the bound and what was found."""
        self.read.add("minimum")
        value, gap = self.table["value"].to_numpy(), self.table["gap"].to_numpy()
        lower = self.table["lower"].to_numpy()
        bounded = np.isfinite(lower)  # it is not where a loss is not convex
        above = np.where(bounded, lower, value) + np.where(bounded, gap, 0)
        return Interval(lower, np.maximum(value, above))

    @property
    def total_variance(self) -> Interval:
        """1 - the squared norm of the global mean."""
        return 1 - self.mean_squared

    @property
    def between_variance(self) -> Interval:
        """What views, instances and the global mean leave of 1."""
        return 1 - (self.mean_squared + self.delta2 + self.view_variance)

    @property
    def certified(self) -> np.ndarray:
        """(B,) whether the gap is within `GAP_TOLERANCE`."""
        return self.gap <= GAP_TOLERANCE

    def predict(self, function: Callable[..., Any]) -> Any:
        """A closed form of :mod:`ssem_jax.theory` at every cell.

        Args:
            function: takes (m, n, p, alpha, temperature, self_pairs=...), as `theory.delta2` does.
        """
        return self._by_convention(
            lambda cell, convention: function(
                cell.num_classes,
                cell.num_instances,
                cell.num_views,
                cell.alpha,
                cell.temperature,
                self_pairs=convention,
            )
        )

    def boundary(self, function: Callable[..., Any]) -> Any:
        """A boundary of the phase diagram (`theory.alpha_c` or `alpha_v`) at every cell."""
        return self._by_convention(
            lambda cell, convention: function(
                cell.num_classes,
                cell.num_instances,
                cell.num_views,
                cell.temperature,
                self_pairs=convention,
            )
        )

    def near_boundary(self) -> np.ndarray:
        """Whether α is within `BOUNDARY_BAND` of a phase boundary."""
        near = np.zeros(len(self), bool)
        for function in (theory.alpha_c, theory.alpha_v):
            near |= np.abs(self.alpha - self.boundary(function)) < BOUNDARY_BAND
        return near

    def _by_convention(self, predict: Callable[[Cells, str], Any]) -> np.ndarray:
        values = np.zeros(len(self))
        for convention in self.table["self_pairs"].unique():
            chosen = (self.table["self_pairs"] == convention).to_numpy()
            values[chosen] = np.asarray(predict(self[np.flatnonzero(chosen)], convention))
        return values


SIZES = ("quick", "default", "full")
"""Of a domain."""


@dataclasses.dataclass(frozen=True)
class Domain:
    """Problems that a claim is judged on, in three sizes.

    Args:
        grids: the default size.
        quick: a smaller one (the default size if not given).
        full: a larger one (likewise).
    """

    grids: tuple[Grid, ...]
    quick: tuple[Grid, ...] | None = None
    full: tuple[Grid, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("grids", "quick", "full"):
            grids = getattr(self, name)
            if grids is None and name != "grids":
                continue
            object.__setattr__(self, name, tuple(_each(grids, Grid)))

    def problems(self, size: str = "default") -> list[Problem]:
        """The problems of a size: "quick", "default" or "full"."""
        check_choice("size", size, SIZES)
        grids = {"quick": self.quick, "full": self.full}.get(size) or self.grids
        return [problem for grid in grids for problem in grid.problems()]

    @property
    def loss(self) -> Callable[..., GramLoss]:
        """What makes the losses of its cells, by keyword; SupCL where its grids differ in it."""
        losses = {grid.loss for grid in self.grids}
        return losses.pop() if len(losses) == 1 else SupCL


Condition = Callable[[Cells], np.ndarray]


LONGEST_NAME = 100
"""Characters of a claim's name: with an ending, and four bytes a character, still a file's name."""


def check_name(name: Any) -> None:
    """Raise a ValueError unless a claim may be called so: it becomes the name of a file, too."""
    fits = isinstance(name, str) and len(name) <= LONGEST_NAME
    if not fits or not re.fullmatch(r"\w[\w-]*", name):
        raise ValueError(
            f"a claim's name must be up to {LONGEST_NAME} letters, digits, underscores or dashes, "
            f"as low_alpha; got {shown(name)}."
        )


def _check_said(claim: Claim | Theorem) -> None:
    """Name, statement and expectation; an expected verdict may be given as its text."""
    check_name(claim.name)
    check_type(f"the statement of {claim.name}", claim.statement, str, "a text")
    if claim.expected is not None:
        verdicts = tuple(map(str, Verdict))
        check_choice(f"the expected verdict of {claim.name}", claim.expected, verdicts)
        object.__setattr__(claim, "expected", Verdict(claim.expected))


def _check_function(name: str, what: str, function: Any) -> None:
    if not callable(function) or isinstance(function, type):
        raise ValueError(f"{name}: its {what} must be a function; got {shown(function)}.")


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement about optimal embeddings.

    Args:
        name: an identifier: letters, digits, underscores and dashes.
        statement: in words and formulas, with every quantifier.
        margin: cells → interval or array, positive where the statement holds. With `along`, it
            takes `window` arguments: cells that follow one another along that coordinate while
            all others are equal.
        domain: where it is judged.
        source: who says so: author, year, theorem.
        where: cells that the statement speaks about (all if not given).
        exclude: cells that are left out and counted apart, for example near a boundary.
        along: a coordinate to compare cells along.
        window: cells compared at once.
        closed: whether a margin of exactly 0 holds, too: for ≤ and ≥. Without it, the statement is
            strict, and 0 is undecided.
        expected: the verdict that theory gives; None for a conjecture.
        quantity: the bracket of :class:`Cells` that the statement is about, for pictures.

    Raises:
        ValueError: a name that is no identifier, an unknown verdict, or what is no function, no
            domain or no window where one is needed.
    """

    name: str
    statement: str
    margin: Callable[..., Any]
    domain: Domain
    source: str = ""
    where: Condition | None = None
    exclude: Condition | None = None
    along: str | None = None
    window: int = 2
    closed: bool = False
    expected: Verdict | None = None
    quantity: str = "delta2"

    def __post_init__(self) -> None:
        _check_said(self)
        _check_function(self.name, "margin", self.margin)
        for what in ("where", "exclude"):
            if getattr(self, what) is not None:
                _check_function(self.name, what, getattr(self, what))
        if not callable(getattr(self.domain, "problems", None)) or isinstance(self.domain, type):
            raise ValueError(
                f"{self.name}: its domain must be a Space or a Domain; got {shown(self.domain)}."
            )
        object.__setattr__(self, "window", check_count(f"{self.name}: window", self.window, 1))
        for what in ("source", "quantity", *(("along",) if self.along is not None else ())):
            check_type(f"{self.name}: {what}", getattr(self, what), str, "a text")


@dataclasses.dataclass(frozen=True)
class Proof:
    """What the procedure of a theorem came to, and what it looked at.

    Attributes:
        proven: the statement holds on the whole of its domain.
        refuted: a point at which it is proven to fail, or None.
        boxes: of parameters, each decided at once.
        enclosures: single points, each decided by balls.
        signs: of exact numbers, where nothing but them decides.
        cells: certified in float64.
        undecided: boxes, points or cells on which nothing was decided.
        left_out: a neighbourhood that the statement leaves out, in words.
        widths: of those enclosures that are of the minimum.
        gaps: of the cells.
        parts: the box proofs that it is made of, with what each is about.
        rigorous: whether comparisons of balls, integers and rationals decided everything; only
            then is the statement PROVEN. Certified cells in float64 make it HOLD.
    """

    proven: bool
    refuted: dict[str, Any] | None = None
    boxes: int = 0
    undecided: tuple[Any, ...] = ()
    left_out: str = ""
    widths: tuple[float, ...] = ()
    parts: tuple[tuple[str, BoxProof], ...] = ()
    rigorous: bool = False
    enclosures: int = 0
    signs: int = 0
    cells: int = 0
    gaps: tuple[float, ...] = ()

    @property
    def width(self) -> float | None:
        """The widest enclosure."""
        return max(self.widths, default=None)

    @property
    def looked_at(self) -> str:
        """What was decided or not, counted in words."""
        names = ("boxes", "enclosures", "signs", "cells")
        counts = [(getattr(self, name), name) for name in names]
        return ", ".join(_counted(count, name) for count, name in counts if count) or "no cells"

    @classmethod
    def of_boxes(cls, left_out: str = "", **parts: BoxProof) -> Proof:
        """Several box proofs as one; the keywords name them."""
        proofs = list(parts.values())
        refuted = [proof.refuted for proof in proofs if proof.refuted is not None]
        return cls(
            all(proof.proven for proof in proofs),
            refuted[0] if refuted else None,
            sum(proof.boxes for proof in proofs),
            tuple(box for proof in proofs for box in proof.undecided),
            left_out,
            parts=tuple((name.replace("_", " "), proof) for name, proof in parts.items()),
            rigorous=True,
        )


_ONE = {"boxes": "box", "enclosures": "enclosure", "signs": "sign", "cells": "cell"}


def _counted(count: int, names: str) -> str:
    """For example "1,234 boxes"."""
    return f"{count:,} {_ONE[names] if count == 1 else names}"


@dataclasses.dataclass(frozen=True)
class Plane:
    """The (τ, α) plane of one shape, over which a theorem can be drawn.

    Attributes:
        num_classes: m.
        num_instances: n.
        num_views: p.
        self_pairs: convention.
        band: distance from the boundaries, in α, that the theorem leaves out.
        point: (τ, α) of a counterexample.
    """

    num_classes: int
    num_instances: int
    num_views: int = 1
    self_pairs: str = "include"
    band: float = 0.0
    point: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Theorem:
    """A statement with a procedure of its own: a proof in ball arithmetic, or certified cells.

    Args:
        name: an identifier: letters, digits, underscores and dashes.
        statement: with every quantifier.
        prove: runs the proof.
        source: who says so.
        expected: PROVEN, HOLDS (where the procedure is no proof), or REFUTED.
        plane: what to draw it over; None for its box alone.

    Raises:
        ValueError: a name that is no identifier, an unknown verdict, or no function.
    """

    name: str
    statement: str
    prove: Callable[[], Proof]
    source: str = ""
    expected: Verdict | None = Verdict.PROVEN
    plane: Plane | None = None

    def __post_init__(self) -> None:
        _check_said(self)
        _check_function(self.name, "proof", self.prove)


@dataclasses.dataclass(frozen=True)
class Judgement:
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
        return _counted(self.cells, "cells") if self.proof is None else self.proof.looked_at

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
        place = traceback.extract_tb(error.__traceback__)[-1]
        line = " ".join(str(error).split())
        raise ClaimError(
            f"{claim.name}: {what} raised {type(error).__name__}: {line} "
            f"({os.path.basename(place.filename)}, line {place.lineno})"
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
    margin = claim.margin(Cells(cells))
    if not isinstance(margin, Equality):
        raise ValueError(f"{claim.name} predicts no number; give a claim made with `equal`.")
    return np.broadcast_to(margin.predicted, len(cells))


def judge_theorem(theorem: Theorem) -> Judgement:
    """Run the proof of a theorem."""
    proof = theorem.prove()
    if proof.refuted is not None:
        verdict, reason = Verdict.REFUTED, ""
    elif proof.proven and not proof.undecided:
        verdict = Verdict.PROVEN if proof.rigorous else Verdict.HOLDS
        reason = f"left out: {proof.left_out}" if proof.left_out else ""
    else:
        verdict = Verdict.UNDECIDED
        first = proof.undecided[0] if proof.undecided else "the proof did not close"
        reason = f"{len(proof.undecided)} of {proof.looked_at} undecided, the first: {first}"
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


_SHORT = {"temperature": "tau"}


def coordinates(row: dict[str, Any], loss: Callable[..., GramLoss] = SupCL) -> str:
    """A row of the table as the coordinates of its cell, in one line."""
    balanced = row["num_instances"] is not None
    shape = (
        f"m={row['num_classes']}, n={row['num_instances']}" if balanced else f"sizes={row['sizes']}"
    )
    hyper = {name: row[name] for name in hyper_names(loss) if row.get(name) is not None}
    written = [
        f"{_SHORT.get(name, name)}={value:.6g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in hyper.items()
    ]
    return ", ".join([shape, f"p={row['num_views']}", f"d={row['dim']}", *written])


def _describe(cells: Cells, row: int) -> str:
    return coordinates(cells.table.row(row, named=True), cells.loss)


def collect(modules: Iterable[ModuleType]) -> list[Claim]:
    """All claims that modules define at their top level, by themselves or in lists, in order.

    Raises:
        ValueError: two claims, or a claim and a theorem, of one name.
    """
    return _defined(modules, Claim)


def collect_theorems(modules: Iterable[ModuleType]) -> list[Theorem]:
    """All theorems that modules define at their top level, likewise.

    Raises:
        ValueError: two claims, or a claim and a theorem, of one name.
    """
    return _defined(modules, Theorem)


def _defined(modules: Iterable[ModuleType], kind: type[T]) -> list[T]:
    """What is of a kind; of one claim under two names, as imports make them, the first counts."""
    found: dict[str, tuple[Claim | Theorem, str]] = {}
    for module in modules:
        for place, value in _values(module):
            first, where = found.setdefault(value.name, (value, place))
            if first is not value:
                raise ValueError(
                    f"two claims are called {value.name}: {where} and {place}; rename one, or one "
                    "of them is never judged."
                )
    return [claim for claim, _ in found.values() if isinstance(claim, kind)]


def _values(module: ModuleType) -> Iterator[tuple[str, Claim | Theorem]]:
    """The claims and theorems at the top level of a module, with their places."""
    for name, value in vars(module).items():
        place = f"{module.__name__}.{name}"
        held = {"": value}
        if isinstance(value, dict):
            held = {f"[{key!r}]": each for key, each in value.items()}
        elif isinstance(value, (list, tuple)):
            held = {f"[{index}]": each for index, each in enumerate(value)}
        for key, each in held.items():
            if isinstance(each, (Claim, Theorem)):
                yield place + key, each


@dataclasses.dataclass(frozen=True)
class Report:
    """All claims of a collection, judged.

    Attributes:
        judgements: one for each claim.
        table: every cell, with the column `attainable`: whether its dimension admits the
            unconstrained optimum.
        seconds: wall time.
        seed: of the random starts.
        size: of the domains: "quick", "default" or "full".
    """

    judgements: list[Judgement]
    table: pl.DataFrame
    seconds: float
    seed: int = 0
    size: str = "default"

    @property
    def as_expected(self) -> bool:
        """Whether every verdict is as expected."""
        return all(judgement.as_expected for judgement in self.judgements)

    @property
    def widest_enclosure(self) -> float | None:
        """The widest enclosure of a minimum among all theorems."""
        widths = [j.proof.width for j in self.judgements if j.proof is not None]
        return max((width for width in widths if width is not None), default=None)

    def to_json(self) -> dict[str, Any]:
        """The document that `ssem verify --json` prints."""
        attainable = self.table.filter(pl.col("attainable"))
        apart = self.table.filter(~pl.col("attainable"))
        return {
            "claims": [judgement.to_json() for judgement in self.judgements],
            "cells": len(attainable),
            "certified": int((attainable["gap"] <= GAP_TOLERANCE).sum()),
            "worst_gap": float(attainable["gap"].max()) if len(attainable) else None,
            "low_dimensional": {
                "cells": len(apart),
                "worst_gap": float(apart["gap"].max()) if len(apart) else None,
            },
            "as_expected": self.as_expected,
            "seconds": self.seconds,
            "seed": self.seed,
            "size": self.size,
            "versions": versions(),
        }


def verify(
    claims: Sequence[Claim],
    *,
    theorems: Sequence[Theorem] = (),
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
        progress: called with the number of newly finished cells.

    Raises:
        ValueError: an unknown size, two claims of one name, what is no claim; and what
            :func:`ssem_jax.sweep` raises.
    """
    begun = time.perf_counter()
    check_choice("size", size, SIZES)
    claims, theorems = _each(claims, Claim), _each(theorems, Theorem)
    _check_distinct([*claims, *theorems])
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
    judgements += [judge_theorem(theorem) for theorem in theorems]
    table = table.with_columns(attainable=pl.Series(attainable(Cells(table)), dtype=pl.Boolean))
    return Report(judgements, table, time.perf_counter() - begun, seed, size)


def _each(given: Any, kind: type[T]) -> list[T]:
    """What is given, as a list; a single one is a list of one.

    Raises:
        ValueError: one that is of another kind.
    """
    several = list(given) if isinstance(given, Iterable) else [given]
    for each in several:
        check_type(f"every {kind.__name__.lower()}", each, kind, f"a {kind.__name__}")
    return several


def _check_distinct(claims: Iterable[Claim | Theorem]) -> None:
    """Raise a ValueError where two share a name: verdicts are kept by name."""
    names = Counter(claim.name for claim in claims)
    if names and max(names.values()) > 1:
        raise ValueError(f"two claims are called {names.most_common(1)[0][0]}; rename one.")


def unique_domains(claims: Iterable[Claim]) -> list[Domain]:
    """The domains of claims, each once."""
    return list({id(claim.domain): claim.domain for claim in claims}.values())


def attainable(cells: Cells) -> np.ndarray:
    """Whether the dimension of each cell admits the unconstrained optimum of its phase.

    For unequal classes, whether it admits that of every phase.
    """
    balanced = np.isfinite(cells.num_instances)
    if not balanced.all():
        found = np.zeros(len(cells), bool)
        found[balanced] = attainable(Cells(cells.table.filter(balanced)))
        rows = cells.table.select("sizes", "num_views", "self_pairs", "dim").rows()
        for row in np.flatnonzero(~balanced):
            sizes, num_views, self_pairs, dim = rows[row]
            structure = ClassStructure(sizes_of(sizes), num_views)
            found[row] = dim >= full_dimension(structure, self_pairs)
        return found
    m, n, p = cells.num_classes, cells.num_instances, cells.num_views
    needed = np.select(
        [cells.predict(theory.phase) == phase for phase in (Phase.COLLAPSE, Phase.SPREAD)],
        [m - 1, m * n - 1],
        m * n * (p - 1) + m - 1,
    )
    return cells.dim >= needed
