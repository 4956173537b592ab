"""Which cells show a claim: the picture and the caption of a verdict."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import polars as pl

from ssem_jax import theory
from ssem_jax.certificate.certificate import GAP_TOLERANCE
from ssem_jax.claims.cells import Cells
from ssem_jax.claims.claim import Claim, Plane, Proof, Theorem
from ssem_jax.claims.judgements import Judgement, outcomes, predict
from ssem_jax.show import boxes, brackets, tables
from ssem_jax.show.outcomes import draw_outcomes
from ssem_jax.show.style import PlotError
from ssem_jax.show.svg import inline_svg
from ssem_jax.sweeps.table import least, most
from ssem_jax.sweeps.words import COORDINATES, number, plain, short

MAPS = 3
"""Shapes of which a map is drawn, at most."""
CURVES = 4
"""Curves in one picture, at most."""
CURVE_POINTS = 161
"""Points of a predicted curve."""


def picture(judgement: Judgement) -> tuple[str, str]:
    """What shows a verdict: an <svg> element (or nothing) and a caption in HTML."""
    evidence, claim = judgement.evidence, judgement.claim
    try:
        if isinstance(evidence, Proof):
            figure, caption = _of_proof(judgement, evidence)
        elif evidence is None or judgement.cells == 0 or isinstance(claim, Theorem):
            figure, caption = None, "No cell counts, so there is nothing to draw."
        elif claim.along is not None:
            figure, caption = _of_windows(judgement, claim, claim.along, evidence)
        elif judgement.worst_deviation is not None:
            figure, caption = _of_equality(claim, evidence)
        else:
            figure, caption = _of_outcomes(judgement, claim, evidence)
    except PlotError as error:
        figure, caption = None, escape(f"No picture: {error}")
    if figure is None:
        return "", caption
    label = f"Picture for {judgement.claim.name}: {re.sub('<[^>]+>', '', caption)}"
    return inline_svg(figure, judgement.claim.name, label), caption


def _of_outcomes(judgement: Judgement, claim: Claim, table: pl.DataFrame) -> tuple[Any, str]:
    """Maps over (τ, α) of the shapes that say most."""
    cells = outcomes(claim, table)
    parts = tables.panels(cells)
    found = judgement.counterexample
    judged = pl.col("outcome").is_in(("holds", "refuted", "undecided"))

    def rank(item: tuple[str, pl.DataFrame]) -> tuple[float, int]:
        """The counterexample's shape first, then those with the most cells that count."""
        counted = item[1].filter(judged)
        first = found is not None and all(item[1][key][0] == found[key] for key in tables.SHAPE)
        return -first, -len(counted)

    counting = [item for item in parts if not item[1].filter(judged).is_empty()]
    chosen = sorted(counting, key=rank)[:MAPS]
    figure = draw_outcomes(chosen, found)
    counts = Counter(cells["outcome"].to_list())
    told = ", ".join(f"{counts[name]} {name}" for name in _OUTCOMES if counts[name])
    return figure, (
        f"{len(chosen)} of {len(parts)} shapes, one square a cell, coloured by the variance found "
        "(white: collapsed). Black line: the boundary that theory gives (solid α<sub>c</sub>, "
        "dashed α<sub>v</sub>); dotted: 1/n and 1/log m. Green dot: the claim holds there; red "
        "cross: refuted; ring: left out; grey: the statement does not speak about it. "
        f"All cells of all shapes: {told}."
    )


_OUTCOMES = ("holds", "refuted", "undecided", "excluded", "outside")


def _of_equality(claim: Claim, table: pl.DataFrame) -> tuple[Any, str]:
    """The prediction as curves through the brackets of one shape; how far all cells deviate."""
    cells = outcomes(claim, table).filter(pl.col("predicted").is_not_null())
    worst = cells.sort(pl.col("outcome") == "refuted", "deviation")[-1]
    x = "alpha" if cells["alpha"].n_unique() > 1 else "temperature"
    other = "temperature" if x == "alpha" else "alpha"
    keys = [*tables.SHAPE, other]
    shown = cells
    if cells[other].n_unique() > 1:  # one shape, several values of the other hyper-parameter
        shown = cells.join(
            worst.select(tables.SHAPE), on=tables.SHAPE, how="semi", nulls_equal=True
        )
    groups = _thinned(shown.partition_by(keys, maintain_order=True), worst.row(0, named=True), keys)
    lines, curves = [], []
    for group, label in zip(groups, _labels(groups, keys), strict=True):
        group = group.sort(x)
        lines.append(_bars(group[x], group["observed_lo"], group["observed_hi"], label))
        spaced = np.linspace if x == "alpha" else np.geomspace
        fine = spaced(least(group[x]), most(group[x]), CURVE_POINTS)
        model = group[np.zeros(CURVE_POINTS, int)].with_columns(pl.Series(x, fine))
        curves.append(pl.DataFrame({"x": fine, "predicted": predict(claim, model), "label": label}))
    tolerance = claim.margin(Cells(worst)).tolerance
    rank = brackets.Rank(
        cells["deviation"].to_numpy(),
        (cells["outcome"] == "refuted").to_numpy(),
        "largest deviation",
        tolerance,
        True,
    )
    title = "" if cells[other].n_unique() == 1 else _shape_title(worst.row(0, named=True))
    label = short(claim.quantity)
    figure = brackets.draw_brackets(pl.concat(lines), x, label, rank, pl.concat(curves), title)
    return figure, (
        "Left: the prediction (lines) and the certified brackets (bars; a marker in the middle), "
        f"for {'the shape that deviates most' if title else 'several shapes'}. Right: for each of "
        f"all {len(cells)} cells, how far any near-optimal embedding can be from the prediction at "
        f"most; dashed: the tolerance {tolerance:.0e}."
    )


def _of_windows(
    judgement: Judgement, claim: Claim, along: str, table: pl.DataFrame
) -> tuple[Any, str]:
    """Brackets along a coordinate; the margin of all windows."""
    windows = outcomes(claim, table)
    worst = windows.sort("margin_lo")[0].row(0, named=True)
    if judgement.counterexample is not None:
        worst = judgement.counterexample
    if claim.where is not None:
        table = table.filter(pl.Series(np.asarray(claim.where(Cells(table)), bool)))
    keys = [name for name in COORDINATES if name not in (along, "dim")]
    bracket = getattr(Cells(table), claim.quantity)
    table = table.with_columns(pl.Series("low", bracket.low), pl.Series("high", bracket.high))
    groups = [
        group
        for group in table.partition_by(keys, maintain_order=True)
        if group[along].n_unique() >= claim.window
    ]
    # Curves that move little say little: pick among the others, evenly.
    moves = [most(group["high"]) - least(group["low"]) for group in groups]
    little = float(np.quantile(moves, 0.4))
    ordered = [
        groups[place]
        for place in np.argsort(moves, kind="stable")
        if moves[place] > little or _belongs(worst, groups[place], keys)
    ]
    chosen = _thinned(ordered, worst, keys)
    lines = [
        _bars(group[along], group["low"], group["high"], label)
        for group, label in zip(
            (group.sort(along) for group in chosen), _labels(chosen, keys), strict=True
        )
    ]
    refuted = (windows["outcome"] == "refuted").to_numpy()
    rank = brackets.Rank(windows["margin_lo"].to_numpy(), refuted, "certified margin", 0.0, False)
    label = short(claim.quantity)
    figure = brackets.draw_brackets(pl.concat(lines), along, label, rank)
    return figure, (
        f"Left: certified brackets along {plain(along)} (bars; a marker in the middle), "
        f"for {len(chosen)} of {len(groups)} sequences of cells, the one that decides the verdict "
        f"first. Right: for each of all {len(windows)} windows of {claim.window} neighbouring "
        "cells, the smallest margin that the brackets allow; the statement holds above the dashed "
        "line at 0"
        + (f" and is refuted at {int(refuted.sum())} red crosses." if any(refuted) else ".")
    )


def _of_proof(judgement: Judgement, proof: Proof) -> tuple[Any, str]:
    """Boxes of a theorem, enclosures, or a point that refutes it."""
    plane = getattr(judgement.claim, "plane", None)
    if proof.parts:
        boundary = None if plane is None else _plane_boundary(plane, proof.parts[0][1].box)
        parts = [(name, part.box, part.done) for name, part in proof.parts]
        figure = boxes.draw_cover(parts, boundary, plane.band if plane else 0.0)
        ranges = "; ".join(
            f"{escape(name)}: {part.boxes:,} box{'es' * (part.boxes != 1)} over {_ranges(part.box)}"
            for name, part in proof.parts
        )
        over = (
            " Black lines: the boundaries; yellow: the band that is left out; filled green: where "
            "the statement speaks about this phase (elsewhere it holds trivially)."
            if boundary is not None
            else ""
        )
        return figure, (
            "Each rectangle is a box of parameters on which one evaluation in ball arithmetic "
            "proves the statement for every point at once; together they cover the whole domain "
            f"(drawn over the two parameters that had to be cut most).{over} {ranges}."
        )
    if proof.gaps:
        gaps = np.array(proof.gaps)
        rank = brackets.Rank(gaps, np.zeros(len(gaps), bool), "certified gap", GAP_TOLERANCE, True)
        return brackets.draw_ranks(rank), (
            f"Gaps of the {len(gaps)} certified cells that the statement was checked on, from the "
            f"smallest to the largest; dashed: the largest that counts as certified, "
            f"{GAP_TOLERANCE:.0e}."
        )
    if proof.widths:
        widths = np.array(proof.widths)
        rank = brackets.Rank(
            widths, np.zeros(len(widths), bool), "width of the enclosure", None, True
        )
        return brackets.draw_ranks(rank), (
            f"Widths of the {len(widths)} enclosures of the minimal loss, from the smallest to the "
            "largest: the true minimum over all embeddings lies in each of them."
        )
    if plane is not None and plane.point is not None:
        tau = plane.point[0]
        boundary = _plane_boundary(plane, {"temperature": (tau / 8, tau * 4)})
        names = (
            "called safe by the sentence",
            f"boundary {short('alpha_c')}",
            "the counterexample",
        )
        return boxes.draw_corner(boundary, plane.point, names), (
            f"m = {plane.num_classes}, n = {plane.num_instances}, p = {plane.num_views}: the red "
            "cross is a corner of the hatched region that the sentence calls safe, yet it lies "
            "in the grey region below the boundary, where collapse is optimal. Ball arithmetic "
            "proves it at this point."
        )
    return (
        None,
        f"Checked case by case: {judgement.looked_at}, {judgement.undecided:,} undecided.",
    )


def _plane_boundary(plane: Plane, box: Mapping[str, tuple[float, float]]) -> pl.DataFrame:
    """The closed-form boundaries of a plane over a range of temperatures."""
    shape = (plane.num_classes, plane.num_instances, plane.num_views)
    tau = np.geomspace(*box["temperature"], CURVE_POINTS)
    columns = {
        "alpha_c": theory.alpha_c(*shape, tau, plane.self_pairs),
        "alpha_v": theory.alpha_v(*shape, tau, plane.self_pairs),
    }
    return pl.DataFrame({"temperature": tau} | {k: np.asarray(v) for k, v in columns.items()})


def _ranges(box: Mapping[str, tuple[float, float]]) -> str:
    return ", ".join(
        f"{escape(plain(name))} in [{low:.6g}, {high:.6g}]" for name, (low, high) in box.items()
    )


def _thinned(
    groups: list[pl.DataFrame], worst: dict[str, Any], keys: Sequence[str]
) -> list[pl.DataFrame]:
    """At most `CURVES` groups, evenly, with the one that a given cell belongs to."""
    own = [group for group in groups if _belongs(worst, group, keys)][:1]
    rest = [g for g in groups if not own or g is not own[0]]
    places = np.linspace(0, len(rest) - 1, min(CURVES - len(own), len(rest))).round().astype(int)
    return own + [rest[place] for place in dict.fromkeys(places.tolist())]


def _belongs(row: dict[str, Any], group: pl.DataFrame, keys: Sequence[str]) -> bool:
    return all(group[key][0] == row[key] for key in keys)


def _labels(groups: list[pl.DataFrame], keys: Sequence[str]) -> list[str]:
    """What tells groups apart: the values of the keys that vary among them."""
    said = {*keys, "num_instances"}
    if "sizes" in keys:
        said |= {"num_classes", "num_views"}
    rows = [group.row(0, named=True) for group in groups]
    varying = [key for key in COORDINATES if key in said]
    varying = [key for key in varying if len({row[key] for row in rows}) > 1]
    varying = [key for key in varying if all(group[key].n_unique() == 1 for group in groups)]
    return [
        ", ".join(f"{plain(key)} = {number(row[key])}" for key in varying) or f"case {place + 1}"
        for place, row in enumerate(rows)
    ]


def _bars(x: pl.Series, low: pl.Series, high: pl.Series, label: str) -> pl.DataFrame:
    columns = {"x": x.cast(pl.Float64), "low": low, "high": high}
    return pl.DataFrame(columns).with_columns(label=pl.lit(label))


def _shape_title(row: dict[str, Any]) -> str:
    keys = ("num_classes", "num_instances", "num_views", "dim")
    return ", ".join(f"{plain(key)} = {row[key]}" for key in keys)
