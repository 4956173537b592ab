"""What `guide` answers: numbers, sentences, a document."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from ssem_jax.advice.landmarks import Landmarks, landmarks
from ssem_jax.certificate.certificate import COLLAPSE_TOLERANCE
from ssem_jax.certificate.reduced import solve_reduced
from ssem_jax.geometry.shares import ClassVariances, rank_in
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.display import Told, count_text, share_text
from ssem_jax.problem.problem import PHASES, Phase, Problem
from ssem_jax.problem.structure import ClassStructure

CURVE_POINTS = 33
"""Values of α at which the variances of unbalanced classes are drawn."""
NEAR = 0.9
"""Cosine of two class means from which on a model can hardly tell the classes apart."""


@dataclasses.dataclass(frozen=True, repr=False)
class Guide(Told):
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
        minimum: the minimal loss.
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
    minimum: float
    batch: tuple[dict[str, Any], ...]

    __repr__ = Told.in_a_line

    def said(self) -> Iterator[str]:
        """The batch, α and τ, what is optimal there."""
        yield f"{self.structure}, self pairs {self.self_pairs}d"
        yield chosen_text(self)
        yield f"{self.phase.name.lower()}, δ² = {share_text(self.delta2)}"

    @property
    def landmarks(self) -> Landmarks:
        """Losses of collapsed classes and of equal rows."""
        loss = SupCL(self.alpha, self.temperature, self.self_pairs)
        return landmarks(loss, self.structure)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; what is infinite is null."""
        peak = (
            None
            if self.peak is None
            else dict(zip(("temperature", "delta2"), self.peak, strict=True))
        )
        return {
            **shape_of(self.structure, self.self_pairs),
            "alpha": self.alpha,
            "temperature": self.temperature,
            "chosen": list(self.chosen),
            "alpha_c": self.alpha_c,
            "tau_c": finite_or_none(self.tau_c),
            "alpha_v": self.alpha_v,
            "phase": self.phase.name.lower(),
            "delta2": self.delta2,
            "view_variance": self.view_variance,
            "within_variance": self.delta2 + self.view_variance,
            "between_variance": 1 - self.delta2 - self.view_variance,
            "minimum": self.minimum,
            **losses_of(self.landmarks),
            "largest_delta2": self.largest,
            "peak": peak,
            "wanted": {
                "delta2": self.wanted,
                "alpha": self.alpha_for_wanted,
                "temperatures": list(self.temperatures_for_wanted),
            },
            "batch": [row | {"tau_c": finite_or_none(row["tau_c"])} for row in self.batch],
        }

    def lines(self) -> Iterator[str]:
        """The answer in words, batch table included."""
        n, dim = self.structure.num_instances, needed_dimension(self)
        yield f"A batch of {self.structure}, self pairs {self.self_pairs}d."
        yield f"  {chosen_text(self)}"
        yield ""
        yield f"  phase            {PHASES[self.phase]}"
        yield f"  δ² (within)      {share_text(self.delta2)} of a total variance of 1"
        yield f"  minimal loss     {self.minimum:.6f}"
        yield f"  for comparison   {losses_text(self.landmarks)}"
        if self.view_variance:
            yield f"  view variance    {self.view_variance:.4f}"
        yield f"  α_c at this τ    {share_text(self.alpha_c)}   (collapse up to it)"
        if self.alpha_v:
            alpha_v = share_text(self.alpha_v)
            yield f"  α_v at this τ    {alpha_v}   (views of an instance part below it)"
        yield f"  τ_c at this α    {self._tau_c()}"
        yield ""
        yield f"To have δ² = {self.wanted:.4g}:"
        yield from (f"  {line}" for line in self._design())
        yield ""
        yield f"The same α and τ with other batches (largest δ² here: {self.largest:.4f}):"
        yield "  classes  instances     α_c     τ_c      δ²"
        for row in self.batch:
            yield (
                f"  {row['num_classes']:7d}  {row['num_instances']:9d}"
                f"  {share_text(row['alpha_c'])}  {tau_text(row['tau_c']):>6}"
                f"  {share_text(row['delta2'])}"
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
        nearly = self.alpha_for_wanted == 1 and self.wanted < self.largest
        alpha = "1 but for a rounding" if nearly else share_text(self.alpha_for_wanted)
        yield f"at τ = {self.temperature:.4g}: α = {alpha}"
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


@dataclasses.dataclass(frozen=True, repr=False)
class UnbalancedGuide(Told):
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
        class_variances: (m,) variances within each class at the optimum.
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
    class_variances: ClassVariances
    cosines: Float[np.ndarray, "m m"]
    value: float
    gap: float
    total_variance: float

    __repr__ = Told.in_a_line

    def said(self) -> Iterator[str]:
        """The batch, α and τ, what is optimal there."""
        yield f"{self.structure}, self pairs {self.self_pairs}d, mean over {self.mean}"
        yield chosen_text(self)
        yield f"{self.phase}, δ² = {share_text(self.delta2)}"

    @property
    def landmarks(self) -> Landmarks:
        """Losses of collapsed classes and of equal rows."""
        loss = SupCL(self.alpha, self.temperature, self.self_pairs, self.mean)
        return landmarks(loss, self.structure)

    @property
    def delta2(self) -> float:
        """Over all instances."""
        return float(self.structure.class_shares @ self.class_variances.delta2)

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
            views_part = float(np.max(self.class_variances.view)) > COLLAPSE_TOLERANCE
            return "view_spread" if views_part else "collapse"
        return "mixed" if self.collapsed.any() else "spread"

    def curves(self) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, "K m"]]:
        """α from 0 to 1, and δ² of every class there at this τ."""
        any_alpha = has_self_positives(self.structure, self.self_pairs)
        bends = self.thresholds[~np.isnan(self.thresholds)]
        alphas = np.union1d(np.linspace(0, 1, CURVE_POINTS), bends) * any_alpha
        taus = np.full(len(alphas), self.temperature)
        loss = SupCL(alphas, taus, self.self_pairs, self.mean)
        found = solve_reduced(Problem(self.structure, None, loss))
        return alphas, np.asarray(found.class_variances.delta2)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; `alpha_c` is the first threshold, and `classes` has a row each."""
        rows = zip(
            self.names,
            self.structure.sizes,
            self.thresholds.tolist(),
            self.class_variances.delta2.tolist(),
            self.class_variances.view.tolist(),
            self.collapsed.tolist(),
            strict=True,
        )
        keys = ("name", "size", "alpha_c", "delta2", "view_variance", "collapsed")
        return {
            **shape_of(self.structure, self.self_pairs),
            "mean": self.mean,
            "alpha": self.alpha,
            "temperature": self.temperature,
            "chosen": list(self.chosen),
            "alpha_c": finite_or_none(float(np.fmin.reduce(self.thresholds))),
            "tau_c": None,
            "phase": self.phase,
            "delta2": self.delta2,
            "total_variance": self.total_variance,
            "value": self.value,
            "gap": self.gap,
            **losses_of(self.landmarks),
            "classes": [
                dict(zip(keys, row, strict=True)) | {"alpha_c": finite_or_none(row[2])}
                for row in rows
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
            f"{count_text(self.structure.num_views, 'view')}, self pairs {self.self_pairs}d, mean "
            f"over {self.mean}."
        )
        alpha = share_text(self.alpha, ".4g")
        yield f"  α = {alpha}, τ = {self.temperature:.4g}{why}"
        total = self.total_variance
        yield f"  δ² (within)      {share_text(self.delta2)} of a total variance of {total:.4f}"
        yield f"  minimal loss     {self.value:.6f}, certified to {self.gap:.0e}"
        yield f"  for comparison   {losses_text(self.landmarks)}"
        yield ""
        yield "  class         size   collapses up to α      δ² here"
        for k in np.argsort(-sizes, kind="stable"):
            threshold = self.thresholds[k]
            limit = "always" if np.isnan(threshold) else share_text(float(threshold))
            delta2 = float(self.class_variances.delta2[k])
            state = "collapsed" if self.collapsed[k] else share_text(delta2)
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
            f" dimension that admits the optimum (d ≥ {needed_dimension(self)}). An encoder need "
            "not reach it, smaller random batches have other class sizes, and nothing here speaks "
            "of generalisation."
        )


def chosen_text(answer: Any) -> str:
    """α and τ of a guide, and which of them it chose."""

    def why(name: str) -> str:
        return " (chosen)" if name in answer.chosen else ""

    alpha, tau = share_text(answer.alpha, ".4g"), f"{answer.temperature:.4g}"
    return f"α = {alpha}{why('alpha')}, τ = {tau}{why('temperature')}"


def tau_text(tau_c: float) -> str:
    """A collapse temperature in a table: none where classes collapse at every τ, or at no τ."""
    return f"{tau_c:.4f}" if 0 < tau_c < math.inf else "none"


def losses_text(known: Landmarks) -> str:
    """The values at which a training curve tells what has happened."""
    return (
        f"{known.collapsed:.6f} where classes collapse to a simplex, {known.all_equal:.6f} where "
        "all rows are equal"
    )


def losses_of(known: Landmarks) -> dict[str, float | None]:
    """Landmarks by the names of the document."""
    return {f"{name}_loss": finite_or_none(value) for name, value in known._asdict().items()}


def has_self_positives(structure: ClassStructure, self_pairs: str) -> bool:
    """Whether L_self has a positive, so that α may differ from 0."""
    return self_pairs == "include" or structure.num_views > 1


_PHASES = {phase.name.lower(): phase for phase in Phase} | {"mixed": Phase.SPREAD}


def needed_dimension(answer: Guide | UnbalancedGuide) -> int:
    """The smallest d that admits the optimum at hand: classes, views, or all instances."""
    structure, phase = answer.structure, answer.phase
    phase = _PHASES[phase] if isinstance(phase, str) else phase
    counts = (structure.num_classes, structure.total_instances, structure.num_views)
    return int(rank_in(phase, *counts))


def shape_of(structure: ClassStructure, self_pairs: str) -> dict[str, Any]:
    return {
        "num_classes": structure.num_classes,
        "num_instances": structure.sizes[0] if structure.is_balanced else None,
        "sizes": list(structure.sizes),
        "num_views": structure.num_views,
        "self_pairs": self_pairs,
    }


def finite_or_none(number: float) -> float | None:
    return number if math.isfinite(number) else None
