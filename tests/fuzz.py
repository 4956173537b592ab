"""A fuzzer of certificates: ``python -m tests.fuzz --cells 10000``.

Random losses (all that are shipped, in every convention), structures, hyper-parameters and
embeddings of every kind are certified, and every certificate is held against ball arithmetic, in
which the losses are written anew (:mod:`exact`). What is checked of each:

* `lower`: no embeddings at hand, the optimum among them where it is known, are better;
* `value` and `gap`: the loss in balls is as close to `value` as its rounding says, and exceeds
  `lower` by the gap at most;
* `brackets`: they hold what those embeddings are like that are at least as good as the certified
  ones, among them the certified ones themselves.

All structures have `NUM_POINTS` embeddings in as many dimensions, so that one compiled kernel
serves every structure and convention of a loss; embeddings of fewer dimensions are padded.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # for python -m tests.fuzz

import exact
from flint import arb

import ssem_jax as sx
from ssem_jax import theory
from ssem_jax.certificate import Certificate, certify
from ssem_jax.geometry import block_gram
from ssem_jax.losses import (
    SELF_PAIRS,
    AlignUniform,
    Sigmoid,
    Sincere,
    SoftSupCon,
    Spectral,
    SupCon,
    SupConIn,
    WeightedSupCL,
)
from ssem_jax.problem import ClassStructure, Solution

NUM_POINTS = 12
STRUCTURES = tuple(
    ClassStructure(sizes, views)
    for sizes, views in [
        ((4, 4, 4), 1),
        ((2, 2, 2), 2),
        ((6, 6), 1),
        ((3, 3), 2),
        ((2, 2), 3),
        ((6, 4, 2), 1),
        ((3, 2, 1), 2),
        ((4, 1, 1), 2),
        ((1,) * 6, 2),
        ((10, 1, 1), 1),
        ((2,) * 6, 1),
    ]
)
BATCH = 20
"""Cells certified at once."""
ROUNDING = 1e-13
"""Of a variance or a similarity of unit embeddings in float64, generously."""
TIGHT = 1e-9
"""A gap up to which a cell counts as certified in the counts that are printed."""

Make = Callable[[np.random.Generator, ClassStructure], sx.GramLoss]


class Setting(NamedTuple):
    """A structure, and a loss with a batch of random hyper-parameters."""

    structure: ClassStructure
    losses: sx.GramLoss

    def loss(self, cell: int) -> sx.GramLoss:
        """The loss of one cell."""
        return jax.tree.map(lambda leaf: float(leaf[cell]), self.losses)


class Fault(NamedTuple):
    """A certificate that says what is not so."""

    what: str
    structure: ClassStructure
    loss: sx.GramLoss
    kind: str
    embeddings: np.ndarray


# --------------------------------------------------------------------------- losses


def _mixing(random: np.random.Generator) -> np.ndarray:
    """α, its ends among them."""
    alpha = random.random(BATCH)
    alpha[:2], alpha[2:4] = (0.0, 1.0), random.random(2) ** 8
    return random.permutation(alpha)


def _logarithmic(random: np.random.Generator, low: float = 1e-3, high: float = 1e3) -> np.ndarray:
    return np.exp(random.uniform(np.log(low), np.log(high), BATCH))


def _supcl(random: np.random.Generator, structure: ClassStructure) -> sx.SupCL:
    convention, mean = random.choice(SELF_PAIRS), random.choice(["pairs", "anchors"])
    alpha = _mixing(random)
    if convention != "include" and structure.num_views == 1:
        alpha = np.zeros(BATCH)
    if max(structure.sizes) == 1:
        alpha = np.ones(BATCH)
    return sx.SupCL(alpha, _logarithmic(random), str(convention), str(mean))


def _weighted(random: np.random.Generator, structure: ClassStructure) -> sx.GramLoss:
    plain = _supcl(random, structure)
    weights = tuple((random.random(structure.num_classes) + 0.01).tolist())
    return WeightedSupCL(plain.alpha, plain.temperature, weights, plain.self_pairs, plain.mean)


def _soft(random: np.random.Generator, structure: ClassStructure) -> sx.GramLoss:
    weights = random.random((NUM_POINTS, NUM_POINTS)) * (random.random((NUM_POINTS, 1)) < 0.8)
    weights[0, 1] = 1.0
    np.fill_diagonal(weights, 0.0)
    return SoftSupCon(_logarithmic(random), weights, str(random.choice(SELF_PAIRS)))


LOSSES: dict[str, Make] = {
    "SupCL": _supcl,
    "WeightedSupCL": _weighted,
    "SupCon": lambda random, _: SupCon(_logarithmic(random)),
    "SoftSupCon": _soft,
    "Sincere": lambda random, _: Sincere(_logarithmic(random)),
    "SupConIn": lambda random, _: SupConIn(_logarithmic(random)),
    "Sigmoid": lambda random, _: Sigmoid(
        _logarithmic(random, 1e-2, 1e2), 10 * random.standard_normal(BATCH)
    ),
    "Spectral": lambda random, structure: Spectral(
        np.ones(BATCH) if max(structure.sizes) == 1 else _mixing(random),
        _logarithmic(random, 1e-2, 1e2),
    ),
    "AlignUniform": lambda random, _: AlignUniform(
        _logarithmic(random, 1e-2, 1e2), _logarithmic(random, 1e-2, 1e2)
    ),
}
FAST = ("SupCL", "SupCL", "SupCL", "Spectral", "SupCL", "SoftSupCon")
"""In turn in the fast tests: every compiled kernel takes seconds."""


def settings(seed: int, names: tuple[str, ...] = (*LOSSES, "SupCL", "SupCL")) -> Iterator[Setting]:
    """Settings without end, the losses in turn; structures that a loss does not admit are left."""
    random = np.random.default_rng(seed)
    turn = 0
    while True:
        structure = STRUCTURES[random.integers(len(STRUCTURES))]
        losses = LOSSES[names[turn % len(names)]](random, structure)
        try:
            losses.check_structure(structure)
        except ValueError:
            continue
        turn += 1
        yield Setting(structure, losses)


# ----------------------------------------------------------------------- embeddings


def _pad(points: np.ndarray) -> np.ndarray:
    """Unit rows in `NUM_POINTS` dimensions."""
    points = np.pad(points, ((0, 0), (0, NUM_POINTS - points.shape[1])))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _factor(gram: np.ndarray) -> np.ndarray:
    """Embeddings with a positive semidefinite Gram matrix, as far as it is one."""
    values, vectors = np.linalg.eigh(gram)
    return _pad(vectors * np.sqrt(np.maximum(values, 0)))


def simplex(count: int) -> np.ndarray:
    """(count, count) rows of a regular simplex, or one point."""
    if count == 1:
        return np.eye(1)
    return np.eye(count) - 1 / count


def collapsed(structure: ClassStructure) -> np.ndarray:
    """Classes on a simplex."""
    return _pad(simplex(structure.num_classes)[structure.class_ids])


def apart(structure: ClassStructure) -> np.ndarray:
    """Instances on a simplex."""
    return _pad(simplex(structure.total_instances)[structure.instance_ids])


def optimal(setting: Setting) -> np.ndarray | None:
    """(B, N, d) embeddings of the closed-form optimum, where there is one."""
    structure, losses = setting
    if not structure.is_balanced:
        return None
    shape = structure.counts
    if type(losses) is sx.SupCL and shape[1] > 1:
        found = theory.similarities(
            *shape, losses.alpha, losses.temperature, self_pairs=losses.self_pairs
        )
        return np.array([_factor(np.asarray(block_gram(structure, *one))) for one in _rows(found)])
    if type(losses) is Sigmoid:
        found = theory.sigmoid_optimum(structure.total_instances, losses.scale, losses.bias)
        return np.array([_towers(structure, *one) for one in _rows(found[:2])])
    return None


def _rows(arrays: Any) -> Iterator[tuple[float, ...]]:
    return zip(*(np.broadcast_to(np.asarray(a, float), BATCH) for a in arrays), strict=True)


def _towers(structure: ClassStructure, matched: float, unmatched: float) -> np.ndarray:
    """Two towers of K pairs with two cosines across: ±(sum) and difference of simplices."""
    pairs = structure.total_instances
    across = np.full((pairs, pairs), unmatched) + np.eye(pairs) * (matched - unmatched)
    # The blocks within towers that are least: the absolute value of the block across them.
    values, vectors = np.linalg.eigh(across)
    within = (vectors * np.abs(values)) @ vectors.T
    within /= within[0, 0]
    order = np.concatenate([np.arange(pairs) * 2, np.arange(pairs) * 2 + 1])
    gram = np.empty((2 * pairs, 2 * pairs))
    gram[np.ix_(order, order)] = np.block([[within, across], [across.T, within]])
    return _factor(gram)


def random_embeddings(
    random: np.random.Generator, structure: ClassStructure, best: np.ndarray
) -> tuple[str, np.ndarray]:
    """Embeddings of a random kind; `best` are those to start from."""
    size, kinds = structure.num_embeddings, [*KINDS, *OFTEN]
    kind = kinds[random.integers(len(kinds))]
    return kind, _pad(KINDS[kind](random, structure, best, size))


def _noise(random: np.random.Generator, count: int, dim: int = NUM_POINTS) -> np.ndarray:
    return random.standard_normal((count, dim))


KINDS: dict[str, Callable[..., np.ndarray]] = {
    "optimal": lambda random, structure, best, size: best,
    "perturbed": lambda random, structure, best, size: (
        best + 10.0 ** random.uniform(-12, -1) * _noise(random, size)
    ),
    "collapsed": lambda random, structure, best, size: collapsed(structure),
    "repeated": lambda random, structure, best, size: _noise(random, 3)[
        random.integers(3, size=size)
    ],
    "nearly repeated": lambda random, structure, best, size: (
        _noise(random, 3)[random.integers(3, size=size)] + 1e-9 * _noise(random, size)
    ),
    "rank 1": lambda random, structure, best, size: random.choice([-1.0, 1.0], (size, 1)),
    "one point": lambda random, structure, best, size: np.ones((size, 1)),
    "tiny dimension": lambda random, structure, best, size: _noise(random, size, 2),
    "random": lambda random, structure, best, size: _noise(random, size),
}


OFTEN = ("optimal", "optimal", "optimal", "perturbed")
"""Kinds that are drawn more often: only near an optimum a bound is tight enough to be false."""


# --------------------------------------------------------------------------- checks


def quantities(points: np.ndarray, structure: ClassStructure) -> dict[str, float]:
    """What brackets bound, by averages of the points."""
    classes, instances = structure.class_ids, structure.instance_ids

    def means(ids: np.ndarray) -> np.ndarray:
        return np.array([points[ids == k].mean(0) for k in ids])

    of_instance, of_class = means(instances), means(classes)
    found = {
        "view_variance": np.mean(np.sum((points - of_instance) ** 2, 1)),
        "delta2": np.mean(np.sum((of_instance - of_class) ** 2, 1)),
        "mean_squared": np.sum(points.mean(0) ** 2),
    }
    if structure.is_balanced:
        gram = points @ points.T
        same = classes[:, None] == classes
        within = same & (instances[:, None] != instances)
        found["within_similarity"] = gram[within].mean() if within.any() else 1.0
        found["between_similarity"] = gram[~same].mean()
    return found


def check(
    setting: Setting, cell: int, points: np.ndarray, certificate: Any, rivals: list[np.ndarray]
) -> Iterator[str]:
    """What is wrong with the certificate of one cell.

    Args:
        setting: structure and losses.
        cell: which of them.
        points: (N, d) the embeddings that were certified.
        certificate: of them, with plain numbers.
        rivals: other embeddings.
    """
    structure, loss = setting.structure, setting.loss(cell)
    own = exact.loss_at(exact.unit_gram(points), structure, loss)
    value, lower, gap = certificate.value, certificate.lower, certificate.gap
    if not loss.convex:
        if lower != -np.inf or gap != np.inf:
            yield f"a loss that is not convex has a gap of {gap}"
        return
    # gap = value + rounding - lower, each operation rounded once more.
    rounding = gap - (value - lower) + 4 * np.finfo(float).eps * (abs(value) + abs(lower) + gap)
    if not abs(own - arb(value)) <= arb(rounding):
        yield f"the loss is {own}, not {value} to {rounding:.1e}"
    if not (gap >= 0 and own - arb(lower) <= arb(gap)):
        yield f"a gap of {gap}, but the loss {own} exceeds {lower} by more"
    for other in (points, *rivals):
        same = other is points
        theirs = own if same else exact.loss_at(exact.unit_gram(other), structure, loss)
        if not arb(lower) <= theirs:
            yield f"no embedding below {lower}, but some have {theirs}"
        if same or theirs <= own:
            for name, number in quantities(other, structure).items():
                low, high = (float(end) for end in certificate.brackets[name])
                if not low - ROUNDING <= number <= high + ROUNDING:
                    yield f"{name} in [{low}, {high}], but {number} is as good"


def certified(setting: Setting, points: np.ndarray) -> Certificate:
    """The certificates of a batch."""
    size = len(points)
    problem = sx.Problem(setting.structure, NUM_POINTS, setting.losses)
    numbers, counts = [jnp.zeros(size)] * 3, [jnp.zeros(size, int)] * 5
    return certify(Solution(problem, jnp.asarray(points), *numbers, *counts))


class _One(NamedTuple):
    """The certificate of one cell of a batch."""

    value: float
    lower: float
    gap: float
    brackets: dict[str, tuple[float, float]]


def run(
    cells: int,
    seed: int = 0,
    names: tuple[str, ...] = (*LOSSES, "SupCL", "SupCL"),
    solve: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Counter, list[Fault]]:
    """Certify random cells and check every certificate.

    Args:
        cells: how many, rounded up to whole batches.
        seed: of everything.
        names: the losses, in turn.
        solve: minimise where no closed form is at hand; else the better of two simplices is taken.
        say: told of the progress.

    Returns:
        Counts of cells by loss, by kind of embeddings, and of certified ones; and the faults.
    """
    random, counts, faults = np.random.default_rng(seed), Counter(), []
    for setting in settings(seed, names):
        structure = setting.structure
        best = optimal(setting)
        if best is None and solve:
            problem = sx.Problem(structure, NUM_POINTS, setting.losses)
            best = np.asarray(sx.solve(problem, jax.random.key(seed)).embeddings)
        ends = [collapsed(structure), apart(structure)]
        starts = best if best is not None else np.array([ends[k % 2] for k in range(BATCH)])
        drawn = [random_embeddings(random, structure, one) for one in starts]
        points = np.array([one for _, one in drawn])
        found = certified(setting, points)
        for cell, (kind, one) in enumerate(drawn):
            brackets = {name: (lo[cell], hi[cell]) for name, (lo, hi) in found.brackets.items()}
            value, lower, gap = (float(x[cell]) for x in (found.value, found.lower, found.gap))
            certificate = _One(value, lower, gap, brackets)
            rivals = [*ends, starts[cell]]
            loss = setting.loss(cell)
            for fault in check(setting, cell, one, certificate, rivals):
                faults.append(Fault(fault, structure, loss, kind, one))
                say(f"{structure}, {loss}, {kind}: {fault}")
            counts["cells"] += 1
            counts[type(loss).__name__] += 1
            counts[kind] += 1
            counts["certified"] += certificate.gap <= TIGHT
        if counts["cells"] >= cells:
            return counts, faults
        if counts["cells"] % 1000 < BATCH:
            say(f"{counts['cells']} cells, {len(faults)} faults")
    raise AssertionError("settings have no end")


def main() -> int:
    """0 if no certificate is at fault."""
    global BATCH
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=BATCH, help="cells of one structure and loss")
    parser.add_argument("--no-solve", action="store_true", help="never minimise")
    parser.add_argument("--fast", action="store_true", help="the losses of the fast tests alone")
    arguments = parser.parse_args()
    BATCH = arguments.batch
    jax.config.update("jax_enable_x64", True)
    begun, names = time.perf_counter(), FAST if arguments.fast else (*LOSSES, "SupCL", "SupCL")
    counts, faults = run(
        arguments.cells,
        arguments.seed,
        names,
        not arguments.no_solve,
        functools.partial(print, flush=True),
    )
    for name, count in counts.most_common():
        print(f"{count:8,} {name}")
    print(f"{len(faults):8,} faults, in {time.perf_counter() - begun:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
