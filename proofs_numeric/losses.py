"""Losses beside SupCL with and without self pairs: decoupled, SupCon, InfoNCE, spectral, sigmoid.

The decoupled loss is a third convention of SupCL and is judged on its cells. Of the others cells
are solved and certified here, and compared with the closed forms of :mod:`ssem_jax.theory`.
"""

import functools
import itertools

import jax
import numpy as np

from proofs_numeric.domains import EXCLUDED
from proofs_numeric.sigmoid import SOURCE as SIGMOID_SOURCE
from proofs_numeric.sigmoid import minima as sigmoid_minima
from ssem_jax import theory
from ssem_jax.certificate import COLLAPSE_TOLERANCE, GAP_TOLERANCE, certify
from ssem_jax.claims import (
    EQUALITY_TOLERANCE,
    VALUE_TOLERANCE,
    Claim,
    Domain,
    Proof,
    Theorem,
    Verdict,
    equal,
    same_phase,
)
from ssem_jax.losses import Spectral, SupCL, SupCon
from ssem_jax.problem import ClassStructure, Phase, Problem
from ssem_jax.solver import solve
from ssem_jax.sweeps import Grid

DECOUPLED = Domain(
    grids=(
        Grid(
            (ClassStructure.balanced(3, 2, 2),),
            ("full",),
            tuple(np.linspace(0, 1, 9).tolist()),
            tuple(np.geomspace(0.1, 5.0, 9).tolist()),
            ("decouple",),
        ),
    )
)
"""Instances decoupled, two views, in the smallest dimension that admits every optimum."""

_YEH = "Yeh et al. (ECCV 2022) for the loss; derived here, as self pairs included with w = 0"

boundary_decoupled = Claim(
    name="boundary_decoupled",
    statement="With instances decoupled, classes collapse iff α ≤ α_c(τ) = "
    "(mn-1) r/(n-1+n(m-1) r), which tends to 0 as τ → 0; views never part.",
    source=_YEH,
    margin=lambda cell: same_phase(cell.phase, cell.predict(theory.phase)),
    exclude=lambda cell: cell.near_boundary(),
    domain=DECOUPLED,
    expected=Verdict.HOLDS,
)

delta2_decoupled = Claim(
    name="delta2_decoupled",
    statement="With instances decoupled, the variance δ² of instance means within their class is "
    "the unique root q of (1-α)/(n-1) = (x-y)/((n-1)x+n(m-1)y), or 0 where there is none.",
    source=_YEH,
    margin=lambda cell: equal(cell.delta2, cell.predict(theory.delta2)),
    domain=DECOUPLED,
    expected=Verdict.HOLDS,
)

minimum_decoupled = Claim(
    name="minimum_decoupled",
    statement="With instances decoupled, the minimum of the SupCL loss over all unit embeddings is "
    "the closed form at the optimal similarities.",
    source=_YEH,
    margin=lambda cell: equal(cell.minimum, cell.predict(theory.loss), VALUE_TOLERANCE),
    domain=DECOUPLED,
    quantity="minimum",
    expected=Verdict.HOLDS,
)


def _simplex(cell):
    """δ² of the simplex of all instances."""
    instances = cell.num_classes * cell.num_instances
    return cell.num_classes * (cell.num_instances - 1) / (instances - 1)


info_nce_simplex = Claim(
    name="info_nce_simplex",
    statement="The optimum of InfoNCE (SimCLR: α = 1, self pairs excluded) is the simplex of all "
    "instances with coinciding views, at every τ.",
    source="Lu and Steinerberger (2022) and Graf et al. (ICML 2021), for two views; derived here",
    margin=lambda cell: equal(cell.delta2, _simplex(cell)),
    where=lambda cell: cell.alpha == 1,
    domain=EXCLUDED,
    expected=Verdict.HOLDS,
)


def _proof(cells, holds, refuted, gaps, left_out=""):
    """A procedure on certified cells: where it holds, where it certainly does not, and the rest."""
    judged = list(zip(cells, holds, refuted, strict=True))
    against = next((cell for cell, _, no in judged if no), None)
    open_ = tuple(cell for cell, yes, no in judged if not (yes or no))
    proven = against is None and not open_
    return Proof(
        proven,
        against,
        undecided=open_,
        left_out=left_out,
        cells=len(judged),
        gaps=tuple(map(float, gaps)),
    )


_SUPCON_SHAPE = (2, 2, 2)
_SUPCON_TEMPERATURES = np.geomspace(0.3, 5.0, 16)


def _supcon_collapses():
    """Certified as the SupCL loss that it is, whose kernels the other claims compile anyway."""
    structure = ClassStructure.balanced(*_SUPCON_SHAPE)
    alphas = np.full(16, float(theory.alpha_c_limit(*_SUPCON_SHAPE, "exclude")))
    loss = SupCL(alphas, _SUPCON_TEMPERATURES, "exclude")
    solution = solve(Problem(structure, structure.num_embeddings - 1, loss), jax.random.key(0))
    found = certify(solution)
    phase = np.asarray(found.phase)
    own = jax.vmap(lambda one, points: one(points, structure))(
        SupCon(_SUPCON_TEMPERATURES), solution.embeddings
    )
    same = np.abs(found.value - own) <= VALUE_TOLERANCE
    cells = [{"tau": float(tau)} for tau in _SUPCON_TEMPERATURES]
    holds = found.certified & same & (phase == Phase.COLLAPSE)
    refuted = ~same | ((phase != Phase.COLLAPSE) & (phase != Phase.UNDECIDED))
    return _proof(cells, holds, refuted, found.gap)


supcon_collapses = Theorem(
    name="supcon_collapses",
    statement="m = n = p = 2: SupCon (L_out, other views among the positives) is SupCL at "
    "α = (p-1)/(np-1) with self pairs excluded, and its optima are fully collapsed at every τ.",
    prove=_supcon_collapses,
    source="Graf, Hofer, Niethammer and Kwitt (ICML 2021); that α is the limit of α_c as τ → 0",
    expected=Verdict.HOLDS,
)

_SPECTRAL_SHAPE = (2, 2, 2)
_SPECTRAL_ALPHAS = (0.0, 0.23, 0.5, 0.71, 0.87, 1.0)
_SPECTRAL_SCALES = (0.4, 1.0, 1.7, 2.4, 3.3, 6.0)


@functools.cache
def _spectral():
    """Certified cells of the spectral loss, and their coordinates."""
    structure = ClassStructure.balanced(*_SPECTRAL_SHAPE)
    hyper = np.array(list(itertools.product(_SPECTRAL_ALPHAS, _SPECTRAL_SCALES))).T
    loss = Spectral(hyper[0], hyper[1])
    found = certify(solve(Problem(structure, structure.num_embeddings, loss), jax.random.key(0)))
    pairs = zip(*hyper, strict=True)
    return [{"alpha": float(alpha), "mu": float(mu)} for alpha, mu in pairs], loss, found


def _spectral_closed_form():
    cells, loss, found = _spectral()
    predicted = theory.spectral_optimum(*_SPECTRAL_SHAPE, loss.alpha, loss.scale)
    holds = found.certified & (np.abs(found.value - predicted.loss) <= VALUE_TOLERANCE)
    refuted = found.certified & ~holds
    for name in ("delta2", "view_variance", "mean_squared"):
        low, high = found.brackets[name]
        value = np.asarray(getattr(predicted, name))
        # The closed form has roundings of its own, where a bracket ends at 0.
        inside = (low <= value + GAP_TOLERANCE) & (value <= high + GAP_TOLERANCE)
        refuted |= found.certified & ~inside
        holds &= inside & (high - low <= EQUALITY_TOLERANCE)
    return _proof(cells, holds, refuted, found.gap)


spectral_closed_form = Theorem(
    name="spectral_closed_form",
    statement="m = n = p = 2: the optimum of the spectral contrastive loss with supervised "
    "positives fills mean, classes, instances and views to one level: classes are orthogonal, "
    "the global mean has squared norm 1/m in collapse, and instances part iff α > 1 - μ(n-1)/(mn) "
    "where views coincide.",
    prove=_spectral_closed_form,
    source="HaoChen, Wei, Gaidon and Ma (NeurIPS 2021) for the loss; derived here",
    expected=Verdict.HOLDS,
)


def _criterion():
    cells, loss, found = _spectral()
    margin = np.asarray(theory.collapse_criterion(loss, ClassStructure.balanced(*_SPECTRAL_SHAPE)))
    decided = found.phase != Phase.UNDECIDED
    agrees = (margin >= 0) == (np.asarray(found.phase) == Phase.COLLAPSE)
    return _proof(cells, decided & agrees, decided & ~agrees, found.gap)


collapse_criterion = Theorem(
    name="collapse_criterion",
    statement="m = n = p = 2: classes collapse under the spectral loss iff the first-order "
    "criterion for convex symmetric losses says so.",
    prove=_criterion,
    source="derived here: first-order optimality on the simplex of variance shares",
    expected=Verdict.HOLDS,
)


def _sigmoid_minimum():
    minima = np.array(sigmoid_minima())
    num_pairs, scale, bias, lower, value, gap = minima.T
    predicted = np.asarray(theory.sigmoid_optimum(num_pairs, scale, bias).loss)
    low, high = lower - VALUE_TOLERANCE, value + VALUE_TOLERANCE
    holds = (low <= predicted) & (predicted <= high)
    cells = [{"K": int(k), "t": float(t), "b": float(b)} for k, t, b in minima[:, :3]]
    return _proof(cells, holds, ~holds, gap)


sigmoid_minimum = Theorem(
    name="sigmoid_minimum",
    statement="For K ≥ 3 pairs the minimum of the sigmoid loss is that of the double-constant "
    "embedding model, o = ((K-2)s - K)/(2(K-1)), at the root of its derivative in s, or at an end.",
    prove=_sigmoid_minimum,
    source=SIGMOID_SOURCE,
    expected=Verdict.HOLDS,
)

views_coincide_decoupled = Claim(
    name="views_coincide_decoupled",
    statement="With instances decoupled, all views of an instance coincide at every optimum.",
    source=_YEH,
    margin=lambda cell: COLLAPSE_TOLERANCE - cell.view_variance,
    exclude=lambda cell: cell.near_boundary(),
    closed=True,
    domain=DECOUPLED,
    quantity="view_variance",
    expected=Verdict.HOLDS,
)
