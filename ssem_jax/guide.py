r"""Which α and τ to train with: collapse thresholds, predicted variance, and inverse design.

A batch of m classes with n instances and p views each has an optimum over free embeddings whose
within-class variance δ² depends on α and τ alone. For **balanced** batches everything is a closed
form of :mod:`ssem_jax.theory`: the thresholds α_c(τ) and τ_c(α), δ², and the α of a wanted δ². In
τ, δ² rises from 0 to a peak and falls to 0 at τ_c, so a wanted δ² below the peak has two
temperatures, which are searched. **Unbalanced** batches go through the reduced program of
:mod:`ssem_jax.certificate.class_brackets`: every class has its own threshold and variance.

What is not given is chosen such that a wanted variance is reached.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from ssem_jax import theory
from ssem_jax.advice.thresholds import collapse_thresholds
from ssem_jax.certificate.certificate import COLLAPSE_TOLERANCE
from ssem_jax.certificate.class_program import solve_reduced
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.problem import Phase, Problem
from ssem_jax.problem.structure import ClassStructure, check_structure, full_dimension
from ssem_jax.problem.validation import concrete, shown

MODERATE = 0.3
"""The variance within classes that is aimed at if none is wanted; the whole is 1."""
USUAL_TEMPERATURE = 0.1
"""Chosen where no temperature keeps a class from collapsing; what SupCon and its heirs use."""
TEMPERATURES = (0.05, 1.0)
"""Temperatures among which one is chosen if neither α nor τ is given: those in practical use."""
COLDEST = 1e-3
"""The lowest temperature at which a wanted variance is searched."""
WIDTH = 65
"""Cells per evaluation of a closed form, so that each compiles once; 64 intervals to look into."""
RESOLUTION = 1e-12
"""Relative width at which the search for a temperature is content: the accuracy of the theory."""
CURVE_POINTS = 33
"""Values of α at which the variances of unbalanced classes are drawn."""
NEAR = 0.9
"""Cosine of two class means from which on a model can hardly tell the classes apart."""
PHASES = {
    Phase.COLLAPSE: "collapse: all embeddings of a class coincide",
    Phase.SPREAD: "spread: the instances of a class stay apart, their views coincide",
    Phase.VIEW_SPREAD: "view-spread: instance means coincide, the views of an instance part",
}


@dataclasses.dataclass(frozen=True)
class Guide:
    """The answer for a balanced batch.

    Attributes:
        structure: of the batch.
        self_pairs: "include" or "exclude".
        alpha: α, given or chosen.
        temperature: τ, given or chosen.
        chosen: which of "alpha" and "temperature" were chosen here.
        wanted: the δ² that is aimed at.
        alpha_c: the α up to which the classes collapse at this τ.
        tau_c: the τ from which on they collapse at this α; 0 at every τ, inf at none.
        alpha_v: the α below which views part at this τ.
        phase: of the optimum.
        delta2: δ² of the optimum.
        view_variance: of the views about their instance mean.
        largest: the largest δ² that any α and τ reach, m(n-1)/(mn-1).
        peak: the τ with the largest δ² at this α, and that δ²; None where none or every τ has it.
        alpha_for_wanted: the α that reaches `wanted` at this τ; None where none is admitted.
        temperatures_for_wanted: the τ that reach it at this α: none, one or two.
        batch: the same α and τ in batches of other sizes, a row each.
    """

    structure: ClassStructure
    self_pairs: str
    alpha: float
    temperature: float
    chosen: tuple[str, ...]
    wanted: float
    alpha_c: float
    tau_c: float
    alpha_v: float
    phase: Phase
    delta2: float
    view_variance: float
    largest: float
    peak: tuple[float, float] | None
    alpha_for_wanted: float | None
    temperatures_for_wanted: tuple[float, ...]
    batch: tuple[dict[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; what is infinite is null."""
        peak = (
            None
            if self.peak is None
            else dict(zip(("temperature", "delta2"), self.peak, strict=True))
        )
        return {
            **_shape(self.structure, self.self_pairs),
            "alpha": self.alpha,
            "temperature": self.temperature,
            "chosen": list(self.chosen),
            "alpha_c": self.alpha_c,
            "tau_c": _finite(self.tau_c),
            "alpha_v": self.alpha_v,
            "phase": self.phase.name.lower(),
            "delta2": self.delta2,
            "view_variance": self.view_variance,
            "within_variance": self.delta2 + self.view_variance,
            "between_variance": 1 - self.delta2 - self.view_variance,
            "largest_delta2": self.largest,
            "peak": peak,
            "wanted": {
                "delta2": self.wanted,
                "alpha": self.alpha_for_wanted,
                "temperatures": list(self.temperatures_for_wanted),
            },
            "batch": [row | {"tau_c": _finite(row["tau_c"])} for row in self.batch],
        }

    def lines(self) -> Iterator[str]:
        """The answer in words, batch table included."""
        n, dim = self.structure.instances_per_class, _dimension(self)
        yield f"A batch of {self.structure}, self pairs {self.self_pairs}d."
        yield f"  α = {self.alpha:.4g}{self._why('alpha')}, τ = {self.temperature:.4g}" + self._why(
            "temperature"
        )
        yield ""
        yield f"  phase            {PHASES[self.phase]}"
        yield f"  δ² (within)      {self.delta2:.4f} of a total variance of 1"
        if self.view_variance:
            yield f"  view variance    {self.view_variance:.4f}"
        yield f"  α_c at this τ    {self.alpha_c:.4f}   (collapse up to it)"
        if self.alpha_v:
            yield f"  α_v at this τ    {self.alpha_v:.4f}   (views of an instance part below it)"
        yield f"  τ_c at this α    {self._tau_c()}"
        yield ""
        yield f"To have δ² = {self.wanted:.4g}:"
        yield from (f"  {line}" for line in self._design())
        yield ""
        yield f"The same α and τ with other batches (largest δ² here: {self.largest:.4f}):"
        yield "  classes  instances     α_c     τ_c      δ²"
        for row in self.batch:
            tau_c = f"{row['tau_c']:.4f}" if math.isfinite(row["tau_c"]) else "-"
            yield (
                f"  {row['num_classes']:7d}  {row['num_instances']:9d}  {row['alpha_c']:.4f}"
                f"  {tau_c:>6}  {row['delta2']:.4f}"
            )
        yield ""
        yield (
            "What the numbers mean: δ² is the mean squared distance of an instance from its class "
            "mean, on the unit sphere. 0 is class collapse: nothing is left that tells instances of"
            " a class apart. More instances per class in the batch make collapse harder, more "
            "classes easier. δ² grows with α; in τ it rises, peaks and falls to 0 at τ_c."
        )
        yield (
            "Where theory stops: these are optima of the loss over free embeddings of the whole "
            f"batch, exact where the embedding dimension admits them (d ≥ {dim} here). An encoder "
            "need not reach them, random batches are not exactly balanced, and nothing here speaks "
            "of generalisation."
        )
        if self.self_pairs == "exclude" and self.structure.num_views == 1:
            yield (
                "With self pairs excluded and one view there is no positive for L_self, so α must "
                f"be 0, and the {n} instances of a class collapse at every τ."
            )

    def _why(self, name: str) -> str:
        return " (chosen)" if name in self.chosen else ""

    def _tau_c(self) -> str:
        if self.tau_c == 0:
            return "none: at this α classes collapse at every τ"
        if math.isinf(self.tau_c):
            return "none: at α = 1 classes stay apart at every τ"
        return f"{self.tau_c:.4f}   (collapse from it on)"

    def _design(self) -> Iterator[str]:
        if self.alpha_for_wanted is None:
            yield "no α is admitted but 0: add views, or include self pairs."
            return
        yield f"at τ = {self.temperature:.4g}: α = {self.alpha_for_wanted:.4f}"
        found = " or ".join(f"{tau:.4g}" for tau in self.temperatures_for_wanted)
        if found:
            note = "; of two the lower is the usual regime" * (
                len(self.temperatures_for_wanted) > 1
            )
            yield f"at α = {self.alpha:.4g}: τ = {found}{note}"
        elif self.peak is not None:
            tau, most = self.peak
            yield f"at α = {self.alpha:.4g}: out of reach; at most {most:.4f}, at τ = {tau:.4g}"
        else:
            only = f"{self.largest:.4f}" if self.alpha == 1 else "0"
            yield f"at α = {self.alpha:.4g}: out of reach; δ² is {only} at every τ"


@dataclasses.dataclass(frozen=True)
class UnbalancedGuide:
    """The answer for classes of different size, by class in the order of the structure.

    Attributes:
        structure: of the batch.
        self_pairs: "include" or "exclude".
        mean: over positive "pairs" or "anchors".
        alpha: α, given or chosen.
        temperature: τ, given or chosen.
        chosen: which of "alpha" and "temperature" were chosen, from the balanced batch of the mean
            class size.
        names: (m,) of the classes.
        thresholds: (m,) the α up to which each class collapses; NaN where it does at every α: a
            class of one instance, and all if L_self has no positive.
        class_delta2: (m,) δ² of each class at the optimum.
        class_view: (m,) its view variance.
        cosines: (m, m) between class means; -1/(m-1) for balanced classes.
        value: the minimal loss.
        gap: how far it may be above the true minimum.
        total_variance: of all embeddings; 1 for balanced classes.
    """

    structure: ClassStructure
    self_pairs: str
    mean: str
    alpha: float
    temperature: float
    chosen: tuple[str, ...]
    names: tuple[str, ...]
    thresholds: Float[np.ndarray, " m"]
    class_delta2: Float[np.ndarray, " m"]
    class_view: Float[np.ndarray, " m"]
    cosines: Float[np.ndarray, "m m"]
    value: float
    gap: float
    total_variance: float

    @property
    def delta2(self) -> float:
        """Over all instances."""
        return float(
            np.asarray(self.structure.sizes) @ self.class_delta2 / sum(self.structure.sizes)
        )

    @property
    def collapsed(self) -> np.ndarray:
        """(m,) which classes collapse; one instance alone always does."""
        return ~(self.alpha > self.thresholds)

    def near_pairs(self) -> list[tuple[int, int]]:
        """Pairs of classes whose means have a cosine of at least `NEAR`: the minority collapse."""
        first, second = np.nonzero(np.triu(self.cosines >= NEAR, 1))
        return list(zip(first.tolist(), second.tolist(), strict=True))

    @property
    def phase(self) -> str:
        """ "collapse" or "spread" where all classes agree, else "mixed"."""
        if self.collapsed.all():
            views_part = float(np.max(self.class_view)) > COLLAPSE_TOLERANCE
            return "view_spread" if views_part else "collapse"
        return "mixed" if self.collapsed.any() else "spread"

    def curves(self) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, "K m"]]:
        """α from 0 to 1, and δ² of every class there at this τ."""
        admitted = _admits_alpha(self.structure, self.self_pairs)
        bends = self.thresholds[~np.isnan(self.thresholds)]
        alphas = np.union1d(np.linspace(0, 1, CURVE_POINTS), bends) * admitted
        temperatures = np.full(len(alphas), self.temperature)
        loss = SupCL(alphas, temperatures, self.self_pairs, self.mean)
        found = solve_reduced(Problem(self.structure, 1, loss))
        return alphas, np.asarray(found.instance_variance)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; `alpha_c` is the first threshold, and `classes` has a row each."""
        rows = zip(
            self.names,
            self.structure.sizes,
            self.thresholds.tolist(),
            self.class_delta2.tolist(),
            self.class_view.tolist(),
            self.collapsed.tolist(),
            strict=True,
        )
        keys = ("name", "size", "alpha_c", "delta2", "view_variance", "collapsed")
        return {
            **_shape(self.structure, self.self_pairs),
            "mean": self.mean,
            "alpha": self.alpha,
            "temperature": self.temperature,
            "chosen": list(self.chosen),
            "alpha_c": _finite(float(np.fmin.reduce(self.thresholds))),
            "tau_c": None,
            "phase": self.phase,
            "delta2": self.delta2,
            "total_variance": self.total_variance,
            "value": self.value,
            "gap": self.gap,
            "classes": [
                dict(zip(keys, row, strict=True)) | {"alpha_c": _finite(row[2])} for row in rows
            ],
            "cosines": self.cosines.tolist(),
            "near_pairs": [[self.names[i], self.names[j]] for i, j in self.near_pairs()],
        }

    def lines(self) -> Iterator[str]:
        """The answer in words, with a table of the classes."""
        sizes = np.asarray(self.structure.sizes)
        why = " (chosen for the balanced batch of the mean class size)" if self.chosen else ""
        yield (
            f"A batch of {len(sizes)} classes with {sizes.min()} to {sizes.max()} instances, "
            f"{self.structure.num_views} views, self pairs {self.self_pairs}d, mean over "
            f"{self.mean}."
        )
        yield f"  α = {self.alpha:.4g}, τ = {self.temperature:.4g}{why}"
        total = self.total_variance
        yield f"  δ² (within)      {self.delta2:.4f} of a total variance of {total:.4f}"
        yield f"  minimal loss     {self.value:.6f}, certified to {self.gap:.0e}"
        yield ""
        yield "  class         size   collapses up to α      δ² here"
        for k in np.argsort(-sizes, kind="stable"):
            threshold = self.thresholds[k]
            limit = "always" if np.isnan(threshold) else f"{threshold:.4f}"
            state = "collapsed" if self.collapsed[k] else f"{self.class_delta2[k]:.4f}"
            yield f"  {self.names[k]:<12.12} {sizes[k]:5d}   {limit:>17}    {state:>9}"
        yield ""
        pairs = self.near_pairs()
        for i, j in pairs:
            yield (
                f"  Warning: the means of {self.names[i]} and {self.names[j]} have a cosine of "
                f"{self.cosines[i, j]:.3f}: the optimum hardly tells these classes apart."
            )
        if not pairs:
            off = ~np.eye(len(sizes), dtype=bool)
            yield (
                f"  Class means have cosines from {self.cosines[off].min():.3f} to "
                f"{self.cosines[off].max():.3f} (balanced: {-1 / (len(sizes) - 1):.3f}); no two "
                "classes merge."
            )
        yield ""
        yield (
            "What the numbers mean: δ² of a class is the mean squared distance of its instances "
            "from their mean; 0 is class collapse. A class leaves collapse as α passes its own "
            "threshold, the larger classes first."
        )
        yield (
            "Where theory stops: the whole label list is taken as one batch of free embeddings in a"
            f" dimension that admits the optimum (d ≥ {_dimension(self)}). An encoder need not "
            "reach it, smaller random batches have other class sizes, and nothing here speaks of "
            "generalisation."
        )


def guide(
    structure: ClassStructure,
    alpha: float | None = None,
    temperature: float | None = None,
    *,
    self_pairs: str = "include",
    mean: str = "pairs",
    delta2: float | None = None,
    names: tuple[str, ...] | None = None,
) -> Guide | UnbalancedGuide:
    """What theory says of a batch at α and τ, and which of them reach a wanted variance.

    What is not given is chosen: of α alone, τ is the lower temperature that reaches the wanted δ²,
    or that of the peak; of τ alone, α is the one that reaches it; and of neither, τ is the lowest
    in `TEMPERATURES` whose α is at most 1/2 (or the one with the least), so that both terms of the
    loss count and an error in α moves δ² little. For unbalanced classes the choice is that of the
    balanced batch of their mean size, and what is predicted is that of the classes as they are.

    Args:
        structure: classes, instances and views of the batch.
        alpha: α in [0, 1], or None.
        temperature: τ > 0, or None.
        self_pairs: "include" or "exclude".
        mean: over "pairs" or "anchors"; of unbalanced classes only.
        delta2: the wanted δ²; `MODERATE`, or the largest if that is less, if None.
        names: of the classes; numbers if None.

    Returns:
        The answer: :class:`Guide` for balanced classes, else :class:`UnbalancedGuide`.

    Raises:
        ValueError: a number or a convention out of range, one instance per class throughout, an α
            without positives, a δ² that no α and τ reach, and more classes of different size than
            :func:`ssem_jax.solve_reduced` takes.

    References:
        Lee, Oh, Lee and Sohn (AISTATS 2025, arXiv:2503.08203) for preventing class collapse by the
        choice of α and τ; the closed forms as in :mod:`ssem_jax.theory`.
    """
    check_structure(structure)
    for name, value in (("alpha", alpha), ("temperature", temperature), ("delta2", delta2)):
        number = None if value is None else concrete(value, name)
        if number is not None and number.shape:
            raise ValueError(f"{name} must be one number; got shape {number.shape}.")
    if names is not None and np.shape(names) != (structure.num_classes,):
        raise ValueError(
            f"names must be one for each of the {structure.num_classes} classes; "
            f"got {shown(names)}."
        )
    given = (0.0 if alpha is None else alpha, 1.0 if temperature is None else temperature)
    loss = SupCL(*given, self_pairs, mean)
    if max(structure.sizes) < 2:
        raise ValueError(
            "every class has one instance in the batch, so L_sup has no positive pair and there is "
            "no variance within classes; use 2 or more instances per class."
        )
    loss.check(structure)
    if structure.is_balanced:
        return _balanced(structure, alpha, temperature, self_pairs, delta2)
    mean_size = max(round(structure.num_instances / structure.num_classes), 2)
    typical = ClassStructure.balanced(structure.num_classes, mean_size, structure.num_views)
    design = _Design(typical, self_pairs, delta2)
    chosen_alpha, chosen_temperature, chosen = design.choose(alpha, temperature)
    loss = SupCL(chosen_alpha, chosen_temperature, self_pairs, mean)
    found = solve_reduced(Problem(structure, full_dimension(structure, self_pairs), loss))
    thresholds = np.full(structure.num_classes, np.nan)
    if _admits_alpha(structure, self_pairs):
        convention = {"mean": mean, "self_pairs": self_pairs}
        thresholds = collapse_thresholds(structure, chosen_temperature, **convention)
    return UnbalancedGuide(
        structure,
        self_pairs,
        mean,
        chosen_alpha,
        chosen_temperature,
        chosen,
        names or tuple(map(str, range(structure.num_classes))),
        thresholds,
        np.asarray(found.instance_variance),
        np.asarray(found.view_variance),
        np.asarray(found.cosines),
        float(found.value),
        float(found.gap),
        float(found.total_variance),
    )


# ---------------------------------------------------------------------------------------------
# Balanced classes.
# ---------------------------------------------------------------------------------------------


class _Design:
    """The closed forms of one balanced batch, evaluated in vectors of one length, and inverted."""

    def __init__(self, structure: ClassStructure, self_pairs: str, wanted: float | None) -> None:
        m, n = structure.num_classes, structure.instances_per_class
        self.counts, self.self_pairs = (m, n, structure.num_views), self_pairs
        self.largest = m * (n - 1) / (m * n - 1)
        if wanted is not None and not 0 < wanted <= self.largest:
            raise ValueError(
                f"delta2 must lie above 0, class collapse, and be at most {self.largest:.6g}, the "
                f"largest of {structure}; got {wanted:g}."
            )
        self.wanted = min(MODERATE, self.largest) if wanted is None else wanted
        self.admitted = _admits_alpha(structure, self_pairs)

    def evaluate(self, function: Callable[..., Any], *hyper: Any, counts: Any = None) -> np.ndarray:
        """A closed form at up to WIDTH values."""
        columns = [np.ravel(values) for values in (*(counts or self.counts), *hyper)]
        length = max(len(column) for column in columns)
        filled = [np.resize(column, WIDTH) for column in columns]
        return np.asarray(function(*filled, self_pairs=self.self_pairs))[:length]

    def one(self, function: Callable[..., Any], *hyper: float) -> float:
        """The same at one value."""
        return float(self.evaluate(function, *hyper)[0])

    def delta2(self, alpha: float, temperatures: Any) -> np.ndarray:
        return self.evaluate(theory.delta2, alpha, temperatures)

    def peak(self, alpha: float) -> tuple[float, float] | None:
        """The τ of the largest δ², and that δ²; None where δ² does not depend on τ."""
        tau_c = self.one(theory.tau_c, alpha)
        if not 0 < tau_c < math.inf:
            return None
        low, high = min(COLDEST, 0.5 * tau_c), tau_c
        # At a maximum half of the digits are all there are.
        while high / low - 1 > math.sqrt(RESOLUTION):
            grid = np.geomspace(low, high, WIDTH)
            best = int(np.argmax(values := self.delta2(alpha, grid)))
            low, high = grid[max(best - 1, 0)], grid[min(best + 1, WIDTH - 1)]
        return float(grid[best]), float(values[best])

    def temperatures(self, alpha: float) -> tuple[float, ...]:
        """The τ at which δ² is the wanted one."""
        peak = self.peak(alpha)
        if peak is None or peak[1] < self.wanted:
            return ()
        tau_c = self.one(theory.tau_c, alpha)
        ends = ((min(COLDEST, 0.5 * tau_c), peak[0]), (tau_c, peak[0]))
        found = (self._crossing(alpha, *end) for end in ends)
        return tuple(sorted({tau for tau in found if tau is not None}))

    def _crossing(self, alpha: float, outer: float, inner: float) -> float | None:
        """Where δ² passes the wanted value between a τ below it and one above it."""
        while abs(math.log(inner / outer)) > RESOLUTION:
            grid = np.geomspace(outer, inner, WIDTH)
            enough = self.delta2(alpha, grid) >= self.wanted
            first = int(np.argmax(enough))
            if first == 0:
                return None  # already enough at the coldest temperature, or never
            outer, inner = float(grid[first - 1]), float(grid[first])
        return inner

    def alphas(self, temperatures: Any) -> np.ndarray:
        """The α that reach the wanted δ²."""
        return self.evaluate(theory.alpha_for_delta2, self.wanted, temperatures)

    def choose(
        self, alpha: float | None, temperature: float | None
    ) -> tuple[float, float, tuple[str, ...]]:
        """α and τ, and which of them were not given."""
        missing = {"alpha": alpha, "temperature": temperature}
        chosen = tuple(name for name, value in missing.items() if value is None)
        if alpha is None and not self.admitted:
            alpha = 0.0  # the only one that is admitted
        if alpha is None and temperature is None:
            grid = np.unique([float(f"{tau:.2g}") for tau in np.geomspace(*TEMPERATURES, WIDTH)])
            alphas = self.alphas(grid)
            enough = alphas <= 0.5
            temperature = float(grid[np.argmax(enough) if enough.any() else np.argmin(alphas)])
        if alpha is None:
            alpha = float(self.alphas(temperature)[0])
        if temperature is None:
            peak = self.peak(alpha)
            fallback = USUAL_TEMPERATURE if peak is None else peak[0]
            temperature = min(self.temperatures(alpha), default=fallback)
        return float(alpha), float(temperature), chosen


def _balanced(
    structure: ClassStructure,
    alpha: float | None,
    temperature: float | None,
    self_pairs: str,
    wanted: float | None,
) -> Guide:
    design = _Design(structure, self_pairs, wanted)
    alpha, temperature, chosen = design.choose(alpha, temperature)
    return Guide(
        structure,
        self_pairs,
        alpha,
        temperature,
        chosen,
        design.wanted,
        alpha_c=design.one(theory.alpha_c, temperature),
        tau_c=design.one(theory.tau_c, alpha),
        alpha_v=0.0 if self_pairs == "include" else design.one(theory.alpha_v, temperature),
        phase=Phase(int(design.one(theory.phase, alpha, temperature))),
        delta2=design.one(theory.delta2, alpha, temperature),
        view_variance=design.one(theory.view_variance, alpha, temperature),
        largest=design.largest,
        peak=design.peak(alpha),
        alpha_for_wanted=float(design.alphas(temperature)[0]) if design.admitted else None,
        temperatures_for_wanted=design.temperatures(alpha),
        batch=_other_batches(design, alpha, temperature),
    )


def _other_batches(design: _Design, alpha: float, temperature: float) -> tuple[dict[str, Any], ...]:
    """Thresholds and δ² for halved and doubled batches; the batch itself in the middle."""
    m, n, p = design.counts
    shapes = [(m, n // 2), (m // 2, n), (m, n), (2 * m, n), (m, 2 * n)]
    shapes = [shape for shape in shapes if min(shape) >= 2]
    classes, instances = np.array(shapes).T
    counts = (classes, instances, p)
    alpha_c = design.evaluate(theory.alpha_c, temperature, counts=counts)
    tau_c = design.evaluate(theory.tau_c, alpha, counts=counts)
    delta2 = design.evaluate(theory.delta2, alpha, temperature, counts=counts)
    keys = ("num_classes", "num_instances", "alpha_c", "tau_c", "delta2")
    columns = (classes.tolist(), instances.tolist(), alpha_c.tolist(), tau_c.tolist())
    rows = zip(*columns, delta2.tolist(), strict=True)
    return tuple(dict(zip(keys, row, strict=True)) for row in rows)


# ---------------------------------------------------------------------------------------------
# What both have in common.
# ---------------------------------------------------------------------------------------------


def _admits_alpha(structure: ClassStructure, self_pairs: str) -> bool:
    """Whether L_self has a positive, so that α may differ from 0."""
    return self_pairs == "include" or structure.num_views > 1


def _dimension(answer: Guide | UnbalancedGuide) -> int:
    """The smallest d that admits the optimum at hand: classes, views, or all instances."""
    structure = answer.structure
    if answer.phase in (Phase.COLLAPSE, "collapse"):
        return structure.num_classes - 1
    if answer.phase in (Phase.SPREAD, "spread", "mixed"):
        return structure.num_instances - 1
    return structure.num_instances * (structure.num_views - 1) + structure.num_classes - 1


def _shape(structure: ClassStructure, self_pairs: str) -> dict[str, Any]:
    return {
        "num_classes": structure.num_classes,
        "num_instances": structure.sizes[0] if structure.is_balanced else None,
        "sizes": list(structure.sizes),
        "num_views": structure.num_views,
        "self_pairs": self_pairs,
    }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
