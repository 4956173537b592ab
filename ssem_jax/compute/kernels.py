"""Cells over threads: independent problems of one shape, solved in chunks by a compiled kernel.

**On a CPU** a kernel takes chunks of one fixed capacity and a count, works through the first
`count` cells one after another, and so compiles once per shape. Threads, one for each core, call it
at the same time (a compiled kernel holds no interpreter lock), and the devices of the machine take
turns.

**On an accelerator** the cells of a chunk are **lanes**: they are worked through side by side, and
chunks are of thousands. The size of a chunk is one of a few, so that kernels compile for these
alone; :class:`Lanes` gathers those that are still at work into ever smaller ones. Which way it is
the platform says, or `SSEM_BATCHED` (1: lanes on a CPU, too; 0: never). Both ways take the same
cells to the same verdicts; values agree to rounding.

A chunk lies whole on one device, by a `SingleDeviceSharding`. A mesh that splits each chunk over
all devices would keep them in step: every call would last as long as its slowest cell anywhere.
Chunks of their own let a device that is done go on, and their cells give the same bits on any
number of devices.
"""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding
from jaxtyping import Array
from threadpoolctl import ThreadpoolController

from ssem_jax.compute import programs
from ssem_jax.problem.arrays import AnyArray
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


BATCHED_VARIABLE = "SSEM_BATCHED"
"""Environment variable: whether cells are lanes, where the platform should not decide."""


def batched() -> bool:
    """Whether the cells of a chunk are worked through side by side: on accelerators."""
    wish = os.environ.get(BATCHED_VARIABLE, "")
    return wish == "1" if wish in ("0", "1") else jax.default_backend() != "cpu"


FEWEST_LANES, MOST_LANES, LANES_FACTOR = 16, 2**14, 4
"""Sizes of chunks of lanes: powers of four from 16 on, each compiled for itself."""


def num_lanes(count: int) -> int:
    """The least size of a chunk of lanes that has room for so many cells."""
    size = FEWEST_LANES
    while size < count:
        size *= LANES_FACTOR
    return size


def chunk_capacity(floats_per_cell: int) -> int:
    """Cells per kernel call: 64 small ones, fewer where their arrays would pass 16 MiB.

    Of lanes up to `MOST_LANES`, and fewer where one array of all would pass 128 MiB.
    """
    floats = max(floats_per_cell, 1)
    if not batched():
        return int(np.clip(2**21 // floats, 1, 64))
    capacity = int(np.clip(2**24 // floats, 1, MOST_LANES))
    whole = num_lanes(capacity)
    return whole if whole <= capacity else max(whole // LANES_FACTOR, 1)


WORTH_THREADS = 512
"""Rows of a matrix from which on a second thread of LAPACK's helps. Of smaller ones it waits more
than it works, and as busily: the program of ten classes took 25 times the processor's time."""


@cache
def _blas() -> ThreadpoolController:
    """The libraries of this process: to look for them takes as long as to solve three small cells.

    XLA hands its LAPACK calls to SciPy's library, and loads it at the first of them. A library
    that is not there yet is not limited: the first kernel of a process would spin on every core.
    """
    import scipy.linalg  # noqa: F401 (loads it)

    return ThreadpoolController().select(user_api="blas")


@contextmanager
def one_thread() -> Iterator[None]:
    """A `with` block, or a function, in which BLAS and LAPACK have one thread each."""
    with _blas().limit(limits=1):
        yield


def run_chunks(
    work: Callable[[np.ndarray, Any], Any],
    cells: np.ndarray,
    capacity: int,
    rows: int = 0,
    least: int = 1,
) -> Iterator[tuple[np.ndarray, Any]]:
    """Run `work` on chunks of the cells over all threads and devices.

    Args:
        work: called with `capacity` cell indices (or as many as a chunk of lanes has), of which
            the first `count` matter, and that count, which lies on the device of the chunk; returns
            a pytree of arrays with the cells in front. It runs in a thread.
        cells: (B,) indices.
        capacity: cells per call at most.
        rows: of the largest matrix that LAPACK is given. From `WORTH_THREADS` on it has threads of
            its own if there is a single chunk.
        least: cells per call at least, where so many take as long as one.

    Yields:
        The indices of a finished chunk and its results on the host, in the order of completion.
    """
    devices, side_by_side = jax.local_devices(), batched()
    num_threads = len(devices) if side_by_side else max(worker_count(), len(devices))
    shares = len(devices) if side_by_side else 4 * worker_count()
    size = int(np.clip(-(-len(cells) // shares), min(least, capacity), capacity))
    chunks = [cells[first : first + size] for first in range(0, len(cells), size)]

    def run(place: int) -> Any:
        chunk = chunks[place]
        size = min(num_lanes(len(chunk)), capacity) if side_by_side else capacity
        padded = np.concatenate([chunk, np.repeat(chunk[-1:], size - len(chunk))])
        device = devices[place % len(devices)]
        with jax.default_device(device):
            # Committed, so the kernel's other arrays follow it there.
            count = jax.device_put(len(chunk), SingleDeviceSharding(device))
            results = work(padded, count)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: len(chunk)], results)

    alone = len(chunks) == 1 and rows >= WORTH_THREADS
    for place, results in in_threads(run, range(len(chunks)), num_threads, alone):
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
    function: Callable[[T], Any], items: Sequence[T], num_threads: int, large: bool = False
) -> Iterator[tuple[T, Any]]:
    """`function` of every item, on threads: the items and their results as they finish.

    The threads compute in the precision of the caller. LAPACK's own threads would fight with them,
    so that it has one for each, unless there is a single item of `large` matrices.

    An exception, or an interrupt of the caller, ends the work after the items under way.
    """
    with (
        nullcontext() if large and len(items) == 1 else one_thread(),
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
        self.kernels: weakref.WeakSet[Kernel] = weakref.WeakSet()

    def make(self) -> None:
        """Forget every compiled kernel of this process if half of its mappings are in use."""
        with self.lock:
            if MAPS.exists() and MAPS_LIMIT.exists():
                limit = int(MAPS_LIMIT.read_text())
                if MAPS.read_bytes().count(b"\n") > limit // 2:
                    for kernel in list(self.kernels):
                        kernel.ready.clear()
                    jax.clear_caches()
                    gc.collect()
                    self.epoch += 1


ROOM = Room()


OPTIONS = {
    "xla_backend_optimization_level": "1",
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 4,
}
"""How XLA compiles kernels for CPUs: in half of the time that its own choices take, and the kernels
of this package, many small loops rather than a few large ones, run no slower. Code is compiled in
parts at the same time; each beyond the cores of a small machine only costs time."""


FULL_VECTORS = {"xla_cpu_prefer_vector_width": 512}
"""Besides, for loops that work rather than wait for memory: all of a vector register that there is.
LLVM takes half of it by default, and these take a quarter longer."""


@cache
def compiler_options(full_vectors: bool = False) -> dict[str, Any] | None:
    """Those of `OPTIONS`, and of `FULL_VECTORS`, that the compiler knows; None for its choices."""
    if jax.default_backend() != "cpu":
        return None
    wanted = OPTIONS | FULL_VECTORS if full_vectors else OPTIONS
    return {name: value for name, value in wanted.items() if _known({name: value})} or None


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
    every core, and several writers of one entry of the cache on disk. One that an earlier process
    compiled is not even traced: :mod:`ssem_jax.compute.programs`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        static_argnums: tuple[int, ...] = (),
        full_vectors: bool = False,
    ) -> None:
        self.traced = function
        self.static = static_argnums
        self.locks: dict[Any, threading.RLock] = {}
        self.full_vectors = full_vectors
        self.ready: dict[Any, Callable[..., Any]] = {}
        ROOM.kernels.add(self)

    @cached_property
    def function(self) -> Any:
        """The jitted function, made when it is first needed: it asks for the compiler."""
        return self._jitted(self.traced)

    @cached_property
    def function_of_lanes(self) -> Any:
        """The same where cells are lanes: :func:`map_first` and :func:`each` are traced so."""
        return self._jitted(partial(self.traced))  # a function of its own, for JAX's caches

    @cached_property
    def within_others(self) -> Any:
        """The same where it is called by what is traced: options are for whole programs alone."""
        return jax.jit(self.traced, static_argnums=self.static)

    def _jitted(self, function: Callable[..., Any]) -> Any:
        options = compiler_options(self.full_vectors)
        # Programs are told apart by what is lowered, which should show every argument.
        return jax.jit(
            function, static_argnums=self.static, compiler_options=options, keep_unused=True
        )

    def __call__(self, *arguments: Any) -> Any:
        static = tuple(arguments[place] for place in self.static)
        leaves, tree = jax.tree.flatten(self._given(arguments))
        if any(isinstance(leaf, Tracer) for leaf in leaves):
            return self.within_others(*arguments)
        how = (static, in_64_bits(), batched())
        name = (ROOM.epoch, *how, tree, tuple(map(programs.form, leaves)), default_device())
        run = self.ready.get(name)
        if run is None:
            with self.lock(name):
                run = self.ready.get(name)
                if run is None:  # no other thread has compiled it meanwhile
                    ROOM.make()
                    run = self._compiled(arguments, how)
                    results = jax.block_until_ready(run(*arguments))
                    self.ready[name] = run
                    return results
        return run(*arguments)

    def lock(self, name: Any) -> Any:
        """The lock of one program: those of other shapes compile at the same time."""
        return self.locks.setdefault(name, threading.RLock())

    def _given(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments that are not static."""
        return tuple(each for place, each in enumerate(arguments) if place not in self.static)

    def _compiled(self, arguments: tuple[Any, ...], how: tuple[Any, ...]) -> Callable[..., Any]:
        """What to call with such arguments: a program that is kept, or the jitted function."""

        def function() -> Any:
            return self.function_of_lanes if batched() else self.function

        named = (getattr(self.traced, name, "") for name in ("__module__", "__qualname__"))
        made_of = (self.traced, *named, how)
        program = programs.program(
            made_of, self._given(arguments), lambda: function().lower(*arguments)
        )
        if program is None:
            return function()
        return lambda *arguments: program(*self._given(arguments))


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


def each(function: Callable[..., Any], arrays: Any) -> Any:
    """`function` of every entry of the arrays: one after another, or side by side as lanes.

    What calls LAPACK is not batched on a CPU: there a batched factorisation waits for the threads
    that run the other chunks.
    """
    return jax.vmap(function)(arrays) if batched() else jax.lax.map(function, arrays)


def traced(function: Callable[..., Any], *arguments: Any) -> tuple[Callable[..., Any], Any]:
    """A function, traced once for arguments of such types, and the types of its results.

    Where it is traced for these alone (`jax.eval_shape`) and then again to be called, loops within
    loops are traced four and eight times.
    """
    from jax.extend.core import jaxpr_as_fun  # which brings kernels for GPUs and takes its time

    program, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
    of_leaves, tree = jaxpr_as_fun(program), jax.tree.structure(shapes)

    def call(*given: Any) -> Any:
        return jax.tree.unflatten(tree, of_leaves(*jax.tree.leaves(given)))

    return call, shapes


def map_first(count: Array | int, function: Callable[..., Any], *arrays: Any) -> Any:
    """`function` of the first `count` entries of the arrays, one after another; zeros beyond.

    Where cells are lanes, of all of them side by side.
    """
    capacity = jax.tree.leaves(arrays)[0].shape[0]
    if batched():
        kept = jnp.arange(capacity) < count

        def shown(leaf: Array) -> Array:
            return jnp.where(kept.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, jnp.zeros_like(leaf))

        return jax.tree.map(shown, jax.vmap(function)(*arrays))

    def cell(index: Array) -> Any:
        return function(*jax.tree.map(lambda leaf: leaf[index], arrays))

    once, shapes = traced(cell, jax.ShapeDtypeStruct((), int, weak_type=True))
    empty = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), shapes)

    def body(index: Array, results: Any) -> Any:
        return jax.tree.map(lambda all_, one: all_.at[index].set(one), results, once(index))

    return jax.lax.fori_loop(0, count, body, empty)


def while_going(
    work: Callable[..., tuple[Any, Any]], shared: Any, lanes: Any, going: np.ndarray
) -> Any:
    """Lanes worked on until none goes on, those at work gathered into ever smaller chunks.

    Args:
        work: called with `shared`, all lanes, and the places of those that go on, filled up with
            a place that is none; returns all lanes, and whether each of the places still goes on.
            It should come back when :func:`few_of` them do.
        shared: whatever it needs besides.
        lanes: a pytree with the lanes in front.
        going: the places of those that go on at first.
    """
    capacity = len(jax.tree.leaves(lanes)[0])
    while going.size:
        fill = np.full(min(num_lanes(len(going)), capacity) - len(going), capacity)
        lanes, still = work(shared, lanes, np.concatenate([going, fill]))
        going = going[np.asarray(still)[: len(going)]]
    return lanes


def few_of(places: AnyArray) -> int:
    """Of how many lanes a smaller chunk is made; 0 of the smallest."""
    return 0 if len(places) <= FEWEST_LANES else len(places) // LANES_FACTOR


def at_places(tree: Any, places: Array) -> Any:
    """The lanes of a pytree at some places, and any lane where the place is none."""
    return jax.tree.map(lambda leaf: leaf.at[places].get(mode="clip"), tree)


def put_back(tree: Any, places: Array, some: Any) -> Any:
    """A pytree of lanes, those at some places replaced."""
    return jax.tree.map(lambda leaf, new: leaf.at[places].set(new, mode="drop"), tree, some)
