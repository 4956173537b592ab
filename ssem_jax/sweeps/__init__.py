"""Many cells: grids, tidy tables, run folders.

Files: grid, table (row ↔ Problem, both ways), batches, folder (the only run folder), runs
(`sweep`), selection (conditions on cells, several tables), document (JSON that every reader knows),
words (what columns and symbols are called).
"""

from ssem_jax.sweeps.batches import num_cells as num_cells
from ssem_jax.sweeps.folder import RunError as RunError
from ssem_jax.sweeps.folder import read_run as read_run
from ssem_jax.sweeps.folder import summarize as summarize
from ssem_jax.sweeps.grid import Grid as Grid
from ssem_jax.sweeps.runs import sweep as sweep
from ssem_jax.sweeps.selection import compare as compare
from ssem_jax.sweeps.selection import filtered as filtered
from ssem_jax.sweeps.selection import joined as joined
from ssem_jax.sweeps.table import SCHEMA as SCHEMA
