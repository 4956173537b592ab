"""The gallery: images carry the numbers beside them, and the numbers agree with the theory."""

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import figures
import proofs_numeric.papers
import ssem_jax as sx
from figures.__main__ import main
from figures.build import MAX_IMAGE, MAX_NUMBERS, draw, read_numbers
from figures.common import mean_and_error
from ssem_jax import show
from ssem_jax.certificate import certificate
from ssem_jax.sweeps.table import least, most

MODULES = figures.modules()
GALLERY = figures.GALLERY
CAPTIONS = (GALLERY.parent / "README.md").read_text(encoding="utf-8")
PAGE = "explorer.html"
"""Written beside the images, and not committed there: its text stands in the package."""
IMAGES = [
    (name, image) for name, module in MODULES.items() for image in module.IMAGES if image != PAGE
]
STORED = 1e-7
"""Relative rounding of what is stored in single precision."""
WIDEST = 0.05
"""A bracket of a similarity in a picture of a paper: the loss is flattest near a threshold."""
FOUND = 1e-6
"""How far certified variances lie from the theory: widths of brackets at gaps of 1e-13."""


def drawn(name, image) -> tuple[Any, Any]:
    """The figure of an image, drawn anew from the saved numbers, and those numbers."""
    tables = read_numbers(GALLERY, name)
    figure: Any = draw(MODULES[name], image, tables)
    if hasattr(figure, "_draw_was_started"):  # matplotlib warns of animations that nobody saves
        figure._draw_was_started = True
    return figure, tables


def assert_drawn(figure, x, y):
    """Some line of the figure has exactly these data."""
    x, y = (np.asarray(column, float) for column in (x, y))
    for ax in figure.axes:
        for line in ax.lines:
            data = np.asarray(line.get_xydata(), float)
            if len(data) == len(x) and np.array_equal(data, np.stack([x, y], 1), equal_nan=True):
                return
    raise AssertionError(f"no line carries {x[:3]}…, {y[:3]}…")


def panels_of(figure):
    """The panels that have a title, without colour bars."""
    return [ax for ax in figure.axes if ax.get_title()]


@pytest.mark.parametrize(("name", "image"), IMAGES)
def test_every_image_is_committed_small_captioned_and_redrawn(name, image):
    path = GALLERY / image
    assert path.is_file(), f"run `python -m figures --only {name}`"
    assert 0 < path.stat().st_size <= MAX_IMAGE
    assert f"gallery/{image}" in CAPTIONS
    assert drawn(name, image)[0] is not None


def test_the_gallery_holds_nothing_else():
    images = {image for _, image in IMAGES}
    for path in GALLERY.iterdir():
        if path.suffix == ".parquet":
            assert path.name.split(".")[0] in MODULES
            assert path.stat().st_size <= MAX_NUMBERS
        else:
            assert path.name in images | {PAGE}
    linked = re.findall(r"gallery/([\w.]+)\)", CAPTIONS)
    assert set(linked) == images


def test_the_explorer_is_in_git_once():
    page = Path(show.__file__).parent / PAGE
    assert page.read_text(encoding="utf-8") == show.explorer.page()
    assert f"({Path('..', *page.parts[-3:]).as_posix()})" in CAPTIONS
    ignored = (GALLERY.parents[1] / ".gitignore").read_text().splitlines()
    assert f"figures/gallery/{PAGE}" in ignored


def test_every_figure_but_the_explorer_has_numbers():
    for name in MODULES:
        assert bool(read_numbers(GALLERY, name)) == (name != "explorer")


def test_captions_name_claims_that_exist():
    known = {
        value.name
        for module in [*proofs_numeric.modules(), *proofs_numeric.papers.modules()]
        for value in vars(module).values()
        if isinstance(getattr(value, "name", None), str)
    }
    named = re.findall(r"Claims?: ((?:`\w+`[, ]*\s*)+)", CAPTIONS)
    assert len(named) >= 10
    for name in re.findall(r"`(\w+)`", " ".join(named)):
        assert name in known, name


def test_figures_use_public_names_only():
    for path in Path(figures.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ssem_jax"):
                assert node.module in ("ssem_jax", "ssem_jax.training")
                assert {alias.name for alias in node.names} <= {"show", "experiments"}
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert not (node.value.id in ("sx", "show") and node.attr.startswith("_"))
                if node.value.id in ("sx", "show"):
                    assert hasattr({"sx": sx, "show": show}[node.value.id], node.attr)


@pytest.mark.parametrize("name", ["phase_included", "phase_excluded"])
def test_phase_diagrams_carry_their_numbers(name):
    figure, tables = drawn(name, f"{name}.svg")
    cells, boundary = tables["cells"], tables["boundary"]
    parts = show.panels(cells)
    assert len(parts) == len(panels_of(figure))
    for (_, part), ax in zip(parts, panels_of(figure), strict=True):
        part = part.sort("alpha", "temperature")
        side = part["alpha"].n_unique()
        mesh = ax.collections[0]
        np.testing.assert_array_equal(mesh.get_array(), part["delta2"].to_numpy().reshape(side, -1))
        first = part.row(0, named=True)
        keys = ("num_classes", "num_instances", "num_views", "self_pairs")
        rows = boundary.filter(**{key: first[key] for key in keys})
        assert_drawn(figure, rows["temperature"], rows["alpha_c"])
        if rows["alpha_v"].null_count() < len(rows):
            assert_drawn(figure, rows["temperature"], rows["alpha_v"])
        undecided = part.filter(phase="undecided")
        hatched = [one for one in ax.collections if one.get_hatch()]
        assert sum(len(one.get_paths()) for one in hatched) == len(undecided)
    gaps, _ = drawn(name, f"{name}_gap.svg")
    for (_, part), ax in zip(parts, panels_of(gaps), strict=True):
        part = part.sort("alpha", "temperature")
        found = np.asarray(ax.collections[0].get_array()).ravel()
        np.testing.assert_allclose(found, part["gap"], rtol=STORED)


@pytest.mark.parametrize("name", ["phase_included", "phase_excluded"])
def test_cells_of_phase_diagrams_are_certified_and_agree_with_theory(name):
    cells = read_numbers(GALLERY, name)["cells"]
    assert most(cells["gap"]) <= certificate.GAP_TOLERANCE
    for _, part in show.panels(cells):
        m, n, p = (part[key][0] for key in ("num_classes", "num_instances", "num_views"))
        self_pairs = part["self_pairs"][0]
        cell = (m, n, p, part["alpha"].to_numpy(), part["temperature"].to_numpy(), self_pairs)
        np.testing.assert_allclose(part["delta2"], sx.theory.delta2(*cell), atol=FOUND)
        phases = np.array([sx.Phase(int(code)).name.lower() for code in sx.theory.phase(*cell)])
        decided = part["phase"].to_numpy() != "undecided"
        # A marginal cell may lie on either side by rounding.
        near = np.abs(cell[3] - sx.theory.alpha_c(m, n, p, cell[4], self_pairs)) < 1e-9
        agree = phases == part["phase"].to_numpy()
        assert np.all(agree[decided & ~near])
        assert np.mean(decided) > 0.98


@pytest.mark.parametrize("self_pairs", ["include", "exclude"])
def test_slices_carry_lines_points_and_bars(self_pairs):
    figure, tables = drawn("slices", f"slices_{self_pairs}d.svg")
    module = MODULES["slices"]
    cells = show.with_parts(tables[f"{self_pairs}_cells"])
    assert most(cells["gap"]) <= certificate.GAP_TOLERANCE
    for along, other in (("alpha", "temperature"), ("temperature", "alpha")):
        curves = tables[f"{self_pairs}_{along}"]
        for value in module.FIXED[self_pairs][along]:
            rows = cells.filter(along=along).filter(pl.col(other) == value).sort(along)
            line = curves.filter(pl.col(other) == value).sort(along)
            for quantity in module.QUANTITIES:
                assert_drawn(figure, rows[along], rows[quantity])
                assert_drawn(figure, line[along], line[quantity])
                theory = np.interp(rows[along], line[along], line[quantity])
                inside = (rows["alpha"] < 0.999).to_numpy()  # at α = 1 curves end vertically
                np.testing.assert_allclose(
                    rows[quantity].to_numpy()[inside], theory[inside], atol=0.02
                )
    bars = [
        segment
        for ax in figure.axes
        for collection in ax.collections
        for segment in collection.get_segments()
    ]
    ends = {(float(x), float(low), float(high)) for (x, low), (_, high) in bars}
    for row in cells.filter(along="alpha").iter_rows(named=True):
        assert (row["alpha"], row["delta2_lo"], row["delta2_hi"]) in ends


def test_dimension_carries_its_numbers():
    figure, tables = drawn("dimension", "dimension.svg")
    for part in tables["optima"].sort("alpha", "dim").partition_by("alpha"):
        assert_drawn(figure, part["dim"], part["value"])
        assert_drawn(figure, part["dim"], part["excess"])
    boundary = tables["boundary"]
    assert_drawn(figure, boundary["temperature"], boundary["alpha_c"])
    assert_drawn(figure, boundary["temperature"], boundary["alpha_loc"])
    for part in tables["slices"].partition_by("dim", maintain_order=True):
        assert_drawn(figure, part["alpha"], part["delta2"])
    # No dimension beats the bound, and the smallest that admits the optimum reaches it.
    optima = tables["optima"]
    assert least(optima["excess"]) > -certificate.GAP_TOLERANCE
    assert most(optima.filter(dim=11)["excess"]) < certificate.GAP_TOLERANCE
    # At d = m the boundary is α_c.
    for row in tables["thresholds"].filter(dim=3).iter_rows(named=True):
        alpha_c = float(sx.theory.alpha_c(3, 4, 1, row["temperature"]))
        assert row["alpha_lo"] - 1e-9 <= alpha_c <= row["alpha_hi"]


def test_codes_carry_their_numbers():
    figure, tables = drawn("codes", "codes.svg")
    names = {(size, dim) for size, dim in tables["curves"].select("points", "dim").iter_rows()}
    for size, dim in names:
        part = tables["curves"].filter(points=size, dim=dim)
        assert_drawn(figure, part["temperature"], part["excess"].clip(1e-16))
    both = pl.concat([tables["map"], tables["curves"]])
    size, dim = both["points"], both["dim"]
    sharp = (size <= dim + 1) | (size == 2 * dim) | (dim == 2) | ((size == 12) & (dim == 3))
    assert most(both.filter(sharp)["excess"]) < certificate.GAP_TOLERANCE
    assert least(both["best"] - both["bound"]) > -1e-12  # nothing beats a bound


def test_imbalance_carries_its_numbers():
    figure, tables = drawn("imbalance", "imbalance_order.svg")
    for part in tables["order"].partition_by("mean", "class"):
        assert_drawn(figure, part["alpha"], part["within_variance"])
    for row in tables["thresholds"].iter_rows(named=True):
        assert_drawn(figure, [row["threshold"]] * 2, [0, 1])
    # The classes part one after another, each at its own threshold.
    first = tables["thresholds"].row(0, named=True)
    assert first["threshold"] == pytest.approx(0.1323, abs=5e-5)
    majority = tables["order"].filter(pl.col("class") == first["class"], mean="anchors")
    spread = majority["within_variance"] > 1e-6
    assert least(majority.filter(spread)["alpha"]) > first["threshold"]
    assert most(majority.filter(~spread)["alpha"]) < first["threshold"]

    figure, tables = drawn("imbalance", "imbalance_gram.svg")
    for part in tables["cosines"].partition_by("temperature"):
        assert_drawn(figure, part["ratio"], part["minority_minority"])
        limit = tables["merging"].filter(temperature=part["temperature"][0])["ratio"][0]
        merged = part["minority_minority"] > 1 - 1e-6
        assert (merged == (part["ratio"] > limit)).all()
    matrices = [image.get_array() for ax in panels_of(figure) for image in ax.images]
    parts = tables["gram"].partition_by("sizes", maintain_order=True)
    for matrix, part in zip(matrices, parts, strict=True):
        np.testing.assert_array_equal(np.asarray(matrix).ravel(), part["entry"])


def test_geometry_carries_its_numbers():
    figure, tables = drawn("geometry", "geometry_sphere.svg")
    parts = tables["points"].partition_by("num_classes", "alpha", maintain_order=True)
    for ax, part in zip(figure.axes, parts, strict=True):
        scatters = [one for one in ax.collections if hasattr(one, "_offsets3d")]
        found = np.concatenate([np.stack(one._offsets3d, 1) for one in scatters])
        np.testing.assert_array_equal(found, part.select("x", "y", "z"))
    figure, tables = drawn("geometry", "geometry_gram.svg")
    parts = tables["gram"].partition_by("name", maintain_order=True)
    for ax, part in zip(panels_of(figure), parts, strict=True):
        np.testing.assert_array_equal(np.asarray(ax.images[0].get_array()).ravel(), part["entry"])
    for row, part in zip(tables["facts"].iter_rows(named=True), parts, strict=True):
        assert row["gap"] <= certificate.GAP_TOLERANCE
        names = ("num_classes", "num_instances", "num_views", "alpha", "temperature", "self_pairs")
        structure = sx.ClassStructure.balanced(*(row[name] for name in names[:3]))
        expected = sx.theory.similarities(*(row[name] for name in names))
        np.testing.assert_allclose(
            part["entry"],
            np.asarray(sx.geometry.block_gram(structure, *expected)).ravel(),
            atol=1e-2,
        )


@pytest.mark.parametrize(
    ("name", "table", "by", "x", "y"),
    [
        ("spectrum", "spectra", "alpha", "index", "eigenvalue"),
        ("spectrum", "branches", "kind", "alpha", "eigenvalue"),
        ("landscape", "curves", "alpha", "delta", "excess"),
        ("landscape", "wells", "alpha", "delta", "excess"),
        ("landscape", "fork", None, "alpha", "delta"),
        ("landscape", "cells", None, "alpha", "delta"),
        ("dynamics", "paths", ["name", "start"], "within", "between"),
        ("dynamics", "optima", "name", "within", "between"),
        ("dynamics", "times", "side", "distance", "steps"),
    ],
)
def test_lines_carry_their_numbers(name, table, by, x, y):
    figure, tables = drawn(name, f"{name}.svg")
    frame = tables[table]
    for part in [frame] if by is None else frame.partition_by(by, maintain_order=True):
        assert_drawn(figure, part[x], part[y])


def test_the_dual_certificate_is_nonnegative_and_escape_begins_at_the_boundary():
    tables = read_numbers(GALLERY, "spectrum")
    assert least(tables["spectra"]["eigenvalue"]) > -certificate.GAP_TOLERANCE
    (alpha_c,) = tables["boundary"]["alpha_c"]
    instance = tables["branches"].filter(kind="instance")
    assert ((instance["eigenvalue"] > 0) == (instance["alpha"] < alpha_c)).all()


def test_descent_ends_at_the_optimum():
    tables = read_numbers(GALLERY, "dynamics")
    for row in tables["optima"].iter_rows(named=True):
        ends = (
            tables["paths"].filter(name=row["name"]).filter(pl.col("step") == pl.col("step").max())
        )
        for quantity in ("within", "between"):
            np.testing.assert_allclose(ends[quantity], row[quantity], atol=2e-2)
    last = read_numbers(GALLERY, "convergence")["frames"].row(-1, named=True)
    module = MODULES["convergence"]
    delta2 = float(sx.theory.delta2(3, 3, 1, module.ALPHA, module.TEMPERATURE))
    assert last["delta2"] == pytest.approx(delta2, abs=1e-3)


def test_the_animation_shows_the_last_frame_as_saved():
    animation, tables = drawn("convergence", "convergence.gif")
    module = MODULES["convergence"]
    animation._func(10**6)  # what the last frames call; no pixel is looked at
    figure = animation._fig
    last = tables["points"]["frame"].max()
    points = tables["points"].filter(frame=last)
    for number in range(3):
        rows = points.filter(pl.col("class") == number)
        assert_drawn(figure, rows["x"], rows["y"])
        assert_drawn(figure, rows["u"], rows["v"])
    matrix = np.asarray(figure.axes[2].images[0].get_array())
    rows = tables["gram"].filter(frame=last)
    np.testing.assert_array_equal(matrix[rows["row"], rows["column"]], rows["entry"])
    assert len(matrix) == module.STRUCTURE.num_embeddings


def test_errors_are_standard_errors_and_paired_ones_leave_the_level_of_a_seed_out():
    own, levels = np.array([[0.1, 0.3], [0.2, 0.1], [0.0, 0.4]]), np.array([0.0, 1.0, 5.0])
    runs = pl.DataFrame(
        {"seed": np.repeat([0, 1, 2], 2), "alpha": [0.0, 1.0] * 3, "x": (own.T + levels).T.ravel()}
    )
    plain = mean_and_error(runs, "alpha", "x")
    np.testing.assert_allclose(plain["mean"], own.mean(axis=0) + levels.mean())
    np.testing.assert_allclose(plain["error"], (own.T + levels).std(axis=1, ddof=1) / 3**0.5)
    paired = mean_and_error(runs, "alpha", "x", paired=runs)
    np.testing.assert_allclose(paired["mean"], plain["mean"])
    centred = own - own.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(paired["error"], (2 * centred.var(axis=0, ddof=1) / 3) ** 0.5)


def test_variances_of_encoders_carry_their_numbers():
    figure, tables = drawn("training", "training_variance.svg")
    for part in tables["digits"].partition_by("temperature"):
        curve = tables["curves"].filter(temperature=part["temperature"][0])
        for quantity in ("delta2", "between"):
            assert_drawn(figure, curve["alpha"], curve[quantity])
            assert_drawn(figure, curve["alpha"], curve[f"expected_{quantity}"])
            for source in ("train", "test"):
                cells = mean_and_error(part, "alpha", f"{source}_{quantity}")
                assert_drawn(figure, cells["alpha"], cells["mean"])


def test_transfer_carries_its_numbers():
    figure, tables = drawn("training", "training_transfer.svg")
    for data, layer in MODULES["training"].COLUMNS:
        runs = tables[data]
        for part in runs.partition_by("temperature"):
            spread = mean_and_error(part, "alpha", "test_delta2")["mean"]
            for target in ("fine", "unseen"):
                found = mean_and_error(part, "alpha", f"{target}_few_{layer}")
                assert_drawn(figure, spread, found["mean"])


def test_what_the_page_says_of_encoders():
    digits = read_numbers(GALLERY, "training")["digits"]
    keys = ("temperature", "alpha", "seed")
    assert digits.select(keys).is_unique().all()
    assert digits["alpha"].n_unique() >= 5
    assert digits["temperature"].n_unique() >= 3
    assert digits["seed"].n_unique() >= 3
    # Where theory collapses δ² is small, in every run; where it spreads, encoders spread less.
    collapsed = digits.filter(predicted_delta2=0)
    assert most(collapsed["train_delta2"]) < 0.06
    spread = digits.filter(pl.col("expected_delta2") > 0.15)
    assert (spread["train_delta2"] < spread["expected_delta2"]).all()


def test_checks_of_encoders_carry_their_numbers():
    figure, tables = drawn("training_checks", "training_long_tail.svg")
    for part in tables["tail"].partition_by("mean", "class_size"):
        cells = mean_and_error(part, "alpha", "train_delta2")
        assert_drawn(figure, cells["alpha"], cells["mean"])
        kind = {name: part[name][0] for name in ("mean", "class_size")}
        curve = tables["tail_curves"].filter(**kind)
        assert_drawn(figure, curve["alpha"], curve["delta2"])
        predicted = np.interp(part["alpha"], curve["alpha"], curve["delta2"])
        np.testing.assert_allclose(part["predicted_delta2"], predicted, atol=0.02)
    figure, tables = drawn("training_checks", "training_noise.svg")
    for part in tables["noise"].partition_by("alpha"):
        for quantity in ("train_delta2", "coarse_knn", "fine_few_embeddings"):
            cells = mean_and_error(part, "share", quantity)
            assert_drawn(figure, cells["share"], cells["mean"])
    figure, tables = drawn("training_checks", "training_architecture.svg")
    runs = tables["architecture"].with_columns(
        deviation=pl.col("train_delta2") - pl.col("expected_delta2")
    )
    for part in runs.filter(width=128, depth=2).partition_by("alpha"):
        cells = mean_and_error(part, "dim", "deviation").sort("dim")
        assert_drawn(figure, cells["dim"], cells["mean"])


def test_dynamics_of_encoders_carry_their_numbers():
    figure, tables = drawn("training_dynamics", "training_dynamics.svg")
    module, paths = MODULES["training_dynamics"], tables["paths"]
    largest = paths["alpha"].max()
    for kind in module.KINDS:
        path = paths.filter(kind=kind, alpha=largest).sort("step")
        assert_drawn(figure, path["delta2"], path["between"])
        for side in ("collapse", "spread") if kind != "data set" else ():
            own = tables["times"].filter(pl.col("steps").is_finite(), kind=kind, side=side)
            assert_drawn(figure, own["distance"], own["steps"])
    # Free embeddings, and an encoder that sees one batch, end at the closed form.
    times = tables["times"]
    assert most(times.filter(kind="free")["deviation"].abs()) < 1e-3
    assert most(times.filter(kind="one batch")["deviation"].abs()) < 0.02
    path = pl.DataFrame({"step": [0, 1, 2, 3], "delta2": [0.5, 0.2, 0.304, 0.3]})
    assert module.settling(path, 0.3) == 2
    assert module.settling(path, 0.9) == float("inf")


def test_pictures_of_papers_carry_their_numbers_and_agree_with_formulas():
    module, tables = MODULES["papers"], read_numbers(GALLERY, "papers")
    for key, picture in module.PICTURES.items():
        assert picture.caption in " ".join(CAPTIONS.split())
        table = tables[key]
        figure = module.draw(key, tables)
        for part in table.partition_by("curve"):
            formula = part["high"].is_nan().all()
            middle = part["low"] if formula else (part["low"] + part["high"]) / 2
            assert_drawn(figure, part["x"], middle)
        brackets = table.filter(pl.col("high").is_not_nan())
        assert most(brackets["high"] - brackets["low"]) < WIDEST, key

    def curve(key, name):
        return tables[key].filter(curve=name)

    # Collapse ends at the threshold, of two means each at its own, and the plane is as good as all.
    for key, name, mark in (
        ("lee2025", 'mean over "anchors"', "anchors"),
        ("lee2025", 'mean over "all"', "all"),
    ):
        found, edge = curve(key, name), module.PICTURES[key].marks[mark]
        assert most(found.filter(pl.col("x") < edge)["high"]) < FOUND
        assert least(found.filter(pl.col("x") > edge + 0.02)["low"]) > 1e-3
    inside, edge = curve("chen2022", "within a class"), module.PICTURES["chen2022"].marks
    (edge,) = edge.values()
    assert least(inside.filter(pl.col("x") < edge)["low"]) > 1 - FOUND
    assert most(inside.filter(pl.col("x") > edge + 0.02)["high"]) < 1 - 1e-3
    assert most(curve("cho2024", "every pair as often")["high"].abs()) < 1e-9
    assert least(curve("cho2024", "at random").filter(pl.col("x") < 35)["low"]) > 1e-5
    assert most(curve("kini2024", "any two, H ≥ 0")["high"].abs()) < 1e-6
    soft = tables["vock2026"].filter(pl.col("high").is_not_nan(), pl.col("x") < 1.5)
    assert most((1 - soft["x"] - soft["low"]).abs()) < 1e-3
    optima = curve("lee2025b", "optima of the sigmoid loss")
    assert most((8 + 14 * optima["x"]) / 6 - optima["low"]) < 1e-3


def test_the_command_makes_a_figure_from_nothing(tmp_path, capsys):
    assert (
        main(["--only", "convergence", "--only", "explorer", "--fast", "--out", str(tmp_path)]) == 0
    )
    names = {path.name for path in tmp_path.iterdir()}
    assert {"convergence.gif", "convergence.points.parquet", "explorer.html"} <= names
    assert "2 figures in" in capsys.readouterr().err


def test_an_unknown_figure_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--only", "nothing"])
    assert "choose from" in capsys.readouterr().err


def test_certified_last_layers_merge_as_the_exact_law_says():
    tables = read_numbers(GALLERY, "merging")
    cells = tables["cells"].join(tables["law"], on="size", suffix="_law")
    for name in ("minority", "majority"):
        merged = cells["decay"] >= cells[f"{name}_law"]
        assert (merged == (cells[name] == "merged")).all()
        apart = cells.filter(~merged)
        assert (apart[f"{name}_lo"] <= apart[f"{name}_hi"]).all()
    assert cells["gap"].to_numpy().max() < certificate.GAP_TOLERANCE
