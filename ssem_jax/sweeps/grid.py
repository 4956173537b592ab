"""A grid of cells: structures × dimensions × hyper-parameters."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ssem_jax.compute.sizes import check_cells
from ssem_jax.geometry.shares import full_dimension
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.problem import Problem, checked_least
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import check_type, shown
from ssem_jax.sweeps.table import is_static

Numbers = Sequence[float] | np.ndarray
if not TYPE_CHECKING:
    Numbers = Sequence | np.ndarray  # whether they are numbers shows when problems are made of them


@dataclasses.dataclass(frozen=True)
class Grid:
    """The product of shapes and hyper-parameters, as problems of one shape each.

    Values left out are the loss's own defaults. For example
    ``Grid([structure], ["full"], [0.1, 0.9], [0.5])`` for SupCL, and
    ``Grid([structure], ["full"], loss=Sigmoid, hyper={"scale": [1, 10], "bias": [0]})``.

    Args:
        structures: class structures.
        dims: embedding dimensions, or "full" for one that admits every optimum: the smallest for
            SupCL (:func:`ssem_jax.geometry.full_dimension`), N for losses without pair conventions.
        alphas: values of α.
        temperatures: values of τ.
        self_pairs: conventions.
        means: conventions.
        loss: a dataclass of losses.
        hyper: values of its further fields, by name.
        least: the least that similarities may be, or None, or a list of these.

    Raises:
        ValueError: an empty list, a value for what the loss does not have, or a problem that is
            not defined (see :class:`Problem`).
    """

    structures: Sequence[ClassStructure] | ClassStructure
    dims: Sequence[int | str] | int | str
    alphas: Numbers = ()
    temperatures: Numbers = ()
    self_pairs: Sequence[str] = ()
    means: Sequence[str] = ()
    loss: type[GramLoss] = SupCL
    hyper: Mapping[str, Sequence[Any] | np.ndarray] = dataclasses.field(default_factory=dict)
    least: Sequence[float | None] | np.ndarray | float | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.loss, type) and dataclasses.is_dataclass(self.loss)):
            raise ValueError(
                f"the loss of a grid must be a class of losses, as SupCL; got {shown(self.loss)}. "
                "Its hyper-parameters are lists of their own."
            )
        check_type("hyper", self.hyper, Mapping, "a dict of lists, as {'scale': [1, 10]}")
        for name in ("structures", "dims", *PLURALS.values()):
            object.__setattr__(self, name, _listed(name, getattr(self, name)))
        hyper = {name: _listed(name, values) for name, values in self.hyper.items()}
        object.__setattr__(self, "hyper", hyper)
        bounds = (None,) if self.least is None else _listed("least", self.least)
        object.__setattr__(self, "least", tuple(map(checked_least, bounds)))
        for structure in self._listed("structures"):
            check_structure(structure)

    def _listed(self, name: str) -> Sequence[Any]:
        """The structures or dimensions, which are lists once the grid is made."""
        return getattr(self, name)

    def axes(self) -> dict[str, Sequence[Any] | np.ndarray]:
        """Field of the loss → its values, for every field that is not left at its default."""
        named = {name: getattr(self, plural) for name, plural in PLURALS.items()}
        lists = {name: values for name, values in named.items() if len(values)} | dict(self.hyper)
        fields = {field.name: field for field in dataclasses.fields(self.loss)}
        for name in lists:
            if name not in fields:
                raise ValueError(
                    f"{self.loss.__name__} has no {name}; leave it out, or give one of "
                    f"{', '.join(fields)}."
                )
            if name in self.hyper and len(named.get(name, ())):
                raise ValueError(f"{name} stands in hyper and as {PLURALS[name]}; give it once.")
        for name, field in fields.items():
            required = field.default is field.default_factory is dataclasses.MISSING
            if not len(lists.get(name, () if required else (None,))):
                raise ValueError(
                    f"{PLURALS.get(name, name)} must not be empty; give at least one value."
                )
        return {name: lists[name] for name in fields if name in lists}

    def problems(self) -> list[Problem]:
        """One problem for each shape and static choice, with the numbers as its batch axis.

        Raises:
            ValueError: an empty list, or more cells than a sweep may have.
        """
        for name in ("structures", "dims", "least"):
            if len(self._listed(name)) == 0:
                raise ValueError(f"{name} must not be empty; give at least one value.")
        axes = self.axes()
        static = {field.name for field in dataclasses.fields(self.loss) if is_static(field)}
        choices = {name: values for name, values in axes.items() if name in static}
        numbers = {name: values for name, values in axes.items() if name not in static}
        counts = [len(self._listed(name)) for name in ("structures", "dims", "least")]
        check_cells(math.prod(counts) * math.prod(map(len, axes.values())))
        cells = np.array(list(itertools.product(*numbers.values())), float)
        traced = dict(zip(numbers, cells.T, strict=True))
        return [
            Problem(structure, dim_of(dim, structure, loss, least), loss, least)
            for structure in self._listed("structures")
            for chosen in itertools.product(*choices.values())
            for loss in [self.loss(**traced, **dict(zip(choices, chosen, strict=True)))]
            for dim in self._listed("dims")
            for least in self._listed("least")
        ]


PLURALS = {
    "alpha": "alphas",
    "temperature": "temperatures",
    "self_pairs": "self_pairs",
    "mean": "means",
}
"""Field of SupCL → the list of its values in a :class:`Grid`."""


def dim_of(dim: Any, structure: ClassStructure, loss: GramLoss, least: float | None) -> Any:
    """A dimension, of "full" too."""
    if dim != "full":
        return dim
    bounded = least is not None
    return structure.num_embeddings if bounded else admitting_dimension(structure, loss)


def admitting_dimension(structure: ClassStructure, loss: GramLoss) -> int:
    """A dimension that admits every optimum."""
    convention = getattr(loss, "self_pairs", None)
    # Without further knowledge: a Gram matrix of N embeddings may have rank N.
    known = convention in ("include", "exclude", "decouple") and not loss.solved_by_terms
    return full_dimension(structure, str(convention)) if known else structure.num_embeddings


def _listed(name: str, values: Any) -> Sequence[Any] | np.ndarray:
    """Values of an axis; a single one is a list of one."""
    if isinstance(values, (str, ClassStructure)) or np.ndim(values) == 0:
        if values is None or isinstance(values, (Mapping, set)):
            raise ValueError(f"{name} must be a list of values; got {shown(values)}.")
        return (values,)
    return values
