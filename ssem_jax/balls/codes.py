r"""What no code in R^d beats: linear programming bounds of softmax losses, at every temperature.

M unit vectors in R^d of similarities t_ij have the loss of a softmax code

.. math:: \ell = \frac1M \sum_i \log\Bigl(1 + \sum_{j \ne i} f(t_{ij})\Bigr), \qquad
          f(t) = e^{(t-1)/\tau}.

**The bound** (after Delsarte; Yudin; Cohn and Kumar). Let h = Σ h_k P_k, P_k the Gegenbauer
polynomials of R^d with P_k(1) = 1, h_k ≥ 0 and h ≤ f on [-1, 1). Then ℓ ≥ log(1 + M h₀ - h(1)).
Proof: log y = min_s (s - 1 + e^{-s} y); with e^{-s_i} = w_i² and ½(w_i² + w_j²) f ≥ w_i w_j h,

.. math:: M \ell \ge \sum_i (-2\log w_i - 1 + (1 - h(1)) w_i^2) + \sum_{ij} w_i w_j h(t_{ij}),

whose last sum is at least h₀(Σw_i)², the matrices P_k(t_ij) being positive semidefinite. As h(1) ≤
f(1) = 1 that is convex in w and symmetric: least at equal w, where it is the bound. The mean
energy of a point, Σ_j f(t_ij), is at least M h₀ - h(1) by the same sum with w = 1.

**Which h.** The Hermite interpolant of f at the nodes of the Gauss rule that integrates over the
sphere and takes mass 1/M off at 1 (Levenshtein; Boyvalenkov and others): the best of its degree,
and sharp for every sharp code: polygons, simplex, orthoplex, icosahedron and so on. Where nodes
come from decides nothing. They are rounded, and taken as the dyadic numbers they are; h is formed
at them in balls, f - h = f^{(k)}(ξ)/k! · Π(t - x_i) ≥ 0 as all nodes are double but -1, and the
signs of h_k are those of balls.

**What has these losses in R^d**, self pairs included, p views of each of n instances in m classes:

* α = 1: log p + ℓ of all instances. By Jensen, views cost least where they coincide: the mean over
  an anchor's views is at most 1, and log(p + Σ) is concave in Σ, so that the loss is at least the
  mean over all choices of one view for each instance.
* α = 0, equal classes, n ≥ 2: log(np) + ℓ of m points, likewise with one embedding for each class.
  With v_i and w_i the mean similarities of anchor i to its views and to others of its class, the
  anchor has log(np + Σ e^{(t - c_i)/τ}) + (v_i - w_i)/(nτ) at least, c_i = (v_i + (n-1)w_i)/n ≤ 1,
  and Σ(v_i - w_i) ≥ 0 over a class by Cauchy's inequality. So classes collapse in *every*
  dimension at α = 0, onto the best code of m points.
* 0 < α < 1, equal classes: the loss of given embeddings is linear in α, and their minimum over R^d
  concave. So it lies above every chord between bounds of it: of codes at the ends, and of all
  dimensions (:func:`enclose_closed_form`) at any other α.

References:
    Levenshtein (1998, universal bounds for codes and designs); Cohn and Kumar (J. AMS 2007);
    Boyvalenkov, Dragnev, Hardin, Saff and Stoyanova (Constr. Approx. 2016).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from flint import arb

from ssem_jax.balls.arithmetic import Exact, float_below, to_ball, working_precision
from ssem_jax.balls.closed_form import enclose_closed_form
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.arrays import Hyper
from ssem_jax.problem.problem import Problem, check_problem
from ssem_jax.problem.validation import check_count

CODE_PRECISION = 192
"""Bits: divided differences of degree 24 lose some 80 of them."""
CHORDS = (0.25, 0.5, 0.75)
"""Where chords of 0 < α < 1 begin on both sides, as shares of the way from the end."""
LARGEST_DEGREE = 24
"""Of a polynomial; sharp for all codes that are 24-designs at most, and valid beyond them."""


@dataclass(frozen=True)
class CodeBound:
    """What no M unit vectors in R^d beat, with the polynomial that proves it.

    Attributes:
        energy: below Σ_{j≠i} e^{(t_ij-1)/τ}, averaged over i.
        loss: below log(copies) + the mean of log(1 + Σ_{j≠i} e^{(t_ij-1)/τ}).
        nodes: where the polynomial interpolates the kernel, twice but at -1.
        coefficients: enclosures of h_k, all nonnegative, rounded down.
    """

    num_points: int
    dim: int
    energy: float
    loss: float
    nodes: tuple[float, ...]
    coefficients: tuple[float, ...]

    @property
    def degree(self) -> int:
        """Of the polynomial."""
        return len(self.coefficients) - 1


def code_bound(
    num_points: int,
    dim: int,
    temperature: Exact | Hyper,
    copies: int = 1,
    precision: int = CODE_PRECISION,
) -> CodeBound:
    """Bound the softmax loss of points in R^d from below; no code of any kind beats it.

    Args:
        num_points: M, points of the code: classes at α = 0, instances at α = 1.
        dim: d, at least 2.
        temperature: τ.
        copies: embeddings at each point: np at α = 0, p at α = 1.
        precision: bits.

    Returns:
        The bound. It is attained by every sharp code, and may be lower than what is best elsewhere.

    Raises:
        ValueError: counts out of range, or a temperature that is not positive.
    """
    points, room = check_count("num_points", num_points, 2), check_count("dim", dim, 2)
    copies = check_count("copies", copies, 1)
    with working_precision(precision):
        tau = to_ball(temperature)
        if not tau > 0:
            raise ValueError(f"temperature must be positive and finite; got {temperature}.")
        degree = min(strength(points, room), LARGEST_DEGREE)
        while True:
            nodes = gauss_nodes(points, room, degree)
            polynomial = interpolant(nodes, room, tau)
            if degree == 1 or all(each >= 0 for each in polynomial[1:]):
                break
            degree -= 1
        energy = points * polynomial[0] - sum(polynomial, arb(0))
        return CodeBound(
            points,
            room,
            max(float_below(energy), 0.0),
            float_below(arb(copies).log() + (1 + energy.max(arb(0))).log()),
            tuple(nodes),
            tuple(map(float_below, polynomial)),
        )


def strength(num_points: int, dim: int) -> int:
    """The degree of Levenshtein's bound for M points: D(d, degree) < M ≤ D(d, degree + 1)."""
    degree = 1
    while num_points > _design_bound(dim, degree + 1):
        degree += 1
    return degree


def _design_bound(dim: int, degree: int) -> int:
    """The least points that a spherical design of a strength may have (Delsarte and others)."""
    half, odd = divmod(degree, 2)
    if odd:
        return 2 * math.comb(dim + half - 1, half)
    return math.comb(dim + half - 1, half) + math.comb(dim + half - 2, half - 1)


def gauss_nodes(num_points: int, dim: int, degree: int) -> list[float]:
    """Nodes of the Gauss rule of the sphere less a mass 1/M at 1; for even degrees -1 is one.

    In the orthonormal polynomials q of the sphere, multiplication by t is a Jacobi matrix T, and
    the nodes are the generalised eigenvalues of T and 1 with that mass taken off.
    """
    count, ends = (degree + 1) // 2, degree % 2 == 0
    later = np.arange(2, count + 3)
    squares = later * (later + dim - 3) / (2 * later + dim - 2) / (2 * later + dim - 4)
    sides = np.sqrt([1 / dim, *squares])
    jacobi = np.diag(sides, 1) + np.diag(sides, -1)
    at_one = [1.0, 1 / sides[0]]
    for j in range(1, count):
        at_one.append((at_one[j] - sides[j - 1] * at_one[j - 1]) / sides[j])
    weight = np.eye(len(jacobi)) + (jacobi if ends else 0)  # 1 + t, where -1 is a node
    mass = np.outer(at_one[:count], at_one[:count]) * (2 if ends else 1) / num_points
    gram = weight[:count, :count] - mass
    moved = (jacobi @ weight)[:count, :count] - mass
    inverse = np.linalg.inv(np.linalg.cholesky(gram))
    found = np.linalg.eigvalsh(inverse @ moved @ inverse.T)
    return [-1.0] * ends + np.clip(found, -1, 1).tolist()


def interpolant(nodes: list[float], dim: int, tau: arb) -> list[arb]:
    """Gegenbauer coefficients of the Hermite interpolant of e^{(t-1)/τ}: double but at -1."""
    places = [arb(x) for x in nodes for _ in range(1 if x == -1 else 2)]
    differences = [((x - 1) / tau).exp() for x in places]
    slopes = [value / tau for value in differences]
    total, product = [arb(0)] * len(places), [arb(1)]
    for order, place in enumerate(places, 1):
        total = [
            old + differences[0] * product[k] if k < order else old for k, old in enumerate(total)
        ]
        product = _times(product, place, dim)
        steps = [far - near for near, far in zip(places, places[order:], strict=False)]
        differences = [
            slopes[k] if step.is_zero() else (differences[k + 1] - differences[k]) / step
            for k, step in enumerate(steps)
        ]
    return total


def _times(series: list[arb], node: arb, dim: int) -> list[arb]:
    """A series of Gegenbauer polynomials, multiplied by t - node."""
    found = [-node * each for each in series] + [arb(0)]
    for k, each in enumerate(series):
        up = arb(1) if k == 0 else arb(k + dim - 2) / (2 * k + dim - 2)
        found[k + 1] += each * up
        if k:
            found[k - 1] += each * (1 - up)
    return found


def least_in_dimension(problem: Problem) -> np.ndarray:
    """(B,) what no embeddings in R^d get below, by codes at both ends; -inf where none is known.

    Args:
        problem: the cells, in a dimension of at least 2.
    """
    check_problem(problem)
    structure = problem.structure
    losses, size = problem.cells()
    bounds = np.full(size, -np.inf)
    if type(losses) is not SupCL or losses.self_pairs != "include" or problem.given_dim < 2:
        return bounds
    instances = structure.total_instances
    codes = {1.0: (instances, structure.num_views)}  # α: points, and embeddings at each
    if structure.is_balanced and structure.sizes[0] > 1:
        codes[0.0] = (structure.num_classes, structure.num_embeddings // structure.num_classes)
    pairs = np.broadcast_arrays(np.asarray(losses.alpha), np.asarray(losses.temperature))
    for row, (alpha, tau) in enumerate(zip(*(each.tolist() for each in pairs), strict=True)):
        if alpha not in codes and len(codes) < 2:
            continue
        ends = {
            end: code_bound(points, problem.given_dim, tau, copies).loss
            for end, (points, copies) in codes.items()
            if alpha not in codes or end == alpha
        }
        bounds[row] = ends[alpha] if alpha in ends else _chord(ends, structure.counts, alpha, tau)
    return bounds


def _chord(
    ends: dict[float, float], counts: tuple[int, int, int], alpha: float, tau: float
) -> float:
    """The highest of the chords at α between bounds of R^d on both sides of it."""
    known = dict(ends)
    for share in CHORDS:
        for place in (alpha * share, 1 - (1 - alpha) * share):
            known[place] = enclose_closed_form(*counts, place, tau).lower

    def height(left: float, right: float) -> float:
        part = (arb(right) - alpha) / (arb(right) - left)
        return float_below(part * known[left] + (1 - part) * known[right])

    with working_precision(CODE_PRECISION):
        return max(height(a, b) for a in known if a < alpha for b in known if b > alpha)
