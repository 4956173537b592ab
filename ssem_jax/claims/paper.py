"""A paper as a program: what it states, in its own notation, with verdicts.

A :class:`Paper` says how its symbols and conventions map to ours and how much of its wording we
have; each :class:`Statement` is a claim or a theorem with the place where the paper says it. What
fails is one sentence at one place, outside its hypotheses or as an abstract words it, never "the
paper".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import NamedTuple

import polars as pl

from ssem_jax.claims.claim import Claim, Theorem, check_name, each_of
from ssem_jax.problem.validation import check_choice, check_count, check_type, shown

READ = ("theorem read", "abstract only", "third party's summary")
"""What we have of a paper's wording: its theorems; its abstract; or what others write of it."""


class Beside(NamedTuple):
    """A number of a statement, and the same computed here.

    Attributes:
        what: it is, and where.
        stated: by the paper's formula.
        computed: by a witness that does not use it.
    """

    what: str
    stated: float
    computed: float

    @property
    def deviation(self) -> float:
        """|computed - stated|."""
        return abs(self.computed - self.stated)


class Point(NamedTuple):
    """A value of a picture.

    Attributes:
        curve: what it is a value of, as the legend says it.
        x: where.
        low: the certified bracket's lower end, or a formula's value.
        high: its upper end; NaN for a formula.
    """

    curve: str
    x: float
    low: float
    high: float = math.nan


@dataclasses.dataclass(frozen=True)
class Picture:
    """What a paper states, drawn: certified values as points, formulas as lines.

    Args:
        across: label of the x-axis.
        up: label of the y-axis.
        caption: what a reader sees, in two sentences.
        points: gives the points, for about so many places along x.
        marks: vertical lines, as thresholds: label to x.

    Raises:
        ValueError: what is no text, no function or no number.
    """

    across: str
    up: str
    caption: str
    points: Callable[[int], Iterable[Point]]
    marks: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for what in ("across", "up", "caption"):
            check_type(f"a picture's {what}", getattr(self, what), str, "a text")
        if not callable(self.points):
            raise ValueError(
                "a picture's points must be a function of how many places along x to take; got "
                f"{shown(self.points)}."
            )
        for label, x in self.marks.items():
            check_type(f"the mark {label!r} of a picture", x, (int, float), "a number")

    def table(self, places: int) -> pl.DataFrame:
        """Its points, a row each, which are computed now."""
        names = [*Point._fields]
        schema = dict.fromkeys(names, pl.Float64()) | {names[0]: pl.String()}
        return pl.DataFrame(list(self.points(places)), schema=schema, orient="row")


@dataclasses.dataclass(frozen=True)
class Statement:
    """One statement of a paper.

    Args:
        claim: what is judged: a claim or a theorem, of its own or of another module.
        place: where the paper says so, as "Theorem 3.4" or "abstract".
        hypotheses: under which, in the paper's notation.
        lesson: what a reader learns from the verdict.
        beside: numbers of the statement beside computed ones, if it gives any.
        snippet: Python that reproduces it, a few lines.

    Raises:
        ValueError: what is no claim, no text or no function.
    """

    claim: Claim | Theorem
    place: str
    hypotheses: str = ""
    lesson: str = ""
    beside: Callable[[], Sequence[Beside]] | None = None
    snippet: str = ""

    def __post_init__(self) -> None:
        check_type("the claim of a statement", self.claim, (Claim, Theorem), "a Claim or a Theorem")
        for what in ("place", "hypotheses", "lesson", "snippet"):
            check_type(f"{self.claim.name}: {what}", getattr(self, what), str, "a text")
        if self.beside is not None and not callable(self.beside):
            raise ValueError(
                f"{self.claim.name}: beside must be a function that gives a list of Beside; got "
                f"{shown(self.beside)}."
            )


@dataclasses.dataclass(frozen=True)
class Paper:
    """A paper and what it states.

    Args:
        key: a short name, as kini2024.
        title: of the paper.
        authors: their names, in order.
        year: of publication.
        identifier: as "arXiv:2306.07960".
        venue: where it appeared.
        read: one of `READ`.
        reading: what exactly was read, and what was not.
        notation: (theirs, ours) of every symbol and convention that a statement turns on.
        statements: one at least.
        picture: where it says more than the words.

    Raises:
        ValueError: a key that is no identifier, an unknown reading, pairs that are none, or no
            statement.
    """

    key: str
    title: str
    authors: tuple[str, ...]
    year: int
    identifier: str
    venue: str
    read: str
    reading: str
    notation: tuple[tuple[str, str], ...]
    statements: tuple[Statement, ...]
    picture: Picture | None = None

    def __post_init__(self) -> None:
        check_name(self.key)
        check_choice(f"what was read of {self.key}", self.read, READ)
        for what in ("title", "identifier", "venue", "reading"):
            check_type(f"{self.key}: {what}", getattr(self, what), str, "a text")
        object.__setattr__(self, "year", check_count(f"{self.key}: year", self.year, 1))
        object.__setattr__(self, "authors", tuple(each_of(self.authors, str)))
        for row in self.notation:
            if not isinstance(row, tuple) or list(map(type, row)) != [str, str]:
                raise ValueError(
                    f"{self.key}: notation must be pairs of texts, (theirs, ours); got "
                    f"{shown(row)}."
                )
        object.__setattr__(self, "statements", tuple(each_of(self.statements, Statement)))
        if not self.statements:
            raise ValueError(f"{self.key} states nothing; give it a statement.")
        if self.picture is not None:
            check_type(f"the picture of {self.key}", self.picture, Picture, "a Picture")

    @property
    def bibtex(self) -> str:
        """Its entry for a bibliography."""
        number = self.identifier.removeprefix("arXiv:")
        eprint = {"eprint": number, "archivePrefix": "arXiv"}
        fields = {
            "title": "{" + self.title + "}",
            "author": " and ".join(self.authors),
            "year": str(self.year),
            "howpublished": self.venue,
        } | (eprint if number != self.identifier else {"note": self.identifier})
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        return "\n".join([f"@misc{{{self.key},", *lines, "}"])


def collect_papers(modules: Iterable[ModuleType]) -> list[Paper]:
    """All papers that modules define at their top level, in order.

    Raises:
        ValueError: two papers of one key, or what is no module.
    """
    found: dict[str, Paper] = {}
    for module in each_of(modules, ModuleType):
        for value in vars(module).values():
            if isinstance(value, Paper) and found.setdefault(value.key, value) is not value:
                raise ValueError(f"two papers have the key {value.key}; rename one.")
    return list(found.values())


def claims_of(papers: Iterable[Paper]) -> tuple[list[Claim], list[Theorem]]:
    """The claims and the theorems of papers, those that several refer to once."""
    stated = {s.claim.name: s.claim for paper in papers for s in paper.statements}.values()
    return (
        [claim for claim in stated if isinstance(claim, Claim)],
        [claim for claim in stated if isinstance(claim, Theorem)],
    )
