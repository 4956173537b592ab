r"""The simplest inequalities that all cells of a table obey, as claims to be judged.

Certified brackets say of every cell where a quantity lies: y ∈ [lo, hi]. An upper bound Σ c_k f_k
of few features f_k is sound on the table if it is at least hi in every row; the one that is nearest
on average is a linear program,

.. math:: \min_c \operatorname{mean}_i \Bigl(\sum_k c_k f_k(i) - hi_i\Bigr)
          \quad\text{subject to}\quad \sum_k c_k f_k(i) \ge hi_i \text{ for all } i,

solved for every choice of up to three features. Coefficients are then rounded outwards to simple
fractions: all features are nonnegative, so that stays sound. Proposals are ranked by their distance
from the brackets and their length. The quantity α_c is a row for each shape and temperature: its
bracket reaches from the largest α that is certified collapsed to the smallest that is spread.

A proposal is a guess from finitely many cells. It is written out as a claim with the range of the
table as its domain, in which ``ssem test`` searches for a counterexample.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from fractions import Fraction

import numpy as np
import polars as pl

from ssem_jax.certificate.certificate import COLLAPSE_TOLERANCE
from ssem_jax.claims.cells import Cells, ClaimError
from ssem_jax.problem.validation import check_choice, check_count, check_type

FEATURES = {
    "1": "1.0",
    "1/n": "1 / cell.num_instances",
    "1/m": "1 / cell.num_classes",
    "1/(mn)": "1 / (cell.num_classes * cell.num_instances)",
    "τ": "cell.temperature",
    "τ log m": "cell.temperature * np.log(cell.num_classes)",
    "(1-1/n) τ log m": "(1 - 1 / cell.num_instances) * cell.temperature * np.log(cell.num_classes)",
    "r": "np.exp(-cell.num_classes / ((cell.num_classes - 1) * cell.temperature))",
    "e^{-1/τ}": "np.exp(-1 / cell.temperature)",
    "m e^{-1/τ}": "cell.num_classes * np.exp(-1 / cell.temperature)",
    "α": "cell.alpha",
}
"""Nonnegative functions of a cell, as mathematics (r = e^{-m/((m-1)τ)}) and as Python."""
QUANTITIES = ("alpha_c", "delta2", "view_variance", "mean_squared")
SIDES = ("above", "below")
DENOMINATORS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 20, 100)
"""Of coefficients, the simplest first."""
LOST = 0.01
"""Mean distance that rounding a coefficient may cost."""
TERM = 0.01
"""Mean distance that a further term must gain to be worth it."""
TIGHT = 0.02
"""Distance within which a rule is told as tight at a row."""
SETTING = ("num_classes", "num_instances", "num_views", "self_pairs", "temperature")
"""What a threshold of α depends on."""


@dataclasses.dataclass(frozen=True)
class Proposal:
    """An inequality that every row of a table obeys.

    Attributes:
        quantity: what it bounds.
        side: "above" or "below".
        terms: feature → coefficient.
        distance: from the brackets, on average.
        tight: share of the rows at which it is within `TIGHT`.
    """

    quantity: str
    side: str
    terms: dict[str, Fraction]
    distance: float
    tight: float

    @property
    def rule(self) -> str:
        """The bound, as mathematics."""
        parts = [
            f"{value}" if name == "1" else f"{value}·{name}" for name, value in self.terms.items()
        ]
        return " + ".join(parts).replace("+ -", "- ") or "0"

    @property
    def code(self) -> str:
        """The bound, as Python of a cell."""
        parts = [f"{float(value)!r} * ({FEATURES[name]})" for name, value in self.terms.items()]
        return " + ".join(parts) or "0.0"


def thresholds(table: pl.DataFrame) -> pl.DataFrame:
    """Brackets of α_c: a row for each setting in which both phases are certified."""
    collapsed = pl.col("delta2_hi") <= COLLAPSE_TOLERANCE
    spread = pl.col("delta2_lo") > COLLAPSE_TOLERANCE
    found = table.group_by(*SETTING, maintain_order=True).agg(
        pl.col("alpha").filter(collapsed).max().alias("alpha_c_lo"),
        pl.col("alpha").filter(spread).min().alias("alpha_c_hi"),
    )
    return found.drop_nulls()


def propose(
    table: pl.DataFrame,
    quantity: str = "alpha_c",
    side: str = "above",
    most_terms: int = 3,
    count: int = 5,
) -> list[Proposal]:
    """The simplest bounds of a quantity that are sound on a table, the best first.

    Args:
        table: certified cells of balanced classes.
        quantity: "alpha_c", or a bracket of the table.
        side: "above", a bound from above; or "below".
        most_terms: features of a bound at most.
        count: proposals at most.

    Raises:
        ClaimError: the table has no bracket of the quantity.
    """
    check_type("table", table, pl.DataFrame, "a table of ssem_jax.sweep")
    check_choice("quantity", quantity, QUANTITIES)
    check_choice("side", side, SIDES)
    most_terms = check_count("most_terms", most_terms, 1)
    count = check_count("count", count, 1)
    rows = table.drop_nulls("num_instances")
    rows = thresholds(rows) if quantity == "alpha_c" else rows
    ends = rows[f"{quantity}_hi" if side == "above" else f"{quantity}_lo"].to_numpy()
    if not len(ends) or not np.all(np.isfinite(ends)):
        raise ClaimError(
            f"no bracket of {quantity} is in the table; sweep cells of equal classes"
            + (", with α on both sides of the threshold." if quantity == "alpha_c" else ".")
        )
    names = [name for name in FEATURES if quantity != "alpha_c" or name != "α"]
    values = features(Cells(rows), names)
    chosen = [
        list(places)
        for size in range(1, most_terms + 1)
        for places in itertools.combinations(range(len(names)), size)
    ]
    sign = 1.0 if side == "above" else -1.0
    found = {}
    for places in chosen:
        coefficients = _nearest(values[:, places], ends, sign)
        if coefficients is None:
            continue
        distance = sign * (values[:, places] @ np.array(coefficients, float) - ends)
        terms = {names[k]: c for k, c in zip(places, coefficients, strict=True) if c}
        tight = float(np.mean(distance <= TIGHT))
        proposal = Proposal(quantity, side, terms, float(distance.mean()), tight)
        found.setdefault(proposal.rule, proposal)
    ranked = sorted(found.values(), key=lambda each: each.distance + TERM * len(each.terms))
    return ranked[:count]


def features(cells: Cells, names: list[str]) -> np.ndarray:
    """(B, K) values of features."""
    known = {"np": np, "cell": cells}
    columns = [eval(FEATURES[name], known) for name in names]
    return np.stack([np.broadcast_to(column, len(cells)) for column in columns], axis=1)


def _nearest(values: np.ndarray, ends: np.ndarray, sign: float) -> list[Fraction] | None:
    """Simple coefficients of the nearest sound bound, or None where there is none."""
    from scipy.optimize import linprog  # half a second, which nothing else should wait for

    solved = linprog(sign * values.mean(0), -sign * values, -sign * ends, bounds=(None, None))
    if not solved.success:
        return None
    outwards = math.ceil if sign > 0 else math.floor
    least = float(sign * (values @ solved.x - ends).mean())
    for denominator in DENOMINATORS:
        rounded = [Fraction(outwards(c * denominator), denominator) for c in solved.x]
        distance = sign * (values @ np.array(rounded, float) - ends)
        # Sound but for the rounding of the program, which is looked at here.
        if distance.min() >= 0 and distance.mean() <= least + LOST:
            return rounded
    return None


def as_claims(proposals: list[Proposal], table: pl.DataFrame) -> str:
    """A file of claims, one for each proposal, for ``ssem test``.

    Args:
        proposals: of :func:`propose`.
        table: what they were found on, whose range is their domain: shapes, and temperatures of
            each number of classes.
    """
    for each in proposals:
        check_type("every proposal", each, Proposal, "a Proposal, of propose")
    check_type("table", table, pl.DataFrame, "a table of ssem_jax.sweep")
    rows = table.drop_nulls("num_instances")
    shapes = ", ".join(
        f"{name}={tuple(rows[name].unique().sort().to_list())}"
        for name in ("num_classes", "num_instances", "num_views", "self_pairs")
    )
    low, high = rows["temperature"].min(), rows["temperature"].max()
    tau = f"sx.Range({low!r}, {high!r}, log=True)" if low != high else f"{low!r}"
    ends = rows.group_by("num_classes", maintain_order=True).agg(pl.col("temperature").max())
    hottest = dict(ends.sort("num_classes").rows())
    seen = [f"(cell.num_classes != {m}) | (cell.temperature <= {end!r})"
            for m, end in hottest.items() if end < high]  # fmt: skip
    head = (
        '"""Proposed by `ssem propose` from certified cells: guesses for `ssem test`."""\n'
        "\nimport numpy as np\n\nimport ssem_jax as sx\n"
    )
    return head + "".join(
        _claim(each, place, f"{shapes}, temperature={tau}, alpha=sx.Range(0, 1)", seen)
        for place, each in enumerate(proposals, 1)
    )


def _claim(proposal: Proposal, place: int, space: str, seen: list[str]) -> str:
    """A claim as Python, in a space and where conditions hold."""
    comparison = "<=" if proposal.side == "below" else ">="
    if proposal.quantity == "alpha_c":
        margin = f"cell.delta2 - {COLLAPSE_TOLERANCE!r}"
        margin = margin if proposal.side == "above" else f"{COLLAPSE_TOLERANCE!r} - cell.delta2"
        said = "classes spread" if proposal.side == "above" else "classes collapse"
        statement = f"Where α {comparison} {proposal.rule}, {said}."
        seen = [f"cell.alpha {comparison} {proposal.code}", *seen]
    else:
        bound, what = f"({proposal.code})", f"cell.{proposal.quantity}"
        margin = f"{bound} - {what}" if proposal.side == "above" else f"{what} - {bound}"
        sense = "≤" if proposal.side == "above" else "≥"
        statement = f"{proposal.quantity} {sense} {proposal.rule}."
    where = f", where=lambda cell: ({') & ('.join(seen)})" if seen else ""
    return (
        f"\nproposal_{place} = sx.Claim(\n    name='proposal_{place}',\n"
        f"    statement={statement!r},\n    margin=lambda cell: {margin},\n"
        f"    domain=sx.Space({space}{where}),\n    closed=True,\n)\n"
    )
