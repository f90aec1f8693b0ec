"""Whether a request comes from this machine itself: where there are no tokens, only then may it change anything. Pure.

A proxy on this machine speaks for others, so what says that it was forwarded is not from here. Nor is what a
browser sends for a page from elsewhere.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


def from_elsewhere(client: str | None, headers: Mapping[str, str]) -> str | None:
    """Why the request counts as one from elsewhere; None where it is from this machine. Header names in lower case."""
    if client is None or not is_loopback(client):
        return "it does not come from loopback"
    forwarded = next((name for name in FORWARDED if name in headers), None)
    if forwarded is not None:
        return f"it was forwarded for somebody ({forwarded})"
    origin = headers.get("origin")
    if origin is not None and not is_loopback(host_of(origin)):
        return "it is from a web page that is not from this machine (origin)"
    return None


def is_loopback(host: str) -> bool:
    """Whether an address, or the name localhost, is this machine."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool(mapped.is_loopback if mapped is not None else address.is_loopback)


def host_of(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""
