"""What can be stated: claims about cells, theorems about boxes, domains."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from ssem_jax.certificate.certificate import GAP_TOLERANCE
from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.display import count_text
from ssem_jax.problem.problem import Problem
from ssem_jax.problem.validation import check_choice, check_count, check_type, shown
from ssem_jax.sweeps.grid import Grid

if TYPE_CHECKING:
    from ssem_jax.balls.boxes import BoxProof
    from ssem_jax.claims.space import Space
from ssem_jax.claims.cells import Condition

T = TypeVar("T")
VALUE_TOLERANCE = GAP_TOLERANCE
"""Predicted and certified minimum agree within this: what the certificate resolves."""


class Verdict(enum.StrEnum):
    """What became of a claim."""

    HOLDS = "HOLDS"
    PROVEN = "PROVEN"
    REFUTED = "REFUTED"
    UNDECIDED = "UNDECIDED"


SIZES = ("quick", "default", "full")
"""Of a domain."""


@dataclasses.dataclass(frozen=True)
class Domain:
    """Problems that a claim is judged on, in three sizes.

    Args:
        grids: the default size.
        quick: a smaller one (the default size if not given).
        full: a larger one (likewise).
    """

    grids: tuple[Grid, ...]
    quick: tuple[Grid, ...] | None = None
    full: tuple[Grid, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("grids", "quick", "full"):
            grids = getattr(self, name)
            if grids is None and name != "grids":
                continue
            object.__setattr__(self, name, tuple(each_of(grids, Grid)))

    def problems(self, size: str = "default") -> list[Problem]:
        """The problems of a size: "quick", "default" or "full"."""
        check_choice("size", size, SIZES)
        grids = {"quick": self.quick, "full": self.full}.get(size) or self.grids
        return [problem for grid in grids for problem in grid.problems()]

    @property
    def loss(self) -> Callable[..., GramLoss]:
        """What makes the losses of its cells, by keyword; SupCL where its grids differ in it."""
        losses = {grid.loss for grid in self.grids}
        return losses.pop() if len(losses) == 1 else SupCL


LONGEST_NAME = 100
"""Characters of a claim's name: with an ending, and four bytes a character, still a file's name."""


def check_name(name: Any) -> None:
    """Raise a ValueError unless a claim may be called so: it becomes the name of a file, too."""
    fits = isinstance(name, str) and len(name) <= LONGEST_NAME
    if not fits or not re.fullmatch(r"\w[\w-]*", name):
        raise ValueError(
            f"a claim's name must be up to {LONGEST_NAME} letters, digits, underscores or dashes, "
            f"as low_alpha; got {shown(name)}."
        )


def _check_said(claim: Claim | Theorem) -> None:
    """Name, statement and expectation; an expected verdict may be given as its text."""
    check_name(claim.name)
    check_type(f"the statement of {claim.name}", claim.statement, str, "a text")
    if claim.expected is not None:
        verdicts = tuple(map(str, Verdict))
        check_choice(f"the expected verdict of {claim.name}", claim.expected, verdicts)
        object.__setattr__(claim, "expected", Verdict(claim.expected))


def _check_formal(claim: Claim) -> None:
    """Two tuples of comparisons; a list, or a text, would be kept and surprise later."""
    parts = ((), ()) if claim.formal is None else claim.formal
    good = isinstance(parts, tuple) and len(parts) == 2
    if not good or not all(
        isinstance(part, tuple) and all(isinstance(each, str) for each in part) for part in parts
    ):
        raise ValueError(
            f"{claim.name}: its formal statement must be two tuples of comparisons, as "
            f"(('alpha >= 1/n',), ('delta2 > 1e-6',)); got {shown(claim.formal)}."
        )


def _check_function(name: str, what: str, function: Any) -> None:
    if not callable(function) or isinstance(function, type):
        raise ValueError(f"{name}: its {what} must be a function; got {shown(function)}.")


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement about optimal embeddings.

    Args:
        name: an identifier: letters, digits, underscores and dashes.
        statement: in words and formulas, with every quantifier.
        margin: cells → interval or array, positive where the statement holds. With `along`, it
            takes `window` arguments: cells that follow one another along that coordinate while
            all others are equal.
        domain: where it is judged.
        source: who says so: author, year, theorem.
        where: cells that the statement speaks about (all if not given).
        exclude: cells that are left out and counted apart, for example near a boundary.
        along: a coordinate to compare cells along.
        window: cells compared at once.
        closed: whether a margin of exactly 0 holds, too: for ≤ and ≥. Without it, the statement is
            strict, and 0 is undecided.
        expected: the verdict that theory gives; None for a conjecture.
        quantity: the bracket of :class:`Cells` that the statement is about, for pictures.
        formal: the statement as :mod:`proofs_numeric.check` reads it, comparisons that are given
            and comparisons that follow, as (("alpha >= 1/n",), ("delta2 > 1e-6",)); a
            counterexample then travels as a file that says "refuted".

    Raises:
        ValueError: a name that is no identifier, an unknown verdict, or what is no function, no
            domain, no window or no comparisons where they are needed.
    """

    name: str
    statement: str
    margin: Callable[..., Any]
    domain: Domain | Space
    source: str = ""
    where: Condition | None = None
    exclude: Condition | None = None
    along: str | None = None
    window: int = 2
    closed: bool = False
    expected: Verdict | None = None
    quantity: str = "delta2"
    formal: tuple[tuple[str, ...], tuple[str, ...]] | None = None

    def __post_init__(self) -> None:
        _check_said(self)
        _check_formal(self)
        _check_function(self.name, "margin", self.margin)
        for what in ("where", "exclude"):
            if getattr(self, what) is not None:
                _check_function(self.name, what, getattr(self, what))
        one_size = isinstance(self.domain, (type, Grid))
        if one_size or not callable(getattr(self.domain, "problems", None)):
            raise ValueError(
                f"{self.name}: its domain must be a Space or a Domain, as Domain((grid,)); got "
                f"{shown(self.domain)}."
            )
        object.__setattr__(self, "window", check_count(f"{self.name}: window", self.window, 1))
        for what in ("source", "quantity", *(("along",) if self.along is not None else ())):
            check_type(f"{self.name}: {what}", getattr(self, what), str, "a text")


@dataclasses.dataclass(frozen=True)
class Proof:
    """What the procedure of a theorem came to, and what it looked at.

    Attributes:
        proven: the statement holds on the whole of its domain.
        refuted: a point at which it is proven to fail, or None.
        boxes: of parameters, each decided at once.
        enclosures: single points, each decided by balls.
        signs: of exact numbers, where nothing but them decides.
        cells: certified in float64.
        undecided: boxes, points or cells on which nothing was decided.
        left_out: a neighbourhood that the statement leaves out, in words.
        widths: of those enclosures that are of the minimum.
        gaps: of the cells.
        parts: the box proofs that it is made of, with what each is about.
        rigorous: whether comparisons of balls, integers and rationals decided everything; only
            then is the statement PROVEN. Certified cells in float64 make it HOLD.
    """

    proven: bool
    refuted: dict[str, Any] | None = None
    boxes: int = 0
    undecided: tuple[Any, ...] = ()
    left_out: str = ""
    widths: tuple[float, ...] = ()
    parts: tuple[tuple[str, BoxProof], ...] = ()
    rigorous: bool = False
    enclosures: int = 0
    signs: int = 0
    cells: int = 0
    gaps: tuple[float, ...] = ()

    @property
    def width(self) -> float | None:
        """The widest enclosure."""
        return max(self.widths, default=None)

    @property
    def looked_at(self) -> str:
        """What was decided or not, counted in words."""
        counts = [(getattr(self, names), name, names) for names, name in _ONE.items()]
        return ", ".join(count_text(*each) for each in counts if each[0]) or "no cells"

    @property
    def left_open(self) -> str:
        """Why nothing is decided, in words: how much is open, and the first of it."""
        first = self.undecided[0] if self.undecided else "the proof did not close"
        if not any(getattr(self, name) for name in _ONE):
            return str(first)
        return f"{len(self.undecided)} of {self.looked_at} undecided, the first: {first}"

    @classmethod
    def of_boxes(cls, left_out: str = "", **parts: BoxProof) -> Proof:
        """Several box proofs as one; the keywords name them."""
        proofs = list(parts.values())
        refuted = [proof.refuted for proof in proofs if proof.refuted is not None]
        return cls(
            all(proof.proven for proof in proofs),
            refuted[0] if refuted else None,
            sum(proof.boxes for proof in proofs),
            tuple(box for proof in proofs for box in proof.undecided),
            left_out,
            parts=tuple((name.replace("_", " "), proof) for name, proof in parts.items()),
            rigorous=True,
        )


_ONE = {"boxes": "box", "enclosures": "enclosure", "signs": "sign", "cells": "cell"}


@dataclasses.dataclass(frozen=True)
class Plane:
    """The (τ, α) plane of one shape, over which a theorem can be drawn.

    Attributes:
        num_classes: m.
        num_instances: n.
        num_views: p.
        self_pairs: convention.
        band: distance from the boundaries, in α, that the theorem leaves out.
        point: (τ, α) of a counterexample.
    """

    num_classes: int
    num_instances: int
    num_views: int = 1
    self_pairs: str = "include"
    band: float = 0.0
    point: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Theorem:
    """A statement with a procedure of its own: a proof in ball arithmetic, or certified cells.

    Args:
        name: an identifier: letters, digits, underscores and dashes.
        statement: with every quantifier.
        prove: runs the proof.
        source: who says so.
        expected: PROVEN, HOLDS (where the procedure is no proof), or REFUTED.
        plane: what to draw it over; None for its box alone.

    Raises:
        ValueError: a name that is no identifier, an unknown verdict, or no function.
    """

    name: str
    statement: str
    prove: Callable[[], Proof]
    source: str = ""
    expected: Verdict | None = Verdict.PROVEN
    plane: Plane | None = None

    def __post_init__(self) -> None:
        _check_said(self)
        _check_function(self.name, "proof", self.prove)


def collect(modules: Iterable[ModuleType]) -> list[Claim]:
    """All claims that modules define at their top level, by themselves or in lists, in order.

    Raises:
        ValueError: two claims, or a claim and a theorem, of one name.
    """
    return _defined(modules, Claim)


def collect_theorems(modules: Iterable[ModuleType]) -> list[Theorem]:
    """All theorems that modules define at their top level, likewise.

    Raises:
        ValueError: two claims, or a claim and a theorem, of one name.
    """
    return _defined(modules, Theorem)


def _defined(modules: Iterable[ModuleType], kind: type[T]) -> list[T]:
    """What is of a kind; of one claim under two names, as imports make them, the first counts."""
    found: dict[str, tuple[Claim | Theorem, str]] = {}
    for module in modules:
        for place, value in _values(module):
            first, where = found.setdefault(value.name, (value, place))
            if first is not value:
                raise ValueError(
                    f"two claims are called {value.name}: {where} and {place}; rename one, or one "
                    "of them is never judged."
                )
    return [claim for claim, _ in found.values() if isinstance(claim, kind)]


def _values(module: ModuleType) -> Iterator[tuple[str, Claim | Theorem]]:
    """The claims and theorems at the top level of a module, with their places."""
    for name, value in vars(module).items():
        place = f"{module.__name__}.{name}"
        held = {"": value}
        if isinstance(value, dict):
            held = {f"[{key!r}]": each for key, each in value.items()}
        elif isinstance(value, (list, tuple)):
            held = {f"[{index}]": each for index, each in enumerate(value)}
        for key, each in held.items():
            if isinstance(each, (Claim, Theorem)):
                yield place + key, each


def each_of(given: Any, kind: type[T]) -> list[T]:
    """What is given, as a list; a single one is a list of one.

    Raises:
        ValueError: one that is of another kind.
    """
    several = list(given) if isinstance(given, Iterable) else [given]
    for each in several:
        check_type(f"every {kind.__name__.lower()}", each, kind, f"a {kind.__name__}")
    return several


def check_distinct(claims: Iterable[Claim | Theorem]) -> None:
    """Raise a ValueError where two share a name: verdicts are kept by name."""
    names = Counter(claim.name for claim in claims)
    if names and max(names.values()) > 1:
        raise ValueError(f"two claims are called {names.most_common(1)[0][0]}; rename one.")


def unique_domains(claims: Iterable[Claim]) -> list[Domain | Space]:
    """The domains of claims, each once."""
    return list({id(claim.domain): claim.domain for claim in claims}.values())
