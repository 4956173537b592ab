"""Imports point down the layers of the README, and the three witnesses stay independent."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ssem_jax"

LAYERS = [
    {"problem", "geometry", "compute"},
    {"losses"},
    {"theory", "solver", "certificate"},
    {"balls", "sweeps"},
    {"advice", "training"},
    {"claims"},
    {"show"},
    {"cli"},
]
"""From the bottom up. A module may import from its own layer and from those below.

A room, a folder, counts as one module here; its files are looked at one by one for circles.
"""

ENTRY_POINTS = {"__init__", "__main__"}
"""They re-export or start what the layers hold, and nothing imports them."""

WITNESSES = [{"theory"}, {"solver"}, {"certificate"}, {"balls"}]
"""An error in one of these cannot hide in another as long as none imports another."""


def source_of(name):
    """A module, or all modules of a package inside, which counts as one."""
    folder = PACKAGE / name
    paths = sorted(folder.glob("*.py")) if folder.is_dir() else [PACKAGE / f"{name}.py"]
    return "\n".join(path.read_text() for path in paths)


PRESENT = sorted(
    {path.stem for path in PACKAGE.glob("*.py")}
    | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
)
SOURCES = {name: source_of(name) for name in PRESENT}


def imported(source, package="ssem_jax"):
    """(modules of the package, other top-level packages) that a source imports at run time.

    Imports for annotations alone, under `if TYPE_CHECKING`, are no arrows.
    """
    own, others = set(), set()

    def note(name):
        top, *rest = name.split(".")
        if top != package:
            others.add(top)
        else:
            own.add(rest[0] if rest else "__init__")

    def visit(node):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                note(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([package] * (node.level > 0) + [node.module] * bool(node.module))
            if base == package:
                for alias in node.names:
                    # `from ssem_jax import solve` may mean the module or the function.
                    note(f"{package}.{alias.name}" if alias.name in known_modules() else package)
            else:
                note(base)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source))
    return own, others


def known_modules():
    return set().union(*LAYERS)


def layer_of(module):
    for depth, layer in enumerate(LAYERS):
        if module in layer:
            return depth
    raise AssertionError(
        f"ssem_jax/{module}.py stands in no layer; add it to LAYERS in tests/test_layers.py"
    )


def wrong_arrows(module, source):
    """The imports of a module that point upwards, or between witnesses."""
    own, _ = imported(source)
    wrong = sorted(target for target in own if target in ENTRY_POINTS)
    targets = own - ENTRY_POINTS - {module}
    wrong += sorted(target for target in targets if layer_of(target) > layer_of(module))
    for witness in WITNESSES:
        if module in witness:
            rivals = set().union(*WITNESSES) - witness
            wrong += sorted(targets & rivals)
    return wrong


@pytest.mark.parametrize("module", [name for name in PRESENT if name not in ENTRY_POINTS])
def test_imports_point_down(module):
    assert wrong_arrows(module, SOURCES[module]) == []


def test_there_is_something_to_check():
    assert {"problem", "losses", "theory", "solver", "certificate"} <= set(PRESENT)
    own, others = imported(SOURCES["solver"])
    assert {"losses", "problem", "compute", "geometry"} <= own
    assert "jax" in others


def reachable(module):
    """All modules of the package that importing one of them imports."""
    found, waiting = set(), [module]
    while waiting:
        source = waiting.pop()
        for target in imported(SOURCES[source])[0] - found - {source}:
            found.add(target)
            waiting.append(target)
    return found


def test_witnesses_do_not_reach_one_another_by_detours():
    for witness in WITNESSES:
        rivals = set().union(*WITNESSES) - witness
        for module in witness & SOURCES.keys():
            assert not reachable(module) & rivals, module


def test_no_import_cycles():
    for module in PRESENT:
        if module not in ENTRY_POINTS:
            assert module not in reachable(module), module


def file_of(name):
    """The file of a dotted name below the package: of a module, a room or something in one."""
    while name:
        path = PACKAGE.joinpath(*name.split("."))
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.exists():
                return candidate
        name = name.rpartition(".")[0]
    return PACKAGE / "__init__.py"


def files_imported(source, package="ssem_jax"):
    """The files of the package that a source imports at run time."""
    found, waiting = set(), [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {
            file_of(name.removeprefix(package).removeprefix("."))
            for name in names
            if name.split(".")[0] == package
        }
    return found


def circle(arrows):
    """The nodes of a graph {node: nodes it points to} that lie on circles, or lead to one."""
    left = dict(arrows)
    while free := [node for node, targets in left.items() if not targets & left.keys()]:
        for node in free:
            del left[node]
    return set(left)


def test_no_circle_among_files():
    files = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]
    arrows = {path: files_imported(path.read_text()) for path in files}
    assert len(files) > len(PRESENT) - len(ENTRY_POINTS)  # rooms have several
    assert any(path.parent != PACKAGE for targets in arrows.values() for path in targets)
    assert circle(arrows) == set()


def test_the_check_sees_a_circle_inside_a_room():
    arrows = {"maps": {"style", "words"}, "style": {"words"}, "words": set()}
    assert circle(arrows) == set()
    assert circle(arrows | {"words": {"style"}}) == {"maps", "style", "words"}
    source = "from ssem_jax.show import style\nfrom ssem_jax.show.words import TAU"
    room = PACKAGE / "show"
    assert files_imported(source) == {room / "style.py", room / "words.py"}
    assert files_imported("import ssem_jax.show") == {room / "__init__.py"}
    assert files_imported("import json\nfrom ssem_jax import SupCL") == {PACKAGE / "__init__.py"}


def test_only_show_imports_matplotlib():
    users = {name for name in PRESENT if "matplotlib" in imported(SOURCES[name])[1]}
    assert users <= {"show"}


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("problem", "from ssem_jax.losses import SupCL", ["losses"]),
        ("losses", "import ssem_jax.solver.attempts", ["solver"]),
        ("losses", "def late():\n    from ssem_jax.solver import solve", ["solver"]),
        ("losses", "from ssem_jax import theory", ["theory"]),
        ("losses", "from . import theory", ["theory"]),
        ("losses", "from .theory import delta2", ["theory"]),
        ("geometry", "from ssem_jax import SupCL", ["__init__"]),
        ("theory", "from ssem_jax.solver import solve", ["solver"]),
        ("certificate", "from ssem_jax.theory import loss", ["theory"]),
        ("certificate", "from ssem_jax.solver import solve", ["solver"]),
        ("certificate", "from ssem_jax.problem.solution import Solution", []),
        ("claims", "from ssem_jax import theory, solver\nimport ssem_jax.sweeps", []),
        (
            "problem",
            "import typing\nif typing.TYPE_CHECKING:\n    from ssem_jax.losses import A",
            [],
        ),
    ],
)
def test_the_check_sees_wrong_arrows(module, source, wrong):
    assert wrong_arrows(module, source) == wrong


def test_an_unknown_module_must_be_added_to_the_table():
    with pytest.raises(AssertionError, match=r"newcomer\.py stands in no layer; add it to LAYERS"):
        wrong_arrows("newcomer", "import ssem_jax.problem")
