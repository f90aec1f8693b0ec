"""The composition root: the only place that knows all parts of the bridge."""

from mcp_ilert.service.opening import open_service
from mcp_ilert.service.parts import Attempted, rules_of
from mcp_ilert.service.service import Load, Service

__all__ = ["Attempted", "Load", "Service", "open_service", "rules_of"]
