"""Executors: who computes the batches of a sweep, on this machine or on others.

Anything with the interface of :class:`concurrent.futures.Executor` will do. :class:`Processes` is
the one for this machine; :func:`open_executor` opens one by the name that the command line takes.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection
from typing import Any

from ssem_jax.compute.kernels import THREADS_VARIABLE, worker_count
from ssem_jax.problem.validation import check_choice, check_count

EXECUTORS = ("threads", "processes", "dask")

SCHEDULER_TIMEOUT = "30s"
"""How long a dask scheduler may take to answer: it may stand in a queue of the cluster."""


class Processes(Executor):
    """Worker processes of this machine, each with its share of the cores.

    Unlike in a :class:`concurrent.futures.ProcessPoolExecutor`, a process that dies takes nothing
    with it but the call that it was at, which raises a `BrokenExecutor`; the next call to its place
    starts another process. Processes are spawned (JAX's threads do not survive a fork), so that a
    script which uses them needs its ``if __name__ == "__main__":``.

    Args:
        num_workers: processes; one for each core by default.

    Raises:
        ValueError: num_workers < 1.
    """

    def __init__(self, num_workers: int | None = None) -> None:
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        count = worker_count() if num_workers is None else num_workers
        self.num_workers = check_count("num_workers", count, 1)
        cores = cores * -(-count // max(len(cores), 1))  # more workers than cores share them
        self._workers = [_Worker(cores[place::count]) for place in range(count)]
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(count)

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future:
        """The future result of `function`, called in one of the processes."""
        return self._threads.submit(self._call, function, args, options)

    def _call(self, *message: Any) -> Any:
        worker = self._idle.get()
        try:
            return worker.call(message)
        finally:
            self._idle.put(worker)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes when they have done what was submitted."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            self.kill()
            for worker in self._workers:
                worker.join()

    def kill(self) -> None:
        """End the processes at once; what they were at raises a `BrokenExecutor`."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.kill()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None:  # for example an interrupt, which should not wait for a batch
            self.kill()
        self.shutdown()


class _Worker:
    """The place of one process, which is started when there is something to do."""

    def __init__(self, cores: Sequence[int]) -> None:
        self.cores = cores
        self.process: Any = None
        self.pipe: Any = None
        self.closed = self.answered = False
        self._lock = threading.Lock()

    def call(self, message: Any) -> Any:
        """The result of a function in the process.

        Raises:
            BrokenExecutor: the process died of it; and what the function raises.
            ValueError: it cannot be sent.
        """
        self._start()
        packed = pack(message)
        try:
            self.pipe.send_bytes(packed)
            succeeded, result = self.pipe.recv()
            self.answered = True
        except (EOFError, OSError) as error:
            self.process.join()
            code, self.process = self.process.exitcode, None
            why = "" if self.answered or code != 1 else NEVER_BEGUN
            raise BrokenExecutor(f"a worker process was lost (exit code {code}{why})") from error
        if succeeded:
            return result
        raise result

    def _start(self) -> None:
        with self._lock:
            if self.closed:
                raise BrokenExecutor("the worker processes were ended")
            if self.process is not None:
                return
            context = multiprocessing.get_context("spawn")
            self.pipe, end = context.Pipe()
            process = context.Process(target=_serve, args=(end, self.cores), daemon=True)
            process.start()
            end.close()  # so that the pipe breaks when the process dies
            self.process = process

    def kill(self) -> None:
        """End the process, and start no other."""
        with self._lock:
            self.closed = True
            if (process := self.process) is not None:
                process.kill()

    def join(self) -> None:
        """Wait for the end of the process."""
        if (process := self.process) is not None:
            process.join()


def _serve(pipe: connection.Connection, cores: Sequence[int]) -> None:
    """What a worker process does: calls functions until its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told as well, and ends it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if cores:
        os.sched_setaffinity(0, cores)  # JAX, BLAS and `worker_count` all go by it
    while True:
        try:
            message = pipe.recv_bytes()
        except EOFError:
            return
        try:
            function, arguments, options = pickle.loads(message)
            answer = pickle.dumps((True, function(*arguments, **options)))
        except Exception as error:
            answer = _pickle_error(error)
        pipe.send_bytes(answer)


NEVER_BEGUN = (
    "; it ended before it took any work, and says why on stderr. A script that uses processes "
    'computes under `if __name__ == "__main__":`, for each of them imports it'
)
"""Said of a process that could not even begin."""


def pack(message: Any) -> bytes:
    """A call as bytes, with what was defined in a notebook or in a function in full.

    Functions and classes are sent by name, and by their code where the other side cannot import
    them: those of a notebook's cells, and lambdas. That takes cloudpickle, which dask brings.

    Raises:
        ValueError: it is not installed, or something has neither a name nor code.
    """
    try:
        if _main_can_be_imported():
            return pickle.dumps(message)
    except (pickle.PicklingError, AttributeError, TypeError):
        pass  # a lambda, say
    try:
        import cloudpickle

        return cloudpickle.dumps(message)
    except ImportError:
        raise ValueError(
            "a process cannot be sent what is defined in a notebook, at a prompt or within a "
            "function: write the loss into a file, as losses.py, and import it from there; or "
            "pip install cloudpickle."
        ) from None
    except Exception as error:
        raise ValueError(
            f"a process cannot be sent this call ({type(error).__name__}: {error}); what it uses "
            "must be plain data, functions and classes."
        ) from error


def _main_can_be_imported() -> bool:
    """Whether other processes find what stands in `__main__`: not that of a notebook."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    return getattr(main, "__spec__", None) is not None or bool(file and os.path.isfile(file))


def _pickle_error(error: Exception) -> bytes:
    try:
        answer = pickle.dumps((False, error))
        pickle.loads(answer)  # some are written, but not read
        return answer
    except Exception:
        return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))


def _end_with_parent() -> None:
    """A parent that was killed can end nobody; nobody would want the result."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def lost_worker(error: BaseException) -> bool:
    """Whether an exception tells of a lost worker, not of what it was at.

    A broken pool of processes; a future that its scheduler dropped; dask's KilledWorker.
    """
    lost = isinstance(error, (BrokenExecutor, CancelledError))
    return lost or type(error).__name__ == "KilledWorker"


@contextmanager
def open_executor(
    name: str = "threads", num_workers: int | None = None, scheduler: str | None = None
) -> Iterator[Executor | None]:
    """The executor of a name, closed at the end.

    Args:
        name: "threads" (of this process; None is yielded), "processes" or "dask".
        num_workers: processes on this machine; one for each core by default.
        scheduler: address of a dask scheduler; without it a dask cluster of `num_workers` processes
            is started on this machine.

    Raises:
        ValueError: options that do not go together, dask is not installed, or no scheduler answers.
    """
    check_choice("executor", name, EXECUTORS)
    if num_workers is not None and (name == "threads" or scheduler is not None):
        raise ValueError(
            "a number of workers is for processes and for a dask cluster on this machine; "
            "threads are as many as cores, and a scheduler has its own workers."
        )
    if scheduler is not None and name != "dask":
        raise ValueError(f"a scheduler is for the executor dask; got {name}.")
    if name == "threads":
        yield None
    elif name == "processes":
        with Processes(num_workers) as executor:
            yield executor
    else:
        count = worker_count() if num_workers is None else num_workers
        with _dask_client(check_count("num_workers", count, 1), scheduler) as client:
            yield client.get_executor()


@contextmanager
def _dask_client(num_workers: int, scheduler: str | None) -> Iterator[Any]:
    try:
        import distributed
    except ImportError:
        raise ValueError(
            "the executor dask needs dask.distributed; pip install 'ssem-jax[cluster]'."
        ) from None
    if scheduler is not None:
        try:
            client = distributed.Client(scheduler, timeout=SCHEDULER_TIMEOUT)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"no dask scheduler answers at {scheduler} ({error}); start one with `dask "
                "scheduler`, or leave it out for a cluster on this machine."
            ) from error
        with client:
            yield client
        return
    threads = max(1, worker_count() // num_workers)
    with (
        distributed.LocalCluster(
            n_workers=num_workers,
            threads_per_worker=1,
            dashboard_address=None,  # pyright: ignore[reportArgumentType] (None: no dashboard)
            env={THREADS_VARIABLE: str(threads)},
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client
