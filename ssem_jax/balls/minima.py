r"""Local minima in R^d, proven: that there is one next to given embeddings, strict up to rotation.

**The slice.** The loss of normalised rows depends on neither rotations nor lengths. Take d rows of
full rank: some rotation makes them triangular, with zeros beyond the diagonal. Then fix one
coordinate of every row at ±1. What is left are N(d-1) - d(d-1)/2 free coordinates, on which the
loss is a smooth function f. Every embeddings near those of the slice can be moved into it by a
rotation and lengths that are near 1, as long as the diagonal does not vanish: a strict local
minimum of f is a local minimum among all embeddings in R^d, strict up to rotation.

**Convexity on a ball.** Let |∇f| ≤ g at a point and ∇²f ⪰ κ on the ball of radius ρ > 2g/κ about
it. On its boundary f is at least f₀ - gρ + κρ²/2 > f₀, so that its minimum on the ball lies inside:
the one critical point there is, with a loss in [f₀ - gρ, f₀]. The Hessian is formed in balls over
the whole box; with R its radii and A its middle, A - (κ + ‖R‖_F) I ≻ 0 by exact LDLᵀ.

Embeddings that leave a dimension of R^d unused have no such d rows. They need no proof: where they
are a local minimum, they are a global one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from flint import arb, arb_mat
from scipy.linalg import qr

from ssem_jax.balls.arithmetic import (
    EMBEDDING_PRECISION,
    float_above,
    float_below,
    to_ball,
    working_precision,
)
from ssem_jax.balls.enclosures import check_rows, is_positive_definite, softmax
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.structure import ClassStructure

SHARE_OF_CURVATURE = 0.25
"""κ over the least eigenvalue in float64: the rest is for what changes over the box."""
ROOM = 2.5
"""ρκ/g, which has to be above 2."""
LEAST_RADIUS = 2.0**-80
"""ρ where the gradient vanishes, far above the radii of exact coordinates at 128 bits."""


@dataclass(frozen=True)
class LocalMinimum:
    """A strict local minimum up to rotation, the only critical point near given embeddings.

    Attributes:
        lower: a float that its loss is not below.
        upper: a float that its loss is not above.
        radius: ρ; given embeddings and the minimum have coordinates that are no further apart.
        curvature: κ > 0, below which no eigenvalue of the Hessian on the slice lies.
        precision: bits that were worked with.
        ball: the loss, in full precision.
    """

    lower: float
    upper: float
    radius: float
    curvature: float
    precision: int
    ball: arb = field(repr=False, compare=False)


class _Slice(NamedTuple):
    """Rows on the slice, the free coordinates, and the diagonal that must not vanish."""

    rows: np.ndarray
    free: np.ndarray
    diagonal: tuple[np.ndarray, np.ndarray]


def enclose_local_minimum(
    embeddings: np.ndarray,
    structure: ClassStructure,
    loss: GramLoss,
    precision: int = EMBEDDING_PRECISION,
) -> LocalMinimum | None:
    """Prove that the loss has a local minimum in R^d next to given embeddings.

    Embeddings that are known to be critical, given in balls, are that minimum: it is the only
    critical point within its radius, which holds what was given.

    Args:
        embeddings: (N, d) rows ordered by class, instance and view: floats, or balls.
        structure: their class structure; classes of any size.
        loss: a :class:`ssem_jax.SupCL` of one cell, as :func:`enclose_minimum` has it.
        precision: bits.

    Returns:
        The minimum, or None where nothing is proven: at rows that are not near a critical point, or
        near one that is a saddle, flat in other directions than rotations, or of a rank below d.

    Raises:
        ValueError: another loss or convention, a batch of cells, or rows that do not fit the
            structure or are zero or not finite.
    """
    given = np.asarray(embeddings)
    known = check_rows(given.astype(float), structure, loss)
    with working_precision(precision):
        cut = _cut(np.vectorize(to_ball, otypes=[object])(given))
        if cut is None or not cut.free.any():
            return None
        return _prove(cut, structure, known, precision)


def _prove(
    cut: _Slice, structure: ClassStructure, loss: SupCL, precision: int
) -> LocalMinimum | None:
    """Convexity on a ball about the middle of rows on the slice."""
    middle = _each(arb.mid, cut.rows)
    value, gradient, hessian = _expand(middle, cut.free, structure, loss)
    least = np.linalg.eigvalsh(hessian.astype(float))[0]
    if not least > 0:
        return None
    bound = arb(SHARE_OF_CURVATURE * least)
    slope = _length(gradient)
    radius = (ROOM * slope / bound + LEAST_RADIUS + 2 * _length(cut.rows - middle)).upper()
    box = middle.copy()
    box[cut.free] += arb(0, radius)
    if not radius * bound > 2 * slope or any(x.contains(0) for x in box[cut.diagonal]):
        return None
    _, _, over_box = _expand(box, cut.free, structure, loss)
    middles, radii = _each(arb.mid, over_box), _each(arb.rad, over_box)
    shift = bound + _length(radii)
    size = len(middles)
    lowered = arb_mat(middles.tolist()) - arb_mat(size, size, 1) * shift.upper()
    if not is_positive_definite(lowered):
        return None
    ball = (value - slope * radius).lower().union(value.upper())
    return LocalMinimum(
        float_below(ball),
        float_above(ball),
        float_above(radius),
        float_below(bound),
        precision,
        ball,
    )


def _each(function: Callable[[arb], arb], values: np.ndarray) -> np.ndarray:
    """A function of balls, of each of them."""
    return np.vectorize(function, otypes=[object])(values)


def _length(values: np.ndarray) -> arb:
    """The Euclidean norm of all entries, from above."""
    return sum((each * each for each in values.flat), arb(0)).upper().sqrt().upper()


def _cut(points: np.ndarray) -> _Slice | None:
    """The rows, turned and lengthened into the slice; None if d of them are not seen to be free."""
    count, dim = points.shape
    if count < dim:
        return None
    order = qr(points.astype(float).T, mode="r", pivoting=True)[-1][:dim]
    frame: list[np.ndarray] = []
    for row in points[order]:
        for each in frame:
            row = row - (row @ each) * each
        squared = row @ row
        if not squared > 0:
            return None
        frame.append(row * squared.rsqrt())
    turned = points @ np.array(frame).T
    free = np.ones((count, dim), bool)
    for place, at in enumerate(order):
        turned[at, place + 1 :], free[at, place + 1 :] = arb(0), False
    largest = np.arange(count), np.argmax(np.abs(turned.astype(float)), axis=1)
    free[largest] = False
    signs = np.sign(turned[largest].astype(float))
    turned = turned / (turned[largest] * signs)[:, None]
    turned[largest] = [arb(sign) for sign in signs]
    return _Slice(turned, free, (order, np.arange(dim)))


def _expand(
    rows: np.ndarray, free: np.ndarray, structure: ClassStructure, loss: SupCL
) -> tuple[arb, np.ndarray, np.ndarray]:
    """Loss, gradient and Hessian by the free coordinates of rows of any length.

    With x̂ = x/|x| and Π = I - x̂x̂ᵀ, the similarity G_ij has the gradient y_ij = Πx̂_j/|x_i| by
    x_i, and the second derivatives ΠΠ'/(|x_i||x_j|) and -(x̂yᵀ + yx̂ᵀ)/|x_i| - G_ij Π/|x_i|².
    """
    count, dim = rows.shape
    scale = _each(arb.rsqrt, (rows * rows).sum(1))
    unit = rows * scale[:, None]
    gram = unit @ unit.T
    parts = softmax(gram.tolist(), structure, loss)
    near, pulls = (_symmetric(each) for each in (parts.near, parts.pulls))
    share, totals = np.array(parts.share), np.array(parts.totals)
    both = near * np.add.outer(share, share)
    slopes, bends = (both - pulls) * parts.inverse, both * parts.inverse**2

    toward = (unit[None] - gram[:, :, None] * unit[:, None]) * scale[:, None, None]
    gradient = (slopes[:, :, None] * toward).sum(1)
    across = (np.eye(dim).astype(int) - unit[:, :, None] * unit[:, None]) * scale[:, None, None]
    hessian = np.empty((count, dim, count, dim), object)
    for i in range(count):
        for j in range(count):
            bent = bends[i, j] * np.multiply.outer(toward[i, j], toward[j, i])
            hessian[i, :, j] = bent + slopes[i, j] * (across[i] @ across[j])
        radial = np.multiply.outer(unit[i] * scale[i], gradient[i])
        own = (bends[i][:, None, None] * toward[i][:, :, None] * toward[i][:, None]).sum(0)
        held = (slopes[i] @ gram[i]) * scale[i]
        hessian[i, :, i] = own - radial - radial.T - held * across[i]
    # Each softmax has a covariance: what it takes off is of one rank an anchor.
    mean = near[:, :, None] * toward.transpose(1, 0, 2)
    mean[np.arange(count), np.arange(count)] = (near[:, :, None] * toward).sum(1)
    mean = mean.reshape(count, -1)[:, free.ravel()]
    weight = np.array([0 if t.is_zero() else s / t for s, t in zip(share, totals, strict=True)])
    taken = arb_mat((mean * weight[:, None]).T.tolist()) * arb_mat(mean.tolist())
    kept = hessian.reshape(count * dim, -1)[np.ix_(free.ravel(), free.ravel())]
    taken = np.array(taken.tolist()) * parts.inverse**2
    return parts.value, gradient[free], kept - taken


def _symmetric(lower: list[list[arb]]) -> np.ndarray:
    """A symmetric matrix of a triangle below its diagonal, which is 0."""
    count = len(lower)
    full = np.full((count, count), arb(0), object)
    for i, row in enumerate(lower):
        for j, entry in enumerate(row):
            full[i, j] = full[j, i] = entry
    return full
