"""What arrays are called in signatures: their shapes stand beside these names."""

from __future__ import annotations

import numpy as np
from jaxtyping import Array, Real

AnyArray = Array | np.ndarray
"""An array on a device, or on the host."""

Hyper = Real[AnyArray, "*batch"] | np.number | float
"""A hyper-parameter: one number, or one for each cell of a batch."""
