"""The dashboard as it is served: what its headers say, and what it holds."""

import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from doors import Bridge, Client, open_bridge
from mcp_ilert.config import Secret, Token

UI = files("mcp_ilert.web").joinpath("ui")
PARTS = sorted(file.name for file in UI.iterdir() if file.name != "index.html")
SAFE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
}


@pytest.fixture
async def bridge():
    async with open_bridge() as bridge:
        yield bridge


@pytest.fixture
async def client(bridge: Bridge):
    async with Client(bridge.port, http2=False) as client:
        yield client


class Seen(HTMLParser):
    """What a page refers to, and what of it is inline."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.refers: list[str] = []
        self.inline: list[str] = []
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self._in = tag if tag in {"script", "style"} else ""
        self.refers += [given[name] for name in ("src", "href") if name in given]
        self.inline += [name for name in given if name == "style" or name.startswith("on")]

    def handle_data(self, data):
        if self._in and data.strip():
            self.inline.append(data)


def policy(answer) -> dict[str, str]:
    directives = answer.headers["content-security-policy"].split(";")
    return {name: rest for name, _, rest in (directive.strip().partition(" ") for directive in directives)}


@pytest.mark.parametrize("path", ["/", *(f"/ui/{name}" for name in PARTS)])
async def test_nothing_but_our_own_scripts_and_styles_may_run(client, path):
    answer = await client.send("GET", path)
    assert answer.status == 200
    assert SAFE.items() <= answer.headers.items()
    rules = policy(answer)
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "set-cookie" not in answer.headers


async def test_nothing_of_it_is_inline_or_from_elsewhere(client):
    page = Seen((await client.send("GET", "/")).body.decode())
    assert page.inline == []
    for reference in page.refers:
        assert not re.match(r"[a-z]+:|/", reference), (
            reference
        )  # relative: it may stand behind a proxy's path
        if not reference.startswith("#"):
            assert (await client.send("GET", f"/{reference}")).status == 200


@pytest.mark.parametrize("name", PARTS)
async def test_each_part_names_only_parts_that_there_are(client, name):
    answer = await client.send("GET", f"/ui/{name}")
    text = answer.body.decode()
    assert answer.headers["content-type"].split(";")[0] in {"text/javascript", "text/css", "image/svg+xml"}
    assert set(re.findall(r'from "\./([a-z-]+\.js)"', text)) <= set(PARTS)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", text)


async def test_without_a_script_it_says_what_readyz_says(bridge, client):
    page = (await client.send("GET", "/")).body.decode()
    assert "Events are accepted." in page
    assert "<noscript>" in page
    bridge.notes.append("target <img src=x onerror=alert(1)>: paused")
    page = (await client.send("GET", "/")).body.decode()
    assert "target &lt;img src=x onerror=alert(1)&gt;: paused" in page
    bridge.reasons.append("shutting down")
    page = (await client.send("GET", "/")).body.decode()
    assert "Nothing is accepted." in page
    assert "<li>shutting down</li>" in page


async def test_the_page_is_the_same_for_all_and_holds_nothing(client):
    async with (
        open_bridge(tokens=[Token("boss", Secret("b"), role="operator")]) as bridge,
        Client(bridge.port, http2=True) as guarded,
    ):
        strange = await guarded.send("GET", "/")
        known = await guarded.send("GET", "/", headers={"authorization": "Bearer b"})
    assert strange.body == known.body == (await client.send("GET", "/")).body
    assert strange.headers["cache-control"] == "no-store"


async def test_a_part_that_the_browser_has_is_not_sent_again(client):
    first = await client.send("GET", "/ui/main.js")
    assert first.headers["cache-control"] == "no-cache"
    again = await client.send("GET", "/ui/main.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert "content-security-policy" in again.headers


@pytest.mark.parametrize(
    "path", ["/ui/", "/ui/index.html", "/ui/nothing.js", "/ui/..%2fapi.py", "/ui/../site.py"]
)
async def test_nothing_else_is_served(client, path):
    answer = await client.send("GET", path)
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_the_page_is_small_enough_for_a_phone(client):
    sizes = [len((await client.send("GET", f"/ui/{name}")).body) for name in PARTS]
    assert sum(sizes) < 100_000
