"""Pictures of papers: certified values of statements beside their formulas, one image a paper."""

from __future__ import annotations

from functools import partial

import ssem_jax as sx
from figures.common import Progress, Tables
from proofs_numeric import papers
from ssem_jax import show

PICTURES = {
    paper.key: paper.picture
    for paper in sx.claims.collect_papers(papers.modules())
    if paper.picture is not None
}


def compute(fast: bool, progress: Progress) -> Tables:
    """The points of every picture."""
    progress.begin(len(PICTURES))
    tables = {}
    for key, picture in PICTURES.items():
        tables[key] = picture.table(9 if fast else show.papers.PLACES)
        progress.advance(1)
    return tables


def draw(key: str, tables: Tables) -> object:
    """One paper's picture."""
    return show.draw_paper(PICTURES[key], tables[key])


IMAGES = {f"paper_{key}.svg": partial(draw, key) for key in PICTURES}
