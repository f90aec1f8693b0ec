"""Hypercorn's protocols, mended where a hostile or an impatient client would reach past them.

HTTP/1.1: what is no HTTP, or could be read in two ways, is answered by a problem+json. HTTP/2 is in `hyper2.py`.
"""

import json
from http import HTTPStatus
from typing import Any, Final

import h11
import structlog
from hypercorn.config import Config
from hypercorn.protocol.h11 import H2ProtocolAssumedError, H11Protocol

from mcp_ilert.doors.strict import StrictConnection

log = structlog.get_logger()

MAX_HEADER_BYTES: Final = 16 * 1024
MAX_STREAMS: Final = 100


class _Log:
    """In the place of Hypercorn's logger: its errors go where ours go, the rest nowhere."""

    def __init__(self, config: Config) -> None:
        pass

    async def access(self, *_: Any) -> None: ...
    async def debug(self, *_: Any, **__: Any) -> None: ...
    async def info(self, *_: Any, **__: Any) -> None: ...

    async def warning(self, message: str, *_: Any, **__: Any) -> None:
        log.warning("hypercorn", message=message)

    async def error(self, message: str, *_: Any, **__: Any) -> None:
        log.error("hypercorn", message=message)

    async def exception(self, message: str, *_: Any, **__: Any) -> None:
        log.error("hypercorn", message=message, exc_info=True)  # noqa: LOG014 - called where one is being handled

    critical = error


def hypercorn_config() -> Config:
    """Hypercorn's settings: bounded headers and streams, connections kept for as long as they are used."""
    config = Config()
    config.logger_class = _Log  # type: ignore[assignment]  # it has what Hypercorn calls
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.h2_max_header_list_size = MAX_HEADER_BYTES
    config.h2_max_concurrent_streams = MAX_STREAMS
    config.keep_alive_max_requests = 2**62
    return config


class Http1(H11Protocol):
    """HTTP/1.1 on one connection, read strictly."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._strict = StrictConnection(MAX_HEADER_BYTES)
        self.connection = self._strict

    async def _check_protocol(self, event: h11.Request) -> None:
        """Only the preface turns to HTTP/2. `Upgrade: h2c` is passed over, as RFC 9113 has it.

        A proxy that lets it through would carry, unseen, whatever comes after.
        """
        if event.http_version == b"2.0":
            raise H2ProtocolAssumedError(b"PRI * HTTP/2.0\r\n\r\n" + self._strict.trailing_data[0])

    async def _send_error_response(self, status_code: int) -> None:
        status = HTTPStatus(status_code)
        problem = {
            "title": status.phrase,
            "status": status_code,
            "detail": self._strict.fault or "this is not a request in HTTP/1.1",
        }
        if status_code == 431:
            problem["detail"] = f"the request's head is larger than {MAX_HEADER_BYTES} bytes"
        body = json.dumps(problem).encode()
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())
