"""Judge embeddings that somebody else found: their true gap, phase and variances."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from ssem_jax import theory
from ssem_jax.certificate.certificate import GAP_TOLERANCE, Certificate
from ssem_jax.certificate.certificates import (
    certificate_key,
    certify,
    certify_blocks,
    certify_classes,
    certify_embeddings,
    check_size,
)
from ssem_jax.certificate.class_blocks import CLASS_LIMIT, reducible
from ssem_jax.certificate.class_program import solve_reduced
from ssem_jax.geometry.shares import Variances, similarities_of
from ssem_jax.geometry.similarities import Similarities
from ssem_jax.losses.base import GramLoss, loss_of
from ssem_jax.losses.contrast import ClassContrast
from ssem_jax.losses.declared import check_declared
from ssem_jax.losses.pairwise import Spectral
from ssem_jax.losses.supcl import SupCL, SupCon
from ssem_jax.problem.arrays import AnyArray
from ssem_jax.problem.problem import Phase, Problem, check_loss
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import as_array, as_key, check_rows, require_x64
from ssem_jax.solver.attempts import solve
from ssem_jax.sweeps.grid import admitting_dimension


@dataclasses.dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        structure: classes, instances and views of the embeddings.
        certificate: of the embeddings, with the best lower bound at hand.
        optimum: certificate of a minimum of the same loss: of its closed form where one is known,
            of the program of its classes, or of embeddings found from a random start.
        prediction: variances at the optimum where a closed form is known; else None.
    """

    structure: ClassStructure
    certificate: Certificate
    optimum: Certificate
    prediction: Variances | None

    @property
    def optimal(self) -> bool:
        """Whether the embeddings are certified as globally optimal."""
        return bool(self.certificate.certified)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        brackets = {
            name: [float(low), float(high)]
            for name, (low, high) in self.certificate.brackets.items()
        }
        return {
            "structure": str(self.structure),
            "loss": float(self.certificate.value),
            "lower": float(self.certificate.lower),
            "gap": float(self.certificate.gap),
            "convexity": self.certificate.convexity,
            "optimal": self.optimal,
            "gap_tolerance": GAP_TOLERANCE,
            "phase": Phase(int(self.certificate.phase)).name.lower(),
            "optimal_phase": Phase(int(self.optimum.phase)).name.lower(),
            "brackets": brackets,
            "found": _named(self.certificate.variances),
            "predicted": None if self.prediction is None else _named(self.prediction),
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
    embeddings: Float[AnyArray, "N d"],
    labels: Any,
    loss: GramLoss,
    *,
    num_views: int = 1,
    key: PRNGKeyArray | None = None,
) -> Audit:
    """Certify labelled embeddings against the global optimum over all dimensions.

    Everything is checked before anything is computed. What the embeddings are held against is the
    cheapest optimum that can be certified (see :class:`Audit`).

    Args:
        embeddings: (N, d); rows are normalised. The views of an instance are adjacent rows.
        labels: N labels of any kind.
        loss: a convex loss with its hyper-parameters, shipped or made by
            :func:`ssem_jax.gram_loss`.
        num_views: p.
        key: of random starts, where they are needed: of the reference solution, and of bounds for
            more embeddings than a dual matrix is formed of. Seed 0 if not given.

    Raises:
        ValueError: labels and embeddings that do not fit, or rows that are zero or not finite; a
            loss that the structure does not admit, that is not convex, or whose hyper-parameters
            carry a batch axis; and what :func:`ssem_jax.certify` raises.
    """
    require_x64()
    check_loss(loss)
    points = _points(as_array(embeddings, "embeddings"))
    structure, order = ClassStructure.from_labels(labels, num_views)
    if len(points) != len(order):
        raise ValueError(
            f"there must be one label for each embedding; got {len(order)} labels and embeddings "
            f"of shape {points.shape}."
        )
    _check_loss(loss, structure)
    key = as_key(0 if key is None else key)
    problem = Problem(structure, admitting_dimension(structure, loss), loss)
    optimum, prediction = _optimum(problem, key)
    chance = jax.random.fold_in(certificate_key(key), 1)  # the reference has the other one
    certificate = certify_embeddings(points[order], structure, loss, optimum, chance)
    return Audit(structure, certificate, optimum, prediction)


def _points(embeddings: Float[np.ndarray, "N d"]) -> Float[np.ndarray, "N d"]:
    """The embeddings in float64, whose rows may be normalised."""
    given = np.asarray(embeddings)
    if given.ndim != 2 or not given.size or not np.can_cast(given.dtype, np.float64, "same_kind"):
        raise ValueError(
            "embeddings must be an array of numbers with one row for each label, (N, d); got shape "
            f"{given.shape} of {given.dtype}."
        )
    points = given.astype(np.float64)
    check_rows(points)
    return points


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
    check_size(loss, structure)
    check_declared(loss, structure)


def _optimum(problem: Problem, key: PRNGKeyArray) -> tuple[Certificate, Variances | None]:
    """A certified minimum, by the cheapest way there is; and its variances in closed form."""
    loss, structure = loss_of(problem), problem.structure
    known = _closed_form(loss, structure)
    if known is not None:
        similarities, prediction = known
        return certify_blocks(problem, similarities), prediction
    # Of other losses the program of the classes costs as much as free minimisation, or more.
    if isinstance(loss, ClassContrast) and reducible(loss, structure, CLASS_LIMIT):
        found = certify_classes(solve_reduced(problem))
        if found.certified:
            return found, None
    return certify(solve(problem, key), certificate_key(key)), None


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


def read_embeddings(path: str | os.PathLike[str]) -> np.ndarray:
    """Embeddings from a .npy file.

    Raises:
        ValueError: no such file, or not an array of numbers.
    """
    array = _read_npy(Path(path), "embeddings")
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise ValueError(
            f"{path} must hold a two-dimensional array of numbers; "
            f"got shape {array.shape} of {array.dtype}."
        )
    return array


def read_labels(path: str | os.PathLike[str]) -> np.ndarray:
    """Labels from a .npy file, or from a text file with one label a line.

    Raises:
        ValueError: no such file, or no labels in it.
    """
    file = Path(path)
    if file.suffix == ".npy":
        return _read_npy(file, "labels").ravel()
    try:
        lines = file.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the labels in {file}: {error}.") from error
    if not lines:
        raise ValueError(f"{file} holds no labels; write one a line.")
    return np.array(lines)


def _read_npy(file: Path, what: str) -> np.ndarray:
    try:
        return np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"cannot read the {what} in {file}: {reason}.") from error
