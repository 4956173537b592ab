r"""Certificates as files that a stranger can check, with Python alone.

A file states a problem, says where to look (:mod:`ssem_jax.certificate.places`, or embeddings row
by row) and claims comparisons: the minimum lies between two decimals, the gap and the brackets are
at most so wide, the phase is this one, a sentence is refuted here. :mod:`proofs_numeric.check`, a
program of 299 lines that imports nothing of this package, derives the loss from the stated problem
and proves each claim, or refuses it.

Nothing that is written is taken over from a certificate. The bounds are those of the checker's own
functions, rounded outwards; what the certificate says only has to agree with them.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from proofs_numeric import check
from ssem_jax.certificate.certificate import Certificate
from ssem_jax.certificate.class_blocks import FEW_CLASSES
from ssem_jax.certificate.places import Place, Tilt, functional_of, known_places, places
from ssem_jax.losses.supcl import SupCL
from ssem_jax.losses.weighted import WeightedSupCL
from ssem_jax.problem.problem import Problem, check_problem
from ssem_jax.problem.validation import check_choice, check_type, require_x64, shown

BITS = {"blocks": 128, "rows": 64}
"""Bits that a file asks of the checker: far below the gap of what it holds."""
TILTS = {"blocks": ("1e-12",), "rows": ("1e-8", "1e-6", "1e-4")}
"""Tilts that are tried; the one with the narrowest bracket is written. A bracket is about gap/t + t
wide, and the gap 1e-37 at blocks and 1e-13 at rows of floats."""
STATED_ROUNDING = 2.0**-52
"""A file states the shortest decimals that read as the floats of a problem: they are α and τ to
within this, relative."""
DIGITS_SHOWN = 8
"""A bracket is widened by its rounding to decimals by one part in so many, at most, at each end."""

Document = dict[str, Any]


# -------------------------------------------------------------------------------- what is stated


def is_known(loss: Any) -> bool:
    """Whether the checker knows a loss, and its mean."""
    return type(loss) in (SupCL, WeightedSupCL) and loss.mean != "all"


def is_quantity(name: str, problem: Problem) -> bool:
    """Whether the checker knows a quantity of a problem that is not bracketed anyway."""
    try:
        functional_of(name, problem.structure.sizes)
    except ValueError:
        return False
    return name not in quantities_of(problem)


def stated(problem: Problem) -> list[dict[str, Any]]:
    """The problem of every cell as a file states it.

    Raises:
        ValueError: a loss that the checker does not know.
    """
    loss: Any = problem.loss
    structure = problem.structure
    if not is_known(loss):
        raise ValueError(
            "the checker knows SupCL (of which InfoNCE and the decoupled loss are cases) and "
            'WeightedSupCL, of means over "pairs" and "anchors"; got '
            f"{type(loss).__name__}. Its certificate can be stored in a table."
        )
    losses, size = problem.cells()
    weights = getattr(loss, "class_weights", (1,) * structure.num_classes)
    common = {
        "loss": "SupCL",
        "sizes": list(structure.sizes),
        "views": structure.num_views,
        "self_pairs": loss.self_pairs,
        "mean": loss.mean,
        "class_weights": [w if isinstance(w, int) else repr(float(w)) for w in weights],
    }
    return [
        common
        | {
            "alpha": repr(float(losses.alpha[cell])),
            "temperature": repr(float(losses.temperature[cell])),
        }
        for cell in range(size)
    ]


# ----------------------------------------------------------------------------------- decimals


def outward(x: Fraction, places: int, up: bool) -> str:
    """A decimal of so many places at or above (or below) an exact number."""
    scaled = x * 10**places
    whole = math.ceil(scaled) if up else math.floor(scaled)
    return format(Decimal(f"{whole}e-{places}"), "f")


def _places_for(width: Fraction) -> int:
    """Decimal places that a bracket of this width is written with."""
    return max(0, math.ceil(math.log10(DIGITS_SHOWN / max(width, Fraction(1, 10**99)))))


def short(x: Fraction) -> str:
    """Two digits at or above a positive number, as 1.6e-37."""
    places = 1 - math.floor(math.log10(x))
    return str(Decimal(f"{math.ceil(x * Fraction(10) ** places)}e{-places}")).lower()


# ------------------------------------------------------------------------------------ proofs


class _Found(NamedTuple):
    """What the checker's functions prove, and the document so far."""

    document: Document
    problem: check.Problem
    lower: Fraction
    upper: Fraction
    facts: dict[str, tuple[Fraction, Fraction]]


def _prove(
    problem: dict[str, Any], optimum: Place, bits: int, candidates: Sequence[tuple[Tilt, Place]]
) -> _Found:
    """The enclosure at a place, and the best bracket of each quantity among candidates."""
    document: Document = {"problem": problem, "bits": bits, "optimum": optimum, "tilts": []}
    found, gram = check.gram_of(document, optimum)
    lower, upper = check.lower_bound(found, gram), check.upper_bound(found, gram)
    best: dict[tuple[str, bool], tuple[Fraction, Tilt, Place]] = {}
    for tilt, place in candidates:
        t = Fraction(tilt.by)
        bound = (upper - check.lower_bound(*check.gram_of(document, place), tilt.of, t)) / t
        side = (tilt.of, t > 0)
        if side not in best or (bound < best[side][0]) == (t > 0):
            best[side] = bound, tilt, place
    facts = {"minimum": (lower, upper), "gap": (Fraction(0), upper - lower)}
    for (name, above), (bound, tilt, place) in best.items():
        least = 0 if "variance" in name or "delta2" in name or "squared" in name else -1
        low, high = facts.get(name, (Fraction(least), Fraction(1)))
        if not low < bound < high:
            facts[name] = (low, high)
            continue
        facts[name] = (low, bound) if above else (bound, high)
        document["tilts"].append({"of": name, "by": str(tilt.by).lower(), "at": place})
    return _Found(document, found, lower, upper, facts)


def _claims(found: _Found, sentences: Sequence[dict[str, Any]]) -> list[Any]:
    """What a file claims: enclosures and brackets rounded outwards, the phase, and sentences."""
    claims: list[Any] = []
    written = [(tilt["of"], Fraction(tilt["by"]) > 0) for tilt in found.document["tilts"]]
    for name, (low, high) in found.facts.items():
        if name == "gap":
            claims.append(f"gap <= {short(high)}")
            continue
        places = _places_for(high - low)
        if name == "minimum" or (name, False) in written:
            claims.append(f"{name} >= {outward(low, places, up=False)}")
        if name == "minimum" or (name, True) in written:
            claims.append(f"{name} <= {outward(high, places, up=True)}")
    cell = {"alpha": (found.problem.alpha,) * 2, "temperature": (found.problem.tau,) * 2}
    views = found.problem.views > 1
    variances = {"delta2": (0, 1), "view_variance": (0, int(views))}
    facts = found.problem.names | variances | cell | found.facts
    for phase, comparisons in check.PHASES.items():
        if all(check.holds(each, facts, found.problem) for each in comparisons):
            claims.append(phase)
            break
    for sentence in sentences:
        if check.decide(sentence, facts, found.problem) is not sentence["holds"]:
            expected = "true" if sentence["holds"] else "refuted"
            raise ValueError(
                f"{sentence['sentence']!r} is not proven to be {expected} at {found.problem.sizes}"
                f", alpha = {float(found.problem.alpha):g}, temperature = "
                f"{float(found.problem.tau):g}; export this cell without the sentence."
            )
        claims.append(sentence)
    return claims


def _agree(found: _Found, lower: float, upper: float) -> None:
    """Raise a ValueError if two enclosures of one minimum have nothing in common."""
    alpha, tau = float(found.problem.alpha), float(found.problem.tau)
    room = STATED_ROUNDING * (1 + alpha) * (1 + abs(upper) + 4 / tau)
    if float(found.lower) > upper + room or float(found.upper) < lower - room:
        raise ValueError(
            f"a contradiction: the checker finds the minimum between {float(found.lower)!r} and "
            f"{float(found.upper)!r}, the certificate between {lower!r} and {upper!r}. One of them "
            "is wrong; please report it."
        )


# ------------------------------------------------------------------------------------- files


def quantities_of(problem: Problem) -> tuple[str, ...]:
    """What decides the phase: δ², and with several views their variance."""
    several = max(problem.structure.sizes) > 1
    return ("delta2",) * several + ("view_variance",) * (problem.structure.num_views > 1)


def documents(
    problem: Problem,
    lower: Sequence[float] | np.ndarray,
    upper: Sequence[float] | np.ndarray,
    quantities: Sequence[str] = (),
    embeddings: np.ndarray | None = None,
    sentences: Sequence[dict[str, Any]] = (),
) -> Iterator[Document]:
    """The files of a batch of cells, one after another.

    Args:
        problem: a batch of B cells, or one.
        lower: (B,) and `upper` (B,): enclosures of the minima, with which the checker's must agree.
        quantities: bracketed besides what decides the phase.
        embeddings: (B, N, d) rows to be written instead of the symmetric optimum.
        sentences: claimed of every cell.

    Raises:
        ValueError: a loss or a quantity that the checker does not know, too many classes, a
            contradiction, or a sentence that is not proven.
    """
    check_problem(problem)
    problem.check_unbounded()
    form = "blocks" if embeddings is None else "rows"
    wanted = list(dict.fromkeys((*quantities_of(problem), *quantities)))
    for quantity in wanted:
        functional_of(quantity, problem.structure.sizes)
    tilts = [
        Tilt(quantity, Decimal(sign + size))
        for quantity in wanted
        for sign in ("", "-")
        for size in TILTS[form]
    ]
    for number, cell in enumerate(stated(problem)):
        optimum, candidates = {}, []
        read = check.Problem(cell, BITS[form])
        if known_places(read):
            optimum, *tilted = places(read, tilts)
            candidates = list(zip(tilts, tilted, strict=True))
        elif embeddings is None:
            raise ValueError(
                f"optima of unequal classes are computed up to {FEW_CLASSES} classes; got "
                f'{len(read.sizes)}. Export the embeddings themselves: form="rows".'
            )
        if embeddings is not None:
            rows = np.asarray(embeddings[number], float).tolist()
            optimum = {"rows": [[x.hex() for x in row] for row in rows]}
        proven = _prove(cell, optimum, BITS[form], candidates)
        _agree(proven, float(lower[number]), float(upper[number]))
        yield proven.document | {"claims": _claims(proven, sentences)}


def write(document: Document, path: Path) -> Path:
    """A file of one document, keys in order and one line for each entry of it."""
    entries = []
    for key, value in document.items():
        if isinstance(value, list):
            lines = ",\n  ".join(json.dumps(each, ensure_ascii=False) for each in value)
            entries.append(
                f"{json.dumps(key)}: [\n  {lines}]" if value else f"{json.dumps(key)}: []"
            )
        else:
            entries.append(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    path.write_text("{" + ",\n ".join(entries) + "}\n", encoding="utf-8")
    return path


FORMS = ("blocks", "rows")


def export(
    certificate: Certificate,
    path: str | os.PathLike[str],
    *,
    form: str = "blocks",
    quantities: Sequence[str] = (),
    sentences: Sequence[dict[str, Any]] = (),
) -> Path:
    """Write a certificate as a file that `ssem check PATH` and `python check.py PATH` prove.

    Args:
        certificate: of one cell of SupCL or WeightedSupCL.
        path: of the file; its folder must exist.
        form: "blocks" writes the symmetric optimum of the cell, in kilobytes and with a gap of
            1e-37, whatever the embeddings were; "rows" the embeddings themselves.
        quantities: bracketed besides δ² and the variance of views: "mean_squared",
            "within_similarity", "between_similarity", or the variances of one class, as
            "delta2_of_class_0".
        sentences: claimed besides, as {"sentence": text, "if": comparisons, "then": comparisons,
            "holds": False where the cell refutes it}.

    Returns:
        The path.

    Raises:
        ValueError: 64-bit mode is off, a loss or a quantity that the checker does not know, more
            than one cell, no embeddings for "rows", a sentence that is not proven here, or a
            contradiction between certificate and checker.
    """
    require_x64()
    check_type("certificate", certificate, Certificate, "what certify(solution) returns")
    check_choice("form", form, FORMS)
    problem = certificate.problem
    if problem.batch_size is not None and problem.batch_size != 1:
        raise ValueError(
            f"a file holds one cell; got {problem.batch_size}. Take them one by one: "
            "export(jax.tree.map(lambda leaf: leaf[0], certificate), path)."
        )
    rows = None
    if form == "rows":
        if certificate.embeddings is None:
            raise ValueError(
                "this certificate was made of similarities and has no embeddings; export its "
                'blocks, with form="blocks".'
            )
        size = (1, problem.structure.num_embeddings, -1)
        rows = np.asarray(certificate.embeddings).reshape(size)
    lower = np.atleast_1d(np.asarray(certificate.lower))
    upper = lower + np.atleast_1d(np.asarray(certificate.gap))
    (document,) = documents(problem, lower, upper, quantities, rows, sentences)
    return write(document, _file(path))


def _file(path: Any) -> Path:
    try:
        file = Path(path)
    except TypeError:
        raise ValueError(f"path must be the name of a file; got {shown(path)}.") from None
    if file.is_dir() or not file.parent.is_dir():
        raise ValueError(f"{file} cannot be written: give the name of a file in a folder that is.")
    return file
