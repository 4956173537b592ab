"""How problems and results show themselves: one line in a terminal, a few in a notebook."""

from __future__ import annotations

import dataclasses
import html
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ssem_jax.problem.validation import shown

INDENT = " " * 11
"""What stands under a verdict of up to ten letters."""


class Told:
    """What tells itself in `lines`, which a notebook shows."""

    def lines(self) -> Iterator[str]:
        """The whole of it, for a reader."""
        raise NotImplementedError

    def said(self) -> Iterator[str]:
        """What of it a line has room for."""
        raise NotImplementedError

    def in_a_line(self) -> str:
        """For `__repr__`, also under a transformation of JAX, where numbers have no values."""
        try:
            return f"<{type(self).__name__}: {'; '.join(self.said())}>"
        except (TypeError, ValueError):
            return f"<{type(self).__name__} of traced values>"

    def _repr_html_(self) -> str:
        return as_html(self.lines())


def as_html(lines: Iterable[str]) -> str:
    """Lines as a notebook shows them: letters of one width, as in a terminal, and long lines in
    several."""
    return f"<pre style='white-space: pre-wrap'>{html.escape(chr(10).join(lines))}</pre>"


def numbers_text(values: Any, digits: int = 6) -> str:
    """A number, or the range of an array of them; whatever else as it shows itself."""
    try:
        array = np.asarray(values, float)
    except (TypeError, ValueError):
        return shown(values)
    if array.size == 0:
        return "none"
    low, high = (f"{end:.{digits}g}" for end in (array.min(), array.max()))
    return low if low == high else f"{low} to {high}"


NOISE = 1e-9
"""What is nearer to 0 is a rounding of a solver, and is 0 to a reader."""


def share_text(value: float, form: str = ".4f") -> str:
    """A number from 0 to 1, which is never shown as an end that it only comes near."""
    text = format(value, form)
    if not NOISE < value < 1 or 0 < float(text) < 1:
        return text
    return f"{value:.0e}" if value < 0.5 else f"1 - {1 - value:.0e}"


def count_text(count: int, unit: str, units: str = "") -> str:
    """ "1 class", "3 classes": a count and what is counted."""
    return f"{count:,} {unit if count == 1 else units or f'{unit}s'}"


def counts_text(names: Iterable[str]) -> str:
    """How often each occurs: "287 converged, 2 saddle"; of one alone, its name."""
    counts = Counter(names)
    if counts.total() == 1:
        return next(iter(counts))
    return ", ".join(f"{count:,} {name}" for name, count in counts.most_common())


def loss_text(loss: Any) -> str:
    """A loss with its hyper-parameters, arrays of them as ranges."""
    if not dataclasses.is_dataclass(loss):
        return shown(loss)
    values = {field.name: getattr(loss, field.name, None) for field in dataclasses.fields(loss)}
    words = [
        f"{name}={shown(value) if isinstance(value, str | bool) else numbers_text(value)}"
        for name, value in values.items()
    ]
    return f"{type(loss).__name__}({', '.join(words)})"


def cells_text(batch: Any) -> str:
    """ "289 cells: " in front of what is said of a batch of them, and nothing for one."""
    size = np.size(batch)
    return f"{size:,} cells: " if np.ndim(batch) else ""
