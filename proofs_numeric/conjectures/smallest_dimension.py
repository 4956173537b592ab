r"""Which is the smallest dimension that attains the unconstrained optimum?

m - 1 where classes are collapsed, mn - 1 where they are spread, mn(p-1) + m - 1 where only views
are spread (self pairs excluded). Attained is certified by embeddings in R^d; not attained follows
from uniqueness of the optimal Gram matrix, which is proven for this loss, and from its rank. Many
starts that end above the bound prove nothing, and are never used. The naive guess d ≥ m - 1,
enough for the class means, is refuted by the smallest spread cell there is. A projection head
narrower than the batch has classes times instances therefore cannot reach what the theory of free
embeddings describes, but in collapse.
"""

import ssem_jax as sx
from ssem_jax import theory
from ssem_jax.claims import run_file


def rank_of_optimum(cell):
    m, n, p = cell.num_classes, cell.num_instances, cell.num_views
    return sx.geometry.rank_in(cell.predict(theory.phase), m, m * n, p)


smallest_dimension = sx.Claim(
    name="smallest_dimension",
    statement="R^d attains the unconstrained optimum iff d ≥ m-1 in collapse, mn-1 in the spread "
    "phase, mn(p-1)+m-1 in view-spread.",
    margin=lambda cell: sx.claims.attained(cell, cell.dim >= rank_of_optimum(cell)),
    domain=sx.Space(
        num_classes=3,
        num_instances=2,
        num_views=2,
        dim=(2, 4, 5, 7, 8),
        self_pairs=("include", "exclude"),
        alpha=[0.05, 0.5, 0.8],
        temperature=[0.3, 1.0],
    ),
    exclude=lambda cell: cell.near_boundary(),
    source="derived here",
    expected=sx.Verdict.HOLDS,
)

class_means_suffice = sx.Claim(
    name="class_means_suffice",
    statement="R^{m-1}, enough for the class means, attains the unconstrained optimum.",
    margin=sx.claims.attained,
    domain=sx.Space(
        num_classes=3, num_instances=2, dim=2, alpha=[0.2, 0.5, 0.8], temperature=[0.3, 1.0]
    ),
    source="a guess that is refuted",
    expected=sx.Verdict.REFUTED,
)

if __name__ == "__main__":
    raise SystemExit(run_file(__file__))
