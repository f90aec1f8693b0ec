"""The part of the OpenAPI document that describes `/api/v1`; its schemas are those of what is sent."""

from typing import Any, Final

from mcp_ilert.console.overview import Overview
from mcp_ilert.console.requests import Answer, DropKey, PauseTarget, ReplayDead, ResumeTarget
from mcp_ilert.console.shown import Audited, Deliveries, Digests, LanePage, Life, SpoolStats, WaitingPage
from mcp_ilert.events import Severity
from mcp_ilert.problems import CONTENT_TYPE
from mcp_ilert.spool.urgency import CURSOR
from mcp_ilert.spool.view import NEWEST
from mcp_ilert.targets.on_call import OnCallNow
from mcp_ilert.web.api import CHANGES, ROOT
from mcp_ilert.web.asking import DEFAULT_LIMIT, MAX_KEY, MAX_LIMIT, MAX_TARGET

API_TYPES: Final = [
    Overview,
    SpoolStats,
    LanePage,
    WaitingPage,
    Digests,
    Deliveries,
    Life,
    OnCallNow,
    Audited,
    Answer,
    ReplayDead,
    DropKey,
    PauseTarget,
    ResumeTarget,
]
SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {}]
READS: Final[dict[str, tuple[str, type, tuple[str, ...]]]] = {
    "overview": ("Is the bridge well, in a sentence, with its figures and targets", Overview, ()),
    "stats": ("What was accepted, and what became of it", SpoolStats, ()),
    "lanes": (
        "Lanes in which something waits, is in flight or is dead by an outage",
        LanePage,
        ("limit", "after"),
    ),
    "waiting": (
        "What waits alive, the most urgent first, without the events' texts",
        WaitingPage,
        ("severity", "target", "part", "limit", "cursor"),
    ),
    "digests": ("Digests that stand for alerts in a storm", Digests, ("limit",)),
    "dead": ("Lanes with dead letters", LanePage, ("limit", "after")),
    "deliveries": ("The last attempts, newest first", Deliveries, ("limit", "before")),
    "why": ("One alert key's life in words, and how it stands now", Life, ("key", "limit", "before")),
    "on-call": ("Who is on call at iLert, where that is known", OnCallNow, ()),
    "audit": ("The conservation law, recounted from disk", Audited, ()),
}
WRITES: Final[dict[str, str]] = {
    "replay": "Send dead letters again: of these keys, or of all where keys is null",
    "drop": "Drop what waits or is dead of one alert key, at one target or at all",
    "pause": "Send nothing more to a target until it is resumed, restarts included",
    "resume": "Send to a paused target again",
}
PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "limit": {
        "description": "The most that the page shall hold; it may hold fewer.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    },
    "after": {
        "description": "The page behind this id: `after` of the page before.",
        "schema": {"type": "integer", "minimum": 0, "maximum": NEWEST, "default": 0},
    },
    "before": {
        "description": "What was earlier: `before` of the page before.",
        "schema": {"type": "integer", "minimum": 1, "maximum": NEWEST},
    },
    "severity": {
        "description": "Only lanes of this severity.",
        "schema": {"type": "string", "enum": [severity.name.lower() for severity in Severity]},
    },
    "target": {
        "description": "Only lanes of this target.",
        "schema": {"type": "string", "maxLength": MAX_TARGET},
    },
    "part": {
        "name": "key",
        "description": "Only lanes whose alert key has this in it, whatever its case.",
        "schema": {"type": "string", "maxLength": MAX_KEY},
    },
    "cursor": {
        "name": "after",
        "description": "The page behind this place: `after` of the page before.",
        "schema": {"type": "string", "pattern": f"^{CURSOR.pattern}$"},
    },
    "key": {
        "description": "The alert key, in any spelling.",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
    },
}
PROBLEMS: Final[dict[int, str]] = {
    400: "A query parameter or the body's JSON is wrong.",
    401: "A bearer token is needed, or the one given is not known.",
    403: "The token's role is not operator; or there are no tokens, and the change does not come from loopback, or "
    "the request was sent by somebody else's web page.",
    404: "There is no such key or target.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The content type is not application/json.",
    429: "An audit is under way already.",
    422: "The body is JSON, but not this request; `detail` names the field.",
    503: "The spool cannot be read or changed now; come again after Retry-After.",
}

MORE: Final[dict[str, tuple[int, ...]]] = {
    "why": (404,),
    "audit": (429,),
    "replay": (408, 413, 415, 422),
    "drop": (404, 408, 413, 415, 422),
    "pause": (404, 408, 413, 415, 422),
    "resume": (404, 408, 413, 415, 422),
}
"""Beside 400, 401, 403 and 503, which all may give."""


def api_paths() -> dict[str, Any]:
    """The paths below /api/v1."""
    reads = {f"{ROOT}/{name}": {"get": _read(name)} for name in READS}
    writes = {f"{ROOT}/{name}": {"post": _write(name)} for name in WRITES}
    return reads | writes


def _read(name: str) -> dict[str, Any]:
    summary, kind, parameters = READS[name]
    statuses = (400, 401, 403, *MORE.get(name, ()), 503)
    return {
        "tags": ["operation"],
        "summary": summary,
        "operationId": f"read_{name.replace('-', '_')}",
        "security": SECURITY,
        "parameters": [{"name": p, "in": "query"} | PARAMETERS[p] for p in parameters],
        "responses": _responses(summary, kind, statuses),
    }


def _write(name: str) -> dict[str, Any]:
    schema = {"$ref": _ref(CHANGES[name])}
    return {
        "tags": ["operation"],
        "summary": WRITES[name],
        "operationId": name,
        "security": SECURITY,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": _responses("Done.", Answer, (400, 401, 403, *MORE[name], 503)),
    }


def _responses(summary: str, kind: type, statuses: tuple[int, ...]) -> dict[str, Any]:
    problem = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    found = {
        "200": {"description": summary, "content": {"application/json": {"schema": {"$ref": _ref(kind)}}}}
    }
    return found | {str(s): {"description": PROBLEMS[s], "content": problem} for s in statuses}


def _ref(kind: type) -> str:
    return f"#/components/schemas/{kind.__name__}"
