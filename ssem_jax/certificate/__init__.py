"""Witness 3: duality. Lower bounds, gaps, and brackets for every near-optimal embedding.

Files: certificate (what is found), certificates (certify and its kin), dual (the dual matrix),
rounding (every margin), eigenbound (λ_min from below), barrier and brackets (equal classes),
class_blocks and class_program (many classes of any size), places and exports (files that
an independent program checks), reduced (towers, prototypes, batches, bounds of entries: what orbits
of pairs leave); the room symmetry, on which that stands: whatever has pairs that play equal parts;
and the room features: classifier weights and features, with what bounds their norms.
"""

from ssem_jax.certificate.certificate import COLLAPSE_TOLERANCE as COLLAPSE_TOLERANCE
from ssem_jax.certificate.certificate import GAP_TOLERANCE as GAP_TOLERANCE
from ssem_jax.certificate.certificate import QUANTITIES as QUANTITIES
from ssem_jax.certificate.certificate import Certificate as Certificate
from ssem_jax.certificate.certificate import decide_phase as decide_phase
from ssem_jax.certificate.certificates import certify as certify
from ssem_jax.certificate.certificates import certify_blocks as certify_blocks
from ssem_jax.certificate.certificates import certify_embeddings as certify_embeddings
from ssem_jax.certificate.certificates import dual_of_gram as dual_of_gram
from ssem_jax.certificate.certificates import negative_direction as negative_direction
from ssem_jax.certificate.exports import export as export
from ssem_jax.certificate.features import FeatureBrackets as FeatureBrackets
from ssem_jax.certificate.features import FeatureOptimum as FeatureOptimum
from ssem_jax.certificate.features import minority_threshold as minority_threshold
from ssem_jax.certificate.features import solve_features as solve_features
from ssem_jax.certificate.reduced import ReducedSolution as ReducedSolution
from ssem_jax.certificate.reduced import certify_program as certify_program
from ssem_jax.certificate.reduced import solve_reduced as solve_reduced
