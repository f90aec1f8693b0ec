"""Amazon SNS over HTTPS: an envelope whose `Message` is a text, and messages about the subscription itself.

What asks to be confirmed names a URL. Only one is ever fetched: https, the SNS host of a region, the action
ConfirmSubscription; a message cannot have the bridge fetch anything else.
"""

import re
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from mcp_ilert.decode.mapped import SILENT, read_json
from mcp_ilert.decode.text import check_text
from mcp_ilert.errors import InvalidEventError, MalformedError

CONFIRMATION: Final = "SubscriptionConfirmation"
NOTICES: Final = (CONFIRMATION, "UnsubscribeConfirmation")
_HOST: Final = re.compile(r"sns\.[a-z]{2,4}(-[a-z]{2,12}){1,3}-[0-9]{1,2}\.amazonaws\.com(\.cn)?")


class Confirmation(msgspec.Struct, frozen=True):
    """SNS asks whether the subscription is wanted; fetching the URL says yes."""

    url: str
    topic: str


def open_envelope(body: bytes) -> Any:
    """The envelope with its `Message` as JSON where it is that; SILENT where it is about the subscription itself.

    A body without an envelope (raw message delivery) stands as the message of one.
    """
    value = read_json(body)
    if not isinstance(value, dict):
        raise InvalidEventError("$: expected a message of SNS as a JSON object")
    if value.get("Type") in NOTICES:
        return SILENT
    message = value.get("Message")
    if not isinstance(message, str):
        return {"Message": value}
    return value | {"Message": _message(message)}


def _message(text: str) -> Any:
    encoded = text.encode()
    try:
        check_text(encoded)
        return read_json(encoded)
    except MalformedError:
        return text


def confirmation(body: bytes) -> Confirmation | None:
    """What the body asks, where it asks to be confirmed. Raises InvalidEventError for a URL that is not SNS's."""
    try:
        value = read_json(body)
    except MalformedError:
        return None
    if not isinstance(value, dict) or value.get("Type") != CONFIRMATION:
        return None
    url, topic = value.get("SubscribeURL"), value.get("TopicArn")
    if not isinstance(url, str) or not is_subscribe_url(url):
        raise InvalidEventError(
            "$.SubscribeURL: expected https://sns.REGION.amazonaws.com/?Action=ConfirmSubscription…"
        )
    return Confirmation(url, topic[:256] if isinstance(topic, str) else "")


def is_subscribe_url(url: str) -> bool:
    """Whether fetching this does nothing but confirm a subscription at SNS."""
    if len(url) > 2_048 or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme != "https" or port not in (None, 443) or "@" in parts.netloc or parts.fragment:
        return False
    if _HOST.fullmatch(parts.hostname or "") is None or parts.path not in ("", "/"):
        return False
    return parse_qs(parts.query).get("Action") == ["ConfirmSubscription"]
