"""Words for symbols and quantities: one table, for axes, labels and sentences."""

from __future__ import annotations

from typing import Any

ALPHA = r"mixing coefficient $\alpha$"
TAU = r"temperature $\tau$"
LABELS = {
    "delta2": r"$\delta^2$ (sq. length)",
    "view_variance": r"$v$ (sq. length)",
    "within_variance": r"$V_{\mathrm{within}}$ (sq. length)",
    "between_variance": r"$V_{\mathrm{between}}$ (sq. length)",
    "value": r"loss $L$ (nats)",
}
"""Quantities that slices can show, with symbol and unit."""

VARIABLES = {
    "temperature": r"$\tau$",
    "alpha": r"$\alpha$",
    "num_classes": "$m$",
    "num_instances": "$n$",
    "num_views": "$p$",
    "fraction": r"$\delta^2 / \delta^2_{\max}$",
    "share": r"share $\varphi$",
    "saturation": r"saturation $\xi$",
    "inverse_classes": "$1/m$",
    "inverse_instances": "$1/n$",
    "inverse_class_size": "$1/(pn)$",
    "inverse_log_classes": r"$1/\log m$",
    "weight": "weight $w$",
    "limit": r"limit $\theta$",
}
"""Variables of box proofs as axis labels, in the order of preference for a picture."""


AXES = {
    "alpha": ALPHA,
    "temperature": TAU,
    "num_classes": "number of classes $m$",
    "num_instances": "instances per class $n$",
    "num_views": "views $p$",
}

SYMBOLS = {
    "num_classes": "m",
    "num_instances": "n",
    "num_views": "p",
    "dim": "d",
    "alpha": "α",
    "temperature": "τ",
    "self_pairs": "self pairs",
    "mean": "mean over",
}
QUANTITIES = {
    "delta2": r"$\delta^2$",
    "view_variance": "view variance",
    "minimum": "minimal loss $L$ (nats)",
    "within_similarity": "within-class similarity",
    "between_similarity": "between-class similarity",
    "total_variance": "total variance",
    "between_variance": "between-class variance",
    "mean_squared": "squared norm of the mean",
}


def value_text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
