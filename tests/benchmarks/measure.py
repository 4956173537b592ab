"""What is measured: certified cells per second, and the loss of many embeddings."""

from __future__ import annotations

import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import ssem_jax as sx
from ssem_jax.certificate import GAP_TOLERANCE
from ssem_jax.compute.cache import VARIABLE
from ssem_jax.losses.tiles import blockwise_supcl

from .peers import CLARABEL_LIMIT, PEERS, Peer, Setting

SETTINGS = (Setting(5, 5, 1, 25), Setting(3, 4, 2, 24), Setting(10, 10, 1, 100))
TEMPERATURES = (0.05, 5.0)
OURS = "ssem_jax"

LOSS_ROWS, LOSS_DIM, LARGE_ROWS = 4096, 128, 65_536
VIEWS, PER_CLASS = 2, 128
ALPHA, TAU = 0.5, 0.1

LOSS_TARGET = 2.2
"""Loss and gradient over one bare matmul U Uᵀ: two matmuls and a tenth for everything else."""
CLOSED_FORM_TARGET = 20_000
"""Cells certified in a second from closed forms alone."""
GROWTH_TARGET, MEMORY_TARGET, SECONDS_TARGET = 1.25, 1.5 * 2**30, 60.0
"""Time per N² at `LARGE_ROWS` over that at 8,192; peak resident bytes; seconds."""


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Wall time of one call, and its result when it is there."""
    start = time.perf_counter()
    result = jax.block_until_ready(work())
    return time.perf_counter() - start, result


def interleaved(works: dict[Any, Callable[[], Any]], repeats: int) -> dict[Any, np.ndarray]:
    """(repeats,) times of each work, taken in turns after one warm call, so that ratios of the same
    turn share whatever else the machine was doing."""
    for work in works.values():
        jax.block_until_ready(work())
    turns = [[seconds(work)[0] for work in works.values()] for _ in range(repeats)]
    return dict(zip(works, np.array(turns).T, strict=True))


# ----------------------------------------------------------------------------------------- cells


def grid(setting: Setting, side: int) -> sx.Problem:
    """side × side cells: α from 0 to 1, τ from 0.05 to 5."""
    axes = np.linspace(0, 1, side), np.geomspace(*TEMPERATURES, side)
    alpha, tau = (axis.ravel() for axis in np.meshgrid(*axes))
    return sx.Problem(setting.structure, setting.dim, sx.SupCL(alpha, tau))


def sample(side: int, count: int) -> np.ndarray:
    """Indices of cells that are spread over both axes of a grid: a Latin square's."""
    steps = np.linspace(0, side - 1, min(count, side)).astype(int)
    return side * steps + np.random.default_rng(0).permutation(steps)


def certified(problem: sx.Problem, seed: int = 0) -> sx.Certificate:
    """Solved from random starts, and certified."""
    return sx.certify(sx.solve(problem, jax.random.key(seed)))


class Row(NamedTuple):
    """A method on one setting; times are medians over turns.

    `speedup` is how many of our certified cells fit into the time of one of its cells.
    """

    setting: str
    method: str
    cells: int
    cells_per_second: float
    speedup: float
    median_gap: float
    worst_gap: float
    certified: int


def _each(peer: Peer, setting: Setting, losses: list[sx.SupCL], seed: int) -> list[np.ndarray]:
    return [peer(setting, loss, seed) for loss in losses]


def compare(
    setting: Setting, side: int, num_sampled: int, repeats: int, methods: Sequence[str]
) -> list[Row]:
    """Our certified cells against peers on a sample of the same cells, in turns.

    Compilation and the references that judge the peers are not timed.
    """
    problem = grid(setting, side)
    size = problem.batch_size or 1
    if setting.structure.num_embeddings > CLARABEL_LIMIT:
        methods = [method for method in methods if "Clarabel" not in method]
    chosen = sample(side, num_sampled)
    grid_loss: Any = problem.loss
    losses = [
        sx.SupCL(float(grid_loss.alpha[cell]), float(grid_loss.temperature[cell]))
        for cell in chosen
    ]
    reference = certified(problem)  # compiles, too
    references = [jax.tree.map(lambda leaf, cell=cell: leaf[cell], reference) for cell in chosen]
    PEERS["optax Adam"](setting, losses[0], 0)

    times: dict[str, list[float]] = {method: [] for method in (OURS, *methods)}
    gaps: dict[str, list[float]] = {method: [] for method in times}
    for turn in range(repeats):
        spent, found = seconds(partial(certified, problem, turn))
        times[OURS].append(spent / size)
        gaps[OURS] += np.asarray(found.gap).tolist()
        for method in methods:
            spent, points = seconds(partial(_each, PEERS[method], setting, losses, turn))
            times[method].append(spent / len(losses))
            gaps[method] += [
                float(sx.certify_embeddings(rows, setting.structure, loss, judge).gap)
                for rows, loss, judge in zip(points, losses, references, strict=True)
            ]
    return [
        Row(
            str(setting),
            method,
            len(gaps[method]),
            1 / float(np.median(spent)),
            float(np.median(np.array(spent) / times[OURS])),
            float(np.median(gaps[method])),
            float(np.max(gaps[method])),
            int(np.sum(np.array(gaps[method]) <= GAP_TOLERANCE)),
        )
        for method, spent in times.items()
    ]


class Profile(NamedTuple):
    """Microseconds of wall time per cell, warm, on a full grid."""

    setting: str
    solve: float
    dense_bound: float
    brackets: float
    closed_form: float  # certificate alone, of theory's similarities

    @property
    def closed_forms_per_second(self) -> float:
        """Cells certified in a second without minimisation."""
        return 1e6 / self.closed_form


def profile(setting: Setting, side: int, repeats: int) -> Profile:
    """Where the time of a certified cell goes: medians over turns."""
    problem = grid(setting, side)
    m, n, p, _ = setting
    loss: Any = problem.loss
    alpha, tau = loss.alpha, loss.temperature
    similar = sx.theory.similarities(m, n, p, alpha, tau)
    solution = sx.solve(problem, jax.random.key(0))
    closed = sx.Problem(setting.structure, setting.structure.num_embeddings, problem.loss)
    times = interleaved(
        {
            "solve": lambda: sx.solve(problem, jax.random.key(0)),
            "certify": lambda: sx.certify(solution),
            "closed form": lambda: sx.certificate.certify_blocks(closed, similar),
        },
        repeats,
    )
    spent = {work: 1e6 * float(np.median(turns)) / side**2 for work, turns in times.items()}
    # The certificate of a closed form is all brackets; a dense one adds the bound.
    brackets = min(spent["closed form"], spent["certify"])
    dense = spent["certify"] - brackets
    return Profile(str(setting), spent["solve"], dense, brackets, spent["closed form"])


def cold_diagram(setting: Setting, side: int) -> float:
    """Seconds of a fresh process that solves and certifies a grid, compilation included."""
    code = (
        "import jax; jax.config.update('jax_enable_x64', True); "
        "from tests.benchmarks import measure; "
        f"measure.certified(measure.grid(measure.Setting{tuple(setting)}, {side}))"
    )
    environment = {**os.environ, VARIABLE: "off"}
    root = Path(__file__).parents[2]
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=root)
    return time.perf_counter() - begin


def cells_curve(setting: Setting, sides: Sequence[int]) -> dict[int, float]:
    """Number of cells → seconds of solving and certifying them, warm."""
    times = {}
    for side in sides:
        problem = grid(setting, side)
        certified(problem)
        times[side**2] = seconds(partial(certified, problem))[0]
    return times


# ------------------------------------------------------------------------------------------ loss


def batch(num_rows: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Random float32 rows of classes of 128 embeddings with two views, and their ids."""
    rows = np.random.default_rng(0).normal(size=(num_rows, LOSS_DIM))
    ids = jnp.arange(num_rows)
    return jnp.asarray(rows, jnp.float32), ids // PER_CLASS, ids // VIEWS


@jax.jit
def blockwise(rows: jax.Array, classes: jax.Array, instances: jax.Array) -> Any:
    """Loss and gradient by blocks."""
    return jax.value_and_grad(blockwise_supcl)(rows, classes, instances, ALPHA, TAU)


@jax.jit
def matmul(rows: jax.Array) -> jax.Array:
    """The floor."""
    return rows @ rows.T


def loss_works(num_rows: int) -> dict[str, Callable[[], Any]]:
    """Matmul, blockwise and dense loss with gradient, as works of one batch."""
    rows, classes, instances = batch(num_rows)
    structure = sx.ClassStructure.balanced(num_rows // PER_CLASS, PER_CLASS // VIEWS, VIEWS)
    dense = jax.jit(jax.value_and_grad(lambda rows: sx.SupCL(ALPHA, TAU)(rows, structure)))
    return {
        "matmul U Uᵀ": lambda: matmul(rows),
        "blockwise": lambda: blockwise(rows, classes, instances),
        "dense": lambda: dense(rows),
    }


def loss_curve(sizes: Sequence[int], repeats: int) -> dict[int, dict[str, np.ndarray]]:
    """N → work → times of its turns."""
    return {num_rows: interleaved(loss_works(num_rows), repeats) for num_rows in sizes}


class Large(NamedTuple):
    """A large batch in a fresh process."""

    seconds: float
    growth: float  # of the time per N², from 8,192 rows
    peak_bytes: float


def _large(num_rows: int, small_rows: int) -> Large:
    def once(size: int, repeats: int) -> float:
        arguments = batch(size)
        compiled = blockwise.lower(*arguments).compile()
        return float(np.median([seconds(lambda: compiled(*arguments))[0] for _ in range(repeats)]))

    before = once(small_rows, 5)
    spent = once(num_rows, 1)
    small = np.median([before, once(small_rows, 5)])
    return Large(spent, spent / small * (small_rows / num_rows) ** 2, _peak_bytes())


def _peak_bytes() -> float:
    """Peak resident memory. `ru_maxrss` would inherit that of the parent on Linux."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024.0 * int(line.split()[1])
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def large_batch(num_rows: int = LARGE_ROWS, small_rows: int = 8192) -> Large:
    """Loss and gradient of many embeddings, measured in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_large, num_rows, small_rows).result()


# ------------------------------------------------------------------------ thousands of embeddings

LARGE_GAP = 1e-6
"""Gap of a solution with thousands of embeddings: N times the rounding bound of its dual matrix."""
LARGE_SETTING = Setting(8, 64, 8, 512)
LARGE_LOSSES = {"collapse": sx.SupCL(0.1, 0.5), "spread": sx.SupCL(0.7, 0.3)}
CLOSED_FORMS = (Setting(8, 64, 8, 512), Setting(8, 64, 16, 512), Setting(8, 16, 256, 128))
"""4,096 and 8,192 embeddings, whose dual matrix is factored, and 32,768, by products alone."""


class Certified(NamedTuple):
    """Embeddings of one cell, certified in a fresh process."""

    setting: str
    case: str
    solve_seconds: float | None  # None where the closed form is certified instead
    products: int | None
    certify_seconds: float
    gap: float
    phase: str
    failure_probability: float
    peak_bytes: float


def _certified_cell(setting: Setting, case: str, free: bool, seed: int) -> Certified:
    jax.config.update("jax_enable_x64", True)
    key, structure, loss = jax.random.key(seed), setting.structure, LARGE_LOSSES[case]
    spent = products = None
    if free:
        spent, solution = seconds(
            lambda: sx.solve(sx.Problem(structure, setting.dim, loss), key, num_starts=1)
        )
        rows, products = solution.embeddings, int(solution.products)
    else:
        counts = structure.counts
        delta2 = sx.theory.delta2(*counts, loss.alpha, loss.temperature)
        rows = sx.geometry.ssem_embeddings(structure, float(delta2), setting.dim)
    certifying, found = seconds(lambda: sx.certify_embeddings(rows, structure, loss, key=key))
    return Certified(
        str(setting),
        case,
        spent,
        products,
        certifying,
        float(found.gap),
        sx.Phase(int(found.phase)).name.lower(),
        float(found.failure_probability),
        _peak_bytes(),
    )


def certified_cell(setting: Setting, case: str, free: bool, seed: int = 0) -> Certified:
    """A cell of `LARGE_LOSSES`, in a process of its own.

    Args:
        setting: m, n, p and d.
        case: of `LARGE_LOSSES`.
        free: minimise over free embeddings from a random start; else certify the closed form.
        seed: of the random start.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_certified_cell, setting, case, free, seed).result()


def large_cells() -> list[Certified]:
    """Closed forms of growing size, then free minimisation at `LARGE_SETTING`."""
    closed = [certified_cell(at, case, False) for at in CLOSED_FORMS for case in LARGE_LOSSES]
    return closed + [certified_cell(LARGE_SETTING, case, True) for case in LARGE_LOSSES]
