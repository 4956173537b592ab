"""Times by pytest-benchmark, and the ratios promised: `pytest -m slow -n 0 tests/benchmarks`."""

import jax
import numpy as np
import pytest

pytest.importorskip("pytest_benchmark")

from ssem_jax import Problem, SupCL, certify_embeddings
from ssem_jax.certificate import GAP_TOLERANCE

from . import measure
from .peers import CLARABEL_LIMIT, PEERS

pytestmark = pytest.mark.slow

SIDE, REPEATS = 8, 7
SMALL = measure.SETTINGS[0]


@pytest.mark.benchmark(group="cells")
@pytest.mark.parametrize("setting", measure.SETTINGS, ids=str)
def test_certified_cells(benchmark, setting):
    problem = measure.grid(setting, SIDE)
    found = benchmark.pedantic(measure.certified, (problem,), rounds=3, warmup_rounds=1)
    benchmark.extra_info["worst gap"] = float(np.max(found.gap))
    benchmark.extra_info["cells per second"] = SIDE**2 / benchmark.stats["median"]
    assert np.all(np.asarray(found.gap) <= GAP_TOLERANCE)


def test_closed_forms_are_certified_without_minimisation():
    found = measure.profile(SMALL, side=64, repeats=REPEATS)
    assert found.closed_forms_per_second >= measure.CLOSED_FORM_TARGET


@pytest.mark.benchmark(group="one cell")
@pytest.mark.parametrize("method", PEERS)
def test_peer(benchmark, method):
    loss = SupCL(0.5, 0.5)
    assert SMALL.structure.num_embeddings <= CLARABEL_LIMIT
    reference = measure.certified(Problem(SMALL.structure, SMALL.dim, loss))
    found = benchmark.pedantic(PEERS[method], (SMALL, loss, 0), rounds=1, warmup_rounds=1)
    gap = float(certify_embeddings(found, SMALL.structure, loss, reference).gap)
    benchmark.extra_info["gap"] = gap
    assert 0 <= gap < 1


@pytest.mark.benchmark(group="loss")
@pytest.mark.parametrize("work", ["matmul U Uᵀ", "blockwise", "dense"])
def test_loss_and_gradient(benchmark, work):
    run = measure.loss_works(measure.LOSS_ROWS)[work]
    benchmark.pedantic(lambda: jax.block_until_ready(run()), rounds=REPEATS, warmup_rounds=1)


def test_the_loss_costs_little_more_than_its_matmuls():
    works = measure.loss_works(measure.LOSS_ROWS)
    del works["dense"]
    times = measure.interleaved(works, REPEATS)
    assert np.median(times["blockwise"] / times["matmul U Uᵀ"]) <= measure.LOSS_TARGET


def test_a_large_batch_fits_in_little_memory():
    large = measure.large_batch()
    assert large.peak_bytes <= measure.MEMORY_TARGET
    assert large.seconds <= measure.SECONDS_TARGET
    assert large.growth <= measure.GROWTH_TARGET


@pytest.mark.parametrize("case", measure.LARGE_LOSSES)
def test_thousands_of_embeddings_are_solved_and_certified(case):
    """4,096 free embeddings from a random start, in some minutes each."""
    found = measure.certified_cell(measure.LARGE_SETTING, case, free=True)
    assert 0 <= found.gap <= measure.LARGE_GAP
    assert found.phase == case
    assert found.failure_probability == 0
