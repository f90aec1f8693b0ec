"""How a value or a key stands in a problem's line: short, on one line, and without control characters."""

import datetime as dt
import json
import re

LONGEST = 60
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")


def show(value: object) -> str:
    """The value as an operator would write it; of lists, mappings and the like only what they are."""
    if value is None or isinstance(value, bool | float) or value in ([], {}):
        return json.dumps(value)  # NaN and Infinity included, as these words
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 64 else "a number beyond 64 bits"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return kind_of(value)


def kind_of(value: object) -> str:
    """What sort of value it is, for where the value itself may be a secret."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names = {int: "a number", float: "a number", str: "a text", dict: "a mapping", list: "a list"}
    return next(
        (name for kind, name in names.items() if isinstance(value, kind)), f"a {type(value).__name__}"
    )


def quoted(text: str) -> str:
    """The text in double quotes, cut at LONGEST."""
    cut = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return clean(json.dumps(cut, ensure_ascii=False))


def clean(text: str) -> str:
    """The text without anything that could break or hide a line."""
    return "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text)


def show_key(key: object) -> str:
    """A key as it stands in a path."""
    if isinstance(key, str):
        return key if _PLAIN_KEY.fullmatch(key) else quoted(key)
    return show(key)
