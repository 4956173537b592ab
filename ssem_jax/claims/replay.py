"""Counterexamples as certificates: a refuted sentence travels as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ssem_jax.certificate.exports import documents, is_known, is_quantity, write
from ssem_jax.claims.claim import Claim
from ssem_jax.claims.judgements import Judgement
from ssem_jax.sweeps.table import problem_of


def export_counterexample(judgement: Judgement, folder: Path) -> list[Path]:
    """The files of a counterexample: one for each of its cells, most often one.

    A file encloses the minimum of the cell and brackets the quantity that the claim is about, so
    that any framework can replay it. Where the claim says its statement `formal`, as comparisons,
    the file claims that it is refuted.

    Args:
        judgement: of a claim about cells.
        folder: an existing folder.

    Returns:
        The files; none where nothing was refuted, or by cells of a loss that the checker does not
        know.

    Raises:
        ValueError: the cell does not refute the formal statement, or contradicts its file.
    """
    claim, row = judgement.claim, judgement.counterexample
    if not isinstance(claim, Claim) or row is None:
        return []
    files, cells = [], [row, *row.get("followed_by", ())]
    for number, cell in enumerate(cells):
        problem = problem_of(cell, claim.domain.loss)
        if not is_known(problem.loss) or problem.least is not None:
            continue
        quantities = [claim.quantity] if is_quantity(claim.quantity, problem) else []
        enclosure = [cell["lower"]], [cell["lower"] + cell["gap"]]
        sentences = [refuted(claim)] if claim.formal is not None and len(cells) == 1 else []
        (document,) = documents(problem, *enclosure, quantities, sentences=sentences)
        name = claim.name if len(cells) == 1 else f"{claim.name}.{number + 1}"
        files.append(write(document, folder / f"{name}.json"))
    return files


def refuted(claim: Claim) -> dict[str, Any]:
    """The sentence of a file that says that a claim is false."""
    given, then = claim.formal or ((), ())
    comparisons = {"if": list(given), "then": list(then)}
    return {"sentence": claim.statement} | comparisons | {"holds": False}
