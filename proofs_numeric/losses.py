"""Losses beside SupCL with and without self pairs: decoupled, SupCon, InfoNCE, spectral, sigmoid.

The decoupled loss is a third convention of SupCL and is judged on its cells. Of the others cells
are solved and certified here, and compared with the closed forms of :mod:`ssem_jax.theory`.
"""

import numpy as np

from proofs_numeric import evidence, sigmoid
from proofs_numeric.domains import EXCLUDED
from ssem_jax import theory
from ssem_jax.certificate import COLLAPSE_TOLERANCE
from ssem_jax.claims import VALUE_TOLERANCE, Claim, Domain, Theorem, Verdict, equal, same_phase
from ssem_jax.geometry import largest_delta2
from ssem_jax.problem import ClassStructure
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


info_nce_simplex = Claim(
    name="info_nce_simplex",
    statement="The optimum of InfoNCE (SimCLR: α = 1, self pairs excluded) is the simplex of all "
    "instances with coinciding views, at every τ.",
    source="Lu and Steinerberger (2022) and Graf et al. (ICML 2021), for two views; derived here",
    margin=lambda cell: equal(cell.delta2, largest_delta2(cell.num_classes, cell.num_instances)),
    where=lambda cell: cell.alpha == 1,
    domain=EXCLUDED,
    expected=Verdict.HOLDS,
)


_SUPCON_SHAPE = (2, 2, 2)
_SUPCON_TEMPERATURES = np.geomspace(0.3, 5.0, 16)


supcon_collapses = Theorem(
    name="supcon_collapses",
    statement="m = n = p = 2: SupCon (L_out, other views among the positives) is SupCL at "
    "α = (p-1)/(np-1) with self pairs excluded, and its optima are fully collapsed at every τ.",
    prove=lambda: evidence.supcon_collapses(_SUPCON_SHAPE, _SUPCON_TEMPERATURES),
    source="Graf, Hofer, Niethammer and Kwitt (ICML 2021); that α is the limit of α_c as τ → 0",
    expected=Verdict.HOLDS,
)

_SPECTRAL = ((2, 2, 2), (0.0, 0.23, 0.5, 0.71, 0.87, 1.0), (0.4, 1.0, 1.7, 2.4, 3.3, 6.0))
"""m, n and p; α; and squared norms μ of the embeddings."""


spectral_closed_form = Theorem(
    name="spectral_closed_form",
    statement="m = n = p = 2: the optimum of the spectral contrastive loss with supervised "
    "positives fills mean, classes, instances and views to one level: classes are orthogonal, "
    "the global mean has squared norm 1/m in collapse, and instances part iff α > 1 - μ(n-1)/(mn) "
    "where views coincide.",
    prove=lambda: evidence.spectral_closed_form(*_SPECTRAL),
    source="HaoChen, Wei, Gaidon and Ma (NeurIPS 2021) for the loss; derived here",
    expected=Verdict.HOLDS,
)


collapse_criterion = Theorem(
    name="collapse_criterion",
    statement="m = n = p = 2: classes collapse under the spectral loss iff the first-order "
    "criterion for convex symmetric losses says so.",
    prove=lambda: evidence.spectral_criterion(*_SPECTRAL),
    source="derived here: first-order optimality on the simplex of variance shares",
    expected=Verdict.HOLDS,
)


sigmoid_minimum = Theorem(
    name="sigmoid_minimum",
    statement="For K ≥ 3 pairs the minimum of the sigmoid loss is that of the double-constant "
    "embedding model, o = ((K-2)s - K)/(2(K-1)), at the root of its derivative in s, or at an end.",
    prove=lambda: evidence.sigmoid_minimum(*sigmoid.CELLS),
    source=sigmoid.SOURCE,
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
