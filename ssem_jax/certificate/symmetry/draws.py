r"""Means of logarithms over random draws: the terms of random batches of unequal classes.

A random batch puts k of M others beside an anchor, without replacement; N_e of them are of kind e,
each of which adds :math:`z_e` to the denominator Z. There are too many compositions to be listed,
and one integral for all of them,

.. math:: \operatorname{E} \log Z = \log \bar Z
          + \int_0^\infty \frac{e^{-t \bar Z} - \operatorname{E} e^{-tZ}}{t} \, dt,
   \qquad \operatorname{E} e^{-tZ} = e^{-tA} \,
   \frac{[x^k] \prod_e (1 + x e^{-t z_e})^{N_e}}{[x^k] (1 + x)^M},

A what is always there and :math:`\bar Z` the mean of Z. Shares E[y/Z] and E[yy'/Z²], of which
slope and curvature are made, are such integrals, too.

**The integral**, in u = log t, is a sum over equal steps h: its integrand is analytic where
|Im u| < π/2, and its modulus on the line Im u = a integrates to |log(Z/Z̄)|/cos a at most, so that
the sum errs by 2 |log(Z/Z̄)| / (cos a · (e^{2πa/h} - 1)) (Trefethen and Weideman, theorem 5.1).

**The coefficient** is a mean over a circle, at J angles. Every M others drawn independently with
probability θ = k/M are k in number with a chance of about 1/√(2πk), and by J more or fewer with one
that Bernstein's inequality bounds: J of some 10√k angles leave out nothing that double precision
shows, and of those only the few count at which the modulus is not less than rounding.

References:
    Trefethen and Weideman (SIAM Review 56, 2014) for the trapezoidal rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Complex, Float, Int

from ssem_jax.certificate import rounding
from ssem_jax.losses.terms import Drawn, Kind, Slot

STEP = 0.28
"""h: the sum then errs by 6e-14 of |log(Z/Z̄)|."""
STRIP = 1.53
"""a, just below π/2."""
SUM_ERROR = 2 / (math.cos(STRIP) * math.expm1(2 * math.pi * STRIP / STEP))
"""Of the sum over steps, relative to what the integrand's modulus integrates to."""
FIRST = 1e-8
"""t·Z̄ where the sums begin, over √(largest Z/Z̄): what is left out is of the order of its square."""
LAST = 40.0
"""t·Z where they end, for the least Z."""
FAINT = 40.0
"""-log of a modulus that counts as none, and of the chance that draws are J more or fewer."""
LEFT_OUT = 1e-14
"""By so much may all that is left out change a mean: it is e^-40 √(2πk), and the square of
`FIRST`."""


class _Circle(NamedTuple):
    """Angles at which the coefficient of x^k is taken.

    Attributes:
        angles: (J,) φ from 0 on; those below the axis are their mirror images.
        weights: (J,) 1, and 2 of all but the first.
        chance: θ.
        whole: the sum for [x^k](1+x)^M, in which alone the weights differ from 1.
        error: relative, of that.
    """

    angles: Float[np.ndarray, " J"]
    weights: Float[np.ndarray, " J"]
    chance: float
    whole: float
    error: float


@lru_cache(maxsize=1024)
def _circle(total: int, drawn: int) -> _Circle:
    theta = drawn / total
    if drawn == total:  # all are there: nothing is random
        return _Circle(np.zeros(1), np.ones(1), 1.0, 1.0, 0.0)
    spread = drawn * (1 - theta)
    number = min(total + 1, math.ceil(14 + math.sqrt(180 + 2 * FAINT * spread)))
    number += 1 - number % 2
    angles = 2 * math.pi / number * np.arange(number // 2 + 1)
    # Of the factors 1 - θ + θqe^{iφ}, 0 ≤ q ≤ 1, the modulus is largest at an end.
    most = 0.5 * np.log1p(-4 * theta * (1 - theta) * np.sin(angles / 2) ** 2)
    most = np.where(np.cos(angles) < 0, np.maximum(most, math.log1p(-theta)), most)
    angles = angles[total * most >= -FAINT]
    weights = np.where(angles > 0, 2.0, 1.0)
    logs, loose = _logarithms(angles, theta, np.zeros((1, 1)), np.array([float(total)]), drawn)[:2]
    parts = weights * np.exp(logs[:, 0])
    whole = float(np.sum(np.real(parts)))
    return _Circle(angles, weights, theta, whole, float(np.abs(parts) @ loose[:, 0]) / whole)


def _logarithms(
    angles: np.ndarray, theta: float, sizes: np.ndarray, counts: np.ndarray, drawn: int
) -> tuple[Complex[np.ndarray, "J T"], Float[np.ndarray, "J T"], Complex[np.ndarray, "J T P"]]:
    """log Π(1 - θ + θqe^{iφ})^N - ikφ for q = e^{-size}; by how much it may err; and θqe^{iφ} over
    the factors: what part of a kind is drawn.

    All is computed from q - 1 and e^{iφ} - 1, both right to a few roundings.
    """
    kept, less = np.exp(-sizes), np.expm1(-sizes)  # (T, P)
    if theta == 1:
        logs = np.sum(-counts * sizes, axis=-1)[None] + 0j
        return logs, 16 * rounding.UNIT * np.abs(logs), np.ones((1, *sizes.shape), complex)
    half = angles[:, None, None] / 2
    turn = np.cos(2 * half) + 1j * np.sin(2 * half)
    beside = 2j * np.sin(half) * (np.cos(half) + 1j * np.sin(half))  # e^{iφ} - 1
    change = theta * (turn * less + beside)
    factor = 1 + change
    logs = 0.5 * np.log1p(change.real * (2 + change.real) + change.imag**2)
    logs = logs + 1j * np.arctan2(change.imag, factor.real)
    modulus = np.maximum(np.abs(factor), rounding.SMALLEST)
    moved = theta * (np.abs(less) + np.abs(beside) + sizes * kept) / modulus
    turned = drawn * angles[:, None]
    loose = np.sum(counts * (np.abs(logs) + moved), axis=-1) + turned + 4
    found = np.sum(counts * logs, axis=-1) - 1j * turned
    return found, 16 * rounding.UNIT * loose, theta * kept * turn / factor


class _Moments(NamedTuple):
    """E log Z, and the shares of what Z is summed from.

    Attributes:
        value: E log Z.
        shares: (E,) E[y/Z].
        squares: (E, E) E[yy'/Z²].
        error: of the value.
        loose: (E,) of the shares.
    """

    value: float
    shares: Float[np.ndarray, " E"]
    squares: Float[np.ndarray, "E E"]
    error: float
    loose: Float[np.ndarray, " E"]

    def plus(self, other: _Moments, factor: float) -> _Moments:
        """Together with others that count `factor`, of any sign."""
        size = abs(factor)
        return _Moments(
            self.value + factor * other.value,
            self.shares + factor * other.shares,
            self.squares + factor * other.squares,
            self.error + size * other.error,
            self.loose + size * other.loose,
        )


def _moments(
    fixed: Float[np.ndarray, " F"],
    drawn_each: Float[np.ndarray, " P"],
    counts: Int[np.ndarray, " P"],
    drawn: int,
) -> _Moments:
    """Over all draws of some of a pool.

    Args:
        fixed: (F,) what is always there.
        drawn_each: (P,) what one of a kind adds.
        counts: (P,) how many of each there are.
        drawn: k.
    """
    circle, number = _circle(int(counts.sum()), drawn), counts.astype(float)
    means = np.append(fixed, circle.chance * number * drawn_each)
    whole = float(means.sum())
    fixed, each, means = fixed / whole, drawn_each / whole, means / whole
    always, sized = float(fixed.sum()), each[counts > 0]
    least, most = always + drawn * float(sized.min()), always + drawn * float(sized.max())
    ends = math.log(FIRST / math.sqrt(max(most, 1.0))), math.log(LAST / min(least, 1.0))
    t = np.exp(np.arange(ends[0], ends[1] + STEP, STEP))
    logs, loose, taken = _logarithms(circle.angles, circle.chance, t[:, None] * each, number, drawn)
    weights = circle.weights[:, None] * np.exp(logs - always * t) / circle.whole  # (J, T)
    loose = loose + 16 * rounding.UNIT * (always * t + 1) + circle.error
    size = np.abs(weights)
    # What is drawn of every entry, whose products with `sizes` are summed: (J, T, E).
    shape = (*weights.shape, len(fixed))
    entries = np.concatenate([np.ones(shape), number * taken], axis=-1)
    sizes = np.append(fixed, each)
    plain = np.exp(-t)
    value = math.log(whole) + STEP * float(np.sum(plain - weights.sum(0).real))
    firsts = np.einsum("jt,jte->te", weights, entries).real * sizes
    shares = means + STEP * (t @ (firsts - means * plain[:, None]))
    flat = entries.reshape(-1, len(sizes))
    second = (flat.T * (weights * t * t).ravel()) @ flat
    left = np.einsum("jt,jte->e", weights * t * t, taken * (1 - taken)) * number
    second[np.diag_indices(len(sizes))] += np.append(np.zeros(len(fixed)), left)
    squares = STEP * second.real * np.outer(sizes, sizes)
    error = STEP * float(np.sum(size * loose) + 8 * rounding.UNIT * np.sum(plain + size.sum(0)))
    error += 8 * rounding.UNIT * (abs(math.log(whole)) + 1) + LEFT_OUT
    error += SUM_ERROR * (math.log(most / least) + 1)
    of_share = size * t * (2 * loose + 16 * rounding.UNIT)
    errs = np.einsum("jt,jte->e", of_share, np.abs(entries)) * sizes
    relative = SUM_ERROR + LEFT_OUT + 16 * rounding.UNIT * len(t)
    errs = STEP * errs + relative * (means + np.abs(shares))
    return _Moments(value, shares, squares, error, errs)


class _Term(NamedTuple):
    """A term in arrays; the entry of a slot on the diagonal has the last variable."""

    weight: float
    logs: Float[np.ndarray, " E"]
    slopes: Float[np.ndarray, " E"]
    orbits: Int[np.ndarray, " E"]
    fixed: int
    laws: tuple[tuple[float, Int[np.ndarray, " P"]], ...]
    drawn: int


def _without_first(term: Drawn) -> float:
    """The chance that none of the first kind is drawn."""
    total, others = sum(term.counts), sum(term.counts[1:])
    if others < term.drawn:
        return 0.0
    ratios = (np.arange(total - others) + (others - term.drawn + 1.0)) / (
        np.arange(total - others) + (others + 1.0)
    )
    return float(np.exp(np.sum(np.log(ratios))))


def _term(term: Drawn, variable: Callable[[Kind], int]) -> _Term:
    slots: tuple[Slot, ...] = (*term.slots, *term.pool)
    counts = np.array(term.counts, np.int64)
    laws: list[tuple[float, np.ndarray]] = [(1.0, counts)]
    if term.required and (none := _without_first(term)) > 0:
        laws.append((-none, np.append(0, counts[1:])))
    return _Term(
        term.weight,
        np.array([slot.log for slot in slots]),
        np.array([slot.slope for slot in slots]),
        np.array([variable(slot.kind) for slot in slots]),
        len(term.slots),
        tuple(laws),
        term.drawn,
    )


class Local(NamedTuple):
    """The terms at a point, with what value and slope may err by."""

    value: float
    slope: Float[np.ndarray, " O"]
    bend: Float[np.ndarray, "O O"]
    error: float
    loose: float


class Draws:
    """The terms of a loss that are means over random draws, over the variables of a program.

    Args:
        terms: of the loss.
        variable: of a kind of pairs; `number` on the diagonal.
        number: O, of variables.
    """

    def __init__(
        self, terms: tuple[Drawn, ...], variable: Callable[[Kind], int], number: int
    ) -> None:
        self.terms, self.number = [_term(term, variable) for term in terms], number
        self._last: tuple[bytes, Local] | None = None

    def local(self, x: Float[np.ndarray, " O"]) -> Local:
        """Value, slope and curvature; the last point is remembered."""
        key = x.tobytes()
        if self._last is None or self._last[0] != key:
            self._last = key, self._local(x)
        return self._last[1]

    def _local(self, x: np.ndarray) -> Local:
        size = self.number + 1
        value, error, loose = 0.0, 0.0, 0.0
        slope, bend, apart = np.zeros(size), np.zeros((size, size)), np.append(1 - x, 0.0)
        known: dict[tuple[Any, ...], _Moments] = {}  # L_sup and L_self share denominators
        for term in self.terms:
            parts = np.exp(term.logs - term.slopes * apart[term.orbits])
            none = np.zeros(len(parts))
            here, gross = _Moments(0.0, none, np.outer(none, none), 0.0, none), none
            for chance, counts in term.laws:
                key = (parts.tobytes(), term.fixed, counts.tobytes(), term.drawn)
                if key not in known:
                    pools = parts[: term.fixed], parts[term.fixed :]
                    known[key] = _moments(*pools, counts, term.drawn)
                here = here.plus(known[key], chance * term.weight)
                gross = gross + abs(chance) * term.weight * known[key].shares
            value, error = value + here.value, error + here.error
            steep = term.slopes * here.shares
            np.add.at(slope, term.orbits, steep)
            np.add.at(bend, (term.orbits, term.orbits), term.slopes * steep)
            curved = np.outer(term.slopes, term.slopes) * here.squares
            np.subtract.at(bend, np.ix_(term.orbits, term.orbits), curved)
            # Parts err by as many roundings as their exponents are large.
            argument = (np.abs(term.logs) + term.slopes * apart[term.orbits] + 1) * rounding.gamma(
                rounding.WEIGHT_ROUNDINGS + 8
            )
            error += float(argument @ gross)
            loose += float(term.slopes @ (here.loose + 4 * argument.max() * gross))
        bend = (bend + bend.T)[:-1, :-1] / 2
        return Local(value, slope[:-1], bend, error, loose)
