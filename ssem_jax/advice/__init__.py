"""Theory and certificates put to use: which α and τ, at which thresholds, how good?

Files: guides (`guide`), answers (what it says), random_batches (of batches that are not
stratified), data_batches (of those out of unequal classes), thresholds (where classes of different
size part), audits (embeddings that another program found), classifiers (a trained last layer),
landscapes (does an optimiser find the optimum?), inputs (labelled embeddings as people have them),
files (where those stand).
"""

from ssem_jax.advice.answers import Guide as Guide
from ssem_jax.advice.answers import UnbalancedGuide as UnbalancedGuide
from ssem_jax.advice.audits import Audit as Audit
from ssem_jax.advice.audits import audit as audit
from ssem_jax.advice.classifiers import ClassifierAudit as ClassifierAudit
from ssem_jax.advice.classifiers import audit_classifier as audit_classifier
from ssem_jax.advice.data_batches import DataGuide as DataGuide
from ssem_jax.advice.data_batches import guide_data_batches as guide_data_batches
from ssem_jax.advice.files import read_embeddings as read_embeddings
from ssem_jax.advice.files import read_labels as read_labels
from ssem_jax.advice.guides import guide as guide
from ssem_jax.advice.random_batches import RandomGuide as RandomGuide
from ssem_jax.advice.random_batches import guide_random_batches as guide_random_batches
from ssem_jax.advice.thresholds import collapse_thresholds as collapse_thresholds
from ssem_jax.later import attributes as _attributes

__getattr__, __dir__ = _attributes(__name__, {"landscapes": ("Landscape", "landscape")})
"""What waits for tables and optimisers: imported when it is asked for."""
