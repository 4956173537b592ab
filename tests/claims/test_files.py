"""Files of conjectures: collected, selected, judged, printed; the tutorial and the command."""

import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import ssem_jax as sx
from ssem_jax import claims, show
from ssem_jax.claims import files, search, told
from ssem_jax.claims.refinement import search_all
from ssem_jax.claims.source import Source

PROOFS = Path(__file__).parents[2] / "proofs_numeric"


def ssem(*arguments, cwd):
    command = [sys.executable, "-m", "ssem_jax.cli", "test", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=400, check=False
    )


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory):
    """The file that the tutorial tells to write."""
    text = (PROOFS / "README.md").read_text()
    file = tmp_path_factory.mktemp("tutorial") / "mine.py"
    file.write_text(re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1))
    return file


@pytest.fixture(scope="module")
def run(tutorial):
    """The tutorial's command, with everything kept."""
    result = ssem("mine.py", "--budget", "300", "--out", "out", "--json", cwd=tutorial.parent)
    assert result.returncode == 0, result.stderr
    return tutorial.parent / "out", json.loads(result.stdout)


def test_the_tutorial_is_as_short_as_it_says(tutorial):
    blocks = re.findall(r"sx\.Claim\(.*?\n\)\n", tutorial.read_text(), re.DOTALL)
    assert len(blocks) == 2
    assert all(len(block.splitlines()) < 10 for block in blocks)


def test_the_tutorial_is_judged_as_it_says(run):
    _, document = run
    false, true = document["claims"]
    assert (false["name"], false["verdict"]) == ("rule_of_thumb", "REFUTED")
    assert false["counterexample"]["sizes"] == "2,2"
    assert false["counterexample"]["gap"] <= 1e-9
    assert (true["name"], true["verdict"]) == ("low_alpha", "HOLDS")
    assert true["cells"] > 250
    assert true["margin"] > 0
    assert true["worst_gap"] <= 1e-9
    assert document["as_expected"]
    assert {"cells", "worst_gap", "seconds", "versions"} <= set(document)


def test_the_printed_snippet_runs_by_itself(run):
    _, document = run
    snippet = document["claims"][0]["snippet"]
    result = subprocess.run(
        [sys.executable, "-c", snippet], capture_output=True, text=True, timeout=200, check=False
    )
    assert result.returncode == 0, result.stderr
    gap, bracket = result.stdout.splitlines()
    assert float(gap) <= 1e-9
    assert float(re.findall(r"[\d.e-]+", bracket)[-1]) <= 1e-6


def test_everything_is_kept(run):
    folder, document = run
    assert json.loads((folder / "results.json").read_text()) == document
    for name in ("rule_of_thumb", "low_alpha"):
        assert (folder / f"{name}.svg").read_text().startswith("<?xml")


BAD = """
import numpy as np, ssem_jax as sx
space = sx.Space(num_classes=2, num_instances=2, alpha=[0.1, 0.9], temperature=[0.5])
fine = sx.Claim("fine", "true", lambda cell: 1 - cell.delta2, space)
wrong = sx.Claim("wrong", "raises", lambda cell: 1 / 0, space)
empty = sx.Claim("empty", "nothing", lambda cell: cell.alpha, space, where=lambda c: c.alpha > 1)
nan = sx.Claim("nan", "no number", lambda cell: cell.alpha * np.nan, space)
"""


def test_bad_conjectures_get_a_line_each_and_the_others_run(tmp_path):
    (tmp_path / "bad.py").write_text(BAD)
    result = ssem("bad.py", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout.count("HOLDS") == 1
    errors = [line for line in result.stdout.splitlines() if line.startswith("ERROR")]
    assert len(errors) == 3
    assert (
        "wrong: its margin raised ZeroDivisionError: division by zero (bad.py, line 5)" in errors[0]
    )
    assert "empty: no cell of its domain counts" in errors[1]
    assert "nan: its margin is NaN in 2 of 2 cells, the first at m=2, n=2" in errors[2]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, ["missing.py"], "missing.py is no Python file"),
        ("x = 1", ["file.py"], "file defines no conjecture; write one as NAME = sx.Claim"),
        ("x = 1 +", ["file.py"], "file.py does not run: SyntaxError"),
        ("import nothing_of_that_name", ["file.py"], "does not run: ModuleNotFoundError"),
        ("\n\n1 / 0", ["file.py"], r"ZeroDivisionError: division by zero \(file.py, line 3\)"),
        (BAD, ["file.py", "-k", "nowhere"], "-k 'nowhere' selects none of fine, wrong"),
        (BAD, ["file.py", "-k", "fine and"], "-k takes parts of names joined by and, or, not"),
        (BAD, ["file.py", "--budget", "lots"], "a budget is a number of cells"),
    ],
)
def test_bad_files_and_options_are_one_line_and_exit_code_2(
    content, arguments, message, tmp_path, ssem_here
):
    if content is not None:
        (tmp_path / "file.py").write_text(content)
    says_one_line_and_ends_with_2(ssem_here("test", *arguments), message)


def test_a_bad_file_in_a_process_of_its_own(tmp_path):
    (tmp_path / "file.py").write_text("\n\n1 / 0")
    message = r"ZeroDivisionError: division by zero \(file.py, line 3\)"
    says_one_line_and_ends_with_2(ssem("file.py", cwd=tmp_path), message)


def says_one_line_and_ends_with_2(result, message):
    assert result.returncode == 2
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert re.search(message, lines[0]), lines[0]


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ("", True),
        ("low", True),
        ("LOW", True),
        ("low and not alpha", False),
        ("x or alpha", True),
        ("not (low or alpha)", False),
    ],
)
def test_names_are_selected_by_expressions(expression, selected):
    assert files.matches(expression, "low_alpha") is selected


def test_a_loss_of_five_lines_runs_through_solve_certify_sweep_and_a_conjecture(tmp_path):
    (tmp_path / "own.py").write_text('''
import jax.numpy as jnp, ssem_jax as sx

@sx.gram_loss(convex=True, symmetric=True)
def repulsion(gram, structure, *, scale):
    """All embeddings repel each other; a class attracts its own."""
    same = structure.class_ids[:, None] == structure.class_ids
    return jnp.mean(jnp.exp(scale * gram)) - 0.1 * jnp.mean(jnp.where(same, gram, 0))

spread = sx.Claim(
    "spread", "instances never collapse", lambda cell: cell.delta2 - 1e-6,
    sx.Space(num_classes=2, num_instances=2, loss=repulsion, scale=sx.Range(0.05, 2)),
)
''')
    module = files.load(tmp_path / "own.py")
    problem = sx.Problem(sx.ClassStructure((2, 2)), 3, module.repulsion(scale=1.0))
    import jax

    assert sx.certify(sx.solve(problem, jax.random.key(0))).gap <= 1e-9
    table = sx.sweep([problem])
    assert table["scale"].to_list() == [1.0]
    trial = search(module.spread, sx.claims.Budget(60))
    assert trial.judgement.verdict is sx.Verdict.REFUTED
    assert "from own import repulsion" in trial.snippet
    assert trial.judgement.counterexample["scale"] < 1


def test_a_loss_that_is_not_convex_runs_and_every_verdict_says_so():
    space = sx.Space(
        num_classes=2, num_instances=2, loss=sx.losses.SupConIn, temperature=[0.5, 1.0]
    )
    claim = sx.Claim("in", "collapses", lambda cell: 1e-6 - cell.delta2, space)
    trial = search(claim)
    assert trial.judgement.verdict is sx.Verdict.UNDECIDED
    assert "not convex" in trial.judgement.reason


def test_margin_maps_show_the_slices_of_the_smallest_margins(tmp_path):
    space = sx.Space(num_classes=2, num_instances=(2, 3), temperature=sx.Range(0.2, 5, log=True))
    trial = search(sx.Claim("c", "s", lambda cell: 0.7 - cell.delta2, space), sx.claims.Budget(100))
    parts, axes = told.margin_map(trial)
    assert axes == [("alpha", False), ("temperature", True)]
    assert [title for title, _ in parts] == ["n=3, d=5", "n=2, d=3"]
    figure = show.draw_margins(parts, axes, "title")
    show.save(figure, tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 10_000
    panels = [ax.get_position().width for ax in figure.axes[:2]]
    assert min(panels) > 0.25  # of the figure, beside axes' labels and a colour bar


@pytest.mark.parametrize("hyper", [{"temperature": 0.5}, {"temperature": 0.5, "alpha": [0.2, 0.9]}])
def test_margin_maps_of_one_axis_and_of_none(hyper, tmp_path):
    space = sx.Space(num_classes=2, num_instances=2, **hyper)
    trial = search(sx.Claim("c", "s", lambda cell: 0.7 - cell.delta2, space), sx.claims.Budget(30))
    show.save(show.draw_margins(*told.margin_map(trial)), tmp_path / "map.png")


def test_a_map_needs_cells():
    proven = functools.partial(claims.Proof, True)
    theorem = sx.claims.Trial(claims.Theorem("t", "s", proven), None)
    with pytest.raises(ValueError, match="t was not judged on cells"):
        told.margin_map(theorem)
    columns = dict.fromkeys(["margin_lo", "margin_hi"], pl.Float64)
    empty = pl.DataFrame(schema=columns)
    with pytest.raises(show.PlotError, match="no cell counts"):
        show.draw_margins([("t", empty)], [])


WORKED = sorted(path.stem for path in (PROOFS / "conjectures").glob("[a-z]*.py"))
QUICK = ("first_order_transition", "later_classes", "merging_of_minorities", "nonzero_means",
         "sharp_codes", "spurious_minima")  # fmt: skip
"""Worked conjectures that the ordinary tests judge in full; the others take a minute each."""


def judged(name, budget):
    claims = files.conjectures(files.load(PROOFS / "conjectures" / f"{name}.py"))
    for trial in search_all(claims, budget, Source()):
        assert trial.as_expected, told.describe(trial)


@pytest.mark.parametrize("name", QUICK)
def test_worked_conjectures_are_judged_as_they_say(name):
    judged(name, sx.claims.Budget(200))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in WORKED if name not in QUICK])
def test_all_worked_conjectures_are_judged_as_they_say(name):
    judged(name, sx.claims.Budget())


def test_every_worked_conjecture_says_what_was_learned():
    page = (PROOFS / "README.md").read_text()
    for name in WORKED:
        assert f"`{name}`" in page, name
        assert len(files.load(PROOFS / "conjectures" / f"{name}.py").__doc__ or "") > 400, name


CLAIM = "sx.Claim(name='{}', statement='', margin=abs, domain=sx.Space(num_classes=2))"


def _file(folder, name, *lines):
    file = folder / f"{name}.py"
    file.write_text("\n".join(["import ssem_jax as sx", *lines]) + "\n")
    return file


@pytest.mark.parametrize(
    "lines",
    [
        (f"one = {CLAIM.format('first')}", f"one = {CLAIM.format('second')}"),
        (f"one = {CLAIM.format('first')}", "one: int = 3"),
        (f"for one in ({CLAIM.format('first')}, {CLAIM.format('second')}):", "    pass"),
    ],
)
def test_a_name_that_is_bound_twice_loses_no_conjecture_silently(tmp_path, lines):
    message = "binds one twice, which loses the conjecture first; give each a name of its own"
    with pytest.raises(ValueError, match=message):
        files.load(_file(tmp_path, "twice", *lines))


def test_names_that_are_bound_again_and_lose_nothing(tmp_path):
    lines = (
        f"one = {CLAIM.format('first')}",
        f"two = {CLAIM.format('second')}",
        "several = [one]",
        "one = 3",
        "for each in (*several, two):",
        "    last: object = each",
        "count = 1",
        "count += len([one for one in range(3)])",
        "del count",
        "def number():",
        "    return last",
        "if not number():",
        f"    two = {CLAIM.format('third')}",
        "assert 'two' in locals() and len(locals()) > 3 and list(locals())",
    )
    found = files.conjectures(files.load(_file(tmp_path, "again", *lines)))
    assert {claim.name for claim in found} == {"first", "second"}


def test_a_file_imports_what_stands_beside_it(tmp_path, monkeypatch):
    """As `python FILE` does; of two folders each has its own."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(files, "_FOLDERS", set())
    text = "from helper_beside import bound\nFOUND = bound\n"
    for name, bound in (("one", 1), ("two", 2)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "helper_beside.py").write_text(f"bound = {bound}\n")
        (folder / f"conjectures_{name}.py").write_text(text)
        assert bound == files.load(folder / f"conjectures_{name}.py").FOUND
        assert sys.path[0] == str(folder.resolve())
    for name in ("helper_beside", "conjectures_one", "conjectures_two"):
        sys.modules.pop(name)
