"""The certificate of the doors → an SSLContext that offers HTTP/2 and HTTP/1.1; and whose certificates it lets in."""

import hashlib
import ssl
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from mcp_ilert.errors import StartError

log = structlog.get_logger()

ALPN: Final = ("h2", "http/1.1")
San = tuple[str, str]
"""Of a certificate: what kind of name it is, as Python's ssl calls it, and the name."""


class Clients(msgspec.Struct, frozen=True):
    """Whom of those who show a certificate the doors let in. While two are equal, who was let in by one stays."""

    authority: bytes
    """A digest of `tls.client_ca_file`."""
    sans: frozenset[San] = frozenset()
    """Subject alternative names, of which a certificate needs one; where there are none, any certificate will do."""

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a certificate that was verified, as `getpeercert` gives it, is let in."""
        if not certificate:
            return False
        return not self.sans or any(san in self.sans for san in sans_of(certificate))


def clients_of(client_ca_file: str, allowed_sans: Sequence[str]) -> Clients:
    """As configured. Raises StartError where the file cannot be read."""
    _readable("tls.client_ca_file", client_ca_file)
    digest = hashlib.sha256(Path(client_ca_file).read_bytes()).digest()
    return Clients(digest, frozenset(_san(text) for text in allowed_sans))


def sans_of(certificate: Mapping[str, Any]) -> list[San]:
    """A certificate's names, in the form in which they are compared."""
    return [_same(kind, name) for kind, name in certificate.get("subjectAltName", ())]


def _san(text: str) -> San:
    """Which kind of name a configured one is, is seen by its form."""
    try:
        ip_address(text)
    except ValueError:
        return _same("URI" if ":" in text else "email" if "@" in text else "DNS", text)
    return _same("IP Address", text)


def _same(kind: str, name: str) -> San:
    if kind == "IP Address":
        try:
            return kind, str(ip_address(name.strip()))
        except ValueError:
            return kind, name
    return kind, name if kind == "URI" else name.lower()


def server_context(cert_file: str, key_file: str, *, client_ca_file: str | None = None) -> ssl.SSLContext:
    """TLS 1.2 and up. With `client_ca_file`, clients must show a certificate of that CA. Raises StartError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(list(ALPN))
    for key, path in (("tls.cert_file", cert_file), ("tls.key_file", key_file)):
        _readable(key, path)
    try:
        context.load_cert_chain(cert_file, key_file, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise StartError(_line(error, cert_file, key_file)) from None
    if client_ca_file is not None:
        _readable("tls.client_ca_file", client_ca_file)
        try:
            context.load_verify_locations(client_ca_file)
        except ssl.SSLError:
            raise StartError(f"tls.client_ca_file: {client_ca_file} holds no PEM certificate") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def admitted(clients: Clients, peer: ssl.SSLObject) -> bool:
    """Whether who has shown its certificate, or none, may speak; that it is of the CA was seen in the handshake."""
    certificate = peer.getpeercert()
    if clients.admits(certificate):
        return True
    names = [name for _, name in sans_of(certificate or {})][:5]
    log.warning("a client certificate without a name of tls.client_allowed_sans is not let in", names=names)
    return False


class Admission:
    """Asked at the end of each handshake: by the rule under which the client came, and only while that holds."""

    def __init__(self, clients: Clients | None, holds: Callable[[Clients | None], bool]) -> None:
        self.clients = clients
        self._holds = holds

    def __call__(self, peer: ssl.SSLObject) -> bool:
        return self._holds(self.clients) and (self.clients is None or admitted(self.clients, peer))


def _readable(key: str, path: str) -> None:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as error:
        raise StartError(f"{key}: {path} cannot be read: {error.strerror}") from None


def _no_password() -> str:
    raise ValueError("encrypted")


def _line(error: Exception, cert_file: str, key_file: str) -> str:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return f"tls.key_file: {key_file} is not the key of the certificate in tls.cert_file: {cert_file}"
    if isinstance(error, ValueError) and str(error) == "encrypted":
        return f"tls.key_file: {key_file} is encrypted with a password; give a key without one"
    return (
        f"tls.cert_file, tls.key_file: {cert_file} and {key_file} cannot be used; expected a PEM certificate "
        f"chain and its PEM key{f' ({reason})' if reason else ''}"
    )
