r"""In which dimensions are there local minima that are not global?

*None in R^{N-1}*, for N embeddings in m ≥ 3 classes, or in any classes at α = 1 and N ≥ 3
instances; at p = 1 that is mn - 1, the smallest dimension that holds every optimum. Let U be a
second-order critical point. If its rank is below d, its dual matrix S = sym ∇L - Diag λ is
positive semidefinite, as a negative direction would be an escape into an unused dimension: U is
global. If its rank is d = N-1, then SU = 0 leaves S = s vvᵀ with a single vector v. For s ≥ 0 it
is semidefinite again. For s < 0, s v_i v_j is the derivative of L in the similarity of embeddings
i and j, which is positive for different classes that have positives: each stands in the other's
denominator, and they are no positive pair. So v_i v_j < 0 for all pairs of three embeddings of
three classes, and no three signs are pairwise opposite. (At α = 1 take three instances.)

*Some in R^{m-1}*: collapse onto the simplex of classes is critical by symmetry, and below α_loc a
strict local minimum there, up to rotation: balls prove its Hessian definite on a slice through the
orbits of rotations (:mod:`ssem_jax.balls.minima`). For four classes of three instances at τ = 1/2
and α = α_loc - 5e-4, embeddings in R³ are proven better by 1.4e-8: collapse is spurious, and
descent that has come to it stays. In the better embeddings three classes are collapsed, and one
alone is spread.

*Some in R^{N-2}*: at α = 1, N points can be two simplexes of k and N - k points in orthogonal
subspaces. Six points have two such splits. Both are local minima, as balls prove, and which of them
is the lower one changes with τ: 2 + 4 at τ = 1/2, 3 + 3 at τ = 2. The other one is spurious.

What was learned: with m ≥ 3 classes the smallest dimension that suffices for the optimum suffices
for optimisers, too, and one needs no spare one, but not one less; m = 2 is open at that dimension
(none was seen). Between, local minima come and go: of 500 starts of Adam about class indices (m =
3, n = 4, α = 0.6, τ = 1/2) 71 end at a proven spurious minimum in R^{10} = R^{mn-2}, 19 in R^2, and
none in R^3 to R^9 and from R^{11} on. More often Adam is just not done after 1,000 steps: more than
1e-6 above their critical point are 182, 20, 296 and 217 ends in R^4, R^7, R^9 and R^{10}.
"""

from itertools import product

import numpy as np

from ssem_jax import balls
from ssem_jax.claims import Proof, Theorem, run_file
from ssem_jax.losses import SupCL
from ssem_jax.problem import ClassStructure

M, N, TAU = 4, 3, 0.5
ALPHA = 0.588375
"""A float below α_loc = 0.588879…, above which collapse is no local minimum."""
SIMPLEX = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
COLLAPSED = ((0.794, -0.35044, 0.49675), (-0.51917, -0.7653, -0.38049),
             (0.30768, 0.59543, -0.74216))  # fmt: skip
SPREAD = ((-0.58569, 0.4922, 0.64397), (-0.60299, 0.52585, 0.5999), (-0.55628, 0.54061, 0.63111))
"""Embeddings in R^3, found by descent and rounded: three classes collapse, the fourth does not."""


def opposite_signs() -> Proof:
    """No three nonzero numbers have products that are all negative."""
    found = [
        signs
        for signs in product((-1, 1), repeat=3)
        if all(signs[i] * signs[j] < 0 for i in range(3) for j in range(i))
    ]
    return Proof(not found, signs=8, rigorous=True)


none_in_one_dimension_less = Theorem(
    name="none_in_one_dimension_less",
    statement="N embeddings in m ≥ 3 classes that have positives, or α = 1: every second-order "
    "critical point in R^{N-1} is a global minimum over all dimensions, whatever α, τ, class sizes "
    "and conventions about self pairs.",
    prove=opposite_signs,
    source="asked here; argument above, in which three signs decide",
)


def better_than_collapse() -> Proof:
    """Collapse, whose simplex has integer rows, is a local minimum; others have a lower loss."""
    structure, loss = ClassStructure.balanced(M, N), SupCL(ALPHA, TAU)
    minimum = balls.enclose_local_minimum(np.repeat(SIMPLEX, N, axis=0), structure, loss)
    better = np.array([*np.repeat(COLLAPSED, N, axis=0), *SPREAD])
    spurious = minimum is not None and balls.enclose_loss(better, structure, loss) < minimum.ball
    where = () if spurious else (f"m={M}, n={N}, d={M - 1}: collapse is not beaten",)
    return Proof(not where, enclosures=2, undecided=where, rigorous=True)


collapse_can_be_spurious = Theorem(
    name="collapse_can_be_spurious",
    statement="m = 4, n = 3, τ = 1/2, α = 0.588375, self pairs included: in R^3 collapse is a "
    "local minimum, strict up to rotation, and not global.",
    prove=better_than_collapse,
    source="asked here; the local minimum and both losses in balls",
)

SPLITS = ((0.5, 2), (2.0, 3))
"""τ, and the smaller simplex of the better split of six points."""


def simplex(size: int) -> np.ndarray:
    """Vertices of a regular simplex in R^{size-1}, in balls."""
    rows = np.full((size, size - 1), balls.to_ball(0), object)
    for k in range(size - 1):
        rest = balls.to_ball(size - 1 - k)
        rows[k, k] = (rest / (rest + 1)).sqrt()
        rows[k + 1 :, k] = -rows[k, k] / rest
    return rows


def split(size: int, first: int) -> np.ndarray:
    """Two simplexes of first and size - first points, in orthogonal subspaces of R^{size-2}."""
    rows = np.full((size, size - 2), balls.to_ball(0), object)
    rows[:first, : first - 1], rows[first:, first - 1 :] = simplex(first), simplex(size - first)
    return rows


def splits_are_minima() -> Proof:
    """Both splits are local minima, and the one has a lower loss than the other."""
    structure, open_ = ClassStructure((1,) * 6), []
    with balls.working_precision(balls.EMBEDDING_PRECISION):
        for tau, least in SPLITS:
            lower, higher = (
                balls.enclose_local_minimum(split(6, first), structure, SupCL(1.0, tau))
                for first in (least, 5 - least)
            )
            if lower is None or higher is None or not lower.ball < higher.ball:
                open_.append(f"τ={tau}")
    return Proof(not open_, enclosures=2 * len(SPLITS), undecided=tuple(open_), rigorous=True)


spurious_one_dimension_below = Theorem(
    name="spurious_one_dimension_below",
    statement="InfoNCE of six instances in R^4, self pairs included: triangle and triangle, and "
    "segment and tetrahedron, in orthogonal subspaces, are both strict local minima up to rotation "
    "at τ = 1/2 and at τ = 2. At τ = 1/2 the first is spurious, at τ = 2 the second.",
    prove=splits_are_minima,
    source="asked here; both minima and their losses in balls",
)

if __name__ == "__main__":
    raise SystemExit(run_file(__file__))
