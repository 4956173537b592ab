r"""Free features and classifier weights: the optimum over all of them, and its certificate.

The Gram matrix X of [W; H] is positive semidefinite and the loss of :mod:`ssem_jax.losses.features`
is convex in its block Z. Three averages raise neither the loss nor what norms cost, by Jensen: over
the samples of a class, over classes of equal size (in pairs with their samples), and so X may be
taken to be invariant under both. What is left has one block for the means of the kinds of classes,
one of size 2 for the classes of a kind, and costs the same for five classes or five thousand.

Files: program (what is left, for the interior-point method of :mod:`..symmetry.interior`), outputs
(what cross-entropy and squared error differ in), bounds (the dual and its rounding), brackets (what
near-optimal points are like), optimum (all put together), minority (the imbalance from which on
minorities merge).
"""

from ssem_jax.certificate.features.brackets import FeatureBrackets as FeatureBrackets
from ssem_jax.certificate.features.minority import minority_threshold as minority_threshold
from ssem_jax.certificate.features.optimum import FeatureOptimum as FeatureOptimum
from ssem_jax.certificate.features.optimum import solve_features as solve_features
from ssem_jax.certificate.features.optimum import solve_kinds as solve_kinds
