"""The command line, `ssem verify`, `test`, `sweep`, `guide`, `audit` and others: thin.

Results go to stdout, progress to stderr. With --json, stdout holds one JSON document and nothing
else, whatever happens: an error is ``{"error": ...}``, and what a user's file prints goes to
stderr. Exit codes: 0 as expected, 1 a verdict is not as expected or undecided, 2 bad usage or
another error, 130 interrupted, 141 nobody reads the answer.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from contextlib import nullcontext, redirect_stdout
from typing import Annotated, NoReturn

import typer

from ssem_jax.cli.console import AS_EXPECTED, BAD_USAGE, CUT_OFF, INTERRUPTED, Answer, app, say
from ssem_jax.cli.streams import drop_stdout, flush_stdout, prepare_streams, was_cut_off

# isort: off
# Importing a file adds its commands to the app, in the order in which `ssem --help` lists them.
from ssem_jax.cli import (  # noqa: F401
    verify,
    certificates,
    conjectures,
    proposals,
    papers,
    sweeps,
    landscapes,
    pictures,
    advice,
    features,
    train,
)
# isort: on


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; every foreseeable error is one line on stderr and exit code 2."""
    prepare_streams()
    logging.basicConfig(format="ssem: %(message)s")
    given = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in given and "--help" not in given
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        answer = _run(arguments)
    code = answer.code if isinstance(answer, Answer) else answer
    try:
        if as_json and isinstance(answer, Answer):
            from ssem_jax.sweeps import document

            print(document.write(answer.document))
        flush_stdout()
    except BrokenPipeError:
        code = _cut_off()
    sys.exit(code)


def _run(arguments: list[str] | None) -> Answer | int:
    """What a command answers, or the error that it ends with."""
    try:
        found = typer.main.get_command(app).main(arguments, "ssem", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        found = INTERRUPTED
    except SystemExit as error:  # no command ends so: what it called does
        if was_cut_off(error):
            return _cut_off()
        return _refuse(f"something called sys.exit({error.code!r}) before the command was done.")
    except BrokenPipeError:
        return _cut_off()
    except (ValueError, OSError) as error:
        return _refuse(str(error))
    except Exception as error:
        if isinstance(error, MemoryError) or "Out of memory" in str(error):
            return _refuse(f"out of memory; ask for fewer or smaller things ({error}).")
        # Typer raises its usage errors under different parents from version to version.
        if not hasattr(error, "format_message"):
            traceback.print_exc()
            return _refuse(f"{type(error).__name__}: {error}")
        message: str = error.format_message()  # pyright: ignore[reportAttributeAccessIssue]
        if message.startswith("Usage:"):  # a command without its arguments: the help itself
            print(message)
            return BAD_USAGE
        return _refuse(f"{message.rstrip('.')}. Try 'ssem --help'.")
    if found == INTERRUPTED:  # caught above, or by some versions of Typer
        message = "interrupted; finished parts in --out are kept, repeat the command to go on."
        say(message)
        return Answer(INTERRUPTED, {"error": message})
    return found if isinstance(found, (Answer, int)) else AS_EXPECTED


def _refuse(message: str) -> Answer:
    """An error: a line on stderr, and the document."""
    message = as_typed(" ".join(message.split()))
    say(f"error: {message}")
    return Answer(BAD_USAGE, {"error": message})


OPTIONS = {
    r'\bview_order "(\w+)"': r"--view-order \1",
    r'\bunlabeled "(\w+)"': r"--unlabeled \1",
    r"\bnum_views=(\d+)": r"--views \1",
}
"""What messages say of arguments in Python, and how they are typed here."""


def as_typed(message: str) -> str:
    """A message that tells what to give, in the words of the command line."""
    for argument, option in OPTIONS.items():
        message = re.sub(argument, option, message)
    return message


def _cut_off() -> int:
    """Nobody reads the answer, as of ``ssem guide | head -1``."""
    drop_stdout()
    say("nobody reads stdout any more.")
    return CUT_OFF


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print versions and exit.")] = False,
) -> None:
    if version:
        from ssem_jax.sweeps.folder import versions

        print(" ".join(f"{name} {number}" for name, number in versions().items()))
        raise typer.Exit
