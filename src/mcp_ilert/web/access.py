"""Where a request comes from: from this machine itself, or from somebody else's web page in a browser here. Pure.

It matters where there are no tokens: whoever may reach the port may then send and read, and who is on this machine
may change what waits. A browser on this machine may, too, and it runs pages of strangers. Their requests are known
by what browsers add to them and no page can take away (Origin, Sec-Fetch-Site), and, where a page has had its own
name lead here (DNS rebinding), by that name in Host.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
OURS: Final = frozenset({"same-origin", "none"})
"""What Sec-Fetch-Site says of our own page, and of a person's own doing."""


def from_elsewhere(client: str | None, headers: Mapping[str, str]) -> str | None:
    """Why the request counts as one from elsewhere; None where it is from this machine. Header names in lower case.

    A proxy on this machine speaks for others, so what says that it was forwarded is not from here.
    """
    if client is None or not is_loopback(client):
        return "it does not come from loopback"
    forwarded = next((name for name in FORWARDED if name in headers), None)
    if forwarded is not None:
        return f"it was forwarded for somebody ({forwarded})"
    return None


def from_foreign_page(host: str, headers: Mapping[str, str]) -> str | None:
    """Why the request counts as sent by a web page that is not ours; None where it was not. Names in lower case."""
    site = headers.get("sec-fetch-site")
    if site is not None and site.lower() not in OURS:
        return "it is from a web page of another origin (sec-fetch-site)"
    origin = headers.get("origin")
    if origin is None:
        return None
    if not host or _netloc(origin) != host.lower():
        return "it is from a web page of another origin (origin)"
    return f"{NAMED} (origin)" if has_name(host) else None


def rebound(client: str | None, host: str) -> str | None:
    """Why the request counts as one that a name was made to lead to this machine; None where it does not."""
    if client is None or not is_loopback(client) or not has_name(host):
        return None
    return f"{NAMED} (host)"


NAMED: Final = (
    "it came to this machine by a name that may be a stranger's, and neither localhost nor an address"
)


def has_name(host: str) -> bool:
    """Whether a Host is anything but left out, localhost, or an IP address."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return True
    if not host or name in {"localhost", "localhost."}:
        return False
    try:
        ip_address(name)
    except ValueError:
        return True
    return False


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


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
