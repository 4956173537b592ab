"""Shapes and types of all that the package is called with and returns, checked while tests run.

One switch, in `conftest.py`: unless `SSEM_CHECKED=0`, :func:`check_package` puts :func:`checked`
around every function of the package. Arguments are checked **after** a call, together with what it
returned. So a function that refuses its arguments itself is heard with its own words, as tests of
wrong calls ask; one that takes what its annotation excludes is found out. Of a dataclass, what it
holds is checked, for it may be made of more than it holds: sizes of a text, counts of whole floats.
Functions within functions are left as they are: what they take has been checked on the way in.

What is checked of an array are its shape and the kind of its numbers; a NumPy array is taken
wherever a JAX array is, as functions of JAX do. Whether values are what annotations say is seen
from their :func:`form`, so a function is checked once for all calls of one form: proofs make
hundreds of thousands.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib.abc
import importlib.machinery
import inspect
import operator
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterable
from typing import Any

import jax
import numpy as np
from beartype import BeartypeConf
from beartype.door import die_if_unbearable
from jaxtyping import AbstractArray, jaxtyped

CONFIGURATION = BeartypeConf(is_pep484_tower=True)
"""For type checkers an int is a float."""

Named = Iterable[tuple[str, Any]]

PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)})
"""No annotation of the package tells values of these types apart."""


class _Marked(ast.NodeTransformer):
    """Source with :func:`checked` next to every function of a module and of its classes."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.decorator_list.append(ast.Name("__checked__", ast.Load()))
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        self.generic_visit(node)
        node.decorator_list.insert(0, ast.Name("__checked__", ast.Load()))
        return node


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        tree = _Marked().visit(ast.parse(self.get_data(path)))
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)

    def exec_module(self, module: types.ModuleType) -> None:
        vars(module)["__checked__"] = checked
        super().exec_module(module)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname.partition(".")[0] != self.package:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def check_package(package: str) -> None:
    """Check every call of a package that is not imported yet."""
    sys.meta_path.insert(0, _Finder(package))


class _NoFormError(Exception):
    """A value whose kind and shape do not tell what it holds."""


def form(value: Any) -> Any:
    """What annotations see of a value: its type, its shape, and what it holds, alike throughout.

    Raises:
        _NoFormError: it holds what has to be looked at anew.
    """
    kind = type(value)
    if kind in PLAIN:
        return kind
    if kind is np.ndarray or isinstance(value, (np.ndarray, np.generic, jax.Array)):
        return kind, value.shape, value.dtype
    if kind is tuple or kind is list:
        forms = tuple(map(form, value))
    elif kind is dict:
        forms = tuple((form(name), form(held)) for name, held in value.items())
    elif isinstance(value, type):
        return kind, value
    elif isinstance(value, tuple) or not isinstance(value, Collection):
        return kind
    else:
        raise _NoFormError
    if len(set(forms)) > 1:  # of which beartype may look at one alone
        raise _NoFormError
    return kind, forms[:1], len(forms) if kind is tuple else bool(forms)


def forms_of(values: Iterable[Any], *names: str) -> Any:
    """The forms of some values, or what is like nothing else if one has none."""
    try:
        return (*map(form, values), *names)
    except _NoFormError:
        return object()


def on_the_host_too(hint: Any, scope: dict[str, Any]) -> Any:
    """A type in which every JAX array may be one of NumPy; a variable is what bounds it."""
    if isinstance(hint, typing.TypeVar):
        bounds = hint.__constraints__ or (hint.__bound__ or Any,)
        hint = functools.reduce(operator.or_, (resolved(bound, scope) for bound in bounds))
    if hint is jax.Array:
        return jax.Array | np.ndarray
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        if hint.array_type is jax.Array:
            return hint.dtype[jax.Array | np.ndarray, hint.dim_str]
        return hint
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.TypeGuard:
        return bool
    if origin in (typing.Union, types.UnionType):
        return functools.reduce(operator.or_, (on_the_host_too(one, scope) for one in inner))
    if origin in (tuple, list, dict):
        return types.GenericAlias(origin, tuple(on_the_host_too(one, scope) for one in inner))
    return hint


def resolved(hint: Any, scope: dict[str, Any]) -> Any:
    """An annotation that may be text; None of what type checkers alone know."""
    alone: Any = types.SimpleNamespace(__annotations__={"it": hint})
    try:
        return typing.get_type_hints(alone, scope, include_extras=True)["it"]
    except NameError:
        return None


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function that are known when it runs."""
    scope = function.__globals__
    found = {name: resolved(hint, scope) for name, hint in function.__annotations__.items()}
    return {name: on_the_host_too(hint, scope) for name, hint in found.items() if hint is not None}


class _Check:
    """The check of one function; what it needs is made at the first call, which most never have."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.known: set[Any] = set()

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        return hints_of(self.function)

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.function)

    def __call__(self, values: Named, forms: Any) -> None:
        """Raise where values are not what the annotations say; none of these forms did yet."""
        with jaxtyped("context"):
            for name, value in values:
                self.one(name, value)
        if isinstance(forms, tuple):
            self.known.add(forms)

    def one(self, name: str, value: Any) -> None:
        if name in self.hints:
            prefix = f"{self.function.__qualname__}, {name}: "
            die_if_unbearable(value, self.hints[name], conf=CONFIGURATION, exception_prefix=prefix)

    def of_call(self, arguments: tuple[Any, ...], named: dict[str, Any], result: Any) -> Named:
        """What a call was given and has given, by the names of annotations."""
        for name, value in self.signature.bind(*arguments, **named).arguments.items():
            kind = self.signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                yield from ((name, each) for each in value)
            elif kind is inspect.Parameter.VAR_KEYWORD:
                yield from ((name, each) for each in value.values())
            else:
                yield name, value
        yield "return", result


def checked(thing: Any) -> Any:
    """A function that raises where arguments or result are not what its annotations say; or a
    class, whose constructor does if it is a dataclass."""
    if isinstance(thing, type):
        if dataclasses.is_dataclass(thing) and "__init__" in vars(thing):
            thing.__init__ = _constructor(thing)
        return thing
    check = _Check(thing)

    @functools.wraps(thing)
    def call(*arguments: Any, **named: Any) -> Any:
        result = thing(*arguments, **named)
        forms = forms_of((*arguments, *named.values(), result), *named)
        if forms not in check.known:
            check(check.of_call(arguments, named, result), forms)
        return result

    # Messages tell the line of a user's code, which is all that is not the package's own.
    own: Any = call
    own.__code__ = own.__code__.replace(co_filename=thing.__code__.co_filename)
    return call


def _constructor(cls: Any) -> Callable[..., None]:
    """The constructor of a dataclass that checks what has become of its arguments."""
    make = cls.__init__
    check, names = _Check(make), [field.name for field in dataclasses.fields(cls) if field.init]

    @functools.wraps(make)
    def call(self: Any, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        held = [getattr(self, name) for name in names]
        forms = forms_of(held)
        if forms not in check.known:
            check(zip(names, held, strict=True), forms)

    return call
