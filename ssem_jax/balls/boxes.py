"""Statements on boxes, by branch and bound."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from flint import arb

from ssem_jax.balls.arithmetic import (
    BOX_PRECISION,
    Exact,
    float_above,
    float_below,
    to_ball,
    working_precision,
)
from ssem_jax.balls.closed_form import Cell
from ssem_jax.problem.validation import check_choice

Range = Exact | tuple[Exact, Exact]
"""A number, or the two ends of an interval that it ranges over."""
Box = Mapping[str, arb]
"""A ball for every variable of a statement."""
Statement = Callable[[Box], arb]
"""Maps a box to a ball that is positive only if the claim holds on all of the box.

At a point it is nonpositive only if the claim fails there. Balls that hold all values of a function
do; so do lower bounds of one that are exact at points.
"""


@dataclass(frozen=True)
class BoxProof:
    """What branch and bound found out about a statement on a box.

    Attributes:
        boxes: on which the statement was evaluated.
        proven: the statement holds on the whole box.
        undecided: sub-boxes, variable → (low, high), on which it was neither proven nor refuted.
        refuted: a point, variable → float, at which the statement is proven to fail, or None.
        seconds: that it took.
        box: the whole box, variable → (low, high).
        done: (boxes, variables, 2) ends of the sub-boxes on which the statement is proven.
    """

    boxes: int
    proven: bool
    undecided: tuple[dict[str, tuple[float, float]], ...]
    refuted: dict[str, float] | None
    seconds: float
    box: dict[str, tuple[float, float]]
    done: np.ndarray


def prove_on_box(
    statement: Statement,
    box: Mapping[str, tuple[Exact, Exact]],
    max_boxes: int = 200_000,
    min_width: float = 1e-6,
    precision: int = BOX_PRECISION,
    progress: Callable[[int, int], None] | None = None,
) -> BoxProof:
    """Prove by interval branch and bound that a statement is positive on a box.

    A sub-box whose ball is positive is done. Otherwise the statement is evaluated at the exact
    midpoint; where it is proven nonpositive there, inside the box as stated, the search ends with
    this counterexample, else the sub-box is halved across the side that is longest relative to the
    box. A ball that is no number (a division by 0) is no proof.

    Args:
        statement: maps variable → ball to a ball that holds all values. Alternatives are written
            as the maximum of balls, conjunctions as the minimum.
        box: variable → (low, high); ends that are no floats are rounded outwards.
        max_boxes: evaluations after which the rest stays undecided.
        min_width: sides are not halved below this fraction of those of the box.
        precision: bits.
        progress: called now and then with the boxes done and those waiting.

    Raises:
        ValueError: an empty box, or one with an end above the other.
    """
    if not box:
        raise ValueError("a box needs at least one variable; got none.")
    started = time.perf_counter()
    with working_precision(precision):
        names = tuple(box)
        stated = [(to_ball(low), to_ball(high)) for low, high in box.values()]
        ends = [(float_below(low), float_above(high)) for low, high in stated]
        for name, (low, high) in zip(names, ends, strict=True):
            if low > high:
                raise ValueError(f"{name} must range from low to high; got ({low}, {high}).")
        sizes = [high - low or 1.0 for low, high in ends]
        waiting, done, undecided, refuted, count = [tuple(ends)], [], [], None, 0
        while waiting and count < max_boxes:
            current = waiting.pop()
            count += 1
            if progress is not None and count % 1000 == 0:
                progress(count, len(waiting))
            balls = (arb(low).union(arb(high)) for low, high in current)
            if statement(dict(zip(names, balls, strict=True))) > 0:
                done.append(current)
                continue
            middle = [low + (high - low) / 2 for low, high in current]
            inside = all(
                low <= x and high >= x for (low, high), x in zip(stated, middle, strict=True)
            )
            point = {name: arb(x) for name, x in zip(names, middle, strict=True)}
            if inside and statement(point) <= 0:
                refuted = dict(zip(names, middle, strict=True))
                break
            widths = [
                0.0 if cut in side else (side[1] - side[0]) / size  # no float lies between
                for side, cut, size in zip(current, middle, sizes, strict=True)
            ]
            side = max(range(len(names)), key=widths.__getitem__)
            if widths[side] <= min_width:
                undecided.append(current)
                continue
            (low, high), cut = current[side], middle[side]
            waiting.append((*current[:side], (cut, high), *current[side + 1 :]))
            waiting.append((*current[:side], (low, cut), *current[side + 1 :]))
    undecided.extend(waiting)
    return BoxProof(
        boxes=count,
        proven=refuted is None and not undecided,
        undecided=tuple(dict(zip(names, sub, strict=True)) for sub in undecided),
        refuted=refuted,
        seconds=time.perf_counter() - started,
        box=dict(zip(names, ends, strict=True)),
        done=np.array(done).reshape(-1, len(names), 2),
    )


class _Domain(NamedTuple):
    """Parameters of a theorem: those that are fixed, and the box of those that range."""

    fixed: dict[str, Any]
    box: dict[str, tuple[Exact, Exact]]
    included: int

    def cell(self, point: Box) -> Cell:
        value: dict[str, Any] = {**self.fixed, **point}
        value = {name: to_ball(cast(Any, x)) if callable(x) else x for name, x in value.items()}
        return Cell(
            value["num_classes"],
            value["num_instances"],
            value["num_views"],
            self.included,
            value["alpha"],
            value["temperature"],
        )


def domain_of(
    num_classes: Range,
    num_instances: Range,
    num_views: Range,
    alpha: Range,
    temperature: Range,
    self_pairs: str,
) -> _Domain:
    """Check the least values of every parameter, and sort them into fixed ones and a box."""
    check_choice("self_pairs", self_pairs, ("include", "exclude"))
    limits = {
        "num_classes": (num_classes, 2, None),
        "num_instances": (num_instances, 2, None),
        "num_views": (num_views, 1 if self_pairs == "include" else 2, None),
        "alpha": (alpha, 0, 1),
        "temperature": (temperature, 0, None),
    }
    fixed, box = {}, {}
    for name, (given, least, most) in limits.items():
        ends = given if isinstance(given, tuple) else (given, given)
        low, high = map(to_ball, ends)
        positive = name != "temperature" or low > 0
        if not (low >= least and positive and (most is None or high <= most)):
            within = f"from {least}" + ("" if most is None else f" to {most}")
            raise ValueError(f"{name} must range {within}; got {given}.")
        if isinstance(given, tuple):
            box[name] = given
        else:
            # An integer stays one, so that coefficients made of counts are exact.
            fixed[name] = given if isinstance(given, int) or callable(given) else to_ball(given)
    if not box:
        raise ValueError("no parameter ranges over an interval; give one as a pair (low, high).")
    return _Domain(fixed, box, int(self_pairs == "include"))
