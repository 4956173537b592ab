"""ssem guide, ssem audit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    progress_bar,
    say,
    set_up,
)

if TYPE_CHECKING:
    from ssem_jax.advice.random_batches import RandomGuide

UnlabeledOption = Annotated[
    str | None,
    typer.Option(
        help="Rows without a label: drop them, or keep them as a class. [default: refuse them]",
        show_default=False,
    ),
]
UnlabeledLabelOption = Annotated[str, typer.Option(help="The label that stands for none.")]


def echo(*words: str) -> None:
    """What was understood, before anything is computed."""
    for line in words:
        say(line)


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
        typer.Option(
            help="Instead of m and n: the labels of a batch, .npy, a table, or text, one a line; "
            "with --batch, those of the data set.",
            metavar="FILE[:NAME]",
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(help="Instead of n: instances in a random batch, whatever their classes."),
    ] = None,
    unlabeled: UnlabeledOption = None,
    unlabeled_label: UnlabeledLabelOption = "-1",
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

    Of random batches: ssem guide --classes 1000 --batch 1024 --tau 0.5, for equal classes of a
    large data set; or with --labels FILE, for those of a data set as they are: alpha_c is then
    the threshold of the first class to part, and what later classes do is told by their delta2.
    """
    set_up()
    if batch is not None and (instances is not None or plot is not None):
        raise ValueError(
            "--batch is of random batches of a data set: give it with --classes or --labels, and "
            "without --instances and --plot."
        )
    if batch is not None and labels is None:
        if classes is None:
            raise ValueError("--batch needs a data set: give --classes, or --labels FILE.")
        from ssem_jax.advice.random_batches import guide_random_batches

        options = {"num_views": views, "self_pairs": self_pairs, "mean": mean, "delta2": delta2}
        return answered(guide_random_batches(classes, batch, alpha, tau, **options), as_json)
    from ssem_jax.advice.guides import guide
    from ssem_jax.problem.structure import ClassStructure

    names = None
    if labels is not None:
        import numpy as np

        from ssem_jax.advice.files import labels_in
        from ssem_jax.advice.inputs import classify

        if classes is not None or instances is not None:
            raise ValueError("--labels replaces --classes and --instances; give one or the other.")
        found = labels_in(labels)
        understood = classify(found.values, unlabeled, unlabeled_label)
        sizes = np.bincount(understood.codes[understood.codes >= 0])
        structure = ClassStructure(tuple(sizes.tolist()), views)
        names = tuple(map(str, understood.classes.tolist()))
        echo(f"labels: {understood.words[0]}{found.words}", *understood.words[1:])
    elif classes is None or instances is None:
        raise ValueError("give --classes and --instances of a batch, or --labels FILE.")
    else:
        structure = ClassStructure.balanced(classes, instances, views)
    if batch is not None:
        from ssem_jax.advice.data_batches import guide_data_batches

        convention = {"self_pairs": self_pairs, "mean": mean, "delta2": delta2}
        return answered(guide_data_batches(structure, batch, alpha, tau, **convention), as_json)
    options = {"self_pairs": self_pairs, "mean": mean, "delta2": delta2, "names": names}
    with progress_bar("guide", len({*structure.sizes} - {1}), "class sizes") as advance:
        answer = guide(structure, alpha, tau, **options, progress=advance)
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


def answered(answer: RandomGuide, as_json: bool) -> int | Answer:
    """What is said of random batches."""
    if as_json:
        return Answer(AS_EXPECTED, answer.to_json())
    for line in answer.lines():
        console_of().print(line, markup=False)
    return AS_EXPECTED


# ---------------------------------------------------------------------------------------------
# ssem audit
# ---------------------------------------------------------------------------------------------


@app.command("audit")
def audit_command(
    embeddings: Annotated[
        Path,
        typer.Argument(
            help="(N, d) or (B, p, d) numbers: .npy, .npz, .safetensors, .parquet, .csv or .txt; "
            "after a colon the name of one of several arrays.",
            metavar="FILE[:NAME]",
        ),
    ],
    labels: Annotated[
        Path,
        typer.Option(
            help="One for each row or instance: such a file, or text with one a line; after a "
            "colon the name of a column.",
            metavar="FILE[:NAME]",
        ),
    ],
    tau: Annotated[float, typer.Option(help="Temperature, positive.")],
    alpha: Annotated[
        float | None, typer.Option(help="Weight of L_self, from 0 to 1; of supcl alone.")
    ] = None,
    loss: Annotated[
        str, typer.Option(help="supcl, supcon, simclr (nt-xent, infonce), dcl or sincere.")
    ] = "supcl",
    views: Annotated[int, typer.Option(help="Views of an instance, of (N, d) embeddings.")] = 1,
    view_order: Annotated[
        str | None,
        typer.Option(
            help="Of (N, d) embeddings: 'instance', where the views of an instance are adjacent "
            "rows; or 'view', where all instances of a view are, as of torch.cat of unbound views."
        ),
    ] = None,
    instance_ids: Annotated[
        Path | None,
        typer.Option(
            help="Instead of --views: an id for each row, equal for the views of an instance.",
            metavar="FILE[:NAME]",
        ),
    ] = None,
    unlabeled: UnlabeledOption = None,
    unlabeled_label: UnlabeledLabelOption = "-1",
    self_pairs: SelfPairsOption = "include",
    mean: MeanOption = "pairs",
    tolerance: Annotated[
        float,
        typer.Option(
            help="The gap up to which embeddings count as optimal, as 1e-3 for a trained encoder."
        ),
    ] = 1e-9,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> int | Answer:
    """Certify anybody's embeddings: loss, gap to the global optimum, brackets, phase.

    The gap is to the best embeddings in any dimension. Exit code 0 if it is at most --tolerance;
    else what is the matter and what to change is said.

    Example: ssem audit features.npy --labels labels.csv --loss supcon --tau 0.1 --views 2
    --view-order view
    """
    set_up()
    import jax

    from ssem_jax.advice.audits import audit_batch, expectation
    from ssem_jax.advice.files import embeddings_in, labels_in
    from ssem_jax.advice.inputs import read_batch
    from ssem_jax.losses.conventions import named_loss, scaled_elsewhere
    from ssem_jax.problem.display import loss_text

    chosen = named_loss(loss, tau, alpha, self_pairs, mean)
    points, given = embeddings_in(embeddings), labels_in(labels)
    batch = read_batch(
        points.values,
        given.values,
        num_views=views,
        view_order=view_order,
        instance_ids=None if instance_ids is None else labels_in(instance_ids).values,
        unlabeled=unlabeled,
        unlabeled_label=unlabeled_label,
    )
    echo(f"embeddings: {points.words}", f"labels: {batch.words[0]}{given.words}", *batch.words[1:])
    echo(f"loss: {loss_text(chosen)}")
    if expected := expectation(batch):
        say(expected)
    result = audit_batch(batch, chosen, jax.random.key(seed), tolerance)
    found = result.to_json()
    code = AS_EXPECTED if result.optimal else NOT_AS_EXPECTED
    if as_json:
        return Answer(code, found)
    _show_audit(found, result.verdict)
    losses, *rest = result.diagnosis.lines() if result.diagnosis else ("",)
    print(losses)
    for theirs, factor in scaled_elsewhere(loss, batch.structure, tau):
        least, equal = found["diagnosis"]["minimum"], found["diagnosis"]["all_equal_loss"]
        known = "" if equal is None else f", of equal rows {factor * equal:.6g}"
        print(
            f"as {theirs} shows them, times {factor:.6g}: loss {factor * found['loss']:.6g}, "
            f"minimal {factor * least:.6g}{known}"
        )
    for line in rest:
        print(line)
    return code


def _show_audit(audited: dict[str, Any], verdict: str) -> None:
    print(f"{audited['structure']}")
    print(f"loss {audited['loss']:.12g}, no embedding below {audited['lower']:.12g}")
    print(f"gap {audited['gap']:.3e}: {verdict} (tolerance {audited['gap_tolerance']:.0e})")
    print(f"phase of the optimum: {audited['optimal_phase']}")
    predicted = audited["predicted"]
    known = () if predicted is None else ("predicted",)
    table = Table("variance", "found", *known, "bracket at this loss", box=None)
    for name, value in audited["found"].items():
        bracket = audited["brackets"].get(name)
        table.add_row(
            name,
            f"{value:.6g}",
            *(() if predicted is None else (f"{predicted[name]:.6g}",)),
            "" if bracket is None else f"[{bracket[0]:.6g}, {bracket[1]:.6g}]",
        )
    console_of().print(table)
