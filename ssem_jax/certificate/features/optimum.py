"""The optimum over all features and weights, certified; what of it is proven, and what it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ssem_jax.certificate.certificate import COLLAPSE_TOLERANCE
from ssem_jax.certificate.features.bounds import Dual, attained, best_bound, upper_value
from ssem_jax.certificate.features.brackets import FeatureBrackets, enclose
from ssem_jax.certificate.features.outputs import SLIGHTLY
from ssem_jax.certificate.features.program import FeatureProgram, Kinds, kinds_of
from ssem_jax.losses.features import CrossEntropy, LastLayer, check_last_layer, checked_sizes

KIND_LIMIT = 24
"""Different class sizes at most: the program has some 2D² variables and a Newton step costs D⁶. Of
one core 16 sizes take 3 s, 24 take 20 s, and 40 would take minutes."""
MERGED, APART, UNDECIDED = "merged", "apart", "undecided"


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Of weights or of features of the kinds of classes.

    Attributes:
        norms: (D,) of one class.
        cosines: (D, D) between two classes of these kinds; on the diagonal between two classes of a
            kind, 1 where it has but one.
    """

    norms: Float[np.ndarray, " D"]
    cosines: Float[np.ndarray, "D D"]


@dataclasses.dataclass(frozen=True)
class FeatureOptimum:
    """The optimum of free features and classifier weights.

    Attributes:
        loss: with its norms.
        kinds: sizes of classes, the largest first, and how many classes have each.
        value: the loss, attained by some weights and features, rounded upwards.
        lower: no weights and features of any dimension have a lower loss.
        weights, features: norms and cosines of the solution.
        alignment: (D,) cosines of a class's weight and its features.
        brackets: norms, cosines and alignment of every near-optimal point.
        biases: (D,) of a class of every kind; where a shift of all changes nothing, of mean 0.
        outputs: (D, D+1) of the dual, of a sample for its own class and for one of every kind:
            probabilities of cross-entropy, logits of squared error.
        uncertainty: (D,) by how much the mean outputs of a class may differ from these, any two of
            them added up, at every near-optimal point.
        spread: (D,) the most by which the weights of a kind of classes differ from their mean, at
            every near-optimal point: squared, added up, in units of what the norms cost or may be.
    """

    loss: LastLayer
    kinds: Kinds
    value: float
    lower: float
    weights: Geometry
    features: Geometry
    alignment: Float[np.ndarray, " D"]
    brackets: FeatureBrackets
    biases: Float[np.ndarray, " D"]
    outputs: Float[np.ndarray, "D D+1"]
    uncertainty: Float[np.ndarray, " D"]
    spread: Float[np.ndarray, " D"]

    @property
    def gap(self) -> float:
        """value - lower."""
        return self.value - self.lower

    @property
    def margins(self) -> Float[np.ndarray, "D D"]:
        """(D, D) the output of a sample for its own class less that for another one."""
        return self.outputs[:, :1] - self.outputs[:, 1:]

    @property
    def margin_brackets(self) -> tuple[np.ndarray, np.ndarray]:
        """Their lower and upper ends, of every near-optimal point; on the diagonal between classes
        of one size, nan where there is but one."""
        found, wide = self.margins, self.uncertainty[:, None]
        alone = np.diag(np.where(self.kinds.counts > 1, 0.0, np.nan))
        most = 1.0 if isinstance(self.loss, CrossEntropy) else np.inf  # of probabilities
        return np.maximum(found - wide, -most) + alone, np.minimum(found + wide, most) + alone

    @property
    def unknown(self) -> tuple[float, float]:
        """The widest brackets of norms, in units of the largest, and of cosines where none is 0."""
        norms = cosines = 0.0
        for ends in (self.brackets.weights, self.brackets.features):
            (low, high), (least, most) = ends.norms, ends.cosines
            norms = max(norms, float(np.max(high - low) / np.max(high)))
            there = np.outer(low > 0, low > 0)
            cosines = max(cosines, float(np.max(np.where(there, most - least, 0))))
        return norms, cosines

    @property
    def merging(self) -> tuple[str, ...]:
        """(D,) whether the classes of a kind have one weight: "merged", "apart", or "undecided";
        a kind of one class is apart."""
        least = np.nan_to_num(np.diag(self.margin_brackets[0]), nan=1.0)
        return tuple(
            MERGED if spread <= COLLAPSE_TOLERANCE else APART if low > 0 else UNDECIDED
            for spread, low in zip(self.spread, least, strict=True)
        )

    @property
    def simplex_distance(self) -> float:
        """The most by which a cosine of two weights differs from that of the regular simplex."""
        vertex = -1 / (self.kinds.num_classes - 1)
        two = ~np.diag(self.kinds.counts == 1)
        return float(np.max(np.abs(self.weights.cosines - vertex)[two]))

    def merged(self, sizes: Sequence[int]) -> list[list[int]]:
        """Indices of classes that have one weight, of classes of these sizes."""
        given = np.asarray(sizes, float)
        return [
            np.flatnonzero(given == size).tolist()
            for size, found, count in zip(
                self.kinds.sizes, self.merging, self.kinds.counts, strict=True
            )
            if found == MERGED and count > 1
        ]


def solve_features(loss: LastLayer, sizes: Sequence[int]) -> FeatureOptimum:
    """The least loss of free features and weights in all dimensions, certified.

    Args:
        loss: with its norms, bias and smoothing.
        sizes: samples of every class. Classes of equal size are treated as one kind, so that the
            cost depends on the number of different sizes alone.

    Returns:
        Value, lower bound and geometry.

    Raises:
        ValueError: no such loss, no sizes, or more than `KIND_LIMIT` different ones.
    """
    check_last_layer(loss)
    kinds = kinds_of(checked_sizes(sizes))
    if len(kinds.sizes) > KIND_LIMIT:
        raise ValueError(
            f"at most {KIND_LIMIT} different class sizes are solved for; got "
            f"{len(kinds.sizes)}. Round the sizes, so that more classes share one."
        )
    return solve_kinds(loss, kinds)


def solve_kinds(loss: LastLayer, kinds: Kinds) -> FeatureOptimum:
    """The same of kinds of classes, whose sizes may be real numbers: shares alone matter to budgets
    and balls."""
    program = FeatureProgram(loss, kinds)
    x = attained(program, program.minimised())
    outputs = program.outputs_at(x)
    dual = best_bound(program, x, outputs)
    value = upper_value(program, x)
    gap = max(value - dual.lower, 0.0)
    off = SLIGHTLY * np.sum(program.copies * dual.rows.errors, axis=1)
    biases = program.biases(x)
    if loss.bias is True and program.outputs.positive:
        biases = biases - kinds.counts @ biases / kinds.num_classes
    weights, features, alignment = _geometry(program, x)
    return FeatureOptimum(
        loss,
        kinds,
        value,
        dual.lower,
        weights,
        features,
        alignment,
        enclose(program, dual, value),
        biases,
        dual.rows.values,
        program.outputs.reach(gap * kinds.num_samples / kinds.sizes) + off,
        _spread(program, dual, gap),
    )


def _spread(program: FeatureProgram, dual: Dual, gap: float) -> Float[np.ndarray, " D"]:
    """2 gap/(κ ρ ν), and ρ is 1 where the norms have a price."""
    room = (dual.rho - dual.pairing.apart) * dual.weights * program.scale.whole
    found = 2 * gap / np.where(room > 0, room, 1)
    return np.where((room > 0) & (program.kinds.counts > 1), found, np.inf)


def _geometry(program: FeatureProgram, x: np.ndarray) -> tuple[Geometry, Geometry, np.ndarray]:
    """Norms and cosines."""
    counts, units = program.kinds.counts, (program.scale.weights, program.scale.features)
    own, others = program.products(x)
    found, squares = [], []
    for k, unit in enumerate(units):
        norms = np.sqrt(np.maximum(own[k], 0))
        squares.append(np.where(norms > 0, norms, 1))
        cosines = others[k] / np.outer(squares[k], squares[k])
        cosines[np.diag_indices(len(counts))] = np.where(counts > 1, np.diag(cosines), 1.0)
        found.append(Geometry(norms * unit, np.clip(cosines, -1, 1)))
    return *found, np.clip(own[2] / (squares[0] * squares[1]), -1, 1)
