"""Sends batches to the TCP door: a line an event, an answer line an event, in order."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import trio

from mcp_ilert.cli.sending.lines import Batch, Refusal
from mcp_ilert.cli.sending.tally import Stopped, Verdict

MAX_ANSWER_BYTES = 65536


class LineAnswer(msgspec.Struct, frozen=True):
    ok: bool
    error: str = ""


class Connection:
    """One connection to the door: sends and reads at once, so that neither side waits for the other."""

    def __init__(self, stream: trio.abc.Stream, timeout_seconds: float) -> None:
        self._stream = stream
        self._timeout = timeout_seconds
        self._unread = bytearray()

    async def exchange(self, lines: tuple[bytes, ...]) -> list[LineAnswer]:
        """An answer for each line. The time-out is for each answer, not for all."""
        answers: list[LineAnswer] = []
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stream.send_all, b"".join(line + b"\n" for line in lines))
                for _ in lines:
                    with trio.fail_after(self._timeout):
                        answers.append(msgspec.json.decode(await self._line(), type=LineAnswer))
        except* (trio.BrokenResourceError, trio.TooSlowError, EOFError, msgspec.DecodeError) as group:
            first = group.exceptions[0]
            raise Stopped(
                f"the TCP door answered {len(answers)} of {len(lines)} lines, then failed "
                f"({str(first) or type(first).__name__}); send the others again"
            ) from None
        return answers

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)

    async def _line(self) -> bytes:
        while (end := self._unread.find(b"\n")) < 0:
            chunk = await self._stream.receive_some(65536)
            if not chunk:
                raise EOFError("the connection was closed")
            if len(self._unread) > MAX_ANSWER_BYTES:
                raise EOFError("an answer line is too long")
            self._unread += chunk
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return line


class TcpSender:
    """Sends batches over a few connections, each used by one batch at a time."""

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext | None, token: str | None, timeout_seconds: float
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._token = token
        self._timeout = timeout_seconds
        self._idle: list[Connection] = []

    async def __call__(self, batch: Batch) -> Verdict:
        connection = self._idle.pop() if self._idle else await self._connect()
        answers = await connection.exchange(batch.lines)
        self._idle.append(connection)
        refused = tuple(
            Refusal(number, answer.error)
            for number, answer in zip(batch.numbers, answers, strict=True)
            if not answer.ok
        )
        return Verdict(len(answers) - len(refused), refused)

    async def aclose(self) -> None:
        for connection in self._idle:
            await connection.aclose()

    async def _connect(self) -> Connection:
        connection = Connection(await self._open(), self._timeout)
        if self._token is not None:
            (answer,) = await connection.exchange((msgspec.json.encode({"auth": self._token}),))
            if not answer.ok:
                raise Stopped(f"the bridge refused the token: {answer.error}")
        return connection

    async def _open(self) -> trio.abc.Stream:
        try:
            with trio.fail_after(self._timeout):
                if self._tls is None:
                    return await trio.open_tcp_stream(self._host, self._port)
                stream = await trio.open_ssl_over_tcp_stream(self._host, self._port, ssl_context=self._tls)
                await stream.do_handshake()
                return stream
        except (OSError, trio.TooSlowError, trio.BrokenResourceError) as error:
            raise Stopped(
                f"no TCP door answers at {self._host}:{self._port}: {error.__cause__ or error}; "
                "is listen.tcp_port set there?"
            ) from None


@asynccontextmanager
async def open_tcp(
    host: str, port: int, *, tls: ssl.SSLContext | None, token: str | None, timeout_seconds: float
) -> AsyncIterator[TcpSender]:
    sender = TcpSender(host, port, tls, token, timeout_seconds)
    try:
        yield sender
    finally:
        await sender.aclose()
