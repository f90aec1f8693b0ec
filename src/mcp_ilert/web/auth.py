"""Who may send: bearer tokens by name. What is kept of a token is its digest; comparing takes the same time for all."""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from mcp_ilert.mapping import glob_matcher
from mcp_ilert.problems import RequestError

_REALM: Final = 'Bearer realm="mcp-ilert"'
Allows = Callable[[str], bool]


class TokenText(Protocol):
    """The secret itself, as the configuration keeps it."""

    def reveal(self) -> str: ...


class TokenRules(Protocol):
    """A token, as configured (`auth.tokens`)."""

    @property
    def name(self) -> str: ...
    @property
    def token(self) -> TokenText: ...
    @property
    def role(self) -> str: ...
    @property
    def sources(self) -> Sequence[str]: ...


class Principal(msgspec.Struct, frozen=True):
    """Who a request comes from. `allows` is None where every source may be sent."""

    name: str
    role: str
    allows: Allows | None = None


OPERATOR: Final = "operator"
ANYBODY: Final = Principal("", "producer")


class Guard:
    """Tells by a request's Authorization header who sends it."""

    def __init__(self, tokens: Sequence[TokenRules] = ()) -> None:
        self._known: list[tuple[bytes, Principal]] = []
        self.version = 0
        """Counts the calls of `use`."""
        self.use(tokens)

    def use(self, tokens: Sequence[TokenRules]) -> None:
        """Take these from the next request on (a reload)."""
        self._known = [(_digest(token.token.reveal()), _principal(token)) for token in tokens]
        self.version += 1

    @property
    def on(self) -> bool:
        """Whether a token is needed."""
        return bool(self._known)

    def admit(self, authorization: str | None) -> Principal:
        """Who it is; anybody where no token is configured. Raises RequestError (401)."""
        if not self._known:
            return ANYBODY
        if authorization is None:
            raise RequestError(
                401, "a bearer token is needed: Authorization: Bearer TOKEN", {"WWW-Authenticate": _REALM}
            )
        found = self._find(authorization)
        if found is None:
            challenge = f'{_REALM}, error="invalid_token"'
            raise RequestError(401, "the bearer token is not known", {"WWW-Authenticate": challenge})
        return found

    def operate(self, authorization: str | None) -> Principal:
        """Who it is, where it may manage the bridge; anybody where no token is configured.

        Raises RequestError: 401, or 403 where the token's role is another.
        """
        principal = self.admit(authorization)
        if self._known and principal.role != OPERATOR:
            raise RequestError(
                403, f"this token has the role {principal.role}; the API needs {OPERATOR} (auth.tokens)"
            )
        return principal

    def _find(self, authorization: str) -> Principal | None:
        scheme, _, token = authorization.partition(" ")
        digest = _digest(token.strip())
        found = None
        for known, principal in self._known:  # all of them, so that time tells nothing
            if hmac.compare_digest(known, digest):
                found = principal
        return found if scheme.lower() == "bearer" else None


def _principal(token: TokenRules) -> Principal:
    return Principal(token.name, token.role, _allows(token.sources))


def _allows(globs: Sequence[str]) -> Allows | None:
    if not globs or "*" in globs:
        return None
    matchers = [glob_matcher(glob) for glob in globs]
    return lambda source: any(matches(source) is not None for matches in matchers)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
