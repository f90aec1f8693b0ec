"""What other systems send, in their documented forms."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "payloads"


def raw(name: str) -> bytes:
    return (FOLDER / f"{name}.json").read_bytes()


def payload(name: str, **changes: Any) -> Any:
    """The payload with these top-level fields in place of its own."""
    return json.loads(raw(name)) | changes
