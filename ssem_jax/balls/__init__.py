"""Proofs in ball arithmetic: what no rounding error can break.

Every number here is a ball of FLINT/Arb that is guaranteed to hold the real number meant. Inputs
are exact: a float is the dyadic number it is, a `Fraction`, an integer or a decimal string the
rational number it is. Kinds of proof:

* **Enclosures** of the global minimum of SupCL over all unit embeddings in all dimensions: from
  embeddings at hand (:func:`enclose_minimum`), or from the closed form
  (:func:`enclose_closed_form`), whose dual matrix has four distinct eigenvalues.
* **Local minima** in R^d next to embeddings, strict up to rotation
  (:func:`enclose_local_minimum`): spurious, where others have a lower loss.
* **Phases** of one cell (:func:`prove_phase`), by the signs of those eigenvalues at collapse.
* **Theorems on boxes** (:func:`prove_on_box` and the functions built on it), by branch and bound.
* **Identities** of rational functions (:func:`prove_zero`), at as many exact points as their
  degrees ask for: thresholds of other structures, and last layers over free features, for all sizes
  and temperatures at once.
* **Codes** (:func:`code_bound`): what no embeddings in R^d beat, by linear programming bounds.

References:
    Johansson (IEEE Trans. Comput. 2017, Arb); Rump (Acta Numerica 2010, verification methods).
"""

from ssem_jax.balls.arithmetic import BOX_PRECISION as BOX_PRECISION
from ssem_jax.balls.arithmetic import CLOSED_FORM_PRECISION as CLOSED_FORM_PRECISION
from ssem_jax.balls.arithmetic import EMBEDDING_PRECISION as EMBEDDING_PRECISION
from ssem_jax.balls.arithmetic import Exact as Exact
from ssem_jax.balls.arithmetic import float_above as float_above
from ssem_jax.balls.arithmetic import float_below as float_below
from ssem_jax.balls.arithmetic import to_ball as to_ball
from ssem_jax.balls.arithmetic import working_precision as working_precision
from ssem_jax.balls.boxes import Box as Box
from ssem_jax.balls.boxes import BoxProof as BoxProof
from ssem_jax.balls.boxes import Range as Range
from ssem_jax.balls.boxes import Statement as Statement
from ssem_jax.balls.boxes import prove_on_box as prove_on_box
from ssem_jax.balls.closed_form import alpha_c as alpha_c
from ssem_jax.balls.closed_form import alpha_v as alpha_v
from ssem_jax.balls.closed_form import enclose_closed_form as enclose_closed_form
from ssem_jax.balls.closed_form import enclose_delta2 as enclose_delta2
from ssem_jax.balls.closed_form import instance_margin as instance_margin
from ssem_jax.balls.closed_form import view_margin as view_margin
from ssem_jax.balls.codes import CodeBound as CodeBound
from ssem_jax.balls.codes import code_bound as code_bound
from ssem_jax.balls.codes import least_in_dimension as least_in_dimension
from ssem_jax.balls.enclosures import Enclosure as Enclosure
from ssem_jax.balls.enclosures import enclose_loss as enclose_loss
from ssem_jax.balls.enclosures import enclose_minimum as enclose_minimum
from ssem_jax.balls.enclosures import is_positive_definite as is_positive_definite
from ssem_jax.balls.features import prove_merging as prove_merging
from ssem_jax.balls.features import prove_simplex_features as prove_simplex_features
from ssem_jax.balls.features import prove_squared_error as prove_squared_error
from ssem_jax.balls.identities import Identity as Identity
from ssem_jax.balls.identities import prove_zero as prove_zero
from ssem_jax.balls.minima import LocalMinimum as LocalMinimum
from ssem_jax.balls.minima import enclose_local_minimum as enclose_local_minimum
from ssem_jax.balls.peak import Peak as Peak
from ssem_jax.balls.peak import enclose_peak as enclose_peak
from ssem_jax.balls.phases import PhaseProof as PhaseProof
from ssem_jax.balls.phases import prove_phase as prove_phase
from ssem_jax.balls.theorems import prove_boundary as prove_boundary
from ssem_jax.balls.theorems import prove_guideline as prove_guideline
from ssem_jax.balls.theorems import prove_guideline_on_box as prove_guideline_on_box
from ssem_jax.balls.theorems import prove_monotone_in_alpha as prove_monotone_in_alpha
from ssem_jax.balls.theorems import (
    prove_not_monotone_in_temperature as prove_not_monotone_in_temperature,
)
from ssem_jax.balls.theorems import prove_small_mixing_collapses as prove_small_mixing_collapses
from ssem_jax.balls.theorems import prove_temperature_slope as prove_temperature_slope
from ssem_jax.balls.theorems import prove_unimodal_in_temperature as prove_unimodal_in_temperature
from ssem_jax.balls.theorems import prove_unique_optimum as prove_unique_optimum
from ssem_jax.balls.theorems import refute_summary_guideline as refute_summary_guideline
from ssem_jax.balls.thresholds import Threshold as Threshold
from ssem_jax.balls.thresholds import prove_nonnegative as prove_nonnegative
from ssem_jax.balls.thresholds import prove_random as prove_random
from ssem_jax.balls.thresholds import prove_spread as prove_spread
from ssem_jax.balls.thresholds import prove_stratified as prove_stratified
from ssem_jax.balls.thresholds import prove_window as prove_window
