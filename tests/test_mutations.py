"""Faults that are put into the source are faults, always the same, and noticed or not as told."""

import ast

import mutations
import pytest

SOURCE = '''"""Text that says 1 + 1."""
LIMIT = 3


def area(width: int, height: int = 2) -> int:
    """Width × height."""
    if width < 0:
        raise ValueError(f"width must be at least 0; got {width + 0}.")
    é = max(width, 1) * height  # λ
    return power(é, 1) - 1
'''


def test_every_operator_changes_code_and_nothing_else():
    found = mutations.drawn("area.py", "theory", SOURCE, 100)
    changes = "\n".join(mutant.change for mutant in found)
    for expected in (
        "width > 0",
        "max(width, 1) / height",
        "min(width, 1)",
        "power(1, é)",
        "power(é, 1) + 1",
        "power(é, 0)",
        "height: int = 3",
    ):
        assert expected in changes
    assert {mutant.kind for mutant in found} == set(mutations.OPERATORS)
    for mutant in found:
        ast.parse(mutant.text)
        assert ast.dump(ast.parse(mutant.text)) != ast.dump(ast.parse(SOURCE))
        assert "Text that says 1 + 1" in mutant.text
        assert "LIMIT = 3" in mutant.text
        assert "got {width + 0}" in mutant.text
        assert mutant.text.splitlines()[mutant.line - 1] != SOURCE.splitlines()[mutant.line - 1]


def test_the_same_faults_are_drawn_again():
    first, second = (mutations.drawn("area.py", "theory", SOURCE, 6) for _ in range(2))
    assert first == second
    assert len({mutant.name for mutant in first}) == 6


def test_there_are_more_than_a_hundred_and_every_topic_has_tests():
    assert len(mutations.mutants()) >= 100
    for topic in mutations.TESTS:
        assert not mutations.files(topic) or mutations.tests(topic, mutations.ROOT)


def test_written_faults_are_up_to_date():
    assert not mutations.stale()


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A tree of one file and one test, which sees that the area is positive and no more."""
    (tmp_path / "ssem_jax").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "ssem_jax" / "__init__.py").write_text("")
    (tmp_path / "ssem_jax" / "theory.py").write_text("def area(a, b):\n    return a * b + 0\n")
    (tmp_path / "tests" / "test_theory.py").write_text(
        "from ssem_jax.theory import area\n\n\ndef test_area():\n    assert area(3, 2) > 5\n"
    )
    monkeypatch.setattr(mutations, "ROOT", tmp_path)
    monkeypatch.setattr(mutations, "COPIED", ("ssem_jax", "tests"))
    return tmp_path


def test_a_fault_is_noticed_or_survives(tree):
    source = (tree / "ssem_jax" / "theory.py").read_text()
    out = tree / "m.jsonl"

    def fate(old, new):
        text = source.replace(old, new)
        line, change = mutations._describe(source, text)
        mutant = mutations.Mutant("ssem_jax/theory.py", "theory", "written", line, text, change)
        (outcome,) = mutations.run([mutant], 1, out, False)
        return outcome.noticed

    (sound,) = mutations.run([mutations.faultless("theory", tree)], 1, None, False)
    assert sound.noticed == ""
    assert "test_area" in fate("a * b", "a / b")
    assert fate("+ 0", "- 0") == ""
    assert fate("+ 0", "- 0") == ""  # from the file this time
    assert len(out.read_text().splitlines()) == 2
    assert (tree / "ssem_jax" / "theory.py").read_text() == source
