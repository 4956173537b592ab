"""The explorer, as `ssem explore` writes it: the closed form under one's fingers."""

from __future__ import annotations

from figures.common import Progress, Tables
from ssem_jax import show


def compute(fast: bool, progress: Progress) -> Tables:
    """Nothing: the page computes what it shows."""
    progress.begin(0)
    return {}


IMAGES = {"explorer.html": lambda tables: show.explorer.page()}
