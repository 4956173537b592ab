r"""Which convention is mine? Losses by the names that people know, and what libraries compute.

Published code of one loss differs in what is summed, averaged and scaled. Below stands, for each
library, the loss of this package and the factor that its number is: ours times the factor is
theirs, on normalised embeddings. A factor moves no optimum, and multiplies a gap.

======================================  ========================  =================================
theirs                                  ours                      theirs is ours times
======================================  ========================  =================================
SupContrast `SupConLoss(τ, base)`       `SupCon(τ)`               τ/base, and the share of rows that
                                                                  have a positive: others count as 0
SupContrast `SupConLoss`, no labels     `info_nce(τ)`             τ/base
pytorch-metric-learning `SupConLoss`    `SupCon(τ)`               1
pytorch-metric-learning `NTXentLoss`    `Sincere(τ)`, or with     1, for classes of one size
                                        ids for labels and p = 2
                                        `info_nce(τ)`
lightly `NTXentLoss` (no memory bank)   `info_nce(τ)`, p = 2      1
solo-learn `simclr_loss_func`           `info_nce(τ)`, p = 2      1
SimCLR (`nt_xent` of google-research)   `info_nce(τ)`, p = 2      2: the losses of both views are
                                                                  added
SINCERE (`SINCERELoss`)                 `Sincere(τ)`              1
======================================  ========================  =================================

Two towers contrast rows of one with those of the other alone. Their losses are terms over kinds of
pairs (:mod:`ssem_jax.losses.kinds`), of K matched pairs; `TOWERS` holds this table.

==================================================  ===============================================
theirs                                              ours
==================================================  ===============================================
open_clip `ClipLoss`, logit_scale 1/τ               `two_tower_terms(K, τ)`
sentence-transformers                               `two_tower_terms(K, τ)`
`MultipleNegativesSymmetricRankingLoss`, scale 1/τ
open_clip `SigLipLoss`, logit_scale t, logit_bias   `two_tower_sigmoid_terms(K, t, -b)`
b
==================================================  ===============================================

`MultipleNegativesRankingLoss` goes one way only, from anchors to positives. Where both ways are
alike, as in an optimum, it has the value of the symmetric one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ssem_jax.losses.base import GramLoss
from ssem_jax.losses.kinds import two_tower_sigmoid_terms, two_tower_terms
from ssem_jax.losses.pairwise import Sincere
from ssem_jax.losses.supcl import SupCL, SupCon, decoupled_contrast, info_nce
from ssem_jax.losses.terms import Terms
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import shown

NAMES: dict[str, Callable[[Any], GramLoss]] = {
    "supcon": SupCon,
    "simclr": info_nce,
    "nt-xent": info_nce,
    "infonce": info_nce,
    "dcl": decoupled_contrast,
    "sincere": Sincere,
}
"""Losses of a temperature alone, by name."""


class Convention(NamedTuple):
    """How a library computes a loss.

    Attributes:
        theirs: the library and its loss.
        ours: the loss of this package, of a temperature.
        views: p where it is defined for one number of views only, else None.
        factor: ours times this is theirs, of a structure, τ and the base temperature.
    """

    theirs: str
    ours: Callable[[Any], GramLoss]
    views: int | None
    factor: Callable[[ClassStructure, float, float], float]


def named_loss(
    name: str,
    temperature: Any,
    alpha: Any = None,
    self_pairs: str = "include",
    mean: str = "pairs",
) -> GramLoss:
    """A loss by the name that people know it by.

    Args:
        name: "supcl", or one of `NAMES`; small and capital letters, "-", "_" and blanks are alike.
        temperature: τ > 0.
        alpha: α in [0, 1], of supcl alone.
        self_pairs: of supcl alone.
        mean: of supcl alone.

    Raises:
        ValueError: an unknown name, supcl without α, or others with it or with conventions.
    """
    key = _plain(name) if isinstance(name, str) else None
    known = {_plain(each): each for each in ("supcl", *NAMES)}
    if key not in known:
        raise ValueError(f"the loss must be one of {', '.join(known.values())}; got {shown(name)}.")
    if key == "supcl":
        if alpha is None:
            raise ValueError("supcl needs alpha, the weight of L_self; give it, or another loss.")
        return SupCL(alpha, temperature, self_pairs, mean)
    if alpha is not None or (self_pairs, mean) != ("include", "pairs"):
        raise ValueError(
            f"{known[key]} has a temperature alone; leave alpha, self_pairs and mean out, or take "
            "supcl."
        )
    return NAMES[known[key]](temperature)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _one(*_: Any) -> float:
    return 1.0


def _scaled(_: ClassStructure, temperature: float, base: float) -> float:
    return temperature / base


def _over_all_rows(structure: ClassStructure, temperature: float, base: float) -> float:
    """SupContrast divides by the number of all rows, whether they have a positive or not."""
    alone = sum(size * structure.num_views == 1 for size in structure.sizes)
    return temperature / base * (1 - alone / structure.num_embeddings)


CONVENTIONS = (
    Convention("SupContrast SupConLoss", SupCon, None, _over_all_rows),
    Convention("SupContrast SupConLoss without labels", info_nce, None, _scaled),
    Convention("pytorch-metric-learning SupConLoss", SupCon, None, _one),
    Convention("pytorch-metric-learning NTXentLoss", Sincere, None, _one),
    Convention("pytorch-metric-learning NTXentLoss of ids", info_nce, 2, _one),
    Convention("lightly NTXentLoss", info_nce, 2, _one),
    Convention("solo-learn simclr_loss_func", info_nce, 2, _one),
    Convention("SimCLR nt_xent", info_nce, 2, lambda *_: 2.0),
    Convention("SINCERE SINCERELoss", Sincere, None, _one),
)
"""The table of this module's docstring."""


BASE_TEMPERATURE = 0.07
"""By what SupContrast divides τ, unless told otherwise, to scale its loss."""


def scaled_elsewhere(
    name: str, structure: ClassStructure, temperature: float
) -> list[tuple[str, float]]:
    """Libraries that show a multiple of a loss of `NAMES`, each with the factor.

    Args:
        name: of the loss, as :func:`named_loss` takes it.
        structure: of the embeddings.
        temperature: τ.
    """
    made = {_plain(each): loss for each, loss in NAMES.items()}.get(_plain(name))
    scaled = [
        (one.theirs, one.factor(structure, temperature, BASE_TEMPERATURE))
        for one in CONVENTIONS
        if one.ours is made and one.views in (None, structure.num_views)
    ]
    return [(theirs, factor) for theirs, factor in scaled if abs(factor - 1) > ROUNDING]


ROUNDING = 1e-12
"""What a factor may differ from 1 by, and is none."""


class Tower(NamedTuple):
    """How a library computes a loss of two towers.

    Attributes:
        theirs: the library and its loss.
        ours: its terms, of K pairs, the scale of its logits and their bias.
    """

    theirs: str
    ours: Callable[[int, float, float], Terms]


def _clip(number: int, scale: float, _: float) -> Terms:
    return two_tower_terms(number, 1 / scale)


TOWERS = (
    Tower("open_clip ClipLoss", _clip),
    Tower("sentence-transformers MultipleNegativesSymmetricRankingLoss", _clip),
    Tower("open_clip SigLipLoss", lambda k, scale, bias: two_tower_sigmoid_terms(k, scale, -bias)),
)
"""The second table of this module's docstring."""
