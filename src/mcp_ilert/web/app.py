"""The apps, put together: `bridge_app` for the port of the events, `metrics_app` for Prometheus."""

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST
from quart import Response
from quart_trio import QuartTrio

from mcp_ilert.intake import Intake
from mcp_ilert.web.api import Api, add_api
from mcp_ilert.web.auth import Guard
from mcp_ilert.web.base import base_app
from mcp_ilert.web.confirm import confirm
from mcp_ilert.web.dashboard import add_dashboard
from mcp_ilert.web.events import IngestMetrics, add_events
from mcp_ilert.web.pages import refuse_foreign_pages
from mcp_ilert.web.site import Readiness, add_health, add_site
from mcp_ilert.web.webhooks import Webhooks, add_webhooks


def bridge_app(
    *,
    intake: Intake,
    guard: Guard,
    metrics: IngestMetrics,
    readiness: Readiness,
    version: str,
    read_timeout_seconds: float = 10,
    api: Api | None = None,
    webhooks: Webhooks | None = None,
) -> QuartTrio:
    """What the port of the events answers. On a reload: `use` of intake, guard and webhooks, `web.base.use_limits`."""
    limits = intake.limits
    app = base_app(
        "mcp_ilert", max_body_bytes=limits.max_body_bytes, read_timeout_seconds=read_timeout_seconds
    )
    refuse_foreign_pages(app, guard, metrics.in_events)
    add_health(app)
    add_site(app, readiness, version)
    add_dashboard(app, readiness, version)
    add_events(app, intake, guard, metrics)
    if webhooks is not None:
        add_webhooks(app, intake, webhooks, metrics, confirm)
    if api is not None:
        add_api(app, api, guard)
    return app


def metrics_app(exposition: Callable[[], bytes]) -> QuartTrio:
    """What the metrics port answers."""
    app = base_app("mcp_ilert_metrics", max_body_bytes=1024, read_timeout_seconds=10)
    add_health(app)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return app
