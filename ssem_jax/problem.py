"""What is minimised: a class structure, an embedding dimension and a loss.

All validation of user input lives here, so that every other module may trust what it gets.
Validation looks at concrete values when an object is built; under ``jax.jit`` and ``jax.vmap``
the leaves are tracers and pass unchecked.
"""

from __future__ import annotations

import dataclasses
import enum
import re
import zlib
from collections.abc import Iterable, Mapping, Set
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import PRNGKeyArray

if TYPE_CHECKING:
    from ssem_jax.losses import GramLoss


T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def pytree_dataclass(cls: type[T]) -> type[T]:
    """A frozen dataclass that is a pytree: fields marked ``metadata={"static": True}`` are static.

    Unflattening fills the fields without running ``__init__``, so that validation sees what a
    user builds and never what JAX rebuilds.
    """
    cls = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(cls)
    static = tuple(field.name for field in fields if field.metadata.get("static", False))
    traced = tuple(field.name for field in fields if field.name not in static)

    def flatten(instance: T) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return (
            tuple(getattr(instance, name) for name in traced),
            tuple(getattr(instance, name) for name in static),
        )

    def flatten_with_keys(instance: T) -> tuple[Any, tuple[Any, ...]]:
        leaves, rest = flatten(instance)
        keys = map(jax.tree_util.GetAttrKey, traced)
        return tuple(zip(keys, leaves, strict=True)), rest

    def unflatten(rest: tuple[Any, ...], leaves: Any) -> T:
        instance = object.__new__(cls)
        for name, value in (*zip(traced, leaves, strict=True), *zip(static, rest, strict=True)):
            object.__setattr__(instance, name, value)
        return instance

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


def require_x64() -> None:
    """Raise unless JAX computes in 64 bits.

    Raises:
        ValueError: 64-bit mode is off; a certificate in float32 would certify nothing.
    """
    if not jax.config.jax_enable_x64:
        raise ValueError(
            "verification needs float64 but JAX computes in 32 bits; write "
            '`jax.config.update("jax_enable_x64", True)` before the first JAX computation.'
        )


def precision(bits: int) -> AbstractContextManager[Any]:
    """JAX in 32 or 64 bits for the duration of a `with` block, in this thread alone."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(bits == 64)
    from jax import experimental  # its name before jax 0.8

    return (experimental.enable_x64 if bits == 64 else experimental.disable_x64)()


NO_NUMBERS = "bOSUmMc"
"""Kinds of arrays that are refused where numbers are meant: bools, objects (so None), texts, dates,
complex numbers. NumPy would read 1.0 in True, nan in None and 0.5 in "0.5"."""


def concrete(
    value: Any, name: str = "a hyper-parameter", *, may_be_empty: bool = False
) -> np.ndarray | None:
    """The numbers in `value`, or None where there are none to look at yet (tracers).

    Raises:
        ValueError: not a number at all, or an empty array.
    """
    if isinstance(value, Tracer):
        return None
    try:
        array = np.asarray(value)
        if array.dtype.kind in NO_NUMBERS or not (array.size or may_be_empty):
            raise ValueError
        return np.asarray(array, np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be a number or an array of numbers; got {shown(value)}."
        ) from None


def as_array(value: Any, name: str) -> Any:
    """An array of numbers, of a list of them too; arrays keep their type and stay on their device.

    Raises:
        ValueError: no numbers.
    """
    given = isinstance(value, (jax.Array, np.ndarray))
    array = value if given else np.asarray(concrete(value, name, may_be_empty=True))
    if not jnp.issubdtype(array.dtype, jnp.floating) and not jnp.issubdtype(
        array.dtype, jnp.integer
    ):
        raise ValueError(f"{name} must be an array of numbers; got {shown(value)}.")
    return array


def shown(value: Any) -> str:
    """A value in one line, for a message."""
    text = " ".join(repr(value).split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… of type {type(value).__name__}"


SHOWN = 80
"""Characters of a value that a message quotes."""


def check_mixing(alpha: Any) -> None:
    """Raise a ValueError unless every concrete α lies in [0, 1]."""
    values = concrete(alpha, "alpha")
    if values is not None and not np.all((values >= 0) & (values <= 1)):
        raise ValueError(
            f"alpha must lie in [0, 1]; got {_worst(values, (values >= 0) & (values <= 1))}. "
            "It mixes (1-alpha)·L_sup + alpha·L_self."
        )


def check_temperature(temperature: Any) -> None:
    """Raise a ValueError unless every concrete τ is positive and finite."""
    check_positive("temperature", temperature, " Typical values lie between 0.05 and 5.")


def check_positive(name: str, value: Any, hint: str = "") -> None:
    """Raise a ValueError unless every concrete number is positive and finite."""
    values = concrete(value, name)
    if values is not None and not np.all((values > 0) & np.isfinite(values)):
        good = (values > 0) & np.isfinite(values)
        raise ValueError(f"{name} must be positive and finite; got {_worst(values, good)}.{hint}")


def check_count(name: str, value: Any, least: int) -> int:
    """`value` as an int of at least `least`.

    Raises:
        ValueError: not an integer, or too small.
    """
    if isinstance(value, (np.ndarray, jax.Array)) and not isinstance(value, Tracer):
        value = value.item() if value.shape == () else value  # a number in an array of its own
    number = isinstance(value, (int, float, np.integer, np.floating))
    if isinstance(value, bool) or not number or not float(value).is_integer() or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {shown(value)}.")
    return int(value)


def check_rows(points: np.ndarray) -> None:
    """Raise a ValueError unless every row is finite and not zero."""
    good = np.all(np.isfinite(points), axis=1) & np.any(points != 0, axis=1)
    if not good.all():
        row = int(np.argmin(good))
        what = "is zero" if np.all(points[row] == 0) else "is not finite"
        raise ValueError(f"every embedding must be finite and not zero; row {row} {what}.")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise a ValueError unless `value` is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, choices))}; got {shown(value)}."
        )


def check_type(name: str, value: Any, kind: type | tuple[type, ...], remedy: str) -> None:
    """Raise a ValueError unless `value` is an instance; `remedy` says what to write."""
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be {remedy}; got {shown(value)}.")


def check_progress(progress: Any) -> None:
    """Raise a ValueError unless it can be called with a number, or is None."""
    if progress is not None and not callable(progress):
        raise ValueError(f"progress must be a function of a number; got {shown(progress)}.")


def as_key(key: Any) -> PRNGKeyArray:
    """A JAX random key: of a new or of a raw one (uint32), or of an integer as its seed.

    Raises:
        ValueError: none of these.
    """
    if isinstance(key, (jax.Array, np.ndarray)):
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ():
            return key
        if key.dtype == np.uint32 and key.shape == jax.random.key_data(jax.random.key(0)).shape:
            return jax.random.wrap_key_data(jnp.asarray(key))
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool) and 0 <= key < 2**63:
        return jax.random.key(int(key))
    raise ValueError(
        f"key must be one JAX random key, as jax.random.key(0), or a seed; got {shown(key)}."
    )


def stable_text(value: Any) -> str:
    """What an object shows of itself, without addresses: the same in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def _worst(values: np.ndarray, good: np.ndarray) -> float:
    return float(values[~good].flat[0]) if values.ndim else float(values)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class ClassStructure:
    r"""How N embeddings are grouped: m classes, n_k instances in class k, p views of each.

    Rows are ordered by class, then by instance, then by view, so that
    :math:`N = p \sum_k n_k`. Balanced classes are the special case of equal sizes.

    Args:
        sizes: instances per class, one integer of at least 1 for each of m ≥ 2 classes; also as
            "8,4,2", as tables write them.
        num_views: p, the views (augmentations) of every instance.

    Raises:
        ValueError: fewer than two classes, or a count below 1.
    """

    sizes: tuple[int, ...]
    num_views: int = 1

    def __post_init__(self) -> None:
        sizes = tuple(check_count("every class size", size, 1) for size in _sizes(self.sizes))
        if len(sizes) < 2:
            raise ValueError(
                f"there must be at least 2 classes; got {len(sizes)}. "
                "With one class nothing is contrasted."
            )
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "num_views", check_count("num_views", self.num_views, 1))

    @classmethod
    def balanced(cls, num_classes: int, num_instances: int, num_views: int = 1) -> ClassStructure:
        """m classes of n instances each, with p views."""
        return cls((num_instances,) * check_count("num_classes", num_classes, 2), num_views)

    @classmethod
    def from_labels(
        cls, labels: Iterable[Any], num_views: int = 1
    ) -> tuple[ClassStructure, np.ndarray]:
        """The structure of labelled embeddings, and the order of rows that it assumes.

        Args:
            labels: one label for each embedding; the `num_views` views of an instance are
                adjacent rows and share their label.
            num_views: p.

        Returns:
            The structure (classes in sorted order of their labels) and the permutation `order`
            such that `embeddings[order]` is ordered by class, instance and view.

        Raises:
            ValueError: labels of another shape, fewer than two classes, or labels that cannot be
                split into instances of `num_views` equal labels.
        """
        labels = _labels(labels)
        if labels.ndim != 1 or labels.size == 0:
            raise ValueError(f"labels must be one-dimensional and not empty; got {labels.shape}.")
        if labels.dtype.kind == "f" and np.isnan(labels).any():
            raise ValueError("labels must not be NaN; give unlabelled rows a class of their own.")
        num_views = check_count("num_views", num_views, 1)
        if labels.size % num_views:
            raise ValueError(
                f"{labels.size} labels cannot be split into instances of {num_views} views; "
                "check num_views."
            )
        grouped = labels.reshape(-1, num_views)
        if np.any(grouped != grouped[:, :1]):
            row = int(np.argmax(np.any(grouped != grouped[:, :1], axis=1))) * num_views
            raise ValueError(
                f"rows {row} to {row + num_views - 1} are views of one instance but carry "
                "different labels; order the rows so that the views of an instance are adjacent."
            )
        try:
            _, class_of, counts = np.unique(grouped[:, 0], return_inverse=True, return_counts=True)
        except TypeError as error:
            raise ValueError(f"labels must be of one kind, to be sorted; {error}.") from None
        by_class = np.argsort(class_of, kind="stable")
        order = (by_class[:, None] * num_views + np.arange(num_views)).ravel()
        return cls(tuple(int(count) for count in counts), num_views), order

    @property
    def num_classes(self) -> int:
        """m."""
        return len(self.sizes)

    @property
    def num_instances(self) -> int:
        """M, the instances of all classes together."""
        return sum(self.sizes)

    @property
    def num_embeddings(self) -> int:
        """N = p M."""
        return self.num_instances * self.num_views

    @property
    def is_balanced(self) -> bool:
        """Whether all classes have the same size."""
        return len(set(self.sizes)) == 1

    @property
    def instances_per_class(self) -> int:
        """n, the common class size.

        Raises:
            ValueError: the classes differ in size.
        """
        if not self.is_balanced:
            raise ValueError(
                f"instances_per_class needs classes of equal size; got sizes {self.sizes}. "
                "Use `sizes` instead."
            )
        return self.sizes[0]

    @cached_property
    def class_ids(self) -> np.ndarray:
        """(N,) class of every embedding."""
        per_class = np.asarray(self.sizes) * self.num_views
        return np.repeat(np.arange(self.num_classes), per_class)

    @cached_property
    def instance_ids(self) -> np.ndarray:
        """(N,) instance of every embedding, counted through all classes."""
        return np.repeat(np.arange(self.num_instances), self.num_views)

    def __str__(self) -> str:
        sizes = (
            f"{self.num_classes} classes × {self.sizes[0]}"
            if self.is_balanced
            else "classes of " + ",".join(map(str, self.sizes))
        )
        return sizes + (f" × {self.num_views} views" if self.num_views > 1 else "")


def _sizes(given: Any) -> Iterable[Any]:
    """The sizes one by one, also of a text as tables have it."""
    try:
        if isinstance(given, (Mapping, Set)):  # without an order, or with one of its keys alone
            raise TypeError
        return [float(size) for size in given.split(",")] if isinstance(given, str) else list(given)
    except (TypeError, ValueError):
        raise ValueError(
            "sizes must be integers, one for each class, as (8, 4, 2); got "
            f"{shown(given)}. Use ClassStructure.balanced for equal classes."
        ) from None


def _labels(given: Any) -> np.ndarray:
    """Labels one by one."""
    try:
        return np.asarray(given if isinstance(given, np.ndarray) else list(given))
    except (TypeError, ValueError):
        raise ValueError(
            f"labels must be one for each embedding, as [0, 0, 1, 1]; got {shown(given)}."
        ) from None


@pytree_dataclass
class Problem:
    r"""Minimise a Gram-convex loss over N unit vectors in R^d.

    .. math:: \min_{U \in (S^{d-1})^N} L(U U^\top)

    A pytree: the hyper-parameters of the loss are traced leaves and may carry one batch axis,
    the structure and the dimension are static. A `Problem` with a batch axis is a batch of cells.

    Args:
        structure: the class structure.
        dim: d ≥ 1, the embedding dimension.
        loss: the loss, for example :class:`ssem_jax.SupCL`.

    Raises:
        ValueError: d < 1, what is no structure or no loss, a loss that the structure does not
            admit (no positive pair), or hyper-parameters of different batch axes.
    """

    structure: ClassStructure = dataclasses.field(metadata={"static": True})
    dim: int = dataclasses.field(metadata={"static": True})
    loss: GramLoss

    def __post_init__(self) -> None:
        check_structure(self.structure)
        object.__setattr__(self, "dim", check_count("dim", self.dim, 1))
        check_loss(self.loss)
        self.loss.check(self.structure)
        _ = self.batch_size

    @property
    def batch_size(self) -> int | None:
        """The number of cells, or None for a single problem."""
        shapes = {np.shape(leaf) for leaf in jax.tree.leaves(self.loss)} - {()}
        if not shapes:
            return None
        if len(shapes) > 1 or len(next(iter(shapes))) > 1:
            raise ValueError(
                f"hyper-parameters may carry one common batch axis; got shapes {sorted(shapes)}."
            )
        return next(iter(shapes))[0]

    def cells(self) -> tuple[GramLoss, int]:
        """The loss with a batch axis on every leaf (on the host), and the number of cells.

        Leaves are float64, whatever number was given, and zeros have no sign: so 1 and 1.0 are
        one cell with one key, solved by one compiled kernel and bracketed in double precision.
        """
        size = self.batch_size or 1

        def batched(leaf: Any) -> np.ndarray:
            return np.broadcast_to(np.asarray(leaf, np.float64) + 0.0, (size,))

        return jax.tree.map(batched, self.loss), size


def cell_keys(problem: Problem, key: PRNGKeyArray) -> PRNGKeyArray:
    """A key for each cell, from the cell's own coordinates.

    So a cell's result depends neither on the batch that it is solved in nor on its place there.
    """
    losses, size = problem.cells()
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(losses)]
    name = f"{type(problem.loss).__name__}|{problem.structure}|{problem.dim}|"
    name += stable_text(jax.tree.structure(problem.loss))
    hashes = [
        zlib.crc32((name + "|" + ",".join(leaf[cell].tobytes().hex() for leaf in leaves)).encode())
        for cell in range(size)
    ]
    return jax.vmap(jax.random.fold_in, (None, 0))(key, np.asarray(hashes, np.uint32))


def check_structure(structure: Any) -> None:
    """Raise a ValueError unless it is a class structure."""
    check_type(
        "structure", structure, ClassStructure, "a ClassStructure, as ClassStructure((5, 5, 5))"
    )


def check_loss(loss: Any) -> None:
    """Raise a ValueError unless it is a loss, with its hyper-parameters given.

    Known by what a loss has: :class:`ssem_jax.GramLoss` itself stands on this module.
    """
    if not isinstance(loss, type) and callable(getattr(loss, "from_gram", None)):
        return
    if isinstance(loss, type) and hasattr(loss, "from_gram"):
        raise ValueError(
            f"loss must be given its hyper-parameters, as {loss.__name__}(...); got the class."
        )
    remedy = " Decorate the function with ssem_jax.gram_loss." if callable(loss) else ""
    raise ValueError(f"loss must be a GramLoss, as SupCL(0.5, 0.1); got {shown(loss)}.{remedy}")


def check_problem(problem: Any) -> None:
    """Raise a ValueError unless it is a problem."""
    check_type("problem", problem, Problem, "a Problem(structure, dim, loss)")


def full_dimension(structure: ClassStructure, self_pairs: str = "include") -> int:
    """The smallest d that admits an unconstrained optimum at every (α, τ).

    With M instances, m classes and p views: M-1 when self pairs are included or instances are
    decoupled; when they are excluded and p ≥ 2 the view-spread phase needs M(p-1) + m - 1, so the
    larger of the two.
    """
    check_structure(structure)
    check_choice("self_pairs", self_pairs, ("include", "exclude", "decouple"))
    spread = structure.num_instances - 1
    if self_pairs != "exclude" or structure.num_views == 1:
        return spread
    view_spread = structure.num_instances * (structure.num_views - 1) + structure.num_classes - 1
    return max(spread, view_spread)


class Phase(enum.IntEnum):
    """What an optimum looks like, or what a certificate could tell of it."""

    COLLAPSE = 0
    """All embeddings of a class coincide."""
    SPREAD = 1
    """The instance means of a class differ: no class collapse."""
    VIEW_SPREAD = 2
    """The instance means of a class coincide, the views of an instance do not."""
    UNDECIDED = 3
    """The evidence does not tell."""
