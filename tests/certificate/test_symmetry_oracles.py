"""The one symmetry mechanism against the two that know SupCL alone, of similarities and of classes.

Slow tests, for those are compiled.
"""

import numpy as np
import pytest

from ssem_jax.certificate import certify_blocks, solve_reduced
from ssem_jax.certificate.symmetry import Level, Program, solve_program
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.geometry import Similarities
from ssem_jax.losses import SupCL, kinds
from ssem_jax.losses.terms import BETWEEN, VIEW, WITHIN, Kind
from ssem_jax.problem import ClassStructure, Problem

VALUE = 1e-11
"""Difference of two certified minima. Seen: 7e-14."""
ENTRY = 1e-8
"""Difference of similarities, where the loss pins them. Seen: 2e-12."""
WIDER = 1.1
"""Factor by which one bracket may be wider than the other. Seen: 1.0001."""
NEARLY = 1 - 1e-6
"""Factor on an optimum's similarities, so that the level is well above the minimum."""
DIGITS = 1e-10
"""Width of brackets of a collapsed optimum that is rounding."""
SIZES = ((8, 4, 2), (5, 5, 2), (6, 3, 1))
ALPHAS = (0.05, 0.2, 0.4, 0.6, 0.9)
TEMPERATURES = (0.3, 0.6, 1.2)


@pytest.mark.slow
@pytest.mark.parametrize("mean", ["pairs", "anchors"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_both_mechanisms_find_the_same_optimum(sizes, mean):
    structure = ClassStructure(sizes)
    alphas, taus = (grid.ravel() for grid in np.meshgrid(ALPHAS, TEMPERATURES))
    found = solve_reduced(Problem(structure, None, SupCL(alphas, taus, mean=mean)))
    worst_value = worst_entry = 0.0
    for cell, (alpha, tau) in enumerate(zip(alphas.tolist(), taus.tolist(), strict=True)):
        program = Program(
            built.classes(structure), kinds.supcl_terms(structure, alpha, tau, mean=mean)
        )
        solved = solve_program(program)
        entries = program.entries(solved.x)
        worst_value = max(worst_value, abs(solved.value - float(np.asarray(found.value)[cell])))
        variances = np.asarray(found.class_variances.delta2)[cell]
        cosines = np.asarray(found.cosines)[cell]
        for k, size in enumerate(sizes):
            if size > 1:
                within = entries[Kind(WITHIN, str(size), str(size))]
                delta2 = (1 - within) * (size - 1) / size
                worst_entry = max(worst_entry, abs(delta2 - variances[k]))
            for j in range(k):
                between = entries[Kind(BETWEEN, str(size), str(sizes[j]))]
                cosine = between / np.sqrt((1 - variances[k]) * (1 - variances[j]))
                worst_entry = max(worst_entry, abs(cosine - cosines[k, j]))
    assert worst_value <= VALUE
    assert worst_entry <= ENTRY
    print(sizes, mean, worst_value, worst_entry)


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
