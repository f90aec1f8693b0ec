"""The Helm chart and the manifests made from it. What needs Helm is skipped until make chart-test has brought it."""

import gzip
import io
import json
import re
import signal
import sys
import tarfile
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trustme
from ruamel.yaml import YAML

from bridge import running
from charts import CHART, HELM, KUBERNETES, REFUSED, ROOT, TAKEN, ask, objects, only, rendering
from mcp_ilert.config import json_schema, load
from mcp_ilert.service.watch import stamps

sys.path.append(str(CHART.parent))
import derive
import pack

MANIFESTS = ROOT / "deploy/kubernetes"
PLAIN = objects((MANIFESTS / "mcp-ilert.yaml").read_text())
MONITORING = objects((MANIFESTS / "monitoring.yaml").read_text())
RULES = YAML(typ="safe", pure=True).load((ROOT / "deploy/prometheus/mcp-ilert.rules.yml").read_text())
helm = pytest.mark.skipif(not HELM.exists(), reason="no Helm in build/chart (make chart-test)")


def configuration(found: list[dict[str, Any]], folder: Path) -> Path:
    """The configuration of a ConfigMap as the pod would have it, with what its secrets' files are to hold."""
    text = only(found, "ConfigMap")["data"]["mcp-ilert.yaml"]
    secrets = folder / "secrets"
    for name in re.findall(r"/run/secrets/(\S+)", text):
        path = secrets / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("https://api.ilert.com/heartbeat" if "heartbeat" in name else f"a-key-in-{path.name}")
    authority = trustme.CA()
    certificate = authority.issue_cert("bridge.example.com")
    for path in secrets.rglob("*"):
        if path.suffix == ".key":
            certificate.private_key_pem.write_to_path(str(path))
        elif path.suffix == ".crt":
            pem = authority.cert_pem if "clients" in str(path) else certificate.cert_chain_pems[0]
            pem.write_to_path(str(path))
    config = folder / "mcp-ilert.yaml"
    config.write_text(text.replace("/run/secrets", str(secrets)))
    return config


@pytest.fixture(scope="module")
def rendered() -> dict[str, dict[str, Any]]:
    """What Helm answers to each of the values that the chart takes."""
    answers = ask([rendering(values) for values in TAKEN.values()])
    assert {name: answer.get("error") for name, answer in zip(TAKEN, answers, strict=True)} == dict.fromkeys(
        TAKEN
    )
    return dict(zip(TAKEN, answers, strict=True))


def text_of(answer: dict[str, Any]) -> str:
    found = answer["manifests"]
    return (
        "\n---\n".join(
            text.strip() for name, text in found.items() if name.endswith(".yaml") and text.strip()
        )
        + "\n"
    )


def test_the_chart_has_the_version_of_the_package() -> None:
    version = derive.version((ROOT / "pyproject.toml").read_text())
    text = (CHART / "Chart.yaml").read_text()
    assert derive.chart_yaml(text, version) == text
    assert f"\nversion: {version}\n" in text
    assert f"\nappVersion: {version}\n" in text


def test_the_values_schema_has_the_bridges_own_schema_for_its_configuration() -> None:
    written = json.loads((CHART / "values.schema.json").read_text())
    assert derive.values_schema(written, json_schema()) == written
    assert "webhook_key_file" in written["$defs"]["config.Ilert"]["properties"]


def test_the_values_schema_refuses_unknown_keys_everywhere() -> None:
    written = json.loads((CHART / "values.schema.json").read_text())
    values = YAML(typ="safe", pure=True).load((CHART / "values.yaml").read_text())
    assert set(values) | {"global"} == set(written["properties"])
    free = {"global", "resources", "affinity"}  # Kubernetes' own, checked there
    for name, kind in written["properties"].items():
        if kind.get("type") == "object" and name not in free:
            assert kind["additionalProperties"] is False, name
            assert name == "config" or set(values[name]) == set(kind["properties"]), name


def test_no_secret_of_the_configuration_may_stand_in_the_values() -> None:
    written = json.loads((CHART / "values.schema.json").read_text())["$defs"]
    by_file = {
        (kind, key.removesuffix("_file"))
        for kind, what in written.items()
        for key in what.get("properties", {})
        if key.endswith("_file")
    }
    secrets = {(kind, key) for kind, key in by_file if key in written[kind]["properties"]}
    assert ("config.Ilert", "api_key") in secrets
    assert ("config.Webhook", "hmac_secret") in secrets
    for kind, key in secrets:
        property_ = written[kind]["properties"][key]
        assert property_.get("items", property_)["not"] == derive.SECRET["not"], (kind, key)


def test_the_manifests_are_made_from_the_chart_as_it_is() -> None:
    digest = derive.digest(derive.sources())
    for name in ("mcp-ilert.yaml", "monitoring.yaml"):
        assert digest in (MANIFESTS / name).read_text().splitlines()[0], "make manifests"


def test_the_manifests_configuration_is_valid(tmp_path: Path) -> None:
    settings = load(configuration(PLAIN, tmp_path), {})
    assert settings.spool.path == "/var/lib/mcp-ilert/spool.db"


def test_the_alarms_of_the_manifests_are_those_of_prometheus() -> None:
    assert only(MONITORING, "PrometheusRule")["spec"] == RULES


def test_the_pod_may_do_nothing_that_the_restricted_profile_forbids() -> None:
    spec = only(PLAIN, "StatefulSet")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["securityContext"]["runAsUser"] == 65532
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert only(PLAIN, "ServiceAccount")["automountServiceAccountToken"] is False


def test_the_pod_is_killed_only_after_its_configuration_lets_it_end(tmp_path: Path) -> None:
    settings = load(configuration(PLAIN, tmp_path), {})
    spec = only(PLAIN, "StatefulSet")["spec"]["template"]["spec"]
    own = settings.listen.drain_seconds + settings.delivery.shutdown_grace_seconds
    assert spec["terminationGracePeriodSeconds"] >= own + 10


async def test_the_bridge_that_the_manifests_configure_answers_its_probes_and_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = only(PLAIN, "StatefulSet")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    for key, value in {
        "LISTEN__ADDRESS": "127.0.0.1",
        "LISTEN__PORT": "0",
        "METRICS__LISTEN_ADDRESS": "127.0.0.1",
        "METRICS__LISTEN_PORT": "0",
        "SPOOL__PATH": str(tmp_path / "spool.db"),
        "ILERT__API_URL": "http://127.0.0.1:9",
        "LISTEN__DRAIN_SECONDS": "0",  # five seconds of waiting show nothing
    }.items():
        monkeypatch.setenv(f"MCP_ILERT__{key}", value)
    config = configuration(PLAIN, tmp_path)
    async with running(config, args=()) as bridge, httpx.AsyncClient(trust_env=False) as client:
        where = {"http": bridge.url, "metrics": bridge.metrics_url}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            get = container[probe]["httpGet"]
            answer = await client.get(where[get["port"]].rstrip("/") + get["path"])
            assert answer.status_code == 200, probe
        bridge.signal(signal.SIGTERM)
        with trio.fail_after(spec["terminationGracePeriodSeconds"]):
            assert await bridge.exit_code() == 0


def test_a_secret_that_the_kubelet_exchanges_is_seen(tmp_path: Path) -> None:
    for version in (
        "..1",
        "..2",
    ):  # as the kubelet writes them: a folder for each version, and a link that moves
        (tmp_path / version).mkdir()
        (tmp_path / version / "webhook_key").write_text("a-key-of-this-length")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "webhook_key").symlink_to("..data/webhook_key")
    before = stamps([tmp_path / "webhook_key"])
    (tmp_path / "..next").symlink_to("..2")
    (tmp_path / "..next").rename(tmp_path / "..data")
    assert stamps([tmp_path / "webhook_key"]) != before


def test_packing_the_chart_gives_the_same_bytes_and_follows_links() -> None:
    packed = pack.archive("registry.example.com/mcp-ilert")
    assert pack.archive("registry.example.com/mcp-ilert") == packed
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as tar:
        names = tar.getnames()
        assert names[0] == "mcp-ilert/Chart.yaml"
        assert all(member.isfile() for member in tar)
        rules = tar.extractfile("mcp-ilert/files/mcp-ilert.rules.yml")
        values = tar.extractfile("mcp-ilert/values.yaml")
        assert rules is not None
        assert values is not None
        assert rules.read() == (ROOT / "deploy/prometheus/mcp-ilert.rules.yml").read_bytes()
        assert b"  repository: registry.example.com/mcp-ilert\n" in values.read()


@helm
def test_making_the_manifests_again_changes_nothing() -> None:
    made = derive.manifests(derive.rendered(), derive.digest(derive.sources()))
    assert made == {path.name: path.read_text() for path in MANIFESTS.glob("*.yaml")}


@helm
def test_the_packed_chart_gives_what_the_folder_gives(tmp_path: Path) -> None:
    path = tmp_path / "chart.tgz"
    path.write_bytes(pack.archive())
    packed, folder = ask([rendering({}, path), rendering({})])
    assert packed == folder


@helm
def test_helm_lints_the_chart_with_each_of_the_values() -> None:
    answers = ask([{"do": "lint", "chart": str(CHART), "values": values} for values in TAKEN.values()])
    assert [answer["problems"] for answer in answers] == [[] for _ in TAKEN]


@helm
def test_what_is_rendered_is_well_formed_and_kubernetes_of_every_version_takes_it(
    rendered: dict[str, dict[str, Any]],
) -> None:
    texts = [text_of(answer) for answer in rendered.values()]
    parts = {part.strip() for text in texts for part in text.split("\n---\n")}  # most are alike: each once
    known = [part for part in sorted(parts) if derive.kind(part) not in derive.MONITORING]
    requests = [{"do": "lint yaml", "text": text} for text in texts]
    requests += [{"do": "validate", "version": v, "text": "\n---\n".join(known)} for v in KUBERNETES]
    assert {derive.kind(part) for part in known} >= {
        "StatefulSet",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Pod",
    }
    problems = zip([*rendered, *KUBERNETES], ask(requests), strict=True)
    assert {name: answer["problems"] for name, answer in problems if answer["problems"]} == {}


@helm
def test_kubernetes_schemas_notice_a_mistake(rendered: dict[str, dict[str, Any]]) -> None:
    text = text_of(rendered["defaults"]).replace("serviceName:", "servicename:")
    (answer,) = ask([{"do": "validate", "version": KUBERNETES[-1], "text": text}])
    assert "servicename" in str(answer["problems"])


@helm
@pytest.mark.parametrize("name", TAKEN)
def test_every_configuration_that_is_rendered_is_valid(
    rendered: dict[str, dict[str, Any]], name: str, tmp_path: Path
) -> None:
    path = configuration(objects(text_of(rendered[name])), tmp_path)
    settings = load(path, {"ILERT_WEBHOOK_KEY": "il1api-example"})
    asked = TAKEN[name].get("config", {})
    for section, keys in asked.items():
        if section in {"history", "spool", "listen"}:
            assert {key: getattr(getattr(settings, section), key) for key in keys} == keys


@helm
@pytest.mark.parametrize("name", TAKEN)
def test_ports_probes_and_selectors_fit_together(rendered: dict[str, dict[str, Any]], name: str) -> None:
    found = objects(text_of(rendered[name]))
    pod = only(found, "StatefulSet")["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    config = YAML(typ="safe", pure=True).load(only(found, "ConfigMap")["data"]["mcp-ilert.yaml"])
    numbers = {port["containerPort"] for port in container["ports"]}
    listens = {config["listen"]["port"], config["listen"].get("tcp_port")}
    listens |= {config["metrics"]["listen_port"]} if config["metrics"]["enabled"] else set()
    assert numbers == listens - {None}
    used = {
        probe.get("httpGet", probe.get("tcpSocket"))["port"]
        for key, probe in container.items()
        if key.endswith("Probe")
    }
    services = [one for one in found if one["kind"] == "Service"]
    used |= {port["targetPort"] for one in services for port in one["spec"]["ports"]}
    used |= {
        port["port"]
        for one in found
        if one["kind"] == "NetworkPolicy"
        for rule in one["spec"]["ingress"]
        for port in rule["ports"]
    }
    assert used <= ports
    for one in services:
        assert one["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
    volumes |= {
        c["metadata"]["name"] for c in only(found, "StatefulSet")["spec"].get("volumeClaimTemplates", [])
    }
    assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


@helm
def test_the_values_that_must_be_refused_are_refused_and_the_answer_names_the_key() -> None:
    answers = ask([rendering(values) for values, _ in REFUSED.values()])
    told = {name: answer.get("error", "taken") for name, answer in zip(REFUSED, answers, strict=True)}
    assert {name: word for name, (_, word) in REFUSED.items() if word not in told[name]} == {}, told
    assert "a-plain-secret" not in str(told)


@helm
def test_a_change_of_the_configuration_restarts_the_pod_unless_told_not_to(
    rendered: dict[str, dict[str, Any]],
) -> None:
    def annotations(name: str) -> dict[str, str]:
        pod = only(objects(text_of(rendered[name])), "StatefulSet")["spec"]["template"]
        found: dict[str, str] = pod["metadata"]["annotations"]
        return found

    assert annotations("defaults")["checksum/config"] != annotations("lines")["checksum/config"]
    assert "checksum/config" not in annotations("everything else")


@helm
def test_the_way_to_ilert_is_open_on_its_own_port(rendered: dict[str, dict[str, Any]]) -> None:
    def ports(name: str) -> list[int]:
        policy = only(objects(text_of(rendered[name])), "NetworkPolicy")
        return [port["port"] for port in policy["spec"]["egress"][1]["ports"]]

    assert ports("defaults") == [443]
    assert ports("an own iLert") == [443, 8443]
    assert ports("everything else") == [3128]
