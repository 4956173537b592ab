"""Tables behind figures: one shape each, and the closed forms that go with them.

Nothing is solved here. The closed forms that are drawn over certified cells come as tables, too
(:func:`boundary_table`, :func:`slice_table`), so that files suffice to redraw a figure.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import polars as pl

from ssem_jax import theory
from ssem_jax.problem.validation import check_type
from ssem_jax.show.style import PlotError

BOUNDARY_POINTS = 161
"""Temperatures at which a boundary or a theory curve is drawn."""
MAX_CURVES = 4
"""Slices drawn into one panel at most; a larger grid is thinned evenly."""


# ---------------------------------------------------------------------------------------------
# Tables: one shape each, and the closed forms that go with them.
# ---------------------------------------------------------------------------------------------

SHAPE = ("sizes", "num_views", "dim", "loss", "loss_code", "self_pairs", "mean")
"""Columns that tell the panels of a run apart; those that are missing count as equal."""


def panels(
    table: pl.DataFrame, said_elsewhere: Collection[str] = ()
) -> list[tuple[str, pl.DataFrame]]:
    """The table split by shape and convention, each part with a title that tells it from the
    others; columns that are `said_elsewhere` are left out of it.
    """
    require_columns(table)
    keys = [name for name in SHAPE if name in table.columns]
    told = _told(table, keys) - set(said_elsewhere)
    return [
        (_title(part.row(0, named=True), told), part)
        for part in (
            table.partition_by(keys, maintain_order=True, include_key=True) if keys else [table]
        )
    ]


def said_of_all(table: pl.DataFrame) -> tuple[str, set[str]]:
    """What all panels of a table have in common, for a line over them, and its columns."""
    check_type("table", table, pl.DataFrame, "a table of ssem_jax.sweep")
    keys = [name for name in SHAPE if name in table.columns]
    if not keys or len(table.select(keys).unique()) < 2:
        return "", set()
    names = [name for name in TITLES if name in table.columns and table[name].n_unique() == 1]
    row = table.row(0, named=True)
    named = [name for name in names if row[name] is not None and (name, row[name]) not in USUAL]
    words = {name: _title(row, {name}) for name in named if name != "self_pairs"}
    if "self_pairs" in named:
        words["self_pairs"] = f"self pairs: {row['self_pairs']}"
    return ", ".join(words.values()), set(names)


def conventions(table: pl.DataFrame) -> list[pl.DataFrame]:
    """The table split by its pairs (i, i), where it has several kinds of them."""
    if "self_pairs" not in table.columns or table["self_pairs"].n_unique() < 2:
        return [table]
    return table.partition_by("self_pairs", maintain_order=True)


def _told(table: pl.DataFrame, keys: Sequence[str]) -> set[str]:
    """The columns that titles name: the structure, and whatever else varies."""
    told = {name for name in keys if table[name].n_unique() > 1}
    cells = table.select(keys).unique()
    if "dim" in told and len(cells) == len(cells.unique([key for key in keys if key != "dim"])):
        told.discard("dim")  # it follows from the others, and need not be said
    if (cells["num_views"] > 1).any() if "num_views" in keys else False:
        told.add("num_views")
    return told | {"num_classes", "num_instances"}


TITLES = ("num_classes", "num_instances", "num_views", "dim", "loss", "self_pairs", "mean")
"""What a title may name."""
USUAL = (("loss", "SupCL"), ("mean", "pairs"), ("num_views", 1))
"""What goes without saying where it is so in all panels."""
MAX_TITLE = 20
"""Characters of sizes that a title has room for."""


def _title(row: dict[str, Any], told: Collection[str]) -> str:
    words = []
    if row.get("num_instances") is not None:
        letters = {"num_classes": "m", "num_instances": "n"}
        words += [f"${letter}={row[name]}$" for name, letter in letters.items() if name in told]
    elif "num_classes" in told or "sizes" in told:
        words.append(_sizes(row["sizes"]))
    if "num_views" in told and row.get("num_views") is not None:
        words.append(f"$p={row['num_views']}$")
    if "dim" in told:
        words.append(f"$d={row['dim']}$")
    words += [str(row[name]) for name in ("loss", "self_pairs", "mean") if name in told]
    return ", ".join(words)


def _sizes(text: str) -> str:
    """Sizes of classes that differ, in little room."""
    if len(text) <= MAX_TITLE:
        return f"sizes {text}"
    sizes = [int(size) for size in text.split(",")]
    return f"{len(sizes)} classes of {min(sizes)} to {max(sizes)}"


def _has_theory(table: pl.DataFrame) -> bool:
    """Whether the closed forms of balanced classes are about these cells."""
    first = table.row(0, named=True)
    balanced = first.get("num_instances") is not None and first.get("self_pairs") is not None
    return balanced and first.get("loss", "SupCL") == "SupCL"


def counts_of(table: pl.DataFrame) -> tuple[int, int, int, str]:
    row = table.row(0, named=True)
    return row["num_classes"], row["num_instances"], row["num_views"], row["self_pairs"]


def boundary_table(table: pl.DataFrame) -> pl.DataFrame:
    """The closed-form boundaries of every panel of a table, over its range of temperatures.

    Returns:
        num_classes, num_instances, num_views, self_pairs, temperature, alpha_c and alpha_v (null
        where views never part); empty for classes of different size and other losses.
    """
    rows = []
    for _, part in panels(table):
        if not _has_theory(part):
            continue
        m, n, p, self_pairs = counts_of(part)
        edges = cell_edges(part["temperature"].unique().to_numpy(), logarithmic=True)
        tau = np.geomspace(edges[0], edges[-1], BOUNDARY_POINTS)
        alpha_v = np.asarray(theory.alpha_v(m, n, p, tau, self_pairs))
        rows.append(
            pl.DataFrame(
                {
                    "num_classes": m,
                    "num_instances": n,
                    "num_views": p,
                    "self_pairs": self_pairs,
                    "temperature": tau,
                    "alpha_c": np.asarray(theory.alpha_c(m, n, p, tau, self_pairs)),
                    "alpha_v": np.where(alpha_v > 0, alpha_v, np.nan),
                }
            ).with_columns(pl.col("alpha_v").fill_nan(None))
        )
    return pl.concat(rows).unique(maintain_order=True) if rows else pl.DataFrame()


def rows_of_panel(closed_form: pl.DataFrame | None, part: pl.DataFrame) -> pl.DataFrame | None:
    """The rows of a table of closed forms that belong to a panel, or None where there are none."""
    if closed_form is None or closed_form.is_empty() or not _has_theory(part):
        return None
    m, n, p, self_pairs = counts_of(part)
    rows = closed_form.filter(num_classes=m, num_instances=n, num_views=p, self_pairs=self_pairs)
    return None if rows.is_empty() else rows


def slice_table(
    table: pl.DataFrame, along: str, fixed: Sequence[float] | None = None
) -> pl.DataFrame:
    """The closed-form curves that belong to slices of a table.

    Args:
        table: cells of balanced classes.
        along: "alpha" or "temperature", the axis of the slices.
        fixed: values of the other one; by default those that :func:`slice_values` picks.

    Returns:
        num_classes, num_instances, num_views, self_pairs, alpha, temperature, delta2,
        view_variance, within_variance, between_variance and value; empty without closed forms.
    """
    rows = []
    for _, part in panels(table):
        if not _has_theory(part):
            continue
        m, n, p, self_pairs = counts_of(part)
        present = part[along].to_numpy()
        low, high = float(present.min()), float(present.max())
        spaced = np.linspace if along == "alpha" else np.geomspace
        x = spaced(low, high, BOUNDARY_POINTS)
        for value in slice_values(part, along) if fixed is None else fixed:
            alpha, tau = (x, value) if along == "alpha" else (value, x)
            cell = (m, n, p, alpha, tau, self_pairs)
            variances = theory.variances(*cell)
            columns = {
                "alpha": alpha,
                "temperature": tau,
                "delta2": theory.delta2(*cell),
                "view_variance": variances.view,
                "within_variance": variances.within,
                "between_variance": variances.between,
                "value": theory.loss(*cell),
            }
            whole = {
                name: np.broadcast_to(np.asarray(column, float), x.shape)
                for name, column in columns.items()
            }
            head = {"num_classes": m, "num_instances": n, "num_views": p, "self_pairs": self_pairs}
            rows.append(pl.DataFrame(head | whole))
    return pl.concat(rows) if rows else pl.DataFrame()


def slice_values(table: pl.DataFrame, along: str) -> list[float]:
    """The values of the other hyper-parameter whose slices are drawn, at most `MAX_CURVES`."""
    return thinned(held_values(table, along))


def held_values(table: pl.DataFrame, along: str) -> list[float]:
    """All values of the other hyper-parameter; of several panels, those that all have, if any."""
    other = "temperature" if along == "alpha" else "alpha"
    sets = [set(part[other].to_list()) for _, part in panels(table)]
    return sorted(set.intersection(*sets) or set.union(*sets)) if sets else []


def thinned(values: list[float]) -> list[float]:
    """At most `MAX_CURVES` of them."""
    if len(values) <= MAX_CURVES:
        return values
    # Evenly through the inside of the range: the ends are the dull ones.
    places = np.unique(np.linspace(0, len(values) - 1, MAX_CURVES + 2)[1:-1].round().astype(int))
    return [values[place] for place in places]


# ---------------------------------------------------------------------------------------------
# Maps over (τ, α).
# ---------------------------------------------------------------------------------------------


def cell_edges(values: np.ndarray, logarithmic: bool = False) -> np.ndarray:
    """Edges halfway between sorted values, and as far beyond the ends."""
    x = np.sort(np.asarray(values, float))
    x = np.log(x) if logarithmic else x
    if len(x) == 1:
        edges = x[0] + np.array([-0.05, 0.05])
    else:
        middle = (x[1:] + x[:-1]) / 2
        edges = np.concatenate([[2 * x[0] - middle[0]], middle, [2 * x[-1] - middle[-1]]])
    return np.exp(edges) if logarithmic else edges


def require_columns(table: pl.DataFrame, *columns: str) -> None:
    """Raise a ValueError unless it is a table with a value of each of these in every cell."""
    check_type("table", table, pl.DataFrame, "a table of ssem_jax.sweep")
    for name in columns:
        if name not in table.columns or table[name].null_count():
            raise PlotError(
                f"this figure needs a value of {name} in every cell; "
                "draw a run whose loss has that hyper-parameter."
            )


def with_parts(table: pl.DataFrame) -> pl.DataFrame:
    """The table with what the brackets say of within- and between-class variance and the loss.

    Adds within_variance = δ² + v, and the columns <quantity>_lo and <quantity>_hi of
    within_variance, between_variance (1 - mean_squared - within) and value.
    """
    if "within_variance" in table.columns:
        return table
    table = table.with_columns(
        within_variance=pl.col("delta2") + pl.col("view_variance"),
        within_variance_lo=pl.col("delta2_lo") + pl.col("view_variance_lo"),
        within_variance_hi=pl.col("delta2_hi") + pl.col("view_variance_hi"),
        value_lo=pl.col("lower"),
        value_hi=pl.col("value"),
    )
    return table.with_columns(
        between_variance_lo=(1 - pl.col("mean_squared_hi") - pl.col("within_variance_hi")).clip(0),
        between_variance_hi=(1 - pl.col("mean_squared_lo") - pl.col("within_variance_lo")).clip(
            None, 1
        ),
    )
