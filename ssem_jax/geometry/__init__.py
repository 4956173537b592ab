"""Embeddings on the sphere: the models that theory predicts, and what embeddings look like.

Files: sphere (projection, retraction, products), similarities and simplex (the simplex ETF and
SSEM(δ)), metrics (variances, class means, distance to SSEM).
"""

from ssem_jax.geometry.metrics import ClassVariances as ClassVariances
from ssem_jax.geometry.metrics import Scalar as Scalar
from ssem_jax.geometry.metrics import SSEMFit as SSEMFit
from ssem_jax.geometry.metrics import Variances as Variances
from ssem_jax.geometry.metrics import block_similarities as block_similarities
from ssem_jax.geometry.metrics import class_mean_cosines as class_mean_cosines
from ssem_jax.geometry.metrics import class_means as class_means
from ssem_jax.geometry.metrics import class_similarities as class_similarities
from ssem_jax.geometry.metrics import class_variances as class_variances
from ssem_jax.geometry.metrics import distance_to_ssem as distance_to_ssem
from ssem_jax.geometry.metrics import fit_delta2 as fit_delta2
from ssem_jax.geometry.metrics import variances as variances
from ssem_jax.geometry.metrics import variances_from_gram as variances_from_gram
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
