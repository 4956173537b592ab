r"""Enclosures of the global minimum from embeddings at hand.

**The dual bound.** :math:`L(G) = \sum_i \omega_i \log \sum_j e^{G_{ij}/\tau} - \langle W, G\rangle
/ \tau` is convex, so with g = sym ∇L(G₀), any λ and S = g + Diag(λ), S + εI ⪰ 0 implies

.. math:: L(G) \ge L(G_0) - \langle g, G_0 \rangle - \sum_i \lambda_i - N \varepsilon

for every G ⪰ 0 of unit diagonal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from flint import arb, arb_mat, fmpq
from jaxtyping import Array, Float

from ssem_jax.balls.arithmetic import (
    EMBEDDING_PRECISION,
    float_above,
    float_below,
    hyper_parameters,
    working_precision,
)
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.arrays import AnyArray
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import check_choice

_LADDER_FLOOR = -100
"""The lowest rung 2^k of the ladder of ε, well above the radii at 128 bits."""
_LADDER_SPAN = 64
"""Rungs above the expected ε after which the radii are to blame."""


@dataclass(frozen=True)
class Enclosure:
    """A proven interval for the minimum of the loss over all unit embeddings in all dimensions.

    Attributes:
        lower: a float that no embedding gets below.
        upper: a float that some embeddings do not exceed.
        width: of the interval before its ends were rounded to floats, rounded up.
        shift: the ε ≥ 0 for which the dual matrix plus εI was proven positive semidefinite.
        precision: bits that were worked with.
        ball: the interval in full precision.
    """

    lower: float
    upper: float
    width: float
    shift: float
    precision: int
    ball: arb = field(repr=False, compare=False)


def enclosure_of(lower: arb, upper: arb, shift: arb, precision: int) -> Enclosure:
    return Enclosure(
        lower=float_below(lower),
        upper=float_above(upper),
        width=float_above(upper.upper() - lower.lower()),
        shift=float_above(shift),
        precision=precision,
        ball=lower.union(upper),
    )


def is_positive_definite(matrix: arb_mat) -> bool:
    r"""Whether interval LDLᵀ proves that every symmetric matrix in the ball is positive definite.

    Only the lower triangle is read. True is a proof: all pivots of
    :math:`A = L \operatorname{Diag}(d) L^\top` are positive. False proves nothing; the matrix may
    be indefinite, or the balls too wide.
    """
    rows = [row[: index + 1] for index, row in enumerate(matrix.tolist())]
    while rows:
        # Eliminate the last variable: what stays is the leading triangle.
        last = rows.pop()
        pivot = last.pop()
        if not pivot > 0:
            return False
        inverse = 1 / pivot
        for row, head in zip(rows, last, strict=True):
            factor = head * inverse
            for column, other in enumerate(last[: len(row)]):
                row[column] -= factor * other
    return True


class Softmax(NamedTuple):
    """The loss at a Gram matrix of unit diagonal, and what its derivatives are made of.

    Attributes:
        value: the loss.
        near: e^{(G_ij - 1)/τ} for j < i, a row an anchor.
        pulls: weights W_ij + W_ji of positive pairs, likewise.
        own: weights of an anchor's pairs with itself, where self pairs are included.
        totals: denominators of the softmax, times e^{-1/τ}.
        share: anchor weights over denominators.
        inverse: 1/τ.
    """

    value: arb
    near: list[list[arb]]
    pulls: list[list[arb]]
    own: list[arb]
    totals: list[arb]
    share: list[arb]
    inverse: arb


class _Dual(NamedTuple):
    """Loss, dual matrix and what its multipliers leave over: Σλ + ⟨g, G₀⟩."""

    value: arb
    matrix: arb_mat
    slack: arb


def _positive_weights(structure: ClassStructure, loss: SupCL) -> tuple[list[fmpq], list[fmpq]]:
    """The exact weight of each positive pair of every embedding: of the class, of the instance."""
    views = structure.num_views
    in_class = [size * views for size in structure.sizes for _ in range(size * views)]
    counts_own = [views - (loss.self_pairs == "exclude")] * len(in_class)

    def weights(counts: list[int]) -> list[fmpq]:
        if loss.mean == "pairs":
            return [fmpq(1, sum(counts)) if count else fmpq(0) for count in counts]
        anchors = sum(count > 0 for count in counts) if loss.mean == "anchors" else len(counts)
        return [fmpq(1, count * anchors) if count else fmpq(0) for count in counts]

    return weights([count - views for count in in_class]), weights(counts_own)


def softmax(gram: list[list[arb]], structure: ClassStructure, loss: SupCL) -> Softmax:
    """The loss at a Gram matrix, of which the lower triangle is read."""
    alpha, tau = hyper_parameters(loss.alpha, loss.temperature)
    points = range(structure.num_embeddings)
    classes, instances = structure.class_ids.tolist(), structure.instance_ids.tolist()
    sup, own = _positive_weights(structure, loss)
    sup, own = [(1 - alpha) * weight for weight in sup], [alpha * weight for weight in own]
    included, none = loss.self_pairs == "include", arb(0)

    def positive(i: int, j: int) -> arb:
        """W_ij for i ≠ j."""
        if instances[i] == instances[j]:
            return own[i]
        return sup[i] if classes[i] == classes[j] else none

    inverse = 1 / tau
    anchors, totals = [arb(0)] * len(points), [arb(int(included))] * len(points)
    value, near, pulls = arb(0), [], []
    for i in points:
        exponentials, row = [], []
        for j in range(i):
            unlike = (1 - gram[i][j]) * inverse
            exponentials.append((-unlike).exp())
            totals[i] += exponentials[j]
            totals[j] += exponentials[j]
            there, back = positive(i, j), positive(j, i)
            anchors[i] += there
            anchors[j] += back
            row.append(there + back)
            value += row[j] * unlike
        near.append(exponentials)
        pulls.append(row)
        anchors[i] += own[i] if included else 0
    # An anchor without positives counts nothing, and may have an empty denominator.
    used = [not anchor.is_zero() for anchor in anchors]
    for i in points:
        if used[i]:
            value += anchors[i] * totals[i].log()
    share = [anchors[i] / totals[i] if used[i] else arb(0) for i in points]
    return Softmax(value, near, pulls, own if included else [], totals, share, inverse)


def _dual(gram: list[list[arb]], structure: ClassStructure, loss: SupCL) -> _Dual:
    """The dual matrix at a Gram matrix, with the multipliers of a critical point."""
    value, near, pulls, own, _, share, inverse = softmax(gram, structure, loss)
    points = range(len(gram))
    slopes = [[arb(0)] * len(gram) for _ in points]
    for i in points:
        for j in range(i):
            pair = near[i][j] * (share[i] + share[j]) - pulls[i][j]
            slopes[i][j] = slopes[j][i] = pair * inverse / 2
        if own:
            slopes[i][i] = (share[i] - own[i]) * inverse
    slack = arb(0)
    for i in points:
        product = sum((s * g for s, g in zip(slopes[i], gram[i], strict=True)), arb(0))
        multiplier = -product.mid()
        slopes[i][i] += multiplier
        slack += product + multiplier
    return _Dual(value, arb_mat(slopes), slack)


def _smallest_shift(matrix: arb_mat) -> arb | None:
    """The least power of 2 whose addition to the diagonal makes LDLᵀ succeed, or None."""
    size = matrix.nrows()
    entries = np.array([float(entry.mid()) for entry in matrix.entries()]).reshape(size, size)
    if not np.all(np.isfinite(entries)):
        return None
    identity = arb_mat(size, size, 1)

    def proven(rung: int) -> bool:
        return is_positive_definite(matrix + identity * (arb(2) ** rung))

    # Only where to look comes from floats.
    scale = max(float(np.abs(entries).sum()), 1e-300)
    guess = max(-float(np.linalg.eigvalsh(entries)[0]), scale * 2.0**-56)
    high, step = max(math.ceil(math.log2(guess)), _LADDER_FLOOR), 1
    if proven(high):
        low = high - step
        while low >= _LADDER_FLOOR and proven(low):
            high, step = low, 2 * step
            low = high - step
        low = max(low, _LADDER_FLOOR - 1)
    else:
        low, high = high, high + step
        while not proven(high):
            if step > _LADDER_SPAN:
                return None
            step *= 2
            low, high = high, high + step
    while high - low > 1:
        middle = (high + low) // 2
        if proven(middle):
            high = middle
        else:
            low = middle
    return arb(2) ** high


def unit_gram(embeddings: np.ndarray) -> list[list[arb]]:
    """The Gram matrix of the normalised rows of floats, read as the dyadics they are, or balls."""
    points = arb_mat(
        [[x if isinstance(x, arb) else arb(float(x)) for x in row] for row in embeddings]
    )
    gram = (points * points.transpose()).tolist()
    scale = [gram[i][i].rsqrt() for i in range(len(gram))]
    for i, row in enumerate(gram):
        for j in range(i):
            row[j] = gram[j][i] = row[j] * (scale[i] * scale[j])
        row[i] = arb(1)
    return gram


def check_rows(points: np.ndarray, structure: ClassStructure, loss: GramLoss) -> SupCL:
    """The loss, where it is one that balls know, and these are rows of it."""
    if type(loss) is not SupCL:
        raise ValueError(
            f"ball enclosures are written for SupCL; got {type(loss).__name__}. "
            "Use `certify_embeddings` for other convex losses."
        )
    check_structure(structure)
    check_choice("self_pairs", loss.self_pairs, ("include", "exclude"))
    loss.check_structure(structure)
    if points.ndim != 2 or len(points) != structure.num_embeddings:
        raise ValueError(
            f"{structure} has {structure.num_embeddings} embeddings, one per row; "
            f"got shape {points.shape}."
        )
    good = np.all(np.isfinite(points), axis=1) & np.any(points != 0, axis=1)
    if not np.all(good):
        raise ValueError(
            f"every embedding must be finite and not zero; row {int(np.argmin(good))} is not."
        )
    return loss


def enclose_loss(
    embeddings: AnyArray,
    structure: ClassStructure,
    loss: GramLoss,
    precision: int = EMBEDDING_PRECISION,
) -> arb:
    """A ball that holds the loss of the normalised rows.

    Args:
        embeddings: (N, d) rows ordered by class, instance and view: floats, or balls.
        structure: their class structure; classes of any size.
        loss: a :class:`ssem_jax.SupCL` of one cell, as :func:`enclose_minimum` has it.
        precision: bits.

    Raises:
        ValueError: as :func:`enclose_minimum` raises.
    """
    points = np.asarray(embeddings)
    known = check_rows(points.astype(float), structure, loss)
    with working_precision(precision):
        return softmax(unit_gram(points), structure, known).value


def enclose_minimum(
    embeddings: Float[Array | np.ndarray, "N d"],
    structure: ClassStructure,
    loss: GramLoss,
    precision: int = EMBEDDING_PRECISION,
) -> Enclosure:
    r"""Enclose the global minimum of SupCL by embeddings and their dual certificate.

    The embeddings are read as exact dyadic numbers and normalised in balls; their loss is an upper
    bound. The lower bound is that of this module's docstring, with multipliers
    :math:`\lambda_i = -(g G_0)_{ii}` rounded to numbers that are taken as exact, and the least ε
    of a ladder of powers of 2 for which interval LDLᵀ proves S + εI positive definite. Whatever
    the embeddings, the enclosure is valid; it is narrow where they are optimal.

    Args:
        embeddings: (N, d) rows ordered by class, instance and view; read in float64.
        structure: their class structure; classes of any size.
        loss: a :class:`ssem_jax.SupCL` with scalar hyper-parameters, self pairs included or
            excluded. α and τ may be fractions, decimal strings or balls as well.
        precision: bits.

    Returns:
        The enclosure; it holds for embeddings of every dimension.

    Raises:
        ValueError: another loss or convention, a batch of cells, rows that do not fit the structure
            or are zero or not finite, or radii too large for `precision`.
    """
    points = np.asarray(embeddings, np.float64)
    known = check_rows(points, structure, loss)
    with working_precision(precision):
        dual = _dual(unit_gram(points), structure, known)
        shift = _smallest_shift(dual.matrix)
        if shift is None:
            raise ValueError(
                f"the dual matrix has radii too large to bound it with {precision} bits; "
                "raise `precision`, or give alpha and temperature more exactly."
            )
        lower = dual.value - dual.slack - structure.num_embeddings * shift
        return enclosure_of(lower, dual.value, shift, precision)
