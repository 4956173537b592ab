"""The command line in the environments that there are: other encodings, closed pipes, no device."""

import io
import os
import re
import subprocess
import sys
import time
import warnings

import jax
import pytest

from ssem_jax.cli import console, entry, main, streams
from ssem_jax.cli.console import progress_lines
from ssem_jax.cli.entry import app
from ssem_jax.compute import cache

ANSWER = "m × n = 3, α ≥ 0.5, δ² → 0 … é 本"


@pytest.fixture
def printing(monkeypatch):
    """`ssem` with an answer, and a stdout of the encoding that is asked for."""

    def run(encoding, answer=lambda: print(ANSWER)):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
        monkeypatch.setattr(entry, "_run", lambda _: answer() or 0)
        with pytest.raises(SystemExit) as end:
            main([])
        return end.value.code, raw.getvalue().decode(encoding)

    return run


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", ANSWER),
        ("ascii", "m x n = 3, alpha >= 0.5, delta^2 -> 0 ... e ?"),
        ("cp1252", "m × n = 3, alpha >= 0.5, delta² -> 0 … é ?"),
        ("latin-1", "m × n = 3, alpha >= 0.5, delta² -> 0 ... é ?"),
    ],
)
def test_symbols_are_spelled_where_the_encoding_has_none(printing, encoding, expected):
    assert printing(encoding) == (0, expected + os.linesep)


def test_only_what_is_written_can_be_spelled():
    with pytest.raises(UnicodeDecodeError):
        b"\xe9".decode("ascii", "ssem.spelled")


class Cut(io.TextIOWrapper):
    """A pipe whose reader has gone."""

    def __init__(self, flushes):
        super().__init__(io.BytesIO())
        self.flushes, self.written = flushes, False

    def write(self, _):
        if not self.flushes:
            raise BrokenPipeError
        self.written = True
        return 0

    def flush(self):
        if self.flushes and self.written:
            raise BrokenPipeError


@pytest.mark.parametrize("flushes", [False, True])
def test_a_pipe_that_closes_is_a_line_and_an_exit_code(monkeypatch, capsys, flushes):
    monkeypatch.setattr(streams, "drop_stdout", lambda: None)
    monkeypatch.setattr(entry, "drop_stdout", lambda: None)
    monkeypatch.setattr(sys, "stdout", cut := Cut(flushes))
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    cut.flushes = False
    assert end.value.code == 141
    assert capsys.readouterr().err == "ssem: nobody reads stdout any more.\n"


def test_stdout_that_is_dropped_is_quiet():
    """In a process of its own, whose stdout is a pipe that nobody reads."""
    code = "import runpy, sys; runpy.run_path(sys.argv[1])['drop_stdout'](); print('x' * 99999)"
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", code, streams.__file__]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_streams_that_are_not_there(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    streams.prepare_streams()
    print("nothing")
    sys.stdout.close()


def ending_with(error, monkeypatch, capsys):
    """What `ssem` says of an error, and its exit code."""

    def fail(*_, **__):
        raise error

    monkeypatch.setattr("typer.main.get_command", lambda _: type("C", (), {"main": fail}))
    with pytest.raises(SystemExit) as end:
        main([])
    assert app  # imported with the commands
    return end.value.code, capsys.readouterr().err


def test_out_of_memory_is_a_line(monkeypatch, capsys):
    for error in (MemoryError("8 TiB"), RuntimeError("Out of memory allocating 8 bytes")):
        code, told = ending_with(error, monkeypatch, capsys)
        assert code == 2
        assert told.startswith("ssem: error: out of memory; ask for fewer or smaller things (")
        assert told.count("\n") == 1


def test_interruption_is_a_line(monkeypatch, capsys):
    code, told = ending_with(KeyboardInterrupt(), monkeypatch, capsys)
    assert code == 130
    assert told.startswith("ssem: interrupted; ")
    assert told.count("\n") == 1


def test_a_platform_that_is_not_there(monkeypatch):
    def none():
        raise RuntimeError("Unable to initialize backend 'abacus'")

    monkeypatch.setattr(jax, "devices", none)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    cache.check_platform()
    monkeypatch.setenv("JAX_PLATFORMS", "abacus")
    with pytest.raises(ValueError, match=r"JAX_PLATFORMS=abacus names no device .*; unset it, or"):
        cache.check_platform()


@pytest.fixture
def config(monkeypatch):
    """What `set_up_jax` would set."""
    found = {}
    monkeypatch.setattr(jax.config, "update", found.__setitem__, raising=False)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    cache._warn.cache_clear()
    with warnings.catch_warnings():
        yield found
    cache._warn.cache_clear()


def test_kernels_are_kept_where_it_is_said(config, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    cache.set_up_jax()
    assert config["jax_compilation_cache_dir"] == str(tmp_path / "kernels")
    config.clear()
    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    cache.set_up_jax()
    assert config == {"jax_enable_x64": True}
    assert capsys.readouterr().err == ""


def test_kernels_that_cannot_be_kept_are_one_warning(config, monkeypatch, tmp_path, capsys):
    (tmp_path / "kernels").write_text("a file in the place of the folder")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    for _ in range(2):
        cache.set_up_jax()
    assert config == {"jax_enable_x64": True}
    assert capsys.readouterr().err.count("ssem: nothing is cached: ") == 1


def test_without_a_terminal_there_is_a_line_now_and_then(capsys):
    with progress_lines("sweep", 10, "cells", every=0.02) as advance:
        time.sleep(0.2)
        advance(4)
        time.sleep(0.1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    pattern = r"ssem: sweep: 4 of 10 cells after \d s, some \d s to go"
    assert any(re.fullmatch(pattern, line) for line in lines)
    with progress_lines("sweep", 10, "cells", every=0.1) as advance:
        advance(1)
        time.sleep(0.2)  # nothing comes, and what is left does not grow
    assert "to go" not in capsys.readouterr().err
    with progress_lines("sweep", 10, "cells") as advance:
        advance(10)
    assert capsys.readouterr().err == ""


def test_what_will_be_long_is_said_at_the_first_units(capsys, monkeypatch):
    monkeypatch.setattr(console, "LONG_SECONDS", 0.0)
    with progress_lines("sweep", 10**6, "cells") as advance:
        for _ in range(3):
            advance(1)
            time.sleep(0.01)
    told = capsys.readouterr().err
    assert re.fullmatch(r"ssem: sweep: 1,000,000 cells, some \d+ s at the first ones' pace\n", told)
