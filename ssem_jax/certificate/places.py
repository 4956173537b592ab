r"""Where a checker has to look: symmetric optima in decimals, tilted by a quantity.

A file for :mod:`proofs_numeric.check` holds no proof, only Gram matrices that are constant on the
blocks of classes: the minimiser of L, and the minimisers of L - t f for the quantities f that it
brackets, with small tilts t of either sign. Nothing here is trusted.

* **Classes that are alike** (equal sizes and weights): the class means form a simplex, and beside
  it one variance x is positive at most, of instances or of views, because averaging raises no
  convex symmetric loss and because where instances part, views do not. The convex function of x is
  minimised by Newton's method in decimals.
* **All others**: a point is a unit vector for each class, its mean and the square roots of its
  variances. Newton's method on their product of spheres, in floats, finds where the slope is
  nothing but rounding; steps of the same Hessian with slopes in decimals carry on from there.

Both reach some forty digits, so that files have gaps of 1e-37.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from proofs_numeric import check
from ssem_jax.certificate.class_blocks import FEW_CLASSES, ClassBlocks

DIGITS = 60
"""Digits of the decimals; what is written has some fifteen less, which are right."""
WRITTEN = 45
"""Decimal places that are written."""
SETTLED = Decimal("1e-50")
"""Step at which a variance, or a point, is settled."""
NEWTON_STEPS = 200
"""Steps at most; a dozen are usual, and bisection alone takes 170."""
STARTS = 4
"""Random starts at most."""
DIFFERENCE = 1e-5
"""Step of the differences that give the Hessian: it errs by some 1e-10, and each decimal step gains
about so many digits."""
FLAT = 1e-9
"""Relative curvature under which a direction is a rotation of all points, and not followed."""
REACH = 0.5
"""Longest step, of points of which each has length 1."""
HALVINGS = 30
"""Of a step that leads up, at most."""
LEVEL = 1e-14
"""By so much may a value rise, relatively: rounding hides what a step near the minimum changes."""
STILL = 1e-13
"""Slope, relative to the curvature, at which decimals take over."""

Place = dict[str, Any]
"""What a file says of one Gram matrix: `class_means`, `delta2` and `view`, by class."""


class Tilt(NamedTuple):
    """A quantity f and the number t by which L - t f is tilted."""

    of: str
    by: Decimal


# ----------------------------------------------------------------------------- classes alike


def alike(stated: check.Problem) -> bool:
    """Whether all classes are alike, so that their means form a simplex."""
    return len({*zip(stated.sizes, stated.W, strict=True)}) == 1


class _Line(NamedTuple):
    """Similarities along one variance x: of a row with itself, of views, within, between."""

    counts: tuple[int, ...]
    base: tuple[Decimal, ...]
    rate: tuple[Decimal, ...]
    pull: Decimal

    def slope(self, x: Decimal, temperature: Decimal) -> tuple[Decimal, Decimal]:
        """Of L along x, and its derivative."""
        exponents = [
            (base + rate * x - 1) / temperature
            for base, rate in zip(self.base, self.rate, strict=True)
        ]
        terms = [c * e.exp() for c, e in zip(self.counts, exponents, strict=True)]
        total = sum(terms, Decimal(0))
        mean = sum((t * r for t, r in zip(terms, self.rate, strict=True)), Decimal(0)) / total
        square = sum((t * r * r for t, r in zip(terms, self.rate, strict=True)), Decimal(0)) / total
        return (mean - self.pull) / temperature, (square - mean * mean) / temperature**2


def _lines(stated: check.Problem) -> dict[str, _Line]:
    """Along the variance of instances and that of views, where there are several."""
    m, n, p = map(Decimal, (len(stated.sizes), stated.sizes[0], stated.views))
    counts = (stated.D[0], int(p - 1) * stated.D[1], int(p * (n - 1)), int(p * n * (m - 1)))
    base, part = ((Decimal(1),) * 3 + (-1 / (m - 1),), 1 / (m - 1))
    rates = {}
    if n > 1:
        rates["delta2"] = (Decimal(0), Decimal(0), -n / (n - 1), part)
    if p > 1:
        rates["view_variance"] = (Decimal(0), -p / (p - 1), Decimal(-1), part)
    weight, (_, own, sup, _) = _decimal(stated.w[0]), map(_decimal, stated.W[0])
    pulls = {
        name: ((p - 1) * own * rate[1] + p * (n - 1) * sup * rate[2]) / weight
        for name, rate in rates.items()
    }
    return {name: _Line(counts, base, rate, pulls[name]) for name, rate in rates.items()}


def _decimal(x: Fraction | int | float) -> Decimal:
    exact = Fraction(x)
    return Decimal(exact.numerator) / Decimal(exact.denominator)


def _rate(tilt: Tilt, name: str, line: _Line) -> Decimal:
    """What the tilt changes of the slope along a line."""
    of_similarity = {"within_similarity": line.rate[2], "between_similarity": line.rate[3]}
    return -tilt.by * of_similarity.get(tilt.of, Decimal(tilt.of == name))


def _root(line: _Line, temperature: Decimal, added: Decimal) -> Decimal:
    """Where a convex function of one variance in [0, 1] is least."""
    if line.slope(Decimal(0), temperature)[0] + added >= 0:
        return Decimal(0)
    low, high, x = Decimal(0), Decimal(1), Decimal("0.5")
    for _ in range(NEWTON_STEPS):
        slope, curvature = line.slope(x, temperature)
        low, high = (x, high) if slope + added < 0 else (low, x)
        following = x - (slope + added) / curvature if curvature else (low + high) / 2
        if not low < following < high:
            following = (low + high) / 2
        if abs(following - x) <= SETTLED:
            return following
        x = following
    return x


def _alike_place(stated: check.Problem, tilt: Tilt) -> Place:
    lines, tau, m = _lines(stated), _decimal(stated.tau), len(stated.sizes)
    added = {name: _rate(tilt, name, line) for name, line in lines.items()}
    slopes = {name: line.slope(Decimal(0), tau)[0] + added[name] for name, line in lines.items()}
    shares: dict[str, str] = dict.fromkeys(("delta2", "view_variance"), "0")
    if lines:
        name = min(slopes, key=slopes.__getitem__)
        shares[name] = f"{_root(lines[name], tau, added[name]):.{WRITTEN}f}"
    means = [[m * (i == j) - 1 for j in range(m)] for i in range(m)]
    return {
        "class_means": means,
        "delta2": [shares["delta2"]] * m,
        "view": [shares["view_variance"]] * m,
    }


# ------------------------------------------------------------------------- classes of any size


def functional_of(quantity: str, sizes: Sequence[int]) -> ClassBlocks:
    """A quantity as a linear function of the blocks, up to a constant.

    Raises:
        ValueError: it is none that the checker knows.
    """
    name, _, index = quantity.partition("_of_class_")
    n, m = np.asarray(sizes, object), len(sizes)
    share, zeros, none = n * Fraction(1, int(sum(sizes))), 0 * n, np.zeros((m, m), int)
    if index in map(str, range(m)):
        share = np.array([Fraction(k == int(index)) for k in range(m)])
    pairs = n * (n - 1) * Fraction(1, max(int(sum(n * (n - 1))), 1))
    stretch = np.array([Fraction(size, max(size - 1, 1)) for size in sizes])
    apart = np.outer(n, n) * (1 - np.eye(m, dtype=int))
    known = {
        "delta2": ClassBlocks(zeros, share, none),
        "view_variance": ClassBlocks(share, zeros, none),
        "mean_squared": ClassBlocks(zeros, zeros, np.outer(share, share)),
        "within_similarity": ClassBlocks(-pairs, -pairs * stretch, none),
        "between_similarity": ClassBlocks(zeros, zeros, apart * Fraction(1, int(apart.sum()))),
    }
    of_class = index in map(str, range(m)) and name in ("delta2", "view_variance")
    if name not in known or (quantity != name and not of_class):
        raise ValueError(
            f"a quantity must be one of {', '.join(known)}, or a variance of one class, as "
            f"delta2_of_class_0; got {quantity!r}."
        )
    return known[name]


class _Program:
    """The slope of L - t f over points, in floats or in decimals.

    A point is (m, m + 2): for each class a unit vector, of its mean (m numbers), √δ² and √view.
    """

    def __init__(self, stated: check.Problem, tilt: Tilt, number: type) -> None:
        convert: Any = np.frompyfunc(float if number is float else _decimal, 1, 1)

        def numbers(values: Any) -> np.ndarray:
            return convert(np.asarray(values, object)).astype(number if number is float else object)

        n, p, m = np.array(stated.sizes), stated.views, len(stated.sizes)
        self.exp = np.exp if number is float else np.frompyfunc(Decimal.exp, 1, 1)
        one = np.ones(m, int)
        near = [one * stated.D[0], one * (p - 1) * stated.D[1], p * (n - 1)]
        apart = p * n * (1 - np.eye(m, dtype=int))
        self.counts = np.concatenate([np.stack(near, axis=1), apart], axis=1)
        positives = np.stack([one, one * (p - 1), p * (n - 1)], axis=1)
        self.pull = numbers(positives * np.array([row[:3] for row in stated.W], object))
        self.weight, self.members = numbers(stated.w)[:, None], (p * n)[:, None]
        self.stretch = numbers([Fraction(int(size), max(int(size) - 1, 1)) for size in n])
        self.view_stretch = numbers([Fraction(p, max(p - 1, 1))])[0]
        self.present = np.stack([one] * m + [one * (n > 1), one * (p > 1)], axis=1)
        self.temperature, t = numbers([stated.tau])[0], Fraction(tilt.by)
        self.tilt = ClassBlocks(
            *(
                numbers(np.asarray(part, object) * t)
                for part in functional_of(tilt.of, stated.sizes)
            )
        )

    def _apart(self, points: np.ndarray) -> np.ndarray:
        """Similarities less 1, of a class: to itself, views, within, and to every class."""
        m = len(points)
        means, delta2, view = points[:, :m], points[:, m] ** 2, points[:, m + 1] ** 2
        of_view, within = -view * self.view_stretch, -view - delta2 * self.stretch
        near = np.stack([0 * view, of_view, within], axis=1)
        return np.concatenate([near, means @ means.T - 1], axis=1)

    def value(self, points: np.ndarray) -> float:
        """Of L - t f up to a constant, in floats."""
        m, apart = len(points), self._apart(points) / self.temperature
        totals = np.log((self.counts * np.exp(apart)).sum(axis=1))[:, None]
        pulls = (self.pull * apart[:, :3]).sum(axis=1)[:, None]
        means, variances = points[:, :m], points[:, m:] ** 2
        tilts = (self.tilt.gram * (means @ means.T)).sum()
        tilts += (np.stack([self.tilt.delta2, self.tilt.view], axis=1) * variances).sum()
        return float((self.members * (self.weight * totals - pulls)).sum() - tilts)

    def slope(self, points: np.ndarray) -> np.ndarray:
        """Along the spheres."""
        m = len(points)
        means, apart = points[:, :m], self._apart(points)
        masses = self.counts * self.exp(apart / self.temperature)
        masses = masses / masses.sum(axis=1)[:, None] * self.weight
        masses[:, :3] = masses[:, :3] - self.pull
        masses = masses * self.members / self.temperature
        across = masses[:, 3:] - self.tilt.gram
        by_view = -masses[:, 1] * self.view_stretch - masses[:, 2] - self.tilt.view
        by_instance = -masses[:, 2] * self.stretch - self.tilt.delta2
        variances = [2 * by_instance * points[:, m], 2 * by_view * points[:, m + 1]]
        found = np.concatenate([(across + across.T) @ means, np.stack(variances, axis=1)], axis=1)
        return (found - points * (points * found).sum(axis=1)[:, None]) * self.present

    def hessian(self, points: np.ndarray) -> np.ndarray:
        """Of floats, from differences of slopes; symmetric, and 0 across the spheres."""
        size, columns = points.size, []
        for step in np.eye(size) * DIFFERENCE:
            ends = [unit(points + sign * step.reshape(points.shape)) for sign in (1, -1)]
            ahead, behind = map(self.slope, ends)
            columns.append((ahead - behind).ravel() / (2 * DIFFERENCE))
        radial = np.zeros((len(points), size))
        for k, row in enumerate(points):
            radial[k, k * len(row) : (k + 1) * len(row)] = row
        tangent = np.diag(self.present.ravel()) - radial.T @ radial
        matrix = tangent @ np.array(columns) @ tangent
        return 0.5 * (matrix + matrix.T)


def unit(points: np.ndarray) -> np.ndarray:
    """The rows, normalised; of floats or of decimals."""
    squares = (points * points).sum(axis=1)[:, None]
    roots = np.sqrt(squares) if points.dtype != object else squares ** Decimal("0.5")
    return points / roots


def _newton(program: _Program, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """A point of little slope, the inverse of its curvature, and what is left of the slope.

    Steps of at most `REACH` go against |curvature|, and so leave saddles; they are halved until
    they lead down.
    """
    inverse, left, value = np.eye(points.size), np.inf, program.value(points)
    for _ in range(NEWTON_STEPS):
        slope = program.slope(points).ravel()
        values, vectors = np.linalg.eigh(program.hessian(points))
        size, top = np.abs(values), max(np.abs(values).max(), 1e-300)
        followed = size > FLAT * top
        inverse = (vectors * np.where(followed, 1 / np.where(followed, size, 1), 0)) @ vectors.T
        step = -inverse @ slope
        length, left = np.linalg.norm(step), np.linalg.norm(slope) / top
        if left <= STILL and values.min() > -1e-6 * top:
            break
        step = (step * min(1, REACH / length)).reshape(points.shape) * program.present
        for _ in range(HALVINGS):
            if program.value(unit(points + step)) <= value + LEVEL * (1 + abs(value)):
                break
            step = step / 2
        points = unit(points + step)
        value = program.value(points)
    return points, inverse, left


def _any_places(stated: check.Problem, tilts: Sequence[Tilt]) -> list[Place]:
    """The optimum in floats, and from there in decimals; then, as near by, the tilted ones."""
    none, m = Tilt("delta2", Decimal(0)), len(stated.sizes)
    program = _Program(stated, none, float)
    random = np.random.default_rng(0)
    attempts = []
    for _ in range(STARTS):
        attempts.append(_newton(program, unit(random.normal(size=(m, m + 2)) * program.present)))
        if attempts[-1][2] <= STILL:
            break
    points, inverse, _ = min(attempts, key=lambda attempt: attempt[2])
    found = [_refined(_Program(stated, none, Decimal), _decimals(points), inverse)]
    for tilt in tilts:
        found.append(_refined(_Program(stated, tilt, Decimal), found[0], inverse))
    return [_place_of(each, stated) for each in found]


def _decimals(points: np.ndarray) -> Any:
    return np.frompyfunc(Decimal, 1, 1)(points)


REFINEMENTS = 12
"""Decimal steps at most; five or six are usual."""


def _refined(program: _Program, points: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Steps of one curvature, with slopes in decimals, for as long as they shrink."""
    points = unit(points)
    best, last = points, None
    for _ in range(REFINEMENTS):
        slope = program.slope(points)
        size = max(abs(x) for x in slope.ravel())
        if last is not None and size >= last:
            return best
        best, last = points, size
        if size <= SETTLED:
            break
        scaled = np.array([float(x / size) for x in slope.ravel()])
        step = _decimals(inverse @ scaled).reshape(points.shape) * size
        points = unit(points - step * program.present)
    return best


def _place_of(points: np.ndarray, stated: check.Problem) -> Place:
    """Class means up to their lengths, and variances, of m unit vectors of decimals."""
    m = len(stated.sizes)

    def written(x: Decimal) -> str:
        return f"{x:.{WRITTEN}f}"

    means = points[:, :m].copy()
    for row in means:
        if max(map(abs, row)) < Decimal(10) ** -WRITTEN:
            row[0] = Decimal(1)  # a mean of length 0 has any direction
    return {
        "class_means": [[written(x) for x in row] for row in means],
        "delta2": [written(x * x) for x in points[:, m]],
        "view": [written(x * x) for x in points[:, m + 1]],
    }


# -------------------------------------------------------------------------------------- both


def known_places(stated: check.Problem) -> bool:
    """Whether the optimum of a problem can be computed here."""
    return alike(stated) or len(stated.sizes) <= FEW_CLASSES


def places(stated: check.Problem, tilts: Sequence[Tilt]) -> list[Place]:
    """The minimiser of L, and then that of each tilted L."""
    with localcontext() as context:
        context.prec = DIGITS
        if not alike(stated):
            return _any_places(stated, tilts)
        none = Tilt("delta2", Decimal(0))
        return [_alike_place(stated, tilt) for tilt in (none, *tilts)]
