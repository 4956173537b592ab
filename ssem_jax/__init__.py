"""ssem_jax: certified numerical verification of class collapse in supervised contrastive learning.

The public names, by layer:

* problems: :class:`ClassStructure`, :class:`Problem`, :func:`full_dimension`, :class:`Phase`
* losses: :func:`gram_loss` and :class:`GramLoss` (write your own), :class:`SupCL`,
  :class:`SupCon`, :class:`WeightedSupCL`, :class:`SoftSupCon` with :class:`PairWeights`,
  :func:`info_nce`, :func:`decoupled_contrast`, :class:`Sigmoid`, :class:`Spectral`,
  :class:`Sincere`, :class:`AlignUniform`, and :class:`SupConIn`, which is not convex;
  :func:`check_convex`, :func:`check_symmetric`, :class:`FalseDeclarationError`;
  :func:`blockwise_supcl` and :func:`blockwise_loss` for batches too large for a Gram matrix
* geometry: :func:`simplex_etf`, :func:`ssem_embeddings`, :func:`ssem_gram`, :func:`block_gram`;
  :func:`variances`, :func:`class_means`, :func:`class_mean_cosines`, :func:`block_similarities`,
  :func:`class_similarities`, :func:`fit_delta2`, :func:`distance_to_ssem`
* the three witnesses: :mod:`theory` (closed forms), :func:`solve` (minimisation over free
  embeddings), :func:`certify`, :func:`certify_embeddings` and :func:`certify_blocks` (duality)
* classes of different size: :func:`solve_reduced`, :func:`collapse_thresholds`,
  :func:`two_class_threshold`, :func:`minority_collapse_ratio`, :func:`minorities_can_merge`
* many cells: :class:`Grid`, :func:`sweep`, :func:`read_run`, :class:`Processes`; :func:`audit` for
  embeddings found elsewhere
* choosing α and τ: :func:`guide`
* training: :func:`supcl_loss` of a batch, sharded or not; :func:`batch_variances` and
  :class:`BatchMonitor` against :func:`predict_batch`
* claims: :class:`Claim`, :class:`Domain`, :func:`verify`, :func:`judge`, :class:`Verdict`
* conjectures: :class:`Space` and :class:`Range` (where), :func:`search` with a :class:`Budget`
  (a certified verdict as a :class:`Trial`); :func:`attained`, :func:`excess` in low dimension

Verification needs float64: write ``jax.config.update("jax_enable_x64", True)`` first.
"""

from ssem_jax import theory as theory
from ssem_jax.advice.answers import Guide as Guide
from ssem_jax.advice.answers import UnbalancedGuide as UnbalancedGuide
from ssem_jax.advice.audits import Audit as Audit
from ssem_jax.advice.audits import audit as audit
from ssem_jax.advice.guides import guide as guide
from ssem_jax.advice.thresholds import collapse_thresholds as collapse_thresholds
from ssem_jax.certificate.certificate import Certificate as Certificate
from ssem_jax.certificate.certificates import certify as certify
from ssem_jax.certificate.certificates import certify_blocks as certify_blocks
from ssem_jax.certificate.certificates import certify_embeddings as certify_embeddings
from ssem_jax.certificate.certificates import negative_direction as negative_direction
from ssem_jax.certificate.class_program import ReducedSolution as ReducedSolution
from ssem_jax.certificate.class_program import solve_reduced as solve_reduced
from ssem_jax.claims.cells import Cells as Cells
from ssem_jax.claims.claim import Claim as Claim
from ssem_jax.claims.claim import Domain as Domain
from ssem_jax.claims.claim import Verdict as Verdict
from ssem_jax.claims.collection import Report as Report
from ssem_jax.claims.collection import verify as verify
from ssem_jax.claims.interval import Interval as Interval
from ssem_jax.claims.interval import decided as decided
from ssem_jax.claims.interval import equal as equal
from ssem_jax.claims.interval import same_phase as same_phase
from ssem_jax.claims.judgements import Judgement as Judgement
from ssem_jax.claims.judgements import judge as judge
from ssem_jax.claims.low_dimension import Attainment as Attainment
from ssem_jax.claims.low_dimension import attained as attained
from ssem_jax.claims.low_dimension import attainment as attainment
from ssem_jax.claims.low_dimension import excess as excess
from ssem_jax.claims.refinement import search as search
from ssem_jax.claims.space import Range as Range
from ssem_jax.claims.space import Space as Space
from ssem_jax.claims.trial import Budget as Budget
from ssem_jax.claims.trial import Trial as Trial
from ssem_jax.compute.workers import Processes as Processes
from ssem_jax.geometry.metrics import block_similarities as block_similarities
from ssem_jax.geometry.metrics import class_mean_cosines as class_mean_cosines
from ssem_jax.geometry.metrics import class_means as class_means
from ssem_jax.geometry.metrics import class_similarities as class_similarities
from ssem_jax.geometry.metrics import class_variances as class_variances
from ssem_jax.geometry.metrics import distance_to_ssem as distance_to_ssem
from ssem_jax.geometry.metrics import fit_delta2 as fit_delta2
from ssem_jax.geometry.metrics import variances as variances
from ssem_jax.geometry.metrics import variances_from_gram as variances_from_gram
from ssem_jax.geometry.similarities import block_gram as block_gram
from ssem_jax.geometry.simplex import simplex_etf as simplex_etf
from ssem_jax.geometry.simplex import ssem_embeddings as ssem_embeddings
from ssem_jax.geometry.simplex import ssem_gram as ssem_gram
from ssem_jax.losses.base import GramLoss as GramLoss
from ssem_jax.losses.convexity import ConvexityViolation as ConvexityViolation
from ssem_jax.losses.convexity import check_convex as check_convex
from ssem_jax.losses.declared import FalseDeclarationError as FalseDeclarationError
from ssem_jax.losses.decorator import gram_loss as gram_loss
from ssem_jax.losses.pairwise import AlignUniform as AlignUniform
from ssem_jax.losses.pairwise import PairWeights as PairWeights
from ssem_jax.losses.pairwise import Sigmoid as Sigmoid
from ssem_jax.losses.pairwise import Sincere as Sincere
from ssem_jax.losses.pairwise import SoftSupCon as SoftSupCon
from ssem_jax.losses.pairwise import Spectral as Spectral
from ssem_jax.losses.pairwise import SupConIn as SupConIn
from ssem_jax.losses.supcl import SupCL as SupCL
from ssem_jax.losses.supcl import SupCon as SupCon
from ssem_jax.losses.supcl import decoupled_contrast as decoupled_contrast
from ssem_jax.losses.supcl import info_nce as info_nce
from ssem_jax.losses.symmetry import SymmetryViolation as SymmetryViolation
from ssem_jax.losses.symmetry import check_symmetric as check_symmetric
from ssem_jax.losses.tiles import blockwise_loss as blockwise_loss
from ssem_jax.losses.tiles import blockwise_supcl as blockwise_supcl
from ssem_jax.losses.weighted import WeightedSupCL as WeightedSupCL
from ssem_jax.problem.problem import Phase as Phase
from ssem_jax.problem.problem import Problem as Problem
from ssem_jax.problem.solution import Solution as Solution
from ssem_jax.problem.solution import Status as Status
from ssem_jax.problem.structure import ClassStructure as ClassStructure
from ssem_jax.problem.structure import full_dimension as full_dimension
from ssem_jax.solver.attempts import solve as solve
from ssem_jax.sweeps.folder import read_run as read_run
from ssem_jax.sweeps.grid import Grid as Grid
from ssem_jax.sweeps.runs import sweep as sweep
from ssem_jax.theory.unequal import minorities_can_merge as minorities_can_merge
from ssem_jax.theory.unequal import minority_collapse_ratio as minority_collapse_ratio
from ssem_jax.theory.unequal import two_class_threshold as two_class_threshold
from ssem_jax.training.batch_loss import supcl_loss as supcl_loss
from ssem_jax.training.monitor import BatchMonitor as BatchMonitor
from ssem_jax.training.monitor import batch_variances as batch_variances
from ssem_jax.training.predict import BatchPrediction as BatchPrediction
from ssem_jax.training.predict import predict_batch as predict_batch
