"""What a search may spend, and what it gives."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import polars as pl

from ssem_jax.claims.claim import Claim, Theorem
from ssem_jax.claims.judgements import Judgement, coordinates
from ssem_jax.problem.display import INDENT, Told
from ssem_jax.problem.validation import check_count, check_type, concrete, shown


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a search may spend.

    Args:
        cells: certified cells.
        seconds: wall time, checked between rounds.

    Raises:
        ValueError: no integer of at least 1, or no positive number.
    """

    cells: int = 2000
    seconds: float = math.inf

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", check_count("the cells of a budget", self.cells, 1))
        seconds = concrete(self.seconds, "the seconds of a budget")
        if seconds is None or seconds.shape or not seconds > 0:
            raise ValueError(
                f"the seconds of a budget must be positive; got {shown(self.seconds)}."
            )
        object.__setattr__(self, "seconds", float(seconds))

    @classmethod
    def of(cls, value: Any) -> Budget:
        """A budget as it is, of a number of cells, or of a text that :meth:`parse` takes.

        Raises:
            ValueError: none of these.
        """
        if isinstance(value, cls):
            return value
        return cls.parse(value) if isinstance(value, str) else cls(value)

    @classmethod
    def parse(cls, text: str) -> Budget:
        """A budget from "2000", "60s", or both, "2000,60s".

        Raises:
            ValueError: anything else.
        """
        check_type("a budget", text, str, "a text, as '2000,60s'")
        given: dict[str, float] = {}
        try:
            for part in map(str.strip, text.split(",")):
                unit = "seconds" if part.endswith("s") else "cells"
                if unit in given:
                    raise ValueError
                given[unit] = float(part.removesuffix("s"))
            if not all(map(math.isfinite, given.values())):
                raise ValueError
            return cls(**given)  # pyright: ignore[reportArgumentType]
        except ValueError:
            raise ValueError(
                f"a budget is a number of cells, of seconds, or both: 2000 or 60s or 2000,60s; "
                f"got {text!r}."
            ) from None


DEFAULT_BUDGET = Budget()


@dataclasses.dataclass(frozen=True)
class Explored:
    """How closely a space was looked at.

    Attributes:
        finest: side of the smallest box, as a share of every range.
        largest: side of the largest box that was left whole, of those in which cells count.
        box: that box: its shape, and (low, high) of every range.
    """

    finest: float
    largest: float
    box: dict[str, Any]

    def __str__(self) -> str:
        shape = f"sizes={self.box['sizes']}, p={self.box['num_views']}, d={self.box['dim']}"
        ranges = [f"{k}={v[0]:.4g}..{v[1]:.4g}" for k, v in self.box.items() if type(v) is tuple]
        return (
            f"finest box {self.finest:.2g} of every range, largest unexplored {self.largest:.2g}: "
            + ", ".join([shape, *ranges])
        )


@dataclasses.dataclass(frozen=True)
class Trial(Told):
    """What became of a conjecture.

    Attributes:
        claim: the conjecture.
        judgement: its verdict, on all cells that were solved; None if it could not be judged.
        table: those cells.
        slices: slices that were reached, and slices of the space.
        tightest: the cell of the smallest margin.
        snippet: for a counterexample, Python that reproduces it.
        seconds: wall time.
        error: what is wrong with the conjecture itself.
        explored: how closely its space was looked at; None where there are no ranges.
    """

    claim: Claim | Theorem
    judgement: Judgement | None
    table: pl.DataFrame | None = None
    slices: tuple[int, int] | None = None
    tightest: dict[str, Any] | None = None
    snippet: str = ""
    seconds: float = 0.0
    error: str = ""
    explored: Explored | None = None

    @property
    def as_expected(self) -> bool:
        """Whether it was judged, and as expected; a conjecture only has to be decided."""
        return self.judgement is not None and self.judgement.as_expected

    __repr__ = Told.in_a_line

    def said(self) -> Iterator[str]:
        """Verdict and name."""
        yield from (
            (f"ERROR {self.claim.name}",) if self.judgement is None else self.judgement.said()
        )

    def lines(self) -> Iterator[str]:
        """Verdict, cells, counterexample and the Python that makes it again, for a reader."""
        judgement, claim = self.judgement, self.claim
        if judgement is None:
            yield f"ERROR      {self.error}"
            return
        slices = ("{} of {} slices".format(*self.slices),) if self.slices else ()
        yield f"{judgement.words:<10} {claim.name}: {claim.statement}"
        yield f"{INDENT}{', '.join(judgement.facts(*slices))}, {self.seconds:.1f} s"
        yield from judgement.remarks()
        if isinstance(claim, Theorem):
            return
        if self.snippet and judgement.counterexample:
            cells = [judgement.counterexample, *judgement.counterexample.get("followed_by", ())]
            places = "; then ".join(coordinates(cell, claim.domain.loss) for cell in cells)
            yield f"{INDENT}smallest counterexample: {places}"
            yield ""
            yield from (f"    {line}" for line in self.snippet.splitlines())
        elif self.tightest:
            yield f"{INDENT}tightest at {coordinates(self.tightest, claim.domain.loss)}"
        if self.explored and not self.snippet:
            yield f"{INDENT}{self.explored}"

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        if self.judgement is None:
            names = {"name": self.claim.name, "statement": self.claim.statement}
            return names | {"verdict": None, "error": self.error}
        return self.judgement.to_json() | {
            "slices": self.slices,
            "tightest": self.tightest,
            "explored": self.explored and dataclasses.asdict(self.explored),
            "snippet": self.snippet,
            "seconds": self.seconds,
        }
