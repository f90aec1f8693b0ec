"""Durable lanes: what is accepted and not yet delivered."""

from mcp_ilert.spool.spool import open_memory_spool, open_spool

__all__ = ["open_memory_spool", "open_spool"]
