"""JSON documents that every reader knows: what a command answers, and what is kept beside a run.

JSON has no infinity and no NaN. Python writes them all the same, and other readers refuse the
document; here they are null, as the gap of a cell that nothing bounds from below.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """A value of mappings, sequences, arrays and numbers as JSON knows it; else its text."""
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)


def write(document: Any, *, ascii: bool = True) -> str:
    """The document as text.

    Args:
        document: what :func:`plain` takes.
        ascii: whether other characters are escaped, for a stream whose encoding is not known.
    """
    return json.dumps(plain(document), indent=2, ensure_ascii=ascii, allow_nan=False)
