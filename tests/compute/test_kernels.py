"""Chunks over threads: every cell once, whatever order they finish in."""

import itertools
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from ssem_jax.compute import (
    Kernel,
    chunk_capacity,
    in_threads,
    kernels,
    map_first,
    programs,
    run_chunks,
    worker_count,
)
from ssem_jax.compute.kernels import WORTH_THREADS
from ssem_jax.compute.pieces import in_one_piece
from ssem_jax.problem import precision

PATIENCE = 60
"""Seconds after which an event that does not come is a failure; none is waited for in vain."""


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch):
    """What these tests count are traces, and their kernels may be stand-ins."""


NUM_THREADS = max(2, len(jax.local_devices()))
"""Of two workers, in this process."""

FIRST_CHUNK = 5
"""Cells of a chunk where two workers share 40: four chunks for each."""


def stopping(monkeypatch):
    """An event that is set when the pool of threads is told to take no more work."""
    told = threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait=True, *, cancel_futures=False):
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            told.set()
            super().shutdown(wait=wait)

    monkeypatch.setattr(kernels, "ThreadPoolExecutor", Pool)
    return told


def squares(chunk, count):
    """Squares of the first `count` cells; garbage beyond, as kernels leave it."""
    values = np.where(np.arange(len(chunk)) < count, chunk**2, -1)
    return {"square": values, "pair": np.stack([chunk, values], axis=1)}


@pytest.mark.parametrize("capacity", [1, 3, 64])
@pytest.mark.parametrize("size", [1, 2, 7, 64, 65, 300])
def test_every_cell_comes_back_once(size, capacity):
    cells = np.random.default_rng(size).permutation(1000)[:size]
    seen = []
    for chunk, results in run_chunks(squares, cells, capacity):
        assert 1 <= len(chunk) <= capacity
        assert np.array_equal(results["square"], chunk**2)
        assert np.array_equal(results["pair"], np.stack([chunk, chunk**2], axis=1))
        seen.extend(chunk)
    assert sorted(seen) == sorted(cells)


def test_no_cells_no_calls():
    assert list(run_chunks(squares, np.arange(0), 4)) == []


def test_work_always_gets_full_chunks():
    """One shape, hence one compilation; what pads a chunk is a cell of it."""
    calls = []

    def work(chunk, count):
        calls.append((chunk.copy(), count))
        return chunk

    list(run_chunks(work, np.arange(21), 8))
    assert {len(chunk) for chunk, _ in calls} == {8}
    assert sum(count for _, count in calls) == 21
    for chunk, count in calls:
        assert np.all(chunk[count:] == chunk[count - 1])


@pytest.mark.parametrize(("cells", "calls"), [(3, 1), (20, 2), (64, 5)])
def test_calls_are_of_the_least_size_that_is_worth_one(cells, calls):
    chunks = list(run_chunks(squares, np.arange(cells), 32, least=13))
    assert len(chunks) == calls
    found = np.concatenate([results["square"] for _, results in chunks])
    assert np.array_equal(np.sort(found), np.arange(cells) ** 2)


def test_slow_chunks_do_not_mix_results_up(monkeypatch):
    """The first chunk is held until all others have come back: each still has its own cells."""
    monkeypatch.setattr(kernels, "worker_count", lambda: 2)
    others_are_back = threading.Event()

    def work(chunk, count):
        if 0 in chunk:
            assert others_are_back.wait(PATIENCE)
        return squares(chunk, count)

    order = []
    for chunk, results in run_chunks(work, np.arange(40), 8):
        assert np.array_equal(results["square"], chunk**2)
        order.extend(chunk)
        if len(order) + FIRST_CHUNK == 40:
            others_are_back.set()
    assert sorted(order) == list(range(40))
    assert order[-FIRST_CHUNK] == 0


def test_chunks_run_at_the_same_time():
    """Both workers must be inside `work` at once for the barrier to open."""
    if worker_count() < 2:
        pytest.skip("one core: nothing runs at the same time")
    barrier = threading.Barrier(2)

    def work(chunk, count):
        barrier.wait(PATIENCE)
        return squares(chunk, count)

    assert sum(len(chunk) for chunk, _ in run_chunks(work, np.arange(2), 1)) == 2


def test_an_exception_reaches_the_caller_and_stops_the_rest(monkeypatch):
    monkeypatch.setattr(kernels, "worker_count", lambda: 2)
    calls, stopped = [], stopping(monkeypatch)

    def work(chunk, count):
        calls.append(count)
        if 0 in chunk:
            raise ZeroDivisionError("cell 0")
        assert stopped.wait(PATIENCE)
        return squares(chunk, count)

    with pytest.raises(ZeroDivisionError, match="cell 0"):
        list(run_chunks(work, np.arange(200), 1))
    assert len(calls) <= 1 + NUM_THREADS


def test_leaving_early_stops_the_rest(monkeypatch):
    monkeypatch.setattr(kernels, "worker_count", lambda: 2)
    calls, stopped = [], stopping(monkeypatch)

    def work(chunk, count):
        calls.append(count)
        assert 0 in chunk or stopped.wait(PATIENCE)
        return squares(chunk, count)

    running: Any = run_chunks(work, np.arange(200), 1)  # a generator
    next(running)
    running.close()
    assert len(calls) <= 1 + NUM_THREADS


def test_threads_compute_in_the_precision_of_the_caller():
    """A block in 64 bits holds in its own thread alone, and so does one in 32."""

    def work(chunk, count):
        assert count.dtype == jnp.result_type(int)
        return jnp.ones(len(chunk)) * count

    try:
        for bits in (32, 64):
            jax.config.update("jax_enable_x64", bits == 64)
            for wanted in (32, 64):
                with precision(wanted):
                    for _, results in run_chunks(work, np.arange(5), 2):
                        assert results.dtype == f"float{wanted}"
                    threads = in_threads(lambda _: jnp.ones(()).dtype, range(2), 2)
                    assert {dtype for _, dtype in threads} == {jnp.dtype(f"float{wanted}")}
    finally:
        jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize(("rows", "cells"), [(0, 1), (WORTH_THREADS, 2), (WORTH_THREADS, 1)])
def test_lapack_has_threads_of_its_own_for_one_large_matrix(rows, cells):
    """A second one waits more than it works of a small matrix."""

    def threads():
        pools = ThreadpoolController().select(user_api="blas").info()
        return max(pool["num_threads"] for pool in pools)

    def work(chunk, count):
        return np.full(len(chunk), threads())

    usual = threads() if rows and cells == 1 else 1
    for _, seen in run_chunks(work, np.arange(cells), 1, rows):
        assert seen == usual


def test_the_first_kernel_of_a_process_has_one_thread_of_lapack():
    """SciPy's library is loaded at XLA's first call of LAPACK: too late for a limit."""
    code = """if True:
        import numpy as np
        from ssem_jax.compute.kernels import run_chunks

        def work(chunk, count):
            import scipy.linalg
            from threadpoolctl import threadpool_info

            return np.array([[pool["num_threads"] for pool in threadpool_info()]] * len(chunk))

        (_, threads), = run_chunks(work, np.arange(1), 1)
        print(*threads[0])
    """
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", code], check=True, env=environment, capture_output=True, text=True
    )
    assert set(ran.stdout.split()) == {"1"}


def test_a_loop_traces_its_body_once():
    """In loops within loops twice would be four and eight times."""
    seen = []

    def cell(number):
        seen.append(number)
        return {"twice": 2 * number}

    found = jax.jit(lambda numbers: map_first(2, cell, numbers))(jnp.arange(3.0))
    assert len(seen) == 1
    assert found["twice"][:2].tolist() == [0, 2]


class Door:
    """A lock that tells when three threads have asked for it."""

    def __init__(self):
        self.lock, self.crowded, self.asked = (
            threading.Lock(),
            threading.Event(),
            itertools.count(1),
        )

    def __enter__(self):
        if next(self.asked) == 3:
            self.crowded.set()
        self.lock.acquire()

    def __exit__(self, *_):
        self.lock.release()


def test_threads_that_waited_for_a_compilation_work_at_the_same_time(monkeypatch):
    """The two that waited meet inside the function, or the barrier breaks."""
    monkeypatch.setattr(programs, "FOLDER", None)  # what stands in for a kernel is none
    kernel: Any = Kernel(lambda number: number)
    first, inside = iter([True]), threading.Barrier(2)
    door = Door()
    kernel.lock = lambda _: door

    def function(number):
        if next(first, False):
            assert door.crowded.wait(timeout=20)
        else:
            inside.wait(timeout=20)
        return number

    kernel.function = function
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(kernel, [1.0, 2.0, 3.0])) == [1, 2, 3]


def test_nobody_else_compiles_the_same_program(monkeypatch):
    monkeypatch.setattr(programs, "FOLDER", None)
    kernel: Any = Kernel(lambda number: number)
    entered = []

    def function(number):
        entered.append(number)
        if len(entered) == 1:
            time.sleep(0.2)
            assert len(entered) == 1
        return number

    kernel.function = function
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(kernel, [1.0, 2.0, 3.0])) == [1, 2, 3]


def test_programs_of_different_shapes_compile_at_the_same_time():
    """Both threads meet where a first call is made, or the barrier breaks."""
    kernel: Any = Kernel(lambda numbers: numbers)
    inside = threading.Barrier(2)

    def function(numbers):
        inside.wait(timeout=20)
        return numbers

    kernel.function = function
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(kernel, [np.zeros(1), np.zeros(2)]))
    assert [len(numbers) for numbers in found] == [1, 2]


def test_kernels_are_forgotten_before_the_system_grants_no_more_memory_mappings(
    monkeypatch, tmp_path
):
    """XLA aborts the process at the limit; a run of a thousand losses comes there."""
    if not kernels.MAPS.exists():
        pytest.skip("this system does not tell what it maps")

    def in_use():
        return kernels.MAPS.read_bytes().count(b"\n")

    margin = 100
    limit = tmp_path / "max_map_count"
    limit.write_text(str(2 * (in_use() + margin)))
    monkeypatch.setattr(kernels, "MAPS_LIMIT", limit)
    start, most, epoch, kept = in_use(), 0, kernels.ROOM.epoch, []
    for number in range(60):
        kept.append(Kernel(lambda x, number=number: jnp.linalg.eigvalsh(x @ x * number)))
        kept[-1](jnp.eye(3))
        most = max(most, in_use())
    assert kernels.ROOM.epoch > epoch
    assert most < start + 2 * margin


def test_results_come_to_the_host():
    for _, results in run_chunks(lambda chunk, _: jnp.asarray(chunk) + 1, np.arange(5), 4):
        assert isinstance(results, np.ndarray)


TWO_DEVICES = """
import sys
import jax
import numpy as np
jax.config.update("jax_enable_x64", True)
import ssem_jax as sx

alpha, tau = np.linspace(0, 1, 7), np.geomspace(0.1, 2, 7)
problem = sx.Problem(sx.ClassStructure.balanced(2, 3), 6, sx.SupCL(alpha, tau))
solution = sx.solve(problem, jax.random.key(0))
certificate = sx.certify(solution)
found = {"value": solution.value, "gap": certificate.gap, "low": certificate.low}
used = set()
from ssem_jax.compute import kernels
work = lambda cells, count: (used.update(jax.numpy.zeros(1).devices()), cells)[1]
list(kernels.run_chunks(work, np.arange(40), 1))
np.savez(sys.argv[1], devices=len(used), high=certificate.high, rows=solution.embeddings, **found)
"""


@pytest.mark.slow  # compiles everything twice; the sweep's tests have two devices, too
def test_two_devices_share_the_cells_and_find_the_same(tmp_path):
    """The same bits, whatever device a cell was solved and certified on."""
    found = []
    for count in (1, 2):
        flags = f"--xla_force_host_platform_device_count={count}"
        path = tmp_path / f"{count}.npz"
        environment = {**os.environ, "XLA_FLAGS": flags}
        code = [sys.executable, "-c", TWO_DEVICES, str(path)]
        subprocess.run(code, check=True, env=environment)
        found.append(dict(np.load(path)))
        assert found[-1].pop("devices") == count
    for name, one in found[0].items():
        assert np.array_equal(one, found[1][name]), name


def test_chunk_capacity_bounds_cells_and_memory():
    assert chunk_capacity(1) == chunk_capacity(0) == 64
    assert chunk_capacity(2**21) == chunk_capacity(2**40) == 1
    for floats in (10**3, 10**5, 10**6):
        assert chunk_capacity(floats) == 1 or chunk_capacity(floats) * floats * 8 <= 16 * 2**20


def test_worker_count_is_positive_with_and_without_affinity(monkeypatch):
    assert worker_count() >= 1
    monkeypatch.delattr(kernels.os, "sched_getaffinity", raising=False)
    assert worker_count() >= 1
    monkeypatch.setattr(kernels.os, "cpu_count", lambda: None)
    assert worker_count() == 1


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_map_first_maps_the_first_and_leaves_zeros(count):
    numbers = jnp.arange(1.0, 6.0)
    pairs = {"left": numbers, "right": jnp.stack([numbers, -numbers], axis=1)}

    def function(number, pair):
        return number * pair["left"], pair["right"] + 1

    product, shifted = jax.jit(lambda count: map_first(count, function, numbers, pairs))(count)
    kept = np.arange(5) < count
    assert np.array_equal(product, np.where(kept, numbers**2, 0))
    assert np.array_equal(shifted, np.where(kept[:, None], pairs["right"] + 1, 0))


def test_map_first_compiles_once_for_all_counts():
    def first(count, numbers):
        return map_first(count, jnp.sin, numbers)

    kernel: Any = jax.jit(first)

    for count in range(5):
        kernel(jnp.asarray(count), jnp.arange(4.0))
    assert kernel._cache_size() == 1


def test_loops_in_one_piece_find_the_same():
    """XLA does what it is asked for: its program is a call with that mark, and no tasks."""

    def halved(start):
        return jax.lax.while_loop(lambda x: jnp.max(x) > 1, lambda x: x / 2, start)

    start = jnp.arange(1.0, 400.0)
    marked = jax.jit(in_one_piece(halved))
    np.testing.assert_array_equal(marked(start), halved(start))
    program: Any = marked.lower(start).compile().as_text()
    assert 'xla_cpu_small_call="true"' in program
    assert "while(" not in program[program.index("ENTRY") :]


def test_a_piece_is_handed_only_what_it_reads():
    """XLA aborts the process at an argument of a piece that has no part in its results."""
    start = (jnp.arange(3.0), jnp.arange(2), jnp.asarray(True))

    def moved(floats, numbers, flag):
        jnp.sum(numbers**2)  # which nobody asks for
        return {"same": floats, "further": floats + 1, "zero": jnp.zeros(2)}, flag

    program = jax.make_jaxpr(in_one_piece(moved))(*start)
    (step,) = program.eqns
    assert [one.aval.dtype for one in step.invars] == [jnp.float64, bool]
    found, wanted = in_one_piece(moved)(*start), moved(*start)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(one, other)


def test_map_first_keeps_dtypes():
    flags, numbers = map_first(
        2, lambda x: (x > 0, x.astype(jnp.int32)), jnp.array([-1.0, 2.0, 3.0])
    )
    assert flags.dtype == bool
    assert numbers.dtype == jnp.int32
    assert np.array_equal(flags, [False, True, False])
    assert np.array_equal(numbers, [-1, 2, 0])


KNOWN, UNKNOWN = {"xla_backend_optimization_level": "1"}, {"xla_cpu_of_another_version": True}


@pytest.mark.parametrize(("options", "known"), [(KNOWN | UNKNOWN, KNOWN), (UNKNOWN, None)])
def test_kernels_compile_with_the_options_that_the_compiler_knows(monkeypatch, options, known):
    monkeypatch.setattr(kernels, "OPTIONS", options)
    kernels.compiler_options.cache_clear()
    try:
        assert kernels.compiler_options() == known
        whole = kernels.compiler_options(full_vectors=True)
        assert whole == (known or {}) | kernels.FULL_VECTORS
        assert Kernel(jnp.negative)(2.0) == -2
    finally:
        kernels.compiler_options.cache_clear()


def test_static_arguments_are_compiled_apart():
    shapes = []

    def zeros(size):
        shapes.append(size)
        return jnp.zeros(size)

    kernel = Kernel(zeros, static_argnums=(0,))
    assert [kernel(size).shape for size in (2, 3, 2)] == [(2,), (3,), (2,)]
    assert shapes == [2, 3]
    assert len(kernel.ready) == 2


def test_one_thread_compiles_and_the_others_wait():
    traced = []

    def function(number):
        traced.append(number)
        time.sleep(0.2)
        return 2 * number

    kernel = Kernel(function)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(kernel, map(jnp.asarray, range(8))))
    assert [int(result) for result in results] == list(range(0, 16, 2))
    assert len(traced) == 1
    kernel(jnp.zeros(3))
    assert len(traced) == 2
