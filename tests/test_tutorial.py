"""The tutorial notebook: every cell runs, and shows what a notebook can show."""

import ast
import json
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

import ssem_jax as sx
from ssem_jax import show

NOTEBOOK = Path(__file__).parents[1] / "proofs_numeric" / "tutorial.ipynb"
DOCUMENT = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
CELLS = ["".join(cell["source"]) for cell in DOCUMENT["cells"] if cell["cell_type"] == "code"]
SECONDS = 120
"""What the whole of it may take on two cores of its own."""


def run(source, scope):
    """Run a cell as a notebook does: the value of an expression at its end is shown."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), scope)
    value = None if last is None else eval(ast.unparse(last), scope)
    for name in ("_repr_svg_", "_repr_html_"):
        if hasattr(value, name):
            return getattr(value, name)()
    return repr(value)


def test_the_notebook_is_one():
    assert (DOCUMENT["nbformat"], DOCUMENT["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in DOCUMENT["cells"]}) == len(DOCUMENT["cells"])
    for cell in DOCUMENT["cells"]:
        assert cell.get("outputs", []) == []  # committed as it is written
    for source in CELLS:
        compile(source, "<cell>", "exec")


def test_the_names_that_it_uses_exist():
    for source in CELLS:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Attribute):
                path = ast.unparse(node).split(".")
                if path[0] in ("sx", "show") and all(part.isidentifier() for part in path):
                    found = {"sx": sx, "show": show}[path[0]]
                    for part in path[1:]:
                        found = getattr(found, part)


def test_pictures_show_themselves():
    figure, _ = show.new_figure(height=0.5, width=0.5)
    assert "<svg" in figure._repr_svg_()


@pytest.mark.slow
def test_every_cell_runs_within_two_minutes(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "__main__", main := types.ModuleType("__main__"))
    begun = time.process_time()
    shown = [run(source, vars(main)) for source in CELLS]
    assert time.process_time() - begun < 2 * SECONDS
    text = "\n".join(shown) + capsys.readouterr().out
    for words in (
        "certified as globally optimal",
        "the closed form says",
        "'certified': 63",
        "<svg",
        "REFUTED    rule_of_thumb",
        "3 cells: 3 certified",
        "convexity that is declared",
        "3 classes: &#x27;cat&#x27; × 4",
        "NC1",
    ):
        assert words in text, words


PROMPT = """
import jax, jax.numpy as jnp, numpy as np, ssem_jax as sx
jax.config.update("jax_enable_x64", True)

@sx.gram_loss(convex=True, symmetric=True)
def pull(gram, structure, *, sharpness=1.0):
    return jnp.mean(jnp.exp(sharpness * gram))

problem = sx.Problem(sx.ClassStructure((2, 2)), 3, pull(sharpness=np.array([1.0, 2.0])))
for executor in ("processes", "dask"):
    table = sx.sweep(problem, executor=executor)
    print(len(table), table["gap"].max() < 1e-9, table["convexity"][0])
"""


@pytest.mark.slow
def test_a_loss_of_a_cell_is_computed_by_other_processes():
    pytest.importorskip("distributed")
    done = subprocess.run(  # as in a notebook: a __main__ that no file holds
        [sys.executable, "-c", PROMPT], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["2 True declared"] * 2
