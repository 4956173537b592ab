"""Identity is code: what changes a digest, what does not, and what has none."""

import dataclasses
import enum
import functools
import importlib
import math
import os
import subprocess
import sys
import threading
from fractions import Fraction
from types import MappingProxyType, SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ssem_jax as sx
from ssem_jax.compute import Kernel, identity
from ssem_jax.compute.identity import NoIdentityError, digest
from ssem_jax.problem import pytree_dataclass
from ssem_jax.solver import attempts
from ssem_jax.sweeps.folder import identity_of as batch_identity

SOURCE = '''
import enum, functools
import jax.numpy as jnp
import numpy as np
import ssem_jax as sx
import {helpers} as helpers
from {helpers} import shift

SCALE = 1.5
TABLE = np.arange(3.0)
class Kind(enum.Enum):
    ROUND = 1
    SQUARE = 2
class Config:
    power = 2
    def bend(self, x):
        return x ** self.power
KIND, CONFIG = Kind.ROUND, Config()

def helper(x):
    """A helper."""
    return SCALE * x + deeper(x)

def deeper(x):
    return x if True else helper(x)

def decorated(function):
    @functools.wraps(function)
    def inner(*arguments):
        return function(*arguments) * 3.0
    return inner

@decorated
def wrapped(x):
    return x + 1.0

def make(sign, weight):
    @sx.gram_loss(convex=True, symmetric=True)
    def mine(gram, structure, *, sharpness=1.0, push=False, bend=jnp.exp):
        def term(x):
            return helper(x) * sign
        total = term(gram) + helpers.weight(gram) + shift(gram) + wrapped(gram)
        if KIND is Kind.ROUND:
            total = total + TABLE[0] * CONFIG.bend(gram)
        return jnp.mean(total) * weight + jnp.mean([v for v in (gram, 2.0)][0])
    return mine

mine = make(1.0, 0.5)
'''
HELPERS = """
FACTOR = 4.0
def weight(x):
    return FACTOR * x
def shift(x):
    return x + 7.0
def unrelated(x):
    return x + 11.0
"""
EDITS = {
    "body": ("helper(x) * sign", "helper(x) - sign"),
    "constant of the body": ("(gram, 2.0)", "(gram, 3.0)"),
    "helper": ("SCALE * x + deeper(x)", "SCALE * x - deeper(x)"),
    "helper of a helper": ("x if True else helper(x)", "-x if True else helper(x)"),
    "global": ("SCALE = 1.5", "SCALE = 2.5"),
    "global array": ("np.arange(3.0)", "np.arange(4.0)"),
    "global member": ("KIND, CONFIG = Kind.ROUND", "KIND, CONFIG = Kind.SQUARE"),
    "attribute of a class": ("power = 2", "power = 4"),
    "method of a class": ("x ** self.power", "x * self.power"),
    "closure": ("make(1.0, 0.5)", "make(-1.0, 0.5)"),
    "another closure": ("make(1.0, 0.5)", "make(1.0, 0.25)"),
    "default of a number": ("sharpness=1.0", "sharpness=2.0"),
    "default of a choice": ("push=False", "push=True"),
    "default function": ("bend=jnp.exp", "bend=jnp.cosh"),
    "declaration": ("symmetric=True", "symmetric=False"),
    "decorator": ("* 3.0", "* 5.0"),
    "function in a decorator": ("return x + 1.0", "return x + 2.0"),
    "helper in a module": ("return FACTOR * x", "return FACTOR - x"),
    "global of a module": ("FACTOR = 4.0", "FACTOR = 5.0"),
    "imported helper": ("x + 7.0", "x + 8.0"),
}
NO_EDITS = {
    "nothing": ("", ""),
    "place in the file": ("SCALE = 1.5", "\n\n# a comment\nUNUSED = 3\n\nSCALE = 1.5"),
    "what the loss does not reach": ("x + 11.0", "x + 12.0"),
}


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Modules of the source and of its helpers, edited; each under names of its own."""
    count = iter(range(1000))

    def load(old="", new=""):
        folder, number = tmp_path_factory.mktemp("own"), next(count)
        names = {"helpers": f"own_helpers_{number}", "main": f"own_main_{number}"}
        assert old in SOURCE + HELPERS
        texts = {"helpers": HELPERS, "main": SOURCE.replace("{helpers}", names["helpers"])}
        for kind, text in texts.items():
            (folder / f"{names[kind]}.py").write_text(text.replace(old, new) if old else text)
        sys.path.insert(0, str(folder))
        try:
            return importlib.import_module(names["main"])
        finally:
            sys.path.remove(str(folder))

    return load


def cells(loss):
    """The identity of a batch of cells of a loss."""
    return batch_identity(sx.Problem(sx.ClassStructure((2, 2)), 3, loss), 0, 2)


@pytest.fixture(scope="module")
def original(load):
    return cells(load().mine(sharpness=1.0))


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_an_edit_of_anything_that_a_loss_reaches_is_another_identity(edit, load, original):
    assert cells(load(*edit).mine(sharpness=1.0)) != original


@pytest.mark.parametrize("edit", NO_EDITS.values(), ids=NO_EDITS.keys())
def test_what_a_loss_does_not_reach_is_no_matter(edit, load, original):
    assert cells(load(*edit).mine(sharpness=1.0)) == original


def test_values_and_choices_count(load, original):
    mine = load().mine
    losses = [
        mine(sharpness=1.0 + 1e-16 * 4),
        mine(sharpness=1.0, push=True),
        mine(sharpness=1.0, push=0),
        mine(sharpness=1.0, bend=jnp.cosh),
        mine(sharpness=1.0, bend=lambda x: x),
        mine(sharpness=1.0, bend=lambda x: -x),
        mine(sharpness=1.0, bend=functools.partial(jnp.power, 2)),
        mine(sharpness=1.0, bend=functools.partial(jnp.power, 3)),
    ]
    assert len({original, *map(cells, losses)}) == len(losses) + 1
    assert cells(mine(sharpness=np.float64(1))) == original
    problem = sx.Problem(sx.ClassStructure((2, 2)), 3, mine(sharpness=1.0))
    assert len({batch_identity(problem, *how) for how in ((0, 2), (1, 2), (0, 3))}) == 3
    assert batch_identity(problem, 0, 2, "certificate") == batch_identity(
        problem, 1, 3, "certificate"
    )


def test_losses_of_one_factory_are_told_apart(load):
    module = load()
    first, second = module.make(1.0, 0.5), module.make(-1.0, 0.5)
    assert first.__qualname__ == second.__qualname__
    assert cells(first()) != cells(second())
    assert cells(first()) == cells(module.make(1.0, 0.5)())


def test_every_process_gives_the_same_digest(load, original, tmp_path):
    (tmp_path / "own_helpers_there.py").write_text(HELPERS)
    (tmp_path / "there.py").write_text(
        SOURCE.replace("{helpers}", "own_helpers_there")
        + "from ssem_jax.sweeps.folder import identity_of\n"
        + "problem = sx.Problem(sx.ClassStructure((2, 2)), 3, mine(sharpness=1.0))\n"
        + "print(identity_of(problem, 0, 2))\n"
    )
    found = subprocess.run(
        [sys.executable, "there.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == original


def test_a_change_of_a_global_in_a_process_is_another_identity(load, original):
    module = load()
    module.SCALE = 2.5
    assert cells(module.mine(sharpness=1.0)) != original
    module.SCALE = 1.5
    assert cells(module.mine(sharpness=1.0)) == original


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


@dataclasses.dataclass
class Record:
    value: object

    @functools.cached_property
    def twice(self):
        return (self.value, self.value)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


def adder(amount):
    def add(x):
        return x + amount

    return add


SEVERAL = [
    *(None, True, 1, 1.0, "1", b"1", 1 + 0j, ..., math.inf, -0.0, 0.0, "", ()),
    *([1], (1,), {1}, frozenset({1}), {"a": 1}, MappingProxyType({"a": 1}), [[1], 2], [1, [2]]),
    *(np.arange(2), np.arange(2.0), np.zeros((1, 2)), np.zeros((2, 1)), np.float32(1), np.int8(1)),
    *(jnp.arange(3.0), jax.random.key(0), jax.random.key(1), np.array([1, "a"], object)),
    *(Slotted(1), Slotted(2), Record(1), Record(2), Fraction(1, 3), SimpleNamespace(a=1)),
    *(Level.LOW, Level.HIGH, sx.Phase.COLLAPSE, Level, sx.Phase, Record, Slotted),
    *(adder(1), adder(2), adder(1.0), jax.jit(adder(1)), jax.vmap(adder(1)), jax.vmap(adder(2))),
    *(jax.jit(adder(2)), functools.lru_cache(adder(1)), functools.partial(adder, 1)),
    *(math.exp, math.log, np.exp, np.log, jnp.exp, jnp.log, jnp.add, jax.nn.relu, len, jnp.float32),
    *("abc".join, "abd".join, Slotted(1).__init__, jnp, np, math, functools),
    *(
        sx.SupCL,
        sx.losses.SupCon,
        sx.SupCL(0.1, 0.2),
        sx.SupCL(0.1, 0.3),
        sx.losses.info_nce,
        sx.ClassStructure,
    ),
    *(
        sx.losses.PairWeights(np.eye(2)),
        sx.losses.PairWeights(np.eye(3)),
        sx.ClassStructure((2, 2)),
    ),
]


def test_values_of_all_kinds_are_told_apart_and_found_again():
    digests = [digest(value) for value in SEVERAL]
    assert len(set(digests)) == len(SEVERAL)
    assert digests == [digest(value) for value in SEVERAL]
    assert digest(1, 2) != digest(12)
    assert digest("ab", "c") != digest("a", "bc")


def test_caches_addresses_and_the_order_of_sets_do_not_count():
    record = Record(1)
    before = digest(record)
    assert record.twice is not None
    assert digest(record) == before
    assert digest(adder(1)) == digest(adder(1))
    words = [f"word{k}" for k in range(50)]
    assert digest(set(words)) == digest(set(reversed(words)))
    structure = sx.ClassStructure((2, 2))
    before = digest(structure)
    assert len(structure.class_ids) == 4
    assert digest(structure) == before


def test_cycles_end():
    def even(n):
        return n == 0 or odd(n - 1)

    def odd(n):
        return n != 0 and even(n - 1)

    again = SimpleNamespace()
    again.self = again
    assert digest(even) != digest(odd)
    assert digest(again) == digest(again)
    endless = []
    endless.append(endless)
    with pytest.raises(NoIdentityError, match="a container that holds itself has no identity"):
        digest(endless)
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(NoIdentityError, match="nested too deeply"):
        digest(deep)


def reads_a_file(x):
    return x + float(open("weights.txt").read())


def loads(x):
    return x + np.load("weights.npy")


def looks_at_the_clock(x):
    import time

    return x + time.time()


def imports_nothing(x):
    import nothing_of_that_name  # pyright: ignore[reportMissingImports] (none has it)

    return x + nothing_of_that_name.VALUE


LOCK = threading.Lock()


def locked(x):
    with LOCK:
        return x


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (LOCK, r"^a _thread.lock has neither content nor code"),
        (locked, r"^LOCK: a _thread.lock has neither"),
        (lambda x: locked(x), r"^locked → LOCK: a _thread.lock"),
        ((x for x in ()), "a builtins.generator has neither"),
        (reads_a_file, r"it uses builtins\.open, and what that gives no digest of code can see"),
        (loads, r"it uses numpy\.load, and"),
        (looks_at_the_clock, r"it uses time, and"),
        (np.random.default_rng(0), r"it uses numpy\.random"),
        (imports_nothing, "it imports nothing_of_that_name, which is not found"),
    ],
)
def test_what_has_no_identity_is_named(value, message):
    with pytest.raises(NoIdentityError, match=message):
        digest(value)


def test_a_traced_value_has_no_identity():
    with pytest.raises(NoIdentityError, match="a traced array has no numbers yet"):
        jax.jit(digest)(1.0)


def test_packages_count_by_their_version_and_this_one_by_its_sources(monkeypatch):
    import optax

    before = digest(optax.adam), digest(sx.SupCL), digest(jnp.exp)
    named = [digest(value, versions=False) for value in (optax.adam, sx.SupCL)]
    monkeypatch.setattr(identity, "_version", lambda package: f"{package} 0.0.7")
    monkeypatch.setattr(identity, "own_code", lambda: "0.0.7+edited")
    assert digest(optax.adam) != before[0]
    assert digest(sx.SupCL) != before[1]
    assert [digest(value, versions=False) for value in (optax.adam, sx.SupCL)] == named


def test_what_a_kernel_compiles_is_known_by_the_kernels_name():
    """Whatever stands around it, as the checks of these tests do, which remember what they saw."""
    kernel = attempts._attempt_chunk
    assert identity._known_as(kernel.traced) == ("ssem_jax", f"{attempts.__name__}._attempt_chunk")
    assert identity._known_as(Kernel(lambda x: x).traced) is None


def test_the_sources_of_this_package_have_a_digest():
    version, _, sources = identity.own_code().partition("+")
    assert version.startswith("ssem-jax ")
    assert len(sources) == 16


def test_a_source_counts_by_its_name_and_its_text(tmp_path, monkeypatch):
    def digest_of(**sources):
        for old in tmp_path.iterdir():
            old.unlink()
        for name, text in sources.items():
            (tmp_path / f"{name}.py").write_text(text)
        return identity.own_code.__wrapped__()

    monkeypatch.setattr(identity, "_OWN", tmp_path)
    first = digest_of(a="1", b="2")
    assert first == digest_of(a="1", b="2")
    assert len({first, digest_of(a="1", c="2"), digest_of(a="1", b="3"), digest_of(a="1")}) == 4


def test_classes_count_by_what_they_do():
    def loss(power, base=sx.GramLoss):
        @pytree_dataclass
        class Own(base):
            convex = True
            scale: Any
            kind: Any = dataclasses.field(default="a", metadata={"static": True})

            def from_gram(self, gram, structure):
                return self.scale * jnp.sum(gram**power)

        return Own

    assert digest(loss(2)) == digest(loss(2))
    assert digest(loss(2)) != digest(loss(4))
    assert digest(loss(2)) != digest(loss(2, base=loss(4)))
