"""Lists and ranges of numbers on the command line."""

from __future__ import annotations

import math

NUMBERS_LIMIT = 10**6
"""Numbers of one range: more cells than a sweep of a day has."""


class TooMany(ValueError):
    """A range of more numbers than `NUMBERS_LIMIT`."""


def parse_numbers(option: str, text: str) -> tuple[float, ...]:
    """Numbers from "a,b,c", "first:last:count" or "log:first:last:count".

    Raises:
        ValueError: anything else, and more numbers than `NUMBERS_LIMIT`.
    """
    import numpy as np  # only for ranges: `ssem --help` waits for nothing that it does not use

    parts = text.split(":")
    spaced = np.geomspace if parts[0] == "log" else np.linspace
    ends = parts[1:] if parts[0] == "log" else parts
    try:
        if len(parts) == 1:
            return tuple(float(part) for part in listed(text))
        first, last, count = float(ends[0]), float(ends[1]), int(ends[2])
        if len(ends) != 3 or count < 1 or (spaced is np.geomspace and min(first, last) <= 0):
            raise ValueError
        if count > NUMBERS_LIMIT:
            raise TooMany(f"{option} takes at most {NUMBERS_LIMIT:,} numbers; got {text!r}.")
        return tuple(spaced(first, last, count).tolist())
    except TooMany:
        raise
    except (ValueError, IndexError):
        raise ValueError(
            f"{option} takes numbers as 0.1,0.5 or first:last:count or log:first:last:count "
            f"(log needs positive ends); got {text!r}."
        ) from None


def parse_integers(option: str, text: str) -> tuple[int, ...]:
    """Integers from a list or range as :func:`parse_numbers` reads it; a range is rounded and keeps
    each value once.

    Raises:
        ValueError: anything that is no integer.
    """
    numbers = parse_numbers(option, text)
    if ":" in text:
        return tuple(dict.fromkeys(round(number) for number in numbers))
    if not all(math.isfinite(number) and number == int(number) for number in numbers):
        raise ValueError(f"{option} takes integers; got {text!r}.")
    return tuple(int(number) for number in numbers)


def listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def at_least(option: str, value: int, least: int) -> int:
    if value < least:
        raise ValueError(f"{option} must be at least {least}; got {value}.")
    return value
