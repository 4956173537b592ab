"""Embeddings on the sphere: the models that theory predicts, and what embeddings look like.

Files: shares (variances, similarities and dimensions, the one vocabulary of the package), metrics
(what given embeddings have of them, class means, distance to SSEM), similarities and simplex (the
simplex ETF and SSEM(δ)), sphere (projection, retraction, products).
"""

from ssem_jax.geometry.metrics import Scalar as Scalar
from ssem_jax.geometry.metrics import SSEMFit as SSEMFit
from ssem_jax.geometry.metrics import block_similarities as block_similarities
from ssem_jax.geometry.metrics import class_mean_cosines as class_mean_cosines
from ssem_jax.geometry.metrics import class_means as class_means
from ssem_jax.geometry.metrics import class_similarities as class_similarities
from ssem_jax.geometry.metrics import class_variances as class_variances
from ssem_jax.geometry.metrics import distance_to_ssem as distance_to_ssem
from ssem_jax.geometry.metrics import fit_delta2 as fit_delta2
from ssem_jax.geometry.metrics import variances as variances
from ssem_jax.geometry.metrics import variances_from_gram as variances_from_gram
from ssem_jax.geometry.shares import ClassVariances as ClassVariances
from ssem_jax.geometry.shares import Variances as Variances
from ssem_jax.geometry.shares import full_dimension as full_dimension
from ssem_jax.geometry.shares import largest_delta2 as largest_delta2
from ssem_jax.geometry.shares import multiplicities as multiplicities
from ssem_jax.geometry.shares import rank_in as rank_in
from ssem_jax.geometry.shares import similarities_of as similarities_of
from ssem_jax.geometry.shares import variances_of as variances_of
from ssem_jax.geometry.similarities import Similarities as Similarities
from ssem_jax.geometry.similarities import block_gram as block_gram
from ssem_jax.geometry.simplex import simplex_etf as simplex_etf
from ssem_jax.geometry.simplex import ssem_embeddings as ssem_embeddings
from ssem_jax.geometry.simplex import ssem_gram as ssem_gram
from ssem_jax.geometry.sphere import Rows as Rows
from ssem_jax.geometry.sphere import inner as inner
from ssem_jax.geometry.sphere import normalize as normalize
from ssem_jax.geometry.sphere import product as product
from ssem_jax.geometry.sphere import project as project
from ssem_jax.geometry.sphere import random_points as random_points
from ssem_jax.geometry.sphere import rescaled as rescaled
from ssem_jax.geometry.sphere import retract as retract
