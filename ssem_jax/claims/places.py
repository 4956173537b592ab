"""Where in a user's own file something went wrong."""

from __future__ import annotations

import traceback
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def place_of(error: BaseException) -> str:
    """The last place that an exception came from outside of installed packages, this one included;
    the very last where there is none: "file.py, line 12"."""
    frames = traceback.extract_tb(error.__traceback__)
    place = ([frame for frame in frames if _is_users(Path(frame.filename))] or frames)[-1]
    return f"{Path(place.filename).name}, line {place.lineno}"


def _is_users(file: Path) -> bool:
    return PACKAGE not in file.parents and "site-packages" not in file.parts
