"""Losses: convex functions of the Gram matrix, shipped and your own.

Files: base (what a loss is), decorator (a loss of your own), contrast (softmax by class and
instance), supcl, weighted, pairwise (sigmoid, spectral, soft weights, …), convexity, declared and
probes (is a loss what it declares?), tiles (the same loss in memory of order N d) and positives (of
rows in any order); structured (two towers, prototypes, kinds of pairs), batched (means over
batches), and what both stand on: terms, kinds and listed (losses that say their terms); features
(cross-entropy and squared error of classifier weights and features, and what bounds their norms);
conventions (what libraries compute, and losses by name).
"""

from ssem_jax.losses.base import GramLoss as GramLoss
from ssem_jax.losses.base import PreparedLoss as PreparedLoss
from ssem_jax.losses.batched import ListedBatches as ListedBatches
from ssem_jax.losses.batched import RandomBatches as RandomBatches
from ssem_jax.losses.batched import StratifiedBatches as StratifiedBatches
from ssem_jax.losses.batched import TowerBatches as TowerBatches
from ssem_jax.losses.contrast import MEANS as MEANS
from ssem_jax.losses.contrast import SELF_PAIRS as SELF_PAIRS
from ssem_jax.losses.contrast import ClassContrast as ClassContrast
from ssem_jax.losses.conventions import CONVENTIONS as CONVENTIONS
from ssem_jax.losses.conventions import Convention as Convention
from ssem_jax.losses.conventions import named_loss as named_loss
from ssem_jax.losses.convexity import ConvexityViolation as ConvexityViolation
from ssem_jax.losses.convexity import check_convex as check_convex
from ssem_jax.losses.declared import FalseDeclarationError as FalseDeclarationError
from ssem_jax.losses.decorator import gram_loss as gram_loss
from ssem_jax.losses.features import Balls as Balls
from ssem_jax.losses.features import Budget as Budget
from ssem_jax.losses.features import CrossEntropy as CrossEntropy
from ssem_jax.losses.features import Ridge as Ridge
from ssem_jax.losses.features import SquaredError as SquaredError
from ssem_jax.losses.features import Unit as Unit
from ssem_jax.losses.kinds import Contrast as Contrast
from ssem_jax.losses.pairwise import AlignUniform as AlignUniform
from ssem_jax.losses.pairwise import PairWeights as PairWeights
from ssem_jax.losses.pairwise import Sigmoid as Sigmoid
from ssem_jax.losses.pairwise import Sincere as Sincere
from ssem_jax.losses.pairwise import SoftSupCon as SoftSupCon
from ssem_jax.losses.pairwise import Spectral as Spectral
from ssem_jax.losses.pairwise import SupConIn as SupConIn
from ssem_jax.losses.structured import CrossModal as CrossModal
from ssem_jax.losses.structured import KindContrast as KindContrast
from ssem_jax.losses.structured import NormFace as NormFace
from ssem_jax.losses.structured import Spread as Spread
from ssem_jax.losses.supcl import SupCL as SupCL
from ssem_jax.losses.supcl import SupCon as SupCon
from ssem_jax.losses.supcl import decoupled_contrast as decoupled_contrast
from ssem_jax.losses.supcl import info_nce as info_nce
from ssem_jax.losses.symmetry import SymmetryViolation as SymmetryViolation
from ssem_jax.losses.symmetry import check_symmetric as check_symmetric
from ssem_jax.losses.weighted import WeightedSupCL as WeightedSupCL
