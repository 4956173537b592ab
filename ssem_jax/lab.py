"""Files of conjectures: collecting, judging and printing them, as `ssem test` does.

A file defines conjectures (:class:`ssem_jax.Claim`, or a :class:`ssem_jax.Theorem` with a procedure
of its own) at its top level; :mod:`ssem_jax.search` judges them.
"""

from __future__ import annotations

import ast
import importlib.util
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl

from ssem_jax.claims import (
    Claim,
    Theorem,
    collect,
    collect_theorems,
    coordinates,
    finite,
    outcomes,
)
from ssem_jax.search import Trial, one_line, search_all
from ssem_jax.space import Space
from ssem_jax.sweeps.folder import versions
from ssem_jax.sweeps.table import fixed_columns

# ----------------------------------------------------------------------------- what is printed


def describe(trial: Trial) -> str:
    """A trial in a few lines, for a terminal."""
    judgement, claim = trial.judgement, trial.claim
    if judgement is None:
        return f"ERROR      {trial.error}"
    lines = [f"{judgement.words:<10} {claim.name}: {claim.statement}"]
    if judgement.proof is not None:
        facts = [judgement.looked_at]
        if judgement.undecided:
            facts.append(f"{judgement.undecided:,} undecided")
        if judgement.proof.width is not None:
            facts.append(f"widest enclosure {judgement.proof.width:.1e}")
    else:
        what = "certified cells" if judgement.worst_gap is not None else "decided cells"
        facts = [f"{judgement.cells - judgement.undecided:,} {what}"]
    if judgement.excluded:
        facts.append(f"{judgement.excluded:,} excluded")
    if trial.slices:
        facts.append("{} of {} slices".format(*trial.slices))
    if judgement.margin is not None:
        facts.append(f"worst margin {judgement.margin:.3g}")
    if judgement.worst_gap is not None:
        facts.append(f"worst gap {judgement.worst_gap:.1e}")
    lines.append(f"           {', '.join(facts)}, {trial.seconds:.1f} s")
    if judgement.reason:
        lines.append(f"           {judgement.reason}")
    if isinstance(claim, Theorem):
        if judgement.counterexample:
            lines.append(f"           at {judgement.counterexample}")
        return "\n".join(lines)
    if trial.snippet and judgement.counterexample:
        cells = [judgement.counterexample, *judgement.counterexample.get("followed_by", ())]
        places = "; then ".join(coordinates(cell, claim.domain.loss) for cell in cells)
        lines.append(f"           smallest counterexample: {places}\n")
        lines += [f"    {line}" for line in trial.snippet.splitlines()]
    elif trial.tightest:
        lines.append(f"           tightest at {coordinates(trial.tightest, claim.domain.loss)}")
    if trial.explored and not trial.snippet:
        lines.append(f"           {trial.explored}")
    return "\n".join(lines)


MAP_PANELS = 6
"""Slices that a margin map shows: those of the smallest margins."""


def margin_map(trial: Trial) -> tuple[list[tuple[str, pl.DataFrame]], list[tuple[str, bool]]]:
    """Titles and cells of the slices of the smallest margins, and the axes that they vary over.

    What :func:`ssem_jax.show.draw_margins` takes.

    Raises:
        ValueError: the trial has no cells: a theorem, or a conjecture that is not well posed.
    """
    claim, table = trial.claim, trial.table
    if isinstance(claim, Theorem) or table is None:
        raise ValueError(f"{claim.name} was not judged on cells, so there is no map of its margin.")
    weighed = outcomes(claim, table)
    ranges = claim.domain.ranges if isinstance(claim.domain, Space) else {}
    axes = [(name, axis.log) for name, axis in ranges.items()]
    if not isinstance(claim.domain, Space):
        axes = [("alpha", False), ("temperature", True)]
    keys = [
        name for name in fixed_columns(weighed, claim.domain.loss, "") if name not in dict(axes)
    ]
    parts = weighed.partition_by(keys, maintain_order=True)
    parts.sort(key=lambda part: part["margin_hi"].min() if part["margin_hi"].count() else math.inf)
    varying = [name for name in keys if weighed[name].n_unique() > 1]
    titles = [", ".join(_titled(part.row(0, named=True), varying)) for part in parts]
    return list(zip(titles, parts, strict=True))[:MAP_PANELS], axes


def _titled(row: dict[str, Any], varying: Sequence[str]) -> Iterator[str]:
    """What tells a slice from the others."""
    symbols = {"num_classes": "m", "num_instances": "n", "num_views": "p", "dim": "d"}
    balanced = row["num_instances"] is not None
    for name in varying:
        if (name == "sizes" and balanced) or row[name] is None:
            continue
        if name in ("num_classes", "num_instances") and not balanced:
            continue
        yield f"{symbols.get(name, name)}={row[name]}"


def report(trials: Sequence[Trial], seconds: float, seed: int) -> dict[str, Any]:
    """The document that `ssem test --json` prints."""
    judged = [trial.judgement for trial in trials if trial.judgement is not None]
    gaps = [j.worst_gap for j in judged if j.worst_gap is not None]
    return {
        "claims": [trial.to_json() for trial in trials],
        "cells": sum(j.cells for j in judged),
        "worst_gap": finite(max(gaps, default=None)),
        "as_expected": all(trial.as_expected for trial in trials),
        "seconds": seconds,
        "seed": seed,
        "versions": versions(),
    }


# ---------------------------------------------------------------------------------- collecting


def load(path: str | Path) -> ModuleType:
    """A file of conjectures as a module.

    Raises:
        ValueError: no such file, one that does not run, or that is named like another module.
    """
    file = Path(path)
    if not file.is_file() or file.suffix != ".py":
        raise ValueError(f"{file} is no Python file; give a file that defines conjectures.")
    if _is_taken(file):
        raise ValueError(
            f"{file} is named like the module {file.stem}, which would then import it instead; "
            "rename it."
        )
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file} cannot be loaded; give a file that defines conjectures.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # losses defined there are found again by name
    _LOADED.add(file.stem)
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a sys.exit among them, which would end the run as if all held
        raise ValueError(f"{file} does not run: {one_line(error, str(file))}") from error
    return module


_LOADED: set[str] = set()
"""Modules that came from files of conjectures, and may be replaced by another such file."""


def _is_taken(file: Path) -> bool:
    """Whether an import of the file's name means, or may come to mean, another module."""
    if file.stem in _LOADED:
        return False
    if file.stem in sys.modules:
        return True
    try:
        spec = importlib.util.find_spec(file.stem)
    except (ImportError, ValueError):  # a name that no import can have
        return False
    return spec is not None and (
        spec.origin is None or Path(spec.origin).resolve() != file.resolve()
    )


def conjectures(module: ModuleType, expression: str = "") -> list[Claim | Theorem]:
    """The conjectures that a module defines, less those that an expression does not select.

    Args:
        module: of :func:`load`.
        expression: parts of names, joined by "and", "or", "not" and parentheses.

    Raises:
        ValueError: there are none, two of one name, or the expression is none.
    """
    found = [*collect([module]), *collect_theorems([module])]
    if not found:
        raise ValueError(
            f"{module.__name__} defines no conjecture; write one as NAME = sx.Claim(...)."
        )
    chosen = [claim for claim in found if matches(expression, claim.name)]
    if not chosen:
        names = ", ".join(claim.name for claim in found)
        raise ValueError(f"-k {expression!r} selects none of {names}.")
    return chosen


def matches(expression: str, name: str) -> bool:
    """Whether a name is selected by an expression such as "collapse and not low".

    Raises:
        ValueError: the expression cannot be read.
    """
    if not expression:
        return True

    def value(node: ast.AST) -> bool:
        match node:
            case ast.Expression(body):
                return value(body)
            case ast.BoolOp(ast.And(), values):
                return all(map(value, values))
            case ast.BoolOp(ast.Or(), values):
                return any(map(value, values))
            case ast.UnaryOp(ast.Not(), operand):
                return not value(operand)
            case ast.Name(part):
                return part.lower() in name.lower()
        raise SyntaxError

    try:
        return value(ast.parse(expression, mode="eval"))
    except SyntaxError:
        raise ValueError(
            f"-k takes parts of names joined by and, or, not; got {expression!r}."
        ) from None


def run_file(file: str) -> int:
    """Judge the conjectures of a file and print their verdicts: what a worked conjecture's own
    ``python -m`` does. 0 if every verdict is as expected."""
    from ssem_jax.compute import cache

    cache.set_up_jax()
    trials = []
    for trial in search_all(conjectures(load(file))):
        print(describe(trial) + "\n")
        trials.append(trial)
    return 0 if all(trial.as_expected for trial in trials) else 1
