"""Programs that another process finds: the same bits, never those of other code, whatever befalls
the files."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ssem_jax as sx
from ssem_jax.compute import Kernel, kernels, programs


class Found(NamedTuple):
    root: object
    sum: object


def factored(matrix, shift):
    """A call of LAPACK, a loop, and a result that is not an array alone."""
    root = jnp.linalg.cholesky(matrix @ matrix.T + shift * jnp.eye(len(matrix)))
    return Found(root, jax.lax.fori_loop(0, 3, lambda _, sum: sum + root.sum(), 0.0))


MATRIX = np.random.default_rng(0).normal(size=(5, 5))


@pytest.fixture
def lowered(monkeypatch, tmp_path):
    """How often something was traced, while programs are kept in a folder of this test."""
    counts, original = [], programs._lowered
    monkeypatch.setattr(programs, "FOLDER", tmp_path / "programs")
    monkeypatch.setattr(programs, "_lowered", lambda *a: (counts.append(a[1]), original(*a))[1])
    return counts


def same_bits(one, other):
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in leaves)


def test_what_was_kept_gives_the_same_bits_and_is_not_traced(lowered, monkeypatch):
    made = Kernel(factored)(MATRIX, 2.0)
    kernel = Kernel(factored)
    found = kernel(MATRIX, 2.0)
    assert isinstance(found, Found)
    assert len(lowered) == 1
    assert "function" not in vars(kernel)  # not even made
    monkeypatch.setattr(programs, "FOLDER", None)
    assert same_bits(made, found)
    assert same_bits(found, Kernel(factored)(MATRIX, 2.0))
    assert same_bits(kernel(MATRIX, 3.0), Kernel(factored)(MATRIX, 3.0))


@pytest.mark.parametrize(
    "arguments",
    [(MATRIX[:3], 2.0), (MATRIX, 2), (MATRIX, jnp.asarray(2.0)), (MATRIX.astype("f4"), 2.0)],
    ids=["shape", "integer", "array", "precision"],
)
def test_arguments_of_another_form_are_another_program(lowered, monkeypatch, arguments):
    Kernel(factored)(MATRIX, 2.0)
    found = Kernel(factored)(*arguments)
    assert len(lowered) == 2
    monkeypatch.setattr(programs, "FOLDER", None)
    assert same_bits(found, Kernel(factored)(*arguments))


def test_arguments_that_a_function_does_not_use_tell_programs_apart(lowered):
    first, second = (Kernel(f) for f in (lambda a, b: a + 1, lambda a, b: b + 1))
    assert (first(1.0, 5.0), second(1.0, 5.0)) == (2, 6)
    assert len(lowered) == 2


LOSS = """
import ssem_jax as sx

POWER = 2

@sx.gram_loss(convex=True)
def powers(gram, structure, *, temperature):
    return (gram**POWER).sum() / temperature
"""


def loss_of(source):
    scope: dict[str, Any] = {"__name__": "notebook"}
    exec(compile(source, "notebook", "exec"), scope)
    return scope["powers"](temperature=0.5)


def test_a_loss_that_was_edited_is_another_program(lowered):
    """One of the same name, with another body, or another constant that it reads."""

    structure = sx.ClassStructure((2, 1))

    def value(loss, gram):
        return loss.value(gram, loss.prepare(structure))

    gram = np.full((3, 3), 0.5)
    found = [float(Kernel(value)(loss_of(source), gram)) for source in (LOSS, LOSS)]
    assert len(lowered) == 1
    assert found == [4.5, 4.5]
    assert float(Kernel(value)(loss_of(LOSS.replace("POWER = 2", "POWER = 1")), gram)) == 9
    assert float(Kernel(value)(loss_of(LOSS.replace("gram**POWER", "gram")), gram)) == 9
    assert len(lowered) == 3


def test_what_has_no_identity_is_not_kept(lowered, tmp_path):
    lock = threading.Lock()

    def guarded(number):
        with lock:
            return number + 1

    assert Kernel(guarded)(1.0) == 2
    assert lowered == []
    assert not (tmp_path / "programs").exists()


def test_sharing_of_programs_is_for_numbers_on_one_device_alone(lowered, monkeypatch):
    for name in programs.CHECKING[1:]:
        with monkeypatch.context() as patch:
            patch.setattr(type(jax.config), name, True)
            assert programs.program((), (1.0,), lambda: None) is None
    monkeypatch.setattr(jax, "devices", lambda: [1, 2])
    assert programs.program((), (1.0,), lambda: None) is None
    assert lowered == []


def truncated(content):
    return content[: len(content) // 2]


def flipped(content):
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.mark.parametrize("kind", ["name", "program"])
@pytest.mark.parametrize("damage", [truncated, flipped, lambda _: b"", lambda _: b"\xff" * 99])
def test_a_damaged_file_costs_time_alone_and_is_replaced(lowered, damage, kind):
    def doubled(number):
        return 2 * number

    Kernel(doubled)(3.0)
    small, large = sorted(programs.FOLDER.iterdir(), key=lambda path: path.stat().st_size)
    path = small if kind == "name" else large
    path.write_bytes(damage(path.read_bytes()))
    assert Kernel(doubled)(3.0) == 6
    assert Kernel(doubled)(3.0) == 6
    assert len(lowered) == 2


def test_a_folder_that_cannot_be_written_costs_time_alone(lowered, monkeypatch, tmp_path, recwarn):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(programs, "FOLDER", tmp_path / "file" / "programs")
    assert Kernel(factored)(MATRIX, 2.0).root.shape == (5, 5)
    assert not recwarn.list


def test_writers_of_one_program_do_not_meet(lowered):
    start = threading.Barrier(4)

    def run(_):
        kernel = Kernel(factored)
        start.wait(timeout=20)
        return kernel(MATRIX, 2.0)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(run, range(4)))
    assert all(same_bits(found[0], other) for other in found)
    assert len(list(programs.FOLDER.iterdir())) == 2  # nothing half written is left
    before = len(lowered)
    assert same_bits(Kernel(factored)(MATRIX, 2.0), found[0])
    assert len(lowered) == before


def test_the_programs_that_were_not_used_for_longest_go_first(monkeypatch, tmp_path):
    monkeypatch.setattr(programs, "MOST_BYTES", 250)
    for age, name in enumerate("abcd"):
        (tmp_path / name).write_bytes(b"x" * 100)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    programs._forget(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_kernels_that_are_forgotten_let_go_of_their_programs(lowered, monkeypatch, tmp_path):
    if not kernels.MAPS.exists():
        pytest.skip("this system does not tell what it maps")
    kernel = Kernel(factored)
    kernel(MATRIX, 2.0)
    (tmp_path / "limit").write_text("1")
    monkeypatch.setattr(kernels, "MAPS_LIMIT", tmp_path / "limit")
    kernels.ROOM.make()
    assert not kernel.ready
    assert Kernel(factored)(MATRIX, 2.0).root.shape == (5, 5)


PROCESS = """
import sys
import jax
import numpy as np
jax.config.update("jax_enable_x64", True)
from pathlib import Path
import ssem_jax as sx
from ssem_jax.compute import programs

programs.FOLDER = Path(sys.argv[1])
if sys.argv[3] == "found":
    def refuse(*_):
        raise AssertionError("a kernel was traced")
    programs._lowered = refuse
problem = sx.Problem(sx.ClassStructure.balanced(2, 2), 4, sx.SupCL([0.2, 0.7], 0.5))
solution = sx.solve(problem, 0)
certificate = sx.certify(solution)
np.savez(sys.argv[2], certificate.low, certificate.high, certificate.gap, solution.embeddings)
"""


@pytest.mark.slow  # compiles the kernels of a shape in a process of its own
def test_another_process_traces_nothing_and_finds_the_same_bits(tmp_path):
    found = []
    for how in ("made", "found"):
        out = tmp_path / f"{how}.npz"
        code = [sys.executable, "-c", PROCESS, str(tmp_path / "programs"), str(out), how]
        subprocess.run(code, check=True)
        found.append(dict(np.load(out)))
    assert same_bits(*found)
