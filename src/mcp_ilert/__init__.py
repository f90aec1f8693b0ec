"""MCP iLert: the durable bridge from MCP events (custom monitoring events) to iLert."""

from importlib.metadata import version

__version__ = version("mcp-ilert")
