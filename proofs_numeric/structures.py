"""Beyond one balanced batch: random batches, two towers, nonnegative embeddings, kinds of pairs.

Every threshold is judged on both sides of it, and every optimum by brackets over all embeddings
that are as good; see :mod:`reduced`.
"""

import itertools
from collections.abc import Iterator

from proofs_numeric.reduced import Cell, both_sides, differ, equals, judged
from ssem_jax import theory
from ssem_jax.certificate.symmetry import Closure, close
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.claims import Theorem, Verdict
from ssem_jax.losses import kinds, listed
from ssem_jax.losses.terms import BETWEEN, OTHER, SELF, WITHIN, Kind
from ssem_jax.problem import ClassStructure

SOURCE = "derived here: averages over a coherent algebra raise no convex loss of this form"
FANO = ((0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5))
"""The lines of the plane of order 2: 7 of the 35 triples of 7 points, every pair once."""
TEMPERATURES = (0.3, 0.8)
ENTRY = 1e-4
"""Accuracy of similarities at an optimum: brackets of cells whose gap is 1e-12 are 1e-5 wide."""


def _kind(relation: str, size: int) -> Kind:
    return Kind(relation, str(size), str(size))


def _stratified() -> Iterator[Cell]:
    for (m, n, p), batch, self_pairs in (
        ((4, 6, 1), (2, 3), "include"),
        ((10, 100, 1), (10, 5), "include"),
        ((5, 4, 2), (3, 2), "exclude"),
    ):
        structure = ClassStructure.balanced(m, n, p)
        for tau in TEMPERATURES:
            yield from both_sides(
                float(theory.stratified_alpha_c(m, n, p, batch, tau, self_pairs)),
                lambda alpha, s=structure, b=batch, t=tau, c=self_pairs: kinds.stratified_terms(
                    s, b, alpha, t, c
                ),
                built.classes(structure),
                _kind(WITHIN, n),
                {"m": m, "n": n, "p": p, "batch": batch, "tau": tau, "self_pairs": self_pairs},
            )


stratified_batches = Theorem(
    name="stratified_batches",
    statement="The mean loss over all batches of m_b classes with n_b instances each collapses "
    "classes iff α ≤ 1 - [(n_b-1) - n_b(m_b-1)κr]/[w + n_b-1 + n_b(m_b-1)r], κ = (n-1)/(n(m-1)).",
    prove=lambda: judged(_stratified()),
    source=SOURCE,
    expected=Verdict.HOLDS,
)


def _random(mean: str) -> Iterator[Cell]:
    for (m, n, p), batch, self_pairs in (
        ((3, 4, 1), 5, "include"),
        ((50, 1000, 1), 64, "include"),
        ((4, 3, 2), 6, "exclude"),
    ):
        structure = ClassStructure.balanced(m, n, p)
        for tau in TEMPERATURES:
            threshold = theory.random_alpha_c(m, n, p, batch, tau, self_pairs, "anchors")
            if mean == "all":
                positive = 1 - float(kinds.companions(m * n - 1, n - 1, batch - 1)[0])
                threshold = theory.alpha_c_all(threshold, positive)
            yield from both_sides(
                threshold,
                lambda alpha, s=structure, b=batch, t=tau, c=self_pairs: kinds.random_batch_terms(
                    s, b, alpha, t, c, mean
                ),
                built.classes(structure),
                _kind(WITHIN, n),
                {"m": m, "n": n, "p": p, "batch": batch, "tau": tau, "self_pairs": self_pairs},
            )


random_batches = Theorem(
    name="random_batches",
    statement="The mean loss over all batches of B instances, L_sup over anchors with a positive, "
    "collapses classes iff α ≤ (1 - E_sup h)/(1 - E_sup h + E h), h = (k - lκr)/(w + k + lr) with "
    "k hypergeometric and l = B-1-k.",
    prove=lambda: judged(_random("anchors")),
    source=SOURCE,
    expected=Verdict.HOLDS,
)

all_anchors = Theorem(
    name="all_anchors",
    statement="Where anchors without a positive count 0 in L_sup, of which a share φ has one, "
    "classes collapse iff α ≤ φα_c/(1-(1-φ)α_c), α_c that of the mean over the others.",
    prove=lambda: judged(_random("all")),
    source=SOURCE,
    expected=Verdict.HOLDS,
)


def _nonnegative() -> Iterator[Cell]:
    for (m, n, p), self_pairs in (((3, 4, 1), "include"), ((4, 2, 2), "exclude")):
        structure = ClassStructure.balanced(m, n, p)
        algebra, within = built.classes(structure), _kind(WITHIN, n)
        for tau in TEMPERATURES:
            where = {"m": m, "n": n, "p": p, "tau": tau, "self_pairs": self_pairs}

            def made(
                alpha: float,
                structure: ClassStructure = structure,
                tau: float = tau,
                self_pairs: str = self_pairs,
            ) -> kinds.Terms:
                return kinds.supcl_terms(structure, alpha, tau, self_pairs)

            threshold = float(theory.nonnegative_alpha_c(m, n, p, tau, self_pairs))
            yield from both_sides(threshold, made, algebra, within, where, 0.0)
            alpha = (1 + threshold) / 2
            value = float(theory.nonnegative_within(m, n, p, alpha, tau, self_pairs))
            says = equals(within, value, ENTRY)
            yield Cell({**where, "alpha": alpha}, algebra, made(alpha), says, 0.0)


nonnegative_boundary = Theorem(
    name="nonnegative_boundary",
    statement="Where similarities must not be negative, classes collapse iff "
    "α ≤ (w + n(m-1)r₀)/(n-1+w + n(m-1)r₀), r₀ = e^{-1/τ}; above it similarities s within classes "
    "satisfy e^{s/τ} = (1-α)(w/r₀ + n(m-1))/(α(n-1)), clipped to [1, e^{1/τ}].",
    prove=lambda: judged(_nonnegative()),
    source=SOURCE,
    expected=Verdict.HOLDS,
)


def _orthogonal() -> Iterator[Cell]:
    for sizes, mean, tau in itertools.product(((5, 3), (6, 2, 2)), ("pairs", "anchors"), (0.5,)):
        structure = ClassStructure(sizes)
        algebra = built.classes(structure)
        thresholds = theory.orthogonal_thresholds(structure, tau, mean=mean)

        def made(
            alpha: float, structure: ClassStructure = structure, tau: float = tau, mean: str = mean
        ) -> kinds.Terms:
            return kinds.supcl_terms(structure, alpha, tau, mean=mean)

        where = {"sizes": sizes, "mean": mean, "tau": tau}
        for size, threshold in dict(zip(sizes, thresholds.tolist(), strict=True)).items():
            kind = _kind(WITHIN, size)
            yield from both_sides(threshold, made, algebra, kind, where, 0.0)
        across = Kind(BETWEEN, str(sizes[0]), str(sizes[1]))
        says = equals(across, 0.0, ENTRY)
        yield Cell({**where, "alpha": 0.4}, algebra, made(0.4), says, 0.0)


orthogonal_frames = Theorem(
    name="orthogonal_frames",
    statement="Where similarities must not be negative, classes of any sizes are orthogonal, and "
    "class k collapses iff α ≤ Mq_k/(K + Mq_k) (pairs) or Mq_k/(Mq_k + (n_k-1)M₂) (anchors), "
    "q_k = w + (M-n_k)r₀.",
    prove=lambda: judged(_orthogonal()),
    source=SOURCE,
    expected=Verdict.HOLDS,
)


def _window() -> Iterator[Cell]:
    for m, n, tau in ((3, 4, 1.5), (2, 2, 0.5), (3, 3, 2.5)):
        structure = ClassStructure.balanced(m, n)
        algebra = built.towers(built.classes(structure), swap=True)
        low, high = theory.cross_modal_window(m, n, tau)
        where = {"m": m, "n": n, "tau": tau}

        def made(
            alpha: float, structure: ClassStructure = structure, tau: float = tau
        ) -> kinds.Terms:
            return kinds.cross_modal_terms(structure, alpha, tau)

        yield from both_sides(high, made, algebra, _kind(f"{SELF}·{WITHIN}", n), where)
        matched = _kind(f"{OTHER}·{SELF}", n)
        if low > 0:  # matched pairs part below it, and coincide above it
            for cell in both_sides(low, made, algebra, matched, where):
                below = cell.where["alpha"] < low
                yield cell._replace(says=differ(matched) if below else equals(matched, 1.0, ENTRY))


towers_window = Theorem(
    name="towers_window",
    statement="SupCL of two towers collapses classes iff the weight α of matched pairs lies in "
    "[α₋, α_c], α₋ = [(n-1)(1-r)/(1+(m-1)r) - (n-2)]/n and α_c that of one tower.",
    prove=lambda: judged(_window()),
    source=SOURCE,
    expected=Verdict.HOLDS,
)


def _spread() -> Iterator[Cell]:
    for m, n in ((3, 4), (5, 2), (10, 20)):
        structure = ClassStructure.balanced(m, n)
        for tau in TEMPERATURES:
            yield from both_sides(
                theory.spread_alpha_c(m, n, tau),
                lambda share, s=structure, t=tau: kinds.spread_terms(s, share, t),
                built.classes(structure),
                _kind(WITHIN, n),
                {"m": m, "n": n, "tau": tau},
            )


spread_boundary = Theorem(
    name="spread_boundary",
    statement="L_spread, as its released code computes it, collapses classes iff the share of its "
    "repulsion is at most Nr/(1 + (2N-n)r), N = mn.",
    prove=lambda: judged(_spread()),
    source="Chen et al. (ICML 2022) for the loss; " + SOURCE,
    expected=Verdict.HOLDS,
)


def _covered() -> Iterator[Cell]:
    """The plane, without one of its lines and with one twice; and mixed sizes."""
    families = (
        (7, FANO, None),
        (7, FANO, (2, 1, 1, 1, 1, 1, 1)),
        (4, ((0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (1, 3)), None),
        (4, ((0, 1, 2), (0, 3), (1, 3), (2, 3)), None),
        (6, ((0, 1, 2), (3, 4, 5), (0, 3), (1, 4), (2, 5)), None),
    )
    for (size, batches, weights), towers in itertools.product(families, (False, True)):
        tau = 0.4
        loss = listed.info_nce_batches(size, batches, tau, weights, towers=towers)
        of_batch = weights or (1,) * len(batches)
        per_anchor = [w / len(b) for w, b in zip(of_batch, batches, strict=True)]
        even = theory.coverage_imbalance(size, batches, tau, per_anchor) < 1e-12
        found, simplex = close(loss), -1 / (size - 1)

        def says(ends, found=found, even=even, simplex=simplex, towers=towers):
            values = [
                equals(found.algebra.names[colour], simplex, 1e-3)(ends)
                for colour, _ in found.algebra.orbits
                if not towers or not _matched(found, colour)
            ]
            decided = False if False in values else None if None in values else True
            return None if decided is None else decided == even

        yield Cell({"batches": batches, "towers": towers}, found.algebra, found.terms, says)


def _matched(found: Closure, colour: int) -> bool:
    """Whether a colour has the pairs of a point and its match in the other tower."""
    half = len(found.colours) // 2
    return colour in {found.colours[i, i + half] for i in range(half)} | {
        found.colours[i + half, i] for i in range(half)
    }


equal_coverage = Theorem(
    name="equal_coverage",
    statement="InfoNCE of one view, or of two towers, summed over batches of N points is minimised "
    "by the simplex iff Σ w_B ρ_|B| over the batches of a pair is equal for all pairs, "
    "ρ_b = e^{s/τ}/(e^{1/τ} + (b-1)e^{s/τ}), s = -1/(N-1); so 7 of all 35 batches of 3 of 7 do.",
    prove=lambda: judged(_covered()),
    source=SOURCE,
    expected=Verdict.HOLDS,
)
