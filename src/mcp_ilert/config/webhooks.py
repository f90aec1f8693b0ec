"""What must hold within `webhooks` and for `auth.webhook_secrets`."""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from mcp_ilert.config.model import Webhook
from mcp_ilert.config.secret import Secret
from mcp_ilert.config.show import show_key

BUILT_IN: Final = ("alertmanager", "grafana")
"""Webhooks that are there without being configured; their dialects are code, not expressions."""
SNS_PRESETS: Final = ("cloudwatch",)
PREFIX: Final = "whsec_"
MOST_FIELDS: Final = 64
LEAST_BYTES: Final = 16


def webhook_faults(webhooks: Mapping[str, Webhook]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The paths that a problem rests on, and its line; the first path is the one that the line names."""
    for name, webhook in webhooks.items():
        here = f"webhooks.{show_key(name)}"
        for keys, line in _faults(name, webhook):
            paths = tuple(f"{here}.{key}" for key in keys)
            yield paths, f"{paths[0]}: {line}"


def _faults(name: str, webhook: Webhook) -> Iterator[tuple[tuple[str, ...], str]]:
    preset = preset_of(name, webhook)
    if name in BUILT_IN and preset != name:
        line = f"expected {name}, or none: this is the built-in webhook; give yours another name"
        yield ("preset",), line
    if preset in BUILT_IN:
        for key in ("event", "each"):
            if getattr(webhook, key):
                yield (key, "preset"), f"given, but the preset {preset} has no expressions; leave it out"
    elif preset is None:
        missing = [field for field in ("mcp_id", "summary") if field not in webhook.event]
        if missing:
            rests = ("event", "preset", *(f"event.{field}" for field in missing))
            yield rests, f"lacks {' and '.join(missing)}; expected an expression for each, or a preset"
    if len(webhook.event) > MOST_FIELDS:
        yield ("event",), f"has {len(webhook.event)} fields, expected at most {MOST_FIELDS}"
    if webhook.confirm_sns and preset not in SNS_PRESETS:
        line = f"true, but only the preset {', '.join(SNS_PRESETS)} has subscriptions to confirm"
        yield ("confirm_sns", "preset"), line


def preset_of(name: str, webhook: Webhook) -> str | None:
    """The preset's name; that of a built-in webhook goes without saying."""
    return webhook.preset or (name if name in BUILT_IN else None)


def signing_faults(secrets: Sequence[Secret]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The same for the secrets of Standard Webhooks."""
    for index, secret in enumerate(secrets):
        key = signing_key(secret)
        path = f"auth.webhook_secrets[{index}]"
        if key is None:
            yield (path,), f'{path}: expected a Standard Webhooks secret: "{PREFIX}" and base64'
        elif len(key) < LEAST_BYTES:
            yield (path,), f"{path}: has {len(key)} bytes, expected at least {LEAST_BYTES} (24 are usual)"


def signing_key(secret: Secret) -> bytes | None:
    """The bytes of a Standard Webhooks secret; None where it is none."""
    text = secret.reveal()
    if not text.startswith(PREFIX):
        return None
    try:
        return base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
