"""Theory and certificates put to use: which α and τ, at which thresholds, how good?"""

from ssem_jax.advice.thresholds import collapse_thresholds as collapse_thresholds
