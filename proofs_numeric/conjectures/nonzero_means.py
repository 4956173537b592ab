r"""Which optima of InfoNCE in R^d have a mean that is not zero?

None in R^{N-1}, where the N points are a simplex, and none that are sharp codes, which are designs
(`sharp_codes`): polygons, the orthoplex, the icosahedron. In R^1 all of an odd number. Else it is
temperature that decides. **Five points in R³** are two poles and a triangle at τ = 0.5, of mean
zero; at τ = 0.1 a square pyramid is better, of mean 0.1. Where they are the lower one, each is a
strict local minimum, as balls prove. They change places between τ = 0.12 and 0.15. At low
temperature the loss sees nearest neighbours alone, here at right angles or a little more: the
square opens them by sinking below the equator.

*Supported* by descents (L-BFGS, ten starts a cell, τ = 0.1, 0.2, 0.5, 1, 2), squared means of the
best found, 0 where below 1e-14:

| N, d | .1 | .2 | .5 | 1 | 2 |
|---|---|---|---|---|---|
| 5, 3 | 1e-2 | 0 | 0 | 0 | 0 |
| 7, 3 | 1e-3 | 1e-5 | 0 | 7e-7 | 3e-6 |
| 8, 3 and 9, 3 | 0 | 0 | 0 | 0 | 0 |
| 10, 3 | 4e-4 | 0 | 0 | 0 | 0 |
| 11, 3 | 2e-3 | 3e-6 | 1e-5 | 4e-7 | 3e-9 |
| 7, 4 | 4e-3 | 1e-3 | 0 | 0 | 5e-7 |
| 9, 4 | 2e-3 | 8e-6 | 0 | 1e-5 | 2e-6 |
| 8, 5 | 5e-3 | 0 | 0 | 0 | 1e-6 |
| 12, 7 | 1e-3 | 4e-4 | 0 | 0 | 1e-7 |

What was learned: a mean that is not zero is no error of an optimiser. In few dimensions it is what
low temperature does to points that are no design, and in some cells what high temperature does;
between, the mean vanishes more often than not.
"""

from fractions import Fraction

import numpy as np
from flint import arb

from ssem_jax import balls
from ssem_jax.claims import Proof, Theorem, run_file
from ssem_jax.losses import SupCL
from ssem_jax.problem import ClassStructure

FIVE = ClassStructure((1,) * 5)
COLD, WARM = 0.1, 0.5
TENTH = arb(1) / 10
HEIGHT = 0.12402660093598306
"""By which the square lies below the equator at τ = 0.1, found by descent."""


def bipyramid() -> np.ndarray:
    """Two poles, and a triangle of any length on the equator; in balls."""
    half, root = balls.to_ball(Fraction(1, 2)), balls.to_ball(3).sqrt() / 2
    rows = [[0, 0, 1], [0, 0, -1], [1, 0, 0], [-half, root, 0], [-half, -root, 0]]
    return np.array([[arb(x) for x in row] for row in rows])


def pyramid(height: float) -> np.ndarray:
    """A pole and a square below the equator."""
    radius = np.sqrt(1 - height**2)
    square = [[radius, 0, -height], [0, radius, -height], [-radius, 0, -height]]
    return np.array([[0, 0, 1], *square, [0, -radius, -height]])


def prove_five() -> Proof:
    """Both are local minima where they are the lower ones; the mean of one is not 0."""
    open_ = []
    with balls.working_precision(balls.EMBEDDING_PRECISION):
        cold, warm = (SupCL(1.0, tau) for tau in (COLD, WARM))
        square = balls.enclose_local_minimum(pyramid(HEIGHT), FIVE, cold)
        poles = balls.enclose_local_minimum(bipyramid(), FIVE, warm)
        # A row of length 1 or more that moves by ρ turns by no more than 2ρ.
        mean = (1 - 4 * arb(HEIGHT)) / 5 - (2 * arb(square.radius) if square else 1)
        lower = square and square.ball < balls.enclose_loss(bipyramid(), FIVE, cold)
        if not (lower and mean > TENTH):
            open_.append(f"τ = {COLD}")
        if not (poles and poles.ball < balls.enclose_loss(pyramid(HEIGHT), FIVE, warm)):
            open_.append(f"τ = {WARM}")
    return Proof(not open_, enclosures=4, undecided=tuple(open_), rigorous=True)


five_points_have_a_mean = Theorem(
    name="five_points_have_a_mean",
    statement="InfoNCE of five instances in R^3, self pairs included: at τ = 0.1 a square pyramid, "
    "of a mean longer than 1/10, is a strict local minimum, lower than two poles and a triangle of "
    "mean 0, which are one, and lower than that pyramid, at τ = 0.5.",
    prove=prove_five,
    source="asked here; minima and losses in balls",
)

if __name__ == "__main__":
    raise SystemExit(run_file(__file__))
