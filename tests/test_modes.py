"""Sweeps in whatever mode JAX is, and with keys where a certificate needs one."""

from typing import Any, cast

import jax
import numpy as np
import pytest

from ssem_jax.certificate import certificates
from ssem_jax.losses import SupCL, SupCon
from ssem_jax.problem import ClassStructure, Problem, precision
from ssem_jax.problem.validation import in_64_bits
from ssem_jax.sweeps import sweep
from ssem_jax.sweeps.table import most


def test_probabilistic_certificates_have_the_key_of_the_seed(monkeypatch):
    """Beyond the limit of what is factored, which is lowered here: there a key is needed."""
    monkeypatch.setattr(certificates, "DENSE_LIMIT", 1)
    monkeypatch.setattr(certificates, "CHOLESKY_LIMIT", 3)
    alphas, structure = np.array([0.2, 0.5]), ClassStructure((2, 2))
    problem = Problem(structure, 3, SupCL(alphas, np.array([0.3, 0.3])))
    table = sweep([problem])
    assert most(table["gap"]) <= 1e-6
    # What a cell's bound is does not depend on the cells beside it.
    alone = sweep([Problem(structure, 3, SupCL(alphas[1:], np.array([0.3])))])
    assert table["lower"][1] == alone["lower"][0]
    with pytest.raises(ValueError, match="only SupCL is certified without its dual matrix"):
        sweep(
            [problem, Problem(structure, 3, SupCon(np.array([0.3])))],
            progress=cast(Any, pytest.fail),
        )


@pytest.mark.parametrize("witness", ["solve", "certificate"])
def test_a_sweep_in_a_block_of_64_bits_leaves_the_mode_of_jax_alone(witness):
    problem = Problem(ClassStructure((2, 2)), 3, SupCL(np.array([0.2]), np.array([0.3])))
    expected = sweep([problem], witness=witness)
    jax.config.update("jax_enable_x64", False)
    try:
        with precision(64):
            found = sweep([problem], witness=witness)
        assert not in_64_bits()
    finally:
        jax.config.update("jax_enable_x64", True)
    assert found.equals(expected)
