r"""Which α and τ to train with: collapse thresholds, predicted variance, and inverse design.

A batch of m classes with n instances and p views each has an optimum over free embeddings whose
within-class variance δ² depends on α and τ alone. For **balanced** batches everything is a closed
form of :mod:`ssem_jax.theory`: the thresholds α_c(τ) and τ_c(α), δ², and the α of a wanted δ². In
τ, δ² rises from 0 to a peak and falls to 0 at τ_c, so a wanted δ² below the peak has two
temperatures, which are searched. **Unbalanced** batches go through the reduced program of
:mod:`ssem_jax.certificate.symmetry`: every class has its own threshold and variance.

What is not given is chosen such that a wanted variance is reached.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ssem_jax import theory
from ssem_jax.advice.answers import Guide, UnbalancedGuide, has_self_positives
from ssem_jax.advice.thresholds import collapse_thresholds
from ssem_jax.certificate.reduced import solve_reduced
from ssem_jax.geometry.shares import largest_delta2
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.problem import Phase, Problem
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import check_progress, concrete, shown

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


def guide(
    structure: ClassStructure,
    alpha: float | None = None,
    temperature: float | None = None,
    *,
    self_pairs: str = "include",
    mean: str = "pairs",
    delta2: float | None = None,
    names: tuple[str, ...] | None = None,
    progress: Callable[[int], None] | None = None,
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
        progress: called with the number of class sizes whose threshold was newly found.

    Returns:
        The answer: :class:`Guide` for balanced classes, else :class:`UnbalancedGuide`.

    Raises:
        ValueError: a number or a convention out of range, one instance per class throughout, an α
            without positives, a δ² that no α and τ reach, and more classes of different size than
            :func:`ssem_jax.certificate.solve_reduced` takes.

    References:
        Lee, Oh, Lee and Sohn (AISTATS 2025, arXiv:2503.08203) for preventing class collapse by the
        choice of α and τ; the closed forms as in :mod:`ssem_jax.theory`.
    """
    check_structure(structure)
    check_progress(progress)
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
    loss.check_structure(structure)
    if structure.is_balanced:
        return _balanced(structure, alpha, temperature, self_pairs, delta2)
    mean_size = max(round(structure.total_instances / structure.num_classes), 2)
    typical = ClassStructure.balanced(structure.num_classes, mean_size, structure.num_views)
    design = _Design(typical, self_pairs, delta2)
    chosen_alpha, chosen_temperature, chosen = design.choose(alpha, temperature)
    loss = SupCL(chosen_alpha, chosen_temperature, self_pairs, mean)
    found = solve_reduced(Problem(structure, None, loss))
    class_gram = np.asarray(found.class_gram)
    thresholds = np.full(structure.num_classes, np.nan)
    if has_self_positives(structure, self_pairs):
        convention = {"mean": mean, "self_pairs": self_pairs, "progress": progress}
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
        found.class_variances,
        found.cosines,
        float(found.value),
        float(found.gap),
        float(1 - structure.class_shares @ class_gram @ structure.class_shares),
    )


class _Design:
    """The closed forms of one balanced batch, evaluated in vectors of one length, and inverted."""

    def __init__(self, structure: ClassStructure, self_pairs: str, wanted: float | None) -> None:
        m, n = structure.num_classes, structure.num_instances
        self.counts, self.self_pairs = (m, n, structure.num_views), self_pairs
        self.largest = largest_delta2(m, n)
        if wanted is not None and not 0 < wanted <= self.largest:
            raise ValueError(
                f"delta2 must lie above 0, class collapse, and be at most {self.largest:.6g}, the "
                f"largest of {structure}; got {wanted:g}."
            )
        self.wanted = min(MODERATE, self.largest) if wanted is None else wanted
        self.any_alpha = has_self_positives(structure, self_pairs)

    def evaluate(self, function: Callable[..., Any], *hyper: Any, counts: Any = None) -> np.ndarray:
        """A closed form at up to WIDTH values."""
        columns = [np.ravel(values) for values in (*(counts or self.counts), *hyper)]
        length = max(len(column) for column in columns)
        filled = [np.resize(column, WIDTH) for column in columns]
        return np.asarray(function(*filled, self_pairs=self.self_pairs))[:length]

    def one(self, function: Callable[..., Any], *hyper: float) -> float:
        """A closed form at one value."""
        return float(self.evaluate(function, *hyper)[0])

    def delta2(self, alpha: float, temperatures: Any) -> np.ndarray:
        return self.evaluate(theory.delta2, alpha, temperatures)

    def peak(self, alpha: float) -> tuple[float, float] | None:
        """The τ of the largest δ², and that δ²; None where δ² does not depend on τ."""
        tau_c = self.one(theory.tau_c, alpha)
        if not 0 < tau_c < math.inf:
            return None
        low, high = min(COLDEST, 0.5 * tau_c), tau_c
        while True:
            grid = np.geomspace(low, high, WIDTH)
            best = int(np.argmax(values := self.delta2(alpha, grid)))
            low, high = grid[max(best - 1, 0)], grid[min(best + 1, WIDTH - 1)]
            # At a maximum half of the digits are all there are.
            if high / low - 1 <= math.sqrt(RESOLUTION):
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
        if alpha is None and not self.any_alpha:
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
        alpha_for_wanted=float(design.alphas(temperature)[0]) if design.any_alpha else None,
        temperatures_for_wanted=design.temperatures(alpha),
        minimum=design.one(theory.loss, alpha, temperature),
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
