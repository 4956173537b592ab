"""Which cells of a table: a condition as one writes it in Python, and what two tables share.

>>> cells = filtered(table, "n == 2 and self_pairs == 'include' and 0.1 <= tau < 1")
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from ssem_jax.certificate.certificate import GAP_TOLERANCE
from ssem_jax.problem.validation import check_type
from ssem_jax.sweeps.table import SCHEMA, SHAPE, SHARED, most
from ssem_jax.sweeps.words import WORDS

NAMES = {word.typed: name for name, word in WORDS.items() if word.typed}
"""What one types for a column: m, n, p, d, tau."""
SAME = 1e-9
"""Relative distance of floats that count as equal: 0.3 is meant by 0.1 · 3 of a grid."""
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], pl.Expr]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
COMPARED = ("value", "delta2", "view_variance", "between_variance")
"""Numbers of a cell that two runs are compared in."""


# ---------------------------------------------------------------------------------- conditions


def filtered(table: pl.DataFrame, where: str) -> pl.DataFrame:
    """The cells of a table that a condition holds of.

    Args:
        table: of :func:`ssem_jax.sweep`.
        where: columns of the table (m, n, p, d and tau for short), numbers and words, compared by
            ==, !=, <, <=, >, >=, in and not in, joined by and, or, not.

    Returns:
        The rows, in their order.

    Raises:
        ValueError: it is no such condition, names no column of the table, or holds of no cell.
    """
    check_type("table", table, pl.DataFrame, "a table of ssem_jax.sweep")
    check_type("where", where, str, "a condition such as \"n == 2 and self_pairs == 'include'\"")
    try:
        tree = ast.parse(where.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        raise _no_condition(where) from None
    reader = _Reader(table, where)
    try:
        found = table.filter(reader.condition(tree))
    except pl.exceptions.PolarsError:
        raise ValueError(
            f"{where!r} compares numbers with words; words stand in quotes, as self_pairs == "
            "'include'."
        ) from None
    if found.is_empty() and len(table):
        told = "; ".join(
            f"{text} is {reader.values_of(name)}" for text, name in reader.read.items()
        )
        raise ValueError(f"no cell of {len(table)} has {where}; there {told}.")
    return found


class _Reader:
    """Reads one condition; remembers the columns that it names."""

    def __init__(self, table: pl.DataFrame, where: str) -> None:
        self.table, self.where = table, where
        self.read: dict[str, str] = {}

    def condition(self, node: ast.expr) -> pl.Expr:
        match node:
            case ast.BoolOp(op=op, values=values):
                join = operator.and_ if isinstance(op, ast.And) else operator.or_
                return functools.reduce(join, map(self.condition, values))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ~self.condition(operand)
            case ast.Compare(left=left, ops=ops, comparators=others):
                sides = [left, *others]
                pairs = zip(sides, ops, others, strict=False)
                return functools.reduce(operator.and_, (self.compared(*pair) for pair in pairs))
        raise _no_condition(self.where)

    def compared(self, left: ast.expr, how: ast.cmpop, right: ast.expr) -> pl.Expr:
        if isinstance(how, ast.In | ast.NotIn):
            if not isinstance(right, ast.Tuple | ast.List | ast.Set):
                raise _no_condition(self.where)
            hits = [self.equal(left, one) for one in right.elts]
            found = functools.reduce(operator.or_, hits, pl.lit(False))
            return found if isinstance(how, ast.In) else ~found
        if isinstance(how, ast.Eq | ast.NotEq):
            found = self.equal(left, right)
            return found if isinstance(how, ast.Eq) else ~found
        if type(how) not in COMPARISONS:
            raise _no_condition(self.where)
        return COMPARISONS[type(how)](self.side(left), self.side(right))

    def equal(self, left: ast.expr, right: ast.expr) -> pl.Expr:
        one, other = self.side(left), self.side(right)
        if any(self.is_float(node) for node in (left, right)):
            return (one - other).abs() <= SAME * (one.abs() + other.abs())
        return one == other

    def is_float(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Name):
            return self.table.schema[self.column(node.id)].is_float()
        return isinstance(node, ast.Constant) and isinstance(node.value, float)

    def side(self, node: ast.expr) -> pl.Expr:
        match node:
            case ast.Name(id=text):
                return pl.col(self.column(text))
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return pl.lit(value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return pl.lit(-value)
        raise _no_condition(self.where)

    def column(self, text: str) -> str:
        name = NAMES.get(text, text)
        if name not in self.table.columns:
            short = [*NAMES, *(name for name in self.table.columns if name not in NAMES.values())]
            raise ValueError(
                f"the table has no column {text!r}; it has {', '.join(short)}. Words stand in "
                "quotes, as self_pairs == 'include'."
            )
        self.read[text] = name
        return name

    def values_of(self, name: str) -> str:
        """What a column holds, in few words."""
        values = self.table[name].drop_nulls().unique().sort().to_list()
        said = [f"{value:.6g}" if isinstance(value, float) else str(value) for value in values]
        return ", ".join(said) if len(said) <= 6 else f"{said[0]} to {said[-1]}, {len(said)} values"


def _no_condition(where: str) -> ValueError:
    return ValueError(
        f"{where!r} is no condition on cells; write columns, numbers and quoted words with ==, <, "
        "in, and, or, not: \"n == 2 and self_pairs == 'include'\"."
    )


# ------------------------------------------------------------------------------- several tables


def joined(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Tables of several runs as one; of a cell that several have, the narrowest gap stays.

    Raises:
        ValueError: one is no table, or there is none.
    """
    if not tables:
        raise ValueError("give at least one table to join; got none.")
    for table in tables:
        check_type("table", table, pl.DataFrame, "a table of ssem_jax.sweep")
    whole = pl.concat(tables, how="diagonal_relaxed")
    if len(tables) == 1:
        return whole
    keys = [*coordinates(whole), "loss_code"]
    best = whole.with_row_index("place").sort("gap", nulls_last=True)
    return best.unique(keys, keep="first").sort("place").drop("place")


def coordinates(table: pl.DataFrame) -> list[str]:
    """The columns that say which cell a row is: shape, loss and all of its hyper-parameters."""
    own = [name for name in table.columns if name not in SCHEMA]
    return [*SHAPE, "loss", *SHARED, *own]


def compare(first: pl.DataFrame, second: pl.DataFrame) -> dict[str, Any]:
    """What two runs say of the cells that both have.

    Args:
        first: of :func:`ssem_jax.sweep` or :func:`ssem_jax.read_run`.
        second: likewise; seeds, starts, witnesses and versions may differ.

    Returns:
        `common`, `only_first`, `only_second`: numbers of cells; `largest_difference`: of value and
        variances; `phases`: pair of differing phases → cells; `gaps`: the worst one of each among
        common cells; `contradictions`: cells whose certified brackets have no point in common, of
        which one must be wrong (same loss code only, for edited losses may differ).

    Raises:
        ValueError: they are no tables.
    """
    for name, table in (("first", first), ("second", second)):
        check_type(name, table, pl.DataFrame, "a table of ssem_jax.sweep")
    keys = [name for name in coordinates(first) if name in coordinates(second)]
    both = first.join(second, on=keys, how="inner", nulls_equal=True, suffix="_other")
    shared = {"on": keys, "nulls_equal": True}
    differing = both.filter(pl.col("phase") != pl.col("phase_other"))
    pairs = differing.group_by("phase", "phase_other", maintain_order=True).len().rows()
    return {
        "common": len(both),
        "only_first": len(first.join(second, how="anti", **shared)),
        "only_second": len(second.join(first, how="anti", **shared)),
        "largest_difference": {
            name: _most((both[name] - both[f"{name}_other"]).abs()) for name in COMPARED
        },
        "phases": {f"{one} → {other}": count for one, other, count in pairs},
        "gaps": [_most(both["gap"]), _most(both["gap_other"])],
        "contradictions": len(both.filter(_contradicts())),
    }


def _contradicts() -> pl.Expr:
    """Whether no truth fits both cells: the better one of two embeddings lies in both brackets."""
    apart = pl.lit(False)
    for name in ("delta2", "view_variance", "mean_squared"):
        for one, other in (("", "_other"), ("_other", "")):
            apart |= pl.col(f"{name}_lo{one}") > pl.col(f"{name}_hi{other}")
    for one, other in (("", "_other"), ("_other", "")):
        apart |= pl.col(f"lower{one}") > pl.col(f"value{other}") + GAP_TOLERANCE
    same_code = pl.col("loss_code").eq_missing(pl.col("loss_code_other"))
    return apart & same_code


def _most(column: pl.Series) -> float | None:
    return None if column.drop_nulls().is_empty() else float(most(column))
