"""TLS as a stream of a task, for the stream pump and for what is handed over to Hypercorn."""

import ssl
from typing import Final

import trio

from mcp_ilert._fast.tls import Tls

RECEIVE_BYTES: Final = 65_536


class TlsStream(trio.abc.AsyncResource):
    """One task may send while another receives. Where sending is cancelled, the stream is good for closing only."""

    def __init__(self, transport_stream: trio.SocketStream, layer: Tls) -> None:
        self.transport_stream = transport_stream
        self.layer = layer
        self._early = b""
        """What came with the end of the handshake."""

    async def do_handshake(self) -> None:
        """Returns at once where it has been done. Raises BrokenResourceError where it fails."""
        while not self.layer.established:
            data = await self.transport_stream.receive_some(RECEIVE_BYTES)
            if not data:
                raise trio.BrokenResourceError("the client went in the handshake")
            try:
                self._early += self._said(bytes(data))
            finally:
                if output := self.layer.output():  # after an error, the alert
                    await self.transport_stream.send_all(output)

    async def receive_some(self, most: int) -> bytes:
        """What the client says next, of `most` encrypted bytes; b"" where it says no more.

        Whether it says so or just goes is the same here: the protocols above know whether anything is missing.
        """
        said, self._early = self._early, b""
        while not said and not self.layer.ended:
            said = self._said(bytes(await self.transport_stream.receive_some(most)))
        return said

    async def send_all(self, data: bytes) -> None:
        for start in range(0, len(data), RECEIVE_BYTES):
            try:
                sealed = self.layer.seal(data[start : start + RECEIVE_BYTES])
            except ssl.SSLError as error:
                raise trio.BrokenResourceError(f"TLS: {_why(error)}") from error
            await self.transport_stream.send_all(sealed)

    async def send_eof(self) -> None:
        """Say that we say no more, and shut our side."""
        if output := self.layer.close():
            await self.transport_stream.send_all(output)
        await self.transport_stream.send_eof()

    async def aclose(self) -> None:
        try:
            if output := self.layer.close():
                await self.transport_stream.send_all(output)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has gone
        finally:
            await self.transport_stream.aclose()

    def _said(self, data: bytes) -> bytes:
        try:
            return self.layer.receive(data)
        except ssl.SSLError as error:
            raise trio.BrokenResourceError(f"TLS: {_why(error)}") from error


def _why(error: ssl.SSLError) -> str:
    """OpenSSL's word, or, where the fault is none of its, ours."""
    return str(getattr(error, "reason", None) or error.strerror)
