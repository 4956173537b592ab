"""How much of the hidden labels an encoder keeps: linear probe and nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from ssem_jax.training.experiments.data import Split, Task
from ssem_jax.training.experiments.encoder import Encoder

NEIGHBOURS = 5
FEW, DRAWS = 10, 4
"""Labelled instances of each class in a few-shot probe, and draws of them that it averages over."""
PROBE_ITERATIONS = 5000
"""Of L-BFGS at most; it stops at its gradient tolerance in some hundreds."""

CONSTANT = 1e-6
"""Standard deviation, relative to the largest output, that float32 cannot tell from 0."""

METHODS, LAYERS, TARGETS = ("probe", "few", "knn"), ("features", "embeddings"), ("fine", "unseen")

ACCURACIES = (
    *(f"{target}_{method}_{layer}" for layer in LAYERS for target in TARGETS for method in METHODS),
    "coarse_knn",
)
"""Columns. Fine classes within the coarse ones, or classes unseen in training; multinomial logistic
regression with all labels or with ten of each class, or 5 nearest neighbours; on the encoder's
features, or behind the projector. `coarse_knn` is of the labels of training, on embeddings."""


def transfer(encoders: Encoder, task: Task) -> list[dict[str, float]]:
    """Accuracies of every encoder of a group, and `fine_share` of their embeddings.

    Probes are fitted to the instances for training and judged on those for testing, all without
    augmentation. The ten instances are the same for all encoders of a seed.
    """
    layers = {
        "features": _outputs(encoders, task, Encoder.features),
        "embeddings": _outputs(encoders, task, Encoder.embed),
    }
    count = len(jax.tree.leaves(encoders)[0])
    rows = []
    for cell in range(count):
        own = {layer: [part[cell] for part in parts] for layer, parts in layers.items()}
        share = fine_share(own["embeddings"][1], task.test)
        rows.append({**_accuracies(own, task), "fine_share": share})
    return rows


def inputs_transfer(task: Task) -> dict[str, float]:
    """The accuracies on the inputs themselves, which no encoder has touched."""
    inputs = [split.inputs for split in _splits(task)]
    return _accuracies({"features": inputs, "embeddings": inputs}, task)


def fine_share(embeddings: Float[np.ndarray, "M d"], split: Split) -> float:
    """Share of the variance within coarse classes that lies between their hidden fine classes."""

    def spread(labels: np.ndarray) -> float:
        parts = [embeddings[labels == label] for label in np.unique(labels)]
        return sum(float(np.sum((part - part.mean(axis=0)) ** 2)) for part in parts)

    within = spread(split.labels)
    return 1 - spread(split.labels * (split.fine.max() + 1) + split.fine) / within


def _splits(task: Task) -> tuple[Split, ...]:
    return (task.train, task.test, task.unseen_train, task.unseen_test)


def _outputs(
    encoders: Encoder, task: Task, layer: Callable[[Encoder, Array], Array]
) -> list[np.ndarray]:
    splits = _splits(task)
    inputs = jnp.asarray(np.concatenate([split.inputs for split in splits]))
    outputs = np.asarray(_apply(layer, encoders, inputs))
    return np.split(outputs, np.cumsum([len(split.inputs) for split in splits])[:-1], axis=1)


@partial(jax.jit, static_argnums=0)
def _apply(layer: Callable[[Encoder, Array], Array], encoders: Encoder, inputs: Array) -> Array:
    return jax.vmap(layer, in_axes=(0, None))(encoders, inputs)


def _accuracies(layers: dict[str, list[np.ndarray]], task: Task) -> dict[str, float]:
    found = {}
    for layer, (train, test, unseen_train, unseen_test) in layers.items():
        for target, own_train, own_test, train_split, test_split in (
            ("fine", train, test, task.train, task.test),
            ("unseen", unseen_train, unseen_test, task.unseen_train, task.unseen_test),
        ):
            known, wanted = train_split.fine, test_split.fine
            if len(np.unique(known)) < 2:  # a task without unseen classes
                continue
            draws = [few_rows(known, draw) for draw in range(DRAWS)]
            few = [probe(own_train[rows], known[rows], own_test, wanted) for rows in draws]
            found[f"{target}_few_{layer}"] = float(np.mean(few))
            found[f"{target}_probe_{layer}"] = probe(own_train, known, own_test, wanted)
            found[f"{target}_knn_{layer}"] = neighbours(own_train, known, own_test, wanted)
    train, test, *_ = layers["embeddings"]
    found["coarse_knn"] = neighbours(train, task.train.labels, test, task.test.labels)
    return found


def few_rows(labels: np.ndarray, draw: int) -> np.ndarray:
    """Ten random rows of every label."""
    rng = np.random.default_rng(draw)
    return np.concatenate(
        [rng.permutation(np.flatnonzero(labels == label))[:FEW] for label in np.unique(labels)]
    )


def probe(
    train: Float[np.ndarray, "M h"],
    train_labels: np.ndarray,
    test: Float[np.ndarray, "K h"],
    test_labels: np.ndarray,
) -> float:
    """Test accuracy of multinomial logistic regression on standardised columns."""
    mean, scale = train.mean(axis=0), train.std(axis=0)
    # A column that training leaves constant must not be blown up.
    scale = np.where(scale > CONSTANT * np.abs(train).max(), scale, 1)
    model = LogisticRegression(max_iter=PROBE_ITERATIONS)
    model.fit((train - mean) / scale, train_labels)
    return float(model.score((test - mean) / scale, test_labels))


def neighbours(
    train: Float[np.ndarray, "M h"],
    train_labels: np.ndarray,
    test: Float[np.ndarray, "K h"],
    test_labels: np.ndarray,
) -> float:
    """Test accuracy of the vote of the 5 nearest by cosine."""
    model = KNeighborsClassifier(NEIGHBOURS, metric="cosine", algorithm="brute")
    return float(model.fit(train, train_labels).score(test, test_labels))
