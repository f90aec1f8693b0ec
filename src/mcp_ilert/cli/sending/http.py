"""Sends batches to `POST /events`, over HTTP/1.1 or HTTP/2; comes again when the bridge asks it to."""

import random
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import httpx
import msgspec
import trio

from mcp_ilert.cli.sending.lines import Batch, Refusal
from mcp_ilert.cli.sending.tally import Stopped, Tally, Verdict

MAX_WAIT_SECONDS = 60.0
BASE_WAIT_SECONDS = 0.5
COME_AGAIN = (429, 503)


class RejectedAt(msgspec.Struct, frozen=True):
    index: int
    error: str = ""


class Answered(msgspec.Struct, frozen=True):
    """What we read of an answer: a receipt or a problem, as the bridge gives them."""

    accepted: int = 0
    rejected: tuple[RejectedAt, ...] = ()
    rejected_total: int = 0
    title: str = ""
    detail: str = ""


def wait_before_retry(retry_after: str | None, retries: int, draw: Callable[[], float]) -> float:
    """Seconds: as the bridge asks, else exponentially with full jitter (`draw` in [0, 1))."""
    if retry_after is not None and retry_after.strip().isdecimal():
        return min(float(retry_after), MAX_WAIT_SECONDS)
    return min(BASE_WAIT_SECONDS * 2.0**retries, MAX_WAIT_SECONDS) * draw()


def judge(status: int, content: bytes, batch: Batch) -> Verdict:
    """What an answer says of each line. Raises Stopped where it is about the request, not its events."""
    answer = _read(content)
    if status == 202:
        return Verdict(answer.accepted, _refusals(answer, batch), _unlisted(answer))
    reason = answer.detail or answer.title or f"HTTP {status}"
    if status in (400, 413, 422):
        listed = _refusals(answer, batch)
        if listed:
            return Verdict(0, listed, _unlisted(answer))
        return Verdict(0, tuple(Refusal(number, reason) for number in batch.numbers))
    raise Stopped(f"the bridge answered {status}: {reason}")


def _read(content: bytes) -> Answered:
    try:
        return msgspec.json.decode(content, type=Answered)
    except msgspec.DecodeError:
        return Answered()  # a proxy's page: the status must do


def _refusals(answer: Answered, batch: Batch) -> tuple[Refusal, ...]:
    return tuple(
        Refusal(batch.numbers[r.index], r.error) for r in answer.rejected if 0 <= r.index < len(batch.lines)
    )


def _unlisted(answer: Answered) -> int:
    return max(0, answer.rejected_total - len(answer.rejected))


class HttpSender:
    """Posts batches on one client. A batch is retried whole: iLert's alert key makes a repeat harmless."""

    def __init__(
        self, client: httpx.AsyncClient, url: str, content_type: str, max_retries: int, tally: Tally
    ) -> None:
        self._client = client
        self._url = url
        self._headers = {"content-type": content_type}
        self._max_retries = max_retries
        self._tally = tally
        self._reached = False

    async def __call__(self, batch: Batch) -> Verdict:
        response = await self._post(b"\n".join(batch.lines))
        if response.status_code == 413 and len(batch.lines) > 1:  # its limit is smaller than our batch
            first, second = [await self(half) for half in batch.halves()]
            return Verdict(
                first.accepted + second.accepted,
                first.refused + second.refused,
                first.unlisted + second.unlisted,
            )
        return judge(response.status_code, response.content, batch)

    async def _post(self, body: bytes) -> httpx.Response:
        for retries in range(self._max_retries + 1):
            last = retries == self._max_retries
            after: str | None = None
            try:
                response = await self._client.post(self._url, content=body, headers=self._headers)
            except httpx.HTTPError as error:
                if last or (isinstance(error, httpx.ConnectError) and not self._reached):
                    raise Stopped(self._unreachable(error)) from None
            else:
                self._reached = True
                if response.status_code not in COME_AGAIN or last:
                    return response
                after = response.headers.get("retry-after")
            self._tally.retries += 1
            await trio.sleep(wait_before_retry(after, retries, random.random))
        raise AssertionError("the last try returns or raises")

    def _unreachable(self, error: httpx.HTTPError) -> str:
        if isinstance(error, httpx.ConnectError):
            return f"no bridge answers at {self._url}: {error}; is it running, is --url right?"
        return f"the bridge at {self._url} gave no answer: {str(error) or type(error).__name__}"


@asynccontextmanager
async def open_http(
    url: str,
    *,
    http2: bool,
    verify: ssl.SSLContext | bool,
    headers: Mapping[str, str],
    single: bool,
    max_retries: int,
    timeout_seconds: float,
    concurrency: int,
    tally: Tally,
) -> AsyncIterator[HttpSender]:
    """A sender to this URL. Without TLS, HTTP/2 is by prior knowledge; with TLS, by ALPN."""
    secure = url.startswith("https:")
    async with httpx.AsyncClient(
        http1=secure or not http2,
        http2=http2,
        verify=verify,
        headers=headers,
        timeout=timeout_seconds,
        limits=httpx.Limits(max_connections=1 if http2 else concurrency),
        trust_env=False,
    ) as client:
        content_type = "application/json" if single else "application/x-ndjson"
        yield HttpSender(client, url, content_type, max_retries, tally)
