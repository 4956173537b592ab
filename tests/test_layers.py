"""One rule over rooms: imports point downwards, in no circle, and witnesses stay independent."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ssem_jax"

FLOORS = [
    {"later.py"},
    {"problem"},
    {"geometry", "compute"},
    {"losses"},
    {"theory", "solver", "certificate", "balls"},
    {"sweeps"},
    {"advice", "claims"},
    {"training"},
    {"show"},
    {"cli"},
]
"""The rooms from the bottom up. A room imports from floors below, and from no room beside it. Under
all is a file: how packages wait for their names."""

WITNESSES = {"theory", "solver", "certificate", "balls"}
"""An error in one of these cannot hide in another as long as none imports another."""

FACE = ""
"""The package itself: it imports the rooms, and no room imports it."""


def room_of(path):
    """The room that a file of the package stands in."""
    first = path.relative_to(PACKAGE).parts[0]
    return FACE if first == "__init__.py" else first


def floor_of(room):
    for height, floor in enumerate(FLOORS):
        if room in floor:
            return height
    raise AssertionError(
        f"ssem_jax/{room} stands on no floor; add it to FLOORS in tests/test_layers.py"
    )


def file_of(name):
    """The file of a dotted name below the package: of a room, a file in it or something in one."""
    while name:
        path = PACKAGE.joinpath(*name.split("."))
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.exists():
                return candidate
        name = name.rpartition(".")[0]
    return PACKAGE / "__init__.py"


def names_imported(source, package="ssem_jax"):
    """The dotted names that a source imports at run time, wherever in it.

    Imports for annotations alone, under `if TYPE_CHECKING`, are no arrows.
    """
    found, waiting = set(), [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([package] * (node.level > 0) + [node.module or ""] * bool(node.module))
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def files_imported(source, package="ssem_jax"):
    """The files of the package that a source imports at run time."""
    own = {name for name in names_imported(source) if name.split(".")[0] == package}
    return {file_of(name.removeprefix(package).removeprefix(".")) for name in own}


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
SOURCES = {path: path.read_text(encoding="utf-8") for path in FILES}
ARROWS = {path: files_imported(source) for path, source in SOURCES.items()}


def wrong_arrows(room, targets):
    """The rooms, of some files that a room imports, that do not lie below it."""
    rooms = {room_of(path) for path in targets} - {room}
    return sorted(to for to in rooms if to == FACE or floor_of(to) >= floor_of(room))


def reachable(path, arrows):
    """All files that importing one of them imports."""
    found, waiting = set(), [path]
    while waiting:
        for target in arrows.get(waiting.pop(), set()) - found:
            found.add(target)
            waiting.append(target)
    return found


def rivals_reached(arrows):
    """(file, other witness) for every file of a witness that leads to another, by any detour."""
    return [
        (path, room_of(target))
        for path in arrows
        if room_of(path) in WITNESSES
        for target in reachable(path, arrows)
        if room_of(target) in WITNESSES - {room_of(path)}
    ]


def circle(arrows):
    """The nodes of a graph {node: nodes it points to} that lie on circles, or lead to one."""
    left = dict(arrows)
    while free := [node for node, targets in left.items() if not targets & left.keys()]:
        for node in free:
            del left[node]
    return set(left)


def test_the_house_is_seen_at_one_look():
    shown = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    names = {path.name for path in shown} - {"__init__.py", "py.typed"}
    assert names == set().union(*FLOORS)
    assert len(names) <= 15


def test_files_have_one_job():
    lengths = {path: source.count("\n") for path, source in SOURCES.items()}
    assert max(lengths.values()) <= 600
    assert sum(length > 500 for length in lengths.values()) <= 3


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    assert wrong_arrows(room_of(path), ARROWS[path]) == []


def test_no_circle_among_files():
    assert circle(ARROWS) == set()


def test_no_witness_reaches_another():
    assert rivals_reached(ARROWS) == []


def test_only_show_imports_matplotlib():
    users = {
        room_of(path)
        for path, source in SOURCES.items()
        if any(name.split(".")[0] == "matplotlib" for name in names_imported(source))
    }
    assert users == {"show"}


def test_there_is_something_to_check():
    assert len(FILES) > 60
    attempts = PACKAGE / "solver" / "attempts.py"
    assert PACKAGE / "solver" / "newton.py" in ARROWS[attempts]
    assert {"losses", "problem", "compute", "geometry"} <= set(map(room_of, ARROWS[attempts]))


@pytest.mark.parametrize(
    ("room", "source", "wrong"),
    [
        ("problem", "from ssem_jax.losses import SupCL", ["losses"]),
        ("losses", "import ssem_jax.solver.attempts", ["solver"]),
        ("losses", "def late():\n    from ssem_jax.solver import solve", ["solver"]),
        ("losses", "from ssem_jax import theory", ["theory"]),
        ("losses", "from . import theory", ["theory"]),
        ("losses", "from .theory import delta2", ["theory"]),
        ("geometry", "from ssem_jax import SupCL", [FACE]),
        ("theory", "from ssem_jax.solver import solve", ["solver"]),
        ("certificate", "from ssem_jax.theory import loss", ["theory"]),
        ("balls", "from ssem_jax.certificate.rounding import gamma", ["certificate"]),
        ("advice", "from ssem_jax.claims import verify", ["claims"]),
        ("certificate", "from ssem_jax.problem.solution import Solution", []),
        ("claims", "from ssem_jax import theory, solver\nimport ssem_jax.sweeps", []),
        (
            "problem",
            "import typing\nif typing.TYPE_CHECKING:\n    from ssem_jax.losses import A",
            [],
        ),
    ],
)
def test_the_check_sees_wrong_arrows(room, source, wrong):
    assert wrong_arrows(room, files_imported(source)) == wrong


def test_the_check_sees_a_planted_circle():
    assert circle({"maps": {"style", "words"}, "style": {"words"}, "words": set()}) == set()
    structure, problem = (PACKAGE / "problem" / f"{name}.py" for name in ("structure", "problem"))
    planted = files_imported(SOURCES[structure] + "\nfrom ssem_jax.problem.problem import Phase\n")
    assert {structure, problem} <= circle(ARROWS | {structure: planted})


def test_the_check_sees_a_witness_that_reaches_another_by_a_detour():
    contrast = PACKAGE / "losses" / "contrast.py"
    planted = files_imported(SOURCES[contrast] + "\nfrom ssem_jax.theory import delta2\n")
    found = rivals_reached(ARROWS | {contrast: planted})
    assert {room for _, room in found} == {"theory"}
    assert {room_of(path) for path, _ in found} >= {"solver", "certificate"}


def test_files_are_found_by_their_names():
    room = PACKAGE / "show"
    source = "from ssem_jax.show import style\nfrom ssem_jax.show.maps import gap_map"
    assert files_imported(source) == {room / "style.py", room / "maps.py"}
    assert files_imported("import ssem_jax.show") == {room / "__init__.py"}
    assert files_imported("import json\nfrom ssem_jax import SupCL") == {PACKAGE / "__init__.py"}


def test_a_new_room_must_be_put_on_a_floor():
    with pytest.raises(AssertionError, match=r"newcomer stands on no floor; add it to FLOORS"):
        wrong_arrows("newcomer", {PACKAGE / "problem" / "problem.py"})
