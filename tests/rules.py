"""Settings as the mapper and the guard read them, with the contract's defaults, for tests of these parts alone."""

import msgspec


class Match(msgspec.Struct, frozen=True):
    source: str | None = None
    tags: tuple[str, ...] = ()
    severity: tuple[str, ...] = ()
    labels: dict[str, str] = {}


class RouteSettings(msgspec.Struct, frozen=True):
    name: str | None = None
    match: Match = Match()
    webhook_key: str | None = None
    routing_key: str | None = None
    target: str = "alert"
    services: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    drop: bool = False


class MappingSettings(msgspec.Struct, frozen=True):
    priority_map: dict[int, str] = msgspec.field(
        default_factory=lambda: {1: "critical", 2: "high", 3: "medium", 4: "low"}
    )
    default_severity: str = "high"
    severity_names: dict[str, str] = msgspec.field(
        default_factory=lambda: {"page": "critical", "error": "high", "warning": "medium", "info": "low"}
    )
    alert_key: str = "{mcp_id}"


class Rules(msgspec.Struct, frozen=True):
    mapping: MappingSettings = MappingSettings()
    routes: tuple[RouteSettings, ...] = ()


class Text(msgspec.Struct, frozen=True):
    text: str

    def reveal(self) -> str:
        return self.text


class Token(msgspec.Struct, frozen=True):
    name: str
    token: Text
    role: str = "producer"
    sources: tuple[str, ...] = ("*",)
