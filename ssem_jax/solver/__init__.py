"""Witness 2: minimisation over free embeddings, in batches, from random starts.

Files: objective (what is asked of a loss), newton (one descent), escape (out of saddles), attempts
(starts, batches, `solve`), descents (optimisers of everyday use, followed as they are), features
(classifier weights and features). What is found, a `Solution`, stands beside its problem, so that a
certificate needs nothing of a solver.
"""

from ssem_jax.solver.attempts import solve as solve
from ssem_jax.solver.features import FreeFeatures as FreeFeatures
from ssem_jax.solver.features import minimise_features as minimise_features
