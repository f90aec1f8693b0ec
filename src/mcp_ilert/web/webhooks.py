"""`POST /webhooks/NAME`: another system's notification → events → one commit, answered as `POST /events` is."""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final

import structlog
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.http import parse_options_header

from mcp_ilert.config import Settings
from mcp_ilert.decode.dialects import NO_PRESET, Spoken, dialects_of
from mcp_ilert.decode.sns import confirmation
from mcp_ilert.intake import Intake, Receipt
from mcp_ilert.intake.values import NOTHING
from mcp_ilert.problems import RequestError
from mcp_ilert.web.auth import Guard, Principal
from mcp_ilert.web.encodings import encoding_of
from mcp_ilert.web.events import IngestMetrics, accepted
from mcp_ilert.web.receiving import Clock, Receiver
from mcp_ilert.web.webhook_auth import Admission, Gate

log = structlog.get_logger()

DOOR: Final = "webhook"
SNS_HEADER: Final = "x-amz-sns-message-type"
Confirm = Callable[[str], Awaitable[int | None]]
"""Fetches a URL that confirms a subscription: the answer's status, or None where there is none."""


class Webhooks:
    """The webhooks of the settings of now, built-in ones included."""

    def __init__(self, guard: Guard, settings: Settings) -> None:
        self.gate = Gate(guard, settings)
        self._spoken: Mapping[str, Spoken] = {}
        self._confirmed: frozenset[str] = frozenset()
        self.use(settings)

    def use(self, settings: Settings) -> None:
        """Take these from the next request on (a reload)."""
        self._spoken = dialects_of(settings)
        self._confirmed = frozenset(
            name for name, webhook in settings.webhooks.items() if webhook.confirm_sns
        )
        self.gate.use(settings)

    def find(self, name: str) -> Spoken | None:
        return self._spoken.get(name)

    def confirms(self, name: str) -> bool:
        """Whether a subscription of SNS is to be confirmed."""
        return name in self._confirmed


def add_webhooks(
    app: QuartTrio, intake: Intake, webhooks: Webhooks, metrics: IngestMetrics, confirm: Confirm
) -> None:
    """Give the app its doors for other systems."""
    receiver = Receiver()

    @app.post("/webhooks/<name>")
    async def webhook(name: str) -> Response:
        headers = {key.lower(): value for key, value in request.headers.items()}
        spoken = webhooks.find(name)
        with _counted(metrics):  # before it says whether the webhook exists
            principal = webhooks.gate.look(headers, name, NO_PRESET if spoken is None else spoken.preset)
        if spoken is None:
            raise RequestError(404, f"there is no webhook {name[:80]} (webhooks)")
        _check_type(headers, sns=spoken.preset.sns)
        encoding = encoding_of(request.headers.getlist("Content-Encoding"))
        clock = Clock()
        sent = b"".join([part async for part in clock.read(receiver.parts())])
        if principal is not None:
            admission = Admission(principal)
        else:
            with _counted(metrics):
                admission = webhooks.gate.verify(headers, sent, time.time(), name=name, preset=spoken.preset)
        body = await receiver.plain(sent, encoding, intake.limits.max_body_bytes)
        message = None if admission.message is None else f"{name}\0{admission.message}"
        take = partial(_take, intake, spoken, body, admission.principal, message)
        if spoken.preset.sns:
            take = partial(_take_sns, take, webhooks.confirms(name), name, body, confirm)
        receipt = await take()
        metrics.ingest_latency.observe(clock.elapsed())
        return accepted(receipt)


async def _take(intake: Intake, spoken: Spoken, body: bytes, who: Principal, message: str | None) -> Receipt:
    dialect = spoken.dialect
    return await intake.accept_converted(
        dialect.convert(body),
        many=dialect.many,
        door=DOOR,
        allows=who.allows,
        quota=who.quota,
        name=message,
    )


async def _take_sns(
    take: Callable[[], Awaitable[Receipt]], wanted: bool, name: str, body: bytes, confirm: Confirm
) -> Receipt:
    asked = confirmation(body)
    if asked is None:
        return await take()
    if not wanted:
        log.warning("a subscription of SNS was refused", webhook=name, topic=asked.topic)
        raise RequestError(403, f"the subscription is not confirmed: webhooks.{name}.confirm_sns is false")
    status = await confirm(asked.url)
    log.info("a subscription of SNS was confirmed", webhook=name, topic=asked.topic, status=status)
    if status != 200:
        raise RequestError(503, "SNS did not take the confirmation; it asks again", {"Retry-After": "20"})
    return NOTHING


@contextmanager
def _counted(metrics: IngestMetrics) -> Iterator[None]:
    """What is refused within is counted."""
    try:
        yield
    except RequestError:
        metrics.in_events.labels(door=DOOR, result="unauthorized").inc()
        raise


def _check_type(headers: Mapping[str, str], *, sns: bool) -> None:
    """JSON by any name. SNS says text/plain, which a foreign page could send too, but not with SNS's own header."""
    kind, options = parse_options_header(headers.get("content-type"))
    kind = kind.lower()
    fitting = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    if not fitting and not (sns and kind == "text/plain" and SNS_HEADER in headers):
        given = f"got {kind[:80]}" if kind else "got none"
        raise RequestError(
            415, f"Content-Type: expected application/json, {given}", {"Accept": "application/json"}
        )
    charset = options.get("charset", "utf-8").lower()
    if charset not in {"utf-8", "utf8"}:
        raise RequestError(415, f"Content-Type: expected charset utf-8, got {charset[:80]}")
