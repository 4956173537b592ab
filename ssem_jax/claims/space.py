"""Where a conjecture lives: shapes as lists, hyper-parameters as lists and ranges, constraints.

A :class:`Space` is the product of class structures, dimensions, conventions and hyper-parameters,
less the cells that its constraint leaves out. Ranges are continuous axes, which a search refines
where it pays; everything else is a list. All cells that agree in everything but their ranges form a
**slice**: a box with one axis for each range.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np
import polars as pl

from ssem_jax.claims.cells import Cells, ClaimError, Condition
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.problem import Problem, checked_least
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import check_choice, check_count, check_type, concrete, shown
from ssem_jax.sweeps.grid import dim_of
from ssem_jax.sweeps.table import SCHEMA, is_static, shape_columns, text_of

FINEST = 2**24
"""Steps that an axis is divided into at the finest: cells are named by integers, so that the same
place is the same cell however a search came to it."""


LEVELS = {"quick": 2, "default": 3, "full": 5}
"""Halvings of every range in a regular grid, by its size."""


@dataclasses.dataclass(frozen=True)
class Range:
    """An interval of a hyper-parameter, with both ends.

    Args:
        low: the lower end.
        high: the upper end.
        log: whether equal steps are equal ratios.

    Raises:
        ValueError: ends that are not finite or not in order, or log with an end that is not
            positive.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            end = concrete(getattr(self, name), f"{name} of a range")
            if end is None or end.shape:
                raise ValueError(f"{name} of a range must be one number; got {shown(end)}.")
        check_type("log of a range", self.log, bool, "True or False")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(
                f"a range needs finite ends low < high; got Range({self.low}, {self.high}). "
                "Give a single value as a number."
            )
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range needs positive ends; got low = {self.low}.")

    def at(self, steps: Any) -> np.ndarray:
        """The values at integer steps from 0 (low) to `FINEST` (high)."""
        steps = np.asarray(steps)
        share = steps / FINEST
        if self.log:
            values = self.low * (self.high / self.low) ** share
        else:
            values = self.low + share * (self.high - self.low)
        return np.where(steps == FINEST, self.high, values)

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


class Slice(NamedTuple):
    """Cells that differ in their ranges alone.

    Attributes:
        structure: class structure.
        dim: embedding dimension.
        choices: static choices of the loss, as (name, value).
        fixed: hyper-parameters that are lists in the space, as (name, value).
        least: the least that similarities may be, if bounded.
    """

    structure: ClassStructure
    dim: int
    choices: tuple[tuple[str, Any], ...]
    fixed: tuple[tuple[str, float], ...]
    least: float | None = None

    @property
    def size(self) -> tuple[int, ...]:
        """What makes a counterexample small: embeddings, then classes, views and dimension."""
        shape = self.structure
        return (shape.num_embeddings, shape.num_classes, shape.num_views, self.dim)


class Spots(NamedTuple):
    """Cells of a space: slices, and the values of the ranges in the order of `Space.ranges`."""

    slices: list[int]
    values: np.ndarray  # (B, number of ranges)

    # A field is asked for by its name alone, and brackets choose rows.
    def __getitem__(self, rows: Any) -> Spots:  # pyright: ignore[reportIncompatibleMethodOverride]
        rows = np.arange(len(self.slices))[rows]
        return Spots([self.slices[row] for row in rows], self.values[rows])


class Space:
    r"""A product of shapes and hyper-parameters, constrained.

    Args:
        num_classes: m, an integer or a list.
        num_instances: n, an integer or a list.
        num_views: p, an integer or a list.
        sizes: class sizes, as (8, 4, 2) or a list of such; replaces num_classes and num_instances.
        dim: d, an integer, "full" for the smallest that admits every optimum, a function of the
            class structure, or a list of these.
        loss: a loss class, or a function that makes a loss from hyper-parameters by keyword.
        least: the least that the similarity of any two embeddings may be, as 0 where they have no
            negative coordinates; None for no bound; or a list of these.
        where: cells → booleans, from coordinates alone; what it leaves out is never solved, for
            example ``lambda cell: cell.dim >= cell.num_classes``.
        **hyper: hyper-parameters of the loss by name: a :class:`Range`, a number, a list of
            numbers, or, for a static choice such as ``self_pairs``, a string or a list of them. For
            :class:`ssem_jax.SupCL`, alpha is Range(0, 1) and temperature Range(0.05, 5, log=True)
            where they are not given.

    Raises:
        ValueError: an empty list, a hyper-parameter that the loss does not have, or one of its that
            is missing.
    """

    def __init__(
        self,
        *,
        num_classes: Any = (2, 3),
        num_instances: Any = (2, 4),
        num_views: Any = 1,
        sizes: Any = None,
        dim: Any = "full",
        loss: Callable[..., GramLoss] = SupCL,
        least: Any = None,
        where: Condition | None = None,
        **hyper: Any,
    ) -> None:
        if not callable(loss) or isinstance(loss, GramLoss):
            raise ValueError(
                "the loss of a space must be a loss class, or a function that makes a loss, as "
                f"SupCL; got {shown(loss)}. Give its hyper-parameters to the Space."
            )
        if where is not None and not callable(where):
            raise ValueError(f"where must be a function of cells; got {shown(where)}.")
        self.loss, self.where = loss, where
        views = _list("num_views", num_views)
        if sizes is None:
            counts = itertools.product(
                _list("num_classes", num_classes), _list("num_instances", num_instances)
            )
            shapes = [
                (check_count("num_instances", n, 1),) * check_count("num_classes", m, 2)
                for m, n in counts
            ]
        else:
            shapes = _list("sizes", sizes)
            if all(isinstance(size, (int, np.integer)) for size in shapes):
                shapes = [tuple(shapes)]
        self.structures = [ClassStructure(s, p) for s in shapes for p in views]
        self.leasts = [checked_least(each) for each in _list("least", least)]
        self.dims = _list("dim", dim)
        for each in self.dims:
            if each != "full" and not callable(each):
                check_count('dim, where it is not "full" or a function,', each, 1)
        self.hyper = _hyper(loss, hyper)
        self.ranges = {name: v for name, v in self.hyper.items() if isinstance(v, Range)}
        self._check_values()

    def _check_values(self) -> None:
        """Make a loss of every value, and of both ends of every range, the others being first.

        Raises:
            ValueError: the loss refuses one.
        """
        values = {
            name: [axis.low, axis.high] if isinstance(axis, Range) else axis
            for name, axis in self.hyper.items()
        }
        first = {name: each[0] for name, each in values.items()}
        for name, each in values.items():
            for value in each:
                try:
                    self.loss(**first | {name: value})
                except (TypeError, ValueError) as error:
                    raise ValueError(
                        f"{_name(self.loss)} refuses a value of the space: {error}"
                    ) from error

    def __repr__(self) -> str:
        shapes = "; ".join(map(str, self.structures[:4])) + ("; …" * (len(self.structures) > 4))
        return f"Space({shapes}; {', '.join(f'{k}={v}' for k, v in self.hyper.items())})"

    @cached_property
    def slices(self) -> list[Slice]:
        """All slices, the smallest first."""
        lists = {name: v for name, v in self.hyper.items() if not isinstance(v, Range)}
        found, static = [], _static_names(self.loss)
        for structure in self.structures:
            for values in itertools.product(*lists.values()):
                chosen = dict(zip(lists, values, strict=True))
                choices = {k: v for k, v in chosen.items() if k in static or not _is_number(v)}
                fixed = {k: float(v) for k, v in chosen.items() if k not in choices}
                anywhere = {name: axis.low for name, axis in self.ranges.items()}
                loss = self.loss(**anywhere, **fixed, **choices)
                for least in self.leasts:
                    dims = [dimension_of(dim, structure, loss, least) for dim in self.dims]
                    found += [
                        Slice(structure, dim, tuple(choices.items()), tuple(fixed.items()), least)
                        for dim in dict.fromkeys(dims)
                    ]
        return sorted(found, key=lambda each: each.size)

    def spots(self, slices: Iterable[int], steps: Iterable[tuple[int, ...]]) -> Spots:
        """Cells at integer steps of the ranges."""
        slices = list(slices)
        steps = np.array(list(steps), int).reshape(len(slices), len(self.ranges))
        axes = [each.at(steps[:, k]) for k, each in enumerate(self.ranges.values())]
        return Spots(slices, np.stack(axes, axis=1) if axes else np.zeros((len(slices), 0)))

    def admits(self, spots: Spots) -> np.ndarray:
        """(B,) whether the constraint admits the cells, judged from their coordinates."""
        inside = np.ones(len(spots.slices), bool)
        if self.where is None or not len(inside):
            return inside
        table = self.coordinates(spots)
        try:
            answer = np.asarray(self.where(Cells(table, self.loss)))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a sys.exit among them
            raise ClaimError(
                f"the constraint of the space raised {type(error).__name__}: {error}"
            ) from error
        if answer.shape not in ((), inside.shape) or answer.dtype != bool:
            raise ClaimError(
                f"the constraint of the space must return a boolean for each of {len(inside)} "
                f"cells; got shape {answer.shape} of {answer.dtype}."
            )
        return inside & answer

    def coordinates(self, spots: Spots) -> pl.DataFrame:
        """The coordinates of cells, as a sweep tabulates them."""
        rows = []
        for place, values in zip(spots.slices, spots.values, strict=True):
            at = self.slices[place]
            rows.append(
                shape_columns(at.structure, at.dim, at.least)
                | {name: text_of(value) for name, value in at.choices}
                | dict(at.fixed)
                | dict(zip(self.ranges, map(float, values), strict=True))
            )
        known = {name: SCHEMA[name] for name in (rows[0] if rows else ()) if name in SCHEMA}
        return pl.DataFrame(rows, schema_overrides=known, infer_schema_length=None)

    def problems_at(self, spots: Spots) -> Iterator[tuple[np.ndarray, Problem]]:
        """The cells as problems of one shape each, with the rows that they take."""
        groups: dict[tuple, list[int]] = {}
        for row, place in enumerate(spots.slices):
            at = self.slices[place]
            groups.setdefault((at.structure, at.dim, at.choices, at.least), []).append(row)
        for (structure, dim, choices, least), rows in groups.items():
            hyper = {name: spots.values[rows, axis] for axis, name in enumerate(self.ranges)}
            fixed = [dict(self.slices[spots.slices[row]].fixed) for row in rows]
            hyper |= {name: np.array([each[name] for each in fixed]) for name in fixed[0]}
            loss = self.loss(**hyper, **dict(choices))
            yield np.array(rows), Problem(structure, dim, loss, least)

    def grid(self, level: int) -> Spots:
        """All slices at 2^level + 1 equal steps of every range, less what `where` leaves out."""
        steps = np.linspace(0, FINEST, 2**level + 1).astype(int)
        places = list(itertools.product(steps.tolist(), repeat=len(self.ranges)))
        spots = self.spots(
            [k for k in range(len(self.slices)) for _ in places], places * len(self.slices)
        )
        return spots[self.admits(spots)]

    def problems(self, size: str = "default") -> list[Problem]:
        """A regular grid over the space, in three sizes: what `ssem verify` judges claims on."""
        check_choice("size", size, tuple(LEVELS))
        spots = self.grid(LEVELS[size])
        return [problem for _, problem in self.problems_at(spots)]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _static_names(loss: Callable[..., GramLoss]) -> set[str]:
    """The choices of a loss; of a function that makes one they are told by their values."""
    fields = dataclasses.fields(loss) if dataclasses.is_dataclass(loss) else ()
    return {field.name for field in fields if is_static(field)}


def _list(name: str, value: Any) -> list:
    """A value or a collection of values as a list."""
    single = value is None or isinstance(value, (str, int, float, np.number)) or callable(value)
    if not single and (not np.iterable(value) or isinstance(value, Mapping)):
        raise ValueError(f"{name} must be a value or a list of values; got {shown(value)}.")
    values: list[Any] = [value] if single else list(cast(Iterable[Any], value))
    if not values:
        raise ValueError(f"{name} must not be empty; give at least one value.")
    return values


def _hyper(loss: Callable[..., GramLoss], given: Mapping[str, Any]) -> dict[str, Any]:
    """Every hyper-parameter of a loss: a range, or a list."""
    parameters = inspect.signature(loss).parameters
    defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    if loss is SupCL:
        defaults |= {"alpha": Range(0, 1), "temperature": Range(0.05, 5, log=True)}
    # A default is one value, and not a list of them, if it is a tuple.
    given = {k: v if isinstance(v, Range) else [v] for k, v in defaults.items()} | dict(given)
    for name in given:
        if name not in parameters:
            raise ValueError(
                f"{_name(loss)} has no hyper-parameter {name!r}; it has {', '.join(parameters)}."
            )
    for name in parameters:
        if name not in given:
            raise ValueError(
                f"{name} of {_name(loss)} is missing; give a Range, a number, or a list."
            )
    return {
        name: given[name] if isinstance(given[name], Range) else _list(name, given[name])
        for name in parameters
    }


def dimension_of(
    dim: Any, structure: ClassStructure, loss: GramLoss, least: float | None = None
) -> int:
    """An embedding dimension as a number: of "full", or of a function of the structure."""
    dim = dim(structure) if callable(dim) else dim
    return check_count("dim", dim_of(dim, structure, loss, least), 1)


def _name(loss: Any) -> str:
    return getattr(loss, "__name__", repr(loss))
