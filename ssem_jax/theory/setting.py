"""What goes in: m, n, p and the convention, or a structure and a loss; checked and broadcast."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import (
    Any,
    NamedTuple,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    overload,
    runtime_checkable,
)

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Bool, Float

from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.supcl import SupCL, SupCon
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import (
    check_choice,
    check_count,
    check_mixing,
    check_temperature,
    check_type,
    concrete,
    require_x64,
)

SELF_PAIRS = ("include", "exclude", "decouple")

VIEW, WITHIN, BETWEEN = range(3)


# ---------------------------------------------------------------------------------------------
# The reduced loss. Leading axis of length 3: view, within, between.
# ---------------------------------------------------------------------------------------------


class Setting(NamedTuple):
    """m, n, p and w as float64 arrays of one shape."""

    m: Float[Array, "*batch"]
    n: Float[Array, "*batch"]
    p: Float[Array, "*batch"]
    w: Float[Array, "*batch"]

    @property
    def gap(self) -> Float[Array, "*batch"]:
        """1 - s_between in full collapse, -τ log r."""
        return self.m / (self.m - 1)

    @property
    def excluded(self) -> Bool[Array, "*batch"]:
        """Whether self pairs are excluded and there are views that could part."""
        return (self.w > 0) & (self.w < 1)

    @property
    def counts(self) -> Float[Array, "3 ..."]:
        """c: terms of each kind in an anchor's denominator, divided by p."""
        return jnp.stack([self.w, self.n - 1, self.n * (self.m - 1)])

    def slopes(self, leader: int) -> Float[Array, "3 ..."]:
        """dD/dx along the ray on which the kind `leader` moves fastest: b = n x or a = p x."""
        if leader == WITHIN:
            return jnp.stack([jnp.zeros_like(self.n), self.n, -(self.n - 1) / (self.m - 1)])
        return jnp.stack([self.p, self.p - 1, -(self.p - 1) / (self.m - 1)])

    def dissimilarities(self, displacement: Array | float) -> Float[Array, "3 ..."]:
        """D at `displacement` = slopes · x from full collapse."""
        zero = jnp.zeros_like(self.m)
        return jnp.stack([zero, zero, self.gap]) + displacement


# ---------------------------------------------------------------------------------------------
# What goes in.
# ---------------------------------------------------------------------------------------------


def _check_counts(name: str, value: ArrayLike, least: int) -> None:
    values = concrete(value, name)
    for number in () if values is None else np.unique(values):
        check_count(name, float(number), least)


def anywhere(condition: Callable[..., np.ndarray], *values: ArrayLike) -> bool:
    """Whether a condition holds anywhere, as far as there are concrete values to look at."""
    numbers = [concrete(value) for value in values]
    return all(number is not None for number in numbers) and bool(np.any(condition(*numbers)))


def prepare(
    num_classes: ArrayLike,
    num_instances: ArrayLike,
    num_views: ArrayLike,
    self_pairs: str,
    **hyper_parameters: ArrayLike,
) -> tuple[Setting, list[Array]]:
    """Validated and broadcast: the setting, then the hyper-parameters in the order given."""
    require_x64()
    check_choice("self_pairs", self_pairs, SELF_PAIRS)
    _check_counts("num_classes", num_classes, 2)
    _check_counts("num_instances", num_instances, 1)
    _check_counts("num_views", num_views, 1)
    if "temperature" in hyper_parameters:
        check_temperature(hyper_parameters["temperature"])
    if "alpha" in hyper_parameters:
        alpha = hyper_parameters["alpha"]
        check_mixing(alpha)
        if anywhere(lambda n, alpha: (n == 1) & (alpha < 1), num_instances, alpha):
            raise ValueError(
                "L_sup has no positive pair when num_instances is 1; got alpha < 1. "
                "Use alpha = 1 or more instances per class."
            )
        if self_pairs != "include" and anywhere(
            lambda p, alpha: (p == 1) & (alpha > 0), num_views, alpha
        ):
            raise ValueError(
                "num_views must be at least 2 when alpha > 0 and self pairs are "
                f"{self_pairs}d; got 1. Use alpha = 0, add views, or include self pairs."
            )
    given = (num_classes, num_instances, num_views, *hyper_parameters.values())
    # NumPy compiles nothing for each shape; these are exact operations, and the same in both.
    xp: Any = jnp if any(isinstance(x, Tracer) for x in jax.tree.leaves(given)) else np
    m, n, p, *hyper = xp.broadcast_arrays(*(xp.asarray(x, float) for x in given))
    prepared = Setting(m, n, p, self_weight(self_pairs, p)), hyper
    return prepared if xp is jnp else jax.device_put(prepared)


def self_weight(self_pairs: str, num_views: Any) -> Any:
    """w, what an instance weighs in its own denominators, of its p pairs: of a convention."""
    p = num_views
    return {"include": 1 + 0 * p, "exclude": (p - 1) / p, "decouple": 0 * p}[self_pairs]


# ---------------------------------------------------------------------------------------------
# A structure and a loss instead of numbers.
# ---------------------------------------------------------------------------------------------

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


@runtime_checkable
class ClosedForm(Protocol[P, R]):
    """A function of m, n, p, hyper-parameters and convention; or of what has them all."""

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    def __call__(self, structure: ClassStructure, loss: GramLoss, /, **others: Any) -> R: ...


def of_cell(function: Callable[P, R]) -> ClosedForm[P, R]:
    """Let a closed form take a structure and a loss, too, so that no convention is forgotten.

    Raises:
        ValueError: when called, for classes of different size and for losses without closed form.
    """
    names = list(inspect.signature(function).parameters)[3:]

    @functools.wraps(function)
    def either(*args: Any, **kwargs: Any) -> Any:
        if not (args and isinstance(args[0], ClassStructure)):
            return function(*args, **kwargs)
        structure, loss = _cell(function.__name__, *args)
        held = {name: getattr(loss, name) for name in names if hasattr(loss, name)}
        return function(*structure.counts, **(held | kwargs))  # pyright: ignore[reportCallIssue]

    return cast(ClosedForm[P, R], either)


def as_supcl(loss: Any, structure: ClassStructure) -> SupCL | None:
    """The loss as :class:`SupCL` on a balanced structure, or None; subclasses are other losses."""
    if type(loss) is SupCon:  # its one mean runs over (n-1)p and p-1 positives
        _, n, p = structure.counts
        return SupCL((p - 1) / (n * p - 1), loss.temperature, "exclude")
    return loss if type(loss) is SupCL else None


def _cell(name: str, structure: ClassStructure, *losses: Any) -> tuple[ClassStructure, SupCL]:
    """A balanced structure and a loss of known closed forms."""
    if len(losses) != 1:
        raise ValueError(
            f"theory.{name} takes numbers, or a structure and a loss and more by its name; got "
            f"{len(losses)} arguments after the structure."
        )
    (given,) = losses
    check_type("loss", given, GramLoss, "a loss, as SupCL(0.5, 0.1)")
    if not structure.is_balanced:
        raise ValueError(
            f"theory.{name} is of classes of equal size; got sizes {structure.sizes}. Use "
            "certificate.solve_reduced."
        )
    loss = as_supcl(given, structure)
    if loss is None:
        raise ValueError(
            f"theory.{name} is of SupCL; got {type(given).__name__}. Use solve and certify."
        )
    loss.check_structure(structure)
    return structure, loss
