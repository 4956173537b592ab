"""Verification is done in 64 bits. Examples are drawn alike in every run, with no time limit."""

import os
from pathlib import Path

KERNELS = Path(__file__).parents[1] / ".pytest_cache" / "kernels"
"""Most of the suite's time is compiling: its workers, their children and the next run share it."""

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(KERNELS))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

import hypothesis  # noqa: E402
import jax  # noqa: E402

jax.config.update("jax_enable_x64", True)

hypothesis.settings.register_profile("ssem", deadline=None, derandomize=True, max_examples=25)
hypothesis.settings.load_profile("ssem")
