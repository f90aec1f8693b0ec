"""Prometheus Alertmanager's webhook, format version 4: an event an alert; and Grafana's, which has the same frame.

An alert's fingerprint is its mcp_id. Its source is its label `instance`, else `host`, `node`, `pod`, `job`, else the
receiver's name. The summary is the annotation `summary`, `title`, `message` or `description`, else the alert's name.
Labels are labels; annotations, times, and every field that we do not know are kept as they were written. Beside them
stands what the notification says of itself, `truncatedAlerts` above all; but not what repeats the alerts.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from mcp_ilert.decode.converted import MOST_EVENTS, event_text
from mcp_ilert.decode.native import is_timestamp, malformed
from mcp_ilert.decode.text import check_text, refuse_nul
from mcp_ilert.errors import InvalidEventError, TooLargeError
from mcp_ilert.events import Status

Fields = dict[str, msgspec.Raw]
SOURCES: Final = ("instance", "host", "hostname", "node", "pod", "job")
SUMMARIES: Final = ("summary", "title", "message", "description")
STATUSES: Final[Mapping[str, Status]] = {"firing": "firing", "resolved": "resolved"}
REPEATED: Final = frozenset({"alerts", "status", "version", "commonLabels", "commonAnnotations"})
"""Of the frame: what the alerts say themselves, or what says nothing."""
MOST_COMMON: Final = 4_096
"""Bytes of what all alerts of a body have in common, which is kept with each of them."""
NEVER: Final = "0001-01-01T00:00:00Z"
LINKS: Final = {"generatorURL": "Source"}

_fields = msgspec.json.Decoder(Fields)
_list = msgspec.json.Decoder(list[msgspec.Raw])
_text = msgspec.json.Decoder(str)
_texts = msgspec.json.Decoder(dict[str, str])


class Alerts:
    """The dialect. `links` are the fields of an alert that hold URLs, with what to call them."""

    many = True

    def __init__(
        self,
        name: str = "alertmanager",
        links: Mapping[str, str] = LINKS,
        repeated: frozenset[str] = REPEATED,
    ) -> None:
        self._name = name
        self._links = links
        self._repeated = repeated

    def convert(self, body: bytes) -> Iterator[bytes | InvalidEventError]:
        """The body's events, each with the mark, or why an alert is none. Raises where the body is no such frame."""
        check_text(body)
        frame = _frame(body)
        receiver = _optional(frame, "receiver", "$") or self._name
        common = _common({name: raw for name, raw in frame.items() if name not in self._repeated})
        for index, alert in enumerate(_alerts(frame)):
            try:
                yield self._event(alert, f"$.alerts[{index}]", receiver, common)
            except InvalidEventError as error:
                yield error

    def _event(self, raw: msgspec.Raw, path: str, receiver: str, common: Fields) -> bytes:
        refuse_nul(bytes(raw))
        alert = _object(raw, path)
        status = STATUSES.get(_required(alert, "status", path))
        if status is None:
            raise InvalidEventError(f"{path}.status: expected firing or resolved")
        labels = _mapping(alert, "labels", path)
        annotations = _mapping(alert, "annotations", path)
        name = labels.get("alertname", "")
        fingerprint = _required(alert, "fingerprint", path)
        return event_text(
            fingerprint,
            _chosen(labels, SOURCES) or receiver,
            _chosen(annotations, SUMMARIES) or name or f"alert {fingerprint}",
            status=status,
            severity=labels.get("severity"),
            details=annotations.get("description"),
            timestamp=_time(alert, status, path),
            links=self._urls(alert, annotations, path),
            labels=labels,
            extra=self._extra(alert, common),
        )

    def _urls(self, alert: Fields, annotations: Mapping[str, str], path: str) -> list[tuple[str, str]]:
        found = [(_optional(alert, name, path), text) for name, text in self._links.items()]
        found.append((annotations.get("runbook_url"), "Runbook"))
        return [(href, text) for href, text in found if href]

    def _extra(self, alert: Fields, common: Fields) -> Fields:
        told = {"status", "labels", "fingerprint", *self._links}
        own = {name: raw for name, raw in alert.items() if name not in told and bytes(raw) not in _NOTHING}
        return common | own


_NOTHING: Final = frozenset({b"null", b"{}", b"[]", b'""', b'"%s"' % NEVER.encode()})


def _frame(body: bytes) -> Fields:
    try:
        return _fields.decode(body)
    except msgspec.ValidationError:
        raise InvalidEventError("$: expected a notification as a JSON object") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error) from None


def _alerts(frame: Fields) -> list[msgspec.Raw]:
    if "alerts" not in frame:
        raise InvalidEventError("$.alerts: required, but missing")
    try:
        found = _list.decode(frame["alerts"])
    except msgspec.ValidationError:
        raise InvalidEventError("$.alerts: expected an array of alerts") from None
    if not found:
        raise InvalidEventError("$.alerts: expected at least one alert")
    if len(found) > MOST_EVENTS:
        raise TooLargeError(f"$.alerts: expected at most {MOST_EVENTS} alerts, got {len(found)}")
    return found


def _common(frame: Fields) -> Fields:
    """Of the frame what fits; what does not is named, for it would be kept with every alert."""
    kept: Fields = {}
    left_out: list[str] = []
    size = 0
    for name in sorted(frame, key=lambda name: name != "truncatedAlerts"):
        value = bytes(frame[name])
        if value in _NOTHING or (name == "truncatedAlerts" and value == b"0"):
            continue
        if size + len(name) + len(value) > MOST_COMMON:
            left_out.append(name[:80])
            continue
        size += len(name) + len(value)
        kept[name] = frame[name]
    if left_out:
        kept["left_out"] = msgspec.Raw(msgspec.json.encode(left_out[:20]))
    return kept


def _time(alert: Fields, status: Status, path: str) -> str | None:
    """When it began, or ended; a time that is none of ours is kept as it is, in its own field."""
    text = _optional(alert, "endsAt" if status == "resolved" else "startsAt", path)
    return text if text and text != NEVER and is_timestamp(text) else None


def _object(raw: msgspec.Raw, path: str) -> Fields:
    try:
        return _fields.decode(raw)
    except msgspec.ValidationError:
        raise InvalidEventError(f"{path}: expected an alert as a JSON object") from None


def _required(fields: Fields, name: str, path: str) -> str:
    text = _optional(fields, name, path)
    if not text:
        raise InvalidEventError(f"{path}.{name}: required, but missing")
    return text


def _optional(fields: Fields, name: str, path: str) -> str | None:
    raw = fields.get(name)
    if raw is None or bytes(raw) == b"null":
        return None
    try:
        return _text.decode(raw)
    except msgspec.ValidationError:
        raise InvalidEventError(f"{path}.{name}: expected a text") from None


def _mapping(alert: Fields, name: str, path: str) -> dict[str, str]:
    raw = alert.get(name)
    if raw is None or bytes(raw) == b"null":
        return {}
    try:
        return _texts.decode(raw)
    except msgspec.ValidationError:
        raise InvalidEventError(f"{path}.{name}: expected an object of texts") from None


def _chosen(texts: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((text for name in names if (text := texts.get(name, "").strip())), None)
