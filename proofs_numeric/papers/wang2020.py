"""Wang and Isola (ICML 2020): alignment and uniformity on the hypersphere."""

from collections.abc import Iterator

from proofs_numeric.papers import koromilas2024, lu2022
from proofs_numeric.papers.cells import SIMILARITY, judged
from proofs_numeric.reduced import Cell, equals
from ssem_jax.certificate.symmetry import structures as built
from ssem_jax.claims import Paper, Statement, Theorem, Verdict
from ssem_jax.losses.terms import BETWEEN, Kind, Term, Terms, softmax_slots


def uniformity() -> Iterator[Cell]:
    """log of the mean Gaussian potential e^{-t‖x-y‖²} of all pairs, one log-sum-exp."""
    for number in (3, 10, 50):
        for t in (0.5, 2.0, 4.0):
            slots = softmax_slots({Kind(BETWEEN): number * (number - 1)}, 1 / (2 * t))
            says = equals(Kind(BETWEEN), -1 / (number - 1), SIMILARITY)
            terms = Terms((Term(1.0, slots),), {})
            yield Cell({"N": number, "t": t}, built.points(number), terms, says)


uniformity_simplex = Theorem(
    "uniformity_simplex",
    "N points in d ≥ N-1 dimensions, Gaussian potential at any t: the uniformity loss is least at "
    "the regular simplex.",
    lambda: judged(uniformity()),
    "Wang and Isola (ICML 2020) for the loss; the finite statement is judged here",
    Verdict.HOLDS,
)

paper = Paper(
    key="wang2020",
    title="Understanding Contrastive Representation Learning through Alignment and Uniformity on "
    "the Hypersphere",
    authors=("Tongzhou Wang", "Phillip Isola"),
    year=2020,
    identifier="arXiv:2005.10242",
    venue="ICML 2020",
    read="third party's summary",
    reading="Notes of others on the paper, and its loss as this package ships it. Its theorem is a "
    "limit of many negatives, which was not read and is not judged.",
    notation=(
        ("ℓ_uniform(t)", "log of the mean of e^{-t‖x-y‖²} over pairs; slope 2t of similarities"),
        ("ℓ_align", "matched pairs coincide"),
        ("uniform on the sphere", "a limit N → ∞ at fixed d; at N ≤ d+1 the simplex"),
    ),
    statements=(
        Statement(
            uniformity_simplex,
            "ℓ_uniform at finite N",
            "d ≥ N-1",
            "With enough dimensions 'uniform' means the simplex, not the sphere.",
        ),
        Statement(koromilas2024.kernel_simplex, "ℓ_align and ℓ_uniform together", "d ≥ N-1"),
        Statement(lu2022.uniform_limit, "the limit of many points"),
    ),
)
