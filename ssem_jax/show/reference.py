"""The reference: every public name, room by room, as pages that need no network.

`write` makes a page for each room and an index. What stands there are the docstrings, formulas as
MathML, and below each name the lines of the room's `examples.rst` in which it is used. These are
sessions that the tests run, so that no example is only meant well. Docstrings are read as
reStructuredText with sections ("Args:", "Returns:") as Google has them and `names` in single
backticks; docutils (extra: docs) makes HTML of that.
"""

from __future__ import annotations

import ast
import dataclasses
import doctest
import enum
import inspect
import os
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from importlib import import_module, resources
from pathlib import Path
from textwrap import indent
from types import ModuleType
from typing import Any

from ssem_jax.sweeps.folder import versions

ROOMS = (
    "problem",
    "geometry",
    "losses",
    "compute",
    "theory",
    "solver",
    "certificate",
    "balls",
    "sweeps",
    "advice",
    "claims",
    "training",
    "show",
)
"""The rooms from the bottom up; the command line says itself what it does, with --help."""
EXAMPLES, STYLE, INDEX = "examples.rst", "reference.css", "index.html"
SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "References")
LISTED = ("Args", "Attributes", "Raises")
"""Sections whose entries are names with what they mean."""

_SECTION = re.compile(rf"^({'|'.join(SECTIONS)}):\n((?:[ ]+.*\n|\n)+)", re.MULTILINE)
_ENTRY = re.compile(r"^([\w\\*][\w\\*, .]*):(?:\s|$)")
_KEPT = re.compile(
    r"(?P<block>^(?P<deep> *)\.\. .*\n(?:(?P=deep) +.*\n|\n)*|^ *>>>.*\n(?:^ *\S.*\n)*)"
    r"|:(?P<role>\w+):`(?P<target>[^`]+)`|``[^`]+``|(?<!\w)`(?P<code>[^`]+)`"
    r"|\*\*[^*\n]+\*\*|^ *\* ",
    re.MULTILINE,
)
"""What markup means something: directives and sessions, roles, code, bold words, list items."""


@dataclasses.dataclass(frozen=True)
class Room:
    """A room of the package, as a chapter."""

    name: str

    @cached_property
    def module(self) -> ModuleType:
        return import_module(f"ssem_jax.{self.name}")

    @cached_property
    def names(self) -> dict[str, Any]:
        """What it offers, by name."""
        found = {
            name: getattr(self.module, name) for name in dir(self.module) if name[0] not in "_"
        }
        return {name: value for name, value in found.items() if _is_own(value)}

    @cached_property
    def session(self) -> str:
        """Its examples, as prose with lines to type and what they answer."""
        return resources.files(self.module).joinpath(EXAMPLES).read_text(encoding="utf-8")

    @cached_property
    def examples(self) -> dict[str, list[doctest.Example]]:
        """The lines in which a name is used, for each name that is."""
        found: dict[str, list[doctest.Example]] = {}
        for example in doctest.DocTestParser().get_examples(self.session):
            for name in self._used(example.source):
                found.setdefault(name, []).append(example)
        return found

    def _used(self, source: str) -> set[str]:
        """The public names in some lines: `room.name`, or `sx.name` of those at the face."""
        face = import_module("ssem_jax")
        used = set()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Attribute) and node.attr in self.names:
                base = ast.unparse(node.value)
                at_face = base == "sx" and getattr(face, node.attr, None) is self.names[node.attr]
                if at_face or base in (self.name, f"sx.{self.name}"):
                    used.add(node.attr)
        return used


def _is_own(value: Any) -> bool:
    """Whether a value in a room's namespace is offered by it, not imported for its own use."""
    if isinstance(value, ModuleType):
        return False
    if inspect.isclass(value) or callable(value):
        return getattr(value, "__module__", "").startswith("ssem_jax.")
    return True


def rooms() -> list[Room]:
    """All rooms that the reference tells of."""
    return [Room(name) for name in ROOMS]


def write(folder: str | os.PathLike[str]) -> Path:
    """Write the pages.

    Args:
        folder: for them; it is made.

    Returns:
        The path of the index.

    Raises:
        ValueError: without docutils, or a folder that cannot be written.
    """
    folder = Path(folder)
    written = pages()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in written.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"cannot write to {folder}: {error.strerror}; choose another folder for --out."
        ) from error
    return folder / INDEX


def pages(chosen: Iterable[str] = ROOMS) -> dict[str, str]:
    """The pages as HTML, by the names of their files: an index, and the chosen rooms."""
    every = rooms()
    sources = {INDEX: _index(every)} | {
        f"{room.name}.html": _chapter(room, every) for room in every if room.name in chosen
    }
    return {name: as_html(source) for name, source in sources.items()}


def as_html(source: str) -> str:
    """A page of reStructuredText; what is wrong with it raises."""
    try:
        from docutils.core import publish_string
    except ImportError as error:
        raise ValueError(
            "the reference is written by docutils; pip install 'ssem-jax[docs]'."
        ) from error
    style = resources.files("ssem_jax.show").joinpath(STYLE)
    settings = {
        "math_output": "MathML",  # which browsers draw by themselves
        "stylesheet_path": ["minimal.css", str(style)],
        "embed_stylesheet": True,
        "halt_level": 2,
        "report_level": 2,
        "file_insertion_enabled": False,
        "raw_enabled": False,
        "toc_backlinks": False,
        "syntax_highlight": "none",  # or it depends on what else is installed
        "output_encoding": "unicode",
        "_disable_config": True,
    }
    return publish_string(source, writer="html5", settings_overrides=settings)


# ---------------------------------------------------------------------------------------------
# pages as text
# ---------------------------------------------------------------------------------------------


def _index(every: list[Room]) -> str:
    face = import_module("ssem_jax")
    parts = [_title("ssem_jax"), markup(face.__doc__ or "", every[0], every)]
    parts.append(", ".join(f"{name} {number}" for name, number in versions().items()) + ".")
    for room in every:
        first = (room.module.__doc__ or "").strip().splitlines()[0]
        parts += [_title(room.name, "-"), f"`The room <{room.name}.html>`__: {_escaped(first)}"]
        parts.append(
            "\n".join(f"* {_link(name, room)}: {_summary(room, name)}" for name in room.names)
        )
    return "\n\n".join(parts) + "\n"


def _chapter(room: Room, every: list[Room]) -> str:
    title = f"ssem_jax.{room.name}"
    parts = [
        _title(title),
        f"`All rooms <{INDEX}>`__",
        markup(room.module.__doc__ or "", room, every),
    ]
    parts.append(".. contents:: Names\n   :local:\n   :depth: 1")
    for name, value in room.names.items():
        parts += [_title(name, "-"), _entry(name, value, room, every)]
        if lines := room.examples.get(name):
            text = "".join(f">>> {_continued(each.source)}{each.want}" for each in lines)
            parts += [f"`Example <{room.name}.html#examples>`__", text.rstrip()]
    parts += [_title("Examples", "-"), room.session.strip()]
    return "\n\n".join(parts) + "\n"


def _entry(name: str, value: Any, room: Room, every: list[Room]) -> str:
    """A name with its signature, its docstring and, of a class, what it has."""
    if not (inspect.isclass(value) or callable(value)):
        return indent(_literal(f"{name} = {_in_short(value)}"), "")
    parts = [_literal(_signature(name, value)), markup(inspect.getdoc(value) or "", room, every)]
    if inspect.isclass(value):
        parts += _members(value, room, every)
    return "\n\n".join(part for part in parts if part)


def _members(cls: type, room: Room, every: list[Room]) -> Iterator[str]:
    """What a class of the package adds: the values of an enumeration, methods, properties."""
    if issubclass(cls, enum.Enum):
        yield "\n".join(f"* ``{each.name}`` = {each.value!r}" for each in cls)
    for name, value in vars(cls).items():
        function = getattr(value, "__func__", getattr(value, "func", value))
        documented = inspect.isfunction(function) or isinstance(value, property)
        text = inspect.getdoc(value) or ""
        if name.startswith("_") or not documented or not text:
            continue
        shown = " ".join(_signature(name, function).split()) if callable(function) else name
        yield f"``{shown}``\n" + indent(markup(text, room, every), "    ")


def _signature(name: str, value: Any) -> str:
    """As one would write it, annotations without their quotes."""
    try:
        found = inspect.signature(value)
    except (ValueError, TypeError):
        return name
    parameters = [
        each.replace(annotation=_Plain.of(each.annotation), default=_Plain.of_default(each.default))
        for each in found.parameters.values()
    ]
    found = found.replace(
        parameters=parameters, return_annotation=_Plain.of(found.return_annotation)
    )
    text = f"{name}{found}"
    if len(text) <= 90 or not parameters:
        return text
    inside = ",\n    ".join(map(str, parameters))
    result = str(found.replace(parameters=[]))[2:]
    return f"{name}(\n    {inside},\n){result}"


class _Plain(str):
    """A text that is shown without quotes."""

    __repr__ = str.__str__

    @classmethod
    def of(cls, annotation: Any) -> Any:
        annotation = getattr(annotation, "__forward_arg__", annotation)  # of a NamedTuple's field
        if isinstance(annotation, str):
            return cls(annotation.strip("'\""))
        return annotation

    @classmethod
    def of_default(cls, default: Any) -> Any:
        """Functions and classes by their names, no address of a machine's memory."""
        if default is inspect.Parameter.empty or not callable(default):
            return default
        return cls(getattr(default, "__qualname__", type(default).__name__))


def _in_short(value: Any, limit: int = 300) -> str:
    text = re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    return text if len(text) <= limit else f"{text[:limit]} …"


def _summary(room: Room, name: str) -> str:
    value = room.names[name]
    if not (inspect.isclass(value) or callable(value)):
        return f"``{_in_short(value, 60)}``"
    first = (inspect.getdoc(value) or "").partition("\n\n")[0]
    return markup(" ".join(first.split()), room, [room])


def _literal(text: str) -> str:
    return "::\n\n" + indent(text, "    ")


def _continued(source: str) -> str:
    return source.rstrip("\n").replace("\n", "\n... ") + "\n"


def _title(text: str, line: str = "=") -> str:
    return f"{_escaped(text)}\n{line * (len(text) + 1)}"


# ---------------------------------------------------------------------------------------------
# docstrings as reStructuredText
# ---------------------------------------------------------------------------------------------


def markup(text: str, room: Room, every: list[Room]) -> str:
    """A docstring as docutils reads it: sections as lists of definitions, names as links."""
    text = inspect.cleandoc(text) + "\n"
    parts, end = [], 0
    for section in _SECTION.finditer(text):
        parts.append(_inline(text[end : section.start()], room, every))
        title, body = section[1], inspect.cleandoc("\n" + section[2]) + "\n"
        body = _inline(body, room, every)
        body = _definitions(body) if title in LISTED else body
        parts.append(f"{title}\n" + indent(body, "    ") + "\n")
        end = section.end()
    parts.append(_inline(text[end:], room, every))
    return "".join(parts).strip()


def _definitions(body: str) -> str:
    """Entries "name: what it means" as terms with their definitions."""
    lines = []
    for line in body.splitlines():
        entry = _ENTRY.match(line)
        if entry:
            rest = line[entry.end() :].strip()
            term = entry[1].replace("\\", "")
            lines += [f"``{term}``", *([f"    {rest}"] if rest else [])]
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _inline(text: str, room: Room, every: list[Room]) -> str:
    """Roles and single backticks as links or code; all else that could be markup, escaped."""
    parts, end = [], 0
    for kept in _KEPT.finditer(text):
        parts.append(_escaped(text[end : kept.start()]))
        end = kept.end()
        if kept["role"] and kept["role"] != "math":
            parts.append(_reference(kept["target"], room, every))
        elif kept["code"]:
            parts.append(_reference(" ".join(kept["code"].split()), room, [room]))
        else:
            parts.append(kept[0])
    parts.append(_escaped(text[end:]))
    return "".join(parts)


def _escaped(text: str) -> str:
    """Prose, its powers as e^{1/τ} raised."""
    plain = re.sub(r"([|*])|(?<=\w)(_)(?!\w)", lambda found: f"\\{found[0]}", text)
    return re.sub(r"(?<=\w)\^\{([^{}]+)\}", r"\\ :sup:`\1`\\ ", plain)


def _reference(target: str, room: Room, every: list[Room]) -> str:
    """A link to a name or a room; code, if it is none of them."""
    *path, name = target.strip("~").split(".")
    for place in (room, *every):
        if name == place.name and (not path or path == ["ssem_jax"]) and place in every[1:]:
            return f"`{name} <{name}.html>`__"
        if name in place.names and (
            not path or place.name in path or path in (["sx"], ["ssem_jax"])
        ):
            return _link(name, place)
    return f"``{target}``"


def _link(name: str, room: Room) -> str:
    anchor = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"`{_escaped(name)} <{room.name}.html#{anchor}>`__"
