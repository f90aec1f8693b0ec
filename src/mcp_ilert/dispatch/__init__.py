"""The delivering half: from what waits in the spool to what iLert was told."""

from mcp_ilert.dispatch.dispatcher import Dispatcher

__all__ = ["Dispatcher"]
