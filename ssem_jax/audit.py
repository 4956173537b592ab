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
from ssem_jax.certificate import GAP_TOLERANCE, Certificate, certify, certify_embeddings
from ssem_jax.losses import SupCL
from ssem_jax.problem import ClassStructure, Phase, Problem, full_dimension
from ssem_jax.solve import solve


@dataclasses.dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        structure: classes, instances and views of the embeddings.
        certificate: of the embeddings, with the best lower bound at hand.
        optimum: certificate of a minimum found for the same problem.
        prediction: closed-form variances at the optimum; None for classes of different size.
    """

    structure: ClassStructure
    certificate: Certificate
    optimum: Certificate
    prediction: theory.Variances | None

    @property
    def optimal(self) -> bool:
        """Whether the embeddings are certified as globally optimal."""
        return bool(self.certificate.certified)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        found = np.asarray(self.certificate.variances)
        prediction = self.prediction
        brackets = {
            name: [float(low), float(high)]
            for name, (low, high) in self.certificate.brackets.items()
        }
        return {
            "structure": str(self.structure),
            "loss": float(self.certificate.value),
            "lower": float(self.certificate.lower),
            "gap": float(self.certificate.gap),
            "optimal": self.optimal,
            "gap_tolerance": GAP_TOLERANCE,
            "phase": Phase(int(self.certificate.phase)).name.lower(),
            "optimal_phase": Phase(int(self.optimum.phase)).name.lower(),
            "brackets": brackets,
            "found": {
                "delta2": float(found[1]),
                "view_variance": float(found[0]),
                "between_variance": float(found[2]),
                "mean_squared": float(found[3]),
            },
            "predicted": None
            if prediction is None
            else {
                "delta2": float(prediction.within - prediction.view),
                "view_variance": float(prediction.view),
                "between_variance": float(prediction.between),
                "mean_squared": float(1 - prediction.total),
            },
        }


def audit(
    embeddings: Float[np.ndarray, "N d"],
    labels: Any,
    loss: SupCL,
    *,
    num_views: int = 1,
    key: PRNGKeyArray | None = None,
) -> Audit:
    """Certify labelled embeddings against the global optimum over all dimensions.

    Args:
        embeddings: (N, d); rows are normalised. The views of an instance are adjacent rows.
        labels: N labels of any kind.
        loss: the loss and its hyper-parameters.
        num_views: p.
        key: of the random start of the reference solution; seed 0 if not given.

    Raises:
        ValueError: labels and embeddings that do not fit, or embeddings that are no unit vectors
            up to scale; and what :func:`ssem_jax.solve` and :func:`ssem_jax.certify` raise.
    """
    points = np.asarray(embeddings)
    structure, order = ClassStructure.from_labels(labels, num_views)
    if points.ndim != 2 or len(points) != len(order):
        raise ValueError(
            f"there must be one label for each embedding; got {len(order)} labels and embeddings "
            f"of shape {points.shape}."
        )
    problem = Problem(structure, full_dimension(structure, loss.self_pairs), loss)
    optimum = certify(solve(problem, jax.random.key(0) if key is None else key))
    certificate = certify_embeddings(points[order], structure, loss, optimum)
    prediction = None
    if structure.is_balanced:
        counts = (structure.num_classes, structure.instances_per_class, structure.num_views)
        hyper = (float(loss.alpha), float(loss.temperature))
        prediction = theory.variances(*counts, *hyper, self_pairs=loss.self_pairs)
    return Audit(structure, certificate, optimum, prediction)


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
