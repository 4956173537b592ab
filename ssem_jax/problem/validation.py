"""All validation of what users give: what it must be, what was got, what to write instead.

Every other room may trust what it gets. Validation looks at concrete values when an object is
built; under ``jax.jit`` and ``jax.vmap`` the leaves are tracers and pass unchecked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import PRNGKeyArray


def in_64_bits() -> bool:
    """Whether JAX computes in 64 bits, in this thread."""
    return jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue] (JAX adds flags)


def require_x64() -> None:
    """Raise unless JAX computes in 64 bits.

    Raises:
        ValueError: 64-bit mode is off; a certificate in float32 would certify nothing.
    """
    if not in_64_bits():
        raise ValueError(
            "verification needs float64 but JAX computes in 32 bits; write "
            '`jax.config.update("jax_enable_x64", True)` before the first JAX computation.'
        )


def precision(bits: int) -> AbstractContextManager[Any]:
    """JAX in 32 or 64 bits for the duration of a `with` block, in this thread alone."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(bits == 64)
    name = "enable_x64" if bits == 64 else "disable_x64"
    return getattr(jax.experimental, name)()  # where they stood before jax 0.8


NO_NUMBERS = "bOSUmMc"
"""Kinds of arrays that are refused where numbers are meant: bools, objects (so None), texts, dates,
complex numbers. NumPy would read 1.0 in True, nan in None and 0.5 in "0.5"."""


def concrete(
    value: Any, name: str = "a hyper-parameter", *, may_be_empty: bool = False
) -> np.ndarray | None:
    """The numbers in `value`, or None where there are none to look at yet (tracers).

    Raises:
        ValueError: not a number at all, or an empty array.
    """
    if isinstance(value, Tracer):
        return None
    try:
        array = np.asarray(value)
        if array.dtype == object and array.ndim == 0 and hasattr(value, "__float__"):
            array = np.asarray(float(value))  # a fraction or a ball is a number, too
        if array.dtype.kind in NO_NUMBERS or not (array.size or may_be_empty):
            raise ValueError
        return np.asarray(array, np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be a number or an array of numbers; got {shown(value)}."
        ) from None


def as_array(value: Any, name: str) -> Any:
    """An array of numbers, of a list of them too; arrays keep their type and stay on their device.

    Raises:
        ValueError: no numbers.
    """
    value = on_host(value)
    given = isinstance(value, (jax.Array, np.ndarray))
    array = value if given else np.asarray(concrete(value, name, may_be_empty=True))
    if not jnp.issubdtype(array.dtype, jnp.floating) and not jnp.issubdtype(
        array.dtype, jnp.integer
    ):
        raise ValueError(f"{name} must be an array of numbers; got {shown(value)}.")
    return array


def on_host(value: Any) -> Any:
    """Columns and tables of pandas or polars, and tensors of torch, as arrays of NumPy, and JAX's
    and NumPy's own as they are. Both are known by what they can do: neither is imported.
    """
    if isinstance(value, jax.Array | np.ndarray):
        # NumPy writes bfloat16 to a file and reads two bytes without a type.
        return value.view(jnp.bfloat16) if value.dtype == np.dtype("V2") else value
    if all(hasattr(value, name) for name in ("detach", "cpu", "numpy")):
        value = value.detach().cpu()
        return np.asarray((value.float() if "bfloat16" in str(value.dtype) else value).numpy())
    return np.asarray(value.to_numpy()) if hasattr(value, "to_numpy") else value


def shown(value: Any) -> str:
    """A value in one line, for a message."""
    text = " ".join(repr(value).split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… of type {type(value).__name__}"


SHOWN = 80
"""Characters of a value that a message quotes."""


def check_mixing(alpha: Any) -> None:
    """Raise a ValueError unless every concrete α lies in [0, 1]."""
    values = concrete(alpha, "alpha")
    if values is not None and not np.all((values >= 0) & (values <= 1)):
        raise ValueError(
            f"alpha must lie in [0, 1]; got {_worst(values, (values >= 0) & (values <= 1))}. "
            "It mixes (1-alpha)·L_sup + alpha·L_self."
        )


def check_temperature(temperature: Any) -> None:
    """Raise a ValueError unless every concrete τ is positive and finite."""
    check_positive("temperature", temperature, " Typical values lie between 0.05 and 5.")


def check_positive(name: str, value: Any, hint: str = "") -> None:
    """Raise a ValueError unless every concrete number is positive and finite."""
    values = concrete(value, name)
    if values is not None and not np.all((values > 0) & np.isfinite(values)):
        good = (values > 0) & np.isfinite(values)
        raise ValueError(f"{name} must be positive and finite; got {_worst(values, good)}.{hint}")


def check_count(name: str, value: Any, least: int) -> int:
    """`value` as an int of at least `least`.

    Raises:
        ValueError: not an integer, or too small.
    """
    if isinstance(value, (np.ndarray, jax.Array)) and not isinstance(value, Tracer):
        value = value.item() if value.shape == () else value  # a number in an array of its own
    number = isinstance(value, (int, float, np.integer, np.floating))
    if isinstance(value, bool) or not number or not float(value).is_integer() or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {shown(value)}.")
    return int(value)


def check_rows(points: np.ndarray, name: Callable[[int], str] = "row {}".format) -> None:
    """Raise a ValueError unless every row is finite and not zero; `name` says what it is called."""
    good = np.all(np.isfinite(points), axis=1) & np.any(points != 0, axis=1)
    if not good.all():
        row = int(np.argmin(good))
        what = "is zero" if np.all(points[row] == 0) else "is not finite"
        raise ValueError(f"every embedding must be finite and not zero; {name(row)} {what}.")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise a ValueError unless `value` is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, choices))}; got {shown(value)}."
        )


def check_type(name: str, value: Any, kind: type | tuple[type, ...], remedy: str) -> None:
    """Raise a ValueError unless `value` is an instance; `remedy` says what to write."""
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be {remedy}; got {shown(value)}.")


def check_progress(progress: Any) -> None:
    """Raise a ValueError unless it can be called with a number, or is None."""
    if progress is not None and not callable(progress):
        raise ValueError(f"progress must be a function of a number; got {shown(progress)}.")


def as_key(key: Any) -> PRNGKeyArray:
    """A JAX random key: of a new or of a raw one (uint32), or of an integer as its seed.

    Raises:
        ValueError: none of these.
    """
    typed = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    if typed and key.shape == ():
        return key
    raw = jax.random.key_data(jax.random.key(0)).shape
    if isinstance(key, (jax.Array, np.ndarray)) and key.dtype == np.uint32 and key.shape == raw:
        return jax.random.wrap_key_data(jnp.asarray(key))
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool) and 0 <= key < 2**63:
        return jax.random.key(int(key))
    raise ValueError(
        f"key must be one JAX random key, as jax.random.key(0), or a seed; got {shown(key)}."
    )


def stable_text(value: Any) -> str:
    """What an object shows of itself, without addresses: the same in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def _worst(values: np.ndarray, good: np.ndarray | np.bool_) -> float:
    return float(values[~np.asarray(good)].flat[0]) if values.ndim else float(values)
