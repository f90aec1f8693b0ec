"""`mcp-ilert`, but for the limit of an address: with 690 requests a minute kills would find little in flight."""

from mcp_ilert.cli import main
from mcp_ilert.dispatch import desk

desk.ADDRESS_PER_MINUTE = 60_000  # type: ignore[attr-defined] - not meant to be changed

if __name__ == "__main__":
    main()
