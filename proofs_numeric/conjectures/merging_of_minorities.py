r"""Do minority classes merge at a finite ratio, whatever the temperature, beside two majorities?

They do. Let two majority classes of n instances and k ≥ 2 minorities of n' be collapsed (α = 0,
mean over anchors), x = e^{-1/τ}, c = 1 + x², q = kn'/n. If the minorities coincide, all means lie
in a plane: a minority has the product -ε with both majorities, and they 2ε²-1 with each other. The
loss is stationary where, with D of a majority and d of a minority,

    2n [4ε n e^{(2ε²-2)/τ} - kn' e^{-(1+ε)/τ}] / D = 2 kn' n e^{-(1+ε)/τ} / d.

Of the dual matrix S, which vanishes on the means, this leaves one sign open: that of 2ε S_ab - k
S_bb' for a majority a and minorities b, b'. All other eigenvalues are 0, or nonnegative as a
positive trace of rank one. With it merging is optimal over all embeddings in all dimensions.

As q → 0 the equation gives ε = q(2x + c)/(8x²) + O(q²), and the quotient of both terms tends to
(2x + c)²/(8xc) = 1 + (1 - x)⁴/(8xc): above 1 for every τ > 0, whatever k. So there is a finite
ratio from which on minorities merge, but it is large: for k = 2 it is 150 at τ = 1, and some 4,800
at τ = 0.2, as (1 - x)⁴ is small for x near 1 and q is of no help for x near 0. One majority does it
at 24. What was learned: two majorities span a line only, which leaves minorities room to part;
what merges them is that the majorities give way to minorities on one side.
"""

from fractions import Fraction

from flint import arb

from ssem_jax.balls import Identity, prove_zero, to_ball, working_precision
from ssem_jax.claims import Proof, Theorem, run_file

POINTS = ((160, 2, Fraction(1)), (230, 3, Fraction(1)), (150, 2, Fraction(1, 2)),
          (500, 2, Fraction(2)))  # fmt: skip
"""(n/n', k, τ) at which merging is proven; at 140, 200, 130 and 450 minorities still part."""
APART = ((140, 2, Fraction(1)), (200, 3, Fraction(1)), (130, 2, Fraction(1, 2)),
         (450, 2, Fraction(2)))  # fmt: skip
BITS = 128
WIDTH = arb(2) ** -60
"""Half the width of the enclosure of ε, far above the rounding of 128 bits."""


def limit_exceeds_one() -> Identity:
    """(2x + c)²/(8xc) - 1 - (1 - x)⁴/(8xc) = 0 for all x."""

    def difference(x):
        c = 1 + x * x
        return ((2 * x + c) * (2 * x + c) - (1 - x) * (1 - x) * (1 - x) * (1 - x)) / (8 * x * c) - 1

    return prove_zero(difference, ("x",))


def merged(ratio: int, minorities: int, tau: Fraction) -> tuple[arb, arb]:
    """The stationary ε of merged minorities, enclosed, and the sign that decides: n' = 1."""
    b = 1 / to_ball(tau)

    def parts(e: arb) -> tuple[arb, arb, arb, arb]:
        far, near = (b * (2 * e * e - 2)).exp(), (-b * (1 + e)).exp()
        return far, near, ratio * (1 + far) + minorities * near, 2 * ratio * near + minorities

    def slope(e: arb) -> arb:
        far, near, major, minor = parts(e)
        give_way = 2 * ratio * (4 * e * ratio * far - minorities * near) / major
        return give_way - 2 * minorities * ratio * near / minor

    low, high = arb(0), arb(1)
    while high - low > WIDTH / 2:
        middle = ((low + high) / 2).mid()
        low, high = (middle, high) if slope(middle).mid() < 0 else (low, middle)
    low, high = low - WIDTH, high + WIDTH
    if not (slope(low) < 0 and slope(high) > 0):
        raise ValueError(f"no stationary point is enclosed at ratio {ratio}; raise BITS.")
    e = low.union(high)
    _, near, major, minor = parts(e)
    return e, e * ratio * near * (1 / major + 1 / minor) - minorities / minor


def prove_merging() -> Proof:
    """The limit for all τ, and both signs at single ratios."""
    limit = limit_exceeds_one()
    with working_precision(BITS):
        open_ = [str(point) for point in POINTS if not merged(*point)[1] > 0]
        open_ += [str(point) for point in APART if not merged(*point)[1] < 0]
    return Proof(
        limit.proven and not open_,
        limit.refuted,
        signs=limit.points,
        enclosures=len(POINTS + APART),
        undecided=tuple(open_),
        rigorous=True,
    )


two_majorities_merge_minorities = Theorem(
    name="two_majorities_merge_minorities",
    statement="Per-anchor mean, α = 0, two majority classes of n and k ≥ 2 minorities of n' "
    "instances: for every τ > 0 the minorities merge from some finite ratio n/n' on; for k = 2 and "
    "τ = 1 they do at 160 and do not at 140.",
    prove=prove_merging,
    source="asked here; argument above",
)

if __name__ == "__main__":
    raise SystemExit(run_file(__file__))
