"""Which addresses the bridge's own requests never go to, whatever a configuration or a name server says. Pure.

At a link-local address a cloud's machine finds its metadata, and with it credentials: no iLert is there.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from socket import inet_aton
from typing import Final

import httpcore


class RefusedAddressError(httpcore.ConnectError):
    """The peer's address is none that the bridge sends to; nothing was sent."""


METADATA: Final = frozenset(
    ip_address(text)
    for text in (
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure
        "192.0.0.192",  # Oracle Cloud
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google Cloud
    )
)
"""Those that are not link-local, too; 169.254.169.254 is."""

_NAT64: Final = tuple(IPv6Network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48"))
"""Of everybody, and of a network's own (RFC 8215); its last 32 bits are taken for the address."""


def is_refused(address: str) -> bool:
    """Whether nothing is to be sent to this address, which must be numeric; a zone may follow."""
    return any(
        one.is_link_local or one.is_multicast or one in METADATA for one in _meant(ip_address(address))
    )


def literal(host: str) -> str | None:
    """The address that a URL's host is, however it is written (2852039166, 0xa9fea9fe, 169.254.43518); None: a name."""
    host = host.rstrip(".")
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        return str(IPv4Address(inet_aton(host)))
    except (OSError, ValueError):
        return None


def _meant(address: IPv4Address | IPv6Address) -> tuple[IPv4Address | IPv6Address, ...]:
    """The address, and the IPv4 address that is inside it."""
    if isinstance(address, IPv4Address):
        return (address,)
    plain = IPv6Address(int(address))  # without its zone
    inner = (plain.ipv4_mapped, plain.sixtofour, _last(plain), *(plain.teredo or ()))
    return (plain, *(one for one in inner if one is not None))


def _last(address: IPv6Address) -> IPv4Address | None:
    """That of NAT64, and of the old form ::a.b.c.d."""
    within = any(address in network for network in _NAT64)
    old = 1 < int(address) < 1 << 32
    return IPv4Address(int(address) & 0xFFFFFFFF) if within or old else None
