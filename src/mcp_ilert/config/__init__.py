"""The configuration: read, checked, and explained to who wrote it."""

from mcp_ilert.config.check import (
    is_loopback,
    problems,
    reload_differences,
    spool_path,
    warnings,
    watched_files,
)
from mcp_ilert.config.expression import parse_expression
from mcp_ilert.config.load import load, loads
from mcp_ilert.config.model import (
    Auth,
    DeliverySettings,
    History,
    Ilert,
    Listen,
    Logging,
    Mapping,
    Match,
    MetricsSettings,
    RateLimit,
    Retries,
    RouteSettings,
    Service,
    Settings,
    SeverityFields,
    SpoolSettings,
    Storm,
    Tls,
    Token,
    Webhook,
)
from mcp_ilert.config.routes import TargetSettings, targets
from mcp_ilert.config.schema import json_schema
from mcp_ilert.config.secret import Secret, hide_secrets
from mcp_ilert.config.template import Field, TemplateError, parse_template
from mcp_ilert.config.webhooks import BUILT_IN, preset_of, signing_key

__all__ = [
    "BUILT_IN",
    "Auth",
    "DeliverySettings",
    "Field",
    "History",
    "Ilert",
    "Listen",
    "Logging",
    "Mapping",
    "Match",
    "MetricsSettings",
    "RateLimit",
    "Retries",
    "RouteSettings",
    "Secret",
    "Service",
    "Settings",
    "SeverityFields",
    "SpoolSettings",
    "Storm",
    "TargetSettings",
    "TemplateError",
    "Tls",
    "Token",
    "Webhook",
    "hide_secrets",
    "is_loopback",
    "json_schema",
    "load",
    "loads",
    "parse_expression",
    "parse_template",
    "preset_of",
    "problems",
    "reload_differences",
    "signing_key",
    "spool_path",
    "targets",
    "warnings",
    "watched_files",
]
