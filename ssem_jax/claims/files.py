"""Files of conjectures: collecting, judging and printing them, as `ssem test` does.

A file defines conjectures (:class:`ssem_jax.Claim`, or a :class:`ssem_jax.Theorem` with a procedure
of its own) at its top level; :mod:`ssem_jax.claims.refinement` judges them.
"""

from __future__ import annotations

import ast
import importlib.util
import itertools
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ssem_jax.claims.claim import Claim, Theorem, collect, collect_theorems
from ssem_jax.claims.refinement import search_all
from ssem_jax.claims.snippets import one_line
from ssem_jax.claims.told import describe

# ---------------------------------------------------------------------------------- collecting


def load(path: str | Path) -> ModuleType:
    """A file of conjectures as a module.

    Raises:
        ValueError: no such file, one that does not run, that is named like another module, or in
            which a name is bound twice so that a conjecture is lost.
    """
    file = Path(path)
    if not file.is_file() or file.suffix != ".py":
        raise ValueError(f"{file} is no Python file; give a file that defines conjectures.")
    if _is_taken(file):
        raise ValueError(
            f"{file} is named like the module {file.stem}, which would then import it instead; "
            "rename it."
        )
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file} cannot be loaded; give a file that defines conjectures.")
    module = importlib.util.module_from_spec(spec)
    _import_beside(file.resolve().parent)
    sys.modules[file.stem] = module  # losses defined there are found again by name
    _LOADED.add(file.stem)
    names = _Names(vars(module))
    try:
        code = spec.loader.get_code(file.stem)  # pyright: ignore[reportAttributeAccessIssue]
        exec(code, vars(module), names)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a sys.exit among them, which would end the run as if all held
        raise ValueError(f"{file} does not run: {one_line(error, str(file))}") from error
    for name, claim in names.lost():
        raise ValueError(
            f"{file} binds {name} twice, which loses the conjecture {claim.name}; give each a name "
            "of its own."
        )
    return module


class _Names(MutableMapping[str, Any]):
    """The names of a module as its code binds them, and the conjectures that it binds over."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names, self.replaced = names, []

    def __setitem__(self, name: str, value: Any) -> None:
        if isinstance(self.names.get(name), Claim | Theorem):
            self.replaced.append((name, self.names[name]))
        self.names[name] = value

    def __getitem__(self, name: str) -> Any:
        return self.names[name]

    def __delitem__(self, name: str) -> None:
        del self.names[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def lost(self) -> Iterator[tuple[str, Claim | Theorem]]:
        """Conjectures that were bound, and that no name is bound to any more."""
        held = [one for one in self.names.values() if isinstance(one, list | tuple)]
        kept = {id(value) for value in itertools.chain(self.names.values(), *held)}
        return ((name, claim) for name, claim in self.replaced if id(claim) not in kept)


def _import_beside(folder: Path) -> None:
    """Let a file import what stands beside it, as `python FILE` does.

    Of another folder, what has a namesake here is forgotten: it would be imported instead.
    """
    for name, module in list(sys.modules.items()):
        origin = getattr(module, "__file__", None)
        place = Path(origin).resolve() if origin else folder
        if place.parent != folder and place.parent in _FOLDERS and (folder / place.name).exists():
            del sys.modules[name]
    _FOLDERS.add(folder)
    if str(folder) in sys.path:
        sys.path.remove(str(folder))
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()


_FOLDERS: set[Path] = set()
"""Where files of conjectures stood."""
_LOADED: set[str] = set()
"""Modules that came from files of conjectures, and may be replaced by another such file."""


def _is_taken(file: Path) -> bool:
    """Whether an import of the file's name means, or may come to mean, another module."""
    if file.stem in _LOADED:
        return False
    if file.stem in sys.modules:
        return True
    try:
        spec = importlib.util.find_spec(file.stem)
    except (ImportError, ValueError):  # a name that no import can have
        return False
    return spec is not None and (
        spec.origin is None or Path(spec.origin).resolve() != file.resolve()
    )


def conjectures(module: ModuleType, expression: str = "") -> list[Claim | Theorem]:
    """The conjectures that a module defines, less those that an expression does not select.

    Args:
        module: of :func:`load`.
        expression: parts of names, joined by "and", "or", "not" and parentheses.

    Raises:
        ValueError: there are none, two of one name, or the expression is none.
    """
    found = [*collect([module]), *collect_theorems([module])]
    if not found:
        raise ValueError(
            f"{module.__name__} defines no conjecture; write one as NAME = sx.Claim(...)."
        )
    chosen = [claim for claim in found if matches(expression, claim.name)]
    if not chosen:
        names = ", ".join(claim.name for claim in found)
        raise ValueError(f"-k {expression!r} selects none of {names}.")
    return chosen


def matches(expression: str, name: str) -> bool:
    """Whether a name is selected by an expression such as "collapse and not low".

    Raises:
        ValueError: the expression cannot be read.
    """
    if not expression:
        return True

    def value(node: ast.AST) -> bool:
        match node:
            case ast.Expression(body):
                return value(body)
            case ast.BoolOp(ast.And(), values):
                return all(map(value, values))
            case ast.BoolOp(ast.Or(), values):
                return any(map(value, values))
            case ast.UnaryOp(ast.Not(), operand):
                return not value(operand)
            case ast.Name(part):
                return part.lower() in name.lower()
        raise SyntaxError

    try:
        return value(ast.parse(expression, mode="eval"))
    except SyntaxError:
        raise ValueError(
            f"-k takes parts of names joined by and, or, not; got {expression!r}."
        ) from None


def run_file(file: str) -> int:
    """Judge the conjectures of a file and print their verdicts: what a worked conjecture's own
    ``python -m`` does. 0 if every verdict is as expected."""
    from ssem_jax.compute import cache

    cache.set_up_jax()
    trials = []
    for trial in search_all(conjectures(load(file))):
        print(describe(trial) + "\n")
        trials.append(trial)
    return 0 if all(trial.as_expected for trial in trials) else 1
