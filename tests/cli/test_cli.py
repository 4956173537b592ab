"""The command line as a user meets it: in a process of its own."""

import json
import re
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import ssem_jax as sx
from ssem_jax.cli import main
from ssem_jax.cli.parse import parse_integers, parse_numbers


def ssem(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "ssem_jax.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--alpha", "1.2"], r"alpha must lie in \[0, 1\]; got 1.2"),
        (["--tau", "0"], "temperature must be positive and finite; got 0"),
        (["--tau", "nan"], "temperature must be positive and finite; got nan"),
        (["--instances", "1", "--alpha", "0"], "L_sup has no positive pair"),
        (["--dim", "0"], "dim must be an integer of at least 1; got 0"),
        (["--classes", "1"], "--classes must be at least 2; got 1"),
        (["--views", "1", "--self-pairs", "exclude"], "num_views must be at least 2"),
        (["--self-pairs", "maybe"], "self_pairs must be one of 'include', 'exclude'"),
        (["--alpha", "low"], "--alpha takes numbers as"),
        (["--bogus"], "No such option: --bogus"),
        (["--out", "FILE/run"], "cannot write to"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(arguments, message, tmp_path, ssem_here):
    (tmp_path / "FILE").write_text("")
    says_one_line_and_ends_with_2(ssem_here("sweep", *arguments), message)


def test_bad_usage_in_a_process_of_its_own():
    result = ssem("sweep", "--instances", "1", "--alpha", "0")
    says_one_line_and_ends_with_2(result, "L_sup has no positive pair")


def says_one_line_and_ends_with_2(result, message):
    assert result.returncode == 2
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("ssem: error: ")
    assert re.search(message, lines[0]), lines[0]


def test_sweep_info_and_json(tmp_path, ssem_here):
    run = tmp_path / "run"
    arguments = ["--classes", "2", "--instances", "2", "--alpha", "0.1,0.9", "--tau", "0.5"]
    result = ssem("sweep", *arguments, "--out", run, "--json")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert {"run", "cells", "certified", "worst_gap", "seconds"} <= set(summary)
    assert summary["cells"] == summary["certified"] == 2
    table = pl.read_parquet(run / "*.parquet")
    assert table["phase"].to_list() == ["collapse", "spread"]
    told = ssem("info", run)
    assert told.returncode == 0
    assert "2 of 2 cells (complete)" in told.stdout
    assert json.loads(ssem_here("info", run, "--json").stdout)["planned"] == 2
    drawn = ssem("plot", run, "--out", tmp_path / "phase.svg")
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "phase.svg").read_text().startswith("<?xml")
    assert ssem_here("plot", run, "--kind", "pie").returncode == 2
    assert ssem_here("plot", tmp_path / "nothing").returncode == 2
    again = ssem_here("sweep", *arguments, "--tau", "0.6", "--out", run)
    assert again.returncode == 2
    assert "holds another run" in again.stderr


def test_audit_tells_optimal_from_perturbed(tmp_path):
    import jax

    structure = sx.ClassStructure((3, 3))
    loss = sx.SupCL(0.8, 0.5)
    solution = sx.solve(sx.Problem(structure, 8, loss), jax.random.key(1))
    best = np.asarray(solution.embeddings)
    shuffled = np.array([0, 3, 1, 4, 2, 5])
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(np.array(list("aaabbb"))[shuffled]))
    file = tmp_path / "embeddings.npy"
    arguments = ["audit", file, "--labels", labels, "--alpha", 0.8, "--tau", 0.5]

    np.save(file, 7 * best[shuffled])  # scaled rows are normalised
    optimal = ssem(*arguments, "--json")
    assert optimal.returncode == 0, optimal.stderr
    document = json.loads(optimal.stdout)
    assert document["optimal"]
    assert document["phase"] == "spread"
    assert document["found"]["delta2"] == pytest.approx(document["predicted"]["delta2"], abs=1e-9)

    noise = 1e-2 * np.random.default_rng(0).normal(size=best.shape)
    np.save(file, (best + noise)[shuffled])
    perturbed = ssem(*arguments)
    assert perturbed.returncode == 1
    assert "not certified as optimal" in perturbed.stdout


def test_audit_refuses_what_does_not_fit(tmp_path, ssem_here):
    np.save(tmp_path / "e.npy", np.ones((4, 2)))
    (tmp_path / "labels.txt").write_text("a\na\nb\n")
    common = ["--alpha", 0.5, "--tau", 0.5, "--labels", tmp_path / "labels.txt"]
    result = ssem("audit", tmp_path / "e.npy", *common)
    assert result.returncode == 2
    assert "one label for each embedding; got 3 labels" in result.stderr
    assert "cannot read the embeddings" in ssem_here("audit", tmp_path / "no.npy", *common).stderr
    (tmp_path / "labels.txt").write_text("")
    assert "holds no labels" in ssem_here("audit", tmp_path / "e.npy", *common).stderr


def test_guide_answers_with_a_picture(tmp_path):
    arguments = ["guide", "--classes", 10, "--instances", 50, "--views", 2, "--alpha", 0.5]
    result = ssem(*arguments, "--json", "--plot", tmp_path / "guide.png")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert {"alpha", "temperature", "alpha_c", "tau_c", "delta2", "phase"} <= set(document)
    assert document["tau_c"] == float(sx.theory.tau_c(10, 50, 2, 0.5))
    assert (tmp_path / "guide.png").read_bytes().startswith(b"\x89PNG")


def test_guide_reads_labels(tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\ncat\ndog\n")
    result = ssem("guide", "--labels", labels, "--views", 2, "--tau", 0.3)
    assert result.returncode == 0, result.stderr
    assert "A batch of 2 classes × 2 × 2 views" in result.stdout


def test_guide_answers_for_twenty_unbalanced_classes(tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"c{k}\n" * (2 + k % 3) for k in range(20)))
    result = ssem("guide", "--labels", labels, "--alpha", 0.5, "--tau", 0.3, "--json")
    assert result.returncode == 0, result.stderr
    classes = json.loads(result.stdout)["classes"]
    assert len(classes) == 20
    assert len({row["alpha_c"] for row in classes}) == 3


def test_guide_answers_for_random_batches_of_unequal_classes(tmp_path, monkeypatch, capsys):
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{name}\n" * size for name, size in (("a", 6), ("b", 3), ("c", 3))))
    monkeypatch.setenv("SSEM_CACHE", "off")
    with pytest.raises(SystemExit, match="0"):
        main(["guide", "--labels", str(labels), "--batch", "5", "--tau", "0.4", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert {"alpha_c", "tau_c", "delta2", "stratified", "gap"} <= set(told)
    assert [row["size"] for row in told["classes"]] == [6, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --classes and --instances of a batch, or --labels FILE"),
        (["--classes", "3", "--instances", "1"], "every class has one instance in the batch"),
        (["--labels", "nothing.txt"], "cannot read the labels in nothing.txt"),
        (["--labels", "LABELS"], "at least 2 classes; got 1"),
        (["--labels", "LABELS", "--classes", "3"], "--labels replaces --classes"),
        (["--batch", "64"], "--batch needs a data set: give --classes, or --labels FILE"),
        (["--batch", "64", "--instances", "3"], "--batch is of random batches .* with --classes"),
        (["--classes", "3", "--batch", "3"], "a batch must be an integer of at least 4; got 3"),
    ],
)
def test_guide_refuses_in_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "LABELS").write_text("a\na\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSEM_CACHE", "off")
    with pytest.raises(SystemExit, match="2"):
        main(["guide", *arguments])
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    assert re.search(message, told.err), told.err


def test_explore_writes_a_page(tmp_path):
    result = ssem("explore", "--out", tmp_path / "page.html")
    assert result.returncode == 0, result.stderr
    assert "<html" in (tmp_path / "page.html").read_text()


def test_help_and_version(ssem_here):
    assert "verify" in ssem_here("--help").stdout
    assert "Example:" in ssem_here("sweep", "--help").stdout
    assert "ssem-jax" in ssem("--version").stdout
    bare = ssem()
    assert "Usage:" in bare.stdout
    assert bare.stderr == ""


def test_verify_excludes_contradictions():
    result = ssem("verify", "--quick", "--full")
    assert result.returncode == 2
    assert "exclude each other" in result.stderr


def test_numbers_and_ranges():
    assert parse_numbers("--alpha", "0:1:3") == (0, 0.5, 1)
    assert parse_numbers("--tau", "log:0.1:10:3") == pytest.approx((0.1, 1, 10))
    assert parse_numbers("--tau", "0.1, 2") == (0.1, 2)
    assert parse_integers("--classes", "2:5:7") == (2, 3, 4, 5)
    for text in ("log:0:1:3", "0:1", "0:1:0", "0:1:2:3", ""):
        with pytest.raises(ValueError, match="--tau takes numbers as"):
            parse_numbers("--tau", text)
    for text in ("1.5", "inf"):
        with pytest.raises(ValueError, match="--dim takes integers"):
            parse_integers("--dim", text)
