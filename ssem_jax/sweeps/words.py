"""Words for symbols: one table, from which axes, labels, captions, titles and lines of a
terminal take theirs."""

from __future__ import annotations

from typing import Any, NamedTuple


class Word(NamedTuple):
    """What a quantity or a variable is called.

    Attributes:
        plain: in a sentence, in Unicode.
        short: in a picture that has little room, as TeX.
        axis: in full, with symbol and unit; empty where `short` says it all.
        typed: as one types it, for a line of a terminal; empty where the name itself will do.
    """

    plain: str
    short: str
    axis: str = ""
    typed: str = ""


# In the order in which a picture of many variables prefers them: τ across, α up.
WORDS = {
    "temperature": Word("τ", r"$\tau$", r"temperature $\tau$", "tau"),
    "alpha": Word("α", r"$\alpha$", r"mixing coefficient $\alpha$"),
    "num_classes": Word("m", "$m$", "number of classes $m$", "m"),
    "num_instances": Word("n", "$n$", "instances per class $n$", "n"),
    "num_views": Word("p", "$p$", "views $p$", "p"),
    "dim": Word("d", "$d$", "dimension $d$", "d"),
    "self_pairs": Word("self pairs", "self pairs"),
    "mean": Word("mean over", "mean over"),
    # Quantities that are bracketed, predicted or found.
    "delta2": Word("δ²", r"$\delta^2$", r"$\delta^2$ (sq. length)"),
    "view_variance": Word("view variance", "view variance", r"$v$ (sq. length)"),
    "within_variance": Word(
        "within-class variance",
        "within-class variance",
        r"$V_{\mathrm{within}}$ (sq. length)",
    ),
    "between_variance": Word(
        "between-class variance",
        "between-class variance",
        r"$V_{\mathrm{between}}$ (sq. length)",
    ),
    "total_variance": Word("total variance", "total variance"),
    "mean_squared": Word("squared norm of the mean", "squared norm of the mean"),
    "within_similarity": Word("within-class similarity", "within-class similarity"),
    "between_similarity": Word("between-class similarity", "between-class similarity"),
    "value": Word("loss", "loss $L$", "loss $L$ (nats)"),
    "minimum": Word("minimal loss", "minimal loss $L$ (nats)"),
    # Boundaries.
    "alpha_c": Word("α_c", r"$\alpha_c(\tau)$"),
    "alpha_v": Word("α_v", r"$\alpha_v(\tau)$"),
    "tau_c": Word("τ_c", r"$\tau_c$"),
    # Variables of box proofs alone.
    "fraction": Word("δ²/δ²_max", r"$\delta^2 / \delta^2_{\max}$"),
    "share": Word("share φ", r"share $\varphi$"),
    "saturation": Word("saturation ξ", r"saturation $\xi$"),
    "inverse_classes": Word("1/m", "$1/m$"),
    "inverse_instances": Word("1/n", "$1/n$"),
    "inverse_class_size": Word("1/(pn)", "$1/(pn)$"),
    "inverse_log_classes": Word("1/log m", r"$1/\log m$"),
    "weight": Word("weight w", "weight $w$"),
    "limit": Word("limit θ", r"limit $\theta$"),
}

COORDINATES = (
    "num_classes",
    "num_instances",
    "num_views",
    "dim",
    "alpha",
    "temperature",
    "self_pairs",
    "mean",
)
"""What tells the cells of a table apart, in the order in which a sentence says it."""


def plain(name: str) -> str:
    """For a sentence: "α". A name that is not in the table stands for itself, spaced."""
    return WORDS[name].plain if name in WORDS else name.replace("_", " ")


def short(name: str) -> str:
    r"""For a picture with little room: "$\alpha$". An unknown name stands for itself."""
    return WORDS[name].short if name in WORDS else name


def axis(name: str) -> str:
    r"""For an axis: "mixing coefficient $\alpha$". An unknown name stands for itself."""
    return WORDS[name].axis or WORDS[name].short if name in WORDS else name


def typed(name: str) -> str:
    """For a line of a terminal: "tau". A name without another word stands for itself."""
    return WORDS[name].typed or name if name in WORDS else name


def number(value: Any) -> str:
    """A value in a sentence: three digits of a float."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


ALPHA, TAU = axis("alpha"), axis("temperature")
"""The two axes that most figures have."""
