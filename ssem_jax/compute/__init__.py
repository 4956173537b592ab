"""Who computes: kernels in chunks on threads, batches on workers, the compilation cache.

Nothing here knows what is computed. A sweep is computed in batches, by the threads of one process
or by any executor with the interface of `concurrent.futures`; the table is the same. On the command
line: ``--executor processes --workers 8`` shares out the cores of this machine, ``--executor dask``
makes a dask cluster on it, ``--scheduler tcp://host:8786`` finds one (extra: cluster).

dask's own deployers start the workers, which need ssem-jax but not the run folder. A batch uses all
cores that its process may use, or as many threads as `SSEM_THREADS` says; so give a worker one dask
thread, or set that variable to 1:

>>> from dask.distributed import Client, LocalCluster  # one machine
>>> from dask_jobqueue import SLURMCluster  # SLURM
>>> from dask_kubernetes.operator import KubeCluster  # Kubernetes
>>>
>>> if __name__ == "__main__":
...     jax.config.update("jax_enable_x64", True)
...     cluster = LocalCluster(n_workers=2, threads_per_worker=1, env={"SSEM_THREADS": "4"})
...     # SLURMCluster(cores=1, processes=1, job_cpu=8, memory="16GB"), then cluster.scale(jobs=10)
...     # or KubeCluster(name="ssem", image="IMAGE", n_workers=10, env={"SSEM_THREADS": "1"})
...     grid = sx.Grid([structure], ["full"], alphas, temperatures)
...     with Client(cluster) as client:
...         table = sx.sweep(grid.problems(), out="runs/a", executor=client.get_executor())

`cluster.scheduler_address` is what ``--scheduler`` takes. Under MPI,
``mpiexec -n 9 python -m mpi4py.futures script.py`` with ``executor=MPIPoolExecutor()`` does that,
too. Compiled kernels are kept in the user's cache folder, and are not traced again as long as they
and all that they call are the same; ``SSEM_CACHE=folder`` moves it, ``SSEM_CACHE=off`` switches it
off.

Where JAX finds an accelerator, the cells of a chunk are solved and certified side by side, and
chunks are of thousands: `ssem_jax.solve` of a large grid keeps a GPU busy (a part of a sweep has
256 cells, which is less than it could take). `SSEM_BATCHED` (1 or 0) overrides the platform.

Files: kernels, pieces (of code, with all their loops), workers (executors), cache, programs
(compiled kernels that another process finds), identity (what a stored result is of), sizes (what a
computation would take).
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
