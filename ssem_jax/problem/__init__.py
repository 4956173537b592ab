"""What is minimised, and what was found; the checks of all input.

Files: validation (every check), structure (classes, instances, views), problem (Problem, Phase),
solution (Solution, Status), pytrees (dataclasses that jax traces).
"""

from ssem_jax.problem.problem import Phase as Phase
from ssem_jax.problem.problem import Problem as Problem
from ssem_jax.problem.problem import cell_keys as cell_keys
from ssem_jax.problem.problem import check_loss as check_loss
from ssem_jax.problem.problem import check_problem as check_problem
from ssem_jax.problem.pytrees import pytree_dataclass as pytree_dataclass
from ssem_jax.problem.solution import Solution as Solution
from ssem_jax.problem.solution import Status as Status
from ssem_jax.problem.structure import ClassStructure as ClassStructure
from ssem_jax.problem.structure import check_structure as check_structure
from ssem_jax.problem.validation import as_array as as_array
from ssem_jax.problem.validation import as_key as as_key
from ssem_jax.problem.validation import check_choice as check_choice
from ssem_jax.problem.validation import check_count as check_count
from ssem_jax.problem.validation import check_mixing as check_mixing
from ssem_jax.problem.validation import check_positive as check_positive
from ssem_jax.problem.validation import check_progress as check_progress
from ssem_jax.problem.validation import check_rows as check_rows
from ssem_jax.problem.validation import check_temperature as check_temperature
from ssem_jax.problem.validation import check_type as check_type
from ssem_jax.problem.validation import concrete as concrete
from ssem_jax.problem.validation import precision as precision
from ssem_jax.problem.validation import require_x64 as require_x64
from ssem_jax.problem.validation import shown as shown
from ssem_jax.problem.validation import stable_text as stable_text
