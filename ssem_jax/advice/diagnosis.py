r"""Why embeddings are not optimal: what people measure of them, and what to change.

========================  =========================================================================
nc1                       Tr(Σ_W Σ_B⁺)/m: variance within classes against that of the class means
                          (Papyan, Han and Donoho, PNAS 2020); 0 where classes collapse
cdnv                      mean over pairs of classes of (Var_k + Var_l) / (2 ‖μ_k - μ_l‖²)
                          (Galanti, György and Hutter, ICLR 2022)
effective_rank            exp of the entropy of σ_i / Σσ, σ the singular values of the embeddings
                          (Roy and Vetterli, EUSIPCO 2007): the dimensions that are used
etf_deviation             largest |cos(μ_k - μ, μ_l - μ) + 1/(m-1)|, μ the mean of class means
alignment                 mean ‖u - v‖² over pairs of one class
uniformity                log of the mean of exp(-2 ‖u - v‖²) over all pairs (both: Wang and Isola,
                          ICML 2020)
========================  =========================================================================
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from ssem_jax import theory
from ssem_jax.advice.landmarks import Landmarks
from ssem_jax.compute.kernels import in_threads, one_thread, worker_count
from ssem_jax.geometry.shares import Variances, rank_in
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.problem import Phase
from ssem_jax.problem.structure import ClassStructure

NOTICEABLE = 0.01
"""Difference of variances, whose whole is 1, that is worth a sentence."""
TOGETHER = 1e-3
"""Total variance at which rows nearly coincide."""
FLAT = 1e-10
"""Of the largest singular value: means that vary by less do not vary."""
BLOCK = 512
"""Rows of a block of distances: 2 MiB of them against another block."""
SWEEPS = 2
"""How often an audit visits the pairs of many embeddings."""


@dataclasses.dataclass(frozen=True)
class Measures:
    """Numbers of embeddings; this module's docstring says which. Infinite where means coincide."""

    nc1: float
    cdnv: float
    effective_rank: float
    etf_deviation: float
    alignment: float
    uniformity: float


def measure(points: np.ndarray, structure: ClassStructure) -> Measures:
    """Measure unit rows in the order of the structure, in O(N²·d) time and O(N·d) memory."""
    ids = structure.class_ids
    counts = np.bincount(ids)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sums = np.add.reduceat(points, starts, axis=0)
    means = sums / counts[:, None]
    residual = points - means[ids]
    variances = np.add.reduceat((residual**2).sum(axis=1), starts) / counts
    squares = (sums**2).sum(axis=1)
    pairs = counts * (counts - 1.0)
    # Of a class of one row there is no pair.
    alignment = (2 * (counts**2 - squares)[counts > 1].sum() / pairs.sum()) if pairs.any() else 0.0
    return Measures(
        _nc1(residual, means),
        _cdnv(variances, means),
        _effective_rank(points),
        _etf_deviation(means),
        max(float(alignment), 0.0),
        _uniformity(points) if len(points) > 1 else 0.0,
    )


def _nc1(residual: np.ndarray, means: np.ndarray) -> float:
    """In the coordinates of the class means, where Σ_B is diagonal."""
    m = len(means)
    _, sizes, axes = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    kept = sizes > FLAT * max(1.0, sizes[0])
    if not kept.any():
        return math.inf
    within = ((residual @ axes[kept].T) ** 2).mean(axis=0)
    return float((within / (sizes[kept] ** 2 / m)).sum() / m)


def _cdnv(variances: np.ndarray, means: np.ndarray) -> float:
    first, second = np.triu_indices(len(means), 1)
    lengths = (means**2).sum(axis=1)
    apart = (lengths[:, None] + lengths - 2 * means @ means.T)[first, second]
    if (apart <= FLAT).any():
        return math.inf
    return float(((variances[first] + variances[second]) / (2 * apart)).mean())


def _effective_rank(points: np.ndarray) -> float:
    small = points.T @ points if points.shape[1] <= len(points) else points @ points.T
    singular = np.sqrt(np.maximum(np.linalg.eigvalsh(small), 0.0))
    shares = singular[singular > 0] / singular.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _etf_deviation(means: np.ndarray) -> float:
    m = len(means)
    centred = means - means.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=1)
    if (lengths <= FLAT).any():
        return math.inf
    cosines = centred @ centred.T / lengths[:, None] / lengths
    return float(np.abs(cosines + 1 / (m - 1))[~np.eye(m, dtype=bool)].max())


def _terms(block: np.ndarray, other: np.ndarray) -> float:
    """Σ exp(-2 ‖u - v‖²) over the pairs of two blocks of doubled unit rows."""
    exponents = block @ other.T
    exponents -= 4
    return float(np.exp(exponents, out=exponents).sum())


def expected_seconds(points: np.ndarray) -> float:
    """What the pairs of unit rows will take, by what a block of them takes: the loss and the
    uniformity visit each once."""
    block = 2 * points[:BLOCK]
    with one_thread():
        begun = time.perf_counter()
        _terms(block, block)
        passed = time.perf_counter() - begun
    return SWEEPS * passed * (len(points) / len(block)) ** 2 / 2 / worker_count()


def _uniformity(points: np.ndarray) -> float:
    """Pairs of blocks, each once and over all cores: a distance of unit rows is 2 - 2 uᵀv."""
    count, doubled = len(points), 2 * points
    blocks = [doubled[first : first + BLOCK] for first in range(0, count, BLOCK)]

    def from_block_on(place: int) -> float:
        own = _terms(blocks[place], blocks[place])
        return own + 2 * sum(_terms(blocks[place], other) for other in blocks[place + 1 :])

    shares = in_threads(from_block_on, range(len(blocks)), worker_count())
    total = math.fsum(terms for _, terms in shares)
    return math.log(max(total - count, 0.0) / (count * (count - 1))) if total > count else -math.inf


# ---------------------------------------------------------------------------------- in words


@dataclasses.dataclass(frozen=True)
class Finding:
    """What advice is made of.

    Attributes:
        structure: of the embeddings.
        loss: one cell.
        dim: d of the embeddings.
        minimum: of the loss over all embeddings in all dimensions.
        landmarks: losses of collapsed and of equal rows.
        found: variances of the embeddings.
        wanted: those of the optimum.
        phase: of the optimum.
    """

    structure: ClassStructure
    loss: GramLoss
    dim: int
    minimum: float
    landmarks: Landmarks
    found: Variances
    wanted: Variances
    phase: Phase


def needed_dimension(finding: Finding) -> int:
    """The least d that admits the optimum; that of the class means where its phase is unknown."""
    structure = finding.structure
    counts = (structure.num_classes, structure.total_instances, structure.num_views)
    known = Phase.COLLAPSE if finding.phase == Phase.UNDECIDED else finding.phase
    return int(rank_in(known, *counts))


def advice(finding: Finding) -> Iterator[str]:
    """What is the matter with embeddings that are not optimal, and what to change."""
    structure, found, wanted = finding.structure, finding.found, finding.wanted
    m, needed = structure.num_classes, needed_dimension(finding)
    if float(found.total) <= TOGETHER:
        yield (
            f"The rows nearly coincide: the loss is about that of equal rows, "
            f"{finding.landmarks.all_equal:.4f}. The encoder has collapsed to a point, as it does "
            "before it learns, or at a learning rate that is too high."
        )
        return
    if finding.dim < m - 1:
        yield (
            f"d = {finding.dim} is below m - 1 = {m - 1}: {m} class means have no room for a "
            f"simplex, and the minimum is out of reach. Use d ≥ {needed}."
        )
    elif finding.dim < needed:
        yield f"The optimum needs d ≥ {needed}; d = {finding.dim} cannot reach it."
    if structure.is_balanced and found.mean_squared - wanted.mean_squared > NOTICEABLE:
        yield (
            f"The mean of all rows is off the origin (squared norm "
            f"{float(found.mean_squared):.3f}, at the optimum {float(wanted.mean_squared):.3f}): "
            "they lie on a cap of the sphere. Centre the features, or train longer."
        )
    if found.view - wanted.view > NOTICEABLE:
        loss = finding.loss
        larger = "a larger alpha or " * (isinstance(loss, SupCL) and float(loss.alpha) < 1)
        yield (
            f"Views of an instance differ (variance {float(found.view):.3f}, at the optimum "
            f"{float(wanted.view):.3f}): {larger}weaker augmentations draw them together."
        )
    surplus = float(found.delta2 - wanted.delta2)
    if abs(surplus) > NOTICEABLE:
        how = "spread more" if surplus > 0 else "are closer together"
        yield (
            f"Instances of a class {how} than at the optimum (delta2 {float(found.delta2):.3f}, "
            f"there {float(wanted.delta2):.3f})."
        )
    if finding.phase == Phase.COLLAPSE:
        yield "At the optimum of this loss classes collapse" + _way_out(finding)


def _way_out(finding: Finding) -> str:
    """From which α and τ on classes stay apart, where theory has it."""
    loss, structure = finding.loss, finding.structure
    if type(loss) is not SupCL or not structure.is_balanced:
        return ": it is what the loss asks for."
    counts = structure.counts
    alpha_c = float(theory.alpha_c(*counts, float(loss.temperature), loss.self_pairs))
    tau_c = float(theory.tau_c(*counts, float(loss.alpha), loss.self_pairs))
    ways = [f"alpha above {alpha_c:.4g} at this tau"] if alpha_c < 1 else []
    ways += [f"tau below {tau_c:.4g} at this alpha"] if 0 < tau_c < math.inf else []
    return f"; instances stay apart for {' or '.join(ways)}." if ways else " at every alpha."


# ------------------------------------------------------------------------------- the whole of it


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What embeddings look like beside the optimum of their loss.

    Attributes:
        minimum: the least loss that is known to be reached in some dimension.
        landmarks: losses of collapsed and of equal rows.
        measures: of the embeddings.
        dim: d of the embeddings.
        needed_dim: the least that admits the optimum.
        advice: what is the matter and what to change, a sentence each; empty for an optimum.
    """

    minimum: float
    landmarks: Landmarks
    measures: Measures
    dim: int
    needed_dim: int
    advice: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """For a reader."""
        collapsed, equal = self.landmarks
        known = (
            ""
            if math.isnan(collapsed)
            else (f"; of collapsed classes {collapsed:.6g}, of equal rows {equal:.6g}")
        )
        yield f"minimal loss {self.minimum:.6g}{known}"
        yield ", ".join(
            f"{LABELS.get(name, name)} {value:.4g}"
            for name, value in dataclasses.asdict(self.measures).items()
        )
        yield from (f"- {sentence}" for sentence in self.advice)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; what is infinite or not known is null."""
        losses = {f"{name}_loss": value for name, value in self.landmarks._asdict().items()}
        numbers = {"minimum": self.minimum, **losses, **dataclasses.asdict(self.measures)}
        return {
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
            "dim": self.dim,
            "needed_dim": self.needed_dim,
            "advice": list(self.advice),
        }


LABELS = {
    "nc1": "NC1",
    "cdnv": "CDNV",
    "effective_rank": "effective rank",
    "etf_deviation": "ETF deviation",
}
"""Measures as people write them."""


def diagnose(points: np.ndarray, finding: Finding, optimal: bool) -> Diagnosis:
    """The diagnosis of unit rows, of which most is known already."""
    said = () if optimal else tuple(advice(finding))
    return Diagnosis(
        finding.minimum,
        finding.landmarks,
        measure(points, finding.structure),
        finding.dim,
        needed_dimension(finding),
        said,
    )
