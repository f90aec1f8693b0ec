"""A headless Chromium, driven over a pipe by its DevTools protocol: no library and no driver in between."""

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
SECONDS = 60.0
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests may run as root; the pages are ours
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-pipe",
)
AT_3_AND_4 = """
import os, sys
from fcntl import F_DUPFD_CLOEXEC, fcntl
read, write = (fcntl(int(number), F_DUPFD_CLOEXEC, 10) for number in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""The browser reads its commands at descriptor 3, and answers at 4."""


class BrowserError(Exception):
    """The browser refused a command, or a script on the page raised."""


class Browser:
    """A running browser."""

    def __init__(self, send: trio.abc.SendStream) -> None:
        self._send = send
        self._next = 0
        self._waiting: dict[int, trio.Event] = {}
        self._answers: dict[int, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        """All that the pages told unasked."""

    async def command(self, method: str, session: str | None = None, **params: Any) -> Any:
        self._next += 1
        number = self._next
        told = {"id": number, "method": method, "params": params} | (
            {"sessionId": session} if session else {}
        )
        answered = self._waiting[number] = trio.Event()
        await self._send.send_all(json.dumps(told).encode() + b"\0")
        with trio.fail_after(SECONDS):
            await answered.wait()
        answer = self._answers.pop(number)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']}")
        return answer["result"]

    async def listen(self, receive: trio.abc.ReceiveStream) -> None:
        unread = b""
        async for chunk in receive:
            *messages, unread = (unread + chunk).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self._answers[message["id"]] = message
                    self._waiting.pop(message["id"]).set()
                else:
                    self.events.append(message)

    async def open(
        self, url: str, *, width: int = 1280, height: int = 900, mobile: bool = False, **media: str
    ) -> "Page":
        """A page in a profile of its own, so that nothing is shared; `media`: such as prefers_color_scheme."""
        context = (await self.command("Target.createBrowserContext"))["browserContextId"]
        target = (await self.command("Target.createTarget", url="about:blank", browserContextId=context))[
            "targetId"
        ]
        session = (await self.command("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.command(f"{domain}.enable")
        scale = 2 if mobile else 1
        await page.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=mobile,
        )
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
        await page.command("Emulation.setEmulatedMedia", features=features)
        await page.goto(url)
        return page


class Page:
    """One page."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    async def command(self, method: str, **params: Any) -> Any:
        return await self._browser.command(method, self._session, **params)

    async def goto(self, url: str) -> None:
        await self.command("Page.navigate", url=url)
        await self.until(f"document.readyState === 'complete' && location.href.startsWith({json.dumps(url)})")

    async def do(self, script: str) -> Any:
        """What an expression of JavaScript gives, in the page; a promise is waited for."""
        found = await self.command(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in found:
            raise BrowserError(json.dumps(found["exceptionDetails"]))
        return found["result"].get("value")

    async def until(self, condition: str) -> Any:
        """Wait until an expression is true, and give it; it fails with the page's text in the message."""
        with trio.move_on_after(SECONDS):
            while True:
                try:
                    if found := await self.do(condition):
                        return found
                except BrowserError as error:
                    if "context" not in str(error):  # else the page has just been left
                        raise
                await trio.sleep(0.05)
        raise AssertionError(f"never came true: {condition}\n{await self.text()}")

    async def text(self) -> str:
        """All that is to be read on the page."""
        return str(await self.do("document.body?.innerText"))

    async def shows(self, text: str) -> None:
        await self.until(f"document.body?.innerText.includes({json.dumps(text)})")

    async def click(self, selector: str, text: str = "") -> None:
        """Click the first that is to be seen, and that says so."""
        find = f"""[...document.querySelectorAll({json.dumps(selector)})].find((node) =>
            node.checkVisibility() && node.textContent.includes({json.dumps(text)}))"""
        await self.until(f"!!{find}")
        await self.do(f"{find}.click()")

    async def type(self, selector: str, text: str) -> None:
        """Type into a field, as a keyboard does."""
        await self.do(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.command("Input.insertText", text=text)

    async def choose(self, selector: str, value: str) -> None:
        """Choose from a list."""
        node = f"document.querySelector({json.dumps(selector)})"
        await self.do(f"{node}.value = {json.dumps(value)}; {node}.dispatchEvent(new Event('change'))")

    async def press(self, key: str) -> None:
        codes = {"Enter": 13, "Tab": 9, "Escape": 27}
        more = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            await self.command(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=codes[key],
                **more,
            )

    async def tab_to(self, name: str) -> None:
        """Press Tab until what is called so has the focus."""
        for _ in range(60):
            await self.press("Tab")
            node = "document.activeElement"
            if await self.do(f"{node}.getAttribute('aria-label') ?? {node}.textContent") == name:
                return
        raise AssertionError(f"no Tab leads to {name}")

    def complaints(self) -> list[str]:
        """What the page's console and its security policy complained of."""
        mine = [event for event in self._browser.events if event.get("sessionId") == self._session]
        logged = [e["params"]["entry"] for e in mine if e["method"] == "Log.entryAdded"]
        raised = [e["params"]["exceptionDetails"] for e in mine if e["method"] == "Runtime.exceptionThrown"]
        return [f"{entry['source']}: {entry['text']}" for entry in logged] + [
            json.dumps(found) for found in raised
        ]

    def asked(self) -> list[str]:
        """The URLs that the page asked for."""
        return [
            event["params"]["request"]["url"]
            for event in self._browser.events
            if event.get("sessionId") == self._session and event["method"] == "Network.requestWillBeSent"
        ]

    async def picture(self, path: Path, *, whole: bool = False) -> None:
        import base64

        found = await self.command("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))


@asynccontextmanager
async def open_browser(folder: Path) -> AsyncIterator[Browser]:
    """A browser whose profile is in `folder`, until the block is left."""
    assert CHROMIUM is not None
    read_commands, write_commands = os.pipe()
    read_answers, write_answers = os.pipe()
    command = [sys.executable, "-c", AT_3_AND_4, str(read_commands), str(write_answers)]
    command += [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
    theirs = (read_commands, write_answers)
    process = await trio.lowlevel.open_process(command, pass_fds=theirs, stdin=-3, stdout=-3, stderr=-3)
    for fd in theirs:
        os.close(fd)
    send, receive = trio.lowlevel.FdStream(write_commands), trio.lowlevel.FdStream(read_answers)
    async with trio.open_nursery() as nursery:
        browser = Browser(send)
        nursery.start_soon(browser.listen, receive)
        try:
            yield browser
        finally:
            with trio.CancelScope(shield=True):
                with trio.move_on_after(5):
                    await browser.command("Browser.close")
                if process.returncode is None:
                    process.terminate()
                with trio.move_on_after(10):
                    await process.wait()
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            nursery.cancel_scope.cancel()
    await send.aclose()
    await receive.aclose()
