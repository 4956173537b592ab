"""Single faults put into the source, to see whether the fast tests notice.

    python -m tests.mutations --list                  # all mutants, none run
    python -m tests.mutations --jobs 2 --out m.jsonl  # run them; goes on where it was stopped
    python -m tests.mutations --only theory           # those of one topic

Two sorts of mutants. **Drawn**: for every topic of `TESTS` a fixed number of single changes of its
syntax tree (`OPERATORS`: signs, products, comparisons, constants, dropped factors and signs,
swapped arguments, least for largest), drawn with a seed of its own among all that its files admit,
so that text may move and go on being asked about. **Written**: faults of meaning, `WRITTEN`, each
an old text that must occur exactly once and a new one; margins of rounding, above all, which a
drawn fault seldom meets.

Each mutant is a copy of the tree in which one file is changed. The tests of its topic run there, in
one process, stopped at the first failure. A mutant that no test fails **survives**, unless it never
ends, which counts as noticed. With ``--verify``, `ssem verify --quick` judges survivors as well.
Survivors are printed; `ARGUED` says of those that are no fault why not.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
COPIED = ("ssem_jax", "proofs_numeric", "tests", "figures", "pyproject.toml", "README.md")
"""What tests need of the tree."""
TIMEOUT = 900.0
"""Seconds after which a mutant counts as noticed: it does not end, or users would not wait."""

TESTS: dict[str, tuple[int, tuple[str, ...], tuple[str, ...]]] = {
    "theory": (
        20,
        ("theory.py", "theory/*.py"),
        ("theory", "unequal", "other_losses", "other_structures"),
    ),
    "losses": (
        14,
        ("losses/supcl.py", "losses/contrast.py", "losses/weighted.py"),
        ("contrasts", "brackets"),
    ),
    "gram": (6, ("losses/base.py", "losses/decorator.py"), ("base", "contrasts", "certificate")),
    "pairwise": (14, ("losses/pairwise.py",), ("pairwise", "fuzz")),
    "metrics": (10, ("geometry/metrics.py",), ("metrics",)),
    "simplex": (6, ("geometry/simplex.py", "geometry/similarities.py"), ("simplex",)),
    "sphere": (4, ("geometry/sphere.py",), ("sphere",)),
    "solve": (14, ("solver/*.py",), ("solve",)),
    "kernels": (6, ("compute/kernels.py",), ("kernels",)),
    "papers": (4, ("../proofs_numeric/papers/cells.py",), ("papers",)),
    "reduced": (
        16,
        ("geometry/shares.py", "certificate/barrier.py", "certificate/brackets.py"),
        ("shares", "brackets", "rounding", "certificate"),
    ),
    "imbalance": (
        18,
        ("certificate/class_*.py", "theory/unequal.py", "advice/thresholds.py"),
        ("unequal", "classes_of_any_size"),
    ),
    "training": (10, ("training/*.py",), ("training", "losses_of_batches", "last_layer")),
    "blockwise": (8, ("losses/tiles.py", "losses/positives.py"), ("tiles",)),
    "eigenbound": (10, ("certificate/eigenbound.py",), ("eigenbound", "certificate")),
    "rounding": (
        24,
        ("certificate/rounding.py",),
        ("rounding", "certificate", "eigenbound", "symmetry", "fuzz"),
    ),
    "certificate": (
        16,
        ("certificate/certificate.py", "certificate/certificates.py", "certificate/dual.py"),
        ("certificate", "rounding", "fuzz"),
    ),
    "convexity": (
        8,
        (
            "losses/convexity.py",
            "losses/forms.py",
            "losses/symmetry.py",
            "losses/declared.py",
            "losses/probes.py",
        ),
        ("declared", "convexity"),
    ),
    "table": (8, ("sweeps/table.py", "compute/identity.py"), ("table", "identity", "sweep")),
    "sweep": (
        12,
        ("sweeps/grid.py", "sweeps/batches.py", "sweeps/folder.py", "sweeps/runs.py"),
        ("sweep", "sizes"),
    ),
    "interval": (
        12,
        ("claims/interval.py", "claims/directed.py"),
        ("interval", "claims", "search"),
    ),
    "claims": (
        16,
        ("claims/cells.py", "claims/claim.py", "claims/judgements.py", "claims/collection.py"),
        ("claims", "proofs", "search"),
    ),
    "search": (
        10,
        ("claims/refinement.py", "claims/trial.py", "claims/source.py", "claims/snippets.py"),
        ("search", "planted", "files"),
    ),
    "balls": (
        16,
        ("rigorous.py", "balls/*.py"),
        ("rigorous", "balls", "thresholds", "minima", "codes", "proofs"),
    ),
    "features": (
        14,
        ("certificate/features/*.py", "losses/features.py", "theory/features.py"),
        ("free_features", "feature_brackets", "focal", "ufm", "classifiers"),
    ),
    "symmetry": (
        18,
        (
            "certificate/symmetry/*.py",
            "losses/structured.py",
            "losses/kinds.py",
            "losses/drawn.py",
            "advice/data_batches.py",
        ),
        (
            "symmetry",
            "draws",
            "data_batches",
            "symmetry_cells",
            "structured",
            "kinds",
            "symmetry_oracles",
            "many_sizes",
        ),
    ),
}
"""Topic → how many mutants are drawn, its files as seen from the package, and the tests that should
notice (test_NAME.py, or the folder NAME), the likeliest first. What does not exist is left."""

WRITTEN: tuple[tuple[str, str, str], ...] = (
    (
        "theory",
        "pull = alpha * dissimilarities[VIEW] + (1 - alpha) * dissimilarities[WITHIN]",
        "pull = (1 - alpha) * dissimilarities[VIEW] + alpha * dissimilarities[WITHIN]",
    ),
    ("theory", "jnp.log(setting.p) + log_total + pull / tau", "log_total + pull / tau"),
    ("theory", "return jnp.where(setting.excluded, boundary, 0)", "return boundary"),
    ("theory", "spread = alpha > ", "spread = alpha - 1e-6 > "),
    ("theory", "delta2=(setting.n - 1) * instances", "delta2=setting.n * instances"),
    ("theory", "view_variance=(setting.p - 1) * views", "view_variance=setting.p * views"),
    ("losses", "structure.num_views - (not included)", "structure.num_views - included"),
    ("losses", "num_sup = same_class - structure.num_views", "num_sup = same_class - 1"),
    ("losses", "own_views = jnp.where(self_pairs > 0, (p - 1) / p, 1)", "own_views = 0 * p + 1"),
    ("losses", "views = 0 * p if self.decoupled else p - 1", "views = p - 1"),
    ("losses", "jnp.where(same_instance, 0, kept) if self.decoupled else kept", "kept"),
    (
        "losses",
        "np.maximum(num_positives, 1) / math.fsum(counted)",
        "np.maximum(num_positives, 1) / len(counted)",
    ),
    ("losses", "(n - 1) * p / (n * p - 1), (p - 1) / (n * p - 1)", "(n - 1) / n, 1 / n"),
    ("pairwise", "jnp.where(matched, -logits, logits)", "jnp.where(matched, logits, -logits)"),
    ("pairwise", "scale * jnp.mean(gram**2) - 2 * pull", "scale * jnp.mean(gram**2) - pull"),
    ("pairwise", "jnp.where(views, 2 - 2 * gram, 0)", "jnp.where(views, 1 - gram, 0)"),
    ("pairwise", "np.arange(len(ids)) % 2 == 0", "np.arange(len(ids)) < len(ids) / 2"),
    ("pairwise", "p * n * (m - 1) * between**2", "p * n * (m - 1) * between"),
    (
        "metrics",
        "jnp.asarray(structure.class_shares, dtype)",
        "jnp.full(structure.num_classes, 1 / structure.num_classes, dtype)",
    ),
    ("metrics", "slope = n / (n - 1) + 1 / (m - 1)", "slope = n / (n - 1) - 1 / (m - 1)"),
    (
        "metrics",
        "product(share, 1 + (structure.num_views - 1) * view) / structure.num_views",
        "product(share, view)",
    ),
    (
        "simplex",
        "np.repeat(_simplex(m), n, axis=0)",
        "np.tile(_simplex(m), (n, 1))",
    ),
    ("theory", "level - rate.within * found.within", "level - found.within"),
    (
        "theory",
        "mean_squared - (1 - mean_squared) * rate.between",
        "-(1 - mean_squared) * rate.between",
    ),
    # Margins: each is dropped.
    ("rounding", "return gamma(2 * dim + 8)", "return 0.0"),
    ("rounding", "gamma(inside) * anchors", "0 * anchors"),
    ("rounding", "gamma(2 * size + 2 * LOG_ULPS + WEIGHT_ROUNDINGS + 4) * logs", "0 * logs"),
    ("rounding", "gamma(2 * size + WEIGHT_ROUNDINGS + 7) * pulls", "0 * pulls"),
    ("rounding", "return entry * (slopes + anchors", "return 0 * (slopes + anchors"),
    ("rounding", "gamma(3 * size + 2 * LOG_ULPS + WEIGHT_ROUNDINGS + 8) * entropy", "0 * entropy"),
    ("rounding", "gamma(size + WEIGHT_ROUNDINGS + 5) * 2 * anchors / tau", "0 * anchors / tau"),
    ("rounding", "gamma(size + 8) * sizes", "0 * sizes"),
    ("rounding", "gamma(size + 8) * sizes + gamma(2) * diagonal", "gamma(size + 8) * sizes"),
    ("rounding", "return gamma(size * size + 64)", "return 0.0"),
    ("rounding", "2.01 * gamma(size * size + 66) * sensitivity", "0 * sensitivity"),
    ("rounding", "gamma(size + 8) * pairing", "0 * pairing"),
    ("rounding", "gamma(size + 8) * pairing + gamma(2) * diagonal", "gamma(size + 8) * pairing"),
    ("rounding", "omega * (inside + pairs + moved)", "omega * (pairs + moved)"),
    ("rounding", "omega * (inside + pairs + moved)", "omega * (inside + moved)"),
    ("rounding", "omega * (inside + pairs + moved)", "omega * (inside + pairs)"),
    ("rounding", "return exponents + gamma(3 * size", "return gamma(3 * size"),
    ("rounding", "gamma(2 * LOG_ULPS + 10) * magnitude", "0 * magnitude"),
    ("rounding", "gamma(5) * pulls + gamma(10) * loose", "gamma(10) * loose"),
    ("rounding", "gamma(5) * pulls + gamma(10) * loose", "gamma(5) * pulls"),
    ("rounding", "loose + gamma(15) * slopes", "loose"),
    ("rounding", "return gamma(9) * sizes", "return 0 * sizes"),
    ("rounding", ", lambda one: Kernel(in_one_piece(one), full_vectors=True)", ""),
    ("rounding", "relative * (magnitude + 2 * slopes)", "relative * magnitude"),
    ("rounding", "gamma(20) * jnp.maximum(sizes, 1)", "0 * jnp.maximum(sizes, 1)"),
    ("rounding", "return gamma(2 * num_classes + 3", "return 0 * gamma(2 * num_classes + 3"),
    ("rounding", "if not worst <= allowed:", "if worst > 100 * allowed:"),
    ("eigenbound", "-(self.shift + self.remainder) * (1", "-self.remainder * (1"),
    ("eigenbound", "-(size * self.shift + self.remainder)", "-(size * self.shift)"),
    ("eigenbound", "SAFETY * found + gamma(size + 1)", "gamma(size + 1)"),
    ("eigenbound", "gamma(size + 1) * jnp.sum(columns**2)", "0 * jnp.sum(columns**2)"),
    ("certificate", "sizes) + moved, slope, entropy - margin", "sizes), slope, entropy - margin"),
    ("certificate", "slope, entropy - margin", "slope, entropy"),
    (
        "certificate",
        "evaluation + moved, slope, value - margin",
        "evaluation, slope, value - margin",
    ),
    (
        "certificate",
        "evaluation + moved, slope, value - margin",
        "evaluation + moved, slope, value",
    ),
    ("certificate", "level = dual.value + dual.value_rounding", "level = dual.value"),
    # Brackets of balanced classes.
    ("reduced", "steep = total(map(jnp.abs, slopes))", "steep = jnp.abs(total(slopes))"),
    ("reduced", "pulls = (of_sup + of_views) / loss.temperature", "pulls = of_sup"),
    ("reduced", "+ (4 / loss.temperature if loss.decoupled else 0)", "+ 0"),
    ("reduced", "return of_value + rounding.block_slope(", "return rounding.block_slope("),
    ("reduced", "jnp.maximum(terms(1.0), terms(0.0))", "terms(0.0)"),
    ("reduced", "None if has_block_form(loss) else blocks.num_embeddings", "None"),
    ("reduced", " and type(loss).of_blocks is ClassContrast.of_blocks", ""),
    ("reduced", "size = jnp.where(jnp.isfinite(size), size, terms(0.5))", "pass"),
    ("reduced", "share * (go * rate - mean)", "share * go * rate"),
    ("reduced", "missing - local.rounding - rounding", "missing - rounding"),
    ("reduced", "eigenvalue = lowest(slope) - dot(slope, start)", "eigenvalue = lowest(slope)"),
    (
        "reduced",
        "jnp.maximum(level, local.value + local.rounding)",
        "jnp.maximum(level, local.value)",
    ),
    ("reduced", "(count + width - 1) // width", "count // width"),
    ("reduced", "if np.array_equal(ratio * known, aim):", "if ratio:"),
    (
        "reduced",
        "margin = local.rounding + rounding.block_excess",
        "margin = rounding.block_excess",
    ),
    ("reduced", "excess / tilt + end", "excess / tilt"),
    ("reduced", "dot((*free, 1 - total(free)), (", "dot(point, ("),
    (
        "reduced",
        "jnp.where(jnp.isfinite(local.value), below + missing + margin, jnp.inf)",
        "below + missing + margin",
    ),
    (
        "reduced",
        "most = reduce(jnp.maximum, with_class(direction))",
        "most = reduce(jnp.maximum, direction)",
    ),
    ("reduced", "near & (local.value <= level)", "near"),
    # The softmax, and how it changes.
    ("losses", "jnp.where(count > 0, gap, jnp.inf)", "gap + 0 * count"),
    ("losses", "repelled - positives * rate, repelled", "repelled, repelled"),
    ("losses", "(tangent * (1 / temperature) - sums[:, None])", "tangent / temperature"),
    ("losses", "jnp.where(anchors != 0, anchors, 1)", "anchors"),
    ("losses", "    total = jnp.where(total > 0, total, 1)\n", ""),
    # Descents, and lanes of the interior method.
    (
        "solve",
        "jnp.where(better | (predicted > NOISE_DECREASE)",
        "jnp.where((predicted > NOISE_DECREASE)",
    ),
    ("solve", "jnp.where(better | (predicted > NOISE_DECREASE)", "jnp.where(accept"),
    ("solve", "stagnant >= jnp.where(near, 1, NOISE_PATIENCE)", "stagnant >= NOISE_PATIENCE"),
    (
        "solve",
        "near = following.gradient_norm <= NOISE_GRADIENT",
        "near = following.gradient_norm <= 1e-7",
    ),
    (
        "solve",
        "jnp.where(better, following.gradient_norm, run.best_norm)",
        "following.gradient_norm",
    ),
    ("symmetry", "scale[lost | singular] = 0.0", "pass"),
    ("symmetry", "whole[lost] = np.eye(len(every))", "pass"),
    ("symmetry", "self.lost[lane] = info != 0", "pass"),
    ("symmetry", "= -trtrs(upper, lower, unitdiag=1)[0]", "= trtrs(upper, lower, unitdiag=1)[0]"),
    ("symmetry", "rows[..., number:] + rows[..., :number] @ self._tied", "rows[..., number:]"),
    ("symmetry", "getrs(*factors[lane][:2]", "getrs(*factors[0][:2]"),
    # Kernels, and candidates of papers.
    ("kernels", "self.locks.setdefault(name, threading.RLock())", "threading.RLock()"),
    ("kernels", "OPTIONS | FULL_VECTORS if full_vectors else OPTIONS", "OPTIONS"),
    ("papers", "above <= solved.lower + GAP_TOLERANCE", "above <= solved.value + GAP_TOLERANCE"),
    (
        "papers",
        "is_beaten = solved.gap <= GAP_TOLERANCE < above",
        "is_beaten = GAP_TOLERANCE < above",
    ),
    ("papers", "< above - solved.value", "< above - solved.lower"),
    ("papers", "if optimal else is_beaten):", "if optimal else not is_best):"),
    # Verdicts.
    ("claims", "if claim.closed else (margin.low > 0)", "if claim.closed else (margin.low >= 0)"),
    ("claims", "refuted = certified & (margin.high < 0)", "refuted = margin.high < 0"),
    ("claims", "Verdict.PROVEN if proof.rigorous else Verdict.HOLDS", "Verdict.PROVEN"),
    ("balls", "if inside and statement(point) <= 0", "if statement(point) <= 0"),
    ("balls", "shift = bound + _length(radii)", "shift = bound"),
)
"""(topic, old, new): faults of meaning. The old text occurs in one file of the topic, once."""

ARGUED: dict[str, str] = {
    "3e91774396": "an error that equals its allowance, to the last bit, is refused as well",
    "f8b04e2795": "the first guess of a tilt, which is then refined as far as from any other",
    "9ae457637a": "a key by which a check is remembered: one check then serves for all devices",
    "f4e5ed74d6": "numbers of instances on several devices, which differ by more than their count",
    "5e187cca0d": "at that very size the other of two ways to the same eigenvectors",
    "90a40f1f24": "the logarithm of a row that has no weight, to keep its slope a number",
    "bfdc587d0e": "sorts out suspects, each of which is judged by another rule afterwards",
    "0ebeb91bac": "a model of the curvature: its steps are taken where they lower the loss",
    "9bf58bf4a0": "where a start is taken from; what it leads to is certified",
    "d0d28ae433": "two kinds of random rows that are drawn equally often change their numbers",
    "305fb8f915": "which of two measures of one decrease a step is judged by",
    "bbdd0e19e4": "what an Enum keeps of its members is hashed besides the members themselves",
}
"""Survivor → why it is no fault."""


class Mutant(NamedTuple):
    """One fault: a file and its changed text."""

    file: str
    topic: str
    kind: str
    line: int
    text: str
    change: str

    @property
    def name(self) -> str:
        """The same wherever the text moves to."""
        return hashlib.sha256(f"{self.file} {self.kind} {self.change}".encode()).hexdigest()[:10]


# ----------------------------------------------------------------------------------- drawing


def _comparison(node: ast.AST) -> Iterator[ast.AST]:
    swaps = {
        ast.Lt: ast.Gt,
        ast.Gt: ast.Lt,
        ast.LtE: ast.Lt,
        ast.GtE: ast.Gt,
        ast.Eq: ast.NotEq,
        ast.NotEq: ast.Eq,
    }
    if isinstance(node, ast.Compare) and type(node.ops[0]) in swaps:
        yield ast.Compare(node.left, [swaps[type(node.ops[0])](), *node.ops[1:]], node.comparators)


def _arithmetic(node: ast.AST) -> Iterator[ast.AST]:
    swaps = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
    if isinstance(node, ast.BinOp) and type(node.op) in swaps and not _text(node):
        yield ast.BinOp(node.left, swaps[type(node.op)](), node.right)


def _text(node: ast.BinOp) -> bool:
    """Whether it joins text or lists, of which no other operation is possible."""
    literal = (ast.JoinedStr, ast.List, ast.Tuple)
    return any(
        isinstance(side, literal)
        or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in (node.left, node.right)
    )


def _dropped(node: ast.AST) -> Iterator[ast.AST]:
    """One of two factors or terms, or a sign."""
    operations = ast.Mult | ast.Div | ast.Add | ast.Sub
    if isinstance(node, ast.BinOp) and isinstance(node.op, operations) and not _text(node):
        yield node.left
        if isinstance(node.op, ast.Mult | ast.Add):
            yield node.right
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
        yield node.operand


def _constant(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield ast.Constant(node.value + 1)
        if node.value > 0:
            yield ast.Constant(node.value - 1)
    if isinstance(node, ast.Constant) and type(node.value) is float and node.value:
        yield ast.Constant(2 * node.value)


def _swapped(node: ast.AST) -> Iterator[ast.AST]:
    """The first two arguments of a call."""
    if isinstance(node, ast.Call) and len(node.args) >= 2:
        first, second, *rest = node.args
        starred = isinstance(first, ast.Starred) or isinstance(second, ast.Starred)
        name = ast.unparse(node.func).rpartition(".")[2]
        if not starred and name not in COMMUTATIVE and ast.dump(first) != ast.dump(second):
            yield ast.Call(node.func, [second, first, *rest], node.keywords)


COMMUTATIVE = {"isinstance", "maximum", "minimum", "max", "min", "zip", "_least_product"}
_OPPOSITE = {
    "maximum": "minimum",
    "max": "min",
    "argmax": "argmin",
    "any": "all",
    "ceil": "floor",
    "triu": "tril",
    "low": "high",
    "lower": "upper",
}
_OPPOSITE |= {value: key for key, value in _OPPOSITE.items()}


def _opposite(node: ast.AST) -> Iterator[ast.AST]:
    """The least for the largest."""
    if isinstance(node, ast.Attribute) and node.attr in _OPPOSITE:
        yield ast.Attribute(node.value, _OPPOSITE[node.attr], node.ctx)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _OPPOSITE:
        name = ast.Name(_OPPOSITE[node.func.id], node.func.ctx)
        yield ast.Call(name, node.args, node.keywords)
    if isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield ast.BoolOp(other, node.values)


OPERATORS = {
    "comparison": _comparison,
    "arithmetic": _arithmetic,
    "dropped": _dropped,
    "constant": _constant,
    "swapped": _swapped,
    "opposite": _opposite,
}


def _code(node: ast.AST, inside: bool = False) -> Iterator[ast.expr]:
    """The expressions in the bodies of functions, but annotations, decorators and what is said."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        if node.name in ("__repr__", "__str__", "__hash__"):
            return
        inner = [*node.body, *node.args.defaults, *(d for d in node.args.kw_defaults if d)]
        for child in inner:
            yield from _code(child, True)
        return
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.ClassDef):
        for child in node.body:
            yield from _code(child, inside)
        return
    if isinstance(node, ast.AnnAssign):
        if node.value is not None:
            yield from _code(node.value, inside)
        return
    if inside and isinstance(node, ast.expr):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from _code(child, inside)


def _replace(source: str, node: ast.expr, new: ast.AST) -> str:
    """The source with the text of a node exchanged; columns are counted in bytes."""
    lines = source.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    begin = starts[node.lineno - 1] + node.col_offset
    end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
    text = source.encode()
    plain = isinstance(new, ast.Constant | ast.Attribute | ast.Call | ast.Name)
    put = ast.unparse(ast.fix_missing_locations(new))
    return (text[:begin] + (put if plain else f"({put})").encode() + text[end:]).decode()


def _describe(old: str, new: str) -> tuple[int, str]:
    """Where two texts differ first, and how: the lines that they do not share at either end."""
    before, after = old.splitlines(), new.splitlines()
    first = 0
    while first < min(len(before), len(after)) and before[first] == after[first]:
        first += 1
    last = 0
    while last < min(len(before), len(after)) - first and before[-1 - last] == after[-1 - last]:
        last += 1
    parts = (("-", before), ("+", after))
    lines = [
        f"{mark} {line.strip()}" for mark, part in parts for line in part[first : len(part) - last]
    ]
    return first + 1, "\n".join(lines)


def drawn(file: str, topic: str, source: str, count: int) -> list[Mutant]:
    """`count` mutants of a file, the operators in turn; always the same."""
    pools: dict[str, list[tuple[ast.expr, ast.AST]]] = {name: [] for name in OPERATORS}
    for node in _code(ast.parse(source)):
        for name, operator in OPERATORS.items():
            pools[name] += [(node, new) for new in operator(node)]
    chooser = random.Random(file)
    for pool in pools.values():
        chooser.shuffle(pool)
    found: dict[str, Mutant] = {}
    original = ast.dump(ast.parse(source))
    while len(found) < count and any(pools.values()):
        for name, pool in pools.items():
            if not pool or len(found) == count:
                continue
            node, new = pool.pop()
            text = _replace(source, node, new)
            try:
                same = ast.dump(ast.parse(text)) == original
            except SyntaxError:
                continue
            if not same:
                line, change = _describe(source, text)
                mutant = Mutant(file, topic, name, line, text, change)
                found.setdefault(mutant.name, mutant)
    return list(found.values())


def files(topic: str, root: Path = ROOT) -> dict[str, str]:
    """The files of a topic that exist, and their text."""
    paths = [
        path
        for pattern in TESTS[topic][1]
        for path in sorted(root.glob(os.path.normpath(f"ssem_jax/{pattern}")))
    ]
    return {str(path.relative_to(root)): path.read_text() for path in paths}


def written(topic: str, root: Path = ROOT) -> Iterator[Mutant]:
    """The faults of meaning in a topic; those whose text is gone are :func:`stale`."""
    for name, old, new in WRITTEN:
        if name != topic:
            continue
        for file, source in files(topic, root).items():
            if source.count(old) == 1:
                text = source.replace(old, new)
                line, change = _describe(source, text)
                yield Mutant(file, topic, "written", line, text, change)


def faultless(topic: str, root: Path = ROOT) -> Mutant:
    """No fault at all, which no test of the topic may notice."""
    file, text = next(iter(files(topic, root).items()))
    digest = hashlib.sha256("".join(files(topic, root).values()).encode()).hexdigest()
    return Mutant(file, topic, "none", 1, text, digest[:10])


def stale(root: Path = ROOT) -> list[str]:
    """Old texts of written faults that do not occur exactly once: to be brought up to date."""
    return [
        old
        for topic, old, _ in WRITTEN
        if sum(source.count(old) for source in files(topic, root).values()) != 1
    ]


def mutants(only: str = "", root: Path = ROOT) -> list[Mutant]:
    """All mutants, or those of one topic."""
    found = []
    for topic, (count, _, _) in TESTS.items():
        if only and only != topic:
            continue
        found += written(topic, root)
        texts = files(topic, root)
        length = sum(map(len, texts.values()))
        for file, text in texts.items():
            found += drawn(file, topic, text, max(1, round(count * len(text) / length)))
    return found


def tests(topic: str, tree: Path) -> list[str]:
    """The test files of a topic that exist in a tree: of each name its file, or else its folder."""
    found: list[Path] = []
    for name in TESTS[topic][2]:
        files = [tree / f"tests/test_{name}.py", *sorted(tree.glob(f"tests/*/test_{name}.py"))]
        existing = [path for path in files if path.exists()]
        found += existing or sorted(tree.glob(f"tests/{name}/test_*.py"))
    return list(dict.fromkeys(str(path.relative_to(tree)) for path in found))


# ----------------------------------------------------------------------------------- running


class Outcome(NamedTuple):
    """What became of a mutant."""

    name: str
    file: str
    line: int
    kind: str
    change: str
    noticed: str
    seconds: float


def copy(target: Path) -> Path:
    """A copy of the tree."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.svg", "*.png", "*.pdf")
            shutil.copytree(ROOT / name, target / name, ignore=ignored)
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, target / name)
    return target


def _finish(command: list[str], tree: Path) -> tuple[int | None, str]:
    """Exit code (None: it did not end) and output of a command in a copy of the tree."""
    env = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, cwd=tree, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code: int | None = process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            code = None
        log.seek(0)
        return code, log.read()


def judge(mutant: Mutant, tree: Path, verify: bool = False) -> Outcome:
    """Run the tests of a mutant in a copy of the tree, which is restored afterwards."""
    begun, file = time.perf_counter(), tree / mutant.file
    original, noticed = file.read_text(), ""
    file.write_text(mutant.text)
    options = ["-n", "0", "-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
    try:
        command = [sys.executable, "-m", "pytest", *options, *tests(mutant.topic, tree)]
        code, output = _finish(command, tree)
        if code != 0:
            failed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERR"))]
            noticed = "did not end" if code is None else (failed or [f"pytest: {code}"])[0]
        if verify and not noticed:
            code, _ = _finish([sys.executable, "-m", "ssem_jax.cli", "verify", "--quick"], tree)
            noticed = "" if code == 0 else f"ssem verify --quick: exit {code}"
    finally:
        file.write_text(original)
    seconds = time.perf_counter() - begun
    named = (mutant.name, mutant.file, mutant.line, mutant.kind, mutant.change)
    return Outcome(*named, noticed, seconds)


def run(chosen: list[Mutant], jobs: int, out: Path | None, verify: bool) -> Iterator[Outcome]:
    """Judge mutants, as many at once as there are jobs, and keep what is known already."""
    known = {}
    if out is not None and out.exists():
        lines = map(json.loads, out.read_text().splitlines())
        known = {line["name"]: Outcome(**line) for line in lines}
    waiting = [mutant for mutant in chosen if mutant.name not in known]
    yield from (known[mutant.name] for mutant in chosen if mutant.name in known)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            trees.put(copy(Path(folder) / str(number)))

        def one(mutant: Mutant) -> Outcome:
            tree = trees.get()
            try:
                return judge(mutant, tree, verify)
            finally:
                trees.put(tree)

        for outcome in pool.map(one, waiting):
            if out is not None:
                with out.open("a") as file:
                    file.write(json.dumps(outcome._asdict()) + "\n")
            yield outcome


def main() -> int:
    """0 if at least 95 % of the mutants are noticed, those apart that are argued to be none; 1 if
    not; 2 if tests fail without any fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations")
    parser.add_argument("--only", choices=list(TESTS), help="one topic")
    parser.add_argument("--kind", default="", help="one operator, or 'written'")
    parser.add_argument("--sample", type=int, help="so many of them, drawn at random")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="keep the outcomes here, and go on from them")
    parser.add_argument("--verify", action="store_true", help="let ssem verify judge survivors")
    parser.add_argument("--list", action="store_true", help="show the mutants, run none")
    arguments = parser.parse_args()
    chosen = [mutant for mutant in mutants(arguments.only or "") if arguments.kind in mutant.kind]
    if arguments.sample is not None:
        chosen = random.Random(0).sample(chosen, min(arguments.sample, len(chosen)))
    if arguments.list:
        for mutant in chosen:
            print(f"{mutant.name} {mutant.file}:{mutant.line} {mutant.kind}\n{mutant.change}\n")
        print(dict(Counter(mutant.file for mutant in chosen)), len(chosen), "mutants")
        return 0
    survivors, count = [], 0
    # Tests that fail without any fault would notice every one.
    sound = [faultless(topic) for topic in dict.fromkeys(mutant.topic for mutant in chosen)]
    for outcome in run(sound, arguments.jobs, arguments.out, arguments.verify):
        if outcome.noticed:
            print(f"{outcome.file} as it is fails its tests: {outcome.noticed}", file=sys.stderr)
            return 2
    for outcome in run(chosen, arguments.jobs, arguments.out, arguments.verify):
        count += 1
        fate = outcome.noticed or "SURVIVED"
        print(f"{outcome.file}:{outcome.line} {outcome.kind}, {outcome.seconds:.0f} s: {fate}")
        if not outcome.noticed:
            print(outcome.change, flush=True)
            survivors.append(outcome)
    argued = [one for one in survivors if one.name in ARGUED]
    left = len(survivors) - len(argued)
    for old in stale():
        print(f"not found exactly once, bring it up to date: {old}")
    print(f"\n{count - len(survivors)} of {count} noticed; {len(argued)} argued, {left} survive:")
    for one in survivors:
        print(f"  {one.name} {one.file}:{one.line} {ARGUED.get(one.name, '')}")
    return 0 if left <= 0.05 * (count - len(argued)) else 1


if __name__ == "__main__":
    sys.exit(main())
