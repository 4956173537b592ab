r"""What random batches of a data set ask of α and τ, whose classes differ in size.

The optimum of the mean loss over all batches of B instances out of the data set is a program over a
few similarities, certified whatever N is (:class:`ssem_jax.losses.RandomBatches`). Every class size
has a threshold of its own; α_c is the first, up to which all classes collapse, and a root of the
dual eigenvalue of instances (:mod:`ssem_jax.certificate.symmetry.collapse`). Beside it stands one
batch that is stratified: every class has its part of it, and two instances at least.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np

from ssem_jax import theory
from ssem_jax.advice.landmarks import Landmarks
from ssem_jax.advice.random_batches import MODERATE, USUAL_TEMPERATURE, RandomGuide
from ssem_jax.certificate.symmetry.bounds import Level, Solved, solve_program
from ssem_jax.certificate.symmetry.collapse import instance_slack
from ssem_jax.certificate.symmetry.program import Program
from ssem_jax.certificate.symmetry.programs import (
    Functionals,
    arranged,
    bracketed,
    instance_variances,
    program_of,
)
from ssem_jax.compute.kernels import one_thread
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.batched import RandomBatches
from ssem_jax.losses.supcl import SupCL
from ssem_jax.losses.terms import BETWEEN, Terms
from ssem_jax.problem.display import share_text
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import check_count, check_mixing, check_temperature

MOST_SIZES = 6
"""Different class sizes that are told apart; more are rounded to so many. Of k of them k²/2 + 2k
similarities are left, and 2k means over draws, for a second or two in all."""
TEMPERATURES = (0.02, 50.0)
"""Between which a collapse temperature is searched: at the lower one other classes are at e^-50 and
less, and count nothing; at the upper one all similarities are alike to the loss."""
RESOLUTION = 1e-8
"""Width to which thresholds are enclosed, of α and of log τ."""
STEPS = 60
"""Steps of a search at most; some ten are usual."""

Loss = Callable[[float, float], GramLoss]
"""The loss at α and τ."""


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class DataGuide(RandomGuide):
    """The answer for random batches of a data set with classes of any size.

    `alpha_c` is the α up to which all classes collapse, `tau_c` the τ from which on they do, and
    `delta2` that of all instances at the optimum; the same of `stratified`, a batch whose "classes"
    are listed by size.

    Attributes:
        classes: a row for every "size": the "number" of classes of it, and their "delta2".
        bracket: certified bounds of `delta2`.
        gap: how far the loss of the optimum that was found may be above the least one.
        rounded: by what part class sizes were rounded at most, so that few are different.
    """

    classes: tuple[dict[str, Any], ...]
    bracket: tuple[float, float]
    gap: float
    rounded: float

    def _title(self) -> str:
        sizes = ", ".join(f"{row['number']} of {row['size']}" for row in self.classes)
        return f"{self.num_classes:,} classes ({sizes})"

    def _meant(self) -> str:
        return (
            "the data set, whose embeddings are optimal for all of them at once. Beside it one "
            "batch that has of every class its part, and two instances at least,"
        )

    def _beside(self) -> str:
        parts = self.stratified["classes"]
        return " + ".join(f"{row['number']} × {row['size']}" for row in parts)

    def lines(self) -> Iterator[str]:
        """The answer in words."""
        yield from super().lines()
        yield ""
        yield "  class size   classes   δ² within them"
        for row in self.classes:
            yield f"  {row['size']:10d}  {row['number']:8d}   {share_text(row['delta2'])}"
        yield ""
        low, high = self.bracket
        yield (
            f"Certified: δ² of all in [{low:.6f}, {high:.6f}], by a gap of {self.gap:.1e}. "
            "Thresholds are where the first class parts: roots of the dual eigenvalue of "
            "instances, taken to change its sign once."
        )
        if self.rounded:
            yield (
                f"Class sizes were rounded, by {self.rounded:.1%} at most, to {MOST_SIZES} "
                "different ones."
            )


@one_thread()
def guide_data_batches(
    structure: ClassStructure,
    batch: int,
    alpha: float | None = None,
    temperature: float | None = None,
    *,
    self_pairs: str = "include",
    mean: str = "pairs",
    delta2: float | None = None,
) -> DataGuide:
    """What is certified of random batches of a data set with classes of any size.

    What is not given is chosen as of classes of the mean size.

    Args:
        structure: classes, instances and views of the data set.
        batch: B ≥ 4 instances, each with all its views.
        alpha: α in [0, 1], or None.
        temperature: τ > 0, or None.
        self_pairs: "include" or "exclude".
        mean: of L_sup: over positive "pairs", over "anchors" that have one, or over "all" anchors,
            those without a positive counting 0.
        delta2: the δ² to choose α by; `ssem_jax.advice.random_batches.MODERATE` if None.

    Raises:
        ValueError: a number or a convention out of range, a batch larger than the data set, an α
            without positives, or one instance per class throughout.
    """
    check_structure(structure)
    if max(structure.sizes) < 2:
        raise ValueError(
            "every class has one instance in the data set, so nothing spreads within classes; give "
            "labels of which some come again."
        )
    batch = check_count("a batch", batch, 4)
    sizes, rounded = few_sizes(structure.sizes, MOST_SIZES)
    p, structure = structure.num_views, ClassStructure(sizes, structure.num_views)
    chosen = tuple(n for n, v in (("alpha", alpha), ("temperature", temperature)) if v is None)
    tau = float(USUAL_TEMPERATURE if temperature is None else temperature)
    check_temperature(tau)
    positives = self_pairs == "include" or p > 1
    if alpha is None and positives:
        typical = max(round(structure.total_instances / structure.num_classes), 2)
        counts = (structure.num_classes, max(typical, -(-batch // structure.num_classes)), p, batch)
        wanted = MODERATE if delta2 is None else delta2
        alpha = theory.random_alpha_for_delta2(*counts, wanted, tau, self_pairs, mean)
    alpha = float(0.0 if alpha is None else alpha)
    check_mixing(alpha)

    def random(alpha: float, tau: float) -> GramLoss:
        return RandomBatches(alpha, tau, batch, self_pairs, mean)

    def plain(alpha: float, tau: float) -> GramLoss:
        return SupCL(alpha, tau, self_pairs, mean)

    loss = random(alpha, tau)
    loss.check_structure(structure)
    program, solved, variances = _solved(structure, loss)
    only = Functionals(variances.slopes[:1], variances.constants[:1])
    low, high = bracketed([Level(program, solved.value, solved)], only)
    values = np.clip(variances.slopes @ solved.x + variances.constants, 0, 1).tolist()
    numbers, fibres = Counter(sizes), map(int, program.algebra.fibres)
    rows = [
        {"size": size, "number": numbers[size], "delta2": value}
        for size, value in zip(fibres, values[1:], strict=True)
    ]
    return DataGuide(
        structure.num_classes,
        batch,
        p,
        self_pairs,
        mean,
        alpha,
        tau,
        chosen,
        first_threshold(random, structure, tau, positives),
        collapse_temperature(random, structure, alpha, tau),
        values[0],
        _stratified(structure, batch, plain, alpha, tau, positives),
        solved.value,
        *_landmarks(program, structure.num_classes),
        classes=tuple(rows),
        bracket=(max(float(low[0, 0]), 0.0), min(float(high[0, 0]), 1.0)),
        gap=solved.gap,
        rounded=rounded,
    )


def _landmarks(program: Program, num_classes: int) -> Landmarks:
    """Losses of collapsed and of equal rows."""
    equal = np.ones(program.num_variables)
    between = [kind for kind in program.algebra.names if kind.relation == BETWEEN]
    apart = program.functional(dict.fromkeys(between, 1.0)) > 0
    collapsed = np.where(apart, -1 / (num_classes - 1), equal)
    return Landmarks(program.value(collapsed), program.value(equal))


def few_sizes(sizes: Sequence[int], most: int) -> tuple[tuple[int, ...], float]:
    """Class sizes, rounded so that at most so many are different; and by what part at most.

    Sizes in equal steps of their logarithm are replaced by their mean.
    """
    given = np.asarray(sizes)
    if len(np.unique(given)) <= most:
        return tuple(sizes), 0.0
    edges = np.geomspace(given.min(), given.max() * (1 + RESOLUTION), most + 1)
    part = np.clip(np.searchsorted(edges, given, "right") - 1, 0, most - 1)
    means = np.bincount(part, given, most) / np.maximum(np.bincount(part, minlength=most), 1)
    found = np.rint(means).astype(int)[part]
    return tuple(found.tolist()), float(np.max(np.abs(found / given - 1)))


def stratified_sizes(structure: ClassStructure, batch: int) -> tuple[int, ...]:
    """A batch that has its part of every class, of equal classes alike, and two of each at least;
    of the large ones first, if it cannot have all."""
    left, found = batch, []
    for size, number in sorted(Counter(structure.sizes).items(), reverse=True):
        share = round(batch * size / structure.total_instances)
        each = min(size, max(share, 2), batch - 2, left)
        taken = min(number, left // each) if each else 0
        found += [each] * taken
        left -= taken * each
    return tuple(found)


def _stratified(
    structure: ClassStructure,
    batch: int,
    loss: Loss,
    alpha: float,
    tau: float,
    positives: bool,
) -> dict[str, Any]:
    sizes = stratified_sizes(structure, batch)
    one = ClassStructure(sizes, structure.num_views)
    rows = sorted(Counter(sizes).items(), reverse=True)
    _, solved, variances = _solved(one, loss(alpha, tau))
    delta2 = float(variances.slopes[0] @ solved.x + variances.constants[0])
    return {
        "classes": [{"size": size, "number": number} for size, number in rows],
        "alpha_c": first_threshold(loss, one, tau, positives),
        "tau_c": collapse_temperature(loss, one, alpha, tau),
        "delta2": max(delta2, 0.0),
    }


def _solved(structure: ClassStructure, loss: GramLoss) -> tuple[Program, Solved, Functionals]:
    """What symmetry leaves of a loss, solved, and how far instances spread in it."""
    program = cast(Program, program_of(loss, structure))  # these losses say their terms
    variances = instance_variances(arranged(loss, structure), structure)
    return program, solve_program(program), variances


def _slack(structure: ClassStructure, loss: GramLoss) -> float:
    """That of the class that is nearest to part, or has parted furthest."""
    return min(instance_slack(structure, cast(Terms, loss.terms(structure))).values())


def first_threshold(loss: Loss, structure: ClassStructure, tau: float, positives: bool) -> float:
    """The α up to which all classes collapse; 1 if they do at every admitted one.

    Args:
        loss: at α and τ.
        structure: classes of any size.
        tau: τ.
        positives: whether any α but 0 is admitted.
    """
    if not positives:
        return 1.0
    return _root(lambda alpha: _slack(structure, loss(alpha, tau)), 0.0, 1.0)


def collapse_temperature(loss: Loss, structure: ClassStructure, alpha: float, near: float) -> float:
    """The τ from which on all classes collapse: 0 where they do at every one in `TEMPERATURES`,
    and ∞ where at none. It is searched from `near` on, up or down, for one change."""

    def slack(log: float) -> float:
        return _slack(structure, loss(alpha, math.exp(log)))

    coldest, hottest = map(math.log, TEMPERATURES)
    here = min(max(math.log(near), coldest), hottest)
    collapsed = slack(here) >= 0
    while True:
        there = max(here - 1, coldest) if collapsed else min(here + 1, hottest)
        if there == here:
            return 0.0 if collapsed else math.inf
        if (slack(there) >= 0) != collapsed:
            break
        here = there
    # Slack increases in τ at the crossing: its negative falls, as that of α does.
    low, high = sorted((here, there))
    return math.exp(_root(lambda log: -slack(log), low, high))


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that is positive at the low end becomes negative: the high end if nowhere.

    References:
        Dowell and Jarratt (BIT 11, 1971) for the Illinois rule.
    """
    at_low, at_high = falling(low), falling(high)
    if at_low <= 0 or at_high >= 0:
        return low if at_low <= 0 else high
    side = 0
    for _ in range(STEPS):
        middle = low + (high - low) * at_low / (at_low - at_high)
        found = falling(middle)
        if high - low <= RESOLUTION or not low < middle < high or found == 0:
            return middle
        if found > 0:
            at_high = at_high / 2 if side > 0 else at_high
            low, at_low, side = middle, found, 1
        else:
            at_low = at_low / 2 if side < 0 else at_low
            high, at_high, side = middle, found, -1
    return (low + high) / 2
