r"""Closed forms: where class collapse ends, and what the optimum looks like.

m classes of n instances with p views each. By convexity in the Gram matrix and symmetry an optimum
has three similarities (of views, within a class, between classes), and all of them lie on one
affine family with a, b ≥ 0, written here as dissimilarities 1 - s:

.. math::
   1 - s_\mathrm{view} = a, \quad
   1 - s_\mathrm{within} = \tfrac{p-1}{p} a + b, \quad
   1 - s_\mathrm{between} = \tfrac{1}{m-1}\bigl(m - \tfrac{p-1}{p} a - \tfrac{n-1}{n} b\bigr).

On it the loss is a log-sum-exp minus a linear term, the **reduced loss**

.. math::
   L = \log p \sum_k c_k e^{-D_k/\tau} + \sum_k \pi_k D_k / \tau,
   \qquad c = (w,\; n-1,\; n(m-1)), \quad \pi = (\alpha,\; 1-\alpha,\; 0),

with D the dissimilarities (up to e^{1/τ}, which cancels) and w the weight of an anchor's own
instance in the denominator: 1 if self pairs are included, (p-1)/p if they are excluded, and 0 for
losses that decouple it. (With self pairs included this is the loss at a = 0 only, and a = 0 at
every optimum.) Everything about SupCL follows from it. Two rays leave full collapse (a = b = 0):

* **spread** (b = n x > 0, a = 0): the instances of a class part; they do iff α > α_c;
* **view spread** (a = p x > 0, b = 0): the views of an instance part; they do iff α < α_v, and only
  when self pairs are excluded.

Those that depend on a convention take numbers, `alpha_c(m, n, p, temperature, self_pairs)`, or a
structure and a loss, `alpha_c(structure, loss)`, from which they read all that they need.

All functions broadcast, and work under jit, vmap and grad (with respect to α and τ, off the phase
boundaries). Accuracy, for τ in [0.02, 50], m and n up to 1e6 and p up to 1e4: 1e-12, absolute for
what is at most 1, relative for losses above it. Two things are less exact, because the numbers that
go in are: an α equal to α_c as rounded counts as collapse, and critical temperatures lose a few
roundings times their condition number, which is large near the α that collapses at every τ.

Files: setting (what goes in), reduced (the loss above), boundaries, optimum, guidelines, unequal
(classes of different size), other_losses (a criterion for any convex loss, spectral, sigmoid),
dataset (many batches), batches (random and stratified ones), nonnegative (embeddings after a ReLU),
kinds (losses that weigh kinds of pairs, two towers, means over all anchors), features (classifier
weights and features).
"""

from ssem_jax.theory.batches import random_alpha_c as random_alpha_c
from ssem_jax.theory.batches import random_alpha_for_delta2 as random_alpha_for_delta2
from ssem_jax.theory.batches import random_delta2 as random_delta2
from ssem_jax.theory.batches import random_loss as random_loss
from ssem_jax.theory.batches import random_tau_c as random_tau_c
from ssem_jax.theory.batches import stratified_alpha_c as stratified_alpha_c
from ssem_jax.theory.batches import stratified_alpha_v as stratified_alpha_v
from ssem_jax.theory.boundaries import alpha_c as alpha_c
from ssem_jax.theory.boundaries import alpha_c_limit as alpha_c_limit
from ssem_jax.theory.boundaries import alpha_local as alpha_local
from ssem_jax.theory.boundaries import alpha_v as alpha_v
from ssem_jax.theory.boundaries import tau_c as tau_c
from ssem_jax.theory.boundaries import tau_v as tau_v
from ssem_jax.theory.dataset import DatasetOptimum as DatasetOptimum
from ssem_jax.theory.dataset import dataset_optimum as dataset_optimum
from ssem_jax.theory.features import BalancedRidge as BalancedRidge
from ssem_jax.theory.features import balanced_ridge as balanced_ridge
from ssem_jax.theory.features import merged_size as merged_size
from ssem_jax.theory.features import ridge_margin as ridge_margin
from ssem_jax.theory.features import simplex_cross_entropy as simplex_cross_entropy
from ssem_jax.theory.features import squared_ridge as squared_ridge
from ssem_jax.theory.guidelines import excluded_guideline as excluded_guideline
from ssem_jax.theory.guidelines import majority_guideline as majority_guideline
from ssem_jax.theory.guidelines import power_guideline as power_guideline
from ssem_jax.theory.guidelines import summary_guideline as summary_guideline
from ssem_jax.theory.kinds import alpha_c_all as alpha_c_all
from ssem_jax.theory.kinds import collapse_margins as collapse_margins
from ssem_jax.theory.kinds import coverage_imbalance as coverage_imbalance
from ssem_jax.theory.kinds import cross_modal_window as cross_modal_window
from ssem_jax.theory.kinds import spread_alpha_c as spread_alpha_c
from ssem_jax.theory.nonnegative import nonnegative_alpha_c as nonnegative_alpha_c
from ssem_jax.theory.nonnegative import nonnegative_alpha_v as nonnegative_alpha_v
from ssem_jax.theory.nonnegative import nonnegative_within as nonnegative_within
from ssem_jax.theory.nonnegative import orthogonal_thresholds as orthogonal_thresholds
from ssem_jax.theory.optimum import alpha_for_delta2 as alpha_for_delta2
from ssem_jax.theory.optimum import delta2 as delta2
from ssem_jax.theory.optimum import loss as loss
from ssem_jax.theory.optimum import phase as phase
from ssem_jax.theory.optimum import similarities as similarities
from ssem_jax.theory.optimum import variances as variances
from ssem_jax.theory.optimum import view_variance as view_variance
from ssem_jax.theory.other_losses import SigmoidOptimum as SigmoidOptimum
from ssem_jax.theory.other_losses import SpectralOptimum as SpectralOptimum
from ssem_jax.theory.other_losses import collapse_criterion as collapse_criterion
from ssem_jax.theory.other_losses import sigmoid_optimum as sigmoid_optimum
from ssem_jax.theory.other_losses import spectral_optimum as spectral_optimum
from ssem_jax.theory.setting import SELF_PAIRS as SELF_PAIRS
from ssem_jax.theory.unequal import majority_cosine as majority_cosine
from ssem_jax.theory.unequal import minorities_can_merge as minorities_can_merge
from ssem_jax.theory.unequal import minority_collapse_ratio as minority_collapse_ratio
from ssem_jax.theory.unequal import two_class_threshold as two_class_threshold
