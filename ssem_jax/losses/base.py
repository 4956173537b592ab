"""Losses as functions of the Gram matrix: what every loss offers, and how to write one.

A loss is written as a function of G = U Uᵀ (N × N, unit diagonal). Where that function is convex,
every minimum found over free embeddings can carry a certificate of global optimality.

**Trust is taken from the class itself.** Whether a loss is convex is said by the class that has its
formula, never inherited and never assumed; that it is `proven` is said by losses of this package
alone. A class that changes a formula loses what was written for the old one: the forms of three
similarities, the rounding margins, the shared kernel.
"""

from __future__ import annotations

import abc
import dataclasses
import inspect
from typing import Any, ClassVar, TypeVar, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ssem_jax.compute.kernels import whole
from ssem_jax.geometry.similarities import Similarities, block_gram
from ssem_jax.geometry.sphere import normalize, product
from ssem_jax.losses.terms import CLASSES, Terms
from ssem_jax.problem.problem import Problem
from ssem_jax.problem.structure import ClassStructure, check_structure
from ssem_jax.problem.validation import concrete

Scalar = Float[Array, ""]
L = TypeVar("L", bound="GramLoss")

PACKAGE = __name__.partition(".")[0]
"""Only losses of this package may say that they are proven."""
HOT_TEMPERATURE = 0.5
"""Where temperature paths begin: every pair is felt there, so the landscape is well curved."""

PROVEN, DECLARED, NOT_CONVEX = "proven", "declared", "none"
"""What the convexity of a loss rests on: an argument in the docstring of a shipped loss, the word
of whoever wrote it (of which samples were checked), or nothing, for it is not convex."""

_DERIVED = {
    "of_blocks": ("of_blocks",),
    "prepare_blocks": ("of_blocks", "prepare_blocks"),
    "without_conventions": ("without_conventions",),
    "sensitivity": ("sensitivity",),
    "magnitude": ("magnitude",),
    "terms": ("terms",),
}
"""Method derived from a formula → the methods of which a class that changes the formula must bring
one, or else it falls back to what holds for every loss."""
_NO_FORMULA = {
    *_DERIVED,
    *("convex", "symmetric", "like_classes", "proven", "roles", "solved_by_terms"),
    *("check_structure", "heated", "checked_gram", "_abc_impl"),
}
"""Names that may differ from those of the parent while the formula is the same."""


def convexity_of(loss: GramLoss) -> str:
    """What the convexity of a loss rests on: `PROVEN`, `DECLARED` or `NOT_CONVEX`.

    Only the very class that says so is proven: a class derived from it is another one.
    """
    if not loss.convex:
        return NOT_CONVEX
    return PROVEN if vars(type(loss)).get("proven", False) else DECLARED


def loss_of(problem: Problem) -> GramLoss:
    """The loss of a problem: whose room, below this one, knows no more of it than it needs."""
    return cast(GramLoss, problem.loss)


def has_block_form(loss: GramLoss) -> bool:
    """Whether the loss writes itself as a function of three similarities."""
    return type(loss).of_blocks is not GramLoss.of_blocks


def _changes(cls: type) -> set[str]:
    """The attributes, other than its parent's, on which the value of a class may depend."""
    parent = next(base for base in cls.__mro__[1:] if issubclass(base, GramLoss))
    fields = getattr(parent, "__dataclass_fields__", {})
    changed = set()
    for name in {*dir(parent), *fields} - _NO_FORMULA:
        mine, theirs = (inspect.getattr_static(one, name, None) for one in (cls, parent))
        another_default = name in fields and not hasattr(mine, "__get__")
        if not (name.startswith("__") or mine is theirs or another_default):
            changed.add(name)
    return changed


def _is_abstract_method(cls: Any, name: str) -> bool:
    return getattr(getattr(cls, name, None), "__isabstractmethod__", False)


def _is_abstract(cls: type) -> bool:
    return any(_is_abstract_method(cls, name) for name in dir(cls))


class GramLoss(abc.ABC):
    """A loss L(G) of the Gram matrix. Write one as a function, with :func:`gram_loss`:

    >>> @sx.gram_loss(convex=True, symmetric=True)
    ... def repel(gram, structure, *, sharpness=1.0):
    ...     apart = structure.class_ids[:, None] != structure.class_ids
    ...     return jnp.mean(jnp.where(apart, jnp.exp(sharpness * gram), -gram))
    >>> problem = sx.Problem(structure, dim=8, loss=repel(sharpness=np.linspace(0.1, 2, 50)))

    That is a subclass with a field for each parameter, as `SupCL` is one. Hyper-parameters are the
    pytree leaves; they are traced, so a thousand values compile once. A class of its own, a
    `pytree_dataclass` with a method `from_gram`, is worth writing where the other methods here
    save work: masks prepared once, a fast form for three similarities, exact rounding margins.

    Every class with a formula of its own says whether it is `convex`; there is no default, for
    certificates rest on it. What a loss declares is checked numerically before anything is
    certified (:func:`ssem_jax.losses.check_convex`, :func:`ssem_jax.losses.check_symmetric`, and
    the tangent at every certified point): a false declaration raises. Samples prove nothing, so
    that its certificates say "declared". A loss declared not convex is minimised all the same, and
    stays uncertified.

    Raises:
        ValueError: where a class is made that does not say whether it is convex, or that says it is
            proven.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    """A loss is a dataclass, for its hyper-parameters are fields."""

    convex: ClassVar[bool]
    """Whether L is convex in G on the Gram matrices of unit vectors; only then is a solution
    certified."""

    symmetric: ClassVar[bool] = False
    """Whether L is unchanged when classes of equal size, the instances of a class, or the views of
    an instance are permuted; only then are brackets and phases derived."""

    like_classes: ClassVar[bool] = True
    """Whether classes of equal size play equal parts; if not, `symmetric` speaks of instances and
    views alone."""

    proven: ClassVar[bool] = False
    """Whether the declarations are proven, in the docstring, and need no numeric check: of losses
    of this package alone, each for itself."""

    roles: ClassVar[str] = CLASSES
    """What parts embeddings play, of `ssem_jax.losses.terms.ROLES`; for losses that say terms."""

    solved_by_terms: ClassVar[bool] = False
    """Whether sweeps and searches solve the program that is left of the terms, whatever N is,
    instead of minimising over embeddings."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = dict(vars(cls))
        if own.get("proven", False) and cls.__module__.partition(".")[0] != PACKAGE:
            raise ValueError(
                f"{cls.__name__} says that it is proven, which is kept for the losses of "
                f"{PACKAGE}; write convex = True, which is checked."
            )
        changed = _changes(cls)
        if not changed or _is_abstract(cls):
            return
        if not isinstance(own.get("convex"), bool):
            raise ValueError(
                f"{cls.__name__} does not say whether it is convex in the Gram matrix, on which "
                "certificates rest; write convex = True or convex = False in its class."
            )
        completed = all(_is_abstract_method(super(cls, cls), name) for name in changed)
        if completed or own.get("proven", False):
            return
        for name, needed in _DERIVED.items():
            if not own.keys() & set(needed):
                setattr(cls, name, vars(GramLoss)[name])

    def __post_init__(self) -> None:
        """Hyper-parameters that are lists become arrays: a list is no leaf of a pytree."""
        for name, value in traced_fields(self):
            if isinstance(value, (list, tuple)):
                object.__setattr__(self, name, concrete(value, name))

    @abc.abstractmethod
    def from_gram(self, gram: Float[Array, "N N"], structure: ClassStructure) -> Scalar:
        """L(G) for a Gram matrix with unit diagonal."""

    def prepare(self, structure: ClassStructure) -> Any:
        """What `value` needs of the structure and no hyper-parameter changes (for example masks).

        Losses that prepare arrays of the same shapes share one compiled kernel, whatever the
        structures they come from.
        """
        return structure

    def value(self, gram: Float[Array, "N N"], prepared: Any) -> Scalar:
        """L(G) from what `prepare` returned."""
        return self.from_gram(gram, prepared)

    def prepare_blocks(self, structure: ClassStructure) -> Any:
        """What `of_blocks` needs of a balanced structure."""
        return structure

    def of_blocks(self, similarities: Similarities, blocks: Any) -> Scalar:
        """L of the Gram matrix that is constant on the blocks of a balanced structure.

        Args:
            similarities: of views, within a class, and between classes; three scalars.
            blocks: what `prepare_blocks` returned.
        """
        return self.from_gram(block_gram(blocks, *similarities), blocks)

    def without_conventions(self) -> GramLoss:
        """The loss without the static choices that `prepare` has absorbed.

        Two losses that are equal here share one compiled kernel.
        """
        return self

    def sensitivity(self, gram: Float[Array, "N N"], prepared: Any) -> Scalar:
        r"""The size of the terms that the gradient is summed from, for rounding margins.

        At least :math:`\sum_{ij} |\partial L / \partial G_{ij}|` before anything cancels. By
        default an estimate: four times the largest such sum at G, at orthogonal and at coinciding
        embeddings; or half way to coinciding ones, where the loss is infinite there.
        """

        def terms(probe: Array) -> Scalar:
            return jnp.sum(jnp.abs(jax.grad(self.value)(probe, prepared)))

        def finite(terms: Scalar) -> Scalar:
            return jnp.where(jnp.isfinite(terms), terms, 0)

        ones = jnp.ones_like(gram)
        together = terms(ones)
        near = jax.lax.cond(
            jnp.isfinite(together), lambda: together, lambda: finite(terms(0.5 * (gram + ones)))
        )
        apart = finite(terms(jnp.eye(len(gram), dtype=gram.dtype)))
        return 4 * jnp.max(jnp.stack([terms(gram), apart, near]))

    def magnitude(self, value: Scalar, slope: Scalar) -> Scalar:
        """The size of the terms that a value is summed from, for rounding margins.

        Args:
            value: L at some G.
            slope: the sum of the absolute values of its derivatives there, at least. As |G| ≤ 1,
                it is an estimate of what may have cancelled.
        """
        return 1 + jnp.abs(value) + slope

    def softmax(self, prepared: Any, dtype: Any = float) -> tuple[Array, Array, Array] | None:
        r"""The loss in the form of `ssem_jax.losses.contrast.softmax_contrast`, if it has that
        form.

        .. math:: L(G) = \sum_i \omega_i \log \sum_{j \in D_i} e^{G_{ij}/\tau}
                  - \langle W, G \rangle/\tau, \qquad \omega_i = \sum_j W_{ij}, \; W \ge 0

        Its bounds then need no convexity check and have the smallest rounding margins.

        Returns:
            (N, N) weights W, right to `ssem_jax.certificate.rounding.WEIGHT_ROUNDINGS`; (N, N) ones
            where j is in D_i and zeros elsewhere; τ. None for a loss of another form.
        """
        return None

    def terms(self, structure: ClassStructure) -> Terms | None:
        """The loss by its terms over the kinds of pairs of its `roles`; one cell.

        With them come certificates, brackets and bounds of entries, whatever N is
        (:func:`ssem_jax.certificate.certify_program`).

        Returns:
            The terms; None for a loss that does not say them.
        """
        return None

    def heated(self: L, stage: Float[Array, ""] | float) -> L:
        """The loss at `stage` in [0, 1] of a path from an easier one to itself at 1.

        A solver walks the path where the direct way fails. A loss with a `temperature` is led
        geometrically from τ = 0.5 down to its own; any other has no path and is itself.
        """
        temperature = getattr(self, "temperature", None)
        if temperature is None:
            return self
        tau = jnp.asarray(temperature)
        hot = jnp.maximum(tau, HOT_TEMPERATURE)
        return dataclasses.replace(self, temperature=tau * (hot / tau) ** (1 - stage))

    def check_structure(self, structure: ClassStructure) -> None:  # noqa: B027 (most losses admit any)
        """Raise a ValueError where the structure does not admit this loss."""

    def checked_gram(self, gram: Float[Array, "N N"], structure: ClassStructure) -> Array:
        """A Gram matrix, in 32 bits at least, that fits the structure; one cell of a loss.

        Raises:
            ValueError: what :meth:`check_structure` raises, G is not N × N, or hyper-parameters
                that carry a batch axis.
        """
        check_structure(structure)
        self.check_structure(structure)
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(self)]
        if any(shapes):
            raise ValueError(
                f"the hyper-parameters of {type(self).__name__} must be numbers here; got shapes "
                f"{shapes}. Use jax.vmap over the loss for a batch."
            )
        gram = jnp.asarray(gram, jnp.promote_types(jnp.asarray(gram).dtype, jnp.float32))
        if gram.shape != (structure.num_embeddings,) * 2:
            raise ValueError(
                f"the Gram matrix of {structure} is {structure.num_embeddings} × "
                f"{structure.num_embeddings}; got {gram.shape}."
            )
        return gram

    def __call__(self, embeddings: Float[Array, "N d"], structure: ClassStructure) -> Scalar:
        """L(U Uᵀ) of embeddings, whose rows are normalised first.

        For SupCL of many embeddings, :func:`ssem_jax.supcl_loss` avoids the N × N matrix.
        """
        rows = whole(jnp.asarray(embeddings))
        unit = normalize(rows.astype(jnp.promote_types(rows.dtype, jnp.float32)))
        return self.from_gram(product(unit, unit.T), structure)


class PreparedLoss(GramLoss):
    """A loss that prepares arrays of a structure, so that structures of one size share a kernel.

    A subclass writes `prepare` and `value`.
    """

    @abc.abstractmethod
    def prepare(self, structure: ClassStructure) -> Any:
        """What `value` needs of the structure and no hyper-parameter changes."""

    @abc.abstractmethod
    def value(self, gram: Float[Array, "N N"], prepared: Any) -> Scalar:
        """L(G) from what `prepare` returned."""

    def from_gram(self, gram: Float[Array, "N N"], structure: ClassStructure) -> Scalar:
        """L(G) for a Gram matrix with unit diagonal.

        Raises:
            ValueError: a structure that the loss does not admit, G is not N × N, or
                hyper-parameters that carry a batch axis.
        """
        return self.value(self.checked_gram(gram, structure), self.prepare(structure))


def traced_fields(loss: GramLoss) -> list[tuple[str, Any]]:
    """Name and value of every field that is no static choice."""
    fields = dataclasses.fields(loss)
    return [(f.name, getattr(loss, f.name)) for f in fields if not f.metadata.get("static")]
