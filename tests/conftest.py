"""Verification is done in 64 bits. Examples are drawn alike in every run, with no time limit."""

import hypothesis
import jax

jax.config.update("jax_enable_x64", True)

hypothesis.settings.register_profile("ssem", deadline=None, derandomize=True, max_examples=25)
hypothesis.settings.load_profile("ssem")
