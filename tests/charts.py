"""Values to try the chart with, and Helm asked for what it makes of them (in build/chart: make chart-test)."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
CHART = ROOT / "deploy/helm/mcp-ilert"
HELM = ROOT / "build/chart/bin/python"
KUBERNETES = tuple(f"1.{minor}" for minor in range(27, 38))
Values = Mapping[str, Any]

TAKEN: dict[str, Values] = {
    "defaults": {},
    "stopped": {"replicas": 0},
    "lines": {"config": {"listen": {"tcp_port": 9001}}, "service": {"tcpPort": 9002}},
    "large numbers": {
        "config": {
            "history": {"max_bytes": 9007199254740991},
            "spool": {"max_pending": 123456789, "min_free_bytes": 268435456},
            "listen": {"max_body_bytes": 104857600},
        }
    },
    "tls": {"tls": {"existingSecret": "bridge-tls"}},
    "client certificates": {
        "tls": {"existingSecret": "bridge-tls", "clientCASecret": "clients"},
        "config": {"tls": {"client_allowed_sans": ["probe-1.example.com"]}, "auth": {"required": True}},
    },
    "client certificates, no metrics": {
        "tls": {"existingSecret": "bridge-tls", "clientCASecret": "clients"},
        "config": {"metrics": {"enabled": False}},
    },
    "no metrics": {"config": {"metrics": {"enabled": False}}},
    "a key from the environment": {
        "secret": {"existingSecret": ""},
        "config": {"ilert": {"webhook_key": "${ILERT_WEBHOOK_KEY}"}},
        "extraEnv": [
            {
                "name": "ILERT_WEBHOOK_KEY",
                "valueFrom": {"secretKeyRef": {"name": "keys", "key": "webhook_key"}},
            }
        ],
        "extraEnvFrom": [{"secretRef": {"name": "more"}}],
    },
    "routes, tokens, webhooks": {
        "secret": {"apiKey": "api_key", "heartbeatUrl": "heartbeat_url"},
        "config": {
            "auth": {"tokens": [{"name": "probes", "token_file": "/run/secrets/mcp-ilert/probes"}]},
            "mapping": {"priority_map": {1: "critical", 2: "low"}},
            "routes": [
                {
                    "name": "database",
                    "match": {"source": "db-*"},
                    "webhook_key_file": "/run/secrets/mcp-ilert/db",
                },
                {"match": {"source": "shop-*"}, "target": "incident", "services": [{"alias": "orders"}]},
            ],
            "webhooks": {"zabbix": {"preset": "zabbix"}},
        },
    },
    "an own iLert": {"config": {"ilert": {"api_url": "http://ilert.example.com:8443/api"}}},
    "a load balancer": {
        "service": {
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Local",
            "loadBalancerSourceRanges": ["10.0.0.0/8"],
            "annotations": {"example.com/pool": "edge"},
        }
    },
    "everything else": {
        "fullnameOverride": "bridge",
        "nameOverride": "events",
        "image": {"repository": "registry.example.com/mcp-ilert", "digest": "sha256:" + "0" * 64},
        "imagePullSecrets": [{"name": "registry"}],
        "terminationGracePeriodSeconds": 60,
        "restartOnConfigChange": False,
        "persistence": {
            "size": "10Gi",
            "storageClass": "fast",
            "accessModes": ["ReadWriteOncePod"],
            "annotations": {"example.com/backup": "daily"},
        },
        "podDisruptionBudget": {"maxUnavailable": 0},
        "networkPolicy": {
            "from": [{"podSelector": {"matchLabels": {"role": "probe"}}}],
            "egressTo": [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
            "egressPorts": [3128],
            "extraEgress": [{"ports": [{"port": 123, "protocol": "UDP"}]}],
        },
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        "serviceAccount": {"annotations": {"example.com/a": "b"}},
        "podAnnotations": {"example.com/c": "d"},
        "podLabels": {"team": "monitoring"},
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "tolerations": [
            {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 30}
        ],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "system-cluster-critical",
        "extraArgs": [],
        "extraVolumes": [{"name": "more", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    },
    "an own claim, account and nothing optional": {
        "persistence": {"existingClaim": "old-spool"},
        "serviceAccount": {"create": False, "name": "bridges"},
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "tests": {"enabled": False},
        "resources": {},
    },
}
"""What the chart takes, by name."""

REFUSED: dict[str, tuple[Values, str]] = {
    "a key it does not know": ({"replicaCount": 1}, "replicaCount"),
    "a key that the bridge does not know": ({"config": {"listen": {"prot": 1}}}, "prot"),
    "a wrong type within config": ({"config": {"listen": {"port": "http"}}}, "/config/listen/port"),
    "two owners": ({"replicas": 2}, "/replicas"),
    "a claim that two may mount": ({"persistence": {"accessModes": ["ReadWriteMany"]}}, "/accessModes"),
    "a port that nobody would know": ({"config": {"listen": {"port": 0}}}, "/config/listen/port"),
    "another place for the spool": ({"config": {"spool": {"path": "/tmp/spool.db"}}}, "path"),
    "a key in a ConfigMap": ({"config": {"ilert": {"webhook_key": "a-plain-secret"}}}, "webhook_key"),
    "a token in a ConfigMap": (
        {"config": {"auth": {"tokens": [{"name": "a", "token": "a-plain-secret"}]}}},
        "token",
    ),
    "a signing secret in a ConfigMap": (
        {"config": {"auth": {"webhook_secrets": ["a-plain-secret"]}}},
        "webhook_secrets",
    ),
    "no key for iLert": ({"secret": {"existingSecret": ""}}, "secret.existingSecret"),
    "a kill before the end": ({"terminationGracePeriodSeconds": 13}, "must be above 13"),
    "client certificates without TLS": ({"tls": {"clientCASecret": "clients"}}, "tls.existingSecret"),
    "a monitor of nothing": (
        {"config": {"metrics": {"enabled": False}}, "serviceMonitor": {"enabled": True}},
        "config.metrics.enabled",
    ),
}
"""What the chart refuses, and a word that its answer must have."""


def ask(requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Helm's and the checkers' answers, in the order of the questions."""
    command = [str(HELM), str(ROOT / "deploy/helm/helm.py")]
    done = subprocess.run(
        command, input=json.dumps(requests), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def rendering(values: Values, chart: Path = CHART) -> dict[str, Any]:
    request = {"do": "render", "chart": str(chart), "values": values}
    return request | {"name": "prod", "namespace": "alerts"}


def objects(text: str) -> list[dict[str, Any]]:
    """What a file of manifests holds."""
    return [found for found in YAML(typ="safe", pure=True).load_all(text) if found]


def only(found: Sequence[dict[str, Any]], kind: str, suffix: str = "") -> dict[str, Any]:
    """The one object of a kind, of those whose name ends so."""
    (one,) = (o for o in found if o["kind"] == kind and o["metadata"]["name"].endswith(suffix))
    return one
