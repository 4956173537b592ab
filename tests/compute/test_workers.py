"""Executors: processes that outlive one another's death, and what is refused."""

import os
import subprocess
import sys
import threading
import time
import types
from concurrent.futures import BrokenExecutor, CancelledError

import pytest

from ssem_jax.compute import Processes, lost_worker, open_executor, worker_count, workers


class Unreadable(Exception):
    """Its pickle cannot be loaded: two arguments, of which it keeps one."""

    def __init__(self, first, second):
        super().__init__(first)


def fail(error, *arguments):
    raise error(*arguments)


def threads_and_pid():
    return worker_count(), os.getpid()


@pytest.fixture(scope="module")
def processes():
    with Processes(2) as executor:
        yield executor


def test_processes_share_the_cores_and_are_kept(processes):
    share = -(-worker_count() // 2)
    futures = [processes.submit(threads_and_pid) for _ in range(6)]
    results = [future.result() for future in futures]
    assert {threads for threads, _ in results} <= {share, max(1, worker_count() // 2)}
    pids = {pid for _, pid in results}
    assert len(pids) <= 2
    assert os.getpid() not in pids


def test_errors_come_back_as_they_are(processes):
    with pytest.raises(ValueError, match="what, got, remedy"):
        processes.submit(fail, ValueError, "what, got, remedy").result()
    with pytest.raises(RuntimeError, match="Unreadable: one"):
        processes.submit(fail, Unreadable, "one", "two").result()
    with pytest.raises(ValueError, match=r"cannot be sent this call \(TypeError: .*; what it uses"):
        processes.submit(next, (n for n in range(3))).result()


def test_what_a_cell_defines_is_sent_by_its_code(processes, monkeypatch):
    code = {"__name__": "__main__", "three": 3}
    exec("def thrice(x): return three * x", code)
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    assert processes.submit(code["thrice"], 2).result() == 6
    assert processes.submit(lambda x: x + 1, 2).result() == 3
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(ValueError, match=r"defined in a notebook.*write the loss into a file"):
        processes.submit(code["thrice"], 2).result()


def test_a_process_that_cannot_begin_says_what_to_write(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from ssem_jax.compute import Processes\nProcesses(1).submit(pow, 2, 2).result()"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 1
    assert 'computes under `if __name__ == "__main__":`' in done.stderr


def test_a_process_that_dies_takes_only_its_own_call_with_it(processes):
    lost = processes.submit(os._exit, 7)
    kept = [processes.submit(pow, 2, power) for power in range(4)]
    with pytest.raises(BrokenExecutor, match=r"a worker process was lost \(exit code 7\)") as found:
        lost.result()
    assert lost_worker(found.value)
    assert [future.result() for future in kept] == [1, 2, 4, 8]


def test_an_exception_ends_the_processes_at_once():
    begun = time.monotonic()

    def interrupt(executor):
        executor.submit(pow, 2, 2).result()  # it runs
        executor.submit(time.sleep, 600)
        raise KeyboardInterrupt

    executor = Processes(1)
    with pytest.raises(KeyboardInterrupt), executor:
        interrupt(executor)
    assert time.monotonic() - begun < 300
    assert executor._workers[0].process is None or not executor._workers[0].process.is_alive()


def test_more_workers_than_cores_get_a_core_each():
    executor = Processes(3 * worker_count())
    assert all(len(worker.cores) <= 1 for worker in executor._workers)
    executor.shutdown()
    assert threading.active_count() < 50


def test_a_lost_worker_is_told_from_a_failed_batch():
    killed = type("KilledWorker", (Exception,), {})  # as dask.distributed names it
    assert lost_worker(killed())
    assert lost_worker(CancelledError())
    assert not lost_worker(ValueError())


def test_threads_are_the_default_and_need_no_executor():
    with open_executor() as executor:
        assert executor is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fibers",), "executor must be one of 'threads', 'processes', 'dask'; got 'fibers'"),
        (("threads", 2), "a number of workers is for processes"),
        (("dask", 2, "tcp://here:1"), "a scheduler has its own workers"),
        (("processes", None, "tcp://here:1"), "a scheduler is for the executor dask; got processe"),
        (("processes", 0), "num_workers must be an integer of at least 1; got 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message), open_executor(*arguments):
        pass


def test_without_dask_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(ValueError, match=r"pip install 'ssem-jax\[cluster\]'"),
        open_executor("dask"),
    ):
        pass


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "SCHEDULER_TIMEOUT", "0.2s")
    with (
        pytest.raises(ValueError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:9"),
        open_executor("dask", scheduler="tcp://127.0.0.1:9"),
    ):
        pass


def test_the_number_of_threads_can_be_given(monkeypatch):
    monkeypatch.setenv("SSEM_THREADS", "3")
    assert worker_count() == 3
    monkeypatch.setenv("SSEM_THREADS", "many")
    assert worker_count() >= 1
