"""A function of the Gram matrix as a loss: what `gram_loss` decorates."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssem_jax.losses.base import GramLoss, Scalar, traced_fields
from ssem_jax.problem.pytrees import pytree_dataclass
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import check_temperature, check_type, concrete, shown


def gram_loss(
    function: Callable[..., Any] | None = None,
    /,
    *,
    convex: bool | None = None,
    symmetric: bool = False,
    check: Callable[[ClassStructure], None] | None = None,
) -> Any:
    r"""Make a :class:`GramLoss` of a function ``loss(gram, structure, *, parameter=...)``.

    The result is a class that bears the function's name. Its parameters after the first two become
    fields: those whose default is a number, or that have none, are traced leaves and may carry a
    batch axis; those with another default (a string, a bool, a tuple) are static. A parameter
    named `temperature` must be positive, and gives the solver a path of falling temperatures.
    Instances can be pickled where the function is defined at the top level of a module.

    Args:
        function: of a Gram matrix (N, N) of unit diagonal and its :class:`ClassStructure`; returns
            a scalar, differentiable by JAX. ``structure.class_ids`` and ``instance_ids`` are (N,).
        convex: whether it is convex in the Gram matrix. It must be said, for certificates rest on
            it; it is checked by samples before anything is certified.
        symmetric: whether classes of equal size, the instances of a class, and the views of an
            instance may be permuted; checked as well. Brackets and phases need it.
        check: raises a ValueError on a structure that the loss does not admit.

    Returns:
        The class, or a decorator that makes it.

    Raises:
        ValueError: it is not said whether the function is convex; a function without the two
            arguments, or with starred ones.
    """
    flags = {"symmetric": symmetric} | ({} if convex is None else {"convex": convex})
    for name, flag in flags.items():
        check_type(name, flag, bool, "True or False")
    if check is not None and not callable(check):
        raise ValueError(f"check must be a function of a ClassStructure; got {shown(check)}.")
    if function is None:
        return lambda late: gram_loss(late, convex=convex, symmetric=symmetric, check=check)
    if not inspect.isfunction(function):
        raise ValueError(f"gram_loss makes a loss of a function; got {shown(function)}.")
    if not isinstance(convex, bool):
        raise ValueError(
            f"{function.__name__} does not say whether it is convex in the Gram matrix, on which "
            "certificates rest; write @gram_loss(convex=True) or @gram_loss(convex=False)."
        )
    kinds = inspect.Parameter
    parameters = list(inspect.signature(function).parameters.values())
    starred = [p for p in parameters if p.kind in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)]
    by_place = (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    if len(parameters) < 2 or starred or any(p.kind not in by_place for p in parameters[:2]):
        raise ValueError(
            f"{function.__name__} must take (gram, structure, *, parameters...), each parameter by "
            f"its name; got {inspect.signature(function)}."
        )
    namespace: dict[str, Any] = {
        "__module__": function.__module__,
        "__qualname__": function.__qualname__,
        "__doc__": function.__doc__,
        "__annotations__": {parameter.name: Any for parameter in parameters[2:]},
        "convex": convex,
        "symmetric": symmetric,
        "function": staticmethod(function),
        "structure_check": staticmethod(check or (lambda structure: None)),
    }
    for parameter in parameters[2:]:
        bare = parameter.default is kinds.empty
        number = isinstance(parameter.default, (int, float, np.number, np.ndarray, jax.Array))
        static = not bare and (not number or isinstance(parameter.default, bool))
        namespace[parameter.name] = dataclasses.field(
            default=dataclasses.MISSING if bare else parameter.default,
            kw_only=parameter.kind is kinds.KEYWORD_ONLY,
            metadata={"static": static},
        )
    return pytree_dataclass(type(function.__name__, (_FunctionLoss,), namespace))


class _FunctionLoss(GramLoss):
    """What :func:`gram_loss` builds on: the fields are the function's parameters."""

    convex: ClassVar[bool] = False  # each function says its own

    function: ClassVar[Callable[..., Any]]
    structure_check: ClassVar[Callable[[ClassStructure], None]]

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in traced_fields(self):
            if not isinstance(value, GramLoss):
                concrete(value, name)
        if (temperature := getattr(self, "temperature", None)) is not None:
            check_temperature(temperature)

    def check_structure(self, structure: ClassStructure) -> None:
        """What `gram_loss` was given to check."""
        type(self).structure_check(structure)

    def from_gram(self, gram: Float[Array, "N N"], structure: ClassStructure) -> Scalar:
        """The function of a Gram matrix with unit diagonal.

        Raises:
            ValueError: as :func:`gram_loss` says, and where the function returns no scalar.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        value = self.function(self.checked_gram(gram, structure), structure, **fields)
        if jnp.shape(value) != ():
            raise ValueError(
                f"{type(self).__name__} must return one number; got shape {jnp.shape(value)}. "
                "Sum or average over the pairs."
            )
        return value
