"""Grafana's unified alerting: Alertmanager's frame, with links and values of its own in each alert.

`title` and `message` of the notification repeat its alerts in words, and are not kept with each of them.
"""

from typing import Final

from mcp_ilert.decode.alertmanager import REPEATED, Alerts

LINKS: Final = {
    "generatorURL": "Alert rule",
    "dashboardURL": "Dashboard",
    "panelURL": "Panel",
    "silenceURL": "Silence",
    "imageURL": "Image",
}


def grafana() -> Alerts:
    """The dialect."""
    return Alerts("grafana", LINKS, REPEATED | {"title", "message", "state"})
