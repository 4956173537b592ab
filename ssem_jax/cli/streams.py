"""Stdout and stderr of any encoding, closed or not: the answer is printed all the same."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata

SPELLED = {
    **{"α": "alpha", "δ": "delta", "λ": "lambda", "μ": "mu", "ν": "nu", "σ": "sigma", "τ": "tau"},
    **{"²": "^2", "√": "sqrt", "∞": "inf", "·": "*", "×": "x", "±": "+-", "≈": "~", "π": "pi"},
    **{"≤": "<=", "≥": ">=", "≠": "!=", "→": "->", "∈": "in", "⟨": "<", "⟩": ">", "‖": "||"},
    **{"−": "-", "–": "-", "—": "-", "…": "...", "“": '"', "”": '"', "’": "'", "•": "*", "━": "-"},
}
"""Symbols as one writes them where there are only letters."""


def spelled(symbol: str) -> str:
    """A symbol in ASCII."""
    plain = unicodedata.normalize("NFKD", symbol).encode("ascii", "ignore").decode()
    return SPELLED.get(symbol) or plain or "?"


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Instead of characters that the encoding of a stream does not have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(spelled, error.object[error.start : error.end])), error.end


codecs.register_error("ssem.spelled", _spell)


def prepare_streams() -> None:
    """Let both streams take any symbol, and be there."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started this
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="ssem.spelled")


def was_cut_off(error: BaseException | None) -> bool:
    """Whether the reader of a pipe had gone: Click and rich turn that into an exit."""
    while error is not None and not isinstance(error, BrokenPipeError):
        error = error.__cause__ or error.__context__
    return error is not None


def flush_stdout() -> None:
    """Write what is left; where nobody reads it, nothing complains any more, at exit either.

    Raises:
        BrokenPipeError: the reader has gone.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop_stdout()
        raise


def drop_stdout() -> None:
    """Write the rest to nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
