"""Ready-made mappings, by name: data. docs/webhooks.md says what each system is told to send.

An entry of `webhooks.NAME.event` replaces the preset's expression of the same field.
"""

from collections.abc import Mapping
from typing import Final

import msgspec


class Preset(msgspec.Struct, frozen=True):
    """Expressions for one system's bodies, and how it signs them."""

    event: Mapping[str, str]
    each: str | None = None
    sns: bool = False
    """The body is an envelope of Amazon SNS."""
    signature_header: str = "X-Hub-Signature-256"
    signature_prefix: str = "sha256="


ZABBIX: Final = Preset(
    # The parameters of Zabbix' own media types, whose names are the macros that fill them.
    {
        "mcp_id": "\"EVENT.ID\" && join('-', ['zabbix', to_string(\"EVENT.ID\")])",
        "source": '"HOST.HOST" || "HOST.NAME"',
        "summary": '"EVENT.NAME" || "TRIGGER.NAME" || "ALERT.SUBJECT"',
        "details": '"ALERT.MESSAGE" || "EVENT.OPDATA" || "TRIGGER.DESCRIPTION"',
        "status": (
            "to_string(\"EVENT.VALUE\") == '0' && 'resolved'"
            " || \"EVENT.ACK.STATUS\" == 'Yes' && to_string(\"EVENT.UPDATE.STATUS\") == '1' && 'acknowledged'"
            " || 'firing'"
        ),
        "severity": (
            "to_string(\"EVENT.NSEVERITY\") == '5' && 'critical' || to_string(\"EVENT.NSEVERITY\") == '4' && 'high'"
            " || to_string(\"EVENT.NSEVERITY\") == '3' && 'medium' || to_string(\"EVENT.NSEVERITY\") == '2' && 'medium'"
            " || \"EVENT.NSEVERITY\" && 'low'"
        ),
        "links": "[{href: \"TRIGGER.URL\", text: 'Trigger'}]",
        "labels": '{host: "HOST.NAME", ip: "HOST.IP", trigger_id: "TRIGGER.ID", zabbix_severity: "EVENT.SEVERITY"}',
        "event_tags": '"EVENT.TAGS"',
        "opdata": '"EVENT.OPDATA"',
        "update": '"EVENT.UPDATE.MESSAGE"',
    }
)

_SERVICE: Final = "(SERVICEDESC || SERVICENAME)"
ICINGA: Final = Preset(
    # The macros of a notification command, by Nagios' names, as one object of texts.
    {
        "mcp_id": f"HOSTNAME && join('/', [HOSTNAME, {_SERVICE} || 'host'])",
        "source": "HOSTNAME",
        "summary": (
            f"{_SERVICE} && join('', [{_SERVICE}, ' on ', HOSTALIAS || HOSTNAME, ' is ', SERVICESTATE || '?', ': ',"
            " SERVICEOUTPUT || ''])"
            " || HOSTNAME && join('', [HOSTALIAS || HOSTNAME, ' is ', HOSTSTATE || '?', ': ', HOSTOUTPUT || ''])"
        ),
        "details": "LONGSERVICEOUTPUT || LONGHOSTOUTPUT || NOTIFICATIONCOMMENT",
        "status": (
            "NOTIFICATIONTYPE == 'ACKNOWLEDGEMENT' && 'acknowledged' || NOTIFICATIONTYPE == 'RECOVERY' && 'resolved'"
            f" || {_SERVICE} && SERVICESTATE == 'OK' && 'resolved' || !{_SERVICE} && HOSTSTATE == 'UP' && 'resolved'"
            " || 'firing'"
        ),
        "severity": (
            f"{_SERVICE} && (SERVICESTATE == 'CRITICAL' && 'critical' || SERVICESTATE == 'WARNING' && 'medium'"
            f" || SERVICESTATE == 'UNKNOWN' && 'high') || !{_SERVICE} && 'critical'"
        ),
        "labels": "{host: HOSTNAME, service: SERVICEDESC || SERVICENAME, address: HOSTADDRESS}",
        "links": "[SERVICEACTIONURL || HOSTACTIONURL]",
        "notification_type": "NOTIFICATIONTYPE",
        "author": "NOTIFICATIONAUTHOR",
        "comment": "NOTIFICATIONCOMMENT",
        "time": "LONGDATETIME",
    }
)

UPTIME_KUMA: Final = Preset(
    # `heartbeat` and `monitor` are null in a test, and in what is said of a certificate.
    {
        "mcp_id": "monitor.id && join('-', ['uptime-kuma', to_string(monitor.id)]) || 'uptime-kuma'",
        "source": "monitor.name || 'uptime-kuma'",
        "summary": "msg",
        "details": "heartbeat.msg",
        "status": (
            "to_string(heartbeat.status) == '1' && 'resolved' || to_string(heartbeat.status) == '3' && 'resolved'"
            " || 'firing'"
        ),
        "severity": "heartbeat && 'critical' || 'low'",
        "links": "[{href: monitor.url, text: monitor.name}]",
        "labels": "{monitor_type: monitor.type, hostname: monitor.hostname}",
        "tags": "monitor.tags[].name",
        "time": "heartbeat.time",
        "ping": "heartbeat.ping",
    }
)

CLOUDWATCH: Final = Preset(
    {
        "mcp_id": "Message.AlarmArn || Message.AlarmName || MessageId",
        "source": "Message.AlarmName && join('-', ['cloudwatch', Message.AWSAccountId || 'alarm']) || TopicArn",
        "summary": (
            "Message.AlarmName && join('', [Message.AlarmName, ' is ', Message.NewStateValue || '?'])"
            " || Subject || type(Message) == 'string' && Message"
        ),
        "details": "Message.NewStateReason || Message.AlarmDescription || Message",
        "status": "Message.NewStateValue == 'OK' && 'resolved' || 'firing'",
        "timestamp": "Message.StateChangeTime || Timestamp",
        "labels": (
            "{region: Message.Region, account: Message.AWSAccountId, namespace: Message.Trigger.Namespace,"
            " metric: Message.Trigger.MetricName}"
        ),
        "description": "Message.AlarmDescription",
        "old_state": "Message.OldStateValue",
        "new_state": "Message.NewStateValue",
        "trigger": "Message.Trigger",
        "topic": "TopicArn",
    },
    sns=True,
)

SENTRY: Final = Preset(
    # Issue alerts (event_alert), and what is told of the same issues (issue), by an internal integration.
    {
        "mcp_id": (
            "(data.event.issue_id || data.issue.id)"
            " && join('-', ['sentry', to_string(data.event.issue_id || data.issue.id)])"
        ),
        "source": (
            "data.issue.project.slug || data.event.project"
            " && join('-', ['sentry-project', to_string(data.event.project)]) || 'sentry'"
        ),
        "summary": "data.event.title || data.issue.title",
        "details": "data.event.culprit || data.issue.culprit",
        "status": (
            "action == 'resolved' && 'resolved' || action == 'ignored' && 'resolved'"
            " || action == 'archived' && 'resolved' || action == 'assigned' && 'acknowledged' || 'firing'"
        ),
        "severity": (
            "(data.event.level || data.issue.level) == 'fatal' && 'critical'"
            " || (data.event.level || data.issue.level) == 'debug' && 'low' || data.event.level || data.issue.level"
        ),
        "timestamp": "data.event.datetime",
        "links": "[{href: data.event.web_url || data.issue.permalink, text: 'Sentry'}]",
        "labels": "{platform: data.event.platform || data.issue.platform, level: data.event.level || data.issue.level}",
        "rule": "data.triggered_rule",
        "sentry_tags": "data.event.tags",
        "environment": "data.event.environment",
        "release": "data.event.release",
    },
    signature_header="Sentry-Hook-Signature",
    signature_prefix="",
)

PRESETS: Final[Mapping[str, Preset]] = {
    "zabbix": ZABBIX,
    "icinga": ICINGA,
    "uptime-kuma": UPTIME_KUMA,
    "cloudwatch": CLOUDWATCH,
    "sentry": SENTRY,
}
