"""The checker of certificates: it proves what is true, and nothing else, on Python alone."""

import json
import math
import random
import subprocess
import sys
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from proofs_numeric import check

PROGRAM = Path(check.__file__)
SIMPLEX = {m: [[m * (i == j) - 1 for j in range(m)] for i in range(m)] for m in (2, 3, 4)}


def problem(sizes=(4, 4, 4), alpha="1/2", temperature="7/20", **other):
    stated = {"loss": "SupCL", "sizes": list(sizes), "views": 1, "self_pairs": "include"}
    return stated | {"mean": "pairs", "alpha": alpha, "temperature": temperature} | other


def minimiser(m, n, alpha, tau, tilt=0):
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
    return {"class_means": SIMPLEX[m], "delta2": [delta2] * m}


def document(m=3, n=4, alpha="1/2", temperature="7/20", tilt="1e-12", **other):
    """A file that brackets δ² of balanced classes within some 1e-12, and says the phase."""
    a, tau, t = map(Fraction, (alpha, temperature, tilt))
    best = minimiser(m, n, a, tau)
    claims = [{"quantity": "gap", "at_most": "1e-30"}]
    for side, sign in (("at_most", -1), ("at_least", 1)):
        at, room = minimiser(m, n, a, tau, sign * t), Fraction(1, 10**9)
        bound = str(Fraction(best) - sign * room)
        claims.append({"quantity": "delta2", side: bound, "tilt": tilt, "at": blocks(m, at)})
    claims.append({"phase": "collapse" if best == "0" else "spread"})
    stated = problem([n] * m, alpha, temperature, **other)
    return {"problem": stated, "bits": 128, "optimum": blocks(m, best), "claims": claims}


def run(tmp_path, content, name="file.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return check.check(path)


# -------------------------------------------------------------------------- what is true is proven


@pytest.mark.parametrize("alpha", ["1/5", "1/2", "9/10"])
@pytest.mark.parametrize("temperature", ["1/10", "7/20", "2"])
def test_optima_of_balanced_classes_are_proven(tmp_path, alpha, temperature):
    holds, text = run(tmp_path, document(alpha=alpha, temperature=temperature))
    assert holds, text


def test_the_program_needs_nothing_but_python(tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(document()))
    (tmp_path / "two.json").write_text(json.dumps(document(alpha="1/5")))
    alone = [sys.executable, "-I", "-S", str(PROGRAM), str(tmp_path)]
    done = subprocess.run(alone, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("2 of 2 files are proven\n")
    (tmp_path / "three.json").write_text(json.dumps(document() | {"claims": [{"phase": "collapse"}]}))
    done = subprocess.run(alone, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "NOT PROVEN: phase collapse" in done.stdout


def test_a_sentence_is_refuted_at_a_cell(tmp_path):
    """The rule "α ≥ 1/n and τ ≤ 1/log m" at m = n = 2, α = .545, τ = 1.145."""
    wrong = document(2, 2, "0.545", "1.145")
    sentence = {
        "sentence": "alpha >= 1/n and tau <= 1/log m prevent class collapse.",
        "if": ["alpha >= 1/n", "temperature <= 1/log(m)"],
        "then": ["delta2 > 1e-6"],
    }
    wrong["claims"].append(sentence | {"refuted": True})
    holds, text = run(tmp_path, wrong)
    assert holds and "REFUTED: alpha >= 1/n" in text
    wrong["claims"][-1] = sentence | {"refuted": False}
    assert not run(tmp_path, wrong)[0]
    outside = document(2, 2, "0.545", "1.5")  # the rule does not speak of it
    outside["claims"].append(sentence | {"refuted": True})
    assert not run(tmp_path, outside)[0]


# ----------------------------------------------------------------- bounds against the definition


def loss_by_definition(gram, stated):
    """(1-α)·L_sup + α·L_self, pair by pair."""
    p, tau, alpha = stated["views"], Fraction(stated["temperature"]), Fraction(stated["alpha"])
    rows = [(k, i) for k, n in enumerate(stated["sizes"]) for i in range(n) for _ in range(p)]
    weight = [float(Fraction(w)) for w in stated.get("class_weights", [1] * len(stated["sizes"]))]
    convention, total = stated["self_pairs"], 0.0
    for share, own in ((1 - alpha, False), (alpha, True)):
        if share == 0:
            continue
        terms, divisor = 0.0, 0.0
        for i, (k, instance) in enumerate(rows):
            counted = [
                j
                for j, (other, its) in enumerate(rows)
                if other == k
                and (its == instance) == own
                and (i != j or convention == "include")
            ]
            against = [
                j
                for j, row in enumerate(rows)
                if convention == "include"
                or (convention == "exclude" and i != j)
                or (convention == "decouple" and row != (k, instance))
            ]
            log = math.log(sum(math.exp(gram[i][j] / tau) for j in against))
            each = [weight[k] * (log - gram[i][j] / float(tau)) for j in counted]
            if stated["mean"] == "pairs":
                terms, divisor = terms + sum(each), divisor + weight[k] * len(each)
            elif each:
                terms, divisor = terms + sum(each) / len(each), divisor + weight[k]
        total += float(share) * terms / divisor
    return total


def random_problem(rng):
    """A problem of any convention in which every term has a positive pair, and random rows."""
    sizes = [rng.randint(1, 4) for _ in range(rng.randint(2, 3))]
    sizes[0] = max(sizes[0], 2)
    views = rng.randint(1, 3)
    convention = rng.choice(["include", "exclude", "decouple"])
    alpha = Fraction(rng.randint(0, 8), 8)
    if convention != "include" and views == 1:
        alpha = Fraction(0)
    stated = problem(sizes, str(alpha), str(Fraction(rng.randint(2, 40), 10)), views=views)
    stated |= {"self_pairs": convention, "mean": rng.choice(["pairs", "anchors"])}
    if rng.random() < 0.5:
        stated["class_weights"] = [str(Fraction(rng.randint(1, 9), 4)) for _ in sizes]
    size = sum(sizes) * views
    rows = [[rng.gauss(0, 1) for _ in range(rng.randint(2, 2) + size)] for _ in range(size)]
    return stated, rows


def unit_gram(rows):
    unit = np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit @ unit.T


ROUNDING = 1e-12
"""What the definition in float64 may err by, for losses of some units."""


@pytest.mark.parametrize("seed", range(6))
def test_bounds_enclose_what_the_definition_gives(seed):
    rng = random.Random(seed)
    for _ in range(50):
        stated, rows = random_problem(rng)
        place = check.Problem(stated, True, 64)
        gram = check.gram_of({"rows": [[x.hex() for x in row] for row in rows]}, place)
        expected = loss_by_definition(unit_gram(rows), stated)
        upper, lower = check.upper_bound(place, gram), check.lower_bound(place, gram)
        assert abs(float(upper) - expected) <= ROUNDING * (1 + expected)
        for _ in range(5):
            other = unit_gram(np.array(rows) + rng.choice([0.1, 3]) * np.random.default_rng(seed).normal(size=(len(rows), len(rows[0]))))
            assert float(lower) <= loss_by_definition(other, stated) + ROUNDING * (1 + expected)


@pytest.mark.parametrize("quantity", ["delta2", "view_variance", "mean_squared", "within_similarity", "between_similarity", "delta2:1"])
def test_functionals_are_what_their_names_say(quantity):
    rng = random.Random(7)
    stated, rows = problem((3, 2), views=2), [[rng.gauss(0, 1) for _ in range(5)] for _ in range(10)]
    gram, place = unit_gram(rows), check.Problem(stated, True, 64)
    constant, F = place.functional(quantity)
    found = float(constant)
    for i, (k, instance) in enumerate(place.ids):
        for j, (other, its) in enumerate(place.ids):
            kind = 0 if i == j else 3 if other != k else 1 if its == instance else 2
            found += float(F[k][kind]) * gram[i, j]
    unit = np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    instances = unit.reshape(5, 2, 5).mean(1)
    classes = [instances[:3], instances[3:]]
    spread = [((c - c.mean(0)) ** 2).sum() for c in classes]
    same_class = np.equal.outer(*2 * [[0] * 6 + [1] * 4])
    same = np.equal.outer(*2 * [np.arange(10) // 2])
    expected = {
        "delta2": sum(spread) / 5,
        "delta2:1": spread[1] / 2,
        "view_variance": ((unit.reshape(5, 2, 5) - instances[:, None]) ** 2).sum() / 10,
        "mean_squared": (unit.mean(0) ** 2).sum(),
        "within_similarity": gram[same_class & ~same].mean(),
        "between_similarity": gram[~same_class].mean(),
    }[quantity]
    assert found == pytest.approx(expected, abs=1e-13)


# ------------------------------------------------------------------------------ what is not true


def test_planted_lies_are_not_proven(tmp_path):
    def changed(**fields):
        lie = document()
        lie["problem"] |= fields
        return lie

    lies = [
        changed(self_pairs="exclude", alpha="0"),
        changed(alpha="0.51"),
        changed(sizes=[4, 4, 5]),
        document() | {"claims": [{"quantity": "minimum", "at_least": "1.32"}]},
        document() | {"claims": [{"phase": "collapse"}]},
        document() | {"claims": [{"quantity": "delta2", "at_most": "0.2"}]},
    ]
    wide = document()
    wide["claims"][1]["tilt"] = "1"  # too large for the point that it was made for
    swapped = document()
    swapped["optimum"]["delta2"][0] = "0"
    for number, lie in enumerate([*lies, wide, swapped]):
        holds, text = run(tmp_path, lie)
        assert not holds, (number, text)


REFUSALS = {
    "no object": ("[]", "TypeError|expected"),
    "a key twice": ('{"bits": 64, "bits": 128}', "names a key twice"),
    "an unknown key": (document() | {"note": "trust me"}, "expected"),
    "a typing error": (document(class_weight=[1, 1, 1]), "expected"),
    "another loss": (document(loss="InfoNCE"), "only SupCL"),
    "no number": (document() | {"bits": True}, "bits must be"),
    "not a number": (json.dumps(document()).replace('"1/2"', "NaN"), "expected a number|NaN"),
    "alpha above 1": (document() | {"problem": problem(alpha="3/2")}, "alpha must lie"),
    "no positives": (document() | {"problem": problem((1, 1, 1))}, "no positive pair"),
    "a zero row": (document() | {"optimum": blocks(3, "0") | {"class_means": [[0, 0]] * 3}}, "zero"),
    "impossible": (document() | {"optimum": blocks(3, "3/2")}, "impossible variances"),
    "a call": (
        document()
        | {"claims": [{"sentence": "", "if": ["open('x') > 0"], "then": [], "refuted": True}]},
        "cannot read",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_no_certificate_is_refused(tmp_path, case):
    import re

    content, message = REFUSALS[case]
    holds, text = run(tmp_path, content)
    assert not holds
    assert text.startswith("REFUSED")
    assert re.search(message, text), text


def test_mutated_files_prove_nothing_false(tmp_path):
    """Bytes, digits and claims changed at random: what is still accepted is still true."""
    rng, text = random.Random(0), json.dumps(document())
    accepted = 0
    for _ in range(300):
        place = rng.randrange(len(text))
        changed = text[:place] + rng.choice("0123456789-./eax[]{},\": ") + text[place + 1 :]
        path = tmp_path / "mutant.json"
        path.write_text(changed)
        holds, said = check.check(path)
        if not holds:
            continue
        accepted += 1
        mutant = json.loads(changed)
        stated = mutant["problem"]
        sizes, alpha, tau = stated["sizes"], Fraction(stated["alpha"]), Fraction(stated["temperature"])
        assert len(set(sizes)) == 1 and stated["self_pairs"] == "include"  # else not accepted
        true = Fraction(minimiser(len(sizes), sizes[0], alpha, tau))
        for claim in mutant["claims"]:
            if claim.get("quantity") == "delta2":
                assert "at_most" not in claim or true <= Fraction(claim["at_most"]), said
                assert "at_least" not in claim or true >= Fraction(claim["at_least"]), said
    assert accepted  # digits far behind the point change nothing


# ------------------------------------------------------------------------------------------ boxes


def tree_of(stated, sentence, box):
    """Halve what is not decided, the longer side first: a proof of a sentence on a box."""
    place = check.Problem(stated | {"alpha": "1", "temperature": "1"}, False, 64)
    names = check.constants(place) | check.at_collapse(place)

    def cut(part, widths):
        cell = names | dict(zip(("alpha", "temperature"), part, strict=True))
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
    """m = 3, n = 4: collapse is optimal for all τ in [.2, 2] and α ≤ α_c(τ) - .01."""
    stated = {k: v for k, v in problem().items() if k not in ("alpha", "temperature")}
    sentence = {
        "if": ["alpha <= 1/4 + 3/4 * 3*r/(1 + 2*r) - 0.01"],
        "then": ["instance_eigenvalue >= 0", "view_eigenvalue >= 0"],
    }
    box = {"alpha": ["0", "1"], "temperature": ["0.2", "2"]}
    tree = tree_of(stated, sentence, box)
    proof = sentence | {"problem": stated, "bits": 64, "box": box, "tree": tree, "sentence": "it is"}
    holds, text = run(tmp_path, proof)
    assert holds, text
    assert not run(tmp_path, proof | {"tree": tree[:-1]})[0]
    assert not run(tmp_path, proof | {"tree": tree + "."})[0]
    assert not run(tmp_path, proof | {"tree": "."})[0]
    false = proof | {"if": ["alpha <= 1/4 + 3/4 * 3*r/(1 + 2*r) + 0.01"]}
    assert not run(tmp_path, false)[0]
