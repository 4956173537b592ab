"""The explorer page: self-contained, usable by keyboard, and as right as the theory.

Its behaviour is tested in Debian's Chromium through its WebDriver, spoken to over plain HTTP.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from ssem_jax import theory
from ssem_jax.problem import Phase
from ssem_jax.show import explorer

AGREEMENT = 1e-9
"""What the page promises; both sides solve the same equation in float64."""
NUM_STATES = 50
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
KEYS = {"right": "\ue014", "up": "\ue013", "tab": "\ue004", "enter": "\ue007", "end": "\ue010"}
NUMBERS = (
    ("delta2", "delta2"),
    ("alpha_c", "alpha_c"),
    ("alpha_v", "alpha_v"),
    ("view", "view_variance"),
)


class Browser:
    """A session of headless Chromium."""

    def __init__(self, port, profile):
        self.root = f"http://127.0.0.1:{port}"
        options = {
            "binary": CHROMIUM,
            "args": [*FLAGS, f"--user-data-dir={profile}", "--window-size=1200,1000"],
        }
        capabilities = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self.root += f"/session/{made['sessionId']}"

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.root + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()[:500]}") from error

    def open(self, address):
        # From an empty page: a new hash alone would not load the document anew.
        self.call("POST", "/url", {"url": "about:blank"})
        self.call("POST", "/url", {"url": address})

    def run(self, script, *arguments):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def press(self, *keys):
        actions = [
            {"type": kind, "value": KEYS.get(key, key)}
            for key in keys
            for kind in ("keyDown", "keyUp")
        ]
        body = {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}
        self.call("POST", "/actions", body)

    def log(self, kind):
        return self.call("POST", "/se/log", {"type": kind})


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not (CHROMIUM and DRIVER):
        message = (
            "CHROMIUM IS MISSING, so the explorer is not tested in a browser; "
            "install it: apt-get install chromium chromium-driver"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(
        [DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as driver:
        session = None
        try:
            for _ in range(600):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.1)
            session = Browser(port, tmp_path_factory.mktemp("profile"))
            yield session
        finally:
            if session is not None:
                session.call("DELETE", "")
            driver.terminate()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return explorer.write(tmp_path_factory.mktemp("explorer") / "explorer.html")


def random_states():
    draw = np.random.default_rng(4)
    for number in range(NUM_STATES):
        pairs = ("include", "exclude", "decouple")[number % 3]
        n = int(draw.integers(2, 33))
        cold = draw.random() < 0.4  # and with so small an α that view-spread is met
        yield {
            "m": int(draw.integers(2, 21)),
            "n": n,
            "p": int(draw.integers(1 if pairs == "include" else 2, 9)),
            "alpha": float(draw.uniform(0, 1.2 / n if cold else 1)),
            "tau": float(10 ** draw.uniform(-1.5, -0.8 if cold else 0.7)),
            "pairs": pairs,
        }


def predicted(state):
    shape = (state["m"], state["n"], state["p"])
    cell = (*shape, state["alpha"], state["tau"], state["pairs"])
    similarities = theory.similarities(*cell)
    return {
        "delta2": float(theory.delta2(*cell)),
        "view": float(theory.view_variance(*cell)),
        "alpha_c": float(theory.alpha_c(*shape, state["tau"], state["pairs"])),
        "alpha_v": float(theory.alpha_v(*shape, state["tau"], state["pairs"])),
        "within": float(theory.variances(*cell).within),
        "between": float(theory.variances(*cell).between),
        "s_view": float(similarities.view),
        "s_within": float(similarities.within),
        "s_between": float(similarities.between),
        "phase": Phase(int(theory.phase(*cell))).name.lower(),
    }


def test_agrees_with_theory_at_random_slider_states(browser, path):
    """The sliders are set as a hand sets them; the page's state is what they then say."""
    browser.open(path.as_uri())
    phases = set()
    for wanted in random_states():
        state, result, shown = browser.run(
            """
            const put = (id, value, kind) => {
              const at = document.getElementById(id);
              at.value = value;
              at.dispatchEvent(new Event(kind, {bubbles: true}));
            };
            const want = arguments[0];
            put("pairs", want.pairs, "change");
            for (const name of ["m", "n", "p", "alpha"]) put(name, want[name], "input");
            put("tau", Math.log10(want.tau), "input");
            return [ssem.state, ssem.result, document.getElementById("delta2").textContent];
            """,
            wanted,
        )
        for name in ("m", "n", "p", "pairs"):
            assert state[name] == wanted[name]
        assert state["alpha"] == pytest.approx(wanted["alpha"], abs=1e-3)
        assert state["tau"] == pytest.approx(wanted["tau"], rel=5e-3)
        expected = predicted(state)
        assert result.pop("phase") == expected.pop("phase")
        phases.add(browser.run("return ssem.result.phase"))
        assert result.keys() == expected.keys()
        for name, value in expected.items():
            assert result[name] == pytest.approx(value, abs=AGREEMENT), (name, state)
        assert float(shown) == pytest.approx(expected["delta2"], abs=1e-6)
    assert phases == {"collapse", "spread", "view_spread"}


def test_a_link_restores_a_state_exactly(browser, path):
    state: dict[str, Any] = {
        "m": 5,
        "n": 7,
        "p": 3,
        "alpha": 0.1234567890123,
        "tau": 0.2345678901234,
    }
    browser.open(explorer.link(path, 5, 7, 3, state["alpha"], state["tau"], "exclude"))
    assert browser.run("return ssem.state") == {**state, "pairs": "exclude"}
    assert browser.run("return document.getElementById('m').value") == "5"


def test_the_address_follows_the_state_and_survives_nonsense(browser, path):
    browser.open(path.as_uri() + "#m=99&alpha=nan&tau=-3&pairs=none&other=1")
    state = browser.run("return ssem.state")
    assert state["m"] == 20
    assert 0 <= state["alpha"] <= 1
    assert state["tau"] > 0
    assert state["pairs"] == "include"
    browser.run("ssem.set({m: 4, alpha: 0.25})")
    address = ""
    for _ in range(1200):
        address = browser.run("return location.hash")
        if "m=4" in address:
            break
        time.sleep(0.05)
    browser.open(path.as_uri() + address)
    restored = browser.run("return ssem.state")
    assert (restored["m"], restored["alpha"]) == (4, 0.25)


def test_usable_by_keyboard(browser, path):
    browser.open(path.as_uri())
    before = browser.run("return ssem.state")
    focused = "return document.activeElement.id"
    seen = []
    for _ in range(12):
        browser.press("tab")
        seen.append(browser.run(focused))
        if seen[-1] == "m":
            browser.press("right")
        if seen[-1] == "alpha":
            browser.press("right", "right")
        if seen[-1] == "diagram":
            browser.press("right", "up")
        if seen[-1] == "turn":
            browser.press("enter")
            break
    assert seen == ["m", "n", "p", "alpha", "tau", "pairs", "diagram", "sketch", "turn"]
    after = browser.run("return ssem.state")
    assert after["m"] == before["m"] + 1
    assert after["alpha"] == pytest.approx(before["alpha"] + 0.002 + 0.005)
    assert after["tau"] == pytest.approx(before["tau"] * 10**0.01)
    assert browser.run("return document.getElementById('turn').textContent") == "Turn"


def test_everything_is_drawn(browser, path):
    browser.open(path.as_uri())
    painted = """
        return ["diagram", "sketch", "gram"].map(id => {
          const at = document.getElementById(id);
          const data = at.getContext("2d").getImageData(0, 0, at.width, at.height).data;
          const colors = new Set();
          for (let k = 0; k < data.length; k += 4)
            if (data[k + 3]) colors.add(data[k] << 16 | data[k + 1] << 8 | data[k + 2]);
          return colors.size;
        });
    """
    diagram, sketch, gram = browser.run(painted)
    assert diagram > 50
    assert sketch > 5
    assert gram >= 3


def test_no_console_error_and_no_request_leaves_the_page(browser, path):
    browser.log("browser")
    browser.log("performance")
    browser.open(path.as_uri())
    browser.run("for (const p of [1, 2, 8]) ssem.set({p, n: 4 * p, alpha: 0.9 / p})")
    time.sleep(0.3)
    messages = [entry for entry in browser.log("browser") if entry["level"] != "DEBUG"]
    assert messages == []
    events = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert path.as_uri() in asked
    foreign = [
        address for address in asked if not address.startswith((path.as_uri(), "data:", "about:"))
    ]
    assert foreign == []


class References(HTMLParser):
    """Everything that a page would load."""

    def __init__(self):
        super().__init__()
        self.found, self.tags = [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.found += [
            value
            for name, value in attrs
            if name in ("src", "href", "action", "data", "poster", "srcset")
        ]


def test_the_page_refers_to_nothing_outside():
    page = explorer.page()
    parser = References()
    parser.feed(page)
    assert [address for address in parser.found if not address.startswith("data:")] == []
    assert not parser.tags & {"iframe", "object", "embed", "form", "base"}
    assert not re.search(
        r"https?:|//[a-z0-9.-]+\.[a-z]{2,}|\bimport\b|fetch\(|XMLHttp|WebSocket|url\(", page
    )
    assert "default-src 'none'" in page


def test_write_makes_folders_and_says_where_it_cannot(tmp_path):
    written = explorer.write(tmp_path / "deep" / "page.html")
    assert written.read_text(encoding="utf-8") == explorer.page()
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="choose another file for --out"):
        explorer.write(tmp_path / "file" / "page.html")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 4, 2, 0.5, 0.3), "num_classes must be"),
        ((3, 1, 2, 0.5, 0.3), "num_instances must be"),
        ((3, 4, 2, 1.5, 0.3), "alpha must lie"),
        ((3, 4, 2, 0.5, 0.0), "temperature must be positive"),
        ((3, 4, 2, 0.5, 0.3, "some"), "self_pairs must be one of"),
    ],
)
def test_link_refuses_what_is_no_state(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        explorer.link(tmp_path / "page.html", *arguments)
