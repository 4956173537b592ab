r"""What is declared is looked at before it is believed: no loss certifies anything unseen.

:func:`check_declared` is called before every certificate. A loss that is proven passes, if its
numbers are what its constructor takes. Of every other one

* **every cell** of a batch is checked for convexity, and for symmetry if it declares that, once for
  a loss, a structure and its numbers (:mod:`ssem_jax.losses.convexity`);
* forms of three similarities that it brings are compared with its values;
* **about every certified point** G₀ the tangent is tested that the bound is made of,
  :math:`L(G) \ge L(G_0) + \langle g, G - G_0 \rangle`: towards random Gram matrices and the points
  of other cells, in large and small steps, and densely along the lines to the corners of the
  block-structured Gram matrices, on which optima lie.

A loss that passes is still only *declared*; a well that is narrow and away from all of these stays
hidden. So certificates, tables and verdicts carry the word
(:func:`ssem_jax.losses.base.convexity_of`).
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax.compute.kernels import Kernel, map_first
from ssem_jax.geometry.similarities import Similarities, block_gram
from ssem_jax.losses.base import NOT_CONVEX, PROVEN, GramLoss, convexity_of
from ssem_jax.losses.convexity import (
    SAMPLE_FLOATS,
    ConvexityViolation,
    NotANumber,
    TangentViolation,
    check_convex,
    tangent_violation,
)
from ssem_jax.losses.forms import UNIT_ROUNDING, Form, Forms, forms_of, lanes, margin
from ssem_jax.losses.probes import corners, generator, gram_of, random_gram
from ssem_jax.losses.symmetry import SymmetryViolation, check_symmetric
from ssem_jax.problem.structure import ClassStructure

SAMPLE_PAIRS, FEWEST_PAIRS, ALL_PAIRS = 64, 16, 2**12
"""Segments on which a cell is checked: 64, or fewer where a batch would need more than 4,096, but
16 at least. Directions of least curvature are sought in every cell besides."""
PERMUTATIONS = 12
"""Permutations under which a loss is checked: four of each kind."""
BLOCK_SAMPLES = 16
"""Block-structured Gram matrices at which a form of three similarities is compared."""
AROUND = 24
"""Random Gram matrices towards which the tangent at a certified point is tested; and as many points
of other cells at most."""
COARSE = 2.0 ** -np.array([0, 1, 2, 4, 7, 11, 16, 22])
"""Steps towards them, as parts of the way."""
DENSE = np.concatenate([1.05 ** -np.arange(143), 2.0 ** -np.arange(11, 25)])
"""Steps towards corners. A well whose width is a tenth of its distance spans four of them."""
POINT_FLOATS = 2**21
"""Numbers in all Gram matrices that are evaluated about one certified point."""
MANY_EMBEDDINGS = 64
"""Embeddings beyond which corners are approached in few steps as well."""
SUSPECTS = 4
"""Points about each certified one at which rounding is weighed exactly: the lowest ones."""

Violation = ConvexityViolation | TangentViolation | NotANumber | SymmetryViolation


class FalseDeclarationError(ValueError):
    """A loss is not what it declares.

    Attributes:
        violation: the counterexample.
    """

    def __init__(self, message: str, violation: Violation | FormViolation) -> None:
        super().__init__(message)
        self.violation = violation


class FormViolation(NamedTuple):
    """Three similarities at which `of_blocks` is not the loss.

    Attributes:
        similarities: of views, within a class and between classes.
        values: (2,) what `of_blocks` says, and L of the Gram matrix.
        loss: the cell that was checked.
    """

    similarities: Similarities
    values: Float[np.ndarray, "2"]
    loss: GramLoss

    declared = "brings a form of three similarities"
    remedy = "Mend `of_blocks`, or leave it out."

    def __str__(self) -> str:
        where = ", ".join(f"{one:.6g}" for one in self.similarities)
        return (
            f"`of_blocks` is {self.values[0]:.10g} at the similarities ({where}), where the loss "
            f"of the Gram matrix is {self.values[1]:.10g}"
        )


_ADMITTED: set[Any] = set()


def check_declared(
    loss: GramLoss,
    structure: ClassStructure,
    points: Float[np.ndarray, "B N d"] | None = None,
) -> None:
    """Refuse a loss that is not what it declares; called before anything is certified.

    Args:
        loss: one cell or a batch.
        structure: the class structure.
        points: (B, N, d) unit embeddings that are to be certified, of every cell.

    Raises:
        FalseDeclarationError: a ValueError that carries the counterexample.
        ValueError: numbers that the constructor of a proven loss would refuse.
    """
    convexity = convexity_of(loss)
    if convexity == NOT_CONVEX:
        return
    if convexity == PROVEN:
        dataclasses.replace(loss)  # its constructor looks at numbers that JAX may have changed
        return
    forms = forms_of(loss, structure)
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(forms.given):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    name = (type(loss), jax.tree.structure(loss), structure, forms.size, digest.digest())
    if name not in _ADMITTED:
        _refuse(loss, structure, _sampled(loss, forms, structure))
        _ADMITTED.add(name)
    if points is not None:
        _refuse(loss, structure, _about_points(forms, structure, points))


def _refuse(
    loss: GramLoss, structure: ClassStructure, violation: Violation | FormViolation | None
) -> None:
    if violation is not None:
        raise FalseDeclarationError(
            f"{type(loss).__name__} {violation.declared}, but on {structure} {violation}. "
            f"{violation.remedy}",
            violation,
        )


def _sampled(
    loss: GramLoss, forms: Forms, structure: ClassStructure
) -> Violation | FormViolation | None:
    """What is wrong in any cell, at random Gram matrices."""
    key = jax.random.key(0)
    fitting = SAMPLE_FLOATS // structure.num_embeddings**2
    pairs = int(np.clip(ALL_PAIRS // forms.size, FEWEST_PAIRS, SAMPLE_PAIRS))
    violation = check_convex(loss, structure, key, int(np.clip(fitting, 4, pairs)))
    if violation is None and loss.symmetric:
        violation = check_symmetric(loss, structure, key, PERMUTATIONS)
        if violation is None and structure.is_balanced and loss.like_classes:
            return _other_form(loss, forms, structure)
    return violation


# ---------------------------------------------------------------------- forms of three similarities


@Kernel
def _both_forms(
    cells: Any, prepared: Any, shared: tuple[Similarities, Array, Any], count: Array
) -> tuple[Array, Array, Array]:
    """What the form of three similarities says, the loss, and the margin."""
    similarities, grams, blocks = shared

    def cell(loss: GramLoss, *_: Any) -> tuple[Array, Array, Array]:
        form = Form(loss, prepared)

        def one(place: tuple[Similarities, Array]) -> tuple[Array, Array, Array]:
            value = form.value(place[1])
            return loss.of_blocks(place[0], blocks), value, margin(form, place[1], value)

        return jax.lax.map(one, (similarities, grams))

    return map_first(count, cell, *cells)


def _other_form(loss: GramLoss, forms: Forms, structure: ClassStructure) -> FormViolation | None:
    """Where a form of three similarities that a loss brings is not its value."""
    if type(loss).of_blocks is GramLoss.of_blocks:
        return None
    rng = generator(jax.random.key(1))
    weights = rng.dirichlet(np.full(4, 0.5), BLOCK_SAMPLES)
    mixtures = np.clip(np.tensordot(weights, corners(structure), 1), -1, 1)
    n, p = structure.num_instances, structure.num_views
    view, within = mixtures[:, 0, min(1, p - 1)], mixtures[:, 0, p if n > 1 else 0]
    similarities = Similarities(view, within, mixtures[:, 0, n * p])
    if p == 1:
        similarities = similarities._replace(view=np.ones(BLOCK_SAMPLES))
    if n == 1:
        similarities = similarities._replace(within=np.ones(BLOCK_SAMPLES))
    grams = np.asarray(jax.vmap(lambda *each: block_gram(structure, *each))(*similarities))
    blocks = loss.prepare_blocks(structure)
    found, value, margins = forms.run(_both_forms, similarities, grams, blocks)
    with np.errstate(invalid="ignore"):
        excess = np.where(found == value, 0, np.abs(found - value) / margins)
    excess = np.nan_to_num(excess, nan=np.inf)
    cell, place = np.unravel_index(np.argmax(excess), excess.shape)
    if excess[cell, place] <= 1:
        return None
    where = Similarities(*(float(np.asarray(one)[place]) for one in similarities))
    values = np.array([found[cell, place], value[cell, place]])
    return FormViolation(where, values, forms.cell(int(cell)))


# --------------------------------------------------------------------- tangents at certified points


@Kernel
def _lowest(
    cells: Any, prepared: Any, shared: tuple[Array, Array, Array], count: Array
) -> tuple[Array, Array, Array]:
    """The value, how far the lowest points lie below the tangent of each cell, and which."""
    targets, aims, steps = shared

    def cell(loss: GramLoss, gram: Array, _: Array) -> tuple[Array, Array, Array]:
        form = Form(loss, prepared)
        value, slope = jax.value_and_grad(form.value)(gram)
        along = jnp.tensordot(targets - gram[None], slope, 2)

        def below(point: tuple[Array, Array]) -> Array:
            aim, step = point
            other = form.value((1 - step) * gram + step * targets[aim])
            rounding = (8 * len(gram) + 64) * UNIT_ROUNDING * (1 + jnp.abs(other))
            return value + step * along[aim] - other - rounding

        amounts = jax.lax.map(below, (aims, steps), batch_size=lanes(gram.size))
        amounts = amounts - 2 * margin(form, gram, value)
        amounts = jnp.where(jnp.isfinite(amounts), amounts, -jnp.inf)
        return value, *jax.lax.top_k(amounts, SUSPECTS)

    return map_first(count, cell, *cells)


def _about_points(
    forms: Forms, structure: ClassStructure, points: np.ndarray
) -> TangentViolation | NotANumber | None:
    """Where a loss lies below its tangent at a point that is to be certified."""
    size = structure.num_embeddings
    grams = gram_of(np.asarray(points, float))
    rng = generator(jax.random.key(2))
    # Half of the numbers go to each: few steps towards many, and many steps towards a few.
    count = int(np.clip(POINT_FLOATS // (2 * len(COARSE) * size**2), 1, AROUND))
    others = np.unique(np.linspace(0, forms.size - 1, count).astype(int))
    around = [random_gram(rng, structure) for _ in range(count)]
    targets = np.concatenate([corners(structure), around, grams[others]])
    fine = len(DENSE) if size <= MANY_EMBEDDINGS else len(COARSE)
    dense = np.sort(DENSE)[:: -(-len(DENSE) // fine)]
    near, far = np.arange(4), np.arange(4, len(targets))
    aims = np.concatenate([np.repeat(near, len(dense)), np.repeat(far, len(COARSE))])
    steps = np.concatenate([np.tile(dense, len(near)), np.tile(COARSE, len(far))])
    values, amounts, places = forms.run(_lowest, targets, aims, steps, each=grams)
    for cell in np.flatnonzero(np.isnan(values)):
        return NotANumber(grams[cell], "loss", forms.cell(int(cell)))
    for cell in np.argsort(-amounts[:, 0]):
        for amount, place in zip(amounts[cell], places[cell], strict=True):
            if amount <= 0:
                break
            step, target = steps[place], targets[aims[place]]
            point = (1 - step) * grams[cell] + step * target
            violation = tangent_violation(forms, int(cell), grams[cell], point)
            if violation is not None:
                return violation
    return None
