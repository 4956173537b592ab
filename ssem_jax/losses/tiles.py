r"""The supervised contrastive loss of many embeddings, in memory that grows with N and not N².

The engine of :func:`ssem_jax.supcl_loss`, which is the door to it, and of large certificates.

:class:`ssem_jax.SupCL` is a function of the Gram matrix, which a large batch cannot afford. With
weights W_ij of the positive pairs, of row sums a_i, the loss of unit rows u_i splits into

.. math::
   L = \sum_i a_i \ell_i + \frac1\tau \sum_{ij} W_{ij} (1 - \langle u_i, u_j \rangle),
   \qquad \ell_i = \log \sum_{k \in D_i} e^{(\langle u_i, u_k \rangle - 1)/\tau}.

* The second sum needs no pairs. Weights are constant along the rows of a group (a class or an
  instance), and pairs of a group spread as its members do about their mean, Huygens' identity.
* The first is swept over tiles of the Gram matrix on and above the diagonal. Each tile serves its
  rows and, transposed, its columns; :math:`e^{(G_{ij} - 1)/\tau}` is one number for both. The
  gradient forms the tiles again instead of storing them, unless rows are few:

.. math::
   \frac{\partial}{\partial u_i} \sum_k a_k \ell_k
   = \frac1\tau \sum_j (a_i e^{-\ell_i} + a_j e^{-\ell_j}) e^{(G_{ij} - 1)/\tau} u_j.

Together that is two matrix products' worth of arithmetic; one and a half where exponentials are
kept, for which there are a few wide panels instead of tiles. The common shift of 1 underflows only
where a row has nobody near, itself included; then the sweep keeps a log-sum-exp for each row.

Where a batch is sharded over devices, each of them gathers all rows, O(N d) memory, and sweeps an
equal share of the tiles. One number for each row is summed over the devices forward and one
backward, and the gradient flows back through the gathering to the device whose rows it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Real

from ssem_jax.compute.kernels import whole
from ssem_jax.geometry.sphere import normalize, product
from ssem_jax.losses.contrast import MEANS, SELF_PAIRS, ClassContrast
from ssem_jax.losses.positives import apart, check_ids, groups_of, weight_of
from ssem_jax.losses.supcl import SupCL
from ssem_jax.problem.arrays import AnyArray, Hyper
from ssem_jax.problem.pytrees import pytree_dataclass
from ssem_jax.problem.structure import ClassStructure
from ssem_jax.problem.validation import (
    as_array,
    check_choice,
    check_count,
    check_mixing,
    check_temperature,
)

Scalar = Float[Array, ""]

BLOCK_SIZE, LARGE_BLOCK_SIZE = 512, 4096
"""Rows of a tile. On a CPU it fills 1 MiB in float32 and stays in a core's cache between its uses;
an accelerator has to be filled: 64 MiB."""
KEPT_ROWS = 2048
"""Rows up to which the exponentials are kept for the gradient: 10 MiB in float32. Of more rows they
are sooner formed anew, in the cache."""
PANELS, PANEL_ROWS = 4, 256
"""Panels in which they are formed, of so many rows at least, each against its own rows and all that
follow: four leave out three pairs in eight. More leave out more, but are smaller products."""


def tile_rows(num_rows: int) -> int:
    """Rows of a tile that suit the platform."""
    return min(num_rows, BLOCK_SIZE if jax.default_backend() == "cpu" else LARGE_BLOCK_SIZE)


def default_block_size(num_rows: int) -> int:
    """Rows of a tile where nobody says: all, if their exponentials are kept."""
    return num_rows if num_rows <= KEPT_ROWS else tile_rows(num_rows)


def blockwise_supcl(
    embeddings: Float[AnyArray, "N d"],
    class_ids: Integer[AnyArray, " N"],
    instance_ids: Integer[AnyArray, " N"],
    alpha: Hyper,
    temperature: Hyper,
    self_pairs: str = "include",
    mean: str = "pairs",
    block_size: int | None = None,
    axis_name: str | None = None,
    row_weights: Float[AnyArray, " N"] | None = None,
) -> Scalar:
    r"""The supervised contrastive loss (1-α)·L_sup + α·L_self, of rows in any order.

    It is the loss of :class:`ssem_jax.SupCL`, whose conventions it shares, and serves as a training
    loss: ids may be traced, so that batches of any composition compile once. Gradients (in reverse
    mode, of first order) with respect to embeddings, α and τ take as little memory,
    O(N·d + block_size²).

    Rows that are sharded over an explicit mesh are gathered, and every device does all the work.
    Under `jax.shard_map` or `jax.pmap`, `axis_name` makes the rows of all devices one batch: every
    device contrasts its rows with those of all, does an equal share of the work, and returns the
    loss of the whole batch. Differentiate as for any replicated loss: of parameters that are
    replicated, `shard_map` sums the gradient over devices itself; under `pmap`, or with
    `check_vma=False`, take `jax.lax.pmean` of it.

    Args:
        embeddings: (N, d) rows of any length, which are normalised first; float32, float64, or a
            shorter type that is converted to float32 before anything is summed. Products are taken
            in full precision, on GPUs too (:func:`ssem_jax.geometry.product`).
        class_ids: (N,) integers; classes of any sizes.
        instance_ids: (N,) integers, equal for the views of an instance. An instance has one class:
            the same id in two classes names two instances, so ids may start anew in every class.
        alpha: α in [0, 1], the weight of L_self.
        temperature: τ > 0.
        self_pairs: "include" or "exclude" the pairs (i, i), or "decouple" instances.
        mean: over positive "pairs", over "anchors" that have one, or over "all" anchors.
        block_size: rows of a tile of the Gram matrix; by default as many as suit the platform. Of
            no more rows than that, and of `KEPT_ROWS` by default, exponentials are kept.
        axis_name: the mesh axis over which the batch is sharded, as many rows on each device; ids
            then hold for the whole batch. None: the rows at hand are the batch.
        row_weights: (N,) of anchors, alike within a class, as :class:`ssem_jax.losses.
            WeightedSupCL` has them.

    Returns:
        The loss, a scalar of at least 32 bits. A kind of positives that no row has counts 0.

    Raises:
        ValueError: fewer than two rows, ids of another shape or type, α outside [0, 1], τ not
            positive and finite, either of them an array, an unknown convention, a single instance
            that is decoupled (where ids are not traced), or a block size below 1.

    References:
        Lee, Oh, Lee and Sohn (AISTATS 2025, arXiv:2503.08203) for the combined loss; Milakov and
        Gimelshein (2018, arXiv:1805.02867) for log-sum-exp in one sweep; Dao, Fu, Ermon, Rudra and
        Ré (NeurIPS 2022) for gradients that form the tiles again.
    """
    check_mixing(alpha)
    check_temperature(temperature)
    if np.ndim(alpha) or np.ndim(temperature):
        raise ValueError(
            f"alpha and temperature must be numbers here; got shapes {np.shape(alpha)} and "
            f"{np.shape(temperature)}. Use jax.vmap over the loss for a batch."
        )
    check_choice("self_pairs", self_pairs, SELF_PAIRS)
    check_choice("mean", mean, MEANS)
    block_size = None if block_size is None else check_count("block_size", block_size, 1)
    rows, class_ids, instance_ids = map(
        whole, (jnp.asarray(as_array(embeddings, "embeddings")), class_ids, instance_ids)
    )
    num_devices = 1 if axis_name is None else jax.lax.axis_size(axis_name)
    if rows.ndim != 2 or len(rows) * num_devices < 2:
        raise ValueError(f"embeddings must be two or more rows (N, d); got shape {rows.shape}.")
    class_ids = check_ids("class_ids", class_ids, len(rows))
    instance_ids = check_ids("instance_ids", instance_ids, len(rows))
    if block_size is None:
        block_size = default_block_size(len(rows) * num_devices)
    unit = normalize(rows.astype(jnp.promote_types(rows.dtype, jnp.float32)))
    if axis_name is not None:
        block_size = min(block_size, len(rows))  # a tile or more for each device
        unit, class_ids, instance_ids, row_weights = jax.lax.all_gather(
            (unit, jnp.asarray(class_ids), jnp.asarray(instance_ids), row_weights),
            axis_name,
            tiled=True,
        )
    (classes, relatives), (instances, views) = groups_of(class_ids, instance_ids)
    alpha, temperature = (jnp.asarray(number, unit.dtype) for number in (alpha, temperature))
    included = self_pairs == "include"
    if self_pairs == "decouple" and isinstance(views, np.ndarray) and np.all(views == len(unit)):
        raise ValueError(
            "embeddings of one instance have nobody to be contrasted with where instances are "
            'decoupled; add instances, or use self_pairs="exclude".'
        )
    contrast = Contrast(self_pairs, jnp.asarray(instances))
    relatives, views = (jnp.asarray(sizes, unit.dtype) for sizes in (relatives, views))
    num_sup, num_own = relatives - views, views - (not included)
    weights = 1 if row_weights is None else jnp.asarray(row_weights, unit.dtype)
    sup = (1 - alpha) * weight_of(num_sup, mean, weights)
    own = alpha * weight_of(num_own, mean, weights)
    # The stub of custom_vjp forgets what the function returns.
    totals = cast(
        Array, _log_totals(unit, _distinct(temperature, unit), contrast, block_size, axis_name)
    )
    spread = apart(unit, classes, relatives, sup) + apart(unit, instances, views, own - sup)
    if not included:
        spread -= jnp.sum(own * (1 - jnp.sum(unit * unit, axis=1)))
    value = jnp.sum((sup * num_sup + own * num_own) * totals) + spread / temperature
    return value if axis_name is None else jax.lax.pmean(value, axis_name)


# --------------------------------------------------------------------------------- denominators


@pytree_dataclass
class Contrast:
    """Which pairs stand in the denominators.

    Attributes:
        self_pairs: the convention.
        instances: (N,) instance of every row.
    """

    self_pairs: str = dataclasses.field(metadata={"static": True})
    instances: Integer[Array, " N"]

    def holds(self, rows: Integer[Array, " b"], columns: Integer[Array, " c"]) -> Array | bool:
        """(b, c) whether rows contrast with others; those beyond the last one are like it."""
        if self.self_pairs == "include":
            return True
        if self.self_pairs == "decouple":
            rows, columns = self.instances[rows], self.instances[columns]
        return rows[:, None] != columns[None, :]


class _Tile(NamedTuple):
    """A block of rows against a block of columns, on or above the diagonal."""

    row: Integer[Array, ""]
    column: Integer[Array, ""]
    left: Float[Array, "b d"]
    right: Float[Array, "b d"]
    exponents: Float[Array, "b b"]  # (G - 1)/τ; -∞ for pairs that are not contrasted

    def mirrored(self, of_columns: Array, blank: float = 0.0) -> Array:
        """What the tile, transposed, does to the rows of `column`; on the diagonal it is `blank`,
        for they are the rows of `row`, which are served already."""
        return jnp.where(self.row == self.column, blank, of_columns)


def _blocks(array: Real[Array, "N ..."], block_size: int) -> Real[Array, "n b ..."]:
    """Rows in blocks of equal size, the last one filled up with zeros."""
    num_rows = len(array)
    num_blocks = -(-num_rows // block_size)
    block = -(-num_rows // num_blocks)
    fill = [(0, num_blocks * block - num_rows)] + [(0, 0)] * (array.ndim - 1)
    return jnp.pad(array, fill).reshape(num_blocks, block, *array.shape[1:])


def _sweep(
    step: Callable[[Array, _Tile], Array],
    start: Array,
    unit: Float[Array, "N d"],
    temperature: Scalar,
    contrast: Contrast,
    block_size: int,
    axis_name: str | None = None,
) -> Array:
    """`step` for every tile on or above the diagonal, on a carry of one block for each of U; with
    an axis, for this device's share of the tiles."""
    blocks = _blocks(unit, block_size)
    num_blocks, block, _ = blocks.shape
    within = jnp.arange(block)

    def visit(carry: Array, place: tuple[Array, Array]) -> tuple[Array, None]:
        row, column = place
        left, right = blocks[row], blocks[column]
        i, j = row * block + within, column * block + within
        real = (i < len(unit))[:, None] & (j < len(unit))[None, :]
        kept = real & contrast.holds(i, j)
        exponents = jnp.where(kept, (product(left, right.T) - 1) / temperature, -jnp.inf)
        return step(carry, _Tile(row, column, left, right, exponents)), None

    return jax.lax.scan(visit, start, _places(num_blocks, axis_name))[0]


def _places(num_blocks: int, axis_name: str | None) -> tuple[Array, Array]:
    """Rows and columns of the tiles that this device visits, as many as any other device."""
    places = np.stack(np.triu_indices(num_blocks))
    if axis_name is None:
        return jnp.asarray(places[0]), jnp.asarray(places[1])
    num_devices = jax.lax.axis_size(axis_name)
    # What is missing are tiles beyond the last block, where no row is.
    fill = ((0, 0), (0, -places.shape[1] % num_devices))
    shares = np.pad(places, fill, constant_values=num_blocks).reshape(2, -1, num_devices)
    row, column = jnp.asarray(shares)[..., jax.lax.axis_index(axis_name)]
    return row, column


def _distinct(value: Array, unit: Float[Array, "N d"]) -> Array:
    """`value`, typed as `unit` is: as one that may differ between devices.

    shard_map sums the gradient of what devices share; here each returns its part of a gradient.
    """
    return value + jnp.zeros_like(unit[0, 0])


def _is_plain(totals: Float[Array, " N"]) -> Array:
    """Whether sums of unscaled exponentials keep their accuracy: terms below the smallest normal
    number are lost, and must not add up to a rounding of the smallest sum."""
    limits = jnp.finfo(totals.dtype)
    return jnp.min(totals) > float(np.log(limits.tiny) - 2 * np.log(limits.eps))


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _log_totals(
    unit: Float[Array, "N d"],
    temperature: Scalar,
    contrast: Contrast,
    block_size: int,
    axis_name: str | None = None,
) -> Float[Array, " N"]:
    """ℓ of this module's docstring."""
    if _keeps(unit, block_size, axis_name):
        return _panels(unit, temperature, contrast)[0]

    def add(sums: Array, tile: _Tile) -> Array:
        scores = jnp.exp(tile.exponents)
        sums = sums.at[tile.row].add(jnp.sum(scores, axis=1))
        return sums.at[tile.column].add(tile.mirrored(jnp.sum(scores, axis=0)))

    hyper = (unit, temperature, contrast, block_size, axis_name)
    totals = jnp.log(_across(jax.lax.psum, _swept(add, 0.0, *hyper), axis_name))
    careful = partial(_swept_logs, *hyper)
    return _distinct(jax.lax.cond(_is_plain(totals), lambda: totals, careful), unit)


def _swept_logs(
    unit: Array, temperature: Array, contrast: Contrast, block_size: int, axis_name: str | None
) -> Float[Array, " N"]:
    """ℓ where exponentials underflow: a log-sum-exp for each row."""

    def add(logs: Array, tile: _Tile) -> Array:
        of_rows, of_columns = (jax.nn.logsumexp(tile.exponents, axis=axis) for axis in (1, 0))
        logs = logs.at[tile.row].set(jnp.logaddexp(logs[tile.row], of_rows))
        of_columns = tile.mirrored(of_columns, -jnp.inf)
        return logs.at[tile.column].set(jnp.logaddexp(logs[tile.column], of_columns))

    logs = _swept(add, -jnp.inf, unit, temperature, contrast, block_size, axis_name)
    most = _across(jax.lax.pmax, logs, axis_name)
    return jnp.log(_across(jax.lax.psum, jnp.exp(logs - most), axis_name)) + most


def _swept(
    step: Callable[[Array, _Tile], Array],
    start: float,
    unit: Float[Array, "N d"],
    temperature: Scalar,
    contrast: Contrast,
    block_size: int,
    axis_name: str | None,
) -> Float[Array, " N"]:
    """:func:`_sweep` for one number a row."""
    carry = jnp.full_like(_blocks(unit[:, 0], block_size), start)
    carry = _sweep(step, carry, unit, temperature, contrast, block_size, axis_name)
    return carry.ravel()[: len(unit)]


def _across(reduce: Callable[..., Array], of_device: Array, axis_name: str | None) -> Array:
    return of_device if axis_name is None else reduce(of_device, axis_name)


def _keeps(unit: Array, block_size: int, axis_name: str | None) -> bool:
    """Whether exponentials are kept: of the rows of one device, where they are few."""
    return axis_name is None and len(unit) <= block_size


def _panel_rows(num_rows: int) -> list[slice]:
    """The rows of every panel."""
    size = max(-(-num_rows // PANELS), PANEL_ROWS)
    return [slice(first, min(first + size, num_rows)) for first in range(0, num_rows, size)]


def _panels(
    unit: Float[Array, "N d"], temperature: Scalar, contrast: Contrast
) -> tuple[Float[Array, " N"], list[Array]]:
    """ℓ, and the exponentials of the rows of every panel with those and all that follow."""
    numbers, panels, sums = jnp.arange(len(unit)), [], jnp.zeros_like(unit[:, 0])
    every = jnp.ones_like(sums)
    for rows in _panel_rows(len(unit)):
        kept = contrast.holds(numbers[rows], numbers[rows.start :])
        exponents = (product(unit[rows], unit[rows.start :].T) - 1) / temperature
        scores = jnp.exp(jnp.where(kept, exponents, -jnp.inf))
        sums = sums.at[rows].add(product(scores, every[rows.start :]))
        later = product(every[rows], scores[:, rows.stop - rows.start :])
        sums = sums.at[rows.stop :].add(later)
        panels.append(scores)
    totals, block_size = jnp.log(sums), tile_rows(len(unit))
    careful = partial(_swept_logs, unit, temperature, contrast, block_size, None)
    return jax.lax.cond(_is_plain(totals), lambda: totals, careful), panels


def _pulled_back(
    unit: Float[Array, "N d"], pulls: Float[Array, " N"], panels: list[Array]
) -> Float[Array, "N d"]:
    """:func:`_pulled` of the rows themselves, from the exponentials that were kept."""
    # Of columns transposed: Pᵀ U takes XLA twice as long as Uᵀ P on a CPU.
    of_rows, of_columns = jnp.zeros_like(unit), jnp.zeros_like(unit.T)
    for rows, scores in zip(_panel_rows(len(unit)), panels, strict=True):
        pairs = (pulls[rows][:, None] + pulls[rows.start :][None, :]) * scores
        of_rows = of_rows.at[rows].add(product(pairs, unit[rows.start :]))
        later = product(unit[rows].T, pairs[:, rows.stop - rows.start :])
        of_columns = of_columns.at[:, rows.stop :].add(later)
    return of_rows + of_columns.T


def _log_totals_forward(unit: Array, temperature: Array, contrast: Contrast, *static: Any):
    if _keeps(unit, *static):
        totals, panels = _panels(unit, temperature, contrast)
    else:
        totals, panels = _log_totals(unit, temperature, contrast, *static), None
    return totals, (unit, temperature, contrast, totals, panels)


def _log_totals_backward(
    block_size: int, axis_name: str | None, residuals: tuple, of_totals: Array
):
    unit, temperature, contrast, totals, panels = residuals
    if panels is not None:
        block_size = tile_rows(len(unit))
    cotangent = of_totals if axis_name is None else jax.lax.psum(of_totals, axis_name)

    def swept() -> Array:
        hyper = (temperature, totals, cotangent, contrast, block_size, axis_name)
        return _pulled(unit, unit, *hyper)

    if panels is None:
        of_unit = swept()
    else:
        at_once = partial(_pulled_back, unit, cotangent * jnp.exp(-totals), panels)
        of_unit = jax.lax.cond(_is_plain(totals), at_once, swept)
    of_unit = of_unit / temperature
    # Each ℓ depends on τ through (G - 1)/τ alone, whose derivatives along U are at hand.
    of_temperature = jnp.sum(of_totals) / temperature - jnp.sum(unit * of_unit) / 2
    return of_unit, of_temperature / temperature, None


def _pulled(
    vectors: Float[Array, "N b"],
    unit: Float[Array, "N d"],
    temperature: Scalar,
    totals: Float[Array, " N"],
    anchors: Float[Array, " N"],
    contrast: Contrast,
    block_size: int,
    axis_name: str | None = None,
) -> Float[Array, "N b"]:
    r""":math:`\sum_j (a_i e^{-\ell_i} + a_j e^{-\ell_j}) e^{(G_{ij} - 1)/\tau} v_j` for all i."""
    right, logs = _blocks(vectors, block_size), _blocks(totals, block_size)
    weights, pulls = _blocks(anchors, block_size), _blocks(anchors * jnp.exp(-totals), block_size)

    def plain(tile: _Tile) -> Array:
        return (pulls[tile.row][:, None] + pulls[tile.column][None, :]) * jnp.exp(tile.exponents)

    def careful(tile: _Tile) -> Array:
        of_rows = jnp.exp(tile.exponents - logs[tile.row][:, None])
        of_columns = jnp.exp(tile.exponents - logs[tile.column][None, :])
        return weights[tile.row][:, None] * of_rows + weights[tile.column][None, :] * of_columns

    def swept(pull: Callable[[_Tile], Array]) -> Float[Array, "N b"]:
        def add(carry: Array, tile: _Tile) -> Array:
            pairs = pull(tile)
            carry = carry.at[tile.row].add(product(pairs, right[tile.column]))
            of_columns = product(pairs.T, right[tile.row])
            return carry.at[tile.column].add(tile.mirrored(of_columns))

        start = jnp.zeros_like(right)
        carry = _sweep(add, start, unit, temperature, contrast, block_size, axis_name)
        return carry.reshape(-1, vectors.shape[1])[: len(vectors)]

    return jax.lax.cond(_is_plain(totals), lambda: swept(plain), lambda: swept(careful))


_log_totals.defvjp(_log_totals_forward, _log_totals_backward)


# --------------------------------------------------------------------------------- dual matrices


@pytree_dataclass
class BlockDual:
    r"""The dual matrix S = sym ∇L(G) + Diag(λ) of SupCL at G = U Uᵀ, never formed.

    .. math::
       (\operatorname{sym} \nabla L)_{ij} = \frac1{2\tau} (a_i e^{-\ell_i} + a_j e^{-\ell_j})
       e^{(G_{ij} - 1)/\tau} - \frac{W_{ij}}{\tau}, \qquad
       \lambda_i = -(\operatorname{sym} \nabla L \; G)_{ii}

    Made by :func:`blockwise_dual`.

    Attributes:
        value: L(G).
        unit: (N, d) unit rows U.
        class_id: (N,) class of every row.
        sup: (N,) weight W_ij of a pair of the same class and different instances.
        own: (N,) weight W_ij of a pair of the same instance.
        anchors: (N,) row sums a of W.
        totals: (N,) logarithmic denominators ℓ.
        temperature: τ.
        multipliers: (N,) λ, so that Σλ + ⟨sym ∇L, G⟩ is zero but for rounding.
        norm: the largest row sum of the magnitudes that S is summed from, so that ‖S‖ is less.
        contrast: which pairs stand in the denominators.
        block_size: rows of a tile.
    """

    value: Scalar
    unit: Float[Array, "N d"]
    class_id: Integer[Array, " N"]
    sup: Float[Array, " N"]
    own: Float[Array, " N"]
    anchors: Float[Array, " N"]
    totals: Float[Array, " N"]
    temperature: Scalar
    multipliers: Float[Array, " N"]
    norm: Scalar
    contrast: Contrast
    block_size: int = dataclasses.field(metadata={"static": True})

    @jax.jit
    def product(self, vectors: Float[Array, "N b"]) -> Float[Array, "N b"]:
        """S times vectors, in memory O(N (b + d))."""
        slope = self.of_denominators(vectors) - self.of_positives(vectors)
        return slope + self.multipliers[:, None] * vectors

    def of_denominators(self, vectors: Float[Array, "N b"]) -> Float[Array, "N b"]:
        """The part of sym ∇L of the denominators, times vectors: a sweep over all tiles."""
        hyper = (self.temperature, self.totals, self.anchors, self.contrast, self.block_size)
        return _pulled(vectors, self.unit, *hyper) / (2 * self.temperature)

    def of_positives(self, vectors: Float[Array, "N b"]) -> Float[Array, "N b"]:
        """W/τ times vectors."""

        def total(of_rows: Array, groups: Array) -> Array:
            return jax.ops.segment_sum(of_rows, groups, len(of_rows))[groups]

        # Weights are constant along groups, whose rows all have groups of one size: W = Wᵀ.
        relatives, views = total(vectors, self.class_id), total(vectors, self.contrast.instances)
        own = views if self.contrast.self_pairs == "include" else views - vectors
        positive = self.sup[:, None] * (relatives - views) + self.own[:, None] * own
        return positive / self.temperature


@partial(jax.jit, static_argnames=("structure", "block_size"))
def blockwise_value(
    loss: ClassContrast,
    embeddings: Float[Array, "N d"],
    structure: ClassStructure,
    block_size: int | None = None,
) -> BlockDual:
    """The value at embeddings, in a quarter of the work of :func:`blockwise_dual` and with its
    arguments; multipliers and norm are left at 0."""
    if block_size is None:
        block_size = tile_rows(structure.num_embeddings)
    unit, pairs = normalize(embeddings), loss.prepare(structure)
    of_sup, of_own = (jnp.asarray(share, unit.dtype) for share in loss.mixing)
    temperature = jnp.asarray(loss.temperature, unit.dtype)
    contrast = Contrast(loss.self_pairs, jnp.asarray(pairs.instance_id))
    sup, own = of_sup * pairs.sup, of_own * pairs.own
    class_id, views = jnp.asarray(pairs.class_id), structure.num_views
    relatives = jnp.asarray(structure.sizes)[class_id] * views
    anchors = sup * (relatives - views) + own * (views - (loss.self_pairs != "include"))
    dual = BlockDual(
        value=jnp.zeros(()),
        unit=unit,
        class_id=class_id,
        sup=sup,
        own=own,
        anchors=anchors,
        totals=_log_totals(unit, temperature, contrast, block_size),
        temperature=temperature,
        multipliers=jnp.zeros(len(unit)),
        norm=jnp.zeros(()),
        contrast=contrast,
        block_size=block_size,
    )
    if type(loss) is SupCL:
        ids = (pairs.class_id, pairs.instance_id)
        hyper = (loss.alpha, loss.temperature, loss.self_pairs, loss.mean, block_size)
        value = blockwise_supcl(embeddings, *ids, *hyper)
    else:
        pairs_apart = anchors / temperature - jnp.sum(dual.of_positives(unit) * unit, axis=1)
        value = jnp.sum(anchors * dual.totals) + jnp.sum(pairs_apart)
    return dataclasses.replace(dual, value=value)


@partial(jax.jit, static_argnames=("structure", "block_size"))
def blockwise_dual(
    loss: ClassContrast,
    embeddings: Float[Array, "N d"],
    structure: ClassStructure,
    block_size: int | None = None,
) -> BlockDual:
    """The dual matrix at embeddings as an operator, in memory O(N·d + block_size²).

    Args:
        loss: with its hyper-parameters and conventions; the value of SupCL is that of
            :func:`blockwise_supcl`, any other's is summed from products with W.
        embeddings: (N, d) rows ordered by class, instance and view.
        structure: their class structure.
        block_size: rows of a tile of the Gram matrix; as many as suit the platform by default.
    """
    dual = blockwise_value(loss, embeddings, structure, block_size)
    vectors = jnp.concatenate([dual.unit, jnp.ones((len(dual.unit), 1))], axis=1)
    pulled, positive = dual.of_denominators(vectors), dual.of_positives(vectors)
    along = jnp.sum((pulled - positive)[:, :-1] * dual.unit, axis=1)
    norm = jnp.max(pulled[:, -1] + positive[:, -1] + jnp.abs(along))
    return dataclasses.replace(dual, multipliers=-along, norm=norm)
