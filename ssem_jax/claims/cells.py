"""Certified cells as a margin sees them: brackets, coordinates, predictions."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl

from ssem_jax import theory
from ssem_jax.certificate.certificate import GAP_TOLERANCE
from ssem_jax.certificate.reduced import bracket_classes
from ssem_jax.certificate.symmetry.programs import bracket_similarity
from ssem_jax.claims.interval import Interval
from ssem_jax.geometry.shares import full_dimension, rank_in
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.problem import Phase, Problem
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import check_type, shown
from ssem_jax.sweeps.table import LEAST, SHAPE, hyper_names, problems, sizes_of

BOUNDARY_BAND = 1e-3
"""Phase claims leave out cells with |α - α_c| or |α - α_v| under this: there the variance is too
small for `COLLAPSE_TOLERANCE` to tell a phase."""

PREDICTED_CELLS = 1024
"""Cells that a closed form is evaluated at at once, filled up if need be: it compiles for each
number of cells that it is given."""


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
    class_delta2 (B, m) and class_products (B, m(m-1)/2); by kind of pairs, similarity(kind).
    Further: gap, certified, phase (codes of
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
        if name not in (*SHAPE, LEAST, "loss", "loss_code", *hyper_names(self.loss)):
            self.read.add(name)
        if name in self.BRACKETS and f"{name}_lo" in columns:
            return Interval(
                self.table[f"{name}_lo"].to_numpy(), self.table[f"{name}_hi"].to_numpy()
            )
        if name in columns:
            return self.table[name].to_numpy()
        raise AttributeError(f"cells have no {name!r}{_nearest(name, self._public())}.")

    def _public(self) -> list[str]:
        """What a margin may ask for."""
        columns = self.table.columns
        brackets = [name for name in self.BRACKETS if f"{name}_lo" in columns]
        own = [name for name in vars(Cells) if not name.startswith("_") and name.islower()]
        names = dict.fromkeys((*brackets, *own, *columns))
        return [name for name in names if not name.startswith("_")]

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
        return self._by_class(products=False)

    @property
    def class_products(self) -> Interval:
        """(B, m(m-1)/2) inner products of the class means k < l, in row order."""
        return self._by_class(products=True)

    def _by_class(self, products: bool) -> Interval:
        """(B, K) brackets over all embeddings at least as good as those found.

        Cells of fewer classes repeat their last entry, which changes no minimum or maximum.
        """
        self.read.add("brackets by class")
        low, high = [np.array([])] * len(self), [np.array([])] * len(self)
        for rows, problem in self.problems():
            found = bracket_classes(problem, self.minimum.high[rows], products)
            for row, *ends in zip(rows, *map(np.atleast_2d, found), strict=True):
                low[row], high[row] = ends
        width = max(map(len, low))
        pad = [np.pad(ends, (0, width - len(ends)), mode="edge") for ends in (*low, *high)]
        return Interval(np.array(pad[: len(self)]), np.array(pad[len(self) :]))

    def similarity(self, kind: str) -> Interval:
        """(B,) mean similarity of the pairs of a kind, of losses that say their terms.

        Args:
            kind: "view", "within" or "between"; of two towers also as "other·self" (the matched
                pair) or "self·within"; or with class sizes, as "between (8 to 4)" and "within
                (feature 3 to prototype 3)". What is unknown is answered by a list.

        Raises:
            ValueError: there are no such pairs, or the loss does not say its terms.
        """
        self.read.add("similarities by kind")
        low, high = np.zeros(len(self)), np.zeros(len(self))
        for rows, problem in self.problems():
            losses, _ = problem.cells()
            found = bracket_similarity(
                losses, problem.structure, self.minimum.high[rows], kind, problem.least
            )
            low[rows], high[rows] = found
        return Interval(low, high)

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
            rows = np.flatnonzero((self.table["self_pairs"] == convention).to_numpy())
            for first in range(0, len(rows), PREDICTED_CELLS):
                some = rows[first : first + PREDICTED_CELLS]
                filled = np.pad(some, (0, PREDICTED_CELLS - len(some)), mode="edge")
                values[some] = np.asarray(predict(self[filled], convention))[: len(some)]
        return values


Condition = Callable[[Cells], np.ndarray]


def _nearest(name: str, names: list[str]) -> str:
    """What there is instead, the likeliest first."""
    near = difflib.get_close_matches(name, names, 1)
    hint = f" (do you mean {near[0]}?)" if near else ""
    return f"{hint}; they have {', '.join(names)}"


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
    return cells.dim >= rank_in(cells.predict(theory.phase), m, m * n, p)
