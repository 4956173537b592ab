"""Colours of pairs, their algebra, the program that they leave, and its bounds."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from flint import arb, ctx
from scipy.optimize import minimize

from ssem_jax.certificate import QUANTITIES, rounding
from ssem_jax.certificate.symmetry import Level, Program, block_diagonalise, close, solve_program
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.certificate.symmetry.algebra import MOST_POINTS, Algebra, beside, copies, point
from ssem_jax.certificate.symmetry.bounds import (
    _point,
    least_eigenvalue,
    lower_bound,
)
from ssem_jax.certificate.symmetry.colours import LISTED_LIMIT, algebra_of, in_colours
from ssem_jax.certificate.symmetry.programs import (
    arranged,
    program_of,
    quantities_of,
    quantity_ends,
)
from ssem_jax.losses import SupCL, kinds, listed
from ssem_jax.losses.terms import Kind, Slot, Term, Terms
from ssem_jax.problem import ClassStructure

GAP = 1e-11
"""Certified gap of a reduced solution. Seen: 7e-12 for 500 points in 100 classes, else 2e-12."""
FREE = 1e-8
"""By how much L-BFGS on free embeddings stops above the optimum. Seen: 2e-9."""
FANO = [(0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5)]
BALANCED = ClassStructure.balanced


# ---------------------------------------------------------------------------------- the algebra

TABLE = {
    "classes": (built.classes(BALANCED(3, 4, 2)), 4, 3, [(1, 12), (1, 9), (1, 2), (1, 1)]),
    "sizes": (built.classes(ClassStructure((8, 4, 2))), 12, 6, [(3, 1), (1, 7), (1, 3), (1, 1)]),
    "equal sizes merge": (
        built.classes(ClassStructure((8,) * 40 + (4,) * 30 + (2,) * 30)),
        15,
        9,
        [(3, 1), (1, 280), (1, 90), (1, 39), (1, 30), (1, 29), (1, 29)],
    ),
    "a million": (built.classes(BALANCED(1000, 1000)), 3, 2, [(1, 999000), (1, 999), (1, 1)]),
    "prototypes": (built.prototypes((5,) * 4), 9, 5, [(2, 3), (2, 1), (1, 16)]),
    "prototypes of all sizes": (
        built.prototypes((5, 4, 3)),
        39,
        18,
        [(6, 1), (1, 4), (1, 3), (1, 2)],
    ),
    "towers that swap": (
        built.towers(built.points(7), swap=True),
        4,
        3,
        [(1, 6), (1, 6), (1, 1), (1, 1)],
    ),
    "towers": (built.towers(built.points(7), swap=False), 8, 4, [(2, 6), (2, 1)]),
    "towers with classes that swap": (
        built.towers(built.classes(BALANCED(3, 4)), swap=True),
        6,
        5,
        [(1, 9), (1, 9), (1, 2), (1, 2), (1, 1), (1, 1)],
    ),
    "towers with classes": (
        built.towers(built.classes(BALANCED(3, 4)), swap=False),
        12,
        7,
        [(2, 9), (2, 2), (2, 1)],
    ),
    "a design": (built.points(9), 2, 1, [(1, 8), (1, 1)]),
    "views with an index": (
        built.indexed_views(BALANCED(3, 4, 3)),
        6,
        5,
        [(1, 18), (1, 9), (1, 4), (1, 2), (1, 2), (1, 1)],
    ),
    "classes apart": (
        built.classes(BALANCED(2, 3), merge=False),
        6,
        3,
        [(2, 1), (1, 2), (1, 2)],
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_structures_have_their_colours_variables_and_blocks(name):
    algebra, colours, variables, blocks = TABLE[name]
    assert algebra.num_colours == colours
    assert len(algebra.orbits) == variables
    found = block_diagonalise(algebra)
    assert [(block.dim, block.multiplicity) for block in found] == blocks
    assert sum(d * m for d, m in blocks) == algebra.num_points


def dense(algebra, coefficients):
    """(r, r) products X·A_b of an element of the algebra, in exact integers."""
    a, b, c, count = algebra.triples.T
    found = np.zeros((algebra.num_colours,) * 2, object)
    np.add.at(found, (c, b), coefficients[a] * count.astype(object))
    return found


@pytest.mark.parametrize("name", TABLE)
def test_structure_constants_are_those_of_an_algebra(name):
    algebra, rng = TABLE[name][0], np.random.default_rng(0)
    x, y = (rng.integers(-9, 9, algebra.num_colours).astype(object) for _ in range(2))
    left, right = dense(algebra, x), dense(algebra, y)
    product = left @ y  # the coefficients of X Y
    assert (dense(algebra, product) == left @ right).all()  # (XY)Z = X(YZ)
    turned = algebra.transpose
    assert (dense(algebra, y[turned]) @ x[turned] == product[turned]).all()  # (XY)ᵀ = YᵀXᵀ
    one = np.zeros(algebra.num_colours, object)
    one[algebra.diagonal] = 1
    assert (dense(algebra, one) @ x == x).all()
    everything = np.ones(algebra.num_colours, object)
    assert (dense(algebra, everything) @ everything == algebra.num_points).all()
    assert algebra.sizes.sum() == algebra.num_points**2
    assert (algebra.points[algebra.source] * algebra.valency == algebra.sizes).all()


@pytest.mark.parametrize(
    ("structure", "merged"), [(BALANCED(2, 3, 2), 4), (ClassStructure((4, 2, 2)), 3 + 2 + 2)]
)
def test_built_and_found_colours_agree(structure, merged):
    whole = [tuple(range(structure.total_instances))]
    loss = listed.supcl_batches(structure, whole, Fraction(1, 5), 0.4, mean="anchors")
    found, made = close(loss), built.classes(structure)
    assert found.algebra.num_colours == made.num_colours
    assert sorted(found.algebra.sizes.tolist()) == sorted(made.sizes.tolist())
    one, other = (
        solve_program(Program(*pair))
        for pair in (
            (found.algebra, found.terms),
            (made, kinds.supcl_terms(structure, 0.2, 0.4, mean="anchors")),
        )
    )
    assert one.value == pytest.approx(other.value, abs=GAP)
    assert found.algebra.num_colours == merged or structure.is_balanced


def test_row_regular_is_not_enough():
    """C6, edges and non-edges: the mean over such colours of a Gram matrix is not one."""
    ring = np.abs(np.subtract.outer(range(6), range(6)))
    edges = (ring == 1) | (ring == 5)
    colours = np.where(ring == 0, 0, np.where(edges, 1, 2))
    signs = np.array([1, -1] * 3)
    gram = np.outer(signs, signs)
    mean = np.where(ring == 0, 1.0, np.where(edges, gram[edges].mean(), gram[colours == 2].mean()))
    assert np.linalg.eigvalsh(mean)[0] == pytest.approx(-2 / 3)
    with pytest.raises(ValueError, match=r"not coherent: pairs of one colour differ"):
        algebra_of(colours)


def test_eigenvalues_are_bounded_by_the_integers():
    rng = np.random.default_rng(1)
    algebra = built.classes(ClassStructure((4, 2)), merge=True)
    loss = listed.supcl_batches(ClassStructure((4, 2)), [tuple(range(6))], Fraction(0), 0.5)
    closure = close(loss)
    for _ in range(5):
        entries = rng.normal(size=len(closure.algebra.orbits))
        diagonal = rng.normal(size=len(closure.algebra.points))
        matrix = closure.algebra.coefficients(diagonal, entries)[closure.colours]
        least = np.linalg.eigvalsh(matrix)[0]
        bound = least_eigenvalue(closure.algebra, diagonal, entries)
        assert bound <= min(least, 0) + 1e-15
        assert bound >= min(least, 0) - 1e-13
    assert algebra.num_colours == closure.algebra.num_colours


# --------------------------------------------------------------------------- what closure needs


def restricted(loss, colours):
    """The least loss of G that are constant on a colouring that may be too coarse."""
    algebra = algebra_of(colours)
    return solve_program(Program(algebra, in_colours(loss, colours, algebra)))


def free_minimum(loss, starts=1, lower=None):
    """The least loss that L-BFGS finds over vectors in R^N, and their Gram matrix.

    With a lower bound of 0 the vectors are nonnegative, in R^2N: fewer dimensions have more traps.
    """
    rng, best = np.random.default_rng(0), (math.inf, None)

    def value(flat):
        rows = flat.reshape(loss.size, -1)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        unit = rows / norms
        found, slope = loss.value_and_gradient(unit @ unit.T)
        pull = 2 * slope @ unit
        pull = (pull - unit * np.sum(pull * unit, axis=1, keepdims=True)) / norms
        return found, pull.ravel()

    for _ in range(starts):
        start = rng.normal(size=loss.size**2 * (1 if lower is None else 2))
        bounds = None if lower is None else [(0, None)] * start.size
        found = minimize(
            value,
            np.abs(start) if lower is not None else start,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 1000, "ftol": 1e-16, "gtol": 1e-9, "maxcor": 40},
        )
        if found.fun < best[0]:
            rows = found.x.reshape(loss.size, -1)
            unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            best = found.fun, unit @ unit.T
    return best


def two_classes():
    """Batches of 3 that cover pairs alike, but of which class B meets other compositions than A."""
    batches = [(three, 2) for three in itertools.combinations(range(4), 3)]
    batches += [((i, j, k), 1) for i, j in itertools.combinations(range(4, 8), 2) for k in range(4)]
    own = np.repeat([0, 1], 4)
    terms: list[listed.ListedTerm] = []
    pulls: dict[tuple[int, int], Fraction] = {}
    for batch, weight in batches:
        for i in batch:
            positives = {j: Fraction(4 if i == j else 1) for j in batch if own[i] == own[j]}
            total = weight * sum(positives.values(), Fraction(0))
            terms.append(listed.ListedTerm(total, np.full(3, i), np.array(batch), np.zeros(3)))
            for j, pull in positives.items():
                pulls[i, j] = pulls.get((i, j), Fraction(0)) + weight * pull
    whole = sum((term.weight for term in terms), Fraction(0))
    shares = tuple(term._replace(weight=term.weight / whole) for term in terms)
    loss = listed.ListedLoss(8, shares, {pair: pull / whole for pair, pull in pulls.items()}, 2.0)
    return loss, 2 - (own[:, None] == own) - np.eye(8, dtype=int)


def latin_square():
    """All 4-cliques of the graph of a Latin square of order 5 that is no group's."""
    square = ["01234", "10342", "23401", "34120", "42013"]
    cells = list(itertools.product(range(5), repeat=2))

    def colour(a, b):
        alike = a[0] == b[0] or a[1] == b[1] or square[a[0]][a[1]] == square[b[0]][b[1]]
        return 0 if a == b else 1 if alike else 2

    colours = np.array([[colour(a, b) for a in cells] for b in cells])
    near = [{*np.flatnonzero(row == 1).tolist()} for row in colours]
    cliques = [
        (i, j, k, other)
        for i in range(25)
        for j in near[i]
        for k in near[i] & near[j]
        for other in near[i] & near[j] & near[k]
        if i < j < k < other
    ]
    return listed.info_nce_batches(25, cliques, 1.0), colours


def pairwise_balanced():
    """Batches of two sizes that cover every pair once."""
    loss = listed.info_nce_batches(4, [(0, 1, 2), (0, 3), (1, 3), (2, 3)], 1.0)
    return loss, 1 - np.eye(4, dtype=int)


@pytest.mark.parametrize(
    ("family", "least"), [(pairwise_balanced, 5e-3), (two_classes, 5e-5), (latin_square, 1e-3)]
)
def test_pair_colours_alone_do_not_suffice(family, least):
    loss, colours = family()
    closure = close(loss)
    solved = solve_program(Program(closure.algebra, closure.terms))
    assert solved.gap < GAP
    assert closure.algebra.num_colours > colours.max() + 1
    assert restricted(loss, colours).lower > solved.value + least
    found, _ = free_minimum(loss)
    assert solved.lower <= found <= solved.value + FREE


def test_a_fano_plane_is_as_good_as_all_batches():
    """7 of the 35 batches of 3 out of 7 give the simplex."""
    for towers in (False, True):
        seven, all_batches = (
            close(listed.info_nce_batches(7, batches, 0.3, towers=towers))
            for batches in (FANO, listed.all_subsets(7, 3))
        )
        one, other = (solve_program(Program(c.algebra, c.terms)) for c in (seven, all_batches))
        assert one.value == pytest.approx(other.value, abs=GAP)
        assert np.max(np.abs(np.sort(one.x)[:1] + 1 / 6)) < 1e-6


# ------------------------------------------------------------------- free minima, gaps, brackets

CASES = {
    "towers": listed.info_nce_batches(5, listed.all_subsets(5, 3), 0.4, towers=True),
    "fano": listed.info_nce_batches(7, FANO, 0.5),
    "no design": listed.info_nce_batches(5, [(0, 1), (1, 2, 3), (3, 4), (0, 4, 2)], 0.5),
    "random batches of classes": listed.supcl_batches(
        BALANCED(2, 3), listed.all_subsets(6, 3), Fraction(7, 10), 0.5
    ),
    "unequal classes in batches": listed.supcl_batches(
        ClassStructure((3, 2)), listed.all_subsets(5, 3), Fraction(1, 2), 0.6, mean="anchors"
    ),
    "all anchors": listed.supcl_batches(
        ClassStructure((4, 1)), [tuple(range(5))], Fraction(3, 10), 0.5
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_free_minima_agree_and_lie_in_their_brackets(name):
    loss = CASES[name]
    closure = close(loss)
    program = Program(closure.algebra, closure.terms)
    solved = solve_program(program)
    assert solved.gap < GAP
    value, gram = free_minimum(loss)
    assert solved.lower <= value <= solved.value + FREE
    level = Level(program, value, solved)
    for orbit, (c, t) in enumerate(program.algebra.orbits):
        mean = gram[(closure.colours == c) | (closure.colours == t)].mean()
        low, high = level.bracket(np.eye(program.num_variables)[orbit])
        assert low - 1e-12 <= mean <= high + 1e-12
        assert low <= solved.x[orbit] <= high


def test_the_mean_over_all_anchors_is_another_loss():
    loss = CASES["all anchors"]
    closure = close(loss)
    solved = solve_program(Program(closure.algebra, closure.terms))
    made = Program(
        built.classes(ClassStructure((4, 1))),
        kinds.supcl_terms(ClassStructure((4, 1)), 0.3, 0.5, mean="all"),
    )
    again = solve_program(made)
    assert again.value == pytest.approx(solved.value, abs=GAP)
    within = made.entries(again.x)[Kind("within", "4", "4")]
    assert (1 - within) * 3 / 4 == pytest.approx(0.0790, abs=5e-5)  # δ² of the class of 4


@pytest.mark.parametrize("batches", [((0, 1, 2, 3), (4, 5, 6, 7)), (range(6), (4, 5, 6, 7, 0, 2))])
def test_what_a_loss_does_not_know_of_costs_no_digits(batches):
    """Between batches similarities are free in [0, 1], with the curvature of the barrier alone;
    others are at their bounds."""
    structure = ClassStructure((2, 2, 2, 2))
    found = close(listed.supcl_batches(structure, batches, 0, 0.5, self_pairs="exclude"))
    solved = solve_program(Program(found.algebra, found.terms, 0.0))
    assert 0 <= solved.gap < 1e-12


def test_only_multipliers_of_the_right_sign_prove_anything():
    """A method that has lost its way may hand over any: bounds are those of the nearest allowed."""
    structure = BALANCED(3, 2)
    program = Program(built.classes(structure), kinds.supcl_terms(structure, 0.6, 0.3), lower=0.0)
    solved = solve_program(program)
    level, tilt = Level(program, solved.value + 1e-5, solved), np.eye(program.num_variables)[0]
    path = solved.path
    assert level.bound(path, tilt) >= solved.x[0]
    for weight in (-1.0, 0.0, np.nan, np.inf):
        assert level.bound(path._replace(weight=np.array([weight])), tilt) == np.inf
    lost = path._replace(duals=[-dual for dual in path.duals])
    assert lower_bound(program, _point(program, lost))[0] <= solved.value


def test_brackets_are_outer_and_tight():
    """Against the feasible points of zero mean, on which the widest ones lie."""
    structure = BALANCED(3, 4)
    program = Program(built.classes(structure), kinds.supcl_terms(structure, 0.6, 0.3))
    solved = solve_program(program)
    level = Level(program, solved.value + 1e-5, solved)

    def along(within):
        return np.array([within, -(1 + 3 * within) / 8])

    ends = []
    for outside in (-1 / 3, 1.0):
        inside = solved.x[0]
        for _ in range(50):
            middle = (inside + outside) / 2
            good = program.value(along(middle)) <= level.level
            inside, outside = (middle, outside) if good else (inside, middle)
        ends.append(along(inside))
    for row, true in zip(np.eye(2), np.sort(ends, axis=0).T, strict=True):
        low, high = level.bracket(row)
        assert low <= true[0] <= true[1] <= high
        assert true[1] - true[0] > 0.99 * (high - low)


WIDTHS = {
    # One class at a time, by points on spheres whose squares are variances: δ², mean squared.
    ((8, 4, 2), 1, "pairs", 0.05, 1.0): (3.8e-13, 2.1e-7),
    ((8, 4, 2), 1, "pairs", 0.4, 0.3): (7.4e-7, 5.5e-7),
    ((5, 3), 1, "anchors", 0.9, 0.1): (4.8e-1, 5.5e-7),
    ((4, 2, 1), 2, "pairs", 0.4, 1.0): (8.2e-13, 2.2e-7),
}
"""Widths at a gap of 1e-13 to 6e-13. Seen of orbits: 0.8 to 1 times as wide, 4e-7 for 4.8e-1."""


@pytest.mark.parametrize("case", WIDTHS, ids=str)
def test_brackets_have_the_digits_of_variances_that_vanish(case):
    sizes, views, mean, alpha, tau = case
    structure = ClassStructure(sizes, views)
    loss = SupCL(alpha, tau, mean=mean)
    arrangement, program = arranged(loss, structure), program_of(loss, structure)
    solved = solve_program(program)
    assert solved.gap < 5e-13
    low, high = quantity_ends(arrangement, structure, [Level(program, solved.value, solved)])
    places = [QUANTITIES.index(name) for name in ("delta2", "mean_squared")]
    widths = (high - low)[0, places]
    assert np.all(widths <= 1.1 * np.array(WIDTHS[case]))
    known = quantities_of(arrangement, structure)
    values = (known.slopes @ solved.x + known.constants)[places]
    assert np.all(low[0, places] - 1e-15 <= values)
    assert np.all(values <= high[0, places] + 1e-15)


NAMED = {
    "prototypes": (
        built.prototypes((5, 5, 3, 3, 2)),
        kinds.prototype_terms((5, 5, 3, 3, 2), 0.5),
        None,
    ),
    "cross-modal": (
        built.towers(built.classes(BALANCED(3, 4)), swap=True),
        kinds.cross_modal_terms(BALANCED(3, 4), 0.4, 0.5),
        None,
    ),
    "sigmoid": (
        built.towers(built.points(7), swap=True),
        kinds.two_tower_sigmoid_terms(7, 10.0, 3.0),
        None,
    ),
    "a million": (
        built.classes(BALANCED(1000, 1000)),
        kinds.random_batch_terms(BALANCED(1000, 1000), 256, 0.995, 0.5),
        None,
    ),
    "100 classes": (
        built.classes(ClassStructure((8,) * 40 + (4,) * 30 + (2,) * 30)),
        kinds.supcl_terms(ClassStructure((8,) * 40 + (4,) * 30 + (2,) * 30), 0.3, 0.3),
        None,
    ),
    "nonnegative": (
        built.classes(ClassStructure((5, 3, 2))),
        kinds.supcl_terms(ClassStructure((5, 3, 2)), 0.6, 0.5),
        0.0,
    ),
    "a bound that nothing meets": (
        built.classes(BALANCED(3, 4)),
        kinds.supcl_terms(BALANCED(3, 4), 0.6, 0.5),
        -0.9,
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_solutions_are_certified(name):
    algebra, terms, lower = NAMED[name]
    program = Program(algebra, terms, lower)
    solved = solve_program(program)
    assert 0 <= solved.gap < GAP
    rng = np.random.default_rng(0)
    for size in (1e-6, 1e-3, 0.1):  # no feasible point beats the bound
        other = (1 - size) * solved.x + size * np.abs(rng.normal(size=solved.x.shape))
        least = least_eigenvalue(algebra, np.ones(len(algebra.points)), other)
        other = other / (1 - least)
        if lower is None or other.min() >= lower:
            assert program.value(other) > solved.lower


# ------------------------------------------------------------------------------------- rounding


def exactly(program, x):
    """(f, minorant at the corner y = 1, sum of shares used) in balls."""
    ctx.prec = 200
    try:
        weights, logs, slopes, orbits = program.slots
        apart = [1 - arb(v) for v in [*x.tolist(), 1.0]]
        total = arb(program.terms.constant)
        for w, ls, ss, os in zip(
            weights.tolist(), logs.tolist(), slopes.tolist(), orbits.tolist(), strict=True
        ):
            parts = [
                (arb(log) - arb(slope) * apart[o]).exp()
                for log, slope, o in zip(ls, ss, os, strict=True)
                if log > -math.inf
            ]
            total += arb(w) * sum(parts, arb(0)).log()
        total += sum(
            (arb(w) * a for w, a in zip(program.pulls.tolist(), apart, strict=False)), arb(0)
        )
        return total
    finally:
        ctx.prec = 53


@pytest.mark.parametrize("temperature", [0.02, 0.3, 5.0])
def test_values_and_minorants_are_right_to_their_margins(temperature):
    structure = ClassStructure((5, 3, 2))
    program = Program(
        built.classes(structure), kinds.supcl_terms(structure, 0.4, temperature, mean="anchors")
    )
    rng = np.random.default_rng(3)
    for _ in range(10):
        x = rng.uniform(-1, 1, program.num_variables)
        exact = float(exactly(program, x))
        upper = program.upper_value(x)
        assert exact <= upper <= exact + 1e-11 / temperature
        cut = program.minorant(x)
        assert cut.here - cut.margin <= exact
        y = rng.uniform(-1, 1, program.num_variables)
        assert cut.here + cut.slope @ (y - x) - cut.margin <= float(exactly(program, y))
        assert cut.margin < 1e-11 / temperature


def test_a_wrong_numpy_is_refused(monkeypatch):
    monkeypatch.setattr(rounding, "errors_in_ulps", lambda *_: np.array([7.0]))
    with pytest.raises(ValueError, match=r"exp of NumPy errs by 7 .* Use another version of NumPy"):
        rounding.check_numpy.__wrapped__()


# -------------------------------------------------------------------------------------- refusals


def one_slot(weight=1.0):
    return Term(weight, (Slot(Kind("self"), 0.0, 1.0),))


def batches(*given, weights=None, size=4):
    return lambda: listed.info_nce_batches(size, given, 0.5, weights)


REFUSED = [
    (lambda: copies(point(), 0, "x"), r"number of copies must be an integer of at least 1; got 0"),
    (lambda: beside(point("a"), point("a"), "x"), r"fibres of different names; both have 'a'"),
    (lambda: built.points(3).colour(("view", "", "")), r"no pair of the kind view; the kinds are"),
    (lambda: built.points(MOST_POINTS + 1), r"at most 2000000 points are counted exactly; got"),
    (
        lambda: close(listed.info_nce_batches(LISTED_LIMIT + 1, [range(LISTED_LIMIT + 1)], 0.5)),
        r"searched for up to 300 embeddings; got 301. Build the structure",
    ),
    (
        lambda: Program(built.points(3), Terms((), {}), lower=1.0),
        r"cannot all be at least 1, or are all 1; give a bound below 1",
    ),
    (lambda: Terms((one_slot(-1.0),), {}), r"finite and not negative, or the loss is not convex"),
    (lambda: Terms((Term(1.0, ()),), {}), r"a term needs a slot"),
    (batches((0, 1), (2, 2, 3)), r"a batch has an index twice; got \[2, 2, 3\]"),
    (batches((0, 1, 2), (3,)), r"a batch needs 2 points at least to contrast them; got \[3\]"),
    (batches((0, 1, 2, 4)), r"indices must be integers from 0 to 3; got"),
    (batches((0, 1, 2, 3), weights=[-1]), r"weight of a batch must not be negative; got -1"),
    (batches((0, 1, 2, 3), weights=[0]), r"must be a batch of positive weight; got none"),
    (batches((0, 1, 2, 3), weights=[1, 1]), r"every batch needs a weight; got 2 for 1 batches"),
    (batches((0, 1, 2)), r"every point must be in a batch; point 3 is in none"),
    (
        lambda: listed.ListedLoss(
            2, (listed.ListedTerm(Fraction(-1), *map(np.array, ([0], [1], [0.0]))),), {}, 1.0
        ),
        r"weight of a term must not be negative, or the loss is not convex; got -1",
    ),
    (
        lambda: listed.supcl_batches(
            BALANCED(2, 2), [range(4)], Fraction(1, 2), 1.0, self_pairs="exclude"
        ),
        r"num_views must be at least 2 when alpha > 0 and self pairs are excluded; got 1",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_algebra_that_is_none_has_no_blocks():
    good = built.points(4)
    triples = good.triples.copy()
    triples[triples[:, 3] == 2, 3] = 3
    wrong = Algebra(**{**vars(good), "triples": triples})
    with pytest.raises(ValueError, match=r"no random element separates the blocks of 2 colours"):
        block_diagonalise(wrong)
