"""`ssem ufm`: merged classes by index, and what it refuses."""

import json
import re

import numpy as np
import pytest

from ssem_jax import theory
from ssem_jax.cli import main

CALL = ("ufm", "--sizes", "100,5,100,5", "--ridge", "2e-2,2e-2")


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    printed = capsys.readouterr()
    return ended.value.code, printed.out, printed.err


def test_it_says_which_classes_merge_and_what_parts_them(capsys):
    code, out, _ = run(capsys, *CALL)
    assert code == 0
    assert "merged: classes 1, 3" in out
    assert f"= {theory.merged_size(210, 2e-2, 2e-2):.6g}: these do where" in out
    assert "no classes merge" not in out


def test_the_document(capsys):
    code, out, _ = run(capsys, *CALL, "--json")
    found = json.loads(out)
    assert code == 0
    assert {"value", "lower", "gap", "merged", "cosines", "norms", "margins"} <= set(found)
    assert found["merged"] == [[1, 3]]
    assert 0 <= found["gap"] <= 1e-9
    assert found["gap"] == pytest.approx(found["value"] - found["lower"], abs=1e-15)
    assert [kind["classes"] for kind in found["kinds"]] == [[0, 2], [1, 3]]
    low, high = next(
        row["bracket"] for row in found["margins"] if (row["of"], row["against"]) == (100, 100)
    )
    assert low <= theory.ridge_margin(100, 210, 2e-2, 2e-2) <= high
    norms, ends = (np.array(found["norms"][name]) for name in ("weights", "weight_brackets"))
    assert np.all((ends[:, 0] <= norms) & (norms <= ends[:, 1]))
    assert np.all(ends[:, 1] - ends[:, 0] < 1e-3)
    for row in found["cosines"]:
        for name in ("weight", "feature"):
            low, high = row[f"{name}_bracket"]
            assert -1 <= low <= row[f"{name}s"] <= high <= 1


def test_squared_error(capsys):
    code, out, _ = run(capsys, *CALL, "--loss", "squared", "--json")
    found = json.loads(out)
    assert code == 0
    stated = theory.squared_ridge((100, 100, 5, 5), 2e-2, 2e-2)
    assert found["lower"] - 1e-12 <= stated <= found["value"] + 1e-12
    assert found["merged"] == [[1, 3]]
    assert (
        "the 2 classes of 5 samples have no weight:" in run(capsys, *CALL, "--loss", "squared")[1]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sizes", "3,3"), "give one of --ridge W,H, --budget W,H, --balls S,R and --unit TAU"),
        (("--sizes", "3,3", "--ridge", "1", "--unit", "1"), "got 2 of them"),
        (("--sizes", "3,3", "--ridge", "1"), "--ridge takes two numbers, of weights and features"),
        (
            ("--sizes", "3,3", "--unit", "1", "--bias", "some"),
            "--bias takes none, free",
        ),
        (("--sizes", "3,3", "--unit", "1", "--loss", "hinge"), "--loss takes cross-entropy or sq"),
        (
            ("--sizes", "3,3", "--unit", "1", "--loss", "squared", "--smoothing", "0.1"),
            "--smoothing is of cross-entropy",
        ),
        (("--sizes", "3.5,3", "--unit", "1"), "--sizes takes integers"),
        (("--sizes", "3", "--unit", "1"), "at least 2 classes; got 1"),
        (("--sizes", "3,3", "--unit", "0"), "temperature of Unit must be positive"),
    ],
)
def test_misuse_is_one_line(capsys, arguments, message):
    code, out, err = run(capsys, "ufm", *arguments)
    assert code == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert re.search(message, err)
