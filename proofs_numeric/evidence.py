"""What the statements of this folder are judged by, so that their own files only state.

Margins that several claims share; procedures of theorems, which solve, certify or enclose; and what
those decide by. **Proofs cell by cell** decide by comparisons of balls, in which no float has a
say: floats choose where to look (grids, embeddings of the solver) and are then the dyadic numbers
that they are. Tolerances are rationals: 1e-8 is no float.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any, cast

import jax
import numpy as np
from flint import arb, fmpz_mpoly_ctx

from ssem_jax import balls, theory
from ssem_jax.balls import Enclosure, to_ball
from ssem_jax.certificate import COLLAPSE_TOLERANCE, GAP_TOLERANCE, Certificate, certify
from ssem_jax.claims import (
    EQUALITY_TOLERANCE,
    VALUE_TOLERANCE,
    Cells,
    Interval,
    Proof,
    same_phase,
)
from ssem_jax.geometry import full_dimension
from ssem_jax.losses import Sigmoid, Spectral, SupCL, SupCon
from ssem_jax.problem import ClassStructure, Phase, Problem
from ssem_jax.solver import solve

# ------------------------------------------------------------------------------ margins of claims


def spread(cell: Cells) -> Interval:
    """Positive where instance means are apart: no class collapse."""
    return cell.delta2 - COLLAPSE_TOLERANCE


def satisfies(guideline: Callable[..., Any]) -> Callable[[Cells], np.ndarray]:
    """The condition that a guideline of theory sets."""
    return lambda cell: cell.predict(lambda *cells, self_pairs: guideline(*cells)).astype(bool)


def rises(first: Cells, second: Cells) -> Interval:
    """Nonnegative where δ² does not fall from one cell to the next, to 1e-3."""
    return second.delta2 - first.delta2 + EQUALITY_TOLERANCE


def falls(first: Cells, second: Cells) -> Interval:
    """Nonnegative where δ² does not rise from one cell to the next, to 1e-3."""
    return first.delta2 - second.delta2 + EQUALITY_TOLERANCE


def no_valley(first: Cells, second: Cells, third: Cells) -> Any:
    """Nonnegative where δ² of the second is not below both its neighbours."""
    return np.maximum(rises(first, second), falls(second, third))


# --------------------------------------------------------------------- classes of unequal size

COLD_BAND = 0.02
"""How far thresholds may still lie above their limits τ → 0 at τ = 0.2."""


def mean_is(mean: str) -> Callable[[Cells], np.ndarray]:
    """The condition that a loss takes one of the means."""
    return lambda cell: cell.table["mean"].to_numpy() == mean


def collapsed(cell: Cells) -> np.ndarray:
    """Where all classes are certified to be collapsed."""
    return cell.phase == Phase.COLLAPSE


def larger_first(cell: Cells) -> Interval:
    """Negative where a smaller class is spread and a larger one is collapsed."""
    variance, low, high = cell.class_delta2, [], []
    for row, text in enumerate(cell.table["sizes"]):
        n = np.array([int(size) for size in text.split(",")])
        larger, smaller = np.nonzero(n[:, None] > n)
        parts, stays = variance.low[row, larger], variance.high[row, smaller]
        holds = np.maximum(parts - COLLAPSE_TOLERANCE, COLLAPSE_TOLERANCE - stays)
        together = COLLAPSE_TOLERANCE - variance.high[row, larger]
        broken = np.minimum(variance.low[row, smaller] - COLLAPSE_TOLERANCE, together)
        low.append(holds.min())
        high.append(-broken.max())
    return Interval(low, np.maximum(low, high))


def threshold_margin(cell: Cells, limits: np.ndarray) -> Interval:
    """Each class is collapsed for α up to its limit, and spread from a band above it on."""
    variance = cell.class_delta2
    alpha = cell.alpha[:, None]
    below, above = alpha <= limits + 1e-12, alpha >= limits + COLD_BAND
    together, apart = COLLAPSE_TOLERANCE - variance, variance - COLLAPSE_TOLERANCE
    return np.where(below, together, np.where(above, apart, np.inf)).min(axis=1)


def two_class_phase(cell: Cells) -> Interval:
    """Positive where two classes are collapsed exactly up to the smaller of their thresholds."""
    thresholds = []
    for sizes, tau, mean in cell.table.select("sizes", "temperature", "mean").rows():
        first, second = map(int, sizes.split(","))
        thresholds.append(np.min(theory.two_class_threshold((first, second), tau, mean)))
    return same_phase(
        cell.phase, np.where(cell.alpha <= thresholds, int(Phase.COLLAPSE), int(Phase.SPREAD))
    )


def angle_spread(cell: Cells) -> Interval:
    """What the cosines of collapsed class means may differ by, at least and at most."""
    cosines = cell.class_products
    apart = np.maximum(cosines.max(axis=1) - cosines.min(axis=1), 0)
    return cast(Interval, EQUALITY_TOLERANCE - apart)  # functions of NumPy keep intervals


def majorities(cell: Cells) -> list[tuple[int, float, float]]:
    """(k, ρ, τ) of cells whose first class is the majority and whose others are equal."""
    n = cell.class_sizes
    return [
        (len(row) - 1, row[0] / row[1:].sum(), tau)
        for row, tau in zip(n, cell.temperature, strict=True)
    ]


def first_product(cell: Cells) -> Interval:
    """Inner product of the means of the first two classes."""
    return cell.class_products[:, 0]


def merging(cell: Cells) -> Interval:
    """Positive where minorities coincide iff the closed form says so."""
    merged = [ratio >= theory.minority_collapse_ratio(k, tau) for k, ratio, tau in majorities(cell)]
    apart = 1 - cell.class_products[:, -1]
    margin: Any = np.where(merged, COLLAPSE_TOLERANCE - apart, apart - COLLAPSE_TOLERANCE)
    return margin  # an interval, as functions of NumPy keep them


def two_class_polynomials() -> tuple[Any, Any]:
    """n_2 (n_1-1) E_1 - n_1 (n_2-1) E_2, which has the sign of α_2 - α_1; its factor n_1 - n_2.

    With E_k = 2 n_1 n_2 + 2 n_k² y - n_l (n_1+n_2) y (1+y), the thresholds are
    α_k = 1 - (n_k-1) E_k / (2 n_k D_1 D_2); n_2 = 2 + a, n_1 = 2 + a + b.
    """
    a, b, y = fmpz_mpoly_ctx.get(("a", "b", "y"), "lex").gens()
    small, large = a + 2, a + b + 2
    total = small + large

    def bracket(own, other):
        return 2 * small * large + 2 * own**2 * y - other * total * y * (1 + y)

    first = small * (large - 1) * bracket(large, small)
    second = large * (small - 1) * bracket(small, large)
    return first - second, b


def larger_first_two() -> Proof:
    """The difference is (n_1-n_2) times a polynomial of positive coefficients in a, b and y."""
    difference, factor = two_class_polynomials()
    quotient, remainder = divmod(difference, factor)
    coefficients = [int(value) for value in quotient.coeffs()]
    constant = int(quotient.to_dict().get((0, 0, 0), 0))
    proven = remainder == 0 and min(coefficients) >= 0 and constant > 0
    return Proof(proven, signs=len(coefficients), rigorous=True)


# --------------------------------------------------------------------------- certified cells


def cells_proof(
    cells: Sequence[dict[str, Any]], holds: Iterable, refuted: Iterable, gaps: Iterable
) -> Proof:
    """A procedure on certified cells: where it holds, where it certainly does not, and the rest."""
    judged = list(zip(cells, holds, refuted, strict=True))
    against = next((cell for cell, _, no in judged if no), None)
    open_ = tuple(cell for cell, yes, no in judged if not (yes or no))
    proven = against is None and not open_
    return Proof(
        proven,
        against,
        undecided=open_,
        cells=len(judged),
        gaps=tuple(map(float, gaps)),
    )


def supcon_collapses(shape: tuple[int, int, int], temperatures: np.ndarray) -> Proof:
    """SupCon collapses, certified as the SupCL loss that it is, whose kernels other claims compile
    anyway."""
    structure = ClassStructure.balanced(*shape)
    alphas = np.full(len(temperatures), float(theory.alpha_c_limit(*shape, "exclude")))
    loss = SupCL(alphas, temperatures, "exclude")
    solution = solve(Problem(structure, structure.num_embeddings - 1, loss), jax.random.key(0))
    found = certify(solution)
    phase = np.asarray(found.phase)
    own = jax.vmap(lambda one, points: one(points, structure))(
        SupCon(temperatures), solution.embeddings
    )
    same = np.abs(found.value - own) <= VALUE_TOLERANCE
    cells = [{"tau": float(tau)} for tau in temperatures]
    holds = found.certified & same & (phase == Phase.COLLAPSE)
    refuted = ~same | ((phase != Phase.COLLAPSE) & (phase != Phase.UNDECIDED))
    return cells_proof(cells, holds, refuted, found.gap)


@functools.cache
def spectral_cells(
    shape: tuple[int, int, int], alphas: tuple[float, ...], scales: tuple[float, ...]
) -> tuple[list[dict[str, Any]], Spectral, Certificate]:
    """Certified cells of the spectral loss, and their coordinates."""
    structure = ClassStructure.balanced(*shape)
    hyper = np.array(list(itertools.product(alphas, scales))).T
    loss = Spectral(hyper[0], hyper[1])
    found = certify(solve(Problem(structure, structure.num_embeddings, loss), jax.random.key(0)))
    pairs = zip(*hyper, strict=True)
    return [{"alpha": float(alpha), "mu": float(mu)} for alpha, mu in pairs], loss, found


def spectral_closed_form(shape: tuple[int, int, int], *grid: tuple[float, ...]) -> Proof:
    """Minimum and variances of the spectral loss are those of the closed form."""
    cells, loss, found = spectral_cells(shape, *grid)
    predicted = theory.spectral_optimum(*shape, loss.alpha, loss.scale)
    holds = found.certified & (np.abs(found.value - predicted.loss) <= VALUE_TOLERANCE)
    refuted = found.certified & ~holds
    variances = predicted.variances
    values = {
        "delta2": variances.delta2,
        "view_variance": variances.view,
        "mean_squared": variances.mean_squared,
    }
    for name, value in values.items():
        low, high = found.brackets[name]
        # The closed form has roundings of its own, where a bracket ends at 0.
        inside = (low <= value + GAP_TOLERANCE) & (value <= high + GAP_TOLERANCE)
        refuted |= found.certified & ~inside
        holds &= inside & (high - low <= EQUALITY_TOLERANCE)
    return cells_proof(cells, holds, refuted, found.gap)


def spectral_criterion(shape: tuple[int, int, int], *grid: tuple[float, ...]) -> Proof:
    """Classes collapse under the spectral loss iff the first-order criterion says so."""
    cells, loss, found = spectral_cells(shape, *grid)
    margin = np.asarray(theory.collapse_criterion(loss, ClassStructure.balanced(*shape)))
    decided = found.phase != Phase.UNDECIDED
    alike = (margin >= 0) == (np.asarray(found.phase) == Phase.COLLAPSE)
    return cells_proof(cells, decided & alike, decided & ~alike, found.gap)


def sigmoid_minimum(*grid: tuple[float, ...]) -> Proof:
    """The minimum of the sigmoid loss is that of the closed form."""
    minima = np.array(sigmoid_cells(*grid))
    num_pairs, scale, bias, lower, value, gap = minima.T
    predicted = np.asarray(theory.sigmoid_optimum(num_pairs, scale, bias).loss)
    low, high = lower - VALUE_TOLERANCE, value + VALUE_TOLERANCE
    holds = (low <= predicted) & (predicted <= high)
    cells = [{"K": int(k), "t": float(t), "b": float(b)} for k, t, b in minima[:, :3]]
    return cells_proof(cells, holds, ~holds, gap)


_STRICT = 1e-3
"""Cells whose condition is nearer to equality than this (relatively) are left out."""


def _softplus(x: Any) -> Any:
    return np.logaddexp(0, x)


def sigmoid_loss(num_pairs: Any, scale: Any, bias: Any, matched: Any, unmatched: Any) -> Any:
    """The loss of one cosine of matched and one of unmatched pairs."""
    pulled = _softplus(bias - scale * matched)
    return pulled + (num_pairs - 1) * _softplus(scale * unmatched - bias)


@functools.cache
def sigmoid_cells(
    pairs: tuple[int, ...], all_scales: tuple[float, ...], all_biases: tuple[float, ...]
) -> list[tuple[Any, ...]]:
    """(K, t, b, lower, value, gap) of certified cells, by free minimisation."""
    cells = []
    scales, biases = np.array(list(itertools.product(all_scales, all_biases))).T
    for num_pairs in pairs:
        structure = ClassStructure((1,) * num_pairs, 2)
        problem = Problem(structure, 2 * num_pairs - 1, Sigmoid(scales, biases))
        found = certify(solve(problem, jax.random.key(0)))
        if not np.all(found.certified):
            worst = float(np.max(found.gap))
            raise RuntimeError(f"K = {num_pairs}: a gap of {worst:.1e} is left uncertified.")
        numbers = (scales, biases, found.lower, found.value, found.gap)
        cells += [(num_pairs, *map(float, cell)) for cell in zip(*numbers, strict=True)]
    return cells


def sigmoid_optimal(
    grid: tuple[tuple[float, ...], ...],
    matched: float,
    unmatched: Callable[[int], float],
    condition: Callable[..., tuple[float, float]],
) -> Proof:
    """Optimal exactly where the condition's two sides say so, in every certified cell."""
    gaps: list[float] = []
    for num_pairs, scale, bias, lower, value, gap in sigmoid_cells(*grid):
        larger, smaller = condition(num_pairs, scale, bias)
        if abs(larger - smaller) < _STRICT * max(larger, smaller):
            continue
        gaps.append(gap)
        model = sigmoid_loss(num_pairs, scale, bias, matched, unmatched(num_pairs))
        optimal = model <= lower + GAP_TOLERANCE
        beaten = value < model - GAP_TOLERANCE
        where = {"K": num_pairs, "t": scale, "b": bias}
        cells = len(gaps)
        if (larger > smaller) and beaten:
            return Proof(False, where, cells=cells, gaps=tuple(gaps))
        # Within the gap of the minimum is not at it: such a cell refutes no "not optimal".
        if not (optimal if larger > smaller else beaten):
            return Proof(False, undecided=(where,), cells=cells, gaps=tuple(gaps))
    left_out = "equality of the condition to 1e-3"
    return Proof(True, left_out=left_out, cells=len(gaps), gaps=tuple(gaps))


# ----------------------------------------------------------------------- proofs in ball arithmetic


def boundary_on_box(
    band: Fraction, *phases: Phase, self_pairs: str = "include", num_views: int = 1, **box: Any
) -> Proof:
    """m = 3, n = 4: the phases are where the boundaries say, a band away from them."""
    proofs = {
        phase.name.lower(): balls.prove_boundary(
            phase, 3, 4, num_views, self_pairs=self_pairs, band=band, **box
        )
        for phase in phases
    }
    left_out = f"a neighbourhood of the boundary of width {float(band)} on each side in α"
    return Proof.of_boxes(left_out, **proofs)


def refute_summary() -> Proof:
    """A corner of the region that the summary guideline calls safe is collapsed."""
    proof = balls.refute_summary_guideline(2, 2)
    low, high = proof.instance_margin
    refuted = {
        "m": 2,
        "n": 2,
        "p": 1,
        "alpha": "1/2",
        "tau": "1/log 2",
        "phase": proof.phase.name.lower(),
        "instance eigenvalue": f"in [{low:.6g}, {high:.6g}]",
    }
    refutes = proof.phase is Phase.COLLAPSE
    return Proof(False, refuted if refutes else None, enclosures=1, rigorous=True)


def is_narrow(found: Enclosure, width: Fraction) -> bool:
    """Whether an enclosure is proven to be no wider than this; its own width is rounded up."""
    return arb(found.width) <= to_ball(width)


def agrees(number: float, truth: arb, tolerance: Fraction) -> bool | None:
    """Whether a number is as near to the true value as it says, relative to max(1, |truth|).

    Args:
        number: a float, as a closed form in float64 returns it.
        truth: a ball that holds what it should be.
        tolerance: relative.

    Returns:
        What balls prove, or None if they are too wide to tell.
    """
    distance, allowed = abs(arb(number) - truth), to_ball(tolerance) * abs(truth).max(arb(1))
    if distance <= allowed:
        return True
    return False if distance > allowed else None


def enclose_minima(
    cases: Sequence[tuple[ClassStructure, str]],
    all_alphas: Sequence[float],
    all_temperatures: Sequence[float],
    width: Fraction,
    accuracy: Fraction,
) -> Proof:
    """Solve, enclose from the embeddings, and compare with the enclosed closed form."""
    widths, undecided, refuted = [], [], None
    alphas, temperatures = np.array(list(itertools.product(all_alphas, all_temperatures))).T
    for structure, self_pairs in cases:
        dim = full_dimension(structure, self_pairs)
        problem = Problem(structure, dim, SupCL(alphas, temperatures, self_pairs))
        embeddings = np.asarray(solve(problem, jax.random.key(0)).embeddings)
        counts = structure.counts
        for points, alpha, tau in zip(embeddings, alphas, temperatures, strict=True):
            found = balls.enclose_minimum(points, structure, SupCL(alpha, tau, self_pairs))
            formula = balls.enclose_closed_form(*counts, alpha, tau, self_pairs)
            predicted = float(theory.loss(*counts, alpha, tau, self_pairs=self_pairs))
            float64 = agrees(predicted, formula.ball, accuracy)
            where = {"structure": str(structure), "alpha": float(alpha), "tau": float(tau)}
            where["self_pairs"] = self_pairs
            widths.append(found.width)
            if not found.ball.overlaps(formula.ball) or float64 is False:
                refuted = refuted or where
            if not (found.ball.contains(formula.ball) and float64 and is_narrow(found, width)):
                undecided.append(where)
    return _of_widths(widths, undecided, refuted)


def enclose_closed_forms(
    sizes: Sequence[tuple[int, int, int]],
    all_alphas: np.ndarray,
    all_temperatures: np.ndarray,
    self_pairs: str,
    width: Fraction,
    accuracy: Fraction,
) -> Proof:
    """Enclose the minimum by the closed-form optimum alone, and compare the form in float64."""
    widths, undecided, refuted = [], [], None
    alphas, temperatures = (grid.ravel() for grid in np.meshgrid(all_alphas, all_temperatures))
    for m, n, p in sizes:
        predicted = np.asarray(theory.loss(m, n, p, alphas, temperatures, self_pairs=self_pairs))
        for alpha, tau, value in zip(alphas, temperatures, predicted, strict=True):
            found = balls.enclose_closed_form(m, n, p, float(alpha), float(tau), self_pairs)
            float64 = agrees(float(value), found.ball, accuracy)
            where = {"m": m, "n": n, "p": p, "alpha": float(alpha), "tau": float(tau)}
            widths.append(found.width)
            if float64 is False:
                refuted = refuted or where
            if not (float64 and is_narrow(found, width)):
                undecided.append(where)
    return _of_widths(widths, undecided, refuted)


def _of_widths(
    widths: list[float], undecided: list[dict[str, Any]], refuted: dict[str, Any] | None
) -> Proof:
    """A proof by enclosures."""
    return Proof(
        not undecided,
        refuted,
        undecided=tuple(undecided),
        widths=tuple(widths),
        enclosures=len(widths),
        rigorous=True,
    )


def above_threshold(m: int, n: int, tau: Fraction, band: Fraction) -> arb:
    """α_c(τ) and a band, self pairs included."""
    r = (-arb(m) / ((m - 1) * balls.to_ball(tau))).exp()
    share = m * r / (1 + (m - 1) * r)
    return (1 + (n - 1) * share) / n + balls.to_ball(band)


def collapsed_loss(m: int, n: int, tau: Fraction) -> arb:
    """The loss of collapse onto a simplex, whatever α: log(n + n(m-1) e^{-m/((m-1)τ)})."""
    return (n + n * (m - 1) * (-arb(m) / ((m - 1) * balls.to_ball(tau))).exp()).log()


def spread_beats_collapse(
    shapes: Sequence[tuple[int, int]], temperatures: Sequence[Fraction], band: Fraction
) -> Proof:
    """In R^m and R^{m+1}, just above α_c, some embeddings are proven better than collapse.

    The solver only proposes them: α, τ and both losses are balls.
    """
    count, undecided = 0, []
    with balls.working_precision(balls.EMBEDDING_PRECISION):
        for m, n in shapes:
            structure = ClassStructure.balanced(m, n)
            exact = [(above_threshold(m, n, tau, band), tau) for tau in temperatures]
            floats = np.array([[float(alpha.mid()), float(tau)] for alpha, tau in exact])
            for dim in (m, m + 1):
                problem = Problem(structure, dim, SupCL(floats[:, 0], floats[:, 1]))
                proposed = solve(problem, jax.random.key(0), num_starts=4).embeddings
                for points, (alpha, tau) in zip(np.asarray(proposed), exact, strict=True):
                    loss = SupCL(cast(Any, alpha), cast(Any, tau))  # exact, as balls read them
                    found = balls.enclose_minimum(points, structure, loss)
                    count += 1
                    if not found.ball.upper() < collapsed_loss(m, n, tau):
                        undecided.append({"m": m, "n": n, "d": dim, "tau": str(tau)})
    return Proof(not undecided, undecided=tuple(undecided), enclosures=count, rigorous=True)
