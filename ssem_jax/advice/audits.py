"""Judge embeddings that somebody else found: their true gap, phase and variances."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from ssem_jax import theory
from ssem_jax.advice.diagnosis import Diagnosis, Finding, diagnose, expected_seconds
from ssem_jax.advice.inputs import Batch, read_batch
from ssem_jax.advice.landmarks import landmarks
from ssem_jax.certificate.certificate import GAP_TOLERANCE, Certificate
from ssem_jax.certificate.certificates import (
    CHOLESKY_LIMIT,
    DENSE_LIMIT,
    OWN_LIMIT,
    certificate_key,
    certify,
    certify_blocks,
    certify_embeddings,
    check_size,
)
from ssem_jax.certificate.class_blocks import CLASS_LIMIT
from ssem_jax.certificate.reduced import (
    ORBITS_LIMIT,
    certify_classes,
    certify_program,
    has_optimum,
    solve_reduced,
)
from ssem_jax.certificate.symmetry.programs import says_terms
from ssem_jax.compute.sizes import check_memory
from ssem_jax.geometry.shares import Variances, similarities_of
from ssem_jax.geometry.similarities import Similarities
from ssem_jax.geometry.sphere import rescaled
from ssem_jax.losses.base import GramLoss, loss_of
from ssem_jax.losses.contrast import ClassContrast
from ssem_jax.losses.declared import check_declared
from ssem_jax.losses.pairwise import Spectral
from ssem_jax.losses.supcl import SupCL, SupCon
from ssem_jax.problem.arrays import AnyArray, Rows, Seed
from ssem_jax.problem.display import Told
from ssem_jax.problem.problem import Phase, Problem, check_loss
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import as_key, check_positive, require_x64
from ssem_jax.solver.attempts import solve

DUAL_MATRICES = 4
"""N × N matrices that an audit holds at a time where it forms the dual one; measured at 3,000."""


@dataclasses.dataclass(frozen=True, repr=False)
class Audit(Told):
    """What an audit found.

    Attributes:
        structure: classes, instances and views of the embeddings.
        certificate: of the embeddings, with the best lower bound at hand.
        optimum: certificate of a minimum of the same loss: of its closed form where one is known,
            of the program of its classes, or of embeddings found from a random start.
        prediction: variances at the optimum where a closed form is known; else None.
        understood: how embeddings and labels were read, line by line.
        diagnosis: what the embeddings look like beside the optimum, and what to change.
        tolerance: the gap up to which they count as optimal.
    """

    structure: ClassStructure
    certificate: Certificate
    optimum: Certificate
    prediction: Variances | None
    understood: tuple[str, ...] = ()
    diagnosis: Diagnosis | None = None
    tolerance: float = GAP_TOLERANCE

    @property
    def optimal(self) -> bool:
        """Whether the embeddings are certified as globally optimal, within the tolerance."""
        return float(self.certificate.gap) <= self.tolerance

    @property
    def verdict(self) -> str:
        """In words."""
        if not self.optimal:
            return "not certified as optimal"
        return "globally optimal" if self.tolerance <= GAP_TOLERANCE else "as good as optimal"

    def lines(self) -> Iterator[str]:
        """The answer for a reader."""
        certificate = self.certificate
        yield from (str(self.structure), *self.understood)
        yield (
            f"loss {float(certificate.value):.12g}, no embedding below "
            f"{float(certificate.lower):.12g}"
        )
        yield (f"gap {float(certificate.gap):.3e}: {self.verdict} (tolerance {self.tolerance:.0e})")
        yield f"phase of the optimum: {Phase(int(self.optimum.phase)).name.lower()}"
        predicted = None if self.prediction is None else _named(self.prediction)
        for name, value in _named(certificate.variances).items():
            said = "" if predicted is None else f", predicted {predicted[name]:.6g}"
            yield f"{name} {value:.6g}{said}"
        if self.diagnosis is not None:
            yield from self.diagnosis.lines()

    def __repr__(self) -> str:
        return f"<Audit of {self.structure}: gap {float(self.certificate.gap):.3e}>"

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        brackets = {
            name: [float(low), float(high)]
            for name, (low, high) in self.certificate.brackets.items()
        }
        return {
            "structure": str(self.structure),
            "understood": list(self.understood),
            "loss": float(self.certificate.value),
            "lower": float(self.certificate.lower),
            "gap": float(self.certificate.gap),
            "convexity": self.certificate.convexity,
            "optimal": self.optimal,
            "gap_tolerance": self.tolerance,
            "phase": Phase(int(self.certificate.phase)).name.lower(),
            "optimal_phase": Phase(int(self.optimum.phase)).name.lower(),
            "brackets": brackets,
            "found": _named(self.certificate.variances),
            "predicted": None if self.prediction is None else _named(self.prediction),
            "diagnosis": None if self.diagnosis is None else self.diagnosis.to_json(),
        }


def _named(variances: Variances) -> dict[str, float]:
    """Variances by the names of a table's columns."""
    return {
        "delta2": float(variances.delta2),
        "view_variance": float(variances.view),
        "between_variance": float(variances.between),
        "mean_squared": float(variances.mean_squared),
    }


def audit(
    embeddings: Float[AnyArray, "*rows d"] | Rows | Sequence[Rows],
    labels: Any,
    loss: GramLoss,
    *,
    num_views: int = 1,
    view_order: str | None = None,
    instance_ids: Any = None,
    unlabeled: str | None = None,
    key: Seed | None = None,
    tolerance: float = GAP_TOLERANCE,
) -> Audit:
    """Certify labelled embeddings against the global optimum over all dimensions.

    Everything is checked before anything is computed. What the embeddings are held against is the
    cheapest optimum that can be certified (see :class:`Audit`).

    Args:
        embeddings: (N, d), or (B, p, d) with p views of each of B instances; rows are normalised.
        labels: of any kind, one for each row or each instance.
        loss: a convex loss with its hyper-parameters, shipped or made by
            :func:`ssem_jax.gram_loss`.
        num_views: p, of (N, d) embeddings.
        view_order: of (N, d) embeddings with one label for each instance: the views of an
            "instance" are adjacent rows, or all instances of a "view" are, as
            ``torch.cat(torch.unbind(features, dim=1))`` has them. Rows that all have their label
            are taken by instance.
        instance_ids: (N,) ids instead, equal for the views of an instance; rows in any order.
        unlabeled: "drop" rows whose label is -1 or missing, or "keep" them as a class.
        key: of random starts, where they are needed: of the reference solution, and of bounds for
            more embeddings than a dual matrix is formed of. Seed 0 if not given.
        tolerance: the gap up to which embeddings count as optimal, larger for trained encoders.

    Raises:
        ValueError: labels and embeddings that do not fit, or rows that are zero or not finite; a
            loss that the structure does not admit, that is not convex, or whose hyper-parameters
            carry a batch axis; and what :func:`ssem_jax.certify` raises.
    """
    require_x64()
    check_loss(loss)
    views = {"num_views": num_views, "view_order": view_order, "instance_ids": instance_ids}
    batch = read_batch(embeddings, labels, **views, unlabeled=unlabeled)
    return audit_batch(batch, loss, as_key(0 if key is None else key), tolerance)


def audit_batch(
    batch: Batch, loss: GramLoss, key: PRNGKeyArray, tolerance: float = GAP_TOLERANCE
) -> Audit:
    """The audit of embeddings that were read already; see :func:`audit`."""
    structure = batch.structure
    check_positive("tolerance", tolerance, " It is a gap in nats, as 1e-3 of a trained encoder.")
    _check_loss(loss, structure)
    count = structure.num_embeddings
    formed = DUAL_MATRICES * count**2 if count <= CHOLESKY_LIMIT else 0
    remedy = "audit a sample of the instances"
    check_memory(f"an audit of {count} embeddings", formed + batch.points.size, remedy)
    from ssem_jax.sweeps.grid import admitting_dimension  # with it come tables, and polars

    problem = Problem(structure, admitting_dimension(structure, loss), loss)
    optimum, prediction = _optimum(problem, key)
    chance = jax.random.fold_in(certificate_key(key), 1)  # the reference has the other one
    certificate = certify_embeddings(batch.points, structure, loss, optimum, chance)
    found = Finding(
        structure,
        loss,
        batch.points.shape[1],
        float(optimum.value),
        landmarks(loss, structure),
        certificate.variances,
        prediction or optimum.variances,
        Phase(int(optimum.phase)),
    )
    scaled = rescaled(batch.points)  # no length over- or underflows
    unit = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    diagnosis = diagnose(unit, found, float(certificate.gap) <= tolerance)
    return Audit(
        structure, certificate, optimum, prediction, batch.words, diagnosis, float(tolerance)
    )


def expectation(batch: Batch) -> str:
    """How much work an audit is, where it is worth a word: its pairs, and the least time."""
    count = len(batch.points)
    if count <= OWN_LIMIT:
        return ""
    with np.errstate(all="ignore"):
        seconds = expected_seconds(batch.points / np.abs(batch.points).max())
    return f"{count * (count - 1) // 2:,} pairs: {max(seconds, 1):.0f} s or more"


def _check_loss(loss: GramLoss, structure: ClassStructure) -> None:
    """Raise a ValueError unless a certificate of one cell can be made."""
    if not isinstance(loss, GramLoss):
        raise ValueError(
            f"the loss must be one of the Gram matrix, as SupCL(alpha, temperature); got {loss!r}."
        )
    loss.check_structure(structure)
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(loss)]
    if any(shapes):
        raise ValueError(
            f"embeddings are audited for one cell; the hyper-parameters of {type(loss).__name__} "
            f"have shapes {shapes}. Choose one value of each."
        )
    if not loss.convex:
        raise ValueError(
            f"{type(loss).__name__} is not convex in the Gram matrix, so nothing bounds it from "
            "below and no gap can be told."
        )
    known = _has_optimum(loss, structure) or _closed_form(loss, structure) is not None
    check_size(loss, structure, known)
    check_declared(loss, structure)


def _optimum(problem: Problem, key: PRNGKeyArray) -> tuple[Certificate, Variances | None]:
    """A certified minimum, by the cheapest way there is; and its variances in closed form."""
    loss, structure = loss_of(problem), problem.structure
    known = _closed_form(loss, structure)
    if known is not None:
        similarities, prediction = known
        return certify_blocks(problem, similarities), prediction
    # Of other losses and few embeddings this costs as much as free minimisation, or more.
    if _has_optimum(loss, structure):
        found = certify_classes(solve_reduced(problem))
        if found.certified:
            return found, None
    large = structure.num_embeddings > DENSE_LIMIT and len(set(structure.sizes)) <= ORBITS_LIMIT
    if large and says_terms(loss):
        return certify_program(dataclasses.replace(problem, dim=None)), None
    return certify(solve(problem, key), certificate_key(key)), None


def _has_optimum(loss: GramLoss, structure: ClassStructure) -> bool:
    few = structure.num_classes <= CLASS_LIMIT
    return isinstance(loss, ClassContrast) and few and has_optimum(loss, structure)


def _closed_form(
    loss: GramLoss, structure: ClassStructure
) -> tuple[Similarities, Variances] | None:
    """The optimum of balanced classes where theory has it. Subclasses are losses of their own."""
    if not structure.is_balanced:
        return None
    if type(loss) is Spectral:
        found = theory.spectral_optimum(*structure.counts, loss.alpha, loss.scale).variances
    elif type(loss) in (SupCL, SupCon):
        found = theory.variances(structure, loss)
    else:
        return None
    return similarities_of(found, *structure.counts), found
