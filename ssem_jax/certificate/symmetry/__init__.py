r"""One symmetry mechanism: what is left of a convex loss when all that plays equal parts is one.

**Theorem.** Let :math:`L = \sum_T w_T \varphi_T((G_e)_{e \in T}) - \langle W, G \rangle` with
w ≥ 0 and φ convex and symmetric within *cells*, slots of one colour and one role. Terms are of one
type if their φ and their cells, by colour and number, agree; the coverage of a cell of a type is
:math:`\lambda(i, j) = \sum w_T` over its terms with (i, j) in that cell. If the colours of pairs
are coherent and W + Wᵀ and every coverage are constant on them, the mean ΠG of G over colours has

1. ΠG ⪰ 0 and unit diagonal, and entries no smaller than the least of G;
2. L(ΠG) ≤ L(G).

*Proof.* 1: For X of the algebra, ⟨ΠG, XXᵀ⟩ = ⟨G, XXᵀ⟩ ≥ 0, and the projector on a negative
eigenspace of ΠG would be such an XXᵀ. 2: Averaging a cell raises no φ (Jensen, by its symmetry),
nor does averaging the terms of a type (Jensen again); a cell's weighted mean Σ λG / Σ λ is then the
mean over its colour, where λ is constant. □ No group has to be at work: the algebra of a Latin
square without a symmetry will do.

So an optimum is constant on colours, and so are the means of every near-optimal G, which lie where
the reduced loss is small. Three steps lead from a structure to bounds:

>>> algebra = structures.classes(ClassStructure((8,) * 40 + (4,) * 30 + (2,) * 30))
>>> program = Program(algebra, supcl_terms(structure, alpha=0.3, temperature=0.3))
>>> solved = solve_program(program)               # .x, .value, .lower: certified
>>> Level(program, solved.value + 1e-9, solved).bracket(functional)   # (low, high)

Files: algebra (colours of pairs in integers, and how they are built), structures (classes, towers,
prototypes), colours (those of a list, searched for), blocks (of the algebra), program and draws (a
loss by its terms), unsaid (a loss by its Gram matrix), interior (Newton steps), bounds
(certificates and brackets), collapse (where instances part), programs (that of a problem, with its
quantities).
"""

from ssem_jax.certificate.symmetry.algebra import Algebra as Algebra
from ssem_jax.certificate.symmetry.blocks import block_diagonalise as block_diagonalise
from ssem_jax.certificate.symmetry.bounds import Level as Level
from ssem_jax.certificate.symmetry.bounds import Solved as Solved
from ssem_jax.certificate.symmetry.bounds import solve_program as solve_program
from ssem_jax.certificate.symmetry.colours import Closure as Closure
from ssem_jax.certificate.symmetry.colours import close as close
from ssem_jax.certificate.symmetry.program import Program as Program
