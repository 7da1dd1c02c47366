"""``/metrics`` for Prometheus: from this machine, or with the token that the settings name."""

from __future__ import annotations

import hmac
from ipaddress import ip_address

from flask import Blueprint, current_app, request
from werkzeug.wrappers import Response

from console import metrics
from console.access import public
from console.book import settings
from quota.errors import N_, NotAllowed

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@public
def scrape() -> Response:
    """Everything measured, in the exposition format. Raises NotAllowed for a stranger."""
    token = settings().metrics_token
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not (_near(request.remote_addr) or (token and hmac.compare_digest(token.encode(), given.encode()))):
        raise NotAllowed("metrics.closed", N_("指标只对本机或持有令牌的采集器开放"))
    return metrics.render(current_app)


def _near(address: str | None) -> bool:
    try:
        return ip_address(address or "").is_loopback
    except ValueError:
        return False
