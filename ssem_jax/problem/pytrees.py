"""Dataclasses whose fields are traced leaves or static."""

from __future__ import annotations

import dataclasses
import weakref
from typing import Any, TypeVar, dataclass_transform

import jax

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def pytree_dataclass(cls: type[T]) -> type[T]:
    """A frozen dataclass that is a pytree: fields marked ``metadata={"static": True}`` are static.

    Unflattening fills the fields without running ``__init__``, so that validation sees what a
    user builds and never what JAX rebuilds.
    """
    cls = dataclasses.dataclass(frozen=True)(cls)
    cls.__setstate__ = _restore  # pyright: ignore[reportAttributeAccessIssue]
    _register(cls)
    return cls


def _restore(instance: Any, state: dict[str, Any]) -> None:
    """Fill an instance that was pickled; a class that came with it, by its code, is new here."""
    cls = type(instance)
    if "__setstate__" in vars(cls):  # not of a class that is derived, and was never one
        _register(cls)
    instance.__dict__.update(state)


_KNOWN: weakref.WeakSet[type] = weakref.WeakSet()
"""The classes that JAX knows as pytrees."""


def _register(cls: type[T]) -> None:
    if cls in _KNOWN:
        return
    fields = dataclasses.fields(cls)  # pyright: ignore[reportArgumentType] (it is a dataclass now)
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
    _KNOWN.add(cls)
