"""Who may send: bearer tokens by name, client certificates.

What is kept of a token is its digest; comparing takes the same time for all.
A client certificate without a token is a producer, and stands for one where no producer has a token of its own: else
what a token may not do could be done by leaving it out.
"""

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

import msgspec

from mcp_ilert._fast.token_bucket import TokenBucket
from mcp_ilert.intake import Allows, Quota
from mcp_ilert.mapping import glob_matcher
from mcp_ilert.problems import RequestError

_REALM: Final = 'Bearer realm="mcp-ilert"'
Now = Callable[[], float]


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
    @property
    def per_second(self) -> float | None: ...


class Principal(msgspec.Struct, frozen=True):
    """Who a request comes from. `allows` is None where every source may be sent, `quota` where at any rate."""

    name: str
    role: str
    allows: Allows | None = None
    quota: Quota | None = None


OPERATOR: Final = "operator"
PRODUCER: Final = "producer"
ANYBODY: Final = Principal("", PRODUCER)


class Guard:
    """Tells by a request's Authorization header who sends it. `mutual`: all who connect have shown a certificate."""

    def __init__(
        self, tokens: Sequence[TokenRules] = (), *, mutual: bool = False, now: Now = time.monotonic
    ) -> None:
        self._known: list[tuple[bytes, Principal]] = []
        self._mutual = mutual
        self._buckets: dict[str, TokenBucket] = {}
        self._now = now
        self.version = 0
        """Counts the calls of `use`."""
        self.use(tokens, mutual=mutual)

    def use(self, tokens: Sequence[TokenRules], *, mutual: bool = False) -> None:
        """Take these from the next request on (a reload); what was spent of a token's rate stays spent."""
        self._mutual = mutual
        old, self._buckets = self._buckets, {}
        self._known = [
            (
                _digest(token.token.reveal()),
                Principal(token.name, token.role, _allows(token.sources), self._quota(token, old)),
            )
            for token in tokens
        ]
        self.version += 1

    def _quota(self, token: TokenRules, old: Mapping[str, TokenBucket]) -> Quota | None:
        if token.per_second is None:
            return None
        capacity, now = max(1.0, token.per_second), self._now
        bucket = old.get(token.name)
        if bucket is None:
            bucket = TokenBucket(capacity, token.per_second, capacity, now())
        bucket.limit(capacity, token.per_second, now())
        self._buckets[token.name] = bucket
        return partial(_take, bucket, now)

    @property
    def knows(self) -> bool:
        """Whether not just anybody may come in: the API is then for operators."""
        return bool(self._known) or self._mutual

    @property
    def on(self) -> bool:
        """Whether who sends events needs a token."""
        certified = self._mutual and all(principal.role != PRODUCER for _, principal in self._known)
        return bool(self._known) and not certified

    def admit(self, authorization: str | None) -> Principal:
        """Who it is; anybody where no token is needed and none is shown. Raises RequestError (401)."""
        if not self._known or (authorization is None and not self.on):
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
        """Who it is, where it may manage the bridge; anybody where neither tokens nor certificates are asked for.

        Raises RequestError: 401, or 403 where its role is another.
        """
        principal = self.admit(authorization)
        if self.knows and principal.role != OPERATOR:
            what = "token" if principal.name else "client certificate"
            raise RequestError(
                403, f"this {what} has the role {principal.role}; the API needs {OPERATOR} (auth.tokens)"
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


def _take(bucket: TokenBucket, now: Now, events: int) -> float:
    """A request of more than a second's worth waits for a full bucket, and is then paid off."""
    at = now()
    seconds = bucket.wait(min(events, bucket.capacity), at)
    if not seconds:
        bucket.spend(events, at)
    return seconds


def _allows(globs: Sequence[str]) -> Allows | None:
    if not globs or "*" in globs:
        return None
    matchers = [glob_matcher(glob) for glob in globs]
    return lambda source: any(matches(source) is not None for matches in matchers)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
