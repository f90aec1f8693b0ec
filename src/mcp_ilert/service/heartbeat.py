"""Pings iLert's heartbeat monitor while the bridge accepts and delivers.

So it is iLert that raises the alarm when the bridge is ill, or is not there at all: a ping is withheld, and the
monitor falls overdue. The URL holds the monitor's key: it is a secret.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import httpx
import structlog
import trio

from mcp_ilert.errors import McpIlertError
from mcp_ilert.events import Severity, Unavailable
from mcp_ilert.targets.http import Caller, SecretText

log = structlog.get_logger()

BEAT_SECONDS = 60.0
"""iLert takes five pings a minute at most, and wants intervals of some minutes at the monitor."""
CRITICAL_SECONDS = 300.0
"""So old the oldest critical event may be while all is well."""
LOOK_SECONDS = 20.0
"""Who does not know within it whether the bridge is well, takes it for ill."""


class Bridge(Protocol):
    """What is asked about the bridge."""

    async def ailments(self) -> Sequence[str]:
        """Why the bridge does not accept or deliver, as far as it knows; may raise McpIlertError."""

    def oldest(self) -> Mapping[Severity, float]:
        """The age of the oldest event that waits, in seconds, by severity; reads the disk."""


async def ailments(bridge: Bridge) -> list[str]:
    """Why no ping goes now; empty where all is well."""
    try:
        with trio.fail_after(LOOK_SECONDS):
            found = list(await bridge.ailments())
            oldest = await trio.to_thread.run_sync(bridge.oldest, abandon_on_cancel=True)
    except McpIlertError as error:
        return [str(error)]
    except trio.TooSlowError:
        return [f"the spool did not answer within {LOOK_SECONDS:g} s"]
    age = oldest.get(Severity.CRITICAL, 0.0)
    if age > CRITICAL_SECONDS:
        found.append(f"the oldest critical event waits for {age:.0f} s")
    return found


Beaten = Callable[[str | None], None]
"""Told of each ping: why iLert did not get it (`metrics.BEAT_REASONS`), or None."""


def _nobody(_failed: str | None) -> None:
    """Is told of nothing."""


class Heartbeat:
    """Pings while nothing is wrong, and says when it begins and ceases to."""

    def __init__(
        self,
        url: Callable[[], SecretText],
        look: Callable[[], Awaitable[Sequence[str]]],
        seconds: Callable[[], float],
        beaten: Beaten = _nobody,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`url` gives the monitor's, empty: none; `look` what is wrong; `seconds` the time-out of a ping.

        `beaten` is told what came of each.
        """
        self._url = url
        self._look = look
        self._seconds = seconds
        self._beaten = beaten
        self._transport = transport
        self._trouble: str | None = None

    async def run(self) -> None:
        """Beat until cancelled, the first time at once."""
        next_at = trio.current_time()
        while True:
            url = self._url().reveal()
            if url:
                await self._beat(url)
            next_at = max(next_at + BEAT_SECONDS, trio.current_time())
            await trio.sleep_until(next_at)

    async def _beat(self, url: str) -> None:
        wrong = await self._look()
        if wrong:
            self._tell("withheld", "; ".join(wrong), "heartbeat withheld, so that iLert raises the alarm")
            return
        caller = Caller(url, "", self._seconds(), max_in_flight=1, transport=self._transport)
        try:
            answer = await caller.ask("GET", url)
        finally:
            with trio.CancelScope(shield=True):
                await caller.aclose()
        if isinstance(answer, Unavailable):
            self._tell("unavailable", answer.reason, "heartbeat not sent")
        elif not httpx.codes.is_success(answer.status):
            told = f"answered {answer.status}"
            self._tell("refused", told, "heartbeat not taken: see ilert.heartbeat_url")
        else:
            self._tell(None)

    def _tell(self, failed: str | None, trouble: str | None = None, event: str = "") -> None:
        """Count it, and say it where it is news."""
        self._beaten(failed)
        if trouble is None:
            if self._trouble is not None:
                log.info("heartbeat sent again")
        elif self._trouble is None:
            log.warning(event, reason=trouble)
        self._trouble = trouble
