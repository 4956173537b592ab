"""Plots: what is drawn is what the table says, read off the artists and not off pixels."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest

import ssem_jax as sx
from ssem_jax import show, theory
from ssem_jax.advice import UnbalancedGuide, guide
from ssem_jax.show import maps, slices, style, tables
from ssem_jax.sweeps import SCHEMA

ALPHAS = np.linspace(0, 1, 7)
TEMPERATURES = np.geomspace(0.1, 2.0, 5)
HEADERS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


def made_up(m=3, n=4, p=1, self_pairs="include", **changes):
    """A table as a sweep writes it, filled from the closed forms: nothing is solved here."""
    alpha, tau = (x.ravel() for x in np.meshgrid(ALPHAS, TEMPERATURES, indexing="ij"))
    cell = (m, n, p, alpha, tau, self_pairs)
    variances, similar = theory.variances(*cell), theory.similarities(*cell)
    value, delta2 = np.asarray(theory.loss(*cell)), np.asarray(theory.delta2(*cell))
    found = {
        "delta2": delta2,
        "view_variance": np.asarray(variances.view),
        "mean_squared": np.zeros_like(delta2),
        "within_similarity": np.asarray(similar.within),
        "between_similarity": np.asarray(similar.between),
    }
    names = ["collapse", "spread", "view_spread"]
    columns = {
        "sizes": ",".join([str(n)] * m),
        "num_classes": m,
        "num_instances": n,
        "num_views": p,
        "dim": m * n * p - 1,
        "loss": "SupCL",
        "loss_code": None,
        "alpha": alpha,
        "temperature": tau,
        "self_pairs": self_pairs,
        "mean": "pairs",
        "value": value,
        "lower": value - 1e-13,
        "gap": np.geomspace(1e-18, 1e-13, len(alpha)),
        "convexity": "proven",
        "between_variance": np.asarray(variances.between),
        "phase": [names[code] for code in np.asarray(theory.phase(*cell))],
        "status": "converged",
        "iterations": 1,
        "products": 1,
        "escapes": 0,
        "starts": 1,
        "seed": 0,
    }
    for name, values in found.items():
        columns[f"{name}_lo"], columns[f"{name}_hi"] = values - 1e-3, values + 2e-3
    columns |= {name: found[name] for name in ("delta2", "view_variance", "mean_squared")} | changes
    size = len(alpha)
    return pl.DataFrame(
        {
            name: columns[name]
            if isinstance(columns[name], (np.ndarray, list))
            else [columns[name]] * size
            for name in SCHEMA
        },
        schema=SCHEMA,
    )


@pytest.fixture
def ax():
    return show.new_figure()[1][0, 0]


def as_matrix(table, name):
    return table.sort("alpha", "temperature")[name].to_numpy().reshape(7, 5)


def rectangles(collection):
    return np.array(
        [path.get_extents().get_points().mean(axis=0) for path in collection.get_paths()]
    )


def test_phase_diagram_carries_delta2_and_the_boundary(ax):
    table = made_up().sample(fraction=1, shuffle=True, seed=1)
    boundary = show.boundary_table(table)
    drawn = show.phase_diagram(table, ax, boundary)
    np.testing.assert_array_equal(drawn.delta2.get_array(), as_matrix(table, "delta2"))
    edges = drawn.delta2.get_coordinates()
    assert np.all(edges[0, 1:-1, 0] > TEMPERATURES[:-1])
    assert np.all(edges[0, 1:-1, 0] < TEMPERATURES[1:])
    assert edges[0, 0, 1] == 0
    assert edges[-1, 0, 1] == 1
    assert drawn.view_variance is None
    assert len(drawn.undecided.get_paths()) == 0
    (line,) = drawn.boundaries
    tau = line.get_xdata()
    np.testing.assert_array_equal(line.get_ydata(), theory.alpha_c(3, 4, 1, tau))
    across, down = drawn.marginal
    assert across.get_ydata()[0] == 1 / 4
    assert down.get_xdata()[0] == 1 / np.log(3)


def test_view_spread_has_a_colour_and_a_boundary_of_its_own(ax):
    table = made_up(2, 2, 2, "exclude")
    drawn = show.phase_diagram(table, ax, show.boundary_table(table))
    views = drawn.view_variance.get_array()
    parted = as_matrix(table, "phase") == "view_spread"
    assert parted.any()
    np.testing.assert_array_equal(~views.mask, parted)
    np.testing.assert_array_equal(views.compressed(), as_matrix(table, "view_variance")[parted])
    alpha_c, alpha_v = drawn.boundaries
    tau = np.asarray(alpha_v.get_xdata())
    expected = np.asarray(theory.alpha_v(2, 2, 2, tau, "exclude"))
    found = np.asarray(alpha_v.get_ydata(), float)
    np.testing.assert_array_equal(found[expected > 0], expected[expected > 0])
    assert np.all(np.isnan(found[expected == 0]))
    assert len(alpha_c.get_xdata()) == len(tau)


def test_undecided_cells_are_hatched_where_they_are(ax):
    table = made_up().with_columns(
        phase=pl.when(pl.col("alpha").is_close(ALPHAS[2]) & (pl.col("temperature") < 0.15))
        .then(pl.lit("undecided"))
        .otherwise("phase")
    )
    undecided = show.phase_diagram(table, ax).undecided
    assert undecided.get_hatch()
    ((tau, alpha),) = rectangles(undecided)
    assert alpha == pytest.approx(ALPHAS[2])
    assert tau == pytest.approx(TEMPERATURES[0], rel=0.1)


def test_missing_cells_of_an_interrupted_run_are_masked(ax):
    table = made_up().slice(3)
    mask = np.ma.getmaskarray(show.phase_diagram(table, ax).delta2.get_array())
    assert mask.sum() == 3
    assert mask[0, :3].all()


def test_gap_map_carries_gaps_and_outlines_uncertified_cells(ax):
    gaps = np.geomspace(1e-18, 1e-7, 35)
    table = made_up(gap=gaps)
    drawn = show.gap_map(table, ax, show.boundary_table(table))
    np.testing.assert_array_equal(
        drawn.gap.get_array(), np.maximum(gaps, maps.LEAST_GAP).reshape(7, 5)
    )
    assert len(drawn.uncertified.get_paths()) == np.sum(gaps > 1e-9)
    assert len(drawn.boundaries) == 1


@pytest.mark.parametrize("along", ["alpha", "temperature"])
@pytest.mark.parametrize("quantity", show.SHOWN)
def test_slices_carry_theory_points_and_brackets(ax, along, quantity):
    table = made_up(2, 2, 2, "exclude")
    curves = show.slice_table(table, along)
    drawn = show.slice_panel(table, ax, along, quantity, curves)
    other = "temperature" if along == "alpha" else "alpha"
    fixed = show.slice_values(table, along)
    assert len(fixed) == len(drawn.points) == len(drawn.curves) == len(drawn.bars)
    assert 3 <= len(fixed) == len(set(fixed)) <= tables.MAX_CURVES
    source = show.with_parts(table)
    for value, points, curve, bars in zip(fixed, *(drawn[k] for k in (1, 0, 2)), strict=True):
        rows = source.filter(pl.col(other) == value).sort(along)
        np.testing.assert_array_equal(points.get_xdata(), rows[along])
        np.testing.assert_array_equal(points.get_ydata(), rows[quantity])
        np.testing.assert_array_equal(bars[:, 0], rows[f"{quantity}_lo"])
        np.testing.assert_array_equal(bars[:, 1], rows[f"{quantity}_hi"])
        found = rows[quantity].to_numpy()
        assert np.all((bars[:, 0] <= found) & (found <= bars[:, 1]))
        # The cells were made of theory, so that the curve passes through the points.
        at = np.interp(rows[along], curve.get_xdata(), curve.get_ydata())
        np.testing.assert_allclose(at, rows[quantity], atol=0.02)


def test_bracket_widths_are_those_of_the_table(ax):
    table = made_up()
    lines = show.bracket_widths(table, ax, "alpha", [float(TEMPERATURES[1])])
    np.testing.assert_allclose(lines[0].get_ydata(), 3e-3)


def test_a_figure_has_a_panel_for_every_shape_and_says_which():
    table = pl.concat([made_up(), made_up(2, 4), made_up(2, 2, 2, "exclude")])
    figure = show.draw_phases(table, show.boundary_table(table))
    titles = {ax.get_title(): ax.get_ylabel() for ax in figure.axes if ax.get_title()}
    assert titles == {  # each kind of pairs begins a row
        "$m=3$, $n=4$, $p=1$": "self pairs: include",
        "$m=2$, $n=4$, $p=1$": "",
        "$m=2$, $n=2$, $p=2$": "self pairs: exclude",
    }
    assert len(figure.legends) == 1
    assert figure.axes[-1].get_ylabel().startswith(
        r"$\delta^2$ (blue), view variance (orange)"
    ) or (figure.axes[-2].get_ylabel().startswith(r"$\delta^2$ (blue), view variance (orange)"))
    assert [title for title, _ in show.panels(table)][2] == "$m=2$, $n=2$, $p=2$, exclude"


def test_titles_carry_what_varies_and_the_rest_stands_over_them():
    dims = pl.concat([made_up(p=2), made_up(p=2, dim=2)])
    assert [title for title, _ in show.panels(dims)] == [
        "$m=3$, $n=4$, $p=2$, $d=23$",
        "$m=3$, $n=4$, $p=2$, $d=2$",
    ]
    gaps = show.draw_gaps(dims)
    assert [ax.get_title() for ax in gaps.axes[:2]] == ["$d=23$", "$d=2$"]
    assert gaps.get_suptitle() == "$m=3$, $n=4$, $p=2$, self pairs: include"
    phases = show.draw_phases(dims)
    assert phases.legends[0].get_title().get_text() == gaps.get_suptitle()
    assert show.draw_gaps(made_up()).get_suptitle() == ""
    slices = show.draw_slices(dims)
    assert slices.get_suptitle() == gaps.get_suptitle()
    assert [text.get_text() for text in phases.legends[0].get_texts()] == ["undecided"]
    long = made_up(num_instances=None, sizes=",".join(map(str, range(2, 12))))
    assert show.panels(long)[0][0] == "10 classes of 2 to 11"


def test_slices_say_how_many_of_all_they_are_and_show_no_rounding():
    figure = show.draw_slices(made_up().filter(pl.col("alpha") < 0.2), ("view_variance",))
    titles = [legend.get_title().get_text() for legend in figure.legends]
    assert titles == [
        r"along $\alpha$:" + "\n3 of 5 slices",
        r"along $\tau$:" + "\nslices",
    ]
    assert len(figure.legends[0].get_texts()) == 3
    noise = made_up().with_columns(
        view_variance=1e-17 * pl.col("alpha"),
        view_variance_lo=pl.lit(0.0),
        view_variance_hi=1e-17 * pl.col("alpha"),
    )
    low, high = show.draw_slices(noise, ("view_variance",)).axes[0].get_ylim()
    assert high - low == pytest.approx(slices.LEAST_SPAN)


def test_even_columns_leave_few_places_empty():
    counts = ([1], [2], [4], [4, 4], [5], [6], [24], [10, 10], [7, 2])
    assert [style.even_columns(count) for count in counts] == [1, 2, 4, 4, 3, 3, 4, 4, 2]


def test_more_shapes_than_fit_make_pages(tmp_path, monkeypatch):
    table = pl.concat([made_up(dim=dim) for dim in (9, 10, 11)])
    monkeypatch.setattr(show.runs, "MAX_PANELS", 2)
    files = show.draw_run(table, "gap", tmp_path / "gap.svg")
    assert files == [tmp_path / "gap-1.svg", tmp_path / "gap-2.svg"]
    assert all(file.stat().st_size for file in files)
    monkeypatch.setattr(style, "MAX_PANELS", 2)
    with pytest.raises(show.PlotError, match="the run has 3 shapes; a figure shows at most 2"):
        show.draw_phases(table)
    monkeypatch.setattr(slices, "MAX_ROWS", 2)
    message = "slices of 3 shapes and 1 quantities are 3 rows; a figure shows at most 2"
    with pytest.raises(show.PlotError, match=message):
        show.draw_slices(table)


@pytest.mark.parametrize(("kind", "suffix"), list(zip(show.KINDS, show.FORMATS, strict=True)))
def test_a_run_is_drawn_in_every_kind_and_format_and_always_alike(tmp_path, kind, suffix):
    path = tmp_path / "deep" / f"run{suffix}"
    assert show.draw_run(made_up(), kind, path) == [path]
    first = path.read_bytes()
    assert first.startswith(HEADERS[suffix])
    show.draw_run(made_up(), kind, path)
    assert path.read_bytes() == first


@pytest.mark.parametrize("kind", show.KINDS)
def test_classes_of_different_size_are_drawn_without_theory(tmp_path, kind):
    table = made_up(num_instances=None, sizes="8,4,2")
    assert show.boundary_table(table).is_empty()
    (file,) = show.draw_run(table, kind, tmp_path / "run.png")
    assert file.stat().st_size > 0


@pytest.mark.parametrize("kind", show.KINDS)
def test_a_single_cell_can_be_drawn(tmp_path, kind):
    (file,) = show.draw_run(made_up().slice(17, 1), kind, tmp_path / "run.png")
    assert file.stat().st_size > 0


@pytest.mark.parametrize(
    ("table", "kind", "name", "message"),
    [
        (made_up, "pie", "run.png", "a run can be drawn as phase, gap, slices; got 'pie'"),
        (made_up, "phase", "run.jpg", "a figure is saved as .png, .svg, .pdf; got 'run.jpg'"),
        (lambda: made_up().clear(), "phase", "run.png", "no finished cell; repeat the sweep"),
        (lambda: made_up(alpha=None), "gap", "run.png", "needs a value of alpha in every cell"),
        (made_up, "phase", "file/run.png", "cannot write .*; choose another file"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_a_remedy(tmp_path, table, kind, name, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(show.PlotError, match=message):
        show.draw_run(table(), kind, tmp_path / name)


def test_slices_refuse_an_unknown_axis_or_quantity(ax):
    for arguments in ({"along": "dim"}, {"quantity": "beauty"}):
        with pytest.raises(show.PlotError, match="slices run along alpha or temperature"):
            show.slice_panel(made_up(), ax, **arguments)


def test_only_animations_are_saved_as_gif(tmp_path):
    with pytest.raises(show.PlotError, match=r"a figure is saved as .png, .svg, .pdf"):
        show.save(show.new_figure()[0], tmp_path / "figure.gif")


def test_gram_and_its_numbers(ax):
    structure = sx.ClassStructure.balanced(2, 2)
    matrix = np.asarray(sx.geometry.ssem_gram(structure, 0.3))
    image = show.gram(sx.geometry.ssem_gram(structure, 0.3), ax, structure)
    np.testing.assert_array_equal(image.get_array(), matrix)
    assert [line.get_ydata()[0] for line in ax.lines[::2]] == [1.5]
    words = [text.get_text() for text in show.write_numbers(matrix[:2, :2], ax)]
    assert words == ["1", ".40", ".40", "1"]


def test_sphere_draws_every_embedding_in_the_colour_of_its_class():
    structure = sx.ClassStructure.balanced(2, 2)
    points = np.asarray(sx.geometry.ssem_embeddings(structure, 0.3, 3))
    _, axes = show.new_figure(subplot_kw={"projection": "3d"})
    scatters = show.sphere(points, axes[0, 0], structure.class_ids)
    drawn = np.concatenate([np.stack(one._offsets3d, axis=1) for one in scatters])
    np.testing.assert_allclose(drawn, points)


def test_series_keeps_the_order_and_takes_the_palette_from_a_place_on(ax):
    table = pl.DataFrame({"x": [0, 1, 0, 1], "y": [1.0, 2, 3, 4], "kind": ["b", "b", "a", "a"]})
    lines = show.series(table, ax, "x", "y", "kind", str.upper, first=2, marker=True)
    assert [line.get_label() for line in lines] == ["B", "A"]
    assert [line.get_color() for line in lines] == list(show.COLORS[2:4])
    assert [line.get_marker() for line in lines] == list(show.MARKERS[2:4])
    np.testing.assert_array_equal(lines[1].get_ydata(), [3, 4])


def test_the_style_leaves_no_trace():
    before = dict(mpl.rcParams)
    with show.house_style():
        assert mpl.rcParams["font.size"] == 9
    show.draw_phases(made_up())
    assert dict(mpl.rcParams) == before


def test_nothing_else_imports_matplotlib_and_nothing_imports_pyplot():
    root = Path(__file__).parents[2]
    importers = set()
    for path in [*(root / "ssem_jax").rglob("*.py"), *(root / "figures").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            if any(name.split(".")[0] == "matplotlib" for name in names):
                importers.add(path.parent.name)
            assert not any("pyplot" in name for name in names)
    assert importers == {"show"}


def test_the_room_offers_its_names_and_imports_matplotlib_only_for_a_figure():
    assert {"draw_run", "inline_svg", "maps", "words"} <= set(dir(show))
    assert show.draw_run is show.runs.draw_run
    assert show.WORDS is show.words.WORDS
    code = (
        "import sys; from ssem_jax import show; show.words.WORDS, show.explorer.page; "
        "assert 'matplotlib' not in sys.modules; show.style; assert 'matplotlib' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match=r"module 'ssem_jax\.show' has no attribute 'pie'"):
        _ = show.pie


# ------------------------------------------------------------------------------------------ guide


@pytest.mark.parametrize("self_pairs", ["include", "exclude"])
def test_a_guide_of_a_balanced_batch(self_pairs):
    answer: Any = guide(sx.ClassStructure.balanced(3, 4, 2), 0.6, delta2=0.3, self_pairs=self_pairs)
    figure = show.draw_guide(answer)
    along, diagram, bar = figure.axes
    curves = {line.get_label(): line for line in along.lines}
    for alpha in (0.6, 0.3, 0.8):
        tau, delta2 = curves[f"α = {alpha}"].get_data()
        expected = theory.delta2(3, 4, 2, alpha, tau, self_pairs)
        np.testing.assert_array_equal(delta2, expected)
    points = [line.get_xydata().tolist() for line in along.lines if line.get_marker() == "o"]
    assert points == [[[tau, 0.3] for tau in answer.temperatures_for_wanted]]
    assert [answer.tau_c] * 2 in [list(line.get_xdata()) for line in along.lines]
    boundary = [line for line in diagram.lines if line.get_color() == "black"]
    tau, alpha_c = boundary[0].get_data()
    np.testing.assert_array_equal(alpha_c, theory.alpha_c(3, 4, 2, tau, self_pairs))
    assert len(boundary) == (2 if self_pairs == "exclude" else 1)
    for ax, height in ((along, answer.delta2), (diagram, 0.6)):
        stars = [line.get_xydata() for line in ax.lines if line.get_marker() == "*"]
        np.testing.assert_array_equal(stars, [[[answer.temperature, height]]])
    assert "delta" in bar.get_ylabel()


def test_a_guide_where_only_alpha_0_is_admitted():
    answer = guide(sx.ClassStructure.balanced(3, 4), self_pairs="exclude")
    along, diagram, _ = show.draw_guide(answer).axes
    assert not np.any(diagram.collections[0].get_array())
    assert [line.get_label() for line in along.lines if "α" in line.get_label()] == ["α = 0"]


def test_a_guide_of_unbalanced_classes():
    found = sx.geometry.ClassVariances(np.zeros(3), np.array([0.1, 0.4, 0.0]))
    answer = UnbalancedGuide(
        sx.ClassStructure((2, 6, 1)), "include", "pairs", 0.5, 0.3, (), ("a", "b", "c"),
        thresholds=np.array([0.2, 0.1, np.nan]), class_variances=found,
        cosines=np.eye(3), value=1.0, gap=1e-13, total_variance=1.0,
    )  # fmt: skip
    curves = np.array([0.0, 0.5, 1.0]), np.array([[0, 0, 0], [0.1, 0.4, 0], [0.5, 0.9, 0]])
    object.__setattr__(answer, "curves", lambda: curves)
    ax, bar = show.draw_guide(answer).axes
    drawn = [line.get_ydata() for line in ax.lines[:3]]
    np.testing.assert_array_equal(drawn, curves[1].T[[1, 0, 2]])  # the largest class first
    np.testing.assert_array_equal(
        ax.collections[0].get_offsets(), [[0.5, 0.1], [0.5, 0.4], [0.5, 0.0]]
    )
    assert bar.get_ylabel() == "instances in the class"
