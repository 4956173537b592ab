"""Brackets of orbits against those of three similarities, of balanced classes.

Slow tests, for the latter are compiled.
"""

import numpy as np
import pytest

from ssem_jax.certificate import certify_blocks
from ssem_jax.certificate.symmetry import Level, Program, solve_program
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.geometry import Similarities
from ssem_jax.losses import SupCL, kinds
from ssem_jax.losses.terms import BETWEEN, VIEW, WITHIN, Kind
from ssem_jax.problem import ClassStructure, Problem

WIDER = 1.1
"""Factor by which one bracket may be wider than the other. Seen: 1.0001."""
NEARLY = 1 - 1e-6
"""Factor on an optimum's similarities, so that the level is well above the minimum."""
DIGITS = 1e-10
"""Width of brackets of a collapsed optimum that is rounding."""
ALPHAS = (0.05, 0.2, 0.4, 0.6, 0.9)
TEMPERATURES = (0.3, 0.6, 1.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("structure", "self_pairs"),
    [(ClassStructure.balanced(3, 4), "include"), (ClassStructure.balanced(4, 3, 2), "exclude")],
    ids=str,
)
def test_both_mechanisms_have_the_same_brackets(structure, self_pairs):
    n, algebra = structure.num_instances, built.classes(structure)
    alphas, taus = (grid.ravel() for grid in np.meshgrid(ALPHAS, TEMPERATURES))
    cells = list(zip(alphas.tolist(), taus.tolist(), strict=True))
    programs = [
        Program(algebra, kinds.supcl_terms(structure, alpha, tau, self_pairs))
        for alpha, tau in cells
    ]
    solved = [solve_program(program) for program in programs]
    size = str(n)
    columns = [
        np.array(
            [
                p.entries(NEARLY * s.x).get(Kind(relation, size, size), 1.0)
                for p, s in zip(programs, solved, strict=True)
            ]
        )
        for relation in (VIEW, WITHIN, BETWEEN)
    ]
    problem = Problem(structure, None, SupCL(alphas, taus, self_pairs))
    certificate = certify_blocks(problem, Similarities(*columns))
    lows, highs = map(np.asarray, certificate.brackets["within_similarity"])
    widths = []
    for cell, (program, found) in enumerate(zip(programs, solved, strict=True)):
        level = Level(program, float(np.asarray(certificate.value)[cell]), found)
        low, high = level.bracket(program.functional({Kind(WITHIN, size, size): 1.0}))
        assert max(low, lows[cell]) <= min(high, highs[cell])
        widths.append((high - low, highs[cell] - lows[cell]))
    print(structure, self_pairs, np.array(widths).tolist())
    new, old = np.array(widths).T
    assert np.median(new) <= WIDER * np.median(old) + DIGITS
