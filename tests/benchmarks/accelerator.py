"""`python -m tests.benchmarks.accelerator [--small]`: what README.md here tells of a GPU.

One script, a few minutes: certified cells a second, cells as lanes against cells in turn, and loss
and gradient of large batches beside one bare product U Uᵀ. It needs the package alone, no peers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ssem_jax as sx
from ssem_jax.certificate import GAP_TOLERANCE
from ssem_jax.geometry import product
from ssem_jax.losses.tiles import blockwise_supcl

SHAPES = {(10, 10, 1, 100): 64, (5, 5, 1, 25): 128, (3, 4, 2, 24): 128}
"""m, n, p, d → cells along each axis of the grid."""
ROWS = (4_096, 16_384, 65_536, 262_144)
DIM, PER_CLASS, VIEWS, ALPHA, TAU = 128, 128, 2, 0.5, 0.1
REPEATS = 3


def timed(work: Callable[[], Any], repeats: int = REPEATS) -> tuple[float, float, Any]:
    """Seconds of the first call, which compiles, and of the median of those after it."""
    turns, result = [], None
    for _ in range(1 + repeats):
        begin = time.perf_counter()
        result = jax.block_until_ready(work())
        turns.append(time.perf_counter() - begin)
    return turns[0], float(np.median(turns[1:])), result


def cells(shape: tuple[int, int, int, int], side: int) -> None:
    """A grid of α and τ, solved from one random start and certified."""
    *counts, dim = shape
    axes = np.linspace(0, 1, side), np.geomspace(0.05, 5, side)
    alpha, tau = (axis.ravel() for axis in np.meshgrid(*axes))
    problem = sx.Problem(sx.ClassStructure.balanced(*counts), dim, sx.SupCL(alpha, tau))
    key = jax.random.key(0)
    first, solving, solution = timed(lambda: sx.solve(problem, key), 2)
    begun, certifying, found = timed(lambda: sx.certify(solution), 2)
    gaps, starts = np.asarray(found.gap), np.asarray(solution.starts)
    print(
        f"{shape}: {side**2} cells, {side**2 / (solving + certifying):,.0f} certified cells/s "
        f"(solve {1e6 * solving / side**2:.1f} µs, certify {1e6 * certifying / side**2:.1f} µs a "
        f"cell; first calls {first:.1f} and {begun:.1f} s); "
        f"{np.sum(gaps <= GAP_TOLERANCE)} certified, worst gap {gaps.max():.1e}, "
        f"{np.sum(starts == 1)} from one start; products: median {np.median(solution.products):.0f}"
        f", most {np.max(solution.products)}",
        flush=True,
    )
    held = jax.devices()[0].memory_stats() or {}
    print(f"{shape}: {held.get('peak_bytes_in_use', 0) / 2**30:.2f} GiB held so far", flush=True)
    loss: Any = problem.loss
    m, n, p = counts
    theory = sx.theory.similarities(m, n, p, loss.alpha, loss.temperature)
    closed = sx.Problem(problem.structure, m * n * p, problem.loss)
    _, spent, found = timed(lambda: sx.certificate.certify_blocks(closed, theory), 2)
    print(
        f"{shape}: closed forms {side**2 / spent:,.0f} certificates/s, "
        f"worst gap {np.max(found.gap):.1e}",
        flush=True,
    )


def works(num_rows: int, dtype: Any) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """Name → a function and its arguments."""
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(num_rows, DIM)), dtype)
    ids = jnp.arange(num_rows)
    structure = sx.ClassStructure.balanced(num_rows // PER_CLASS, PER_CLASS // VIEWS, VIEWS)

    def tiles(block_size: int | None) -> Callable[..., Any]:
        def value(rows: Any, classes: Any, instances: Any) -> Any:
            return blockwise_supcl(rows, classes, instances, ALPHA, TAU, block_size=block_size)

        return jax.value_and_grad(value)

    blocks = (rows, ids // PER_CLASS, ids // VIEWS)
    found: dict[str, Any] = {"in tiles": (tiles(None), blocks)}
    if num_rows == 65_536 and dtype == jnp.float32:
        found |= {f"in tiles of {size}": (tiles(size), blocks) for size in (512, 2048, 8192)}
    if num_rows <= 65_536:  # 16 GiB for each of several N × N arrays
        found["U Uᵀ"] = (lambda rows: product(rows, rows.T), (rows,))
    if num_rows <= 32_768:
        loss = sx.SupCL(ALPHA, TAU)
        found["dense"] = (jax.value_and_grad(lambda rows: loss(rows, structure)), (rows,))
    return found


def losses(num_rows: int, dtype: Any) -> None:
    """Loss and gradient: time, memory, and how far it is from float64."""
    for name, (function, arguments) in works(num_rows, dtype).items():
        try:
            begin = time.perf_counter()
            compiled = jax.jit(function).lower(*arguments).compile()
            compiling = time.perf_counter() - begin
            few = 1 if jax.default_backend() == "cpu" else REPEATS
            _, spent, result = timed(lambda run=compiled, of=arguments: run(*of), few)
            memory = compiled.memory_analysis().temp_size_in_bytes / 2**30
        except Exception as error:  # out of memory, say
            print(f"N = {num_rows:,} {dtype.__name__} {name}: {type(error).__name__}", flush=True)
            continue
        off = ""
        if num_rows == ROWS[0] and name != "U Uᵀ":
            exact, *_ = works(num_rows, jnp.float64).values()
            wide = [arguments[0].astype(jnp.float64), *exact[1][1:]]
            value, slope = exact[0](*wide)
            error = np.linalg.norm(np.asarray(result[1], float) - slope) / np.linalg.norm(slope)
            off = f", off by {abs(float(result[0]) / float(value) - 1):.0e} and {error:.0e}"
        print(
            f"N = {num_rows:,} {dtype.__name__} {name}: {1e3 * spent:.2f} ms, "
            f"{memory:.2f} GiB beside its arguments, compiled in {compiling:.1f} s{off}",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.accelerator")
    parser.add_argument("--small", action="store_true", help="a version to try it out")
    parser.add_argument("--cells", action="store_true", help="cells, only")
    parser.add_argument("--losses", action="store_true", help="losses, only")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    print(jax.devices()[0].device_kind, "jax", jax.__version__, flush=True)
    if not options.cells:
        for num_rows in ROWS[:1] if options.small else ROWS:
            for dtype in (jnp.float32, jnp.bfloat16):
                losses(num_rows, dtype)
    if not options.losses:
        for shape, side in SHAPES.items():
            cells(shape, 8 if options.small else side)


if __name__ == "__main__":
    main()
