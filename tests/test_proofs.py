"""The shipped theorems, the registry, and that an injected error is caught."""

import ast
import dataclasses
import inspect
import pwd
import re
import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path
from types import FunctionType

import pytest
from flint import arb

import proofs_numeric
import ssem_jax as sx
from proofs_numeric import dimension, enclosures, evidence, scale
from ssem_jax import balls, claims, theory
from ssem_jax.claims import Proof, Theorem, Trial, Verdict, judge, judge_theorem
from ssem_jax.claims import told as told_file
from ssem_jax.compute import cache
from ssem_jax.sweeps import Grid, sweep

THEOREMS = claims.collect_theorems(proofs_numeric.modules())
SLOW = {
    "enclosed_minimum",
    "sigmoid_minimum",
    "spectral_closed_form",
    "supcon_collapses",
    "threshold_in_low_dimension",
}
"""Statements whose kernels take half a minute to compile; `ssem verify` judges them as well."""

ERROR = 1e-6
"""What is added to a formula: a thousandth of what an equality tolerates, but far more than the
brackets of these cells are wide."""


@pytest.fixture(scope="module")
def table():
    grid = Grid((sx.ClassStructure((2, 2)),), ("full",), (0.3, 0.9), (0.3, 0.5, 1.0))
    return sweep(grid.problems())


def claim(name):
    return next(c for c in claims.collect(proofs_numeric.modules()) if c.name == name)


@pytest.mark.parametrize(
    "theorem",
    [
        pytest.param(each, marks=pytest.mark.slow) if each.name in SLOW else each
        for each in THEOREMS
    ],
    ids=lambda theorem: theorem.name,
)
def test_every_theorem_comes_out_as_expected(theorem):
    judgement = judge_theorem(theorem)
    assert judgement.as_expected, judgement
    assert judgement.undecided == 0


def test_names_are_unique_and_statements_have_sources():
    everything = [*claims.collect(proofs_numeric.modules()), *THEOREMS]
    assert len({row.name for row in everything}) == len(everything)
    assert all(row.source and row.statement and row.expected for row in everything)


@pytest.mark.parametrize(
    ("name", "formula"),
    [("minimum_included", "loss"), ("delta2_included", "delta2")],
)
def test_a_formula_off_by_a_millionth_is_refuted(table, monkeypatch, name, formula):
    assert judge(claim(name), table).verdict is Verdict.HOLDS
    right = getattr(theory, formula)
    monkeypatch.setattr(theory, formula, lambda *a, **k: right(*a, **k) + ERROR)
    assert judge(claim(name), table).verdict is Verdict.REFUTED


def test_a_shifted_boundary_is_refuted(table, monkeypatch):
    right = theory.alpha_c
    monkeypatch.setattr(theory, "phase", lambda *a, **k: _phase(right, *a, **k))
    assert judge(claim("boundary_included"), table).verdict is Verdict.REFUTED


def _phase(alpha_c, m, n, p, alpha, tau, self_pairs):
    """Phases of a boundary that lies .3 too low."""
    return (alpha > alpha_c(m, n, p, tau, self_pairs=self_pairs) - 0.3).astype(int)


def test_a_wrong_expectation_is_reported():
    wrong = Theorem(
        "wrong", "1 = 2", lambda: Proof(False, {"x": 1}, boxes=3), expected=Verdict.PROVEN
    )
    judgement = judge_theorem(wrong)
    assert judgement.verdict is Verdict.REFUTED
    assert judgement.counterexample == {"x": 1}
    assert not judgement.as_expected


def test_undecided_boxes_are_not_rounded_up():
    open_ = Theorem("open", "?", lambda: Proof(True, None, 3, ({"x": (0, 1)},), rigorous=True))
    judgement = judge_theorem(open_)
    assert judgement.verdict is Verdict.UNDECIDED
    assert "1 of 3 boxes undecided" in judgement.reason


def test_certified_cells_hold_and_only_proofs_are_proven():
    cells = Theorem("cells", "", lambda: Proof(True, cells=3))
    assert judge_theorem(cells).verdict is Verdict.HOLDS
    proof = Theorem("proof", "", lambda: Proof(True, boxes=3, rigorous=True))
    assert judge_theorem(proof).verdict is Verdict.PROVEN


@pytest.mark.parametrize(
    ("proof", "counts", "gap", "width", "words"),
    [
        (Proof(True, boxes=2272, rigorous=True), (0, 2272, 0, 0), None, None, "2,272 boxes"),
        (
            Proof(True, enclosures=2, widths=(1e-74, 0.0), rigorous=True),
            (0, 0, 2, 0),
            None,
            1e-74,
            "2 enclosures",
        ),
        (Proof(True, signs=22, rigorous=True), (0, 0, 0, 22), None, None, "22 signs"),
        (Proof(True, cells=1, gaps=(1e-12,)), (1, 0, 0, 0), 1e-12, None, "1 cell"),
    ],
)
def test_boxes_and_enclosures_are_no_cells_and_widths_no_gaps(proof, counts, gap, width, words):
    judgement = judge_theorem(Theorem("name", "statement", lambda: proof))
    document = judgement.to_json()
    names = ("cells", "boxes", "enclosures", "signs")
    assert tuple(document[name] for name in names) == counts
    assert (document["worst_gap"], document["widest_enclosure"]) == (gap, width)
    assert judgement.looked_at == words
    told = told_file.describe(Trial(judgement.claim, judgement))
    assert words in told
    assert "decided cells" not in told
    summary = told_file.report([Trial(judgement.claim, judgement)], 0.0, 0)
    assert (summary["cells"], summary["worst_gap"]) == (counts[0], gap)


STATED = {
    "boundary_box_included": {"temperature": ("0.2", "2"), "alpha": ("0", "1")},
    "boundary_box_excluded": {"temperature": ("0.1", "2"), "alpha": ("0", "1")},
    "boundary_box_sizes": {"temperature": ("0.2", "2"), "num_classes": ("2", "4")},
    "unique_optimum": {"temperature": ("0.01", "100"), "num_instances": ("2", "1000000")},
    "monotone_in_alpha": {"temperature": ("0.01", "100"), "alpha": ("0", "1")},
    "unimodal_box": {"temperature": ("0.01", "100"), "alpha": ("0", "0.999")},
    "not_monotone_in_temperature": {"alpha": ("0.7", "0.9"), "num_classes": ("2", "10")},
}
"""What statements say, as rationals: the floats 0.2 and 0.999 would leave something out."""


@pytest.mark.parametrize("name", STATED)
def test_boxes_cover_what_the_statement_says(name):
    theorem = next(theorem for theorem in THEOREMS if theorem.name == name)
    for _, part in theorem.prove().parts:
        for variable, (low, high) in STATED[name].items():
            assert Fraction(part.box[variable][0]) <= Fraction(low)
            assert Fraction(part.box[variable][1]) >= Fraction(high)


def test_bands_are_no_wider_than_the_statement_says(monkeypatch):
    bands = []
    monkeypatch.setattr(
        balls, "prove_boundary", lambda *a, band, **k: bands.append(balls.to_ball(band))
    )
    monkeypatch.setattr(Proof, "of_boxes", lambda *a, **k: None)
    for theorem, stated in (("included", "0.01"), ("excluded", "0.01"), ("sizes", "0.2")):
        bands.clear()
        next(t for t in THEOREMS if t.name == f"boundary_box_{theorem}").prove()
        assert bands
        assert all(band.contains(balls.to_ball(stated)) for band in bands)


class Opaque(float):
    """A float that may be shown and become a ball, but not be compared or reckoned with."""

    def _decide(self, *_):
        raise AssertionError("a float takes part in a proof")

    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _decide
    __add__ = __sub__ = __mul__ = __radd__ = __rsub__ = __rmul__ = __neg__ = __abs__ = _decide
    __hash__ = float.__hash__


@pytest.mark.parametrize("module", [dimension, enclosures, scale], ids=lambda m: m.__name__)
def test_no_float_of_an_enclosure_decides_a_proof(monkeypatch, module):
    def opaque(function):
        def enclose(*arguments, **options):
            found = function(*arguments, **options)
            ends = {name: Opaque(getattr(found, name)) for name in ("lower", "upper", "width")}
            return dataclasses.replace(found, **ends)

        return enclose

    for name in ("enclose_minimum", "enclose_closed_form"):
        monkeypatch.setattr(balls, name, opaque(getattr(balls, name)))
    monkeypatch.setattr(scale, "_SIZES", scale._SIZES[:1])
    monkeypatch.setattr(scale, "_ALPHAS", scale._ALPHAS[::8])
    theorem = next(value for value in vars(module).values() if isinstance(value, Theorem))
    assert theorem.prove().proven


def reached(function):
    """The functions of proofs_numeric that a function calls, itself included."""
    found, waiting = {}, [function]
    while waiting:
        current = waiting.pop()
        if current.__qualname__ not in found:
            found[current.__qualname__] = current
            named = (current.__globals__.get(name) for name in current.__code__.co_names)
            waiting += [
                value
                for value in named
                if isinstance(value, FunctionType) and value.__module__.startswith("proofs_numeric")
            ]
    return [f for name, f in found.items() if "<lambda>" not in name]


GRIDS = {"array", "asarray", "linspace", "geomspace", "meshgrid"}
"""What numpy may do in a proof: lay out where to look."""
ENDS = {"lower", "upper", "width", "shift"}
"""Floats of an enclosure. Methods of balls that are called so return balls; so does arb(float)."""


def float_decisions(source):
    """Calls of numpy's functions, and comparisons with floats, in the source of a function."""
    tree = ast.parse(textwrap.dedent(source))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    balls = {id(call.func) for call in calls}
    balls |= {id(part) for call in calls if ast.unparse(call.func) == "arb" for part in call.args}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and ast.unparse(node.value) in ("np", "math")
            and node.attr not in GRIDS
        ):
            yield ast.unparse(node)
        if isinstance(node, ast.Compare):
            for part in ast.walk(node):
                literal = isinstance(part, ast.Constant) and isinstance(part.value, float)
                end = isinstance(part, ast.Attribute) and part.attr in ENDS
                if literal or (end and id(part) not in balls):
                    yield ast.unparse(node)


@pytest.mark.parametrize(
    "theorem", [t for t in THEOREMS if t.expected is Verdict.PROVEN], ids=lambda t: t.name
)
def test_no_float_decides_anything_that_is_called_proven(theorem):
    for function in reached(theorem.prove):
        assert not list(float_decisions(inspect.getsource(function))), function


@pytest.mark.parametrize(
    "planted",
    ["np.log(n) > best", "found.upper < bound", "gap < 1e-12", "math.exp(1) > ball"],
)
def test_a_float_decision_is_seen(planted):
    assert list(float_decisions(f"def prove():\n    return {planted}"))
    assert not list(float_decisions("def prove():\n    return ball.upper() < arb(2).log()"))


def test_tolerances_of_proofs_are_rationals_compared_with_balls():
    found = balls.enclose_closed_form(3, 4, 1, "0.5", "0.3")
    wide = dataclasses.replace(found, width=1e-8)
    assert Fraction(1e-8) > Fraction(1, 10**8)  # so this width is too large by its last bit
    assert not evidence.is_narrow(wide, Fraction(1, 10**8))
    assert evidence.is_narrow(found, Fraction(1, 10**20))
    truth = arb(3).log()
    assert evidence.agrees(1.0986122886681098, truth, Fraction(1, 10**15)) is True
    assert evidence.agrees(1.0986122886681198, truth, Fraction(1, 10**15)) is False
    assert evidence.agrees(1.0986122886681198, arb(1, 1), Fraction(1, 10**15)) is None


def run(*arguments, folder):
    return subprocess.run(
        [sys.executable, "-m", "proofs_numeric", *arguments],
        capture_output=True,
        text=True,
        env={"SSEM_CACHE": str(folder), "PATH": ""},
        check=False,
        timeout=300,
    )


def test_one_claim_runs_by_itself_and_is_recorded(tmp_path):
    assert "last recorded: not judged yet" in run("--list", folder=tmp_path).stdout
    result = run("small_mixing_collapses", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.search(r"PROVEN on \d+ boxes\n", result.stdout)
    listing = run("--list", folder=tmp_path).stdout
    assert "expected PROVEN; last recorded: PROVEN" in listing
    for row in [*claims.collect(proofs_numeric.modules()), *THEOREMS]:
        assert f"  {row.name}: " in listing
    unknown = run("nothing", folder=tmp_path)
    assert unknown.returncode == 2
    assert "no claim 'nothing'" in unknown.stderr


@pytest.fixture
def nowhere(monkeypatch):
    """A user without a home, as in a container whose uid the system does not know."""

    def nobody(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "XDG_CACHE_HOME", cache.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    cache._warn.cache_clear()


def test_a_user_without_a_home_is_told_once_and_goes_on(nowhere, tmp_path, monkeypatch, capsys):
    assert cache.folder() is None
    assert cache.recall_verdicts() == {}
    cache.record_verdicts({"a": "HOLDS"})
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert "there is no home folder; name a folder in SSEM_CACHE" in told
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "named"))  # then no home is needed
    assert cache.folder() == tmp_path / "named"
    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "ssem_jax"


def test_a_cache_that_cannot_be_written_is_said_once_and_not_of_every_kernel(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))

    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache.tempfile, "TemporaryFile", refuse)
    assert cache.folder() is None
    assert cache.folder() is None
    assert capsys.readouterr().err.count("cannot be written") == 1


def test_recorded_verdicts_are_a_table_of_names(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    (tmp_path / cache.VERDICTS).write_text("[1, 2]")
    assert cache.recall_verdicts() == {}


def test_the_cache_can_be_switched_off_moved_and_broken(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(cache.VARIABLE, "off")
    assert cache.folder() is None
    assert cache.recall_verdicts() == {}
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "here"))
    cache.record_verdicts({"a": "HOLDS"})
    cache.record_verdicts({"b": "REFUTED"})
    assert cache.recall_verdicts() == {"a": "HOLDS", "b": "REFUTED"}
    (tmp_path / "here" / cache.VERDICTS).write_text("{")
    assert cache.recall_verdicts() == {}
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file" / "x"))
    assert cache.folder() is None
    assert "nothing is cached" in capsys.readouterr().err


def test_being_within_the_gap_of_a_minimum_refutes_no_statement_that_it_is_elsewhere(monkeypatch):
    """The condition says "not optimal", and the model is above the minimum by half a gap."""
    model = float(evidence.sigmoid_loss(3, 1.0, 0.0, 1.0, -0.5))
    cell = (3, 1.0, 0.0, model - 5e-10, model - 5e-10, 0.0)
    monkeypatch.setattr(evidence, "sigmoid_cells", lambda: [cell])
    close = evidence.sigmoid_optimal((), 1.0, lambda k: -0.5, lambda k, t, b: (1.0, 2.0))
    assert close.refuted is None
    assert len(close.undecided) == 1
    # Where it is said to be optimal and is beaten by more than a gap, that is refuted.
    monkeypatch.setattr(
        evidence, "sigmoid_cells", lambda: [(3, 1.0, 0.0, *[model - 1e-6] * 2, 0.0)]
    )
    assert (
        evidence.sigmoid_optimal((), 1.0, lambda k: -0.5, lambda k, t, b: (2.0, 1.0)).refuted
        is not None
    )


# ---------------------------------------------------------------------------- like an appendix


LONGEST = 16
"""Lines of a function in a file that states: it may lay out a grid or name a condition."""


@pytest.mark.parametrize("module", proofs_numeric.modules(), ids=lambda m: m.__name__)
def test_files_of_statements_only_state(module):
    """What solves, certifies or encloses stands in `evidence`; closed forms stand in `theory`."""
    tree = ast.parse(inspect.getsource(module))
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not {"solve", "certify", "certify_embeddings"} & {a.name for a in node.names}
            assert not (node.module or "").startswith(("jax", "flint", "ssem_jax.solver"))
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < LONGEST, node.name


def test_the_index_lists_every_statement():
    from proofs_numeric.__main__ import index

    text = (Path(proofs_numeric.__file__).parent / "README.md").read_text(encoding="utf-8")
    block = text.partition("<!-- index: python -m proofs_numeric --index -->\n")[2]
    assert block.partition("\n<!-- end of index -->")[0] == index(), (
        "write what `python -m proofs_numeric --index` prints into proofs_numeric/README.md"
    )
    everything = [*claims.collect(proofs_numeric.modules()), *THEOREMS]
    assert all(f"`{claim.name}` | {claim.expected} |" in block for claim in everything)
