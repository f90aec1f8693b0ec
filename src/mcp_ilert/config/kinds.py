"""The kinds of value that settings have: bounds for the reader, and words for the operator who missed them.

A `check` takes the text and gives what was expected, or None where the text is fine. `expects` is what the
problem's line says for a wrong type or a value out of bounds.
"""

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any
from urllib.parse import urlsplit

from msgspec import Meta

from mcp_ilert.config.expression import ExpressionError, parse_expression
from mcp_ilert.config.template import TemplateError, parse_template
from mcp_ilert.events import Severity

Check = Callable[[str], str | None]

SEVERITY_WORDS: tuple[str, ...] = tuple(severity.name.lower() for severity in Severity)
RESERVED_TARGETS = ("default", "default-incident")
YEAR = 366 * 86_400
GIB = 1 << 30
INT64 = (1 << 63) - 1

_HOST_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_BLANK_OR_CONTROL = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]")


def about(text: str) -> Meta:
    """Describes a key."""
    return Meta(description=text)


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """`; did you mean "x"?`, or nothing where nothing is near."""
    spelled = {one.lower(): one for one in known}
    near = difflib.get_close_matches(str(word)[:100].lower(), list(spelled), n=1)
    return f'; did you mean "{spelled[near[0]]}"?' if near else ""


def one_of(words: Iterable[str], given: str) -> str | None:
    known = tuple(words)
    return None if given in known else f"one of {', '.join(known)}{did_you_mean(given, known)}"


def severity_word(text: str) -> str | None:
    return one_of(SEVERITY_WORDS, text)


def template(text: str) -> str | None:
    try:
        parse_template(text)
    except TemplateError as error:
        return str(error)
    return None


def expression(text: str) -> str | None:
    try:
        parse_expression(text)
    except ExpressionError as error:
        return str(error)
    return None


def field_name(text: str) -> str | None:
    return None if _FIELD.fullmatch(text) else "a field's name of 1 to 64 letters, digits and '_'"


def host(text: str) -> str | None:
    """An address to listen on: IPv4, IPv6 or a host name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        labels = text.split(".")
        if (
            len(text) <= 253
            and all(_HOST_LABEL.fullmatch(label) for label in labels)
            and not labels[-1].isdigit()
        ):
            return None
        return "an IP address or a host name to listen on, such as 0.0.0.0"
    return None


def http_url(text: str) -> str | None:
    wanted = "an http:// or https:// URL without user, query and fragment, such as https://api.ilert.com"
    if _BLANK_OR_CONTROL.search(text):
        return wanted
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return wanted
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        return wanted
    return wanted if "@" in parts.netloc or "?" in text or "#" in text else None


def name(text: str) -> str | None:
    if _NAME.fullmatch(text):
        return None
    return "a name of 1 to 64 letters, digits, '.', '_' and '-', with a letter or digit first"


def not_blank(text: str) -> str | None:
    return None if text.strip() else "a text that is not empty"


def _from(least: float, expects: str, most: float) -> Meta:
    return Meta(ge=least, le=most, extra={"expects": expects})


def _above(bound: float, expects: str, most: float) -> Meta:
    return Meta(gt=bound, le=most, extra={"expects": expects})


def _text(check: Check, **schema: Any) -> Meta:
    return Meta(extra={"check": check}, extra_json_schema=schema or None)


Port = Annotated[int, _from(0, "a port number, 0 to 65535", 65_535)]
Count = Annotated[int, _from(1, "a whole number ≥ 1", INT64)]
Size = Annotated[int, _from(1, "a number of bytes ≥ 1", GIB)]
Space = Annotated[int, _from(0, "a number of bytes ≥ 0", INT64)]
Seconds = Annotated[float, _above(0, "a number of seconds > 0", YEAR)]
Pause = Annotated[float, _from(0, "a number of seconds ≥ 0", YEAR)]
Days = Annotated[float, _above(0, "a number of days > 0", 36_500)]
Rate = Annotated[float, _above(0, "a number > 0", INT64)]
IlertSeverity = Annotated[int, _from(1, "a whole number, 1 (worst) to 5", 5)]
ServiceId = Annotated[int, _from(1, "a whole number ≥ 1", INT64)]
Priority = Annotated[int, _from(-INT64 - 1, "a whole number", INT64)]
SeverityWord = Annotated[str, _text(severity_word, enum=list(SEVERITY_WORDS))]
Host = Annotated[str, _text(host)]
Url = Annotated[str, _text(http_url)]
Template = Annotated[str, _text(template)]
Expression = Annotated[str, _text(expression)]
FieldName = Annotated[str, _text(field_name)]
Name = Annotated[str, _text(name)]
Words = Annotated[str, _text(not_blank)]

# What the reader does with a path; all are relative to the folder of the configuration file.
Place = Annotated[str, Meta(extra={"path": "place", "check": not_blank})]
ReadableFile = Annotated[str, Meta(extra={"path": "file", "check": not_blank})]
PrivateFile = Annotated[str, Meta(extra={"path": "file", "check": not_blank, "hidden": True})]
"""Never shown: what stands there by mistake may be the key or the secret itself."""
