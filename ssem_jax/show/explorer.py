"""The explorer: one self-contained HTML page that shows the closed form as one drags.

Its arithmetic is that of :mod:`ssem_jax.theory` in a few lines of JavaScript; it needs no network,
no server and no Python once it is written. The address of the page holds the state of its sliders.
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from urllib.parse import urlencode

from ssem_jax.problem.validation import check_choice, check_count, check_mixing, check_temperature

TEMPLATE = "explorer.html"
SELF_PAIRS = ("include", "exclude", "decouple")


def page() -> str:
    """The page as text."""
    return resources.files("ssem_jax.show").joinpath(TEMPLATE).read_text(encoding="utf-8")


def write(path: str | os.PathLike[str]) -> Path:
    """Write the page.

    Args:
        path: the file; missing folders are made.

    Returns:
        The path.

    Raises:
        ValueError: a place that cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(), encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"cannot write {path}: {error.strerror}; choose another file for --out."
        ) from error
    return path


def link(
    path: str | os.PathLike[str],
    num_classes: int,
    num_instances: int,
    num_views: int,
    alpha: float,
    temperature: float,
    self_pairs: str = "include",
) -> str:
    """The address that opens a written page in a given state.

    Args:
        path: of the page.
        num_classes: m, 2 to 20.
        num_instances: n, 2 to 32.
        num_views: p, 1 to 8.
        alpha: α in [0, 1].
        temperature: τ, about 0.03 to 5. The page moves what is beyond its sliders to their ends.
        self_pairs: "include", "exclude" or "decouple".

    Returns:
        A file URL.

    Raises:
        ValueError: a count, a hyper-parameter or a convention out of range.
    """
    check_choice("self_pairs", self_pairs, SELF_PAIRS)
    check_mixing(alpha)
    check_temperature(temperature)
    state = {
        "m": check_count("num_classes", num_classes, 2),
        "n": check_count("num_instances", num_instances, 2),
        "p": check_count("num_views", num_views, 1),
        "alpha": repr(float(alpha)),
        "tau": repr(float(temperature)),
        "pairs": self_pairs,
    }
    return f"{Path(path).resolve().as_uri()}#{urlencode(state)}"
