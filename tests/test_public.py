"""The public face: names that stay, and what importing does."""

import importlib
import subprocess
import sys
from importlib import resources
from types import FunctionType

import jax

import ssem_jax as sx

ROOMS = [
    "advice",
    "balls",
    "certificate",
    "claims",
    "cli",
    "compute",
    "geometry",
    "losses",
    "problem",
    "show",
    "solver",
    "sweeps",
    "theory",
    "training",
]


LENT = {("show", "ssem_jax.sweeps.words")}
"""What figures say is said by tables, too, further down."""


def test_the_face_is_small_and_documented():
    assert len(sx.__all__) <= 30
    for name in sx.__all__:
        assert getattr(sx, name).__doc__, name


def test_every_public_name_has_its_home_in_one_room():
    """What a room offers is defined in it, and the face offers nothing of its own."""
    homes = {}
    for room in ROOMS:
        module = importlib.import_module(f"ssem_jax.{room}")
        for name, value in ((name, getattr(module, name)) for name in dir(module)):
            place = getattr(value, "__module__", None)
            if name.startswith("_") or not isinstance(value, (type, FunctionType)) or not place:
                continue
            if place.startswith("ssem_jax.") and (room, place) not in LENT:
                assert place.split(".")[1] == room, (room, name, place)
            homes.setdefault(id(value), set()).add(room)
    assert all(len(rooms) == 1 for rooms in homes.values())
    for name in sx.__all__:
        assert id(getattr(sx, name)) in homes, name


def test_types_are_shipped():
    assert resources.files("ssem_jax").joinpath("py.typed").is_file()


def test_importing_changes_no_global_configuration():
    code = (
        "import jax; before = dict(jax.config.values); import ssem_jax; "
        "assert dict(jax.config.values) == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_readme_example():
    structure = sx.ClassStructure(sizes=(5, 5, 5), num_views=2)
    loss = sx.SupCL(alpha=0.5, temperature=0.1, self_pairs="include", mean="pairs")
    solution = sx.solve(sx.Problem(structure, dim=32, loss=loss), key=jax.random.key(0))
    certificate = sx.certify(solution)
    assert certificate.gap <= 1e-12
    low, high = certificate.brackets["delta2"]
    assert low <= sx.theory.delta2(3, 5, 2, 0.5, 0.1) <= high
    assert 0 < sx.theory.alpha_c(3, 5, 2, 0.1) < 1
