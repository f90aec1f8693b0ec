"""How a connection's fault is told: one line, without what the client sent."""

import ssl

import structlog

log = structlog.get_logger()


def tell_failed(error: BaseException) -> None:
    """A connection ended by an error of ours, or could not be accepted."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ssl.SSLError):
        log.debug(
            "a client's TLS failed", reason=getattr(error, "reason", None) or error.strerror
        )  # anybody can have that
        return
    log.warning("a connection failed", error=f"{type(error).__name__}: {error}"[:300])
