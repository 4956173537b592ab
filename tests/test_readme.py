"""The README: short, its map is the house's, and what it says of where things go is so."""

import re
from pathlib import Path

import figures
import proofs_numeric
import ssem_jax as sx
from ssem_jax.cli.entry import app

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
WORDS = 2000
"""Five minutes of reading, tables and code that one skims included."""


def section(title):
    return re.search(rf"^## {title}$(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)[1]


def test_it_is_read_in_five_minutes():
    assert len(TEXT.split()) <= WORDS


def test_the_map_has_every_room_and_no_other():
    (plan,) = re.findall(r"```\n(.*?)```", section("How a claim travels"), re.DOTALL)
    named = set(re.findall(r"^\W*(\w+) {2,}\S", plan, re.MULTILINE))
    package = Path(sx.__file__).parent
    assert named == {path.parent.name for path in package.glob("*/__init__.py")}


def test_places_and_modules_that_it_names_are_there():
    carry = section("Carrying it on")
    for place in re.findall(r"`((?:ssem_jax|proofs_numeric|figures|tests)/[\w/.]*)`", carry):
        assert (ROOT / place).exists(), place
    for module in re.findall(r"python -m (\w+)", TEXT):
        assert (ROOT / module / "__main__.py").exists() or (ROOT / module).is_dir(), module
    kinds = re.findall(r"^\* \*\*(.*?)\*\*:(.*?)(?=^\* |^\n)", carry, re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in kinds] == [
        "A loss",
        "A claim",
        "A paper",
        "A figure",
        "A command",
    ]
    assert all(len(text.strip().splitlines()) <= 4 for _, text in kinds)


def test_a_figure_and_a_module_of_claims_are_what_it_says():
    for module in figures.modules().values():
        assert callable(module.compute)
        assert module.IMAGES
    for module in proofs_numeric.modules():
        assert module.__doc__


def test_the_commands_in_its_table_are_those_of_the_program():
    listed = set(re.findall(r"^\| `ssem (\w+)", TEXT, re.MULTILINE))
    listed |= set(re.findall(r"`ssem (plot)", TEXT))
    found = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert listed == found


def test_names_that_it_mentions_exist():
    for dotted in set(re.findall(r"\bsx\.([a-z_]+(?:\.\w+)?)", TEXT)):
        value = sx
        for name in dotted.split("."):
            value = getattr(value, name)
    for name in re.findall(r"`theory\.(\w+)", TEXT):
        assert hasattr(sx.theory, name), name
