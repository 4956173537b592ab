"""Problems as rows of a tidy table, and rows as problems again.

:func:`tabulate` writes a certified batch, one row a cell; :func:`problems` reads rows back as the
problems that they came from, with every static choice of the type it had. In the process that made
a table, losses are rebuilt from what was tabulated; elsewhere from a loss that is given, and then
what comes out is held against the row: a loss of another code, or a choice that a table cannot
hold, is refused and never guessed.

Columns (all floats are dimensionless; variances are squared lengths of unit vectors):

=====================  ==========================================================================
sizes                  instances of each class, joined by commas
num_classes            m
num_instances          n, instances per class (null if the classes differ in size)
num_views              p
dim                    d, embedding dimension
least                  the least that similarities may be (null if unbounded; no column without)
loss                   name of the loss
loss_code              digest of its code, in which packages count by name: losses of one name are
                       told apart by it
alpha, temperature     α, τ (null for losses without them)
self_pairs, mean       pair convention (null for losses without)
value                  loss at the embeddings found
lower                  certified lower bound over all embeddings in all dimensions
gap                    value - lower with the rounding of both, ≥ 0
convexity              what the bound rests on: convexity that is proven (of shipped losses) or
                       declared (of others; samples were checked), or none: nothing is bounded
delta2                 variance of the instance means within their class, as found
view_variance          variance of the views about their instance mean, as found
between_variance       variance of the class means about the global mean, as found
mean_squared           squared norm of the global mean, as found (total variance = 1 - this)
<quantity>_lo, _hi     bracket over all embeddings that are at least as good, for delta2,
                       view_variance, mean_squared, within_similarity, between_similarity
phase                  collapse, spread, view_spread, or undecided: what the brackets prove
status                 how the solver stopped
iterations, products   trust-region steps and Hessian products
escapes, starts        saddles left, random starts used
seed                   of the run
(status to seed are null where theory's own optimum was certified, not a minimum found)
<hyper-parameter>      every other hyper-parameter of the loss under the name of its field: traced
                       ones as numbers, static ones as text (:func:`text_of`; null for losses
                       without)
=====================  ==========================================================================
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import jax
import numpy as np
import polars as pl

from ssem_jax.certificate.certificate import QUANTITIES, Certificate
from ssem_jax.compute.identity import NoIdentityError, digest
from ssem_jax.losses.base import GramLoss
from ssem_jax.problem.problem import Phase, Problem
from ssem_jax.problem.solution import Solution, Status
from ssem_jax.problem.structure import ClassStructure

SCHEMA: dict[str, Any] = {
    "sizes": pl.String,
    "num_classes": pl.Int64,
    "num_instances": pl.Int64,
    "num_views": pl.Int64,
    "dim": pl.Int64,
    "loss": pl.String,
    "loss_code": pl.String,
    "alpha": pl.Float64,
    "temperature": pl.Float64,
    "self_pairs": pl.String,
    "mean": pl.String,
    "value": pl.Float64,
    "lower": pl.Float64,
    "gap": pl.Float64,
    "convexity": pl.String,
    "delta2": pl.Float64,
    "view_variance": pl.Float64,
    "between_variance": pl.Float64,
    "mean_squared": pl.Float64,
    **{f"{quantity}_{end}": pl.Float64 for quantity in QUANTITIES for end in ("lo", "hi")},
    "phase": pl.String,
    "status": pl.String,
    "iterations": pl.Int64,
    "products": pl.Int64,
    "escapes": pl.Int64,
    "starts": pl.Int64,
    "seed": pl.Int64,
}
"""Column → type of the table, for every loss."""
LEAST = "least"
"""Column of tables in which the similarities of some problem are bounded from below."""
SHAPE = ("sizes", "num_classes", "num_instances", "num_views", "dim")
"""Columns that tell the shape of a cell; the dimension "full" goes with the others."""
SHARED = ("alpha", "temperature", "self_pairs", "mean")
"""Columns of `SCHEMA` that are hyper-parameters of losses."""
LITERALS = (bool, int, float, str, bytes, tuple, type(None))
"""Types of static choices that a table holds; all else it only names."""
DIGITS = 12
"""Hexadecimal digits that tell losses and choices of one table apart: 48 bits."""

Maker = Callable[..., GramLoss]


# ---------------------------------------------------------------------------- choices as text


def text_of(choice: Any) -> str:
    """A static choice as text, from which :func:`choice_of` gives it back with its type.

    Words are themselves ("include"), all else is Python's notation (False, 2, None, (1.0, 2.0)),
    and so are words that would be read as such ('2'). Functions, arrays and other objects are
    named, with a digest of what they are: <exp 3f9a52c07d11>.
    """
    if isinstance(choice, str) and type(choice) is str:
        return choice if not choice.startswith("<") and _read(choice) is None else repr(choice)
    return _notation(choice) or f"<{_name_of(choice)} {_digest(choice)}>"


def choice_of(text: str) -> Any:
    """The static choice that a text stands for.

    Raises:
        ValueError: the text only names it.
    """
    if text.startswith("<"):
        raise ValueError(
            f"a table names {text} and cannot hold it; build its loss in this process and sweep "
            "again (with the same `out`, nothing is computed twice)."
        )
    read = _read(text)
    return text if read is None else read[0]


def _read(text: str) -> tuple[Any] | None:
    """What a text is in Python's notation, if it is."""
    try:
        return (ast.literal_eval(text),)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _notation(choice: Any) -> str:
    """Python's notation of plain values; nothing for others. 1e999 is read as infinity."""
    if type(choice) not in LITERALS or choice != choice:
        return ""
    if isinstance(choice, tuple):
        parts = [_notation(part) for part in choice]
        return f"({', '.join(parts)}{',' * (len(parts) == 1)})" if all(parts) else ""
    return repr(choice).replace("inf", "1e999") if isinstance(choice, float) else repr(choice)


def _name_of(choice: Any) -> str:
    if isinstance(choice, enum.Enum):
        return f"{type(choice).__name__}.{choice.name}"
    known = choice if hasattr(choice, "__qualname__") else type(choice)
    return known.__qualname__.rpartition(".")[-1].strip("<>")


_STRANGERS: dict[Any, str] = {}
"""Objects without identity → a name that no other object, and no other process, gives."""


def _digest(*values: Any) -> str:
    try:
        return digest(*values, versions=False)[:DIGITS]
    except NoIdentityError:
        return _STRANGERS.setdefault(values, uuid.uuid4().hex[:DIGITS])


# -------------------------------------------------------------------------- problems as rows


def is_static(field: dataclasses.Field) -> bool:
    """Whether a field of a loss is a choice and no number."""
    return bool(field.metadata.get("static", False))


def least(column: pl.Series) -> float:
    """The least number of a column; of any column, so that polars cannot say what it is."""
    return cast(float, column.min())


def most(column: pl.Series) -> float:
    """Likewise the largest."""
    return cast(float, column.max())


def worst_gap(table: pl.DataFrame) -> float | None:
    """The largest gap, if there is any cell."""
    return float(most(table["gap"])) if len(table) else None


def static_fields(loss: GramLoss) -> dict[str, Any]:
    """Static choice → value."""
    fields = [field for field in dataclasses.fields(loss) if is_static(field)]
    return {field.name: getattr(loss, field.name) for field in fields}


class Columns(NamedTuple):
    """A loss as columns.

    Attributes:
        code: digest of its class, and of the structure of losses within it.
        choices: static choices as text, by name.
        numbers: traced leaves by name; of a loss within the loss by path, as `first.scale`.
    """

    code: str
    choices: dict[str, str]
    numbers: dict[str, Any]


class _Kind(NamedTuple):
    """The losses of one code that this process tabulated: names of columns, and for each row of
    choices the loss without its numbers."""

    choices: tuple[str, ...]
    numbers: tuple[str, ...]
    losses: dict[tuple[str, ...], Any]


_KINDS: dict[str, _Kind] = {}


def columns_of(loss: GramLoss) -> Columns:
    """What is tabulated of a loss; this process can rebuild the loss from it."""
    leaves, tree = jax.tree_util.tree_flatten_with_path(loss)
    numbers = {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves
    }
    static = static_fields(loss)
    within = {
        name: jax.tree.structure(value)
        for name, value in vars(loss).items()
        if name not in static and not jax.tree_util.all_leaves([value])
    }
    hollow = {name: inner.unflatten([0] * inner.num_leaves) for name, inner in within.items()}
    code = _digest(type(loss), tuple(hollow.items())) if hollow else _digest(type(loss))
    choices = {name: text_of(value) for name, value in static.items()}
    kind = _KINDS.setdefault(code, _Kind(tuple(choices), tuple(numbers), {}))
    kind.losses.setdefault(tuple(choices.values()), tree)
    return Columns(code, choices, numbers)


def schema_of(loss: GramLoss) -> dict[str, Any]:
    """Column → type of the table of a loss: `SCHEMA`, and its further hyper-parameters.

    Raises:
        ValueError: a hyper-parameter is named like a column that means something else.
    """
    _, choices, numbers = columns_of(loss)
    columns = dict.fromkeys(numbers, pl.Float64) | dict.fromkeys(choices, pl.String)
    for name, kind in columns.items():
        if name == LEAST or (name in SCHEMA and not (name in SHARED and SCHEMA[name] == kind)):
            raise ValueError(
                f"the field {name} of {type(loss).__name__} is named like another column of the "
                "table; choose another name."
            )
    return SCHEMA | columns


def shape_columns(
    structure: ClassStructure, dim: int | None, least: float | None = None
) -> dict[str, Any]:
    """The columns `SHAPE` of a cell, and `LEAST` if it is bounded."""
    return ({} if least is None else {LEAST: least}) | {
        "sizes": ",".join(map(str, structure.sizes)),
        "num_classes": structure.num_classes,
        "num_instances": structure.sizes[0] if structure.is_balanced else None,
        "num_views": structure.num_views,
        "dim": dim,
    }


def tabulate(
    certificate: Certificate, solution: Solution | None = None, seed: int | None = None
) -> pl.DataFrame:
    """The rows of a certified batch; those of the solver are null without a solution."""
    problem = certificate.problem if solution is None else solution.problem
    losses, size = problem.cells()
    code, choices, numbers = columns_of(losses)

    def names(codes: Any, kind: type[enum.IntEnum]) -> list[str]:
        told = {int(code): code.name.lower() for code in kind}
        return [told[code] for code in np.atleast_1d(codes).tolist()]

    found = certificate.variances
    low = np.asarray(certificate.low).reshape(size, -1)
    high = np.asarray(certificate.high).reshape(size, -1)
    shape = shape_columns(problem.structure, problem.dim, problem.least)
    columns: dict[str, Any] = shape | {
        "loss": type(losses).__name__,
        "loss_code": code,
        "value": certificate.value,
        "lower": certificate.lower,
        "gap": certificate.gap,
        "convexity": certificate.convexity,
        "delta2": found.delta2,
        "view_variance": found.view,
        "between_variance": found.between,
        "mean_squared": found.mean_squared,
    }
    for place, quantity in enumerate(QUANTITIES):
        columns[f"{quantity}_lo"] = low[:, place]
        columns[f"{quantity}_hi"] = high[:, place]
    columns |= {
        "phase": names(certificate.phase, Phase),
        "status": solution and names(solution.status, Status),
        "iterations": solution and solution.iterations,
        "products": solution and solution.products,
        "escapes": solution and solution.escapes,
        "starts": solution and solution.starts,
        "seed": seed,
    }
    columns |= numbers | choices
    schema = schema_of(losses) | ({} if problem.least is None else {LEAST: pl.Float64})

    def series(name: str) -> pl.Series:
        value = columns.get(name)
        if value is None or isinstance(value, (str, int)):
            value = [value] * size
        elif not isinstance(value, list):
            value = np.broadcast_to(np.asarray(value), (size,))
        return pl.Series(name, value, dtype=schema[name])

    return pl.DataFrame([series(name) for name in schema])


def join(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Tables of different losses below one another, with nulls for what a loss does not have.

    Raises:
        ValueError: a hyper-parameter is a number in one loss and text in another.
    """
    try:
        return pl.concat(tables, how="diagonal") if tables else pl.DataFrame(schema=SCHEMA)
    except pl.exceptions.SchemaError as error:
        raise ValueError(
            "a hyper-parameter is a number in one loss and text in another; rename one of them, "
            f"or sweep them apart ({error})."
        ) from error


# -------------------------------------------------------------------------- rows as problems


def sizes_of(text: str) -> tuple[int, ...]:
    """Class sizes from the column `sizes`."""
    return tuple(map(int, text.split(",")))


def hyper_names(made_by: Maker) -> list[str]:
    """The hyper-parameters of a loss, or of a function that makes one."""
    return list(inspect.signature(made_by).parameters)


def hyper_columns(table: pl.DataFrame, made_by: Maker) -> list[str]:
    """The columns of a table that hold hyper-parameters, whichever losses its rows are of."""
    names = dict.fromkeys(hyper_names(made_by))
    codes = table["loss_code"].unique(maintain_order=True) if "loss_code" in table.columns else ()
    for kind in (_KINDS[code] for code in codes if code in _KINDS):
        names |= dict.fromkeys((*kind.numbers, *kind.choices))
    return [name for name in names if name in table.columns]


def problems(table: pl.DataFrame, made_by: Maker) -> Iterator[tuple[list[int], Problem]]:
    """The rows of a table as batches of one shape and one loss, with their places.

    Args:
        table: rows of :func:`tabulate`, or coordinates alone.
        made_by: what made the losses, by keyword; not asked for losses that this process tabulated.

    Raises:
        ValueError: `made_by` does not make the losses that the rows are of.
    """
    choices = [n for n in hyper_columns(table, made_by) if table[n].dtype == pl.String]
    wanted = ("loss_code", "sizes", "num_views", "dim", LEAST)
    keys = [name for name in wanted if name in table.columns]
    groups: dict[tuple, list[int]] = {}
    for row, key in enumerate(table.select(*keys, *choices).rows()):
        groups.setdefault(key, []).append(row)
    for rows in groups.values():
        part = table[rows]
        structure = ClassStructure(sizes_of(part["sizes"][0]), part["num_views"][0])
        least = part[LEAST][0] if LEAST in part.columns else None
        yield rows, Problem(structure, part["dim"][0], _loss_of(part, made_by), least)


def problem_of(row: Mapping[str, Any], made_by: Maker) -> Problem:
    """The problem of one row, a batch of one cell.

    Raises:
        ValueError: as :func:`problems`.
    """
    kept = {name: value for name, value in row.items() if not isinstance(value, (list, dict))}
    known = {name: SCHEMA[name] for name in kept if name in SCHEMA}
    ((_, problem),) = problems(pl.DataFrame([kept], schema_overrides=known), made_by)
    return problem


def _loss_of(part: pl.DataFrame, made_by: Maker) -> GramLoss:
    """The loss of rows that differ in its numbers alone, with a batch axis."""
    code = part["loss_code"][0] if "loss_code" in part.columns else None
    name = getattr(made_by, "__name__", repr(made_by))
    kind = _KINDS.get(code) if code is not None else None
    tree = kind and kind.losses.get(tuple(part[choice][0] for choice in kind.choices))
    if kind is not None and tree is not None:
        loss = tree.unflatten([part[number].to_numpy() for number in kind.numbers])
    else:
        held = [n for n in hyper_names(made_by) if n in part.columns and not part[n].null_count()]
        try:
            loss = made_by(
                **{
                    n: choice_of(part[n][0]) if part[n].dtype == pl.String else part[n].to_numpy()
                    for n in held
                }
            )
        except TypeError as error:
            raise ValueError(
                f"{name} does not make the loss of a row from {', '.join(held)} ({error}); give "
                "what made the losses of this table."
            ) from error
    if code is not None and not _is_of(columns_of(loss), part):
        raise ValueError(
            f"{name} makes another loss now than the {part['loss'][0]} that these rows are of: its "
            "code or its choices changed, or the version of Python. Give what made the losses of "
            "this table, or sweep anew."
        )
    return loss


def _is_of(made: Columns, part: pl.DataFrame) -> bool:
    """Whether rows are of a loss, as far as they tell."""
    texts = {"loss_code": made.code} | made.choices
    return (
        {*made.choices, *made.numbers} <= set(part.columns)
        and all((part[name] == text).all() for name, text in texts.items())
        and all(
            np.array_equal(np.broadcast_to(np.asarray(x, float), len(part)), part[name].to_numpy())
            for name, x in made.numbers.items()
        )
    )


# ------------------------------------------------------------------------------------ windows


def fixed_columns(table: pl.DataFrame, made_by: Maker, along: str) -> list[str]:
    """The coordinates that are equal within a window along one of them."""
    moving = set(SHAPE) if along in SHAPE and along != "dim" else set()
    moving -= {"num_classes", "num_instances", "num_views"} - {along} if moving else set()
    names = [*SHAPE, LEAST, "loss", "loss_code", *hyper_columns(table, made_by)]
    return [n for n in names if n in table.columns and n not in {along, *moving}]


def in_order(table: pl.DataFrame, by: Iterable[str]) -> pl.DataFrame:
    """The rows in the order of some columns: numbers by size, also those within text."""
    return table[np.lexsort([_ranks(table[name]) for name in by][::-1])] if len(table) else table


def _ranks(column: pl.Series) -> np.ndarray:
    """(B,) places of the values among all values of their column; null comes first."""
    if column.dtype != pl.String:
        return column.rank("dense").fill_null(0).to_numpy()
    key = sizes_of if column.name == "sizes" else _text_key
    texts = sorted(column.drop_nulls().unique(), key=key)
    places = {text: place for place, text in enumerate(texts)}
    return np.array([places.get(text, -1) for text in column], int)


def _text_key(text: str) -> tuple[Any, ...]:
    read = _read(text)
    value = text if read is None else read[0]
    number = isinstance(value, (int, float))
    return (not number, value if number else 0, text)
