"""Loops in one piece of code: where handing them out one by one would take longer than they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata
from jax.interpreters.partial_eval import dce_jaxpr

from ssem_jax.compute.kernels import batched

SMALL = 2**11
"""Numbers of an array up to which that is so. XLA leaves sums of 4,096 to another library."""


def in_one_piece(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled to one piece of code on a CPU, with all the loops that it runs.

    XLA makes a task of every loop over arrays, and handing out a task takes as long as working
    through a hundred numbers. It does so itself with loops over a few bytes; this asks for it by
    the mark that it gives those, and where XLA does not know the mark nothing changes. For
    elementwise functions, sums, and loops of them alone: no task is shared by threads, calls
    LAPACK, or is left to another library. An argument without a part in the results is not handed
    over, for XLA 0.10 may abort the process at one.
    """

    def call(*arguments: Any) -> Any:
        from jax.extend.core import ClosedJaxpr, jaxpr_as_fun  # which brings kernels for GPUs

        program, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        living, has_part = dce_jaxpr(program.jaxpr, True)
        leaves = zip(jax.tree.leaves(arguments), has_part, strict=True)
        marked = jax.jit(jaxpr_as_fun(ClosedJaxpr(living, program.consts)))
        with set_xla_metadata(inlineable="false", xla_cpu_small_call="true"):
            results = marked(*(leaf for leaf, has in leaves if has))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return call


def piece_of(size: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, in one piece where the largest of its arrays is of `SMALL` size and no cell is a
    lane."""
    return in_one_piece(function) if size <= SMALL and not batched() else function
