"""Which dialect a webhook speaks, by the settings."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import msgspec

from mcp_ilert.config import BUILT_IN, Settings, Webhook, preset_of
from mcp_ilert.decode.alertmanager import Alerts
from mcp_ilert.decode.grafana import grafana
from mcp_ilert.decode.mapped import Mapped, read_json
from mcp_ilert.decode.presets import PRESETS, Preset
from mcp_ilert.decode.sns import open_envelope
from mcp_ilert.errors import InvalidEventError

NO_PRESET = Preset({})


class Dialect(Protocol):
    """From a body to events."""

    @property
    def many(self) -> bool:
        """Whether a body may hold several, so that a bad one is rejected by its index."""

    def convert(self, body: bytes) -> Iterator[bytes | InvalidEventError]:
        """The events' texts, or why one is none; raises McpIlertError where the whole cannot be used."""


class Spoken(msgspec.Struct, frozen=True):
    """A webhook's dialect, and the preset that it rests on."""

    dialect: Dialect
    preset: Preset = NO_PRESET


def dialects_of(settings: Settings) -> Mapping[str, Spoken]:
    """Every webhook by its name, the built-in ones included."""
    configured = {name: Webhook() for name in BUILT_IN} | settings.webhooks
    return {name: spoken(name, webhook) for name, webhook in configured.items()}


def spoken(name: str, webhook: Webhook) -> Spoken:
    """The dialect of one webhook."""
    chosen = preset_of(name, webhook)
    if chosen == "alertmanager":
        return Spoken(Alerts())
    if chosen == "grafana":
        return Spoken(grafana())
    preset = PRESETS[chosen] if chosen else NO_PRESET
    read = open_envelope if preset.sns else read_json
    event = {**preset.event, **webhook.event}
    return Spoken(Mapped(name, event, webhook.each or preset.each, read=read), preset)
