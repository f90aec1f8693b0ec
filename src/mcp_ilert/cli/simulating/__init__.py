"""The parts of `mcp-ilert simulate`."""
