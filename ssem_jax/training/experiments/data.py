"""Small data with hidden subclasses, held in memory: bundled digits and Gaussian mixtures.

A task has *fine* classes. Some are grouped into *coarse* classes, whose labels alone are seen in
training; the others are unseen altogether. Which fine classes form a group, which are unseen, and
which instances are for training all depend on the seed, so that a spread over seeds is one over
tasks, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ssem_jax.problem.structure import ClassStructure

Augmentation = Callable[[PRNGKeyArray, Float[Array, "B f"]], Float[Array, "B f"]]

SIDE = 8
"""Pixels on a side of a digit."""
MAX_ROTATION = np.pi / 12
MAX_SHIFT = 1.0
"""In pixels."""
MAX_ZOOM = 0.1
PIXEL_NOISE = 0.1
"""Standard deviation; a pixel lies in [0, 1]."""

MIXTURE_FEATURES = 32
FINE_SCALE, INSTANCE_SCALE, VIEW_SCALE = 0.7, 0.35, 0.25
"""Standard deviations, for a coarse centre of standard deviation 1, in each feature."""


@dataclasses.dataclass(frozen=True)
class Split:
    """Instances for training or for testing, in the order of their labels.

    Attributes:
        inputs: (M, f) float32.
        fine: (M,) fine class.
        counts: instances of each label in training: the rows of a label are adjacent. Empty where
            no label is ever given.
    """

    inputs: Float[np.ndarray, "M f"]
    fine: np.ndarray
    counts: tuple[int, ...] = ()

    @property
    def labels(self) -> np.ndarray:
        """(M,) label of every instance."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


@dataclasses.dataclass(frozen=True)
class Task:
    """Coarse classes to train on, and what to judge the encoder by.

    Attributes:
        train, test: instances of the grouped fine classes, labelled by group.
        unseen_train, unseen_test: instances of the other fine classes, to probe with.
        augment: makes a view of each of a batch of inputs.
    """

    train: Split
    test: Split
    unseen_train: Split
    unseen_test: Split
    augment: Augmentation


def digits(seed: int, num_groups: int = 3, group_size: int = 2) -> Task:
    """The 1,797 digits of 8 × 8 pixels that come with scikit-learn, 174 of each kind.

    Args:
        seed: chooses the digits of each group and the third of the images for testing.
        num_groups: coarse classes.
        group_size: digits in each; what is left of the ten is unseen.

    References:
        Alpaydin and Kaynak (1998), UCI optical recognition of handwritten digits.
    """
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = (np.asarray(bunch.data) / bunch.data.max()).astype(np.float32)
    target = np.asarray(bunch.target)
    return _task(
        np.random.default_rng([seed, 1]),
        [images[target == digit] for digit in range(10)],
        num_groups,
        group_size,
        augment_digits,
    )


def mixture(
    seed: int, num_groups: int = 3, group_size: int = 2, num_unseen: int = 4, count: int = 174
) -> Task:
    r"""Gaussian mixtures whose coarse and fine centres are known.

    .. math:: x = c_\mathrm{coarse} + 0.7\, c_\mathrm{fine} + 0.35\, \varepsilon_\mathrm{instance}
              \quad (+\, 0.25\, \varepsilon_\mathrm{view}), \qquad c, \varepsilon \sim N(0, I_{32})

    Unseen fine classes have a coarse centre of their own each.

    Args:
        seed: draws the centres and the instances.
        num_groups: coarse classes.
        group_size: fine classes in each.
        num_unseen: fine classes left out of training.
        count: instances of each fine class.
    """
    rng = np.random.default_rng([seed, 2])
    num_fine = num_groups * group_size + num_unseen
    coarse = np.concatenate(
        [
            np.repeat(rng.normal(size=(num_groups, MIXTURE_FEATURES)), group_size, axis=0),
            rng.normal(size=(num_unseen, MIXTURE_FEATURES)),
        ]
    )
    centres = coarse + FINE_SCALE * rng.normal(size=(num_fine, MIXTURE_FEATURES))
    noise = INSTANCE_SCALE * rng.normal(size=(num_fine, count, MIXTURE_FEATURES))
    kinds = list((centres[:, None] + noise).astype(np.float32))
    return _task(rng, kinds, num_groups, group_size, augment_vectors, shuffled=False)


def _task(
    rng: np.random.Generator,
    kinds: Sequence[np.ndarray],
    num_groups: int,
    group_size: int,
    augment: Augmentation,
    shuffled: bool = True,
) -> Task:
    """Equally many instances of each kind, split in the ratio 2 : 1, in groups."""
    grouped = num_groups * group_size
    if not 0 < grouped <= len(kinds):
        raise ValueError(
            f"{num_groups} groups of {group_size} need as many of the {len(kinds)} fine classes; "
            "make fewer or smaller groups."
        )
    count = min(len(kind) for kind in kinds)
    order = rng.permutation(len(kinds)) if shuffled else np.arange(len(kinds))
    held_out = count // 3
    parts: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    for kind in order.tolist():
        rows = kinds[kind][rng.permutation(len(kinds[kind]))[:count]]
        parts["test"].append(rows[:held_out])
        parts["train"].append(rows[held_out:])

    def split(part: str, places: slice, labelled: bool) -> Split:
        rows = parts[part][places]
        inputs = np.concatenate(rows) if rows else np.zeros((0, *kinds[0].shape[1:]), np.float32)
        fine = np.repeat(order[places], [len(one) for one in rows])
        counts = (group_size * len(rows[0]),) * num_groups if labelled else ()
        return Split(inputs, fine, counts)

    seen, unseen = slice(0, grouped), slice(grouped, None)
    return Task(
        train=split("train", seen, True),
        test=split("test", seen, True),
        unseen_train=split("train", unseen, False),
        unseen_test=split("test", unseen, False),
        augment=augment,
    )


def long_tailed(split: Split, counts: Sequence[int], seed: int) -> Split:
    """The classes of a split with `counts` random instances each.

    Raises:
        ValueError: not one count for each class, or more than it has.
    """
    if len(counts) != len(split.counts) or any(
        wanted > held for wanted, held in zip(counts, split.counts, strict=False)
    ):
        raise ValueError(
            f"counts must be one for each class, at most {split.counts}; got {tuple(counts)}."
        )
    rng, starts = np.random.default_rng([seed, 3]), np.cumsum((0, *split.counts))
    rows = np.concatenate(
        [
            start + rng.permutation(held)[:wanted]
            for start, held, wanted in zip(starts, split.counts, counts, strict=False)
        ]
    )
    return Split(split.inputs[rows], split.fine[rows], tuple(int(count) for count in counts))


def mislabelled(split: Split, share: float, seed: int) -> Split:
    """A share of every class given to the other classes in equal parts: classes keep their sizes.

    Raises:
        ValueError: a share outside [0, 1), or classes of different size.
    """
    if not 0 <= share < 1:
        raise ValueError(f"the share of wrong labels must lie in [0, 1); got {share}.")
    if len(set(split.counts)) != 1:
        raise ValueError(f"classes must have equal size to swap labels; got {split.counts}.")
    rng, num_classes = np.random.default_rng([seed, 4]), len(split.counts)
    portion = round(share * split.counts[0] / (num_classes - 1))
    labels = split.labels.copy()
    for label in range(num_classes):
        rows = rng.permutation(np.flatnonzero(split.labels == label))
        for place, other in enumerate(o for o in range(num_classes) if o != label):
            labels[rows[place * portion : (place + 1) * portion]] = other
    order = np.argsort(labels, kind="stable")
    return Split(split.inputs[order], split.fine[order], split.counts)


def augment_digits(key: PRNGKeyArray, images: Float[Array, "B 64"]) -> Float[Array, "B 64"]:
    """Images turned by up to 15°, shifted by up to a pixel, zoomed by up to 10 %, with noise."""
    warp_key, noise_key = jax.random.split(key)
    limits = jnp.array([MAX_ROTATION, MAX_ZOOM, MAX_SHIFT, MAX_SHIFT], jnp.float32)
    shape = (len(images), 4)
    draws = limits[None] * jax.random.uniform(warp_key, shape, jnp.float32, minval=-1, maxval=1)
    centre = (SIDE - 1) / 2
    grid = jnp.stack(jnp.meshgrid(*[jnp.arange(SIDE, dtype=jnp.float32)] * 2, indexing="ij"))
    grid = (grid - centre).reshape(2, -1)

    def warp(image: Array, draw: Array) -> Array:
        angle, zoom, *shift = draw
        turn = jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]])
        places = (1 + zoom) * (turn @ grid) + jnp.stack(shift)[:, None] + centre
        return jax.scipy.ndimage.map_coordinates(image.reshape(SIDE, SIDE), list(places), order=1)

    noise = PIXEL_NOISE * jax.random.normal(noise_key, images.shape, images.dtype)
    return jax.vmap(warp)(images, draws) + noise


def augment_vectors(key: PRNGKeyArray, rows: Float[Array, "B f"]) -> Float[Array, "B f"]:
    """Each row with Gaussian noise."""
    return rows + VIEW_SCALE * jax.random.normal(key, rows.shape, rows.dtype)


def draw_batch(
    key: PRNGKeyArray,
    inputs: Float[Array, "M f"],
    counts: tuple[int, ...],
    structure: ClassStructure,
    augment: Augmentation,
) -> Float[Array, "N f"]:
    """Distinct random instances of every class, each in p views, ordered as `structure` says."""
    pick_key, view_key = jax.random.split(key)
    starts = np.cumsum((0, *counts))
    rows = [
        start + jax.random.choice(one, count, (size,), replace=False)
        for one, start, count, size in zip(
            jax.random.split(pick_key, len(counts)),
            starts[:-1].tolist(),
            counts,
            structure.sizes,
            strict=True,
        )
    ]
    return augment(view_key, jnp.repeat(inputs[jnp.concatenate(rows)], structure.num_views, axis=0))
