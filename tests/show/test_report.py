"""The proof report: every claim with its verdict and picture, and nothing loaded from outside."""

import dataclasses
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import ssem_jax as sx
from ssem_jax import claims, theory
from ssem_jax.balls import prove_on_box
from ssem_jax.claims import Claim, Domain, Plane, Proof, Theorem, Verdict, equal
from ssem_jax.show import report
from ssem_jax.sweeps import Grid

DOMAIN = Domain(
    (
        Grid(
            tuple(map(sx.ClassStructure, ((2, 2), (3, 3)))),
            ("full",),
            (0.0, 0.3, 0.6, 1.0),
            (0.2, 0.5, 1.0),
        ),
    )
)
AWKWARD = 'δ² < 2 & "so on" <script>alert(1)</script>'

CLAIMS = [
    Claim(
        "equality",
        AWKWARD,
        lambda cell: equal(cell.delta2, cell.predict(theory.delta2)),
        DOMAIN,
        source="somebody (arXiv:2503.08203)",
        expected=Verdict.HOLDS,
    ),
    Claim("always_collapsed", "δ² = 0.", lambda cell: 1e-6 - cell.delta2, DOMAIN),
    Claim(
        "rises",
        "δ² rises with α.",
        lambda a, b: b.delta2 - a.delta2 + 1e-3,
        DOMAIN,
        along="alpha",
    ),
    Claim(
        "fixed_alpha",
        "At α = 1, δ² is known.",
        lambda cell: equal(cell.delta2, cell.predict(theory.delta2)),
        DOMAIN,
        where=lambda cell: cell.alpha == 1,
    ),
    Claim("nowhere", "About no cell.", lambda c: c.delta2, DOMAIN, where=lambda c: c.alpha > 2),
]


def _box():
    proof = prove_on_box(
        lambda point: point["alpha"] + point["temperature"],
        {"temperature": (0.2, 2.0), "alpha": (0.0, 1.0)},
    )
    return Proof.of_boxes("a band", collapse=proof, spread=proof)


THEOREMS = [
    Theorem("boxes", "For all (τ, α).", _box, plane=Plane(3, 4, band=0.01)),
    Theorem("widths", "Enclosed.", lambda: Proof(True, enclosures=2, widths=(1e-74, 0.0))),
    Theorem("gaps", "Cells.", lambda: Proof(True, cells=2, gaps=(1e-12, 0.0))),
    Theorem("bare", "Cases.", lambda: Proof(True, signs=2, rigorous=True)),
    Theorem(
        "corner",
        "Safe.",
        lambda: Proof(False, {"alpha": "1/2"}, enclosures=1, rigorous=True),
        expected=Verdict.REFUTED,
        plane=Plane(2, 2, point=(1 / np.log(2), 0.5)),
    ),
]
DRAWN = {
    "equality",
    "always_collapsed",
    "rises",
    "fixed_alpha",
    "boxes",
    "widths",
    "gaps",
    "corner",
}
VOID = {"meta", "br", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """Checks that tags nest, and collects articles, ids and references."""

    def __init__(self):
        super().__init__()
        self.open, self.articles, self.ids, self.loaded = [], {}, [], []
        self.current = None

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        if tag == "article":
            self.current = self.articles[attrs["id"]] = {"text": "", "svg": 0, "labels": []}
        if tag == "svg" and self.current is not None:
            self.current["svg"] += 1
            self.current["labels"].append(attrs.get("aria-label"))
        if tag in ("script", "link", "iframe", "object", "embed"):
            self.loaded.append(tag)
        for name, value in attrs.items():
            inside = (value or "").startswith(("#", "data:"))
            if name in ("src", "srcset", "xlink:href") and not inside:
                self.loaded.append(value)
            if name == "href" and tag != "a" and not inside:
                self.loaded.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "article":
            self.current = None

    def handle_data(self, data):
        if self.current is not None:
            self.current["text"] += data


@pytest.fixture(scope="module")
def judged():
    return claims.verify(CLAIMS, theorems=THEOREMS, seed=7)


@pytest.fixture(scope="module")
def written(judged, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    path = report.write(judged, folder)
    text = path.read_text(encoding="utf-8")
    parsed = Page()
    parsed.feed(text)
    parsed.close()
    return folder, text, parsed


def test_well_formed_with_unique_ids(written):
    _, _, parsed = written
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))


def test_references_inside_pictures_resolve(written):
    _, text, parsed = written
    for target in re.findall(r'(?:href="#|url\(#)([^")]+)', text):
        assert target in parsed.ids, target


def test_every_claim_with_statement_verdict_and_one_picture(judged, written):
    _, _, parsed = written
    assert list(parsed.articles) == [judgement.claim.name for judgement in judged.judgements]
    for judgement in judged.judgements:
        article = parsed.articles[judgement.claim.name]
        assert judgement.claim.statement in article["text"]
        assert str(judgement.verdict) in article["text"]
        assert article["svg"] == (judgement.claim.name in DRAWN)
        assert all(judgement.claim.name in label for label in article["labels"])


def test_nothing_is_loaded_from_outside(written):
    _, text, parsed = written
    assert parsed.loaded == []
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    # What remains of the web are links that a reader may follow.
    addresses = re.findall(r"https?://[^\"' <]+", text)
    assert set(addresses) == {"https://arxiv.org/abs/2503.08203"}


def test_refuted_claims_show_their_counterexample(judged, written):
    refuted = {j.claim.name: j for j in judged.judgements if j.verdict is Verdict.REFUTED}
    assert set(refuted) == {"always_collapsed", "corner"}
    text = written[2].articles["always_collapsed"]["text"]
    row = refuted["always_collapsed"].counterexample
    assert "Smallest counterexample" in text
    assert f"{row['value']:.12g}" in text
    assert f"in [{row['delta2_lo']:.4g}, {row['delta2_hi']:.4g}]" in text
    assert "1/2" in written[2].articles["corner"]["text"]


def test_special_characters_are_escaped(written):
    assert "<script" not in written[1]
    assert AWKWARD in written[2].articles["equality"]["text"]


def test_an_unexpected_verdict_is_said_at_the_top(judged, written):
    assert "Not as theory says" in written[1]  # `nowhere` is a conjecture left undecided
    expected = [j for j in judged.judgements if j.as_expected]
    assert "Every verdict is" in report.page(dataclasses.replace(judged, judgements=expected))


def test_the_document_is_that_of_the_report(judged, written):
    document = json.loads((written[0] / "report.json").read_text(encoding="utf-8"))
    assert document == judged.to_json()
    assert document["seed"] == 7


def test_outcomes_agree_with_the_judgements(judged):
    for judgement in judged.judgements[:4]:
        table = claims.outcomes(judgement.claim, judgement.evidence)
        counted = table.filter(~table["outcome"].is_in(["excluded", "outside"]))
        assert len(counted) == judgement.cells
        refuted = (table["outcome"] == "refuted").any()
        assert refuted == (judgement.verdict is Verdict.REFUTED)
        if judgement.claim.along is None:
            assert len(table) == len(judgement.evidence)


def test_only_equalities_predict(judged):
    table = judged.judgements[0].evidence
    assert claims.predict(CLAIMS[0], table).shape == (len(table),)
    with pytest.raises(ValueError, match="always_collapsed predicts no number"):
        claims.predict(CLAIMS[1], table)


def test_subscripts_and_exponents():
    assert report._formula("α_c < e^{t+b}") == "α<sub>c</sub> &lt; e<sup>t+b</sup>"
    assert report._formula("self_pairs") == "self_pairs"
