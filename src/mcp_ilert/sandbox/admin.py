"""Introspection, on a port of its own: what tests and the curious may ask a running sandbox, and tell it.

Everything is JSON. Lists come `limit` at a time (at most 1,000), requests after the number `after`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from mcp_ilert.sandbox.alerts import fold
from mcp_ilert.sandbox.faults import Fault
from mcp_ilert.sandbox.ilert import SandboxIlert
from mcp_ilert.sandbox.messages import Answer, Headers, Refusal, Request, empty, json_answer
from mcp_ilert.sandbox.options import Options
from mcp_ilert.sandbox.received import Received

MOST = 1_000
Action = Callable[[Request, float], Answer]


class Admin:
    """Answers the introspection port's requests for one sandbox; `tls` says whether that one speaks TLS."""

    def __init__(self, core: SandboxIlert, *, tls: bool) -> None:
        self._core = core
        self._tls = tls
        self._table: Mapping[str, Mapping[str, Action]] = {
            "": {"GET": self._index},
            "requests": {"GET": self._requests},
            "alerts": {"GET": self._alerts},
            "keys": {"GET": self._keys},
            "log": {"GET": self._log},
            "stats": {"GET": self._stats},
            "faults": {"GET": self._get_faults, "POST": self._add_faults, "DELETE": self._clear_faults},
            "options": {"GET": self._get_options, "PUT": self._put_options},
            "reset": {"POST": self._reset},
        }

    def handle(self, request: Request, now: float) -> Answer:
        """Answer one request; whatever is due by now has happened."""
        self._core.advance(now)
        try:
            methods = self._table.get("/".join(request.segments()))
            if methods is None:
                raise Refusal(404, f"There is nothing here; there is: {', '.join(self._table)}")  # noqa: TRY301 - answered below
            action = methods.get(request.method)
            if action is None:
                allow = (("allow", ", ".join(methods)),)
                raise Refusal(405, f"{request.method} is not allowed here", headers=allow)  # noqa: TRY301 - answered below
            return action(request, now)
        except Refusal as refusal:
            return refusal.answer

    def _index(self, _request: Request, _now: float) -> Answer:
        return json_answer(200, {f"/{path}": list(methods) for path, methods in self._table.items()})

    def _requests(self, request: Request, _now: float) -> Answer:
        after, limit = _number(request, "after", 0), _limit(request)
        found = [received for received in self._core.requests if received.number > after][:limit]
        return json_answer(200, {"requests": [self._received_json(received) for received in found]})

    def _received_json(self, received: Received) -> dict[str, Any]:
        json: dict[str, Any] = msgspec.to_builtins(received)
        shown = {"body": received.body.decode(errors="replace"), "headers": self._shown(received.headers)}
        return json | shown

    def _shown(self, headers: Headers) -> list[tuple[str, str]]:
        """The headers without keys that are not the sandbox's own: those may be real."""
        own = {f"Bearer {key}" for key in self._core.options.api_keys}
        return [
            (name, "<secret>" if name == "authorization" and value not in own else value)
            for name, value in headers
        ]

    def _alerts(self, request: Request, _now: float) -> Answer:
        """Alerts by key, in its compared form; those without a key stand under ""."""
        wanted = request.query().get("key")
        by_key: dict[str, list[Any]] = {}
        for alert in (
            self._core.alerts.all()[-_limit(request) :] if wanted is None else self._core.alerts.all()
        ):
            key = fold(alert.key or "")
            if wanted is None or key == fold(wanted[0]):
                by_key.setdefault(key, []).append(alert)
        return json_answer(200, {"alerts": by_key})

    def _keys(self, request: Request, _now: float) -> Answer:
        """What was counted for each key, by source."""
        limit, wanted = _limit(request), request.query().get("key")
        counted = {}
        for source in self._core.options.sources:
            tallies = self._core.tallies.by_key(source.id)
            mine = tallies if wanted is None else {k: t for k, t in tallies.items() if k == fold(wanted[0])}
            counted[source.name] = dict(list(mine.items())[-limit:])
        return json_answer(200, {"keys": counted})

    def _log(self, request: Request, _now: float) -> Answer:
        return json_answer(200, {"log": list(self._core.log)[-_limit(request) :]})

    def _stats(self, _request: Request, _now: float) -> Answer:
        return json_answer(200, self._core.stats())

    def _get_faults(self, _request: Request, now: float) -> Answer:
        return json_answer(200, {"faults": self._core.script.faults(now)})

    def _add_faults(self, request: Request, now: float) -> Answer:
        """One fault, or a list of them, added to the script."""
        given = _decoded(request.body, Fault | tuple[Fault, ...])
        faults: tuple[Fault, ...] = given if isinstance(given, tuple) else (given,)
        if not self._tls and any(fault.kind == "tls" for fault in faults):
            raise Refusal(400, "tls: this sandbox does not speak TLS")
        self._core.set_faults(*faults, now=now)
        return empty(204)

    def _clear_faults(self, _request: Request, _now: float) -> Answer:
        self._core.clear_faults()
        return empty(204)

    def _get_options(self, _request: Request, _now: float) -> Answer:
        return json_answer(200, self._core.options)

    def _put_options(self, request: Request, _now: float) -> Answer:
        """All options anew; what is not given takes its default."""
        self._core.use(_decoded(request.body, Options))
        return empty(204)

    def _reset(self, _request: Request, _now: float) -> Answer:
        self._core.reset()
        return empty(204)


def _decoded(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (ValueError, RecursionError) as problem:
        raise Refusal(400, str(problem)) from None


def _limit(request: Request) -> int:
    return max(1, min(_number(request, "limit", 100), MOST))


def _number(request: Request, name: str, default: int) -> int:
    text = request.query().get(name, [str(default)])[0]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Refusal(400, f"{name}: expected a number from 0")
    return int(text)
