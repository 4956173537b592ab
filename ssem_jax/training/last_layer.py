"""A last layer while it is trained, beside the best that there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ssem_jax.advice.classifiers import ClassifierAudit, audit_classifier
from ssem_jax.certificate.features import FeatureOptimum, solve_features
from ssem_jax.losses.features import LastLayer, checked_sizes
from ssem_jax.problem.validation import as_array, shown


class LastLayerMonitor:
    """True gap and neural collapse of a last layer, step by step.

    The optimum over all weights and free features is solved for and certified once; a call costs
    about as much as the loss. Call it between steps, with arrays that are not traced.

    Args:
        loss: what is trained, with its norms: of weight decay λ_W |W|²/2 + λ_H |H|²/2, `Ridge`.
        sizes: samples of every class, of the whole training set.

    Attributes:
        optimum: the best of all weights and free features.

    Raises:
        ValueError: no such loss or no sizes.
    """

    def __init__(self, loss: LastLayer, sizes: Sequence[int]) -> None:
        self.sizes = checked_sizes(sizes)
        self.optimum: FeatureOptimum = solve_features(loss, self.sizes)

    def __call__(
        self, weights: Any, features: Any, labels: Any = None, bias: Any = None
    ) -> ClassifierAudit:
        """The last layer as it is now.

        Args:
            weights: (K, d) of its classes.
            features: (N, d) of all samples; or (K, d), means of every class, without labels. At the
                means the loss is not larger than at all samples, and the gap is what collapse of
                every class would leave.
            labels: (N,) class of every sample, 0 to K-1.
            bias: (K,) of its classes, if any.

        Returns:
            `.gap`, and neural collapse `.found` beside that of the optimum, `.best`.

        Raises:
            ValueError: shapes, labels or sizes that do not fit, or norms above those of the loss.
        """
        if labels is None:
            features = np.asarray(as_array(features, "features"))
            if features.ndim != 2 or len(features) != len(self.sizes):
                raise ValueError(
                    f"without labels, features must be means of the {len(self.sizes)} classes, "
                    f"(K, d); got {shown(features.shape)}. Give labels with those of samples."
                )
            labels = np.repeat(np.arange(len(self.sizes)), self.sizes)
            features = features[labels]
        return audit_classifier(weights, features, labels, bias=bias, optimum=self.optimum)
