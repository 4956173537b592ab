"""The page on trust says what is so: files, tests and numbers of its tables."""

import re
from pathlib import Path

import pytest

from ssem_jax.certificate import COLLAPSE_TOLERANCE, GAP_TOLERANCE, rounding
from ssem_jax.certificate.certificates import CHOLESKY_LIMIT
from ssem_jax.certificate.eigenbound import FAILURE_PROBABILITY
from ssem_jax.claims import Verdict

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "proofs_numeric" / "README.md").read_text(encoding="utf-8")
LEMMAS = re.findall(r"^\| (\d+) \| (.+) \| `(\S+)` \| `(\S+)`: `(\w+)` \|$", PAGE, re.MULTILINE)
VERDICTS = PAGE.split("| verdict | rests on |")[1].split("A cell counts")[0]


@pytest.mark.parametrize("lemma", LEMMAS, ids=lambda lemma: lemma[0])
def test_a_lemma_is_argued_and_checked_where_it_says(lemma):
    _, _, argued, tests, name = lemma
    docstrings = (ROOT / argued).read_text(encoding="utf-8").split('"""')[1::2]
    assert max(len(text.split()) for text in docstrings) > 40  # an argument, not titles
    assert f"def {name}(" in (ROOT / tests).read_text(encoding="utf-8")


def test_lemmas_are_numbered_and_each_is_used():
    numbers = [int(lemma[0]) for lemma in LEMMAS]
    assert numbers == list(range(1, 10))
    used = {
        int(number)
        for listed in re.findall(r"lemmas? ([\d, and]+)", VERDICTS)
        for number in re.findall(r"\d+", listed)
    }
    assert used == set(numbers)


def test_every_verdict_is_in_the_table():
    assert all(verdict in VERDICTS for verdict in Verdict)


def test_numbers_are_those_of_the_code():
    for said, known in (
        (r"exp within (\S+) and", rounding.EXP_ULPS),
        (r"log within (\S+) units", rounding.LOG_ULPS),
        (r"beyond ([\d,]+) embeddings", CHOLESKY_LIMIT),
        (r"probability (\S+) at most", FAILURE_PROBABILITY),
        (r"gap is at most (\S+),", GAP_TOLERANCE),
        (r"below (\S+);", COLLAPSE_TOLERANCE),
    ):
        (found,) = re.findall(said, PAGE)
        assert float(found.replace(",", "")) == known, said


def test_the_checker_is_as_long_as_is_said():
    lines = (ROOT / "proofs_numeric" / "check.py").read_text(encoding="utf-8").count("\n")
    texts = (PAGE, (ROOT / "README.md").read_text(encoding="utf-8"))
    assert all(str(lines) in text for text in texts)
