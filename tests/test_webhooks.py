"""`POST /webhooks/NAME` over sockets: what is answered, who may, what is taken once, and what SNS may ask."""

import base64
import gzip
import hashlib
import hmac
import json
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from doors import CARRIES, Bridge, Client, open_bridge
from mcp_ilert import config
from mcp_ilert.config import Auth, Settings, Token, Webhook
from mcp_ilert.config.secret import Secret
from mcp_ilert.control import PauseTarget, ResumeTarget
from mcp_ilert.decode.native import MARK
from mcp_ilert.events import Kind, Severity
from mcp_ilert.intake import Limits
from mcp_ilert.sandbox import INTEGRATION_KEY, Options, SandboxIlert
from mcp_ilert.sandbox import Limits as Limited
from mcp_ilert.sandbox.server import open_sandbox
from mcp_ilert.service import open_service
from mcp_ilert.targets.client import async_client
from mcp_ilert.web import confirm as confirming
from mcp_ilert.web import signatures
from samples import payload, raw

JSON = {"Content-Type": "application/json"}
NOW = 1_768_205_564
KEY = b"k" * 24
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OLD = "whsec_" + base64.b64encode(b"o" * 24).decode()
TOKEN = Token("web", Secret("t0ken-of-sixteen-bytes"), sources=("web-1*",))
BEARER = {**JSON, "Authorization": "Bearer t0ken-of-sixteen-bytes"}
HOOKS = {
    "shop": Webhook(event={"mcp_id": "id", "summary": "title", "source": "source"}, each="items"),
    "one": Webhook(event={"mcp_id": "id", "summary": "title"}),
    "aws": Webhook(preset="cloudwatch"),
    "confirmed": Webhook(preset="cloudwatch", confirm_sns=True),
}
SNS = {"Content-Type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": "Notification"}


@asynccontextmanager
async def opened(http2=False, tokens=(), limits=None, carry="reactor", **more: Any):
    given_settings = Settings(webhooks=more.pop("webhooks", HOOKS), **more)
    async with (
        open_bridge(settings=given_settings, tokens=tokens, limits=limits, carry=carry) as bridge,
        Client(bridge.port, http2=http2) as client,
    ):
        yield bridge, client


async def post(client: Client, name: str, body: Any, headers: dict[str, str] | None = None):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await client.send(path=f"/webhooks/{name}", body=text, headers=headers or JSON)


def taken(bridge: Bridge) -> list[tuple[Kind, Severity, str]]:
    return [(entry.kind, entry.severity, entry.key) for put in bridge.spool.puts for entry in put]


async def test_the_rate_of_a_token_holds_here_too():
    limited = msgspec.structs.replace(TOKEN, sources=("*",), per_second=1)
    async with opened(tokens=[limited]) as (bridge, client):
        statuses = [(await post(client, "one", {"id": i, "title": "t"}, BEARER)).status for i in range(2)]
        assert statuses == [202, 429]
        assert bridge.count("webhook", "limited") == 1


# What is answered ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("carry", CARRIES)
@pytest.mark.parametrize("http2", [False, True])
async def test_the_alerts_of_a_notification_are_one_commit(http2, carry):
    async with opened(http2, carry=carry) as (bridge, client):
        answer = await post(client, "alertmanager", raw("alertmanager"))
        assert (answer.status, answer.json) == (202, {"accepted": 2})
        assert len(bridge.spool.puts) == 1
        assert taken(bridge) == [
            (Kind.ALERT, Severity.CRITICAL, "c6eadffa33fcdf37"),
            (Kind.RESOLVE, Severity.MEDIUM, "bc97ff14869b13e3"),
        ]
        assert all(entry.payload.startswith(MARK) for put in bridge.spool.puts for entry in put)
        assert bridge.count("webhook", "accepted") == 2
        packed = {**JSON, "Content-Encoding": "gzip"}
        assert (await post(client, "grafana", gzip.compress(raw("grafana")), packed)).json == {"accepted": 2}


async def test_a_producers_own_severity_stays_an_unknown_field():
    async with opened() as (bridge, client):
        text = b'{"mcp_id":"a","source":"b","summary":"c","severity":"critical"}'
        for body in (text, b" \t\n" + text, b"[ " + text + b" , " + text + b"]"):
            assert (await client.send(body=body, headers=JSON)).status == 202
        lines = {"Content-Type": "application/x-ndjson"}
        assert (await client.send(body=b" " + text + b"\n  " + text, headers=lines)).status == 202
        assert {severity for _, severity, _ in taken(bridge)} == {Severity.HIGH}
        assert not any(entry.payload.startswith(MARK) for put in bridge.spool.puts for entry in put)


async def test_bad_events_are_listed_and_the_others_taken():
    async with opened() as (bridge, client):
        items = [{"id": 1, "title": "a"}, {"id": 2}, {"id": 3, "title": "c"}]
        answer = await post(client, "shop", {"items": items})
        assert (answer.status, answer.json) == (
            202,
            {
                "accepted": 2,
                "rejected": [{"index": 1, "error": "$.summary: the webhook's expression gives nothing"}],
            },
        )
        answer = await post(client, "shop", {"items": [{}]})
        assert (answer.status, len(answer.json["rejected"])) == (422, 1)
        assert (await post(client, "shop", {"items": []})).json == {"accepted": 0}
        assert (bridge.count("webhook", "accepted"), bridge.count("webhook", "invalid")) == (2, 2)


@pytest.mark.parametrize(
    ("name", "body", "headers", "status", "detail"),
    [
        ("one", b"{", JSON, 400, "not JSON"),
        ("one", b'"\xff"', JSON, 400, "not UTF-8"),
        ("one", b'"\\ud800"', JSON, 400, "a lone surrogate"),
        ("one", b"[" * 100 + b"]" * 100, JSON, 400, "more than 64 levels"),
        ("one", b'{"id":"\\u0000","title":"t"}', JSON, 422, "the character NUL"),
        ("one", {"id": 1}, JSON, 422, "$.summary"),
        ("one", {"id": 1, "title": "t"}, {"Content-Type": "text/plain"}, 415, "Content-Type"),
        ("one", {"id": 1, "title": "t"}, {}, 415, "Content-Type"),
        (
            "one",
            {"id": 1, "title": "t"},
            {"Content-Type": "application/json; charset=latin-1"},
            415,
            "charset",
        ),
        ("one", {"id": 1, "title": "t"}, {**JSON, "Content-Encoding": "br"}, 415, "Content-Encoding"),
        ("one", b" " * 3000, JSON, 413, "listen.max_body_bytes"),
        ("one", {"id": 1, "title": "t" * 1500}, JSON, 413, "listen.max_event_bytes"),
        ("one", b"null", JSON, 422, "$.mcp_id"),
        ("aws", b"{", SNS, 400, "not JSON"),
        ("aws", b"null", SNS, 422, "a message of SNS"),
        ("nobody", {"id": 1, "title": "t"}, JSON, 404, "no webhook nobody"),
        ("alertmanager", {"alerts": []}, JSON, 422, "at least one alert"),
    ],
)
async def test_what_cannot_be_taken_is_a_problem_and_the_connection_goes_on(
    name, body, headers, status, detail
):
    async with opened(limits=Limits(max_body_bytes=2_000, max_event_bytes=1_000)) as (bridge, client):
        answer = await post(client, name, body, headers or {"X-None": ""})
        assert (answer.status, answer.json["status"]) == (status, status)
        assert detail in answer.json["detail"]
        assert (await post(client, "one", {"id": 1, "title": "t"})).status == 202
        assert len(taken(bridge)) == 1


async def test_what_the_spool_does_not_take_is_503_as_a_whole():
    async with opened() as (bridge, client):
        bridge.spool.full = True
        answer = await post(client, "alertmanager", raw("alertmanager"))
        assert (answer.status, answer.headers["retry-after"]) == (503, "7")
        assert bridge.count("webhook", "unavailable") == 2


async def test_other_methods_and_paths():
    async with opened() as (_, client):
        answer = await client.send("GET", "/webhooks/one")
        assert answer.status == 405
        assert "POST" in answer.headers["allow"]
        assert (await client.send("POST", "/webhooks/", body=b"{}", headers=JSON)).status == 404
        assert (await client.send("POST", "/webhooks/a/b", body=b"{}", headers=JSON)).status == 404


# Who may ----------------------------------------------------------------------------------------------------------


def standard(body: bytes, key: bytes = KEY, message: str = "msg_1", at: int = NOW) -> dict[str, str]:
    signature = hmac.digest(key, f"{message}.{at}.".encode() + body, "sha256")
    value = f"v1a,xxxx v1,{base64.b64encode(b'x').decode()} v1,{base64.b64encode(signature).decode()}"
    return {**JSON, "webhook-id": message, "webhook-timestamp": str(at), "webhook-signature": value}


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr("mcp_ilert.web.webhooks.time.time", lambda: float(NOW))


async def test_a_bearer_token_is_needed_where_there_are_tokens_and_its_sources_hold():
    async with opened(tokens=[TOKEN]) as (bridge, client):
        for headers in (
            JSON,
            {**JSON, "Authorization": "Bearer wrong"},
            {**JSON, "Authorization": "Basic d3Jvbmc="},
        ):
            answer = await post(client, "alertmanager", raw("alertmanager"), headers)
            assert (answer.status, "Bearer" in answer.headers["www-authenticate"]) == (401, True)
        assert (await post(client, "nobody", b"{}", JSON)).status == 401
        assert (await post(client, "nobody", b"{}", BEARER)).status == 404
        answer = await post(client, "alertmanager", raw("alertmanager"), BEARER)
        assert (answer.status, answer.json["accepted"], len(answer.json["rejected"])) == (202, 1, 1)
        assert bridge.count("webhook", "unauthorized") == 5


async def test_a_token_may_be_the_password_of_basic_auth():
    basic = base64.b64encode(b"sns:t0ken-of-sixteen-bytes").decode()
    async with opened(tokens=[TOKEN]) as (_, client):
        answer = await post(
            client, "alertmanager", raw("alertmanager"), {**JSON, "Authorization": f"Basic {basic}"}
        )
        assert answer.status == 202


async def test_a_standard_webhooks_signature_is_as_good_as_a_token(clock):
    body = json.dumps({"id": 1, "title": "t"}).encode()
    auth = Auth(webhook_secrets=(Secret(OLD), Secret(SECRET)))
    async with opened(auth=auth) as (bridge, client):
        assert (await post(client, "one", body, standard(body))).status == 202
        assert (await post(client, "one", body, standard(body, b"o" * 24, "msg_2"))).status == 202
        packed = gzip.compress(body)  # what is signed is what is sent
        signed = {**standard(packed, message="msg_3"), "Content-Encoding": "gzip"}
        assert (await post(client, "one", packed, signed)).status == 202
        for headers in (
            JSON,
            standard(body, b"x" * 24, "msg_4"),
            standard(body + b" ", message="msg_4"),
            standard(body, message="msg_4", at=NOW - 301),
            standard(body, message="msg_4", at=NOW + 301),
            standard(body, message="m" * 257),
            {**standard(body), "webhook-id": "another"},
            {**standard(body), "webhook-signature": "v1,"},
            {**standard(body), "webhook-signature": ""},
            {**standard(body), "webhook-timestamp": "soon"},
        ):
            assert (await post(client, "one", body, headers)).status == 401, headers
        assert (
            await client.send(body=b'{"mcp_id":"a","source":"b","summary":"c"}', headers=JSON)
        ).status == 202
        assert len(taken(bridge)) == 4


async def test_a_signature_of_a_time_that_is_no_number_is_refused_even_if_it_is_right(clock):
    body = b"{}"
    for at in ("-5", "1e9", "9" * 30, "\u0661"):
        text = base64.b64encode(hmac.digest(KEY, f"m.{at}.".encode() + body, "sha256")).decode()
        claim = signatures.Signed("m", at, (f"v1,{text}",))
        assert "no number" in (signatures.refused(claim, body, [KEY], NOW) or "")


async def test_the_hmac_of_a_webhook_lets_in_to_it_alone():
    secret = Secret("hub")
    webhooks = {**HOOKS, "hub": Webhook(event=HOOKS["one"].event, hmac_secret=secret)}
    body = json.dumps({"id": 1, "title": "t"}).encode()
    digest = hmac.new(b"hub", body, hashlib.sha256).hexdigest()
    async with opened(webhooks=webhooks) as (_, client):
        assert (
            await post(client, "hub", body, {**JSON, "X-Hub-Signature-256": f"sha256={digest}"})
        ).status == 202
        for value in (f"sha256={digest[:-1]}0", digest, "sha256=", f"sha1={digest}", "sha256=\u00e9"):
            headers = {**JSON, "X-Hub-Signature-256": value.encode("latin-1").decode("latin-1")}
            raw_headers = {name: text.encode("latin-1") for name, text in headers.items()}
            assert (await post(client, "hub", body, raw_headers)).status == 401, value  # type: ignore[arg-type]
        assert (await post(client, "hub", body)).status == 401
        answer = await post(client, "one", body, {**JSON, "X-Hub-Signature-256": f"sha256={digest}"})
        assert (answer.status, "this webhook has none" in answer.json["detail"]) == (401, True)


async def test_sentry_signs_in_its_own_header():
    webhooks = {"sentry": Webhook(preset="sentry", hmac_secret=Secret("client"))}
    digest = hmac.new(b"client", raw("sentry"), hashlib.sha256).hexdigest()
    async with opened(webhooks=webhooks) as (bridge, client):
        headers = {**JSON, "Sentry-Hook-Signature": digest}
        assert (await post(client, "sentry", raw("sentry"), headers)).status == 202
        assert taken(bridge) == [(Kind.ALERT, Severity.HIGH, "sentry-1170820242")]


async def test_who_has_nothing_to_show_is_refused_before_the_body_is_read():
    async with opened(tokens=[TOKEN]) as (bridge, _):
        stream = await trio.open_tcp_stream("127.0.0.1", bridge.port)
        head = b"POST /webhooks/one HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{"
        await stream.send_all(head)
        with trio.fail_after(5):
            await stream.send_all(b" " * 899)
            assert (await stream.receive_some(100)).startswith(b"HTTP/1.1 401")
        await stream.aclose()


async def test_a_reload_changes_webhooks_and_secrets():
    async with opened() as (bridge, client):
        webhooks = bridge.webhooks
        webhooks.use(Settings(auth=Auth(webhook_secrets=(Secret(SECRET),)), webhooks={"new": HOOKS["one"]}))
        body = {"id": 1, "title": "t"}
        assert (await post(client, "new", body)).status == 401
        webhooks.use(Settings(webhooks={"new": HOOKS["one"]}))
        assert (await post(client, "new", body)).status == 202
        assert (await post(client, "one", body)).status == 404


# What is taken once -----------------------------------------------------------------------------------------------


async def test_a_retry_of_what_was_committed_is_answered_and_not_taken_again(clock):
    body = json.dumps({"items": [{"id": 1, "title": "t"}, {}]}).encode()
    async with opened(auth=Auth(webhook_secrets=(Secret(SECRET),))) as (bridge, client):
        assert (await post(client, "shop", body, standard(body))).json["accepted"] == 1
        again = await post(client, "shop", body, standard(body, at=NOW + 60))
        assert (again.status, again.json) == (202, {"accepted": 1, "rejected_total": 1})
        assert (
            await post(client, "one", b'{"id":1,"title":"t"}', standard(b'{"id":1,"title":"t"}'))
        ).status == 202
        assert (bridge.count("webhook", "accepted"), len(taken(bridge))) == (2, 2)


async def test_a_retry_of_what_was_not_committed_is_taken(clock):
    body = json.dumps({"id": 1, "title": "t"}).encode()
    async with opened(auth=Auth(webhook_secrets=(Secret(SECRET),))) as (bridge, client):
        bridge.spool.full = True
        assert (await post(client, "one", body, standard(body))).status == 503
        bridge.spool.full = False
        assert (await post(client, "one", body, standard(body))).status == 202
        assert len(taken(bridge)) == 1


async def test_of_two_at_once_the_second_waits_for_what_becomes_of_the_first(clock):
    body = json.dumps({"id": 1, "title": "t"}).encode()
    statuses: list[int] = []
    async with (
        opened(auth=Auth(webhook_secrets=(Secret(SECRET),))) as (bridge, client),
        Client(bridge.port, http2=False) as other,
    ):
        gate = bridge.spool.shut()

        async def send(by: Client) -> None:
            statuses.append((await post(by, "one", body, standard(body))).status)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, client)
            nursery.start_soon(send, other)
            await trio.testing.wait_all_tasks_blocked(0.1)
            gate.set()
        assert (statuses, len(taken(bridge))) == ([202, 202], 1)


# Amazon SNS -------------------------------------------------------------------------------------------------------


async def test_sns_says_text_plain_and_is_understood():
    async with opened() as (bridge, client):
        assert (await post(client, "aws", raw("cloudwatch"), SNS)).json == {"accepted": 1}
        assert (await post(client, "aws", raw("cloudwatch"), {"Content-Type": "text/plain"})).status == 415
        assert (await post(client, "one", raw("cloudwatch"), SNS)).status == 415
        notice = payload("sns-confirmation", Type="UnsubscribeConfirmation")
        assert (await post(client, "aws", notice, SNS)).json == {"accepted": 0}
        assert len(taken(bridge)) == 1


async def test_a_subscription_is_confirmed_only_where_that_is_allowed(monkeypatch):
    asked: list[str] = []
    status: int | None = 200

    async def fake(url: str) -> int | None:
        asked.append(url)
        return status

    monkeypatch.setattr("mcp_ilert.web.app.confirm", fake)
    async with opened() as (bridge, client):
        answer = await post(client, "aws", raw("sns-confirmation"), SNS)
        assert (answer.status, asked) == (403, [])
        assert "webhooks.aws.confirm_sns" in answer.json["detail"]
        assert (await post(client, "confirmed", raw("sns-confirmation"), SNS)).json == {"accepted": 0}
        assert asked == [payload("sns-confirmation")["SubscribeURL"]]
        foreign = payload("sns-confirmation", SubscribeURL="https://evil.example/?Action=ConfirmSubscription")
        assert (await post(client, "confirmed", foreign, SNS)).status == 422
        assert len(asked) == 1
        status = None
        assert (await post(client, "confirmed", raw("sns-confirmation"), SNS)).status == 503
        assert taken(bridge) == []


async def test_confirming_is_one_get_that_follows_no_redirect(monkeypatch):
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(302, headers={"Location": "http://169.254.169.254/"})

    open_to = partial(async_client, transport=httpx.MockTransport(answer))
    monkeypatch.setattr(confirming, "async_client", open_to)
    assert (
        await confirming.confirm("https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription") == 302
    )
    assert len(seen) == 1


async def test_confirming_goes_by_the_way_out_that_knows_where_not_to_go():
    assert await confirming.confirm("http://169.254.169.254/?Action=ConfirmSubscription") is None


# To iLert ---------------------------------------------------------------------------------------------------------


async def test_a_word_of_severity_reaches_ilert_and_what_the_console_shows_is_json(tmp_path):
    core = SandboxIlert(Options(limits=Limited(integration_key=None, ip=None)))
    async with open_sandbox(core) as sandbox:
        here = Settings(
            listen=config.Listen(address="127.0.0.1", port=0),
            ilert=config.Ilert(api_url=sandbox.url, webhook_key=Secret(INTEGRATION_KEY)),
            routes=(
                config.RouteSettings(
                    name="pages", match=config.Match(severity=("critical",)), labels={"by": "page"}
                ),
            ),
            spool=config.SpoolSettings(path=str(tmp_path / "spool.db")),
            metrics=config.MetricsSettings(enabled=False),
        )
        async with (
            open_service(here) as service,
            httpx.AsyncClient(base_url=service.url, trust_env=False) as client,
        ):
            await service.handle(PauseTarget("default"))
            first = raw("alertmanager")
            assert (
                await client.post("/webhooks/alertmanager", content=first, headers=JSON)
            ).status_code == 202
            lanes = (await client.get("/api/v1/lanes")).json()["lanes"]
            assert lanes[0]["waiting"][0]["event"]["severity"] == "page"
            why = (await client.get("/api/v1/why?key=c6eadffa33fcdf37")).text
            assert "routes[0]" in why
            await service.handle(ResumeTarget("default"))
            named = msgspec.structs.replace(here, webhooks={"one": HOOKS["one"]})
            assert await service.reload(lambda: named, lambda _: None)
            answer = await client.post("/webhooks/one", content=b'{"id":"new","title":"t"}', headers=JSON)
            assert answer.json() == {"accepted": 1}
            with trio.fail_after(20):
                while not (sent := [one for one in bodies(core) if one["alertKey"] == "c6eadffa33fcdf37"]):  # noqa: ASYNC110
                    await trio.sleep(0.01)
    (event,) = sent
    assert (event["priority"], event["severity"], event["labels"]["by"]) == ("HIGH", 1, "page")
    assert event["customDetails"]["truncatedAlerts"] == 3
    assert "severity" not in event["customDetails"]


def bodies(core: SandboxIlert) -> list[Any]:
    return [json.loads(received.body) for received in core.events() if received.status == 202]


# Whatever comes ---------------------------------------------------------------------------------------------------

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["alertmanager", "grafana", *HOOKS]), ANYTHING), min_size=1, max_size=12
    )
)
def test_whatever_json_comes_the_answer_is_2xx_or_4xx(requests):
    async def main() -> None:
        async with opened() as (_, client):
            for name, body in requests:
                answer = await post(client, name, body)
                assert 200 <= answer.status < 500, (name, body, answer)

    trio.run(main)
