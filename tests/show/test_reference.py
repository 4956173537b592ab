"""The reference: every public name stands in it, with an example, and every example runs."""

import doctest
import html.parser
import re
import sys

import pytest

from ssem_jax.cli import main
from ssem_jax.show import reference

pytest.importorskip("docutils")

ROOMS = {room.name: room for room in reference.rooms()}
QUICK = {"geometry", "compute", "theory", "balls", "training"}
"""Sessions without a solver, of a second or two each; the others compile its kernels first."""
SESSIONS = [room if room in QUICK else pytest.param(room, marks=pytest.mark.slow) for room in ROOMS]


@pytest.mark.parametrize("room", SESSIONS)
def test_examples_answer_what_they_say(room, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSEM_CACHE", "off")
    session = ROOMS[room].session
    test = doctest.DocTestParser().get_doctest(session, {"__name__": room}, room, None, 0)
    told = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.append)
    assert not told, "".join(told)


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_has_an_example(room):
    assert set(ROOMS[room].names) - set(ROOMS[room].examples) == set()


class Links(html.parser.HTMLParser):
    """Ids, links and sources of a page."""

    def __init__(self, page):
        super().__init__()
        self.ids, self.links, self.loaded = set(), set(), set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids.add(found.get("id"))
        if tag == "a" and "href" in found:
            self.links.add(found["href"])
        self.loaded |= {found["src"]} if "src" in found else set()
        self.loaded |= {found["href"]} if tag == "link" else set()


@pytest.fixture(scope="module")
def written():
    """Two rooms and the index; a warning of docutils raises."""
    return reference.pages(("theory", "problem"))


def test_pages_hold_names_formulas_and_examples(written):
    page = written["theory.html"]
    names = ROOMS["theory"].names
    assert len(names) > 40
    ids = Links(page).ids
    for name in names:
        assert re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") in ids, name
    assert "<math" in page
    assert "alpha_c_limit(" in page
    assert "&gt;&gt;&gt; " in page
    assert ":math:" not in page
    assert len(re.findall("<h2>", written["problem.html"])) == len(ROOMS["problem"].names) + 1


def test_pages_load_nothing_and_links_lead_somewhere(written):
    known = {name: Links(page) for name, page in written.items()}
    for name, found in known.items():
        assert not found.loaded
        plain = re.sub("<style.*?</style>", "", written[name], flags=re.DOTALL)
        for address in re.findall(r"https?://[^\s\"<]+", plain):
            assert re.search("w3.org|docutils", address)  # names of formats, which nobody opens
        for link in found.links:
            page, _, anchor = link.partition("#")
            page = page or name
            assert page == reference.INDEX or page.removesuffix(".html") in ROOMS, link
            if anchor and page in known:
                assert anchor in known[page].ids, (name, link)


def test_docstrings_are_read_as_they_are_meant():
    room = ROOMS["theory"]
    text = """Of `alpha_c` and :class:`ssem_jax.SupCL`, |x| and α*; `other`.

    Args:
        low, high: two `numbers`,
            on two lines.
        **options: more.

    Returns:
        A number_ of :math:`|x|`.
    """
    found = reference.markup(text, room, list(ROOMS.values()))
    assert "`alpha_c <theory.html#alpha-c>`__" in found
    assert "`SupCL <losses.html#supcl>`__" in found
    assert r"\|x\| and α\*; ``other``." in found
    assert "    ``low, high``\n        two ``numbers``,\n        on two lines.\n" in found
    assert "    ``**options``\n        more." in found
    assert found.endswith("Returns\n    A number\\_ of :math:`|x|`.")
    page = reference.as_html(found)
    assert re.search("<dt>.*low, high", page)
    raised = reference.as_html(reference.markup("up to e^{1/τ}, which", room, [room]))
    assert "e<sup>1/τ</sup>, which" in raised


def test_what_is_wrong_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reference, "pages", lambda: {"index.html": ""})
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write to .*file.*; choose another folder for --"):
        reference.write(tmp_path / "file")
    with pytest.raises(SystemExit, match="0"):
        main(["docs", "--out", str(tmp_path / "deep")])
    assert capsys.readouterr().out.strip() == str(tmp_path / "deep" / "index.html")
    monkeypatch.setitem(sys.modules, "docutils.core", None)
    with pytest.raises(ValueError, match=r"written by docutils; pip install 'ssem-jax\[docs\]'"):
        reference.as_html("")
