"""What arrays are called in signatures: their shapes stand beside these names."""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsFloat

import numpy as np
from jaxtyping import Array, Real

AnyArray = Array | np.ndarray
"""An array on a device, or on the host."""

Hyper = Real[AnyArray, "*batch"] | np.number | float
"""A hyper-parameter: one number, or one for each cell of a batch."""

if not TYPE_CHECKING:
    # Taken, too, but nothing computes with them as they are: lists, which become arrays, and the
    # fractions and balls that :mod:`ssem_jax.balls` reads without rounding.
    Hyper = Hyper | SupportsFloat | list | tuple
