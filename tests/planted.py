"""Statements whose truth is known, as a theorist would write them: half true, half false.

Ten are written by hand, `TRUE` and `FALSE`. :func:`generated` makes as many more as are asked for
from closed forms: thresholds and bounds of δ², of the minimal loss and of similarities over random
boxes of (α, τ), rules for α, phases, monotonicity. Half are true, by a margin; a quarter are false
on a good part of their domain, and a quarter only in a **corner**, on less than `CORNER` of it.
Which they are is known from the closed forms, sampled densely.

    python -m tests.planted            # judges 200, and prints the counts

Right and undecided are told apart from wrong. In a corner the search may see nothing: then what it
says must tell how closely it looked.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

import ssem_jax as sx
from ssem_jax import theory
from ssem_jax.certificate import COLLAPSE_TOLERANCE
from ssem_jax.claims import BOUNDARY_BAND, Claim, Range, Space, Verdict, equal, same_phase, search
from ssem_jax.claims import told as told_file
from ssem_jax.claims.source import Source

if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)  # before the first closed form

WARM = Range(0.2, 5, log=True)
"""Temperatures at which brackets are narrow everywhere, also at α = 1."""


def spread(cell):
    return cell.delta2 - COLLAPSE_TOLERANCE


def collapsed(cell):
    return COLLAPSE_TOLERANCE - cell.delta2


def satisfies(guideline):
    return lambda cell: cell.predict(lambda *a, self_pairs: guideline(*a)).astype(bool)


TRUE = [
    Claim(
        "low_alpha_collapses",
        "With self pairs included, alpha <= 1/n collapses at every temperature.",
        collapsed,
        Space(num_classes=2, num_instances=(2, 3), where=lambda c: c.alpha <= 1 / c.num_instances),
        closed=True,
    ),
    Claim(
        "closed_form",
        "delta2 is what the closed form says.",
        lambda cell: equal(cell.delta2, cell.predict(theory.delta2)),
        Space(num_classes=2, num_instances=2, temperature=WARM),
        exclude=lambda cell: cell.near_boundary(),
    ),
    Claim(
        "majority_guideline",
        "alpha >= (n+1)/(2n) and tau <= 1/log m prevent class collapse.",
        spread,
        Space(num_classes=(2, 3), num_instances=2, where=satisfies(theory.majority_guideline)),
        exclude=lambda cell: cell.near_boundary(),
    ),
    Claim(
        "rises_with_alpha",
        "delta2 does not decrease with alpha (to 1e-3).",
        lambda first, second: second.delta2 - first.delta2 + 1e-3,
        Space(num_classes=2, num_instances=2, temperature=WARM),
        along="alpha",
        closed=True,
    ),
    Claim(
        "no_dimension_matters",
        "From d = mn-1 on, delta2 does not depend on d (to 1e-3).",
        lambda first, second: 1e-3 - abs(first.delta2 - second.delta2),
        Space(num_classes=2, num_instances=2, dim=(3, 4), temperature=WARM),
        along="dim",
        closed=True,
    ),
]

PEAK = float(np.max(theory.delta2(2, 2, 1, 0.8, np.geomspace(0.1, 5, 4000))))

FALSE = [
    Claim(
        "summary_guideline",
        "alpha >= 1/n and tau <= 1/log m prevent class collapse.",
        spread,
        Space(num_classes=(2, 3), num_instances=(2, 3), where=satisfies(theory.summary_guideline)),
    ),
    Claim(
        "corner",
        "delta2 <= 0.6 for tau >= 1; false only for alpha near 1.",
        lambda cell: 0.6 - cell.delta2,
        Space(num_classes=2, num_instances=2, alpha=Range(0, 0.99), temperature=Range(1, 5)),
        closed=True,
    ),
    Claim(
        "below_its_peak",
        "At alpha = 0.8, delta2 stays under a value just below its peak over tau.",
        lambda cell: PEAK - 2e-5 - cell.delta2,
        Space(num_classes=2, num_instances=2, alpha=0.8, temperature=Range(0.05, 5, log=True)),
    ),
    Claim(
        "falls_with_temperature",
        "delta2 does not increase with tau.",
        lambda first, second: first.delta2 - second.delta2,
        Space(num_classes=2, num_instances=2, temperature=WARM),
        along="temperature",
        closed=True,
    ),
    Claim(
        "boundary_off_by_a_little",
        "alpha <= alpha_c + 0.004 collapses.",
        collapsed,
        Space(
            num_classes=2,
            num_instances=2,
            temperature=WARM,
            where=lambda c: c.alpha <= c.boundary(theory.alpha_c) + 0.004,
        ),
        closed=True,
    ),
]

SHARE = sx.claims.Budget(cells=800)


# ------------------------------------------------------------------------------ generated

CORNER = 0.005
"""Largest share of its domain on which a statement of the last quarter is false."""
SAMPLES = 300
"""Steps of each axis by which truth is sampled."""
CLEAR = 0.02
"""By what share of its range a true bound lies beyond the extreme that was sampled."""
LEAST_DEPTH = 1e-4
"""By how much the bound of a false statement is broken somewhere: more than brackets are wide."""
SHAPES = ((2, 2), (2, 3), (3, 2))
"""(m, n), of four and six embeddings: two compiled kernels serve all."""
Shapes = Sequence[tuple[int, int]]
BOXES = (
    ((0.0, 1.0), (0.2, 5.0)),
    ((0.3, 0.98), (0.2, 2.0)),
    ((0.55, 0.95), (0.3, 1.0)),
    ((0.1, 0.9), (0.4, 3.0)),
)
"""Ranges of α and of τ. Brackets of everything are narrow there."""


class Planted(NamedTuple):
    """A statement and its truth.

    Attributes:
        claim: the statement.
        false_on: the share of its domain where it is false; 0 if it is true.
    """

    claim: Claim
    false_on: float

    @property
    def sort(self) -> str:
        """Whether it is "true", "false", or false in a "corner"."""
        return "true" if not self.false_on else "corner" if self.false_on <= CORNER else "false"


Quantity = tuple[str, Callable[..., Any], Callable[[sx.claims.Cells], Any]]

QUANTITIES: tuple[Quantity, ...] = (
    ("δ²", theory.delta2, lambda cell: cell.delta2),
    ("the minimal loss", theory.loss, lambda cell: cell.minimum),
    (
        "the within-class similarity",
        lambda *a: theory.similarities(*a).within,
        lambda cell: cell.within_similarity,
    ),
    (
        "the between-class variance",
        lambda *a: theory.variances(*a).between,
        lambda cell: cell.between_variance,
    ),
)


def _sampled(box) -> tuple[np.ndarray, np.ndarray]:
    """α and τ of a dense grid, each point for an equal share of the domain."""
    (low, high), (cold, hot) = box
    alpha, tau = np.linspace(low, high, SAMPLES), np.geomspace(cold, hot, SAMPLES)
    return tuple(grid.ravel() for grid in np.meshgrid(alpha, tau))


@functools.cache
def _values(closed_form, shape, box) -> np.ndarray:
    return np.asarray(closed_form(*shape, 1, *_sampled(box)))


@functools.cache
def _edge(shape, box) -> np.ndarray:
    m, n = shape
    return np.asarray(theory.alpha_c(m, n, 1, _sampled(box)[1]))


def _space(shape, box, **more) -> Space:
    (low, high), (cold, hot) = box
    return Space(
        num_classes=shape[0],
        num_instances=shape[1],
        alpha=Range(low, high),
        temperature=Range(cold, hot, log=True),
        **more,
    )


def _surface(random: np.random.Generator, box, scale: float, sign: float):
    """A random function of α and log τ, and how it is written: a plane, or one with a bowl, so that
    what exceeds it lies at an end of the box, or around a point inside it."""
    (low, high), (cold, hot) = box
    by_alpha, by_heat = (scale * random.uniform(-1, 1, 2)).round(3)
    at, heat = random.uniform(low, high), random.uniform(np.log(cold), np.log(hot))
    at, heat = round(at, 3), round(heat, 3)
    steep = round(sign * scale * random.uniform(1, 10), 2) if random.integers(2) else 0.0

    def surface(alpha, tau):
        away = (alpha - at) ** 2 + (np.log(tau) - heat) ** 2
        return by_alpha * alpha + by_heat * np.log(tau) + steep * away

    written = f"{by_alpha:+g} α {by_heat:+g} log τ"
    if steep:
        written += f" {steep:+g} [(α - {at})² + (log τ - {heat})²]"
    return surface, written


def _bound(random: np.random.Generator, sort: str, name: str, shapes: Shapes) -> Planted | None:
    """A quantity lies below, or above, a surface over (α, log τ)."""
    shape, box = shapes[int(random.integers(len(shapes)))], BOXES[int(random.integers(len(BOXES)))]
    said, closed_form, bracket = QUANTITIES[int(random.integers(len(QUANTITIES)))]
    sign = float(random.choice([-1, 1]))
    alpha, tau = _sampled(box)
    value = _values(closed_form, shape, box)
    surface, written = _surface(random, box, float(np.ptp(value)), sign)
    excess = sign * (value - surface(alpha, tau))
    spread = float(np.ptp(excess))
    if sort == "true":
        level = excess.max() + CLEAR * spread
    else:
        share = random.uniform(0.2, 0.6) if sort == "false" else random.uniform(5e-4, 4e-3)
        level = float(np.quantile(excess, 1 - share))
    false_on = float(np.mean(excess > level))
    if sort != "true" and excess.max() - level < LEAST_DEPTH:
        return None
    level = float(level)
    claim = Claim(
        name,
        f"m, n = {shape}: {said} is at {'most' if sign > 0 else 'least'} {sign * level:.6g} "
        f"{written}.",
        lambda cell: level - sign * (bracket(cell) - surface(cell.alpha, cell.temperature)),
        _space(shape, box),
    )
    return Planted(claim, false_on)


def _strip(sort: str, random: np.random.Generator, box) -> float:
    """How far a boundary is moved: by a good part of the range of α, or by a strip."""
    (low, high), _ = box
    least, most = (0.1, 0.3) if sort == "false" else (5e-4, 4e-3)
    return float((high - low) * random.uniform(least, most))


_PHASE = {True: spread, False: collapsed}


def _rule(random: np.random.Generator, sort: str, name: str, shapes: Shapes) -> Planted | None:
    """Above a curve classes are spread, below it they are collapsed: α_c(τ), or moved."""
    shape, box = shapes[int(random.integers(len(shapes)))], BOXES[int(random.integers(len(BOXES)))]
    above = bool(random.integers(2))
    alpha, _ = _sampled(box)
    # True rules keep away from the boundary, false ones go beyond it.
    moved = _strip(sort, random, box) * (-1 if sort == "true" else 1)
    step = -moved if above else moved
    curve = _edge(shape, box) + step
    inside = alpha >= curve if above else alpha <= curve
    parted = alpha > _edge(shape, box)
    false_on = float(np.mean((parted != above)[inside])) if inside.any() else 0.0
    if inside.mean() < 0.1 or (false_on > 0) != (sort != "true"):
        return None

    def where(cell):
        edge = cell.boundary(theory.alpha_c) + step
        return cell.alpha >= edge if above else cell.alpha <= edge

    claim = Claim(
        name,
        f"m, n = {shape}: classes are {'spread' if above else 'collapsed'} where α is at "
        f"{'least' if above else 'most'} α_c(τ) {step:+.4g}.",
        _PHASE[above],
        _space(shape, box, where=where),
        exclude=lambda cell: cell.near_boundary(),
    )
    return Planted(claim, false_on)


def _phases(random: np.random.Generator, sort: str, name: str, shapes: Shapes) -> Planted | None:
    """The phase is the one that a boundary says, or a moved one; this margin is 1 or -1."""
    shape, box = shapes[int(random.integers(len(shapes)))], BOXES[int(random.integers(len(BOXES)))]
    alpha, _ = _sampled(box)
    step = 0.0 if sort == "true" else _strip(sort, random, box) * float(random.choice([-1, 1]))
    boundary = _edge(shape, box)
    false_on = float(np.mean((alpha > boundary) != (alpha > boundary + step)))
    if (false_on > 0) != (sort != "true") or (sort != "true" and abs(step) < 2 * BOUNDARY_BAND):
        return None

    def margin(cell):
        moved = cell.boundary(theory.alpha_c) + step
        said = np.where(cell.alpha <= moved, int(sx.Phase.COLLAPSE), int(sx.Phase.SPREAD))
        return same_phase(cell.phase, said)

    claim = Claim(
        name,
        f"m, n = {shape}: collapsed iff α ≤ α_c(τ) {step:+.4g}.",
        margin,
        _space(shape, box),
        exclude=lambda cell: cell.near_boundary(),
    )
    return Planted(claim, false_on)


def _monotone(random: np.random.Generator, sort: str, name: str, shapes: Shapes) -> Planted | None:
    """δ² along α: it does not fall, to 1e-3; or along τ, where it falls only above its peak."""
    shape, box = shapes[int(random.integers(len(shapes)))], BOXES[int(random.integers(len(BOXES)))]
    if sort == "corner":
        return None
    if sort == "true":
        claim = Claim(
            name,
            f"m, n = {shape}: δ² does not decrease with α (to 1e-3).",
            lambda first, second: second.delta2 - first.delta2 + 1e-3,
            _space(shape, box),
            along="alpha",
        )
        return Planted(claim, 0.0)
    value = _values(theory.delta2, shape, box).reshape(SAMPLES, SAMPLES)
    rising = np.diff(value, axis=0) > 0  # τ is the slow index
    claim = Claim(
        name,
        f"m, n = {shape}: δ² does not increase with τ.",
        lambda first, second: first.delta2 - second.delta2,
        _space(shape, box),
        along="temperature",
    )
    return Planted(claim, float(rising.mean())) if rising.mean() > CORNER else None


FAMILIES = (_bound, _rule, _bound, _phases, _bound, _monotone)
"""In turn."""


def generated(count: int = 200, seed: int = 0, shapes: Shapes = SHAPES) -> list[Planted]:
    """So many statements: half true, a quarter false, a quarter false in a corner alone."""
    random, found = np.random.default_rng(seed), {}
    sorts, turn = ("true", "false", "true", "corner"), 0
    while len(found) < count:
        sort, family = sorts[len(found) % 4], FAMILIES[turn % len(FAMILIES)]
        turn += 1
        one = family(random, sort, f"{sort}_{len(found)}", shapes)
        if one is not None and one.sort == sort:
            found.setdefault(one.claim.statement, one)
    return list(found.values())


class Outcome(NamedTuple):
    """What a search said of a statement.

    Attributes:
        planted: the statement.
        verdict: what it said.
        told: in words, as a user reads it.
    """

    planted: Planted
    verdict: Verdict
    told: str

    @property
    def fate(self) -> str:
        """How right it was: "right", "undecided", "wrong", or "unseen" of a corner."""
        sort = self.planted.sort
        if self.verdict is Verdict.UNDECIDED:
            return "undecided"
        if (self.verdict is Verdict.HOLDS) == (sort == "true"):
            return "right"
        return "unseen" if sort == "corner" else "wrong"


def judged(
    statements: Sequence[Planted], budget: sx.claims.Budget, source: Source | None = None
) -> Iterator[Outcome]:
    """Search every statement; cells of one space are shared."""
    source = source or Source()
    for planted in statements:
        trial = search(planted.claim, budget, source)
        assert trial.judgement is not None, trial.error
        yield Outcome(planted, trial.judgement.verdict, told_file.describe(trial))


def main() -> int:
    """0 if nothing is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.planted")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--cells", type=int, default=400, help="budget of each statement")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    begun, fates = time.perf_counter(), Counter()
    statements = generated(arguments.count, arguments.seed)
    for outcome in judged(statements, sx.claims.Budget(cells=arguments.cells)):
        fates[outcome.planted.sort, outcome.fate] += 1
        if outcome.fate != "right":
            share = outcome.planted.false_on
            print(f"{outcome.fate} ({outcome.planted.sort}, false on {share:.2%}):")
            print(outcome.told, flush=True)
    for (sort, fate), count in sorted(fates.items()):
        print(f"{count:5} {sort:7} {fate}")
    print(f"{sum(fates.values())} statements in {time.perf_counter() - begun:.0f} s")
    return 1 if any(fate == "wrong" for _, fate in fates) else 0


if __name__ == "__main__":
    sys.exit(main())
