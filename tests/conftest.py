"""Verification is done in 64 bits. Examples are drawn alike in every run, with no time limit.

Shapes and types are checked in every call of the package (:mod:`tests.shapes`), and arrays of
different rank are never paired by themselves. `SSEM_CHECKED=0` leaves that out.
"""

import gc
import os
import subprocess
from pathlib import Path

import jaxlib.version

KERNELS = Path(__file__).parents[1] / ".pytest_cache" / "kernels"
"""Most of the suite's time is compiling: its workers, their children and the next run share it."""

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(KERNELS))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
# The package's kernels compile as they do for users (`ssem_jax.compute.kernels.OPTIONS`). All else
# are thousands of small functions that run once: not optimised, they compile in half of the time.
# XLA_FLAGS= (empty) leaves XLA its own choices. XLA ends the process where it does not know a flag:
# that of its old emitters went with them.
flags = ["--xla_backend_optimization_level=0"]
if jaxlib.version.__version_info__ < (0, 11):
    flags += ["--xla_cpu_use_fusion_emitters=false"]
os.environ.setdefault("XLA_FLAGS", " ".join(flags))

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

if os.environ.get("SSEM_CHECKED", "1") != "0":
    from shapes import check_package

    check_package("ssem_jax")
    jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_enable_x64", True)

hypothesis.settings.register_profile("ssem", deadline=None, derandomize=True, max_examples=25)
hypothesis.settings.load_profile("ssem")


PROGRAMS = KERNELS.with_name("programs")
"""What a worker traced, with every check, the others and the next run of the same code find."""


@pytest.fixture(autouse=True, scope="session")
def kept_programs():
    """Programs are known by the sources of the package, and by the code of the tests' losses."""
    from ssem_jax.compute import programs

    programs.FOLDER = PROGRAMS


@pytest.fixture(autouse=True)
def traced_anew(request):
    """Tests that change what no identity sees, constants of a module, keep no programs."""
    from ssem_jax.compute import programs

    programs.FOLDER = None if "monkeypatch" in request.fixturenames else PROGRAMS
    yield
    programs.FOLDER = PROGRAMS  # a command may have said otherwise


@pytest.fixture
def ssem_here(tmp_path, monkeypatch, capsys):
    """A command in this process and in a folder of the test, and what a child would have told:
    each child imports JAX and all else for more than a second."""
    from ssem_jax.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSEM_CACHE", "off")

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main([*map(str, arguments)])
        told, code = capsys.readouterr(), end.value.code
        assert isinstance(code, int)
        return subprocess.CompletedProcess(arguments, code, told.out, told.err)

    return run


def pytest_collection_finish():
    """Modules and tests stay to the end: the collector of garbage need not look at them again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
