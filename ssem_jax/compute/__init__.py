"""Who computes: kernels in chunks on threads, batches on workers, the compilation cache.

Nothing here knows what is computed.
"""

from ssem_jax.compute.cache import set_up_jax as set_up_jax
from ssem_jax.compute.kernels import Kernel as Kernel
from ssem_jax.compute.kernels import chunk_capacity as chunk_capacity
from ssem_jax.compute.kernels import in_this_mode as in_this_mode
from ssem_jax.compute.kernels import in_threads as in_threads
from ssem_jax.compute.kernels import map_first as map_first
from ssem_jax.compute.kernels import run_chunks as run_chunks
from ssem_jax.compute.kernels import whole as whole
from ssem_jax.compute.kernels import without_mesh as without_mesh
from ssem_jax.compute.kernels import worker_count as worker_count
from ssem_jax.compute.workers import EXECUTORS as EXECUTORS
from ssem_jax.compute.workers import Processes as Processes
from ssem_jax.compute.workers import lost_worker as lost_worker
from ssem_jax.compute.workers import open_executor as open_executor
