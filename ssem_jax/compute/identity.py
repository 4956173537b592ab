"""What a stored result is *of*: a digest of values and of all the code that they reach.

A result may be reused only for the loss that it was computed for, and a loss is its code, not its
name. :func:`digest` walks a value and hashes

* numbers, text and arrays by their exact content, containers and objects by what they hold;
* functions by their bytecode and constants, defaults, closure, and every global that they name, so
  that an edit of the body, of a helper, or of a constant anywhere below is another identity;
* classes by their name, bases, attributes and methods;
* what comes from an installed package by its name there and by the version of the package, without
  a look inside. The packages of `NAMED_BY_MANIFEST` count by name alone: a run folder keeps what
  another version of them made, and says so. This package counts by a digest of its own sources.

The digest is the same in every process of one version of Python: no address, no place in a file, no
order of a set, no path enters it. What has neither content nor code to be had (a lock, a generator,
a function compiled elsewhere), or reaches what no digest of code sees (a file, the clock, the
environment), has **no identity**: a :class:`NoIdentityError` says what and where. Of such a loss
nothing is stored and nothing reused.
"""

from __future__ import annotations

import builtins
import dataclasses
import dis
import enum
import functools
import hashlib
import importlib
import importlib.util
import itertools
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

PACKAGE = __name__.partition(".")[0]
"""This package, whichever room this file stands in."""
NAMED_BY_MANIFEST = ("jax", "jaxlib", "numpy", "polars", "flint")
"""Packages whose versions a run's manifest names, and whose change is a line in the log."""

OUTSIDE = (
    *(f"builtins.{name}" for name in ("open", "eval", "exec", "compile", "globals", "__import__")),
    *("os", "posix", "io", "pathlib", "glob", "tempfile", "shutil", "socket", "subprocess"),
    *("urllib", "random", "secrets", "time"),
    *(f"numpy.{name}" for name in ("load", "loadtxt", "genfromtxt", "fromfile", "memmap")),
    *("numpy.random", "jax.numpy.load"),
)
"""Where values come from that no digest of code can see."""

_OWN = Path(*sys.modules[PACKAGE].__path__)
_JITTED = type(jax.jit(lambda: None))
_GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_ATTRIBUTE = ("LOAD_ATTR", "LOAD_METHOD")
_NOT_OF_CLASS = """
    __dict__ __weakref__ __doc__ __module__ __qualname__ __firstlineno__ __static_attributes__
    __annotations__ __annotate__ __annotate_func__ __annotations_cache__ __abstractmethods__
    _abc_impl __dataclass_fields__ __dataclass_params__ __match_args__ __parameters__
    __orig_bases__ __slots__ __slotnames__
""".split()  # noqa: SIM905
"""Attributes of a class that say where it stands or what it is called, not what it does."""
_DESCRIPTORS = (types.GetSetDescriptorType, types.MemberDescriptorType)


class NoIdentityError(ValueError):
    """A value that cannot be told from another one; the message says which, and why."""


def digest(*values: Any, versions: bool = True) -> str:
    """64 hexadecimal digits, the same for the same content and code.

    Args:
        values: whatever a result depends on.
        versions: whether versions of packages count, or their names alone.

    Raises:
        NoIdentityError: a value has neither content nor code to be had.
    """
    walk = _Walk(versions)
    try:
        for value in values:
            walk.visit(value)
    except RecursionError:
        raise NoIdentityError("what it reaches is nested too deeply to be hashed.") from None
    return walk.hash.hexdigest()


@functools.cache
def own_code() -> str:
    """Version of this package and a digest of its sources, which are edited between versions."""
    sources = hashlib.sha256()
    for path in sorted(_OWN.rglob("*.py")):
        sources.update(path.relative_to(_OWN).as_posix().encode() + path.read_bytes())
    return f"{_numbered(['ssem-jax'])}+{sources.hexdigest()[:16]}"


class _Walk:
    """One walk over values; what was met before counts as its number, so that cycles end."""

    def __init__(self, versions: bool, seen: dict[int, tuple[int, Any]] | None = None) -> None:
        self.hash = hashlib.sha256()
        self.versions = versions
        self.seen = dict(seen or {})  # id → number, and the value itself, lest its id be reused
        self.open: set[int] = set()
        self.trail: list[str] = []

    def put(self, kind: str, content: str | bytes = b"") -> None:
        data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        self.hash.update(f"{kind} {len(data)} ".encode() + data)

    def refuse(self, why: str) -> NoIdentityError:
        place = " → ".join(name for name in self.trail if name)
        return NoIdentityError(f"{place}: {why}" if place else why)

    def visit(self, value: Any, name: str = "") -> None:
        self.trail.append(name)
        kind = type(value)
        if value is None or value is Ellipsis or value is NotImplemented:
            self.put("constant", repr(value))
        elif kind in (bool, int, str, bytes):
            self.put(kind.__name__, value if kind in (str, bytes) else str(value))
        elif kind in (float, complex):
            self.put(kind.__name__, f"{value.real.hex()} {value.imag.hex()}")
        elif kind in (tuple, list, dict, set, frozenset, types.MappingProxyType):
            self.container(value)
        elif isinstance(value, (np.ndarray, np.generic, jax.Array)):
            self.array(value)
        elif id(value) in self.seen:
            self.put("again", str(self.seen[id(value)][0]))
        else:
            self.seen[id(value)] = (len(self.seen), value)
            self.thing(value)
        self.trail.pop()

    def named(self, values: Iterable[tuple[str, Any]]) -> None:
        """Values with their names, in the order of the names."""
        for name, value in sorted(values, key=lambda pair: pair[0]):
            self.put("name", name)
            self.visit(value, name)

    def container(self, value: Any) -> None:
        if id(value) in self.open:
            raise self.refuse("a container that holds itself has no identity.")
        self.open.add(id(value))
        self.put(type(value).__name__, str(len(value)))
        if isinstance(value, (set, frozenset)):
            parts = []
            for element in value:
                walk = _Walk(self.versions, self.seen)
                walk.visit(element)
                parts.append(walk.hash.hexdigest())
            self.put("elements", "".join(sorted(parts)))
        elif isinstance(value, (tuple, list)):
            for element in value:
                self.visit(element)
        else:
            for key, element in value.items():
                self.visit(key)
                self.visit(element, key if isinstance(key, str) else "")
        self.open.remove(id(value))

    def array(self, value: Any) -> None:
        if isinstance(value, Tracer):
            raise self.refuse("a traced array has no numbers yet.")
        if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            self.put("key", str(value.dtype))
            value = jax.random.key_data(value)
        array = np.asarray(value)
        self.put("array", f"{array.dtype.str} {array.dtype} {array.shape}")
        if array.dtype.hasobject:
            self.container(array.tolist() if array.ndim else [array.item()])
        else:
            self.put("bytes", np.ascontiguousarray(array).tobytes())

    def thing(self, value: Any) -> None:
        """A value that may refer to others, and to itself through them."""
        if isinstance(value, types.ModuleType):
            self.module(value)
        elif (known := _known_as(value)) is not None:
            self.package(*known)
        elif isinstance(value, types.FunctionType):
            self.function(value)
        elif isinstance(value, type):
            self.class_(value)
        elif isinstance(value, types.MethodType):
            self.put("method")
            self.visit(value.__func__)
            self.visit(value.__self__, "self")
        elif isinstance(value, (_JITTED, functools._lru_cache_wrapper)):
            self.put("wrapper", type(value).__name__)
            # The stub of a jitted function leaves out what it wraps.
            wrapped: Any = value.__wrapped__  # pyright: ignore[reportAttributeAccessIssue]
            self.visit(wrapped, getattr(value, "__name__", ""))
        elif isinstance(value, (staticmethod, classmethod)):
            self.put(type(value).__name__)
            self.visit(value.__func__)
        elif isinstance(value, property):
            self.put("property")
            self.visit((value.fget, value.fset, value.fdel))
        elif isinstance(value, functools.cached_property):
            self.put("property")
            self.visit(value.func)
        elif isinstance(value, enum.Enum):
            self.put("member", value.name)
            self.visit(type(value), type(value).__name__)
            self.visit(value.value)
        else:
            self.object(value)

    def object(self, value: Any) -> None:
        """An object by what pickle would keep of it."""
        try:
            parts = value.__reduce_ex__(4)
        except Exception:
            parts = ""
        if isinstance(parts, str):  # nothing, or a name under which it is not found
            raise self.refuse(
                f"a {type(value).__module__}.{type(value).__qualname__} has neither content nor "
                "code that could be hashed."
            )
        filled: tuple[Any, ...] = (*parts, None, None, None, None)
        make, arguments, state, items, pairs = filled[:5]
        self.put("object")
        self.visit(make)
        self.visit(arguments)
        halves = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        for half in halves:  # attributes, and those in slots
            if isinstance(half, dict) and all(isinstance(key, str) for key in half):
                self.named((k, v) for k, v in half.items() if not _is_cached(value, k))
            else:
                self.visit(half)
        self.visit(None if items is None else list(items))
        self.visit(None if pairs is None else list(pairs))

    def package(self, package: str, name: str) -> None:
        """What an installed package calls by a name."""
        if any(name == outside or name.startswith(outside + ".") for outside in OUTSIDE):
            raise self.refuse(f"it uses {name}, and what that gives no digest of code can see.")
        version = own_code() if package == PACKAGE else _version(package)
        self.put("package", f"{package} {version if self.versions else ''}")
        self.put("known as", name)

    def module(self, module: types.ModuleType) -> None:
        """A package's module by its name; one of the user's by everything in it."""
        package = _package_of_module(module)
        if package is not None:
            self.package(package, module.__name__)
            return
        self.put("module")
        self.named((k, v) for k, v in list(vars(module).items()) if not _is_dunder(k))

    def class_(self, cls: type) -> None:
        self.put("class", cls.__name__)
        self.trail[-1] = self.trail[-1] or cls.__name__
        self.visit(None if type(cls) is type else type(cls))
        self.visit(cls.__bases__)
        attributes = {
            name: value
            for name, value in vars(cls).items()
            if name not in _NOT_OF_CLASS and not isinstance(value, _DESCRIPTORS)
        }
        if issubclass(cls, enum.Enum):
            members = [(member.name, member.value) for member in cls]
            sunder = [n for n, v in attributes.items() if n[0] == "_" == n[-1] and not callable(v)]
            for name in (*sunder, *(name for name, _ in members)):
                attributes.pop(name, None)
            self.visit(members)
        if dataclasses.is_dataclass(cls):
            for field in dataclasses.fields(cls):
                self.put("field", f"{field.name} {field.kw_only is True} {field.init}")
                self.visit((field.default, field.default_factory, dict(field.metadata)), field.name)
        self.named(attributes.items())

    def function(self, function: types.FunctionType) -> None:
        package = _package_of_path(function.__code__.co_filename)
        self.put("function", package or "")
        self.code(function.__code__)
        self.visit(function.__defaults__)
        self.named((function.__kwdefaults__ or {}).items())
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            try:
                content = cell.cell_contents
            except ValueError:  # not assigned yet
                self.put("empty")
            else:
                self.visit(content, name)
        self.named((k, v) for k, v in vars(function).items() if k != "__wrapped__")
        if package is None:
            self.reached(function.__code__, function.__globals__)

    def code(self, code: types.CodeType) -> None:
        """What a code object does, without where it stands."""
        self.put("code", code.co_code)
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        self.visit((counts, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars))
        self.put("exceptions", code.co_exceptiontable)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self.code(constant)
            else:
                self.visit(constant)

    def reached(self, code: types.CodeType, scope: dict[str, Any]) -> None:
        """The values of the globals that a code object and those within it name."""
        found: dict[str, Any] = {}
        for part in _codes(code):
            steps = [step for step in dis.get_instructions(part) if step.opname != "EXTENDED_ARG"]
            for place, step in enumerate(steps):
                if step.opname in _GLOBAL and step.argval != "__name__":
                    path = [
                        following.argval
                        for following in itertools.takewhile(
                            lambda following: following.opname in _ATTRIBUTE, steps[place + 1 :]
                        )
                    ]
                    self.follow(step.argval, path, scope, found)
                elif step.opname == "IMPORT_NAME":
                    level, names = (steps[place - back].argval for back in (2, 1))
                    self.imported("." * level + step.argval, names, scope, found)
        self.named(found.items())

    def follow(
        self, name: str, path: list[str], scope: dict[str, Any], found: dict[str, Any]
    ) -> None:
        """A global, or what a path of attributes reaches through modules from there."""
        if name in scope:
            value = scope[name]
        elif hasattr(builtins, name):
            self.package("python", f"builtins.{name}")
            return
        else:
            self.put("not defined", name)
            return
        while isinstance(value, types.ModuleType) and path:
            package = _package_of_module(value)
            if package is not None:
                self.package(package, ".".join((value.__name__, *path)))
                return
            if not hasattr(value, path[0]):
                break
            name, value = f"{name}.{path[0]}", getattr(value, path[0])
            path = path[1:]
        found[name] = value

    def imported(self, name: str, names: Any, scope: dict[str, Any], found: dict[str, Any]) -> None:
        """What a function imports when it runs."""
        try:
            full = importlib.util.resolve_name(name, scope.get("__package__"))
            module = importlib.import_module(full)
        except ImportError as error:
            raise self.refuse(f"it imports {name}, which is not found ({error}).") from None
        for path in [[each] for each in names or () if each != "*"] or [[]]:
            self.follow(full, path, {full: module}, found)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _is_cached(value: Any, name: str) -> bool:
    """Whether an attribute only remembers what a property once computed."""
    return any(
        isinstance(vars(cls).get(name), functools.cached_property) for cls in type(value).__mro__
    )


def _known_as(value: Any) -> tuple[str, str] | None:
    """The installed package, and the name in it under which this very value is found."""
    if isinstance(value, np.ufunc) and getattr(np, value.__name__, None) is value:
        return "numpy", f"numpy.{value.__name__}"
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not (isinstance(module, str) and isinstance(name, str)) or module not in sys.modules:
        return None
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part, None)
    known = found is value or getattr(found, "traced", None) is value  # what a kernel compiles
    package = _package_of_module(sys.modules[module]) if known else None
    return None if package is None else (package, f"{module}.{name}")


def _package_of_module(module: types.ModuleType) -> str | None:
    """The installed package that a module belongs to; None for the user's own."""
    spec = getattr(module, "__spec__", None)
    if module.__name__ in sys.builtin_module_names or getattr(spec, "origin", "") == "frozen":
        return "python"
    paths = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return next((_package_of_path(path) for path in paths if path), None)


@functools.cache
def _package_of_path(path: str) -> str | None:
    """The installed package that a file belongs to; None for the user's own."""
    if path.startswith("<frozen"):
        return "python"
    file = Path(path)
    if file.is_relative_to(_OWN):
        return PACKAGE
    for folder in file.parents:
        if folder.name in ("site-packages", "dist-packages"):
            top = file.relative_to(folder).parts[0].partition(".")[0]
            return top if top in NAMED_BY_MANIFEST or top in _distributions() else None
    places = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    return "python" if any(file.is_relative_to(place) for place in places if place) else None


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return {top: sorted(set(names)) for top, names in metadata.packages_distributions().items()}


@functools.cache
def _version(package: str) -> str:
    """The versions of the distributions that make a package."""
    if package == "python" or package in NAMED_BY_MANIFEST:
        return ""
    return _numbered(_distributions().get(package, [package]))


def _numbered(names: list[str]) -> str:
    """Distributions with their versions, where they have one."""
    found = []
    for name in names:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(name)
    return ", ".join(found)
