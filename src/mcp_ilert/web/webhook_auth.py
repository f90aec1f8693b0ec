"""Who may send webhooks: a bearer token, a Standard Webhooks signature, or the webhook's own HMAC.

Any secret that is configured, for any webhook, turns auth on for all of them: what nobody vouches for is refused.
A token may also stand as the password of Basic auth, for systems that know nothing else (Amazon SNS).
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Final

import msgspec

from mcp_ilert.config import Settings, signing_key
from mcp_ilert.decode.presets import Preset
from mcp_ilert.problems import RequestError
from mcp_ilert.web.auth import ANYBODY, Guard, Principal
from mcp_ilert.web.signatures import ID, SIGNATURE, TIMESTAMP, is_hmac, refused, signed

BASIC: Final = 'Basic realm="mcp-ilert"'
CHALLENGE: Final = {"WWW-Authenticate": f'Bearer realm="mcp-ilert", {BASIC}'}
SNS_CHALLENGE: Final = {"WWW-Authenticate": BASIC}
"""SNS shows its password only when it is asked for it, and reads no second challenge."""


class Admission(msgspec.Struct, frozen=True):
    """Who it is, and the message's identity where a signature vouches for it."""

    principal: Principal
    message: str | None = None


class Gate:
    """Admits requests to webhooks, by the settings of now."""

    def __init__(self, guard: Guard, settings: Settings) -> None:
        self._guard = guard
        self._keys: tuple[bytes, ...] = ()
        self._hmac_keys: dict[str, bytes] = {}
        self.use(settings)

    def use(self, settings: Settings) -> None:
        """Take these secrets from the next request on."""
        self._keys = tuple(key for secret in settings.auth.webhook_secrets if (key := signing_key(secret)))
        self._hmac_keys = {
            name: webhook.hmac_secret.reveal().encode()
            for name, webhook in settings.webhooks.items()
            if webhook.hmac_secret
        }

    @property
    def on(self) -> bool:
        """Whether somebody has to vouch for a request."""
        return self._guard.on or bool(self._keys) or bool(self._hmac_keys)

    def look(self, headers: Mapping[str, str], name: str, preset: Preset) -> Principal | None:
        """Who it is, where that is known before the body is read; None where the body has to be seen.

        Raises RequestError (401) at once for what brings nothing that could vouch for it.
        """
        if not self.on:
            return ANYBODY
        authorization = headers.get("authorization")
        if authorization is not None and self._guard.on:
            return self._guard.admit(_as_bearer(authorization))
        claimed = self._keys and signed(headers) is not None
        own = name in self._hmac_keys and headers.get(preset.signature_header.lower())
        if not claimed and not own:
            challenge = SNS_CHALLENGE if preset.sns else CHALLENGE
            raise RequestError(401, self._needed(name, preset), challenge)
        return None

    def verify(
        self, headers: Mapping[str, str], body: bytes, now: float, *, name: str, preset: Preset
    ) -> Admission:
        """Whom the body's signature vouches for; the body as it was sent. Raises RequestError (401)."""
        why = None
        claim = signed(headers) if self._keys else None
        if claim is not None:
            why = refused(claim, body, self._keys, now)
            if why is None:
                return Admission(ANYBODY, claim.id)
        key = self._hmac_keys.get(name)
        given = headers.get(preset.signature_header.lower())
        if key is not None and given:
            if is_hmac(given, preset.signature_prefix, body, key):
                return Admission(ANYBODY)
            why = why or f"{preset.signature_header} is not the body's HMAC"
        raise RequestError(401, why or self._needed(name, preset), CHALLENGE)

    def _needed(self, name: str, preset: Preset) -> str:
        ways = ["a bearer token"] if self._guard.on else []
        if self._keys:
            ways.append(f"a Standard Webhooks signature ({ID}, {TIMESTAMP}, {SIGNATURE})")
        if name in self._hmac_keys:
            ways.append(preset.signature_header)
        if not ways:
            return (
                "a secret of another webhook turns auth on, and this webhook has none: give it an hmac_secret"
            )
        return f"needed: {' or '.join(ways)}"


def _as_bearer(authorization: str) -> str:
    """The password of Basic auth as a bearer token; all else as it is."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() != "basic":
        return authorization
    try:
        decoded = base64.b64decode(rest.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return authorization
    return f"Bearer {decoded.partition(':')[2]}"
