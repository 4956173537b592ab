#!/usr/bin/env python3
"""Check certificates of supervised contrastive optima:  python check.py FILE_OR_FOLDER...

This program needs nothing but Python and trusts nothing but the problem as a file states it. It is
short so that it can be read. Whatever else is wrong in a file, a claim is then not proven.

THE LOSS. Over Gram matrices G (positive semidefinite, "psd", of unit diagonal),
    L(G) = sum_i w_i log sum_{j in D_i} exp(G_ij/tau) - <W, G>/tau,     w_i = sum_j W_ij.
`Problem` writes out W >= 0 and D_i: a share 1-alpha of W lies on pairs of one class and different
instances, a share alpha on pairs of one instance.

LOWER BOUND. For every row-stochastic P that lives on D, log sum_j exp(x_j) >= <P_i, x> + H(P_i) with
the entropy H (Gibbs). So, for any multipliers l that make S = sym(w P - W)/tau + Diag(l) psd,
    L(G) >= sum_i w_i H(P_i) + <sym(w P - W), G>/tau >= sum_i w_i H(P_i) - sum_i l_i,
as <S, G> >= 0 and G_ii = 1. P is rounded to integers over 2^bits whose rows sum exactly; a multiple
of S is then a matrix of integers. It is psd by the exact identity 4^k S + shift = R R' + E: the
shift and the absolute values of the remainders E are paid for on the diagonal, that is, in l.

TILT. Let f be a linear function of G, such as the variance delta2 of instances about their class
mean, and t > 0. The same bound for L - t f, which only changes W, is a number D with L - t f >= D
everywhere. Hence f <= (U - D)/t wherever L <= U: at every optimum, if U bounds the minimum above.

UPPER BOUND. The loss of the rows of the file, normalised; or of a Gram matrix that is constant on
blocks. Everything is computed on groups of rows that are treated alike: a class (n instances of v
views each) or a single row (n = v = 1).

ROUNDING. Integers and fractions are exact. Decimals are rounded up in upper bounds and down in
lower ones; `exp` and `ln` of the decimal module round correctly to nearest, and are then moved on
by one unit in the last place. What Python does with integers, fractions and decimals is trusted.
"""
import ast
import json
import os
import re
import sys
from decimal import MAX_EMAX, MIN_EMIN, ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from functools import reduce
from math import isqrt, lcm
from multiprocessing import Pool
from operator import add, mul, sub, truediv

PHASES = {"collapse": ["delta2 <= 1e-6", "view_variance <= 1e-6"],
          "spread": ["delta2 > 1e-6", "view_variance <= 1e-6"],
          "view_spread": ["delta2 <= 1e-6", "view_variance > 1e-6"]}
ARITHMETIC = {ast.Add: add, ast.Sub: sub, ast.Mult: mul, ast.Div: truediv}

def need(condition, message):
    if not condition:
        raise ValueError(message)

def known(data, required, optional=()):
    """The object, if it has the required keys and no unknown one: a typo is no default."""
    need(isinstance(data, dict) and set(required) <= set(data) <= {*required, *optional},
         f"expected an object of {list(required)} and perhaps {list(optional)}, got {data!r:.200}")
    return data

def rational(x):
    """An integer, a decimal, a quotient "1/3" or a hexadecimal float "0x1.8p-1", exactly."""
    need(type(x) in (int, str, Fraction), f"expected a number, got {x!r:.80}")
    if isinstance(x, str):  # 1e999999999 is one, too, and would not end
        need(len(x) < 5000 and not re.search(r"[eEpP][+-]?\d{5}", x), f"a number too long: {x:.80}")
    return Fraction(float.fromhex(x)) if isinstance(x, str) and "x" in x else Fraction(x)

def integers(row):
    """Numbers as integers, up to a common positive factor."""
    exact = [rational(x) for x in row]
    scale = lcm(*(x.denominator for x in exact))
    return [int(x * scale) for x in exact]

def contexts(bits):
    """Decimals of so many bits that are rounded up, and down."""
    need(type(bits) is int and 32 <= bits <= 4096, f"bits must be from 32 to 4096, got {bits!r:.80}")
    return [Context(bits * 3 // 10 + 20, mode, MIN_EMIN, MAX_EMAX) for mode in (ROUND_CEILING, ROUND_FLOOR)]

def rounded(context, x):
    return context.divide(Decimal(x.numerator), Decimal(x.denominator))

class Problem:
    """The stated loss on groups of rows. A row has four kinds of pairs: 0 with itself, 1 with other
    views of its instance, 2 with other instances of its class, 3 with other classes. W[k][kind] is
    the weight of a pair whose anchor is of class k, over the denominator `den`. pairs[g] lists the
    pairs of a row of group g, inside it and then with every group: (how many, kind, if in D)."""

    def __init__(self, stated, single_rows, bits):
        known(stated, ["loss", "sizes", "views", "self_pairs", "mean", "alpha", "temperature"], ["class_weights"])
        convention, mean, p = stated["self_pairs"], stated["mean"], stated["views"]
        self.sizes, self.views, m = stated["sizes"], p, len(stated["sizes"])
        need(all(type(n) is int and n > 0 for n in (*self.sizes, p)), "sizes and views are integers above 0")
        need(stated["loss"] == "SupCL" and m > 1, "only SupCL of two classes or more is known")
        need(convention in ("include", "exclude", "decouple"), f"unknown self_pairs {convention!r:.80}")
        need(mean in ("pairs", "anchors"), f"unknown mean {mean!r:.80}")
        self.alpha, self.tau = rational(stated["alpha"]), rational(stated["temperature"])
        of_class = [rational(w) for w in stated.get("class_weights", [1] * m)]
        need(0 <= self.alpha <= 1 and self.tau > 0, "alpha must lie in [0, 1], temperature above 0")
        need(len(of_class) == m and min(of_class) >= 0, "class_weights: one a class, none negative")
        self.bits, self.one, self.points = bits, 1 << bits, sum(self.sizes) * p
        self.up, self.down = contexts(bits)

        def weights(share, positives):
            """Of each positive pair, by the class of its anchor, which has so many of them."""
            each = [w / (c if mean == "anchors" else 1) if c else Fraction(0) for w, c in zip(of_class, positives)]
            total = sum(n * p * c * w for n, c, w in zip(self.sizes, positives, each))
            need(share == 0 or total > 0, "a term of the loss has no positive pair")
            return [share * w / total if share else Fraction(0) for w in each]

        included, decoupled = convention == "include", convention == "decouple"
        own = weights(self.alpha, [p - (not included)] * m)
        sup = weights(1 - self.alpha, [p * (n - 1) for n in self.sizes])
        self.den = lcm(*(w.denominator for w in own + sup))
        self.W = [[int(w * self.den) for w in (a * included, a, b, 0)] for a, b in zip(own, sup)]
        self.ids = [(k, i) for k, n in enumerate(self.sizes) for i in range(n) for _ in range(p)]
        if not single_rows:
            self.ids = [(k, None) for k in range(m)]
        self.shape = [(1, 1) if single_rows else (self.sizes[k], p) for k, _ in self.ids]
        self.members, self.pairs = [n * v for n, v in self.shape], []
        for g, ((k, i), (n, v)) in enumerate(zip(self.ids, self.shape)):
            row = [(1, 0, included), (v - 1, 1, not decoupled), (v * (n - 1), 2, True)]
            for h, (other, j) in enumerate(self.ids):
                kind = 3 if other != k else 1 if single_rows and i == j else 2
                row.append((self.members[h] * (g != h), kind, kind > 1 or not decoupled))
            self.pairs.append(row)
        self.w = [sum(c * self.W[k][kind] for c, kind, _ in row) for (k, _), row in zip(self.ids, self.pairs)]

    def functional(self, quantity):
        """f(G) = constant + sum of F G over pairs i != j: the constant, and F by class of i and kind."""
        name, _, index = str(quantity).partition(":")  # "delta2:1" is the variance within class 1
        chosen = [k for k in range(len(self.sizes)) if index in ("", str(k))]
        need(chosen and (not index or name in ("delta2", "view_variance")), f"no such class: {quantity!r:.80}")
        rows, every, p = self.views * sum(self.sizes[k] for k in chosen), self.points, self.views
        within, constant, F = p * p * sum(n * (n - 1) for n in self.sizes), Fraction(0), []
        for k, n in enumerate(self.sizes):
            one = Fraction(k in chosen, rows * p)
            F.append({"view_variance": (0, -one, 0, 0),  # 1 - mean of |instance mean|^2
                      "delta2": (0, one - one / n, -one / n, 0),  # |instance mean|^2 - |class mean|^2
                      "mean_squared": (0, *(Fraction(1, every**2),) * 3),
                      "within_similarity": (0, 0, Fraction(1, within or 1), 0),
                      "between_similarity": (0, 0, 0, Fraction(1, every**2 - every * p - within))}[name])
            if name == "delta2":
                constant += n * p * F[k][1]
        return {"view_variance": 1 - Fraction(1, p), "mean_squared": Fraction(1, every)}.get(name, constant), F

def gram_of(data, problem):
    """Similarities over 2^bits of all pairs that `Problem` lists; each errs by less than 2^(3-bits).

    The mean of a group has squared length 1 - delta2 - view. About it its instances form a simplex
    of variance delta2, and the views of each one of variance `view`, in directions of their own."""
    key = "rows" if "rows" in data else "class_means"
    known(data, [key], ["delta2", "view"] * (key == "class_means"))
    zeros, one = [0] * len(problem.ids), problem.one
    points = [integers(row) for row in data[key]]
    spread, views = ([rational(x) for x in data.get(name, zeros)] for name in ("delta2", "view"))
    need(len(points) == len(spread) == len(views) == len(zeros), "one entry for each group, please")
    need(len({len(x) for x in points}) == 1, "rows differ in length")
    scaled, shifts, rows = [], [], []
    for x, d, t, (n, v) in zip(points, spread, views, problem.shape):
        rest, norm = 1 - d - t, sum(map(mul, x, x))
        need(min(rest, d, t) >= 0 and (n > 1 or d == 0) and (v > 1 or t == 0), "impossible variances")
        need(norm > 0, "a row is zero")
        shifts.append(problem.bits + 20 + norm.bit_length() // 2)
        factor = isqrt((rest.numerator << 2 * shifts[-1]) // (rest.denominator * norm))
        need(factor >= one or rest == 0, "a mean is too short")  # so its length errs by < 2^-bits
        scaled.append([factor * e for e in x])
    for g, (x, d, t, (n, v)) in enumerate(zip(scaled, spread, views, problem.shape)):
        alike = 1 - t * v / max(v - 1, 1), 1 - t - d * n / max(n - 1, 1)
        row = [one, *(s.numerator * one // s.denominator for s in alike)]
        row += [rows[h][3 + g] if h < g else sum(map(mul, x, y)) >> shifts[g] + shifts[h] - problem.bits
                for h, y in enumerate(scaled)]
        rows.append(row)
    return rows

def softmax(problem, gram):
    """Upper bounds of (how many) * exp((s-1)/tau) for all pairs in D, row by row, and their sums."""
    up, unit = problem.up, problem.one * problem.tau
    seen = {s: up.next_plus(up.exp(rounded(up, (s - problem.one) / unit))) for row in gram for s in row}
    rows = [[up.multiply(c, seen[s]) if c and used else Decimal(0) for s, (c, _, used) in zip(*pair)]
            for pair in zip(gram, problem.pairs)]
    return [(row, reduce(up.add, row)) for row in rows]

def upper_bound(problem, gram):
    """Of the minimum: the loss at `gram`, and what errors of 2^(3-bits) in G can change."""
    up, pull, logs = problem.up, 0, Decimal(0)
    for g, ((k, _), (_, total)) in enumerate(zip(problem.ids, softmax(problem, gram))):
        pull += problem.members[g] * sum(
            c * problem.W[k][kind] * (problem.one - s) for s, (c, kind, _) in zip(gram[g], problem.pairs[g]))
        logs = up.fma(problem.members[g] * problem.w[g], up.next_plus(up.ln(total)), logs)
    slope = Fraction(2 * sum(map(mul, problem.w, problem.members)), problem.den)  # times 1/tau
    rest = (Fraction(pull, problem.den) + 8 * slope) / (problem.one * problem.tau)
    return Fraction(up.divide(logs, Decimal(problem.den))) + rest

def psd_slack(matrix, bits):
    """Integers r >= 0 such that matrix + Diag(r) is psd, for a symmetric matrix of integers."""
    top = max(1, *(row[i] for i, row in enumerate(matrix)))
    k = max(0, bits + 8 - top.bit_length() // 2)
    shift = (top * len(matrix) << 2 * k) >> bits - 4
    while True:  # R row by row; if a pivot is not positive, again with a larger shift
        factor, slack = [], [shift] * len(matrix)
        for i, line in enumerate(matrix):
            row = []
            for j, other in enumerate(factor):
                quotient, rest = divmod((line[j] << 2 * k) - sum(map(mul, row, other)), other[j])
                row.append(quotient)
                slack[i] += rest  # R R' misses the entries (i, j) and (j, i) by rest >= 0
                slack[j] += rest
            pivot = (line[i] << 2 * k) + shift - sum(map(mul, row, row))
            if pivot <= 0:
                break
            row.append(isqrt(pivot))
            slack[i] += pivot - row[i] * row[i]
            factor.append(row)
        else:
            return [-(-s >> 2 * k) for s in slack]
        shift <<= 6

def lower_bound(problem, gram, quantity=None, tilt=Fraction(0)):
    """D such that L - tilt*f >= D everywhere; `gram` and its softmax only say where to look."""
    down, one = problem.down, problem.one
    constant, F = problem.functional(quantity) if quantity else (0, [(0, 0, 0, 0)] * len(problem.sizes))
    F = [[tilt * problem.tau * x for x in row] for row in F]
    den = lcm(problem.den, *(x.denominator for row in F for x in row))
    counts = lcm(*(c for row in problem.pairs for c, _, used in row if c and used))
    W = [[(w * (den // problem.den) + int(x * den)) * counts * one for w, x in zip(*rows)]
         for rows in zip(problem.W, F)]
    entropy, half, matrix, needed, paid = Decimal(0), [], [], [], 0
    for g, (row, total) in enumerate(softmax(problem, gram)):
        mass = [int(down.divide(down.multiply(e, one), total)) for e in row]  # of P, over 2^bits
        mass[mass.index(max(mass))] += one - sum(mass)
        need(min(mass) >= 0, "a softmax could not be rounded")
        for x, (c, _, _) in zip(mass, problem.pairs[g]):
            if x:  # c entries x/(c 2^bits) of P, each of them x/c * log(c 2^bits/x) of entropy
                log = down.next_minus(down.ln(down.divide(Decimal(c * one), Decimal(x))))
                entropy = down.fma(problem.members[g] * problem.w[g] * x, log, entropy)
        scale = problem.w[g] * (den // problem.den)  # half = w P - W - tilt*tau*F
        half.append([(scale * x * (counts // c) if x else 0) - W[problem.ids[g][0]][kind]
                     for x, (c, kind, _) in zip(mass, problem.pairs[g])])
    for g, (n, v) in enumerate(problem.shape):  # 2 S: views and instances apart, then the means
        own, view, within = (2 * x for x in half[g][:3])
        line = [(half[g][3 + h] + other[3 + g]) * problem.members[h] * (h != g) for h, other in enumerate(half)]
        pull = own * one + (v - 1) * view * gram[g][1] + v * (n - 1) * within * gram[g][2]
        pull = pull + sum(map(mul, line, gram[g][3:])) >> problem.bits
        own -= pull  # the multiplier of a critical point; any other would be valid, too
        paid -= problem.members[g] * pull
        needed.append(max(0, (view - own) * (v > 1), (v * within - own - (v - 1) * view) * (n > 1)))
        line[g] = own + (v - 1) * view + v * (n - 1) * within
        matrix.append([problem.members[g] * x for x in line])
    for members, least, r in zip(problem.members, needed, psd_slack(matrix, problem.bits)):
        paid += members * max(least, -(-r // members))
    paid = Fraction(paid, 2 * den * counts * one) / problem.tau + tilt * constant
    return Fraction(down.divide(entropy, Decimal(problem.den * one))) - paid

def evaluate(node, names, up, down):
    """The interval (low, high) of an expression; whether a comparison holds, or None if unknown."""
    def of(part):
        return evaluate(part, names, up, down)

    match node:
        case str():
            return of(ast.parse(node, mode="eval").body)
        case ast.Constant(int() | float() as value):
            return (Fraction(str(value)),) * 2
        case ast.Name(name) if name in names:
            return of(names[name]) if isinstance(names[name], str) else names[name]
        case ast.Call(ast.Name("exp" | "log" as name), [inner]):
            function = Context.exp if name == "exp" else Context.ln
            low, high = (rounded(*pair) for pair in zip((down, up), of(inner)))
            return Fraction(down.next_minus(function(down, low))), Fraction(up.next_plus(function(up, high)))
        case ast.BinOp(left, operator, right) if type(operator) in ARITHMETIC:
            a, b = of(left), of(right)
            need(not isinstance(operator, ast.Div) or b[0] > 0 or b[1] < 0, "division by zero")
            ends = [ARITHMETIC[type(operator)](x, y) for x in a for y in b]
            return min(ends), max(ends)
        case ast.Compare(left, [ast.Lt() | ast.LtE() | ast.Gt() | ast.GtE() as sign], [right]):
            a, b = (of(left), of(right)) if isinstance(sign, ast.Lt | ast.LtE) else (of(right), of(left))
            if isinstance(sign, ast.Lt | ast.Gt):  # now it is a < b, else a <= b
                return True if a[1] < b[0] else False if a[0] >= b[1] else None
            return True if a[1] <= b[0] else False if a[0] > b[1] else None
    raise ValueError(f"cannot read {ast.unparse(node)}")

def decide(sentence, names, problem):
    """Whether "then" follows from "if", lists of comparisons; None if that is not known."""
    given, follows = ([evaluate(text, names, problem.up, problem.down) for text in sentence[key]]
                      for key in ("if", "then"))
    return True if False in given or all(follows) else False if all(given) and False in follows else None

def constants(problem):
    """What a sentence may name of a problem; n where classes are of one size."""
    names = {"m": len(problem.sizes), "p": problem.views, "N": problem.points}
    names |= {"n": problem.sizes[0]} if len(set(problem.sizes)) == 1 else {}
    return {name: (Fraction(value),) * 2 for name, value in names.items()}

def at_collapse(problem):
    """r = exp(-m/((m-1) tau)), and eigenvalues of S (times tau and positive numbers) at the simplex of
    collapsed classes, which is optimal iff none is negative; with D the denominator over exp(1/tau)."""
    m, n, p = len(problem.sizes), problem.sizes[0], problem.views
    need(set(problem.sizes) == {n} and n > 1, "boxes are for classes of one size, above 1")
    (_, _, included), (_, _, views), *_ = problem.pairs[0]
    view = f"alpha/{p - (not included)} + (1-alpha)/{p} - ({n - 1 + views} - {n}*r)/D" if p > 1 else "0"
    return {"r": f"exp(0-{m}/({m - 1}*temperature))", "view_eigenvalue": view,
            "D": f"{included + (p - 1) * views + p * (n - 1)} + {p * n * (m - 1)}*r",
            "instance_eigenvalue": f"(1-alpha)/{p * (n - 1)} - (1-r)/D"}

def check_box(document, problem, names):
    """Whether a sentence holds all over a box of alpha and temperature. The string `tree` says how it
    is cut: "a" and "t" halve a side, lower half first, and "." is a part where intervals decide."""
    names = names | at_collapse(problem)
    boxes = [[tuple(map(rational, document["box"][side])) for side in ("alpha", "temperature")]]
    for step in document["tree"]:
        need(boxes and step in "at.", f"the tree has a step {step!r:.80} too many")
        box = boxes.pop()
        if step == ".":
            cell = names | dict(zip(("alpha", "temperature"), box))
            need(decide(document, cell, problem) is True, f"not decided on {box}")
        else:
            low, high = box["at".index(step)]
            for half in (((low + high) / 2, high), (low, (low + high) / 2)):
                boxes.append([half, box[1]] if step == "a" else [box[0], half])
    need(not boxes, "the tree ends too early")
    return [(True, f"all over the box: {document['sentence']}")]

def check_optimum(document, problem, names):
    """Every claim about the optima of one problem: whether it is proven, and what is."""
    gram = gram_of(document["optimum"], problem)
    upper, lower = upper_bound(problem, gram), lower_bound(problem, gram)
    cell = names | {"alpha": (problem.alpha,) * 2, "temperature": (problem.tau,) * 2, "delta2": (0, 1),
                    "view_variance": (0, int(problem.views > 1)), "minimum": (lower, upper), "gap": (0, upper - lower)}
    lines = [(True, f"minimum in [{float(lower)!r}, {float(upper)!r}], gap {float(upper - lower):.2e}")]
    for claim in document["claims"]:
        if "phase" in claim:
            then = PHASES[known(claim, ["phase"])["phase"]]
            holds = decide({"if": [], "then": then}, cell, problem) is True
            lines.append((holds, f"phase {claim['phase']}"))
        elif "sentence" in claim:
            known(claim, ["sentence", "if", "then", "refuted"])
            holds = decide(claim, cell, problem) is (claim["refuted"] is False)
            lines.append((holds, f"{'REFUTED' if claim['refuted'] else 'true here'}: {claim['sentence']}"))
        else:
            known(claim, ["quantity"], ["at_most", "at_least", "tilt", "at"])
            name, below = claim["quantity"], "at_most" in claim
            low, high = cell[name] if name in cell else (-1, 1)
            if "tilt" in claim:
                tilt = rational(claim["tilt"])
                need(tilt > 0 and name not in ("minimum", "gap"), "a tilt is positive, of a linear function")
                place, tilt = Problem(document["problem"], "rows" in claim["at"], problem.bits), tilt * (2 * below - 1)
                value = (upper - lower_bound(place, gram_of(claim["at"], place), name, tilt)) / tilt
                low, high = cell[name] = (low, min(high, value)) if below else (max(low, value), high)
            bound = rational(claim["at_most" if below else "at_least"])
            lines.append((high <= bound if below else low >= bound,
                          f"{name} {f'<= {float(high):.12g}' if below else f'>= {float(low):.12g}'}"))
    return lines

def check(path):
    """Whether every claim of a file is proven, and what to print about it."""
    def once(items):
        need(len(dict(items)) == len(items), "an object names a key twice")
        return dict(items)

    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file, parse_float=rational, parse_constant=rational, object_pairs_hook=once)
        stated, box = document["problem"], "box" in document
        known(document, ["problem", "bits", *(("box", "tree", "sentence", "if", "then") if box else ("optimum", "claims"))])
        if box:  # problems of every alpha and temperature in a box
            ends = {side: max(map(rational, document["box"][side])) for side in ("alpha", "temperature")}
            need(min(map(rational, (*document["box"]["alpha"], 0))) >= 0, "alpha must lie in [0, 1]")
        problem = Problem(stated | ends if box else stated, not box and "rows" in document["optimum"], document["bits"])
        lines = (check_box if box else check_optimum)(document, problem, constants(problem))
    except Exception as error:  # whatever is wrong with a file, it proves nothing
        return False, f"REFUSED {path}: {type(error).__name__}: {error}"
    good = all(holds for holds, _ in lines)
    return good, "\n".join([f"{'PROVEN' if good else 'NOT PROVEN'} {path}: {json.dumps(stated, default=str)}",
                            *(f"    {'' if holds else 'NOT PROVEN: '}{text}" for holds, text in lines)])

def main(arguments):
    """Check files, and all files of folders, on all cores; 0 if every claim of every file is proven."""
    paths = [os.path.join(a, name) for a in arguments for name in (sorted(os.listdir(a)) if os.path.isdir(a) else [""])]
    paths = [path.removesuffix(os.sep) for path in paths]
    with Pool() as pool:
        proven = 0
        for good, text in pool.imap(check, paths):
            proven += good
            print(text)
    print(f"{proven} of {len(paths)} files are proven")
    return 0 if paths and proven == len(paths) else 1

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) if sys.argv[1:] else __doc__)
