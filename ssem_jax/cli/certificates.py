"""ssem check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssem_jax.cli.console import AS_EXPECTED, NOT_AS_EXPECTED, Answer, JsonOption, app


@app.command("check")
def check_files(
    paths: Annotated[list[Path], typer.Argument(help="Files of certificates, or folders of them.")],
    as_json: JsonOption = False,
) -> int | Answer:
    """Check certificates in exact arithmetic, with a program that nothing else had a say in.

    Files come from `ssem verify --certificates`, from `ssem test --out` (counterexamples) and from
    sx.export. Each claim is proven from the problem that its file states, by
    proofs_numeric/check.py: 299 lines that need nothing but Python, so that
    `python check.py FILE...` says the same elsewhere. The exit code is 0 if all claims of all
    files are proven.
    """
    from proofs_numeric import check

    files = [file for path in paths for file in _files_of(path)]
    if not as_json:
        return check.main(list(map(str, files)))
    said = [check.check(str(file)) for file in files]
    failures = [text for proven, text in said if not proven]
    found = {"files": len(files), "proven": len(files) - len(failures), "failures": failures}
    return Answer(NOT_AS_EXPECTED if failures else AS_EXPECTED, found)


def _files_of(path: Path) -> list[Path]:
    """The file, or the certificates in a folder."""
    if path.is_dir():
        files = sorted(path.glob("*.json"))
        if not files:
            raise ValueError(f"{path} holds no certificate; give a folder of .json files.")
        return files
    if not path.exists():
        raise ValueError(
            f"{path} does not exist; give files of `ssem verify --certificates DIR` or of "
            "sx.export, or a folder of them."
        )
    return [path]
