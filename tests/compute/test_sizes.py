"""What would not end is refused in a line, before it begins."""

import math
import re

import numpy as np
import polars as pl
import pytest

import ssem_jax as sx
from ssem_jax.cli import main
from ssem_jax.compute import sizes

CELL = ["--alpha", ".5", "--tau", ".5"]
ABSURD = [
    (["sweep", "--alpha", "0:1:100000000"], "--alpha takes at most 1,000,000 numbers; got '0:1:1"),
    (["sweep", "--alpha", "0:1:9999", "--tau", "1:2:9999"], "these are 99,980,001 cells, and a"),
    (
        ["sweep", "--classes", "2:1e3:999", "--instances", "2:1e3:999"],
        "these are 288,422,289 cells",
    ),
    (["sweep", *CELL, "--classes", "1e9"], "num_classes must be at most 10,000,000; got 1,000,000"),
    (["sweep", *CELL, "--instances", "1e30"], r"at most 9.01e\+15 embeddings, .*; got 3e\+30"),
    (["sweep", *CELL, "--dim", "1000000000000"], "12 embeddings in 1000000000000 dimensions would"),
    (["sweep", *CELL, "--instances", "1000000"], "3000000 embeddings .* at least .* TB of memory"),
    (["sweep", *CELL, "--seed", "1" * 23], "Invalid value for '--seed': .*7. Try 'ssem"),
    (["train", "mixture", "--seeds", "9999999999"], "Invalid value for '--seeds'"),
    (["guide", "--classes", "1000000000", "--instances", "2"], "num_classes must be at most 10,0"),
    (
        ["guide", "--classes", "10", "--batch", "10000000"],
        "at most 1,000,000 instances; got 10,000",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), ABSURD)
def test_the_absurd_is_a_line(arguments, message, monkeypatch, capsys):
    monkeypatch.setenv("SSEM_CACHE", "off")
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    assert re.search(message, told.err), told.err


def test_python_is_refused_alike(monkeypatch):
    problem = sx.Problem(sx.ClassStructure((2, 2)), 3, sx.SupCL(0.5, 0.5))
    with pytest.raises(ValueError, match="or a seed; got 1000000"):
        sx.sweep([problem], seed=10**23)
    monkeypatch.setattr(sizes, "CELLS_LIMIT", 1)
    with pytest.raises(ValueError, match="these are 2 cells, and a sweep has at most 1: take"):
        sx.sweep([problem, problem])
    with pytest.raises(ValueError, match="these are 2 cells, and a sweep has at most 1: take"):
        sx.Grid([sx.ClassStructure((2, 2))], [3], [0.1, 0.2], [0.5]).problems()
    monkeypatch.setattr(sizes, "free_memory", lambda: 1e3)
    with pytest.raises(ValueError, match=r"audit of 8 embeddings .* 2.24 kB .* 1 kB are free"):
        sx.audit(np.eye(8, 3) + 1, [0, 1] * 4, sx.SupCL(0.5, 0.5))


@pytest.mark.parametrize("name", ["zeros.npz", "zeros.npy", "zeros.parquet"])
def test_a_file_that_unfolds_is_looked_at_first(name, monkeypatch, tmp_path):
    """A few kilobytes that are compressed, or say how often a number is repeated."""
    path = tmp_path / name
    if name == "zeros.parquet":
        pl.DataFrame({"a": [0.0] * 600, "b": [0.0] * 600}).write_parquet(path)
    else:
        (np.savez_compressed if name == "zeros.npz" else np.save)(path, np.zeros((600, 2)))
    assert sx.advice.read_embeddings(path).shape == (600, 2)
    monkeypatch.setattr(sizes, "free_memory", lambda: 1e3)
    with pytest.raises(ValueError, match=r"9.6 kB of memory .*; save a sample of the rows.$"):
        sx.advice.read_embeddings(path)


def test_memory_is_what_the_system_tells(monkeypatch, tmp_path):
    monkeypatch.setattr(sizes, "MEMORY", tmp_path / "meminfo")
    assert 0 < sizes.free_memory() < math.inf
    for text in ("MemTotal: 1 kB\n", "nothing\n", "MemAvailable: \n"):
        (tmp_path / "meminfo").write_text(text)
        assert sizes.free_memory() > 1e6
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:   7 kB\n")
    assert sizes.free_memory() == 7 * 1024
    monkeypatch.setattr(sizes.os, "sysconf", lambda name: -1 if "PAGES" in name else 4096)
    (tmp_path / "meminfo").unlink()
    assert sizes.free_memory() == math.inf


def test_bytes_are_read_easily():
    found = [sizes.as_bytes(count) for count in (0, 999, 1000, 6.12e9, 1e30)]
    assert found == ["0 B", "999 B", "1 kB", "6.12 GB", "1e+15 PB"]
