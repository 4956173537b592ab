"""Shapes and types of all that the package is called with and returns, checked while tests run.

One switch, in `conftest.py`: unless `SSEM_CHECKED=0`, jaxtyping's import hook puts :func:`checked`
around every function of the package. Arguments are checked **after** a call, together with what it
returned. So a function that refuses its arguments itself is heard with its own words, as tests of
wrong calls ask; one that takes what its annotation excludes is found out. Of a dataclass, what it
holds is checked, for it may be made of more than it holds: sizes of a text, counts of whole floats.

What is checked of an array are its shape and the kind of its numbers; a NumPy array is taken
wherever a JAX array is, as functions of JAX do.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import operator
import types
import typing
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray

_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""For type checkers an int is a float."""


def on_the_host_too(hint: Any) -> Any:
    """A type in which every JAX array may be one of NumPy."""
    if hint is jax.Array:
        return jax.Array | np.ndarray
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        if hint.array_type is jax.Array:
            return hint.dtype[jax.Array | np.ndarray, hint.dim_str]
        return hint
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return functools.reduce(operator.or_, map(on_the_host_too, inner))
    if origin in (tuple, list, dict):
        return types.GenericAlias(origin, tuple(map(on_the_host_too, inner)))
    return hint


def held(function: Callable[..., Any], arguments: Any, named: Any) -> tuple[Any, Any]:
    """The arguments of a call; those of a dataclass's constructor as its fields hold them now."""
    owner = arguments[0] if arguments else None
    if function.__name__ != "__init__" or not dataclasses.is_dataclass(owner):
        return arguments, named
    bound = inspect.signature(function).bind(*arguments, **named)
    for name in bound.arguments.keys() & {field.name for field in dataclasses.fields(owner)}:
        bound.arguments[name] = getattr(owner, name)
    return bound.args, bound.kwargs


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that raises where arguments or result are not what its annotations say.

    jaxtyping hands over two stand-ins for each function of the package, one that takes its
    arguments, and one that takes its result as well, by a keyword. The first is left as it is.
    Functions within functions are, too: they are made anew in every call, and what they take has
    been checked on the way in.
    """
    code = function.__code__
    keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    takes_result = any(name.startswith("ret") for name in keywords)
    if not takes_result or "<locals>" in function.__qualname__:
        return function
    made: list[Callable[..., Any]] = []

    def check(*arguments: Any, **named: Any) -> Any:
        if not made:  # at the first call: most functions are never called in one process
            hints = function.__annotations__
            function.__annotations__ = {name: on_the_host_too(x) for name, x in hints.items()}
            made.append(_beartype(function))
        arguments, named = held(function, arguments, named)
        return made[0](*arguments, **named)

    return check
