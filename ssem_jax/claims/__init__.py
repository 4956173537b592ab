"""Where the witnesses meet: statements, margins, verdicts over a domain.

Files: interval, cells (what a margin sees), claim (what is stated), judgements (how it is judged),
collection (`verify`), space (where a conjecture lives), refinement (`search`), trial and source
(what it gives and asks), places (where a margin failed), snippets, low_dimension (does R^d attain
the optimum?), files and told (what `ssem test` collects and tells), proposals (what to ask it),
paper and atlas (papers as programs, and their verdicts).
"""

from ssem_jax.claims.cells import BOUNDARY_BAND as BOUNDARY_BAND
from ssem_jax.claims.cells import Cells as Cells
from ssem_jax.claims.cells import ClaimError as ClaimError
from ssem_jax.claims.cells import Condition as Condition
from ssem_jax.claims.claim import VALUE_TOLERANCE as VALUE_TOLERANCE
from ssem_jax.claims.claim import Claim as Claim
from ssem_jax.claims.claim import Domain as Domain
from ssem_jax.claims.claim import Plane as Plane
from ssem_jax.claims.claim import Proof as Proof
from ssem_jax.claims.claim import Theorem as Theorem
from ssem_jax.claims.claim import Verdict as Verdict
from ssem_jax.claims.claim import collect as collect
from ssem_jax.claims.claim import collect_theorems as collect_theorems
from ssem_jax.claims.collection import Report as Report
from ssem_jax.claims.collection import verify as verify
from ssem_jax.claims.files import run_file as run_file
from ssem_jax.claims.interval import EQUALITY_TOLERANCE as EQUALITY_TOLERANCE
from ssem_jax.claims.interval import Equality as Equality
from ssem_jax.claims.interval import Interval as Interval
from ssem_jax.claims.interval import decided as decided
from ssem_jax.claims.interval import equal as equal
from ssem_jax.claims.interval import same_phase as same_phase
from ssem_jax.claims.judgements import Judgement as Judgement
from ssem_jax.claims.judgements import judge as judge
from ssem_jax.claims.judgements import judge_theorem as judge_theorem
from ssem_jax.claims.judgements import outcomes as outcomes
from ssem_jax.claims.judgements import predict as predict
from ssem_jax.claims.judgements import weigh as weigh
from ssem_jax.claims.low_dimension import Attainment as Attainment
from ssem_jax.claims.low_dimension import attained as attained
from ssem_jax.claims.low_dimension import attainment as attainment
from ssem_jax.claims.low_dimension import excess as excess
from ssem_jax.claims.low_dimension import excess_in_dimension as excess_in_dimension
from ssem_jax.claims.low_dimension import standings as standings
from ssem_jax.claims.paper import Beside as Beside
from ssem_jax.claims.paper import Paper as Paper
from ssem_jax.claims.paper import Picture as Picture
from ssem_jax.claims.paper import Point as Point
from ssem_jax.claims.paper import Statement as Statement
from ssem_jax.claims.paper import collect_papers as collect_papers
from ssem_jax.claims.proposals import Proposal as Proposal
from ssem_jax.claims.proposals import as_claims as as_claims
from ssem_jax.claims.proposals import propose as propose
from ssem_jax.claims.refinement import search as search
from ssem_jax.claims.space import Range as Range
from ssem_jax.claims.space import Slice as Slice
from ssem_jax.claims.space import Space as Space
from ssem_jax.claims.trial import Budget as Budget
from ssem_jax.claims.trial import Trial as Trial
