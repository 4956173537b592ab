"""The check of shapes and types finds what is wrong, also after calls that were right."""

import importlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shapes
from beartype.roar import BeartypeDoorHintViolation

SOURCE = """
from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jaxtyping import Array, Float

if TYPE_CHECKING:
    from nowhere import Unknown


def product(left: Float[Array, "n d"], right: Float[Array, "d k"]) -> Float[Array, "n k"]:
    return left @ right if left.shape[0] != 5 else left


def scaled(*numbers: float, by: int = 1, unknown: Unknown = None) -> list[float]:
    def inner(number: str) -> str:
        return by * number

    return [inner(number) for number in numbers]


def refused(size: int) -> int:
    raise ValueError("size must be whole")


@dataclass(frozen=True)
class Held:
    sizes: tuple[int, ...]
    name: str = field(default="none", kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.sizes, str):
            object.__setattr__(self, "sizes", tuple(map(int, self.sizes.split())))

    @property
    def first(self) -> str:
        return self.sizes[0]

    @classmethod
    def named(cls, name: str) -> Held:
        return cls((1,), name=name)
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checked")
    (folder / "checked_here.py").write_text(SOURCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setattr(sys, "meta_path", list(sys.meta_path))
        shapes.check_package("checked_here")
        yield importlib.import_module("checked_here")


def wrong(call, *arguments, **named):
    with pytest.raises(BeartypeDoorHintViolation):
        call(*arguments, **named)


def test_shapes_belong_together(package):
    two, three = jnp.ones((2, 3)), np.ones((3, 4))
    for _ in range(2):  # the second call is of a form that is known
        package.product(two, three)
        wrong(package.product, jnp.ones((5, 3)), three)  # a result of a wrong shape
        wrong(package.product, two, jnp.ones(3))
        wrong(package.product, two, jnp.ones((3, 4), int))
    assert jax.jit(package.product)(two, three).shape == (2, 4)
    wrong(jax.jit(package.product), jnp.ones((5, 3)), three)


def test_every_argument_counts(package):
    for _ in range(2):
        assert package.scaled(1.0, 2, by=2, unknown="x") == [2.0, 4]
        wrong(package.scaled, 1.0, "a")
        wrong(package.scaled, 1.0, by=2.0)
        wrong(package.scaled, "a", "b")


def test_a_function_refuses_in_its_own_words(package):
    with pytest.raises(ValueError, match="must be whole"):
        package.refused("two")


def test_a_dataclass_is_what_it_holds(package):
    for _ in range(2):
        assert package.Held("1 2").sizes == (1, 2)
        assert package.Held.named("x").name == "x"
        wrong(package.Held, (1.0, 2.0))
        wrong(package.Held, (1, 2), name=3)
        wrong(package.Held.named, 3)
        wrong(lambda: package.Held((1,)).first)


@pytest.mark.parametrize(
    "value", [[1, "a"], (1, 2.0), {"a": 1, "b": 2.0}, {1, 2}, [[1], ["a"]], range(3)], ids=str
)
def test_what_is_not_alike_throughout_is_looked_at_anew(value):
    assert shapes.forms_of([value]) != shapes.forms_of([value])


@pytest.mark.parametrize(
    "value", [[1, 2], (1.0, 2.0), {"a": 1, "b": 2}, 1, None, np.ones(3), jnp.ones((2, 2))], ids=str
)
def test_what_is_alike_has_one_form(value):
    assert shapes.forms_of([value]) == shapes.forms_of([value])
