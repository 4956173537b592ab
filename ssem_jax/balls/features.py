r"""Classifier weights and free features, proven for all sizes and norms at once.

The dual bound of probabilities P is mean H(P_i) less what norms are paid for ‖(P-T)/N‖. Where one
parameter rules, everything is a rational function of it and of two logarithms, whose coefficients
are compared by :func:`.identities.prove_zero`.
"""

from __future__ import annotations

from typing import Any

from ssem_jax.balls.identities import prove_zero
from ssem_jax.balls.thresholds import Threshold


def prove_simplex_features() -> Threshold:
    r"""Theorem: at balanced classes the simplex is optimal, and its loss is that of the bound.

    P gives 1-(K-1)q to its class and q to every other one, T the same with ε/K in place of q, and
    (P-T)/N is -K(q-ε/K)/N on differences of classes and 0 on their mean. Logits that differ by
    β = log p - log q have these probabilities. Then loss and bound agree, with

    * ridge: :math:`q - \varepsilon/K = \sqrt{n \lambda_W \lambda_H}`, of which β(K-1) is paid;
    * norms within limits, ε = 0: :math:`\beta = c K / (K-1)`, and K c q is paid, whatever c.
    """

    def own(kappa: Any, q: Any) -> Any:
        return 1 - (1 / kappa - 1) * q

    def ridge(kappa: Any, q: Any, rest: Any) -> tuple[Any, Any, Any]:
        """What log p and log q are multiplied by in loss - bound; and the norm less its limit."""
        others, price = 1 / kappa - 1, q - rest
        of_p = -own(kappa, rest) + others * price + own(kappa, q)
        of_q = -others * rest - others * price + others * q
        pairing = (own(kappa, q) - q) - (own(kappa, rest) - rest) + price / kappa
        return of_p, of_q, pairing

    def limits(kappa: Any, q: Any) -> tuple[Any, Any]:
        others = 1 / kappa - 1
        return 1 - own(kappa, q) - others * q, others * q - others * q

    names = ("kappa", "q", "rest")
    found = [prove_zero(lambda i=i, **at: ridge(**at)[i], names) for i in range(3)]
    found += [prove_zero(lambda i=i, **at: limits(**at)[i], names[:2]) for i in range(2)]
    return Threshold(tuple(found))


def prove_squared_error() -> Threshold:
    r"""Theorem: with weight decay the least squared error shrinks singular values of the labels.

    On a singular pair of the labels, of the value s, outputs of the value s - x with x =
    :math:`N \sqrt{\lambda_W \lambda_H}` have N times the loss :math:`x^2/2 + x (s - x)`, and the
    bound is :math:`s^2/2 - (s - x)^2/2`, of a matrix (P-T)/N of the norm that the decay pays for.
    For s ≤ x, at outputs 0, both are :math:`s^2/2` and the norm is not more.
    """

    def between(s: Any, x: Any) -> Any:
        return x * x / 2 + x * (s - x) - (s * s / 2 - (s - x) * (s - x) / 2)

    def norm(s: Any, x: Any) -> Any:
        return (s - (s - x)) / x - 1

    return Threshold((prove_zero(between, ("s", "x")), prove_zero(norm, ("s", "x"))))


def prove_merging() -> Threshold:
    r"""Theorem: with weight decay two classes of n samples merge iff :math:`n \le N^2 \lambda_W
    \lambda_H`, whatever other classes there are; else p_own - p_other is 1 - ε - x,
    :math:`x^2 = N^2 \lambda_W \lambda_H / n`, for any x < 1 - ε (ε = 0 in the first sentence). It
    holds of squared error as well, where p are the logits: (P-T)/N is all that is used.

    Their difference is a singular pair of (P-T)/N by symmetry, of the value
    √n (1 - ε - margin)/N, in units of √(λ_W λ_H): (1 - ε - margin)/x. Features and weights have a
    part along it only if that is 1, and none where it is less at margin 0.
    """

    def apart(x: Any, rest: Any) -> Any:
        return (1 - rest - (1 - rest - x)) / x - 1

    def merged(size: Any, whole: Any, weights: Any, features: Any) -> Any:
        """The square at margin 0, less 1: of the sign of n - N² λ_W λ_H."""
        limit = whole * whole * weights * features
        return size / whole / whole / weights / features - 1 - (size - limit) / limit

    return Threshold(
        (
            prove_zero(apart, ("x", "rest")),
            prove_zero(merged, ("size", "whole", "weights", "features")),
        )
    )
