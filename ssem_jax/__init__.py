"""ssem_jax: certified numerical verification of class collapse in supervised contrastive learning.

Here is what a first user needs; everything else is in the rooms, each with a list of its files:

* :mod:`problem` and :mod:`losses`: what is minimised. :class:`ClassStructure`, :class:`Problem`;
  :class:`SupCL`, and :func:`gram_loss` and :class:`GramLoss` to write your own
* :mod:`geometry`: the models that theory predicts, and what embeddings look like
* the witnesses, none of which imports another: :mod:`theory` (closed forms), :mod:`solver`
  (:func:`solve`, a :class:`Solution`), :mod:`certificate` (:func:`certify`,
  :func:`certify_embeddings`, :func:`export`) and :mod:`balls` (proofs in ball arithmetic)
* :mod:`sweeps`: many cells. :class:`Grid`, :func:`sweep`, :func:`read_run`; :mod:`compute` says who
  computes them
* :mod:`claims`: :class:`Claim`, :func:`verify`, :class:`Verdict`; conjectures over a :class:`Space`
  of :class:`Range`, judged by :func:`search`
* :mod:`advice`: :func:`guide` to choose α and τ, :func:`audit` of embeddings found elsewhere,
  :func:`landscape` to see what optimisers come to
* :mod:`training`: :func:`supcl_loss` of a batch, sharded or not, and what a batch should show
* :mod:`show`: figures and pages

Verification needs float64: write ``jax.config.update("jax_enable_x64", True)`` first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ssem_jax.later import attributes as _attributes

if TYPE_CHECKING:
    from ssem_jax import advice as advice
    from ssem_jax import balls as balls
    from ssem_jax import certificate as certificate
    from ssem_jax import claims as claims
    from ssem_jax import compute as compute
    from ssem_jax import geometry as geometry
    from ssem_jax import losses as losses
    from ssem_jax import problem as problem
    from ssem_jax import show as show
    from ssem_jax import solver as solver
    from ssem_jax import sweeps as sweeps
    from ssem_jax import theory as theory
    from ssem_jax import training as training
    from ssem_jax.advice.audits import audit as audit
    from ssem_jax.advice.guides import guide as guide
    from ssem_jax.advice.landscapes import landscape as landscape
    from ssem_jax.certificate.certificate import Certificate as Certificate
    from ssem_jax.certificate.certificates import certify as certify
    from ssem_jax.certificate.certificates import certify_embeddings as certify_embeddings
    from ssem_jax.certificate.exports import export as export
    from ssem_jax.claims.claim import Claim as Claim
    from ssem_jax.claims.claim import Verdict as Verdict
    from ssem_jax.claims.collection import verify as verify
    from ssem_jax.claims.interval import equal as equal
    from ssem_jax.claims.refinement import search as search
    from ssem_jax.claims.space import Range as Range
    from ssem_jax.claims.space import Space as Space
    from ssem_jax.losses.base import GramLoss as GramLoss
    from ssem_jax.losses.decorator import gram_loss as gram_loss
    from ssem_jax.losses.supcl import SupCL as SupCL
    from ssem_jax.problem.problem import Phase as Phase
    from ssem_jax.problem.problem import Problem as Problem
    from ssem_jax.problem.solution import Solution as Solution
    from ssem_jax.problem.solution import Status as Status
    from ssem_jax.problem.structure import ClassStructure as ClassStructure
    from ssem_jax.solver.attempts import solve as solve
    from ssem_jax.sweeps.folder import read_run as read_run
    from ssem_jax.sweeps.grid import Grid as Grid
    from ssem_jax.sweeps.runs import sweep as sweep
    from ssem_jax.training.batch_loss import supcl_loss as supcl_loss

__getattr__, __dir__ = _attributes(
    __name__,
    {
        "advice": ("audit", "guide", "landscape"),
        "balls": (),
        "certificate": ("Certificate", "certify", "certify_embeddings", "export"),
        "claims": ("Claim", "Verdict", "verify", "equal", "search", "Range", "Space"),
        "compute": (),
        "geometry": (),
        "losses": ("GramLoss", "gram_loss", "SupCL"),
        "problem": ("Phase", "Problem", "Solution", "Status", "ClassStructure"),
        "show": (),
        "solver": ("solve",),
        "sweeps": ("read_run", "Grid", "sweep"),
        "theory": (),
        "training": ("supcl_loss",),
    },
)
"""A room is imported when it, or a name that the face has of it, is first asked for, so that
`ssem --help` waits for none."""

__all__ = [
    "Certificate",
    "Claim",
    "ClassStructure",
    "GramLoss",
    "Grid",
    "Phase",
    "Problem",
    "Range",
    "Solution",
    "Space",
    "Status",
    "SupCL",
    "Verdict",
    "audit",
    "certify",
    "certify_embeddings",
    "equal",
    "export",
    "gram_loss",
    "guide",
    "landscape",
    "read_run",
    "search",
    "solve",
    "supcl_loss",
    "sweep",
    "verify",
]
