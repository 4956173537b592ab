"""A loss of which nothing is known but what it declares, for tests of what holds of any loss."""

from ssem_jax.losses import GramLoss
from ssem_jax.problem import pytree_dataclass


@pytree_dataclass
class Wrapped(GramLoss):
    """Another loss without its terms, rows and conventions."""

    inner: GramLoss
    convex = True
    symmetric = True

    def from_gram(self, gram, structure):
        return self.inner.from_gram(gram, structure)
