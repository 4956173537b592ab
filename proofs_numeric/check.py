#!/usr/bin/env python3
"""Check certificates of supervised contrastive optima:  python check.py FILE...

TRUSTED are this program, Python's integers, fractions, decimals and JSON, and that the "problem" of
a file is the one meant. All else in it says where to look: what does not follow is NOT PROVEN.
THE LOSS. Over Gram matrices G (positive semidefinite, "psd", of unit diagonal), with the weights
W >= 0 and the denominators D_i that the class `Problem` writes out,
    L(G) = sum_i w_i log sum_{j in D_i} exp(G_ij/tau) - <W, G>/tau,     w_i = sum_j W_ij.
LOWER BOUND. Every row-stochastic P on D has log sum_j exp(x_j) >= <P_i, x> + H(P_i), with the
entropy H (Gibbs). So multipliers l that make S = sym(w P - W)/tau + Diag(l) psd give
    L(G) >= sum_i w_i H(P_i) + <S, G> - sum_i l_i >= sum_i w_i H(P_i) - sum_i l_i.
P is rounded to integers over 2^bits with exact row sums; a multiple of S is then an integer matrix.
It is psd by the exact identity 4^k S + shift = R R' + E: shift and |E| are paid for in l.
TILT. Let f = <F, G>, such as the variance delta2 of instances about their class mean, and t > 0.
The same bound with W + t tau F for W is a number D with L - t f >= D everywhere. So f <= (U - D)/t
wherever L <= U: at every optimum, if the minimum is at most U. If t < 0, then f >= (U - D)/t.
UPPER BOUND U. The loss at the rows of the file, normalised, or at a G that is constant on blocks.
ROUNDING. Integers and fractions are exact. Decimals round up in upper bounds, down in lower ones.
"""
import ast
import json
import re
import sys
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from functools import reduce
from math import isqrt, lcm
from operator import add, mul, sub, truediv

STATED = ("loss", "self_pairs", "mean", "sizes", "views", "class_weights", "alpha", "temperature")
PHASES = {"phase collapse": ["delta2 <= 1e-6", "view_variance <= 1e-6"],
          "phase spread": ["delta2 > 1e-6"],
          "phase view_spread": ["delta2 <= 1e-6", "view_variance > 1e-6"]}
ARITHMETIC = {ast.Add: add, ast.Sub: sub, ast.Mult: mul, ast.Div: truediv}

def need(condition, message):
    if not condition:
        raise ValueError(message)

def known(data, *keys):  # and no other keys, such as one with a typing error
    need(type(data) is dict and set(data) == {*keys}, f"expected {keys}, got {data!r:.200}")

def rational(x):
    """An integer, a decimal, a quotient "1/3" or a hexadecimal float "0x1.8p-1", exactly."""
    need(type(x) in (int, str) and not re.match(r"[^x]*[eE].?\d{5}", str(x)), f"no number: {x!r}")
    return Fraction(float.fromhex(x) if "x" in str(x) else x)

def rounded(function, context, x):
    """exp or ln, which round correctly to nearest, moved on by one unit in the last place."""
    y = function(context, context.divide(x.numerator, x.denominator))
    return context.next_plus(y) if context.rounding == ROUND_CEILING else context.next_minus(y)

class Problem:
    """The stated loss on groups (class, instance, n, v) of rows: n instances of v views.
    A pair (i, j) is of kind 0 if i = j; 1: two views of one instance; 2: two instances of a class;
    3: two classes. D[kind] says if it is in the denominator; W[k][kind] is its weight if i is of
    class k. A share alpha of all weight lies on pairs of one instance, the rest on kind 2.
    pairs[g] lists (how many, kind) for a row of group g: three within the group, one a group."""
    def __init__(self, stated, bits, rows=False):
        known(stated, *STATED)
        loss, convention, mean, sizes, p, omega, alpha, tau = (stated[key] for key in STATED)
        alpha, tau, *omega = map(rational, (alpha, tau, *omega))
        need(loss == "SupCL" and convention in ("include", "exclude", "decouple")
             and mean in ("pairs", "anchors") and len(sizes) == len(omega) > 1 and min(omega) >= 0
             and all(type(n) is int and n > 0 for n in (*sizes, p)) and 0 <= alpha <= 1 and tau > 0
             and type(bits) is int and 32 <= bits <= 4096 and (sum(sizes) * p <= 5000 or not rows),
             f"no problem that is known, or bits not from 32 to 4096: {stated!r:.300}")
        def weights(share, positives):  # of a positive pair; its anchor's class has so many
            each = [w / (c if c and mean == "anchors" else 1) for w, c in zip(omega, positives)]
            total = sum(n * p * c * w for n, c, w in zip(sizes, positives, each))
            return [share and share * w / total for w in each]  # ZeroDivisionError without pairs
        included, self.alpha, self.tau = int(convention == "include"), alpha, tau
        own = weights(alpha, [p - 1 + included] * len(sizes))
        sup = weights(1 - alpha, [p * (n - 1) for n in sizes])
        self.W = [(a * included, a, b, Fraction(0)) for a, b in zip(own, sup)]
        self.w = [a[0] + (p - 1) * a[1] + p * (n - 1) * a[2] for a, n in zip(self.W, sizes)]
        self.D, self.sizes, self.views = (included, int(convention != "decouple"), 1, 1), sizes, p
        self.bits, self.one, modes = bits, 1 << bits, (ROUND_CEILING, ROUND_FLOOR)
        self.up, self.down = (Context(bits * 3 // 10 + 20, m, -99999, 99999) for m in modes)
        self.groups = [(k, i // p, 1, 1) for k, n in enumerate(sizes) for i in range(n * p)
                       ] if rows else [(k, None, n, p) for k, n in enumerate(sizes)]
        self.members, self.pairs = [n * v for *_, n, v in self.groups], []
        for g, (k, i, n, v) in enumerate(self.groups):
            kinds = [3 if c != k else 1 if rows and j == i else 2 for c, j, *_ in self.groups]
            counts = [c * (h != g) for h, c in enumerate(self.members)]
            self.pairs.append([(1, 0), (v - 1, 1), (v * (n - 1), 2), *zip(counts, kinds)])
        # Names for claims. For classes of one size n > 1 collapse to a simplex is optimal iff there
        # S >= 0 on instances and on views, up to positive factors; on class means it always is.
        self.names, (own, views, *_) = {"m": f"{len(sizes)}", "p": f"{p}"}, self.D
        self.names |= {} if len({*sizes}) > 1 else {
            "n": f"{sizes[0]}", "r": "exp(m / ((1-m) * temperature))", "D": "c + d*r",
            "c": f"{own} + {views} * (p-1) + p * (n-1)", "d": "p * n * (m-1)",
            "on_instances": "(1-alpha) / (p * (n-1)) - ((c+d) / D - 1) / d",
            "on_views": f"alpha / (p-1+{own}) + (1-alpha)/p - (((n-1+{views})*d + n*c)/D - n) / d"}

    def functional(self, quantity):
        """F of f(G) = <F, G>, by the class of i and the kind of the pair (i, j)."""
        name, _, index = quantity.partition("_of_class_")  # a variance of one class, from 0 on
        p, every, F = self.views, sum(self.sizes) * self.views, []
        chosen = [n * (index in ("", str(k))) for k, n in enumerate(self.sizes)]
        within = p * p * sum(n * (n - 1) for n in self.sizes)
        means = {"mean_squared": [Fraction(1, every**2)] * 4,
                 "within_similarity": (0, 0, Fraction(1, within or 1), 0),
                 "between_similarity": (0, 0, 0, Fraction(1, every * (every - p) - within))}
        for k, n in enumerate(self.sizes):
            a = Fraction(chosen[k], n * p * p * sum(chosen))
            F.append({"view_variance": (p * a - a, -a, 0, 0),  # 1 - mean of |instance mean|^2
                      "delta2": (a - a / n, a - a / n, -a / n, 0),  # that less |class mean|^2
                      }.get(name) or means[quantity])
        return F

def gram_of(document, place):
    """The problem on groups, and similarities over 2^bits of its pairs, to within 2^(3-bits).
    A group's mean has squared length 1 - delta2 - view. About it its instances form a simplex of
    variance delta2, and about each of them its views one of variance view, in new directions."""
    known(place, *(["rows"] if "rows" in place else ["class_means", "delta2", "view"]))
    problem = Problem(document["problem"], document["bits"], "rows" in place)
    points = [[*map(rational, x)] for x in place.get("rows", place.get("class_means"))]
    one, none, scaled, gram = problem.one, [0] * len(points), [], []
    spread, views = ([*map(rational, place.get(key, none))] for key in ("delta2", "view"))
    need(len({len(x) for x in points}) == 1, "rows differ in length")
    scale = lcm(*(e.denominator for x in points for e in x))
    for x, d, t, (_, _, n, v) in zip(points, spread, views, problem.groups, strict=True):
        x = [int(e * scale) for e in x]
        rest, norm = 1 - d - t, sum(map(mul, x, x))
        need(norm > 0 <= min(rest, d, t) and (n > 1 or d == 0) and (v > 1 or t == 0), "no such row")
        shift = problem.bits + 20 + norm.bit_length() // 2  # so that lengths err by < 2^-bits
        scaled.append(([isqrt(int(rest * 4**shift / norm)) * e for e in x], shift))
    for g, ((x, s), d, t, (_, _, n, v)) in enumerate(zip(scaled, spread, views, problem.groups)):
        view, within = 1 - t * v / max(v - 1, 1), 1 - t - d * n / max(n - 1, 1)
        row = [gram[h][3 + g] if h < g else sum(map(mul, x, y)) >> s + shift - problem.bits
               for h, (y, shift) in enumerate(scaled)]
        gram.append([one, int(view * one), int(within * one), *row])
    return problem, gram

def softmax(problem, gram):
    """Row by row, upper bounds of (how many) * exp((s-1)/tau) for the pairs in D, and their sum."""
    up, unit = problem.up, problem.one * problem.tau
    exps = {s: rounded(Context.exp, up, (s - problem.one) / unit) for s in set().union(*gram)}
    for sims, pairs in zip(gram, problem.pairs):
        row = [up.multiply(c * problem.D[kind], exps[s]) for s, (c, kind) in zip(sims, pairs)]
        yield row, reduce(up.add, row)

def upper_bound(problem, gram):
    """Of the minimum: the loss at `gram`, and what errors of 2^(3-bits) in G can change."""
    bound, unit = Fraction(0), problem.one * problem.tau
    for g, (_, total) in enumerate(softmax(problem, gram)):
        w, W = (table[problem.groups[g][0]] for table in (problem.w, problem.W))
        apart = [c * W[kind] * (problem.one - s) for s, (c, kind) in zip(gram[g], problem.pairs[g])]
        log = Fraction(rounded(Context.ln, problem.up, Fraction(total)))
        bound += problem.members[g] * (w * log + (sum(apart) + 16 * w) / unit)
    return bound

def psd_slack(matrix, bits, enlarged=1):
    """Integers r >= 0 such that matrix + Diag(r) is psd, for a symmetric matrix of integers."""
    shift = enlarged * len(matrix) * max(1, *(row[i] for i, row in enumerate(matrix))) << bits + 4
    factor, slack = [], [shift] * len(matrix)  # with k = bits
    for i, line in enumerate(matrix):
        row = []  # of R
        for j, other in enumerate(factor):
            entry, rest = divmod((line[j] << 2 * bits) - sum(map(mul, row, other)), other[j])
            row.append(entry)  # R R' misses the entries (i, j) and (j, i) by rest >= 0,
            slack[i], slack[j] = slack[i] + rest, slack[j] + rest
        pivot = (line[i] << 2 * bits) + shift - sum(map(mul, row, row))
        if pivot <= 0:
            return psd_slack(matrix, bits, 64 * enlarged)
        factor.append([*row, isqrt(pivot)])  # and the entry (i, i) by what the root leaves, >= 0
    return [-(-s >> 2 * bits) for s in slack]

def lower_bound(problem, gram, quantity="delta2", tilt: Fraction | int = 0):
    """D such that L - tilt*f >= D everywhere; `gram` and its softmax only say where to look."""
    down, one, F = problem.down, problem.one, problem.functional(quantity)
    W = [[w + tilt * problem.tau * f for w, f in zip(*row)] for row in zip(problem.W, F)]
    den = lcm(*(x.denominator for row in (*W, problem.w) for x in row))
    counts = lcm(*(c for row in problem.pairs for c, kind in row if c and problem.D[kind]))
    unit, entropy, half, matrix, needed, paid = den * counts * one, Fraction(0), [], [], [], 0
    for g, (row, total) in enumerate(softmax(problem, gram)):
        mass = [int(down.divide(down.multiply(e, one), total)) for e in row]  # of P, over 2^bits
        mass[mass.index(max(mass))] += one - sum(mass)
        k, logs, pairs = problem.groups[g][0], Decimal(0), [*zip(mass, problem.pairs[g])]
        for x, (c, _) in pairs:
            if 0 < x < c * one:  # c entries x/(c 2^bits) of P
                logs = down.fma(x, rounded(Context.ln, down, Fraction(c * one, x)), logs)
        entropy += problem.members[g] * problem.w[k] * Fraction(logs) / one
        scale, weight = int(problem.w[k] * den), [int(w * unit) for w in W[k]]
        half.append([scale * x * counts // (c or 1) - weight[kind] for x, (c, kind) in pairs])
    for g, (_, _, n, v) in enumerate(problem.groups):  # 2 S, from half = w P - W
        both = [2 * x for x in half[g][:3]] + [half[g][h] + x[3 + g] for h, x in enumerate(half, 3)]
        line = [c * x for (c, _), x in zip(problem.pairs[g], both)]
        pull = sum(map(mul, line, gram[g])) >> problem.bits
        own, view, within = both[0] - pull, *both[1:3]
        paid -= problem.members[g] * pull  # multipliers of a critical point; all are valid
        needed.append(max(0, (view - own) * (v > 1), (v * within - own - (v - 1) * view) * (n > 1)))
        line[3 + g] = sum(line[:3]) - pull
        matrix.append([problem.members[g] * x for x in line[3:]])
    for c, least, r in zip(problem.members, needed, psd_slack(matrix, problem.bits)):
        paid += c * max(least, -(-r // c))
    return entropy - Fraction(paid, 2 * unit) / problem.tau

def value(node, facts, problem):
    """The interval (low, high) of an expression of names, numbers, + - * /, exp and ln."""
    match node:
        case str():
            node = re.sub(r"(?<![\w.])\d[\d.]*(e[+-]?\d+)?", lambda x: f"({rational(x[0])})", node)
            return value(ast.parse(node.strip(), mode="eval").body, facts, problem)
        case ast.Name(name) if name in facts:
            return value(x, facts, problem) if isinstance(x := facts[name], str) else x
        case ast.Constant(int() as number):
            return (Fraction(number),) * 2
        case ast.Call(ast.Name("exp" | "ln" as name), [inner]):
            ends = zip((problem.down, problem.up), value(inner, facts, problem))
            return tuple(Fraction(rounded(getattr(Context, name), *end)) for end in ends)
        case ast.UnaryOp(ast.USub(), inner):
            return value(ast.BinOp(ast.Constant(0), ast.Sub(), inner), facts, problem)
        case ast.BinOp(left, operator, right) if type(operator) in ARITHMETIC:
            a, b = value(left, facts, problem), value(right, facts, problem)
            need(not isinstance(operator, ast.Div) or b[0] * b[1] > 0, "division by zero")
            ends = [ARITHMETIC[type(operator)](x, y) for x in a for y in b]
            return min(ends), max(ends)
    raise ValueError(f"cannot read {ast.unparse(node)}")

def holds(comparison, facts, problem):
    """True if "a <= b" (or <, >, >=) is true of all numbers in the intervals, False if of none."""
    left, op, right = re.split("([<>]=?)", comparison)
    a, b = (value(x, facts, problem) for x in ((left, right) if "<" in op else (right, left)))
    return True if a[1] < b[0] or ("=" in op and a[1] == b[0]) else False if a[0] > b[1] else None

def decide(claim, facts, problem):
    """Whether "then" follows from "if", lists of comparisons; None if that is not known."""
    given, then = ([holds(x, facts, problem) for x in claim[key]] for key in ("if", "then"))
    return True if False in given or all(then) else False if all(given) and False in then else None

def check_box(document):
    """A claim all over a box of alpha and temperature. The string "tree" says how the box is cut:
    "a" and "t" halve that side, lower half first; "." is a part where intervals decide."""
    known(document, "problem", "bits", "box", "tree", "sentence", "if", "then")
    box, stated = document["box"], document["problem"]
    first, last = (Problem(stated | {key: box[key][end] for key in STATED[-2:]}, document["bits"])
                   for end in (0, 1))  # both ends are admissible
    need(first.alpha <= last.alpha and first.tau <= last.tau, "the box is empty")
    boxes = [((first.alpha, last.alpha), (first.tau, last.tau))]
    for step in document["tree"]:
        (a, b), (c, d) = part = boxes.pop()
        if step == "a":
            boxes += [(((a + b) / 2, b), (c, d)), ((a, (a + b) / 2), (c, d))]
        elif step == "t":
            boxes += [((a, b), ((c + d) / 2, d)), ((a, b), (c, (c + d) / 2))]
        else:
            cell = first.names | {"alpha": (a, b), "temperature": (c, d)}
            need(step == "." and decide(document, cell, first), f"not decided on {part}")
    return [(not boxes, f"on {box}: " + "{sentence!r}: {if} => {then}".format(**document))]

def check_optimum(document):
    """Every claim about the optima of one problem: whether it is proven, and its words."""
    known(document, "problem", "bits", "optimum", "tilts", "claims")
    problem, gram = gram_of(document, document["optimum"])
    upper, lower = upper_bound(problem, gram), lower_bound(problem, gram)
    facts = {"alpha": (problem.alpha,) * 2, "temperature": (problem.tau,) * 2,
             "minimum": (lower, upper), "gap": (Fraction(0), upper - lower),
             "delta2": (0, 1), "view_variance": (0, int(problem.views > 1))} | problem.names
    for tilt in document["tilts"]:
        known(tilt, "of", "by", "at")
        name, t = tilt["of"], rational(tilt["by"])
        bound = (upper - lower_bound(*gram_of(document, tilt["at"]), name, t)) / t
        low, high = facts.get(name, (-1, 1))
        facts[name] = (low, min(high, bound)) if t > 0 else (max(low, bound), high)
    lines = [(True, f"minimum {float(lower)!r}, gap {float(upper - lower):.3g}")]
    for claim in document["claims"]:
        if isinstance(claim, str):
            claim = {"sentence": claim, "if": [], "then": PHASES.get(claim, [claim]), "holds": True}
        known(claim, "sentence", "if", "then", "holds")
        wanted = claim["holds"] is True
        words = "REFUTED: " * (not wanted) + "{sentence!r}: {if} => {then}".format(**claim)
        lines.append((decide(claim, facts, problem) is wanted, words))
    return lines

def check(path):
    """Whether all that a file claims is proven, and what to print about it."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file, parse_float=str, parse_constant=str)
        lines = (check_box if "box" in document else check_optimum)(document)
    except Exception as error:  # whatever is wrong with a file, it proves nothing
        return False, f"REFUSED {path}: {type(error).__name__}: {error}"
    good = all(ok for ok, _ in lines)
    head = f"{'PROVEN' if good else 'NOT PROVEN'} {path}: {json.dumps(document['problem'])}"
    return good, "\n    ".join([head, *("NOT PROVEN: " * (not ok) + text for ok, text in lines)])

def main(paths):
    """Check files and print what is proven; 0 if that is every claim of every file."""
    proven = 0
    for good, text in map(check, paths):
        proven += good
        print(text)
    print(f"{proven} of {len(paths)} files are proven")
    return 0 if paths and proven == len(paths) else 1

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) if sys.argv[1:] else __doc__)
