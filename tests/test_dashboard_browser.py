"""The dashboard in a real browser, on a whole bridge beside a sandbox iLert. Skipped where there is no Chromium."""

import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from api_world import TOKENS, Api, open_api
from bridge import event, until
from browser import CHROMIUM, Browser, Page, open_browser
from mcp_ilert import config
from mcp_ilert.console import look
from mcp_ilert.sandbox import Fault
from mcp_ilert.sandbox.server import SandboxServer
from mcp_ilert.service import Service

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
BURNING = "<img src=x onerror=\"document.title='burnt'\">"
PHONE: dict[str, Any] = {"width": 390, "height": 844, "mobile": True}


@pytest.fixture
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    async with open_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


async def dashboard(browser: Browser, service: Service, path: str = "/", **options: Any) -> Page:
    """The page, once it shows what it polled."""
    page = await browser.open(f"{service.url}{path}", **options)
    await page.until("!document.getElementById('board').hidden")
    return page


async def dead(api: Api, *events: dict[str, Any]) -> None:
    """Events that iLert rejects for good."""
    before = api.service.counts().dead
    api.sandbox.core.set_faults(
        Fault(kind="status", status=422, times=2 * len(events)), now=api.sandbox.now()
    )
    await api.send(*events)
    await until(lambda: api.service.counts().dead == before + len(events))


# What it shows ---------------------------------------------------------------------------------------------------


async def test_it_shows_how_the_bridge_is_and_asks_nothing_of_anybody_else(
    api: Api, browser: Browser
) -> None:
    page = await dashboard(browser, api.service)
    await page.shows("Events are accepted and delivered. Nothing waits.")
    await api.send(event("disk", priority=1, summary="Disk full"))
    await api.delivered(1)
    await page.until("document.getElementById('out-all').textContent === '1 in all'")
    await page.click("nav a", "Attempts")
    await page.shows("Disk full")
    await page.click("#panel a", "disk")
    await page.shows("iLert has an open alert of this key")
    await page.shows("delivered: the alert is open at iLert")
    assert page.complaints() == []
    assert all(url.startswith(api.service.url) for url in page.asked())
    assert "api/v1/audit" not in "".join(page.asked())  # which reads all that waits


async def test_what_an_event_says_is_text_and_nothing_else(api: Api, browser: Browser) -> None:
    """Events are anybody's. In the key, the summary, the source, iLert's answer: nothing becomes markup."""
    hostile = event(BURNING, source=BURNING, summary=f"{BURNING}</title><script>boom</script>", priority=1)
    await dead(api, hostile)
    await api.post("pause", {"target": "default"})
    await api.send(event(f"waits {BURNING}", source=BURNING, summary=BURNING))
    page = await dashboard(browser, api.service)
    for tab in ("Waiting", "Dead letters", "Attempts"):
        await page.click("nav a", tab)
        await page.until(f"document.getElementById('panel').innerText.includes({json.dumps(BURNING)})")
    await page.click("#panel a.key")
    await page.until("document.querySelectorAll('.story li').length > 1")
    await page.click("#panel button", "Drop…")
    await page.until("document.getElementById('ask').open")
    assert BURNING in await page.text()
    await page.do("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert await page.do("document.querySelectorAll('img, #panel script, #ask script').length") == 0
    assert await page.do("document.title") != "burnt"
    assert page.complaints() == []
    with pytest.raises(Exception, match="TrustedHTML"):  # a slip of ours would be stopped by the browser
        await page.do("document.body.insertAdjacentHTML('beforeend', '<p>')")


async def test_what_waits_is_filtered_and_comes_page_by_page(api: Api, browser: Browser) -> None:
    await api.post("pause", {"target": "default"})
    await api.send(*(event(f"k{i:03}", priority=1 + i % 4) for i in range(120)))
    await until(lambda: api.service.counts().lanes == 120)
    page = await dashboard(browser, api.service)
    rows = "document.querySelectorAll('.rows > li').length"
    await page.until(f"{rows} === 50")
    await page.click("#panel > button", "Show more")
    await page.until(f"{rows} === 100")
    await page.type(".filters input", "k11")
    await page.until(f"{rows} === 10")
    await page.choose(".filters select", "critical")
    await page.until(f"{rows} === 2")
    await page.type("#find-key", "K007")
    await page.press("Enter")
    await page.shows("an operator has paused the target")
    await page.do("history.back()")
    await page.until(f"{rows} === 2 && document.querySelector('.filters select').value === 'critical'")


async def test_a_search_goes_on_by_itself_says_how_far_it_is_and_can_be_stopped(
    api: Api, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, gate, asked = look._search, threading.Event(), list[str]()

    def gated(*args: Any) -> Any:
        asked.append(args[2])
        assert len(asked) < 3 or gate.wait(20)
        return search(*args)

    monkeypatch.setattr(look, "SEARCHED", 10)
    monkeypatch.setattr(look, "SEARCH_SLICE", 5)
    monkeypatch.setattr(look, "_search", gated)
    await api.post("pause", {"target": "default"})
    await api.send(*(event(f"k{i:03}") for i in range(95)))
    await until(lambda: api.service.counts().lanes == 95)
    page = await dashboard(browser, api.service)
    rows = "document.querySelectorAll('.rows > li').length"
    await page.type(".filters input", "09")
    await page.shows("Searched 20 of 95 keys.")
    assert await page.do(rows) == 1
    await page.click("#panel > button", "Stop")
    gate.set()
    await page.click("#panel > button", "Go on")
    await page.until(f"{rows} === 6")
    await page.until("document.querySelector('#panel > button').hidden")
    assert "Searched" not in await page.text()
    assert page.complaints() == []


async def test_who_follows_a_key_from_far_down_sees_its_life_from_the_beginning(
    api: Api, browser: Browser
) -> None:
    await api.post("pause", {"target": "default"})
    await api.send(*(event(f"k{i:03}") for i in range(50)))
    await until(lambda: api.service.counts().lanes == 50)
    page = await dashboard(browser, api.service, **PHONE)
    await page.until("document.querySelectorAll('.rows > li').length === 50")
    await page.do("scrollTo(0, document.body.scrollHeight)")
    await page.click("#panel a.key", "k049")
    await page.until("document.getElementById('panel-title').textContent === 'k049'")
    top = await page.do("document.getElementById('panel-title').getBoundingClientRect().top")
    assert 0 <= top <= PHONE["height"]


async def test_digests_show_their_alerts(tmp_path: Path, sandbox: SandboxServer, browser: Browser) -> None:
    delivery = config.DeliverySettings(shutdown_grace_seconds=1, storm=config.Storm(after_seconds=1))
    async with open_api(tmp_path, sandbox, delivery=delivery) as api:
        await api.send(*(event(f"k{i}", priority=4) for i in range(200)))
        await until(lambda: api.service.counts().members > 0)
        page = await dashboard(browser, api.service, "/#digests")
        await page.shows("mcp-digest/probe-1")
        await page.click("#panel summary", "Its alerts")
        await page.until("document.querySelectorAll('.members a.key').length === 20")


async def test_who_is_on_call_is_shown_where_it_is_known(
    tmp_path: Path, sandbox: SandboxServer, browser: Browser
) -> None:
    ilert = config.Ilert(
        api_url=sandbox.url,
        webhook_key=config.Secret("sandbox-key"),
        api_key=config.Secret("sandbox-api-key"),
    )
    async with open_api(tmp_path, sandbox, ilert=ilert) as api:
        await until(lambda: api.service.on_call.now().known)
        page = await dashboard(browser, api.service)
        await page.shows("level 1")


# What it does ----------------------------------------------------------------------------------------------------


async def test_dead_letters_are_replayed_and_dropped(api: Api, browser: Browser) -> None:
    await dead(api, event("a"), event("b"), event("c"))
    page = await dashboard(browser, api.service, "/#dead")
    await page.shows("iLert answered 422")
    await page.click("[aria-label='Replay a']")
    await page.shows("1 event of a will be sent again.")
    await api.delivered(1)
    await page.click("[aria-label='Drop b']")
    await page.shows("cannot be brought back")
    await page.press("Enter")  # which must not be enough
    await page.until("!document.getElementById('ask').open")
    assert api.service.counts().dropped_by_operator == 0
    await page.click("[aria-label='Drop b']")
    await page.click("#ask-yes", "Drop it")
    await until(lambda: api.service.counts().dropped_by_operator == 1)
    await page.until("document.getElementById('dead').textContent === '1'")
    await page.click("#panel button", "Replay all")
    await page.shows("1 event is dead")
    await page.click("#ask-yes")
    await api.delivered(2)
    await page.shows("There are no dead letters.")


async def test_old_news_goes_only_after_a_word_about_what_it_means(api: Api, browser: Browser) -> None:
    await dead(api, event("k", summary="old"))
    await api.send(event("k", summary="new"))
    await api.delivered(1)
    page = await dashboard(browser, api.service, "/#dead")
    await page.shows("superseded")
    assert await page.do("document.querySelector('[aria-label=\"Replay k\"]')") is None
    await page.click("#panel button", "Send old news…")
    await page.shows("it can open an alert again that is resolved")
    await page.press("Escape")
    await page.until("!document.getElementById('ask').open")
    assert api.service.counts().dead == 1
    await page.click("#panel button", "Send old news…")
    await page.click("#ask-yes", "Send it all the same")
    await api.delivered(2)


async def test_a_target_is_paused_and_resumed(api: Api, browser: Browser) -> None:
    page = await dashboard(browser, api.service)
    await page.click("[aria-label='Pause default']")
    await page.shows("critical events neither")
    await page.click("#ask-yes")
    await page.shows("Paused by an operator")
    await page.click("[aria-label='Resume default']")
    await page.shows("default is resumed.")
    await page.until("document.getElementById('status').className === 'good'")


async def test_all_of_it_goes_by_keyboard_and_the_focus_is_never_lost(api: Api, browser: Browser) -> None:
    await dead(api, event("k"))
    page = await dashboard(browser, api.service, "/#dead")
    await page.tab_to("Pause default")
    await page.press("Enter")
    await page.until("document.activeElement.id === 'ask-no'")
    await page.press("Tab")
    await page.press("Enter")
    await page.until("document.activeElement.getAttribute('aria-label') === 'Resume default'")
    await page.press("Enter")
    await page.until("document.activeElement.getAttribute('aria-label') === 'Pause default'")
    await page.tab_to("Its event")
    await page.press("Enter")
    await page.tab_to("Replay k")
    await page.press("Enter")
    await page.until("document.activeElement.id === 'panel'")  # the row is gone


async def test_what_is_open_stays_open_while_its_row_says_something_new(api: Api, browser: Browser) -> None:
    await dead(api, event("k", summary="one"))
    page = await dashboard(browser, api.service, "/#dead")
    await page.click("summary", "Its event")
    api.sandbox.core.set_faults(Fault(kind="status", status=422, times=2), now=api.sandbox.now())
    await api.send(event("k", summary="two"))  # which folds into the first
    await page.shows("two")
    assert await page.do("document.querySelector('#panel details').open")


async def test_who_may_only_look_has_no_buttons_and_is_told_why(
    tmp_path: Path, sandbox: SandboxServer, browser: Browser
) -> None:
    async with open_api(tmp_path, sandbox) as api, forwarding(api.service) as url:
        await dead(api, event("k"))
        page = await browser.open(f"{url}/#dead")
        await page.shows("To look at only: without auth.tokens")
        await page.shows("iLert answered 422")
        assert (
            await page.do("document.querySelectorAll('#panel button:not([hidden]), #targets button').length")
            == 0
        )


# Who may ---------------------------------------------------------------------------------------------------------


async def test_with_tokens_it_asks_for_an_operators(
    tmp_path: Path, sandbox: SandboxServer, browser: Browser
) -> None:
    async with open_api(tmp_path, sandbox, auth=config.Auth(tokens=TOKENS)) as api:
        page = await browser.open(f"{api.service.url}/")
        await page.shows("This bridge asks for a token")
        assert await page.do("document.activeElement.id") == "token"
        for wrong, says in (
            ("nonsense", "The bridge does not know this token."),
            ("two words", "A token has no spaces"),
            ("producer-token-1", "This token may send events, and nothing else."),
        ):
            await page.type("#token", wrong)
            await page.press("Enter")
            await page.shows(says)
            assert await page.do("document.getElementById('board').hidden")
        await page.type("#token", "operator-token-1")
        await page.press("Enter")
        await page.shows("Events are accepted and delivered.")
        kept = await page.do("JSON.stringify(localStorage) + document.cookie + location.href")
        assert "token-1" not in kept
        await page.click("[aria-label='Pause default']")
        await page.click("#ask-yes")
        await page.shows("Paused by an operator")
        await page.command("Page.reload")  # the tab keeps it
        await page.shows("Paused by an operator")
        other = await browser.open(f"{api.service.url}/")  # and no other does
        await other.shows("This bridge asks for a token")
        await page.click("#leave")
        await page.shows("This bridge asks for a token")
        assert "operator-token-1" not in "".join(page.asked())


async def test_a_page_from_elsewhere_changes_nothing_and_sends_nothing(api: Api, browser: Browser) -> None:
    """A stranger's page in the same browser, on another port of this machine, tries what pages can."""
    tries = """Promise.all([
        ["/api/v1/pause", {headers: {"content-type": "application/json"}, body: '{"target":"default"}'}],
        ["/api/v1/pause", {mode: "no-cors", body: '{"target":"default"}'}],
        ["/events", {headers: {"content-type": "application/json"}, body: EVENT}],
        ["/events", {mode: "no-cors", body: EVENT}],
    ].map(([path, options]) => fetch(URL_ + path, {method: "POST", ...options}).then((a) => a.type, () => "failed")))"""
    async with forwarding(api.service) as url:
        page = await browser.open(f"{url}/healthz")
        script = tries.replace("URL_", json.dumps(api.service.url)).replace(
            "EVENT", json.dumps(json.dumps(event("k")))
        )
        assert await page.do(script) == ["failed", "opaque", "failed", "opaque"]
    found = await api.json("stats")
    assert (found["counts"]["accepted"], found["targets"][0]["paused"]) == (0, False)


# When all is not well ---------------------------------------------------------------------------------------------


async def test_it_says_that_the_bridge_is_silent_and_goes_on_when_it_is_back(
    tmp_path: Path, sandbox: SandboxServer, browser: Browser
) -> None:
    listen = config.Listen(address="127.0.0.1", port=0)
    async with open_api(tmp_path, sandbox, listen=listen) as api:
        page = await dashboard(browser, api.service)
        port = int(api.service.url.rsplit(":", 1)[1])
    await page.shows("The bridge does not answer since")
    await page.shows("what is shown is from")
    async with open_api(tmp_path, sandbox, listen=config.Listen(address="127.0.0.1", port=port)) as api:
        await api.send(event("back"))
        await page.until("document.getElementById('silent').hidden")
        await page.until("document.getElementById('in-all').textContent === '1 in all'")


async def test_a_hidden_tab_asks_nothing(api: Api, browser: Browser) -> None:
    page = await browser.open("about:blank")
    await page.command("Page.addScriptToEvaluateOnNewDocument", source=WATCHED)
    await page.goto(f"{api.service.url}/")
    await page.shows("Nothing waits.")
    await page.until("pending.size > 0")
    await page.do("hide(true)")
    await page.until("pending.size === 0")  # nothing is under way, and nothing will be
    before = len(page.asked())
    await page.do("hide(false)")
    await page.until("pending.size > 0")
    assert len(page.asked()) > before


WATCHED = """
window.pending = new Set();
const [later, never, ask] = [window.setTimeout, window.clearTimeout, window.fetch];
window.setTimeout = (act, ms) => {
  const id = later(() => { pending.delete(id); act(); }, ms);
  pending.add(id);
  return id;
};
window.clearTimeout = (id) => { pending.delete(id); never(id); };
window.fetch = (...given) => {
  const id = Symbol();
  pending.add(id);
  return ask(...given).finally(() => pending.delete(id));
};
window.hide = (hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
};
"""
"""Knows what a page has under way: timers, and requests."""


async def test_without_scripts_the_status_line_is_there(api: Api, browser: Browser) -> None:
    page = await browser.open("about:blank")
    await page.command("Emulation.setScriptExecutionDisabled", value=True)
    await page.command("Page.navigate", url=f"{api.service.url}/")
    with trio.fail_after(30):
        while "Events are accepted." not in await seen(page):  # noqa: ASYNC110 - the page cannot tell
            await trio.sleep(0.05)
    assert "needs JavaScript" in await seen(page)


async def seen(page: Page) -> str:
    """The page's text where it runs no script."""
    tree = await page.command("Accessibility.getFullAXTree")
    return " ".join(str(node.get("name", {}).get("value", "")) for node in tree["nodes"])


# For everybody ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_what_is_to_be_read_can_be_read(api: Api, browser: Browser, scheme: str) -> None:
    """WCAG AA: 4.5 to 1, and 3 to 1 for large text."""
    await dead(api, event("k", priority=1))
    await api.post("pause", {"target": "default"})
    await api.send(event("other", priority=2))
    page = await dashboard(browser, api.service, prefers_color_scheme=scheme)
    for tab in ("Waiting", "Dead letters", "Attempts"):
        await page.click("nav a", tab)
        await page.until("document.querySelectorAll('.rows > li').length > 0")
        assert await page.do(FAINT) == []


@pytest.mark.parametrize("hash_", ["waiting", "dead", "deliveries", "key/k"])
async def test_on_a_phone_nothing_is_wider_than_the_screen(api: Api, browser: Browser, hash_: str) -> None:
    await dead(api, event("k" * 200, summary="s" * 400, source="p" * 200))
    await api.post("pause", {"target": "default"})
    await api.send(event("k", summary="w" * 400))
    page = await dashboard(browser, api.service, f"/#{hash_}", **PHONE)
    await page.until("document.querySelectorAll('.rows > li').length > 0")
    assert await page.do("document.documentElement.scrollWidth") <= PHONE["width"]


async def test_every_control_has_a_name(api: Api, browser: Browser) -> None:
    await dead(api, event("k"))
    page = await dashboard(browser, api.service, "/#dead")
    await page.shows("iLert answered 422")
    tree = await page.command("Accessibility.getFullAXTree")
    controls = {"button", "link", "textbox", "searchbox", "combobox", "DisclosureTriangle"}
    found = [n for n in tree["nodes"] if n.get("role", {}).get("value") in controls and not n.get("ignored")]
    assert len(found) > 10
    assert [n for n in found if not n.get("name", {}).get("value")] == []


FAINT = """(() => {
  const channel = (c) => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4 };
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const color = numbers(getComputedStyle(node).backgroundColor);
      if (color[3] !== 0) return color;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll("body *")].filter((node) =>
    node.checkVisibility() && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()));
  return texts.map((node) => {
    const style = getComputedStyle(node), size = parseFloat(style.fontSize);
    const [a, b] = [light(numbers(style.color)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    return ratio < (large ? 3 : 4.5) ? `${node.textContent.slice(0, 40)}: ${ratio.toFixed(2)}` : null;
  }).filter(Boolean);
})()"""


@asynccontextmanager
async def forwarding(service: Service) -> AsyncIterator[str]:
    """A proxy on another port, that says for whom it asks; to the browser it is another origin."""
    async with (
        httpx.AsyncClient(base_url=service.url, trust_env=False) as client,
        trio.open_nursery() as nursery,
    ):

        async def serve(stream: trio.SocketStream) -> None:
            async with stream:
                asked = b""
                while b"\r\n\r\n" not in asked:
                    if not (chunk := await stream.receive_some()):
                        return
                    asked += chunk
                method, path, _ = asked.split(b"\r\n", 1)[0].decode().split()
                answer = await client.request(method, path, headers={"x-forwarded-for": "203.0.113.7"})
                kept = ("content-type", "content-security-policy")
                head = "".join(
                    f"{name}: {answer.headers[name]}\r\n" for name in kept if name in answer.headers
                )
                status = f"HTTP/1.1 {answer.status_code} X\r\nConnection: close\r\n"
                await stream.send_all(f"{status}{head}\r\n".encode() + answer.content)

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()
