"""What a random batch asks of α and τ: most batches are random, and not stratified.

A loader that shuffles a data set of m classes fills a batch of B instances by chance. With 1,000
classes and B = 1,024 an anchor meets one other of its class on average, and one in three meets
none: nothing pushes it from its class, and collapse ends at a much larger α than in a batch that
has a few instances of every class. Both are answered, side by side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from ssem_jax import theory
from ssem_jax.advice.answers import chosen_text, finite_or_none, losses_text, tau_text
from ssem_jax.advice.landmarks import Landmarks
from ssem_jax.problem.display import Told, count_text, share_text
from ssem_jax.problem.validation import check_count, check_mixing, check_temperature

MODERATE = 0.3
"""The variance within classes that is aimed at if α is not given."""
USUAL_TEMPERATURE = 0.1
"""Chosen if τ is not given: what SupCon and its heirs use."""


@dataclasses.dataclass(frozen=True, repr=False)
class RandomGuide(Told):
    """The answer for random batches of a large data set, beside that for one stratified batch.

    Attributes:
        num_classes: m, alike in size.
        batch: B, instances of a batch.
        num_views: p.
        self_pairs: "include" or "exclude".
        mean: of L_sup, over "pairs", over the "anchors" that have one, or over "all" anchors.
        alpha: α, given or chosen.
        temperature: τ, given or chosen.
        chosen: which of them were chosen here.
        alpha_c: the α up to which the mean loss over random batches collapses classes.
        tau_c: the τ from which on it does; 0 at every τ, inf at none.
        delta2: δ² of the data set at its optimum.
        stratified: the same of one batch of B instances that has as many of every class that it
            has, two at least, with its "num_classes" and "num_instances".
        minimum: the least mean loss.
        collapsed_loss: that of collapsed classes.
        all_equal_loss: that of rows that are all equal.
    """

    num_classes: int
    batch: int
    num_views: int
    self_pairs: str
    mean: str
    alpha: float
    temperature: float
    chosen: tuple[str, ...]
    alpha_c: float
    tau_c: float
    delta2: float
    stratified: dict[str, Any]
    minimum: float
    collapsed_loss: float
    all_equal_loss: float

    __repr__ = Told.in_a_line

    def said(self) -> Iterator[str]:
        """The batches, α and τ, what is optimal there."""
        yield f"random batches of {self.batch} of {self.num_classes:,} classes"
        yield chosen_text(self)
        yield f"{self.phase}, δ² = {share_text(self.delta2)}"

    @property
    def phase(self) -> str:
        """ "collapse" or "spread"."""
        return "spread" if self.alpha > self.alpha_c else "collapse"

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; what is infinite is null."""
        found = dataclasses.asdict(self) | {"phase": self.phase, "chosen": list(self.chosen)}
        stratified = self.stratified | {"tau_c": finite_or_none(self.stratified["tau_c"])}
        return found | {"tau_c": finite_or_none(self.tau_c), "stratified": stratified}

    def _title(self) -> str:
        return f"{self.num_classes:,} classes"

    def _meant(self) -> str:
        return (
            "a large data set, whose embeddings are optimal for all of them at once. Beside it one "
            "batch that has as many instances of every class"
        )

    def _beside(self) -> str:
        return "{num_classes} × {num_instances}".format_map(self.stratified)

    def lines(self) -> Iterator[str]:
        """The answer in words."""
        one = self.stratified
        yield (
            f"Random batches of {self.batch} instances, {count_text(self.num_views, 'view')} each, "
            f"of {self._title()}, self pairs {self.self_pairs}d."
        )
        yield f"  {chosen_text(self)}"
        yield f"  minimal loss     {self.minimum:.6f}"
        losses = Landmarks(self.collapsed_loss, self.all_equal_loss)
        yield f"  for comparison   {losses_text(losses)}"
        yield ""
        yield f"                   random   {self._beside()}"
        for name, form, values, meant in (
            ("α_c at this τ", share_text, (self.alpha_c, one["alpha_c"]), "(collapse up to it)"),
            ("τ_c at this α", tau_text, (self.tau_c, one["tau_c"]), "(collapse from it on)"),
            ("δ² (within)", share_text, (self.delta2, one["delta2"]), "of a variance of 1"),
        ):
            random, stratified = map(form, values)
            yield f"  {name:<15}  {random:<6}   {stratified:<6}   {meant}"
        yield ""
        yield (
            f"Random: the mean loss over all batches of {self._meant()} in it, by itself. A "
            "sampler that puts several instances of a class into a batch makes collapse harder."
        )


def guide_random_batches(
    num_classes: int,
    batch: int,
    alpha: float | None = None,
    temperature: float | None = None,
    *,
    num_views: int = 1,
    self_pairs: str = "include",
    mean: str = "pairs",
    delta2: float | None = None,
) -> RandomGuide:
    """What theory says of random batches of a large data set with classes of equal size.

    What is not given is chosen: τ as usual, and of τ the α that reaches the wanted δ².

    Args:
        num_classes: m ≥ 2.
        batch: B ≥ 4 instances, each with all its views.
        alpha: α in [0, 1], or None.
        temperature: τ > 0, or None.
        num_views: p ≥ 1.
        self_pairs: "include" or "exclude".
        mean: of L_sup: over positive "pairs", over "anchors" that have one, or over "all" anchors,
            those without a positive counting 0.
        delta2: the wanted δ²; `MODERATE` if None.

    Raises:
        ValueError: a number or a convention out of range, or an α without positives.

    References:
        Derived here: :func:`ssem_jax.theory.random_alpha_c`.
    """
    batch = check_count("a batch", batch, 4)
    chosen = tuple(n for n, v in (("alpha", alpha), ("temperature", temperature)) if v is None)
    tau = USUAL_TEMPERATURE if temperature is None else temperature
    check_temperature(tau)
    counts = (num_classes, None, num_views, batch)
    positives = self_pairs == "include" or num_views > 1
    if alpha is None and positives:
        wanted = MODERATE if delta2 is None else delta2
        alpha = theory.random_alpha_for_delta2(*counts, wanted, tau, self_pairs, mean)
    alpha = 0.0 if alpha is None else alpha
    check_mixing(alpha)
    if alpha > 0 and not positives:
        raise ValueError(
            "num_views must be at least 2 when alpha > 0 and self pairs are excluded; got 1. Use "
            "alpha = 0, add views, or include self pairs."
        )
    m_b = min(num_classes, batch // 2)
    one = (m_b, batch // m_b, num_views)
    stratified = {
        "num_classes": one[0],
        "num_instances": one[1],
        "alpha_c": float(theory.alpha_c(*one, tau, self_pairs)),
        "tau_c": float(theory.tau_c(*one, alpha, self_pairs)),
        "delta2": float(theory.delta2(*one, alpha, tau, self_pairs)),
    }
    convention = self_pairs, mean
    delta2 = theory.random_delta2(*counts, alpha, tau, *convention)
    losses = (
        theory.random_loss(*counts, alpha, tau, place, *convention) for place in (delta2, 0.0, None)
    )
    return RandomGuide(
        num_classes,
        batch,
        num_views,
        self_pairs,
        mean,
        float(alpha),
        float(tau),
        chosen,
        theory.random_alpha_c(*counts, tau, *convention),
        theory.random_tau_c(*counts, alpha, *convention),
        delta2,
        stratified,
        *losses,
    )
