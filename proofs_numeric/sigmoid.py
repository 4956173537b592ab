"""The sigmoid loss of two towers: from the simplex to antipodal embeddings.

With K ≥ 3 pairs, logits t⟨u, v⟩ - b, cosine s of matched and o of unmatched pairs, the averaged
loss is log(1+e^{b-ts}) + (K-1) log(1+e^{to-b}). The attainable (o, s) satisfy |s| ≤ 1 and
(K-2) s - 2(K-1) o ≤ K, and the edge of that region is the double-constant embedding model.
"""

import numpy as np

from proofs_numeric import evidence
from ssem_jax.claims import Theorem, Verdict

SOURCE = "Lee, Chang and Sohn (AISTATS 2024), double-constant embedding model"

CELLS = ((3, 4, 6, 8), (0.3, 0.7, 1.5, 3.0, 6.0), (-3.0, -1.0, 0.0, 0.4, 1.0, 3.0))
"""Pairs K, scales t and biases b at which the loss is minimised freely."""


sigmoid_simplex = Theorem(
    name="sigmoid_simplex",
    statement="For K ≥ 3 pairs the simplex ETF (matched pairs coincide) minimises the sigmoid loss "
    "iff 2(1 + e^{t/(K-1)+b}) ≥ (K-2)(1 + e^{t-b}).",
    prove=lambda: evidence.sigmoid_optimal(
        CELLS,
        1.0,
        lambda k: -1 / (k - 1),
        lambda k, t, b: (2 * (1 + np.exp(t / (k - 1) + b)), (k - 2) * (1 + np.exp(t - b))),
    ),
    source=SOURCE,
    expected=Verdict.HOLDS,
)

sigmoid_antipodal = Theorem(
    name="sigmoid_antipodal",
    statement="For K ≥ 3 pairs antipodal towers (every u_i = e, every v_j = -e) minimise the "
    "sigmoid loss iff e^{t+b} ≤ (K-2)/2.",
    prove=lambda: evidence.sigmoid_optimal(
        CELLS, -1.0, lambda k: -1.0, lambda k, t, b: ((k - 2) / 2, np.exp(t + b))
    ),
    source=SOURCE,
    expected=Verdict.HOLDS,
)
