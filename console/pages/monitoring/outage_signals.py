"""监测告警: outages as alerts and probes tell of them, and where Alertmanager delivers."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Response as AnyResponse
from wtforms import TextAreaField
from wtforms.validators import InputRequired, Length

from console import api, frame, links
from console.access import STEWARDS, allow, public
from console.api import TokenKind
from console.book import reading, transaction
from console.errors import Unidentified
from console.forms import answer, done
from console.lists import Column, Filter, Rows, listing
from console.pages.assessment import incidents
from console.programs import listed, takes
from console.security import program
from console.words import _, lazy
from providers.monitoring import AlertsTaken, OutageSignal, SignalKind, alerts, outages, receiving
from quota.actors import Role
from quota.errors import N_, Invalid, NotAllowed, Refused, TooOften

log = logging.getLogger("guanjia.alerts")
blueprint = Blueprint("outage_signals", __name__)
frame.page("providers", "outage_signals.index", N_("监测告警"), order=22)

SCOPE = "providers:act"
"""What a service's token must allow."""

KINDS = {SignalKind.ALERT.value: N_("告警"), SignalKind.PROBE.value: N_("探测")}
STATES = {"open": N_("未结束"), "unmapped": N_("没有对照"), "without": N_("未形成故障")}


def _state(query: Rows, value: str) -> Rows:
    if value == "open":
        return query.where(OutageSignal.ended_at.is_(None))
    if value == "unmapped":
        return query.where(OutageSignal.pool_id.is_(None))
    return query.where(OutageSignal.incident_id.is_(None))


def code(one: OutageSignal) -> str:
    """The state's code among all states."""
    if one.pool_id is None:
        return "signal_unmapped"
    return "signal_open" if one.ended_at is None else "signal_over"


COLUMNS = [
    Column("name", N_("内容"), lambda s: s.name, title=True),
    Column("state", N_("状态"), code, state=True),
    Column("kind", N_("来源"), lambda s: _(KINDS[s.kind]), code=lambda s: s.kind),
    Column("pool", N_("资源池"), lambda s: s.pool.name if s.pool else None, href=links.pool(lambda s: s.pool_id)),
    Column("system", N_("信息系统"), lambda s: s.system.name if s.system else None, minor=True),
    Column("level", N_("级别"), lambda s: _(incidents.LEVELS[str(s.level)]) if s.level else None, code=lambda s: s.level),
    Column("began", N_("开始"), lambda s: s.began_at, sort=OutageSignal.began_at),
    Column("ended", N_("结束"), lambda s: s.ended_at),
    Column("incident", N_("故障"), lambda s: s.incident.external_id if s.incident else None,
           href=lambda s: url_for("incidents.show", incident_id=s.incident_id) if s.incident_id else None),
]  # fmt: skip
FILTERS = [
    Filter("state", N_("状态"), _state, options=STATES),
    Filter("kind", N_("来源"), lambda q, v: q.where(OutageSignal.kind == v), options=KINDS),
    Filter("q", N_("内容"), lambda q, v: q.where(frame.matching(v, OutageSignal.name))),
]


@blueprint.get("/outage-signals/")
@allow(*STEWARDS)
@listed(COLUMNS, FILTERS)
def index() -> str | AnyResponse:
    query = select(OutageSignal).options(
        joinedload(OutageSignal.pool), joinedload(OutageSignal.system), joinedload(OutageSignal.incident)
    )
    found = listing(reading(), query, COLUMNS, key=OutageSignal.id, filters=FILTERS, sort="-began")
    return found.exported("outage-signals") or render_template(
        "outage_signals/index.html",
        signals=found,
        address=request.url_root.rstrip("/") + url_for(".deliver"),
        scope=SCOPE,
    )


class DetachForm(FlaskForm):  # type: ignore[misc]
    reason = TextAreaField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=4000)])


@blueprint.route("/outage-signals/<int:signal_id>/detach", methods=["GET", "POST"])
@allow(Role.SUPERVISOR)
@takes(DetachForm)
def detach(signal_id: int) -> str | AnyResponse | tuple[str, int]:
    """Say that a signal tells of no outage."""
    signal = outages.signal(reading(), signal_id)
    form = DetachForm()

    def act() -> AnyResponse:
        with transaction() as write:
            outages.detach(write, signal_id, form.reason.data)
        if signal.incident_id is None:
            return done(_("已剔除"), ".index")
        return done(_("已剔除"), "incidents.show", incident_id=signal.incident_id)

    return answer(form, act, lambda: render_template("outage_signals/detach.html", signal=signal, form=form), Refused)


@blueprint.post("/api/v1/alertmanager")
@public
@program
def deliver() -> Response:
    """Alertmanager's webhook. 200: all of it is taken, or was known. 400: the rest is taken, what the sentence names was refused
    and is not worth sending again."""
    try:
        _let_in()
        if request.mimetype != "application/json":
            return _text(415, "alerts are taken as application/json")
        request.max_content_length = alerts.MOST_BYTES
        group = alerts.read(request.get_data(cache=False))
        with transaction() as tx:
            taken = receiving.take(tx, group)
    except RequestEntityTooLarge:
        return _text(413, f"more than {alerts.MOST_BYTES} bytes")
    except TooOften as refused:
        return _text(429, refused.code, {"Retry-After": "60"})
    except Invalid as refused:
        return _text(400, refused.code + ": " + " ".join(str(value) for value in refused.params.values()))
    except Refused as refused:
        closed = isinstance(refused, NotAllowed) and not isinstance(refused, Unidentified)
        return _text(
            403 if closed else 401, refused.code, {} if closed else {"WWW-Authenticate": 'Basic realm="guanjia"'}
        )
    return _text(400 if taken.refused else 200, _told(taken, group.truncated))


def _let_in() -> None:
    """Know the service behind the token, which comes as a bearer or as the password of basic authentication."""
    scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        token = request.authorization.password or "" if request.authorization else ""
    shown = api.door.recognised(token.strip(), (TokenKind.SERVICE,))
    if SCOPE not in shown.scopes:
        raise NotAllowed("token.scope", N_("令牌的范围不含 %(scope)s"), scope=SCOPE)


def _told(taken: AlertsTaken, truncated: int) -> str:
    parts = [
        f"{taken.new} new, {taken.ended} over, {taken.known} known, {taken.ignored} ignored, {taken.unmapped} unmapped"
    ]
    parts += [f"refused {why}: {count}, e.g. {taken.examples[why]}" for why, count in sorted(taken.refused.items())]
    if truncated:
        parts.append(f"{truncated} alerts were left out by the sender (max_alerts)")
    return "; ".join(parts)


def _text(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    if status >= 400:
        log.warning("alerts: %s %s", status, text)
    return Response(text + "\n", status, headers, content_type="text/plain; charset=utf-8")
