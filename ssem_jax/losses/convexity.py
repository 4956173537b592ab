r"""Whether a loss is what it declares: numeric checks of convexity and symmetry.

A certificate rests on the convexity of the loss in the Gram matrix, brackets rest on its symmetry
besides. Both are declared by whoever writes a loss, and a false declaration would certify what is
not so. Here are the searches for a counterexample; :mod:`ssem_jax.losses.declared` asks them before
anything is certified.

* **Convexity** is tested on segments between Gram matrices of unit vectors
  (:mod:`ssem_jax.losses.probes`) and along the directions of least curvature, found by Lanczos'
  method. On each segment every three equidistant points of 17 are compared: no value may lie above
  a chord.
* **The tangent** is what a bound is made of, so it is tested as it is used: with g the derivative
  that JAX takes of the loss, :math:`L(G_2) \ge L(G_1) + \langle g, G_2 - G_1 \rangle` at the same
  points and at steps down to 1e-8 from the first end. That fails, too, where g is not the
  derivative of the value (``stop_gradient``), though the values be convex.
* **Symmetry** is tested by permutations of classes of equal size, of instances and of views.

A loss that passes has not been proven convex. One that fails is proven not to be, up to rounding.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ssem_jax.compute.kernels import Kernel, map_first
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.forms import Form, Forms, forms_of, lanes, margin
from ssem_jax.losses.probes import generator, random_gram, random_pair
from ssem_jax.problem.problem import check_loss
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import check_count, require_x64

POINTS = 17
"""Points of a segment: every three equidistant ones are compared, over a sixteenth of it to all."""
SMALL_STEPS = 2.0 ** -np.arange(6, 27, 4)
"""Parts of a segment at which its tangent is compared besides: of a loss that is smooth, a wrong
derivative shows at one of them unless it is wrong by less than the square root of the rounding."""
STEEPEST_STEPS = 24
"""Steps of Lanczos' method: an isolated negative curvature shows after a dozen."""
STEEPEST_POINTS = 4
"""Gram matrices at which directions of least curvature are sought."""
SAMPLE_FLOATS = 2**24
"""Numbers in all Gram matrices of a check: fewer segments are taken for many embeddings."""


class ConvexityViolation(NamedTuple):
    """Two Gram matrices between which a loss is above its chord.

    Attributes:
        first: (N, N), G₁ of unit vectors.
        second: (N, N), G₂ of unit vectors.
        t: weight of the second in G = (1-t) G₁ + t G₂.
        values: (3,) L(G₁), L(G), L(G₂).
        amount: L(G) - (1-t) L(G₁) - t L(G₂), above the margin for rounding.
        loss: the cell that was checked.
    """

    first: Float[np.ndarray, "N N"]
    second: Float[np.ndarray, "N N"]
    t: float
    values: Float[np.ndarray, "3"]
    amount: float
    loss: GramLoss

    declared = "is declared convex in the Gram matrix"
    remedy = "Declare it as convex=False."

    def __str__(self) -> str:
        before, between, after = self.values
        return (
            f"L = {before:.6g} and {after:.6g} at two Gram matrices, but {between:.6g} at "
            f"t = {self.t:g} between them, {self.amount:.2g} above the chord"
        )


class TangentViolation(NamedTuple):
    """A Gram matrix at which a loss is below its tangent at another, from which bounds are made.

    Attributes:
        first: (N, N), G₁ of unit vectors, where the tangent touches.
        second: (N, N), G₂ of unit vectors.
        values: (2,) L(G₁) and L(G₂).
        tangent: L(G₁) + ⟨g, G₂ - G₁⟩ with g the derivative that JAX takes.
        amount: tangent - L(G₂), above the margin for rounding.
        differentiated: whether g is the derivative of L along G₂ - G₁, by its difference quotient.
        loss: the cell that was checked.
    """

    first: Float[np.ndarray, "N N"]
    second: Float[np.ndarray, "N N"]
    values: Float[np.ndarray, "2"]
    tangent: float
    amount: float
    differentiated: bool
    loss: GramLoss

    declared = "is declared convex in the Gram matrix"

    @property
    def remedy(self) -> str:
        """What to write instead."""
        if self.differentiated:
            return "Declare it as convex=False."
        return "Let its derivative be that of its value, or declare it as convex=False."

    def __str__(self) -> str:
        why = (
            ""
            if self.differentiated
            else ", for what JAX differentiates is not its value (stop_gradient, custom_jvp)"
        )
        return (
            f"L = {self.values[1]:.6g} at a Gram matrix where its tangent at another is "
            f"{self.tangent:.6g}: {self.amount:.2g} below what bounds are made of{why}"
        )


class NotANumber(NamedTuple):
    """A Gram matrix at which a loss, or its derivative, is not a number.

    Attributes:
        gram: (N, N), G of unit vectors.
        what: "loss" or "derivative of the loss".
        loss: the cell that was checked.
    """

    gram: Float[np.ndarray, "N N"]
    what: str
    loss: GramLoss

    declared = "cannot be certified"

    @property
    def remedy(self) -> str:
        """What to write instead."""
        if self.what == "loss":
            return "Mend it, or refuse such structures with `check`."
        return (
            "Where jnp.where chooses between a number and none, choose its argument as well: "
            "derivatives go through both."
        )

    def __str__(self) -> str:
        apart = self.gram[~np.eye(len(self.gram), dtype=bool)]
        return (
            f"the {self.what} is not a number at a Gram matrix of unit vectors whose similarities "
            f"lie in [{apart.min():.6g}, {apart.max():.6g}]"
        )


class _Segment(NamedTuple):
    """A loss along a segment of Gram matrices.

    Attributes:
        values: at 17 equidistant points.
        small: at `SMALL_STEPS` from the first end.
        slope: its derivative at the first end, along the whole segment.
        margin: rounding.
    """

    values: Array
    small: Array
    slope: Array
    margin: Array


def _segment(form: Form, first: Array, second: Array) -> _Segment:
    def value(t: Array) -> Array:
        return form.value((1 - t) * first + t * second)

    steps = jnp.concatenate([jnp.linspace(0, 1, POINTS), SMALL_STEPS])
    values = jax.lax.map(value, steps, batch_size=lanes(first.size))
    values, small = values[:POINTS], values[POINTS:]
    slope = jnp.sum(jax.grad(form.value)(first) * (second - first))
    margins = jax.lax.map(lambda end: margin(form, end, values), jnp.stack([first, second]))
    return _Segment(values, small, slope, jnp.max(margins))


@Kernel
def _random_segments(
    cells: Any, prepared: Any, pairs: tuple[Array, Array], count: Array
) -> _Segment:
    def cell(loss: GramLoss, *_: Any) -> _Segment:
        return jax.lax.map(lambda pair: _segment(Form(loss, prepared), *pair), pairs)

    return map_first(count, cell, *cells)


def _least_curvature(form: Form, gram: Array, start: Array) -> Array:
    """(N, N) direction of zero diagonal in which the Hessian is least, nearly."""

    def clean(matrix: Array) -> Array:
        matrix = 0.5 * (matrix + matrix.T)
        return jnp.fill_diagonal(matrix, 0.0, inplace=False)

    def hessian(matrix: Array) -> Array:
        return clean(jax.jvp(jax.grad(form.value), (gram,), (matrix,))[1])

    first = clean(start)
    basis = jnp.zeros((STEEPEST_STEPS, *gram.shape))
    basis = basis.at[0].set(first / jnp.linalg.norm(first))

    def body(step: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        basis, images = carry
        image = hessian(basis[step])
        images = images.at[step].set(image)
        # Orthogonalised twice against all before: rounding would bring them back.
        for _ in range(2):
            image = image - jnp.tensordot(jnp.tensordot(basis, image, 2), basis, 1)
        length = jnp.linalg.norm(image)
        following = jnp.where(length > 0, image / jnp.where(length > 0, length, 1), 0)
        return basis.at[step + 1].set(following, mode="drop"), images

    basis, images = jax.lax.fori_loop(0, STEEPEST_STEPS, body, (basis, jnp.zeros_like(basis)))
    small = jnp.tensordot(basis, images, axes=((1, 2), (1, 2)))
    _, vectors = jnp.linalg.eigh(0.5 * (small + small.T))
    return jnp.tensordot(vectors[:, 0], basis, 1)


@Kernel
def _steepest_segments(
    cells: Any, prepared: Any, places: tuple[Array, ...], count: Array
) -> tuple[Array, Array, _Segment]:
    """Segments about interior Gram matrices along their directions of least curvature."""

    def cell(loss: GramLoss, *_: Any) -> tuple[Array, Array, _Segment]:
        form = Form(loss, prepared)

        def about(place: tuple[Array, Array, Array]) -> tuple[Array, Array, _Segment]:
            gram, start, reach = place
            direction = jnp.nan_to_num(_least_curvature(form, gram, start))
            largest = jnp.max(jnp.abs(jnp.linalg.eigvalsh(direction)))
            step = 0.99 * reach / jnp.maximum(largest, jnp.finfo(float).tiny) * direction
            ends = gram - step, gram + step
            return *ends, _segment(form, *ends)

        return jax.lax.map(about, places)

    return map_first(count, cell, *cells)


def _interior(rng: np.random.Generator, structure: ClassStructure) -> tuple[np.ndarray, ...]:
    """Gram matrices of full rank, random directions, and how far each may be left."""
    size = structure.num_embeddings
    mixed = [rng.uniform(0.1, 0.9) for _ in range(STEEPEST_POINTS)]
    grams = np.stack([t * random_gram(rng, structure) + (1 - t) * np.eye(size) for t in mixed])
    return grams, rng.normal(size=grams.shape), np.linalg.eigvalsh(grams)[:, 0]


# ---------------------------------------------------------------------------------------- convexity

Pairs = tuple[np.ndarray, np.ndarray]
ConvexityFault = ConvexityViolation | TangentViolation | NotANumber


def _point(pairs: Pairs, place: tuple[int, ...], t: float) -> np.ndarray:
    return (1 - t) * pairs[0][place] + t * pairs[1][place]


def _no_number(forms: Forms, pairs: Pairs, found: _Segment) -> NotANumber | None:
    """Where a value is no number; or no derivative is, though the values are."""
    missing = np.isnan(found.values)
    if missing.any():
        cell, pair, step = map(int, np.argwhere(missing)[0])
        gram = _point(pairs, (cell % len(pairs[0]), pair), step / (POINTS - 1))
        return NotANumber(gram, "loss", forms.cell(cell))
    finite = np.isfinite(found.values[..., 0])
    lost = finite & np.isnan(found.slope)
    # At a single point a convex function may lack a derivative; not at each of many.
    for cell in map(int, np.flatnonzero((lost == finite).all(axis=1) & lost.any(axis=1))):
        pair = int(np.argmax(lost[cell]))
        gram = pairs[0][cell % len(pairs[0]), pair]
        return NotANumber(gram, "derivative of the loss", forms.cell(cell))
    return None


def _above_chord(forms: Forms, pairs: Pairs, found: _Segment) -> ConvexityViolation | None:
    """The three points that violate convexity most clearly, measured by their margin."""
    best: tuple[float, ConvexityViolation | None] = (0.0, None)
    margins = found.margin[..., None]
    for reach in range(1, POINTS // 2 + 1):
        ends = found.values[..., : -2 * reach], found.values[..., 2 * reach :]
        middle = found.values[..., reach:-reach]
        with np.errstate(invalid="ignore"):
            amounts = middle - 0.5 * (ends[0] + ends[1]) - margins
            scores = np.nan_to_num(amounts / margins, nan=0.0)  # ∞ - ∞ shows nothing
        cell, pair, place = map(int, np.unravel_index(np.argmax(scores), scores.shape))
        score = float(scores[cell, pair, place])
        if score > best[0]:
            where = (cell % len(pairs[0]), pair)
            points = [place / (POINTS - 1), (place + 2 * reach) / (POINTS - 1)]
            one, other = (_point(pairs, where, t) for t in points)
            steps = [place, place + reach, place + 2 * reach]
            values = np.asarray(found.values[cell, pair, steps])
            amount = float(amounts[cell, pair, place])
            violation = ConvexityViolation(one, other, 0.5, values, amount, forms.cell(cell))
            best = score, violation
    return best[1]


def _below_tangent(forms: Forms, pairs: Pairs, found: _Segment) -> TangentViolation | None:
    """The point that lies most clearly below the tangent at the first end of its segment."""
    steps = np.concatenate([np.linspace(0, 1, POINTS), SMALL_STEPS])
    values = np.concatenate([found.values, found.small], axis=-1)
    with np.errstate(invalid="ignore"):
        tangents = found.values[..., :1] + steps * found.slope[..., None]
        scores = np.nan_to_num((tangents - values) / found.margin[..., None], nan=0.0, posinf=0.0)
    cell, pair, place = np.unravel_index(np.argmax(scores), scores.shape)
    if scores[cell, pair, place] <= TANGENT_MARGINS:
        return None
    where = (int(cell % len(pairs[0])), int(pair))
    return tangent_violation(forms, int(cell), pairs[0][where], _point(pairs, where, steps[place]))


TANGENT_MARGINS = 3
"""Margins of rounding that a tangent is given: those of two values, and that of the derivative."""


@jax.jit
def _touch(form: Form, first: Array, second: Array) -> tuple[Array, ...]:
    value, slope = jax.value_and_grad(form.value)(first)
    other, change = form.value(second), second - first
    near = form.value(first + DIFFERENCE * change) - value
    margins = 2 * margin(form, first, value) + margin(form, second, other)
    return value, other, value + jnp.sum(slope * change), near / DIFFERENCE, margins


DIFFERENCE = 2.0**-13
"""Part of the way over which a difference quotient is taken, to word what is wrong."""


def tangent_violation(
    forms: Forms, cell: int, first: np.ndarray, second: np.ndarray
) -> TangentViolation | None:
    """The violation of one cell at two Gram matrices, or None if it is within rounding."""
    arrays = map(jnp.asarray, (first, second))
    value, other, tangent, quotient, margins = map(float, _touch(forms.form(cell), *arrays))
    amount = tangent - other - margins
    if not 0 < amount < np.inf:
        return None
    # A loss that is not convex agrees with its derivative near the first; a wrong one does not.
    differentiated = quotient - (tangent - value) > 0.5 * (other - tangent)
    values = np.array([value, other])
    return TangentViolation(
        first, second, values, tangent, amount, differentiated, forms.cell(cell)
    )


def _fault(forms: Forms, pairs: Pairs, found: _Segment) -> ConvexityFault | None:
    """What is wrong on segments; pairs have the cells in front, or 1 if they share them."""
    return (
        _no_number(forms, pairs, found)
        or _above_chord(forms, pairs, found)
        or _below_tangent(forms, pairs, found)
    )


def check_convex(
    loss: GramLoss, structure: ClassStructure, key: PRNGKeyArray, num_pairs: int = 256
) -> ConvexityFault | None:
    """Look for two Gram matrices between which a loss is above its chord, or below its tangent.

    Args:
        loss: one cell, or a batch of which every cell is checked.
        structure: the class structure.
        key: of the random Gram matrices.
        num_pairs: random segments, the same for every cell. :mod:`ssem_jax.losses.probes` says
            which.

    Returns:
        The clearest violation, or None if there is none beyond rounding; or where the loss or its
        derivative is not a number.

    Raises:
        ValueError: 64-bit mode is off, num_pairs < 1, or the structure does not admit the loss.
    """
    require_x64()
    num_pairs = check_count("num_pairs", num_pairs, 1)
    check_loss(loss)
    check_structure(structure)
    loss.check_structure(structure)
    rng, forms = generator(key), forms_of(loss, structure)
    drawn = [random_pair(rng, structure) for _ in range(num_pairs)]
    first, second = (np.stack(side) for side in zip(*drawn, strict=True))
    fault = _fault(forms, (first[None], second[None]), forms.run(_random_segments, first, second))
    if fault is None and STEEPEST_STEPS * first[0].size <= SAMPLE_FLOATS:
        *pairs, found = forms.run(_steepest_segments, *_interior(rng, structure))
        fault = _fault(forms, (pairs[0], pairs[1]), found)
    return fault
