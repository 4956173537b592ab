"""The checker of certificates: it proves what is true, and nothing else, on Python alone."""

import copy
import json
import math
import random
import re
import subprocess
import sys
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from proofs_numeric import check

PROGRAM = Path(check.__file__)
SIMPLEX = {m: [[m * (i == j) - 1 for j in range(m)] for i in range(m)] for m in (2, 3, 4)}


def problem(sizes=(4, 4, 4), alpha="1/2", temperature="7/20", **other):
    stated = {"loss": "SupCL", "sizes": list(sizes), "views": 1, "self_pairs": "include"}
    stated |= {"mean": "pairs", "class_weights": [1] * len(sizes)}
    return stated | {"alpha": alpha, "temperature": temperature} | other


def minimiser(m, n, alpha, tau, tilt: Any = 0):
    """δ² that minimises L + tilt·δ², self pairs included and one view, to some 45 digits."""
    with localcontext() as context:
        context.prec = 60
        alpha, tau, tilt = (Decimal(x.numerator) / x.denominator for x in (alpha, tau, tilt))

        def slope(q):
            x = (-q * n / ((n - 1) * tau)).exp()
            y = (-(m - q) / ((m - 1) * tau)).exp()
            total = 1 + (n - 1) * x + n * (m - 1) * y
            return n * (y - x) / total + (1 - alpha) * n / (n - 1) + tilt * tau

        low, high = Decimal(0), Decimal(1)
        if slope(low) >= 0:
            return "0"
        for _ in range(160):
            middle = (low + high) / 2
            low, high = (middle, high) if slope(middle) < 0 else (low, middle)
        return f"{low:.45f}"


def blocks(m, delta2):
    return {"class_means": SIMPLEX[m], "delta2": [delta2] * m, "view": [0] * m}


def document(m=3, n=4, alpha="1/2", temperature="7/20", tilt="1e-12", **other):
    """A file that brackets δ² of balanced classes within some 1e-9, and says the phase."""
    a, tau, t = map(Fraction, (alpha, temperature, tilt))
    best = minimiser(m, n, a, tau)
    tilts = [
        {
            "of": "delta2",
            "by": f"{sign}{tilt}",
            "at": blocks(m, minimiser(m, n, a, tau, other_sign)),
        }
        for sign, other_sign in (("", -t), ("-", t))
    ]
    claims = [
        "gap <= 1e-30",
        f"delta2 <= {Fraction(best) + Fraction(1, 10**9)}",
        f"delta2 >= {Fraction(best) - Fraction(1, 10**9)}",
        "phase collapse" if best == "0" else "phase spread",
    ]
    stated, optimum = problem([n] * m, alpha, temperature, **other), blocks(m, best)
    return {"problem": stated, "bits": 128, "optimum": optimum, "tilts": tilts, "claims": claims}


def claiming(*claims):
    return document() | {"claims": list(claims)}


def run(tmp_path, content, name="file.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return check.check(path)


# -------------------------------------------------------------------------- what is true is proven


def test_it_can_be_read_in_ten_minutes():
    source = PROGRAM.read_text(encoding="utf-8")
    assert source.count("\n") < 300
    assert max(map(len, source.splitlines())) <= 100
    imported = set(re.findall(r"^(?:import|from) (\w+)", source, re.MULTILINE))
    assert imported <= sys.stdlib_module_names
    assert not re.search(r"^\s*assert\b", source, re.MULTILINE)  # python -O would drop it


@pytest.mark.parametrize("alpha", ["1/5", "1/2", "9/10"])
@pytest.mark.parametrize("temperature", ["1/10", "7/20", "2"])
def test_optima_of_balanced_classes_are_proven(tmp_path, alpha, temperature):
    holds, text = run(tmp_path, document(alpha=alpha, temperature=temperature))
    assert holds, text


def test_the_program_needs_nothing_but_python(tmp_path):
    one, two, lie = (tmp_path / name for name in ("one.json", "two.json", "lie.json"))
    one.write_text(json.dumps(document()))
    two.write_text(json.dumps(document(alpha="1/5")))
    lie.write_text(json.dumps(claiming("phase collapse")))
    alone = [sys.executable, "-I", "-S", str(PROGRAM)]
    done = subprocess.run([*alone, one, two], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("2 of 2 files are proven\n")
    done = subprocess.run([*alone, one, lie], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "NOT PROVEN: 'phase collapse'" in done.stdout
    assert done.stdout.endswith("1 of 2 files are proven\n")
    done = subprocess.run(alone, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "TRUSTED" in done.stderr


GUIDELINE = {
    "sentence": "alpha >= 1/n and tau <= 1/log m prevent class collapse.",
    "if": ["alpha >= 1/n", "temperature <= 1/ln(m)"],
    "then": ["delta2 > 1e-6"],
}


def test_a_sentence_is_refuted_at_a_cell(tmp_path):
    """The guideline at m = n = 2, α = .545, τ = 1.145."""
    wrong = document(2, 2, "0.545", "1.145")
    wrong["claims"].append(GUIDELINE | {"holds": False})
    holds, text = run(tmp_path, wrong)
    assert holds
    assert "REFUTED: 'alpha >= 1/n" in text
    wrong["claims"][-1] = GUIDELINE | {"holds": True}
    assert not run(tmp_path, wrong)[0]
    outside = document(2, 2, "0.545", "1.5")  # the rule does not speak of it
    outside["claims"].append(GUIDELINE | {"holds": False})
    assert not run(tmp_path, outside)[0]
    outside["claims"][-1] = GUIDELINE | {"holds": True}
    assert run(tmp_path, outside)[0]


def test_numbers_in_claims_are_exact(tmp_path):
    """Digits beyond those of a float count."""
    best = minimiser(3, 4, Fraction(1, 2), Fraction(7, 20))
    digits = Decimal(best) + Decimal("1e-18")
    tilts = copy.deepcopy(document(tilt="1e-24")["tilts"])
    narrow = {
        "bits": 256,
        "tilts": tilts,
        "claims": [f"delta2 <= {digits}"],
        "optimum": blocks(3, best),
    }
    holds, text = run(tmp_path, document() | narrow)
    assert holds, text
    narrow["claims"] = [f"delta2 <= {digits - Decimal('2e-18')}"]
    assert float(digits) == float(digits - Decimal("2e-18"))
    assert not run(tmp_path, document() | narrow)[0]


@pytest.mark.parametrize("value", [None, 0, 1, "false"])
def test_what_is_not_decided_is_not_proven(tmp_path, value):
    """Neither by a claim that is unknown, nor by a word that is neither true nor false."""
    unknown = {"sentence": "", "if": [], "then": ["within_similarity > 0"], "holds": value}
    assert not run(tmp_path, claiming(unknown))[0]
    true = unknown | {"then": ["delta2 > 1e-6"]}
    assert not run(tmp_path, claiming(true))[0]


# ----------------------------------------------------------------- bounds against the definition


def kinds_of(stated):
    p = stated["views"]
    return [(k, i) for k, n in enumerate(stated["sizes"]) for i in range(n) for _ in range(p)]


def loss_by_definition(gram, stated):
    """(1-α)·L_sup + α·L_self, pair by pair."""
    rows, tau, alpha = kinds_of(stated), *map(Fraction, (stated["temperature"], stated["alpha"]))
    weight = [float(Fraction(w)) for w in stated["class_weights"]]
    convention, total = stated["self_pairs"], 0.0
    for share, own in ((1 - alpha, False), (alpha, True)):
        if share == 0:
            continue
        terms, divisor = 0.0, 0.0
        for i, (k, instance) in enumerate(rows):
            counted = [
                j
                for j, (other, its) in enumerate(rows)
                if other == k and (its == instance) == own and (i != j or convention == "include")
            ]
            against = [
                j
                for j, row in enumerate(rows)
                if convention == "include"
                or (convention == "exclude" and i != j)
                or (convention == "decouple" and row != (k, instance))
            ]
            log = math.log(sum(math.exp(gram[i][j] / float(tau)) for j in against))
            each = [weight[k] * (log - gram[i][j] / float(tau)) for j in counted]
            if stated["mean"] == "pairs":
                terms, divisor = terms + sum(each), divisor + weight[k] * len(each)
            elif each:
                terms, divisor = terms + sum(each) / len(each), divisor + weight[k]
        total += float(share) * terms / divisor
    return total


def random_problem(rng):
    """A problem of any convention in which every term has a positive pair."""
    sizes = [rng.randint(1, 4) for _ in range(rng.randint(2, 3))]
    sizes[0] = max(sizes[0], 2)
    views, convention = rng.randint(1, 3), rng.choice(["include", "exclude", "decouple"])
    alpha = Fraction(rng.randint(0, 8), 8)
    if convention != "include" and views == 1:
        alpha = Fraction(0)
    stated = problem(sizes, str(alpha), str(Fraction(rng.randint(2, 40), 10)), views=views)
    stated |= {"self_pairs": convention, "mean": rng.choice(["pairs", "anchors"])}
    if rng.random() < 0.5:
        stated["class_weights"] = [str(Fraction(rng.randint(1, 9), 4)) for _ in sizes]
    return stated


def random_blocks(stated, rng):
    """Means, variances of instances and of views for every class, as a file has them."""
    several, p = [n > 1 for n in stated["sizes"]], stated["views"]
    shares = [(rng.randint(0, 4) * n, rng.randint(0, 4) * (p > 1)) for n in several]
    means = [[rng.randint(-9, 9) for _ in range(3)] + [1] for _ in several]
    delta2, view = ([str(Fraction(pair[i], 9)) for pair in shares] for i in (0, 1))
    return {"class_means": means, "delta2": delta2, "view": view}


def block_gram(stated, place):
    """The Gram matrix that blocks stand for, pair by pair."""
    rows, p = kinds_of(stated), stated["views"]
    means = np.array(place["class_means"], float)
    d, t = (np.array([float(Fraction(x)) for x in place[key]]) for key in ("delta2", "view"))
    means *= (np.sqrt(1 - d - t) / np.linalg.norm(means, axis=1))[:, None]
    gram = np.zeros((len(rows), len(rows)))
    for i, (k, a) in enumerate(rows):
        for j, (other, b) in enumerate(rows):
            n, same = stated["sizes"][k], k == other
            gram[i, j] = means[k] @ means[other]
            gram[i, j] += same * d[k] * (1 if a == b else -1 / max(n - 1, 1))
            gram[i, j] += same * (a == b) * t[k] * (1 if i == j else -1 / max(p - 1, 1))
    return gram


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def value_of(functional, gram, stated):
    """⟨F, G⟩, pair by pair."""
    rows, total = kinds_of(stated), 0.0
    for i, (k, a) in enumerate(rows):
        for j, (other, b) in enumerate(rows):
            kind = 0 if i == j else 3 if other != k else 1 if a == b else 2
            total += float(functional[k][kind]) * gram[i, j]
    return total


ROUNDING = 1e-12
"""What the definition in float64 may err by, for losses of some units."""
QUANTITIES = (
    "delta2",
    "view_variance",
    "mean_squared",
    "within_similarity",
    "between_similarity",
    "delta2_of_class_0",
    "view_variance_of_class_1",
)


def check_bounds(seed):
    """Upper bounds are the loss; lower ones, tilted or not, lie below the loss of anything."""
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    stated = random_problem(rng)
    rows = noise.normal(size=(len(kinds_of(stated)), 5))
    place = random_blocks(stated, rng)
    quantity, tilt = rng.choice(QUANTITIES), Fraction(rng.randint(-8, 8), 8)
    hexadecimal = {"rows": [[float(x).hex() for x in row] for row in rows]}
    others = [unit(rows + size * noise.normal(size=rows.shape)) for size in (0, 0.1, 3)]
    grams = [block_gram(stated, place), *(u @ u.T for u in others)]
    for at, gram in ((hexadecimal, grams[1]), (place, grams[0])):
        found, similarities = check.gram_of({"problem": stated, "bits": 64}, at)
        expected = loss_by_definition(gram, stated)
        upper = check.upper_bound(found, similarities)
        assert abs(float(upper) - expected) <= ROUNDING * (1 + expected)
        lower = check.lower_bound(found, similarities)
        tilted = check.lower_bound(found, similarities, quantity, tilt)
        functional = found.functional(quantity)
        for other in grams:
            loss = loss_by_definition(other, stated)
            room = ROUNDING * (1 + loss)
            assert float(lower) <= loss + room
            assert float(tilted) <= loss - float(tilt) * value_of(functional, other, stated) + room


@pytest.mark.parametrize("seed", range(8))
def test_bounds_enclose_what_the_definition_gives(seed):
    check_bounds(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 300, 50))
def test_bounds_enclose_what_the_definition_gives_of_300(first):
    for seed in range(1000 + first, 1050 + first):
        check_bounds(seed)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_functionals_are_what_their_names_say(quantity):
    stated = problem((3, 2), views=2)
    units = unit(np.random.default_rng(7).normal(size=(10, 5)))
    gram = units @ units.T
    found = value_of(check.Problem(stated, 64).functional(quantity), gram, stated)
    instances = units.reshape(5, 2, 5).mean(1)
    classes = [instances[:3], instances[3:]]
    spread = [((c - c.mean(0)) ** 2).sum() for c in classes]
    views = ((units.reshape(5, 2, 5) - instances[:, None]) ** 2).sum((1, 2))
    same_class = np.equal.outer(*2 * [[0] * 6 + [1] * 4])
    same = np.equal.outer(*2 * [np.arange(10) // 2])
    expected = {
        "delta2": sum(spread) / 5,
        "delta2_of_class_0": spread[0] / 3,
        "view_variance": views.sum() / 10,
        "view_variance_of_class_1": views[3:].sum() / 4,
        "mean_squared": (units.mean(0) ** 2).sum(),
        "within_similarity": gram[same_class & ~same].mean(),
        "between_similarity": gram[~same_class].mean(),
    }[quantity]
    assert found == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("seed", range(5))
def test_slack_makes_a_matrix_positive(seed):
    rng = random.Random(seed)
    size, bits = rng.randint(1, 7), 40
    vectors = np.array([[rng.randint(-999, 999) for _ in range(3)] for _ in range(size)])
    matrix = vectors @ vectors.T - np.diag([rng.choice([0, 0, 5000]) for _ in range(size)])
    matrix = [[int(x) << 60 for x in row] for row in matrix]
    slack = check.psd_slack(matrix, bits)
    shifted = np.array(matrix, float) + np.diag(np.array(slack, float))
    assert np.linalg.eigvalsh(shifted)[0] >= -1e-13 * np.abs(shifted).max()
    assert min(slack) >= 0


def test_slack_of_a_positive_matrix_is_small():
    matrix = [[(9 * (i == j) - 1) << 60 for j in range(5)] for i in range(5)]
    assert 0 <= max(check.psd_slack(matrix, 64)) <= 2**20


# ------------------------------------------------------------------------------ what is not true


def changed(**fields):
    lie = document()
    lie["problem"] |= fields
    return lie


def altered(change):
    lie = copy.deepcopy(document())
    change(lie)
    return lie


LIES = {
    "another convention": changed(self_pairs="exclude", alpha="0"),
    "another mean": changed(sizes=[4, 4, 5], mean="anchors"),
    "another alpha": changed(alpha="0.51"),
    "another class size": changed(sizes=[4, 4, 5]),
    "a class weight": changed(class_weights=[1, 1, "1.001"]),
    "a wrong lower bound": claiming("minimum >= 1.32"),
    "a wrong upper bound": claiming("minimum <= 1.31"),
    "a wrong phase": claiming("phase collapse"),
    "a narrow bracket": claiming("delta2 <= 0.2"),
    "no bracket": document() | {"tilts": []},
    "a tilt too large": altered(lambda lie: lie["tilts"][0].update(by="1")),
    "a tilt to the other side": altered(lambda lie: lie["tilts"][0].update(by="-1e-12")),
    "a class that differs": altered(lambda lie: lie["optimum"]["delta2"].__setitem__(0, "0")),
    "a place of another tilt": altered(lambda lie: lie["tilts"][0].update(at=blocks(3, "0.3"))),
}


@pytest.mark.parametrize("case", LIES)
def test_planted_lies_are_not_proven(tmp_path, case):
    holds, text = run(tmp_path, LIES[case])
    assert not holds
    assert text.startswith("NOT PROVEN"), text


def as_rows(m, n, delta2):
    """Rows of the symmetric optimum: class simplex, and an instance simplex for each class."""
    q, rows = float(Fraction(delta2)), []
    for k in range(m):
        for i in range(n):
            mean = np.array(SIMPLEX[m][k]) * math.sqrt((1 - q) / (m * (m - 1)))
            own = np.zeros((m, n))
            own[k] = (n * (np.arange(n) == i) - 1) * math.sqrt(q / (n * (n - 1)))
            rows.append([float(x).hex() for x in (*mean, *own.ravel())])
    return rows


def test_rows_are_proven_and_swapped_classes_are_not(tmp_path):
    file = document() | {"tilts": [], "claims": ["gap <= 1e-12"]}
    rows = as_rows(3, 4, minimiser(3, 4, Fraction(1, 2), Fraction(7, 20)))
    assert run(tmp_path, file | {"optimum": {"rows": rows}})[0]
    rows[0], rows[4] = rows[4], rows[0]
    holds, text = run(tmp_path, file | {"optimum": {"rows": rows}})
    assert not holds
    assert text.startswith("NOT PROVEN"), text


REFUSALS = {
    "no object": ("[]", "TypeError|expected"),
    "no JSON": ("{", "JSONDecodeError"),
    "an unknown key": (document() | {"note": "trust me"}, "expected"),
    "a typing error": (changed(class_weight=[1, 1, 1]), "expected"),
    "another loss": (changed(loss="InfoNCE"), "no problem that is known"),
    "no convention": (changed(self_pairs="both"), "no problem that is known"),
    "one class": (document() | {"problem": problem((4,))}, "no problem that is known"),
    "a weight below 0": (changed(class_weights=[1, 1, -1]), "no problem that is known"),
    "a size that is no number": (changed(sizes=[4, 4, True]), "no problem that is known"),
    "few bits": (document() | {"bits": 8}, "bits not from 32"),
    "no number": (document() | {"bits": True}, "bits not from 32"),
    "not a number": (json.dumps(document()).replace('"1/2"', "NaN"), "NaN"),
    "a huge number": (changed(temperature="1e123456789"), "no number"),
    "alpha above 1": (changed(alpha="3/2"), "no problem that is known"),
    "no positives": (document() | {"problem": problem((1, 1, 1))}, "Fraction"),
    "a zero row": (
        document() | {"optimum": blocks(3, "0") | {"class_means": [[0, 0]] * 3}},
        "no such row",
    ),
    "ragged rows": (document() | {"optimum": {"rows": [[1, 0]] * 11 + [[1]]}}, "differ in length"),
    "too few rows": (document() | {"optimum": {"rows": [[1, 0]] * 11}}, "zip"),
    "impossible": (document() | {"optimum": blocks(3, "3/2")}, "no such row"),
    "an unknown quantity": (
        altered(lambda lie: lie["tilts"][0].update(of="rank")),
        "rank",
    ),
    "a call": (claiming(GUIDELINE | {"if": ["open('x') > 0"], "holds": False}), "cannot read"),
    "a huge number in a claim": (claiming("delta2 <= 1e123456789"), "no number"),
    "no comparison": (claiming("delta2"), "not enough values"),
    "two comparisons": (claiming("0 < delta2 < 1"), "too many values"),
    "a division by zero": (claiming("1/(alpha - 0.5) > 0"), "division by zero"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_no_certificate_is_refused(tmp_path, case):
    content, message = REFUSALS[case]
    holds, text = run(tmp_path, content)
    assert not holds
    assert text.startswith("REFUSED")
    assert re.search(message, text), text


def mutated(text, rng):
    """One to three characters changed, dropped, doubled or swapped; or one number for another."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        place = rng.randrange(len(text))
        kind = rng.choice(["byte", "byte", "byte", "drop", "double", "swap", "number"])
        if kind == "number":
            numbers = list(re.finditer(r"\d+", text))
            one, other = rng.choice(numbers), rng.choice(numbers)
            text = text[: one.start()] + other.group() + text[one.end() :]
            continue
        middle = {
            "byte": rng.choice('0123456789-./eaxt<>=[]{},": '),
            "drop": "",
            "double": text[place] * 2,
            "swap": text[place : place + 2][::-1],
        }[kind]
        text = text[:place] + middle + text[place + 1 + (kind == "swap") :]
    return text


def is_true(claim, delta2):
    """Whether a claim of a mutant about δ² is true; others are held to the enclosure."""
    number = r"(?<![\w.])\d[\d.]*(e[+-]?\d+)?"
    for comparison in check.PHASES.get(claim, [claim]):
        exact = re.sub(number, lambda x: f"Fraction('{x[0]}')", comparison)
        if "delta2" in comparison and not eval(exact, {"Fraction": Fraction, "delta2": delta2}):
            return False
    return True


def check_mutants(tmp_path, seed, count):
    rng, text, accepted = random.Random(seed), json.dumps(document()), 0
    for _ in range(count):
        changed = mutated(text, rng)
        holds, said = run(tmp_path, changed)
        if not holds:
            continue
        accepted += 1
        mutant = json.loads(changed, parse_float=str)
        stated = mutant["problem"]
        sizes = stated["sizes"]
        assert len(set(sizes)) == 1, said  # else symmetric blocks are no optimum
        assert stated["self_pairs"] == "include", said  # then δ² does not depend on the views
        alpha, tau = check.rational(stated["alpha"]), check.rational(stated["temperature"])
        true = Fraction(minimiser(len(sizes), sizes[0], alpha, tau))
        for claim in mutant["claims"]:
            assert isinstance(claim, dict) or is_true(claim, true), said
        found, gram = check.gram_of(mutant, mutant["optimum"])
        best = blocks(len(sizes), str(true))
        exact, exact_gram = check.gram_of(mutant | {"bits": 200}, best)
        truth = check.upper_bound(exact, exact_gram)
        assert check.lower_bound(found, gram) <= truth
        assert check.upper_bound(found, gram) >= truth - Fraction(1, 10**40)
    assert accepted  # digits far behind the point change nothing


def test_mutated_files_prove_nothing_false(tmp_path):
    """Bytes, digits, numbers and claims changed at random: what is still accepted is still true."""
    check_mutants(tmp_path, 0, 100)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_5000_mutated_files_prove_nothing_false(tmp_path, seed):
    check_mutants(tmp_path, seed, 1000)


# ------------------------------------------------------------------------------------------ boxes


def tree_of(stated, sentence, box):
    """Halve what is not decided, the longer side first: a proof of a sentence on a box."""
    place = check.Problem(stated | {"alpha": "1", "temperature": "1"}, 64)

    def cut(part, widths):
        cell = place.names | dict(zip(("alpha", "temperature"), part, strict=True))
        if check.decide(sentence, cell, place) is True:
            return "."
        side = max((0, 1), key=lambda s: (part[s][1] - part[s][0]) / widths[s])
        middle = sum(part[side]) / 2
        halves = [list(part), list(part)]
        halves[0][side], halves[1][side] = (part[side][0], middle), (middle, part[side][1])
        return "at"[side] + "".join(cut(half, widths) for half in halves)

    ends = [tuple(map(Fraction, box[side])) for side in ("alpha", "temperature")]
    return cut(ends, [high - low for low, high in ends])


def test_collapse_on_a_box_is_proven(tmp_path):
    """m = 3, n = 4: collapse is optimal for all τ in [.2, 2] and α ≤ α_c(τ) - .05."""
    stated = {k: v for k, v in problem().items() if k not in ("alpha", "temperature")}
    sentence = {
        "if": ["alpha <= 1/4 + 3/4 * 3/(2 + 1/r) - 0.05"],
        "then": ["on_instances >= 0"],  # one view, so that there is none to collapse
    }
    box = {"alpha": ["0", "1"], "temperature": ["0.2", "2"]}
    tree = tree_of(stated, sentence, box)
    proof = sentence | {
        "problem": stated,
        "bits": 64,
        "box": box,
        "tree": tree,
        "sentence": "it is",
    }
    holds, text = run(tmp_path, proof)
    assert holds, text
    assert not run(tmp_path, proof | {"tree": tree[:-1]})[0]
    assert not run(tmp_path, proof | {"tree": tree + "."})[0]
    assert not run(tmp_path, proof | {"tree": "."})[0]
    assert not run(tmp_path, proof | {"tree": ""})[0]
    assert not run(tmp_path, proof | {"box": box | {"alpha": ["1", "0"]}})[0]
    assert not run(tmp_path, proof | {"box": box | {"alpha": ["0", "2"]}})[0]
    false = proof | {"if": ["alpha <= 1/4 + 3/4 * 3/(2 + 1/r) + 0.01"]}
    assert not run(tmp_path, false)[0]


@pytest.mark.parametrize("convention", ["include", "exclude", "decouple"])
@pytest.mark.parametrize("views", [1, 2])
def test_collapse_is_optimal_where_its_eigenvalues_say_so(convention, views):
    """The two eigenvalues of the names against the bound at the collapsed simplex itself."""
    for alpha in ("0", "1/10", "1/3", "1/2", "9/10"):
        if convention != "include" and views == 1 and alpha != "0":
            continue
        stated = problem((3, 3), alpha, "1/2", views=views, self_pairs=convention)
        found, gram = check.gram_of({"problem": stated, "bits": 64}, blocks(2, "0"))
        cell = found.names | {"alpha": (found.alpha,) * 2, "temperature": (found.tau,) * 2}
        names = ["on_instances >= 0", "on_views >= 0"][:views]
        optimal = [check.holds(name, cell, found) for name in names]
        assert None not in optimal
        gap = check.upper_bound(found, gram) - check.lower_bound(found, gram)
        assert (gap < Fraction(1, 10**15)) == all(optimal)
