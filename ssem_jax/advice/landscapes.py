r"""Does an optimiser find the optimum? Critical points, how often each is reached, and what it is.

Every start is followed by a method of everyday use (:mod:`ssem_jax.solver.descents`), and its end
is polished to a critical point. Two critical points are one if their losses and what no symmetry
changes agree: the eigenvalues of their Gram matrices, and the sorted similarities within and
between classes. The **gap** of a point is its loss minus a lower bound: the certificate of the
problem in a dimension that admits every optimum, or in R^d itself a linear programming bound,
where there is a better one (:func:`ssem_jax.balls.least_in_dimension`).

What a critical point is, is told by the Riemannian Hessian in float64: its **index** counts
negative eigenvalues. One of index 0 above the lowest is a **spurious** minimum: *proven*, if balls
enclose a local minimum there, strict up to rotation, whose loss is above that of the lowest
(:func:`ssem_jax.balls.enclose_local_minimum`); else only *seen*, as where the Hessian is flat in
other directions than rotations. **Escapes** counts negative eigenvalues of the dual matrix:
directions that lead down as soon as there is an unused dimension.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl

from ssem_jax.balls.codes import least_in_dimension
from ssem_jax.balls.enclosures import enclose_loss
from ssem_jax.balls.minima import enclose_local_minimum
from ssem_jax.certificate.certificate import GAP_TOLERANCE
from ssem_jax.certificate.certificates import certify
from ssem_jax.compute.identity import digest, own_code
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.arrays import Seed
from ssem_jax.problem.display import Told
from ssem_jax.problem.problem import Problem, cell_keys, check_problem
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import (
    as_key,
    check_choice,
    check_count,
    check_positive,
    check_progress,
    require_x64,
)
from ssem_jax.solver.attempts import solve
from ssem_jax.solver.descents import METHODS, RATES, STARTS, Descents, curvature, descend
from ssem_jax.sweeps.folder import RunFolder
from ssem_jax.sweeps.grid import admitting_dimension

SAME_VALUE = 1e-9
"""Losses of one critical point, relative to the largest: gradients are polished to rounding."""
SAME_GRAM = 1e-4
"""Similarities of one critical point: where the Hessian is flat, rounding moves it by its root."""
FLAT = 1e-7
"""Eigenvalue, relative to the largest, under which a Hessian counts as flat: rotations are."""
HESSIAN_LIMIT = 512
"""Coordinates N·d up to which the Hessian is formed: a second, and 2 MiB."""
KINDS_LIMIT = 40
"""Critical points of a cell, the lowest, whose Hessian is formed."""
PROOF_LIMIT = 256
"""Coordinates N·d up to which a spurious minimum is proven: a second in balls."""
USUAL_GAP = 1e-6
"""Above it an end is told as missed: what optimisers in everyday use stop at."""
STEPS = 1000
"""Of a first-order method, as in published synthetic experiments."""
CELL = ("sizes", "num_views", "dim", *("loss", "method", "start"))
"""Columns that say which cell a row is of, beside its hyper-parameters."""
POINT = ("kind", "critical_value", "critical_gap", "delta2", "index", "escapes", "spurious")
"""Columns of a critical point, alike in all rows of its kind."""


@dataclasses.dataclass(frozen=True, repr=False)
class Landscape(Told):
    """What many starts came to.

    Attributes:
        table: a row a start: the cell, where the method ended (`gap`), the critical point that this
            belongs to (`kind`, 0 the lowest), and the path (`values`, `within`, `between`).
    """

    table: pl.DataFrame

    __repr__ = Told.in_a_line

    @property
    def critical(self) -> pl.DataFrame:
        """A row a critical point: how often it was reached, its gap and index, if spurious."""
        cell = self._cell()
        found = self.table.group_by(*cell, *POINT, maintain_order=True)
        counted = found.agg(pl.len().alias("starts"), pl.col("gradient").max())
        return counted.sort(*cell, "kind", maintain_order=True)

    @property
    def cells(self) -> pl.DataFrame:
        """A row a cell: starts, how many the method left 1e-6 above the bound (`above`) or above
        the best that any start came to (`missed`), how many belong to spurious minima."""
        return self.table.group_by(*self._cell(), maintain_order=True).agg(
            pl.len().alias("starts"),
            (pl.col("gap") > USUAL_GAP).sum().alias("above"),
            (pl.col("gap") > pl.col("critical_gap").min() + USUAL_GAP).sum().alias("missed"),
            pl.col("gap").median().alias("median_gap"),
            pl.col("gap").max().alias("worst_gap"),
            pl.col("critical_gap").min().alias("best_gap"),
            pl.col("kind").n_unique().alias("kinds"),
            (pl.col("spurious") != "no").sum().alias("spurious"),
            (pl.col("spurious") == "proven").sum().alias("proven"),
        )

    def _cell(self) -> list[str]:
        """The columns that tell cells apart."""
        return self.table.columns[: self.table.columns.index("number")]

    def lines(self) -> Iterator[str]:
        """What became of the starts, for a reader: a line a cell."""
        for row in self.cells.iter_rows(named=True):
            yield (
                f"sizes {row['sizes']}, d = {row['dim']}, {row['method']} from {row['start']} "
                f"starts: {row['above']} of {row['starts']} end above {USUAL_GAP:.0e}, worst "
                f"{row['worst_gap']:.1e}, {row['missed']} so far above the best of them; "
                f"{row['kinds']} critical points, {row['spurious']} starts at local minima above "
                f"the lowest, {row['proven']} of them at proven ones"
            )

    def said(self) -> Iterator[str]:
        """The same of all cells."""
        above = int((self.table["gap"] > USUAL_GAP).sum())
        yield f"{above} of {len(self.table)} starts end above {USUAL_GAP:.0e}"


def landscape(
    problem: Problem | Sequence[Problem],
    key: Seed,
    num_starts: int = 100,
    method: str = "adam",
    *,
    start: str = "gaussian",
    steps: int = STEPS,
    rate: float | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Landscape:
    """Follow an optimiser from many starts, and tell the critical points that it comes to.

    Args:
        problem: one cell or a batch of cells, or several of them, each of a dimension.
        key: a JAX random key, or an integer as its seed. A cell's starts depend on the key and the
            cell's own coordinates only.
        num_starts: starts of each cell.
        method: "adam" (the usual way), "descent" (along the gradient on the spheres) or "newton"
            (the trust region).
        start: "gaussian", or "classes": class index plus unit noise, as published code has it.
        steps: of a first-order method.
        rate: its learning rate; 0.5 for Adam and 0.05 for descent if not given.
        out: folder that keeps finished cells, so that an interrupted call goes on.
        progress: called with numbers of finished starts.

    Returns:
        The landscape; `critical` and `cells` of it are tables.

    Raises:
        ValueError: 64-bit mode is off, an unknown method or start, counts or a rate out of range,
            or a problem of every dimension or with bounded similarities.
    """
    require_x64()
    problems: list[Any] = list(problem) if isinstance(problem, list | tuple) else [problem]
    for each in problems:
        check_problem(each)
        each.check_unbounded()
    check_choice("method", method, METHODS)
    check_choice("start", start, STARTS)
    check_progress(progress)
    num_starts = check_count("num_starts", num_starts, 1)
    steps = check_count("steps", steps, 1)
    rate = RATES.get(method, 0.0) if rate is None else rate
    if method in RATES:
        check_positive("rate", rate)
    how = {"starts": num_starts, "method": method, "start": start, "steps": steps, "rate": rate}
    cells = [cell for each in problems for cell in _cells(each, as_key(key))]
    names = [digest(own_code(), how, [str(c.structure), c.dim, c.loss, c.seed]) for c in cells]
    opened: Any = nullcontext()
    if out is not None:
        facts = {"experiment": "landscape", "cells": len(cells), **how}
        differences = "other cells, starts, method or seed, or code of this package"
        opened = RunFolder.open(Path(out), [name[:16] for name in names], facts, differences)
    tables = []
    with opened as folder:
        for number, cell in enumerate(cells):
            table = folder.read_part(number) if folder else None
            if table is None:
                table = _follow(cell, how)
                if folder:
                    folder.write_part(number, table)
            tables.append(table)
            if progress:
                progress(num_starts)
    return Landscape(pl.concat(tables, how="diagonal_relaxed"))


@dataclasses.dataclass(frozen=True)
class _Cell:
    """One cell, with its own key."""

    structure: ClassStructure
    dim: int
    loss: GramLoss
    key: Any

    @property
    def seed(self) -> list[int]:
        """The key as numbers."""
        return np.asarray(jax.random.key_data(self.key)).tolist()


def _cells(problem: Problem, key: Any) -> Iterator[_Cell]:
    losses, size = problem.cells()
    keys = cell_keys(problem, key)
    for cell in range(size):
        one = jax.tree.map(lambda leaf, at=cell: np.float64(leaf[at]), losses)
        yield _Cell(problem.structure, problem.given_dim, one, keys[cell])


def lowest(structure: ClassStructure, dim: int, loss: GramLoss, key: Any) -> float:
    """A lower bound of the loss in R^d: the better of that of all dimensions and that of R^d."""
    free = Problem(structure, admitting_dimension(structure, loss), loss)
    bound = float(np.asarray(certify(solve(free, key), key).lower))
    return max(bound, float(least_in_dimension(Problem(structure, dim, loss))[0]))


def _follow(cell: _Cell, how: dict[str, Any]) -> pl.DataFrame:
    """The table of one cell."""
    found = descend(
        cell.loss, cell.structure, cell.dim, cell.key, how["starts"], how["method"], how["start"],
        how["steps"], how["rate"],
    )  # fmt: skip
    bound = lowest(cell.structure, cell.dim, cell.loss, cell.key)
    kinds, representatives = group(found, cell.structure)
    facts = pl.DataFrame([_facts(cell, found, at, rank) for rank, at in enumerate(representatives)])
    value = found.critical_values[representatives]
    gaps = value - bound
    minimum = facts["index"].to_numpy().astype(float) == 0  # nan, where it is unknown, is not
    above = value > value[0] + np.maximum(SAME_VALUE * abs(value[0]), GAP_TOLERANCE)
    points = found.critical[representatives]
    spurious = [
        ("proven" if _is_proven(cell, points[rank], points[0]) else "seen") if each else "no"
        for rank, each in enumerate(minimum & above)
    ]
    facts = facts.with_columns(
        critical_value=value, critical_gap=gaps, spurious=pl.Series(spurious, dtype=pl.String),
        kind=np.arange(len(value)),
    )  # fmt: skip
    hyper = {
        field.name: [getattr(cell.loss, field.name)] * how["starts"]
        for field in dataclasses.fields(cell.loss)
        if np.ndim(getattr(cell.loss, field.name)) == 0
    }
    said = {
        "sizes": ",".join(map(str, cell.structure.sizes)), "num_views": cell.structure.num_views,
        "dim": cell.dim, "loss": type(cell.loss).__name__, "method": how["method"],
        "start": how["start"],
    }  # fmt: skip
    paths = {name: getattr(found, name).astype(np.float32) for name in ("within", "between")}
    rows = pl.DataFrame(
        {name: [value] * how["starts"] for name, value in said.items()}
        | hyper
        | {"number": np.arange(how["starts"]), "gap": found.values[:, -1] - bound}
        | {"gradient": found.gradients, "values": (found.values - bound).astype(np.float32)}
        | paths
        | {"kind": kinds},
        strict=False,
    )
    lists = [pl.col(name).arr.to_list() for name in ("values", "within", "between")]
    return rows.with_columns(lists).join(facts, on="kind", maintain_order="left")


def _facts(cell: _Cell, found: Descents, at: int, rank: int) -> dict[str, Any]:
    """What a critical point is: variance within classes, index of its Hessian, escapes."""
    points = found.critical[at]
    instances = points.reshape(-1, cell.structure.num_views, cell.dim).mean(1)
    ends = np.cumsum(cell.structure.sizes)[:-1]
    apart = [((part - part.mean(0)) ** 2).sum() for part in np.split(instances, ends)]
    facts: dict[str, Any] = {"delta2": sum(apart) / len(instances), "index": None, "escapes": None}
    if points.size <= HESSIAN_LIMIT and rank < KINDS_LIMIT:
        hessian, dual = curvature(cell.loss, cell.structure, points)
        facts["index"] = int((hessian < -FLAT * hessian[-1]).sum())
        facts["escapes"] = int((dual < -FLAT * max(dual[-1], hessian[-1])).sum())
    return facts


def _is_proven(cell: _Cell, points: np.ndarray, better: np.ndarray) -> bool:
    """Whether balls enclose a local minimum at points, and others are better than it."""
    known = type(cell.loss) is SupCL and cell.loss.self_pairs != "decouple"
    if not known or points.size > PROOF_LIMIT:
        return False
    minimum = enclose_local_minimum(points, cell.structure, cell.loss)
    return minimum is not None and enclose_loss(better, cell.structure, cell.loss) < minimum.ball


def group(found: Descents, structure: ClassStructure) -> tuple[np.ndarray, list[int]]:
    """(S,) the kind of each critical point, 0 the lowest, and a start for each kind.

    Kinds are told apart by loss and by what neither rotations nor relabelling change. Two points
    that agree in all of it, and are no images of each other, would be taken for one.
    """
    points, values = found.critical, found.critical_values
    gram = points @ points.transpose(0, 2, 1)
    same = np.equal.outer(structure.class_ids, structure.class_ids)
    parts = (np.sort(gram[:, same], 1), np.sort(gram[:, ~same], 1), np.linalg.eigvalsh(gram))
    marks = np.concatenate(parts, axis=1)
    kinds = np.full(len(values), -1)
    representatives: list[int] = []
    nearness = SAME_VALUE * max(1.0, float(np.max(np.abs(values))))
    for at in np.argsort(values, kind="stable"):
        if kinds[at] >= 0:
            continue
        alike = (np.abs(values - values[at]) <= nearness) & (kinds < 0)
        alike &= np.abs(marks - marks[at]).max(1) <= SAME_GRAM
        kinds[alike] = len(representatives)
        representatives.append(int(at))
    return kinds, representatives
