"""A counterexample in small numbers, as Python that reproduces it."""

from __future__ import annotations

import enum
import math
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ssem_jax.certificate.certificate import GAP_TOLERANCE
from ssem_jax.claims.cells import Cells
from ssem_jax.claims.claim import Claim
from ssem_jax.claims.judgements import weigh_groups
from ssem_jax.claims.space import Range
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.supcl import SupCL
from ssem_jax.sweeps.table import LEAST, choice_of, hyper_names, join, problem_of, sizes_of

ROUND_DIGITS = 4
"""Decimal places up to which a counterexample's hyper-parameters are rounded."""
ROUND_CHOICES = 6
"""Rounded values tried for each hyper-parameter."""


def uncertified(table: pl.DataFrame) -> np.ndarray:
    gap = table["gap"].to_numpy()
    return np.isfinite(gap) & (gap > GAP_TOLERANCE)


def is_better(table: pl.DataFrame, rows: np.ndarray, again: pl.DataFrame) -> pl.DataFrame:
    """The table with those rows replaced that came out with a smaller gap."""
    better = again["gap"].to_numpy() < table["gap"].to_numpy()[rows]
    places = np.arange(len(table))
    places[rows[better]] = len(table) + np.flatnonzero(better)
    return join([table, again])[places]


def simpler(axis: Range, value: float) -> list[float]:
    """The value, and values near it with fewer digits, the roundest first."""
    found: dict[float, None] = {}
    for digits in range(ROUND_DIGITS + 1):
        scale = 10**digits
        for rounding in (round, math.floor, math.ceil):
            rounded = round(rounding(value * scale) / scale, digits)
            if rounded in axis:
                found[rounded] = None
    return [*list(found)[:ROUND_CHOICES], value]


def digits_of(values: np.ndarray) -> np.ndarray:
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
        written = [written_out(key, cell, made_by) for key in hyper]
        lines += [line for line, _ in written if line and line not in lines]
        arguments = ", ".join(f"{key}={w}" for key, (_, w) in zip(hyper, written, strict=True))
        sizes, least = sizes_of(cell["sizes"]), cell.get(LEAST)
        bound = "" if least is None else f", least={least}"
        lines += [
            f"structure = sx.ClassStructure({sizes}, num_views={cell['num_views']})",
            f"problem = sx.Problem(structure, dim={cell['dim']}, loss={call}({arguments}){bound})",
            _solved(cell),
            f"print(cell.gap)  # {cell['gap']:.1e}",
        ]
        if f"{claim.quantity}_lo" in cell:
            low, high = cell[f"{claim.quantity}_lo"], cell[f"{claim.quantity}_hi"]
            lines.append(f'print(cell.brackets["{claim.quantity}"])  # {low:.6g} to {high:.6g}')
    return "\n".join([*lines, *_margin_line(claim, row)])


def _margin_line(claim: Claim, row: dict[str, Any]) -> list[str]:
    """What the margin is there, for whoever wonders what the bracket refutes."""
    cells = (row, *row.get("followed_by", ()))
    tables = [{name: cell[name] for name in cell if name != "followed_by"} for cell in cells]
    groups = tuple(Cells(pl.DataFrame([table]), claim.domain.loss) for table in tables)
    margin = weigh_groups(claim, groups).margin
    low, high = (float(np.ravel(end)[0]) for end in (margin.low, margin.high))
    return [f"# the margin of {claim.name} is {low:.3g} to {high:.3g} there: below 0, so it fails"]


def _solved(cell: dict[str, Any]) -> str:
    """How a cell is solved and certified again; without a seed nothing was minimised."""
    if cell["seed"] is None:
        return "cell = sx.certificate.certify_program(problem)"
    starts = max(cell["starts"] or 2, 2)
    solution = f"sx.solve(problem, jax.random.key({cell['seed']}), num_starts={starts})"
    return f"cell = sx.certify({solution})"


def written_out(
    name: str, row: dict[str, Any], made_by: Callable[..., GramLoss]
) -> tuple[str, str]:
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
