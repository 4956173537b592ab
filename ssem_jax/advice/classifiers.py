"""Neural collapse of a last layer: what its optimum is like, how far a trained one is from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ssem_jax import theory
from ssem_jax.certificate.features import FeatureOptimum, solve_features
from ssem_jax.certificate.features.optimum import MERGED, UNDECIDED
from ssem_jax.losses.features import (
    Balls,
    Budget,
    CrossEntropy,
    LastLayer,
    Ridge,
    Unit,
    check_last_layer,
    checked_sizes,
)
from ssem_jax.problem.display import Told
from ssem_jax.problem.validation import as_array, shown

ROUNDING = 1e-9
"""Part by which norms may exceed their limits: they were summed in floats, of whatever precision
training had."""


class Collapse(NamedTuple):
    """What is measured of neural collapse.

    Attributes:
        within: tr(Σ_W Σ_B⁺)/K of the features, 0 where those of each class coincide (NC1).
        weight_norms, feature_norms: spread of the norms of weights and of class means, standard
            deviation over mean, 0 where all are equal (NC2).
        simplex_distance: the most by which a cosine of two weights differs from -1/(K-1) (NC2).
        alignment: the least cosine of the weight and the mean feature of a class (NC3).

    References:
        Papyan, Han and Donoho (PNAS 2020).
    """

    within: float
    weight_norms: float
    feature_norms: float
    simplex_distance: float
    alignment: float


def measure_collapse(
    weights: Float[np.ndarray, "K d"], features: Float[np.ndarray, "N d"], labels: np.ndarray
) -> Collapse:
    """Neural collapse of weights and features, as they are; nothing is centred but the spreads."""
    count = len(weights)
    means = np.stack([features[labels == k].mean(axis=0) for k in range(count)])
    apart = features - means[labels]
    between = means - means.mean(axis=0)
    pseudo = np.linalg.pinv(between.T @ between / count, rcond=1e-10, hermitian=True)
    within = float(np.sum((apart.T @ apart / len(features)) * pseudo)) / count
    first, second = (np.linalg.norm(rows, axis=1) for rows in (weights, means))
    one, other = (
        rows / np.where(norms > 0, norms, 1)[:, None]
        for rows, norms in ((weights, first), (means, second))
    )
    cosines = (one @ one.T)[~np.eye(count, dtype=bool)]
    return Collapse(
        within,
        float(np.std(first) / np.mean(first)),
        float(np.std(second) / np.mean(second)),
        float(np.max(np.abs(cosines + 1 / (count - 1)))),
        float(np.min(np.sum(one * other, axis=1))),
    )


def collapse_of(optimum: FeatureOptimum) -> Collapse:
    """The same of the optimum, where the features of every class coincide."""
    counts = optimum.kinds.counts

    def spread(norms: np.ndarray) -> float:
        mean = float(counts @ norms / counts.sum())
        return float(np.sqrt(counts @ (norms - mean) ** 2 / counts.sum())) / max(mean, 1e-300)

    return Collapse(
        0.0,
        spread(optimum.weights.norms),
        spread(optimum.features.norms),
        optimum.simplex_distance,
        float(optimum.alignment.min()),
    )


def name_of(loss: LastLayer) -> str:
    """In words."""
    return "cross-entropy" if isinstance(loss, CrossEntropy) else "squared error"


def describe(optimum: FeatureOptimum) -> Iterator[str]:
    """What an optimum is like and what to change, in words."""
    loss, kinds = optimum.loss, optimum.kinds
    norms = loss.norms
    limit = None
    if isinstance(norms, Ridge):
        limit = theory.merged_size(round(kinds.num_samples), norms.weights, norms.features)
    least = optimum.brackets.weights.norms[0]
    states = zip(kinds.sizes, kinds.counts, optimum.merging, least, strict=True)
    for size, count, state, low in states:
        which = f"the {count:g} classes of {size:g} samples"
        if state == MERGED:
            weight = "have one weight" if low > 0 else "have no weight"
            yield f"{which} {weight}: no sample of one is told from another (merged)."
            if limit is None:
                yield "They part where the norms may be larger or sizes differ less."
            else:
                product = size / kinds.num_samples**2
                yield (
                    f"Classes of n samples part iff n > N²·λ_W·λ_H = {limit:.6g}: these do where "
                    f"λ_W·λ_H < {product:.6g}."
                )
        elif state == UNDECIDED:
            yield f"whether {which} have one weight is undecided: they are about to merge."
    if MERGED not in optimum.merging and UNDECIDED not in optimum.merging:
        yield "no classes merge: each has a weight of its own."
    distance = optimum.simplex_distance
    if distance < 1e-6:
        yield "the weights form a regular simplex."
    else:
        yield f"cosines of weights differ by up to {distance:.3g} from those of a simplex."


@dataclasses.dataclass(frozen=True, repr=False)
class ClassifierAudit(Told):
    """A trained last layer beside the best that there is.

    Attributes:
        loss: with the norms that it is held against.
        value: the loss of what was trained.
        optimum: the best of all weights and free features, certified.
        found: its neural collapse.
        best: that of the optimum.
    """

    loss: LastLayer
    value: float
    optimum: FeatureOptimum
    found: Collapse
    best: Collapse

    @property
    def gap(self) -> float:
        """How much lower the loss of free features and weights may be at most."""
        return self.value - self.optimum.lower

    def lines(self) -> Iterator[str]:
        """The answer for a reader."""
        yield (
            f"{name_of(self.loss)} {self.value:.9g}; the best of free features and weights is "
            f"{self.optimum.value:.9g} (gap {self.gap:.3e}, certified)"
        )
        for name, value, best in zip(Collapse._fields, self.found, self.best, strict=True):
            yield f"{name} {value:.6g}, at the optimum {best:.6g}"
        yield from describe(self.optimum)

    def __repr__(self) -> str:
        return f"<ClassifierAudit of {len(self.optimum.kinds.sizes)} sizes: gap {self.gap:.3e}>"

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return {
            "value": self.value,
            "optimum": self.optimum.value,
            "lower": self.optimum.lower,
            "gap": self.gap,
            "found": self.found._asdict(),
            "best": self.best._asdict(),
        }


def audit_classifier(
    weights: Any,
    features: Any,
    labels: Any,
    loss: LastLayer | None = None,
    bias: Any = None,
    optimum: FeatureOptimum | None = None,
) -> ClassifierAudit:
    """How far a trained last layer is from the best of all weights and features.

    Args:
        weights: (K, d) of its classes.
        features: (N, d) that it is fed with.
        labels: (N,) class of every sample, 0 to K-1; each has one at least.
        loss: what was trained, with its norms. Without one, cross-entropy within the norms at hand:
            budgets of as much as these weights and features have, and a free bias if there is one.
        bias: (K,) of its classes, if any.
        optimum: of `solve_features`, to hold it against, whose loss then takes the place of `loss`.

    Returns:
        Gap, and neural collapse beside that of the optimum.

    Raises:
        ValueError: shapes or labels that do not fit, a bias that the loss has not, norms above the
            limits of the loss, or an optimum of other sizes.
    """
    weights = np.asarray(as_array(weights, "weights"), float)
    features = np.asarray(as_array(features, "features"), float)
    if weights.ndim != 2 or features.ndim != 2 or weights.shape[1] != features.shape[1]:
        raise ValueError(
            "weights must be (K, d) and features (N, d); got shapes "
            f"{weights.shape} and {features.shape}."
        )
    labels = _checked_labels(labels, len(features), len(weights))
    sizes = checked_sizes(np.bincount(labels, minlength=len(weights)).tolist())
    intercept = None if bias is None else np.asarray(as_array(bias, "bias"), float)
    if intercept is not None and intercept.shape != (len(weights),):
        raise ValueError(f"bias must be ({len(weights)},), one a class; got {intercept.shape}.")
    if optimum is not None:
        loss = optimum.loss
        _check_sizes(optimum, sizes)
    if loss is None:
        energies = _energies(weights, features, labels, sizes)
        loss = CrossEntropy(Budget(*energies), bias=intercept is not None)
    check_last_layer(loss)
    if intercept is not None and loss.bias is False:
        raise ValueError(
            f"a bias was given and the loss has none; use {type(loss).__name__}(..., bias=True)."
        )
    _check_norms(loss, weights, features, labels, sizes)
    optimum = optimum or solve_features(loss, sizes)
    return ClassifierAudit(
        loss,
        float(loss.value(weights, features, labels, intercept)),
        optimum,
        measure_collapse(weights, features, labels),
        collapse_of(optimum),
    )


def _check_sizes(optimum: FeatureOptimum, sizes: Sequence[int]) -> None:
    """Raise a ValueError unless the optimum is of such classes."""
    kinds = optimum.kinds
    known = np.repeat(kinds.sizes, kinds.counts.astype(int))
    if not np.array_equal(known, np.sort(sizes)[::-1]):
        raise ValueError(
            f"the optimum is of classes of {shown(known.astype(int).tolist())} samples; got labels "
            f"of {shown(sorted(sizes, reverse=True))}. Solve for the sizes of the whole training "
            "set, and give all of it."
        )


def _checked_labels(labels: Any, number: int, count: int) -> np.ndarray:
    found = np.asarray(as_array(labels, "labels"))
    whole = found.shape == (number,) and np.all(found == np.floor(found))
    if not whole or found.min(initial=0) < 0 or found.max(initial=0) >= count:
        raise ValueError(
            f"labels must be {number} classes from 0 to {count - 1}, one a sample; got "
            f"{shown(labels)}."
        )
    return found.astype(int)


def _energies(
    weights: np.ndarray, features: np.ndarray, labels: np.ndarray, sizes: Sequence[int]
) -> tuple[float, float]:
    """E_W and E_H: mean squared norms of weights, and of features by class."""
    squares = np.sum(features**2, axis=1) / np.asarray(sizes, float)[labels]
    return float(np.sum(weights**2)) / len(weights), float(squares.sum()) / len(weights)


def _check_norms(
    loss: LastLayer,
    weights: np.ndarray,
    features: np.ndarray,
    labels: np.ndarray,
    sizes: Sequence[int],
) -> None:
    """Raise a ValueError where norms exceed what the loss admits."""
    norms = loss.norms
    if isinstance(norms, Budget):
        found, most = _energies(weights, features, labels, sizes), (norms.weights, norms.features)
    elif isinstance(norms, (Balls, Unit)):
        found = tuple(float(np.linalg.norm(rows, axis=1).max()) for rows in (weights, features))
        most = (norms.weights, norms.features) if isinstance(norms, Balls) else (1.0, 1.0)
    else:
        return
    for name, value, limit in zip(("weights", "features"), found, most, strict=True):
        if value > limit * (1 + ROUNDING):
            raise ValueError(
                f"the {name} have {value:.6g} where {type(norms).__name__} admits {limit:.6g}; "
                "scale them, or audit them without a loss, within the norms that they have."
            )
