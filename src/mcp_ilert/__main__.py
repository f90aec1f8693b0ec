"""`python -m mcp_ilert` is `mcp-ilert`."""

from mcp_ilert.cli import main

main()
