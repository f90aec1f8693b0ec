"""Which bodies the doors take, by their Content-Type: the same rule for every door."""

from typing import Final

from werkzeug.http import parse_options_header

from mcp_ilert.problems import RequestError

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"


def media_type(content_type: str | None) -> str:
    """JSON or NDJSON; raises RequestError (415) for all else."""
    kind, options = parse_options_header(content_type)
    kind = kind.lower()
    if kind not in {JSON, NDJSON}:
        given = f"got {kind[:80]}" if kind else "got none"
        raise RequestError(
            415, f"Content-Type: expected {JSON} or {NDJSON}, {given}", {"Accept": f"{JSON}, {NDJSON}"}
        )
    charset = options.get("charset", "utf-8").lower()
    if charset not in {"utf-8", "utf8"}:
        raise RequestError(415, f"Content-Type: expected charset utf-8, got {charset[:80]}")
    return kind
