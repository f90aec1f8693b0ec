"""Tells the service manager that started the bridge how it is: systemd's sd_notify protocol.

A message is a datagram of lines, sent to the socket that $NOTIFY_SOCKET names; without one nothing is told. Whether
the manager hears it changes nothing here. A watchdog is pinged while the bridge's main loop and the spool's writer
answer, and by nobody else: where either hangs, the manager ends the process and starts another.
"""

import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Self

import structlog
import trio

log = structlog.get_logger()


class Manager:
    """The service manager, or nobody."""

    def __init__(self, address: str | None = None, watchdog_seconds: float | None = None) -> None:
        """`address` as $NOTIFY_SOCKET has it; a watchdog that is not pinged for so long has the process ended."""
        self._address = address
        self._watchdog_seconds = watchdog_seconds

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> Self:
        """The one that the environment names; its watchdog only where it waits for this process."""
        microseconds = environ.get("WATCHDOG_USEC", "")
        meant = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        seconds = int(microseconds) / 1e6 if meant and microseconds.isdecimal() else None
        return cls(environ.get("NOTIFY_SOCKET") or None, seconds or None)

    def ready(self, status: str) -> None:
        """The bridge accepts events; after `reloading`: the reload is over."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self, now_us: int) -> None:
        """The configuration is read again; `now_us` by the monotonic clock, in microseconds."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now_us}", "STATUS=reloading")

    def stopping(self) -> None:
        self._tell("STOPPING=1", "STATUS=finishing what was begun")

    async def watch(self, alive: Callable[[], Awaitable[object]]) -> None:
        """Ping the watchdog each time that `alive` has returned, twice in its time; runs until cancelled."""
        if self._watchdog_seconds is None:
            return
        while True:
            await alive()
            self._tell("WATCHDOG=1")
            await trio.sleep(self._watchdog_seconds / 2)

    def _tell(self, *lines: str) -> None:
        if self._address is None:
            return
        name = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)  # a manager that does not read must not hold up the bridge
                sock.sendto("\n".join(lines).encode(), name)
        except OSError as error:
            log.warning("the service manager cannot be told", told=lines[0], reason=str(error))
