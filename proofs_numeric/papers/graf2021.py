"""Graf, Hofer, Niethammer and Kwitt (ICML 2021): SupCon and cross-entropy collapse to a simplex."""

import math
from collections.abc import Callable, Iterable, Iterator

from proofs_numeric import imbalance, losses
from proofs_numeric.papers.cells import SIMILARITY, every, judged, minimum
from proofs_numeric.reduced import Cell, coincide, equals
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.claims import Beside, Paper, Statement, Theorem, Verdict
from ssem_jax.losses.kinds import prototype_terms
from ssem_jax.losses.terms import BETWEEN, WITHIN, Kind, Terms

TEMPERATURES = (0.2, 1.0)


def collapse(
    all_sizes: Iterable[tuple[int, ...]],
    made: Callable[[tuple[int, ...], float], Terms] = prototype_terms,
) -> Iterator[Cell]:
    """Features coincide with the prototype of their class, and prototypes form a simplex."""
    for sizes in all_sizes:
        kinds, pairs = sorted(set(sizes)), set()
        for n in kinds:
            for other in kinds:
                if n != other or sizes.count(n) > 1:
                    pairs.add((min(n, other), max(n, other)))
        vertex = -1 / (len(sizes) - 1)
        says = every(
            *(coincide(Kind(WITHIN, f"feature {n}", f"prototype {n}")) for n in kinds),
            *(
                equals(Kind(BETWEEN, f"prototype {n}", f"prototype {k}"), vertex, SIMILARITY)
                for n, k in sorted(pairs)
            ),
        )
        for tau in TEMPERATURES:
            where = {"sizes": sizes, "tau": tau}
            yield Cell(where, built.prototypes(sizes), made(sizes, tau), says)


def least_loss() -> list[Beside]:
    """log(1 + (K-1) e^{-K/((K-1)τ)}) at the simplex."""
    rows = []
    for k, tau in ((3, 0.2), (10, 1.0)):
        stated = math.log1p((k - 1) * math.exp(-k / ((k - 1) * tau)))
        sizes = (4,) * k
        found = minimum(built.prototypes(sizes), prototype_terms(sizes, tau))
        rows.append(Beside(f"least cross-entropy, K = {k}, τ = {tau}", stated, found))
    return rows


normalised_cross_entropy = Theorem(
    name="normalised_cross_entropy",
    statement="Cross-entropy of unit features with one unit prototype a class, balanced classes: "
    "all features of a class coincide with its prototype, and prototypes form a regular simplex.",
    prove=lambda: judged(collapse(((4, 4), (4, 4, 4), (3,) * 10))),
    source="Graf, Hofer, Niethammer and Kwitt (ICML 2021), abstract; judged here",
    expected=Verdict.HOLDS,
)

cross_entropy_any_sizes = Theorem(
    name="cross_entropy_any_sizes",
    statement="The same at every class sizes.",
    prove=lambda: judged(collapse(((2, 1), (2, 1, 1), (6, 2, 2)))),
    source="the sentence of the abstract, without the balance that 'mild assumptions' stands for",
    expected=Verdict.REFUTED,
)

paper = Paper(
    key="graf2021",
    title="Dissecting Supervised Contrastive Learning",
    authors=("Florian Graf", "Christoph D. Hofer", "Marc Niethammer", "Roland Kwitt"),
    year=2021,
    identifier="arXiv:2102.08817",
    venue="ICML 2021, PMLR 139",
    read="abstract only",
    reading="Abstract. The 'mild assumptions' of the abstract were not read; balance is ours.",
    notation=(
        ("K classes", "m = num_classes"),
        ("SupCon", "SupCL at α = (p-1)/(np-1), self pairs excluded"),
        ("softmax of a linear map", "unit features, one unit prototype a class, logits over τ"),
        ("regular simplex", "similarities -1/(m-1) between classes"),
    ),
    statements=(
        Statement(losses.supcon_collapses, "abstract: SupCon", "balanced classes, d ≥ m-1"),
        Statement(
            normalised_cross_entropy,
            "abstract: cross-entropy",
            "balanced classes, unit norms, d ≥ m-1",
            beside=least_loss,
        ),
        Statement(
            cross_entropy_any_sizes,
            "abstract, without balance",
            lesson="Balance is the hypothesis that carries the symmetry.",
        ),
        Statement(
            imbalance.no_simplex_under_imbalance,
            "abstract, without balance",
            lesson="The same for SupCL: collapsed means have unequal angles.",
        ),
    ),
)
