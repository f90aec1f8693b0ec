"""The certificate of the doors → an SSLContext that offers HTTP/2 and HTTP/1.1."""

import ssl
from pathlib import Path
from typing import Final

from mcp_ilert.errors import StartError

ALPN: Final = ("h2", "http/1.1")


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


def admit_peer(_: ssl.SSLObject) -> bool:
    """Whether who has shown its certificate, or none, may speak; asked at the end of each handshake."""
    return True


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
