"""What arrays are called in signatures: their shapes stand beside these names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, SupportsFloat

import numpy as np
from jaxtyping import Array, PRNGKeyArray, Real

AnyArray = Array | np.ndarray
"""An array on a device, or on the host."""

Hyper = Real[AnyArray, "*batch"] | np.number | float
"""A hyper-parameter: one number, or one for each cell of a batch."""

Rows = Sequence[Sequence[float]]
"""Rows as lists of numbers, which doors take where they take arrays."""

Seed = PRNGKeyArray | int | np.integer
"""A random key of JAX, or an integer to make one of."""

Count = int | float | np.integer
"""A whole number, as a float too: tables have them so."""

if not TYPE_CHECKING:
    # Taken, too, but nothing computes with them as they are: lists, which become arrays, and the
    # fractions and balls that :mod:`ssem_jax.balls` reads without rounding.
    Hyper = Hyper | SupportsFloat | list | tuple
