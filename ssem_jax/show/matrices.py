"""Gram matrices as heat maps, and embeddings on the sphere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from ssem_jax.problem.arrays import AnyArray
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.show.style import COLORS, MARKERS


def gram(matrix: AnyArray, ax: Axes, structure: ClassStructure | None = None) -> Any:
    """A matrix of similarities as a heat map, from -1 (brown) over 0 (white) to 1 (purple).

    Args:
        matrix: (N, N), or (m, m) similarities of class means.
        ax: axes to draw into.
        structure: draws lines between classes.

    Returns:
        The image.
    """
    image = ax.imshow(matrix, cmap="PuOr", norm=Normalize(-1, 1), interpolation="nearest")
    image.set_rasterized(True)
    if structure is not None:
        ends = np.cumsum(np.asarray(structure.sizes) * structure.num_views)[:-1] - 0.5
        for end in ends:
            ax.axhline(end, color="black", lw=0.6)
            ax.axvline(end, color="black", lw=0.6)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(True)
    return image


def write_numbers(matrix: AnyArray, ax: Axes, digits: int = 2) -> list[Any]:
    """The entries of a small matrix, written into its heat map."""
    return [
        ax.text(
            column,
            row,
            f"{entry:.{digits}f}".replace("-", "−").replace("0.", ".").removesuffix(".00"),
            ha="center",
            va="center",
            fontsize=7.5,
            color="white" if abs(entry) > 0.6 else "black",
        )
        for (row, column), entry in np.ndenumerate(np.asarray(matrix))
    ]


def sphere(points: AnyArray, ax: Any, class_ids: Sequence[int] | AnyArray) -> list[Any]:
    """Embeddings in d = 3 on the unit sphere, a colour and a marker for each class.

    Args:
        points: (N, 3).
        ax: axes with the 3d projection.
        class_ids: (N,).

    Returns:
        One scatter for each class.
    """
    turn, rise = np.mgrid[0 : 2 * np.pi : 25j, 0 : np.pi : 13j]
    ball = np.cos(turn) * np.sin(rise), np.sin(turn) * np.sin(rise), np.cos(rise)
    ax.plot_wireframe(*ball, color="0.8", lw=0.3)
    scatters = []
    ids = np.asarray(class_ids)
    for number in np.unique(ids):
        chosen = points[ids == number]
        color = COLORS[number % len(COLORS)]
        for point in chosen:
            ax.plot(*np.stack([np.zeros(3), point], axis=1), color=color, lw=0.7, alpha=0.7)
        scatters.append(
            ax.scatter(
                *chosen.T,
                color=color,
                marker=MARKERS[number % len(MARKERS)],
                s=26,
                edgecolor="white",
                linewidth=0.4,
                depthshade=True,
            )
        )
    ax.set_axis_off()
    ax.set_box_aspect((1, 1, 1), zoom=1.22)
    ax.set_xlim(-0.8, 0.8)
    ax.set_ylim(-0.8, 0.8)
    ax.set_zlim(-0.8, 0.8)
    return scatters
