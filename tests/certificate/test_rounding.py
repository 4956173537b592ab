"""Every margin against ball arithmetic, where it stands alone: without it, these tests fail."""

import dataclasses
from fractions import Fraction

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb, ctx, fmpq
from oracles import contrasted, positives

from ssem_jax import SupCL
from ssem_jax.certificate import brackets, certificates, certify_embeddings, dual, rounding
from ssem_jax.certificate.eigenbound import factored, factored_in_place, lanczos_bound
from ssem_jax.certificate.rounding import EXP_ULPS, LOG_ULPS, arguments_of, errors_in_ulps
from ssem_jax.compute.kernels import Kernel
from ssem_jax.geometry import sphere
from ssem_jax.losses import WeightedSupCL, gram_loss, tiles
from ssem_jax.problem import ClassStructure

IDLE = 1e-3
"""A margin is of the size of what it bounds: worst cases of N roundings are √N times what
happens, and several of them are counted for every one that is made."""

MARGINS = [
    # structure, self pairs, τ: sharp and flat, views, decoupled, and one of a size that sums show
    (ClassStructure((4, 4)), "include", 0.02),
    (ClassStructure((5, 3)), "include", 0.5),
    (ClassStructure((3, 2, 2), 2), "exclude", 0.1),
    (ClassStructure((3, 3), 2), "decouple", 0.1),
    (ClassStructure((40, 24)), "include", 0.1),
]
LARGE = pytest.param(ClassStructure((256, 256)), "include", 0.1, marks=pytest.mark.slow)


@pytest.mark.parametrize(("name", "allowed"), [("exp", EXP_ULPS), ("log", LOG_ULPS)])
def test_exp_and_log_are_right_over_their_range(name, allowed):
    arguments = arguments_of(name, 20_000, seed=1)
    for values in (jax.jit(getattr(jnp, name))(arguments), getattr(jnp, name)(arguments[:7])):
        values = np.asarray(values)
        worst = errors_in_ulps(name, arguments[: len(values)], values).max()
        assert worst <= allowed
    assert errors_in_ulps("exp", np.array([-1.0]), np.array([np.exp(-1) * (1 + 2**-50)])) > 2


def test_a_function_that_is_not_right_certifies_nothing(monkeypatch):
    monkeypatch.setattr(rounding, "EXP_ULPS", 0.1)
    rounding._check_functions.cache_clear()
    with pytest.raises(ValueError, match=r"exp on .* errs by .* and margins allow 0\.1: no cert"):
        rounding.check_functions()
    monkeypatch.undo()
    rounding.check_functions()


def test_functions_are_checked_as_kernels_compile_them(monkeypatch):
    """Those of brackets in one piece of code and in full vectors: loops of another kind."""
    made, compared = [], []

    class Watched(Kernel):
        def __call__(self, *arguments):
            made.append(self.full_vectors)
            return super().__call__(*arguments)

    monkeypatch.setattr(rounding, "Kernel", Watched)
    monkeypatch.setattr(rounding, "_compare", lambda *given: compared.append(given[2:]))
    rounding._check_functions.__wrapped__("here")
    for exp, log in compared:
        assert exp(jnp.zeros(3))[2] == 1
        assert log(jnp.ones(3))[2] == 0
    assert len(compared) == 3
    assert made == [False, False, True, True]


def test_gamma_is_the_count_of_roundings():
    """0.1 added up 2¹⁶ times, and 1 + u raised to a power: nearly the worst that can happen."""
    for count in (10, 2**16):
        grown = (1 + Fraction(1, 2**53)) ** count - 1
        assert grown <= Fraction(rounding.gamma(count)) <= grown * Fraction(1001, 1000)


@pytest.mark.parametrize("dim", [2, 25, 512])
def test_gram_entries(dim):
    """Of rows as they come, of any length, normalised in floats, against exact ones."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(6, dim)) * np.geomspace(1e-3, 1e3, 6)[:, None]
    unit = sphere.normalize(jnp.asarray(rows))
    found, balls = np.asarray(unit @ unit.T), exact.unit_gram(rows)
    errors = [abs(float(arb(float(found[i, j])) - balls[i][j])) for i in range(6) for j in range(i)]
    assert 0 < max(errors) <= rounding.gram_entry(dim)


def exact_weights(structure, loss):
    """W, as the fractions of the definition."""
    size, alpha = structure.num_embeddings, Fraction(float(loss.alpha))
    weights = [[Fraction(0)] * size for _ in range(size)]
    kinds = positives(structure, loss.self_pairs, loss.mean)
    for mixing, pairs in zip((1 - alpha, alpha), kinds, strict=True):
        for (i, j), divisor in pairs.items():
            weights[i][j] += mixing / divisor
    return weights


def ball(number):
    number = Fraction(number)
    return arb(fmpq(number.numerator, number.denominator))


def exact_value(gram, weights, members, tau):
    """The loss at a Gram matrix of floats or balls."""
    value = arb(0)
    for i, row in enumerate(weights):
        anchor = sum(row)
        if not anchor:
            continue
        total = sum((((gram[i][j] - 1) / tau).exp() for j in members[i]), arb(0)).log()
        pull = sum((ball(w) * (1 - gram[i][j]) for j, w in enumerate(row) if w), arb(0))
        value += ball(anchor) * total + pull / tau
    return value


class Parts:
    """What `_gibbs` made of random embeddings, with one margin at a time; and the exact parts."""

    def __init__(self, monkeypatch, structure, self_pairs, tau, seed=0):
        self.patch, self.structure = monkeypatch, structure
        self.loss = SupCL(0.3, tau, self_pairs)
        size = structure.num_embeddings
        rng = np.random.default_rng(seed)
        self.rows = rng.normal(size=(size, min(size, 24)))
        self.rows[size // 2 :] = self.rows[: size - size // 2] + 0.1 * self.rows[size // 2 :]
        unit = sphere.normalize(jnp.asarray(self.rows))
        self.gram = jnp.fill_diagonal(unit @ unit.T, 1.0, inplace=False)
        self.form = self.loss.softmax(self.loss.prepare(structure))
        self.weights = exact_weights(structure, self.loss)
        self.members = contrasted(structure, self_pairs)
        self.tau = ball(tau)

    def gibbs(self, kept):
        """The minorant with all margins but one taken away."""
        seen = []
        stochastic = dual._stochastic

        def watched(*arguments):
            seen.append(stochastic(*arguments))
            return seen[-1]

        with self.patch.context() as patch:
            patch.setattr(dual, "_stochastic", watched)
            for name in ("softmax_value", "softmax_moved", "softmax_entropy", "softmax_slope"):
                if name != kept:
                    patch.setattr(rounding, name, lambda *_: 0.0)
            found = dual._gibbs(self.form, self.gram, self.rows.shape[1])
        return found, np.asarray(seen[0])

    def exact_gram(self):
        return [[ball(float(x)) for x in row] for row in np.asarray(self.gram)]


@pytest.fixture
def balls():
    before, ctx.prec = ctx.prec, 160
    yield
    ctx.prec = before


@pytest.mark.parametrize(("structure", "self_pairs", "tau"), [*MARGINS, LARGE])
def test_the_value_at_a_given_gram_matrix(monkeypatch, balls, structure, self_pairs, tau):
    parts = Parts(monkeypatch, structure, self_pairs, tau)
    found, _ = parts.gibbs("softmax_value")
    value = exact_value(parts.exact_gram(), parts.weights, parts.members, parts.tau)
    error = abs(float(value - ball(float(found.value))))
    assert 0 < error <= float(found.value_rounding)


@pytest.mark.parametrize(("structure", "self_pairs", "tau"), MARGINS)
def test_the_value_of_exact_unit_rows(monkeypatch, balls, structure, self_pairs, tau):
    """Between the loss at the G that was computed and at that of the rows: both in balls."""
    parts = Parts(monkeypatch, structure, self_pairs, tau)
    found, _ = parts.gibbs("softmax_moved")
    computed = exact_value(parts.exact_gram(), parts.weights, parts.members, parts.tau)
    true = exact_value(exact.unit_gram(parts.rows), parts.weights, parts.members, parts.tau)
    assert 0 < abs(float(true - computed)) <= float(found.value_rounding)


@pytest.mark.parametrize(("structure", "self_pairs", "tau"), [*MARGINS, LARGE])
def test_the_minorant(monkeypatch, balls, structure, self_pairs, tau):
    """Rows of P add up to 1 exactly, on the support; entropies and slopes err by their margins."""
    parts = Parts(monkeypatch, structure, self_pairs, tau)
    (bare, shares), (found, _) = parts.gibbs(None), parts.gibbs("softmax_entropy")
    steep, _ = parts.gibbs("softmax_slope")
    size = len(shares)
    slopes, entropy, error = np.asarray(found.slope), arb(0), arb(0)
    true = [[arb(0)] * size for _ in range(size)]
    for i, row in enumerate(parts.weights):
        anchor = ball(sum(row))
        assert sum(map(Fraction, shares[i].tolist())) == 1
        assert set(np.flatnonzero(shares[i])) <= set(parts.members[i])
        for j in np.flatnonzero(shares[i]):
            share = ball(float(shares[i, j]))
            entropy -= anchor * share * share.log()
            true[i][j] += anchor * share / parts.tau
        for j, weight in enumerate(row):
            true[i][j] -= ball(weight) / parts.tau
    for i in range(size):
        for j in range(size):
            error += abs(true[i][j] - ball(float(slopes[i, j])))
    missed = abs(float(entropy - ball(float(bare.lower))))
    assert 0 < missed <= float(bare.lower - found.lower)
    assert 0 < float(error) <= float(bare.lower - steep.lower)
    grown = max(1.0, (size / 64) ** 0.5)  # of 512 roundings three times more than of 64 is idle
    assert float(error) >= IDLE / grown * float(bare.lower - steep.lower)


@pytest.mark.parametrize("size", [8, 64, 512])
def test_the_sum_of_multipliers_and_the_diagonal(size):
    rng = np.random.default_rng(size)
    slope, found = rng.normal(size=size), rng.normal(size=size) + 3
    diagonal = np.asarray(jnp.asarray(slope) + jnp.asarray(found))
    # What the matrix holds are multipliers S_ii - M_ii; what is summed are the λ_i.
    meant = sum(
        (Fraction(float(d)) - Fraction(float(s)) for d, s in zip(diagonal, slope, strict=True)),
        Fraction(0),
    )
    error = abs(float(meant - Fraction(float(jnp.sum(jnp.asarray(found))))))
    margin = rounding.multipliers(size, np.abs(found).sum(), np.abs(diagonal).sum())
    assert 0 < error <= margin


@pytest.mark.parametrize("self_pairs", ["include", "exclude", "decouple"])
@pytest.mark.parametrize("shape", [(2, 3, 1), (2, 3, 2), (3, 2, 4)])
def test_a_cut_counts_the_pulls_of_pairs_that_can_move(monkeypatch, shape, self_pairs):
    """Self pairs are positives without a slope: of p views, one is the anchor itself."""
    loss, seen = SupCL(0.3, 0.5, self_pairs), []
    structure = ClassStructure.balanced(*shape)
    blocks = loss.prepare_blocks(structure)
    monkeypatch.setattr(rounding, "block_slope", lambda *counts: seen.append(counts) or 2.0)
    monkeypatch.setattr(rounding, "block_value", lambda *counts: seen.append(counts) or 3.0)
    slopes = tuple(map(jnp.asarray, (1.0, 2.0, -3.0)))
    assert brackets._margin_of_contrast(loss, blocks)(jnp.asarray(1.0), slopes) == 5
    num_pairs, logarithms = seen[0]
    assert num_pairs == structure.num_embeddings
    assert logarithms == (9 if self_pairs == "decouple" else 1)
    pulls, loose, steep = map(float, seen[1])
    parts = zip((0.7, 0.3), positives(structure, self_pairs, "pairs"), strict=True)
    weights = [share / count for share, of in parts for (i, j), count in of.items() if i != j]
    assert pulls == pytest.approx(sum(weights) / 0.5, rel=1e-12)
    assert loose == (0 if self_pairs == "include" else 2)
    assert steep == 6


def test_a_tangent_lies_below_the_loss_by_all_of_its_margins():
    """Of a loss whose terms cancel, so that no margin hides in its last bit."""

    @gram_loss(convex=True)
    def steep(gram, structure):
        return 1e6 * (jnp.mean(gram) - jnp.mean(gram**2)) + jnp.mean(gram)

    structure, loss = ClassStructure((2, 2)), steep()
    gram = jnp.fill_diagonal(jnp.full((4, 4), 0.25), 1.0, inplace=False)
    prepared = loss.prepare(structure)
    found = dual._tangent(loss, prepared, gram, 3)
    terms = loss.sensitivity(gram, prepared)
    evaluation = rounding.evaluation(4) * loss.magnitude(found.value, terms)
    expected = evaluation + rounding.tangent_slope(4, terms)
    assert found.value - found.lower == pytest.approx(float(expected), rel=1e-2)
    moved = rounding.gram_entry(3) * terms
    assert found.value_rounding == pytest.approx(float(evaluation + moved), rel=1e-12)


def test_products_with_a_dual_are_bounded_with_room_for_their_rounding(monkeypatch):
    structure, loss = ClassStructure((3, 2)), SupCL(0.3, 0.5)
    rows = sphere.normalize(jnp.asarray(np.random.default_rng(0).normal(size=(5, 4))))
    seen = []

    def watched(product, size, norm, error, *others):
        seen.append((norm, error))
        return lanczos_bound(product, size, norm, error, *others)

    monkeypatch.setattr(dual, "lanczos_bound", watched)
    found = dual.bound_by_products(loss, structure, rows, jax.random.key(0))
    relative = rounding.blockwise_slope(5, 4, 0.5)
    plain = float(tiles.blockwise_dual(loss, rows, structure).norm)
    assert seen == [(plain * (1 + 2 * relative), plain * (1 + 2 * relative) * relative)]
    assert found.lower < found.value


def test_levels_and_lower_bounds_are_on_their_sides(monkeypatch):
    """Values fall on both sides of the exact loss; the level of brackets never falls below it."""
    structure, levels = ClassStructure((4, 4)), []
    brackets = certificates.brackets_of

    def recorded(losses, structure, found, level):
        levels.extend(level)
        return brackets(losses, structure, found, level)

    monkeypatch.setattr(certificates, "brackets_of", recorded)
    below = 0
    for seed in range(12):
        rows = np.random.default_rng(seed).normal(size=(8, 8))
        loss = SupCL(0.6, 0.1)
        found = certify_embeddings(rows, structure, loss)
        value = exact.loss_at(exact.unit_gram(rows), structure, loss)
        assert value <= arb(float(levels[-1]))
        assert arb(float(found.lower)) <= value
        assert arb(float(found.lower)) + arb(float(found.gap)) >= value
        below += bool(arb(float(found.value)) < value)
    assert 0 < below < 12  # without the margin, these levels would be too low


@pytest.mark.parametrize("way", [lambda a: factored(jnp.asarray(a)), factored_in_place])
def test_what_a_tolerance_would_hide(way):
    """Entries of 2²⁰ and a violation of 2⁻¹⁸ in every direction: 4e-12 of ‖S‖ and of no account to
    a certifier with a tolerance, but a gap of N 2⁻¹⁸ > 1e-3."""
    size = 300
    matrix = np.full((size, size), 2.0**20) - 2.0**-18 * np.eye(size)
    assert float(way(matrix).pairing(size)) <= -size * 2.0**-18 < -1e-3


@pytest.mark.parametrize("beyond", [1e-7, 1e-5, 1e-3])
def test_nearly_singular_duals(beyond):
    """Collapse just above its threshold: λ_min is small and negative, and the excess smaller."""
    from ssem_jax import theory
    from ssem_jax.geometry import ssem_embeddings

    structure, tau = ClassStructure.balanced(3, 4), 0.5
    loss = SupCL(float(theory.alpha_c(3, 4, 1, tau)) + beyond, tau)
    found = certify_embeddings(np.asarray(ssem_embeddings(structure, 0.0, 12)), structure, loss)
    assert found.eigenvalue < 0
    assert float(found.lower) <= float(theory.loss(3, 4, 1, loss.alpha, tau)) + 1e-15
    assert found.gap >= 0.01 * beyond  # of the size of N λ_min, and not of the excess


def test_a_loss_below_a_lower_bound_is_a_contradiction():
    """A certificate of another loss as reference: its bound is false here."""
    structure = ClassStructure((2, 2))
    rows = np.random.default_rng(0).normal(size=(4, 4))
    other = certify_embeddings(rows, structure, SupCL(0.9, 0.2))
    far = dataclasses.replace(other, lower=jnp.asarray(100.0))
    with pytest.raises(ValueError, match="a contradiction in cell 0: embeddings of loss"):
        certify_embeddings(rows, structure, SupCL(0.9, 0.2), reference=far)


def test_weights_have_no_more_roundings_than_are_counted():
    """Class weights whose sums round, as fractions."""
    structure, given = ClassStructure((7, 5, 3)), (0.1, 0.7, 1.3)
    for mean in ("pairs", "anchors"):
        loss = WeightedSupCL(0.3, 0.5, given, "include", mean)
        weights = np.asarray(loss.softmax(loss.prepare(structure))[0])
        true = exact_class_weights(structure, loss)
        worst = max(abs(Fraction(float(weights[i, j])) / w - 1) for (i, j), w in true.items() if w)
        assert 0 < worst <= Fraction(rounding.gamma(rounding.WEIGHT_ROUNDINGS))


def exact_class_weights(structure, loss):
    """W of WeightedSupCL as fractions."""
    alpha, ids = Fraction(float(loss.alpha)), structure.class_ids
    omega = [Fraction(loss.class_weights[k]) for k in ids]
    weights = {}
    kinds = positives(structure, loss.self_pairs, loss.mean)
    for mixing, pairs in zip((1 - alpha, alpha), kinds, strict=True):
        anchors = sorted({i for i, _ in pairs})
        counts = {i: sum(1 for a, _ in pairs if a == i) for i in anchors}
        if loss.mean == "pairs":
            total = sum(omega[i] for i, _ in pairs)
        else:
            total = sum(omega[i] for i in anchors)
        for i, j in pairs:
            each = 1 if loss.mean == "pairs" else counts[i]
            weights[i, j] = weights.get((i, j), 0) + mixing * omega[i] / each / total
    return weights


LOG = np.log(10)
LEDGER = [
    (rounding.gram_entry(5), 18),
    (rounding.softmax_value(10, 1.0, 0.0, 0.0), 14 + 3 * LOG),
    (rounding.softmax_value(10, 0.0, 1.0, 0.0), 34),
    (rounding.softmax_value(10, 0.0, 0.0, 1.0), 35),
    (rounding.softmax_moved(10, 5, 0.0, 1.0, 1.0), 18),
    # Of second order: (2·18/τ of the exponential, and 4N + 64 + 12/τ) · 18/τ.
    (rounding.softmax_moved(10, 5, 1.0, 0.0, 0.5), (72 + 128) * 36 * rounding.UNIT),
    (rounding.softmax_entropy(10, 1.0), 48),
    (rounding.softmax_slope(10, 1.0, 0.5), 92),
    (rounding.multipliers(10, 1.0, 0.0), 18),
    (rounding.multipliers(10, 0.0, 1.0), 2),
    (rounding.evaluation(10), 164),
    (rounding.tangent_slope(10, 1.0), 2.01 * 166),
    (rounding.cancelled_multipliers(10, 1.0, 0.0), 18),
    (rounding.cancelled_multipliers(10, 0.0, 1.0), 2),
    (rounding.blockwise_value(10, 5, 1.0, 0.0, 0.5), 18 + 3 * LOG + 12 + 328 + 72),
    (rounding.blockwise_value(10, 5, 0.0, 1.0, 0.5), 36),
    (rounding.blockwise_slope(10, 5, 0.5), 72 + 32 + 74 + 8 * LOG),
    (rounding.blockwise_pairs(10, 5, 1.0, 0.5), 4 * (72 + 32 + 74 + 8 * LOG + 19)),
    (rounding.block_value(10, 0.0), 6 * LOG + 17),
    (rounding.block_value(1, 1.0), 17 + 12),
    (rounding.block_slope(1.0, 0.0, 0.0), 10),
    (rounding.block_slope(0.0, 1.0, 0.0), 20),
    (rounding.block_slope(0.0, 0.0, 1.0), 30),
    (rounding.block_excess(1.0), 9),
    (rounding.block_other(None, 1.0, 0.0), 64),
    (rounding.block_other(None, 0.0, 1.0), 128),
    (rounding.block_other(10, 1.0, 0.0), 164),
    (rounding.block_end(3.0), 60),
    (rounding.block_end(0.5), 20),
    (rounding.class_program(3, 10), 30 + 3 * LOG),
    (rounding.orbit_value(12, 4, 1.0, 0.0, 0.0), 20),
    (rounding.orbit_value(12, 4, 0.0, 1.0, 0.0), 16),
    (rounding.orbit_value(12, 4, 0.0, 0.0, 1.0), 36),
    (rounding.orbit_minorant(12, 4, 1.0, 0.0, 0.0), 8 * (1 + np.log(4)) + 10),
    (rounding.orbit_minorant(12, 1, 1.0, 0.0, 0.0), 5 * (1 + np.log(2)) + 10),
    (rounding.orbit_minorant(12, 4, 0.0, 1.0, 0.0), 32),
    (rounding.orbit_minorant(12, 4, 0.0, 0.0, 1.0), 76),
    (rounding.orbit_dual(5, 1.0), 17),
    (rounding.represented(4, 1.0), 12),
    (rounding.factor_shift(3, 0.0, 0.0, 1.0), 7),
]
"""Margins with one argument alone that is not 0, and their roundings, counted by hand with exp of
4, log of 2 and a weight of 8: the counts that no computed loss comes near enough to tell apart."""


@pytest.mark.parametrize("place", range(len(LEDGER)))
def test_every_margin_is_the_count_of_its_derivation(place):
    margin, roundings = LEDGER[place]
    assert float(margin) / rounding.UNIT == pytest.approx(float(roundings), rel=1e-5)


@pytest.mark.parametrize("size", [3, 30])
@pytest.mark.parametrize("alone", ["shift", "rest"])
def test_a_factor_is_shifted_by_more_than_its_residual(size, alone):
    given = {"shift": 0.0, "rest": 0.0, "squares": 0.0, alone: 1.0}
    excess = rounding.factor_shift(size, **given) - 1
    assert excess / rounding.UNIT == pytest.approx(size * size + 8, abs=2)
