"""ssem ufm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.table import Table

from ssem_jax.cli.console import AS_EXPECTED, Answer, JsonOption, app, console_of
from ssem_jax.cli.parse import parse_integers, parse_numbers

if TYPE_CHECKING:
    from ssem_jax.certificate.features import FeatureOptimum
    from ssem_jax.losses.features import LastLayer, Norms

MOST_LISTED = 12
"""Class indices that are listed in words."""


@app.command("ufm")
def ufm_command(
    sizes: Annotated[str, typer.Option(help="Samples of every class, as 100,100,5,5.")],
    ridge: Annotated[
        str | None,
        typer.Option(help="Weight decay λ_W,λ_H: λ_W/2 |W|² + λ_H/2 |H|².", metavar="W,H"),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Layer-peeled: mean squared norms of weights and, by class, of features.",
            metavar="W,H",
        ),
    ] = None,
    balls: Annotated[
        str | None,
        typer.Option(help="The norm of every weight and of every feature, at most.", metavar="S,R"),
    ] = None,
    unit: Annotated[
        float | None,
        typer.Option(help="Unit weights and features (NormFace), at this temperature.", min=0),
    ] = None,
    bias: Annotated[
        str, typer.Option(help="none, free, or the weight λ_b of λ_b/2 |b|².")
    ] = "none",
    smoothing: Annotated[float, typer.Option(help="Of the labels, from 0 to below 1.")] = 0.0,
    loss: Annotated[str, typer.Option(help="cross-entropy or squared (error).")] = "cross-entropy",
    as_json: JsonOption = False,
) -> int | Answer:
    """The optimum of a last layer over free features, certified: do classes merge, at what angles?

    Cross-entropy, or squared error, of weights W and features H that may be anything within their
    norms (the unconstrained-features and layer-peeled models of neural collapse). No W and H of any
    dimension have a loss below `lower`. Give one of --ridge, --budget, --balls and --unit. The cost
    depends on the number of different sizes alone.

    Example: ssem ufm --sizes 100,100,5,5 --ridge 1e-3,1e-3

    Minority collapse: ssem ufm --sizes 40,40,10,10 --budget 1,1

    --json says of every norm, cosine and margin between which ends it lies in every optimum.
    """
    from ssem_jax.certificate.features import solve_features

    given = parse_integers("--sizes", sizes)
    norms = _norms(ridge, budget, balls, unit)
    found = solve_features(_loss(loss, norms, _bias(bias), smoothing), given)
    if as_json:
        return Answer(AS_EXPECTED, to_json(found, given))
    _show(found, given)
    return AS_EXPECTED


def _norms(ridge: str | None, budget: str | None, balls: str | None, unit: float | None) -> Norms:
    from ssem_jax.losses.features import Balls, Budget, Ridge, Unit

    made = {"--ridge": (Ridge, ridge), "--budget": (Budget, budget), "--balls": (Balls, balls)}
    chosen = [(name, kind, text) for name, (kind, text) in made.items() if text is not None]
    if len(chosen) + (unit is not None) != 1:
        raise ValueError(
            "give one of --ridge W,H, --budget W,H, --balls S,R and --unit TAU: what bounds the "
            f"norms; got {len(chosen) + (unit is not None)} of them."
        )
    if unit is not None:
        return Unit(unit)
    name, kind, text = chosen[0]
    numbers = parse_numbers(name, text)
    if len(numbers) != 2:
        raise ValueError(f"{name} takes two numbers, of weights and features; got {text!r}.")
    return kind(*numbers)


def _loss(name: str, norms: Norms, bias: bool | float, smoothing: float) -> LastLayer:
    from ssem_jax.losses.features import CrossEntropy, SquaredError

    if name == "cross-entropy":
        return CrossEntropy(norms, bias, smoothing)
    if name != "squared":
        raise ValueError(f"--loss takes cross-entropy or squared; got {name!r}.")
    if smoothing:
        raise ValueError("--smoothing is of cross-entropy; leave it out with --loss squared.")
    return SquaredError(norms, bias)


def _bias(text: str) -> bool | float:
    if text in ("none", "free"):
        return text == "free"
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--bias takes none, free or a weight as 0.01; got {text!r}.") from None


def to_json(found: FeatureOptimum, sizes: tuple[int, ...]) -> dict[str, Any]:
    """The document: kinds of classes by their size, and what is said of each and of two."""
    kinds, brackets = found.kinds, found.brackets
    names = kinds.sizes.astype(int).tolist()
    pairs = [
        (i, j)
        for i in range(len(names))
        for j in range(len(names))
        if i != j or kinds.counts[i] > 1
    ]

    def ends(of: tuple[np.ndarray, np.ndarray], at: int | tuple[int, int]) -> list[float]:
        return [float(end[at]) for end in of]

    return {
        "sizes": list(sizes),
        "value": found.value,
        "lower": found.lower,
        "gap": found.gap,
        "merged": found.merged(sizes),
        "kinds": [
            {
                "size": size,
                "classes": np.flatnonzero(np.asarray(sizes) == size).tolist(),
                "merging": found.merging[place],
                "alignment": float(found.alignment[place]),
                "alignment_bracket": ends(brackets.alignment, place),
                "bias": float(found.biases[place]),
            }
            for place, size in enumerate(names)
        ],
        "norms": {
            "weights": found.weights.norms.tolist(),
            "features": found.features.norms.tolist(),
            "weight_brackets": [ends(brackets.weights.norms, i) for i in range(len(names))],
            "feature_brackets": [ends(brackets.features.norms, i) for i in range(len(names))],
        },
        "cosines": [
            {
                "sizes": [names[i], names[j]],
                "weights": float(found.weights.cosines[i, j]),
                "features": float(found.features.cosines[i, j]),
                "weight_bracket": ends(brackets.weights.cosines, (i, j)),
                "feature_bracket": ends(brackets.features.cosines, (i, j)),
            }
            for i, j in pairs
            if i <= j
        ],
        "margins": [
            {
                "of": names[i],
                "against": names[j],
                "margin": float(found.margins[i, j]),
                "bracket": ends(found.margin_brackets, (i, j)),
            }
            for i, j in pairs
        ],
        "simplex_distance": found.simplex_distance,
    }


def _show(found: FeatureOptimum, sizes: tuple[int, ...]) -> None:
    from ssem_jax.advice.classifiers import describe

    print(f"loss {found.value:.12g}, no weights and features below {found.lower:.12g}")
    print(f"gap {found.gap:.3e}: certified in all dimensions")
    table = Table(
        "size", "classes", "weight", "feature", "alignment", "weight cosine", "margin", box=None
    )
    for place, (size, count) in enumerate(zip(found.kinds.sizes, found.kinds.counts, strict=True)):
        several = count > 1
        low, high = (ends[place, place] for ends in found.margin_brackets)
        there = found.brackets.weights.norms[0][place] > 0  # what is 0 has no direction
        table.add_row(
            f"{size:g}",
            f"{count:g}",
            f"{found.weights.norms[place]:.6g}",
            f"{found.features.norms[place]:.6g}",
            f"{found.alignment[place]:.6g}" if there else "",
            f"{found.weights.cosines[place, place]:.6g}" if several and there else "",
            f"[{low:.6g}, {high:.6g}]" if several else "",
        )
    console_of().print(table)
    print("(of one class: norms, cosine of weight and feature; of two of one size: cosine, and by")
    print("how much its own class is more probable for a sample, or its logit larger)")
    norms, cosines = found.unknown
    print(f"every optimum has these norms to {norms:.1e} of the largest, cosines to {cosines:.1e}")
    for group in found.merged(sizes):
        more = " …" if len(group) > MOST_LISTED else ""
        print(f"merged: classes {', '.join(map(str, group[:MOST_LISTED]))}{more}")
    for line in describe(found):
        print(line)
