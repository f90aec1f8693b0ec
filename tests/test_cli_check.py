"""`check-config` and `config-schema` as an operator meets them."""

import http.server
import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import trustme
from click.testing import CliRunner, Result

from mcp_ilert import config
from mcp_ilert.cli.check import ask, commands
from mcp_ilert.config import Ilert, RouteSettings, Secret, Service, Settings
from mcp_ilert.sandbox import Options, Request, SandboxIlert
from mcp_ilert.sandbox.options import Source

ACCOUNT, INTEGRATION = "account-s3cr3t", "il1api-s3cr3t/ü?#"
Answers = dict[str, int]


@pytest.fixture(autouse=True)
def _no_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MCP_ILERT__")]:
        monkeypatch.delenv(name)


def run(*arguments: str) -> Result:
    by_name = {command.name: command for command in commands}
    return CliRunner().invoke(by_name[arguments[0]], list(arguments[1:]))


def write(folder: Path, text: str) -> str:
    path = folder / "config.yaml"
    path.write_text(text)
    return str(path)


def test_a_valid_file_gets_a_friendly_line_and_0(tmp_path: Path) -> None:
    path = write(tmp_path, "ilert: {webhook_key: k}\nlisten: {address: 127.0.0.1}\n")
    result = run("check-config", path)
    assert result.exit_code == 0
    assert result.stdout == (
        f"{path}: valid; would listen on http://127.0.0.1:8080"
        " and send to https://api.ilert.com/api (target default)\n"
    )
    assert not result.stderr


def test_what_is_unwise_is_a_warning_and_0(tmp_path: Path) -> None:
    result = run("check-config", write(tmp_path, "ilert: {webhook_key: k, api_url: 'http://x.example'}"))
    assert result.exit_code == 0
    assert [line.split(":")[:2] for line in result.stderr.splitlines()] == [
        ["warning", " ilert.api_url"],
        ["warning", " auth.tokens"],
    ]


def test_a_certificate_out_of_its_time_is_a_warning_and_0(tmp_path: Path) -> None:
    past = datetime(2011, 1, 1, tzinfo=UTC)
    both = tmp_path / "both.pem"
    trustme.CA().issue_cert("a.example", not_after=past).private_key_and_cert_chain_pem.write_to_path(both)
    text = f"ilert: {{webhook_key: k}}\nlisten: {{address: 127.0.0.1}}\ntls: {{cert_file: {both}, key_file: {both}}}\n"
    result = run("check-config", write(tmp_path, text))
    assert result.exit_code == 0
    assert result.stderr == (
        f"warning: tls.cert_file: {both} has expired (valid 2000-01-01T00:00:00Z to 2011-01-01T00:00:00Z);"
        " who verifies it is cut off\n"
    )


def test_every_problem_has_its_line_and_the_exit_code_is_2(tmp_path: Path) -> None:
    path = write(tmp_path, "ilert: {timeout_seconds: ten, webhook_key: s3cr3t s3cr3t}\nlisten: {prot: 1}\n")
    result = run("check-config", path)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        'listen.prot: unknown key; did you mean "port"?',
        "ilert.webhook_key: expected a secret of printable ASCII characters without blanks",
        'ilert.timeout_seconds: got "ten", expected a number of seconds > 0',
    ]
    assert not result.stdout


def test_a_file_that_is_not_there_is_one_line_and_2(tmp_path: Path) -> None:
    result = run("check-config", str(tmp_path / "none.yaml"))
    assert result.exit_code == 2
    assert result.stderr == f"{tmp_path}/none.yaml: no such file\n"


def test_the_environment_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_ILERT__LISTEN__PORT", "x")
    result = run("check-config", write(tmp_path, "ilert: {webhook_key: k}"))
    assert result.exit_code == 2
    assert "MCP_ILERT__LISTEN__PORT" in result.stderr


def test_the_schema_is_printed() -> None:
    result = run("config-schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == config.json_schema()


# --online -----------------------------------------------------------------------------------------------


class FakeIlert:
    """Answers by path, and remembers what it was asked."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return httpx.Response(self.answers[request.url.raw_path.decode()], json={"code": "x"})


def asked(ilert: Callable[[httpx.Request], httpx.Response], settings: Settings) -> list[tuple[str, int]]:
    with httpx.Client(transport=httpx.MockTransport(ilert)) as client:
        verdicts = [(verdict.line, verdict.code) for verdict in ask(settings, client)]
    assert not any("s3cr3t" in line for line, _ in verdicts)
    return verdicts


def account(status: int) -> Answers:
    return {"/api/users/current": status}


def source(status: int, key: str = "il1api-s3cr3t%2F%C3%BC%3F%23") -> Answers:
    return {f"/api/alert-sources/{key}": status}


def settings(api_key: str = "", webhook_key: str = "", *routes: RouteSettings) -> Settings:
    return Settings(ilert=Ilert(api_key=Secret(api_key), webhook_key=Secret(webhook_key)), routes=routes)


def test_both_keys_that_work_are_told_apart_and_found_well() -> None:
    ilert = FakeIlert(account(200) | source(200))
    lines = asked(ilert, settings(ACCOUNT, INTEGRATION))
    assert lines == [
        ("ilert.api_key: iLert takes it as an account key", 0),
        ("ilert.webhook_key: iLert knows its alert source", 0),
    ]
    assert {request.headers["Authorization"] for request in ilert.asked} == {f"Bearer {ACCOUNT}"}
    assert {request.method for request in ilert.asked} == {"GET"}


@pytest.mark.parametrize("status", [401, 403])
def test_an_api_key_alone_that_is_no_account_key_may_be_an_integration_key(status: int) -> None:
    ((line, code),) = asked(FakeIlert(account(status)), settings(ACCOUNT))
    assert code == 0
    assert "it may be an integration key: only an event can prove it, and none is sent" in line


def test_an_integration_key_in_the_place_of_the_account_key_is_a_problem() -> None:
    (first, second) = asked(FakeIlert(account(403)), settings(ACCOUNT, INTEGRATION))
    assert first[1] == 2
    assert first[0].startswith("ilert.api_key: iLert does not take it as an account key (403)")
    assert second[1] == 0
    assert "not checked, for want of an account key" in second[0]


def test_an_account_key_alone_takes_no_events() -> None:
    lines = asked(FakeIlert(account(200)), settings(ACCOUNT))
    assert [code for _, code in lines] == [0, 2]
    assert lines[1][0].startswith("ilert.webhook_key: empty, and an account key takes no events")


def test_an_integration_key_that_ilert_does_not_show_is_a_problem() -> None:
    lines = asked(FakeIlert(account(200) | source(404)), settings(ACCOUNT, INTEGRATION))
    assert lines[1][1] == 2
    assert lines[1][0].startswith(
        "ilert.webhook_key: iLert shows the account key no alert source with it (404)"
    )


def test_an_integration_key_alone_cannot_be_checked_and_nothing_is_asked() -> None:
    ilert = FakeIlert({})
    ((line, code),) = asked(ilert, settings("", INTEGRATION))
    assert (code, ilert.asked) == (0, [])
    assert "only an event can prove it" in line


def test_every_routes_key_is_asked_for_once() -> None:
    routes = [
        RouteSettings(name="db", webhook_key=Secret("r")),
        RouteSettings(name="db", webhook_key=Secret("r")),
    ]
    ilert = FakeIlert(account(200) | source(200) | source(200, "r"))
    lines = asked(ilert, settings(ACCOUNT, INTEGRATION, *routes, RouteSettings()))
    assert [line.split(":")[0] for line, _ in lines] == [
        "ilert.api_key",
        "ilert.webhook_key",
        "routes[0].webhook_key",
    ]


@pytest.mark.parametrize("status", [302, 402, 429, 500])
def test_any_other_answer_leaves_it_open(status: int) -> None:
    lines = asked(FakeIlert(account(status)), settings(ACCOUNT, INTEGRATION))
    assert lines[0] == (
        f"ilert.api_key: not known to work: https://api.ilert.com/api answered {status}",
        1,
    )


@pytest.mark.parametrize(
    "error",
    [httpx.ConnectError(f"no {ACCOUNT}"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError(ACCOUNT)],
)
def test_an_ilert_that_cannot_be_asked_leaves_it_open(error: httpx.HTTPError) -> None:
    def fail(_request: httpx.Request) -> httpx.Response:
        raise error

    ((line, code),) = asked(fail, settings(ACCOUNT))
    assert code == 1
    assert line.startswith("ilert.api_key: not known to work: https://api.ilert.com/api cannot be asked: ")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        good = self.headers["Authorization"] == f"Bearer {ACCOUNT}"
        known = self.path in {"/api/users/current", "/api/alert-sources/key-s3cr3t"}
        self.send_response((200 if known else 404) if good else 403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def ilert_url() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_online_asks_over_a_real_socket(tmp_path: Path, ilert_url: str) -> None:
    for key, code in (("key-s3cr3t", 0), ("other-s3cr3t", 2)):
        text = f"ilert: {{api_key: {ACCOUNT}, webhook_key: {key}, api_url: '{ilert_url}'}}"
        result = run("check-config", "--online", write(tmp_path, text))
        assert result.exit_code == code, result.output
        assert "s3cr3t" not in result.output


def test_online_with_nobody_there_is_1_and_one_line_says_why(tmp_path: Path) -> None:
    text = f"ilert: {{api_key: {ACCOUNT}, api_url: 'http://127.0.0.1:1'}}\nlisten: {{address: '::1'}}"
    result = run("check-config", "--online", write(tmp_path, text))
    assert result.exit_code == 1
    assert result.stderr == (
        "ilert.api_key: not known to work: http://127.0.0.1:1/api cannot be asked:"
        " connect error (Connection refused)\n"
    )


# Incidents ----------------------------------------------------------------------------------------------


def incident_routes(*services: Service) -> Settings:
    return settings(ACCOUNT, INTEGRATION, RouteSettings(target="incident", services=services))


def sandbox_verdicts(made: Settings, **paths: object) -> list[tuple[str, int]]:
    """What is said where iLert is the sandbox's core, but for what `paths` answer."""
    core = SandboxIlert(Options(api_keys=(ACCOUNT,), sources=(Source(key=INTEGRATION),)))

    def handle(request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        if name in paths:
            found = paths[name]
            return httpx.Response(found) if isinstance(found, int) else httpx.Response(200, json=found)
        headers = tuple((key.lower(), value) for key, value in request.headers.items())
        path = request.url.raw_path.decode()
        answer = core.handle(Request(method=request.method, target=path, headers=headers), 0)
        return httpx.Response(answer.status, content=answer.body)

    return asked(handle, made)[2:]


def test_incidents_and_the_services_of_routes_are_asked_for() -> None:
    assert sandbox_verdicts(
        incident_routes(Service(alias="orders"), Service(alias="nope"), Service(id=1))
    ) == [
        ("routes[0].target: the account has an incidents API, and no incident yet", 0),
        ("routes[0].services[0].alias: iLert knows the alias 'orders'", 0),
        ("routes[0].services[1].alias: iLert has no service of the alias 'nope'", 2),
    ]


@pytest.mark.parametrize("answer", [404, 410, [{"id": 1, "severity": "SEV3"}]])
def test_the_new_incident_model_is_a_problem_that_says_what_to_do(answer: object) -> None:
    ((line, code),) = sandbox_verdicts(incident_routes(Service(id=1)), incidents=answer)
    assert line.startswith("routes[0].target: this account seems to have iLert's new incident model")
    assert "use target: alert" in line
    assert code == 2


@pytest.mark.parametrize("answer", [500, 429, {"not": "a list"}])
def test_incidents_that_cannot_be_told_leave_it_open(answer: object) -> None:
    ((line, code),) = sandbox_verdicts(incident_routes(Service(id=1)), incidents=answer)
    assert line.startswith("routes[0].target: not known to work: ")
    assert code == 1
