"""Cells over threads: independent problems of one shape, solved in chunks by a compiled kernel.

A kernel takes chunks of one fixed capacity and a count, works through the first `count` cells one
after another, and so compiles once per shape. Threads, one for each core, call it at the same time
(a compiled kernel holds no interpreter lock), and the devices of the machine take turns.

A chunk lies whole on one device, by a `SingleDeviceSharding`. A mesh that splits each chunk over
all devices would keep them in step: every call would last as long as its slowest cell anywhere.
Chunks of their own let a device that is done go on, and their cells give the same bits on any
number of devices.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding
from jaxtyping import Array
from threadpoolctl import threadpool_limits

from ssem_jax.problem.validation import in_64_bits, precision

T = TypeVar("T")


THREADS_VARIABLE = "SSEM_THREADS"
"""Environment variable: threads that share the cells, where the cores do not tell."""


def worker_count() -> int:
    """Threads that share the cells: the cores that this process may use, or `SSEM_THREADS`."""
    if os.environ.get(THREADS_VARIABLE, "").isdecimal():
        return max(1, int(os.environ[THREADS_VARIABLE]))
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_device() -> Any:
    """The device of new arrays in this thread, where one was chosen."""
    return jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue] (see above)


def chunk_capacity(floats_per_cell: int) -> int:
    """Cells per kernel call: 64 small ones, fewer where their arrays would pass 16 MiB."""
    return int(np.clip(2**21 // max(floats_per_cell, 1), 1, 64))


def run_chunks(
    work: Callable[[np.ndarray, Any], Any], cells: np.ndarray, capacity: int
) -> Iterator[tuple[np.ndarray, Any]]:
    """Run `work` on chunks of the cells over all threads and devices.

    Args:
        work: called with `capacity` cell indices, of which the first `count` matter, and that
            count, which lies on the device of the chunk; returns a pytree of arrays with the cells
            in front. It runs in a thread.
        cells: (B,) indices.
        capacity: cells per call at most.

    Yields:
        The indices of a finished chunk and its results on the host, in the order of completion.
    """
    size = int(np.clip(-(-len(cells) // (4 * worker_count())), 1, capacity))
    chunks = [cells[first : first + size] for first in range(0, len(cells), size)]
    devices = jax.local_devices()

    def run(place: int) -> Any:
        chunk = chunks[place]
        padded = np.concatenate([chunk, np.repeat(chunk[-1:], capacity - len(chunk))])
        device = devices[place % len(devices)]
        with jax.default_device(device):
            # Committed, so the kernel's other arrays follow it there.
            count = jax.device_put(len(chunk), SingleDeviceSharding(device))
            results = work(padded, count)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: len(chunk)], results)

    num_threads = max(worker_count(), len(devices))
    for place, results in in_threads(run, range(len(chunks)), num_threads):
        yield chunks[place], results


@contextmanager
def without_mesh() -> Iterator[None]:
    """A `with` block in which no mesh of the caller is set.

    Under `jax.set_mesh` new arrays lie on all devices of the mesh, and kernels on one of them.
    """
    if not hasattr(jax, "set_mesh") or jax.sharding.get_abstract_mesh().empty:
        yield
    else:
        with jax.set_mesh(None):
            yield


def in_this_mode(function: Callable[..., T]) -> Callable[..., T]:
    """`function` in the precision of this thread, whichever thread calls it.

    A `with jax.enable_x64(True)` block holds in its own thread alone.
    """
    bits = 64 if in_64_bits() else 32

    def run(*arguments: Any) -> T:
        with precision(bits):
            return function(*arguments)

    return run


def in_threads(
    function: Callable[[T], Any], items: Sequence[T], num_threads: int
) -> Iterator[tuple[T, Any]]:
    """`function` of every item, on threads: the items and their results as they finish.

    The threads compute in the precision of the caller.

    An exception, or an interrupt of the caller, ends the work after the items under way.
    """
    # LAPACK's own threads would fight with these: one each, unless there is a single item.
    lapack_threads = 1 if len(items) > 1 else None
    with (
        threadpool_limits(lapack_threads, user_api="blas"),
        ThreadPoolExecutor(max(num_threads, 1)) as pool,
    ):
        jobs = {pool.submit(in_this_mode(function), item): item for item in items}
        try:
            for job in as_completed(jobs):
                yield jobs[job], job.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


MAPS = Path("/proc/self/maps")
"""The memory mappings of this process, a line each, where the system tells."""

MAPS_LIMIT = Path("/proc/sys/vm/max_map_count")
"""How many mappings the system grants a process; 65,530 unless its owner says otherwise."""


class Room:
    """Memory mappings for the next kernel to compile.

    XLA's compiler for CPUs maps some ten pieces of memory for every kernel, and aborts the process
    where the system grants no more: after a few thousand kernels. At half of that all kernels are
    forgotten; those that are still wanted compile again.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.epoch = 0
        """How often the kernels were forgotten."""

    def make(self) -> None:
        """Forget every compiled kernel of this process if half of its mappings are in use."""
        with self.lock:
            if MAPS.exists() and MAPS_LIMIT.exists():
                limit = int(MAPS_LIMIT.read_text())
                if MAPS.read_bytes().count(b"\n") > limit // 2:
                    jax.clear_caches()
                    gc.collect()
                    self.epoch += 1


ROOM = Room()


OPTIONS = {"xla_backend_optimization_level": "1", "xla_cpu_use_fusion_emitters": False}
"""How XLA compiles kernels for CPUs: in half of the time that its own choices take, and the kernels
of this package, many small loops rather than a few large ones, run no slower."""


@cache
def compiler_options() -> dict[str, Any] | None:
    """Those of `OPTIONS` that the compiler at hand knows, or None for its own choices."""
    if jax.default_backend() != "cpu":
        return None
    return {name: value for name, value in OPTIONS.items() if _known({name: value})} or None


def _known(options: dict[str, Any]) -> bool:
    """Whether this version of XLA has such options."""
    try:
        jax.jit(jnp.negative, compiler_options=options).lower(1.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


class Kernel:
    """A jitted function that one thread compiles while the others wait for it.

    Threads that meet a function of JAX for the first time would each compile it: the same work on
    every core, and several writers of one entry of the cache on disk.
    """

    def __init__(self, function: Callable[..., Any], static_argnums: tuple[int, ...] = ()) -> None:
        self.traced = function
        self.static = static_argnums
        self.lock = threading.RLock()
        self.ready: set[Any] = set()

    @cached_property
    def function(self) -> Any:
        """The jitted function, made when it is first needed: it asks for the compiler."""
        options = compiler_options()
        return jax.jit(self.traced, static_argnums=self.static, compiler_options=options)

    def __call__(self, *arguments: Any) -> Any:
        static = tuple(arguments[place] for place in self.static)
        traced = [each for place, each in enumerate(arguments) if place not in self.static]
        leaves, tree = jax.tree.flatten(traced)
        shapes = tuple((np.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
        name = (ROOM.epoch, static, tree, shapes, default_device(), in_64_bits())
        if name not in self.ready:
            with self.lock:
                if name not in self.ready:  # no other thread has compiled it meanwhile
                    ROOM.make()
                    results = jax.block_until_ready(self.function(*arguments))
                    self.ready.add(name)
                    return results
        return self.function(*arguments)


def whole(array: Any) -> Any:
    """An array that is sharded over explicit axes of a mesh, on every device; others as they are.

    The axes of a mesh that `jax.make_mesh` makes are explicit: what is sharded over them has a
    type of its own, and functions of rows in any order take only arrays that are not.
    """
    if not isinstance(array, jax.Array):
        return array
    sharding = jax.typeof(array).sharding
    if all(axis is None for axis in sharding.spec):
        return array
    # A concrete array has a NamedSharding here, for its axes have names.
    mesh = sharding.mesh if isinstance(array, Tracer) else array.sharding.mesh  # pyright: ignore[reportAttributeAccessIssue]
    return jax.sharding.reshard(array, NamedSharding(mesh, PartitionSpec()))


def map_first(count: Array | int, function: Callable[..., Any], *arrays: Any) -> Any:
    """`function` of the first `count` entries of the arrays, one after another; zeros beyond."""

    def cell(index: Array) -> Any:
        return function(*jax.tree.map(lambda leaf: leaf[index], arrays))

    capacity = jax.tree.leaves(arrays)[0].shape[0]
    shapes = jax.eval_shape(cell, jax.ShapeDtypeStruct((), int))
    empty = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), shapes)

    def body(index: Array, results: Any) -> Any:
        return jax.tree.map(lambda all_, one: all_.at[index].set(one), results, cell(index))

    return jax.lax.fori_loop(0, count, body, empty)
