"""Cho and others (TMLR 2024): which mini-batches give the optimum of the full batch."""

from collections.abc import Iterator

import numpy as np

from proofs_numeric import structures
from proofs_numeric.papers.cells import Candidate, simplex, weighed
from proofs_numeric.reduced import FANO
from ssem_jax.certificate.symmetry import Program, close, solve_program
from ssem_jax.claims import Paper, Picture, Point, Statement, Theorem, Verdict
from ssem_jax.losses.listed import all_subsets, info_nce_batches

SOURCE = "Cho and others (TMLR 2024), abstract"
TAU = 0.4


def candidate(size: int, batches, optimal: bool, towers: bool = False) -> Candidate:
    """Whether the simplex is optimal for a sum over batches."""
    loss = info_nce_batches(size, batches, TAU, towers=towers)
    gram = np.tile(simplex(size), (1 + towers, 1 + towers))  # both towers at the same vertices
    where = {"N": size, "batches": len(batches), "towers": 1 + towers, "list": tuple(batches)}
    return Candidate(where, loss, gram, optimal)


def all_batches() -> Iterator[Candidate]:
    for size, batch in ((4, 2), (5, 3), (6, 3)):
        for towers in (False, True):
            yield candidate(size, all_subsets(size, batch), True, towers)


def some_batches() -> Iterator[Candidate]:
    """A proper subset of all batches: lines of the Fano plane suffice, against the 'only'."""
    yield candidate(7, list(FANO), False)


def too_few() -> Iterator[Candidate]:
    """Partitions, a plane without one of its lines, a path."""
    for size, batches in (
        (4, [(0, 1), (2, 3)]),
        (4, [(0, 1), (1, 2), (2, 3)]),
        (7, list(FANO[1:])),
    ):
        yield candidate(size, batches, False)


def excess(batches) -> tuple[float, float]:
    """By how much the simplex of seven points is above the least sum over batches."""
    loss = info_nce_batches(7, batches, TAU)
    found = close(loss)
    solved, value = solve_program(Program(found.algebra, found.terms)), loss.value(simplex(7))
    return value - solved.value, value - solved.lower


def growing(places: int) -> Iterator[Point]:
    """Lists of triples that grow at random; then planes, what they leave, and all triples."""
    every = {frozenset(batch) for batch in all_subsets(7, 3)}
    one, other = (
        {frozenset((sign * i + shift) % 7 for i in (0, 1, 3)) for shift in range(7)}
        for sign in (1, -1)  # two planes without a line in common
    )
    at_random = np.random.default_rng(0).permutation(all_subsets(7, 3)).tolist()
    for count in np.unique(np.linspace(5, 35, places).astype(int)).tolist():
        yield Point("at random", count, *excess(at_random[:count]))
    for batches in (one, one | other, every - one - other, every - one, every):
        yield Point("every pair as often", len(batches), *excess([*map(sorted, batches)]))


all_suffice = Theorem(
    "all_suffice",
    "The optimum of the sum over all C(N, B) batches of InfoNCE is that of the full batch.",
    lambda: weighed(all_batches()),
    SOURCE,
    Verdict.HOLDS,
)
only_all = Theorem(
    "only_all",
    "Mini-batch optimisation is equivalent to full-batch optimisation only if all C(N, B) batches "
    "are selected.",
    lambda: weighed(some_batches()),
    f"{SOURCE}, as worded; the theorem was not read",
    Verdict.REFUTED,
)
a_subset_may_fail = Theorem(
    "a_subset_may_fail",
    "Sub-optimality may arise when only a subset is examined.",
    lambda: weighed(too_few()),
    SOURCE,
    Verdict.HOLDS,
)

SNIPPET = """
from proofs_numeric.reduced import FANO
from ssem_jax.certificate.symmetry import Program, close, solve_program
from ssem_jax.losses.listed import info_nce_batches

found = close(info_nce_batches(7, FANO, temperature=0.4))
solved = solve_program(Program(found.algebra, found.terms))
print(len(FANO), "of 35 batches:", solved.x, "simplex:", -1 / 6, "gap:", solved.gap)
"""

paper = Paper(
    key="cho2024",
    title="Mini-Batch Optimization of Contrastive Loss",
    authors=(
        "Jaewoong Cho",
        "Kartik Sreenivasan",
        "Keon Lee",
        "Kyunghoo Mun",
        "Soheun Yi",
        "Jeong-Gwan Lee",
        "Anna Lee",
        "Jy-yong Sohn",
        "Dimitris Papailiopoulos",
        "Kangwook Lee",
    ),
    year=2024,
    identifier="arXiv:2307.05906",
    venue="TMLR 2024",
    read="abstract only",
    reading="Abstracts: 'if and only if' in both versions, 'if' in that of a workshop of 2023. "
    "What the theorem assumes of batches was not read.",
    notation=(
        ("N samples, batches of B", "size N, batches listed"),
        ("InfoNCE of pairs (u_i, v_i)", "two towers; one view with self pairs included alike"),
        ("equivalent", "the simplex, optimal for the full batch, is optimal"),
    ),
    statements=(
        Statement(all_suffice, "abstract: 'if'", "d ≥ N-1"),
        Statement(
            only_all,
            "abstract: 'only if'",
            "d ≥ N-1",
            "Seven of 35 batches suffice: what counts is that they cover every pair equally.",
            snippet=SNIPPET,
        ),
        Statement(a_subset_may_fail, "abstract"),
        Statement(structures.equal_coverage, "the right criterion, derived here"),
    ),
    picture=Picture(
        across="batches of three, of the 35 of seven points",
        up="simplex above the minimum",
        caption="Batches added one by one at random give the simplex when all 35 are there; the "
        "seven lines of the Fano plane give it at once, and so does every list that covers all "
        "pairs equally.",
        points=growing,
    ),
)
