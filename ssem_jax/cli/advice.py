"""ssem guide, ssem audit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from ssem_jax.cli.console import (
    AS_EXPECTED,
    NOT_AS_EXPECTED,
    Answer,
    JsonOption,
    MeanOption,
    SeedOption,
    SelfPairsOption,
    app,
    console_of,
    set_up,
)

# ---------------------------------------------------------------------------------------------
# ssem guide
# ---------------------------------------------------------------------------------------------


@app.command("guide")
def guide_command(
    classes: Annotated[int | None, typer.Option(help="m, classes in a batch.")] = None,
    instances: Annotated[int | None, typer.Option(help="n, instances of a class in it.")] = None,
    views: Annotated[int, typer.Option(help="p, views of an instance.")] = 1,
    labels: Annotated[
        Path | None,
        typer.Option(help="Instead of m and n: the labels of a batch, .npy or text, one a line."),
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="Weight of L_self, from 0 to 1.")] = None,
    tau: Annotated[float | None, typer.Option(help="Temperature, positive.")] = None,
    delta2: Annotated[
        float | None, typer.Option(help="The variance within classes that is wanted.")
    ] = None,
    self_pairs: SelfPairsOption = "include",
    mean: MeanOption = "pairs",
    plot: Annotated[Path | None, typer.Option(help="Picture: .png, .svg or .pdf.")] = None,
    as_json: JsonOption = False,
) -> int | Answer:
    """Say which alpha and tau keep classes from collapsing, and how far instances then spread.

    Collapse thresholds, predicted within-class variance, what to choose for a wanted variance, and
    how that moves with the batch; what is not given of alpha and tau is chosen.

    Example: ssem guide --classes 10 --instances 50 --views 2 --alpha 0.5
    """
    set_up()
    from ssem_jax.advice.guides import guide
    from ssem_jax.problem.structure import ClassStructure

    names = None
    if labels is not None:
        from ssem_jax.advice.audits import read_labels

        if classes is not None or instances is not None:
            raise ValueError("--labels replaces --classes and --instances; give one or the other.")
        found = read_labels(labels)
        structure = ClassStructure(ClassStructure.from_labels(found)[0].sizes, views)
        names = tuple(map(str, np.unique(found)))
    elif classes is None or instances is None:
        raise ValueError("give --classes and --instances of a batch, or --labels FILE.")
    else:
        structure = ClassStructure.balanced(classes, instances, views)
    options = {"self_pairs": self_pairs, "mean": mean, "delta2": delta2, "names": names}
    answer = guide(structure, alpha, tau, **options)
    found = answer.to_json()
    if plot is not None:
        from ssem_jax.show.guide import draw_guide
        from ssem_jax.show.style import save

        found["plot"] = str(save(draw_guide(answer), plot))
    if as_json:
        return Answer(AS_EXPECTED, found)
    for line in answer.lines():
        console_of().print(line, markup=False)
    if plot is not None:
        print(f"The picture is in {plot}.")
    return AS_EXPECTED


# ---------------------------------------------------------------------------------------------
# ssem audit
# ---------------------------------------------------------------------------------------------


@app.command("audit")
def audit_command(
    embeddings: Annotated[Path, typer.Argument(help="A .npy array, one embedding a row.")],
    labels: Annotated[Path, typer.Option(help="A .npy array, or text with one label a line.")],
    alpha: Annotated[float, typer.Option(help="Weight of L_self, from 0 to 1.")],
    tau: Annotated[float, typer.Option(help="Temperature, positive.")],
    views: Annotated[int, typer.Option(help="Views; those of an instance are adjacent rows.")] = 1,
    self_pairs: SelfPairsOption = "include",
    mean: MeanOption = "pairs",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> int | Answer:
    """Certify anybody's embeddings: loss, gap to the global optimum, brackets, phase.

    The gap is to the best embeddings in any dimension. Exit code 0 if it is at most 1e-9.
    """
    set_up()
    import jax

    from ssem_jax.advice.audits import audit, read_embeddings, read_labels
    from ssem_jax.losses.supcl import SupCL

    result = audit(
        read_embeddings(embeddings),
        read_labels(labels),
        SupCL(alpha, tau, self_pairs, mean),
        num_views=views,
        key=jax.random.key(seed),
    )
    found = result.to_json()
    code = AS_EXPECTED if result.optimal else NOT_AS_EXPECTED
    if as_json:
        return Answer(code, found)
    _show_audit(found)
    return code


def _show_audit(audited: dict[str, Any]) -> None:
    print(f"{audited['structure']}")
    print(f"loss {audited['loss']:.12g}, no embedding below {audited['lower']:.12g}")
    verdict = "globally optimal" if audited["optimal"] else "not certified as optimal"
    print(f"gap {audited['gap']:.3e}: {verdict} (tolerance {audited['gap_tolerance']:.0e})")
    print(f"phase of the optimum: {audited['optimal_phase']}")
    table = Table("variance", "found", "predicted", "bracket at this loss", box=None)
    for name, value in audited["found"].items():
        predicted = audited["predicted"]
        bracket = audited["brackets"].get(name)
        table.add_row(
            name,
            f"{value:.6g}",
            "" if predicted is None else f"{predicted[name]:.6g}",
            "" if bracket is None else f"[{bracket[0]:.6g}, {bracket[1]:.6g}]",
        )
    console_of().print(table)
